//! Coded units in, snapshots out.
//!
//! In:    coded units and segment ends of pipelines A and B, in each one's decode order; the time.
//! Out:   an immutable [`Snapshot`] after each publication; decisions as [`PackageEvent`]s.
//! Never: opens a socket, reads a clock, waits for a pipeline longer than the live edge allows.

mod snapshot;

pub use snapshot::{Cache, Lookup, Resource, Snapshot};
