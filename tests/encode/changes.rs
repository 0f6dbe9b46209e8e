//! What a source changes while it runs: size, rate, codec, tracks, layout of its sound. The output goes on, and stays as it is.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tandem::demux::{self, Demux};
use tandem::media::{ChannelTime, Codec, Item, SourceTime, TrackId, TrackSet, Unit};

use super::driver::{Clip, Worker, clip, grid, job, unit};
use super::{assert_equal, first_whole, joined_at, off_grid};

/// Four seconds of a source that is like this.
fn part(size: &str, rate: &str, video: &str, sound: &str, codecs: (Codec, Codec)) -> Clip {
    clip(
        &format!(
            "-f lavfi -i testsrc2=s={size}:r={rate} -f lavfi -i sine=f=440:r=48000 -t 4 {video} -g 25 -b:v 1M {sound}"
        ),
        codecs.0,
        codecs.1,
    )
}

/// The same with other PIDs.
fn renumbered(mut clip: Clip, by: u16) -> Clip {
    let mut tracks = (*clip.tracks).clone();
    tracks.tracks.iter_mut().for_each(|t| t.id = TrackId(t.id.0 + by));
    clip.tracks = Arc::new(tracks);
    clip.units.iter_mut().for_each(|u| u.track = TrackId(u.track.0 + by));
    clip
}

const X264: &str = "-c:v libx264 -preset veryfast -bf 2";
const X265: &str = "-c:v libx265 -preset ultrafast -x265-params log-level=none";
const MPEG2: &str = "-c:v mpeg2video -bf 2";
const AAC: &str = "-c:a aac -b:a 96k";

#[test]
fn whatever_changes_in_the_source_the_output_stays_as_it_is() {
    use Codec::{AacAdts, Ac3, H264, Hevc, Mpeg2Video, MpegAudio};
    let parts = [
        part("640x360", "25", X264, AAC, (H264, AacAdts)),
        part("320x180", "25", X264, AAC, (H264, AacAdts)),
        part("640x360", "50", X264, "-ac 1 -c:a aac", (H264, AacAdts)),
        part("640x360", "25", X265, AAC, (Hevc, AacAdts)),
        part("720x576", "25", MPEG2, "-c:a mp2 -b:a 128k", (Mpeg2Video, MpegAudio)),
        part("640x360", "30000/1001", X264, "-ac 6 -c:a ac3", (H264, Ac3)),
        renumbered(part("640x360", "25", X264, AAC, (H264, AacAdts)), 500),
    ];
    let grid = grid(1000, 25, 1);
    let t0 = off_grid();
    let mut items = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        items.extend(part.at(t0 + Duration::from_secs(4 * n as u64)));
    }
    let start = first_whole(grid, t0);
    let mut a = Worker::spawn(job(grid, start));
    a.feed(&items);
    assert!(a.finish().success());
    // Every segment is there, whole, and begins with its key frame: the driver has looked at each.
    let segments = (4 * parts.len() - 2) as u64;
    for rendition in 0..a.renditions() {
        let whole: Vec<_> = a.whole(rendition).collect();
        assert!(whole.len() as u64 >= segments, "rendition {rendition}: {} of {segments}", whole.len());
        let (repeated, slate, silent) =
            whole.iter().fold((0, 0, 0), |(r, s, q), (_, _, f)| (r + f.repeated, s + f.slate, q + f.silent_samples));
        // At a change a decoder ends and another begins: a picture and a tenth of a second of sound each at most.
        let changes = parts.len() as u32 - 1;
        assert_eq!(slate, 0, "rendition {rendition}");
        assert!(repeated <= 2 * changes, "rendition {rendition}: {repeated} repeated");
        assert!(silent <= 7200 * changes, "rendition {rendition}: {silent} samples of silence");
    }
    // Who joins in between makes the same of it.
    let late = t0 + Duration::from_millis(8000);
    let mut b = Worker::spawn(job(grid, first_whole(grid, late)));
    let from: Vec<_> = std::iter::once(Item::Tracks(Arc::clone(&parts[2].tracks)))
        .chain(items.iter().skip_while(|i| unit(i).is_none_or(|u| u.pts < late)).cloned())
        .collect();
    b.feed(&joined_at(&from, late));
    assert!(b.finish().success());
    assert_equal(&a, &b, 10, "joined in between");
}

