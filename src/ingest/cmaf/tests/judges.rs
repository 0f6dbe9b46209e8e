//! What ffmpeg sends, through a point and a packager, and back to ffmpeg: the same pictures, the same sound, in sync.

use super::*;
use crate::config::Serve;
use crate::encode::ladder::VideoEncoder;
use crate::media::{ChannelId, PipelineId, SegmentNumber};
use crate::package::{self, Lookup, PackageEvent, Packager};

fn packager(config: &Config) -> Packager {
    let config = package::Config {
        channel: ChannelId::new("news").expect("a name"),
        grid: config.grid,
        part: Duration::from_millis(500),
        serve: Serve { hls: true, dash: true, ..Serve::default() },
        profiles: Vec::new(),
        window: Duration::from_secs(60),
        pipelines: vec![PipelineId::B],
        video: config.video.clone(),
        audio: config.audio.clone(),
        language: "und".to_owned(),
        time_uri: "/time".to_owned(),
        deterministic: false,
        disk: false,
        save: false,
    };
    Packager::new(config, start()).expect("a packager")
}

/// Header and listed segments of a rendition in one piece; how many segments.
fn joined(packager: &Packager, rendition: &str) -> (Vec<u8>, usize) {
    let snapshot = packager.snapshot();
    let get = |name: &str| match snapshot.lookup(&format!("{rendition}/{name}")) {
        Lookup::Found(resource) => resource.body.bytes().to_vec(),
        other => panic!("{rendition}/{name}: {other:?}"),
    };
    let playlist = String::from_utf8(get("index.m3u8")).expect("text");
    let init = playlist.split("EXT-X-MAP:URI=\"").nth(1).and_then(|t| t.split('"').next()).expect("EXT-X-MAP");
    let segments: Vec<&str> = playlist.lines().filter(|line| !line.starts_with('#')).collect();
    (std::iter::once(&init).chain(&segments).flat_map(|name| get(name)).collect(), segments.len())
}

/// MD5 of each frame that ffmpeg decodes from a file.
fn frames(file: &[u8], args: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in.mp4");
    std::fs::write(&path, file).expect("written");
    let out = ffmpeg(&format!("-i {} {args} -f framemd5 pipe:1", path.display())).expect("it was there before");
    let text = String::from_utf8(out).expect("text");
    let last = |line: &str| line.rsplit(',').next().map(|md5| md5.trim().to_owned());
    text.lines().filter(|line| !line.starts_with('#')).filter_map(last).collect()
}

/// Feeds what came out of a point to a packager, as pipeline B.
fn package(packager: &mut Packager, now: Now, out: Vec<Output>) {
    packager.pipeline(now, PipelineId::B, true);
    for output in out {
        match output {
            Output::Coded(unit) => packager.coded(now, PipelineId::B, unit),
            Output::SegmentEnd(end) => packager.segment_end(now, PipelineId::B, end),
            Output::Host(_) | Output::Notice(_) => {}
        }
        for event in packager.poll(now) {
            assert!(!matches!(event, PackageEvent::Refused { .. } | PackageEvent::Gap { .. }), "{event:?}");
        }
    }
}

#[test]
fn every_picture_comes_through_as_it_was_sent() {
    for form in FORMS {
        let Some(sent) = picture(8, GOP, form) else { return };
        let config = Config { audio: Vec::new(), ..config() };
        for portions in [1, 7, 333, 9000] {
            let (mut point, mut packager) = (Point::new(config.clone()), packager(&config));
            let out = send(&mut point, start(), portions, &[Body { track: "v180", bytes: &sent, seconds: 8.0 }])
                .unwrap_or_else(|told| panic!("{form} {portions}: {told:?}"));
            let ends = ends(&out, 0);
            assert_eq!(ends.iter().map(|end| end.1).collect::<Vec<_>>(), [50; 4], "{form} {portions}");
            assert!(ends.windows(2).all(|two| two[0].0 + 1 == two[1].0), "{form} {portions}: {ends:?}");
            let mut slots = places(&out, 0);
            slots.sort_unstable();
            let first = config.grid.first_slot(SegmentNumber(ends[0].0)).0;
            assert_eq!(slots, (first..first + 200).collect::<Vec<_>>(), "{form} {portions}");
            package(&mut packager, start().after(Duration::from_secs(8)), out);
            let (published, segments) = joined(&packager, "v180");
            assert_eq!(segments, 4, "{form} {portions}");
            let (before, after) = (frames(&sent, ""), frames(&published, ""));
            assert_eq!(before.len(), 200, "{form} {portions}");
            assert_eq!(before, after, "{form} {portions}");
        }
    }
}

#[test]
fn hevc_comes_through_as_well() {
    let Some(sent) = ffmpeg(
        "-f lavfi -i testsrc2=s=320x180:r=25 -t 6 -c:v libx265 -preset ultrafast -tag:v hvc1 \
         -x265-params keyint=50:min-keyint=50:scenecut=0:open-gop=0:bframes=2:log-level=none -movflags cmaf+frag_keyframe -f mp4 pipe:1",
    ) else {
        return;
    };
    let mut config = Config { audio: Vec::new(), ..config() };
    config.video[0].encoder = VideoEncoder::X265;
    let (mut point, mut packager) = (Point::new(config.clone()), packager(&config));
    let out = send(&mut point, start(), 77, &[Body { track: "hevc", bytes: &sent, seconds: 6.0 }]).expect("it fits");
    package(&mut packager, start().after(Duration::from_secs(6)), out);
    let (published, segments) = joined(&packager, "v180");
    assert_eq!(segments, 3);
    assert_eq!(frames(&sent, ""), frames(&published, ""));
}

