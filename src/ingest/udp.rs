//! UDP sources: MPEG-TS in bare datagrams, as they come.
//!
//! In:    datagrams.
//! Out:   [`IngestEvent`]s, a datagram each.
//! Never: mixes two senders: one keeps its place while it flows, another takes over when it has been quiet for a moment. Puts
//!        nothing in order, for nothing in a datagram tells.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::IngestEvent;
use super::datagrams::{Core, DATAGRAM_MAX, Gate, Line, QUIET, SILENCE_MAX};
use super::srt::Sink;
use crate::clock::Now;
use crate::config::DatagramInput;
use crate::media::SourceId;
use crate::monitor::LinkStatus;
use crate::wire::rtp::{PAYLOAD_MP2T, Packet};

/// That another sender is heard as well is news once in so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Receives a source until `stop` turns true. Media that the channel does not take is dropped.
pub async fn run(id: SourceId, input: DatagramInput, sink: Sink, stop: watch::Receiver<bool>) {
    let gate = Gate::new(&input);
    Line { id, input, fec: None, core: Flow::default(), gate }.run(sink, stop).await;
}

/// One UDP source, without its socket.
#[derive(Debug, Default)]
pub struct Flow {
    sender: Option<Sender>,
    told: Option<Now>,
    out: VecDeque<IngestEvent>,
    refused: u64,
}

#[derive(Debug)]
struct Sender {
    peer: SocketAddr,
    heard: Now,
    packets: u64,
}

impl Flow {
    fn settle(&mut self, now: Now) {
        if self.sender.as_ref().is_some_and(|sender| now.since(sender.heard) >= SILENCE_MAX) {
            self.sender = None;
            let reason = format!("nothing came for {} s", SILENCE_MAX.as_secs());
            self.out.push_back(IngestEvent::Down { reason });
        }
    }

    fn refuse(&mut self, now: Now, peer: SocketAddr, reason: &str) {
        self.refused += 1;
        if self.told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
            self.told = Some(now);
            self.out.push_back(IngestEvent::Refused { peer: peer.to_string(), reason: reason.to_owned() });
        }
    }
}

impl Core for Flow {
    fn media(&mut self, now: Now, peer: SocketAddr, datagram: &[u8]) {
        self.settle(now);
        if datagram.is_empty() || datagram.len() > DATAGRAM_MAX {
            self.refused += 1;
            return;
        }
        if Packet::parse(datagram).is_ok_and(|packet| packet.head.payload_type == PAYLOAD_MP2T) {
            return self.refuse(now, peer, "it sends RTP, and this source is of type = \"udp\": write type = \"rtp\"");
        }
        match &self.sender {
            Some(sender) if sender.peer != peer && now.since(sender.heard) < QUIET => {
                return self.refuse(now, peer, "another sender's stream flows here");
            }
            Some(sender) if sender.peer == peer => {}
            other => {
                if other.is_some() {
                    self.out.push_back(IngestEvent::Down { reason: "another stream took its place".into() });
                }
                self.out.push_back(IngestEvent::Up { peer: peer.to_string() });
                self.sender = Some(Sender { peer, heard: now, packets: 0 });
            }
        }
        if let Some(sender) = &mut self.sender {
            (sender.heard, sender.packets) = (now, sender.packets + 1);
        }
        self.out.push_back(IngestEvent::Data { arrival: now, data: Bytes::copy_from_slice(datagram), rtp: None });
    }

    fn pop(&mut self, now: Now) -> Option<IngestEvent> {
        if self.out.is_empty() {
            self.settle(now);
        }
        self.out.pop_front()
    }

    fn wake_at(&self) -> Option<Instant> {
        self.sender.as_ref().map(|sender| sender.heard.mono + SILENCE_MAX)
    }

    fn link(&self) -> Option<LinkStatus> {
        let sender = self.sender.as_ref()?;
        Some(LinkStatus { packets: sender.packets, refused: self.refused, ..LinkStatus::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sender_at_a_time_has_the_place() {
        let zero = Now { mono: Instant::now(), utc: Duration::from_secs(1000) };
        let peer = |last: u8| SocketAddr::from(([192, 0, 2, last], 5000));
        let rtp = [&[0x80, 33][..], &[0; 10], &[0x47; 188]].concat();
        let ts = [0x47; 188];
        let mut flow = Flow::default();
        for (name, at, from, bytes, want) in [
            ("the first", 0, 1, &ts[..], "up 192.0.2.1:5000, data"),
            ("more of it", 50, 1, &ts, "data"),
            ("another beside it", 60, 2, &ts, "refused"),
            ("again", 70, 2, &ts, ""),
            ("when the first is quiet", 150, 2, &ts, "down another stream took its place, up 192.0.2.2:5000, data"),
            ("nothing", 160, 2, &[], ""),
            ("RTP", 20_000, 2, &rtp, "down nothing came for 2 s, refused"),
            ("after a pause", 20_001, 2, &ts, "up 192.0.2.2:5000, data"),
        ] {
            let now = zero.after(Duration::from_millis(at));
            flow.media(now, peer(from), bytes);
            let said = std::iter::from_fn(|| flow.pop(now)).map(|event| match event {
                IngestEvent::Up { peer } => format!("up {peer}"),
                IngestEvent::Down { reason } => format!("down {reason}"),
                IngestEvent::Data { data, .. } => {
                    assert_eq!(data, bytes);
                    "data".into()
                }
                IngestEvent::Refused { .. } => "refused".into(),
                IngestEvent::Link(_) | IngestEvent::Media { .. } => "link".into(),
            });
            assert_eq!(said.collect::<Vec<_>>().join(", "), want, "{name}");
        }
        let link = flow.link().expect("it is up");
        assert_eq!((link.packets, link.refused), (1, 4));
        assert!(flow.pop(zero.after(Duration::from_secs(23))).is_some(), "silence is told without a datagram");
        assert_eq!((flow.link(), flow.wake_at()), (None, None));
    }
}
