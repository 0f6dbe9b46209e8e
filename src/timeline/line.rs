//! One source timeline on the channel's: a piecewise-linear map whose knots are planned ahead.
//!
//! In:    by how many slots the source has drifted, and how far the plan has to reach; or a line as another host has it ([`Course`]).
//! Out:   channel time of pictures and of sound; the slopes, as [`Pace`]s.
//! Never: changes where something lies that was mapped already, or rounds anything that is added to later.
//!
//! Sound and pictures have a map each. *Sound* bends: from a segment on 48,000 samples of the source last as long as 48,000 +
//! `stretch`, until it has moved by a whole slot. *Pictures* stand exactly where the first one put them on the grid, and when the sound
//! is half-way they move by that slot at once: one frame is repeated or left out, at a place that was planned. In between no rounding
//! can move a picture from slot to slot, however much its time stamps jitter. The two are half a slot apart at most, and
//! together except while the sound bends.

use std::collections::VecDeque;

use crate::media::{AUDIO_RATE, ChannelTime, Grid, Pace, Round, SegmentNumber};

/// Steepest slope, 292 ppm: a quarter of what crystals of any quality differ by would do, and half a cent of pitch is not heard.
const STRETCH_MAX: i128 = 14;
/// Slopes are known so many segments before the media they are for: the one that begins next and two more.
const AHEAD: u64 = 3;
/// Knots are remembered for so many segments: longer than any join buffer.
const KEPT: u64 = 30;
/// Parts of a tick in which sound is counted.
const PARTS: i128 = AUDIO_RATE as i128;

/// Of a course so many knots are told, the newest: more than a line remembers and plans ahead.
const TOLD_MAX: usize = 64;
/// Slots beyond which no line has drifted: a clock of 100 ppm takes ten years.
const SLIPS_MAX: i64 = 1 << 20;
/// Segments that a slope is kept without a knot, at most: at the steepest they move a line of 60 frames a second by two slots a segment.
const STRAIGHT_MAX: u64 = 4096;
/// Segments that anybody plans ahead, at most: of half a second, those of [`super::STRAY`] and [`AHEAD`], many times over.
const PLANNED_MAX: u64 = 64;

/// Where the slope changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Knot {
    pub from: SegmentNumber,
    /// The first tick of the source it is for.
    pub at: i64,
    /// Where sound lies there, in parts of a tick.
    pub to: i128,
    pub stretch: i16,
    /// Slots by which pictures have moved.
    pub slips: i64,
}

/// A line as it is told to others: all that its future follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Course {
    pub offset: i64,
    /// How often it was to slip.
    pub version: u32,
    pub target: i64,
    pub planned: SegmentNumber,
    pub first: Knot,
    /// The knots behind it: from which segment on, and how steep. All else follows.
    pub bends: Vec<(SegmentNumber, i16)>,
}

/// One source timeline.
#[derive(Clone, Debug)]
pub(super) struct Line {
    grid: Grid,
    /// Channel ticks less source ticks at the beginning.
    offset: i64,
    /// Rising, never empty.
    knots: VecDeque<Knot>,
    /// Slots by which it is to move, all in all.
    target: i64,
    /// How often that changed.
    version: u32,
    planned: SegmentNumber,
}

impl Line {
    /// Puts source tick `at` at `to`; from there on it is straight.
    pub fn new(grid: Grid, at: i64, to: ChannelTime) -> Self {
        let from = grid.segment_at(to);
        let offset = to.ticks().saturating_sub(at);
        let knot = Knot { from, at, to: i128::from(to.ticks()) * PARTS, stretch: 0, slips: 0 };
        let planned = SegmentNumber(from.0 + AHEAD);
        Self { grid, offset, knots: VecDeque::from([knot]), target: 0, version: 0, planned }
    }

