//! Starting, limiting, killing and outliving a child.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::{env, fmt, fs};

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
    /// Resident memory it may take, bytes: whoever waits for it looks with [`Child::over_limit`]. What grows faster than
    /// anybody looks ends at a wall, a limit of its private data ([`data_wall`]).
    pub resident_max: Option<u64>,
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

/// Limit of private writable memory (RLIMIT_DATA) that belongs to a limit of resident memory. It counts what is mapped, not
/// what is touched: stacks of threads and what malloc keeps for later. An encode process maps about as much again as it
/// touches.
pub const fn data_wall(resident_max: u64) -> u64 {
    2 * resident_max + (1 << 30)
}

/// A running child. Dropping it kills the process.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    process: process::Child,
    resident_max: Option<u64>,
    /// Highest resident memory seen, bytes.
    resident_seen: u64,
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
            (None, Some(signal)) => match signal_name(signal) {
                Some(name) => write!(f, "killed by signal {signal} ({name})"),
                None => write!(f, "killed by signal {signal}"),
            },
            (None, None) => write!(f, "{}", self.0),
        }
    }
}

/// Names of the signals that end processes (signal(7), numbers of x86 and ARM).
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
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
        // Ctrl-C in a terminal reaches the whole process group. Children are ended by us, in order.
        .process_group(0)
        .spawn()?;
    let pid = process.id().ok_or_else(|| io::Error::other("the child ended at once"))?;
    // core(5): a dump of hundreds of megabytes keeps the socket open for seconds, in which nobody would know that the
    // child is gone. One byte means none, also where dumps go to a pipe.
    let limits = [
        (Resource::Core, Some(1)),
        (Resource::As, spec.memory_max),
        (Resource::Data, spec.resident_max.map(data_wall)),
    ];
    for (resource, bytes) in limits {
        if let Some(bytes) = bytes {
            // From outside and after the start: what it takes until here is its own code and libraries.
            let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
            prlimit(Pid::from_raw(pid as i32), resource, limit)?;
        }
    }
    if let Some(stderr) = process.stderr.take() {
        tokio::spawn(log::forward(stderr, spec.lines).instrument(spec.span));
    }
    let (read, write) = UnixStream::from_std(ours)?.into_split();
    let child = Child { pid, process, resident_max: spec.resident_max, resident_seen: 0 };
    Ok((child, talk::sender(write, spec.queue_bytes_max), Receiver::new(read)))
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

    /// The limit of its resident memory, bytes, where it is beyond it. To be asked a few times a second.
    pub fn over_limit(&mut self) -> Option<u64> {
        let limit = self.resident_max?;
        let resident = resident_bytes(self.pid)?;
        self.resident_seen = self.resident_seen.max(resident);
        (resident > limit).then_some(limit)
    }

    /// The limit of its resident memory, bytes, where it had come so close that the wall behind it may be what ended it.
    pub fn was_near_limit(&self) -> Option<u64> {
        self.resident_max.filter(|limit| self.resident_seen > limit / 4 * 3)
    }

    /// SIGKILL, which reaches a stopped process too, and waits for its end.
    pub async fn kill(&mut self) -> io::Result<Ended> {
        // Fails only where the process is gone already.
        let _ = self.process.start_kill();
        self.wait().await
    }
}

/// From /proc, not from what the child says of itself; `None` where it is gone.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_by_name() {
        for (raw, want) in [
            (0, "exit status 0"),
            (3 << 8, "exit status 3"),
            (11, "killed by signal 11 (SIGSEGV)"),
            (6 | 0x80, "killed by signal 6 (SIGABRT)"),
            (34, "killed by signal 34"),
        ] {
            assert_eq!(Ended(ExitStatus::from_raw(raw)).to_string(), want);
        }
    }

    #[tokio::test]
    async fn a_child_that_takes_more_than_its_memory_is_seen() {
        let spec = |resident_max| Spec {
            program: PathBuf::from("sleep"),
            arguments: vec!["60".to_owned()],
            environment: Vec::new(),
            memory_max: None,
            resident_max: Some(resident_max),
            queue_bytes_max: 1024,
            span: Span::none(),
            lines: None,
        };
        let (mut small, ..) = spawn::<u8, u8>(spec(1 << 30)).expect("starts");
        assert_eq!((small.over_limit(), small.was_near_limit()), (None, None));
        let (mut large, ..) = spawn::<u8, u8>(spec(1)).expect("starts");
        // Between fork and exec it is there already.
        assert_eq!((large.over_limit(), large.was_near_limit()), (Some(1), Some(1)));
        assert_eq!(large.kill().await.expect("our child").to_string(), "killed by signal 9 (SIGKILL)");
        assert_eq!(large.over_limit(), None, "it is gone");
    }
}
