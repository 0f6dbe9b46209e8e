//! What it costs that each segment is made by an x264 of its own, held at one thread and at AVX2: bits at equal SSIM and CPU
//! seconds, against one continuous encode by the `x264` command with the same settings and an IDR picture at the same places
//! (and, for comparison only, one that may put key frames at scene cuts as well).
//!
//! Bits at equal SSIM: each clip is encoded at four CRF values; the bits of each of our points are compared with what the
//! continuous encode needs for the same SSIM, by interpolation of log(bits) over SSIM in decibels, and the mean is taken.
//! CPU seconds are those of whole processes, less what each takes for a clip of one picture, by turns, median of `TANDEM_BENCH_ROUNDS` (3). `TANDEM_BENCH_SECONDS` (12) of each clip
//! are taken, and of the clips `TANDEM_BENCH_COUNT` (all).

mod material;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use material::{Cost, Natural, Shape, filter, median, natural, run, setting};
use tandem::encode::ipc::ENVIRONMENT;
use tandem::encode::ladder::{RateControl, VideoRung};
use tandem::encode::pulse::Pulse;
use tandem::encode::registry::Element;
use tandem::encode::segment::{Packet, Recipe};
use tandem::encode::template::{BUILT_IN, Template, vbv};
use tandem::media::{FrameRate, Grid, RenditionId};

/// Below, around and above what ladders ask for.
const CRFS: [u32; 4] = [20, 23, 26, 30];
/// Where CPU is measured.
const CRF: u32 = 23;
const RATE: u32 = 25;
/// Slots of a segment of 2 s.
const SEGMENT: u64 = 50;
/// The word that makes this program the one that encodes segment by segment.
const CHILD: &str = "encode-segments";

/// Who encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encode {
    /// Ours.
    Segments,
    /// One x264, IDR pictures at the same places.
    Continuous,
    /// One x264, key frames at scene cuts too.
    SceneCuts,
}

/// A clip as raw pictures.
#[derive(Clone, Debug)]
struct Raw {
    file: PathBuf,
    width: u32,
    height: u32,
}

impl Raw {
    /// A clip of nothing but its first picture.
    fn first_picture(&self) -> Self {
        let file = self.file.with_extension("first.yuv");
        let mut picture = vec![0; (self.width * self.height * 3 / 2) as usize];
        File::open(&self.file).and_then(|mut raw| raw.read_exact(&mut picture)).expect("has a picture");
        std::fs::write(&file, picture).expect("room");
        Self { file, ..self.clone() }
    }
}

