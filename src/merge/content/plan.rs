//! What is given out next: queues laid side by side.
//!
//! In:    the queues of all paths that take part, none of them empty.
//! Out:   packets in order, each with the paths that have it.
//! Never: gives out.

use std::collections::VecDeque;

use super::super::PATHS_MAX;
use super::copies::{Copies, Node};
use super::path::{DATAGRAM, Element};
use super::search::{Problem, Run, UNKNOWN};
use super::{Content, PLAIN, SLACK};
use crate::wire::ts::PIDS;

/// Datagrams of each path that are laid side by side, until one is found where they agree again.
const REACHES: [u32; 3] = [12, 48, 192];
/// They must agree so many datagrams further on: one that comes before may have been overtaken.
const BEYOND: u32 = 3;
/// Packets of one fingerprint among which a copy is looked for.
const TWINS: usize = 16;
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

/// Queues side by side.
struct Region {
    nodes: Vec<Node>,
    /// Each waiting path's packets in order.
    lists: Vec<Vec<u32>>,
    /// They end where all paths agree.
    agrees: bool,
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
    fn step_of(&self, paths: &[usize]) -> Step {
        let mut step = Step::NOBODY;
        paths.iter().for_each(|path| step.places[*path] = self.paths[*path].trail.begin());
        step
    }

