//! The last minute of a rendition's programme, and how loud it is before its gain and behind its limiter.
//!
//! In:    how loud each 100 ms of each segment were, and what the limiter took of them at the gain they had.
//! Out:   the minute's gated loudness (ITU-R BS.1770-4 Annex 1), also as it would have been at another gain.
//! Never: takes silence for programme: what does not pass the absolute gate pushes nothing out of the minute.

use std::collections::VecDeque;

use crate::encode::ipc::{LoudnessReading, LoudnessStep};
use crate::media::SegmentNumber;

/// Gating blocks of a minute, ten a second. EBU R 128 is about whole programmes; a minute follows the next one soon enough.
pub(super) const BLOCKS_MAX: usize = 600;
/// Steps of 100 ms in a gating block of 400 ms; blocks overlap by all but one.
const STEPS: usize = 4;
/// Softer blocks are no programme: the absolute gate of −70 LUFS, as [`energy`].
const ABSOLUTE_GATE: f64 = 1e-7;
/// The relative gate lies 10 LU below the loudness of all blocks.
const RELATIVE_GATE: f64 = 0.1;

#[derive(Debug, Default)]
pub(super) struct Programme {
    newest: Option<SegmentNumber>,
    /// The last steps, of which the next block is made: fewer than a block has.
    steps: VecDeque<Step>,
    blocks: VecDeque<[Step; STEPS]>,
}

/// 100 ms. Energies are those of the sound before the gain: what comes out is lowered by the gain it had.
#[derive(Clone, Copy, Debug)]
struct Step {
    energy: f64,
    /// What the limiter left of it,
    left: f64,
    /// at this gain, hundredths of a decibel.
    gain: i32,
    /// The share of what it left that is held at the ceiling: more gain would not make it louder.
    held: f64,
}

impl Programme {
    /// Takes a segment's reading. Whether it is news and had programme in it: both pipelines read the same, the second one's is no news.
    pub fn hear(&mut self, reading: &LoudnessReading) -> bool {
        if self.newest.is_some_and(|newest| reading.segment <= newest) {
            return false;
        }
        if self.newest.is_none_or(|newest| reading.segment > newest.next()) {
            // No block spans what was not heard.
            self.steps.clear();
        }
        self.newest = Some(reading.segment);
        let mut heard = false;
        for step in &reading.steps {
            heard |= self.step(step);
        }
        heard
    }

    /// Whether a block of programme is whole with it.
    fn step(&mut self, step: &LoudnessStep) -> bool {
        self.steps.push_back(Step::from(step));
        let Some(block) = self.steps.make_contiguous().first_chunk::<STEPS>().copied() else {
            return false;
        };
        self.steps.pop_front();
        if mean(block.iter().map(|step| step.energy)).is_none_or(|energy| energy < ABSOLUTE_GATE) {
            return false;
        }
        self.blocks.push_back(block);
        if self.blocks.len() > BLOCKS_MAX {
            self.blocks.pop_front();
        }
        true
    }

    /// How many blocks of programme it has, at most [`BLOCKS_MAX`].
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Loudness before any gain, hundredths of LUFS.
    pub fn loudness(&self) -> Option<i32> {
        self.gated(|step| step.energy)
    }

    /// How much softer it is behind the limiter than its loudness and a gain (hundredths of a decibel) come to, hundredths of LU.
    ///
    /// Exact for what had this gain. For what had another, it is as if the same sound were held at the ceiling: with more gain that
    /// is too little of it, with less gain it comes out too loud. So it may be told too little while the gain moves, and not too much.
    pub fn taken(&self, gain: i32) -> Option<i32> {
        Some(self.loudness()? - self.gated(|step| step.left_at(gain))?)
    }

    fn gated(&self, of: impl Fn(&Step) -> f64) -> Option<i32> {
        let blocks: Vec<f64> = self.blocks.iter().filter_map(|block| mean(block.iter().map(&of))).collect();
        let gate = mean(blocks.iter().copied())? * RELATIVE_GATE;
        let gated = mean(blocks.into_iter().filter(|block| *block > gate))?;
        Some((1000.0 * gated.log10()).round() as i32)
    }
}

impl From<&LoudnessStep> for Step {
    fn from(step: &LoudnessStep) -> Self {
        let LoudnessStep { loudness, gain, taken, taken_louder } = *step;
        let louder = energy(LoudnessStep::LOUDER);
        // With more gain, what is held stays and the rest grows.
        let grown = energy(LoudnessStep::LOUDER - (taken_louder - taken));
        Self {
            energy: energy(loudness),
            left: energy(loudness - taken),
            gain: gain.into(),
            held: ((louder - grown) / (louder - 1.0)).clamp(0.0, 1.0),
        }
    }
}

