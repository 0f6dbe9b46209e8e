//! Calls of ours: dialled, and dialled again a second after they failed or ended.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::connection::Connection;
use super::{PEER_IDLE, window_packets};
use crate::clock::Now;
use crate::ingest::srt::ipc::{Feed, FeedIndex, FromGateway};
use crate::ingest::srt::outbox::Outbox;
use crate::srt::epoll::Epoll;
use crate::srt::socket::{Settings, Socket};
use crate::srt::{self, Error, Reject, SocketId};

/// Pause before the next try.
const REDIAL_AFTER: Duration = Duration::from_secs(1);
/// How long a call may go unanswered.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// An unchanged reason is told again after this time.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// Every feed that is called.
pub(super) struct Calls {
    calls: Vec<Dialled>,
    /// Answers of the resolver, which waits in threads of its own: one a call at most.
    resolved: mpsc::Receiver<(FeedIndex, Result<SocketAddr, Error>)>,
    resolver: mpsc::Sender<(FeedIndex, Result<SocketAddr, Error>)>,
}

struct Dialled {
    feed: FeedIndex,
    state: State,
    /// The last failure told of, and when.
    told: Option<(String, Now)>,
}

enum State {
    /// Until then; none: at once.
    Pause(Option<Now>),
    Resolving,
    Ringing {
        socket: Socket,
        to: SocketAddr,
    },
    Up(SocketId),
}

impl Calls {
    pub(super) fn new(feeds: &[Feed]) -> Self {
        let (resolver, resolved) = mpsc::channel();
        let called = feeds.iter().enumerate().filter(|(_, feed)| feed.call.is_some());
        let calls =
            called.map(|(i, _)| Dialled { feed: FeedIndex(i as u16), state: State::Pause(None), told: None }).collect();
        Self { calls, resolved, resolver }
    }

    /// A ringing socket has news. The connection, if it is up.
    pub(super) fn answered(
        &mut self,
        socket: SocketId,
        epoll: &Epoll,
        outbox: &Outbox,
        now: Now,
    ) -> Option<Connection> {
        let call = self
            .calls
            .iter_mut()
            .find(|call| matches!(&call.state, State::Ringing { socket: s, .. } if s.id() == socket))?;
        let State::Ringing { socket, to } = std::mem::replace(&mut call.state, State::Pause(Some(now))) else {
            return None;
        };
        if !socket.connected() {
            let reject = socket.reject_reason().unwrap_or(Reject::TIMEOUT);
            call.failed(to.to_string(), reject.to_string(), reject.0, outbox, now);
            return None;
        }
        if let Err(e) = epoll.watch_reads(&socket) {
            call.failed(to.to_string(), e.to_string(), 0, outbox, now);
            return None;
        }
        call.state = State::Up(socket.id());
        call.told = None;
        Some(Connection::new(call.feed, Duration::ZERO, socket, to, now, outbox))
    }

    /// A connection ended.
    pub(super) fn left(&mut self, socket: SocketId, now: Now) {
        let ended = |call: &&mut Dialled| matches!(call.state, State::Up(s) if s == socket);
        if let Some(call) = self.calls.iter_mut().find(ended) {
            call.state = State::Pause(Some(now.after(REDIAL_AFTER)));
        }
    }

    /// Dials what is due.
    pub(super) fn sweep(&mut self, feeds: &[Feed], epoll: &Epoll, outbox: &Outbox, now: Now) {
        while let Ok((feed, address)) = self.resolved.try_recv() {
            let Some(call) = self.calls.iter_mut().find(|call| call.feed == feed) else { continue };
            let dialled = address.and_then(|to| Ok((dial(&feeds[feed.get()], to, epoll)?, to)));
            match dialled {
                Ok((socket, to)) => call.state = State::Ringing { socket, to },
                Err(e) => {
                    let written = feeds[feed.get()].call.as_ref().map_or("", |call| &call.address);
                    call.failed(written.to_owned(), e.to_string(), 0, outbox, now);
                }
            }
        }
        for call in &mut self.calls {
            let due = matches!(call.state, State::Pause(until) if until.is_none_or(|until| now.mono >= until.mono));
            let Some(spec) = feeds[call.feed.get()].call.as_ref().filter(|_| due) else { continue };
            let (feed, address, answer) = (call.feed, spec.address.clone(), self.resolver.clone());
            let started = thread::Builder::new().name("resolver".into()).spawn(move || {
                // Nobody listens when the gateway ends meanwhile.
                let _ = answer.send((feed, resolve(&address)));
            });
            match started {
                Ok(_) => call.state = State::Resolving,
                Err(e) => call.failed(spec.address.clone(), e.to_string(), 0, outbox, now),
            }
        }
    }
}

impl Dialled {
    fn failed(&mut self, peer: String, reason: String, code: i32, outbox: &Outbox, now: Now) {
        self.state = State::Pause(Some(now.after(REDIAL_AFTER)));
        if self.told.as_ref().is_none_or(|(told, at)| *told != reason || now.since(*at) >= REPEAT_AFTER) {
            self.told = Some((reason.clone(), now));
            outbox.put(FromGateway::Refused { peer, feed: Some(self.feed), reason, code });
        }
    }
}

fn resolve(address: &str) -> Result<SocketAddr, Error> {
    let bad = || Error::Call { call: "resolve", text: format!("`{address}` is not host:port") };
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    srt::resolve(host, port.parse().map_err(|_| bad())?)
}

fn dial(feed: &Feed, to: SocketAddr, epoll: &Epoll) -> Result<Socket, Error> {
    let call = feed.call.as_ref();
    let socket = Socket::new(&Settings {
        latency: Some(feed.latency),
        passphrase: feed.passphrase.as_ref().map(|key| key.0.as_str()),
        key_length: call.filter(|_| feed.passphrase.is_some()).map(|call| call.key_length),
        stream_id: call.and_then(|call| call.stream_id.as_deref()),
        peer_idle: Some(PEER_IDLE),
        connect_timeout: Some(ANSWER_WITHIN),
        window_packets: Some(window_packets(feed.latency)),
        nonblocking: true,
        ..Settings::default()
    })?;
    epoll.watch_answer(&socket)?;
    socket.connect(to)?;
    Ok(socket)
}
