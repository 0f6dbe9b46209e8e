//! Warm standby: which of the two pipelines encodes, and what the other one is told.
//!
//! In:    what both encode processes deliver and say of themselves, what was published, the time.
//! Out:   [`Call`]s, each with its reason; when to ask again.
//! Never: looks into media, reads a clock, or leaves a segment to a process that is gone.
//!
//! Roles are symmetric. The first process that runs *encodes*; the other one *stands by*: it keeps raw pictures and is told
//! after each publication which it may forget. It is *called* to make pictures from the first unpublished segment on when
//! the one that encodes is gone, late, has had a segment refused, or makes up pictures that the other has. When that one is
//! well again and has made a whole segment by itself, the other is released. Roles change with a death: the one that took over
//! goes on, and the one that comes back stands by. They also change when a call has gone on for [`SWAP_AFTER`] segments.
//!
//! *Late* is measured against what is usual for this process: how far its newest coded picture lies behind the clock, now and
//! at worst over its last segments. Look-ahead, reordering and the source's own delay are in both. A stall of everything shows
//! in the other one's slots as well, and is taken off.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Now;
use crate::encode::ipc::{CodedUnit, Filled, Heartbeat, Hello, Orders, SegmentEnd, Standby};
use crate::media::{ChannelTime, Grid, PipelineId, SegmentNumber, Slot};

/// Beyond what is usual by so much, a process is late. A process that stops is found out after this time and a few pictures';
/// what is left of 1.5 target durations (RFC 8216bis §6.2.1) is for encoding what waits.
pub const LATE_AFTER: Duration = Duration::from_millis(450);
/// The most that counts as usual on top of the encoder's own delay, and what counts as usual before a process has made
/// a segment: starting takes some 500 ms, filling up from the join buffer as much again.
const USUAL_MAX: Duration = Duration::from_millis(1500);
/// The least: a host that runs smoothly must not make us jumpy.
const USUAL_MIN: Duration = Duration::from_millis(100);
/// While a process may be late and its peer does not show the contrary.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Whole segments made on one call after which roles change.
const SWAP_AFTER: u32 = 3;
/// Heartbeats over which the usual lag of filling is taken: two seconds.
const BEATS: u32 = 8;
/// A coded picture this far ahead of the clock tells nothing. The packager refuses it.
const AHEAD_MAX: Duration = Duration::from_secs(10);
/// Segments whose ends are being counted.
const OPEN_MAX: usize = 16;

/// Why one pipeline encodes beside, or in place of, the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The one that encoded is gone.
    Gone,
    /// It is late.
    Late,
    /// A segment of it cannot be used.
    Refused,
    /// It repeats pictures, or shows the slate, where this one has pictures.
    MadeUp,
    /// It began later than what is to be published next.
    Behind,
    /// Their hosts' encoders are unlike: their bytes may differ, and neither may stand in for the other in mid-programme
    /// unseen. Both encode, as in a hot pair.
    Unlike,
}

impl Why {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Gone => "the one that encoded is gone",
            Self::Late => "the one that encodes is late",
            Self::Refused => "the one that encodes delivers what cannot be used",
            Self::MadeUp => "the one that encodes has no pictures of its source",
            Self::Behind => "the one that encodes began later",
            Self::Unlike => "the two encode processes are unlike: redundancy is hot until they are alike",
        }
    }
}

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its process does not run.
    Down,
    /// It is the one that encodes.
    Encodes,
    /// It keeps pictures.
    StandsBy,
    /// It was called.
    Called,
}

/// New orders for one pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whose.
    pub to: PipelineId,
    /// What its process is told.
    pub orders: Orders,
    /// What is worth telling; nothing where it may only forget.
    pub news: Option<News>,
}

/// What is worth telling about new orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It encodes from this segment on.
    Called(SegmentNumber, Why),
    /// It stands by from this segment on.
    Released(SegmentNumber),
}

/// How far something lies behind the clock, and how far it usually does.
#[derive(Clone, Debug)]
struct Lag {
    newest: ChannelTime,
    usual_max: Duration,
    usual: Duration,
    /// The worst of the last period and of this one.
    worst: [Duration; 2],
}

impl Lag {
    fn new(from: ChannelTime, usual_max: Duration) -> Self {
        Self { newest: from, usual_max, usual: usual_max, worst: [Duration::ZERO; 2] }
    }

