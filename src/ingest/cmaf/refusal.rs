//! Why a body is not taken, and what its sender is told.

use super::stream::StreamError;
use super::timeline::Misfit;
use crate::wire::mp4::read::{LiveError, Wrong};

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Bytes that are no CMAF.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A box that makes no sense.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// A header that begins no track which can be followed.
    #[error(transparent)]
    Header(#[from] LiveError),
    /// Media without a header before it.
    #[error("no CMAF header has come for this track: send it first")]
    NoHeader,
    /// Its name is no rendition's, and no rendition is what its header says.
    #[error("`{name}` is no rendition ({known}), and none is what its header says: {why}")]
    NoRendition {
        /// The track's name.
        name: String,
        /// The channel's renditions.
        known: String,
        /// What is wrong with the last one that was tried.
        why: String,
    },
    /// Its name is no rendition's, and several are what its header says.
    #[error("`{name}` is no rendition, and several are what its header says: name one of {fitting}")]
    Ambiguous {
        /// The track's name.
        name: String,
        /// Those that fit.
        fitting: String,
    },
    /// It is not what the rendition of its name wants.
    #[error("not for rendition `{rendition}`: {why}")]
    Unfit {
        /// Which.
        rendition: String,
        /// In what.
        why: String,
    },
    /// It does not fit the channel's grid.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// A sample that holds no units.
    #[error("a sample whose NAL units cannot be told apart")]
    Sample,
    /// Frames of sound of another length.
    #[error("frames of sound of {0} samples: AAC-LC has 1024")]
    FrameLength(u64),
    /// A newer body for the same track is there.
    #[error("another connection sends this track now")]
    Replaced,
    /// A host that says something of itself, and nothing that makes sense.
    #[error("what it says of the host makes no sense")]
    Host,
    /// More bodies than its tracks can need are open.
    #[error("too many connections send to this point")]
    Crowded,
}

impl Refusal {
    /// The HTTP status that tells its sender (DASH-IF Live Media Ingest §4, §5.2; RFC 9110 §15.5).
    pub fn status(&self) -> u16 {
        match self {
            Self::Stream(_) | Self::Wrong(_) | Self::Sample | Self::Host => 400,
            Self::NoRendition { .. } | Self::Ambiguous { .. } => 404,
            Self::Replaced => 409,
            Self::NoHeader | Self::Unfit { .. } => 412,
            Self::Header(LiveError::Format(_) | LiveError::Nothing) | Self::FrameLength(_) => 415,
            Self::Header(LiveError::Wrong(_) | LiveError::Tracks(_)) => 412,
            Self::Misfit(_) => 422,
            Self::Crowded => 503,
        }
    }
}
