//! Languages, as programme maps and ladder files name them.

/// A language of ISO 639-2, by its terminological code: what a broadcaster calls `ger` is `deu` here.
///
/// Twenty languages have two codes in ISO 639-2: a bibliographic one, which DVB and ATSC multiplexers use, and a terminological one, which
/// RFC 5646 and so HLS and DASH are built on.
pub fn terminological(code: [u8; 3]) -> [u8; 3] {
    let code = code.map(|letter| letter.to_ascii_lowercase());
    BIBLIOGRAPHIC.iter().find(|(b, _)| **b == code).map_or(code, |(_, t)| **t)
}

const BIBLIOGRAPHIC: [(&[u8; 3], &[u8; 3]); 20] = [
    (b"alb", b"sqi"),
    (b"arm", b"hye"),
    (b"baq", b"eus"),
    (b"bur", b"mya"),
    (b"chi", b"zho"),
    (b"cze", b"ces"),
    (b"dut", b"nld"),
    (b"fre", b"fra"),
    (b"geo", b"kat"),
    (b"ger", b"deu"),
    (b"gre", b"ell"),
    (b"ice", b"isl"),
    (b"mac", b"mkd"),
    (b"mao", b"mri"),
    (b"may", b"msa"),
    (b"per", b"fas"),
    (b"rum", b"ron"),
    (b"slo", b"slk"),
    (b"tib", b"bod"),
    (b"wel", b"cym"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_codes_of_a_language_are_one() {
        for (name, code, want) in [
            ("bibliographic", b"ger", b"deu"),
            ("terminological", b"deu", b"deu"),
            ("capital letters", b"FRE", b"fra"),
            ("only one code", b"eng", b"eng"),
        ] {
            assert_eq!(&terminological(*code), want, "{name}");
        }
    }
}
