//! The ledger of pictures: accounts for each by its number and its presentation time.
//!
//! In:    what each decoded picture says, in presentation order, with its time.
//! Out:   counters, faults, and where each UTC second stands on the stream's timeline.
//! Never: sees pixels, reads a clock.

use std::collections::BTreeMap;

use super::report::{Faults, Kind, Range, Video};
use crate::media::{FrameRate, SIGNAL_RATES};
use crate::signal::code::{Code, Reading};

/// Time stamps are off when they miss by more than this: far above any timescale's rounding, far below a frame.
const TOLERANCE: f64 = 0.001;
/// A shift of pictures against their time counts once it stood for so many pictures.
const OFFSET_STANDS: u32 = 10;
/// Seconds kept for comparing with the sound.
const SECONDS_MAX: usize = 200_000;

/// Accounts for the pictures of one rendition.
#[derive(Debug)]
pub struct Pictures {
    /// Roughly now, in seconds since the epoch: numbers are unwrapped to lie near it.
    today: f64,
    /// The rate the stream shows the signal at, where it is not the signal's own.
    shown: Option<FrameRate>,
    /// Pictures in a row that showed the same number, after the first.
    held: i64,
    rate: Option<(u32, u32)>,
    counts: Video,
    previous: Option<i64>,
    highest: Option<i64>,
    /// Numbers jumped over and not seen since, as `first..end`.
    holes: Vec<(i64, i64, f64)>,
    last_time: Option<f64>,
    first_time: Option<f64>,
    offset: Offset,
    run: Option<Run>,
    /// Shown time of the first picture of each UTC second, less that second.
    seconds: BTreeMap<i64, f64>,
    faults: Faults,
}

/// Presentation time against the number's time.
#[derive(Debug, Default)]
struct Offset {
    base: Option<f64>,
    candidate: f64,
    stands: u32,
    min: f64,
    max: f64,
    sum: f64,
    count: u64,
}

/// Pictures in a row that carry no number.
#[derive(Debug)]
struct Run {
    kind: Kind,
    from: f64,
    count: u64,
}

impl Pictures {
    /// A ledger for `rendition`; `today` is UTC in seconds, only to tell which 2^32 pictures are meant. `shown`: the rate of
    /// a stream that was brought to another than the signal's; what that takes in repeats and drops is no fault.
    pub fn new(rendition: &str, today: f64, shown: Option<FrameRate>) -> Self {
        Self {
            today,
            shown,
            held: 0,
            rate: None,
            counts: Video::default(),
            previous: None,
            highest: None,
            holes: Vec::new(),
            last_time: None,
            first_time: None,
            offset: Offset::default(),
            run: None,
            seconds: BTreeMap::new(),
            faults: Faults::of(rendition),
        }
    }

    /// The next picture, shown at `time` seconds.
    pub fn push(&mut self, time: f64, reading: Reading) {
        self.counts.frames += 1;
        self.first_time.get_or_insert(time);
        if let Reading::Code(code) = reading {
            self.rate = Some(SIGNAL_RATES[usize::from(code.rate)]);
        }
        self.check_time(time);
        self.last_time = Some(time);
        match reading {
            Reading::Code(code) => {
                self.end_run();
                self.number(time, code);
            }
            Reading::Unreadable => {
                self.counts.unreadable += 1;
                self.no_number(Kind::VideoUnreadable, time);
            }
            Reading::Absent => {
                self.counts.slate += 1;
                self.no_number(Kind::VideoSlate, time);
            }
        }
    }

    /// The timeline may step here: the manifest says so.
    pub fn discontinuity(&mut self) {
        self.last_time = None;
        self.offset.base = None;
    }

    /// Seconds of media so far.
    pub fn seconds_seen(&self) -> f64 {
        match (self.first_time, self.last_time) {
            (Some(first), Some(last)) => (last - first).max(0.0) + self.frame(),
            _ => 0.0,
        }
    }

