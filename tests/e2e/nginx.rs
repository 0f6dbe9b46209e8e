//! A real nginx with `deploy/nginx.conf` in front of the origin: what it keeps, for how long, and what reaches us.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use tandem::media::ChannelId;
use tandem::origin::{ChannelFeed, Directory, Kind, Limits, Running, start};
use tandem::package::{Cache, Lookup, Resource};

use super::http::{Answer, get, wait_for};
use crate::ports::free_tcp;

/// An origin whose content a test changes, and nginx in front of it.
struct Edge {
    content: Arc<Mutex<HashMap<String, Lookup>>>,
    origin: Running,
    nginx: Child,
    at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Edge {
    fn new() -> Self {
        let content: Arc<Mutex<HashMap<String, Lookup>>> = Arc::default();
        let directory = Arc::new(Directory::default());
        let shared = Arc::clone(&content);
        let feed = ChannelFeed::with(move |path| shared.lock().unwrap().get(path).cloned().unwrap_or(Lookup::Unknown));
        directory.insert(&ChannelId::new("news").unwrap(), feed);
        let origin = start("127.0.0.1:0".parse().unwrap(), 2, directory, Limits::default()).unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], free_tcp()));

        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx.conf");
        let example = std::fs::read_to_string(example).unwrap();
        let config = substitute(&example, "127.0.0.1:8080", &origin.address().to_string());
        let config = substitute(&config, "127.0.0.1:8088", &at.to_string());
        let config_file = folder.path().join("nginx.conf");
        std::fs::write(&config_file, config).unwrap();
        // Started by root, workers change to a user who may not enter our folder.
        let root = rustix::process::geteuid().is_root();
        let globals = if root { "daemon off; user root;" } else { "daemon off;" };
        let nginx = Command::new("nginx")
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&config_file)
            .args(["-g", globals])
            .spawn()
            .expect("nginx is installed");
        let edge = Self { content, origin, nginx, at, _folder: folder };
        wait_for("nginx to listen", || std::net::TcpStream::connect(at).ok());
        edge
    }

    fn put(&self, path: &str, found: Lookup) {
        self.content.lock().unwrap().insert(path.into(), found);
    }

    fn get(&self, path: &str, fields: &[&str]) -> Answer {
        get(self.at, &format!("/live/news/{path}"), fields)
    }

    /// How often the origin answered so.
    fn answered(&self, kind: Kind, status: u16) -> u64 {
        let requests = self.origin.counters().requests();
        requests.into_iter().find(|&(k, s, _)| (k, s) == (kind, status)).map_or(0, |(.., count)| count)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // Asked, not killed: only then does it take its workers with it.
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.nginx), rustix::process::Signal::TERM);
        let _ = self.nginx.wait();
    }
}

fn substitute(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "deploy/nginx.conf does not say {from}");
    text.replace(from, to)
}

fn segment(body: &'static [u8]) -> Lookup {
    Lookup::Found(Resource {
        content_type: "video/mp4",
        etag: "\"segment\"".into(),
        cache: Cache::Immutable,
        body: bytes::Bytes::from_static(body).into(),
        gzip: None,
    })
}

fn playlist(tag: &'static str, keep: Duration) -> Lookup {
    Lookup::Found(Resource {
        content_type: "application/vnd.apple.mpegurl",
        etag: tag.into(),
        cache: Cache::For(keep),
        body: tag.into(),
        gzip: Some("(gzip)".into()),
    })
}

#[test]
fn a_segment_is_fetched_once() {
    let edge = Edge::new();
    edge.put("v/1.m4s", segment(b"0123456789"));
    for want in ["MISS", "HIT", "HIT"] {
        let answer = edge.get("v/1.m4s", &[]);
        assert_eq!((answer.status, answer.field("x-cache"), answer.body.as_slice()), (200, want, &b"0123456789"[..]));
        assert_eq!(answer.field("cache-control"), "public, max-age=3600, immutable", "{want}");
        assert_eq!(answer.field("etag"), "\"segment\"", "{want}");
        assert_eq!(answer.field("access-control-allow-origin"), "*", "{want}");
    }
    let part = edge.get("v/1.m4s", &["Range: bytes=2-4"]);
    assert_eq!((part.status, part.field("x-cache"), part.text()), (206, "HIT", "234"));
    assert_eq!(edge.get("v/1.m4s", &["If-None-Match: \"segment\""]).status, 304);
    assert_eq!(edge.answered(Kind::Media, 200), 1);
}

