//! Transport stream segments for players that know no CMAF, multiplexed from the CMAF in memory when they are asked for.
//!
//! In:    the CMAF header and one CMAF segment of a rendition of pictures, of one of sound, or of both.
//! Out:   one segment of transport stream (ISO/IEC 13818-1), which begins with PAT, PMT, and a key frame.
//! Never: knows anything but these bytes and the segment's number: two hosts, and one that was started anew, make the same
//!        bytes; touches what is coded.
//!
//! # Time
//!
//! PTS is the channel's time at 90 kHz, of which 33 bits are written: as in CMAF, where an edit takes off what reordering
//! adds to composition times. The clock (PCR) is late by a lead that gives each picture time to come whole before it is
//! decoded. More in docs/hls-ts.md.

use std::time::Duration;

use super::layout::Layout;
use crate::encode::ladder::VideoFormat;
use crate::media::{ChannelTime, HZ_90K, MediaTime, Round, SegmentNumber, Timescale};
use crate::wire::codec::aac::ADTS_HEADER;
use crate::wire::codec::asc::AacConfig;
use crate::wire::mp4::read::{Coding, Header, Movie, ParameterSets, Sample, Track, Wrong};
use crate::wire::ts::mux::{ClockTime, ElementaryStream, MuxError, Programme, Segment, StreamFormat, Unit};

/// Frames of sound in a PES packet at most, 107 ms: with one each, headers and stuffing would take a quarter of a small rendition.
pub(super) const FRAMES_PER_PES: usize = 5;

/// How far the clock is behind the channel's time, at least. More would be no use: sound of 128 kbit/s that comes 220 ms
/// before it is heard fills the buffer that decoders have for it (ISO/IEC 13818-1 §2.4.2.3: 3,584 bytes). Fewer than 20
/// pictures a second need more, see [`Media::lead`].
const LEAD_MIN: Duration = Duration::from_millis(200);

/// PAT and PMT come at least so often. ETSI TR 101 290 (1.3, 1.5) wants them every 500 ms.
const TABLES_EVERY: Duration = Duration::from_millis(400);

