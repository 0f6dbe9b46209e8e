//! Which of several queues has the packet that comes first.
//!
//! In order of weight: a packet that another path has further on waits for what that path has in front of it; of one PID, counters
//! decide, or arrival where it is plain; a packet whose counter goes on comes before one behind a gap; then the datagrams
//! around; then arrival.

use super::path::Element;
use super::{Content, Micros, Path};

/// How far a path is searched for a packet that tells how many were lost.
const SEARCH: usize = 32;
/// Arrival is taken for order only where it differs by so much more than jitter.
pub(super) const PLAIN: Micros = 500;

/// Why a packet should wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    /// Nothing holds it.
    Free,
    /// Another path has an earlier one of its PID, as far as counters tell.
    ByCounter,
    /// Another path has it further on.
    ByCopy,
}

impl Content {
    /// The path among `waiting` whose head comes first.
    pub(super) fn choose(&mut self, waiting: &[usize]) -> usize {
        let print = |path: usize| self.paths[path].head().map(|(print, _)| print);
        let first = waiting[0];
        if waiting.iter().all(|path| print(*path) == print(first)) {
            return first;
        }
        // Where all are held, somebody's order or count is wrong: the one whose counter goes on is most likely right.
        let rank = |content: &mut Self, path: usize| {
            let held = content.held(path, waiting);
            let mine = &content.paths[path];
            let strays = held != Held::Free && mine.head().is_some_and(|(_, head)| !content.goes_on(mine, head));
            (path, (held != Held::Free, strays, held))
        };
        let ranks: Vec<_> = waiting.iter().map(|path| rank(self, *path)).collect();
        let mut best = ranks[0];
        for &other in &ranks[1..] {
            if other.1 < best.1 || other.1 == best.1 && self.before(other.0, best.0) {
                best = other;
            }
        }
        best.0
    }

    fn held(&mut self, path: usize, waiting: &[usize]) -> Held {
        let Some((print, head)) = self.paths[path].head() else { return Held::Free };
        let (pid, counted) = (head.pid, head.counted);
        let mut held = Held::Free;
        for &other in waiting.iter().filter(|other| **other != path) {
            let theirs = &self.paths[other];
            if theirs.head().is_none_or(|(head, _)| head == print) {
                continue;
            }
            let usable = |place: &u64| theirs.barrier.is_none_or(|barrier| *place < barrier);
            if theirs.trail.find(print, theirs.trail.begin() + 1).filter(usable).is_some() {
                return Held::ByCopy;
            }
            let Some(&place) =
                theirs.pids.get(&pid).and_then(|places| places.front()).filter(|at| counted && usable(at))
            else {
                continue;
            };
            self.anchor(other, place);
            let (mine, theirs) = (&self.paths[path], &self.paths[other]);
            let Some(((_, x), (_, y))) = mine.head().zip(theirs.trail.get(place)) else { continue };
            let later = mine.skew.aligned(x.arrival) - theirs.skew.aligned(y.arrival);
            let earlier = if later.abs() > mine.skew.jitter + theirs.skew.jitter + PLAIN {
                later > 0
            } else {
                mine.common(x).zip(theirs.common(y)).is_some_and(|(mine, theirs)| theirs < mine)
            };
            if earlier {
                held = Held::ByCounter;
            }
        }
        held
    }

    /// Behind a gap the counter tells what was lost only modulo 16. The next packet that another path has as well tells it all.
    /// `place` is that of the first packet of its PID.
    pub(super) fn anchor(&mut self, path: usize, place: u64) {
        let mine = &mut self.paths[path];
        let Some(first) = mine.trail.get_mut(place) else { return };
        if first.anchored || first.step == 1 || !first.counted {
            return;
        }
        first.anchored = true;
        let pid = first.pid;
        let mine = &self.paths[path];
        let Some(&base) = mine.bases.get(&pid) else { return };
        let Some(places) = mine.pids.get(&pid) else { return };
        for (print, element) in places.iter().take(SEARCH).filter_map(|place| mine.trail.get(*place)) {
            for theirs in self.paths.iter().enumerate().filter(|(at, _)| *at != path).map(|(_, p)| p) {
                let found = theirs.head().and_then(|_| theirs.trail.only(print)).and_then(|at| theirs.trail.get(at));
                let Some(common) = found.and_then(|(_, e)| theirs.common(e)) else { continue };
                let better = common - element.index;
                if better > base && (better - base) % 16 == 0 {
                    self.paths[path].bases.insert(pid, better);
                }
                return;
            }
        }
    }

    /// Whether the head of `a` comes before that of `b`, where nothing holds either.
    fn before(&self, a: usize, b: usize) -> bool {
        let (left, right) = (&self.paths[a], &self.paths[b]);
        let (Some((_, x)), Some((_, y))) = (left.head(), right.head()) else { return false };
        let (at, bt) = (left.skew.aligned(x.arrival), right.skew.aligned(y.arrival));
        let plain = left.skew.jitter + right.skew.jitter + PLAIN;
        if x.pid == y.pid {
            let counts = left.common(x).zip(right.common(y)).filter(|(x, y)| x != y);
            return match counts {
                Some((x, y)) if (at - bt).abs() <= plain => x < y,
                _ => at < bt,
            };
        }
        if (at - bt).abs() > plain {
            return at < bt;
        }
        let (goes, comes) = (self.goes_on(left, x), self.goes_on(right, y));
        if goes != comes {
            return goes;
        }
        self.unit_before(left, right).unwrap_or(if at == bt { a < b } else { at < bt })
    }

    /// Its counter follows the one given out last.
    fn goes_on(&self, path: &Path, element: &Element) -> bool {
        let out = self.out.get(&element.pid);
        !element.counted || out.is_none_or(|out| path.common(element) == Some(out.index + 1))
    }

    /// Whether the datagram at the head of one path comes before that of the other: a PID that is in both tells.
    fn unit_before(&self, left: &Path, right: &Path) -> Option<bool> {
        let unit = |path: &Path| path.head().map(|(_, head)| head.unit);
        let (lefts, rights) = (unit(left)?, unit(right)?);
        let in_unit = |path: &Path, unit: u64, at: u64| {
            path.trail
                .get(at)
                .filter(|(_, e)| e.unit == unit && e.counted)
                .and_then(|(_, e)| Some((e.pid, path.common(e)?)))
        };
        let begin = left.trail.begin();
        (begin..left.trail.end())
            .map_while(|at| left.trail.get(at).filter(|(_, e)| e.unit == lefts).map(|_| at))
            .find_map(|at| {
                let (pid, mine) = in_unit(left, lefts, at)?;
                let place = *right.pids.get(&pid)?.front()?;
                let (_, theirs) = in_unit(right, rights, place)?;
                (mine != theirs).then_some(mine < theirs)
            })
    }
}
