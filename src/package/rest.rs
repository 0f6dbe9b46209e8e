//! Where published media rests: in memory, or on disk when it is older; what is made up rests nowhere.

use bytes::Bytes;

use super::content::{Content, Group};
use super::slab::Stored;
use super::stand_in::MadeUp;
use crate::dvr::Place;

/// Bytes at rest.
#[derive(Clone, Debug)]
pub(super) enum Rest {
    Memory(Stored),
    Disk(Place),
    /// In place of what nobody has.
    MadeUp(MadeUp),
}

impl Rest {
    /// Bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(stored) => stored.len(),
            Self::Disk(place) => usize::try_from(place.len()).unwrap_or(usize::MAX),
            Self::MadeUp(made_up) => made_up.pieces().iter().map(Bytes::len).sum(),
        }
    }

    pub fn content(&self) -> Content {
        match self {
            Self::Memory(stored) => stored.bytes().into(),
            Self::Disk(place) => Content::at(place.clone()),
            Self::MadeUp(made_up) => Content::of(made_up.pieces().into_iter().map(Group::from).collect()),
        }
    }

    pub fn in_memory(&self) -> Option<&Stored> {
        match self {
            Self::Memory(stored) => Some(stored),
            Self::Disk(_) | Self::MadeUp(_) => None,
        }
    }
}
