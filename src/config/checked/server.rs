//! Where the process listens.

use std::net::SocketAddr;

use super::secret::Secret;

/// The HTTP origin.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Server threads; default: one a core, at most 4.
    pub threads: usize,
}

/// The control port: page, API, metrics.
#[derive(Clone, Debug)]
pub struct Control {
    /// Default `127.0.0.1:8081`.
    pub listen: SocketAddr,
}

/// The port of CMAF ingest; nothing is opened where no pipeline is made elsewhere.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Default `127.0.0.1:8082`.
    pub listen: SocketAddr,
    /// Who publishes must bring it.
    pub key: Option<Secret>,
}

/// The shared SRT listener: publishers name their source by stream id.
#[derive(Clone, Debug)]
pub struct SrtListener {
    /// Default `127.0.0.1:9710`.
    pub listen: SocketAddr,
    /// Address space of a gateway process beside what its sources take, bytes.
    pub memory_max: u64,
}
