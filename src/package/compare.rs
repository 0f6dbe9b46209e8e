//! Are A and B equal? Digests of decided segments are kept until both pipelines have shown theirs, also when one comes
//! after publication, or until it is plain that one never will.

use std::collections::BTreeMap;

use super::digest::Digest;
use super::event::Verdict;
use super::segmenter::{UnitPrint, Whole};
use super::selector::{Line, Made};
use crate::media::{ChannelTime, PipelineId, RenditionId, SegmentNumber};

/// What is left of a segment once its media is stored or dropped.
#[derive(Clone, Debug)]
struct Print {
    digest: Digest,
    units: Vec<UnitPrint>,
}

/// One rendition of one pipeline.
#[derive(Clone, Debug, Default)]
enum Shown {
    #[default]
    NotYet,
    Never,
    /// Its pipeline stands by: nobody asked for it.
    Unasked,
    Print(Print),
}

/// A decided segment that both pipelines have not shown yet.
#[derive(Clone, Debug)]
struct Open {
    shown: [Vec<Shown>; 2],
}

/// The segments still to be compared.
#[derive(Debug, Default)]
pub(super) struct Comparer {
    open: BTreeMap<SegmentNumber, Open>,
}

/// Most segments that may wait for a comparison; beyond, the oldest is settled as it stands.
const OPEN_MAX: usize = 64;

impl Shown {
    fn of(made: Made) -> Self {
        match made {
            Made::Missing => Self::NotYet,
            Made::Refused => Self::Never,
            Made::Whole(Whole { digest, units, .. }) => Self::Print(Print { digest, units }),
        }
    }
}

impl Comparer {
    /// Segment `n` is published; this is what each pipeline had made of it by then.
    /// `makes` tells whether a pipeline was to make a rendition of it at all.
    pub fn open(&mut self, n: SegmentNumber, made: [Vec<Made>; 2], makes: impl Fn(PipelineId, usize) -> bool) {
        let mut shown = made.map(|side| side.into_iter().map(Shown::of).collect::<Vec<_>>());
        for side in PipelineId::BOTH {
            for (r, shown) in shown[side.index()].iter_mut().enumerate() {
                if matches!(shown, Shown::NotYet) && !makes(side, r) {
                    *shown = Shown::Unasked;
                }
            }
        }
        self.open.insert(n, Open { shown });
    }

    /// Whether something of a decided segment is still of interest.
    pub fn wants(&self, n: SegmentNumber, from: PipelineId, rendition: usize) -> bool {
        let shown = self.open.get(&n).and_then(|open| open.shown[from.index()].get(rendition));
        matches!(shown, Some(Shown::NotYet))
    }

    /// Whether a pipeline has shown all of a segment that still waits for the other's.
    pub fn is_full(&self, n: SegmentNumber, from: PipelineId) -> bool {
        self.open.get(&n).is_some_and(|open| open.is_full(from.index()))
    }

    /// A pipeline finished, or spoiled, a rendition of a decided segment.
    pub fn late(&mut self, n: SegmentNumber, from: PipelineId, rendition: usize, made: Made) {
        if let Some(shown) = self.open.get_mut(&n).and_then(|open| open.shown[from.index()].get_mut(rendition)) {
            *shown = Shown::of(made);
        }
    }

    /// The verdicts that stand now. `lines` tells what can still be hoped for, `time` when a unit of a rendition is shown.
    pub fn settle(
        &mut self,
        lines: [&Line; 2],
        renditions: &[RenditionId],
        time: impl Fn(usize, u64) -> ChannelTime,
    ) -> Vec<(SegmentNumber, Verdict)> {
        let mut verdicts = Vec::new();
        let crowded = self.open.len().saturating_sub(OPEN_MAX);
        let mut index = 0;
        self.open.retain(|&n, open| {
            let force = index < crowded;
            index += 1;
            let lost = |side: usize| {
                open.shown[side].iter().enumerate().any(|(r, shown)| match shown {
                    Shown::NotYet => force || lines[side].has_passed(n, r),
                    Shown::Never => true,
                    Shown::Unasked | Shown::Print(_) => false,
                })
            };
            let missing = |missing| Some(Verdict::OneMissing { missing });
            let verdict = match (open.is_full(0), open.is_full(1)) {
                (true, true) => Some(open.compare(renditions, &time)),
                (true, false) if lost(1) => missing(PipelineId::B),
                (false, true) if lost(0) => missing(PipelineId::A),
                // Published from both: nothing to say about either as a whole.
                (false, false) if lost(0) && lost(1) => return false,
                _ => None,
            };
            let settled = verdict.is_some();
            verdicts.extend(verdict.map(|v| (n, v)));
            !settled
        });
        verdicts
    }
}

impl Open {
    fn is_full(&self, side: usize) -> bool {
        self.shown[side].iter().all(|s| matches!(s, Shown::Print(_) | Shown::Unasked))
    }

    fn compare(&self, renditions: &[RenditionId], time: impl Fn(usize, u64) -> ChannelTime) -> Verdict {
        let [a, b] = &self.shown;
        for (r, ((a, b), rendition)) in a.iter().zip(b).zip(renditions).enumerate() {
            if let (Shown::Print(a), Shown::Print(b)) = (a, b)
                && a.digest != b.digest
            {
                let unit = a.units.iter().zip(&b.units).position(|(a, b)| a != b).unwrap_or(0);
                let position = a.units.get(unit).map_or(0, |print| print.position);
                return Verdict::Differs { rendition: rendition.clone(), unit, position, at: time(r, position) };
            }
        }
        Verdict::Equal
    }
}
