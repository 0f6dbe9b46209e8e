//! The gain that brings a programme to its loudness, planned on segment boundaries.
//!
//! In:    how loud each segment of each audio rendition was ([`LoudnessReading`]), and how far media has been handed out.
//! Out:   [`SegmentPlan`]s, each for a segment that no encode process can have begun.
//! Never: changes what is planned already; asks which pipeline a reading comes from.
//!
//! A rendition's loudness is that of its last minute of programme, gated by ITU-R BS.1770-4: silence and the slate are no programme and
//! leave the gain where it is. The gain goes towards the target by [`SLEW`] at most, so that the contrasts of a programme stay and only its level
//! moves; from 12 dB off it arrives after 24 s. What a rendition is planned by is its own sound: a language that is quieter than another gets more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::encode::ipc::{Loudness, LoudnessReading, RenditionIndex, SegmentPlan};
use crate::media::{Grid, SegmentNumber};

/// How much programme is looked at. EBU R 128 is about whole programmes; a minute follows the next one soon enough.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Programme that must have been heard before anything is moved: gating blocks, ten a second.
const BLOCKS_MIN: usize = 30;
/// Fastest change of gain, hundredths of a decibel a second.
const SLEW: u64 = 50;
/// Smaller changes are not worth a plan, hundredths of a decibel.
const STEP_MIN: i32 = 10;
/// Largest gain either way, hundredths of a decibel: what is further off is no programme but a fault.
const GAIN_MAX: i32 = 2000;
/// A plan is for a segment so far behind the newest that media was handed out for.
const AHEAD: u64 = 2;
/// Plans that are remembered for encode processes to come: they may begin as far back as a join buffer reaches.
const REMEMBERED: usize = 64;

/// Plans the gain of a channel's audio renditions.
#[derive(Debug)]
pub struct Planner {
    target: f32,
    slew: i32,
    window: usize,
    tracks: Vec<Track>,
}

#[derive(Debug)]
struct Track {
    rendition: RenditionIndex,
    newest: Option<SegmentNumber>,
    /// Gating blocks of the segments in which there was programme, hundredths of LUFS.
    heard: VecDeque<Vec<i16>>,
    /// Hundredths of LUFS.
    measured: Option<i32>,
    /// Rising.
    plans: VecDeque<SegmentPlan>,
}

impl Planner {
    /// For these renditions; their gain is nought.
    pub fn new(loudness: Loudness, grid: Grid, renditions: impl Iterator<Item = RenditionIndex>) -> Self {
        let ms = u64::try_from(grid.segment().as_millis()).unwrap_or(u64::MAX);
        let track = |rendition| Track {
            rendition,
            newest: None,
            heard: VecDeque::new(),
            measured: None,
            plans: VecDeque::new(),
        };
        Self {
            target: loudness.target,
            slew: i32::try_from(SLEW * ms / 1000).unwrap_or(GAIN_MAX).max(1),
            window: usize::try_from(WINDOW.as_millis() as u64 / ms).unwrap_or(1),
            tracks: renditions.map(track).collect(),
        }
    }

    /// Takes a reading; what it leads to is to be sent to all pipelines at once, before media of any segment above `handed_out`.
    /// Both pipelines read the same: the second one's reading is no news.
    pub fn hear(&mut self, reading: &LoudnessReading, handed_out: SegmentNumber) -> Option<SegmentPlan> {
        let track = self.tracks.iter_mut().find(|track| track.rendition == reading.rendition)?;
        if track.newest.is_some_and(|newest| reading.segment <= newest) {
            return None;
        }
        track.newest = Some(reading.segment);
        if reading.blocks.is_empty() {
            return None;
        }
        track.heard.push_back(reading.blocks.clone());
        if track.heard.len() > self.window {
            track.heard.pop_front();
        }
        let measured = integrated(track.heard.iter().flatten().copied())?;
        track.measured = Some(measured);
        if track.heard.iter().map(Vec::len).sum::<usize>() < BLOCKS_MIN {
            return None;
        }
        let from = SegmentNumber(handed_out.0 + AHEAD);
        let before = track.gain();
        // One plan a segment: what was sent stays.
        if track.plans.back().is_some_and(|last| last.from >= from) {
            return None;
        }
        let wanted = ((self.target * 100.0).round() as i32 - measured).clamp(-GAIN_MAX, GAIN_MAX);
        let change = wanted - i32::from(before);
        if change.abs() < STEP_MIN {
            return None;
        }
        let gain = i32::from(before) + change.clamp(-self.slew, self.slew);
        let plan =
            SegmentPlan { rendition: track.rendition, from, before, gain: i16::try_from(gain).unwrap_or(before) };
        track.plans.push_back(plan);
        if track.plans.len() > REMEMBERED {
            track.plans.pop_front();
        }
        Some(plan)
    }

    /// What a fresh encode process has to know, whichever segment it begins with.
    pub fn plans(&self) -> Vec<SegmentPlan> {
        self.tracks.iter().flat_map(|track| track.plans.iter().copied()).collect()
    }

