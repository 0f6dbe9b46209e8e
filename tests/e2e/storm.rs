//! Every fault of the list, one after the other, on a channel of low latency that is served in all forms and kept on disk; while checkers that
//! share nothing with us judge each output, while every picture is accounted for, and while players play.

use std::process::Stdio;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{Inspection, Options, Process, Publisher, Server, Verdict, publish, signal, tandem};
use crate::players::{Viewer, validators};
use crate::ports::free_udp;

/// Sources in the order of the pipelines: two of A, two of B.
const SOURCES: [&str; 4] = ["s1", "s2", "s3", "s4"];
/// How long nothing comes from any source; slate is shown for most of it.
const SILENCE: Duration = Duration::from_secs(20);
/// What one round of faults takes at most, silence included, on a machine that is up to it.
const ROUND: Duration = Duration::from_secs(80);

/// What it is called, and how it is brought about.
type Fault = (&'static str, fn(&mut Stage));

/// A channel and its publishers, each of which can be taken away and brought back.
struct Stage {
    server: Server,
    signal: Process,
    ports: [u16; 4],
    legs: [Option<Process>; 4],
}

fn now() -> f64 {
    UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64()
}

impl Stage {
    fn on_air() -> Self {
        let extra = "latency = \"low\"\npart = \"200ms\"\nwindow = \"30s\"\n\
                     serve = [\"hls\", \"ll-hls\", \"hls-ts\", \"dash\", \"ll-dash\"]\n[channel.dvr]\nfolder = \"window\"\n";
        let server = Server::start(&Options { extra: extra.to_owned(), ..Options::default() });
        let ports = SOURCES.map(|_| free_udp());
        let legs = [0, 1, 2, 3].map(|i| Some(leg(&server, ports[i], i)));
        let stage = Self { signal: programme(&ports), server, ports, legs };
        stage.server.wait_on_air();
        // A manifest by number offers the whole window from the start, also what was before there was a channel.
        stage.server.wait("the window is full", |s| s.status()["publish"]["segments"].as_u64() > Some(16));
        stage
    }

    /// Both pipelines show their source, and have delivered whole segments.
    fn settle(&self) {
        self.server.wait("both pipelines are in lock and show a source", |s| {
            let all = s.status();
            all["pipelines"]
                .as_array()
                .is_some_and(|all| all.iter().all(|p| p["locked"] == true && p["showing"] == "source"))
        });
        std::thread::sleep(Duration::from_secs(2));
    }

    fn on_air_now(&self) -> &'static str {
        ["a", "b"].into_iter().find(|id| self.server.pipeline(id)["on_air"] == true).expect("one is on air")
    }

    fn kill_encoder(&self) {
        let id = self.on_air_now();
        let pid = self.server.encoder_pid(id);
        signal(pid, "KILL");
        self.server.wait("it is noticed", |s| s.pipeline(id)["pid"].as_u64() != Some(u64::from(pid)));
    }

    /// Not for so long that it is given up.
    fn hold_encoder_up(&self) {
        let pid = self.server.encoder_pid(self.on_air_now());
        signal(pid, "STOP");
        std::thread::sleep(Duration::from_millis(900));
        signal(pid, "CONT");
    }

    /// Until it is given up.
    fn stop_encoder(&self) {
        let id = self.on_air_now();
        let pid = self.server.encoder_pid(id);
        signal(pid, "STOP");
        self.server.wait("it is given up", |s| s.pipeline(id)["pid"].as_u64() != Some(u64::from(pid)));
    }

    /// Packets stop without a word.
    fn silence(&self, leg: usize) {
        signal(self.legs[leg].as_ref().expect("it publishes").pid(), "STOP");
    }

    /// A publisher that is gone or silent is replaced, once its place is given up.
    fn back(&mut self, gone: &[usize]) {
        gone.iter().for_each(|&i| drop(self.legs[i].take()));
        self.server.wait("their places are free", |s| {
            let status = s.status();
            let free = |name: &str| {
                let mut all = status["sources"].as_array().into_iter().flatten();
                all.any(|source| source["name"] == name && source["connected"] == false)
            };
            gone.iter().all(|&i| free(SOURCES[i]))
        });
        gone.iter().for_each(|&i| self.legs[i] = Some(leg(&self.server, self.ports[i], i)));
        self.server.wait("they flow again", |s| {
            let status = s.status();
            let flows = |name: &str| {
                let mut all = status["sources"].as_array().into_iter().flatten();
                all.any(|source| source["name"] == name && source["flowing"] == true)
            };
            gone.iter().all(|&i| flows(SOURCES[i]))
        });
    }

    /// The pipeline on air has to take its other source, which carries the same.
    fn switch_source(&mut self) {
        let id = self.on_air_now();
        let source = self.server.pipeline(id)["source"].as_str().expect("it shows one").to_owned();
        let i = SOURCES.iter().position(|name| *name == source).expect("one of ours");
        self.silence(i);
        self.server.wait("the other source is taken", |s| s.pipeline(id)["source"] != *source);
        std::thread::sleep(Duration::from_secs(2));
        self.back(&[i]);
    }

    /// The pipeline on air has no source at all for a while.
    fn silence_a_pipeline(&mut self) {
        let id = self.on_air_now();
        let legs = if id == "a" { [0, 1] } else { [2, 3] };
        legs.iter().for_each(|&i| self.silence(i));
        self.server.wait("it shows the slate", |s| s.pipeline(id)["showing"] == "slate");
        self.back(&legs);
    }

    /// Faults that nobody may notice, one after the other, until this instant. How many there were.
    fn unseen(&mut self, until: Instant) -> u32 {
        let mut faults = 0;
        let all: [Fault; 5] = [
            ("encoder killed", |s| s.kill_encoder()),
            ("encoder stopped for 0.9 s", |s| s.hold_encoder_up()),
            ("source switched", Self::switch_source),
            ("encoder stopped for good", |s| s.stop_encoder()),
            ("a pipeline without sources", Self::silence_a_pipeline),
        ];
        for (what, fault) in all.into_iter().cycle() {
            if Instant::now() >= until {
                break;
            }
            eprintln!("{:.1}: {what}", now());
            fault(self);
            self.settle();
            faults += 1;
        }
        faults
    }

    /// Nothing comes from anywhere; when that was, on the clock and so in the stream.
    fn slate(&mut self) -> (f64, f64) {
        eprintln!("{:.1}: all sources silent", now());
        let begin = now();
        self.signal.kill();
        std::thread::sleep(SILENCE);
        let slate = |id| self.server.pipeline(id)["showing"] == "slate";
        assert!(slate("a") && slate("b"), "{:#}", self.server.status());
        self.signal = programme(&self.ports);
        self.settle();
        (begin, now())
    }
}

