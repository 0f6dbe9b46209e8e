//! What comes out, read by the readers of [`crate::wire::ts`]; what others make of it is told beside the packager.

use proptest::prelude::*;

use super::testing::{arrivals, holds, packets, pes};
use super::*;
use crate::media::HZ_90K;
use crate::wire::ts::{PAT_PID, Packet, Pmt, Section, SectionReader};

const PICTURES: ElementaryStream = ElementaryStream { format: StreamFormat::H264, language: None };
const SOUND: ElementaryStream = ElementaryStream { format: StreamFormat::Aac, language: Some(*b"deu") };

/// A unit to be: 90 kHz ticks of its place, bytes, whether a decoder may start there.
#[derive(Clone, Debug)]
struct Made {
    at: i64,
    reordered: i64,
    key: bool,
    pieces: Vec<Vec<u8>>,
}

fn made(at: i64, reordered: i64, key: bool, size: usize) -> Made {
    let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + size) as u8).collect();
    // Pieces of all kinds, an empty one too.
    let cuts = [0, size / 5, size / 5, size / 2, size];
    Made { at, reordered, key, pieces: cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec()).collect() }
}

/// Sent 200 ms before it is decoded.
fn clock(ticks: i64) -> ClockTime {
    ClockTime::from(MediaTime::new(ticks, HZ_90K)) - Duration::from_millis(200)
}

/// The pieces of units, borrowed as the multiplexer takes them.
fn borrowed(made: &[Made]) -> Vec<Vec<&[u8]>> {
    made.iter().map(|m| m.pieces.iter().map(Vec::as_slice).collect()).collect()
}

