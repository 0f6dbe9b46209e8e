//! H.264 as ISO/IEC 14496-15 stores it: parameter sets in the sample entry, pictures as length-prefixed NAL units.

use bytes::Bytes;

/// Why parameter sets cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AvcError {
    /// A segment must bring both.
    #[error("SPS or PPS missing")]
    Missing,
    /// Cut short, or values outside the standard.
    #[error("SPS unreadable")]
    BadSps,
    /// More than the record's counters hold (ISO/IEC 14496-15 §5.3.3.1).
    #[error("too many parameter sets")]
    TooMany,
}

/// nal_unit_type (ISO/IEC 14496-10 Table 7-1).
mod nal {
    pub const IDR: u8 = 5;
    pub const SEI: u8 = 6;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
    pub const AUD: u8 = 9;
    pub const FILLER: u8 = 12;
}

/// x264 signs each IDR with a user_data_unregistered SEI of about 700 bytes that tells its version and every option: 1 % of
/// a small rung, and of no use to a player. It is told apart by its UUID.
const X264_SIGNATURE: [u8; 16] =
    [0xdc, 0x45, 0xe9, 0xbd, 0xe6, 0xd9, 0x48, 0xb7, 0x96, 0x2c, 0xd8, 0x20, 0xd9, 0x23, 0xee, 0xef];

/// Whether a NAL unit belongs into a sample of an `avc1` track. Parameter sets live in the sample entry, delimiters and
/// filler are the byte stream's own affair (ISO/IEC 14496-15 §5.3.2), and x264's signature is left out. Captions stay.
pub fn is_sample_nal(unit: &[u8]) -> bool {
    match unit.first().map_or(0, |b| b & 0x1f) {
        nal::SPS | nal::PPS | nal::AUD | nal::FILLER => false,
        nal::SEI => !is_x264_signature(unit),
        _ => true,
    }
}

/// payloadType 5 (§D.1.7), payloadSize in one or more bytes, then the UUID.
fn is_x264_signature(sei: &[u8]) -> bool {
    let Some((&[_, 5], rest)) = sei.split_first_chunk() else { return false };
    let size_bytes = rest.iter().take_while(|&&b| b == 0xff).count() + 1;
    rest.get(size_bytes..).is_some_and(|payload| payload.starts_with(&X264_SIGNATURE))
}

/// The parameter sets of a segment, in order of appearance, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    /// Sequence parameter sets, NAL header included.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, NAL header included.
    pub pps: Vec<Bytes>,
}

impl ParameterSets {
    /// Takes `unit` if it is a parameter set.
    pub fn note(&mut self, unit: &Bytes) {
        let list = match unit.first().map_or(0, |b| b & 0x1f) {
            nal::SPS => &mut self.sps,
            nal::PPS => &mut self.pps,
            _ => return,
        };
        if !list.contains(unit) {
            list.push(unit.clone());
        }
    }

    /// Whether `unit` is an IDR slice.
    pub fn is_idr(unit: &[u8]) -> bool {
        unit.first().is_some_and(|b| b & 0x1f == nal::IDR)
    }
}

/// What the first SPS says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// profile_idc.
    pub profile: u8,
    /// constraint_set flags and reserved bits.
    pub constraints: u8,
    /// level_idc.
    pub level: u8,
    /// chroma_format_idc.
    pub chroma: u8,
    /// Bits of a luma sample.
    pub luma_bits: u8,
    /// Bits of a chroma sample.
    pub chroma_bits: u8,
    /// Luma samples a line, after cropping.
    pub width: u32,
    /// Lines of a frame, after cropping.
    pub height: u32,
}

/// Profiles whose SPS carries chroma format and bit depth (§7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

impl Sps {
    /// Reads an SPS NAL unit, header included (ISO/IEC 14496-10 §7.3.2.1.1), up to the cropping window.
    pub fn parse(unit: &[u8]) -> Result<Self, AvcError> {
        Self::read(unit).ok_or(AvcError::BadSps)
    }

