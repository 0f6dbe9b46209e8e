//! Cuts a source's bytes at packet borders, so that any of its pieces may follow any piece of another source.
//!
//! In:    bytes in any portions.
//! Out:   the same bytes in pieces of whole packets of 188 bytes. A piece is a view of the portion it came in; only a packet that
//!        lies across two portions is put together anew.
//! Never: keeps more than [`KEPT_MAX`]; lets through what is no packet.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::ts::PACKET_BYTES;

const SYNC: u8 = 0x47;
/// So many sync bytes in a row make a lock.
const LOCK: usize = 3;
/// Bytes looked at for a lock.
pub const KEPT_MAX: usize = PACKET_BYTES * LOCK;

/// The borders of one source's packets.
#[derive(Debug, Default)]
pub struct Aligner {
    locked: bool,
    /// In lock: the beginning of a packet. Else: what is not known to be packets yet.
    kept: BytesMut,
    discarded: u64,
}

impl Aligner {
    /// Bytes left out so far, because they belonged to no packet.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Another connection: what was begun is not continued.
    pub fn reset(&mut self) {
        self.discarded += self.kept.len() as u64;
        *self = Self { discarded: self.discarded, ..Self::default() };
    }

    /// Takes a portion; calls `piece` with each piece that is whole.
    pub fn push(&mut self, mut data: Bytes, mut piece: impl FnMut(Bytes)) {
        while !data.is_empty() {
            if !self.locked {
                self.look(&mut data);
                continue;
            }
            if !self.kept.is_empty() {
                let missing = (PACKET_BYTES - self.kept.len()).min(data.len());
                self.kept.extend_from_slice(&data.split_to(missing));
                if self.kept.len() == PACKET_BYTES {
                    piece(self.kept.split().freeze());
                }
                continue;
            }
            let packets = data.chunks(PACKET_BYTES).take_while(|packet| packet[0] == SYNC);
            let good: usize = packets.map(<[u8]>::len).sum();
            let whole = good - good % PACKET_BYTES;
            if whole > 0 {
                piece(data.split_to(whole));
            }
            if good > whole {
                self.kept.extend_from_slice(&data.split_to(good - whole));
            }
            self.locked = data.is_empty();
        }
    }

    /// Looks for [`LOCK`] sync bytes at the right distances, or for a portion that consists of packets as a datagram does.
    fn look(&mut self, data: &mut Bytes) {
        let is_whole = data.len().is_multiple_of(PACKET_BYTES) && data.iter().step_by(PACKET_BYTES).all(|b| *b == SYNC);
        if self.kept.is_empty() && is_whole {
            self.locked = true;
            return;
        }
        let wanted = (PACKET_BYTES * (LOCK - 1) + 1).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&data.split_to(wanted.min(data.len())));
        while self.kept.len() > PACKET_BYTES * (LOCK - 1) {
            if self.kept.iter().step_by(PACKET_BYTES).take(LOCK).all(|b| *b == SYNC) {
                // Back in front of what follows, as the lock's packets have to be handed on, too.
                let mut together = std::mem::take(&mut self.kept);
                together.extend_from_slice(data);
                *data = together.freeze();
                self.locked = true;
                return;
            }
            let skip = self.kept[1..].iter().position(|b| *b == SYNC).map_or(self.kept.len(), |at| at + 1);
            self.kept.advance(skip);
            self.discarded += skip as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(packets: usize) -> Vec<u8> {
        (0..packets).flat_map(|n| [vec![SYNC, 1, 0, n as u8], vec![n as u8; 184]].concat()).collect()
    }

    fn run(aligner: &mut Aligner, bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut rest, mut out, mut cuts) = (bytes, Vec::new(), cuts.iter().cycle());
        while !rest.is_empty() {
            let length = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
            let (now, later) = rest.split_at(length);
            aligner.push(Bytes::copy_from_slice(now), |piece| {
                assert!(piece.len().is_multiple_of(188) && piece.chunks(188).all(|packet| packet[0] == SYNC));
                out.extend_from_slice(&piece);
            });
            rest = later;
        }
        out
    }

    #[test]
    fn a_portion_of_whole_packets_is_handed_on_as_it_is() {
        let data = Bytes::from(stream(7));
        let mut pieces = Vec::new();
        Aligner::default().push(data.clone(), |piece| pieces.push(piece));
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].as_ptr(), data.as_ptr(), "no copy");
    }

    #[test]
    fn garbage_is_left_out_and_packets_are_found_again() {
        let mut aligner = Aligner::default();
        let packets = stream(20);
        let bytes = [&[0, 1, SYNC, 3][..], &packets[..10 * 188], &[9; 77], &packets[10 * 188..]].concat();
        assert_eq!(run(&mut aligner, &bytes, &[100]), packets);
        assert_eq!(aligner.discarded(), 4 + 77);
        aligner.push(Bytes::from(vec![SYNC; 100]), |_| panic!("half a packet"));
        aligner.reset();
        assert_eq!(run(&mut aligner, &packets, &[1316]), packets, "the half packet is gone");
    }

    proptest! {
        #[test]
        fn any_portions_give_the_same_bytes(packets in 3usize..60, cuts in prop::collection::vec(1usize..2000, 1..20)) {
            let bytes = stream(packets);
            let mut aligner = Aligner::default();
            prop_assert_eq!(run(&mut aligner, &bytes, &cuts), bytes);
            prop_assert_eq!(aligner.discarded(), 0);
        }

        #[test]
        fn any_bytes_are_cut_or_left_out(bytes in prop::collection::vec(prop_oneof![Just(SYNC), any::<u8>()], 0..3000), cuts in prop::collection::vec(1usize..500, 1..5)) {
            let mut aligner = Aligner::default();
            let out = run(&mut aligner, &bytes, &cuts);
            prop_assert!(out.len() as u64 + aligner.discarded() <= bytes.len() as u64);
            prop_assert!(aligner.kept.len() <= KEPT_MAX);
        }
    }
}
