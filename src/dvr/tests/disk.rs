//! Disks that are full, and disks that cannot be written.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;

use super::harness::{Told, judge, put, recover, settings};
use crate::dvr::index::BlockId;
use crate::dvr::sync::Outcome;
use crate::dvr::{Error, Event, Folder, Settings, Why};
use crate::media::SegmentNumber;

fn mount(folder: &Path, arguments: &[&str]) -> bool {
    let done =
        Command::new(arguments[0]).args(&arguments[1..]).arg(folder).stderr(std::process::Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

/// Puts segments until one is stored; they come faster than in life, so most are lost to the pause.
fn put_until_stored(store: &crate::dvr::Store, told: &Told, mut number: u64) -> u64 {
    let stored = |number: u64| {
        told.events().iter().any(|event| matches!(event, Event::Stored { number: n, .. } if n.0 == number))
    };
    for _ in 0..600 {
        put(store, number);
        std::thread::sleep(Duration::from_millis(100));
        if stored(number) {
            return number;
        }
        number += 1;
    }
    panic!("nothing is stored: {:?}", told.events());
}

fn is_failing(event: &Event) -> bool {
    matches!(event, Event::Failing { .. })
}

/// Needs the right to mount; where there is none, it says so and passes. `tests/dvr.rs` has one for everybody.
#[test]
fn a_full_disk_and_one_that_can_only_be_read() {
    let place = tempfile::tempdir().expect("a folder");
    if !mount(place.path(), &["mount", "-t", "tmpfs", "-o", "size=256k", "none"]) {
        println!("skipped: this user may not mount a small disk");
        return;
    }
    let folder = place.path().join("dvr");
    let told = Told::default();
    let settings = |folder| Settings { window: Duration::from_secs(100_000), ..settings(folder) };
    let store = Folder::open(settings(&folder)).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
    put(&store, 0);
    told.stored(0);

    let ballast = place.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 1 << 20]);
    // What fits into the pages that are begun is no trouble; a block of its own is.
    (1..200).for_each(|n| put(&store, n));
    told.wait("failure", is_failing);
    let reason = told.events().iter().find(|event| is_failing(event)).cloned();
    let text = format!("{reason:?}");
    assert!(text.contains("No space left") && text.contains(folder.to_str().expect("text")), "{text}");
    told.wait("loss", |event| matches!(event, Event::Lost { why: Why::Disk, .. }));
    fs::remove_file(&ballast).expect("removed");
    let well = put_until_stored(&store, &told, 300);
    told.wait("recovery", |event| matches!(event, Event::Well));

    // A file that is open for writing keeps a disk writable: so begin with the folder closed.
    store.close();
    assert!(mount(place.path(), &["mount", "-o", "remount,ro"]), "nothing is open any more");
    let count = |wanted: fn(&Event) -> bool| told.events().iter().filter(|event| wanted(event)).count();
    assert_eq!((count(is_failing), count(|event| matches!(event, Event::Well))), (1, 1), "each told once");

    // What is there can be served; what comes is lost, and told of.
    let told = Told::default();
    let (store, recovered) = Folder::open(settings(&folder)).expect("readable").go_on(told.sink()).expect("readable");
    let kept = judge(&recovered);
    assert!(kept.contains(&0) && kept.contains(&well), "{kept:?}");
    (1000..1020).for_each(|n| put(&store, n));
    told.wait("failure", is_failing);
    told.wait("loss", |event| matches!(event, Event::Lost { number, why: Why::Disk } if number.0 == 1019));
    assert!(mount(place.path(), &["mount", "-o", "remount,rw"]));
    let number = put_until_stored(&store, &told, 1100);
    told.wait("recovery", |event| matches!(event, Event::Well));
    store.close();
    let after = judge(&recover(&folder).0);
    assert!(kept.iter().all(|n| after.contains(n)) && after.contains(&number), "{after:?}");
    assert!(mount(place.path(), &["umount"]));
}

/// No disk here fails to sync when it is asked to: its answer is put in where the sync thread's come in.
#[test]
fn a_block_that_was_not_synced_is_never_vouched_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = Told::default();
    let store = Folder::open(settings(folder.path())).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
    put(&store, 0);
    told.stored(0);
    let block = BlockId { generation: 1, first: SegmentNumber(0), serial: 0 };
    let answer = || Outcome {
        block,
        upto: 0,
        sealed: false,
        result: Err(Error::io("sync", folder.path(), std::io::Error::other("the page is lost"))),
    };
    store.queue.synced(answer());
    told.wait("failure", is_failing);
    assert!(format!("{:?}", told.events()).contains("the page is lost"));
    // It still takes what is written: nothing is lost while this process lives. But into another block.
    (1..4).for_each(|n| put(&store, n));
    store.queue.synced(answer());
    (4..8).for_each(|n| put(&store, n));
    told.stored(7);
    let is_well = |event: &Event| matches!(event, Event::Well);
    assert_eq!(told.events().iter().filter(|event| is_failing(event)).count(), 1, "told once");
    assert!(told.lost().is_empty() && !told.events().iter().any(is_well), "it is not well yet");
    // The second block is full, and is synced: now it is.
    let well = |n: &u64| {
        put(&store, *n);
        told.stored(*n);
        std::thread::sleep(Duration::from_millis(10));
        told.events().iter().any(is_well)
    };
    assert!((8..5000).any(|n| well(&n)), "{:?}", store.figures());
    store.close();
    let (_, rest) = recover(folder.path());
    // The first one is to be checked at the next start, if it has not left the window by now.
    let kept = rest.blocks.iter().any(|kept| kept.block == block);
    assert_eq!(rest.unsettled.iter().any(|left| left.block == block), kept);
}

#[test]
fn a_folder_that_vanishes_is_told_of() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("dvr");
    let told = Told::default();
    let store = Folder::open(settings(&folder)).expect("free").begin(Bytes::new(), told.sink()).expect("begun");
    put(&store, 0);
    told.stored(0);
    fs::remove_dir_all(&folder).expect("removed");
    // A block that is open is written to the end, as any file that is unlinked; the next one has no place.
    put(&store, 8);
    told.wait("failure", is_failing);
    told.wait("loss", |event| matches!(event, Event::Lost { .. }));
    assert_eq!(told.lost(), [(8, Why::Disk)]);
    let text = format!("{:?}", told.events().iter().find(|event| is_failing(event)));
    assert!(text.contains("No such file"), "{text}");
}
