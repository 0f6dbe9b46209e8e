//! A store, its folder, and what comes back.

mod crash;
mod disk;
mod harness;
mod long;

use std::fs;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use harness::{Told, content, judge, numbers, put, rows, settings};

#[test]
fn what_was_stored_comes_back_bit_by_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let store = Folder::open(settings(folder.path())).expect("free").begin(Bytes::from_static(b"news"), told.sink());
    let store = store.expect("begun");
    store.note(Bytes::from_static(b"anchors 1")).expect("short");
    (100..117).for_each(|n| put(&store, n));
    store.gap(SegmentNumber(117), Bytes::from_static(b"late"));
    (118..130).for_each(|n| put(&store, n));
    store.gap(SegmentNumber(130), Bytes::from_static(b"both dead"));
    store.note(Bytes::from_static(b"anchors 2")).expect("short");
    let stored = told.stored(130);
    // Places are good while the store runs, ...
    assert_eq!(stored.len(), 31);
    for (number, objects) in &stored {
        for (track, place) in objects {
            assert_eq!(place.read().expect("there"), harness::whole(number.0, *track), "{number} {track:?}");
        }
    }
    let figures = store.figures();
    assert_eq!((figures.stored, figures.lost, figures.errors), (31, 0, 0), "{figures:?}");
    store.close();
    let on_disk: u64 = harness::files(folder.path()).iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(figures.bytes.abs_diff(on_disk) < 1000, "{} counted, {on_disk} there", figures.bytes);

    // ... and what is recovered says the same.
    let opened = Folder::open(settings(folder.path())).expect("free again");
    assert_eq!(opened.head().map(|head| &head[..]), Some(&b"news"[..]));
    let (store, recovered) = opened.go_on(told.sink()).expect("readable");
    assert_eq!(judge(&recovered), (100..131).collect::<Vec<_>>());
    let last = recovered.segments().next_back().expect("some");
    assert_eq!((last.state(), last.note()), (State::Gap, &b"both dead"[..]));
    let found = |number| recovered.segment(SegmentNumber(number)).map(|segment| (segment.number().0, segment.state()));
    assert_eq!(
        [found(99), found(117), found(118), found(131)],
        [None, Some((117, State::Gap)), Some((118, State::Closed)), None]
    );
    assert_eq!(recovered.note().map(|note| &note[..]), Some(&b"anchors 2"[..]));
    assert_eq!(recovered.damage(), Damage::default());
    // It goes on, and the state goes with it into new blocks.
    put(&store, 131);
    told.stored(131);
    store.close();
    let (recovered, _) = harness::recover(folder.path());
    assert_eq!(judge(&recovered).len(), 32);
    assert_eq!(recovered.note().map(|note| &note[..]), Some(&b"anchors 2"[..]));
    let newest = harness::files(folder.path()).into_iter().rfind(|(name, _)| name.ends_with(".index")).expect("some").1;
    assert!(
        newest.windows(9).any(|bytes| bytes == b"anchors 2"),
        "so that no block is needed for the state of another"
    );
}

#[test]
fn what_is_told_to_be_written_outlives_a_death() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let store = Folder::open(settings(folder.path())).expect("free").begin(Bytes::from_static(b"news"), told.sink());
    let store = store.expect("begun");
    for part in 0..3 {
        store.part(SegmentNumber(7), part, vec![(Track(0), Bytes::from(vec![part as u8; 1000]))]);
        let (tell, written) = std::sync::mpsc::channel();
        store.when_written(move || tell.send(()).expect("somebody waits"));
        written.recv_timeout(Duration::from_secs(30)).expect("it is told");
        // What a process finds that takes over from one that was killed now.
        let died = tempfile::tempdir().expect("a folder");
        harness::copy(folder.path(), died.path());
        let (recovered, _) = harness::recover(died.path());
        let segment = recovered.segment(SegmentNumber(7)).expect("begun");
        let rows = segment.objects().next().expect("a track").parts.len();
        assert_eq!((segment.state(), rows), (State::Open, usize::from(part) + 1));
    }
}

