//! Column and row FEC of SMPTE ST 2022-1.
//!
//! In:    media packets as they come, by their extended number; FEC packets.
//! Out:   media packets that were lost ([`Decoder`]); FEC packets to send beside media ([`Encoder`]).
//! Never: holds a media packet back; trusts a sum that does not add up.
//!
//! A sum with one packet missing gives that packet, which may be the second last missing one of another sum, and so on: what
//! can be solved row by row and column by column is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Now;
use crate::wire::fec::{COLUMNS_MAX, Direction, FecPacket, MATRIX_MAX, ROWS_MAX, Span, Sum};
use crate::wire::rtp::Packet;

/// Media packets kept for sums that come later: a matrix of at most 100 and the next one, over which its columns are spread, are
/// 200. The rest is for bursts: a sender that was held up for a second sends all of it at once, and what arrives at different
/// ports is then read, here or in a network between, as if it had been sent long apart.
const HISTORY: u64 = 2048;
/// Sums kept that lack two packets or more; beyond, the oldest goes. A matrix has at most 45 (L + D, 20 + 5 or 5 + 20, twice).
const SUMS_MAX: usize = 128;
/// Sums kept that overtook all of their packets; beyond, the furthest goes. So many of the smallest matrix, 4 × 4, belong to
/// [`HISTORY`] packets.
const EARLY_MAX: usize = 1024;

/// What became of FEC packets, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FecStats {
    /// FEC packets taken.
    pub packets: u64,
    /// Media packets computed.
    pub recovered: u64,
    /// FEC packets of packets that are not there any more, or not yet near.
    pub astray: u64,
    /// Sums given up because newer ones needed the room.
    pub crowded_out: u64,
    /// Sums whose last packet did not come out as one.
    pub wrong: u64,
}

/// A media packet that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its extended sequence number.
    pub number: u64,
    /// All of it, header included.
    pub datagram: Bytes,
}

/// Computes lost packets of one RTP stream.
#[derive(Debug)]
pub struct Decoder {
    ssrc: u32,
    /// By number modulo [`HISTORY`].
    history: Vec<Option<Heard>>,
    newest: Option<u64>,
    sums: VecDeque<Open>,
    /// By the first packet's number, then as they came. FEC has ports of its own: where a sender sends a burst, its sums may be
    /// read long before its media.
    early: BTreeMap<(u64, u64), FecPacket>,
    recovered: VecDeque<Recovered>,
    stats: FecStats,
}

#[derive(Clone, Debug)]
struct Heard {
    number: u64,
    arrival: Now,
    datagram: Bytes,
    /// By a sum; it has not come itself.
    computed: bool,
}

/// A sum from which what is known was taken out again.
#[derive(Debug)]
struct Open {
    missing: Vec<u64>,
    last: u64,
    sum: Sum,
}

