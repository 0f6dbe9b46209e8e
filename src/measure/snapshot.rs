//! What is shown of a source's measurement.

use serde::{Deserialize, Serialize};

use super::Indicator;
use crate::media::{Codec, TrackId, VideoShape};
use crate::wire::codec::layout::AudioLayout;

/// PIDs that are listed; of more those with the highest bit rates.
pub const PIDS_SHOWN: usize = 64;

/// A source's transport stream, measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Packets are being found.
    pub locked: bool,
    /// Packets since the start, null packets included.
    pub packets: u64,
    /// Bits of packets over the last second.
    pub bitrate: u64,
    /// Share of null packets over the last second, 0 to 1.
    pub null_ratio: f64,
    /// From the earliest to the latest arrival of a PCR over the last ten seconds, against its own time, ms.
    pub pcr_jitter_ms: Option<f64>,
    /// By how much the clock is slow, in millionths; below 0 it is fast. Known after a minute.
    pub pcr_drift_ppm: Option<f64>,
    /// ETSI TR 101 290, first and second priority.
    pub indicators: Vec<IndicatorStatus>,
    /// PIDs seen, by number; of more than 64 those with the highest bit rates.
    pub pids: Vec<PidStatus>,
    /// PIDs seen that are not listed.
    pub pids_more: u64,
    /// What is in the programme's tracks.
    pub tracks: Vec<TrackStatus>,
    /// Splice information, where the programme map has a PID for it.
    pub scte35: Vec<SpliceStatus>,
}

/// One indicator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndicatorStatus {
    /// Which.
    pub indicator: Indicator,
    /// Its number in the report.
    pub clause: String,
    /// How often since the start.
    pub count: u64,
    /// It was counted within the last 5 s.
    pub active: bool,
    /// When last, ms since the Unix epoch.
    pub last_ms: Option<u64>,
    /// Where last, if it belongs to a PID.
    pub pid: Option<u16>,
}

/// What a PID is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PidKind {
    /// Programme association table.
    Pat,
    /// Conditional access table.
    Cat,
    /// A programme's map.
    Pmt,
    /// Service information of DVB.
    Si,
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Another stream of a programme.
    Data,
    /// A programme's clock and nothing else.
    Pcr,
    /// Nothing refers to it.
    Unknown,
}

impl PidKind {
    /// Its name in metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pat => "pat",
            Self::Cat => "cat",
            Self::Pmt => "pmt",
            Self::Si => "si",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Data => "data",
            Self::Pcr => "pcr",
            Self::Unknown => "unknown",
        }
    }
}

/// One PID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidStatus {
    /// Its number.
    pub pid: u16,
    /// What it is for.
    pub kind: PidKind,
    /// As the programme map declares it.
    pub stream_type: Option<u8>,
    /// Bits of its packets over the last second.
    pub bitrate: u64,
    /// Its last packet was scrambled.
    pub scrambled: bool,
    /// Continuity errors since the start.
    pub continuity_errors: u64,
}

/// One track whose media is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackStatus {
    /// Its PID.
    pub id: TrackId,
    /// Its format.
    pub codec: Codec,
    /// ISO 639-2.
    pub language: Option<String>,
    /// Pictures: size and rate as they say.
    pub shape: Option<VideoShape>,
    /// Pictures a second as they come, over the last five seconds.
    pub pictures_per_second: Option<f64>,
    /// Sound: channels and rate.
    pub layout: Option<AudioLayout>,
    /// CEA-608 within the last ten seconds.
    pub cea608: bool,
    /// CEA-708 within the last ten seconds.
    pub cea708: bool,
    /// Pictures that carry caption data, since the start.
    pub caption_pictures: u64,
}

/// A PID of splice information (SCTE 35).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpliceStatus {
    /// Its number.
    pub pid: u16,
    /// Messages since the start.
    pub messages: u64,
    /// When last, ms since the Unix epoch.
    pub last_ms: Option<u64>,
}
