//! What is given out next: queues laid side by side.
//!
//! In:    the queues of all paths that take part, none of them empty.
//! Out:   packets in order, each with the paths that have it.
//! Never: gives out.

use std::collections::VecDeque;

use super::super::{Micros, PATHS_MAX};
use super::align::pcr_step;
use super::reader::{DATAGRAM, Element};
use super::weave::{self, Before, Piece, Woven, weave};
use super::{Content, PLAIN};
use crate::wire::ts::PIDS;

/// Datagrams of each path that are laid side by side, until one is found where they agree again.
const REACHES: [u32; 2] = [16, 96];
/// They must agree so many datagrams further on: one that comes before may have been overtaken.
const BEYOND: usize = 3;
/// A path on which so many datagrams were seen to be divided anew beside a loss has datagrams that say nothing: a payloader on the way.
const TORN: u32 = 4;
/// A counter that has not been seen.
const UNKNOWN: u8 = 0xff;
pub(super) const NOWHERE: u64 = u64::MAX;

/// Where continuity counters of what was given out stand.
#[derive(Debug)]
pub(super) struct Counters(Vec<u8>);

impl Default for Counters {
    fn default() -> Self {
        Self(vec![UNKNOWN; PIDS])
    }
}

impl Counters {
    /// A packet goes on where its counter stands. One without payload always does.
    pub fn go_on(&self, element: &Element) -> bool {
        let stands = self.0[usize::from(element.pid)];
        stands == UNKNOWN || !element.counted || element.free || element.counter == (stands + 1) & 0x0f
    }

    /// Where a PID's stands.
    pub fn stands(&self, pid: u16) -> Option<u8> {
        Some(self.0[usize::from(pid)]).filter(|counter| *counter != UNKNOWN)
    }

    /// How many packets further on a packet is, 0 to 15; `None` if its counter does not tell.
    pub fn ahead(&self, element: &Element) -> Option<u8> {
        let stands = self.stands(element.pid).filter(|_| element.counted && !element.free)?;
        Some(element.counter.wrapping_sub(stands) & 0x0f)
    }

    /// It is given out. Returns how many are missing in front of it.
    pub fn advance(&mut self, element: &Element) -> u64 {
        if !element.counted {
            return 0;
        }
        let stood = std::mem::replace(&mut self.0[usize::from(element.pid)], element.counter);
        if stood == UNKNOWN || element.free {
            return 0;
        }
        u64::from(element.counter.wrapping_sub(stood + 1) & 0x0f) & if element.counter == stood { 0 } else { u64::MAX }
    }

    /// Another stream follows.
    pub fn forget(&mut self) {
        self.0.fill(UNKNOWN);
    }
}

/// A packet to be given out: its place on each path that has it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub places: [u64; PATHS_MAX],
}

impl Step {
    pub const NOBODY: Self = Self { places: [NOWHERE; PATHS_MAX] };

    /// Paths that have it, and where.
    pub fn members(&self) -> impl Iterator<Item = (usize, u64)> {
        self.places.into_iter().enumerate().filter(|(_, place)| *place != NOWHERE)
    }
}

/// What is decided.
#[derive(Debug, Default)]
pub(super) struct Plan {
    steps: VecDeque<Step>,
    /// The paths did not agree at its end: what arrives may change it.
    open: bool,
}

