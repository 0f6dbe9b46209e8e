//! The writer: takes what waits, puts it into blocks, removes old ones. It owns the folder and all that is known of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::block::{Block, Fault, Growing};
use super::figures::{Counters, count};
use super::files::{self, Name};
use super::index::BlockId;
use super::queue::{Command, Queue, Work};
use super::recovery::{INDEX_MAX, Rest, Rows};
use super::sync::{Outcome, Syncer};
use super::{Error, Event, Place, Recovered, Settings, Sink, Tag, Track, Why};
use crate::clock::{self, Now};
use crate::media::SegmentNumber;

/// A block whose index is longer is full; a segment more still fits into what is read.
const INDEX_FULL: u64 = INDEX_MAX / 2;
/// A disk that failed is tried again after so long, then after twice as long, and so on.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(16);

/// A block that is full.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub block: BlockId,
    pub last: SegmentNumber,
    pub bytes: u64,
    pub tracks: Vec<Track>,
}

pub(super) struct Writer {
    settings: Settings,
    generation: u64,
    /// To be written before anything else.
    head: Option<Bytes>,
    /// To be removed after that.
    orphans: Vec<PathBuf>,
    /// Full blocks, the oldest first.
    kept: VecDeque<Kept>,
    block: Option<Block>,
    segment: Option<Growing>,
    /// What an earlier process began.
    begun: Option<Rows>,
    /// The last segment that was stored, or lost.
    newest: Option<SegmentNumber>,
    /// The last one that was lost.
    lost: Option<SegmentNumber>,
    note: Option<Bytes>,
    /// `note` is in the block.
    note_stored: bool,
    trouble: Option<Trouble>,
    /// The disk could not write down what it had taken, and has not succeeded since.
    unsynced: bool,
    syncer: Syncer,
    syncing: bool,
    sync_at: Now,
    queue: Arc<Queue>,
    sink: Arc<Sink>,
    counters: Arc<Counters>,
    /// Held until the thread ends.
    _lock: File,
}

/// The disk failed.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    again_at: Now,
    pause: Duration,
}

impl Writer {
    /// Starts the thread; it ends when the queue is closed and empty.
    pub(super) fn start(
        settings: Settings,
        lock: File,
        generation: u64,
        head: Option<Bytes>,
        recovered: &Recovered,
        rest: Rest,
        (queue, sink, counters): (Arc<Queue>, Arc<Sink>, Arc<Counters>),
    ) -> io::Result<JoinHandle<()>> {
        let syncer = Syncer::start(settings.folder.clone(), Arc::clone(&queue), rest.unsettled)?;
        let open = rest.open.as_ref().map(|(number, _)| *number);
        let whole = recovered.segments().rev().map(|segment| segment.number()).find(|number| Some(*number) != open);
        let mut writer = Self {
            sync_at: clock::now().after(settings.sync_every),
            settings,
            generation,
            head,
            orphans: rest.orphans,
            kept: rest.blocks.into(),
            block: None,
            segment: None,
            begun: rest.open,
            newest: whole,
            lost: None,
            note: recovered.note().cloned(),
            note_stored: true,
            trouble: None,
            unsynced: false,
            syncer,
            syncing: false,
            queue,
            sink,
            counters,
            _lock: lock,
        };
        std::thread::Builder::new().name("dvr".into()).spawn(move || {
            writer.begin();
            while writer.step() {}
            writer.end();
        })
    }

    fn begin(&mut self) {
        if let Err(fault) = self.prepare() {
            self.failed(clock::now(), fault, None);
        }
        self.show();
    }

    /// Does one thing; `false` when there will be no more.
    fn step(&mut self) -> bool {
        let now = clock::now();
        let sync_in = self.sync_at.mono.saturating_duration_since(now.mono);
        let is_dirty = !self.syncing && self.block.as_ref().is_some_and(|block| block.dirty && !block.tainted);
        if is_dirty && sync_in.is_zero() {
            self.sync_at = now.after(self.settings.sync_every);
            if let Some(block) = &mut self.block {
                self.syncing = self.syncer.order(block.job(false));
                block.dirty = !self.syncing;
            }
        }
        match self.queue.take(if is_dirty { sync_in.max(Duration::from_millis(1)) } else { Duration::from_secs(60) }) {
            Work::Command(command) => {
                let began = clock::now();
                self.command(began, command);
                let micros = u64::try_from(clock::now().since(began).as_micros()).unwrap_or(u64::MAX);
                self.counters.slowest_micros.fetch_max(micros, Ordering::Relaxed);
                self.show();
            }
            Work::Abandoned(number) => {
                if self.segment.take_if(|segment| segment.number == number).is_some() {
                    self.newest = self.newest.max(Some(number));
                }
            }
            Work::Tell(told) => told.call(),
            Work::Note(note) => self.noted(now, note),
            Work::Synced(outcome) => self.synced(now, outcome),
            Work::Nothing => {}
            Work::End => return false,
        }
        true
    }

