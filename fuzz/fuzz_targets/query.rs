//! Any query, to every path of a channel that is on air in all forms: views, parts of the window, delivery directives, and what means
//! nothing.
#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tandem::clock::Now;
use tandem::config::Serve;
use tandem::encode::ipc::{CodedUnit, Filled, Material, RenditionIndex, SegmentEnd};
use tandem::encode::ladder::{AudioRung, RateControl, VideoRung};
use tandem::media::{ChannelId, FrameRate, Grid, PipelineId, RenditionId, SegmentNumber};
use tandem::package::{Config, Lookup, Packager, Snapshot};

const FIRST: u64 = 897_634_800;
/// A key frame of H.264: delimiter, parameter sets of 640x360, a slice that nobody decodes.
const KEY: &[u8] = b"\0\0\0\x01\x09\x10\0\0\0\x01\x67\x64\0\x1e\xac\xd9\x40\xa0\x2f\xf9\x61\0\0\x03\0\x01\0\0\x03\0\x32\x0f\x16\x2d\x96\
                     \0\0\0\x01\x68\xeb\xe3\xcb\x22\xc0\0\0\0\x01\x65\x88\x80\x80";
const OTHER: &[u8] = b"\0\0\0\x01\x09\x30\0\0\0\x01\x41\x9a\x80\x80";

fn config() -> Config {
    let id = |text| RenditionId::new(text).expect("good name");
    let rung = |name, max_bitrate| {
        VideoRung { bframes: 0, ..VideoRung::new(id(name), 640, 360, RateControl::CappedCrf { crf: 23.0, max_bitrate }) }
    };
    let sound = |name, language: &[u8; 3]| AudioRung { id: id(name), bitrate: 128_000, channels: 2, language: Some(*language) };
    Config {
        channel: ChannelId::new("fuzz").expect("good name"),
        grid: Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("good rate")).expect("good grid"),
        part: Duration::from_millis(400),
        serve: Serve { hls: true, low_latency_hls: true, hls_ts: true, dash: true, low_latency_dash: true, ..Serve::default() },
        profiles: Vec::new(),
        window: Duration::from_secs(12),
        pipelines: vec![PipelineId::A],
        video: vec![rung("v1", 700_000), rung("v2", 300_000)],
        audio: vec![sound("en", b"eng"), sound("de", b"deu")],
        language: "und".into(),
        time_uri: "/time".into(),
        deterministic: true,
        disk: false,
        save: false,
    }
}

fn on_air() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Arc<Snapshot>> = OnceLock::new();
    SNAPSHOT.get_or_init(|| {
        let config = config();
        let (grid, video, all) = (config.grid, config.video.len(), config.video.len() + config.audio.len());
        let mut now = Now { mono: Instant::now(), utc: grid.segment_start(SegmentNumber(FIRST)).to_utc() };
        let mut packager = Packager::new(config, now).expect("good config");
        packager.pipeline(now, PipelineId::A, true);
        for segment in (FIRST..FIRST + 6).map(SegmentNumber) {
            now = now.after(grid.segment());
            for r in 0..all {
                let rendition = RenditionIndex(r as u8);
                let places: Vec<u64> =
                    if r < video { grid.slots(segment).collect() } else { grid.audio_frames(segment).collect() };
                for (i, &position) in places.iter().enumerate() {
                    let key = i == 0 || r >= video;
                    let data = if r >= video { &[0x21, 1, 2, 3][..] } else if key { KEY } else { OTHER };
                    let (material, data) = (Material::Source, Bytes::from_static(data));
                    packager.coded(now, PipelineId::A, CodedUnit { rendition, segment, position, key, material, data });
                }
                let (units, filled) = (places.len() as u32, Filled::default());
                packager.segment_end(now, PipelineId::A, SegmentEnd { rendition, segment, units, filled });
            }
            packager.poll(now);
        }
        let snapshot = packager.snapshot();
        assert!(matches!(snapshot.lookup("index.m3u8"), Lookup::Found(_)), "it is on air");
        snapshot
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, query)) = data.split_first() else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let paths = [
        "index.m3u8",
        "ts/index.m3u8",
        "manifest.mpd",
        "number.mpd",
        "low.mpd",
        "v1/index.m3u8",
        "v1/whole.m3u8",
        "ts/v1/index.m3u8",
        "trick/index.m3u8",
    ];
    let path = paths[usize::from(choice) % paths.len()];
    match on_air().ask(path, Some(query)) {
        Lookup::Found(text) => {
            let body = text.body.bytes();
            assert!(body.starts_with(b"#EXTM3U") || body.starts_with(b"<?xml"), "{path}?{query}");
            assert!(text.gzip.is_some(), "{path}?{query}");
        }
        Lookup::Bad(why) => assert!(why.ends_with('\n') && why.len() < 200, "{path}?{query}: {why}"),
        Lookup::Absent(why) => assert!(why.ends_with('\n') && why.len() < 200, "{path}?{query}: {why}"),
        // A playlist ahead of its time; a start that is now.
        Lookup::Wait(patience) => assert!(patience <= Duration::from_secs(60), "{path}?{query}"),
        other => panic!("{path}?{query}: {other:?}"),
    }
});
