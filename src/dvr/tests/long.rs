//! A day of six tracks: how long it takes to know it again, and what it takes in memory.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::harness::{Told, recover, settings};
use crate::clock;
use crate::dvr::files::{self, Name};
use crate::dvr::index::{self, BlockId, MAGIC, Piece, Whole};
use crate::dvr::{Folder, State, Track};
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
    let (mut best, mut memory) = (f64::MAX, 0);
    for _ in 0..5 {
        let began = clock::now();
        let (recovered, rest) = recover(folder.path());
        best = best.min(clock::now().since(began).as_secs_f64() * 1e3);
        assert_eq!(recovered.segments().len() as u64, segments);
        assert!(recovered.segments().all(|segment| segment.state() == State::Closed && segment.rows() == rows));
        assert!(rest.unsettled.is_empty());
        memory = recovered.memory_bytes();
    }
    println!(
        "RESULT dvr_recovery segments={segments} tracks={TRACKS} parts={rows} ms={best:.0} index_mb={:.1} memory_mb={:.1} \
         bytes_per_track_segment={:.0}",
        index_bytes as f64 / 1e6,
        memory as f64 / 1e6,
        memory as f64 / (segments * u64::from(TRACKS)) as f64,
    );
}

/// CPU seconds of this process.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("so it is written").1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    // utime and stime, in hundredths (proc(5)).
    (ticks(11) + ticks(12)) / 100.0
}

#[test]
#[ignore = "a measurement: cargo test --release --lib dvr::tests::long -- --ignored --nocapture"]
fn what_storing_costs() {
    // A ladder of 12 Mbit/s in six tracks and five parts: 3 MB in 2 s.
    const SEGMENTS: u64 = 300;
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let store = Folder::open(settings(folder.path())).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
    let part = Bytes::from(vec![7; PART as usize]);
    let (began, before) = (clock::now(), cpu());
    for number in 0..SEGMENTS {
        let row = || (0..TRACKS).map(|track| (Track(track), part.clone())).collect();
        (0..5).for_each(|part| store.part(SegmentNumber(number), part, row()));
        store.closed(SegmentNumber(number), (0..TRACKS).map(|track| (Track(track), [1; 16])).collect(), Bytes::new());
        told.stored(number);
    }
    let (took, spent) = (clock::now().since(began).as_secs_f64(), cpu() - before);
    let figures = store.figures();
    let written = (SEGMENTS * 5 * u64::from(TRACKS) * u64::from(PART)) as f64 / 1e9;
    println!(
        "RESULT dvr_store segments={} mb_s={:.0} cpu_s_gb={:.2} ms_segment={:.2} slowest_ms={:.1}",
        figures.stored,
        written * 1e3 / took,
        spent / written,
        took * 1e3 / SEGMENTS as f64,
        figures.slowest_micros as f64 / 1e3,
    );
    store.close();
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
