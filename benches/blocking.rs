//! How soon clients that wait for the next part have it: many LL-HLS clients on one playlist, each with a blocking reload open, as one
//! part after the other is published. Server and clients share the machine's cores, and a figure contains the clients' own work; they are
//! processes of their own, for a process may have so many descriptors and no more.
//!
//! `TANDEM_BENCH_CLIENTS` (2000) clients see `TANDEM_BENCH_PARTS` (40) parts, one each half second.

#![allow(clippy::unwrap_used)] // a measurement that cannot be taken should stop there

mod studio;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use studio::{PART, PARTS, Studio, rss_kb};
use tandem::media::ChannelId;
use tandem::origin::{ChannelFeed, Directory, Limits, start};
use tokio::sync::watch;

/// Where an audience finds the server, and how many it is: `127.0.0.1:4000 5000`.
const AUDIENCE: &str = "TANDEM_BENCH_AUDIENCE";
/// Clients of one process.
const AUDIENCE_MAX: usize = 5000;

/// Nanoseconds of the wall clock, which all processes of a machine share; nobody sets it in half a second.
fn now_ns() -> u64 {
    tandem::clock::now().utc.as_nanos() as u64
}

/// A viewer's connection.
struct Client {
    stream: TcpStream,
    got: Vec<u8>,
}

/// Many viewers: each asks for a part, takes the answer, and asks for the one behind it.
struct Audience {
    clients: Vec<Client>,
    epoll: rustix::fd::OwnedFd,
    /// When which client had it.
    had: Vec<u64>,
}

impl Audience {
    fn join(at: SocketAddr, count: usize) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let client = |i: usize| {
            let stream = TcpStream::connect(at).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            let data = epoll::EventData::new_u64(i as u64);
            epoll::add(&epoll, stream.as_fd(), data, epoll::EventFlags::IN).unwrap();
            Client { stream, got: Vec::new() }
        };
        Self { clients: (0..count).map(client).collect(), epoll, had: Vec::with_capacity(count) }
    }

    fn ask(&mut self, segment: u64, part: u64) {
        let request = format!(
            "GET /live/bench/v0/index.m3u8?_HLS_msn={segment}&_HLS_part={part} HTTP/1.1\r\nHost: bench\r\n\
             Accept-Encoding: gzip\r\n\r\n"
        );
        for client in &mut self.clients {
            client.stream.write_all(request.as_bytes()).unwrap();
        }
    }

    /// Until every client has its answer, or for ten seconds; how many were answered with an error, or not at all.
    fn receive(&mut self) -> (usize, usize) {
        let until = Instant::now() + Duration::from_secs(10);
        self.had.clear();
        let mut events = Vec::with_capacity(1024);
        let mut bytes = [0; 8192];
        let mut failed = 0;
        while self.had.len() + failed < self.clients.len() && Instant::now() < until {
            events.clear();
            let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&second)).unwrap();
            for event in &events {
                let client = &mut self.clients[event.data.u64() as usize];
                let read = client.stream.read(&mut bytes).unwrap_or(0);
                client.got.extend_from_slice(&bytes[..read]);
                if let Some(ok) = whole(&client.got) {
                    client.got.clear();
                    failed += usize::from(!ok);
                    if ok {
                        self.had.push(now_ns());
                    }
                }
            }
        }
        (failed, self.clients.len() - self.had.len() - failed)
    }
}

/// Whether an answer is whole, and then whether it is a good one.
fn whole(answer: &[u8]) -> Option<bool> {
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
    let length: usize = text.split("content-length: ").nth(1)?.lines().next()?.trim().parse().unwrap();
    (answer.len() >= head + 4 + length).then(|| text.starts_with("http/1.1 200") && text.contains("gzip"))
}

