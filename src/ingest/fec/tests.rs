//! FEC by its promise: what can be solved is solved, to the byte, and nothing else is made up.

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::wire::rtp::RtpHead;

fn start() -> Now {
    Now { mono: Instant::now(), utc: Duration::from_secs(1_700_000_000) }
}

/// A media packet of a stream that has everything a header may have, with a payload of its own length and bytes.
fn media(number: u64, seed: u64) -> Bytes {
    let mut state = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
    let mut dice = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let head = RtpHead {
        marker: dice() % 5 == 0,
        payload_type: 33,
        sequence: number as u16,
        timestamp: dice() as u32,
        ssrc: 0xfeed,
    };
    let mut bytes = head.write().to_vec();
    if dice() % 4 == 0 {
        bytes[0] |= 1; // A CSRC.
        bytes.extend_from_slice(&(dice() as u32).to_be_bytes());
    }
    let length = if dice() % 3 == 0 { 188 * (dice() % 7 + 1) } else { 1316 };
    bytes.push(0x47);
    bytes.extend((1..length).map(|_| dice() as u8));
    bytes.into()
}

/// Which packets follow from those that arrived, one sum after the other: the plain definition.
fn solvable(arrived: &BTreeSet<u64>, sums: &[Vec<u64>]) -> BTreeSet<u64> {
    let mut known = arrived.clone();
    loop {
        let one = |sum: &Vec<u64>| {
            let missing: Vec<u64> = sum.iter().copied().filter(|n| !known.contains(n)).collect();
            (missing.len() == 1).then(|| missing[0])
        };
        match sums.iter().find_map(one) {
            Some(number) => known.insert(number),
            None => return known,
        };
    }
}

fn numbers(span: Span, first: u64) -> Vec<u64> {
    let base = first + u64::from(span.base.wrapping_sub(first as u16));
    (0..u64::from(span.count)).map(|i| base + i * u64::from(span.step)).collect()
}

/// Sends `matrices` of L × D packets with their FEC, loses what `lost` says of each datagram, and compares.
fn played(
    (columns, rows): (u8, u8),
    with_rows: bool,
    matrices: u64,
    first: u64,
    mut lost: impl FnMut() -> bool,
) -> Result<FecStats, TestCaseError> {
    let mut encoder = Encoder::new(columns, rows, with_rows).expect("a matrix");
    let mut decoder = Decoder::new(0xfeed);
    let (mut arrived, mut sums, mut out) = (BTreeSet::new(), Vec::new(), Vec::new());
    let size = u64::from(columns) * u64::from(rows);
    let mut now = start();
    // The first one arrives: a stream begins with a packet that does.
    for number in first..first + matrices * size {
        now = now.after(Duration::from_millis(1));
        let datagram = media(number, first);
        encoder.push(&datagram);
        if number == first || !lost() {
            arrived.insert(number);
            decoder.media(number, now, &datagram);
        }
        while let Some((direction, bytes)) = encoder.pop() {
            let fec = FecPacket::parse(&bytes).expect("our own");
            prop_assert_eq!(fec.span.direction, direction);
            if !lost() {
                sums.push(numbers(fec.span, first));
                decoder.parity(now, fec);
            }
        }
        out.extend(std::iter::from_fn(|| decoder.pop()));
    }
    // The last one of all is overtaken by one more, which no sum has.
    let end = first + matrices * size;
    arrived.insert(end);
    decoder.media(end, now, &media(end, first));
    out.extend(std::iter::from_fn(|| decoder.pop()));
    let recovered: BTreeSet<u64> = out.iter().map(|packet| packet.number).collect();
    prop_assert_eq!(recovered.len(), out.len(), "none twice");
    let known: BTreeSet<u64> = arrived.union(&recovered).copied().collect();
    prop_assert_eq!(&known, &solvable(&arrived, &sums));
    for Recovered { number, datagram } in out {
        prop_assert_eq!(datagram, media(number, first), "packet {}", number);
    }
    Ok(decoder.stats())
}

fn matrix() -> impl Strategy<Value = (u8, u8)> {
    (1u8..=20, 4u8..=20).prop_filter("100 packets", |(l, d)| u16::from(*l) * u16::from(*d) <= MATRIX_MAX)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any loss of media and of FEC, at any rate; the sequence number wraps on the way.
    #[test]
    fn what_can_be_solved_is_recovered_to_the_byte(
        size in matrix(), with_rows: bool, percent in 0u64..50, first in 65_300u64..65_700, seed in 1u64..,
    ) {
        let mut state = seed;
        let lost = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % 100 < percent
        };
        played(size, with_rows, 4, first, lost)?;
    }

    /// Datagrams of strangers on all ports: no panic, nothing without bound.
    #[test]
    fn any_bytes_are_survived(
        datagrams in prop::collection::vec((any::<bool>(), 0u64..2000, prop::collection::vec(any::<u8>(), 28..60)), 0..300),
    ) {
        let mut decoder = Decoder::new(1);
        for (is_media, number, mut bytes) in datagrams {
            bytes[0] = bytes[0] & 0x3f | 0x80;
            if is_media {
                decoder.media(number, start(), &bytes.into());
            } else {
                (bytes[16], bytes[17], bytes[18], bytes[19]) = (bytes[16] | 0x80, 0, 0, 0);
                (bytes[24], bytes[25], bytes[26]) = (bytes[24] & 0x40, bytes[25] % 6, bytes[26] % 21);
                if let Ok(fec) = FecPacket::parse(&bytes) {
                    decoder.parity(start(), fec);
                }
            }
            prop_assert!(decoder.sums.len() <= SUMS_MAX);
        }
    }
}

