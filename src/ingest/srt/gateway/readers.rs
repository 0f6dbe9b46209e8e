//! The readers of outputs: connections over which media goes out.
//!
//! Media is handed over in the thread that hears the main process, at once; connections come and go in the gateway's own. A
//! reader that takes nothing has a queue of its own, of which the oldest is dropped; libsrt for its part drops what comes too late
//! for the latency agreed on.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::ingest::srt::ipc::FromGateway;
use crate::ingest::srt::outbox::Outbox;
use crate::monitor::{OutputFigures, ReaderStatus};
use crate::output::exits::OutputIndex;
use crate::srt::socket::{Socket, TS_MESSAGE_BYTES};
use crate::srt::{Error, SocketId};

/// Bytes that may wait for one reader, beside libsrt's own buffer.
const QUEUE_BYTES_MAX: usize = 4 << 20;
const TS_PACKET: u64 = 188;

/// Shared by the two threads; held for the time of a few calls.
#[derive(Clone, Default)]
pub(super) struct Readers(Arc<Mutex<BTreeMap<OutputIndex, Group>>>);

/// The readers of one output.
#[derive(Default)]
struct Group {
    readers: Vec<Reader>,
    /// Of those that left.
    gone: OutputFigures,
}

struct Reader {
    socket: Socket,
    peer: SocketAddr,
    queue: VecDeque<Bytes>,
    queued: usize,
    dropped_bytes: u64,
    bytes: u64,
    messages: u64,
    broken: bool,
}

impl Readers {
    /// A connection that is up.
    pub(super) fn add(&self, output: OutputIndex, socket: Socket, peer: SocketAddr, outbox: &Outbox) {
        outbox.put(FromGateway::ReaderUp { output, peer: peer.to_string() });
        let reader = Reader {
            socket,
            peer,
            queue: VecDeque::new(),
            queued: 0,
            dropped_bytes: 0,
            bytes: 0,
            messages: 0,
            broken: false,
        };
        self.lock().entry(output).or_default().readers.push(reader);
    }

    /// Hands media to all readers of an output.
    pub(super) fn send(&self, output: OutputIndex, mut data: Bytes) {
        let mut groups = self.lock();
        let Some(group) = groups.get_mut(&output) else { return };
        while !data.is_empty() {
            let message = data.split_to(TS_MESSAGE_BYTES.min(data.len()));
            group.readers.iter_mut().for_each(|reader| reader.send(&message));
        }
    }

    /// Tries again what found no room, and lets go of connections that are over: their sockets.
    pub(super) fn sweep(&self, outbox: &Outbox) -> Vec<SocketId> {
        let mut over = Vec::new();
        for (&output, group) in self.lock().iter_mut() {
            let Group { readers, gone } = group;
            readers.retain_mut(|reader| {
                reader.flush();
                if !reader.broken && reader.socket.connected() {
                    return true;
                }
                over.push(reader.socket.id());
                reader.leave(gone);
                let (peer, reason) = (reader.peer.to_string(), "the connection ended".to_owned());
                outbox.put(FromGateway::ReaderDown { output, peer, reason });
                false
            });
        }
        over
    }

    /// The output is gone, and with it its readers: their sockets.
    pub(super) fn remove(&self, output: OutputIndex) -> Vec<SocketId> {
        let group = self.lock().remove(&output);
        group.into_iter().flat_map(|group| group.readers).map(|reader| reader.socket.id()).collect()
    }

    /// Says how each output fares.
    pub(super) fn tell_figures(&self, outbox: &Outbox) {
        for (&output, group) in self.lock().iter() {
            let mut figures = group.gone.clone();
            for reader in &group.readers {
                figures.bytes += reader.bytes;
                figures.packets += reader.messages;
                let status = reader.status();
                figures.dropped += status.dropped;
                figures.readers.push(status);
            }
            outbox.put(FromGateway::Readers { output, figures });
        }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().values().map(|group| group.readers.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OutputIndex, Group>> {
        // A message more or less on a connection is all that a panic could leave behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn send(&mut self, message: &Bytes) {
        self.flush();
        if self.broken || (self.queue.is_empty() && self.sent(message)) {
            return;
        }
        self.queued += message.len();
        self.queue.push_back(message.clone());
        while self.queued > QUEUE_BYTES_MAX {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.queued -= oldest.len();
            self.dropped_bytes += oldest.len() as u64;
        }
    }

    fn flush(&mut self) {
        while let Some(message) = self.queue.pop_front() {
            if self.broken || !self.sent(&message) {
                self.queue.push_front(message);
                return;
            }
            self.queued -= message.len();
        }
    }

    /// False where libsrt has no room, or the connection is over.
    fn sent(&mut self, message: &[u8]) -> bool {
        match self.socket.send(message) {
            Ok(()) => {
                self.bytes += message.len() as u64;
                self.messages += 1;
                true
            }
            Err(Error::TimedOut) => false,
            Err(_) => {
                self.broken = true;
                false
            }
        }
    }

    fn status(&self) -> ReaderStatus {
        let stats = self.socket.stats().unwrap_or_default();
        ReaderStatus {
            peer: self.peer.to_string(),
            bytes: self.bytes,
            // libsrt counts messages, of seven packets.
            dropped: self.dropped_bytes / TS_PACKET + stats.send_dropped * 7,
            rtt_ms: stats.rtt_ms,
            lost: stats.send_lost,
            retransmitted: stats.resent,
        }
    }

    fn leave(&self, gone: &mut OutputFigures) {
        gone.bytes += self.bytes;
        gone.packets += self.messages;
        gone.dropped += self.status().dropped;
    }
}