fn units<'a>(made: &[Made], pieces: &'a [Vec<&'a [u8]>]) -> Vec<Unit<'a>> {
    let unit = |(m, pieces): (&Made, &'a Vec<&'a [u8]>)| Unit {
        due: clock(m.at),
        pts: ChannelTime::from_ticks(m.at + m.reordered),
        dts: ChannelTime::from_ticks(m.at),
        random_access: m.key,
        pieces,
    };
    made.iter().zip(pieces).map(unit).collect()
}

fn mux(programme: &Programme, span: Range<i64>, number: u64, pictures: &[Made], sound: &[Made]) -> Vec<u8> {
    let (picture_pieces, sound_pieces) = (borrowed(pictures), borrowed(sound));
    let segment = Segment {
        span: clock(span.start)..clock(span.end),
        tables: 5,
        tables_before: number * 5,
        clock: &units(pictures, &picture_pieces),
        other: &units(sound, &sound_pieces),
    };
    programme.segment(&segment).expect("good units")
}

#[test]
fn streams_are_described() {
    for (name, clock, other, want) in [
        ("H.264 and German", PICTURES, Some(SOUND), vec![(0x1b, 0x100, None), (0x0f, 0x101, Some(*b"deu"))]),
        ("HEVC alone", ElementaryStream { format: StreamFormat::Hevc, ..PICTURES }, None, vec![(0x24, 0x100, None)]),
        ("sound alone", SOUND, None, vec![(0x0f, 0x100, Some(*b"deu"))]),
    ] {
        let programme = Programme::new(clock, other);
        let map = Packet::parse(&programme.tables[1]).unwrap();
        let mut streams = Vec::new();
        SectionReader::default().push(map.payload.unwrap(), map.starts, |section| {
            let map = Pmt::parse(&Section::parse(section.unwrap()).unwrap().unwrap()).unwrap().unwrap();
            let language = crate::wire::ts::language_of;
            streams = map.streams.iter().map(|s| (s.stream_type, s.pid, language(s))).collect();
        });
        assert_eq!(streams, want, "{name}");
    }
}

#[test]
fn what_no_packet_can_hold_is_refused() {
    let long = vec![1u8; 70_000];
    let (long, short, good) = ([&long[..]], [&[1u8][..]], [&[1u8, 2][..]]);
    fn unit<'a>(pieces: &'a [&'a [u8]]) -> Unit<'a> {
        let at = ChannelTime::from_ticks(0);
        Unit { due: clock(0), pts: at, dts: at, random_access: true, pieces }
    }
    let (long, short, good) = (unit(&long), unit(&short), unit(&good));
    let programme = Programme::new(PICTURES, Some(SOUND));
    let run = |end: i64, pictures: &[Unit<'_>], sound: &[Unit<'_>]| {
        let span = clock(0)..clock(end);
        programme.segment(&Segment { span, tables: 1, tables_before: 0, clock: pictures, other: sound }).map(drop)
    };
    for (name, end, pictures, sound, want) in [
        ("good", 9000, vec![good], vec![good], Ok(())),
        ("no sound", 9000, vec![good], vec![], Ok(())),
        ("a long picture", 9000, vec![long], vec![], Ok(())),
        ("no pictures", 9000, vec![], vec![good], Err(MuxError::NoClock)),
        (
            "a picture of a byte",
            9000,
            vec![good, short],
            vec![],
            Err(MuxError::TooShort { pid: 0x100, unit: 1, bytes: 1 }),
        ),
        ("long sound", 9000, vec![good], vec![long], Err(MuxError::TooLong { pid: 0x101, unit: 0, bytes: 70_000 })),
        ("an hour", 3600 * 90_000, vec![good], vec![], Err(MuxError::Span)),
        ("the end before the start", -1, vec![good], vec![good], Ok(())),
    ] {
        assert_eq!(run(end, &pictures, &sound), want, "{name}");
    }
}

#[test]
fn a_packet_is_what_the_standard_says() {
    // Half a tick short of a wrap of all stamps; one picture of 300 bytes, in a segment of 40 ms.
    let at = (1 << 33) - 1 + 18_000;
    let bytes = mux(&Programme::new(PICTURES, None), at..at + 3600, 3, &[made(at, 3600, true, 300)], &[]);
    let first = &bytes[2 * PACKET_BYTES..3 * PACKET_BYTES];
    // PCR: 2³³ − 1 and 0; PTS 21,599 and DTS 17,999: both are behind the wrap.
    let want = b"\x47\x41\x00\x30\x07\x50\xff\xff\xff\xff\xfe\x00\
                 \x00\x00\x01\xe0\x01\x39\x84\xc0\x0a\x31\x00\x01\xa8\xbf\x11\x00\x01\x8c\x9f";
    assert_eq!(&first[..want.len()], want);
    // PAT's counter follows from the number of the segment.
    let pat: Vec<u8> = packets(&bytes).filter(|(p, _)| p.pid == PAT_PID).map(|(p, _)| p.counter).collect();
    assert_eq!(pat, [15, 0, 1, 2, 3]);
    // 319 bytes of PES take two packets, and are divided over sixteen; the last ones have a byte each.
    let sizes: Vec<usize> =
        packets(&bytes).filter(|(p, _)| p.pid == CLOCK_PID).map(|(p, _)| p.payload.unwrap().len()).collect();
    assert_eq!(sizes, [&[176, 129][..], &[1; 14]].concat());
}

#[test]
fn a_clock_runs_where_pictures_are_rare() {
    // Two pictures a second, so small that a packet holds one.
    let pictures = [made(900_000, 0, true, 100), made(945_000, 0, false, 50)];
    let bytes = mux(&Programme::new(PICTURES, None), 900_000..990_000, 0, &pictures, &[]);
    holds(&bytes);
    let clock = packets(&bytes).filter(|(p, _)| p.pcr.is_some());
    assert_eq!(clock.count(), 26, "13 a picture");
    let empty = packets(&bytes).filter(|(p, _)| p.payload.is_none()).count();
    assert_eq!(empty, 26 - 16, "those that carry nothing else");
}

/// Sizes of a segment's pictures and of its portions of sound.
type Sizes = (Vec<usize>, Vec<usize>);

fn segments() -> impl Strategy<Value = Vec<Sizes>> {
    let size = prop_oneof![2usize..400, 2usize..5000, Just(165), Just(166), 60_000usize..70_000];
    let pictures = prop::collection::vec(size, 1..60);
    let sound = prop::collection::vec(2usize..3000, 0..40);
    prop::collection::vec((pictures, sound), 2..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_units_come_through_segments_that_fit_together(
        sizes in segments(),
        // Around a wrap of 2³³, and somewhere.
        from in prop_oneof![(1i64 << 33) - 200_000..(1 << 33) + 200_000, 100_000_000_000i64..200_000_000_000],
        number in any::<u32>(),
        alone in any::<bool>(),
    ) {
        let programme = Programme::new(PICTURES, (!alone).then_some(SOUND));
        let (mut bytes, mut wanted, mut at) = (Vec::new(), [Vec::new(), Vec::new()], from);
        for (i, (pictures, sound)) in sizes.iter().enumerate() {
            let span = at..at + 180_000;
            let spread = |sizes: &[usize], late: i64, reordered: i64| -> Vec<Made> {
                let count = sizes.len().max(1) as i64;
                let place = |i: usize| span.start + late + (180_000 - late) * i as i64 / count;
                sizes.iter().enumerate().map(|(i, &size)| made(place(i), reordered, i == 0, size)).collect()
            };
            let (pictures, sound) = (spread(pictures, 0, 7200), spread(sound, 1900, 0));
            let segment = mux(&programme, span.clone(), u64::from(number) + i as u64, &pictures, &sound);
            holds(&segment);
            bytes.extend(segment);
            wanted[0].extend(pictures);
            wanted[1].extend(sound);
            at = span.end;
        }
        holds(&bytes);
        if alone {
            wanted[1].clear();
        }
        let (_, times) = arrivals(&bytes);
        let mask = (1i64 << 33) - 1;
        for (pid, wanted) in [(CLOCK_PID, &wanted[0]), (OTHER_PID, &wanted[1])] {
            let read = pes(&bytes, pid);
            prop_assert_eq!(read.len(), wanted.len());
            // Other packets than those with a PCR are timed by counting, which is wrong by one interval at most.
            let slack = if pid == CLOCK_PID { 1.0 } else { 1.0 + (PCR_MAX / 300) as f64 };
            for (place, (read, unit)) in read.iter().zip(wanted).enumerate() {
                prop_assert_eq!(&read.bytes, &unit.pieces.concat());
                prop_assert_eq!(read.random_access, unit.key);
                prop_assert_eq!(read.header.pts.unwrap() as i64, (unit.at + unit.reordered) & mask);
                prop_assert_eq!(read.header.dts.map(|t| t as i64), (unit.reordered > 0).then_some(unit.at & mask));
                let due = (unit.at - from) as f64;
                let next = wanted.get(place + 1).map_or(at, |next| next.at);
                let (begins, ends) = (times[read.packets.start] / 300.0, times[read.packets.end - 1] / 300.0);
                prop_assert!((begins - due).abs() <= slack, "unit {place} of {pid:#x} begins at {begins}, not {due}");
                prop_assert!(ends <= (next - from) as f64 + slack, "unit {place} of {pid:#x} ends at {ends}");
            }
        }
    }
}