/// What an audience process does: for each line `segment part` it asks, says `asked`, and then a line of errors, of clients that were
/// missed, and of the times at which the others had their answer.
fn watch_as_told(what: &str) {
    let (at, count) = what.split_once(' ').unwrap();
    let mut audience = Audience::join(at.parse().unwrap(), count.parse().unwrap());
    println!("joined");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (segment, part) = line.split_once(' ').unwrap();
        audience.ask(segment.parse().unwrap(), part.parse().unwrap());
        println!("asked");
        let (failed, missed) = audience.receive();
        let had: Vec<String> = audience.had.iter().map(u64::to_string).collect();
        println!("{failed} {missed} {}", had.join(" "));
    }
}

/// An audience in a process of its own.
struct Hall {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Hall {
    fn open(at: SocketAddr, count: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(AUDIENCE, format!("{at} {count}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut hall = Self { child, to, from };
        assert_eq!(hall.line(), "joined");
        hall
    }

    fn say(&mut self, line: &str) {
        self.to.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn close(mut self) {
        drop(self.to.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// CPU seconds of the threads whose name begins so.
fn cpu(name: &str) -> f64 {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (head, rest) = stat.rsplit_once(')').unwrap();
        if head.split_once('(').unwrap().1.starts_with(name) {
            let fields: Vec<&str> = rest.split_whitespace().collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    // USER_HZ is 100 on every Linux.
    ticks as f64 / 100.0
}

fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

fn main() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
    if let Ok(what) = std::env::var(AUDIENCE) {
        return watch_as_told(&what);
    }
    let (clients, parts) = (setting("TANDEM_BENCH_CLIENTS", 2000), setting("TANDEM_BENCH_PARTS", 40));

    let mut studio = Studio::new(1, 30);
    for _ in 0..PARTS * 20 {
        studio.part();
    }
    let (publish, snapshots) = watch::channel(studio.packager.snapshot());
    let directory = Arc::new(Directory::default());
    directory.insert(&ChannelId::new("bench").unwrap(), ChannelFeed::live(snapshots));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let limits = Limits { connections: clients + 100, ..Limits::default() };
    let origin = start("127.0.0.1:0".parse().unwrap(), threads, directory, limits).unwrap();

    let before = rss_kb();
    let sizes = (0..clients.div_ceil(AUDIENCE_MAX)).map(|i| AUDIENCE_MAX.min(clients - i * AUDIENCE_MAX));
    let mut halls: Vec<Hall> = sizes.map(|count| Hall::open(origin.address(), count)).collect();

    let (mut delays, mut failed, mut missed, mut served) = (Vec::new(), 0, 0, 0.0);
    for _ in 0..parts {
        let wanted = format!("{} {}\n", studio.first + studio.parts / PARTS, studio.parts % PARTS);
        halls.iter_mut().for_each(|hall| hall.say(&wanted));
        halls.iter_mut().for_each(|hall| assert_eq!(hall.line(), "asked"));
        // They all wait by then: nothing is on its way.
        std::thread::sleep(PART);
        let cpu_before = cpu("origin");
        studio.part();
        let published = now_ns();
        publish.send_replace(studio.packager.snapshot());
        for hall in &mut halls {
            let line = hall.line();
            let mut numbers = line.split(' ').map(|number| number.parse::<u64>().unwrap_or(0));
            (failed, missed) = (failed + numbers.next().unwrap(), missed + numbers.next().unwrap());
            delays.extend(numbers.map(|had| had.saturating_sub(published) as f64 / 1e6));
        }
        served += cpu("origin") - cpu_before;
    }
    let memory = rss_kb().saturating_sub(before) as f64 / clients as f64;
    halls.into_iter().for_each(Hall::close);
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    let each = served * 1e6 / (parts * clients) as f64;
    println!(
        "{clients} clients, {parts} parts, {threads} threads: first {:.1} ms, median {:.1}, p99 {:.1}, last {:.1}; {each:.0} us of CPU \
         and {memory:.0} kB a client; {failed} errors, {missed} missed",
        at(0.0),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!(
        "RESULT blocking_p50_ms={:.1} blocking_p99_ms={:.1} blocking_errors={failed} blocking_missed={missed} blocking_cpu_us={each:.0} \
         blocking_memory_kb={memory:.0}",
        at(0.5),
        at(0.99)
    );
}
