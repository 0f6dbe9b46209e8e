//! A source that changes while it is on air: neither what its clock does is seen, nor what becomes of its pictures and sound.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Options, Publisher, Publishers, Server, inspect_all, need};
use crate::players::{Seen, Viewer};

/// One encoder behind all four sources, as in a venue with one multiplexer: nobody could cover for what it does.
#[test]
fn a_wrap_and_jumps_of_the_sources_clock_are_not_seen() {
    let server = Server::start(&Options::default());
    let targets: Vec<String> = ["s1", "s2", "s3", "s4"].iter().map(|s| server.srt_url(s)).collect();
    // 33 bits of 90 kHz wrap at 95,443.7 s: 75 s after the start. The jumps lie a few seconds apart before it.
    let clock = [
        ["--rate", "25"],
        ["--pts-start", "95368"],
        ["--pts-jump", "30:3600"],
        ["--pts-jump", "37:-3600"],
        ["--pts-jump", "44:0.7"],
        ["--pts-jump", "51:-2"],
        ["--pts-jump", "58:5"],
        ["--pts-jump", "65:-3.7"],
    ];
    let _publishers = Publishers::of(&targets, Publisher::SrtLiveTransmit, clock.as_flattened());
    server.wait_on_air();
    for (what, look) in inspect_all(&server, 90) {
        let verdict = look.verdict();
        verdict.assert_clean(&what);
        verdict.assert_in_sync(20.0);
        assert_eq!(verdict.json["discontinuities"], 0, "{what}: {:#}", verdict.json);
    }
    let log = server.log();
    assert!(log.matches("pictures jumped by").count() >= 6 * 4, "each source tells each jump:\n{}", server.log_tail());
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
    assert_eq!(status["publish"]["differs"], 0, "A and B took the jumps alike: {status:#}");
}

/// A stretch of a source: size and rate of its pictures, how they and its sound are coded, and its first PID.
struct Stretch {
    seconds: u32,
    pictures: (&'static str, &'static str),
    video: &'static str,
    sound: &'static str,
    pid: &'static str,
    /// What the server says of its tracks.
    seen: &'static str,
}

const X264: &str = "-c:v libx264 -preset ultrafast -bf 2";
const X265: &str = "-c:v libx265 -preset ultrafast -x265-params log-level=none";
const MPEG2: &str = "-c:v mpeg2video -bf 2";
const AAC: &str = "-c:a aac -ac 2 -b:a 96k";

const fn stretch(
    seconds: u32,
    pictures: (&'static str, &'static str),
    video: &'static str,
    sound: &'static str,
    pid: &'static str,
    seen: &'static str,
) -> Stretch {
    Stretch { seconds, pictures, video, sound, pid, seen }
}

/// The first one lasts until everybody watches, the last one until all have seen it.
const STRETCHES: [Stretch; 8] = [
    stretch(60, ("640x360", "25"), X264, AAC, "0x100", "H.264 640x360p at 25"),
    stretch(6, ("320x180", "25"), X264, AAC, "0x100", "H.264 320x180p at 25"),
    stretch(6, ("640x360", "50"), X264, AAC, "0x100", "H.264 640x360p at 50"),
    stretch(6, ("640x360", "25"), X265, AAC, "0x100", "HEVC 640x360p at 25"),
    stretch(6, ("720x576", "25"), MPEG2, "-c:a mp2 -ac 1 -b:a 96k", "0x100", "MPEG-2 video 720x576p at 25"),
    stretch(6, ("640x360", "30000/1001"), X264, "-c:a ac3 -ac 6 -b:a 384k", "0x100", "AC-3"),
    stretch(6, ("640x360", "25"), X264, AAC, "0x500", "H.264 640x360p at 25"),
    stretch(30, ("640x360", "25"), X264, AAC, "0x100", "H.264 640x360p at 25"),
];

/// Of the TS, with filling: so a byte's place says when it is due.
const BITS_A_SECOND: u32 = 4_000_000;

