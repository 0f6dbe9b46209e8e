//! AV1 (AV1 Bitstream & Decoding Process Specification): open bitstream units, the sequence header, and whether a decoder
//! may start at a temporal unit.

use super::bits::Bits;

/// obu_type (§6.2.2), as far as it is asked for here.
pub mod kind {
    /// OBU_SEQUENCE_HEADER.
    pub const SEQUENCE_HEADER: u8 = 1;
    /// OBU_TEMPORAL_DELIMITER.
    pub const TEMPORAL_DELIMITER: u8 = 2;
    /// OBU_FRAME_HEADER.
    pub const FRAME_HEADER: u8 = 3;
    /// OBU_FRAME: a frame header and its tiles.
    pub const FRAME: u8 = 6;
    /// OBU_REDUNDANT_FRAME_HEADER.
    pub const REDUNDANT_FRAME_HEADER: u8 = 7;
    /// OBU_TILE_LIST.
    pub const TILE_LIST: u8 = 8;
    /// OBU_PADDING.
    pub const PADDING: u8 = 15;
}

/// One open bitstream unit (§5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// obu_type.
    pub kind: u8,
    /// All of it, header and size included.
    pub whole: &'a [u8],
    /// Behind header and size.
    pub payload: &'a [u8],
}

/// The units of a temporal unit in the low-overhead format (§5.2): each says its size, but for the last one, which may
/// leave it out. `None` where a unit is cut short, or breaks a rule of its header; nothing behind it can be found then.
pub fn obus(data: &[u8]) -> impl Iterator<Item = Option<Obu<'_>>> {
    let mut rest = Some(data).filter(|d| !d.is_empty());
    std::iter::from_fn(move || {
        let here = rest.take()?;
        let obu = first_obu(here);
        rest = obu.map(|o| &here[o.whole.len()..]).filter(|r| !r.is_empty());
        Some(obu)
    })
}

fn first_obu(data: &[u8]) -> Option<Obu<'_>> {
    let head = *data.first()?;
    // obu_forbidden_bit
    if head & 0x80 != 0 {
        return None;
    }
    let header = if head & 4 == 0 { 1 } else { 2 };
    let body = data.get(header..)?;
    let (size_bytes, size) = if head & 2 == 0 { (0, body.len()) } else { leb128(body)? };
    let payload = body.get(size_bytes..)?.get(..size)?;
    Some(Obu { kind: head >> 3 & 0xf, whole: &data[..header + size_bytes + size], payload })
}

/// leb128() (§4.10.5): how many bytes it takes, and its value, which must fit 32 bits.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((i + 1, usize::try_from(u32::try_from(value).ok()?).ok()?));
        }
    }
    None
}

/// A sequence header (§5.5), as far as it is asked for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceHeader {
    /// seq_profile: 0 main, 1 high, 2 professional.
    pub profile: u8,
    /// seq_level_idx\[0\].
    pub level: u8,
    /// seq_tier\[0\]: high tier.
    pub high_tier: bool,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// mono_chrome.
    pub monochrome: bool,
    /// subsampling_x.
    pub subsampling_x: bool,
    /// subsampling_y.
    pub subsampling_y: bool,
    /// chroma_sample_position: 0 unknown, 1 vertical, 2 colocated.
    pub chroma_position: u8,
    /// color_primaries, transfer_characteristics, matrix_coefficients; 2 is unspecified.
    pub colour: [u8; 3],
    /// color_range: the samples use all of their range.
    pub full_range: bool,
    /// max_frame_width_minus_1 + 1.
    pub width: u32,
    /// max_frame_height_minus_1 + 1.
    pub height: u32,
}

