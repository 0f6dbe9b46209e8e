//! The channel's window on disk: what the channel's owner makes of it, and the thread that opens folders.
//!
//! In:    what the packager wants kept; what the disk says. Out: the same to [`crate::dvr`]; events; a packager that goes on where
//!        one before it ended.
//! Never: waits for the disk on the channel's own task, or lets a disk that fails touch what is live. What is published waits until it is
//! written, so that no death takes back what players were told; but not longer than [`PATIENCE`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use super::{Channel, Input};
use crate::clock::Now;
use crate::config;
use crate::dvr::{self, Folder, Recovered, Settings, State, Store, Track};
use crate::media::SegmentNumber;
use crate::monitor::{DvrStatus, EventKind, Severity};
use crate::package::{Head, Keep, Kept, KeptObject, KeptState, Packager, Snapshot, kept_for};

impl Channel {
    /// Goes on with a window that was kept, if it is one of this channel as it is configured now. To be called before anything else;
    /// true if it does.
    pub fn go_on(&mut self, now: Now, head: &Head, kept: impl Iterator<Item = Kept>) -> bool {
        if !self.fitting.go_on(&self.config.ladder, &head.video, &head.audio) {
            return false;
        }
        let Some(plan) = self.fitting.plan().cloned() else { return false };
        match Packager::restored(self.package_config(&plan), head, kept, now) {
            Ok(Some(packager)) => {
                let newest = packager.status().newest.unwrap_or(0);
                self.plan_is_made(&plan);
                self.take_over(packager);
                let text = format!("goes on behind segment {newest} of the window on disk");
                self.event(now, Severity::Info, EventKind::DvrRestored, text);
                true
            }
            Ok(None) | Err(_) => {
                self.fitting.anew(now);
                false
            }
        }
    }

    /// The disk said something.
    pub(super) fn dvr(&mut self, now: Now, event: dvr::Event) {
        let status = self.dvr.get_or_insert_default();
        match event {
            dvr::Event::Stored { number, objects } => {
                status.newest = Some(number.0);
                let was_failing = std::mem::take(&mut status.failing);
                let whole = (0u16..).zip(&objects).all(|(track, (found, _))| found.0 == track);
                if let Some(packager) = self.packager.as_mut().filter(|_| whole) {
                    packager.stored(number, objects.into_iter().map(|(_, place)| place).collect());
                }
                if was_failing {
                    self.event(now, Severity::Info, EventKind::DvrWell, WELL.to_owned());
                }
            }
            dvr::Event::Lost { why, .. } => {
                status.lost += 1;
                // A disk that fails is told of by itself; one that only hangs is not.
                if why == dvr::Why::QueueFull && !std::mem::replace(&mut status.failing, true) {
                    let text = format!("the window is not kept on disk: {why}; what is live goes on from memory");
                    self.event(now, Severity::Error, EventKind::DvrFailing, text);
                }
            }
            dvr::Event::Failing { reason } => {
                status.failing = true;
                let text = format!("the window is not kept on disk: {reason}; what is live goes on from memory");
                self.event(now, Severity::Error, EventKind::DvrFailing, text);
            }
            dvr::Event::Well => {
                if std::mem::take(&mut status.failing) {
                    self.event(now, Severity::Info, EventKind::DvrWell, WELL.to_owned());
                }
            }
            dvr::Event::Expired { before } => {
                status.oldest = Some(before.0);
                if let Some(packager) = &mut self.packager {
                    packager.expired(before);
                }
            }
        }
    }

    /// Figures of the window on disk; none where the config asks for none.
    pub(super) fn dvr_status(&self) -> Option<DvrStatus> {
        self.config.dvr.as_ref().map(|_| self.dvr.clone().unwrap_or_default())
    }
}

const WELL: &str = "the window is kept on disk again";

/// Things to keep that may wait for the thread: it only waits for the disk while a folder is opened. More are lost.
const KEEPS_MAX: usize = 4096;

/// The longest that publishing waits for the disk, which takes a fraction of a millisecond unless it is in trouble: an eighth of the
/// shortest part that anybody asks for.
const PATIENCE: Duration = Duration::from_millis(25);

