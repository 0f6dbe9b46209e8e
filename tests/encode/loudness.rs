//! Loudness, closed loop: worker and planner as the channel joins them, ffmpeg as the judge.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use tandem::channel::loudness::{Figures, Planner};
use tandem::encode::ipc::{Loudness, RenditionIndex, ToWorker};
use tandem::media::{ChannelTime, Codec, Item, SegmentNumber};

use crate::audio::listening;
use crate::driver::{AUDIO, Worker, grid, sound, unit};
use crate::{adts_of, first_whole, off_grid};

/// The planner has heard enough and has arrived, from as far off as these programmes are.
const SETTLED_S: u64 = 40;

/// Plays a programme segment by segment, with the plans in between as the channel's owner sends them.
fn play(worker: &mut Worker, planner: &mut Planner, items: &[Item<ChannelTime>]) {
    let grid = worker.job.grid;
    let mut handed_out = SegmentNumber(0);
    let mut heard = 0;
    for item in items {
        if let Some(unit) = unit(item) {
            let number = grid.segment_at(unit.pts);
            if number > handed_out {
                // A worker is as far behind as its encoders are: what it read of the segment before the last is there.
                let due = SegmentNumber(handed_out.0.saturating_sub(2));
                if due >= worker.job.start {
                    worker.listen_until("a reading", |w| w.readings.iter().any(|r| r.segment >= due));
                }
                handed_out = number;
                for reading in &worker.readings[heard..].to_vec() {
                    if let Some(plan) = planner.hear(reading, handed_out) {
                        worker.say(&ToWorker::Plan(plan));
                    }
                }
                heard = worker.readings.len();
            }
        }
        worker.feed([item]);
    }
}

/// Integrated loudness (LUFS) and true peak (dBTP) by ffmpeg's ebur128.
fn judged(stream: &[u8]) -> (f64, f64) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(stream).expect("writes");
    let out = Command::new("ffmpeg")
        .args(["-nostats", "-f", "aac", "-i"])
        .arg(file.path())
        .args(["-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"])
        .output()
        .expect("ffmpeg is installed");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let figure = |name: &str| {
        let line =
            text.lines().rev().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a figure")
    };
    (figure("I:"), figure("Peak:"))
}

const TARGET: f32 = -23.0;
/// Low enough for the limiter to be at work, and not so low that it takes much from the loudness.
const TRUE_PEAK: f32 = -4.0;

/// What came of a programme.
#[derive(Debug)]
struct Outcome {
    /// As ffmpeg hears it once the gain has arrived, LUFS.
    loudness: f64,
    /// As ffmpeg hears it from the start on, dBTP.
    peak: f64,
    /// What the planner makes of its end.
    figures: Figures,
}

/// Plays a programme of so many seconds, an expression for ffmpeg's aevalsrc that is the same on both sides. Listens from `settled_s` on.
fn played(name: &str, shape: &str, true_peak: f32, seconds: u64, settled_s: u64) -> Outcome {
    let grid = grid(2000, 25, 1);
    let t0 = off_grid();
    let made = format!("-f lavfi -i aevalsrc=exprs={shape}|{shape}:s=48000:c=stereo -t {seconds} -c:a mp2 -b:a 384k");
    let clip = sound(&made, Codec::MpegAudio, AUDIO, None);
    let items = clip.at(t0);
    let mut job = listening(first_whole(grid, t0), &[(2, None)]);
    let loudness = Loudness { target: TARGET, true_peak };
    job.loudness = Some(loudness);
    let mut planner = Planner::new(loudness, grid, [RenditionIndex(1)].into_iter());
    let mut a = Worker::spawn(job.clone());
    play(&mut a, &mut planner, &items);
    assert!(a.finish().success());
    assert_eq!(a.heartbeats.last().map_or(0, |beat| beat.late_plans), 0, "plans behind their time");
    // A worker that starts late gets all plans with its job, makes the same bytes and reads the same.
    let began = t0 + Duration::from_secs(10);
    let last = t0 + Duration::from_secs(40);
    job.start = first_whole(grid, began);
    job.plan = planner.plans();
    let mut b = Worker::spawn(job);
    b.feed(items.iter().filter(|item| unit(item).is_none_or(|u| (began..last).contains(&u.pts))));
    assert!(b.finish().success());
    let whole: Vec<u64> = b.whole(1).map(|(number, ..)| number).collect();
    assert!(whole.len() > 10);
    for (number, segment, _) in b.whole(1) {
        assert!(a.segments[&(1, number)].digest() == segment.digest(), "segment {number}");
    }
    for reading in b.readings.iter().filter(|reading| whole.contains(&reading.segment.0)) {
        assert!(a.readings.contains(reading), "{reading:?}");
    }
    let settled = grid.segment_at(t0 + Duration::from_secs(settled_s)).0;
    let stream = |from: u64| -> Vec<u8> {
        let units = a.whole(1).filter(|(number, ..)| *number >= from).flat_map(|(_, s, _)| &s.units);
        units.flat_map(|u| adts_of(&u.data, 2)).collect()
    };
    let (loudness, _) = judged(&stream(settled));
    let (whole, peak) = judged(&stream(0));
    let figures = planner.figures().next().expect("one").1;
    println!("{name}: {loudness:.1} LUFS, {peak:.1} dBTP; from the start on {whole:.1} LUFS; {figures:?}");
    Outcome { loudness, peak, figures }
}

