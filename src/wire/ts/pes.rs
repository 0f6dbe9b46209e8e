//! The header of a PES packet (ISO/IEC 13818-1 §2.4.3.6).

/// The longest header: nine fixed bytes and PES_header_data_length of 255.
pub const PES_HEADER_MAX: usize = 9 + 255;

/// What the header of a PES packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PesHeader {
    /// stream_id.
    pub stream_id: u8,
    /// Presentation time, 90 kHz, 33 bits.
    pub pts: Option<u64>,
    /// Decoding time where it differs, 90 kHz, 33 bits.
    pub dts: Option<u64>,
    /// data_alignment_indicator: the payload begins with an access unit.
    pub aligned: bool,
    /// Bytes of the header.
    pub header_bytes: usize,
    /// Bytes of header and payload; `None`: it ends where the next one begins (video only, says the standard).
    pub total_bytes: Option<usize>,
}

/// Why bytes are no PES header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PesHeaderError {
    /// More bytes are needed to tell.
    #[error("header not complete")]
    Incomplete,
    /// packet_start_code_prefix is not 00 00 01.
    #[error("no start code")]
    NoStartCode,
    /// The two marker bits say it is not MPEG-2 syntax.
    #[error("header not in MPEG-2 syntax")]
    NotMpeg2,
}

impl PesHeader {
    /// Reads the header at the beginning of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, PesHeaderError> {
        use PesHeaderError::{Incomplete, NoStartCode, NotMpeg2};
        if bytes.iter().zip([0, 0, 1]).any(|(&b, want)| b != want) {
            return Err(NoStartCode);
        }
        let [_, _, _, stream_id, high, low] = *bytes.first_chunk().ok_or(Incomplete)?;
        let length = usize::from(high) << 8 | usize::from(low);
        let total_bytes = (length > 0).then_some(6 + length);
        let plain = Self { stream_id, pts: None, dts: None, aligned: false, header_bytes: 6, total_bytes };
        // Maps, padding, ECM and such have no more header than this (Table 2-21).
        if matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff) {
            return Ok(plain);
        }
        let [first, flags, length] = *bytes[6..].first_chunk().ok_or(Incomplete)?;
        if first & 0xc0 != 0x80 {
            return Err(NotMpeg2);
        }
        let fields = bytes[9..].get(..usize::from(length)).ok_or(Incomplete)?;
        let pts = if flags & 0x80 != 0 { fields.first_chunk().and_then(timestamp) } else { None };
        let second = || fields.get(5..).and_then(<[u8]>::first_chunk).and_then(timestamp);
        let dts = if flags & 0xc0 == 0xc0 { second() } else { None };
        Ok(Self { pts, dts, aligned: first & 4 != 0, header_bytes: 9 + usize::from(length), ..plain })
    }
}

/// 33 bits in five bytes with marker bits between; `None` where a marker bit is wrong.
fn timestamp(field: &[u8; 5]) -> Option<u64> {
    let [a, b, c, d, e] = field.map(u64::from);
    let marked = a & c & e & 1 == 1;
    marked.then_some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_read() {
        let none =
            PesHeader { stream_id: 0xe0, pts: None, dts: None, aligned: false, header_bytes: 9, total_bytes: None };
        let top = (1 << 33) - 1;
        for (name, bytes, want) in [
            ("no stamps", &[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0][..], Ok(none)),
            (
                "PTS, aligned, bounded",
                &[0, 0, 1, 0xc0, 0, 20, 0x84, 0x80, 5, 0x2f, 0xff, 0xff, 0xff, 0xff],
                Ok(PesHeader {
                    stream_id: 0xc0,
                    pts: Some(top),
                    aligned: true,
                    header_bytes: 14,
                    total_bytes: Some(26),
                    ..none
                }),
            ),
            (
                "PTS and DTS and stuffing",
                &[0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 11, 0x31, 0, 1, 0, 3, 0x11, 0, 1, 0, 1, 0xff],
                Ok(PesHeader { pts: Some(1), dts: Some(0), header_bytes: 20, ..none }),
            ),
            (
                "wrong marker bit",
                &[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x20, 0, 1, 0, 1],
                Ok(PesHeader { header_bytes: 14, ..none }),
            ),
            (
                "padding",
                &[0, 0, 1, 0xbe, 0, 1, 0xff],
                Ok(PesHeader { stream_id: 0xbe, header_bytes: 6, total_bytes: Some(7), ..none }),
            ),
            ("MPEG-1", &[0, 0, 1, 0xe0, 0, 0, 0x21, 0, 0], Err(PesHeaderError::NotMpeg2)),
            ("no start code", &[0, 0, 2], Err(PesHeaderError::NoStartCode)),
            ("cut", &[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1], Err(PesHeaderError::Incomplete)),
        ] {
            assert_eq!(PesHeader::parse(bytes), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for (at, b) in [0, 0, 1].into_iter().enumerate() {
                if let Some(slot) = bytes.get_mut(at) { *slot = b; }
            }
            if let Ok(header) = PesHeader::parse(&bytes) {
                prop_assert!(header.header_bytes <= PES_HEADER_MAX.min(bytes.len()));
                prop_assert!(header.pts.is_none_or(|t| t < 1 << 33));
            }
        }
    }
}
