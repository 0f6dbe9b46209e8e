//! HEVC (ISO/IEC 23008-2): the sequence parameter set, and whether a decoder may start at a picture.

use super::annexb::nal_units;
use super::bits::{Bits, unescape};
use super::h264::{Scan, sample_aspect};
use crate::media::{FrameRate, VideoShape};

/// A sequence parameter set (§7.3.2.2), as far as it is asked for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// general_profile_space, 0 to 3.
    pub profile_space: u8,
    /// general_tier_flag: high tier.
    pub high_tier: bool,
    /// general_profile_idc.
    pub profile_idc: u8,
    /// general_profile_compatibility_flag\[0\] in the highest bit, and so on.
    pub compatibility: u32,
    /// general_progressive_source_flag and the 47 flags behind it, in order.
    pub constraints: [u8; 6],
    /// general_level_idc: thirty times the level.
    pub level_idc: u8,
    /// chroma_format_idc: 1 is 4:2:0.
    pub chroma_format_idc: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Temporal sub-layers, 1 to 7.
    pub sub_layers: u8,
    /// sps_temporal_id_nesting_flag.
    pub temporal_nesting: bool,
    /// Luma samples a line, inside the conformance window.
    pub width: u32,
    /// Lines of a picture, inside the conformance window.
    pub height: u32,
    /// Pictures may be fields, or come from an interlaced source.
    pub interlaced: bool,
    /// Pictures a second by the VUI's timing.
    pub rate: Option<FrameRate>,
    /// Width : height of a sample, by the VUI.
    pub sample_aspect: Option<(u16, u16)>,
}

impl Sps {
    /// Reads the NAL unit, both header bytes included, no start code. `None` where it is none or makes no sense.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if nal.first()? >> 1 & 0x3f != 33 {
            return None;
        }
        let rbsp = unescape(nal.get(2..)?);
        let mut b = Bits::new(&rbsp);
        b.skip(4)?; // sps_video_parameter_set_id
        let sub_layers = b.read(3).filter(|&n| n <= 6)? as usize; // sps_max_sub_layers_minus1
        let temporal_nesting = b.flag()?;
        let profile = Profile::read(&mut b, sub_layers)?;
        b.unsigned()?; // sps_seq_parameter_set_id
        let chroma_format_idc = u8::try_from(b.unsigned()?).ok().filter(|&c| c <= 3)?;
        let separate = chroma_format_idc == 3 && b.flag()?;
        let (mut width, mut height) = (b.unsigned()?, b.unsigned()?);
        if b.flag()? {
            let array_type = if separate { 0 } else { chroma_format_idc };
            let unit_x = if matches!(array_type, 1 | 2) { 2 } else { 1 };
            let unit_y = if array_type == 1 { 2 } else { 1 };
            let mut crop = |unit: u32| b.unsigned()?.checked_add(b.unsigned()?)?.checked_mul(unit);
            width = width.checked_sub(crop(unit_x)?)?;
            height = height.checked_sub(crop(unit_y)?)?;
        }
        // Table A.8: no level allows a longer side than √(8 · MaxLumaPs) of level 6.2.
        if width == 0 || height == 0 || width > 16_888 || height > 16_888 {
            return None;
        }
        let mut depth = || Some(8 + u8::try_from(b.unsigned()?).ok().filter(|&d| d <= 8)?);
        let (bit_depth_luma, bit_depth_chroma) = (depth()?, depth()?);
        // What follows only leads to the VUI; where it cannot be followed the size still stands.
        let vui = behind_depths(&mut b, sub_layers).unwrap_or_default();
        Some(Self {
            profile_space: profile.space,
            high_tier: profile.high_tier,
            profile_idc: profile.profile_idc,
            compatibility: profile.compatibility,
            constraints: profile.constraints,
            level_idc: profile.level_idc,
            chroma_format_idc,
            bit_depth_luma,
            bit_depth_chroma,
            sub_layers: sub_layers as u8 + 1,
            temporal_nesting,
            width,
            height,
            interlaced: profile.is_interlaced() || vui.field_seq,
            rate: vui.rate,
            sample_aspect: vui.sample_aspect,
        })
    }

    /// What the rest of the program asks of it.
    pub fn shape(&self) -> VideoShape {
        VideoShape { width: self.width, height: self.height, rate: self.rate, interlaced: self.interlaced }
    }
}

