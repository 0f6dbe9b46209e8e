//! Copies recognised by content: fingerprints say which packets are the same, continuity counters what is missing, PCR whether
//! a stream jumped.
//!
//! In:    bytes of any path, in any portions.
//! Out:   packets in the order of the source, each once, a window after its time.
//! Never: uses a path's packets before a run of them was found in the stream that is given out.
//!
//! Each path is a queue of packets in the order of sending. When a packet is due, whatever other paths have of it lies
//! in their queues as well. Queues that begin with the same packet give it out together. Where they begin with different
//! ones, somebody lost something: a packet that another path has further on must wait for what lies in front of it there
//! ([`order`]).
//!
//! Null packets and tables travel with the packet behind them ([`tables`]).

mod order;
mod path;
mod tables;
mod trail;

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;

use bytes::Bytes;

use self::order::PLAIN;
use self::path::{Element, Reader};
use self::tables::Tables;
use self::trail::Trail;
use super::figures::{Skew, tell_aligned, tell_skews};
use super::{Config, Figures, Micros, News, PathFigures, PathState, micros_of};

/// Packets in a row of which a path must have so many in common with the stream to take part. Fingerprints are 64 bits: it is not
/// chance that this many guard against, but streams that share a part, such as sound.
const VOTES: usize = 16;
/// One in so many packets must be in common at least: both paths may lose half of theirs.
const COMMON: u64 = 4;
/// Order of arrival is not exact to more than that.
const SLACK: Micros = 100_000;
/// PCR and time of arrival that differ so much more than at the last PCR are a jump.
const JUMP: Micros = 1_500_000;
/// A path is silent when nothing came for a window, and at least so long.
const SILENCE: Micros = 500_000;
/// A path that flows so long beyond the window and is not found is another stream.
const PATIENCE: Micros = 3_000_000;
/// Two paths that have each brought so many packets in a row that the other did not have are different streams by now.
const ALONE_MAX: u32 = 512;
/// Most packets that wait on a path: 50 MB.
const WAITING_MAX: usize = 1 << 18;
/// 27 MHz ticks after which a PCR wraps (ISO/IEC 13818-1 §2.4.2.2).
const PCR_WRAP: u64 = (1 << 33) * 300;

/// What was given out, for copies that come later.
#[derive(Clone, Copy, Debug)]
struct Given {
    pid: u16,
    index: i64,
    /// When it was due, less the window; of the guide's copy where there was one.
    at: Micros,
    guided: bool,
}

/// Where the output stands on a PID.
#[derive(Clone, Copy, Debug)]
struct Out {
    counter: u8,
    index: i64,
    /// Bit n: what is n before `index` was given out.
    given: u64,
}

/// Packets of a path that were found in the stream.
#[derive(Debug, Default)]
struct Votes {
    first: u64,
    last: Option<(u64, Micros)>,
    later: Vec<Micros>,
}

#[derive(Debug)]
struct Path {
    reader: Reader,
    trail: Trail<Element>,
    /// Places of each PID's packets in the trail.
    pids: HashMap<u16, VecDeque<u64>>,
    /// From this place on the path is not found in the stream.
    barrier: Option<u64>,
    votes: Votes,
    /// Place in what was given out behind the last packet that this path had, too.
    cursor: u64,
    /// What to add to the path's own count of a PID.
    bases: HashMap<u16, i64>,
    skew: Skew,
    /// Packets given out since one of them was in common with another path.
    alone: u32,
    last_at: Option<Micros>,
    /// Since when it flows without being found.
    sought_since: Micros,
    clock: Option<(u16, u64, Micros)>,
    figures: PathFigures,
}

impl Path {
    /// The packet that is next, where the path takes part.
    fn head(&self) -> Option<(u64, &Element)> {
        self.trail.front().filter(|_| self.barrier.is_none_or(|barrier| self.trail.begin() < barrier))
    }

    fn drop_head(&mut self) -> Option<(u64, Element)> {
        let (print, element) = self.trail.pop()?;
        if let Some(places) = self.pids.get_mut(&element.pid) {
            places.pop_front();
        }
        Some((print, element))
    }

