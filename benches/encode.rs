//! CPU seconds of one encode process against `ffmpeg` making the same ladder with the same x264 settings from the same file,
//! against the floor (one decode, and one bare `x264` a rung fed with raw pictures of its size: no scaling, no sound), and of
//! a pair whose second process is on standby against one alone.
//!
//! All are fed as fast as they read, by turns, so that a noisy host disturbs all of them alike; what counts is the median of the
//! ratios. `TANDEM_BENCH_CLIP=file.ts` takes a transport stream of your own (H.264 and AAC, 720p30) in place of the first clip,
//! `TANDEM_BENCH_ROUNDS` another number of rounds than 3, `TANDEM_BENCH_SECONDS` other lengths than 40 and 14,
//! `TANDEM_BENCH_LADDER=720p30` one ladder alone.

#[path = "../tests/encode/driver.rs"]
mod driver;
mod material;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use driver::{Clip, Worker, grid, job, read_clip, unit};
use material::{Cost, NEWS, SPORT, Shape, contribution, cost_at_end, median, run, setting};
use tandem::clock;
use tandem::encode::ipc::{Job, Orders, Standby, ToWorker};
use tandem::encode::ladder::{RateControl, VideoRung};
use tandem::encode::template::vbv;
use tandem::media::{ChannelTime, Codec, Grid, Item, RenditionId, SegmentNumber};

/// Sizes and caps in bits a second, highest first.
const NEWS_LADDER: [(u32, u32, u32); 4] =
    [(1280, 720, 3_000_000), (768, 432, 1_200_000), (640, 360, 700_000), (384, 216, 300_000)];
const SPORT_LADDER: [(u32, u32, u32); 6] = [
    (1920, 1080, 8_000_000),
    (1280, 720, 4_500_000),
    (896, 504, 2_500_000),
    (768, 432, 1_600_000),
    (640, 360, 1_000_000),
    (384, 216, 400_000),
];
const SEGMENT_MS: u64 = 2000;
/// Segments that a worker on standby keeps the pictures of.
const KEPT: u64 = 1;

/// Ratios of one round.
#[derive(Clone, Copy, Debug)]
struct Ratios {
    ffmpeg: f64,
    floor: f64,
    warm: f64,
}

fn main() {
    let rounds = setting("TANDEM_BENCH_ROUNDS", 3);
    let only = std::env::var("TANDEM_BENCH_LADDER").ok();
    let mut results = Vec::new();
    for (shape, ladder) in [(NEWS, &NEWS_LADDER[..]), (SPORT, &SPORT_LADDER[..])] {
        let shape = Shape { seconds: setting("TANDEM_BENCH_SECONDS", shape.seconds as usize) as u32, ..shape };
        if only.as_deref().is_none_or(|name| name == shape.name) {
            results.push((shape.name, measure(shape, ladder, rounds)));
        }
    }
    let worst = |of: fn(&Ratios) -> f64| results.iter().map(|(_, r)| of(r)).fold(0.0, f64::max);
    let mut line = format!(
        "RESULT ffmpeg={:.3} floor={:.3} warm={:.3}",
        worst(|r| r.ffmpeg),
        worst(|r| r.floor),
        worst(|r| r.warm)
    );
    for (name, r) in &results {
        line += &format!(" ffmpeg_{name}={:.3} floor_{name}={:.3} warm_{name}={:.3}", r.ffmpeg, r.floor, r.warm);
    }
    println!("{line}");
}

fn measure(shape: Shape, sizes: &[(u32, u32, u32)], rounds: usize) -> Ratios {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, what) = match std::env::var_os("TANDEM_BENCH_CLIP").filter(|_| shape.name == NEWS.name) {
        Some(file) => (PathBuf::from(&file), file.to_string_lossy().into_owned()),
        None => contribution(shape, folder.path()),
    };
    let clip = read_clip(&file, Codec::H264, Codec::AacAdts);
    println!("== {}: {what}; {} units", shape.name, clip.units.len());
    let ladder: Vec<VideoRung> = sizes
        .iter()
        .map(|&(width, height, max_bitrate)| {
            let id = RenditionId::new(&format!("v{height}")).expect("a good name");
            VideoRung::new(id, width, height, RateControl::CappedCrf { crf: 23.0, max_bitrate })
        })
        .collect();
    let raw: Vec<PathBuf> = ladder.iter().map(|rung| prescaled(&file, rung, folder.path())).collect();
    let grid = grid(SEGMENT_MS, shape.rate, 1);
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let theirs = ffmpeg(&file, &ladder, grid);
        let ours = tandem(&clip, &ladder, grid, false);
        let standby = tandem(&clip, &ladder, grid, true);
        let floor = floor(&file, &ladder, &raw, grid);
        let ratio = Ratios {
            ffmpeg: ours.seconds() / theirs.seconds(),
            floor: ours.seconds() / floor,
            warm: (ours.seconds() + standby.seconds()) / ours.seconds(),
        };
        println!("round {round}: tandem {ours}");
        println!("         ffmpeg {theirs}: {:.3}", ratio.ffmpeg);
        println!("         floor {floor:.2} s CPU: {:.3}", ratio.floor);
        println!("         standby {standby}: {:.3}", ratio.warm);
        ratios.push(ratio);
    }
    let middle = |of: fn(&Ratios) -> f64| median(ratios.iter().map(of).collect());
    let result = Ratios { ffmpeg: middle(|r| r.ffmpeg), floor: middle(|r| r.floor), warm: middle(|r| r.warm) };
    println!("{}: ffmpeg {:.3}, floor {:.3}, warm {:.3}", shape.name, result.ffmpeg, result.floor, result.warm);
    result
}

