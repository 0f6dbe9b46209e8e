//! The channel's constant grid. Every boundary follows from arithmetic on it: segment number = floor(channel time ÷
//! segment duration), so two pipelines on two hosts agree without talking.
//!
//! * A [`Slot`] is one output frame: slot *k* is shown at *k* · den ÷ num seconds after the epoch.
//! * An [`AudioFrame`] is 1,024 samples at 48 kHz on the same epoch.
//! * A [`SegmentNumber`] covers the slots and audio frames that *begin* in its interval.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::{ChannelTime, Round, Timescale};

/// Sample rate of every audio rendition, Hz.
pub const AUDIO_RATE: u32 = 48_000;
/// Samples in one AAC-LC frame (ISO/IEC 14496-3 §4.5.2).
pub const AUDIO_FRAME_SAMPLES: u32 = 1024;

/// Frame rates of the test signal, by their number in its code (`docs/measuring.md`): the order never changes.
pub const SIGNAL_RATES: [(u32, u32); 13] = [
    (24000, 1001),
    (24, 1),
    (25, 1),
    (30000, 1001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60000, 1001),
    (60, 1),
    (25, 2),
    (15, 1),
    (10, 1),
    (20, 1),
];

/// Frames a second as a fraction: 30000/1001 is not 29.97.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct FrameRate {
    num: u32,
    den: u32,
}

/// Why a frame rate was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame rate `{0}`: write frames a second as `25`, `29.97`, `30000/1001`; 1 to 120 are possible")]
pub struct FrameRateError(String);

impl FrameRate {
    /// `num / den` frames a second, 1 to 120.
    pub fn new(num: u32, den: u32) -> Result<Self, FrameRateError> {
        let refused = || FrameRateError(format!("{num}/{den}"));
        if den == 0 || num < den || u64::from(num) > 120 * u64::from(den) {
            return Err(refused());
        }
        let common = gcd(num, den);
        Ok(Self { num: num / common, den: den / common })
    }

    /// Reads `25`, `25/1`, `29.97`, `23.976`, `30000/1001`. A decimal within 0.01 of n·1000/1001 means that fraction.
    pub fn parse(text: &str) -> Result<Self, FrameRateError> {
        let refused = || FrameRateError(text.chars().take(40).collect());
        if let Some((num, den)) = text.split_once('/') {
            let part = |t: &str| t.trim().parse().map_err(|_| refused());
            return Self::new(part(num)?, part(den)?).map_err(|_| refused());
        }
        let fps: f64 = text.trim().parse().map_err(|_| refused())?;
        if !(1.0..=120.0).contains(&fps) {
            return Err(refused());
        }
        let whole = fps.round();
        if (fps - whole).abs() < 1e-9 {
            return Self::new(whole as u32, 1);
        }
        let up = fps.ceil();
        if (fps - up * 1000.0 / 1001.0).abs() < 0.01 {
            return Self::new(up as u32 * 1000, 1001);
        }
        Self::new((fps * 1000.0).round() as u32, 1000).map_err(|_| refused())
    }

    /// Frames in `den` seconds.
    pub const fn num(self) -> u32 {
        self.num
    }

    /// Seconds in which `num` frames pass.
    pub const fn den(self) -> u32 {
        self.den
    }

    /// Frames a second, for people.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl TryFrom<(u32, u32)> for FrameRate {
    type Error = FrameRateError;
    fn try_from((num, den): (u32, u32)) -> Result<Self, FrameRateError> {
        Self::new(num, den)
    }
}

impl From<FrameRate> for (u32, u32) {
    fn from(rate: FrameRate) -> Self {
        (rate.num, rate.den)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 { write!(f, "{}", self.num) } else { write!(f, "{}/{}", self.num, self.den) }
    }
}

impl fmt::Debug for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after it.
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// An output frame of the channel's constant rate, counted from the epoch.
    Slot
}
number! {
    /// 1,024 samples at 48 kHz, counted from the epoch.
    AudioFrame
}
number! {
    /// The unit both pipelines agree on: floor(channel time ÷ segment duration).
    SegmentNumber
}

/// Why a grid was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment duration {0:?}: 1 s to 10 s in whole milliseconds are possible")]
pub struct GridError(Duration);

/// The channel's constant grid: segment duration and frame rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    segment: Duration,
    rate: FrameRate,
}

