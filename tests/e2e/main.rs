//! End to end, with real publishers, players and faults.

mod channel;
mod corpus;
mod equal;
mod harness;
mod hostile;
mod players;
mod srt;
