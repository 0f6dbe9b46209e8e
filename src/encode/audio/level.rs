//! The planned gain, and behind it a limiter of true peaks.
//!
//! Both are functions of the samples at hand and of nothing older than [`MEMORY`]: the limiter's gain is painted by the peaks within
//! 100 ms before and 5 ms behind a sample, on blocks of a millisecond counted from the epoch. So a segment that begins in the middle of the sound
//! limits as one that has gone on for hours does.
//!
//! True peaks are found as ITU-R BS.1770-4 Annex 2 has it: four times oversampled by its 48 coefficients. The gain falls over 5 ms
//! in front of a peak, and recovers over 100 ms behind it.

/// A millisecond.
pub(in crate::encode) const BLOCK: usize = 48;
/// Blocks over which the gain falls.
const ATTACK: usize = 5;
/// Blocks over which it recovers.
const RELEASE: usize = 100;
/// Samples before the first wanted one that take part in it, whole blocks.
pub(in crate::encode) const MEMORY: i64 = ((RELEASE + ATTACK + 2) * BLOCK) as i64;
/// Samples behind the last wanted block that take part in it, whole blocks.
pub(in crate::encode) const AHEAD: i64 = ((ATTACK + 3) * BLOCK) as i64;
/// ITU-R BS.1770-4 Annex 2: the interpolating filter's taps, a phase a row.
const PHASES: [[f32; TAPS]; 4] = [
    [
        0.001_708_984_4,
        0.010_986_328,
        -0.019_653_32,
        0.033_203_125,
        -0.059_448_242,
        0.137_329_1,
        0.972_167_97,
        -0.102_294_92,
        0.047_607_422,
        -0.026_611_328,
        0.014_892_578,
        -0.008_300_781,
    ],
    [
        -0.029_174_805,
        0.029_296_875,
        -0.051_757_812,
        0.089_111_33,
        -0.166_503_9,
        0.465_087_9,
        0.779_785_16,
        -0.200_317_38,
        0.107_666_016,
        -0.058_227_54,
        0.033_081_055,
        -0.018_920_898,
    ],
    [
        -0.018_920_898,
        0.033_081_055,
        -0.058_227_54,
        0.107_666_016,
        -0.200_317_38,
        0.779_785_16,
        0.465_087_9,
        -0.166_503_9,
        0.089_111_33,
        -0.051_757_812,
        0.029_296_875,
        -0.029_174_805,
    ],
    [
        -0.008_300_781,
        0.014_892_578,
        -0.026_611_328,
        0.047_607_422,
        -0.102_294_92,
        0.972_167_97,
        0.137_329_1,
        -0.059_448_242,
        0.033_203_125,
        -0.019_653_32,
        0.010_986_328,
        0.001_708_984_4,
    ],
];
const TAPS: usize = 12;
/// What is between samples may be so much higher than they are: a bound of the filter's absolute sums, 2.03.
const OVERSHOOT: f32 = 2.1;

/// The gain over one segment's samples: from one to another over the segment's beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ramp {
    before: f32,
    after: f32,
    begin: i64,
    length: i64,
}

impl Ramp {
    /// From `before` to `after` hundredths of a decibel, over `length` samples from `begin` on.
    pub fn new(before: i16, after: i16, begin: i64, length: i64) -> Self {
        let factor = |gain: i16| if gain == 0 { 1.0 } else { 10_f64.powf(f64::from(gain) / 2000.0) as f32 };
        Self { before: factor(before), after: factor(after), begin, length }
    }

    /// The gain at a place, decibels.
    pub fn at(&self, place: i64) -> f64 {
        20.0 * f64::from(self.factor(place)).log10()
    }

    fn factor(&self, at: i64) -> f32 {
        let done = (at - self.begin).clamp(0, self.length) as f32 / self.length as f32;
        self.before + (self.after - self.before) * done
    }

    /// Applies it to samples of which the first is `at`.
    pub fn apply(&self, at: i64, samples: &mut [f32], channels: usize) {
        if self.before == 1.0 && self.after == 1.0 {
            return;
        }
        for (at, frame) in (at..).zip(samples.chunks_exact_mut(channels)) {
            let gain = self.factor(at);
            frame.iter_mut().for_each(|sample| *sample *= gain);
        }
    }
}

