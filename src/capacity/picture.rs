//! The result for eyes: text for a terminal, SVG for a page.

use std::fmt::{self, Write};

use super::Report;
use super::verdict::{Cost, HEADROOM, Limit, Measured};

/// Longest bar on a terminal, characters.
const BAR: usize = 32;

/// A bar: what, how much, by whom.
struct Row<'r> {
    name: String,
    cost: Cost,
    /// Where one thread has to do it, what it can do in real time.
    thread: Option<u32>,
    id: &'r str,
}

fn rows(measured: &Measured) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    if !measured.rungs.is_empty() {
        rows.push(Row { name: "decode".to_owned(), cost: measured.decode, thread: None, id: "" });
    }
    rows.extend(measured.rungs.iter().map(|rung| Row {
        name: format!("{} {}x{}", rung.id, rung.size.0, rung.size.1),
        cost: rung.cost,
        thread: Some(rung.chains),
        id: &rung.id,
    }));
    if measured.sound.cores > 0.0 {
        rows.push(Row { name: "sound".to_owned(), cost: measured.sound, thread: None, id: "" });
    }
    rows
}

/// For a terminal.
pub fn text(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let (measured, verdict) = (&report.measured, &report.verdict);
    writeln!(f, "{} at {} frames a second on {} CPUs", report.ladder.display(), report.rate, measured.cpus)?;
    let size = report.source_size.map_or_else(String::new, |(w, h)| format!(", {w}x{h}"));
    match &report.source {
        Some(file) => writeln!(f, "source: {}{size}", file.display())?,
        None => writeln!(f, "source: the test signal{size}; real pictures may cost more, give yours with --source")?,
    }
    writeln!(f, "\nOne pipeline, each part alone, percent of one CPU:")?;
    let rows = rows(measured);
    let most = rows.iter().map(|row| row.cost.cores).fold(f64::MIN_POSITIVE, f64::max);
    for row in &rows {
        let bar = "█".repeat((row.cost.cores / most * BAR as f64).round() as usize);
        writeln!(f, "  {:<22} {:>7.1} {:<7} {bar}", row.name, row.cost.cores * 100.0, spread(row.cost))?;
    }
    writeln!(f, "\nThe whole ladder at full speed:")?;
    for step in &measured.steps {
        let processes = if step.processes == 1 { "process " } else { "processes" };
        let (cost, spread) = (step.cost.cores * 100.0, spread(step.cost));
        writeln!(
            f,
            "  {:>3} {processes:<10} {:>6.2} channels in real time, {cost:.1} % of a CPU {spread} each",
            step.processes, step.channels
        )?;
    }
    writeln!(f, "  a pipeline takes {} MB of memory", measured.resident >> 20)?;
    if measured.others > 0.02 {
        let percent = measured.others * 100.0;
        writeln!(f, "  other programs used {percent:.0} % of this host meanwhile: measure again when it is idle")?;
    }
    let planned = HEADROOM * 100.0;
    let limit = if verdict.limit == Limit::Memory { "; memory ends first" } else { "" };
    writeln!(f, "\nThis host carries, {planned:.0} % of its CPUs planned for{limit}:")?;
    writeln!(f, "  {:>4}  channels with one pipeline", verdict.single)?;
    writeln!(f, "  {:>4}  channels with a second one on warm standby", verdict.warm)?;
    writeln!(f, "  {:>4}  channels with two that encode (hot)", verdict.hot)?;
    for heavy in &verdict.heavy {
        let need = heavy.thread * 100.0;
        match heavy.chains {
            Some(n) => writeln!(
                f,
                "\n{}: one thread needs {need:.0} % of real time. Write `gops = {n}` and `chains = {n}` into the rung.",
                heavy.id
            )?,
            None => writeln!(
                f,
                "\n{}: one thread needs {need:.0} % of real time, beyond what chains mend: a faster preset, a smaller picture.",
                heavy.id
            )?,
        }
    }
    Ok(())
}