impl Plan {
    pub fn next(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub fn put_off(&mut self) {
        if self.open {
            self.steps.clear();
        }
    }

    pub fn clear(&mut self) {
        self.steps.clear();
    }
}

/// What waits on a path, in its order.
#[derive(Debug, Default)]
struct Queue {
    pieces: Vec<Piece>,
    /// Where they are in the trail.
    places: Vec<u64>,
    /// Their datagrams, counted.
    units: Vec<u32>,
    /// That is all there is.
    complete: bool,
}

impl Queue {
    /// Notes for each packet which PCR is next; nothing where PCRs of several programmes, or times, follow each other.
    fn tell_clocks(&mut self, known: bool) {
        let mut clocks = self.pieces.iter().filter_map(|piece| piece.since.or(piece.pcr));
        let mut last = clocks.next();
        let rises = clocks.all(|pcr| {
            let before = last.replace(pcr);
            before.is_none_or(|before| (0..weave::CLOCK_MAX).contains(&pcr_step(before, pcr)))
        });
        let mut next = None;
        for piece in self.pieces.iter_mut().rev() {
            next = piece.pcr.or(next);
            (piece.since, piece.until) = if known && rises { (piece.since, next) } else { (None, None) };
        }
    }
}

impl Content {
    /// Decides on at least one step. `waiting` are the paths that have a packet.
    pub(super) fn make_plan(&mut self, waiting: &[usize]) {
        let (mut steps, open) = match self.plainly(waiting) {
            Some(step) => (VecDeque::from([step]), false),
            None => self.plan_region(waiting),
        };
        if steps.is_empty() {
            // Nothing fits: by arrival.
            let at = |path: &usize| self.paths[*path].head().map(|(_, e)| self.paths[*path].skew.aligned(e.arrival));
            let first = waiting.iter().copied().min_by_key(at);
            steps.extend(first.map(|path| self.step_of(&[path])));
        }
        self.plan.steps = steps;
        self.plan.open = open;
    }

    /// The heads of `paths`, as one step.
    pub(super) fn step_of(&self, paths: &[usize]) -> Step {
        let mut step = Step::NOBODY;
        paths.iter().for_each(|path| step.places[*path] = self.paths[*path].trail.begin());
        step
    }

    /// Where only one packet can be next, and goes on, nothing needs to be sought.
    fn plainly(&self, waiting: &[usize]) -> Option<Step> {
        let mut chosen: Option<(u64, usize, Micros, bool)> = None;
        let mut having = Vec::with_capacity(waiting.len());
        for &path in waiting {
            let (print, head) = self.paths[path].head()?;
            let twins = self.has_twins(print, head);
            let mut others = waiting.iter().copied().filter(|other| *other != path);
            if !twins && others.any(|other| self.further_on(print, other)) {
                continue;
            }
            if !self.goes_on(path, head) {
                return None;
            }
            let key = self.key(print, head, twins);
            // Twins are the same where both paths had what was given out last, and counters or arrival agree.
            let unsure = twins && self.paths[path].cursor != self.history.end();
            let at = self.paths[path].skew.aligned(head.arrival);
            if let Some((known, other, then, was_unsure)) = chosen {
                let off = self.paths[path].skew.jitter + self.paths[other].skew.jitter + PLAIN;
                if known != key || unsure || was_unsure || twins && (at - then).abs() > off {
                    return None;
                }
            } else {
                chosen = Some((key, path, at, unsure));
            }
            having.push(path);
        }
        (!having.is_empty()).then(|| self.step_of(&having))
    }

    /// The head of a path goes on, and with it the datagram that it begins: else that may have overtaken another.
    fn goes_on(&self, path: usize, head: &Element) -> bool {
        let mine = &self.paths[path];
        if head.unit == mine.last_unit {
            return self.counters.go_on(head);
        }
        let mut seen = [u16::MAX; DATAGRAM];
        let datagram = (mine.trail.begin()..).map_while(|place| mine.trail.get(place)).map(|(_, element)| element);
        for (n, element) in datagram.take_while(|e| e.unit == head.unit).take(DATAGRAM).enumerate() {
            let first = seen[..n].iter().all(|pid| *pid != element.pid);
            if first && !element.gone && !self.counters.go_on(element) {
                return false;
            }
            seen[n] = element.pid;
        }
        true
    }

    /// Another path has a packet, but not as its head.
    fn further_on(&self, print: u64, other: usize) -> bool {
        let theirs = &self.paths[other];
        let place = theirs.trail.only(print).filter(|place| *place != theirs.trail.begin() && theirs.usable(*place));
        let place = place.and_then(|place| theirs.trail.get(place));
        place.is_some_and(|(_, element)| !element.gone && !element.dead)
    }

