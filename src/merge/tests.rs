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
