//! What is shown when nothing comes, slot by slot, in what comes out of the decoder.
//!
//! The clock steps in nowhere here: a source that comes back after a hole makes the worker fill it, by the grid alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tandem::encode::ipc::{Filled, Slate};
use tandem::media::{Break, ChannelTime, Grid, Item, SegmentNumber, Slot};

use crate::driver::{Clip, Worker, grid, job, output, unit, usual_clip};
use crate::{CLEAN, decode, first_whole, off_grid};

const W: usize = 640;
const H: usize = 360;

/// The clip, a hole without anything, the clip again.
fn with_hole(clip: &Clip, at: ChannelTime, back: ChannelTime) -> Vec<Item<ChannelTime>> {
    [clip.at(at), vec![Item::Break(Break::Reconnect)], clip.at(back)].concat()
}

/// Times of the pictures.
fn pictures(items: &[Item<ChannelTime>]) -> impl Iterator<Item = ChannelTime> {
    items.iter().filter_map(unit).filter(|u| u.track.0 == 256).map(|u| u.pts)
}

/// Luma of each slot of the top rendition's whole segments, in order, with the first slot.
fn decoded(worker: &Worker) -> (Slot, Vec<Vec<u8>>) {
    let h264: Vec<u8> = worker.whole(0).flat_map(|(_, s, _)| &s.units).flat_map(|u| u.data.to_vec()).collect();
    let raw = decode("h264", &h264, &["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray"]);
    let slots: usize = worker.whole(0).map(|(_, s, _)| s.units.len()).sum();
    assert_eq!(raw.len(), slots * W * H, "as many pictures as units");
    let first = worker.whole(0).next().expect("some").0;
    (worker.job.grid.first_slot(SegmentNumber(first)), raw.chunks(W * H).map(<[u8]>::to_vec).collect())
}

/// Mean luma of the upper part, where no text is.
fn level(picture: &[u8]) -> f64 {
    let part = &picture[..W * H / 4];
    part.iter().map(|v| f64::from(*v)).sum::<f64>() / part.len() as f64
}

fn difference(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

fn ffmpeg(arguments: &str, file: &Path) {
    output(Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments.split_whitespace()).arg(file));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Picture,
    Repeat,
    Black,
    Slate,
}

#[test]
fn thirty_seconds_without_input_are_repeats_then_black_then_slate_to_the_frame() {
    let grid = grid(1000, 25, 1);
    let (clip, at) = (usual_clip(4), off_grid());
    // Not a whole number of slots later.
    let back = at.offset(34 * 90_000 + 1234);
    let mut live = job(grid, first_whole(grid, at));
    live.loss.repeat_for = Duration::from_millis(1200);
    live.loss.black_for = Duration::from_millis(800);
    let items = with_hole(&clip, at, back);
    let mut worker = Worker::spawn(live);
    worker.feed(&items);
    assert!(worker.finish().success());

    let last = grid.slot_at(pictures(&items).filter(|t| *t < back).max().expect("some"));
    let again = grid.slot_at(pictures(&items).filter(|t| *t >= back).min().expect("some"));
    assert!(again.0 - last.0 > 29 * 25, "a hole of {} slots", again.0 - last.0 - 1);
    let (first, pictures) = decoded(&worker);
    let mut before: Option<&Vec<u8>> = None;
    for (slot, picture) in (first.0..).zip(&pictures) {
        let is_like = before.is_some_and(|before| difference(before, picture) < 1.0);
        let shown = match level(picture) {
            level if level < 18.0 => Shown::Black,
            level if level < 45.0 => Shown::Slate,
            _ if is_like => Shown::Repeat,
            _ => Shown::Picture,
        };
        let want = match slot {
            slot if slot <= last.0 || slot >= again.0 => Shown::Picture,
            slot if slot <= last.0 + 30 => Shown::Repeat,
            slot if slot <= last.0 + 50 => Shown::Black,
            _ => Shown::Slate,
        };
        assert_eq!(shown, want, "slot {slot}; the last picture is in {last}, the next in {again}");
        before = Some(picture);
    }
    // The figures that go with it, and silence in the sound.
    let sum = |of: fn(&Filled) -> u32| worker.whole(0).map(|(_, _, f)| of(&f)).sum::<u32>();
    assert_eq!(sum(|f| f.repeated), 30);
    assert_eq!(u64::from(sum(|f| f.slate)), again.0 - last.0 - 1 - 30);
    let in_hole =
        |n: u64| grid.first_slot(SegmentNumber(n)).0 > last.0 + 25 && grid.slots(SegmentNumber(n)).end < again.0 - 25;
    for (number, segment, filled) in worker.whole(worker.audio()).filter(|(n, ..)| in_hole(*n)) {
        assert_eq!(filled.silent_samples as usize, 1024 * segment.units.len(), "segment {number}");
    }
    assert!(worker.whole(0).last().is_some_and(|(_, _, f)| f == CLEAN), "the source again");
}

