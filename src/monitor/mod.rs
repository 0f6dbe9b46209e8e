//! What the operator sees: events (what happened), status (what is), metrics (how much). One event type makes both the
//! log line and the counter.

mod event;
mod log;
mod status;

pub use event::{Event, EventKind, Severity};
pub use log::{EventCount, EventLog, KEPT, Logged};
pub use status::{
    ChannelStatus, HealthStatus, LadderStatus, LeftOut, LinkStatus, LoudnessStatus, OutputFigures, OutputStatus,
    PipelineStatus, PublishStatus, ReaderStatus, RecordingStatus, RenditionStatus, SourceStatus, StandbyState,
    StandbyStatus, Thumbnail,
};
