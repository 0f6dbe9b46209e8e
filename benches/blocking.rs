//! How soon clients that wait for the next part have it: many LL-HLS clients on one playlist, each with a blocking reload open, as one
//! part after the other is published. Server and clients share the machine's cores, and a figure contains the clients' own work.
//!
//! `TANDEM_BENCH_CLIENTS` (2000) clients see `TANDEM_BENCH_PARTS` (40) parts, one each half second.

#![allow(clippy::unwrap_used)] // a measurement that cannot be taken should stop there

mod studio;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use studio::{PART, PARTS, Studio, rss_kb};
use tandem::media::ChannelId;
use tandem::origin::{ChannelFeed, Directory, Limits, start};
use tokio::sync::watch;

/// A viewer's connection.
struct Client {
    stream: TcpStream,
    got: Vec<u8>,
}

/// All viewers: each asks for a part, takes the answer, and asks for the one behind it.
struct Audience {
    clients: Vec<Client>,
    epoll: rustix::fd::OwnedFd,
    /// When which client had it.
    had: Vec<Instant>,
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

    /// Until every client has its answer, or for ten seconds.
    fn receive(&mut self) -> usize {
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
                        self.had.push(Instant::now());
                    }
                }
            }
        }
        self.clients.len() - self.had.len()
    }
}

/// Whether an answer is whole, and then whether it is a good one.
fn whole(answer: &[u8]) -> Option<bool> {
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
    let length: usize = text.split("content-length: ").nth(1)?.lines().next()?.trim().parse().unwrap();
    (answer.len() >= head + 4 + length).then(|| text.starts_with("http/1.1 200") && text.contains("gzip"))
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
    let (clients, parts) = (setting("TANDEM_BENCH_CLIENTS", 2000), setting("TANDEM_BENCH_PARTS", 40));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();

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
    let at = origin.address();
    let (say, heard) = channel::<(u64, u64)>();
    let (tell, told) = channel();
    let viewers = std::thread::Builder::new().name("viewers".to_owned());
    let viewers = viewers.spawn(move || {
        let mut audience = Audience::join(at, clients);
        while let Ok((segment, part)) = heard.recv() {
            audience.ask(segment, part);
            tell.send((Vec::new(), 0)).unwrap();
            let missed = audience.receive();
            tell.send((std::mem::take(&mut audience.had), missed)).unwrap();
        }
    });
    let viewers = viewers.unwrap();

    let (mut delays, mut missed_in_all, mut served) = (Vec::new(), 0, 0.0);
    for _ in 0..parts {
        say.send((studio.first + studio.parts / PARTS, studio.parts % PARTS)).unwrap();
        told.recv().unwrap();
        // They all wait by then: nothing is on its way.
        std::thread::sleep(PART);
        let cpu_before = cpu("origin");
        studio.part();
        let published = Instant::now();
        publish.send_replace(studio.packager.snapshot());
        let (had, missed): (Vec<Instant>, usize) = told.recv().unwrap();
        served += cpu("origin") - cpu_before;
        missed_in_all += missed;
        delays.extend(had.into_iter().map(|at| at.saturating_duration_since(published).as_secs_f64() * 1000.0));
    }
    let memory = rss_kb().saturating_sub(before) as f64 / clients as f64;
    drop(say);
    viewers.join().unwrap();
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    let each = served * 1e6 / (parts * clients) as f64;
    println!(
        "{clients} clients, {parts} parts, {threads} threads: first {:.1} ms, median {:.1}, p99 {:.1}, last {:.1}; {each:.0} us of CPU \
         and {memory:.0} kB a client; {missed_in_all} missed",
        at(0.0),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!(
        "RESULT blocking_p50_ms={:.1} blocking_p99_ms={:.1} blocking_missed={missed_in_all} blocking_cpu_us={each:.0} \
         blocking_memory_kb={memory:.0}",
        at(0.5),
        at(0.99)
    );
}
