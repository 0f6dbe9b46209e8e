//! Which packets of several queues are the same.
//!
//! In:    the packets of one path after the other.
//! Out:   each packet once, with its places.
//! Never: decides on an order.
//!
//! Datagrams are compared as a whole where paths have the same ones ([`super::grid`]). Else a packet's fingerprint tells, but for those that
//! have twins: filling looks alike after 16 packets, and digital silence after some frames. Those are told by their neighbours in the
//! datagram, by their counters' way from one that is known, and where a loss lies on both sides, by arrival.

use std::collections::HashMap;

use super::super::Micros;
use super::plan::{NOWHERE, Step};
use super::reader::DATAGRAM;
use super::trail::ByPrint;
use super::{Content, PLAIN, SLACK};

const NOBODY: u32 = u32::MAX;

/// One packet, with all its copies.
#[derive(Debug)]
pub(super) struct Node {
    pub step: Step,
    /// When the first copy arrived, or would have on the path the stream began with.
    pub at: Micros,
    print: u64,
    /// Packets of its PID whose counters are next to its own on some path.
    before: u32,
    behind: u32,
}

/// A packet of one path, or a datagram of loose ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    place: u64,
    print: u64,
    pid: u16,
    twins: bool,
    unit: u64,
    unit_print: u64,
    slot: u8,
    at: Micros,
    /// Entry of its PID before it, if the counter goes on from there.
    before: u32,
    /// Place in what was given out of the packet of its PID before it, if the counter goes on from there.
    given: u64,
}

/// A datagram, with all its copies.
#[derive(Debug)]
struct Unit {
    nodes: [u32; DATAGRAM],
}

/// All packets of some paths.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub nodes: Vec<Node>,
    by_print: ByPrint<Vec<u32>>,
    by_unit: ByPrint<Vec<Unit>>,
    by_place: HashMap<(usize, u64), u32>,
    /// Packets that are next of their PID behind one that was given out.
    firsts: Vec<(u16, u64, u32)>,
}

impl Content {
    /// The first packets of a path; whether that is all of them.
    pub(super) fn entries(&self, path: usize, reach: u32) -> (Vec<Entry>, bool) {
        let mine = &self.paths[path];
        let mut entries: Vec<Entry> = Vec::new();
        let mut lasts: Vec<(u16, u8, u32)> = Vec::new();
        let (mut units, mut unit) = (0, 0);
        for place in mine.trail.begin()..mine.trail.end() {
            let Some((print, element)) = mine.trail.get(place).filter(|_| mine.usable(place)) else { break };
            if element.gone || element.dead || element.is_bare() && !self.grid.agrees() {
                continue;
            }
            units += u32::from(units == 0 || element.unit != unit);
            unit = element.unit;
            if units > reach {
                return (entries, false);
            }
            let mut entry = Entry {
                place,
                print,
                pid: element.pid,
                twins: self.has_twins(path, print, element),
                unit,
                unit_print: element.unit_print,
                slot: element.slot,
                at: mine.skew.aligned(element.arrival),
                before: NOBODY,
                given: NOWHERE,
            };
            let pid = element.pid;
            if element.counted {
                let number = entries.len() as u32;
                match lasts.iter_mut().find(|(known, ..)| *known == pid) {
                    Some((_, counter, last)) => {
                        if element.counter == (*counter + 1) & 0x0f {
                            entry.before = *last;
                        }
                        (*counter, *last) = (element.counter, number);
                    }
                    None => {
                        let tail = mine.tails.get(&pid).filter(|tail| element.counter == (tail.1 + 1) & 0x0f);
                        entry.given = tail.map_or(NOWHERE, |tail| tail.0);
                        lasts.push((pid, element.counter, number));
                    }
                }
            }
            entries.push(entry);
        }
        (entries, true)
    }
}

impl Copies {
    /// Takes a path's packets. Returns them in its order.
    pub fn match_list(&mut self, content: &Content, path: usize, entries: &[Entry]) -> Vec<u32> {
        let mut found = vec![NOBODY; entries.len()];
        let grid = content.grid.agrees();
        if grid {
            self.match_units(content, path, entries, &mut found, false);
        }
        let mut drift = None;
        for (entry, found) in entries.iter().zip(&mut found).filter(|(entry, _)| !entry.twins) {
            if *found == NOBODY {
                *found = self.nearest(content, path, entry, drift).unwrap_or(NOBODY);
                self.join(path, entry, *found);
            }
            drift = self.nodes.get(*found as usize).map(|node| entry.at - node.at).or(drift);
        }
        if grid {
            self.match_units(content, path, entries, &mut found, true);
        } else {
            self.match_twins(content, path, entries, &mut found);
        }
        for (entry, found) in entries.iter().zip(&mut found).filter(|(_, found)| **found == NOBODY) {
            let Entry { print, at, .. } = *entry;
            *found = self.nodes.len() as u32;
            self.nodes.push(Node { step: Step::NOBODY, at, print, before: NOBODY, behind: NOBODY });
            self.by_print.entry(print).or_default().push(*found);
            self.join(path, entry, *found);
        }
        self.remember(entries, &found, grid);
        found
    }

