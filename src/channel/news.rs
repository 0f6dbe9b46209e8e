//! What happened to a source, beside its media: the words in which a feed tells its channel.

use std::sync::Arc;

use crate::media::{TrackKind, TrackSet};
use crate::timeline::Slip;

/// What happened to the source, beside its media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedNews {
    /// Its tracks are known, or changed.
    Tracks(Arc<TrackSet>),
    /// It runs on a timeline of its own.
    AnchoredNew,
    /// It runs on a timeline the channel knows.
    AnchoredAdopted,
    /// Its timestamps jumped, by so many ticks, and it goes on where it left off.
    Jumped {
        /// Of which track.
        kind: TrackKind,
        /// Ticks of 90 kHz; below 0 they went back, or it paused.
        by: i64,
    },
    /// It moved by so many ticks, to where the other host has it.
    Agreed {
        /// Ticks of 90 kHz; above 0 it lies later now.
        by: i64,
    },
    /// It has drifted by a slot: a frame will be repeated or left out, and sound stretched.
    Slips(Slip),
}
