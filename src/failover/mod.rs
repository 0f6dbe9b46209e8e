//! One pipeline's choice among its sources.
//!
//! In:    how each source fares, in the order of preference; the operator's orders; the time.
//! Out:   which source to take, and when to ask again.
//! Never: looks into media, or leaves a source that flows unless the config names what it is left for.
//!
//! A silent source is left as soon as another one is alive. For everything else there is a hold-down: no change within it of
//! the last one, and nobody is gone back to who has not been well for as long. So a source that comes and goes costs one
//! change, however often it does.

mod judge;

#[cfg(test)]
mod policy_tests;

pub use judge::{Evidence, FaultNews, Judge, Reason, Score};

use std::time::Duration;

use crate::clock::Now;
use crate::config::{self, Condition, SourceOrder};

/// At the first choice a preferred source that is not there yet is waited for so long after another one flows: publishers
/// started together do not connect in order.
const FIRST_CHOICE_GRACE: Duration = Duration::from_millis(500);

/// How a source fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// When media last arrived.
    pub last_media: Option<Now>,
    /// Since when media has arrived without a break of `loss_after`.
    pub flowing_since: Option<Now>,
    /// The same without a break of half of `loss_after`.
    pub steady_since: Option<Now>,
    /// A key frame with an unbroken chain behind it is at hand.
    pub joinable: bool,
    /// The worst of what it is to be left for, if anything.
    pub fault: Option<Condition>,
    /// Something of that kind is there, but not for long enough.
    pub suspect: bool,
    /// When the last of that kind was over; `None`: there never was.
    pub well_since: Option<Now>,
    /// Points its score has lost to faults, 0 to 100.
    pub lost_points: u8,
}

/// A source with as many points more is better even if it has faults of its own.
const CLEARLY_BETTER: u8 = 20;

impl Health {
    /// Notes that media arrived.
    pub fn media(&mut self, now: Now, loss_after: Duration) {
        if !self.flows(now, loss_after) {
            self.flowing_since = Some(now);
        }
        if !self.flows(now, loss_after / 2) {
            self.steady_since = Some(now);
        }
        self.last_media = Some(now);
    }

    /// Media arrived within `loss_after`.
    pub fn flows(&self, now: Now, loss_after: Duration) -> bool {
        self.last_media.is_some_and(|at| now.since(at) < loss_after)
    }
}

/// Why a source was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The first choice.
    First,
    /// The one on air went silent.
    Loss,
    /// The one on air flows, but with a fault.
    Fault(Condition),
    /// A preferred one has been well for long enough.
    Revert,
    /// The operator said so.
    Order,
}

/// What an operator may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Take this source now; from then on all goes its usual way.
    Take(usize),
    /// Take this source, and stay on it whatever becomes of it.
    Lock(usize),
    /// No lock any more.
    Unlock,
}

/// Why an order is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There is no such source.
    #[error("the pipeline has no such source")]
    Unknown,
    /// It could not be shown.
    #[error("nothing comes from the source, or no key frame yet")]
    NotUsable,
}

/// A change of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Place in the order of preference.
    pub to: usize,
    /// Why.
    pub why: Why,
}

/// One pipeline's choice.
#[derive(Clone, Debug)]
pub struct Failover {
    config: config::Failover,
    on_air: Option<usize>,
    /// When any source was first seen flowing while none was on air.
    first_seen: Option<Now>,
    /// The last change; the first choice is none.
    switched: Option<Now>,
    /// An order not yet followed.
    ordered: Option<usize>,
    locked: bool,
}

impl Failover {
    /// Nothing chosen yet.
    pub const fn new(config: config::Failover) -> Self {
        Self { config, on_air: None, first_seen: None, switched: None, ordered: None, locked: false }
    }

    /// The source on air: its place in the order of preference.
    pub const fn on_air(&self) -> Option<usize> {
        self.on_air
    }

    /// It stays on its source whatever becomes of it.
    pub const fn locked(&self) -> bool {
        self.locked
    }

    /// Takes an order; the next decision follows it.
    ///
    /// # Errors
    /// The source could not be shown. Nothing changes then.
    pub fn order(&mut self, now: Now, order: Order, sources: &[Health]) -> Result<(), Refused> {
        let (Order::Take(to) | Order::Lock(to)) = order else {
            self.locked = false;
            return Ok(());
        };
        let source = sources.get(to).ok_or(Refused::Unknown)?;
        if self.on_air != Some(to) && !(source.joinable && source.flows(now, self.config.loss_after)) {
            return Err(Refused::NotUsable);
        }
        self.ordered = Some(to);
        self.locked = matches!(order, Order::Lock(_));
        Ok(())
    }

