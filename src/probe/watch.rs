//! From pictures and blocks of sound to states: what is wrong, and since when.
//!
//! In:    sketches, errors and levels, each with its time of arrival, microseconds.
//! Out:   [`PictureSeen`], [`SoundSeen`].
//! Never: says that something lasts: that is for who knows how long it may.

use std::collections::VecDeque;

use super::ipc::{PictureSeen, Pictures, Sound, SoundSeen};
use super::picture::Sketch;

/// A picture that stands still for less is no news: films of 24 pictures are sent with repeats, and so are slow pans.
const STILL_MIN: u64 = 300_000;
/// Sound that is away for less is no news either: the gap between two words.
const SILENT_MIN: u64 = 200_000;
/// Errors are counted over so much.
const SECOND: u64 = 1_000_000;
/// Errors that are remembered at most; what is beyond is as bad.
const ERRORS_MAX: usize = 1024;

/// Watches the pictures of one source.
#[derive(Clone, Debug)]
pub struct PictureWatch {
    rules: Pictures,
    /// Arrival of the newest unit, and of the newest picture that came out of the decoder: it reorders.
    newest: u64,
    shown: u64,
    /// When the decoder began.
    began: u64,
    black_since: Option<u64>,
    /// The picture that nothing has moved away from, and when it came.
    still: Option<(Sketch, u64)>,
    /// When units came that had errors, within the last second.
    wrong: VecDeque<u64>,
    errors_since: Option<u64>,
    errors: u64,
}

impl PictureWatch {
    /// Nothing has been seen.
    pub fn new(rules: Pictures) -> Self {
        Self {
            rules,
            newest: 0,
            shown: 0,
            began: 0,
            black_since: None,
            still: None,
            wrong: VecDeque::new(),
            errors_since: None,
            errors: 0,
        }
    }

    /// What follows does not continue what came before; errors are counted on.
    pub fn anew(&mut self) {
        *self = Self { errors: self.errors, ..Self::new(self.rules) };
    }

    /// A picture was decoded. Pictures come in the order in which they are shown.
    pub fn picture(&mut self, at: u64, sketch: Sketch) {
        (self.newest, self.shown) = (self.newest.max(at), self.shown.max(at));
        if sketch.dark_share() >= self.rules.dark_share {
            self.black_since.get_or_insert(at);
        } else {
            self.black_since = None;
        }
        let stays = self.still.as_ref().is_some_and(|(first, _)| !sketch.moved_from(first, self.rules.change));
        if !stays {
            self.still = Some((sketch, at));
        }
    }

    /// The decoder begins with the unit that came then.
    pub fn begins(&mut self, at: u64) {
        self.began = at;
    }

    /// A unit was looked at; `wrong`: it could not be decoded whole. Nor is one of which, like those before it, no picture came for a
    /// second: parsers leave out without a word what makes no sense to them.
    pub fn unit(&mut self, at: u64, wrong: bool) {
        self.newest = self.newest.max(at);
        if wrong || at.saturating_sub(self.shown.max(self.began)) >= SECOND {
            self.errors += 1;
            if self.wrong.len() == ERRORS_MAX {
                self.wrong.pop_front();
            }
            self.wrong.push_back(at);
        }
        while self.wrong.front().is_some_and(|&then| at.saturating_sub(then) >= SECOND) {
            self.wrong.pop_front();
        }
        if self.wrong.len() >= self.rules.errors_per_second.max(1) as usize {
            let first = self.wrong.front().copied().unwrap_or(at);
            self.errors_since.get_or_insert(first);
        } else {
            self.errors_since = None;
        }
    }

    /// Something is wrong, or may soon be: its end is to be seen at once.
    pub fn is_suspect(&self) -> bool {
        self.black_since.is_some() || self.errors_since.is_some() || self.still_since().is_some()
    }

    fn still_since(&self) -> Option<u64> {
        let since = self.still.as_ref().map(|(_, since)| *since);
        since.filter(|since| self.shown.saturating_sub(*since) >= STILL_MIN)
    }

    /// What has been seen; `None` before the first unit.
    pub fn seen(&self) -> Option<PictureSeen> {
        (self.newest > 0).then_some(PictureSeen {
            at: self.newest,
            black_since: self.black_since,
            still_since: self.still_since(),
            errors_since: self.errors_since,
            errors: self.errors,
        })
    }
}

/// Watches the sound of one source.
#[derive(Clone, Debug)]
pub struct SoundWatch {
    rules: Sound,
    newest: u64,
    silent_since: Option<u64>,
    loudest: f32,
}

impl SoundWatch {
    /// Nothing has been heard.
    pub fn new(rules: Sound) -> Self {
        Self { rules, newest: 0, silent_since: None, loudest: super::sound::NOTHING }
    }

    /// What follows does not continue what came before.
    pub fn anew(&mut self) {
        *self = Self::new(self.rules);
    }

    /// A block was decoded; its level in dBFS.
    pub fn block(&mut self, at: u64, level: f32) {
        self.newest = self.newest.max(at);
        self.loudest = self.loudest.max(level);
        if level < self.rules.level {
            self.silent_since.get_or_insert(at);
        } else {
            self.silent_since = None;
        }
    }

    /// What has been heard; `None` before the first block.
    pub fn seen(&self) -> Option<SoundSeen> {
        (self.newest > 0).then_some(SoundSeen {
            at: self.newest,
            silent_since: self.silent_since.filter(|since| self.newest.saturating_sub(*since) >= SILENT_MIN),
            level: (self.loudest * 100.0).round().clamp(-12_000.0, 0.0) as i16,
        })
    }