    /// Closes the ledger: counters, where each second stands, faults.
    pub fn finish(mut self) -> (Video, BTreeMap<i64, f64>, Faults) {
        self.end_run();
        for &(from, end, at) in &self.holes {
            let count = end - from;
            self.counts.missing += count as u64;
            let which = if count == 1 { format!("picture {from}") } else { format!("pictures {from} to {}", end - 1) };
            self.faults.add(Kind::VideoMissing, Some(at), format!("{which} never shown"));
        }
        if self.offset.count > 0 {
            let ms = |v: f64| (v * 1e6).round() / 1e3;
            let o = &self.offset;
            self.counts.pts_offset_ms =
                Some(Range { min: ms(o.min), max: ms(o.max), mean: ms(o.sum / o.count as f64) });
        }
        if self.counts.first.is_none() && self.counts.frames > 0 {
            self.faults.add(Kind::NoSignal, self.first_time, "no picture carries a number");
        }
        (self.counts, self.seconds, self.faults)
    }

    /// Seconds from one picture of the stream to the next.
    fn frame(&self) -> f64 {
        let shown = self.shown.map(|rate| (rate.num(), rate.den())).or(self.rate);
        shown.map_or(0.0, |(num, den)| f64::from(den) / f64::from(num))
    }

    fn check_time(&mut self, time: f64) {
        let (Some(last), Some(_)) = (self.last_time, self.rate) else { return };
        let off = time - last - self.frame();
        if off.abs() > TOLERANCE {
            self.counts.timestamps += 1;
            let step = (time - last) * 1000.0;
            self.faults.add(
                Kind::VideoTimestamp,
                Some(time),
                format!("{step:.1} ms after the picture before, not {:.1}", self.frame() * 1000.0),
            );
        }
    }

    fn number(&mut self, time: f64, code: Code) {
        let (num, den) = SIGNAL_RATES[usize::from(code.rate)];
        let near = match self.previous {
            Some(previous) => previous,
            None => (self.today * f64::from(num) / f64::from(den)) as i64,
        };
        // The index near what we know whose low 32 bits are the code's.
        let index = near + i64::from(code.number.wrapping_sub(near as u32) as i32);
        self.counts.first.get_or_insert(index);

        if self.previous.is_some_and(|previous| index < previous) {
            self.counts.reordered += 1;
            let before = self.previous.unwrap_or(index);
            self.faults.add(Kind::VideoReordered, Some(time), format!("picture {index} shown after {before}"));
        }
        match self.highest {
            Some(highest) if self.shown.is_some() && index >= highest => self.converted(time, highest, index, code),
            Some(highest) if index <= highest => {
                if !self.fill(index) {
                    self.counts.repeated += 1;
                    self.faults.add(Kind::VideoRepeated, Some(time), format!("picture {index} shown again"));
                }
            }
            Some(highest) => {
                if index > highest + 1 {
                    self.holes.push((highest + 1, index, time));
                }
                self.highest = Some(index);
            }
            None => self.highest = Some(index),
        }
        self.previous = Some(index);
        self.counts.last = self.highest;

        let at = index as f64 * f64::from(den) / f64::from(num);
        // Whole seconds by integers: floating point must not decide which picture is a second's first.
        let second = (i128::from(index) * i128::from(den)).div_euclid(i128::from(num)) as i64;
        if self.seconds.len() < SECONDS_MAX {
            self.seconds.entry(second).or_insert(time - at);
        }
        self.check_offset(time, time - at, index);
    }

