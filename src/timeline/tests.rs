use std::time::Instant;

use super::*;

fn timeline(num: u32, den: u32) -> Timeline {
    let rate = FrameRate::new(num, den).expect("good rate");
    Timeline::new(Grid::new(Duration::from_secs(2), rate).expect("good grid"))
}

const NOON: ChannelTime = ChannelTime::from_ticks(1_795_262_400 * 90_000);
const SECOND: i64 = 90_000;

const fn at(ticks: i64) -> SourceTime {
    SourceTime::from_ticks(ticks)
}

impl Timeline {
    fn plainly(&mut self, now: ChannelTime, at: SourceTime) -> Anchored {
        self.anchor(now, at, None, None)
    }

    fn picture(&self, anchor: Anchor, at: SourceTime) -> ChannelTime {
        self.map(anchor, at, Of::Picture).expect("not forgotten")
    }
}

#[test]
fn the_first_frame_lands_on_a_slot_and_the_rest_follow() {
    for (num, den) in [(24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001), (60, 1)] {
        let mut t = timeline(num, den);
        let first = at(1_111_023_456);
        let anchor = t.plainly(NOON.offset(1234), first).anchor();
        let slot = t.grid.slot_at(t.picture(anchor, first));
        assert_eq!(t.grid.slot_time(slot), t.picture(anchor, first), "{num}/{den}");
        for k in 0..10_000 {
            let frame = (2 * k * 90_000 * i64::from(den) + i64::from(num)).div_euclid(2 * i64::from(num));
            let there = t.picture(anchor, first.offset(frame));
            assert_eq!(t.grid.slot_at(there).0, slot.0 + k as u64, "{num}/{den} frame {k}");
        }
    }
}

#[test]
fn sources_on_one_timeline_share_an_anchor_whatever_their_delay() {
    let mut t = timeline(25, 1);
    let pts = at(900_000);
    let first = t.plainly(NOON, pts);
    assert!(matches!(first, Anchored::New(_)));
    for (name, delay_ms, ahead_ms) in [("at once", 0, 0), ("a second behind", 1000, 0), ("7.3 s later", 0, 7300)] {
        let now = NOON + Duration::from_millis(delay_ms + ahead_ms);
        let got = t.plainly(now, pts + Duration::from_millis(ahead_ms));
        assert_eq!(got, Anchored::Adopted(first.anchor()), "{name}");
    }
}

#[test]
fn a_source_that_joins_behind_a_wrap_of_its_clock_lands_on_the_same_slots() {
    let mut t = timeline(25, 1);
    // One second before the wrap.
    let before = at(WRAP - SECOND);
    let first = t.plainly(NOON, before).anchor();
    for days in [0, 1, 30] {
        let later = Duration::from_secs(2 + days * 86_400);
        let went_on = before + later;
        let joined = at(went_on.ticks().rem_euclid(WRAP));
        let Anchored::Adopted(anchor) = t.plainly(NOON + later, joined) else { panic!("{days} days later: anew") };
        assert_eq!(t.picture(anchor, joined), t.picture(first, went_on), "{days} days later");
    }
}

#[test]
fn a_foreign_timeline_gets_its_own_anchor_near_now_and_the_old_one_is_kept() {
    let mut t = timeline(25, 1);
    let old = t.plainly(NOON, at(0)).anchor();
    let later = NOON + Duration::from_secs(60);
    let new = t.plainly(later, at(777_777_777));
    assert!(matches!(new, Anchored::New(_)));
    assert!((t.picture(new.anchor(), at(777_777_777)) - later).abs() < SECOND / 45);
    let back = t.plainly(later, at(60 * SECOND));
    assert_eq!(back, Anchored::Adopted(old));
}

#[test]
fn of_anchors_that_fit_the_one_is_taken_that_the_source_is_used_to() {
    let mut t = timeline(25, 1);
    let first = t.plainly(NOON, at(0)).anchor();
    // The same timeline has jumped by 1.2 s for another source.
    let jumped = t.jumped(first, 108_000, -108_000, true);
    let later = NOON.offset(10 * SECOND);
    for (usual, want) in [(0, first), (108_000, jumped)] {
        let got = t.anchor(later, at(10 * SECOND), Some(usual), None).anchor();
        assert_eq!(got.shift - want.shift, 0, "usually {usual} late");
    }
}

