//! Sound of any layout, rate, language and pace.

use std::time::Duration;

use tandem::config::Ladder;
use tandem::encode::ipc::{Job, Loudness, RenditionIndex, SegmentPlan};
use tandem::encode::ladder::AudioRung;
use tandem::media::{ChannelTime, Codec, Item, Pace, RenditionId, SegmentNumber, TrackId, TrackSet};

use crate::driver::{AUDIO, Clip, Worker, grid, job, sound, unit};
use crate::{CLEAN, adts_of, assert_equal, decode, first_whole, joined_at, off_grid};

/// A job without pictures, with audio rungs of these channels and languages.
pub fn listening(start: SegmentNumber, rungs: &[(u8, Option<[u8; 3]>)]) -> Job {
    let mut job = job(grid(2000, 25, 1), start);
    job.video.truncate(1);
    let rung = |(at, &(channels, language)): (usize, &(u8, Option<[u8; 3]>))| AudioRung {
        id: RenditionId::new(&format!("a{at}")).expect("a name"),
        bitrate: if channels == 6 { 384_000 } else { 128_000 },
        channels,
        language,
    };
    job.audio = rungs.iter().enumerate().map(rung).collect();
    job
}

/// A finished worker that was fed these items.
fn heard(job: Job, items: &[Item<ChannelTime>]) -> Worker {
    let mut worker = Worker::spawn(job);
    worker.feed(items);
    assert!(worker.finish().success());
    worker
}

/// A rendition as samples of −1 to 1, and the place of the first one on the grid. The 2,048 samples about its ends are not to be trusted.
pub fn samples(worker: &Worker, rendition: u8) -> (i64, Vec<Vec<f32>>) {
    let channels = worker.job.audio[usize::from(rendition) - worker.job.video.len()].channels;
    let units: Vec<_> = worker.whole(rendition).flat_map(|(_, s, _)| &s.units).collect();
    let stream: Vec<u8> = units.iter().flat_map(|u| adts_of(&u.data, channels)).collect();
    let layout = ["mono", "stereo", "5.1"][usize::from(channels / 2).min(2)];
    let pcm = decode("aac", &stream, &["-f", "f32le", "-channel_layout", layout, "-ar", "48000"]);
    let all: Vec<f32> = pcm.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let one = |c: usize| all.iter().skip(c).step_by(channels.into()).copied().collect();
    (units[0].position as i64 * 1024, (0..channels.into()).map(one).collect())
}

/// Power of one frequency, and power of everything, in the middle of some samples; dB of full scale.
fn spectrum(samples: &[f32], hz: f64) -> (f64, f64) {
    let middle = &samples[4096..samples.len() - 4096];
    let angle = std::f64::consts::TAU * hz / 48_000.0;
    let part = |shift: f64| {
        let sum: f64 = middle.iter().enumerate().map(|(i, s)| f64::from(*s) * (angle * i as f64 + shift).sin()).sum();
        2.0 * sum / middle.len() as f64
    };
    let tone = part(0.0).powi(2) + part(std::f64::consts::FRAC_PI_2).powi(2);
    let all = middle.iter().map(|s| f64::from(s * s)).sum::<f64>() / middle.len() as f64 * 2.0;
    (10.0 * tone.max(1e-12).log10(), 10.0 * all.max(1e-12).log10())
}

/// Tones of their own in each channel of 5.1: L 400, R 500, C 600, LFE 50, Ls 700, Rs 800 Hz, at −20 dB.
const FIVE_TONES: &str = "-f lavfi -i aevalsrc=exprs=0.1*sin(2*PI*400*t)|0.1*sin(2*PI*500*t)|0.1*sin(2*PI*600*t)|\
                          0.1*sin(2*PI*50*t)|0.1*sin(2*PI*700*t)|0.1*sin(2*PI*800*t):s=48000:c=5.1";

