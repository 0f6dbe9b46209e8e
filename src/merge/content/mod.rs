//! Copies recognised by content: fingerprints say which packets are the same, continuity counters what is missing, PCR whether
//! a stream jumped.
//!
//! In:    bytes of any path, in any portions.
//! Out:   packets in the order of the source, each once, a window after its time.
//! Never: uses a path's packets before a run of them was found in the stream that is given out ([`align`]).
//!
//! Each path is a queue of packets in the order of arrival. When a packet is due, whatever other paths have of it lies
//! in their queues as well. Queues that begin with the same packet, where its counter goes on, give it out together. Where they begin
//! with different ones, somebody lost something, and the queues are laid side by side up to where they agree again ([`plan`]);
//! between, an order is sought in which everything goes on ([`search`]).
//!
//! Null packets and tables travel with the packets around them ([`loose`]).

mod align;
mod copies;
mod loose;
mod path;
mod plan;
mod search;
mod trail;

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;

use bytes::Bytes;

use self::align::{Votes, pcr_step};
use self::loose::{Front, LooseEnds};
use self::path::{Element, Reader};
use self::plan::{Counters, Plan, Step};
use self::trail::Trail;
use super::figures::{Skew, tell_skews};
use super::{Config, Figures, Micros, News, PathFigures, PathState, micros_of};

/// Time of arrival says how packets lie only where it differs by so much more than jitter.
const PLAIN: Micros = 500;
/// Copies of a packet are never further apart than that, beyond skew and jitter, unless it is late.
const SLACK: Micros = 100_000;
/// A path is silent when nothing came for a window, and at least so long.
const SILENCE: Micros = 500_000;
/// A path that flows so long beyond the window and is not found is another stream.
const PATIENCE: Micros = 3_000_000;
/// Most packets that wait on a path: 50 MB of them, and twice as much again to find them by. A window of 15 s holds 26 Mbit/s.
const WAITING_MAX: usize = 1 << 18;

/// What was given out, for copies that come later.
#[derive(Clone, Copy, Debug)]
struct Given {
    /// When it was due, less the window; of the guide's copy where there was one.
    at: Micros,
    guided: bool,
    /// When it was given out.
    when: Micros,
}

#[derive(Debug)]
struct Path {
    reader: Reader,
    trail: Trail<Element>,
    /// Packets in it, loose ones as well.
    waiting: usize,
    /// From this place on the path is not found in the stream.
    barrier: Option<u64>,
    votes: Votes,
    /// Place in what was given out behind the last packet that this path had, too.
    cursor: u64,
    /// Datagram of that packet.
    last_unit: u64,
    /// Place in what was given out, and counter, of the last packet of each PID that it had, too.
    tails: HashMap<u16, (u64, u8)>,
    skew: Skew,
    /// Packets given out since one of them was in common with another path, and how many of them did not go on.
    alone: u32,
    breaks: u32,
    last_at: Option<Micros>,
    /// Since when it flows without being found.
    sought_since: Micros,
    /// What arrived before was not looked at when its time came.
    aligned_at: Micros,
    clock: Option<(u16, u64, Micros)>,
    figures: PathFigures,
}

impl Path {
    fn usable(&self, place: u64) -> bool {
        self.barrier.is_none_or(|barrier| place < barrier)
    }

    /// The packet that is next, where the path takes part.
    fn head(&self) -> Option<(u64, &Element)> {
        self.trail.front().filter(|_| self.usable(self.trail.begin()))
    }

