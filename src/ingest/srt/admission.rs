//! Who may publish what: decides on each caller while its handshake is under way.
//!
//! In:    stream ids of callers; the fate of those let in.
//! Out:   a grant with the feed's key and latency, or a refusal with SRT's code.
//! Never: calls libsrt; waits. It runs in libsrt's receiving thread, which serves every connection of the port.
//!
//! A feed has one place. It is held from the grant on, so that of two callers at once one is refused; a caller whose
//! handshake fails later (libsrt checks the key itself) gives it back.
//!
//! A publisher that was killed holds its place until libsrt notices, seconds later, and by then it has been started anew. So a
//! newcomer may replace a connection that has fallen silent, if it comes from the same address and its handshake (with the key)
//! is through. A connection that carries media is never replaced, and none is from another address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::ipc::{Feed, FeedIndex, Key, Listen};
use super::stream_id;
use crate::media::SourceId;
use crate::srt::{Reject, SocketId};

/// Failed handshakes remembered between two sweeps, which are milliseconds apart.
const FAILED_MAX: usize = 64;

/// What a caller let in must live with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its feed.
    pub feed: FeedIndex,
    /// The key it must have; none: it must not have one.
    pub passphrase: Option<Key>,
    /// Our receiver's latency.
    pub latency: Duration,
}

/// A caller not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The feed it wanted, where there is one.
    pub feed: Option<FeedIndex>,
    /// SRT's code.
    pub code: Reject,
    /// For people: what it asked for and why not. Bounded, printable.
    pub reason: String,
}

/// A caller let in whose handshake failed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The feed it was let in for.
    pub feed: FeedIndex,
    /// Its socket.
    pub socket: SocketId,
    /// Its address.
    pub peer: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    /// Granted; the handshake is not through yet.
    Granted {
        socket: SocketId,
        peer: Option<SocketAddr>,
    },
    /// Its connection is open.
    Taken {
        socket: SocketId,
        peer: SocketAddr,
        /// Nothing comes over it any more.
        silent: bool,
        /// Granted the place if it is silent still when the handshake is through.
        successor: Option<SocketId>,
    },
}

/// A caller whose handshake is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its feed.
    pub feed: FeedIndex,
    /// The silent connection it replaces.
    pub replaces: Option<SocketId>,
}

/// The places of one listening port.
#[derive(Debug)]
pub struct Admission {
    feeds: Vec<Feed>,
    places: Vec<Place>,
    /// By stream id; none: the port belongs to the only feed.
    names: Option<HashMap<SourceId, FeedIndex>>,
    overloaded: bool,
    /// Whose place another got before [`Self::failed`] was asked; bounded.
    failed: Vec<Failed>,
}

impl Admission {
    /// Every place free.
    pub fn new(listen: Listen, feeds: &[Feed]) -> Self {
        let index = |i: usize| FeedIndex(u16::try_from(i).unwrap_or(u16::MAX));
        let names = || feeds.iter().enumerate().map(|(i, feed)| (feed.id.clone(), index(i))).collect();
        Self {
            feeds: feeds.to_vec(),
            places: vec![Place::Free; feeds.len()],
            names: listen.shared.then(names),
            overloaded: false,
            failed: Vec::new(),
        }
    }

    /// Nobody new is let in while the main process does not keep up.
    pub fn set_overloaded(&mut self, overloaded: bool) {
        self.overloaded = overloaded;
    }

