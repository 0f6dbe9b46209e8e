//! What the control port shows: the newest status of each channel and SRT gateway, and the event log.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use super::orders::Orders;
use crate::channel::Input;
use crate::config;
use crate::ingest::srt::{GatewayStatus, Gateways};
use crate::media::ChannelId;
use crate::monitor::{ChannelStatus, EventLog};

/// Shared by the channels, which write, and the control port, which reads.
#[derive(Debug, Default)]
pub struct Board {
    channels: ArcSwap<BTreeMap<ChannelId, watch::Receiver<Arc<ChannelStatus>>>>,
    orders: ArcSwap<BTreeMap<ChannelId, Orders>>,
    gateways: ArcSwap<Gateways>,
    events: Arc<EventLog>,
}

impl Board {
    /// A board without channels.
    pub fn new(events: Arc<EventLog>) -> Self {
        Self { events, ..Self::default() }
    }

    /// Adds a channel, or replaces where its status comes from.
    pub fn insert(&self, channel: &ChannelId, status: watch::Receiver<Arc<ChannelStatus>>) {
        self.channels.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.insert(channel.clone(), status.clone());
            new
        });
    }

    /// Says where a channel that was inserted takes orders; without it, nothing of it can be changed.
    pub fn insert_orders(&self, config: config::Channel, inputs: mpsc::Sender<Input>) {
        let Some(status) = self.channels.load().get(&config.id).cloned() else { return };
        let orders = Orders { config: Arc::new(config), inputs, status };
        self.orders.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.insert(orders.config.id.clone(), orders.clone());
            new
        });
    }

    /// Says where SRT gateways are to be asked for.
    pub fn set_gateways(&self, gateways: Gateways) {
        self.gateways.store(Arc::new(gateways));
    }

    /// Every SRT gateway, by name.
    pub fn gateways(&self) -> Vec<GatewayStatus> {
        let mut all = self.gateways.load().status();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Where a channel takes orders.
    pub(super) fn orders(&self, channel: &ChannelId) -> Option<Orders> {
        self.orders.load().get(channel).cloned()
    }

    /// Takes a channel away.
    pub fn remove(&self, channel: &ChannelId) {
        self.channels.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.remove(channel);
            new
        });
        self.orders.rcu(|old| {
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
