//! AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): what MP4 files and RTSP say of AAC beside the stream, and ADTS says in front of each frame.

use super::aac::ADTS_HEADER;
use super::bits::Bits;

/// Sample rates by index (ISO/IEC 14496-3 Table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What an ADTS header says of every frame of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacConfig {
    /// AAC Main, LC, SSR or LTP: 1 to 4. Of HE-AAC, its core.
    object_type: u8,
    rate_index: u8,
    /// channelConfiguration, 1 to 7.
    channels: u8,
}

impl AacConfig {
    /// Reads a config. `None`: it makes no sense, or ADTS cannot say it (frames of 960 samples, channels by a table of the stream's own, a rate
    /// that has no number, AAC-LD and later kinds).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut b = Bits::new(bytes);
        let mut object_type = b.read(5)?;
        let rate_index = rate_index(&mut b)?;
        let channels = b.read(4)?;
        // Explicit SBR or PS: the extension's rate, then the core's object type.
        if matches!(object_type, 5 | 29) {
            rate_index_or_value(&mut b)?;
            object_type = b.read(5)?;
        }
        let short = b.flag()?;
        let fits = matches!(object_type, 1..=4) && matches!(channels, 1..=7) && !short;
        fits.then_some(Self { object_type: object_type as u8, rate_index, channels: channels as u8 })
    }

    /// Samples a second of the core coder.
    pub fn rate(&self) -> u32 {
        RATES[usize::from(self.rate_index)]
    }

    /// channelConfiguration (§1.6.3.5): 1 to 6 are as many channels, 7 is eight.
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// AAC-LC, the kind that every player knows.
    pub const fn is_low_complexity(&self) -> bool {
        self.object_type == 2
    }

    /// The header in front of a frame of so many bytes (§1.A.2.2, no CRC). `None`: there is no frame, or it is longer than a
    /// header can say.
    pub fn adts_header(&self, frame_bytes: usize) -> Option<[u8; ADTS_HEADER]> {
        let length = frame_bytes.checked_add(ADTS_HEADER)?;
        let sayable = frame_bytes > 0 && length < 1 << 13;
        sayable.then_some([
            0xff,
            0xf1,
            (self.object_type - 1) << 6 | self.rate_index << 2 | self.channels >> 2,
            (self.channels & 3) << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            // Buffer fullness of all ones: a variable rate.
            (length << 5) as u8 | 0x1f,
            0xfc,
        ])
    }

    /// A frame with its header. `None`: as of [`Self::adts_header`].
    pub fn adts(&self, frame: &[u8]) -> Option<Vec<u8>> {
        Some([&self.adts_header(frame.len())?[..], frame].concat())
    }
}

fn rate_index(b: &mut Bits<'_>) -> Option<u8> {
    match b.read(4)? {
        // A rate spelled out may be one of the table all the same.
        15 => {
            let rate = b.read(24)?;
            RATES.iter().position(|known| *known == rate).map(|at| at as u8)
        }
        index => (usize::try_from(index).is_ok_and(|i| i < RATES.len())).then_some(index as u8),
    }
}

fn rate_index_or_value(b: &mut Bits<'_>) -> Option<()> {
    if b.read(4)? == 15 { b.skip(24) } else { Some(()) }
}

#[cfg(test)]
mod tests {
    use super::super::aac::adts;
    use super::*;

    #[test]
    fn what_a_header_says_is_what_the_config_said() {
        for (name, config, want) in [
            ("LC, 48 kHz, stereo", &[0x11, 0x90][..], Some((48_000, 2))),
            ("LC, 44.1 kHz, mono", &[0x12, 0x08], Some((44_100, 1))),
            ("HE-AAC, explicit: core of 24 kHz", &[0x2b, 0x11, 0x88, 0x00], Some((24_000, 2))),
            ("a rate spelled out", &[0x17, 0x80, 0x5d, 0xc0, 0x10], Some((48_000, 2))),
            ("frames of 960 samples", &[0x11, 0x94], None),
            ("channels by a table", &[0x11, 0x80], None),
            ("a rate without a number", &[0x17, 0x80, 0x5d, 0xc1, 0x10], None),
            ("AAC-LD", &[0xb9, 0x90], None),
            ("too short", &[0x11], None),
            ("nothing", &[], None),
        ] {
            let config = AacConfig::parse(config);
            assert_eq!(config.map(|c| (c.rate(), c.channels)), want, "{name}");
            let Some(config) = config else { continue };
            let frame = config.adts(&[0x21; 300]).unwrap();
            let info = adts(&frame).unwrap();
            assert_eq!((info.bytes, info.samples, info.rate), (307, 1024, config.rate()), "{name}");
            assert_eq!((config.adts(&[]), config.adts(&[0; 8190])), (None, None), "{name}");
        }
    }
}
