//! The conditions and ranges of RFC 9110, as far as a server of unchanging bytes needs them. Nothing here has a
//! Last-Modified date, so only entity tags count.

use std::ops::Range;

use hyper::header::{self, HeaderMap, HeaderName};

/// Does a list of entity tags name `etag`? `None` when the field is absent or nothing in it can be read.
///
/// `strong` asks for the strong comparison (RFC 9110 §8.8.3.2): a weak tag then matches nothing.
fn listed(headers: &HeaderMap, field: HeaderName, etag: &[u8], strong: bool) -> Option<bool> {
    let mut present = None;
    for value in headers.get_all(field) {
        let mut rest = value.as_bytes().trim_ascii();
        if rest == b"*" {
            return Some(true);
        }
        while let Some((weak, tag, after)) = next_tag(rest) {
            if tag == etag && !(strong && weak) {
                return Some(true);
            }
            present = Some(false);
            rest = after;
        }
    }
    present
}

/// The first entity tag of a list: weak or not, the tag with its quotes, what follows.
fn next_tag(list: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let start = list.iter().position(|b| !matches!(b, b',' | b' ' | b'\t'))?;
    let list = &list[start..];
    let (weak, list) = match list.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, list),
    };
    // A tag may hold commas but no quote (§8.8.3), so the next quote ends it.
    let inner = list.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&b| b == b'"')?;
    Some((weak, &list[..end + 2], &inner[end + 1..]))
}

/// If-Match (§13.1.1) forbids the answer.
pub fn precondition_failed(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers.contains_key(header::IF_MATCH) && listed(headers, header::IF_MATCH, etag, true) != Some(true)
}

/// If-None-Match (§13.1.2) says that the client has it already. Weak comparison: a cache may have weakened the tag.
pub fn not_modified(headers: &HeaderMap, etag: &[u8]) -> bool {
    listed(headers, header::IF_NONE_MATCH, etag, false) == Some(true)
}

/// What a Range field means for a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranged {
    /// All of it: no range, one we do not serve, or one whose If-Range no longer holds.
    Whole,
    /// These bytes; never empty.
    Part(Range<usize>),
    /// It begins behind the end: 416.
    Unsatisfiable,
}

/// Reads Range and If-Range (§14.2, §13.1.5) for a body of `length` bytes. Several ranges in one request are answered
/// with the whole body, which §14.2 allows: no player asks for them, and they are a way to make a server work hard.
pub fn ranged(headers: &HeaderMap, etag: &[u8], length: usize) -> Ranged {
    let Some(range) = headers.get(header::RANGE) else { return Ranged::Whole };
    // A date in If-Range never equals ours, as we send none; a weak tag never matches strongly.
    if headers.contains_key(header::IF_RANGE) && listed(headers, header::IF_RANGE, etag, true) != Some(true) {
        return Ranged::Whole;
    }
    range.to_str().ok().and_then(|text| parse_range(text, length)).unwrap_or(Ranged::Whole)
}

/// One range of `bytes=…`; `None` when it is none or several.
fn parse_range(text: &str, length: usize) -> Option<Ranged> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Empty list elements count as none (§5.6.1.2).
    let mut specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    let (spec, None) = (specs.next()?, specs.next()) else { return None };
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(match length.min(suffix) {
            0 => Ranged::Unsatisfiable,
            take => Ranged::Part(length - take..length),
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { usize::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first >= length { Ranged::Unsatisfiable } else { Ranged::Part(first..last.saturating_add(1).min(length)) })
}

/// Decimal digits; a number too large to hold is as large as can be, since every body is shorter.
fn number(digits: &str) -> Option<usize> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(usize::MAX))
}

