//! The origin over real sockets: curl as HTTP/1.1 and HTTP/2 client, and peers that mean no good.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tandem::media::ChannelId;
use tandem::origin::{ChannelFeed, Closed, Directory, Limits, Running, start};
use tandem::package::{Cache, Lookup, Resource};

use super::http::{Client, ask, get, wait_for};

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-VERSION:7\n";

/// Larger than what the kernel buffers of both sides hold, so that a peer that does not read makes us wait.
const SEGMENT: usize = 32 << 20;

/// Quick, so that tests need not wait; still far from what a busy machine takes by itself.
fn quick() -> Limits {
    Limits {
        head: Duration::from_secs(1),
        read: Duration::from_secs(1),
        idle: Duration::from_secs(2),
        sweep: Duration::from_millis(100),
        ..Limits::default()
    }
}

struct Fixture {
    runtime: tokio::runtime::Runtime,
    origin: Option<Running>,
    at: SocketAddr,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let directory = Arc::new(Directory::default());
        let body: Bytes = (0..SEGMENT).map(|i| i as u8).collect::<Vec<u8>>().into();
        let feed = ChannelFeed::with(move |path| match path {
            "index.m3u8" => Lookup::Found(Resource {
                content_type: "application/vnd.apple.mpegurl",
                etag: "\"p\"".into(),
                cache: Cache::For(Duration::from_secs(1)),
                body: PLAYLIST.into(),
                gzip: Some(gzip(PLAYLIST.as_bytes()).into()),
            }),
            "v720/1.m4s" => Lookup::Found(Resource {
                content_type: "video/mp4",
                etag: "\"s\"".into(),
                cache: Cache::Immutable,
                body: body.clone().into(),
                gzip: None,
            }),
            "v720/2.m4s" => Lookup::NotYet(Duration::from_millis(2500)),
            _ => Lookup::Unknown,
        });
        directory.insert(&ChannelId::new("news").unwrap(), feed);
        let origin = start("127.0.0.1:0".parse().unwrap(), 2, directory, limits).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, at: origin.address(), origin: Some(origin) }
    }

    fn closed(&self, why: Closed) -> u64 {
        self.origin.as_ref().unwrap().counters().closed(why)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(origin) = self.origin.take() {
            self.runtime.block_on(origin.stop());
        }
    }
}

fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, plain).unwrap();
    encoder.finish().unwrap().into()
}

/// curl's standard output.
fn curl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("curl").args(["--silent", "--show-error", "--max-time", "60"]).args(arguments).output();
    let output = output.expect("curl is installed");
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn curl_agrees_over_http1_and_http2() {
    let fixture = Fixture::new(Limits::default());
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
        let told = "%{http_version} %{response_code} %{size_download} %header{etag} %header{content-length}";
        let quiet = [protocol, "--output", "/dev/null", "--write-out", told];
        let ask = |more: &[&str]| String::from_utf8(curl(&[&quiet, more].concat())).unwrap();
        let playlist = fixture.url("/live/news/index.m3u8");
        let segment = fixture.url("/live/news/v720/1.m4s");
        let size = SEGMENT.to_string();

        assert_eq!(ask(&[&segment]), format!("{version} 200 {size} \"s\" {size}"));
        assert_eq!(ask(&["--head", &segment]), format!("{version} 200 0 \"s\" {size}"));
        assert_eq!(ask(&["--range", "0-9", &segment]), format!("{version} 206 10 \"s\" 10"));
        assert_eq!(ask(&["--header", "if-none-match: \"s\"", &segment]), format!("{version} 304 0 \"s\" "));
        assert_eq!(ask(&["--range", "99999999-", &segment]), format!("{version} 416 0 \"s\" 0"));
        assert_eq!(ask(&["--head", &playlist]), format!("{version} 200 0 \"p\" {}", PLAYLIST.len()));
        assert_eq!(ask(&["--request", "OPTIONS", &playlist]), format!("{version} 204 0  "));

        assert_eq!(curl(&[protocol, &playlist]), PLAYLIST.as_bytes(), "{version}: plain");
        assert_eq!(curl(&[protocol, "--compressed", &playlist]), PLAYLIST.as_bytes(), "{version}: gzip");
        let body = curl(&[protocol, &segment]);
        assert!(body.iter().enumerate().all(|(i, &b)| b == i as u8), "{version}: segment bytes");
        let put = ask(&["--request", "PUT", &segment]);
        assert!(put.starts_with(&format!("{version} 405 ")), "{put}");
    }
}

