//! Parts of the window: from when, until when, how far behind the live edge.

use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::{HlsLine, Reader};

use std::sync::Arc;

use super::golden::{compare, with_a_gap};
use super::*;
use crate::config::StartAt;

/// 21 November 2026, 14:00:00 UTC: the first segment begins then.
const T: u64 = FIRST * 2;

fn seconds(s: f64) -> String {
    format!("{:.3}", T as f64 + s)
}

/// Ten segments of two seconds, the seventh a gap, all of them listed, of 30 that there may be; parts, transport streams.
fn on_air() -> Arc<Snapshot> {
    let config = with_parts(config());
    let serve = Serve { hls_ts: true, ..config.serve };
    with_a_gap(Config { window: Duration::from_secs(60), serve, ..config }).snapshot()
}

fn ask(snapshot: &Snapshot, path: &str, query: &str) -> Resource {
    match snapshot.ask(path, Some(query)) {
        Lookup::Found(text) => text,
        other => panic!("{path}?{query}: {other:?}"),
    }
}

fn asked(snapshot: &Snapshot, path: &str, query: &str) -> String {
    let text = ask(snapshot, path, query);
    let mut unpacked = String::new();
    let gzip = text.gzip.expect("compressed").bytes();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut unpacked).expect("gzip");
    let plain = String::from_utf8(text.body.bytes().to_vec()).expect("text");
    assert_eq!(plain, unpacked, "{path}?{query}");
    plain
}

/// Numbers of the segments that a playlist lists, counted from the first one.
fn listed(playlist: &str) -> Vec<u64> {
    let name = |line: &str| line.strip_prefix('t')?.split_once('.')?.0.parse::<u64>().ok();
    let numbers: Vec<u64> = playlist.lines().filter_map(name).map(|ticks| ticks / 50_000 - FIRST).collect();
    let sequence = playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")?.parse::<u64>().ok());
    assert_eq!(numbers.first().map(|n| n + FIRST), sequence, "{playlist}");
    numbers
}

#[test]
fn golden_parts_of_the_window() {
    let snapshot = on_air();
    let over = format!("start={}&end={}", T + 9, T + 17);
    for (name, path, query) in [
        ("start.m3u8", "index.m3u8", format!("start={}", T + 5)),
        ("start-video.m3u8", "v360/index.m3u8", format!("start={}", T + 5)),
        ("start.mpd", "manifest.mpd", format!("start={}", T + 5)),
        ("past.m3u8", "index.m3u8", over.clone()),
        ("past-video.m3u8", "v360/index.m3u8", over.clone()),
        ("past-audio.m3u8", "a1/whole.m3u8", over.clone()),
        ("past-trick.m3u8", "trick/index.m3u8", over.clone()),
        ("past.mpd", "manifest.mpd", over.clone()),
        ("past-number.mpd", "number.mpd", over.clone()),
        ("past-ts.m3u8", "ts/index.m3u8", over.clone()),
        ("past-ts-video.m3u8", "ts/v360/index.m3u8", over),
        ("until.mpd", "manifest.mpd", format!("start={}&end={}", T + 4, T + 40)),
        ("until-number.mpd", "number.mpd", format!("start={}&end={}", T + 4, T + 40)),
        ("until-video.m3u8", "v360/index.m3u8", format!("start={}&end={}", T + 4, T + 40)),
        ("delay.m3u8", "index.m3u8", "delay=7".to_owned()),
        ("delay-video.m3u8", "v360/index.m3u8", "delay=7".to_owned()),
        ("delay.mpd", "manifest.mpd", "aws.manifestsettings=time_delay%3A7".to_owned()),
        ("delay-low.mpd", "low.mpd", "delay=7".to_owned()),
        ("offset.m3u8", "index.m3u8", "start_offset=-12.5&start_precise=yes".to_owned()),
        ("view-height.m3u8", "index.m3u8", "height=1-360&bitrate=0-350kbps&order=v180".to_owned()),
        ("view-height.mpd", "manifest.mpd", "aws.manifestfilter=video_bitrate:0-350000".to_owned()),
    ] {
        compare(&format!("view-{}", name.trim_start_matches("view-")), &asked(&snapshot, path, &query));
    }
}

