//! SRT outputs: what is wanted of the gateway processes, which alone speak SRT.
//!
//! Channels say here what they want to send; whoever keeps the gateways watches the list and makes it so, and says through each
//! entry how to reach the process that runs now. A list of what is wanted cannot lose an order, whatever dies meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Sink;
use crate::config::SrtOutput;
use crate::media::OutputId;
use crate::wire::ts::PACKET_BYTES;

/// An SRT output, of whichever channel; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OutputIndex(pub u32);

/// Every SRT output that is wanted.
pub type List = BTreeMap<OutputIndex, Wanted>;

/// One of them.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name, and its stream id on the shared port.
    pub id: OutputId,
    /// How.
    pub output: SrtOutput,
    /// Where its events go.
    pub news: Sink,
    /// The way to its readers.
    pub way: Arc<Way>,
}

/// How media gets to the readers of one output.
#[derive(Default)]
pub struct Way {
    gateway: ArcSwapOption<Take>,
    dropped_bytes: AtomicU64,
}

/// Hands a portion to the gateway process; false if it has no room.
pub type Take = Box<dyn Fn(&Bytes) -> bool + Send + Sync>;

impl Way {
    /// From now on media goes this way; `None` while nobody would read it.
    pub fn set(&self, take: Option<Take>) {
        self.gateway.store(take.map(Arc::new));
    }

    /// Whether media goes anywhere.
    pub fn is_open(&self) -> bool {
        self.gateway.load().is_some()
    }

    /// TS packets that the gateway process had no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped_bytes.load(Ordering::Relaxed) / PACKET_BYTES as u64
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

/// Where channels say what they want.
#[derive(Clone, Debug)]
pub struct Exits {
    wanted: Arc<watch::Sender<List>>,
    next: Arc<AtomicU32>,
}

impl Default for Exits {
    fn default() -> Self {
        Self { wanted: Arc::new(watch::Sender::new(List::new())), next: Arc::default() }
    }
}

impl Exits {
    /// Wants an output until the line is dropped.
    pub fn open(&self, id: OutputId, output: SrtOutput, news: Sink) -> Line {
        let index = OutputIndex(self.next.fetch_add(1, Ordering::Relaxed));
        let way = Arc::new(Way::default());
        let wanted = Wanted { id, output, news, way: Arc::clone(&way) };
        self.wanted.send_modify(|list| drop(list.insert(index, wanted)));
        Line { index, exits: self.clone(), way }
    }

    /// The list, and its changes.
    pub fn watch(&self) -> watch::Receiver<List> {
        self.wanted.subscribe()
    }
}

/// One SRT output, wanted for as long as this lives.
#[derive(Debug)]
pub struct Line {
    index: OutputIndex,
    exits: Exits,
    way: Arc<Way>,
}

impl Line {
    pub(super) fn send(&self, data: &Bytes) {
        if let Some(take) = self.way.gateway.load().as_deref()
            && !take(data)
        {
            self.way.dropped_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.exits.wanted.send_modify(|list| drop(list.remove(&self.index)));
    }
}
