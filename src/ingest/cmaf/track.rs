//! One track of a pipeline: samples in decode order → units on the channel's grid, closed per segment.
//!
//! In:    samples as they become whole; the timeline they are on.
//! Out:   [`CodedUnit`]s and [`SegmentEnd`]s, as an encode process sends them.
//! Never: gives a place twice; begins a segment anywhere but at its first place; holds more than [`HELD_MAX`] and [`HELD_BYTES_MAX`].

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;

use bytes::Bytes;

use super::header::{Header, Timed};
use super::time::{Fine, first_sample, nearest_frame, nearest_sample, nearest_slot, segment_of_frame, slot_length};
use super::timeline::{Misfit, Waiting};
use super::{Figures, Output};
use crate::clock::Now;
use crate::encode::ipc::{CodedUnit, Filled, Material, RenditionIndex, SegmentEnd};
use crate::media::{AUDIO_FRAME_SAMPLES, AudioFrame, Grid, SegmentNumber};
use crate::wire::mp4::read::Sample;

/// Most units that wait for a timeline: two segments of ten seconds at 120 a second, and sound as long.
pub const HELD_MAX: usize = 3072;
/// And most bytes of them: a segment of ten seconds at 50 Mbit/s.
pub const HELD_BYTES_MAX: usize = 64 << 20;
/// So many pictures in a row between two slots are no accident.
const OFF_GRID_MAX: u32 = 50;
/// Samples that are known again when they are sent again: those of three segments (DASH-IF Live Media Ingest §5.8: a sender that lost its
/// connection sends again what it sent up to three segments ago), of ten seconds at 60 a second. Not more, as another sender may begin with
/// the same silence.
const KNOWN_MAX: usize = 1800;
/// A track that jumps further ahead did not lose its samples: its time began anew. Seconds.
const JUMP: i128 = 30;

/// How a sample follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Right behind it, or behind a hole.
    On,
    /// It came before, with the same bytes.
    Again,
    /// Its time has nothing to do with what came before.
    Anew,
}

/// A segment that is being received.
#[derive(Debug)]
struct Open {
    segment: SegmentNumber,
    /// Its first unit's time, as the sender says it.
    first: Fine,
    /// Of each place, whether it came.
    seen: Vec<bool>,
    begins: u64,
    got: u32,
}

/// A segment that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Which.
    pub segment: SegmentNumber,
    /// Its first unit's time, as the sender says it.
    pub first: Fine,
}

/// One rendition's track.
#[derive(Debug)]
pub struct Track {
    rendition: RenditionIndex,
    is_video: bool,
    grid: Grid,
    /// The header that samples are read by.
    pub header: Option<Header>,
    /// Ours: each segment is followed by word of what was made up in it.
    pub tells: bool,
    /// The name it comes under, where that is not the rendition's.
    pub alias: Option<String>,
    /// When a sample came last.
    pub heard: Option<Now>,
    /// Which of the sender's timelines it is on.
    pub generation: u32,
    /// Sound of a connection that began anew waits so long for the pictures' new time.
    pub waits_until: Option<Now>,
    next: Option<i64>,
    known: VecDeque<(i64, u64)>,
    held: VecDeque<Timed>,
    held_bytes: usize,
    open: Option<Open>,
    done: Option<SegmentNumber>,
    /// Pictures in a row that lay between two slots.
    off_grid: u32,
    /// Of sound: how far the sender's frames lie behind ours, samples.
    behind: Option<i128>,
}

impl Track {
    /// Of a rendition that nothing has come for.
    pub fn new(rendition: RenditionIndex, is_video: bool, grid: Grid) -> Self {
        Self {
            rendition,
            is_video,
            grid,
            header: None,
            tells: false,
            alias: None,
            heard: None,
            generation: 0,
            waits_until: None,
            next: None,
            known: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            open: None,
            done: None,
            off_grid: 0,
            behind: None,
        }
    }

