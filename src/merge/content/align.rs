//! Which paths take part: they must be found in the stream, and are looked for again when they fell silent or jumped.

use std::collections::VecDeque;

use super::super::figures::{Skew, tell_aligned};
use super::super::{Micros, News, PathState};
use super::path::Path;
use super::{Content, PATIENCE, SILENCE};

/// Packets in a row of which a path must have so many in common with the stream to take part. Fingerprints are 64 bits: it is not
/// chance that this many guard against, but streams that share a part, such as sound.
const VOTES: usize = 16;
/// One in so many packets must be in common at least: both paths may lose half of theirs.
const COMMON: u64 = 4;
/// A path that returns is used from so many packets before the first one that was found.
const BEFORE: u64 = 256;
/// Order of arrival is not exact to more than that.
const SLACK: Micros = 100_000;
/// PCR and time of arrival that differ so much more than at the last PCR are a jump.
const JUMP: Micros = 1_500_000;
/// Two paths that have each brought so many packets in a row that the other did not have may be different streams by now.
const ALONE_MAX: u32 = 512;
/// They are, when counters did not go on from one to the other so often; two streams may have no PID in common, so with many more packets
/// they are in any case.
const BREAKS_MAX: u32 = 16;
/// 27 MHz ticks after which a PCR wraps (ISO/IEC 13818-1 §2.4.2.2).
const PCR_WRAP: u64 = (1 << 33) * 300;

/// Packets of a path that were found in the stream.
#[derive(Debug, Default)]
pub(super) struct Votes {
    first: u64,
    last: Option<(u64, Micros)>,
    later: Vec<Micros>,
}

impl Content {
    /// Looks for a packet that a path has just brought: where the path is not found yet, in the stream, and where it is, on
    /// those that are not.
    pub(super) fn seek(&mut self, path: usize, place: u64, print: u64, arrival: Micros, news: &mut VecDeque<News>) {
        if self.paths[path].barrier.is_some() {
            let known = match self.history.only(print).and_then(|at| self.history.get(at)) {
                Some((_, given)) => Some(given.at),
                None => {
                    let guide = &self.paths[self.guide];
                    let place = guide.trail.only(print).filter(|at| guide.usable(*at));
                    let found = place.and_then(|place| guide.trail.get(place));
                    found.map(|(_, element)| guide.skew.aligned(element.arrival))
                }
            };
            if let Some(at) = known.filter(|_| path != self.guide) {
                self.vote(path, place, at, arrival - at, news);
            }
        } else if path == self.guide {
            let at = self.paths[path].skew.aligned(arrival);
            for other in 0..self.paths.len() {
                let sought = &self.paths[other];
                let place = sought.trail.only(print).filter(|at| !sought.usable(*at));
                if let Some((place, (_, element))) = place.and_then(|at| Some((at, sought.trail.get(at)?))) {
                    let later = element.arrival - at;
                    self.vote(other, place, at, later, news);
                }
            }
        }
    }

    /// A path that flows and is not found for long is another stream.
    pub(super) fn despair(&mut self, path: usize, now: Micros, news: &mut VecDeque<News>) {
        let patience = self.window + PATIENCE;
        let sought = &mut self.paths[path];
        if sought.barrier.is_some()
            && self.guide != path
            && sought.figures.state == PathState::Aligning
            && now - sought.sought_since > patience
        {
            sought.figures.state = PathState::NotTheSame;
            news.push_back(News::NotTheSame { path });
        }
    }

    /// The clock of a path went on otherwise than its packets came.
    pub(super) fn jumps(&mut self, path: usize, pid: u16, pcr: u64, at: Micros) -> bool {
        let clock = &mut self.paths[path].clock;
        let Some((of, last, then)) = *clock else {
            *clock = Some((pid, pcr, at));
            return false;
        };
        if of != pid {
            // A clock that is heard no more is no longer asked.
            if at - then > JUMP {
                *clock = Some((pid, pcr, at));
            }
            return false;
        }
        *clock = Some((pid, pcr, at));
        (pcr_step(last, pcr) / 27 - (at - then)).abs() > JUMP
    }

    /// A packet of a path that is not found was seen in the stream, which had it at `at`.
    fn vote(&mut self, path: usize, place: u64, at: Micros, later: Micros, news: &mut VecDeque<News>) {
        let votes = &mut self.paths[path].votes;
        let goes_on = votes.last.is_some_and(|(last, then)| place > last && at >= then - SLACK);
        if !goes_on || place - votes.first >= COMMON * (votes.later.len() as u64 + 1) {
            *votes = Votes { first: place, ..Votes::default() };
        }
        votes.last = Some((place, at));
        votes.later.push(later);
        if votes.later.len() == VOTES {
            self.align(path, news);
        }
    }

