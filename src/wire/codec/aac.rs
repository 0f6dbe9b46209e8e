//! AAC transports: ADTS (ISO/IEC 13818-7 §6.2) and LATM in LOAS (ISO/IEC 14496-3 §1.7).

use super::AudioFrameInfo;
use super::bits::Bits;

/// Sample rates by index (ISO/IEC 14496-3 Table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Bytes of an ADTS header that [`adts`] looks at.
pub const ADTS_HEADER: usize = 7;

/// Reads an ADTS header. HE-AAC states its core's rate, so a block is 1,024 samples of it as well.
pub fn adts(bytes: &[u8]) -> Option<AudioFrameInfo> {
    let head: &[u8; ADTS_HEADER] = bytes.first_chunk()?;
    // Sync word of 12 bits, one bit of version, layer 00.
    if head[0] != 0xff || head[1] & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(head[2] >> 2 & 0x0f))?;
    let bytes = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
    let header = if head[1] & 1 == 1 { 7 } else { 9 };
    let blocks = u32::from(head[6] & 3) + 1;
    (bytes > header).then_some(AudioFrameInfo { bytes, samples: 1024 * blocks, rate })
}

/// Bytes of a LOAS header: sync word and length.
pub const LOAS_HEADER: usize = 3;

/// Bytes of a LOAS frame (AudioSyncStream, §1.7.2), header included.
pub fn loas_bytes(bytes: &[u8]) -> Option<usize> {
    let head: &[u8; LOAS_HEADER] = bytes.first_chunk()?;
    (head[0] == 0x56 && head[1] & 0xe0 == 0xe0)
        .then(|| LOAS_HEADER + (usize::from(head[1] & 0x1f) << 8 | usize::from(head[2])))
}

/// How long each AudioMuxElement sounds, as a StreamMuxConfig says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatmConfig {
    /// Samples of each channel, at [`Self::rate`].
    pub samples: u32,
    /// Samples a second of the core coder.
    pub rate: u32,
}

/// What a LOAS frame says of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latm {
    /// That of the frame before.
    Same,
    /// A new one.
    New(LatmConfig),
    /// One that cannot be read here.
    Unknown,
}

/// Looks into a whole LOAS frame.
pub fn latm(frame: &[u8]) -> Latm {
    let mut b = Bits::new(frame.get(LOAS_HEADER..).unwrap_or_default());
    match b.flag() {
        Some(true) => Latm::Same,
        Some(false) => stream_mux_config(&mut b).map_or(Latm::Unknown, Latm::New),
        None => Latm::Unknown,
    }
}

/// StreamMuxConfig (§1.7.3) as far as the first layer's AudioSpecificConfig.
fn stream_mux_config(b: &mut Bits<'_>) -> Option<LatmConfig> {
    let version = b.flag()?;
    if version && b.flag()? {
        return None; // audioMuxVersionA 1 is reserved
    }
    if version {
        latm_value(b)?; // taraBufferFullness
    }
    b.skip(1)?; // allStreamsSameTimeFraming
    let sub_frames = b.read(6)? + 1;
    b.skip(4 + 3)?; // numProgram, numLayer: those behind the first share its time
    if version {
        latm_value(b)?; // ascLen
    }
    let mut object_type = audio_object_type(b)?;
    let rate = sample_rate(b)?;
    b.skip(4)?; // channelConfiguration
    // Explicit SBR or PS: the extension's rate, then the core's object type; the core's rate came first (§1.6.2.1).
    if matches!(object_type, 5 | 29) {
        sample_rate(b)?;
        object_type = audio_object_type(b)?;
    }
    // GASpecificConfig begins with frameLengthFlag for the AAC types.
    if !matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23 | 39) {
        return None;
    }
    let short = b.flag()?;
    let samples = match (object_type, short) {
        (23 | 39, false) => 512,
        (23 | 39, true) => 480,
        (_, false) => 1024,
        (_, true) => 960,
    };
    Some(LatmConfig { samples: samples * sub_frames, rate })
}

fn audio_object_type(b: &mut Bits<'_>) -> Option<u32> {
    match b.read(5)? {
        31 => Some(32 + b.read(6)?),
        other => Some(other),
    }
}

fn sample_rate(b: &mut Bits<'_>) -> Option<u32> {
    match b.read(4)? {
        15 => b.read(24).filter(|&hz| (1_000..=192_000).contains(&hz)),
        index => RATES.get(index as usize).copied(),
    }
}

/// LatmGetValue: one to four bytes.
fn latm_value(b: &mut Bits<'_>) -> Option<()> {
    let bytes = b.read(2)? as usize + 1;
    b.skip(8 * bytes)
}

