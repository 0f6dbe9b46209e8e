//! Three programmes over SRT, each on a server of its own, and what players hear of them: ffmpeg's ebur128 is the judge.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Options, Process, Server, need};

/// LUFS. What is asked of each channel, by its own two keys.
const TARGET: f64 = -23.0;
/// dBTP. Low enough for the limiter to be hard at work: what it takes from the music's loudness has to be made up.
const TRUE_PEAK: f64 = -4.0;

/// A programme: sound as ffmpeg's sources and filters make it, and how it goes into the TS.
struct Programme {
    name: &'static str,
    graph: &'static str,
    coding: &'static str,
    /// With pictures, on a ladder with pictures.
    pictures: bool,
    /// What players are given: HLS, or else DASH.
    hls: bool,
}

/// Syllables, pauses between sentences, a voice of some harmonics; too quiet.
const SPEECH: &str = "aevalsrc=exprs=0.03*(0.3+0.7*abs(sin(2*PI*2.5*t)))*lt(mod(t\\,4)\\,3.2)\
    *(sin(2*PI*140*t)+0.5*sin(2*PI*420*t)+0.4*sin(2*PI*1260*t)):s=48000:c=mono,aformat=channel_layouts=stereo";

/// Pink noise, too loud, with a burst near full scale every five seconds.
const NOISE: &str = "anoisesrc=c=pink:r=44100:a=0.9:seed=7,volume='0.8+0.7*lt(mod(t,5),0.5)':eval=frame,\
    aformat=channel_layouts=stereo";

/// Chords, every other five seconds half as loud, and a beat whose attacks reach far above them: the limiter's business.
const MUSIC: &str = "aevalsrc=exprs=(0.5+0.5*lt(mod(t\\,10)\\,5))*(0.05*(sin(2*PI*220*t)+sin(2*PI*277*t)+sin(2*PI*330*t))\
    +0.9*exp(-200*mod(t\\,2))*sin(2*PI*700*mod(t\\,2))):s=44100:c=mono,aformat=channel_layouts=stereo";

const PROGRAMMES: [Programme; 3] = [
    Programme { name: "speech", graph: SPEECH, coding: "-c:a mp2 -b:a 192k", pictures: false, hls: true },
    Programme { name: "noise", graph: NOISE, coding: "-c:a aac -b:a 192k", pictures: false, hls: false },
    Programme { name: "music", graph: MUSIC, coding: "-c:a aac -b:a 192k", pictures: true, hls: true },
];

impl Programme {
    fn start(&self) -> Server {
        // ffmpeg begins a live manifest as far back as it goes.
        let extra = format!(
            "window = \"12s\"\n[channel.loudness]\ntarget = \"{TARGET}LUFS\"\ntrue_peak = \"{TRUE_PEAK}dBTP\"\n"
        );
        let ladder = if self.pictures { "test" } else { "audio" };
        Server::start(&Options { sources_a: vec!["s"], sources_b: vec!["s"], extra, ladder, ..Options::default() })
    }

    /// In real time, for as long as it is let.
    fn publish(&self, server: &Server) -> Process {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-re", "-f", "lavfi", "-i", self.graph]);
        if self.pictures {
            command.args("-re -f lavfi -i testsrc2=s=640x360:r=25 -c:v libx264 -preset ultrafast -g 25".split(' '));
        }
        command.args(self.coding.split(' ')).args(["-f", "mpegts", &server.srt_url("s")]);
        Process::start("ffmpeg", command.stdout(Stdio::null()))
    }

    /// Gain and loudness add up to the target, less what the limiter takes, in every rendition.
    fn has_settled(server: &Server) -> bool {
        let status = server.status();
        let renditions = status["loudness"].as_array().expect("a list");
        let figure = |of: &serde_json::Value, name: &str| of[name].as_f64();
        let off = |of: &serde_json::Value| {
            Some(figure(of, "measured")? + figure(of, "gain")? - figure(of, "taken")? - TARGET)
        };
        !renditions.is_empty() && renditions.iter().all(|of| off(of).is_some_and(|off| off.abs() < 0.15))
    }

    /// Listens as a player does, for a minute: a whole number of the programmes' turns.
    fn listen(&self, server: &Server) -> Child {
        let url = if self.hls { server.hls() } else { server.dash() };
        let mut command = Command::new("ffmpeg");
        command.args(["-nostats", "-nostdin", "-i", &url, "-t", "60", "-map", "0:a:0"]);
        command.args(["-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ffmpeg runs")
    }
}

/// Integrated loudness (LUFS) and true peak (dBTP), once the listener has heard enough.
fn judged(listener: Child) -> (f64, f64) {
    let out = listener.wait_with_output().expect("ffmpeg ends");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}");
    let figure = |name: &str| -> f64 {
        let line = text.lines().rev().find(|line| line.trim_start().starts_with(name));
        let figure = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        figure.unwrap_or_else(|| panic!("no `{name}` in {text}"))
    };
    (figure("I:"), figure("Peak:"))
}

#[test]
fn three_programmes_come_out_at_their_loudness_and_below_their_peak() {
    need("ffmpeg");
    let servers = PROGRAMMES.each_ref().map(Programme::start);
    let publishers = [0, 1, 2].map(|i| PROGRAMMES[i].publish(&servers[i]));
    for server in &servers {
        server.wait("the gain has brought the programme to its loudness", Programme::has_settled);
    }
    // What is planned now is in all that players are offered after a window; by then nearly a minute has been looked at.
    std::thread::sleep(Duration::from_secs(25));
    let listeners = [0, 1, 2].map(|i| PROGRAMMES[i].listen(&servers[i]));
    let heard = listeners.map(judged);
    drop(publishers);
    for ((programme, server), (loudness, peak)) in PROGRAMMES.iter().zip(&servers).zip(&heard) {
        eprintln!("{}: {loudness:.1} LUFS, {peak:.1} dBTP; {}", programme.name, server.status()["loudness"]);
    }
    for ((programme, server), (loudness, peak)) in PROGRAMMES.iter().zip(&servers).zip(heard) {
        let name = programme.name;
        assert!((loudness - TARGET).abs() <= 0.5, "{name}: {loudness} LUFS");
        assert!(peak <= TRUE_PEAK, "{name}: {peak} dBTP");
        let publish = &server.status()["publish"];
        assert_eq!((&publish["differs"], &publish["gaps"]), (&0.into(), &0.into()), "{name}: {publish:#}");
    }
}