#[test]
fn a_window_that_is_set_aside_is_gone_and_its_places_never_read_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = |head: &'static [u8], told: &Told| {
        Folder::open(settings(folder.path()))
            .expect("free")
            .begin(Bytes::from_static(head), told.sink())
            .expect("begun")
    };
    let told = Told::default();
    let store = begin(b"five rungs", &told);
    (0..20).for_each(|n| put(&store, n));
    let places: Vec<Place> =
        told.stored(19).into_iter().flat_map(|(_, objects)| objects).map(|(_, place)| place).collect();
    store.close();
    fs::write(folder.path().join("letter.txt"), "not ours").expect("written");
    let told = Told::default();
    let store = begin(b"six rungs", &told);
    (0..3).for_each(|n| put(&store, n));
    told.stored(2);
    assert!(places.iter().all(|place| place.read().is_err()), "never the bytes of another window");
    store.close();
    let opened = Folder::open(settings(folder.path())).expect("free");
    assert_eq!(opened.head().map(|head| &head[..]), Some(&b"six rungs"[..]));
    let (_store, recovered) = opened.go_on(told.sink()).expect("readable");
    assert_eq!(judge(&recovered), [0, 1, 2]);
    assert!(folder.path().join("letter.txt").exists(), "what is not ours stays");

    // Killed between the new head and the removal of what it replaces: what is left is not taken for the new window's.
    let store = tempfile::tempdir().expect("a folder");
    harness::copy(folder.path(), store.path());
    files::write_head(store.path(), 77, b"seven rungs").expect("written");
    let opened = Folder::open(settings(store.path())).expect("free");
    let (running, recovered) = opened.go_on(told.sink()).expect("readable");
    assert_eq!(recovered.segments().len(), 0);
    running.close();
    let left = harness::files(store.path()).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(left, ["head", "letter.txt", "lock"], "and it is removed");
}

#[test]
fn a_folder_says_why_it_cannot_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let open = || Folder::open(settings(folder.path()));
    let named = |error: Error| {
        let line = error.line();
        assert!(line.contains(folder.path().to_str().expect("text")), "{line}");
        line
    };
    assert!(named(open().expect("free").go_on(told.sink()).expect_err("nothing there")).contains("no window"));
    let long = open().expect("free").begin(vec![0; HEAD_MAX + 1].into(), told.sink()).expect_err("too long");
    assert!(matches!(long, Error::TooLong { len: 4_194_305, max: 4_194_304 }), "{long}");
    let store = open().expect("free").begin(vec![7; HEAD_MAX].into(), told.sink()).expect("begun");
    assert!(named(open().expect_err("taken")).contains("another process"));
    assert!(matches!(store.note(vec![0; NOTE_MAX + 1].into()), Err(Error::TooLong { .. })));
    store.close();
    assert_eq!(open().expect("free").head().map(Bytes::len), Some(HEAD_MAX));
    fs::write(folder.path().join("file"), "").expect("written");
    let error = Folder::open(settings(&folder.path().join("file"))).expect_err("a file");
    assert!(named(error).contains("make the folder"));
}

#[test]
fn an_open_segment_is_gone_on_with_or_left_out() {
    for (name, go_on) in
        [("with its next part", 1), ("closed at once", 2), ("as a gap", 3), ("not at all", 4), ("from its part 0", 5)]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let told = Told::default();
        let store =
            Folder::open(settings(folder.path())).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
        put(&store, 50);
        let all = rows(53);
        let given = if go_on == 2 { all.len() } else { 2 };
        all[..given].iter().enumerate().for_each(|(part, row)| store.part(SegmentNumber(53), part as u16, row.clone()));
        // The rows are in the files when a note that was given after them is.
        store.close();

        let (store, recovered) = Folder::open(settings(folder.path())).expect("free").go_on(told.sink()).expect("good");
        assert_eq!(judge(&recovered), [50, 53], "{name}");
        let open = recovered.segments().next_back().expect("there");
        assert_eq!((open.state(), usize::from(open.rows())), (State::Open, given), "{name}");
        let (number, want) = (SegmentNumber(53), go_on != 4);
        match go_on {
            1 => all[2..].iter().enumerate().for_each(|(n, row)| store.part(number, 2 + n as u16, row.clone())),
            3 => store.gap(number, Bytes::from_static(b"both dead")),
            4 => put(&store, 54),
            5 => all.iter().enumerate().for_each(|(part, row)| store.part(number, part as u16, row.clone())),
            _ => {}
        }
        if [1, 2, 5].contains(&go_on) {
            store.closed(number, harness::tags(53), content(53, 99, 99));
        }
        told.stored(if want { 53 } else { 54 });
        store.close();
        let (recovered, _) = harness::recover(folder.path());
        let second = if want { 53 } else { 54 };
        assert_eq!(judge(&recovered), [50, second], "{name}");
        let state = if go_on == 3 { State::Gap } else { State::Closed };
        assert_eq!(recovered.segments().next_back().map(Segment::state), Some(state), "{name}");
    }
}