impl Grid {
    /// Segment duration 1 to 10 s in whole milliseconds.
    pub fn new(segment: Duration, rate: FrameRate) -> Result<Self, GridError> {
        let range = Duration::from_secs(1)..=Duration::from_secs(10);
        if !range.contains(&segment) || !segment.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(GridError(segment));
        }
        Ok(Self { segment, rate })
    }

    /// Segment duration.
    pub const fn segment(&self) -> Duration {
        self.segment
    }

    /// Output frame rate.
    pub const fn rate(&self) -> FrameRate {
        self.rate
    }

    fn segment_ms(&self) -> i128 {
        self.segment.as_millis() as i128
    }

    /// The segment whose interval holds `at`; 0 before the epoch.
    pub fn segment_at(&self, at: ChannelTime) -> SegmentNumber {
        let n = i128::from(at.ticks()).div_euclid(self.segment_ms() * 90);
        SegmentNumber(u64::try_from(n).unwrap_or(0))
    }

    /// Where the interval of segment `n` begins.
    pub fn segment_start(&self, n: SegmentNumber) -> ChannelTime {
        ChannelTime::from_ticks(saturate(i128::from(n.0) * self.segment_ms() * 90))
    }

    /// The slot whose time is nearest to `at`; a half goes up.
    pub fn slot_at(&self, at: ChannelTime) -> Slot {
        let (num, den) = (i128::from(self.rate.num), i128::from(self.rate.den));
        let k = Round::Nearest.divide(i128::from(at.ticks()) * num, 90_000 * den);
        Slot(u64::try_from(k).unwrap_or(0))
    }

    /// When slot `k` is shown, to the nearest 90 kHz tick.
    pub fn slot_time(&self, k: Slot) -> ChannelTime {
        let (num, den) = (i128::from(self.rate.num), i128::from(self.rate.den));
        ChannelTime::from_ticks(saturate(Round::Nearest.divide(i128::from(k.0) * 90_000 * den, num)))
    }

    /// The first slot that begins inside segment `n`.
    pub fn first_slot(&self, n: SegmentNumber) -> Slot {
        let (num, den) = (i128::from(self.rate.num), i128::from(self.rate.den));
        Slot(saturate(Round::Up.divide(i128::from(n.0) * self.segment_ms() * num, 1000 * den)).unsigned_abs())
    }

    /// The slots of segment `n`.
    pub fn slots(&self, n: SegmentNumber) -> Range<u64> {
        self.first_slot(n).0..self.first_slot(n.next()).0
    }

    /// The segment slot `k` belongs to.
    pub fn segment_of(&self, k: Slot) -> SegmentNumber {
        let (num, den) = (i128::from(self.rate.num), i128::from(self.rate.den));
        let n = (i128::from(k.0) * 1000 * den).div_euclid(self.segment_ms() * num);
        SegmentNumber(u64::try_from(n).unwrap_or(0))
    }

    /// The first AAC frame that begins inside segment `n`: audio is cut at the video boundary, rounded up to a frame.
    pub fn first_audio_frame(&self, n: SegmentNumber) -> AudioFrame {
        let (rate, frame) = (i128::from(AUDIO_RATE), i128::from(AUDIO_FRAME_SAMPLES));
        AudioFrame(saturate(Round::Up.divide(i128::from(n.0) * self.segment_ms() * rate, 1000 * frame)).unsigned_abs())
    }

    /// The AAC frames of segment `n`.
    pub fn audio_frames(&self, n: SegmentNumber) -> Range<u64> {
        self.first_audio_frame(n).0..self.first_audio_frame(n.next()).0
    }

    /// Timescale of video tracks. A slot lasts [`Self::slot_ticks`] of it, exactly.
    pub fn video_timescale(&self) -> Timescale {
        // Whole rates are refined so that a player's own rounding (milliseconds) stays far below a tick.
        let hz = if self.rate.den == 1 { self.rate.num * 1000 } else { self.rate.num };
        Timescale::new(hz).expect("a frame rate is at least 1")
    }

    /// Ticks of [`Self::video_timescale`] that one slot lasts.
    pub const fn slot_ticks(&self) -> u32 {
        if self.rate.den == 1 { 1000 } else { self.rate.den }
    }

    /// How long one slot lasts, to the nearest nanosecond.
    pub fn slot_duration(&self) -> Duration {
        Duration::from_nanos(
            (1_000_000_000 * u64::from(self.rate.den) + u64::from(self.rate.num) / 2) / u64::from(self.rate.num),
        )
    }
}

fn saturate(ticks: i128) -> i64 {
    i64::try_from(ticks).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(num: u32, den: u32) -> Grid {
        Grid::new(Duration::from_secs(2), FrameRate::new(num, den).expect("good rate")).expect("good grid")
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, want) in [
            ("25", (25, 1)),
            ("25/1", (25, 1)),
            ("50/2", (25, 1)),
            ("29.97", (30000, 1001)),
            ("59.94", (60000, 1001)),
            ("23.976", (24000, 1001)),
            ("30000/1001", (30000, 1001)),
            ("12.5", (25, 2)),
        ] {
            assert_eq!(FrameRate::parse(text).map(<(u32, u32)>::from), Ok(want), "{text}");
        }
        for bad in ["", "0", "-25", "25/0", "1000", "fast", "NaN", "1e9"] {
            assert!(FrameRate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn segments_of_29_97_alternate_between_60_and_59_slots() {
        let g = grid(30000, 1001);
        let counts: Vec<u64> = (0..17)
            .map(|n| {
                let s = g.slots(SegmentNumber(n));
                s.end - s.start
            })
            .collect();
        assert_eq!(counts.iter().filter(|&&c| c == 59).count(), 1, "{counts:?}");
        assert!(counts.iter().all(|&c| c == 60 || c == 59), "{counts:?}");
    }

    proptest! {
        #[test]
        fn every_slot_lies_in_the_segment_that_lists_it(
            n in 800_000_000u64..1_000_000_000,
            rate in prop::sample::select(vec![(24000, 1001), (25, 1), (30000, 1001), (50, 1), (60000, 1001)]),
        ) {
            let g = grid(rate.0, rate.1);
            let n = SegmentNumber(n);
            for k in g.slots(n) {
                prop_assert_eq!(g.segment_of(Slot(k)), n);
                prop_assert_eq!(g.slot_at(g.slot_time(Slot(k))), Slot(k));
            }
            prop_assert_eq!(g.segment_at(g.segment_start(n)), n);
            prop_assert!(g.slot_time(g.first_slot(n)) >= g.segment_start(n).offset(-1));
        }

        #[test]
        fn audio_frames_cover_time_without_hole(n in 800_000_000u64..1_000_000_000) {
            let g = grid(25, 1);
            let (here, next) = (g.audio_frames(SegmentNumber(n)), g.audio_frames(SegmentNumber(n + 1)));
            prop_assert_eq!(here.end, next.start);
            prop_assert!((93..=94).contains(&(here.end - here.start)));
        }
    }
}
