//! Status of a merged source: its paths, and what each of them was good for.

use serde::{Deserialize, Serialize};

use super::LinkStatus;
use crate::media::SourceName;

/// A merged source. Counters are of datagrams where copies are recognised by sequence number, of packets where by content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeStatus {
    /// How long a packet waits for its copies, ms.
    pub window_ms: u64,
    /// Copies are recognised by RTP sequence number (SMPTE ST 2022-7), not by content.
    pub by_sequence: bool,
    /// Largest skew of the paths that take part, ms; none with fewer than two.
    pub skew_ms: Option<f64>,
    /// Its class in SMPTE ST 2022-7, A to D; none beyond 450 ms.
    pub class: Option<char>,
    /// Given out.
    pub given: u64,
    /// Packets that no path had in time.
    pub unrecovered: u64,
    /// Given out early or dropped for want of room.
    pub overflows: u64,
    /// In the order of the config.
    pub paths: Vec<PathStatus>,
}

/// One path of a merged source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathStatus {
    /// Its name.
    pub name: SourceName,
    /// `srt`, `rtp`, `udp`.
    pub transport: String,
    /// Its connection is up.
    pub connected: bool,
    /// Peer address where one is connected.
    pub peer: Option<String>,
    /// Bits a second over the last second.
    pub bitrate: u64,
    /// It takes part.
    pub merged: bool,
    /// Why it does not.
    pub alarm: Option<PathAlarm>,
    /// How much later than the earliest path it is, ms.
    pub skew_ms: Option<f64>,
    /// Arrived.
    pub packets: u64,
    /// Given out, and its copy was the first or only one.
    pub contributed: u64,
    /// Given out, and no other path had it in time.
    pub saved: u64,
    /// Given out while it took part, and it had no copy in time.
    pub lost: u64,
    /// Arrived when their place had been given out or passed over.
    pub late: u64,
    /// Arrived twice on this path.
    pub duplicates: u64,
    /// Arrived, and could not be used.
    pub unusable: u64,
    /// The link's own figures.
    pub link: Option<LinkStatus>,
}

/// Why a path does not take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathAlarm {
    /// Nobody is connected.
    Offline,
    /// It is connected, and nothing comes.
    Silent,
    /// It flows, and is not found in the stream so far.
    NotFound,
    /// It flows, and is another stream.
    NotTheSame,
}

impl PathAlarm {
    /// Its name in metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Silent => "silent",
            Self::NotFound => "not-found",
            Self::NotTheSame => "not-the-same",
        }
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::Offline, Self::Silent, Self::NotFound, Self::NotTheSame];
}
