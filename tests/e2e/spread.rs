//! A channel whose pipelines are made in two places: CMAF ingest, end to end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{
    Inspection, Process, Publisher, Publishers, Server, Verdict, free_tcp, free_udp, need, publish, signal, tandem,
};

/// A server's ports.
struct Ports {
    origin: u16,
    control: u16,
    srt: u16,
    ingest: u16,
}

impl Ports {
    fn free() -> Self {
        Self { origin: free_tcp(), control: free_tcp(), srt: free_udp(), ingest: free_tcp() }
    }

    /// A server on these, with one channel whose keys `channel` goes on with.
    fn serve(&self, channel: &str) -> Server {
        let Self { origin, control, srt, ingest } = self;
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("key.txt"), "sesame-of-tests\n").expect("the key is written");
        let ladder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/ladders/test.toml");
        let text = format!(
            "[origin]\nlisten = \"127.0.0.1:{origin}\"\n[control]\nlisten = \"127.0.0.1:{control}\"\n\
             [srt]\nlisten = \"127.0.0.1:{srt}\"\n[ingest]\nlisten = \"127.0.0.1:{ingest}\"\nkey = \"file:key.txt\"\n\
             [[channel]]\nid = \"test\"\nladder = \"{}\"\n{channel}",
            ladder.display()
        );
        Server::written(dir, &text, [*origin, *control, *srt])
    }
}

const SOURCE: &str = "[[channel.source]]\nid = \"s1\"\ntype = \"srt\"\nlatency = \"200ms\"\n";

/// ffmpeg as an encoder elsewhere: the pictures of a UDP port, in the renditions of the test ladder, with the parameter sets that ours have.
fn encoder(udp: u16, point: &str) -> Process {
    let mut command = Command::new("ffmpeg");
    let input = format!("udp://127.0.0.1:{udp}?fifo_size=100000&overrun_nonfatal=1");
    command.args(["-nostdin", "-v", "error", "-i", &input]);
    let x264 = "-c:v libx264 -preset superfast -profile:v high -bf 2 -g 50 -keyint_min 50 -sc_threshold 0 -crf 23 \
                -x264-params force-cfr=1:rc-lookahead=10 -colorspace bt709 -color_primaries bt709 -color_trc bt709 \
                -color_range tv -chroma_sample_location left";
    let form = "-movflags empty_moov+default_base_moof+delay_moov";
    for (name, size, rate) in [("v360", "640:360", 800), ("v180", "320:180", 250)] {
        command.args(["-map", "0:v", "-vf", &format!("scale={size},fps=25,format=yuv420p")]);
        command.args(x264.split_whitespace());
        command.args(["-maxrate", &format!("{rate}k"), "-bufsize", &format!("{}k", rate / 2)]);
        command.args(format!("{form}+frag_every_frame -f mp4 -method POST {point}/{name}").split_whitespace());
    }
    command.args("-map 0:a -c:a aac -ac 2 -ar 48000 -b:a 96k -frag_duration 200000".split_whitespace());
    command.args(format!("{form} -f mp4 -method POST {point}/audio").split_whitespace());
    Process::start("ffmpeg", command.stdout(Stdio::null()))
}

/// What holds where the pictures are another encoder's: none is missing or twice.
fn assert_every_picture(verdict: &Verdict) {
    for path in ["/video/missing", "/video/repeated", "/video/reordered"] {
        assert_eq!(verdict.number(path), 0.0, "{path}\n{:#}", verdict.json);
    }
}

