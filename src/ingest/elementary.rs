//! Access units and frames that come without a transport stream → items, as a demux would give them.
//!
//! In:    coded pictures and frames of sound with their source time.
//! Out:   [`Item`]s: the tracks, before the first unit and whenever a picture's shape changes; units in byte-stream format.
//! Never: changes a time; joins or splits access units.

use bytes::Bytes;

use crate::media::{Codec, Item, SourceTime, TrackId, TrackInfo, TrackKind, TrackSet, Unit};
use crate::wire::codec::annexb::nal_units;
use crate::wire::codec::{h264, hevc};

/// nal_unit_type of what stands in front of a picture (ISO/IEC 14496-10 Table 7-1, 23008-2 Table 7-1).
const DELIMITERS: [u8; 2] = [9, 35];
const SEQUENCE_SETS: [u8; 2] = [7, 33];

/// The tracks of a source that brings no TS, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Elementary {
    tracks: TrackSet,
    sent: bool,
}

impl Elementary {
    /// A source with these formats and languages; nothing has been sent of it.
    pub fn new(tracks: impl IntoIterator<Item = (Codec, Option<[u8; 3]>)>) -> Self {
        let tracks = (0u16..).zip(tracks).map(|(n, (codec, language))| TrackInfo {
            // As most multiplexers number theirs.
            id: TrackId(0x100 + n),
            codec,
            language,
            shape: None,
        });
        Self { tracks: TrackSet { tracks: tracks.collect() }, sent: false }
    }

    /// The items of one access unit or frame of the `n`-th track; none of a track there is not.
    pub fn unit(&mut self, n: usize, pts: SourceTime, damaged: bool, data: Vec<u8>) -> Vec<Item<SourceTime>> {
        let Some(track) = self.tracks.tracks.get_mut(n).filter(|_| !data.is_empty()) else { return Vec::new() };
        let scan = scan(track.codec, &data);
        // What is read out of wrong bits would send everybody behind us into a change that never was.
        if let Some(shape) = scan.shape.filter(|shape| !damaged && track.shape != Some(*shape)) {
            track.shape = Some(shape);
            self.sent = false;
        }
        let key = scan.key || track.codec.kind() == TrackKind::Audio;
        let unit = Item::Unit(Unit { track: track.id, pts, key, damaged, whole: true, data: Bytes::from(data) });
        if std::mem::replace(&mut self.sent, true) {
            vec![unit]
        } else {
            vec![Item::Tracks(self.tracks.clone().into()), unit]
        }
    }
}

fn scan(codec: Codec, data: &[u8]) -> h264::Scan {
    match codec {
        Codec::H264 => h264::scan(data),
        Codec::Hevc => hevc::scan(data),
        _ => h264::Scan::default(),
    }
}

/// An access unit with everything in front of its picture that a decoder wants: a delimiter, and where it may start, parameter sets.
/// `units`: its NAL units without start codes; `sets`: for pictures that bring none.
pub(super) fn access_unit<'a>(codec: Codec, sets: &[Bytes], units: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut picture = Vec::new();
    let mut has_sets = false;
    for unit in units {
        let kind = nal_type(codec, unit);
        if DELIMITERS[usize::from(codec == Codec::Hevc)] != kind {
            has_sets |= SEQUENCE_SETS[usize::from(codec == Codec::Hevc)] == kind;
            picture.extend([0, 0, 0, 1]);
            picture.extend(unit);
        }
    }
    if picture.is_empty() {
        return picture;
    }
    // Any kind of picture may follow.
    let mut out = match codec {
        Codec::Hevc => vec![0, 0, 0, 1, 35 << 1, 1, 0x50],
        _ => vec![0, 0, 0, 1, 9, 0xf0],
    };
    if !has_sets && scan(codec, &picture).key {
        for set in sets {
            out.extend([0, 0, 0, 1]);
            out.extend(set);
        }
    }
    out.append(&mut picture);
    out
}

/// The same of a byte stream.
pub(super) fn delimited(codec: Codec, data: &[u8]) -> Vec<u8> {
    access_unit(codec, &[], nal_units(data))
}

fn nal_type(codec: Codec, unit: &[u8]) -> u8 {
    let first = unit.first().copied().unwrap_or(0);
    if codec == Codec::Hevc { first >> 1 & 0x3f } else { first & 0x1f }
}

