//! The source's own distance between pictures: a hole that is no longer is rate conversion, not a fault.
//!
//! In:    what the source says of its rate, the times of its pictures, the slope of the anchor.
//! Out:   whether a hole in front of a picture had to be.
//! Never: decides what fills it.

use std::collections::VecDeque;

use crate::media::{ChannelTime, Grid, Pace, VideoShape};

/// Longest distance that is believed to be a source's own, ticks: five pictures a second.
const DISTANCE_MAX: i64 = 18_000;
/// Of the last so many distances the longest is the source's own: a rate that varies does so in a pattern.
const PATTERN: usize = 4;
/// More knots than are planned at a time.
const PACES_MAX: usize = 16;

/// What is known of the source's cadence.
#[derive(Debug)]
pub struct Cadence {
    grid: Grid,
    /// Ticks between its pictures, as it says.
    declared: i64,
    /// The distances before the last pictures, the place of the next one, and the last picture.
    distances: [i64; PATTERN],
    place: usize,
    last: Option<ChannelTime>,
    paces: VecDeque<Pace>,
}

impl Cadence {
    /// Of a source that is not known yet.
    pub const fn new(grid: Grid) -> Self {
        Self { grid, declared: 0, distances: [0; PATTERN], place: 0, last: None, paces: VecDeque::new() }
    }

    /// The source says what it sends.
    pub fn declared(&mut self, shape: Option<VideoShape>) {
        let rate = shape.and_then(|shape| shape.rate);
        self.declared = rate.map_or(0, |rate| 90_000 * i64::from(rate.den()) / i64::from(rate.num()));
    }

    /// A slope was planned.
    pub fn pace(&mut self, pace: Pace) {
        self.paces.retain(|known| known.from < pace.from);
        if self.paces.len() == PACES_MAX {
            self.paces.pop_front();
        }
        self.paces.push_back(pace);
    }

    /// Notes a picture.
    pub fn note(&mut self, at: ChannelTime) {
        if let Some(last) = self.last.replace(at) {
            self.distances[self.place] = at - last;
            self.place = (self.place + 1) % PATTERN;
        }
    }

    /// Notes a picture, and tells whether the distance to the one before is the source's own. The source is taken by its
    /// word, or by its last distances where its rate varies. While the anchor bends to the later, pictures slip by a slot once.
    pub fn explains(&mut self, at: ChannelTime) -> bool {
        let Some(last) = self.last else {
            self.note(at);
            return false;
        };
        let own = self.distances.iter().fold(self.declared, |own, d| own.max(*d)).min(DISTANCE_MAX);
        let segment = self.grid.segment_at(at);
        let bends = self.paces.iter().rev().find(|pace| pace.from <= segment).is_some_and(|pace| pace.stretch > 0);
        let slot = ChannelTime::from_utc(self.grid.slot_duration()).ticks();
        self.note(at);
        at - last <= own + own / 2 + if bends { slot } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{FrameRate, SegmentNumber};
    use std::time::Duration;

    #[test]
    fn holes_of_the_sources_own_length_are_told_from_others() {
        let grid = Grid::new(Duration::from_secs(2), FrameRate::new(50, 1).expect("good rate")).expect("good grid");
        let rate = |fps: u32| FrameRate::new(fps, 1).ok();
        let bend = |stretch| Some(Pace { from: SegmentNumber(800_000_000), stretch });
        for (name, declared, pace, distances_ms, want) in [
            ("25 on 50", rate(25), None, &[40, 40, 40][..], &[true, true, true][..]),
            ("one picture lost", rate(25), None, &[40, 80, 40], &[true, false, true]),
            ("nothing declared", None, None, &[40, 40, 80, 40], &[false, true, false, true]),
            ("less than declared, steadily", rate(30), None, &[33, 100, 100, 33], &[true, false, true, true]),
            ("a second of nothing is a fault", rate(25), None, &[1000, 1000], &[false, false]),
            ("a slip", rate(50), bend(14), &[20, 40, 20], &[true, true, true]),
            ("a slip the other way", rate(50), bend(-14), &[20, 40, 20], &[true, false, true]),
        ] {
            let mut cadence = Cadence::new(grid);
            let size = VideoShape { width: 640, height: 360, rate: declared, interlaced: false };
            cadence.declared(Some(size));
            pace.into_iter().for_each(|pace| cadence.pace(pace));
            let mut at = grid.segment_start(SegmentNumber(900_000_000));
            assert!(!cadence.explains(at), "{name}: nothing came before the first");
            for (i, (ms, want)) in distances_ms.iter().zip(want).enumerate() {
                at = at + Duration::from_millis(*ms);
                assert_eq!(cadence.explains(at), *want, "{name}: picture {i}");
            }
        }
    }
}
