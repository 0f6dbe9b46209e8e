//! The gain that brings a programme to its loudness, planned on segment boundaries.
//!
//! In:    how loud each segment of each audio rendition was, and what its limiter took ([`LoudnessReading`]), and how far media has been handed out.
//! Out:   [`SegmentPlan`]s, each for a segment that no encode process can have begun.
//! Never: changes what is planned already; asks which pipeline a reading comes from.
//!
//! A rendition's loudness is that of its last minute of programme ([`programme`]): silence and the slate are no programme and
//! leave the gain where it is. The gain goes towards the target by [`SLEW`] at most, so that the contrasts of a programme stay and only its level
//! moves; from 12 dB off it arrives after 24 s. What a rendition is planned by is its own sound: a language that is quieter than another gets more.
//!
//! The gain aimed at is what the loudness lacks, and a make-up for what the limiter takes of it: the smallest by which the minute
//! would have come out at its target, and no more than [`MAKE_UP_MAX`]. Both follow from the minute alone. Nothing adds up over time, so
//! nothing winds up; each step of the minute brings along the gain it had, so that it does not matter how late it is told.

mod programme;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::encode::ipc::{Loudness, LoudnessReading, RenditionIndex, SegmentPlan};
use crate::media::{Grid, SegmentNumber};
use programme::Programme;

/// Programme that must have been heard before anything is moved: gating blocks, ten a second.
const BLOCKS_MIN: usize = 30;
/// Programme that must have been heard before it is said to fall short.
const BLOCKS_TO_JUDGE: usize = 300;
/// Fastest change of gain, hundredths of a decibel a second.
const SLEW: u64 = 50;
/// Smaller changes are not worth a plan, hundredths of a decibel.
const STEP_MIN: i32 = 10;
/// Largest gain either way, hundredths of a decibel: what is further off is no programme but a fault.
const GAIN_MAX: i32 = SegmentPlan::GAIN_MAX as i32;
/// Largest make-up, hundredths of a decibel. What a limiter takes more of, it flattens: more gain would bring distortion in place of loudness.
const MAKE_UP_MAX: i32 = 300;
/// A programme falls short when it comes out by so much below its target with all the make-up there is, hundredths of LU,
const SHORT: i32 = 50;
/// and no longer when it is less than this.
const SHORT_NO_LONGER: i32 = 25;
/// A plan is for a segment so far behind the newest that media was handed out for.
const AHEAD: u64 = 2;
/// Plans that are remembered for encode processes to come: they may begin as far back as a join buffer reaches.
const REMEMBERED: usize = 64;

/// Plans the gain of a channel's audio renditions.
#[derive(Debug)]
pub struct Planner {
    /// Hundredths of LUFS.
    target: i32,
    slew: i32,
    tracks: Vec<Track>,
}

/// How loud a rendition is, and what is done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Of the last minute of programme before the gain, LUFS.
    pub measured: Option<f64>,
    /// The newest planned gain, decibels.
    pub gain: f64,
    /// So much of the gain aimed at is for what the limiter takes, decibels.
    pub make_up: f64,
    /// What the limiter takes of the last minute at the newest planned gain, LU: it comes out at `measured` + `gain` − `taken`.
    pub taken: f64,
}

/// A rendition that the limiter keeps below its target, or does so no longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Short {
    /// Whose sound.
    pub rendition: RenditionIndex,
    /// By so much, LU; none when it is over.
    pub by: Option<f64>,
}

#[derive(Debug)]
struct Track {
    rendition: RenditionIndex,
    programme: Programme,
    /// Hundredths, as in [`Figures`].
    measured: Option<i32>,
    make_up: i32,
    taken: i32,
    /// What is lacking with all the make-up there is, hundredths of LU.
    lacking: i32,
    is_short: bool,
    /// Rising.
    plans: VecDeque<SegmentPlan>,
}

impl Planner {
    /// For these renditions; their gain is nought.
    pub fn new(loudness: Loudness, grid: Grid, renditions: impl Iterator<Item = RenditionIndex>) -> Self {
        let ms = u64::try_from(grid.segment().as_millis()).unwrap_or(u64::MAX);
        Self {
            target: (loudness.target * 100.0).round() as i32,
            slew: i32::try_from(SLEW * ms / 1000).unwrap_or(GAIN_MAX).max(1),
            tracks: renditions.map(Track::new).collect(),
        }
    }

