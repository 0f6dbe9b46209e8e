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
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock;
    use crate::encode::ipc::RenditionIndex;
    use crate::media::FrameRate;
    use PipelineId::{A, B};

    const N: SegmentNumber = SegmentNumber(900_000_000);
    const AUDIO: u8 = 2;

    /// Two rungs and sound at 25 frames a second; both pipelines up and well, A encodes. Time is counted in slots of 40 ms.
    struct World {
        pair: Pair,
        grid: Grid,
        t0: Now,
        slot: u64,
        /// Published up to this one.
        published: Option<SegmentNumber>,
        stopped: [bool; 2],
        repeats: [u64; 2],
        calls: Vec<(u64, Call)>,
    }

    const fn nth(n: u64) -> SegmentNumber {
        SegmentNumber(N.0 + n)
    }

    impl World {
        fn new() -> Self {
            let grid = Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("a rate")).expect("a grid");
            let t0 = Now { mono: clock::now().mono, utc: grid.segment_start(N).to_utc() };
            let mut pair = Pair::new(grid, 2, Duration::from_millis(480));
            assert_eq!(pair.started(t0, A, N), Standby::Encodes);
            assert_eq!(pair.started(t0, B, N), Standby::StandsBy);
            let (published, stopped, repeats) = (None, [false; 2], [0; 2]);
            Self { pair, grid, t0, slot: 0, published, stopped, repeats, calls: Vec::new() }
        }

        fn now(&self) -> Now {
            self.t0.after(Duration::from_millis(40 * self.slot + 1))
        }

        /// What the time's picture leads to: coded 12 slots later, its segment's rest at once.
        fn step(&mut self) {
            self.slot += 1;
            let now = self.now();
            let first = self.grid.first_slot(N).0;
            for id in PipelineId::BOTH {
                let Some(side) = self.pair.side(id) else { continue };
                if self.stopped[id.index()] {
                    continue;
                }
                let (from, until) = (side.orders.from, side.orders.until);
                let makes = |n: SegmentNumber| from.is_some_and(|f| n >= f) && until.is_none_or(|u| n < u);
                let ended = self.slot.is_multiple_of(50);
                let coded = if ended { self.slot - 1 } else { self.slot.saturating_sub(12).max(self.slot / 50 * 50) };
                let segment = nth(coded / 50);
                if makes(segment) && (ended || self.slot % 50 >= 12) {
                    for rendition in [0, 1].map(RenditionIndex) {
                        let (position, key, data) = (first + coded, false, Bytes::new());
                        self.pair.coded(now, id, &CodedUnit { rendition, segment, position, key, data });
                        if ended {
                            let filled =
                                Filled { repeated: self.repeats[id.index()].min(1) as u32, ..Filled::default() };
                            self.pair.segment_end(now, id, &SegmentEnd { rendition, segment, units: 50, filled });
                        }
                    }
                    if ended && self.repeats[id.index()] == 0 {
                        self.published = self.published.max(Some(segment));
                    }
                }
                if self.slot.is_multiple_of(6) {
                    let filled = Some(Slot(first + self.slot - 1));
                    let repeated = self.repeats[id.index()];
                    self.pair.heartbeat(now, id, &Heartbeat { filled, repeated, ..Heartbeat::default() });
                    self.repeats[id.index()] += u64::from(repeated > 0);
                }
            }
            self.decide();
        }

        fn decide(&mut self) {
            let now = self.now();
            self.pair.note(self.published, false);
            for call in self.pair.decide(now, true) {
                self.calls.push((self.slot, call));
            }
        }

        fn run(&mut self, slots: u64) {
            (0..slots).for_each(|_| self.step());
        }

        /// What was worth telling, with the slot it was told in.
        fn news(&mut self) -> Vec<(u64, PipelineId, News)> {
            let all = std::mem::take(&mut self.calls);
            all.into_iter().filter_map(|(slot, call)| Some((slot, call.to, call.news?))).collect()
        }
    }

    #[test]
    fn while_all_is_well_the_standby_only_forgets() {
        let mut world = World::new();
        world.run(500);
        let forgotten: Vec<_> = world.calls.iter().map(|(_, call)| (call.to, call.orders)).collect();
        let forget = |n| (B, Orders { forget_below: nth(n), from: None, until: None });
        assert_eq!(forgotten, (1..=10).map(forget).collect::<Vec<_>>());
        assert_eq!((world.pair.role(A), world.pair.role(B)), (Role::Encodes, Role::StandsBy));
    }

    #[test]
    fn a_death_changes_the_roles_and_the_one_that_comes_back_stands_by() {
        let mut world = World::new();
        world.run(130);
        world.pair.gone(A);
        world.decide();
        assert_eq!(world.news(), [(130, B, News::Called(nth(2), Why::Gone))]);
        let now = world.now();
        assert_eq!(world.pair.started(now, A, nth(3)), Standby::StandsBy);
        world.run(400);
        assert_eq!(world.news(), []);
        assert_eq!((world.pair.role(A), world.pair.role(B)), (Role::StandsBy, Role::Encodes));
        world.pair.gone(A);
        world.decide();
        assert_eq!(world.news(), [], "the death of a standby is nobody's call");
    }

    #[test]
    fn one_that_stops_is_late_soon_enough_and_once_well_makes_it_alone_again() {
        for phase in [0, 5, 20, 45] {
            let mut world = World::new();
            world.run(250 + phase);
            world.news();
            world.stopped[0] = true;
            world.run(30);
            let news = world.news();
            let [(slot, B, News::Called(from, Why::Late))] = news[..] else { panic!("{phase}: {news:?}") };
            assert_eq!(from, nth(5), "{phase}");
            let late = (slot - 250 - phase) * 40;
            // Right behind a boundary it would have been silent for its look-ahead anyway; the segment has long to go then.
            let most = if phase < 12 { 1040 } else { 560 };
            assert!((80..=most).contains(&late), "{phase}: after {late} ms");
            world.stopped[0] = false;
            world.run(150);
            let news = world.news();
            assert!(matches!(news[..], [(_, B, News::Released(_))]), "{phase}: {news:?}");
        }
    }

    #[test]
    fn when_both_stop_it_is_the_source_or_the_host() {
        let mut world = World::new();
        world.run(260);
        world.news();
        world.stopped = [true; 2];
        world.run(40);
        assert_eq!(world.news(), []);
    }

    #[test]
    fn one_that_has_to_make_up_pictures_is_stood_in_for_and_in_the_end_changes_places() {
        let mut world = World::new();
        world.run(210);
        world.news();
        world.repeats[0] = 1;
        world.run(30);
        let news = world.news();
        assert!(matches!(news[..], [(_, B, News::Called(n, Why::MadeUp))] if n == nth(4)), "{news:?}");
        world.run(250);
        assert_eq!((world.pair.role(A), world.pair.role(B)), (Role::StandsBy, Role::Encodes));
        assert!(matches!(world.news()[..], [(_, A, News::Released(_))]));
    }

    #[test]
    fn what_is_refused_is_made_by_the_other_one() {
        let mut world = World::new();
        world.run(240);
        world.news();
        world.pair.refused(A, nth(4));
        world.decide();
        assert_eq!(world.news(), [(240, B, News::Called(nth(4), Why::Refused))]);
        let orders = world.pair.side(B).expect("up").orders;
        assert_eq!(orders, Orders { forget_below: nth(4), from: Some(nth(4)), until: None });
    }

    #[test]
    fn unlike_processes_are_a_hot_pair_until_they_are_alike() {
        let mut world = World::new();
        let hello = |x264: &str| Hello { x264: x264.to_owned(), ..Hello::default() };
        world.pair.hello(A, &hello("core 164"));
        world.run(60);
        assert_eq!(world.news(), []);
        world.pair.hello(B, &hello("core 163"));
        world.run(500);
        assert_eq!(world.news(), [(61, B, News::Called(nth(1), Why::Unlike))], "and so it stays");
        world.pair.hello(B, &hello("core 164"));
        world.run(1);
        assert!(matches!(world.news()[..], [(_, B, News::Released(_))]));
    }

    #[test]
    fn a_pair_that_began_apart_covers_for_each_other() {
        let mut world = World::new();
        world.run(105);
        world.pair.gone(A);
        world.pair.gone(B);
        let now = world.now();
        // What is missing is at hand for B alone.
        assert_eq!(world.pair.started(now, A, nth(3)), Standby::Encodes);
        assert_eq!(world.pair.started(now, B, nth(2)), Standby::StandsBy);
        world.news();
        world.decide();
        assert_eq!(world.news(), [(105, B, News::Called(nth(2), Why::Behind))]);
    }

    #[test]
    fn silence_without_a_peer_that_speaks_wakes_nobody() {
        let mut world = World::new();
        world.run(100);
        assert!(world.pair.wake_at(world.now()).is_some());
        world.pair.gone(B);
        assert!(world.pair.wake_at(world.now()).is_none());
        let unit =
            |position| CodedUnit { rendition: RenditionIndex(0), segment: N, position, key: false, data: Bytes::new() };
        // Words of a process that is gone, numbers from nowhere: nothing happens.
        world.pair.coded(world.now(), B, &unit(0));
        world.pair.coded(world.now(), A, &unit(u64::MAX));
        let end =
            |segment| SegmentEnd { rendition: RenditionIndex(AUDIO), segment, units: 0, filled: Filled::default() };
        world.pair.segment_end(world.now(), B, &end(N));
        world.pair.segment_end(world.now(), A, &end(SegmentNumber(u64::MAX)));
        let beat = Heartbeat { filled: Some(Slot(u64::MAX)), ..Heartbeat::default() };
        world.pair.heartbeat(world.now(), A, &beat);
        world.decide();
        assert_eq!(world.news(), []);
    }
}
