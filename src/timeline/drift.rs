//! How fast a source's clock runs, seen from here.
//!
//! In:    when each picture arrived, and its time on the source's timeline.
//! Out:   by how much the source has fallen behind since it was first heard, and the slope of that, free of jitter.
//! Never: takes lateness for drift: what the network adds to the delay it takes away again, so the least delay of a while counts.

use std::collections::VecDeque;

/// The least delay of so long is one point, ticks. At 25 frames a second the least of 250 is taken.
const WINDOW: i64 = 10 * 90_000;
/// Points that are remembered: ten minutes.
const POINTS: usize = 60;
/// Points whose middle one is the position: one window in which everything came late moves nothing.
const MIDDLE_OF: usize = 5;
/// No clock that makes television gains more in a window, ticks: 10 ms are 1000 ppm, and ISO 13818-1 §2.4.2.1 allows 30. What gains more
/// was late before, and is not any more.
const GAIN_MAX: i64 = 900;
/// Points it takes until a slope is told: two minutes.
const SLOPE_FROM: usize = 12;

/// The clock of one source on one connection.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    /// When the window began, and the least delay in it.
    window: Option<(i64, i64)>,
    /// Middle of each window, and its least delay.
    points: VecDeque<(i64, i64)>,
    /// The delay that counts as none.
    base: Option<i64>,
    /// The furthest ahead it has been.
    lowest: i64,
}

impl Drift {
    /// Notes that what lies at tick `at` of the source arrived at tick `arrival` of the host's steady clock. True where a window
    /// has ended, so that there is news.
    pub fn observe(&mut self, arrival: i64, at: i64) -> bool {
        let delay = arrival - at;
        match &mut self.window {
            Some((began, least)) if arrival - *began < WINDOW => {
                *least = delay.min(*least);
                false
            }
            window => {
                let ended = window.replace((arrival, delay));
                let Some((began, least)) = ended else { return false };
                if self.points.len() == POINTS {
                    self.points.pop_front();
                }
                self.points.push_back((began + WINDOW / 2, least));
                true
            }
        }
    }

    /// By how many ticks it has fallen behind, beside what it was behind when it was first heard; that counts as `known`, which
    /// others on its timeline have found. `None` while it is too early to say.
    pub fn position(&mut self, known: i64) -> Option<i64> {
        if self.points.len() < MIDDLE_OF {
            return None;
        }
        let mut last: Vec<i64> = self.points.iter().rev().take(MIDDLE_OF).map(|(_, least)| *least).collect();
        last.sort_unstable();
        let middle = last[MIDDLE_OF / 2];
        let Some(base) = self.base else {
            (self.base, self.lowest) = (Some(middle - known), known);
            return Some(known);
        };
        let position = (middle - base).max(self.lowest - GAIN_MAX);
        self.base = Some(middle - position);
        self.lowest = self.lowest.min(position);
        Some(position)
    }

    /// By how much its clock is slow, in millionths; below 0 it is fast. `None` in the first two minutes.
    pub fn ppm(&self) -> Option<f64> {
        if self.points.len() < SLOPE_FROM {
            return None;
        }
        // Theil and Sen's: the middle of the slopes between all points cares little for a third of them being wrong.
        let mut slopes: Vec<f64> = Vec::with_capacity(POINTS * POINTS / 2);
        for (i, (from, low)) in self.points.iter().enumerate() {
            slopes.extend(self.points.iter().skip(i + 1).map(|(to, high)| (high - low) as f64 / (to - from) as f64));
        }
        slopes.sort_unstable_by(f64::total_cmp);
        slopes.get(slopes.len() / 2).map(|slope| slope * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `minutes` of 25 pictures a second from a clock that is slow by `ppm`; `jitter` in ticks by the picture's number.
    fn heard(minutes: i64, ppm: i64, jitter: impl Fn(i64) -> i64) -> Drift {
        let mut drift = Drift::default();
        for n in 0..minutes * 60 * 25 {
            let at = n * 3600;
            drift.observe(at + at * ppm / 1_000_000 + jitter(n), at);
            drift.position(0);
        }
        drift
    }

    #[test]
    fn a_slope_is_found_under_jitter_of_tens_of_milliseconds() {
        for ppm in [-100, -20, 0, 5, 100, 300] {
            // A little arithmetic in place of chance: spread over 0 to 60 ms.
            let mut drift = heard(10, ppm, |n| n * 7_919 % 5_400);
            let found = drift.ppm().expect("ten minutes are enough");
            assert!((found - ppm as f64).abs() < 3.0, "{found} for {ppm}");
            let moved = drift.position(0).expect("long known");
            // From the third window to the third before last: nine and a half minutes, less what is not done yet.
            let want = ppm * 54 * 90_000 * 10 / 1_000_000;
            assert!((moved - want).abs() < 200, "{moved} for {want}");
        }
    }

    #[test]
    fn a_minute_of_lateness_is_no_drift_and_a_stall_neither() {
        let mut late = heard(10, 0, |n| if (6000..6400).contains(&n) { 45_000 } else { n * 31 % 900 });
        assert!(late.position(0).expect("known").abs() < 900);
        assert!(late.ppm().expect("known").abs() < 1.0);
    }

    /// On a busy host the first half minute comes late; that it comes in time later is no reason to leave pictures out.
    #[test]
    fn who_was_late_at_first_is_not_fast() {
        for late in [2_000, 30_000] {
            let mut drift = heard(10, 0, |n| n * 31 % 900 + if n < 1000 { late } else { 0 });
            let position = drift.position(0).expect("known");
            assert!((-GAIN_MAX - 900..900).contains(&position), "{position} after {late}");
        }
    }

    #[test]
    fn who_is_late_for_long_and_then_in_time_is_where_it_was() {
        let mut drift = heard(10, -30, |n| if (6000..9000).contains(&n) { 45_000 } else { n * 31 % 900 });
        let moved = drift.position(0).expect("known");
        assert!((moved + 30 * 54 * 90_000 * 10 / 1_000_000).abs() < 900, "{moved}");
    }

    #[test]
    fn who_comes_later_begins_where_the_others_are() {
        let mut drift = Drift::default();
        for n in 0..3000 {
            drift.observe(n * 3600 + 77_777, n * 3600);
        }
        assert_eq!(drift.position(5_000), Some(5_000));
        assert_eq!(drift.ppm(), None, "after two minutes only");
    }

    proptest! {
        #[test]
        fn jitter_alone_moves_nothing_by_a_frame(seed in any::<u64>(), spread in 1u64..9_000) {
            // Hours of it are in the simulation of the timeline; this is about any spread up to 100 ms. Neighbouring numbers must not give
            // neighbouring jitter, or 250 pictures can all be late: splitmix64.
            let mixed = |n: i64| {
                let z = seed.wrapping_add((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ z >> 31
            };
            let mut drift = heard(4, 0, |n| (mixed(n) % spread) as i64);
            prop_assert!(drift.position(0).expect("known").abs() < 900);
        }
    }
}
