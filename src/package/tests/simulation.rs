//! Two simulated pipelines on virtual time, killed, hung, slowed and restarted at random; after each step the promises that
//! players rely on are checked. A failing case prints its script, and proptest keeps its seed.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// What happens to a pipeline.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its process dies and is up again after so long.
    Kill { back_ms: u64 },
    /// It delivers nothing for so long, then catches up; killed after 2 s, as the supervisor does.
    Hang { for_ms: u64 },
    /// From now on it is late by so much.
    Lag { ms: u64 },
    /// From now on it has to make up pictures, or no longer.
    Poor(bool),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => (200u64..6000).prop_map(|back_ms| Fault::Kill { back_ms }),
        2 => (100u64..4000).prop_map(|for_ms| Fault::Hang { for_ms }),
        2 => (100u64..1500).prop_map(|ms| Fault::Lag { ms }),
        1 => any::<bool>().prop_map(Fault::Poor),
    ]
}

const TICK_MS: u64 = 40;
const SECONDS: u64 = 30;

/// One simulated encode process.
struct Encoder {
    id: PipelineId,
    /// First segment of this run; `None` while it is down.
    start: Option<u64>,
    back_at_ms: u64,
    hung_until_ms: Option<(u64, u64)>,
    lag_ms: u64,
    poor: bool,
    /// Units sent of each rendition and segment.
    sent: BTreeMap<(u64, usize), usize>,
    /// Since when it has been delivering in time.
    well_since_ms: Option<u64>,
}

impl Encoder {
    fn new(id: PipelineId, lag_ms: u64) -> Self {
        let sent = BTreeMap::new();
        let (back_at_ms, poor) = (0, false);
        Self { id, start: None, back_at_ms, hung_until_ms: None, lag_ms, poor, sent, well_since_ms: None }
    }

    fn suffer(&mut self, p: &mut Packager, now: Now, at_ms: u64, fault: Fault) {
        match fault {
            Fault::Kill { back_ms } => self.die(p, now, at_ms, back_ms),
            Fault::Hang { for_ms } if self.start.is_some() => {
                self.hung_until_ms = Some((at_ms, at_ms + for_ms));
                self.well_since_ms = None;
            }
            Fault::Hang { .. } => {}
            Fault::Lag { ms } => {
                // Nothing can be late before it is: what was sent stays sent. Growing lag makes a hole in delivery.
                self.lag_ms = ms;
                self.well_since_ms = self.well_since_ms.map(|_| at_ms + ms);
            }
            Fault::Poor(poor) => self.poor = poor,
        }
    }

    fn die(&mut self, p: &mut Packager, now: Now, at_ms: u64, back_ms: u64) {
        if self.start.take().is_some() {
            p.pipeline(now, self.id, false);
        }
        self.sent.clear();
        self.hung_until_ms = None;
        self.well_since_ms = None;
        self.back_at_ms = at_ms + back_ms;
    }

    fn tick(&mut self, p: &mut Packager, now: Now, at_ms: u64, made: &mut Made) {
        let segment_ms = p.config().grid.segment().as_millis() as u64;
        if self.start.is_none() {
            if at_ms < self.back_at_ms {
                return;
            }
            p.pipeline(now, self.id, true);
            self.start = Some(FIRST_OF_1S + at_ms / segment_ms + 1);
            self.well_since_ms = Some(at_ms);
        }
        if let Some((since, until)) = self.hung_until_ms {
            if at_ms >= since + 2000 {
                return self.die(p, now, at_ms, 500);
            }
            if at_ms < until {
                return;
            }
            self.hung_until_ms = None;
            self.well_since_ms = Some(at_ms + self.lag_ms);
        }
        let newest = FIRST_OF_1S + at_ms / segment_ms;
        let start = self.start.unwrap_or(newest);
        for n in start.max(newest.saturating_sub(8))..=newest {
            for r in 0..2 {
                let units = made.entry((n, r)).or_insert_with(|| units(&CONFIG_1S.with(Clone::clone), r, n, 0));
                let sent = self.sent.entry((n, r)).or_default();
                while *sent < units.len() {
                    // Spread over the segment; the last units come when the next segment has begun, as with encoders
                    // that drain while the next one is at work. Sound runs ahead of the picture.
                    let spread = segment_ms * *sent as u64 / units.len() as u64;
                    let tail = if *sent + 3 >= units.len() { 150 } else { 0 };
                    let due = (n - FIRST_OF_1S) * segment_ms + spread + tail + self.lag_ms * (2 - r as u64) / 2;
                    if due > at_ms {
                        break;
                    }
                    p.coded(now, self.id, units[*sent].clone());
                    *sent += 1;
                    if *sent == units.len() {
                        let repeated = if self.poor && r == 0 { 5 } else { 0 };
                        let filled = Filled { repeated, ..Filled::default() };
                        p.segment_end(now, self.id, end(p.config(), r, n, filled));
                    }
                }
            }
        }
    }

