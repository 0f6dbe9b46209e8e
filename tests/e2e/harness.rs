//! A real server with real publishers, and the judge that accounts for every frame.
//!
//! Every wait is for a state, with a limit far beyond what a healthy machine needs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::ports::{free_tcp, free_udp};

/// Any wait gives up after this.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn tandem() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tandem"))
}

/// Whether a peer program is installed; tests that need it fail without it, as CI installs it.
pub fn need(program: &str) {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    assert!(found.is_ok_and(|s| s.success()), "`{program}` is not installed: run `make deps-test`");
}

/// A process that ends with the test.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(name: &str, command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits until it has.
    pub fn end(&mut self) {
        signal(self.pid(), "TERM");
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal by name to any process.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "kill -s {name} {pid}");
}

/// A running `tandem run` on ports of its own.
#[derive(Debug)]
pub struct Server {
    process: Process,
    place: Place,
    pub dir: tempfile::TempDir,
    pub origin: u16,
    pub control: u16,
    pub srt: u16,
}

/// Where a server runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The network namespace, if it has one of its own.
    pub netns: Option<String>,
    /// By which it is reached.
    pub address: String,
}

impl Default for Place {
    fn default() -> Self {
        Self { netns: None, address: "127.0.0.1".to_owned() }
    }
}

impl Place {
    fn tandem(&self) -> Command {
        let Some(netns) = &self.netns else { return tandem() };
        // It becomes what it runs: the process id is that of the server.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", netns]).arg(env!("CARGO_BIN_EXE_tandem"));
        command
    }
}

/// What a test varies in the channel's configuration.
#[derive(Clone, Debug)]
pub struct Options {
    pub sources_a: Vec<&'static str>,
    pub sources_b: Vec<&'static str>,
    pub extra: String,
    pub save_segments: bool,
    pub ladder: &'static str,
    /// Sources as a config writes them; by default those named above, over SRT.
    pub sources: Option<String>,
    /// Frames a second of the channel, as a config writes it.
    pub rate: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sources_a: vec!["s1", "s2"],
            sources_b: vec!["s3", "s4"],
            extra: String::new(),
            save_segments: false,
            ladder: "test",
            sources: None,
            rate: "25",
        }
    }
}

