//! One RTP path's datagrams in the order of their numbers.
//!
//! In:    datagrams as they arrive, with their RTP headers.
//! Out:   the same, those that were overtaken back in their place.
//! Never: waits longer than [`HOLD`], or for a number that came.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::{Micros, Rtp};

/// What overtook others waits so long for them. Far below the window; networks change the order by a few milliseconds.
const HOLD: Micros = 20_000;
/// Most datagrams that wait.
const HELD_MAX: usize = 256;
/// Numbers that are further apart are another stream's (RFC 3550 §A.1, MAX_DROPOUT).
const STEP_MAX: i16 = 3_000;

/// A datagram: when it arrived, its number, its payload.
type Held = (Micros, u16, Bytes);

/// What waits for datagrams that were overtaken.
#[derive(Debug, Default)]
pub(super) struct Order {
    ssrc: u32,
    /// The number that is next, once there was one.
    next: Option<u16>,
    /// By number.
    held: VecDeque<Held>,
}

impl Order {
    /// Takes a datagram. `out` gets what is in order.
    pub fn push(&mut self, at: Micros, rtp: Rtp, data: &Bytes, out: &mut Vec<(Micros, Bytes)>) {
        let Rtp { ssrc, sequence, .. } = rtp;
        let step = |next: u16| sequence.wrapping_sub(next).cast_signed();
        let next = match self.next.filter(|next| self.ssrc == ssrc && step(*next).abs() <= STEP_MAX) {
            Some(next) => next,
            None => {
                // Another stream, or the first one.
                self.flush(out);
                self.ssrc = ssrc;
                sequence
            }
        };
        self.next = Some(next);
        if step(next) < 0 {
            // Too late, or twice.
            out.push((at, data.clone()));
            return;
        }
        let place = self.held.partition_point(|(_, held, _)| held.wrapping_sub(next) < sequence.wrapping_sub(next));
        // A second copy is told by its content: what is in order is not held.
        if self.held.get(place).is_none_or(|(_, held, _)| *held != sequence) {
            self.held.insert(place, (at, sequence, data.clone()));
        }
        self.go_on(out);
        while self.held.len() > HELD_MAX {
            self.pass_gap(out);
        }
    }

    /// Gives up on what was waited for long enough.
    pub fn release(&mut self, now: Micros, out: &mut Vec<(Micros, Bytes)>) {
        while self.held.iter().any(|(at, ..)| now - at >= HOLD) {
            self.pass_gap(out);
        }
    }

    /// When to release.
    pub fn wake_at(&self) -> Option<Micros> {
        self.held.iter().map(|(at, ..)| at + HOLD).min()
    }

    /// All that waits.
    pub fn flush(&mut self, out: &mut Vec<(Micros, Bytes)>) {
        while !self.held.is_empty() {
            self.pass_gap(out);
        }
    }

    fn pass_gap(&mut self, out: &mut Vec<(Micros, Bytes)>) {
        self.next = self.held.front().map(|(_, sequence, _)| *sequence).or(self.next);
        self.go_on(out);
    }

    fn go_on(&mut self, out: &mut Vec<(Micros, Bytes)>) {
        while let Some((at, sequence, data)) = self.held.pop_front_if(|(_, sequence, _)| Some(*sequence) == self.next) {
            self.next = Some(sequence.wrapping_add(1));
            // What overtook it says when it was due.
            let at = self.held.iter().map(|(held, ..)| *held).fold(at, Micros::min);
            out.push((at, data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::Chance;
    use super::*;

    fn numbers(out: &[(Micros, Bytes)]) -> Vec<u8> {
        out.iter().map(|(_, data)| data[0]).collect()
    }

    #[test]
    fn what_was_overtaken_comes_in_its_place_or_is_not_waited_for() {
        let (mut order, mut out) = (Order::default(), Vec::new());
        let mut push = |order: &mut Order, at, ssrc, sequence: u16| {
            order.push(at, Rtp { ssrc, sequence, timestamp: 0 }, &Bytes::from(vec![sequence as u8]), &mut out);
            numbers(&out)
        };
        push(&mut order, 0, 1, 65_534);
        push(&mut order, 1, 1, 0);
        push(&mut order, 2, 1, 1);
        assert_eq!(push(&mut order, 3, 1, 65_535), [254, 255, 0, 1], "across the wrap");
        push(&mut order, 4, 1, 3);
        assert_eq!(push(&mut order, 5, 1, 3), [254, 255, 0, 1], "twice, and waits");
        assert_eq!(push(&mut order, 6, 9, 7), [254, 255, 0, 1, 3, 7], "another stream");
        assert_eq!(push(&mut order, 7, 9, 6), [254, 255, 0, 1, 3, 7, 6], "too late");
        push(&mut order, 8, 9, 10);
        order.release(8 + HOLD - 1, &mut out);
        assert_eq!(out.len(), 7);
        assert_eq!(order.wake_at(), Some(8 + HOLD));
        order.release(8 + HOLD, &mut out);
        assert_eq!((out.len(), order.wake_at()), (8, None));
        assert!(out.windows(2).all(|two| two[0].0 <= two[1].0), "{out:?}");
    }

    #[test]
    fn any_order_within_reach_is_mended_and_memory_has_a_bound() {
        for seed in 0..50 {
            let (mut order, mut out, mut chance) = (Order::default(), Vec::new(), Chance::new(seed));
            let mut sent: Vec<(Micros, u16)> =
                (1..3_000).map(|n| (n * 1_000 + chance.below(8_000) as Micros, n as u16)).collect();
            sent.sort_unstable();
            order.push(0, Rtp { ssrc: 1, sequence: 0, timestamp: 0 }, &Bytes::from(vec![0, 0]), &mut out);
            let mut want = vec![0];
            for (at, sequence) in sent {
                if !chance.percent(20) {
                    want.push(sequence);
                    order.release(at, &mut out);
                    let data = Bytes::copy_from_slice(&sequence.to_be_bytes());
                    order.push(at, Rtp { ssrc: 1, sequence, timestamp: 0 }, &data, &mut out);
                }
                assert!(order.held.len() <= 64, "{}", order.held.len());
            }
            order.flush(&mut out);
            want.sort_unstable();
            let got: Vec<u16> = out.iter().map(|(_, data)| u16::from_be_bytes([data[0], data[1]])).collect();
            assert_eq!(got, want, "seed {seed}");
        }
        let (mut order, mut out) = (Order::default(), Vec::new());
        for n in 0..2_000_u16 {
            order.push(0, Rtp { ssrc: 1, sequence: n * 2, timestamp: 0 }, &Bytes::from_static(&[0]), &mut out);
            assert!(order.held.len() <= HELD_MAX);
        }
    }
}