    /// Decides. `sources` is in the order of preference and always the same list.
    pub fn decide(&mut self, now: Now, sources: &[Health]) -> Option<Switch> {
        let switch = match self.ordered.take().filter(|&to| self.on_air != Some(to)) {
            Some(to) => Some(Switch { to, why: Why::Order }),
            None if self.locked => None,
            None => self.choose(now, sources),
        }?;
        if self.on_air.is_some() {
            self.switched = Some(now);
        }
        self.on_air = Some(switch.to);
        Some(switch)
    }

    fn choose(&mut self, now: Now, sources: &[Health]) -> Option<Switch> {
        let usable = |s: &Health| s.joinable && s.flows(now, self.config.loss_after);
        match self.on_air {
            None => {
                let best = self.best(sources, usable)?;
                let first_seen = *self.first_seen.get_or_insert(now);
                let waited = now.since(first_seen) >= FIRST_CHOICE_GRACE;
                (best == 0 || waited).then_some(Switch { to: best, why: Why::First })
            }
            Some(current) if !sources[current].flows(now, self.config.loss_after) => {
                let trusted = |s: &Health| usable(s) && self.outlived(now, s, &sources[current]);
                self.best(sources, trusted).map(|to| Switch { to, why: Why::Loss })
            }
            Some(current) => {
                let fault = self.leaves(now, sources, current);
                fault.or_else(|| self.reverts_to(now, sources, current).map(|to| Switch { to, why: Why::Revert }))
            }
        }
    }

    /// The best of those that `may` be taken: without faults before one that has some, then in order; or, where they are
    /// equal, by score.
    fn best(&self, sources: &[Health], may: impl Fn(&Health) -> bool) -> Option<usize> {
        let rank = |s: &Health| match self.config.order {
            SourceOrder::Preferred => (s.fault.is_some(), if s.fault.is_some() { s.lost_points } else { 0 }),
            SourceOrder::Equal => (s.fault.is_some(), s.lost_points),
        };
        (0..sources.len()).filter(|&at| may(&sources[at])).min_by_key(|&at| rank(&sources[at]))
    }

    /// A source that flows with a fault is left for one that is well, or clearly better.
    fn leaves(&self, now: Now, sources: &[Health], current: usize) -> Option<Switch> {
        let fault = sources[current].fault?;
        if self.held_until().is_some_and(|until| now.mono < until.mono) {
            return None;
        }
        let points = sources[current].lost_points;
        let better = |s: &Health| {
            s.joinable
                && !s.suspect
                && s.flows(now, self.config.loss_after)
                && s.flowing_since.is_some_and(|since| now.since(since) >= self.config.loss_after)
                && (s.fault.is_none() || s.lost_points + CLEARLY_BETTER <= points)
        };
        self.best(sources, better).map(|to| Switch { to, why: Why::Fault(fault) })
    }

    fn held_until(&self) -> Option<Now> {
        self.switched.map(|at| at.after(self.config.hold_down))
    }

    /// Whether a source is alive where the one on air is not: it flowed on when that one stopped, or has flowed for `loss_after`
    /// since. When everything stops at once it is the network or this host that stalled: a switch would win nothing. So what
    /// came just before the end of a stall, or first after it, is no sign of life; a source that always comes in
    /// lumps has to show a little more of it.
    fn outlived(&self, now: Now, other: &Health, on_air: &Health) -> bool {
        let (Some(since), Some(last)) = (other.flowing_since, other.last_media) else { return false };
        let Some(stopped) = on_air.last_media else { return true };
        if since.mono > stopped.mono {
            return now.since(since) >= self.config.loss_after;
        }
        let half = self.config.loss_after / 2;
        let steady = other.steady_since.is_some_and(|since| since.mono <= stopped.mono);
        last.since(stopped) >= if steady { half } else { 3 * half }
    }

    fn reverts_to(&self, now: Now, sources: &[Health], current: usize) -> Option<usize> {
        sources[..current].iter().position(|s| {
            s.joinable
                && !s.suspect
                && s.flows(now, self.config.loss_after)
                && self.may_be_back(s).is_some_and(|at| now.mono >= at.mono)
        })
    }

