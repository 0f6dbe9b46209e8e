//! What publishing costs as the window grows: five renditions of tiny pictures, windows of a minute to a day, and what a playlist request
//! of the largest costs: of all of it, and of the second half of it, from a moment on that nobody has asked for before. Publishing is counted in the
//! processor's time: whoever else works on the host does not count.

#![allow(clippy::unwrap_used)] // a measurement that cannot be taken should stop there

mod studio;

use std::time::{Duration, Instant};

use studio::{PARTS, Studio, rss_kb};
use tandem::package::Lookup;

const DAY: u32 = 43_200;
const RENDITIONS: usize = 5;
/// Segments that are measured.
const MEASURED: u32 = 500;

fn main() {
    let mut result = String::from("RESULT");
    for segments in [30, 300, 1800, 10_800, DAY] {
        let before = rss_kb();
        let mut studio = Studio::new(RENDITIONS, segments);
        for _ in 0..u64::from(segments + 100) * PARTS {
            studio.part();
        }
        let grown = rss_kb().saturating_sub(before);
        let begin = on_cpu();
        for _ in 0..u64::from(MEASURED) * PARTS {
            studio.part();
        }
        let each = (on_cpu() - begin) / MEASURED;
        let snapshot = studio.packager.snapshot();
        let find = |path: &str, query: Option<&str>| match snapshot.ask(path, query) {
            Lookup::Found(found) => found,
            other => panic!("{path}: {other:?}"),
        };
        let begin = Instant::now();
        for _ in 0..10_000 {
            std::hint::black_box(find("v0/index.m3u8", None));
        }
        let request = begin.elapsed() / 10_000;
        let half = (studio.first + studio.parts / PARTS) * 2 - u64::from(segments);
        let parts = |path: &str| {
            let begin = Instant::now();
            for i in 0..100 {
                std::hint::black_box(find(path, Some(&format!("start={half}.{i:03}"))));
            }
            begin.elapsed() / 100
        };
        let (part, part_of_manifest) = (parts("v0/index.m3u8"), parts("manifest.mpd"));
        let playlist = find("v0/index.m3u8", None);
        let (plain, coded) = (playlist.body.len(), playlist.gzip.map_or(0, |coded| coded.len()));
        let delta = find("v0/index.m3u8", Some("_HLS_skip=YES")).body.len();
        println!(
            "{segments:6} segments: {} us a segment ({PARTS} rows, {RENDITIONS} renditions, manifests), {} ns to find a playlist, \
             {} us to make one from the middle on, {} us a manifest; playlist {plain} B, {coded} B gzip, delta {delta} B; manifest {} B; {grown} kB resident",
            each.as_micros(),
            request.as_nanos(),
            part.as_micros(),
            part_of_manifest.as_micros(),
            find("manifest.mpd", None).body.len(),
        );
        result.push_str(&format!(" publish_us_{segments}={}", each.as_micros()));
        if segments == DAY {
            result.push_str(&format!(" day_rss_kb={grown} day_delta_bytes={delta} day_part_us={}", part.as_micros()));
        }
    }
    println!("{result}");
}

/// What this thread has had of a processor.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
