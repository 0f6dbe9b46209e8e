//! Segments that other packagers and encoders made, where they lie beside the project.

use std::path::PathBuf;

use super::*;
use crate::encode::ladder::VideoRung;

fn shared(path: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("TANDEM_SHARED").map_or(beside, PathBuf::from);
    Some(root.join(path)).filter(|p| p.exists())
}

/// A track's name, and its objects.
type Sent<'a> = (&'a str, &'a [&'a str]);

#[test]
fn segments_of_others_fit_their_grid() {
    let testpic: &[Sent<'_>] = &[
        ("V300", &["V300/init.mp4", "V300/1.m4s", "V300/2.m4s", "V300/3.m4s", "V300/4.m4s"]),
        ("A48", &["A48/init.mp4", "A48/1.m4s", "A48/2.m4s", "A48/3.m4s", "A48/4.m4s"]),
    ];
    let wave: &[Sent<'_>] = &[("1", &["1/init.mp4", "1/0.m4s", "1/60060.m4s", "1/120120.m4s", "1/180180.m4s"])];
    for (folder, rate, segment_ms, size, sent, pictures) in [
        ("corpus/fmp4_testpic_2s", (30, 1), 2000, (640, 360), testpic, 60),
        ("corpus/wave_1080p2997", (30_000, 1001), 2002, (1920, 1080), wave, 60),
    ] {
        let Some(folder) = shared(folder) else {
            eprintln!("skipped: {folder} is not beside the project");
            continue;
        };
        let rate = FrameRate::new(rate.0, rate.1).expect("a rate");
        let base = config();
        let rung = VideoRung { width: size.0, height: size.1, ..base.video[0].clone() };
        let audio = if sent.len() > 1 { base.audio } else { Vec::new() };
        let grid = Grid::new(Duration::from_millis(segment_ms), rate).expect("a grid");
        let mut point = Point::new(Config { grid, video: vec![rung], audio });
        let (mut out, objects) = (Vec::new(), sent[0].1.len());
        for n in 0..objects {
            let now = start().after(Duration::from_secs(2 * n as u64));
            for (track, files) in sent {
                let bytes = std::fs::read(folder.join(files[n])).expect("it is there");
                let body = [Body { track, bytes: &bytes, seconds: 0.2 }];
                out.extend(send(&mut point, now, 5, &body).unwrap_or_else(|told| panic!("{}: {told:?}", files[n])));
            }
        }
        let whole: Vec<u32> = ends(&out, 0).into_iter().map(|end| end.1).collect();
        assert_eq!(whole, vec![pictures; objects - 1], "{folder:?}");
        if sent.len() > 1 {
            let frames = places(&out, 1);
            assert!(frames.windows(2).all(|two| two[0] + 1 == two[1]), "{folder:?}: no hole and nothing twice");
            // What lies in front of the first segment's first frame is left out.
            assert!(frames.len() >= 370, "{folder:?}: {}", frames.len());
        }
        let figures = point.figures();
        assert_eq!((figures.incomplete, figures.off_grid, figures.astray), (0, 0, 0), "{folder:?}: {figures:?}");
    }
}