    /// In a stream of another rate numbers advance by the ratio of the rates, rounded either way; and no picture is shown
    /// longer than its own duration asks for.
    fn converted(&mut self, time: f64, highest: i64, index: i64, code: Code) {
        let (num, den) = SIGNAL_RATES[usize::from(code.rate)];
        let ratio = self.frame() * f64::from(num) / f64::from(den);
        let step = index - highest;
        self.held = if step == 0 { self.held + 1 } else { 0 };
        if step > ratio.ceil() as i64 {
            self.holes.push((highest + ratio.ceil() as i64, index, time));
        }
        let longest = (1.0 / ratio).ceil() as i64;
        if self.held >= longest.max(1) || ratio >= 1.0 && step < ratio.floor() as i64 {
            self.counts.repeated += 1;
            self.faults.add(Kind::VideoRepeated, Some(time), format!("picture {index} shown too long"));
        }
        self.highest = Some(index);
    }

    /// A picture jumped over came after all; false if it was no hole.
    fn fill(&mut self, index: i64) -> bool {
        let Some(n) = self.holes.iter().position(|&(from, end, _)| (from..end).contains(&index)) else { return false };
        let (from, end, at) = self.holes.swap_remove(n);
        for part in [(from, index, at), (index + 1, end, at)] {
            if part.0 < part.1 {
                self.holes.push(part);
            }
        }
        true
    }

    fn check_offset(&mut self, time: f64, offset: f64, index: i64) {
        let o = &mut self.offset;
        let (num, den) = self.rate.unwrap_or((25, 1));
        let Some(base) = o.base else {
            o.base = Some(offset);
            return;
        };
        // A picture of a converted stream may stand up to one of the signal's frames from its own time.
        let moved = match self.shown {
            Some(_) if (offset - base).abs() <= 1.0 / f64::from(num.max(1)) * f64::from(den) => 0.0,
            _ => offset - base,
        };
        o.min = o.min.min(moved);
        o.max = o.max.max(moved);
        o.sum += moved;
        o.count += 1;
        if moved.abs() <= TOLERANCE {
            o.stands = 0;
            return;
        }
        if (moved - o.candidate).abs() > TOLERANCE {
            o.candidate = moved;
            o.stands = 0;
        }
        o.stands += 1;
        if o.stands == OFFSET_STANDS {
            o.base = Some(offset);
            o.stands = 0;
            let detail = format!("up to picture {index}: shown {:+.1} ms against before", moved * 1000.0);
            self.faults.add(Kind::VideoOffset, Some(time), detail);
        }
    }

