//! H.264 (ISO/IEC 14496-10): the sequence parameter set, and whether a decoder may start at a picture.

use super::annexb::nal_units;
use super::bits::{Bits, unescape};
use crate::media::{FrameRate, VideoShape};

/// A sequence parameter set (§7.3.2.1.1), as far as it is asked for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// profile_idc.
    pub profile_idc: u8,
    /// constraint_set0_flag in the highest bit, and so on; the middle two digits of `avc1.PPCCLL`.
    pub constraint_flags: u8,
    /// level_idc: ten times the level.
    pub level_idc: u8,
    /// seq_parameter_set_id.
    pub id: u8,
    /// chroma_format_idc: 1 is 4:2:0.
    pub chroma_format_idc: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Luma samples a line, after cropping.
    pub width: u32,
    /// Lines of a frame, after cropping.
    pub height: u32,
    /// Pictures may be fields, or frames of two fields (frame_mbs_only_flag is 0).
    pub interlaced: bool,
    /// Frames a second by the VUI's timing, taking a frame as two ticks (§E.2.1).
    pub rate: Option<FrameRate>,
    /// Width : height of a sample, by the VUI.
    pub sample_aspect: Option<(u16, u16)>,
}

impl Sps {
    /// Reads the NAL unit, header byte included, no start code. `None` where it is none or makes no sense.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        if nal.first()? & 0x1f != 7 {
            return None;
        }
        let rbsp = unescape(nal.get(1..)?);
        let mut b = Bits::new(&rbsp);
        let (profile_idc, constraint_flags, level_idc) = (b.read(8)? as u8, b.read(8)? as u8, b.read(8)? as u8);
        let id = u8::try_from(b.unsigned()?).ok().filter(|&id| id < 32)?;
        let (mut chroma_format_idc, mut bit_depth_luma, mut bit_depth_chroma, mut separate) = (1, 8, 8, false);
        if matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            chroma_format_idc = u8::try_from(b.unsigned()?).ok().filter(|&c| c <= 3)?;
            separate = chroma_format_idc == 3 && b.flag()?;
            bit_depth_luma = depth(b.unsigned()?)?;
            bit_depth_chroma = depth(b.unsigned()?)?;
            b.skip(1)?; // qpprime_y_zero_transform_bypass_flag
            if b.flag()? {
                scaling_matrix(&mut b, if chroma_format_idc == 3 { 12 } else { 8 })?;
            }
        }
        b.unsigned()?; // log2_max_frame_num_minus4
        match b.unsigned()? {
            0 => drop(b.unsigned()?), // log2_max_pic_order_cnt_lsb_minus4
            1 => {
                b.skip(1)?;
                b.signed()?;
                b.signed()?;
                let count = b.unsigned()?;
                if count > 255 {
                    return None;
                }
                for _ in 0..count {
                    b.signed()?;
                }
            }
            _ => {}
        }
        b.unsigned()?; // max_num_ref_frames
        b.skip(1)?;
        let columns = b.unsigned()?.checked_add(1)?.checked_mul(16)?;
        let map_rows = b.unsigned()?.checked_add(1)?.checked_mul(16)?;
        let interlaced = !b.flag()?;
        let rows = map_rows.checked_mul(if interlaced { 2 } else { 1 })?;
        if interlaced {
            b.skip(1)?; // mb_adaptive_frame_field_flag
        }
        b.skip(1)?; // direct_8x8_inference_flag
        let (mut width, mut height) = (columns, rows);
        if b.flag()? {
            // Table 6-1; §7.4.2.1.1: with separate planes, cropping counts in luma samples.
            let array_type = if separate { 0 } else { chroma_format_idc };
            let unit_x = if matches!(array_type, 1 | 2) { 2 } else { 1 };
            let unit_y = if array_type == 1 { 2 } else { 1 } * if interlaced { 2 } else { 1 };
            let mut crop = |unit: u32| b.unsigned()?.checked_add(b.unsigned()?)?.checked_mul(unit);
            width = width.checked_sub(crop(unit_x)?)?;
            height = height.checked_sub(crop(unit_y)?)?;
        }
        // A level allows no more than 139,264 macroblocks (Table A-1), and a side at most √8 of it.
        if width == 0 || height == 0 || width > 16_888 || height > 16_888 {
            return None;
        }
        // A VUI that is cut short leaves the size right.
        let (sample_aspect, rate) = match b.flag() {
            Some(true) => vui(&mut b).unwrap_or_default(),
            _ => Default::default(),
        };
        Some(Self {
            profile_idc,
            constraint_flags,
            level_idc,
            id,
            chroma_format_idc,
            bit_depth_luma,
            bit_depth_chroma,
            width,
            height,
            interlaced,
            rate,
            sample_aspect,
        })
    }

    /// What the rest of the program asks of it.
    pub fn shape(&self) -> VideoShape {
        VideoShape { width: self.width, height: self.height, rate: self.rate, interlaced: self.interlaced }
    }
}

