//! How long a picture is on its way, stage by stage, from the transport stream to the part it is published in: a feed at the
//! pace of its decode times, an encode process that makes a ladder of it, once with look-ahead and once without (`latency = "low"`).
//!
//! The feed hands over each picture's packets at once, at its decode time; `demux` then is the wait for the next picture's
//! first packet, which ends a PES packet of open length. `encode` is from a picture's PES packet going into the
//! encode process to its coded unit coming out, with the reordering of the source in it (docs/encode.md).
//!
//! `TANDEM_BENCH_SECONDS` (20) is the length of each run. A busy machine adds what it adds: run it on a quiet one.

#[path = "../tests/encode/driver.rs"]
mod driver;
mod material;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use driver::{grid, job};
use material::{NEWS, Shape, contribution, setting};
use tandem::child::frame::{read_message, write_message};
use tandem::clock;
use tandem::demux::{self, Demux};
use tandem::encode::decode::VideoDecoder;
use tandem::encode::ipc::{CodedUnit, Deinterlace, FromWorker, Job, ToWorker};
use tandem::encode::ladder::{RateControl, VideoRung};
use tandem::encode::pulse::Pulse;
use tandem::encode::template::{BUILT_IN, Template};
use tandem::media::{ChannelId, ChannelTime, Grid, Item, PipelineId, RenditionId, SourceTime, TrackKind};
use tandem::package::{self, Packager};
use tandem::wire::ts::PesHeader;

const PACKET: usize = 188;
const SIZES: [(u32, u32, u32); 4] =
    [(1280, 720, 3_000_000), (768, 432, 1_200_000), (640, 360, 700_000), (384, 216, 300_000)];
const PART_MS: u32 = 500;
/// Slots behind a segment's boundary that count as at the boundary.
const AT_BOUNDARY: u64 = 5;

/// The packets of one picture, with all that lies between it and the next.
struct Burst {
    /// After the first picture.
    due: Duration,
    bytes: Vec<u8>,
}

/// A picture's way in.
#[derive(Clone, Copy)]
struct In {
    fed: Instant,
    demuxed: Instant,
}

/// Feeds a demux in real time and puts its items on the channel timeline.
struct Feed {
    bursts: Vec<Burst>,
    demux: Demux,
    began: Instant,
    at: ChannelTime,
    first: Option<SourceTime>,
    grid: Grid,
    seen: BTreeMap<u64, In>,
}

impl Feed {
    fn new(file: &Path, grid: Grid, at: ChannelTime) -> Self {
        let bursts = bursts(&std::fs::read(file).expect("the clip"));
        let demux = Demux::new(demux::Config::default());
        Self { bursts, demux, began: clock::now().mono, at, first: None, grid, seen: BTreeMap::new() }
    }

    fn run(mut self, seconds: u64, mut to: impl FnMut(Item<ChannelTime>, bool)) -> BTreeMap<u64, In> {
        self.began = clock::now().mono;
        let bursts = std::mem::take(&mut self.bursts);
        // The time of a picture's last byte, by decode order: that of the burst it came in.
        let mut fed: Vec<Instant> = Vec::new();
        let mut taken = 0;
        let mut video = None;
        for burst in bursts.iter().take_while(|burst| burst.due.as_secs() < seconds) {
            let now = clock::now().mono;
            std::thread::sleep((self.began + burst.due).saturating_duration_since(now));
            fed.push(clock::now().mono);
            self.demux.push(&burst.bytes);
            while let Some(item) = self.demux.pop() {
                let demuxed = clock::now().mono;
                let mut picture = false;
                let item = match item {
                    Item::Tracks(tracks) => {
                        video = tracks.first(TrackKind::Video).map(|track| track.id);
                        Item::Tracks(tracks)
                    }
                    Item::Unit(unit) => {
                        let first = *self.first.get_or_insert(unit.pts);
                        let pts = self.at.offset(unit.pts - first);
                        picture = Some(unit.track) == video;
                        if picture {
                            let slot = self.grid.slot_at(pts).0;
                            self.seen.insert(slot, In { fed: fed[taken], demuxed });
                            taken += 1;
                        }
                        Item::Unit(unit.at(pts))
                    }
                    Item::Pace(_) => continue,
                    Item::Break(news) => Item::Break(news),
                    Item::End => Item::End,
                };
                to(item, picture);
            }
        }
        self.seen
    }
}

