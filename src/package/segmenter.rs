//! One segment of one rendition of one pipeline: checks each unit against the grid and cuts CMAF chunks as they fill.
//!
//! In:    coded units of one segment in decode order. Out: a [`Whole`] segment, or the reason why there is none.
//! Never: copies media, reads a clock, lets anything but units and grid decide a byte.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::digest::{Digest, Digester};
use super::event::Refusal;
use super::layout::{Kind, Layout};
use crate::encode::ipc::{CodedUnit, Filled, Material};
use crate::encode::ladder::{VideoFormat, VideoRung};
use crate::media::SegmentNumber;
use crate::wire::mp4::{Chunk, Pictures, Sample, VideoCodec, VideoConfig, segment_type};

/// What the units of a rendition are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Video {
        codec: VideoCodec,
        /// How far reordering may move a picture behind its decode time, in ticks; what its track's edit takes off.
        reorder_ticks: u32,
    },
    Audio,
}

impl Coding {
    /// Of a video rung. How far its pictures may be reordered comes from the configuration and not from the pictures at
    /// hand, which may use less of it: x264 reorders by one picture with one B-frame and, as it may use one as a reference,
    /// by two with more (sps max_num_reorder_frames); x265 does the same. AV1 has no reordering outside of its frames.
    pub fn video(layout: &Layout, rung: &VideoRung) -> Self {
        let pictures = rung.reorder();
        let (codec, pictures) = match rung.encoder.format() {
            VideoFormat::H264 => (VideoCodec::Avc, pictures),
            VideoFormat::Hevc => (VideoCodec::Hevc, pictures),
            VideoFormat::Av1 => (VideoCodec::Av1, 0),
        };
        Self::Video { codec, reorder_ticks: pictures * layout.unit_ticks(Kind::Video) }
    }

    pub fn reorder_ticks(self) -> u32 {
        match self {
            Self::Video { reorder_ticks, .. } => reorder_ticks,
            Self::Audio => 0,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Video { .. } => Kind::Video,
            Self::Audio => Kind::Audio,
        }
    }
}

/// A finished CMAF chunk.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its bytes in order: header, then NAL lengths and media as they came in.
    pub pieces: Vec<Bytes>,
    /// Of the segment's bytes from its first to this part's last: equal ones prove that everything up to here is.
    pub upto: Digest,
    /// A decoder may start in it.
    pub independent: bool,
    /// How much of it had to be made up: pictures that repeat the one before, and twice those that are slate.
    pub made_up: u32,
    /// None of it is slate.
    pub real: bool,
}

/// A finished segment.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// Its chunks; their concatenation is the segment.
    pub parts: Vec<Part>,
    /// Of the segment's bytes.
    pub digest: Digest,
    /// Each unit's print, to name the first that differs.
    pub units: Vec<UnitPrint>,
    /// What had to be made up.
    pub filled: Filled,
    /// Video: what the sample entry must say.
    pub video: Option<VideoConfig>,
    /// Pieces of the first part, behind its header, that are the first sample.
    first: usize,
}

impl Whole {
    /// The bytes of the first picture as a sample; of sound, the first frame.
    pub fn first_picture(&self) -> &[Bytes] {
        first_picture(&self.parts, self.first)
    }
}

fn first_picture(parts: &[Part], pieces: usize) -> &[Bytes] {
    parts.first().and_then(|part| part.pieces.get(1..=pieces)).unwrap_or_default()
}

/// What is left of a unit to tell it from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitPrint {
    /// Its place on the grid.
    pub position: u64,
    /// Of its bytes. Digests say whether segments are equal; this only names the first unit that is not.
    crc: u32,
    bytes: u32,
    key: bool,
}

/// A segment under construction.
#[derive(Debug)]
pub(super) struct Segmenter {
    kind: Kind,
    reorder: u32,
    /// Takes pictures apart; none for sound.
    pictures: Option<Pictures>,
    layout: Layout,
    number: SegmentNumber,
    places: Range<u64>,
    /// Units still to come in each part, the part being filled first.
    cuts: std::vec::IntoIter<usize>,
    room: usize,
    seen: Vec<bool>,
    samples: Vec<Sample>,
    /// Pictures of the part being filled that had to be made up.
    made_up: Vec<Material>,
    /// NAL units or frames of the part being filled.
    media: Vec<Bytes>,
    parts: Vec<Part>,
    digester: Digester,
    units: Vec<UnitPrint>,
    first: usize,
}

impl Segmenter {
    /// For segment `number`.
    pub fn new(coding: Coding, layout: Layout, number: SegmentNumber) -> Self {
        let kind = coding.kind();
        let places = layout.units(kind, number);
        let mut cuts = layout.parts(kind, number).into_iter();
        Self {
            kind,
            reorder: coding.reorder_ticks(),
            pictures: match coding {
                Coding::Video { codec, .. } => Some(Pictures::new(codec)),
                Coding::Audio => None,
            },
            layout,
            number,
            seen: vec![false; usize::try_from(places.end - places.start).expect("a segment has few units")],
            places,
            room: cuts.next().unwrap_or(0),
            cuts,
            samples: Vec::new(),
            made_up: Vec::new(),
            media: Vec::new(),
            parts: Vec::new(),
            digester: Digester::default(),
            units: Vec::new(),
            first: 0,
        }
    }

