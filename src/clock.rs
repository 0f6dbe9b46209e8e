//! The only reader of system clocks.
//!
//! Cores take time as an argument; shells ask here. [`Clock::now`] gives both clocks of one instant: the monotonic one
//! for time-outs, and the wall clock, which is what channel time is measured against.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::media::ChannelTime;

/// One instant, read from both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: for time-outs and ages.
    pub mono: Instant,
    /// UTC as time since the Unix epoch. It may step; nothing but anchors and dates is derived from it.
    pub utc: Duration,
}

impl Now {
    /// This instant on the channel timeline.
    pub fn channel_time(self) -> ChannelTime {
        ChannelTime::from_utc(self.utc)
    }

    /// The instant `by` later on both clocks, for simulations and for planning ahead.
    pub fn after(self, by: Duration) -> Self {
        Self { mono: self.mono + by, utc: self.utc + by }
    }

    /// Monotonic time passed since `earlier`; zero when `earlier` lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.mono.saturating_duration_since(earlier.mono)
    }
}

/// Reads both clocks.
pub fn now() -> Now {
    Now {
        mono: Instant::now(),
        // A host whose clock stands before 1970 has no usable wall clock; zero keeps us running and is plain to see.
        utc: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
    }
}