#[test]
fn the_one_used_last_is_forgotten_last() {
    let mut t = timeline(25, 1);
    let mine = t.plainly(NOON, at(0)).anchor();
    for jump in 1..1000 {
        t.plainly(NOON, at(jump * 100 * SECOND));
        t.plan(mine, NOON);
    }
    assert_eq!(t.lines.len(), REMEMBERED);
    assert_eq!(t.picture(mine, at(0)), NOON);
    for _ in 0..1000 {
        t.jumped(mine, 7 * SECOND, -7 * SECOND, true);
    }
    assert!(t.lines.iter().all(|known| known.shifts.len() <= REMEMBERED));
}

#[test]
fn frames_of_any_rate_stay_clear_of_the_middle_between_slots() {
    const RATES: [(u32, u32); 8] =
        [(24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60000, 1001), (60, 1)];
    for output in RATES {
        for source in RATES {
            let mut t = timeline(output.0, output.1);
            let rate = FrameRate::new(source.0, source.1).expect("good rate");
            let anchor = t.anchor(NOON, at(5), None, Some(rate)).anchor();
            let frame =
                |n: i64| at(5 + (n * 180_000 * i64::from(source.1) + i64::from(source.0)) / (2 * i64::from(source.0)));
            let slots = |jitter: &dyn Fn(i64) -> i64| -> Vec<u64> {
                (0..3000).map(|n| t.grid.slot_at(t.picture(anchor, frame(n).offset(jitter(n)))).0).collect()
            };
            let exact = slots(&|_| 0);
            // Time stamps in whole milliseconds, as RTMP has them, where the rates are a plain ratio.
            let plain = source.1 == output.1;
            let jitter: i64 = if plain { 45 } else { 0 };
            let unsteady = slots(&|n| n * 31 % (2 * jitter + 1) - jitter);
            assert_eq!(exact, unsteady, "{source:?} to {output:?}");
            // As many slots as the time takes, each by the rule: steps differ by one at most.
            let steps: Vec<u64> = exact.windows(2).map(|w| w[1] - w[0]).collect();
            let (least, most) = (steps.iter().min().unwrap_or(&0), steps.iter().max().unwrap_or(&0));
            assert!(most - least <= 1, "{source:?} to {output:?}: {least} to {most}");
        }
    }
}

/// What a source is like whose clock is slow by `ppm`, with jitter up to `jitter_ms`, and what became of it.
struct Hours {
    slips: Vec<Slip>,
    slots: Vec<u64>,
    /// Furthest that media lay from where it was to be, ticks, and sound from its picture.
    from_wall: i64,
    apart: i64,
    apart_at_end: i64,
    ppm: f64,
}

fn hours(rate: (u32, u32), minutes: i64, ppm: i64, jitter_ms: u64, seed: u64) -> Hours {
    let mut t = timeline(rate.0, rate.1);
    let mut drift = Drift::default();
    let start = Now { mono: Instant::now(), utc: NOON.to_utc() };
    let source = t.enlist();
    let anchor = t.plainly(NOON, at(0)).anchor();
    let mut random = seed | 1;
    let mut out = Hours { slips: vec![], slots: vec![], from_wall: 0, apart: 0, apart_at_end: 0, ppm: 0.0 };
    for n in 0..minutes * 60 * i64::from(rate.0) / i64::from(rate.1) {
        let pts = at((n * 180_000 * i64::from(rate.1) + i64::from(rate.0)) / (2 * i64::from(rate.0)));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Most come soon, some come late.
        let late = (random >> 33) % (1 + jitter_ms * 90);
        let late = if n % 977 < 5 { late * 8 } else { late };
        let due = pts.ticks() + pts.ticks() * ppm / 1_000_000;
        let now = start.after(ChannelTime::from_ticks(due + late as i64).to_utc());
        t.plan(anchor, now.channel_time());
        let (picture, sound) = (t.picture(anchor, pts), t.map(anchor, pts, Of::Sound).expect("known"));
        out.slots.push(t.grid.slot_at(picture).0);
        out.from_wall = out.from_wall.max((picture - NOON.offset(due)).abs());
        out.apart_at_end = (sound - picture).abs();
        out.apart = out.apart.max(out.apart_at_end);
        let arrival = ChannelTime::from_utc(now.since(start)).ticks();
        if drift.observe(arrival, Timeline::unshifted(anchor, pts))
            && let Some(position) = drift.position(t.drifted(anchor))
        {
            out.slips.extend(t.vote(anchor, source, now, position));
        }
    }
    out.ppm = drift.ppm().expect("long enough");
    out
}

