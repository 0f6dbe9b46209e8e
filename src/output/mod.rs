//! Outputs: a channel's transport stream goes on as it came.
//!
//! In:    whole TS packets of the stream that an output carries; a recording takes a source's bytes as they are.
//! Out:   datagrams, messages for SRT readers (which a gateway process sends, see [`exits`]), files; [`Event`]s.
//! Never: changes a packet; makes the channel or another output wait. Each has a bounded queue, of which the oldest is dropped.

pub mod align;
mod archive;
mod cut;
pub mod exits;
mod fec;
mod queue;
mod record;
mod rtp;
mod send;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::config::{self, Way};
use crate::media::OutputName;
use crate::monitor::OutputFigures;

use exits::Exits;
use queue::Queue;

/// Bytes that may wait for a socket: 1.6 s of 20 Mbit/s.
const SOCKET_BYTES_MAX: usize = 4 << 20;
/// Bytes that may wait for the disk: 13 s of 20 Mbit/s.
const DISK_BYTES_MAX: usize = 32 << 20;
/// How often an output that cannot work tries again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How often figures are told.
const FIGURES_EVERY: Duration = Duration::from_secs(1);

/// What an output has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A reader is connected, or our call was answered.
    ReaderUp {
        /// Its address.
        peer: String,
    },
    /// A reader left.
    ReaderDown {
        /// Its address.
        peer: String,
        /// Why, for people.
        reason: String,
    },
    /// A reader was turned away, or turned us away.
    Refused {
        /// Its address.
        peer: String,
        /// Why, for people; no secrets.
        reason: String,
    },
    /// It cannot do its work, and tries again.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// It can again.
    Recovered,
    /// Its figures, once a second.
    Figures(Box<OutputFigures>),
}

/// Where an output's events go. When it is full they are dropped: figures come again.
pub type Sink = mpsc::Sender<(OutputName, Event)>;

/// A running output. It ends when this is dropped.
#[derive(Debug)]
pub struct Line(Kind);

#[derive(Debug)]
enum Kind {
    /// Its task or thread takes from this queue, and says when it is done.
    Queue(Arc<Queue>, oneshot::Receiver<()>),
    Srt(exits::Line),
}

/// Starts an output. Must be called inside a tokio runtime.
pub fn open(output: &config::Output, exits: &Exits, news: Sink) -> Line {
    let name = output.id.output.clone();
    let news = News { name, sink: news };
    let (done, ended) = oneshot::channel();
    match &output.way {
        Way::Srt(srt) => Line(Kind::Srt(exits.open(output.id.clone(), srt.clone(), news.sink))),
        Way::Rtp(rtp) => {
            let queue = Arc::new(Queue::new(SOCKET_BYTES_MAX));
            tokio::spawn(send::run(send::Plan::rtp(rtp), Arc::clone(&queue), news, done));
            Line(Kind::Queue(queue, ended))
        }
        Way::Udp(to) => {
            let queue = Arc::new(Queue::new(SOCKET_BYTES_MAX));
            tokio::spawn(send::run(send::Plan::udp(to), Arc::clone(&queue), news, done));
            Line(Kind::Queue(queue, ended))
        }
        Way::Record(record) => {
            let queue = Arc::new(Queue::new(DISK_BYTES_MAX));
            record::start(&output.id, record.clone(), Arc::clone(&queue), news, done);
            Line(Kind::Queue(queue, ended))
        }
    }
}

impl Line {
    /// Hands on a portion. Never waits.
    pub fn send(&self, data: &Bytes) {
        match &self.0 {
            Kind::Queue(queue, _) => queue.push(data.clone()),
            Kind::Srt(line) => line.send(data),
        }
    }

    /// Ends it; what was handed on before is still sent or written, if that does not take long.
    pub async fn finish(mut self) {
        if let Kind::Queue(queue, ended) = &mut self.0 {
            queue.close();
            let _ = tokio::time::timeout(Duration::from_secs(2), ended).await;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Kind::Queue(queue, _) = &self.0 {
            queue.close();
        }
    }
}

/// What an output tells under its name.
#[derive(Clone, Debug)]
struct News {
    name: OutputName,
    sink: Sink,
}

impl News {
    fn tell(&self, event: Event) {
        let _ = self.sink.try_send((self.name.clone(), event));
    }
}
