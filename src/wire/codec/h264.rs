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
    (minus8 <= 6).then_some(8 + minus8 as u8)
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
