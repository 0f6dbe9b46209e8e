//! Anchors that two hosts have in common, and those that outlive a process.
//!
//! In:    what the other host, or the disk, tells of its anchors ([`Told`]).
//! Out:   the same of ours; anchors of the other host for sources that begin, or that lie elsewhere than there.
//! Never: moves what is placed: who has a source decides when it may move ([`Timeline::join`]); takes a line that no line could have.
//!
//! Hosts know a line by its offset, as long as all that is near now lies on the same places in both. Its plan has a version, the number of slips that
//! were ever asked for: the higher one counts, of two alike that of the host that began earlier. Both count both hosts' words about drift, so that
//! whoever notices first plans for both.

use super::line::Line;
use super::told::{Told, ToldLine};
use super::{Anchor, Known, REMEMBERED, Timeline, VOTE_COUNTS, WRAP, around, ticks};
use crate::clock::Now;
use crate::media::{ChannelTime, Grid, Round, SourceTime};
use std::time::Duration;

/// What the other host told counts for so long: it tells once a second.
const HEARD_FOR: Duration = Duration::from_secs(3);

/// Where the other host has a source is taken if media comes so much before or behind its time there, at most. Further away its clock is wrong, or
/// its source's way is so much longer: following would make ours early or late.
pub const ACCEPTED: Duration = Duration::from_millis(500);

/// On the other host the same source may lie so far away; beyond, it is another one.
const SAME: Duration = super::FIT;

/// A source that no known timeline fits waits so long for the other host, if that one began earlier and so is the one to decide: what lies between
/// its arrivals there and here, and the way of a word. Less than encode processes wait for media that is late (600 ms where not said).
const WAITS: Duration = Duration::from_millis(400);

/// Plans are taken for media behind this: none is placed earlier than so much before its time.
const AHEAD: Duration = Duration::from_secs(1);

/// By these names the other host's sources are told from ours.
const OTHERS: u32 = 1 << 31;

/// Why what the other host told is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It has other segments, or another frame rate.
    #[error("it has other segments or another frame rate: give the channel the same on both hosts")]
    Grid,
    /// No line is like this.
    #[error("what it says of its anchors makes no sense")]
    Nonsense,
}

/// What the other host told last.
#[derive(Clone, Debug)]
pub(super) struct Other {
    heard: ChannelTime,
    /// It began earlier than this one.
    elder: bool,
    lines: Vec<Line>,
    uses: Vec<(usize, i64)>,
}

/// How the other host has a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// By how many ticks later its pictures lie there, and its sound.
    pub by: (i64, i64),
    /// Of the other host's lines.
    line: usize,
    shift: i64,
}

impl Timeline {
    /// There is another host, which may be heard until then: before, nothing is anchored without it.
    pub const fn expect(&mut self, until: Now) {
        self.expected = Some(until);
    }

    /// Counts whatever others are to be told of.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// What the other host is told. `uses`: under which sources that flow are placed.
    pub fn tell(&self, now: Now, uses: impl Iterator<Item = Anchor>) -> Told {
        let mut told: Vec<(u8, i64)> = Vec::new();
        for anchor in uses {
            let place = self.lines.iter().position(|known| known.id == anchor.line);
            // There are 16 lines at most.
            let found = place.map(|place| (place as u8, anchor.shift));
            told.extend(found.filter(|found| !told.contains(found)));
        }
        let counts = |votes: &[(u32, Now, i64)]| -> Vec<i64> {
            let own = votes.iter().filter(|(who, at, _)| *who < OTHERS && now.since(*at) < VOTE_COUNTS);
            own.map(|(_, _, position)| *position).collect()
        };
        let line = |known: &Known| ToldLine {
            course: known.line.course(false),
            shifts: known.shifts.clone(),
            votes: counts(&known.votes),
        };
        Told::new(self.grid, self.lines.iter().map(line).collect(), told)
    }

    /// What is to be kept on disk.
    pub fn keepsake(&self) -> Told {
        let line = |known: &Known| ToldLine {
            course: known.line.course(true),
            shifts: known.shifts.clone(),
            votes: Vec::new(),
        };
        Told::new(self.grid, self.lines.iter().map(line).collect(), Vec::new())
    }

