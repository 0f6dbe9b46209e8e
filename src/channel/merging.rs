//! A merged source's paths, and the merge that makes one stream of them.
//!
//! In:    what the paths' transports say.
//! Out:   what a transport would say of the merged stream; what happened to paths, in words.
//! Never: looks into media, or decides whether the source is on air.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Now;
use crate::config::{self, MERGE_PATHS_MAX, MergeInput};
use crate::ingest::IngestEvent;
use crate::media::SourceName;
use crate::merge::{self, Figures, Merge, PATHS_MAX, PathFigures, PathState, SkewClass};
use crate::monitor::{EventKind, LinkStatus, MergeStatus, PathAlarm, PathStatus, Severity};

/// A path on which nothing has come for so long is told as lost: longer than any pause of a sender that is well, and with time to tell it
/// within a second.
const QUIET: Duration = Duration::from_millis(500);

/// When all connections have ended, what waits in the window still comes out; then the source is down. So much later at the latest.
const DRAINED_AFTER: Duration = Duration::from_secs(1);

/// A merge that wants to be asked at once, and has nothing to give, is asked again so much later.
const AGAIN: Duration = Duration::from_millis(5);

const _: () = assert!(MERGE_PATHS_MAX <= PATHS_MAX, "the merge takes as many paths as a config may list");

/// What there is to say.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// What a transport would say of the merged stream.
    Stream(IngestEvent),
    /// An event of the source, or of the path of this name.
    Event(Option<SourceName>, Severity, EventKind, String),
}

/// One path.
#[derive(Debug)]
struct Path {
    name: SourceName,
    transport: &'static str,
    connected: bool,
    peer: Option<String>,
    link: Option<LinkStatus>,
    /// When something last came, or the connection came up.
    heard: Option<Now>,
    /// Something has come on this connection.
    flows: bool,
    /// Nothing comes although it is connected, and this was told.
    quiet: bool,
    /// It takes part, as far as was told.
    takes_part: bool,
    /// Bytes since the last status, and the bit rate they made.
    bytes: u64,
    bitrate: u64,
}

/// A merged source's paths and their merge.
#[derive(Debug)]
pub(super) struct Merging {
    merge: Merge,
    config: merge::Config,
    paths: Vec<Path>,
    /// No time of arrival that the merge was told lies before it.
    newest: Option<Now>,
    /// The channel was told that the source is up.
    up: bool,
    /// When the last of all connections ended.
    ended: Option<Now>,
    /// What merges before this one have counted: a source that ended and came back goes on counting.
    before: Figures,
    said: VecDeque<Said>,
    polled: Option<Now>,
}

impl Merging {
    /// Of the sources that `input` names.
    pub fn new(input: &MergeInput, sources: &[config::Source]) -> Self {
        let path = |name: &SourceName| Path {
            name: name.clone(),
            transport: sources.iter().find(|s| s.id.source == *name).map_or("", |s| s.input.transport()),
            connected: false,
            peer: None,
            link: None,
            heard: None,
            flows: false,
            quiet: false,
            takes_part: false,
            bytes: 0,
            bitrate: 0,
        };
        let config = merge::Config { paths: input.of.len(), window: input.recovery_window };
        Self {
            merge: Merge::new(config),
            config,
            paths: input.of.iter().map(path).collect(),
            newest: None,
            up: false,
            ended: None,
            before: Figures::default(),
            said: VecDeque::new(),
            polled: None,
        }
    }

    /// The place of a path among them.
    pub fn find(&self, name: &SourceName) -> Option<usize> {
        self.paths.iter().position(|path| path.name == *name)
    }

    /// Takes what a path's transport said.
    pub fn take(&mut self, now: Now, at: usize, event: IngestEvent) {
        match event {
            IngestEvent::Up { peer } => {
                self.tell(at, Severity::Info, EventKind::SourceConnected, format!("connected from {peer}"));
                self.connected(now, at);
                self.paths[at].peer = Some(peer);
            }
            IngestEvent::Data { arrival, data, rtp } => {
                self.connected(now, at);
                // Paths share the queue they come by, but not the clock reading: one may be stamped before and queued behind another.
                let arrival = self.newest.filter(|newest| newest.mono > arrival.mono).unwrap_or(arrival);
                self.newest = Some(arrival);
                let path = &mut self.paths[at];
                (path.heard, path.flows) = (Some(now), true);
                path.bytes += data.len() as u64;
                let rtp =
                    rtp.map(|head| merge::Rtp { ssrc: head.ssrc, sequence: head.sequence, timestamp: head.timestamp });
                self.merge.push(at, arrival, rtp, &data);
            }
            IngestEvent::Down { reason } => {
                self.tell(at, Severity::Warning, EventKind::SourceDisconnected, format!("connection ended: {reason}"));
                let path = &mut self.paths[at];
                (path.connected, path.peer, path.link) = (false, None, None);
                // The end was told already.
                (path.quiet, path.takes_part) = (false, false);
                if self.paths.iter().all(|path| !path.connected) {
                    self.ended = Some(now);
                }
            }
            IngestEvent::Refused { peer, reason } => {
                self.tell(at, Severity::Warning, EventKind::SourceRefused, format!("refused {peer}: {reason}"));
            }
            IngestEvent::Link(link) => self.paths[at].link = Some(link),
            // Paths carry transport streams: the config lets nothing else be one.
            IngestEvent::Media { .. } => {}
        }
    }

