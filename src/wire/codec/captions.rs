//! CEA-608 and CEA-708 captions in pictures: cc_data of ATSC A/53 part 4 §6.2.3, in an SEI message of H.264 and HEVC
//! (user_data_registered_itu_t_t35) or in user_data of MPEG-2 video.
//!
//! Looks no further than the first slice: captions go in front of it.

use super::annexb::find_start_code;
use super::bits::unescape;
use crate::media::Codec;

/// SEI longer than this is not looked into: cc_data has at most 31 triples.
const SEI_MAX: usize = 4096;

/// What a picture carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captions {
    /// cc_data is there, be it padding.
    pub carried: bool,
    /// Bytes of CEA-608, field 1 or 2, that are not padding.
    pub cea608: bool,
    /// A packet of CEA-708.
    pub cea708: bool,
}

impl Captions {
    fn add(&mut self, other: Self) {
        self.carried |= other.carried;
        self.cea608 |= other.cea608;
        self.cea708 |= other.cea708;
    }
}

/// Looks into the coded bytes of a picture; other formats have none.
pub fn scan(codec: Codec, data: &[u8]) -> Captions {
    let mut found = Captions::default();
    let mut rest = data;
    while let Some(at) = find_start_code(rest) {
        rest = &rest[at + 3..];
        let Some(&first) = rest.first() else { break };
        match codec {
            Codec::H264 => match first & 0x1f {
                1..=5 => break,
                6 => found.add(sei(unit(&rest[1..]))),
                _ => {}
            },
            Codec::Hevc => match first >> 1 & 0x3f {
                0..=31 => break,
                39 => found.add(sei(unit(rest.get(2..).unwrap_or_default()))),
                _ => {}
            },
            Codec::Mpeg2Video => match first {
                // Slices are 01 to AF; user_data is B2 (ISO/IEC 13818-2 Table 6-1).
                0x01..=0xaf => break,
                0xb2 => found.add(user_data(unit(&rest[1..]))),
                _ => {}
            },
            _ => break,
        }
    }
    found
}

/// What lies in front of the next start code, cut to what can matter.
fn unit(data: &[u8]) -> &[u8] {
    let head = &data[..data.len().min(SEI_MAX)];
    find_start_code(head).map_or(head, |end| &head[..end])
}

/// sei_message() again and again (ISO/IEC 14496-10 §7.3.2.3.1).
fn sei(nal: &[u8]) -> Captions {
    let plain = unescape(nal);
    let mut rest = &plain[..];
    let mut found = Captions::default();
    // What is left when one byte remains is rbsp_trailing_bits.
    while rest.len() > 2 {
        let Some((kind, size, behind)) = number(rest).and_then(|(kind, r)| number(r).map(|(size, r)| (kind, size, r)))
        else {
            break;
        };
        let Some((payload, next)) = behind.split_at_checked(size) else { break };
        // country 0xb5 is the USA, provider 0x0031 the ATSC.
        if let (4, Some(data)) = (kind, payload.strip_prefix(&[0xb5, 0x00, 0x31])) {
            found.add(user_data(data));
        }
        rest = next;
    }
    found
}

/// 255, 255, …, last.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let more = bytes.iter().take_while(|&&b| b == 0xff).count();
    let last = *bytes.get(more)?;
    Some((255 * more + usize::from(last), &bytes[more + 1..]))
}

/// ATSC_identifier, user_data_type_code 3, cc_data().
fn user_data(data: &[u8]) -> Captions {
    let Some([flags, _em_data, triples @ ..]) = data.strip_prefix(b"GA94\x03") else { return Captions::default() };
    let mut found = Captions::default();
    // process_cc_data_flag
    if flags & 0x40 == 0 {
        return found;
    }
    found.carried = true;
    for triple in triples.chunks_exact(3).take(usize::from(flags & 0x1f)) {
        let (valid, kind) = (triple[0] & 4 != 0, triple[0] & 3);
        match kind {
            // Behind odd parity a padding byte is 0.
            0 | 1 => found.cea608 |= valid && (triple[1] | triple[2]) & 0x7f != 0,
            _ => found.cea708 |= valid && kind == 3,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// cc_data with these triples.
    fn ga94(triples: &[[u8; 3]]) -> Vec<u8> {
        let mut out = b"GA94\x03".to_vec();
        out.extend([0x40 | triples.len() as u8, 0xff]);
        out.extend(triples.concat());
        out.push(0xff);
        out
    }

    fn t35(data: &[u8]) -> Vec<u8> {
        let mut out = vec![4, data.len() as u8 + 3, 0xb5, 0x00, 0x31];
        out.extend(data);
        out.push(0x80);
        out
    }

    #[test]
    fn captions_are_found_where_each_format_carries_them() {
        const FIELD_1: [u8; 3] = [0xfc, 0x94, 0x2c];
        const PADDING: [u8; 3] = [0xfc, 0x80, 0x80];
        const DTVCC: [u8; 3] = [0xff, 0x02, 0x21];
        const NOT_VALID: [u8; 3] = [0xfb, 0x02, 0x21];
        let h264 = |data: &[u8]| [&[0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x06], &t35(data)[..], &[0, 0, 1, 0x65, 1]].concat();
        let hevc = |data: &[u8]| [&[0, 0, 1, 39 << 1, 1], &t35(data)[..], &[0, 0, 1, 0x26, 1, 1]].concat();
        let mpeg2 = |data: &[u8]| [&[0, 0, 1, 0x00, 0, 8, 0, 0, 1, 0xb2], data, &[0, 0, 1, 0x01, 1]].concat();
        let late = [&[0, 0, 1, 0x65, 1, 0, 0, 1, 0x06], &t35(&ga94(&[FIELD_1]))[..]].concat();
        let none = Captions::default();
        let carried = Captions { carried: true, ..none };
        for (name, codec, data, want) in [
            ("608 in H.264", Codec::H264, h264(&ga94(&[FIELD_1])), Captions { cea608: true, ..carried }),
            ("padding", Codec::H264, h264(&ga94(&[PADDING, NOT_VALID])), carried),
            ("708 in HEVC", Codec::Hevc, hevc(&ga94(&[PADDING, DTVCC])), Captions { cea708: true, ..carried }),
            (
                "both in MPEG-2",
                Codec::Mpeg2Video,
                mpeg2(&ga94(&[FIELD_1, DTVCC])),
                Captions { carried: true, cea608: true, cea708: true },
            ),
            ("bar data", Codec::Mpeg2Video, mpeg2(b"GA94\x06\xff\xff"), none),
            ("another provider", Codec::H264, h264(b"DTG1\x41\xff"), none),
            ("behind the slice", Codec::H264, late, none),
            ("in sound", Codec::AacAdts, h264(&ga94(&[FIELD_1])), none),
            ("nothing", Codec::H264, vec![], none),
        ] {
            assert_eq!(scan(codec, &data), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(data in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..30) {
            for codec in [Codec::H264, Codec::Hevc, Codec::Mpeg2Video] {
                scan(codec, &data);
                let head: &[u8] = if codec == Codec::Mpeg2Video { &[0, 0, 1, 0xb2] } else { &[0, 0, 1, 0x4e, 1] };
                scan(codec, &[head, &ga94(&[[0xfc, 1, 2]])[..cut.min(11)], &data].concat());
            }
        }
    }
}