    /// It was told: a new level begins.
    pub fn told(&mut self) {
        self.loudest = super::sound::NOTHING;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::picture::Luma;
    use proptest::prelude::*;

    const RULES: Pictures = Pictures { dark_level: 37, dark_share: 0.98, change: 4.38, errors_per_second: 2 };
    const FRAME: u64 = 40_000;

    /// A picture of one luma.
    fn plain(code: u8) -> Sketch {
        Sketch::of(Luma { data: &[code; 64], width: 8, height: 8, stride: 8, bits: 8 }, 37).expect("a plane")
    }

    /// Shows pictures of these codes, 40 ms apart, the first at 1 s; what was seen after each.
    fn shown(codes: impl IntoIterator<Item = u8>) -> Vec<PictureSeen> {
        let mut watch = PictureWatch::new(RULES);
        let seen = |(i, code): (usize, u8)| {
            watch.picture(1_000_000 + i as u64 * FRAME, plain(code));
            watch.seen().expect("seen")
        };
        codes.into_iter().enumerate().map(seen).collect()
    }

    #[test]
    fn black_begins_with_its_first_picture_and_ends_with_the_next_other_one() {
        let seen = shown([100, 16, 20, 16, 100, 16]);
        let since: Vec<_> = seen.iter().map(|s| s.black_since.map(|at| (at - 1_000_000) / FRAME)).collect();
        assert_eq!(since, [None, Some(1), Some(1), Some(1), None, Some(5)]);
    }

    #[test]
    fn still_begins_with_the_picture_that_stands_and_is_told_after_a_moment() {
        let seen = shown([100, 110, 120].into_iter().chain([130; 10]).chain([50]));
        let since: Vec<_> = seen.iter().map(|s| s.still_since.map(|at| (at - 1_000_000) / FRAME)).collect();
        // 300 ms are eight pictures.
        assert_eq!(since[..11], [None; 11]);
        assert_eq!(since[11..], [Some(3), Some(3), None]);
    }

    #[test]
    fn a_fade_is_no_standing_picture() {
        // A code each four pictures: 6 codes a second.
        let seen = shown((0..200).map(|i| 20 + i / 4));
        let longest = seen.iter().filter_map(|s| s.still_since.map(|since| s.at - since)).max();
        assert!(longest < Some(1_000_000), "{longest:?}");
    }

    #[test]
    fn errors_are_a_fault_while_there_are_enough_of_them_in_a_second() {
        let mut watch = PictureWatch::new(RULES);
        let mut since = |at_ms: u64, wrong| {
            watch.picture(at_ms * 1000, plain(100));
            watch.unit(at_ms * 1000, wrong);
            watch.seen().and_then(|seen| seen.errors_since).map(|at| at / 1000)
        };
        assert_eq!(since(1000, true), None, "one is not two");
        assert_eq!(since(1500, true), Some(1000));
        assert_eq!(since(1960, false), Some(1000));
        assert_eq!(since(2000, false), None, "one within the last second");
        assert_eq!(since(2400, true), Some(1500));
        assert_eq!(since(3000, true), Some(1500), "it goes on");
        assert_eq!(since(9000, false), None);
        assert_eq!(watch.seen().map(|seen| seen.errors), Some(4));
        watch.anew();
        assert_eq!(watch.seen(), None);
    }

    #[test]
    fn units_of_which_no_picture_comes_are_wrong() {
        let mut watch = PictureWatch::new(RULES);
        watch.begins(5_000_000);
        let mut wrong = |at_ms: u64| {
            watch.unit(at_ms * 1000, false);
            watch.seen().map(|seen| seen.errors)
        };
        let counted: Vec<_> = [5000, 5500, 5999, 6000, 6040].into_iter().filter_map(&mut wrong).collect();
        assert_eq!(counted, [0, 0, 0, 1, 2]);
        watch.picture(6_080_000, plain(100));
        watch.unit(6_080_000, false);
        assert_eq!(watch.seen().map(|seen| seen.errors), Some(2));
    }

    #[test]
    fn silence_begins_with_its_first_block_and_is_told_after_a_moment() {
        let mut watch = SoundWatch::new(Sound { level: -50.0 });
        assert_eq!(watch.seen(), None);
        let mut heard = |at_ms: u64, level| {
            watch.block(at_ms * 1000, level);
            let seen = watch.seen().expect("heard");
            watch.told();
            (seen.silent_since.map(|at| at / 1000), seen.level)
        };
        assert_eq!(heard(1000, -20.0), (None, -2000));
        assert_eq!(heard(1020, -50.1), (None, -5010));
        assert_eq!(heard(1200, -120.0), (None, -12_000));
        assert_eq!(heard(1220, -60.0), (Some(1020), -6000));
        assert_eq!(heard(1240, -50.0), (None, -5000), "as loud as the limit is not silence");
        assert_eq!(heard(1300, -90.0), (None, -9000));
    }

    proptest! {
        /// Whatever comes: what is told began before it is told, and not before what was last otherwise.
        #[test]
        fn states_begin_where_they_began(codes in proptest::collection::vec(prop_oneof![Just(16u8), Just(90), Just(91), Just(200)], 1..100)) {
            for (i, seen) in shown(codes.iter().copied()).into_iter().enumerate() {
                let place = |at: u64| ((at - 1_000_000) / FRAME) as usize;
                let black = codes[..=i].iter().rposition(|&c| c > 37).map_or(0, |last| last + 1);
                prop_assert_eq!(seen.black_since.map(place), (black <= i).then_some(black));
                if let Some(since) = seen.still_since.map(place) {
                    prop_assert!(codes[since..=i].iter().all(|c| c.abs_diff(codes[since]) <= 4));
                    prop_assert!(i - since >= 8);
                }
            }
        }
    }
}
