//! What the control port shows: the newest status of each channel, and the event log.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::media::ChannelId;
use crate::monitor::{ChannelStatus, EventLog};

/// Shared by the channels, which write, and the control port, which reads.
#[derive(Debug, Default)]
pub struct Board {
    channels: ArcSwap<BTreeMap<ChannelId, watch::Receiver<Arc<ChannelStatus>>>>,
    events: Arc<EventLog>,
}

impl Board {
    /// A board without channels.
    pub fn new(events: Arc<EventLog>) -> Self {
        Self { channels: ArcSwap::default(), events }
    }

    /// Adds a channel, or replaces where its status comes from.
    pub fn insert(&self, channel: &ChannelId, status: watch::Receiver<Arc<ChannelStatus>>) {
        self.channels.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.insert(channel.clone(), status.clone());
            new
        });
    }

    /// Takes a channel away.
    pub fn remove(&self, channel: &ChannelId) {
        self.channels.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.remove(channel);
            new
        });
    }

    /// The newest status of every channel, by name.
    pub fn statuses(&self) -> Vec<Arc<ChannelStatus>> {
        self.channels.load().values().map(|status| Arc::clone(&status.borrow())).collect()
    }

    /// The newest status of one channel.
    pub fn status(&self, channel: &ChannelId) -> Option<Arc<ChannelStatus>> {
        self.channels.load().get(channel).map(|status| Arc::clone(&status.borrow()))
    }

    /// The event log.
    pub fn events(&self) -> &Arc<EventLog> {
        &self.events
    }
}
