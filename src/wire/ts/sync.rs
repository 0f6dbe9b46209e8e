//! Finds packets in bytes.
//!
//! In:    bytes in any portions.
//! Out:   packets of 188 bytes.
//! Never: looks behind the sync byte; keeps more than [`Framer::BUFFER_MAX`].

use super::PACKET_BYTES;

const SYNC: u8 = 0x47;
/// Sync bytes in a row that make a lock; ETSI TR 101 290 §5.2.1 (1.1) asks for five.
const LOCK: usize = 5;
/// Packet sizes in use: plain; with a 4-byte arrival time in front (m2ts); with 16 bytes of Reed–Solomon code behind.
const STRIDES: [usize; 3] = [PACKET_BYTES, 192, 204];
/// What must be at hand to try every packet size at one offset.
const LOOKAHEAD: usize = STRIDES[2] * (LOCK - 1) + 1;

/// Cuts a byte stream into packets. Learns the distance between packets (188, 192 or 204 bytes) and finds the next
/// packet again after garbage.
#[derive(Debug, Default)]
pub struct Framer {
    buf: Vec<u8>,
    /// Bytes of `buf` that are done with.
    read: usize,
    /// Distance between sync bytes while in lock.
    stride: Option<usize>,
    /// Bytes between the end of the last packet and the next sync byte that have not arrived yet.
    skip: usize,
    ending: bool,
    ever_locked: bool,
    discarded: u64,
    losses: u64,
}

impl Framer {
    /// Bytes taken at a time by [`Self::feed`].
    const PIECE: usize = 16 * 1024;
    /// Most bytes ever kept.
    pub const BUFFER_MAX: usize = Self::PIECE + LOOKAHEAD;

    /// Takes as many bytes as there is room for and returns what is left. Call [`Self::next`] until `None`, then again.
    pub fn feed<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.buf.drain(..self.read);
        self.read = 0;
        let room = Self::BUFFER_MAX - self.buf.len();
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        self.buf.extend_from_slice(now);
        later
    }

    /// Nothing more will come: what is too short to be sure of is taken if it looks like packets throughout.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// The next packet, its first byte 0x47; `None` when more bytes are needed.
    #[allow(clippy::should_implement_trait)] // the item borrows from self
    pub fn next(&mut self) -> Option<&[u8; PACKET_BYTES]> {
        loop {
            let rest = &self.buf[self.read..];
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            self.read += skipped;
            let rest = &self.buf[self.read..];
            let Some(stride) = self.stride else {
                if !self.lock() {
                    return None;
                }
                continue;
            };
            if *rest.first()? != SYNC {
                self.losses += 1;
                self.stride = None;
                continue;
            }
            if rest.len() < PACKET_BYTES {
                return None;
            }
            let at = self.read;
            self.read += PACKET_BYTES;
            self.skip = stride - PACKET_BYTES;
            return self.buf[at..].first_chunk();
        }
    }

    /// Looks for [`LOCK`] sync bytes at one of the distances; bytes before them are discarded.
    fn lock(&mut self) -> bool {
        loop {
            let rest = &self.buf[self.read..];
            if rest.is_empty() || (rest.len() < LOOKAHEAD && !self.ending) {
                return false;
            }
            let fits = |stride: usize| rest.iter().step_by(stride).take(LOCK).all(|&b| b == SYNC);
            // At the end fewer than five are left to look at; a whole packet is the least.
            if rest.len() >= PACKET_BYTES
                && let Some(stride) = STRIDES.into_iter().find(|&s| fits(s))
            {
                self.stride = Some(stride);
                self.ever_locked = true;
                return true;
            }
            self.read += 1;
            self.discarded += 1;
        }
    }

    /// Packets are being found.
    pub fn locked(&self) -> bool {
        self.stride.is_some()
    }

    /// Bytes that belonged to no packet.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Times the sync byte was not where it had to be.
    pub fn losses(&self) -> u64 {
        self.losses
    }

    /// Bytes kept, at most [`Self::BUFFER_MAX`].
    pub fn buffered(&self) -> usize {
        self.buf.len() - self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets(count: usize, before: usize, after: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for n in 0..count {
            out.extend(vec![0xaa; before]);
            out.push(SYNC);
            out.extend((1..PACKET_BYTES).map(|i| (n * 7 + i) as u8 | 0x80));
            out.extend(vec![0x55; after]);
        }
        out
    }

    /// Second bytes of the packets found: each packet's own mark.
    fn found(bytes: &[u8], portion: usize) -> (Vec<u8>, Framer) {
        let mut framer = Framer::default();
        let mut marks = Vec::new();
        for part in bytes.chunks(portion) {
            let mut part = part;
            while !part.is_empty() {
                part = framer.feed(part);
                while let Some(packet) = framer.next() {
                    marks.push(packet[1]);
                }
                assert!(framer.buffered() <= Framer::BUFFER_MAX);
            }
        }
        framer.end();
        while let Some(packet) = framer.next() {
            marks.push(packet[1]);
        }
        (marks, framer)
    }

    fn marks(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n * 7 + 1) as u8 | 0x80).collect()
    }

    #[test]
    fn packets_are_found() {
        let garbage = [vec![0x11; 1000], packets(20, 0, 0)].concat();
        let torn = [packets(10, 0, 0), vec![0x11; 77], packets(10, 0, 0)].concat();
        for (name, bytes, want, discarded, losses) in [
            ("188 bytes", packets(20, 0, 0), marks(20), 0, 0),
            ("192 bytes, m2ts", packets(20, 4, 0), marks(20), 4, 0),
            ("204 bytes", packets(20, 0, 16), marks(20), 0, 0),
            ("too few to be sure", packets(2, 0, 0), marks(2), 0, 0),
            ("half a packet", packets(1, 0, 0)[..100].to_vec(), vec![], 100, 0),
            ("garbage in front", garbage, marks(20), 1000, 0),
            ("garbage between", torn, [marks(10), marks(10)].concat(), 77, 1),
        ] {
            for portion in [1, 7, 188, 1316, 1 << 20] {
                let (got, framer) = found(&bytes, portion);
                assert_eq!(got, want, "{name}, portions of {portion}");
                assert_eq!((framer.discarded(), framer.losses()), (discarded, losses), "{name}");
            }
        }
    }

    #[test]
    fn one_broken_sync_byte_costs_one_packet() {
        let mut bytes = packets(20, 0, 0);
        bytes[10 * PACKET_BYTES] = 0;
        let mut want = marks(20);
        want.remove(10);
        assert_eq!(found(&bytes, 1316).0, want);
    }

    proptest! {
        #[test]
        fn portions_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![3 => Just(SYNC), 1 => any::<u8>()], 0..4000),
            portion in 1usize..2000,
        ) {
            prop_assert_eq!(found(&bytes, portion).0, found(&bytes, bytes.len().max(1)).0);
        }
    }
}
