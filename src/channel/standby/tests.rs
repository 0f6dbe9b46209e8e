//! The pair on virtual time: both well, one gone, late, refused, without pictures.

use bytes::Bytes;

use super::*;
use crate::clock;
use crate::encode::ipc::{Material, RenditionIndex};
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
                    self.pair.coded(
                        now,
                        id,
                        &CodedUnit { rendition, segment, position, key, material: Material::Source, data },
                    );
                    if ended {
                        let filled = Filled { repeated: self.repeats[id.index()].min(1) as u32, ..Filled::default() };
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
    let unit = |position| CodedUnit {
        rendition: RenditionIndex(0),
        segment: N,
        position,
        key: false,
        material: Material::Source,
        data: Bytes::new(),
    };
    // Words of a process that is gone, numbers from nowhere: nothing happens.
    world.pair.coded(world.now(), B, &unit(0));
    world.pair.coded(world.now(), A, &unit(u64::MAX));
    let end = |segment| SegmentEnd { rendition: RenditionIndex(AUDIO), segment, units: 0, filled: Filled::default() };
    world.pair.segment_end(world.now(), B, &end(N));
    world.pair.segment_end(world.now(), A, &end(SegmentNumber(u64::MAX)));
    let beat = Heartbeat { filled: Some(Slot(u64::MAX)), ..Heartbeat::default() };
    world.pair.heartbeat(world.now(), A, &beat);
    world.decide();
    assert_eq!(world.news(), []);
}