/// x264's settings as the template has them, in ffmpeg's and x264's common words.
fn x264_settings(rung: &VideoRung, grid: Grid) -> Vec<(&'static str, String)> {
    let RateControl::CappedCrf { crf, .. } = rung.rate else { unreachable!("made above") };
    let (maxrate, bufsize) = vbv(rung.rate, grid.segment());
    let slots = grid.slots(grid.segment_at(ChannelTime::from_ticks(0)));
    vec![
        ("keyint", (slots.end - slots.start).to_string()),
        ("sync-lookahead", "0".to_owned()),
        ("rc-lookahead", rung.lookahead.to_string()),
        ("bframes", rung.bframes.to_string()),
        ("crf", crf.to_string()),
        ("vbv-maxrate", maxrate.to_string()),
        ("vbv-bufsize", bufsize.to_string()),
    ]
}

fn ffmpeg(file: &Path, ladder: &[VideoRung], grid: Grid) -> Cost {
    let count = ladder.len();
    let mut filter = format!("[0:v]split={count}");
    (0..count).for_each(|i| filter += &format!("[i{i}]"));
    for (i, rung) in ladder.iter().enumerate() {
        filter += &format!(";[i{i}]scale={}:{}:flags=bicubic[o{i}]", rung.width, rung.height);
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(file).args(["-filter_complex", &filter]);
    for (i, rung) in ladder.iter().enumerate() {
        let settings = x264_settings(rung, grid).into_iter().map(|(name, value)| format!("{name}={value}"));
        let settings = settings.chain(["scenecut=0:open-gop=0".to_owned()]).collect::<Vec<_>>().join(":");
        command.args(["-map", &format!("[o{i}]"), "-c:v", "libx264", "-threads", "1", "-preset", &rung.preset]);
        command.args(["-x264-params", &settings, "-f", "null", "/dev/null"]);
    }
    run(command.args(["-map", "0:a", "-c:a", "aac", "-b:a", "128k", "-f", "null", "/dev/null"]))
}

/// Raw pictures of a rung's size, so that nothing but x264 is left to be measured.
fn prescaled(file: &Path, rung: &VideoRung, folder: &Path) -> PathBuf {
    let raw = folder.join(format!("{}.yuv", rung.id.as_str()));
    let scale = format!("scale={}:{}:flags=bicubic", rung.width, rung.height);
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(file)
        .args(["-map", "0:v", "-vf", &scale, "-pix_fmt", "yuv420p", "-f", "rawvideo"])
        .arg(&raw));
    raw
}

/// CPU seconds of one decode and the bare encodes, one after the other.
fn floor(file: &Path, ladder: &[VideoRung], raw: &[PathBuf], grid: Grid) -> f64 {
    let mut decode = Command::new("ffmpeg");
    decode.args(["-v", "error", "-threads", "1", "-i"]).arg(file).args(["-map", "0:v", "-f", "null", "/dev/null"]);
    let mut seconds = run(&mut decode).seconds();
    for (rung, raw) in ladder.iter().zip(raw) {
        let mut x264 = Command::new("x264");
        x264.stderr(Stdio::null());
        x264.args(["--quiet", "--no-progress", "--threads", "1", "--no-scenecut", "--preset", &rung.preset]);
        for (name, value) in x264_settings(rung, grid) {
            x264.args([format!("--{name}"), value]);
        }
        let size = format!("{}x{}", rung.width, rung.height);
        let rate = format!("{}/{}", grid.rate().num(), grid.rate().den());
        x264.args(["--demuxer", "raw", "--input-res", &size, "--fps", &rate, "--muxer", "raw", "-o", "/dev/null"]);
        seconds += run(x264.arg(raw)).seconds();
    }
    seconds
}

/// One encode process: at work, or on standby without ever being called.
fn tandem(clip: &Clip, ladder: &[VideoRung], grid: Grid, standby: bool) -> Cost {
    let hour_ago = clock::now().channel_time() - Duration::from_secs(3600);
    let first = grid.segment_at(hour_ago);
    let items = clip.at(grid.segment_start(first));
    let part = if standby { Standby::StandsBy } else { Standby::Hot };
    let job = Job { video: ladder.to_vec(), standby: part, ..job(grid, first) };
    let began = Instant::now();
    let mut worker = Worker::spawn(job);
    let id = worker.id();
    // From a thread of its own: what is written last is read by a process that ends.
    let cost = std::thread::spawn(move || cost_at_end(id, began));
    let mut newest = first;
    for item in &items {
        worker.feed([item]);
        if let (true, Some(segment)) = (standby, segment_begun(item, grid).filter(|segment| *segment > newest)) {
            // What the main process says when the other pipeline has delivered a segment.
            newest = segment;
            let forget_below = SegmentNumber(segment.0 - KEPT);
            worker.say(&ToWorker::Encode(Orders { forget_below, ..Orders::default() }));
        }
    }
    worker.say(&ToWorker::Finish);
    let cost = cost.join().expect("watches the process");
    assert!(worker.hear_out().success(), "the worker");
    let pictures = items.iter().filter_map(unit).filter(|unit| unit.track == clip.tracks.tracks[0].id).count();
    let coded = |rendition: u8| -> usize {
        worker.segments.iter().filter(|((r, _), _)| *r == rendition).map(|(_, segment)| segment.units.len()).sum()
    };
    for rung in 0..worker.audio() {
        // The first slots may show the slate: sound begins before the pictures do.
        assert!(standby || (pictures..pictures + 5).contains(&coded(rung)), "{} of {pictures}", coded(rung));
    }
    cost
}

fn segment_begun(item: &Item<ChannelTime>, grid: Grid) -> Option<SegmentNumber> {
    unit(item).map(|unit| grid.segment_at(unit.pts))
}
