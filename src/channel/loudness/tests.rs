use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Action, Channel, Generation, Input};
use super::*;
use crate::clock::Now;
use crate::config::Config;
use crate::encode::ipc::{FromWorker, Hello, LoudnessStep, ToWorker};
use crate::media::{FrameRate, PipelineId};
use crate::monitor::EventKind;

const RENDITION: RenditionIndex = RenditionIndex(4);
const TARGET: f64 = -23.0;
const SILENT: LoudnessStep = LoudnessStep { loudness: LoudnessStep::SILENCE, gain: 0, taken: 0, taken_louder: 0 };

fn planner() -> Planner {
    let grid = Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("a rate")).expect("a grid");
    Planner::new(Loudness { target: TARGET as f32, true_peak: -1.0 }, grid, [RENDITION].into_iter())
}

fn reading(segment: u64, steps: Vec<LoudnessStep>) -> LoudnessReading {
    LoudnessReading { rendition: RENDITION, segment: SegmentNumber(segment), steps }
}

fn even(segment: u64, loudness: i16) -> LoudnessReading {
    reading(segment, vec![LoudnessStep { loudness, ..SILENT }; 20])
}

fn gain(planner: &Planner) -> f64 {
    planner.figures().next().expect("one").1.gain
}

#[test]
fn the_gain_arrives_and_stays() {
    let mut planner = planner();
    let mut plans = Vec::new();
    for n in 100..160 {
        plans.extend(planner.hear(&even(n, -1700), SegmentNumber(n + 1)));
        assert_eq!(planner.hear(&even(n, -1700), SegmentNumber(n + 1)), None, "the other pipeline's");
    }
    assert_eq!(plans[0], SegmentPlan { rendition: RENDITION, from: SegmentNumber(104), before: 0, gain: -100 });
    assert_eq!(plans.len(), 6, "6 dB in steps of 1 dB a segment: {plans:?}");
    let want = Figures { measured: Some(-17.0), gain: -6.0, make_up: 0.0, taken: 0.0 };
    assert_eq!(planner.figures().next(), Some((RENDITION, want)));
    assert_eq!(planner.plans(), plans);
}

#[test]
fn silence_holds_the_gain() {
    let mut planner = planner();
    for n in 0..40 {
        planner.hear(&even(n, -2800), SegmentNumber(n));
    }
    for n in 40..400 {
        assert_eq!(planner.hear(&reading(n, vec![SILENT; 20]), SegmentNumber(n)), None);
    }
    assert_eq!(gain(&planner), 5.0);
}

#[test]
fn what_is_no_programme_is_not_followed_for_ever() {
    let mut planner = planner();
    for n in 0..200 {
        planner.hear(&even(n, -6500), SegmentNumber(n));
    }
    assert_eq!(gain(&planner), 20.0);
}

/// What the loudness of a simulated programme is made of: shares of its energy, each with the gain from which on the limiter holds it where it is.
type Shares = &'static [(f64, f64)];

/// A planner, and a worker with a limiter of its own. Readings come `late` segments after media was handed out.
struct Loop {
    planner: Planner,
    late: u64,
    next: u64,
    /// By segment.
    readings: Vec<LoudnessReading>,
    /// Loudness that comes out, by segment.
    out: Vec<f64>,
    /// The newest plan that has arrived by a segment's begin.
    gains: Vec<f64>,
}

impl Loop {
    fn new(late: u64) -> Self {
        let (readings, out, gains) = (Vec::new(), Vec::new(), Vec::new());
        Self { planner: planner(), late, next: 0, readings, out, gains }
    }

    /// What the limiter leaves of a programme of 0 LUFS at a gain, LU.
    fn left(shares: Shares, gain: f64) -> f64 {
        10.0 * shares.iter().map(|(share, held)| share * 10_f64.powf(gain.min(*held) / 10.0)).sum::<f64>().log10()
    }

    /// Hears a programme for some seconds. Where it has a contrast, every other half second is softer by that, and not limited.
    fn play(&mut self, seconds: u64, loudness: f64, contrast: f64, shares: Shares) {
        for _ in 0..seconds / 2 {
            let n = self.next;
            self.next += 1;
            let plans = self.planner.plans();
            let at = |n: u64| plans.iter().rfind(|plan| plan.from.0 <= n).map_or(0, |plan| plan.gain);
            let mut energy = 0.0;
            let steps = (0..20_i16).map(|i| {
                // Over the first second, the gain leads over.
                let (before, after) = (f64::from(at(n.saturating_sub(1))), f64::from(at(n)));
                let gain = (before + (after - before) * f64::from(i.min(10)) / 10.0) / 100.0;
                let is_loud = contrast == 0.0 || i % 10 < 5;
                let loudness = if is_loud { loudness } else { loudness - contrast };
                let taken = |gain: f64| if is_loud { gain - Self::left(shares, gain) } else { 0.0 };
                energy += 10_f64.powf((loudness + gain - taken(gain)) / 10.0);
                LoudnessStep::new(loudness + gain, gain, taken(gain), taken(gain + 1.0))
            });
            self.readings.push(reading(n, steps.collect()));
            self.out.push(10.0 * (energy / 20.0).log10());
            self.gains.push(f64::from(at(n)) / 100.0);
            self.report(n);
        }
    }

