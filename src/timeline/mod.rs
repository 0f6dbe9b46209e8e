//! Anchors: source time → channel time.
//!
//! In:    the time of arrival of a source's media, and its time on the source's own timeline.
//! Out:   an [`Anchor`], shared by all sources that run on the same source timeline; where media lies under it.
//! Never: steps the channel timeline back, or asks which pipeline wants to know.
//!
//! Two sources that carry the same programme with the same timestamps must land on the same slots, or two pipelines fed by
//! them would disagree. They are recognised by the time they arrive: under an anchor that fits, a source's media lies
//! near the wall clock; under a foreign one it lies hours away (33 bits are 26.5 h), so a chance match is one in 24,000.
//!
//! A source timeline may *jump* inside: then it goes on where it left off, and by how much it jumped is remembered with it, for
//! others that make the same jump and for those that come later. And it may *drift*: then its [`line`] bends, for all its sources alike.
//!
//! Where two hosts make a channel together, they tell each other their anchors ([`shared`]): sources of both land on the same slots.

mod drift;
mod line;
mod shared;
mod told;

use std::time::Duration;

pub use drift::Drift;
pub use shared::{ACCEPTED, Elsewhere, Unusable};
pub use told::Told;

use crate::clock::Now;
use crate::media::{ChannelTime, FrameRate, Grid, Pace, Round, SourceTime};
use line::Line;

/// An anchor fits a source whose media lies so near to the wall clock under it. Contribution feeds of one programme are
/// rarely skewed by more than a second; SRT latencies differ by up to as much again.
pub const FIT: Duration = Duration::from_secs(2);

/// Media further than this from the wall clock is anchored anew: the source's clock has drifted or silently jumped.
pub const STRAY: Duration = Duration::from_secs(4);

/// At the very limit one source of a line strays and the next one does not, and their media would lie apart until that one does, too. So when one has
/// strayed for good, the others follow from here on, for so long; and each at the very picture at which the first one left, or two pipelines would
/// show different pictures up to [`STRAY`] later.
const FOLLOWS: Duration = Duration::from_millis(3500);
const FOLLOWS_FOR: Duration = Duration::from_secs(10);

/// Media further than this is of another time altogether, and not at the limit.
const FAR: Duration = Duration::from_millis(4500);

/// A source whose delay is known does not come earlier than that by more than so much, ticks: 300 ms.
const EARLY: i64 = 27_000;

/// Jumps that differ by less, ticks, are the same one, seen by sources of which one lost some pictures: 250 ms.
const SAME_JUMP: i64 = 22_500;

/// Behind a jump media this much later than expected, ticks, shows that time passed in which nothing came: 400 ms. Less is jitter of a busy
/// host, and less than is waited for anyway.
const MISSING: i64 = 36_000;

/// A line moves by a slot when all its sources have drifted by so much, ticks, or by a slot if that is longer: 40 ms.
const SLIP: i64 = 3_600;

/// A word about drift counts for so long.
const VOTE_COUNTS: Duration = Duration::from_secs(30);

/// Source time comes from 33 bits (ISO/IEC 13818-1 §2.4.3.7): a demux that begins behind a wrap counts so many ticks less.
const WRAP: i64 = 1 << 33;

/// How many timelines are remembered, and how many jumps of each. More than there can be sources with timelines of their own
/// in a sane channel.
const REMEMBERED: usize = 16;

/// Where a source's time leads: one of the channel's lines, and by how much the source has jumped since that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    line: u64,
    /// Ticks of the source less ticks of the line; wraps are jumps, too.
    shift: i64,
}

impl Anchor {
    /// Both lead to the same line: what is planned for one holds for the other.
    pub const fn is_like(self, other: Self) -> bool {
        self.line == other.line
    }

    /// Between it and the one before the jump by `by` lie slots that were left free.
    pub const fn leaves_free(self, before: Self, by: i64) -> bool {
        around(before.shift.saturating_add(by).saturating_sub(self.shift)) != 0
    }

    /// Both come from the same jump, as far as can be told.
    pub const fn is_near(self, other: Self) -> bool {
        self.is_like(other) && around(self.shift.saturating_sub(other.shift)).abs() <= SAME_JUMP
    }
}

/// How a source came by its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchored {
    /// It runs on a timeline the channel knows.
    Adopted(Anchor),
    /// It runs on a timeline of its own, from now on known to the channel.
    New(Anchor),
}

impl Anchored {
    /// The anchor, however it came about.
    pub const fn anchor(self) -> Anchor {
        match self {
            Self::Adopted(a) | Self::New(a) => a,
        }
    }
}

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A picture: it stays on its slot.
    Picture,
    /// Sound, and anything else that is not shown in slots.
    Sound,
}

