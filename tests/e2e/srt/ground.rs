//! Gateways of a test, what arrived through them, and streams whose every packet is known.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tandem::config::{Input, Secret, Source, SrtInput, SrtListener, SrtMode};
use tandem::ingest::IngestEvent;
use tandem::ingest::srt::{self, Handle, News};
use tandem::media::{ChannelId, SourceId, SourceName};
use tandem::monitor::LinkStatus;
use tandem::output::exits::Exits;
use tokio::sync::mpsc;

use crate::ports::free_udp_address;

/// Generous: other jobs may keep the machine busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const KEY: &str = "correct-horse-battery";
pub const MESSAGE: usize = 1316;
/// srt-live-transmit from stdin to URL: each message at once, and no word about it.
const TRANSMIT: [&str; 6] = ["-q", "-ll:fatal", "-buffering:1", "-chunk:1316", "file://con", "URL"];

/// What arrived of one source.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub ups: Vec<String>,
    pub downs: Vec<String>,
    pub refusals: Vec<String>,
    pub data: Vec<u8>,
    pub link: Option<LinkStatus>,
    /// Data or figures while no connection was up.
    pub out_of_order: usize,
}

/// Running gateways and all that came out of them.
pub struct Ground {
    pub handle: Handle,
    pub news: mpsc::Receiver<News>,
    pub listen: SocketAddr,
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
}

pub fn id(name: &str) -> SourceId {
    let (channel, source) = name.split_once('/').expect("channel/source");
    SourceId { channel: ChannelId::new(channel).expect("a name"), source: SourceName::new(source).expect("a name") }
}

pub fn source(name: &str, mode: SrtMode, key: Option<&str>) -> Source {
    let input = SrtInput {
        mode,
        latency: Duration::from_millis(300),
        passphrase: key.map(|key| Secret::new(key.into())),
        key_length: 16,
        allow: Vec::new(),
    };
    Source { id: id(name), input: Input::Srt(input), program: None }
}

pub fn shared(name: &str) -> Source {
    source(name, SrtMode::Shared, None)
}

impl Ground {
    /// Starts the gateways for `sources` and waits until each that listens does.
    pub async fn open(sources: &[Source]) -> Self {
        let _ = tracing_subscriber::fmt().with_env_filter("info").with_test_writer().try_init();
        let listener = SrtListener { listen: free_udp_address(), memory_max: 1 << 30 };
        let (sink, mut events) = mpsc::channel(4096);
        let program = PathBuf::from(env!("CARGO_BIN_EXE_tandem"));
        let (handle, news) = srt::start(program, &listener, sources, |_| Some(sink.clone()), &Exits::default());
        let seen: Arc<Mutex<BTreeMap<String, Seen>>> = Arc::default();
        let taken = seen.clone();
        tokio::spawn(async move {
            while let Some((id, event)) = events.recv().await {
                let mut all = taken.lock().expect("no panic inside");
                take(all.entry(id.to_string()).or_default(), event);
            }
        });
        let ground = Self { handle, news, listen: listener.listen, seen };
        ground.until("every gateway is ready", |g| g.handle.status().iter().all(|s| s.listening)).await;
        ground
    }

    pub fn seen(&self, name: &str) -> Seen {
        self.seen.lock().expect("no panic inside").get(name).cloned().unwrap_or_default()
    }

    /// What was seen, to be asked when the ground itself is gone.
    pub fn watch(&self) -> impl Fn(&str) -> Seen + use<> {
        let all = self.seen.clone();
        move |name| all.lock().expect("no panic inside").get(name).cloned().unwrap_or_default()
    }

    pub fn received(&self, name: &str) -> usize {
        self.seen.lock().expect("no panic inside").get(name).map_or(0, |seen| seen.data.len())
    }

    pub async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !reached(self) {
            let all: Vec<_> = {
                let seen = self.seen.lock().expect("no panic inside");
                seen.iter()
                    .map(|(n, s)| format!("{n}: {} bytes, {:?} {:?} {:?}", s.data.len(), s.ups, s.downs, s.link))
                    .collect()
            };
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}; {all:#?}; {:?}", self.handle.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn until_received(&self, name: &str, bytes: usize) {
        self.until(&format!("{bytes} bytes of {name} arrived"), |g| g.received(name) >= bytes).await;
    }

