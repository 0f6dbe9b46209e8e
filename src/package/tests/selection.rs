//! Which pipeline a segment is taken from, when, and what is told about it: one situation a test, on virtual time.

use super::*;

const A: PipelineId = PipelineId::A;
const B: PipelineId = PipelineId::B;

/// A channel with both pipelines up that published `FIRST` from A, compared equal; and the end of the next interval.
fn running() -> (Packager, Now) {
    running_with(config())
}

fn running_with(config: Config) -> (Packager, Now) {
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[A, B]);
    let now = t0.after(Duration::from_millis(2400));
    deliver_all(&mut p, now, A, FIRST);
    deliver_all(&mut p, now, B, FIRST);
    let events = p.poll(now);
    assert_eq!(verdicts(&events), [Verdict::Equal]);
    assert_eq!((p.on_air(), p.locked(A), p.locked(B)), (Some(A), true, true));
    (p, t0.after(Duration::from_secs(4)))
}

fn ms(now: Now, ms: u64) -> Now {
    now.after(Duration::from_millis(ms))
}

fn verdicts(events: &[PackageEvent]) -> Vec<Verdict> {
    let verdict = |e: &PackageEvent| match e {
        PackageEvent::Compared { verdict, .. } => Some(verdict.clone()),
        _ => None,
    };
    events.iter().filter_map(verdict).collect()
}