/// Keeps true peaks of one segment's samples below a ceiling.
#[derive(Debug)]
pub(super) struct Limiter {
    channels: usize,
    ceiling: f32,
    /// All samples of the segment, interleaved; the first one begins a block.
    pcm: Vec<f32>,
    /// By block: whether its peaks count.
    watched: Vec<bool>,
    /// By block: the gain its own peaks need.
    need: Vec<f32>,
    /// By block: the same with the recovery from those before.
    recovering: Vec<f32>,
    /// Blocks given out.
    given: usize,
}

impl Limiter {
    /// `ceiling`: largest true peak, full scale being 1.
    pub fn new(channels: usize, ceiling: f32) -> Self {
        let (pcm, watched, need, recovering) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { channels, ceiling, pcm, watched, need, recovering, given: 0 }
    }

    /// Takes samples; peaks of those not `watched` are let through.
    pub fn push(&mut self, samples: &[f32], watched: bool) {
        let per_block = BLOCK * self.channels;
        let from = self.pcm.len() / per_block;
        self.pcm.extend_from_slice(samples);
        self.watched.resize(self.pcm.len().div_ceil(per_block), false);
        if watched {
            self.watched[from..].fill(true);
        }
    }

    /// The blocks that nothing to come can change.
    pub fn take(&mut self) -> Vec<f32> {
        let per_block = BLOCK * self.channels;
        let whole = self.pcm.len() / per_block;
        // A block's peaks show with the six samples behind it.
        while self.need.len() + 1 < whole {
            let block = self.need.len();
            self.need.push(if self.watched[block] { self.needed(block) } else { 1.0 });
            self.recovering.push(self.recovered(block));
        }
        let from = self.given * per_block;
        while self.given + ATTACK + 1 < self.need.len() {
            let (begin, end) = (self.gain(self.given), self.gain(self.given + 1));
            if begin < 1.0 || end < 1.0 {
                let block = &mut self.pcm[self.given * per_block..(self.given + 1) * per_block];
                for (i, frame) in block.chunks_exact_mut(self.channels).enumerate() {
                    let gain = begin + (end - begin) * i as f32 / BLOCK as f32;
                    frame.iter_mut().for_each(|sample| *sample *= gain);
                }
            }
            self.given += 1;
        }
        // Peaks are looked for in what lies behind; what was given is only looked at for its last samples, which are of
        // a block whose need is known.
        self.pcm[from..self.given * per_block].to_vec()
    }

    /// The gain that brings the peaks of a block below the ceiling.
    fn needed(&self, block: usize) -> f32 {
        let mut peak = 0.0_f32;
        for channel in 0..self.channels {
            let sample = |i: i64| match usize::try_from(i) {
                Ok(i) => self.pcm.get(i * self.channels + channel).copied().unwrap_or(0.0),
                Err(_) => 0.0,
            };
            // The filter's output lies five and a half samples behind its newest input, so those reach half a sample beyond the block.
            let begin = (block * BLOCK) as i64;
            let mut window = [0.0_f32; BLOCK + TAPS + 1];
            for (i, slot) in (begin - TAPS as i64 / 2..).zip(&mut window) {
                *slot = sample(i);
            }
            let highest = window.iter().fold(0.0_f32, |highest, sample| highest.max(sample.abs()));
            // Most of the time nothing comes near the ceiling.
            if highest * OVERSHOOT <= self.ceiling {
                continue;
            }
            for newest in TAPS - 1..window.len() - 1 {
                let inputs = &window[newest + 1 - TAPS..=newest];
                for phase in &PHASES {
                    let value: f32 = phase.iter().zip(inputs.iter().rev()).map(|(c, s)| c * s).sum();
                    peak = peak.max(value.abs());
                }
            }
            peak = window[TAPS / 2..TAPS / 2 + BLOCK].iter().fold(peak, |peak, sample| peak.max(sample.abs()));
        }
        if peak > self.ceiling { self.ceiling / peak } else { 1.0 }
    }

    /// The gain of a block that still recovers from those before.
    fn recovered(&self, block: usize) -> f32 {
        let gain = |since: usize| {
            let need = block.checked_sub(since).map_or(1.0, |i| self.need[i]);
            need + (1.0 - need) * since as f32 / RELEASE as f32
        };
        (0..RELEASE).map(gain).fold(1.0, f32::min)
    }

