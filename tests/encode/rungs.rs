//! Each kind of video rung: that its bytes depend on its pictures alone, and that they are what was asked for.

use std::time::Duration;

use tandem::encode::ipc::{CodedUnit, Job, ToWorker};
use tandem::encode::ladder::{RateControl, VideoEncoder, VideoFormat, VideoRung};
use tandem::media::{ChannelTime, Codec, Grid, Item, RenditionId, SegmentNumber};

use super::driver::{Clip, Segment, Worker, clip, decode_pictures, grid, job};
use super::{assert_equal, first_whole, joined_at, off_grid};

const CRF: RateControl = RateControl::CappedCrf { crf: 23.0, max_bitrate: 800_000 };

fn rung(name: &str, rate: RateControl) -> VideoRung {
    let id = RenditionId::new(name).expect("a name");
    VideoRung { preset: "superfast".to_owned(), ..VideoRung::new(id, 384, 216, rate) }
}

/// Half of it easy, half of it noise, so that rate control has something to do; no sound.
fn moving_clip(seconds: u32, rate: &str) -> Clip {
    clip(
        &format!(
            "-f lavfi -i testsrc2=s=384x216:r={rate},noise=alls=60:allf=t:enable=gt(mod(t\\,5)\\,2) -t {seconds} -c:v libx264 -preset \
             superfast -bf 2 -g 30 -sc_threshold 0 -x264-params open-gop=0:aud=1 -crf 20"
        ),
        Codec::H264,
        Codec::AacAdts,
    )
}

fn silent_job(grid: Grid, at: ChannelTime, video: &[VideoRung]) -> Job {
    Job { video: video.to_vec(), audio: Vec::new(), ..job(grid, first_whole(grid, at)) }
}

/// One worker from the beginning; one whose heap is filled with something else, from 7.3 s on.
fn assert_joins_are_equal(
    name: &str,
    grid: Grid,
    items: &[Item<ChannelTime>],
    t0: ChannelTime,
    video: &[VideoRung],
) -> Worker {
    let mut whole = Worker::spawn(silent_job(grid, t0, video));
    whole.feed(items);
    assert!(whole.finish().success(), "{name}");
    let late = t0 + Duration::from_millis(7300);
    // The next key frame of the source is 1.2 s away at most.
    let job = silent_job(grid, late + Duration::from_millis(700), video);
    let mut joined = Worker::spawn_in(job.clone(), &[("MALLOC_PERTURB_", "85")]);
    joined.say(&ToWorker::Job(Box::new(job)));
    joined.feed(&joined_at(items, late));
    assert!(joined.finish().success(), "{name}");
    assert_equal(&whole, &joined, 1, name);
    whole
}

fn stream(segment: &Segment) -> Vec<u8> {
    segment.units.iter().flat_map(|unit| unit.data.iter().copied()).collect()
}

fn bits(segment: &Segment) -> usize {
    segment.units.iter().map(|unit| unit.data.len() * 8).sum()
}

/// The kinds that must all hold, at one rate.
fn kinds() -> Vec<VideoRung> {
    let x265 = |rung: VideoRung| VideoRung { encoder: VideoEncoder::X265, profile: "main".to_owned(), ..rung };
    let aom = |rung: VideoRung| VideoRung {
        encoder: VideoEncoder::Aom,
        profile: "main".to_owned(),
        preset: "ultrafast".to_owned(),
        ..rung
    };
    let cbr = RateControl::Cbr { bitrate: 500_000 };
    let vbr = RateControl::Vbr { bitrate: 400_000, max_bitrate: 800_000 };
    vec![
        rung("crf", CRF),
        rung("cbr", cbr),
        rung("vbr", vbr),
        VideoRung { zero_latency: true, ..rung("at-once", CRF) },
        VideoRung { gops: 2, chains: 2, ..rung("two-chains", CRF) },
        VideoRung { width: 426, height: 240, bframes: 3, ..rung("odd-width", CRF) },
        x265(rung("x265", CRF)),
        x265(VideoRung { zero_latency: true, gops: 3, ..rung("x265-at-once", cbr) }),
        x265(VideoRung { bframes: 3, ..rung("x265-vbr", vbr) }),
        aom(rung("aom", CRF)),
        aom(VideoRung { gops: 2, chains: 2, ..rung("aom-cbr", cbr) }),
    ]
}

