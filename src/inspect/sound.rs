//! The ledger of sound: finds each second's onset and pitch, and accounts for what lies between.
//!
//! In:    decoded mono samples with the presentation time of the first.
//! Out:   counters, faults, and when each second's beep was heard.
//! Never: decodes, reads a clock.
//!
//! Two clocks are compared with the signal: the count of decoded samples, which shows lost and doubled AAC frames
//! whatever their time stamps say, and the time stamps, which place each onset against the picture.

use std::f64::consts::TAU;

use super::report::{Audio, Faults, Kind};
use crate::signal::tone;

/// Time stamps are off when they miss by more than this.
const TOLERANCE: f64 = 0.001;
/// Samples below the threshold for this long (in seconds) are quiet; a tone's zero crossings are not.
const QUIET: f64 = 0.015;
/// Quiet beyond the designed gap by more than this is a fault, seconds.
const SILENCE: f64 = 0.010;
/// An onset is where the level passes this share of the tone's peak. AAC's pre-echo at 64 kbit/s stays below it.
const THRESHOLD: f64 = 0.35;
/// Samples at 48 kHz an onset may lie off its place: 5 ms. AAC's blurring stays below 1 ms.
const PLACE: f64 = 240.0;
const AAC_FRAME: f64 = 1024.0;
/// The pitch is measured over 100 ms, 10 ms after the onset.
const PITCH_FROM: f64 = 0.010;
const PITCH_OVER: f64 = 0.100;
/// Onsets kept for comparing with the picture.
const ONSETS_MAX: usize = 200_000;

/// Accounts for the sound of one rendition.
#[derive(Debug)]
pub struct Sound {
    rate: f64,
    counts: Audio,
    /// Samples pushed so far.
    position: u64,
    first_time: Option<f64>,
    next_time: Option<f64>,
    peak: f64,
    /// Highest level of the last second, and how long it was collected.
    recent: (f64, u64),
    /// Samples since the level was last above the threshold.
    quiet: u64,
    heard: Option<Heard>,
    last: Option<Onset>,
    base: f64,
    /// The displacement last seen but not yet confirmed by a second onset.
    unconfirmed: Option<f64>,
    /// Excess quiet before the last onset: silence, unless the next onset shows that time itself grew.
    pending_silence: Option<(f64, f64)>,
    onsets: Vec<(u64, f64)>,
    faults: Faults,
}

/// An onset whose pitch is still being measured.
#[derive(Debug)]
struct Heard {
    position: u64,
    time: f64,
    quiet: u64,
    samples: Vec<f32>,
}

/// The last onset, with the second it begins, unwrapped.
#[derive(Clone, Copy, Debug)]
struct Onset {
    position: u64,
    time: f64,
    second: i64,
}

impl Sound {
    /// A ledger for `rendition`.
    pub fn new(rendition: &str) -> Self {
        Self {
            rate: f64::from(tone::RATE),
            counts: Audio::default(),
            position: 0,
            first_time: None,
            next_time: None,
            peak: tone::PEAK,
            recent: (0.0, 0),
            quiet: 0,
            heard: None,
            last: None,
            base: 0.0,
            unconfirmed: None,
            pending_silence: None,
            onsets: Vec::new(),
            faults: Faults::of(rendition),
        }
    }

    /// The next samples, `rate` a second, the first of them heard at `time` seconds.
    pub fn push(&mut self, time: f64, rate: u32, samples: &[f32]) {
        self.rate = f64::from(rate.max(1));
        self.first_time.get_or_insert(time);
        if let Some(want) = self.next_time
            && (time - want).abs() > TOLERANCE
        {
            self.counts.timestamps += 1;
            let off = (time - want) * 1000.0;
            self.faults.add(Kind::AudioTimestamp, Some(time), format!("{off:+.1} ms against the samples before"));
        }
        for (n, &sample) in samples.iter().enumerate() {
            self.sample(sample, || time + n as f64 / f64::from(rate.max(1)));
        }
        self.next_time = Some(time + samples.len() as f64 / self.rate);
    }

