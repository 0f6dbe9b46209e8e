//! Events: what happened, to whom, how bad it is.

use serde::{Deserialize, Serialize};

use crate::media::{ChannelId, ChannelTime, PipelineId, SourceName};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Redundancy is used up or media was damaged; viewers see nothing yet.
    Warning,
    /// Viewers see it.
    Error,
}

impl Severity {
    /// Its name in metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Kinds of events; the name is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A source's connection is up.
    SourceConnected,
    /// A source's connection ended.
    SourceDisconnected,
    /// A publisher was turned away.
    SourceRefused,
    /// A source carries nothing that can be decoded, or its tracks changed.
    SourceTracks,
    /// A source's timestamps jumped and it was anchored anew.
    SourceAnchored,
    /// Packets of a source were lost or damaged.
    SourceDamaged,
    /// An indicator of ETSI TR 101 290 became active for a source.
    IndicatorRaised,
    /// An indicator of ETSI TR 101 290 is over.
    IndicatorCleared,
    /// A path of a merged source takes part.
    PathMerged,
    /// A path of a merged source takes part no longer.
    PathLost,
    /// A path of a merged source carries another stream.
    PathDiffers,
    /// A merged stream has ended, and another path's follows.
    MergeMoved,
    /// RTP paths have no numbers in common: they are merged by content.
    MergeByContent,
    /// A source shows a fault that it is left for.
    SourceFault,
    /// A fault of a source is over.
    SourceWell,
    /// The process that looks into the sources' pictures and sound ended and is started again.
    ProbeDied,
    /// A pipeline changed its source.
    SourceSwitched,
    /// A pipeline has no source left.
    SourceNone,
    /// An encode process is up and said hello.
    EncoderStarted,
    /// The encode processes of A and B are unlike, so their bytes may differ without any damage.
    EncodersUnlike,
    /// An encode process is in lock: it delivered its first whole segment.
    EncoderLocked,
    /// An encode process ended or was killed because it hung.
    EncoderDied,
    /// The slate's file cannot be shown; our own background stands in for it.
    SlateFailed,
    /// An encoder elsewhere publishes a pipeline.
    IngestStarted,
    /// Nothing comes from an encoder elsewhere.
    IngestSilent,
    /// The time of an encoder elsewhere was learnt anew, or its segments got other numbers.
    IngestMoved,
    /// What somebody published was not taken.
    IngestRefused,
    /// A source lies elsewhere on the other host.
    AnchorsDiffer,
    /// It lies on the same slots on both hosts again.
    AnchorsAgree,
    /// What the other host says of its anchors is not followed.
    AnchorsRefused,
    /// Another host does not get what a pipeline makes.
    PublishFailed,
    /// It gets it again.
    PublishRecovered,
    /// A line an encode process or gateway wrote to its stderr.
    ChildLog,
    /// Warm standby: a pipeline is called to encode.
    StandbyCalled,
    /// Warm standby: a pipeline that was called stands by again.
    StandbyReleased,
    /// The packager takes segments from the other pipeline now.
    PipelineSwitched,
    /// A and B delivered different bytes for a segment.
    SegmentDiffers,
    /// A segment of a pipeline is not what the grid asks for.
    SegmentRefused,
    /// A segment that no pipeline delivered.
    SegmentGap,
    /// The channel goes on with the window that the disk has kept.
    DvrRestored,
    /// The window cannot be kept on disk.
    DvrFailing,
    /// The window is kept on disk again.
    DvrWell,
    /// A gateway process ended and is started again.
    GatewayDied,
    /// A reader of an output is connected.
    ReaderConnected,
    /// A reader of an output left.
    ReaderDisconnected,
    /// A reader of an output was turned away, or turned us away.
    ReaderRefused,
    /// An output cannot do its work; it tries again.
    OutputFailed,
    /// Packets of an output were left out.
    OutputDropped,
    /// An output can do its work again.
    OutputRecovered,
    /// An output was added or removed while running.
    OutputsChanged,
    /// The channel came up.
    ChannelStarted,
    /// Rungs of the ladder were left out, or cost more than they need.
    LadderFitted,
    /// The limiter keeps an audio rendition below its loudness, though all is made up that may be.
    LoudnessShort,
    /// An audio rendition that was kept below its loudness comes up to it again.
    LoudnessReached,
}

impl EventKind {
    /// Its name in logs, metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceConnected => "source-connected",
            Self::SourceDisconnected => "source-disconnected",
            Self::SourceRefused => "source-refused",
            Self::SourceTracks => "source-tracks",
            Self::SourceAnchored => "source-anchored",
            Self::SourceDamaged => "source-damaged",
            Self::IndicatorRaised => "indicator-raised",
            Self::IndicatorCleared => "indicator-cleared",
            Self::PathMerged => "path-merged",
            Self::PathLost => "path-lost",
            Self::PathDiffers => "path-differs",
            Self::MergeMoved => "merge-moved",
            Self::MergeByContent => "merge-by-content",
            Self::SourceFault => "source-fault",
            Self::SourceWell => "source-well",
            Self::ProbeDied => "probe-died",
            Self::SourceSwitched => "source-switched",
            Self::SourceNone => "source-none",
            Self::EncoderStarted => "encoder-started",
            Self::EncodersUnlike => "encoders-unlike",
            Self::EncoderLocked => "encoder-locked",
            Self::EncoderDied => "encoder-died",
            Self::SlateFailed => "slate-failed",
            Self::IngestStarted => "ingest-started",
            Self::IngestSilent => "ingest-silent",
            Self::IngestMoved => "ingest-moved",
            Self::IngestRefused => "ingest-refused",
            Self::AnchorsDiffer => "anchors-differ",
            Self::AnchorsAgree => "anchors-agree",
            Self::AnchorsRefused => "anchors-refused",
            Self::PublishFailed => "publish-failed",
            Self::PublishRecovered => "publish-recovered",
            Self::ChildLog => "child-log",
            Self::StandbyCalled => "standby-called",
            Self::StandbyReleased => "standby-released",
            Self::PipelineSwitched => "pipeline-switched",
            Self::SegmentDiffers => "segment-differs",
            Self::SegmentRefused => "segment-refused",
            Self::SegmentGap => "segment-gap",
            Self::DvrRestored => "dvr-restored",
            Self::DvrFailing => "dvr-failing",
            Self::DvrWell => "dvr-well",
            Self::GatewayDied => "gateway-died",
            Self::ReaderConnected => "reader-connected",
            Self::ReaderDisconnected => "reader-disconnected",
            Self::ReaderRefused => "reader-refused",
            Self::OutputFailed => "output-failed",
            Self::OutputDropped => "output-dropped",
            Self::OutputRecovered => "output-recovered",
            Self::OutputsChanged => "outputs-changed",
            Self::ChannelStarted => "channel-started",
            Self::LadderFitted => "ladder-fitted",
            Self::LoudnessShort => "loudness-short",
            Self::LoudnessReached => "loudness-reached",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, on the wall clock.
    pub at: ChannelTime,
    /// Which channel.
    pub channel: ChannelId,
    /// How bad.
    pub severity: Severity,
    /// What.
    pub kind: EventKind,
    /// Which source, where one is meant.
    pub source: Option<SourceName>,
    /// Which pipeline, where one is meant.
    pub pipeline: Option<PipelineId>,
    /// When what it tells of began, where that was earlier.
    #[serde(default)]
    pub since: Option<ChannelTime>,
    /// For people: one sentence, no secrets.
    pub text: String,
}