    /// Puts on the disk what is not there yet, and ends.
    fn end(mut self) {
        let last = self.block.as_mut().filter(|block| !block.tainted).map(|block| block.job(true));
        self.syncer.end(last);
    }

    fn command(&mut self, now: Now, command: Command) {
        let number = command.number();
        if self.newest.is_some_and(|newest| number <= newest) {
            // Of one that was lost more may come; one that is stored may be made once more, by who knows no better.
            if self.lost != Some(number) {
                count(&self.counters.ignored);
            }
            return;
        }
        let growing = self.segment.as_ref().is_some_and(|segment| segment.number == number);
        if !growing && let Some(left) = self.segment.take() {
            self.lose(left.number, Why::Unfinished);
        }
        if !growing && self.trouble.is_some_and(|trouble| now.mono < trouble.again_at.mono) {
            return self.lose(number, Why::Disk);
        }
        match self.write(command) {
            Ok(None) => {}
            Ok(Some(objects)) => {
                self.newest = Some(number);
                count(&self.counters.stored);
                self.tell(Event::Stored { number, objects });
                if !self.unsynced && self.trouble.take().is_some() {
                    self.tell(Event::Well);
                }
            }
            Err(fault) => self.failed(now, fault, Some(number)),
        }
    }

    /// Carries out a command; where its tracks lie, if the segment is whole by it.
    fn write(&mut self, command: Command) -> Result<Option<Vec<(Track, Place)>>, Fault> {
        match command {
            Command::Part { number, part, objects } => {
                if self.segment.is_none() {
                    self.open(number, part)?;
                }
                let bytes: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
                self.expire(number, bytes as u64)?;
                let (Some(block), Some(segment)) = (&mut self.block, &mut self.segment) else {
                    return Err(Why::OutOfOrder.into());
                };
                if segment.rows != part {
                    return Err(Why::OutOfOrder.into());
                }
                block.row(segment, &objects)?;
                Ok(None)
            }
            Command::Closed { number, tags, note } => {
                if self.segment.is_none() {
                    self.go_on(number)?;
                }
                Ok(Some(self.close(&tags, &note)?))
            }
            Command::Gap { number, note } => {
                self.segment = None;
                self.begun = None;
                self.room(number)?.gap(number, &note)?;
                Ok(Some(Vec::new()))
            }
        }
    }

    /// Begins a segment with its part 0, or goes on with what an earlier process began.
    fn open(&mut self, number: SegmentNumber, part: u16) -> Result<(), Fault> {
        if part > 0 {
            return self.go_on(number);
        }
        self.begun = None;
        self.room(number)?;
        self.segment = Some(Growing::new(number));
        Ok(())
    }

    /// Writes once more the rows that an earlier process wrote: a segment lies in one piece, and nobody writes into the blocks of the dead, of whose
    /// ends it is only known what their indexes say.
    fn go_on(&mut self, number: SegmentNumber) -> Result<(), Fault> {
        let Some((_, rows)) = self.begun.take_if(|(begun, _)| *begun == number) else {
            return Err(Why::OutOfOrder.into());
        };
        let mut segment = Growing::new(number);
        let bytes: usize = rows.iter().flatten().map(|(_, bytes)| bytes.len()).sum();
        self.expire(number, bytes as u64)?;
        let block = self.room(number)?;
        rows.iter().try_for_each(|row| block.row(&mut segment, row))?;
        self.segment = Some(segment);
        Ok(())
    }

    fn close(&mut self, tags: &[(Track, Tag)], note: &[u8]) -> Result<Vec<(Track, Place)>, Fault> {
        let (Some(block), Some(segment)) = (&mut self.block, &self.segment) else { return Err(Why::OutOfOrder.into()) };
        let places = block.closed(segment, tags, note)?;
        self.segment = None;
        Ok(places)
    }

    /// The block that `number` belongs to, with what must come before it.
    fn room(&mut self, number: SegmentNumber) -> Result<&mut Block, Fault> {
        self.prepare()?;
        let span = self.settings.block_segments();
        let full = self.block.take_if(|block| {
            block.tainted
                || block.id.first.0 / span != number.0 / span
                || block.bytes() > self.settings.bytes_max / 8
                || block.index_len() > INDEX_FULL
        });
        if let Some(block) = full {
            self.put_away(block);
        }
        self.expire(number, 0)?;
        if self.block.is_none() {
            let (folder, note) = (&self.settings.folder, self.note.as_ref());
            self.block = Some(Block::create(folder, self.generation, number, note)?);
            self.note_stored = true;
        }
        self.write_note()?;
        self.block.as_mut().ok_or_else(|| Why::OutOfOrder.into())
    }

