//! Proof that a media thread makes progress. A thread marks the beginning and end of each step of work; one that stays
//! inside a step for too long is hung, and then the heartbeat stays away so that the supervisor notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock;

/// Longest honest step: one picture decoded or encoded. Ten times what a loaded host needs for one of 1080p.
pub const STEP_MAX: Duration = Duration::from_secs(1);

const IDLE: u64 = u64::MAX;

/// One thread's pulse. Clones are the same pulse.
#[derive(Clone, Debug)]
pub struct Pulse {
    epoch: Instant,
    /// Milliseconds from `epoch` to the beginning of the current step; [`IDLE`] outside of one.
    busy_since: Arc<AtomicU64>,
}

impl Pulse {
    /// A thread that is not at work.
    pub fn new() -> Self {
        Self { epoch: clock::now().mono, busy_since: Arc::new(AtomicU64::new(IDLE)) }
    }

    /// A step begins, or one of its parts is done.
    pub fn busy(&self) {
        let ms = clock::now().mono.saturating_duration_since(self.epoch).as_millis();
        self.busy_since.store(u64::try_from(ms).unwrap_or(IDLE - 1), Ordering::Relaxed);
    }

    /// The step is done; the thread waits for others.
    pub fn idle(&self) {
        self.busy_since.store(IDLE, Ordering::Relaxed);
    }

    /// Whether the current step takes longer than [`STEP_MAX`].
    pub fn is_hung(&self, now: Instant) -> bool {
        let since = self.busy_since.load(Ordering::Relaxed);
        since != IDLE && now.saturating_duration_since(self.epoch) > Duration::from_millis(since) + STEP_MAX
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_step_is_a_hang() {
        let pulse = Pulse::new();
        let later = pulse.epoch + Duration::from_secs(60);
        assert!(!pulse.is_hung(later), "idle for a minute");
        pulse.busy();
        assert!(!pulse.is_hung(pulse.epoch + STEP_MAX / 2), "at work");
        assert!(pulse.is_hung(later), "at work for a minute");
        pulse.idle();
        assert!(!pulse.is_hung(later), "done");
    }
}