    /// The timeline may step here: the manifest says so.
    pub fn discontinuity(&mut self) {
        self.settle();
        self.next_time = None;
        self.last = None;
        self.heard = None;
        self.quiet = 0;
    }

    /// Seconds of media so far.
    pub fn seconds_seen(&self) -> f64 {
        self.position as f64 / self.rate
    }

    /// Closes the ledger: counters, when each second (modulo the pitches) was heard, faults.
    pub fn finish(mut self) -> (Audio, Vec<(u64, f64)>, Faults) {
        self.settle();
        let quiet = self.quiet as f64 / self.rate - f64::from(tone::GAP) / f64::from(tone::RATE);
        if quiet > SILENCE {
            self.silence(self.next_time.unwrap_or(0.0) - quiet, quiet);
        }
        if self.counts.seconds == 0 && self.seconds_seen() > 2.5 {
            self.faults.add(Kind::NoSignal, self.first_time, "no second's beep was heard");
        }
        self.counts.silent_ms = (self.counts.silent_ms * 10.0).round() / 10.0;
        (self.counts, self.onsets, self.faults)
    }

    fn sample(&mut self, sample: f32, time: impl Fn() -> f64) {
        let level = f64::from(sample.abs());
        self.recent.0 = self.recent.0.max(level);
        self.recent.1 += 1;
        if self.recent.1 as f64 >= self.rate {
            // A floor, so that noise in a silent second is no tone.
            self.peak = self.recent.0.max(tone::PEAK / 10.0);
            self.recent = (0.0, 0);
        }
        if level >= THRESHOLD * self.peak {
            if self.quiet as f64 >= QUIET * self.rate {
                self.pitch();
                self.heard =
                    Some(Heard { position: self.position, time: time(), quiet: self.quiet, samples: Vec::new() });
            }
            self.quiet = 0;
        } else {
            self.quiet += 1;
            if self.quiet as f64 == (QUIET * self.rate).round()
                && let Some(heard) = &mut self.heard
            {
                // The tone ended before its pitch was measured; what is there must do.
                heard.samples.truncate((heard.samples.len() + 1).saturating_sub(self.quiet as usize));
                self.pitch();
            }
        }
        self.position += 1;
        if let Some(heard) = &mut self.heard {
            heard.samples.push(sample);
            if heard.samples.len() as f64 >= (PITCH_FROM + PITCH_OVER) * self.rate {
                self.pitch();
            }
        }
    }

    /// Names the second that was heard last, by its pitch.
    fn pitch(&mut self) {
        let Some(heard) = self.heard.take() else { return };
        let from = ((PITCH_FROM * self.rate) as usize).min(heard.samples.len());
        let code = pitch_of(&heard.samples[from..], self.rate);
        self.onset(&heard, code);
    }

