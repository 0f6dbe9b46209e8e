//! The sender's time → channel time, for all tracks of a pipeline alike.
//!
//! In:    the first group of pictures, or frame of sound; when segments become whole.
//! Out:   an offset. None where the sender's times are channel time already; else one that puts the first key picture on the first slot of a
//!        segment, so that later ones fall on the grid as well.
//! Never: moves the sender's tracks against each other; guesses what a sender means whose pictures do not fit the grid.

use std::time::Duration;

use super::time::{
    Fine, first_sample, nearest_frame, nearest_sample, nearest_slot, segment_from, segment_length, segment_start,
    slot_length, slot_time,
};
use crate::clock::Now;
use crate::media::{AUDIO_RATE, Grid, SegmentNumber};

/// A segment may become whole so much behind its end: what a connection and a scheduler may cost.
const SLACK: Duration = Duration::from_millis(200);
/// So many segments in a row that come at a wrong time are no accident.
const STRIKES: u32 = 3;

/// Why a sender's media cannot be put on the channel's grid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// The frame rate, or pictures missing.
    #[error(
        "{pictures} pictures in {seconds:.3} s: at the channel's {rate} frames a second there are {want} \
         (another frame rate, pictures left out, or an open GOP)"
    )]
    FrameRate {
        /// How many came.
        pictures: u64,
        /// From a key picture to the next one, or as far as they came.
        seconds: f64,
        /// The channel's.
        rate: String,
        /// How many there should be.
        want: u64,
    },
    /// Key pictures do not meet the segments.
    #[error("{got} pictures from one key picture to the next: segments have {want}, and each must begin with one")]
    Gop {
        /// From key picture to key picture; those that came, where no other one did.
        got: u64,
        /// Of a segment.
        want: u64,
    },
    /// No constant distance of key pictures meets such segments.
    #[error(
        "segments of {segment:?} do not hold a whole number of pictures at {rate} frames a second: choose a segment duration that does, \
         or a sender whose times are channel time"
    )]
    Uneven {
        /// Segment duration.
        segment: Duration,
        /// The channel's frame rate.
        rate: String,
    },
    /// Pictures behind a key picture are shown before it, and need what came before.
    #[error("pictures that follow a key picture are shown before it: GOPs must be closed")]
    OpenGop,
    /// The rate is not the channel's after all.
    #[error("pictures drift off the channel's grid of {0} frames a second: another frame rate (30 in place of 29.97?)")]
    OffGrid(String),
    /// A segment's first picture is no key picture.
    #[error("the first picture of segment {0} is not a key picture")]
    NoKey(SegmentNumber),
}

/// Pictures that wait for their time, from a key picture on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Key pictures: how many pictures lie before each, and its time as the sender says it. The first one first.
    pub keys: Vec<(u64, Fine)>,
    /// How many pictures wait.
    pub pictures: u64,
    /// The time of the one that is shown last.
    pub newest: Fine,
}

/// What the sender's times are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not known yet.
    #[default]
    Unknown,
    /// Channel time.
    Channel,
    /// Of its own.
    Own {
        /// What leads to channel time.
        offset: Fine,
        /// From this time of the sender's on, another one.
        next: Option<(Fine, Fine)>,
        /// Segments in a row that came at a wrong time.
        strikes: u32,
    },
}

/// One sender's time.
#[derive(Debug)]
pub struct Timeline {
    grid: Grid,
    state: State,
}

impl Timeline {
    /// Of a sender that nothing is known of.
    pub fn new(grid: Grid) -> Self {
        Self { grid, state: State::Unknown }
    }

    /// It begins anew.
    pub fn forget(&mut self) {
        self.state = State::Unknown;
    }

    /// Channel time can be told.
    pub fn is_known(&self) -> bool {
        self.state != State::Unknown
    }

    /// The sender's times are channel time.
    pub fn is_channel_time(&self) -> bool {
        self.state == State::Channel
    }

    /// The sender says that its times are channel time.
    pub fn trust(&mut self) {
        self.state = State::Channel;
    }

    /// Pictures that a segment has; `None` where segments differ.
    pub fn pictures(&self) -> Option<u64> {
        let (milliseconds, rate) = (self.grid.segment().as_millis(), self.grid.rate());
        let (pictures, by) = (milliseconds * u128::from(rate.num()), 1000 * u128::from(rate.den()));
        pictures.is_multiple_of(by).then(|| u64::try_from(pictures / by).unwrap_or(u64::MAX))
    }

