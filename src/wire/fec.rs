//! FEC packets of SMPTE ST 2022-1 (Pro-MPEG CoP 3): the sum of some media packets, so that one lost among them can be computed
//! from the others. The layout is RFC 2733's with a header extension of its own.
//!
//! The sum goes over what RFC 2733 §8.1 protects: padding, extension and marker bit, CSRC count, payload type, timestamp, the
//! length of all behind the fixed header, and that itself. SSRC and sequence number are known without.

use super::rtp::{HEADER_BYTES, RtpHead};

/// Bytes of the FEC header behind the RTP header.
pub const FEC_HEADER_BYTES: usize = 16;
/// Payload type of FEC packets: the first dynamic one.
pub const PAYLOAD_FEC: u8 = 96;
/// Columns L of a matrix (ST 2022-1 §6: 1 to 20).
pub const COLUMNS_MAX: u8 = 20;
/// Rows D of a matrix (ST 2022-1 §6: 4 to 20).
pub const ROWS_MAX: u8 = 20;
/// Packets L · D of a matrix (ST 2022-1 §6).
pub const MATRIX_MAX: u16 = 100;

/// Which way through the matrix a sum goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Every L-th packet.
    Column,
    /// Packets that follow each other.
    Row,
}

/// Which media packets a sum is made of: `count` of them, from sequence number `base` on in steps of `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Column or row.
    pub direction: Direction,
    /// SNBase: the first one.
    pub base: u16,
    /// Offset: L for a column, 1 for a row.
    pub step: u8,
    /// NA: D for a column, L for a row.
    pub count: u8,
}

/// The sum of some packets, or what is left of it when known ones are taken out again: both are XOR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// First two bytes of the RTP headers: flags, CSRC count, marker, payload type; not the version.
    flags: [u8; 2],
    /// Lengths of what follows the fixed headers.
    length: u16,
    timestamp: u32,
    /// Behind the fixed headers; shorter packets count as filled with zeros.
    body: Vec<u8>,
}

impl Sum {
    /// Adds a media packet, or takes it out. Only whole RTP packets of at most 65,547 bytes are protected; others change nothing.
    pub fn toggle(&mut self, datagram: &[u8]) {
        if let Some((fixed, body)) = datagram.split_first_chunk::<HEADER_BYTES>() {
            self.toggle_parts(fixed, std::iter::once(body));
        }
    }

    /// The same for a packet whose body lies in several places.
    pub fn toggle_parts<'p>(&mut self, fixed: &[u8; HEADER_BYTES], body: impl Iterator<Item = &'p [u8]> + Clone) {
        let bytes: usize = body.clone().map(<[u8]>::len).sum();
        let Ok(length) = u16::try_from(bytes) else { return };
        self.flags[0] ^= fixed[0] & 0x3f;
        self.flags[1] ^= fixed[1];
        self.length ^= length;
        self.timestamp ^= u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        if self.body.len() < bytes {
            self.body.resize(bytes, 0);
        }
        let mut sums = &mut self.body[..];
        for part in body {
            let (here, behind) = sums.split_at_mut(part.len());
            here.iter_mut().zip(part).for_each(|(sum, byte)| *sum ^= byte);
            sums = behind;
        }
    }

    /// The one packet whose sum this is. None if it cannot be one: the sum was of other packets than was said.
    pub fn into_packet(mut self, sequence: u16, ssrc: u32) -> Option<Vec<u8>> {
        let length = usize::from(self.length);
        // Behind the packet's end all others' bytes must have cancelled each other out.
        if length > self.body.len() || self.body[length..].iter().any(|byte| *byte != 0) {
            return None;
        }
        self.body.truncate(length);
        let head = RtpHead { sequence, timestamp: self.timestamp, ssrc, ..RtpHead::default() };
        let mut out = head.write().to_vec();
        out[0] |= self.flags[0];
        out[1] = self.flags[1];
        out.append(&mut self.body);
        Some(out)
    }
}