/// All stretches, one behind the other on one clock; and where each of them begins.
fn made(folder: &Path) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut places, mut at) = (Vec::new(), Vec::new(), 100);
    for Stretch { seconds, pictures: (size, rate), video, sound, pid, .. } in &STRETCHES {
        let file = folder.join("stretch.ts");
        let pictures = format!("testsrc2=s={size}:r={rate}");
        let [seconds, bits] = [*seconds, BITS_A_SECOND].map(|n| n.to_string());
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &pictures]);
        command.args("-f lavfi -i sine=f=440:r=48000 -g 25 -b:v 1M -maxrate 1500k -bufsize 1M -t".split(' '));
        command.arg(seconds).args(video.split(' ')).args(sound.split(' '));
        command.args(["-muxrate", &bits, "-output_ts_offset", &at.to_string(), "-mpegts_start_pid", pid]);
        let ended = command.args(["-f", "mpegts"]).arg(&file).status().expect("ffmpeg runs");
        assert!(ended.success(), "{size} {rate} {video} {sound}");
        places.push(bytes.len());
        bytes.extend(std::fs::read(&file).expect("written"));
        at += STRETCHES[places.len() - 1].seconds;
    }
    (bytes, places)
}

/// Sends a file in real time over one SRT connection.
struct Sender {
    publisher: Child,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    began: Instant,
}

impl Sender {
    fn start(server: &Server, bytes: Vec<u8>) -> Self {
        need("srt-live-transmit");
        let mut command = Command::new("srt-live-transmit");
        command.args(["-q", "file://con", &server.srt_url("s")]).stdin(Stdio::piped());
        let mut publisher = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        let mut pipe = publisher.stdin.take().expect("a pipe");
        let (stop, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for (n, portion) in bytes.chunks(1316).enumerate() {
                if stopped.load(Ordering::Relaxed) || pipe.write_all(portion).is_err() {
                    return;
                }
                let due = began + place_in_time((n + 1) * 1316);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Self { publisher, thread: Some(thread), stop, began }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = self.publisher.kill();
        let _ = self.publisher.wait();
    }
}

fn place_in_time(bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 * 8.0 / f64::from(BITS_A_SECOND))
}

/// What playlists and manifest said, look after look.
#[derive(Default)]
struct Playlists {
    /// Of each media playlist: its header, and the segments by their number.
    media: BTreeMap<&'static str, (String, BTreeMap<u64, String>)>,
    /// Of the manifest: its period, and all headers.
    manifest: Option<(String, Vec<String>)>,
}

fn text(url: &str) -> String {
    ureq::get(url).call().expect("the origin answers").body_mut().read_to_string().expect("text")
}

impl Playlists {
    fn look(&mut self, server: &Server) {
        for name in ["v360", "v180", "audio"] {
            let playlist = text(&server.hls().replace("index.m3u8", &format!("{name}/index.m3u8")));
            for tag in ["#EXT-X-DISCONTINUITY", "#EXT-X-GAP"] {
                assert!(playlist.lines().all(|line| line != tag), "{name}: {playlist}");
            }
            let after = |tag: &'static str| playlist.lines().filter_map(move |line| line.strip_prefix(tag));
            let header = after("#EXT-X-MAP:").collect::<Vec<_>>().join(" ");
            let first = after("#EXT-X-MEDIA-SEQUENCE:").next().and_then(|n| n.parse::<u64>().ok()).expect("a number");
            let (before, seen) = self.media.entry(name).or_insert_with(|| (header.clone(), BTreeMap::new()));
            assert_eq!(*before, header, "{name}: another header");
            let next = seen.last_key_value().map_or(first, |(n, _)| n + 1);
            assert!(first <= next, "{name}: {first} follows {next}: this looked too seldom, or numbers were left out");
            for (n, uri) in (first..).zip(playlist.lines().filter(|line| !line.starts_with('#') && !line.is_empty())) {
                assert_eq!(seen.entry(n).or_insert_with(|| uri.to_owned()), uri, "{name}: segment {n} became another");
            }
        }
        let manifest = text(&server.dash());
        let periods: Vec<&str> = manifest.split("<Period").skip(1).filter_map(|rest| rest.split('>').next()).collect();
        assert_eq!(periods.len(), 1, "{manifest}");
        let headers = manifest.split("initialization=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let now = (periods[0].to_owned(), headers.map(str::to_owned).collect());
        assert_eq!(self.manifest.get_or_insert_with(|| now.clone()), &now, "another period, or another header");
    }

    /// Every picture segment begins where the one before it ends: their names say when.
    fn close(&self) {
        for name in ["v360", "v180"] {
            let uris = self.media[name].1.values();
            let times: Vec<u64> = uris
                .map(|uri| uri.trim_start_matches('t').trim_end_matches(".m4s").parse().expect("a time in its name"))
                .collect();
            let step = times[1] - times[0];
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] == step), "{name}: {times:?}");
            eprintln!("{name}: {} segments, one after the other, one header", times.len());
        }
    }
}