    /// The gain where block `node` begins: a mean of minima, each of which covers the blocks on both sides.
    fn gain(&self, node: usize) -> f32 {
        let lowest = |at: i64| {
            let get = |i: i64| usize::try_from(i).ok().and_then(|i| self.recovering.get(i)).copied().unwrap_or(1.0);
            (at - 1..=at + ATTACK as i64).map(get).fold(1.0, f32::min)
        };
        let node = node as i64;
        let sum: f32 = (node - ATTACK as i64..=node).map(lowest).sum();
        let mean = sum / (ATTACK + 1) as f32;
        // Six ones must be one.
        if sum >= (ATTACK + 1) as f32 { 1.0 } else { mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peaks between samples: a sine of a quarter of the rate, 45° off, is 3 dB higher than its samples.
    fn loud(samples: usize, amplitude: f32) -> Vec<f32> {
        let wave = |i: usize| amplitude * (std::f32::consts::FRAC_PI_2 * i as f32 + std::f32::consts::FRAC_PI_4).sin();
        (0..samples).flat_map(|i| [wave(i), 0.3 * wave(i)]).collect()
    }

    fn limit(input: &[f32], portion: usize) -> Vec<f32> {
        let mut limiter = Limiter::new(2, 0.5);
        let mut out = Vec::new();
        for part in input.chunks(portion) {
            limiter.push(part, true);
            out.extend(limiter.take());
        }
        out
    }

    /// True peak by eight-fold sinc interpolation: a judge of its own.
    fn true_peak(samples: &[f32]) -> f32 {
        let mono: Vec<f32> = samples.chunks(2).map(|f| f[0]).collect();
        let mut peak = 0.0_f64;
        for i in 40..mono.len().saturating_sub(40) {
            for phase in 0..8 {
                let value: f64 = (i - 32..i + 32)
                    .map(|j| {
                        let x = i as f64 + f64::from(phase) / 8.0 - j as f64;
                        let angle = std::f64::consts::PI * x;
                        let window = 0.5 + 0.5 * (angle / 32.5).cos();
                        f64::from(mono[j]) * window * if x == 0.0 { 1.0 } else { angle.sin() / angle }
                    })
                    .sum();
                peak = peak.max(value.abs());
            }
        }
        peak as f32
    }

    #[test]
    fn peaks_between_samples_stay_below_the_ceiling() {
        let mut input = loud(4800, 0.05);
        input.extend(loud(1440, 0.9));
        input.extend(loud(9600, 0.05));
        let out = limit(&input, 2000);
        let peak = true_peak(&out);
        assert!((0.4..0.51).contains(&peak), "{peak}");
        // What lies far enough from the loud passage is untouched.
        assert!(out[..2 * 4400] == input[..2 * 4400], "before");
        let recovered = 2 * (4800 + 1440 + 48 * (RELEASE + 3 * ATTACK));
        assert!(out[recovered..] == input[recovered..out.len()], "behind");
    }

    #[test]
    fn nothing_older_than_its_memory_matters() {
        let mut noise = 1_u32;
        let mut next = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let input: Vec<f32> = (0..2 * 48_000).map(|_| next()).collect();
        let long = limit(&input, 1234);
        let from = 300 * BLOCK * 2;
        let late = limit(&input[from..], 777);
        let memory = MEMORY as usize * 2;
        assert!(late.len() > memory);
        assert!(late[memory..] == long[from + memory..]);
        assert_eq!(input.len() - long.len(), (AHEAD as usize - BLOCK) * 2, "what it waits for");
    }

    #[test]
    fn what_is_not_watched_goes_through() {
        let mut limiter = Limiter::new(1, 0.5);
        let input = vec![0.99; 480 * 4];
        limiter.push(&input, false);
        assert!(limiter.take().iter().all(|s| *s == 0.99));
    }

    #[test]
    fn the_gain_moves_over_the_beginning_and_then_stays() {
        let mut samples = vec![1.0; 400];
        Ramp::new(0, -602, 1000, 100).apply(950, &mut samples, 2);
        let at = |i: usize| samples[2 * (i - 950)];
        assert_eq!((at(950), at(1000)), (1.0, 1.0));
        assert!((at(1050) - 0.75).abs() < 0.001 && (at(1100) - 0.5).abs() < 0.001);
        assert_eq!(at(1100), at(1149));
        let ramp = Ramp::new(0, -602, 1000, 100);
        assert!(ramp.at(900) == 0.0 && (ramp.at(1050) + 2.498).abs() < 0.01 && (ramp.at(2000) + 6.02).abs() < 0.01);
    }
}
