//! Any layout of channels → mono, stereo or 5.1.
//!
//! Downmix by ITU-R BS.775-3 Table 2, not scaled down: a programme keeps its loudness when its layout changes. What would then
//! go above full scale is caught by the limiter ([`Mix::may_clip`]). Of LFE nothing is taken.
//! Upmix: none. Stereo keeps to its two channels of 5.1; mono sounds from both sides of stereo as loud as before, and from 5.1's centre.

use gstreamer_audio::AudioChannelPosition as At;

/// −3 dB.
const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// How the samples of a source become those of a rung.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mix {
    from: usize,
    to: usize,
    /// `to` rows of `from` weights; empty where samples stay as they are.
    weights: Vec<f32>,
}

impl Mix {
    /// For a source with these positions, in their order, and a rung of 1, 2 or 6 channels.
    pub fn new(positions: &[At], to: u8) -> Self {
        let (from, to) = (positions.len(), usize::from(to));
        let columns: Vec<[f32; 6]> = placed(positions).iter().map(|&at| column(at, to, positions)).collect();
        let weights: Vec<f32> = (0..to).flat_map(|row| columns.iter().map(move |column| column[row])).collect();
        let same = |i: usize| weights[i] == f32::from(u8::from(i / from == i % from));
        let identical = from == to && (0..weights.len()).all(same);
        Self { from, to, weights: if identical { Vec::new() } else { weights } }
    }

    /// Whether full-scale samples may come out above full scale.
    pub fn may_clip(&self) -> bool {
        self.weights.chunks(self.from).any(|row| row.iter().sum::<f32>() > 1.0)
    }

    /// Mixes interleaved samples.
    pub fn apply(&self, samples: &[f32]) -> Vec<f32> {
        if self.weights.is_empty() {
            return samples.to_vec();
        }
        let mut out = Vec::with_capacity(samples.len() / self.from * self.to);
        for frame in samples.chunks_exact(self.from) {
            out.extend(
                self.weights.chunks_exact(self.from).map(|row| row.iter().zip(frame).map(|(w, s)| w * s).sum::<f32>()),
            );
        }
        out
    }
}

/// What a decoder left without positions gets those that its number of channels usually has.
fn placed(positions: &[At]) -> Vec<At> {
    const USUAL: [At; 8] = [
        At::FrontLeft,
        At::FrontRight,
        At::FrontCenter,
        At::Lfe1,
        At::RearLeft,
        At::RearRight,
        At::SideLeft,
        At::SideRight,
    ];
    let known = |at: &At| !matches!(at, At::None | At::Invalid);
    match positions {
        [_] => vec![At::Mono],
        _ if positions.iter().all(known) => positions.to_vec(),
        _ => (0..positions.len()).map(|i| USUAL.get(i).copied().unwrap_or(At::None)).collect(),
    }
}

/// What one channel of the source gives to each of the rung's.
fn column(at: At, to: usize, all: &[At]) -> [f32; 6] {
    match to {
        1 => {
            // Both sides of the stereo downmix, and as loud as stereo from one loudspeaker.
            let [left, right, ..] = stereo(at);
            [0.5 * (left + right), 0.0, 0.0, 0.0, 0.0, 0.0]
        }
        2 => stereo(at),
        _ => surround(at, all),
    }
}

fn stereo(at: At) -> [f32; 6] {
    let (left, right) = match at {
        At::FrontLeft | At::FrontLeftOfCenter | At::WideLeft => (1.0, 0.0),
        At::FrontRight | At::FrontRightOfCenter | At::WideRight => (0.0, 1.0),
        At::Mono => (1.0, 1.0),
        At::FrontCenter => (HALF_POWER, HALF_POWER),
        At::RearLeft | At::SideLeft | At::SurroundLeft => (HALF_POWER, 0.0),
        At::RearRight | At::SideRight | At::SurroundRight => (0.0, HALF_POWER),
        At::RearCenter => (0.5, 0.5),
        _ => (0.0, 0.0),
    };
    [left, right, 0.0, 0.0, 0.0, 0.0]
}

