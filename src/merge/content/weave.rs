//! Several paths' packets as one list.
//!
//! In:    the packets that wait on each path, in its order, and where continuity counters stand in front of them.
//! Out:   each packet once, in an order that keeps every path's.
//! Never: knows queues, bytes or time of day.
//!
//! Paths are taken in one after the other. Packets that both lists have, and that have no twins, are *anchors*: between two of them lie
//! the same packets of the source on either list. Then each PID is a matter of its own ([`super::chain`]), and what is left is to choose
//! between the two heads: one of them waits for the other by its PID, or belongs to the datagram that was begun, or came later.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::super::{Micros, PATHS_MAX};
use super::SLACK;
use super::align::pcr_step;
use super::chain::{Chain, Link, Slack};
use super::trail::ByPrint;

pub(super) const NOWHERE: u32 = u32::MAX;
/// PCRs that lie further apart are of other times: ten seconds.
pub(super) const CLOCK_MAX: i64 = 270_000_000;
/// By so many others a datagram may have been overtaken.
const OVERTAKEN_BY: usize = 4;

/// A packet of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub pid: u16,
    pub counter: u8,
    /// It has payload, so its counter counts.
    pub counted: bool,
    /// Its counter may jump.
    pub free: bool,
    pub pcr: Option<u64>,
    /// PCR of the last packet on its path up to here that had one, and of the next from here on.
    pub since: Option<u64>,
    pub until: Option<u64>,
    /// Equal for copies.
    pub key: u64,
    /// Other packets nearby have this key.
    pub twins: bool,
    /// When it arrived, or would have on the path the stream began with.
    pub at: Micros,
    /// Its datagram, where that is known to have been whole in the source; else 0.
    pub unit: u64,
}

impl Piece {
    /// A PCR lies between them.
    pub fn precedes(&self, other: &Self) -> bool {
        let behind = |(until, since): (u64, u64)| (0..CLOCK_MAX).contains(&pcr_step(until, since));
        self.until.zip(other.since).is_some_and(behind) && (self.pcr.is_none() || self.pcr != other.pcr)
    }

    /// Two PCRs lie between them: it cannot be that one was overtaken.
    fn is_past(&self, other: &Self) -> bool {
        let past = |(until, since): (u64, u64)| (1..CLOCK_MAX).contains(&pcr_step(until, since));
        self.until.zip(other.since).is_some_and(past)
    }
}

/// A packet with all its copies.
#[derive(Clone, Debug)]
pub(super) struct Woven {
    pub piece: Piece,
    /// Its place in each list.
    pub places: [u32; PATHS_MAX],
    units: [u64; PATHS_MAX],
    /// Some path has it out of order.
    pub displaced: bool,
}

/// What comes before all lists: the datagram of what was given out last, by list; and how far times of arrival are off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pub unit: u64,
    pub jitter: Micros,
}

/// Weaves lists into one. `stands` tells where a PID's counter stands, `begun` is by list.
pub(super) fn weave(lists: &[Vec<Piece>], begun: &[Before], stands: &dyn Fn(u16) -> Option<u8>) -> Vec<Woven> {
    let mut units = [0; PATHS_MAX];
    begun.iter().zip(&mut units).for_each(|(before, unit)| *unit = before.unit);
    let mut woven: Vec<Woven> = Vec::new();
    let mut jitter = 0;
    for (number, (list, before)) in lists.iter().zip(begun).enumerate() {
        let list: Vec<Woven> = list.iter().enumerate().map(|(at, piece)| Woven::new(number, at, *piece)).collect();
        if number == 0 {
            woven = list;
        } else {
            woven = Pair::new(woven, list, jitter + before.jitter).weave(units, stands);
        }
        jitter = jitter.max(before.jitter);
    }
    woven
}

impl Woven {
    fn new(list: usize, at: usize, piece: Piece) -> Self {
        let (mut places, mut units) = ([NOWHERE; PATHS_MAX], [0; PATHS_MAX]);
        (places[list], units[list]) = (at as u32, piece.unit);
        Self { piece, places, units, displaced: false }
    }

