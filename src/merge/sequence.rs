//! Copies recognised by RTP sequence number (SMPTE ST 2022-7).
//!
//! In:    RTP payloads of any path, in any order, with sequence number and time of arrival.
//! Out:   each sequence number at most once, rising, a window after its time.
//! Never: looks into the payload, but to see that copies are equal.
//!
//! Numbers are unwrapped around the newest one. So copies may be at most 32,767 datagrams apart: 15 s at 23 Mbit/s, less above.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::figures::{Skew, tell_aligned, tell_skews};
use super::{Config, Figures, Micros, News, PathFigures, PathState, Rtp, micros_of};

/// A number further from the path's last one than that is a restart and not a loss (RFC 3550 §A.1, MAX_DROPOUT), unless
/// other paths are just there.
const DROPOUT: u64 = 3_000;

/// Most datagrams that wait. At 16-bit numbers no more can be told apart.
const WAITING_MAX: usize = 32_768;

/// Most datagrams of another numbering that are kept for a path.
const FOREIGN_MAX: usize = 4_096;

/// A sender whose numbers are old for so long beyond the window has begun anew.
const RETURN: Micros = 1_000_000;

/// A numbering ends when nothing of it has come for so long while another one is due.
const QUIET: Micros = 50_000;

/// Paths whose numbers have had nothing to do with each other for so long beyond the window are merged by content.
const PATIENCE: Micros = 2_000_000;

/// Copies in a row whose bytes differ make numbers worthless.
const DIFFERENT_MAX: u32 = 16;

/// Unwrapped numbers begin here, so that some may lie before the first.
const BEGIN: u64 = 1 << 32;

#[derive(Debug)]
struct Waiting {
    data: Bytes,
    /// When it arrived, or would have, on the path the stream began with; never later than that of the next one.
    due_from: Micros,
    /// The path of the first copy, and when that arrived.
    path: usize,
    arrival: Micros,
    /// Bit per path that brought it.
    seen: u8,
}

#[derive(Debug, Default)]
struct Path {
    figures: PathFigures,
    skew: Skew,
    /// Unwrapped number of its last datagram in the numbering that is given out.
    last: Option<u64>,
    last_at: Option<Micros>,
    /// Datagrams of another numbering, oldest first.
    foreign: VecDeque<(Micros, Rtp, Bytes)>,
    foreign_since: Option<Micros>,
}

/// The merge by sequence number.
#[derive(Debug)]
pub(super) struct Sequence {
    window: Micros,
    ssrc: Option<u32>,
    /// The path whose time of arrival is the stream's.
    lead: usize,
    newest: u64,
    next: Option<u64>,
    waiting: BTreeMap<u64, Waiting>,
    /// When a datagram last came that was not late.
    placed_at: Option<Micros>,
    different: u32,
    /// No due time given out lies before it.
    given_at: Micros,
    given: u64,
    unrecovered: u64,
    overflows: u64,
    paths: Vec<Path>,
}

impl Sequence {
    pub fn new(config: Config) -> Self {
        Self {
            window: micros_of(config.window),
            ssrc: None,
            lead: 0,
            newest: BEGIN,
            next: None,
            waiting: BTreeMap::new(),
            placed_at: None,
            different: 0,
            given_at: 0,
            given: 0,
            unrecovered: 0,
            overflows: 0,
            paths: (0..config.paths).map(|_| Path::default()).collect(),
        }
    }

    /// Takes a datagram. False when the numbers are of no use.
    pub fn push(&mut self, path: usize, at: Micros, rtp: Rtp, data: &Bytes, news: &mut VecDeque<News>) -> bool {
        self.paths[path].figures.packets += 1;
        if self.ssrc.is_none() {
            self.begin(path, rtp, news);
        }
        if !self.place(path, at, rtp, data, news) {
            self.keep_foreign(path, at, rtp, data, news);
        }
        let apart = |p: &Path| p.foreign_since.is_some_and(|since| at - since > self.window + PATIENCE);
        // A path alone on its numbers is moved to; two that both flow with different ones have none in common.
        self.different < DIFFERENT_MAX && !(self.lives(at) && self.paths.iter().any(apart))
    }

    /// A numbering begins.
    fn begin(&mut self, path: usize, rtp: Rtp, news: &mut VecDeque<News>) {
        self.ssrc = Some(rtp.ssrc);
        self.newest = BEGIN + u64::from(rtp.sequence);
        self.next = None;
        self.lead = path;
        for (at, path) in self.paths.iter_mut().enumerate() {
            // A path that took part keeps its place in time.
            if path.last.take().is_some() && at != self.lead {
                path.figures.state = PathState::Aligning;
            }
        }
        self.paths[path].skew.offset.get_or_insert(0);
        self.take_part(path, news);
    }

