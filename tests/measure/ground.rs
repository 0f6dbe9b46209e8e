//! What the tests stand on: a folder, the two commands, ffmpeg, and a web server that serves the folder.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// A folder that cleans itself up.
pub struct Ground(tempfile::TempDir);

/// A round time near now: numbers of 32 bits are only told apart within some years.
pub fn start() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    now / 1000 * 1000
}

impl Ground {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// 12 s of the signal, 640x360p25, as `signal.ts`.
    pub fn signal(&self) -> PathBuf {
        signal(self, &["--start", &start().to_string(), "--for", "12", "--bitrate", "900k"], "signal.ts")
    }
}

/// Generates the signal into `file` as fast as possible.
pub fn signal(ground: &Ground, args: &[&str], file: &str) -> PathBuf {
    signal_paced(ground, &[args, &["--unpaced"]].concat(), file)
}

/// Generates the signal into `file`.
pub fn signal_paced(ground: &Ground, args: &[&str], file: &str) -> PathBuf {
    let path = ground.path(file);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command.args(["signal", "--size", "640x360"]).args(args).arg("--to").arg(&path);
    let out = command.output().expect("tandem runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    path
}

/// `tandem inspect --json`: exit code and report.
pub fn inspect(target: impl AsRef<OsStr>, args: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    let out = command.args(["inspect", "--json"]).args(args).arg(&target).output().expect("tandem runs");
    let report = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| {
        panic!("{}: {e}: {}", target.as_ref().to_string_lossy(), String::from_utf8_lossy(&out.stderr))
    });
    (out.status.code().expect("an exit code"), report)
}

/// The exit code of `tandem inspect` where there is no report.
pub fn inspect_code(target: impl AsRef<OsStr>) -> i32 {
    let out = Command::new(env!("CARGO_BIN_EXE_tandem")).arg("inspect").arg(target).output().expect("tandem runs");
    assert!(!out.stderr.is_empty(), "it says why");
    out.status.code().expect("an exit code")
}

/// `ffmpeg -i source <how> file`; `how` is split as a shell would, as far as single quotes go.
pub fn ffmpeg(ground: &Ground, source: &Path, how: &str, file: &str) {
    let mut command = Command::new("ffmpeg");
    command.current_dir(ground.0.path()).args(["-v", "error", "-y", "-i"]).arg(source);
    // Quoted parts keep their quotes where a filter has to see them.
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in how.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    let out = command.args(words).arg(file).output().expect("ffmpeg runs");
    assert!(out.status.success(), "{how}: {}", String::from_utf8_lossy(&out.stderr));
}

/// An SRT listener that shares nothing with our sender but libsrt; writes what it gets into a file.
pub struct Peer {
    child: Child,
    file: PathBuf,
}

pub fn srt_listener(port: u16, file: &Path) -> Peer {
    let mut command = Command::new("srt-live-transmit");
    command.args(["-q", "-a:no", &format!("srt://127.0.0.1:{port}?mode=listener"), "file://con"]);
    let out = File::create(file).expect("a file");
    let child = command.stdout(out).stderr(Stdio::null()).spawn().expect("srt-live-transmit runs");
    Peer { child, file: file.to_owned() }
}

impl Peer {
    /// Waits until the file has `bytes`.
    pub fn wait_until_grown(&self, bytes: u64) {
        let began = Instant::now();
        while std::fs::metadata(&self.file).map_or(0, |m| m.len()) < bytes {
            assert!(began.elapsed() < Duration::from_secs(20), "{} did not grow", self.file.display());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Serves a folder over HTTP/1.1 with kept connections.
pub struct Server {
    port: u16,
}

impl Server {
    pub fn start(ground: &Ground) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let folder = ground.0.path().to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let folder = folder.clone();
                std::thread::spawn(move || serve(stream, &folder));
            }
        });
        Self { port }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

fn serve(stream: TcpStream, folder: &Path) {
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    let mut stream = stream;
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|l| !l.is_empty())) {}
        let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
        let (status, body) = match std::fs::read(folder.join(path)) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}