#[test]
fn surround_is_kept_or_mixed_down_by_the_standard() {
    let t0 = off_grid();
    let clip = sound(&format!("{FIVE_TONES} -t 9 -c:a ac3 -b:a 640k"), Codec::Ac3, AUDIO, None);
    let rungs = [(2, None), (6, None), (1, None)];
    let worker = heard(listening(first_whole(grid(2000, 25, 1), t0), &rungs), &clip.at(t0));
    for rendition in 1..4 {
        assert!(worker.whole(rendition).count() >= 2);
        assert!(worker.whole(rendition).all(|(_, _, filled)| filled == CLEAN), "rendition {rendition}");
    }
    let near = |name: &str, samples: &[f32], levels: [(f64, f64); 6]| {
        for (hz, want) in levels {
            let (got, _) = spectrum(samples, hz);
            let fits = if want < -60.0 { got < -50.0 } else { (got - want).abs() < 0.5 };
            assert!(fits, "{name}: {hz} Hz at {got:.1} dB, not {want}");
        }
    };
    let none = -99.0;
    let tones = |l, r, c, lfe, ls, rs| [(400.0, l), (500.0, r), (600.0, c), (50.0, lfe), (700.0, ls), (800.0, rs)];
    let (_, stereo) = samples(&worker, 1);
    near("left", &stereo[0], tones(-20.0, none, -23.0, none, -23.0, none));
    near("right", &stereo[1], tones(none, -20.0, -23.0, none, none, -23.0));
    let (_, kept) = samples(&worker, 2);
    for (at, name) in ["L", "R", "C", "LFE", "Ls", "Rs"].iter().enumerate() {
        let mut want = [none; 6];
        want[at] = -20.0;
        near(name, &kept[at], tones(want[0], want[1], want[2], want[3], want[4], want[5]));
    }
    let (_, mono) = samples(&worker, 3);
    near("mono", &mono[0], tones(-26.0, -26.0, -23.0, none, -29.0, -29.0));
}

#[test]
fn each_layout_rate_and_codec_is_alike_for_a_late_worker() {
    alike_for_a_late_worker(false, 0);
}

#[test]
fn so_it_is_where_it_is_stretched_and_levelled() {
    alike_for_a_late_worker(true, 5);
}

fn alike_for_a_late_worker(levelled: bool, stretch: i16) {
    let tone = |rate: u32, channels: u8| format!("-f lavfi -i sine=f=440:r={rate} -ac {channels} -t 9");
    let surround = format!("{FIVE_TONES} -t 9");
    for (name, arguments, codec, to) in [
        ("AAC stereo", format!("{} -c:a aac", tone(48_000, 2)), Codec::AacAdts, 2),
        ("AAC 5.1 to stereo", format!("{surround} -c:a aac -b:a 384k"), Codec::AacAdts, 2),
        ("AAC 5.1 kept", format!("{surround} -c:a aac -b:a 384k"), Codec::AacAdts, 6),
        ("AC-3 5.1 to stereo", format!("{surround} -c:a ac3"), Codec::Ac3, 2),
        ("MP2", format!("{} -c:a mp2", tone(48_000, 2)), Codec::MpegAudio, 2),
        ("AAC 44.1 kHz", format!("{} -c:a aac", tone(44_100, 2)), Codec::AacAdts, 2),
        ("MP2 32 kHz mono", format!("{} -c:a mp2", tone(32_000, 1)), Codec::MpegAudio, 2),
        ("AAC 24 kHz to mono", format!("{} -c:a aac -b:a 64k", tone(24_000, 2)), Codec::AacAdts, 1),
    ] {
        let grid = grid(2000, 25, 1);
        let t0 = off_grid();
        let clip = sound(&arguments, codec, AUDIO, None);
        let mut items = vec![Item::Pace(Pace { from: SegmentNumber(0), stretch })];
        items.extend(at_pace(&clip, t0, stretch));
        let prepared = |start: SegmentNumber| {
            let mut job = listening(start, &[(to, None)]);
            job.loudness = levelled.then_some(Loudness { target: -23.0, true_peak: -9.0 });
            let knot = first_whole(grid, t0).next();
            // Loud enough for the limiter to be at work.
            let plan = SegmentPlan { rendition: RenditionIndex(1), from: knot, before: 900, gain: 800 };
            job.plan = if levelled { vec![plan] } else { Vec::new() };
            job
        };
        let a = heard(prepared(first_whole(grid, t0)), &items);
        let late = t0 + Duration::from_millis(2300);
        let b = heard(prepared(first_whole(grid, late)), &joined_at(&items, late));
        assert_equal_sound(&a, &b, 2, name);
        assert!(a.whole(1).all(|(_, _, filled)| filled == CLEAN), "{name}");
        assert!(a.whole(1).count() >= 3, "{name}");
        assert_eq!(a.readings.is_empty(), !levelled, "{name}");
        assert!(b.readings.iter().all(|reading| a.readings.contains(reading)), "{name}: {:?}", b.readings);
    }
}

