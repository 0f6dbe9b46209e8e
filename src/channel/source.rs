//! The sources of a channel: what arrives from them, and who gets it.
//!
//! In:    what a source's transport says.
//! Out:   its media, to the pipelines that have it on air; events.
//! Never: decides which source a pipeline takes.

use super::feed::{Fed, Feed};
use super::{Action, Channel};
use crate::clock::Now;
use crate::config;
use crate::demux;
use crate::encode::ipc::ToWorker;
use crate::ingest::IngestEvent;
use crate::media::{Break, ChannelTime, Item, SourceName};
use crate::monitor::{EventKind, LinkStatus, Severity};

/// One source of a channel.
#[derive(Debug)]
pub(super) struct Source {
    pub name: SourceName,
    pub transport: &'static str,
    pub feed: Feed,
    pub peer: Option<String>,
    /// When its connection came up.
    pub up_since: Now,
    /// Bytes came over it.
    pub heard: bool,
    pub link: Option<LinkStatus>,
    pub bitrate: u64,
    /// Last alarm that was reported as an event.
    pub alarm: Option<String>,
    pub continuity_errors: u64,
}

impl Source {
    pub fn new(config: &config::Source, failover: &config::Failover, all_audio: bool, now: Now) -> Self {
        let settings = demux::Config { program: config.program, all_audio, ..demux::Config::default() };
        Self {
            name: config.id.source.clone(),
            transport: config.input.transport(),
            feed: Feed::new(settings, failover),
            peer: None,
            up_since: now,
            heard: false,
            link: None,
            bitrate: 0,
            alarm: None,
            continuity_errors: 0,
        }
    }
}

impl Channel {
    pub(super) fn source(&mut self, now: Now, name: &SourceName, event: IngestEvent) {
        let Some(at) = self.sources.iter().position(|s| s.name == *name) else { return };
        match event {
            IngestEvent::Up { peer } => {
                self.source_event(
                    now,
                    at,
                    Severity::Info,
                    EventKind::SourceConnected,
                    format!("connected from {peer}"),
                );
                let source = &mut self.sources[at];
                source.peer = Some(peer);
                source.up_since = now;
                source.heard = false;
                source.feed.reconnected(now);
                self.relay_reconnected(at);
                self.hand_on(at, vec![Item::Break(Break::Reconnect)]);
            }
            IngestEvent::Data { arrival, data, .. } => {
                self.sources[at].heard = true;
                self.relay(at, &data);
                let fed = self.sources[at].feed.push(arrival, &mut self.timeline, &data);
                self.fed(now, at, fed);
            }
            IngestEvent::Media { arrival, items } => {
                if !std::mem::replace(&mut self.sources[at].heard, true) {
                    self.relay_impossible(now, at);
                }
                let fed = self.sources[at].feed.push_media(arrival, &mut self.timeline, items);
                self.fed(now, at, fed);
            }
            IngestEvent::Down { reason } => {
                let text = format!("connection ended: {reason}");
                self.source_event(now, at, Severity::Warning, EventKind::SourceDisconnected, text);
                let source = &mut self.sources[at];
                source.peer = None;
                source.link = None;
                source.feed.lost();
            }
            IngestEvent::Refused { peer, reason } => {
                let text = format!("refused {peer}: {reason}");
                self.source_event(now, at, Severity::Warning, EventKind::SourceRefused, text);
            }
            IngestEvent::Link(link) => self.sources[at].link = Some(link),
        }
    }

    fn fed(&mut self, now: Now, source: usize, fed: Fed) {
        self.hand_on(source, fed.items);
        for news in fed.news {
            self.feed_news(now, source, news);
        }
    }

    /// Media of a source goes to the pipelines that have it on air.
    fn hand_on(&mut self, source: usize, items: Vec<Item<ChannelTime>>) {
        if items.is_empty() {
            return;
        }
        let mut takers: Vec<usize> =
            (0..self.pipelines.len()).filter(|&p| self.pipelines[p].on_air() == Some(source)).collect();
        let Some(last) = takers.pop() else { return };
        for taker in takers {
            self.send_items(taker, source, items.clone());
        }
        self.send_items(last, source, items);
    }

    pub(super) fn send_items(&mut self, pipeline: usize, source: usize, items: Vec<Item<ChannelTime>>) {
        let pipeline = &mut self.pipelines[pipeline];
        if !pipeline.is_up() {
            return;
        }
        if let Some(tracks) = self.sources[source].feed.tracks() {
            pipeline.note_sent(&items, tracks);
        }
        let (id, generation) = (pipeline.id, pipeline.generation());
        self.actions.extend(items.into_iter().map(|item| Action::Send(id, generation, ToWorker::Item(item))));
    }
}
