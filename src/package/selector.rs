//! Chooses, segment by segment, between pipelines A and B; and says how long it is worth waiting.
//!
//! In:    what each pipeline has delivered, the time. Out: a [`Decision`] for one segment number.
//! Never: takes a part of a segment from one pipeline and the rest from the other, waits beyond the live edge.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::event::Change;
use super::layout::Layout;
use super::segmenter::{Part, Segmenter, Whole};
use crate::clock::Now;
use crate::encode::ipc::Filled;
use crate::media::{AUDIO_RATE, PipelineId, SegmentNumber};

/// How long the pipeline on air is waited for once the other has the segment. Both encode the same frames at the same
/// time, so a healthy one is a few frames behind at most.
const GRACE: Duration = Duration::from_millis(300);
/// A pipeline that delivered nothing for so long is not progressing. Encoders deliver every frame; their look-ahead and a
/// busy host make pauses of some hundred milliseconds.
const STALL: Duration = Duration::from_millis(1500);
/// How long after its end a segment that nobody will deliver becomes a gap: when it would have been published.
const GAP_AFTER: Duration = Duration::from_millis(1200);
/// Segments that may wait behind a missing one before it becomes a gap, whatever the clocks say.
pub(super) const BACKLOG_MAX: u64 = 6;

/// One rendition of one segment of one pipeline.
#[derive(Debug, Default)]
pub(super) enum Made {
    /// Not yet.
    #[default]
    Missing,
    /// It came, and cannot be used.
    Refused,
    /// It came whole.
    Whole(Whole),
}

/// One segment of one pipeline.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Every rendition in order.
    pub made: Vec<Made>,
    /// When the last rendition became whole.
    pub done: Option<Now>,
}

impl Candidate {
    pub fn new(renditions: usize) -> Self {
        Self { made: (0..renditions).map(|_| Made::Missing).collect(), done: None }
    }

    /// The rendition, if it is whole.
    pub fn whole(&self, rendition: usize) -> Option<&Whole> {
        match self.made.get(rendition) {
            Some(Made::Whole(whole)) => Some(whole),
            _ => None,
        }
    }

    /// Every rendition is whole.
    pub fn is_whole(&self) -> bool {
        self.made.iter().all(|m| matches!(m, Made::Whole(_)))
    }

    /// How much had to be made up, in slots: fewer is better. Silence counts as the pictures it touches (40 ms each);
    /// slate twice, for it replaces what a repeat only holds.
    fn made_up(&self) -> u64 {
        let cost = |f: &Filled| {
            u64::from(f.repeated)
                + 2 * u64::from(f.slate)
                + u64::from(f.silent_samples).div_ceil(u64::from(AUDIO_RATE / 25))
                + u64::from(f.damaged)
                + u64::from(f.skipped)
        };
        (0..self.made.len()).filter_map(|r| self.whole(r)).map(|w| cost(&w.filled)).sum()
    }
}

/// What one pipeline delivers.
#[derive(Debug)]
pub(super) struct Line {
    /// Its process is up.
    pub alive: bool,
    /// It delivered a whole segment since it came up.
    pub locked: bool,
    /// It delivered something far from the live edge since it came up.
    pub strayed: bool,
    /// When it came up or last delivered anything.
    pub progress: Option<Now>,
    /// Segments being filled, by rendition.
    pub open: Vec<BTreeMap<SegmentNumber, Segmenter>>,
    /// The newest segment begun since it came up, by rendition.
    pub newest: Vec<Option<SegmentNumber>>,
    /// What waits for a decision.
    pub waiting: BTreeMap<SegmentNumber, Candidate>,
    /// How many of its renditions are pictures; they come first.
    video: usize,
    /// Segments whose pictures it makes. All, but for a pipeline on warm standby.
    pub expected: Range<SegmentNumber>,
}

/// Every segment.
const ALL: Range<SegmentNumber> = SegmentNumber(0)..SegmentNumber(u64::MAX);

impl Line {
    pub fn new(renditions: usize, video: usize) -> Self {
        Self {
            video,
            expected: ALL,
            alive: false,
            locked: false,
            strayed: false,
            progress: None,
            open: (0..renditions).map(|_| BTreeMap::new()).collect(),
            newest: vec![None; renditions],
            waiting: BTreeMap::new(),
        }
    }

    /// The process came up or went. What it left unfinished will never be finished; what is whole stays good.
    pub fn set_alive(&mut self, now: Now, alive: bool) {
        self.alive = alive;
        self.locked = false;
        self.strayed = false;
        self.progress = alive.then_some(now);
        self.open.iter_mut().for_each(BTreeMap::clear);
        self.newest.fill(None);
        self.expected = ALL;
    }