#[test]
fn a_playlist_from_a_moment_on_grows() {
    let snapshot = on_air();
    for path in ["v360/index.m3u8", "v360/whole.m3u8", "ts/v360/index.m3u8", "trick/index.m3u8"] {
        let playlist = asked(&snapshot, path, &format!("start={}", seconds(5.0)));
        assert_eq!(listed(&playlist), (2..10).collect::<Vec<_>>(), "{path}");
        for tag in ["ENDLIST", "PLAYLIST-TYPE", "EXT-X-PART", "PRELOAD-HINT", "SERVER-CONTROL", "RENDITION-REPORT"] {
            assert!(!playlist.contains(tag), "{path}: {tag}\n{playlist}");
        }
    }
    // A request that blocks elsewhere is answered as it stands: nobody was told that it might block.
    let playlist = asked(&snapshot, "v360/index.m3u8", &format!("start={}&_HLS_msn=99999999999&_HLS_part=x", T + 5));
    assert_eq!(listed(&playlist), (2..10).collect::<Vec<_>>());
    // Other parameters take nothing away.
    assert!(asked(&snapshot, "v360/index.m3u8", "token=1").contains("PRELOAD-HINT"));
    assert!(asked(&snapshot, "v360/index.m3u8", "delay=0").contains("PRELOAD-HINT"));
}

/// The window goes on, one segment after the other: what is listed under one address.
#[test]
fn what_is_under_one_address_only_goes_forward() {
    let config = Config { pipelines: vec![PipelineId::A], window: Duration::from_secs(24), ..config() };
    let config = Config { serve: Serve { hls_ts: true, ..config.serve }, ..config };
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[PipelineId::A]);
    let [open, both, delay, short, end] = [
        format!("start={}", seconds(9.0)),
        format!("start={}&end={}", seconds(9.0), seconds(21.0)),
        "delay=5".to_owned(),
        "window=8".to_owned(),
        format!("end={}", seconds(21.0)),
    ];
    let mut settled: Option<(Bytes, String)> = None;
    for n in 0..40u64 {
        deliver_or_die(&mut p, t0, n, false);
        let snapshot = p.snapshot();
        let numbers = |query: &str| match snapshot.ask("v360/index.m3u8", Some(query)) {
            Lookup::Found(text) => {
                let text = String::from_utf8(text.body.bytes().to_vec()).expect("text");
                Ok((listed(&text), text.contains("#EXT-X-ENDLIST\n")))
            }
            Lookup::Wait(_) => Err("soon"),
            Lookup::Absent(why) => Err(why),
            other => panic!("{query}: {other:?}"),
        };
        let range = |a: u64, b: u64| (a..=b).collect::<Vec<_>>();
        // Twelve segments are listed.
        let oldest = (n + 1).saturating_sub(12);
        match n {
            0 => assert!(numbers(&open).is_err_and(|why| why.contains("not") || why.contains("yet"))),
            1..4 => assert_eq!(numbers(&open), Err("soon"), "after {n}"),
            // Whoever plays it goes on when its beginning leaves the window.
            _ => assert_eq!(numbers(&open), Ok((range(oldest.max(4), n), false)), "after {n}"),
        }
        match n {
            4..16 => assert_eq!(numbers(&both), Ok((range(4, n.min(10)), n >= 10)), "after {n}"),
            16.. => assert!(numbers(&both).is_err_and(|why| why.contains("not kept")), "after {n}"),
            _ => {}
        }
        if n >= 3 {
            assert_eq!(numbers(&delay), Ok((range(oldest, n - 3), false)), "after {n}");
        }
        assert_eq!(numbers(&short), Ok((range(n.saturating_sub(3), n), false)), "after {n}");
        match n {
            0..22 => assert_eq!(numbers(&end), Ok((range(oldest, n.min(10)), n >= 10)), "after {n}"),
            _ => assert!(numbers(&end).is_err(), "after {n}"),
        }
        // What is over does not change, nor does its tag, whatever is put into blocks meanwhile.
        if (10..16).contains(&n) {
            let text = ask(&snapshot, "v360/index.m3u8", &both);
            let now = (text.etag.clone(), String::from_utf8(text.body.bytes().to_vec()).expect("text"));
            assert_eq!(settled.get_or_insert_with(|| now.clone()), &now, "after {n}");
            assert_eq!(text.cache, Cache::For(Duration::from_secs(2 * (16 - n) - 2).max(Duration::from_secs(1))));
            let manifest = asked(&snapshot, "manifest.mpd", &both);
            assert!(manifest.contains("type=\"static\" availability") && manifest.contains("PT14S"), "{manifest}");
        }
    }
}

