//! The real probe process, and streams that ffmpeg made: what it says of them, and since when.
//!
//! Time of arrival is what the test says it is, so nothing here depends on how fast the machine is.

#![allow(clippy::unwrap_used)] // a test's helpers may fail as its assertions do

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem::child::frame::{read_message, write_message};
use tandem::demux::{self, Demux};
use tandem::media::{ChannelId, ChannelTime, Codec, Item, TrackKind};
use tandem::probe::ipc::{FromProbe, Heartbeat, Job, Pictures, Piece, Seen, Sound, ToProbe};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Arrival of what is at 0 s in a clip, µs.
const START: u64 = 1_000_000;
const FRAME: u64 = 40_000;
/// Pieces on their way: less than the probe has room for.
const AHEAD: usize = 60;

const RULES: Pictures = Pictures { dark_level: 37, dark_share: 0.98, change: 4.38, errors_per_second: 1 };

/// A clip's units in order, each with its time in the clip, µs.
type Clip = Vec<(u64, Codec, bool, ChannelTime, Bytes)>;

/// Eight seconds of 25 pictures a second and a tone; `filters` are ffmpeg's arguments.
fn clip(source: &str, arguments: &[&str]) -> Clip {
    let folder = tempfile::tempdir().unwrap();
    let ts = folder.path().join("clip.ts");
    let video = format!("testsrc2=s=640x360:r=25,{source}");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &video, "-f", "lavfi", "-i", "sine=r=48000:f=500", "-t", "8"])
        .args(["-g", "25", "-pix_fmt", "yuv420p", "-muxdelay", "0", "-muxpreload", "0"])
        .args(arguments)
        .args(["-f", "mpegts"])
        .arg(&ts)
        .stdin(Stdio::null())
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "{arguments:?}");
    let mut demux = Demux::new(demux::Config::default());
    let (mut first, mut clip, mut tracks) = (None, Clip::new(), None);
    for portion in std::fs::read(&ts).unwrap().chunks(1316) {
        demux.push(portion);
        while let Some(item) = demux.pop() {
            match item {
                Item::Tracks(set) => tracks = Some(set),
                Item::Unit(unit) => {
                    let codec = tracks.as_ref().unwrap().get(unit.track).unwrap().codec;
                    let first = *first.get_or_insert(unit.pts.ticks());
                    let at = ((unit.pts.ticks() - first).max(0) as u64) * 100 / 9;
                    clip.push((at, codec, unit.key, ChannelTime::from_ticks(unit.pts.ticks() + (1 << 40)), unit.data));
                }
                _ => {}
            }
        }
    }
    assert!(clip.len() > 100, "{} units", clip.len());
    clip
}

/// A probe and both ends of what is said.
struct Probe {
    child: Child,
    to: UnixStream,
    from: Receiver<FromProbe>,
    heartbeat: Heartbeat,
}

impl Probe {
    fn start(sources: u8, pictures: Option<Pictures>, sound: Option<Sound>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tandem"))
            .arg("probe")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("the binary starts");
        let (say, from) = channel();
        let mut reader = ours.try_clone().unwrap();
        std::thread::spawn(move || {
            while let Ok(Some(word)) = read_message(&mut reader) {
                if say.send(word).is_err() {
                    return;
                }
            }
        });
        let mut probe = Self { child, to: ours, from, heartbeat: Heartbeat::default() };
        let job = Job { channel: ChannelId::new("test").unwrap(), sources, pictures, sound, template: None };
        probe.say(&ToProbe::Job(Box::new(job)));
        assert_eq!(probe.from.recv_timeout(PATIENCE).unwrap(), FromProbe::Hello);
        probe
    }

    fn say(&mut self, message: &ToProbe) {
        write_message(&mut self.to, message).unwrap();
    }