    /// Learns from pictures that have come, of which the newest just did. Says whether that was enough.
    ///
    /// # Errors
    /// They cannot be put on the grid.
    pub fn learn_from_pictures(&mut self, now: Now, waiting: &Waiting) -> Result<bool, Misfit> {
        let slot = slot_length(&self.grid);
        let [(_, first), rest @ ..] = &waiting.keys[..] else { return Ok(false) };
        if let [(pictures, second), ..] = rest {
            self.check_rate(*second - *first, *pictures)?;
            // Closer to a segment's first slot than by chance: somebody else reckons as we do. Before it, a GOP may be short: they began within
            // a segment, or had a splice point there.
            let on_boundary = |at: &Fine| {
                nearest_slot(&self.grid, *at).is_some_and(|(slot_of, off)| {
                    off.abs().times(40) <= slot && self.grid.first_slot(self.grid.segment_of(slot_of)) == slot_of
                })
            };
            if self.is_near(now, *first) && waiting.keys.iter().any(|(_, at)| on_boundary(at)) {
                self.state = State::Channel;
                return Ok(true);
            }
        }
        let enough = segment_length(&self.grid).times(2) + slot.times(4);
        let is_enough = waiting.newest - *first > enough;
        let Some(want) = self.pictures() else {
            let uneven = Misfit::Uneven { segment: self.grid.segment(), rate: self.grid.rate().to_string() };
            return if is_enough { Err(uneven) } else { Ok(false) };
        };
        // Where a segment begins, there are key pictures a segment apart; what others there are between them does not matter.
        let length = slot.times(i64::try_from(want).unwrap_or(i64::MAX));
        let begins = waiting
            .keys
            .iter()
            .map(|(_, at)| *at)
            .find(|begin| waiting.keys.iter().any(|(_, end)| (*end - *begin - length).abs().times(4) <= slot));
        if let Some(begin) = begins {
            // That segment is whole now, and must not be late.
            let whole = Fine::from_channel(now.channel_time()) - Fine::from_duration(SLACK);
            let segment = SegmentNumber(segment_from(&self.grid, whole).0.saturating_sub(1));
            let offset = slot_time(&self.grid, self.grid.first_slot(segment)) - begin;
            self.state = State::Own { offset, next: None, strikes: 0 };
            return Ok(true);
        }
        if !is_enough {
            return Ok(false);
        }
        self.check_rate(waiting.newest - *first, waiting.pictures - 1)?;
        Err(Misfit::Gop { got: rest.first().map_or(waiting.pictures, |(pictures, _)| *pictures), want })
    }

    /// So many pictures from one on to another, `span` later. Some may be missing, and reordering hides a few at the end.
    fn check_rate(&self, span: Fine, pictures: u64) -> Result<(), Misfit> {
        let slot = slot_length(&self.grid);
        let want = (span.seconds() * slot.per_second()).round() as u64;
        let off = (span - slot.times(i64::try_from(want).unwrap_or(i64::MAX))).abs();
        if off.times(4) <= slot && (want * 9 / 10..=want + 4).contains(&pictures) {
            return Ok(());
        }
        Err(Misfit::FrameRate { pictures, seconds: span.seconds(), rate: self.grid.rate().to_string(), want })
    }

    /// Learns from the first frame of sound, where there are no pictures.
    pub fn learn_from_sound(&mut self, now: Now, at: Fine) {
        let frame_time = |sample| Some(Fine::from_ticks(first_sample(nearest_frame(sample)?), AUDIO_RATE));
        let sample = nearest_sample(at);
        let off = frame_time(sample).map(|time| (at - time).abs());
        if self.is_near(now, at) && off.is_some_and(|off| off <= Fine::from_ticks(1, AUDIO_RATE)) {
            self.state = State::Channel;
        } else if let Some(time) = frame_time(nearest_sample(Fine::from_channel(now.channel_time()))) {
            self.state = State::Own { offset: time - at, next: None, strikes: 0 };
        }
    }

    /// A time of the sender's; `None` where nothing is known yet.
    pub fn channel(&self, at: Fine) -> Option<Fine> {
        match self.state {
            State::Unknown => None,
            State::Channel => Some(at),
            State::Own { next: Some((from, offset)), .. } if at >= from => Some(at + offset),
            State::Own { offset, .. } => Some(at + offset),
        }
    }

