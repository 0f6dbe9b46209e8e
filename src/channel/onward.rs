//! What encode processes make goes on to other hosts, beside going to our own packager.
//!
//! In:    coded units and segment ends of a pipeline that the config says is published; its renditions, once they are known.
//! Out:   [`Made`], in order, for whoever publishes ([`Onward`]).
//! Never: waits for another host.

use std::collections::BTreeSet;

use super::agree::HostWord;
use super::ladder::Plan;
use super::{Action, Channel};
use crate::clock::Now;
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::media::PipelineId;
use crate::monitor::{ChannelStatus, Event, EventKind, PublishingStatus, Severity};
use crate::package;

/// What a pipeline made.
#[derive(Clone, Debug)]
pub enum Made {
    /// These renditions follow, from the beginning.
    Begins(Box<package::Config>),
    /// A coded picture or audio frame.
    Coded(CodedUnit),
    /// A rendition's segment is whole.
    SegmentEnd(SegmentEnd),
    /// The encode process is gone; its successor begins with a segment of its own.
    Gone,
    /// What this host says of itself.
    Word(Box<HostWord>),
}

/// Who publishes.
pub trait Onward: Send {
    /// Takes what comes next, and never waits.
    fn take(&mut self, from: PipelineId, made: Made);

    /// How each destination of a pipeline fares.
    fn status(&self, from: PipelineId) -> Vec<PublishingStatus>;
}

/// Who publishes, and what was told of it.
pub(super) struct Ways {
    onward: Box<dyn Onward>,
    /// Destinations that are told to be in trouble.
    failing: BTreeSet<(PipelineId, usize)>,
}

impl Ways {
    pub fn new(onward: Box<dyn Onward>) -> Self {
        Self { onward, failing: BTreeSet::new() }
    }

    pub fn take(&mut self, from: PipelineId, made: Made) {
        self.onward.take(from, made);
    }

    /// Completes a status, and tells what has become of each destination since the last one.
    pub fn fill(&mut self, now: Now, status: &mut ChannelStatus) -> Vec<Event> {
        let mut news = Vec::new();
        for pipeline in &mut status.pipelines {
            pipeline.publishing = self.onward.status(pipeline.id);
            for (n, to) in pipeline.publishing.iter().enumerate() {
                let which = (pipeline.id, n);
                let (severity, kind, text) = match (&to.trouble, to.connected) {
                    (Some(why), false) if self.failing.insert(which) => {
                        let text = format!("{} does not get it: {why}; it is tried again", to.to);
                        (Severity::Warning, EventKind::PublishFailed, text)
                    }
                    (_, true) if self.failing.remove(&which) => {
                        (Severity::Info, EventKind::PublishRecovered, format!("{} gets it again", to.to))
                    }
                    _ => continue,
                };
                news.push(Event {
                    at: now.channel_time(),
                    channel: status.id.clone(),
                    severity,
                    kind,
                    source: None,
                    pipeline: Some(pipeline.id),
                    since: None,
                    text,
                });
            }
        }
        news
    }
}

impl Channel {
    /// Hands on what the pipeline in place `at` made, if it goes to other hosts.
    pub(super) fn give_on(&mut self, at: usize, made: impl FnOnce() -> Made) {
        // Pipelines stand in the config's order.
        if self.config.pipelines.get(at).is_some_and(|pipeline| !pipeline.publish.is_empty()) {
            self.actions.push(Action::Onward(self.pipelines[at].id, made()));
        }
    }

    /// The renditions are known.
    pub(super) fn begin_onward(&mut self, plan: &Plan) {
        for at in 0..self.pipelines.len() {
            let config = self.package_config(plan);
            self.give_on(at, || Made::Begins(Box::new(config)));
        }
    }
}
