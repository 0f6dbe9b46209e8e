//! What the operator sees: events (what happened), status (what is), metrics (how much). One event type makes both the
//! log line and the counter.

mod event;
mod log;
mod merge;
mod status;

pub use event::{Event, EventKind, Severity};
pub use log::{EventCount, EventLog, KEPT, Logged};
pub use merge::{MergeStatus, PathAlarm, PathStatus};
pub use status::{
    ChannelStatus, ContentStatus, DvrStatus, HealthStatus, HostStatus, IngestStatus, LadderStatus, LeftOut, LinkStatus,
    LoudnessStatus, ManifestStatus, OutputFigures, OutputStatus, PipelineStatus, ProbeStatus, PublishStatus,
    PublishingStatus, ReaderStatus, RecordingStatus, RenditionStatus, SourceStatus, StandbyState, StandbyStatus,
    Thumbnail,
};
