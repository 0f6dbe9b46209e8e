//! Sources of other rates, of varying rates and of fields on the channel's constant grid.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use tandem::encode::ipc::Deinterlace;
use tandem::media::{Break, Codec, Grid, Item, SegmentNumber};

use super::driver::{Clip, Worker, clip, grid, job, unit};
use super::{CLEAN, assert_equal, first_whole, joined_at, off_grid};

/// 320x180, each picture all of one grey that says which it is: 16 + 3 · (n mod 64).
fn counted(rate: &str, seconds: u32, more: &str) -> Clip {
    clip(
        &format!(
            "-f lavfi -i color=black:s=320x180:r={rate},geq=lum='16+3*mod(N\\,64)':cb=128:cr=128 -f lavfi -i \
             sine=f=440:r=48000 -t {seconds} -c:v libx264 -preset veryfast -qp 12 -g 24 -bf 2 -x264-params \
             aud=1:open-gop=0 {more} -c:a aac -b:a 96k"
        ),
        Codec::H264,
        Codec::AacAdts,
    )
}

/// What the pictures of a rendition's whole segments say they are.
fn numbers(worker: &Worker, rendition: u8) -> Vec<(u64, u8)> {
    let size = &worker.job.video[usize::from(rendition)];
    let mut shown = Vec::new();
    for (_, segment, _) in worker.whole(rendition) {
        let stream: Vec<u8> = segment.units.iter().flat_map(|u| u.data.to_vec()).collect();
        let raw = decode(&stream);
        let picture = (size.width * size.height * 3 / 2) as usize;
        assert_eq!(raw.len(), picture * segment.units.len());
        let first = segment.units.iter().map(|u| u.position).min().expect("not empty");
        shown.extend((first..).zip(raw.chunks(picture)).map(|(slot, picture)| {
            let luma = &picture[..(size.width * size.height) as usize];
            let mean = luma.iter().map(|&p| u64::from(p)).sum::<u64>() as f64 / luma.len() as f64;
            (slot, (((mean - 16.0) / 3.0).round() as i64).rem_euclid(64) as u8)
        }));
    }
    shown
}

fn decode(stream: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("segment.h264");
    std::fs::write(&file, stream).expect("writes");
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&file)
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"])
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg");
    assert!(out.status.success());
    out.stdout
}

fn run(grid: Grid, items: &[Item<tandem::media::ChannelTime>], start: SegmentNumber, fields: Deinterlace) -> Worker {
    let mut job = job(grid, start);
    job.deinterlace = fields;
    job.video.truncate(1);
    let mut worker = Worker::spawn(job);
    worker.feed(items);
    assert!(worker.finish().success());
    worker
}

#[test]
fn every_rate_comes_to_every_grid_by_plan_and_alike_wherever_a_worker_joins() {
    for (source, output) in [
        ("24000/1001", (30_000, 1001)),
        ("25", (50, 1)),
        ("50", (25, 1)),
        ("30000/1001", (25, 1)),
        ("60", (60_000, 1001)),
        ("24", (24_000, 1001)),
        ("15", (30, 1)),
        ("10", (25, 1)),
    ] {
        let name = format!("{source} to {output:?}");
        let grid = grid(1000, output.0, output.1);
        let (t0, clip) = (off_grid(), counted(source, 8, ""));
        let items = clip.at(t0);
        let a = run(grid, &items, first_whole(grid, t0), Deinterlace::Auto);
        let late = t0 + Duration::from_millis(1700);
        let b = run(
            grid,
            &joined_at(&items, late),
            // The next key frame is 2.4 s away at most, at ten pictures a second.
            first_whole(grid, late + Duration::from_millis(2400)),
            Deinterlace::Auto,
        );
        assert_equal(&a, &b, 1, &name);
        for rendition in 0..a.renditions() {
            assert!(a.whole(rendition).all(|(_, _, filled)| filled == CLEAN), "{name}: rate conversion is no fault");
        }
        // Each slot shows the picture nearest to it, and none is older than its distance.
        let times: BTreeMap<i64, ()> =
            items.iter().filter_map(unit).filter(|u| u.track.0 == 256).map(|u| (u.pts.ticks(), ())).collect();
        let times: Vec<i64> = times.into_keys().collect();
        let shown = numbers(&a, 0);
        assert!(shown.len() as f64 >= 4.0 * f64::from(output.0) / f64::from(output.1), "{name}: {}", shown.len());
        for (slot, number) in shown {
            let time = grid.slot_time(tandem::media::Slot(slot)).ticks();
            let half = tandem::media::ChannelTime::from_utc(grid.slot_duration()).ticks() / 2 + 1;
            let is_it =
                |n: usize| (times[n] - time <= half) && times.get(n + 1).is_none_or(|next| *next > time - half - 1);
            let candidates: Vec<usize> =
                (0..times.len()).filter(|n| (n % 64) as u8 == number && (time - times[*n]).abs() < 45_000).collect();
            // Of a faster source the first picture of the slot's own time is taken.
            let fits = candidates.iter().any(|&n| is_it(n) || (times[n] - time).abs() <= half);
            assert!(fits, "{name}: slot {slot} shows {number}, one of {candidates:?}");
        }
    }
}

