//! Windows of hours: what playlists say stays exact, and what a publication costs does not grow with the window.

use std::io::Read;

use super::*;

/// A packager with a window of so many segments, all there, of tiny pictures.
fn filled(config: Config, segments: u64) -> (Packager, Now) {
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[PipelineId::A]);
    let mut now = t0;
    for n in FIRST..FIRST + segments {
        now = t0.after(p.config().grid.segment() * u32::try_from(n - FIRST + 1).expect("few"));
        publish(&mut p, now, n);
    }
    (p, now)
}

fn publish(p: &mut Packager, now: Now, n: u64) {
    deliver_all(p, now, PipelineId::A, n);
    p.poll(now);
}

fn day(segments: u32) -> Config {
    let config = Config { pipelines: vec![PipelineId::A], ..with_parts(config()) };
    let serve = Serve { hls_ts: true, ..config.serve };
    Config { window: config.grid.segment() * segments, serve, ..config }
}

/// What a playlist lists: numbers by the names, and gaps.
fn numbers(playlist: &str) -> Vec<u64> {
    let name = |l: &str| l.strip_prefix('t')?.strip_suffix(".m4s")?.parse::<u64>().ok();
    playlist.lines().filter(|l| !l.starts_with('#')).filter_map(name).map(|ticks| ticks / 50_000).collect()
}

#[test]
fn blocks_change_nothing_that_is_said() {
    const LISTED: u64 = 400;
    let (mut p, now) = filled(day(LISTED as u32), 3);
    let mut before: Option<String> = None;
    for n in FIRST + 3..FIRST + 700 {
        let now = now.after(Duration::from_secs(2 * (n - FIRST - 2)));
        // Some are gaps.
        if n % 97 == 0 {
            let given_up = now.after(Duration::from_millis(1300));
            p.pipeline(now, PipelineId::A, false);
            p.poll(given_up);
            p.pipeline(given_up, PipelineId::A, true);
        } else {
            publish(&mut p, now, n);
        }
        let snapshot = p.snapshot();
        let resource = found(&snapshot, "v360/index.m3u8");
        let playlist = text(&snapshot, "v360/index.m3u8");
        let first = FIRST.max((n + 1).saturating_sub(LISTED));
        let want: Vec<u64> = (first..=n).collect();
        assert_eq!(numbers(&playlist), want, "after {n}");
        assert!(playlist.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{first}\n")), "after {n}");
        let gaps = want.iter().filter(|n| *n % 97 == 0).count();
        assert_eq!(playlist.matches("#EXT-X-GAP").count(), gaps, "after {n}");
        let mut unpacked = String::new();
        let gzip = resource.gzip.expect("compressed").bytes();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, playlist, "after {n}");
        assert_ne!(
            before.replace(String::from_utf8(resource.etag.to_vec()).expect("text")).as_deref(),
            std::str::from_utf8(&resource.etag).ok()
        );
        let transport = found(&snapshot, "ts/v180/index.m3u8");
        let listed = String::from_utf8(transport.body.bytes().to_vec()).expect("text");
        assert_eq!(numbers(&listed.replace(".ts\n", ".m4s\n")), want, "after {n}");
        assert_eq!(listed.matches("#EXT-X-GAP").count(), gaps, "after {n}");
        let mut unpacked = String::new();
        let gzip = transport.gzip.expect("compressed").bytes();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, listed, "after {n}");
        // The manifest lists the same segments.
        let manifest = text(&snapshot, "manifest.mpd");
        let video = manifest.split("</SegmentTimeline>").next().expect("a timeline");
        let repeats = video.split("<S ").skip(1).map(|s| {
            s.split("r=\"").nth(1).and_then(|r| r.split('"').next()).and_then(|r| r.parse::<usize>().ok()).unwrap_or(0)
                + 1
        });
        assert_eq!(repeats.sum::<usize>(), want.len(), "after {n}");
        for n in [first, (first + n) / 2, n] {
            found(&snapshot, &format!("v360/{n}.m4s"));
        }
    }
    let Lookup::Found(delta) = p.snapshot().ask("v360/index.m3u8", Some("_HLS_skip=YES")) else { panic!("a delta") };
    let delta = String::from_utf8(delta.body.bytes().to_vec()).expect("text");
    assert!(delta.len() <= 4096, "{} bytes", delta.len());
    assert!(delta.contains(&format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={}\n", LISTED - 6)), "{delta}");
}
