//! How soon clients that wait for the next part have it: many LL-HLS clients on one playlist, each with a blocking reload open, as one
//! part after the other is published. Server and clients share the machine's cores, and a figure contains the clients' own work.
//!
//! `TANDEM_BENCH_CLIENTS` (2000) clients see `TANDEM_BENCH_PARTS` (40) parts, one each half second.

#![allow(clippy::unwrap_used)] // a measurement that cannot be taken should stop there

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use tandem::clock::{self, Now};
use tandem::config::Serve;
use tandem::encode::ipc::{CodedUnit, Material, RenditionIndex};
use tandem::encode::ladder::{RateControl, VideoRung};
use tandem::media::{ChannelId, FrameRate, Grid, PipelineId, RenditionId, SegmentNumber};
use tandem::origin::{ChannelFeed, Directory, Limits, start};
use tandem::package::{Config, Packager};
use tokio::sync::watch;

/// 640x360, High, level 3.0, and its picture parameters.
const SETS: [&[u8]; 2] = [
    b"\x67\x64\x00\x1e\xac\xd9\x40\xa0\x2f\xf9\x61\x00\x00\x03\x00\x01\x00\x00\x03\x00\x32\x0f\x16\x2d\x96",
    b"\x68\xeb\xe3\xcb\x22\xc0",
];
/// Pictures of a part and parts of a segment: half seconds at 24 frames a second.
const PICTURES: u64 = 12;
const PARTS: u64 = 4;
const EVERY: Duration = Duration::from_millis(500);

/// A channel of one rendition, whose parts come when they are told to.
struct Studio {
    packager: Packager,
    begins: Now,
    first: u64,
    parts: u64,
}

impl Studio {
    fn new() -> Self {
        let grid = Grid::new(Duration::from_secs(2), FrameRate::new(24, 1).unwrap()).unwrap();
        let rate = RateControl::CappedCrf { crf: 23.0, max_bitrate: 1_000_000 };
        let now = clock::now();
        let config = Config {
            channel: ChannelId::new("bench").unwrap(),
            grid,
            part: EVERY,
            serve: Serve { hls: true, low_latency_hls: true, ..Serve::default() },
            profiles: Vec::new(),
            window: Duration::from_secs(60),
            pipelines: vec![PipelineId::A],
            video: vec![VideoRung::new(RenditionId::new("v").unwrap(), 640, 360, rate)],
            audio: Vec::new(),
            language: "und".to_owned(),
            time_uri: "/time".to_owned(),
            deterministic: true,
            save: false,
        };
        let mut packager = Packager::new(config, now).unwrap();
        packager.pipeline(now, PipelineId::A, true);
        let first = grid.segment_at(now.channel_time()).0;
        Self { packager, begins: now, first, parts: 0 }
    }

    /// The next part. Time is that of the parts, whenever they come.
    fn part(&mut self) {
        let now = self.begins.after(EVERY * u32::try_from(self.parts + 1).unwrap());
        let (segment, part) = (SegmentNumber(self.first + self.parts / PARTS), self.parts % PARTS);
        let slots = self.packager.config().grid.slots(segment);
        for i in part * PICTURES..(part + 1) * PICTURES {
            let key = i == 0;
            let slice: &[u8] = if key { &[0x65, 0x88, 1, 2, 3] } else { &[0x41, 0x9a, 1, 2, 3] };
            let nals = SETS.iter().copied().filter(|_| key).chain([slice]);
            let data: Bytes = nals.flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect::<Vec<u8>>().into();
            let (rendition, material) = (RenditionIndex(0), Material::Source);
            let position = slots.start + i;
            self.packager.coded(now, PipelineId::A, CodedUnit { rendition, segment, position, key, material, data });
        }
        if part == PARTS - 1 {
            let (rendition, filled) = (RenditionIndex(0), tandem::encode::ipc::Filled::default());
            let units = u32::try_from(PARTS * PICTURES).unwrap();
            let end = tandem::encode::ipc::SegmentEnd { rendition, segment, units, filled };
            self.packager.segment_end(now, PipelineId::A, end);
        }
        self.packager.poll(now);
        self.parts += 1;
    }
}

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
            "GET /live/bench/v/index.m3u8?_HLS_msn={segment}&_HLS_part={part} HTTP/1.1\r\nHost: bench\r\n\
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

fn rss_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

fn main() {
    let (clients, parts) = (setting("TANDEM_BENCH_CLIENTS", 2000), setting("TANDEM_BENCH_PARTS", 40));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();

    let mut studio = Studio::new();
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
    let (say, heard): (Sender<(u64, u64)>, Receiver<(u64, u64)>) = channel();
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
        std::thread::sleep(EVERY);
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
