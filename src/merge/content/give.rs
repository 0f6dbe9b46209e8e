//! What is given out, and what comes too late for that.
//!
//! In:    the copies of what is next.
//! Out:   packets, each with the loose ones in front of it.
//! Never: decides what is next.

use std::collections::VecDeque;

use super::super::{Micros, News, PathState};
use super::align::pcr_step;
use super::loose::Front;
use super::plan::Step;
use super::weave::CLOCK_MAX;
use super::{Content, Given, PLAIN, SLACK};

/// Packets of one fingerprint among which one that was given out is looked for.
const TWINS: usize = 16;

/// Copies of a packet that has twins are not further apart than that, and twins are not closer: frames of silence.
const TWIN: Micros = 20_000;

/// One datagram that was overtaken has a PCR in front of it that belongs behind it; 27 MHz ticks.
const OVERTAKEN: i64 = 50 * 27_000;

impl Given {
    /// What has that PCR in front of it came later.
    fn is_past(&self, since: Option<u64>) -> bool {
        self.since.zip(since).is_some_and(|(then, now)| (OVERTAKEN..CLOCK_MAX).contains(&pcr_step(then, now)))
    }
}

impl Content {
    /// Takes away from the front of a queue what was given out already, and what comes too late.
    pub(super) fn settle(&mut self, path: usize) {
        loop {
            let end = self.history.end();
            let mine = &mut self.paths[path];
            mine.trim();
            let Some((print, head)) = mine.head() else { return };
            if head.dead {
                mine.figures.unusable += 1;
                mine.drop_front();
                continue;
            }
            if head.is_bare() && !self.grid.agrees() {
                mine.loosen_front();
                continue;
            }
            let behind = mine.cursor < end;
            let (arrival, unit, twins) = (head.arrival, head.unit, head.filling || mine.trail.only(print).is_none());
            let at = mine.skew.aligned(arrival);
            let plain = mine.skew.jitter.min(TWIN) + PLAIN;
            let follows = self.counters.go_on(head);
            let unseen = arrival < mine.aligned_at;
            let only = self.history.only(print).is_some() && !twins;
            // Of packets that look alike, one that was given out while this one already waited, or plainly earlier, is not the same.
            let may = if head.filling || follows { plain } else { plain.max(TWIN) };
            let since = head.since;
            let same = |given: &Given| {
                if given.is_past(since) {
                    return false;
                }
                only && (!follows || (at - given.at).abs() <= plain.max(TWIN))
                    || (unseen || arrival >= given.when) && (at - given.at).abs() <= may
            };
            let mut from = mine.cursor;
            let earlier = std::iter::from_fn(|| {
                let place = self.history.find(print, from).filter(|_| behind)?;
                from = place + 1;
                Some(place)
            });
            let twin = earlier.take(TWINS).find_map(|place| {
                let (_, given) = self.history.get(place)?;
                same(given).then_some((place, *given))
            });
            if let Some((place, given)) = twin {
                if given.guided && path != self.guide && !twins {
                    mine.skew.observe(arrival - given.at);
                }
                mine.cursor = place + 1;
                mine.last_unit = unit;
                (mine.alone, mine.breaks) = (0, 0);
                let mine = &mut self.paths[path];
                mine.figures.late += 1;
                mine.drop_front();
                continue;
            }
            let last = end.checked_sub(1).and_then(|last| self.history.get(last));
            let passed = if unseen {
                at + self.window < mine.aligned_at
            } else {
                last.is_some_and(|(_, last)| arrival >= last.when && at < last.at - plain)
            };
            let back = head.pcr.zip(self.clocks.get(&head.pid)).is_some_and(|(pcr, last)| pcr_step(*last, pcr) <= 0);
            let missed = self.counters.ahead(head).is_some_and(|ahead| !(1..=8).contains(&ahead));
            if behind && (passed && missed || back && !head.counted) {
                mine.figures.late += 1;
                mine.drop_front();
                continue;
            }
            // Sent twice, or overtaken by what was given out. What has twins repeats itself.
            if head.counted
                && !twins
                && let Some((_, twin)) = self.history.only(print).and_then(|at| self.history.get(at))
                && same(twin)
                && (at - twin.at).abs() < if follows { plain.max(TWIN) } else { SLACK }
                && !(0..self.paths.len()).any(|at| at != path && self.has_waiting(at, print))
            {
                let mine = &mut self.paths[path];
                mine.figures.duplicates += 1;
                mine.drop_front();
                continue;
            }
            return;
        }
    }

    /// Overtaken by what is in front of it, and given out from another path's copy meanwhile. [`Self::settle`] sees only what is next on its path.
    pub(super) fn was_given(&self, step: &Step) -> bool {
        step.members().all(|(path, place)| {
            let mine = &self.paths[path];
            let Some((print, element)) = mine.trail.get(place) else {
                return false;
            };
            let given = self.history.only(print).and_then(|at| self.history.get(at));
            let may = if self.counters.go_on(element) { TWIN } else { SLACK };
            let near = |(_, given): (u64, &Given)| {
                !given.is_past(element.since) && (mine.skew.aligned(element.arrival) - given.at).abs() <= may
            };
            !element.filling && element.counted && given.is_some_and(near)
        })
    }

    /// Leaves out what was given out already.
    pub(super) fn pass_over(&mut self, step: &Step) {
        for (path, place) in step.members() {
            let mine = &mut self.paths[path];
            if let Some(element) = mine.trail.get_mut(place) {
                mine.figures.duplicates += u64::from(!std::mem::replace(&mut element.gone, true));
            }
            mine.trim();
        }
    }