    /// Each rendition's loudness before the gain, LUFS, and the newest gain, decibels.
    pub fn figures(&self) -> impl Iterator<Item = (RenditionIndex, Option<f64>, f64)> {
        let hundredth = |value: i32| f64::from(value) / 100.0;
        self.tracks.iter().map(move |t| (t.rendition, t.measured.map(hundredth), hundredth(t.gain().into())))
    }
}

impl Track {
    fn gain(&self) -> i16 {
        self.plans.back().map_or(0, |plan| plan.gain)
    }
}

/// Gated loudness of blocks that have passed the absolute gate, hundredths of LUFS (ITU-R BS.1770-4 Annex 1).
fn integrated(blocks: impl Iterator<Item = i16> + Clone) -> Option<i32> {
    let mean = |gate: f64| {
        let energy = |block: i16| 10_f64.powf(f64::from(block) / 1000.0);
        let loud = blocks.clone().filter(|block| f64::from(*block) > gate);
        let (sum, count) = loud.fold((0.0, 0_u32), |(sum, count), block| (sum + energy(block), count + 1));
        (count > 0).then(|| 1000.0 * (sum / f64::from(count)).log10())
    };
    // The relative gate: 10 LU below the loudness of all blocks.
    let all = mean(f64::NEG_INFINITY)?;
    mean(all - 1000.0).map(|loudness| loudness.round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameRate;
    use proptest::prelude::*;

    const RENDITION: RenditionIndex = RenditionIndex(4);

    fn planner() -> Planner {
        let grid = Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("a rate")).expect("a grid");
        Planner::new(Loudness { target: -23.0, true_peak: -1.0 }, grid, [RENDITION].into_iter())
    }

    fn reading(segment: u64, blocks: &[i16]) -> LoudnessReading {
        LoudnessReading { rendition: RENDITION, segment: SegmentNumber(segment), blocks: blocks.to_vec() }
    }

    #[test]
    fn blocks_are_gated_as_the_standard_has_it() {
        for (name, blocks, want) in [
            ("nothing", &[][..], None),
            ("constant", &[-2300, -2300], Some(-2300)),
            ("a mean of energies", &[-2000, -2300], Some(-2125)),
            ("what is 10 LU below counts not", &[-2000, -2000, -4500], Some(-2000)),
        ] {
            assert_eq!(integrated(blocks.iter().copied()), want, "{name}");
        }
    }

    #[test]
    fn the_gain_arrives_and_stays() {
        let mut planner = planner();
        let mut plans = Vec::new();
        for n in 100..160 {
            plans.extend(planner.hear(&reading(n, &[-1700; 17]), SegmentNumber(n + 1)));
            assert_eq!(planner.hear(&reading(n, &[-1700; 17]), SegmentNumber(n + 1)), None, "the other pipeline's");
        }
        assert_eq!(plans[0], SegmentPlan { rendition: RENDITION, from: SegmentNumber(104), before: 0, gain: -100 });
        assert_eq!(plans.len(), 6, "6 dB in steps of 1 dB a segment: {plans:?}");
        assert_eq!(planner.figures().next(), Some((RENDITION, Some(-17.0), -6.0)));
        assert_eq!(planner.plans(), plans);
    }

    #[test]
    fn silence_holds_the_gain() {
        let mut planner = planner();
        for n in 0..40 {
            planner.hear(&reading(n, &[-2800; 17]), SegmentNumber(n));
        }
        for n in 40..400 {
            assert_eq!(planner.hear(&reading(n, &[]), SegmentNumber(n)), None);
        }
        assert_eq!(planner.figures().next(), Some((RENDITION, Some(-28.0), 5.0)));
    }

    #[test]
    fn what_is_no_programme_is_not_followed_for_ever() {
        let mut planner = planner();
        for n in 0..200 {
            planner.hear(&reading(n, &[-6500; 17]), SegmentNumber(n));
        }
        assert_eq!(planner.figures().next().map(|f| f.2), Some(20.0));
    }

    proptest! {
        #[test]
        fn plans_rise_stay_ahead_and_move_slowly(
            levels in prop::collection::vec((-7000i16..0, 0usize..17, 0u64..4), 1..200),
        ) {
            let mut planner = planner();
            let mut handed_out = 1000;
            let mut last: Option<SegmentPlan> = None;
            for (n, (level, blocks, ahead)) in levels.into_iter().enumerate() {
                handed_out = handed_out.max(1000 + n as u64 + ahead);
                let Some(plan) = planner.hear(&reading(1000 + n as u64, &vec![level; blocks]), SegmentNumber(handed_out)) else {
                    continue;
                };
                prop_assert!(plan.from.0 >= handed_out + 2);
                prop_assert!(last.is_none_or(|l| l.from < plan.from && l.gain == plan.before));
                prop_assert!((i32::from(plan.gain) - i32::from(plan.before)).abs() <= 100 && plan.gain.abs() <= 2000);
                last = Some(plan);
            }
        }
    }
}
