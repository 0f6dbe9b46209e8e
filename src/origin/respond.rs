//! From a request and what was found to an answer: a pure function, so that every rule is a row in a table.
//!
//! In:    method, header fields, the [`Lookup`].
//! Out:   status, header fields, body; bodies are windows into the snapshot's memory, never copies.
//! Never: reads a clock (hyper writes `Date`), waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};

use tokio::sync::mpsc;

use super::conditional::{Ranged, accepts_gzip, not_modified, precondition_failed, ranged};
use super::waiting::{self, BrokeOff};
use crate::package::{Cache, Content, Lookup, Resource};

/// Bodies of the origin.
#[derive(Debug)]
pub enum Body {
    /// Whole and in memory; and how many of its pieces are sent.
    Whole(Content, usize),
    /// A segment that grows, part by part; or one that is read from disk.
    Grows(mpsc::Receiver<Result<Bytes, BrokeOff>>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Bytes::new().into(), 0)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(body, sent) => {
                while let Some(piece) = body.piece(*sent) {
                    *sent += 1;
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
                    }
                }
                Poll::Ready(None)
            }
            Self::Grows(parts) => parts.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body, sent) => body.is_empty() || *sent >= body.count(),
            Self::Grows(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body, _) => SizeHint::with_exact(body.len() as u64),
            Self::Grows(_) => SizeHint::default(),
        }
    }
}

/// What may be asked (RFC 9110 §10.2.1 `Allow`).
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Segments never change under their URL. An hour outlives any live window, and what a cache drops it can fetch again.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=3600, immutable");

/// A segment that is gone stays gone; ten seconds keep a herd away and forget a mistake soon.
const GONE: HeaderValue = HeaderValue::from_static("public, max-age=10");

/// A path nobody knows may be a channel that comes up in a moment.
const UNKNOWN: HeaderValue = HeaderValue::from_static("public, max-age=1");

/// Answers that hold for this moment only.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How long at most a cache may believe that a segment is not there yet, however far ahead it was asked for.
const NOT_YET_MAX: Duration = Duration::from_secs(60);

/// What scripts of other sites may read of an answer. `Date` and `Age` let players estimate the clock.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Accept-Ranges, Age, Content-Length, Content-Range, Date, ETag, Retry-After");

/// Fields that scripts may send; browsers ask first for those that are not on the CORS safe list.
const MAY_SEND: HeaderValue =
    HeaderValue::from_static("Accept, Cache-Control, If-Match, If-None-Match, If-Range, Origin, Range");

/// Answers a GET or HEAD for what the directory found.
pub fn respond(method: &Method, headers: &HeaderMap, found: Lookup) -> Response<Body> {
    match found {
        Lookup::Found(resource) => resource_answer(method, headers, resource),
        Lookup::NotYet(due) => {
            // Never past the due time, or the cache would hide a segment that is there.
            let seconds = due.min(NOT_YET_MAX).as_secs();
            let cache = if seconds == 0 { NO_STORE } else { max_age(seconds) };
            with_cache(plain(method, StatusCode::NOT_FOUND, "not yet\n"), cache)
        }
        Lookup::Bad(why) => bad_request(method, why),
        // What is not here yet may be in a moment.
        Lookup::Absent(why) => with_cache(plain(method, StatusCode::NOT_FOUND, why), UNKNOWN),
        // Whoever can wait has waited.
        Lookup::Wait(_) | Lookup::Growing(_) | Lookup::Making(_) => unavailable(method, "not in time\n"),
        Lookup::Gone => with_cache(plain(method, StatusCode::NOT_FOUND, "gone\n"), GONE),
        Lookup::Unknown => with_cache(plain(method, StatusCode::NOT_FOUND, "not found\n"), UNKNOWN),
    }
}

/// 200 with a segment whose bytes come as they are made. Nothing is known of it yet but its type.
pub fn growing(
    method: &Method,
    content_type: &'static str,
    parts: impl FnOnce() -> mpsc::Receiver<Result<Bytes, BrokeOff>>,
) -> Response<Body> {
    let mut answer = with_cache(empty(StatusCode::OK), IMMUTABLE);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if method != Method::HEAD {
        *answer.body_mut() = Body::Grows(parts());
    }
    answer
}

/// 503 for a channel that is there but has published nothing yet: players and caches try again, as they would not
/// after a 404.
pub fn starting(method: &Method) -> Response<Body> {
    unavailable(method, "the channel has published nothing yet\n")
}

