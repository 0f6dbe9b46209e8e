//! PES packets (ISO/IEC 13818-1 §2.4.3.6): one access unit each, or some frames of sound.

use super::{StreamFormat, Unit};
use crate::media::ChannelTime;

/// Bytes of a header with both timestamps.
const HEADER_MAX: usize = 9 + 5 + 5;

/// The header of a PES packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PesHeader {
    bytes: [u8; HEADER_MAX],
    len: usize,
}

impl PesHeader {
    /// `None`: the packet is too long to state its length, and holds no video.
    pub fn new(format: StreamFormat, unit: &Unit<'_>) -> Option<Self> {
        let both = unit.dts != unit.pts;
        let stamps = if both { 10 } else { 5 };
        // PES_packet_length counts what follows it; 0 is "until the next one begins", for video alone.
        let length = match u16::try_from(3 + stamps + unit.bytes()) {
            Ok(length) => length,
            Err(_) if format.is_video() => 0,
            Err(_) => return None,
        };
        let [high, low] = length.to_be_bytes();
        let mut bytes = [0; HEADER_MAX];
        // 0x84: MPEG-2 syntax; data_alignment_indicator, for the payload begins with an access unit (§2.6.11).
        let flags = if both { 0xc0 } else { 0x80 };
        bytes[..9].copy_from_slice(&[0, 0, 1, format.stream_id(), high, low, 0x84, flags, stamps as u8]);
        bytes[9..14].copy_from_slice(&timestamp(if both { 3 } else { 2 }, unit.pts));
        if both {
            bytes[14..].copy_from_slice(&timestamp(1, unit.dts));
        }
        Some(Self { bytes, len: 9 + stamps })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// 33 bits in five bytes behind a prefix of four bits, with marker bits between.
fn timestamp(prefix: u8, at: ChannelTime) -> [u8; 5] {
    let t = at.ticks().rem_euclid(1 << 33).unsigned_abs();
    let low_bits = |t: u64| t as u8;
    [
        prefix << 4 | low_bits(t >> 29) & 0x0e | 1,
        low_bits(t >> 22),
        low_bits(t >> 14) | 1,
        low_bits(t >> 7),
        low_bits(t << 1) | 1,
    ]
}

/// The bytes of a PES packet, as far as they have not been given out.
#[derive(Debug, Default)]
pub(super) struct PesPacket<'a> {
    header: PesHeader,
    pieces: &'a [&'a [u8]],
    /// Bytes given of the header, and of the first piece.
    of_header: usize,
    of_piece: usize,
    left: u64,
}

impl<'a> PesPacket<'a> {
    /// Of `bytes` bytes, header included.
    pub fn new(header: PesHeader, pieces: &'a [&'a [u8]], bytes: u64) -> Self {
        Self { header, pieces, of_header: 0, of_piece: 0, left: bytes }
    }

    /// Bytes that have not been given out.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Gives the next bytes; this is the one copy of the media.
    pub fn give(&mut self, mut count: usize, out: &mut Vec<u8>) {
        self.left = self.left.saturating_sub(count as u64);
        let header = &self.header.as_bytes()[self.of_header..];
        if !header.is_empty() {
            let part = &header[..count.min(header.len())];
            out.extend_from_slice(part);
            self.of_header += part.len();
            count -= part.len();
        }
        while let Some((piece, others)) = self.pieces.split_first() {
            let rest = &piece[self.of_piece..];
            let part = &rest[..count.min(rest.len())];
            out.extend_from_slice(part);
            count -= part.len();
            if part.len() < rest.len() {
                self.of_piece += part.len();
                return;
            }
            (self.pieces, self.of_piece) = (others, 0);
        }
    }
}
