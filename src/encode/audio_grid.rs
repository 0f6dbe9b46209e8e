//! Which coded sound belongs to which segment, and where its samples go. Pure arithmetic on channel time: when this worker joined, or what
//! it encoded before, has no part in it.
//!
//! A segment's encoder is fed from some frames before the segment (so that it has settled) to a little after it (so that
//! the last frame comes out); a segment's decoder from some time before that. Samples are counted from the epoch at 48 kHz.

use std::time::Duration;

use super::audio::level;
use super::ipc::AUDIO_LEAD;
use crate::media::{AUDIO_FRAME_SAMPLES, AUDIO_RATE, AudioFrame, ChannelTime, Grid, Round, SegmentNumber};

/// Frames the encoder is fed before the segment. At 2 to 4 its seams measure as well as a continuous encode.
const PRE_ROLL_FRAMES: i64 = 4;
const FRAME: i64 = AUDIO_FRAME_SAMPLES as i64;
/// Samples behind the segment that the encoder is fed at least.
const TAIL: i64 = FRAME * 3 / 2;
/// Units so much behind the last sample still belong to the segment: what a parser and a decoder may hold back.
const TRAIL: Duration = Duration::from_millis(300);
/// Time stamps that deviate by less are jitter, by more a gap or an overlap. Less than a frame of any codec.
pub(super) const JITTER_SAMPLES: i64 = 720;

/// What goes into one segment of one audio rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which.
    pub segment: SegmentNumber,
    /// Units before this time take no part.
    pub units_from: ChannelTime,
    /// Units after this time take no part.
    pub units_to: ChannelTime,
    /// The first sample that takes part: the limiter looks back.
    pub place_from: i64,
    /// One past the last sample that takes part: it looks ahead, too.
    pub place_to: i64,
    /// The first sample the encoder is fed.
    pub feed_from: i64,
    /// One past the last sample the encoder is fed. A whole number of frames from `feed_from`.
    pub feed_to: i64,
    /// How many of the encoder's first packets lie before the segment.
    pub skip: u64,
    /// The segment's first frame.
    pub first: AudioFrame,
    /// How many frames it has.
    pub frames: u64,
}

impl Plan {
    /// For an encoder whose packet *p* decodes to input samples 1024 *p* − `delay` and on.
    pub fn new(grid: &Grid, segment: SegmentNumber, delay: u32) -> Self {
        let frames = grid.audio_frames(segment);
        let (begin, count) = (frames.start as i64 * FRAME, (frames.end - frames.start) as i64);
        let delay = i64::from(delay);
        let skip = PRE_ROLL_FRAMES + (delay + FRAME - 1) / FRAME;
        // Packet `skip` must decode to `begin`: feed_from + skip * 1024 - delay = begin.
        let feed_from = begin + delay - skip * FRAME;
        // What an encoder holds back, it has to be pushed out with: two frames settle the last packet's bytes.
        let tail = if delay < TAIL { FRAME } else { 0 };
        let feed_to = feed_from + (skip + count) * FRAME + tail;
        let block = level::BLOCK as i64;
        let place_from = feed_from.div_euclid(block) * block - level::MEMORY;
        let place_to = -(-feed_to).div_euclid(block) * block + level::AHEAD;
        Self {
            segment,
            units_from: grid.segment_start(segment) - AUDIO_LEAD,
            units_to: time_of(place_to) + TRAIL,
            place_from,
            place_to,
            feed_from,
            feed_to,
            skip: skip.unsigned_abs(),
            first: AudioFrame(frames.start),
            frames: count.unsigned_abs(),
        }
    }

    /// How many of the samples `from..to` lie inside the segment itself, pre-roll and tail aside.
    pub fn inside(&self, from: i64, to: i64) -> u32 {
        let begin = self.first.0 as i64 * FRAME;
        let end = begin + self.frames as i64 * FRAME;
        u32::try_from(to.min(end) - from.max(begin)).unwrap_or(0)
    }
}

/// When a sample is heard, to the nearest tick.
pub fn time_of(sample: i64) -> ChannelTime {
    let ticks = Round::Nearest.divide(i128::from(sample) * 90_000, i128::from(AUDIO_RATE));
    ChannelTime::from_ticks(i64::try_from(ticks).unwrap_or(i64::MAX))
}

/// The sample `ns` nanoseconds behind `zero`, to the nearest.
pub fn sample_at(zero: ChannelTime, ns: u64) -> i64 {
    // Ticks and nanoseconds in ninths of a nanosecond, so that nothing is rounded twice.
    let ninths = i128::from(zero.ticks()) * 100_000 + i128::from(ns) * 9;
    let sample = Round::Nearest.divide(ninths * i128::from(AUDIO_RATE), 9_000_000_000);
    i64::try_from(sample).unwrap_or(i64::MAX)
}

/// What to do with some decoded samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// First so many samples of silence.
    pub silence: usize,
    /// Leave out so many of the samples given,
    pub skip: usize,
    /// and take so many.
    pub take: usize,
}

/// Puts decoded samples into their places.
#[derive(Clone, Copy, Debug)]
pub struct Placer {
    next: i64,
    end: i64,
    /// Where the samples would go that follow the last ones without a break.
    cursor: Option<i64>,
}

impl Placer {
    /// Places `from..to`.
    pub fn new(from: i64, to: i64) -> Self {
        Self { next: from, end: to, cursor: None }
    }

