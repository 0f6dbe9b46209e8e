//! Null packets and tables between packets that can be told apart.
//!
//! In:    the copies of one packet, each with what lies in front of it on its path.
//! Out:   what to give out in front of it.
//! Never: holds anything back for later.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::path::{Element, Loose};
use crate::wire::ts::NULL_PID;

/// How sure it can be that a PID's packets correspond, at most.
const SURE: i8 = 16;
/// Fingerprints of a PID that are remembered. A table that does not change has the same ones again after 16 packets.
const RECENT: usize = 8;

/// One copy: path; nothing was lost on it since what was given out last; the packet.
type Copied = (usize, bool, Element);

#[derive(Debug, Default)]
struct Table {
    /// Above 0: paths carry the same packets at the same places.
    same: i8,
    counter: Option<u8>,
    /// The guide's last counter, and whether that was the one before as well.
    guides: Option<u8>,
    stands: bool,
    recent: VecDeque<u64>,
}

/// What is known of tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: HashMap<u16, Table>,
}

impl Tables {
    /// Gives out what belongs in front of the packet that `copies` are of.
    pub fn give(&mut self, guide: usize, copies: &mut [Copied], mut sink: impl FnMut(usize, Bytes)) {
        if copies.iter().all(|(.., element)| element.loose.is_empty()) {
            return;
        }
        self.compare(guide, copies);
        let nulls = |loose: &[Loose]| loose.iter().filter(|l| l.pid == NULL_PID).count();
        // Where nothing was lost, what lies between is all there was.
        let whole = |(path, whole, element): &&Copied| whole.then_some((nulls(&element.loose), *path == guide));
        let fullest = copies.iter().filter(|c| whole(c).is_some()).max_by_key(whole).map(|(path, ..)| *path);
        copies.sort_by_key(|(path, ..)| (Some(*path) != fullest, *path != guide));
        for (path, _, element) in copies {
            for loose in std::mem::take(&mut element.loose) {
                let gives = if loose.pid == NULL_PID {
                    Some(*path) == fullest
                } else {
                    self.tables.entry(loose.pid).or_default().takes(&loose, *path == guide)
                };
                if gives {
                    sink(*path, loose.packet);
                }
            }
        }
    }

    /// Where two paths brought everything since the packet before, their tables are the same or not.
    fn compare(&mut self, guide: usize, copies: &[Copied]) {
        let Some((.., ours)) = copies.iter().find(|(path, whole, _)| *path == guide && *whole) else { return };
        for (.., theirs) in copies.iter().filter(|(path, whole, _)| *path != guide && *whole) {
            for (these, those) in [(&ours.loose, &theirs.loose), (&theirs.loose, &ours.loose)] {
                for loose in these.iter().filter(|loose| loose.pid != NULL_PID) {
                    let table = self.tables.entry(loose.pid).or_default();
                    let both = those.iter().any(|other| other.print == loose.print);
                    table.same = (table.same + if both { 2 } else { -2 }).clamp(-SURE, SURE);
                }
            }
        }
    }
}

impl Table {
    /// Whether a packet is given out.
    fn takes(&mut self, loose: &Loose, of_guide: bool) -> bool {
        let ahead = self.counter.map(|counter| loose.counter.wrapping_sub(counter) & 0x0f);
        if of_guide {
            self.stands = self.guides == Some(loose.counter);
            self.guides = Some(loose.counter);
        }
        let gives = match ahead {
            None => of_guide,
            // Tables of some multiplexers never count.
            Some(_) if self.stands || self.same <= 0 => of_guide,
            Some(1..8) => true,
            Some(_) => of_guide && !self.recent.contains(&loose.print),
        };
        if gives {
            self.counter = Some(loose.counter);
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(loose.print);
        }
        gives
    }
}