    /// What copies of a packet have in common. Where paths have the same datagrams, those of twins are in equal ones.
    fn key(&self, print: u64, element: &Element, twins: bool) -> u64 {
        if twins && self.grid.agrees() && !element.is_bare() {
            (element.unit_print ^ u64::from(element.slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        } else {
            print
        }
    }

    fn plan_region(&mut self, waiting: &[usize]) -> (VecDeque<Step>, bool) {
        let mut region = (Vec::new(), Vec::new(), false);
        for reach in REACHES {
            let queues: Vec<Queue> = waiting.iter().map(|path| self.queue(*path, reach)).collect();
            let complete = queues.iter().all(|queue| queue.complete);
            let (mut woven, mut agrees) = self.weave(waiting, &queues);
            if self.breaks(&woven) > 0
                && let Some(mended) = self.weave_mended(waiting, &queues)
                && self.breaks(&mended.0) < self.breaks(&woven)
            {
                (woven, agrees) = mended;
            }
            region = (woven, queues, agrees);
            if agrees || complete {
                break;
            }
        }
        let (woven, queues, agrees) = region;
        self.note_torn(waiting, &queues, &woven);
        let (mut steps, mut open) = (VecDeque::with_capacity(woven.len()), !agrees);
        let mut stands = Stands::new(&self.counters);
        for (n, one) in woven.iter().enumerate() {
            let breaks = !stands.take(&one.piece);
            // What breaks a counter is only believed when its time has come, and everything is there that could mend it.
            if breaks && n > 0 {
                open = true;
                break;
            }
            let mut step = Step::NOBODY;
            for ((path, queue), place) in waiting.iter().zip(&queues).zip(one.places) {
                if let Some(place) = queue.places.get(place as usize) {
                    step.places[*path] = *place;
                }
            }
            steps.push_back(step);
            if breaks {
                open = true;
                break;
            }
        }
        (steps, open)
    }

    /// The first datagrams of a path.
    fn queue(&self, path: usize, reach: u32) -> Queue {
        let mine = &self.paths[path];
        let mut queue = Queue { complete: true, ..Queue::default() };
        let (mut units, mut unit) = (0, 0);
        let grid = self.grid.agrees();
        let clock = self.paths[self.guide].clock.map(|(pid, ..)| pid);
        let known = clock.is_some() && clock == mine.clock.map(|(pid, ..)| pid);
        for place in mine.trail.begin()..mine.trail.end() {
            let Some((print, element)) = mine.trail.get(place).filter(|_| mine.usable(place)) else { break };
            if element.gone || element.dead || element.is_bare() && !grid {
                continue;
            }
            units += u32::from(units == 0 || element.unit != unit);
            unit = element.unit;
            if units > reach {
                queue.complete = false;
                break;
            }
            let twins = self.has_twins(print, element);
            queue.places.push(place);
            queue.units.push(units);
            queue.pieces.push(Piece {
                pid: element.pid,
                counter: element.counter,
                counted: element.counted,
                free: element.free || element.is_bare(),
                pcr: element.pcr.filter(|_| Some(element.pid) == clock),
                since: element.since,
                until: None,
                key: self.key(print, element, twins),
                twins,
                at: mine.skew.aligned(element.arrival),
                unit: if mine.torn < TORN { element.unit } else { 0 },
            });
        }
        queue.tell_clocks(known);
        queue
    }

    /// Weaves queues, up to where they agree; whether they do.
    fn weave(&self, waiting: &[usize], queues: &[Queue]) -> (Vec<Woven>, bool) {
        let lists: Vec<Vec<Piece>> = queues.iter().map(|queue| queue.pieces.clone()).collect();
        self.weave_lists(waiting, queues, &lists)
    }

    fn weave_lists(&self, waiting: &[usize], queues: &[Queue], lists: &[Vec<Piece>]) -> (Vec<Woven>, bool) {
        let end = self.history.end();
        let before = |path: &usize| {
            let mine = &self.paths[*path];
            let unit = if mine.cursor == end && mine.torn < TORN { mine.last_unit } else { 0 };
            Before { unit, jitter: mine.skew.jitter }
        };
        let begun: Vec<Before> = waiting.iter().map(before).collect();
        let mut woven = weave(lists, &begun, &|pid| self.counters.stands(pid));
        let common = |one: &Woven| {
            !one.displaced
                && !one.piece.twins
                && queues.iter().zip(one.places).all(|(queue, place)| {
                    let last = queue.units.last().copied().unwrap_or(0);
                    let beyond = |unit: &u32| queue.complete || last.saturating_sub(*unit) as usize >= BEYOND;
                    queue.units.get(place as usize).is_some_and(beyond)
                })
        };
        let last = woven.iter().rposition(common);
        // Where they never do, what is behind the end of one that goes on is not known yet.
        let end = || {
            let ends = queues.iter().enumerate().filter(|(_, queue)| !queue.complete);
            ends.filter_map(|(n, _)| woven.iter().rposition(|one| one.places[n] != weave::NOWHERE)).min()
        };
        if let Some(cut) = last.or_else(end) {
            woven.truncate(cut + 1);
        }
        (woven, last.is_some())
    }

    /// The same with datagrams put back that others overtook; `None` if there are none.
    fn weave_mended(&self, waiting: &[usize], queues: &[Queue]) -> Option<(Vec<Woven>, bool)> {
        let mut any = false;
        let mut orders = Vec::with_capacity(queues.len());
        for queue in queues {
            let order = weave::mend(&queue.pieces, &queue.units);
            any |= order.is_some();
            orders.push(order);
        }
        if !any {
            return None;
        }
        let lists: Vec<Vec<Piece>> = queues
            .iter()
            .zip(&orders)
            .map(|(queue, order)| match order {
                Some(order) => order.iter().map(|at| queue.pieces[*at as usize]).collect(),
                None => queue.pieces.clone(),
            })
            .collect();
        // Places are those of the lists as they were.
        let moved: Vec<Queue> = queues
            .iter()
            .zip(&orders)
            .map(|(queue, order)| Queue {
                units: match order {
                    Some(order) => order.iter().map(|at| queue.units[*at as usize]).collect(),
                    None => queue.units.clone(),
                },
                complete: queue.complete,
                ..Queue::default()
            })
            .collect();
        let (mut woven, agrees) = self.weave_lists(waiting, &moved, &lists);
        for one in &mut woven {
            for (place, order) in one.places.iter_mut().zip(&orders) {
                if let Some(order) = order
                    && let Some(at) = order.get(*place as usize)
                {
                    *place = *at;
                }
            }
        }
        Some((woven, agrees))
    }

    /// Counters that break.
    fn breaks(&self, woven: &[Woven]) -> usize {
        let mut stands = Stands::new(&self.counters);
        woven.iter().filter(|one| !stands.take(&one.piece)).count()
    }

    /// Counts datagrams whose packets were not next to each other.
    fn note_torn(&mut self, waiting: &[usize], queues: &[Queue], woven: &[Woven]) {
        for (number, (path, queue)) in waiting.iter().zip(queues).enumerate() {
            let mut last: Option<(usize, u32)> = None;
            let mut torn = 0;
            for (at, one) in woven.iter().enumerate() {
                let Some(unit) = queue.units.get(one.places[number] as usize) else { continue };
                torn += u32::from(last.is_some_and(|(before, of)| of == *unit && before + 1 < at));
                last = Some((at, *unit));
            }
            self.paths[*path].torn = self.paths[*path].torn.saturating_add(torn);
        }
    }
}

/// Counters as they go on from where they stand.
struct Stands<'a> {
    counters: &'a Counters,
    pids: Vec<(u16, u8)>,
}

impl<'a> Stands<'a> {
    fn new(counters: &'a Counters) -> Self {
        Self { counters, pids: Vec::new() }
    }

    /// Whether a packet goes on.
    fn take(&mut self, piece: &Piece) -> bool {
        if !piece.counted {
            return true;
        }
        let goes = |stands: u8| piece.free || piece.counter == (stands + 1) & 0x0f;
        if let Some((_, stands)) = self.pids.iter_mut().find(|(pid, _)| *pid == piece.pid) {
            return goes(std::mem::replace(stands, piece.counter));
        }
        self.pids.push((piece.pid, piece.counter));
        self.counters.stands(piece.pid).is_none_or(goes)
    }
}
