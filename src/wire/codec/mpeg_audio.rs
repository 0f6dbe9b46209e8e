//! MPEG-1 and MPEG-2 audio, layers I to III (ISO/IEC 11172-3 §2.4.2.3, 13818-3 §2.4.2.3).

use super::AudioFrameInfo;

/// Bytes of a frame header.
pub const HEADER: usize = 4;

/// Reads a frame header. Free format (bit rate index 0) states no length and is not taken.
pub fn frame(bytes: &[u8]) -> Option<AudioFrameInfo> {
    let head: &[u8; HEADER] = bytes.first_chunk()?;
    if head[0] != 0xff || head[1] & 0xe0 != 0xe0 {
        return None;
    }
    // Bits 00 are the inofficial MPEG 2.5 of layer III.
    let version = head[1] >> 3 & 3;
    let layer = 4 - (head[1] >> 1 & 3);
    if version == 1 || layer == 4 {
        return None;
    }
    let mpeg1 = version == 3;
    let rate = [44_100, 48_000, 32_000].get(usize::from(head[2] >> 2 & 3))?
        >> match version {
            3 => 0,
            2 => 1,
            _ => 2,
        };
    let table: &[u16; 15] = match (mpeg1, layer) {
        (true, 1) => &[0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        (true, 2) => &[0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        (true, _) => &[0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        (false, 1) => &[0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        (false, _) => &[0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    };
    let kbps = *table.get(usize::from(head[2] >> 4)).filter(|&&k| k > 0)?;
    let padding = u32::from(head[2] >> 1 & 1);
    let samples = match (layer, mpeg1) {
        (1, _) => 384,
        (3, false) => 576,
        _ => 1152,
    };
    let bits_per_second = u32::from(kbps) * 1000;
    let bytes = if layer == 1 {
        (12 * bits_per_second / rate + padding) * 4
    } else {
        samples / 8 * bits_per_second / rate + padding
    };
    Some(AudioFrameInfo { bytes: bytes as usize, samples, rate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_read() {
        for (name, head, want) in [
            ("layer II, 192 kbit/s, 48 kHz", [0xff, 0xfd, 0xa4, 0x00], Some((576, 1152, 48_000))),
            ("layer III, 128 kbit/s, 44.1 kHz", [0xff, 0xfb, 0x90, 0x00], Some((417, 1152, 44_100))),
            ("the same, padded", [0xff, 0xfb, 0x92, 0x00], Some((418, 1152, 44_100))),
            ("layer I, 384 kbit/s, 48 kHz", [0xff, 0xff, 0xc4, 0x00], Some((384, 384, 48_000))),
            ("layer III at half the rate", [0xff, 0xf3, 0x80, 0x00], Some((208, 576, 22_050))),
            ("ADTS", [0xff, 0xf1, 0x4c, 0x80], None),
            ("free format", [0xff, 0xfd, 0x04, 0x00], None),
            ("bit rate 15", [0xff, 0xfd, 0xf4, 0x00], None),
            ("reserved rate", [0xff, 0xfd, 0xac, 0x00], None),
            ("reserved version", [0xff, 0xed, 0xa4, 0x00], None),
        ] {
            assert_eq!(
                frame(&head),
                want.map(|(bytes, samples, rate)| AudioFrameInfo { bytes, samples, rate }),
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_header_is_survived(head in any::<[u8; 4]>()) {
            if let Some(info) = frame(&head) {
                prop_assert!(info.bytes > HEADER && info.rate > 0);
            }
        }
    }
}