#[test]
fn what_is_not_there() {
    let fixture = Fixture::new(Limits::default());
    for (path, status, cache) in [
        ("/live/news/v720/2.m4s", 404, "public, max-age=2"),
        ("/live/news/none.m3u8", 404, "public, max-age=1"),
        ("/live/sport/index.m3u8", 404, "public, max-age=1"),
        ("/live/news/../news/index.m3u8", 404, "public, max-age=1"),
        ("/live/news/%2e%2e/index.m3u8", 404, "public, max-age=1"),
        ("/live/news/%zz", 400, "no-store"),
        ("/", 404, "public, max-age=1"),
    ] {
        let answer = get(fixture.at, path, &[]);
        assert_eq!((answer.status, answer.field("cache-control")), (status, cache), "{path}");
        assert_eq!(answer.field("access-control-allow-origin"), "*", "{path}");
        assert!(!answer.field("date").is_empty(), "{path}");
    }
    // The query belongs to nobody yet, an absolute target means the same path.
    assert_eq!(get(fixture.at, "/live/news/index.m3u8?_HLS_msn=1", &[]).status, 200);
    assert_eq!(get(fixture.at, "http://elsewhere.example/live/news/index.m3u8", &[]).status, 200);
    let refused = ask(fixture.at, "DELETE", "/live/news/index.m3u8", &[]);
    assert_eq!((refused.status, refused.field("allow")), (405, "GET, HEAD, OPTIONS"));
}