/// How often PAT and PMT come in each segment of a channel.
pub(super) fn tables(layout: &Layout) -> u32 {
    let count = layout.grid().segment().as_nanos().div_ceil(TABLES_EVERY.as_nanos());
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether a transport stream has a place for such pictures: there is none for AV1.
pub(super) fn carries(format: VideoFormat) -> bool {
    match format {
        VideoFormat::H264 | VideoFormat::Hevc => true,
        VideoFormat::Av1 => false,
    }
}

/// Why there is no transport stream of a segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TransportError {
    /// Its boxes make no sense.
    #[error("CMAF that cannot be read")]
    Boxes(#[source] Wrong),
    /// It ends inside a box.
    #[error("CMAF that is cut off")]
    Cut,
    /// A header has no track, or one of a format for which transport streams have no place.
    #[error("a header without a track that a transport stream can carry")]
    Format,
    /// Neither pictures nor sound were given, or one of them has no samples.
    #[error("nothing to multiplex")]
    Empty,
    /// What the boxes say of a sample is not what its bytes are.
    #[error("sample {0} is not what its box says")]
    Sample(usize),
    /// The multiplexer refuses it.
    #[error("samples that no packets can hold")]
    Mux(#[source] MuxError),
}

impl From<Wrong> for TransportError {
    fn from(wrong: Wrong) -> Self {
        Self::Boxes(wrong)
    }
}

/// A rendition, by its header. It is read once for all of its segments.
#[derive(Clone, Debug)]
pub(super) struct Source {
    movie: Movie,
    /// Parameter sets as a byte stream has them, each behind its start code; of sound, nothing.
    sets: Vec<u8>,
}

impl Source {
    /// From the bytes of the CMAF header.
    pub fn new(header: &[u8]) -> Result<Self, TransportError> {
        let moov = boxes(header).find_map(|found| match found {
            Ok((b"moov", _, content)) => Some(Ok(content)),
            Ok(_) => None,
            Err(wrong) => Some(Err(wrong)),
        });
        let movie = Movie::parse(moov.ok_or(TransportError::Format)??)?;
        let track = movie.tracks.first().ok_or(TransportError::Format)?;
        let sets = match &track.coding {
            Coding::H264(sets) | Coding::Hevc(sets) => &sets.sets[..],
            Coding::Aac(_) => &[],
        };
        // Four bytes of start code in front of each (ISO/IEC 14496-10 §B.1.2).
        let sets = sets.iter().flat_map(|set| [&[0, 0, 0, 1], &set[..]].concat()).collect();
        Ok(Self { movie, sets })
    }

    fn track(&self) -> Result<&Track, TransportError> {
        self.movie.tracks.first().ok_or(TransportError::Format)
    }

    fn stream(&self) -> Result<ElementaryStream, TransportError> {
        let track = self.track()?;
        let format = match track.coding {
            Coding::H264(_) => StreamFormat::H264,
            Coding::Hevc(_) => StreamFormat::Hevc,
            Coding::Aac(_) => StreamFormat::Aac,
        };
        Ok(ElementaryStream { format, language: track.language })
    }

    /// The samples of a segment, in decoding order; at least one.
    fn samples(&self, segment: &[u8]) -> Result<Vec<Sample>, TransportError> {
        let mut movie = self.movie.clone();
        for found in boxes(segment) {
            if let (b"moof", start, content) = found? {
                movie.fragment(start, content)?;
            }
        }
        let samples = movie.tracks.into_iter().next().map_or_else(Vec::new, |track| track.samples);
        if samples.is_empty() { Err(TransportError::Empty) } else { Ok(samples) }
    }
}

/// The transport stream of segment `n`. Where there are pictures, the clock is theirs, and the segment lasts as long as they do.
pub(super) fn segment(
    layout: &Layout,
    n: SegmentNumber,
    pictures: Option<(&Source, &[u8])>,
    sound: Option<(&Source, &[u8])>,
) -> Result<Vec<u8>, TransportError> {
    let (first, second) = match (pictures, sound) {
        (Some(pictures), sound) => (pictures, sound),
        (None, Some(sound)) => (sound, None),
        (None, None) => return Err(TransportError::Empty),
    };
    let clock = Media::new(first)?;
    let other = second.map(Media::new).transpose()?;
    let programme = Programme::new(first.0.stream()?, second.map(|(source, _)| source.stream()).transpose()?);
    let lead = clock.lead();
    let clock_pieces = clock.pieces()?;
    let other_pieces = other.as_ref().map(Media::pieces).transpose()?;
    let clock_units = clock.units(&clock_pieces, lead);
    let other_units = match (&other, &other_pieces) {
        (Some(other), Some(pieces)) => other.units(pieces, lead),
        _ => Vec::new(),
    };
    let tables = tables(layout);
    let segment = Segment {
        span: clock.clock_span(lead),
        tables,
        tables_before: n.0.wrapping_mul(u64::from(tables)),
        clock: &clock_units,
        other: &other_units,
    };
    programme.segment(&segment).map_err(TransportError::Mux)
}

/// The boxes of a file: name, where it begins, and content.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8; 4], u64, &[u8]), TransportError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let inside = Header::parse(rest).and_then(|header| {
            let total = header.total.map_or(Some(rest.len()), |total| usize::try_from(total).ok())?;
            let whole = rest.get(..total)?;
            let content = whole.get(usize::try_from(header.header).ok()?..)?;
            Some((whole.get(4..)?.first_chunk()?, at as u64, content, total))
        });
        let Some((name, start, content, total)) = inside else {
            at = bytes.len();
            return Some(Err(TransportError::Cut));
        };
        at += total;
        Some(Ok((name, start, content)))
    })
}

/// What a unit is put together from: pieces, and which of them are whose.
struct Pieces<'a> {
    all: Vec<&'a [u8]>,
    /// By unit: its first sample, whether a decoder may start there, and where its pieces end.
    units: Vec<(usize, bool, usize)>,
}

