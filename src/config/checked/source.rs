//! Sources and how they reach us, and the generators of the test signal.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;
use crate::config::cidr::Cidr;
use crate::media::{FrameRate, SourceId, SourceName};

/// One contribution feed.
#[derive(Clone, Debug)]
pub struct Source {
    /// `channel/source`.
    pub id: SourceId,
    /// How it reaches us.
    pub input: Input,
    /// Which programme of a multi-programme stream; the first one where not said.
    pub program: Option<u16>,
}

/// How a source reaches us.
#[derive(Clone, Debug)]
pub enum Input {
    /// SRT (see [`SrtInput`]).
    Srt(SrtInput),
    /// MPEG-TS over RTP.
    Rtp(RtpInput),
    /// MPEG-TS in bare UDP datagrams.
    Udp(DatagramInput),
    /// RTSP (see [`RtspInput`]).
    Rtsp(RtspInput),
    /// A file, again and again.
    File(PathBuf),
    /// The built-in test signal, in process group but outside the main process.
    Test(SignalShape),
    /// Other sources of the channel, merged.
    Merge(MergeInput),
}

impl Input {
    /// Its `type` in a config.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Srt(_) => "srt",
            Self::Rtp(_) => "rtp",
            Self::Udp(_) => "udp",
            Self::Rtsp(_) => "rtsp",
            Self::File(_) => "file",
            Self::Test(_) => "test",
            Self::Merge(_) => "merge",
        }
    }
}

/// Most paths of a merged source.
pub const MERGE_PATHS_MAX: usize = 8;

/// Paths that carry copies of one transport stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeInput {
    /// The paths: sources of the channel over SRT, RTP or UDP; 2 to [`MERGE_PATHS_MAX`].
    pub of: Vec<SourceName>,
    /// How long a packet waits for its copies, 20 ms to 15 s. Default 200 ms.
    pub recovery_window: Duration,
}

/// Where datagrams come in, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramInput {
    /// An address of this host, or a multicast group; and the port.
    pub address: SocketAddr,
    /// Where to join, or the only one to receive at; the system's choice where not said.
    pub interface: Option<Interface>,
    /// Senders to join a group for; empty: any.
    pub from: Vec<IpAddr>,
    /// Who may send; empty: anybody.
    pub allow: Vec<Cidr>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The one that has this address.
    Address(IpAddr),
    /// The one of this name, 1 to 15 bytes, without `/`.
    Name(String),
}

/// One RTP input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpInput {
    /// Where the media comes in.
    pub datagrams: DatagramInput,
    /// How long a packet waits for those that it may have overtaken. Default 50 ms.
    pub reorder: Duration,
    /// Where FEC comes in, if it is to be used.
    pub fec: Option<FecPorts>,
}

/// Ports of SMPTE ST 2022-1 FEC, at the media's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FecPorts {
    /// Default: two above the media's.
    pub columns: u16,
    /// Default: four above the media's.
    pub rows: u16,
}

/// One SRT input.
#[derive(Clone, Debug)]
pub struct SrtInput {
    /// Who calls whom.
    pub mode: SrtMode,
    /// Receiver latency (SRTO_RCVLATENCY); the maximum of both sides holds. Default 200 ms.
    pub latency: Duration,
    /// AES key, where one is set.
    pub passphrase: Option<Secret>,
    /// AES key length for a caller: 16, 24 or 32 bytes. In other modes the sender's holds.
    pub key_length: u8,
    /// Who may publish; empty: anybody.
    pub allow: Vec<Cidr>,
}

/// One RTSP input: we call a server.
#[derive(Clone, Debug)]
pub struct RtspInput {
    /// `rtsp://host[:port]/path`, without user and password.
    pub url: String,
    /// RTP in UDP packets; else inside the RTSP connection.
    pub udp: bool,
    /// Who we are, where the server asks.
    pub user: Option<(String, Secret)>,
}

/// Who calls whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SrtMode {
    /// A publisher calls the shared listener and names the source in its stream id.
    Shared,
    /// A publisher calls a port of this source's own; any stream id.
    Listener(SocketAddr),
    /// We call a server.
    Caller {
        /// `host:port`.
        address: String,
        /// What we ask for.
        stream_id: Option<String>,
    },
    /// Both sides call each other, each from a port that the other one knows.
    Rendezvous {
        /// Ours.
        listen: SocketAddr,
        /// `host:port` of the other side.
        address: String,
    },
}

/// The picture and sound of a test signal.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalShape {
    /// Picture width.
    pub width: u32,
    /// Picture height.
    pub height: u32,
    /// Frames a second.
    pub rate: FrameRate,
    /// Video bit rate, bits a second.
    pub bitrate: u32,
}

/// A generator that runs beside the channels.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Picture and sound.
    pub shape: SignalShape,
    /// Where the same bytes go: `srt://host:port?streamid=…`.
    pub to: Vec<String>,
}