    fn take_part(&mut self, path: usize, news: &mut VecDeque<News>) {
        if self.paths[path].figures.state != PathState::Merged {
            self.paths[path].figures.state = PathState::Merged;
            let skews: Vec<Skew> = self.paths.iter().map(|p| p.skew).collect();
            tell_aligned(news, path, &skews);
        }
    }

    /// Puts a datagram in its place; false if it has none in this numbering.
    fn place(&mut self, path: usize, at: Micros, rtp: Rtp, data: &Bytes, news: &mut VecDeque<News>) -> bool {
        if self.ssrc != Some(rtp.ssrc) {
            return false;
        }
        let number = nearest(self.newest, rtp.sequence);
        let near = |known: u64| number.abs_diff(known) <= DROPOUT;
        // A long silence or skew leads further away, but then to where others have just been.
        let known = self.paths[path].last.is_some_and(near) || near(self.newest) || self.waiting.contains_key(&number);
        if !known && !self.waiting.is_empty() {
            return false;
        }
        if !known && self.next.is_some_and(|next| number.abs_diff(next) > DROPOUT) {
            return false;
        }
        let mine = &mut self.paths[path];
        mine.last = Some(number);
        mine.last_at = Some(at);
        mine.foreign.clear();
        mine.foreign_since = None;
        if self.next.is_some_and(|next| number < next) {
            // All that comes is old: a sender began anew a little before where it was.
            if self.waiting.is_empty() && self.placed_at.is_some_and(|last| at - last > self.window + RETURN) {
                return false;
            }
            mine.figures.late += 1;
            return true;
        }
        self.placed_at = Some(at);
        self.newest = self.newest.max(number);
        let bit = 1 << path;
        let Some(slot) = self.waiting.get_mut(&number) else {
            let due_from = mine.skew.aligned(at);
            self.insert(number, Waiting { data: data.clone(), due_from, path, arrival: at, seen: bit });
            return true;
        };
        if slot.seen & bit != 0 {
            mine.figures.duplicates += 1;
            return true;
        }
        if slot.data != *data {
            self.different += 1;
            mine.figures.unusable += 1;
            return true;
        }
        self.different = 0;
        slot.seen |= bit;
        let (other, arrival) = (slot.path, slot.arrival);
        if other == self.lead {
            let due_from = self.paths[other].skew.aligned(arrival);
            self.paths[path].skew.observe(at - due_from);
        } else if path == self.lead {
            let due_from = self.paths[path].skew.aligned(at);
            self.paths[other].skew.observe(arrival - due_from);
            self.take_part(other, news);
        }
        self.take_part(path, news);
        true
    }

    fn insert(&mut self, number: u64, mut slot: Waiting) {
        // What is behind it must not be held up by it, nor it by what is before it.
        if let Some((_, next)) = self.waiting.range(number..).next() {
            slot.due_from = slot.due_from.min(next.due_from);
        }
        for (_, before) in self.waiting.range_mut(..number).rev() {
            if before.due_from <= slot.due_from {
                break;
            }
            before.due_from = slot.due_from;
        }
        self.waiting.insert(number, slot);
    }

    fn keep_foreign(&mut self, path: usize, at: Micros, rtp: Rtp, data: &Bytes, news: &mut VecDeque<News>) {
        let mine = &mut self.paths[path];
        // One stray datagram is no numbering: the next must go on from it.
        let goes_on = mine.foreign.back().is_some_and(|(_, last, _)| {
            let last_number = BEGIN + u64::from(last.sequence);
            last.ssrc == rtp.ssrc && nearest(last_number, rtp.sequence).abs_diff(last_number) <= DROPOUT
        });
        if !goes_on {
            mine.figures.unusable += mine.foreign.len() as u64;
            mine.foreign.clear();
            mine.foreign_since = Some(at);
        } else if mine.figures.state == PathState::Merged {
            mine.figures.state = PathState::Aligning;
            news.push_back(News::Unaligned { path });
        }
        if mine.foreign.len() == FOREIGN_MAX {
            mine.foreign.pop_front();
            mine.figures.unusable += 1;
        }
        mine.foreign.push_back((at, rtp, data.clone()));
    }

