//! H.264 as ISO/IEC 14496-15 stores it: parameter sets in the sample entry, pictures as length-prefixed NAL units.

use bytes::Bytes;

use super::record::{ConfigError, is_signature, push_sized};
use crate::wire::codec::h264::Sps;

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
pub(super) fn is_sample_nal(unit: &[u8]) -> bool {
    match unit.first().map_or(0, |b| b & 0x1f) {
        nal::SPS | nal::PPS | nal::AUD | nal::FILLER => false,
        nal::SEI => !is_signature(&unit[1..], &X264_SIGNATURE),
        _ => true,
    }
}

/// The parameter sets of a segment, in order of appearance, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParameterSets {
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
}

/// Whether `unit` is an IDR slice.
pub(super) fn is_idr(unit: &[u8]) -> bool {
    unit.first().is_some_and(|b| b & 0x1f == nal::IDR)
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
    pub(super) fn new(sets: &ParameterSets) -> Result<Self, ConfigError> {
        let (Some(first), false) = (sets.sps.first(), sets.pps.is_empty()) else { return Err(ConfigError::Missing) };
        if sets.sps.len() > 31 || sets.pps.len() > 255 {
            return Err(ConfigError::TooMany);
        }
        let sps = Sps::parse(first).ok_or(ConfigError::Unreadable)?;
        // Version 1; then profile, compatibility and level; NAL units have lengths of 4 bytes.
        let mut record =
            vec![1, sps.profile_idc, sps.constraint_flags, sps.level_idc, 0xfc | 3, 0xe0 | sets.sps.len() as u8];
        for unit in &sets.sps {
            push_sized(&mut record, unit)?;
        }
        record.push(sets.pps.len() as u8);
        for unit in &sets.pps {
            push_sized(&mut record, unit)?;
        }
        if matches!(sps.profile_idc, 100 | 110 | 122 | 144 | 244) {
            let depths = [sps.bit_depth_luma, sps.bit_depth_chroma].map(|bits| 0xf8 | (bits - 8));
            record.extend_from_slice(&[0xfc | sps.chroma_format_idc, depths[0], depths[1], 0]);
        }
        Ok(Self { record, sps })
    }

    /// Codec string of RFC 6381 §3.3: `avc1.PPCCLL`.
    pub fn codec(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.sps.profile_idc, self.sps.constraint_flags, self.sps.level_idc)
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
        assert_eq!(AvcConfig::new(&ParameterSets { sps: vec![], ..sets }), Err(ConfigError::Missing));
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
            ("nothing", &[], true),
        ] {
            assert_eq!(is_sample_nal(unit), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut sets = ParameterSets::default();
            sets.note(&Bytes::from(data.clone()));
            let _ = AvcConfig::new(&sets);
            let _ = is_sample_nal(&data);
        }
    }
}
