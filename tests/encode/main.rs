//! Encode processes, driven as the main process drives them.

mod audio;
mod changes;
mod decoding;
mod driver;
mod loss;
mod loudness;
mod rates;
mod rungs;
mod scaling;
mod standby;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use driver::{Clip, Worker, clip, grid, job, kind, output, read_clip, unit, usual_clip};
use tandem::clock;
use tandem::encode::ipc::{AUDIO_LEAD, Filled, Job, Showing, ToWorker};
use tandem::media::{Break, ChannelTime, Codec, Grid, Item, SegmentNumber, TrackKind};

const CLEAN: Filled = Filled { repeated: 0, slate: 0, silent_samples: 0, damaged: 0, skipped: 0 };

/// A time on no grid, an hour or so ago, so that no clock steps in and nothing lies ahead.
fn off_grid() -> ChannelTime {
    let hour_ago = clock::now().channel_time() - Duration::from_secs(3600);
    ChannelTime::from_ticks(hour_ago.ticks() / 180_000 * 180_000 + 61_033)
}

/// The first segment that a worker fed from `at` on can make like any other worker.
fn first_whole(grid: Grid, at: ChannelTime) -> SegmentNumber {
    grid.segment_at(at + AUDIO_LEAD).next()
}

/// Units from `at` on, behind the track list.
fn joined_at(items: &[Item<ChannelTime>], at: ChannelTime) -> Vec<Item<ChannelTime>> {
    items.iter().filter(|item| unit(item).is_none_or(|u| u.pts >= at)).cloned().collect()
}

/// Every segment both have is whole in both, clean, and equal.
fn assert_equal(a: &Worker, b: &Worker, at_least: usize, name: &str) {
    for rendition in 0..a.renditions() {
        let mut compared = 0;
        for (number, segment, filled) in b.whole(rendition) {
            let other = &a.segments[&(rendition, number)];
            assert_eq!(other.filled, Some(filled), "{name}: rendition {rendition} segment {number}");
            assert_eq!(other.digest(), segment.digest(), "{name}: rendition {rendition} segment {number}");
            compared += 1;
        }
        assert!(compared >= at_least, "{name}: only {compared} segments of rendition {rendition}");
    }
}

#[test]
fn two_workers_make_the_same_bytes_wherever_they_join() {
    for (name, grid) in [("25", grid(2000, 25, 1)), ("29.97", grid(2000, 30_000, 1001))] {
        let clip = match name {
            "25" => usual_clip(22),
            _ => clip(
                "-f lavfi -i testsrc2=s=640x360:r=30000/1001 -f lavfi -i sine=f=440:r=44100 -t 22 -c:v libx264 -preset \
                 veryfast -bf 3 -g 45 -x264-params open-gop=1:aud=1 -b:v 1M -c:a aac -ac 1 -b:a 96k",
                Codec::H264,
                Codec::AacAdts,
            ),
        };
        let t0 = off_grid();
        let items = clip.at(t0);
        let mut a = Worker::spawn(job(grid, first_whole(grid, t0)));
        a.feed(&items);
        assert!(a.finish().success());
        let late = t0 + Duration::from_millis(7300);
        // Two seconds to the next key frame at most.
        let mut b = Worker::spawn(job(grid, first_whole(grid, late + Duration::from_millis(1500))));
        b.feed(&joined_at(&items, late));
        assert!(b.finish().success());
        assert_equal(&a, &b, 4, name);
        for rendition in 0..a.renditions() {
            assert!(a.whole(rendition).all(|(_, _, filled)| filled == CLEAN), "{name}: rendition {rendition}");
            assert!(a.whole(rendition).count() >= 8, "{name}: rendition {rendition}");
        }
        let hello = a.hello.as_ref().expect("said first");
        assert!(hello.x264.starts_with("core "), "{hello:?}");
    }
}