    /// Whether it makes this rendition of segment `n`, or has made it.
    pub fn makes(&self, n: SegmentNumber, rendition: usize) -> bool {
        rendition >= self.video || self.expected.contains(&n) || self.open[rendition].contains_key(&n)
    }

    /// Part `k` of a rendition of segment `n`, once it has it.
    pub fn part(&self, n: SegmentNumber, rendition: usize, k: usize) -> Option<&Part> {
        let parts = match self.waiting.get(&n).and_then(|c| c.made.get(rendition)) {
            Some(Made::Whole(whole)) => &whole.parts[..],
            Some(Made::Refused) => return None,
            _ => self.open.get(rendition)?.get(&n)?.parts(),
        };
        parts.get(k)
    }

    /// The pieces of its first picture, once it has the first part.
    pub fn first_picture(&self, n: SegmentNumber, rendition: usize) -> Option<Vec<Bytes>> {
        let pieces = match self.waiting.get(&n).and_then(|c| c.whole(rendition)) {
            Some(whole) => whole.first_picture(),
            None => self.open.get(rendition)?.get(&n)?.first_picture(),
        };
        Some(pieces.to_vec())
    }

    /// It has something of this rendition of segment `n`.
    pub fn has_begun(&self, n: SegmentNumber, rendition: usize) -> bool {
        self.open[rendition].contains_key(&n) || self.waiting.get(&n).is_some_and(|c| c.whole(rendition).is_some())
    }

    /// It will bring no more of this rendition of segment `n` than it has.
    pub fn has_ended(&self, n: SegmentNumber, rendition: usize) -> bool {
        match self.waiting.get(&n).and_then(|c| c.made.get(rendition)) {
            Some(Made::Whole(_) | Made::Refused) => true,
            _ => self.has_passed(n, rendition),
        }
    }

    /// It stands by for segment `n`, and brings all it brings.
    pub fn has_done_its_part(&self, n: SegmentNumber) -> bool {
        let Some(candidate) = self.waiting.get(&n) else { return false };
        (0..self.open.len()).all(|r| candidate.whole(r).is_some() || !self.makes(n, r))
    }

    /// It is gone, stands by, or went past this rendition of segment `n` without bringing it.
    pub fn has_passed(&self, n: SegmentNumber, rendition: usize) -> bool {
        !self.alive
            || !self.makes(n, rendition)
            || !self.open[rendition].contains_key(&n) && self.newest[rendition].is_some_and(|m| m >= n)
    }

    /// Segment `n` will never be whole.
    fn is_hopeless(&self, n: SegmentNumber) -> bool {
        let Some(candidate) = self.waiting.get(&n) else {
            return (0..self.open.len()).any(|r| self.has_passed(n, r));
        };
        candidate.made.iter().enumerate().any(|(r, made)| match made {
            Made::Missing => self.has_passed(n, r),
            Made::Refused => true,
            Made::Whole(_) => false,
        })
    }

    fn stalls_at(&self) -> Option<Now> {
        self.progress.map(|at| at.after(STALL))
    }

    fn whole(&self, n: SegmentNumber) -> Option<&Candidate> {
        self.waiting.get(&n).filter(|c| c.is_whole())
    }
}

/// What becomes of one segment number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// All renditions of one pipeline.
    Take {
        /// Which.
        from: PipelineId,
        /// Set when it is not the one on air.
        change: Option<Change>,
    },
    /// Renditions of both; where both have one, it is equal.
    Mix,
    /// Nobody will bring it.
    Gap,
    /// Not yet. Look again when something comes, or at this time.
    Wait(Now),
}

/// Both pipelines and which of them is on air.
#[derive(Debug)]
pub(super) struct Selector {
    layout: Layout,
    renditions: usize,
    lines: [Option<Line>; 2],
    pub on_air: Option<PipelineId>,
}

impl Selector {
    pub fn new(layout: Layout, renditions: usize, video: usize, pipelines: &[PipelineId]) -> Self {
        let line = |p: PipelineId| pipelines.contains(&p).then(|| Line::new(renditions, video));
        Self { layout, renditions, lines: PipelineId::BOTH.map(line), on_air: None }
    }

    /// A pipeline, if the channel has it.
    pub fn line(&self, which: PipelineId) -> Option<&Line> {
        self.lines[which.index()].as_ref()
    }

    /// A pipeline, if the channel has it.
    pub fn line_mut(&mut self, which: PipelineId) -> Option<&mut Line> {
        self.lines[which.index()].as_mut()
    }

    /// The first segment to publish: the lowest number that a pipeline has whole.
    pub fn first(&self) -> Option<SegmentNumber> {
        self.each().filter_map(|(_, l)| l.waiting.iter().find(|(_, c)| c.is_whole()).map(|(n, _)| *n)).min()
    }

