//! Coded units in, snapshots out.
//!
//! In:    coded units and segment ends of pipelines A and B, in each one's decode order; the time.
//! Out:   an immutable [`Snapshot`] after each publication; decisions as [`PackageEvent`]s.
//! Never: opens a socket, reads a clock, waits for a pipeline longer than the live edge allows.

mod bandwidth;
mod blocking;
mod catalogue;
mod choice;
mod chunks;
mod compare;
mod content;
mod dash;
mod digest;
mod edge;
mod event;
mod front;
mod hls;
mod hls_ts;
mod keep;
mod language;
mod layout;
mod names;
mod packager;
mod patch;
mod query;
mod remux;
mod rest;
mod rope;
mod segmenter;
mod selector;
mod shift;
mod slab;
mod snapshot;
mod stand_in;
mod transport;
mod trick;
mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::config::{Profile, Serve};
use crate::encode::ladder::{AudioRung, VideoRung};
use crate::media::{ChannelId, Grid, PipelineId, ProfileId, RenditionId};

pub use chunks::{Chunks, Next};
pub use content::Content;
pub use event::{Change, PackageEvent, Refusal, Verdict};
pub use keep::{Head, Keep, Kept, KeptObject, KeptState};
pub use packager::{Packager, Saved};
pub use slab::Stored;
pub use snapshot::{Cache, Growing, Growth, Lookup, Making, Resource, Snapshot};
pub use window::kept_for;

/// What one channel's packager needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which channel.
    pub channel: ChannelId,
    /// Segment duration and frame rate.
    pub grid: Grid,
    /// CMAF chunk duration; rounded to whole slots, at least one, at most a segment.
    pub part: Duration,
    /// In which forms it goes out.
    pub serve: Serve,
    /// What classes of devices are offered.
    pub profiles: Vec<Profile>,
    /// How much of the past playlists and manifest list; at least four segments are.
    pub window: Duration,
    /// The channel's pipelines, one or two. With two, every segment is compared.
    pub pipelines: Vec<PipelineId>,
    /// Video renditions in the order of [`Job::video`](crate::encode::ipc::Job::video); none in a channel of sound alone.
    pub video: Vec<VideoRung>,
    /// Audio renditions in the order of [`Job::audio`](crate::encode::ipc::Job::audio).
    pub audio: Vec<AudioRung>,
    /// Language of sound whose rung names none, as BCP 47 spells it; `und` where it is not known.
    pub language: String,
    /// Where the origin tells the time as `xs:dateTime`, for DASH clients (`UTCTiming`); `/time` on our own origin.
    pub time_uri: String,
    /// Both pipelines must make equal bytes of equal sources: a difference in their pictures proves damage.
    pub deterministic: bool,
    /// There is a disk: what is published is handed out to be kept ([`Packager::take_keeps`]), and old media is served from there.
    pub disk: bool,
    /// Hand out whole segments of both pipelines through [`Packager::take_saved`].
    pub save: bool,
}

/// Why a packager could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Nothing to package.
    #[error("a channel needs at least one rendition")]
    NoRenditions,
    /// Renditions are told apart by a byte.
    #[error("{0} renditions: 256 are possible")]
    TooManyRenditions(usize),
    /// Two renditions under one name.
    #[error("two renditions are called `{0}`")]
    SameName(RenditionId),
    /// One name would mean two things in URLs.
    #[error("a profile and a rendition are both called `{0}`")]
    SameProfile(ProfileId),
    /// It goes into playlists as it stands.
    #[error("`{0}` is no language tag: write `en`, `deu`, `pt-BR`, or `und`")]
    Language(String),
    /// Nobody to take segments from.
    #[error("a channel needs one or two different pipelines")]
    Pipelines,
}