#[test]
fn a_switch_to_the_same_content_leaves_no_trace_in_the_picture() {
    let grid = grid(2000, 25, 1);
    let (t0, clip) = (off_grid(), usual_clip(14));
    let items = clip.at(t0);
    let start = first_whole(grid, t0);
    let mut a = Worker::spawn(job(grid, start));
    a.feed(&items);
    assert!(a.finish().success());
    // At 6.5 s the source is lost; the next one is joined at the key frame before.
    let (lost, key) = (t0 + Duration::from_millis(6500), t0 + Duration::from_millis(5900));
    let mut b = Worker::spawn(job(grid, start));
    b.feed(items.iter().filter(|item| unit(item).is_none_or(|u| u.pts < lost)));
    b.feed(&[Item::Break(Break::SourceSwitch)]);
    b.feed(&joined_at(&items, key));
    assert!(b.finish().success());
    for rendition in 0..b.audio() {
        for (number, segment, filled) in b.whole(rendition) {
            assert_eq!(filled, CLEAN, "rendition {rendition} segment {number}");
            let equal = a.segments[&(rendition, number)].digest() == segment.digest();
            assert!(equal, "rendition {rendition} segment {number}");
        }
        assert!(b.whole(rendition).count() >= 5);
    }
    // Sound has no gap either; only the segment of the switch may differ.
    let audio = b.audio();
    let differing: Vec<u64> = b
        .whole(audio)
        .inspect(|(number, _, filled)| assert_eq!(filled.silent_samples, 0, "segment {number}"))
        .filter(|(number, segment, _)| a.segments[&(audio, *number)].digest() != segment.digest())
        .map(|(number, ..)| number)
        .collect();
    assert!(differing.len() <= 1, "{differing:?}");
}

