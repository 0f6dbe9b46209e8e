//! What a demux makes of streams that were written for it.

use proptest::prelude::*;

use super::testing::*;
use super::*;

const SECOND: u64 = 90_000;

/// Pictures at 25 Hz and frames of 1,024 samples at 48 kHz, PES packets of sound with four frames that overflow into the next.
fn stream(pictures: u64, bounded: bool, from: u64) -> Mux {
    let mut mux = Mux::new();
    let mut left: Vec<u8> = Vec::new();
    let mut frames = 0u64;
    for n in 0..pictures {
        if n % 5 == 0 {
            mux = mux.tables();
        }
        let data = picture(n % 10 == 0, 300 + (n as usize * 131) % 900);
        mux.pes(VIDEO, Some(from + n * 3600), bounded, &data);
        if n % 2 == 0 {
            let pts = from + (frames * 1024 * 90_000 + 24_000) / 48_000;
            let mut sound = std::mem::take(&mut left);
            for _ in 0..4 {
                sound.extend(adts(100 + (frames as usize * 37) % 200, frames as u8));
                frames += 1;
            }
            left = sound.split_off(sound.len() - 50);
            mux.pes(AUDIO, Some(pts), true, &sound);
        }
    }
    mux
}

#[test]
fn units_come_with_their_times() {
    for bounded in [false, true] {
        let (items, demux) = demux(Config::default(), &stream(20, bounded, 7 * SECOND).bytes, 188);
        let Item::Tracks(tracks) = &items[0] else { panic!("{:?} before the tracks", items[0]) };
        assert_eq!(tracks.tracks.iter().map(|t| t.codec).collect::<Vec<_>>(), [Codec::H264, Codec::AacAdts]);
        let want: Vec<_> =
            (0..20).map(|n| ((7 * SECOND + n * 3600) as i64, 300 + (n as usize * 131) % 900, false)).collect();
        assert_eq!(units(&items, VIDEO), want);
        let sound = |n: u64| {
            ((7 * SECOND + (n * 1024 * 90_000 + 24_000) / 48_000) as i64, 100 + (n as usize * 37) % 200, false)
        };
        // The last frame's last 50 bytes were never sent.
        assert_eq!(units(&items, AUDIO), (0..39).map(sound).collect::<Vec<_>>());
        let keys = items.iter().filter(|i| matches!(i, Item::Unit(u) if u.track.0 == VIDEO && u.key)).count();
        assert_eq!(keys, 2);
        let packets = demux.stats().packets;
        assert_eq!(demux.stats(), Stats { packets, ..Stats::default() });
    }
}

#[test]
fn a_unit_is_whole_between_two_delimiters() {
    let delimited = |rest: &[u8]| [&[0, 0, 0, 1, 9, 0xf0], rest].concat();
    let mut mux = Mux::new().tables();
    mux.pes(VIDEO, Some(1), false, &delimited(&picture(true, 500)));
    mux.pes(VIDEO, Some(3601), false, &delimited(&picture(false, 300)));
    // The rest of the picture before, under a time of its own.
    mux.pes(VIDEO, Some(7201), false, &picture(false, 200)[4..]);
    mux.pes(VIDEO, Some(10_801), false, &delimited(&picture(false, 300)));
    mux.pes(VIDEO, Some(14_401), true, &delimited(&picture(false, 300)));
    let (items, _) = demux(Config::default(), &mux.bytes, 188);
    let whole = |item: &Item<SourceTime>| match item {
        Item::Unit(unit) => Some(unit.whole),
        _ => None,
    };
    // The last one comes with its last byte, before anybody knows what is behind it.
    assert_eq!(items.iter().filter_map(whole).collect::<Vec<_>>(), [true, false, false, true, false]);
}

#[test]
fn a_bounded_pes_packet_comes_with_its_last_byte() {
    let mut mux = Mux::new().tables();
    mux.pes(VIDEO, Some(1), true, &picture(true, 500));
    let mut demux = Demux::new(Config::default());
    demux.push(&mux.bytes[..mux.bytes.len() - 1]);
    let count = |demux: &mut Demux| std::iter::from_fn(|| demux.pop()).filter(|i| matches!(i, Item::Unit(_))).count();
    assert_eq!(count(&mut demux), 0);
    demux.push(&mux.bytes[mux.bytes.len() - 1..]);
    assert_eq!(count(&mut demux), 1);
}

