//! HEVC as ISO/IEC 14496-15 stores it: parameter sets in the sample entry, pictures as length-prefixed NAL units.

use bytes::Bytes;

use super::record::{ConfigError, is_signature, push_sized};
use crate::wire::codec::hevc::Sps;

/// nal_unit_type (ISO/IEC 23008-2 Table 7-1).
mod nal {
    pub const IDR_W_RADL: u8 = 19;
    pub const IDR_N_LP: u8 = 20;
    pub const VPS: u8 = 32;
    pub const SPS: u8 = 33;
    pub const PPS: u8 = 34;
    pub const AUD: u8 = 35;
    pub const FILLER: u8 = 38;
    pub const PREFIX_SEI: u8 = 39;
}

/// x265 signs its streams as x264 does: a user_data_unregistered SEI with version and options, of no use to a player.
const X265_SIGNATURE: [u8; 16] =
    [0x2c, 0xa2, 0xde, 0x09, 0xb5, 0x17, 0x47, 0xdb, 0xbb, 0x55, 0xa4, 0xfe, 0x7f, 0xc2, 0xfc, 0x4e];

/// nal_unit_type of a unit with a whole header (§7.3.1.2); 63, which is unspecified, without.
fn kind(unit: &[u8]) -> u8 {
    if unit.len() < 2 { 63 } else { unit[0] >> 1 & 0x3f }
}

/// Whether a NAL unit belongs into a sample of an `hvc1` track: there, all parameter sets live in the sample entry (ISO/IEC
/// 14496-15 §8.3.3.1). Delimiters and filler are the byte stream's own affair.
pub(super) fn is_sample_nal(unit: &[u8]) -> bool {
    match kind(unit) {
        nal::VPS | nal::SPS | nal::PPS | nal::AUD | nal::FILLER => false,
        nal::PREFIX_SEI => !is_signature(&unit[2..], &X265_SIGNATURE),
        _ => true,
    }
}

/// Whether `unit` is a slice of an IDR picture.
pub(super) fn is_idr(unit: &[u8]) -> bool {
    matches!(kind(unit), nal::IDR_W_RADL | nal::IDR_N_LP)
}

/// The parameter sets of a segment, in order of appearance, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParameterSets {
    vps: Vec<Bytes>,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
}

impl ParameterSets {
    /// Takes `unit` if it is a parameter set.
    pub fn note(&mut self, unit: &Bytes) {
        let list = match kind(unit) {
            nal::VPS => &mut self.vps,
            nal::SPS => &mut self.sps,
            nal::PPS => &mut self.pps,
            _ => return,
        };
        if !list.contains(unit) {
            list.push(unit.clone());
        }
    }
}

/// HEVCDecoderConfigurationRecord and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HevcConfig {
    /// The record, as `hvcC` holds it (ISO/IEC 14496-15 §8.3.3.1).
    pub record: Vec<u8>,
    /// What the first SPS says.
    pub sps: Sps,
}

impl HevcConfig {
    /// From the parameter sets of a segment.
    pub(super) fn new(sets: &ParameterSets) -> Result<Self, ConfigError> {
        let first = sets.sps.first().filter(|_| !sets.vps.is_empty() && !sets.pps.is_empty());
        let sps = Sps::parse(first.ok_or(ConfigError::Missing)?).ok_or(ConfigError::Unreadable)?;
        let tier = if sps.high_tier { 0x20 } else { 0 };
        let mut record = vec![1, sps.profile_space << 6 | tier | sps.profile_idc];
        record.extend_from_slice(&sps.compatibility.to_be_bytes());
        record.extend_from_slice(&sps.constraints);
        record.push(sps.level_idc);
        // min_spatial_segmentation_idc 0 and parallelismType 0: nothing is promised to a parallel decoder.
        record.extend_from_slice(&[0xf0, 0, 0xfc]);
        record.push(0xfc | sps.chroma_format_idc);
        record.extend_from_slice(&[sps.bit_depth_luma, sps.bit_depth_chroma].map(|bits| 0xf8 | (bits - 8)));
        // avgFrameRate 0 and constantFrameRate 0: not said. NAL units have lengths of 4 bytes.
        record.extend_from_slice(&[0, 0, sps.sub_layers << 3 | u8::from(sps.temporal_nesting) << 2 | 3]);
        record.push(3);
        for (kind, list) in [(nal::VPS, &sets.vps), (nal::SPS, &sets.sps), (nal::PPS, &sets.pps)] {
            // array_completeness: none of this kind is in the samples.
            record.push(0x80 | kind);
            let count = u16::try_from(list.len()).map_err(|_| ConfigError::TooMany)?;
            record.extend_from_slice(&count.to_be_bytes());
            for unit in list {
                push_sized(&mut record, unit)?;
            }
        }
        Ok(Self { record, sps })
    }