    /// Decides on the caller `socket`. `may_come` tells whether an earlier caller's handshake may still succeed.
    pub fn ask(
        &mut self,
        stream_id: &[u8],
        socket: SocketId,
        peer: Option<SocketAddr>,
        may_come: impl Fn(SocketId) -> bool,
    ) -> Result<Grant, Refusal> {
        let shown = || shown(stream_id);
        let index = match &self.names {
            None => FeedIndex(0),
            Some(names) => {
                let id = stream_id::parse(stream_id).map_err(|error| Refusal {
                    feed: None,
                    code: error.reject(),
                    reason: format!("stream id `{}`: {error}", shown()),
                })?;
                *names.get(&id).ok_or_else(|| Refusal {
                    feed: None,
                    code: Reject::NOT_FOUND,
                    reason: format!("stream id `{}`: no source of this name", shown()),
                })?
            }
        };
        let refuse = |code, reason: String| Err(Refusal { feed: Some(index), code, reason });
        let (Some(feed), Some(place)) = (self.feeds.get(index.get()), self.places.get_mut(index.get())) else {
            return refuse(Reject::NOT_FOUND, "no source at this port".into());
        };
        // libsrt tells the address of every caller; one without is nobody's on a list.
        let listed = |peer: SocketAddr| feed.allow.iter().any(|range| range.contains(peer.ip()));
        if !feed.allow.is_empty() && !peer.is_some_and(listed) {
            return refuse(Reject::FORBIDDEN, "its address is not on the source's allow-list".into());
        }
        match *place {
            Place::Taken { silent, peer: its, .. } if !silent || peer.is_none_or(|peer| peer.ip() != its.ip()) => {
                return refuse(Reject::CONFLICT, "another publisher is connected".into());
            }
            Place::Granted { socket, .. } | Place::Taken { successor: Some(socket), .. } if may_come(socket) => {
                return refuse(Reject::CONFLICT, "another publisher is connecting".into());
            }
            Place::Granted { .. } | Place::Taken { .. } | Place::Free => {}
        }
        if self.overloaded {
            return refuse(Reject::OVERLOAD, "media arrives faster than it is taken".into());
        }
        match place {
            Place::Taken { successor, .. } => *successor = Some(socket),
            Place::Granted { socket: earlier, peer: its } => {
                if self.failed.len() < FAILED_MAX {
                    self.failed.push(Failed { feed: index, socket: *earlier, peer: *its });
                }
                *place = Place::Granted { socket, peer };
            }
            Place::Free => *place = Place::Granted { socket, peer },
        }
        Ok(Grant { feed: index, passphrase: feed.passphrase.clone(), latency: feed.latency })
    }

    /// The caller's handshake is through. None if it was never granted anything, its place went to another, or the connection
    /// it was to replace has come back to life.
    pub fn arrived(&mut self, socket: SocketId, peer: SocketAddr) -> Option<Arrived> {
        for (at, place) in self.places.iter_mut().enumerate() {
            let replaces = match *place {
                Place::Granted { socket: s, .. } if s == socket => None,
                Place::Taken { socket: old, successor: Some(s), silent: true, .. } if s == socket => Some(old),
                _ => continue,
            };
            *place = Place::Taken { socket, peer, silent: false, successor: None };
            return Some(Arrived { feed: FeedIndex(at as u16), replaces });
        }
        None
    }

    /// Whether anything comes over an open connection.
    pub fn note_silence(&mut self, connection: SocketId, is_silent: bool) {
        for place in &mut self.places {
            if let Place::Taken { socket, silent, .. } = place
                && *socket == connection
            {
                *silent = is_silent;
            }
        }
    }

    /// The connection is closed: its place is free.
    pub fn left(&mut self, gone: SocketId) {
        for place in &mut self.places {
            match place {
                Place::Granted { socket, .. } if *socket == gone => *place = Place::Free,
                Place::Taken { socket, peer, successor, .. } if *socket == gone => {
                    let successor = successor.map(|socket| Place::Granted { socket, peer: Some(*peer) });
                    *place = successor.unwrap_or(Place::Free);
                }
                Place::Taken { successor, .. } if *successor == Some(gone) => *successor = None,
                _ => {}
            }
        }
    }

    /// Frees the places of callers whose handshake failed; returns all that failed since it was asked before.
    pub fn failed(&mut self, may_come: impl Fn(SocketId) -> bool) -> Vec<Failed> {
        let mut failed = std::mem::take(&mut self.failed);
        for (feed, place) in self.places.iter_mut().enumerate() {
            let feed = FeedIndex(feed as u16);
            match place {
                Place::Granted { socket, peer } if !may_come(*socket) => {
                    failed.push(Failed { feed, socket: *socket, peer: *peer });
                    *place = Place::Free;
                }
                Place::Taken { peer, successor, .. } => {
                    if let Some(socket) = successor.take_if(|socket| !may_come(*socket)) {
                        failed.push(Failed { feed, socket, peer: Some(*peer) });
                    }
                }
                _ => {}
            }
        }
        failed
    }
}