/// The NAL units of a sample, each behind its length of `length_bytes` bytes. Where a length leads out of the sample, what is left
/// is the last one, and the answer says so.
pub(super) fn sized_units(sample: &[u8], length_bytes: usize) -> (Vec<&[u8]>, bool) {
    let (mut units, mut rest) = (Vec::new(), sample);
    while !rest.is_empty() {
        let Some((length, behind)) = rest.split_at_checked(length_bytes) else { return (units, true) };
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        let Some((unit, next)) = behind.split_at_checked(length) else {
            if !behind.is_empty() {
                units.push(behind);
            }
            return (units, true);
        };
        if !unit.is_empty() {
            units.push(unit);
        }
        rest = next;
    }
    (units, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x264, 640x360p25 High.
    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x61, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
        0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb];
    const IDR: &[u8] = &[0x65, 0x88, 0x84];
    const P: &[u8] = &[0x41, 0x9a, 0x24];

    fn types(unit: &[u8]) -> Vec<u8> {
        nal_units(unit).map(|unit| unit[0] & 0x1f).collect()
    }

    #[test]
    fn a_picture_gets_what_a_decoder_wants_before_it() {
        let sets = [Bytes::from_static(SPS), Bytes::from_static(PPS)];
        for (name, units, want) in [
            ("a key picture gets the sets", vec![IDR], vec![9, 7, 8, 5]),
            ("one that brings its own keeps them", vec![SPS, PPS, IDR], vec![9, 7, 8, 5]),
            ("its own delimiter is not doubled", vec![&[9, 0x10], SPS, PPS, IDR], vec![9, 7, 8, 5]),
            ("others go without", vec![P], vec![9, 1]),
            ("nothing stays nothing", vec![], vec![]),
        ] {
            assert_eq!(types(&access_unit(Codec::H264, &sets, units.into_iter())), want, "{name}");
        }
        let hevc = access_unit(Codec::Hevc, &[Bytes::from_static(&[0x40, 1, 12])], [&[0x26, 1, 0xaf][..]].into_iter());
        assert_eq!(nal_units(&hevc).map(|unit| unit[0] >> 1).collect::<Vec<_>>(), [35, 32, 19], "HEVC");
    }

    #[test]
    fn units_lie_behind_their_lengths() {
        for (name, sample, length_bytes, want) in [
            ("two", &[0, 2, 1, 2, 0, 1, 3][..], 2, (vec![&[1, 2][..], &[3]], false)),
            ("an empty one is left out", &[0, 1, 7], 1, (vec![&[7][..]], false)),
            ("one leads out", &[0, 0, 0, 9, 1, 2], 4, (vec![&[1, 2][..]], true)),
            ("half a length", &[1, 7, 0], 1, (vec![&[7][..]], false)),
            ("half a length of two", &[0, 1, 7, 0], 2, (vec![&[7][..]], true)),
            ("nothing", &[], 4, (vec![], false)),
        ] {
            assert_eq!(sized_units(sample, length_bytes), want, "{name}");
        }
    }

    #[test]
    fn tracks_come_first_and_when_the_picture_changes() {
        let mut source = Elementary::new([(Codec::H264, None), (Codec::AacAdts, Some(*b"deu"))]);
        let at = SourceTime::from_ticks(0);
        let sets = [Bytes::from_static(SPS), Bytes::from_static(PPS)];
        let news = |items: &[Item<SourceTime>]| items.iter().filter(|i| matches!(i, Item::Tracks(_))).count();
        let sound = source.unit(1, at, false, vec![0xff, 0xf1]);
        assert!(
            matches!(&sound[..], [Item::Tracks(_), Item::Unit(u)] if u.key && u.track == TrackId(0x101)),
            "{sound:?}"
        );
        let key = || access_unit(Codec::H264, &sets, [IDR].into_iter());
        assert_eq!(news(&source.unit(0, at, true, key())), 0, "damaged: not believed");
        let items = source.unit(0, at, false, key());
        let [Item::Tracks(tracks), Item::Unit(unit)] = &items[..] else { panic!("{items:?}") };
        let shape = tracks.first(TrackKind::Video).and_then(|t| t.shape).expect("it was said");
        assert_eq!((shape.width, shape.height, unit.key), (640, 360, true));
        let items = source.unit(0, at, false, access_unit(Codec::H264, &sets, [P].into_iter()));
        assert!(matches!(&items[..], [Item::Unit(u)] if !u.key), "{items:?}");
        assert_eq!(news(&source.unit(0, at, false, key())), 0, "nothing new");
        assert_eq!(source.unit(2, at, false, key()), [], "no such track");
    }
}