/// A segment of one rendition.
struct Media<'a> {
    source: &'a Source,
    track: &'a Track,
    samples: Vec<Sample>,
    segment: &'a [u8],
    /// Of sound, what stands in front of each frame.
    headers: Vec<[u8; ADTS_HEADER]>,
}

impl<'a> Media<'a> {
    fn new((source, segment): (&'a Source, &'a [u8])) -> Result<Self, TransportError> {
        let (track, samples) = (source.track()?, source.samples(segment)?);
        let headers = match track.coding {
            Coding::Aac(config) => adts_headers(&config, &samples)?,
            _ => Vec::new(),
        };
        Ok(Self { source, track, samples, segment, headers })
    }

    /// A point on the track's timeline.
    fn at(&self, ticks: i64) -> MediaTime {
        // A header with a timescale of 0 was refused.
        MediaTime::new(ticks, Timescale::new(self.track.timescale).unwrap_or(HZ_90K))
    }

    /// How far the clock is behind the times of the grid. A picture is sent while its slot lasts, and decoded before it by as
    /// much as the edit takes off for reordering; a slot more is room for the packets of the sound between.
    fn lead(&self) -> Duration {
        let slot = self.samples.first().map_or(0, |sample| sample.duration);
        let ticks = self.track.edit.unsigned_abs().saturating_add(2 * u64::from(slot));
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.track.timescale.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).max(LEAD_MIN)
    }

    fn clock_span(&self, lead: Duration) -> std::ops::Range<ClockTime> {
        let start = self.samples.first().map_or(0, |s| s.dts);
        let end = self.samples.last().map_or(start, |s| s.dts.saturating_add(i64::from(s.duration)));
        let clock = |ticks| ClockTime::from(self.at(ticks)) - lead;
        clock(start)..clock(end)
    }

    fn bytes_of(&self, place: usize) -> Result<&'a [u8], TransportError> {
        let sample = self.samples.get(place).ok_or(TransportError::Sample(place))?;
        let start = usize::try_from(sample.offset).ok();
        let end = start.and_then(|start| start.checked_add(sample.bytes as usize));
        let bytes = start.zip(end).and_then(|(start, end)| self.segment.get(start..end));
        bytes.ok_or(TransportError::Sample(place))
    }

    /// Takes the samples apart into what a transport stream has of them.
    fn pieces(&self) -> Result<Pieces<'_>, TransportError> {
        let mut pieces = Pieces { all: Vec::with_capacity(8 * self.samples.len()), units: Vec::new() };
        match &self.track.coding {
            Coding::H264(sets) => self.pictures(&AVC, sets, &mut pieces)?,
            Coding::Hevc(sets) => self.pictures(&HEVC, sets, &mut pieces)?,
            Coding::Aac(_) => self.sound(&mut pieces)?,
        }
        Ok(pieces)
    }

    fn pictures<'b>(
        &'b self,
        format: &'b NalFormat,
        sets: &ParameterSets,
        pieces: &mut Pieces<'b>,
    ) -> Result<(), TransportError> {
        for place in 0..self.samples.len() {
            let bytes = self.bytes_of(place)?;
            let mut key = false;
            for nal in nal_units(bytes, sets.length_bytes) {
                key |= (format.is_key)(nal.ok_or(TransportError::Sample(place))?);
            }
            pieces.all.push(format.delimiter);
            if key {
                // The sample entry's, which are good for all that a segment has (ISO/IEC 14496-15 §5.3.2).
                pieces.all.push(&self.source.sets);
            }
            for nal in nal_units(bytes, sets.length_bytes).flatten().filter(|nal| !(format.is_delimiter)(nal)) {
                pieces.all.push(START_CODE);
                pieces.all.push(nal);
            }
            pieces.units.push((place, key, pieces.all.len()));
        }
        Ok(())
    }

    /// As few portions as may be, all about equally long: readers take a portion that is not for a hole.
    fn sound<'b>(&'b self, pieces: &mut Pieces<'b>) -> Result<(), TransportError> {
        let frames = self.headers.len();
        let portions = frames.div_ceil(FRAMES_PER_PES);
        for portion in 0..portions {
            let places = portion * frames / portions..(portion + 1) * frames / portions;
            for place in places.clone() {
                pieces.all.push(&self.headers[place]);
                pieces.all.push(self.bytes_of(place)?);
            }
            pieces.units.push((places.start, portion == 0, pieces.all.len()));
        }
        Ok(())
    }

    fn units<'b>(&self, pieces: &'b Pieces<'b>, lead: Duration) -> Vec<Unit<'b>> {
        let mut from = 0;
        let ticks_90k = |at: MediaTime| at.rescale(HZ_90K, Round::Nearest).map_or(0, |t| t.ticks);
        let unit = |&(first, random_access, end): &(usize, bool, usize)| {
            let sample = self.samples[first];
            let decoded = sample.dts.saturating_add(self.track.edit);
            let shown = decoded.saturating_add(i64::from(sample.shift));
            let pts = ticks_90k(self.at(shown));
            // A picture that is moved further than its encoder was configured for would be shown before it is decoded.
            let dts = ticks_90k(self.at(decoded)).min(pts);
            let unit = Unit {
                due: ClockTime::from(self.at(sample.dts)) - lead,
                pts: ChannelTime::from_ticks(pts),
                dts: ChannelTime::from_ticks(dts),
                random_access,
                pieces: &pieces.all[from..end],
            };
            from = end;
            unit
        };
        pieces.units.iter().map(unit).collect()
    }
}