fn comes_out_at_its_loudness(name: &str, shape: &str) {
    let Outcome { loudness, peak, .. } = played(name, shape, TRUE_PEAK, 90, SETTLED_S);
    assert!((loudness - f64::from(TARGET)).abs() <= 0.5, "{name}: {loudness} LUFS");
    assert!(peak <= f64::from(TRUE_PEAK), "{name}: {peak} dBTP");
}

#[test]
fn speech_comes_out_at_its_loudness() {
    // Syllables, pauses between sentences, a voice of some harmonics; too quiet.
    let voice = "0.03*(0.3+0.7*abs(sin(2*PI*2.5*t)))*lt(mod(t\\,4)\\,3.2)*(sin(2*PI*140*t)+0.5*sin(2*PI*420*t)+0.4*sin(2*PI*1260*t))";
    comes_out_at_its_loudness("speech", voice);
}

#[test]
fn music_comes_out_at_its_loudness() {
    // Chords and a beat whose attacks reach far above the mean: the limiter's business.
    let music =
        "0.01*(sin(2*PI*220*t)+sin(2*PI*277*t)+sin(2*PI*330*t))+0.6*exp(-40*mod(t\\,0.5))*sin(2*PI*90*mod(t\\,0.5))";
    comes_out_at_its_loudness("music", music);
}

#[test]
fn advertisements_and_quiet_passages_come_out_at_their_loudness() {
    // 5 s near full scale, 10 s a good deal quieter, again and again.
    let turns = "(0.1+0.7*lt(mod(t\\,15)\\,5))*(0.6*sin(2*PI*500*t)+0.3*sin(2*PI*3000*t)*sin(2*PI*7*t))";
    comes_out_at_its_loudness("advertisements and quiet passages", turns);
}

const CHORDS: &str = "(sin(2*PI*220*t)+sin(2*PI*277*t)+sin(2*PI*330*t))";

#[test]
fn what_a_hard_working_limiter_takes_from_the_loudness_is_made_up() {
    // Chords, every other five seconds half as loud, and a beat: the limiter takes 5 to 7 dB of its attacks.
    let beat = "exp(-200*mod(t\\,2))*sin(2*PI*700*mod(t\\,2))";
    let music = format!("(0.5+0.5*lt(mod(t\\,10)\\,5))*(0.05*{CHORDS}+0.9*{beat})");
    for (name, shape, true_peak) in
        [("chords and a beat, -4 dBTP", &music, -4.0), ("chords and a beat, -6 dBTP", &music, -6.0)]
    {
        let Outcome { loudness, peak, figures } = played(name, shape, true_peak, 150, 90);
        assert!((0.3..3.0).contains(&figures.make_up), "{name}: {figures:?}");
        assert!((loudness - f64::from(TARGET)).abs() <= 0.5, "{name}: {loudness} LUFS");
        assert!(peak <= f64::from(true_peak), "{name}: {peak} dBTP");
    }
}
