//! Records written, read, cut, broken and moved.

use super::*;

const BLOCK: BlockId = BlockId { generation: 3, first: SegmentNumber(900), serial: 0 };

fn sample() -> (Vec<u8>, Vec<usize>) {
    let writer = Writer::new(BLOCK);
    let piece = |track, offset, len| Piece { track, offset, len, crc: 7 };
    let whole = |track: u16| Whole {
        track,
        offset: 40,
        crc: 9,
        tag: [track as u8; 16],
        parts: vec![3, if track == 5 { 0 } else { 4 }],
    };
    let mut bytes = MAGIC.to_vec();
    let mut starts = Vec::new();
    for n in 0..7 {
        let at = bytes.len() as u64;
        starts.push(bytes.len());
        bytes.extend(match n {
            0 => writer.note(at, b"anchors"),
            1 => writer.row(at, SegmentNumber(900), 0, &[piece(0, 0, 3), piece(5, 0, 3)]),
            2 => writer.row(at, SegmentNumber(900), 1, &[piece(0, 3, 4)]),
            3 => writer.closed(at, SegmentNumber(900), 2, b"note", &[whole(0), whole(5)]),
            4 => writer.synced(at, at),
            5 => writer.gap(at, SegmentNumber(901), b""),
            _ => writer.note(at, b""),
        });
    }
    (bytes, starts)
}

fn places(bytes: &[u8]) -> Vec<usize> {
    Scan::new(BLOCK, bytes).map(|(at, _)| at as usize).collect()
}

#[test]
fn records_are_read_as_they_were_written() {
    let (bytes, starts) = sample();
    let records: Vec<Record<'_>> = Scan::new(BLOCK, &bytes).map(|(_, record)| record).collect();
    assert_eq!(places(&bytes), starts);
    assert!(matches!(records[0], Record::Note(b"anchors")));
    let Record::Row(row) = records[1] else { panic!("{:?}", records[1]) };
    assert_eq!((row.number, row.part), (SegmentNumber(900), 0));
    let pieces: Vec<Piece> = row.pieces().collect();
    assert_eq!(pieces[1], Piece { track: 5, offset: 0, len: 3, crc: 7 });
    let Record::Closed(closed) = records[3] else { panic!("{:?}", records[3]) };
    assert_eq!((closed.number, closed.rows, closed.note, closed.tracks()), (SegmentNumber(900), 2, &b"note"[..], 2));
    let mut objects = Vec::new();
    closed.objects(|o| objects.push((o.track, o.offset, o.crc, o.tag, o.parts().collect::<Vec<_>>())));
    assert_eq!(objects, [(0, 40, 9, [0; 16], vec![3, 4]), (5, 40, 9, [5; 16], vec![3, 0])]);
    assert!(matches!(records[4], Record::Synced { upto } if upto == starts[4] as u64));
    assert!(matches!(records[5], Record::Gap { number: SegmentNumber(901), note: b"" }));
}

#[test]
fn a_cut_anywhere_leaves_the_records_before_it() {
    let (bytes, starts) = sample();
    for cut in 0..bytes.len() {
        let want: Vec<usize> = starts
            .iter()
            .zip(starts[1..].iter().chain([&bytes.len()]))
            .filter(|(_, end)| **end <= cut)
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(places(&bytes[..cut]), want, "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_costs_one_record() {
    let (bytes, starts) = sample();
    for bit in 0..bytes.len() * 8 {
        let mut broken = bytes.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        let hit = starts.iter().rposition(|start| *start <= bit / 8);
        let want: Vec<usize> = (0..starts.len()).filter(|n| Some(*n) != hit).map(|n| starts[n]).collect();
        let mut scan = Scan::new(BLOCK, &broken);
        let found: Vec<usize> = scan.by_ref().map(|(at, _)| at as usize).collect();
        assert_eq!(found, want, "bit {bit}");
        assert_eq!(scan.skipped() > 0, bit / 8 < *starts.last().expect("some"), "bit {bit}: told of, unless the tail");
    }
}

#[test]
fn a_record_counts_only_where_it_was_written() {
    let (bytes, starts) = sample();
    let other = [
        ("another window", BlockId { generation: 4, ..BLOCK }),
        ("another block", BlockId { first: SegmentNumber(901), ..BLOCK }),
        ("another life", BlockId { serial: 1, ..BLOCK }),
    ];
    for (name, block) in other {
        assert_eq!(Scan::new(block, &bytes).count(), 0, "{name}");
    }
    // A note that holds an index is a note.
    let writer = Writer::new(BLOCK);
    let mut nested = MAGIC.to_vec();
    nested.extend(writer.note(8, &bytes));
    assert_eq!(places(&nested), [8]);
    // Its head broken, what is inside does not come to life.
    nested[9] ^= 1;
    assert_eq!(places(&nested), [0; 0]);
    // Shifted by a byte, nothing counts.
    let shifted = [&MAGIC[..], &[0], &bytes[starts[0]..]].concat();
    assert_eq!(places(&shifted), [0; 0]);
}

#[test]
fn what_a_later_version_says_is_passed_over() {
    let writer = Writer::new(BLOCK);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(writer.record(8, 77, 3, |to| to.extend(b"new")));
    let at = bytes.len();
    bytes.extend(writer.note(at as u64, b"old"));
    let mut scan = Scan::new(BLOCK, &bytes);
    assert!(matches!(scan.next(), Some((_, Record::Note(b"old")))));
    assert!(scan.next().is_none());
    assert_eq!((scan.skipped(), scan.end()), (0, bytes.len()));
}

#[test]
fn heads_that_promise_much_are_not_believed_for_ever() {
    // Each head is good, and each payload is broken and as long as it may be.
    let mut bytes = MAGIC.to_vec();
    while bytes.len() < 1 << 20 {
        let at = bytes.len();
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&MARKER);
        head[8..12].copy_from_slice(&(PAYLOAD_MAX as u32).to_be_bytes());
        let check = head_crc(BLOCK, at as u64, &head[..16]);
        head[16..].copy_from_slice(&check.to_be_bytes());
        bytes.extend(head);
    }
    bytes.resize(3 << 20, 1);
    let mut scan = Scan::new(BLOCK, &bytes);
    assert!(scan.next().is_none());
    assert_eq!(scan.patience, 0, "it gave up: 50,000 checks of a megabyte each would take minutes");
}