    /// Where only one packet can be next, and goes on, nothing needs to be sought.
    fn plainly(&self, waiting: &[usize]) -> Option<Step> {
        let mut chosen: Option<(usize, u64)> = None;
        let mut having = Vec::with_capacity(waiting.len());
        for &path in waiting {
            let (print, head) = self.paths[path].head()?;
            let others = waiting.iter().copied().filter(|other| *other != path);
            if others.into_iter().any(|other| self.further_on(path, print, head, other)) {
                continue;
            }
            if !self.goes_on(path, head) {
                return None;
            }
            let Some((first, chosen)) = chosen else {
                chosen = Some((path, print));
                having.push(path);
                continue;
            };
            let (_, other) = self.paths[first].head()?;
            if print != chosen || !self.near(first, other, path, head, print) {
                return None;
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

    /// Another path has the head of one, but not as its own head.
    fn further_on(&self, path: usize, print: u64, head: &Element, other: usize) -> bool {
        let theirs = &self.paths[other];
        if theirs.head().is_some_and(|(first, element)| first == print && self.near(path, head, other, element, print))
        {
            return false;
        }
        let mut from = theirs.trail.begin();
        for _ in 0..TWINS {
            let Some(place) = theirs.trail.find(print, from).filter(|place| theirs.usable(*place)) else {
                return false;
            };
            let near = |(_, e): (u64, &Element)| !e.gone && !e.dead && self.near(path, head, other, e, print);
            if theirs.trail.get(place).is_some_and(near) {
                return true;
            }
            from = place + 1;
        }
        false
    }

    /// Two packets of one fingerprint are copies: if they are the only ones, or nothing in their arrival speaks against it.
    pub(super) fn near(&self, a: usize, x: &Element, b: usize, y: &Element, print: u64) -> bool {
        let (left, right) = (&self.paths[a], &self.paths[b]);
        if !x.filling && left.trail.only(print).is_some() && right.trail.only(print).is_some() {
            return true;
        }
        let may = left.skew.jitter + right.skew.jitter + PLAIN + if x.filling { 0 } else { SLACK };
        (left.skew.aligned(x.arrival) - right.skew.aligned(y.arrival)).abs() <= may
    }

    fn plan_region(&self, waiting: &[usize]) -> (VecDeque<Step>, bool) {
        let mut region = None;
        for reach in REACHES {
            let next = self.region(waiting, reach);
            let (agrees, complete) = (next.0.agrees, next.1);
            region = Some(next.0);
            if agrees || complete {
                break;
            }
        }
        let Some(region) = region else { return (VecDeque::new(), true) };
        let (problem, contents) = self.problem(waiting, &region);
        let mut steps = VecDeque::new();
        let mut open = !region.agrees;
        for (n, (run, breaks)) in problem.solve().into_iter().enumerate() {
            // What breaks a counter is only believed when its time has come, and everything is there that could mend it.
            if breaks && n > 0 {
                open = true;
                break;
            }
            steps.extend(contents[usize::from(run)].iter().map(|node| region.nodes[*node as usize].step.clone()));
            if breaks {
                open = true;
                break;
            }
        }
        (steps, open)
    }

    /// Lays queues side by side, up to where they agree. True when there is no more of them.
    fn region(&self, waiting: &[usize], reach: u32) -> (Region, bool) {
        let mut copies = Copies::default();
        let mut lists: Vec<Vec<u32>> = Vec::with_capacity(waiting.len());
        let mut complete = true;
        for &path in waiting {
            let (entries, all) = self.entries(path, reach);
            complete &= all;
            lists.push(copies.match_list(self, path, &entries));
        }
        let mut region = Region { nodes: copies.nodes, lists, agrees: false };
        region.agrees = self.cut_where_all_agree(waiting, &mut region, complete);
        if !region.agrees {
            region.cut_by_time();
        }
        (region, complete)
    }

    /// Finds a packet that all paths have, with the same packets in front of it and behind.
    fn cut_where_all_agree(&self, waiting: &[usize], region: &mut Region, complete: bool) -> bool {
        let lists = &region.lists;
        let mut places = vec![vec![u32::MAX; region.nodes.len()]; lists.len()];
        for (list, places) in lists.iter().zip(&mut places) {
            list.iter().enumerate().for_each(|(at, node)| places[*node as usize] = at as u32);
        }
        let mut clean = vec![true; lists[0].len()];
        for a in 0..lists.len() {
            for b in a + 1..lists.len() {
                crossings(&lists[a], &places[b], |at, crossed| {
                    // Of the first list it is known by place, of the others by packet.
                    let first = places[0][lists[a][at] as usize] as usize;
                    if crossed && let Some(clean) = clean.get_mut(first) {
                        *clean = false;
                    }
                });
            }
        }
        let unit = |path: usize, node: u32| {
            let place = region.nodes[node as usize].step.places[path];
            self.paths[path].trail.get(place).map_or(0, |(_, element)| element.unit)
        };
        let mut found = None;
        for (at, node) in lists[0].iter().enumerate() {
            if !clean[at] || places.iter().any(|places| places[*node as usize] == u32::MAX) {
                continue;
            }
            found = Some(*node);
            let beyond =
                |(path, list): (&usize, &Vec<u32>)| unit(*path, *node) - unit(*path, list[0]) >= u64::from(BEYOND);
            if waiting.iter().zip(lists).all(beyond) {
                break;
            }
            if !complete {
                found = None;
            }
        }
        let Some(node) = found else { return false };
        for (list, places) in region.lists.iter_mut().zip(&places) {
            list.truncate(places[node as usize] as usize + 1);
        }
        true
    }

    /// Divides a region into runs: packets of one datagram that the same paths have.
    fn problem(&self, waiting: &[usize], region: &Region) -> (Problem, Vec<Vec<u32>>) {
        let jitters = waiting.iter().map(|path| self.paths[*path].skew.jitter + PLAIN / 2).collect();
        let mut problem = Problem { jitters, ..Problem::default() };
        let mut contents: Vec<Vec<u32>> = Vec::new();
        let mut run_of = vec![u16::MAX; region.nodes.len()];
        let mut pids: Vec<u16> = Vec::new();
        let mut places = vec![vec![u32::MAX; region.nodes.len()]; waiting.len()];
        for (list, places) in region.lists.iter().zip(&mut places) {
            list.iter().enumerate().for_each(|(at, node)| places[*node as usize] = at as u32);
        }
        let members = |node: u32| {
            let of = |(at, places): (usize, &Vec<u32>)| u8::from(places[node as usize] != u32::MAX) << at;
            places.iter().enumerate().map(of).fold(0, |all, bit| all | bit)
        };
        for (own, (&path, list)) in waiting.iter().zip(&region.lists).enumerate() {
            let mine = &self.paths[path];
            let mut runs: Vec<(u16, bool)> = Vec::new();
            let mut before: Option<(u32, u64)> = None;
            for &node in list {
                let Some((_, element)) = mine.trail.get(region.nodes[node as usize].step.places[path]) else {
                    continue;
                };
                let joined = match before {
                    Some((_, unit)) => unit == element.unit,
                    None => mine.cursor == self.history.end() && mine.last_unit == element.unit,
                };
                let follows = before.filter(|_| joined).map(|(before, _)| before);
                before = Some((node, element.unit));
                if run_of[node as usize] != u16::MAX {
                    if runs.last().is_none_or(|(last, _)| *last != run_of[node as usize]) {
                        runs.push((run_of[node as usize], joined));
                    }
                    continue;
                }
                let number = pids.iter().position(|pid| *pid == element.pid).unwrap_or_else(|| {
                    pids.push(element.pid);
                    problem.counters.push(self.counters.0[usize::from(element.pid)]);
                    pids.len() - 1
                });
                let number = number.min(usize::from(u8::MAX)) as u8;
                let all = members(node);
                // It goes with the one before if nothing can come between on any path.
                let goes_with = follows.map(|before| (before, run_of[before as usize])).filter(|(before, run)| {
                    let last = &problem.runs[usize::from(*run)];
                    let next_to = |places: &Vec<u32>| {
                        places[node as usize] == u32::MAX || places[node as usize] == places[*before as usize] + 1
                    };
                    let stands = last.lasts.iter().find(|(pid, _)| *pid == number).map(|(_, counter)| *counter);
                    let fits =
                        !element.counted || element.free || stands.is_none_or(|c| element.counter == (c + 1) & 0x0f);
                    last.members == all
                        && fits
                        && places.iter().all(next_to)
                        && contents[usize::from(*run)].last() == Some(before)
                });
                let run = match goes_with {
                    Some((_, run)) => run,
                    None => {
                        let at = region.nodes[node as usize].at;
                        problem.runs.push(Run { members: all, at, ..Run::default() });
                        contents.push(Vec::new());
                        runs.push((contents.len() as u16 - 1, joined));
                        contents.len() as u16 - 1
                    }
                };
                run_of[node as usize] = run;
                contents[usize::from(run)].push(node);
                problem.runs[usize::from(run)].take(number, element);
            }
            debug_assert_eq!(problem.lists.len(), own);
            problem.lists.push(runs);
        }
        (problem, contents)
    }
}

impl Run {
    /// One more packet at its end.
    fn take(&mut self, pid: u8, element: &Element) {
        if !element.free && !self.lasts.iter().any(|(known, _)| *known == pid) {
            self.firsts.push((pid, element.counter, element.counted));
        }
        if !element.counted {
            return;
        }
        match self.lasts.iter_mut().find(|(known, _)| *known == pid) {
            Some((_, last)) => *last = element.counter,
            None => self.lasts.push((pid, element.counter)),
        }
    }
}

impl Region {
    /// Where paths never agree, they are compared up to where all of them have arrived.
    fn cut_by_time(&mut self) {
        let last = |list: &Vec<u32>| list.last().map(|node| self.nodes[*node as usize].at);
        let Some(end) = self.lists.iter().filter_map(last).min() else { return };
        for list in &mut self.lists {
            let within = list.iter().take_while(|node| self.nodes[**node as usize].at <= end).count();
            list.truncate(within);
        }
        // A packet that all but one list have is in none.
        let mut count = vec![0_u32; self.nodes.len()];
        self.lists.iter().flatten().for_each(|node| count[*node as usize] += 1);
        loop {
            let torn = |node: &u32| count[*node as usize] as usize != self.nodes[*node as usize].step.members().count();
            let Some((list, from)) =
                self.lists.iter().enumerate().find_map(|(at, list)| Some((at, list.iter().position(torn)?)))
            else {
                return;
            };
            for node in self.lists[list].drain(from..) {
                count[node as usize] -= 1;
            }
        }
    }
}

/// Tells of each packet of a list that another has as well, by its place in the list, whether others change places around it.
fn crossings(list: &[u32], places: &[u32], mut tell: impl FnMut(usize, bool)) {
    let place = |node: &u32| Some(places[*node as usize]).filter(|place| *place != u32::MAX);
    let mut least_behind = vec![u32::MAX; list.len() + 1];
    for (at, node) in list.iter().enumerate().rev() {
        least_behind[at] = least_behind[at + 1].min(place(node).unwrap_or(u32::MAX));
    }
    let mut most_before = None;
    for (at, node) in list.iter().enumerate() {
        let Some(there) = place(node) else { continue };
        tell(at, most_before.is_some_and(|most| most > there) || least_behind[at + 1] < there);
        most_before = most_before.max(Some(there));
    }
}