    /// One more copy.
    fn join(&mut self, other: &Self) {
        self.piece.at = self.piece.at.min(other.piece.at);
        self.displaced |= other.displaced;
        for ((place, unit), (theirs, of)) in
            self.places.iter_mut().zip(&mut self.units).zip(other.places.iter().zip(&other.units))
        {
            if *theirs != NOWHERE {
                (*place, *unit) = (*theirs, *of);
            }
        }
    }
}

/// Both came in one datagram on some path.
fn together(one: &[u64; PATHS_MAX], other: &[u64; PATHS_MAX]) -> bool {
    one.iter().zip(other).any(|(one, other)| *one != 0 && one == other)
}

/// Two lists to be woven into one.
struct Pair {
    x: Vec<Woven>,
    y: Vec<Woven>,
    /// Times of arrival are off by so much.
    jitter: Micros,
    /// Which anchors or spaces between them packets lie at: two more behind each anchor, odd at one.
    ranks: [Vec<u32>; 2],
    /// By space: how much later the second list's copies come, at least and at most.
    drifts: Vec<(Micros, Micros)>,
    /// The same packet in the other list.
    twin: [Vec<u32>; 2],
    /// How many of the other list come before by their PID.
    needs: [Vec<u32>; 2],
}

impl Pair {
    fn new(mut x: Vec<Woven>, mut y: Vec<Woven>, jitter: Micros) -> Self {
        let (mut anchors, overtaken) = anchors(&x, &y);
        if !overtaken.is_empty() {
            let (mut gone_x, mut gone_y) = (vec![false; x.len()], vec![false; y.len()]);
            for (i, j) in overtaken {
                (x[i].displaced, y[j].displaced) = (true, true);
                // It stays where it breaks fewer counters.
                if breaks_around(&x, i) <= breaks_around(&y, j) {
                    let copy = y[j].clone();
                    x[i].join(&copy);
                    gone_y[j] = true;
                } else {
                    let copy = x[i].clone();
                    y[j].join(&copy);
                    gone_x[i] = true;
                }
            }
            let shift = |gone: &[bool]| -> Vec<usize> {
                gone.iter().scan(0, |count, gone| Some(std::mem::replace(count, *count + usize::from(*gone)))).collect()
            };
            let (less_x, less_y) = (shift(&gone_x), shift(&gone_y));
            anchors.iter_mut().for_each(|(i, j)| (*i, *j) = (*i - less_x[*i], *j - less_y[*j]));
            let mut left = gone_x.iter();
            x.retain(|_| left.next() == Some(&false));
            let mut left = gone_y.iter();
            y.retain(|_| left.next() == Some(&false));
        }
        let ranks = [ranks(x.len(), anchors.iter().map(|(i, _)| *i)), ranks(y.len(), anchors.iter().map(|(_, j)| *j))];
        let apart: Vec<Micros> = anchors.iter().map(|(i, j)| y[*j].piece.at - x[*i].piece.at).collect();
        let drift = |n: usize| {
            let around = [n.checked_sub(1), Some(n)].into_iter().flatten().filter_map(|n| apart.get(n).copied());
            around.fold(None, |all: Option<(Micros, Micros)>, apart| {
                Some(all.map_or((apart, apart), |(least, most)| (least.min(apart), most.max(apart))))
            })
        };
        let drifts = (0..=anchors.len()).map(|n| drift(n).unwrap_or((0, 0))).collect();
        let mut twin = [vec![NOWHERE; x.len()], vec![NOWHERE; y.len()]];
        for (i, j) in &anchors {
            (twin[0][*i], twin[1][*j]) = (*j as u32, *i as u32);
        }
        let needs = [vec![0; x.len()], vec![0; y.len()]];
        Self { x, y, jitter, ranks, drifts, twin, needs }
    }

