//! The rest of a segment of which only the first parts were published, and nobody has what follows: both pipelines died, or this
//! process did. Its first picture stands until its end, and there is silence, so that whoever has the parts has no hole to get over: players take
//! a segment with a hole in it for one that is still to come (docs/low-latency.md).
//!
//! In:    what was published of one rendition. Out: pieces of the segment: the same bytes, and one chunk behind them.
//! Never: changes what was published; makes a segment of which nothing was.

use bytes::Bytes;

use super::layout::{Kind, Layout};
use crate::encode::ladder::AudioRung;
use crate::media::SegmentNumber;
use crate::wire::codec::aac;
use crate::wire::mp4::{Chunk, Sample, samples};

/// A segment with its end made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    /// In order.
    pub pieces: Vec<Bytes>,
    /// The first sample.
    pub first: Bytes,
}

/// Segment `n` of pictures, of which `published` are the first `rows` parts. `None` where that cannot be read.
pub(super) fn picture(layout: &Layout, n: SegmentNumber, rows: usize, published: Bytes) -> Option<StandIn> {
    let found = samples(&published)?;
    let first = published.slice(found.first().filter(|(_, sample)| sample.sync)?.0.clone());
    let ticks = layout.unit_ticks(Kind::Video);
    let Rest { decode_time, left } = rest(layout, Kind::Video, n, found.len())?;
    // Behind every picture that there is: with reordering, one that was decoded last need not be shown last.
    let shown =
        (0i64..).zip(&found).map(|(i, (_, s))| (i + 1) * i64::from(ticks) + i64::from(s.composition_offset)).max()?;
    let decoded = i64::try_from(found.len()).ok()? * i64::from(ticks);
    let composition_offset = i32::try_from(shown - decoded).ok()?;
    let sample = Sample { size: u32::try_from(first.len()).ok()?, composition_offset, sync: true };
    let chunk = Chunk {
        sequence: layout.sequence(n, rows),
        decode_time,
        sample_ticks: ticks.checked_mul(left)?,
        samples: &[sample],
    };
    let pieces = vec![published, chunk.header().into(), first.clone()];
    Some(StandIn { pieces, first })
}

/// The same of sound.
pub(super) fn sound(
    layout: &Layout,
    n: SegmentNumber,
    rung: &AudioRung,
    rows: usize,
    published: Bytes,
) -> Option<StandIn> {
    let found = samples(&published)?;
    let first = published.slice(found.first()?.0.clone());
    // channelConfiguration 7 is eight channels (ISO/IEC 14496-3 Table 1.19).
    let silence = Bytes::from(aac::silence(if rung.channels == 8 { 7 } else { rung.channels })?);
    let Rest { decode_time, left } = rest(layout, Kind::Audio, n, found.len())?;
    let sample = Sample { size: u32::try_from(silence.len()).ok()?, composition_offset: 0, sync: true };
    let frames = vec![sample; usize::try_from(left).ok()?];
    let chunk = Chunk {
        sequence: layout.sequence(n, rows),
        decode_time,
        sample_ticks: layout.unit_ticks(Kind::Audio),
        samples: &frames,
    };
    let mut pieces = vec![published, chunk.header().into()];
    pieces.extend(std::iter::repeat_n(silence, frames.len()));
    Some(StandIn { pieces, first })
}

/// What is missing of a segment.
struct Rest {
    /// Where it begins, in ticks.
    decode_time: u64,
    /// Units.
    left: u32,
}

fn rest(layout: &Layout, kind: Kind, n: SegmentNumber, there: usize) -> Option<Rest> {
    let units = layout.units(kind, n);
    let at = units.start + u64::try_from(there).ok()?;
    let left = u32::try_from(units.end.checked_sub(at)?).ok().filter(|left| *left > 0)?;
    Some(Rest { decode_time: at * u64::from(layout.unit_ticks(kind)), left })
}
