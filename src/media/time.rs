//! Typed media time. A plain number never says which clock it belongs to, so there is none.
//!
//! * [`SourceTime`]: a source's own PTS, unwrapped to 64 bits, 90 kHz.
//! * [`ChannelTime`]: the channel timeline, 90 kHz ticks since the Unix epoch. Anchors lead from the first to the second.
//! * [`MediaTime`]: a point on one track's timeline in that track's timescale, as CMAF writes it.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Ticks a second of a track (ISO/IEC 14496-12 §8.4.2 `timescale`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timescale(NonZeroU32);

/// The clock of PTS and DTS (ISO/IEC 13818-1 §2.4.3.7).
pub const HZ_90K: Timescale = Timescale::new(90_000).expect("not zero");

impl Timescale {
    /// `None` for zero.
    pub const fn new(hz: u32) -> Option<Self> {
        match NonZeroU32::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Ticks a second.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }
}

/// How a conversion that does not come out even is rounded. Always spelled out by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Toward minus infinity.
    Down,
    /// To the nearest; a half goes up.
    Nearest,
    /// Toward plus infinity.
    Up,
}

impl Round {
    /// `value / by`, rounded so. `by` is positive.
    pub(crate) fn divide(self, value: i128, by: i128) -> i128 {
        debug_assert!(by > 0, "divisor {by} of a time conversion");
        match self {
            Self::Down => value.div_euclid(by),
            Self::Nearest => (2 * value + by).div_euclid(2 * by),
            Self::Up => -(-value).div_euclid(by),
        }
    }
}

/// A point on one track's timeline: `ticks / scale` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaTime {
    /// Ticks since the epoch of the timeline.
    pub ticks: i64,
    /// Ticks a second.
    pub scale: Timescale,
}

impl MediaTime {
    /// `ticks / scale` seconds.
    pub const fn new(ticks: i64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// The same instant in another scale; `None` if it does not fit 64 bits.
    pub fn rescale(self, to: Timescale, round: Round) -> Option<Self> {
        let ticks = round.divide(i128::from(self.ticks) * i128::from(to.hz()), i128::from(self.scale.hz()));
        Some(Self { ticks: i64::try_from(ticks).ok()?, scale: to })
    }
}

macro_rules! ticks_90k {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name(i64);

        impl $name {
            /// From 90 kHz ticks.
            pub const fn from_ticks(ticks: i64) -> Self {
                Self(ticks)
            }

            /// 90 kHz ticks.
            pub const fn ticks(self) -> i64 {
                self.0
            }

            /// This point moved by `ticks` of 90 kHz.
            pub const fn offset(self, ticks: i64) -> Self {
                Self(self.0.saturating_add(ticks))
            }
        }

        impl Add<Duration> for $name {
            type Output = Self;
            /// Rounded to the nearest tick.
            fn add(self, by: Duration) -> Self {
                Self(self.0.saturating_add(duration_to_ticks(by)))
            }
        }

        impl Sub<Duration> for $name {
            type Output = Self;
            /// Rounded to the nearest tick.
            fn sub(self, by: Duration) -> Self {
                Self(self.0.saturating_sub(duration_to_ticks(by)))
            }
        }

        impl Sub for $name {
            type Output = i64;
            /// Signed distance in 90 kHz ticks.
            fn sub(self, earlier: Self) -> i64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:.6}s)", stringify!($name), self.0 as f64 / 90_000.0)
            }
        }
    };
}

ticks_90k! {
    /// A source's PTS or DTS, unwrapped from 33 bits (ISO/IEC 13818-1 §2.4.3.7). It says nothing about the time of day.
    SourceTime
}

ticks_90k! {
    /// The channel timeline: 90 kHz ticks since the Unix epoch, UTC without leap seconds.
    ChannelTime
}

/// 90 kHz ticks of a duration, to the nearest.
pub(crate) fn duration_to_ticks(d: Duration) -> i64 {
    let nanos = i128::try_from(d.as_nanos()).unwrap_or(i128::MAX / 100_000);
    i64::try_from(Round::Nearest.divide(nanos * 9, 100_000)).unwrap_or(i64::MAX)
}

impl ChannelTime {
    /// The channel time of a wall-clock instant, to the nearest tick.
    pub fn from_utc(since_epoch: Duration) -> Self {
        Self(duration_to_ticks(since_epoch))
    }

    /// Time since the Unix epoch, to the nearest nanosecond; zero before the epoch.
    pub fn to_utc(self) -> Duration {
        let nanos = Round::Nearest.divide(i128::from(self.0.max(0)) * 100_000, 9);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: Timescale = Timescale::new(1_000_000_000).expect("not zero");
    const HZ_48K: Timescale = Timescale::new(48_000).expect("not zero");

    #[test]
    fn rescale_rounds_as_told() {
        for (name, from, round, want) in [
            ("1024 samples, nearest", 21_333_333, Round::Nearest, 1024),
            ("1024 samples, down", 21_333_333, Round::Down, 1023),
            ("1024 samples, up", 21_333_333, Round::Up, 1024),
            ("even, up", 1_000_000_000, Round::Up, 48_000),
            ("before the epoch, down", -1, Round::Down, -1),
            ("before the epoch, nearest", -1, Round::Nearest, 0),
            ("before the epoch, up", -1, Round::Up, 0),
        ] {
            let got = MediaTime::new(from, NS).rescale(HZ_48K, round);
            assert_eq!(got, Some(MediaTime::new(want, HZ_48K)), "{name}");
        }
    }

    #[test]
    fn utc_survives_the_way_there_and_back() {
        let utc = Duration::new(1_795_269_600, 123_456_789);
        let back = ChannelTime::from_utc(utc).to_utc();
        assert!(back.abs_diff(utc) < Duration::from_nanos(5_556), "{back:?} is more than half a tick from {utc:?}");
    }
}