impl SequenceHeader {
    /// Reads the payload of an OBU_SEQUENCE_HEADER. `None` where it is cut short or makes no sense, and for still pictures
    /// with a reduced header, which are no video.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut b = Bits::new(payload);
        let profile = b.read(3)? as u8;
        b.skip(1)?; // still_picture
        if b.flag()? {
            return None; // reduced_still_picture_header
        }
        let (level, high_tier) = operating_points(&mut b)?;
        let (width_bits, height_bits) = (b.read(4)? as usize + 1, b.read(4)? as usize + 1);
        let (width, height) = (b.read(width_bits)? + 1, b.read(height_bits)? + 1);
        if b.flag()? {
            // delta_frame_id_length_minus_2, additional_frame_id_length_minus_1
            b.skip(4 + 3)?;
        }
        b.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
        tools(&mut b)?;
        b.skip(3)?; // enable_superres, enable_cdef, enable_restoration
        let colour = Colour::read(&mut b, profile)?;
        Some(Self {
            profile,
            level,
            high_tier,
            bit_depth: colour.bit_depth,
            monochrome: colour.monochrome,
            subsampling_x: colour.subsampling.0,
            subsampling_y: colour.subsampling.1,
            chroma_position: colour.chroma_position,
            colour: colour.description,
            full_range: colour.full_range,
            width,
            height,
        })
    }
}

/// From timing_info_present_flag to the last operating point: level and tier of the first, which is the whole stream.
fn operating_points(b: &mut Bits<'_>) -> Option<(u8, bool)> {
    let mut decoder_model = None;
    if b.flag()? {
        // timing_info(): num_units_in_display_tick, time_scale, equal_picture_interval
        b.skip(32 + 32)?;
        if b.flag()? {
            uvlc(b)?;
        }
        if b.flag()? {
            // decoder_model_info()
            decoder_model = Some(b.read(5)? as usize + 1);
            b.skip(32 + 5 + 5)?;
        }
    }
    let display_delay = b.flag()?;
    let mut first = None;
    for _ in 0..=b.read(5)? {
        b.skip(12)?; // operating_point_idc
        let level = b.read(5)? as u8;
        // Levels up to 3.3 (7) have one tier.
        let high_tier = level > 7 && b.flag()?;
        first.get_or_insert((level, high_tier));
        if let Some(bits) = decoder_model
            && b.flag()?
        {
            // decoder_buffer_delay, encoder_buffer_delay, low_delay_mode_flag
            b.skip(2 * bits + 1)?;
        }
        if display_delay && b.flag()? {
            b.skip(4)?;
        }
    }
    first
}

/// From enable_interintra_compound to order_hint_bits_minus_1.
fn tools(b: &mut Bits<'_>) -> Option<()> {
    // enable_interintra_compound, enable_masked_compound, enable_warped_motion, enable_dual_filter
    b.skip(4)?;
    let order_hint = b.flag()?;
    if order_hint {
        b.skip(2)?; // enable_jnt_comp, enable_ref_frame_mvs
    }
    // Both choose for themselves: 2.
    let screen_content = if b.flag()? { 2 } else { b.read(1)? };
    if screen_content > 0 && !b.flag()? {
        b.skip(1)?; // seq_force_integer_mv
    }
    if order_hint { b.skip(3) } else { Some(()) }
}

/// color_config() (§5.5.2).
struct Colour {
    bit_depth: u8,
    monochrome: bool,
    subsampling: (bool, bool),
    chroma_position: u8,
    description: [u8; 3],
    full_range: bool,
}

impl Colour {
    fn read(b: &mut Bits<'_>, profile: u8) -> Option<Self> {
        let high = b.flag()?;
        let bit_depth = match (profile, high) {
            (2, true) if b.flag()? => 12,
            (_, true) => 10,
            (_, false) => 8,
        };
        let monochrome = profile != 1 && b.flag()?;
        let description = if b.flag()? { [b.read(8)? as u8, b.read(8)? as u8, b.read(8)? as u8] } else { [2, 2, 2] };
        // CP_BT_709, TC_SRGB, MC_IDENTITY
        if !monochrome && description == [1, 13, 0] {
            let subsampling = (false, false);
            return Some(Self {
                bit_depth,
                monochrome,
                subsampling,
                chroma_position: 0,
                description,
                full_range: true,
            });
        }
        let full_range = b.flag()?;
        let subsampling = match profile {
            _ if monochrome => (true, true),
            0 => (true, true),
            1 => (false, false),
            2 if bit_depth == 12 => {
                let x = b.flag()?;
                (x, x && b.flag()?)
            }
            2 => (true, false),
            _ => return None,
        };
        let chroma_position = if !monochrome && subsampling == (true, true) { b.read(2)? as u8 } else { 0 };
        Some(Self { bit_depth, monochrome, subsampling, chroma_position, description, full_range })
    }
}

