//! AV1 as the "AV1 Codec ISO Media File Format Binding" (v1.2) stores it: the sequence header in the sample entry, samples
//! as they are but for what only a byte stream needs.

use bytes::Bytes;

use super::record::ConfigError;
use crate::wire::codec::av1::{Obu, SequenceHeader, kind};

/// Whether a unit belongs into a sample (§2.4): delimiters, padding and repeated headers do not. A sync sample keeps its
/// sequence header, for without one it would not be a place to start at.
pub(super) fn is_sample_obu(obu: &Obu<'_>) -> bool {
    !matches!(obu.kind, kind::TEMPORAL_DELIMITER | kind::PADDING | kind::REDUNDANT_FRAME_HEADER | kind::TILE_LIST)
}

/// AV1CodecConfigurationRecord and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Av1Config {
    /// The record, as `av1C` holds it (§2.3.3).
    pub record: Vec<u8>,
    /// What the sequence header says.
    pub sequence: SequenceHeader,
}

impl Av1Config {
    /// From the sequence headers of a segment, each once, header and size included. There is one: another one would begin a
    /// new coded video sequence, for which there is no room in the sample entry.
    pub(super) fn new(headers: &[Bytes]) -> Result<Self, ConfigError> {
        let header = match headers {
            [] => return Err(ConfigError::Missing),
            [only] => only,
            _ => return Err(ConfigError::TooMany),
        };
        let obu = crate::wire::codec::av1::obus(header).next().flatten();
        let sequence = obu.and_then(|o| SequenceHeader::parse(o.payload)).ok_or(ConfigError::Unreadable)?;
        let bit = |set: bool, at: u8| u8::from(set) << at;
        let mut record = vec![
            // marker, version 1
            0x81,
            sequence.profile << 5 | sequence.level,
            bit(sequence.high_tier, 7)
                | bit(sequence.bit_depth > 8, 6)
                | bit(sequence.bit_depth == 12, 5)
                | bit(sequence.monochrome, 4)
                | bit(sequence.subsampling_x, 3)
                | bit(sequence.subsampling_y, 2)
                | sequence.chroma_position,
            // initial_presentation_delay_present 0: not said.
            0,
        ];
        record.extend_from_slice(header);
        Ok(Self { record, sequence })
    }

    /// Codec string (§5): `av01.P.LLT.DD`, and all that follows where something of it is not as 8-bit television has it.
    pub fn codec(&self) -> String {
        let s = &self.sequence;
        let tier = if s.high_tier { 'H' } else { 'M' };
        let mut out = format!("av01.{}.{:02}{tier}.{:02}", s.profile, s.level, s.bit_depth);
        // Unspecified colour is shown as BT.709, which is what leaving it out means.
        let colour = s.colour.map(|c| if c == 2 { 1 } else { c });
        if s.monochrome || !s.subsampling_x || !s.subsampling_y || colour != [1; 3] || s.full_range {
            // The third digit is the chroma position where there are a quarter of the samples, else 0.
            let subsampling = [u8::from(s.subsampling_x), u8::from(s.subsampling_y), s.chroma_position];
            let [x, y, position] = subsampling;
            let [primaries, transfer, matrix] = colour;
            out.push_str(&format!(
                ".{}.{x}{y}{position}.{primaries:02}.{transfer:02}.{matrix:02}.{}",
                u8::from(s.monochrome),
                u8::from(s.full_range)
            ));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_holds_the_sequence_header() {
        // SVT-AV1 1.4, 640x360, 8 bit; libaom 3.6, 426x240, 10 bit, BT.709.
        let svt = Bytes::from_static(b"\x0a\x0b\x00\x00\x00\x0c\xc4\xff\x67\x3e\xfe\x40\x10");
        let aom = Bytes::from_static(b"\x0a\x0e\x00\x00\x00\x04\x3e\xa7\xbc\xda\xf9\x50\x10\x10\x10\x40");
        // The first four bytes as ffmpeg's muxer writes them for the same streams.
        for (name, header, first, codec) in [
            ("8 bit", &svt, [0x81, 0x01, 0x0c, 0x00], "av01.0.01M.08"),
            ("10 bit", &aom, [0x81, 0x00, 0x4c, 0x00], "av01.0.00M.10"),
        ] {
            let config = Av1Config::new(std::slice::from_ref(header)).expect("good header");
            assert_eq!(config.record, [&first[..], header].concat(), "{name}");
            assert_eq!(config.codec(), codec, "{name}");
        }
        for (name, headers, want) in [
            ("none", vec![], ConfigError::Missing),
            ("two", vec![svt.clone(), aom], ConfigError::TooMany),
            ("cut", vec![svt.slice(..9)], ConfigError::Unreadable),
        ] {
            assert_eq!(Av1Config::new(&headers), Err(want), "{name}");
        }
    }

    #[test]
    fn unusual_colour_is_spelled_out() {
        let header = b"\x0a\x0b\x00\x00\x00\x0c\xc4\xff\x67\x3e\xfe\x40\x10";
        let plain = Av1Config::new(&[Bytes::from_static(header)]).expect("good header");
        let with = |change: fn(&mut SequenceHeader)| {
            let mut config = plain.clone();
            change(&mut config.sequence);
            config.codec()
        };
        assert_eq!(with(|s| s.colour = [9, 16, 9]), "av01.0.01M.08.0.110.09.16.09.0");
        assert_eq!(with(|s| (s.monochrome, s.full_range) = (true, true)), "av01.0.01M.08.1.110.01.01.01.1");
    }
}