struct Profile {
    space: u8,
    high_tier: bool,
    profile_idc: u8,
    compatibility: u32,
    constraints: [u8; 6],
    level_idc: u8,
}

impl Profile {
    /// profile_tier_level (§7.3.3).
    fn read(b: &mut Bits<'_>, sub_layers: usize) -> Option<Self> {
        let (space, high_tier, profile_idc) = (b.read(2)? as u8, b.flag()?, b.read(5)? as u8);
        let compatibility = b.read(32)?;
        let (high, low) = (b.read(16)?, b.read(32)?);
        let mut constraints = [0; 6];
        constraints[..2].copy_from_slice(&(high as u16).to_be_bytes());
        constraints[2..].copy_from_slice(&low.to_be_bytes());
        let level_idc = b.read(8)? as u8;
        let mut present = [(false, false); 8];
        for layer in present.iter_mut().take(sub_layers) {
            *layer = (b.flag()?, b.flag()?);
        }
        if sub_layers > 0 {
            b.skip(2 * (8 - sub_layers))?;
        }
        for &(profile, level) in present.iter().take(sub_layers) {
            b.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
        }
        Some(Self { space, high_tier, profile_idc, compatibility, constraints, level_idc })
    }

    /// general_interlaced_source_flag without general_progressive_source_flag.
    fn is_interlaced(&self) -> bool {
        self.constraints[0] >> 6 == 0b01
    }
}

/// What the VUI says.
#[derive(Default)]
struct Vui {
    field_seq: bool,
    rate: Option<FrameRate>,
    sample_aspect: Option<(u16, u16)>,
}

/// From log2_max_pic_order_cnt_lsb_minus4 to the VUI's timing.
fn behind_depths(b: &mut Bits<'_>, sub_layers: usize) -> Option<Vui> {
    let poc_bits = b.unsigned()?.checked_add(4).filter(|&n| n <= 16)? as usize;
    let all = b.flag()?;
    for _ in if all { 0 } else { sub_layers }..=sub_layers {
        b.unsigned()?;
        b.unsigned()?;
        b.unsigned()?;
    }
    for _ in 0..6 {
        b.unsigned()?; // block sizes and transform depths
    }
    if b.flag()? && b.flag()? {
        scaling_list_data(b)?;
    }
    b.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if b.flag()? {
        b.skip(8)?; // bit depths of PCM
        b.unsigned()?;
        b.unsigned()?;
        b.skip(1)?;
    }
    reference_picture_sets(b)?;
    if b.flag()? {
        for _ in 0..b.unsigned().filter(|&n| n <= 32)? {
            b.skip(poc_bits + 1)?;
        }
    }
    b.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    if b.flag()? { vui(b) } else { Some(Vui::default()) }
}

/// §7.3.4.
fn scaling_list_data(b: &mut Bits<'_>) -> Option<()> {
    for size in 0..4 {
        for _ in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            if !b.flag()? {
                b.unsigned()?;
                continue;
            }
            if size > 1 {
                b.signed()?;
            }
            for _ in 0..64.min(1 << (4 + 2 * size)) {
                b.signed()?;
            }
        }
    }
    Some(())
}

/// st_ref_pic_set for each set (§7.3.7). Only the number of pictures in the set before matters for reading the next.
fn reference_picture_sets(b: &mut Bits<'_>) -> Option<()> {
    let sets = b.unsigned().filter(|&n| n <= 64)?;
    let mut pictures = 0;
    for set in 0..sets {
        if set > 0 && b.flag()? {
            b.skip(1)?; // delta_rps_sign
            b.unsigned()?;
            let mut kept = 0;
            for _ in 0..=pictures {
                let used = b.flag()?;
                if used || b.flag()? {
                    kept += 1;
                }
            }
            pictures = kept;
        } else {
            let (negative, positive) = (b.unsigned()?, b.unsigned()?);
            if negative > 16 || positive > 16 {
                return None;
            }
            pictures = negative + positive;
            for _ in 0..pictures {
                b.unsigned()?;
                b.skip(1)?;
            }
        }
    }
    Some(())
}