    fn weave(mut self, begun: [u64; PATHS_MAX], stands: &dyn Fn(u16) -> Option<u8>) -> Vec<Woven> {
        self.chains(&begun, stands);
        self.choose(begun)
    }

    /// Each PID for itself.
    fn chains(&mut self, begun: &[u64; PATHS_MAX], stands: &dyn Fn(u16) -> Option<u8>) {
        let mut pids: HashMap<u16, [Vec<u32>; 2]> = HashMap::new();
        for (side, list) in [&self.x, &self.y].into_iter().enumerate() {
            for (at, woven) in list.iter().enumerate() {
                pids.entry(woven.piece.pid).or_default()[side].push(at as u32);
            }
        }
        for (pid, [xs, ys]) in pids {
            if xs.is_empty() || ys.is_empty() {
                continue;
            }
            let chain = Chain {
                x: xs.iter().map(|at| (&self.x[*at as usize].piece, self.ranks[0][*at as usize])).collect(),
                y: ys.iter().map(|at| (&self.y[*at as usize].piece, self.ranks[1][*at as usize])).collect(),
                drifts: &self.drifts,
                joined: [(&self.x, &xs), (&self.y, &ys)].map(|(list, of)| {
                    let befores = [begun].into_iter().chain(of.iter().map(|at| &list[*at as usize].units));
                    of.iter().zip(befores).map(|(at, before)| together(&list[*at as usize].units, before)).collect()
                }),
                slack: Slack::of(self.jitter),
            };
            let (mut before_x, mut before_y) = (0, 0);
            for link in chain.solve(stands(pid)) {
                match link {
                    Link::First(n) => {
                        let at = xs[n as usize];
                        self.needs[0][at as usize] = before_y;
                        before_x = at + 1;
                    }
                    Link::Second(n) => {
                        let at = ys[n as usize];
                        self.needs[1][at as usize] = before_x;
                        before_y = at + 1;
                    }
                    Link::Both(n, m) => {
                        let (i, j) = (xs[n as usize], ys[m as usize]);
                        (self.twin[0][i as usize], self.twin[1][j as usize]) = (j, i);
                        (self.needs[0][i as usize], self.needs[1][j as usize]) = (j, i);
                        (before_x, before_y) = (i + 1, j + 1);
                    }
                }
            }
        }
    }

    /// One head after the other.
    fn choose(self, mut last: [u64; PATHS_MAX]) -> Vec<Woven> {
        let lists = [&self.x, &self.y];
        let mut out = Vec::with_capacity(self.x.len() + self.y.len());
        let mut at = [0_usize; 2];
        // Given out ahead of its place, with its copy.
        let mut ahead = [vec![false; self.x.len()], vec![false; self.y.len()]];
        loop {
            for side in 0..2 {
                while ahead[side].get(at[side]) == Some(&true) {
                    at[side] += 1;
                }
            }
            let side = match [at[0] < self.x.len(), at[1] < self.y.len()] {
                [false, false] => return out,
                [true, false] => 0,
                [false, true] => 1,
                [true, true] if self.twin[0][at[0]] == at[1] as u32 => 0,
                [true, true] => self.choice(at, &last),
            };
            let mut woven = lists[side][at[side]].clone();
            let twin = self.twin[side][at[side]];
            if let Some(copy) = lists[1 - side].get(twin as usize) {
                woven.join(copy);
                ahead[1 - side][twin as usize] = true;
            }
            at[side] += 1;
            last = woven.units;
            out.push(woven);
        }
    }