#[test]
fn what_does_not_follow_is_lost_whole_and_told_once() {
    let one = |track| vec![(Track(track), Bytes::from_static(b"x"))];
    let many = |tracks: u16| (0..tracks).map(|track| (Track(track), Bytes::from_static(b"x"))).collect::<Vec<_>>();
    let number = SegmentNumber(9);
    type Put<'a> = &'a dyn Fn(&Store);
    let cases: [(&str, Why, Put<'_>); 9] = [
        ("no part 0", Why::OutOfOrder, &|s| s.part(number, 1, one(0))),
        ("a part is missing", Why::OutOfOrder, &|s| [0, 2].iter().for_each(|part| s.part(number, *part, one(0)))),
        ("a part comes twice", Why::OutOfOrder, &|s| [0, 0].iter().for_each(|part| s.part(number, *part, one(0)))),
        ("a track comes twice", Why::OutOfOrder, &|s| s.part(number, 0, [one(0), one(0)].concat())),
        ("closed and never begun", Why::OutOfOrder, &|s| s.closed(number, vec![], Bytes::new())),
        ("tags of other tracks", Why::OutOfOrder, &|s| {
            s.part(number, 0, one(0));
            s.closed(number, vec![(Track(1), [0; 16])], Bytes::new());
        }),
        ("too many tracks", Why::TooLarge, &|s| s.part(number, 0, many(257))),
        ("too many parts", Why::TooLarge, &|s| (0..257).for_each(|part| s.part(number, part, one(0)))),
        ("too long a note", Why::TooLarge, &|s| s.gap(number, vec![0; NOTE_MAX + 1].into())),
    ];
    for (name, want, act) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let told = Told::default();
        let store =
            Folder::open(settings(folder.path())).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
        put(&store, 8);
        act(&store);
        // More of it changes nothing; neither does one before it, or one that is stored.
        store.part(number, 0, one(0));
        store.closed(number, vec![(Track(0), [0; 16])], Bytes::new());
        put(&store, 7);
        put(&store, 8);
        put(&store, 10);
        told.stored(10);
        assert_eq!(told.lost(), [(9, want)], "{name}");
        let repeated = 2 + rows(7).len() + rows(8).len();
        assert_eq!((store.figures().lost, store.figures().ignored), (1, repeated as u64), "{name}");
        store.close();
        assert_eq!(judge(&harness::recover(folder.path()).0), [8, 10], "{name}");
    }
    // One that was never closed is told of when the next one begins.
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let store = Folder::open(settings(folder.path())).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
    store.part(number, 0, one(0));
    put(&store, 10);
    told.stored(10);
    assert_eq!(told.lost(), [(9, Why::Unfinished)]);
    store.close();
    assert_eq!(judge(&harness::recover(folder.path()).0), [10]);
}

#[test]
fn the_largest_segment_that_can_be_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let store = Folder::open(settings(folder.path())).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
    let number = SegmentNumber(1);
    for part in 0..256 {
        store.part(number, part, (0..256).map(|track| (Track(track), Bytes::from(vec![track as u8; 1]))).collect());
    }
    store.closed(number, (0..256).map(|track| (Track(track), [track as u8; 16])).collect(), vec![9; NOTE_MAX].into());
    told.stored(1);
    store.close();
    let (recovered, _) = harness::recover(folder.path());
    let segment = recovered.segments().next().expect("there");
    assert_eq!((segment.state(), segment.rows(), segment.note().len()), (State::Closed, 256, NOTE_MAX));
    for (track, object) in (0u16..).zip(segment.objects()) {
        assert_eq!((object.track, object.tag), (Track(track), [track as u8; 16]));
        assert_eq!(object.place.read().expect("there"), vec![track as u8; 256]);
    }
    assert_eq!(segment.objects().len(), 256);
}

