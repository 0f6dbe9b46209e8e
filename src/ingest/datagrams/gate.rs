//! Who may send to a port: an allow-list, and the senders a multicast group was joined for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::clock::Now;
use crate::config::{Cidr, DatagramInput};
use crate::ingest::IngestEvent;

/// A stranger is news once in so long; a flood of strangers is no more news than one.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Decides on each datagram by its sender's address.
#[derive(Debug)]
pub(in crate::ingest) struct Gate {
    allow: Vec<Cidr>,
    from: Vec<IpAddr>,
    refused: u64,
    told: Option<Now>,
}

impl Gate {
    pub(in crate::ingest) fn new(input: &DatagramInput) -> Self {
        Self { allow: input.allow.clone(), from: input.from.clone(), refused: 0, told: None }
    }

    /// Datagrams turned away so far.
    pub(in crate::ingest) fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether the datagram may pass; if not, perhaps with news of it.
    pub(in crate::ingest) fn ask(&mut self, now: Now, peer: SocketAddr) -> Result<(), Option<IngestEvent>> {
        let address = peer.ip().to_canonical();
        let reason = if !self.allow.is_empty() && !self.allow.iter().any(|range| range.contains(address)) {
            "its address is not on the source's allow-list"
        } else if !self.from.is_empty() && !self.from.contains(&address) {
            // The kernel filters by the join, and hosts in between; but a group joined twice on a host has been seen to leak.
            "its address is not in the source's `from`"
        } else {
            return Ok(());
        };
        self.refused += 1;
        if self.told.is_some_and(|told| now.since(told) < TELL_EVERY) {
            return Err(None);
        }
        self.told = Some(now);
        Err(Some(IngestEvent::Refused { peer: peer.to_string(), reason: reason.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn strangers_are_turned_away_and_told_of_once_in_a_while() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let input = DatagramInput {
            address: "239.1.1.1:5004".parse().expect("an address"),
            interface: None,
            from: vec![ip("10.0.0.1"), ip("10.9.9.9")],
            allow: vec![Cidr::parse("10.0.0.0/24").expect("a range")],
        };
        let mut gate = Gate::new(&input);
        let start = Now { mono: Instant::now(), utc: Duration::from_secs(1000) };
        for (name, peer, at, passes, told) in [
            ("on both lists", "10.0.0.1", 0, true, false),
            ("as IPv6 shows it", "::ffff:10.0.0.1", 0, true, false),
            ("not joined for", "10.0.0.2", 0, false, true),
            ("not allowed", "10.9.9.9", 1, false, false),
            ("again, later", "10.9.9.9", 10, false, true),
        ] {
            let answer = gate.ask(start.after(Duration::from_secs(at)), SocketAddr::new(ip(peer), 4000));
            assert_eq!((answer.is_ok(), matches!(answer, Err(Some(_)))), (passes, told), "{name}");
        }
        assert_eq!(gate.refused(), 3);
        let mut open = Gate::new(&DatagramInput { from: Vec::new(), allow: Vec::new(), ..input });
        assert!(open.ask(start, SocketAddr::new(ip("192.0.2.9"), 1)).is_ok());
    }
}