/// Numbers and origins of what was published, gaps as `None`.
fn published(events: &[PackageEvent]) -> Vec<(u64, Option<Option<PipelineId>>)> {
    let one = |e: &PackageEvent| match e {
        PackageEvent::Published { number, from, .. } => Some((number.0, Some(*from))),
        PackageEvent::Gap { number } => Some((number.0, None)),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

fn switches(events: &[PackageEvent]) -> Vec<(PipelineId, Change)> {
    let one = |e: &PackageEvent| match e {
        PackageEvent::Switched { to, why, .. } => Some((*to, *why)),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

fn refusals(events: &[PackageEvent]) -> Vec<Refusal> {
    let one = |e: &PackageEvent| match e {
        PackageEvent::Refused { why, .. } => Some(why.clone()),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

const NEXT: u64 = FIRST + 1;

#[test]
fn the_pipeline_on_air_stays_on_air() {
    let (mut p, t) = running();
    deliver_all(&mut p, ms(t, 400), B, NEXT);
    assert_eq!(published(&p.poll(ms(t, 400))), [], "A is waited for");
    deliver_all(&mut p, ms(t, 650), A, NEXT);
    let events = p.poll(ms(t, 650));
    assert_eq!(published(&events), [(NEXT, Some(Some(A)))]);
    assert_eq!((switches(&events), verdicts(&events)), (vec![], vec![Verdict::Equal]));
}

#[test]
fn a_late_pipeline_is_waited_for_300_ms_and_still_compared() {
    let (mut p, t) = running();
    deliver_all(&mut p, ms(t, 400), B, NEXT);
    p.poll(ms(t, 400));
    let wake = p.wake_at().expect("there is something to wait for");
    assert_eq!(wake.utc, ms(t, 700).utc);
    assert_eq!(published(&p.poll(ms(t, 699))), []);
    let events = p.poll(wake);
    assert_eq!(published(&events), [(NEXT, Some(Some(B)))]);
    assert_eq!(switches(&events), [(B, Change::Late)]);
    assert_eq!(verdicts(&events), []);
    deliver_all(&mut p, ms(t, 900), A, NEXT);
    assert_eq!(verdicts(&p.poll(ms(t, 900))), [Verdict::Equal], "although it came after publication");
    assert_eq!(p.status().equal, 2);
}

#[test]
fn a_dead_pipeline_is_not_waited_for() {
    let (mut p, t) = running();
    let config = p.config().clone();
    for unit in units(&config, 0, NEXT, 0).into_iter().take(20) {
        p.coded(ms(t, 100), A, unit);
    }
    p.pipeline(ms(t, 200), A, false);
    deliver_all(&mut p, ms(t, 400), B, NEXT);
    let events = p.poll(ms(t, 400));
    assert_eq!(published(&events), [(NEXT, Some(Some(B)))]);
    assert_eq!(switches(&events), [(B, Change::Gone)]);
    assert_eq!(verdicts(&events), [Verdict::OneMissing { missing: A }]);
    assert_eq!((p.on_air(), p.locked(A)), (Some(B), false));

    // Back with the segment after the next: it is in lock, and B stays on air.
    p.pipeline(ms(t, 1500), A, true);
    for n in [NEXT + 1, NEXT + 2] {
        deliver_all(&mut p, ms(t, 2400), B, n);
    }
    deliver_all(&mut p, ms(t, 2400), A, NEXT + 2);
    let events = p.poll(ms(t, 2400));
    assert!(events.contains(&PackageEvent::Locked { pipeline: A, number: SegmentNumber(NEXT + 2) }), "{events:?}");
    assert_eq!(published(&events), [(NEXT + 1, Some(Some(B))), (NEXT + 2, Some(Some(B)))]);
    assert_eq!(verdicts(&events), [Verdict::OneMissing { missing: A }, Verdict::Equal]);
}

#[test]
fn less_made_up_wins_and_is_waited_for() {
    let poor = Filled { slate: 10, ..Filled::default() };
    let (mut p, t) = running();
    for r in 0..3 {
        deliver(&mut p, ms(t, 400), A, r, NEXT, 0, poor);
    }
    assert_eq!(published(&p.poll(ms(t, 400))), [], "B may have the real thing");
    deliver_all(&mut p, ms(t, 600), B, NEXT);
    let events = p.poll(ms(t, 600));
    assert_eq!(published(&events), [(NEXT, Some(Some(B)))]);
    assert_eq!(switches(&events), [(B, Change::Better)]);

    // Both equally poor: stay.
    let t = ms(t, 2000);
    for from in [A, B] {
        for r in 0..3 {
            deliver(&mut p, ms(t, 400), from, r, NEXT + 1, 0, poor);
        }
    }
    let events = p.poll(ms(t, 400));
    assert_eq!((published(&events), switches(&events)), (vec![(NEXT + 1, Some(Some(B)))], vec![]));
}

#[test]
fn a_difference_names_rendition_and_unit() {
    let (mut p, t) = running();
    deliver_all(&mut p, ms(t, 400), A, NEXT);
    let config = p.config().clone();
    deliver(&mut p, ms(t, 400), B, 0, NEXT, 0, Filled::default());
    for (i, mut unit) in units(&config, 1, NEXT, 0).into_iter().enumerate() {
        if i >= 17 {
            unit.data = [&unit.data[..], &[0x55]].concat().into();
        }
        p.coded(ms(t, 400), B, unit);
    }
    p.segment_end(ms(t, 400), B, end(&config, 1, NEXT, Filled::default()));
    deliver(&mut p, ms(t, 400), B, 2, NEXT, 0, Filled::default());
    let events = p.poll(ms(t, 400));
    // The eighteenth in decode order is shown as the seventeenth.
    let first = config.grid.first_slot(SegmentNumber(NEXT)).0;
    let at = config.grid.segment_start(SegmentNumber(NEXT)).ticks() + 16 * 3600;
    let differs = Verdict::Differs {
        rendition: config.video[1].id.clone(),
        unit: 17,
        position: first + 16,
        at: ChannelTime::from_ticks(at),
    };
    assert_eq!(verdicts(&events), [differs]);
    let told = events.iter().filter_map(|e| e.event(&config.channel, t.channel_time())).collect::<Vec<_>>();
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].text,
        format!(
            "segment {NEXT} of A and B differs, first in unit 17 of v180, which is number {} on the channel's grid and \
             goes out at 2026-11-21T14:00:02.640Z",
            first + 16
        )
    );
    assert_eq!(p.status().differs, 1);
}

#[test]
fn unlike_pictures_are_no_news_where_nobody_promised_equal_ones() {
    let (mut p, t) = running_with(Config { deterministic: false, ..config() });
    for (n, rendition, told) in [(NEXT, 1, 0), (NEXT + 1, 2, 1)] {
        let now = ms(t, 400 + 2000 * (n - NEXT));
        deliver_all(&mut p, now, A, n);
        (0..3).for_each(|r| deliver(&mut p, now, B, r, n, if r == rendition { 9 } else { 0 }, Filled::default()));
        let events = p.poll(now);
        assert_eq!(published(&events).len(), 1);
        assert_eq!(verdicts(&events).len(), told, "rendition {rendition}: sound is made alike all the same");
    }
    assert_eq!((p.status().equal, p.status().differs), (1, 1));
}

#[test]
fn renditions_of_both_are_put_together_before_a_gap() {
    let (mut p, t) = running();
    deliver(&mut p, ms(t, 300), A, 0, NEXT, 0, Filled::default());
    deliver(&mut p, ms(t, 300), A, 2, NEXT, 0, Filled::default());
    p.pipeline(ms(t, 310), A, false);
    deliver(&mut p, ms(t, 320), B, 1, NEXT, 0, Filled::default());
    deliver(&mut p, ms(t, 320), B, 2, NEXT, 0, Filled::default());
    p.pipeline(ms(t, 330), B, false);
    assert_eq!(published(&p.poll(ms(t, 330))), [(NEXT, Some(None))]);

    // Not where the common rendition tells that they are unlike.
    let (mut p, t) = running();
    deliver(&mut p, ms(t, 300), A, 0, NEXT, 0, Filled::default());
    deliver(&mut p, ms(t, 300), A, 2, NEXT, 0, Filled::default());
    p.pipeline(ms(t, 310), A, false);
    deliver(&mut p, ms(t, 320), B, 0, NEXT, 1, Filled::default());
    deliver(&mut p, ms(t, 320), B, 1, NEXT, 1, Filled::default());
    p.pipeline(ms(t, 330), B, false);
    assert_eq!(published(&p.poll(ms(t, 1199))), []);
    assert_eq!(published(&p.poll(ms(t, 1200))), [(NEXT, None)]);
}

#[test]
fn a_gap_is_declared_when_nobody_delivers_and_then_it_stands() {
    let (mut p, t) = running();
    p.pipeline(ms(t, 0), A, false);
    p.pipeline(ms(t, 0), B, false);
    p.poll(ms(t, 10));
    assert_eq!(p.wake_at().map(|w| w.utc), Some(ms(t, 1200).utc));
    assert_eq!(published(&p.poll(ms(t, 1200))), [(NEXT, None)]);
    // The wall clock goes on, and so do the numbers.
    assert_eq!(published(&p.poll(ms(t, 5200))), [(NEXT + 1, None), (NEXT + 2, None)]);
    p.pipeline(ms(t, 5300), A, true);
    deliver_all(&mut p, ms(t, 5400), A, NEXT);
    assert_eq!(published(&p.poll(ms(t, 5400))), [], "too late for a number that is a gap");
    deliver_all(&mut p, ms(t, 6400), A, NEXT + 3);
    assert_eq!(published(&p.poll(ms(t, 6400))), [(NEXT + 3, Some(Some(A)))]);
    let snapshot = p.snapshot();
    // For players of DASH, which stand still at a hole: the picture before it.
    let first = |n: u64| {
        let segment = found(&snapshot, &format!("v360/{n}.m4s"));
        let bytes = segment.body.bytes();
        let samples = crate::wire::mp4::samples(&bytes).expect("chunks");
        let (range, sample) = samples[0].clone();
        (bytes.slice(range), sample.composition_offset, samples.len(), segment.cache)
    };
    // Another host may have it: caches keep it for a moment only.
    let ((picture, offset, ..), briefly) = (first(NEXT - 1), Cache::For(Duration::from_secs(2)));
    for made_up in NEXT..NEXT + 3 {
        assert_eq!(first(made_up), (picture.clone(), offset, 1, briefly), "{made_up}");
    }
    let playlist = text(&snapshot, "v360/index.m3u8");
    assert_eq!(playlist.matches("#EXT-X-GAP").count(), 3, "{playlist}");
    assert!(!playlist.contains("DISCONTINUITY"), "{playlist}");
}

/// A manifest lists something (23009-1: at least one `S`), and what it lists is there.
#[test]
fn when_only_gaps_are_left_they_are_made_of_the_last_segment() {
    let (mut p, t) = running();
    p.pipeline(t, A, false);
    p.pipeline(t, B, false);
    p.poll(ms(t, 60_000));
    let snapshot = p.snapshot();
    assert_eq!((p.status().gaps, snapshot.newest()), (30, Some(SegmentNumber(FIRST + 30))));
    let manifest = text(&snapshot, "manifest.mpd");
    let timeline = manifest.lines().filter(|l| l.contains("<S ")).map(str::trim).collect::<Vec<_>>();
    let pictures = "<S t=\"44881741250000\" d=\"50000\" r=\"5\"/>";
    let sound = ["<S t=\"86172943200256\" d=\"96256\" r=\"1\"/>", "<S d=\"95232\"/>", "<S d=\"96256\" r=\"2\"/>"];
    assert_eq!(timeline, [&[pictures][..], &sound, &[pictures]].concat());
    for path in ["v360/t44881741250000.m4s", "a1/t86172943200256.m4s", "trick/t44881741500000.m4s"] {
        found(&snapshot, path);
    }
    assert_eq!(text(&snapshot, "a1/index.m3u8").matches("#EXT-X-GAP").count(), 6);

    p.pipeline(ms(t, 60_000), A, true);
    deliver_all(&mut p, ms(t, 62_000), A, FIRST + 31);
    assert_eq!(published(&p.poll(ms(t, 62_000))), [(FIRST + 31, Some(Some(A)))]);
    assert!(!text(&p.snapshot(), "manifest.mpd").contains("44881740000000"));
}

#[test]
fn a_late_segment_is_better_than_a_gap() {
    let (mut p, t) = running();
    p.pipeline(ms(t, 0), B, false);
    let config = p.config().clone();
    // A delivers, but slowly: each unit shows that it is on its way.
    for r in 0..3 {
        for (i, unit) in units(&config, r, NEXT, 0).into_iter().enumerate() {
            let now = ms(t, (r as u64 * 50 + i as u64) * 20);
            p.coded(now, A, unit);
            assert_eq!(published(&p.poll(now)), []);
        }
        p.segment_end(ms(t, r as u64 * 1000 + 980), A, end(&config, r, NEXT, Filled::default()));
    }
    assert_eq!(published(&p.poll(ms(t, 4000))), [(NEXT, Some(Some(A)))]);

    // Steadily late by 9 s is no reason for gaps either.
    for i in 1..20u64 {
        let now = ms(t, 4000 + 2000 * i + 5000.min(500 * i));
        deliver_all(&mut p, now, A, NEXT + i);
        assert_eq!(published(&p.poll(now)), [(NEXT + i, Some(Some(A)))]);
    }
}

#[test]
fn a_hung_pipeline_is_given_up() {
    let (mut p, t) = running();
    p.pipeline(ms(t, 0), B, false);
    let config = p.config().clone();
    for unit in units(&config, 0, NEXT, 0).into_iter().take(20) {
        p.coded(ms(t, 800), A, unit);
    }
    assert_eq!(published(&p.poll(ms(t, 2299))), []);
    assert_eq!(published(&p.poll(ms(t, 2300))), [(NEXT, None)], "1.5 s after its last sign of life");
}

#[test]
fn what_cannot_be_used_is_refused_with_the_reason() {
    type Spoil = fn(Vec<CodedUnit>) -> Vec<CodedUnit>;
    let cases: [(&str, Spoil, Refusal); 8] = [
        (
            "a unit less",
            |mut u| {
                u.pop();
                u
            },
            Refusal::Count { got: 49, want: 50 },
        ),
        (
            "a unit more",
            |mut u| {
                u.push(u[1].clone());
                u
            },
            Refusal::Count { got: 51, want: 50 },
        ),
        (
            "two in one place",
            |mut u| {
                u[5] = u[4].clone();
                u
            },
            Refusal::Position { unit: 5, position: 0 },
        ),
        (
            "a place of the next segment",
            |mut u| {
                u[7].position += 50;
                u
            },
            Refusal::Position { unit: 7, position: 0 },
        ),
        (
            "no key frame",
            |mut u| {
                u[0].key = false;
                u
            },
            Refusal::NoKey,
        ),
        (
            "a key frame that is none",
            |mut u| {
                u[0].data = annexb(&[SPS, PPS, &[0x41, 1]]);
                u
            },
            Refusal::NoKey,
        ),
        (
            "no picture",
            |mut u| {
                u[9].data = annexb(&[&[0x09, 0x30]]);
                u
            },
            Refusal::Empty { unit: 9 },
        ),
        (
            "no parameter sets",
            |mut u| {
                u[0].data = annexb(&[&[0x65, 1]]);
                u
            },
            Refusal::ParameterSets,
        ),
    ];
    for (name, spoil, want) in cases {
        let (mut p, t) = running();
        let config = p.config().clone();
        for r in 1..3 {
            deliver(&mut p, ms(t, 400), A, r, NEXT, 0, Filled::default());
        }
        for unit in spoil(units(&config, 0, NEXT, 0)) {
            p.coded(ms(t, 400), A, unit);
        }
        p.segment_end(ms(t, 400), A, end(&config, 0, NEXT, Filled::default()));
        deliver_all(&mut p, ms(t, 400), B, NEXT);
        let events = p.poll(ms(t, 400));
        let got: Vec<Refusal> = refusals(&events)
            .into_iter()
            .map(|r| match r {
                Refusal::Position { unit, .. } => Refusal::Position { unit, position: 0 },
                other => other,
            })
            .collect();
        assert_eq!(got, [want], "{name}");
        assert_eq!(published(&events), [(NEXT, Some(Some(B)))], "{name}: at once from the other");
        assert_eq!(switches(&events), [(B, Change::Missing)], "{name}");
    }
}

#[test]
fn an_unlike_pipeline_is_refused() {
    let (mut p, t) = running();
    let config = p.config().clone();
    for mut unit in units(&config, 0, NEXT, 0) {
        if unit.key {
            unit.data = annexb(&[SPS_OF_ANOTHER, PPS, &[0x65, 0x88, 0x80]]);
        }
        p.coded(ms(t, 400), B, unit);
    }
    p.segment_end(ms(t, 400), B, end(&config, 0, NEXT, Filled::default()));
    let difference = "codec avc1.4d401e in place of avc1.64001e".to_owned();
    assert_eq!(refusals(&p.poll(ms(t, 400))), [Refusal::Unlike { difference }]);
}

#[test]
fn absurd_numbers_cost_nothing() {
    let (mut p, t) = running();
    let config = p.config().clone();
    for n in [0, NEXT + 100, u64::MAX / 4] {
        for mut unit in units(&config, 2, NEXT, 0) {
            unit.segment = SegmentNumber(n);
            p.coded(t, B, unit);
        }
    }
    let events = p.poll(t);
    assert_eq!(refusals(&events), [Refusal::OutOfRange], "told once");
    assert_eq!(published(&events), []);
    deliver_all(&mut p, ms(t, 400), A, NEXT);
    assert_eq!(published(&p.poll(ms(t, 400))), [(NEXT, Some(Some(A)))]);
}

#[test]
fn one_pipeline_alone_is_enough() {
    let mut config = config();
    config.pipelines = vec![A];
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[A]);
    assert!(p.poll(t0).is_empty() && p.wake_at().is_none() && p.snapshot().newest().is_none());
    assert!(matches!(p.snapshot().lookup("index.m3u8"), Lookup::Unknown));
    for i in 0..30 {
        let now = t0.after(Duration::from_millis(2300 + 2000 * i));
        deliver_all(&mut p, now, A, FIRST + i);
        assert_eq!(published(&p.poll(now)), [(FIRST + i, Some(Some(A)))]);
    }
    let status = p.status();
    assert_eq!((status.segments, status.gaps, status.equal, status.one_missing), (30, 0, 0, 0));
}

#[test]
fn lookups_answer_by_arithmetic() {
    let (p, t) = running();
    let snapshot = p.snapshot();
    let by_time = found(&snapshot, "v360/t44881740000000.m4s");
    let by_number = found(&snapshot, &format!("v360/{FIRST}.m4s"));
    assert_eq!((&by_time.body.bytes(), &by_time.etag), (&by_number.body.bytes(), &by_number.etag));
    assert_eq!((by_time.content_type, by_time.cache), ("video/mp4", Cache::Immutable));
    assert_eq!(snapshot.stored("v360/t44881740000000.m4s").expect("stored").as_ref(), &by_time.body.bytes()[..]);
    assert_eq!(found(&snapshot, "index.m3u8").cache, Cache::For(Duration::from_secs(1)));
    let gzip = found(&snapshot, "manifest.mpd").gzip.expect("text is compressed");
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip.bytes()[..]), &mut plain).expect("gzip");
    assert_eq!(plain, found(&snapshot, "manifest.mpd").body.bytes());
    assert!(snapshot.published().is_some_and(|at| at.utc < t.utc));
    for (name, path, want) in [
        ("the next, as asked for by the clock", format!("v360/{NEXT}.m4s"), "Wait(4s)"),
        ("the one behind it", format!("v360/{}.m4s", NEXT + 1), "NotYet(4s)"),
        ("the next by its time", "v360/t44881740050000.m4s".into(), "NotYet(2s)"),
        ("the third after", format!("a1/{}.m4s", FIRST + 3), "NotYet(6s)"),
        ("before all", format!("v360/{}.m4s", FIRST - 1), "Gone"),
        ("a time inside a segment", "v360/t44881740001000.m4s".into(), "Unknown"),
        ("no such rendition", format!("v1080/{FIRST}.m4s"), "Unknown"),
        ("a zero in front", format!("v360/0{FIRST}.m4s"), "Unknown"),
        ("a sign", format!("v360/+{FIRST}.m4s"), "Unknown"),
        ("another header", "v360/init-00000000.mp4".into(), "Unknown"),
        ("up and away", "../news/index.m3u8".into(), "Unknown"),
        ("nothing", String::new(), "Unknown"),
        ("more than 64 bits", "v360/t99999999999999999999.m4s".into(), "Unknown"),
        ("nearly 64 bits", format!("a1/t{}.m4s", u64::MAX), "Unknown"),
        ("nearly 64 bits, a number", format!("a1/{}.m4s", u64::MAX), "NotYet(8589934590s)"),
    ] {
        assert_eq!(format!("{:?}", snapshot.lookup(&path)), want, "{name}");
    }
}
