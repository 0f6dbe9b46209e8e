//! End to end, with real publishers, players and faults.

#![allow(clippy::unwrap_used)] // a test that finds nothing where something must be should stop there

mod changes;
mod channel;
mod control;
mod corpus;
mod equal;
mod harness;
mod hostile;
mod http;
mod nginx;
mod origin;
mod players;
mod srt;
