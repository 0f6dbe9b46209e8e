//! Null packets and tables around packets that can be told apart.
//!
//! In:    the copies of one packet, each with what lies between it and the one before on its path.
//! Out:   what to give out in front of it.
//! Never: gives out more null packets than one path had, or two that had the same datagrams.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::reader::Loose;
use crate::wire::ts::NULL_PID;

/// How sure it can be that a PID's packets correspond, at most.
const SURE: i8 = 16;
/// Fingerprints of a PID that are remembered. A table that does not change has the same ones again after 16 packets.
const RECENT: usize = 8;
/// A table whose counter stands so often in a row does not count.
const STANDS: u8 = 2;

/// What lies in front of one copy of a packet.
#[derive(Debug)]
pub(super) struct Front {
    pub path: usize,
    /// The path had what was given out last: nothing was lost in between but what is loose itself.
    pub whole: bool,
    /// It is the first packet of its datagram that is not loose.
    pub begins: bool,
    /// Loose packets of datagrams of their own, then those in the packet's datagram.
    pub between: Vec<Loose>,
    pub before: Vec<Loose>,
}

#[derive(Debug, Default)]
struct Table {
    /// Above 0: paths carry the same packets at the same places.
    same: i8,
    counter: Option<u8>,
    /// The guide, its last counter, and how often in a row that was the one before as well.
    guides: Option<(usize, u8)>,
    stands: u8,
    recent: VecDeque<u64>,
}

/// What is known of loose packets.
#[derive(Debug, Default)]
pub(super) struct LooseEnds {
    tables: HashMap<u16, Table>,
    /// What lies behind the packet given out last in its datagram, by path.
    trailing: Vec<(usize, Vec<Loose>)>,
}

impl LooseEnds {
    /// Notes what a path has behind the packet that was just given out.
    pub fn trail(&mut self, path: usize, after: Vec<Loose>) {
        if !after.is_empty() {
            self.trailing.push((path, after));
        }
    }

    /// Gives out what lies behind the last packet of a stream that has ended.
    pub fn end(&mut self, guide: usize, sink: impl FnMut(usize, Bytes)) {
        self.give(guide, false, Vec::new(), sink);
    }

    /// Gives out all of what lies in a datagram that is the same on every path.
    pub fn give_all(&mut self, list: Vec<Loose>, mut sink: impl FnMut(Bytes)) {
        for loose in list {
            if loose.pid != NULL_PID {
                self.tables.entry(loose.pid).or_default().note(&loose);
            }
            sink(loose.packet);
        }
    }

    /// Something waits for the next packet.
    pub fn waits(&self) -> bool {
        !self.trailing.is_empty()
    }

