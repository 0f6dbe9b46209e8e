//! What published bytes are known by: the one place that names the algorithm.
//!
//! In:    bytes in any pieces. Out: a [`Digest`]; equal ones prove equal bytes, on every host.
//! Never: is used for a secret; those have SHA-256 where they are checked.
//!
//! It is BLAKE3 (docs/decisions/0008): 256 bits that resist collisions, as SHA-256's do, from a tree whose leaves a processor works on
//! side by side.

use std::fmt;

/// Bytes that are hashed together: sixteen leaves of BLAKE3's tree (1 KiB each), as many as AVX-512 works on side by side. Coded
/// pictures come in pieces that begin and end anywhere, and a subtree must begin at a multiple of its size: taken as they come, they
/// cost two and a half times as much.
const TOGETHER: usize = 16 * 1024;

/// Of some bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

/// The first half of a [`Digest`]: what entity tags are made of, and what is kept with a segment on disk.
pub(super) type Tag = [u8; 16];

impl Digest {
    /// Of bytes that nobody has looked at; no bytes are known that have it.
    pub const UNKNOWN: Self = Self([0; 32]);

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Of these pieces, one behind the other.
    pub fn of_pieces<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> Self {
        let mut digester = Digester::default();
        pieces.into_iter().for_each(|piece| digester.update(piece.as_ref()));
        digester.digest()
    }

    pub fn tag(&self) -> Tag {
        let mut tag = Tag::default();
        tag.copy_from_slice(&self.0[..16]);
        tag
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Lower case, two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Takes bytes in any pieces.
#[derive(Default)]
pub(super) struct Digester {
    tree: blake3::Hasher,
    /// What came behind the last [`TOGETHER`] bytes; always fewer.
    rest: Vec<u8>,
}

impl Digester {
    pub fn update(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(TOGETHER - self.rest.len()));
            self.rest.extend_from_slice(now);
            if self.rest.len() < TOGETHER {
                return;
            }
            self.tree.update(&self.rest);
            self.rest.clear();
            bytes = later;
        }
        let (together, rest) = bytes.split_at(bytes.len() - bytes.len() % TOGETHER);
        self.tree.update(together);
        self.rest.extend_from_slice(rest);
    }

    /// Of all that came so far; more may come.
    pub fn digest(&self) -> Digest {
        let mut tree = self.tree.clone();
        tree.update(&self.rest);
        Digest(*tree.finalize().as_bytes())
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").field("digest", &self.digest()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_blake3() {
        // Of no bytes, and of the first 1025 of the sequence 0, 1, … 250: from the test vectors that come with the algorithm.
        let sequence: Vec<u8> = (0..1025).map(|i| (i % 251) as u8).collect();
        for (name, bytes, want) in [
            ("nothing", &[][..], "af1349b9f5f9a1a6a0404dea36dcc949"),
            ("one leaf and a byte", &sequence[..], "d00278ae47eb27b34faecf67b4fe263f"),
        ] {
            assert_eq!(hex(&Digest::of(bytes).tag()), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            sizes in prop::collection::vec(prop_oneof![0usize..9, 0usize..40_000], 0..12),
            salt in any::<u8>(),
        ) {
            let all: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|i| (i % 251) as u8 ^ salt).collect();
            let (mut digester, mut at) = (Digester::default(), 0);
            for size in sizes {
                digester.update(&all[at..at + size]);
                at += size;
                prop_assert_eq!(digester.digest(), Digest::of(&all[..at]));
            }
        }
    }
}