/// uvlc() (§4.10.3), whose value nobody asks for.
fn uvlc(b: &mut Bits<'_>) -> Option<()> {
    let mut zeros = 0;
    while !b.flag()? {
        zeros += 1;
    }
    if zeros < 32 { b.skip(zeros) } else { Some(()) }
}

/// Whether a frame (the payload of an OBU_FRAME or OBU_FRAME_HEADER) is a key frame that is shown at once: then all that
/// follows can be decoded from here (§7.6.1). Key frames that are shown later (forward key frames) do not count.
pub fn is_shown_key(payload: &[u8]) -> bool {
    // show_existing_frame 0, frame_type KEY_FRAME, show_frame 1
    payload.first().is_some_and(|b| b >> 4 == 0b0001)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Written by SVT-AV1 1.4 and libaom 3.6 for these tests; the values were read with ffprobe.
    const SVT_360P: &[u8] = b"\x00\x00\x00\x0c\xc4\xff\x67\x3e\xfe\x40\x10";
    const AOM_10_BIT: &[u8] = b"\x00\x00\x00\x04\x3e\xa7\xbc\xda\xf9\x50\x10\x10\x10\x40";

    #[test]
    fn sequence_headers_are_read() {
        let svt = SequenceHeader {
            profile: 0,
            level: 1,
            high_tier: false,
            bit_depth: 8,
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            chroma_position: 0,
            colour: [2, 2, 2],
            full_range: false,
            width: 640,
            height: 360,
        };
        let aom = SequenceHeader { level: 0, bit_depth: 10, colour: [1, 1, 1], width: 426, height: 240, ..svt };
        for (name, payload, want) in [
            ("SVT-AV1", SVT_360P, Some(svt)),
            ("libaom, 10 bit, BT.709", AOM_10_BIT, Some(aom)),
            ("a still picture", b"\x18\x15\x7f\xfc\x00\x08", None),
            ("cut", &SVT_360P[..8], None),
            ("nothing", b"", None),
        ] {
            assert_eq!(SequenceHeader::parse(payload), want, "{name}");
        }
    }

    #[test]
    fn units_are_told_apart() {
        let frame = [0x32, 3, 0x10, 1, 2];
        let unit = [&[0x12, 0][..], &[0x0a, SVT_360P.len() as u8], SVT_360P, &frame].concat();
        let found: Vec<_> = obus(&unit).map(|o| o.map(|o| (o.kind, o.whole.len(), o.payload.len()))).collect();
        assert_eq!(found, [Some((2, 2, 0)), Some((1, 13, 11)), Some((6, 5, 3))]);
        for (name, data, want) in [
            ("nothing", &b""[..], vec![]),
            ("the last one without a size", b"\x12\x00\x30\x10\xaa", vec![Some(0), Some(2)]),
            ("with an extension", b"\x36\x00\x01\x10", vec![Some(1)]),
            ("a size of two bytes", b"\x32\x82\x00\xaa\xbb", vec![Some(2)]),
            ("longer than the data", b"\x32\x04\xaa", vec![None]),
            ("forbidden bit", b"\x12\x00\x92\x00\x12\x00", vec![Some(0), None]),
            ("an endless size", b"\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff", vec![None]),
        ] {
            let sizes: Vec<_> = obus(data).map(|o| o.map(|o| o.payload.len())).collect();
            assert_eq!(sizes, want, "{name}");
        }
    }

    #[test]
    fn shown_key_frames_are_told_apart() {
        for (name, first, want) in [
            ("a shown key frame", 0x10, true),
            ("a key frame shown later", 0x00, false),
            ("an inter frame", 0x30, false),
            ("an intra-only frame", 0x50, false),
            ("a frame shown again", 0x80, false),
        ] {
            assert_eq!(is_shown_key(&[first]), want, "{name}");
        }
        assert!(!is_shown_key(&[]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..80), kept in 0usize..12) {
            let found: usize = obus(&data).flatten().map(|o| o.whole.len()).sum();
            prop_assert!(found <= data.len());
            SequenceHeader::parse(&data);
            SequenceHeader::parse(&[&SVT_360P[..kept.min(SVT_360P.len())], &data].concat());
        }
    }
}