#[test]
fn every_kind_of_rung_makes_the_same_bytes_wherever_it_joins() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let items = moving_clip(14, "25").at(t0);
    let video = kinds();
    let worker = assert_joins_are_equal("all kinds", grid, &items, t0, &video);
    let hello = worker.hello.as_ref().expect("said first");
    for (index, rung) in video.iter().enumerate() {
        let name = rung.id.as_str();
        let mut segments = 0;
        for (number, segment, _) in worker.whole(index as u8) {
            segments += 1;
            let begins = grid.slots(SegmentNumber(number)).start;
            let late = |(i, unit): (usize, &CodedUnit)| (begins + i as u64).saturating_sub(unit.position);
            let reorder = segment.units.iter().enumerate().map(late).max().expect("has units");
            assert!(reorder <= u64::from(rung.reorder()), "{name}: reorders by {reorder}");
            // Two seconds of the cap; of a constant rate a quarter more (see `encode::template`). Rate control is a forecast.
            let cap = rung.rate.max_bitrate() as usize * 2;
            let bound = if matches!(rung.rate, RateControl::Cbr { .. }) { cap * 5 / 4 } else { cap };
            // libaom only aims at its rate: noise at its worst quality costs more than that.
            let holds = rung.encoder != VideoEncoder::Aom;
            assert!(!holds || bits(segment) <= bound * 105 / 100, "{name}: {} bits in a segment", bits(segment));
            check_syntax(rung, segment);
        }
        assert!(segments >= 5, "{name}: {segments}");
        let newest = worker.whole(index as u8).last().expect("some").1;
        let pictures = decode_pictures(rung.encoder.format(), &stream(newest), rung.width, rung.height);
        assert_eq!(pictures, 50, "{name}");
        let encoder = &hello.encoders[index];
        assert_eq!(encoder.rung, name);
        assert!(!encoder.build.is_empty(), "{encoder:?}");
    }
}

#[test]
fn pictures_are_reordered_as_far_as_is_said_and_no_further() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let clip = clip(
        "-f lavfi -i testsrc2=s=384x216:r=25 -t 6 -c:v libx264 -preset superfast -g 25 -x264-params aud=1 -crf 20",
        Codec::H264,
        Codec::AacAdts,
    );
    let x265 = |bframes| VideoRung { encoder: VideoEncoder::X265, bframes, ..rung(&format!("x265-{bframes}"), CRF) };
    let mut video: Vec<_> = (0..=3).map(|n| VideoRung { bframes: n, ..rung(&format!("x264-{n}"), CRF) }).collect();
    video.extend((0..=3).map(x265));
    let mut worker = Worker::spawn(silent_job(grid, t0, &video));
    worker.feed(&clip.at(t0));
    assert!(worker.finish().success());
    for (index, rung) in video.iter().enumerate() {
        let late = worker.whole(index as u8).flat_map(|(number, segment, _)| {
            let begins = grid.slots(SegmentNumber(number)).start;
            segment.units.iter().enumerate().map(move |(i, unit)| (begins + i as u64).saturating_sub(unit.position))
        });
        let (deepest, said) = (late.max().expect("has units"), u64::from(rung.reorder()));
        // x264 says 2 in its SPS for two B-frames, and needs 1.
        let spare = u64::from(rung.bframes == 2 && rung.encoder == VideoEncoder::X264);
        assert!(deepest <= said && said <= deepest + spare, "{}: {deepest}, said {said}", rung.id);
    }
}

/// Parameter sets in front of each key, IDR pictures only, one access unit a unit.
fn check_syntax(rung: &VideoRung, segment: &Segment) {
    for unit in &segment.units {
        let kinds: Vec<u8> = match rung.encoder.format() {
            VideoFormat::H264 => nals(&unit.data).map(|nal| nal[0] & 31).collect(),
            VideoFormat::Hevc => nals(&unit.data).map(|nal| nal[0] >> 1 & 63).collect(),
            VideoFormat::Av1 => obus(&unit.data),
        };
        let count = |kind: u8| kinds.iter().filter(|k| **k == kind).count();
        let name = rung.id.as_str();
        let key = usize::from(unit.key);
        match rung.encoder.format() {
            // ITU-T H.264 table 7-1: 5 IDR, 7 SPS, 8 PPS.
            VideoFormat::H264 => assert_eq!([count(5), count(7), count(8)], [key; 3], "{name}: {kinds:?}"),
            // ITU-T H.265 table 7-1: 19, 20 IDR, 21 CRA, 32 to 34 VPS, SPS, PPS.
            VideoFormat::Hevc => {
                let sets = [count(19) + count(20), count(32), count(33), count(34), count(21)];
                assert_eq!(sets, [key, key, key, key, 0], "{name}: {kinds:?}");
            }
            // AV1 §6.2.2: 1 sequence header, 2 temporal delimiter, 6 frame.
            VideoFormat::Av1 => assert_eq!([count(1), count(2), count(6)], [key, 1, 1], "{name}: {kinds:?}"),
        }
    }
}