    /// Codec string of ISO/IEC 14496-15 Annex E.3: profile, compatibility flags with the first one lowest, tier and level,
    /// then the constraint bytes without zeros at their end.
    pub fn codec(&self) -> String {
        let Sps { profile_space, profile_idc, compatibility, high_tier, level_idc, constraints, .. } = self.sps;
        let space = ["", "A", "B", "C"][usize::from(profile_space & 3)];
        let tier = if high_tier { 'H' } else { 'L' };
        let mut out = format!("hvc1.{space}{profile_idc}.{:X}.{tier}{level_idc}", compatibility.reverse_bits());
        let said = constraints.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        constraints[..said].iter().for_each(|byte| out.push_str(&format!(".{byte:X}")));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Written by x265 3.5 for these tests: 640x360 at 25, two B-frames.
    const VPS: &[u8] =
        b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3f\x95\x90\x09";
    const SPS: &[u8] = b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3f\xa0\x05\x02\x01\x71\xf2\xe5\x95\x91\x29\x30\xbc\x05\xa0\x20\x00\x00\x03\x00\x20\x00\x00\x03\x03\x21";
    const PPS: &[u8] = b"\x44\x01\xc0\x73\xc1\x89";

    fn sets(units: &[&'static [u8]]) -> ParameterSets {
        let mut sets = ParameterSets::default();
        units.iter().for_each(|unit| sets.note(&Bytes::from_static(unit)));
        sets
    }

    #[test]
    fn the_record_holds_the_sets() {
        let config = HevcConfig::new(&sets(&[VPS, SPS, PPS, PPS])).expect("good sets");
        assert_eq!((config.sps.width, config.sps.height), (640, 360));
        // As ffmpeg's muxer begins it for the same stream; it then has a fourth array, of x265's signature.
        let mut want =
            b"\x01\x01\x60\x00\x00\x00\x90\x00\x00\x00\x00\x00\x3f\xf0\x00\xfc\xfd\xf8\xf8\x00\x00\x0f".to_vec();
        want.push(3);
        for (kind, unit) in [(0xa0, VPS), (0xa1, SPS), (0xa2, PPS)] {
            want.extend_from_slice(&[kind, 0, 1, 0, unit.len() as u8]);
            want.extend_from_slice(unit);
        }
        assert_eq!(config.record, want);
        for (name, units, why) in [
            ("no VPS", &[SPS, PPS][..], ConfigError::Missing),
            ("no PPS", &[VPS, SPS], ConfigError::Missing),
            ("a cut SPS", &[VPS, &SPS[..12], PPS], ConfigError::Unreadable),
        ] {
            assert_eq!(HevcConfig::new(&sets(units)), Err(why), "{name}");
        }
    }

    #[test]
    fn codec_strings_are_those_of_annex_e() {
        let plain = HevcConfig::new(&sets(&[VPS, SPS, PPS])).expect("good sets");
        let with = |change: fn(&mut Sps)| {
            let mut config = plain.clone();
            change(&mut config.sps);
            config.codec()
        };
        // The standard's own examples, and ours.
        assert_eq!(plain.codec(), "hvc1.1.6.L63.90");
        assert_eq!(with(|s| (s.level_idc, s.constraints) = (93, [0xb0, 0, 0, 0, 0, 0])), "hvc1.1.6.L93.B0");
        let other = with(|s| {
            (s.profile_space, s.profile_idc, s.compatibility) = (1, 4, 1 << 27);
            (s.high_tier, s.level_idc, s.constraints) = (true, 120, [0xb0, 0x23, 0, 0, 0, 0]);
        });
        assert_eq!(other, "hvc1.A4.10.H120.B0.23");
        assert_eq!(with(|s| s.constraints = [0; 6]), "hvc1.1.6.L63");
    }

    #[test]
    fn only_what_a_player_needs_becomes_a_sample() {
        let mut signature = vec![0x4e, 1, 5, 0xff, 0xff, 0x10];
        signature.extend_from_slice(&X265_SIGNATURE);
        for (name, unit, want, idr) in [
            ("slice", &[0x02, 1, 0xd0][..], true, false),
            ("IDR", &[0x28, 1, 0xaf], true, true),
            ("IDR with leading pictures", &[0x26, 1, 0xaf], true, true),
            ("CRA: what leads it cannot be shown", &[0x2a, 1, 0xaf], true, false),
            ("captions (T.35)", &[0x4e, 1, 4, 3, 0xb5, 0, 0x31], true, false),
            ("x265's signature", &signature, false, false),
            ("delimiter", &[0x46, 1, 0x10], false, false),
            ("filler", &[0x4c, 1, 0xff], false, false),
            ("VPS", VPS, false, false),
            ("SPS", SPS, false, false),
            ("PPS", PPS, false, false),
            ("half a header", &[0x4e], true, false),
        ] {
            assert_eq!((is_sample_nal(unit), is_idr(unit)), (want, idr), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..200), kept in 0usize..40) {
            let _ = is_sample_nal(&data);
            let mut sets = sets(&[VPS, PPS]);
            sets.note(&Bytes::from([&SPS[..kept], &data].concat()));
            let _ = HevcConfig::new(&sets);
        }
    }
}