#[test]
fn pictures_and_sound_stay_where_they_were() {
    let grid = grid(2000, 25, 1);
    let (t0, clip) = (off_grid(), usual_clip(12));
    let mut worker = Worker::spawn(job(grid, first_whole(grid, t0)));
    worker.feed(&clip.at(t0));
    assert!(worker.finish().success());
    // Sound: decode it and look for the beginnings of the beeps.
    let audio = worker.audio();
    let first = worker.whole(audio).next().expect("some").1.units[0].position;
    let adts: Vec<u8> = worker.whole(audio).flat_map(|(_, s, _)| &s.units).flat_map(|u| adts(&u.data)).collect();
    let pcm = decode("aac", &adts, &["-f", "s16le", "-ac", "1", "-ar", "48000"]);
    let samples: Vec<i16> = pcm.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    let mut onsets = Vec::new();
    let mut quiet = 0;
    for (i, sample) in samples.iter().enumerate() {
        if sample.unsigned_abs() > 1500 {
            if quiet > 20_000 {
                onsets.push(first as i64 * 1024 + i as i64);
            }
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    assert!(onsets.len() >= 7, "{} beeps", onsets.len());
    // The clip's clock starts where its first picture or sound lies; ffmpeg's picture has PTS 0 of that clock.
    let zero = clip.units.iter().filter(|u| u.key).find(|u| u.track.0 == 256).expect("a picture").pts - clip.first();
    for onset in onsets {
        let since = onset as f64 / 48_000.0 - (t0.ticks() + zero) as f64 / 90_000.0;
        let off = since - since.round();
        assert!(off.abs() < 0.003, "a beep {:.1} ms off", off * 1000.0);
    }
    // Picture: the first slot of a segment shows the frame that was due then.
    let (number, segment, _) = worker.whole(0).nth(2).expect("three segments");
    let h264: Vec<u8> = segment.units.iter().flat_map(|u| u.data.to_vec()).collect();
    let got = decode("h264", &h264, &["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray"]);
    let slot_time = grid.slot_time(grid.first_slot(SegmentNumber(number)));
    let frame = ((slot_time - t0.offset(zero)) as f64 / 3600.0).round();
    let want = |frame: f64| {
        let select = format!("testsrc2=s=640x360:r=25,select=eq(n\\,{frame})");
        output(Command::new("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", &select]).args([
            "-frames:v",
            "1",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-",
        ]))
    };
    let error = |other: &[u8]| got.iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>();
    let (before, here, after) = (error(&want(frame - 1.0)), error(&want(frame)), error(&want(frame + 1.0)));
    assert!(here < before && here < after, "frame {frame}: {before:.0} {here:.0} {after:.0}");
}

#[test]
fn without_input_the_cadence_goes_on_through_repeats_and_slate_and_back() {
    let grid = grid(1000, 25, 1);
    let clip = usual_clip(4);
    let now = clock::now().channel_time();
    let start = grid.segment_at(now).next();
    let mut live = job(grid, start);
    live.hold = Duration::from_millis(400);
    live.loss.repeat_for = Duration::from_secs(1);
    let mut worker = Worker::spawn(live);
    play(&mut worker, &clip, now);
    worker.listen_until("slate", |w| w.heartbeats.last().is_some_and(|h| h.showing == Showing::Slate));
    worker.listen_until("a segment of nothing but slate", |w| {
        w.whole(0).any(|(_, _, f)| f.slate == 25) && w.whole(w.audio()).any(|(_, _, f)| f.silent_samples >= 46 * 1024)
    });
    let back = clock::now().channel_time();
    worker.feed(&[Item::Break(Break::Reconnect)]);
    play(&mut worker, &clip, back);
    let clean_from = grid.segment_at(back).0 + 2;
    worker.listen_until("the source again, and the end of it", |w| {
        w.whole(0).any(|(n, _, f)| n >= clean_from && f == CLEAN)
            && w.whole(w.audio()).any(|(n, _, f)| n >= clean_from && f == CLEAN)
    });
    let last = worker.heartbeats.last().expect("it beats");
    assert!(last.decoded > 100 && last.rss_bytes > 1 << 20, "{last:?}");
    // Repeats last a second: from the last picture on, slate follows.
    let repeated: u32 = worker.whole(0).take_while(|(n, ..)| *n < clean_from).map(|(_, _, f)| f.repeated).sum();
    assert!((20..=30).contains(&repeated), "{repeated} repeats");
    assert!(worker.finish().success());
}

/// Feeds a clip as if it came in now: its first unit at `at`, each at its time.
fn play(worker: &mut Worker, clip: &Clip, at: ChannelTime) {
    let mut newest = at;
    for item in clip.at(at) {
        newest = newest.max(unit(&item).map_or(newest, |u| u.pts));
        while clock::now().channel_time() < newest {
            std::thread::sleep(Duration::from_millis(5));
            worker.listen();
        }
        worker.feed(&[item]);
    }
}

#[test]
fn a_worker_without_any_source_shows_slate_at_the_cadence() {
    let grid = grid(1000, 25, 1);
    let start = grid.segment_at(clock::now().channel_time());
    let mut live = job(grid, start);
    live.hold = Duration::from_millis(300);
    let began = Instant::now();
    let mut worker = Worker::spawn(live);
    worker.listen_until("four segments", |w| (0..w.renditions()).all(|r| w.whole(r).count() >= 4));
    assert!(began.elapsed() >= Duration::from_millis(3300), "ahead of the clock: {:?}", began.elapsed());
    assert!(worker.whole(0).all(|(_, _, filled)| filled.slate == 25));
    assert!(worker.whole(worker.audio()).all(|(_, _, filled)| filled.silent_samples >= 46 * 1024));
}

#[test]
fn sound_alone_is_made_alike_with_and_without_pictures() {
    let grid = grid(2000, 25, 1);
    let clip = usual_clip(10);
    let t0 = off_grid();
    let start = first_whole(grid, t0);
    let mut with = Worker::spawn(job(grid, start));
    with.feed(&clip.at(t0));
    assert!(with.finish().success());
    let mut alone = Worker::spawn(Job { video: Vec::new(), ..job(grid, start) });
    alone.feed(&clip.at(t0));
    assert!(alone.finish().success());
    let made = |worker: &Worker, rendition| -> Vec<_> {
        worker.whole(rendition).map(|(number, segment, filled)| (number, segment.digest(), filled)).collect()
    };
    assert!(made(&alone, 0).len() >= 3);
    assert_eq!(made(&alone, 0), made(&with, with.audio()));
    assert!(alone.heartbeats.iter().all(|beat| beat.decoded == 0), "no picture was decoded for nothing");
}

#[test]
fn size_shape_and_codec_may_change_in_flight() {
    let grid = grid(2000, 25, 1);
    let t0 = off_grid();
    let small = clip(
        "-f lavfi -i testsrc2=s=352x288:r=25 -f lavfi -i sine=f=440:r=44100 -t 5 -c:v mpeg2video -b:v 2M -g 12 -c:a mp2 -ac 2",
        Codec::Mpeg2Video,
        Codec::MpegAudio,
    );
    let mut worker = Worker::spawn(job(grid, first_whole(grid, t0)));
    let mut at = t0;
    for clip in [usual_clip(5), small, usual_clip(5)] {
        worker.feed(&clip.at(at));
        worker.feed(&[Item::Break(Break::SourceSwitch)]);
        at = at + Duration::from_secs(5);
    }
    assert!(worker.finish().success());
    for rendition in 0..worker.renditions() {
        let whole: Vec<_> = worker.whole(rendition).map(|(_, _, filled)| filled).collect();
        assert!(whole.len() >= 5, "rendition {rendition}: {whole:?}");
        let made_up: u32 = whole.iter().map(|f| f.repeated + f.slate).sum();
        // At each seam the first GOP of MPEG-2 may be lost, and a picture more or less.
        assert!(made_up <= 15, "rendition {rendition}: {whole:?}");
        let silent: u32 = whole.iter().map(|f| f.silent_samples).sum();
        assert!(silent < 48_000 / 5, "rendition {rendition}: {whole:?}");
    }
}

#[test]
fn every_codec_comes_out_clean_and_alike_for_a_late_worker() {
    let source = "-f lavfi -i testsrc2=s=640x360:r=25 -f lavfi -i sine=f=440:r=48000 -t 10";
    for (name, video, audio, codecs) in [
        (
            "hevc, ac3",
            Codec::Hevc,
            Codec::Ac3,
            "-c:v libx265 -preset ultrafast -x265-params keyint=25:log-level=none -c:a ac3",
        ),
        ("mpeg-2, e-ac3", Codec::Mpeg2Video, Codec::Eac3, "-c:v mpeg2video -b:v 3M -g 25 -c:a eac3"),
        (
            "h264 interlaced, mp2",
            Codec::H264,
            Codec::MpegAudio,
            "-vf interlace -c:v libx264 -preset ultrafast -flags +ildct+ilme -g 25 -c:a mp2",
        ),
        ("h264, latm", Codec::H264, Codec::AacLatm, "-c:v libx264 -preset ultrafast -g 25 -c:a aac -mpegts_flags latm"),
    ] {
        let interlaced = name.contains("interlaced");
        let source = if interlaced { source.replace("r=25 ", "r=50 ") } else { source.to_owned() };
        let grid = grid(2000, 25, 1);
        let t0 = off_grid();
        let items = clip(&format!("{source} {codecs}"), video, audio).at(t0);
        let mut a = Worker::spawn(job(grid, first_whole(grid, t0 + Duration::from_millis(1500))));
        a.feed(&items);
        assert!(a.finish().success(), "{name}");
        let late = t0 + Duration::from_millis(2300);
        let mut b = Worker::spawn(job(grid, first_whole(grid, late + Duration::from_millis(1500))));
        b.feed(&joined_at(&items, late));
        assert!(b.finish().success(), "{name}");
        assert_equal(&a, &b, 1, name);
        for rendition in 0..a.renditions() {
            let whole: Vec<_> = a.whole(rendition).map(|(_, _, filled)| filled).collect();
            assert!(whole.len() >= 3 && whole.iter().all(|f| *f == CLEAN), "{name}: rendition {rendition}: {whole:?}");
        }
    }
}

/// Transport streams as they are found in the wild, where the corpus is at hand.
#[test]
fn no_stream_of_the_corpus_brings_a_worker_down() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("TANDEM_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let Ok(folder) = std::fs::read_dir(shared.join("corpus")) else {
        eprintln!("skipped: no corpus beside the project");
        return;
    };
    let mut seen = 0;
    for file in folder.map(|entry| entry.expect("a folder").path()) {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        // Jumps and wraps are taken out by the anchor, long before this process.
        if !name.ends_with("ts") || name.contains("jump") || name.contains("rollover") {
            continue;
        }
        let codec = |stream: &str| {
            let probe = Command::new("ffprobe")
                .args([
                    "-v",
                    "error",
                    "-select_streams",
                    stream,
                    "-show_entries",
                    "stream=codec_name",
                    "-of",
                    "csv=p=0",
                ])
                .arg(&file)
                .output()
                .expect("ffprobe is installed");
            String::from_utf8_lossy(&probe.stdout).lines().next().unwrap_or_default().trim_matches(',').to_owned()
        };
        let video = match codec("v:0").as_str() {
            "h264" => Codec::H264,
            "hevc" => Codec::Hevc,
            "mpeg2video" => Codec::Mpeg2Video,
            _ => continue,
        };
        let audio = match codec("a:0").as_str() {
            "aac" => Codec::AacAdts,
            "aac_latm" => Codec::AacLatm,
            "mp2" | "mp3" => Codec::MpegAudio,
            "ac3" => Codec::Ac3,
            "eac3" => Codec::Eac3,
            _ => Codec::Other(0),
        };
        let grid = grid(1000, 25, 1);
        let t0 = off_grid();
        let items = read_clip(&file, video, audio).at(t0);
        let mut worker = Worker::spawn(job(grid, grid.segment_at(t0)));
        worker.feed(&items);
        assert!(worker.finish().success(), "{name}");
        let pictures: u64 = worker.segments.range((0, 0)..(1, 0)).map(|(_, s)| s.units.len() as u64).sum();
        let made_up: u32 = worker.whole(0).map(|(_, _, f)| f.repeated + f.slate).sum();
        let silent: u32 = worker.whole(worker.audio()).map(|(_, _, f)| f.silent_samples).sum();
        eprintln!("{name}: {pictures} pictures, {made_up} made up; {:.1} s of silence", f64::from(silent) / 48_000.0);
        assert!(pictures > 0, "{name}");
        seen += 1;
    }
    assert!(seen > 10, "{seen} streams");
}