    /// srt-live-transmit that publishes `stream` as `name` at pace, and stays connected when it is through.
    pub async fn transmit(&self, name: &str, url: &str, stream: Vec<u8>) -> Tool {
        let before = self.seen(name).ups.len();
        let mut tool = Tool::start("srt-live-transmit", &TRANSMIT.map(|a| if a == "URL" { url } else { a }));
        // What it reads before it is connected it throws away.
        self.until("srt-live-transmit is connected", |g| g.seen(name).ups.len() > before).await;
        let mut stdin = tool.stdin();
        thread::spawn(move || {
            feed(&mut stdin, &stream);
            thread::sleep(PATIENCE);
        });
        tool
    }

    /// Publishes over the shared port under its plain name.
    pub async fn publish(&self, name: &str, stream: Vec<u8>) -> Tool {
        self.transmit(name, &self.url(name, ""), stream).await
    }

    /// Address of the shared port for libsrt's own tools.
    pub fn url(&self, stream_id: &str, more: &str) -> String {
        format!("srt://{}?streamid={stream_id}&latency=300{more}", self.listen)
    }
}

/// Waits for what is no part of a ground.
pub async fn until(what: &str, reached: impl Fn() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn take(seen: &mut Seen, event: IngestEvent) {
    let up = seen.ups.len() > seen.downs.len();
    match event {
        IngestEvent::Up { peer } => seen.ups.push(peer),
        IngestEvent::Down { reason } => seen.downs.push(reason),
        IngestEvent::Refused { reason, .. } => seen.refusals.push(reason),
        IngestEvent::Data { data, .. } => {
            seen.out_of_order += usize::from(!up);
            let packets = data.chunks(188).filter(|packet| !packet.starts_with(&PADDING));
            packets.for_each(|packet| seen.data.extend_from_slice(packet));
        }
        IngestEvent::Media { .. } => panic!("SRT carries TS and nothing else"),
        IngestEvent::Link(link) => {
            seen.out_of_order += usize::from(!up);
            seen.link = Some(link);
        }
    }
}

/// `count` TS packets, each different from every other of any `seed`.
pub fn ts(seed: u64, count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count * 188);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for index in 0..count {
        out.extend_from_slice(&[0x47, 0x01, 0x00, 0x10 | (index % 16) as u8]);
        out.extend_from_slice(&(index as u64).to_be_bytes());
        while out.len() % 188 != 0 {
            // Marsaglia's xorshift64.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            out.push(state as u8);
        }
    }
    out
}

/// Says where two streams part instead of printing them.
pub fn assert_same(got: &[u8], sent: &[u8]) {
    let parts = got.iter().zip(sent).position(|(a, b)| a != b);
    assert_eq!((parts, got.len()), (None, sent.len()), "first differing byte, and length");
}

/// Calls `send` with each message of `stream`, at about 4 Mbit/s.
pub fn paced(stream: &[u8], mut send: impl FnMut(&[u8])) {
    let start = Instant::now();
    for (i, message) in stream.chunks(MESSAGE).enumerate() {
        let due = start + Duration::from_micros(2632) * i as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        send(message);
    }
}

/// Null packets, which do not count.
const PADDING: [u8; 4] = [0x47, 0x1f, 0xff, 0x10];

/// Writes `stream` at pace to srt-live-transmit's stdin, and enough padding behind it to push it through stdio's buffer.
pub fn feed(stdin: &mut ChildStdin, stream: &[u8]) {
    // Fails when the test is over.
    paced(stream, |message| drop(stdin.write_all(message)));
    let mut packet = [0; 188];
    packet[..4].copy_from_slice(&PADDING);
    paced(&packet.repeat(7 * 5), |message| drop(stdin.write_all(message)));
}

/// A process of a test, killed at its end.
pub struct Tool(pub Child);

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Tool {
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self(command.spawn().unwrap_or_else(|e| panic!("{program}: {e}")))
    }

    pub fn stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().expect("piped, and taken once")
    }

    /// Its stderr up to the line that contains `word`, or to its end.
    pub fn complaint(&mut self, word: &str) -> String {
        let mut text = String::new();
        for line in BufReader::new(self.0.stderr.take().expect("piped")).lines() {
            text += &(line.expect("text") + "\n");
            if text.contains(word) {
                break;
            }
        }
        text
    }
}
