//! The control port: page, API, metrics. Loopback unless told otherwise.
//!
//! In:    requests; each channel's newest [`ChannelStatus`](crate::monitor::ChannelStatus) and the event log through the [`Board`]; the
//!        origin's counters.
//! Out:   the page, JSON, server-sent events, OpenMetrics text.
//! Never: changes anything but a channel's outputs, and those on loopback alone; shows a secret; answers a page of another site (a name that is not ours, in `Host`).

mod api;
mod assets;
mod board;
mod desk;
mod host;
mod metrics;
mod orders;
mod outputs;
mod server;
mod stream;

pub use board::Board;
pub use desk::{Config, Publish};
pub use server::{Running, start};
