//! How many channels a frame of sound has.

use serde::{Deserialize, Serialize};

use super::aac;
use crate::media::Codec;

/// Channels and rate, as the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioLayout {
    /// Full-band channels, 1 to 7.
    pub channels: u8,
    /// A channel for low frequencies besides.
    pub lfe: bool,
    /// Samples a second of the core coder.
    pub rate: u32,
}

/// Reads the first header of `frame`. `None`: it does not say, or is not read here (LATM).
pub fn of(codec: Codec, frame: &[u8]) -> Option<AudioLayout> {
    match codec {
        Codec::AacAdts => {
            let rate = aac::adts(frame)?.rate;
            // ISO/IEC 14496-3 Table 1.19; 0 refers to a program_config_element.
            let (channels, lfe) = match (frame[2] & 1) << 2 | frame[3] >> 6 {
                0 => return None,
                6 => (5, true),
                7 => (7, true),
                channels => (channels, false),
            };
            Some(AudioLayout { channels, lfe, rate })
        }
        Codec::MpegAudio => {
            let rate = super::mpeg_audio::frame(frame)?.rate;
            let channels = if frame[3] >> 6 == 3 { 1 } else { 2 };
            Some(AudioLayout { channels, lfe: false, rate })
        }
        Codec::Ac3 | Codec::Eac3 => {
            let head = super::ac3::frame(frame)?;
            let (acmod, lfe) =
                if head.enhanced { (frame[4] >> 1 & 7, frame[4] & 1 == 1) } else { plain_ac3(frame.get(6..8)?) };
            // ETSI TS 102 366 Table 4.3; 1+1 is two.
            let channels = [2, 1, 2, 3, 3, 4, 4, 5][usize::from(acmod)];
            Some(AudioLayout { channels, lfe, rate: head.info.rate })
        }
        _ => None,
    }
}

/// acmod and lfeon; the mix levels between them depend on acmod (§4.3.2).
fn plain_ac3(bytes: &[u8]) -> (u8, bool) {
    let bits = u16::from(bytes[0]) << 8 | u16::from(bytes[1]);
    let acmod = (bits >> 13) as u8;
    let centre = acmod & 1 == 1 && acmod != 1;
    let between = 2 * (u32::from(centre) + u32::from(acmod & 4 != 0) + u32::from(acmod == 2));
    (acmod, bits >> (12 - between) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_the_channels() {
        let adts = |config: u8| vec![0xff, 0xf1, 0x4c | config >> 2, config << 6, 0x20, 0x1f, 0xfc, 0, 0];
        let mpeg = |mode: u8| vec![0xff, 0xfd, 0x84, mode << 6];
        // 48 kHz, 192 kbit/s, bsid 8, then acmod and what follows it.
        let ac3 = |bits: u16| [&[0x0b, 0x77, 0, 0, 20, 8 << 3], &bits.to_be_bytes()[..]].concat();
        // Independent, 100 words, 48 kHz, six blocks.
        let eac3 = |acmod: u8, lfe: u8| vec![0x0b, 0x77, 0, 99, 0x30 | acmod << 1 | lfe, 16 << 3, 0];
        for (name, codec, frame, want) in [
            ("mono", Codec::AacAdts, adts(1), Some((1, false))),
            ("stereo", Codec::AacAdts, adts(2), Some((2, false))),
            ("5.1", Codec::AacAdts, adts(6), Some((5, true))),
            ("said elsewhere", Codec::AacAdts, adts(0), None),
            ("MPEG stereo", Codec::MpegAudio, mpeg(0), Some((2, false))),
            ("MPEG mono", Codec::MpegAudio, mpeg(3), Some((1, false))),
            ("AC-3 stereo", Codec::Ac3, ac3(2 << 13), Some((2, false))),
            ("AC-3 stereo, dsurmod 1", Codec::Ac3, ac3(2 << 13 | 1 << 11), Some((2, false))),
            ("AC-3 5.1", Codec::Ac3, ac3(7 << 13 | 1 << 8), Some((5, true))),
            ("AC-3 mono with LFE", Codec::Ac3, ac3(1 << 13 | 1 << 12), Some((1, true))),
            ("E-AC-3 5.1", Codec::Eac3, eac3(7, 1), Some((5, true))),
            ("E-AC-3 stereo", Codec::Eac3, eac3(2, 0), Some((2, false))),
            ("cut short", Codec::Ac3, vec![0x0b, 0x77, 0, 0, 20, 8 << 3], None),
            ("pictures", Codec::H264, vec![0, 0, 1, 9], None),
        ] {
            let want = want.map(|(channels, lfe)| AudioLayout { channels, lfe, rate: 48_000 });
            assert_eq!(of(codec, &frame), want, "{name}");
        }
    }
}