#[test]
fn payloads_without_a_time_go_on_with_the_one_before() {
    for (name, bounded, want) in [
        ("unbounded: one unit", false, vec![(9, 900, false), (3609, 300, false)]),
        ("bounded: its own unit", true, vec![(9, 500, false), (9, 400, false), (3609, 300, false)]),
    ] {
        let mut mux = Mux::new().tables();
        mux.pes(VIDEO, Some(9), bounded, &picture(true, 500));
        mux.pes(VIDEO, None, bounded, &vec![0x5a; 400]);
        mux.pes(VIDEO, Some(3609), bounded, &picture(false, 300));
        assert_eq!(units(&demux(Config::default(), &mux.bytes, 188).0, VIDEO), want, "{name}");
    }
}

#[test]
fn a_wrong_length_loses_no_byte() {
    let mut mux = Mux::new().tables();
    mux.pes(VIDEO, Some(9), true, &picture(true, 500));
    mux.pes(VIDEO, Some(3609), true, &picture(false, 300));
    let first = mux.places(VIDEO)[0];
    let length = mux.bytes[first + 4..].windows(4).position(|w| w == [0, 0, 1, 0xe0]).unwrap() + first + 4 + 4;
    mux.bytes[length + 1] -= 1;
    let (items, demux) = demux(Config::default(), &mux.bytes, 188);
    assert_eq!(units(&items, VIDEO), [(9, 500, false), (3609, 300, false)]);
    assert_eq!(demux.stats().pes_errors, 1);
}

#[test]
fn faults_are_marked_and_counted() {
    type Fault = fn(&mut Mux);
    // The picture at fault is the third of five: 1,500 bytes in nine packets.
    let table: [(&str, Fault, [bool; 5], Stats); 5] = [
        ("nothing", |_| {}, [false; 5], Stats::default()),
        (
            "a packet is missing",
            |mux| drop(mux.bytes.drain(mux.places(VIDEO)[20]..mux.places(VIDEO)[21])),
            [false, false, true, false, false],
            Stats { continuity_errors: 1, ..Stats::default() },
        ),
        (
            "fifteen and a packet repeat the counter",
            |mux| drop(mux.bytes.drain(mux.places(VIDEO)[19]..mux.places(VIDEO)[34])),
            [false, false, true, false, false],
            Stats { continuity_errors: 1, ..Stats::default() },
        ),
        (
            "a packet is sent twice",
            |mux| {
                let at = mux.places(VIDEO)[20];
                let twice = mux.bytes[at..at + PACKET_BYTES].to_vec();
                drop(mux.bytes.splice(at..at, twice));
            },
            [false; 5],
            Stats { duplicates: 1, ..Stats::default() },
        ),
        (
            "transport_error_indicator",
            |mux| {
                let at = mux.places(VIDEO)[20];
                mux.bytes[at + 1] |= 0x80;
            },
            [false, false, true, false, false],
            Stats { transport_errors: 1, ..Stats::default() },
        ),
    ];
    for (name, fault, damaged, stats) in table {
        for bounded in [false, true] {
            let mut mux = Mux::new().tables();
            for n in 0..5 {
                mux.pes(VIDEO, Some(n * 3600), bounded, &picture(n == 0, 1500));
            }
            assert_eq!(mux.bytes[mux.places(VIDEO)[18] + 1] & 0x40, 0x40, "the third picture starts there");
            fault(&mut mux);
            let (items, demux) = demux(Config::default(), &mux.bytes, 188);
            let packets = demux.stats().packets;
            assert_eq!(demux.stats(), Stats { packets, ..stats }, "{name}, bounded {bounded}");
            let mut got = [false; 5];
            for (pts, _, bad) in units(&items, VIDEO) {
                got[pts as usize / 3600] |= bad;
            }
            assert_eq!(got, damaged, "{name}, bounded {bounded}");
        }
    }
}

#[test]
fn sound_behind_a_hole_waits_for_the_next_time() {
    let mut mux = stream(20, true, 0);
    let hole = mux.places(AUDIO)[5];
    mux.bytes.drain(hole..hole + PACKET_BYTES);
    let (items, demux) = demux(Config::default(), &mux.bytes, 188);
    let whole: Vec<i64> = units(&super::testing::demux(Config::default(), &stream(20, true, 0).bytes, 188).0, AUDIO)
        .iter()
        .map(|u| u.0)
        .collect();
    let got: Vec<i64> = units(&items, AUDIO).iter().map(|u| u.0).collect();
    assert_eq!(demux.stats().continuity_errors, 1);
    assert!(got.len() < whole.len() && got.len() >= whole.len() - 8, "{} of {}", got.len(), whole.len());
    assert!(got.iter().all(|t| whole.contains(t)), "times that are none: {got:?}");
    assert!(got.windows(2).all(|w| w[0] < w[1]));
}

