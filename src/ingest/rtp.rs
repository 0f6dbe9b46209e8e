//! RTP sources: MPEG-TS in RTP (RFC 2250), put in order, with FEC (SMPTE ST 2022-1).
//!
//! In:    datagrams at the media's port and at those of FEC.
//! Out:   [`IngestEvent`]s: a datagram's payload each, in order, a constant time after its arrival.
//! Never: mixes two senders. One keeps its place while it flows; another takes over when it has been quiet for a moment, and loses
//!        nothing by having waited.
//!
//! For a merge of two paths (ST 2022-7) packets must not wait here: [`Order::AsTheyCome`] hands them on at once, restored ones
//! too, and what is missing or doubled is the merge's affair.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::IngestEvent;
use super::datagrams::{Core, DATAGRAM_MAX, Gate, Line, QUIET, SILENCE_MAX};
use super::fec::{Decoder, Recovered};
use super::reorder::Reorder;
use super::srt::Sink;
use crate::clock::Now;
use crate::config::RtpInput;
use crate::media::SourceId;
use crate::monitor::LinkStatus;
use crate::wire::fec::FecPacket;
use crate::wire::rtp::{CLOCK_HZ, Packet, RtpHead};

/// A sequence number so far ahead still continues the sequence (RFC 3550 A.1: MAX_DROPOUT).
const DROPOUT_MAX: i16 = 3000;
/// So far behind, a packet is late; further, the sender began anew.
const MISORDER_MAX: i16 = 1000;
/// Packets of another sender that are kept for the case that it takes over: [`QUIET`] of 50 Mbit/s.
const KEPT_MAX: usize = 512;
/// FEC that takes longer to come is not waited for.
const FEC_WAIT_MAX: Duration = Duration::from_secs(2);
/// FEC that is read before the first media: so old it is of another stream.
const BEFORE_MAX: Duration = Duration::from_secs(1);
/// Of that, so much is kept: a burst of half a second at 20 Mbit/s has it of its smallest matrices.
const BEFORE_PACKETS_MAX: usize = 512;
/// That another sender is heard as well is news once in so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What happens to packets between the socket and the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They leave in order, each once.
    Restored,
    /// They leave as they come, for a merge that does its own ordering.
    AsTheyCome,
}

/// Receives a source until `stop` turns true. Media that the channel does not take is dropped.
pub async fn run(id: SourceId, input: RtpInput, order: Order, sink: Sink, stop: watch::Receiver<bool>) {
    let core = Path::new(input.reorder, input.fec.is_some(), order);
    let gate = Gate::new(&input.datagrams);
    Line { id, input: input.datagrams, fec: input.fec, core, gate }.run(sink, stop).await;
}

/// One path of an RTP source, without its sockets.
#[derive(Debug)]
pub struct Path {
    reorder: Duration,
    fec: bool,
    order: Order,
    stream: Option<Stream>,
    other: Option<Other>,
    told_of_other: Option<Now>,
    /// FEC of a stream whose media was not read yet: it has sockets of its own, and a sender may begin with a burst.
    before: VecDeque<(Now, FecPacket)>,
    out: VecDeque<IngestEvent>,
    /// Datagrams left out since the beginning.
    refused: u64,
}

/// What one sender sends.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    /// Of the newest packet, extended so that it never wraps.
    newest: u64,
    heard: Now,
    packets: u64,
    recovered: u64,
    /// Restored, and then they came.
    early: u64,
    jitter: Jitter,
    reorder: Reorder<(RtpHead, Bytes)>,
    fec: Option<Decoder>,
    fec_takes: Duration,
}

/// A sender that sends while another has the place.
#[derive(Debug)]
struct Other {
    peer: SocketAddr,
    ssrc: u32,
    since: Now,
    newest: u16,
    /// Since the last packet of the one that has the place.
    packets: VecDeque<(Now, Bytes)>,
}

impl Path {
    /// `reorder` is how long a packet waits for those before it.
    pub fn new(reorder: Duration, fec: bool, order: Order) -> Self {
        Self {
            reorder,
            fec,
            order,
            stream: None,
            other: None,
            told_of_other: None,
            before: VecDeque::new(),
            out: VecDeque::new(),
            refused: 0,
        }
    }

    fn begin(&mut self, now: Now, peer: SocketAddr, head: RtpHead) {
        self.out.push_back(IngestEvent::Up { peer: peer.to_string() });
        self.stream = Some(Stream {
            ssrc: head.ssrc,
            // Far enough from 0 that packets before the first one have numbers, too.
            newest: (1 << 32) + u64::from(head.sequence),
            heard: now,
            packets: 0,
            recovered: 0,
            early: 0,
            jitter: Jitter::new(now),
            reorder: Reorder::new(self.reorder),
            fec: self.fec.then(|| Decoder::new(head.ssrc)),
            fec_takes: Duration::ZERO,
        });
    }