fn nals(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = data.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(i, _)| i + 3).collect();
    starts.into_iter().map(|start| &data[start..])
}

/// Types of the OBUs of a temporal unit, each of which says its size (AV1 §5.3).
fn obus(mut data: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let Some(header) = data.first() {
        assert_eq!(header & 2, 2, "an OBU without a size");
        types.push(header >> 3 & 15);
        let (mut size, mut at) = (0, 1 + usize::from(header >> 2 & 1));
        for shift in 0.. {
            let byte = data[at];
            at += 1;
            size |= usize::from(byte & 127) << (7 * shift);
            if byte < 128 {
                break;
            }
        }
        data = &data[at + size..];
    }
    types
}

#[test]
fn capped_quality_is_repeatable_at_fractional_and_high_rates() {
    for (name, num, den) in [("29.97", 30_000, 1001), ("59.94", 60_000, 1001)] {
        let (grid, t0) = (grid(2000, num, den), off_grid());
        let items = moving_clip(12, &format!("{num}/{den}")).at(t0);
        let video = [rung("crf", CRF), VideoRung { gops: 3, chains: 2, ..rung("gops", CRF) }];
        assert_joins_are_equal(name, grid, &items, t0, &video);
    }
}

#[test]
fn bytes_do_not_depend_on_how_many_chains_are_at_work() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let items = moving_clip(10, "25").at(t0);
    let mut first: Option<Worker> = None;
    for chains in [1, 2, 3] {
        let video = [4, 3, 1].map(|gops| VideoRung { gops, chains, ..rung(&format!("gops{gops}"), CRF) });
        let mut worker = Worker::spawn(silent_job(grid, t0, &video));
        worker.feed(&items);
        assert!(worker.finish().success(), "{chains} chains");
        match &first {
            None => first = Some(worker),
            Some(one) => assert_equal(one, &worker, 4, &format!("{chains} chains")),
        }
    }
}

#[test]
fn x264_was_told_what_the_ladder_says() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let items = moving_clip(4, "25").at(t0);
    let vbr = RateControl::Vbr { bitrate: 400_000, max_bitrate: 800_000 };
    let cases = [
        (
            rung("crf", CRF),
            &["rc=crf ", "crf=23.0 ", "vbv_maxrate=600 ", "vbv_bufsize=444 ", "bframes=2 ", "mbtree=1 "][..],
        ),
        (
            rung("cbr", RateControl::Cbr { bitrate: 500_000 }),
            &["rc=cbr ", "bitrate=500 ", "vbv_maxrate=500 ", "vbv_bufsize=250 "],
        ),
        // 400 kb/s more than the mean for 2 s, above nine tenths.
        (rung("vbr", vbr), &["bitrate=400 ", "vbv_maxrate=400 ", "vbv_bufsize=888 "]),
        (VideoRung { gops: 2, ..rung("vbr2", vbr) }, &["bitrate=400 ", "vbv_bufsize=444 "]),
        (
            VideoRung { zero_latency: true, ..rung("at-once", CRF) },
            &["bframes=0 ", "rc_lookahead=0 ", "mbtree=0 ", "sliced_threads=0 "],
        ),
    ];
    // A preset that has macroblock trees.
    let video = cases.iter().map(|(rung, _)| VideoRung { preset: "veryfast".to_owned(), ..rung.clone() });
    let video: Vec<VideoRung> = video.collect();
    let mut worker = Worker::spawn(silent_job(grid, t0, &video));
    worker.feed(&items);
    assert!(worker.finish().success());
    for (index, (rung, options)) in cases.iter().enumerate() {
        let (_, segment, _) = worker.whole(index as u8).next().expect("a segment");
        let text = String::from_utf8_lossy(&segment.units[0].data).into_owned();
        for option in options.iter().chain(&["threads=1 ", "scenecut=0 ", "nal_hrd=none "]) {
            assert!(
                text.contains(option),
                "{}: {option} in {:?}",
                rung.id,
                text.get(text.find("options").unwrap_or(0)..)
            );
        }
    }
}