#[test]
fn a_jump_is_told_once_a_track_and_nothing_is_dropped() {
    let mut mux = stream(20, false, 100 * SECOND);
    mux.bytes.extend(stream(20, false, 3 * SECOND).bytes);
    let mut demux = Demux::new(Config::default());
    demux.push(&mux.bytes);
    demux.flush();
    let mut steps = Vec::new();
    let mut seconds: Vec<(u16, i64)> = Vec::new();
    while let Some(item) = demux.pop() {
        let Item::Unit(unit) = item else { continue };
        seconds.push((unit.track.0, unit.pts.ticks() / (50 * SECOND as i64)));
        if let Some(step) = demux.step(unit.track) {
            assert_eq!(demux.step(unit.track), None, "told once");
            assert!(unit.pts.ticks() < 50 * SECOND as i64, "told with the first unit that it is for: {unit:?}");
            steps.push((unit.track.0, step));
        }
    }
    steps.sort_unstable_by_key(|(pid, _)| *pid);
    let [(VIDEO, video), (AUDIO, audio)] = steps[..] else { panic!("{steps:?}") };
    // 20 pictures were to be followed by the next one.
    assert_eq!(video, TimeStep { by: -97 * SECOND as i64 - 20 * 3600, announced: false });
    assert!((audio.by - video.by).abs() < 22_500, "{audio:?}");
    for pid in [VIDEO, AUDIO] {
        let of = |part| seconds.iter().filter(|s| **s == (pid, part)).count();
        assert!(of(2) > 15 && of(0) > 15, "{pid:#x}: {} before, {} behind", of(2), of(0));
    }
}

#[test]
fn an_announced_time_base_is_said_to_be_one() {
    for announce in [true, false] {
        let mut mux = Mux::new().tables();
        for n in 0..10 {
            mux.pes(VIDEO, Some(SECOND + n * 3600), true, &picture(true, 300));
        }
        if announce {
            mux.discontinuity(VIDEO);
        }
        mux.pes(VIDEO, Some(4 * SECOND), true, &picture(true, 300));
        let mut demux = Demux::new(Config::default());
        demux.push(&mux.bytes);
        demux.flush();
        let mut steps = Vec::new();
        while let Some(item) = demux.pop() {
            if let Item::Unit(unit) = item {
                steps.extend(demux.step(unit.track));
            }
        }
        assert_eq!(steps, [TimeStep { by: 3 * SECOND as i64 - 36_000, announced: announce }]);
    }
}

#[test]
fn time_goes_on_over_the_wrap() {
    let from = (1 << 33) - 10 * 3600;
    let (items, demux) = demux(Config::default(), &stream(40, false, from).bytes, 188);
    assert_eq!(demux.stats().steps, 0);
    let want: Vec<i64> = (0..40).map(|n| (from + n * 3600) as i64).collect();
    assert_eq!(units(&items, VIDEO).iter().map(|u| u.0).collect::<Vec<_>>(), want);
    assert!(units(&items, AUDIO).windows(2).all(|w| (1919..=1921).contains(&(w[1].0 - w[0].0))));
}

#[test]
fn a_programme_is_chosen() {
    // Programme 1 has data only, 2 sound, 3 pictures.
    let mux = |missing: Option<u16>, rounds: usize| {
        let mut mux = Mux::new();
        for _ in 0..rounds {
            mux.pat(0, &[(1, 0x21), (2, 0x22), (3, 0x23)]);
            for (number, stream_type) in [(1u16, 0x06), (2, 0x0f), (3, 0x1b)] {
                if missing != Some(number) {
                    mux.pmt(0, 0x20 + number, number, &[(stream_type, 0x200 + number, b"")]);
                }
            }
        }
        mux.bytes
    };
    for (name, wish, bytes, want) in [
        ("the first decodable one", None, mux(None, 2), Some(2)),
        ("the one asked for", Some(3), mux(None, 2), Some(3)),
        ("asked for and not decodable", Some(1), mux(None, 2), Some(1)),
        ("asked for and not there", Some(4), mux(None, 9), None),
        ("a map that never comes", None, mux(Some(1), 5), Some(2)),
        ("two maps that never come", None, mux(Some(2), 5), Some(3)),
    ] {
        let mut demux = Demux::new(Config { program: wish, ..Config::default() });
        demux.push(&bytes);
        assert_eq!(demux.programme(), want, "{name}");
    }
}