#[test]
fn an_encoder_elsewhere_goes_on_where_ours_is_killed() {
    need("ffmpeg");
    let ports = Ports::free();
    let server =
        ports.serve(&format!("deterministic = false\n[channel.pipelines]\na = [\"s1\"]\nb = \"cmaf\"\n{SOURCE}"));
    let [ours, theirs] = [free_udp(), free_udp()];
    let _srt = publish(ours, &server.srt_url("s1"), Publisher::SrtLiveTransmit);
    let mut elsewhere =
        encoder(theirs, &format!("http://tandem:sesame-of-tests@127.0.0.1:{}/ingest/test/b", ports.ingest));
    let mut generator = tandem();
    generator.args(["signal", "--size", "640x360", "--bitrate", "1500k", "--rate", "25"]);
    for port in [ours, theirs] {
        generator.args(["--to", &format!("udp://127.0.0.1:{port}")]);
    }
    let _signal = Process::start("tandem signal", generator.stdout(Stdio::null()).stderr(Stdio::null()));

    server.wait("both pipelines in lock", |s| ["a", "b"].iter().all(|id| s.pipeline(id)["locked"] == true));
    let b = server.pipeline("b");
    assert!(b["ingest"]["peer"].is_string() && b["pid"].is_null(), "{b:#}");
    // Stopped, it is killed as hung; meanwhile nothing comes from it.
    signal(server.encoder_pid("a"), "STOP");
    server.wait("the encoder elsewhere is on air", |s| s.pipeline("b")["on_air"] == true);
    let newest = |s: &Server| s.status()["publish"]["newest"].as_u64().expect("segments are published");
    let then = newest(&server) + 4;
    server.wait("four segments of it", |s| newest(s) >= then);
    let verdict = Inspection::start(&server.hls(), "top", 6).verdict();
    assert_every_picture(&verdict);
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
    assert_eq!(server.pipeline("b")["on_air"], true, "{status:#}");
    assert!(server.pipeline("b")["ingest"]["segments"].as_u64() >= Some(12), "{status:#}");

    elsewhere.kill();
    server.wait("it is told to be silent, and ours is on air", |s| {
        s.pipeline("b")["running"] == false && s.pipeline("a")["on_air"] == true
    });
    assert_eq!(server.status()["publish"]["gaps"], 0);
    assert!(server.log().contains("ingest-silent"), "{}", server.log_tail());
    assert!(!server.log().contains("sesame"), "a key is never logged");
}

/// Waits until both make equal bytes. Where a source begins on the channel's time each decides on its own (docs/time.md), so they may
/// differ by a slot; then the one in place `restarts` begins anew.
fn agree(servers: &mut [Server; 2], restarts: usize) {
    let differs = |servers: &[Server; 2]| servers.each_ref().map(|s| s.status()["publish"]["differs"].clone());
    let newest = |s: &Server| s.status()["publish"]["newest"].as_u64();
    for _ in 0..6 {
        servers.iter().for_each(Server::wait_on_air);
        let (before, then) = (differs(servers), newest(&servers[0]).map(|newest| newest + 3));
        servers[0].wait("three segments", |s| newest(s) >= then);
        if differs(servers) == before {
            return;
        }
        servers[restarts].restart_after_kill();
    }
    panic!("two main processes never agreed on where the source begins");
}

/// Two main processes, each of which makes one pipeline and publishes it to the other: whichever dies, the other one's players see nothing.
pub fn either_of_two_main_processes_dies(seconds: u64) {
    let [one, two] = [Ports::free(), Ports::free()];
    let publish_to = |pipeline: &str, other: &Ports| {
        let to = format!("http://127.0.0.1:{}/ingest/test/{pipeline}", other.ingest);
        format!("[[channel.publish]]\npipeline = \"{pipeline}\"\nto = \"{to}\"\nkey = \"file:key.txt\"\n")
    };
    let keys = |a: &str, b: &str, to: String| format!("[channel.pipelines]\na = {a}\nb = {b}\n{to}{SOURCE}");
    let mut servers = [
        one.serve(&keys("[\"s1\"]", "\"cmaf\"", publish_to("a", &two))),
        two.serve(&keys("\"cmaf\"", "[\"s1\"]", publish_to("b", &one))),
    ];
    let targets = [servers[0].srt_url("s1"), servers[1].srt_url("s1")];
    let _publishers = Publishers::to(&targets, Publisher::SrtLiveTransmit);
    for dies in [0, 1] {
        agree(&mut servers, dies);
        let stays = 1 - dies;
        let differed = servers[stays].status()["publish"]["differs"].clone();
        let looks = ["top", "lowest"].map(|rendition| Inspection::start(&servers[stays].hls(), rendition, seconds));
        std::thread::sleep(Duration::from_secs(seconds / 3));
        let own = ["a", "b"][stays];
        servers[dies].kill();
        servers[stays].wait("what the other one published is silent", |s| s.log().contains("ingest-silent"));
        for look in looks {
            look.verdict().assert_clean("one of two main processes was killed");
        }
        let status = servers[stays].status();
        assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
        assert_eq!(status["publish"]["differs"], differed, "both must make equal bytes: {status:#}");
        assert_eq!(servers[stays].pipeline(own)["running"], true, "{status:#}");
        // Where its source begins it decides anew.
        servers[dies].restart_after_kill();
    }
}