    fn onset(&mut self, heard: &Heard, code: Option<u64>) {
        let gap = f64::from(tone::GAP) / f64::from(tone::RATE);
        let excess = heard.quiet as f64 / self.rate - gap;
        let last = self.last;
        if last.is_none() && (heard.position == heard.quiet || excess.abs() > SILENCE) {
            // The first one is trusted only after a gap as designed, with a tone before it: encoders begin with silence
            // too, and a stream that is joined inside a tone begins no second there.
            return;
        }
        let since = last.map(|l| ((heard.position - l.position) as f64 / self.rate).max(heard.time - l.time));
        if let (Some(l), Some(since), Some(code)) = (last, since, code)
            && since < 0.9
            && l.second.rem_euclid(tone::PITCHES as i64) as u64 == code
        {
            // The same second goes on after a hole in its tone.
            let quiet = heard.quiet as f64 / self.rate;
            return self.silence(heard.time - quiet, quiet);
        }
        if code.is_none() && (heard.samples.len() as f64) < (PITCH_FROM + PITCH_OVER) * self.rate {
            // The end of a tone after a hole in it, too short to name its second.
            if excess > SILENCE || since.is_some_and(|since| since < 0.95) {
                let quiet = heard.quiet as f64 / self.rate;
                self.silence(heard.time - quiet, quiet);
            }
            return;
        }
        let Some(code) = code else {
            return self.faults.add(Kind::AudioUnreadable, Some(heard.time), "a tone that names no second");
        };
        let second = match (last, since) {
            (Some(l), Some(since)) => {
                let pitches = tone::PITCHES as i64;
                let near = l.second + since.round() as i64;
                let ahead = (code as i64 - near).rem_euclid(pitches);
                near + if ahead > pitches / 2 { ahead - pitches } else { ahead }
            }
            _ => code as i64,
        };
        self.counts.seconds += 1;
        if excess <= SILENCE && self.onsets.len() < ONSETS_MAX {
            self.onsets.push((code, heard.time));
        }
        // In samples at 48 kHz, whatever the rate is.
        let place = heard.position as f64 * f64::from(tone::RATE) / self.rate - second as f64 * f64::from(tone::RATE);
        match last {
            None => self.base = place,
            Some(_) => self.displacement(place - self.base, heard.time),
        }
        if excess > SILENCE && last.is_some() {
            self.pending_silence = Some((heard.time - excess, excess));
        }
        self.last = Some(Onset { position: heard.position, time: heard.time, second });
    }

    /// `moved` samples at 48 kHz against the last settled place. It counts once two onsets agree, because the first one
    /// after a fault may itself be cut.
    fn displacement(&mut self, moved: f64, time: f64) {
        if moved.abs() <= PLACE {
            self.unconfirmed = None;
            if let Some((at, excess)) = self.pending_silence.take() {
                self.silence(at, excess);
            }
            return;
        }
        match self.unconfirmed.replace(moved) {
            Some(before) if (before - moved).abs() <= PLACE => self.account(moved, time),
            _ => {}
        }
    }

    fn account(&mut self, moved: f64, time: f64) {
        self.unconfirmed = None;
        self.base += moved;
        let frames = (moved / AAC_FRAME).round();
        let rest = moved - frames * AAC_FRAME;
        if frames < 0.0 {
            self.counts.missing += -frames as u64;
            self.faults.add(Kind::AudioMissing, Some(time), format!("{} AAC frames are not there", -frames));
        } else if frames > 0.0 {
            self.counts.repeated += frames as u64;
            self.faults.add(Kind::AudioRepeated, Some(time), format!("{frames} AAC frames too many"));
        }
        if rest.abs() > PLACE {
            let ms = rest / 48.0;
            self.faults.add(Kind::AudioDisplaced, Some(time), format!("{ms:+.1} ms beyond whole AAC frames"));
        }
        if let Some((at, excess)) = self.pending_silence.take() {
            let quiet = excess - moved.max(0.0) / f64::from(tone::RATE);
            if quiet > SILENCE {
                self.silence(at, quiet);
            }
        }
    }

    /// Accounts for what waits to be confirmed: nothing more comes.
    fn settle(&mut self) {
        self.pitch();
        let time = self.last.map_or(0.0, |l| l.time);
        match (self.unconfirmed.take(), self.pending_silence.take()) {
            (_, Some((at, excess))) => self.silence(at, excess),
            (Some(moved), None) if moved.abs() > AAC_FRAME - PLACE => self.account(moved, time),
            _ => {}
        }
    }

    fn silence(&mut self, at: f64, seconds: f64) {
        self.counts.silent_ms += seconds * 1000.0;
        self.faults.add(Kind::AudioSilent, Some(at), format!("{:.1} ms of silence", seconds * 1000.0));
    }
}

