//! What parsers and decoders that share no code with us make of what we write.

use std::path::Path;
use std::process::Command;

use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::tag::KnownTag;
use quick_m3u8::{HlsLine, Reader};

use super::*;
use crate::wire::codec::annexb::nal_units;
use crate::wire::codec::av1::{kind, obus};

/// Everything a player would fetch, in a folder: what `paths` lists, under those names.
fn spill(snapshot: &Snapshot, to: &Path) {
    for path in snapshot.paths() {
        let file = to.join(&path);
        std::fs::create_dir_all(file.parent().expect("has a parent")).expect("folder");
        std::fs::write(file, found(snapshot, &path).body.bytes()).expect("file");
    }
}

fn media_lines(playlist: &str) -> (String, Vec<String>) {
    let init = playlist.split("EXT-X-MAP:URI=\"").nth(1).and_then(|t| t.split('"').next()).expect("EXT-X-MAP");
    let segments = playlist.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(str::to_owned).collect();
    (init.to_owned(), segments)
}

/// Header and all listed segments of a rendition in one piece.
fn joined(snapshot: &Snapshot, rendition: &str) -> Vec<u8> {
    let (init, segments) = media_lines(&text(snapshot, &format!("{rendition}/index.m3u8")));
    let fetch = |name: &String| found(snapshot, &format!("{rendition}/{name}")).body.bytes();
    std::iter::once(&init).chain(&segments).flat_map(fetch).collect()
}

fn published(config: Config, segments: u64) -> Packager {
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[PipelineId::A]);
    for i in 0..segments {
        let now = t0.after(Duration::from_secs(2 * (i + 1)));
        deliver_all(&mut p, now, PipelineId::A, FIRST + i);
        p.poll(now);
    }
    p
}

#[test]
fn re_mp4_reads_the_times_we_wrote() {
    let p = published(config(), 3);
    let snapshot = p.snapshot();
    for (rendition, r, scale, ticks) in
        [("v360", 0, 25_000, 1000u64), ("v180", 1, 25_000, 1000), ("a1", 2, 48_000, 1024)]
    {
        let file = joined(&snapshot, rendition);
        let mp4 = re_mp4::Mp4::read_bytes(&file).expect("re_mp4 reads it");
        let track = mp4.tracks().values().next().expect("one track");
        assert_eq!((mp4.tracks().len(), track.timescale), (1, scale), "{rendition}");
        let wanted: Vec<CodedUnit> = (0..3).flat_map(|i| units(p.config(), r, FIRST + i, 0)).collect();
        assert_eq!(track.samples.len(), wanted.len(), "{rendition}");
        let first = wanted.iter().map(|u| u.position).min().expect("units");
        for (i, (sample, unit)) in track.samples.iter().zip(&wanted).enumerate() {
            assert_eq!(sample.decode_timestamp, ((first + i as u64) * ticks) as i64, "{rendition} sample {i}");
            // re_mp4 leaves the edit list to its user.
            let edit =
                track.trak(&mp4).edts.as_ref().and_then(|e| e.elst.as_ref()).map_or(0, |e| e.entries[0].media_time);
            let shown = sample.composition_timestamp - edit as i64;
            assert_eq!(shown, (unit.position * ticks) as i64, "{rendition} sample {i}");
            assert_eq!((sample.duration, sample.is_sync), (ticks, unit.key), "{rendition} sample {i}");
            let body = &file[sample.byte_range()];
            match rendition {
                "a1" => assert_eq!(body, &unit.data[..], "{rendition} sample {i}"),
                _ => {
                    let slice = nal_units(&unit.data).last().expect("a slice");
                    assert_eq!(body[..4], (slice.len() as u32).to_be_bytes(), "{rendition} sample {i}");
                    assert_eq!(&body[4..], slice, "{rendition} sample {i}");
                }
            }
        }
    }
}

