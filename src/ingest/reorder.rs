//! Puts the packets of one RTP stream in order.
//!
//! In:    packets by extended sequence number, with their arrival.
//! Out:   each at most once, rising, `hold` after its arrival; what is missing by then is given up.
//! Never: reads a clock; keeps more than [`PACKETS_MAX`].
//!
//! Every packet waits, also when none is missing before it: else each gap would look like a pause of the source, and the waiting
//! behind it like a burst.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::clock::Now;

/// Packets that wait; beyond, the oldest goes out before its time. 2.5 s of 35 Mbit/s, or 1 s of 86.
const PACKETS_MAX: usize = 8192;
/// Numbers given up that are remembered, to tell a packet that comes too late from one that comes twice.
const GIVEN_UP_MAX: usize = 1024;

/// What became of packets, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReorderStats {
    /// Came after a later one, in time.
    pub reordered: u64,
    /// Came once more.
    pub duplicates: u64,
    /// Had not come by their time.
    pub given_up: u64,
    /// Of those: came after all.
    pub late: u64,
    /// Went out early for want of room.
    pub crowded: u64,
}

/// One stream's packets on their way out.
#[derive(Debug)]
pub struct Reorder<T> {
    hold: Duration,
    waiting: BTreeMap<u64, (Now, T)>,
    /// When which packet came. The first to come decides when all before it must go.
    order: VecDeque<(Now, u64)>,
    /// The number after the last one that went out.
    next: Option<u64>,
    highest: Option<u64>,
    /// All below this go out now.
    release: u64,
    given_up: BTreeSet<u64>,
    stats: ReorderStats,
}

impl<T> Reorder<T> {
    /// Each packet goes out `hold` after it came.
    pub fn new(hold: Duration) -> Self {
        Self {
            hold,
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            next: None,
            highest: None,
            release: 0,
            given_up: BTreeSet::new(),
            stats: ReorderStats::default(),
        }
    }

    /// From now on packets wait so long, those that wait already included.
    pub fn set_hold(&mut self, hold: Duration) {
        self.hold = hold;
    }

    /// How long packets wait.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Whether it is taken; it is not if it comes twice or too late.
    pub fn push(&mut self, now: Now, number: u64, packet: T) -> bool {
        if self.next.is_some_and(|next| number < next) {
            if self.given_up.remove(&number) {
                self.stats.late += 1;
            } else {
                self.stats.duplicates += 1;
            }
            return false;
        }
        if self.waiting.contains_key(&number) {
            self.stats.duplicates += 1;
            return false;
        }
        if self.highest.is_some_and(|highest| number < highest) {
            self.stats.reordered += 1;
        }
        self.highest = self.highest.max(Some(number));
        self.waiting.insert(number, (now, packet));
        self.order.push_back((now, number));
        if self.waiting.len() > PACKETS_MAX
            && let Some((first, _)) = self.waiting.range(self.release..).next()
        {
            self.release = first + 1;
            self.stats.crowded += 1;
        }
        true
    }

    /// The next packet whose time has come, and when that was.
    pub fn pop(&mut self, now: Now) -> Option<(u64, Now, T)> {
        self.forget_order();
        while let Some((arrival, number)) = self.order.front()
            && now.since(*arrival) >= self.hold
        {
            self.release = self.release.max(number + 1);
            self.order.pop_front();
        }
        let entry = self.waiting.first_entry().filter(|entry| *entry.key() < self.release)?;
        let (number, (arrival, packet)) = entry.remove_entry();
        if let Some(next) = self.next {
            self.stats.given_up += number - next;
            // Only the newest are worth remembering.
            self.given_up.extend(next.max(number.saturating_sub(GIVEN_UP_MAX as u64))..number);
            while self.given_up.len() > GIVEN_UP_MAX {
                self.given_up.pop_first();
            }
        }
        self.next = Some(number + 1);
        let due = arrival.after(self.hold);
        Some((number, if due.mono < now.mono { due } else { now }, packet))
    }

    /// Everything that waits goes out with the next calls of [`Self::pop`].
    pub fn flush(&mut self) {
        self.release = self.highest.map_or(self.release, |highest| highest + 1);
    }

