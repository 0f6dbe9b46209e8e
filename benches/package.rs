//! What packaging costs without encoding: a transport stream of 5 Mbit/s H.264 and AAC through our demux and packager, one pipeline, as
//! fast as one thread goes, against `ffmpeg -c copy` making HLS (fMP4) and DASH of the same file on a tmpfs. And what a channel takes that
//! comes over SRT: how many of them a core carries.
//!
//! ffmpeg's HLS is measured with fMP4 segments, which is what ours has, and with its default, the transport stream copied (`hls_ts`).
//!
//! Every run is a process of its own, from its start to its end, reads the file, and keeps a window of 15 segments. Theirs writes sound and
//! picture of HLS into common segments, names no byte, compresses nothing, tells no player of bit rates. Ours makes a rendition of each and
//! one for trick play, hashes every byte (BLAKE3), keeps a print of each unit, and renders and compresses playlists and manifests at each publication.
//!
//! There is no rung yet that passes a source through (docs/decisions/0006): what lies between demux and packager here, a place on the grid for each
//! unit, is this file's. The number of channels is therefore a sum of what was measured apart: SRT gateway and main process of relayed channels,
//! as in benches/relay.rs, and demux and packaging.
//!
//! `TANDEM_BENCH_ROUNDS` (5), `TANDEM_BENCH_SOURCES` (40) and `TANDEM_BENCH_SECONDS` (20; of the SRT part, 0 leaves it out) set the size.

#![allow(clippy::duplicate_mod)] // a function of seven lines that both of its rooms use
#![allow(clippy::unwrap_used)] // a measurement that cannot be taken should stop there

mod material;
mod passthrough;
mod reception;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use material::{Cost, median, run, setting};
use passthrough::{CLIP_SECONDS, Form, LISTED, SEGMENT, clip, demux, package};
use reception::{Receiver, Sink, call, free_udp_address, interval, send};

/// Tells a run of this program what to do, and the file.
const ROLE: &str = "TANDEM_BENCH_ROLE";
const RATE: u64 = 5_000_000;

fn main() {
    let folder = clips();
    if let Ok(role) = std::env::var(ROLE) {
        let file = folder.join(passthrough::FILE);
        return match Form::named(&role) {
            Some(form) => drop(package(&file, form)),
            None => demux(&file, |_| ()),
        };
    }
    let file = clip(&folder);
    let rounds = setting("TANDEM_BENCH_ROUNDS", 5);
    let mut costs: Vec<(&str, Vec<f64>)> = Vec::new();
    for round in 1..=rounds {
        let runs = [
            ("ffmpeg hls", ffmpeg(&file, "hls")),
            ("hls", ours("hls")),
            ("ffmpeg hls-ts", ffmpeg(&file, "hls-ts")),
            ("ffmpeg dash", ffmpeg(&file, "dash")),
            ("dash", ours("dash")),
            ("demux", ours("demux")),
            ("both", ours("both")),
            ("low", ours("low")),
            ("pair", ours("pair")),
        ];
        let each = runs.iter().map(|(name, cost)| format!("{name} {:.2}", cost.seconds()));
        println!("round {round}, CPU seconds for {CLIP_SECONDS} s: {}", each.collect::<Vec<_>>().join(", "));
        if round == 1 {
            costs = runs.iter().map(|(name, _)| (*name, Vec::new())).collect();
        }
        for ((_, all), (_, cost)) in costs.iter_mut().zip(&runs) {
            all.push(cost.seconds());
        }
    }
    let of = |name: &str| median(costs.iter().find(|(known, _)| *known == name).unwrap().1.clone());
    let hours = CLIP_SECONDS as f64 / 3600.0;
    for (name, _) in &costs {
        println!("{name}: {:.2} CPU seconds a stream-hour", of(name) / hours);
    }
    let (hls, dash) = (of("hls") / of("ffmpeg hls"), of("dash") / of("ffmpeg dash"));
    let memory = package(&file, Form::named("low").unwrap());
    println!(
        "a channel of {LISTED} segments keeps {} kB of media and {} kB of its own",
        memory.media_kb, memory.other_kb
    );
    let mut line = format!(
        "RESULT hls={hls:.2} dash={dash:.2} hls_ts={:.2} low={:.2} pair={:.2} channel_kb={}",
        of("hls") / of("ffmpeg hls-ts"),
        of("low") / of("ffmpeg hls"),
        of("pair") / of("ffmpeg hls"),
        memory.media_kb + memory.other_kb,
    );
    if let Some(srt) = srt() {
        let (packaged, low) = (of("both") / CLIP_SECONDS as f64, of("low") / CLIP_SECONDS as f64);
        println!(
            "of a core, by a channel: SRT {:.3} %, demux and packaging {:.3} %, with parts {:.3} %",
            100.0 * srt,
            100.0 * packaged,
            100.0 * low
        );
        line += &format!(" channels_a_core={:.0} low_a_core={:.0}", 1.0 / (srt + packaged), 1.0 / (srt + low));
    }
    println!("{line}");
}

