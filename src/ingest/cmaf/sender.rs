//! What this host's encode processes make goes to other hosts: a [`Publisher`] a pipeline, a connection a rendition and destination.
//!
//! In:    what pipelines made.
//! Out:   pieces to the connections' tasks; how each destination fares.
//! Never: waits for a destination.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};

use super::aside::{Aside, HOST_TRACK};
use super::client::{self, Destination, Line, LineFigures, PIECES};
use super::publish::{Piece, Publisher};
use crate::channel::{Made, Onward};
use crate::config;
use crate::media::PipelineId;
use crate::monitor::PublishingStatus;

/// One connection.
#[derive(Debug)]
struct Way {
    line: Line,
    figures: watch::Receiver<LineFigures>,
}

/// What goes on of one pipeline.
#[derive(Debug)]
struct Stream {
    publisher: Publisher,
    /// Of each destination, in the config's order, those of the renditions in theirs.
    ways: Vec<Vec<Way>>,
}

/// Publishes a channel's pipelines. Dropped, it ends the streams.
#[derive(Debug)]
pub struct Sender {
    /// Where each pipeline goes.
    to: BTreeMap<PipelineId, Vec<config::Publish>>,
    streams: BTreeMap<PipelineId, Stream>,
    /// What this host says of itself goes to each destination beside its renditions, and before them.
    words: BTreeMap<PipelineId, Vec<Line>>,
}

impl Sender {
    /// For a channel some of whose pipelines other hosts get; `None` for any other.
    pub fn new(channel: &config::Channel) -> Option<Self> {
        let to = channel.pipelines.iter().filter(|pipeline| !pipeline.publish.is_empty());
        let to: BTreeMap<_, _> = to.map(|pipeline| (pipeline.id, pipeline.publish.clone())).collect();
        (!to.is_empty()).then_some(Self { to, streams: BTreeMap::new(), words: BTreeMap::new() })
    }

    fn begin(&mut self, from: PipelineId, config: &crate::package::Config) {
        let publisher = Publisher::new(config);
        let destinations = self.to.get(&from).map(Vec::as_slice).unwrap_or_default();
        let ways = destinations.iter().map(|to| ways(to, &publisher)).collect();
        self.streams.insert(from, Stream { publisher, ways });
    }
}

/// Takes what this host says of itself. How it fares is not told: who does not take it is no Tandem.
fn host_line(to: &config::Publish) -> Option<Line> {
    let destination = Destination::new(&to.to, HOST_TRACK, to.key.clone()).ok()?;
    let (pieces, taken) = mpsc::channel(PIECES);
    tokio::spawn(client::run(destination, taken, watch::channel(LineFigures::default()).0));
    Some(Line::new(pieces))
}

fn ways(to: &config::Publish, publisher: &Publisher) -> Vec<Way> {
    let way = |name: &crate::media::RenditionId| {
        let destination = Destination::new(&to.to, name.as_str(), to.key.clone());
        let destination = destination.inspect_err(|error| tracing::error!(%error, "the config let it pass")).ok()?;
        let (pieces, taken) = mpsc::channel(PIECES);
        let (counts, figures) = watch::channel(LineFigures::default());
        tokio::spawn(client::run(destination, taken, counts));
        Some(Way { line: Line::new(pieces), figures })
    };
    publisher.names().iter().filter_map(way).collect()
}

impl Stream {
    fn give(&mut self, rendition: usize, pieces: &[Piece]) {
        for way in self.ways.iter_mut().filter_map(|ways| ways.get_mut(rendition)) {
            pieces.iter().for_each(|piece| way.line.give(piece.clone()));
        }
    }
}

impl Onward for Sender {
    fn take(&mut self, from: PipelineId, made: Made) {
        if let Made::Begins(config) = &made {
            return self.begin(from, config);
        }
        if let Made::Word(word) = made {
            // A new connection begins with the newest one.
            let word = Piece::Header(Aside::Host(word).write().into());
            let to = self.to.get(&from).map(Vec::as_slice).unwrap_or_default();
            let lines = self.words.entry(from).or_insert_with(|| to.iter().filter_map(host_line).collect());
            return lines.iter_mut().for_each(|line| line.give(word.clone()));
        }
        let Some(stream) = self.streams.get_mut(&from) else { return };
        let (rendition, pieces) = match made {
            Made::Coded(unit) => (usize::from(unit.rendition.0), stream.publisher.coded(&unit)),
            Made::SegmentEnd(end) => (usize::from(end.rendition.0), stream.publisher.segment_end(end)),
            Made::Gone => return stream.publisher.encoder_gone(),
            Made::Begins(_) | Made::Word(_) => return,
        };
        match pieces {
            Ok(pieces) => stream.give(rendition, &pieces),
            // Our own packager refuses it, too, and tells.
            Err(error) => tracing::debug!(pipeline = %from, %error, "a segment is not published"),
        }
    }

    fn status(&self, from: PipelineId) -> Vec<PublishingStatus> {
        let destinations = self.to.get(&from).map(Vec::as_slice).unwrap_or_default();
        let stream = self.streams.get(&from);
        let status = |(n, to): (usize, &config::Publish)| {
            let ways = stream.and_then(|stream| stream.ways.get(n)).map(Vec::as_slice).unwrap_or_default();
            status(&to.to, ways)
        };
        destinations.iter().enumerate().map(status).collect()
    }
}

fn status(to: &str, ways: &[Way]) -> PublishingStatus {
    let mut all = PublishingStatus { to: to.to_owned(), connected: !ways.is_empty(), ..PublishingStatus::default() };
    for way in ways {
        let figures = way.figures.borrow();
        all.connected &= figures.connected;
        all.bytes += figures.bytes;
        all.connections += figures.connections;
        all.lost += figures.lost + way.line.spoiled();
        if !figures.connected && all.trouble.is_none() {
            all.trouble.clone_from(&figures.ended);
        }
    }
    all
}
