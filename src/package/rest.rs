//! Where published media rests: in memory, or on disk when it is older.

use super::content::Content;
use super::slab::Stored;
use crate::dvr::Place;

/// Bytes at rest.
#[derive(Clone, Debug)]
pub(super) enum Rest {
    Memory(Stored),
    Disk(Place),
}

impl Rest {
    /// Bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(stored) => stored.len(),
            Self::Disk(place) => usize::try_from(place.len()).unwrap_or(usize::MAX),
        }
    }

    pub fn content(&self) -> Content {
        match self {
            Self::Memory(stored) => stored.bytes().into(),
            Self::Disk(place) => Content::at(place.clone()),
        }
    }

    pub fn in_memory(&self) -> Option<&Stored> {
        match self {
            Self::Memory(stored) => Some(stored),
            Self::Disk(_) => None,
        }
    }
}
