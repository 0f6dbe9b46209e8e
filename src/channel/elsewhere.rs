//! Pipelines that an encoder elsewhere makes: no process of ours runs for them, and what comes goes to the packager as an encode process's
//! words would.
//!
//! In:    what a publishing point says.
//! Out:   the packager's pipeline raised and lowered; its segments; events.
//! Never: starts, watches or kills anything: who publishes has its own keeper.

use super::Channel;
use super::agree::HostWord;
use super::pipeline::Pipeline;
use crate::clock::Now;
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::media::PipelineId;
use crate::monitor::{EventKind, IngestStatus, Severity};

/// What a publishing point says at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// How it fares.
    pub status: IngestStatus,
    /// In this order.
    pub said: Vec<Said>,
}

/// One thing that a publishing point says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// As of an encode process.
    Coded(CodedUnit),
    /// As of an encode process.
    SegmentEnd(SegmentEnd),
    /// Segments follow; how the sender's times lead to channel time, for people.
    Up(String),
    /// Nothing came for too long.
    Silent,
    /// The host that publishes says something of itself.
    Host(Box<HostWord>),
    /// News for people.
    News(Severity, EventKind, String),
}

/// A pipeline's encoder elsewhere, as far as we know.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// It publishes.
    pub up: bool,
    /// It delivers whole segments.
    pub locked: bool,
    /// How often it came up.
    pub starts: u32,
    /// The packager knows that it is up.
    raised: bool,
    /// What the publishing point told last.
    pub status: IngestStatus,
}

impl Channel {
    pub(super) fn elsewhere(&mut self, now: Now, id: PipelineId, published: Published) {
        let Some(at) = self.pipelines.iter().position(|p| p.id == id && p.elsewhere().is_some()) else { return };
        if let Some(it) = self.pipelines[at].elsewhere_mut() {
            it.status = published.status;
        }
        for said in published.said {
            match said {
                Said::Coded(unit) => {
                    // A channel that began anew while the point went on is not told of its beginning.
                    self.comes_up(now, at, None);
                    if let Some(packager) = &mut self.packager {
                        packager.coded(now, id, unit);
                    }
                }
                Said::SegmentEnd(end) => {
                    if let Some(packager) = &mut self.packager {
                        packager.segment_end(now, id, end);
                    }
                }
                Said::Up(how) => self.comes_up(now, at, Some(&how)),
                Said::Silent => self.falls_silent(now, at),
                Said::Host(word) => self.host_says(now, &word),
                Said::News(severity, kind, text) => self.pipeline_event(now, id, severity, kind, text),
            }
        }
        // A host that says something of itself need not publish anything.
        if let Some(it) = self.pipelines[at].elsewhere_mut().filter(|it| !it.up) {
            it.status.peer = None;
        }
    }

    fn comes_up(&mut self, now: Now, at: usize, how: Option<&str>) {
        let Some(it) = self.pipelines[at].elsewhere_mut() else { return };
        let was_up = std::mem::replace(&mut it.up, true);
        if !was_up {
            it.starts += 1;
            let peer = it.status.peer.clone().unwrap_or_else(|| "unknown".to_owned());
            let how = how.map(|how| format!("; {how}")).unwrap_or_default();
            let text = format!("an encoder at {peer} publishes it{how}");
            self.pipeline_event(now, self.pipelines[at].id, Severity::Info, EventKind::IngestStarted, text);
        }
        self.tell_packager(now, at);
    }

    fn falls_silent(&mut self, now: Now, at: usize) {
        let Some(it) = self.pipelines[at].elsewhere_mut() else { return };
        (it.locked, it.status.peer) = (false, None);
        if std::mem::take(&mut it.up) {
            let text = "nothing comes from the encoder elsewhere".to_owned();
            self.pipeline_event(now, self.pipelines[at].id, Severity::Warning, EventKind::IngestSilent, text);
        }
        self.tell_packager(now, at);
    }

    /// The packager knows which pipelines are up; also one that came into being after them.
    pub(super) fn tell_packager(&mut self, now: Now, at: usize) {
        let Some(packager) = &mut self.packager else { return };
        let id = self.pipelines[at].id;
        let Some(it) = self.pipelines[at].elsewhere_mut() else { return };
        if it.raised != it.up {
            it.raised = it.up;
            packager.pipeline(now, id, it.up);
        }
    }
}

impl Pipeline {
    /// Its encoder, where that is elsewhere.
    pub fn elsewhere(&self) -> Option<&Elsewhere> {
        self.elsewhere.as_ref()
    }

