//! The sources of a channel: what arrives from them, and who gets it.
//!
//! In:    what a source's transport says.
//! Out:   its media, to the pipelines that have it on air; events.
//! Never: decides which source a pipeline takes.

use super::feed::{Fed, Feed};
use super::merging::{Merging, Said};
use super::{Action, Channel};
use crate::clock::Now;
use crate::config;
use crate::demux;
use crate::encode::ipc::ToWorker;
use crate::ingest::IngestEvent;
use crate::media::{Break, ChannelTime, Item, SourceName};
use crate::monitor::{Event, EventKind, LinkStatus, Severity};

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
    /// Of a merged source.
    pub merging: Option<Merging>,
}

impl Source {
    pub fn new(config: &config::Source, channel: &config::Channel, now: Now) -> Self {
        let (failover, all_audio) = (&channel.failover, channel.ladder.has_languages());
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
            merging: match &config.input {
                config::Input::Merge(input) => Some(Merging::new(input, &channel.sources)),
                _ => None,
            },
        }
    }
}

impl Channel {
    pub(super) fn source(&mut self, now: Now, name: &SourceName, event: IngestEvent) {
        if let Some(at) = self.sources.iter().position(|s| s.name == *name) {
            return self.heard(now, at, event);
        }
        for at in 0..self.sources.len() {
            let Some(merging) = &mut self.sources[at].merging else { continue };
            if let Some(path) = merging.find(name) {
                // What follows from it comes with the upkeep.
                return merging.take(now, path, event);
            }
        }
    }

    /// Takes from a merged source's paths what is due.
    pub(super) fn merge(&mut self, now: Now, at: usize) {
        let Some(merging) = &mut self.sources[at].merging else { return };
        for said in merging.poll(now) {
            match said {
                Said::Stream(event) => self.heard(now, at, event),
                Said::Event(path, severity, kind, text) => {
                    let source = path.or_else(|| Some(self.sources[at].name.clone()));
                    let event = Event { source, ..self.new_event(now, severity, kind, text) };
                    self.actions.push(Action::Event(event));
                }
            }
        }
    }

    fn heard(&mut self, now: Now, at: usize, event: IngestEvent) {
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
                let anew = vec![Item::Break(Break::Reconnect)];
                self.show_probe(now, at, &anew);
                self.hand_on(at, anew);
            }
            IngestEvent::Data { arrival, data, .. } => {
                self.sources[at].heard = true;
                self.relay(at, &data);
                let fed = self.sources[at].feed.push(arrival, &mut self.timeline, &data);
                self.fed(now, arrival, at, fed);
            }
            IngestEvent::Media { arrival, items } => {
                if !std::mem::replace(&mut self.sources[at].heard, true) {
                    self.relay_impossible(now, at);
                }
                let fed = self.sources[at].feed.push_media(arrival, &mut self.timeline, items);
                self.fed(now, arrival, at, fed);
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

    fn fed(&mut self, now: Now, arrival: Now, source: usize, fed: Fed) {
        self.show_probe(arrival, source, &fed.items);
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
