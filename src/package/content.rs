//! The bytes of an answer: one piece of memory, many that answers share, or a place on disk.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::dvr::Place;

/// Bytes in one or more pieces; cloning copies none of them.
#[derive(Clone, Debug)]
pub struct Content {
    pieces: Pieces,
    /// Pieces in memory.
    count: usize,
    len: usize,
}

#[derive(Clone, Debug)]
enum Pieces {
    One(Bytes),
    Many(Arc<[Group]>),
    Disk(Place),
}

/// Pieces that go together from one content into another.
#[derive(Clone, Debug)]
pub(super) enum Group {
    One(Bytes),
    /// Any number of them, which are not touched one by one.
    Run(Run),
}

/// Many pieces, one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pieces: Arc<[Bytes]>,
    len: usize,
}

impl Run {
    pub fn new(pieces: impl Iterator<Item = Bytes>) -> Self {
        let pieces: Arc<[Bytes]> = pieces.collect();
        Self { len: pieces.iter().map(Bytes::len).sum(), pieces }
    }
}

impl Group {
    /// Bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::One(one) => one.len(),
            Self::Run(run) => run.len,
        }
    }

    fn pieces(&self) -> &[Bytes] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Run(run) => &run.pieces,
        }
    }
}

impl From<Bytes> for Group {
    fn from(bytes: Bytes) -> Self {
        Self::One(bytes)
    }
}

impl Content {
    /// Of these pieces in order.
    pub(super) fn of(groups: Vec<Group>) -> Self {
        let (len, count) = (groups.iter().map(Group::len).sum(), groups.iter().map(|group| group.pieces().len()).sum());
        match &groups[..] {
            [Group::One(one)] => one.clone().into(),
            _ => Self { pieces: Pieces::Many(groups.into()), count, len },
        }
    }

    /// What lies on disk.
    pub fn at(place: Place) -> Self {
        Self { len: usize::try_from(place.len()).unwrap_or(usize::MAX), count: 0, pieces: Pieces::Disk(place) }
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
        self.count
    }

    /// One of them; `None` behind the last one.
    pub fn piece(&self, mut index: usize) -> Option<&Bytes> {
        let many = match &self.pieces {
            Pieces::One(one) => return Some(one).filter(|_| index == 0),
            Pieces::Disk(_) => return None,
            Pieces::Many(many) => many,
        };
        for pieces in many.iter().map(Group::pieces) {
            if let Some(piece) = pieces.get(index) {
                return Some(piece);
            }
            index -= pieces.len();
        }
        None
    }

    /// All of it in one piece, copied where it is in several. What is on disk is read, which may block.
    ///
    /// # Errors
    /// Those of reading from disk; of what is in memory, none.
    pub fn read(&self) -> std::io::Result<Bytes> {
        match &self.pieces {
            Pieces::One(one) => Ok(one.clone()),
            Pieces::Many(many) => {
                let mut all = Vec::with_capacity(self.len);
                many.iter().flat_map(Group::pieces).for_each(|piece| all.extend_from_slice(piece));
                Ok(all.into())
            }
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
        for piece in many.iter().flat_map(Group::pieces) {
            let (from, to) = (range.start.max(at), range.end.min(at + piece.len()));
            if from < to {
                out.push(piece.slice(from - at..to - at).into());
            }
            at += piece.len();
        }
        Self::of(out)
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { len: bytes.len(), count: 1, pieces: Pieces::One(bytes) }
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
            run in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..6),
            at in 0usize..6,
            (a, b) in (0usize..50, 0usize..50),
        ) {
            let at = at.min(pieces.len());
            let all = [&pieces[..at], &run, &pieces[at..]].concat();
            let whole = all.concat();
            let mut groups: Vec<Group> = pieces.into_iter().map(|piece| Bytes::from(piece).into()).collect();
            groups.insert(at, Group::Run(Run::new(run.into_iter().map(Bytes::from))));
            let content = Content::of(groups);
            let found: Vec<&[u8]> = (0..content.count()).filter_map(|i| content.piece(i)).map(|piece| &piece[..]).collect();
            prop_assert_eq!(found, all);
            prop_assert_eq!(content.piece(content.count()), None);
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
