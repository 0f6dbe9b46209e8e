//! Another part of the window than its newest: from when, until when, how far behind the live edge, how much of it.
//!
//! In:    what a query asks for, and what is listed. Out: from which segment to which, and whether more will come.
//! Never: reads a clock: the live edge is the end of the newest segment, so that equal windows give equal answers.

use std::fmt::Write;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::layout::Layout;
use super::window::LISTED_MIN;
use crate::config::StartAt;
use crate::media::{ChannelTime, SegmentNumber};

/// What can be asked of a part of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// The first moment.
    Start,
    /// The moment behind the last one.
    End,
    /// How far behind the live edge everything is.
    Delay,
    /// How much of the past is listed.
    Window,
}

impl Setting {
    /// What may be written. A line of its own.
    const fn expected(self) -> &'static str {
        match self {
            Self::Start => {
                "start takes seconds since 1970, or a date with its zone: 1795269600, 2026-11-21T14:00:00Z\n"
            }
            Self::End => "end takes seconds since 1970, or a date with its zone: 1795269600, 2026-11-21T14:00:00Z\n",
            Self::Delay => "delay (time_delay) takes seconds, 0 to 86400: 30\n",
            Self::Window => "window (manifest_window_seconds) takes seconds, 1 to 86400: 300\n",
        }
    }
}

/// Which part of the window is asked for; milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shift {
    /// Since the epoch.
    start: Option<u64>,
    end: Option<u64>,
    delay: Option<u64>,
    window: Option<u64>,
}

/// Why there is no such part of the window; a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody should have asked this: 400.
    Bad(&'static str),
    /// It is not there, or not any more: 404.
    Absent(&'static str),
    /// It is there soon.
    Soon,
}

impl From<&'static str> for Refused {
    fn from(why: &'static str) -> Self {
        Self::Bad(why)
    }
}

const TWICE: &str = "start, end, delay or window is given twice\n";
const BACKWARDS: &str = "end is not behind start\n";
const TOO_LATE: &str = "the delay is longer than what this channel keeps allows\n";
const NOT_YET: &str = "nothing of that time is here yet\n";
const GONE: &str = "what was made at that time is not kept any more\n";

/// Longest delay and window, ms: a channel keeps a day at most.
const DAY: u64 = 86_400_000;
/// Segments behind the last one whose beginning is waited for: who asks for what begins now is ahead of what is encoded.
const SOON: u64 = 3;
/// An answer that does not change any more may be kept for so long, if its media is.
const KEPT_MAX: Duration = Duration::from_secs(3600);

/// What is listed now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub oldest: SegmentNumber,
    pub newest: SegmentNumber,
    /// How many are listed when the window is full.
    pub most: usize,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// Somebody who begins to play.
    Once,
    /// Maybe somebody who plays, and would stop.
    AgainAndAgain,
}

/// What becomes of a part of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// More will come.
    Grows,
    /// Nothing more will come; the oldest may leave the window.
    Ended,
    /// It stays as it is for as long as its media is kept.
    Fixed,
}

/// What a shift comes to in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub first: SegmentNumber,
    pub last: SegmentNumber,
    pub ending: Ending,
    /// With a start and an end: the segment that time is counted from. It stays the same until there is nothing left.
    pub origin: Option<SegmentNumber>,
    /// The last segment there will be.
    pub until: Option<SegmentNumber>,
    pub delay: Duration,
    /// How long the answer may be kept if it does not grow.
    pub kept: Duration,
    /// Where players should begin, if it is to be said.
    pub start: Option<StartAt>,
}

