//! A queue of packets in which each is found by its fingerprint.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Packets of one fingerprint that are looked through; streams repeat themselves exactly where they carry filling.
const HOPS_MAX: usize = 64;
const NONE: u64 = u64::MAX;

/// Fingerprints are keyed hashes already.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 ^ u64::from(*byte));
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = print;
    }
}

/// Something by fingerprint.
pub(super) type ByPrint<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

#[derive(Debug)]
struct Entry<T> {
    print: u64,
    /// Place of the next one with this fingerprint.
    next: u64,
    value: T,
}

/// First in, first out, and found by fingerprint. Places count on from 0 and stay.
#[derive(Debug)]
pub(super) struct Trail<T> {
    begin: u64,
    entries: VecDeque<Entry<T>>,
    /// First and last place of each fingerprint.
    prints: ByPrint<(u64, u64)>,
}

impl<T> Default for Trail<T> {
    fn default() -> Self {
        Self { begin: 0, entries: VecDeque::new(), prints: ByPrint::default() }
    }
}

impl<T> Trail<T> {
    pub fn push(&mut self, print: u64, value: T) -> u64 {
        let at = self.end();
        if let Some((_, last)) = self.prints.get_mut(&print) {
            let before = *last;
            *last = at;
            self.entries[(before - self.begin) as usize].next = at;
        } else {
            self.prints.insert(print, (at, at));
        }
        self.entries.push_back(Entry { print, next: NONE, value });
        at
    }

    pub fn pop(&mut self) -> Option<(u64, T)> {
        let Entry { print, next, value } = self.entries.pop_front()?;
        self.begin += 1;
        if next == NONE {
            self.prints.remove(&print);
        } else if let Some((first, _)) = self.prints.get_mut(&print) {
            *first = next;
        }
        Some((print, value))
    }

    pub fn front(&self) -> Option<(u64, &T)> {
        self.entries.front().map(|entry| (entry.print, &entry.value))
    }

    pub fn get(&self, at: u64) -> Option<(u64, &T)> {
        let place = usize::try_from(at.checked_sub(self.begin)?).ok()?;
        self.entries.get(place).map(|entry| (entry.print, &entry.value))
    }

    pub fn get_mut(&mut self, at: u64) -> Option<&mut T> {
        let place = usize::try_from(at.checked_sub(self.begin)?).ok()?;
        self.entries.get_mut(place).map(|entry| &mut entry.value)
    }

    /// The first place from `from` on with this fingerprint.
    pub fn find(&self, print: u64, from: u64) -> Option<u64> {
        let (mut at, _) = *self.prints.get(&print)?;
        for _ in 0..HOPS_MAX {
            if at == NONE || at >= from {
                break;
            }
            at = self.entries.get((at - self.begin) as usize)?.next;
        }
        (at != NONE && at >= from).then_some(at)
    }

    /// The only place with this fingerprint.
    pub fn only(&self, print: u64) -> Option<u64> {
        self.prints.get(&print).filter(|(first, last)| first == last).map(|(first, _)| *first)
    }

    /// There is more than one with this fingerprint.
    pub fn several(&self, print: u64) -> bool {
        self.prints.get(&print).is_some_and(|(first, last)| first != last)
    }

    /// Place of the front.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// Place of the next push.
    pub fn end(&self) -> u64 {
        self.begin + self.entries.len() as u64
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list: few fingerprints, so that they recur.
        #[test]
        fn finds_what_a_plain_search_finds(steps in prop::collection::vec((0_u64..6, any::<bool>()), 1..120), from in 0_u64..40) {
            let mut trail = Trail::default();
            let mut plain: Vec<(u64, u64)> = Vec::new();
            let mut count = 0;
            for (print, pops) in steps {
                if pops && print > 2 {
                    let popped = trail.pop();
                    prop_assert_eq!(popped.is_some(), !plain.is_empty());
                    if popped.is_some() {
                        plain.remove(0);
                    }
                } else {
                    prop_assert_eq!(trail.push(print, ()), count);
                    plain.push((count, print));
                    count += 1;
                }
                for print in 0..6 {
                    let of: Vec<u64> = plain.iter().filter(|(_, p)| *p == print).map(|(at, _)| *at).collect();
                    prop_assert_eq!(trail.find(print, from), of.iter().copied().find(|at| *at >= from));
                    prop_assert_eq!(trail.only(print), (of.len() == 1).then(|| of[0]));
                }
            }
        }
    }
}
