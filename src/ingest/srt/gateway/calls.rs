//! Calls of ours: dialled, and dialled again a second after they failed or ended. In a rendezvous the other side dials, too.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{PEER_IDLE, window_packets};
use crate::clock::Now;
use crate::ingest::srt::ipc::{Call, Exit, Feed, FeedIndex, FromGateway, Key};
use crate::ingest::srt::outbox::Outbox;
use crate::output::exits::OutputIndex;
use crate::srt::epoll::Epoll;
use crate::srt::socket::{Settings, Socket};
use crate::srt::{self, Error, Reject, SocketId};

/// Pause before the next try.
const REDIAL_AFTER: Duration = Duration::from_secs(1);
/// How long a call may go unanswered.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long the other side may stay away from a rendezvous before that is told of, and we begin anew. It repeats its call four
/// times a second, but one that meets two calls of ours may need some more of them.
const MEET_WITHIN: Duration = Duration::from_secs(10);
/// libsrt waits so many times SRTO_CONNTIMEO in a rendezvous.
const RENDEZVOUS_PATIENCE: u32 = 10;
/// An unchanged reason is told again after this time.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// Whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Feed(FeedIndex),
    Exit(OutputIndex),
}

/// Every call of ours.
pub(super) struct Calls {
    calls: Vec<Dialled>,
    /// Answers of the resolver, which waits in threads of its own: one a call at most.
    resolved: mpsc::Receiver<(For, Result<SocketAddr, Error>)>,
    resolver: mpsc::Sender<(For, Result<SocketAddr, Error>)>,
}

/// Who is called, and how.
struct Spec {
    call: Call,
    passphrase: Option<Key>,
    latency: Duration,
}

struct Dialled {
    whose: For,
    spec: Spec,
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
        let mut all = Self { calls: Vec::new(), resolved, resolver };
        for (index, feed) in feeds.iter().enumerate() {
            let Some(call) = &feed.call else { continue };
            let spec = Spec { call: call.clone(), passphrase: feed.passphrase.clone(), latency: feed.latency };
            all.begin(For::Feed(FeedIndex(index as u16)), spec);
        }
        all
    }

    /// Calls for an output from now on, if it is one that calls.
    pub(super) fn add(&mut self, exit: &Exit) {
        let Some(call) = &exit.call else { return };
        let spec = Spec { call: call.clone(), passphrase: exit.passphrase.clone(), latency: exit.latency };
        self.begin(For::Exit(exit.index), spec);
    }

    fn begin(&mut self, whose: For, spec: Spec) {
        self.calls.push(Dialled { whose, spec, state: State::Pause(None), told: None });
    }

    /// Does not call for this output any more.
    pub(super) fn remove(&mut self, output: OutputIndex) {
        self.calls.retain(|call| call.whose != For::Exit(output));
    }

    /// A ringing socket has news. The connection, if it is up.
    pub(super) fn answered(
        &mut self,
        socket: SocketId,
        epoll: &Epoll,
        outbox: &Outbox,
        now: Now,
    ) -> Option<(For, Socket, SocketAddr)> {
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
        let watched = match call.whose {
            For::Feed(_) => epoll.watch_reads(&socket),
            // It only sends; its end is asked for in each round.
            For::Exit(_) => epoll.watch_end(&socket),
        };
        if let Err(e) = watched {
            call.failed(to.to_string(), e.to_string(), 0, outbox, now);
            return None;
        }
        call.state = State::Up(socket.id());
        call.told = None;
        Some((call.whose, socket, to))
    }

    /// A connection ended.
    pub(super) fn left(&mut self, socket: SocketId, now: Now) {
        let ended = |call: &&mut Dialled| matches!(call.state, State::Up(s) if s == socket);
        if let Some(call) = self.calls.iter_mut().find(ended) {
            call.state = State::Pause(Some(now.after(REDIAL_AFTER)));
        }
    }

    /// Dials what is due.
    pub(super) fn sweep(&mut self, epoll: &Epoll, outbox: &Outbox, now: Now) {
        while let Ok((whose, address)) = self.resolved.try_recv() {
            let Some(call) = self.calls.iter_mut().find(|call| call.whose == whose) else { continue };
            let dialled = address.and_then(|to| Ok((dial(&call.spec, to, epoll)?, to)));
            match dialled {
                Ok((socket, to)) => call.state = State::Ringing { socket, to },
                Err(e) => call.failed(call.spec.call.address.clone(), e.to_string(), 0, outbox, now),
            }
        }
        for call in &mut self.calls {
            let due = matches!(call.state, State::Pause(until) if until.is_none_or(|until| now.mono >= until.mono));
            if !due {
                continue;
            }
            let (whose, wanted, answer) = (call.whose, call.spec.call.clone(), self.resolver.clone());
            let started = thread::Builder::new().name("resolver".into()).spawn(move || {
                // Nobody listens when the gateway ends meanwhile.
                let _ = answer.send((whose, resolve(&wanted)));
            });
            match started {
                Ok(_) => call.state = State::Resolving,
                Err(e) => call.failed(call.spec.call.address.clone(), e.to_string(), 0, outbox, now),
            }
        }
    }
}

impl Dialled {
    fn failed(&mut self, peer: String, reason: String, code: i32, outbox: &Outbox, now: Now) {
        self.state = State::Pause(Some(now.after(REDIAL_AFTER)));
        if self.told.as_ref().is_none_or(|(told, at)| *told != reason || now.since(*at) >= REPEAT_AFTER) {
            self.told = Some((reason.clone(), now));
            outbox.put(match self.whose {
                For::Feed(feed) => FromGateway::Refused { peer, feed: Some(feed), reason, code },
                For::Exit(output) => FromGateway::ReaderRefused { output, peer, reason, code },
            });
        }
    }
}

fn resolve(call: &Call) -> Result<SocketAddr, Error> {
    let address = &call.address;
    let bad = || Error::Call { call: "resolve", text: format!("`{address}` is not host:port") };
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| bad())?;
    match call.from {
        // Both ends of a rendezvous are of one kind.
        Some(from) => srt::resolve_like(host, port, from),
        None => srt::resolve(host, port),
    }
}

fn dial(spec: &Spec, to: SocketAddr, epoll: &Epoll) -> Result<Socket, Error> {
    let rendezvous = spec.call.from.is_some();
    let socket = Socket::new(&Settings {
        latency: Some(spec.latency),
        passphrase: spec.passphrase.as_ref().map(|key| key.0.as_str()),
        key_length: spec.passphrase.as_ref().and(spec.call.key_length),
        stream_id: spec.call.stream_id.as_deref(),
        peer_idle: Some(PEER_IDLE),
        connect_timeout: Some(if rendezvous { MEET_WITHIN / RENDEZVOUS_PATIENCE } else { ANSWER_WITHIN }),
        window_packets: Some(window_packets(spec.latency)),
        rendezvous,
        nonblocking: true,
        ..Settings::default()
    })?;
    if let Some(from) = spec.call.from {
        socket.bind(from)?;
    }
    epoll.watch_answer(&socket)?;
    socket.connect(to)?;
    Ok(socket)
}