#[test]
fn a_decoder_that_gets_rubbish_for_seconds_stops_nothing() {
    let grid = grid(1000, 25, 1);
    let t0 = off_grid();
    let job = job(grid, first_whole(grid, t0));
    let clip = part("640x360", "25", X264, AAC, (Codec::H264, Codec::AacAdts));
    let mut items = clip.at(t0);
    // The map says HEVC, the bytes are none.
    let mut lies = TrackSet::clone(&clip.tracks);
    lies.tracks[0].codec = Codec::Hevc;
    items.push(Item::Tracks(Arc::new(lies)));
    let rubbish = clip.at(t0 + Duration::from_secs(4));
    items.extend(rubbish.into_iter().filter(|i| unit(i).is_some()));
    items.extend(clip.at(t0 + Duration::from_secs(8)));
    let mut worker = Worker::spawn(job);
    worker.feed(&items);
    assert!(worker.finish().success());
    let whole: Vec<_> = worker.whole(0).map(|(_, _, filled)| filled).collect();
    assert!(whole.len() >= 10, "{} segments", whole.len());
    let made_up: u32 = whole.iter().map(|f| f.repeated + f.slate).sum();
    assert!((90..=130).contains(&made_up), "what was rubbish is made up, and no more: {made_up}");
}

/// A stream with a jump in it, as it comes out of the demultiplexer and the channel's timeline at the pace of its own clock.
fn placed(file: &[u8], t0: ChannelTime) -> Vec<Item<ChannelTime>> {
    let mut demux = Demux::new(demux::Config::default());
    let mut items = Vec::new();
    demux.push(file);
    demux.flush();
    let mut offset = None;
    let mut jumped: Vec<(TrackId, i64)> = Vec::new();
    while let Some(item) = demux.pop() {
        match item {
            Item::Tracks(tracks) => items.push(Item::Tracks(tracks)),
            Item::Unit(unit) => {
                let step = demux.step(unit.track).map_or(0, |step| step.by);
                let by = match jumped.iter_mut().find(|(id, _)| *id == unit.track) {
                    Some((_, by)) => by,
                    None => {
                        jumped.push((unit.track, 0));
                        &mut jumped.last_mut().expect("just pushed").1
                    }
                };
                *by += if step.abs() > 22_500 { step } else { 0 };
                let at: SourceTime = unit.pts.offset(-*by);
                let offset = *offset.get_or_insert(t0.ticks() - at.ticks());
                let there: Unit<ChannelTime> = unit.at(ChannelTime::from_ticks(at.ticks() + offset));
                items.push(Item::Unit(there));
            }
            _ => {}
        }
    }
    items
}

#[test]
fn jumps_that_the_anchor_takes_up_leave_no_trace_in_the_pictures() {
    let folder = tempfile::tempdir().expect("a folder");
    let ts = |name: &str| -> PathBuf { folder.path().join(name) };
    // Two halves of one encode, cut at a key frame; the second one's clock is elsewhere.
    let made = Command::new("ffmpeg")
        .args(
            "-v error -y -f lavfi -i testsrc2=s=640x360:r=25 -f lavfi -i sine=f=440:r=48000 -t 12 -c:v libx264"
                .split(' '),
        )
        .args(
            "-preset veryfast -bf 2 -g 25 -sc_threshold 0 -x264-params open-gop=0:aud=1 -c:a mp2 -f mpegts".split(' '),
        )
        .arg(ts("whole.ts"))
        .status()
        .expect("ffmpeg");
    assert!(made.success());
    let cut = |from: &str, to: &str, offset: &str, out: &str| {
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-ss", from, "-t", to, "-i"])
            .arg(ts("whole.ts"))
            .args(["-c", "copy", "-output_ts_offset", offset, "-f", "mpegts"])
            .arg(ts(out))
            .status();
        assert!(status.expect("ffmpeg").success());
        std::fs::read(ts(out)).expect("written")
    };
    let grid = grid(1000, 25, 1);
    for offset in ["3600", "0.4", "2", "95000"] {
        let t0 = off_grid();
        let mut bytes = cut("0", "6", "10000", "first.ts");
        let there = (10_006.0 + offset.parse::<f64>().expect("a number")).to_string();
        bytes.extend(cut("6", "6", &there, "second.ts"));
        let items = placed(&bytes, t0);
        let mut worker = Worker::spawn(job(grid, first_whole(grid, t0)));
        worker.feed(&items);
        assert!(worker.finish().success());
        let whole: Vec<_> = worker.whole(0).map(|(_, _, filled)| filled).collect();
        assert!(whole.len() >= 9, "{offset}: {} segments", whole.len());
        let repeated: u32 = whole.iter().map(|f| f.repeated + f.slate).sum();
        // What the cut itself costs: ffmpeg begins a part up to some pictures late or early.
        assert!(repeated <= 4, "{offset}: {repeated} repeated");
    }
}