    /// Takes a reading; what it leads to is to be sent to all pipelines at once, before media of any segment above `handed_out`.
    /// Both pipelines read the same: the second one's reading is no news.
    pub fn hear(&mut self, reading: &LoudnessReading, handed_out: SegmentNumber) -> Option<SegmentPlan> {
        let track = self.tracks.iter_mut().find(|track| track.rendition == reading.rendition)?;
        if !track.programme.hear(reading) {
            return None;
        }
        let wanted = track.aim(self.target)?;
        let plan = track.plan(wanted, self.slew, SegmentNumber(handed_out.0 + AHEAD));
        track.taken = track.programme.taken(track.gain().into()).unwrap_or(0);
        plan
    }

    /// What a fresh encode process has to know, whichever segment it begins with.
    pub fn plans(&self) -> Vec<SegmentPlan> {
        self.tracks.iter().flat_map(|track| track.plans.iter().copied()).collect()
    }

    /// How loud each rendition is.
    pub fn figures(&self) -> impl Iterator<Item = (RenditionIndex, Figures)> {
        self.tracks.iter().map(|track| (track.rendition, track.figures()))
    }

    /// Renditions that fall short since the last call, or no longer do.
    pub fn news(&mut self) -> Vec<Short> {
        self.tracks.iter_mut().filter_map(Track::news).collect()
    }
}

impl Track {
    fn new(rendition: RenditionIndex) -> Self {
        Self {
            rendition,
            programme: Programme::default(),
            measured: None,
            make_up: 0,
            taken: 0,
            lacking: 0,
            is_short: false,
            plans: VecDeque::new(),
        }
    }

    fn gain(&self) -> i16 {
        self.plans.back().map_or(0, |plan| plan.gain)
    }

    /// The gain by which the minute would have come out at its target.
    fn aim(&mut self, target: i32) -> Option<i32> {
        let measured = self.programme.loudness()?;
        self.measured = Some(measured);
        let plain = (target - measured).clamp(-GAIN_MAX, GAIN_MAX);
        let most = (plain + MAKE_UP_MAX).min(GAIN_MAX);
        // What the limiter takes grows with the gain, but not as fast: there is one gain from which on nothing is lacking.
        let lacking = |gain: i32| plain + self.programme.taken(gain).unwrap_or(0) - gain;
        let (mut low, mut high) = (plain, most);
        while low < high {
            let middle = low + (high - low) / 2;
            if lacking(middle) > 0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.lacking = lacking(high).max(0);
        self.make_up = high - plain;
        Some(high)
    }

    fn plan(&mut self, wanted: i32, slew: i32, from: SegmentNumber) -> Option<SegmentPlan> {
        // One plan a segment: what was sent stays.
        if self.programme.blocks() < BLOCKS_MIN || self.plans.back().is_some_and(|last| last.from >= from) {
            return None;
        }
        let before = self.gain();
        let change = wanted - i32::from(before);
        if change.abs() < STEP_MIN {
            return None;
        }
        let gain = i16::try_from(i32::from(before) + change.clamp(-slew, slew)).unwrap_or(before);
        let plan = SegmentPlan { rendition: self.rendition, from, before, gain };
        self.plans.push_back(plan);
        if self.plans.len() > REMEMBERED {
            self.plans.pop_front();
        }
        Some(plan)
    }

    fn figures(&self) -> Figures {
        let hundredths = |value: i32| f64::from(value) / 100.0;
        Figures {
            measured: self.measured.map(hundredths),
            gain: hundredths(self.gain().into()),
            make_up: hundredths(self.make_up),
            taken: hundredths(self.taken),
        }
    }

    fn news(&mut self) -> Option<Short> {
        let limit = if self.is_short { SHORT_NO_LONGER } else { SHORT };
        let is_short = self.lacking >= limit && self.programme.blocks() >= BLOCKS_TO_JUDGE;
        let changed = is_short != std::mem::replace(&mut self.is_short, is_short);
        let by = is_short.then(|| f64::from(self.lacking) / 100.0);
        changed.then_some(Short { rendition: self.rendition, by })
    }
}