    /// What becomes of segment `n`, the next to publish. `last` is when the one before it was decided, if there is one.
    pub fn decide(&self, now: Now, n: SegmentNumber, last: Option<Now>) -> Decision {
        let mut ready = self.each().filter_map(|(p, l)| l.whole(n).map(|c| (p, c)));
        match (ready.next(), ready.next()) {
            (Some(a), Some(b)) => self.better(a, b),
            (Some((from, candidate)), None) => self.one_ready(now, n, from, candidate),
            _ => self.none_ready(now, n, last),
        }
    }

    fn each(&self) -> impl Iterator<Item = (PipelineId, &Line)> {
        PipelineId::BOTH.into_iter().filter_map(|p| self.line(p).map(|l| (p, l)))
    }

    /// Both have it: the one with less made up; else the one on air.
    fn better(&self, a: (PipelineId, &Candidate), b: (PipelineId, &Candidate)) -> Decision {
        let (here, there) = if self.on_air == Some(b.0) { (b, a) } else { (a, b) };
        if there.1.made_up() < here.1.made_up() {
            return Decision::Take { from: there.0, change: self.on_air.map(|_| Change::Better) };
        }
        Decision::Take { from: here.0, change: None }
    }

    fn one_ready(&self, now: Now, n: SegmentNumber, from: PipelineId, candidate: &Candidate) -> Decision {
        let Some(on_air) = self.on_air else { return Decision::Take { from, change: None } };
        let other = from.other();
        let take = |why| Decision::Take { from, change: (on_air != from).then_some(why) };
        let Some(line) = self.line(other) else { return take(Change::Missing) };
        if !line.alive {
            return take(Change::Gone);
        }
        if !line.makes(n, 0) {
            return take(Change::StandsBy);
        }
        if line.is_hopeless(n) {
            return take(Change::Missing);
        }
        let clean = candidate.made_up() == 0;
        if on_air == from && clean {
            return take(Change::Late);
        }
        // Something was made up in what is at hand: a pipeline that may have the real thing is worth half a segment, which
        // players have in their buffer, for those that go over to a made-up picture show it.
        let grace = if clean || on_air == from { GRACE } else { GRACE.max(self.layout.grid().segment() / 2) };
        let until = candidate.done.unwrap_or(now).after(grace);
        if now.mono >= until.mono { take(Change::Late) } else { Decision::Wait(until) }
    }

    fn none_ready(&self, now: Now, n: SegmentNumber, last: Option<Now>) -> Decision {
        let backlog = self.each().filter_map(|(_, l)| l.waiting.keys().next_back()).max();
        let hopeful: Vec<&Line> = self.each().map(|(_, l)| l).filter(|l| !l.is_hopeless(n)).collect();
        if hopeful.is_empty() && self.can_mix(n) {
            return Decision::Mix;
        }
        // The live edge: the end of the segment's interval or, when encoders run late but steadily, one segment after the
        // one before. RFC 8216bis §6.2.1 asks for a new segment within 1.5 target durations of the last; a segment that is
        // on its way is still better than a gap, so a pipeline that keeps delivering is given another two.
        let segment = self.layout.grid().segment();
        let gap_at = at_utc(now, self.layout.grid().segment_start(n.next()).to_utc() + GAP_AFTER);
        let expected = last.map(|at| at.after(segment)).filter(|at| at.mono > gap_at.mono).unwrap_or(gap_at);
        let patience = expected.after(2 * segment);
        let stalls = hopeful.iter().filter_map(|l| l.stalls_at()).max_by_key(|at| at.mono);
        let until = match stalls {
            None => gap_at,
            Some(stalls) if stalls.mono < gap_at.mono => gap_at,
            Some(stalls) if stalls.mono < patience.mono => stalls,
            Some(_) => patience,
        };
        let crowded = backlog.is_some_and(|newest| newest.0 >= n.0 + BACKLOG_MAX);
        if now.mono < until.mono && !crowded {
            Decision::Wait(until)
        } else if self.can_mix(n) {
            Decision::Mix
        } else {
            Decision::Gap
        }
    }

    /// Whether every rendition is whole in one pipeline or the other, and equal where it is whole in both.
    fn can_mix(&self, n: SegmentNumber) -> bool {
        let [Some(a), Some(b)] = &self.lines else { return false };
        let (Some(a), Some(b)) = (a.waiting.get(&n), b.waiting.get(&n)) else { return false };
        (0..self.renditions).all(|r| match (a.whole(r), b.whole(r)) {
            (Some(a), Some(b)) => a.digest == b.digest,
            (None, None) => false,
            _ => true,
        })
    }
}

/// The instant the wall clock shows, or showed, `utc`, going by `now`.
fn at_utc(now: Now, utc: Duration) -> Now {
    match utc.checked_sub(now.utc) {
        Some(ahead) => now.after(ahead),
        None => Now { mono: now.mono.checked_sub(now.utc - utc).unwrap_or(now.mono), utc },
    }
}
