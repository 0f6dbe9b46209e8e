//! Who may publish: a key in the `Authorization` field (RFC 9110 §11.6.2), as a bearer's token (RFC 6750) or as a password (RFC 7617).

use sha2::{Digest, Sha256};

use crate::config::Secret;

/// What a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Welcome,
    /// It says nothing: it is asked.
    Asked,
    /// It says something else.
    Refused,
}

/// Whether a request with this `Authorization` field may publish where `key` is asked for. Of user and password, the password is the key,
/// whatever the user is called; where a key holds a colon, it is both.
pub fn verdict(key: Option<&Secret>, field: Option<&[u8]>) -> Verdict {
    let Some(key) = key else { return Verdict::Welcome };
    let Some(field) = field else { return Verdict::Asked };
    let given = match field.split_first_chunk::<7>() {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(token.trim_ascii().to_vec()),
        _ => match field.split_first_chunk::<6>() {
            Some((scheme, both)) if scheme.eq_ignore_ascii_case(b"basic ") => base64(both.trim_ascii()),
            _ => None,
        },
    };
    let Some(given) = given else { return Verdict::Refused };
    let password = given.iter().position(|&byte| byte == b':').map_or(&given[..], |at| &given[at + 1..]);
    // Digests differ somewhere by chance, so how long the comparison takes tells nothing of the key.
    let wanted = Sha256::digest(key.reveal().as_bytes());
    let same = |given: &[u8]| Sha256::digest(given) == wanted;
    // Both are looked at, whatever comes of the first.
    if same(&given) | same(password) { Verdict::Welcome } else { Verdict::Refused }
}

/// RFC 4648 §4. `None` where it is none.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for letter in group {
            let six = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(six);
        }
        // Four letters make three bytes, three make two, two make one; one alone makes none.
        let bytes = group.len().checked_sub(1).filter(|bytes| *bytes > 0)?;
        bits <<= 6 * (4 - group.len());
        out.extend(&bits.to_be_bytes()[1..=bytes]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_asked_for() {
        let key = Secret::new("open sesame".to_owned());
        for (name, field, want) in [
            ("nothing", None, Verdict::Asked),
            ("bearer", Some("Bearer open sesame"), Verdict::Welcome),
            ("bearer, in small letters", Some("bearer open sesame"), Verdict::Welcome),
            // publisher:open sesame
            ("basic", Some("Basic cHVibGlzaGVyOm9wZW4gc2VzYW1l"), Verdict::Welcome),
            // :open sesame
            ("basic without a user", Some("Basic Om9wZW4gc2VzYW1l"), Verdict::Welcome),
            // publisher:open
            ("basic, wrong", Some("Basic cHVibGlzaGVyOm9wZW4="), Verdict::Refused),
            ("bearer, wrong", Some("Bearer open"), Verdict::Refused),
            ("no scheme", Some("open sesame"), Verdict::Refused),
            ("no base64", Some("Basic ???"), Verdict::Refused),
            ("empty", Some(""), Verdict::Refused),
        ] {
            assert_eq!(verdict(Some(&key), field.map(str::as_bytes)), want, "{name}");
            assert_eq!(verdict(None, field.map(str::as_bytes)), Verdict::Welcome, "{name}, no key");
        }
        let both = Secret::new("publisher:open".to_owned());
        assert_eq!(verdict(Some(&both), Some(b"Basic cHVibGlzaGVyOm9wZW4=")), Verdict::Welcome);
        // publishes:open
        assert_eq!(verdict(Some(&both), Some(b"Basic cHVibGlzaGVzOm9wZW4=")), Verdict::Refused);
    }

    #[test]
    fn base64_is_read() {
        for (text, want) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob")] {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(want.as_bytes()), "{text}");
        }
        assert_eq!(base64(b"Z"), None);
    }

    proptest! {
        #[test]
        fn any_field_is_survived(field in prop::collection::vec(any::<u8>(), 0..100)) {
            let key = Secret::new("k".repeat(40));
            prop_assert_ne!(verdict(Some(&key), Some(&field)), Verdict::Welcome);
        }
    }
}