    fn silence(&mut self, seconds: u64) {
        for _ in 0..seconds / 2 {
            self.readings.push(reading(self.next, vec![SILENT; 20]));
            self.next += 1;
            self.report(self.next - 1);
        }
    }

    fn report(&mut self, handed_out: u64) {
        if let Some(n) = handed_out.checked_sub(self.late) {
            self.planner.hear(&self.readings[n as usize].clone(), SegmentNumber(handed_out));
        }
    }

    fn figures(&self) -> Figures {
        self.planner.figures().next().expect("one").1
    }
}

/// More than half of the energy lies in attacks, the highest of them 6 dB above the ceiling where the programme is at its target of itself.
const ATTACKS: Shares = &[(0.4, 99.0), (0.2, 1.0), (0.2, -2.0), (0.2, -6.0)];
/// The same for a programme that is 7 dB too soft, and for one that is 13 dB too loud.
const ATTACKS_SOFT: Shares = &[(0.4, 99.0), (0.2, 8.0), (0.2, 5.0), (0.2, 1.0)];
const ATTACKS_LOUD: Shares = &[(0.4, 99.0), (0.2, -12.0), (0.2, -15.0), (0.2, -19.0)];
/// Nothing but attacks.
const FLAT: Shares = &[(0.02, 99.0), (0.98, -3.0)];
const UNLIMITED: Shares = &[(1.0, 99.0)];

/// From the first second on in which it is so until the end: within 0.3 LU of the target, though its own contrasts are larger.
fn settled_after_s(out: &[f64]) -> u64 {
    let off = |loudness: &f64| (loudness - TARGET).abs() > 0.3;
    out.iter().rposition(off).map_or(0, |last| 2 * (last as u64 + 1))
}

#[test]
fn what_the_limiter_takes_is_made_up_and_nothing_swings() {
    for (name, loudness, shares) in
        [("right", -23.0, ATTACKS), ("too soft", -30.0, ATTACKS_SOFT), ("too loud", -10.0, ATTACKS_LOUD)]
    {
        for (late, contrast) in [(1, 0.0), (2, 30.0), (3, 0.0), (6, 30.0)] {
            let mut it = Loop::new(late);
            // Gating leaves out what is so much softer, but the blocks on its borders are half as loud.
            it.play(300, loudness, contrast, shares);
            let figures = it.figures();
            let programme = figures.measured.expect("programme") + figures.gain - figures.taken;
            assert!((programme - TARGET).abs() < 0.11, "{name}: {figures:?}");
            assert!((0.5..2.9).contains(&figures.make_up), "{name}: {figures:?}");
            let settled = if contrast == 0.0 { settled_after_s(&it.out) } else { 0 };
            println!("{name}, {late} segments late: within 0.3 LU after {settled} s; {figures:?}");
            assert!(settled <= 90, "{name}, {late} segments late: {settled} s");
            let last = &it.gains[50..];
            let span = last.iter().copied().fold(f64::MIN, f64::max) - last.iter().copied().fold(f64::MAX, f64::min);
            assert!(span <= 0.3, "{name}, {late} late: {last:?}");
            // It turns at most once: down to the plain gain and up again by the make-up.
            let moves: Vec<bool> = it.gains.windows(2).filter(|w| w[0] != w[1]).map(|w| w[1] > w[0]).collect();
            let turns = moves.windows(2).filter(|w| w[0] != w[1]).count();
            assert!(turns <= 1, "{name}, {late} late: {:?}", it.gains);
            assert_eq!(it.planner.news(), []);
        }
    }
}

#[test]
fn the_gain_follows_a_programme_that_changes_without_swinging() {
    let mut it = Loop::new(2);
    for _ in 0..3 {
        it.play(120, -23.0, 0.0, ATTACKS);
        assert!((it.out.last().expect("sound") - TARGET).abs() < 0.3, "{:?}", it.out);
        it.play(120, -20.0, 0.0, UNLIMITED);
        assert!((it.out.last().expect("sound") - TARGET).abs() < 0.3, "{:?}", it.out);
        assert_eq!(it.figures().make_up, 0.0);
    }
    let steepest = it.gains.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f64::max);
    assert!(steepest <= 1.0, "0.5 dB a second: {steepest}");
}