    fn behind(&self, now: Now) -> Duration {
        now.utc.saturating_sub(self.newest.to_utc())
    }

    fn excess(&self, now: Now) -> Duration {
        self.behind(now).saturating_sub(self.usual)
    }

    fn reached(&mut self, now: Now, at: ChannelTime) {
        if at > self.newest {
            // At its worst just before.
            self.worst[1] = self.worst[1].max(self.behind(now));
            self.newest = at;
        }
    }

    /// A period is over.
    fn settle(&mut self) {
        self.usual = self.worst[0].max(self.worst[1]).clamp(USUAL_MIN, self.usual_max);
        self.worst = [self.worst[1], Duration::ZERO];
    }
}

/// One encode process, as far as it matters here.
#[derive(Debug)]
struct Side {
    start: SegmentNumber,
    hello: Option<Hello>,
    orders: Orders,
    /// Newest coded picture of each rung.
    rungs: Vec<ChannelTime>,
    /// The slowest of them.
    coded: Lag,
    /// Slots that have their picture, encoded or not.
    filled: Lag,
    beats: u32,
    /// Newest segment that a coded picture came of.
    begun: Option<SegmentNumber>,
    /// Rungs that have ended each segment.
    ends: BTreeMap<SegmentNumber, usize>,
    /// Newest segment with all its pictures.
    whole: Option<SegmentNumber>,
    refused: Option<SegmentNumber>,
    /// Newest segment in which something was made up.
    unclean: Option<SegmentNumber>,
    /// Slots filled with repeats or slate, and when they last became more.
    made_up: u64,
    made_up_at: Option<Now>,
    /// Whole segments since it was called.
    made: u32,
}

impl Side {
    fn is_called(&self, next: SegmentNumber) -> bool {
        self.orders.from.is_some() && self.orders.until.is_none_or(|until| until > next)
    }

    fn is_open(&self) -> bool {
        self.orders.from.is_some() && self.orders.until.is_none()
    }

    fn made_up_within(&self, now: Now, time: Duration) -> bool {
        self.made_up_at.is_some_and(|at| now.since(at) < time)
    }
}

/// What is counted for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Times it was called.
    pub calls: u64,
    /// Whole segments it made when called.
    pub made: u64,
}

/// The pair.
#[derive(Debug)]
pub struct Pair {
    grid: Grid,
    rungs: usize,
    /// The encoder's own delay, by its settings.
    delay: Duration,
    encoder: PipelineId,
    sides: [Option<Side>; 2],
    /// Newest segment published, or listed as a gap.
    published: Option<SegmentNumber>,
    /// Both take the same source: what one has not, the other has not either.
    same_source: bool,
    /// Why the one that stands by is called.
    called: Option<Why>,
    figures: [Figures; 2],
}

impl Pair {
    /// Two pipelines of which neither runs yet, with so many video rungs. `delay` is what look-ahead and reordering of the
    /// slowest rung come to.
    pub fn new(grid: Grid, rungs: usize, delay: Duration) -> Self {
        Self {
            grid,
            rungs,
            delay,
            encoder: PipelineId::A,
            sides: [None, None],
            published: None,
            same_source: false,
            called: None,
            figures: [Figures::default(); 2],
        }
    }

    /// A process starts. What it does unasked.
    pub fn started(&mut self, now: Now, id: PipelineId, start: SegmentNumber) -> Standby {
        let alone = self.side(id.other()).is_none();
        if alone {
            self.encoder = id;
        }
        let begins = self.grid.segment_start(start).max(now.channel_time());
        let usual_max = USUAL_MAX + self.delay;
        self.sides[id.index()] = Some(Side {
            start,
            hello: None,
            orders: Orders { forget_below: start, from: alone.then_some(start), until: None },
            rungs: vec![begins; self.rungs],
            coded: Lag::new(begins, usual_max),
            filled: Lag::new(begins, usual_max),
            beats: 0,
            begun: None,
            ends: BTreeMap::new(),
            whole: None,
            refused: None,
            unclean: None,
            made_up: 0,
            made_up_at: None,
            made: 0,
        });
        if alone { Standby::Encodes } else { Standby::StandsBy }
    }

    /// A process is gone.
    pub fn gone(&mut self, id: PipelineId) {
        self.sides[id.index()] = None;
    }

    /// What a process is.
    pub fn hello(&mut self, id: PipelineId, hello: &Hello) {
        if let Some(side) = self.side_mut(id) {
            side.hello = Some(hello.clone());
        }
    }

