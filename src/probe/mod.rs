//! The probe: a process that looks into what the sources of a channel bring, so that a source is judged by it.
//!
//! In:    coded pictures and sound of all sources, over the socket that is its stdin, each with its time of arrival.
//! Out:   since when a source's picture is black or stands still, since when its sound is silence, how many pictures
//!        could not be decoded whole; and a [`Heartbeat`](ipc::Heartbeat) four times a second.
//! Never: decides what a source is left for, waits for a source that is behind, or holds up another one.
//!
//! Sources on standby are looked at like those on air. It decodes, so it may be brought down by what a source sends: then
//! nothing is known of any picture until it is up again, and nothing else happens.
//!
//! ```text
//!            ┌─► source 0: decode → measure → watch ─┐
//!  reader ───┤                                      ├─► writer
//!  (stdin)   └─► source 1 …          heartbeat ─────┘   (the same socket)
//! ```
//!
//! * [`ipc`]: what it says and hears. [`worker`]: the process.
//! * [`picture`], [`sound`], [`watch`]: the pure cores: a plane of luma or a block of samples in, states with their beginning out.
//! * GStreamer is in [`decode`].

pub mod decode;
pub mod ipc;
pub mod picture;
pub mod sound;
pub mod watch;
pub mod worker;
