//! The live edge: one segment that is published part by part, a row at a time. A row is one part of every rendition.
//!
//! In:    what each pipeline has of the segment, the time. Out: the next row and whom to take it from.
//! Never: goes from one pipeline to the other inside a segment, unless all bytes so far are proven equal; waits beyond what
//!        players keep behind the live edge.

use std::time::Duration;

use bytes::Bytes;

use super::digest::Digest;
use super::event::Change;
use super::rest::Rest;
use super::segmenter::Part;
use super::selector::{Line, Selector};
use super::slab::Stored;
use crate::clock::Now;
use crate::media::{PipelineId, SegmentNumber};

/// Shortest time the pipeline on air is waited for once the other has a row: encoders of two processes on a busy host are
/// apart by as much without anything being wrong.
const GRACE_MIN: Duration = Duration::from_millis(100);
/// How long a pipeline that has begun the segment is waited for once the other has all of it, with other bytes.
const PATIENCE: Duration = Duration::from_millis(300);

/// The segment that is being published.
#[derive(Debug)]
pub(super) struct Edge {
    number: SegmentNumber,
    /// By rendition.
    tracks: Vec<Track>,
    /// Rows published, and how many there will be.
    rows: usize,
    total: usize,
    /// Where the last row came from; `None` before the first, and where it was put together of both.
    from: Option<PipelineId>,
    /// All rows came from `from`.
    single: bool,
    /// Since when each pipeline has the next row.
    ready_since: [Option<Now>; 2],
    /// The first picture of the rendition that trick play is made of.
    pub first_picture: Vec<Bytes>,
}

/// What is published of one rendition.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub parts: Vec<Published>,
    /// None of it is slate.
    pub real: bool,
}

/// A part at rest.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub rest: Rest,
    /// As [`Part::upto`].
    pub upto: Digest,
    /// A decoder may start in it.
    pub independent: bool,
}

/// What becomes of the next row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// Publish it.
    Take {
        /// Whose part, by rendition.
        from: Vec<PipelineId>,
        /// Set when it is not the pipeline on air.
        change: Option<(PipelineId, Change)>,
    },
    /// Not yet. Look again when something comes, and at this time if it says so.
    Wait(Option<Now>),
    /// Nobody will bring parts that continue what is published.
    Broken,
}

/// What can be said of one pipeline's next part of one rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It never comes, or does not continue what is published.
    Never,
    /// The pipeline stands by; it comes if somebody asks for it.
    Unasked,
    /// It may come.
    Pending,
    /// It is here.
    Ready,
}

impl Edge {
    /// Nothing is published yet of segment `number`, which has `total` rows.
    pub fn new(number: SegmentNumber, renditions: usize, total: usize) -> Self {
        let track = Track { real: true, ..Track::default() };
        let (tracks, from, ready_since) = (vec![track; renditions], None, [None; 2]);
        Self { number, tracks, rows: 0, total, from, single: true, ready_since, first_picture: Vec::new() }
    }

    /// One of which `tracks` were published before this process began. Nobody will go on with it, unless bytes are equal.
    pub fn found(number: SegmentNumber, tracks: Vec<Track>, total: usize) -> Self {
        let rows = tracks.first().map_or(0, |track| track.parts.len());
        Self { tracks, rows, ..Self::new(number, 0, total) }
    }

    pub fn number(&self) -> SegmentNumber {
        self.number
    }

    /// Rows published.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Every row is published.
    pub fn is_complete(&self) -> bool {
        self.rows == self.total
    }

    /// By rendition.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// The one pipeline all of it came from.
    pub fn from(&self) -> Option<PipelineId> {
        self.from.filter(|_| self.single)
    }

    /// Notes a row that was published: by rendition what it was and where it rests.
    pub fn published(&mut self, from: &[PipelineId], row: Vec<(Stored, Part)>) {
        for (track, (stored, part)) in self.tracks.iter_mut().zip(row) {
            track.real &= part.real;
            track.parts.push(Published { rest: Rest::Memory(stored), upto: part.upto, independent: part.independent });
        }
        let one = from.first().copied().filter(|first| from.iter().all(|f| f == first));
        self.single &= one.is_some() && (self.from == one || self.rows == 0);
        self.from = one;
        self.rows += 1;
        self.ready_since = [None; 2];
    }