/// Decodes the top rendition and its sound as a player gets them.
fn decoder(server: &Server, seconds: u64) -> Child {
    let (url, seconds) = (server.hls(), seconds.to_string());
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i", &url, "-t", &seconds, "-map", "0:v:0", "-map", "0:a:0"]);
    command.args(["-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ffmpeg runs")
}

#[test]
fn whatever_becomes_of_its_pictures_and_sound_players_go_on() {
    need("ffmpeg");
    let folder = tempfile::tempdir().expect("a folder");
    let (bytes, places) = made(folder.path());
    let server = Server::start(&Options { sources_a: vec!["s"], sources_b: vec!["s"], ..Options::default() });
    let sender = Sender::start(&server, bytes);
    let [first_change, last_change] = [places[1], places[7]].map(|place| sender.began + place_in_time(place));
    server.wait_on_air();
    let counts = || {
        ["a", "b"].map(|id| {
            let pipeline = server.pipeline(id);
            ["starts", "slate", "black", "repeated"].map(|field| pipeline[field].as_u64().expect("a figure"))
        })
    };
    let before = counts();
    // What was sent before everybody watches is 15 s behind when the last change is seen at the latest.
    let left = (last_change - Instant::now()).as_secs() + 15;
    let mut viewer = Viewer::of(&server.hls(), "hlsjs", u32::try_from(left).expect("a minute or two"), None);
    viewer.wait_until_playing();
    let decoder = decoder(&server, left - 5);
    let mut playlists = Playlists::default();
    playlists.look(&server);
    assert!(Instant::now() < first_change, "the first stretch is too short for this machine");
    while Instant::now() < last_change + Duration::from_secs(10) {
        playlists.look(&server);
        std::thread::sleep(Duration::from_millis(500));
    }
    playlists.close();

    let log = server.log();
    for Stretch { seen, .. } in &STRETCHES {
        assert!(log.contains(seen), "`{seen}` was never seen:\n{}", server.log_tail());
    }
    let changes = STRETCHES.len() as u64 - 1;
    for (id, (before, after)) in ["a", "b"].iter().zip(before.iter().zip(counts())) {
        eprintln!("{id}: starts, slate, black, repeated {before:?}, then {after:?}");
        assert_eq!(before[..3], after[..3], "pipeline {id}: it went on, and with pictures of the source");
        assert!(after[3] - before[3] <= 5 * changes, "pipeline {id}: {} repeated", after[3] - before[3]);
    }
    let publish = &server.status()["publish"];
    assert_eq!((&publish["gaps"], &publish["differs"]), (&0.into(), &0.into()), "{publish:#}");

    let out = decoder.wait_with_output().expect("ffmpeg ends");
    let (lines, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && errors.is_empty(), "{errors}");
    // `stream, dts, pts, duration, size, hash`
    let pictures = lines.lines().filter_map(|line| line.strip_prefix("0,"));
    let pictures: Vec<(i64, &str)> = pictures
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            (fields[1].parse().expect("a time"), fields[4])
        })
        .collect();
    let step = pictures[1].0 - pictures[0].0;
    assert!(pictures.windows(2).all(|pair| pair[1].0 - pair[0].0 == step), "a picture is missing");
    let still = pictures.windows(2).filter(|pair| pair[0].1 == pair[1].1).count() as u64;
    eprintln!("{} pictures decoded, {still} like the one before", pictures.len());
    assert!(pictures.len() as u64 >= (left - 6) * 25, "{} pictures", pictures.len());
    assert!(still <= 5 * changes, "{still} of {} pictures stand still", pictures.len());

    let Seen { json, code, .. } = viewer.seen();
    eprintln!("hls.js: {json}");
    assert_eq!(code, Some(0), "{json:#}");
}
