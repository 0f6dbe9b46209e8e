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
use crate::media::{AUDIO_RATE, Grid, SegmentNumber, Slot};

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
    #[error(
        "a key picture each {got} pictures: segments have {want}, so there must be one each {want}, or a whole fraction of it"
    )]
    Gop {
        /// From key picture to key picture; one more than `want` where none came at all.
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
    /// A segment's first picture is no key picture.
    #[error("the first picture of segment {0} is not a key picture")]
    NoKey(SegmentNumber),
}

/// Pictures from one key picture to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gop {
    /// The first key picture's time, as the sender says it.
    pub first: Fine,
    /// The next one's.
    pub next: Fine,
    /// How many pictures, the next key picture not among them.
    pub pictures: u64,
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

    /// Learns from the first pictures, which have just come up to the key picture behind them.
    ///
    /// # Errors
    /// They cannot be put on the grid.
    pub fn learn_from_pictures(&mut self, now: Now, gop: Gop) -> Result<(), Misfit> {
        let slot = slot_length(&self.grid);
        let (span, pictures) = (gop.next - gop.first, i64::try_from(gop.pictures).unwrap_or(i64::MAX));
        if (span - slot.times(pictures)).abs().times(4) > slot {
            return Err(self.another_rate(span, gop.pictures));
        }
        if self.is_near(now, gop.first) && self.is_channel_gop(gop) {
            self.state = State::Channel;
            return Ok(());
        }
        let Some(want) = self.pictures() else {
            return Err(Misfit::Uneven { segment: self.grid.segment(), rate: self.grid.rate().to_string() });
        };
        if gop.pictures == 0 || !want.is_multiple_of(gop.pictures) {
            return Err(Misfit::Gop { got: gop.pictures, want });
        }
        // The first segment ends when the rest of its pictures has come, if they come at their own pace.
        let rest = slot.times(i64::try_from(want - gop.pictures).unwrap_or(0));
        let whole = Fine::from_channel(now.channel_time()) + rest - Fine::from_duration(SLACK);
        let segment = SegmentNumber(segment_from(&self.grid, whole).0.saturating_sub(1));
        let offset = slot_time(&self.grid, self.grid.first_slot(segment)) - gop.first;
        self.state = State::Own { offset, next: None, strikes: 0 };
        Ok(())
    }

    /// Whether key pictures meet the segments as they are. A GOP that ends where a segment begins may be short: somebody began within a segment,
    /// or has a splice point there.
    fn is_channel_gop(&self, gop: Gop) -> bool {
        // Closer to a slot than by chance.
        let slot = |at| nearest_slot(&self.grid, at).filter(|(_, off)| off.abs().times(40) <= slot_length(&self.grid));
        let (Some((first, _)), Some((next, _))) = (slot(gop.first), slot(gop.next)) else { return false };
        let inside = |slot: Slot| slot.0 - self.grid.first_slot(self.grid.segment_of(slot)).0;
        inside(next) == 0 || inside(first).is_multiple_of(gop.pictures.max(1))
    }

    /// Why no key picture came in time, where `pictures` came over `span` behind the first one.
    pub fn too_long(&self, span: Fine, pictures: u64, want: u64) -> Misfit {
        let slot = slot_length(&self.grid);
        let off = (span - slot.times(i64::try_from(pictures).unwrap_or(i64::MAX))).abs();
        // Reordering hides as many as four pictures.
        if off > slot.times(4) { self.another_rate(span, pictures) } else { Misfit::Gop { got: want + 1, want } }
    }

    fn another_rate(&self, span: Fine, pictures: u64) -> Misfit {
        let want = (span.seconds() * slot_length(&self.grid).per_second()).round() as u64;
        Misfit::FrameRate { pictures, seconds: span.seconds(), rate: self.grid.rate().to_string(), want }
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
        let gop = |first: i128, pictures: i128| Gop {
            first: at(first),
            next: at(first + 3600 * pictures),
            pictures: pictures as u64,
        };
        for (name, gop, want) in [
            ("up to a boundary", gop(ticks, 37), Ok(true)),
            ("a whole segment", gop(ticks + 37 * 3600, 48), Ok(true)),
            ("a half one", gop(ticks + 61 * 3600, 24), Ok(true)),
            ("off the boundaries", gop(ticks, 48), Ok(false)),
            ("off the slots", gop(ticks + 37 * 3600 + 900, 48), Ok(false)),
            ("long ago", gop(ticks - 48 * 3600 * 100, 48), Ok(false)),
            ("from 0", gop(0, 48), Ok(false)),
            ("of no use", gop(ticks, 36), Err(Misfit::Gop { got: 36, want: 48 })),
        ] {
            let mut timeline = Timeline::new(grid);
            let learnt = timeline.learn_from_pictures(now, gop).map(|()| timeline.is_channel_time());
            assert_eq!(learnt, want, "{name}");
            if learnt == Ok(false) {
                let first = timeline.channel(gop.first).and_then(|at| nearest_slot(&grid, at)).expect("it is known").0;
                assert_eq!(grid.first_slot(grid.segment_of(first)), first, "{name}: on a segment's first slot");
            }
        }
    }
}