#[test]
fn garbage_in_the_stream_is_survived() {
    let grid = grid(1000, 25, 1);
    let (t0, clip) = (off_grid(), usual_clip(8));
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let mut items = clip.at(t0);
    for item in &mut items {
        let window = 2.0..4.0;
        if let Item::Unit(unit) = item
            && window.contains(&((unit.pts - t0) as f64 / 90_000.0))
        {
            let mut bytes = unit.data.to_vec();
            for byte in bytes.iter_mut().skip(4) {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (noise >> 56) as u8;
            }
            unit.data = Bytes::from(bytes);
            unit.damaged = true;
        }
    }
    let mut worker = Worker::spawn(job(grid, first_whole(grid, t0)));
    worker.feed(&items);
    assert!(worker.finish().success());
    for rendition in 0..worker.renditions() {
        let whole: Vec<_> = worker.whole(rendition).map(|(_, _, filled)| filled).collect();
        assert!(whole.len() >= 6, "rendition {rendition}: {whole:?}");
        assert_eq!(whole.last(), Some(&CLEAN), "rendition {rendition}: {whole:?}");
        assert!(whole.iter().any(|f| *f != CLEAN), "rendition {rendition}: {whole:?}");
    }
}

#[test]
fn lost_sound_is_silence_of_its_length() {
    let grid = grid(2000, 25, 1);
    let (t0, clip) = (off_grid(), usual_clip(10));
    let (from, to) = (t0 + Duration::from_secs(5), t0 + Duration::from_secs(6));
    let items = clip.at(t0);
    let lost: Vec<_> = items
        .iter()
        .filter(|item| kind(item) != Some(TrackKind::Audio) || !unit(item).is_some_and(|u| (from..to).contains(&u.pts)))
        .cloned()
        .collect();
    assert!(lost.len() < items.len());
    let mut worker = Worker::spawn(job(grid, first_whole(grid, t0)));
    worker.feed(&lost);
    assert!(worker.finish().success());
    let silent: u32 = worker.whole(worker.audio()).map(|(_, _, filled)| filled.silent_samples).sum();
    assert!(silent.abs_diff(48_000) <= 1024, "{silent} samples");
    assert!(worker.whole(0).all(|(_, _, filled)| filled == CLEAN));
}