    /// A coded picture or audio frame came.
    pub fn coded(&mut self, now: Now, id: PipelineId, unit: &CodedUnit) {
        let (grid, rung) = (self.grid, usize::from(unit.rendition.0));
        if rung >= self.rungs {
            return;
        }
        let Some(side) = self.side_mut(id) else { return };
        let at = grid.slot_time(Slot(unit.position));
        if at > now.channel_time() + AHEAD_MAX || grid.segment_of(Slot(unit.position)) != unit.segment {
            return;
        }
        side.begun = side.begun.max(Some(unit.segment));
        side.rungs[rung] = side.rungs[rung].max(at);
        let slowest = side.rungs.iter().copied().min().unwrap_or(at);
        side.coded.reached(now, slowest);
    }

    /// A rendition's segment ended.
    pub fn segment_end(&mut self, now: Now, id: PipelineId, end: &SegmentEnd) {
        let (rungs, encoder) = (self.rungs, self.encoder);
        if self.grid.segment_start(end.segment) > now.channel_time() + AHEAD_MAX {
            return;
        }
        let Some(side) = self.side_mut(id) else { return };
        let is_video = usize::from(end.rendition.0) < rungs;
        if end.filled != Filled::default() {
            side.unclean = side.unclean.max(Some(end.segment));
            if !is_video {
                side.made_up_at = Some(now);
            }
        }
        if !is_video {
            return;
        }
        let ended = side.ends.entry(end.segment).or_default();
        *ended += 1;
        if *ended == rungs {
            side.ends.remove(&end.segment);
            side.whole = side.whole.max(Some(end.segment));
            side.coded.settle();
            side.made += 1;
            if id != encoder {
                self.figures[id.index()].made += 1;
            }
        } else if side.ends.len() > OPEN_MAX {
            side.ends.pop_first();
        }
    }

    /// A process says how it fares.
    pub fn heartbeat(&mut self, now: Now, id: PipelineId, beat: &Heartbeat) {
        let grid = self.grid;
        let Some(side) = self.side_mut(id) else { return };
        if let Some(filled) = beat.filled {
            side.filled.reached(now, grid.slot_time(filled).min(now.channel_time()));
        }
        side.beats += 1;
        if side.beats.is_multiple_of(BEATS) {
            side.filled.settle();
        }
        let made_up = beat.repeated + beat.slate;
        if made_up > side.made_up {
            side.made_up_at = Some(now);
        }
        side.made_up = made_up;
    }

    /// The packager refused pictures of a process.
    pub fn refused(&mut self, id: PipelineId, segment: SegmentNumber) {
        if let Some(side) = self.side_mut(id) {
            side.refused = side.refused.max(Some(segment));
        }
    }

    /// What is published by now, and whether both take the same source.
    pub fn note(&mut self, published: Option<SegmentNumber>, same_source: bool) {
        self.published = published;
        self.same_source = same_source;
    }

    /// What a pipeline is doing.
    pub fn role(&self, id: PipelineId) -> Role {
        match self.side(id) {
            None => Role::Down,
            Some(_) if self.encoder == id => Role::Encodes,
            Some(side) if side.is_called(self.next()) => Role::Called,
            Some(_) => Role::StandsBy,
        }
    }

    /// What is counted of a pipeline.
    pub fn figures(&self, id: PipelineId) -> Figures {
        self.figures[id.index()]
    }

    /// Orders that are due. `heard`: everything that was said up to now has been heard, so silence means something.
    pub fn decide(&mut self, now: Now, heard: bool) -> Vec<Call> {
        let mut calls = Vec::new();
        if self.side(self.encoder).is_none() && self.side(self.encoder.other()).is_some() {
            self.encoder = self.encoder.other();
            self.called = None;
            calls.extend(self.call(self.encoder, Why::Gone));
        }
        let (Some(_), Some(side)) = (self.side(self.encoder), self.side(self.encoder.other())) else { return calls };
        let trouble = self.trouble(now, heard);
        if trouble.is_some_and(|why| why != Why::Unlike) && side.is_open() && side.made >= SWAP_AFTER {
            // It has proved that it can: from here on it is the other one that has to.
            if let Some(old) = self.side_mut(self.encoder) {
                old.made = 0;
            }
            self.encoder = self.encoder.other();
        }
        let trouble = self.trouble(now, heard);
        let to = self.encoder.other();
        match trouble {
            Some(why) => {
                self.called = Some(why);
                calls.extend(self.call(to, why));
            }
            None => calls.extend(self.release(to)),
        }
        calls
    }

