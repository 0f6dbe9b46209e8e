//! Samples of any rate → samples at 48 kHz, at the very places of the grid.
//!
//! A windowed sinc (Kaiser), evaluated at exact rational places: output sample *m* lies at *(m − x₀) · rate ÷ (48,000 + stretch)* input
//! samples behind the first one, however *x₀* falls between two samples. So one filter converts rates and takes up a source clock's drift, and
//! two segments that begin elsewhere in the same sound agree on its phase; the resamplers of libraries begin on a whole sample.
//! 64 taps, 256 phases: ripple and images are below −80 dB up to 0.9 of the band (test below).

use std::sync::LazyLock;

use crate::media::{AUDIO_RATE, Round};

/// Steps in a sample that places are counted in: a tick of 90 kHz is half a million of them, a segment fits 64 bits.
pub(super) const STEPS: i64 = 1 << 20;

const TAPS: usize = 64;
const PHASES: usize = 256;
/// Of the band: half way down the filter's flank.
const CUTOFF: f64 = 0.955;
/// Kaiser's β for 80 dB.
const BETA: f64 = 8.0;

/// Filters by phase, one more than there are phases to interpolate towards.
#[derive(Debug)]
struct Kernel {
    taps: usize,
    rows: Vec<f32>,
}

/// For rates up to 48 kHz. Above, the flank must lie lower, and such sources are rare.
static KERNEL: LazyLock<Kernel> = LazyLock::new(|| Kernel::new(1.0));

impl Kernel {
    /// `band`: of the input's band, how much may pass.
    fn new(band: f64) -> Self {
        let taps = (TAPS as f64 / band / 2.0).ceil() as usize * 2;
        let cutoff = CUTOFF * band;
        let mut rows = Vec::with_capacity((PHASES + 1) * taps);
        for phase in 0..=PHASES {
            let row = (0..taps).map(|tap| {
                let x = tap as f64 - (taps / 2 - 1) as f64 - phase as f64 / PHASES as f64;
                let angle = std::f64::consts::PI * x * cutoff;
                let sinc = if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
                let edge = 2.0 * x / taps as f64;
                cutoff * sinc * bessel(BETA * (1.0 - edge * edge).max(0.0).sqrt()) / bessel(BETA)
            });
            let row: Vec<f64> = row.collect();
            let sum: f64 = row.iter().sum();
            rows.extend(row.iter().map(|weight| (weight / sum) as f32));
        }
        Self { taps, rows }
    }
}

