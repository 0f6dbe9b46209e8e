//! Sources that flow and are no good: black, frozen, silent, and with wrong bytes in their pictures. Each is left for a clean one.
//!
//! One ffmpeg makes five copies of a programme, each encoded by itself, and spoils four of them one after the other. They pass a relay
//! that notes when the first spoilt picture or sound was sent, and are published over SRT. One pipeline has all five, in
//! order, so it has to leave four.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::harness::{Options, Process, Publisher, Server, need, publish, signal};
use crate::ports::free_udp;

const SOURCES: [&str; 5] = ["s1", "s2", "s3", "s4", "s5"];
/// PIDs of ffmpeg's multiplexer.
const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;
/// When each is spoilt, seconds into the programme, and on which PID.
const SPOILT: [(u64, u16); 4] = [(10, VIDEO), (16, VIDEO), (22, AUDIO), (28, VIDEO)];
const WORDS: [&str; 4] = ["black", "stands still", "silence", "cannot be decoded"];
/// What all four conditions must last.
const AFTER_MS: i64 = 2000;
/// What SRT keeps back, by the config.
const LATENCY_MS: i64 = 200;

/// What came of one spoilt source, ms.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// From the first spoilt unit leaving the publisher to the change of source.
    pub sent_to_switch: i64,
    /// From the instant it began, by the event, to the change of source.
    pub began_to_switch: i64,
}

/// Passes datagrams on; remembers when the first PES packet of `pid` at or behind `at` passed.
struct Relay {
    passed: Arc<OnceLock<SystemTime>>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    fn start(from: u16, to: u16, spoilt: Option<(u64, u16)>) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, from)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
        let (passed, stop) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
        let relay = Self { passed: Arc::clone(&passed), stop: Arc::clone(&stop) };
        std::thread::spawn(move || {
            let (mut datagram, mut first) = ([0; 2048], None);
            while !stop.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut datagram) else { continue };
                for packet in datagram[..length].chunks_exact(188) {
                    let Some((pid, pts)) = pes_time(packet) else { continue };
                    let first = *first.get_or_insert(pts);
                    // Half a picture early: what is sent at that time is spoilt.
                    if spoilt.is_some_and(|(at, of)| pid == of && pts + 1800 >= first + at * 90_000) {
                        passed.get_or_init(SystemTime::now);
                    }
                }
                let _ = socket.send_to(&datagram[..length], (Ipv4Addr::LOCALHOST, to));
            }
        });
        relay
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// PID and PTS where a PES packet with one begins (ISO/IEC 13818-1 §2.4.3).
fn pes_time(packet: &[u8]) -> Option<(u16, u64)> {
    let starts = packet[0] == 0x47 && packet[1] & 0x40 != 0;
    let adaptation = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
    let pes = packet.get(4 + adaptation..).filter(|_| starts && packet[3] & 0x10 != 0)?;
    let head = pes.get(..14).filter(|pes| pes[..3] == [0, 0, 1] && pes[7] & 0x80 != 0)?;
    let bits = |at: usize| u64::from(head[at]);
    let pts = (bits(9) >> 1 & 7) << 30 | bits(10) << 22 | (bits(11) >> 1) << 15 | bits(12) << 7 | bits(13) >> 1;
    Some((u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]), pts))
}