    /// When to ask again although nothing was said.
    pub fn wake_at(&self, now: Now) -> Option<Now> {
        let (encoder, other) = (self.side(self.encoder)?, self.side(self.encoder.other())?);
        if other.is_open() {
            return None;
        }
        let patience = encoder.coded.usual + LATE_AFTER + other.filled.excess(now);
        let left = patience.saturating_sub(encoder.coded.behind(now));
        Some(now.after(left.max(ASK_AGAIN)))
    }

    fn side(&self, id: PipelineId) -> Option<&Side> {
        self.sides[id.index()].as_ref()
    }

    fn side_mut(&mut self, id: PipelineId) -> Option<&mut Side> {
        self.sides[id.index()].as_mut()
    }

    /// The lowest segment that is not decided.
    fn next(&self) -> SegmentNumber {
        let first = || self.sides.iter().flatten().map(|side| side.start).min();
        self.published.map(SegmentNumber::next).or_else(first).unwrap_or_default()
    }

    /// What is the matter with the one that encodes that the other one could mend.
    fn trouble(&self, now: Now, heard: bool) -> Option<Why> {
        let (encoder, other) = (self.side(self.encoder)?, self.side(self.encoder.other())?);
        let next = self.next();
        let unlike = encoder.hello.is_some() && other.hello.is_some() && encoder.hello != other.hello;
        let late = || {
            let excess = encoder.coded.excess(now);
            // Once late, it has to come all the way back.
            let limit = if self.called == Some(Why::Late) { Duration::ZERO } else { LATE_AFTER };
            excess > limit + other.filled.excess(now)
        };
        let segment = self.grid.segment();
        let makes_up = || {
            let now_or_soon = encoder.made_up_within(now, segment) || encoder.unclean.is_some_and(|n| n >= next);
            now_or_soon && !self.same_source && !other.made_up_within(now, 2 * segment)
        };
        if unlike {
            Some(Why::Unlike)
        } else if encoder.refused.is_some_and(|n| n >= next) {
            Some(Why::Refused)
        } else if encoder.start > next && other.start < encoder.start {
            Some(Why::Behind)
        } else if heard && late() {
            Some(Why::Late)
        } else if makes_up() {
            Some(Why::MadeUp)
        } else {
            None
        }
    }

    /// Has a pipeline encode from the first segment on that is not published, open-ended.
    fn call(&mut self, to: PipelineId, why: Why) -> Option<Call> {
        let next = self.next();
        let side = self.side_mut(to)?;
        if side.is_open() {
            return None;
        }
        let from = side.orders.from.filter(|_| side.is_called(next)).unwrap_or(next);
        side.orders = Orders { forget_below: next, from: Some(from), until: None };
        side.made = 0;
        // Its coded pictures begin again; until then there is nothing to be late with.
        let (newest, usual_max) = (side.filled.newest, side.coded.usual_max);
        side.rungs.fill(newest);
        side.coded = Lag::new(newest, usual_max);
        let orders = side.orders;
        self.figures[to.index()].calls += 1;
        Some(Call { to, orders, news: Some(News::Called(from.max(self.side(to)?.start), why)) })
    }

    /// Lets a pipeline stand by once the other one does well, and forget what is published.
    fn release(&mut self, to: PipelineId) -> Option<Call> {
        let next = self.next();
        let whole = self.side(to.other())?.whole;
        let side = self.side_mut(to)?;
        let before = side.orders;
        let mut news = None;
        side.orders.forget_below = next.max(before.forget_below);
        match (before.from, before.until) {
            (Some(from), None) => {
                let m = whole.filter(|m| *m >= from)?;
                // What it has begun it makes whole, and it is good to compare.
                let until = m.next().max(side.begun.map_or(from, SegmentNumber::next));
                side.orders.until = Some(until);
                news = Some(News::Released(until));
            }
            (Some(_), Some(until)) if until <= next => {
                side.orders.from = None;
                side.orders.until = None;
            }
            _ => {}
        }
        let orders = side.orders;
        if news.is_some() {
            self.called = None;
        }
        (orders != before).then_some(Call { to, orders, news })
    }
}

#[cfg(test)]
mod tests;
