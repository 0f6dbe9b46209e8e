//! The encode process: the only part of the live path that knows GStreamer.
//!
//! In:    a job, then items on the channel timeline, over the socket that is its stdin.
//! Out:   coded units per rendition and segment, each segment a pure function of its frames and settings.
//! Never: skips a slot, stops its cadence, talks to the other pipeline.

pub mod ipc;
pub mod ladder;
