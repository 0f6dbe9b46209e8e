//! The thread that waits for the disk itself, so that the writer does not: what is written goes to the page cache at once and survives this process,
//! also while a disk takes its time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Error;
use super::index::{self, BlockId};
use super::queue::Queue;
use super::recovery::Unsettled;

/// A block being written has one job at a time, one that is full one more.
const JOBS_MAX: usize = 4;

/// What is to be on the disk: all of a block up to here.
#[derive(Debug)]
pub(super) struct Job {
    pub block: BlockId,
    pub media: Vec<Arc<File>>,
    pub index: Arc<File>,
    pub path: PathBuf,
    /// Records of the index before here, and what they tell of.
    pub upto: u64,
    /// Nothing more is written to the block: say so at its end.
    pub seal: bool,
}

/// What came of a job.
#[derive(Debug)]
pub(super) struct Outcome {
    pub block: BlockId,
    pub upto: u64,
    pub sealed: bool,
    pub result: Result<(), Error>,
}

#[derive(Debug)]
pub(super) struct Syncer {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Syncer {
    /// Starts with what an earlier process left without a word that it is on the disk.
    pub(super) fn start(folder: PathBuf, queue: Arc<Queue>, unsettled: Vec<Unsettled>) -> io::Result<Self> {
        let (jobs, todo) = sync_channel(JOBS_MAX);
        let thread = std::thread::Builder::new().name("dvr-sync".into());
        let thread = thread.spawn(move || {
            // What cannot be settled is checked again at the next start.
            unsettled.into_iter().for_each(|block| drop(settle(&block)));
            work(&folder, &todo, &queue);
        })?;
        Ok(Self { jobs, thread })
    }

    /// `false`: it has too much to do.
    pub(super) fn order(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Waits until all is done.
    pub(super) fn end(self, last: Option<Job>) {
        if let Some(job) = last {
            let _ = self.jobs.send(job);
        }
        drop(self.jobs);
        let _ = self.thread.join();
    }
}

fn work(folder: &Path, todo: &Receiver<Job>, queue: &Queue) {
    let mut failed = None;
    while let Ok(mut job) = todo.recv() {
        // The system tells of a page that was not written once, and then counts it as written: what it says later vouches for nothing.
        job.seal &= failed != Some(job.block);
        let result = carry_out(folder, &job).map_err(|error| Error::io("sync", &job.path, error));
        if result.is_err() {
            failed = Some(job.block);
        }
        queue.synced(Outcome { block: job.block, upto: job.upto, sealed: job.seal, result });
    }
}

fn carry_out(folder: &Path, job: &Job) -> io::Result<()> {
    job.media.iter().try_for_each(|file| file.sync_data())?;
    job.index.sync_data()?;
    File::open(folder)?.sync_all()?;
    if job.seal {
        let record = index::Writer::new(job.block).synced(job.upto, job.upto);
        job.index.write_all_at(&record, job.upto)?;
    }
    Ok(())
}

fn settle(left: &Unsettled) -> io::Result<()> {
    left.media.iter().try_for_each(|path| File::open(path)?.sync_data())?;
    let index = File::options().read(true).write(true).open(&left.index)?;
    // The torn tail goes, so that nothing of it stands behind the last word.
    index.set_len(left.end)?;
    index.sync_data()?;
    let record = index::Writer::new(left.block).synced(left.end, left.end);
    index.write_all_at(&record, left.end)
}
