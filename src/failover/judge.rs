//! How well one source is: its conditions, each with a duration and a time to clear, and a score.
//!
//! In:    [`Evidence`] with its time.
//! Out:   what is wrong, for [`Health`]; a score with its reasons, for people.
//! Never: asks how the evidence came about.
//!
//! All conditions are watched, so that the score always means the same; those that the config names are what a source is
//! left for.

use std::time::Duration;

use super::Health;
use crate::clock::Now;
use crate::config::{Condition, Limits};

/// Pictures or sound that stay away for less are no news: it is longer than any GOP's reordering or packet of sound.
const GAP: Duration = Duration::from_millis(500);

/// What has been seen of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Which media its programme has.
    Tracks {
        /// Pictures.
        video: bool,
        /// Sound.
        audio: bool,
    },
    /// A picture came.
    Video,
    /// Sound came.
    Audio,
    /// It is so, or no longer so. Not for those told in numbers.
    State(Condition, bool),
    /// It has been so since then, or is not so. Not for those told in numbers.
    Since(Condition, Option<Now>),
    /// So many within the second that is over. For those told in numbers.
    Errors(Condition, u64),
    /// A new connection: nothing of the old one counts, but when it was last well.
    Reconnected,
}

/// A fault began, or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultNews {
    /// What.
    pub condition: Condition,
    /// When the condition began.
    pub since: Now,
    /// It is over.
    pub over: bool,
}

/// One thing that costs points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What; `None`: nothing comes at all.
    pub condition: Option<Condition>,
    /// Since when.
    pub since: Option<Now>,
    /// Points it costs.
    pub points: u8,
    /// It has lasted for its duration.
    pub lasts: bool,
}

/// How well a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// 0 to 100.
    pub points: u8,
    /// What it lost points for, the worst first.
    pub reasons: Vec<Reason>,
}

#[derive(Clone, Debug)]
struct Watch {
    limits: Limits,
    /// The config names it.
    armed: bool,
    bad_since: Option<Now>,
    good_since: Option<Now>,
    active_since: Option<Now>,
    /// When it was last told in numbers: those are of the time since.
    told: Option<Now>,
}

impl Watch {
    fn tell(&mut self, now: Now, bad: bool, since: Now) {
        if bad {
            self.bad_since.get_or_insert(since);
            self.good_since = None;
        } else {
            self.bad_since = None;
            self.good_since.get_or_insert(now);
        }
    }

    fn settle(&mut self, now: Now) {
        match self.active_since {
            None if self.bad_since.is_some_and(|since| now.since(since) >= self.limits.after) => {
                self.active_since = self.bad_since;
            }
            Some(_) if self.good_since.is_some_and(|since| now.since(since) >= self.limits.clear) => {
                self.active_since = None;
            }
            _ => {}
        }
    }

    fn wake_at(&self) -> Option<Now> {
        match self.active_since {
            None => self.bad_since.map(|since| since.after(self.limits.after)),
            Some(_) => self.good_since.map(|since| since.after(self.limits.clear)),
        }
    }

    /// Points it costs, of 100.
    fn cost(&self) -> u8 {
        let whole = match self.limits.condition {
            Condition::SyncLoss | Condition::NoVideo => 60,
            Condition::Black | Condition::Frozen | Condition::NoAudio => 40,
            Condition::Silent | Condition::DecoderErrors => 30,
            Condition::Continuity | Condition::Pid => 20,
            Condition::Pcr => 10,
        };
        match (self.active_since, self.bad_since) {
            (Some(_), _) => whole,
            (None, Some(_)) => whole / 2,
            (None, None) => 0,
        }
    }
}

/// When pictures or sound last came, where the programme has any.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    expected: bool,
    last: Option<Now>,
}

/// The judge of one source.
#[derive(Clone, Debug)]
pub struct Judge {
    watches: Vec<Watch>,
    video: Flow,
    audio: Flow,
    well_since: Option<Now>,
    /// Not yet taken; no more than one of each condition.
    news: Vec<FaultNews>,
}

impl Judge {
    /// One that has seen nothing. `conditions` are what its source is left for.
    pub fn new(conditions: &[Limits]) -> Self {
        let watch = |condition| {
            let named = conditions.iter().find(|limits| limits.condition == condition);
            let limits = named.copied().unwrap_or(Limits::usual(condition));
            Watch { limits, armed: named.is_some(), bad_since: None, good_since: None, active_since: None, told: None }
        };
        Self {
            watches: Condition::ALL.map(watch).to_vec(),
            video: Flow::default(),
            audio: Flow::default(),
            well_since: None,
            news: Vec::new(),
        }
    }

