//! What a channel tells: events and alarms, in words for people.

use std::time::Duration;

use super::Action;
use super::Channel;
use super::news::FeedNews;
use super::standby::News;
use crate::clock::Now;
use crate::config::Condition;
use crate::failover::Reason;
use crate::measure;
use crate::media::{ChannelTime, Codec, PipelineId, TrackInfo, TrackKind, TrackSet};
use crate::monitor::{Event, EventKind, Severity};
use crate::package::{PackageEvent, Refusal};
use crate::timeline::Slip;

/// A source that sends bytes must show a programme within this time; DVB asks for a PMT every 0.5 s.
const PROGRAMME_WITHIN: Duration = Duration::from_secs(3);

const NO_PROGRAMME: &str = "nothing that can be decoded: bytes come, but no programme (PAT and PMT) in them; \
                            is it MPEG-TS? A publisher writes it with `-f mpegts`";

/// What is wrong with a source, in words.
pub(super) const fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::NoVideo => "no picture comes",
        Condition::NoAudio => "no sound comes",
        Condition::SyncLoss => "no packets are found in what comes",
        Condition::Continuity => "packets are missing",
        Condition::Pid => "PIDs are missing",
        Condition::Pcr => "its clock is late or jumps",
        Condition::Black => "its picture is black",
        Condition::Frozen => "its picture stands still",
        Condition::Silent => "its sound is silence",
        Condition::DecoderErrors => "its pictures cannot be decoded",
    }
}

/// An instant of the past on the wall clock as it is now.
pub(super) fn instant(now: Now, since: Now) -> ChannelTime {
    now.channel_time() - now.since(since)
}

/// A score's reason in one sentence.
pub(super) fn reason(now: Now, reason: &Reason) -> String {
    let what = reason.condition.map_or("nothing comes", condition);
    match reason.since {
        Some(since) => format!("{what}, for {:.1} s", now.since(since).as_secs_f64()),
        None => what.to_owned(),
    }
}

