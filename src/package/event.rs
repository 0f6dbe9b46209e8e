//! What the packager decided, and why.

use std::time::Duration;

use super::names::date;
use crate::media::{ChannelId, ChannelTime, PipelineId, RenditionId, SegmentNumber};
use crate::monitor::{Event, EventKind, Severity};

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackageEvent {
    /// A pipeline delivered its first whole segment since it came up.
    Locked {
        /// Which pipeline.
        pipeline: PipelineId,
        /// Its first whole segment.
        number: SegmentNumber,
    },
    /// A segment is listed in every rendition.
    Published {
        /// Which.
        number: SegmentNumber,
        /// Where it was taken from; `None` when renditions of both pipelines had to be put together.
        from: Option<PipelineId>,
        /// How long after the end of its interval.
        late: Duration,
    },
    /// Segments come from the other pipeline from this one on.
    Switched {
        /// The first segment of the new pipeline.
        number: SegmentNumber,
        /// Its first part of the new pipeline, from 0, where it is not the whole segment.
        part: Option<usize>,
        /// The pipeline now on air.
        to: PipelineId,
        /// Why.
        why: Change,
    },
    /// What both pipelines made of one segment.
    Compared {
        /// Which.
        number: SegmentNumber,
        /// The outcome.
        verdict: Verdict,
    },
    /// A segment of a pipeline cannot be used.
    Refused {
        /// Whose.
        pipeline: PipelineId,
        /// In which rendition.
        rendition: RenditionId,
        /// Which.
        number: SegmentNumber,
        /// Why.
        why: Refusal,
    },
    /// No pipeline delivered this segment; its number stays empty.
    Gap {
        /// Which.
        number: SegmentNumber,
    },
    /// No pipeline delivered what follows the first parts of this segment; a picture stands in for it.
    StoodIn {
        /// Which.
        number: SegmentNumber,
        /// The first part that is missing, from 0.
        part: usize,
    },
}

/// Why the pipeline on air changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The process of the pipeline that was on air is gone.
    Gone,
    /// The pipeline that was on air can no longer deliver this segment.
    Missing,
    /// The pipeline that was on air is late.
    Late,
    /// The other pipeline had less to make up.
    Better,
    /// The pipeline that was on air stands by again.
    StandsBy,
}

/// What both pipelines made of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Equal bytes in every rendition.
    Equal,
    /// One of them is damaged, or the hosts are unlike.
    Differs {
        /// The first rendition that differs.
        rendition: RenditionId,
        /// The first unit that differs, in decode order.
        unit: usize,
        /// Its slot, or its audio frame.
        position: u64,
        /// When it is shown or heard.
        at: ChannelTime,
    },
    /// One of them never delivered it whole.
    OneMissing {
        /// Which.
        missing: PipelineId,
    },
}

/// Why a segment of a pipeline cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Units are missing or there are too many.
    #[error("{got} units where the grid has {want}")]
    Count {
        /// Units that came.
        got: usize,
        /// Units the grid has.
        want: usize,
    },
    /// A unit's place is not one of this segment, or is taken.
    #[error("unit {unit} sits at {position}")]
    Position {
        /// Which, in decode order.
        unit: usize,
        /// Its place.
        position: u64,
    },
    /// A segment must begin with a key frame that is also shown first.
    #[error("does not begin with a key frame")]
    NoKey,
    /// An access unit without a picture, or an empty audio frame.
    #[error("unit {unit} is empty")]
    Empty {
        /// Which, in decode order.
        unit: usize,
    },
    /// No parameter sets, or such as we cannot read.
    #[error("parameter sets are missing or unreadable")]
    ParameterSets,
    /// Parameter sets other than the ones players were given: the ladder does not change under a player.
    #[error("unlike what players were told: {difference}")]
    Unlike {
        /// In what.
        difference: String,
    },
    /// Far from the live edge.
    #[error("far from the live edge")]
    OutOfRange,
    /// Too many segments are under construction; the oldest makes room.
    #[error("given up unfinished: newer ones are under construction")]
    Abandoned,
    /// No memory to keep it in.
    #[error("no memory for it: {0}")]
    Storage(std::io::ErrorKind),
}

impl PackageEvent {
    /// The event for log and page; `None` for what happens with every segment.
    pub fn event(&self, channel: &ChannelId, at: ChannelTime) -> Option<Event> {
        let (severity, kind, pipeline, text) = match self {
            Self::Locked { pipeline, number } => (
                Severity::Info,
                EventKind::EncoderLocked,
                Some(*pipeline),
                format!("pipeline {pipeline} is in lock from segment {number} on"),
            ),
            Self::Switched { number, part, to, why } => {
                let why = match why {
                    Change::Gone => "the other's process is gone",
                    Change::Missing => "the other cannot deliver it",
                    Change::Late => "the other is late",
                    Change::Better => "the other had more to make up",
                    Change::StandsBy => "the other stands by",
                };
                let text = match part {
                    None | Some(0) => format!("segments come from pipeline {to} from {number} on: {why}"),
                    // Only where the bytes so far are equal.
                    Some(part) => format!("segments come from pipeline {to} from part {part} of {number} on: {why}"),
                };
                (Severity::Warning, EventKind::PipelineSwitched, Some(*to), text)
            }
            Self::Compared { number, verdict: Verdict::Differs { rendition, unit, position, at } } => {
                let shown = date(i64::try_from(at.to_utc().as_millis()).unwrap_or(0));
                let text = format!(
                    "segment {number} of A and B differs, first in unit {unit} of {rendition}, which is number {position} \
                     on the channel's grid and goes out at {shown}"
                );
                (Severity::Warning, EventKind::SegmentDiffers, None, text)
            }
            Self::Refused { pipeline, rendition, number, why } => (
                Severity::Warning,
                EventKind::SegmentRefused,
                Some(*pipeline),
                format!("segment {number} of {rendition} from pipeline {pipeline} cannot be used: {why}"),
            ),
            Self::Gap { number } => (
                Severity::Error,
                EventKind::SegmentGap,
                None,
                format!("no pipeline delivered segment {number}: a gap is listed in its place"),
            ),
            Self::StoodIn { number, part } => (
                Severity::Error,
                EventKind::SegmentGap,
                None,
                format!(
                    "no pipeline delivered segment {number} from part {part} on: its first picture stands till its end"
                ),
            ),
            Self::Published { .. } | Self::Compared { .. } => return None,
        };
        Some(Event { at, channel: channel.clone(), severity, kind, source: None, pipeline, since: None, text })
    }
}