impl Shift {
    /// Takes what is written of a setting.
    ///
    /// # Errors
    /// It cannot be read, or was said before.
    pub fn set(&mut self, setting: Setting, text: &str) -> Result<(), &'static str> {
        let text = text.trim();
        let within = |range: std::ops::RangeInclusive<u64>| seconds(text).filter(|ms| range.contains(ms));
        let (place, value) = match setting {
            Setting::Start => (&mut self.start, moment(text)),
            Setting::End => (&mut self.end, moment(text)),
            Setting::Delay => (&mut self.delay, within(0..=DAY)),
            Setting::Window => (&mut self.window, within(1000..=DAY)),
        };
        let value = value.ok_or(setting.expected())?;
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(TWICE),
        }
    }

    /// As it was meant; `None` where it asks for nothing.
    ///
    /// # Errors
    /// It ends before it begins.
    pub fn checked(self) -> Result<Option<Self>, &'static str> {
        if self.start.zip(self.end).is_some_and(|(start, end)| end <= start) {
            return Err(BACKWARDS);
        }
        let asks = Self { delay: self.delay.filter(|ms| *ms > 0), ..self };
        Ok((asks != Self::default()).then_some(asks))
    }

    /// It names the moment it begins with.
    pub fn has_start(&self) -> bool {
        self.start.is_some()
    }

    /// The query that asks for it, with its question mark: one for all spellings, so that caches hold one answer.
    pub fn query(&self) -> String {
        let mut out = String::new();
        let all = [("start", self.start), ("end", self.end), ("delay", self.delay), ("window", self.window)];
        for (name, ms) in all.into_iter().filter_map(|(name, ms)| Some((name, ms?))) {
            out.push(if out.is_empty() { '?' } else { '&' });
            let _ = write!(out, "{name}={}", ms / 1000);
            if ms % 1000 > 0 {
                let _ = write!(out, ".{:03}", ms % 1000);
            }
        }
        out
    }

    /// Which segments it means.
    ///
    /// # Errors
    /// None of them is there, or not all of them any more.
    pub fn cut(&self, layout: &Layout, listed: Bounds, who: Asks) -> Result<Cut, Refused> {
        let Bounds { oldest, newest, most } = listed;
        let grid = layout.grid();
        let segment = grid.segment();
        let at = |ms: u64, back: i64| {
            grid.segment_at(ChannelTime::from_ticks(i64::try_from(ms * 90).unwrap_or(i64::MAX) - back))
        };
        let segments = |ms: u64| ms.div_ceil(u64::try_from(segment.as_millis()).unwrap_or(u64::MAX).max(1));
        let (most, least) = (most as u64, LISTED_MIN as u64);
        let behind = segments(self.delay.unwrap_or(0));
        if behind + least > most {
            return Err(Refused::Bad(TOO_LATE));
        }
        let edge = SegmentNumber(newest.0.saturating_sub(behind));
        let from = self.start.map(|ms| at(ms, 0));
        // The end itself is not part of it.
        let until = self.end.map(|ms| at(ms, 1));
        if let Some(from) = from.filter(|from| *from > edge) {
            return Err(if from.0 <= edge.0 + SOON { Refused::Soon } else { Refused::Absent(NOT_YET) });
        }
        if edge < oldest {
            return Err(Refused::Absent(NOT_YET));
        }
        if until.is_some_and(|until| until < oldest) {
            return Err(Refused::Absent(GONE));
        }
        let ended = until.is_some_and(|until| until <= edge);
        // Before a window is full nothing has left it: then the channel began later than was thought.
        let full = newest.0 - oldest.0 + 1 >= most;
        let left = from.is_some_and(|from| from < oldest) && full;
        if left && (ended || who == Asks::Once) {
            return Err(Refused::Absent(GONE));
        }
        let last = until.map_or(edge, |until| until.min(edge));
        let begin = from.map_or(oldest, |from| from.max(oldest));
        let ending = match (ended, from) {
            (true, Some(_)) => Ending::Fixed,
            (true, None) => Ending::Ended,
            (false, _) => Ending::Grows,
        };
        let first = match self.window.map(|ms| segments(ms).max(least)) {
            Some(count) if !ended => begin.max(SegmentNumber((last.0 + 1).saturating_sub(count))),
            _ => begin,
        };
        let count = |n: u64| segment.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
        Ok(Cut {
            first,
            last,
            ending,
            origin: if ended {
                Some(first)
            } else {
                from.zip(until).map(|(from, _)| if left { from } else { from.max(oldest) })
            },
            until,
            delay: Duration::from_millis(self.delay.unwrap_or(0)),
            // Rounded down to what is left before its first segment is not listed any more.
            kept: count((first.0 + most).saturating_sub(newest.0 + 1)).clamp(segment / 2, KEPT_MAX),
            start: self.start.filter(|_| Some(first) == from).and_then(|ms| {
                let begins = grid.segment_start(first).ticks() / 90;
                let offset_ms = i64::try_from(ms).ok()? - begins;
                let ahead_ms = (last.0 + 1 - first.0) * segment.as_millis() as u64 - offset_ms.unsigned_abs();
                // RFC 8216bis §4.4.2.2: not within three target durations of the end of what grows. Of what does not, players
                // begin with the first segment anyway.
                let said = match ending {
                    Ending::Grows => ahead_ms >= 3000 * layout.target_duration(),
                    Ending::Ended | Ending::Fixed => offset_ms > 0,
                };
                said.then_some(StartAt { offset_ms, precise: offset_ms > 0 })
            }),
        })
    }
}

