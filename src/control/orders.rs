//! Where a channel takes orders, and how it is seen that one was carried out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::channel::Input;
use crate::config;
use crate::monitor::ChannelStatus;

/// So long it is waited for the channel to do as it was told.
const DONE_WITHIN: Duration = Duration::from_secs(5);

/// Where a channel takes orders.
#[derive(Clone, Debug)]
pub struct Orders {
    pub(super) config: Arc<config::Channel>,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) status: watch::Receiver<Arc<ChannelStatus>>,
}

impl Orders {
    /// Whether the channel shows an output of this name.
    pub(super) fn has(status: &ChannelStatus, name: &str) -> bool {
        status.outputs.iter().any(|output| output.name.as_str() == name)
    }

    /// Gives an order and waits until the channel shows that it is done; `None` if it does not.
    pub(super) async fn give(
        &self,
        order: Input,
        done: impl FnMut(&Arc<ChannelStatus>) -> bool,
    ) -> Option<Arc<ChannelStatus>> {
        let mut status = self.status.clone();
        let given = async {
            self.inputs.send(order).await.ok()?;
            status.wait_for(done).await.ok().map(|status| Arc::clone(&status))
        };
        tokio::time::timeout(DONE_WITHIN, given).await.ok()?
    }
}
