//! What is told of a channel's anchors: to the host that makes the other pipeline, and to the disk.
//!
//! In:    lines, with the jumps of their sources, and the anchors in use. Out: bytes, and the same again.
//! Never: grows by what bytes say: of each kind there are so many at most.
//!
//! All numbers in network order. A grid (segment in ns, 64 bits; frames a second, 2 × 32), then a byte that counts lines, and each: offset (i64), version (u32),
//! target (i64), planned (u64), its first knot (segment u64, tick i64, place i128, stretch i16, slips i64), and, each counted by a byte, bends (segment
//! u64, stretch i16), shifts (i64), votes (i64). Then, counted by a byte, anchors in use: line (u8), shift (i64).

use super::REMEMBERED;
use super::line::{Course, Knot};
use crate::media::{Grid, SegmentNumber};

/// Bends of a line, at most.
const BENDS_MAX: u8 = 64;
/// Lines; jumps, votes of a line; anchors in use, at most.
const EACH_MAX: u8 = REMEMBERED as u8;

/// The anchors of a channel, as others are told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    grid: (u64, u32, u32),
    /// Longest unused first.
    pub(super) lines: Vec<ToldLine>,
    /// Under which sources that flow are placed: the line's place in the list, and the shift.
    pub(super) uses: Vec<(u8, i64)>,
}

/// One of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToldLine {
    pub course: Course,
    /// Newest last.
    pub shifts: Vec<i64>,
    /// By how many ticks its sources say that they have drifted.
    pub votes: Vec<i64>,
}

impl Told {
    pub(super) fn new(grid: Grid, lines: Vec<ToldLine>, uses: Vec<(u8, i64)>) -> Self {
        Self { grid: key(grid), lines, uses }
    }

    /// It is of a channel with these segments and this frame rate.
    pub fn is_of(&self, grid: Grid) -> bool {
        self.grid == key(grid)
    }

    /// As bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend(self.grid.0.to_be_bytes());
        out.extend(self.grid.1.to_be_bytes());
        out.extend(self.grid.2.to_be_bytes());
        counted(&mut out, &self.lines, EACH_MAX, |out, line| {
            let Course { offset, version, target, planned, first, bends } = &line.course;
            out.extend(offset.to_be_bytes());
            out.extend(version.to_be_bytes());
            out.extend(target.to_be_bytes());
            out.extend(planned.0.to_be_bytes());
            out.extend(first.from.0.to_be_bytes());
            out.extend(first.at.to_be_bytes());
            out.extend(first.to.to_be_bytes());
            out.extend(first.stretch.to_be_bytes());
            out.extend(first.slips.to_be_bytes());
            counted(out, bends, BENDS_MAX, |out, (from, stretch)| {
                out.extend(from.0.to_be_bytes());
                out.extend(stretch.to_be_bytes());
            });
            for ticks in [&line.shifts, &line.votes] {
                counted(out, ticks, EACH_MAX, |out, ticks| out.extend(ticks.to_be_bytes()));
            }
        });
        counted(&mut out, &self.uses, EACH_MAX, |out, (line, shift)| {
            out.push(*line);
            out.extend(shift.to_be_bytes());
        });
        out
    }

    /// Reads all of `bytes`; `None` if they are anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let grid =
            (u64::from_be_bytes(from.take()?), u32::from_be_bytes(from.take()?), u32::from_be_bytes(from.take()?));
        let lines = from.counted(EACH_MAX, |from| {
            let (offset, version) = (from.ticks()?, u32::from_be_bytes(from.take()?));
            let (target, planned) = (from.ticks()?, from.segment()?);
            let first = Knot {
                from: from.segment()?,
                at: from.ticks()?,
                to: i128::from_be_bytes(from.take()?),
                stretch: i16::from_be_bytes(from.take()?),
                slips: from.ticks()?,
            };
            let bends = from.counted(BENDS_MAX, |from| Some((from.segment()?, i16::from_be_bytes(from.take()?))))?;
            let course = Course { offset, version, target, planned, first, bends };
            let (shifts, votes) = (from.counted(EACH_MAX, Reader::ticks)?, from.counted(EACH_MAX, Reader::ticks)?);
            Some(ToldLine { course, shifts, votes })
        })?;
        let uses = from.counted(EACH_MAX, |from| {
            let [line] = from.take()?;
            let shift = from.ticks()?;
            (usize::from(line) < lines.len()).then_some((line, shift))
        })?;
        from.0.is_empty().then_some(Self { grid, lines, uses })
    }
}

fn key(grid: Grid) -> (u64, u32, u32) {
    // 10 s at most.
    (u64::try_from(grid.segment().as_nanos()).unwrap_or(u64::MAX), grid.rate().num(), grid.rate().den())
}

/// The last ones, if there are too many.
fn counted<T>(out: &mut Vec<u8>, all: &[T], most: u8, write: impl Fn(&mut Vec<u8>, &T)) {
    let told = &all[all.len().saturating_sub(usize::from(most))..];
    out.push(told.len() as u8);
    told.iter().for_each(|it| write(out, it));
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn ticks(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn segment(&mut self) -> Option<SegmentNumber> {
        self.take().map(|bytes| SegmentNumber(u64::from_be_bytes(bytes)))
    }

    fn counted<T>(&mut self, most: u8, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let [count] = self.take()?;
        if count > most {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }
}