    /// The count of an element that is common to all paths, as far as it is known.
    fn common(&self, element: &Element) -> Option<i64> {
        self.bases.get(&element.pid).map(|base| element.index + base)
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
    out: HashMap<u16, Out>,
    clocks: HashMap<u16, u64>,
    tables: Tables,
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
        let window = micros_of(config.window);
        let path = || Path {
            reader: Reader::new(window, hasher.clone()),
            trail: Trail::default(),
            pids: HashMap::new(),
            barrier: Some(0),
            votes: Votes::default(),
            cursor: 0,
            bases: HashMap::new(),
            skew: Skew::default(),
            alone: 0,
            last_at: None,
            sought_since: 0,
            clock: None,
            figures: PathFigures::default(),
        };
        Self {
            window,
            paths: (0..config.paths).map(|_| path()).collect(),
            guide: 0,
            began: false,
            history: Trail::default(),
            out: HashMap::new(),
            clocks: HashMap::new(),
            tables: Tables::default(),
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
        self.paths[path].last_at = Some(at);
        let maps: Vec<Vec<u16>> = self.paths.iter().map(|p| p.reader.maps.clone()).collect();
        self.paths[path].reader.push(at, data, |pid| maps.iter().any(|maps| maps.binary_search(&pid).is_ok()));
        self.take(path, at, news);
    }

    /// Takes what a path has in order.
    fn take(&mut self, path: usize, now: Micros, news: &mut VecDeque<News>) {
        while let Some(elements) = self.paths[path].reader.next(now) {
            for (print, element) in elements {
                self.add(path, now, print, element, news);
            }
        }
        let sought = &mut self.paths[path];
        let patience = self.window + PATIENCE;
        if sought.barrier.is_some()
            && self.guide != path
            && sought.figures.state == PathState::Aligning
            && now - sought.sought_since > patience
        {
            sought.figures.state = PathState::NotTheSame;
            news.push_back(News::NotTheSame { path });
        }
        // Of a path that is not found only what may still be of use is kept.
        while let Some((_, oldest)) = sought.trail.front() {
            let foreign = sought.barrier.is_some_and(|barrier| sought.trail.begin() >= barrier);
            let old = now - oldest.arrival > 2 * self.window + SLACK || sought.trail.len() > WAITING_MAX;
            if !foreign || !old || !self.began {
                break;
            }
            sought.drop_head();
            sought.figures.unusable += 1;
        }
        while let Some((_, oldest)) = self.history.front()
            && (now - oldest.at > 3 * self.window + SILENCE || self.history.len() > WAITING_MAX)
        {
            self.history.pop();
        }
    }

    fn add(&mut self, path: usize, now: Micros, print: u64, element: Element, news: &mut VecDeque<News>) {
        let (pid, arrival) = (element.pid, element.arrival);
        if let Some(pcr) = element.pcr
            && self.jumps(path, pid, pcr, arrival)
        {
            self.unalign(path, now, news);
        }
        let mine = &mut self.paths[path];
        let place = mine.trail.push(print, element);
        mine.pids.entry(pid).or_default().push_back(place);
        if !self.began {
            self.began = true;
            return self.lead(path, news);
        }
        if self.paths[path].barrier.is_some() {
            let known = match self.history.only(print).and_then(|at| self.history.get(at)) {
                Some((_, given)) => Some(given.at),
                None => {
                    let guide = &self.paths[self.guide];
                    let place = guide.trail.only(print).filter(|at| guide.barrier.is_none_or(|barrier| *at < barrier));
                    let found = place.and_then(|place| guide.trail.get(place));
                    found.map(|(_, element)| guide.skew.aligned(element.arrival))
                }
            };
            if let Some(at) = known.filter(|_| path != self.guide) {
                self.vote(path, place, at, arrival - at, news);
            }
        } else if path == self.guide {
            let at = self.paths[path].skew.aligned(arrival);
            for other in 0..self.paths.len() {
                let sought = &self.paths[other];
                let place = sought.trail.only(print).filter(|at| sought.barrier.is_some_and(|barrier| *at >= barrier));
                if let Some((place, (_, element))) = place.and_then(|at| Some((at, sought.trail.get(at)?))) {
                    let later = element.arrival - at;
                    self.vote(other, place, at, later, news);
                }
            }
        }
    }

    /// The clock of a path went on otherwise than its packets came.
    fn jumps(&mut self, path: usize, pid: u16, pcr: u64, at: Micros) -> bool {
        let clock = &mut self.paths[path].clock;
        let Some((of, last, then)) = *clock else {
            *clock = Some((pid, pcr, at));
            return false;
        };
        if of != pid {
            // A clock that is heard no more is no longer asked.
            if at - then > JUMP {
                *clock = Some((pid, pcr, at));
            }
            return false;
        }
        *clock = Some((pid, pcr, at));
        (pcr_step(last, pcr) / 27 - (at - then)).abs() > JUMP
    }

    /// A packet of a path that is not found was seen in the stream, which had it at `at`.
    fn vote(&mut self, path: usize, place: u64, at: Micros, later: Micros, news: &mut VecDeque<News>) {
        let votes = &mut self.paths[path].votes;
        let goes_on = votes.last.is_some_and(|(last, then)| place > last && at >= then - SLACK);
        if !goes_on || place - votes.first >= COMMON * (votes.later.len() as u64 + 1) {
            *votes = Votes { first: place, ..Votes::default() };
        }
        votes.last = Some((place, at));
        votes.later.push(later);
        if votes.later.len() == VOTES {
            self.align(path, news);
        }
    }

    /// The path takes part from the first packet on that was found.
    fn align(&mut self, path: usize, news: &mut VecDeque<News>) {
        let mine = &mut self.paths[path];
        let Votes { first, mut later, .. } = std::mem::take(&mut mine.votes);
        let Some(barrier) = mine.barrier.take() else { return };
        for place in barrier.max(mine.trail.begin())..first {
            if let Some(element) = mine.trail.get_mut(place) {
                element.dead = true;
            }
        }
        let print = mine.trail.get(first).map(|(print, _)| print);
        mine.cursor = print.and_then(|print| self.history.only(print)).unwrap_or(self.history.end());
        mine.bases.clear();
        mine.alone = 0;
        later.sort_unstable();
        mine.skew = Skew { offset: Some(later[later.len() / 2]), jitter: later[later.len() - 1] - later[0] };
        mine.figures.state = PathState::Merged;
        let skews: Vec<Skew> = self.paths.iter().map(|p| p.skew).collect();
        tell_aligned(news, path, &skews);
    }

    /// The path must be found again, if there is another one to find it in. What it brought so far counts.
    fn unalign(&mut self, path: usize, now: Micros, news: &mut VecDeque<News>) {
        let window = self.window;
        let serves = |p: &Path| p.barrier.is_none() && !p.silent(now, window);
        let Some(other) = (0..self.paths.len()).find(|at| *at != path && serves(&self.paths[*at])) else {
            let mine = &mut self.paths[path];
            if mine.barrier.is_some() && mine.figures.state == PathState::Silent {
                mine.figures.state = PathState::Aligning;
            }
            return;
        };
        let mine = &mut self.paths[path];
        mine.votes = Votes::default();
        mine.sought_since = now;
        if mine.barrier.is_none() {
            mine.barrier = Some(mine.trail.end());
            news.push_back(News::Unaligned { path });
        }
        mine.figures.state = PathState::Aligning;
        if self.guide == path {
            self.guide = other;
        }
    }

    /// The stream is this path's from now on.
    fn lead(&mut self, path: usize, news: &mut VecDeque<News>) {
        self.guide = path;
        let cursor = self.history.end();
        for other in &mut self.paths {
            if other.barrier.is_none() {
                other.barrier = Some(other.trail.end());
                other.figures.state = PathState::Aligning;
            }
        }
        let mine = &mut self.paths[path];
        mine.barrier = None;
        mine.cursor = cursor;
        mine.bases.clear();
        mine.skew = Skew { offset: Some(0), jitter: 0 };
        mine.figures.state = PathState::Merged;
        self.out.clear();
        self.clocks.clear();
        let skews: Vec<Skew> = self.paths.iter().map(|p| p.skew).collect();
        tell_aligned(news, path, &skews);
    }

    pub fn pop(&mut self, now: Micros, news: &mut VecDeque<News>) -> Option<(Micros, usize, Bytes)> {
        if self.ready.is_empty() {
            (0..self.paths.len()).for_each(|path| self.take(path, now, news));
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
                full |= mine.trail.len() > WAITING_MAX;
            }
        }
        if waiting.is_empty() {
            return self.move_on(now, news);
        }
        if due > now && !full {
            return false;
        }
        self.overflows += u64::from(due > now);
        let chosen = self.choose(&waiting);
        self.give(chosen, &waiting, now, news);
        true
    }

