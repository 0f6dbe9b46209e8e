//! CMAF ingest: another encoder is a pipeline of a channel, by HTTP (DASH-IF Live Media Ingest 1.2, interface 1).
//!
//! In:    bodies of POST and PUT requests, in any portions, with the time; which rendition each is for.
//! Out:   what an encode process would send: coded units and segment ends on the channel's grid; notices for people.
//! Never: decodes, repeats or makes up anything; gives on what does not fit the ladder.
//!
//! `stream` takes boxes apart, `header` tells what a track is, `timeline` leads to channel time, `track` cuts segments, and [`Point`] ties them
//! together for one pipeline: all of it without sockets and clocks. docs/cmaf-ingest.md

mod aside;
pub mod client;
mod desk;
mod header;
mod key;
mod path;
mod point;
pub mod publish;
mod refusal;
mod sender;
pub mod server;
mod stream;
#[cfg(test)]
mod tests;
mod time;
mod timeline;
mod told;
mod track;

use crate::channel::HostWord;
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::media::{RenditionId, SegmentNumber};

pub use aside::Aside;
pub use desk::Word;
pub use path::{Kind, Target, target};
pub use point::{Config, Object, Point};
pub use refusal::Refusal;
pub use sender::Sender;
pub use stream::{Element, Stream, StreamError};
pub use timeline::Misfit;
pub use told::input;

/// What comes out of a publishing point.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// As of an encode process.
    Coded(CodedUnit),
    /// As of an encode process. Where `units` are fewer than the grid has, the sender left some out.
    SegmentEnd(SegmentEnd),
    /// The host that publishes says something of itself.
    Host(Box<HostWord>),
    /// News for people and for the pipeline's owner.
    Notice(Notice),
}

/// What is new.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// A rendition's track began; what it is follows from its header.
    Began {
        /// Which.
        rendition: RenditionId,
    },
    /// The sender's times lead to channel time from here on. Segments follow.
    Placed {
        /// What was added to the sender's times, seconds; none where they are channel time.
        moved: Option<f64>,
    },
    /// The sender's time began anew: it is another process, or its clock was set.
    Anew {
        /// In which track that was seen.
        rendition: RenditionId,
    },
    /// Sender and channel drifted apart: segment numbers change by so many, two segments from now.
    Renumbered {
        /// Above 0: segments had come late.
        by: i64,
        /// The last one that came at a wrong time.
        after: SegmentNumber,
    },
    /// Nothing came for too long.
    Silent,
}

/// What a publishing point counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of bodies.
    pub bytes: u64,
    /// Units given on.
    pub units: u64,
    /// Segments given on whole, of all renditions.
    pub segments: u64,
    /// Segments that lacked units.
    pub incomplete: u64,
    /// Samples that had come before.
    pub duplicates: u64,
    /// Units without use: before the first segment, or beyond what may wait.
    pub dropped: u64,
    /// Pictures that lay between two slots.
    pub off_grid: u64,
    /// Sound whose frames changed their place on the grid, and so its sync by up to 10.7 ms.
    pub regridded: u64,
    /// Units far from the clock.
    pub astray: u64,
    /// Bodies refused.
    pub refused: u64,
    /// Times that the sender's time began anew.
    pub anew: u64,
}
