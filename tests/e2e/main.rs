//! End to end, with real publishers, players and faults.

mod channel;
mod harness;
mod players;
