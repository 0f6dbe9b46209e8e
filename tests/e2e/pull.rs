//! Sources that we fetch: an RTSP server that shares no code with us, and files by ffmpeg and by the signal generator. Each picture is
//! accounted for by its number.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Inspection, Options, Server, Verdict, need};
use crate::ports::free_tcp;

/// A second more than what wait_on_air and one look take, on a machine that does other things besides.
const SECONDS: u64 = 120;

/// The test signal as a transport stream.
fn signal(folder: &Path, seconds: u64) -> PathBuf {
    let path = folder.join(format!("signal{seconds}.ts"));
    let mut command = crate::harness::tandem();
    command.args(["signal", "--size", "640x360", "--bitrate", "1500k", "--rate", "25", "--unpaced"]);
    command.args(["--for", &seconds.to_string(), "--to"]).arg(&path).stderr(Stdio::null());
    assert!(command.status().expect("tandem signal runs").success());
    path
}

/// The same by ffmpeg, as an MP4.
fn mp4(ts: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    need("ffmpeg");
    let path = ts.with_file_name(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(ts).args(["-map", "0:v", "-map", "0:a", "-c", "copy"]);
    command.args(["-bsf:a", "aac_adtstoasc"]).args(arguments).arg(&path);
    assert!(command.status().expect("ffmpeg runs").success(), "{name}");
    path
}

/// One channel of one pipeline with one source, `s1`.
fn server(source: &str) -> Server {
    let source = format!("[[channel.source]]\nid = \"s1\"\n{source}\n");
    Server::start(&Options { sources_a: vec!["s1"], sources_b: vec![], sources: Some(source), ..Options::default() })
}

fn look(server: &Server, seconds: u64) -> Verdict {
    Inspection::start(&server.hls(), "top", seconds).verdict()
}

/// gst-rtsp-server, which plays a file from its beginning to each caller.
struct Rtsp {
    child: Child,
    port: u16,
}

impl Rtsp {
    fn start(port: u16, file: &Path, codec: &str, user: &[&str]) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/rtsp_server.py"));
        command.arg(port.to_string()).arg(file).arg(codec).args(user);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("python3 runs");
        let mut line = String::new();
        let _ = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
        assert_eq!(line, "ready\n", "gst-rtsp-server is not installed: run `make deps-test`");
        Self { child, port }
    }

    fn source(&self, more: &str) -> String {
        format!("type = \"rtsp\"\nurl = \"rtsp://127.0.0.1:{}/signal\"\n{more}", self.port)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Rtsp {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn an_rtsp_server_is_played_whole_over_tcp_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = mp4(&signal(folder.path(), SECONDS), "signal.mp4", &[]);
    let mut rtsp = Rtsp::start(free_tcp(), &file, "h264", &[]);
    let server = server(&rtsp.source(""));
    server.wait_on_air();
    let verdict = look(&server, 12);
    verdict.assert_clean("TCP");
    verdict.assert_in_sync(20.0);
    rtsp.kill();
    let connected = |s: &Server| s.status()["sources"][0]["connected"] == true;
    server.wait("the server is gone", |s| !connected(s) && s.pipeline("a")["showing"] != "source");
    let _rtsp = Rtsp::start(rtsp.port, &file, "h264", &[]);
    server.wait("it is called again", connected);
    server.wait_on_air();
    let verdict = look(&server, 12);
    verdict.assert_clean("TCP, after a new start");
    verdict.assert_in_sync(20.0);
}

#[test]
fn an_rtsp_server_that_asks_who_we_are_is_played_whole_over_udp() {
    const PASSWORD: &str = "correct-horse-battery";
    let folder = tempfile::tempdir().unwrap();
    let ts = signal(folder.path(), SECONDS);
    let file = mp4(
        &ts,
        "hevc.mp4",
        &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-tag:v", "hvc1"],
    );
    let rtsp = Rtsp::start(free_tcp(), &file, "h265", &["viewer", PASSWORD]);
    let key = folder.path().join("key");
    let login = format!("transport = \"udp\"\nuser = \"viewer\"\npassword = \"file:{}\"", key.display());
    std::fs::write(&key, "wrong-horse\n").unwrap();
    {
        let server = server(&rtsp.source(&login));
        let events = |s: &Server| s.get("/v1/events").map(|events| events.to_string()).unwrap_or_default();
        server.wait("it says that the password is wrong", |s| events(s).contains("another user or password"));
        assert!(!server.log().contains("wrong-horse") && !events(&server).contains("wrong-horse"));
    }
    std::fs::write(&key, format!("{PASSWORD}\n")).unwrap();
    let server = server(&rtsp.source(&login));
    server.wait_on_air();
    let verdict = look(&server, 12);
    verdict.assert_clean("UDP, HEVC");
    verdict.assert_in_sync(20.0);
    assert!(!server.log().contains(PASSWORD), "a secret in the log");
}

/// Watches a file over at least one of its seams.
fn plays_again_and_again(path: &Path) {
    let what = path.file_name().unwrap().to_string_lossy().into_owned();
    let server = server(&format!("type = \"file\"\npath = \"{}\"", path.display()));
    server.wait_on_air();
    let made_up = |s: &Server| ["repeated", "black", "slate"].map(|field| s.pipeline("a")[field].as_u64().unwrap());
    let before = made_up(&server);
    // The signal's numbers go back at each seam, and nowhere else; from there on all have been shown before.
    let verdict = look(&server, 45);
    let count = |path: &str| verdict.number(path);
    assert!((1.0..=2.0).contains(&count("/video/reordered")), "{what}: seams\n{:#}", verdict.json);
    for path in ["/video/missing", "/video/unreadable", "/video/slate", "/video/timestamps"] {
        assert_eq!(count(path), 0.0, "{what}: {path}\n{:#}", verdict.json);
    }
    assert_eq!(made_up(&server), before, "{what}: no picture had to be made up\n{:#}", verdict.json);
    assert_eq!(server.status()["sources"][0]["continuity_errors"].as_u64(), Some(0), "{what}");
    assert!(!server.log().contains("ended"), "{what}: it ended\n{}", server.log_tail());
}

#[test]
fn a_transport_stream_is_played_again_and_again_without_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    plays_again_and_again(&signal(folder.path(), 30));
}

#[test]
fn an_mp4_is_played_again_and_again_without_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    let ts = signal(folder.path(), 30);
    plays_again_and_again(&mp4(&ts, "plain.mp4", &[]));
    let fragmented = ["-movflags", "frag_keyframe+empty_moov+default_base_moof+delay_moov"];
    plays_again_and_again(&mp4(&ts, "fragmented.mp4", &fragmented));
}

