//! RTP packets (RFC 3550 §5.1), as they carry MPEG-TS (RFC 2250 §2).

/// Payload type of MPEG-TS (RFC 3551 §6).
pub const PAYLOAD_MP2T: u8 = 33;
/// Ticks a second of its timestamps (RFC 2250 §2).
pub const CLOCK_HZ: u32 = 90_000;
/// Bytes of the header without CSRC list and extension.
pub const HEADER_BYTES: usize = 12;
/// Whole TS packets that fit an Ethernet frame: 7 · 188.
pub const PAYLOAD_BYTES: usize = 1316;

/// What a packet says of itself, but for its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtpHead {
    /// Marker: with MPEG-TS, a discontinuity of the timestamps.
    pub marker: bool,
    /// 7 bits.
    pub payload_type: u8,
    /// One more with each packet; begins anywhere.
    pub sequence: u16,
    /// Of the first byte, ticks of [`CLOCK_HZ`]; begins anywhere.
    pub timestamp: u32,
    /// Who sends. A sender that starts anew has another one.
    pub ssrc: u32,
}

/// A packet, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it says of itself.
    pub head: RtpHead,
    /// Behind CSRC list and extension, in front of the padding.
    pub payload: &'a [u8],
}

/// Why a datagram is no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// Shorter than what its header says of itself.
    #[error("{0} bytes hold no RTP packet")]
    Short(usize),
    /// The version is 2 everywhere.
    #[error("RTP version {0}")]
    Version(u8),
    /// The last byte counts the padding, itself included.
    #[error("{padding} bytes of padding in a payload of {payload}")]
    Padding {
        /// What the packet says.
        padding: u8,
        /// What there is.
        payload: usize,
    },
}

impl<'a> Packet<'a> {
    /// Takes a datagram apart.
    ///
    /// # Errors
    /// If it is no RTP packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        let short = RtpError::Short(datagram.len());
        let (fixed, rest) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version(fixed[0] >> 6));
        }
        let mut rest = rest.get(4 * usize::from(fixed[0] & 0x0f)..).ok_or(short)?;
        if fixed[0] & 0x10 != 0 {
            // §5.3.1: 16 bits of the profile's own, then the length of what follows in words.
            let (extension, behind) = rest.split_first_chunk::<4>().ok_or(short)?;
            let words = u16::from_be_bytes([extension[2], extension[3]]);
            rest = behind.get(4 * usize::from(words)..).ok_or(short)?;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = *rest.last().ok_or(short)?;
            let wrong = RtpError::Padding { padding, payload: rest.len() };
            let kept = rest.len().checked_sub(usize::from(padding)).filter(|_| padding > 0).ok_or(wrong)?;
            rest = &rest[..kept];
        }
        Ok(Self { head: RtpHead::read(fixed), payload: rest })
    }

    /// Whether the payload can be MPEG-TS, whatever the payload type says: some senders take a dynamic one. RFC 2250 §2: whole
    /// TS packets. A packet without payload keeps the sequence going.
    pub fn may_be_ts(&self) -> bool {
        self.payload.first().is_none_or(|first| *first == 0x47)
    }
}

impl RtpHead {
    /// From the first bytes of a packet, whatever its version and flags.
    pub fn read(fixed: &[u8; HEADER_BYTES]) -> Self {
        Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        }
    }

    /// The fixed header: no CSRC list, no extension, no padding.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0] = 2 << 6;
        out[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: RtpHead = RtpHead { marker: true, payload_type: 33, sequence: 0xfffe, timestamp: 90_000, ssrc: 7 };

    /// First byte, then the rest of a fixed header, then `behind`.
    fn packet(first: u8, behind: &[u8]) -> Vec<u8> {
        let mut bytes = HEAD.write().to_vec();
        bytes[0] = first;
        bytes.extend_from_slice(behind);
        bytes
    }

    #[test]
    fn what_stands_around_the_payload_is_left_out() {
        for (name, first, behind, payload) in [
            ("bare", 0x80, &b"G123"[..], &b"G123"[..]),
            ("nothing", 0x80, b"", b""),
            ("two CSRCs", 0x82, b"aaaabbbbG1", b"G1"),
            ("extension", 0x90, b"\x12\x34\0\x01xxxxG1", b"G1"),
            ("empty extension", 0x90, b"\x12\x34\0\0G1", b"G1"),
            ("padding", 0xa0, b"G1\0\0\x03", b"G1"),
            ("padding alone", 0xa0, b"\0\0\0\x04", b""),
            ("all of it", 0xb1, b"cccc\0\0\0\x01xxxxG1\x01", b"G1"),
        ] {
            let bytes = packet(first, behind);
            assert_eq!(Packet::parse(&bytes), Ok(Packet { head: HEAD, payload }), "{name}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for (name, bytes, error) in [
            ("nothing", vec![], RtpError::Short(0)),
            ("eleven bytes", packet(0x80, b"")[..11].to_vec(), RtpError::Short(11)),
            ("a TS packet", vec![0x47; 188], RtpError::Version(1)),
            ("half a CSRC list", packet(0x82, b"aaaab"), RtpError::Short(17)),
            ("half an extension", packet(0x90, b"\0\0\0\x02xxxx"), RtpError::Short(20)),
            ("padding without a count", packet(0xa0, b""), RtpError::Short(12)),
            ("no padding at all", packet(0xa0, b"G\0"), RtpError::Padding { padding: 0, payload: 2 }),
            ("more padding than payload", packet(0xa0, b"G\x03"), RtpError::Padding { padding: 3, payload: 2 }),
        ] {
            assert_eq!(Packet::parse(&bytes), Err(error), "{name}");
        }
    }

    proptest! {
        #[test]
        fn written_heads_are_read_again(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32, payload: Vec<u8>,
        ) {
            let head = RtpHead { marker, payload_type, sequence, timestamp, ssrc };
            let mut bytes = head.write().to_vec();
            bytes.extend_from_slice(&payload);
            prop_assert_eq!(Packet::parse(&bytes), Ok(Packet { head, payload: &payload }));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() <= bytes.len() - HEADER_BYTES);
            }
        }
    }
}