impl Hours {
    /// Slots that show a frame again, and frames that were left out.
    fn made_up(&self) -> (u64, u64) {
        let steps = self.slots.windows(2).map(|w| w[1] - w[0]);
        steps.fold((0, 0), |(again, out), step| (again + step.saturating_sub(1), out + u64::from(step == 0)))
    }
}

#[test]
fn hours_of_jitter_repeat_and_drop_nothing() {
    for (rate, jitter_ms) in [((25, 1), 5), ((25, 1), 80), ((30_000, 1001), 50), ((60_000, 1001), 80), ((50, 1), 30)] {
        let h = hours(rate, 180, 0, jitter_ms, 77 + jitter_ms);
        assert_eq!(h.made_up(), (0, 0), "{rate:?} with {jitter_ms} ms");
        assert_eq!((h.slips.len(), h.apart), (0, 0), "{rate:?} with {jitter_ms} ms");
        assert!(h.ppm.abs() < 1.0, "{}", h.ppm);
    }
}

#[test]
fn a_frame_is_repeated_or_dropped_for_each_slot_of_drift_and_the_distance_stays_bounded() {
    for rate in [(25, 1), (30_000, 1001), (50, 1), (60_000, 1001)] {
        for ppm in [100, -100, 35, -250] {
            let minutes = 120;
            let h = hours(rate, minutes, ppm, 40, 4711);
            let slot = 90_000 * i64::from(rate.1) / i64::from(rate.0);
            let drifted = minutes * 60 * SECOND * ppm / 1_000_000;
            let (again, out) = h.made_up();
            let name = format!("{rate:?} at {ppm} ppm: {again} again, {out} left out");
            // What has been drifted less what is still tolerated, in whole slots; the last one may just be on its way.
            let done = again.cast_signed() - out.cast_signed();
            let left = (drifted - done * slot).abs();
            assert!(left <= SLIP.max(slot) + slot, "{name}: {left} ticks left");
            assert_eq!(again.min(out), 0, "{name}");
            // A slot or 40 ms until it is noticed, as the median of 50 s, and two minutes of bending.
            assert!(h.from_wall <= SLIP.max(slot) + slot + 3 * SECOND / 100, "{name}: {} from the wall", h.from_wall);
            assert!(h.apart <= slot / 2 + 60, "{name}: sound is {} ticks from its picture", h.apart);
            assert!((h.ppm - ppm as f64).abs() < 4.0, "{name}: {}", h.ppm);
        }
    }
}

#[test]
fn ten_minutes_of_100_ppm() {
    // 60 ms: one slot of 40 ms is done, or at 50 a second one of 20 when 40 are reached, and one more.
    for (rate, want) in [((25, 1), 1), ((50, 1), 2)] {
        let h = hours(rate, 10, 100, 40, 5);
        assert_eq!(h.made_up(), (want - u64::from(rate.0 == 50), 0), "{rate:?}");
        assert!(h.apart_at_end <= 900, "{rate:?}: {} ticks", h.apart_at_end);
    }
}

#[test]
fn sources_that_disagree_move_nothing() {
    let mut t = timeline(25, 1);
    let anchor = t.plainly(NOON, at(0)).anchor();
    let now = Now { mono: Instant::now(), utc: NOON.to_utc() };
    // The way of one source has become longer; the other one shows that the clock is right.
    assert_eq!(t.vote(anchor, 1, now, 0), None);
    assert_eq!(t.vote(anchor, 2, now, 9_000), None);
    assert_eq!(t.vote(anchor, 1, now.after(Duration::from_secs(10)), 100), None);
    // It is gone, and the other one alone.
    let later = now.after(Duration::from_secs(60));
    assert_eq!(t.vote(anchor, 2, later, 9_000), Some(Slip { later: true, sum: 1 }));
    assert_eq!(t.vote(anchor, 2, later.after(Duration::from_secs(1)), 9_000), None, "one at a time");
}