#[test]
fn files_are_played_whole() {
    let folder = tempfile::tempdir().unwrap();
    let ts = signal(folder.path(), SECONDS);
    for file in [mp4(&ts, "plain.mp4", &[]), ts] {
        let server = server(&format!("type = \"file\"\npath = \"{}\"", file.display()));
        server.wait_on_air();
        let verdict = look(&server, 12);
        verdict.assert_clean(&file.display().to_string());
        verdict.assert_in_sync(20.0);
    }
}

#[test]
fn a_file_that_cannot_be_played_says_why_and_is_played_when_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(mp4(&signal(folder.path(), 10), "good.mp4", &["-movflags", "faststart"])).unwrap();
    let path = folder.path().join("clip.mp4");
    let mut no_tables = good.clone();
    let moov = good.windows(4).position(|name| name == b"moov").unwrap();
    no_tables[moov..moov + 4].copy_from_slice(b"free");
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    let server = server(&format!("type = \"file\"\npath = \"{}\"", path.display()));
    let says = |why: &'static str| {
        let events = |s: &Server| s.get("/v1/events").map(|events| events.to_string()).unwrap_or_default();
        server.wait(why, |s| events(s).contains(why) && events(s).contains("clip.mp4"));
    };
    says("samples lie behind its end");
    std::fs::write(&path, &good[..moov + 100]).unwrap();
    says("it is cut off inside box `moov`");
    std::fs::write(&path, &no_tables).unwrap();
    says("it has no `moov` box");
    std::fs::write(&path, [7; 5000]).unwrap();
    says("no packets are found");
    std::fs::write(&path, &good).unwrap();
    server.wait("it is played", |s| s.pipeline("a")["showing"] == "source");
}