/// The thread that hands things to the disk.
#[derive(Debug)]
pub(super) struct Disk {
    keeps: SyncSender<(u64, Vec<Keep>)>,
    /// Lots of things that were handed on.
    lots: u64,
    /// Those of them that are written.
    written: watch::Receiver<u64>,
    /// What is to be published once so many lots are written.
    due: Option<watch::Sender<(u64, Arc<Snapshot>)>>,
    thread: std::thread::JoinHandle<()>,
}

/// What was found in a folder.
#[derive(Debug)]
pub(super) struct Found {
    pub head: Head,
    pub window: Recovered,
}

impl Found {
    /// All segments, the oldest first.
    pub fn kept(&self) -> impl Iterator<Item = Kept> {
        self.window.segments().map(|segment| Kept {
            number: segment.number(),
            state: match segment.state() {
                State::Closed => KeptState::Whole,
                State::Gap => KeptState::Gap,
                State::Open => KeptState::Open,
            },
            objects: segment
                .objects()
                .map(|object| KeptObject {
                    track: object.track.0,
                    place: object.place,
                    parts: object.parts.to_vec(),
                    tag: object.tag,
                })
                .collect(),
            note: segment.note().to_vec(),
        })
    }
}

impl Disk {
    /// Opens the channel's folder, and reads what is there. Blocks on the disk. A folder that cannot be used is told of, and
    /// tried again when there is something to keep.
    pub fn open(
        config: &config::Channel,
        dvr: &config::Dvr,
        inputs: mpsc::Sender<Input>,
    ) -> (Option<Self>, Option<Found>) {
        let segment = config.grid.segment();
        let settings = Settings::new(dvr.folder.clone(), segment, kept_for(config.window, segment), dvr.size_max);
        let (tell, written) = watch::channel(0);
        let written_by = Arc::new(tell);
        let mut keeper =
            Keeper { settings, inputs, store: None, head: None, anchors: None, failed: false, written: written_by };
        let found = keeper.find();
        let (keeps, queue) = sync_channel(KEEPS_MAX);
        let thread = std::thread::Builder::new().name("dvr-keep".to_owned()).spawn(move || keeper.run(&queue));
        match thread {
            Ok(thread) => (Some(Self { keeps, lots: 0, written, due: None, thread }), found),
            Err(error) => {
                error!(%error, "no thread for the window on disk");
                (None, None)
            }
        }
    }

