//! One segment of one rendition of one pipeline: checks each unit against the grid and cuts CMAF chunks as they fill.
//!
//! In:    coded units of one segment in decode order. Out: a [`Whole`] segment, or the reason why there is none.
//! Never: copies media, reads a clock, lets anything but units and grid decide a byte.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::event::Refusal;
use super::layout::{Kind, Layout};
use crate::encode::ipc::{CodedUnit, Filled};
use crate::encode::ladder::VideoRung;
use crate::media::SegmentNumber;
use crate::wire::codec::annexb;
use crate::wire::mp4::{AvcConfig, Chunk, ParameterSets, Sample, is_sample_nal, segment_type};

/// How far reordering may move a picture of a rung behind its decode time, in ticks; what its track's edit takes off.
/// x264 reorders by one picture with one B-frame and, as it may use one as a reference, by two with more (sps
/// max_num_reorder_frames). It comes from the configuration and not from the pictures at hand, which may use less of it.
pub(super) fn reorder_ticks(layout: &Layout, rung: &VideoRung) -> u32 {
    rung.bframes.min(2) * layout.unit_ticks(Kind::Video)
}

/// A finished CMAF chunk.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its bytes in order: header, then NAL lengths and media as they came in.
    pub pieces: Vec<Bytes>,
}

/// A finished segment.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// Its chunks; their concatenation is the segment.
    pub parts: Vec<Part>,
    /// Bytes.
    pub len: usize,
    /// SHA-256 of the segment's bytes.
    pub digest: [u8; 32],
    /// A hash of each unit, to name the first that differs. It is compared within this process only.
    pub units: Vec<u64>,
    /// What had to be made up.
    pub filled: Filled,
    /// Video: what the sample entry must say.
    pub avc: Option<AvcConfig>,
}

/// A segment under construction.
#[derive(Debug)]
pub(super) struct Segmenter {
    kind: Kind,
    reorder: u32,
    layout: Layout,
    number: SegmentNumber,
    places: Range<u64>,
    /// Units still to come in each part, the part being filled first.
    cuts: std::vec::IntoIter<usize>,
    room: usize,
    seen: Vec<bool>,
    sets: ParameterSets,
    samples: Vec<Sample>,
    /// NAL units or frames of the part being filled.
    media: Vec<Bytes>,
    parts: Vec<Part>,
    len: usize,
    digest: Sha256,
    units: Vec<u64>,
}

impl Segmenter {
    /// `reorder` as in [`reorder_ticks`].
    pub fn new(kind: Kind, reorder: u32, layout: Layout, number: SegmentNumber) -> Self {
        let places = layout.units(kind, number);
        let mut cuts = layout.parts(kind, number).into_iter();
        Self {
            kind,
            reorder,
            layout,
            number,
            seen: vec![false; usize::try_from(places.end - places.start).expect("a segment has few units")],
            places,
            room: cuts.next().unwrap_or(0),
            cuts,
            sets: ParameterSets::default(),
            samples: Vec::new(),
            media: Vec::new(),
            parts: Vec::new(),
            len: 0,
            digest: Sha256::new(),
            units: Vec::new(),
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
        let size = match self.kind {
            Kind::Video => self.take_picture(unit),
            Kind::Audio => self.take_sound(unit),
        };
        let Some(size) = size.filter(|&s| s > 0) else { return Err(Refusal::Empty { unit: index }) };
        if index == 0 && self.kind == Kind::Video && !self.media.iter().any(|nal| ParameterSets::is_idr(nal)) {
            return Err(Refusal::NoKey);
        }
        // Decode place i of a segment is its i-th unit, so decode times are the slots' own times and every segment lasts
        // exactly its slots; what reordering there is goes into composition offsets.
        let moved = i64::from(u32::try_from(place).unwrap_or(0)) - index as i64;
        let ticks = moved * i64::from(self.layout.unit_ticks(self.kind)) + i64::from(self.reorder);
        let composition_offset =
            i32::try_from(ticks).map_err(|_| Refusal::Position { unit: index, position: unit.position })?;
        self.samples.push(Sample { size, composition_offset, sync: unit.key });
        let mut hash = DefaultHasher::new();
        (unit.position, unit.key, &unit.data).hash(&mut hash);
        self.units.push(hash.finish());
        self.room -= 1;
        if self.room == 0 {
            self.cut();
        }
        Ok(())
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
        let avc = match self.kind {
            Kind::Video => Some(AvcConfig::new(&self.sets).map_err(|_| Refusal::ParameterSets)?),
            Kind::Audio => None,
        };
        debug_assert!(self.samples.is_empty(), "the last cut falls on the last unit");
        self.units.shrink_to_fit();
        Ok(Whole {
            parts: self.parts,
            len: self.len,
            digest: self.digest.finalize().into(),
            units: self.units,
            filled,
            avc,
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

    /// Bytes the picture will have as a sample: NAL units with lengths of 4 bytes; `None` when no NAL unit is left.
    fn take_picture(&mut self, unit: &CodedUnit) -> Option<u32> {
        let mut size = 0usize;
        for nal in annexb::nal_units(&unit.data) {
            let nal = unit.data.slice_ref(nal);
            if is_sample_nal(&nal) {
                size += 4 + nal.len();
                self.media.push(nal);
            } else {
                self.sets.note(&nal);
            }
        }
        u32::try_from(size).ok()
    }

    fn take_sound(&mut self, unit: &CodedUnit) -> Option<u32> {
        self.media.push(unit.data.clone());
        u32::try_from(unit.data.len()).ok()
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
        match self.kind {
            Kind::Audio => pieces.append(&mut self.media),
            Kind::Video => {
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
            }
        }
        for piece in &pieces {
            self.digest.update(piece);
            self.len += piece.len();
        }
        self.samples.clear();
        self.parts.push(Part { pieces });
        self.room = self.cuts.next().unwrap_or(0);
    }
}
