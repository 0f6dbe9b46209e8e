//! RTP packets of a transport stream (RFC 2250), and the sums that go with them.

use std::hash::{BuildHasher, RandomState};

use super::cut::Parts;
use super::fec::Encoder;
use crate::clock::Now;
use crate::config::Matrix;
use crate::wire::fec::Direction;
use crate::wire::rtp::{HEADER_BYTES, PAYLOAD_MP2T, RtpHead};

/// Which of the three ports a datagram goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Media,
    Columns,
    Rows,
}

impl Lane {
    /// ST 2022-1 §7: columns go to the media's port and 2, rows to that and 4.
    pub(super) fn behind(self) -> u16 {
        match self {
            Self::Media => 0,
            Self::Columns => 2,
            Self::Rows => 4,
        }
    }
}

/// What goes into one datagram.
#[derive(Debug)]
pub(super) struct Datagram {
    pub lane: Lane,
    /// RTP's; bare TS and sums have none in front.
    pub head: Option<[u8; HEADER_BYTES]>,
    pub parts: Parts,
}

/// One stream of packets. Both paths of ST 2022-7 carry the same.
#[derive(Debug)]
pub(super) struct Packets {
    ssrc: u32,
    sequence: u16,
    fec: Option<Encoder>,
    column_sequence: u16,
    row_sequence: u16,
}

impl Packets {
    pub(super) fn new(matrix: Option<Matrix>) -> Self {
        // RFC 3550 §5.1: SSRC and the first sequence numbers are random.
        let dice = RandomState::new().hash_one(0u8);
        let [ssrc, rest] = [(dice >> 32) as u32, dice as u32];
        let fec = matrix.map(Encoder::new);
        Self { ssrc, sequence: rest as u16, fec, column_sequence: (rest >> 16) as u16, row_sequence: rest as u16 }
    }

    /// Wraps a payload; calls `send` with it and with the sums that are due behind it.
    pub(super) fn wrap(&mut self, now: Now, parts: Parts, mut send: impl FnMut(Datagram)) {
        // RFC 2250 §2: 90 kHz of the sender's clock, modulo 2³².
        let timestamp = (now.utc.as_nanos() * 9 / 100_000) as u32;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let payload_type = PAYLOAD_MP2T;
        let head = RtpHead { marker: false, payload_type, sequence, timestamp, ssrc: self.ssrc }.write();
        let mut sums = Vec::new();
        if let Some(fec) = &mut self.fec {
            fec.push(sequence, &head, &parts, |sum| sums.push(sum));
        }
        send(Datagram { lane: Lane::Media, head: Some(head), parts });
        for sum in sums {
            let (lane, counter) = match sum.span.direction {
                Direction::Column => (Lane::Columns, &mut self.column_sequence),
                Direction::Row => (Lane::Rows, &mut self.row_sequence),
            };
            let sequence = *counter;
            *counter = sequence.wrapping_add(1);
            // ST 2022-1 §8.2: the SSRC of sums is 0.
            send(Datagram { lane, head: None, parts: sum.write(sequence, timestamp, 0).into() });
        }
    }
}
