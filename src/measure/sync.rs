//! Sync bytes → packets, with the patience of ETSI TR 101 290.
//!
//! In:    bytes in any portions.
//! Out:   packets where they lie, without a copy unless a portion ends inside one; what is wrong with the sync bytes.
//! Never: gives up a lock for one wrong sync byte (that is for the demux, which must not take wrong bytes for media);
//!        keeps more than [`Sync::KEPT_MAX`].

use crate::wire::ts::PACKET_BYTES;

const SYNC: u8 = 0x47;
/// Sync bytes in a row that make a lock (TR 101 290 §5.2.1, 1.1).
const GAIN: usize = 5;
/// Wrong ones in a row that end it.
const LOSS: u8 = 2;
/// Distances between sync bytes in use: plain; with an arrival time in front (m2ts); with Reed–Solomon code behind.
const STRIDES: [usize; 3] = [PACKET_BYTES, 192, 204];
const LOOKAHEAD: usize = STRIDES[2] * (GAIN - 1) + 1;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A packet behind a right sync byte.
    Packet(&'a [u8; PACKET_BYTES]),
    /// A wrong sync byte where one had to be.
    WrongByte,
    /// [`LOSS`] of them in a row: packets are looked for anew.
    Lost,
    /// [`GAIN`] right ones in a row.
    Locked,
}

/// Finds the packets of one source.
#[derive(Debug, Default)]
pub(super) struct Sync {
    /// In lock the beginning of a packet, else what is searched.
    kept: Vec<u8>,
    stride: Option<usize>,
    wrong: u8,
}

impl Sync {
    /// Bytes searched at a time.
    const PIECE: usize = 4096;
    /// Most bytes ever kept.
    pub const KEPT_MAX: usize = Self::PIECE + LOOKAHEAD;

    /// In lock.
    pub fn locked(&self) -> bool {
        self.stride.is_some()
    }