#[test]
fn a_jump_goes_on_where_it_left_off_and_two_sources_find_the_same() {
    for by in [3600 * SECOND, -3600 * SECOND, 30_000, -30_000, 3 * SECOND, -3 * SECOND, WRAP / 2 - 7] {
        let mut t = timeline(25, 1);
        let anchor = t.plainly(NOON, at(0)).anchor();
        let next = at(100 * 3600);
        let after = at(100 * 3600 + by);
        let first = t.jumped(anchor, by, -by, true);
        assert_eq!(t.picture(first, after), t.picture(anchor, next), "{by}");
        // The other source lost two pictures on the way, and its track steps by so much more.
        let other = t.jumped(anchor, by + 7200, -by, true);
        assert_eq!(other, first, "{by}");
        // Who comes later finds it, too, if it is not so small that the old one fits as well.
        if by.abs() > ticks(FIT) {
            let late = t.plainly(NOON.offset(next.ticks()), after);
            let Anchored::Adopted(late) = late else { panic!("{by}: anew") };
            assert_eq!(t.picture(late, after), t.picture(first, after), "{by}");
        }
        // And back again.
        assert_eq!(t.jumped(first, -by, by, true), anchor, "{by}");
    }
}

#[test]
fn sources_that_stray_together_land_together() {
    let mut t = timeline(25, 1);
    let mut anchor = t.plainly(NOON, at(0)).anchor();
    // It paused twice, for nine tenths of a second each.
    for _ in 0..2 {
        anchor = t.jumped(anchor, 0, 81_000, true);
    }
    // What both send now comes half a second earlier than it would under the anchor used last; to the second source 150 ms later.
    let now = NOON.offset(100 * SECOND + 2 * 81_000 - SECOND / 2);
    let first = t.plainly(now, at(100 * SECOND)).anchor();
    let other = t.plainly(now.offset(13_500), at(100 * SECOND)).anchor();
    assert_eq!(first, other);
}

#[test]
fn at_the_very_limit_sources_follow_the_one_that_strays() {
    let mut t = timeline(25, 1);
    let anchor = t.plainly(NOON, at(0)).anchor();
    let other = t.plainly(NOON, at(0)).anchor();
    let now = NOON.offset(100 * SECOND);
    let (beyond, within, well) = (now.offset(4 * SECOND + 900), now.offset(4 * SECOND - 900), now.offset(3 * SECOND));
    assert!(t.is_stray(anchor, now, beyond) && !t.is_stray(other, now, within));
    let to = t.plainly(now, at(3600 * SECOND)).anchor();
    assert_eq!(t.follow(other, now, at(100 * SECOND)), Follow::Nobody);
    t.leave(anchor, now, at(100 * SECOND), to);
    assert!(t.is_stray(other, now, within), "it follows");
    // In coding order: the pictures that the first one had before it left, that one, and what would have come had it been lost.
    for (ms, want) in
        [(-80, Follow::NotYet), (120, Follow::NotYet), (40, Follow::NotYet), (0, Follow::To(to)), (320, Follow::To(to))]
    {
        assert_eq!(t.follow(other, now, at(100 * SECOND + ms * 90)), want, "{ms} ms behind");
    }
    assert_eq!(t.follow(other, now, at(0)), Follow::Nobody, "it strays for another reason");
    // A demux that began behind a wrap counts otherwise, and lands on the same place.
    let wrapped = Anchor { shift: other.shift - WRAP, ..other };
    let Follow::To(here) = t.follow(wrapped, now, at(100 * SECOND - WRAP)) else { panic!("it follows") };
    assert_eq!(t.picture(here, at(100 * SECOND - WRAP)), t.picture(to, at(100 * SECOND)));
    assert!(!t.is_stray(other, now, well), "who is always so late stays");
    let later = now.offset(11 * SECOND);
    assert!(!t.is_stray(other, later, later.offset(4 * SECOND - 900)), "of another occasion");
}

#[test]
fn what_is_missing_at_a_jump_is_missing_behind_it() {
    let mut t = timeline(25, 1);
    let anchor = t.plainly(NOON, at(0)).anchor();
    // An hour ahead, and it took 1.03 s until it came.
    let by = 3600 * SECOND;
    let moved = t.jumped(anchor, by, -by + 92_700, true);
    let left = t.picture(moved, at(by)) - t.picture(anchor, at(0));
    assert_eq!(left, 26 * 3600, "whole slots");
}