    /// Goes on with what was kept on disk; to be called before anything is anchored. How many lines that is.
    pub fn recall(&mut self, now: Now, kept: &Told) -> usize {
        if !kept.is_of(self.grid) {
            return 0;
        }
        let segment = self.grid.segment_at(now.channel_time());
        for told in &kept.lines {
            if let Some(line) = Line::of(self.grid, &told.course, segment).filter(|_| !told.shifts.is_empty()) {
                let id = self.remember(line, told.shifts.clone());
                self.lines.iter_mut().filter(|known| known.id == id).for_each(|known| known.recalled = true);
            }
        }
        self.lines.len()
    }

    /// What the other host says of its anchors. `elder`: it began earlier than this one.
    ///
    /// # Errors
    /// It cannot be used; what it said before does not count any more.
    pub fn hear(&mut self, now: Now, told: &Told, elder: bool) -> Result<(), Unusable> {
        self.other = None;
        let (at, segment) = (now.channel_time(), self.grid.segment_at(now.channel_time()));
        if !told.is_of(self.grid) {
            return Err(Unusable::Grid);
        }
        let lines = told.lines.iter().map(|line| Line::of(self.grid, &line.course, segment));
        let mut lines = lines.collect::<Option<Vec<Line>>>().ok_or(Unusable::Nonsense)?;
        for (line, told) in lines.iter_mut().zip(&told.lines) {
            line.plan(at + super::STRAY);
            let Some(known) = self.lines.iter_mut().find(|known| known.line.agrees(line, at + AHEAD)) else { continue };
            known.line.plan(at + super::STRAY);
            known.votes.retain(|(who, _, _)| *who < OTHERS);
            let own = known.votes.iter().map(|(_, _, position)| *position).min_by_key(|position| position.abs());
            // Who says something else altogether is not heard: it could hold up everybody.
            let sane = |position: &i64| own.is_none_or(|own| (own - position).saturating_abs() <= ticks(ACCEPTED));
            let votes = told.votes.iter().filter(|position| sane(position)).copied();
            known.votes.extend((OTHERS..).zip(votes).map(|(who, position)| (who, now, position)));
            let (mine, theirs) = (known.line.version(), line.version());
            let is_newer = theirs > mine || theirs == mine && elder && !known.line.plans_like(line, at + AHEAD);
            if is_newer && known.may_plan(line, own) {
                known.line = line.clone();
                known.revised += 1;
                self.changes += 1;
            }
        }
        let uses: Vec<(usize, i64)> = told.uses.iter().map(|(line, shift)| (usize::from(*line), *shift)).collect();
        for (line, shift) in &uses {
            let Some(line) = lines.get(*line) else { continue };
            let known = self.lines.iter_mut().find(|known| known.line.agrees(line, at + AHEAD));
            // A jump that the other host has seen is known before it is seen here.
            if let Some(known) =
                known.filter(|known| known.shifts.iter().all(|it| around(it.saturating_sub(*shift)) != 0))
            {
                known.keep(*shift);
            }
        }
        self.other = Some(Other { heard: at, elder, lines, uses });
        Ok(())
    }

    /// The other host, if it is heard.
    fn other(&self, now: ChannelTime) -> Option<&Other> {
        self.other.as_ref().filter(|other| (now - other.heard).saturating_abs() < ticks(HEARD_FOR))
    }

    /// The other host is heard.
    pub fn hears(&self, now: Now) -> bool {
        self.other(now.channel_time()).is_some()
    }

    /// The other host is heard, and began earlier.
    pub fn has_elder(&self, now: Now) -> bool {
        self.other(now.channel_time()).is_some_and(|other| other.elder)
    }

    /// A source that is to be anchored with what lies at `at` is to wait for the other host. `asked`: since when it waits, its own affair.
    pub fn waits(&self, now: Now, at: SourceTime, usual: Option<i64>, asked: &mut Option<Now>) -> bool {
        let here = now.channel_time();
        if self.fitting(here, at, usual, false).is_some() || self.shared(here, at).is_some() {
            return false;
        }
        let since = *asked.get_or_insert(now);
        let begins = self.expected.is_some_and(|until| now.mono < until.mono);
        match self.other(here) {
            None => begins,
            Some(other) => {
                other.elder && self.fitting(here, at, usual, true).is_none() && (begins || now.since(since) < WAITS)
            }
        }
    }

