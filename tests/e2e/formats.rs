//! Every format we emit, published by packager and origin in real time, as real players and independent checkers take it.
//!
//! The pictures are ffmpeg's own: eight seconds of each format, again and again. So this stands without an encode process,
//! whose output has tests of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tandem::clock;
use tandem::config::{DashForm, Filter, HlsForm, Profile, View};
use tandem::encode::ipc::{CodedUnit, Filled, Material, RenditionIndex, SegmentEnd};
use tandem::encode::ladder::{AudioRung, RateControl, VideoEncoder, VideoRung};
use tandem::media::{ChannelId, FrameRate, Grid, PipelineId, ProfileId, RenditionId, SegmentNumber};
use tandem::origin::{ChannelFeed, Directory, Limits, Running, start};
use tandem::package::{Config, Packager};
use tandem::wire::codec::annexb::nal_units;
use tandem::wire::codec::av1::{kind, obus};

use super::harness::{Options, need};
use super::players::{Seen, Viewer, ready_for_viewers, validators};

/// Slots of a segment, and segments until the pictures begin again.
const SLOTS: usize = 50;
const SEGMENTS: usize = 4;

/// A channel with H.264, HEVC and AV1, English in stereo and 5.1, and German.
struct Live {
    runtime: tokio::runtime::Runtime,
    origin: Option<Running>,
    base: String,
    stop: Arc<AtomicBool>,
    publisher: Option<JoinHandle<()>>,
}

impl Live {
    /// On air, with a window full of segments.
    fn start() -> Self {
        need("ffmpeg");
        let config = config();
        let folder = tempfile::tempdir().unwrap();
        let media: Vec<Media> = config
            .video
            .iter()
            .map(|rung| Media::Video(encoded(folder.path(), rung.encoder)))
            .chain(config.audio.iter().map(|rung| Media::Audio(sound(folder.path(), rung))))
            .collect();
        let now = clock::now();
        let mut packager = Packager::new(config, now).unwrap();
        packager.pipeline(now, PipelineId::A, true);
        let (told, snapshots) = tokio::sync::watch::channel(packager.snapshot());
        let directory = Arc::new(Directory::default());
        directory.insert(&ChannelId::new("formats").unwrap(), ChannelFeed::live(snapshots));
        let origin = start("127.0.0.1:0".parse().unwrap(), 1, directory, Limits::default()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut next = SegmentNumber(packager.config().grid.segment_at(now.channel_time()).0 - 12);
        let mut publish = move || {
            let now = clock::now();
            while packager.config().grid.segment_start(next.next()) <= now.channel_time() {
                deliver(&mut packager, &media, next);
                packager.poll(now);
                next = next.next();
                told.send_replace(packager.snapshot());
            }
        };
        publish();
        let publisher = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                publish();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let base = format!("http://{}/live/formats", origin.address());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, origin: Some(origin), base, stop, publisher: Some(publisher) }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(publisher) = self.publisher.take() {
            let _ = publisher.join();
        }
        if let Some(origin) = self.origin.take() {
            self.runtime.block_on(origin.stop());
        }
    }
}

fn config() -> Config {
    let rung = |id, encoder| {
        let rate = RateControl::CappedCrf { crf: 23.0, max_bitrate: 800_000 };
        VideoRung { encoder, ..VideoRung::new(RenditionId::new(id).unwrap(), 320, 180, rate) }
    };
    let sound = |id, language: &[u8; 3], channels, bitrate| AudioRung {
        id: RenditionId::new(id).unwrap(),
        bitrate,
        channels,
        language: Some(*language),
    };
    Config {
        channel: ChannelId::new("formats").unwrap(),
        grid: Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).unwrap()).unwrap(),
        serve: tandem::config::Serve { hls: true, hls_ts: true, dash: true, ..Default::default() },
        part: Duration::from_millis(500),
        profiles: vec![tv()],
        window: Duration::from_secs(20),
        pipelines: vec![PipelineId::A],
        video: vec![
            rung("h264", VideoEncoder::X264),
            rung("hevc", VideoEncoder::X265),
            rung("av1", VideoEncoder::SvtAv1),
        ],
        audio: vec![
            sound("eng", b"eng", 2, 128_000),
            sound("eng-51", b"eng", 6, 320_000),
            sound("deu", b"deu", 2, 128_000),
        ],
        language: "und".into(),
        time_uri: "/time".into(),
        deterministic: true,
        disk: false,
        save: false,
    }
}

