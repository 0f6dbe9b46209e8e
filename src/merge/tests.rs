use std::time::Instant;

use super::testing::*;
use super::*;

#[test]
fn a_packet_is_overtaken_on_one_path() {
    let packets = Source::new(3).packets(7 * 1_000);
    let mut arrivals = Vec::new();
    for path in 0..2 {
        let mut sent = datagrams(&packets, 0);
        for n in (700..950).step_by(50) {
            let n = n + 20 * path;
            let (first, second) = (sent[n].1.clone(), sent[n + 1].1.clone());
            (sent[n].1, sent[n + 1].1) = (second, first);
        }
        arrivals.extend(sent.into_iter().map(|(at, data)| (at, path, None, data)));
    }
    let want: Vec<Bytes> = packets.iter().filter(|p| told_apart(p)).cloned().collect();
    assert_eq!(difference(&run(2, 200, arrivals).told_apart(), &want), None);
}

#[test]
fn either_path_is_cut_and_comes_back_with_another_skew() {
    let packets = Source::new(4).packets(7 * 6_000);
    let want: Vec<Bytes> = packets.iter().filter(|p| told_apart(p)).cloned().collect();
    let source = datagrams(&packets, 0);
    let mut arrivals = Vec::new();
    for (n, (at, data)) in source.iter().enumerate() {
        if !(1_000..2_500).contains(&n) {
            arrivals.push((*at, 0, None, data.clone()));
        }
        if !(3_500..5_000).contains(&n) {
            let skew = if n < 3_500 { 150_000 } else { 60_000 };
            arrivals.push((at + skew, 1, None, data.clone()));
        }
    }
    let outcome = run(2, 300, arrivals);
    assert_eq!(difference(&outcome.told_apart(), &want), None);
    let aligned = outcome.news.iter().filter(|news| matches!(news, News::Aligned { .. })).count();
    assert_eq!(aligned, 4, "{:?}", outcome.news);
    let skew = outcome.figures.skew().unwrap();
    assert!(skew.abs_diff(Duration::from_millis(60)) < Duration::from_millis(2), "{skew:?}");
    assert_eq!(outcome.figures.class(), Some(SkewClass::C));
}

#[test]
fn packets_of_filling_that_look_alike_are_all_given_out() {
    let mut source = Source::new(11);
    source.fills = true;
    let packets = source.packets(7 * 2_000);
    let mut arrivals = Vec::new();
    for (n, (at, data)) in datagrams(&packets, 0).into_iter().enumerate() {
        if n < 500 || n % 10 != 0 {
            arrivals.push((at, 0, None, data.clone()));
        }
        if n < 500 || n % 10 != 5 {
            arrivals.push((at + 30_000, 1, None, data));
        }
    }
    let want: Vec<Bytes> = packets.iter().filter(|p| told_apart(p)).cloned().collect();
    assert_eq!(difference(&run(2, 200, arrivals).told_apart(), &want), None);
}

#[test]
fn a_packet_that_the_multiplexer_sends_twice_is_given_out_once() {
    let packets = Source::new(12).packets(7 * 2_000);
    // ISO/IEC 13818-1 §2.4.3.3: the same bytes, right behind each other in their PID.
    let twice =
        |(n, p): (usize, &Bytes)| vec![p.clone(); if told_apart(p) && n % 50 == 0 && p[3] & 0x20 == 0 { 2 } else { 1 }];
    let sent: Vec<Bytes> = packets.iter().enumerate().flat_map(twice).collect();
    assert!(sent.len() > packets.len() + 100);
    let mut arrivals = Vec::new();
    for (n, (at, data)) in datagrams(&sent, 0).into_iter().enumerate() {
        if n < 500 || n % 5 != 0 {
            arrivals.push((at, 0, None, data.clone()));
        }
        if n < 500 || n % 5 != 2 {
            arrivals.push((at + 30_000, 1, None, data));
        }
    }
    let want: Vec<Bytes> = packets.iter().filter(|p| told_apart(p)).cloned().collect();
    assert_eq!(difference(&run(2, 200, arrivals).told_apart(), &want), None);
}

