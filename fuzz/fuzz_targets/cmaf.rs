//! Any bytes as what an encoder publishes, to a point with pictures and sound. The first byte says in which portions, the second for which track.
//! Portions must not matter, and what comes out lies on the grid. Then, also alone, as what another host says of its anchors: ours stay where they are.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tandem::clock::Now;
use tandem::encode::ladder::{AudioRung, RateControl, VideoRung};
use tandem::ingest::cmaf::{Config, Output, Point};
use tandem::media::{FrameRate, Grid, RenditionId, Slot, SourceTime};
use tandem::timeline::{Of, Timeline, Told};

fn point() -> Point {
    let name = |text| RenditionId::new(text).expect("a name");
    let rate = FrameRate::new(25, 1).expect("a rate");
    Point::new(Config {
        grid: Grid::new(Duration::from_secs(1), rate).expect("a grid"),
        video: vec![VideoRung::new(name("v"), 320, 180, RateControl::Cbr { bitrate: 300_000 })],
        audio: vec![AudioRung { id: name("a"), bitrate: 96_000, channels: 2, language: None }],
    })
}

/// What comes of `body`, and whether it was refused.
fn fed(now: Now, body: &[u8], track: &str, portion: usize) -> (Vec<Output>, bool) {
    let mut point = point();
    let mut object = point.begin(track);
    let refused = body.chunks(portion).any(|part| point.push(now, &mut object, part).is_err());
    let refused = refused || point.finish(&object).is_err();
    let figures = point.figures();
    assert!(figures.units >= figures.segments);
    (point.take(), refused)
}

/// What another host says, to one that has a source already.
fn heard(now: Now, told: &Told) {
    let grid = Grid::new(Duration::from_secs(1), FrameRate::new(25, 1).expect("a rate")).expect("a grid");
    let mut timeline = Timeline::new(grid);
    let begins = SourceTime::from_ticks(4_711);
    let anchor = timeline.anchor(now.channel_time(), begins, None, None).anchor();
    let place = |timeline: &Timeline| timeline.map(anchor, begins, Of::Picture);
    let before = place(&timeline);
    for elder in [false, true] {
        let _ = timeline.hear(now, told, elder);
        timeline.plan(anchor, now.after(Duration::from_secs(20)).channel_time());
        if let Some(elsewhere) = timeline.elsewhere(now, anchor, begins) {
            let to = timeline.join(elsewhere).expect("it was heard");
            timeline.plan(to, now.after(Duration::from_secs(20)).channel_time());
        }
    }
    assert_eq!(place(&timeline), before);
    timeline.recall(now, told);
    let _ = timeline.anchor(now.channel_time(), SourceTime::from_ticks(1 << 40), None, None);
    let kept = timeline.keepsake();
    assert_eq!(Told::read(&kept.write()), Some(kept));
}

fuzz_target!(|data: &[u8]| {
    let Some((&[portion, track], body)) = data.split_first_chunk() else { return };
    let now = Now { mono: Instant::now(), utc: Duration::from_secs(1_795_269_600) };
    if let Some(told) = Told::read(body) {
        assert_eq!(told.write(), body);
        heard(now, &told);
    }
    let track = ["v", "a", "stream0"][usize::from(track % 3)];
    let (out, refused) = fed(now, body, track, usize::from(portion) + 1);
    let whole = fed(now, body, track, body.len().max(1));
    assert_eq!((&out, refused), (&whole.0, whole.1), "portions do not matter");
    for output in &out {
        if let Output::Host(word) = output {
            heard(now, &word.anchors);
        }
        let Output::Coded(unit) = output else { continue };
        let grid = Grid::new(Duration::from_secs(1), FrameRate::new(25, 1).expect("a rate")).expect("a grid");
        let places = if unit.rendition.0 == 0 { grid.slots(unit.segment) } else { grid.audio_frames(unit.segment) };
        assert!(places.contains(&unit.position) && !unit.data.is_empty(), "{:?}", Slot(unit.position));
    }
});