/// A stream id as it may appear in a log: printable, short.
fn shown(stream_id: &[u8]) -> String {
    let text = String::from_utf8_lossy(&stream_id[..stream_id.len().min(100)]);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cidr;
    use crate::media::{ChannelId, SourceName};

    fn feed(source: &str) -> Feed {
        Feed {
            id: SourceId {
                channel: ChannelId::new("live").expect("a name"),
                source: SourceName::new(source).expect("a name"),
            },
            latency: Duration::from_millis(200),
            passphrase: Some(Key(format!("key of {source}"))),
            allow: Vec::new(),
            call: None,
        }
    }

    fn admission(shared: bool) -> Admission {
        let address = "127.0.0.1:9710".parse().expect("an address");
        let feeds = [feed("main"), feed("backup")];
        Admission::new(Listen { address, shared }, if shared { &feeds } else { &feeds[..1] })
    }

    const MAIN: Arrived = Arrived { feed: FeedIndex(0), replaces: None };

    fn host(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 40_000))
    }

    fn code(result: Result<Grant, Refusal>) -> i32 {
        result.map_or_else(|refusal| refusal.code.0, |_| 0)
    }

    #[test]
    fn callers_are_told_apart_by_stream_id() {
        let mut a = admission(true);
        let all = |_| true;
        for (stream_id, want) in [
            (&b"live/main"[..], 0),
            (b"live/main", 1409),
            (b"#!::r=live/backup,m=publish", 0),
            (b"live/other", 1404),
            (b"live", 1400),
            (b"", 1400),
            (b"\xff/\x00", 1400),
            (b"#!::r=live/main,m=request", 1405),
        ] {
            assert_eq!(code(a.ask(stream_id, 7, None, all)), want, "{}", shown(stream_id));
        }
    }

    #[test]
    fn only_hosts_on_the_allow_list_are_let_in() {
        let address = "127.0.0.1:9710".parse().expect("an address");
        let mut feed = feed("main");
        feed.allow = ["192.0.2.0/30", "2001:db8::/32"].map(|range| Cidr::parse(range).expect("a range")).to_vec();
        let mut a = Admission::new(Listen { address, shared: true }, &[feed]);
        for (name, peer, want) in
            [("a stranger", Some(host(9)), 1403), ("an unknown", None, 1403), ("one of the list", Some(host(2)), 0)]
        {
            assert_eq!(code(a.ask(b"live/main", 1, peer, |_| true)), want, "{name}");
        }
    }

    #[test]
    fn a_grant_carries_the_feeds_own_key() {
        let grant = admission(true).ask(b"live/backup", 7, None, |_| true).expect("granted");
        assert_eq!((grant.feed, grant.passphrase), (FeedIndex(1), Some(Key("key of backup".into()))));
    }

    #[test]
    fn a_port_of_its_own_takes_any_stream_id_and_one_publisher() {
        let mut a = admission(false);
        assert_eq!(code(a.ask(b"whatever \xff", 1, None, |_| true)), 0);
        assert_eq!(code(a.ask(b"", 2, None, |_| true)), 1409);
    }

    #[test]
    fn a_place_is_held_from_the_grant_to_the_end_of_the_connection() {
        let mut a = admission(true);
        let coming = |_| true;
        assert_eq!(code(a.ask(b"live/main", 1, None, coming)), 0);
        assert_eq!(a.arrived(2, host(1)), None, "a stranger");
        assert_eq!(a.arrived(1, host(1)), Some(MAIN));
        assert_eq!(code(a.ask(b"live/main", 3, None, |_| false)), 1409, "taken, whatever its handshake was");
        assert!(a.failed(|_| false).is_empty());
        a.left(3);
        assert_eq!(code(a.ask(b"live/main", 4, None, coming)), 1409, "another's end frees nothing");
        a.left(1);
        assert_eq!(code(a.ask(b"live/main", 5, None, coming)), 0);
    }

    #[test]
    fn a_failed_handshake_gives_the_place_back() {
        let mut a = admission(true);
        assert_eq!(code(a.ask(b"live/main", 1, None, |_| true)), 0);
        assert_eq!(a.failed(|_| false), [Failed { feed: FeedIndex(0), socket: 1, peer: None }]);
        assert_eq!(code(a.ask(b"live/main", 2, None, |_| true)), 0, "found out by the sweep");
        assert_eq!(code(a.ask(b"live/main", 3, None, |_| false)), 0, "found out by the next caller");
        assert_eq!(a.failed(|_| true), [Failed { feed: FeedIndex(0), socket: 2, peer: None }], "and told of");
        assert_eq!(a.arrived(2, host(1)), None, "its place went to another");
        assert_eq!(a.arrived(3, host(1)), Some(MAIN));
    }

    /// Publisher 1 of `live/main` is connected from host 1.
    fn occupied() -> Admission {
        let mut a = admission(true);
        assert_eq!(code(a.ask(b"live/main", 1, Some(host(1)), |_| true)), 0);
        assert_eq!(a.arrived(1, host(1)), Some(MAIN));
        a
    }

    #[test]
    fn only_a_silent_connection_is_replaced_and_only_from_its_own_address() {
        let other_port = SocketAddr::new(host(1).ip(), 50_000);
        for (name, silent, from, want) in [
            ("live, same address", false, Some(other_port), 1409),
            ("silent, same address", true, Some(other_port), 0),
            ("silent, another address", true, Some(host(2)), 1409),
            ("silent, address unknown", true, None, 1409),
        ] {
            let mut a = occupied();
            a.note_silence(1, silent);
            assert_eq!(code(a.ask(b"live/main", 2, from, |_| true)), want, "{name}");
            let arrived = a.arrived(2, other_port);
            let replaced = Arrived { feed: FeedIndex(0), replaces: Some(1) };
            assert_eq!(arrived, (want == 0).then_some(replaced), "{name}");
        }
    }

    #[test]
    fn a_successor_takes_the_place_only_when_its_handshake_is_through() {
        let ask =
            |a: &mut Admission, socket, may_come: bool| code(a.ask(b"live/main", socket, Some(host(1)), |_| may_come));
        let mut a = occupied();
        a.note_silence(1, true);
        assert_eq!(ask(&mut a, 2, true), 0);
        assert_eq!(ask(&mut a, 3, true), 1409, "one successor at a time");
        assert_eq!(a.failed(|_| false), [Failed { feed: FeedIndex(0), socket: 2, peer: Some(host(1)) }], "a wrong key");
        assert_eq!(a.arrived(2, host(1)), None);
        assert_eq!(ask(&mut a, 4, true), 0);
        a.note_silence(1, false);
        assert_eq!(a.arrived(4, host(1)), None, "the first one was only slow");
        a.left(4);
        a.note_silence(1, true);
        assert_eq!(ask(&mut a, 5, true), 0);
        a.left(1);
        assert_eq!(a.arrived(5, host(1)), Some(MAIN), "the first one ended meanwhile");
        a.note_silence(1, true);
        assert_eq!(ask(&mut a, 6, true), 1409, "the silence of one that is gone is nobody's");
    }

    #[test]
    fn nobody_new_is_let_in_under_overload() {
        let mut a = admission(true);
        a.set_overloaded(true);
        assert_eq!(code(a.ask(b"live/main", 1, None, |_| true)), 1402);
        a.set_overloaded(false);
        assert_eq!(code(a.ask(b"live/main", 1, None, |_| true)), 0);
    }

    #[test]
    fn what_a_stranger_asks_for_is_safe_to_log() {
        let refusal = admission(true).ask(&[b'\x1b'; 500], 1, None, |_| true).expect_err("refused");
        assert!(refusal.reason.len() < 500 && !refusal.reason.contains('\x1b'), "{}", refusal.reason);
    }
}
