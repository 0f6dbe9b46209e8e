//! What of a window outlives the process: what is to be written, and what is found again.
//!
//! In:    what is published; after a restart what a disk has kept of it.
//! Out:   [`Keep`]s, in the order in which things were published; a [`Head`], by which a kept window is recognised.
//! Never: writes or reads a disk.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::catalogue::Catalogue;
use super::segmenter::Coding;
use super::{Config, layout::Layout};
use crate::dvr::Place;
use crate::encode::ladder::{AudioRung, VideoRung};
use crate::media::SegmentNumber;
use crate::wire::mp4::VideoConfig;

/// One thing to keep. Tracks are the renditions in order, trick play behind them.
#[derive(Clone, Debug)]
pub enum Keep {
    /// First: what all that follows is of.
    Head(Bytes),
    /// The next part of a segment, of all tracks that have something in it.
    Part {
        /// Which segment.
        number: SegmentNumber,
        /// Counted from 0.
        part: u16,
        /// By track.
        objects: Vec<(u16, Bytes)>,
    },
    /// A segment is whole.
    Closed {
        /// Which.
        number: SegmentNumber,
        /// First half of the digest of its bytes, by track.
        tags: Vec<(u16, [u8; 16])>,
        /// What is to be known of its parts.
        note: Bytes,
    },
    /// A segment is missing, whatever was kept of its parts.
    Gap {
        /// Which.
        number: SegmentNumber,
    },
    /// Where the channel's sources lie on its time, in its owner's words; the newest counts.
    Anchors(Bytes),
}

/// A segment that was kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Which.
    pub number: SegmentNumber,
    /// How much of it there is.
    pub state: KeptState,
    /// By track; none of a gap.
    pub objects: Vec<KeptObject>,
    /// As it was given with [`Keep::Closed`].
    pub note: Vec<u8>,
}

/// How much there is of a segment that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptState {
    /// All.
    Whole,
    /// Nothing.
    Gap,
    /// Its first parts.
    Open,
}

/// One track of it.
#[derive(Clone, Debug)]
pub struct KeptObject {
    /// Which.
    pub track: u16,
    /// Where it lies.
    pub place: Place,
    /// Bytes of each part.
    pub parts: Vec<u32>,
    /// As it was given with [`Keep::Closed`].
    pub tag: [u8; 16],
}

/// What a kept window is of. Whoever has another one cannot go on with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Of this layout; raised when what is written can no longer be read.
    format: u32,
    channel: String,
    segment_ns: u64,
    rate: (u32, u32),
    part_ns: u64,
    language: String,
    /// The renditions of it.
    pub video: Vec<VideoRung>,
    /// And its sound.
    pub audio: Vec<AudioRung>,
    /// Configuration records, by video rendition.
    records: Vec<Vec<u8>>,
    /// The name of all headers.
    init: String,
}

/// Raised when what is written can no longer be read, or means something else. In 1 tags and the name of all headers were made of
/// SHA-256.
const FORMAT: u32 = 2;

impl Head {
    pub(super) fn new(config: &Config, catalogue: &Catalogue) -> Self {
        let records = catalogue.configs().iter().flatten().map(|config| config.record().to_vec()).collect();
        Self { records, init: catalogue.init.clone(), ..Self::of(config) }
    }

    /// But for what only pictures tell.
    fn of(config: &Config) -> Self {
        let rate = config.grid.rate();
        Self {
            format: FORMAT,
            channel: config.channel.to_string(),
            segment_ns: u64::try_from(config.grid.segment().as_nanos()).unwrap_or(u64::MAX),
            rate: (rate.num(), rate.den()),
            part_ns: u64::try_from(config.part.as_nanos()).unwrap_or(u64::MAX),
            language: config.language.clone(),
            video: config.video.clone(),
            audio: config.audio.clone(),
            records: Vec::new(),
            init: String::new(),
        }
    }

    /// Reads what [`Keep::Head`] had; `None` where it is not of this program's making.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|head: &Self| head.format == FORMAT)
    }

    pub(super) fn write(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// What players were told; `None` where `config` would tell them something else.
    pub(super) fn catalogue(&self, config: &Config, layout: &Layout) -> Option<Catalogue> {
        let plain = Self { records: Vec::new(), init: String::new(), ..self.clone() };
        if plain != Self::of(config) || self.records.len() != config.video.len() {
            return None;
        }
        let video = config.video.iter().zip(&self.records).map(|(rung, record)| {
            let Coding::Video { codec, .. } = Coding::video(layout, rung) else { return None };
            VideoConfig::of_record(codec, record).ok().filter(|found| found.record() == record)
        });
        let configs: Option<Vec<_>> = video.map(|config| config.map(Some)).collect();
        let mut configs = configs?;
        configs.resize(config.video.len() + config.audio.len(), None);
        let catalogue = Catalogue::new(config, layout, configs);
        // A program that writes other headers would have other URLs for them.
        (catalogue.init == self.init).then_some(catalogue)
    }
}

/// What is to be known of a segment's parts: behind how many rows of its own it was published whole, and which parts can be
/// started at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// Rows that were published before it could not be gone on with; the row behind them is the segment. 0 where rows make it.
    pub broken: u16,
    /// A bit for each part, by rendition.
    pub independent: Vec<u64>,
}

impl Note {
    pub fn write(&self) -> Bytes {
        let mut out = vec![1];
        out.extend_from_slice(&self.broken.to_be_bytes());
        self.independent.iter().for_each(|bits| out.extend_from_slice(&bits.to_be_bytes()));
        out.into()
    }

    pub fn read(bytes: &[u8]) -> Self {
        let Some(([1], rest)) = bytes.split_first_chunk::<1>() else { return Self::default() };
        let Some((broken, rest)) = rest.split_first_chunk::<2>() else { return Self::default() };
        let bits = rest.chunks_exact(8).map(|bits| bits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        Self { broken: u16::from_be_bytes(*broken), independent: bits.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_older_program_is_another_windows() {
        let of = |format| Head {
            format,
            channel: "news".to_owned(),
            segment_ns: 2_000_000_000,
            rate: (25, 1),
            part_ns: 200_000_000,
            language: "und".to_owned(),
            video: Vec::new(),
            audio: Vec::new(),
            records: Vec::new(),
            init: "init-00000000.mp4".to_owned(),
        };
        assert_eq!(Head::read(&of(FORMAT).write()), Some(of(FORMAT)));
        assert_eq!(Head::read(&of(FORMAT - 1).write()), None);
    }

    #[test]
    fn a_note_reads_as_it_was_written() {
        for note in [
            Note::default(),
            Note { broken: 3, independent: vec![1, u64::MAX, 0] },
            Note { broken: u16::MAX, independent: vec![0x0102_0304_0506_0708] },
        ] {
            assert_eq!(Note::read(&note.write()), note);
        }
        assert_eq!(Note::read(&[]), Note::default());
        assert_eq!(Note::read(&[9, 1, 2, 3]), Note::default(), "of another layout");
        assert_eq!(Note::read(&[1, 0]), Note::default(), "cut");
    }
}