    /// The head, if it is not written yet, and what is to go once it is.
    fn prepare(&mut self) -> Result<(), Fault> {
        if let Some(head) = &self.head {
            let (folder, generation) = (&self.settings.folder, self.generation);
            if files::write_head(folder, generation, head).is_err() {
                // It may be that what is to go is what fills the disk.
                self.orphans.iter().for_each(|path| drop(files::remove(path)));
                files::write_head(folder, generation, head)?;
            }
            self.head = None;
        }
        while let Some(path) = self.orphans.last() {
            files::remove(path)?;
            self.orphans.pop();
        }
        Ok(())
    }

    fn noted(&mut self, now: Now, note: Bytes) {
        if self.note.as_ref() == Some(&note) {
            return;
        }
        self.note = Some(note);
        self.note_stored = false;
        // An index that is full takes no more of them: they wait for the next block, the newest of them.
        let takes = self.block.as_ref().is_some_and(|block| block.index_len() <= INDEX_FULL);
        if takes
            && self.trouble.is_none()
            && let Err(fault) = self.write_note()
        {
            self.failed(now, fault, None);
        }
    }

    fn write_note(&mut self) -> Result<(), Fault> {
        if let (false, Some(block), Some(note)) = (self.note_stored, &mut self.block, &self.note) {
            block.note(note)?;
            self.note_stored = true;
        }
        Ok(())
    }

    /// Nothing more is written to this block.
    fn put_away(&mut self, mut block: Block) {
        self.kept.push_back(Kept { block: block.id, last: block.last, bytes: block.bytes(), tracks: block.tracks() });
        self.syncing = false;
        // A disk that has no time for this either leaves it to be checked at the next start.
        let _ = block.tainted || self.syncer.order(block.job(true));
    }

    /// Removes blocks that left the window before `number`, and the oldest until `bytes` more have room.
    fn expire(&mut self, number: SegmentNumber, bytes: u64) -> Result<(), Fault> {
        let oldest = SegmentNumber(number.0.saturating_sub(self.settings.segments() - 1));
        let mut total = self.bytes() + bytes;
        let mut gone = false;
        while let Some(front) = self.kept.front()
            && (front.last < oldest || total > self.settings.bytes_max)
        {
            let index = Name::Index(front.block);
            // The index first: media without one is nobody's, and removed at the next start.
            files::remove(&index.path(&self.settings.folder))?;
            for track in &front.tracks {
                files::remove(&Name::Media(front.block, *track).path(&self.settings.folder))?;
            }
            total -= front.bytes;
            self.kept.pop_front();
            gone = true;
        }
        if gone {
            let next = self.kept.front().map(|kept| kept.block).or(self.block.as_ref().map(|block| block.id));
            self.tell(Event::Expired { before: next.map_or(number, |block| block.first) });
        }
        Ok(())
    }

    fn synced(&mut self, now: Now, outcome: Outcome) {
        let Outcome { block, upto, sealed, result } = outcome;
        let current = self.block.as_mut().filter(|current| current.id == block && !sealed);
        if current.is_some() {
            self.syncing = false;
        }
        self.unsynced = result.is_err();
        match (result, current) {
            (Ok(()), Some(current)) => {
                if let Err(error) = current.synced(upto) {
                    self.failed(now, error.into(), None);
                }
            }
            (Ok(()), None) => {}
            (Err(error), current) => {
                if let Some(current) = current {
                    current.tainted = true;
                }
                // It still takes what is written, and that outlives this process: no pause.
                self.troubled(Trouble { again_at: now, pause: PAUSE_MIN }, &error);
            }
        }
    }

    /// Something was not written; `number` is lost by it, if one is.
    fn failed(&mut self, now: Now, fault: Fault, number: Option<SegmentNumber>) {
        let why = match fault {
            Fault::Said(why) => why,
            Fault::Disk(error) => {
                let pause = self.trouble.map_or(PAUSE_MIN, |trouble| (trouble.pause * 2).min(PAUSE_MAX));
                self.troubled(Trouble { again_at: now.after(pause), pause }, &error);
                Why::Disk
            }
        };
        if let Some(number) = number {
            self.segment = None;
            self.lose(number, why);
        }
    }

    fn troubled(&mut self, trouble: Trouble, error: &Error) {
        count(&self.counters.errors);
        if self.trouble.replace(trouble).is_none() {
            self.tell(Event::Failing { reason: error.line() });
        }
    }

    /// Once for each segment: what else comes of it is not above `newest`.
    fn lose(&mut self, number: SegmentNumber, why: Why) {
        self.newest = self.newest.max(Some(number));
        self.lost = Some(number);
        count(&self.counters.lost);
        self.tell(Event::Lost { number, why });
    }

    fn tell(&self, event: Event) {
        (self.sink)(event);
    }

    fn bytes(&self) -> u64 {
        self.kept.iter().map(|kept| kept.bytes).sum::<u64>() + self.block.as_ref().map_or(0, Block::bytes)
    }

    fn show(&self) {
        self.counters.bytes.store(self.bytes(), Ordering::Relaxed);
        let blocks = self.kept.len() + usize::from(self.block.is_some());
        self.counters.blocks.store(blocks as u64, Ordering::Relaxed);
    }
}