/// As `assert_equal`, of the audio renditions.
fn assert_equal_sound(a: &Worker, b: &Worker, at_least: usize, name: &str) {
    for rendition in a.audio()..a.renditions() {
        let compared = b.whole(rendition).inspect(|(number, segment, filled)| {
            let other = &a.segments[&(rendition, *number)];
            assert_eq!(other.filled, Some(*filled), "{name}: rendition {rendition} segment {number}");
            assert_eq!(other.digest(), segment.digest(), "{name}: rendition {rendition} segment {number}");
        });
        assert!(compared.count() >= at_least, "{name}: too few segments of rendition {rendition}");
    }
}

/// A clip whose source's clock runs so that 48,000 of its samples last 48,000 + `stretch`.
fn at_pace(clip: &Clip, t0: ChannelTime, stretch: i16) -> Vec<Item<ChannelTime>> {
    let mut items = clip.at(t0);
    for item in &mut items {
        if let Item::Unit(unit) = item {
            let since = (unit.pts - t0) as f64 * (48_000.0 + f64::from(stretch)) / 48_000.0;
            unit.pts = t0.offset(since.round() as i64);
        }
    }
    items
}

#[test]
fn a_clock_that_is_off_is_followed_without_gap_or_click() {
    let grid = grid(2000, 25, 1);
    let hz = 1000.0;
    let clip = sound("-f lavfi -i sine=f=1000:r=48000 -ac 2 -t 31 -c:a mp2 -b:a 384k", Codec::MpegAudio, AUDIO, None);
    for stretch in [-5_i16, 5] {
        let t0 = off_grid();
        // The source's clock: right at first, 104 ppm off from the fourth whole segment on, less from the ninth.
        let first = first_whole(grid, t0);
        let knots = [(first.0 + 3, stretch), (first.0 + 8, stretch / 2)];
        let mut items: Vec<Item<ChannelTime>> =
            knots.iter().map(|&(from, stretch)| Item::Pace(Pace { from: SegmentNumber(from), stretch })).collect();
        items.extend(clip.at(t0));
        let channel_time = |at: ChannelTime| {
            // The planned map: source time to channel time, piece by piece.
            let (mut out, mut done) = (at - t0, t0);
            let mut ratio = 1.0;
            let mut channel = t0;
            for (from, stretch) in knots {
                let knot = grid.segment_start(SegmentNumber(from));
                let length = ((knot - channel) as f64 / ratio).round() as i64;
                if at - done <= length {
                    break;
                }
                (done, channel) = (done.offset(length), knot);
                ratio = 1.0 + f64::from(stretch) / 48_000.0;
                out = (channel - t0) + ((at - done) as f64 * ratio).round() as i64;
            }
            t0.offset(out)
        };
        for item in &mut items {
            if let Item::Unit(unit) = item {
                unit.pts = channel_time(unit.pts);
            }
        }
        let a = heard(listening(first, &[(2, None)]), &items);
        assert!(a.whole(1).all(|(_, _, filled)| filled == CLEAN), "no silence");
        assert!(a.whole(1).count() >= 12);
        // A worker that joins while the clock is off: it is told the pace that holds, and those behind it.
        let late = grid.segment_start(SegmentNumber(first.0 + 5)).offset(54_321);
        let b = heard(listening(first_whole(grid, late), &[(2, None)]), &joined_at(&items, late));
        assert_equal_sound(&a, &b, 4, "late");
        // Phase of the tone by 1,024 samples, against the map: a click would be a step of it, a wrong pitch a slope.
        let (at, channels) = samples(&a, 1);
        let mut errors = Vec::new();
        let mut ledger: Option<(f64, f64)> = None;
        for (i, frame) in channels[0].chunks_exact(1024).enumerate().skip(3) {
            let from = at + i as i64 * 1024;
            let middle = ChannelTime::from_ticks(((from + 512) as f64 * 1.875).round() as i64);
            let number = grid.segment_at(middle).0;
            let stretch = knots.iter().rfind(|(from, _)| *from <= number).map_or(0, |(_, s)| *s);
            let pitch = hz * 48_000.0 / (48_000.0 + f64::from(stretch));
            let angle = std::f64::consts::TAU * pitch / 48_000.0;
            let part = |quarter: f64| -> f64 {
                frame
                    .iter()
                    .enumerate()
                    .map(|(j, s)| f64::from(*s) * (angle * (j as f64 - 512.0) + quarter).sin())
                    .sum()
            };
            let phase = part(std::f64::consts::FRAC_PI_2).atan2(part(0.0));
            // What the phase should have become since the frame before.
            if let Some((before, pitch_before)) = ledger {
                let turn = std::f64::consts::TAU;
                let expected = before + turn * (pitch + pitch_before) / 2.0 * 1024.0 / 48_000.0;
                let off = (phase - expected + turn / 2.0).rem_euclid(turn) - turn / 2.0;
                errors.push(off / turn * 48_000.0 / hz);
            }
            ledger = Some((phase, pitch));
        }
        let worst = errors.iter().fold(0.0_f64, |worst, e| worst.max(e.abs()));
        let sum: f64 = errors.iter().sum();
        println!(
            "stretch {stretch}: phase steps of {worst:.3} samples at most, {sum:.3} in all, over {} frames",
            errors.len()
        );
        assert!(worst < 0.5, "stretch {stretch}: a step of {worst:.3} samples");
        assert!(sum.abs() < 1.0, "stretch {stretch}: {sum:.3} samples off at the end");
    }
}