    /// The next thing it has seen, of one source or of any.
    fn seen(&mut self, source: Option<u8>) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.from.recv_timeout(left).expect("it goes on telling") {
                FromProbe::Seen(seen) if source.is_none_or(|source| source == seen.source) => return seen,
                FromProbe::Seen(_) => {}
                FromProbe::Heartbeat(beat) => self.heartbeat = beat,
                FromProbe::Hello => panic!("a second hello"),
            }
        }
        panic!("it tells nothing of source {source:?}; {:?}", self.heartbeat);
    }

    /// Sends a clip as `source`, beginning at `from`, and returns all it says of it. Waits for the probe, so that it never has to
    /// leave anything out.
    fn play(&mut self, source: u8, from: u64, clip: &Clip) -> Vec<Seen> {
        let mut told = Vec::new();
        let mut sent = Vec::new();
        for (at, codec, key, pts, data) in clip {
            let piece = Piece { source, arrival: from + at, codec: *codec, pts: *pts, key: *key, data: data.clone() };
            sent.push(piece.arrival);
            self.say(&ToProbe::Piece(piece));
            while sent.len() > AHEAD && newest(told.last()) < sent[sent.len() - AHEAD].saturating_sub(400_000) {
                told.push(self.seen(Some(source)));
            }
        }
        // The last of it may be told of no more: it is told five times a second.
        let end = sent.iter().max().unwrap() - 500_000;
        while newest(told.last()) < end {
            told.push(self.seen(Some(source)));
        }
        told
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn newest(seen: Option<&Seen>) -> u64 {
    seen.map_or(0, |s| s.picture.map_or(0, |p| p.at).max(s.sound.map_or(0, |s| s.at)))
}

/// Since when, in pictures of the clip; `None` where it never was.
fn since(told: &[Seen], of: impl Fn(&Seen) -> Option<u64>) -> Option<u64> {
    let last = told.iter().filter_map(of).next_back()?;
    Some((last - START + FRAME / 2) / FRAME)
}

const X264: [&str; 6] = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "1M"];
const SOUND: [&str; 4] = ["-c:a", "aac", "-b:a", "64k"];

#[test]
fn what_is_wrong_is_told_and_since_when() {
    let all = |video: &[&'static str], audio: &[&'static str]| [video, audio].concat();
    let x264 = all(&X264, &SOUND);
    let mpeg2 = all(&["-c:v", "mpeg2video", "-bf", "2", "-b:v", "3M"], &["-c:a", "mp2"]);
    let hevc = all(&["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error"], &["-c:a", "ac3"]);
    let ten_bits = all(&X264, &["-pix_fmt", "yuv420p10le"]);
    let silent = all(&x264, &["-af", "volume=0:enable='gte(t,4)'"]);
    let quiet = all(&x264, &["-af", "volume=0.1"]);
    let noise = all(&x264, &["-bsf:v", "noise=amount='if(gte(n,100),500,0)'"]);
    let black = "drawbox=t=fill:c=black:enable='gte(t,4)'";
    let frozen = "loop=loop=-1:size=1:start=100";
    let (nothing, at) = (None, Some(100u64));
    for (name, source, arguments, want) in [
        ("a programme", "null", &x264, [nothing; 4]),
        ("MPEG-2", "null", &mpeg2, [nothing; 4]),
        ("HEVC", "null", &hevc, [nothing; 4]),
        ("10 bits", "null", &ten_bits, [nothing; 4]),
        ("soft, but there", "null", &quiet, [nothing; 4]),
        ("black", black, &x264, [at, at, nothing, nothing]),
        ("black in MPEG-2", black, &mpeg2, [at, at, nothing, nothing]),
        ("black in HEVC", black, &hevc, [at, at, nothing, nothing]),
        ("black in 10 bits", black, &ten_bits, [at, at, nothing, nothing]),
        ("frozen", frozen, &x264, [nothing, at, nothing, nothing]),
        ("frozen in HEVC", frozen, &hevc, [nothing, at, nothing, nothing]),
        ("silent", "null", &silent, [nothing, nothing, at, nothing]),
        ("wrong bytes", "null", &noise, [nothing, nothing, nothing, at]),
    ] {
        let mut probe = Probe::start(1, Some(RULES), Some(Sound { level: -50.0 }));
        let told = probe.play(0, START, &clip(source, arguments));
        let got = [
            since(&told, |s| s.picture?.black_since),
            since(&told, |s| s.picture?.still_since),
            since(&told, |s| s.sound?.silent_since),
            since(&told, |s| s.picture?.errors_since),
        ];
        for (which, (got, want)) in ["black", "still", "silent", "errors"].iter().zip(got.into_iter().zip(want)) {
            // A frame of sound more or less; what nobody refers to is not decoded; the first wrong byte may do no harm.
            let near = match (got, want) {
                (Some(got), Some(want)) => (want.saturating_sub(4)..=want + 4).contains(&got),
                // Wrong bytes may leave the picture standing.
                (Some(_), None) => name == "wrong bytes" && *which == "still",
                (got, want) => got == want,
            };
            assert!(near, "{name}: {which}: {got:?}, not {want:?}\n{:#?}", told.last());
        }
        let last = told.last().unwrap();
        let level = last.sound.unwrap().level;
        match name {
            // A sine of ffmpeg's peaks at an eighth.
            "a programme" => assert!((-2200..-2000).contains(&level), "{level}"),
            "soft, but there" => assert!((-4200..-4000).contains(&level), "{level}"),
            _ => {}
        }
    }
}