/// Left, right, centre, LFE, left and right surround. 7.1's sides and rears share a surround channel at equal power.
fn surround(at: At, all: &[At]) -> [f32; 6] {
    let both = all.contains(&At::SideLeft) && all.contains(&At::RearLeft) || all.len() > 6 && all.contains(&At::None);
    let behind = if both { HALF_POWER } else { 1.0 };
    match at {
        At::FrontLeft | At::FrontLeftOfCenter | At::WideLeft => [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        At::FrontRight | At::FrontRightOfCenter | At::WideRight => [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        At::FrontCenter | At::Mono => [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        At::Lfe1 => [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        At::RearLeft | At::SideLeft | At::SurroundLeft => [0.0, 0.0, 0.0, 0.0, behind, 0.0],
        At::RearRight | At::SideRight | At::SurroundRight => [0.0, 0.0, 0.0, 0.0, 0.0, behind],
        At::RearCenter => [0.0, 0.0, 0.0, 0.0, HALF_POWER, HALF_POWER],
        _ => [0.0; 6],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_ONE: [At; 6] = [At::FrontLeft, At::FrontRight, At::FrontCenter, At::Lfe1, At::RearLeft, At::RearRight];
    const SEVEN_ONE: [At; 8] = [
        At::FrontLeft,
        At::FrontRight,
        At::FrontCenter,
        At::Lfe1,
        At::RearLeft,
        At::RearRight,
        At::SideLeft,
        At::SideRight,
    ];
    const STEREO: [At; 2] = [At::FrontLeft, At::FrontRight];

    #[test]
    fn layouts_are_mixed_by_the_standard() {
        let h = HALF_POWER;
        for (name, positions, to, frame, want) in [
            ("mono to stereo", &[At::Mono][..], 2, &[0.5][..], vec![0.5, 0.5]),
            ("a lone centre is mono", &[At::FrontCenter], 2, &[0.5], vec![0.5, 0.5]),
            ("mono to 5.1", &[At::Mono], 6, &[0.5], vec![0.0, 0.0, 0.5, 0.0, 0.0, 0.0]),
            ("stereo to stereo", &STEREO, 2, &[0.1, 0.2], vec![0.1, 0.2]),
            ("stereo to mono", &STEREO, 1, &[0.2, 0.4], vec![0.5 * 0.2 + 0.5 * 0.4]),
            ("stereo to 5.1", &STEREO, 6, &[0.1, 0.2], vec![0.1, 0.2, 0.0, 0.0, 0.0, 0.0]),
            ("5.1 to 5.1", &FIVE_ONE, 6, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
            ("centre of 5.1", &FIVE_ONE, 2, &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0], vec![h, h]),
            ("LFE of 5.1", &FIVE_ONE, 2, &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], vec![0.0, 0.0]),
            ("surrounds of 5.1", &FIVE_ONE, 2, &[0.0, 0.0, 0.0, 0.0, 1.0, 0.5], vec![h, 0.5 * h]),
            (
                "sides of 7.1",
                &SEVEN_ONE,
                6,
                &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
                vec![0.0, 0.0, 0.0, 0.0, h, 0.0],
            ),
            ("no positions", &[At::None; 6], 2, &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0], vec![h, h]),
        ] {
            assert_eq!(Mix::new(positions, to).apply(frame), want, "{name}");
        }
    }

    #[test]
    fn only_a_downmix_may_clip() {
        assert!(Mix::new(&FIVE_ONE, 2).may_clip());
        for (name, positions, to) in
            [("stereo", &STEREO[..], 2), ("to mono", &STEREO, 1), ("mono", &[At::Mono], 2), ("kept", &FIVE_ONE, 6)]
        {
            assert!(!Mix::new(positions, to).may_clip(), "{name}");
        }
    }
}