#[test]
fn the_map_may_change() {
    let mut mux = Mux::new().tables();
    mux.pes(VIDEO, Some(0), false, &picture(true, 300));
    mux.pmt(1, PMT, 1, &[(0x1b, 0x200, b""), (0x0f, AUDIO, b"\x0a\x04deu\x00")]);
    mux.pes(0x200, Some(3600), false, &picture(true, 300));
    let (items, _) = demux(Config::default(), &mux.bytes, 188);
    let seen: Vec<_> = items
        .iter()
        .map(|item| match item {
            Item::Tracks(set) => format!("tracks {:#x} {:?}", set.tracks[0].id.0, set.tracks[1].language),
            Item::Unit(u) => format!("unit {:#x}", u.track.0),
            other => format!("{other:?}"),
        })
        .collect();
    let german = format!("{:?}", Some(*b"deu"));
    assert_eq!(seen, ["tracks 0x100 None", "unit 0x100", &format!("tracks 0x200 {german}"), "unit 0x200"]);
}

#[test]
fn the_stream_knows_better_than_the_map() {
    let mut mux = Mux::new();
    mux.pat(0, &[(1, PMT)]);
    mux.pmt(0, PMT, 1, &[(0x04, AUDIO, b"")]);
    mux.pes(AUDIO, Some(5), true, &[adts(100, 1), adts(120, 2)].concat());
    let (items, demux) = demux(Config::default(), &mux.bytes, 188);
    assert_eq!(demux.tracks().unwrap().tracks[0].codec, Codec::AacAdts);
    assert_eq!(units(&items, AUDIO), [(5, 100, false), (1925, 120, false)]);
    assert!(matches!(&items[1], Item::Tracks(_)), "told before the first unit");
}

#[test]
fn tables_with_a_counter_that_stands_still_are_read() {
    let mut mux = Mux::new().tables();
    for (version, pid) in [(1, 0x111), (2, 0x112), (3, 0x113)] {
        mux.pmt(version, PMT, 1, &[(0x1b, pid, b"")]);
    }
    for at in [mux.places(PAT_PID), mux.places(PMT)].concat() {
        mux.bytes[at + 3] &= 0xf0;
    }
    let (_, demux) = demux(Config::default(), &mux.bytes, 188);
    assert_eq!(demux.tracks().unwrap().tracks[0].id, TrackId(0x113));
    assert_eq!(demux.stats().continuity_errors, 0);
}

#[test]
fn a_wrong_checksum_changes_nothing() {
    let mut mux = Mux::new().tables();
    mux.pmt(1, PMT, 1, &[(0x1b, 0x200, b"")]);
    let last = *mux.places(PMT).last().unwrap();
    mux.bytes[last + 12] ^= 1;
    let (_, demux) = demux(Config::default(), &mux.bytes, 188);
    assert_eq!(demux.stats().crc_errors, 1);
    assert_eq!(demux.tracks().unwrap().tracks[0].id, TrackId(VIDEO));
}

#[test]
fn too_long_a_pes_packet_is_dropped() {
    let mut mux = Mux::new().tables();
    mux.pes(VIDEO, Some(0), false, &picture(true, 5000));
    mux.pes(VIDEO, Some(3600), false, &picture(true, 300));
    let (items, demux) = demux(Config { pes_bytes_max: 4000, ..Config::default() }, &mux.bytes, 188);
    assert_eq!(units(&items, VIDEO), [(3600, 300, false)]);
    assert_eq!(demux.stats().pes_too_long, 1);
}

#[test]
fn scrambled_packets_are_left_out() {
    let mut mux = stream(4, true, 0);
    for at in mux.places(VIDEO) {
        mux.bytes[at + 3] |= 0x80;
    }
    let (items, demux) = demux(Config::default(), &mux.bytes, 188);
    assert_eq!((units(&items, VIDEO), demux.stats().scrambled), (vec![], mux.places(VIDEO).len() as u64));
}

/// Most a demux with these limits may hold: framing, sections, PES packets of two tracks, frames.
fn held_max(config: &Config) -> usize {
    Framer::BUFFER_MAX + 2 * (config.pes_bytes_max + PACKET_BYTES) + 2 * 70_000 + 64 * 1024
}

