//! End to end, with real publishers, players and faults.

#![allow(clippy::unwrap_used)] // a test that finds nothing where something must be should stop there

mod capacity;
mod changes;
mod channel;
mod contain;
mod control;
mod corpus;
mod detect;
mod equal;
mod formats;
mod harness;
mod hostile;
mod http;
mod loss;
mod loudness;
mod low;
mod merge;
mod nginx;
mod obs;
mod origin;
mod outputs;
mod players;
#[path = "../ports/mod.rs"]
mod ports;
mod pull;
mod relay;
mod restart;
mod rtp;
mod soak;
mod spread;
mod srt;
mod storm;
mod warm;