/// A planned repeat or drop of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slip {
    /// One frame is repeated; else one is left out.
    pub later: bool,
    /// How many it makes since the line began: repeats less drops.
    pub sum: i64,
}

/// How one source has left its line for another one.
#[derive(Clone, Copy, Debug)]
struct Left {
    when: ChannelTime,
    /// The first picture that lies elsewhere, ticks of the line that was left.
    at: i64,
    /// The source's shift until then.
    shift: i64,
    to: Anchor,
}

/// Whether a source that strays follows another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// None has left lately.
    Nobody,
    /// Not with this picture: the other one had it where it was.
    NotYet,
    /// From this picture on it lies under this anchor.
    To(Anchor),
}

/// One source timeline and what is known of it.
#[derive(Clone, Debug)]
struct Known {
    id: u64,
    line: Line,
    /// Newest last. The first one is where it began.
    shifts: Vec<i64>,
    /// By whom, when, and by how many ticks it has drifted.
    votes: Vec<(u32, Now, i64)>,
    /// When a source strayed from it for good, last.
    left: Option<Left>,
    /// How often its plan was taken from the other host.
    revised: u32,
    /// The disk had it, and nobody has used it since.
    recalled: bool,
}

impl Known {
    /// Remembers by how much a source has jumped. What was kept last is forgotten last.
    fn keep(&mut self, shift: i64) {
        self.shifts.retain(|known| around(known.saturating_sub(shift)) != 0);
        if self.shifts.len() == REMEMBERED {
            self.shifts.remove(0);
        }
        self.shifts.push(shift);
    }
}

/// All anchors of one channel. Outlives sources, pipelines and encode processes.
#[derive(Clone, Debug)]
pub struct Timeline {
    grid: Grid,
    /// Longest unused first.
    lines: Vec<Known>,
    made: u64,
    sources: u32,
    /// Of whatever others are to be told.
    changes: u64,
    /// What the other host told last.
    other: Option<shared::Other>,
    /// It may be heard until then, for the first time.
    expected: Option<Now>,
}

impl Timeline {
    /// No anchor yet.
    pub const fn new(grid: Grid) -> Self {
        Self { grid, lines: Vec::new(), made: 0, sources: 0, changes: 0, other: None, expected: None }
    }

    /// A number for a source, by which its words about drift are told from others'.
    pub fn enlist(&mut self) -> u32 {
        self.sources += 1;
        self.sources
    }

    /// The anchor for a source whose media of source time `at` arrived at `now`: one that is known and fits, the other host's where that has it
    /// about there, or a new one. `at` is a video frame's PTS where there is video. `usual`: by how many ticks its media came behind its time
    /// before, if that is known. A new anchor puts `at` where frames at the source's `rate` stay as far as can be from the middle between two
    /// slots, on a slot if they are as many; so no rounding later moves the source's frames between slots.
    pub fn anchor(
        &mut self,
        now: ChannelTime,
        at: SourceTime,
        usual: Option<i64>,
        rate: Option<FrameRate>,
    ) -> Anchored {
        // What this process itself has used stays; the other host knows better than what was kept of another life.
        let found = self.fitting(now, at, usual, false).or_else(|| self.adopt(now, at));
        if let Some(anchor) = found.or_else(|| self.fitting(now, at, usual, true)) {
            self.use_line(anchor.line);
            self.keep(anchor);
            return Anchored::Adopted(anchor);
        }
        let on_slot = self.grid.slot_time(self.grid.slot_at(now)).offset(self.phase(rate));
        let line = Line::new(self.grid, at.ticks(), on_slot);
        Anchored::New(Anchor { line: self.remember(line, vec![0]), shift: 0 })
    }

    /// Of the anchors that are known the one that fits best, if any does. `recalled`: of those that only the disk had.
    fn fitting(&self, now: ChannelTime, at: SourceTime, usual: Option<i64>, recalled: bool) -> Option<Anchor> {
        let (fit, stray) = (ticks(FIT), ticks(STRAY));
        let fits = |delay: i64| match usual {
            Some(usual) => (-EARLY..=fit).contains(&(delay - usual)) && delay.abs() <= stray,
            None => delay.abs() <= fit,
        };
        // With nothing to go by but the clock, what others found last: whoever strayed with them lands with them. A source that is
        // known by its delay is told by it: the nearest tenth of a second counts; of those the newest: after a step of the wall clock
        // it is the truer one.
        let known = self.candidates(now, at, recalled);
        known
            .filter(|(_, delay)| fits(*delay))
            .min_by_key(|(_, delay)| usual.map(|usual| (delay - usual).abs() / 9_000))
            .map(|(anchor, _)| anchor)
    }

