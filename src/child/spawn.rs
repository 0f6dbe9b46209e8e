//! Starting, limiting, killing and outliving a child.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::{env, fmt};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::process::{self, Command};
use tokio::sync::mpsc;
use tracing::{Instrument, Span};

use super::log::{self, LogLine};
use super::talk::{self, Receiver, Sender};

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Usually [`program()`]; tests name the binary they were built with.
    pub program: PathBuf,
    /// The hidden subcommand, with its arguments. Visible to everybody on the host: no secrets here.
    pub arguments: Vec<String>,
    /// Set on top of our own environment.
    pub environment: Vec<(&'static str, String)>,
    /// Address space it may take, bytes; beyond it allocations fail and the child ends.
    pub memory_max: Option<u64>,
    /// Bytes that may wait for it in [`Sender`]'s queue.
    pub queue_bytes_max: usize,
    /// Where its log lines belong.
    pub span: Span,
    /// Who wants a copy of its log lines; a full queue loses copies.
    pub lines: Option<mpsc::Sender<LogLine>>,
}

/// This program, to be run again as a child.
pub fn program() -> PathBuf {
    // After an upgrade in place the old path is gone or another version; the kernel still has the one we are.
    env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// A running child. Dropping it kills the process.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    process: process::Child,
}

/// How a child ended, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(ExitStatus);

impl Ended {
    /// It left by itself, and was content.
    pub fn well(self) -> bool {
        self.0.success()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => write!(f, "{}", self.0),
        }
    }
}

/// Starts a child whose stdin is one end of a socket (both directions), whose stdout is closed and whose stderr goes to
/// the log. `To` is what we say to it, `From` what it answers. Must be called inside a tokio runtime.
pub fn spawn<To, From>(spec: Spec) -> io::Result<(Child, Sender<To>, Receiver<From>)>
where
    To: Serialize,
    From: DeserializeOwned,
{
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut process = Command::new(&spec.program)
        .args(&spec.arguments)
        .envs(spec.environment)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = process.id().ok_or_else(|| io::Error::other("the child ended at once"))?;
    if let Some(bytes) = spec.memory_max {
        // From outside and after the start: what it takes until here is its own code and libraries.
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(Pid::from_raw(pid as i32), Resource::As, limit)?;
    }
    if let Some(stderr) = process.stderr.take() {
        tokio::spawn(log::forward(stderr, spec.lines).instrument(spec.span));
    }
    let (read, write) = UnixStream::from_std(ours)?.into_split();
    Ok((Child { pid, process }, talk::sender(write, spec.queue_bytes_max), Receiver::new(read)))
}

impl Child {
    /// Process id, also after the end.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end. May be dropped while it waits.
    pub async fn wait(&mut self) -> io::Result<Ended> {
        self.process.wait().await.map(Ended)
    }

    /// SIGKILL, which reaches a stopped process too, and waits for its end.
    pub async fn kill(&mut self) -> io::Result<Ended> {
        // Fails only where the process is gone already.
        let _ = self.process.start_kill();
        self.wait().await
    }
}