/// Cuts a transport stream at the first packet of each video PES packet.
fn bursts(ts: &[u8]) -> Vec<Burst> {
    let mut bursts: Vec<Burst> = Vec::new();
    let mut head = Vec::new();
    let mut first = None;
    for packet in ts.chunks_exact(PACKET) {
        let starts = packet[1] & 0x40 != 0;
        let adaptation = if packet[3] & 0x20 == 0 { 0 } else { 1 + usize::from(packet[4]) };
        let payload = packet.get(4 + adaptation..).unwrap_or_default();
        // Stream ids of video (ISO/IEC 13818-1 Table 2-22).
        let video = starts && payload.len() > 9 && payload[..3] == [0, 0, 1] && payload[3] & 0xf0 == 0xe0;
        let header = if video { PesHeader::parse(payload).ok() } else { None };
        if let Some(dts) = header.and_then(|header| header.dts.or(header.pts)) {
            let ticks = dts.saturating_sub(*first.get_or_insert(dts));
            bursts.push(Burst { due: Duration::from_micros(ticks * 100 / 9), bytes: std::mem::take(&mut head) });
        }
        match bursts.last_mut() {
            Some(burst) => burst.bytes.extend_from_slice(packet),
            None => head.extend_from_slice(packet),
        }
    }
    bursts
}

/// Milliseconds, sorted.
#[derive(Default)]
struct Spread(Vec<f64>);

impl Spread {
    fn add(&mut self, from: Instant, to: Instant) {
        self.0.push(to.saturating_duration_since(from).as_secs_f64() * 1000.0);
    }

