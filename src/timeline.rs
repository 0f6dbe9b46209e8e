//! Anchors: source time → channel time.
//!
//! In:    the time of arrival of a source's media, and its time on the source's own timeline.
//! Out:   an [`Anchor`], shared by all sources that run on the same source timeline.
//! Never: steps the channel timeline back, or asks which pipeline wants to know.
//!
//! Two sources that carry the same programme with the same timestamps must land on the same slots, or two pipelines fed by
//! them would disagree. They are recognised by the time they arrive: under an anchor that fits, a source's media lies
//! near the wall clock; under a foreign one it lies hours away (33 bits are 26.5 h), so a chance match is one in 24,000.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::media::{ChannelTime, Grid, Round, SourceTime};

/// An anchor fits a source whose media lies so near to the wall clock under it. Contribution feeds of one programme are
/// rarely skewed by more than a second; SRT latencies differ by up to as much again.
pub const FIT: Duration = Duration::from_secs(2);

/// Media further than this from the wall clock is anchored anew: the source's clock has drifted or silently jumped.
pub const STRAY: Duration = Duration::from_secs(4);

/// Source time comes from 33 bits (ISO/IEC 13818-1 §2.4.3.7): a demux that begins behind a wrap counts so many ticks less.
const WRAP: i64 = 1 << 33;

/// How many anchors are remembered. More than there can be sources with timelines of their own in a sane channel.
const REMEMBERED: usize = 16;

/// Source time → channel time. One straight line for now; a planned change of slope will make it piecewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Channel ticks minus source ticks, 90 kHz.
    offset: i64,
}

impl Anchor {
    /// Where `at` lies on the channel timeline.
    pub const fn map(self, at: SourceTime) -> ChannelTime {
        ChannelTime::from_ticks(at.ticks().saturating_add(self.offset))
    }

    /// The same anchor for a source that has wrapped as often more or less as puts `at` nearest to `now`.
    fn unwrapped(self, at: SourceTime, now: ChannelTime) -> Self {
        let wraps = Round::Nearest.divide(i128::from(now - self.map(at)), i128::from(WRAP));
        // A distance of i64 has less than 2³¹ wraps in it.
        let ticks = i64::try_from(wraps * i128::from(WRAP)).unwrap_or(0);
        Self { offset: self.offset.saturating_add(ticks) }
    }
}

/// How a source came by its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchored {
    /// It runs on a timeline the channel knows.
    Adopted(Anchor),
    /// It runs on a timeline of its own, from now on known to the channel.
    New(Anchor),
}

impl Anchored {
    /// The anchor, however it came about.
    pub const fn anchor(self) -> Anchor {
        match self {
            Self::Adopted(a) | Self::New(a) => a,
        }
    }
}

/// All anchors of one channel. Outlives sources, pipelines and encode processes.
#[derive(Clone, Debug)]
pub struct Timeline {
    grid: Grid,
    /// Newest last.
    anchors: Vec<Anchor>,
}

impl Timeline {
    /// No anchor yet.
    pub const fn new(grid: Grid) -> Self {
        Self { grid, anchors: Vec::new() }
    }

    /// The anchor for a source whose media of source time `at` arrived at `now`. `at` is a video frame's PTS where there is
    /// video: a new anchor puts it exactly on a slot, so that no rounding later moves the source's frames between slots.
    pub fn anchor(&mut self, now: ChannelTime, at: SourceTime) -> Anchored {
        let fits = |a: &Anchor| distance(a.map(at), now) <= FIT;
        // Newest first: after a step of the wall clock the newer anchor is the truer one.
        if let Some(known) = self.anchors.iter().rev().map(|a| a.unwrapped(at, now)).find(fits) {
            return Anchored::Adopted(known);
        }
        let on_slot = self.grid.slot_time(self.grid.slot_at(now));
        let new = Anchor { offset: on_slot.ticks().saturating_sub(at.ticks()) };
        if self.anchors.len() == REMEMBERED {
            self.anchors.remove(0);
        }
        self.anchors.push(new);
        Anchored::New(new)
    }

