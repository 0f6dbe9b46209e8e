//! The window on disk: what a channel has published, at rest in append-only files, and whole again after a crash at any byte.
//!
//! In:    parts as they are published, in rows of all tracks; closed segments and gaps; a small state.
//! Out:   where each segment lies ([`Place`]); after a restart all that was stored ([`Recovered`]).
//! Never: lets the caller wait for the disk; writes to bytes that it has told of; calls a segment whole that it does not know to be.
//!
//! ```text
//!  Folder::open ──► head() ──► go_on ──► Recovered, Store        the window that is there goes on
//!  (locks it)             └──► begin ──► Store                   another one begins, the old one is removed
//!
//!  Store::part, closed, gap, note ──► queue ──► writer thread ──► media files, index ──► Event
//!                                  (bytes)            └─► sync thread: fdatasync
//! ```
//!
//! A folder holds *blocks*, each the segments of some minutes: one media file a track and one [`index`]. Old blocks are removed whole.
//! The format, what survives what, and what it costs: `docs/dvr.md`.

mod block;
mod figures;
mod files;
pub mod index;
mod place;
mod queue;
mod recovered;
mod recovery;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use figures::Figures;
pub use place::{Media, Place};
pub use recovered::{Damage, Object, Recovered, Segment, State};
pub use store::{Folder, Store};

use crate::media::SegmentNumber;

/// Longest head, bytes.
pub const HEAD_MAX: usize = 4 << 20;
/// Longest note, bytes.
pub const NOTE_MAX: usize = index::NOTE_MAX;

/// Where a window is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A folder of the channel's own. It is made with mode 0700 if it is not there.
    pub folder: PathBuf,
    /// Duration of a segment.
    pub segment: Duration,
    /// So much is kept, and up to a block more (an eighth of it, ten minutes at most, eight segments at least): old blocks go whole.
    pub window: Duration,
    /// No more than so many bytes, unless the block being written alone is larger: the oldest go first.
    pub bytes_max: u64,
    /// So many bytes may wait for the disk. They are views of memory that is held anyway, for a while.
    pub queue_bytes_max: usize,
    /// What was written is on the disk itself so much later: what a loss of power may cost.
    pub sync_every: Duration,
}

impl Settings {
    /// A window of `window` in `folder`, with the usual rest.
    pub fn new(folder: impl Into<PathBuf>, segment: Duration, window: Duration, bytes_max: u64) -> Self {
        let (queue_bytes_max, sync_every) = (64 << 20, Duration::from_secs(3));
        Self { folder: folder.into(), segment, window, bytes_max, queue_bytes_max, sync_every }
    }

    /// Segments that are kept, at least one.
    fn segments(&self) -> u64 {
        segments(self.window, self.segment)
    }

    /// Segments in a block: ten minutes, or an eighth of a window that is short, so that what is kept beyond the window is little.
    fn block_segments(&self) -> u64 {
        const BLOCK_MAX: Duration = Duration::from_secs(600);
        // Below eight segments there would be more files than media.
        (self.segments() / 8).max(8).min(segments(BLOCK_MAX, self.segment))
    }
}

fn segments(of: Duration, segment: Duration) -> u64 {
    u64::try_from(of.as_nanos().div_ceil(segment.as_nanos().max(1))).unwrap_or(u64::MAX).max(1)
}

/// A rendition's number: the renditions of a channel in order, trick play last. What it stands for is in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Track(pub u16);

/// What the caller knows a track's segment by: the first half of a digest of its bytes. It is kept and given back, not looked into.
pub type Tag = [u8; 16];

/// What the writer tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// A segment (or a gap: without objects) is in its files. From here on it survives the death of this process, and after `sync_every` that of
    /// the host.
    Stored {
        /// Which.
        number: SegmentNumber,
        /// Where each track's bytes lie, in the order of tracks.
        objects: Vec<(Track, Place)>,
    },
    /// A segment is not in the window on disk, and will not be.
    Lost {
        /// Which.
        number: SegmentNumber,
        /// Why.
        why: Why,
    },
    /// The disk does not do its work; it is tried again, with growing pauses. Told once.
    Failing {
        /// Path and cause, for people.
        reason: String,
    },
    /// A segment was stored again after [`Event::Failing`]. Told once.
    Well,
    /// All segments before this one are gone from the disk.
    Expired {
        /// The first that may still be there.
        before: SegmentNumber,
    },
}

/// Why a segment was lost to the window on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Why {
    /// The disk is too slow: the queue was full.
    #[error("the disk is too slow, the queue is full")]
    QueueFull,
    /// The disk failed; [`Event::Failing`] says how.
    #[error("the disk fails")]
    Disk,
    /// Another one began before it was closed.
    #[error("it was never closed")]
    Unfinished,
    /// A part is missing, or its tags are not those of its tracks.
    #[error("it does not follow from what came before")]
    OutOfOrder,
    /// More tracks, parts, bytes or words than the format has room for.
    #[error("it is larger than an index can tell")]
    TooLarge,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process (or another part of this one) writes there.
    #[error("{}: another process keeps its window in this folder", folder.display())]
    InUse {
        /// Which folder.
        folder: PathBuf,
    },
    /// The system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// There is no head, so that nobody knows what is stored: `begin` anew.
    #[error("{}: holds no window that says what it is", folder.display())]
    NoHead {
        /// Which folder.
        folder: PathBuf,
    },
    /// A head or note that is too long.
    #[error("{len} bytes, {max} at most")]
    TooLong {
        /// Its length.
        len: usize,
        /// What would do.
        max: usize,
    },
}

impl Error {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    /// With its cause, on one line, for an event.
    fn line(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// Takes what the writer tells. It is called on the writer's thread, and for [`Why::QueueFull`] on the caller's; it must not wait.
pub type Sink = Box<dyn Fn(Event) + Send + Sync>;
