//! The control port over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use tandem::control::{Board, Config, Publish, Running, start};
use tandem::media::{ChannelId, ChannelTime, PipelineId, SourceId, SourceName};
use tandem::monitor::{ChannelStatus, Event, EventKind, EventLog, LadderStatus, PublishStatus, Severity};
use tandem::origin::Counters;
use tokio::sync::watch;

use super::http::{Client, ask, get};

struct Fixture {
    runtime: tokio::runtime::Runtime,
    control: Option<Running>,
    at: SocketAddr,
    status: watch::Sender<Arc<ChannelStatus>>,
    events: Arc<EventLog>,
}

fn news() -> ChannelId {
    ChannelId::new("news").unwrap()
}

fn status(title: &str) -> Arc<ChannelStatus> {
    Arc::new(ChannelStatus {
        id: news(),
        title: title.into(),
        encodes: true,
        sources: Vec::new(),
        pipelines: Vec::new(),
        ladder: LadderStatus::default(),
        publish: PublishStatus { newest: Some(7), segments: 3, ..PublishStatus::default() },
        dvr: None,
        other_host: None,
        loudness: Vec::new(),
        probe: None,
        outputs: Vec::new(),
    })
}

fn event(at_s: i64, text: &str) -> Event {
    Event {
        at: ChannelTime::from_ticks(at_s * 90_000),
        channel: news(),
        severity: Severity::Error,
        kind: EventKind::EncoderDied,
        source: None,
        pipeline: Some(PipelineId::A),
        since: None,
        text: text.into(),
    }
}

impl Fixture {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let events = Arc::new(EventLog::default());
        let board = Arc::new(Board::new(Arc::clone(&events)));
        let (sender, receiver) = watch::channel(status("News"));
        board.insert(&news(), receiver);
        let source = SourceId { channel: news(), source: SourceName::new("main").unwrap() };
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            origin: "127.0.0.1:8080".parse().unwrap(),
            publish: vec![Publish { source, listen: "0.0.0.0:9710".parse().unwrap(), shared: true }],
            hosts: Vec::new(),
        };
        let control = runtime.block_on(start(config, board, Some(Arc::new(Counters::new(1))))).unwrap();
        Self { runtime, at: control.address(), control: Some(control), status: sender, events }
    }

    /// A follower of the event stream; `field` is one more header line.
    fn follow(&self, field: &str) -> Stream {
        let mut client = Client::connect(self.at);
        client.send(format!("GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n{field}\r\n")).unwrap();
        let head = client.answer(true).unwrap();
        assert_eq!((head.status, head.field("content-type")), (200, "text/event-stream"));
        Stream(client)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            self.runtime.block_on(control.stop());
        }
    }
}

struct Stream(Client);

impl Stream {
    /// The next event: name, id, data.
    fn next(&mut self) -> (String, String, serde_json::Value) {
        let (mut name, mut id, mut data) = (String::new(), String::new(), serde_json::Value::Null);
        loop {
            let line = self.0.line();
            match line.split_once(": ") {
                Some(("event", value)) => name = value.into(),
                Some(("id", value)) => id = value.into(),
                Some(("data", value)) => data = serde_json::from_str(value).unwrap(),
                // An empty line ends an event; chunk sizes and comments stand between them.
                _ if line.is_empty() && !name.is_empty() => return (name, id, data),
                _ => {}
            }
        }
    }
}