    /// Takes away from the front what was given out ahead of its place.
    fn trim(&mut self) {
        while self.trail.front().is_some_and(|(_, element)| element.gone) {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some((_, element)) = self.trail.pop() {
            self.waiting -= usize::from(element.weight);
        }
    }

    fn silent(&self, now: Micros, window: Micros) -> bool {
        self.last_at.is_none_or(|at| now - at > window.max(SILENCE))
    }
}

/// The merge by content.
#[derive(Debug)]
pub(super) struct Content {
    window: Micros,
    paths: Vec<Path>,
    /// The path that others are compared with.
    guide: usize,
    began: bool,
    history: Trail<Given>,
    counters: Counters,
    clocks: HashMap<u16, u64>,
    loose: LooseEnds,
    /// PIDs of programme maps that any path knows.
    maps: Vec<u16>,
    plan: Plan,
    /// No due time given out lies before it.
    given_at: Micros,
    ready: VecDeque<(Micros, usize, Bytes)>,
    given: u64,
    unrecovered: u64,
    overflows: u64,
}

impl Content {
    pub fn new(config: Config) -> Self {
        // Keyed, so that nobody can make up packets of equal fingerprint. The key changes nothing else.
        let hasher = RandomState::new();
        let path = || Path {
            reader: Reader::new(hasher.clone()),
            trail: Trail::default(),
            waiting: 0,
            barrier: Some(0),
            votes: Votes::default(),
            cursor: 0,
            last_unit: 0,
            tails: HashMap::new(),
            skew: Skew::default(),
            alone: 0,
            breaks: 0,
            last_at: None,
            sought_since: 0,
            aligned_at: Micros::MIN,
            clock: None,
            figures: PathFigures::default(),
        };
        Self {
            window: micros_of(config.window),
            paths: (0..config.paths).map(|_| path()).collect(),
            guide: 0,
            began: false,
            history: Trail::default(),
            counters: Counters::default(),
            clocks: HashMap::new(),
            loose: LooseEnds::default(),
            maps: Vec::new(),
            plan: Plan::default(),
            given_at: 0,
            ready: VecDeque::new(),
            given: 0,
            unrecovered: 0,
            overflows: 0,
        }
    }

    pub fn push(&mut self, path: usize, at: Micros, data: &Bytes, news: &mut VecDeque<News>) {
        if self.paths[path].silent(at, self.window) {
            // It may come back as another stream.
            self.unalign(path, at, news);
            self.paths[path].sought_since = at;
        }
        let mine = &mut self.paths[path];
        mine.last_at = Some(at);
        let mut arrived = Vec::new();
        mine.reader.push(at, data, &self.maps, &mut |print, element| arrived.push((print, element)));
        if mine.reader.maps.iter().any(|pid| self.maps.binary_search(pid).is_err()) {
            self.maps = self.paths.iter().flat_map(|p| p.reader.maps.iter().copied()).collect();
            self.maps.sort_unstable();
            self.maps.dedup();
        }
        for (print, element) in arrived {
            self.add(path, at, print, element, news);
        }
        self.tend(path, at, news);
    }

    fn add(&mut self, path: usize, now: Micros, print: u64, element: Element, news: &mut VecDeque<News>) {
        let (pid, arrival) = (element.pid, element.arrival);
        if let Some(pcr) = element.pcr
            && self.jumps(path, pid, pcr, arrival)
        {
            self.unalign(path, now, news);
        }
        self.paths[path].waiting += usize::from(element.weight);
        let place = self.paths[path].trail.push(print, element);
        if !self.began {
            self.began = true;
            return self.lead(path, news);
        }
        self.seek(path, place, print, arrival, news);
    }

    /// Lets go of what is of no more use.
    fn tend(&mut self, path: usize, now: Micros, news: &mut VecDeque<News>) {
        self.despair(path, now, news);
        let sought = &mut self.paths[path];
        // Of a path that is not found only what may still be of use is kept.
        while let Some((_, oldest)) = sought.trail.front() {
            let foreign = !sought.usable(sought.trail.begin());
            let old = now - oldest.arrival > 2 * self.window + SLACK || sought.waiting > WAITING_MAX;
            if !foreign || !old || !self.began {
                break;
            }
            sought.drop_front();
            sought.figures.unusable += 1;
        }
        while let Some((_, oldest)) = self.history.front()
            && (now - oldest.at > 3 * self.window + SILENCE || self.history.len() > WAITING_MAX)
        {
            self.history.pop();
        }
    }

    pub fn pop(&mut self, now: Micros, news: &mut VecDeque<News>) -> Option<(Micros, usize, Bytes)> {
        if self.ready.is_empty() {
            (0..self.paths.len()).for_each(|path| self.tend(path, now, news));
        }
        while self.ready.is_empty() && self.step(now, news) {}
        self.ready.pop_front()
    }