/// The test signal to all publishers.
fn programme(ports: &[u16]) -> Process {
    let mut command = tandem();
    command.args(["signal", "--size", "640x360", "--bitrate", "1500k", "--rate", "25"]);
    for port in ports {
        command.args(["--to", &format!("udp://127.0.0.1:{port}")]);
    }
    Process::start("tandem signal", command.stdout(Stdio::null()).stderr(Stdio::null()))
}

fn leg(server: &Server, port: u16, i: usize) -> Process {
    publish(port, &server.srt_url(SOURCES[i]), Publisher::SrtLiveTransmit)
}

/// Every fault, made-up pictures of the silences aside, is one too many.
fn account(what: &str, verdict: &Verdict, silences: &[(f64, f64)]) -> Vec<String> {
    let made_up =
        ["video-missing", "video-repeated", "video-slate", "video-unreadable", "video-timestamp", "video-offset"];
    let made_up_sound =
        ["audio-missing", "audio-repeated", "audio-silent", "audio-displaced", "audio-unreadable", "av-offset"];
    let faults = verdict.json["faults"].as_array().expect("a list");
    // Time stamps of transport streams wrap: there, faults are told by the time since the beginning.
    let epoch = 1e9;
    let first = verdict.number("/video/first") / 25.0;
    let expected = |fault: &&Value| {
        let kind = fault["kind"].as_str().unwrap_or_default();
        // A beep that was cut is found with the next one.
        let at = fault["at"].as_f64().unwrap_or_default();
        let at = if at < epoch { first + at } else { at };
        (made_up.contains(&kind) || made_up_sound.contains(&kind))
            && silences.iter().any(|(begin, end)| (begin - 2.0..end + 2.0).contains(&at))
    };
    assert_eq!(verdict.json["faults_left_out"], 0, "{what}: faults that nobody looked at");
    eprintln!("{what}: {} pictures, {}", verdict.number("/video/frames"), verdict.json["counts"]);
    faults.iter().filter(|fault| !expected(fault)).map(|fault| format!("{what}: {fault}")).collect()
}