    /// Whether channel time is near the clock: far from it, nobody can use it.
    pub fn is_near(&self, now: Now, at: Fine) -> bool {
        let (now, segment) = (Fine::from_channel(now.channel_time()), segment_length(&self.grid));
        let reach = segment.times(3) + Fine::from_duration(Duration::from_secs(5));
        (at - now).abs() <= reach
    }

    /// A segment became whole; its first unit was at this time of the sender's. The clocks of sender and channel drift apart: where segments
    /// come more than one late or two early, those from the third one on get other numbers. Says by how many.
    pub fn note_whole(&mut self, now: Now, segment: SegmentNumber, first: Fine) -> Option<i64> {
        let State::Own { offset, next, strikes } = &mut self.state else { return None };
        if let Some((from, changed)) = *next {
            if first < from {
                return None;
            }
            (*offset, *next) = (changed, None);
        }
        let length = segment_length(&self.grid);
        let late = Fine::from_channel(now.channel_time()) - segment_start(&self.grid, segment.next());
        if late <= length && late >= -length.times(2) {
            *strikes = 0;
            return None;
        }
        *strikes += 1;
        if *strikes < STRIKES {
            return None;
        }
        *strikes = 0;
        let by = (late.seconds() / length.seconds()).ceil() as i64;
        *next = Some((first + length.times(3), *offset + length.times(by)));
        Some(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameRate;

    #[test]
    fn channel_time_is_told_from_times_of_a_senders_own() {
        let rate = FrameRate::new(25, 1).expect("a rate");
        let grid = Grid::new(Duration::from_millis(1920), rate).expect("a grid");
        // AWS Elemental MediaLive, locked to the epoch, begins at a splice point 11 pictures into a segment.
        let (ticks, now) = (154_933_457_050_800, Duration::from_millis(1_721_482_857_900));
        let now = Now { mono: std::time::Instant::now(), utc: now };
        let at = |ticks: i128| Fine::from_ticks(ticks, 90_000);
        let waiting = |first: i128, gops: &[u64]| {
            let before = (0..=gops.len()).map(|n| gops[..n].iter().sum::<u64>());
            let keys: Vec<_> = before.map(|n| (n, at(first + 3600 * i128::from(n)))).collect();
            let (pictures, newest) = *keys.last().expect("there is one");
            Waiting { keys, pictures: pictures + 1, newest }
        };
        for (name, waiting, want) in [
            ("up to a boundary", waiting(ticks, &[37]), Ok(Some(true))),
            ("a whole segment", waiting(ticks + 37 * 3600, &[48]), Ok(Some(true))),
            ("a half one, up to a boundary", waiting(ticks + 13 * 3600, &[24]), Ok(Some(true))),
            ("off the boundaries", waiting(ticks, &[48]), Ok(Some(false))),
            ("off the slots", waiting(ticks + 37 * 3600 + 900, &[48]), Ok(Some(false))),
            ("long ago", waiting(ticks - 48 * 3600 * 100, &[48]), Ok(Some(false))),
            ("from 0", waiting(0, &[48]), Ok(Some(false))),
            ("from 0, more key pictures than need be", waiting(0, &[20, 1, 27]), Ok(Some(false))),
            ("from 0, begun within a segment", waiting(0, &[20, 30, 18]), Ok(Some(false))),
            ("not enough yet", waiting(0, &[36, 36]), Ok(None)),
            ("of no use", waiting(0, &[36, 36, 36]), Err(Misfit::Gop { got: 36, want: 48 })),
        ] {
            let mut timeline = Timeline::new(grid);
            let learnt = timeline.learn_from_pictures(now, &waiting);
            let learnt = learnt.map(|enough| enough.then(|| timeline.is_channel_time()));
            assert_eq!(learnt, want, "{name}");
            if learnt == Ok(Some(false)) {
                let on_boundary = |at: Fine| {
                    let slot = timeline.channel(at).and_then(|at| nearest_slot(&grid, at)).expect("it is known").0;
                    grid.first_slot(grid.segment_of(slot)) == slot
                };
                assert!(waiting.keys.iter().filter(|(_, at)| on_boundary(*at)).count() >= 2, "{name}");
            }
        }
    }
}
