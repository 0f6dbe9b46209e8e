//! The sound of the signal: each UTC second begins with a beep whose pitch names the second.
//!
//! In:    a sample's index since the epoch.
//! Out:   its value.
//! Never: keeps state: any process computes any sample.
//!
//! Second *s* sounds at [`frequency`]`(s)` from its first sample on, starting at phase zero, until [`GAP`] samples before
//! its end; then there is silence. A lost or doubled AAC frame moves the next onset by 1,024 samples.

use std::f64::consts::TAU;

/// Samples a second.
pub const RATE: u32 = 48_000;
/// Silent samples at the end of each second: 60 ms, so that losing two AAC frames does not hide it.
pub const GAP: u32 = 2_880;
/// Seconds that have a pitch of their own.
pub const PITCHES: u64 = 16;
/// Peak of the tone, full scale being 1: −12 dB.
pub const PEAK: f64 = 0.25;

/// Pitch of the tone code `code` (second modulo [`PITCHES`]), in Hz. All have whole periods in 10 ms.
pub const fn frequency(code: u64) -> u32 {
    600 + 100 * (code % PITCHES) as u32
}

/// Sample `index` since the epoch.
pub fn sample(index: u64) -> f64 {
    let (second, within) = (index / u64::from(RATE), index % u64::from(RATE));
    if within >= u64::from(RATE - GAP) {
        return 0.0;
    }
    // The last millisecond fades, so that the end of the tone does not click; the onset stays hard, it is what we measure.
    let left = (u64::from(RATE - GAP) - within) as f64 / 48.0;
    // Whole periods a second: the phase needs no index larger than one second, and loses no precision.
    let phase = TAU * f64::from(frequency(second)) * within as f64 / f64::from(RATE);
    PEAK * left.min(1.0) * phase.sin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_onset_and_its_gap() {
        for second in 1_700_000_000u64..1_700_000_018 {
            let at = |n: u64| sample(second * u64::from(RATE) + n);
            let loud = (0..48).map(|n| at(n).abs()).fold(0.0, f64::max);
            assert!(loud > 0.9 * PEAK, "second {second} begins with {loud}");
            assert!((45_120..48_000).all(|n| at(n) == 0.0), "second {second} has no gap");
        }
    }
}
