//! How loud a block of sound is.
//!
//! In:    interleaved samples, full scale ±1. Out: RMS of the loudest channel, dBFS.

/// What nothing at all counts as, dBFS: the least step of 20 bits.
pub const NOTHING: f32 = -120.0;

/// RMS of the loudest channel, dBFS (a sine at full scale: −3), no less than [`NOTHING`]. `None` without a whole sample of each channel.
pub fn level(samples: &[f32], channels: usize) -> Option<f32> {
    let frames = samples.len().checked_div(channels).filter(|&frames| frames > 0)?;
    let square = |channel: usize| {
        let of = samples.iter().skip(channel).step_by(channels).take(frames);
        // A decoder that writes what is no number has not made silence.
        of.map(|&s| if s.is_finite() { f64::from(s) * f64::from(s) } else { 1.0 }).sum::<f64>() / frames as f64
    };
    let loudest = (0..channels).map(square).fold(0.0, f64::max);
    Some((10.0 * loudest.log10()).clamp(f64::from(NOTHING), 0.0) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sine(peak: f32) -> impl Iterator<Item = f32> {
        (0..4800).map(move |i| peak * (std::f32::consts::TAU * i as f32 / 48.0).sin())
    }

    #[test]
    fn levels_are_those_of_a_meter() {
        let mono = |peak| sine(peak).collect::<Vec<_>>();
        let right: Vec<f32> = sine(0.1).flat_map(|s| [0.0, s]).collect();
        for (name, samples, channels, want) in [
            ("full scale", mono(1.0), 1, -3.01),
            ("a hundredth", mono(0.01), 1, -43.01),
            ("the loudest channel", right.clone(), 2, -23.01),
            ("nothing", vec![0.0; 960], 2, NOTHING),
            ("beyond full scale", vec![3.0; 960], 2, 0.0),
            ("no number", vec![f32::NAN; 960], 2, 0.0),
        ] {
            let got = level(&samples, channels).expect("samples");
            assert!((got - want).abs() < 0.01, "{name}: {got}");
        }
        assert_eq!(level(&[], 2), None);
        assert_eq!(level(&[0.5], 2), None, "less than a sample of each");
        assert_eq!(level(&[0.5], 0), None);
    }

    proptest! {
        #[test]
        fn any_samples_have_a_level(samples in proptest::collection::vec(any::<f32>(), 0..500), channels in 0usize..9) {
            if let Some(level) = level(&samples, channels) {
                prop_assert!((NOTHING..=0.0).contains(&level));
            }
        }
    }
}
