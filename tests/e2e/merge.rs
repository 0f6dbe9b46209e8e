//! Hitless merge: copies of one encode by two ways, each with faults of its own, and every frame accounted for at the viewer.
//!
//! Datagrams are lost between the encoder and the transport, so what SRT would send again is not what is mended here. No
//! datagram is lost on both ways.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Inspection, Options, Process, Server, need, signal_by_ffmpeg, tandem};
use crate::ports::free_udp;
use crate::relay::{Fork, Leg};

/// Lost on each path by chance, of a hundred datagrams.
const LOSS: u64 = 20;
/// How long either path is cut, in seconds, where nothing else is asked for; `make soak` asks for ten.
const CUT: u64 = 4;
const SKEW: Duration = Duration::from_millis(300);

/// A server with one merged source `main` of the paths given as a config writes them, window 600 ms.
fn server(paths: [(&str, String); 2]) -> Server {
    let [(one, _), (two, _)] = &paths;
    let mut sources = format!(
        "[[channel.source]]\nid = \"main\"\ntype = \"merge\"\nof = [\"{one}\", \"{two}\"]\nrecovery_window = \"600ms\"\n"
    );
    for (id, keys) in &paths {
        sources += &format!("[[channel.source]]\nid = \"{id}\"\n{keys}\n");
    }
    let options =
        Options { sources_a: vec!["main"], sources_b: Vec::new(), sources: Some(sources), ..Options::default() };
    Server::start(&options)
}

fn main_source(server: &Server) -> Value {
    server.status()["sources"][0].clone()
}

fn path(server: &Server, at: usize) -> Value {
    main_source(server)["merge"]["paths"][at].clone()
}

fn wait_merged(server: &Server, paths: &[usize]) {
    server.wait("the paths take part", |s| paths.iter().all(|at| path(s, *at)["merged"] == true));
}