/// Two workers through the same hole, the second one begun inside of it; the first one's pictures from where it is slate.
fn slate_of_two(file: PathBuf, text: &str, grid: Grid) -> (Slot, Vec<Vec<u8>>) {
    let (clip, at) = (usual_clip(3), off_grid());
    let back = at.offset(9 * 90_000 + 777);
    let items = with_hole(&clip, at, back);
    let mut live = job(grid, first_whole(grid, at));
    live.loss.repeat_for = Duration::from_millis(200);
    live.loss.slate = Slate { text: text.to_owned(), picture: Some(file) };
    let mut a = Worker::spawn(live.clone());
    a.feed(&items);
    live.start = SegmentNumber(live.start.0 + 4);
    let mut b = Worker::spawn(live);
    b.feed(&clip.at(back));
    assert!(a.finish().success() && b.finish().success());
    assert_eq!((&a.slate_failed, &b.slate_failed), (&vec![], &vec![]));
    let mut compared = 0;
    for (number, segment, filled) in b.whole(0) {
        assert_eq!(segment.digest(), a.segments[&(0, number)].digest(), "segment {number}: {filled:?}");
        compared += 1;
    }
    assert!(compared >= 6, "{compared} segments");
    let (first, pictures) = decoded(&b);
    let until = (grid.slot_at(back).0 - first.0) as usize;
    (first, pictures[..until].to_vec())
}

#[test]
fn a_clip_is_looped_by_the_grid_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    // The clip's rate, its pictures, the grid's rate, how many slots it lasts.
    for (name, rate, count, out, slots) in [
        ("as it is", "25", 12, (25, 1), 12),
        ("slower", "10", 10, (25, 1), 25),
        ("of NTSC", "30000/1001", 11, (30_000, 1001), 11),
    ] {
        let file = folder.path().join("clip.mp4");
        // Picture n has luma 40 + 15 n; B-frames and several key frames, so that a start in the middle has to be sought.
        ffmpeg(
            &format!(
                "-f lavfi -i color=gray:s={W}x{H}:r={rate},format=gray,geq=lum=40+15*N -frames:v {count} -c:v libx264 \
                 -pix_fmt yuv420p -bf 2 -g 4 -qp 10"
            ),
            &file,
        );
        let grid = grid(1000, out.0, out.1);
        let (first, pictures) = slate_of_two(file, "Zurück in Kürze", grid);
        assert!(pictures.len() > 2 * slots, "{name}: more than two rounds");
        for (slot, picture) in (first.0..).zip(&pictures) {
            let place = slot % slots as u64;
            let clip_rate = rate.split_once('/').map_or_else(|| rate.parse().expect("a number"), |_| 30_000.0 / 1001.0);
            // The last picture whose own slot is not behind this one.
            let shown =
                (0..count).rev().find(|n| (f64::from(*n) / clip_rate * grid.rate().as_f64()).round() as u64 <= place);
            let want = 40.0 + 15.0 * f64::from(shown.expect("the first is at 0"));
            let got = level(picture);
            assert!((got - want).abs() < 4.0, "{name}: slot {slot}, place {place}: {got:.1}, not {want:.1}");
        }
        // The text is there, in the lower part.
        let bright = pictures[0][W * H * 3 / 5..].iter().filter(|v| **v > 200).count();
        assert!(bright > 500, "{name}: {bright} bright pixels");
    }
}

