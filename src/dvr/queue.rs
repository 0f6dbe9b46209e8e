//! What waits for the disk: bounded by bytes. When it is full the segment that comes is lost, whole.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::Tag;
use super::Track;
use super::sync::Outcome;
use crate::media::SegmentNumber;

/// What a command takes besides its bytes: nothing is free, so that no number of small ones grows without bound.
const COMMAND_BYTES: usize = 256;

/// Called once.
pub(super) struct Told(Box<dyn FnOnce() + Send>);

impl Told {
    pub(super) fn call(self) {
        (self.0)();
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

/// One step of the window.
#[derive(Debug)]
pub(super) enum Command {
    Part { number: SegmentNumber, part: u16, objects: Vec<(Track, Bytes)> },
    Closed { number: SegmentNumber, tags: Vec<(Track, Tag)>, note: Bytes },
    Gap { number: SegmentNumber, note: Bytes },
}

impl Command {
    /// The segment that it is about.
    pub(super) fn number(&self) -> SegmentNumber {
        match self {
            Self::Part { number, .. } | Self::Closed { number, .. } | Self::Gap { number, .. } => *number,
        }
    }

    fn bytes(&self) -> usize {
        COMMAND_BYTES
            + match self {
                Self::Part { objects, .. } => objects.iter().map(|(_, bytes)| bytes.len() + 64).sum(),
                Self::Closed { tags, note, .. } => note.len() + tags.len() * 18,
                Self::Gap { note, .. } => note.len(),
            }
    }
}

/// What waits in its turn.
#[derive(Debug)]
enum Item {
    Command(Command),
    /// Somebody waits until what was given before is written, or lost.
    Tell(Told),
}

impl Item {
    fn command(&self) -> Option<&Command> {
        match self {
            Self::Command(command) => Some(command),
            Self::Tell(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        self.command().map_or(COMMAND_BYTES, Command::bytes)
    }
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Work {
    Command(Command),
    /// What came before is written, or lost.
    Tell(Told),
    /// This segment was lost on its way here; the caller was told.
    Abandoned(SegmentNumber),
    Note(Bytes),
    Synced(Outcome),
    /// The time is up.
    Nothing,
    /// Nothing more will come.
    End,
}

#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    /// Of the items, and of the one that is being written.
    bytes: usize,
    writing: usize,
    /// The newest counts.
    note: Option<Bytes>,
    /// As many as the sync thread has jobs, which are few.
    outcomes: VecDeque<Outcome>,
    /// The segment that is being left out.
    lost: Option<SegmentNumber>,
    /// A segment that is being left out, of which the writer has the beginning.
    abandoned: Option<SegmentNumber>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), filled: Condvar::new(), bytes_max }
    }

    /// Takes a command, or not. `Err`: its segment is lost now.
    pub(super) fn push(&self, command: Command) -> Result<(), SegmentNumber> {
        let (number, bytes) = (command.number(), command.bytes());
        let mut inner = self.lock();
        if inner.lost == Some(number) || inner.closed {
            return Ok(());
        }
        if inner.bytes + bytes > self.bytes_max {
            inner.lost = Some(number);
            inner.abandon(number, matches!(command, Command::Part { part: 0, .. }));
            drop(inner);
            self.filled.notify_one();
            return Err(number);
        }
        inner.bytes += bytes;
        inner.items.push_back(Item::Command(command));
        drop(inner);
        self.filled.notify_one();
        Ok(())
    }

    /// Calls when all that was pushed before is written or lost; at once, where that cannot be waited for.
    pub(super) fn tell(&self, told: Box<dyn FnOnce() + Send>) {
        let mut inner = self.lock();
        if inner.bytes + COMMAND_BYTES > self.bytes_max || inner.closed {
            drop(inner);
            return told();
        }
        inner.bytes += COMMAND_BYTES;
        inner.items.push_back(Item::Tell(Told(told)));
        drop(inner);
        self.filled.notify_one();
    }

    /// Puts the caller's state in place of the one before, which may not have been written yet.
    pub(super) fn note(&self, note: Bytes) {
        self.lock().note = Some(note);
        self.filled.notify_one();
    }

    /// What the sync thread has done.
    pub(super) fn synced(&self, outcome: Outcome) {
        self.lock().outcomes.push_back(outcome);
        self.filled.notify_one();
    }

    /// The next thing to do; waits for one, but not longer than `limit`.
    pub(super) fn take(&self, limit: Duration) -> Work {
        let mut inner = self.lock();
        inner.bytes -= std::mem::take(&mut inner.writing);
        if let Some(work) = inner.next() {
            return work;
        }
        let waited = self.filled.wait_timeout_while(inner, limit, |inner| inner.is_idle());
        waited.unwrap_or_else(PoisonError::into_inner).0.next().unwrap_or(Work::Nothing)
    }

    /// Nothing more will be put in.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next(&mut self) -> Option<Work> {
        // What is known comes before what is new: a note is never older than the segments that are stored after it was given.
        if let Some(outcome) = self.outcomes.pop_front() {
            return Some(Work::Synced(outcome));
        }
        if let Some(note) = self.note.take() {
            return Some(Work::Note(note));
        }
        if let Some(number) = self.abandoned.take() {
            return Some(Work::Abandoned(number));
        }
        if let Some(item) = self.items.pop_front() {
            self.writing = item.bytes();
            return Some(match item {
                Item::Command(command) => Work::Command(command),
                Item::Tell(told) => Work::Tell(told),
            });
        }
        self.closed.then_some(Work::End)
    }