/// Accept-Encoding (§12.5.3) takes gzip: named, or covered by `*`, and not with weight zero.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut star = false;
    let mut named = None;
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        let Ok(value) = value.to_str() else { continue };
        for element in value.split(',') {
            let mut parameters = element.split(';').map(str::trim);
            let coding = parameters.next().unwrap_or_default();
            let wanted = !parameters.any(|p| {
                p.split_once('=')
                    .is_some_and(|(k, v)| k.trim().eq_ignore_ascii_case("q") && v.trim().parse() == Ok(0.0_f32))
            });
            if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
                named = Some(wanted);
            } else if coding == "*" {
                star = wanted;
            }
        }
    }
    named.unwrap_or(star)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn with(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn if_none_match() {
        for (value, want) in [
            (r#""a""#, true),
            (r#"W/"a""#, true),
            ("*", true),
            (r#""b""#, false),
            (r#""b", "a""#, true),
            (r#"W/"b" ,, W/"a""#, true),
            (r#""b,\"a""#, false),
            (r#""x,", "a""#, true),
            ("a", false),
            (r#""a"#, false),
            ("", false),
            (r#""A""#, false),
        ] {
            assert_eq!(not_modified(&with(&[(header::IF_NONE_MATCH, value)]), br#""a""#), want, "{value}");
        }
        let two = with(&[(header::IF_NONE_MATCH, r#""b""#), (header::IF_NONE_MATCH, r#""a""#)]);
        assert!(not_modified(&two, br#""a""#), "second field line");
        assert!(!not_modified(&HeaderMap::new(), br#""a""#), "no field");
    }

    #[test]
    fn if_match() {
        for (value, want) in [
            (r#""a""#, false),
            ("*", false),
            (r#""b""#, true),
            (r#"W/"a""#, true),
            (r#""b","a""#, false),
            ("junk", true),
        ] {
            assert_eq!(precondition_failed(&with(&[(header::IF_MATCH, value)]), br#""a""#), want, "{value}");
        }
        assert!(!precondition_failed(&HeaderMap::new(), br#""a""#), "no field");
    }

    #[test]
    fn ranges() {
        use Ranged::{Part, Unsatisfiable, Whole};
        for (value, want) in [
            ("bytes=0-3", Part(0..4)),
            ("bytes=0-0", Part(0..1)),
            ("bytes=4-", Part(4..10)),
            ("bytes=4-999", Part(4..10)),
            ("bytes=9-9", Part(9..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-999", Part(0..10)),
            ("BYTES=0-3", Part(0..4)),
            ("bytes= 0-3 ", Part(0..4)),
            ("bytes=0-3,", Part(0..4)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-20", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=0-99999999999999999999999", Part(0..10)),
            ("bytes=0-1,4-5", Whole),
            ("bytes=3-1", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("seconds=0-3", Whole),
        ] {
            assert_eq!(ranged(&with(&[(header::RANGE, value)]), br#""a""#, 10), want, "{value}");
        }
        assert_eq!(ranged(&with(&[(header::RANGE, "bytes=-1")]), br#""a""#, 0), Unsatisfiable, "empty body");
        assert_eq!(ranged(&HeaderMap::new(), br#""a""#, 10), Whole, "no field");
    }

    #[test]
    fn if_range() {
        for (value, want) in [
            (r#""a""#, Ranged::Part(0..4)),
            (r#"W/"a""#, Ranged::Whole),
            (r#""b""#, Ranged::Whole),
            ("Sat, 21 Nov 2026 14:00:00 GMT", Ranged::Whole),
        ] {
            let headers = with(&[(header::RANGE, "bytes=0-3"), (header::IF_RANGE, value)]);
            assert_eq!(ranged(&headers, br#""a""#, 10), want, "{value}");
        }
    }

    #[test]
    fn accept_encoding() {
        for (value, want) in [
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("br, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("*, gzip;q=0", false),
            ("*;q=0", false),
            ("br", false),
            ("identity", false),
            ("", false),
            ("gzipped", false),
        ] {
            assert_eq!(accepts_gzip(&with(&[(header::ACCEPT_ENCODING, value)])), want, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()), "no field");
    }

    proptest! {
        #[test]
        fn any_range_stays_inside(text in "(bytes=)?[0-9,\\- ]{0,30}", length in 0_usize..50) {
            if let Some(Ranged::Part(part)) = parse_range(&text, length) {
                prop_assert!(part.start < part.end && part.end <= length, "{part:?} of {length}");
            }
        }

        #[test]
        fn any_bytes_as_tags_are_survived(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(header::IF_NONE_MATCH, value.clone());
                headers.insert(header::RANGE, value.clone());
                headers.insert(header::ACCEPT_ENCODING, value);
                not_modified(&headers, b"\"a\"");
                ranged(&headers, b"\"a\"", 10);
                accepts_gzip(&headers);
            }
        }
    }
}
