//! Whole playlists, manifests and box dumps against files in `tests/golden`. `TANDEM_GOLDEN=update` writes them anew:
//! read the difference before you commit it.

use super::*;

pub(super) fn compare(name: &str, got: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TANDEM_GOLDEN").is_some_and(|v| v == "update") {
        std::fs::write(&path, got).expect("golden file can be written");
        return;
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(got == want, "{name} differs from its golden file; it is now:\n{got}");
}

/// Boxes as an indented list: type, size, and the payload of those that hold nothing but fields.
fn dump(data: &[u8], depth: usize, out: &mut String) {
    let mut rest = data;
    while let Some((head, _)) = rest.split_first_chunk::<8>() {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = String::from_utf8_lossy(&head[4..]).into_owned();
        assert!(size >= 8 && size <= rest.len(), "{kind} says {size} bytes, {} are left", rest.len());
        let body = &rest[8..size];
        out.push_str(&format!("{:1$}{kind} {size}", "", depth * 2));
        let skip = match kind.as_str() {
            "moov" | "trak" | "edts" | "mdia" | "minf" | "dinf" | "stbl" | "mvex" | "moof" | "traf" => Some(0),
            "dref" | "stsd" => Some(8),
            "avc1" | "hvc1" | "av01" => Some(78),
            "mp4a" => Some(28),
            _ => None,
        };
        if kind == "mdat" {
            out.push('\n');
        } else {
            let fields = &body[..skip.unwrap_or(body.len())];
            for word in fields.chunks(4) {
                out.push(' ');
                word.iter().for_each(|b| out.push_str(&format!("{b:02x}")));
            }
            out.push('\n');
            if let Some(skip) = skip {
                dump(&body[skip..], depth + 1, out);
            }
        }
        rest = &rest[size..];
    }
    assert!(rest.is_empty(), "{} bytes behind the last box", rest.len());
}

fn boxes(data: &[u8]) -> String {
    let mut out = String::new();
    dump(data, 0, &mut out);
    out
}

/// Ten segments, the seventh a gap; 300 ms from the end of each interval to its delivery.
pub(super) fn with_a_gap(config: Config) -> Packager {
    let t0 = start_of(&config, FIRST);
    let segment = config.grid.segment();
    let mut p = up(config, t0, &PipelineId::BOTH);
    for i in 0..10u32 {
        let n = FIRST + u64::from(i);
        let now = t0.after(segment * (i + 1) + Duration::from_millis(300));
        match i {
            6 => PipelineId::BOTH.into_iter().for_each(|w| p.pipeline(now, w, false)),
            7 => PipelineId::BOTH.into_iter().for_each(|w| p.pipeline(now, w, true)),
            _ => {}
        }
        if i != 6 {
            deliver_all(&mut p, now, PipelineId::A, n);
        }
        p.poll(now);
        p.poll(now.after(Duration::from_secs(1)));
    }
    assert_eq!(p.status().gaps, 1);
    p
}

#[test]
fn playlists_and_manifest() {
    let snapshot = with_a_gap(config()).snapshot();
    compare("multivariant.m3u8", &text(&snapshot, "index.m3u8"));
    compare("video.m3u8", &text(&snapshot, "v360/index.m3u8"));
    compare("audio.m3u8", &text(&snapshot, "a1/index.m3u8"));
    compare("manifest.mpd", &text(&snapshot, "manifest.mpd"));
}

#[test]
fn playlists_and_manifest_at_29_97_without_sound() {
    let mut config = config_at(FrameRate::new(30000, 1001).expect("good rate"));
    config.audio.clear();
    let snapshot = with_a_gap(config).snapshot();
    compare("multivariant-2997.m3u8", &text(&snapshot, "index.m3u8"));
    compare("video-2997.m3u8", &text(&snapshot, "v360/index.m3u8"));
    compare("manifest-2997.mpd", &text(&snapshot, "manifest.mpd"));
}

#[test]
fn headers_and_segments() {
    let snapshot = with_a_gap(config()).snapshot();
    for (rendition, kind) in [("v360", "video"), ("a1", "audio")] {
        let (init, segment) = newest_of(&snapshot, rendition);
        compare(&format!("{kind}-init.boxes"), &boxes(&init));
        compare(&format!("{kind}-segment.boxes"), &boxes(&segment));
    }
}

/// Header and newest segment of a rendition.
fn newest_of(snapshot: &Snapshot, rendition: &str) -> (Bytes, Bytes) {
    let playlist = text(snapshot, &format!("{rendition}/index.m3u8"));
    let init = playlist.split("URI=\"").nth(1).and_then(|t| t.split('"').next()).expect("EXT-X-MAP");
    let segment = playlist.lines().rfind(|l| !l.starts_with('#')).expect("a segment");
    let fetch = |name: &str| found(snapshot, &format!("{rendition}/{name}")).body.bytes();
    (fetch(init), fetch(segment))
}

#[test]
fn every_format_and_language() {
    let snapshot = with_a_gap(config_of_everything()).snapshot();
    compare("multivariant-everything.m3u8", &text(&snapshot, "index.m3u8"));
    compare("manifest-everything.mpd", &text(&snapshot, "manifest.mpd"));
    compare("trick.m3u8", &text(&snapshot, "trick/index.m3u8"));
    for (rendition, name) in [("hevc-360", "hevc"), ("av1-360", "av1"), ("eng-51", "surround"), ("trick", "trick")] {
        let (init, segment) = newest_of(&snapshot, rendition);
        compare(&format!("{name}-init.boxes"), &boxes(&init));
        if name != "surround" {
            compare(&format!("{name}-segment.boxes"), &boxes(&segment));
        }
    }
}

#[test]
fn sound_alone() {
    let mut config = config();
    config.video.clear();
    config.audio = vec![sound("high", None, 2, 128_000), sound("low", None, 2, 48_000)];
    let snapshot = with_a_gap(config.clone()).snapshot();
    compare("multivariant-sound.m3u8", &text(&snapshot, "index.m3u8"));
    compare("manifest-sound.mpd", &text(&snapshot, "manifest.mpd"));
    config.audio = vec![sound("eng", Some(b"eng"), 2, 128_000), sound("fra", Some(b"fre"), 2, 128_000)];
    let snapshot = with_a_gap(config).snapshot();
    compare("multivariant-sound-languages.m3u8", &text(&snapshot, "index.m3u8"));
}