    /// The stream is over: what waits goes out at once.
    fn end(&mut self, now: Now, reason: &str) {
        if let Some(stream) = &mut self.stream {
            stream.reorder.flush();
        }
        self.release(now);
        self.stream = None;
        self.out.push_back(IngestEvent::Down { reason: reason.to_owned() });
    }

    fn take(&mut self, now: Now, head: RtpHead, datagram: Bytes) {
        let Some(stream) = &mut self.stream else { return };
        let number = stream.number(head.sequence);
        stream.newest = stream.newest.max(number);
        stream.heard = now;
        stream.packets += 1;
        if let Some(other) = &mut self.other {
            self.refused += other.packets.len() as u64;
            other.packets.clear();
        }
        stream.jitter.note(now, head.timestamp);
        if let Some(fec) = &mut stream.fec {
            // Restored too early, it would count as lost, and now as doubled.
            let early = u64::from(fec.media(number, now, &datagram));
            stream.recovered = stream.recovered.saturating_sub(early);
            stream.early += early;
        }
        self.hand_on(now, number, head, datagram);
        self.take_recovered(now);
    }

    fn take_parity(&mut self, now: Now, fec: FecPacket) {
        let Some(stream) = &mut self.stream else { return };
        let Some(takes) = stream.fec.as_mut().and_then(|decoder| decoder.parity(now, fec)) else { return };
        // It only grows while the stream lasts: to wait less would be a burst, to wait more again a pause.
        if takes > stream.fec_takes && takes <= FEC_WAIT_MAX {
            stream.fec_takes = takes;
            stream.reorder.set_hold(self.reorder + takes);
        }
        self.take_recovered(now);
    }

    fn take_recovered(&mut self, now: Now) {
        while let Some(Recovered { number, datagram }) =
            self.stream.as_mut().and_then(|stream| stream.fec.as_mut()?.pop())
        {
            let Ok(Packet { head, .. }) = Packet::parse(&datagram) else { continue };
            if self.hand_on(now, number, head, datagram)
                && let Some(stream) = &mut self.stream
            {
                stream.recovered += 1;
            }
        }
    }

    /// To the channel, now or in its turn; whether it is new.
    fn hand_on(&mut self, now: Now, number: u64, head: RtpHead, datagram: Bytes) -> bool {
        match (self.order, &mut self.stream) {
            (Order::Restored, Some(stream)) => stream.reorder.push(now, number, (head, datagram)),
            (Order::AsTheyCome, Some(stream)) => {
                self.out.extend(media(now, head, &datagram));
                // It counts what is missing, late and doubled, and holds nothing up.
                stream.reorder.push(now, number, (head, Bytes::new()));
                true
            }
            (_, None) => false,
        }
    }

    /// What is due.
    fn release(&mut self, now: Now) {
        let Some(stream) = &mut self.stream else { return };
        while let Some((_, due, (head, datagram))) = stream.reorder.pop(now) {
            if self.order == Order::Restored {
                self.out.extend(media(due, head, &datagram));
            }
        }
    }

    /// A packet that does not continue the stream: of another sender, or the sender began anew.
    fn take_other(&mut self, now: Now, peer: SocketAddr, head: RtpHead, datagram: Bytes) {
        let near = |other: &Other| {
            let ahead = head.sequence.wrapping_sub(other.newest) as i16;
            other.ssrc == head.ssrc && (-MISORDER_MAX..=DROPOUT_MAX).contains(&ahead)
        };
        let other = match self.other.take().filter(near) {
            Some(other) => other,
            None => Other { peer, ssrc: head.ssrc, since: now, newest: head.sequence, packets: VecDeque::new() },
        };
        let other = self.other.insert(other);
        other.newest = head.sequence;
        other.packets.push_back((now, datagram));
        if other.packets.len() > KEPT_MAX {
            other.packets.pop_front();
            self.refused += 1;
        }
        if self.told_of_other.is_none_or(|told| now.since(told) >= TELL_EVERY)
            && now.since(other.since) >= QUIET
            && self.stream.as_ref().is_some_and(|stream| now.since(stream.heard) < QUIET)
        {
            self.told_of_other = Some(now);
            let reason = format!("its SSRC is {:08x}, and another sender's stream flows here", head.ssrc);
            self.out.push_back(IngestEvent::Refused { peer: peer.to_string(), reason });
        }
    }

    /// What the passing of time alone changes.
    fn settle(&mut self, now: Now) {
        let Some(stream) = &self.stream else { return };
        let quiet = now.since(stream.heard);
        // RFC 3550 A.1: one stray packet proves nothing, two in sequence do.
        if quiet >= QUIET && self.other.as_ref().is_some_and(|other| other.packets.len() > 1) {
            let Some(other) = self.other.take() else { return };
            self.end(now, "another stream took its place");
            for (arrival, datagram) in other.packets {
                let Ok(Packet { head, .. }) = Packet::parse(&datagram) else { continue };
                if self.stream.is_none() {
                    self.begin(arrival, other.peer, head);
                }
                self.take(arrival, head, datagram);
            }
        } else if quiet >= SILENCE_MAX {
            self.end(now, &format!("nothing came for {} s", SILENCE_MAX.as_secs()));
            self.refused += self.other.take().map_or(0, |other| other.packets.len() as u64);
        }
    }
}

