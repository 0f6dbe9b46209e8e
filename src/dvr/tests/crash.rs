//! Cut files, flipped bits, lost pages: what is reported whole is whole.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::harness::{Told, copy, files, judge, numbers, put, recover, rows, settings, until};
use crate::dvr::files::Name;
use crate::dvr::index::{Record, Scan};
use crate::dvr::{Damage, Folder, Settings, State, Track};
use crate::media::SegmentNumber;

/// What a process leaves that is killed in mid segment: segments 20 to 37 in blocks of eight, two parts of 38.
fn left() -> &'static Path {
    static LEFT: OnceLock<tempfile::TempDir> = OnceLock::new();
    LEFT.get_or_init(|| {
        let (running, left) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let told = Told::default();
        let store =
            Folder::open(settings(running.path())).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
        store.note(Bytes::from_static(b"anchors")).expect("short");
        (20..38).for_each(|n| put(&store, n));
        rows(38)[..2].iter().enumerate().for_each(|(n, row)| store.part(SegmentNumber(38), n as u16, row.clone()));
        told.stored(37);
        // The two full blocks are on the disk, the rows are in their files.
        let settled = || {
            let files = files(running.path());
            let ends = files.iter().filter(|(name, _)| name.ends_with(".index")).map(|(_, index)| index.len());
            let rest = recover(running.path()).1;
            ends.count() == 3 && rest.unsettled.len() == 1 && rest.open.is_some_and(|(_, rows)| rows.len() == 2)
        };
        until("all is in its files", settled);
        copy(running.path(), left.path());
        store.close();
        left
    })
    .path()
}

fn newest_block(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let all = files(folder);
    let index = all.iter().rfind(|(name, _)| name.ends_with(".index")).expect("some").0.clone();
    let stem = index.strip_suffix("index").expect("so it was found").to_owned();
    all.into_iter().filter(|(name, _)| name.starts_with(&stem)).collect()
}

#[test]
fn a_killed_process_leaves_all_that_it_stored() {
    let (recovered, rest) = recover(left());
    assert_eq!(judge(&recovered), (20..=38).collect::<Vec<_>>());
    assert_eq!(recovered.segments().next_back().map(|s| (s.state(), s.rows())), Some((State::Open, 2)));
    assert_eq!(recovered.note().map(|note| &note[..]), Some(&b"anchors"[..]));
    assert_eq!(recovered.damage(), Damage::default());
    assert_eq!((rest.blocks.len(), rest.orphans.len()), (3, 0));
}

#[test]
fn the_newest_index_cut_at_every_byte() {
    let index = newest_block(left()).remove(0);
    let block = Name::parse(&index.0).expect("a name").block();
    let mut ends: Vec<(u64, usize)> = Vec::new();
    let mut scan = Scan::new(block, &index.1);
    while let Some((_, record)) = scan.next() {
        if let Record::Closed(closed) = record {
            ends.push((closed.number.0, scan.end()));
        }
    }
    assert_eq!(ends.len(), 6, "32 to 37");
    let folder = tempfile::tempdir().expect("a folder");
    copy(left(), folder.path());
    for cut in 0..index.1.len() {
        fs::write(folder.path().join(&index.0), &index.1[..cut]).expect("written");
        let (recovered, _) = recover(folder.path());
        judge(&recovered);
        let closed = recovered.segments().filter(|s| s.state() == State::Closed).map(|s| s.number().0);
        let want = (20..32).chain(ends.iter().filter(|(_, end)| *end <= cut).map(|(number, _)| *number));
        assert!(closed.eq(want), "cut at {cut}: {:?}", numbers(&recovered));
    }
}

