//! What the main process and an SRT gateway say to each other, over the socket that is the gateway's stdin.
//!
//! Main → gateway: one [`Setup`], bytes for its outputs, outputs that come and go, perhaps `Stop`. Gateway → main: `Listening`
//! when every port is open, then news and bytes of its feeds in order, news of readers, and a [`Health`] twice a second.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::Cidr;
use crate::media::{OutputId, SourceId};
use crate::monitor::{LinkStatus, OutputFigures};
use crate::output::exits::OutputIndex;

/// How often a gateway that is well says so.
pub const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Place of a feed in [`Setup::feeds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FeedIndex(pub u16);

impl FeedIndex {
    /// As an index.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// Everything a gateway needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The port it listens on; none for a gateway that only calls.
    pub listen: Option<Listen>,
    /// What it may take in.
    pub feeds: Vec<Feed>,
    /// What it hands out.
    pub exits: Vec<Exit>,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its number, in every message.
    pub index: OutputIndex,
    /// Its name, and its stream id on a shared port.
    pub id: OutputId,
    /// SRTO_PEERLATENCY.
    pub latency: Duration,
    /// AES key, where one is asked for.
    pub passphrase: Option<Key>,
    /// Who may read it; empty: anybody.
    pub allow: Vec<Cidr>,
    /// Readers at once.
    pub readers_max: u32,
    /// Whom to call; none: it is called.
    pub call: Option<Call>,
}

/// A listening port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Local address.
    pub address: SocketAddr,
    /// Publishers name their feed by stream id; otherwise the port belongs to the only feed, whatever they name.
    pub shared: bool,
}

/// One feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// Its name, and its stream id on a shared port.
    pub id: SourceId,
    /// SRTO_RCVLATENCY.
    pub latency: Duration,
    /// AES key, where one is asked for.
    pub passphrase: Option<Key>,
    /// Who may publish it; empty: anybody.
    pub allow: Vec<Cidr>,
    /// Whom to call; none: it is called.
    pub call: Option<Call>,
}

/// A call of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// `host:port`.
    pub address: String,
    /// A rendezvous: where we call from, and are called.
    pub from: Option<SocketAddr>,
    /// What we ask for.
    pub stream_id: Option<String>,
    /// AES key length in bytes: 16, 24 or 32. None: as the other side has it.
    pub key_length: Option<u8>,
}

/// A passphrase on its way between two processes of ours; no text form shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(pub String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("«secret»")
    }
}

/// Main → gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGateway {
    /// First, and once.
    Setup(Setup),
    /// One more output.
    Add(Exit),
    /// One output less: its readers are let go.
    Remove(OutputIndex),
    /// Bytes for the readers of an output: whole TS packets.
    Media {
        /// Whose.
        output: OutputIndex,
        /// The bytes.
        data: Bytes,
    },
    /// Close every connection and exit with status 0.
    Stop,
}

/// Gateway → main.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromGateway {
    /// Every port is open.
    Listening,
    /// The gateway cannot do its work and ends.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// A feed's connection is up.
    Up {
        /// Whose.
        feed: FeedIndex,
        /// Address of the other side.
        peer: String,
    },
    /// Bytes of a feed that is up: whole SRT messages, at most a few milliseconds of them.
    Data {
        /// Whose.
        feed: FeedIndex,
        /// When the first of them left libsrt, UTC since the Unix epoch.
        arrival: Duration,
        /// The bytes.
        data: Bytes,
    },
    /// A feed's connection ended.
    Down {
        /// Whose.
        feed: FeedIndex,
        /// Why, for people.
        reason: String,
    },
    /// Somebody was turned away (or turned us away).
    Refused {
        /// Its address.
        peer: String,
        /// The feed it wanted, where there is such a feed.
        feed: Option<FeedIndex>,
        /// Why, for people; no secrets.
        reason: String,
        /// SRT's code for it.
        code: i32,
    },
    /// A connected feed's figures, once a second.
    Link {
        /// Whose.
        feed: FeedIndex,
        /// The figures.
        link: LinkStatus,
    },
    /// An output has a reader more, or our call for it was answered.
    ReaderUp {
        /// Whose.
        output: OutputIndex,
        /// Address of the other side.
        peer: String,
    },
    /// An output has a reader less.
    ReaderDown {
        /// Whose.
        output: OutputIndex,
        /// Address of the other side.
        peer: String,
        /// Why, for people.
        reason: String,
    },
    /// A reader was turned away (or turned us away).
    ReaderRefused {
        /// The output it wanted.
        output: OutputIndex,
        /// Its address.
        peer: String,
        /// Why, for people; no secrets.
        reason: String,
        /// SRT's code for it.
        code: i32,
    },
    /// An output's figures since it was added, once a second.
    Readers {
        /// Whose.
        output: OutputIndex,
        /// The figures.
        figures: OutputFigures,
    },
    /// The gateway is alive and this is how it fares.
    Health(Health),
}

/// Counters of a gateway since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Datagrams the kernel dropped at our UDP ports, because nobody read them in time.
    pub udp_drops: u64,
    /// Portions of media left out because the main process did not read.
    pub dropped_portions: u64,
    /// Bytes of those.
    pub dropped_bytes: u64,
    /// Callers turned away.
    pub refused: u64,
    /// Open connections.
    pub connections: u32,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}
