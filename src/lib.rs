//! Tandem: live channels that do not go dark.
//!
//! The data path, which is also the table of contents. Media moves one way; what is news travels in the stream.
//!
//! ```text
//!  srt ── ingest ──► demux ──► timeline ──► failover ──► encode A ─┐
//!  (gateway           TS →      source →    one source    (child)  ├─► package ──► origin ──► CDN, players
//!   process)          Item      channel     a pipeline   encode B ─┘   segmenter, selector,
//!                               time                      (child)      window → Snapshot
//! ```
//!
//! * [`media`]: the vocabulary: times, numbers, names, items. [`clock`]: the only reader of clocks.
//! * [`wire`]: byte formats, slices in, values out. [`measure`]: what a source's transport stream is worth.
//! * [`merge`], [`demux`], [`timeline`], [`failover`], [`package`]: pure cores; bytes and time in, values out.
//! * [`dvr`]: the window on disk: what was published, at rest, and whole again after a crash.
//! * [`channel`]: owns one channel's state: `apply(event, now) -> actions`.
//! * [`child`], [`output`], [`srt`], [`ingest`], [`encode`], [`origin`], [`control`]: shells; they own processes, sockets, timers.
//! * [`config`]: what the operator wrote, checked once. [`monitor`]: events, status, metrics.
//! * [`signal`], [`inspect`]: the measuring stick: a test signal, and the judge that accounts for each of its frames.
//! * [`capacity`]: how many channels this host carries, by running them.
//! * [`supervisor`]: builds it all from a [`config::Config`] and takes it down again. [`cli`]: the commands.

pub mod capacity;
pub mod channel;
pub mod child;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod demux;
pub mod dvr;
pub mod encode;
pub mod failover;
pub mod ingest;
pub mod inspect;
pub mod measure;
pub mod media;
pub mod merge;
pub mod monitor;
pub mod origin;
pub mod output;
pub mod package;
pub mod probe;
pub mod signal;
pub mod srt;
pub mod supervisor;
pub mod timeline;
pub mod wire;