/// For devices that know H.264 and stereo alone.
fn tv() -> Profile {
    let mut view = View::default();
    for (filter, text) in [(Filter::Codec, "h264"), (Filter::Channels, "1-2"), (Filter::Trick, "none")] {
        view.set(filter, text).unwrap();
    }
    Profile { id: ProfileId::new("tv").unwrap(), hls: Some(HlsForm::Segments), dash: Some(DashForm::Segments), view }
}

enum Media {
    /// Units in decode order with their places on the slots of the loop.
    Video(Vec<(usize, Bytes)>),
    /// Frames, to be repeated.
    Audio(Vec<Bytes>),
}

fn deliver(packager: &mut Packager, media: &[Media], n: SegmentNumber) {
    let now = clock::now();
    let grid = packager.config().grid;
    for (r, media) in media.iter().enumerate() {
        let rendition = RenditionIndex(u8::try_from(r).unwrap());
        let mut units = 0;
        let mut give = |position, key, data: &Bytes| {
            units += 1;
            let unit =
                CodedUnit { rendition, segment: n, position, key, material: Material::Source, data: data.clone() };
            packager.coded(now, PipelineId::A, unit);
        };
        match media {
            Media::Video(pictures) => {
                let turn = n.0 as usize % SEGMENTS * SLOTS;
                for (i, (place, data)) in pictures[turn..turn + SLOTS].iter().enumerate() {
                    give(grid.first_slot(n).0 + (place - turn) as u64, i == 0, data);
                }
            }
            Media::Audio(frames) => {
                for position in grid.audio_frames(n) {
                    give(position, true, &frames[position as usize % frames.len()]);
                }
            }
        }
        packager.segment_end(
            now,
            PipelineId::A,
            SegmentEnd { rendition, segment: n, units, filled: Filled::default() },
        );
    }
}

fn ffmpeg(args: &[&str]) -> Vec<u8> {
    let out = Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-y"]).args(args).output().unwrap();
    assert!(out.status.success(), "ffmpeg {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn encoded(folder: &Path, encoder: VideoEncoder) -> Vec<(usize, Bytes)> {
    let (library, settings, filter, muxer) = match encoder {
        VideoEncoder::X264 => (
            "libx264",
            ["-x264-params", "keyint=50:min-keyint=50:scenecut=0:bframes=2:b-pyramid=none:open-gop=0"],
            "h264_mp4toannexb,h264_metadata=aud=insert",
            "h264",
        ),
        VideoEncoder::X265 => (
            "libx265",
            ["-x265-params", "log-level=none:keyint=50:min-keyint=50:scenecut=0:bframes=2:open-gop=0"],
            "hevc_mp4toannexb,hevc_metadata=aud=insert",
            "hevc",
        ),
        _ => ("libsvtav1", ["-g", "50"], "av1_metadata=td=insert", "obu"),
    };
    let preset = if library == "libsvtav1" { "10" } else { "veryfast" };
    let path = |name: &str| folder.join(format!("{library}.{name}")).to_str().unwrap().to_owned();
    let (timed, stream) = (path("mp4"), path("stream"));
    let picture = "testsrc2=size=320x180:rate=25:duration=8";
    let encode = ["-f", "lavfi", "-i", picture, "-c:v", library, "-preset", preset, "-pix_fmt", "yuv420p"];
    ffmpeg(&[&encode[..], &settings, &[&timed]].concat());
    ffmpeg(&["-i", &timed, "-c", "copy", "-bsf:v", filter, "-f", muxer, &stream]);
    let times = probe(&["-select_streams", "v", "-show_entries", "packet=pts", &timed]);
    let times: Vec<i64> = times.iter().map(|l| l.trim_end_matches(',').parse().unwrap()).collect();
    let mut shown = times.clone();
    shown.sort_unstable();
    let units = access_units(muxer, &std::fs::read(&stream).unwrap());
    assert_eq!((units.len(), times.len()), (SLOTS * SEGMENTS, SLOTS * SEGMENTS), "{library}");
    times.iter().map(|t| shown.binary_search(t).unwrap()).zip(units).collect()
}

/// Each begins with a delimiter.
fn access_units(format: &str, stream: &[u8]) -> Vec<Bytes> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut take = |begins: bool, code: &[u8], piece: &[u8]| {
        if begins {
            units.push(Vec::new());
        }
        units.last_mut().unwrap().extend_from_slice(&[code, piece].concat());
    };
    match format {
        "obu" => obus(stream).flatten().for_each(|o| take(o.kind == kind::TEMPORAL_DELIMITER, &[], o.whole)),
        "hevc" => nal_units(stream).for_each(|nal| take(nal[0] >> 1 & 0x3f == 35, &[0, 0, 0, 1], nal)),
        _ => nal_units(stream).for_each(|nal| take(nal[0] & 0x1f == 9, &[0, 0, 0, 1], nal)),
    }
    units.into_iter().map(Bytes::from).collect()
}

