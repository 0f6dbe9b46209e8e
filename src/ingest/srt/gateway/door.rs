//! The listening port: libsrt's listener with [`Admission`] at the door.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::{PEER_IDLE, memory, window_packets};
use crate::clock;
use crate::ingest::srt::admission::{Admission, Arrived, Refusal};
use crate::ingest::srt::ipc::{Exit, Feed, FeedIndex, FromGateway, Key, Listen};
use crate::ingest::srt::outbox::Outbox;
use crate::ingest::srt::readership::Readership;
use crate::ingest::srt::stream_id::{self, Intent};
use crate::output::exits::OutputIndex;
use crate::srt::epoll::Epoll;
use crate::srt::socket::{self, Caller, Settings, Socket};
use crate::srt::{Error, Reject, SocketId};

/// The same refusal of the same host is told once in this time.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// So many refusals are told in that time; the rest is only counted.
const REFUSALS_MAX: usize = 50;

/// Callers whose handshake is through and who wait for us, beyond one a feed. A reader more has to try again.
const READERS_WAIT_MAX: usize = 64;

/// A caller whose handshake is through.
pub(super) enum Guest {
    Publisher(Arrived),
    Reader(OutputIndex),
}

pub(super) struct Door {
    listener: Socket,
    keeper: Arc<Keeper>,
    /// Whether a feed asks for a passphrase: libsrt does not say why it refused a caller.
    keyed: Vec<bool>,
}

/// Shared with libsrt's receiving thread, which asks before it lets anybody in.
struct Keeper {
    shared: bool,
    /// The port belongs to the only feed; else, if it is not shared, to the only output.
    has_feeds: bool,
    admission: Mutex<Admission>,
    readership: Mutex<Readership>,
    refusals: Mutex<Refusals>,
    refused: AtomicU64,
    outbox: Arc<Outbox>,
}

impl Door {
    pub(super) fn open(listen: Listen, feeds: &[Feed], epoll: &Epoll, outbox: Arc<Outbox>) -> Result<Self, Error> {
        // Outputs may come later; a second is more than most ask for.
        let latency = feeds.iter().map(|feed| feed.latency).max().unwrap_or(Duration::from_secs(1));
        let listener = Socket::new(&Settings {
            peer_idle: Some(PEER_IDLE),
            window_packets: Some(window_packets(latency)),
            nonblocking: true,
            ..Settings::default()
        })?;
        listener.bind(listen.address)?;
        let keeper = Arc::new(Keeper {
            shared: listen.shared,
            has_feeds: !feeds.is_empty(),
            readership: Mutex::default(),
            admission: Mutex::new(Admission::new(listen, feeds)),
            refusals: Mutex::default(),
            refused: AtomicU64::new(0),
            outbox,
        });
        let asked = keeper.clone();
        listener.listen(feeds.len() + READERS_WAIT_MAX, move |caller| asked.ask(caller))?;
        epoll.watch_reads(&listener)?;
        Ok(Self { listener, keeper, keyed: feeds.iter().map(|feed| feed.passphrase.is_some()).collect() })
    }

    pub(super) fn is(&self, socket: SocketId) -> bool {
        self.listener.id() == socket
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.listener.local().map(|address| address.port())
    }

    /// Callers turned away so far.
    pub(super) fn refused(&self) -> u64 {
        self.keeper.refused.load(Ordering::Relaxed)
    }

    /// The caller whose handshake is through, when the listener is known to be readable. One at a time: libsrt writes a line to
    /// its log, as fatal, whenever it is asked for a caller and has none. If more wait, the epoll says so again.
    pub(super) fn caller(&mut self) -> Option<(Guest, Socket, SocketAddr)> {
        let (socket, peer) = match self.listener.accept() {
            Ok(caller) => caller?,
            Err(e) => {
                // One caller's trouble: it was gone before we got to it.
                warn!("accepting: {e}");
                return None;
            }
        };
        if let Some(output) = self.keeper.readership().arrived(socket.id()) {
            return Some((Guest::Reader(output), socket, peer));
        }
        let arrived = self.keeper.admission().arrived(socket.id(), peer)?;
        Some((Guest::Publisher(arrived), socket, peer))
    }

    /// One more output that may be read here.
    pub(super) fn add(&mut self, exit: Exit) {
        self.keeper.readership().add(exit);
    }

    /// One less.
    pub(super) fn remove(&mut self, output: OutputIndex) {
        self.keeper.readership().remove(output);
    }

    /// Which of the open connections are silent: those a newcomer may replace.
    pub(super) fn note_silence(&mut self, connections: impl Iterator<Item = (SocketId, bool)>) {
        let mut admission = self.keeper.admission();
        connections.for_each(|(socket, silent)| admission.note_silence(socket, silent));
    }

    /// A connection is closed: its place is free.
    pub(super) fn left(&mut self, socket: SocketId) {
        self.keeper.admission().left(socket);
        self.keeper.readership().left(socket);
    }

    /// Frees the places of those whose handshake failed, and tells of them; closes the door while the box is crowded.
    pub(super) fn sweep(&mut self, outbox: &Outbox) {
        let failed = {
            let mut admission = self.keeper.admission();
            admission.set_overloaded(outbox.crowded());
            admission.failed(socket::may_come)
        };
        for caller in failed {
            let (likely, reason) = failed_handshake(self.keyed[caller.feed.get()]);
            let code = socket::reject_reason(caller.socket).unwrap_or(likely);
            self.keeper.refuse(caller.peer, Subject::Feed(caller.feed), code, reason.into());
        }
        let fallen = self.keeper.readership().failed(socket::may_come);
        for reader in fallen {
            let (likely, reason) = failed_handshake(reader.keyed);
            let code = socket::reject_reason(reader.socket).unwrap_or(likely);
            self.keeper.refuse(reader.peer, Subject::Output(reader.output), code, reason.into());
        }
    }
}

