//! MPEG-1 and MPEG-2 video (ISO/IEC 11172-2, 13818-2): sequence header and picture type.

use super::annexb::find_start_code;
use super::bits::Bits;
use super::h264::Scan;
use crate::media::{FrameRate, VideoShape};

const PICTURE: u8 = 0x00;
const SEQUENCE_HEADER: u8 = 0xb3;
const EXTENSION: u8 = 0xb5;

/// A sequence header and, where there is one, its extension (§6.2.2.1, §6.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Samples a line.
    pub width: u32,
    /// Lines of a frame.
    pub height: u32,
    /// Numerator and denominator of the rate as coded.
    rate: Option<(u32, u32)>,
    /// progressive_sequence is 0.
    pub interlaced: bool,
}

impl Sequence {
    /// Reads what follows the start code of a sequence header. It is MPEG-1 until an extension says otherwise.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut b = Bits::new(body);
        let (width, height) = (b.read(12)?, b.read(12)?);
        b.skip(4)?; // aspect_ratio_information
        // Table 6-4.
        let rate = match b.read(4)? {
            1 => Some((24_000, 1001)),
            2 => Some((24, 1)),
            3 => Some((25, 1)),
            4 => Some((30_000, 1001)),
            5 => Some((30, 1)),
            6 => Some((50, 1)),
            7 => Some((60_000, 1001)),
            8 => Some((60, 1)),
            _ => None,
        };
        (width > 0 && height > 0).then_some(Self { width, height, rate, interlaced: false })
    }

    /// Reads what follows an extension start code; other extensions than the sequence's change nothing.
    pub fn extend(&mut self, body: &[u8]) -> Option<()> {
        let mut b = Bits::new(body);
        if b.read(4)? != 1 {
            return Some(());
        }
        b.skip(8)?; // profile_and_level_indication
        let progressive = b.flag()?;
        b.skip(2)?; // chroma_format
        let (width, height) = (b.read(2)?, b.read(2)?);
        b.skip(12 + 1 + 8 + 1)?; // bit_rate_extension, marker, vbv_buffer_size_extension, low_delay
        let (n, d) = (b.read(2)?, b.read(5)?);
        self.interlaced = !progressive;
        self.width |= width << 12;
        self.height |= height << 12;
        self.rate = self.rate.map(|(num, den)| (num * (n + 1), den * (d + 1)));
        Some(())
    }

    /// What the rest of the program asks of it.
    pub fn shape(&self) -> VideoShape {
        let rate = self.rate.and_then(|(num, den)| FrameRate::new(num, den).ok());
        VideoShape { width: self.width, height: self.height, rate, interlaced: self.interlaced }
    }
}

/// Looks through a video stream. A decoder may start at an I picture behind a sequence header.
pub fn scan(data: &[u8]) -> Scan {
    let mut sequence: Option<Sequence> = None;
    let mut key = false;
    let mut rest = data;
    while let Some(at) = find_start_code(rest) {
        let Some((&code, body)) = rest[at + 3..].split_first() else { break };
        match code {
            SEQUENCE_HEADER => sequence = Sequence::parse(body).or(sequence),
            EXTENSION => drop(sequence.as_mut().and_then(|s| s.extend(body))),
            PICTURE if sequence.is_some() => {
                // temporal_reference of 10 bits, then picture_coding_type: 1 is I.
                key |= body.get(1).is_some_and(|b| b >> 3 & 7 == 1);
            }
            _ => {}
        }
        rest = body;
    }
    Scan { key, shape: sequence.map(|s| s.shape()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_and_pictures_are_told_apart() {
        // 704x576, 25 Hz; extension: main@main, interlaced.
        let header = [0, 0, 1, 0xb3, 0x2c, 0x02, 0x40, 0x33, 0xff, 0xff, 0xe0, 0x18];
        let extension = [0, 0, 1, 0xb5, 0x14, 0x82, 0x00, 0x01, 0x00, 0x00];
        let i_picture = [0, 0, 1, 0, 0x00, 0x08, 0xff, 0xf8];
        let p_picture = [0, 0, 1, 0, 0x00, 0x10, 0xff, 0xf8];
        let shape = |interlaced| VideoShape { width: 704, height: 576, rate: FrameRate::new(25, 1).ok(), interlaced };
        for (name, parts, want) in [
            ("MPEG-2", &[&header[..], &extension, &i_picture][..], Scan { key: true, shape: Some(shape(true)) }),
            ("MPEG-1", &[&header, &i_picture], Scan { key: true, shape: Some(shape(false)) }),
            ("no header", &[&i_picture], Scan::default()),
            ("P picture", &[&header, &p_picture], Scan { key: false, shape: Some(shape(false)) }),
            ("cut", &[&header[..5]], Scan::default()),
        ] {
            assert_eq!(scan(&parts.concat()), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xb3), Just(0xb5), any::<u8>()], 0..200)) {
            scan(&data);
        }
    }
}