    /// Takes the next unit. A wrong one spoils the segment: there is nothing to do but drop it.
    pub fn push(&mut self, unit: &CodedUnit) -> Result<(), Refusal> {
        let index = self.units.len();
        if index >= self.seen.len() {
            return Err(Refusal::Count { got: index + 1, want: self.seen.len() });
        }
        let place = self.place(index, unit.position)?;
        if index == 0 && !(unit.key && place == 0) {
            return Err(Refusal::NoKey);
        }
        let before = self.media.len();
        let starts = match &mut self.pictures {
            Some(pictures) => pictures.take(&unit.data, &mut self.media),
            None => {
                self.media.push(unit.data.clone());
                true
            }
        };
        let lengths = if self.has_lengths() { 4 * (self.media.len() - before) } else { 0 };
        let size = lengths + self.media[before..].iter().map(Bytes::len).sum::<usize>();
        let Some(size) = u32::try_from(size).ok().filter(|&s| s > 0) else {
            return Err(Refusal::Empty { unit: index });
        };
        if index == 0 {
            if !starts {
                return Err(Refusal::NoKey);
            }
            self.first = self.media.len() * if self.has_lengths() { 2 } else { 1 };
        }
        // Decode place i of a segment is its i-th unit, so decode times are the slots' own times and every segment lasts
        // exactly its slots; what reordering there is goes into composition offsets.
        let moved = i64::from(u32::try_from(place).unwrap_or(0)) - index as i64;
        let ticks = moved * i64::from(self.layout.unit_ticks(self.kind)) + i64::from(self.reorder);
        let composition_offset =
            i32::try_from(ticks).map_err(|_| Refusal::Position { unit: index, position: unit.position })?;
        self.samples.push(Sample { size, composition_offset, sync: unit.key });
        if unit.material != Material::Source {
            self.made_up.push(unit.material);
        }
        let (crc, bytes) = (crc32fast::hash(&unit.data), u32::try_from(unit.data.len()).unwrap_or(u32::MAX));
        self.units.push(UnitPrint { position: unit.position, crc, bytes, key: unit.key });
        self.room -= 1;
        if self.room == 0 {
            self.cut();
        }
        Ok(())
    }

    /// The parts that are finished.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// As [`Whole::first_picture`], once the first part is finished.
    pub fn first_picture(&self) -> &[Bytes] {
        first_picture(&self.parts, self.first)
    }

    /// What the sample entry must say; `None` for sound, and before there is a picture with parameter sets.
    pub fn video(&self) -> Option<VideoConfig> {
        self.pictures.as_ref().and_then(|pictures| pictures.config().ok())
    }

    /// The whole segment.
    pub fn finish(mut self, units: u32, filled: Filled) -> Result<Whole, Refusal> {
        // What the pipeline says it sent and what came must both be all of the grid's.
        let want = self.seen.len();
        for got in [self.units.len(), units as usize] {
            if got != want {
                return Err(Refusal::Count { got, want });
            }
        }
        let config = self.pictures.as_ref().map(Pictures::config).transpose();
        let video = config.map_err(|_| Refusal::ParameterSets)?;
        debug_assert!(self.samples.is_empty(), "the last cut falls on the last unit");
        self.units.shrink_to_fit();
        Ok(Whole {
            digest: self.parts.last().map_or_else(|| self.digester.digest(), |last| last.upto),
            parts: self.parts,
            units: self.units,
            filled,
            video,
            first: self.first,
        })
    }

    /// The place inside the segment; each is taken once, and sound comes in order.
    fn place(&mut self, index: usize, position: u64) -> Result<usize, Refusal> {
        let wrong = Refusal::Position { unit: index, position };
        if !self.places.contains(&position) {
            return Err(wrong);
        }
        let place = usize::try_from(position - self.places.start).map_err(|_| wrong.clone())?;
        if self.kind == Kind::Audio && place != index || self.seen[place] {
            return Err(wrong);
        }
        self.seen[place] = true;
        Ok(place)
    }

    fn has_lengths(&self) -> bool {
        self.pictures.as_ref().is_some_and(Pictures::has_lengths)
    }

    /// Closes the part being filled.
    fn cut(&mut self) {
        let first = self.units.len() - self.samples.len();
        let unit_ticks = self.layout.unit_ticks(self.kind);
        let chunk = Chunk {
            sequence: self.layout.sequence(self.number, self.parts.len()),
            decode_time: (self.places.start + first as u64) * u64::from(unit_ticks),
            sample_ticks: unit_ticks,
            samples: &self.samples,
        };
        let mut header = if self.parts.is_empty() { segment_type() } else { Vec::new() };
        header.extend_from_slice(&chunk.header());
        let mut pieces = vec![Bytes::from(header)];
        if self.has_lengths() {
            // All lengths of the part share one allocation.
            let mut lengths = BytesMut::with_capacity(4 * self.media.len());
            for nal in &self.media {
                lengths.put_u32(u32::try_from(nal.len()).unwrap_or(u32::MAX));
            }
            let lengths = lengths.freeze();
            for (i, nal) in self.media.drain(..).enumerate() {
                pieces.push(lengths.slice(4 * i..4 * i + 4));
                pieces.push(nal);
            }
        } else {
            pieces.append(&mut self.media);
        }
        pieces.iter().for_each(|piece| self.digester.update(piece));
        let cost = |material: &Material| if *material == Material::Slate { 2 } else { 1 };
        self.parts.push(Part {
            pieces,
            upto: self.digester.digest(),
            independent: self.samples.iter().any(|s| s.sync),
            made_up: self.made_up.iter().map(cost).sum(),
            real: !self.made_up.contains(&Material::Slate),
        });
        self.samples.clear();
        self.made_up.clear();
        self.room = self.cuts.next().unwrap_or(0);
    }
}
