//! How segments, versions and moments are written, the same in URLs, playlists, manifests and events.

use bytes::Bytes;

use super::digest::{Digest, Tag, hex};
use super::layout::{Kind, Layout};
use crate::media::SegmentNumber;

/// The name of a segment below its rendition: the decode time of its first sample. HLS and DASH list the same name, so a
/// cache holds each object once. DASH needs the time in it: with `$Number$` a SegmentTimeline cannot leave a number out,
/// which is what a gap is, as players do not read `S@n`.
pub(super) fn segment_name(layout: &Layout, kind: Kind, n: SegmentNumber) -> String {
    format!("t{}.m4s", layout.start(kind, n))
}

/// The name of a part: its segment's, and which of its parts it is, from 0.
pub(super) fn part_name(layout: &Layout, kind: Kind, n: SegmentNumber, part: usize) -> String {
    format!("t{}.{part}.m4s", layout.start(kind, n))
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn date(ms_since_epoch: i64) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms_since_epoch) * 1_000_000)
        .ok()
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned())
}

/// A strong entity tag.
pub(super) fn entity_tag(tag: &Tag) -> Bytes {
    Bytes::from(format!("\"{}\"", hex(tag)))
}

/// The strong entity tag of a part, from the digest of its segment up to its end.
pub(super) fn part_tag(upto: &Digest) -> Bytes {
    Bytes::from(format!("\"p{}\"", hex(&upto.tag())))
}