    /// The line of a course; `None` for one that no line has taken. `now`: the running segment.
    pub fn of(grid: Grid, course: &Course, now: SegmentNumber) -> Option<Self> {
        let Course { offset, version, target, planned, first, ref bends } = *course;
        let within = |slots: i64| (-SLIPS_MAX..=SLIPS_MAX).contains(&slots);
        let is_steep = |stretch: i16| i128::from(stretch.unsigned_abs()) > STRETCH_MAX;
        if !within(target) || !within(first.slips) || is_steep(first.stretch) || first.to.unsigned_abs() >> 100 != 0 {
            return None;
        }
        let knots = VecDeque::from([first]);
        let mut line = Self { grid, offset, knots, target, version, planned };
        let off = first.to - line.straight(first.at) - i128::from(first.slips) * line.slot();
        // Pictures lie on the slot nearest to their sound.
        if off.abs() > line.slot() / 2 + 1 {
            return None;
        }
        let latest = planned.0.min(now.0.saturating_add(PLANNED_MAX));
        for &(from, stretch) in bends {
            let last = line.last();
            let is_kept = last.stretch == 0 || from.0.saturating_sub(last.from.0) <= STRAIGHT_MAX;
            if from <= last.from || from.0 > latest || is_steep(stretch) || !is_kept {
                return None;
            }
            let knot = line.knot_from(from, stretch);
            line.knots.push_back(knot);
        }
        let last = line.last();
        let follows =
            planned >= last.from && planned.0 <= latest && target.saturating_sub(last.slips).saturating_abs() <= 2;
        let is_kept = last.stretch == 0 || planned.0.saturating_sub(last.from.0) <= STRAIGHT_MAX;
        (follows && is_kept && line.knots.len() <= TOLD_MAX).then_some(line)
    }

    /// As it is told to others. `at_rest`: without how far it is planned where no slope is, which changes all the time.
    pub fn course(&self, at_rest: bool) -> Course {
        let told = self.knots.len().saturating_sub(TOLD_MAX);
        let bends = self.knots.iter().skip(told + 1).map(|knot| (knot.from, knot.stretch)).collect();
        let first = self.knots.get(told).copied().unwrap_or_else(|| *self.last());
        let planned = if at_rest && self.is_settled() { self.last().from } else { self.planned };
        Course { offset: self.offset, version: self.version, target: self.target, planned, first, bends }
    }

    /// How often it was to slip.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Whether all that lies near `at` lies there on the other one, too.
    pub fn agrees(&self, other: &Self, at: ChannelTime) -> bool {
        let segment = self.grid.segment_at(at);
        let knot = |line: &Self| *line.knots.iter().rev().find(|knot| knot.from <= segment).unwrap_or(&line.knots[0]);
        let (one, two) = (knot(self), knot(other));
        let both = one.at.max(two.at);
        self.offset == other.offset
            && (one.stretch, one.slips, one.exact(both)) == (two.stretch, two.slips, two.exact(both))
    }

    /// Whether the same is planned for segments behind `at`.
    pub fn plans_like(&self, other: &Self, at: ChannelTime) -> bool {
        let segment = self.grid.segment_at(at);
        let ahead = |line: &Self| -> Vec<(SegmentNumber, i16)> {
            let bends = line.knots.iter().filter(|knot| knot.from > segment);
            bends.map(|knot| (knot.from, knot.stretch)).collect()
        };
        self.target == other.target && ahead(self) == ahead(other)
    }

    /// Where a picture lies.
    pub fn picture(&self, at: i64) -> ChannelTime {
        let slipped = self.slots(self.knot(at).slips);
        saturated(i128::from(at) + i128::from(self.offset) + i128::from(slipped))
    }

    /// Where sound lies.
    pub fn sound(&self, at: i64) -> ChannelTime {
        saturated(Round::Nearest.divide(self.knot(at).exact(at), PARTS))
    }

    /// A slot, in parts of a tick.
    fn slot(&self) -> i128 {
        let rate = self.grid.rate();
        Round::Nearest.divide(90_000 * PARTS * i128::from(rate.den()), i128::from(rate.num()))
    }

    /// How long so many slots last, to the nearest tick.
    pub fn slots(&self, count: i64) -> i64 {
        saturated(Round::Nearest.divide(i128::from(count) * self.slot(), PARTS)).ticks()
    }

    /// Slots by which it moves or has moved since it began.
    pub const fn target(&self) -> i64 {
        self.target
    }

    /// What was asked for has been done, as far as it is planned.
    pub fn is_settled(&self) -> bool {
        self.last().stretch == 0 && self.last().slips == self.target
    }