    /// Where the other host has what lies at `at`, if media comes there about in time now.
    fn shared(&self, now: ChannelTime, at: SourceTime) -> Option<Elsewhere> {
        let found = self.nearest(now, now, at)?;
        (found.by.0.saturating_abs() <= ticks(ACCEPTED)).then_some(found)
    }

    /// The other host's anchor for what lies at `at`, if it has it about where it comes now.
    pub(super) fn adopt(&mut self, now: ChannelTime, at: SourceTime) -> Option<Anchor> {
        let found = self.shared(now, at)?;
        self.join(found)
    }

    /// How the other host has what lies at `at` here; `None` if it has nothing like it, or is not heard.
    pub fn elsewhere(&self, now: Now, anchor: Anchor, at: SourceTime) -> Option<Elsewhere> {
        let here = self.map(anchor, at, super::Of::Picture)?;
        let sound = self.map(anchor, at, super::Of::Sound)?;
        let found = self.nearest(now.channel_time(), here, at)?;
        let there = self.other.as_ref()?.lines.get(found.line)?.sound(at.ticks().saturating_sub(found.shift));
        Some(Elsewhere { by: (found.by.0, there - sound), ..found })
    }

    /// Of the anchors that the other host has in use, the one that puts `at` nearest to `here`.
    fn nearest(&self, now: ChannelTime, here: ChannelTime, at: SourceTime) -> Option<Elsewhere> {
        let other = self.other(now)?;
        let found = other.uses.iter().filter_map(|&(n, shift)| {
            let line = other.lines.get(n)?;
            let there = |shift: i64| line.picture(at.ticks().saturating_sub(shift)) - here;
            // As many wraps more or less as put it nearest.
            let wraps = Round::Nearest.divide(i128::from(there(shift)), i128::from(WRAP));
            let shift = shift.saturating_add(i64::try_from(wraps * i128::from(WRAP)).unwrap_or(0));
            Some(Elsewhere { by: (there(shift), 0), line: n, shift })
        });
        found.filter(|found| found.by.0.saturating_abs() <= ticks(SAME)).min_by_key(|found| found.by.0.saturating_abs())
    }

    /// Whether it is on a line that both hosts know as the same.
    pub fn is_shared(&self, anchor: Anchor, elsewhere: Elsewhere, now: Now) -> bool {
        let line = self.other.as_ref().and_then(|other| other.lines.get(elsewhere.line));
        let known = self.known(anchor);
        line.zip(known).is_some_and(|(line, known)| known.line.agrees(line, now.channel_time() + AHEAD))
    }

    /// An anchor by which media lies where the other host has it.
    pub fn join(&mut self, elsewhere: Elsewhere) -> Option<Anchor> {
        let other = self.other.as_ref()?;
        let line = other.lines.get(elsewhere.line)?;
        let same = self.lines.iter().find(|known| known.line.agrees(line, other.heard + AHEAD)).map(|known| known.id);
        let id = match same {
            Some(id) => id,
            None => {
                let line = line.clone();
                self.remember(line, Vec::new())
            }
        };
        let anchor = Anchor { line: id, shift: elsewhere.shift };
        self.use_line(id);
        self.keep(anchor);
        self.changes += 1;
        Some(anchor)
    }

    /// One line more. What was used longest ago is forgotten.
    pub(super) fn remember(&mut self, line: Line, shifts: Vec<i64>) -> u64 {
        if self.lines.len() == REMEMBERED {
            self.lines.remove(0);
        }
        self.made += 1;
        self.changes += 1;
        self.lines.push(Known {
            id: self.made,
            line,
            shifts,
            votes: Vec::new(),
            left: None,
            revised: 0,
            recalled: false,
        });
        self.made
    }

    /// How often an anchor's plan was taken from the other host.
    pub fn revised(&self, anchor: Anchor) -> u32 {
        self.known(anchor).map_or(0, |known| known.revised)
    }

    /// The channel's segments and frame rate.
    pub const fn grid(&self) -> Grid {
        self.grid
    }
}

impl Known {
    /// Another host's plan for this line is no worse than ours, as far as our own sources know.
    fn may_plan(&self, line: &Line, own: Option<i64>) -> bool {
        let target = line.target();
        let near = (target - self.line.target()).saturating_abs() <= 2;
        near && own.is_none_or(|own| (line.slots(target) - own).saturating_abs() <= ticks(ACCEPTED))
    }
}

#[cfg(test)]
mod tests;