impl Core for Path {
    fn media(&mut self, now: Now, peer: SocketAddr, datagram: &[u8]) {
        self.settle(now);
        let packet = Packet::parse(datagram).ok().filter(|packet| packet.may_be_ts());
        let Some(Packet { head, .. }) = packet.filter(|_| datagram.len() <= DATAGRAM_MAX) else {
            self.refused += 1;
            return;
        };
        let datagram = Bytes::copy_from_slice(datagram);
        match &self.stream {
            Some(stream) if !stream.continues(head) => self.take_other(now, peer, head, datagram),
            Some(_) => self.take(now, head, datagram),
            None => {
                self.begin(now, peer, head);
                self.take(now, head, datagram);
                for (came, fec) in std::mem::take(&mut self.before) {
                    if now.since(came) <= BEFORE_MAX {
                        self.take_parity(now, fec);
                    }
                }
            }
        }
    }

    fn parity(&mut self, now: Now, datagram: &[u8]) {
        let Ok(fec) = FecPacket::parse(datagram) else {
            self.refused += 1;
            return;
        };
        if self.stream.is_some() {
            self.take_parity(now, fec);
            return;
        }
        self.before.push_back((now, fec));
        if self.before.len() > BEFORE_PACKETS_MAX {
            self.before.pop_front();
        }
    }

    fn parity_is_ahead(&self) -> bool {
        self.stream.as_ref().and_then(|stream| stream.fec.as_ref()).is_some_and(Decoder::is_ahead)
    }

    fn pop(&mut self, now: Now) -> Option<IngestEvent> {
        if self.out.is_empty() {
            self.release(now);
            self.settle(now);
        }
        self.out.pop_front()
    }

    fn wake_at(&self) -> Option<Instant> {
        let stream = self.stream.as_ref()?;
        let silent = stream.heard.mono + SILENCE_MAX;
        let quiet = self.other.as_ref().filter(|other| other.packets.len() > 1).map(|_| stream.heard.mono + QUIET);
        let due = stream.reorder.wake_at().filter(|_| self.order == Order::Restored);
        [Some(silent), quiet, due].into_iter().flatten().min()
    }

    fn link(&self) -> Option<LinkStatus> {
        let stream = self.stream.as_ref()?;
        let reorder = stream.reorder.stats();
        let hold = if self.order == Order::Restored { stream.reorder.hold() } else { Duration::ZERO };
        Some(LinkStatus {
            latency_ms: u32::try_from(hold.as_millis()).unwrap_or(u32::MAX),
            packets: stream.packets,
            lost: reorder.given_up + stream.recovered,
            dropped: reorder.given_up,
            recovered: stream.recovered,
            // What was restored came behind later ones, too.
            reordered: reorder.reordered.saturating_sub(stream.recovered + stream.early),
            duplicates: reorder.duplicates.saturating_sub(stream.early),
            jitter_ms: stream.jitter.ms(),
            refused: self.refused,
            ..LinkStatus::default()
        })
    }
}

impl Stream {
    fn continues(&self, head: RtpHead) -> bool {
        let ahead = head.sequence.wrapping_sub(self.newest as u16) as i16;
        head.ssrc == self.ssrc && (-MISORDER_MAX..=DROPOUT_MAX).contains(&ahead)
    }

    fn number(&self, sequence: u16) -> u64 {
        let ahead = sequence.wrapping_sub(self.newest as u16) as i16;
        self.newest.saturating_add_signed(ahead.into())
    }
}

/// An event of a datagram; none of one that carries nothing.
fn media(arrival: Now, head: RtpHead, datagram: &Bytes) -> Option<IngestEvent> {
    let payload = Packet::parse(datagram).ok()?.payload;
    (!payload.is_empty()).then(|| IngestEvent::Data { arrival, data: datagram.slice_ref(payload), rtp: Some(head) })
}

/// RFC 3550 §6.4.1 and A.8: how unevenly packets come, compared with their timestamps.
#[derive(Debug)]
struct Jitter {
    since: Now,
    transit: Option<u32>,
    ticks: f64,
}

impl Jitter {
    fn new(since: Now) -> Self {
        Self { since, transit: None, ticks: 0.0 }
    }

    fn note(&mut self, now: Now, timestamp: u32) {
        let arrival = now.since(self.since).as_micros() * u128::from(CLOCK_HZ) / 1_000_000;
        let transit = (arrival as u32).wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let moved = f64::from((transit.wrapping_sub(before) as i32).unsigned_abs());
            self.ticks += (moved - self.ticks) / 16.0;
        }
    }

    fn ms(&self) -> f64 {
        self.ticks * 1000.0 / f64::from(CLOCK_HZ)
    }
}

#[cfg(test)]
#[path = "rtp/tests.rs"]
mod tests;