    /// Something of this numbering came just now.
    fn lives(&self, now: Micros) -> bool {
        self.paths.iter().any(|p| p.last_at.is_some_and(|at| now - at < QUIET))
    }

    /// The path whose new numbering follows when this one has ended, and when that is due.
    fn successor(&self) -> Option<(Micros, usize)> {
        let due = |(at, path): (usize, &Path)| {
            let (arrival, ..) = path.foreign.front().filter(|_| path.foreign.len() > 1)?;
            Some((path.skew.aligned(*arrival) + self.window, at))
        };
        let quiet = self.paths.iter().filter_map(|p| p.last_at).max().map_or(0, |at| at + QUIET);
        self.paths.iter().enumerate().filter_map(due).min().map(|(due, path)| (due.max(quiet), path))
    }

    pub fn pop(&mut self, now: Micros, news: &mut VecDeque<News>) -> Option<(Micros, usize, Bytes)> {
        loop {
            if let Some((_, first)) = self.waiting.first_key_value() {
                let early = first.due_from + self.window > now;
                if early && self.waiting.len() <= WAITING_MAX {
                    return None;
                }
                self.overflows += u64::from(early);
                return self.give(now);
            }
            let (_, path) = self.successor().filter(|(at, _)| *at <= now)?;
            self.move_to(path, news);
        }
    }

    fn give(&mut self, now: Micros) -> Option<(Micros, usize, Bytes)> {
        let (number, slot) = self.waiting.pop_first()?;
        let next = self.next.unwrap_or(number);
        self.unrecovered += number - next;
        self.next = Some(number + 1);
        self.given += 1;
        for (at, path) in self.paths.iter_mut().enumerate() {
            if slot.seen & (1 << at) == 0 && path.figures.state == PathState::Merged {
                path.figures.lost += 1;
            }
        }
        let giver = &mut self.paths[slot.path].figures;
        giver.contributed += 1;
        giver.saved += u64::from(slot.seen.count_ones() == 1);
        self.given_at = self.given_at.max((slot.due_from + self.window).min(now));
        Some((self.given_at, slot.path, slot.data))
    }

    /// Begins anew with the numbering of `path`; others that have the same one come along.
    fn move_to(&mut self, path: usize, news: &mut VecDeque<News>) {
        let mut kept: Vec<_> = Vec::new();
        for (at, other) in self.paths.iter_mut().enumerate() {
            other.foreign_since = None;
            kept.extend(other.foreign.drain(..).map(|(arrival, rtp, data)| (arrival, at, rtp, data)));
        }
        kept.sort_by_key(|(arrival, at, ..)| (*arrival, *at != path));
        let Some(first) = kept.iter().find(|(_, at, ..)| *at == path).map(|(.., rtp, _)| *rtp) else { return };
        self.begin(path, first, news);
        news.push_back(News::Moved { path });
        for (arrival, at, rtp, data) in kept {
            if !self.place(at, arrival, rtp, &data, news) {
                self.keep_foreign(at, arrival, rtp, &data, news);
            }
        }
    }

    pub fn wake_at(&self) -> Option<Micros> {
        match self.waiting.first_key_value() {
            Some((_, first)) => Some(first.due_from + self.window),
            None => self.successor().map(|(at, _)| at),
        }
    }

    pub fn figures(&self, now: Micros) -> Figures {
        let mut paths: Vec<PathFigures> = self.paths.iter().map(|p| p.figures).collect();
        for (figures, path) in paths.iter_mut().zip(&self.paths) {
            let last = path.last_at.max(path.foreign.back().map(|(at, ..)| *at));
            if last.is_none_or(|at| now - at > 2 * self.window + PATIENCE) {
                figures.state = PathState::Silent;
            }
        }
        let skews: Vec<Skew> = self.paths.iter().map(|p| p.skew).collect();
        tell_skews(&mut paths, &skews);
        Figures {
            by_sequence: true,
            given: self.given,
            unrecovered: self.unrecovered,
            overflows: self.overflows,
            paths,
        }
    }

    /// What still waits, for the merge by content to begin with.
    pub fn give_up(&mut self) -> Vec<(Micros, usize, Bytes)> {
        std::mem::take(&mut self.waiting).into_values().map(|slot| (slot.arrival, slot.path, slot.data)).collect()
    }
}

/// The number ending in `sequence` that is nearest to `known`.
fn nearest(known: u64, sequence: u16) -> u64 {
    let step = sequence.wrapping_sub(known as u16).cast_signed();
    known.saturating_add_signed(i64::from(step))
}