    /// The path takes part, from a little before the first packet that was found.
    fn align(&mut self, path: usize, news: &mut VecDeque<News>) {
        let mine = &mut self.paths[path];
        let Votes { first, mut later, .. } = std::mem::take(&mut mine.votes);
        let Some(barrier) = mine.barrier.take() else { return };
        // What came just before on this path is of the stream as well, although the other one lost it.
        let from = mine.since.max(first.saturating_sub(BEFORE));
        for place in barrier.max(mine.trail.begin())..from {
            if let Some(element) = mine.trail.get_mut(place) {
                element.dead = true;
            }
        }
        mine.cursor = self.history.begin();
        mine.aligned_at = mine.last_at.unwrap_or(Micros::MIN);
        (mine.alone, mine.breaks, mine.torn) = (0, 0, 0);
        later.sort_unstable();
        mine.skew = Skew { offset: Some(later[later.len() / 2]), jitter: later[later.len() - 1] - later[0] };
        mine.figures.state = PathState::Merged;
        // What was planned without it may be wrong.
        self.plan.clear();
        let skews: Vec<Skew> = self.paths.iter().map(|p| p.skew).collect();
        tell_aligned(news, path, &skews);
    }

    /// The path must be found again, if there is another one to find it in. What it brought so far counts.
    pub(super) fn unalign(&mut self, path: usize, now: Micros, news: &mut VecDeque<News>) {
        let window = self.window;
        let serves = |p: &Path| p.barrier.is_none() && !p.silent(now, window);
        let Some(other) = (0..self.paths.len()).find(|at| *at != path && serves(&self.paths[*at])) else {
            let mine = &mut self.paths[path];
            if mine.barrier.is_some() && mine.figures.state == PathState::Silent {
                mine.figures.state = PathState::Aligning;
            }
            return;
        };
        let mine = &mut self.paths[path];
        mine.votes = Votes::default();
        mine.sought_since = now;
        if mine.barrier.is_none() {
            mine.barrier = Some(mine.trail.end());
            mine.since = mine.trail.end();
            news.push_back(News::Unaligned { path });
        }
        mine.figures.state = PathState::Aligning;
        if self.guide == path {
            self.guide = other;
        }
    }

    /// The stream is this path's from now on.
    pub(super) fn lead(&mut self, path: usize, news: &mut VecDeque<News>) {
        self.guide = path;
        let cursor = self.history.end();
        for other in &mut self.paths {
            if other.barrier.is_none() {
                other.barrier = Some(other.trail.end());
                other.figures.state = PathState::Aligning;
            }
        }
        let mine = &mut self.paths[path];
        mine.barrier = None;
        mine.cursor = cursor;
        mine.aligned_at = Micros::MIN;
        mine.skew = Skew { offset: Some(0), jitter: 0 };
        mine.figures.state = PathState::Merged;
        self.counters.forget();
        self.plan.clear();
        self.clocks.clear();
        let skews: Vec<Skew> = self.paths.iter().map(|p| p.skew).collect();
        tell_aligned(news, path, &skews);
    }

    /// Where the stream has ended, another path's may follow.
    pub(super) fn move_on(&mut self, now: Micros, news: &mut VecDeque<News>) -> bool {
        let window = self.window;
        if !self.began || self.paths.iter().any(|p| p.barrier.is_none() && !p.silent(now, 2 * window + SILENCE)) {
            return false;
        }
        let next = self.paths.iter().position(|p| p.barrier.is_some() && p.trail.len() > 0 && !p.silent(now, window));
        let Some(path) = next else { return false };
        self.lead(path, news);
        news.push_back(News::Moved { path });
        true
    }

    /// Paths that have gone on for long with nothing in common are no copies any more.
    pub(super) fn part_strangers(&mut self, path: usize, now: Micros, news: &mut VecDeque<News>) {
        let strange = |p: &Path| {
            p.barrier.is_none() && p.alone >= ALONE_MAX && (p.breaks >= BREAKS_MAX || p.alone >= 16 * ALONE_MAX)
        };
        if !strange(&self.paths[path]) {
            return;
        }
        let stranger = (0..self.paths.len()).find(|at| *at != self.guide && strange(&self.paths[*at]));
        if let Some(stranger) = stranger.filter(|_| strange(&self.paths[self.guide])) {
            self.unalign(stranger, now, news);
            (self.paths[self.guide].alone, self.paths[self.guide].breaks) = (0, 0);
        }
    }
}

/// Ticks from one PCR to another, below 0 if it lies before.
pub(super) fn pcr_step(from: u64, to: u64) -> i64 {
    let ahead = (to + PCR_WRAP - from % PCR_WRAP) % PCR_WRAP;
    if ahead > PCR_WRAP / 2 { ahead as i64 - PCR_WRAP as i64 } else { ahead as i64 }
}