    /// Gives out one packet, if one is due.
    fn step(&mut self, now: Micros, news: &mut VecDeque<News>) -> bool {
        let window = self.window;
        if self.paths[self.guide].silent(now, window)
            && let Some(other) = self.paths.iter().position(|p| p.barrier.is_none() && !p.silent(now, window))
        {
            self.guide = other;
        }
        let mut waiting = Vec::with_capacity(self.paths.len());
        let mut due = Micros::MAX;
        let mut full = false;
        for path in 0..self.paths.len() {
            self.settle(path);
            let mine = &self.paths[path];
            if let Some((_, head)) = mine.head() {
                waiting.push(path);
                due = due.min(mine.skew.aligned(head.arrival) + window);
                full |= mine.waiting > WAITING_MAX;
            }
        }
        if waiting.is_empty() {
            return self.end(now, news);
        }
        if due > now && !full {
            // More may come that changes it.
            self.plan.put_off();
            return false;
        }
        self.overflows += u64::from(due > now);
        let step = loop {
            match self.plan.next() {
                Some(step) if self.can(&step) => break step,
                Some(_) => {}
                None => self.make_plan(&waiting),
            }
        };
        self.give(&step, now, news);
        true
    }

    /// Nothing waits: gives out what was behind the last packet; where the stream has ended, another path's may follow.
    fn end(&mut self, now: Micros, news: &mut VecDeque<News>) -> bool {
        if self.loose.waits() {
            let (given_at, ready) = (self.given_at, &mut self.ready);
            self.loose.end(self.guide, |path, packet| ready.push_back((given_at, path, packet)));
        }
        self.move_on(now, news)
    }

    /// Some copy of what is to be given out is still there.
    fn can(&self, step: &Step) -> bool {
        step.members().any(|(path, place)| self.waits(path, place))
    }

    fn waits(&self, path: usize, place: u64) -> bool {
        let mine = &self.paths[path];
        mine.usable(place) && mine.trail.get(place).is_some_and(|(_, element)| !element.gone)
    }

    fn has_waiting(&self, path: usize, print: u64) -> bool {
        self.paths[path].trail.find(print, 0).is_some_and(|place| self.waits(path, place))
    }