#[test]
fn old_blocks_go_by_number_and_by_bytes() {
    for (name, window, bytes_max, least, most) in [
        // Blocks of eight segments.
        ("by number", 40, u64::MAX, 40, 48),
        ("by bytes", 1_000_000, 20_000, 20, 60),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let told = Told::default();
        let settings = Settings {
            bytes_max,
            ..Settings::new(folder.path(), Duration::from_secs(2), Duration::from_secs(2 * window), bytes_max)
        };
        let store = Folder::open(settings.clone()).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
        put(&store, 1000);
        let first = told.stored(1000).remove(0).1.remove(0).1;
        let held = first.media().file().expect("there");
        (1001..1400).for_each(|n| put(&store, n));
        told.stored(1399);
        let figures = store.figures();
        store.close();
        let (recovered, _) = harness::recover(folder.path());
        let kept = judge(&recovered);
        assert_eq!(kept, numbers(&recovered));
        assert!((least..=most).contains(&kept.len()), "{name}: {} segments", kept.len());
        assert!(kept.windows(2).all(|two| two[0] + 1 == two[1]) && kept.last() == Some(&1399), "{name}: {kept:?}");
        assert_eq!(told.expired(), kept.first().copied(), "{name}");
        assert!(figures.bytes <= bytes_max, "{name}: {figures:?}");
        assert_eq!(
            first.read().expect("held"),
            harness::whole(1000, Track(0)),
            "{name}: who holds a file goes on reading"
        );
        drop(held);
        assert_eq!(first.read().expect_err("gone").kind(), std::io::ErrorKind::NotFound, "{name}");
        // After a long pause all of it has left the window.
        let (store, _) = Folder::open(settings).expect("free").go_on(told.sink()).expect("good");
        put(&store, 5_000_000);
        told.stored(5_000_000);
        store.close();
        let left = harness::recover(folder.path()).0;
        assert_eq!(numbers(&left), [5_000_000], "{name}");
    }
}

#[test]
fn a_disk_that_takes_its_time_costs_segments_and_not_the_caller() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let settings = Settings { queue_bytes_max: 40_000, ..settings(folder.path()) };
    let store = Folder::open(settings).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
    // The writer stands still when it tells of the first one.
    let halt = told.halt();
    put(&store, 0);
    (1..60).for_each(|n| put(&store, n));
    let lost: Vec<u64> = told
        .lost()
        .into_iter()
        .map(|(number, why)| {
            assert_eq!(why, Why::QueueFull);
            number
        })
        .collect();
    assert!(!lost.is_empty() && lost.len() < 59, "{lost:?}");
    assert!(store.figures().queued_bytes <= 40_000);
    drop(halt);
    told.stored((0..60).rfind(|n| !lost.contains(n)).expect("some had room"));
    put(&store, 60);
    told.stored(60);
    assert_eq!((store.figures().queued_bytes <= 1000, store.figures().lost), (true, lost.len() as u64));
    store.close();
    let want: Vec<u64> = (0..61).filter(|n| !lost.contains(n)).collect();
    assert_eq!(judge(&harness::recover(folder.path()).0), want, "each is there whole or was told to be lost");
    assert_eq!(told.lost().len(), lost.len(), "each once");
}

#[test]
fn blocks_are_ten_minutes_or_an_eighth_of_the_window() {
    for (name, segment_ms, window_s, segments, block) in [
        ("a day", 2000, 86_400, 43_200, 300),
        ("an hour", 2000, 3600, 1800, 225),
        ("a minute", 2000, 60, 30, 8),
        ("next to nothing", 10_000, 1, 1, 8),
        ("long segments", 10_000, 86_400, 8640, 60),
        ("rounded up", 1920, 60, 32, 8),
    ] {
        let settings = Settings::new("x", Duration::from_millis(segment_ms), Duration::from_secs(window_s), u64::MAX);
        assert_eq!((settings.segments(), settings.block_segments()), (segments, block), "{name}");
    }
}