    /// Every anchor known, newest first, and how many ticks behind its time what lies at `at` would come under it.
    fn candidates(&self, now: ChannelTime, at: SourceTime, recalled: bool) -> impl Iterator<Item = (Anchor, i64)> {
        self.lines.iter().rev().filter(move |known| known.recalled == recalled).flat_map(move |known| {
            known.shifts.iter().rev().map(move |shift| {
                let unwrapped = |shift: i64| {
                    let here = known.line.picture(at.ticks().saturating_sub(shift));
                    (Anchor { line: known.id, shift }, now - here)
                };
                // As many wraps more or less as put it nearest to now.
                let wraps = Round::Nearest.divide(i128::from(unwrapped(*shift).1), i128::from(WRAP));
                // A distance of i64 has less than 2³¹ wraps in it.
                let by = i64::try_from(wraps * i128::from(WRAP)).unwrap_or(0);
                unwrapped(shift.saturating_sub(by))
            })
        })
    }

    /// How far from a slot's time the first frame of a source is put, ticks. At *a/b* slots a frame, in lowest terms, the frames lie on
    /// multiples of 1/*b* of a slot. If *b* is even, one of them would lie in the middle between two slots: half a step aside
    /// none does.
    fn phase(&self, rate: Option<FrameRate>) -> i64 {
        let Some(rate) = rate else { return 0 };
        let slots = u64::from(self.grid.rate().num()) * u64::from(rate.den());
        let frames = u64::from(self.grid.rate().den()) * u64::from(rate.num());
        let b = frames / gcd(slots, frames);
        if b.is_multiple_of(2) { -((self.slot_ticks() as u64 / (2 * b)) as i64) } else { 0 }
    }

    fn slot_ticks(&self) -> i64 {
        ticks(self.grid.slot_duration())
    }

    /// Where `at` lies on the channel timeline; `None` if nobody has used the anchor for so long that it is forgotten.
    pub fn map(&self, anchor: Anchor, at: SourceTime, of: Of) -> Option<ChannelTime> {
        let line = &self.known(anchor)?.line;
        let at = at.ticks().saturating_sub(anchor.shift);
        Some(if of == Of::Picture { line.picture(at) } else { line.sound(at) })
    }

    /// What its source's clock shows where `at` lies, without the jumps.
    pub const fn unshifted(anchor: Anchor, at: SourceTime) -> i64 {
        at.ticks().saturating_sub(anchor.shift)
    }

    /// The source's timestamps have jumped by `by` ticks in front of media that, before, came `late` ticks later than usual. It goes on
    /// where it left off, or as much later as time passed in which nothing came; or on an anchor that is known, if that is what another
    /// source found. `keep`: others shall find this one, too.
    pub fn jumped(&mut self, anchor: Anchor, by: i64, late: i64, keep: bool) -> Anchor {
        let slot = self.slot_ticks().max(1);
        let Some(known) = self.lines.iter_mut().find(|known| known.id == anchor.line) else { return anchor };
        // Under an anchor moved by as much as the source jumped.
        let late = late.saturating_add(by);
        let slots = if late > MISSING { (late + slot / 2) / slot } else { 0 };
        let shift = anchor.shift.saturating_add(by).saturating_sub(known.line.slots(slots));
        let near = SAME_JUMP.min(shift.saturating_sub(anchor.shift).saturating_abs() / 2);
        let same = (known.shifts.iter().rev().copied().filter(|known| around(*known - anchor.shift) != 0))
            .map(|known| (known, around(known.saturating_sub(shift))))
            .filter(|(_, off)| off.abs() <= near)
            .min_by_key(|(_, off)| off.abs());
        if let Some((_, off)) = same {
            let found = shift.saturating_add(off);
            if keep {
                known.keep(found);
            }
            return Anchor { shift: found, ..anchor };
        }
        if keep {
            known.keep(anchor.shift);
            known.keep(shift);
            self.changes += 1;
        }
        Anchor { shift, ..anchor }
    }

    fn keep(&mut self, anchor: Anchor) {
        if let Some(known) = self.lines.iter_mut().find(|known| known.id == anchor.line) {
            known.keep(anchor.shift);
        }
    }

    /// The same anchor, with as little more shift as puts a picture at `at` onto a slot.
    pub fn on_slot(&mut self, anchor: Anchor, at: SourceTime) -> Anchor {
        let grid = self.grid;
        let Some(here) = self.map(anchor, at, Of::Picture) else { return anchor };
        let shift = anchor.shift.saturating_add(here - grid.slot_time(grid.slot_at(here)));
        let moved = Anchor { shift, ..anchor };
        self.keep(moved);
        moved
    }

    /// Plans the anchor's slope on, for all media that may come at `now`. To be called before any is mapped.
    pub fn plan(&mut self, anchor: Anchor, now: ChannelTime) {
        if let Some(known) = self.lines.iter_mut().find(|known| known.id == anchor.line) {
            known.line.plan(now + STRAY);
        }
        self.use_line(anchor.line);
    }