#[test]
fn an_image_keeps_its_shape_and_carries_the_text() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, codec) in [("slate.png", "png"), ("slate.jpg", "mjpeg -q:v 2")] {
        let file = folder.path().join(name);
        ffmpeg(
            &format!(
                "-f lavfi -i color=0x808080:s=360x360 -frames:v 1 -c:v {codec} -pix_fmt {}",
                if codec == "png" { "rgb24" } else { "yuvj420p" }
            ),
            &file,
        );
        let (_, pictures) = slate_of_two(file, "", grid(1000, 25, 1));
        for picture in [&pictures[0], &pictures[pictures.len() - 1]] {
            let row = &picture[W * (H / 2)..][..W];
            // Square in the middle, between bars.
            assert!(row[..130].iter().all(|v| *v < 24), "{name}: {:?}", &row[..150]);
            // GStreamer's conversion from full range is 2 too bright.
            assert!(row[150..490].iter().all(|v| v.abs_diff(127) < 6), "{name}: {:?}", &row[140..160]);
        }
    }
}

#[test]
fn a_slate_that_cannot_be_shown_is_told_and_ours_stands_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let grid = grid(1000, 25, 1);
    let clip = usual_clip(2);
    let broken = folder.path().join("broken.png");
    std::fs::write(&broken, b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR and then nothing").expect("written");
    let cut = folder.path().join("cut.mp4");
    ffmpeg(&format!("-f lavfi -i testsrc2=s={W}x{H}:r=25 -t 4 -c:v libx264"), &cut);
    let whole = std::fs::read(&cut).expect("read");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    for file in [broken, cut, folder.path().join("gone.png")] {
        let at = off_grid();
        let mut live = job(grid, first_whole(grid, at));
        live.loss.repeat_for = Duration::ZERO;
        live.loss.slate.picture = Some(file.clone());
        let mut worker = Worker::spawn(live);
        worker.feed(&with_hole(&clip, at, at.offset(6 * 90_000)));
        assert!(worker.finish().success(), "{file:?}");
        assert_eq!(worker.slate_failed.len(), 1, "{file:?}: {:?}", worker.slate_failed);
        let (_, pictures) = decoded(&worker);
        let own = pictures.iter().filter(|p| (18.0..45.0).contains(&level(p))).count();
        assert!(own > 80, "{file:?}: {own} of {} pictures", pictures.len());
    }
}

#[test]
fn thumbnails_come_each_two_seconds_whatever_is_shown() {
    let grid = grid(1000, 25, 1);
    let (clip, at) = (usual_clip(6), off_grid());
    let mut worker = Worker::spawn(job(grid, first_whole(grid, at)));
    let items = with_hole(&clip, at, at.offset(20 * 90_000));
    // Faster than real time some are left out, on purpose: here each is waited for.
    for item in &items {
        worker.feed([item]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(worker.finish().success());
    let slots: Vec<u64> = worker.thumbnails.iter().map(|t| t.slot.0).collect();
    assert!(slots.len() >= 4 && slots.is_sorted(), "{slots:?}");
    assert!(slots.iter().all(|slot| slot % 50 == 0), "the first slot of each two seconds: {slots:?}");
    for thumbnail in &worker.thumbnails {
        let raw = decode("mjpeg", &thumbnail.jpeg, &["-f", "rawvideo", "-pix_fmt", "gray"]);
        assert_eq!(raw.len(), 320 * 180, "slot {}", thumbnail.slot);
    }
}