    /// When a preferred source that stays as it is may be gone back to.
    fn may_be_back(&self, source: &Health) -> Option<Now> {
        let config::Revert::After(well) = self.config.revert else { return None };
        if self.config.order == SourceOrder::Equal || source.fault.is_some() {
            return None;
        }
        let well = well.max(self.config.hold_down);
        let flows = source.flowing_since?.after(well);
        let is_well = source.well_since.map(|since| since.after(well));
        [Some(flows), is_well, self.held_until()].into_iter().flatten().max_by_key(|at| at.mono)
    }

    /// When the answer may change although nothing arrives.
    pub fn wake_at(&self, now: Now, sources: &[Health]) -> Option<Now> {
        let loss = self
            .on_air
            .and_then(|current| sources[current].last_media)
            .map(|at| at.after(self.config.loss_after))
            .filter(|at| at.mono > now.mono);
        // A source that came back too late to be trusted becomes so after `loss_after`.
        let trust = sources
            .iter()
            .filter(|s| self.on_air.is_some() && s.flows(now, self.config.loss_after))
            .filter_map(|s| s.flowing_since)
            .map(|since| since.after(self.config.loss_after))
            .filter(|at| at.mono > now.mono)
            .min_by_key(|at| at.mono);
        let grace = self.first_seen.filter(|_| self.on_air.is_none()).map(|at| at.after(FIRST_CHOICE_GRACE));
        // Once it is over, the first source that can be joined is taken: with its media.
        let grace = grace.filter(|at| at.mono > now.mono);
        let revert = self.on_air.and_then(|current| {
            let flowing = sources[..current].iter().filter(|s| s.flows(now, self.config.loss_after));
            let back = flowing.filter_map(|s| self.may_be_back(s)).filter(|at| at.mono > now.mono);
            back.min_by_key(|at| at.mono)
        });
        let faulty = self.on_air.is_some_and(|current| sources[current].fault.is_some());
        let held = self.held_until().filter(|at| faulty && at.mono > now.mono);
        [loss, trust, grace, revert, held].into_iter().flatten().min_by_key(|at| at.mono)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LOSS: Duration = Duration::from_millis(200);

    fn config(revert: config::Revert) -> config::Failover {
        config::Failover::new(LOSS, Duration::from_secs(4), revert)
    }

    fn start() -> Now {
        Now { mono: Instant::now(), utc: Duration::from_secs(1_795_262_400) }
    }

    /// Runs 40 ms frames; `alive(source, ms)` tells who sends. Returns the switches with their time in ms.
    fn run(revert: config::Revert, ms: u64, alive: impl Fn(usize, u64) -> bool) -> Vec<(u64, Switch)> {
        let (t0, mut failover) = (start(), Failover::new(config(revert)));
        let mut health = [Health { joinable: true, ..Health::default() }; 2];
        let mut switches = Vec::new();
        for at in (0..ms).step_by(10) {
            let now = t0.after(Duration::from_millis(at));
            for (i, h) in health.iter_mut().enumerate() {
                if at % 40 == 0 && alive(i, at) {
                    h.media(now, LOSS);
                }
            }
            switches.extend(failover.decide(now, &health).map(|s| (at, s)));
        }
        switches
    }

    #[test]
    fn takes_the_preferred_source_first() {
        assert_eq!(run(config::Revert::Never, 2000, |_, _| true), [(0, Switch { to: 0, why: Why::First })]);
    }

    #[test]
    fn waits_a_moment_for_the_preferred_source_at_the_start() {
        let late_by_300 = run(config::Revert::Never, 2000, |i, ms| i == 1 || ms >= 300);
        assert_eq!(late_by_300, [(320, Switch { to: 0, why: Why::First })]);
        let absent = run(config::Revert::Never, 2000, |i, _| i == 1);
        assert_eq!(absent, [(500, Switch { to: 1, why: Why::First })]);
    }

    #[test]
    fn leaves_a_silent_source_after_loss_after_and_not_sooner() {
        let switches = run(config::Revert::Never, 5000, |i, ms| i == 1 || !(1000..3000).contains(&ms));
        // The last frame came at 960 ms.
        assert_eq!(switches[1..], [(1160, Switch { to: 1, why: Why::Loss })]);
    }

    #[test]
    fn goes_back_only_after_the_hold_down() {
        let revert = config::Revert::After(Duration::from_secs(2));
        let switches = run(revert, 8000, |i, ms| i == 1 || !(1000..3000).contains(&ms));
        assert_eq!(switches[2..], [(5000, Switch { to: 0, why: Why::Revert })]);
    }

    #[test]
    fn a_flapping_source_is_not_returned_to() {
        let revert = config::Revert::After(Duration::from_secs(2));
        let switches = run(revert, 60_000, |i, ms| i == 1 || (ms / 1000) % 2 == 0);
        assert_eq!(switches.len(), 2, "{switches:?}");
    }

    #[test]
    fn a_stall_of_everything_at_once_changes_nothing() {
        let stalls = |ms: u64| ms % 1000 < 320;
        // The other one comes back a frame earlier each time.
        let switches = run(config::Revert::Never, 10_000, |i, ms| !stalls(ms + if i == 1 { 40 } else { 0 }));
        assert_eq!(switches.len(), 1, "{switches:?}");
    }

    #[test]
    fn what_came_last_before_a_stall_of_everything_is_no_sign_of_life() {
        // The other one's frames come 30 ms behind, so it is not silent for quite as long.
        let (t0, mut failover) = (start(), Failover::new(config(config::Revert::Never)));
        let mut health = [Health { joinable: true, ..Health::default() }; 2];
        for at in (0..3000).step_by(10) {
            let now = t0.after(Duration::from_millis(at));
            for (h, behind) in health.iter_mut().zip([0, 30]) {
                if at % 40 == behind && !(1000..1250).contains(&at) {
                    h.media(now, LOSS);
                }
            }
            let switch = failover.decide(now, &health);
            assert!(switch.is_none_or(|s| s.why == Why::First), "{at} ms: {switch:?}");
        }
    }

    #[test]
    fn what_comes_first_after_a_stall_of_everything_is_no_sign_of_life() {
        let (t0, mut failover) = (start(), Failover::new(config(config::Revert::Never)));
        let mut health = [Health { joinable: true, ..Health::default() }; 2];
        for at in (0..3000).step_by(10) {
            let now = t0.after(Duration::from_millis(at));
            // The preferred one's last frame came at 1000, the other one's at 1020; at 1200 the other one is heard first.
            for (place, behind) in [(1, 20), (0, 0)] {
                if at == 1200 || at % 40 == behind && !(1030..1200).contains(&at) {
                    health[place].media(now, LOSS);
                }
                let switch = failover.decide(now, &health);
                assert!(switch.is_none_or(|s| s.why == Why::First), "{at} ms: {switch:?}");
            }
        }
    }

    #[test]
    fn a_source_that_comes_in_lumps_is_taken_too() {
        // Every 160 ms; the other one stops at 1000.
        let (t0, mut failover) = (start(), Failover::new(config(config::Revert::Never)));
        let mut health = [Health { joinable: true, ..Health::default() }; 2];
        let mut switches = Vec::new();
        for at in (0..3000).step_by(10) {
            let now = t0.after(Duration::from_millis(at));
            for (h, comes) in health.iter_mut().zip([at % 40 == 0 && at <= 1000, at % 160 == 0]) {
                if comes {
                    h.media(now, LOSS);
                }
            }
            switches.extend(failover.decide(now, &health).map(|s| (at, s)));
        }
        // 960, 1120, 1280, 1440: the first that is 300 ms later than the silence began.
        assert_eq!(switches[1..], [(1440, Switch { to: 1, why: Why::Loss })]);
    }

    #[test]
    fn after_the_grace_nobody_is_woken_for_nothing() {
        let (t0, mut failover) = (start(), Failover::new(config(config::Revert::Never)));
        let mut health = [Health { joinable: true, ..Health::default() }; 2];
        health[1].media(t0, LOSS);
        assert_eq!(failover.decide(t0, &health), None, "the preferred one may still come");
        // Then nothing comes any more.
        let later = t0.after(FIRST_CHOICE_GRACE);
        assert_eq!(failover.decide(later, &health), None);
        assert_eq!(failover.wake_at(later, &health), None);
    }

    #[test]
    fn after_a_silence_of_all_the_first_to_stay_is_taken() {
        let switches = run(config::Revert::Never, 10_000, |i, ms| ms < 2000 || (ms >= 5000 && i == 1));
        assert_eq!(switches[1..], [(5200, Switch { to: 1, why: Why::Loss })]);
    }

    #[test]
    fn stays_where_it_is_when_nobody_flows() {
        let switches = run(config::Revert::Never, 5000, |_, ms| !(1000..3000).contains(&ms));
        assert_eq!(switches.len(), 1, "{switches:?}");
    }
}