#[test]
fn the_page_comes_from_the_binary_under_a_strict_policy() {
    let fixture = Fixture::new();
    let page = get(fixture.at, "/", &[]);
    assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.field("content-security-policy");
    for rule in
        ["default-src 'none'", "script-src 'self'", "connect-src 'self' http://127.0.0.1:8080", "media-src blob:"]
    {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(page.field("access-control-allow-origin").is_empty(), "other sites may not read it");
    // Everything the page asks for is there, and nothing comes from elsewhere.
    let mut files = 0;
    for attribute in page.text().split([' ', '>']).filter(|a| a.starts_with("href=") || a.starts_with("src=")) {
        let reference = attribute.split('"').nth(1).unwrap();
        if reference.starts_with('#') {
            continue;
        }
        let file = get(fixture.at, reference, &[]);
        assert_eq!(file.status, 200, "{reference}");
        files += 1;
        if let tag @ ("/app.js" | "/style.css") = reference {
            assert!(!file.body.is_empty(), "{tag}");
            let again = get(fixture.at, reference, &[&format!("If-None-Match: {}", file.field("etag"))]);
            assert_eq!(again.status, 304, "{reference}");
        }
    }
    assert!(files >= 5, "only {files} references found");
    assert_eq!(get(fixture.at, "/nothing.js", &[]).status, 404);
    assert_eq!(get(fixture.at, "/..%2fCargo.toml", &[]).status, 404);
    assert_eq!(ask(fixture.at, "POST", "/v1/channels", &[]).status, 405);
}

#[test]
fn a_strange_name_is_refused() {
    let fixture = Fixture::new();
    for (host, want) in [
        ("localhost:8081", 200),
        ("127.0.0.1", 200),
        ("[::1]:8081", 200),
        ("rebound.example:8081", 421),
        ("localhost.rebound.example", 421),
        ("a b", 400),
    ] {
        for path in ["/", "/v1/channels", "/metrics"] {
            let mut client = Client::connect(fixture.at);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
            assert_eq!(client.answer(false).unwrap().status, want, "{host} {path}");
        }
    }
    let mut client = Client::connect(fixture.at);
    client.send("GET /v1/channels HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(client.answer(false).unwrap().status, 400, "no name at all");
}

#[test]
fn state_as_json() {
    let fixture = Fixture::new();
    fixture.events.report(event(1_795_269_600, "gone"));
    let json = |path: &str| -> serde_json::Value { serde_json::from_slice(&get(fixture.at, path, &[]).body).unwrap() };
    assert_eq!(json("/v1/channels")["channels"][0]["publish"]["newest"], 7);
    assert_eq!(json("/v1/channels/news")["title"], "News");
    assert_eq!(get(fixture.at, "/v1/channels/sport", &[]).status, 404);
    assert_eq!(get(fixture.at, "/v1/channels/NOT%20a%20name", &[]).status, 404);
    let entry = &json("/v1/events")["events"][0];
    assert_eq!((&entry["at"], &entry["kind"]), (&"2026-11-21T14:00:00Z".into(), &"encoder-died".into()));
    assert_eq!((&entry["pipeline"], &entry["severity"], &entry["number"]), (&"a".into(), &"error".into(), &1.into()));

    // Addresses are spelled with the name the client used.
    let mut client = Client::connect(fixture.at);
    client.send("GET /v1/origin HTTP/1.1\r\nHost: tandem.localhost:9\r\n\r\n").unwrap();
    let told: serde_json::Value = serde_json::from_slice(&client.answer(false).unwrap().body).unwrap();
    assert_eq!(told["origin"], "http://tandem.localhost:8080");
    assert_eq!(told["publish"][0]["url"], "srt://tandem.localhost:9710?streamid=news/main");
}

#[test]
fn the_stream_tells_changes_and_continues_after_a_break() {
    let fixture = Fixture::new();
    fixture.events.report(event(1, "before"));
    let mut stream = fixture.follow("");
    let (first, second) = (stream.next(), stream.next());
    let (told, known) = if first.0 == "status" { (first, second) } else { (second, first) };
    assert_eq!((told.0.as_str(), &told.2["channels"][0]["title"]), ("status", &"News".into()));
    assert_eq!((known.0.as_str(), &known.2["number"], &known.2["text"]), ("event", &1.into(), &"before".into()));

    fixture.status.send_replace(status("Other news"));
    assert_eq!(stream.next().2["channels"][0]["title"], "Other news");
    fixture.events.report(event(3, "now"));
    let (_, name, now) = stream.next();
    assert_eq!(now["text"], "now");

    drop(stream);
    fixture.events.report(event(5, "meanwhile"));
    for (last, want) in [
        (name.as_str(), &["meanwhile"][..]),
        ("7-2", &["before", "now", "meanwhile"]),
        ("junk", &["before", "now", "meanwhile"]),
    ] {
        let mut again = fixture.follow(&format!("Last-Event-ID: {last}\r\n"));
        let got: Vec<_> = (0..=want.len()).map(|_| again.next()).filter(|e| e.0 == "event").collect();
        assert_eq!(got.iter().map(|e| e.2["text"].as_str().unwrap()).collect::<Vec<_>>(), want, "after {last}");
    }
}

#[test]
fn metrics_are_openmetrics() {
    let fixture = Fixture::new();
    fixture.events.report(event(1, "gone"));
    fixture.events.report(event(1, "gone"));
    let answer = get(fixture.at, "/metrics", &[]);
    assert_eq!(answer.field("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text();
    for line in [
        "tandem_channel_newest_segment{channel=\"news\"} 7.0",
        "tandem_channel_published_segments_total{channel=\"news\"} 3",
        "tandem_events_total{channel=\"news\",kind=\"encoder-died\",severity=\"error\"} 2",
        "tandem_origin_sent_bytes_total 0",
        "# UNIT tandem_origin_sent_bytes bytes",
    ] {
        assert!(text.lines().any(|l| l == line), "no line `{line}` in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn stop_ends_streams() {
    let mut fixture = Fixture::new();
    let mut stream = fixture.follow("");
    stream.next();
    let control = fixture.control.take().unwrap();
    fixture.runtime.block_on(control.stop());
    stream.0.closed();
}
