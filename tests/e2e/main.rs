//! End to end, with real publishers, players and faults.

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
