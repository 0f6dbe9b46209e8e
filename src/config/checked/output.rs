//! Outputs: where a channel's transport stream goes on to.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;
use super::source::{Interface, SrtMode};
use crate::config::cidr::Cidr;
use crate::media::{OutputId, PipelineId, SourceName};

/// More outputs than this, and a channel is something else. Bounds what the API can add, too.
pub const OUTPUTS_MAX: usize = 1000;

/// One output of a channel.
#[derive(Clone, Debug)]
pub struct Output {
    /// `channel/output`.
    pub id: OutputId,
    /// What goes out.
    pub takes: Takes,
    /// How.
    pub way: Way,
}

/// Which stream an output carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A source's.
    Source(SourceName),
    /// That of the source which a pipeline has on air.
    Pipeline(PipelineId),
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(name) => write!(f, "source {name}"),
            Self::Pipeline(id) => write!(f, "pipeline {id}"),
        }
    }
}

/// How a stream goes out.
#[derive(Clone, Debug)]
pub enum Way {
    /// Over SRT.
    Srt(SrtOutput),
    /// Over RTP.
    Rtp(RtpOutput),
    /// In bare datagrams.
    Udp(Destination),
    /// Into files.
    Record(Record),
}

impl Way {
    /// Its `type` in a config.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Srt(_) => "srt",
            Self::Rtp(_) => "rtp",
            Self::Udp(_) => "udp",
            Self::Record(_) => "record",
        }
    }

    /// Where to, for people; no secrets.
    pub fn target(&self, id: &OutputId) -> String {
        match self {
            Self::Srt(srt) => match &srt.mode {
                SrtMode::Shared => format!("shared SRT port, stream id #!::r={id},m=request"),
                SrtMode::Listener(address) => format!("srt://{address}"),
                SrtMode::Caller { address, .. } => format!("calls srt://{address}"),
                SrtMode::Rendezvous { listen, address } => format!("meets srt://{address} from {listen}"),
            },
            Self::Rtp(rtp) => match &rtp.second {
                Some(second) => format!("rtp://{} and rtp://{}", rtp.to.address, second.address),
                None => format!("rtp://{}", rtp.to.address),
            },
            Self::Udp(to) => format!("udp://{}", to.address),
            Self::Record(record) => record.folder.display().to_string(),
        }
    }
}

/// Over SRT.
#[derive(Clone, Debug)]
pub struct SrtOutput {
    /// Who calls whom.
    pub mode: SrtMode,
    /// Latency of the reader; the maximum of both sides holds. Default 200 ms.
    pub latency: Duration,
    /// AES key, where one is set.
    pub passphrase: Option<Secret>,
    /// AES key length: 16, 24 or 32 bytes.
    pub key_length: u8,
    /// Who may read; empty: anybody.
    pub allow: Vec<Cidr>,
    /// So many may read at once.
    pub readers_max: usize,
}

/// Where datagrams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// A host's address or a multicast group's, and the port.
    pub address: SocketAddr,
    /// By which interface; the system's choice where not said.
    pub interface: Option<Interface>,
    /// Hops that multicast may take.
    pub hops: u8,
}

/// Over RTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpOutput {
    /// The first path.
    pub to: Destination,
    /// The second path of ST 2022-7.
    pub second: Option<Destination>,
    /// Sums to be sent.
    pub fec: Option<Matrix>,
}

/// A matrix of SMPTE ST 2022-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// L.
    pub columns: u8,
    /// D.
    pub rows: u8,
    /// Sums of rows as well.
    pub row_packets: bool,
}

/// Into files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where.
    pub folder: PathBuf,
    /// A new file after so long.
    pub segment: Duration,
    /// A new file before one is larger, bytes.
    pub segment_bytes: u64,
    /// All files together, bytes.
    pub bytes_max: u64,
    /// The oldest file.
    pub age_max: Option<Duration>,
}