#[test]
fn the_newest_media_cut_at_every_byte_and_with_every_byte_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    copy(left(), folder.path());
    for (name, bytes) in &newest_block(left())[1..] {
        let path = folder.path().join(name);
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x20;
            // Power was lost: the length is not there, or it is and the page is not.
            for (harm, left) in [("cut", &bytes[..at]), ("wrong", &wrong)] {
                fs::write(&path, left).expect("written");
                let (recovered, rest) = recover(folder.path());
                let there = judge(&recovered);
                assert!(
                    there.starts_with(&(20..32).collect::<Vec<_>>()),
                    "{name} {harm} at {at}: others suffer {there:?}"
                );
                let closed = recovered.segments().filter(|s| s.state() == State::Closed).count();
                let rows = recovered.segments().filter(|s| s.state() == State::Open).map(|s| s.rows()).sum::<u16>();
                assert!(closed < 18 || rows < 2, "{name} {harm} at {at}: nobody saw it");
                assert!(closed == 18 || rest.unsettled.is_empty(), "{name} {harm} at {at}: it is never vouched for");
            }
        }
        fs::write(&path, bytes).expect("written");
    }
}

#[test]
fn what_the_disk_has_vouched_for_is_not_read_again() {
    // The first block is settled: its bytes are taken as they are, by length.
    let folder = tempfile::tempdir().expect("a folder");
    copy(left(), folder.path());
    let (name, bytes) = files(folder.path()).into_iter().find(|(name, _)| name.ends_with(".t000")).expect("some");
    let mut wrong = bytes.clone();
    wrong[0] ^= 1;
    fs::write(folder.path().join(&name), wrong).expect("written");
    let (recovered, _) = recover(folder.path());
    assert_eq!(numbers(&recovered).len(), 19, "or the start would take as long as reading a day of media");
    fs::write(folder.path().join(&name), &bytes[..bytes.len() - 1]).expect("written");
    let (recovered, _) = recover(folder.path());
    let number = judge(&recovered);
    assert_eq!((number.len(), recovered.damage().segments), (18, 1), "but one that is short is found");
}

#[test]
fn what_is_synced_in_mid_block_is_vouched_for_up_to_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let settings = Settings { sync_every: Duration::from_millis(1), ..settings(folder.path()) };
    let store = Folder::open(settings).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
    put(&store, 8);
    told.stored(8);
    let crashed = tempfile::tempdir().expect("a folder");
    until("the disk's word is written down", || {
        copy(folder.path(), crashed.path());
        let (name, index) = newest_block(crashed.path()).remove(0);
        let block = Name::parse(&name).expect("a name").block();
        let mut closed_at = None;
        Scan::new(block, &index).any(|(at, record)| match record {
            Record::Closed(_) => {
                closed_at = Some(at);
                false
            }
            Record::Synced { upto } => closed_at.is_some_and(|closed| closed < upto),
            _ => false,
        })
    });
    store.close();
    let (name, mut media) = newest_block(crashed.path()).into_iter().find(|(n, _)| n.ends_with(".t000")).expect("some");
    media[0] ^= 1;
    fs::write(crashed.path().join(name), media).expect("written");
    assert_eq!(numbers(&recover(crashed.path()).0), [8]);
}

#[test]
fn one_crash_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    copy(left(), folder.path());
    let mut next = 38;
    for life in 0..12u64 {
        let told = Told::default();
        let (store, recovered) = Folder::open(settings(folder.path())).expect("free").go_on(told.sink()).expect("good");
        assert_eq!(
            judge(&recovered),
            (20..next).chain((life % 3 == 0).then_some(next)).collect::<Vec<_>>(),
            "life {life}"
        );
        put(&store, next);
        put(&store, next + 1);
        next += 2;
        told.stored(next - 1);
        // Every third one is killed in mid segment.
        if life % 3 == 2 {
            store.part(SegmentNumber(next), 0, rows(next).remove(0));
            until("the row is in its file", || recover(folder.path()).1.open.is_some());
        }
        // What the life before left is settled meanwhile.
        until("settled", || recover(folder.path()).1.unsettled.len() <= 1);
        let killed = tempfile::tempdir().expect("a folder");
        copy(folder.path(), killed.path());
        store.close();
        files(folder.path())
            .into_iter()
            .for_each(|(name, _)| fs::remove_file(folder.path().join(name)).expect("removed"));
        copy(killed.path(), folder.path());
    }
}

#[derive(Clone, Debug)]
enum Harm {
    Cut { file: usize, keep: f64 },
    Flip { file: usize, at: f64, bit: u8 },
    Zeros { file: usize, at: f64, len: usize },
    Grow { file: usize, bytes: Vec<u8> },
    Gone { file: usize },
}

