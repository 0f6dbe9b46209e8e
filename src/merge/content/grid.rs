//! Whether paths have the same datagrams: divided alike, with the same null packets and tables in them.
//!
//! In:    packets that several paths had, and the datagrams they came in.
//! Out:   whether a datagram may be taken as one thing.
//! Never: looks into datagrams.

/// So often in a row have copies of a packet come in equal datagrams, for all paths to have the same ones.
const SURE: i32 = 32;
/// A datagram that differs counts as much as so many that do not.
const DIFFERS: i32 = 8;

/// What is known of the division.
#[derive(Debug, Default)]
pub(super) struct Grid(i32);

impl Grid {
    /// All paths have the same datagrams.
    pub fn agrees(&self) -> bool {
        self.0 > SURE
    }

    /// Several paths had a packet that begins a datagram on one of them; they were equal or not.
    pub fn observe(&mut self, equal: bool) {
        self.0 = (self.0 + if equal { 1 } else { -DIFFERS }).clamp(-2 * SURE, 2 * SURE);
    }
}
