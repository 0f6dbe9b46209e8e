//! Sample entries: what a decoder must know before the first sample (ISO/IEC 14496-12 §8.5.2, 14496-14, 14496-15).

use bytes::Bytes;

use super::{Boxes, Fields, Wrong, find};
use crate::wire::codec::asc::AacConfig;

/// What samples are, and what their decoder must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coding {
    /// H.264: NAL units behind their lengths.
    H264(ParameterSets),
    /// HEVC: NAL units behind their lengths.
    Hevc(ParameterSets),
    /// Bare frames of AAC.
    Aac(AacConfig),
}

/// What stands once for all pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    /// Bytes of the length in front of each NAL unit, 1 to 4.
    pub length_bytes: usize,
    /// VPS (HEVC), SPS and PPS, in the order a decoder wants them.
    pub sets: Vec<Bytes>,
}

/// Bytes of VisualSampleEntry (§12.1.3) and AudioSampleEntry (§12.2.3) in front of the boxes inside.
const VISUAL: usize = 78;
const AUDIO: usize = 28;

/// The first sample entry of an `stsd` box; the inner error names a format that cannot be played.
pub(super) fn coding(stsd: &[u8]) -> Result<Result<Coding, [u8; 4]>, Wrong> {
    let entries = stsd.get(8..).ok_or(Wrong::new(b"stsd", "is too short"))?;
    let (name, entry) = Boxes(b"stsd", entries).next().ok_or(Wrong::new(b"stsd", "is empty"))??;
    let inside = |from: usize| entry.get(from..).ok_or(Wrong::new(b"stsd", "has an entry that is too short"));
    Ok(Ok(match name {
        b"avc1" | b"avc3" => {
            let record = find(b"stsd", inside(VISUAL)?, b"avcC")?;
            Coding::H264(record.and_then(avc).ok_or(Wrong::new(b"avcC", "is missing or damaged"))?)
        }
        b"hvc1" | b"hev1" => {
            let record = find(b"stsd", inside(VISUAL)?, b"hvcC")?;
            Coding::Hevc(record.and_then(hevc).ok_or(Wrong::new(b"hvcC", "is missing or damaged"))?)
        }
        b"mp4a" => {
            // QuickTime's version 1 has 16 bytes more, and may hide `esds` in `wave`.
            let quicktime = entry.get(8..10) == Some(&[0, 1]);
            let boxes = inside(AUDIO + if quicktime { 16 } else { 0 })?;
            let direct = find(b"stsd", boxes, b"esds")?;
            let esds = match (direct, find(b"stsd", boxes, b"wave")?) {
                (None, Some(wave)) => find(b"wave", wave, b"esds")?,
                (direct, _) => direct,
            };
            let config = esds.and_then(|esds| decoder_config(esds.get(4..)?));
            match config.ok_or(Wrong::new(b"esds", "is missing or damaged"))? {
                // Audio ISO/IEC 14496-3, and the AAC kinds of 13818-7 (14496-1 §7.2.6.6).
                (0x40 | 0x66..=0x68, config) => match AacConfig::parse(config) {
                    Some(config) => Coding::Aac(config),
                    None => return Ok(Err(*b"mp4a")),
                },
                _ => return Ok(Err(*b"mp4a")),
            }
        }
        other => return Ok(Err(*other)),
    }))
}

/// Parameter sets of a configuration record: `avcC`, or `hvcC` if it is HEVC's.
pub fn sets_of_record(record: &[u8], is_hevc: bool) -> Option<Vec<Bytes>> {
    if is_hevc { hevc(record) } else { avc(record) }.map(|found| found.sets)
}

/// AVCDecoderConfigurationRecord (14496-15 §5.3.3.1).
fn avc(record: &[u8]) -> Option<ParameterSets> {
    let mut f = Fields(record);
    f.skip(4)?;
    let length_bytes = usize::from(f.u8()? & 3) + 1;
    let mut sets = Vec::new();
    for mask in [0x1f, 0xff] {
        for _ in 0..f.u8()? & mask {
            sets.push(unit(&mut f)?);
        }
    }
    Some(ParameterSets { length_bytes, sets })
}

/// HEVCDecoderConfigurationRecord (14496-15 §8.3.3.1).
fn hevc(record: &[u8]) -> Option<ParameterSets> {
    let mut f = Fields(record);
    f.skip(21)?;
    let length_bytes = usize::from(f.u8()? & 3) + 1;
    let mut sets = Vec::new();
    for _ in 0..f.u8()? {
        let kind = f.u8()? & 0x3f;
        for _ in 0..f.u16()? {
            let unit = unit(&mut f)?;
            // VPS, SPS, PPS; SEI messages are not for every picture.
            if matches!(kind, 32..=34) {
                sets.push(unit);
            }
        }
    }
    Some(ParameterSets { length_bytes, sets })
}

fn unit(f: &mut Fields<'_>) -> Option<Bytes> {
    let bytes = f.u16()?;
    f.take(usize::from(bytes)).map(Bytes::copy_from_slice)
}

/// ES_Descriptor → objectTypeIndication and DecoderSpecificInfo (14496-1 §7.2.6).
fn decoder_config(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut f = Fields(descriptor(&mut Fields(bytes), 3)?);
    f.skip(2)?;
    let flags = f.u8()?;
    if flags & 0x80 != 0 {
        f.skip(2)?;
    }
    if flags & 0x40 != 0 {
        let url = f.u8()?;
        f.skip(usize::from(url))?;
    }
    if flags & 0x20 != 0 {
        f.skip(2)?;
    }
    let mut f = Fields(descriptor(&mut f, 4)?);
    let object_type = f.u8()?;
    f.skip(12)?;
    Some((object_type, descriptor(&mut f, 5)?))
}

/// A descriptor's content; its length is written in groups of seven bits (14496-1 §8.3.3).
fn descriptor<'a>(f: &mut Fields<'a>, tag: u8) -> Option<&'a [u8]> {
    if f.u8()? != tag {
        return None;
    }
    let mut length = 0usize;
    for _ in 0..4 {
        let byte = f.u8()?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return f.take(length);
        }
    }
    None
}
