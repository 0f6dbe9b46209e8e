//! What relaying costs: many sources of 2 Mbit/s on one SRT port, each going on to a UDP port, by Tandem; and the same by
//! srt-live-transmit, which needs a process and a port for each. Senders, relay and the count of what arrives share the machine: the
//! ratio means something, the figures themselves little.
//!
//! `TANDEM_BENCH_SOURCES` (100) and `TANDEM_BENCH_SECONDS` (20) set the size.

#![allow(clippy::unwrap_used)] // a measurement that cannot be taken should stop there

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use tandem::srt::socket::{Settings, Socket, TS_MESSAGE_BYTES};

const RATE: u64 = 2_000_000;
const LATENCY: Duration = Duration::from_millis(1000);
/// Clock ticks a second of /proc/PID/stat, on every Linux there is.
const TICKS: f64 = 100.0;

fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Processes under measurement, killed at the end.
struct Group(Vec<Child>);

impl Drop for Group {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Group {
    /// CPU seconds of all, with their children.
    fn cpu(&self) -> f64 {
        let of = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields: Vec<f64> = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .skip(11)
                .take(2)
                .filter_map(|field| field.parse().ok())
                .collect();
            fields.iter().sum::<f64>() / TICKS
        };
        let pids = self.0.iter().map(Child::id);
        pids.flat_map(|pid| {
            // Threads of the main process may have started them.
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            let threads = tasks.filter_map(|task| task.file_name().to_string_lossy().parse::<u32>().ok());
            let below: Vec<u32> = threads
                .flat_map(|thread| {
                    let text =
                        std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default();
                    text.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>()
                })
                .collect();
            std::iter::once(pid).chain(below).collect::<Vec<_>>()
        })
        .map(of)
        .sum()
    }
}

/// Counts which messages arrive, each once.
struct Sink {
    to: SocketAddr,
    stop: Arc<AtomicBool>,
    counted: JoinHandle<u64>,
}

impl Sink {
    fn start(sources: usize, messages: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // What this count itself would lose is not the relay's.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20);
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

    fn count(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.counted.join().unwrap()
    }
}

fn message(source: usize, index: usize) -> Vec<u8> {
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

/// Calls each of `to`, all from one port, so that one thread of libsrt sends for all.
fn connect(to: &[(SocketAddr, Option<String>)]) -> Vec<Socket> {
    let from = free_udp();
    let call = |(address, stream_id): &(SocketAddr, Option<String>)| {
        let begun = Instant::now();
        loop {
            let settings = Settings {
                latency: Some(LATENCY),
                stream_id: stream_id.as_deref(),
                timeout: Some(LATENCY),
                ..Settings::default()
            };
            let socket = Socket::new(&settings).unwrap();
            socket.bind(from).unwrap();
            match socket.connect(*address) {
                Ok(()) => return socket,
                Err(error) if begun.elapsed() > Duration::from_secs(30) => panic!("{address}: {error}"),
                Err(_) => sleep(Duration::from_millis(100)),
            }
        }
    };
    to.iter().map(call).collect()
}

/// Lost messages, and CPU seconds.
fn measure(name: &str, group: &Group, sockets: &[Socket], sink: Sink, messages: usize) -> (u64, f64) {
    let before = group.cpu();
    let interval = Duration::from_nanos(TS_MESSAGE_BYTES as u64 * 8 * 1_000_000_000 / RATE);
    let (start, total) = (Instant::now(), sockets.len() * messages);
    for n in 0..total {
        let due = start + interval.mul_f64(n as f64 / sockets.len() as f64);
        let early = due.saturating_duration_since(Instant::now());
        if early > Duration::from_micros(500) {
            sleep(early);
        }
        let (source, index) = (n % sockets.len(), n / sockets.len());
        // What libsrt does not take in a second is lost, and counted so.
        let _ = sockets[source].send(&message(source, index));
    }
    sleep(LATENCY + Duration::from_secs(2));
    let cpu = group.cpu() - before;
    let lost = total as u64 - sink.count();
    println!(
        "{name}: {} sources, {:.0} s, {cpu:.2} CPU seconds, {lost} of {total} messages lost",
        sockets.len(),
        start.elapsed().as_secs_f64()
    );
    (lost, cpu)
}

fn tandem(sources: usize, messages: usize) -> (u64, f64) {
    let sink = Sink::start(sources, messages);
    let (srt, folder) = (free_udp(), tempfile::tempdir().unwrap());
    let control = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let channel = |n: usize| {
        let to = sink.to;
        format!(
            "[[channel]]\nid = \"c{n}\"\nladder = \"none\"\n[[channel.source]]\nid = \"s\"\ntype = \"srt\"\n[[channel.output]]\n\
             id = \"o\"\ntype = \"udp\"\naddress = \"{to}\"\n"
        )
    };
    let channels: String = (0..sources).map(channel).collect();
    let config = folder.path().join("relay.toml");
    std::fs::write(&config, format!("[control]\nlisten = \"{control}\"\n[srt]\nlisten = \"{srt}\"\n{channels}"))
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    let child =
        command.arg("run").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let group = Group(vec![child.unwrap()]);
    let to: Vec<_> = (0..sources).map(|n| (srt, Some(format!("c{n}/s")))).collect();
    let sockets = connect(&to);
    let result = measure("tandem", &group, &sockets, sink, messages);
    // In order, so that it takes its gateway along.
    let _ = Command::new("kill").arg(group.0[0].id().to_string()).status();
    sleep(Duration::from_secs(2));
    result
}

fn srt_live_transmit(sources: usize, messages: usize) -> (u64, f64) {
    let sink = Sink::start(sources, messages);
    // All at once, so that none comes twice.
    let held: Vec<UdpSocket> = (0..sources).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<SocketAddr> = held.iter().map(|socket| socket.local_addr().unwrap()).collect();
    drop(held);
    let start = |port: &SocketAddr| {
        let from = format!("srt://127.0.0.1:{}?mode=listener&latency={}", port.port(), LATENCY.as_millis());
        let mut command = Command::new("srt-live-transmit");
        command.args(["-q", "-ll:fatal", "-chunk:1316", &from, &format!("udp://{}", sink.to)]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let group = Group(ports.iter().map(start).collect());
    let sockets = connect(&ports.iter().map(|port| (*port, None)).collect::<Vec<_>>());
    measure("srt-live-transmit", &group, &sockets, sink, messages)
}

fn main() {
    let (sources, seconds) = (setting("TANDEM_BENCH_SOURCES", 100), setting("TANDEM_BENCH_SECONDS", 20));
    let messages = seconds * RATE as usize / 8 / TS_MESSAGE_BYTES;
    let (their_lost, theirs) = srt_live_transmit(sources, messages);
    let (lost, ours) = tandem(sources, messages);
    println!("RESULT relay_cpu_ratio={:.2} lost={lost} reference_lost={their_lost}", ours / theirs);
}