#[test]
fn different_streams_are_told_and_not_mixed() {
    let (ours, theirs) = (Source::new(5).packets(7 * 3_000), Source::new(6).packets(7 * 3_000));
    let mut arrivals: Vec<Arrival> = datagrams(&ours, 0).into_iter().map(|(at, data)| (at, 0, None, data)).collect();
    arrivals.extend(datagrams(&theirs, 1_000).into_iter().map(|(at, data)| (at, 1, None, data)));
    let outcome = run(2, 200, arrivals);
    let want: Vec<Bytes> = ours.iter().filter(|p| told_apart(p)).cloned().collect();
    assert_eq!(difference(&outcome.told_apart(), &want), None);
    assert!(outcome.news.contains(&News::NotTheSame { path: 1 }), "{:?}", outcome.news);
    assert_eq!(outcome.figures.paths[1].state, PathState::NotTheSame);
    assert_eq!(outcome.figures.skew(), None, "one path alone takes part");
}

#[test]
fn tables_that_were_remultiplexed_come_from_one_path() {
    let packets = Source::new(7).packets(7 * 3_000);
    let tables = |p: &Bytes| pid(p) == 0 || pid(p) == MAP;
    // The other path has its own tables, elsewhere and counted otherwise, and no null packets.
    let mut counter = 0;
    let mut other = Vec::new();
    for (n, packet) in packets.iter().enumerate() {
        if told_apart(packet) {
            other.push(packet.clone());
        }
        if n % 190 == 77 {
            counter = (counter + 1) & 0x0f;
            for first in packets.iter().take(2) {
                let mut table = first.to_vec();
                table[3] = 0x10 | counter;
                other.push(Bytes::from(table));
            }
        }
    }
    let mut arrivals: Vec<Arrival> = Vec::new();
    for (n, (at, data)) in datagrams(&packets, 0).into_iter().enumerate() {
        if n < 1_000 || n % 10 != 0 {
            arrivals.push((at, 0, None, data));
        }
    }
    let spread = packets.len() as i64 * PACKET_MICROS / other.len().div_ceil(7) as i64;
    arrivals.extend(
        other.chunks(7).enumerate().map(|(n, p)| (n as i64 * spread + 30_000, 1, None, Bytes::from(p.concat()))),
    );
    let outcome = run(2, 200, arrivals);
    let want: Vec<Bytes> = packets.iter().filter(|p| told_apart(p)).cloned().collect();
    assert_eq!(difference(&outcome.told_apart(), &want), None);
    let of_other: Vec<usize> = outcome.pieces.iter().filter(|m| tables(&m.data)).map(|m| m.path).collect();
    assert!(of_other.len() > 100 && of_other.iter().all(|path| *path == 0), "{of_other:?}");
}

#[test]
fn rtp_paths_of_different_numbering_are_merged_by_content() {
    let packets = Source::new(8).packets(7 * 5_000);
    let mut arrivals = Vec::new();
    for (n, (at, data)) in datagrams(&packets, 0).into_iter().enumerate() {
        if n < 3_000 || n % 5 != 0 {
            arrivals.push((at, 0, rtp(1, n), data.clone()));
        }
        if n < 3_000 || n % 5 != 2 {
            arrivals.push((at + 20_000, 1, rtp(2, n + 777), data));
        }
    }
    let outcome = run(2, 200, arrivals);
    assert!(outcome.news.contains(&News::ByContent), "{:?}", outcome.news);
    let want: Vec<Bytes> = packets.iter().filter(|p| told_apart(p)).cloned().collect();
    assert_eq!(difference(&outcome.told_apart(), &want), None);
}

#[test]
fn a_sender_that_begins_anew_is_followed() {
    let packets = Source::new(9).packets(7 * 2_000);
    let mut arrivals = Vec::new();
    for (n, (at, data)) in datagrams(&packets, 0).into_iter().enumerate() {
        let header = if n < 1_000 { rtp(1, n) } else { rtp(9, n + 20_000) };
        arrivals.push((at, 0, header, data.clone()));
        arrivals.push((at + 40_000, 1, header, data));
    }
    let outcome = run(2, 200, arrivals);
    assert_eq!(difference(&outcome.packets(), &packets), None);
    assert!(outcome.news.contains(&News::Moved { path: 0 }), "{:?}", outcome.news);
    assert!(outcome.figures.by_sequence);
}

