//! Answers that are not there yet: playlists that are asked for ahead of their time (RFC 8216bis §6.2.5.2), parts that are
//! hinted, and segments that are sent while they grow.
//!
//! In:    a channel's snapshots as they come. Out: an answer, or the parts of a body one after the other.
//! Never: waits longer than the snapshot says, or holds a snapshot while it waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::dvr::Place;
use crate::package::{Growing, Growth, Lookup, Snapshot};

/// Parts that may wait for a slow client of a growing segment. More stay in the snapshots.
const PARTS_MAX: usize = 4;

/// What `look` finds, once it finds something; `None` where it did not in time.
pub async fn wait(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    patience: Duration,
    look: impl Fn(&Snapshot) -> Lookup,
) -> Option<Lookup> {
    let news = async {
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            match look(&snapshot) {
                Lookup::Wait(_) => {}
                found => return Some(found),
            }
            drop(snapshot);
            // An error: the channel is taken down.
            snapshots.changed().await.ok()?;
        }
    };
    tokio::time::timeout(patience, news).await.ok().flatten()
}

/// The segment will not become whole; a body ends with this instead of its last part.
#[derive(Debug, thiserror::Error)]
#[error("the segment broke off")]
pub struct BrokeOff;

/// Bytes that are read from disk at a time: what a read costs beside what it brings.
const READ: u64 = 256 << 10;

/// The bytes of what lies on disk, read by a thread that may wait for it, no faster than they are taken.
pub fn read(place: Place) -> mpsc::Receiver<Result<Bytes, BrokeOff>> {
    let (to, parts) = mpsc::channel(PARTS_MAX);
    tokio::task::spawn_blocking(move || {
        let mut at = 0;
        while at < place.len() {
            let piece = place.slice(at..at + READ).read();
            at += READ;
            if let Err(error) = &piece {
                tracing::warn!(%error, "a segment cannot be read from disk");
            }
            let failed = piece.is_err();
            if to.blocking_send(piece.map_err(|_| BrokeOff)).is_err() || failed {
                return;
            }
        }
    });
    parts
}

/// The bytes of a segment as they come.
pub fn grow(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    segment: Growing,
    patience: Duration,
) -> mpsc::Receiver<Result<Bytes, BrokeOff>> {
    let (to, parts) = mpsc::channel(PARTS_MAX);
    tokio::spawn(async move {
        let mut seen = 0;
        loop {
            let growth = snapshots.borrow_and_update().growth(&segment, seen);
            let Growth::Parts(more, last) = growth else { break };
            seen += more.len();
            for part in more {
                if to.send(Ok(part)).await.is_err() {
                    return;
                }
            }
            if last {
                return;
            }
            let changed = tokio::select! {
                changed = tokio::time::timeout(patience, snapshots.changed()) => changed,
                () = to.closed() => return,
            };
            if !matches!(changed, Ok(Ok(()))) {
                break;
            }
        }
        let _ = to.send(Err(BrokeOff)).await;
    });
    parts
}
