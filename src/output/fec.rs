//! Sums of media packets (SMPTE ST 2022-1) as a sender makes them.
//!
//! In:    media packets in their order.
//! Out:   sums of rows behind the row; sums of columns spread over the next matrix, so that they are no burst themselves and
//!        no burst takes them with what they are sums of.

use std::collections::VecDeque;

use super::cut::Parts;
use crate::config::Matrix;
use crate::wire::fec::{Direction, FecPacket, Span, Sum};
use crate::wire::rtp::HEADER_BYTES;

#[derive(Debug)]
pub(super) struct Encoder {
    matrix: Matrix,
    /// Of the matrix under way, and its first packet's sequence number.
    columns: Vec<Sum>,
    base: u16,
    row: Sum,
    row_base: u16,
    /// Place of the next packet in the matrix.
    at: u16,
    /// Sums of the last matrix's columns.
    waiting: VecDeque<FecPacket>,
}

impl Encoder {
    pub(super) fn new(matrix: Matrix) -> Self {
        let columns = vec![Sum::default(); usize::from(matrix.columns)];
        Self { matrix, columns, base: 0, row: Sum::default(), row_base: 0, at: 0, waiting: VecDeque::new() }
    }

    /// Takes the next media packet; calls `ready` with each sum to be sent behind it.
    pub(super) fn push(
        &mut self,
        sequence: u16,
        head: &[u8; HEADER_BYTES],
        payload: &Parts,
        mut ready: impl FnMut(FecPacket),
    ) {
        let Matrix { columns, rows, row_packets } = self.matrix;
        let (l, d) = (u16::from(columns), u16::from(rows));
        let (row, column) = (self.at / l, self.at % l);
        if self.at == 0 {
            self.base = sequence;
        }
        if column == 0 {
            self.row_base = sequence;
        }
        let parts = || payload.iter().map(|part| &part[..]);
        self.columns[usize::from(column)].toggle_parts(head, parts());
        if row_packets {
            self.row.toggle_parts(head, parts());
        }
        if row_packets && column == l - 1 {
            let span = Span { direction: Direction::Row, base: self.row_base, step: 1, count: columns };
            ready(FecPacket { span, sum: std::mem::take(&mut self.row) });
        }
        // L sums over L · D packets; none right behind its own last one.
        if self.at % d == d - 1 {
            self.waiting.pop_front().into_iter().for_each(&mut ready);
        }
        if row == d - 1 {
            let base = self.base.wrapping_add(column);
            let span = Span { direction: Direction::Column, base, step: columns, count: rows };
            self.waiting.push_back(FecPacket { span, sum: std::mem::take(&mut self.columns[usize::from(column)]) });
        }
        self.at = (self.at + 1) % (l * d);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::RtpHead;

    #[test]
    fn each_lost_packet_can_be_computed_from_the_rest_of_its_row_or_column() {
        let matrix = Matrix { columns: 5, rows: 4, row_packets: true };
        let mut encoder = Encoder::new(matrix);
        let (mut media, mut sums, mut most) = (Vec::new(), Vec::new(), 0);
        // Across the wrap of sequence numbers, with datagrams of different lengths.
        for n in 0..60u16 {
            let sequence = n.wrapping_sub(30);
            let head =
                RtpHead { payload_type: 33, sequence, timestamp: u32::from(n) * 99, ..RtpHead::default() }.write();
            let payload = Parts::from(vec![n as u8; 188 * (1 + usize::from(n % 7))]);
            let before = sums.len();
            encoder.push(sequence, &head, &payload, |sum| sums.push(sum));
            most = most.max(sums.len() - before);
            media.push((sequence, [&head[..], &payload.iter().next().expect("one")[..]].concat()));
        }
        let of = |direction| sums.iter().filter(|s| s.span.direction == direction).count();
        // The last matrix's columns would go out with the next one.
        assert_eq!((of(Direction::Row), of(Direction::Column), most), (12, 10 + 1, 2));
        for sum in &sums {
            let members: Vec<u16> = (0..u16::from(sum.span.count))
                .map(|i| sum.span.base.wrapping_add(i * u16::from(sum.span.step)))
                .collect();
            for lost in &members {
                let mut rest = sum.sum.clone();
                for (sequence, packet) in media.iter().filter(|(s, _)| members.contains(s) && s != lost) {
                    let _ = sequence;
                    rest.toggle(packet);
                }
                let want = &media.iter().find(|(s, _)| s == lost).expect("it was sent").1;
                assert_eq!(rest.into_packet(*lost, 0).as_ref(), Some(want), "{:?} without {lost}", sum.span);
            }
        }
    }
}