/// An outcome.
#[derive(Clone, Copy, Debug)]
struct Point {
    bits: f64,
    ssim: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, file, width, height, crf, out] = &arguments[..]
        && word == CHILD
    {
        let number = |text: &str| text.parse().expect("a number");
        let raw = Raw { file: file.into(), width: number(width), height: number(height) };
        return encode_segments(&raw, number(crf), Path::new(out));
    }
    let mut clips = natural();
    clips.truncate(setting("TANDEM_BENCH_COUNT", usize::MAX));
    if clips.len() < 3 {
        println!("determinism: only {} natural clips here; see scripts/clips.sh", clips.len());
        if clips.is_empty() {
            return;
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    println!("| clip | bits at equal SSIM | SSIM at CRF {CRF} | CPU | against scene cuts: bits | CPU |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let (mut bits, mut quality, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for clip in &clips {
        let raw = unpack(clip, folder.path());
        let curve = |encode| {
            CRFS.map(|crf| {
                let (out, _) = encode_one(encode, &raw, crf, folder.path());
                let bits = std::fs::metadata(&out).expect("was written").len() as f64 * 8.0;
                Point { bits, ssim: ssim(&out, &raw) }
            })
        };
        let first = raw.first_picture();
        let [ours, theirs, cuts] = [Encode::Segments, Encode::Continuous, Encode::SceneCuts].map(curve);
        let rounds = (0..setting("TANDEM_BENCH_ROUNDS", 3)).map(|_| {
            // What a process costs before its second picture is no cost of encoding: GStreamer's start is a tenth of a second.
            let cost = |encode| {
                let cost = |raw: &Raw| encode_one(encode, raw, CRF, folder.path()).1.seconds();
                cost(&raw) - cost(&first)
            };
            let (a, b, c) = (cost(Encode::Segments), cost(Encode::Continuous), cost(Encode::SceneCuts));
            (a / b, a / c)
        });
        let (seconds, seconds_cuts): (Vec<f64>, Vec<f64>) = rounds.unzip();
        let difference = ours[1].ssim - theirs[1].ssim;
        let row = (bits_ratio(&ours, &theirs), median(seconds), bits_ratio(&ours, &cuts), median(seconds_cuts));
        println!("| {} | {:.3} | {difference:+.4} | {:.3} | {:.3} | {:.3} |", clip.name, row.0, row.1, row.2, row.3);
        bits.push(row.0);
        quality.push(difference);
        cpu.push(row.1);
        std::fs::remove_file(&raw.file).expect("ours");
    }
    println!("load average {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    let worst = |values: &[f64]| values.iter().copied().fold(f64::MIN, f64::max);
    let lowest = quality.iter().copied().fold(f64::MAX, f64::min);
    println!("RESULT bits={:.3} ssim={lowest:+.4} cpu={:.3} clips={}", worst(&bits), worst(&cpu), clips.len());
}

/// Raw pictures of a clip, 720 lines at most.
fn unpack(clip: &Natural, folder: &Path) -> Raw {
    // Whole macroblocks, so that no tool pads where another does not.
    let (width, height) = match clip.height {
        720.. => (1280, 720),
        576 => (1024, 576),
        _ => (640, 272),
    };
    let shape = Shape { name: "", width, height, rate: RATE, seconds: setting("TANDEM_BENCH_SECONDS", 12) as u32 };
    let file = folder.join("raw.yuv");
    let frames = (shape.seconds * RATE).to_string();
    run(Command::new("ffmpeg")
        .args(["-v", "fatal", "-y", "-i"])
        .arg(&clip.file)
        .args(["-map", "0:v:0", "-vf", &filter(clip, shape), "-frames:v", &frames, "-f", "rawvideo"])
        .arg(&file));
    Raw { file, width, height }
}

fn encode_one(encode: Encode, raw: &Raw, crf: u32, folder: &Path) -> (PathBuf, Cost) {
    let out = folder.join("out.264");
    let cost = match encode {
        Encode::Segments => {
            let mut ours = Command::new(std::env::current_exe().expect("this program"));
            ours.envs(ENVIRONMENT)
                .arg(CHILD)
                .arg(&raw.file)
                .args([raw.width, raw.height, crf].map(|n| n.to_string()))
                .arg(&out);
            run(&mut ours)
        }
        Encode::Continuous | Encode::SceneCuts => {
            let rung = rung(raw, crf);
            let (maxrate, bufsize) = vbv(rung.rate, grid().segment());
            let mut x264 = Command::new("x264");
            x264.stderr(Stdio::null());
            x264.args([
                "--quiet",
                "--no-progress",
                "--threads",
                "1",
                "--sync-lookahead",
                "0",
                "--preset",
                &rung.preset,
            ]);
            for (name, value) in [
                ("--keyint", SEGMENT as u32),
                ("--rc-lookahead", rung.lookahead),
                ("--bframes", rung.bframes),
                ("--crf", crf),
                ("--vbv-maxrate", maxrate as u32),
                ("--vbv-bufsize", bufsize as u32),
                ("--fps", RATE),
            ] {
                x264.args([name, &value.to_string()]);
            }
            if encode == Encode::Continuous {
                x264.arg("--no-scenecut");
            }
            let size = format!("{}x{}", raw.width, raw.height);
            x264.args(["--demuxer", "raw", "--input-res", &size, "--muxer", "raw", "-o"]).arg(&out).arg(&raw.file);
            run(&mut x264)
        }
    };
    (out, cost)
}

/// Mean SSIM over all planes, as ffmpeg has it.
fn ssim(coded: &Path, raw: &Raw) -> f64 {
    let size = format!("{}x{}", raw.width, raw.height);
    let graph = "[0:v]settb=1/25,setpts=N[a];[1:v]settb=1/25,setpts=N[b];[a][b]ssim";
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostats", "-f", "h264", "-i"]).arg(coded);
    command.args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-i"]).arg(&raw.file);
    let out = command.args(["-lavfi", graph, "-f", "null", "-"]).output().expect("ffmpeg is installed");
    let text = String::from_utf8_lossy(&out.stderr);
    let value = text.rsplit_once("All:").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no SSIM in {text}"))
}

/// Our bits over theirs at equal SSIM: the mean over those of our points that lie inside their curve.
fn bits_ratio(ours: &[Point], theirs: &[Point]) -> f64 {
    let decibels = |point: &Point| -10.0 * (1.0 - point.ssim).log10();
    let ratios: Vec<f64> = ours
        .iter()
        .filter_map(|point| {
            let at = decibels(point);
            let (a, b) = theirs.windows(2).map(|pair| (pair[0], pair[1])).min_by(|x, y| {
                // The stretch whose middle is nearest; just outside of the curve its end is drawn on.
                let off = |(a, b): &(Point, Point)| (at - (decibels(a) + decibels(b)) / 2.0).abs();
                off(x).total_cmp(&off(y))
            })?;
            let share = (at - decibels(&a)) / (decibels(&b) - decibels(&a));
            let bits = (a.bits.ln() + share * (b.bits.ln() - a.bits.ln())).exp();
            (-0.25..=1.25).contains(&share).then_some(point.bits / bits)
        })
        .collect();
    ratios.iter().sum::<f64>() / ratios.len() as f64
}

fn rung(raw: &Raw, crf: u32) -> VideoRung {
    // A tenth of a bit a pixel: 2.3 Mbit/s at 720p25, which binds on hard pictures as a ladder's cap does.
    let max_bitrate = raw.width * raw.height * RATE / 10 / 1000 * 1000;
    let rate = RateControl::CappedCrf { crf: crf as f32, max_bitrate };
    VideoRung::new(RenditionId::new("v").expect("a good name"), raw.width, raw.height, rate)
}

/// Segments of [`SEGMENT`] pictures.
fn grid() -> Grid {
    let rate = FrameRate::new(RATE, 1).expect("a good rate");
    Grid::new(Duration::from_secs(u64::from(SEGMENT as u32 / RATE)), rate).expect("a good grid")
}

/// The child: the encode process's own chains on raw pictures.
fn encode_segments(raw: &Raw, crf: u32, out: &Path) {
    gst::init().expect("GStreamer is installed");
    let template = Template::parse(BUILT_IN).expect("good");
    let pulse = Pulse::new();
    let recipe = Recipe::new(&template, Element::X264enc, &rung(raw, crf), grid()).expect("x264 knows this rate");
    let mut pictures = File::open(&raw.file).expect("raw pictures");
    let mut out = BufWriter::new(File::create(out).expect("a file"));
    let mut write = |packets: Vec<Packet>| {
        packets.iter().for_each(|packet| out.write_all(&packet.data).expect("room"));
    };
    let pool = pool(raw);
    let mut open = None;
    let mut slot = 0;
    loop {
        let mut picture = pool.acquire_buffer(None).expect("a buffer");
        {
            let picture = picture.get_mut().expect("fresh from the pool");
            let mut map = picture.map_writable().expect("fresh from the pool");
            if pictures.read_exact(&mut map).is_err() {
                break;
            }
        }
        let mut encoder = open.take().unwrap_or_else(|| recipe.build(&pulse).expect("x264 starts"));
        write(encoder.push(slot % SEGMENT, picture).expect("x264 takes it"));
        slot += 1;
        if slot % SEGMENT == 0 {
            write(encoder.finish());
        } else {
            open = Some(encoder);
        }
    }
    if let Some(mut encoder) = open {
        write(encoder.finish());
    }
}

/// Buffers for raw pictures, used again and again as an encode process does.
fn pool(raw: &Raw) -> gst::BufferPool {
    let pool = gst::BufferPool::new();
    let mut config = pool.config();
    config.set_params(None, raw.width * raw.height * 3 / 2, 0, 0);
    pool.set_config(config).expect("a good config");
    pool.set_active(true).expect("memory");
    pool
}