/// A long window is cut anywhere: in front of, within and behind blocks.
#[test]
fn every_part_of_a_long_window_is_what_it_says() {
    let config = Config { pipelines: vec![PipelineId::A], window: Duration::from_secs(800), ..config() };
    let config = Config { serve: Serve { hls_ts: true, ..config.serve }, ..config };
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[PipelineId::A]);
    for n in 0..500u64 {
        deliver_or_die(&mut p, t0, n, n % 97 == 5);
    }
    let snapshot = p.snapshot();
    for (first, last) in
        [(100, 499), (101, 499), (130, 131), (130, 130), (127, 383), (128, 384), (450, 499), (499, 499)]
    {
        let query = format!("start={}&end={}", T + 2 * first, T + 2 * last + 1);
        let want: Vec<u64> = (first..=last).collect();
        let gaps = want.iter().filter(|n| *n % 97 == 5).count();
        for path in ["v360/index.m3u8", "ts/v360/index.m3u8"] {
            let playlist = asked(&snapshot, path, &query);
            assert_eq!(listed(&playlist), want, "{path} {first} to {last}");
            assert_eq!(playlist.matches("#EXT-X-GAP").count(), gaps);
        }
        let manifest = asked(&snapshot, "manifest.mpd", &query);
        let video = manifest.split("</SegmentTimeline>").next().expect("a timeline");
        let repeats = video.split("<S ").skip(1).map(|s| {
            let repeat = s.split("r=\"").nth(1).and_then(|r| r.split('"').next());
            repeat.and_then(|r| r.parse::<usize>().ok()).unwrap_or(0) + 1
        });
        assert_eq!(repeats.sum::<usize>(), want.len(), "{first} to {last}:\n{manifest}");
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let snapshot = on_air();
    let full = with_a_gap(config()).snapshot();
    let past = format!("start={}&end={}", seconds(-20.0), seconds(4.0));
    let (tomorrow, gap) = (format!("start={}", T + 86_400), format!("start={}&end={}", T + 12, T + 14));
    for (snapshot, path, query, status, why) in [
        (&snapshot, "index.m3u8", "start=yesterday", 400, "seconds since 1970"),
        (&snapshot, "v360/index.m3u8", "start=yesterday", 400, "seconds since 1970"),
        (&snapshot, "ts/v360/index.m3u8", "delay=ten", 400, "takes seconds"),
        (&snapshot, "manifest.mpd", "start=20&end=10", 400, "not behind start"),
        (&snapshot, "manifest.mpd", "start=20&start=20", 400, "twice"),
        (&snapshot, "manifest.mpd", "aws.manifestsettings=stop:10", 400, "not known"),
        (&snapshot, "v360/index.m3u8", "aws.manifestfilter=video_codec:h264&start=1", 400, "belongs to"),
        (&snapshot, "index.m3u8", "delay=53", 400, "the delay is longer"),
        (&snapshot, "index.m3u8", "delay=40", 404, "not"),
        (&snapshot, "index.m3u8", tomorrow.as_str(), 404, "yet"),
        (&snapshot, "index.m3u8", "start=10&end=20", 404, "not kept"),
        (&full, "index.m3u8", "start=10", 404, "not kept"),
        (&full, "v360/index.m3u8", past.as_str(), 404, "not kept"),
        (&snapshot, "manifest.mpd", gap.as_str(), 404, "nothing was made"),
        (&snapshot, "index.m3u8", "start_offset=-3", 400, "three segments"),
        (&snapshot, "index.m3u8", "start_offset=-61", 400, "within the window"),
        (&snapshot, "index.m3u8", "start_precise=yes", 400, "start_offset"),
    ] {
        let (got, text) = match snapshot.ask(path, Some(query)) {
            Lookup::Bad(text) => (400, text),
            Lookup::Absent(text) => (404, text),
            other => panic!("{path}?{query}: {other:?}"),
        };
        assert!(got == status && text.contains(why) && text.ends_with('\n'), "{path}?{query}: {got} {text}");
    }
    // A playlist may have nothing but gaps.
    assert_eq!(listed(&asked(&snapshot, "v360/index.m3u8", &gap)), [6]);
    // What segments and headers are asked with is not looked at.
    assert!(matches!(snapshot.ask(&format!("v360/{FIRST}.m4s"), Some("start=x")), Lookup::Found(_)));
}

