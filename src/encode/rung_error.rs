//! Why a rung cannot go on.

use std::io;

use super::gst::ChainError;
use super::scale::ScaleError;
use crate::media::SegmentNumber;

/// Why a rung cannot go on. The worker ends: its supervisor starts a fresh one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RungError {
    /// Scaling.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// Encoding.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An encoder swallowed or invented pictures.
    #[error("the encoder made {got} units of {want} pictures in segment {segment}")]
    Count {
        /// The segment.
        segment: SegmentNumber,
        /// Pictures in.
        want: u64,
        /// Units out.
        got: u64,
    },
    /// The thread that builds chains is gone.
    #[error("no chain was built")]
    Workshop,
    /// Another chain of the same rung failed, and said why.
    #[error("another chain of the rung failed")]
    Sibling,
    /// A thread for a chain could not be started.
    #[error("a chain's thread")]
    Thread(#[source] io::Error),
}