    /// Notes what others are recognised by.
    fn remember(&mut self, entries: &[Entry], found: &[u32], grid: bool) {
        for (n, entry) in entries.iter().enumerate() {
            if entry.before != NOBODY {
                let before = found[entry.before as usize];
                self.nodes[found[n] as usize].before = before;
                self.nodes[before as usize].behind = found[n];
            } else if entry.given != NOWHERE {
                self.firsts.push((entry.pid, entry.given, found[n]));
            }
        }
        let mut from = 0;
        for datagram in entries.chunk_by(|a, b| a.unit == b.unit).filter(|_| grid) {
            let units = self.by_unit.entry(datagram[0].unit_print).or_default();
            let mut nodes = [NOBODY; DATAGRAM];
            for (entry, node) in datagram.iter().zip(&found[from..]) {
                nodes[usize::from(entry.slot)] = *node;
            }
            let same = |unit: &&mut Unit| nodes.iter().zip(&unit.nodes).any(|(a, b)| a == b && *a != NOBODY);
            match units.iter_mut().find(same) {
                Some(unit) => unit.nodes.iter_mut().zip(nodes).for_each(|(known, node)| *known = node.min(*known)),
                None => units.push(Unit { nodes }),
            }
            from += datagram.len();
        }
    }

    /// Recognises whole datagrams: those that have a packet without twins, or those in which each has some.
    fn match_units(&mut self, content: &Content, path: usize, entries: &[Entry], found: &mut [u32], twins: bool) {
        let mut drift = None;
        let mut end = 0;
        for datagram in entries.chunk_by(|a, b| a.unit == b.unit) {
            let from = end;
            end += datagram.len();
            let single = datagram.iter().position(|entry| !entry.twins);
            if single.is_none() != twins {
                continue;
            }
            let sign = &datagram[single.unwrap_or(0)];
            let near = |unit: &Unit| {
                let node = unit.nodes[usize::from(sign.slot)];
                let apart = self.apart(content, path, sign, node, drift)?;
                (!twins || self.lies_between(found, from, end, node)).then_some((apart, unit.nodes))
            };
            let Some((_, nodes)) =
                self.by_unit.get(&sign.unit_print).and_then(|units| units.iter().filter_map(near).min())
            else {
                continue;
            };
            for (entry, found) in datagram.iter().zip(&mut found[from..]) {
                let node = nodes[usize::from(entry.slot)];
                if self.nodes.get(node as usize).is_some_and(|known| known.step.places[path] == NOWHERE) {
                    *found = node;
                    self.join(path, entry, node);
                }
            }
            if let Some(node) = self.nodes.get(nodes[usize::from(sign.slot)] as usize).filter(|_| !twins) {
                drift = Some(sign.at - node.at);
            }
        }
    }

    /// Recognises packets that have twins.
    fn match_twins(&mut self, content: &Content, path: usize, entries: &[Entry], found: &mut [u32]) {
        for n in 0..entries.len() {
            let known = self.next_to(content, entries, found, n, n.checked_sub(1), 1);
            self.recognise(content, path, entries, found, n, known);
            let known = self.gone_on(entries, found, n);
            self.recognise(content, path, entries, found, n, known);
        }
        for n in (0..entries.len()).rev() {
            let known = self.next_to(content, entries, found, n, Some(n + 1), u64::MAX);
            self.recognise(content, path, entries, found, n, known);
            let known = self.nodes.get(found[n] as usize).map_or(NOBODY, |node| node.before);
            if entries[n].before != NOBODY {
                self.recognise(content, path, entries, found, entries[n].before as usize, known);
            }
        }
        for n in 0..entries.len() {
            let known = self.gone_on(entries, found, n);
            self.recognise(content, path, entries, found, n, known);
            if found[n] == NOBODY && entries[n].twins {
                let nodes = self.by_print.get(&entries[n].print).into_iter().flatten();
                let near = |node: &u32| {
                    let apart = self.apart(content, path, &entries[n], *node, None)?;
                    self.lies_between(found, n, n + 1, *node).then_some((apart, *node))
                };
                let known = nodes.filter_map(near).min().map_or(NOBODY, |(_, node)| node);
                self.recognise(content, path, entries, found, n, known);
            }
        }
    }