    /// Hands them on; never waits.
    pub fn keep(&mut self, keeps: Vec<Keep>) {
        match self.keeps.try_send((self.lots + 1, keeps)) {
            Ok(()) => self.lots += 1,
            Err(TrySendError::Full(_)) => {
                warn!("the window on disk: too much waits for the folder to open, a part is lost");
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Publishes `snapshot` when all that was handed on is written; within a runtime. Of those that wait, the newest counts.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>, to: &watch::Sender<Arc<Snapshot>>) {
        let due = (self.lots, snapshot);
        let begin = |due| {
            let (sender, waiting) = watch::channel(due);
            tokio::spawn(publish(waiting, self.written.clone(), to.clone()));
            sender
        };
        match &self.due {
            Some(sender) => drop(sender.send_replace(due)),
            None => self.due = Some(begin(due)),
        }
    }

    /// Writes what there is and ends. Blocks on the disk.
    pub fn close(self) {
        drop(self.keeps);
        let _ = self.thread.join();
    }
}

/// Publishes what is due when it is written.
async fn publish(
    mut due: watch::Receiver<(u64, Arc<Snapshot>)>,
    mut written: watch::Receiver<u64>,
    to: watch::Sender<Arc<Snapshot>>,
) {
    due.mark_changed();
    while due.changed().await.is_ok() {
        let (lots, snapshot) = due.borrow_and_update().clone();
        // A disk that hangs, and one that is gone, must not be seen by viewers.
        let _ = tokio::time::timeout(PATIENCE, written.wait_for(|written| *written >= lots)).await;
        to.send_replace(snapshot);
    }
}

struct Keeper {
    settings: Settings,
    inputs: mpsc::Sender<Input>,
    store: Option<Store>,
    head: Option<Bytes>,
    /// The newest, for a store that is not there yet.
    anchors: Option<Bytes>,
    /// The folder cannot be used, and that was told.
    failed: bool,
    /// Lots that are written.
    written: Arc<watch::Sender<u64>>,
}

impl Keeper {
    /// What the folder has, if it is of our making.
    fn find(&mut self) -> Option<Found> {
        let folder = self.told(Folder::open(self.settings.clone()))?;
        let bytes = folder.head()?.clone();
        let head = Head::read(&bytes)?;
        let (store, window) = self.told(folder.go_on(sink(&self.inputs)))?;
        (self.store, self.head) = (Some(store), Some(bytes));
        Some(Found { head, window })
    }

    fn run(mut self, queue: &Receiver<(u64, Vec<Keep>)>) {
        while let Ok((lot, keeps)) = queue.recv() {
            keeps.into_iter().for_each(|keep| self.keep(keep));
            let written = Arc::clone(&self.written);
            let tell = move || {
                written.send_replace(lot);
            };
            match &self.store {
                Some(store) => store.when_written(tell),
                None => tell(),
            }
        }
        if let Some(store) = self.store.take() {
            store.close();
        }
    }

    fn keep(&mut self, keep: Keep) {
        let track = |(track, it): (u16, Bytes)| (Track(track), it);
        match keep {
            Keep::Head(head) => self.begin(head),
            Keep::Part { number, part, objects } => {
                if let Some(store) = self.store(number) {
                    store.part(number, part, objects.into_iter().map(track).collect());
                }
            }
            Keep::Closed { number, tags, note } => {
                if let Some(store) = self.store(number) {
                    store.closed(number, tags.into_iter().map(|(track, tag)| (Track(track), tag)).collect(), note);
                }
            }
            Keep::Gap { number } => {
                if let Some(store) = self.store(number) {
                    store.gap(number, Bytes::new());
                }
            }
            Keep::Anchors(anchors) => {
                if let Some(store) = &self.store {
                    note(store, &anchors);
                }
                self.anchors = Some(anchors);
            }
        }
    }

    /// The store; where there is none yet, the folder is tried again, but not for each part of each segment.
    fn store(&mut self, number: SegmentNumber) -> Option<&Store> {
        if self.store.is_none()
            && number.0.is_multiple_of(8)
            && let Some(head) = self.head.clone()
        {
            self.begin(head);
        }
        self.store.as_ref()
    }

    fn begin(&mut self, head: Bytes) {
        if self.store.is_some() && self.head.as_ref() == Some(&head) {
            return;
        }
        if let Some(old) = self.store.take() {
            old.close();
        }
        self.head = Some(head.clone());
        let Some(folder) = self.told(Folder::open(self.settings.clone())) else { return };
        self.store = self.told(folder.begin(head, sink(&self.inputs)));
        if let (Some(store), Some(anchors)) = (&self.store, &self.anchors) {
            note(store, anchors);
        }
        if self.store.is_some() && std::mem::take(&mut self.failed) {
            let _ = self.inputs.try_send(Input::Dvr(dvr::Event::Well));
        }
    }

    /// What came of an attempt; a failure is told of once.
    fn told<T>(&mut self, result: Result<T, dvr::Error>) -> Option<T> {
        match result {
            Ok(it) => Some(it),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                if !std::mem::replace(&mut self.failed, true) {
                    let reason = format!("{error}{cause}");
                    let _ = self.inputs.try_send(Input::Dvr(dvr::Event::Failing { reason }));
                }
                None
            }
        }
    }
}

/// Some kilobytes: never too long.
fn note(store: &Store, anchors: &Bytes) {
    if let Err(error) = store.note(anchors.clone()) {
        warn!(%error, "anchors are not kept");
    }
}

/// Takes the writer's words to the channel. One that finds no room is lost: then a segment is taken for one that is not on disk.
fn sink(inputs: &mpsc::Sender<Input>) -> dvr::Sink {
    let inputs = inputs.clone();
    Box::new(move |event| {
        let _ = inputs.try_send(Input::Dvr(event));
    })
}
