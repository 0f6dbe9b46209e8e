//! The core that ties segmenter, selector and window together.

use std::sync::Arc;

use super::{Config, PackageError, PackageEvent, Snapshot};
use crate::clock::Now;
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::media::PipelineId;
use crate::monitor::PublishStatus;

/// Packages one channel. Sans-IO: time is an argument; call [`Self::poll`] after each input and at [`Self::wake_at`].
#[derive(Debug)]
pub struct Packager {
    config: Config,
    snapshot: Arc<Snapshot>,
    status: PublishStatus,
    on_air: Option<PipelineId>,
}

impl Packager {
    /// A packager that has published nothing yet.
    pub fn new(config: Config, _now: Now) -> Result<Self, PackageError> {
        if config.video.is_empty() {
            return Err(PackageError::NoVideo);
        }
        Ok(Self { config, snapshot: Arc::default(), status: PublishStatus::default(), on_air: None })
    }

    /// One coded picture or audio frame.
    pub fn coded(&mut self, _now: Now, _from: PipelineId, _unit: CodedUnit) {}

    /// A rendition's segment is whole.
    pub fn segment_end(&mut self, _now: Now, _from: PipelineId, _end: SegmentEnd) {}

    /// A pipeline's process came up, or is gone: what it left unfinished is dropped.
    pub fn pipeline(&mut self, _now: Now, _which: PipelineId, _alive: bool) {}

    /// Publishes what is due and tells what was decided since the last call.
    pub fn poll(&mut self, _now: Now) -> Vec<PackageEvent> {
        Vec::new()
    }

    /// When [`Self::poll`] has something to decide even if nothing arrives.
    pub fn wake_at(&self) -> Option<Now> {
        None
    }

    /// Everything that may be served now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Figures of what was published.
    pub fn status(&self) -> &PublishStatus {
        &self.status
    }

    /// The pipeline segments come from.
    pub fn on_air(&self) -> Option<PipelineId> {
        self.on_air
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }
}
