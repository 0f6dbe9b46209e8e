//! The order of runs of packets that several paths brought, each path in its own order.
//!
//! In:    the runs of each path between two places where all paths agree, and where continuity counters stand in front of them.
//! Out:   all of the runs, in the order that breaks the fewest rules.
//! Never: knows packets, queues or time of day.
//!
//! It is the shortest way through the ways to interleave the paths (Dijkstra). Each step gives out the next run of one path, or of all
//! that have it. It costs something to break a continuity counter, to tear a datagram apart, to let a run overtake others of its own path,
//! and, as the last resort, to go against the times of arrival. While nobody lost what the others lost as well, and no path changed
//! the order, one way breaks no counter: it is found at once, for every other one soon costs more.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::super::{Micros, PATHS_MAX};

/// A counter that does not go on.
const BREAK: u64 = 1_000_000_000;
/// A packet without payload whose counter is not that of the packet before.
const DOUBT: u64 = BREAK / 4;
/// What lies in one datagram was together when it was sent: never plausible but where a sender has divided it anew beside a loss.
const TEAR: u64 = BREAK * 3 / 2;
/// A run that was overtaken on its path. Less than a break, for it mends two or more.
const OVERTAKE: u64 = BREAK * 3 / 5;
/// A run that comes before what arrived plainly earlier, once for all that follow it there. Jitter is known by then: nearly a break.
const EARLY: u64 = BREAK * 9 / 10;
/// Most that one step against arrival costs. All of a search together stays below [`OVERTAKE`]: arrival only decides what is open.
const EARLY_MAX: u64 = 500_000;
/// How many runs of its path one may have been overtaken by.
const REACH: usize = 4;
/// Steps that are looked at before the best so far has to do: some 10 ms of work.
const STEPS_MAX: usize = 8_000;
/// A counter that has not been seen.
pub(super) const UNKNOWN: u8 = 0xff;

/// Packets next to each other that nothing can come between.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// Bit per path that has it.
    pub members: u8,
    /// When the first copy arrived, or would have on the path the stream began with.
    pub at: Micros,
    /// First counter of each PID (by number within the search); whether it counts.
    pub firsts: Vec<(u8, u8, bool)>,
    /// Last counter of each PID.
    pub lasts: Vec<(u8, u8)>,
}

/// What is to be put in order.
#[derive(Debug, Default)]
pub(super) struct Problem {
    pub runs: Vec<Run>,
    /// Each path's runs in its order; whether one shares its datagram with the one before it on the path.
    pub lists: Vec<Vec<(u16, bool)>>,
    /// Counter of each PID in front of it all.
    pub counters: Vec<u8>,
    /// How far times of arrival on each path are off.
    pub jitters: Vec<Micros>,
}

/// A way so far.
#[derive(Clone, Debug)]
struct Way {
    before: u32,
    run: u16,
    breaks: bool,
    /// It lies before what arrived plainly earlier.
    early: bool,
    /// Place in each path's list up to which all is given out.
    places: [u16; PATHS_MAX],
    /// Bit n: what is n + 1 behind that place is given out, too.
    ahead: [u8; PATHS_MAX],
    counters: Box<[u8]>,
}

const NONE: u32 = u32::MAX;

impl Problem {
    /// The order of all runs, each with whether a counter breaks in front of it. When there is not enough time, only the beginning.
    pub fn solve(&self) -> Vec<(u16, bool)> {
        let start = Way {
            before: NONE,
            run: u16::MAX,
            breaks: false,
            early: false,
            places: [0; PATHS_MAX],
            ahead: [0; PATHS_MAX],
            counters: self.counters.clone().into(),
        };
        let mut ways = vec![start];
        let mut seen = HashSet::new();
        let mut queue = BinaryHeap::from([(Reverse(0_u64), 0_usize, 0_usize)]);
        let mut furthest = (0, Reverse(0), 0);
        let mut next = Vec::new();
        for _ in 0..STEPS_MAX {
            let Some((Reverse(cost), depth, at)) = queue.pop() else { break };
            let way = ways[at].clone();
            if !seen.insert((way.run, way.early, way.places, way.ahead, way.counters.clone())) {
                continue;
            }
            furthest = furthest.max((depth, Reverse(cost), at));
            if depth == self.runs.len() {
                break;
            }
            self.steps(&way, &mut next);
            for (extra, mut step) in next.drain(..) {
                step.before = at as u32;
                queue.push((Reverse(cost + extra), depth + 1, ways.len()));
                ways.push(step);
            }
        }
        let mut order = Vec::with_capacity(furthest.0);
        let mut at = furthest.2;
        while ways[at].before != NONE {
            order.push((ways[at].run, ways[at].breaks));
            at = ways[at].before as usize;
        }
        order.reverse();
        order
    }

