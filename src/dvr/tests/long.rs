//! A day of six tracks: how long it takes to know it again, and what it takes in memory.

use std::fs;
use std::path::Path;

use super::harness::recover;
use crate::clock;
use crate::dvr::files::{self, Name};
use crate::dvr::index::{self, BlockId, MAGIC, Piece, Whole};
use crate::dvr::{State, Track};
use crate::media::SegmentNumber;

const TRACKS: u16 = 6;
const PART: u32 = 100_000;

/// Writes what a store would have left after a day: whole indexes, media of the right length with nothing in it.
fn day(folder: &Path, segments: u64, rows: u16) {
    files::write_head(folder, 1, b"").expect("written");
    let each = PART / u32::from(rows);
    for first in (0..segments).step_by(300) {
        let block = BlockId { generation: 1, first: SegmentNumber(first), serial: 0 };
        let words = index::Writer::new(block);
        let mut bytes = MAGIC.to_vec();
        let last = (first + 300).min(segments);
        for number in first..last {
            let base = (number - first) * u64::from(each) * u64::from(rows);
            for row in 0..rows {
                let offset = base + u64::from(each) * u64::from(row);
                let pieces: Vec<Piece> = (0..TRACKS).map(|track| Piece { track, offset, len: each, crc: 1 }).collect();
                bytes.extend(words.row(bytes.len() as u64, SegmentNumber(number), row, &pieces));
            }
            let parts = vec![each; usize::from(rows)];
            let whole = |track| Whole { track, offset: base, crc: 1, tag: [track as u8; 16], parts: parts.clone() };
            let objects: Vec<Whole> = (0..TRACKS).map(whole).collect();
            bytes.extend(words.closed(bytes.len() as u64, SegmentNumber(number), rows, &[7; 40], &objects));
        }
        bytes.extend(words.synced(bytes.len() as u64, bytes.len() as u64));
        fs::write(Name::Index(block).path(folder), bytes).expect("written");
        for track in 0..TRACKS {
            let file = files::create(&Name::Media(block, Track(track)).path(folder)).expect("created");
            file.set_len((last - first) * u64::from(each) * u64::from(rows)).expect("room for nothing");
        }
    }
}

fn measure(segments: u64, rows: u16) {
    let folder = tempfile::tempdir().expect("a folder");
    day(folder.path(), segments, rows);
    let listed = files::list(folder.path()).expect("readable").into_iter();
    let index_bytes: u64 = listed.filter(|(name, _)| matches!(name, Name::Index(_))).map(|(_, len)| len).sum();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let began = clock::now();
        let (recovered, rest) = recover(folder.path());
        best = best.min(clock::now().since(began).as_secs_f64() * 1e3);
        assert_eq!(recovered.segments().len() as u64, segments);
        assert!(recovered.segments().all(|segment| segment.state() == State::Closed && segment.rows() == rows));
        assert!(rest.unsettled.is_empty());
        let (bytes, tracks) = (recovered.memory_bytes(), segments * u64::from(TRACKS));
        println!(
            "RESULT dvr_recovery segments={segments} tracks={TRACKS} parts={rows} ms={best:.0} index_mb={:.1} memory_mb={:.1} bytes_per_track_segment={:.0}",
            index_bytes as f64 / 1e6,
            bytes as f64 / 1e6,
            bytes as f64 / tracks as f64,
        );
    }
}

#[test]
fn an_hour_is_known_again() {
    measure(1800, 4);
}

#[test]
#[ignore = "a measurement: cargo test --release --lib dvr::tests::long -- --ignored --nocapture"]
fn a_day_is_known_again() {
    measure(43_200, 1);
    measure(43_200, 5);
    measure(43_200, 10);
}