/// 503 with a reason, to be tried again in a second.
pub fn unavailable(method: &Method, reason: &'static str) -> Response<Body> {
    let mut answer = with_cache(plain(method, StatusCode::SERVICE_UNAVAILABLE, reason), NO_STORE);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// 200 with a text of this moment.
pub fn text(method: &Method, body: impl Into<Bytes>) -> Response<Body> {
    with_cache(plain(method, StatusCode::OK, body), NO_STORE)
}

/// 405 with the methods there are.
pub fn method_not_allowed(method: &Method) -> Response<Body> {
    let mut answer = plain(method, StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    answer.headers_mut().insert(header::ALLOW, METHODS);
    answer
}

/// 400 for a request we do not understand or do not want.
pub fn bad_request(method: &Method, reason: &'static str) -> Response<Body> {
    with_cache(plain(method, StatusCode::BAD_REQUEST, reason), NO_STORE)
}

/// 204 to OPTIONS: what may be asked, and the answer to a CORS preflight.
pub fn options() -> Response<Body> {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(header::ALLOW, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, MAY_SEND);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}

fn resource_answer(method: &Method, request: &HeaderMap, resource: Resource) -> Response<Body> {
    let varies = resource.gzip.is_some();
    // A range counts bytes of the coded form where one is chosen (RFC 9110 §14), which no player expects: whoever asks
    // for a range gets the plain form.
    let gzip = match resource.gzip {
        Some(gzip) if accepts_gzip(request) && !request.contains_key(header::RANGE) => Some(gzip),
        _ => None,
    };
    let coded = gzip.is_some();
    // The coded form is other bytes, so its strong tag must differ (§8.8.3.3).
    let etag = if coded { coded_tag(&resource.etag) } else { resource.etag };
    let body = gzip.unwrap_or(resource.body);

    let (status, body, content_range) = if precondition_failed(request, &etag) {
        (StatusCode::PRECONDITION_FAILED, None, None)
    } else if not_modified(request, &etag) {
        (StatusCode::NOT_MODIFIED, None, None)
    } else {
        // Range is defined for GET alone (§14.2).
        match if method == Method::GET { ranged(request, &etag, body.len()) } else { Ranged::Whole } {
            Ranged::Whole => (StatusCode::OK, Some(body), None),
            Ranged::Part(part) => {
                let told = format!("bytes {}-{}/{}", part.start, part.end - 1, body.len());
                (StatusCode::PARTIAL_CONTENT, Some(body.slice(part)), Some(told))
            }
            Ranged::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, None, Some(format!("bytes */{}", body.len()))),
        }
    };

    let carries_body = body.is_some();
    let mut answer = match body {
        Some(body) => filled(method, status, body),
        // 304 has no body of its own, so a length would be that of the 200 (RFC 9110 §8.6): leave it out.
        None if status == StatusCode::NOT_MODIFIED => empty(status),
        None => filled(method, status, Bytes::new().into()),
    };
    let headers = answer.headers_mut();
    if carries_body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(resource.content_type));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if coded {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    if let Some(range) = content_range.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(header::CONTENT_RANGE, range);
    }
    if let Ok(etag) = HeaderValue::from_maybe_shared(etag) {
        headers.insert(header::ETAG, etag);
    }
    if varies {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    // 416 and 412 say something about this request only.
    let cache = match (status, resource.cache) {
        (StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED, _) => NO_STORE,
        (_, Cache::Immutable) => IMMUTABLE,
        // Rounded down, so that nobody keeps a playlist longer than meant; at least one, or caches would keep nothing.
        (_, Cache::For(keep)) => max_age(keep.as_secs().max(1)),
    };
    headers.insert(header::CACHE_CONTROL, cache);
    answer
}

/// `"tag"` → `"tag-gz"`.
fn coded_tag(etag: &Bytes) -> Bytes {
    let mut coded = Vec::with_capacity(etag.len() + 3);
    coded.extend_from_slice(etag.strip_suffix(b"\"").unwrap_or(etag));
    coded.extend_from_slice(b"-gz\"");
    coded.into()
}

fn max_age(seconds: u64) -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={seconds}")).expect("ASCII letters and digits")
}

fn plain(method: &Method, status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = filled(method, status, body.into().into());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// An answer with a body; for HEAD with the length that the body would have (§9.3.2).
fn filled(method: &Method, status: StatusCode, body: Content) -> Response<Body> {
    let length = HeaderValue::from(body.len());
    let mut answer = empty(status);
    answer.headers_mut().insert(header::CONTENT_LENGTH, length);
    if method != Method::HEAD {
        *answer.body_mut() = match body.place() {
            Some(place) => Body::Grows(waiting::read(place.clone())),
            None => Body::Whole(body, 0),
        };
    }
    answer
}

/// What every answer carries, errors too: without it a script sees a network error instead of the status.
fn empty(status: StatusCode) -> Response<Body> {
    const COMMON: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = status;
    answer.headers_mut().reserve(12);
    for (name, value) in COMMON {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn with_cache(mut answer: Response<Body>, cache: HeaderValue) -> Response<Body> {
    answer.headers_mut().insert(header::CACHE_CONTROL, cache);
    answer
}

#[cfg(test)]
#[path = "respond_tests.rs"]
mod tests;