    /// Every way to go on, with its cost.
    fn steps(&self, way: &Way, out: &mut Vec<(u64, Way)>) {
        for (path, list) in self.lists.iter().enumerate() {
            let place = usize::from(way.places[path]);
            for (ahead, (run, _)) in list.iter().enumerate().skip(place).take(REACH + 1) {
                let offset = ahead - place;
                let gone = offset > 0 && way.ahead[path] >> (offset - 1) & 1 == 1;
                // A run of several paths is looked at once.
                if gone || self.runs[usize::from(*run)].members.trailing_zeros() as usize != path {
                    continue;
                }
                out.extend(self.step(way, *run));
            }
        }
    }

    /// Gives out a run, if it is within reach on all of its paths.
    fn step(&self, way: &Way, number: u16) -> Option<(u64, Way)> {
        let run = &self.runs[usize::from(number)];
        let mut next = Way { run: number, ..way.clone() };
        let (mut overtakes, mut tears) = (0, 0);
        for (path, list) in self.lists.iter().enumerate() {
            let place = usize::from(way.places[path]);
            if run.members >> path & 1 == 0 {
                continue;
            }
            let offset = list.iter().skip(place).take(REACH + 1).position(|(at, _)| *at == number)?;
            let joined = list[place + offset].1;
            let before = (place + offset).checked_sub(1).map(|at| list[at].0);
            tears += u64::from(joined && before.unwrap_or(u16::MAX) != way.run);
            overtakes += u64::from(offset > 0);
            if offset > 0 {
                next.ahead[path] |= 1 << (offset - 1);
            } else {
                let further = way.ahead[path].trailing_ones();
                next.places[path] += 1 + further as u16;
                next.ahead[path] = (u16::from(way.ahead[path]) >> (further + 1)) as u8;
            }
        }
        let mut cost = overtakes * OVERTAKE + tears * TEAR;
        let mut breaks = 0;
        for (pid, counter, counts) in &run.firsts {
            let stands = way.counters[usize::from(*pid)];
            if stands == UNKNOWN {
                continue;
            }
            if *counts {
                breaks += u64::from(*counter != (stands + 1) & 0x0f);
            } else if *counter != stands {
                cost += DOUBT;
            }
        }
        // Only what fits is worth being moved.
        if overtakes > 0 && breaks > 0 {
            return None;
        }
        next.breaks = breaks > 0;
        cost += breaks * BREAK;
        let members = self.jitters.iter().enumerate().filter(|(path, _)| run.members >> path & 1 == 1);
        let jitter = members.map(|(_, jitter)| *jitter).max().unwrap_or(0);
        let mut plainly_early = false;
        for (path, list) in self.lists.iter().enumerate() {
            if run.members >> path & 1 == 0
                && let Some((head, _)) = list.get(usize::from(way.places[path]))
            {
                let early = run.at - self.runs[usize::from(*head)].at;
                cost += early.max(0).unsigned_abs().min(EARLY_MAX);
                plainly_early |= early > self.jitters[path] + jitter;
            }
        }
        cost += if plainly_early && !way.early { EARLY } else { 0 };
        next.early = plainly_early;
        for (pid, counter) in &run.lasts {
            next.counters[usize::from(*pid)] = *counter;
        }
        Some((cost, next))
    }
}