fn harm() -> impl Strategy<Value = Harm> {
    let (file, place) = (0usize..64, 0.0..1.0f64);
    prop_oneof![
        (file.clone(), place.clone()).prop_map(|(file, keep)| Harm::Cut { file, keep }),
        (file.clone(), place.clone(), 0u8..8).prop_map(|(file, at, bit)| Harm::Flip { file, at, bit }),
        (file.clone(), place, 1usize..200).prop_map(|(file, at, len)| Harm::Zeros { file, at, len }),
        (file.clone(), prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(file, bytes)| Harm::Grow { file, bytes }),
        file.prop_map(|file| Harm::Gone { file }),
    ]
}

/// Does it to the folder; `newest` are the files of its newest block. Other media, which the disk has vouched for, is cut or gone, but does not change
/// (cut and grown again, it would): nobody promises to see that.
fn suffer(folder: &Path, harm: &Harm, newest: &[String]) {
    let all: Vec<(String, Vec<u8>)> = files(folder).into_iter().filter(|(name, _)| name.contains('-')).collect();
    let (Harm::Cut { file, .. }
    | Harm::Flip { file, .. }
    | Harm::Zeros { file, .. }
    | Harm::Grow { file, .. }
    | Harm::Gone { file }) = harm;
    let (name, mut bytes) = all[file % all.len()].clone();
    let may_change = name.ends_with(".index") || newest.contains(&name);
    let place = |share: f64| ((bytes.len() as f64 * share) as usize).min(bytes.len().saturating_sub(1));
    match harm {
        Harm::Cut { keep, .. } => bytes.truncate(place(*keep)),
        Harm::Flip { at, bit, .. } if may_change && !bytes.is_empty() => {
            let at = place(*at);
            bytes[at] ^= 1 << bit;
        }
        Harm::Zeros { at, len, .. } if may_change => {
            let at = place(*at);
            bytes[at..].iter_mut().take(*len).for_each(|byte| *byte = 0);
        }
        Harm::Grow { bytes: more, .. } if may_change => bytes.extend(more),
        Harm::Gone { .. } => return fs::remove_file(folder.join(name)).expect("removed"),
        Harm::Flip { .. } | Harm::Zeros { .. } | Harm::Grow { .. } => {}
    }
    fs::write(folder.join(name), bytes).expect("written");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_files_nothing_wrong_is_reported(harms in prop::collection::vec(harm(), 1..4), again in harm()) {
        let folder = tempfile::tempdir().expect("a folder");
        copy(left(), folder.path());
        let names = |folder: &Path| newest_block(folder).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let newest = names(folder.path());
        for harm in &harms {
            suffer(folder.path(), harm, &newest);
            // With no index left there is nothing more to harm.
            if !files(folder.path()).iter().any(|(name, _)| name.ends_with(".index")) {
                return Ok(());
            }
        }
        let before = judge(&recover(folder.path()).0);
        // And life goes on: what is stored after that is there after the next crash, and what was recovered stays right.
        let told = Told::default();
        let (store, recovered) = Folder::open(settings(folder.path())).expect("free").go_on(told.sink()).expect("good");
        prop_assert_eq!(numbers(&recovered), before.clone());
        let next = before.last().map_or(20, |last| last + 1);
        (next..next + 3).for_each(|n| put(&store, n));
        told.stored(next + 2);
        let crashed = tempfile::tempdir().expect("a folder");
        copy(folder.path(), crashed.path());
        store.close();
        let after = judge(&recover(crashed.path()).0);
        prop_assert!((next..next + 3).all(|n| after.contains(&n)), "{:?}", after);
        let still = |n: &u64| after.contains(n) || recovered.segments().any(|s| s.number().0 == *n && s.state() == State::Open);
        prop_assert!(before.iter().all(still), "{:?} then {:?}", before, after);
        suffer(crashed.path(), &again, &names(crashed.path()));
        judge(&recover(crashed.path()).0);
    }
}

#[test]
fn tracks_of_an_open_segment_come_in_order() {
    let (recovered, _) = recover(left());
    let open = recovered.segments().next_back().expect("there");
    assert_eq!(open.objects().map(|object| object.track).collect::<Vec<_>>(), [Track(0), Track(1)]);
}