#[test]
fn without_latency_each_picture_leaves_before_the_next_one_enters() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let clip = clip(
        "-f lavfi -i testsrc2=s=384x216:r=25 -t 4 -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -x264-params sliced-threads=0:aud=1",
        Codec::H264,
        Codec::AacAdts,
    );
    let at_once = VideoRung { zero_latency: true, ..rung("x264", CRF) };
    let x265 = VideoRung { encoder: VideoEncoder::X265, ..at_once.clone() };
    let aom = VideoRung { encoder: VideoEncoder::Aom, ..at_once.clone() };
    let mut worker = Worker::spawn(silent_job(grid, t0, &[at_once, x265, aom]));
    let items = clip.at(t0);
    let start = grid.segment_start(worker.job.start);
    // In the middle of a segment the input stops. Decoders may keep the last picture until the next unit.
    let stop = start + Duration::from_millis(800);
    worker.feed(items.iter().filter(|item| super::unit(item).is_none_or(|u| u.pts < stop)));
    let fed = grid.slot_at(stop).0 - grid.slots(worker.job.start).start;
    worker.listen_until("all but the decoder's last pictures are out", |w| {
        (0..3).all(|r| w.segments.get(&(r, w.job.start.0)).is_some_and(|s| s.units.len() as u64 + 2 >= fed))
    });
}

#[test]
fn an_encoder_that_is_not_here_is_named() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let forced = VideoRung { encoder: VideoEncoder::SvtAv1, ..rung("av1", CRF) };
    if std::process::Command::new("gst-inspect-1.0").args(["--exists", "svtav1enc"]).status().is_ok_and(|s| s.success())
    {
        eprintln!("this host has SVT-AV1: nothing is missing");
        return;
    }
    let mut worker = Worker::spawn(silent_job(grid, t0, &[forced]));
    assert!(!worker.hear_out().success());
    assert!(worker.hello.is_none());
}

#[test]
fn auto_falls_back_to_what_is_here() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let auto = VideoRung { encoder: VideoEncoder::Auto, bframes: 0, ..rung("auto", CRF) };
    let mut worker = Worker::spawn(silent_job(grid, t0, &[auto]));
    worker.feed(&moving_clip(4, "25").at(t0));
    assert!(worker.finish().success());
    let hello = worker.hello.as_ref().expect("said first");
    let hardware =
        ["/dev/dri", "/dev/nvidia0", "/dev/video10", "/dev/video11"].iter().any(|p| std::path::Path::new(p).exists());
    assert!(hardware || hello.encoders[0].element == "x264enc", "{hello:?}");
    assert!(worker.whole(0).count() >= 1);
}

#[test]
fn a_worker_that_was_killed_goes_on_with_the_same_bytes() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let items = moving_clip(11, "25").at(t0);
    let mut video = kinds();
    video.retain(|rung| ["crf", "two-chains", "x265", "aom"].contains(&rung.id.as_str()));
    let mut whole = Worker::spawn(silent_job(grid, t0, &video));
    whole.feed(&items);
    assert!(whole.finish().success());
    let killed_at = t0 + Duration::from_millis(5500);
    let mut killed = Worker::spawn(silent_job(grid, t0, &video));
    killed.feed(items.iter().filter(|item| super::unit(item).is_none_or(|u| u.pts < killed_at)));
    killed.listen_until("a first segment of each", |w| (0..w.renditions()).all(|r| w.whole(r).next().is_some()));
    killed.kill();
    let mut restarted = Worker::spawn(silent_job(grid, killed_at + Duration::from_millis(700), &video));
    restarted.feed(&joined_at(&items, killed_at));
    assert!(restarted.finish().success());
    assert_equal(&whole, &killed, 1, "before");
    assert_equal(&whole, &restarted, 1, "after");
}

#[test]
fn a_chain_that_hangs_on_its_own_thread_stops_the_heartbeat() {
    let (grid, t0) = (grid(2000, 25, 1), off_grid());
    let hangs = "chain = \"identity sleep-time=60000000 ! x264enc";
    let mut job = silent_job(grid, t0, &[VideoRung { chains: 2, ..rung("v", CRF) }]);
    job.template = Some(include_str!("../../pipelines/encode.toml").replace("chain = \"x264enc", hangs));
    let mut worker = Worker::spawn(job);
    worker.listen_until("a sign of life", |w| w.heartbeats.len() >= 2);
    // Little enough for the queues: the threads in front of the chain go on.
    worker.feed(moving_clip(3, "25").at(t0).iter().take(60));
    std::thread::sleep(Duration::from_millis(1500));
    worker.listen();
    let before = worker.heartbeats.len();
    std::thread::sleep(Duration::from_secs(1));
    worker.listen();
    assert_eq!(worker.heartbeats.len(), before, "it beats on");
}