#[test]
fn a_worker_ends_with_its_main_process_and_refuses_nonsense() {
    let grid = grid(2000, 25, 1);
    let start = grid.segment_at(clock::now().channel_time());
    let mut orphan = Worker::spawn(job(grid, start));
    orphan.listen_until("a sign of life", |w| !w.heartbeats.is_empty());
    assert!(orphan.abandon().success());
    let mut jobless = Worker::spawn_silent(job(grid, start));
    jobless.say(&ToWorker::Finish);
    assert!(!jobless.hear_out().success());
    let mut odd = job(grid, start);
    odd.template = Some("[video]".to_owned());
    assert!(!Worker::spawn(odd).hear_out().success());
}

#[test]
fn a_worker_that_is_stopped_or_hung_does_not_beat() {
    let grid = grid(2000, 25, 1);
    let idle = |worker: &mut Worker, wait| {
        worker.listen();
        let before = worker.heartbeats.len();
        std::thread::sleep(wait);
        worker.listen();
        worker.heartbeats.len() - before
    };
    let mut worker = Worker::spawn(job(grid, grid.segment_at(clock::now().channel_time())));
    worker.listen_until("a sign of life", |w| w.heartbeats.len() >= 2);
    let signal = |name: &str, id: u32| output(Command::new("kill").args([name, &id.to_string()]));
    signal("-STOP", worker.id());
    idle(&mut worker, Duration::from_millis(300));
    assert_eq!(idle(&mut worker, Duration::from_secs(1)), 0, "stopped");
    signal("-CONT", worker.id());
    let before = worker.heartbeats.len();
    worker.listen_until("a sign of life again", |w| w.heartbeats.len() > before);

    // Chains in which one buffer takes a minute: a decoder, an encoder.
    for (name, from, to) in [
        ("decoder", "h264parse !", "h264parse ! identity sleep-time=60000000 !"),
        ("video encoder", "chain = \"x264enc", "chain = \"identity sleep-time=60000000 ! x264enc"),
        ("audio encoder", "chain = \"voaacenc", "chain = \"identity sleep-time=60000000 ! voaacenc"),
    ] {
        let t0 = off_grid();
        let mut hung = job(grid, grid.segment_at(t0));
        hung.template = Some(include_str!("../../pipelines/encode.toml").replace(from, to));
        let mut hung = Worker::spawn(hung);
        hung.listen_until("a sign of life", |w| w.heartbeats.len() >= 2);
        // Little enough for the queues, or this test would hang as well.
        let items = usual_clip(4).at(t0);
        hung.feed(
            items.iter().filter(|item| kind(item) != Some(TrackKind::Video) || name != "audio encoder").take(100),
        );
        idle(&mut hung, Duration::from_millis(1500));
        assert_eq!(idle(&mut hung, Duration::from_secs(1)), 0, "{name}");
    }
}

/// An ADTS header (ISO/IEC 13818-7 §6.2) for AAC-LC, 48 kHz, stereo, in front of a raw frame.
fn adts(raw: &[u8]) -> Vec<u8> {
    adts_of(raw, 2)
}

/// The same for another number of channels, which up to 5.1 is the channel_configuration.
fn adts_of(raw: &[u8], channels: u8) -> Vec<u8> {
    let length = raw.len() + 7;
    let third = channels << 6 | (length >> 11) as u8;
    let mut frame =
        vec![0xff, 0xf1, 0x4c | channels >> 2, third, (length >> 3) as u8, (length << 5) as u8 | 0x1f, 0xfc];
    frame.extend_from_slice(raw);
    frame
}

/// Decodes an elementary stream with ffmpeg.
fn decode(format: &str, stream: &[u8], arguments: &[&str]) -> Vec<u8> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(stream).expect("writes");
    output(Command::new("ffmpeg").args(["-v", "error", "-f", format, "-i"]).arg(file.path()).args(arguments).arg("-"))
}