#[test]
fn a_burst_as_long_as_a_row_is_recovered_by_columns_alone() {
    // Within the first matrix of 5 × 4 nothing but media is sent.
    let mut sent = 0;
    let lost = || {
        sent += 1;
        (5..10).contains(&sent)
    };
    let stats = played((5, 4), false, 4, 1000, lost).expect("as by definition");
    assert_eq!((stats.recovered, stats.wrong), (5, 0), "{stats:?}");
}

#[test]
fn nothing_is_kept_and_nothing_made_up_without_loss() {
    let stats = played((10, 10), true, 5, 1000, || false).expect("as by definition");
    assert_eq!((stats.recovered, stats.wrong, stats.astray), (0, 0, 0), "{stats:?}");
    // Rows of five matrices; the columns of the last one are still to be sent.
    assert_eq!(stats.packets, 50 + 40);
}

#[test]
fn what_is_only_late_is_not_lost() {
    let mut encoder = Encoder::new(4, 4, true).expect("a matrix");
    (0..4).for_each(|number| encoder.push(&media(number, 7)));
    let row = FecPacket::parse(&encoder.pop().expect("a row").1).expect("our own");
    let mut decoder = Decoder::new(0xfeed);
    (0..3).for_each(|number| assert!(!decoder.media(number, start(), &media(number, 7))));
    decoder.parity(start(), row);
    assert_eq!(decoder.pop(), None, "the sum was faster than its last packet");
    decoder.media(4, start(), &media(4, 7));
    assert_eq!(decoder.pop().map(|packet| packet.number), Some(3), "which is overtaken now");
    assert!(decoder.media(3, start(), &media(3, 7)), "and comes after all");
    assert!(!decoder.media(3, start(), &media(3, 7)), "once more is once too often");
}

#[test]
fn a_sum_of_another_stream_gives_no_packet() {
    let mut decoder = Decoder::new(1);
    let other = Encoder::new(5, 4, true).map(|mut encoder| {
        (0..5).for_each(|number| encoder.push(&media(number, 99)));
        encoder.pop().expect("a row").1
    });
    for number in [0, 1, 3, 4] {
        decoder.media(number, start(), &media(number, 7));
    }
    decoder.parity(start(), FecPacket::parse(&other.expect("a matrix")).expect("our own"));
    assert_eq!((decoder.pop(), decoder.stats().wrong), (None, 1));
}

#[test]
fn what_fec_costs_in_time_is_told() {
    let mut decoder = Decoder::new(1);
    let now = start();
    let span = Span { direction: Direction::Row, base: 0, step: 1, count: 4 };
    let fec = FecPacket { span, sum: Sum::default() };
    assert_eq!(decoder.parity(now, fec.clone()), None, "of a stream that has not begun");
    for (number, at) in [(0, 0), (1, 10), (3, 30)] {
        decoder.media(number, now.after(Duration::from_millis(at)), &media(number, 0));
    }
    let at = now.after(Duration::from_millis(45));
    assert_eq!(decoder.parity(at, fec), Some(Duration::from_millis(45)));
    let far = FecPacket { span: Span { base: 5000, ..span }, sum: Sum::default() };
    assert_eq!(decoder.parity(at, far), None);
    assert_eq!(decoder.stats().astray, 2);
}

/// FEC has sockets of its own: of a burst, all of its sums may be read before the second packet is.
#[test]
fn sums_that_overtake_all_their_packets_wait_for_them() {
    let (mut encoder, mut decoder) = (Encoder::new(5, 5, true).expect("a matrix"), Decoder::new(0xfeed));
    let sent: Vec<Bytes> = (0..2000).map(|number| media(number, 3)).collect();
    sent.iter().for_each(|datagram| encoder.push(datagram));
    decoder.media(0, start(), &sent[0]);
    while let Some((_, bytes)) = encoder.pop() {
        decoder.parity(start(), FecPacket::parse(&bytes).expect("our own"));
    }
    assert!(decoder.is_ahead());
    // The last matrix has no sums of its columns yet.
    let lost = |number: usize| number < 1975 && (10..15).contains(&(number % 25));
    for (number, datagram) in sent.iter().enumerate().filter(|(number, _)| !lost(*number)) {
        decoder.media(number as u64, start(), datagram);
    }
    let recovered: Vec<Recovered> = std::iter::from_fn(|| decoder.pop()).collect();
    assert_eq!(recovered.len(), 79 * 5);
    assert!(recovered.iter().all(|packet| packet.datagram == sent[packet.number as usize]));
    assert!(!decoder.is_ahead());
    assert_eq!((decoder.stats().astray, decoder.stats().crowded_out), (0, 0));
}

#[test]
fn sums_of_what_never_comes_are_bounded() {
    let mut decoder = Decoder::new(1);
    decoder.media(0, start(), &media(0, 0));
    for base in (1..=2000).cycle().take(5000) {
        let span = Span { direction: Direction::Row, base, step: 1, count: 4 };
        decoder.parity(start(), FecPacket { span, sum: Sum::default() });
    }
    assert_eq!((decoder.early.len(), decoder.stats().astray), (EARLY_MAX, 5000 - EARLY_MAX as u64));
    // A leap leaves them all behind.
    decoder.media(5000, start(), &media(5000, 0));
    assert_eq!((decoder.is_ahead(), decoder.stats().astray), (false, 5000));
}

#[test]
fn matrices_are_the_standards() {
    for (columns, rows, good) in [(1, 4, true), (20, 5, true), (5, 20, true), (10, 10, true), (10, 11, false)] {
        assert_eq!(Encoder::new(columns, rows, true).is_ok(), good, "{columns} x {rows}");
    }
    for (columns, rows) in [(0, 4), (21, 4), (5, 3), (5, 21)] {
        assert_eq!(Encoder::new(columns, rows, true).err(), Some(MatrixError { columns, rows }));
    }
}
