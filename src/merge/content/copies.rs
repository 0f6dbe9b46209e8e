//! Which packets of several queues are the same.
//!
//! In:    the packets of one path after the other.
//! Out:   each packet once, with its places.
//! Never: decides on an order.
//!
//! A fingerprint tells, but for packets of filling: those look alike after 16. They are told by their counters' way from one
//! that is known, and where a loss lies on both sides, by arrival.

use std::collections::HashMap;

use super::super::{Micros, PATHS_MAX};
use super::plan::{NOWHERE, Step};
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

/// A packet of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    place: u64,
    print: u64,
    pid: u16,
    filling: bool,
    unit: u64,
    at: Micros,
    /// Entry of its PID before it, if the counter goes on from there.
    before: u32,
    /// Place in what was given out of the packet of its PID before it, if the counter goes on from there.
    given: u64,
}

/// All packets of some paths.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub nodes: Vec<Node>,
    by_print: ByPrint<Vec<u32>>,
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
            if element.gone || element.dead {
                continue;
            }
            units += u32::from(units == 0 || element.unit != unit);
            unit = element.unit;
            if units > reach {
                return (entries, false);
            }
            let (pid, filling, at) = (element.pid, element.filling, mine.skew.aligned(element.arrival));
            let mut entry = Entry { place, print, pid, filling, unit, at, before: NOBODY, given: NOWHERE };
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
        for (entry, found) in entries.iter().zip(&mut found).filter(|(entry, _)| !entry.filling) {
            *found = self.nearest(content, path, entry, None).unwrap_or(NOBODY);
            self.join(path, entry, *found);
        }
        let settled = self.match_datagrams(content, path, entries, &mut found);
        // What goes on from a known one is known, forwards and backwards.
        for n in (0..entries.len()).filter(|n| !settled[*n]) {
            self.go_on(content, path, entries, &mut found, n);
        }
        for n in (0..entries.len()).rev() {
            let before = entries[n].before;
            if before != NOBODY && found[n] != NOBODY && found[before as usize] == NOBODY && !settled[before as usize] {
                let entry = &entries[before as usize];
                let node = self.nodes[found[n] as usize].before;
                if self.fits(content, path, entry, node) {
                    found[before as usize] = node;
                    self.join(path, entry, node);
                }
            }
        }
        for n in 0..entries.len() {
            if !settled[n] {
                self.go_on(content, path, entries, &mut found, n);
            }
            if !settled[n] && found[n] == NOBODY && entries[n].filling {
                // It lies between what is known around it.
                let known = |n: usize| Some(found[n]).filter(|node| *node != NOBODY);
                let least = (0..n).rev().find_map(known).map(|node| self.nodes[node as usize].at);
                let most = (n + 1..entries.len()).find_map(known).map(|node| self.nodes[node as usize].at);
                found[n] = self.nearest(content, path, &entries[n], Some((least, most))).unwrap_or(NOBODY);
                self.join(path, &entries[n], found[n]);
            }
            if found[n] == NOBODY {
                let Entry { print, at, .. } = entries[n];
                found[n] = self.nodes.len() as u32;
                self.nodes.push(Node { step: Step::NOBODY, at, print, before: NOBODY, behind: NOBODY });
                self.by_print.entry(print).or_default().push(found[n]);
                self.join(path, &entries[n], found[n]);
            }
        }
        for (n, entry) in entries.iter().enumerate() {
            if entry.before != NOBODY {
                let before = found[entry.before as usize];
                self.nodes[found[n] as usize].before = before;
                self.nodes[before as usize].behind = found[n];
            } else if entry.given != NOWHERE {
                self.firsts.push((entry.pid, entry.given, found[n]));
            }
        }
        found
    }

    /// A datagram's packets were together when it was sent: packets of filling go with one in their datagram that was recognised.
    /// Returns which of them are not to be recognised otherwise: paths have the same datagrams, and the others do not have this one.
    fn match_datagrams(&mut self, content: &Content, path: usize, entries: &[Entry], found: &mut [u32]) -> Vec<bool> {
        let mut settled = vec![false; entries.len()];
        let mut from = 0;
        for datagram in entries.chunk_by(|a, b| a.unit == b.unit) {
            let at = from;
            from += datagram.len();
            let Some(known) = datagram.iter().position(|entry| !entry.filling) else { continue };
            let copies: Vec<(usize, u64)> =
                self.nodes.get(found[at + known] as usize).map_or(Vec::new(), |node| node.step.members().collect());
            settled[at..from].fill(content.loose.alike());
            for (n, entry) in datagram.iter().enumerate().filter(|(_, entry)| entry.filling) {
                for (other, place) in copies.iter().filter(|(other, _)| *other != path) {
                    let trail = &content.paths[*other].trail;
                    let there = (place + n as u64).checked_sub(known as u64);
                    let unit = |place: u64| trail.get(place).map(|(_, element)| element.unit);
                    let node = there.filter(|there| unit(*there) == unit(*place));
                    let node = node.and_then(|there| self.by_place.get(&(*other, there))).copied().unwrap_or(NOBODY);
                    let same = self.nodes.get(node as usize).is_some_and(|known| known.print == entry.print);
                    if same && self.nodes[node as usize].step.places[path] == NOWHERE {
                        found[at + n] = node;
                        self.join(path, entry, node);
                        break;
                    }
                }
            }
        }
        settled
    }

    fn join(&mut self, path: usize, entry: &Entry, node: u32) {
        if let Some(known) = self.nodes.get_mut(node as usize) {
            known.step.places[path] = entry.place;
            known.at = known.at.min(entry.at);
            self.by_place.insert((path, entry.place), node);
        }
    }

    /// It may be that one. That a counter goes on is no proof where a loss may lie between: 16 may be missing.
    fn fits(&self, content: &Content, path: usize, entry: &Entry, node: u32) -> bool {
        let Some(node) = self.nodes.get(node as usize) else { return false };
        let other = node.step.members().next().map_or(0, |(other, _)| content.paths[other].skew.jitter);
        let near = (entry.at - node.at).abs() <= content.paths[path].skew.jitter + other + PLAIN;
        node.print == entry.print && node.step.places[path] == NOWHERE && near
    }

    /// Recognises a packet by the one of its PID before it.
    fn go_on(&mut self, content: &Content, path: usize, entries: &[Entry], found: &mut [u32], n: usize) {
        let entry = &entries[n];
        if found[n] != NOBODY {
            return;
        }
        let node = match found.get(entry.before as usize) {
            Some(before) => self.nodes.get(*before as usize).map_or(NOBODY, |node| node.behind),
            None => {
                let first = self.firsts.iter().find(|(pid, given, _)| *pid == entry.pid && *given == entry.given);
                first.map_or(NOBODY, |(.., node)| *node)
            }
        };
        if self.fits(content, path, entry, node) {
            found[n] = node;
            self.join(path, entry, node);
        }
    }

    /// The packet of the same fingerprint that arrived closest to it; between two times, where they are known.
    fn nearest(
        &self,
        content: &Content,
        path: usize,
        entry: &Entry,
        within: Option<(Option<Micros>, Option<Micros>)>,
    ) -> Option<u32> {
        let own = &content.paths[path];
        let only = !entry.filling && own.trail.only(entry.print).is_some();
        let apart = |node: &u32| {
            let known = &self.nodes[*node as usize];
            if known.step.places[path] != NOWHERE {
                return None;
            }
            let (other, _) = known.step.members().next()?;
            let theirs = &content.paths[other];
            let apart = (entry.at - known.at).abs();
            let slack = if entry.filling { 0 } else { SLACK };
            let outside = within.is_some_and(|(least, most)| {
                least.is_some_and(|least| known.at < least) || most.is_some_and(|most| known.at > most)
            });
            let near = apart <= own.skew.jitter + theirs.skew.jitter + PLAIN + slack && !outside;
            (near || only && theirs.trail.only(entry.print).is_some()).then_some((apart, *node))
        };
        debug_assert!(path < PATHS_MAX);
        self.by_print.get(&entry.print)?.iter().filter_map(apart).min().map(|(_, node)| node)
    }
}
