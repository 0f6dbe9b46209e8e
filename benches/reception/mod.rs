#![allow(dead_code)] // Each bench uses a part of it.
//! What the measurements of reception share: numbered messages, receivers that pass them on by UDP, their CPU, and the count of
//! what arrives.

#[path = "../../tests/ports/mod.rs"]
mod ports;
#[path = "../setting/mod.rs"]
mod setting;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use tandem::srt::socket::{Settings, Socket, TS_MESSAGE_BYTES};

use ports::free_tcp;
pub use ports::free_udp_address;
pub use setting::setting;

/// Clock ticks a second of /proc/PID/stat, on every Linux there is.
const TICKS: f64 = 100.0;
/// How long a receiver may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A receiver under measurement: its processes, killed at the end, and where it is called.
pub struct Receiver {
    processes: Vec<Child>,
    pub doors: Vec<(SocketAddr, Option<String>)>,
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        for child in &mut self.processes {
            // In order, so that it takes its children along.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
        }
        let told = Instant::now();
        for child in &mut self.processes {
            while told.elapsed() < Duration::from_secs(3) && matches!(child.try_wait(), Ok(None)) {
                sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Receiver {
    /// Tandem, with one SRT port for `sources` relay-only channels that send to `sink`.
    pub fn tandem(sources: usize, latency: Duration, sink: SocketAddr) -> Self {
        let (srt, folder) = (free_udp_address(), tempfile::tempdir().unwrap());
        let control = SocketAddr::from(([127, 0, 0, 1], free_tcp()));
        let latency = latency.as_millis();
        let channel = |n: usize| {
            format!(
                "[[channel]]\nid = \"c{n}\"\nladder = \"none\"\n[[channel.source]]\nid = \"s\"\ntype = \"srt\"\n\
                 latency = \"{latency}ms\"\n[[channel.output]]\nid = \"o\"\ntype = \"udp\"\naddress = \"{sink}\"\n"
            )
        };
        let channels: String = (0..sources).map(channel).collect();
        let config = folder.path().join("relay.toml");
        fs::write(&config, format!("[control]\nlisten = \"{control}\"\n[srt]\nlisten = \"{srt}\"\n{channels}"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        let process = quiet(command.arg("run").arg(&config));
        let doors = (0..sources).map(|n| (srt, Some(format!("c{n}/s")))).collect();
        Self { processes: vec![process], doors, _folder: Some(folder) }
    }

    /// srt-live-transmit, which needs a process and a port for each source.
    pub fn srt_live_transmit(sources: usize, latency: Duration, sink: SocketAddr) -> Self {
        let ports = (0..sources).map(|_| free_udp_address()).collect::<Vec<_>>();
        let start = |port: &SocketAddr| {
            let from = format!("srt://{port}?mode=listener&latency={}", latency.as_millis());
            let mut command = Command::new("srt-live-transmit");
            quiet(command.args(["-q", "-ll:fatal", "-chunk:1316", &from, &format!("udp://{sink}")]))
        };
        let processes = ports.iter().map(start).collect();
        Self { processes, doors: ports.into_iter().map(|port| (port, None)).collect(), _folder: None }
    }

    /// CPU seconds of each process so far, children behind their parents.
    pub fn cpu(&self) -> Vec<(String, f64)> {
        let pids = self.processes.iter().map(Child::id);
        pids.flat_map(|pid| std::iter::once(pid).chain(children(pid))).filter_map(cpu_of).collect()
    }
}

fn quiet(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Started by whichever of its threads.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.flat_map(|task| of(task).split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

fn cpu_of(pid: u32) -> Option<(String, f64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc_pid_stat(5): utime and stime are fields 14 and 15; what follows the name begins with field 3.
    let fields = stat.rsplit(')').next()?.split_whitespace().skip(11).take(2);
    let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let word = command.split('\0').nth(1).unwrap_or_default().to_owned();
    Some((word, ticks / TICKS))
}

/// Counts which messages arrive, each once.
pub struct Sink {
    pub to: SocketAddr,
    stop: Arc<AtomicBool>,
    counted: JoinHandle<u64>,
}

impl Sink {
    pub fn start(sources: usize, messages: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // What this count itself would lose is not the receiver's.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).is_err() {
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(64 << 20);
        }
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (to, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let counted = thread::spawn(move || {
            let (mut seen, mut count, mut buffer) = (vec![false; sources * messages], 0, [0; 2000]);
            while !stopped.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                for packet in buffer[..length].chunks_exact(188) {
                    let number = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap()) as usize;
                    // The first packet of a message stands for it.
                    if packet[12] == 0 && !std::mem::replace(&mut seen[number(4) * messages + number(8)], true) {
                        count += 1;
                    }
                }
            }
            count
        });
        Self { to, stop, counted }
    }

    /// How many arrived.
    pub fn count(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.counted.join().unwrap()
    }
}

/// Seven TS packets that say whose and which they are.
pub fn message(source: usize, index: usize) -> Vec<u8> {
    let packet = |n: u8| {
        let mut packet = vec![0x47, 0x01, 0x00, 0x10 | ((index * 7 + usize::from(n)) % 16) as u8];
        packet.extend_from_slice(&(source as u32).to_be_bytes());
        packet.extend_from_slice(&(index as u32).to_be_bytes());
        packet.push(n);
        packet.resize(188, 0x55);
        packet
    };
    (0..7).flat_map(packet).collect()
}

/// How far apart messages of a rate, bits a second, are.
pub fn interval(rate: u64) -> Duration {
    Duration::from_nanos(TS_MESSAGE_BYTES as u64 * 8 * 1_000_000_000 / rate)
}

/// Calls `to` from `from` until it answers.
pub fn call(from: SocketAddr, to: SocketAddr, stream_id: Option<&str>, latency: Duration) -> Socket {
    let begun = Instant::now();
    loop {
        // What libsrt does not take within the latency is lost.
        let settings = Settings { latency: Some(latency), stream_id, timeout: Some(latency), ..Settings::default() };
        let socket = Socket::new(&settings).unwrap();
        socket.bind(from).unwrap();
        match socket.connect(to) {
            Ok(()) => return socket,
            Err(error) if begun.elapsed() > PATIENCE => panic!("{to}: {error}"),
            Err(_) => sleep(Duration::from_millis(100)),
        }
    }
}

/// Sends `messages` of each socket at a rate, bits a second, in turn.
pub fn send(sockets: &[Socket], messages: usize, rate: u64) {
    let (start, apart) = (Instant::now(), interval(rate).div_f64(sockets.len() as f64));
    for n in 0..sockets.len() * messages {
        let early = (start + apart.mul_f64(n as f64)).saturating_duration_since(Instant::now());
        if early > Duration::from_micros(500) {
            sleep(early);
        }
        let (source, index) = (n % sockets.len(), n / sockets.len());
        let _ = sockets[source].send(&message(source, index));
    }
}