#[test]
fn skew_has_classes() {
    for (micros, want) in [
        (0, Some(SkewClass::D)),
        (150, Some(SkewClass::D)),
        (151, Some(SkewClass::A)),
        (10_001, Some(SkewClass::B)),
        (450_000, Some(SkewClass::C)),
        (450_001, None),
    ] {
        assert_eq!(SkewClass::of(Duration::from_micros(micros)), want, "{micros} µs");
    }
}

#[test]
fn latency_is_the_window() {
    let packets = Source::new(10).packets(7 * 500);
    for window in [20, 200, 1_000] {
        let arrivals = datagrams(&packets, 0).into_iter().map(|(at, data)| (at, 0, None, data)).collect();
        let outcome = run(2, window, arrivals);
        for (n, piece) in outcome.pieces.iter().enumerate().step_by(100) {
            let late = piece.arrival.since(outcome.start);
            let sent = Duration::from_millis(window);
            assert!(late >= sent, "piece {n} after {late:?}");
        }
        let last = outcome.pieces.last().unwrap().arrival.since(outcome.start);
        assert_eq!(last, Duration::from_millis(window) + Duration::from_micros(499 * DATAGRAM_MICROS as u64));
    }
}

#[test]
fn streams_that_part_and_are_strangers_do_no_harm() {
    // Random mixtures: two streams each with its own losses and the other's packets cut in.
    for seed in 0..3 {
        let mut chance = Chance::new(seed);
        let ours = datagrams(&Source::new(seed).packets(7 * 2_000), 0);
        let theirs = datagrams(&Source::new(seed + 100).packets(7 * 2_000), 0);
        let mut arrivals: Vec<Arrival> = Vec::new();
        for (n, ((at, data), (_, other))) in ours.into_iter().zip(theirs).enumerate() {
            // The second path brings the same, then goes over to another stream, and back.
            let strange = (800..1_200).contains(&n) || n > 1_700;
            let second = if strange { other } else { data.clone() };
            if !chance.percent(20) {
                arrivals.push((at, 0, None, data));
            }
            if !chance.percent(20) {
                arrivals.push((at + 30_000 + chance.below(9_000) as i64, 1, None, second));
            }
        }
        run(2, 200, arrivals);
    }
}

/// All that waits may have been given out before; the fuzzer found that the merge then stood still for ever.
#[test]
fn where_all_that_waits_was_given_out_before_nothing_stands_still() {
    let heads: [[u8; 5]; 12] = [
        [0x3d, 0x3d, 0x3d, 0x3d, 0x3d],
        [0x3d, 0x3d, 0x3d, 0x3d, 0x3b],
        [0x3d, 0x3d, 0x3d, 0x3d, 0x3b],
        [0x3d, 0x00, 0x33, 0x3d, 0x23],
        [0x3d, 0x3d, 0x3d, 0x3d, 0x3d],
        [0x3d, 0x3d, 0x3d, 0x3d, 0x3c],
        [0x3d, 0x3d, 0x3d, 0x3d, 0xfd],
        [0x3d, 0x3d, 0x3d, 0x3d, 0x3d],
        [0x3d, 0x3d, 0x3d, 0x3d, 0x3b],
        [0x3d, 0x3d, 0x3d, 0x3d, 0x3d],
        [0x03, 0x00, 0x00, 0x00, 0x00],
        [0x00, 0x00, 0x00, 0x16, 0x3d],
    ];
    let start = Now { mono: Instant::now(), utc: Duration::from_secs(1_795_262_400) };
    let mut merge = Merge::new(Config { paths: 3, window: Duration::from_millis(40) });
    let packets = heads.map(|[a, b, c, d, fill]| {
        let mut packet = [fill; 188];
        packet[..6].copy_from_slice(&[0x47, a, b, c, d, fill]);
        packet
    });
    merge.push(2, start, None, &Bytes::from(packets.concat()));
    let given = std::iter::from_fn(|| merge.pop(start.after(Duration::from_millis(60)))).count();
    assert!((1..=heads.len()).contains(&given), "{given}");
}