    /// Where the stream has ended, another path's may follow.
    fn move_on(&mut self, now: Micros, news: &mut VecDeque<News>) -> bool {
        let window = self.window;
        if !self.began || self.paths.iter().any(|p| p.barrier.is_none() && !p.silent(now, 2 * window + SILENCE)) {
            return false;
        }
        let next = self.paths.iter().position(|p| p.barrier.is_some() && p.trail.len() > 0 && !p.silent(now, window));
        let Some(path) = next else { return false };
        self.lead(path, news);
        news.push_back(News::Moved { path });
        true
    }

    /// Takes away from the front of a queue what was given out already.
    fn settle(&mut self, path: usize) {
        loop {
            let end = self.history.end();
            let mine = &mut self.paths[path];
            let Some((print, head)) = mine.head() else { return };
            let (dead, pid, index, counted, step) = (head.dead, head.pid, head.index, head.counted, head.step);
            let (arrival, pcr, counter, filling) = (head.arrival, head.pcr, head.counter, head.filling());
            if dead {
                mine.figures.unusable += 1;
                mine.drop_head();
                continue;
            }
            let behind = mine.cursor < end;
            let arrived = mine.skew.aligned(arrival);
            let plain = mine.skew.jitter + PLAIN;
            // Of filling, one that was given out plainly earlier is not the same.
            let mut from = mine.cursor;
            let twin = std::iter::from_fn(|| {
                let at = self.history.find(print, from)?;
                from = at + 1;
                Some(at)
            });
            let same =
                |at: &u64| !filling || self.history.get(*at).is_some_and(|(_, given)| arrived - given.at <= plain);
            if behind && let Some(at) = twin.take(16).find(same) {
                if let Some((_, given)) = self.history.get(at) {
                    mine.bases.insert(given.pid, given.index - index);
                    if given.guided && path != self.guide {
                        mine.skew.observe(arrival - given.at);
                    }
                }
                mine.cursor = at + 1;
                mine.alone = 0;
                mine.figures.late += 1;
                mine.drop_head();
                continue;
            }
            let out = self.out.get(&pid).copied();
            if !counted {
                // Only the clock tells where it belongs.
                let late = pcr.zip(self.clocks.get(&pid)).is_some_and(|(pcr, last)| pcr_step(*last, pcr) <= 0);
                if behind && late {
                    mine.figures.late += 1;
                    mine.drop_head();
                    continue;
                }
                return;
            }
            let Some(out) = out else { return };
            // Sent twice, or overtaken by too much to be put in order. Filling repeats itself, but not without its counter.
            let just = |at: Micros| (arrived - at).abs() < SLACK;
            let follows = counter == (out.counter + 1) & 0x0f;
            if step != 0
                && !(follows && filling)
                && self.history.only(print).and_then(|at| self.history.get(at)).is_some_and(|(_, twin)| just(twin.at))
                && !self.paths.iter().enumerate().any(|(at, p)| at != path && p.trail.find(print, 0).is_some())
            {
                let mine = &mut self.paths[path];
                mine.figures.duplicates += 1;
                mine.drop_head();
                continue;
            }
            let mine = &mut self.paths[path];
            if !mine.bases.contains_key(&pid) {
                if behind && mine.cursor > 0 && path != self.guide {
                    // Nothing tells whether its place has been passed.
                    mine.figures.unusable += 1;
                    mine.drop_head();
                    continue;
                }
                let ahead = i64::from(counter.wrapping_sub(out.counter) & 0x0f);
                let ahead = if ahead == 0 { 16 } else { ahead };
                mine.bases.insert(pid, out.index + ahead - index);
            }
            self.anchor(path, self.paths[path].trail.begin());
            let mine = &mut self.paths[path];
            let base = mine.bases.entry(pid).or_insert(0);
            let plainly_new = self
                .history
                .end()
                .checked_sub(1)
                .and_then(|last| self.history.get(last))
                .is_some_and(|(_, last)| arrived > last.at + plain);
            while index + *base <= out.index {
                let back = out.index - index - *base;
                if back < 64 && !plainly_new && out.given >> back & 1 == 0 {
                    break;
                }
                // Its place was taken by another packet: more were lost than the counter tells.
                *base += 16;
            }
            if index + *base <= out.index && step != 0 {
                mine.figures.late += 1;
                mine.drop_head();
                continue;
            }
            return;
        }
    }