    /// Moves by one slot more, or one less. Where, the plan tells.
    pub fn slip(&mut self, later: bool) {
        self.target += if later { 1 } else { -1 };
        self.version = self.version.saturating_add(1);
    }

    /// Plans on, far enough for media that lies at `newest`.
    pub fn plan(&mut self, newest: ChannelTime) {
        let newest = self.grid.segment_at(newest);
        while self.planned.0 < newest.0 + AHEAD {
            self.planned = self.planned.next();
            if let Some(knot) = self.bend(self.planned) {
                self.knots.push_back(knot);
            } else if self.last().stretch == 0 {
                // Nothing bends it before the target moves, which it does only in `slip`.
                self.planned = self.planned.max(SegmentNumber(newest.0 + AHEAD));
            }
        }
        while self.knots.get(1).is_some_and(|next| next.from.0 + KEPT < newest.0) {
            self.knots.pop_front();
        }
    }

    /// The knot at the beginning of a segment, if it needs one.
    fn bend(&self, from: SegmentNumber) -> Option<Knot> {
        let last = self.last();
        let knot = self.knot_from(from, 0);
        let moved = knot.to - self.straight(knot.at);
        let segment = i128::from(self.grid.segment_start(from.next()) - self.grid.segment_start(from));
        let wanted = Round::Nearest.divide(i128::from(self.target) * self.slot() - moved, segment);
        // Clamped to what an i16 holds many times over.
        let stretch = wanted.clamp(-STRETCH_MAX, STRETCH_MAX) as i16;
        ((stretch, knot.slips) != (last.stretch, last.slips)).then_some(Knot { stretch, ..knot })
    }

    /// The knot at the beginning of a segment from which on it is so steep: all that is before it follows from the one before.
    fn knot_from(&self, from: SegmentNumber, stretch: i16) -> Knot {
        let last = self.last();
        let start = i128::from(self.grid.segment_start(from).ticks()) * PARTS;
        let at = saturated(i128::from(last.at) + Round::Up.divide(start - last.to, last.slope())).ticks();
        let to = last.exact(at);
        let slips = Round::Nearest.divide(to - self.straight(at), self.slot()) as i64;
        Knot { from, at, to, stretch, slips }
    }

    /// Where a tick would lie had nothing bent, in parts.
    fn straight(&self, at: i64) -> i128 {
        (i128::from(at) + i128::from(self.offset)) * PARTS
    }

    fn knot(&self, at: i64) -> &Knot {
        self.knots.iter().rev().find(|knot| knot.at <= at).unwrap_or(&self.knots[0])
    }

    fn last(&self) -> &Knot {
        self.knots.back().unwrap_or(&self.knots[0])
    }

    /// Every slope that is remembered or planned, rising.
    pub fn paces(&self) -> impl Iterator<Item = Pace> {
        self.knots.iter().map(|knot| Pace { from: knot.from, stretch: knot.stretch })
    }
}

impl Knot {
    const fn slope(&self) -> i128 {
        PARTS + self.stretch as i128
    }

    const fn exact(&self, at: i64) -> i128 {
        self.to + (at as i128 - self.at as i128) * self.slope()
    }
}