    /// When the next packet's time comes.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.waiting.first_key_value().is_some_and(|(number, _)| *number < self.release) {
            return self.order.front().map(|(arrival, _)| arrival.mono);
        }
        let due = |(arrival, _): &(Now, u64)| arrival.mono + self.hold;
        self.order.iter().find(|(_, number)| self.waiting.contains_key(number)).map(due)
    }

    /// What became of packets.
    pub fn stats(&self) -> ReorderStats {
        self.stats
    }

    /// Arrivals of packets that went out with later ones.
    fn forget_order(&mut self) {
        while let Some((_, number)) = self.order.front()
            && self.next.is_some_and(|next| *number < next)
        {
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOLD: Duration = Duration::from_millis(50);

    fn start() -> Now {
        Now { mono: Instant::now(), utc: Duration::from_secs(1_700_000_000) }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Pushes (ms, number) and returns what went out as (number, ms), asking each millisecond up to `until`.
    fn out(hold: Duration, pushed: &[(u64, u64)], until: u64) -> (Vec<(u64, u64)>, ReorderStats) {
        let (mut reorder, zero) = (Reorder::new(hold), start());
        let mut out = Vec::new();
        for at in 0..=until {
            let now = zero.after(ms(at));
            for (_, number) in pushed.iter().filter(|(when, _)| *when == at) {
                reorder.push(now, *number, ());
            }
            while let Some((number, _, ())) = reorder.pop(now) {
                out.push((number, at));
            }
        }
        (out, reorder.stats())
    }

    #[test]
    fn packets_leave_in_order_each_hold_after_its_arrival() {
        let stats = ReorderStats::default();
        for (name, pushed, want, stats) in [
            ("in order", &[(0, 1), (10, 2)][..], &[(1, 50), (2, 60)][..], stats),
            (
                "swapped: the first to come decides",
                &[(0, 2), (10, 1)],
                &[(1, 50), (2, 50)],
                ReorderStats { reordered: 1, ..stats },
            ),
            ("a gap", &[(0, 1), (10, 3)], &[(1, 50), (3, 60)], ReorderStats { given_up: 1, ..stats }),
            (
                "too late by a hair",
                &[(0, 1), (10, 3), (61, 2)],
                &[(1, 50), (3, 60)],
                ReorderStats { given_up: 1, late: 1, ..stats },
            ),
            (
                "just in time",
                &[(0, 1), (10, 3), (60, 2)],
                &[(1, 50), (2, 60), (3, 60)],
                ReorderStats { reordered: 1, ..stats },
            ),
            ("twice", &[(0, 1), (10, 1), (70, 1)], &[(1, 50)], ReorderStats { duplicates: 2, ..stats }),
            ("before the first one", &[(0, 5), (10, 4)], &[(4, 50), (5, 50)], ReorderStats { reordered: 1, ..stats }),
        ] {
            assert_eq!(out(HOLD, pushed, 200), (want.to_vec(), stats), "{name}");
        }
    }

    #[test]
    fn without_hold_nothing_waits() {
        let (out, stats) = out(Duration::ZERO, &[(0, 1), (0, 3), (1, 2)], 5);
        assert_eq!(out, [(1, 0), (3, 0)]);
        assert_eq!((stats.given_up, stats.late), (1, 1));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut reorder, now) = (Reorder::new(Duration::from_secs(60)), start());
        for number in 0..PACKETS_MAX as u64 + 100 {
            reorder.push(now, number, ());
        }
        let early = std::iter::from_fn(|| reorder.pop(now)).count();
        assert!(early >= 1 && reorder.waiting.len() <= PACKETS_MAX, "{early}");
        reorder.flush();
        assert_eq!(std::iter::from_fn(|| reorder.pop(now)).count() + early, PACKETS_MAX + 100);
    }

    proptest! {
        /// Any network that delays each packet by less than `hold`, loses some and doubles some.
        #[test]
        fn what_arrives_in_time_leaves_once_and_in_order(
            delays in prop::collection::vec((0u64..50, prop::option::of(0u64..50), prop::bool::weighted(0.1)), 1..200),
        ) {
            let mut pushed = Vec::new();
            for (number, (delay, again, lost)) in delays.iter().enumerate().map(|(i, d)| (i as u64, d)) {
                if !lost {
                    pushed.push((number * 3 + delay, number));
                    pushed.extend(again.map(|again| (number * 3 + again, number)));
                }
            }
            pushed.sort_unstable();
            let (out, stats) = out(HOLD, &pushed, 1000);
            let arrived: BTreeSet<u64> = pushed.iter().map(|(_, number)| *number).collect();
            let left: Vec<u64> = out.iter().map(|(number, _)| *number).collect();
            prop_assert_eq!(&left, &arrived.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(stats.duplicates as usize, pushed.len() - arrived.len());
            prop_assert_eq!(stats.late, 0);
        }

        #[test]
        fn it_wakes_when_something_is_due(pushed in prop::collection::vec((0u64..100, 0u64..60), 0..60)) {
            let (mut reorder, zero) = (Reorder::new(HOLD), start());
            let mut sorted = pushed;
            sorted.sort_unstable();
            for (at, number) in sorted {
                let now = zero.after(ms(at));
                reorder.push(now, number, ());
                while reorder.pop(now).is_some() {}
                prop_assert_eq!(reorder.wake_at().is_none(), reorder.waiting.is_empty());
                prop_assert!(reorder.wake_at().is_none_or(|wake| wake > now.mono));
            }
            while let Some(wake) = reorder.wake_at() {
                let now = zero.after(wake - zero.mono);
                prop_assert!(reorder.pop(now).is_some(), "due means due");
            }
        }
    }
}
