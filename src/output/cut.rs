//! Datagrams of seven TS packets (RFC 2250 §2: whole packets; seven fill an Ethernet frame), without copying them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Now;
use crate::wire::rtp::PAYLOAD_BYTES;

/// So long packets wait for others to fill a datagram with; a stream below 210 kbit/s fills none in that time.
const HOLD: Duration = Duration::from_millis(50);

/// A datagram's payload: mostly one view of one portion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    first: Bytes,
    more: Vec<Bytes>,
}

impl Parts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> + Clone {
        std::iter::once(&self.first).chain(&self.more)
    }

    pub(super) fn len(&self) -> usize {
        self.iter().map(Bytes::len).sum()
    }

    fn push(&mut self, part: Bytes) {
        if self.first.is_empty() { self.first = part } else { self.more.push(part) }
    }
}

impl From<Vec<u8>> for Parts {
    fn from(bytes: Vec<u8>) -> Self {
        Self { first: bytes.into(), more: Vec::new() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Cutter {
    open: Parts,
    since: Option<Now>,
    ready: VecDeque<Parts>,
}

impl Cutter {
    /// Takes whole packets.
    pub(super) fn push(&mut self, now: Now, mut data: Bytes) {
        while !data.is_empty() {
            let room = PAYLOAD_BYTES - self.open.len();
            self.open.push(data.split_to(room.min(data.len())));
            if self.open.len() == PAYLOAD_BYTES {
                self.ready.push_back(std::mem::take(&mut self.open));
                self.since = None;
            } else {
                self.since.get_or_insert(now);
            }
        }
    }

    /// The next datagram that is full, or has waited long enough.
    pub(super) fn pop(&mut self, now: Now) -> Option<Parts> {
        if self.ready.is_empty() && self.since.is_some_and(|since| now.since(since) >= HOLD) {
            self.since = None;
            return Some(std::mem::take(&mut self.open));
        }
        self.ready.pop_front()
    }

    /// Whatever is left: the stream ends here.
    pub(super) fn end(&mut self) -> Option<Parts> {
        self.since = None;
        self.ready.pop_front().or_else(|| (self.open.len() > 0).then(|| std::mem::take(&mut self.open)))
    }

    /// When [`Self::pop`] has something although nothing came.
    pub(super) fn wake_at(&self) -> Option<Now> {
        self.since.map(|since| since.after(HOLD))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn seven_packets_make_a_datagram_and_fewer_wait_a_moment() {
        let zero = Now { mono: Instant::now(), utc: Duration::from_secs(1000) };
        let mut cutter = Cutter::default();
        let big = Bytes::from(vec![0x47; 188 * 16]);
        cutter.push(zero, big.clone());
        let first = cutter.pop(zero).expect("full");
        assert_eq!((first.len(), first.first.as_ptr()), (1316, big.as_ptr()), "a view");
        assert_eq!(cutter.pop(zero).map(|d| d.len()), Some(1316));
        assert_eq!(cutter.pop(zero), None, "two are left");
        let later = zero.after(Duration::from_millis(20));
        cutter.push(later, big.slice(..188 * 5));
        let mixed = cutter.pop(later).expect("two and five");
        assert_eq!((mixed.len(), mixed.iter().count(), cutter.wake_at()), (1316, 2, None));
        cutter.push(later, big.slice(..188));
        let wake = cutter.wake_at().expect("something waits");
        assert_eq!((cutter.pop(later), cutter.pop(wake).map(|d| d.len())), (None, Some(188)));
        cutter.push(later, big.slice(..376));
        assert_eq!((cutter.end().map(|d| d.len()), cutter.end()), (Some(376), None));
    }
}
