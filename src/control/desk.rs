//! What all of the control port's answers are made from.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::board::Board;
use super::host;
use crate::config;
use crate::media::SourceId;
use crate::origin::Counters;

/// What the control port has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// Where the origin listens.
    pub origin: SocketAddr,
    /// Sources that wait for a publisher.
    pub publish: Vec<Publish>,
    /// Names this host is called by, beside `localhost` and address literals.
    pub hosts: Vec<String>,
}

/// A source that waits for a publisher.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Which.
    pub source: SourceId,
    /// Where.
    pub listen: SocketAddr,
    /// The publisher names the source in its stream id, as several share the port.
    pub shared: bool,
}

impl Config {
    /// From the operator's file; `origin` is where the origin really listens.
    pub fn new(config: &config::Config, origin: SocketAddr) -> Self {
        let sources = config.channels.iter().flat_map(|channel| &channel.sources);
        let publish = sources.filter_map(|source| {
            let config::Input::Srt(input) = &source.input else { return None };
            let (listen, shared) = match input.mode {
                config::SrtMode::Shared => (config.srt.listen, true),
                config::SrtMode::Listener(listen) => (listen, false),
                config::SrtMode::Caller { .. } | config::SrtMode::Rendezvous { .. } => return None,
            };
            Some(Publish { source: source.id.clone(), listen, shared })
        });
        Self { listen: config.control.listen, origin, publish: publish.collect(), hosts: Vec::new() }
    }
}

/// What an answer may need.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) config: Config,
    /// Tells this run of the process from others: when it began, ms since the Unix epoch.
    pub(super) run: u64,
    /// Bound to loopback: requests that call us by a strange name are refused.
    pub(super) check_host: bool,
    pub(super) board: Arc<Board>,
    pub(super) origin: Option<Arc<Counters>>,
    pub(super) followers: Arc<Semaphore>,
    pub(super) stop: watch::Receiver<bool>,
}

pub(super) type Shared = Arc<Control>;

impl Control {
    /// Where players find the origin, if they call us `name`.
    pub(super) fn origin_url(&self, name: &str) -> String {
        let listen = self.config.origin;
        format!("http://{}:{}", self.reached_by(listen, name), listen.port())
    }

    /// How a client that calls us `name` reaches something that listens on `listen`: by that name, unless it listens on
    /// one particular address of the network.
    pub(super) fn reached_by(&self, listen: SocketAddr, name: &str) -> String {
        if listen.ip().is_unspecified() || listen.ip().is_loopback() {
            host::in_url(name)
        } else {
            host::in_url(&listen.ip().to_string())
        }
    }
}