    /// Which of two heads is next.
    fn choice(&self, at: [usize; 2], last: &[u64; PATHS_MAX]) -> usize {
        let heads = [&self.x[at[0]], &self.y[at[1]]];
        let waits =
            |side: usize| self.needs[side][at[side]] as usize > at[1 - side] || self.twin[side][at[side]] != NOWHERE;
        let by_time = || {
            let rank = self.ranks[0][at[0]].min(self.ranks[1][at[1]]) / 2;
            let (least, most) = self.drifts.get(rank as usize).copied().unwrap_or((0, 0));
            usize::from(heads[1].piece.at - heads[0].piece.at < (least + most) / 2)
        };
        match [waits(0), waits(1)] {
            [false, true] => return 0,
            [true, false] => return 1,
            // Somebody's copy was not what it was taken for: most likely of what has twins and no counter.
            [true, true] => {
                let sure = |side: usize| {
                    let piece = &heads[side].piece;
                    (self.twin[side][at[side]] == NOWHERE, !piece.twins, piece.counted)
                };
                return match sure(0).cmp(&sure(1)) {
                    Ordering::Less => 0,
                    Ordering::Greater => 1,
                    Ordering::Equal => by_time(),
                };
            }
            [false, false] => {}
        }
        match heads.map(|head| together(&head.units, last)) {
            [true, false] => return 0,
            [false, true] => return 1,
            _ => {}
        }
        match [heads[0].piece.precedes(&heads[1].piece), heads[1].piece.precedes(&heads[0].piece)] {
            [true, false] => return 0,
            [false, true] => return 1,
            _ => {}
        }
        match [0, 1].map(|side| self.datagram_waits(side, at)) {
            [true, false] => 1,
            [false, true] => 0,
            _ => by_time(),
        }
    }

    /// What comes in one datagram with a head waits for the other list.
    fn datagram_waits(&self, side: usize, at: [usize; 2]) -> bool {
        let list = [&self.x, &self.y][side];
        let other = at[1 - side];
        let mut end = at[side];
        loop {
            let twin = self.twin[side][end];
            if self.needs[side][end] as usize > other || twin != NOWHERE && twin as usize > other {
                return true;
            }
            end += 1;
            if twin != NOWHERE || end == list.len() || !together(&list[end - 1].units, &list[end].units) {
                return false;
            }
        }
    }
}

/// Places of a packet on two lists.
type Copies = (usize, usize);

/// Two more behind each anchor, one more at it.
fn ranks(length: usize, anchors: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut ranks = vec![0; length];
    let (mut from, mut rank) = (0, 0);
    for anchor in anchors {
        ranks[from..anchor].fill(rank);
        ranks[anchor] = rank + 1;
        (from, rank) = (anchor + 1, rank + 2);
    }
    ranks[from..].fill(rank);
    ranks
}

/// Places of the packets that both lists have, as many as are in the same order; and of the others.
fn anchors(x: &[Woven], y: &[Woven]) -> (Vec<Copies>, Vec<Copies>) {
    let mut by_key: ByPrint<usize> = ByPrint::default();
    for (at, woven) in x.iter().enumerate().filter(|(_, woven)| !woven.piece.twins) {
        by_key.insert(woven.piece.key, at);
    }
    let single = y.iter().enumerate().filter(|(_, woven)| !woven.piece.twins);
    let pairs: Vec<(usize, usize)> =
        single.filter_map(|(at, woven)| by_key.get(&woven.piece.key).map(|of| (*of, at))).collect();
    // What repeats itself, and each path had another one.
    let same = |(i, j): &(usize, usize)| !x[*i].piece.is_past(&y[*j].piece) && !y[*j].piece.is_past(&x[*i].piece);
    let pairs: Vec<_> = pairs.into_iter().filter(same).collect();
    let pairs = near(x, y, pairs);
    if pairs.windows(2).all(|two| two[0].0 < two[1].0) {
        return (pairs, Vec::new());
    }
    // Longest rising run, by patience.
    let mut tops: Vec<usize> = Vec::new();
    let mut below = vec![usize::MAX; pairs.len()];
    for (n, (of, _)) in pairs.iter().enumerate() {
        let pile = tops.partition_point(|top| pairs[*top].0 < *of);
        below[n] = pile.checked_sub(1).map_or(usize::MAX, |pile| tops[pile]);
        if pile == tops.len() {
            tops.push(n);
        } else {
            tops[pile] = n;
        }
    }
    let mut rises = vec![false; pairs.len()];
    let mut at = tops.last().copied().unwrap_or(usize::MAX);
    while at != usize::MAX {
        rises[at] = true;
        at = below[at];
    }
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    let mut used = vec![false; x.len()];
    for (pair, rises) in pairs.into_iter().zip(rises) {
        // A key twice in a list is no longer anybody's.
        if !std::mem::replace(&mut used[pair.0], true) {
            if rises { &mut kept } else { &mut others }.push(pair);
        }
    }
    (kept, others)
}

