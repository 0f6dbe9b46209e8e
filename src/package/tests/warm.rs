//! A warm pair: of the one that stands by sound alone is expected, until it is called.

use super::*;

const A: PipelineId = PipelineId::A;
const B: PipelineId = PipelineId::B;
const NEXT: u64 = FIRST + 1;

/// The sound of one segment.
fn deliver_sound(p: &mut Packager, now: Now, from: PipelineId, n: u64) {
    let r = p.config().video.len();
    deliver(p, now, from, r, n, 0, Filled::default());
}

/// `FIRST` is published from A, B stands by; and the end of the next interval.
fn running() -> (Packager, Now) {
    let config = config();
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[A, B]);
    p.expect_pictures(B, None, None);
    let now = t0.after(Duration::from_millis(2400));
    deliver_sound(&mut p, now, B, FIRST);
    deliver_all(&mut p, now, A, FIRST);
    let events = p.poll(now);
    let locked = |pipeline| PackageEvent::Locked { pipeline, number: SegmentNumber(FIRST) };
    assert!(events.contains(&locked(A)) && events.contains(&locked(B)), "sound shows that it is well: {events:?}");
    assert!(events.contains(&compared(FIRST, Verdict::Equal)), "and is compared: {events:?}");
    (p, t0.after(Duration::from_secs(4)))
}

fn compared(n: u64, verdict: Verdict) -> PackageEvent {
    PackageEvent::Compared { number: SegmentNumber(n), verdict }
}

fn taken(events: &[PackageEvent]) -> Vec<(u64, Option<PipelineId>)> {
    let one = |e: &PackageEvent| match e {
        PackageEvent::Published { number, from, .. } => Some((number.0, *from)),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

fn ms(now: Now, ms: u64) -> Now {
    now.after(Duration::from_millis(ms))
}

#[test]
fn pictures_nobody_asked_for_are_not_missing() {
    let (mut p, t) = running();
    deliver_all(&mut p, ms(t, 400), A, NEXT);
    assert_eq!(taken(&p.poll(ms(t, 400))), [(NEXT, Some(A))], "without a wait");
    deliver_sound(&mut p, ms(t, 500), B, NEXT);
    assert_eq!(p.poll(ms(t, 500)), [compared(NEXT, Verdict::Equal)]);
    assert_eq!((p.status().equal, p.status().one_missing), (2, 0));
    // Unlike sound shows, too.
    deliver_all(&mut p, ms(t, 2400), A, NEXT + 1);
    deliver(&mut p, ms(t, 2400), B, 2, NEXT + 1, 9, Filled::default());
    let a1 = p.config().audio[0].id.clone();
    let events = p.poll(ms(t, 2400));
    let differs = |event: &PackageEvent| match event {
        PackageEvent::Compared { number, verdict: Verdict::Differs { rendition, unit: 0, .. } } => {
            (*number, rendition) == (SegmentNumber(NEXT + 1), &a1)
        }
        _ => false,
    };
    assert!(events.iter().any(differs), "{events:?}");
}

#[test]
fn the_catching_up_of_one_that_is_called_is_waited_for() {
    let (mut p, t) = running();
    deliver_sound(&mut p, ms(t, 100), B, NEXT);
    p.pipeline(ms(t, 200), A, false);
    assert_eq!(taken(&p.poll(ms(t, 200))), []);
    p.expect_pictures(B, Some(SegmentNumber(NEXT)), None);
    // Far behind the time at which a segment that nobody makes becomes a gap.
    let config = p.config().clone();
    for (i, unit) in units(&config, 0, NEXT, 0).into_iter().enumerate() {
        let now = ms(t, 300 + 30 * i as u64);
        p.coded(now, B, unit);
        assert_eq!(p.poll(now), [], "unit {i}");
    }
    p.segment_end(ms(t, 1900), B, end(&config, 0, NEXT, Filled::default()));
    deliver(&mut p, ms(t, 1900), B, 1, NEXT, 0, Filled::default());
    let events = p.poll(ms(t, 1900));
    assert_eq!(taken(&events), [(NEXT, Some(B))]);
    assert_eq!((p.status().gaps, p.on_air()), (0, Some(B)));
}

#[test]
fn what_one_was_called_for_is_compared_although_the_other_was_first() {
    let (mut p, t) = running();
    p.expect_pictures(B, Some(SegmentNumber(NEXT)), None);
    deliver_all(&mut p, ms(t, 400), A, NEXT);
    assert_eq!(taken(&p.poll(ms(t, 400))), [(NEXT, Some(A))]);
    // Released before it has brought what it has begun.
    let config = p.config().clone();
    let pictures = units(&config, 0, NEXT, 0);
    p.coded(ms(t, 450), B, pictures[0].clone());
    deliver(&mut p, ms(t, 450), B, 1, NEXT, 0, Filled::default());
    p.expect_pictures(B, Some(SegmentNumber(NEXT)), Some(SegmentNumber(NEXT)));
    deliver_sound(&mut p, ms(t, 460), B, NEXT);
    assert_eq!(p.poll(ms(t, 460)), []);
    for unit in &pictures[1..] {
        p.coded(ms(t, 600), B, unit.clone());
    }
    p.segment_end(ms(t, 600), B, end(&config, 0, NEXT, Filled::default()));
    assert_eq!(p.poll(ms(t, 600)), [compared(NEXT, Verdict::Equal)]);
}

#[test]
fn the_air_goes_back_to_the_one_that_encodes() {
    let (mut p, t) = running();
    p.expect_pictures(B, Some(SegmentNumber(NEXT)), Some(SegmentNumber(NEXT + 1)));
    deliver_all(&mut p, ms(t, 400), B, NEXT);
    p.poll(ms(t, 400));
    let events = p.poll(ms(t, 701));
    assert_eq!((taken(&events), p.on_air()), (vec![(NEXT, Some(B))], Some(B)), "A is late");
    deliver_all(&mut p, ms(t, 2400), A, NEXT);
    deliver_all(&mut p, ms(t, 2400), A, NEXT + 1);
    let events = p.poll(ms(t, 2400));
    let back = PackageEvent::Switched { number: SegmentNumber(NEXT + 1), part: None, to: A, why: Change::StandsBy };
    assert!(events.contains(&back), "{events:?}");
    assert_eq!(taken(&events), [(NEXT + 1, Some(A))]);
}

#[test]
fn bad_sound_of_the_one_that_encodes_is_replaced_by_the_others() {
    let (mut p, t) = running();
    deliver_sound(&mut p, ms(t, 100), B, NEXT);
    for r in 0..2 {
        deliver(&mut p, ms(t, 400), A, r, NEXT, 0, Filled::default());
    }
    let config = p.config().clone();
    p.segment_end(ms(t, 400), A, end(&config, 2, NEXT, Filled::default()));
    let events = p.poll(ms(t, 400));
    assert!(matches!(events[0], PackageEvent::Refused { pipeline: A, .. }), "{events:?}");
    assert_eq!(taken(&events), [(NEXT, None)], "pictures of A, sound of B");
}