    fn has_waiting(&self, path: usize, print: u64) -> bool {
        self.paths[path].trail.find(print, 0).is_some_and(|place| self.waits(path, place))
    }

    /// Gives out a packet, or a datagram of loose ones, for all that have it.
    pub(super) fn give(&mut self, step: &Step, now: Micros, news: &mut VecDeque<News>) {
        let end = self.history.end();
        let guide = self.guide;
        let having: Vec<(usize, u64)> = step.members().filter(|(path, place)| self.waits(*path, *place)).collect();
        let whole: Vec<bool> = having.iter().map(|(path, _)| self.paths[*path].cursor == end).collect();
        let exact = self.compare_datagrams(&having);
        let mut best: Option<(usize, u64, u64, Micros)> = None;
        let (mut at, mut guided) = (Micros::MAX, None);
        for (path, place) in &having {
            let mine = &mut self.paths[*path];
            let skew = mine.skew;
            let Some((print, _)) = mine.trail.get(*place) else { continue };
            let Some(element) = mine.trail.get_mut(*place) else { continue };
            element.gone = true;
            mine.last_unit = element.unit;
            let aligned = skew.aligned(element.arrival);
            at = at.min(aligned);
            if *path == guide {
                guided = Some(aligned);
            }
            if best.is_none_or(|(.., arrival)| element.arrival < arrival) {
                best = Some((*path, *place, print, element.arrival));
            }
        }
        let Some((giver, place, print, _)) = best else { return };
        self.given_at = self.given_at.max((at + self.window).min(now));
        let since = self.paths[guide].clock.and_then(|(pid, ..)| self.clocks.get(&pid).copied());
        self.history.push(print, Given { at: guided.unwrap_or(at), guided: guided.is_some(), when: now, since });
        let Some(element) = self.paths[giver].trail.get_mut(place) else { return };
        let (packet, twins) = (element.packet.clone(), element.filling);
        let goes = self.counters.go_on(element);
        self.unrecovered += self.counters.advance(element);
        if let Some(pcr) = element.pcr {
            self.clocks.insert(element.pid, pcr);
        }
        let (given_at, ready) = (self.given_at, &mut self.ready);
        if exact {
            let (before, after) = (std::mem::take(&mut element.before), std::mem::take(&mut element.after));
            self.loose.give_all(before, |packet| ready.push_back((given_at, giver, packet)));
            if !packet.is_empty() {
                ready.push_back((given_at, giver, packet.clone()));
            }
            self.loose.give_all(after, |packet| ready.push_back((given_at, giver, packet)));
        } else {
            let mut fronts = Vec::with_capacity(having.len());
            let mut afters = Vec::with_capacity(having.len());
            for ((path, place), whole) in having.iter().zip(whole) {
                let mine = &mut self.paths[*path];
                let between = std::mem::take(&mut mine.between);
                let Some(element) = mine.trail.get_mut(*place) else { continue };
                let before = std::mem::take(&mut element.before);
                fronts.push(Front { path: *path, whole, begins: element.slot == 0, between, before });
                afters.push((*path, std::mem::take(&mut element.after)));
            }
            let alike = self.grid.agrees();
            self.loose.give(guide, alike, fronts, |path, packet| ready.push_back((given_at, path, packet)));
            ready.push_back((given_at, giver, packet.clone()));
            afters.into_iter().for_each(|(path, after)| self.loose.trail(path, after));
        }
        let copies = having.len();
        for (path, place) in &having {
            let mine = &mut self.paths[*path];
            let other = guided.filter(|_| *path != guide && !twins);
            if let Some((guided, (_, element))) = other.zip(mine.trail.get(*place)) {
                mine.skew.observe(element.arrival - guided);
            }
            mine.cursor = end + 1;
            if !packet.is_empty() && copies > 1 {
                (mine.alone, mine.breaks) = (0, 0);
            } else if !packet.is_empty() {
                mine.alone += 1;
                mine.breaks += u32::from(!goes);
            }
            mine.trim();
        }
        if !packet.is_empty() {
            self.count(giver, &having);
            self.part_strangers(giver, now, news);
        }
    }

    /// Whether a packet's datagram is the same on all paths that have it, and nothing waits in front of it.
    fn compare_datagrams(&mut self, having: &[(usize, u64)]) -> bool {
        let mut units = having.iter().filter_map(|(path, place)| {
            let (_, element) = self.paths[*path].trail.get(*place)?;
            Some((element.unit_print, element.slot, element.is_bare()))
        });
        let Some((first, mut slot, bare)) = units.next() else { return false };
        let (mut equal, mut others) = (true, 0);
        for (print, other, _) in units {
            others += 1;
            equal &= print == first;
            slot = slot.min(other);
        }
        if others > 0 && slot == 0 && !bare {
            self.grid.observe(equal);
        }
        let waits = self.loose.waits() || having.iter().any(|(path, _)| !self.paths[*path].between.is_empty());
        bare || equal && self.grid.agrees() && !waits
    }

    /// Counts what each path made of a packet.
    fn count(&mut self, giver: usize, having: &[(usize, u64)]) {
        self.given += 1;
        for (path, mine) in self.paths.iter_mut().enumerate() {
            if mine.figures.state == PathState::Merged && having.iter().all(|(other, _)| *other != path) {
                mine.figures.lost += 1;
            }
        }
        let figures = &mut self.paths[giver].figures;
        figures.contributed += 1;
        figures.saved += u64::from(having.len() == 1);
    }
}
