//! Who may read what: decides on each caller that wants an output, while its handshake is under way.
//!
//! In:    what callers want; the fate of those let in; outputs that come and go.
//! Out:   a grant with the output's key and latency, or a refusal with SRT's code.
//! Never: calls libsrt; waits. It runs in libsrt's receiving thread, which serves every connection of the port.
//!
//! A place is held from the grant on; a caller whose handshake fails later (libsrt checks the key itself) gives it back.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use super::ipc::{Exit, Key};
use crate::media::OutputId;
use crate::output::exits::OutputIndex;
use crate::srt::{Reject, SocketId};

/// What a reader let in must live with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// What it reads.
    pub output: OutputIndex,
    /// The key it must have; none: it must not have one.
    pub passphrase: Option<Key>,
    /// The latency we ask of it.
    pub latency: Duration,
}

/// A reader let in whose handshake failed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallen {
    /// What it wanted.
    pub output: OutputIndex,
    /// The output asks for a passphrase.
    pub keyed: bool,
    /// Its socket.
    pub socket: SocketId,
    /// Its address.
    pub peer: Option<SocketAddr>,
}

/// The readers of one listening port.
#[derive(Debug, Default)]
pub struct Readership {
    exits: BTreeMap<OutputIndex, Exit>,
    readers: HashMap<SocketId, Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    output: OutputIndex,
    peer: Option<SocketAddr>,
    /// Its handshake is through.
    arrived: bool,
}

impl Readership {
    /// One more output. Those that call are not called.
    pub fn add(&mut self, exit: Exit) {
        if exit.call.is_none() {
            self.exits.insert(exit.index, exit);
        }
    }

    /// One less. Its readers have to be let go by whoever holds them.
    pub fn remove(&mut self, output: OutputIndex) {
        self.exits.remove(&output);
    }

    /// The output of this name.
    pub fn find(&self, id: &OutputId) -> Option<OutputIndex> {
        self.exits.values().find(|exit| exit.id == *id).map(|exit| exit.index)
    }

    /// The output a port belongs to, where it belongs to one.
    pub fn only(&self) -> Option<OutputIndex> {
        self.exits.keys().next().copied()
    }

    /// Decides on the caller `socket`, which wants `output`.
    ///
    /// # Errors
    /// SRT's code, and why, for people.
    pub fn ask(
        &mut self,
        output: OutputIndex,
        socket: SocketId,
        peer: Option<SocketAddr>,
    ) -> Result<Admitted, (Reject, String)> {
        let Some(exit) = self.exits.get(&output) else { return Err((Reject::NOT_FOUND, "no such output".into())) };
        let listed = |peer: SocketAddr| exit.allow.iter().any(|range| range.contains(peer.ip()));
        if !exit.allow.is_empty() && !peer.is_some_and(listed) {
            return Err((Reject::FORBIDDEN, "its address is not on the output's allow-list".into()));
        }
        let present = self.readers.values().filter(|place| place.output == output).count();
        if present >= exit.readers_max as usize {
            return Err((Reject::OVERLOAD, format!("{present} readers are there already, as many as may be")));
        }
        self.readers.insert(socket, Place { output, peer, arrived: false });
        Ok(Admitted { output, passphrase: exit.passphrase.clone(), latency: exit.latency })
    }

    /// The caller's handshake is through. None if it was never granted anything, or its output is gone.
    pub fn arrived(&mut self, socket: SocketId) -> Option<OutputIndex> {
        let place = self.readers.get_mut(&socket)?;
        place.arrived = true;
        self.exits.contains_key(&place.output).then_some(place.output)
    }

    /// The connection is closed.
    pub fn left(&mut self, socket: SocketId) {
        self.readers.remove(&socket);
    }

    /// Frees the places of callers whose handshake failed, and says who they were.
    pub fn failed(&mut self, may_come: impl Fn(SocketId) -> bool) -> Vec<Fallen> {
        let fell = |(socket, place): (&SocketId, &Place)| {
            let Place { output, peer, arrived } = *place;
            let keyed = self.exits.get(&output).is_some_and(|exit| exit.passphrase.is_some());
            (!arrived && !may_come(*socket)).then_some(Fallen { output, keyed, socket: *socket, peer })
        };
        let fallen: Vec<Fallen> = self.readers.iter().filter_map(fell).collect();
        for one in &fallen {
            self.readers.remove(&one.socket);
        }
        fallen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cidr;
    use crate::media::{ChannelId, OutputName};

    fn exit(index: u32, name: &str) -> Exit {
        Exit {
            index: OutputIndex(index),
            id: OutputId {
                channel: ChannelId::new("live").expect("a name"),
                output: OutputName::new(name).expect("a name"),
            },
            latency: Duration::from_millis(200),
            passphrase: (index == 1).then(|| Key("correct horse".into())),
            allow: Vec::new(),
            readers_max: 2,
            call: None,
        }
    }

    #[test]
    fn readers_are_let_in_up_to_a_bound_and_places_come_back() {
        let mut readership = Readership::default();
        readership.add(exit(1, "out"));
        readership.add(exit(2, "other"));
        let out = readership.find(&exit(1, "out").id).expect("there");
        let code = |r: &mut Readership, output, socket| r.ask(output, socket, None).map_or_else(|(c, _)| c.0, |_| 0);
        assert_eq!(readership.ask(out, 7, None).expect("let in").passphrase, Some(Key("correct horse".into())));
        assert_eq!((readership.arrived(7), readership.arrived(8)), (Some(out), None));
        assert_eq!(code(&mut readership, out, 8), 0);
        assert_eq!(code(&mut readership, out, 9), 1402, "two are there");
        assert_eq!(code(&mut readership, OutputIndex(2), 10), 0, "another output's places are its own");
        let fallen = Fallen { output: out, keyed: true, socket: 8, peer: None };
        assert_eq!(readership.failed(|socket| socket != 8), [fallen], "one that arrived does not fail");
        assert_eq!(code(&mut readership, out, 9), 0);
        readership.left(7);
        assert_eq!(code(&mut readership, out, 11), 0);
        readership.remove(out);
        assert_eq!((readership.arrived(11), code(&mut readership, out, 12)), (None, 1404));
    }

    #[test]
    fn only_hosts_on_the_allow_list_read() {
        let mut readership = Readership::default();
        readership.add(Exit { allow: vec![Cidr::parse("192.0.2.0/30").expect("a range")], ..exit(1, "out") });
        let host = |last: u8| Some(SocketAddr::from(([192, 0, 2, last], 4000)));
        for (peer, want) in [(host(9), 1403), (None, 1403), (host(2), 0)] {
            let code = readership.ask(OutputIndex(1), 1, peer).map_or_else(|(code, _)| code.0, |_| 0);
            assert_eq!(code, want, "{peer:?}");
        }
    }
}
