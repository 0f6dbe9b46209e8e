//! The bytes of an answer: one piece of memory, or many that answers share.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

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
        }
    }

    /// One of them; `None` behind the last one.
    pub fn piece(&self, index: usize) -> Option<&Bytes> {
        match &self.pieces {
            Pieces::One(one) => Some(one).filter(|_| index == 0),
            Pieces::Many(many) => many.get(index),
        }
    }

    /// All of it in one piece, copied where it is in several.
    pub fn bytes(&self) -> Bytes {
        match &self.pieces {
            Pieces::One(one) => one.clone(),
            Pieces::Many(many) => many.concat().into(),
        }
    }

    /// The bytes of a range that lies inside.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        debug_assert!(range.start <= range.end && range.end <= self.len);
        let many = match &self.pieces {
            Pieces::One(one) => return one.slice(range).into(),
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
