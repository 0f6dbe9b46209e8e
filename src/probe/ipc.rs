//! What the main process and a channel's probe say to each other, over the socket that is the child's stdin.
//!
//! Main → probe: one [`Job`], then [`Piece`]s. Probe → main, once it has its job: [`FromProbe::Hello`], then what it has seen, and a
//! [`Heartbeat`] four times a second.
//!
//! Times of arrival are microseconds since an instant that only the main process knows; the probe gives them back.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::media::{ChannelId, ChannelTime, Codec};

/// How often a probe that is well says so.
pub const HEARTBEAT_EVERY: Duration = Duration::from_millis(250);

/// What has been seen of a source is told when it changes, and this often in any case.
pub const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Most sources a probe looks at.
pub const SOURCES_MAX: usize = 64;

/// Everything a probe needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// For its logs.
    pub channel: ChannelId,
    /// So many sources, 1 to [`SOURCES_MAX`].
    pub sources: u8,
    /// What to look for in pictures; they are not decoded where not said.
    pub pictures: Option<Pictures>,
    /// What to look for in sound; it is not decoded where not said.
    pub sound: Option<Sound>,
    /// Text of a pipeline template to use in place of the built-in `pipelines/encode.toml`.
    pub template: Option<String>,
}

/// What a picture is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pictures {
    /// Luma up to this is dark, 8-bit code (ITU-R BT.709: black is 16, white 235).
    pub dark_level: u8,
    /// A picture is black where at least so much of it is dark, 0 to 1.
    pub dark_share: f32,
    /// By so much the mean luma of an area must change to be movement, 8-bit codes.
    pub change: f32,
    /// So many pictures with errors within a second are a fault.
    pub errors_per_second: u32,
}

/// What sound is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sound {
    /// Sound is silence below this (RMS of the loudest channel), dBFS.
    pub level: f32,
}

/// Main → probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToProbe {
    /// First, and once.
    Job(Box<Job>),
    /// Media of a source.
    Piece(Piece),
    /// What follows of this source does not continue what came before.
    Anew {
        /// Place of the source.
        source: u8,
        /// What is seen from here on is told with this number.
        session: u32,
    },
}

/// One coded picture (a PES payload of video), or coded sound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Place of the source.
    pub source: u8,
    /// When it arrived.
    pub arrival: u64,
    /// Its format.
    pub codec: Codec,
    /// When it is shown.
    pub pts: ChannelTime,
    /// A decoder may begin here.
    pub key: bool,
    /// The coded bytes, byte-stream format.
    pub data: Bytes,
}

/// Probe → main.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromProbe {
    /// First, and once.
    Hello,
    /// What was seen of a source.
    Seen(Seen),
    /// The probe is alive and this is how it fares.
    Heartbeat(Heartbeat),
}

/// What was seen of a source, as of the newest piece that was looked at. Times are those of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Place of the source.
    pub source: u8,
    /// The number of the last [`ToProbe::Anew`]; 0 before any.
    pub session: u32,
    /// Of its pictures, if one was decoded.
    pub picture: Option<PictureSeen>,
    /// Of its sound, if any was decoded.
    pub sound: Option<SoundSeen>,
}

/// What was seen of pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureSeen {
    /// Arrival of the newest unit that was looked at.
    pub at: u64,
    /// Black since then.
    pub black_since: Option<u64>,
    /// It stands still since then.
    pub still_since: Option<u64>,
    /// Too many pictures with errors since then.
    pub errors_since: Option<u64>,
    /// Units that could not be decoded whole, since the start of the probe.
    pub errors: u64,
}

/// What was heard of sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundSeen {
    /// Arrival of the newest unit that was listened to.
    pub at: u64,
    /// Silence since then.
    pub silent_since: Option<u64>,
    /// RMS of the loudest channel in the loudest block since it was last told, hundredths of dBFS, −12000 to 0.
    pub level: i16,
}

/// How a probe fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Pieces left out because their source's decoder was behind, since its start.
    pub skipped: u64,
    /// Pictures decoded since its start.
    pub decoded: u64,
    /// CPU time since its start.
    pub cpu: Duration,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}