    /// What becomes of the next row. `part` is how long one lasts.
    pub fn next(&mut self, now: Now, selector: &Selector, part: Duration) -> Row {
        let states = PipelineId::BOTH.map(|p| self.states(selector.line(p)));
        let worst = |p: PipelineId| states[p.index()].iter().min().copied().unwrap_or(State::Never);
        for p in PipelineId::BOTH {
            let ready = worst(p) == State::Ready;
            let since = &mut self.ready_since[p.index()];
            *since = if ready { since.or(Some(now)) } else { None };
        }
        let on_air = self.from.or(selector.on_air).unwrap_or(PipelineId::A);
        let other = on_air.other();
        let all = |from: PipelineId, why: Option<Change>| Row::Take {
            from: vec![from; self.tracks.len()],
            change: why.filter(|_| selector.on_air.is_some_and(|now| now != from)).map(|why| (from, why)),
        };
        let cost = |p: PipelineId| self.made_up(selector.line(p));
        match (worst(on_air), worst(other)) {
            (State::Ready, State::Ready) if cost(other) < cost(on_air) => all(other, Some(Change::Better)),
            (State::Ready, State::Ready) => all(on_air, Some(Change::Missing)),
            (State::Ready, State::Pending | State::Unasked)
                if cost(on_air) > 0 && self.is_at_work(selector.line(other)) =>
            {
                // It may have the real thing, if it is called. A whole part is what players can wait for: they hold three.
                let until = self.since(on_air, now).after(part);
                if now.mono >= until.mono { all(on_air, Some(Change::Missing)) } else { Row::Wait(Some(until)) }
            }
            (State::Ready, _) => all(on_air, Some(Change::Missing)),
            (State::Pending, State::Ready) => {
                let grace = if cost(other) > 0 { part } else { (part / 2).max(GRACE_MIN) };
                let until = self.since(other, now).after(grace);
                if now.mono >= until.mono { all(other, Some(Change::Late)) } else { Row::Wait(Some(until)) }
            }
            (_, State::Ready) => all(other, Some(self.why_not(selector.line(on_air)))),
            _ => self.of_both(&states),
        }
    }

    /// Neither pipeline has the whole row.
    fn of_both(&self, states: &[Vec<State>; 2]) -> Row {
        let [a, b] = states;
        let best = |r: usize| a[r].max(b[r]);
        if (0..self.tracks.len()).any(|r| best(r) == State::Never) {
            return Row::Broken;
        }
        let hopeless = |side: &[State]| side.contains(&State::Never);
        if (0..self.tracks.len()).all(|r| best(r) == State::Ready) && hopeless(a) && hopeless(b) {
            // Each lacks something for good, and together they have everything.
            let of = |r: usize| if a[r] == State::Ready { PipelineId::A } else { PipelineId::B };
            return Row::Take { from: (0..self.tracks.len()).map(of).collect(), change: None };
        }
        Row::Wait(None)
    }

    /// When a pipeline that began this segment is given up for the other one, which has all of it with other bytes since
    /// `done`.
    pub fn patience(done: Now, part: Duration) -> Now {
        done.after(part + PATIENCE)
    }

    fn since(&self, p: PipelineId, now: Now) -> Now {
        self.ready_since[p.index()].unwrap_or(now)
    }

    fn states(&self, line: Option<&Line>) -> Vec<State> {
        let Some(line) = line else { return vec![State::Never; self.tracks.len()] };
        let (n, k) = (self.number, self.rows);
        let state = |(r, track): (usize, &Track)| {
            // The newest part both have tells of all before it.
            let newest = (0..k).rev().find_map(|at| Some((at, line.part(n, r, at)?)));
            match newest {
                Some((at, part)) if part.upto != track.parts[at].upto => State::Never,
                _ if line.part(n, r, k).is_some() => State::Ready,
                _ => Self::hope(line, n, r),
            }
        };
        self.tracks.iter().enumerate().map(state).collect()
    }

    fn hope(line: &Line, n: SegmentNumber, r: usize) -> State {
        if line.alive && !line.makes(n, r) {
            State::Unasked
        } else if line.has_ended(n, r) {
            State::Never
        } else {
            State::Pending
        }
    }

    /// It has begun this segment, or is in lock and will.
    fn is_at_work(&self, line: Option<&Line>) -> bool {
        line.is_some_and(|line| line.locked || (0..self.tracks.len()).any(|r| line.has_begun(self.number, r)))
    }

    fn made_up(&self, line: Option<&Line>) -> u32 {
        let Some(line) = line else { return u32::MAX };
        let parts = (0..self.tracks.len()).filter_map(|r| line.part(self.number, r, self.rows));
        parts.map(|part| part.made_up).sum()
    }

    fn why_not(&self, line: Option<&Line>) -> Change {
        match line {
            Some(line) if !line.alive => Change::Gone,
            Some(line) if !line.makes(self.number, 0) => Change::StandsBy,
            _ => Change::Missing,
        }
    }
}