    fn read(unit: &[u8]) -> Option<Self> {
        let rbsp = without_emulation_prevention(unit.get(1..)?);
        let &[profile, constraints, level, ..] = rbsp.as_slice() else { return None };
        let mut bits = Bits { data: &rbsp, at: 24 };
        bits.ue()?; // seq_parameter_set_id
        let (mut chroma, mut luma_bits, mut chroma_bits, mut separate) = (1, 8, 8, false);
        if HIGH_PROFILES.contains(&profile) {
            chroma = u8::try_from(bits.ue()?).ok().filter(|&c| c <= 3)?;
            separate = chroma == 3 && bits.flag()?;
            luma_bits = bits.ue().filter(|&b| b <= 6)? as u8 + 8;
            chroma_bits = bits.ue().filter(|&b| b <= 6)? as u8 + 8;
            bits.flag()?; // qpprime_y_zero_transform_bypass_flag
            if bits.flag()? {
                for list in 0..if chroma == 3 { 12 } else { 8 } {
                    if bits.flag()? {
                        bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.ue()?; // log2_max_frame_num_minus4
        match bits.ue()? {
            0 => {
                bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
            }
            1 => {
                bits.flag()?;
                bits.ue()?; // offset_for_non_ref_pic and the next are se(v): as long as ue(v)
                bits.ue()?;
                for _ in 0..bits.ue().filter(|&n| n <= 255)? {
                    bits.ue()?;
                }
            }
            2 => {}
            _ => return None,
        }
        bits.ue()?; // max_num_ref_frames
        bits.flag()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = bits.ue().filter(|&n| n < 0xfff)? + 1;
        let height_units = bits.ue().filter(|&n| n < 0xfff)? + 1;
        let frame_mbs_only = bits.flag()?;
        if !frame_mbs_only {
            bits.flag()?; // mb_adaptive_frame_field_flag
        }
        bits.flag()?; // direct_8x8_inference_flag
        let mut crop = [0; 4];
        if bits.flag()? {
            for side in &mut crop {
                *side = bits.ue()?;
            }
        }
        let field = if frame_mbs_only { 1 } else { 2 };
        // Units of the cropping window (§7.4.2.1.1, equations 7-19 to 7-22).
        let (crop_x, crop_y) = match chroma {
            _ if separate => (1, field),
            1 => (2, 2 * field),
            2 => (2, field),
            _ => (1, field),
        };
        let cropped = |full: u32, unit: u32, a: u32, b: u32| {
            full.checked_sub(unit.checked_mul(a.checked_add(b)?)?).filter(|&left| left > 0)
        };
        Some(Self {
            profile,
            constraints,
            level,
            chroma,
            luma_bits,
            chroma_bits,
            width: cropped(width_mbs * 16, crop_x, crop[0], crop[1])?,
            height: cropped(height_units * 16 * field, crop_y, crop[2], crop[3])?,
        })
    }
}

/// AVCDecoderConfigurationRecord and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcConfig {
    /// The record, as `avcC` holds it (ISO/IEC 14496-15 §5.3.3.1).
    pub record: Vec<u8>,
    /// What the first SPS says.
    pub sps: Sps,
}

impl AvcConfig {
    /// From the parameter sets of a segment.
    pub fn new(sets: &ParameterSets) -> Result<Self, AvcError> {
        let (Some(first), false) = (sets.sps.first(), sets.pps.is_empty()) else { return Err(AvcError::Missing) };
        if sets.sps.len() > 31 || sets.pps.len() > 255 {
            return Err(AvcError::TooMany);
        }
        let sps = Sps::parse(first)?;
        // Version 1; then profile, compatibility and level; NAL units have lengths of 4 bytes.
        let mut record = vec![1, sps.profile, sps.constraints, sps.level, 0xfc | 3, 0xe0 | sets.sps.len() as u8];
        let push = |record: &mut Vec<u8>, unit: &Bytes| {
            let len = u16::try_from(unit.len()).map_err(|_| AvcError::TooMany)?;
            record.extend_from_slice(&len.to_be_bytes());
            record.extend_from_slice(unit);
            Ok(())
        };
        for unit in &sets.sps {
            push(&mut record, unit)?;
        }
        record.push(sets.pps.len() as u8);
        for unit in &sets.pps {
            push(&mut record, unit)?;
        }
        if matches!(sps.profile, 100 | 110 | 122 | 144 | 244) {
            record.extend_from_slice(&[0xfc | sps.chroma, 0xf8 | (sps.luma_bits - 8), 0xf8 | (sps.chroma_bits - 8), 0]);
        }
        Ok(Self { record, sps })
    }

    /// Codec string of RFC 6381 §3.3: `avc1.PPCCLL`.
    pub fn codec(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.sps.profile, self.sps.constraints, self.sps.level)
    }
}

/// Removes emulation_prevention_three_byte (§7.3.1).
fn without_emulation_prevention(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn flag(&mut self) -> Option<bool> {
        let byte = self.data.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// ue(v): Exp-Golomb (§9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let mut value = 0u32;
        for _ in 0..zeros {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some((1u32 << zeros) - 1 + value)
    }

    /// se(v) (§9.1.1).
    fn se(&mut self) -> Option<i64> {
        let k = i64::from(self.ue()?);
        Some(if k % 2 == 1 { (k + 1) / 2 } else { -(k / 2) })
    }

    /// scaling_list() (§7.3.2.1.1.1).
    fn skip_scaling_list(&mut self, size: usize) -> Option<()> {
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..size {
            if next != 0 {
                next = (last + self.se()? + 256).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x264 core 164 as the encode process sets it up, 640x360p25 High; the values were read with ffprobe.
    const SPS_640X360_HIGH: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x61, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
        0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
    ];

    #[test]
    fn sps_tells_profile_and_size() {
        let sps = Sps::parse(SPS_640X360_HIGH).expect("an SPS of x264");
        assert_eq!((sps.profile, sps.constraints, sps.level), (100, 0, 30));
        assert_eq!((sps.chroma, sps.luma_bits, sps.chroma_bits), (1, 8, 8));
        assert_eq!((sps.width, sps.height), (640, 360));
    }

    #[test]
    fn the_record_holds_the_sets_and_the_high_profile_tail() {
        let pps = Bytes::from_static(&[0x68, 0xeb, 0xe3, 0xcb]);
        let mut sets = ParameterSets::default();
        for unit in [Bytes::from_static(SPS_640X360_HIGH), pps.clone(), pps.clone()] {
            sets.note(&unit);
        }
        let config = AvcConfig::new(&sets).expect("good sets");
        assert_eq!(config.codec(), "avc1.64001e");
        let mut want = vec![1, 100, 0, 30, 0xff, 0xe1, 0, SPS_640X360_HIGH.len() as u8];
        want.extend_from_slice(SPS_640X360_HIGH);
        want.extend_from_slice(&[1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb, 0xfd, 0xf8, 0xf8, 0]);
        assert_eq!(config.record, want);
        assert_eq!(AvcConfig::new(&ParameterSets { sps: vec![], ..sets }), Err(AvcError::Missing));
    }

    #[test]
    fn only_what_a_player_needs_becomes_a_sample() {
        let mut signature = vec![0x06, 5, 0xff, 0xff, 0x10];
        signature.extend_from_slice(&X264_SIGNATURE);
        for (name, unit, want) in [
            ("slice", &[0x41, 0x9a][..], true),
            ("IDR", &[0x65, 0x88], true),
            ("captions (T.35)", &[0x06, 4, 3, 0xb5, 0, 0x31], true),
            ("another unregistered SEI", &[0x06, 5, 16, 1, 2, 3], true),
            ("x264's signature", &signature, false),
            ("delimiter", &[0x09, 0xf0], false),
            ("SPS", SPS_640X360_HIGH, false),
            ("PPS", &[0x68, 0xeb], false),
            ("filler", &[0x0c, 0xff], false),
        ] {
            assert_eq!(is_sample_nal(unit), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Sps::parse(&data);
            let _ = is_sample_nal(&data);
        }
    }
}