#[test]
fn a_source_begins_anew_and_others_go_on() {
    let black = clip("drawbox=t=fill:c=black", &[&X264[..], &SOUND[..]].concat());
    let programme = clip("null", &[&X264[..], &SOUND[..]].concat());
    let mut probe = Probe::start(2, Some(RULES), None);
    let told = probe.play(1, START, &black);
    let last = told.last().unwrap();
    assert_eq!((last.source, last.session, last.sound), (1, 0, None), "sound was not asked for");
    assert!(last.picture.unwrap().black_since.is_some());
    let later = START + 10_000_000;
    assert!(probe.play(0, later, &programme).iter().all(|s| s.source == 0 && s.picture.unwrap().black_since.is_none()));
    probe.say(&ToProbe::Anew { source: 1, session: 7 });
    let told = probe.play(1, later, &black);
    assert!(told.iter().all(|s| (s.source, s.session) == (1, 7)));
    assert!(told.last().unwrap().picture.unwrap().black_since >= Some(later), "what was before does not count");
}

#[test]
fn what_comes_faster_than_it_can_be_decoded_is_left_out_and_no_fault() {
    let large = clip("scale=1920:1080", &[&X264[..], &SOUND[..]].concat());
    let mut probe = Probe::start(1, Some(RULES), Some(Sound { level: -50.0 }));
    // As fast as it is taken, until it is too much.
    let deadline = Instant::now() + PATIENCE;
    let mut turn = 0;
    while probe.heartbeat.skipped == 0 {
        assert!(Instant::now() < deadline, "{turn} times eight seconds were decoded: {:?}", probe.heartbeat);
        for (at, codec, key, pts, data) in &large {
            let arrival = START + turn * 8_000_000 + at;
            let (codec, key, data, pts) = (*codec, *key, data.clone(), *pts + Duration::from_secs(8 * turn));
            probe.say(&ToProbe::Piece(Piece { source: 0, arrival, codec, pts, key, data }));
        }
        turn += 1;
        while let Ok(word) = probe.from.try_recv() {
            if let FromProbe::Heartbeat(beat) = word {
                probe.heartbeat = beat;
            }
        }
    }
    // It gets over it: a source that comes at its own pace is seen as it is.
    let later = START + turn * 8_000_000 + 10_000_000;
    probe.say(&ToProbe::Anew { source: 0, session: 1 });
    let told = probe.play(0, later, &clip("null", &[&X264[..], &SOUND[..]].concat()));
    let last = told.iter().rfind(|s| s.session == 1).expect("the new session is told of");
    let picture = last.picture.unwrap();
    assert_eq!((picture.black_since, picture.still_since, picture.errors_since, picture.errors), (None, None, None, 0));
}

#[test]
fn garbage_ends_it_and_nothing_else() {
    let mut probe = Probe::start(1, Some(RULES), None);
    let _ = probe.to.write_all(&[0xff; 64]);
    let status = probe.child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
}

/// What it costs: CPU seconds for each second of one source, printed. 720p25 of 3 Mbit/s with B-pictures, as publishers send it.
#[test]
#[ignore = "measures"]
fn what_a_source_costs() {
    let arguments = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "3M", "-s", "1280x720", "-c:a", "aac"];
    let programme = clip("null", &arguments);
    for (name, pictures, sound) in [
        ("pictures and sound", Some(RULES), Some(Sound { level: -50.0 })),
        ("pictures", Some(RULES), None),
        ("sound", None, Some(Sound { level: -50.0 })),
    ] {
        let mut probe = Probe::start(1, pictures, sound);
        for turn in 0..8 {
            probe.say(&ToProbe::Anew { source: 0, session: turn });
            probe.play(0, START + u64::from(turn) * 9_000_000, &programme);
        }
        std::thread::sleep(Duration::from_millis(600));
        while let Ok(word) = probe.from.try_recv() {
            if let FromProbe::Heartbeat(beat) = word {
                probe.heartbeat = beat;
            }
        }
        let Heartbeat { decoded, cpu, rss_bytes, skipped } = probe.heartbeat;
        println!(
            "{name}: {:.1} ms of CPU a second of 720p25, {decoded} pictures decoded, {skipped} units left out, {} MB",
            cpu.as_secs_f64() * 1000.0 / 64.0,
            rss_bytes / 1_000_000
        );
    }
    assert!(programme.iter().any(|(_, codec, ..)| codec.kind() == TrackKind::Video));
}