#[test]
fn rates_do_not_drift_apart() {
    // Beeps at each full second of 40 s at 44.1 kHz stay there to a fraction of a millisecond.
    let grid = grid(2000, 25, 1);
    let t0 = off_grid();
    let beep = "-f lavfi -i aevalsrc=exprs=lt(mod(t\\,1)\\,0.05)*0.5*sin(2*PI*1000*t):s=44100 -t 40 -c:a mp2 -b:a 256k";
    let clip = sound(beep, Codec::MpegAudio, AUDIO, None);
    let worker = heard(listening(first_whole(grid, t0), &[(1, None)]), &clip.at(t0));
    assert!(worker.whole(1).all(|(_, _, filled)| filled == CLEAN));
    let (at, channels) = samples(&worker, 1);
    let mut onsets = Vec::new();
    let mut quiet = 0;
    for (i, sample) in channels[0].iter().enumerate() {
        if sample.abs() > 0.1 {
            if quiet > 20_000 {
                onsets.push(((at + i as i64) as f64 / 48_000.0 - t0.ticks() as f64 / 90_000.0).rem_euclid(1.0));
            }
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    assert!(onsets.len() > 30, "{}", onsets.len());
    let (low, high) = onsets.iter().fold((1.0_f64, 0.0_f64), |(l, h), o| (l.min(*o), h.max(*o)));
    assert!(high - low < 0.0005, "beeps wander by {:.2} ms", (high - low) * 1000.0);
}

#[test]
fn each_language_has_its_rendition_and_silence_while_its_track_is_gone() {
    let grid = grid(2000, 25, 1);
    let t0 = off_grid();
    let tone = |hz: u32, track: u16, language: &[u8; 3]| {
        let arguments = format!("-f lavfi -i sine=f={hz}:r=48000 -ac 2 -t 16 -c:a aac -b:a 128k");
        sound(&arguments, Codec::AacAdts, TrackId(track), Some(*language))
    };
    let (german, english) = (tone(500, 257, b"ger"), tone(700, 258, b"eng"));
    let tracks = |clips: &[&Clip]| {
        let tracks = clips.iter().flat_map(|clip| clip.tracks.tracks.clone()).collect();
        Item::Tracks(std::sync::Arc::new(TrackSet { tracks }))
    };
    // English is missing from the programme map between 6 s and 10 s.
    let (gone, back) = (t0 + Duration::from_secs(6), t0 + Duration::from_secs(10));
    let mut units: Vec<_> =
        german.at(t0).into_iter().chain(english.at(t0)).filter(|item| unit(item).is_some()).collect();
    units.sort_by_key(|item| unit(item).map(|u| u.pts));
    let mut items = vec![tracks(&[&german, &english])];
    let mut there = true;
    for item in units {
        let pts = unit(&item).expect("only units").pts;
        let now = !(gone..back).contains(&pts);
        if now != there {
            items.push(if now { tracks(&[&german, &english]) } else { tracks(&[&german]) });
            there = now;
        }
        if now || unit(&item).expect("only units").track == TrackId(257) {
            items.push(item);
        }
    }
    let rungs = [(2, None), (2, Some(*b"deu")), (2, Some(*b"eng")), (2, Some(*b"fra"))];
    let worker = heard(listening(first_whole(grid, t0), &rungs), &items);
    let silent = |rendition: u8| worker.whole(rendition).map(|(_, _, f)| f.silent_samples).sum::<u32>();
    assert_eq!((silent(1), silent(2)), (0, 0), "the first track, and German by its other code");
    assert!(silent(3).abs_diff(4 * 48_000) < 2048, "English: {} samples", silent(3));
    assert_eq!(worker.whole(4).count(), 0, "of French nothing is known, and no clock fills it in here");
    for (rendition, hz) in [(1, 500.0), (2, 500.0), (3, 700.0)] {
        let (_, channels) = samples(&worker, rendition);
        let (tone, all) = spectrum(&channels[0][..100_000], hz);
        assert!(all - tone < 0.5, "rendition {rendition}: {hz} Hz at {tone:.1} dB of {all:.1}");
    }
}

#[test]
fn the_sources_layout_may_change_in_flight() {
    let grid = grid(2000, 25, 1);
    let t0 = off_grid();
    let mut at = t0;
    let mut items = Vec::new();
    for arguments in [
        "-f lavfi -i sine=f=440:r=48000 -ac 2 -t 5 -c:a ac3",
        &*format!("{FIVE_TONES} -t 5 -c:a ac3"),
        "-f lavfi -i sine=f=440:r=44100 -ac 1 -t 5 -c:a ac3",
    ] {
        items.extend(sound(arguments, Codec::Ac3, AUDIO, None).at(at));
        at = at + Duration::from_secs(5);
    }
    let worker = heard(listening(first_whole(grid, t0), &[(2, None), (6, None)]), &items);
    for rendition in 1..3 {
        let whole: Vec<_> = worker.whole(rendition).map(|(_, _, filled)| filled).collect();
        assert!(whole.len() >= 5, "{whole:?}");
        let silent: u32 = whole.iter().map(|f| f.silent_samples).sum();
        assert!(silent < 48_000 / 5, "rendition {rendition}: {whole:?}");
    }
}

#[test]
fn equal_bytes_after_a_kill_with_pictures_too() {
    // What the other tests here show of sound alone, once with everything: a process that is killed and one that follows it.
    let grid = grid(2000, 25, 1);
    let (t0, clip) = (off_grid(), crate::driver::usual_clip(12));
    let mut items = vec![Item::Pace(Pace { from: SegmentNumber(0), stretch: 2 })];
    items.extend(at_pace(&clip, t0, 2));
    let levelled = |start| {
        let mut job = job(grid, start);
        job.loudness = Some(Loudness { target: -23.0, true_peak: -1.0 });
        let rendition = RenditionIndex(job.video.len() as u8);
        job.plan = vec![SegmentPlan { rendition, from: first_whole(grid, t0), before: 0, gain: 300 }];
        job
    };
    let a = heard(levelled(first_whole(grid, t0)), &items);
    let cut = items.len() / 3;
    let mut killed = Worker::spawn(levelled(first_whole(grid, t0)));
    killed.feed(&items[..cut]);
    drop(killed);
    let late = items.get(cut).and_then(unit).expect("a unit").pts;
    let b = heard(levelled(first_whole(grid, late + Duration::from_millis(1500))), &joined_at(&items, late));
    assert_equal(&a, &b, 2, "killed");
}

/// A ladder file with everything sound may say.
#[test]
fn a_ladder_file_asks_for_it() {
    let text = "[[video]]\nid = \"v\"\nsize = \"640x360\"\nmax_bitrate = \"1Mbps\"\n\
                [[audio]]\nid = \"de\"\nlanguage = \"ger\"\n[[audio]]\nid = \"surround\"\nchannels = 6\n";
    let ladder = Ladder::parse(std::path::Path::new("l.toml"), text).expect("good");
    let (de, surround) = (&ladder.audio[0], &ladder.audio[1]);
    assert_eq!((de.language, de.channels, de.bitrate), (Some(*b"deu"), 2, 128_000));
    assert_eq!((surround.language, surround.channels, surround.bitrate), (None, 6, 384_000));
}