/// Tracks in one line, for people.
fn describe_tracks(tracks: &TrackSet) -> String {
    let one = |t: &TrackInfo| {
        let name = match t.codec {
            Codec::H264 => "H.264".to_owned(),
            Codec::Hevc => "HEVC".to_owned(),
            Codec::Mpeg2Video => "MPEG-2 video".to_owned(),
            Codec::AacAdts => "AAC".to_owned(),
            Codec::AacLatm => "AAC (LATM)".to_owned(),
            Codec::MpegAudio => "MPEG audio".to_owned(),
            Codec::Ac3 => "AC-3".to_owned(),
            Codec::Eac3 => "E-AC-3".to_owned(),
            Codec::Other(stream_type) => format!("stream_type {stream_type:#04x}"),
        };
        match t.shape {
            Some(shape) => {
                let rate = shape.rate.map_or_else(String::new, |r| format!(" at {r}"));
                let scan = if shape.interlaced { "i" } else { "p" };
                format!("{name} {}x{}{scan}{rate}", shape.width, shape.height)
            }
            None => name,
        }
    };
    if tracks.tracks.is_empty() {
        return "no tracks".to_owned();
    }
    tracks.tracks.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Channel {
    /// An indicator of ETSI TR 101 290 began or is over.
    pub(super) fn indicator_news(&mut self, now: Now, at: usize, news: measure::News) {
        let measure::News { indicator, active, pid, count } = news;
        let pid = pid.map_or_else(String::new, |pid| format!(", PID {pid:#06x}"));
        let name = format!("TR 101 290 {}: {}{pid}", indicator.clause(), indicator.meaning());
        let (severity, kind, text) = if active {
            (Severity::Warning, EventKind::IndicatorRaised, name)
        } else {
            (Severity::Info, EventKind::IndicatorCleared, format!("over, counted {count} times: {name}"))
        };
        self.source_event(now, at, severity, kind, text);
    }

    pub(super) fn feed_news(&mut self, now: Now, at: usize, news: FeedNews) {
        let (kind, text) = match news {
            FeedNews::Tracks(tracks) => (EventKind::SourceTracks, describe_tracks(&tracks)),
            FeedNews::AnchoredNew => (EventKind::SourceAnchored, "anchored: a timeline of its own".to_owned()),
            FeedNews::AnchoredAdopted => {
                (EventKind::SourceAnchored, "anchored: on a timeline the channel knows".to_owned())
            }
            FeedNews::Jumped { kind, by } => {
                let what = if kind == TrackKind::Video { "pictures" } else { "sound" };
                let seconds = by as f64 / 90_000.0;
                (
                    EventKind::SourceAnchored,
                    format!("time of {what} jumped by {seconds:+.3} s: goes on where it left off"),
                )
            }
            FeedNews::Agreed { by } => {
                self.has_moved();
                let text = format!("moved by {:+} ms, to where the other host has it", by / 90);
                (EventKind::SourceAnchored, text)
            }
            FeedNews::Slips(Slip { later, sum }) => {
                let (clock, what) = if later { ("slow", "repeated") } else { ("fast", "left out") };
                let text =
                    format!("its clock is {clock}: one frame will be {what}, {sum:+} in all; sound bends with it");
                (EventKind::SourceAnchored, text)
            }
        };
        self.source_event(now, at, Severity::Info, kind, text);
        self.watch_alarm(now, at);
    }

    /// Reports an alarm when it is set; it clears silently, as media says more than words.
    pub(super) fn watch_alarm(&mut self, now: Now, at: usize) {
        let source = &self.sources[at];
        let alarm = match (&source.peer, source.feed.tracks()) {
            (None, _) => None,
            (Some(_), Some(_)) => source.feed.alarm(),
            (Some(_), None) if !source.heard || now.since(source.up_since) < PROGRAMME_WITHIN => None,
            (Some(_), None) => Some(NO_PROGRAMME.to_owned()),
        };
        if alarm != source.alarm {
            self.sources[at].alarm.clone_from(&alarm);
            if let Some(text) = alarm {
                self.source_event(now, at, Severity::Warning, EventKind::SourceTracks, text);
            }
        }
    }

    pub(super) fn package_event(&mut self, now: Now, event: &PackageEvent) {
        if let PackageEvent::Locked { pipeline, .. } = event
            && let Some(locked) = self.pipelines.iter_mut().find(|p| p.id == *pipeline)
        {
            locked.note_lock();
        }
        if let (Some(pair), PackageEvent::Refused { pipeline, rendition, number, why }) = (&mut self.pair, event)
            && !matches!(why, Refusal::OutOfRange | Refusal::Storage(_))
            && self.fitting.plan().is_some_and(|plan| plan.video.iter().any(|rung| rung.id == *rendition))
        {
            pair.refused(*pipeline, *number);
        }
        self.actions.extend(event.event(&self.config.id, now.channel_time()).map(Action::Event));
    }

    pub(super) fn standby_event(&mut self, now: Now, id: PipelineId, news: News) {
        let (severity, kind, text) = match news {
            News::Called(from, why) => {
                let text = format!("encodes from segment {from} on: {}", why.text());
                (Severity::Warning, EventKind::StandbyCalled, text)
            }
            News::Released(from) => {
                let text = format!("stands by from segment {from} on: the other encodes");
                (Severity::Info, EventKind::StandbyReleased, text)
            }
        };
        self.pipeline_event(now, id, severity, kind, text);
    }

    pub(super) fn new_event(&self, now: Now, severity: Severity, kind: EventKind, text: String) -> Event {
        Event {
            at: now.channel_time(),
            channel: self.config.id.clone(),
            severity,
            kind,
            source: None,
            pipeline: None,
            since: None,
            text,
        }
    }

    pub(super) fn event(&mut self, now: Now, severity: Severity, kind: EventKind, text: String) {
        let event = self.new_event(now, severity, kind, text);
        self.actions.push(Action::Event(event));
    }

    pub(super) fn source_event(&mut self, now: Now, at: usize, severity: Severity, kind: EventKind, text: String) {
        let source = Some(self.sources[at].name.clone());
        let event = Event { source, ..self.new_event(now, severity, kind, text) };
        self.actions.push(Action::Event(event));
    }

    /// Of what began before now.
    pub(super) fn source_event_since(
        &mut self,
        now: Now,
        at: usize,
        severity: Severity,
        kind: EventKind,
        text: String,
        since: Now,
    ) {
        let source = Some(self.sources[at].name.clone());
        let since = Some(instant(now, since));
        let event = Event { source, since, ..self.new_event(now, severity, kind, text) };
        self.actions.push(Action::Event(event));
    }

    pub(super) fn pipeline_event(
        &mut self,
        now: Now,
        id: PipelineId,
        severity: Severity,
        kind: EventKind,
        text: String,
    ) {
        let event = Event { pipeline: Some(id), ..self.new_event(now, severity, kind, text) };
        self.actions.push(Action::Event(event));
    }
}
