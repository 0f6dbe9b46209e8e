//! The HTTP origin players and CDNs pull from: HTTP/1.1 and cleartext HTTP/2 on one port.
//!
//! In:    requests; the newest snapshot of each channel through the [`Directory`].
//! Out:   answers whose bodies are windows into the snapshots' memory; [`Counters`].
//! Never: copies media, but where a transport stream is made of it; takes a lock on a request's way, but for a look at which of those are
//!        made; changes anything else: requests only read.
//!
//! `route` says what a path means, `conditional` what a request's conditions and ranges mean, `respond` what is
//! answered; they are pure. `waiting` is for what
//! comes later. `server` runs the threads, `shell` their connections.

pub mod bench;
mod conditional;
mod counters;
mod directory;
mod respond;
mod route;
mod server;
pub mod shell;
mod waiting;

pub use counters::{Closed, Counters, Kind, Shard};
pub use directory::{ChannelFeed, Directory};
pub use server::{Running, start};
pub use shell::Limits;