#[test]
fn health_follows_publication_and_time_is_now() {
    let directory = Arc::new(Directory::default());
    let origin = start("127.0.0.1:0".parse().unwrap(), 1, Arc::clone(&directory), Limits::default()).unwrap();
    let at = origin.address();
    let health = || {
        let answer = get(at, "/healthz", &[]);
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(health(), (503, "no channel publishes\n".into()), "no channel");

    let on = Arc::new(AtomicBool::new(false));
    let channel = ChannelId::new("news").unwrap();
    let switch = Arc::clone(&on);
    let feed = ChannelFeed::with(move |path| match (path, switch.load(Ordering::Relaxed)) {
        ("index.m3u8", true) => Lookup::Found(Resource {
            content_type: "application/vnd.apple.mpegurl",
            etag: "\"p\"".into(),
            cache: Cache::For(Duration::from_secs(1)),
            body: PLAYLIST.into(),
            gzip: None,
        }),
        _ => Lookup::Unknown,
    });
    directory.insert(&channel, feed);
    assert_eq!(health().0, 503, "a channel that has published nothing");
    let early = get(at, "/live/news/index.m3u8", &[]);
    assert_eq!((early.status, early.field("retry-after")), (503, "1"), "its playlist may be asked for again");
    on.store(true, Ordering::Relaxed);
    assert_eq!(health(), (200, "ok\n".into()), "it publishes");
    assert_eq!(get(at, "/live/news/index.m3u8", &[]).status, 200);
    directory.remove(&channel);
    assert_eq!((health().0, get(at, "/live/news/index.m3u8", &[]).status), (503, 404), "it is gone");

    let time = get(at, "/time", &["Origin: http://elsewhere.example"]);
    let (date, clock) = time.text().split_once('T').unwrap();
    assert!(date.len() == 10 && clock.ends_with('Z'), "{}", time.text());
    assert_eq!((time.field("cache-control"), time.field("access-control-allow-origin")), ("no-store", "*"));
    // The server's own Date lies in the same minute, or the next one.
    let minutes = |text: &str| text.split(':').nth(1).unwrap().parse::<i32>().unwrap();
    let apart = (minutes(time.field("date")) - minutes(clock)).rem_euclid(60);
    assert!(apart == 0 || apart == 1 || apart == 59, "{} against {}", time.field("date"), time.text());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let fixture = Fixture::new(Limits::default());
    let mut client = Client::connect(fixture.at);
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    client
        .send(
            request("/live/news/index.m3u8")
                + &request("/nothing")
                + &request("/live/news/v720/1.m4s")
                + &request("/time"),
        )
        .unwrap();
    let answers: Vec<_> = (0..4).map(|_| client.answer(false).unwrap()).collect();
    assert_eq!(answers.iter().map(|a| a.status).collect::<Vec<_>>(), [200, 404, 200, 200]);
    assert_eq!((answers[0].text(), answers[2].body.len()), (PLAYLIST, SEGMENT));
}

#[test]
fn a_head_of_more_than_8_kb_is_refused() {
    let fixture = Fixture::new(Limits::default());
    let fits = get(fixture.at, "/time", &[&format!("X: {}", "x".repeat(6000))]);
    assert_eq!(fits.status, 200);
    let mut client = Client::connect(fixture.at);
    // The server may close before it has read all of it.
    let _ = client.send(format!("GET /time HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(16_000)));
    assert_eq!(client.answer(false).unwrap().status, 431);
    client.closed();
}

#[test]
fn a_body_on_get_is_refused_and_never_read_as_a_request() {
    let fixture = Fixture::new(Limits::default());
    let hidden = "GET /time HTTP/1.1\r\nHost: x\r\n\r\n";
    for framing in [
        format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Content-Length: 5\r\nContent-Length: 0\r\n\r\n{hidden}"),
    ] {
        let mut client = Client::connect(fixture.at);
        client.send(format!("GET /live/news/index.m3u8 HTTP/1.1\r\nHost: x\r\n{framing}")).unwrap();
        let answer = client.answer(false).unwrap();
        assert_eq!((answer.status, answer.field("connection")), (400, "close"), "{framing:?}");
        assert_eq!(client.closed(), b"", "{framing:?}: nothing more is answered");
    }
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let fixture = Fixture::new(Limits::default());
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut client = Client::connect(fixture.at);
        client.send(garbage).unwrap();
        client.closed();
        assert_eq!(get(fixture.at, "/live/news/index.m3u8", &[]).status, 200, "after {garbage:?}");
    }
}

#[test]
fn a_head_that_drips_in_is_cut_off_and_nobody_else_is() {
    let fixture = Fixture::new(quick());
    let mut slow = Client::connect(fixture.at);
    let mut silent = Client::connect(fixture.at);
    slow.send("GET /time HTTP/1.1\r\nHost: x\r\n").unwrap();
    wait_for("the slow head to be cut off", || {
        // One more byte each time: activity is no excuse.
        let _ = slow.send("X");
        assert_eq!(get(fixture.at, "/live/news/index.m3u8", &[]).status, 200);
        (fixture.closed(Closed::SlowHead) == 2).then_some(())
    });
    assert_eq!(silent.closed(), b"", "one that says nothing at all is cut off too");
    wait_for("the socket to say so", || slow.send("X").err());
}

#[test]
fn a_peer_that_does_not_read_is_cut_off() {
    let fixture = Fixture::new(quick());
    let mut lazy = Client::connect(fixture.at);
    lazy.send("GET /live/news/v720/1.m4s HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    wait_for("the lazy reader to be cut off", || (fixture.closed(Closed::SlowReader) == 1).then_some(()));
    assert!(lazy.closed().len() < SEGMENT, "it got the whole segment");
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let fixture = Fixture::new(quick());
    let mut client = Client::connect(fixture.at);
    client.send("GET /time HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(client.answer(false).unwrap().status, 200);
    assert_eq!(client.closed(), b"");
    assert_eq!((fixture.closed(Closed::Idle), fixture.closed(Closed::SlowHead)), (1, 0));
}

#[test]
fn connections_have_a_bound_and_room_comes_back() {
    let fixture = Fixture::new(Limits { connections: 3, ..Limits::default() });
    // Two threads of three connections each; the kernel chooses the thread.
    let mut held: Vec<_> = (0..40).map(|_| Client::connect(fixture.at)).collect();
    wait_for("the bound", || (fixture.closed(Closed::Full) == 34).then_some(()));
    assert_eq!(fixture.origin.as_ref().unwrap().counters().open(), 6);
    held.clear();
    wait_for("room", || {
        let mut client = Client::connect(fixture.at);
        client.send("GET /time HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        client.answer(false).ok()
    });
}

#[test]
fn stop_finishes_what_is_in_flight() {
    let mut fixture = Fixture::new(Limits::default());
    let mut client = Client::connect(fixture.at);
    let mut idle = Client::connect(fixture.at);
    idle.send("GET /time HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(idle.answer(false).unwrap().status, 200);
    client.send("GET /live/news/v720/1.m4s HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let counters = fixture.origin.as_ref().unwrap().counters();
    wait_for("the answer to begin", || (counters.sent_bytes() > 100_000).then_some(()));

    let origin = fixture.origin.take().unwrap();
    let at = fixture.at;
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| fixture.runtime.block_on(origin.stop()));
        wait_for("the port to close", || TcpStream::connect(at).err());
        assert_eq!(idle.closed(), b"", "one without a request is closed at once");
        assert_eq!(client.answer(false).unwrap().body.len(), SEGMENT, "the answer in flight is whole");
        assert_eq!(client.closed(), b"");
        stopping.join().unwrap();
    });
}