    /// Takes bytes.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(Found<'_>)) {
        while !bytes.is_empty() {
            let Some(stride) = self.stride else {
                bytes = self.search(bytes, sink);
                continue;
            };
            if !self.kept.is_empty() {
                let (head, rest) = bytes.split_at(bytes.len().min(stride - self.kept.len()));
                self.kept.extend_from_slice(head);
                bytes = rest;
                if self.kept.len() == stride {
                    let mut held = std::mem::take(&mut self.kept);
                    if self.place(&held, sink) {
                        held.clear();
                    }
                    self.kept = held;
                }
                continue;
            }
            let Some((here, rest)) = bytes.split_at_checked(stride) else {
                self.kept.extend_from_slice(bytes);
                return;
            };
            if self.place(here, sink) {
                bytes = rest;
            }
        }
    }

    /// Takes what lies between two places of a sync byte. `false`: the lock ends with it, and it is to be searched.
    fn place(&mut self, here: &[u8], sink: &mut dyn FnMut(Found<'_>)) -> bool {
        match here.first_chunk() {
            Some(packet) if here[0] == SYNC => {
                self.wrong = 0;
                sink(Found::Packet(packet));
                true
            }
            _ => {
                sink(Found::WrongByte);
                self.wrong += 1;
                if self.wrong == LOSS {
                    sink(Found::Lost);
                    self.stride = None;
                }
                self.wrong < LOSS
            }
        }
    }

    /// Looks for [`GAIN`] sync bytes at one of the distances; returns the bytes it has not looked at.
    fn search<'a>(&mut self, bytes: &'a [u8], sink: &mut dyn FnMut(Found<'_>)) -> &'a [u8] {
        let room = Self::KEPT_MAX - self.kept.len();
        let (piece, rest) = bytes.split_at(bytes.len().min(room.min(Self::PIECE)));
        self.kept.extend_from_slice(piece);
        let fits = |from: usize, stride: usize| self.kept[from..].iter().step_by(stride).take(GAIN).all(|&b| b == SYNC);
        let last = (self.kept.len() + 1).saturating_sub(LOOKAHEAD);
        let found = (0..last).find_map(|from| Some((from, STRIDES.into_iter().find(|&s| fits(from, s))?)));
        let Some((from, stride)) = found else {
            self.kept.drain(..last);
            return rest;
        };
        (self.stride, self.wrong) = (Some(stride), 0);
        sink(Found::Locked);
        // At most a few dozen packets, each of which may end the lock again: then this is searched once more, shorter.
        let held = self.kept.split_off(from);
        self.kept.clear();
        let mut at = 0;
        while self.locked() && at + stride <= held.len() {
            if self.place(&held[at..at + stride], sink) {
                at += stride;
            }
        }
        self.kept.extend_from_slice(&held[at..]);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// So many packets, each with its number behind the sync byte.
    fn packets(count: usize, stride: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for n in 0..count {
            let front = if stride == 192 { 4 } else { 0 };
            out.extend(vec![0; front]);
            out.extend([SYNC, n as u8]);
            out.extend(vec![0xa5; PACKET_BYTES - 2]);
            out.extend(vec![0; stride - PACKET_BYTES - front]);
        }
        out
    }

    fn run(bytes: &[u8], portion: usize) -> (Vec<u8>, usize, usize, usize) {
        let (mut sync, mut numbers, mut wrong, mut lost, mut locked) = (Sync::default(), Vec::new(), 0, 0, 0);
        for part in bytes.chunks(portion) {
            sync.feed(part, &mut |found| match found {
                Found::Packet(packet) => numbers.push(packet[1]),
                Found::WrongByte => wrong += 1,
                Found::Lost => lost += 1,
                Found::Locked => locked += 1,
            });
            assert!(sync.kept.len() <= Sync::KEPT_MAX);
        }
        (numbers, wrong, lost, locked)
    }

    #[test]
    fn each_way_to_pack_is_found_behind_any_garbage() {
        for stride in STRIDES {
            for garbage in [0, 1, 187, 5000] {
                let bytes = [vec![0x11; garbage], packets(40, stride), vec![0; 12]].concat();
                for portion in [1316, 1, 77, 100_000] {
                    let (numbers, wrong, lost, locked) = run(&bytes, portion);
                    assert_eq!((wrong, lost, locked), (0, 0, 1), "{stride} behind {garbage} by {portion}");
                    assert!(numbers.len() >= 39 && numbers.iter().enumerate().all(|(at, &n)| at == usize::from(n)));
                }
            }
        }
    }

    #[test]
    fn one_wrong_byte_is_one_and_two_lose_the_lock() {
        let mut bytes = packets(40, 188);
        bytes[20 * 188] = 0;
        let (numbers, wrong, lost, locked) = run(&bytes, 1316);
        assert_eq!((numbers.len(), wrong, lost, locked), (39, 1, 0, 1));
        bytes[21 * 188] = 0;
        let (numbers, wrong, lost, locked) = run(&bytes, 1316);
        assert_eq!((numbers.len(), wrong, lost, locked), (38, 2, 1, 2));
    }

    #[test]
    fn a_byte_too_many_loses_the_lock_and_it_is_found_again() {
        let mut bytes = packets(40, 188);
        bytes.insert(20 * 188, 0);
        let (numbers, wrong, lost, locked) = run(&bytes, 1316);
        assert_eq!((wrong, lost, locked), (2, 1, 2));
        assert_eq!(numbers.len(), 39, "the packet in which the first wrong place lay is gone");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_portions_mean_the_same(
            parts in proptest::collection::vec(prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                (1usize..12, 0usize..3).prop_map(|(count, s)| packets(count, STRIDES[s])),
                Just(vec![SYNC; 400]),
            ], 0..12),
            portion in 1usize..2000,
        ) {
            let bytes = parts.concat();
            let (numbers, wrong, lost, _) = run(&bytes, portion);
            prop_assert!(numbers.len() * PACKET_BYTES <= bytes.len());
            prop_assert!(lost * 2 <= wrong);
        }
    }
}