    fn is_idle(&self) -> bool {
        let nothing = self.outcomes.is_empty() && self.note.is_none() && self.abandoned.is_none();
        nothing && self.items.is_empty() && !self.closed
    }

    /// Takes out what waits of a segment, of which this is the `first` part or a later one. If its beginning is not among it, the writer has it, and
    /// is told; it cannot have begun another one before it has heard of this.
    fn abandon(&mut self, number: SegmentNumber, first: bool) {
        let (mut begun, mut bytes) = (!first, 0);
        self.items.retain(|item| {
            let Some(command) = item.command().filter(|command| command.number() == number) else { return true };
            bytes += command.bytes();
            begun &= !matches!(command, Command::Part { part: 0, .. });
            false
        });
        self.bytes -= bytes;
        if begun && self.items.iter().all(|item| item.command().is_none()) {
            self.abandoned.get_or_insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u64, part: u16, len: usize) -> Command {
        let objects = vec![(Track(0), Bytes::from(vec![7; len]))];
        Command::Part { number: SegmentNumber(number), part, objects }
    }

    fn all(queue: &Queue) -> Vec<String> {
        let mut got = Vec::new();
        loop {
            got.push(match queue.take(Duration::ZERO) {
                Work::Command(Command::Part { number, part, .. }) => format!("{number}.{part}"),
                Work::Abandoned(number) => format!("without {number}"),
                Work::Note(note) => String::from_utf8_lossy(&note).into_owned(),
                Work::Nothing => return got,
                other => format!("{other:?}"),
            });
        }
    }

    #[test]
    fn a_segment_that_does_not_fit_is_left_out_whole() {
        let queue = Queue::new(5000);
        assert_eq!(queue.push(part(1, 0, 1000)), Ok(()));
        assert_eq!(queue.push(part(2, 0, 1000)), Ok(()));
        assert_eq!(queue.push(part(2, 1, 1000)), Ok(()));
        assert_eq!(queue.push(part(2, 2, 2000)), Err(SegmentNumber(2)), "told once");
        assert_eq!(queue.push(part(2, 3, 1)), Ok(()), "and no more");
        assert_eq!(queue.push(part(3, 0, 1000)), Ok(()), "there is room again");
        assert_eq!(all(&queue), ["1.0", "3.0"]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn the_writer_hears_of_a_segment_it_has_begun() {
        let queue = Queue::new(3000);
        queue.push(part(1, 0, 1000)).expect("room");
        queue.push(part(1, 1, 1000)).expect("room");
        assert!(matches!(queue.take(Duration::ZERO), Work::Command(_)));
        assert_eq!(queue.push(part(1, 2, 1000)), Err(SegmentNumber(1)), "what is being written counts");
        assert_eq!(all(&queue), ["without 1"]);
    }

    #[test]
    fn only_the_newest_note_waits_and_it_goes_first() {
        let queue = Queue::new(3000);
        queue.push(part(1, 0, 10)).expect("room");
        queue.note(Bytes::from_static(b"old"));
        queue.note(Bytes::from_static(b"new"));
        assert_eq!(all(&queue), ["new", "1.0"]);
    }

    #[test]
    fn who_waits_for_what_is_written_is_told_whatever_becomes_of_it() {
        let heard = std::sync::Arc::new(Mutex::new(Vec::new()));
        let tell = |queue: &Queue, word: &'static str| {
            let heard = std::sync::Arc::clone(&heard);
            queue.tell(Box::new(move || heard.lock().expect("not poisoned").push(word)));
        };
        let queue = Queue::new(3000);
        queue.push(part(1, 0, 1000)).expect("room");
        tell(&queue, "one part");
        assert!(matches!(queue.take(Duration::ZERO), Work::Command(Command::Part { .. })));
        assert!(heard.lock().expect("not poisoned").is_empty(), "before it is written");
        let Work::Tell(told) = queue.take(Duration::ZERO) else { panic!("in its place") };
        told.call();
        queue.push(part(1, 1, 1000)).expect("room");
        tell(&queue, "a part that is left out");
        assert_eq!(queue.push(part(1, 2, 2000)), Err(SegmentNumber(1)));
        assert!(matches!(queue.take(Duration::ZERO), Work::Abandoned(_)), "though somebody waits");
        let Work::Tell(told) = queue.take(Duration::ZERO) else { panic!("in its place") };
        told.call();
        queue.close();
        tell(&queue, "nothing more is written");
        assert_eq!(
            *heard.lock().expect("not poisoned"),
            ["one part", "a part that is left out", "nothing more is written"]
        );
    }

    #[test]
    fn small_commands_are_bounded_too() {
        let queue = Queue::new(10_000);
        let took =
            (0..1000).filter(|n| queue.push(Command::Gap { number: SegmentNumber(*n), note: Bytes::new() }).is_ok());
        assert_eq!(took.count(), 10_000 / COMMAND_BYTES);
    }
}