#[test]
fn quick_m3u8_reads_every_playlist() {
    let p = published(config_of_everything(), 9);
    let snapshot = p.snapshot();
    let mut seen = 0;
    for path in snapshot.paths().iter().filter(|p| p.ends_with(".m3u8")) {
        let playlist = text(&snapshot, path);
        let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
        let mut reader = Reader::from_str(&playlist, options);
        let (mut tags, mut uris) = (0, 0);
        while let Some(line) = reader.read_line().unwrap_or_else(|e| panic!("{path}: {e:?}")) {
            match line {
                HlsLine::KnownTag(KnownTag::Hls(_)) => tags += 1,
                HlsLine::Uri(_) => uris += 1,
                HlsLine::Blank => {}
                other => panic!("{path}: {other:?}"),
            }
        }
        // Four rungs with two groups of sound each.
        let expected_uris = if path == "index.m3u8" { 8 } else { 6 };
        assert_eq!(uris, expected_uris, "{path}");
        assert!(tags > uris, "{path}: {tags} tags");
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn the_manifest_is_valid_to_mpegs_schema() {
    let Some(xsd) = shared("validators/xsd/DASH-MPD.xsd") else {
        eprintln!("skipped: DASH-MPD.xsd is not beside the project");
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("manifest.mpd");
    let sound_alone = Config { video: Vec::new(), ..config() };
    for config in [config(), config_of_everything(), sound_alone] {
        std::fs::write(&file, text(&published(config, 9).snapshot(), "manifest.mpd")).expect("file");
        let judge = Command::new("xmllint").args(["--nonet", "--noout", "--schema"]).arg(&xsd).arg(&file).output();
        match judge {
            Ok(out) => assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr)),
            Err(e) => eprintln!("skipped: xmllint does not run: {e}"),
        }
    }
}

pub(super) fn ffmpeg(args: &[&str]) -> Option<Vec<u8>> {
    let out = match Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-y"]).args(args).output() {
        Ok(out) => out,
        Err(e) => {
            eprintln!("skipped: ffmpeg does not run: {e}");
            return None;
        }
    };
    assert!(out.status.success(), "ffmpeg {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    assert!(out.stderr.is_empty(), "ffmpeg {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    Some(out.stdout)
}

/// Access units of a byte stream with delimiters, each of which begins one.
pub(super) fn access_units(format: VideoFormat, stream: &[u8]) -> Vec<Bytes> {
    if format == VideoFormat::Av1 {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for obu in obus(stream).map(|obu| obu.expect("a whole unit")) {
            if obu.kind == kind::TEMPORAL_DELIMITER {
                units.push(Vec::new());
            }
            units.last_mut().expect("the stream begins with a delimiter").extend_from_slice(obu.whole);
        }
        return units.into_iter().map(Bytes::from).collect();
    }
    let mut units: Vec<Vec<&[u8]>> = Vec::new();
    for nal in nal_units(stream) {
        let delimiter = if format == VideoFormat::Hevc { nal[0] >> 1 & 0x3f == 35 } else { nal[0] & 0x1f == 9 };
        if delimiter {
            units.push(Vec::new());
        }
        units.last_mut().expect("the stream begins with a delimiter").push(nal);
    }
    units.iter().map(|nals| annexb(nals)).collect()
}

/// Raw AAC frames of an ADTS stream (ISO/IEC 13818-7 §6.2).
pub(super) fn adts_frames(mut stream: &[u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while let Some(&[_, protection, _, a, b, c, _]) = stream.first_chunk::<7>() {
        let len = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c) >> 5;
        let head = if protection & 1 == 1 { 7 } else { 9 };
        frames.push(Bytes::copy_from_slice(&stream[head..len]));
        stream = &stream[len..];
    }
    frames
}

/// How ffmpeg makes 8 s of a test picture in key frames 2 s apart, and the bitstream filter that gives a byte stream with
/// delimiters.
const X264: [&str; 2] = ["-x264-params", "keyint=50:min-keyint=50:scenecut=0:bframes=2:b-pyramid=none:open-gop=0"];
const X265: [&str; 2] =
    ["-x265-params", "log-level=none:keyint=50:min-keyint=50:scenecut=0:bframes=2:open-gop=0:pools=1:frame-threads=1"];
const SVT_AV1: [&str; 2] = ["-g", "50"];

#[test]
fn ffmpeg_decodes_the_h264_that_was_encoded() {
    let filter = "h264_mp4toannexb,h264_metadata=aud=insert";
    ffmpeg_decodes(VideoEncoder::X264, &["-c:v", "libx264", "-preset", "veryfast"], X264, filter, "h264");
}

#[test]
fn ffmpeg_decodes_the_hevc_that_was_encoded() {
    let filter = "hevc_mp4toannexb,hevc_metadata=aud=insert";
    ffmpeg_decodes(VideoEncoder::X265, &["-c:v", "libx265", "-preset", "ultrafast"], X265, filter, "hevc");
}

#[test]
fn ffmpeg_decodes_the_av1_that_was_encoded() {
    let filter = "av1_metadata=td=insert";
    ffmpeg_decodes(VideoEncoder::SvtAv1, &["-c:v", "libsvtav1", "-preset", "12"], SVT_AV1, filter, "obu");
}

/// Real pictures and AAC through the packager: ffmpeg decodes the same pictures and sound from our segments as from the
/// encoder's own output.
fn ffmpeg_decodes(encoder: VideoEncoder, by: &[&str], settings: [&str; 2], filter: &str, muxer: &str) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (stream, adts) = (path("source.stream"), path("source.aac"));
    let picture = "testsrc2=size=640x360:rate=25:duration=8";
    let source = ["-f", "lavfi", "-i", picture];
    // The container keeps what a bare stream does not: when each picture is shown.
    let timed = path("source.mp4");
    let encode = [&source[..], by, &settings, &["-pix_fmt", "yuv420p", "-threads", "1", &timed]].concat();
    let Ok(out) = Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-y"]).args(&encode).output() else {
        eprintln!("skipped: ffmpeg does not run");
        return;
    };
    // SVT-AV1 talks whatever it is told.
    assert!(out.status.success(), "ffmpeg {encode:?}: {}", String::from_utf8_lossy(&out.stderr));
    ffmpeg(&["-i", &timed, "-c", "copy", "-bsf:v", filter, "-f", muxer, &stream]);
    let sound = "sine=frequency=440:sample_rate=48000:duration=8";
    ffmpeg(&["-f", "lavfi", "-i", sound, "-ac", "2", "-c:a", "aac", "-b:a", "128k", "-f", "adts", &adts]);

    let mut config = config();
    config.video.truncate(1);
    config.video[0].encoder = encoder;
    let format = encoder.format();
    let t0 = start_of(&config, FIRST);
    let mut p = up(config.clone(), t0, &[PipelineId::A]);
    let pictures = access_units(format, &std::fs::read(&stream).expect("encoded"));
    let frames = adts_frames(&std::fs::read(&adts).expect("encoded"));
    assert_eq!(pictures.len(), 200);
    let order = presentation_order(&timed);
    let reordered = order.windows(2).any(|w| w[1] < w[0]);
    assert_eq!(reordered, format != VideoFormat::Av1, "whether the source has pictures out of order");
    let mut used_frames = 0;
    for i in 0..4u64 {
        let n = SegmentNumber(FIRST + i);
        let now = t0.after(Duration::from_secs(2 * (i + 1)));
        let first = config.grid.first_slot(n).0;
        for j in 0..50 {
            let at = i as usize * 50 + j;
            let place = order[at] - i * 50;
            let key = j == 0;
            let data = pictures[at].clone();
            let unit = CodedUnit {
                rendition: RenditionIndex(0),
                segment: n,
                position: first + place,
                key,
                material: Material::Source,
                data,
            };
            p.coded(now, PipelineId::A, unit);
        }
        for position in config.grid.audio_frames(n) {
            let data = frames[used_frames].clone();
            used_frames += 1;
            let unit = CodedUnit {
                rendition: RenditionIndex(1),
                segment: n,
                position,
                key: true,
                material: Material::Source,
                data,
            };
            p.coded(now, PipelineId::A, unit);
        }
        for r in [0, 1] {
            p.segment_end(now, PipelineId::A, end(&config, r, n.0, Filled::default()));
        }
        let events = p.poll(now);
        assert!(events.iter().any(|e| matches!(e, PackageEvent::Published { .. })), "{events:?}");
    }

    spill(&p.snapshot(), folder.path());
    let (ours_video, ours_audio) = (path("ours-video.mp4"), path("ours-audio.mp4"));
    std::fs::write(&ours_video, joined(&p.snapshot(), "v360")).expect("file");
    std::fs::write(&ours_audio, joined(&p.snapshot(), "a1")).expect("file");
    let md5 = |file: &str, kind: &str| {
        let map = format!("0:{kind}");
        let args = ["-err_detect", "explode", "-i", file, "-map", &map, "-vsync", "passthrough", "-f", "md5", "-"];
        ffmpeg(&args).map(|out| String::from_utf8_lossy(&out).into_owned())
    };
    assert_eq!(md5(&ours_video, "v"), md5(&timed, "v"), "pictures");
    let first = config.grid.first_slot(SegmentNumber(FIRST)).0 as i64;
    let shown: Vec<i64> = (first..first + 200).map(|slot| slot * 1000).collect();
    assert_eq!(probe(&ours_video, "frame=pts"), shown, "every decoded picture sits in its slot");
    // The source has a frame or two more than four segments take.
    let cut = path("cut.aac");
    let whole = std::fs::read(&adts).expect("encoded");
    let len: usize = frames[..used_frames].iter().map(|f| f.len() + 7).sum();
    std::fs::write(&cut, &whole[..len]).expect("file");
    assert_eq!(md5(&ours_audio, "a"), md5(&cut, "a"), "sound");

    // And through the playlist, as a player would; it is given an end, or ffmpeg would wait for more.
    let through = |rendition: &str| {
        let playlist = path(&format!("{rendition}/index.m3u8"));
        let ended = text(&p.snapshot(), &format!("{rendition}/index.m3u8")) + "#EXT-X-ENDLIST\n";
        std::fs::write(&playlist, ended).expect("file");
        playlist
    };
    assert_eq!(md5(&through("v360"), "v"), md5(&timed, "v"), "through HLS");

    // The trick-play track shows every fiftieth picture, on its slot.
    if format != VideoFormat::H264 {
        return assert!(matches!(p.snapshot().lookup("trick/index.m3u8"), Lookup::Unknown));
    }
    let ours_trick = path("ours-trick.mp4");
    std::fs::write(&ours_trick, joined(&p.snapshot(), "trick")).expect("file");
    let keys: Vec<i64> = shown.iter().copied().step_by(50).collect();
    assert_eq!(probe(&ours_trick, "frame=pts"), keys);
    let select = ["-i", &timed, "-vf", "select=not(mod(n\\,50))", "-vsync", "passthrough", "-f", "md5", "-"];
    let wanted = ffmpeg(&select).map(|out| String::from_utf8_lossy(&out).into_owned());
    assert_eq!(md5(&ours_trick, "v"), wanted, "each is a key frame of the source");
    assert_eq!(md5(&through("trick"), "v"), wanted, "through HLS");
}

/// For each packet in decode order, its place in presentation order.
pub(super) fn presentation_order(file: &str) -> Vec<u64> {
    let pts = probe(file, "packet=pts");
    let mut sorted = pts.clone();
    sorted.sort_unstable();
    pts.iter().map(|p| sorted.binary_search(p).expect("it is there") as u64).collect()
}

pub(super) fn probe(file: &str, entry: &str) -> Vec<i64> {
    let args = ["-v", "error", "-select_streams", "v", "-show_entries", entry, "-of", "csv=p=0", file];
    let out = Command::new("ffprobe").args(args).output().expect("ffprobe comes with ffmpeg");
    let number = |l: &str| l.trim_end_matches(',').parse().expect("a number");
    String::from_utf8_lossy(&out.stdout).lines().filter(|l| !l.is_empty()).map(number).collect()
}