fn depth(minus8: u32) -> Option<u8> {
    (minus8 <= 6).then(|| 8 + minus8 as u8)
}

/// §7.3.2.1.1.1; the lists themselves do not matter here.
fn scaling_matrix(b: &mut Bits<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !b.flag()? {
            continue;
        }
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = last.wrapping_add(b.signed()?) & 0xff;
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

type Vui = (Option<(u16, u16)>, Option<FrameRate>);

/// §E.1.1, as far as the timing.
fn vui(b: &mut Bits<'_>) -> Option<Vui> {
    let sample_aspect = if b.flag()? { sample_aspect(b)? } else { None };
    if b.flag()? {
        b.skip(1)?; // overscan_appropriate_flag
    }
    if b.flag()? {
        b.skip(4)?; // video_format, video_full_range_flag
        if b.flag()? {
            b.skip(24)?; // colour_primaries, transfer_characteristics, matrix_coefficients
        }
    }
    if b.flag()? {
        b.unsigned()?;
        b.unsigned()?; // chroma_sample_loc_type of both fields
    }
    let mut rate = None;
    if b.flag()? {
        let (tick, scale) = (b.read(32)?, b.read(32)?);
        rate = tick.checked_mul(2).and_then(|frame| FrameRate::new(scale, frame).ok());
    }
    Some((sample_aspect, rate))
}

/// aspect_ratio_idc and what follows it; the same table in H.264 (Table E-1) and HEVC.
pub(super) fn sample_aspect(b: &mut Bits<'_>) -> Option<Option<(u16, u16)>> {
    const TABLE: [(u16, u16); 16] = [
        (1, 1),
        (12, 11),
        (10, 11),
        (16, 11),
        (40, 33),
        (24, 11),
        (20, 11),
        (32, 11),
        (80, 33),
        (18, 11),
        (15, 11),
        (64, 33),
        (160, 99),
        (4, 3),
        (3, 2),
        (2, 1),
    ];
    Some(match b.read(8)? {
        255 => Some((b.read(16)? as u16, b.read(16)? as u16)).filter(|&(w, h)| w > 0 && h > 0),
        idc => (idc as usize).checked_sub(1).and_then(|at| TABLE.get(at)).copied(),
    })
}

/// What a demux wants to know of coded pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// A decoder may start here.
    pub key: bool,
    /// The picture's shape, where a parameter set says it.
    pub shape: Option<VideoShape>,
}

/// Looks through an Annex B byte stream. A decoder may start at an IDR picture, and at an I picture that has a recovery
/// point message or a sequence parameter set in front of it, as broadcasters begin each open GOP (ETSI TS 101 154 §5.5.1).
pub fn scan(data: &[u8]) -> Scan {
    let mut found = Scan::default();
    let mut entry = false;
    for nal in nal_units(data) {
        match nal[0] & 0x1f {
            5 => found.key = true,
            1 => {
                found.key |= entry && is_intra(nal);
                entry = false;
            }
            6 => entry |= has_recovery_point(&nal[1..]),
            7 => {
                if let Some(sps) = Sps::parse(nal) {
                    found.shape = Some(sps.shape());
                    entry = true;
                }
            }
            _ => {}
        }
    }
    found
}

/// slice_type 2 or 7 (I); the first two codes of the slice header lie in its first bytes.
fn is_intra(nal: &[u8]) -> bool {
    let head = unescape(&nal[1..nal.len().min(16)]);
    let mut b = Bits::new(&head);
    b.unsigned().and_then(|_| b.unsigned()).is_some_and(|slice_type| slice_type % 5 == 2)
}

/// A recovery point message (payloadType 6, §D.1.8), whatever the number of frames until pictures are exact.
fn has_recovery_point(sei: &[u8]) -> bool {
    let mut rest = sei;
    // rbsp_trailing_bits are what is left when one byte remains.
    while rest.len() > 2 {
        let Some((kind, behind)) = sei_number(rest) else { return false };
        let Some((size, payload)) = sei_number(behind) else { return false };
        if kind == 6 {
            return true;
        }
        // Escape bytes inside the payload make it longer than `size` says.
        let escapes = payload.get(..size).map_or(0, |p| p.windows(3).filter(|w| *w == [0, 0, 3]).count());
        let Some(next) = payload.get(size + escapes..) else { return false };
        rest = next;
    }
    false
}