    fn elsewhere_mut(&mut self) -> Option<&mut Elsewhere> {
        self.elsewhere.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::super::{Action, Generation, Input, Made};
    use super::*;
    use crate::config::Config;
    use crate::encode::ipc::{FromWorker, Hello, Material, RenditionIndex};
    use crate::media::SegmentNumber;
    use crate::monitor::ChannelStatus;

    const NUMBER: SegmentNumber = SegmentNumber(900_000_000);

    fn channel(keys: &str) -> (Channel, Now) {
        let text = format!(
            "[[channel]]\nid = \"c\"\nladder = \"pipelines/ladders/test.toml\"\n[channel.pipelines]\na = [\"s\"]\n{keys}\n\
             [[channel.source]]\nid = \"s\"\ntype = \"test\"\n"
        );
        let config = Config::parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("c.toml"), &text).expect("good");
        let config = config.channels.into_iter().next().expect("one");
        let now = Now { mono: Instant::now(), utc: config.grid.segment_start(NUMBER).to_utc() };
        (Channel::new(config, false, now), now)
    }

    fn unit(channel: &Channel) -> CodedUnit {
        CodedUnit {
            rendition: RenditionIndex(2),
            segment: NUMBER,
            position: channel.config.grid.audio_frames(NUMBER).start,
            key: true,
            material: Material::Source,
            data: Bytes::from_static(&[0; 20]),
        }
    }

    fn say(channel: &mut Channel, now: Now, said: Said) -> Vec<EventKind> {
        let status = IngestStatus { peer: Some("192.0.2.1:9".to_owned()), ..IngestStatus::default() };
        let published = Box::new(Published { status, said: vec![said] });
        let actions = channel.apply(now, Input::Elsewhere(PipelineId::B, published));
        let kinds = actions.into_iter().filter_map(|action| match action {
            Action::Event(event) if event.pipeline == Some(PipelineId::B) => Some(event.kind),
            _ => None,
        });
        kinds.collect()
    }

    fn is_up(status: &ChannelStatus) -> (bool, Option<&str>) {
        let b = &status.pipelines[1];
        (b.running, b.ingest.as_ref().expect("it is made elsewhere").peer.as_deref())
    }

    #[test]
    fn what_is_made_elsewhere_is_raised_and_lowered_and_no_process_runs_for_it() {
        let (mut channel, start) = channel("b = \"cmaf\"");
        let actions = channel.apply(start, Input::Tick);
        let started = actions.iter().filter(|action| matches!(action, Action::StartEncoder(PipelineId::A, ..))).count();
        assert_eq!(started, 1, "at once: the ladder waits for no source");
        assert_eq!(is_up(&channel.status(start)), (false, None));
        assert_eq!(say(&mut channel, start, Said::Up("by its clock".to_owned())), [EventKind::IngestStarted]);
        assert_eq!(is_up(&channel.status(start)), (true, Some("192.0.2.1:9")));
        let unit = unit(&channel);
        assert_eq!(say(&mut channel, start, Said::Coded(unit.clone())), [], "it is up already");
        assert_eq!(say(&mut channel, start, Said::Silent), [EventKind::IngestSilent]);
        assert_eq!(is_up(&channel.status(start)), (false, None));
        assert_eq!(say(&mut channel, start, Said::Silent), [], "told once");
        assert_eq!(say(&mut channel, start, Said::Coded(unit)), [EventKind::IngestStarted], "it goes on");
        // Neither hello nor heartbeat is asked of it, and nothing is killed however long it says nothing.
        let mut now = start;
        for _ in 0..40 {
            now = now.after(Duration::from_secs(1));
            let actions = channel.apply(now, Input::Tick);
            let of_b = |action: &Action| {
                matches!(action, Action::StartEncoder(PipelineId::B, ..) | Action::KillEncoder(PipelineId::B, _))
            };
            assert!(!actions.iter().any(of_b), "{actions:?}");
            assert!(channel.wake_at(now).since(now) > Duration::ZERO, "it does not spin");
        }
    }

    #[test]
    fn only_a_pipeline_that_is_published_goes_on() {
        let publish = "[[channel.publish]]\npipeline = \"a\"\nto = \"http://192.0.2.1/ingest/c/a\"";
        for (keys, want) in [(publish, true), ("", false)] {
            let (mut channel, start) = channel(keys);
            let (mut made, unit) = (Vec::new(), unit(&channel));
            let mut apply = |input| {
                made.extend(channel.apply(start.after(Duration::from_secs(3)), input).into_iter().filter_map(
                    |action| match action {
                        Action::Onward(PipelineId::A, Made::Begins(_)) => Some("begins"),
                        Action::Onward(PipelineId::A, Made::Coded(_)) => Some("coded"),
                        Action::Onward(PipelineId::A, Made::Gone) => Some("gone"),
                        _ => None,
                    },
                ));
            };
            apply(Input::Tick);
            let first = Generation(1);
            apply(Input::Encoder(PipelineId::A, first, FromWorker::Hello(Hello::default())));
            apply(Input::Encoder(PipelineId::A, first, FromWorker::Coded(unit)));
            apply(Input::EncoderGone(PipelineId::A, first, "it was killed".to_owned()));
            let all: &[&str] = if want { &["begins", "coded", "gone"] } else { &[] };
            assert_eq!(made, all, "{keys}");
        }
    }
}