impl Decoder {
    /// For the stream of `ssrc`, which FEC packets do not tell.
    pub fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            history: vec![None; HISTORY as usize],
            newest: None,
            sums: VecDeque::new(),
            early: BTreeMap::new(),
            recovered: VecDeque::new(),
            stats: FecStats::default(),
        }
    }

    /// A media packet arrived. `number` is its sequence number, extended so that it never wraps. True if it had been computed
    /// before: it was late, not lost.
    pub fn media(&mut self, number: u64, arrival: Now, datagram: &Bytes) -> bool {
        if self.keep(number, arrival, datagram, false) {
            self.open_early();
            self.solve(vec![(number, datagram.clone())], arrival);
            return false;
        }
        let known = self.history[(number % HISTORY) as usize].as_mut().filter(|heard| heard.number == number);
        known.is_some_and(|heard| std::mem::take(&mut heard.computed))
    }

    /// An FEC packet arrived. Returns how long the oldest of its packets had been here by then: so long a packet must be waited
    /// for, or this kind of FEC is of no use.
    pub fn parity(&mut self, now: Now, fec: FecPacket) -> Option<Duration> {
        self.stats.packets += 1;
        let Some(base) = self.place(fec.span) else {
            self.stats.astray += 1;
            return None;
        };
        if self.newest.is_some_and(|newest| base > newest) {
            self.early.insert((base, self.stats.packets), fec);
            if self.early.len() > EARLY_MAX {
                self.early.pop_last();
                self.stats.astray += 1;
            }
            return None;
        }
        let numbers = numbers(base, fec.span);
        let arrivals = numbers.filter_map(|number| self.heard(number)).map(|heard| heard.arrival);
        let late = arrivals.map(|arrival| now.since(arrival)).max();
        if self.open(base, fec) {
            self.solve(Vec::new(), now);
        }
        late
    }

    /// Whether sums wait for media that has not come.
    pub fn is_ahead(&self) -> bool {
        !self.early.is_empty()
    }

    /// Takes what is known out of a sum; whether anything is left.
    fn open(&mut self, base: u64, fec: FecPacket) -> bool {
        let numbers = numbers(base, fec.span);
        let missing: Vec<u64> = numbers.clone().filter(|number| self.heard(*number).is_none()).collect();
        if missing.is_empty() {
            return false;
        }
        let mut open = Open { missing, last: numbers.clone().next_back().unwrap_or(base), sum: fec.sum };
        for number in numbers {
            if let Some(heard) = self.heard(number) {
                open.sum.toggle(&heard.datagram);
            }
        }
        if self.sums.len() == SUMS_MAX {
            self.sums.pop_front();
            self.stats.crowded_out += 1;
        }
        self.sums.push_back(open);
        true
    }

    /// Opens the sums whose packets have begun to come.
    fn open_early(&mut self) {
        let Some(newest) = self.newest else { return };
        while let Some(entry) = self.early.first_entry().filter(|entry| entry.key().0 <= newest) {
            let ((base, _), fec) = entry.remove_entry();
            if base + HISTORY > newest {
                self.open(base, fec);
            } else {
                self.stats.astray += 1;
            }
        }
    }

    /// The next packet that was computed. What is not asked for before the next matrix is complete is still there; no more than
    /// one for each packet that FEC protects ever waits.
    pub fn pop(&mut self) -> Option<Recovered> {
        self.recovered.pop_front()
    }

    /// What became of FEC packets.
    pub fn stats(&self) -> FecStats {
        self.stats
    }

    /// The first packet's extended number, if all of the span is within reach.
    fn place(&self, span: Span) -> Option<u64> {
        let newest = self.newest?;
        let ahead = span.base.wrapping_sub(newest as u16) as i16;
        let base = newest.checked_add_signed(ahead.into())?;
        // As far ahead as back: where the sum overtook its packets, they are all still to come.
        let reach = newest.saturating_sub(HISTORY - 1)..=newest + HISTORY;
        reach.contains(&base).then_some(base)
    }

    fn heard(&self, number: u64) -> Option<&Heard> {
        self.history[(number % HISTORY) as usize].as_ref().filter(|heard| heard.number == number)
    }

    /// False if it is known already, or too old to be of use.
    fn keep(&mut self, number: u64, arrival: Now, datagram: &Bytes, computed: bool) -> bool {
        let newest = self.newest.map_or(number, |newest| newest.max(number));
        self.newest = Some(newest);
        if number + HISTORY <= newest || self.heard(number).is_some() {
            return false;
        }
        self.history[(number % HISTORY) as usize] =
            Some(Heard { number, arrival, datagram: datagram.clone(), computed });
        self.sums.retain(|sum| sum.last + HISTORY > newest);
        true
    }

    /// Takes new packets out of the sums they are in; every sum that has but one packet left makes another new one.
    fn solve(&mut self, mut new: Vec<(u64, Bytes)>, now: Now) {
        loop {
            for (number, datagram) in std::mem::take(&mut new) {
                for open in &mut self.sums {
                    if let Some(at) = open.missing.iter().position(|missing| *missing == number) {
                        open.missing.swap_remove(at);
                        open.sum.toggle(&datagram);
                    }
                }
            }
            self.sums.retain(|open| !open.missing.is_empty());
            // What nothing has overtaken yet is not missing but still to come: its sum was faster.
            let Some(newest) = self.newest else { return };
            let one = |open: &Open| open.missing.len() == 1 && open.missing.iter().all(|number| *number < newest);
            let Some(at) = self.sums.iter().position(one) else { return };
            let Some(Open { missing, sum, .. }) = self.sums.remove(at) else { return };
            let [number] = missing[..] else { return };
            let packet = sum.into_packet(number as u16, self.ssrc);
            let Some(packet) = packet.filter(|bytes| Packet::parse(bytes).is_ok_and(|p| p.may_be_ts())) else {
                self.stats.wrong += 1;
                continue;
            };
            let datagram = Bytes::from(packet);
            if self.keep(number, now, &datagram, true) {
                self.stats.recovered += 1;
                self.recovered.push_back(Recovered { number, datagram: datagram.clone() });
                new.push((number, datagram));
            }
        }
    }
}