/// Modified Bessel function of the first kind, order 0.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-12 {
        term *= (x / 2.0 / k) * (x / 2.0 / k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// One unbroken run of sound.
#[derive(Debug)]
pub(super) struct Resampler {
    channels: usize,
    rate: i64,
    /// Output samples that `rate` input samples become.
    becomes: i64,
    /// Place of the first input sample.
    origin: i64,
    /// The next output sample.
    next: i64,
    /// Input not done with. Begins with silence, so that the first output finds something behind it.
    input: Vec<f32>,
    /// Input samples before those in `input`; negative for the silence in front.
    dropped: i64,
    /// Input samples taken.
    taken: i64,
    own: Option<Kernel>,
}

impl Resampler {
    /// The first input sample lies at `origin` ([`STEPS`] a sample); 48,000 of the source's last as long as 48,000 + `stretch`.
    pub fn new(channels: usize, rate: u32, stretch: i16, origin: i64) -> Self {
        let own = (rate > AUDIO_RATE).then(|| Kernel::new(f64::from(AUDIO_RATE) / f64::from(rate)));
        let taps = own.as_ref().unwrap_or(&KERNEL).taps;
        let before = taps / 2;
        Self {
            channels,
            rate: i64::from(rate),
            becomes: i64::from(AUDIO_RATE) + i64::from(stretch),
            origin,
            next: origin.div_euclid(STEPS) + i64::from(origin.rem_euclid(STEPS) > 0),
            input: vec![0.0; before * channels],
            dropped: -(before as i64),
            taken: 0,
            own,
        }
    }

    /// Where the input sample behind those taken lies.
    pub fn expects(&self) -> i64 {
        let steps = i128::from(self.taken) * i128::from(self.becomes) * i128::from(STEPS);
        self.origin + i64::try_from(Round::Nearest.divide(steps, i128::from(self.rate))).unwrap_or(i64::MAX)
    }

    /// Takes samples; returns the place of the first one that comes of it, and all that come.
    pub fn push(&mut self, samples: &[f32]) -> (i64, Vec<f32>) {
        self.input.extend_from_slice(samples);
        self.taken += (samples.len() / self.channels) as i64;
        self.produce()
    }

    /// Nothing follows.
    pub fn finish(&mut self) -> (i64, Vec<f32>) {
        let half = self.kernel().taps / 2;
        self.input.resize(self.input.len() + half * self.channels, 0.0);
        // What would lie behind the last input sample is not sound.
        self.produce()
    }

    fn kernel(&self) -> &Kernel {
        self.own.as_ref().unwrap_or(&KERNEL)
    }

    fn produce(&mut self) -> (i64, Vec<f32>) {
        let from = self.next;
        let kernel = self.own.as_ref().unwrap_or(&KERNEL);
        let taps = kernel.taps;
        let held = (self.input.len() / self.channels) as i64;
        let mut out = Vec::new();
        let mut weights = vec![0.0_f32; taps];
        // The place in input samples is `place` of `unit`.
        let unit = self.becomes * STEPS;
        let mut first = 0;
        loop {
            let place = (self.next * STEPS - self.origin) * self.rate;
            let whole = place.div_euclid(unit);
            // The filter reaches from here on over `taps` samples.
            first = (whole - (taps / 2) as i64 + 1 - self.dropped).max(first);
            if first + taps as i64 > held {
                break;
            }
            let phase = place.rem_euclid(unit) as f64 / unit as f64 * PHASES as f64;
            let row = phase as usize;
            let part = (phase - row as f64) as f32;
            let (low, high) = kernel.rows[row * taps..(row + 2) * taps].split_at(taps);
            for ((weight, low), high) in weights.iter_mut().zip(low).zip(high) {
                *weight = low + part * (high - low);
            }
            let window = &self.input[first as usize * self.channels..(first as usize + taps) * self.channels];
            for channel in 0..self.channels {
                let products = window[channel..].iter().step_by(self.channels).zip(&weights).map(|(s, w)| s * w);
                out.push(products.sum());
            }
            self.next += 1;
        }
        let done = first.clamp(0, held);
        self.input.drain(..done as usize * self.channels);
        self.dropped += done;
        (from, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    /// Resamples a sine that begins at `origin`; returns the first place and the samples.
    fn sine(hz: f64, rate: u32, stretch: i16, origin: i64, seconds: usize) -> (i64, Vec<f32>) {
        let input: Vec<f32> =
            (0..rate as usize * seconds).map(|i| (TAU * hz * i as f64 / f64::from(rate)).sin() as f32).collect();
        let mut resampler = Resampler::new(1, rate, stretch, origin);
        let mut out = Vec::new();
        let mut at = None;
        for part in input.chunks(1000) {
            let (from, samples) = resampler.push(part);
            at.get_or_insert(from);
            out.extend(samples);
        }
        let (_, rest) = resampler.finish();
        out.extend(rest);
        (at.expect("some"), out)
    }

    #[test]
    fn a_sine_comes_out_at_its_pitch_and_phase() {
        for (rate, stretch, part, hz) in [
            (44_100, 0, 0, 997.0),
            (44_100, 0, 7 * STEPS / 15, 18_000.0),
            (48_000, 5, STEPS / 3, 997.0),
            (48_000, -5, STEPS / 3, 19_000.0),
            (32_000, 2, 0, 12_000.0),
            (24_000, 0, STEPS / 2, 997.0),
            (96_000, 0, STEPS / 5, 997.0),
            (88_200, -1, 0, 18_000.0),
        ] {
            let origin = 1000 * STEPS + part;
            let (at, out) = sine(hz, rate, stretch, origin, 1);
            let ratio = f64::from(48_000 + i32::from(stretch));
            // 1 s of the source, whatever its rate.
            assert!((out.len() as f64 - ratio).abs() <= 33.0 * ratio / f64::from(rate), "{rate}: {}", out.len());
            let mut noise = 0.0;
            let middle = 2000..out.len() - 2000;
            for i in middle.clone() {
                let since = (at + i as i64) as f64 - origin as f64 / STEPS as f64;
                let want = (TAU * hz * since / ratio).sin();
                noise += (f64::from(out[i]) - want).powi(2);
            }
            let db = 10.0 * (noise / middle.len() as f64 / 0.5).log10();
            println!("{rate} Hz, stretch {stretch}, {hz} Hz: error {db:.1} dB");
            assert!(db < -70.0, "{rate} Hz, stretch {stretch}, {hz} Hz: error {db:.1} dB");
        }
    }

    #[test]
    fn what_lies_above_the_band_does_not_fold_back() {
        let (_, out) = sine(30_000.0, 96_000, 0, 0, 1);
        let power = out[2000..40_000].iter().map(|s| f64::from(s * s)).sum::<f64>() / 38_000.0;
        assert!(10.0 * (power / 0.5).log10() < -75.0, "{:.1} dB", 10.0 * (power / 0.5).log10());
    }

    #[test]
    fn it_counts_without_rounding() {
        // An hour of 44.1 kHz.
        let mut resampler = Resampler::new(1, 44_100, 0, 0);
        resampler.taken = 44_100 * 3600;
        assert_eq!(resampler.expects(), 48_000 * 3600 * STEPS);
    }

    #[test]
    fn portions_make_no_difference() {
        let input: Vec<f32> = (0..9000).map(|i| ((i * 7919) % 2000) as f32 / 1000.0 - 1.0).collect();
        let run = |portion: usize| {
            let mut resampler = Resampler::new(2, 44_100, 3, 12_345);
            let mut out: Vec<f32> = input.chunks(portion).flat_map(|part| resampler.push(part).1).collect();
            out.extend(resampler.finish().1);
            out
        };
        let whole = run(9000);
        assert!(whole.len() > 9000);
        assert!([2, 64, 1024, 3000].iter().all(|&portion| run(portion) == whole));
    }
}
