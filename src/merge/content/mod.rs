//! Copies recognised by content: fingerprints say which packets are the same, continuity counters what is missing, PCR whether
//! a stream jumped.
//!
//! In:    bytes of any path, in any portions.
//! Out:   packets in the order of the source, each once, a window after its time.
//! Never: uses a path's packets before a run of them was found in the stream that is given out ([`align`]).
//!
//! Each path is a queue of packets in the order of arrival. When a packet is due, whatever other paths have of it lies
//! in their queues as well. Queues that begin with the same packet, where its counter goes on, give it out together. Where they begin
//! with different ones, somebody lost something, and the queues are laid side by side up to where they agree again ([`plan`]),
//! woven between packets that both have ([`weave`]), each PID aligned for itself ([`chain`]). RTP paths are in the order of their numbers ([`order`]).
//!
//! Where paths have the same datagrams ([`grid`]), these are compared and given out whole. Else null packets and tables travel with the
//! packets around them ([`loose`]).

mod align;
mod chain;
mod give;
mod grid;
mod loose;
mod order;
mod path;
mod plan;
mod reader;
mod trail;
mod weave;

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;

use bytes::Bytes;

use self::grid::Grid;
use self::loose::LooseEnds;
use self::path::Path;
use self::plan::{Counters, Plan, Step};
use self::reader::Element;
use self::trail::Trail;
use super::figures::{Skew, tell_skews};
use super::{Config, Figures, Micros, News, PathFigures, PathState, Rtp, micros_of};

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
    /// PCR of the last packet before it that had one.
    since: Option<u64>,
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
    grid: Grid,
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
        Self {
            window: micros_of(config.window),
            paths: (0..config.paths).map(|_| Path::new(hasher.clone())).collect(),
            guide: 0,
            began: false,
            history: Trail::default(),
            counters: Counters::default(),
            clocks: HashMap::new(),
            grid: Grid::default(),
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

    pub fn push(&mut self, path: usize, at: Micros, rtp: Option<Rtp>, data: &Bytes, news: &mut VecDeque<News>) {
        let mut ordered = Vec::new();
        let order = &mut self.paths[path].order;
        order.release(at, &mut ordered);
        match rtp {
            Some(rtp) => order.push(at, rtp, data, &mut ordered),
            None => {
                order.flush(&mut ordered);
                ordered.push((at, data.clone()));
            }
        }
        self.take(path, ordered, news);
        self.tend(path, at, news);
    }

    /// Takes what is in the path's order.
    fn take(&mut self, path: usize, ordered: Vec<(Micros, Bytes)>, news: &mut VecDeque<News>) {
        for (at, data) in ordered {
            self.read(path, at, &data, news);
        }
    }

    fn read(&mut self, path: usize, at: Micros, data: &Bytes, news: &mut VecDeque<News>) {
        let returns = self.paths[path].silent(at, self.window);
        if returns {
            // It may come back as another stream.
            self.unalign(path, at, news);
            let mine = &mut self.paths[path];
            (mine.sought_since, mine.clock) = (at, None);
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
        if returns {
            // A payloader on the way has held it since the path fell silent.
            let held = std::mem::take(&mut self.paths[path].held);
            arrived.iter_mut().take_while(|(print, _)| held.contains_key(print)).for_each(|(_, e)| e.dead = true);
        }
        for (print, element) in arrived {
            self.add(path, at, print, element, news);
        }
    }

    fn add(&mut self, path: usize, now: Micros, print: u64, mut element: Element, news: &mut VecDeque<News>) {
        let (pid, arrival, bare) = (element.pid, element.arrival, element.is_bare());
        if let Some(pcr) = element.pcr
            && self.jumps(path, pid, pcr, arrival)
        {
            self.unalign(path, now, news);
            // What it brought before is another stream's.
            self.paths[path].since = self.paths[path].trail.end();
        }
        element.since = self.paths[path].clock.map(|(_, pcr, _)| pcr);
        self.paths[path].waiting += usize::from(element.weight);
        let place = self.paths[path].trail.push(print, element);
        if !self.began {
            self.began = true;
            return self.lead(path, news);
        }
        if !bare {
            self.seek(path, place, print, arrival, news);
        }
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
            let forgotten = self.history.pop();
            if let Some((print, given)) = forgotten {
                self.paths.iter_mut().for_each(|path| path.note_held(print, given.at, now, self.window));
            }
        }
    }

    pub fn pop(&mut self, now: Micros, news: &mut VecDeque<News>) -> Option<(Micros, usize, Bytes)> {
        for path in 0..self.paths.len() {
            let mut ordered = Vec::new();
            self.paths[path].order.release(now, &mut ordered);
            self.take(path, ordered, news);
        }
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
        let (mut passed, mut planned) = (false, false);
        let step = loop {
            match self.plan.next() {
                Some(step) if self.was_given(&step) => {
                    self.pass_over(&step);
                    passed = true;
                }
                Some(step) if self.can(&step) => break step,
                Some(_) => {}
                // It may have been the last that waited.
                None if passed => return true,
                // A plan in which nothing can be given out: the first packet is passed over rather than stand still.
                None if planned => {
                    self.pass_over(&self.step_of(&waiting[..1]));
                    return true;
                }
                None => {
                    self.make_plan(&waiting);
                    planned = true;
                }
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

    /// A packet that has others of its bytes beside it, or had lately, says by its time of arrival which one it is, and not by its fingerprint.
    fn has_twins(&self, print: u64, element: &Element) -> bool {
        element.filling
            || self.paths.iter().any(|path| path.trail.several(print))
            || self.history.find(print, 0).is_some()
    }

    /// Some copy of what is to be given out is still there.
    fn can(&self, step: &Step) -> bool {
        step.members().any(|(path, place)| self.waits(path, place))
    }

    fn waits(&self, path: usize, place: u64) -> bool {
        let mine = &self.paths[path];
        mine.usable(place) && mine.trail.get(place).is_some_and(|(_, element)| !element.gone)
    }

    pub fn wake_at(&self) -> Option<Micros> {
        if !self.ready.is_empty() {
            return Some(self.given_at);
        }
        let due = |p: &Path| p.head().map(|(_, head)| p.skew.aligned(head.arrival) + self.window);
        let held = self.paths.iter().filter_map(|p| p.order.wake_at());
        self.paths.iter().filter_map(due).chain(held).min()
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