impl Step {
    /// What the limiter would leave of it at a gain, hundredths of a decibel.
    fn left_at(&self, gain: i32) -> f64 {
        if self.held == 0.0 {
            return self.left;
        }
        let held = self.held * 10_f64.powf(f64::from(self.gain - gain) / 1000.0);
        (self.left * (1.0 - self.held + held)).min(self.energy)
    }
}

/// Of a level in hundredths of a decibel.
fn energy(level: i16) -> f64 {
    10_f64.powf(f64::from(level) / 1000.0)
}

fn mean(energies: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = energies.fold((0.0, 0_u32), |(sum, count), energy| (sum + energy, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ipc::RenditionIndex;

    fn step(loudness: i16) -> LoudnessStep {
        LoudnessStep { loudness, gain: 0, taken: 0, taken_louder: 0 }
    }

    fn reading(segment: u64, steps: Vec<LoudnessStep>) -> LoudnessReading {
        LoudnessReading { rendition: RenditionIndex(4), segment: SegmentNumber(segment), steps }
    }

    #[test]
    fn blocks_are_gated_as_the_standard_has_it() {
        const SILENT: i16 = LoudnessStep::SILENCE;
        for (name, steps, blocks, want) in [
            ("nothing", vec![], 0, None),
            ("less than a block", vec![-2300; 3], 0, None),
            ("constant", vec![-2300; 5], 2, Some(-2300)),
            ("a mean of energies", vec![-2000, -2300, -2000, -2300], 1, Some(-2125)),
            ("below the absolute gate", vec![-7001; 8], 0, None),
            (
                "one step of four is heard",
                vec![SILENT, SILENT, SILENT, -6000, SILENT, SILENT, SILENT, SILENT],
                4,
                Some(-6602),
            ),
            ("what is 10 LU below counts not", [[-2000; 8], [-4500; 8]].concat(), 13, Some(-2090)),
        ] {
            let mut programme = Programme::default();
            let heard = programme.hear(&reading(1, steps.into_iter().map(step).collect()));
            assert_eq!((programme.blocks(), programme.loudness()), (blocks, want), "{name}");
            assert_eq!(heard, blocks > 0, "{name}");
        }
    }

    #[test]
    fn blocks_span_segments_that_follow_each_other() {
        for (name, segments, blocks) in
            [("one", &[1][..], 3), ("two", &[1, 2], 9), ("not again", &[1, 1], 3), ("a hole", &[1, 3], 6)]
        {
            let mut programme = Programme::default();
            for n in segments {
                programme.hear(&reading(*n, vec![step(-2300); 6]));
            }
            assert_eq!(programme.blocks(), blocks, "{name}");
        }
    }

    #[test]
    fn a_minute_is_kept_and_silence_is_no_part_of_it() {
        let mut programme = Programme::default();
        programme.hear(&reading(0, vec![step(-1000); 20]));
        for n in 1..=31 {
            programme.hear(&reading(n, vec![step(-2300); 20]));
        }
        assert_eq!((programme.blocks(), programme.loudness()), (BLOCKS_MAX, Some(-2300)));
        for n in 32..200 {
            programme.hear(&reading(n, vec![step(LoudnessStep::SILENCE); 20]));
        }
        // Blocks that are half silent still count: the gates are the standard's.
        assert_eq!((programme.blocks(), programme.loudness()), (BLOCKS_MAX, Some(-2301)));
    }

    #[test]
    fn what_the_limiter_takes_is_told_for_other_gains_too() {
        // Half of what is left is held at the ceiling: 1 dB more makes it louder by 0.53 dB.
        for (name, taken, taken_louder, gain, want) in [
            ("idle", 0, 0, 500, 0),
            ("as it was", 200, 247, 300, 200),
            ("1 dB more", 200, 247, 400, 247),
            ("6 dB more", 200, 247, 900, 403),
            ("2 dB less", 200, 247, 100, 89),
            ("so much less that it has nothing to do", 200, 247, -1000, 0),
            ("all is held, 3 dB more", 200, 300, 600, 500),
            ("all is held, 2 dB less", 200, 300, 100, 0),
        ] {
            let mut programme = Programme::default();
            programme.hear(&reading(1, vec![LoudnessStep { loudness: -2300, gain: 300, taken, taken_louder }; 20]));
            assert_eq!(programme.taken(gain), Some(want), "{name}");
        }
    }
}
