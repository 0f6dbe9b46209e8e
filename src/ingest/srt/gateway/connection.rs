//! One connection that is up, called or calling: from libsrt's buffer to the outbox.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;

use super::PEER_IDLE;
use crate::clock::Now;
use crate::ingest::srt::ipc::{FeedIndex, FromGateway};
use crate::ingest::srt::outbox::Outbox;
use crate::srt::SocketId;
use crate::srt::socket::{MESSAGE_BYTES_MAX, Socket};

/// A connection that sends nothing for so long after it came up only keeps others out.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(5);
/// A connection over which nothing came for so long may be replaced by a newer one from the same address.
const SILENT_AFTER: Duration = Duration::from_millis(300);
/// A portion is handed on before it grows beyond this.
const PORTION_BYTES_MAX: usize = 64 << 10;
/// How much later than its latency a packet may become due.
const DUE_MARGIN: Duration = Duration::from_millis(20);

pub(super) struct Connection {
    feed: FeedIndex,
    socket: Socket,
    /// Negotiated: how long packets wait in libsrt's buffer.
    latency: Duration,
    since: Now,
    last_packet: Option<Now>,
    /// When it was found broken. Packets in the buffer still become due.
    broken: Option<Now>,
    portion: BytesMut,
    /// When the first byte of the portion was read, UTC.
    arrival: Duration,
}

/// How a connection is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// To be dropped; why, for people.
    Over(String),
}

impl Connection {
    /// Takes over a connected socket and says so. `latency`: ours; libsrt knows what was agreed on.
    pub(super) fn new(
        feed: FeedIndex,
        latency: Duration,
        socket: Socket,
        peer: SocketAddr,
        now: Now,
        outbox: &Outbox,
    ) -> Self {
        outbox.put(FromGateway::Up { feed, peer: peer.to_string() });
        let agreed = socket.stats().map(|stats| Duration::from_millis(stats.receive_latency_ms.into()));
        Self {
            feed,
            socket,
            latency: agreed.unwrap_or(latency),
            since: now,
            last_packet: None,
            broken: None,
            portion: BytesMut::new(),
            arrival: Duration::ZERO,
        }
    }

    pub(super) fn id(&self) -> SocketId {
        self.socket.id()
    }

    pub(super) fn feed(&self) -> FeedIndex {
        self.feed
    }

    pub(super) fn local_port(&self) -> Option<u16> {
        self.socket.local().map(|address| address.port())
    }

    /// Reads all that is due.
    pub(super) fn read(&mut self, now: Now, outbox: &Outbox) {
        loop {
            if self.portion.len() + MESSAGE_BYTES_MAX > PORTION_BYTES_MAX {
                self.flush(outbox);
            }
            let filled = self.portion.len();
            if filled == 0 {
                self.arrival = now.utc;
                self.portion.reserve(PORTION_BYTES_MAX / 4);
            }
            self.portion.resize(filled + MESSAGE_BYTES_MAX, 0);
            let got = self.socket.receive(&mut self.portion[filled..]);
            self.portion.truncate(filled + got.as_ref().map_or(0, |length| length.unwrap_or(0)));
            match got {
                Ok(Some(_)) => self.last_packet = Some(now),
                Ok(None) => return,
                // The connection ended; libsrt has no other error for reading one, and any would be the end of it, too.
                Err(_) => {
                    self.broken.get_or_insert(now);
                    return;
                }
            }
        }
    }

    /// Hands on what was read.
    pub(super) fn flush(&mut self, outbox: &Outbox) {
        if !self.portion.is_empty() {
            let data = self.portion.split().freeze();
            outbox.put(FromGateway::Data { feed: self.feed, arrival: self.arrival, data });
        }
    }

    /// Says how the link fares.
    pub(super) fn tell_figures(&self, outbox: &Outbox) {
        if let Some(stats) = self.socket.stats() {
            outbox.put(FromGateway::Link { feed: self.feed, link: stats.link() });
        }
    }

    /// A publisher that is there sends a packet every few milliseconds: PCR alone is due ten times a second (ISO/IEC 13818-1
    /// §2.7.2).
    pub(super) fn is_silent(&self, now: Now) -> bool {
        match self.last_packet {
            Some(at) => now.since(at) >= SILENT_AFTER,
            // The first packet is held back for the latency.
            None => now.since(self.since) >= SILENT_AFTER + self.latency,
        }
    }

    pub(super) fn state(&self, now: Now) -> State {
        if let Some(broken) = self.broken {
            if now.since(broken) < self.latency + DUE_MARGIN {
                return State::Open;
            }
            let silent = broken.since(self.last_packet.unwrap_or(self.since));
            return State::Over(if silent < PEER_IDLE {
                "closed by the other side".into()
            } else {
                format!("no sign of life for {} s", PEER_IDLE.as_secs())
            });
        }
        if self.last_packet.is_none() && now.since(self.since) > FIRST_BYTE_WITHIN + self.latency {
            return State::Over(format!("sent nothing for {} s", FIRST_BYTE_WITHIN.as_secs()));
        }
        State::Open
    }
}
