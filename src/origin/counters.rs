//! What the origin counts. Each server thread adds to a shard of its own, so that no request waits for another one's
//! cache line; a reader sums the shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hyper::StatusCode;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Segments and their headers: bytes that never change.
    Media,
    /// Playlists and manifests.
    Manifest,
    /// `/healthz` and `/time`.
    Service,
    /// Nothing of ours, or nothing that could be served.
    Other,
}

impl Kind {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::Media, Self::Manifest, Self::Service, Self::Other];

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Manifest => "manifest",
            Self::Service => "service",
            Self::Other => "other",
        }
    }
}

/// Statuses the origin answers with; the last one collects whatever else there may be.
pub const STATUSES: [u16; 11] = [200, 204, 206, 304, 400, 404, 405, 412, 416, 503, 0];

/// Why a connection was ended from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// No room for another one.
    Full,
    /// A request head took too long.
    SlowHead,
    /// The peer took answers too slowly.
    SlowReader,
    /// Nothing was asked for too long.
    Idle,
}

impl Closed {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::Full, Self::SlowHead, Self::SlowReader, Self::Idle];

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::SlowHead => "slow-head",
            Self::SlowReader => "slow-reader",
            Self::Idle => "idle",
        }
    }
}

/// One thread's counters. 128 bytes apart from the next one's, as adjacent cache lines are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shard {
    requests: [[AtomicU64; STATUSES.len()]; Kind::ALL.len()],
    sent: AtomicU64,
    accepted: AtomicU64,
    ended: AtomicU64,
    closed: [AtomicU64; Closed::ALL.len()],
}

impl Shard {
    /// One request was answered.
    pub fn request(&self, kind: Kind, status: StatusCode) {
        let column = STATUSES.iter().position(|&s| s == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        self.requests[kind as usize][column].fetch_add(1, Relaxed);
    }

    /// Bytes went to a socket, heads included.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// A connection came.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// A connection that was accepted has ended.
    pub fn ended(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    /// We ended a connection, or refused it.
    pub fn closed(&self, why: Closed) {
        self.closed[why as usize].fetch_add(1, Relaxed);
    }
}

/// All shards of a server.
#[derive(Debug, Default)]
pub struct Counters {
    shards: Vec<Arc<Shard>>,
}

impl Counters {
    /// One shard for each of `threads`.
    pub fn new(threads: usize) -> Self {
        Self { shards: (0..threads).map(|_| Arc::default()).collect() }
    }

    /// The shard of one thread.
    pub fn shard(&self, thread: usize) -> Arc<Shard> {
        Arc::clone(&self.shards[thread])
    }

    /// Requests answered, by kind and status (0: any other); only those that happened.
    pub fn requests(&self) -> Vec<(Kind, u16, u64)> {
        let mut out = Vec::new();
        for kind in Kind::ALL {
            for (column, status) in STATUSES.into_iter().enumerate() {
                let sum = self.sum(|shard| &shard.requests[kind as usize][column]);
                if sum > 0 {
                    out.push((kind, status, sum));
                }
            }
        }
        out
    }

    /// Bytes written to sockets.
    pub fn sent_bytes(&self) -> u64 {
        self.sum(|shard| &shard.sent)
    }

    /// Connections accepted.
    pub fn accepted(&self) -> u64 {
        self.sum(|shard| &shard.accepted)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        // `ended` first: read the other way round, a connection that came and went in between would count below zero.
        let ended = self.sum(|shard| &shard.ended);
        self.accepted().saturating_sub(ended)
    }

    /// Connections ended or refused from our side.
    pub fn closed(&self, why: Closed) -> u64 {
        self.sum(|shard| &shard.closed[why as usize])
    }

    fn sum(&self, of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| of(shard).load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_summed_and_unknown_statuses_kept() {
        let counters = Counters::new(2);
        counters.shard(0).request(Kind::Media, StatusCode::OK);
        counters.shard(1).request(Kind::Media, StatusCode::OK);
        counters.shard(1).request(Kind::Other, StatusCode::IM_A_TEAPOT);
        assert_eq!(counters.requests(), [(Kind::Media, 200, 2), (Kind::Other, 0, 1)]);
        counters.shard(0).accepted();
        counters.shard(1).accepted();
        counters.shard(1).ended();
        assert_eq!((counters.accepted(), counters.open()), (2, 1));
    }
}
