//! Pictures that no other one refers to: whoever wants a few pictures of a stream need not decode them.

use super::annexb;
use crate::media::Codec;

/// Whether nothing else refers to what this unit carries: it holds pictures, and all of them are such.
///
/// H.264 says so of each slice (`nal_ref_idc`, ISO/IEC 14496-10 §7.4.1), MPEG-2 by a picture's type (B, ISO/IEC 13818-2 §6.3.9). HEVC
/// says it only within a temporal sub-layer: nothing of it is taken for disposable.
pub fn is_disposable(codec: Codec, data: &[u8]) -> bool {
    match codec {
        Codec::H264 => {
            // Slices and partition A, and IDR slices.
            let slices = annexb::nal_units(data).filter(|nal| matches!(nal[0] & 0x1f, 1 | 2 | 5));
            all(slices.map(|nal| nal[0] & 0x60 == 0))
        }
        Codec::Mpeg2Video => {
            // picture_start_code, then 10 bits of temporal_reference and 3 of picture_coding_type; 3 is B.
            let pictures = annexb::nal_units(data).filter(|unit| unit[0] == 0);
            all(pictures.map(|unit| unit.get(2).is_some_and(|byte| byte >> 3 & 7 == 3)))
        }
        _ => false,
    }
}

/// All are, and there is one.
fn all(mut each: impl Iterator<Item = bool>) -> bool {
    each.next() == Some(true) && each.all(|is| is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_pictures_that_nobody_refers_to_are() {
        for (name, codec, data, want) in [
            ("IDR", Codec::H264, &[0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x65, 0x88][..], false),
            ("P", Codec::H264, &[0, 0, 1, 0x41, 0x9a], false),
            ("b, SEI before it", Codec::H264, &[0, 0, 1, 0x06, 5, 0, 0, 1, 0x01, 0x9a, 0, 0, 1, 0x01, 0x9b], true),
            ("b and P", Codec::H264, &[0, 0, 1, 0x01, 0x9a, 0, 0, 1, 0x41, 0x9b], false),
            ("no picture", Codec::H264, &[0, 0, 1, 0x67, 0x64], false),
            ("B", Codec::Mpeg2Video, &[0, 0, 1, 0, 0x00, 0x9f, 0xff, 0, 0, 1, 1, 0x22], true),
            ("P", Codec::Mpeg2Video, &[0, 0, 1, 0, 0x00, 0x97, 0xff, 0, 0, 1, 1, 0x22], false),
            ("cut off", Codec::Mpeg2Video, &[0, 0, 1, 0], false),
            ("HEVC", Codec::Hevc, &[0, 0, 1, 0x00, 0x01, 0xd0], false),
            ("nothing", Codec::H264, &[], false),
        ] {
            assert_eq!(is_disposable(codec, data), want, "{name} of {codec:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(data in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..200)) {
            for codec in [Codec::H264, Codec::Mpeg2Video, Codec::Hevc, Codec::Other(6)] {
                is_disposable(codec, &data);
            }
        }
    }
}
