use super::*;
use crate::media::{FrameRate, SegmentNumber};
use crate::timeline::{Drift, Of, Slip};
use proptest::prelude::*;
use std::time::Instant;

const SECOND: i64 = 90_000;

fn start() -> Now {
    Now { mono: Instant::now(), utc: Duration::from_secs(1_795_262_400) }
}

fn grid() -> Grid {
    Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("good rate")).expect("good grid")
}

const fn at(ticks: i64) -> SourceTime {
    SourceTime::from_ticks(ticks)
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// A host whose source was anchored when tick `pts` came `late` after the start.
fn host(now: Now, pts: i64, late: Duration) -> (Timeline, Anchor) {
    let mut timeline = Timeline::new(grid());
    let anchor = timeline.anchor(now.after(late).channel_time(), at(pts), None, None).anchor();
    timeline.plan(anchor, now.channel_time());
    (timeline, anchor)
}

/// What it tells, as it comes there.
fn word(from: &Timeline, now: Now, anchor: Option<Anchor>) -> Told {
    let told = from.tell(now, anchor.into_iter());
    assert_eq!(Told::read(&told.write()).as_ref(), Some(&told));
    told
}

fn place(timeline: &Timeline, anchor: Anchor, pts: i64) -> (ChannelTime, ChannelTime) {
    let map = |of| timeline.map(anchor, at(pts), of).expect("known");
    (map(Of::Picture), map(Of::Sound))
}

#[test]
fn who_hears_the_other_host_first_lands_where_that_has_it() {
    let now = start();
    let (one, first) = host(now, 5_000, ms(0));
    // A picture later here by what is nearly half a slot, or more; with a clock that counted a wrap less.
    for (late, wrap) in [(0, 0), (19, 0), (21, 0), (300, 0), (499, 1), (300, -1)] {
        let (mut two, then) = (Timeline::new(grid()), now.after(ms(late)));
        two.hear(then, &word(&one, now, Some(first)), true).expect("good");
        let pts = 5_000 + wrap * WRAP;
        assert!(!two.waits(then, at(pts), None, &mut None));
        let anchor = two.anchor(then.channel_time(), at(pts), None, None).anchor();
        assert_eq!(place(&two, anchor, pts), place(&one, first, 5_000), "{late} ms late");
        let elsewhere = two.elsewhere(then, anchor, at(pts)).expect("it is heard");
        assert_eq!(elsewhere.by, (0, 0));
        assert!(two.is_shared(anchor, elsewhere, then));
    }
    // Further away its clock is wrong, or ours.
    for late in [501, 1500] {
        let (mut two, then) = (Timeline::new(grid()), now.after(ms(late)));
        two.hear(then, &word(&one, now, Some(first)), true).expect("good");
        let anchor = two.anchor(then.channel_time(), at(5_000), None, None).anchor();
        let off = two.elsewhere(then, anchor, at(5_000)).expect("it is the same source").by.0;
        assert!((off + late * 90).abs() <= 1800, "{off} for {late} ms");
    }
}

#[test]
fn what_nobody_knows_waits_for_the_elder_host_and_for_the_first_word_of_any() {
    let now = start();
    let (one, first) = host(now, 0, ms(0));
    let (nothing, known) = (word(&one, now, None), word(&one, now, Some(first)));
    // What was heard, of whom, how long after the start; since when it waits; then whether it does.
    let rows = [
        ("nobody is heard, at the start", None, 100, 0, true),
        ("nobody is heard in time", None, 3100, 0, false),
        ("the younger one has nothing", Some((&nothing, false)), 100, 0, false),
        ("the elder one has nothing, at the start", Some((&nothing, true)), 2900, 0, true),
        ("the elder one has nothing, later", Some((&nothing, true)), 9000, 300, true),
        ("the elder one has nothing for long", Some((&nothing, true)), 9000, 401, false),
        ("the elder one has it", Some((&known, true)), 100, 0, false),
        ("the younger one has it", Some((&known, false)), 100, 0, false),
    ];
    for (name, heard, after, waited, want) in rows {
        let mut two = Timeline::new(grid());
        two.expect(now.after(ms(3000)));
        let then = now.after(ms(after));
        if let Some((told, elder)) = heard {
            two.hear(then, told, elder).expect("good");
        }
        let mut asked = Some(now.after(ms(after - waited)));
        assert_eq!(two.waits(then, at(after * 90), None, &mut asked), want, "{name}");
        // Nobody waits where nobody is expected.
        assert!(!Timeline::new(grid()).waits(then, at(0), None, &mut None));
    }
    // What it has used itself it does not ask for.
    let mut two = Timeline::new(grid());
    two.expect(now.after(ms(3000)));
    let anchor = two.anchor(now.channel_time(), at(0), None, None).anchor();
    assert!(!two.waits(now, at(0), None, &mut None));
    assert_eq!(two.anchor(now.channel_time(), at(0), None, None).anchor(), anchor);
}

#[test]
fn a_host_that_is_not_heard_any_more_counts_for_nothing() {
    let now = start();
    let (one, first) = host(now, 0, ms(0));
    let (mut two, anchor) = host(now, 0, ms(30));
    two.hear(now, &word(&one, now, Some(first)), true).expect("good");
    assert!(two.hears(now) && two.has_elder(now) && two.elsewhere(now, anchor, at(0)).is_some());
    let later = now.after(HEARD_FOR);
    assert!(!two.hears(later) && !two.has_elder(later) && two.elsewhere(later, anchor, at(0)).is_none());
}

#[test]
fn hosts_that_differ_come_together() {
    let now = start();
    let (one, first) = host(now, 0, ms(0));
    for late in [-400, -30, 30, 70, 400] {
        let (mut two, anchor) = host(now, if late < 0 { -late * 90 } else { 0 }, ms(late.max(0)));
        two.hear(now, &word(&one, now, Some(first)), true).expect("good");
        let elsewhere = two.elsewhere(now, anchor, at(0)).expect("it is heard");
        assert_ne!(elsewhere.by.0, 0, "{late}");
        let to = two.join(elsewhere).expect("it is heard");
        for pts in [0, 1, 3_600, 100 * SECOND] {
            assert_eq!(place(&two, to, pts), place(&one, first, pts), "{late}");
        }
        assert_eq!(two.join(elsewhere), Some(to), "once is enough");
    }
}

#[test]
fn a_jump_that_the_other_host_saw_lands_there() {
    let now = start();
    let (mut one, first) = host(now, 0, ms(0));
    let (mut two, anchor) = (one.clone(), first);
    // To the one it came late by what is rounded up to a slot more than to the other.
    let there = one.jumped(first, 3600 * SECOND, -3600 * SECOND + 61_000, true);
    two.hear(now, &word(&one, now, Some(there)), false).expect("good");
    let here = two.jumped(anchor, 3600 * SECOND, -3600 * SECOND + 58_000, true);
    assert_eq!(place(&two, here, 3600 * SECOND), place(&one, there, 3600 * SECOND));
}

/// Two hosts on one line, whose source's clock is slow: by how much it drifts on each way, ppm.
fn drift(ppm: [i64; 2], minutes: i64) -> [Vec<Slip>; 2] {
    let now = start();
    let (one, anchor) = host(now, 0, ms(0));
    let mut hosts = [one.clone(), one];
    let mut drifts = [Drift::default(), Drift::default()];
    let names = hosts.each_mut().map(Timeline::enlist);
    let mut slips = [Vec::new(), Vec::new()];
    for n in 0..minutes * 60 * 25 {
        let pts = n * 3600;
        for (h, late) in [n * 31 % 900, n * 71 % 1300].into_iter().enumerate() {
            let arrival = pts + pts * ppm[h] / 1_000_000 + late;
            let then = now.after(ChannelTime::from_ticks(arrival).to_utc());
            hosts[h].plan(anchor, then.channel_time());
            if drifts[h].observe(arrival, Timeline::unshifted(anchor, at(pts)))
                && let Some(position) = drifts[h].position(hosts[h].drifted(anchor))
            {
                slips[h].extend(hosts[h].vote(anchor, names[h], then, position));
            }
        }
        let then = now.after(ChannelTime::from_ticks(pts + 1300).to_utc());
        // Each second, and half a second on the way.
        if n % 25 == 0 {
            let words = hosts.each_ref().map(|host| word(host, then, Some(anchor)));
            hosts[0].hear(then, &words[1], false).expect("good");
            hosts[1].hear(then, &words[0], true).expect("good");
        }
        assert_eq!(place(&hosts[0], anchor, pts), place(&hosts[1], anchor, pts), "{n}");
    }
    slips
}

#[test]
fn whoever_notices_drift_first_plans_for_both() {
    for ppm in [100, -80] {
        let slips = drift([ppm, ppm], 40);
        let all = slips.iter().flatten().map(|slip| slip.sum.abs()).max();
        // 240 or 192 ms in 40 minutes: of 40 ms each, the last ones not yet.
        assert!(all.is_some_and(|all| (3..=6).contains(&all)), "{slips:?}");
        assert!(slips.iter().flatten().all(|slip| slip.later == (ppm > 0)));
    }
    // The way to one of them grows longer: the other one shows that the clock is right.
    assert_eq!(drift([0, 60], 30), [vec![], vec![]]);
}

#[test]
fn a_host_that_lies_moves_nothing() {
    let now = start();
    let (one, first) = host(now, 0, ms(0));
    let (mut two, anchor) = (one.clone(), first);
    let plain = word(&one, now, Some(first));
    let before = place(&two, anchor, 500 * SECOND);
    let mut lie = |change: &dyn Fn(&mut ToldLine)| {
        let mut told = plain.clone();
        told.lines.iter_mut().for_each(change);
        let told = two.hear(now, &told, true);
        (told, place(&two, anchor, 500 * SECOND) == before)
    };
    type Change<'a> = &'a dyn Fn(&mut ToldLine);
    let rows: [(&str, Change<'_>, bool); 8] = [
        ("as it is", &|_| {}, true),
        ("elsewhere", &|line| line.course.offset += 3600, false),
        ("slips that never were", &|line| line.course.first.slips = 1, false),
        ("far too many", &|line| line.course.target = 40, false),
        ("steep", &|line| line.course.first.stretch = 15, false),
        ("of another age", &|line| line.course.planned = SegmentNumber(u64::MAX), false),
        ("a bend in the past", &|line| line.course.bends.push((SegmentNumber(3), 2)), false),
        ("votes", &|line| line.votes = vec![i64::MIN, i64::MAX, 0], true),
    ];
    for (name, change, sane) in rows {
        let (told, unmoved) = lie(change);
        assert_eq!(told.is_ok(), sane, "{name}: {told:?}");
        assert!(unmoved, "{name}");
    }
    let mut told = plain;
    told.lines[0].course.target = 2;
    told.lines[0].course.version = 9;
    let _ = two.vote(anchor, 1, now, -50_000);
    two.hear(now, &told, true).expect("it might be");
    two.plan(anchor, now.after(ms(600_000)).channel_time());
    assert_eq!(place(&two, anchor, 500 * SECOND), before, "our own source says otherwise");
    let other = Timeline::new(Grid::new(Duration::from_secs(2), FrameRate::new(50, 1).expect("good")).expect("good"));
    assert_eq!(two.hear(now, &other.tell(now, [].into_iter()), true), Err(Unusable::Grid));
    assert!(!two.hears(now));
}

#[test]
fn anchors_that_were_kept_put_a_source_where_it_was() {
    let now = start();
    let (mut one, first) = host(now, 0, ms(0));
    // Dead in the middle of a bend, and for ten minutes.
    one.vote(first, 1, now, 4_000).expect("a slip");
    one.plan(first, now.after(ms(40_000)).channel_time());
    let kept = Told::read(&one.keepsake().write()).expect("good");
    let later = now.after(ms(640_000));
    one.plan(first, later.channel_time());
    let mut two = Timeline::new(grid());
    assert_eq!(two.recall(later, &kept), 1);
    let pts = 640 * SECOND;
    let came = later.after(ms(27));
    let anchor = two.anchor(came.channel_time(), at(pts), None, None).anchor();
    two.plan(anchor, came.channel_time());
    assert_eq!(place(&two, anchor, pts), place(&one, first, pts));
    assert_eq!(Told::read(&two.keepsake().write()), Some(two.keepsake()));
    // The other host knows better than what was kept: it went on meanwhile.
    let (there, that) = host(later, pts, ms(100));
    let mut three = Timeline::new(grid());
    three.recall(later, &kept);
    three.hear(later, &word(&there, later, Some(that)), true).expect("good");
    let anchor = three.anchor(came.channel_time(), at(pts), None, None).anchor();
    assert_eq!(place(&three, anchor, pts), place(&there, that, pts));
    // Of another grid nothing is known.
    let mut other = Timeline::new(Grid::new(Duration::from_secs(4), grid().rate()).expect("good"));
    assert_eq!(other.recall(later, &kept), 0);
}

#[test]
fn what_is_kept_changes_only_with_the_anchors() {
    let now = start();
    let (mut one, first) = host(now, 0, ms(0));
    let kept = one.keepsake();
    one.plan(first, now.after(ms(20_000)).channel_time());
    assert_eq!(one.keepsake(), kept);
    let _ = one.jumped(first, 3600 * SECOND, -3600 * SECOND, true);
    assert_ne!(one.keepsake(), kept);
}

proptest! {
    /// Bytes that were changed anywhere are read as something or refused, and nothing of ours moves further than a slot.
    #[test]
    fn a_word_that_was_changed_moves_nothing_far(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in 0usize..4) {
        let now = start();
        let (mut one, first) = host(now, 0, ms(0));
        one.vote(first, 1, now, 4_000);
        one.plan(first, now.channel_time());
        let mut two = one.clone();
        let mut bytes = word(&one, now, Some(first)).write();
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut);
        let before = place(&two, first, 0);
        if let Some(told) = Told::read(&bytes) {
            let _ = two.hear(now, &told, true);
            two.plan(first, now.after(ms(30_000)).channel_time());
            let _ = two.elsewhere(now, first, at(0)).and_then(|elsewhere| two.join(elsewhere));
            let _ = two.anchor(now.channel_time(), at(77 * 3600), None, None);
        }
        prop_assert_eq!(place(&two, first, 0), before);
        let soon = place(&two, first, 20 * SECOND).0 - place(&two, first, 0).0;
        prop_assert!((soon - 20 * SECOND).abs() <= 3 * 3600, "{}", soon);
    }
}