fn sei_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let more = bytes.iter().take_while(|&&b| b == 0xff).count();
    let last = *bytes.get(more)?;
    Some((255 * more + usize::from(last), &bytes[more + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Written by x264 for these tests.
    const BASELINE_1080P: &[u8] =
        b"\x67\x42\xc0\x28\xda\x01\xe0\x08\x9f\x97\x01\x10\x00\x00\x3e\x90\x00\x0e\xa6\x00\xf1\x83\x2a";
    const HIGH_1080I: &[u8] =
        b"\x67\x64\x00\x28\xac\xd9\x40\x78\x04\x4f\xde\x02\x20\x00\x00\x03\x00\x20\x00\x00\x06\x43\xe2\xc5\xb2\xc0";
    const HIGH_444: &[u8] =
        b"\x67\xf4\x00\x1e\x90\xd9\xb2\x81\x40\x5f\xdc\x5e\x02\x20\x00\x00\x03\x00\x20\x00\x00\x06\x01\xe2\xc5\xb2\xc0";

    #[test]
    fn parameter_sets_are_read() {
        let rate = |num, den| FrameRate::new(num, den).ok();
        let plain = Sps {
            profile_idc: 66,
            constraint_flags: 0xc0,
            level_idc: 40,
            id: 0,
            chroma_format_idc: 1,
            bit_depth_luma: 8,
            bit_depth_chroma: 8,
            width: 1920,
            height: 1080,
            interlaced: false,
            rate: rate(30_000, 1001),
            sample_aspect: Some((1, 1)),
        };
        let high = Sps { profile_idc: 100, constraint_flags: 0, rate: rate(25, 1), interlaced: true, ..plain };
        let high_444 = Sps {
            profile_idc: 244,
            constraint_flags: 0,
            level_idc: 30,
            chroma_format_idc: 3,
            bit_depth_luma: 10,
            bit_depth_chroma: 10,
            width: 638,
            height: 358,
            rate: rate(24, 1),
            ..plain
        };
        for (name, nal, want) in [
            ("baseline, cropped to 1080 lines", BASELINE_1080P, Some(plain)),
            ("high, interlaced", HIGH_1080I, Some(high)),
            ("high 4:4:4, 10 bit", HIGH_444, Some(high_444)),
            ("cut before the size", &HIGH_1080I[..6], None),
            ("a picture parameter set", b"\x68\xeb\xe3\xcb", None),
            // Found by fuzzing: 8 was added to bit_depth_luma_minus8 before it was looked at.
            ("a bit depth of 263", b"\x67\x64\x00\x1e\xa0\x08\x07", None),
            ("nothing", b"", None),
        ] {
            assert_eq!(Sps::parse(nal), want, "{name}");
        }
        let cut = Sps::parse(&BASELINE_1080P[..12]).unwrap();
        assert_eq!((cut.width, cut.height, cut.rate), (1920, 1080, None), "a cut VUI leaves the size");
    }

    #[test]
    fn entry_points_are_told_apart() {
        let recovery = &b"\x06\x06\x01\xc4\x80"[..];
        let other_then_recovery = &b"\x06\x05\x02\xaa\xbb\x06\x01\xc4\x80"[..];
        let (idr, i_slice, p_slice) = (&b"\x65\x88"[..], &b"\x41\x88\x80"[..], &b"\x41\x9a\x80"[..]);
        for (name, nals, want) in [
            ("IDR", &[&b"\x09\x10"[..], BASELINE_1080P, idr][..], true),
            ("IDR without parameter sets", &[idr], true),
            ("recovery point, I slice", &[recovery, i_slice], true),
            ("second message", &[other_then_recovery, i_slice], true),
            ("parameter set, I slice", &[HIGH_1080I, i_slice], true),
            ("I slice alone", &[i_slice], false),
            ("recovery point, P slice", &[recovery, p_slice], false),
            ("P slice", &[p_slice], false),
            ("parameter set, P slice, I slice", &[HIGH_1080I, p_slice, i_slice], false),
        ] {
            let data: Vec<u8> = nals.iter().flat_map(|nal| [b"\0\0\x01", *nal].concat()).collect();
            assert_eq!(scan(&data).key, want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut nal in prop::collection::vec(any::<u8>(), 1..80)) {
            scan(&[b"\0\0\x01", &nal[..]].concat());
            nal[0] = 0x67;
            Sps::parse(&nal);
        }

        #[test]
        fn a_broken_parameter_set_is_survived(at in 1usize..26, bits in any::<u8>()) {
            let mut nal = HIGH_1080I.to_vec();
            nal[at % HIGH_1080I.len()] ^= bits;
            if let Some(sps) = Sps::parse(&nal) {
                prop_assert!(sps.width > 0 && sps.height > 0 && sps.width <= 16_888);
            }
        }
    }
}
