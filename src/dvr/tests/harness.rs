//! Segments whose bytes follow from their numbers, what a store told, and the judge of what came back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use crate::dvr::recovery::{self, Rest};
use crate::dvr::*;
use crate::media::SegmentNumber;

/// Blocks of eight segments; what is written is not synced unless a block is full or the store is closed.
pub(super) fn settings(folder: &Path) -> Settings {
    let settings = Settings::new(folder, Duration::from_secs(2), Duration::from_secs(128), 1 << 30);
    Settings { sync_every: Duration::from_secs(3600), ..settings }
}

/// 1 to 60 bytes that follow from their place.
pub(super) fn content(number: u64, track: u16, part: u64) -> Bytes {
    let mut state = (number << 24) ^ (u64::from(track) << 12) ^ part ^ 0x9E37_79B9_7F4A_7C15;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let len = 1 + next() % 60;
    (0..len).map(|_| next() as u8).collect::<Vec<u8>>().into()
}

/// A segment's parts: two to four rows of tracks 0 and 1, and in the last row one of track 7.
pub(super) fn rows(number: u64) -> Vec<Vec<(Track, Bytes)>> {
    let count = 2 + number % 3;
    let row = |part: u64| {
        let tracks: &[u16] = if part + 1 == count { &[0, 1, 7] } else { &[0, 1] };
        tracks.iter().map(|track| (Track(*track), content(number, *track, part))).collect()
    };
    (0..count).map(row).collect()
}

/// All of a segment in one track.
pub(super) fn whole(number: u64, track: Track) -> Bytes {
    let parts: Vec<Bytes> = rows(number).into_iter().flatten().filter(|(of, _)| *of == track).map(|(_, b)| b).collect();
    parts.concat().into()
}

pub(super) fn tag(number: u64, track: Track) -> Tag {
    let mut tag = [number as u8; 16];
    tag[0] = track.0 as u8;
    tag
}

pub(super) fn tags(number: u64) -> Vec<(Track, Tag)> {
    [7, 0, 1].map(|track| (Track(track), tag(number, Track(track)))).into()
}

/// Gives a whole segment.
pub(super) fn put(store: &Store, number: u64) {
    for (part, row) in rows(number).into_iter().enumerate() {
        store.part(SegmentNumber(number), part as u16, row);
    }
    store.closed(SegmentNumber(number), tags(number), content(number, 99, 99));
}

/// Everything that is reported is exactly what was put in; returns the numbers that are there.
pub(super) fn judge(recovered: &Recovered) -> Vec<u64> {
    let mut before = None;
    for segment in recovered.segments() {
        let number = segment.number().0;
        assert!(before < Some(number), "{number} after {before:?}");
        before = Some(number);
        let want = rows(number);
        let given = usize::from(segment.rows());
        match segment.state() {
            State::Gap => {
                assert_eq!((given, segment.objects().len()), (0, 0));
                continue;
            }
            State::Closed => {
                assert_eq!(given, want.len(), "{number}");
                assert_eq!(segment.note(), content(number, 99, 99), "{number}");
                assert_eq!(segment.objects().len(), 3, "{number}");
            }
            State::Open => {
                assert!((1..=want.len()).contains(&given), "{number}");
                assert_eq!(Some(segment.number()), recovered.newest(), "only the newest is open");
            }
        }
        for object in segment.objects() {
            if segment.state() == State::Closed {
                assert_eq!(object.tag, tag(number, object.track), "{number} {:?}", object.track);
            }
            assert_eq!(object.parts.len(), given, "{number}");
            let mut at = 0;
            for (row, len) in want.iter().zip(object.parts) {
                let part = object.place.slice(at..at + u64::from(*len)).read().expect("it is there");
                let want = row.iter().find(|(track, _)| *track == object.track).map(|(_, bytes)| bytes.clone());
                assert_eq!(part, want.unwrap_or_default(), "{number} {:?}", object.track);
                at += u64::from(*len);
            }
            assert_eq!(at, object.place.len(), "{number}");
        }
    }
    numbers(recovered)
}

pub(super) fn numbers(recovered: &Recovered) -> Vec<u64> {
    recovered.segments().map(|segment| segment.number().0).collect()
}

/// What lies in a folder, without opening it for writing.
pub(super) fn recover(folder: &Path) -> (Recovered, Rest) {
    let generation = files::read_head(folder).expect("readable").expect("a head").0;
    recovery::recover(folder, generation).expect("readable")
}

/// Names and bytes of all files, in order.
pub(super) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("there").map(|entry| entry.expect("readable"));
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("text");
        (name, fs::read(entry.path()).expect("readable"))
    };
    let files: BTreeMap<String, Vec<u8>> = entries.map(file).collect();
    files.into_iter().collect()
}

/// The folder as it is at this moment: what would be left if the process were killed now.
pub(super) fn copy(from: &Path, to: &Path) {
    files(from).into_iter().for_each(|(name, bytes)| fs::write(to.join(name), bytes).expect("written"));
}

/// Waits for a state.
pub(super) fn until(what: &str, mut is_there: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within a minute");
}

/// What a store told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<(Mutex<Vec<Event>>, Condvar, Mutex<()>)>);

impl Told {
    pub(super) fn sink(&self) -> Sink {
        let told = self.clone();
        Box::new(move |event| {
            let is_lost = matches!(event, Event::Lost { .. });
            told.events().push(event);
            told.0.1.notify_all();
            if !is_lost {
                drop(told.0.2.lock().expect("not poisoned"));
            }
        })
    }

    /// Whoever tells of anything but a loss stands still until this is dropped.
    pub(super) fn halt(&self) -> MutexGuard<'_, ()> {
        self.0.2.lock().expect("not poisoned")
    }

    pub(super) fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.0.lock().expect("not poisoned")
    }

    /// Waits for an event.
    pub(super) fn wait(&self, what: &str, mut wanted: impl FnMut(&Event) -> bool) {
        let limit = Duration::from_secs(60);
        let (events, late) =
            self.0.1.wait_timeout_while(self.events(), limit, |events| !events.iter().any(&mut wanted)).expect("fine");
        let last = events.len().saturating_sub(3);
        assert!(!late.timed_out(), "no {what}; the last of {} events: {:?}", events.len(), &events[last..]);
    }

    /// Waits until this segment is stored; all that were stored.
    pub(super) fn stored(&self, number: u64) -> Vec<(SegmentNumber, Vec<(Track, Place)>)> {
        self.wait("segment", |event| matches!(event, Event::Stored { number: n, .. } if n.0 == number));
        let of = |event: &Event| match event {
            Event::Stored { number, objects } => Some((*number, objects.clone())),
            _ => None,
        };
        self.events().iter().filter_map(of).collect()
    }

    pub(super) fn lost(&self) -> Vec<(u64, Why)> {
        let of = |event: &Event| match event {
            Event::Lost { number, why } => Some((number.0, *why)),
            _ => None,
        };
        self.events().iter().filter_map(of).collect()
    }

    /// What was told last of what has expired.
    pub(super) fn expired(&self) -> Option<u64> {
        let of = |event: &Event| match event {
            Event::Expired { before } => Some(before.0),
            _ => None,
        };
        self.events().iter().rev().find_map(of)
    }
}
