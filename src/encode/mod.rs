//! The encode process: the only part of the live path that knows GStreamer.
//!
//! In:    a job, then items on the channel timeline, over the socket that is its stdin.
//! Out:   coded units per rendition and segment, each segment a pure function of its frames and settings.
//! Never: skips a slot, stops its cadence, talks to the other pipeline.
//!
//! ```text
//!            ┌─► video: decode → slots ──┬─► rung: scale → encode, a chain a GOP ────┐
//!  reader ───┤                           └─► rung …                                 ├─► writer
//!  (stdin)   ├─► audio rung: decode, place, AAC, both made anew a segment ──────────┤   (the same socket)
//!            └─► audio rung …                              heartbeat ───────────────┘
//! ```
//!
//! One thread a box (a rung too heavy for one has several), bounded queues between them, and no other threads: elements of GStreamer run on the thread that
//! calls them ([`gst`]). A full queue blocks its sender, back to the socket. A thread that hangs in one step stops the
//! heartbeat ([`pulse`]); one that fails ends the process, and the supervisor starts a fresh one.
//!
//! * [`worker`]: the process. [`ipc`]: what it says and hears. [`ladder`], [`template`], [`registry`]: what it is told to make, and by what.
//! * [`slots`], [`audio_grid`]: the pure cores: what goes where on the grid, and when the clock has to step in.
//! * [`video`], [`decode`], [`standby`], [`rung`], [`scale`], [`gops`], [`segment`], [`slate`], [`thumbnail`]: pictures.
//!   [`audio`]: sound. [`host`]: what this machine is.

pub mod audio;
pub mod audio_grid;
pub mod cadence;
pub mod decode;
pub mod gops;
pub mod gst;
pub mod host;
pub mod ipc;
pub mod ladder;
pub mod outbox;
pub mod pulse;
pub mod registry;
pub mod rung;
pub mod rung_error;
pub mod scale;
pub mod segment;
pub mod slate;
pub mod slots;
pub mod standby;
pub mod template;
pub mod thumbnail;
pub mod video;
pub mod worker;
