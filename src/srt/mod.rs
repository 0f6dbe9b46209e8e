//! SRT through libsrt: the only unsafe, C-calling room beside GStreamer. Used by child processes and by the commands
//! that send or look (`tandem signal`, `tandem inspect`), never by the process that holds the viewers.
//!
//! [`socket`] and [`epoll`] make libsrt's calls safe; [`Sender`] and [`Receiver`] are blocking ends of one connection;
//! [`Url`] is how people write an address. The gateway that takes publishers in is built on the same sockets, in
//! [`crate::ingest::srt`].

mod address;
pub mod epoll;
mod error;
#[allow(unsafe_code)] // C's side of the fence: declarations only.
mod ffi;
mod link;
pub mod socket;
mod stats;
pub mod threads;
mod url;

pub use error::{Error, Reject};
pub use ffi::SocketId;
pub use link::{Receiver, Sender};
pub use stats::{STATS_LAYOUT, Stats};
pub use url::{Mode, Url, UrlError};
pub(crate) use url::{resolve, resolve_like};
