//! Real players and independent checkers on a running channel. Each player plays a minute as a viewer would; the
//! scripts in `tests/players` say what they saw, and are themselves tried on a stream that stops.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::Value;

use crate::harness::{Options, Publisher, Publishers, Server, need, signal};

/// hls.js, Shaka and dash.js play in headless Chromium.
const PLAYERS: [&str; 5] = ["hlsjs", "shaka-hls", "shaka-dash", "dashjs", "vlc"];
/// Those that are given the manifest.
const DASH: [&str; 2] = ["shaka-dash", "dashjs"];
/// Pictures a second, of the test signal and so of every rendition.
const RATE: &str = "25";
/// Segments that must be published before a viewer comes: players start three target durations behind the live edge.
const SEGMENTS_TO_START: u64 = 6;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A channel on air that viewers can join.
pub fn ready_for_viewers(options: &Options) -> (Server, Publishers) {
    let server = Server::start(options);
    let publishers = Publishers::start(&server, &["s1", "s2", "s3", "s4"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    server.wait("enough segments for a player to start on", |s| {
        s.status()["publish"]["segments"].as_u64() >= Some(SEGMENTS_TO_START)
    });
    (server, publishers)
}

/// A player at work.
#[derive(Debug)]
pub struct Viewer {
    name: &'static str,
    child: Child,
    /// Where it says that it plays, or why it cannot.
    stderr: BufReader<ChildStderr>,
}

/// What a player saw.
#[derive(Clone, Debug)]
pub struct Seen {
    pub name: &'static str,
    pub json: Value,
    pub code: Option<i32>,
}

impl Viewer {
    /// Lets one of [`PLAYERS`] watch for `seconds` from its first picture on.
    fn start(server: &Server, name: &'static str, seconds: u32) -> Self {
        let dash = DASH.contains(&name);
        Self::of(&if dash { server.dash() } else { server.hls() }, name, seconds, None)
    }

    /// Lets one of [`PLAYERS`] watch an address; browsers take pictures whose codec begins so, where it is said.
    pub fn of(url: &str, name: &'static str, seconds: u32, codec: Option<&str>) -> Self {
        let scripts: PathBuf = project().join("tests/players");
        let seconds = seconds.to_string();
        let mut command;
        if name == "vlc" {
            need("vlc");
            command = Command::new(scripts.join("vlc.sh"));
            command.args([url, &seconds, RATE]);
        } else {
            need("node");
            need("chromium");
            let installed = scripts.join("node_modules/.package-lock.json").exists();
            assert!(installed, "tests/players/node_modules is missing: run `make deps-test`");
            command = Command::new("node");
            command.arg(scripts.join("play.mjs"));
            command.args(["--player", name, "--url", url, "--seconds", &seconds, "--rate", RATE]);
            command.args(codec.iter().flat_map(|codec| ["--codec", codec]));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        Self { name, child, stderr }
    }

    /// Waits for the first picture. The scripts give up on it by themselves.
    pub fn wait_until_playing(&mut self) {
        let mut said = String::new();
        while !said.ends_with("playing\n") {
            let read = self.stderr.read_line(&mut said).expect("stderr is text");
            if read == 0 {
                let printed = self.printed();
                panic!("{} never played: {said}{printed}", self.name);
            }
        }
    }

    /// All it prints, once it ends.
    fn printed(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().expect("asked once").read_to_string(&mut text).expect("stdout is text");
        text
    }

    /// Ends it before its time; what it saw until now. Only those in a browser.
    pub fn enough(self) -> Seen {
        signal(self.child.id(), "USR2");
        self.seen()
    }

    /// Waits until it ends.
    pub fn seen(mut self) -> Seen {
        let text = self.printed();
        let code = self.child.wait().expect("the player ends").code();
        let json = serde_json::from_str(&text).unwrap_or_else(|e| {
            let mut said = String::new();
            let _ = self.stderr.read_to_string(&mut said);
            panic!("{}: {e}\nstdout: {text}\nstderr: {said}", self.name)
        });
        Seen { name: self.name, json, code }
    }
}

impl Drop for Viewer {
    /// SIGTERM, so that the scripts end their browsers and VLC.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), "TERM");
            let _ = self.child.wait();
        }
    }
}

#[test]
fn five_players_play_without_a_stall_or_an_error() {
    play(15);
}

/// Each of them for so many seconds, one after the other. Those of DASH follow the manifest by patches; one of them plays one without.
pub fn play(seconds: u32) {
    let extra = "dash_patch = true\n".to_owned();
    let (server, _publishers) = ready_for_viewers(&Options { extra, ..Options::default() });
    let mut all = PLAYERS.map(|name| Viewer::start(&server, name, seconds).seen()).to_vec();
    for Seen { name, json, .. } in all.iter().filter(|seen| DASH.contains(&seen.name)) {
        // One with each segment, and the whole at the beginning.
        let (patches, wholes) = (json["patches"].as_u64(), json["manifests"].as_u64());
        assert!(patches >= Some(u64::from(seconds) / 4), "{name}: {json:#}");
        assert!(wholes <= Some(3), "{name}: {json:#}");
    }
    // A view has no patches.
    let plain = Viewer::of(&format!("{}?trick=none", server.dash()), "dashjs", seconds.min(10), None).seen();
    assert_eq!(plain.json["patches"], 0, "{:#}", plain.json);
    all.push(plain);
    for Seen { name, json, .. } in &all {
        eprintln!("{name}: {json}");
    }
    for Seen { name, json, code } in &all {
        assert_eq!(*code, Some(0), "{name}: {json:#}");
        assert_eq!(json["faults"].as_array().map(Vec::len), Some(0), "{name}: {json:#}");
    }
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
}

/// The judges judged: none of them may take a dead origin for a good one.
#[test]
fn every_player_reports_a_stream_that_stops() {
    let (mut server, _publishers) = ready_for_viewers(&Options::default());
    let mut viewers = PLAYERS.map(|name| Viewer::start(&server, name, 40));
    viewers.iter_mut().for_each(Viewer::wait_until_playing);
    server.kill();
    for Seen { name, json, code } in viewers.map(Viewer::seen) {
        assert_eq!(code, Some(1), "{name}: {json:#}");
        assert!(json["faults"].as_array().is_some_and(|f| !f.is_empty()), "{name}: {json:#}");
        if name == "vlc" {
            assert!(json["still_ms_max"].as_u64() > Some(1_500), "{name} saw no stall: {json:#}");
        } else {
            assert!(json["stalls"].as_array().is_some_and(|s| !s.is_empty()), "{name} saw no stall: {json:#}");
            assert!(json["http_errors"].as_array().is_some_and(|e| !e.is_empty()), "{name}: {json:#}");
        }
    }
}

/// `hls_rules`, `mpd_check` and `cmaf_check` share nothing with our packager. They lie outside this repository.
#[test]
fn independent_validators_find_no_error() {
    let extra = "serve = [\"hls\", \"ll-hls\", \"dash\", \"ll-dash\"]\n".to_owned();
    let (server, _publishers) = ready_for_viewers(&Options { extra, ..Options::default() });
    let address = server.hls();
    validators(address.strip_suffix("/index.m3u8").expect("the multivariant playlist's name"), "30");
}

/// Lets them look at a channel, given by the address its playlists lie below, for so many seconds.
pub fn validators(base: &str, seconds: &str) {
    need("python3");
    need("npm");
    need("ffmpeg");
    let script = |args: &[&str]| {
        let mut command = Command::new(project().join("scripts/validators.sh"));
        command.args(args).stdin(Stdio::null()).output().expect("scripts/validators.sh runs")
    };
    let prepared = script(&["prepare"]);
    let said = String::from_utf8_lossy(&prepared.stderr);
    if prepared.status.code() == Some(77) {
        eprintln!("SKIPPED: {said}");
        return;
    }
    assert!(prepared.status.success(), "{said}");

    let judged = script(&[base, seconds]);
    let report = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{report}{}", String::from_utf8_lossy(&judged.stderr));
    for line in report.lines().filter(|l| l.starts_with("PASS") || l.starts_with("WARN")) {
        eprintln!("{line}");
    }
}
