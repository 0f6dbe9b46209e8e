//! The window on disk against what no test inside of one process can do: `kill -9` of a writer, and a limit of the system on what it may write.
//!
//! The writer is this very program, started once more with a test's name; it says on its stdout what it was told.

#![allow(clippy::unwrap_used)] // a test's helpers may fail as its assertions do

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sha2::{Digest, Sha256};
use tandem::dvr::{Event, Folder, Recovered, Settings, State, Store, Tag, Track, Why};
use tandem::media::SegmentNumber;

const FOLDER: &str = "TANDEM_TEST_DVR_FOLDER";
/// Rows of a segment, tracks of a row, and a track that comes with the last row.
const ROWS: u16 = 4;
const TRACKS: u16 = 3;
const TRICK: Track = Track(3);
/// Segments that are kept: less than are written, so that deaths fall into expiry as well.
const WINDOW: u64 = 200;

fn settings(folder: &Path) -> Settings {
    let (segment, window) = (Duration::from_secs(2), Duration::from_secs(2 * WINDOW));
    // Synced now and then, so that deaths fall into that as well.
    Settings { sync_every: Duration::from_millis(20), ..Settings::new(folder, segment, window, 1 << 30) }
}

/// 1 to 16 KiB that follow from their place.
fn content(number: u64, track: u16, row: u16) -> Bytes {
    let seed = Sha256::digest([number.to_be_bytes(), (u64::from(track) << 16 | u64::from(row)).to_be_bytes()].concat());
    let len = 1 + (usize::from(seed[0]) << 6 | usize::from(seed[1]) >> 2);
    seed.iter().copied().cycle().take(len).collect::<Vec<u8>>().into()
}

fn row(number: u64, row: u16) -> Vec<(Track, Bytes)> {
    let mut objects: Vec<_> = (0..TRACKS).map(|track| (Track(track), content(number, track, row))).collect();
    if row + 1 == ROWS {
        objects.push((TRICK, content(number, TRICK.0, row)));
    }
    objects
}

fn whole(number: u64) -> BTreeMap<Track, Vec<u8>> {
    let mut tracks: BTreeMap<Track, Vec<u8>> = BTreeMap::new();
    for (track, bytes) in (0..ROWS).flat_map(|n| row(number, n)) {
        tracks.entry(track).or_default().extend(bytes);
    }
    tracks
}

fn tag(bytes: &[u8]) -> Tag {
    *Sha256::digest(bytes).first_chunk().unwrap()
}

fn put(store: &Store, number: u64, from_row: u16) {
    (from_row..ROWS).for_each(|n| store.part(SegmentNumber(number), n, row(number, n)));
    let tags = whole(number).into_iter().map(|(track, bytes)| (track, tag(&bytes))).collect();
    store.closed(SegmentNumber(number), tags, number.to_string().into());
}

/// All that is reported is right; the numbers of closed segments, and the open one with its rows.
fn judge(recovered: &Recovered) -> (Vec<u64>, Option<(u64, u16)>) {
    let (mut closed, mut open) = (Vec::new(), None);
    for segment in recovered.segments() {
        let number = segment.number().0;
        assert!(open.is_none() && closed.last().is_none_or(|last| *last < number), "{number} comes in order");
        let given: Vec<Vec<(Track, Bytes)>> = (0..segment.rows()).map(|n| row(number, n)).collect();
        for object in segment.objects() {
            let bytes = object.place.read().unwrap();
            let want = given.iter().flatten().filter(|(track, _)| *track == object.track);
            assert_eq!(bytes, want.map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>().concat(), "{number}");
            if segment.state() == State::Closed {
                assert_eq!(object.tag, tag(&bytes), "{number}");
            }
        }
        match segment.state() {
            State::Closed => {
                assert_eq!((segment.rows(), segment.objects().len()), (ROWS, usize::from(TRACKS) + 1), "{number}");
                assert_eq!(segment.note(), number.to_string().as_bytes());
                closed.push(number);
            }
            State::Open => open = Some((number, segment.rows())),
            State::Gap => panic!("{number}: there were none"),
        }
    }
    (closed, open)
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "dvr: {word}").unwrap();
    out.flush().unwrap();
}

/// The writer: goes on with what is there, in the middle of a segment too, as fast as the disk takes it, until it is killed.
#[test]
#[ignore = "a process of its own that the tests below start"]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (stored, events) = mpsc::channel();
    let sink = Box::new(move |event| {
        match &event {
            Event::Stored { number, .. } => say(&format!("stored {number}")),
            Event::Lost { number, why } => say(&format!("lost {number} {why:?}")),
            Event::Failing { reason } => say(&format!("failing {reason}")),
            Event::Well => say("well"),
            Event::Expired { before } => say(&format!("expired {before}")),
        }
        let _ = stored.send(event);
    });
    let opened = Folder::open(settings(Path::new(&folder))).unwrap();
    let (store, mut number, mut from_row) = match opened.head() {
        None => (opened.begin(Bytes::from_static(b"a channel"), sink).unwrap(), 1000, 0),
        Some(head) => {
            assert_eq!(&head[..], b"a channel");
            let (store, recovered) = opened.go_on(sink).unwrap();
            match judge(&recovered) {
                (_, Some((number, rows))) => (store, number, rows),
                (closed, None) => (store, closed.last().map_or(1000, |last| last + 1), 0),
            }
        }
    };
    say("ready");
    loop {
        put(&store, number, from_row);
        // No faster than it is written, or most of it would be lost to the queue.
        while !matches!(events.recv().unwrap(), Event::Stored { .. } | Event::Lost { .. }) {}
        (number, from_row) = (number + 1, 0);
    }
}

