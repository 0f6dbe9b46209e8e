//! How loud a segment is, before any gain.

use ebur128::{EbuR128, Mode};

use crate::media::AUDIO_RATE;

/// A step of gating blocks: they last 400 ms and overlap by three quarters (ITU-R BS.1770-4 Annex 1).
const STEP: usize = AUDIO_RATE as usize / 10;
/// Steps in front of the segment at most, for the weighting filter to settle: its high-pass of 38 Hz needs less than one.
const WARM_UP: i64 = 2;
/// Steps in a block.
const BLOCK: u32 = 4;
/// Blocks below are no programme: the absolute gate.
const GATE: f64 = -70.0;

/// Measures one segment.
pub(super) struct Meter {
    meter: EbuR128,
    channels: usize,
    /// Samples not wanted any more before it begins.
    skip: usize,
    pcm: Vec<f32>,
    steps: i64,
    end: i64,
    /// Hundredths of LUFS.
    blocks: Vec<i16>,
}

impl Meter {
    /// Of `length` samples from `begin` on; samples come from `from` on.
    pub fn new(channels: u8, from: i64, begin: i64, length: i64) -> Option<Self> {
        let meter = EbuR128::new(channels.into(), AUDIO_RATE, Mode::M).ok()?;
        let warm_up = ((begin - from) / STEP as i64).min(WARM_UP);
        let skip = usize::try_from(begin - warm_up * STEP as i64 - from).ok()?;
        let channels = usize::from(channels);
        let end = length / STEP as i64;
        Some(Self { meter, channels, skip: skip * channels, pcm: Vec::new(), steps: -warm_up, end, blocks: Vec::new() })
    }

    /// Takes samples.
    pub fn push(&mut self, samples: &[f32]) {
        let skipped = self.skip.min(samples.len());
        self.skip -= skipped;
        self.pcm.extend_from_slice(&samples[skipped..]);
        let step = STEP * self.channels;
        let mut done = 0;
        for part in self.pcm.chunks_exact(step) {
            done += step;
            if self.steps >= self.end || self.meter.add_frames_f32(part).is_err() {
                continue;
            }
            self.steps += 1;
            if self.steps >= i64::from(BLOCK)
                && let Ok(loudness) = self.meter.loudness_momentary()
                && loudness >= GATE
            {
                self.blocks.push((loudness * 100.0).round() as i16);
            }
        }
        self.pcm.drain(..done);
    }

    /// What it has read: the loudness of each block above the absolute gate that lies inside the segment.
    pub fn finish(self) -> Vec<i16> {
        self.blocks
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("steps", &self.steps).field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_of_minus_23_dbfs_on_both_sides_is_minus_23_lufs() {
        // EBU Tech 3341, case 1.
        let amplitude = 10_f32.powf(-23.0 / 20.0);
        let wave = |i: i64| amplitude * (std::f32::consts::TAU * 1000.0 * i as f32 / 48_000.0).sin();
        let samples: Vec<f32> = (0..110_000).flat_map(|i| [wave(i), wave(i)]).collect();
        let mut meter = Meter::new(2, 0, 10_000, 96_000).expect("a meter");
        samples.chunks(2048).for_each(|part| meter.push(part));
        let blocks = meter.finish();
        assert_eq!(blocks.len(), 17, "of 2 s");
        assert!(blocks.iter().all(|b| (-2310..=-2290).contains(b)), "{blocks:?}");
    }

    #[test]
    fn silence_reads_as_nothing() {
        let mut meter = Meter::new(6, 0, 9200, 96_000).expect("a meter, though there is less to settle in");
        meter.push(&vec![0.0; 6 * 110_000]);
        assert!(meter.finish().is_empty());
    }
}