fn spread(cost: Cost) -> String {
    cost.spread.map_or_else(|| "±?".to_owned(), |spread| format!("±{:.0} %", (spread * 100.0).ceil()))
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 70.0;
const ROW: f64 = 26.0;
const PLOT: f64 = 220.0;
/// Told apart by those who see red and green alike, and on paper (Okabe and Ito's palette).
const BLUE: &str = "#0072b2";
const ORANGE: &str = "#e69f00";
const GREEN: &str = "#009e73";

/// For a page: what each rung costs, and how the load grows with the channels.
pub fn svg(report: &Report) -> String {
    let rows = rows(&report.measured);
    let bars = 70.0 + ROW * rows.len() as f64;
    let height = bars + 60.0 + PLOT + 90.0;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_svg(&mut out, report, &rows, bars, height);
    out
}

fn write_svg(out: &mut String, report: &Report, rows: &[Row<'_>], bars: f64, height: f64) -> fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    )?;
    let ladder = report.ladder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let title = format!("{ladder} at {} frames a second on {} CPUs", report.rate, report.measured.cpus);
    label(out, 20.0, 26.0, "start", &title, "font-size=\"16\"")?;
    label(out, 20.0, 48.0, "start", "One pipeline, each part alone: percent of one CPU", "fill=\"#555\"")?;
    write_bars(out, report, rows)?;
    write_plot(out, report, bars + 60.0)?;
    writeln!(out, "</svg>")
}

fn write_bars(out: &mut String, report: &Report, rows: &[Row<'_>]) -> fmt::Result {
    let most = rows.iter().map(|row| row.cost.cores).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    for (at, row) in rows.iter().enumerate() {
        let y = 62.0 + ROW * at as f64;
        let width = row.cost.cores * scale;
        let heavy = report.verdict.heavy.iter().any(|heavy| !row.id.is_empty() && heavy.id == row.id);
        let colour = if heavy { ORANGE } else { BLUE };
        label(out, LEFT - 10.0, y + 14.0, "end", &row.name, "")?;
        writeln!(out, "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>")?;
        if let Some(spread) = row.cost.spread {
            let (low, high) = (LEFT + width * (1.0 - spread), LEFT + width * (1.0 + spread));
            let y = y + 9.0;
            writeln!(out, "<path d=\"M{low:.1} {y}H{high:.1}\" stroke=\"#000\" stroke-width=\"2\"/>")?;
        }
        let chains = row.thread.filter(|n| *n > 1).map_or_else(String::new, |n| format!(" in {n} chains"));
        let text = format!("{:.1}{chains}", row.cost.cores * 100.0);
        label(out, LEFT + width + 12.0, y + 14.0, "start", &text, "")?;
    }
    Ok(())
}

/// Channels to the right, load upwards; where a line meets the headroom, the host is planned full.
fn write_plot(out: &mut String, report: &Report, top: f64) -> fmt::Result {
    let (measured, verdict) = (&report.measured, &report.verdict);
    let (pair, warm) = (2.0 * verdict.pipeline_cores, verdict.pipeline_cores + verdict.standby_cores);
    let cpus = f64::from(measured.cpus);
    let most = (cpus / verdict.pipeline_cores.max(f64::MIN_POSITIVE)).clamp(1.0, 10_000.0);
    let (left, width) = (60.0, WIDTH - 60.0 - RIGHT);
    let x = |channels: f64| left + channels / most * width;
    let y = |load: f64| top + PLOT * (1.0 - load);
    label(out, 20.0, top - 14.0, "start", "Load of the host by channels", "fill=\"#555\"")?;
    writeln!(out, "<path d=\"M{left} {top}V{0:.1}H{1:.1}\" fill=\"none\" stroke=\"#000\"/>", y(0.0), x(most))?;
    for load in [0.0, 0.5, HEADROOM, 1.0] {
        label(out, left - 8.0, y(load) + 4.0, "end", &format!("{:.0} %", load * 100.0), "")?;
    }
    let limit = y(HEADROOM);
    writeln!(out, "<path d=\"M{left} {limit:.1}H{:.1}\" stroke=\"#777\" stroke-dasharray=\"6 4\"/>", x(most))?;
    let lines = [
        ("one pipeline", verdict.pipeline_cores, verdict.single, BLUE),
        ("warm standby", warm, verdict.warm, GREEN),
        ("two that encode", pair, verdict.hot, ORANGE),
    ];
    for (at, (name, cost, carried, colour)) in lines.into_iter().enumerate() {
        let full = if cost > 0.0 { cpus / cost } else { most };
        let (x0, y0, x1, y1) = (x(0.0), y(0.0), x(full), y(1.0));
        writeln!(out, "<path d=\"M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
        let (cx, cy) = (x(f64::from(carried)), y(f64::from(carried) * cost / cpus));
        writeln!(out, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"5\" fill=\"{colour}\"/>")?;
        let text = format!("{name}: {carried}");
        label(out, left + 220.0 * at as f64, y(0.0) + 66.0, "start", &text, &format!("fill=\"{colour}\""))?;
    }
    let step = whole_step(most);
    for tick in (0..).map(|n| n * step).take_while(|tick| f64::from(*tick) <= most) {
        label(out, x(f64::from(tick)), y(0.0) + 20.0, "middle", &tick.to_string(), "")?;
    }
    label(out, left + width / 2.0, y(0.0) + 42.0, "middle", "channels", "fill=\"#555\"")
}

/// 1, 2 or 5 times a power of ten, so that there are ten ticks at most.
fn whole_step(most: f64) -> u32 {
    let steps = (0..4).flat_map(|power| [1, 2, 5].map(|digit| digit * 10u32.pow(power)));
    steps.into_iter().find(|step| most / f64::from(*step) <= 10.0).unwrap_or(10_000)
}

fn label(out: &mut String, x: f64, y: f64, anchor: &str, text: &str, more: &str) -> fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>")
}

#[cfg(test)]
mod tests {
    use super::super::verdict::{Rung, Step, verdict};
    use super::*;
    use crate::media::FrameRate;

    fn report(cores: f64) -> Report {
        let cost = |cores| Cost { cores, spread: Some(0.05) };
        let measured = Measured {
            cpus: 8,
            memory: 16 << 30,
            decode: cost(0.1),
            sound: Cost { cores: 0.02, spread: None },
            rungs: vec![Rung { id: "v1080".into(), size: (1920, 1080), cost: cost(cores), chains: 1 }],
            steps: vec![Step { processes: 1, cost: cost(cores + 0.12), channels: 1.1 }],
            resident: 300 << 20,
            others: 0.4,
        };
        Report {
            ladder: "a<b&c.toml".into(),
            rate: FrameRate::new(50, 1).expect("a rate"),
            source: None,
            source_size: Some((1920, 1080)),
            seconds: 30,
            verdict: verdict(&measured),
            measured,
        }
    }

    #[test]
    fn the_text_says_what_counts() {
        let text = report(1.0).to_string();
        for needed in
            ["v1080 1920x1080", "100.0 ±5 %", "±?", "--source", "other programs used 40 %", "`chains = 2`", "70 %"]
        {
            assert!(text.contains(needed), "`{needed}` in\n{text}");
        }
        assert!(!report(0.3).to_string().contains("chains ="));
        assert!(report(9.0).to_string().contains("faster preset"));
    }

    #[test]
    fn the_picture_is_well_formed_whatever_was_measured() {
        for cores in [0.0, 0.3, 1.0, 9.0] {
            let svg = svg(&report(cores));
            let mut reader = quick_xml::Reader::from_str(&svg);
            let mut bars = 0;
            loop {
                match reader.read_event().unwrap_or_else(|error| panic!("{error} in\n{svg}")) {
                    quick_xml::events::Event::Eof => break,
                    quick_xml::events::Event::Empty(tag) if tag.name().as_ref() == "rect" => bars += 1,
                    _ => {}
                }
            }
            assert_eq!(bars, 4, "paper, decode, one rung, sound");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
