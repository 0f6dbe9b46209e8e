//! How long to wait before a child is started again.

use std::time::{Duration, Instant};

/// First delay: a lone crash is mended before a viewer could notice it.
const FIRST: Duration = Duration::from_millis(100);
/// Longest delay: a fault that went away is noticed within this time.
const LAST: Duration = Duration::from_secs(5);
/// A life of this length is a good one: what ended it is a new fault.
const GOOD_LIFE: Duration = Duration::from_secs(30);

/// Delays between restarts: 100 ms, doubled with every short life up to 5 s, back to 100 ms after a life of 30 s.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    started: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST, started: None }
    }
}

impl Backoff {
    /// A child was started.
    pub fn started(&mut self, at: Instant) {
        self.started = Some(at);
    }

    /// The child ended, or could not be started at all. Returns how long to wait before the next start.
    pub fn ended(&mut self, at: Instant) -> Duration {
        let life = self.started.take().map_or(Duration::ZERO, |since| at.saturating_duration_since(since));
        if life >= GOOD_LIFE {
            self.next = FIRST;
        }
        let delay = self.next;
        self.next = (delay * 2).min(LAST);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lives_double_the_delay_and_a_good_one_resets_it() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let mut life = |seconds: u64| {
            backoff.started(start);
            backoff.ended(start + Duration::from_secs(seconds)).as_millis()
        };
        let short: Vec<_> = (0..8).map(|_| life(1)).collect();
        assert_eq!(short, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(life(30), 100, "a good life");
        assert_eq!(life(29), 200, "just short of one");
    }

    #[test]
    fn a_start_that_failed_counts_as_a_life_of_no_length() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        backoff.started(start);
        backoff.ended(start);
        assert_eq!(backoff.ended(start + Duration::from_secs(100)).as_millis(), 200);
    }
}
