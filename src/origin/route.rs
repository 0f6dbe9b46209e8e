//! From a request's path to what is meant. Percent-decoding happens once and before anything is compared, and what
//! comes out holds no `..`, no empty segment and no character that our names do not use.

use std::borrow::Cow;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/live/{channel}/{path}`.
    Live {
        /// As spelled by the client; may be no channel of ours.
        channel: Cow<'a, str>,
        /// The rest: no leading slash, never empty.
        path: Cow<'a, str>,
    },
    /// `/healthz`.
    Health,
    /// `/time`.
    Time,
    /// Nothing of ours.
    Unknown,
    /// Not a path at all: a broken percent-escape.
    Malformed,
}

/// Reads the path of a request target; the query is not part of it.
pub fn route(path: &str) -> Route<'_> {
    let Some(path) = decode(path) else { return Route::Malformed };
    match path {
        Cow::Borrowed(path) => parse(path),
        Cow::Owned(path) => match parse(&path) {
            Route::Live { channel, path } => {
                Route::Live { channel: channel.into_owned().into(), path: path.into_owned().into() }
            }
            Route::Health => Route::Health,
            Route::Time => Route::Time,
            Route::Unknown => Route::Unknown,
            Route::Malformed => Route::Malformed,
        },
    }
}

fn parse(path: &str) -> Route<'_> {
    match path {
        "/healthz" => return Route::Health,
        "/time" => return Route::Time,
        _ => {}
    }
    let Some((channel, rest)) = path.strip_prefix("/live/").and_then(|rest| rest.split_once('/')) else {
        return Route::Unknown;
    };
    let fine = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if fine(channel) && rest.split('/').all(fine) {
        Route::Live { channel: channel.into(), path: rest.into() }
    } else {
        Route::Unknown
    }
}

/// Percent-decoding (RFC 3986 §2.1); `None` when an escape is broken or what it spells is not UTF-8.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(path.into());
    }
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(b) = bytes.next() {
        out.push(if b == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { b });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn live<'a>(channel: &'a str, path: &'a str) -> Route<'a> {
        Route::Live { channel: channel.into(), path: path.into() }
    }

    #[test]
    fn paths() {
        for (path, want) in [
            ("/healthz", Route::Health),
            ("/time", Route::Time),
            ("/%74ime", Route::Time),
            ("/live/news/index.m3u8", live("news", "index.m3u8")),
            ("/live/news/v720/898123456.m4s", live("news", "v720/898123456.m4s")),
            ("/live/ne%77s/v720%2Findex.m3u8", live("news", "v720/index.m3u8")),
            ("/live/news", Route::Unknown),
            ("/live/news/", Route::Unknown),
            ("/live//index.m3u8", Route::Unknown),
            ("/live/news//index.m3u8", Route::Unknown),
            ("/live/news/../secret", Route::Unknown),
            ("/live/news/%2e%2E/secret", Route::Unknown),
            ("/live/news/v720/./index.m3u8", Route::Unknown),
            ("/live/%2e%2e/index.m3u8", Route::Unknown),
            ("/live/news/a%00b", Route::Unknown),
            ("/live/news/a%5cb", Route::Unknown),
            ("/live/news/%252e%252e/x", Route::Unknown),
            ("/live/news/caf%c3%a9", Route::Unknown),
            ("/live/news/%", Route::Malformed),
            ("/live/news/%4", Route::Malformed),
            ("/live/news/%zz", Route::Malformed),
            ("/live/news/%+1", Route::Malformed),
            ("/live/news/%ff", Route::Malformed),
            ("/", Route::Unknown),
            ("*", Route::Unknown),
            ("", Route::Unknown),
            ("/timer", Route::Unknown),
            ("/healthz/", Route::Unknown),
        ] {
            assert_eq!(route(path), want, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_live_path_leaves_its_channel(path in "(/live)?(/|%2f|\\.|%2e|a|%61|%|\\\\){0,12}") {
            if let Route::Live { channel, path } = route(&path) {
                for segment in path.split('/').chain([channel.as_ref()]) {
                    prop_assert!(!matches!(segment, "" | "." | ".."), "{segment:?}");
                    prop_assert!(!segment.contains(['%', '\\', '/']), "{segment:?}");
                }
            }
        }
    }
}
