//! Parts: when they go out, from whom, and what players are told of them.

use super::golden::compare;
use super::*;

const A: PipelineId = PipelineId::A;
const B: PipelineId = PipelineId::B;
const NEXT: u64 = FIRST + 1;
/// Rows of a segment: 2 s in parts of 0.4 s.
const ROWS: usize = 5;

/// `FIRST` is published, and the next one begins now.
fn running() -> (Packager, Now) {
    running_with(with_parts(config()))
}

fn running_with(config: Config) -> (Packager, Now) {
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[A, B]);
    for from in [A, B] {
        deliver_all(&mut p, t0.after(Duration::from_millis(1900)), from, FIRST);
    }
    p.poll(t0.after(Duration::from_millis(1900)));
    (p, t0.after(Duration::from_secs(2)))
}

/// Units of row `k`, of every rendition.
fn row(p: &Packager, n: u64, k: usize, flavour: u8) -> Vec<CodedUnit> {
    let config = p.config();
    let layout = layout::Layout::new(config.grid, config.part);
    let renditions = config.video.len() + config.audio.len();
    (0..renditions)
        .flat_map(|r| {
            let kind = if r < config.video.len() { layout::Kind::Video } else { layout::Kind::Audio };
            let parts = layout.parts(kind, SegmentNumber(n));
            let before: usize = parts[..k].iter().sum();
            units(config, r, n, flavour).into_iter().skip(before).take(parts[k]).collect::<Vec<_>>()
        })
        .collect()
}

fn deliver_row(p: &mut Packager, now: Now, from: PipelineId, n: u64, k: usize, flavour: u8) {
    for unit in row(p, n, k, flavour) {
        p.coded(now, from, unit);
    }
}

fn ends(p: &mut Packager, now: Now, from: PipelineId, n: u64) {
    let config = p.config().clone();
    for r in 0..config.video.len() + config.audio.len() {
        p.segment_end(now, from, end(&config, r, n, Filled::default()));
    }
}

fn ms(now: Now, ms: u64) -> Now {
    now.after(Duration::from_millis(ms))
}

/// Parts of v360 that are listed of segment `n`.
fn listed(p: &Packager, n: u64) -> usize {
    let playlist = text(&p.snapshot(), "v360/index.m3u8");
    let name = format!("\"t{}.", n * 50_000);
    let hint = |l: &&str| !l.starts_with("#EXT-X-PRELOAD-HINT");
    assert!(!playlist.contains("GAP=YES"), "{playlist}");
    playlist.lines().filter(hint).filter(|l| l.contains(&name)).count()
}