#[test]
fn a_playlist_is_kept_for_its_time_and_then_asked_for_again() {
    let edge = Edge::new();
    let keep = Duration::from_secs(4);
    edge.put("index.m3u8", playlist("\"one\"", keep));
    let begun = Instant::now();
    assert_eq!(edge.get("index.m3u8", &[]).field("x-cache"), "MISS");
    let kept = edge.get("index.m3u8", &[]);
    if begun.elapsed() < keep {
        assert_eq!(kept.field("x-cache"), "HIT");
    }
    // Unchanged: a 304 from the origin renews it. nginx keeps whole seconds, so a little less than `keep` is right too.
    let renewed =
        wait_for("its time to pass", || Some(edge.get("index.m3u8", &[])).filter(|a| a.field("x-cache") != "HIT"));
    assert_eq!((renewed.field("x-cache"), renewed.text()), ("REVALIDATED", "\"one\""));
    assert!(begun.elapsed() > keep - Duration::from_secs(1), "kept for only {:?}", begun.elapsed());
    assert_eq!((edge.answered(Kind::Manifest, 200), edge.answered(Kind::Manifest, 304)), (1, 1));
    // Changed: the new one comes, no later than its time.
    edge.put("index.m3u8", playlist("\"two\"", keep));
    let changed = wait_for("the new one", || Some(edge.get("index.m3u8", &[])).filter(|a| a.field("x-cache") != "HIT"));
    assert_eq!((changed.field("x-cache"), changed.text()), ("EXPIRED", "\"two\""));
}

#[test]
fn coded_and_plain_playlists_are_kept_apart() {
    let edge = Edge::new();
    edge.put("index.m3u8", playlist("\"one\"", Duration::from_secs(60)));
    for (fields, want_cache, want_body) in [
        (&["Accept-Encoding: gzip, deflate, br"][..], "MISS", "(gzip)"),
        (&[], "MISS", "\"one\""),
        (&["Accept-Encoding: gzip"], "HIT", "(gzip)"),
        (&["Accept-Encoding: br"], "HIT", "\"one\""),
    ] {
        let answer = edge.get("index.m3u8", fields);
        assert_eq!((answer.field("x-cache"), answer.text()), (want_cache, want_body), "{fields:?}");
        assert_eq!(answer.field("vary"), "accept-encoding", "{fields:?}");
    }
}

#[test]
fn a_404_is_kept_until_the_segment_is_due_and_not_longer() {
    let edge = Edge::new();
    edge.put("v/2.m4s", Lookup::NotYet(Duration::from_millis(3500)));
    let early = edge.get("v/2.m4s", &[]);
    assert_eq!(
        (early.status, early.field("x-cache"), early.field("cache-control")),
        (404, "MISS", "public, max-age=3")
    );
    edge.put("v/2.m4s", segment(b"here"));
    let begun = Instant::now();
    let found = wait_for("the segment", || Some(edge.get("v/2.m4s", &[])).filter(|a| a.status == 200));
    assert_eq!(found.text(), "here");
    assert!(begun.elapsed() < Duration::from_secs(10), "hidden for {:?}", begun.elapsed());
    assert_eq!(edge.answered(Kind::Media, 404), 1, "the first 404 served all that came after it");

    edge.put("v/3.m4s", Lookup::NotYet(Duration::from_millis(900)));
    for _ in 0..3 {
        assert_eq!(edge.get("v/3.m4s", &[]).field("x-cache"), "MISS", "less than a second is not kept at all");
    }
}

#[test]
fn a_herd_becomes_one_request() {
    const HERD: usize = 20;
    let edge = Edge::new();
    edge.put("v/1.m4s", segment(&[7; 1 << 20]));
    let gate = Barrier::new(HERD);
    std::thread::scope(|scope| {
        for _ in 0..HERD {
            scope.spawn(|| {
                gate.wait();
                let answer = edge.get("v/1.m4s", &[]);
                assert_eq!((answer.status, answer.body.len()), (200, 1 << 20));
            });
        }
    });
    assert_eq!(edge.answered(Kind::Media, 200), 1);
}