fn failed_handshake(keyed: bool) -> (Reject, &'static str) {
    if keyed {
        (Reject::BAD_SECRET, "the handshake failed: a wrong passphrase, or none")
    } else {
        (Reject::UNSECURE, "the handshake failed: a passphrase where none is set, or a broken publisher")
    }
}

/// What a caller that is turned away wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Unknown,
    Feed(FeedIndex),
    Output(OutputIndex),
}

impl Keeper {
    fn admission(&self) -> MutexGuard<'_, Admission> {
        // Every change of a place is one assignment.
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readership(&self) -> MutexGuard<'_, Readership> {
        self.readership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, caller: &Caller<'_>) -> Result<(), Reject> {
        if let Some(output) = self.wanted_output(caller.stream_id) {
            return self.ask_to_read(caller, output);
        }
        let answer = self.admission().ask(caller.stream_id, caller.id(), caller.peer, socket::may_come);
        let grant = answer.map_err(|Refusal { feed, code, reason }| {
            let subject = feed.map_or(Subject::Unknown, Subject::Feed);
            self.refuse(caller.peer, subject, code, reason)
        })?;
        self.set_up(caller, grant.passphrase, caller.set_latency(grant.latency), Subject::Feed(grant.feed))
    }

    /// The output that a caller wants to read; none where it wants to publish, or names nothing that can be read.
    fn wanted_output(&self, stream_id: &[u8]) -> Option<OutputIndex> {
        let wish = stream_id::wish(stream_id).ok();
        let publishes = wish.as_ref().is_some_and(|wish| wish.intent == Intent::Publish);
        if !self.shared {
            return self.readership().only().filter(|_| !self.has_feeds && !publishes);
        }
        // Where nothing is said, an output is meant if it has that name: no source of this port has it then.
        self.readership().find(&wish.filter(|_| !publishes)?.output()?)
    }

    fn ask_to_read(&self, caller: &Caller<'_>, output: OutputIndex) -> Result<(), Reject> {
        let answer = self.readership().ask(output, caller.id(), caller.peer);
        let subject = Subject::Output(output);
        let grant = answer.map_err(|(code, reason)| self.refuse(caller.peer, subject, code, reason))?;
        self.set_up(caller, grant.passphrase, caller.set_reader_latency(grant.latency), subject)
    }

    fn set_up(
        &self,
        caller: &Caller<'_>,
        passphrase: Option<Key>,
        latency: Result<(), Error>,
        subject: Subject,
    ) -> Result<(), Reject> {
        let set = latency.and_then(|()| passphrase.map_or(Ok(()), |key| caller.set_passphrase(&key.0)));
        let fault = match set {
            Ok(()) if memory::is_short() => {
                (Reject::OVERLOAD, "there is no memory for another connection: raise srt.memory_max".to_owned())
            }
            Ok(()) => return Ok(()),
            Err(e) => (Reject::INTERNAL, format!("it cannot be set up: {e}")),
        };
        self.admission().left(caller.id());
        self.readership().left(caller.id());
        Err(self.refuse(caller.peer, subject, fault.0, fault.1))
    }

    /// Counts and tells of a refusal; returns its code.
    fn refuse(&self, peer: Option<SocketAddr>, subject: Subject, code: Reject, reason: String) -> Reject {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.worth_telling((peer.map(|peer| peer.ip()), subject, code), clock::now().mono) {
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
            self.outbox.put(match subject {
                Subject::Unknown => FromGateway::Refused { peer, feed: None, reason, code: code.0 },
                Subject::Feed(feed) => FromGateway::Refused { peer, feed: Some(feed), reason, code: code.0 },
                Subject::Output(output) => FromGateway::ReaderRefused { output, peer, reason, code: code.0 },
            });
        }
        code
    }
}

/// Who was refused, which, and why.
type Case = (Option<IpAddr>, Subject, Reject);

/// Refusals told of lately. A caller tries again and again, and a flood of them is one piece of news.
#[derive(Debug, Default)]
struct Refusals {
    told: HashMap<Case, Instant>,
}

impl Refusals {
    fn worth_telling(&mut self, case: Case, now: Instant) -> bool {
        self.told.retain(|_, at| now.saturating_duration_since(*at) < REPEAT_AFTER);
        let new = self.told.len() < REFUSALS_MAX && !self.told.contains_key(&case);
        if new {
            self.told.insert(case, now);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_refusals_are_told_once_a_second_and_floods_are_bounded() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        let case = |host: u8, code| (Some(IpAddr::from([192, 0, 2, host])), Subject::Unknown, code);
        assert!(refusals.worth_telling(case(1, Reject::NOT_FOUND), now));
        assert!(!refusals.worth_telling(case(1, Reject::NOT_FOUND), now));
        assert!(refusals.worth_telling(case(1, Reject::CONFLICT), now), "another reason");
        assert!(refusals.worth_telling(case(2, Reject::NOT_FOUND), now), "another host");
        let told = (3..=255).filter(|&host| refusals.worth_telling(case(host, Reject::NOT_FOUND), now)).count();
        assert_eq!(told, REFUSALS_MAX - 3);
        assert!(refusals.worth_telling(case(1, Reject::NOT_FOUND), now + REPEAT_AFTER));
    }
}
