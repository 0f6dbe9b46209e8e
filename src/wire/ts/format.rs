//! Which format a stream of a programme map has, and in which language.

use super::psi::Stream;
use crate::media::Codec;

/// The format of a stream by its stream_type and, where that is private, its descriptors.
pub fn codec_of(stream: &Stream) -> Codec {
    let d = &stream.descriptors;
    match stream.stream_type {
        0x01 | 0x02 => Codec::Mpeg2Video,
        0x1b => Codec::H264,
        0x24 => Codec::Hevc,
        0x03 | 0x04 => Codec::MpegAudio,
        0x0f => Codec::AacAdts,
        0x11 => Codec::AacLatm,
        // ATSC A/52 annex A and A/53 part 3.
        0x81 => Codec::Ac3,
        0x87 => Codec::Eac3,
        // Private: ETSI EN 300 468 annex D (AC-3, enhanced AC-3), or a registration.
        0x06 => match d.registration() {
            _ if d.has(0x7a) => Codec::Eac3,
            _ if d.has(0x6a) => Codec::Ac3,
            Some(b"EAC3") => Codec::Eac3,
            Some(b"AC-3") => Codec::Ac3,
            Some(b"HEVC") => Codec::Hevc,
            _ => Codec::Other(0x06),
        },
        other => Codec::Other(other),
    }
}

/// ISO 639-2 code of the language descriptor (ISO/IEC 13818-1 §2.6.18), letters only.
pub fn language_of(stream: &Stream) -> Option<[u8; 3]> {
    let code: &[u8; 3] = stream.descriptors.find(0x0a)?.first_chunk()?;
    code.iter().all(u8::is_ascii_alphabetic).then_some(*code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(stream_type: u8, descriptors: &[u8]) -> Stream {
        Stream { stream_type, pid: 0x100, descriptors: descriptors.into() }
    }

    #[test]
    fn formats_are_told_apart() {
        for (stream_type, descriptors, want) in [
            (0x01, &b""[..], Codec::Mpeg2Video),
            (0x02, b"", Codec::Mpeg2Video),
            (0x03, b"", Codec::MpegAudio),
            (0x04, b"", Codec::MpegAudio),
            (0x0f, b"", Codec::AacAdts),
            (0x11, b"", Codec::AacLatm),
            (0x1b, b"", Codec::H264),
            (0x24, b"", Codec::Hevc),
            (0x81, b"", Codec::Ac3),
            (0x87, b"", Codec::Eac3),
            (0x06, b"\x6a\x01\x00", Codec::Ac3),
            (0x06, b"\x52\x01\x07\x7a\x01\x00", Codec::Eac3),
            (0x06, b"\x05\x04AC-3", Codec::Ac3),
            (0x06, b"\x05\x04EAC3", Codec::Eac3),
            (0x06, b"\x59\x00", Codec::Other(0x06)),
            (0x06, b"\x05\x04AC", Codec::Other(0x06)),
            (0x82, b"", Codec::Other(0x82)),
            (0x2d, b"", Codec::Other(0x2d)),
        ] {
            assert_eq!(codec_of(&stream(stream_type, descriptors)), want, "{stream_type:#x} {descriptors:?}");
        }
    }

    #[test]
    fn languages_are_read() {
        assert_eq!(language_of(&stream(0x0f, b"\x0a\x04deu\x00")), Some(*b"deu"));
        assert_eq!(language_of(&stream(0x0f, b"\x52\x01\x01\x0a\x04fra\x00")), Some(*b"fra"));
        assert_eq!(language_of(&stream(0x0f, b"\x0a\x02de")), None, "cut");
        assert_eq!(language_of(&stream(0x0f, b"\x0a\x04\0\0\0\0")), None, "no letters");
        assert_eq!(language_of(&stream(0x0f, b"")), None);
    }
}