    /// Gives out the packet at the head of `chosen`, for all that have it there.
    fn give(&mut self, chosen: usize, waiting: &[usize], now: Micros, news: &mut VecDeque<News>) {
        let Some((print, _)) = self.paths[chosen].head() else { return };
        let end = self.history.end();
        let guide = self.guide;
        let having: Vec<usize> =
            waiting.iter().copied().filter(|p| self.paths[*p].head().is_some_and(|(head, _)| head == print)).collect();
        let mut copies = Vec::with_capacity(having.len());
        for &path in &having {
            let mine = &mut self.paths[path];
            let whole = mine.cursor == end;
            mine.cursor = end + 1;
            copies.extend(mine.drop_head().map(|(_, element)| (path, whole, element)));
        }
        let aligned = |(path, _, element): &(usize, bool, Element)| self.paths[*path].skew.aligned(element.arrival);
        let at = copies.iter().map(aligned).min().unwrap_or(now);
        let guided = copies.iter().find(|(path, ..)| *path == guide).map(aligned);
        let Some(first) = (0..copies.len()).min_by_key(|copy| copies[*copy].2.arrival) else { return };
        let giver = copies[first].0;
        let (pid, counter, counted) = (copies[first].2.pid, copies[first].2.counter, copies[first].2.counted);
        // The count of the path that is surest.
        let index = copies.iter().filter_map(|(path, _, element)| self.paths[*path].common(element)).max();
        let index = self.advance(pid, counter, counted, index);
        if let Some(pcr) = copies[first].2.pcr {
            self.clocks.insert(pid, pcr);
        }
        for (path, _, element) in &copies {
            let mine = &mut self.paths[*path];
            mine.bases.insert(pid, index - element.index);
            if let Some(guided) = guided.filter(|_| *path != guide) {
                mine.skew.observe(element.arrival - guided);
            }
            mine.alone = if copies.len() > 1 { 0 } else { mine.alone + 1 };
        }
        self.history.push(print, Given { pid, index, at: guided.unwrap_or(at), guided: guided.is_some() });
        self.given_at = self.given_at.max((at + self.window).min(now));
        self.given += 1;
        for (path, mine) in self.paths.iter_mut().enumerate() {
            if mine.figures.state == PathState::Merged && !having.contains(&path) {
                mine.figures.lost += 1;
            }
        }
        let figures = &mut self.paths[giver].figures;
        figures.contributed += 1;
        figures.saved += u64::from(copies.len() == 1);
        let given_at = self.given_at;
        let packet = copies[first].2.packet.clone();
        let ready = &mut self.ready;
        self.tables.give(guide, &mut copies, |path, packet| ready.push_back((given_at, path, packet)));
        self.ready.push_back((given_at, giver, packet));
        self.part_strangers(giver, now, news);
    }