    /// Every slope of the anchor that is planned or was in force lately, rising.
    pub fn paces(&self, anchor: Anchor) -> Vec<Pace> {
        self.known(anchor).map_or_else(Vec::new, |known| known.line.paces().collect())
    }

    /// By how many ticks the anchor's sources have drifted, as far as is known.
    pub fn drifted(&self, anchor: Anchor) -> i64 {
        let Some(known) = self.known(anchor) else { return 0 };
        let nearest = known.votes.iter().map(|(_, _, position)| *position).min_by_key(|position| position.abs());
        nearest.unwrap_or_else(|| known.line.slots(known.line.target()))
    }

    /// `source` says that it has drifted by `position` ticks. When all say so, and by so much, the line moves by a slot.
    pub fn vote(&mut self, anchor: Anchor, source: u32, now: Now, position: i64) -> Option<Slip> {
        let slot = self.slot_ticks();
        let known = self.lines.iter_mut().find(|known| known.id == anchor.line)?;
        known.votes.retain(|(who, at, _)| *who != source && now.since(*at) < VOTE_COUNTS);
        known.votes.push((source, now, position));
        let most = slot.max(SLIP);
        let moved = known.line.slots(known.line.target());
        let behind = |later: bool| {
            let left = |position: i64| position - moved;
            known.votes.iter().all(|(_, _, p)| if later { left(*p) >= most } else { left(*p) <= -most })
        };
        let later = behind(true);
        if !known.line.is_settled() || !(later || behind(false)) {
            return None;
        }
        known.line.slip(later);
        let sum = known.line.target();
        self.changes += 1;
        Some(Slip { later, sum })
    }

    /// Whether media that lies at `at` under `anchor` when it arrives at `now` needs a new one.
    pub fn is_stray(&self, anchor: Anchor, now: ChannelTime, at: ChannelTime) -> bool {
        let limit = if self.left(anchor, now).is_some() { FOLLOWS } else { STRAY };
        (at - now).saturating_abs() > ticks(limit)
    }

    /// How a source has left the anchor's line lately.
    fn left(&self, anchor: Anchor, now: ChannelTime) -> Option<Left> {
        let left = self.known(anchor)?.left?;
        (0..ticks(FOLLOWS_FOR)).contains(&(now - left.when)).then_some(left)
    }

    /// Where a picture of source time `at`, which strays, goes when another source of its line has left.
    pub fn follow(&mut self, anchor: Anchor, now: ChannelTime, at: SourceTime) -> Follow {
        let Some(left) = self.left(anchor, now) else { return Follow::Nobody };
        // Pictures come in another order than they are shown in: only the very same one will do, or one well behind it if that one is lost.
        let behind = Self::unshifted(anchor, at).saturating_sub(left.at);
        if behind.saturating_abs() > ticks(FOLLOWS_FOR) {
            return Follow::Nobody;
        }
        if behind != 0 && behind < SAME_JUMP {
            return Follow::NotYet;
        }
        let shift = left.to.shift.saturating_add(anchor.shift).saturating_sub(left.shift);
        let to = Anchor { shift, ..left.to };
        self.use_line(to.line);
        self.keep(to);
        Follow::To(to)
    }

    /// Whether media that strays is of another time altogether, and not at the limit.
    pub fn is_far(&self, now: ChannelTime, at: ChannelTime) -> bool {
        (at - now).saturating_abs() > ticks(FAR)
    }

    /// A source has strayed for good: from its picture of source time `at` on it has left `anchor` for `to`.
    pub fn leave(&mut self, anchor: Anchor, now: ChannelTime, at: SourceTime, to: Anchor) {
        if let Some(known) = self.lines.iter_mut().find(|known| known.id == anchor.line) {
            let at = Self::unshifted(anchor, at);
            known.left = Some(Left { when: now, at, shift: anchor.shift, to });
        }
    }

    fn known(&self, anchor: Anchor) -> Option<&Known> {
        self.lines.iter().find(|known| known.id == anchor.line)
    }

    /// The one used last is forgotten last.
    fn use_line(&mut self, id: u64) {
        if let Some(at) = self.lines.iter().position(|known| known.id == id) {
            self.lines[at].recalled = false;
            self.lines[at..].rotate_left(1);
        }
    }
}

/// The same distance on a clock of 33 bits: within ±2³².
const fn around(distance: i64) -> i64 {
    distance.wrapping_add(WRAP / 2).rem_euclid(WRAP) - WRAP / 2
}

fn ticks(d: Duration) -> i64 {
    ChannelTime::from_utc(d).ticks()
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