#[test]
fn a_million_random_packets_are_survived() {
    // xorshift64: the same packets every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let config = Config { pes_bytes_max: 100_000, ..Config::default() };
    let mut demux = Demux::new(config.clone());
    let mut tables = Mux::new().tables().bytes;
    tables.extend(stream(4, false, 0).bytes);
    let mut packets = vec![0u8; 100 * PACKET_BYTES];
    let mut most = 0;
    for round in 0..10_000 {
        for packet in packets.chunks_mut(PACKET_BYTES) {
            for bytes in packet.chunks_mut(8) {
                bytes.copy_from_slice(&random().to_le_bytes()[..bytes.len()]);
            }
            packet[0] = 0x47;
            // Half of them on PIDs that matter, the error flag seldom, so that every branch is met.
            let pid = [PAT_PID, PMT, VIDEO, AUDIO][(random() % 4) as usize];
            if random() % 2 == 0 {
                packet[1] = packet[1] & 0x40 | (pid >> 8) as u8;
                packet[2] = pid as u8;
                packet[3] &= 0x3f;
            }
            if packet[1] & 0x40 != 0 && random() % 2 == 0 {
                packet[3] &= 0xdf;
                packet[4..10].copy_from_slice(&[0, 0, 1, 0xe0, 0, 0]);
            }
        }
        if round % 100 == 0 {
            demux.push(&tables);
        }
        demux.push(&packets);
        while demux.pop().is_some() {}
        most = most.max(demux.buffered_bytes());
    }
    demux.flush();
    let stats = demux.stats();
    assert!(
        stats.packets > 1_000_000 && stats.pes_errors > 0 && stats.continuity_errors > 0 && stats.crc_errors > 0,
        "{stats:?}"
    );
    assert!(most < held_max(&config), "held {most} bytes");
}

#[test]
fn nobody_pops() {
    let bytes = stream(500, true, 0).bytes;
    let mut demux = Demux::new(Config::default());
    for _ in 0..40 {
        demux.push(&bytes);
    }
    assert!(demux.stats().items_dropped > 0);
    assert!(std::iter::from_fn(|| demux.pop()).count() <= 2 * QUEUE_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..4000), portion in 1usize..500) {
        demux(Config::default(), &bytes, portion);
    }

    #[test]
    fn any_packets_are_survived(
        packets in prop::collection::vec((0u8..5, any::<bool>(), prop::collection::vec(any::<u8>(), 184)), 1..60),
        portion in 1usize..500,
    ) {
        let mut bytes = Mux::new().tables().bytes;
        for (n, (pid, starts, payload)) in packets.iter().enumerate() {
            let pid = [PAT_PID, PMT, VIDEO, AUDIO, 0x555][usize::from(*pid)];
            bytes.extend([0x47, (pid >> 8) as u8 | if *starts { 0x40 } else { 0 }, pid as u8, 0x10 | n as u8 & 0x0f]);
            bytes.extend(payload);
        }
        let config = Config { pes_bytes_max: 2000, ..Config::default() };
        let (_, demux) = demux(config.clone(), &bytes, portion);
        prop_assert!(demux.buffered_bytes() < held_max(&config));
    }

    #[test]
    fn portions_do_not_matter(portion in 1usize..3000, hole in 0usize..20_000, bounded: bool) {
        let mut bytes = stream(20, bounded, 0).bytes;
        bytes.drain(hole.min(bytes.len())..(hole + 77).min(bytes.len()));
        let (whole, _) = demux(Config::default(), &bytes, bytes.len());
        prop_assert_eq!(demux(Config::default(), &bytes, portion).0, whole);
    }

    #[test]
    fn who_joins_later_agrees(from in 1usize..12_000, bounded: bool) {
        let bytes = stream(30, bounded, 5 * SECOND).bytes;
        let (early, _) = demux(Config::default(), &bytes, 188);
        let (late, _) = demux(Config::default(), &bytes[from..], 188);
        for pid in [VIDEO, AUDIO] {
            let of = |items: &[Item<SourceTime>]| -> Vec<Unit<SourceTime>> {
                items.iter().filter_map(|i| match i {
                    Item::Unit(u) if u.track.0 == pid => Some(u.clone()),
                    _ => None,
                }).collect()
            };
            let (early, late) = (of(&early), of(&late));
            prop_assert!(!late.is_empty() && late.len() <= early.len());
            prop_assert_eq!(&early[early.len() - late.len()..], &late[..]);
        }
    }
}
