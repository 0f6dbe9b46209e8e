//! The bytes of an answer: one piece of memory, many that answers share, or a place on disk.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::dvr::Place;

/// Bytes in one or more pieces; cloning copies none of them.
#[derive(Clone, Debug)]
pub struct Content {
    pieces: Pieces,
    len: usize,
}

#[derive(Clone, Debug)]
enum Pieces {
    One(Bytes),
    Many(Arc<[Bytes]>),
    Disk(Place),
}

impl Content {
    /// Of these pieces in order.
    pub fn of(pieces: Vec<Bytes>) -> Self {
        let len = pieces.iter().map(Bytes::len).sum();
        let pieces = match <[Bytes; 1]>::try_from(pieces) {
            Ok([one]) => Pieces::One(one),
            Err(many) => Pieces::Many(many.into()),
        };
        Self { pieces, len }
    }

    /// What lies on disk.
    pub fn at(place: Place) -> Self {
        Self { len: usize::try_from(place.len()).unwrap_or(usize::MAX), pieces: Pieces::Disk(place) }
    }

    /// Where it lies, if that is on disk: then it has no pieces in memory, and reading it may block.
    pub fn place(&self) -> Option<&Place> {
        match &self.pieces {
            Pieces::Disk(place) => Some(place),
            Pieces::One(_) | Pieces::Many(_) => None,
        }
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many pieces there are.
    pub fn count(&self) -> usize {
        match &self.pieces {
            Pieces::One(_) => 1,
            Pieces::Many(many) => many.len(),
            Pieces::Disk(_) => 0,
        }
    }

    /// One of them; `None` behind the last one.
    pub fn piece(&self, index: usize) -> Option<&Bytes> {
        match &self.pieces {
            Pieces::One(one) => Some(one).filter(|_| index == 0),
            Pieces::Many(many) => many.get(index),
            Pieces::Disk(_) => None,
        }
    }

    /// All of it in one piece, copied where it is in several. What is on disk is read, which may block.
    ///
    /// # Errors
    /// Those of reading from disk; of what is in memory, none.
    pub fn read(&self) -> std::io::Result<Bytes> {
        match &self.pieces {
            Pieces::One(one) => Ok(one.clone()),
            Pieces::Many(many) => Ok(many.concat().into()),
            Pieces::Disk(place) => place.read(),
        }
    }

    /// As [`Self::read`], of what is in memory; nothing of what is on disk.
    pub fn bytes(&self) -> Bytes {
        if self.place().is_some() { Bytes::new() } else { self.read().unwrap_or_default() }
    }

    /// The bytes of a range that lies inside.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        debug_assert!(range.start <= range.end && range.end <= self.len);
        let many = match &self.pieces {
            Pieces::One(one) => return one.slice(range).into(),
            Pieces::Disk(place) => return Self::at(place.slice(range.start as u64..range.end as u64)),
            Pieces::Many(many) => many,
        };
        let mut out = Vec::new();
        let mut at = 0;
        for piece in many.iter() {
            let (from, to) = (range.start.max(at), range.end.min(at + piece.len()));
            if from < to {
                out.push(piece.slice(from - at..to - at));
            }
            at += piece.len();
        }
        Self::of(out)
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { len: bytes.len(), pieces: Pieces::One(bytes) }
    }
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_slice_is_that_of_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..6),
            (a, b) in (0usize..30, 0usize..30),
        ) {
            let whole = pieces.concat();
            let content = Content::of(pieces.into_iter().map(Bytes::from).collect());
            prop_assert_eq!(content.len(), whole.len());
            prop_assert_eq!(&content.bytes()[..], &whole[..]);
            let (a, b) = (a.min(whole.len()), b.min(whole.len()));
            let range = a.min(b)..a.max(b);
            let slice = content.slice(range.clone());
            prop_assert_eq!(slice.len(), range.len());
            prop_assert_eq!(&slice.bytes()[..], &whole[range]);
        }
    }
}
