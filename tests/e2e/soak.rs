//! The long runs: minutes of real time each, so they are asked for by name (`make soak`).

use std::time::Duration;

use crate::equal::{Script, prove};
use crate::harness::{Inspection, Options, Publisher, Publishers, Server};

/// Seconds of a ledger; TANDEM_SOAK_SECONDS says otherwise.
fn seconds() -> u64 {
    std::env::var("TANDEM_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600)
}

#[test]
#[ignore = "five minutes"]
fn five_minutes_of_equal_segments_at_25() {
    prove(Script { rate: "25", loss: 5, segments: 38 });
}

#[test]
#[ignore = "five minutes"]
fn five_minutes_of_equal_segments_at_2997() {
    prove(Script { rate: "29.97", loss: 5, segments: 38 });
}

#[test]
#[ignore = "five minutes"]
fn five_minutes_of_equal_segments_at_5994() {
    prove(Script { rate: "59.94", loss: 5, segments: 38 });
}

#[test]
#[ignore = "six minutes"]
fn a_minute_in_each_player() {
    crate::players::play(60);
}

/// Nothing but the pictures that were made up while nothing came.
#[test]
#[ignore = "eleven minutes"]
fn every_fault_while_every_output_is_judged() {
    crate::storm::is_weathered(seconds());
}

#[test]
#[ignore = "eleven minutes"]
fn five_players_through_faults_that_nobody_may_notice() {
    crate::storm::is_not_noticed((seconds() / 5).max(30) as u32);
}

#[test]
#[ignore = "five minutes"]
fn twenty_deaths_of_the_one_that_encodes() {
    crate::warm::deaths(20);
}

#[test]
#[ignore = "five minutes"]
fn twenty_deaths_in_mid_segment_at_the_live_edge() {
    crate::low::deaths_in_mid_segment(20);
}

#[test]
#[ignore = "seven minutes"]
fn fifty_deaths_of_the_main_process() {
    crate::restart::deaths_of_the_main_process(50, true);
}

#[test]
#[ignore = "a minute, and it measures"]
fn what_flows_and_is_no_good_is_left_within_300_ms() {
    crate::detect::within_300_ms();
}

#[test]
#[ignore = "two minutes, and it needs OBS Studio"]
fn obs_publishes_into_a_channel_that_plays() {
    crate::obs::publishes_into_a_channel_that_plays();
}

#[test]
#[ignore = "three minutes"]
fn copies_that_are_cut_for_ten_seconds_lose_nothing() {
    crate::merge::rtp_beside_rtp(10);
    crate::merge::srt_beside_srt(10);
    crate::merge::srt_beside_rtp(10);
}

#[test]
#[ignore = "ten minutes"]
fn either_of_two_hosts_dies_ten_times() {
    crate::spread::either_of_two_main_processes_dies(10, 30, true);
}

/// What goes in, what comes out, and what the conversion between them may cost.
struct Ledger {
    channel: &'static str,
    signal: &'static [&'static str],
    shown_at: Option<&'static str>,
    extra: &'static str,
    /// Pictures that the source's clock adds or takes away.
    planned: f64,
}

