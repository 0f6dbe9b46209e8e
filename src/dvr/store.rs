//! The two doors: a folder that was opened and not yet decided upon, and a store that takes what is published.

use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;

use super::figures::{Counters, Figures, count};
use super::queue::{Command, Queue};
use super::recovery::{self, Rest};
use super::writer::Writer;
use super::{Error, Event, HEAD_MAX, NOTE_MAX, Recovered, Settings, Sink, Tag, Track, Why, files};
use crate::media::SegmentNumber;

/// A folder that is locked for this process, with the head of what is stored there.
#[derive(Debug)]
pub struct Folder {
    settings: Settings,
    lock: File,
    head: Option<(u64, Bytes)>,
}

impl Folder {
    /// Makes the folder if it is not there, locks it, and reads its head. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process has it, and still has it after half a second; else what the system says, with the path.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let lock = files::lock(&settings.folder)?;
        let head = files::read_head(&settings.folder)?;
        Ok(Self { settings, lock, head })
    }

    /// What was given to [`Self::begin`] for the window that is stored. `None` if there is none, or nobody can tell what it is: then `begin`.
    pub fn head(&self) -> Option<&Bytes> {
        self.head.as_ref().map(|(_, head)| head)
    }

    /// Reads the window that is stored, and goes on with it. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::NoHead`]; else what the system says, with the path. A damaged file is no error: what is whole is recovered, and
    /// [`Recovered::damage`] tells of the rest.
    pub fn go_on(self, sink: Sink) -> Result<(Store, Recovered), Error> {
        let Some((generation, _)) = self.head else { return Err(Error::NoHead { folder: self.settings.folder }) };
        let (recovered, rest) = recovery::recover(&self.settings.folder, generation)?;
        let store = Store::start(self.settings, self.lock, generation, None, &recovered, rest, sink)?;
        Ok((store, recovered))
    }

    /// Sets aside what is stored and begins a window that `head` describes. The old files are removed once the new head is on the disk, by the writer:
    /// a disk that fails is told of as an event.
    ///
    /// # Errors
    /// [`Error::TooLong`]; else what the system says, with the path.
    pub fn begin(self, head: Bytes, sink: Sink) -> Result<Store, Error> {
        if head.len() > HEAD_MAX {
            return Err(Error::TooLong { len: head.len(), max: HEAD_MAX });
        }
        let old = files::list(&self.settings.folder)?;
        let generations = old.iter().map(|(name, _)| name.block().generation);
        // Names never come back: who holds a place of an old window never reads bytes of a new one.
        let generation = generations.chain(self.head.iter().map(|(g, _)| *g)).max().map_or(1, |g| g.saturating_add(1));
        let orphans = old.into_iter().map(|(name, _)| name.path(&self.settings.folder)).collect();
        let rest = Rest { orphans, ..Rest::default() };
        Store::start(self.settings, self.lock, generation, Some(head), &Recovered::default(), rest, sink)
    }
}

/// Takes what is published. Nothing here waits for the disk: what it cannot take in time is lost to the window on disk, and told of.
pub struct Store {
    pub(super) queue: Arc<Queue>,
    sink: Arc<Sink>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    fn start(
        settings: Settings,
        lock: File,
        generation: u64,
        head: Option<Bytes>,
        recovered: &Recovered,
        rest: Rest,
        sink: Sink,
    ) -> Result<Self, Error> {
        let queue = Arc::new(Queue::new(settings.queue_bytes_max));
        let (sink, counters) = (Arc::new(sink), Arc::new(Counters::default()));
        let folder = settings.folder.clone();
        let shared = (Arc::clone(&queue), Arc::clone(&sink), Arc::clone(&counters));
        let thread = Writer::start(settings, lock, generation, head, recovered, rest, shared);
        let thread = thread.map_err(|error| Error::io("start a thread for", &folder, error))?;
        Ok(Self { queue, sink, counters, thread: Some(thread) })
    }

    /// The next part of a segment in all tracks that have something in it, from part 0 on. Parts of one segment come in order, segments with rising
    /// numbers: what comes of a segment that is stored or lost, or of one before it, is ignored. An open segment that was recovered is gone on with by
    /// its next part.
    pub fn part(&self, number: SegmentNumber, part: u16, objects: Vec<(Track, Bytes)>) {
        self.push(Command::Part { number, part, objects });
    }

    /// A segment is whole: its parts have all been given. `tags`: one for each track that had something; `note`: [`NOTE_MAX`] bytes at most, given back
    /// with the segment.
    pub fn closed(&self, number: SegmentNumber, tags: Vec<(Track, Tag)>, note: Bytes) {
        self.push(Command::Closed { number, tags, note });
    }

    /// A segment is missing, also if parts of it were given. `note`: [`NOTE_MAX`] bytes at most.
    pub fn gap(&self, number: SegmentNumber, note: Bytes) {
        self.push(Command::Gap { number, note });
    }

    /// A small state that is to survive; the newest counts. It is at rest no later than the segments that are given after it.
    ///
    /// # Errors
    /// [`Error::TooLong`] above [`NOTE_MAX`] bytes.
    pub fn note(&self, note: Bytes) -> Result<(), Error> {
        if note.len() > NOTE_MAX {
            return Err(Error::TooLong { len: note.len(), max: NOTE_MAX });
        }
        self.queue.note(note);
        Ok(())
    }

    /// Calls `told`, from a thread that nobody should keep, when what was given until now is written, so that this process may die; or is lost,
    /// which is told of beside it.
    pub fn when_written(&self, told: impl FnOnce() + Send + 'static) {
        self.queue.tell(Box::new(told));
    }

    /// Counters.
    pub fn figures(&self) -> Figures {
        self.counters.figures(self.queue.bytes())
    }

    /// Writes what was given, puts it on the disk, and gives the folder free. Blocks for as long as the disk takes; a store that is dropped does the same
    /// behind the caller's back.
    pub fn close(mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn push(&self, command: Command) {
        if let Err(number) = self.queue.push(command) {
            count(&self.counters.lost);
            (self.sink)(Event::Lost { number, why: Why::QueueFull });
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("figures", &self.figures()).finish_non_exhaustive()
    }
}