#[test]
fn one_address_for_all_spellings_and_no_more_than_some_are_kept() {
    let snapshot = on_air();
    let body = |query: &str| ask(&snapshot, "v360/index.m3u8", query).body.bytes().as_ptr();
    let same = [
        "start=1795269604",
        "token=1&start=2026-11-21T14:00:04Z",
        "aws.manifestsettings=start%3A2026-11-21T15%3A00%3A04%2B01%3A00",
    ];
    assert!(same.iter().all(|query| body(query) == body(same[0])));
    let front = &snapshot.listing.as_ref().expect("published").front;
    assert_eq!(front.kept(), (0, 1));
    for ms in 0..100 {
        let query = format!("start=1795269604.{ms:03}");
        let playlist = asked(&snapshot, "index.m3u8", &query);
        let canonical = if ms == 0 { "start=1795269604" } else { &query };
        assert!(playlist.contains(&format!("\nv360/index.m3u8?{canonical}\n")), "{playlist}");
    }
    assert_eq!(front.kept(), (0, 64));
    // A view of a part.
    let playlist = asked(&snapshot, "index.m3u8", "bitrate=0-350kbps&delay=6&parts=no");
    assert!(playlist.contains("\nv180/whole.m3u8?delay=6\n") && !playlist.contains("v360"), "{playlist}");
    assert!(playlist.contains("URI=\"a1/whole.m3u8?delay=6\""), "{playlist}");
}

#[test]
fn where_players_begin_is_said_once() {
    let start = Some(StartAt { offset_ms: -20_000, precise: false });
    let mut config = with_parts(config());
    config.window = Duration::from_secs(60);
    config.serve = Serve { hls_ts: true, start, ..config.serve };
    let mut profile = crate::config::Profile {
        id: crate::media::ProfileId::new("tv").expect("good name"),
        hls: Some(crate::config::HlsForm::Segments),
        dash: None,
        view: crate::config::View::default(),
    };
    profile.view.set(crate::config::Filter::StartOffset, "10s").expect("reads");
    config.profiles = vec![profile];
    let snapshot = with_a_gap(config).snapshot();
    let tag = |path: &str, query: &str| {
        let text = asked(&snapshot, path, query);
        text.lines().find_map(|line| line.strip_prefix("#EXT-X-START:").map(str::to_owned))
    };
    let (start, near, past) = (format!("start={}", T + 5), format!("start={}", T + 16), format!("end={}", T + 16));
    let exact = format!("start={}&end={}", T + 4, T + 16);
    for (path, query, want) in [
        ("index.m3u8", "", Some("TIME-OFFSET=-20.000")),
        ("ts/index.m3u8", "", Some("TIME-OFFSET=-20.000")),
        ("tv/index.m3u8", "", Some("TIME-OFFSET=10.000")),
        ("tv/index.m3u8", "start_offset=-30&start_precise=yes", Some("TIME-OFFSET=-30.000,PRECISE=YES")),
        ("index.m3u8", "start_offset=0", Some("TIME-OFFSET=0.000")),
        ("index.m3u8", "delay=6", Some("TIME-OFFSET=-20.000")),
        // With a beginning of its own, there.
        ("index.m3u8", &start, Some("TIME-OFFSET=1.000,PRECISE=YES")),
        ("index.m3u8", &near, None),
        ("index.m3u8", &exact, None),
        ("index.m3u8", &past, Some("TIME-OFFSET=-20.000")),
        // RFC 8216bis §4.4.2: not in the media playlists as well.
        ("v360/index.m3u8", "", None),
        ("v360/index.m3u8", &start, None),
    ] {
        assert_eq!(tag(path, query).as_deref(), want, "{path}?{query}");
    }
    assert!(!asked(&snapshot, "manifest.mpd", "start_offset=-30").contains("-30"));
}

/// A second opinion on every playlist.
#[test]
fn an_independent_parser_reads_every_part() {
    let snapshot = on_air();
    let over = format!("start={}&end={}", T + 9, T + 17);
    for query in ["delay=7", "window=9", "start_offset=-12.5", over.as_str(), "start=1795269605"] {
        for path in ["index.m3u8", "v360/index.m3u8", "a1/whole.m3u8", "ts/index.m3u8", "ts/v360/index.m3u8"] {
            let playlist = asked(&snapshot, path, query);
            let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
            let mut reader = Reader::from_str(&playlist, options);
            let mut links = Vec::new();
            while let Some(line) = reader.read_line().unwrap_or_else(|e| panic!("{playlist}: {e:?}")) {
                match line {
                    HlsLine::Uri(uri) => links.push(uri.to_string()),
                    HlsLine::UnknownTag(tag) => panic!("{path}?{query}: {tag:?}"),
                    _ => {}
                }
            }
            assert!(!links.is_empty(), "{playlist}");
            // And what it leads to is there.
            let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            for link in links {
                let (name, query) = link.split_once('?').map_or((&*link, None), |(name, query)| (name, Some(query)));
                let gone = ["t44881740300000", "t86172941376512"].iter().any(|gap| name.contains(gap));
                let found = snapshot.ask(&format!("{folder}{name}"), query);
                assert!(matches!(found, Lookup::Found(_)) || gone, "{path}?{query:?}: {link}: {found:?}");
            }
        }
    }
}