    /// It holds pictures.
    pub fn is_video(&self) -> bool {
        self.is_video
    }

    /// The sender is another one: what came of this track does not tell what comes.
    pub fn forget(&mut self) {
        self.next = None;
        self.known.clear();
    }

    /// Nothing that comes continues what came.
    pub fn restart(&mut self) {
        (self.next, self.behind, self.open, self.done, self.held_bytes) = (None, None, None, None, 0);
        self.off_grid = 0;
        self.known.clear();
        self.held.clear();
    }

    /// How a sample follows those before it.
    pub fn follows(&mut self, sample: &Sample, data: &Bytes) -> Follows {
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        let print = (sample.dts, hasher.finish());
        let timescale = self.header.as_ref().map_or(1, |header| i128::from(header.timescale()));
        let ahead = self.next.map_or(0, |next| i128::from(sample.dts) - i128::from(next));
        // Ticks may be coarse: what is off by less than half a sample is not early.
        let early = ahead * 2 < -i128::from(sample.duration);
        let follows = match early {
            true if self.known.contains(&print) => return Follows::Again,
            true => Follows::Anew,
            false if ahead > JUMP * timescale => Follows::Anew,
            false => Follows::On,
        };
        if follows == Follows::On {
            self.note(sample, print);
        }
        follows
    }

    /// The sample is the first of a new time.
    pub fn begin(&mut self, sample: &Sample, data: &Bytes) {
        self.restart();
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        self.note(sample, (sample.dts, hasher.finish()));
    }

    fn note(&mut self, sample: &Sample, print: (i64, u64)) {
        self.next = Some(sample.dts.saturating_add(i64::from(sample.duration)));
        let timescale = self.header.as_ref().map_or(1, |header| i128::from(header.timescale()));
        let reach = 3 * self.grid.segment().as_millis() as i128 * timescale / 1000;
        let old = |dts: i64| i128::from(dts) < i128::from(sample.dts) - reach;
        while self.known.len() == KNOWN_MAX || self.known.front().is_some_and(|(dts, _)| old(*dts)) {
            self.known.pop_front();
        }
        self.known.push_back(print);
    }