/// `make soak`: all faults for so many seconds, every output judged.
pub fn is_weathered(seconds: u64) {
    let mut stage = Stage::on_air();
    let base = stage.server.hls().trim_end_matches("/index.m3u8").to_owned();
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let judges = std::thread::spawn({
        let base = base.clone();
        move || validators(&base, &seconds.to_string())
    });
    let looks = [
        ("HLS top", Inspection::start(&stage.server.hls(), "top", seconds)),
        ("HLS lowest", Inspection::start(&stage.server.hls(), "lowest", seconds)),
        ("HLS-TS top", Inspection::start(&format!("{base}/ts/index.m3u8"), "top", seconds)),
        ("DASH top", Inspection::start(&stage.server.dash(), "top", seconds)),
        ("LL-DASH lowest", Inspection::start(&format!("{base}/low.mpd"), "lowest", seconds)),
    ];
    stage.settle();
    let (mut faults, mut silences) = (0, Vec::new());
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left < Duration::from_secs(15) {
            break;
        }
        let round = Instant::now() + left.min(ROUND - SILENCE - Duration::from_secs(10));
        faults += stage.unseen(round.min(end - Duration::from_secs(12)));
        if end.saturating_duration_since(Instant::now()) > SILENCE + Duration::from_secs(20) {
            silences.push(stage.slate());
        }
    }
    let wrong: Vec<String> =
        looks.into_iter().flat_map(|(what, look)| account(what, &look.verdict(), &silences)).collect();
    let judged = judges.join();
    let status = stage.server.status();
    eprintln!("{faults} faults and {} silences in {:?}: {:#}", silences.len(), begun.elapsed(), status["publish"]);
    assert!(wrong.is_empty(), "{} faults outside of {silences:?}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((&status["publish"]["gaps"], &status["dvr"]["lost"]), (&0.into(), &0.into()), "{status:#}");
    if let Err(panic) = judged {
        std::panic::resume_unwind(panic);
    }
}

/// `make soak`: five players, one after the other, through faults that no viewer may notice.
pub fn is_not_noticed(seconds: u32) {
    let mut stage = Stage::on_air();
    let (hls, dash) = (stage.server.hls(), stage.server.dash().replace("manifest.mpd", "low.mpd"));
    let mut wrong = Vec::new();
    for (name, url) in [("hlsjs", &hls), ("shaka-hls", &hls), ("dashjs", &dash), ("shaka-dash", &dash), ("vlc", &hls)] {
        stage.settle();
        let mut viewer = Viewer::of(url, name, seconds, None);
        viewer.wait_until_playing();
        let watched = Duration::from_secs(u64::from(seconds));
        let faults = stage.unseen(Instant::now() + watched.saturating_sub(Duration::from_secs(10)));
        let seen = viewer.seen();
        eprintln!("{name} through {faults} faults: {}", seen.json);
        if seen.code != Some(0) {
            wrong.push(format!("{name}: {:#}", seen.json["faults"]));
        }
    }
    let status = stage.server.status();
    assert!(wrong.is_empty(), "{}\n{:#}", wrong.join("\n"), status["publish"]);
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
}