/// An FEC packet, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FecPacket {
    /// What it is the sum of.
    pub span: Span,
    /// The sum.
    pub sum: Sum,
}

/// Why a datagram is no FEC packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FecError {
    /// Shorter than both headers.
    #[error("{0} bytes hold no FEC packet")]
    Short(usize),
    /// The RTP version is 2 everywhere.
    #[error("RTP version {0}")]
    Version(u8),
    /// RFC 2733 without the extension, a mask, or a code that is not XOR.
    #[error("FEC of another kind than ST 2022-1's")]
    Kind,
    /// Not within the limits of ST 2022-1.
    #[error("a sum of {count} packets in steps of {step}")]
    Matrix {
        /// Offset.
        step: u8,
        /// NA.
        count: u8,
    },
}

impl FecPacket {
    /// Takes a datagram apart.
    ///
    /// # Errors
    /// If it is no FEC packet of ST 2022-1, or of a matrix larger than that allows.
    pub fn parse(datagram: &[u8]) -> Result<Self, FecError> {
        let short = FecError::Short(datagram.len());
        let (fixed, rest) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let (fec, body) = rest.split_first_chunk::<FEC_HEADER_BYTES>().ok_or(short)?;
        if fixed[0] >> 6 != 2 {
            return Err(FecError::Version(fixed[0] >> 6));
        }
        // RFC 2733 §6.1: P, X, CC and M are sums as well; there never is a CSRC list, an extension or padding.
        let extended = fec[4] & 0x80 != 0;
        let mask = u32::from_be_bytes([0, fec[5], fec[6], fec[7]]);
        // N is for later versions; type 0 is XOR, and index 0 its only packet.
        let kind = (fec[12] & 0x80, fec[12] >> 3 & 7, fec[12] & 7);
        if !extended || mask != 0 || kind != (0, 0, 0) {
            return Err(FecError::Kind);
        }
        let (step, count) = (fec[13], fec[14]);
        let direction = if fec[12] & 0x40 != 0 { Direction::Row } else { Direction::Column };
        let possible = match direction {
            Direction::Column => {
                (1..=COLUMNS_MAX).contains(&step)
                    && (1..=ROWS_MAX).contains(&count)
                    && u16::from(step) * u16::from(count) <= MATRIX_MAX
            }
            Direction::Row => step == 1 && (1..=COLUMNS_MAX).contains(&count),
        };
        if !possible {
            return Err(FecError::Matrix { step, count });
        }
        let base = u16::from_be_bytes([fec[0], fec[1]]);
        Ok(Self {
            span: Span { direction, base, step, count },
            sum: Sum {
                flags: [fixed[0] & 0x3f, fixed[1] & 0x80 | fec[4] & 0x7f],
                length: u16::from_be_bytes([fec[2], fec[3]]),
                timestamp: u32::from_be_bytes([fec[8], fec[9], fec[10], fec[11]]),
                body: body.to_vec(),
            },
        })
    }