    fn at(&mut self, share: f64) -> f64 {
        self.0.sort_by(f64::total_cmp);
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    fn row(&mut self, name: &str) {
        println!("| {name} | {:.1} | {:.1} | {:.1} |", self.at(0.5), self.at(0.95), self.at(1.0));
    }
}

/// What one run has shown.
struct Outcome {
    /// Of the slowest rung.
    p95: f64,
    /// Worst at a boundary less that.
    boundary: f64,
}

fn main() {
    gstreamer::init().expect("GStreamer is installed");
    let folder = tempfile::tempdir().expect("a folder");
    let seconds = setting("TANDEM_BENCH_SECONDS", 20) as u64;
    let (file, what) = contribution(Shape { seconds: seconds as u32 + 1, ..NEWS }, folder.path());
    println!("== {}: {what}", NEWS.name);
    let grid = grid(2000, NEWS.rate, 1);
    println!("| stage, ms | median | p95 | worst |\n| --- | --- | --- | --- |");
    decoding(&file, grid, seconds.min(10));
    let usual = encoding("look-ahead 10", &file, grid, seconds, false);
    let low = encoding("low latency", &file, grid, seconds, true);
    println!("load average {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    println!(
        "RESULT encode_p95_ms={:.0} boundary_ms={:.0} low_p95_ms={:.0} low_boundary_ms={:.0}",
        usual.p95, usual.boundary, low.p95, low.boundary
    );
}

/// The start of the first segment behind this moment.
fn start(grid: Grid) -> ChannelTime {
    grid.segment_start(grid.segment_at(clock::now().channel_time()).next())
}

/// Demux and decoder alone.
fn decoding(file: &Path, grid: Grid, seconds: u64) {
    let at = start(grid);
    let template = Template::parse(BUILT_IN).expect("good");
    let mut decoder =
        VideoDecoder::new(template, Deinterlace::Auto, grid.rate(), at - Duration::from_secs(3600), Pulse::new());
    let mut decoded = BTreeMap::new();
    let seen = Feed::new(file, grid, at).run(seconds, |item, picture| {
        let Item::Unit(unit) = item else { return };
        for picture in if picture { decoder.push(&unit) } else { Vec::new() } {
            decoded.insert(grid.slot_at(picture.at).0, clock::now().mono);
        }
    });
    let (mut demux, mut decode) = (Spread::default(), Spread::default());
    for (slot, at) in decoded {
        demux.add(seen[&slot].fed, seen[&slot].demuxed);
        decode.add(seen[&slot].demuxed, at);
    }
    demux.row("demux");
    decode.row("decode and slot");
}

/// The whole encode process, and what becomes of its units.
fn encoding(name: &str, file: &Path, grid: Grid, seconds: u64, zero_latency: bool) -> Outcome {
    let at = start(grid);
    let ladder: Vec<VideoRung> = SIZES
        .iter()
        .map(|&(width, height, max_bitrate)| {
            let id = RenditionId::new(&format!("v{height}")).expect("a good name");
            let rung = VideoRung::new(id, width, height, RateControl::CappedCrf { crf: 23.0, max_bitrate });
            VideoRung { zero_latency, ..rung }
        })
        .collect();
    let rungs = ladder.len();
    let mut packager = packager(&ladder, grid);
    let job = Job { video: ladder, ..job(grid, grid.segment_at(at)) };
    let (mut socket, units, mut child) = spawn(&job);
    let seen = Feed::new(file, grid, at).run(seconds, |item, _| {
        write_message(&mut socket, &ToWorker::Item(item)).expect("the worker reads");
    });
    write_message(&mut socket, &ToWorker::Finish).expect("the worker reads");
    let units: Vec<(Instant, CodedUnit)> = units.into_iter().collect();
    assert!(child.wait().is_ok_and(|status| status.success()), "the worker");

    let last_whole = units.iter().map(|(_, unit)| unit.segment).max().expect("units");
    let per_part = u64::from(PART_MS) * u64::from(grid.rate().num()) / 1000 / u64::from(grid.rate().den());
    let mut worst = Outcome { p95: 0.0, boundary: 0.0 };
    let (mut segmenter, mut part, mut all) = (Spread::default(), Spread::default(), Spread::default());
    let mut at_boundary_max = 0.0f64;
    for rung in 0..rungs {
        let mut encode = Spread::default();
        let mut waiting: Vec<(Instant, In)> = Vec::new();
        // The last segment ends with the feed, not with the media.
        let mine = units.iter().filter(|(_, u)| usize::from(u.rendition.0) == rung && u.segment < last_whole);
        for (out, unit) in mine {
            let Some(way) = seen.get(&unit.position) else { continue };
            encode.add(way.demuxed, *out);
            let into = unit.position - grid.first_slot(unit.segment).0;
            // The first segment's boundary is the start of everything.
            if into < AT_BOUNDARY && unit.segment != job.start {
                let ms = encode.0.last().copied().unwrap_or(0.0);
                at_boundary_max = at_boundary_max.max(ms);
            }
            let before = clock::now().mono;
            packager.coded(clock::now(), PipelineId::A, unit.clone());
            segmenter.add(before, clock::now().mono);
            waiting.push((*out, *way));
            if waiting.len() as u64 == per_part {
                for (ready, way) in waiting.drain(..) {
                    part.add(ready, *out);
                    all.add(way.fed, *out);
                }
            }
        }
        encode.row(&format!("{name}: decode, scale, encode {}", job.video[rung].id.as_str()));
        worst.p95 = worst.p95.max(encode.at(0.95));
    }
    segmenter.row(&format!("{name}: segmenter, a unit"));
    part.row(&format!("{name}: wait for the rest of the part ({PART_MS} ms)"));
    all.row(&format!("{name}: TS in to part out"));
    worst.boundary = at_boundary_max - worst.p95;
    worst
}

/// A packager that takes one pipeline's units, so that its segmenter's work is in the table.
fn packager(video: &[VideoRung], grid: Grid) -> Packager {
    let now = clock::now();
    let config = package::Config {
        channel: ChannelId::new("bench").expect("a good name"),
        grid,
        part: Duration::from_millis(u64::from(PART_MS)),
        serve: tandem::config::Serve::default(),
        profiles: Vec::new(),
        window: Duration::from_secs(20),
        pipelines: vec![PipelineId::A],
        video: video.to_vec(),
        audio: Vec::new(),
        language: "und".to_owned(),
        time_uri: String::new(),
        deterministic: true,
        disk: false,
        save: false,
    };
    let mut packager = Packager::new(config, now).expect("a good config");
    packager.pipeline(now, PipelineId::A, true);
    packager
}

/// An encode process, its socket, and what comes out of it, stamped as it comes.
fn spawn(job: &Job) -> (UnixStream, Receiver<(Instant, CodedUnit)>, std::process::Child) {
    let (mut ours, theirs) = UnixStream::pair().expect("a socket pair");
    let child = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .arg("encode-worker")
        .envs(tandem::encode::ipc::ENVIRONMENT)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .expect("the binary starts");
    write_message(&mut ours, &ToWorker::Job(Box::new(job.clone()))).expect("the worker reads");
    let mut from = ours.try_clone().expect("a socket");
    let (to, units) = channel();
    std::thread::spawn(move || {
        while let Ok(Some(message)) = read_message(&mut from) {
            if let FromWorker::Coded(unit) = message
                && to.send((clock::now().mono, unit)).is_err()
            {
                break;
            }
        }
    });
    (ours, units, child)
}
