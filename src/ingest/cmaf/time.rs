//! Time of tracks whose timescales differ, and where it lies on the channel's grid.
//!
//! In:    times of any timescale. Out: slots, frames of sound, segments, each with what is left of the way to it.
//! Never: adds up rounding: every place is reckoned from a time of its own.

use std::ops::{Add, Neg, Sub};
use std::time::Duration;

use crate::media::{AUDIO_FRAME_SAMPLES, AUDIO_RATE, AudioFrame, ChannelTime, Grid, Round, SegmentNumber, Slot};

/// So many a second: a frame of each rate in use, and a sample of each rate of sound, lasts a whole number of these. What other timescales
/// lose by it (0.7 ns) is far below a sample.
const A_SECOND: i128 = 705_600_000;

/// A point in time, or a distance: 1/705,600,000 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fine(i128);

impl Fine {
    /// To the nearest. `timescale` is not 0.
    pub fn from_ticks(ticks: i128, timescale: u32) -> Self {
        Self(Round::Nearest.divide(ticks * A_SECOND, i128::from(timescale.max(1))))
    }

    /// To the nearest.
    pub fn from_duration(duration: Duration) -> Self {
        let nanos = i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX >> 64);
        Self(Round::Nearest.divide(nanos * A_SECOND, 1_000_000_000))
    }

    /// Since the epoch.
    pub fn from_channel(at: ChannelTime) -> Self {
        Self::from_ticks(at.ticks().into(), 90_000)
    }

    /// Without its sign.
    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// So many times as long.
    pub fn times(self, factor: i64) -> Self {
        Self(self.0 * i128::from(factor))
    }

    /// Seconds, for people.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / A_SECOND as f64
    }

    /// Of this rate, for people: how many of these distances make a second.
    pub fn per_second(self) -> f64 {
        A_SECOND as f64 / self.0.max(1) as f64
    }
}

impl Add for Fine {
    type Output = Self;
    fn add(self, by: Self) -> Self {
        Self(self.0.saturating_add(by.0))
    }
}

impl Sub for Fine {
    type Output = Self;
    fn sub(self, by: Self) -> Self {
        Self(self.0.saturating_sub(by.0))
    }
}

impl Neg for Fine {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// How long a slot lasts.
pub fn slot_length(grid: &Grid) -> Fine {
    Fine::from_ticks(grid.rate().den().into(), grid.rate().num())
}

/// When a slot is shown.
pub fn slot_time(grid: &Grid, slot: Slot) -> Fine {
    Fine::from_ticks(i128::from(slot.0) * i128::from(grid.rate().den()), grid.rate().num())
}

/// The nearest slot, and how far behind it the time is. `None` before the epoch.
pub fn nearest_slot(grid: &Grid, at: Fine) -> Option<(Slot, Fine)> {
    let (num, den) = (i128::from(grid.rate().num()), i128::from(grid.rate().den()));
    let slot = Slot(u64::try_from(Round::Nearest.divide(at.0 * num, A_SECOND * den)).ok()?);
    Some((slot, at - slot_time(grid, slot)))
}

/// Where a segment begins.
pub fn segment_start(grid: &Grid, segment: SegmentNumber) -> Fine {
    Fine::from_channel(grid.segment_start(segment))
}

/// How long each segment lasts.
pub fn segment_length(grid: &Grid) -> Fine {
    Fine::from_duration(grid.segment())
}

/// The first segment that begins at this time or later; 0 before the epoch.
pub fn segment_from(grid: &Grid, at: Fine) -> SegmentNumber {
    let number = Round::Up.divide(at.0, segment_length(grid).0);
    SegmentNumber(u64::try_from(number).unwrap_or(0))
}

/// The nearest sample of sound, counted from the epoch.
pub fn nearest_sample(at: Fine) -> i128 {
    Round::Nearest.divide(at.0 * i128::from(AUDIO_RATE), A_SECOND)
}

/// The frame of sound whose first sample is nearest. `None` before the epoch.
pub fn nearest_frame(sample: i128) -> Option<AudioFrame> {
    u64::try_from(Round::Nearest.divide(sample, AUDIO_FRAME_SAMPLES.into())).ok().map(AudioFrame)
}

/// Its first sample.
pub fn first_sample(frame: AudioFrame) -> i128 {
    i128::from(frame.0) * i128::from(AUDIO_FRAME_SAMPLES)
}

/// The segment in which a frame of sound begins.
pub fn segment_of_frame(grid: &Grid, frame: AudioFrame) -> SegmentNumber {
    // A segment begins on a whole tick of 90 kHz, so rounding down never leaves it.
    let ticks = Round::Down.divide(first_sample(frame) * 90_000, AUDIO_RATE.into());
    grid.segment_at(ChannelTime::from_ticks(i64::try_from(ticks).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameRate;
    use proptest::prelude::*;

    fn grid(rate: (u32, u32), segment_ms: u64) -> Grid {
        let rate = FrameRate::new(rate.0, rate.1).expect("good rate");
        Grid::new(Duration::from_millis(segment_ms), rate).expect("good grid")
    }

    proptest! {
        #[test]
        fn places_agree_with_the_grid(
            n in 100_000_000u64..1_800_000_000,
            rate in prop::sample::select(vec![(24000, 1001), (25, 1), (30000, 1001), (50, 1), (60000, 1001)]),
            segment_ms in prop::sample::select(vec![1000u64, 1920, 2000, 2002, 6000]),
            timescale in prop::sample::select(vec![12_800u32, 25_000, 90_000, 30_000, 60_000, 10_000_000]),
        ) {
            let (grid, n) = (grid(rate, segment_ms), SegmentNumber(n));
            for slot in grid.slots(n).map(Slot) {
                let time = slot_time(&grid, slot);
                prop_assert_eq!(nearest_slot(&grid, time), Some((slot, Fine::default())));
                // Written in a track's own ticks and read again.
                let ticks = Round::Nearest.divide(time.0 * i128::from(timescale), A_SECOND);
                let (again, off) = nearest_slot(&grid, Fine::from_ticks(ticks, timescale)).expect("behind the epoch");
                prop_assert_eq!(again, slot);
                prop_assert!(off.abs() <= Fine::from_ticks(1, timescale), "{:?}", off);
            }
            for frame in grid.audio_frames(n).map(AudioFrame) {
                prop_assert_eq!(segment_of_frame(&grid, frame), n);
                prop_assert_eq!(nearest_frame(first_sample(frame)), Some(frame));
            }
            prop_assert_eq!(segment_from(&grid, segment_start(&grid, n)), n);
            prop_assert_eq!(segment_from(&grid, segment_start(&grid, n) + Fine(1)), n.next());
        }
    }

    #[test]
    fn hostile_times_overflow_nothing() {
        for ticks in [i128::from(i64::MAX) * 3, i128::from(i64::MIN) * 3] {
            let at = Fine::from_ticks(ticks, 1);
            let _ = (nearest_slot(&grid((120, 1), 1000), at), nearest_frame(nearest_sample(at)), at + at, at - at);
        }
    }
}