#[test]
fn a_programme_that_cannot_reach_its_loudness_gets_no_more_than_3_db_and_it_is_said() {
    let mut it = Loop::new(2);
    it.play(20, -23.0, 0.0, FLAT);
    assert_eq!(it.planner.news(), [], "too early to tell");
    it.play(600, -23.0, 0.0, FLAT);
    assert_eq!((it.figures().gain, it.figures().make_up), (3.0, 3.0));
    let lacking = TARGET - it.out.last().expect("sound");
    let news = it.planner.news();
    assert_eq!(news.len(), 1);
    assert!((news[0].by.expect("short") - lacking).abs() < 0.1 && lacking > 0.5, "{news:?}, {lacking}");
    assert_eq!(it.planner.news(), [], "once");
    // Silence and the slate: nothing moves, nothing winds up.
    it.silence(600);
    assert_eq!((it.figures().gain, it.planner.news()), (3.0, vec![]));
    // Something else comes: what is made up is gone with what it was for.
    it.play(80, -23.0, 0.0, UNLIMITED);
    assert!(it.figures().gain < 0.11 && it.figures().make_up == 0.0, "{:?}", it.figures());
    assert_eq!(it.planner.news(), [Short { rendition: RENDITION, by: None }]);
}

#[test]
fn readings_that_never_come_do_no_harm() {
    let mut it = Loop::new(2);
    it.play(200, -23.0, 0.0, ATTACKS);
    let before = it.figures();
    // Both encode processes are gone for a while.
    it.next += 5;
    it.readings.extend((0..5).map(|n| reading(100 + n, Vec::new())));
    it.play(60, -23.0, 0.0, ATTACKS);
    assert_eq!((it.figures().gain, it.figures().make_up), (before.gain, before.make_up));
}

#[test]
fn a_channel_sends_its_plans_and_says_when_it_falls_short() {
    let text = "[[channel]]\nid = \"c\"\nladder = \"pipelines/ladders/test.toml\"\n[channel.pipelines]\na = [\"s\"]\n\
                [channel.loudness]\n[[channel.source]]\nid = \"s\"\ntype = \"test\"\n";
    let config = Config::parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("c.toml"), text).expect("good");
    let config = config.channels.into_iter().next().expect("one");
    let (grid, first) = (config.grid, 900_000_000);
    let start = Now { mono: Instant::now(), utc: grid.segment_start(SegmentNumber(first)).to_utc() };
    let mut channel = Channel::new(config, false, start);
    let started = start.after(Duration::from_secs(3));
    channel.apply(started, Input::Tick);
    let mut said = Vec::new();
    let mut hear = |now: Now, word| said.extend(channel.apply(now, Input::Encoder(PipelineId::A, Generation(1), word)));
    hear(started, FromWorker::Hello(Hello::default()));
    // Its sound is the third rendition, and all of it is held at the ceiling.
    let step = LoudnessStep { loudness: -2600, gain: 300, taken: 200, taken_louder: 300 };
    for n in 0..40 {
        let reading =
            LoudnessReading { rendition: RenditionIndex(2), segment: SegmentNumber(first + n), steps: vec![step; 20] };
        hear(started.after(n as u32 * grid.segment()), FromWorker::Loudness(reading));
    }
    let plans: Vec<SegmentPlan> = said
        .iter()
        .filter_map(|action| match action {
            Action::Send(PipelineId::A, Generation(1), ToWorker::Plan(plan)) => Some(*plan),
            _ => None,
        })
        .collect();
    assert_eq!(plans.last().map(|plan| plan.gain), Some(600), "{plans:?}");
    let events: Vec<&str> = said
        .iter()
        .filter_map(|action| match action {
            Action::Event(event) if event.kind == EventKind::LoudnessShort => Some(event.text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains("2.0 LU below its target"), "{events:?}");
}

proptest! {
    #[test]
    fn plans_rise_stay_ahead_move_slowly_and_know_their_bounds(
        levels in prop::collection::vec((-7000i16..0, 0usize..20, 0i16..2000, 0i16..=100, -2000i16..=2000, 0u64..4), 1..200),
    ) {
        let mut planner = planner();
        let mut handed_out = 1000;
        let mut last: Option<SegmentPlan> = None;
        for (n, (loudness, steps, taken, more, gain, ahead)) in levels.into_iter().enumerate() {
            handed_out = handed_out.max(1000 + n as u64 + ahead);
            let step = LoudnessStep { loudness, gain, taken, taken_louder: taken + more };
            let plan = planner.hear(&reading(1000 + n as u64, vec![step; steps]), SegmentNumber(handed_out));
            let figures = planner.figures().next().expect("one").1;
            prop_assert!((0.0..=3.0).contains(&figures.make_up) && figures.taken.is_finite());
            let Some(plan) = plan else { continue };
            prop_assert!(plan.from.0 >= handed_out + 2);
            prop_assert!(last.is_none_or(|l| l.from < plan.from && l.gain == plan.before));
            prop_assert!((i32::from(plan.gain) - i32::from(plan.before)).abs() <= 100 && plan.gain.abs() <= 2000);
            last = Some(plan);
        }
    }
}