    /// What there is to say by now, in order.
    pub fn poll(&mut self, now: Now) -> impl Iterator<Item = Said> + use<> {
        self.polled = Some(now);
        let mut portion: Vec<Bytes> = Vec::new();
        let mut arrival = now;
        let mut any_news = false;
        loop {
            let piece = self.merge.pop(now);
            let news: Vec<merge::News> = self.merge.news().collect();
            for news in news {
                any_news = true;
                if matches!(news, merge::News::Moved { .. }) {
                    self.hand_on(arrival, &mut portion);
                }
                self.news(news);
            }
            let Some(piece) = piece else { break };
            // Packets of one datagram are due together; the demux need not be bothered with each.
            if piece.arrival != arrival {
                self.hand_on(arrival, &mut portion);
                arrival = piece.arrival;
            }
            portion.push(piece.data);
        }
        self.hand_on(arrival, &mut portion);
        self.watch(now, any_news);
        self.end_drained(now);
        std::mem::take(&mut self.said).into_iter()
    }

    /// When to poll although nothing arrives.
    pub fn wake_at(&self) -> Option<Now> {
        let asked = |at: Now| self.polled.filter(|polled| at.mono <= polled.mono);
        let merge = self.merge.wake_at().map(|at| asked(at).map_or(at, |polled| polled.after(AGAIN)));
        let waiting = self.paths.iter().filter(|path| path.connected && !path.quiet);
        let quiet = waiting.filter_map(|path| path.heard).map(|heard| heard.after(QUIET));
        let drained = self.ended.filter(|_| self.up).map(|ended| self.drained_at(ended));
        quiet.chain(merge).chain(drained).min_by_key(|at| at.mono)
    }

    /// Once a second: bit rates.
    pub fn tick(&mut self) {
        for path in &mut self.paths {
            path.bitrate = std::mem::take(&mut path.bytes) * 8;
        }
    }

    fn connected(&mut self, now: Now, at: usize) {
        let path = &mut self.paths[at];
        if !path.connected {
            (path.connected, path.flows, path.heard) = (true, false, Some(now));
        }
        self.ended = None;
        if !self.up {
            self.up = true;
            let peer = format!("path {}", path.name);
            self.said.push_back(Said::Stream(IngestEvent::Up { peer }));
        }
    }

    fn hand_on(&mut self, arrival: Now, portion: &mut Vec<Bytes>) {
        let data = match portion.as_mut_slice() {
            [] => return,
            [one] => std::mem::take(one),
            all => all.concat().into(),
        };
        portion.clear();
        self.said.push_back(Said::Stream(IngestEvent::Data { arrival, data, rtp: None }));
    }

    fn news(&mut self, news: merge::News) {
        match news {
            // Told with the path's state, in [`Self::watch`].
            merge::News::Aligned { .. } | merge::News::Unaligned { .. } => {}
            merge::News::NotTheSame { path } => {
                let text = "brings another stream than the other paths: it is not merged, and taken only when they end";
                self.tell(path, Severity::Warning, EventKind::PathDiffers, text.to_owned());
            }
            merge::News::Moved { path } => {
                let name = self.paths[path].name.clone();
                let text = format!("the stream has ended; goes on with what path {name} brings");
                self.said.push_back(Said::Event(None, Severity::Warning, EventKind::MergeMoved, text));
                // Nothing of the old one continues.
                self.said.push_back(Said::Stream(IngestEvent::Up { peer: format!("path {name}") }));
            }
            merge::News::ByContent => {
                let text = "sequence numbers have nothing in common: copies are recognised by content".to_owned();
                self.said.push_back(Said::Event(None, Severity::Info, EventKind::MergeByContent, text));
            }
        }
    }