    /// Whether media that lies at `at` under its anchor when it arrives at `now` needs a new one.
    pub fn is_stray(&self, now: ChannelTime, at: ChannelTime) -> bool {
        distance(at, now) > STRAY
    }
}

fn distance(a: ChannelTime, b: ChannelTime) -> Duration {
    ChannelTime::from_ticks((a - b).saturating_abs()).to_utc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameRate;

    fn timeline(num: u32, den: u32) -> Timeline {
        let rate = FrameRate::new(num, den).expect("good rate");
        Timeline::new(Grid::new(Duration::from_secs(2), rate).expect("good grid"))
    }

    const NOON: ChannelTime = ChannelTime::from_ticks(1_795_262_400 * 90_000);

    #[test]
    fn the_first_frame_lands_on_a_slot_and_the_rest_follow() {
        for (num, den, step) in [(25, 1, 3600), (30000, 1001, 3003), (60000, 1001, 1502)] {
            let mut t = timeline(num, den);
            let first = SourceTime::from_ticks(1_111_023_456);
            let anchor = t.anchor(NOON.offset(1234), first).anchor();
            let slot = t.grid.slot_at(anchor.map(first));
            assert_eq!(t.grid.slot_time(slot), anchor.map(first), "{num}/{den}");
            for k in 0..1000 {
                let there = anchor.map(first.offset(k * step));
                if step != 1502 {
                    assert_eq!(t.grid.slot_at(there).0, slot.0 + k as u64, "{num}/{den} frame {k}");
                }
            }
        }
    }

    #[test]
    fn sources_on_one_timeline_share_an_anchor_whatever_their_delay() {
        let mut t = timeline(25, 1);
        let pts = SourceTime::from_ticks(900_000);
        let first = t.anchor(NOON, pts);
        assert!(matches!(first, Anchored::New(_)));
        for (name, delay_ms, ahead_ms) in [("at once", 0, 0), ("a second behind", 1000, 0), ("7.3 s later", 0, 7300)] {
            let now = NOON + Duration::from_millis(delay_ms + ahead_ms);
            let got = t.anchor(now, pts + Duration::from_millis(ahead_ms));
            assert_eq!(got, Anchored::Adopted(first.anchor()), "{name}");
        }
    }

    #[test]
    fn a_source_that_joins_behind_a_wrap_of_its_clock_lands_on_the_same_slots() {
        let mut t = timeline(25, 1);
        // One second before the wrap.
        let before = SourceTime::from_ticks(WRAP - 90_000);
        let first = t.anchor(NOON, before).anchor();
        for days in [0, 1, 30] {
            let later = Duration::from_secs(2 + days * 86_400);
            let went_on = before + later;
            let joined = SourceTime::from_ticks(went_on.ticks().rem_euclid(WRAP));
            let Anchored::Adopted(anchor) = t.anchor(NOON + later, joined) else { panic!("{days} days later: anew") };
            assert_eq!(anchor.map(joined), first.map(went_on), "{days} days later");
        }
    }

    #[test]
    fn a_foreign_timeline_gets_its_own_anchor_near_now_and_the_old_one_is_kept() {
        let mut t = timeline(25, 1);
        let old = t.anchor(NOON, SourceTime::from_ticks(0)).anchor();
        let later = NOON + Duration::from_secs(60);
        let new = t.anchor(later, SourceTime::from_ticks(777_777_777));
        assert!(matches!(new, Anchored::New(_)));
        assert!(distance(new.anchor().map(SourceTime::from_ticks(777_777_777)), later) < Duration::from_millis(21));
        let back = t.anchor(later, SourceTime::from_ticks(60 * 90_000));
        assert_eq!(back, Anchored::Adopted(old));
    }

    #[test]
    fn memory_of_anchors_is_bounded() {
        let mut t = timeline(25, 1);
        for jump in 0..1000 {
            t.anchor(NOON, SourceTime::from_ticks(jump * 90_000 * 100));
        }
        assert_eq!(t.anchors.len(), REMEMBERED);
    }
}
