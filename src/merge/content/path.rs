//! One path: its packets that wait, and what is known of it.
//!
//! In:    packets as they arrive, and what became of them.
//! Out:   the packet that is next.
//! Never: looks at other paths.

use std::hash::RandomState;

use super::super::figures::Skew;
use super::super::{Micros, PathFigures};
use super::SILENCE;
use super::align::Votes;
use super::order::Order;
use super::reader::{Element, Loose, Reader};
use super::trail::{ByPrint, Trail};

/// Most loose packets between two that are not: a second of nothing at 6 Mbit/s.
const LOOSE_MAX: usize = 4_096;

/// Most packets that are remembered from when a path fell silent.
const HELD_MAX: usize = 1 << 15;

/// A path of the merge.
#[derive(Debug)]
pub(super) struct Path {
    pub order: Order,
    pub reader: Reader,
    pub trail: Trail<Element>,
    /// Packets in it, loose ones as well.
    pub waiting: usize,
    /// Loose packets of datagrams that have nothing else, in front of the packet that is next; while they travel with that.
    pub between: Vec<Loose>,
    /// From this place on the path is not found in the stream.
    pub barrier: Option<u64>,
    /// The place of what came first since it was silent, or jumped.
    pub since: u64,
    pub votes: Votes,
    /// Place in what was given out behind the last packet that this path had, too.
    pub cursor: u64,
    /// Datagram of that packet.
    pub last_unit: u64,
    pub skew: Skew,
    /// Packets given out since one of them was in common with another path, and how many of them did not go on.
    pub alone: u32,
    pub breaks: u32,
    /// Datagrams with packets that were not next to each other in the source.
    pub torn: u32,
    pub last_at: Option<Micros>,
    /// What was given out when the path fell silent: a payloader may hold some of it until the path flows again.
    pub held: ByPrint<()>,
    /// Since when it flows without being found.
    pub sought_since: Micros,
    /// What arrived before was not looked at when its time came.
    pub aligned_at: Micros,
    pub clock: Option<(u16, u64, Micros)>,
    pub figures: PathFigures,
}

impl Path {
    pub fn new(hasher: RandomState) -> Self {
        Self {
            order: Order::default(),
            reader: Reader::new(hasher),
            trail: Trail::default(),
            waiting: 0,
            between: Vec::new(),
            barrier: Some(0),
            since: 0,
            votes: Votes::default(),
            cursor: 0,
            last_unit: 0,
            skew: Skew::default(),
            alone: 0,
            breaks: 0,
            torn: 0,
            last_at: None,
            held: ByPrint::default(),
            sought_since: 0,
            aligned_at: Micros::MIN,
            clock: None,
            figures: PathFigures::default(),
        }
    }

    pub fn usable(&self, place: u64) -> bool {
        self.barrier.is_none_or(|barrier| place < barrier)
    }

    /// What is next, where the path takes part.
    pub fn head(&self) -> Option<(u64, &Element)> {
        self.trail.front().filter(|_| self.usable(self.trail.begin()))
    }

    /// Takes away from the front what was given out ahead of its place.
    pub fn trim(&mut self) {
        while self.trail.front().is_some_and(|(_, element)| element.gone) {
            self.drop_front();
        }
    }

    pub fn drop_front(&mut self) {
        if let Some((_, element)) = self.trail.pop() {
            self.waiting -= usize::from(element.weight);
        }
    }

    /// Loose packets of a datagram that is next wait for what is behind it.
    pub fn loosen_front(&mut self) {
        let Some((_, element)) = self.trail.pop() else { return };
        self.waiting -= usize::from(element.weight);
        self.between.extend(element.before);
        if self.between.len() > LOOSE_MAX {
            self.figures.unusable += self.between.len() as u64;
            self.between.clear();
        }
    }

    /// Notes what was given out, when it is forgotten otherwise.
    pub fn note_held(&mut self, print: u64, at: Micros, now: Micros, window: Micros) {
        let last = self.last_at.map_or(Micros::MIN, |last| self.skew.aligned(last));
        if self.silent(now, window)
            && (-SILENCE..SILENCE).contains(&at.saturating_sub(last))
            && self.held.len() < HELD_MAX
        {
            self.held.insert(print, ());
        }
    }

    pub fn silent(&self, now: Micros, window: Micros) -> bool {
        self.last_at.is_none_or(|at| now - at > window.max(SILENCE))
    }
}
