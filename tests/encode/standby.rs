//! Warm standby: a worker that keeps pictures and encodes them when it is told to makes the bytes it would have made at once.

use std::time::Duration;

use tandem::encode::ipc::{Orders, Standby, ToWorker};
use tandem::media::{ChannelTime, Item, SegmentNumber};

use super::driver::{Worker, grid, job, unit, usual_clip};
use super::{CLEAN, assert_equal, first_whole, off_grid};

fn orders(forget_below: SegmentNumber, from: Option<SegmentNumber>, until: Option<SegmentNumber>) -> ToWorker {
    ToWorker::Encode(Orders { forget_below, from, until })
}

/// Feeds what comes before the first picture of `to`, and waits until the worker has filled all slots that must be full then.
/// Returns what is left.
fn feed_until<'a>(worker: &mut Worker, items: &'a [Item<ChannelTime>], to: ChannelTime) -> &'a [Item<ChannelTime>] {
    let (now, later) =
        items.split_at(items.iter().position(|item| unit(item).is_some_and(|u| u.pts >= to)).expect("lies in it"));
    worker.feed(now);
    // B-pictures are still to come, and what a decoder keeps.
    let slot = worker.job.grid.slot_at(to).0 - 8;
    worker.listen_until("the slots are filled", |w| {
        w.heartbeats.last().and_then(|beat| beat.filled).is_some_and(|filled| filled.0 >= slot)
    });
    later
}

#[test]
fn segments_made_on_order_are_those_made_at_once() {
    let grid = grid(2000, 25, 1);
    let (t0, clip) = (off_grid(), usual_clip(16));
    let items = clip.at(t0);
    let start = first_whole(grid, t0);
    let mut a = Worker::spawn(job(grid, start));
    a.feed(&items);
    assert!(a.finish().success());

    let nth = |n: u64| SegmentNumber(start.0 + n);
    let mut job = job(grid, start);
    job.standby = Standby::StandsBy;
    let mut b = Worker::spawn(job);
    // Two segments and more wait in pictures of the decoder's pool.
    let pause = grid.segment_start(nth(2)) + Duration::from_millis(700);
    let rest = feed_until(&mut b, &items, pause);
    let beat = b.heartbeats.last().expect("heard");
    assert!(beat.held > 100 && beat.forgotten == 0, "{beat:?}");
    assert_eq!(beat.held_bytes, u64::from(beat.held) * 640 * 360 * 3 / 2, "each its own pixels");
    assert!(b.segments.keys().all(|(rendition, _)| *rendition == b.audio()), "no picture is encoded unasked");
    b.say(&orders(nth(1), None, None));
    b.say(&orders(nth(1), Some(nth(1)), Some(nth(4))));
    let rest = feed_until(&mut b, rest, grid.segment_start(nth(5)));
    b.listen_until("what was ordered", |w| (0..w.audio()).all(|r| w.whole(r).count() == 3));
    assert!(b.segments.keys().all(|(r, n)| *r == b.audio() || (1..4).contains(&(n - start.0))), "and nothing else");
    // It stands by again, and is called again.
    b.say(&orders(nth(5), Some(nth(5)), None));
    b.feed(rest);
    assert!(b.finish().success());
    assert_equal(&a, &b, 4, "on order");
    for rendition in 0..b.audio() {
        let made: Vec<u64> = b.whole(rendition).map(|(n, ..)| n - start.0).collect();
        assert!(made.starts_with(&[1, 2, 3, 5]), "rendition {rendition}: {made:?}");
        assert!(b.whole(rendition).all(|(_, _, filled)| filled == CLEAN));
    }
}

#[test]
fn a_standby_that_is_never_told_to_forget_keeps_three_segments_and_goes_on() {
    let grid = grid(1000, 25, 1);
    let (t0, clip) = (off_grid(), usual_clip(12));
    let items = clip.at(t0);
    let mut job = job(grid, first_whole(grid, t0));
    job.standby = Standby::StandsBy;
    let start = job.start;
    let mut worker = Worker::spawn(job);
    feed_until(&mut worker, &items, grid.segment_start(SegmentNumber(start.0 + 8)));
    let beat = worker.heartbeats.last().expect("heard").clone();
    assert!(beat.held <= 3 * 26 && beat.forgotten >= 4, "{beat:?}");
    // What it still has it makes whole.
    worker.say(&orders(start, Some(start), None));
    assert!(worker.finish().success());
    let first = worker.whole(0).next().expect("something").0 - start.0;
    assert_eq!(first, beat.forgotten);
}
