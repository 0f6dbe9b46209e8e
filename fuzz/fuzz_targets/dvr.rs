//! Any bytes as the index of a block; and an index of good records with any values, of which some bytes are broken then.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem::dvr::index::{BlockId, MAGIC, PARTS_MAX, Piece, Scan, Whole, Writer};
use tandem::dvr::{Recovered, State, Track};
use tandem::media::SegmentNumber;

const BLOCK: BlockId = BlockId { generation: 1, first: SegmentNumber(0), serial: 0 };
const FILE: u64 = 300;

fuzz_target!(|data: &[u8]| {
    check(data);
    let mut bytes = data.iter().copied();
    let Some(index) = written(&mut || bytes.next()) else { return };
    check(&index);
    let mut broken = index;
    while let (Some(high), Some(low), Some(mask)) = (bytes.next(), bytes.next(), bytes.next()) {
        let at = usize::from(u16::from_be_bytes([high, low])) % broken.len();
        broken[at] ^= mask;
    }
    check(&broken);
});

/// An index whose records are good and say what `next` likes.
fn written(next: &mut impl FnMut() -> Option<u8>) -> Option<Vec<u8>> {
    let words = Writer::new(BLOCK);
    let mut index = MAGIC.to_vec();
    for _ in 0..next()? % 32 {
        let at = index.len() as u64;
        let (kind, number) = (next()?, SegmentNumber(u64::from(next()? % 16)));
        let count = next()? % 4;
        let record = match kind % 5 {
            0 => {
                let part = u16::from(next()? % 4);
                let piece =
                    |_| Some(Piece { track: track(next)?, offset: value(next)?, len: value(next)? as u32, crc: 0 });
                words.row(at, number, part, &(0..count).map(piece).collect::<Option<Vec<_>>>()?)
            }
            1 => {
                let rows = u16::from(next()? % 4);
                let whole = |_| {
                    let (track, offset) = (track(next)?, value(next)?);
                    let parts = (0..rows).map(|_| Some(value(next)? as u32)).collect::<Option<_>>()?;
                    Some(Whole { track, offset, crc: 0, tag: [7; 16], parts })
                };
                words.closed(at, number, rows, b"note", &(0..count).map(whole).collect::<Option<Vec<_>>>()?)
            }
            2 => words.gap(at, number, b"gap"),
            3 => words.note(at, &[count; 3]),
            _ => words.synced(at, value(next)?),
        };
        index.extend(record);
    }
    Some(index)
}

fn track(next: &mut impl FnMut() -> Option<u8>) -> Option<u16> {
    Some(u16::from(next()? % 4))
}

/// Mostly small, sometimes at the edge of its type.
fn value(next: &mut impl FnMut() -> Option<u8>) -> Option<u64> {
    Some(match next()? {
        255 => u64::MAX,
        254 => u64::from(u32::MAX),
        small => u64::from(small),
    })
}

fn check(index: &[u8]) {
    let mut scan = Scan::new(BLOCK, index);
    let records = scan.by_ref().count();
    assert!(scan.end() <= index.len() && scan.skipped() <= scan.end() && records <= index.len() / 20);
    // Track 3 has no file.
    let found = Recovered::of_index(BLOCK, index, &[(Track(0), FILE), (Track(1), FILE), (Track(2), FILE)]);
    assert!(found.memory_bytes() <= 1024 + 4 * index.len());
    let mut before = None;
    for segment in found.segments() {
        assert!(before < Some(segment.number()), "numbers rise");
        before = Some(segment.number());
        assert!(usize::from(segment.rows()) <= PARTS_MAX);
        for object in segment.objects() {
            assert!(segment.state() != State::Gap && object.parts.len() == usize::from(segment.rows()));
            assert!(
                object.track < Track(3) && object.place.offset() + object.place.len() <= FILE,
                "inside of its file"
            );
        }
    }
}