/// The packets of a span, the first one's extended number given.
fn numbers(base: u64, span: Span) -> impl DoubleEndedIterator<Item = u64> + Clone {
    (0..u64::from(span.count)).map(move |i| base + i * u64::from(span.step))
}

/// A matrix that ST 2022-1 has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{columns} columns of {rows} rows: 1 to 20 of 4 to 20 are possible, and no more than 100 packets in all")]
pub struct MatrixError {
    /// L.
    pub columns: u8,
    /// D.
    pub rows: u8,
}

/// Makes FEC packets for one RTP stream, which must be sent with sequence numbers that follow each other.
///
/// A row's sum goes out behind its last packet. The columns' sums of a matrix are spread over the next one, so that a burst does
/// not take the packets and their FEC alike.
#[derive(Debug)]
pub struct Encoder {
    columns: u8,
    rows: u8,
    with_rows: bool,
    /// Place of the next packet in its matrix.
    at: u16,
    base: u16,
    column_sums: Vec<Sum>,
    row_sum: Sum,
    /// Of the matrix before.
    waiting: VecDeque<FecPacket>,
    ready: VecDeque<(Direction, Vec<u8>)>,
    column_sequence: u16,
    row_sequence: u16,
}

impl Encoder {
    /// L columns of D rows, with row FEC or without.
    ///
    /// # Errors
    /// If the standard has no such matrix.
    pub fn new(columns: u8, rows: u8, with_rows: bool) -> Result<Self, MatrixError> {
        let size = u16::from(columns) * u16::from(rows);
        if !(1..=COLUMNS_MAX).contains(&columns) || !(4..=ROWS_MAX).contains(&rows) || size > MATRIX_MAX {
            return Err(MatrixError { columns, rows });
        }
        Ok(Self {
            columns,
            rows,
            with_rows,
            at: 0,
            base: 0,
            column_sums: vec![Sum::default(); columns.into()],
            row_sum: Sum::default(),
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            column_sequence: 0,
            row_sequence: 0,
        })
    }

    /// A media packet was sent. What is no RTP packet is left out.
    pub fn push(&mut self, datagram: &[u8]) {
        let Ok(Packet { head, .. }) = Packet::parse(datagram) else { return };
        let (columns, rows) = (u16::from(self.columns), u16::from(self.rows));
        if self.at == 0 {
            self.base = head.sequence;
        }
        let (row, column) = (self.at / columns, self.at % columns);
        self.column_sums[usize::from(column)].toggle(datagram);
        self.row_sum.toggle(datagram);
        self.at += 1;
        if column + 1 == columns {
            let sum = std::mem::take(&mut self.row_sum);
            let base = self.base.wrapping_add(row * columns);
            let span = Span { direction: Direction::Row, base, step: 1, count: self.columns };
            if self.with_rows {
                self.send(FecPacket { span, sum }, head.timestamp, head.ssrc);
            }
        }
        // L sums over L · D packets: one each D of them.
        if self.at.is_multiple_of(rows)
            && let Some(fec) = self.waiting.pop_front()
        {
            self.send(fec, head.timestamp, head.ssrc);
        }
        if self.at == columns * rows {
            self.at = 0;
            let sums = self.column_sums.iter_mut().map(std::mem::take);
            self.waiting = (0..columns)
                .zip(sums)
                .map(|(column, sum)| {
                    let base = self.base.wrapping_add(column);
                    let span = Span { direction: Direction::Column, base, step: self.columns, count: self.rows };
                    FecPacket { span, sum }
                })
                .collect();
        }
    }

    /// The next FEC packet to send, and on which of the two ports.
    pub fn pop(&mut self) -> Option<(Direction, Vec<u8>)> {
        self.ready.pop_front()
    }

    fn send(&mut self, fec: FecPacket, timestamp: u32, ssrc: u32) {
        let direction = fec.span.direction;
        let counter = match direction {
            Direction::Column => &mut self.column_sequence,
            Direction::Row => &mut self.row_sequence,
        };
        self.ready.push_back((direction, fec.write(*counter, timestamp, ssrc)));
        *counter = counter.wrapping_add(1);
    }
}

#[cfg(test)]
#[path = "fec/tests.rs"]
mod tests;