impl Server {
    /// Starts a server with one channel, `test`, and waits until it answers.
    pub fn start(options: &Options) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (origin, control, srt) = (free_tcp(), free_tcp(), free_udp());
        let ladder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("pipelines/ladders/{}.toml", options.ladder));
        let names = |list: &[&str]| list.iter().map(|s| format!("\"{s}\"")).collect::<Vec<_>>().join(", ");
        let mut sources: Vec<&str> = options.sources_a.iter().chain(&options.sources_b).copied().collect();
        sources.sort_unstable();
        sources.dedup();
        let source = |s: &&str| format!("[[channel.source]]\nid = \"{s}\"\ntype = \"srt\"\nlatency = \"200ms\"\n");
        let b =
            if options.sources_b.is_empty() { String::new() } else { format!("b = [{}]\n", names(&options.sources_b)) };
        let text = format!(
            "[origin]\nlisten = \"127.0.0.1:{origin}\"\n[control]\nlisten = \"127.0.0.1:{control}\"\n\
             [srt]\nlisten = \"127.0.0.1:{srt}\"\n[[channel]]\nid = \"test\"\nladder = \"{}\"\nframe_rate = \"{}\"\n{}\n\
             [channel.pipelines]\na = [{}]\n{b}{}",
            ladder.display(),
            options.rate,
            options.extra,
            names(&options.sources_a),
            options.sources.clone().unwrap_or_else(|| sources.iter().map(source).collect()),
        );
        let saved = options.save_segments.then(|| dir.path().join("saved"));
        let more = saved.iter().flat_map(|folder| [OsStr::new("--save-segments"), folder.as_os_str()]);
        Self::run(Place::default(), dir, &text, more, [origin, control, srt])
    }

    /// With a config of the test's own, in a folder of its own; it has a channel `test`.
    pub fn written(dir: tempfile::TempDir, text: &str, ports: [u16; 3]) -> Self {
        Self::run(Place::default(), dir, text, [], ports)
    }

    /// The same, somewhere else.
    pub fn placed(place: Place, dir: tempfile::TempDir, text: &str, ports: [u16; 3]) -> Self {
        Self::run(place, dir, text, [], ports)
    }

    /// Starts a server with one channel, `test`, that only relays: `channel` holds its sources and outputs.
    pub fn relay(channel: &str) -> Self {
        Self::relay_within("1GB", channel)
    }

    /// The same, with so much memory for the process that speaks SRT.
    pub fn relay_within(memory: &str, channel: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (control, srt) = (free_tcp(), free_udp());
        let text = format!(
            "[control]\nlisten = \"127.0.0.1:{control}\"\n[srt]\nlisten = \"127.0.0.1:{srt}\"\n\
             memory_max = \"{memory}\"\n[[channel]]\nid = \"test\"\nladder = \"none\"\n{channel}"
        );
        Self::run(Place::default(), dir, &text, [], [0, control, srt])
    }

    /// With a config, and `more` options of `tandem run`.
    fn run<'a>(
        place: Place,
        dir: tempfile::TempDir,
        text: &str,
        more: impl IntoIterator<Item = &'a OsStr>,
        [origin, control, srt]: [u16; 3],
    ) -> Self {
        let config = dir.path().join("tandem.toml");
        std::fs::write(&config, text).expect("config is written");
        let mut command = place.tandem();
        command.arg("run").arg(&config).args(more);
        let log = File::create(dir.path().join("server.log")).expect("log file");
        command.stderr(log.try_clone().expect("second handle")).stdout(log);
        let process = Process::start("tandem run", &mut command);
        let server = Self { process, place, dir, origin, control, srt };
        server.wait("the control port answers", |s| s.get("/v1/channels/test").is_some());
        server
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills it (SIGKILL) and starts it anew with the same config at once.
    pub fn restart_after_kill(&mut self) {
        self.process.kill();
        let mut command = self.place.tandem();
        command.arg("run").arg(self.dir.path().join("tandem.toml"));
        let log = File::options().append(true).open(self.dir.path().join("server.log")).expect("log file");
        command.stderr(log.try_clone().expect("second handle")).stdout(log);
        self.process = Process::start("tandem run", &mut command);
    }

    pub fn hls(&self) -> String {
        format!("http://{}:{}/live/test/index.m3u8", self.place.address, self.origin)
    }

    pub fn dash(&self) -> String {
        format!("http://{}:{}/live/test/manifest.mpd", self.place.address, self.origin)
    }

    pub fn srt_url(&self, source: &str) -> String {
        format!("srt://{}:{}?streamid=test/{source}", self.place.address, self.srt)
    }

    /// JSON of the control API, if it answers.
    pub fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}:{}{path}", self.place.address, self.control);
        ureq::get(&url).call().ok()?.body_mut().read_to_string().ok().and_then(|t| serde_json::from_str(&t).ok())
    }

    pub fn status(&self) -> Value {
        self.get("/v1/channels/test").expect("the control port answers")
    }

    /// Waits for a state; shows status and log when it does not come.
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            if began.elapsed() > LIMIT {
                panic!(
                    "waited {LIMIT:?} for: {what}\nstatus: {:#?}\nlog:\n{}",
                    self.get("/v1/channels/test"),
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until all pipelines are in lock on a source, and a player that joins now gets nothing but its pictures: what was
    /// published before the source came, the slate, is further back than the live edge.
    pub fn wait_on_air(&self) {
        let shows = |s: &Self| {
            let status = s.status();
            let pipelines = status["pipelines"].as_array().expect("a list");
            pipelines.iter().all(|p| p["locked"] == true && p["showing"] == "source")
        };
        let newest = |s: &Self| s.status()["publish"]["newest"].as_u64();
        self.wait("all pipelines in lock with pictures of a source", |s| shows(s) && newest(s).is_some());
        let then = newest(self).expect("segments are published") + 6;
        self.wait("six segments of it", |s| newest(s) >= Some(then) && shows(s));
    }

    /// One pipeline's status.
    pub fn pipeline(&self, id: &str) -> Value {
        let status = self.status();
        let all = status["pipelines"].as_array().expect("a list");
        all.iter().find(|p| p["id"] == id).cloned().unwrap_or_else(|| panic!("no pipeline {id} in {status:#}"))
    }

    pub fn encoder_pid(&self, id: &str) -> u32 {
        let pid = self.pipeline(id)["pid"].as_u64().expect("the encode process runs");
        u32::try_from(pid).expect("a pid")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- server log ---\n{}", self.log_tail());
        }
        // SIGTERM first, so that a shutdown that hangs is found.
        if self.process.child.try_wait().ok().flatten().is_none() {
            signal(self.pid(), "TERM");
            let began = Instant::now();
            while self.process.child.try_wait().ok().flatten().is_none() {
                if began.elapsed() > Duration::from_secs(15) {
                    eprintln!("the server did not end within 15 s of SIGTERM");
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The test signal, sent as identical bytes to a UDP port for each of `legs`, and from there by a publisher over SRT.
#[derive(Debug)]
pub struct Publishers {
    pub signal: Process,
    /// One publisher a leg, in the order asked for.
    pub legs: Vec<Process>,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// libsrt's own tool: bytes as they are.
    SrtLiveTransmit,
    /// ffmpeg, remultiplexing.
    Ffmpeg,
}

impl Publishers {
    /// Starts the signal and one publisher for each source.
    pub fn start(server: &Server, sources: &[&str], by: Publisher) -> Self {
        let targets: Vec<String> = sources.iter().map(|s| server.srt_url(s)).collect();
        Self::to(&targets, by)
    }

    /// The same, to any SRT addresses.
    pub fn to(targets: &[String], by: Publisher) -> Self {
        Self::of(targets, by, &["--rate", "25"])
    }

    /// A signal of another shape: further arguments of `tandem signal`.
    pub fn of(targets: &[String], by: Publisher, shape: &[&str]) -> Self {
        let ports: Vec<u16> = targets.iter().map(|_| free_udp()).collect();
        // Publishers first: what the signal sends before they listen is lost.
        let legs = targets.iter().zip(&ports).map(|(target, port)| publish(*port, target, by)).collect();
        let mut command = tandem();
        command.args(["signal", "--size", "640x360", "--bitrate", "1500k"]).args(shape);
        for port in &ports {
            command.args(["--to", &format!("udp://127.0.0.1:{port}")]);
        }
        Self { signal: Process::start("tandem signal", command.stdout(Stdio::null()).stderr(Stdio::null())), legs }
    }
}

/// The test signal to a UDP port, and from there by ffmpeg to `to`.
pub fn signal_by_ffmpeg(to: &[&str]) -> [Process; 2] {
    need("ffmpeg");
    let port = free_udp();
    let mut ffmpeg = Command::new("ffmpeg");
    let input = format!("udp://127.0.0.1:{port}?fifo_size=100000&overrun_nonfatal=1");
    ffmpeg.args(["-v", "error", "-fflags", "+genpts", "-copyts", "-i", &input, "-map", "0:v", "-map", "0:a"]);
    ffmpeg.args(["-c", "copy", "-muxdelay", "0", "-muxpreload", "0"]).args(to);
    let ffmpeg = Process::start("ffmpeg", &mut ffmpeg);
    let mut signal = tandem();
    signal.args(["signal", "--size", "640x360", "--bitrate", "1500k", "--rate", "25"]);
    signal.args(["--to", &format!("udp://127.0.0.1:{port}")]);
    [ffmpeg, Process::start("tandem signal", signal.stdout(Stdio::null()).stderr(Stdio::null()))]
}

/// Publishes what comes to a UDP port.
pub fn publish(udp: u16, target: &str, by: Publisher) -> Process {
    match by {
        Publisher::SrtLiveTransmit => {
            need("srt-live-transmit");
            let mut command = Command::new("srt-live-transmit");
            command.args(["-q", "-a:yes", &format!("udp://127.0.0.1:{udp}"), target]);
            Process::start("srt-live-transmit", command.stdout(Stdio::null()).stderr(Stdio::null()))
        }
        Publisher::Ffmpeg => {
            need("ffmpeg");
            let mut command = Command::new("ffmpeg");
            let input = format!("udp://127.0.0.1:{udp}?fifo_size=100000&overrun_nonfatal=1");
            command.args(["-v", "error", "-fflags", "+genpts", "-copyts", "-i", &input, "-map", "0:v", "-map", "0:a"]);
            command.args(["-c", "copy", "-muxdelay", "0", "-muxpreload", "0", "-f", "mpegts", target]);
            Process::start("ffmpeg", command.stdout(Stdio::null()).stderr(Stdio::null()))
        }
    }
}

/// What `tandem inspect --json` says.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub json: Value,
    pub code: i32,
}

impl Verdict {
    pub fn number(&self, path: &str) -> f64 {
        self.json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {:#}", self.json))
    }

    /// No frame missing, repeated or out of order, sound whole, playlists continuous.
    pub fn assert_clean(&self, what: &str) {
        for path in ["/video/missing", "/video/repeated", "/video/reordered", "/audio/missing", "/audio/repeated"] {
            assert_eq!(self.number(path), 0.0, "{what}: {path}\n{:#}", self.json);
        }
        assert_eq!(self.json["faults"].as_array().map(Vec::len), Some(0), "{what}\n{:#}", self.json);
        assert_eq!(self.code, 0, "{what}: exit code\n{:#}", self.json);
    }

    /// Picture and sound stay together within ± `ms`.
    pub fn assert_in_sync(&self, ms: f64) {
        for path in ["/av_offset_ms/min", "/av_offset_ms/max"] {
            assert!(self.number(path).abs() <= ms, "{path}\n{:#}", self.json);
        }
    }
}

/// A judge at work.
#[derive(Debug)]
pub struct Inspection {
    child: Child,
    what: String,
}

impl Inspection {
    /// Looks at `url` for `seconds`.
    pub fn start(url: &str, rendition: &str, seconds: u64) -> Self {
        Self::with(url, rendition, seconds, &[])
    }

    /// The same, with further arguments of `tandem inspect`.
    pub fn with(url: &str, rendition: &str, seconds: u64, more: &[&str]) -> Self {
        let mut command = tandem();
        command.args(["inspect", "--json", "--for", &format!("{seconds}s"), "--rendition", rendition]);
        command.args(more).arg(url);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("inspect runs");
        Self { child, what: format!("{rendition} of {url}") }
    }

    pub fn verdict(self) -> Verdict {
        let what = self.what;
        let Output { status, stdout, stderr } = self.child.wait_with_output().expect("inspect ends");
        let json = serde_json::from_slice(&stdout).unwrap_or_else(|e| {
            panic!(
                "{what}: {e}\nstdout: {}\nstderr: {}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            )
        });
        Verdict { json, code: status.code().unwrap_or(-1) }
    }
}

/// The four looks every test takes: HLS and DASH, top and lowest rendition.
pub fn inspect_all(server: &Server, seconds: u64) -> Vec<(String, Inspection)> {
    let urls = [("HLS", server.hls()), ("DASH", server.dash())];
    urls.iter()
        .flat_map(|(name, url)| ["top", "lowest"].map(|r| (format!("{name} {r}"), Inspection::start(url, r, seconds))))
        .collect()
}

/// Reads a file that another process may still be writing.
pub fn read_all(path: &PathBuf) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut f| f.read_to_end(&mut bytes)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes
}

/// SHA-256 of every saved segment of a rendition, by its number.
pub fn digests(folder: &Path) -> BTreeMap<u64, [u8; 32]> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    files
        .map(|file| {
            let path = file.expect("readable").path();
            let number = path.file_stem().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("a number");
            (number, Sha256::digest(read_all(&path)).into())
        })
        .collect()
}