    /// The datagram. `sequence` counts the packets of its own stream, `timestamp` is its time of sending.
    pub fn write(&self, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
        let Self { span, sum } = self;
        let head = RtpHead { marker: false, payload_type: PAYLOAD_FEC, sequence, timestamp, ssrc };
        let mut out = head.write().to_vec();
        out[0] |= sum.flags[0];
        out[1] |= sum.flags[1] & 0x80;
        out.extend_from_slice(&span.base.to_be_bytes());
        out.extend_from_slice(&sum.length.to_be_bytes());
        out.extend_from_slice(&[0x80 | sum.flags[1] & 0x7f, 0, 0, 0]);
        out.extend_from_slice(&sum.timestamp.to_be_bytes());
        let row = u8::from(span.direction == Direction::Row) << 6;
        out.extend_from_slice(&[row, span.step, span.count, 0]);
        out.extend_from_slice(&sum.body);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn media(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let head = RtpHead { payload_type: 33, sequence, timestamp: 3000 * u32::from(sequence), ..RtpHead::default() };
        let mut bytes = head.write().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    const ROW: Span = Span { direction: Direction::Row, base: 10, step: 1, count: 2 };

    /// Written out by hand from ST 2022-1 and RFC 2733.
    #[test]
    fn the_layout_is_the_standards() {
        let mut sum = Sum::default();
        sum.toggle(&media(10, &[0x47, 1, 2]));
        sum.toggle(&media(11, &[0x47, 3, 4, 5]));
        let bytes = FecPacket { span: ROW, sum }.write(0x0102, 0x0a0b_0c0d, 0);
        let timestamps = (30_000u32 ^ 33_000).to_be_bytes();
        #[rustfmt::skip]
        let want = [
            0x80, 96, 0x01, 0x02, 0x0a, 0x0b, 0x0c, 0x0d, 0, 0, 0, 0,
            0, 10,                  // SNBase low bits
            0, 3 ^ 4,               // length recovery
            0x80,                   // E, PT recovery: 33 ^ 33
            0, 0, 0,                // mask
            timestamps[0], timestamps[1], timestamps[2], timestamps[3],
            0x40, 1, 2, 0,          // a row, offset, NA, SNBase ext
            0, 1 ^ 3, 2 ^ 4, 5,
        ];
        assert_eq!(bytes, want);
    }

    #[test]
    fn a_packet_taken_out_of_the_sum_is_what_was_put_in() {
        let (one, two) = (media(10, b"Gab"), media(11, b"Gabcd"));
        let mut sum = Sum::default();
        sum.toggle(&one);
        sum.toggle(&two);
        sum.toggle(&one);
        assert_eq!(sum.clone().into_packet(11, 0), Some(two));
        assert_eq!(Sum { length: 2, ..sum.clone() }.into_packet(11, 0), None, "something is left behind its end");
        assert_eq!(Sum { length: 9, ..sum }.into_packet(11, 0), None, "longer than all it was made of");
    }

    #[test]
    fn what_is_no_fec_packet_is_refused() {
        let good = FecPacket { span: ROW, sum: Sum::default() }.write(0, 0, 0);
        assert!(FecPacket::parse(&good).is_ok());
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            FecPacket::parse(&bytes)
        };
        for (name, at, byte, error) in [
            ("version", 0, 0x40, FecError::Version(1)),
            ("RFC 2733 without the extension", 16, 0, FecError::Kind),
            ("a mask", 19, 1, FecError::Kind),
            ("Reed-Solomon", 24, 0x50, FecError::Kind),
            ("a second packet", 24, 0x41, FecError::Kind),
            ("a row in steps", 25, 2, FecError::Matrix { step: 2, count: 2 }),
            ("of nothing", 26, 0, FecError::Matrix { step: 1, count: 0 }),
            ("21 columns", 26, 21, FecError::Matrix { step: 1, count: 21 }),
        ] {
            assert_eq!(with(at, byte), Err(error), "{name}");
        }
        let column = Span { direction: Direction::Column, base: 0, step: 20, count: 5 };
        let mut bytes = FecPacket { span: column, sum: Sum::default() }.write(0, 0, 0);
        assert_eq!(FecPacket::parse(&bytes).map(|fec| fec.span), Ok(column), "100 packets");
        bytes[26] = 6;
        assert_eq!(FecPacket::parse(&bytes), Err(FecError::Matrix { step: 20, count: 6 }), "120 packets");
        assert_eq!(FecPacket::parse(&good[..27]), Err(FecError::Short(27)));
    }

    proptest! {
        #[test]
        fn written_packets_are_read_again(
            packets in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 1..5),
            base: u16, step in 1u8..=5, count in 1u8..=20, sequence: u16, timestamp: u32,
        ) {
            let mut sum = Sum::default();
            packets.iter().for_each(|(sequence, payload)| sum.toggle(&media(*sequence, payload)));
            let fec = FecPacket { span: Span { direction: Direction::Column, base, step, count }, sum };
            prop_assert_eq!(FecPacket::parse(&fec.write(sequence, timestamp, 0)), Ok(fec));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = FecPacket::parse(&bytes);
        }
    }
}
