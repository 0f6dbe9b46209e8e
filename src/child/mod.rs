//! Child processes: the same binary with a hidden subcommand, a socket as its stdin, its stderr forwarded as log events.
//!
//! Children hold everything that can crash, leak or hang: C codecs and libsrt. They are disposable; see
//! `ARCHITECTURE.md`, "Who may crash".
//!
//! In:    a [`Spec`]: what to run, how much memory it may take, how much may wait for it.
//! Out:   a [`Child`] to wait for or kill, a [`Sender`] and a [`Receiver`] of [`frame`]d messages, log lines.
//! Never: restarts anything (its owner does, at the pace of a [`Backoff`]); knows a message type.

mod backoff;
pub mod frame;
mod log;
mod orphan;
mod spawn;
mod talk;

pub use backoff::Backoff;
pub use log::LogLine;
pub use orphan::end_with_parent;
pub use spawn::{Child, Ended, Spec, data_wall, program, spawn};
pub use talk::{Receiver, SendError, Sender};