/// AAC frames without their ADTS headers (ISO/IEC 13818-7 §6.2).
fn sound(folder: &Path, rung: &AudioRung) -> Vec<Bytes> {
    let file = folder.join(format!("{}.aac", rung.id)).to_str().unwrap().to_owned();
    let (channels, rate) = (rung.channels.to_string(), rung.bitrate.to_string());
    let tone = "sine=frequency=440:sample_rate=48000:duration=8";
    ffmpeg(&["-f", "lavfi", "-i", tone, "-ac", &channels, "-c:a", "aac", "-b:a", &rate, "-f", "adts", &file]);
    let stream = std::fs::read(&file).unwrap();
    let (mut rest, mut frames) = (&stream[..], Vec::new());
    while let Some(&[_, _, _, a, b, c, _]) = rest.first_chunk::<7>() {
        let len = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c) >> 5;
        frames.push(Bytes::copy_from_slice(&rest[7..len]));
        rest = &rest[len..];
    }
    frames
}

/// Lines that ffprobe prints.
fn probe(args: &[&str]) -> Vec<String> {
    let out = Command::new("ffprobe").args(["-v", "error", "-of", "csv=p=0"]).args(args).stdin(Stdio::null()).output();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

/// Pictures that ffmpeg decodes in `seconds` of one stream of `url`, and of what size.
fn decoded(url: &str, stream: &str, seconds: &str) -> usize {
    let args = ["-err_detect", "explode", "-i", url, "-map", stream, "-t", seconds, "-f", "framemd5", "-"];
    let out = String::from_utf8(ffmpeg(&args)).unwrap();
    // 320 x 180, 4:2:0.
    out.lines().filter(|l| !l.starts_with('#') && l.contains("86400,")).count()
}

#[test]
fn ffmpeg_decodes_each_format_from_hls_and_dash() {
    let live = Live::start();
    let streams = probe(&["-show_entries", "stream=index,codec_name", &live.url("manifest.mpd")]);
    let index_of: BTreeMap<_, _> =
        streams.iter().rev().filter_map(|l| l.split_once(',')).map(|(i, c)| (c, i)).collect();
    for (rendition, codec) in [("h264", "h264"), ("hevc", "hevc"), ("av1", "av1")] {
        assert_eq!(decoded(&live.url(&format!("{rendition}/index.m3u8")), "0:v", "6"), 150, "{codec} from HLS");
        let index = index_of.get(codec).unwrap_or_else(|| panic!("no {codec} in {streams:?}"));
        assert_eq!(decoded(&live.url("manifest.mpd"), &format!("0:{index}"), "6"), 150, "{codec} from DASH");
    }
    // It names streams again as parts of a programme.
    let mut sound = probe(&["-show_entries", "stream=codec_name,channels", &live.url("eng-51/index.m3u8")]);
    sound.dedup();
    assert_eq!(sound, ["aac,6"]);
    let pictures = probe(&[
        "-select_streams",
        "v",
        "-show_entries",
        "frame=pict_type",
        &live.url("trick/index.m3u8"),
        "-read_intervals",
        "%+8",
    ]);
    assert!(pictures.len() >= 4 && pictures.iter().all(|p| p.starts_with('I')), "{pictures:?}");
}

#[test]
fn ffmpeg_decodes_transport_streams() {
    let live = Live::start();
    for (rendition, codec) in [("h264", "h264"), ("hevc", "hevc")] {
        let url = live.url(&format!("ts/{rendition}/index.m3u8"));
        let mut streams = probe(&["-show_entries", "stream=codec_name", &url]);
        streams.sort();
        streams.dedup();
        assert_eq!(streams, ["aac", codec], "{rendition}");
        assert_eq!(decoded(&url, "0:v", "6"), 150, "{rendition}");
    }
    // The variants, and of the other languages German; all of them play.
    let streams = probe(&["-show_entries", "stream=codec_name", &live.url("ts/index.m3u8")]);
    for codec in ["h264", "hevc", "aac"] {
        assert!(streams.iter().any(|s| s == codec), "no {codec} in {streams:?}");
    }
    assert_eq!(decoded(&live.url("ts/index.m3u8"), "0:v:0", "6"), 150);
    let german = probe(&["-show_entries", "stream=codec_name", &live.url("ts/deu/index.m3u8")]);
    assert!(german.iter().all(|s| s == "aac") && !german.is_empty(), "{german:?}");
    // One segment is the same bytes and has the same tag for everybody, and its type is told.
    let playlist = curl(&[&live.url("ts/h264/index.m3u8")]);
    let segment = playlist.lines().rfind(|l| !l.starts_with('#')).unwrap();
    let head = curl(&["-I", &live.url(&format!("ts/h264/{segment}"))]).to_ascii_lowercase();
    for field in ["200 ok", "content-type: video/mp2t", "cache-control: public, max-age=3600, immutable", "etag: \""] {
        assert!(head.contains(field), "no {field} in {head}");
    }
}

#[test]
fn ffmpeg_plays_views_and_profiles() {
    let live = Live::start();
    for (path, codec) in [
        ("index.m3u8?codec=h264&lang=de", "h264"),
        ("manifest.mpd?aws.manifestfilter=video_codec%3Ah265%3Baudio_language%3Ade", "hevc"),
        ("tv/index.m3u8", "h264"),
        ("tv/manifest.mpd", "h264"),
    ] {
        let mut streams = probe(&["-show_entries", "stream=codec_name", &live.url(path)]);
        streams.sort();
        streams.dedup();
        assert_eq!(streams, ["aac", codec], "{path}");
        assert_eq!(decoded(&live.url(path), "0:v:0", "4"), 100, "{path}");
    }
    let refused = curl(&["-i", &live.url("index.m3u8?height=high")]);
    assert!(refused.contains("400 Bad Request") && refused.contains("height (video_height) takes lines"), "{refused}");
}

fn curl(args: &[&str]) -> String {
    let out = Command::new("curl").args(["-s", "-m", "10"]).args(args).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

/// Six seconds of each rendition, given with its codec, decode from HLS and from DASH.
fn both_decode(base: &str, renditions: &[(&str, &str)]) {
    let manifest = format!("{base}/manifest.mpd");
    let streams = probe(&["-show_entries", "stream=index,codec_name", &manifest]);
    let index_of: BTreeMap<_, _> =
        streams.iter().rev().filter_map(|l| l.split_once(',')).map(|(i, c)| (c, i)).collect();
    for (rendition, codec) in renditions {
        assert_eq!(decoded(&format!("{base}/{rendition}/index.m3u8"), "0:v", "6"), 150, "{codec} from HLS");
        let index = index_of.get(codec).unwrap_or_else(|| panic!("no {codec} in {streams:?}"));
        assert_eq!(decoded(&manifest, &format!("0:{index}"), "6"), 150, "{codec} from DASH");
    }
}

/// The same from a whole server, whose encode processes make all three.
#[test]
fn a_running_server_has_hevc_that_decodes_and_av1_that_plays() {
    let options = Options { ladder: "../../tests/e2e/ladders/formats", ..Options::default() };
    let (server, _publishers) = ready_for_viewers(&options);
    let (hls, dash) = (server.hls(), server.dash());
    let base = hls.strip_suffix("/index.m3u8").unwrap();
    both_decode(base, &[("hevc-180", "hevc"), ("av1-180", "av1")]);
    for (player, url) in [("hlsjs", &hls), ("dashjs", &dash)] {
        let Seen { json, code, .. } = Viewer::of(url, player, 20, Some("av01")).seen();
        assert_eq!(code, Some(0), "{player}: {json:#}");
    }
}

/// Asked for nothing, a player takes what it likes best; the judge of its report sees to it that it stays with that.
#[test]
fn browsers_play_the_format_they_are_asked_for_and_stay_with_one() {
    let live = Live::start();
    for (player, path, codec) in [
        ("hlsjs", "index.m3u8", None),
        ("dashjs", "manifest.mpd", None),
        ("shaka-hls", "index.m3u8", None),
        ("hlsjs", "index.m3u8", Some("av01")),
        ("dashjs", "manifest.mpd", Some("av01")),
        ("shaka-dash", "manifest.mpd", Some("av01")),
        ("hlsjs", "index.m3u8", Some("avc1")),
    ] {
        let Seen { json, code, .. } = Viewer::of(&live.url(path), player, 20, codec).seen();
        eprintln!("{player} {codec:?}: {json}");
        assert_eq!(code, Some(0), "{player}, {codec:?}: {json:#}");
    }
}

#[test]
fn independent_validators_find_no_error_in_any_format() {
    let live = Live::start();
    validators(&live.base, "40");
}