#[test]
fn segments_are_whole_when_their_time_has_come() {
    let Some(sent) = picture(12, GOP, "cmaf+frag_every_frame") else { return };
    let config = Config { audio: Vec::new(), ..config() };
    // Wherever in a segment it begins.
    for late_ms in (0..2000).step_by(190) {
        let (mut point, from) = (Point::new(config.clone()), start().after(Duration::from_millis(late_ms)));
        let mut object = point.begin("v180");
        let portions = 600;
        for n in 0..portions {
            let now = from.after(Duration::from_secs(12) * (n as u32 + 1) / portions as u32);
            let cut = |n: usize| sent.len() * n / portions;
            point.push(now, &mut object, &sent[cut(n)..cut(n + 1)]).expect("it fits");
            for (segment, _) in ends(&point.take(), 0) {
                let ends = config.grid.segment_start(SegmentNumber(segment + 1)).to_utc();
                let early = ends.as_secs_f64() - now.utc.as_secs_f64();
                // Bytes are no even measure of time: half a second of tolerance for the simulation itself.
                assert!((-0.7..=2.5).contains(&early), "begun {late_ms} ms later, {segment} came {early} s early");
            }
        }
        assert_eq!(point.figures().segments, 6, "begun {late_ms} ms later");
    }
}

/// Sample of the first loud one of a tone that begins at once.
fn onset(file: &[u8]) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in.mp4");
    std::fs::write(&path, file).expect("written");
    let pcm = ffmpeg(&format!("-i {} -ac 1 -f s16le pipe:1", path.display())).expect("it was there before");
    let loud = |pair: &[u8]| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() > 1000;
    pcm.chunks_exact(2).position(loud).expect("a tone")
}

#[test]
fn sound_keeps_its_place_beside_the_pictures() {
    // Silence, then a tone 3 s in. With an edit list, ffmpeg's file says so exactly; without, its priming of 1,024 samples is heard.
    let tone = |movflags: &str| {
        ffmpeg(&format!(
            "-f lavfi -i aevalsrc=exprs=gte(t\\,3)*sin(2764*t):s=48000 -t 8 -ac 2 -c:a aac -b:a 96k -movflags {movflags} \
             -frag_duration 300000 -f mp4 pipe:1"
        ))
    };
    let config = config();
    for (form, priming) in [("cmaf", 1024), ("empty_moov+delay_moov+default_base_moof", 0)] {
        let (Some(picture), Some(sound)) = (picture(8, GOP, FORMS[0]), tone(form)) else { return };
        let bodies =
            [Body { track: "v180", bytes: &picture, seconds: 8.0 }, Body { track: "a1", bytes: &sound, seconds: 8.0 }];
        let (mut point, mut packager) = (Point::new(config.clone()), packager(&config));
        let out = send(&mut point, start(), 400, &bodies).expect("it fits");
        let frames = places(&out, 1);
        assert!(frames.windows(2).all(|two| two[0] + 1 == two[1]), "{form}: no hole and nothing twice");
        let first = SegmentNumber(ends(&out, 0)[0].0);
        // The first picture lies on the first slot: its time there is the sender's 0.
        let begin = config.grid.first_slot(first).0 * 1920;
        let heard: Vec<(u64, u32)> = ends(&out, 1);
        assert!(heard.len() >= 3 && heard[0] == (first.0, 94) || heard[0].1 == 93, "{form}: {heard:?}");
        package(&mut packager, start().after(Duration::from_secs(9)), out);
        let (published, _) = joined(&packager, "a1");
        // ffmpeg decodes a file from its first frame on; where that lies, the places say.
        let at = frames[0] * 1024 + onset(&published) as u64;
        let want = begin + 3 * 48_000 + priming;
        // The nearest place of the grid, and as much as an AAC frame smears a sudden tone.
        let off = at as i64 - want as i64;
        assert!(off.abs() <= 512 + 64, "{form}: {off} samples off");
        assert_eq!((point.figures().regridded, point.figures().incomplete), (0, 0), "{form}");
    }
}

#[test]
fn channel_time_is_known_by_its_looks() {
    // Another encoder that puts its segments on the epoch: ours must be the same.
    let from = start();
    let begin = 1_795_269_600 + 2;
    let Some(sent) = ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=320x180:r=25 -t 4 -c:v libx264 {GOP} -output_ts_offset {begin} \
         -movflags cmaf+frag_keyframe+frag_discont -video_track_timescale 25000 -f mp4 pipe:1"
    )) else {
        return;
    };
    let mut point = Point::new(Config { audio: Vec::new(), ..config() });
    let body = [Body { track: "v180", bytes: &sent, seconds: 4.0 }];
    let out = send(&mut point, from.after(Duration::from_millis(1500)), 200, &body).expect("it fits");
    assert!(notices(&out).contains(&&Notice::Placed { moved: None }), "{:?}", notices(&out));
    assert_eq!(ends(&out, 0), [(begin / 2, 50), (begin / 2 + 1, 50)]);
}