fn saturated(ticks: i128) -> ChannelTime {
    ChannelTime::from_ticks(i64::try_from(ticks).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameRate;
    use proptest::prelude::*;
    use std::time::Duration;

    const START: SegmentNumber = SegmentNumber(900_000_000);
    const RATES: [(u32, u32); 8] =
        [(24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001), (60, 1)];

    fn grid(rate: (u32, u32)) -> Grid {
        let rate = FrameRate::new(rate.0, rate.1).expect("good rate");
        Grid::new(Duration::from_secs(2), rate).expect("good grid")
    }

    /// A line that began on a slot, and the tick of the source's n-th frame.
    fn line(rate: (u32, u32)) -> (Line, impl Fn(i64) -> i64) {
        let g = grid(rate);
        let (first, zero) = (g.first_slot(START), 4_711);
        let frame =
            move |n: i64| (n * 180_000 * i64::from(rate.1) + i64::from(rate.0)).div_euclid(2 * i64::from(rate.0));
        (Line::new(g, zero, g.slot_time(first)), move |n| zero + frame(n))
    }

    /// Slots of pictures for ten minutes, with slips asked for at these seconds.
    fn slots(rate: (u32, u32), slips: &[(i64, bool)]) -> Vec<u64> {
        let (mut line, tick) = line(rate);
        let frames = 600 * i64::from(rate.0) / i64::from(rate.1);
        let mut slips = slips.iter().peekable();
        (0..frames)
            .map(|n| {
                let at = line.picture(tick(n));
                if let Some((_, later)) = slips.next_if(|(s, _)| *s * 90_000 < tick(n)) {
                    line.slip(*later);
                }
                line.plan(at);
                line.grid.slot_at(line.picture(tick(n))).0
            })
            .collect()
    }

    #[test]
    fn a_straight_line_fills_each_slot_once_at_every_rate() {
        for rate in RATES {
            let slots = slots(rate, &[]);
            assert!(slots.windows(2).all(|w| w[1] == w[0] + 1), "{rate:?}");
        }
    }

    #[test]
    fn a_slip_repeats_or_drops_one_frame_and_no_more() {
        for rate in RATES {
            for (later, want) in [(true, 2), (false, 0)] {
                let slots = slots(rate, &[(100, later), (350, later)]);
                let odd: Vec<u64> = slots.windows(2).map(|w| w[1] - w[0]).filter(|step| *step != 1).collect();
                assert_eq!(odd, [want; 2], "{rate:?} later: {later}");
            }
        }
    }

    #[test]
    fn sound_bends_by_a_slot_and_is_with_the_picture_again() {
        for rate in RATES {
            let (mut line, _) = line(rate);
            let slot = line.slots(1);
            line.slip(true);
            let mut furthest = 0;
            for s in 0..600 {
                let at = 4_711 + s * 90_000;
                line.plan(line.sound(at));
                furthest = furthest.max((line.sound(at) - line.picture(at)).abs());
            }
            // 583 µs a segment at 292 ppm.
            assert!(furthest <= slot / 2 + 60, "{rate:?}: {furthest} of {slot}");
            let at = 4_711 + 600 * 90_000;
            assert!((line.sound(at) - line.picture(at)).abs() <= 2, "{rate:?}");
            assert!(line.is_settled(), "{rate:?}");
            assert_eq!(line.knots.len(), 1, "what is long past is forgotten");
        }
    }

    #[test]
    fn paces_stand_on_segment_boundaries_and_are_known_ahead() {
        let (mut line, _) = line((25, 1));
        line.slip(false);
        let now = line.grid.segment_start(SegmentNumber(START.0 + 7));
        line.plan(now);
        let bends: Vec<Pace> = line.paces().skip(1).collect();
        assert_eq!(bends, [Pace { from: SegmentNumber(START.0 + 4), stretch: -14 }]);
        assert_eq!(line.planned, SegmentNumber(START.0 + 10));
        let knot = line.knots[1];
        let into = line.sound(knot.at) - line.grid.segment_start(knot.from);
        assert!((0..=1).contains(&into), "{into}");
    }

    proptest! {
        #[test]
        fn it_rises_and_what_was_mapped_stays(
            rate in prop::sample::select(RATES.to_vec()),
            script in prop::collection::vec((0i64..30, prop::option::of(any::<bool>())), 1..200),
        ) {
            let (mut line, _) = line(rate);
            let mut at = 4_711;
            let mut mapped: Vec<(i64, ChannelTime, ChannelTime)> = Vec::new();
            for (seconds, slip) in script {
                at += seconds * 90_000 + 1;
                line.plan(line.picture(at));
                let here = (line.picture(at), line.sound(at));
                if let Some(&(_, _, sound)) = mapped.last() {
                    prop_assert!(here.1 >= sound);
                }
                prop_assert!((here.1 - here.0).abs() <= line.slots(1) / 2 + 60);
                mapped.push((at, here.0, here.1));
                if let Some(later) = slip.filter(|_| line.is_settled()) {
                    line.slip(later);
                }
                // A join buffer reaches back ten seconds at most.
                for &(at, picture, sound) in mapped.iter().rev().take_while(|(then, ..)| at - then < 900_000) {
                    prop_assert_eq!((line.picture(at), line.sound(at)), (picture, sound));
                }
            }
        }
    }
}