#[test]
fn a_varying_rate_comes_to_a_constant_one() {
    // Every third picture is missing, and of the second half every other one.
    let grid = grid(1000, 25, 1);
    let drop = "-vf select='if(lt(t\\,4)\\,mod(n\\,3)\\,mod(n\\,2))' -fps_mode vfr";
    let (t0, clip) = (off_grid(), counted("25", 8, drop));
    let worker = run(grid, &clip.at(t0), first_whole(grid, t0), Deinterlace::Auto);
    let shown: Vec<u8> = numbers(&worker, 0).into_iter().map(|(_, number)| number).collect();
    assert!(shown.len() >= 125);
    let steps: Vec<u8> = shown.windows(2).map(|w| (w[1] + 64 - w[0]) % 64).collect();
    assert!(steps.iter().all(|step| *step <= 3), "the picture shown is the newest: {steps:?}");
    let made_up: u32 = worker.whole(0).map(|(_, _, f)| f.repeated + f.slate).sum();
    assert!(made_up <= 2, "its rate varies, which is no fault: {made_up}");
}

/// 25 frames of fields a second, each field all of one grey by its number.
fn fields(tff: bool, codec: Codec, seconds: u32) -> Clip {
    let (mode, order) = if tff { ("interleave_top", "tff") } else { ("interleave_bottom", "bff") };
    let coder = match codec {
        Codec::H264 => {
            format!(
                "-c:v libx264 -preset veryfast -qp 8 -g 24 -bf 0 -flags +ildct+ilme -top {} -x264-params aud=1",
                u8::from(tff)
            )
        }
        _ => format!("-c:v mpeg2video -q:v 2 -g 12 -bf 0 -flags +ildct+ilme -top {}", u8::from(tff)),
    };
    clip(
        &format!(
            "-f lavfi -i color=black:s=320x180:r=50,geq=lum='16+3*mod(N\\,64)':cb=128:cr=128,tinterlace=mode={mode},setfield={order} \
             -f lavfi -i sine=f=440:r=48000 -t {seconds} {coder} -c:a mp2 -b:a 96k"
        ),
        codec,
        Codec::MpegAudio,
    )
}

#[test]
fn each_field_becomes_a_picture_at_its_own_time_whichever_comes_first() {
    for (tff, codec) in
        [(true, Codec::H264), (false, Codec::H264), (true, Codec::Mpeg2Video), (false, Codec::Mpeg2Video)]
    {
        let name = format!("{codec:?}, top field first: {tff}");
        let grid = grid(1000, 50, 1);
        let (t0, clip) = (off_grid(), fields(tff, codec, 7));
        let items = clip.at(t0);
        let a = run(grid, &items, first_whole(grid, t0), Deinterlace::Auto);
        let late = t0 + Duration::from_millis(1700);
        let b =
            run(grid, &joined_at(&items, late), first_whole(grid, late + Duration::from_secs(1)), Deinterlace::Auto);
        assert_equal(&a, &b, 2, &name);
        let shown = numbers(&a, 0);
        assert!(shown.len() >= 200, "{name}: {}", shown.len());
        let steps: Vec<u8> = shown.windows(2).map(|w| (w[1].1 + 64 - w[0].1) % 64).collect();
        assert!(steps.iter().all(|step| *step == 1), "{name}: one field after the other: {steps:?}");
        assert!(a.whole(0).all(|(_, _, filled)| filled == CLEAN), "{name}");
    }
}

#[test]
fn frames_of_fields_become_one_picture_each_on_a_grid_of_as_many() {
    for (how, tff) in
        [(Deinterlace::Auto, true), (Deinterlace::Top, true), (Deinterlace::Top, false), (Deinterlace::Blend, true)]
    {
        let name = format!("{how:?}, top field first: {tff}");
        let grid = grid(1000, 25, 1);
        let (t0, clip) = (off_grid(), fields(tff, Codec::H264, 7));
        let items = clip.at(t0);
        let a = run(grid, &items, first_whole(grid, t0), how);
        let late = t0 + Duration::from_millis(1700);
        let b = run(grid, &joined_at(&items, late), first_whole(grid, late + Duration::from_secs(1)), how);
        assert_equal(&a, &b, 2, &name);
        let shown = numbers(&a, 0);
        assert!(shown.len() >= 100, "{name}: {}", shown.len());
        let steps: Vec<u8> = shown.windows(2).map(|w| (w[1].1 + 64 - w[0].1) % 64).collect();
        // A blend lies between two numbers and is read as one of them; where they wrap it lies anywhere.
        let odd = steps.iter().filter(|step| **step != 2).count();
        assert!(odd == 0 || how == Deinterlace::Blend && odd <= steps.len() / 4, "{name}: {steps:?}");
        assert!(a.whole(0).all(|(_, _, filled)| filled == CLEAN), "{name}");
    }
}

#[test]
fn fields_and_frames_may_follow_each_other() {
    let grid = grid(1000, 50, 1);
    let t0 = off_grid();
    let (interlaced, progressive) = (fields(true, Codec::H264, 3), counted("25", 3, "-ar 48000"));
    let mut items = interlaced.at(t0);
    items.extend(progressive.at(t0 + Duration::from_secs(3)));
    items.push(Item::Break(Break::Timeline));
    items.extend(interlaced.at(t0 + Duration::from_secs(6)));
    let worker = run(grid, &items, first_whole(grid, t0), Deinterlace::Bob);
    let whole: Vec<_> = worker.whole(0).collect();
    assert!(whole.len() >= 6, "{}", whole.len());
    let made_up: u32 = whole.iter().map(|(_, _, f)| f.repeated + f.slate).sum();
    assert!(made_up <= 4, "a slot or two at each seam: {made_up}");
}