/// A moment, milliseconds since the epoch: seconds since then, or a date (RFC 3339).
fn moment(text: &str) -> Option<u64> {
    if text.contains(['-', ':']) {
        // Dates are read in capital letters; a plus that was not escaped may have become a space on its way.
        let date = OffsetDateTime::parse(&text.to_ascii_uppercase().replace(' ', "+"), &Rfc3339).ok()?;
        return u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok();
    }
    seconds(text)
}

/// Seconds, to the millisecond, as milliseconds.
fn seconds(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let plain = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole, 11) || !plain(rest, 3) {
        return None;
    }
    let ms = rest.parse::<u64>().ok()? * 10u64.pow(3 - u32::try_from(rest.len()).ok()?);
    Some(whole.parse::<u64>().ok()? * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::{FrameRate, Grid};

    /// 21 November 2026, 14:00:00 UTC.
    const T: u64 = 1_795_269_600;
    const N: u64 = T / 2;

    fn layout() -> Layout {
        let grid = Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("a rate")).expect("a grid");
        Layout::new(grid, Duration::from_millis(400))
    }

    fn shift(settings: &[(Setting, &str)]) -> Result<Option<Shift>, &'static str> {
        let mut shift = Shift::default();
        settings.iter().try_for_each(|(setting, text)| shift.set(*setting, text))?;
        shift.checked()
    }

    #[test]
    fn moments() {
        for (text, want) in [
            ("1795269600", Some(T * 1000)),
            ("1795269600.5", Some(T * 1000 + 500)),
            ("1795269600.045", Some(T * 1000 + 45)),
            ("2026-11-21T14:00:00Z", Some(T * 1000)),
            ("2026-11-21t14:00:00.250z", Some(T * 1000 + 250)),
            ("2026-11-21T15:00:00+01:00", Some(T * 1000)),
            ("2026-11-21T15:00:00 01:00", Some(T * 1000)),
            ("2026-11-21T08:30:00-05:30", Some(T * 1000)),
            ("0", Some(0)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-21T14:00:00", None),
            ("2026-11-21", None),
            ("14:00:00", None),
            ("-30", None),
            ("1795269600.", None),
            ("1795269600.1234", None),
            ("999999999999", None),
            ("1e9", None),
            ("now", None),
            ("", None),
        ] {
            assert_eq!(moment(text), want, "{text}");
        }
    }

    #[test]
    fn settings() {
        use Setting::{Delay, End, Start, Window};
        let query = |settings: &[_]| shift(settings).map(|shift| shift.map(|shift| shift.query()));
        for (settings, want) in [
            (&[][..], Ok(None)),
            (&[(Delay, "0")], Ok(None)),
            (&[(Start, "2026-11-21T14:00:00Z")], Ok(Some("?start=1795269600"))),
            (
                &[(Window, "300"), (Delay, "12.5"), (End, "1795269660"), (Start, "1795269600.040")],
                Ok(Some("?start=1795269600.040&end=1795269660&delay=12.500&window=300")),
            ),
            (&[(Start, "1795269600"), (End, "1795269600")], Err(BACKWARDS)),
            (&[(Start, "1795269600"), (Start, "1795269600")], Err(TWICE)),
            (&[(Start, "now")], Err(Setting::Start.expected())),
            (&[(Delay, "86401")], Err(Setting::Delay.expected())),
            (&[(Delay, "-1")], Err(Setting::Delay.expected())),
            (&[(Window, "0")], Err(Setting::Window.expected())),
        ] {
            assert_eq!(query(settings), want.map(|q: Option<&str>| q.map(str::to_owned)), "{settings:?}");
        }
    }

    #[test]
    fn parts_of_a_window() {
        use Asks::{AgainAndAgain, Once};
        use Ending::{Ended, Fixed, Grows};
        use Refused::{Absent, Bad, Soon};
        use Setting::{Delay, End, Start, Window};
        let at = |seconds: f64| format!("{:.3}", T as f64 + seconds);
        // Ten segments of two seconds are listed, of ten, or of twenty that there will be.
        let full = Bounds { oldest: SegmentNumber(N), newest: SegmentNumber(N + 9), most: 10 };
        let young = Bounds { most: 20, ..full };
        type Row<'a> = (&'a str, Bounds, Asks, Vec<(Setting, String)>, Result<(u64, u64, Ending), Refused>);
        let rows: Vec<Row<'_>> = vec![
            ("start", full, Once, vec![(Start, at(4.0))], Ok((2, 9, Grows))),
            ("start within a segment", full, Once, vec![(Start, at(5.999))], Ok((2, 9, Grows))),
            ("start with the oldest", full, Once, vec![(Start, at(0.0))], Ok((0, 9, Grows))),
            ("start in front of it", full, Once, vec![(Start, at(-0.001))], Err(Absent(GONE))),
            ("somebody plays it", full, AgainAndAgain, vec![(Start, at(-300.0))], Ok((0, 9, Grows))),
            ("the channel began later", young, Once, vec![(Start, at(-300.0))], Ok((0, 9, Grows))),
            ("start with the newest", full, Once, vec![(Start, at(18.0))], Ok((9, 9, Grows))),
            ("start now", full, Once, vec![(Start, at(20.0))], Err(Soon)),
            ("start in a moment", full, Once, vec![(Start, at(25.9))], Err(Soon)),
            ("start tomorrow", full, Once, vec![(Start, at(86_400.0))], Err(Absent(NOT_YET))),
            ("both", full, Once, vec![(Start, at(4.0)), (End, at(8.0))], Ok((2, 3, Fixed))),
            ("both, within segments", full, Once, vec![(Start, at(5.0)), (End, at(8.001))], Ok((2, 4, Fixed))),
            ("a moment", full, Once, vec![(Start, at(5.0)), (End, at(5.001))], Ok((2, 2, Fixed))),
            ("until the newest", full, Once, vec![(Start, at(5.0)), (End, at(20.0))], Ok((2, 9, Fixed))),
            ("until a moment", full, Once, vec![(Start, at(5.0)), (End, at(20.001))], Ok((2, 9, Grows))),
            ("half of it is gone", full, AgainAndAgain, vec![(Start, at(-1.0)), (End, at(9.0))], Err(Absent(GONE))),
            ("it never was", young, Once, vec![(Start, at(-1.0)), (End, at(9.0))], Ok((0, 4, Fixed))),
            ("all of it is gone", young, Once, vec![(Start, at(-9.0)), (End, at(-1.0))], Err(Absent(GONE))),
            ("end alone", full, Once, vec![(End, at(8.0))], Ok((0, 3, Ended))),
            ("end alone, ahead", full, Once, vec![(End, at(80.0))], Ok((0, 9, Grows))),
            ("end alone, gone", full, Once, vec![(End, at(0.0))], Err(Absent(GONE))),
            ("delay", full, Once, vec![(Delay, "4".into())], Ok((0, 7, Grows))),
            ("delay, rounded up", full, Once, vec![(Delay, "4.001".into())], Ok((0, 6, Grows))),
            ("the longest delay", full, Once, vec![(Delay, "12".into())], Ok((0, 3, Grows))),
            ("a longer one", full, Once, vec![(Delay, "13".into())], Err(Bad(TOO_LATE))),
            ("before it is there", young, Once, vec![(Delay, "22".into())], Err(Absent(NOT_YET))),
            ("delay and end", full, Once, vec![(Delay, "4".into()), (End, at(18.0))], Ok((0, 7, Grows))),
            ("delay and end behind", full, Once, vec![(Delay, "4".into()), (End, at(16.0))], Ok((0, 7, Ended))),
            ("delay and start", full, Once, vec![(Delay, "4".into()), (Start, at(16.0))], Err(Soon)),
            ("window", full, Once, vec![(Window, "9".into())], Ok((5, 9, Grows))),
            ("no shorter than that", full, Once, vec![(Window, "1".into())], Ok((6, 9, Grows))),
            ("window and delay", full, Once, vec![(Window, "9".into()), (Delay, "2".into())], Ok((4, 8, Grows))),
            ("all of them", full, Once, vec![(Window, "900".into()), (Start, at(16.0))], Ok((8, 9, Grows))),
            ("what is whole stays whole", full, Once, vec![(Window, "8".into()), (End, at(16.0))], Ok((0, 7, Ended))),
        ];
        for (name, bounds, who, settings, want) in rows {
            let settings: Vec<_> = settings.iter().map(|(setting, text)| (*setting, text.as_str())).collect();
            let shift = shift(&settings).expect("reads").expect("asks for something");
            let cut = shift.cut(&layout(), bounds, who);
            assert_eq!(cut.map(|cut| (cut.first.0 - N, cut.last.0 - N, cut.ending)), want, "{name}");
        }
    }

    /// What does not change is kept until its media goes; what time is counted from stays.
    #[test]
    fn what_a_part_of_a_window_keeps() {
        let at = |seconds: u64| (T + seconds).to_string();
        let cut = |oldest: u64, newest: u64, end: u64| {
            let bounds = Bounds { oldest: SegmentNumber(N + oldest), newest: SegmentNumber(N + newest), most: 3000 };
            let shift = shift(&[(Setting::Start, &at(101)), (Setting::End, &at(end))]).expect("reads").expect("asks");
            shift.cut(&layout(), bounds, Asks::AgainAndAgain).expect("is there")
        };
        let grows = cut(0, 60, 140);
        assert_eq!((grows.ending, grows.origin), (Ending::Grows, Some(SegmentNumber(N + 50))));
        assert_eq!(grows.start, Some(StartAt { offset_ms: 1000, precise: true }));
        assert_eq!(cut(0, 51, 140).start, None, "too near to the live edge");
        let fixed = cut(0, 70, 140);
        assert_eq!((fixed.ending, fixed.origin), (Ending::Fixed, Some(SegmentNumber(N + 50))));
        assert_eq!(fixed.kept, KEPT_MAX);
        assert_eq!(cut(30, 3029, 140).kept, Duration::from_secs(40));
        assert_eq!(cut(50, 3049, 140).kept, Duration::from_secs(1));
        let long = cut(2999, 5998, 12_000);
        assert_eq!((long.first, long.origin), (SegmentNumber(N + 2999), Some(SegmentNumber(N + 50))), "it plays on");
    }

    proptest! {
        #[test]
        fn every_cut_is_listed(
            (oldest, len, most) in (0u64..2_000_000_000, 1u64..50_000, 4usize..50_000),
            settings in prop::collection::vec((0usize..4, 0u64..4_000_000_000_000), 0..4),
        ) {
            let all = [Setting::Start, Setting::End, Setting::Delay, Setting::Window];
            let mut shift = Shift::default();
            for (which, ms) in settings {
                let ms = if which < 2 { ms } else { ms % DAY };
                let _ = shift.set(all[which], &format!("{}.{:03}", ms / 1000, ms % 1000));
            }
            let Ok(Some(shift)) = shift.checked() else { return Ok(()) };
            let listed = Bounds { oldest: SegmentNumber(oldest), newest: SegmentNumber(oldest + len - 1), most };
            for who in [Asks::Once, Asks::AgainAndAgain] {
                if let Ok(cut) = shift.cut(&layout(), listed, who) {
                    prop_assert!(listed.oldest <= cut.first && cut.first <= cut.last && cut.last <= listed.newest);
                    prop_assert!(cut.origin.is_none_or(|origin| origin <= cut.first));
                }
            }
        }
    }
}