    /// Takes away from the front of a queue what was given out already, and what comes too late.
    fn settle(&mut self, path: usize) {
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
            let behind = mine.cursor < end;
            let (arrival, filling, unit) = (head.arrival, head.filling, head.unit);
            let tail = head.counted.then_some((head.pid, head.counter));
            let at = mine.skew.aligned(arrival);
            let plain = mine.skew.jitter + PLAIN;
            let follows = self.counters.go_on(head);
            let unseen = arrival < mine.aligned_at;
            // Of packets that look alike, one that was given out while this one already waited, or plainly earlier, is not the same.
            let same = |given: &Given| !filling || (unseen || arrival >= given.when) && (at - given.at).abs() <= plain;
            let mut from = mine.cursor;
            let twins = std::iter::from_fn(|| {
                let place = self.history.find(print, from).filter(|_| behind)?;
                from = place + 1;
                Some(place)
            });
            let twin = twins.take(16).find_map(|place| {
                let (_, given) = self.history.get(place)?;
                same(given).then_some((place, *given))
            });
            if let Some((place, given)) = twin {
                if given.guided && path != self.guide {
                    mine.skew.observe(arrival - given.at);
                }
                mine.cursor = place + 1;
                mine.last_unit = unit;
                mine.tails.extend(tail.map(|(pid, counter)| (pid, (place, counter))));
                (mine.alone, mine.breaks) = (0, 0);
                mine.figures.late += 1;
                mine.drop_front();
                continue;
            }
            let last = end.checked_sub(1).and_then(|last| self.history.get(last));
            let passed = last.is_some_and(|(_, last)| (unseen || arrival >= last.when) && at < last.at - plain);
            let back = head.pcr.zip(self.clocks.get(&head.pid)).is_some_and(|(pcr, last)| pcr_step(*last, pcr) <= 0);
            if behind && (passed && !(follows && head.counted) || back && !head.counted) {
                mine.figures.late += 1;
                mine.drop_front();
                continue;
            }
            // Sent twice, or overtaken by what was given out. Filling repeats itself.
            if head.counted
                && !filling
                && let Some((_, twin)) = self.history.only(print).and_then(|at| self.history.get(at))
                && (at - twin.at).abs() < SLACK
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

    /// Gives out a packet, for all that have it.
    fn give(&mut self, step: &Step, now: Micros, news: &mut VecDeque<News>) {
        let end = self.history.end();
        let guide = self.guide;
        let mut best: Option<(usize, u64, u64, Micros)> = None;
        let (mut having, mut at, mut guided) = (0_u8, Micros::MAX, None);
        let mut fronts = Vec::with_capacity(self.paths.len());
        let mut afters = Vec::with_capacity(self.paths.len());
        for (path, place) in step.members() {
            if !self.waits(path, place) {
                continue;
            }
            let mine = &mut self.paths[path];
            let (whole, skew) = (mine.cursor == end, mine.skew);
            let Some((print, _)) = mine.trail.get(place) else { continue };
            let Some(element) = mine.trail.get_mut(place) else { continue };
            element.gone = true;
            having |= 1 << path;
            let (between, before) = (std::mem::take(&mut element.between), std::mem::take(&mut element.before));
            fronts.push(Front { path, whole, begins: element.begins, between, before });
            afters.push((path, std::mem::take(&mut element.after)));
            mine.last_unit = element.unit;
            let aligned = skew.aligned(element.arrival);
            at = at.min(aligned);
            if path == guide {
                guided = Some(aligned);
            }
            if best.is_none_or(|(.., arrival)| element.arrival < arrival) {
                best = Some((path, place, print, element.arrival));
            }
        }
        let Some((giver, place, print, _)) = best else { return };
        let copies = having.count_ones();
        let Some((_, element)) = self.paths[giver].trail.get(place) else { return };
        let (packet, goes) = (element.packet.clone(), self.counters.go_on(element));
        let tail = element.counted.then_some((element.pid, element.counter));
        self.unrecovered += self.counters.advance(element);
        if let Some(pcr) = element.pcr {
            self.clocks.insert(element.pid, pcr);
        }
        for (path, place) in step.members().filter(|(path, _)| having >> path & 1 == 1) {
            let mine = &mut self.paths[path];
            if let Some((guided, (_, element))) = guided.filter(|_| path != guide).zip(mine.trail.get(place)) {
                mine.skew.observe(element.arrival - guided);
            }
            mine.cursor = end + 1;
            mine.tails.extend(tail.map(|(pid, counter)| (pid, (end, counter))));
            if copies > 1 {
                (mine.alone, mine.breaks) = (0, 0);
            } else {
                mine.alone += 1;
                mine.breaks += u32::from(!goes);
            }
            mine.trim();
        }
        self.history.push(print, Given { at: guided.unwrap_or(at), guided: guided.is_some(), when: now });
        self.given_at = self.given_at.max((at + self.window).min(now));
        self.given += 1;
        for (path, mine) in self.paths.iter_mut().enumerate() {
            if mine.figures.state == PathState::Merged && having >> path & 1 == 0 {
                mine.figures.lost += 1;
            }
        }
        let figures = &mut self.paths[giver].figures;
        figures.contributed += 1;
        figures.saved += u64::from(copies == 1);
        let (given_at, ready) = (self.given_at, &mut self.ready);
        self.loose.give(guide, fronts, |path, packet| ready.push_back((given_at, path, packet)));
        self.ready.push_back((given_at, giver, packet));
        afters.into_iter().for_each(|(path, after)| self.loose.trail(path, after));
        self.part_strangers(giver, now, news);
    }

    pub fn wake_at(&self) -> Option<Micros> {
        if !self.ready.is_empty() {
            return Some(self.given_at);
        }
        let due = |p: &Path| p.head().map(|(_, head)| p.skew.aligned(head.arrival) + self.window);
        self.paths.iter().filter_map(due).min()
    }

    pub fn figures(&self, now: Micros) -> Figures {
        let one = |path: &Path| {
            let reader = &path.reader;
            let silent = path.silent(now, 2 * self.window);
            PathFigures {
                state: if silent { PathState::Silent } else { path.figures.state },
                packets: reader.packets,
                duplicates: path.figures.duplicates + reader.duplicates,
                unusable: path.figures.unusable + reader.unusable,
                ..path.figures
            }
        };
        let mut paths: Vec<PathFigures> = self.paths.iter().map(one).collect();
        let skews: Vec<Skew> = self.paths.iter().map(|p| p.skew).collect();
        tell_skews(&mut paths, &skews);
        Figures {
            by_sequence: false,
            given: self.given,
            unrecovered: self.unrecovered,
            overflows: self.overflows,
            paths,
        }
    }
}