/// What stands in front of each frame (ISO/IEC 14496-3 §1.A.2.2).
fn adts_headers(config: &AacConfig, samples: &[Sample]) -> Result<Vec<[u8; ADTS_HEADER]>, TransportError> {
    let header = |(place, sample): (usize, &Sample)| {
        config.adts_header(sample.bytes as usize).ok_or(TransportError::Sample(place))
    };
    samples.iter().enumerate().map(header).collect()
}

/// In front of each NAL unit but the first of an access unit and parameter sets, whose codes have a byte more (ISO/IEC
/// 14496-10 §B.1.2).
const START_CODE: &[u8] = &[0, 0, 1];

/// What is particular to H.264 or HEVC.
struct NalFormat {
    /// An access unit delimiter behind its start code. It must be there (ISO/IEC 13818-1 §2.14.1, §2.17.1).
    delimiter: &'static [u8],
    is_delimiter: fn(&[u8]) -> bool,
    /// Whether a decoder may start at a picture with this unit.
    is_key: fn(&[u8]) -> bool,
}

/// ISO/IEC 14496-10 Table 7-1: 9 is the delimiter, 5 an IDR slice. primary_pic_type 7: slices of any kind.
const AVC: NalFormat = NalFormat {
    delimiter: &[0, 0, 0, 1, 0x09, 0xf0],
    is_delimiter: |nal| nal[0] & 0x1f == 9,
    is_key: |nal| nal[0] & 0x1f == 5,
};

/// ISO/IEC 23008-2 Table 7-1: 35 is the delimiter, 16 to 21 intra random access pictures. pic_type 2: slices of any kind.
const HEVC: NalFormat = NalFormat {
    delimiter: &[0, 0, 0, 1, 0x46, 0x01, 0x50],
    is_delimiter: |nal| nal[0] >> 1 & 0x3f == 35,
    is_key: |nal| matches!(nal[0] >> 1 & 0x3f, 16..=21),
};

/// The NAL units of a sample, none of them empty; `None` where a length leads out of it.
fn nal_units(sample: &[u8], length_bytes: usize) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let unit = rest.split_at_checked(length_bytes).and_then(|(length, behind)| {
                let length = length.iter().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
                behind.split_at_checked(length)
            });
            let Some((unit, behind)) = unit else {
                rest = &[];
                return Some(None);
            };
            rest = behind;
            if !unit.is_empty() {
                return Some(Some(unit));
            }
        }
    })
}
