//! How loud a segment is behind its gain, and what the limiter takes of that.
//!
//! In:    samples behind the gain, and as they come out of the limiter.
//! Out:   a [`LoudnessStep`] each 100 ms.
//! Never: makes gating blocks: they span segments, so their maker is the channel's owner.
//!
//! Steps are counted from the epoch, not from the segment's begin, so that those of segments that follow each other are those of one meter
//! that never stopped. A step belongs to the segment it ends in.

use ebur128::{EbuR128, Mode};

use super::level::{Limiter, Ramp};
use crate::encode::ipc::LoudnessStep;
use crate::media::AUDIO_RATE;

/// Samples of a step: gating blocks last 400 ms and overlap by three quarters (ITU-R BS.1770-4 Annex 1).
const STEP: i64 = AUDIO_RATE as i64 / 10;
const STEP_MS: u32 = 100;
/// Steps in front of the first one at most, for the weighting filter to settle: its high-pass of 38 Hz needs less than one.
const WARM_UP: i64 = 2;

/// Measures one segment.
#[derive(Debug)]
pub(super) struct Meters {
    levelled: Meter,
    limited: Meter,
    /// What the limiter would take if the gain were 1 dB more. By that the planner knows how far it has to go.
    louder: (Limiter, Meter),
    first: i64,
}

impl Meters {
    /// Of `length` samples from `begin` on; samples come from `from` on. `ceiling` is the limiter's.
    pub fn new(channels: u8, ceiling: f32, from: i64, begin: i64, length: i64) -> Option<Self> {
        let first = begin.div_euclid(STEP);
        let meter = || Meter::new(channels, from, first..(begin + length).div_euclid(STEP));
        // Sound that is 1 dB louder is limited as this one is below a ceiling that is 1 dB lower.
        let louder = Limiter::new(channels.into(), ceiling / 10_f32.powf(f32::from(LoudnessStep::LOUDER) / 2000.0));
        Some(Self { levelled: meter()?, limited: meter()?, louder: (louder, meter()?), first })
    }

    /// Takes samples behind the gain; what they need of the limiter is of interest if `watched`.
    pub fn levelled(&mut self, samples: &[f32], watched: bool) {
        self.levelled.push(samples);
        let (limiter, meter) = &mut self.louder;
        limiter.push(samples, watched);
        meter.push(&limiter.take());
    }

    /// Takes samples behind the limiter, from the same place on.
    pub fn limited(&mut self, samples: &[f32]) {
        self.limited.push(samples);
    }

    /// What they have read, with the gain that was on it.
    pub fn finish(self, gain: &Ramp) -> Vec<LoudnessStep> {
        let levels = self.levelled.steps.iter().zip(&self.limited.steps).zip(&self.louder.1.steps);
        let step = |(at, ((&levelled, &limited), &louder)): (i64, ((&f64, &f64), &f64))| {
            LoudnessStep::new(levelled, gain.at(at * STEP + STEP / 2), levelled - limited, levelled - louder)
        };
        (self.first..).zip(levels).map(step).collect()
    }
}

/// Measures one signal.
struct Meter {
    meter: EbuR128,
    channels: usize,
    /// Samples not wanted any more before it begins.
    skip: usize,
    pcm: Vec<f32>,
    /// Steps to let pass until it has settled.
    settling: i64,
    wanted: usize,
    /// LUFS.
    steps: Vec<f64>,
}

impl Meter {
    /// Of the steps `wanted`; samples come from `from` on.
    fn new(channels: u8, from: i64, wanted: std::ops::Range<i64>) -> Option<Self> {
        let meter = EbuR128::new(channels.into(), AUDIO_RATE, Mode::M).ok()?;
        let begin = wanted.start * STEP;
        let settling = ((begin - from) / STEP).clamp(0, WARM_UP);
        let skip = usize::try_from(begin - settling * STEP - from).ok()?;
        let channels = usize::from(channels);
        let wanted = usize::try_from(wanted.end - wanted.start).ok()?;
        Some(Self { meter, channels, skip: skip * channels, pcm: Vec::new(), settling, wanted, steps: Vec::new() })
    }

