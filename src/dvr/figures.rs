//! Counters of one window on disk.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a store has done since it was opened, and what it has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Segments and gaps that were stored.
    pub stored: u64,
    /// Segments that were lost.
    pub lost: u64,
    /// Parts, closings and gaps that were ignored, because their segment is not above the last one that was stored or lost. If this goes on rising, the
    /// caller counts from somewhere else than what is stored.
    pub ignored: u64,
    /// Times the disk failed.
    pub errors: u64,
    /// Bytes on disk, indexes included.
    pub bytes: u64,
    /// Blocks on disk.
    pub blocks: u64,
    /// Bytes that wait for the disk.
    pub queued_bytes: u64,
    /// Longest that one command took to be written, microseconds: how slow the disk is at its worst.
    pub slowest_micros: u64,
}

/// The same, shared between threads.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub stored: AtomicU64,
    pub lost: AtomicU64,
    pub ignored: AtomicU64,
    pub errors: AtomicU64,
    pub bytes: AtomicU64,
    pub blocks: AtomicU64,
    pub slowest_micros: AtomicU64,
}

impl Counters {
    pub(super) fn figures(&self, queued_bytes: usize) -> Figures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            stored: of(&self.stored),
            lost: of(&self.lost),
            ignored: of(&self.ignored),
            errors: of(&self.errors),
            bytes: of(&self.bytes),
            blocks: of(&self.blocks),
            queued_bytes: queued_bytes as u64,
            slowest_micros: of(&self.slowest_micros),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
