//! Real third-party streams, one after the other, at their own pace through SRT into one running channel: nothing panics,
//! nothing sticks; what can be decoded is shown, what cannot ends in an alarm that says so.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Options, Server, need};

/// What a file must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Its pictures are on the output.
    Pictures,
    /// It has sound only; the channel's picture is the slate, and no alarm.
    Sound,
    /// A clear alarm.
    Alarm,
    /// Too short or too broken to give a whole picture; nothing may break.
    Survive,
}

const FILES: &[(&str, Outcome)] = &[
    ("aac_latm.ts", Outcome::Survive),
    ("ac3_only.ts", Outcome::Sound),
    ("broken_small.ts", Outcome::Pictures),
    ("captions608_bbb_24000-1001.ts", Outcome::Pictures),
    ("captions_sintel.ts", Outcome::Pictures),
    ("cc_errors_dup.ts", Outcome::Alarm),
    ("dts_hd.ts", Outcome::Alarm),
    ("dvb_h264_1080i25_4xeac3_dvbsub.ts", Outcome::Pictures),
    ("dvb_sd_h264_ac3_6segs.ts", Outcome::Pictures),
    ("dvbsub_204byte.ts", Outcome::Pictures),
    ("dvbsub_graphics.ts", Outcome::Alarm),
    ("h264_aac_33s_270p.ts", Outcome::Pictures),
    ("h264_aac_576p.ts", Outcome::Pictures),
    ("h264_iframes_only.ts", Outcome::Pictures),
    ("h264_mp3_id3.ts", Outcome::Pictures),
    ("h264_noaud.ts", Outcome::Pictures),
    ("hevc_aac_portrait.ts", Outcome::Pictures),
    ("late_patpmt.ts", Outcome::Pictures),
    ("lcevc.ts", Outcome::Pictures),
    ("m2ts_192byte.m2ts", Outcome::Pictures),
    ("mpeg2_1080p24_mp2.ts", Outcome::Pictures),
    ("mpeg2_704x576i_mp2_dvbsub.ts", Outcome::Pictures),
    ("mpegh.ts", Outcome::Alarm),
    ("no_audio_data_in_audio_pid.ts", Outcome::Pictures),
    ("overflow_nalus.ts", Outcome::Pictures),
    ("pcr_verify_1080p30.ts", Outcome::Pictures),
    ("pts_rollover_20s.ts", Outcome::Pictures),
    ("scte35_live_b.ts", Outcome::Pictures),
    ("scte35_mpeg2_short.ts", Outcome::Pictures),
    ("teletext_only.ts", Outcome::Alarm),
    ("ts_discontinuity_jump.ts", Outcome::Pictures),
];

fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("TANDEM_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    named.into_iter().chain([beside]).map(|p| p.join("corpus")).find(|p| p.is_dir())
}

/// Seconds the file plays, as ffprobe sees it; files it cannot date are sent within two seconds.
fn duration(file: &Path) -> f64 {
    let asked = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(file)
        .stderr(Stdio::null())
        .output()
        .expect("ffprobe runs");
    let text = String::from_utf8_lossy(&asked.stdout);
    text.trim().parse().unwrap_or(0.0)
}

/// Sends a file at its own pace, again and again, until `enough`.
fn send(server: &Server, file: &Path, mut enough: impl FnMut() -> bool) -> bool {
    let bytes = std::fs::read(file).expect("a readable file");
    // Some durations are nonsense (a jump of timestamps, a wrap).
    let seconds = Some(duration(file)).filter(|s| (0.05..120.0).contains(s)).unwrap_or(2.0);
    // srt-live-transmit holds back what does not fill its input buffer; a subtitle track alone would seem silent.
    let seconds = seconds.min(bytes.len() as f64 * 8.0 / 30_000.0);
    let pace = seconds / bytes.len() as f64;
    let mut publisher = Command::new("srt-live-transmit")
        .args(["-q", "file://con", &server.srt_url("s1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("srt-live-transmit runs");
    let mut pipe = publisher.stdin.take().expect("a pipe");
    let began = Instant::now();
    let mut sent = 0usize;
    let mut done = false;
    let mut looked = Instant::now();
    while !done && began.elapsed() < Duration::from_secs_f64(seconds.max(6.0) + 6.0) {
        let at = sent % bytes.len();
        let portion = &bytes[at..(at + 1316).min(bytes.len())];
        if pipe.write_all(portion).is_err() {
            break;
        }
        sent += portion.len();
        let due = began + Duration::from_secs_f64(sent as f64 * pace);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if looked.elapsed() > Duration::from_millis(300) {
            looked = Instant::now();
            done = enough();
        }
    }
    drop(pipe);
    let _ = publisher.kill();
    let _ = publisher.wait();
    done
}

#[test]
fn every_corpus_file_is_shown_or_refused_and_nothing_breaks() {
    let Some(corpus) = corpus() else {
        eprintln!("skipped: there is no ../shared/corpus here");
        return;
    };
    need("srt-live-transmit");
    need("ffprobe");
    let server = Server::start(&Options { sources_a: vec!["s1"], sources_b: vec![], ..Options::default() });
    server.wait("the slate is published", |s| s.status()["publish"]["segments"].as_u64() > Some(0));
    let mut wrong = Vec::new();
    for (name, outcome) in FILES {
        let file = corpus.join(name);
        if !file.is_file() {
            eprintln!("skipped: {name} is not in this corpus");
            continue;
        }
        server.wait("the source is free", |s| s.status()["sources"][0]["connected"] == false);
        let decoded = |s: &Server| s.pipeline("a")["decoded"].as_u64().unwrap_or(0);
        let before = decoded(&server);
        let came = send(&server, &file, || {
            let status = server.status();
            let source = &status["sources"][0];
            match outcome {
                Outcome::Pictures => decoded(&server) > before,
                Outcome::Sound => {
                    source["tracks"].as_array().is_some_and(|t| !t.is_empty()) && source["alarm"].is_null()
                }
                Outcome::Alarm => source["alarm"].as_str().is_some_and(|a| a.contains("nothing that can be decoded")),
                Outcome::Survive => false,
            }
        });
        let status = server.status();
        let starts = status["pipelines"][0]["starts"].as_u64();
        let pictures = decoded(&server) - before;
        let seen = if came { "seen" } else { "not seen" };
        let alarm = &status["sources"][0]["alarm"];
        eprintln!("{name}: {outcome:?} {seen} ({pictures} pictures, starts {starts:?}, alarm {alarm})");
        if !came && *outcome != Outcome::Survive {
            wrong.push(format!("{name}: {outcome:?} did not come: {}", brief(&status)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let status = server.status();
    // One restart is the plan's: the first picture may show that the ladder's top must go.
    assert!(status["pipelines"][0]["starts"].as_u64() <= Some(2), "the encode process died: {}", server.log_tail());
    assert_eq!(status["publish"]["gaps"], 0, "{:#}", status["publish"]);
}

fn brief(status: &Value) -> String {
    format!("source {}, pipeline {}", status["sources"][0], status["pipelines"][0])
}