    /// Notes that a packet of a PID is given out; its place in the common count.
    fn advance(&mut self, pid: u16, counter: u8, counted: bool, index: Option<i64>) -> i64 {
        let Some(out) = self.out.get_mut(&pid) else {
            let index = index.unwrap_or(0);
            if counted {
                self.out.insert(pid, Out { counter, index, given: 1 });
            }
            return index;
        };
        if !counted {
            return out.index;
        }
        let step = counter.wrapping_sub(out.counter) & 0x0f;
        self.unrecovered += u64::from(step.saturating_sub(1));
        let least = out.index + if step == 0 { 16 } else { i64::from(step) };
        let index = index.filter(|index| *index > out.index).unwrap_or(least);
        let ahead = index - out.index;
        out.given = if ahead < 64 { out.given << ahead | 1 } else { 1 };
        out.index = index;
        out.counter = counter;
        index
    }

    /// Paths that have gone on for long with nothing in common are no copies any more.
    fn part_strangers(&mut self, path: usize, now: Micros, news: &mut VecDeque<News>) {
        if self.paths[path].alone < ALONE_MAX {
            return;
        }
        let strange = |p: &Path| p.alone >= ALONE_MAX && p.barrier.is_none();
        let stranger = (0..self.paths.len()).find(|at| *at != self.guide && strange(&self.paths[*at]));
        if let Some(stranger) = stranger.filter(|_| strange(&self.paths[self.guide])) {
            self.unalign(stranger, now, news);
            self.paths[self.guide].alone = 0;
        }
    }

    pub fn wake_at(&self) -> Option<Micros> {
        if !self.ready.is_empty() {
            return Some(self.given_at);
        }
        let due = |p: &Path| p.head().map(|(_, head)| p.skew.aligned(head.arrival) + self.window);
        let dues = self.paths.iter().filter_map(due);
        dues.chain(self.paths.iter().filter_map(|p| p.reader.wake_at())).min()
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

/// Ticks from one PCR to another, below 0 if it lies before.
fn pcr_step(from: u64, to: u64) -> i64 {
    let ahead = (to + PCR_WRAP - from % PCR_WRAP) % PCR_WRAP;
    if ahead > PCR_WRAP / 2 { ahead as i64 - PCR_WRAP as i64 } else { ahead as i64 }
}
