//! A PES packet of pictures → one unit.

use super::pes::Pes;
use super::{Output, learn_shape};
use crate::media::{Codec, SourceTime, TrackId};
use crate::wire::codec::{h264, hevc, mpeg_video};

/// Gives out a payload as it is. What its headers say of the picture goes first.
pub(super) fn give(out: &mut Output, id: TrackId, codec: Codec, pts: SourceTime, pes: Pes) {
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
    out.unit(id, pts, scan.key, damaged, pes.payload);
}