/// Five copies, spoilt as [`SPOILT`] says, to these UDP ports.
fn programme(ports: &[u16; 5]) -> Process {
    need("ffmpeg");
    let [black, frozen, silent, wrong] = SPOILT.map(|(at, _)| at);
    let graph = format!(
        "[0:v]split=6[a][b][c][d][e][f];[a]drawbox=t=fill:c=black:enable='gte(t,{black})'[black];\
         [c]trim=end={frozen}[cut];[b][cut]overlay=eof_action=repeat[frozen];\
         [1:a]asplit=5[p][q][r][s][t];[r]volume=0:enable='gte(t,{silent})'[silent]"
    );
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25"]);
    command.args(["-re", "-f", "lavfi", "-i", "sine=r=48000:f=500", "-filter_complex", &graph]);
    let noise = format!("noise=amount='if(gte(n,{}),300,0)'", wrong * 25);
    let maps = [("[black]", "[p]"), ("[frozen]", "[q]"), ("[d]", "[silent]"), ("[e]", "[s]"), ("[f]", "[t]")];
    for (at, ((video, audio), port)) in maps.into_iter().zip(ports).enumerate() {
        command.args(["-map", video, "-map", audio, "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "500k"]);
        command.args(["-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k"]);
        if at == 3 {
            command.args(["-bsf:v", &noise]);
        }
        let to = format!("udp://127.0.0.1:{port}?pkt_size=1316");
        command.args(["-muxdelay", "0", "-muxpreload", "0", "-f", "mpegts", &to]);
    }
    Process::start("ffmpeg", command.stdout(Stdio::null()))
}

fn events(server: &Server, kind: &str) -> Vec<Value> {
    let all = server.get("/v1/events").expect("the control port answers");
    let all = all["events"].as_array().expect("a list");
    all.iter().filter(|event| event["kind"] == kind).cloned().collect()
}

fn ms(date: &Value) -> i64 {
    let date = OffsetDateTime::parse(date.as_str().expect("a date"), &Rfc3339).expect("RFC 3339");
    i64::try_from(date.unix_timestamp_nanos() / 1_000_000).expect("this age")
}

fn source(server: &Server, name: &str) -> Value {
    let status = server.status();
    let all = status["sources"].as_array().expect("a list");
    all.iter().find(|source| source["name"] == name).cloned().unwrap_or_else(|| panic!("{name} in {status:#}"))
}

/// Plays it all, and tells how fast each of the four was left.
pub fn run() -> [Left; 4] {
    let conditions = "[channel.failover]\nhold_down = \"0s\"\nblack = { after = \"2s\" }\nfrozen = { after = \"2s\" }\n\
                      silent = { after = \"2s\" }\ndecoder_errors = { after = \"2s\" }\n";
    let options = Options {
        sources_a: SOURCES.to_vec(),
        sources_b: Vec::new(),
        extra: conditions.to_owned(),
        ..Options::default()
    };
    let server = Server::start(&options);
    let spoilt = SPOILT.into_iter().map(Some).chain([None]);
    let legs = SOURCES.iter().zip(spoilt).map(|(name, spoilt)| {
        let (from, to) = (free_udp(), free_udp());
        let leg = publish(to, &server.srt_url(name), Publisher::SrtLiveTransmit);
        (from, Relay::start(from, to, spoilt), leg)
    });
    let legs: Vec<_> = legs.collect();
    let ports: Vec<u16> = legs.iter().map(|(port, ..)| *port).collect();
    let _programme = programme(ports.as_slice().try_into().expect("five"));
    server.wait("the first source is on air", |s| s.pipeline("a")["source"] == "s1");
    for name in &SOURCES[1..] {
        server.wait("the next source is on air", |s| s.pipeline("a")["source"] == *name);
    }
    server.wait("each is known for what it is", |s| {
        let [black, frozen, silent, wrong, clean] = SOURCES.map(|name| source(s, name)["content"].clone());
        black["black"] == true
            && frozen["frozen"] == true
            && silent["silent"] == true
            && wrong["decoder_errors"].as_u64() > Some(2)
            && [&clean["black"], &clean["frozen"], &clean["silent"]].iter().all(|state| **state == false)
            && clean["decoder_errors"] == 0
    });
    assert_eq!(source(&server, "s5")["health"]["score"], 100, "{:#}", source(&server, "s5"));
    let metrics = ureq::get(format!("http://127.0.0.1:{}/metrics", server.control)).call().expect("answers");
    let metrics = metrics.into_body().read_to_string().expect("text");
    for line in [
        "tandem_source_black{channel=\"test\",source=\"s1\"} 1",
        "tandem_source_frozen{channel=\"test\",source=\"s2\"} 1",
        "tandem_source_silent{channel=\"test\",source=\"s3\"} 1",
        "tandem_source_silent{channel=\"test\",source=\"s5\"} 0",
        "tandem_probe_running{channel=\"test\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let switches = events(&server, "source-switched");
    let left: Vec<Left> = (0..4)
        .map(|at| {
            let to = SOURCES[at + 1];
            let event = switches.iter().find(|event| event["source"] == to).expect("it was taken");
            let (text, switched) = (event["text"].as_str().expect("text"), ms(&event["at"]));
            assert!(text.contains(WORDS[at]) && text.contains(SOURCES[at]), "{text}");
            let sent = legs[at].1.passed.get().expect("it passed").duration_since(UNIX_EPOCH).expect("after 1970");
            let sent = i64::try_from(sent.as_millis()).expect("this age");
            Left { sent_to_switch: switched - sent, began_to_switch: switched - ms(&event["since"]) }
        })
        .collect();
    for (what, left) in WORDS.iter().zip(&left) {
        eprintln!(
            "{what}: left {} ms after it began, {} ms after it was sent ({LATENCY_MS} ms of latency in it)",
            left.began_to_switch, left.sent_to_switch
        );
        assert!(left.sent_to_switch >= AFTER_MS, "{what}: left too soon: {left:?}");
    }
    // Each was told as a fault of its source, too.
    let faults = events(&server, "source-fault");
    for (name, what) in SOURCES.iter().zip(WORDS) {
        let told = |e: &Value| e["source"] == *name && e["text"].as_str().is_some_and(|text| text.contains(what));
        assert!(faults.iter().any(told), "{name}: {what} in {faults:#?}");
    }
    the_probe_is_disposable(&server);
    left.try_into().expect("four")
}

fn the_probe_is_disposable(server: &Server) {
    let pid = server.status()["probe"]["pid"].as_u64().expect("it runs");
    signal(u32::try_from(pid).expect("a pid"), "KILL");
    server.wait("another probe runs", |s| s.status()["probe"]["starts"] == 2 && s.status()["probe"]["running"] == true);
    let died = events(server, "probe-died");
    assert_eq!(died.len(), 1, "{died:#?}");
    server.wait("it knows what it sees", |s| source(s, "s1")["content"]["black"] == true);
    assert_eq!(server.pipeline("a")["source"], "s5", "nothing else happened");
}

#[test]
fn what_flows_and_is_no_good_is_left() {
    run();
}

/// The promise: within the duration and 300 ms. To be run where nothing else takes the CPU.
pub fn within_300_ms() {
    for (what, left) in WORDS.iter().zip(run()) {
        assert!(left.sent_to_switch <= AFTER_MS + LATENCY_MS + 300, "{what}: {left:?}");
        assert!((AFTER_MS..=AFTER_MS + 300).contains(&left.began_to_switch), "{what}: {left:?}");
    }
}