fn switches(events: &[PackageEvent]) -> Vec<(Option<usize>, PipelineId, Change)> {
    let one = |e: &PackageEvent| match e {
        PackageEvent::Switched { part, to, why, .. } => Some((*part, *to, *why)),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

fn part(p: &Packager, n: u64, k: usize) -> Lookup {
    p.snapshot().lookup(&format!("v360/t{}.{k}.m4s", n * 50_000))
}

#[test]
fn each_row_goes_out_as_soon_as_all_renditions_have_it() {
    let (mut p, t) = running();
    assert!(matches!(part(&p, NEXT, 0), Lookup::Wait(_)), "it is hinted");
    assert!(matches!(part(&p, NEXT, 1), Lookup::Unknown), "it is not");
    let units = row(&p, NEXT, 0, 0);
    let (last, most) = units.split_last().expect("units");
    for unit in most {
        p.coded(ms(t, 500), A, unit.clone());
    }
    p.poll(ms(t, 500));
    assert_eq!(listed(&p, NEXT), 0, "one frame of sound is missing");
    p.coded(ms(t, 510), A, last.clone());
    p.poll(ms(t, 510));
    assert_eq!(listed(&p, NEXT), 1);
    assert!(matches!(part(&p, NEXT, 0), Lookup::Found(_)) && matches!(part(&p, NEXT, 1), Lookup::Wait(_)));
    for k in 1..ROWS {
        assert_eq!(p.snapshot().newest(), Some(SegmentNumber(FIRST)));
        deliver_row(&mut p, ms(t, 500 + 400 * k as u64), A, NEXT, k, 0);
        p.poll(ms(t, 500 + 400 * k as u64));
    }
    assert_eq!(p.snapshot().newest(), Some(SegmentNumber(NEXT)), "whole with its last part, before the end is told");
    // The parts are the segment, byte by byte, and lie where it lies.
    let snapshot = p.snapshot();
    let segment = found(&snapshot, &format!("v360/t{}.m4s", NEXT * 50_000)).body.bytes();
    let parts: Vec<Bytes> =
        (0..ROWS).map(|k| found(&snapshot, &format!("v360/t{}.{k}.m4s", NEXT * 50_000)).body.bytes()).collect();
    assert_eq!(parts.concat(), segment);
    assert_eq!(parts[0].as_ptr(), segment.as_ptr());
    assert_eq!(parts[4].as_ptr_range().end, segment.as_ptr_range().end);

    // What A made and B makes is compared all the same.
    ends(&mut p, ms(t, 2300), A, NEXT);
    deliver_all(&mut p, ms(t, 2300), B, NEXT);
    let events = p.poll(ms(t, 2300));
    let equal = PackageEvent::Compared { number: SegmentNumber(NEXT), verdict: Verdict::Equal };
    assert!(events.contains(&equal), "{events:?}");
    assert_eq!((p.status().gaps, p.status().segments), (0, 2));
}

#[test]
fn what_players_are_told() {
    let (mut p, t) = running_with(Config { window: Duration::from_secs(30), ..with_parts(config()) });
    // A window that slides, so that a delta has something to leave out; then two rows of the next one.
    for i in 0..8 {
        let now = ms(t, 2000 * i + 1900);
        for from in [A, B] {
            deliver_all(&mut p, now, from, NEXT + i);
        }
        p.poll(now);
    }
    let (n, t) = (NEXT + 8, ms(t, 16_000));
    for k in 0..2 {
        deliver_row(&mut p, ms(t, 300 + 400 * k as u64), A, n, k, 0);
        p.poll(ms(t, 300 + 400 * k as u64));
    }
    let snapshot = p.snapshot();
    compare("low-video.m3u8", &text(&snapshot, "v360/index.m3u8"));
    compare("low-audio.m3u8", &text(&snapshot, "a1/index.m3u8"));
    compare("low-trick.m3u8", &text(&snapshot, "trick/index.m3u8"));
    compare("low.mpd", &text(&snapshot, "low.mpd"));
    compare("number.mpd", &text(&snapshot, "number.mpd"));
    let Lookup::Found(delta) = snapshot.ask("v360/index.m3u8", Some("_HLS_skip=YES")) else { panic!("a delta") };
    compare("low-delta.m3u8", std::str::from_utf8(&delta.body.bytes()).expect("text"));
    let asked = |query: String| snapshot.ask("v360/index.m3u8", Some(&query));
    assert!(matches!(asked(format!("_HLS_msn={n}&_HLS_part=1")), Lookup::Found(_)));
    assert!(matches!(asked(format!("_HLS_msn={n}&_HLS_part=2")), Lookup::Wait(_)));
    assert!(matches!(asked(format!("_HLS_msn={}", n + 2)), Lookup::Bad(_)));
    assert!(matches!(asked("_HLS_part=1".to_owned()), Lookup::Bad(_)));
    assert!(matches!(snapshot.ask("index.m3u8", Some("_HLS_msn=1")), Lookup::Found(_)), "it has no segments");
}

#[test]
fn without_low_latency_nobody_is_kept_waiting() {
    let config = config();
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[A]);
    deliver_all(&mut p, t0.after(Duration::from_secs(2)), A, FIRST);
    p.poll(t0.after(Duration::from_secs(2)));
    let query = format!("_HLS_msn={NEXT}");
    assert!(matches!(p.snapshot().ask("v360/index.m3u8", Some(&query)), Lookup::Found(_)));
    assert!(matches!(part(&p, NEXT, 0), Lookup::Unknown));
    assert!(!text(&p.snapshot(), "v360/index.m3u8").contains("PART"));
}

#[test]
fn the_other_pipeline_goes_on_in_mid_segment_where_bytes_are_equal() {
    for die_after in 0..ROWS {
        let (mut p, t) = running();
        for k in 0..ROWS {
            let now = ms(t, 500 + 400 * k as u64);
            if k == die_after {
                p.pipeline(now, A, false);
            }
            if k < die_after {
                deliver_row(&mut p, now, A, NEXT, k, 0);
            }
            deliver_row(&mut p, ms(now, 20), B, NEXT, k, 0);
            let events = p.poll(ms(now, 20));
            let expected = if k == die_after { vec![(Some(k), B, Change::Gone)] } else { vec![] };
            assert_eq!(switches(&events), expected, "A died in front of part {die_after}");
            if k + 1 < ROWS {
                assert_eq!(listed(&p, NEXT), k + 1);
            }
        }
        let segment = found(&p.snapshot(), &format!("v360/t{}.m4s", NEXT * 50_000));
        let tag = names::entity_tag(&Digest::of(&segment.body.bytes()).tag());
        assert_eq!(segment.etag, tag);
        assert_eq!((p.status().gaps, p.on_air()), (0, Some(B)));
    }
}

#[test]
fn it_never_goes_on_where_bytes_differ() {
    let (mut p, t) = running();
    for k in 0..3 {
        deliver_row(&mut p, ms(t, 500 + 400 * k as u64), A, NEXT, k, 0);
        // Only the last picture of the second part differs from A's.
        deliver_row(&mut p, ms(t, 500 + 400 * k as u64), B, NEXT, k, u8::from(k == 1));
        p.poll(ms(t, 500 + 400 * k as u64));
    }
    assert_eq!(listed(&p, NEXT), 3);
    let listed_before = found(&p.snapshot(), &format!("v360/t{}.2.m4s", NEXT * 50_000)).body.bytes();
    p.pipeline(ms(t, 1400), A, false);
    for k in 3..ROWS {
        deliver_row(&mut p, ms(t, 1700 + 400 * (k as u64 - 3)), B, NEXT, k, 0);
        p.poll(ms(t, 1700 + 400 * (k as u64 - 3)));
        if k + 1 < ROWS {
            assert_eq!(listed(&p, NEXT), 3, "nothing continues them");
        }
    }
    ends(&mut p, ms(t, 2150), B, NEXT);
    let events = p.poll(ms(t, 2150));
    // Whoever plays whole segments loses nothing; whoever plays parts knows what is missing.
    assert_eq!(switches(&events), [(None, B, Change::Gone)]);
    assert_eq!(listed(&p, NEXT), 0, "no part is told of where some are missing");
    assert!(!text(&p.snapshot(), "v360/index.m3u8").contains("#EXT-X-GAP"));
    let snapshot = p.snapshot();
    assert_eq!(found(&snapshot, &format!("v360/t{}.2.m4s", NEXT * 50_000)).body.bytes(), listed_before);
    assert!(matches!(part(&p, NEXT, 3), Lookup::Gone));
    assert_ne!(
        found(&snapshot, &format!("v360/t{}.m4s", NEXT * 50_000)).body.bytes()[..listed_before.len()],
        listed_before
    );
    // The next one goes out in parts again.
    deliver_row(&mut p, ms(t, 2500), B, NEXT + 1, 0, 0);
    p.poll(ms(t, 2500));
    assert_eq!(listed(&p, NEXT + 1), 1);
}

#[test]
fn a_segment_that_nobody_finishes_stands_still_behind_its_parts() {
    let (mut p, t) = running();
    deliver_row(&mut p, ms(t, 500), A, NEXT, 0, 0);
    p.poll(ms(t, 500));
    for which in [A, B] {
        p.pipeline(ms(t, 600), which, false);
    }
    p.poll(ms(t, 3100));
    assert_eq!(p.snapshot().newest(), Some(SegmentNumber(FIRST)));
    let wake = p.wake_at().expect("its end comes by itself");
    let events = p.poll(wake);
    assert!(events.contains(&PackageEvent::StoodIn { number: SegmentNumber(NEXT), part: 1 }), "{events:?}");
    assert_eq!(p.status().gaps, 1);
    assert_eq!(listed(&p, NEXT), 0, "no part is told of where some are missing");
    let Lookup::Found(first) = part(&p, NEXT, 0) else { panic!("a part that is listed") };
    assert!(!text(&p.snapshot(), "v360/index.m3u8").contains("#EXT-X-GAP"));
    let whole = found(&p.snapshot(), &format!("v360/{NEXT}.m4s"));
    assert!(whole.body.bytes().starts_with(&first.body.bytes()));
    for rendition in ["v180", "a1", "trick"] {
        found(&p.snapshot(), &format!("{rendition}/{NEXT}.m4s"));
    }
    // One of which nothing was published is a gap.
    let events = p.poll(p.wake_at().expect("the next one is missing, too"));
    assert!(events.contains(&PackageEvent::Gap { number: SegmentNumber(NEXT + 1) }), "{events:?}");
    assert!(text(&p.snapshot(), "v360/index.m3u8").contains("#EXT-X-GAP"));
    let wake = p.wake_at().expect("another one");
    // The next one does not begin with what there is of this one.
    let t = ms(wake, 500);
    for which in [A, B] {
        p.pipeline(t, which, true);
    }
    for k in 0..ROWS {
        deliver_row(&mut p, t, A, NEXT + 2, k, 0);
    }
    p.poll(t);
    let segment = found(&p.snapshot(), &format!("v360/{}.m4s", NEXT + 2));
    let tag = names::entity_tag(&Digest::of(&segment.body.bytes()).tag());
    assert_eq!(segment.etag, tag);
}

#[test]
fn the_pipeline_on_air_is_waited_for_half_a_part() {
    let (mut p, t) = running();
    deliver_row(&mut p, ms(t, 500), B, NEXT, 0, 0);
    p.poll(ms(t, 500));
    let half = Duration::from_micros(405_340) / 2;
    assert_eq!((listed(&p, NEXT), p.wake_at().map(|at| at.utc)), (0, Some(ms(t, 500).after(half).utc)));
    deliver_row(&mut p, ms(t, 690), A, NEXT, 0, 0);
    assert_eq!(switches(&p.poll(ms(t, 690))), []);
    assert_eq!((listed(&p, NEXT), p.on_air()), (1, Some(A)));

    deliver_row(&mut p, ms(t, 900), B, NEXT, 1, 0);
    p.poll(ms(t, 900));
    let wake = p.wake_at().expect("A is waited for");
    assert_eq!(switches(&p.poll(wake)), [(Some(1), B, Change::Late)]);
    assert_eq!((listed(&p, NEXT), p.on_air()), (2, Some(B)));
}

#[test]
fn real_pictures_win_over_made_up_ones_part_by_part() {
    let (mut p, t) = running();
    deliver_row(&mut p, ms(t, 500), A, NEXT, 0, 0);
    deliver_row(&mut p, ms(t, 500), B, NEXT, 0, 0);
    p.poll(ms(t, 500));
    let mut poor = row(&p, NEXT, 1, 0);
    poor.iter_mut().filter(|u| u.rendition.0 == 0).for_each(|u| u.material = Material::Repeat);
    for unit in poor {
        p.coded(ms(t, 900), A, unit);
    }
    p.poll(ms(t, 900));
    assert_eq!(listed(&p, NEXT), 1, "B may have the real thing");
    deliver_row(&mut p, ms(t, 950), B, NEXT, 1, 0);
    assert_eq!(switches(&p.poll(ms(t, 950))), [(Some(1), B, Change::Better)]);
    assert_eq!(listed(&p, NEXT), 2);
}

#[test]
fn a_segment_that_grows() {
    let (mut p, t) = running();
    let name = format!("v360/{NEXT}.m4s");
    assert!(matches!(p.snapshot().lookup(&name), Lookup::Wait(_)));
    // The clock of a client may say that the next one has begun while this one is still on its way.
    let next = format!("v360/{}.m4s", NEXT + 1);
    assert!(matches!(p.snapshot().lookup(&next), Lookup::Wait(_)));
    assert!(matches!(p.snapshot().lookup(&format!("v360/{}.m4s", NEXT + 2)), Lookup::NotYet(_)));
    deliver_row(&mut p, ms(t, 500), A, NEXT, 0, 0);
    p.poll(ms(t, 500));
    let Lookup::Growing(growing) = p.snapshot().lookup(&name) else { panic!("it has begun") };
    let mut body = Vec::new();
    let mut seen = 0;
    let mut take = |p: &Packager| match p.snapshot().growth(&growing, seen) {
        Growth::Parts(parts, last) => {
            seen += parts.len();
            body.extend(parts.concat());
            (parts.len(), last)
        }
        Growth::Broken => panic!("it goes on"),
    };
    assert_eq!(take(&p), (1, false));
    assert_eq!(take(&p), (0, false));
    for k in 1..ROWS {
        deliver_row(&mut p, ms(t, 500 + 400 * k as u64), A, NEXT, k, 0);
        p.poll(ms(t, 500 + 400 * k as u64));
        if k == 3 {
            assert_eq!(take(&p), (3, false));
        }
    }
    assert_eq!(take(&p), (1, true));
    assert_eq!(body, found(&p.snapshot(), &name).body.bytes());
    assert!(matches!(p.snapshot().lookup("trick/0.m4s"), Lookup::Gone));
}

#[test]
fn a_segment_that_breaks_off_is_told_to_who_reads_it() {
    let (mut p, t) = running();
    deliver_row(&mut p, ms(t, 500), A, NEXT, 0, 0);
    p.poll(ms(t, 500));
    let Lookup::Growing(growing) = p.snapshot().lookup(&format!("v360/{NEXT}.m4s")) else { panic!("it has begun") };
    for which in [A, B] {
        p.pipeline(ms(t, 600), which, false);
    }
    p.poll(ms(t, 3300));
    assert_eq!(p.snapshot().growth(&growing, 1), Growth::Broken);
}

#[test]
fn one_pipeline_alone() {
    let config = Config { pipelines: vec![A], ..with_parts(config()) };
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[A]);
    let mut locked = 0;
    for n in FIRST..FIRST + 20 {
        let t = t0.after(Duration::from_secs(2 * (n - FIRST)));
        if n == FIRST + 5 {
            p.pipeline(t, A, false);
            p.pipeline(t, A, true);
        }
        for k in 0..ROWS {
            deliver_row(&mut p, ms(t, 500 + 400 * k as u64), A, n, k, 0);
            let events = p.poll(ms(t, 500 + 400 * k as u64));
            locked += events.iter().filter(|e| matches!(e, PackageEvent::Locked { .. })).count();
            assert!(!events.iter().any(|e| matches!(e, PackageEvent::Refused { .. })), "{events:?}");
        }
        ends(&mut p, ms(t, 2150), A, n);
        let events = p.poll(ms(t, 2150));
        locked += events.iter().filter(|e| matches!(e, PackageEvent::Locked { .. })).count();
    }
    assert_eq!((p.status().gaps, p.status().segments, locked, p.locked(A)), (0, 20, 2, true));
}

#[test]
fn other_parameter_sets_never_go_out_as_a_part() {
    let (mut p, t) = running();
    p.pipeline(ms(t, 10), B, false);
    for mut unit in row(&p, NEXT, 0, 0) {
        if unit.key && unit.rendition.0 == 0 {
            unit.data = annexb(&[&[0x09, 0x10], SPS_OF_ANOTHER, PPS, &[0x65, 0x88, 1, 2, 3]]);
        }
        p.coded(ms(t, 500), A, unit);
    }
    let events = p.poll(ms(t, 500));
    let unlike = |e: &PackageEvent| matches!(e, PackageEvent::Refused { why: Refusal::Unlike { .. }, .. });
    assert!(events.iter().any(unlike), "{events:?}");
    assert_eq!(listed(&p, NEXT), 0);
}