    /// Takes what was seen.
    pub fn tell(&mut self, now: Now, evidence: Evidence) {
        match evidence {
            Evidence::Tracks { video, audio } => {
                // A programme that had pictures and lists none any more has lost them.
                for (flow, there) in [(&mut self.video, video), (&mut self.audio, audio)] {
                    if there && !flow.expected {
                        *flow = Flow { expected: true, last: Some(now) };
                    }
                }
            }
            Evidence::Video => self.came(now, Condition::NoVideo),
            Evidence::Audio => self.came(now, Condition::NoAudio),
            Evidence::State(condition, bad) => self.watch(condition).tell(now, bad, now),
            Evidence::Since(condition, since) => self.watch(condition).tell(now, since.is_some(), since.unwrap_or(now)),
            Evidence::Errors(condition, count) => {
                let watch = self.watch(condition);
                let bad = count >= watch.limits.per_second.max(1);
                let since = watch.told.replace(now).unwrap_or(now);
                watch.tell(now, bad, since);
            }
            Evidence::Reconnected => {
                (self.video, self.audio) = (Flow::default(), Flow::default());
                for watch in &mut self.watches {
                    watch.bad_since = None;
                    watch.good_since.get_or_insert(now);
                }
            }
        }
        self.settle(now);
    }

    fn came(&mut self, now: Now, missing: Condition) {
        self.gaps(now);
        let flow = if missing == Condition::NoVideo { &mut self.video } else { &mut self.audio };
        *flow = Flow { expected: true, last: Some(now) };
        self.watch(missing).tell(now, false, now);
    }

    fn gaps(&mut self, now: Now) {
        for (flow, condition) in [(self.video, Condition::NoVideo), (self.audio, Condition::NoAudio)] {
            if let Some(last) = flow.last.filter(|&last| flow.expected && now.since(last) >= GAP) {
                self.watch(condition).tell(now, true, last);
            }
        }
    }

    fn watch(&mut self, condition: Condition) -> &mut Watch {
        let at = Condition::ALL.iter().position(|&c| c == condition).expect("ALL has each of them");
        &mut self.watches[at]
    }

    /// Time passed.
    pub fn settle(&mut self, now: Now) {
        self.gaps(now);
        let ill = |watches: &[Watch]| watches.iter().any(|w| w.armed && w.active_since.is_some());
        let before = ill(&self.watches);
        for watch in &mut self.watches {
            let was = watch.active_since;
            watch.settle(now);
            let Some(since) = was.xor(watch.active_since).filter(|_| watch.armed) else { continue };
            let news = FaultNews { condition: watch.limits.condition, since, over: was.is_some() };
            self.news.retain(|old| old.condition != news.condition);
            self.news.push(news);
        }
        if before && !ill(&self.watches) {
            self.well_since = Some(now);
        }
    }

    /// Which faults among those its source is left for began or are over since the last call.
    pub fn take_news(&mut self) -> Vec<FaultNews> {
        std::mem::take(&mut self.news)
    }

    /// When what the source is to be left for began: of the worst fault.
    pub fn fault_since(&self) -> Option<Now> {
        self.watches.iter().filter(|w| w.armed).find_map(|w| w.active_since)
    }

    /// Fills in what is wrong.
    pub fn health(&self, flow: Health) -> Health {
        let armed = || self.watches.iter().filter(|w| w.armed);
        Health {
            fault: armed().find(|w| w.active_since.is_some()).map(|w| w.limits.condition),
            suspect: armed().any(|w| w.active_since.is_none() && w.bad_since.is_some()),
            well_since: self.well_since,
            lost_points: armed().filter(|w| w.active_since.is_some()).fold(0, |sum, w| (sum + w.cost()).min(100)),
            ..flow
        }
    }

    /// The score. `flows`: media comes.
    pub fn score(&self, flows: bool) -> Score {
        if !flows {
            let reason = Reason { condition: None, since: None, points: 100, lasts: true };
            return Score { points: 0, reasons: vec![reason] };
        }
        let reason = |w: &Watch| Reason {
            condition: Some(w.limits.condition),
            since: w.active_since.or(w.bad_since),
            points: w.cost(),
            lasts: w.active_since.is_some(),
        };
        let mut reasons: Vec<Reason> = self.watches.iter().map(reason).filter(|r| r.points > 0).collect();
        reasons.sort_by_key(|r| std::cmp::Reverse(r.points));
        let lost = reasons.iter().map(|r| u32::from(r.points)).sum::<u32>();
        Score { points: 100 - u8::try_from(lost.min(100)).unwrap_or(100), reasons }
    }

    /// When something becomes or ceases to be a fault although nothing is told.
    pub fn wake_at(&self, now: Now) -> Option<Now> {
        let missing = |flow: Flow, condition: Condition| {
            let watch = self.watches.iter().find(|w| w.limits.condition == condition)?;
            let last = flow.last.filter(|_| flow.expected && watch.active_since.is_none())?;
            Some(last.after(watch.limits.after.max(GAP)))
        };
        let missing = [missing(self.video, Condition::NoVideo), missing(self.audio, Condition::NoAudio)];
        let watches = self.watches.iter().map(Watch::wake_at);
        watches.chain(missing).flatten().filter(|at| at.mono > now.mono).min_by_key(|at| at.mono)
    }
}
