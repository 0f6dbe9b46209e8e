//! AC-3 and enhanced AC-3 (ETSI TS 102 366 §4.3, §4.4.1, §E.1.2, §E.1.3).

use super::AudioFrameInfo;

/// Bytes of a header that [`frame`] looks at.
pub const HEADER: usize = 6;

/// A syncframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ac3Frame {
    /// Its size and length.
    pub info: AudioFrameInfo,
    /// It has the enhanced syntax.
    pub enhanced: bool,
    /// It belongs to the access unit of the frame before: a dependent substream, or an independent one that is not the first.
    pub continues: bool,
}

/// Reads a header of either syntax; bsid tells them apart.
pub fn frame(bytes: &[u8]) -> Option<Ac3Frame> {
    let head: &[u8; HEADER] = bytes.first_chunk()?;
    if head[0] != 0x0b || head[1] != 0x77 {
        return None;
    }
    match head[5] >> 3 {
        0..=10 => plain(head),
        11..=16 => enhanced(head),
        _ => None,
    }
}

/// §4.4.1.4: bits a second by frmsizecod, in thousands.
const KBPS: [u32; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

fn plain(head: &[u8; HEADER]) -> Option<Ac3Frame> {
    let code = head[4] & 0x3f;
    let kbps = *KBPS.get(usize::from(code >> 1))?;
    let (rate, words) = match head[4] >> 6 {
        0 => (48_000, kbps * 2),
        // 1,536 samples at 44.1 kHz are no whole number of words: the odd code has one more.
        1 => (44_100, kbps * 1000 * 1536 / (44_100 * 16) + u32::from(code & 1)),
        2 => (32_000, kbps * 3),
        _ => return None,
    };
    // bsid 9 and 10 halve and quarter the rate (annex B of the first edition); the frame keeps its size.
    let rate = rate >> (head[5] >> 3).saturating_sub(8);
    let info = AudioFrameInfo { bytes: words as usize * 2, samples: 1536, rate };
    Some(Ac3Frame { info, enhanced: false, continues: false })
}

fn enhanced(head: &[u8; HEADER]) -> Option<Ac3Frame> {
    let (kind, substream) = (head[2] >> 6, head[2] >> 3 & 7);
    let words = (u32::from(head[2] & 7) << 8 | u32::from(head[3])) + 1;
    let (rate, blocks) = match (head[4] >> 6, head[4] >> 4 & 3) {
        (3, 3) => return None,
        // fscod 3: half rates, always six blocks.
        (3, half) => ([24_000, 22_050, 16_000][usize::from(half)], 6),
        (full, blocks) => ([48_000, 44_100, 32_000][usize::from(full)], [1, 2, 3, 6][usize::from(blocks)]),
    };
    if kind == 3 || words < 4 {
        return None;
    }
    let info = AudioFrameInfo { bytes: words as usize * 2, samples: 256 * blocks, rate };
    Some(Ac3Frame { info, enhanced: true, continues: kind == 1 || substream > 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_read() {
        let plain = |bytes, rate| Some((bytes, 1536, rate, false, false));
        for (name, head, want) in [
            ("448 kbit/s 48 kHz", [0x0b, 0x77, 0, 0, 0x1e, 0x40], plain(1792, 48_000)),
            ("192 kbit/s 44.1 kHz", [0x0b, 0x77, 0, 0, 0x54, 0x40], plain(834, 44_100)),
            ("its odd sister", [0x0b, 0x77, 0, 0, 0x55, 0x40], plain(836, 44_100)),
            ("192 kbit/s 32 kHz", [0x0b, 0x77, 0, 0, 0x94, 0x40], plain(1152, 32_000)),
            ("frmsizecod 38", [0x0b, 0x77, 0, 0, 0x26, 0x40], None),
            ("enhanced, six blocks", [0x0b, 0x77, 0x01, 0x7f, 0x3f, 0x80], Some((768, 1536, 48_000, true, false))),
            ("enhanced, one block", [0x0b, 0x77, 0x01, 0x7f, 0x0f, 0x80], Some((768, 256, 48_000, true, false))),
            ("enhanced, half rate", [0x0b, 0x77, 0x01, 0x7f, 0xcf, 0x80], Some((768, 1536, 24_000, true, false))),
            ("dependent substream", [0x0b, 0x77, 0x41, 0x7f, 0x3f, 0x80], Some((768, 1536, 48_000, true, true))),
            ("second programme", [0x0b, 0x77, 0x09, 0x7f, 0x3f, 0x80], Some((768, 1536, 48_000, true, true))),
            ("unknown bsid", [0x0b, 0x77, 0, 0, 0x1e, 0xf8], None),
        ] {
            let got = frame(&head).map(|f| (f.info.bytes, f.info.samples, f.info.rate, f.enhanced, f.continues));
            assert_eq!(got, want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_survived(rest in any::<[u8; 4]>()) {
            let [a, b, c, d] = rest;
            if let Some(f) = frame(&[0x0b, 0x77, a, b, c, d]) {
                prop_assert!(f.info.bytes > HEADER && f.info.rate > 0);
            }
        }
    }
}