    fn no_number(&mut self, kind: Kind, time: f64) {
        match &mut self.run {
            Some(run) if run.kind == kind => run.count += 1,
            _ => {
                self.end_run();
                self.run = Some(Run { kind, from: time, count: 1 });
            }
        }
    }

    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.faults.add(run.kind, Some(run.from), format!("{} pictures in a row", run.count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: i64 = 44_000_000_000;

    /// Feeds pictures by their place after [`FIRST`], one frame of 25 a second each; `None` is slate.
    fn look(shown: &[Option<i64>]) -> (Video, Vec<Kind>) {
        let mut ledger = Pictures::new("", FIRST as f64 / 25.0 + 86_400.0 * 200.0, None);
        for (n, picture) in shown.iter().enumerate() {
            let reading =
                picture.map_or(Reading::Absent, |k| Reading::Code(Code { number: (FIRST + k) as u32, rate: 2 }));
            ledger.push(7.0 + n as f64 * 0.04, reading);
        }
        let (video, _, faults) = ledger.finish();
        (video, faults.listed.into_iter().map(|f| f.kind).collect())
    }

    fn numbers(of: impl IntoIterator<Item = i64>) -> Vec<Option<i64>> {
        of.into_iter().map(Some).collect()
    }

    #[test]
    fn each_planted_fault_has_its_name() {
        let cut = numbers((0..20).filter(|&k| k != 7));
        let doubled = numbers((0..20).flat_map(|k| if k == 7 { vec![7, 7] } else { vec![k] }));
        let swapped = numbers([0, 1, 2, 4, 3, 5, 6, 7]);
        let back = numbers((0..10).chain(5..20));
        let mut slate = numbers(0..30);
        slate[10..14].fill(None);
        for (name, shown, want, kinds) in [
            ("undisturbed", numbers(0..50), (0, 0, 0, 0), vec![]),
            ("cut out", cut, (1, 0, 0, 0), vec![Kind::VideoOffset, Kind::VideoMissing]),
            ("doubled", doubled, (0, 1, 0, 0), vec![Kind::VideoRepeated, Kind::VideoOffset]),
            ("swapped", swapped, (0, 0, 1, 0), vec![Kind::VideoReordered]),
            ("slate over four", slate, (4, 0, 0, 4), vec![Kind::VideoSlate, Kind::VideoMissing]),
        ] {
            let (v, faults) = look(&shown);
            assert_eq!((v.missing, v.repeated, v.reordered, v.slate), want, "{name}");
            assert_eq!(faults, kinds, "{name}");
            assert_eq!(v.first, Some(FIRST), "{name}");
        }
        let (v, _) = look(&back);
        assert_eq!((v.missing, v.repeated, v.reordered), (0, 5, 1), "back by five");
    }

    #[test]
    fn a_stream_of_another_rate_may_repeat_and_drop_as_its_ratio_asks_and_no_more() {
        // Which picture of 25 a second (code 2) each of the pictures at another rate shows.
        let at =
            |num: u32, den: u32| move |slot: i64| (slot * i64::from(den) * 50 + i64::from(num)) / (2 * i64::from(num));
        let half = |slot: i64| slot * 2;
        let look = |rate: (u32, u32), shown: &[i64]| {
            let rate = FrameRate::new(rate.0, rate.1).expect("good rate");
            let mut ledger = Pictures::new("", FIRST as f64 / 25.0, Some(rate));
            for (slot, k) in shown.iter().enumerate() {
                let code = Code { number: (FIRST + k) as u32, rate: 2 };
                ledger.push(7.0 + slot as f64 / rate.as_f64(), Reading::Code(code));
            }
            let (v, _, faults) = ledger.finish();
            (v.missing, v.repeated, v.reordered, faults.listed.len())
        };
        for (name, rate, shown) in [
            ("doubled", (50, 1), (0..200).map(at(50, 1)).collect::<Vec<_>>()),
            ("to 29.97", (30_000, 1001), (0..200).map(at(30_000, 1001)).collect()),
            ("every other one", (25, 2), (0..200).map(half).collect()),
        ] {
            assert_eq!(look(rate, &shown), (0, 0, 0, 0), "{name}");
            let mut stuck = shown.clone();
            (100..103).for_each(|n| stuck[n] = stuck[99]);
            let (missing, repeated, ..) = look(rate, &stuck);
            assert!(missing >= 1 && repeated >= 1, "{name}: {missing} missing, {repeated} repeated");
        }
    }

    #[test]
    fn time_stamps_must_follow_by_one_frame() {
        let mut ledger = Pictures::new("", FIRST as f64 / 25.0, None);
        for k in 0..20 {
            let late = if k == 9 { 0.01 } else { 0.0 };
            let code = Code { number: (FIRST + k) as u32, rate: 2 };
            ledger.push(k as f64 * 0.04 + late, Reading::Code(code));
        }
        let (v, _, faults) = ledger.finish();
        assert_eq!(v.timestamps, 2, "{faults:?}");
        assert!(v.pts_offset_ms.is_some_and(|r| (r.max - 10.0).abs() < 0.01), "{:?}", v.pts_offset_ms);
    }

    #[test]
    fn numbers_wrap_at_32_bits() {
        let wrap = (FIRST >> 32 << 32) + (1 << 32);
        let mut ledger = Pictures::new("", wrap as f64 / 25.0, None);
        for k in wrap - 5..wrap + 5 {
            ledger.push(k as f64 * 0.04, Reading::Code(Code { number: k as u32, rate: 2 }));
        }
        let (v, _, faults) = ledger.finish();
        assert_eq!((v.first, v.last), (Some(wrap - 5), Some(wrap + 4)));
        assert!(faults.listed.is_empty(), "{faults:?}");
    }
}
