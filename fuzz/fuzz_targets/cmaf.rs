//! Any bytes as what an encoder publishes, to a point with pictures and sound. The first byte says in which portions, the second for which track.
//! Portions must not matter, and what comes out lies on the grid.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tandem::clock::Now;
use tandem::encode::ladder::{AudioRung, RateControl, VideoRung};
use tandem::ingest::cmaf::{Config, Output, Point};
use tandem::media::{FrameRate, Grid, RenditionId, Slot};

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

fuzz_target!(|data: &[u8]| {
    let Some((&[portion, track], body)) = data.split_first_chunk() else { return };
    let now = Now { mono: Instant::now(), utc: Duration::from_secs(1_795_269_600) };
    let track = ["v", "a", "stream0"][usize::from(track % 3)];
    let (out, refused) = fed(now, body, track, usize::from(portion) + 1);
    let whole = fed(now, body, track, body.len().max(1));
    assert_eq!((&out, refused), (&whole.0, whole.1), "portions do not matter");
    for output in &out {
        let Output::Coded(unit) = output else { continue };
        let grid = Grid::new(Duration::from_secs(1), FrameRate::new(25, 1).expect("a rate")).expect("a grid");
        let places = if unit.rendition.0 == 0 { grid.slots(unit.segment) } else { grid.audio_frames(unit.segment) };
        assert!(places.contains(&unit.position) && !unit.data.is_empty(), "{:?}", Slot(unit.position));
    }
});
