//! What is shown of a segment that nobody has whole: both pipelines died, or this process did.
//!
//! Where its first parts were published, its first picture stands until its end, and there is silence, so that whoever has the parts has no hole to
//! get over: players take a segment with a hole in it for one that is still to come (docs/low-latency.md). Where nothing was, playlists of HLS
//! say that it is a gap, and players of DASH, which would stand still there (decision 0009), get the first picture of the segment before it.
//!
//! In:    what was published of one rendition, or the last segment of all. Out: pieces of the segment.
//! Never: changes what was published; counts as media.

use std::sync::Arc;

use bytes::Bytes;

use super::layout::{Kind, Layout};
use super::trick;
use crate::encode::ladder::AudioRung;
use crate::media::SegmentNumber;
use crate::wire::codec::aac;
use crate::wire::mp4::{Chunk, Sample, samples, segment_type};

/// A segment with its end made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    /// In order.
    pub pieces: Vec<Bytes>,
    /// The first sample.
    pub first: Bytes,
}

/// The picture that a segment began with, for each track, and silence: a still for the segments behind it that nobody has.
#[derive(Debug)]
pub(super) struct Still {
    layout: Layout,
    /// The segment that its pictures are of.
    of: SegmentNumber,
    tracks: Vec<Unit>,
}

/// The one unit that is shown of a track, or repeated.
#[derive(Debug)]
struct Unit {
    kind: Kind,
    data: Bytes,
    /// Of a picture that is shown first in its segment: how far behind its decoding (decision 0004).
    composition_offset: i32,
}

impl Still {
    /// Of segment `of`, whose tracks are `kinds`; `audio` makes the sound, and `read` gives the bytes of a track. `None` where they cannot be read,
    /// or nobody knows silence of so many channels.
    pub fn new(
        layout: Layout,
        of: SegmentNumber,
        kinds: &[Kind],
        audio: &[AudioRung],
        read: impl Fn(usize) -> Option<Bytes>,
    ) -> Option<Self> {
        let mut audio = audio.iter();
        let unit = |(track, &kind): (usize, &Kind)| {
            if kind == Kind::Audio {
                return Some(Unit { kind, data: silence(audio.next()?)?, composition_offset: 0 });
            }
            let bytes = read(track)?;
            let (range, sample) = samples(&bytes)?.into_iter().next().filter(|(_, sample)| sample.sync)?;
            // A copy: the segment's own memory is wanted for others.
            let data = Bytes::copy_from_slice(&bytes[range]);
            Some(Unit { kind, data, composition_offset: sample.composition_offset })
        };
        let tracks = kinds.iter().enumerate().map(unit).collect::<Option<Vec<_>>>()?;
        Some(Self { layout, of, tracks })
    }

    /// The segment that its pictures are of.
    pub fn of(&self) -> SegmentNumber {
        self.of
    }

    /// Segment `n` of a track. `None`: there is no such track.
    fn segment(&self, track: usize, n: SegmentNumber) -> Option<Vec<Bytes>> {
        let Unit { kind, data, composition_offset } = self.tracks.get(track)?;
        if *kind == Kind::Trick {
            return Some(trick::segment(&self.layout, n, std::slice::from_ref(data)));
        }
        let chunk = Rest::of(&self.layout, *kind, n, 0, 0)?.filled_with(data, *composition_offset)?;
        Some(std::iter::once(segment_type().into()).chain(chunk).collect())
    }
}

/// A whole segment of one track that nobody has, put together when it is asked for.
#[derive(Clone, Debug)]
pub(super) struct MadeUp {
    still: Arc<Still>,
    track: usize,
    number: SegmentNumber,
}

impl MadeUp {
    /// Segment `number` of all tracks.
    pub fn all(still: &Arc<Still>, number: SegmentNumber) -> impl Iterator<Item = Self> + use<'_> {
        (0..still.tracks.len()).map(move |track| Self { still: Arc::clone(still), track, number })
    }

    /// Its bytes.
    pub fn pieces(&self) -> Vec<Bytes> {
        self.still.segment(self.track, self.number).unwrap_or_default()
    }
}

/// Segment `n` of pictures, of which `published` are the first `rows` parts. `None` where that cannot be read.
pub(super) fn picture(layout: &Layout, n: SegmentNumber, rows: usize, published: Bytes) -> Option<StandIn> {
    let found = samples(&published)?;
    let first = published.slice(found.first().filter(|(_, sample)| sample.sync)?.0.clone());
    let ticks = layout.unit_ticks(Kind::Video);
    let rest = Rest::of(layout, Kind::Video, n, rows, found.len())?;
    // Behind every picture that there is: with reordering, one that was decoded last need not be shown last.
    let shown =
        (0i64..).zip(&found).map(|(i, (_, s))| (i + 1) * i64::from(ticks) + i64::from(s.composition_offset)).max()?;
    let decoded = i64::try_from(found.len()).ok()? * i64::from(ticks);
    let composition_offset = i32::try_from(shown - decoded).ok()?;
    let pieces = std::iter::once(published).chain(rest.filled_with(&first, composition_offset)?).collect();
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
    let rest = Rest::of(layout, Kind::Audio, n, rows, found.len())?;
    let pieces = std::iter::once(published).chain(rest.filled_with(&silence(rung)?, 0)?).collect();
    Some(StandIn { pieces, first })
}

/// A frame of silence.
fn silence(rung: &AudioRung) -> Option<Bytes> {
    // channelConfiguration 7 is eight channels (ISO/IEC 14496-3 Table 1.19).
    Some(Bytes::from(aac::silence(if rung.channels == 8 { 7 } else { rung.channels })?))
}

/// What is missing of a segment.
struct Rest {
    kind: Kind,
    sequence: u32,
    /// Where it begins, in ticks.
    decode_time: u64,
    unit_ticks: u32,
    /// Units.
    left: u32,
}

impl Rest {
    /// Of segment `n`, of which the first `row` parts, with so many units, are there.
    fn of(layout: &Layout, kind: Kind, n: SegmentNumber, row: usize, there: usize) -> Option<Self> {
        let units = layout.units(kind, n);
        let at = units.start + u64::try_from(there).ok()?;
        let left = u32::try_from(units.end.checked_sub(at)?).ok().filter(|left| *left > 0)?;
        let unit_ticks = layout.unit_ticks(kind);
        let decode_time = at * u64::from(unit_ticks);
        Some(Self { kind, sequence: layout.sequence(n, row), decode_time, unit_ticks, left })
    }

    /// A chunk in which one picture stands until the end, or one frame of sound comes again and again.
    fn filled_with(&self, unit: &Bytes, composition_offset: i32) -> Option<Vec<Bytes>> {
        let (count, units_each) = if self.kind == Kind::Audio { (self.left, 1) } else { (1, self.left) };
        let sample = Sample { size: u32::try_from(unit.len()).ok()?, composition_offset, sync: true };
        let samples = vec![sample; usize::try_from(count).ok()?];
        let chunk = Chunk {
            sequence: self.sequence,
            decode_time: self.decode_time,
            sample_ticks: self.unit_ticks.checked_mul(units_each)?,
            samples: &samples,
        };
        let units = std::iter::repeat_n(unit.clone(), samples.len());
        Some(std::iter::once(chunk.header().into()).chain(units).collect())
    }
}
