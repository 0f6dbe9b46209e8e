//! One PID's packets on two lists.
//!
//! In:    the packets of each list in its order, where they lie between anchors, and where the counter stands in front of them.
//! Out:   which are the same, and the order of all of them in which the counter breaks least.
//! Never: looks at other PIDs.
//!
//! An alignment of two sequences: each step gives out the next packet of one list, or of both. Counters decide; arrival decides
//! where counters leave several ways.

use std::cmp::Ordering;

use super::super::Micros;
use super::PLAIN;
use super::weave::Piece;

/// A counter that does not go on.
const BREAK: u64 = 1_000_000_000;
/// What lies in one datagram was together when it was sent, unless a sender has divided it anew beside a loss: less than a break.
const TEAR: u64 = BREAK / 8;
/// Most that arrival counts in one step.
const TIME_MAX: Micros = 1_000_000;
/// Ways that are compared at most; where lists of thousands have nothing in common, arrival decides.
const CELLS_MAX: usize = 1 << 15;

/// How far times of arrival are off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slack(Micros);

impl Slack {
    pub fn of(jitter: Micros) -> Self {
        Self(jitter + PLAIN)
    }
}

/// The next packet of the first list, of the second, or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    First(u32),
    Second(u32),
    Both(u32, u32),
}

/// What is to be put in order: packets with their ranks ([`super::weave`]).
#[derive(Debug)]
pub(super) struct Chain<'a> {
    pub x: Vec<(&'a Piece, u32)>,
    pub y: Vec<(&'a Piece, u32)>,
    /// Which of them came in one datagram with the one before.
    pub joined: [Vec<bool>; 2],
    /// By space between anchors: how much later the second list's copies come, at least and at most.
    pub drifts: &'a [(Micros, Micros)],
    pub slack: Slack,
}

/// The best way to a cell, by what the last step was.
#[derive(Clone, Copy)]
struct Cell {
    cost: [u64; 3],
    /// The last step but one.
    from: [u8; 3],
}

/// A packet of the first list, of the second, of both.
const X: usize = 0;
const Y: usize = 1;
const BOTH: usize = 2;

const UNREACHED: Cell = Cell { cost: [u64::MAX; 3], from: [0; 3] };

impl Chain<'_> {
    /// The order of all packets.
    pub fn solve(&self, stands: Option<u8>) -> Vec<Link> {
        let mut out = Vec::with_capacity(self.x.len() + self.y.len());
        let (mut x, mut y, mut stands) = (0, 0, stands);
        loop {
            // Anchors have odd ranks, and both lists have them.
            let anchor = |list: &[(&Piece, u32)], from: usize| {
                list[from..].iter().position(|(_, rank)| rank % 2 == 1).map_or(list.len(), |at| from + at)
            };
            let (to_x, to_y) = (anchor(&self.x, x), anchor(&self.y, y));
            let ends = self.x.get(to_x).map(|(piece, _)| *piece);
            self.between(x..to_x, y..to_y, stands, ends, &mut out);
            if to_x == self.x.len() || to_y == self.y.len() {
                return out;
            }
            out.push(Link::Both(to_x as u32, to_y as u32));
            stands = ends.map(|piece| piece.counter);
            (x, y) = (to_x + 1, to_y + 1);
        }
    }

    /// What lies between two anchors of the PID.
    fn between(
        &self,
        xs: std::ops::Range<usize>,
        ys: std::ops::Range<usize>,
        stands: Option<u8>,
        ends: Option<&Piece>,
        out: &mut Vec<Link>,
    ) {
        if xs.is_empty() || ys.is_empty() {
            out.extend(xs.map(|n| Link::First(n as u32)).chain(ys.map(|n| Link::Second(n as u32))));
            return;
        }
        let (x, y) = (&self.x[xs.clone()], &self.y[ys.clone()]);
        let (n, m) = (x.len(), y.len());
        if (n + 1) * (m + 1) > CELLS_MAX {
            return self.by_time(xs, ys, out);
        }
        let width = m + 1;
        let mut cells = vec![UNREACHED; (n + 1) * width];
        // What comes before was on both lists, or was given out.
        cells[0].cost[BOTH] = 0;
        for i in 0..=n {
            for j in 0..=m {
                let cell = cells[i * width + j];
                let (head, other) = (x.get(i), y.get(j));
                for (of, cost) in cell.cost.into_iter().enumerate().filter(|(_, cost)| *cost != u64::MAX) {
                    let stands = match (i, j, of) {
                        (0, 0, _) => stands,
                        (_, _, Y) => Some(y[j - 1].0.counter),
                        _ => Some(x[i - 1].0.counter),
                    };
                    let mut reach = |to: usize, step: usize, extra: u64| {
                        let there: &mut Cell = &mut cells[to];
                        if cost + extra < there.cost[step] {
                            there.cost[step] = cost + extra;
                            there.from[step] = of as u8;
                        }
                    };
                    if let Some((piece, rank)) = head
                        && other.is_none_or(|(_, theirs)| rank <= theirs)
                    {
                        // Only where the lists take turns: what came in one datagram counts once.
                        let turn = j.checked_sub(1).filter(|_| of == Y).map(|j| y[j].0.at - piece.at);
                        let turns =
                            turn.map_or(0, |later| self.early(*rank, later, false)) + self.tear(Y, ys.start + j, of);
                        let extra = goes_on(stands, piece) + self.lone(piece) + turns + against(piece, other);
                        reach((i + 1) * width + j, X, extra);
                    }
                    if let Some((piece, rank)) = other
                        && head.is_none_or(|(_, theirs)| rank <= theirs)
                    {
                        let turn = i.checked_sub(1).filter(|_| of == X).map(|i| piece.at - x[i].0.at);
                        let turns =
                            turn.map_or(0, |later| self.early(*rank, later, true)) + self.tear(X, xs.start + i, of);
                        let extra = goes_on(stands, piece) + self.lone(piece) + turns + against(piece, head);
                        reach(i * width + j + 1, Y, extra);
                    }
                    if let (Some((one, rank)), Some((two, theirs))) = (head, other)
                        && one.key == two.key
                        && rank == theirs
                        && !one.precedes(two)
                        && !two.precedes(one)
                    {
                        let apart = self.apart(*rank, two.at - one.at);
                        reach((i + 1) * width + j + 1, BOTH, goes_on(stands, one) + apart);
                    }
                }
            }
        }
        let last = cells[n * width + m];
        let end = |of: &usize| {
            let stands = if *of == Y { y[m - 1].0 } else { x[n - 1].0 }.counter;
            last.cost[*of].saturating_add(ends.map_or(0, |piece| goes_on(Some(stands), piece)))
        };
        let mut of = [X, Y, BOTH].into_iter().min_by_key(end).unwrap_or(X);
        let (mut i, mut j) = (n, m);
        let begin = out.len();
        while (i, j) != (0, 0) {
            let from = cells[i * width + j].from[of];
            i -= usize::from(of != Y);
            j -= usize::from(of != X);
            let (first, second) = ((xs.start + i) as u32, (ys.start + j) as u32);
            out.push(match of {
                X => Link::First(first),
                Y => Link::Second(second),
                _ => Link::Both(first, second),
            });
            of = usize::from(from);
        }
        out[begin..].reverse();
    }

    /// Leaves a list's datagram before its end.
    fn tear(&self, list: usize, next: usize, of: usize) -> u64 {
        if (of == list || of == BOTH) && self.joined[list].get(next) == Some(&true) { TEAR } else { 0 }
    }

    /// By rank and arrival alone.
    fn by_time(&self, xs: std::ops::Range<usize>, ys: std::ops::Range<usize>, out: &mut Vec<Link>) {
        let (mut i, mut j) = (xs.start, ys.start);
        while i < xs.end || j < ys.end {
            let first = match (self.x[..xs.end].get(i), self.y[..ys.end].get(j)) {
                (Some((x, rank)), Some((y, theirs))) => match rank.cmp(theirs) {
                    Ordering::Equal if x.precedes(y) || y.precedes(x) => x.precedes(y),
                    Ordering::Equal => x.at <= y.at,
                    order => order.is_lt(),
                },
                (one, _) => one.is_some(),
            };
            if first {
                out.push(Link::First(i as u32));
                i += 1;
            } else {
                out.push(Link::Second(j as u32));
                j += 1;
            }
        }
    }

    /// That a packet with twins has no copy: less than one that arrived at another time, more than one that arrived at its own.
    fn lone(&self, piece: &Piece) -> u64 {
        if piece.twins { (self.slack.0 / 2).unsigned_abs() + 1 } else { 0 }
    }

    /// The second list's packet came so much later than a copy of it.
    fn apart(&self, rank: u32, apart: Micros) -> u64 {
        let (least, most) = self.drift(rank);
        (least - apart).max(apart - most).clamp(0, TIME_MAX).unsigned_abs()
    }

    /// A packet of one list before one of the other; the second list's came so much later.
    fn early(&self, rank: u32, later: Micros, first: bool) -> u64 {
        let (least, most) = self.drift(rank);
        let early = if first { least - later } else { later - most };
        early.clamp(0, TIME_MAX).unsigned_abs()
    }

    fn drift(&self, rank: u32) -> (Micros, Micros) {
        self.drifts.get(rank as usize / 2).copied().unwrap_or((0, 0))
    }
}

/// What it costs that a packet follows where its counter stands.
fn goes_on(stands: Option<u8>, piece: &Piece) -> u64 {
    let Some(stands) = stands.filter(|_| !piece.free) else { return 0 };
    let missing = piece.counter.wrapping_sub(stands + u8::from(piece.counted)) & 0x0f;
    if missing == 0 { 0 } else { BREAK + u64::from(missing) }
}

/// A packet before one of the other list that a PCR says was earlier.
fn against(piece: &Piece, other: Option<&(&Piece, u32)>) -> u64 {
    if other.is_some_and(|(other, _)| other.precedes(piece)) { BREAK } else { 0 }
}
