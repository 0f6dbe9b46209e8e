//! A PES packet of pictures → one unit.

use super::pes::Pes;
use super::{Output, learn_shape};
use crate::media::{Codec, SourceTime, TrackId, Unit};
use crate::wire::codec::{h264, hevc, mpeg_video};

/// Whether an access unit delimiter comes first (ITU-T H.264 §7.3.2.4, H.265 §7.3.2.5).
pub(super) fn is_delimiter(codec: Codec, bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(&[0]).filter(|rest| rest.starts_with(&[0, 0, 1])).unwrap_or(bytes);
    let Some([header, ..]) = bytes.strip_prefix(&[0, 0, 1]) else { return false };
    match codec {
        Codec::H264 => header & 0x1f == 9,
        Codec::Hevc => header >> 1 & 0x3f == 35,
        _ => false,
    }
}

/// Gives out a payload as it is. What its headers say of the picture goes first. `delimited`: behind it comes an access unit delimiter.
pub(super) fn give(out: &mut Output, id: TrackId, codec: Codec, pts: SourceTime, pes: Pes, delimited: bool) {
    if pes.payload.is_empty() {
        return;
    }
    let scan = match codec {
        Codec::H264 => h264::scan(&pes.payload),
        Codec::Hevc => hevc::scan(&pes.payload),
        _ => mpeg_video::scan(&pes.payload),
    };
    let damaged = pes.suspect_from.is_some();
    // A size read out of wrong bits would send everybody behind us into a change that never was; the next header is not far.
    learn_shape(out, id, scan.shape.filter(|_| !damaged));
    let whole = delimited && is_delimiter(codec, &pes.payload);
    out.unit(Unit { track: id, pts, key: scan.key, damaged, whole, data: pes.payload });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_known() {
        for (codec, bytes, want) in [
            (Codec::H264, &[0, 0, 0, 1, 9, 0xf0][..], true),
            (Codec::H264, &[0, 0, 1, 9, 0x10], true),
            (Codec::H264, &[0, 0, 0, 1, 0x67], false),
            (Codec::H264, &[0, 0, 0, 0, 1, 9], false),
            (Codec::H264, &[0, 0, 1], false),
            (Codec::H264, &[], false),
            (Codec::Hevc, &[0, 0, 0, 1, 0x46, 1], true),
            (Codec::Hevc, &[0, 0, 0, 1, 9, 1], false),
            (Codec::Mpeg2Video, &[0, 0, 1, 9], false),
        ] {
            assert_eq!(is_delimiter(codec, bytes), want, "{codec:?} {bytes:?}");
        }
    }
}