    /// Gives out what belongs in front of the packet that `fronts` are of. `alike`: paths have the same datagrams.
    pub fn give(&mut self, guide: usize, alike: bool, mut fronts: Vec<Front>, mut sink: impl FnMut(usize, Bytes)) {
        let mut trailing = std::mem::take(&mut self.trailing);
        if trailing.is_empty() && fronts.iter().all(|front| front.between.is_empty() && front.before.is_empty()) {
            return;
        }
        let mut lists: Vec<(usize, Vec<Loose>)> = Vec::with_capacity(trailing.len() + fronts.len());
        // Where nothing was lost, what lies between is all there was.
        if fronts.iter().any(|front| front.whole) {
            let mut wholes = Vec::new();
            for front in fronts.iter_mut().filter(|front| front.whole) {
                let mut list = Vec::new();
                if let Some(at) = trailing.iter().position(|(path, _)| *path == front.path) {
                    list = trailing.swap_remove(at).1;
                }
                list.append(&mut front.between);
                list.append(&mut front.before);
                wholes.push((front.path, list));
            }
            self.compare_tables(guide, &wholes);
            wholes.sort_by_key(|(path, list)| (std::cmp::Reverse(nulls(list)), *path != guide));
            lists.extend(wholes);
            lists.extend(trailing);
            lists.extend(fronts.into_iter().filter(|f| !f.whole).map(|f| (f.path, [f.between, f.before].concat())));
            return self.give_lists(guide, lists, |at| at == 0, &mut sink);
        }
        // Nobody had both neighbours: of one path what was behind the one, of another what was in front of the other. Both, where
        // the paths have the same datagrams; else they may be the same packets.
        trailing.sort_by_key(|(path, list)| (std::cmp::Reverse(nulls(list)), *path != guide));
        for front in fronts.iter_mut().filter(|front| !front.begins) {
            // These lie behind a packet that is not the one given out last.
            front.before.retain(|loose| loose.pid != NULL_PID);
        }
        fronts.sort_by_key(|front| (std::cmp::Reverse(nulls(&front.before)), front.path != guide));
        let behind = trailing.first().map_or(0, |(_, list)| nulls(list));
        let before = fronts.first().map_or(0, |front| nulls(&front.before));
        let (first, second) = (alike || behind >= before, alike || before > behind);
        let split = trailing.len();
        lists.extend(trailing);
        for front in fronts {
            let mut list: Vec<Loose> = front.between.into_iter().filter(|loose| loose.pid != NULL_PID).collect();
            list.extend(front.before);
            lists.push((front.path, list));
        }
        self.give_lists(guide, lists, |at| first && at == 0 && split > 0 || second && at == split, &mut sink);
    }

    /// Gives out lists one after the other: tables where their counters go on, null packets of those lists that `fills` names.
    fn give_lists(
        &mut self,
        guide: usize,
        lists: Vec<(usize, Vec<Loose>)>,
        fills: impl Fn(usize) -> bool,
        sink: &mut impl FnMut(usize, Bytes),
    ) {
        for (at, (path, list)) in lists.into_iter().enumerate() {
            for loose in list {
                let gives = if loose.pid == NULL_PID {
                    fills(at)
                } else {
                    self.tables.entry(loose.pid).or_default().takes(&loose, path, path == guide)
                };
                if gives {
                    sink(path, loose.packet);
                }
            }
        }
    }

    /// Where two paths brought everything since the packet before, their tables are the same or not.
    fn compare_tables(&mut self, guide: usize, wholes: &[(usize, Vec<Loose>)]) {
        let Some((_, ours)) = wholes.iter().find(|(path, _)| *path == guide) else { return };
        for (_, theirs) in wholes.iter().filter(|(path, _)| *path != guide) {
            for (these, those) in [(ours, theirs), (theirs, ours)] {
                for loose in these.iter().filter(|loose| loose.pid != NULL_PID) {
                    let table = self.tables.entry(loose.pid).or_default();
                    let both = those.iter().any(|other| other.print == loose.print);
                    table.same = (table.same + if both { 2 } else { -2 }).clamp(-SURE, SURE);
                }
            }
        }
    }
}

fn nulls(list: &[Loose]) -> usize {
    list.iter().filter(|loose| loose.pid == NULL_PID).count()
}

impl Table {
    /// Whether a packet is given out.
    fn takes(&mut self, loose: &Loose, path: usize, of_guide: bool) -> bool {
        let ahead = self.counter.map(|counter| loose.counter.wrapping_sub(counter) & 0x0f);
        if of_guide {
            let stands = self.guides == Some((path, loose.counter));
            self.stands = if stands { self.stands.saturating_add(1) } else { 0 };
            self.guides = Some((path, loose.counter));
        }
        let gives = match ahead {
            None => of_guide,
            // Tables of some multiplexers never count.
            Some(_) if self.stands >= STANDS || self.same <= 0 => of_guide,
            Some(1..8) => true,
            Some(_) => of_guide && !self.recent.contains(&loose.print),
        };
        if gives {
            self.note(loose);
        }
        gives
    }

    /// One is given out.
    fn note(&mut self, loose: &Loose) {
        self.counter = Some(loose.counter);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(loose.print);
    }
}