/// Leaves out pairs that arrived much further apart than those before and behind: what repeats itself, and each path had another one.
fn near(x: &[Woven], y: &[Woven], pairs: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let apart: Vec<Micros> = pairs.iter().map(|(i, j)| y[*j].piece.at - x[*i].piece.at).collect();
    let strays = |n: usize, of: Option<usize>| {
        of.and_then(|of| apart.get(of)).is_none_or(|other| (apart[n] - other).abs() > SLACK)
    };
    let strange = |n: usize| apart[n].abs() > SLACK && strays(n, n.checked_sub(1)) && strays(n, Some(n + 1));
    pairs.iter().enumerate().filter(|(n, _)| !strange(*n)).map(|(_, pair)| *pair).collect()
}

/// Counters of its PID that do not go on before and behind a packet of a list.
fn breaks_around(list: &[Woven], at: usize) -> usize {
    let piece = &list[at].piece;
    let of_pid = |woven: &&Woven| woven.piece.pid == piece.pid;
    let before = list[..at].iter().rev().find(of_pid).map(|woven| (woven.piece, *piece));
    let behind = list[at + 1..].iter().find(of_pid).map(|woven| (*piece, woven.piece));
    let breaks = |(one, next): &(Piece, Piece)| next.counter != (one.counter + u8::from(next.counted)) & 0x0f;
    [before, behind].iter().flatten().filter(|two| breaks(two)).count()
}

/// Where a datagram was overtaken by some others of its path: the order in which the counters of the path break less; `None` if there is none.
pub(super) fn mend(pieces: &[Piece], units: &[u32]) -> Option<Vec<u32>> {
    let mut blocks: Vec<std::ops::Range<usize>> = Vec::new();
    for at in 0..pieces.len() {
        match blocks.last_mut() {
            Some(block) if units[block.start] == units[at] => block.end = at + 1,
            _ => blocks.push(at..at + 1),
        }
    }
    let breaks = |blocks: &[std::ops::Range<usize>]| {
        let mut stands: Vec<(u16, u8)> = Vec::new();
        let mut breaks = 0;
        for piece in blocks.iter().flat_map(|block| &pieces[block.clone()]).filter(|piece| piece.counted && !piece.free)
        {
            match stands.iter_mut().find(|(pid, _)| *pid == piece.pid) {
                Some((_, counter)) => {
                    breaks += usize::from(piece.counter != (std::mem::replace(counter, piece.counter) + 1) & 0x0f);
                }
                None => stands.push((piece.pid, piece.counter)),
            }
        }
        breaks
    };
    let mut any = false;
    for at in 1..blocks.len() {
        let from = at.saturating_sub(2 * OVERTAKEN_BY);
        let end = blocks.len().min(at + 1 + OVERTAKEN_BY);
        let best = (at.saturating_sub(OVERTAKEN_BY)..at)
            .rev()
            .map(|to| {
                let mut moved = blocks[from..end].to_vec();
                moved[to - from..=at - from].rotate_right(1);
                (breaks(&moved), to)
            })
            .min_by_key(|(breaks, _)| *breaks);
        if let Some((after, to)) = best.filter(|(after, _)| *after < breaks(&blocks[from..end])) {
            let _ = after;
            blocks[to..=at].rotate_right(1);
            any = true;
        }
    }
    any.then(|| blocks.into_iter().flatten().map(|at| at as u32).collect())
}