impl Ledger {
    fn run(self) {
        let options = Options { rate: self.channel, extra: self.extra.to_owned(), ..Options::default() };
        let server = Server::start(&options);
        let targets = ["s1", "s2", "s3", "s4"].map(|s| server.srt_url(s));
        let _publishers = Publishers::of(&targets, Publisher::SrtLiveTransmit, self.signal);
        server.wait_on_air();
        let shown: Vec<&str> = self.shown_at.iter().flat_map(|rate| ["--shown-at", rate]).collect();
        let hls = Inspection::with(&server.hls(), "top", seconds(), &shown);
        let dash = Inspection::with(&server.dash(), "lowest", seconds(), &shown);
        for (what, look) in [("HLS top", hls), ("DASH lowest", dash)] {
            let verdict = look.verdict();
            let at = |path| verdict.number(path);
            let (missing, repeated) = (at("/video/missing"), at("/video/repeated"));
            let (least, most) = (at("/av_offset_ms/min"), at("/av_offset_ms/max"));
            eprintln!(
                "{} {what}: {} pictures, {missing} missing, {repeated} repeated (planned {}), sound {least:+} to {most:+} ms",
                self.channel,
                at("/video/frames"),
                self.planned
            );
            if self.planned == 0.0 {
                verdict.assert_clean(what);
            }
            assert!(missing + repeated <= self.planned, "{what}: {:#}", verdict.json);
            for path in ["/video/reordered", "/video/slate", "/audio/missing", "/audio/repeated", "/audio/silent_ms"] {
                assert_eq!(at(path), 0.0, "{what}: {path}: {:#}", verdict.json);
            }
            if self.planned == 0.0 {
                verdict.assert_in_sync(10.0);
            } else {
                // A picture that is left out moves picture against sound by all of its length at once; sound bends around that
                // moment, and is half a picture off on either side of it.
                verdict.assert_in_sync(FRAME_MS / 2.0 + 1.0);
                assert!(at("/av_offset_ms/mean").abs() <= 10.0, "{what}: {:#}", verdict.json);
                let moved =
                    |fault: &&serde_json::Value| fault["kind"].as_str().is_some_and(|kind| kind.starts_with("video-"));
                let last = verdict.json["faults"].as_array().into_iter().flatten().rfind(moved);
                let ago = last.and_then(|fault| fault["at"].as_f64()).map_or(f64::INFINITY, |at| unix_seconds() - at);
                // Half a picture is made good in 70 s: by a stretch of 300 ppm.
                let end = if ago < 80.0 { FRAME_MS / 2.0 + 1.0 } else { 10.0 };
                assert!(at("/av_offset_end_ms").abs() <= end, "{what}, {ago} s after a move: {:#}", verdict.json);
            }
        }
        let status = server.status();
        assert_eq!((&status["publish"]["gaps"], &status["publish"]["differs"]), (&0.into(), &0.into()), "{status:#}");
    }
}

fn unix_seconds() -> f64 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64()
}

/// A picture of the ledgers whose source's clock is off, at 25 a second.
const FRAME_MS: f64 = 40.0;

const PLAIN: Ledger = Ledger { channel: "25", signal: &["--rate", "25"], shown_at: None, extra: "", planned: 0.0 };

#[test]
#[ignore = "ten minutes"]
fn ledger_at_25() {
    PLAIN.run();
}

#[test]
#[ignore = "ten minutes"]
fn ledger_at_2997() {
    Ledger { channel: "29.97", signal: &["--rate", "29.97"], ..PLAIN }.run();
}

#[test]
#[ignore = "ten minutes"]
fn ledger_at_50() {
    Ledger { channel: "50", signal: &["--rate", "50"], ..PLAIN }.run();
}

#[test]
#[ignore = "ten minutes"]
fn ledger_at_5994() {
    Ledger { channel: "59.94", signal: &["--rate", "59.94"], ..PLAIN }.run();
}

#[test]
#[ignore = "ten minutes"]
fn ledger_of_fields_at_25i() {
    let signal = &["--rate", "25", "--interlaced"];
    Ledger { signal, shown_at: Some("25"), extra: "deinterlace = \"top\"\n", ..PLAIN }.run();
}

#[test]
#[ignore = "ten minutes"]
fn ledger_of_fields_at_50p() {
    let signal = &["--rate", "25", "--interlaced"];
    Ledger { channel: "50", signal, extra: "deinterlace = \"bob\"\n", ..PLAIN }.run();
}

#[test]
#[ignore = "ten minutes"]
fn ledger_against_a_clock_100_ppm_fast() {
    drifting(&["--rate", "25", "--clock-ppm", "100"]);
}

#[test]
#[ignore = "ten minutes"]
fn ledger_against_a_clock_100_ppm_slow() {
    drifting(&["--rate", "25", "--clock-ppm", "-100"]);
}

fn drifting(signal: &'static [&'static str]) {
    // 100 ppm are one frame of 40 ms in 400 s; the planner begins a little behind and catches up.
    let frames = Duration::from_secs(seconds()).as_secs_f64() * 100e-6 / (FRAME_MS / 1000.0);
    Ledger { signal, planned: frames.ceil() + 1.0, ..PLAIN }.run();
}