struct Writer {
    process: Child,
    words: BufReader<ChildStdout>,
}

impl Writer {
    fn start(folder: &Path, shell: &str) -> Self {
        let mut process = Command::new("sh")
            .args(["-c", shell, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = BufReader::new(process.stdout.take().unwrap());
        let mut writer = Self { process, words };
        writer.until(|word| word == "ready");
        writer
    }

    /// The next word it says; `None` when it is dead.
    fn word(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.words.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // Torn by its death, it says nothing.
            if let Some((_, word)) = line.split_once("dvr: ").filter(|_| line.ends_with('\n')) {
                return Some(word.trim_end().to_owned());
            }
        }
    }

    fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|word: &String| !wanted(word)) {
            all.push(self.word().unwrap_or_else(|| panic!("it ended, and said {all:?}")));
        }
        all
    }

    /// Kills it, and reads all that it said before.
    fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        let said = std::iter::from_fn(|| self.word()).collect();
        self.process.wait().unwrap();
        said
    }
}

fn number_of(words: &[String], what: &str) -> Vec<u64> {
    words.iter().filter_map(|word| word.strip_prefix(what)?.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn killed_fifty_times_it_has_all_that_it_said_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (mut stored, mut expired, mut open_seen) = (Vec::new(), 0, 0);
    for life in 0..50u64 {
        let mut writer = Writer::start(folder.path(), "exec \"$@\"");
        // It dies somewhere behind its third to eighth segment: spread over what it does, also over deaths of a block.
        for _ in 0..3 + life % 6 {
            let word = writer.until(|word| word.starts_with("stored"));
            stored.extend(number_of(&word, "stored "));
            expired = number_of(&word, "expired ").into_iter().max().unwrap_or(expired);
        }
        std::thread::sleep(Duration::from_micros(life * 7919 % 4000));
        let words = writer.kill();
        assert!(!words.iter().any(|word| word.starts_with("lost") || word.starts_with("failing")), "{words:?}");
        stored.extend(number_of(&words, "stored "));
        expired = number_of(&words, "expired ").into_iter().max().unwrap_or(expired);
        // What is recovered is judged here, and by the next life before it goes on.
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let opened = Folder::open(settings(copy.path())).unwrap();
        let (_store, recovered) = opened.go_on(Box::new(|_| {})).unwrap();
        let (closed, open) = judge(&recovered);
        open_seen += u64::from(open.is_some());
        // The segment that was begun when it died may have put others out of the window.
        let oldest = expired.max(stored.last().unwrap() + 2 - WINDOW);
        let missing: Vec<&u64> = stored.iter().filter(|n| **n >= oldest && !closed.contains(n)).collect();
        assert!(missing.is_empty(), "life {life}: {missing:?} were stored, and are not there");
        assert!(closed.windows(2).all(|two| two[0] + 1 == two[1]), "life {life}: no number is left out");
        assert_eq!(recovered.damage(), Default::default(), "life {life}");
    }
    println!("50 deaths, {} segments stored, {open_seen} times in mid segment", stored.len());
}

/// A limit on the size of files stands for a disk that is full: writing fails half-way through, and goes on when there is room.
#[test]
fn a_writer_that_may_not_write_loses_segments_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    // 64 KiB a file: some rows of the first block fit. The signal that comes with the limit is ignored, as its number is by a shell's child.
    let mut writer = Writer::start(folder.path(), "trap '' XFSZ; ulimit -S -f 128; exec \"$@\"");
    let words = writer.until(|word| word.starts_with("failing"));
    let text = words.last().unwrap();
    assert!(text.contains("File too large") && text.contains(folder.path().to_str().unwrap()), "{text}");
    let mut all = words.clone();
    all.extend(writer.until(|word| word.starts_with("lost")));
    assert!(all.last().unwrap().ends_with(&format!("{:?}", Why::Disk)), "{all:?}");
    let pid = Pid::from_raw(writer.process.id() as i32).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    all.extend(writer.until(|word| word == "well"));
    all.extend(writer.until(|word| word.starts_with("stored")));
    all.extend(writer.kill());
    let count = |what: &str| all.iter().filter(|word| word.starts_with(what)).count();
    assert_eq!((count("failing"), count("well")), (1, 1), "each is told once");
    let (store, recovered) = Folder::open(settings(folder.path())).unwrap().go_on(Box::new(|_| {})).unwrap();
    let (closed, _) = judge(&recovered);
    let (stored, expired) = (number_of(&all, "stored "), number_of(&all, "expired ").into_iter().max().unwrap_or(0));
    let missing: Vec<&u64> = stored.iter().filter(|n| **n >= expired && !closed.contains(n)).collect();
    assert!(missing.is_empty(), "{missing:?} were stored, and are not there");
    let lost = number_of(&all, "lost ");
    assert!(!lost.is_empty() && lost.iter().all(|n| !closed.contains(n)), "what was lost is not there");
    store.close();
}
