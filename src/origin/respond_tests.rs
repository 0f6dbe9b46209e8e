use http_body_util::BodyExt;

use super::*;

const TAG: &str = r#""abc""#;
const TAG_GZ: &str = r#""abc-gz""#;
const MEDIA: &[u8] = b"0123456789";
const PLAYLIST: &[u8] = b"#EXTM3U\n";
const PLAYLIST_GZ: &[u8] = b"(gzip)";

fn segment() -> Lookup {
    Lookup::Found(Resource {
        content_type: "video/mp4",
        etag: TAG.into(),
        cache: Cache::Immutable,
        body: Bytes::from_static(MEDIA).into(),
        gzip: None,
    })
}

fn playlist() -> Lookup {
    Lookup::Found(Resource {
        content_type: "application/vnd.apple.mpegurl",
        etag: TAG.into(),
        cache: Cache::For(Duration::from_millis(3200)),
        body: Bytes::from_static(PLAYLIST).into(),
        gzip: Some(Bytes::from_static(PLAYLIST_GZ).into()),
    })
}

fn ask(method: Method, fields: &[(HeaderName, &'static str)], found: Lookup) -> Response<Body> {
    let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    respond(&method, &fields.collect(), found)
}

/// Status, body, then the fields asked for, `-` where absent.
fn seen(answer: Response<Body>, fields: &[HeaderName]) -> (u16, Vec<u8>, Vec<String>) {
    let value = |name| answer.headers().get(name).map_or("-".into(), |v: &HeaderValue| v.to_str().unwrap().into());
    let fields = fields.iter().map(value).collect();
    let status = answer.status().as_u16();
    let body = in_memory(answer.into_body());
    (status, body, fields)
}

/// The bytes of a body that is in memory already.
fn in_memory(body: Body) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(body.collect()).unwrap().to_bytes().to_vec()
}

#[test]
fn a_segment_is_immutable_and_whole() {
    let got = ask(Method::GET, &[], segment());
    let fields =
        [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::ETAG, header::CACHE_CONTROL, header::ACCEPT_RANGES];
    assert_eq!(
        seen(got, &fields),
        (
            200,
            MEDIA.to_vec(),
            vec!["video/mp4".into(), "10".into(), TAG.into(), "public, max-age=3600, immutable".into(), "bytes".into()]
        )
    );
}

#[test]
fn head_tells_what_get_would() {
    for (name, found, length) in [("segment", segment as fn() -> Lookup, "10"), ("playlist", playlist, "8")] {
        let get = ask(Method::GET, &[], found());
        let head = ask(Method::HEAD, &[], found());
        assert_eq!(get.headers(), head.headers(), "{name}");
        assert_eq!(seen(head, &[header::CONTENT_LENGTH]), (200, vec![], vec![length.into()]), "{name}");
    }
    let missing = ask(Method::HEAD, &[], Lookup::Unknown);
    assert_eq!(seen(missing, &[header::CONTENT_LENGTH]), (404, vec![], vec!["10".into()]));
}

#[test]
fn ranges() {
    use header::{IF_RANGE, RANGE};
    for (name, fields, want_status, want_body, want_range) in [
        ("from the start", &[(RANGE, "bytes=0-3")][..], 206, &b"0123"[..], "bytes 0-3/10"),
        ("open end", &[(RANGE, "bytes=8-")], 206, b"89", "bytes 8-9/10"),
        ("suffix", &[(RANGE, "bytes=-3")], 206, b"789", "bytes 7-9/10"),
        ("past the end", &[(RANGE, "bytes=5-99")], 206, b"56789", "bytes 5-9/10"),
        ("all of it", &[(RANGE, "bytes=0-")], 206, MEDIA, "bytes 0-9/10"),
        ("behind the end", &[(RANGE, "bytes=10-")], 416, b"", "bytes */10"),
        ("suffix of nothing", &[(RANGE, "bytes=-0")], 416, b"", "bytes */10"),
        ("several", &[(RANGE, "bytes=0-1,3-4")], 200, MEDIA, "-"),
        ("not understood", &[(RANGE, "lines=0-1")], 200, MEDIA, "-"),
        ("If-Range holds", &[(RANGE, "bytes=0-3"), (IF_RANGE, TAG)], 206, b"0123", "bytes 0-3/10"),
        ("If-Range of other bytes", &[(RANGE, "bytes=0-3"), (IF_RANGE, "\"b\"")], 200, MEDIA, "-"),
        ("If-Range, weak", &[(RANGE, "bytes=0-3"), (IF_RANGE, "W/\"abc\"")], 200, MEDIA, "-"),
        ("If-None-Match comes first", &[(RANGE, "bytes=0-3"), (header::IF_NONE_MATCH, TAG)], 304, b"", "-"),
    ] {
        let got = ask(Method::GET, fields, segment());
        let length = got.headers().get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap().to_owned());
        assert_eq!(length, (want_status != 304).then(|| want_body.len().to_string()), "{name}");
        assert_eq!(
            seen(got, &[header::CONTENT_RANGE]),
            (want_status, want_body.to_vec(), vec![want_range.into()]),
            "{name}"
        );
    }
    let head = ask(Method::HEAD, &[(RANGE, "bytes=0-3")], segment());
    assert_eq!(seen(head, &[header::CONTENT_LENGTH]).0, 200, "HEAD has no ranges");
}