    fn push(&mut self, samples: &[f32]) {
        let skipped = self.skip.min(samples.len());
        self.skip -= skipped;
        self.pcm.extend_from_slice(&samples[skipped..]);
        let step = STEP as usize * self.channels;
        let mut done = 0;
        for part in self.pcm.chunks_exact(step) {
            done += step;
            if self.steps.len() >= self.wanted {
                continue;
            }
            // An error would be one of ours (a part that is no whole number of frames); what was not heard is silence.
            let heard = self.meter.add_frames_f32(part).and_then(|()| self.meter.loudness_window(STEP_MS));
            if self.settling > 0 {
                self.settling -= 1;
            } else {
                self.steps.push(heard.unwrap_or(f64::NEG_INFINITY));
            }
        }
        self.pcm.drain(..done);
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("steps", &self.steps).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sine on both sides.
    fn sine(amplitude: f32, places: std::ops::Range<i64>) -> Vec<f32> {
        let wave = |i: i64| amplitude * (std::f32::consts::TAU * 1000.0 * i as f32 / 48_000.0).sin();
        places.flat_map(|i| [wave(i), wave(i)]).collect()
    }

    fn read(samples: &[f32], ceiling: f32, gain: &Ramp, begin: i64, length: i64) -> Vec<LoudnessStep> {
        let mut meters = Meters::new(2, ceiling, 0, begin, length).expect("meters");
        let mut limiter = Limiter::new(2, ceiling);
        for part in samples.chunks(2048) {
            meters.levelled(part, true);
            limiter.push(part, true);
            meters.limited(&limiter.take());
        }
        meters.finish(gain)
    }

    fn no_gain() -> Ramp {
        Ramp::new(0, 0, 0, 1)
    }

    #[test]
    fn a_sine_of_minus_23_dbfs_on_both_sides_is_minus_23_lufs() {
        // EBU Tech 3341, case 1.
        let steps = read(&sine(10_f32.powf(-23.0 / 20.0), 0..110_000), 1.0, &no_gain(), 10_000, 96_000);
        assert_eq!(steps.len(), 20, "of 2 s");
        assert!(steps.iter().all(|s| (-2310..=-2290).contains(&s.loudness)), "{steps:?}");
        assert!(steps.iter().all(|s| (s.gain, s.taken, s.taken_louder) == (0, 0, 0)), "{steps:?}");
    }

    #[test]
    fn steps_of_segments_are_those_of_one_meter() {
        let samples: Vec<f32> =
            (0..300_000).flat_map(|i| [(i as f32 * 0.07).sin() * (i % 7919) as f32 / 9000.0; 2]).collect();
        let whole = read(&samples, 0.5, &no_gain(), 10_000, 250_000);
        let mut joined = read(&samples, 0.5, &no_gain(), 10_000, 95_232);
        joined.extend(read(&samples, 0.5, &no_gain(), 105_232, 96_256));
        joined.extend(read(&samples, 0.5, &no_gain(), 201_488, 58_512));
        assert_eq!(joined.len(), whole.len());
        for (joined, whole) in joined.iter().zip(&whole) {
            let near = |of: fn(&LoudnessStep) -> i16| (of(joined) - of(whole)).abs() <= 1;
            assert!(near(|s| s.loudness) && near(|s| s.taken) && near(|s| s.taken_louder), "{joined:?} {whole:?}");
        }
        assert!(whole.iter().any(|step| step.taken > 50), "{whole:?}");
    }

    #[test]
    fn what_the_limiter_takes_of_a_sine_is_what_lies_above_its_ceiling() {
        // 6 dB of gain were on it.
        let gain = Ramp::new(600, 600, 0, 100);
        let steps = read(&sine(0.5, 0..110_000), 0.25, &gain, 10_000, 96_000);
        assert_eq!(steps.len(), 20);
        for step in steps {
            assert!((-1212..=-1192).contains(&step.loudness), "{step:?}");
            assert_eq!(step.gain, 600);
            assert!((590..=610).contains(&step.taken), "{step:?}");
            assert!((690..=710).contains(&step.taken_louder), "{step:?}");
        }
    }

    #[test]
    fn silence_reads_as_such() {
        let mut meters = Meters::new(6, 1.0, 0, 9200, 96_000).expect("meters, though there is less to settle in");
        meters.levelled(&vec![0.0; 6 * 110_000], false);
        meters.limited(&vec![0.0; 6 * 110_000]);
        let steps = meters.finish(&no_gain());
        assert!(!steps.is_empty());
        assert!(
            steps.iter().all(|s| (s.loudness, s.taken, s.taken_louder) == (LoudnessStep::SILENCE, 0, 0)),
            "{steps:?}"
        );
    }
}
