//! Figures of a merge, and the skew of paths.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Micros, News};

/// How far apart the paths are, in the classes of SMPTE ST 2022-7 (2019, Table 1) for receivers that could merge them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkewClass {
    /// At most 150 µs.
    D,
    /// At most 10 ms.
    A,
    /// At most 50 ms.
    B,
    /// At most 450 ms.
    C,
}

impl SkewClass {
    /// The smallest class that holds `skew`; `None` beyond all of them.
    pub fn of(skew: Duration) -> Option<Self> {
        let classes = [(150, Self::D), (10_000, Self::A), (50_000, Self::B), (450_000, Self::C)];
        classes.into_iter().find(|(most, _)| skew <= Duration::from_micros(*most)).map(|(_, class)| class)
    }
}

/// What a path does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathState {
    /// Nothing has arrived for some windows.
    #[default]
    Silent,
    /// It flows, and is not found in the stream yet.
    Aligning,
    /// It takes part.
    Merged,
    /// It flows, and is another stream.
    NotTheSame,
}

/// What a path has done since the beginning. Counted in datagrams by sequence number, in packets by content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathFigures {
    /// What it does.
    pub state: PathState,
    /// Arrived.
    pub packets: u64,
    /// Given out, and its copy was the first or only one.
    pub contributed: u64,
    /// Given out, and no other path had it in time.
    pub saved: u64,
    /// Given out while it took part, and it had no copy in time.
    pub lost: u64,
    /// Arrived when their place had been given out or passed over.
    pub late: u64,
    /// Arrived twice on this path.
    pub duplicates: u64,
    /// Arrived, and could not be used: broken, or in a place that fits nowhere.
    pub unusable: u64,
    /// How much later than the earliest path it is, now; `None` unless it takes part.
    pub skew: Option<Duration>,
}

/// What a merge has done since the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Copies are recognised by sequence number, not by content.
    pub by_sequence: bool,
    /// Given out.
    pub given: u64,
    /// Packets that no path had in time, as far as sequence numbers and continuity counters tell.
    pub unrecovered: u64,
    /// Given out early or dropped because more waited than there is room for.
    pub overflows: u64,
    /// Each path's own.
    pub paths: Vec<PathFigures>,
}

impl Figures {
    /// Largest skew of the paths that take part; `None` with fewer than two.
    pub fn skew(&self) -> Option<Duration> {
        let mut skews = self.paths.iter().filter_map(|path| path.skew);
        let first = skews.next()?;
        skews.reduce(Duration::max).map(|most| most.max(first))
    }

    /// Class of that skew.
    pub fn class(&self) -> Option<SkewClass> {
        self.skew().and_then(SkewClass::of)
    }
}

/// One copy that strays further says no more than one that strays so far: it was held up somewhere.
const STRAY: Micros = 100_000;

/// When a path's copies arrive, against the stream's own time of arrival, which is that of the path it began with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skew {
    /// How much later, on the whole; `None` before it was measured.
    pub offset: Option<Micros>,
    /// Largest deviation from that of late.
    pub jitter: Micros,
}

impl Skew {
    /// One copy came so much later.
    pub fn observe(&mut self, later: Micros) {
        let offset = *self.offset.get_or_insert(later);
        let off = (later - offset).clamp(-STRAY, STRAY);
        self.offset = Some(offset + off / 64);
        self.jitter = (self.jitter - self.jitter / 16_384).max(off.abs());
    }

    /// When a packet that arrived at `at` arrived, or would have, on the path the stream began with.
    pub fn aligned(&self, at: Micros) -> Micros {
        at - self.offset.unwrap_or(0)
    }
}

/// Sets each path's skew against the earliest.
pub(super) fn tell_skews(paths: &mut [PathFigures], skews: &[Skew]) {
    let merged = |path: &PathFigures| path.state == PathState::Merged;
    let least = paths.iter().zip(skews).filter(|(path, _)| merged(path)).filter_map(|(_, skew)| skew.offset).min();
    let Some(least) = least else { return };
    for (path, skew) in paths.iter_mut().zip(skews) {
        path.skew =
            skew.offset.filter(|_| merged(path)).map(|offset| Duration::from_micros((offset - least).unsigned_abs()));
    }
}

/// What was new about a path's state.
pub(super) fn tell_aligned(news: &mut VecDeque<News>, path: usize, skews: &[Skew]) {
    let least = skews.iter().filter_map(|skew| skew.offset).min().unwrap_or(0);
    let offset = skews[path].offset.unwrap_or(least);
    news.push_back(News::Aligned { path, skew: Duration::from_micros((offset - least).unsigned_abs()) });
}