    /// Tells which paths take part no longer, or again.
    fn watch(&mut self, now: Now, any_news: bool) {
        let mut changed = any_news;
        for at in 0..self.paths.len() {
            let path = &mut self.paths[at];
            let quiet = path.connected && path.heard.is_none_or(|heard| now.since(heard) >= QUIET);
            changed |= quiet != path.quiet || (path.connected && !path.takes_part);
            path.quiet = quiet;
        }
        if !changed {
            return;
        }
        let figures = self.merge.figures(now);
        for at in 0..self.paths.len() {
            let (path, state) = (&mut self.paths[at], figures.paths[at].state);
            let takes_part = path.connected && path.flows && !path.quiet && state == PathState::Merged;
            if takes_part == path.takes_part {
                continue;
            }
            path.takes_part = takes_part;
            if takes_part {
                let skew = figures.paths[at].skew.map_or(0.0, milliseconds);
                let text = format!("takes part, {skew:.1} ms behind the first");
                self.tell(at, Severity::Info, EventKind::PathMerged, text);
            } else {
                let why = if path.quiet { "nothing comes" } else { "its packets are found in the stream no longer" };
                self.tell(at, Severity::Warning, EventKind::PathLost, format!("takes part no longer: {why}"));
            }
        }
    }

    fn drained_at(&self, ended: Now) -> Now {
        ended.after(2 * self.config.window + DRAINED_AFTER)
    }

    /// Where every connection has ended and all that waited is out, the source is down, and what comes next begins anew.
    fn end_drained(&mut self, now: Now) {
        let Some(ended) = self.ended.filter(|_| self.up) else { return };
        if self.merge.wake_at().is_some() && now.mono < self.drained_at(ended).mono {
            return;
        }
        self.before = sum(&self.before, &self.merge.figures(now));
        self.merge = Merge::new(self.config);
        self.up = false;
        self.said.push_back(Said::Stream(IngestEvent::Down { reason: "all of its paths have ended".to_owned() }));
    }

    fn tell(&mut self, at: usize, severity: Severity, kind: EventKind, text: String) {
        self.said.push_back(Said::Event(Some(self.paths[at].name.clone()), severity, kind, text));
    }

    /// Names of the paths that are connected.
    pub fn peer(&self) -> Option<String> {
        let names: Vec<&str> = self.paths.iter().filter(|p| p.connected).map(|p| p.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// How it fares.
    pub fn status(&self, now: Now) -> MergeStatus {
        let here = self.merge.figures(now);
        let all = sum(&self.before, &here);
        let paths = self.paths.iter().zip(&all.paths);
        MergeStatus {
            window_ms: u64::try_from(self.config.window.as_millis()).unwrap_or(u64::MAX),
            by_sequence: here.by_sequence,
            skew_ms: here.skew().map(milliseconds),
            class: here.class().map(letter),
            given: all.given,
            unrecovered: all.unrecovered,
            overflows: all.overflows,
            paths: paths.map(|(path, figures)| path.status(figures)).collect(),
        }
    }
}

impl Path {
    fn status(&self, figures: &PathFigures) -> PathStatus {
        let alarm = match figures.state {
            _ if !self.connected => Some(PathAlarm::Offline),
            _ if self.quiet => Some(PathAlarm::Silent),
            PathState::NotTheSame => Some(PathAlarm::NotTheSame),
            PathState::Merged => None,
            PathState::Silent | PathState::Aligning => Some(PathAlarm::NotFound),
        };
        PathStatus {
            name: self.name.clone(),
            transport: self.transport.to_owned(),
            connected: self.connected,
            peer: self.peer.clone(),
            bitrate: self.bitrate,
            merged: self.takes_part,
            alarm,
            skew_ms: figures.skew.map(milliseconds),
            packets: figures.packets,
            contributed: figures.contributed,
            saved: figures.saved,
            lost: figures.lost,
            late: figures.late,
            duplicates: figures.duplicates,
            unusable: figures.unusable,
            link: self.link.clone(),
        }
    }
}

/// Counters of both; the state of the second.
fn sum(before: &Figures, here: &Figures) -> Figures {
    let path = |(at, here): (usize, &PathFigures)| {
        let before = before.paths.get(at).copied().unwrap_or_default();
        PathFigures {
            packets: before.packets + here.packets,
            contributed: before.contributed + here.contributed,
            saved: before.saved + here.saved,
            lost: before.lost + here.lost,
            late: before.late + here.late,
            duplicates: before.duplicates + here.duplicates,
            unusable: before.unusable + here.unusable,
            ..*here
        }
    };
    Figures {
        by_sequence: here.by_sequence,
        given: before.given + here.given,
        unrecovered: before.unrecovered + here.unrecovered,
        overflows: before.overflows + here.overflows,
        paths: here.paths.iter().enumerate().map(path).collect(),
    }
}

const fn letter(class: SkewClass) -> char {
    match class {
        SkewClass::A => 'A',
        SkewClass::B => 'B',
        SkewClass::C => 'C',
        SkewClass::D => 'D',
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests;