/// §E.2.1, as far as the timing.
fn vui(b: &mut Bits<'_>) -> Option<Vui> {
    let sample_aspect = if b.flag()? { sample_aspect(b)? } else { None };
    if b.flag()? {
        b.skip(1)?; // overscan_appropriate_flag
    }
    if b.flag()? {
        b.skip(4)?; // video_format, video_full_range_flag
        if b.flag()? {
            b.skip(24)?; // colour_primaries, transfer_characteristics, matrix_coeffs
        }
    }
    if b.flag()? {
        b.unsigned()?;
        b.unsigned()?; // chroma_sample_loc_type of both fields
    }
    b.skip(1)?; // neutral_chroma_indication_flag
    let field_seq = b.flag()?;
    b.skip(1)?; // frame_field_info_present_flag
    if b.flag()? {
        for _ in 0..4 {
            b.unsigned()?; // default display window
        }
    }
    let mut rate = None;
    if b.flag()? {
        let (tick, scale) = (b.read(32)?, b.read(32)?);
        // With field_seq_flag a tick is a field.
        let frame = if field_seq { tick.checked_mul(2)? } else { tick };
        rate = FrameRate::new(scale, frame).ok();
    }
    Some(Vui { field_seq, rate, sample_aspect })
}

/// Looks through an Annex B byte stream. A decoder may start at any IRAP picture (nal_unit_type 16 to 23): leading
/// pictures that cannot be decoded are skipped by it.
pub fn scan(data: &[u8]) -> Scan {
    let mut found = Scan::default();
    for nal in nal_units(data) {
        match nal[0] >> 1 & 0x3f {
            16..=23 => found.key = true,
            33 => found.shape = Sps::parse(nal).map(|sps| sps.shape()).or(found.shape),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Written by x265 for these tests.
    const MAIN: &[u8] = b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\xa0\x05\xa2\x00\x50\x16\x59\x59\xa4\x93\x2b\xc0\x5a\x02\x00\x00\x03\x00\x02\x00\x00\x03\x00\x3c\x10";
    const MAIN_10: &[u8] = b"\x42\x01\x01\x02\x20\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\xa0\x06\xb2\x01\xe1\xd6\xd9\x65\x66\x92\x4e\x57\x80\xb4\x04\x00\x00\x0f\xa4\x00\x03\xa9\x80\x20";

    #[test]
    fn parameter_sets_are_read() {
        let main = Sps {
            profile_space: 0,
            high_tier: false,
            profile_idc: 1,
            // Main, and so Main 10 too.
            compatibility: 0x6000_0000,
            // Progressive, frames only.
            constraints: [0x90, 0, 0, 0, 0, 0],
            level_idc: 93,
            chroma_format_idc: 1,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
            sub_layers: 1,
            temporal_nesting: true,
            width: 720,
            height: 1280,
            interlaced: false,
            rate: FrameRate::new(30, 1).ok(),
            sample_aspect: Some((1, 1)),
        };
        let main_10 = Sps {
            profile_idc: 2,
            compatibility: 0x2000_0000,
            bit_depth_luma: 10,
            bit_depth_chroma: 10,
            width: 854,
            height: 480,
            rate: FrameRate::new(60_000, 1001).ok(),
            ..main
        };
        for (name, nal, want) in [
            ("main, portrait", MAIN, Some(main)),
            ("main 10, cropped", MAIN_10, Some(main_10)),
            ("cut behind the size", &MAIN[..26], Some(Sps { rate: None, sample_aspect: None, ..main })),
            ("cut before the size", &MAIN[..19], None),
            ("a picture parameter set", b"\x44\x01\xc1\x72", None),
        ] {
            assert_eq!(Sps::parse(nal), want, "{name}");
        }
    }

    #[test]
    fn entry_points_are_told_apart() {
        for (name, kind, want) in
            [("TRAIL_R", 1u8, false), ("RASL_R", 9, false), ("BLA", 16, true), ("IDR", 19, true), ("CRA", 21, true)]
        {
            assert_eq!(scan(&[0, 0, 1, kind << 1, 1, 0xaf]).key, want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut nal in prop::collection::vec(any::<u8>(), 1..120), kept in 0usize..40) {
            nal[0] = 0x42;
            Sps::parse(&nal);
            let kept = kept.min(nal.len());
            nal[..kept].copy_from_slice(&MAIN[..kept]);
            Sps::parse(&nal);
        }
    }
}