/// The tone code whose pitch stands out, by Goertzel's algorithm; `None` when none does.
fn pitch_of(samples: &[f32], rate: f64) -> Option<u64> {
    let power = |code: u64| {
        let coefficient = 2.0 * (TAU * f64::from(tone::frequency(code)) / rate).cos();
        let (a, b) = samples.iter().fold((0.0, 0.0), |(a, b), &x| (f64::from(x) + coefficient * a - b, a));
        a * a + b * b - coefficient * a * b
    };
    let powers: Vec<f64> = (0..tone::PITCHES).map(power).collect();
    let best = (0..powers.len()).max_by(|&a, &b| powers[a].total_cmp(&powers[b]))?;
    let second = powers.iter().enumerate().filter(|&(n, _)| n != best).map(|(_, &p)| p).fold(0.0, f64::max);
    // Neighbours lie 100 Hz apart, ten resolutions: a clean tone stands out by far more.
    (samples.len() as f64 > 0.02 * rate && powers[best] > 4.0 * second).then_some(best as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: u64 = 1_700_000_000 * 48_000 + 12_345;

    /// What a list of sample indices sounds like to the ledger, labelled without a seam.
    fn look(indices: impl Iterator<Item = Option<u64>>) -> (Audio, Vec<Kind>) {
        let samples: Vec<f32> = indices.map(|n| n.map_or(0.0, |n| tone::sample(n) as f32)).collect();
        let mut ledger = Sound::new("");
        for (n, block) in samples.chunks(1024).enumerate() {
            ledger.push(n as f64 * 1024.0 / 48_000.0, 48_000, block);
        }
        let (audio, _, faults) = ledger.finish();
        (audio, faults.listed.into_iter().map(|f| f.kind).collect())
    }

    fn without(cut: std::ops::Range<u64>) -> impl Iterator<Item = Option<u64>> {
        (0..480_000).filter(move |n| !cut.contains(n)).map(|n| Some(START + n))
    }

    #[test]
    fn undisturbed_sound_is_clean() {
        let (audio, faults) = look((0..480_000).map(|n| Some(START + n)));
        assert_eq!((audio.seconds, audio.missing, audio.repeated, audio.silent_ms), (10, 0, 0, 0.0));
        assert_eq!(faults, []);
    }

    #[test]
    fn a_start_with_silence_inside_a_tone_is_clean() {
        for silence in [0, 1_600, 2_880, 5_000, 60_000] {
            let padded = (0..silence).map(|_| None).chain((0..480_000).map(|n| Some(START + n)));
            let (audio, faults) = look(padded);
            assert_eq!((audio.seconds, audio.missing, audio.repeated), (10, 0, 0), "{silence}");
            assert_eq!(faults, [], "{silence}");
        }
    }

    #[test]
    fn whole_seconds_lost_are_counted() {
        let (audio, faults) = look(without(100_000..100_000 + 3 * 48_000));
        assert_eq!(audio.missing, 141, "three seconds are 140.6 frames: {faults:?}");
    }

    #[test]
    fn a_shift_of_ten_milliseconds_is_named() {
        let (_, faults) = look(without(100_000..100_480));
        assert_eq!(faults, [Kind::AudioDisplaced]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_lost_frame_is_found_wherever_it_was(at in 60_000u64..300_000) {
            let (audio, faults) = look(without(at..at + 1024));
            prop_assert_eq!((audio.missing, audio.repeated), (1, 0), "{:?}", faults);
            prop_assert_eq!(faults, vec![Kind::AudioMissing]);
        }

        #[test]
        fn a_doubled_frame_is_found_wherever_it_was(at in 60_000u64..300_000) {
            let twice = (0..at + 1024).chain(at..480_000).map(|n| Some(START + n));
            let (audio, faults) = look(twice);
            prop_assert_eq!((audio.missing, audio.repeated), (0, 1), "{:?}", faults);
        }

        #[test]
        fn a_hole_is_silence_wherever_it_was(at in 60_000u64..300_000, length in 4_000u64..40_000) {
            let hole = (0..480_000).map(|n| (!(at..at + length).contains(&n)).then_some(START + n));
            let (audio, faults) = look(hole);
            prop_assert_eq!((audio.missing, audio.repeated), (0, 0), "{:?}", faults);
            prop_assert!(faults.iter().all(|&k| k == Kind::AudioSilent) && !faults.is_empty(), "{:?}", faults);
        }
    }
}
