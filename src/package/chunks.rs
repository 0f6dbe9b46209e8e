//! One rendition's units → CMAF chunks as they fill, without a packager: what a publisher sends to another host. The bytes are those that a
//! packager would serve.
//!
//! In:    coded units and segment ends of one rendition, in each segment's decode order; segments may overlap.
//! Out:   the header, and pieces of chunks, segment after segment.
//! Never: gives out a segment before the one before it has ended or was given up.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::language::Language;
use super::layout::{Kind, Layout};
use super::segmenter::{Coding, Segmenter};
use super::{Config, Refusal};
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::encode::ladder::AudioRung;
use crate::media::{AUDIO_RATE, SegmentNumber};
use crate::wire::mp4::{AudioTrack, Track, TrackMedia, header};

/// Segments under construction at once: encoders overlap two. Beyond, the oldest is given up.
const OPEN_MAX: usize = 4;

/// What is next in a rendition's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Pieces of chunks of this segment.
    Chunks(SegmentNumber, Vec<Bytes>),
    /// That segment is whole.
    End(SegmentEnd),
}

/// A segment under construction.
#[derive(Debug)]
struct Open {
    segmenter: Segmenter,
    /// Parts that were given out.
    given: usize,
    end: Option<SegmentEnd>,
}

/// One rendition.
#[derive(Debug)]
pub struct Chunks {
    coding: Coding,
    layout: Layout,
    /// Of sound: what its header says.
    sound: Option<(AudioRung, [u8; 3])>,
    header: Option<Bytes>,
    open: BTreeMap<SegmentNumber, Open>,
    /// The newest segment that ended or was given up.
    done: Option<SegmentNumber>,
}

impl Chunks {
    /// Of the `n`-th rendition: video, then audio; `None` where there are not so many.
    pub fn new(config: &Config, n: usize) -> Option<Self> {
        let layout = Layout::new(config.grid, config.part);
        let (coding, sound) = match config.video.get(n) {
            Some(rung) => (Coding::video(&layout, rung), None),
            None => {
                let rung = config.audio.get(n - config.video.len())?.clone();
                let language = rung.language.map_or_else(|| Language::of_tag(&config.language), Language::of_code);
                (Coding::Audio, Some((rung, language.code)))
            }
        };
        Some(Self { coding, layout, sound, header: None, open: BTreeMap::new(), done: None })
    }

    /// The CMAF header; not known before the first picture, which brings it.
    pub fn header(&self) -> Option<&Bytes> {
        self.header.as_ref()
    }

    /// Takes the next unit, and gives what is complete with it.
    ///
    /// # Errors
    /// It does not fit; its segment is given up.
    pub fn coded(&mut self, unit: &CodedUnit) -> Result<Vec<Next>, Refusal> {
        let number = unit.segment;
        if self.done.is_some_and(|done| number <= done) {
            return Ok(Vec::new());
        }
        let (coding, layout) = (self.coding, self.layout);
        let new = || Open { segmenter: Segmenter::new(coding, layout, number), given: 0, end: None };
        if let Err(why) = self.open.entry(number).or_insert_with(new).segmenter.push(unit) {
            self.open.remove(&number);
            self.done = self.done.max(Some(number));
            return Err(why);
        }
        self.describe(number)?;
        if self.open.len() > OPEN_MAX
            && let Some((oldest, _)) = self.open.pop_first()
        {
            self.done = self.done.max(Some(oldest));
        }
        self.give()
    }

    /// A segment is whole.
    ///
    /// # Errors
    /// It is not.
    pub fn segment_end(&mut self, end: SegmentEnd) -> Result<Vec<Next>, Refusal> {
        if let Some(open) = self.open.get_mut(&end.segment) {
            open.end = Some(end);
        }
        self.give()
    }

    /// Who made the units is gone: what is not whole will never be.
    pub fn give_up(&mut self) {
        self.done = self.done.max(self.open.keys().next_back().copied());
        self.open.clear();
    }

    /// Notes what the header says, with the first unit.
    fn describe(&mut self, number: SegmentNumber) -> Result<(), Refusal> {
        if self.header.is_some() {
            return Ok(());
        }
        let track = match (&self.sound, self.open.get(&number)) {
            (Some((rung, language)), _) => Track {
                timescale: self.layout.timescale(Kind::Audio).hz(),
                language: *language,
                reorder_ticks: 0,
                media: TrackMedia::Aac(AudioTrack { rate: AUDIO_RATE, channels: rung.channels, bitrate: rung.bitrate }),
            },
            (None, Some(Open { segmenter, .. })) => Track {
                timescale: self.layout.timescale(Kind::Video).hz(),
                language: *b"und",
                reorder_ticks: self.coding.reorder_ticks(),
                media: TrackMedia::Video(segmenter.video().ok_or(Refusal::ParameterSets)?),
            },
            (None, None) => return Ok(()),
        };
        self.header = Some(header(&track).into());
        Ok(())
    }

    /// Everything that is complete, in order.
    fn give(&mut self) -> Result<Vec<Next>, Refusal> {
        let mut next = Vec::new();
        while let Some(mut first) = self.open.first_entry() {
            let number = *first.key();
            let open = first.get_mut();
            let parts = &open.segmenter.parts()[open.given..];
            let pieces: Vec<Bytes> = parts.iter().flat_map(|part| part.pieces.iter().cloned()).collect();
            open.given = open.segmenter.parts().len();
            if !pieces.is_empty() {
                next.push(Next::Chunks(number, pieces));
            }
            let Some(end) = open.end else { break };
            let Open { segmenter, .. } = first.remove();
            self.done = self.done.max(Some(number));
            segmenter.finish(end.units, end.filled)?;
            next.push(Next::End(end));
        }
        Ok(next)
    }
}