/// A block of AAC LC in which nothing sounds (raw_data_block, ISO/IEC 14496-3 §4.4.2.1), for a channelConfiguration of 1 to 7: each
/// channel has a window without any scale factor band. `None` for other configurations, which only a stream's own table describes.
pub fn silence(channel_configuration: u8) -> Option<Vec<u8>> {
    // id_syn_ele (Table 4.85): single_channel_element, channel_pair_element, lfe_channel_element.
    const SINGLE: u32 = 0;
    const PAIR: u32 = 1;
    const LOW: u32 = 3;
    const END: u32 = 7;
    let elements: &[u32] = match channel_configuration {
        1 => &[SINGLE],
        2 => &[PAIR],
        3 => &[SINGLE, PAIR],
        4 => &[SINGLE, PAIR, SINGLE],
        5 => &[SINGLE, PAIR, PAIR],
        6 => &[SINGLE, PAIR, PAIR, LOW],
        7 => &[SINGLE, PAIR, PAIR, PAIR, LOW],
        _ => return None,
    };
    let mut bits = BitWriter::default();
    let mut tags = [0; 8];
    for &element in elements {
        bits.write(element, 3);
        bits.write(tags[element as usize], 4); // element_instance_tag: counts those of a kind
        tags[element as usize] += 1;
        // ics_info: one long window of sines, no band, no prediction: 11 bits of zeros.
        if element == PAIR {
            bits.write(1, 1); // common_window
            bits.write(0, 11);
            bits.write(0, 2); // ms_mask_present
            // Of each channel global_gain, and that there are no pulses, no noise shaping, no gain control.
            bits.write(0, 2 * (8 + 3));
        } else {
            bits.write(0, 8); // global_gain comes before ics_info here
            bits.write(0, 11);
            bits.write(0, 3);
        }
    }
    bits.write(END, 3);
    Some(bits.bytes)
}

/// Bits, the first one highest, filled up with zeros.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    free: u32,
}

impl BitWriter {
    fn write(&mut self, value: u32, count: u32) {
        for i in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> i & 1) as u8) << self.free;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn adts_headers_are_read() {
        for (name, head, want) in [
            ("48 kHz stereo", [0xff, 0xf1, 0x4c, 0x80, 0x24, 0xff, 0xfc], Some((295, 1024, 48_000))),
            ("22.05 kHz", [0xff, 0xf1, 0x5c, 0x80, 0x01, 0xbf, 0xfc], Some((13, 1024, 22_050))),
            ("two blocks", [0xff, 0xf9, 0x50, 0x80, 0x24, 0xff, 0xfd], Some((295, 2048, 44_100))),
            ("MPEG audio", [0xff, 0xfd, 0x4c, 0x80, 0x24, 0xff, 0xfc], None),
            ("rate 13", [0xff, 0xf1, 0x74, 0x80, 0x24, 0xff, 0xfc], None),
            ("shorter than its header", [0xff, 0xf1, 0x4c, 0x80, 0x00, 0xff, 0xfc], None),
        ] {
            assert_eq!(
                adts(&head),
                want.map(|(bytes, samples, rate)| AudioFrameInfo { bytes, samples, rate }),
                "{name}"
            );
        }
    }

    #[test]
    fn latm_says_how_long_it_sounds() {
        // As ffmpeg writes it: AAC-LC, 44.1 kHz, stereo.
        let frame = [0x56, 0xe1, 0x20, 0x20, 0x00, 0x11, 0x21, 0x10];
        assert_eq!(loas_bytes(&frame), Some(3 + 0x120));
        for (name, body, want) in [
            // 0 | 0 1 000000 0000 000 | 00010 0100 0010 0…
            (
                "AAC-LC 44.1 kHz",
                &[0x20, 0x00, 0x12, 0x10, 0x00][..],
                Latm::New(LatmConfig { samples: 1024, rate: 44_100 }),
            ),
            // … | 00101 0110 0010 0011 00010 0…: SBR, core 24 kHz, output 48 kHz
            ("HE-AAC", &[0x20, 0x00, 0x2b, 0x11, 0x88, 0x00], Latm::New(LatmConfig { samples: 1024, rate: 24_000 })),
            ("same as before", &[0x80], Latm::Same),
            ("cut", &[0x20, 0x00], Latm::Unknown),
        ] {
            assert_eq!(latm(&[&[0x56, 0xe0, 0x10], body].concat()), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (adts(&bytes), loas_bytes(&bytes), latm(&bytes));
        }
    }
}