#[test]
fn conditions() {
    use header::{IF_MATCH, IF_NONE_MATCH};
    for (name, fields, want) in [
        ("has it", (IF_NONE_MATCH, TAG), 304),
        ("has it, weakened by a cache", (IF_NONE_MATCH, "W/\"abc\""), 304),
        ("has it among others", (IF_NONE_MATCH, "\"x\", \"abc\""), 304),
        ("has anything", (IF_NONE_MATCH, "*"), 304),
        ("has another", (IF_NONE_MATCH, "\"x\""), 200),
        ("wants this", (IF_MATCH, TAG), 200),
        ("wants another", (IF_MATCH, "\"x\""), 412),
    ] {
        let fields = [fields];
        let got = ask(Method::GET, &fields, segment());
        // RFC 9110 §15.4.5: what a cache needs to renew its copy, and nothing that describes a body.
        let about = [header::ETAG, header::CONTENT_TYPE, header::CACHE_CONTROL];
        let (status, body, told) = seen(got, &about);
        assert_eq!((status, body.is_empty()), (want, want != 200), "{name}");
        assert_eq!(told[0], TAG, "{name}");
        assert_eq!(told[1] == "-", want != 200, "{name}: {}", told[1]);
        let cache = if want == 412 { "no-store" } else { "public, max-age=3600, immutable" };
        assert_eq!(told[2], cache, "{name}");
        assert_eq!(ask(Method::HEAD, &fields, segment()).status().as_u16(), want, "{name}, HEAD");
    }
}

#[test]
fn playlists_are_coded_for_those_who_can() {
    use header::{ACCEPT_ENCODING, IF_NONE_MATCH, RANGE};
    for (name, fields, want_status, want_body, want_coding, want_tag) in [
        ("plain", &[][..], 200, PLAYLIST, "-", TAG),
        ("gzip", &[(ACCEPT_ENCODING, "gzip, br")], 200, PLAYLIST_GZ, "gzip", TAG_GZ),
        ("gzip refused", &[(ACCEPT_ENCODING, "gzip;q=0")], 200, PLAYLIST, "-", TAG),
        ("has the gzip", &[(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, TAG_GZ)], 304, b"", "-", TAG_GZ),
        ("has the plain", &[(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, TAG)], 200, PLAYLIST_GZ, "gzip", TAG_GZ),
        ("has the gzip, wants plain", &[(IF_NONE_MATCH, TAG_GZ)], 200, PLAYLIST, "-", TAG),
        ("a range is of the plain", &[(ACCEPT_ENCODING, "gzip"), (RANGE, "bytes=0-6")], 206, b"#EXTM3U", "-", TAG),
    ] {
        let got = ask(Method::GET, fields, playlist());
        let about = [header::CONTENT_ENCODING, header::ETAG, header::VARY, header::CACHE_CONTROL];
        assert_eq!(
            seen(got, &about),
            (
                want_status,
                want_body.to_vec(),
                vec![want_coding.into(), want_tag.into(), "accept-encoding".into(), "public, max-age=3".into()]
            ),
            "{name}"
        );
    }
    let media = ask(Method::GET, &[(ACCEPT_ENCODING, "gzip")], segment());
    assert_eq!(
        seen(media, &[header::CONTENT_ENCODING, header::VARY]).2,
        ["-", "-"],
        "media is not coded and does not vary"
    );
}