    /// The next sample to be filled.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Everything is filled.
    pub fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// `samples` decoded samples whose time stamp says `at`.
    pub fn place(&mut self, at: i64, samples: usize) -> Placement {
        let at = match self.cursor {
            Some(cursor) if (at - cursor).abs() <= JITTER_SAMPLES => cursor,
            _ => at,
        };
        let until = at.saturating_add(samples as i64);
        self.cursor = Some(until);
        let from = at.clamp(self.next, self.end);
        let to = until.clamp(from, self.end);
        let placement = Placement {
            silence: (from - self.next) as usize,
            skip: (from - at).clamp(0, samples as i64) as usize,
            take: (to - from) as usize,
        };
        // Samples that lie wholly before what is filled, or behind the end, bring no silence of their own.
        if placement.take == 0 && at < self.end {
            return Placement { silence: 0, ..placement };
        }
        self.next = to;
        placement
    }

    /// Silence up to `to`; returns how many samples.
    pub fn fill_to(&mut self, to: i64) -> usize {
        let to = to.clamp(self.next, self.end);
        let silence = (to - self.next) as usize;
        self.next = to;
        silence
    }

    /// Silence to the end.
    pub fn finish(&mut self) -> usize {
        self.fill_to(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameRate;
    use proptest::prelude::*;

    fn grid() -> Grid {
        Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("good rate")).expect("good grid")
    }

    #[test]
    fn the_plan_for_voaacenc_is_the_measured_one() {
        let plan = Plan::new(&grid(), SegmentNumber(900_000_000), 1600);
        let first = plan.first.0 as i64;
        assert_eq!(plan.feed_from, (first - 4) * 1024 - 448, "4 frames and 448 samples before the segment");
        assert_eq!(plan.skip, 6);
        assert_eq!(plan.feed_to, (first + plan.frames as i64 + 2) * 1024 - 448, "2 frames of tail");
        assert_eq!((plan.feed_to - plan.feed_from) % 1024, 0);
        let settle = time_of(plan.feed_from) - plan.units_from;
        assert!(settle > 20 * 2 * 1024 * 90 / 48, "20 frames of HE-AAC for a decoder to settle: {settle}");
        assert!(plan.feed_from - plan.place_from >= level::MEMORY, "what the limiter looks back at");
        assert!(plan.place_to - plan.feed_to >= level::AHEAD, "and ahead");
    }

    #[test]
    fn an_encoder_of_less_delay_is_pushed_out_by_two_frames() {
        let plan = Plan::new(&grid(), SegmentNumber(900_000_000), 1024);
        let first = plan.first.0 as i64;
        assert_eq!(plan.feed_from, (first - 4) * 1024);
        assert_eq!(plan.skip, 5);
        assert_eq!(plan.feed_to, (first + plan.frames as i64 + 2) * 1024);
    }

    #[test]
    fn samples_and_ticks_agree() {
        let zero = grid().segment_start(SegmentNumber(900_000_000));
        let base = sample_at(zero, 0);
        assert_eq!(base, 900_000_000 * 2 * 48_000);
        assert_eq!(sample_at(zero, 21_333_333) - base, 1024);
        assert_eq!(sample_at(zero, 10_416) - base, 0, "just under half a sample");
        assert_eq!(sample_at(zero, 10_417) - base, 1);
        assert_eq!(time_of(base), zero);
    }

    #[test]
    fn samples_go_to_their_places() {
        for (name, calls, want) in [
            ("pre-roll is left out", &[(80, 10), (90, 20)][..], &[(0, 10, 0), (0, 10, 10)][..]),
            ("a late beginning is silence", &[(103, 10)], &[(3, 0, 10)]),
            ("jitter is none", &[(100, 1000), (1103, 1000)], &[(0, 0, 1000), (0, 0, 1000)]),
            ("a gap is silence of its length", &[(100, 1000), (2124, 1000)], &[(0, 0, 1000), (1024, 0, 1000)]),
            ("an overlap is trimmed", &[(100, 3000), (1100, 3000)], &[(0, 0, 3000), (0, 2000, 1000)]),
            ("the end is the end", &[(100, 9000), (9100, 1000), (10_100, 5)], &[(0, 0, 9000), (0, 0, 900), (0, 0, 0)]),
            ("a jump behind the end is silence", &[(100, 10), (50_000, 10)], &[(0, 0, 10), (9890, 0, 0)]),
        ] {
            let mut placer = Placer::new(100, 10_000);
            for (&(at, samples), &(silence, skip, take)) in calls.iter().zip(want) {
                assert_eq!(placer.place(at, samples), Placement { silence, skip, take }, "{name}: {samples} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_sample_is_filled_once(
            calls in prop::collection::vec((-5000i64..30_000, 0usize..3000), 0..60),
        ) {
            let mut placer = Placer::new(0, 20_480);
            let mut filled = 0;
            for (at, samples) in calls {
                let before = placer.next();
                let p = placer.place(at, samples);
                prop_assert!(p.skip + p.take <= samples);
                filled += p.silence + p.take;
                prop_assert_eq!(placer.next() - before, (p.silence + p.take) as i64);
            }
            filled += placer.finish();
            prop_assert_eq!(filled, 20_480);
        }

        #[test]
        fn segments_join_without_hole(n in 800_000_000u64..1_000_000_000) {
            let (here, next) = (Plan::new(&grid(), SegmentNumber(n), 1600), Plan::new(&grid(), SegmentNumber(n + 1), 1600));
            prop_assert_eq!(here.first.0 + here.frames, next.first.0);
            prop_assert_eq!(here.inside(i64::MIN / 2, i64::MAX / 2), (here.frames * 1024) as u32);
        }
    }
}