fn srt_live_transmit(udp: u16, to: &str) -> Process {
    need("srt-live-transmit");
    let mut command = Command::new("srt-live-transmit");
    command.args(["-q", "-a:yes", &format!("udp://127.0.0.1:{udp}?rcvbuf=4194304"), to]);
    Process::start("srt-live-transmit", command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// What a merge has counted, once both paths take part and lose by chance: before, it would be the only copy of a datagram.
fn merged_by_now(server: &Server, fork: &Fork) -> [u64; 2] {
    server.wait_on_air();
    wait_merged(server, &[0, 1]);
    fork.lose(LOSS);
    let source = main_source(server);
    [&source["continuity_errors"], &source["merge"]["unrecovered"]].map(|count| count.as_u64().expect("a number"))
}

/// What a merge must have done, whatever its paths went through.
fn assert_nothing_was_lost(server: &Server, before: [u64; 2], look: Inspection, fork: &Fork, what: &str) -> Value {
    let verdict = look.verdict();
    let source = main_source(server);
    let (sent, lost) = fork.counts();
    println!("{what}: {lost} of {sent} datagrams lost; {:#}", source["merge"]);
    verdict.assert_clean(what);
    let [errors, unrecovered] = before;
    assert_eq!(
        (&source["continuity_errors"], &source["merge"]["unrecovered"]),
        (&errors.into(), &unrecovered.into()),
        "{source:#}"
    );
    for path in source["merge"]["paths"].as_array().expect("a list") {
        assert!(path["contributed"].as_u64() > Some(0) && path["saved"].as_u64() > Some(50), "{source:#}");
    }
    source
}

/// Nothing passes on a leg for so long. Chance has no part in it: what the other one loses until this one takes part again is lost.
fn cut(server: &Server, fork: &Fork, leg: usize, seconds: u64) {
    fork.lose(0);
    std::thread::sleep(2 * SKEW);
    fork.cut(leg, true);
    server.wait("the cut path is told", |s| {
        ["silent", "offline"].contains(&path(s, leg)["alarm"].as_str().unwrap_or(""))
    });
    std::thread::sleep(Duration::from_secs(seconds));
    fork.cut(leg, false);
    wait_merged(server, &[leg]);
    fork.lose(LOSS);
}

/// What feeds a path is killed and started anew.
fn restart(server: &Server, fork: &Fork, leg: usize, sender: Process, start: impl FnOnce() -> Process) -> Process {
    // What is on its way when it is killed must have a copy.
    fork.lose(0);
    std::thread::sleep(2 * SKEW);
    fork.cut(leg, true);
    drop(sender);
    server.wait("the killed sender's path is told", |s| path(s, leg)["merged"] == false);
    let sender = start();
    fork.cut(leg, false);
    wait_merged(server, &[leg]);
    fork.lose(LOSS);
    sender
}

#[test]
fn rtp_beside_rtp_loses_nothing() {
    rtp_beside_rtp(CUT);
}

#[test]
fn srt_beside_srt_loses_nothing() {
    srt_beside_srt(CUT);
}

#[test]
fn srt_beside_rtp_loses_nothing() {
    srt_beside_rtp(CUT);
}

/// Both paths carry the numbers of one sender.
pub fn rtp_beside_rtp(seconds: u64) {
    let (one, two) = (free_udp(), free_udp());
    let rtp = |port| format!("type = \"rtp\"\naddress = \"127.0.0.1:{port}\"");
    let server = server([("red", rtp(one)), ("blue", rtp(two))]);
    let fork = Fork::start(&[Leg { to: one, delay: Duration::ZERO }, Leg { to: two, delay: SKEW }], 1);
    let _encode = signal_by_ffmpeg(&["-f", "rtp_mpegts", &format!("rtp://127.0.0.1:{}", fork.port)]);
    let before = merged_by_now(&server, &fork);
    let look = Inspection::start(&server.hls(), "top", 17 + 2 * seconds);
    std::thread::sleep(Duration::from_secs(4));
    cut(&server, &fork, 0, seconds);
    cut(&server, &fork, 1, seconds);
    let source = assert_nothing_was_lost(&server, before, look, &fork, "RTP + RTP");
    let merge = &source["merge"];
    assert_eq!((&merge["by_sequence"], &merge["class"]), (&true.into(), &"C".into()), "{source:#}");
    let skew = merge["skew_ms"].as_f64().expect("measured");
    assert!((250.0..400.0).contains(&skew), "{skew} ms");
}

/// Two SRT copies of one encode, which have no numbers in common. The second one's publisher is killed and started anew.
pub fn srt_beside_srt(seconds: u64) {
    let srt = || "type = \"srt\"\nlatency = \"120ms\"".to_owned();
    let server = server([("fibre", srt()), ("mobile", srt())]);
    let (one, two) = (free_udp(), free_udp());
    let publish = |port, path| srt_live_transmit(port, &server.srt_url(path));
    let (_fibre, mobile) = (publish(one, "fibre"), publish(two, "mobile"));
    let fork = Fork::start(&[Leg { to: one, delay: Duration::ZERO }, Leg { to: two, delay: SKEW }], 2);
    let _encode = signal_by_ffmpeg(&["-f", "mpegts", &format!("udp://127.0.0.1:{}?pkt_size=1316", fork.port)]);
    let before = merged_by_now(&server, &fork);
    let look = Inspection::start(&server.hls(), "top", 25 + 2 * seconds);
    std::thread::sleep(Duration::from_secs(4));
    cut(&server, &fork, 0, seconds);
    cut(&server, &fork, 1, seconds);
    let _mobile = restart(&server, &fork, 1, mobile, || publish(two, "mobile"));
    let source = assert_nothing_was_lost(&server, before, look, &fork, "SRT + SRT");
    assert_eq!(source["merge"]["by_sequence"], false, "{source:#}");
}

/// One copy over SRT, the other over RTP by GStreamer, with numbers of its own, and divided anew behind losses. GStreamer is killed and started
/// anew, and with it come other numbers.
pub fn srt_beside_rtp(seconds: u64) {
    need("gst-launch-1.0");
    let (one, two, rtp) = (free_udp(), free_udp(), free_udp());
    let server = server([
        ("far", "type = \"srt\"\nlatency = \"120ms\"".to_owned()),
        ("near", format!("type = \"rtp\"\naddress = \"127.0.0.1:{rtp}\"")),
    ]);
    let _far = srt_live_transmit(one, &server.srt_url("far"));
    let pipeline = format!(
        "udpsrc port={two} caps=video/mpegts,systemstream=(boolean)true,packetsize=(int)188 ! queue ! rtpmp2tpay ! \
         udpsink host=127.0.0.1 port={rtp} sync=false"
    );
    let gstreamer = || {
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(pipeline.split_ascii_whitespace());
        Process::start("gst-launch-1.0", command.stdout(Stdio::null()))
    };
    let near = gstreamer();
    let fork = Fork::start(&[Leg { to: one, delay: Duration::ZERO }, Leg { to: two, delay: SKEW }], 3);
    let _encode = signal_by_ffmpeg(&["-f", "mpegts", &format!("udp://127.0.0.1:{}?pkt_size=1316", fork.port)]);
    let before = merged_by_now(&server, &fork);
    let look = Inspection::start(&server.hls(), "top", 25 + 2 * seconds);
    std::thread::sleep(Duration::from_secs(4));
    cut(&server, &fork, 1, seconds);
    cut(&server, &fork, 0, seconds);
    let _near = restart(&server, &fork, 1, near, gstreamer);
    let source = assert_nothing_was_lost(&server, before, look, &fork, "SRT + RTP");
    assert_eq!(source["merge"]["by_sequence"], false, "{source:#}");
}

/// Two streams that are not copies: nothing of the second is mixed in while the first one flows, and it takes over when that ends.
#[test]
fn another_stream_is_told_and_taken_only_when_the_first_ends() {
    let (one, two) = (free_udp(), free_udp());
    let udp = |port| format!("type = \"udp\"\naddress = \"127.0.0.1:{port}\"");
    let server = server([("first", udp(one)), ("other", udp(two))]);
    let send = |port| ["-f".to_owned(), "mpegts".to_owned(), format!("udp://127.0.0.1:{port}?pkt_size=1316")];
    let start = |port| signal_by_ffmpeg(&send(port).each_ref().map(String::as_str));
    let first = start(one);
    server.wait_on_air();
    let mut signal = tandem();
    signal.args([
        "signal",
        "--size",
        "640x360",
        "--bitrate",
        "900k",
        "--gop",
        "2",
        "--to",
        &format!("udp://127.0.0.1:{two}"),
    ]);
    let _other = Process::start("tandem signal", signal.stdout(Stdio::null()).stderr(Stdio::null()));
    server.wait("the other stream is told", |s| path(s, 1)["alarm"] == "not-the-same");
    let errors = main_source(&server)["continuity_errors"].clone();
    Inspection::start(&server.hls(), "top", 8).verdict().assert_clean("beside another stream");
    let source = main_source(&server);
    assert_eq!((&source["continuity_errors"], &source["merge"]["paths"][1]["contributed"]), (&errors, &0.into()));
    drop(first);
    server.wait("the other stream is taken", |s| path(s, 1)["contributed"].as_u64() > Some(0));
    server.wait("and shown", |s| s.pipeline("a")["showing"] == "source");
}

/// Two encoders of one signal: other bit rate, GOP, preset and reordering, the same time stamps. No bytes are alike, so it is failover
/// that goes from one to the other, at a key frame on the timeline both share.
#[test]
fn another_encode_of_the_same_pictures_takes_over_without_a_frame_lost_or_repeated() {
    let (one, two) = (free_udp(), free_udp());
    let source =
        |id, port| format!("[[channel.source]]\nid = \"{id}\"\ntype = \"udp\"\naddress = \"127.0.0.1:{port}\"\n");
    let server = Server::start(&Options {
        sources_a: vec!["s1", "s2"],
        sources_b: Vec::new(),
        sources: Some(source("s1", one) + &source("s2", two)),
        ..Options::default()
    });
    let forks = [one, two].map(|to| Fork::start(&[Leg { to, delay: Duration::ZERO }], 4));
    let mut signal = tandem();
    signal.args(["signal", "--size", "640x360", "--rate", "25"]);
    for (settings, fork) in
        ["bitrate=1500k,gop=1,preset=faster,bframes=2", "bitrate=800k,gop=2,preset=ultrafast,bframes=0"]
            .into_iter()
            .zip(&forks)
    {
        signal.args(["--variant", &format!("{settings},to=udp://127.0.0.1:{}", fork.port)]);
    }
    let _signal = Process::start("tandem signal", signal.stdout(Stdio::null()).stderr(Stdio::null()));
    server.wait_on_air();
    let looks = ["top", "lowest"].map(|rendition| Inspection::start(&server.hls(), rendition, 24));
    for (from, to) in [(0, "s2"), (1, "s1"), (0, "s2")] {
        std::thread::sleep(Duration::from_millis(4300));
        forks[from].cut(0, true);
        server.wait("the other one is taken", |s| s.pipeline("a")["source"] == to);
        std::thread::sleep(Duration::from_millis(500));
        forks[from].cut(0, false);
    }
    for look in looks {
        look.verdict().assert_clean("another encode");
    }
}