/// Where clips are made, which is never committed.
fn clips() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-clips");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn ours(role: &str) -> Cost {
    run(Command::new(std::env::current_exe().unwrap()).env(ROLE, role))
}

/// `-c copy` into a window of as many segments, on a tmpfs.
fn ffmpeg(file: &Path, format: &str) -> Cost {
    let tmpfs = Path::new("/dev/shm");
    let folder = if tmpfs.is_dir() { tempfile::tempdir_in(tmpfs) } else { tempfile::tempdir() }.unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(file);
    // What a transport stream calls its formats, and its ADTS headers, have no place in MP4.
    let to_mp4 = "-tag:v avc1 -tag:a mp4a -bsf:a aac_adtstoasc";
    let (seconds, hls) = (SEGMENT.as_secs(), format!("-f hls -hls_list_size {LISTED} -hls_flags delete_segments"));
    let form = match format {
        "hls" => format!("{to_mp4} {hls} -hls_segment_type fmp4 -hls_time {seconds}"),
        "hls-ts" => format!("{hls} -hls_time {seconds}"),
        _ => format!("{to_mp4} -f dash -seg_duration {seconds} -window_size {LISTED} -extra_window_size 2"),
    };
    command.args(["-map", "0:v:0", "-map", "0:a:0", "-c", "copy"]).args(form.split_whitespace());
    let name = if format.starts_with("hls") { "index.m3u8" } else { "manifest.mpd" };
    let cost = run(command.arg(folder.path().join(name)));
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert!((LISTED..4 * LISTED).contains(&files), "ffmpeg left {files} files");
    cost
}

/// CPU seconds a second that a channel of 5 Mbit/s takes on its way in: gateway and main process of relayed ones.
fn srt() -> Option<f64> {
    const LATENCY: Duration = Duration::from_millis(500);
    let (sources, seconds) =
        (reception::setting("TANDEM_BENCH_SOURCES", 40), reception::setting("TANDEM_BENCH_SECONDS", 20));
    if seconds == 0 {
        return None;
    }
    let messages = (seconds as f64 / interval(RATE).as_secs_f64()) as usize;
    let sink = Sink::start(sources, messages);
    let receiver = Receiver::tandem(sources, LATENCY, sink.to);
    let from = free_udp_address();
    let calls = receiver.doors.iter().map(|(to, stream_id)| call(from, *to, stream_id.as_deref(), LATENCY));
    let sockets: Vec<_> = calls.collect();
    let total = || receiver.cpu().iter().map(|(_, seconds)| seconds).sum::<f64>();
    let (before, begun) = (total(), Instant::now());
    send(&sockets, messages, RATE);
    sleep(LATENCY + Duration::from_secs(1));
    let (cpu, wall) = (total() - before, begun.elapsed().as_secs_f64());
    let (sent, came) = ((sources * messages) as u64, sink.count());
    println!("SRT: {sources} sources, {wall:.0} s, {cpu:.2} CPU seconds, {} of {sent} messages lost", sent - came);
    Some(cpu / (sources * seconds) as f64)
}