    /// It was well while all of segment `n` was made.
    fn owes(&self, n: u64) -> bool {
        let since = self.well_since_ms.map(|at| FIRST_OF_1S + at / 1000);
        self.start.is_some_and(|start| start <= n) && since.is_some_and(|since| since < n)
    }
}

type Made = BTreeMap<(u64, usize), Vec<CodedUnit>>;

/// Segments of 1 s, to see many of them.
const FIRST_OF_1S: u64 = FIRST * 2;

std::thread_local! {
    static CONFIG_1S: Config = {
        let mut config = config();
        config.grid = Grid::new(Duration::from_secs(1), config.grid.rate()).expect("good grid");
        config.window = Duration::from_secs(6);
        config.video.truncate(1);
        config
    };
}

/// What players were told so far.
#[derive(Default)]
struct Player {
    newest: Option<u64>,
    first_listed: u64,
    tags: HashMap<String, Bytes>,
}

impl Player {
    /// Looks at a new snapshot as players and caches do.
    fn check(&mut self, snapshot: &Snapshot) {
        let (mut lists, mut gaps) = (Vec::new(), Vec::new());
        for rendition in ["v360", "a1"] {
            let playlist = text(snapshot, &format!("{rendition}/index.m3u8"));
            let first: u64 = playlist
                .lines()
                .find_map(|l| l.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"))
                .and_then(|v| v.parse().ok())
                .expect("media sequence");
            let mut number = first;
            let mut gap = false;
            let mut numbers = Vec::new();
            for line in playlist.lines() {
                match line {
                    "#EXT-X-GAP" => gap = true,
                    _ if line.starts_with('#') => assert!(!line.contains("DISCONTINUITY"), "{playlist}"),
                    // The date of the segment at the live edge, and what its parts are.
                    uri => {
                        self.check_segment(snapshot, &format!("{rendition}/{uri}"), rendition, number, gap);
                        numbers.push(number);
                        if gap {
                            gaps.push((rendition, number));
                        }
                        gap = false;
                        number += 1;
                    }
                }
            }
            lists.push(numbers);
        }
        assert_eq!(lists[0], lists[1], "renditions list different numbers");
        let gaps_of = |r| gaps.iter().filter(move |(g, _)| *g == r).map(|(_, n)| *n).collect::<Vec<_>>();
        assert_eq!(gaps_of("v360"), gaps_of("a1"));
        let (first, newest) = (lists[0][0], *lists[0].last().expect("something is listed"));
        assert!(first >= self.first_listed, "media sequence fell from {} to {first}", self.first_listed);
        assert!(self.newest.is_none_or(|n| newest >= n), "newest fell from {:?} to {newest}", self.newest);
        assert!(self.newest.is_none_or(|n| first <= n + 1), "numbers jumped past what was listed");
        (self.first_listed, self.newest) = (first, Some(newest));
        // The manifest lists all of it without a hole.
        let manifest = text(snapshot, "manifest.mpd");
        let timelines = manifest.matches("<SegmentTimeline>").count();
        assert_eq!(manifest.matches("<S t=").count(), timelines, "{manifest}");
    }

    /// Parts that are listed never change; of a segment that is over they are the segment, or none is listed.
    fn check_parts(&mut self, snapshot: &Snapshot) {
        for rendition in ["v360", "a1"] {
            let playlist = text(snapshot, &format!("{rendition}/index.m3u8"));
            let mut parts = Vec::new();
            for line in playlist.lines() {
                if let Some(part) = line.strip_prefix("#EXT-X-PART:") {
                    let uri = part.split("URI=\"").nth(1).and_then(|t| t.split('"').next()).expect("URI");
                    let path = format!("{rendition}/{uri}");
                    assert!(!part.contains("GAP=YES"), "{path}");
                    let body = found(snapshot, &path).body.bytes();
                    let tag = found(snapshot, &path).etag;
                    let known = self.tags.entry(path.clone()).or_insert_with(|| tag.clone());
                    assert_eq!(*known, tag, "{path} changed");
                    parts.push(body);
                } else if line.starts_with("#EXT-X-PRELOAD-HINT") {
                    let uri = line.split("URI=\"").nth(1).and_then(|t| t.split('"').next()).expect("URI");
                    let hinted = snapshot.lookup(&format!("{rendition}/{uri}"));
                    assert!(matches!(hinted, Lookup::Wait(_)), "{uri}: {hinted:?}");
                } else if !line.starts_with('#') {
                    if !parts.is_empty() {
                        let segment = found(snapshot, &format!("{rendition}/{line}")).body.bytes();
                        assert_eq!(parts.concat(), segment, "{line} is not its parts");
                    }
                    parts = Vec::new();
                }
            }
        }
    }

    fn check_segment(&mut self, snapshot: &Snapshot, path: &str, rendition: &str, number: u64, gap: bool) {
        match snapshot.lookup(path) {
            // Of a gap what is made up in its place.
            Lookup::Found(resource) => {
                let known = self.tags.entry(path.to_owned()).or_insert_with(|| resource.etag.clone());
                assert_eq!(*known, resource.etag, "{path} changed");
                let tag = super::super::names::entity_tag(&Digest::of(&resource.body.bytes()).tag());
                assert_eq!(tag, resource.etag, "{path}: bytes under the tag changed");
                let by_number = found(snapshot, &format!("{rendition}/{number}.m4s"));
                assert_eq!(by_number.etag, resource.etag, "{path} is not number {number}");
            }
            other => panic!("{path} (gap: {gap}): {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_to_pipelines_players_can_rely_on_it(
        parts in any::<bool>(),
        lags in (100u64..900, 100u64..900),
        mut script in prop::collection::vec((0u64..SECONDS * 1000, any::<bool>(), fault()), 0..8),
    ) {
        script.sort_by_key(|(at, ..)| *at);
        let config = CONFIG_1S.with(Clone::clone);
        let config = if parts { Config { part: Duration::from_millis(250), ..with_parts(config) } } else { config };
        let t0 = start_of(&config, FIRST_OF_1S);
        let mut p = up(config.clone(), t0, &[]);
        let mut encoders = [Encoder::new(PipelineId::A, lags.0), Encoder::new(PipelineId::B, lags.1)];
        let (mut player, mut made) = (Player::default(), Made::new());
        let mut script = script.into_iter().peekable();
        let mut decided_ms = None;
        for at_ms in (0..SECONDS * 1000).step_by(TICK_MS as usize) {
            let now = t0.after(Duration::from_millis(at_ms));
            while let Some((_, b, fault)) = script.next_if(|(at, ..)| *at <= at_ms) {
                encoders[usize::from(b)].suffer(&mut p, now, at_ms, fault);
            }
            for encoder in &mut encoders {
                encoder.tick(&mut p, now, at_ms, &mut made);
            }
            let before = p.snapshot();
            let events = p.poll(now);
            let mut expected = before.newest().map(|n| n.0 + 1);
            for event in &events {
                let (number, late) = match event {
                    PackageEvent::Published { number, late, .. } => (number.0, Some(*late)),
                    PackageEvent::StoodIn { number, .. } => {
                        let owing = encoders.iter().any(|e| e.owes(number.0));
                        prop_assert!(!owing, "the end of {number} at {at_ms} stands in although a pipeline was well");
                        continue;
                    }
                    PackageEvent::Gap { number } => (number.0, None),
                    PackageEvent::Refused { .. } => panic!("{event:?}"),
                    PackageEvent::Compared { verdict: Verdict::Differs { .. }, .. } => panic!("{event:?}"),
                    _ => continue,
                };
                prop_assert!(expected.is_none_or(|n| n == number), "{number} follows {expected:?}");
                expected = Some(number + 1);
                let owing: Vec<&Encoder> = encoders.iter().filter(|e| e.owes(number)).collect();
                match late {
                    None => prop_assert!(owing.is_empty(), "gap {number} at {at_ms} although a pipeline was well"),
                    // Numbers go out in order: one that goes out right behind the one before it was held up by that. For its first part the
                    // pipeline on air has half a part, and there is a tick before and after.
                    Some(_) if decided_ms.is_some_and(|ms| at_ms - ms <= 125 + 2 * TICK_MS) => {}
                    Some(late) => {
                        // In time: its own lag and drain, and what the other was waited for: 300 ms, or half a segment.
                        if let Some(lag) = owing.iter().map(|e| e.lag_ms).min() {
                            let allowed = Duration::from_millis(lag + 150 + 500 + 2 * TICK_MS);
                            prop_assert!(late <= allowed, "{number} {late:?} after its end, {allowed:?} is allowed");
                        }
                    }
                }
                decided_ms = Some(at_ms);
            }
            made.retain(|(n, _), _| *n + 10 > FIRST_OF_1S + at_ms / 1000);
            let snapshot = p.snapshot();
            if snapshot.newest().is_some() && !std::sync::Arc::ptr_eq(&snapshot, &before) {
                player.check(&snapshot);
                player.check_parts(&snapshot);
                // What the last snapshot listed stays fetchable for as long as the playlist is long, and longer.
                for path in before.paths().iter().filter(|p| p.ends_with(".m4s")) {
                    let still = matches!(snapshot.lookup(path), Lookup::Found(_));
                    let ticks: u64 = path.rsplit('t').next().and_then(|t| t.strip_suffix(".m4s")?.parse().ok()).expect("time");
                    let scale = if path.starts_with('v') { 25_000 } else { 48_000 };
                    let number = ticks / scale;
                    let age = snapshot.newest().map_or(0, |n| n.0) - number;
                    prop_assert!(still || age >= 12, "{path} went after {age} segments");
                }
            }
        }
        prop_assert!(p.status().segments + p.status().gaps > 15, "{:?}", p.status());
    }
}