#[test]
fn playlists_may_be_kept_for_whole_seconds() {
    for (keep_ms, want) in
        [(0, "max-age=1"), (999, "max-age=1"), (1000, "max-age=1"), (1999, "max-age=1"), (2000, "max-age=2")]
    {
        let Lookup::Found(resource) = playlist() else { unreachable!() };
        let found = Lookup::Found(Resource { cache: Cache::For(Duration::from_millis(keep_ms)), ..resource });
        let (_, _, cache) = seen(ask(Method::GET, &[], found), &[header::CACHE_CONTROL]);
        assert_eq!(cache[0], format!("public, {want}"), "{keep_ms} ms");
    }
}

#[test]
fn what_is_not_there_is_forgotten_in_time() {
    let ms = Duration::from_millis;
    for (name, found, want) in [
        ("due in a moment", Lookup::NotYet(ms(0)), "no-store"),
        ("due in less than a second", Lookup::NotYet(ms(999)), "no-store"),
        ("due in 1.9 s: never past it", Lookup::NotYet(ms(1900)), "public, max-age=1"),
        ("due in 5 s", Lookup::NotYet(ms(5000)), "public, max-age=5"),
        ("due in a year", Lookup::NotYet(ms(31_536_000_000)), "public, max-age=60"),
        ("due never", Lookup::NotYet(Duration::MAX), "public, max-age=60"),
        ("gone", Lookup::Gone, "public, max-age=10"),
        ("unknown", Lookup::Unknown, "public, max-age=1"),
    ] {
        let (status, _, fields) = seen(ask(Method::GET, &[], found), &[header::CACHE_CONTROL, header::ETAG]);
        assert_eq!((status, fields), (404, vec![want.into(), "-".into()]), "{name}");
    }
}

#[test]
fn every_answer_can_be_read_by_scripts_of_other_sites() {
    for answer in [
        ask(Method::GET, &[], segment()),
        ask(Method::GET, &[(header::IF_NONE_MATCH, TAG)], segment()),
        ask(Method::GET, &[(header::RANGE, "bytes=99-")], segment()),
        ask(Method::GET, &[], Lookup::Gone),
        method_not_allowed(&Method::PUT),
        bad_request(&Method::GET, "no\n"),
        starting(&Method::GET),
        options(),
    ] {
        let status = answer.status();
        assert_eq!(answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "*", "{status}");
        let exposed = answer.headers().get(header::ACCESS_CONTROL_EXPOSE_HEADERS).unwrap().to_str().unwrap();
        assert!(exposed.contains("Date") && exposed.contains("Content-Range"), "{status}: {exposed}");
    }
}

#[test]
fn methods() {
    let refused = method_not_allowed(&Method::POST);
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers().get(header::ALLOW).unwrap(), "GET, HEAD, OPTIONS");
    let (status, body, fields) =
        seen(options(), &[header::ACCESS_CONTROL_ALLOW_METHODS, header::ACCESS_CONTROL_ALLOW_HEADERS]);
    assert_eq!((status, body.len(), fields[0].as_str()), (204, 0, "GET, HEAD, OPTIONS"));
    assert!(fields[1].contains("Range"), "{}", fields[1]);
}

#[test]
fn a_channel_without_content_asks_to_try_again() {
    let (status, _, fields) = seen(starting(&Method::GET), &[header::RETRY_AFTER, header::CACHE_CONTROL]);
    assert_eq!((status, fields), (503, vec!["1".into(), "no-store".into()]));
}