    /// Keeps a unit until its time is known. The oldest go where there is no room.
    pub fn hold(&mut self, unit: Timed, figures: &mut Figures) {
        self.held_bytes += unit.data.len();
        self.held.push_back(unit);
        while self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            if let Some(oldest) = self.held.pop_front() {
                self.held_bytes -= oldest.data.len();
                figures.dropped += 1;
            }
        }
    }

    /// What waits, in order.
    pub fn take_held(&mut self) -> VecDeque<Timed> {
        self.held_bytes = 0;
        mem::take(&mut self.held)
    }

    /// When the first unit that waits is shown or heard, as the sender says it.
    pub fn first_held(&self) -> Option<Fine> {
        self.held.front().map(|unit| unit.at)
    }

    /// The pictures that wait, from the first key picture on: what lies before it is of no use to anybody.
    pub fn waiting(&mut self, figures: &mut Figures) -> Option<Waiting> {
        while let Some(unit) = self.held.pop_front_if(|unit| !unit.key) {
            self.held_bytes -= unit.data.len();
            figures.dropped += 1;
        }
        let keys = (0..).zip(&self.held).filter(|(_, unit)| unit.key).map(|(n, unit)| (n, unit.at)).collect();
        let newest = self.held.iter().map(|unit| unit.at).max()?;
        Some(Waiting { keys, pictures: self.held.len() as u64, newest })
    }

    /// Puts a unit into its place; `at` is its channel time. Tells a segment that is whole with it.
    ///
    /// # Errors
    /// It does not fit the grid, and what follows will not either.
    pub fn place(
        &mut self,
        unit: Timed,
        at: Fine,
        out: &mut Vec<Output>,
        figures: &mut Figures,
    ) -> Result<Option<Whole>, Misfit> {
        let Some((segment, position)) = self.position(at, figures) else {
            figures.off_grid += 1;
            self.off_grid += 1;
            let drifts = self.off_grid > OFF_GRID_MAX;
            return if drifts { Err(Misfit::OffGrid(self.grid.rate().to_string())) } else { Ok(None) };
        };
        self.off_grid = 0;
        let places = if self.is_video { self.grid.slots(segment) } else { self.grid.audio_frames(segment) };
        if let Some(open) = &self.open {
            if self.is_video && segment < open.segment && !unit.key {
                return Err(Misfit::OpenGop);
            }
            if segment > open.segment {
                self.close(Filled::default(), out, figures);
            }
        }
        if self.done.is_some_and(|done| segment <= done) {
            figures.duplicates += 1;
            return Ok(None);
        }
        if self.open.is_none() {
            if position != places.start {
                // Its beginning was missed; the next one's will not be.
                figures.dropped += 1;
                return Ok(None);
            }
            if !unit.key {
                return Err(Misfit::NoKey(segment));
            }
            let count = usize::try_from(places.end - places.start).unwrap_or(0);
            let begins = places.start;
            self.open = Some(Open { segment, first: unit.at, seen: vec![false; count], begins, got: 0 });
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        let seen = usize::try_from(position - open.begins).ok().and_then(|place| open.seen.get_mut(place));
        if seen.is_none_or(|seen| mem::replace(seen, true)) {
            figures.duplicates += 1;
            return Ok(None);
        }
        open.got += 1;
        figures.units += 1;
        let rendition = self.rendition;
        // Which of a segment's pictures were made up is not told, only how many.
        let material = Material::default();
        out.push(Output::Coded(CodedUnit { rendition, segment, position, key: unit.key, material, data: unit.data }));
        let whole = (open.got as usize == open.seen.len()).then_some(Whole { segment, first: open.first });
        if whole.is_some() && !self.tells {
            self.close(Filled::default(), out, figures);
        }
        Ok(whole)
    }

    /// The sender says what it made up in a segment, behind its last unit.
    pub fn tell(&mut self, segment: SegmentNumber, filled: Filled, out: &mut Vec<Output>, figures: &mut Figures) {
        if self.open.as_ref().is_some_and(|open| open.segment == segment) {
            self.close(filled, out, figures);
        }
    }

    fn close(&mut self, filled: Filled, out: &mut Vec<Output>, figures: &mut Figures) {
        let Some(open) = self.open.take() else { return };
        let whole = open.got as usize == open.seen.len();
        figures.segments += u64::from(whole);
        figures.incomplete += u64::from(!whole);
        self.done = Some(open.segment);
        let (rendition, segment) = (self.rendition, open.segment);
        out.push(Output::SegmentEnd(SegmentEnd { rendition, segment, units: open.got, filled }));
    }

    fn position(&mut self, at: Fine, figures: &mut Figures) -> Option<(SegmentNumber, u64)> {
        if self.is_video {
            let (slot, off) = nearest_slot(&self.grid, at)?;
            return (off.abs().times(4) <= slot_length(&self.grid)).then(|| (self.grid.segment_of(slot), slot.0));
        }
        let sample = nearest_sample(at);
        // What a frame's place is must not hang on a sample more or less: it is reckoned from the first one's.
        let near = |frame: AudioFrame, behind: i128| (sample - first_sample(frame) - behind).abs();
        let known = self.behind.and_then(|behind| Some((nearest_frame(sample - behind)?, behind)));
        let frame = match known.filter(|(frame, behind)| near(*frame, *behind) * 8 <= i128::from(AUDIO_FRAME_SAMPLES)) {
            Some((frame, _)) => frame,
            None => {
                figures.regridded += u64::from(self.behind.is_some());
                let frame = nearest_frame(sample)?;
                self.behind = Some(sample - first_sample(frame));
                frame
            }
        };
        Some((segment_of_frame(&self.grid, frame), frame.0))
    }
}