    /// Takes `node` for a packet's copy if it may be. That a counter goes on is no proof where a loss may lie between: 16 may be missing.
    fn recognise(&mut self, content: &Content, path: usize, entries: &[Entry], found: &mut [u32], n: usize, node: u32) {
        let entry = &entries[n];
        if found[n] == NOBODY
            && self.nodes.get(node as usize).is_some_and(|known| known.print == entry.print)
            && (self.apart(content, path, entry, node, None).is_some() || self.is_nearest(path, entry, node))
            && self.lies_between(found, n, n + 1, node)
        {
            found[n] = node;
            self.join(path, entry, node);
        }
    }

    /// Next to a copy of its neighbour in the same datagram.
    fn next_to(
        &self,
        content: &Content,
        entries: &[Entry],
        found: &[u32],
        n: usize,
        neighbour: Option<usize>,
        step: u64,
    ) -> u32 {
        let neighbour = neighbour.filter(|at| entries.get(*at).is_some_and(|entry| entry.unit == entries[n].unit));
        let known = neighbour.and_then(|at| self.nodes.get(found[at] as usize)).filter(|_| found[n] == NOBODY);
        let mut copies = known.into_iter().flat_map(|node| node.step.members());
        let next = copies.find_map(|(other, place)| {
            let unit = |place: u64| content.paths[other].trail.get(place).map(|(_, element)| element.unit);
            let there = place.wrapping_add(step);
            self.by_place.get(&(other, there)).filter(|_| unit(there) == unit(place))
        });
        next.copied().unwrap_or(NOBODY)
    }

    /// The one that goes on from where the packet of its PID before it went on.
    fn gone_on(&self, entries: &[Entry], found: &[u32], n: usize) -> u32 {
        let entry = &entries[n];
        match found.get(entry.before as usize) {
            Some(before) => self.nodes.get(*before as usize).map_or(NOBODY, |node| node.behind),
            None => {
                let first = self.firsts.iter().find(|(pid, given, _)| *pid == entry.pid && *given == entry.given);
                first.map_or(NOBODY, |(.., node)| *node)
            }
        }
    }

    fn join(&mut self, path: usize, entry: &Entry, node: u32) {
        if let Some(known) = self.nodes.get_mut(node as usize) {
            known.step.places[path] = entry.place;
            known.at = known.at.min(entry.at);
            self.by_place.insert((path, entry.place), node);
        }
    }

    /// The packet of the same fingerprint that arrived closest to it.
    fn nearest(&self, content: &Content, path: usize, entry: &Entry, drift: Option<Micros>) -> Option<u32> {
        let nodes = self.by_print.get(&entry.print)?.iter();
        nodes
            .filter_map(|node| Some((self.apart(content, path, entry, *node, drift)?, *node)))
            .min()
            .map(|(_, node)| node)
    }

    /// How far a packet arrived from one that it may be a copy of. `drift` is how far the one before it did: a path may have been held up.
    fn apart(&self, content: &Content, path: usize, entry: &Entry, node: u32, drift: Option<Micros>) -> Option<Micros> {
        let known = self.nodes.get(node as usize).filter(|known| known.step.places[path] == NOWHERE)?;
        let (other, _) = known.step.members().next()?;
        let (own, theirs) = (&content.paths[path], &content.paths[other]);
        let twins = entry.twins || theirs.trail.only(known.print).is_none();
        let may = own.skew.jitter + theirs.skew.jitter + PLAIN + if twins { 0 } else { SLACK };
        let away = entry.at - known.at;
        let held_up = !twins && drift.is_none_or(|drift| (away - drift).abs() <= may);
        (away.abs() <= may || held_up).then_some(away.abs())
    }

    /// No other packet of this fingerprint that may be the path's as well arrived closer to it.
    fn is_nearest(&self, path: usize, entry: &Entry, node: u32) -> bool {
        let open = |node: &&u32| self.nodes[**node as usize].step.places[path] == NOWHERE;
        let apart = |node: &u32| (self.nodes[*node as usize].at - entry.at).abs();
        let nodes = self.by_print.get(&entry.print).into_iter().flatten();
        nodes.filter(open).min_by_key(|node| apart(node)) == Some(&node)
    }

    /// On each path that has it, it lies between what is known of the packets before `from` and from `end` on.
    fn lies_between(&self, found: &[u32], from: usize, end: usize, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| {
            node.step.members().all(|(other, place)| {
                let there = |at: &u32| {
                    let known = self.nodes.get(*at as usize)?;
                    Some(known.step.places[other]).filter(|place| *place != NOWHERE)
                };
                let before = found[..from].iter().rev().find_map(there);
                let behind = found[end..].iter().find_map(there);
                before.is_none_or(|before| before < place) && behind.is_none_or(|behind| place < behind)
            })
        })
    }
}
