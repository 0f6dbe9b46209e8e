//! The video thread: decodes, puts each picture into its slot, fills the slots for which none came, hands all to the rungs.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::cadence::Cadence;
use super::decode::{Decoded, VideoDecoder};
use super::ipc::{Filled, Material, Orders, Showing};
use super::pulse::Pulse;
use super::rung::ToRung;
use super::scale::Picture;
use super::slate::Slate;
use super::slots::{Fill, Filling, Slots, Verdict};
use super::standby::Held;
use super::thumbnail::Thumbnails;
use crate::clock;
use crate::media::{Break, ChannelTime, Grid, Item, Slot, TrackId, TrackKind};

/// Its name, under which the kernel counts what decoding costs.
pub const THREAD: &str = "video";

/// Longest sleep, so that a stepped wall clock cannot put the thread to sleep for hours.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// The same while pictures wait for room in a rung's queue: eight of them are encoded in no less.
const SLEEP_BEHIND: Duration = Duration::from_millis(5);

/// What the heartbeat tells about the video thread.
#[derive(Debug, Default)]
pub struct VideoFigures {
    /// Pictures decoded.
    pub decoded: AtomicU64,
    /// Slots filled with a repeat.
    pub repeated: AtomicU64,
    /// Slots filled with black.
    pub black: AtomicU64,
    /// Slots filled with slate.
    pub slate: AtomicU64,
    /// Decoder errors.
    pub errors: AtomicU64,
    showing: AtomicU8,
    /// Newest slot filled; 0 before the first.
    pub newest: AtomicU64,
}

impl VideoFigures {
    /// What is on the output now.
    pub fn showing(&self) -> Showing {
        match self.showing.load(Ordering::Relaxed) {
            1 => Showing::Source,
            2 => Showing::Repeat,
            3 => Showing::Black,
            4 => Showing::Slate,
            _ => Showing::Nothing,
        }
    }
}

/// What the video thread is made of.
#[derive(Debug)]
pub struct Video {
    /// The channel's grid.
    pub grid: Grid,
    /// The filling policy.
    pub slots: Slots,
    /// The decoder.
    pub decoder: VideoDecoder,
    /// Shown when the last picture is too old.
    pub black: Picture,
    /// Shown when nothing else is.
    pub slate: Slate,
    /// Where the operator's small pictures are made.
    pub thumbnails: Thumbnails,
    /// The rungs, in the job's order, and what waits for them.
    pub rungs: Held,
    /// What is to be encoded from now on.
    pub orders: Receiver<Orders>,
    /// For the heartbeat.
    pub figures: Arc<VideoFigures>,
    /// For the heartbeat.
    pub pulse: Pulse,
    /// Set while the reader waits for room in another thread's queue: input is there, only not here yet.
    pub held_up: Arc<AtomicBool>,
}

impl Video {
    /// Runs until the sender is gone or a rung has failed.
    pub fn run(self, items: &Receiver<Item<ChannelTime>>) {
        let first = self.slots.next();
        let cadence = Cadence::new(self.grid);
        let mut running = Running {
            video: self,
            track: None,
            last: None,
            first,
            cadence,
            planned: first,
            set_back: false,
            filled: Filled::default(),
            rungs_left: true,
        };
        while running.rungs_left {
            let most = if running.video.rungs.is_behind() { SLEEP_BEHIND } else { SLEEP_MAX };
            let sleep = running.video.slots.wake_in(clock::now()).min(most);
            let idle = match items.recv_timeout(sleep) {
                Ok(item) => {
                    running.video.pulse.busy();
                    running.item(item);
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            running.fill_due(idle);
            running.obey();
            running.video.pulse.idle();
        }
        running.obey();
        running.drain();
        running.video.rungs.finish();
    }
}

struct Running {
    video: Video,
    track: Option<TrackId>,
    /// The last picture of the source.
    last: Option<Picture>,
    /// The job's first slot.
    first: Slot,
    cadence: Cadence,
    /// Repeats below this slot are rate conversion, and nobody's fault.
    planned: Slot,
    /// The source's time was set back: what it has for slots that are filled is lost.
    set_back: bool,
    /// Of the segment in the making.
    filled: Filled,
    rungs_left: bool,
}

impl Running {
    fn item(&mut self, item: Item<ChannelTime>) {
        match item {
            Item::Tracks(tracks) => {
                let track = tracks.first(TrackKind::Video);
                if self.track != track.map(|t| t.id) {
                    self.drain();
                }
                self.track = track.map(|t| t.id);
                if let Some(track) = track {
                    self.cadence.declared(track.shape);
                    let rest = self.video.decoder.set_codec(track.codec);
                    self.pictures(rest);
                }
            }
            Item::Unit(unit) if Some(unit.track) == self.track => {
                let pictures = self.video.decoder.push(&unit);
                self.pictures(pictures);
            }
            Item::Unit(_) => {}
            Item::Pace(pace) => self.cadence.pace(pace),
            Item::Break(why) => {
                if why == Break::SourceSwitch {
                    self.drain_unbroken()
                } else {
                    self.drain()
                }
                self.set_back = why == Break::Timeline;
            }
            Item::End => self.drain(),
        }
        self.video.figures.errors.store(self.video.decoder.errors(), Ordering::Relaxed);
    }

    fn obey(&mut self) {
        while let Ok(orders) = self.video.orders.try_recv() {
            self.video.rungs.obey(orders);
        }
        self.rungs_left &= self.video.rungs.pump();
    }

    fn drain(&mut self) {
        let rest = self.video.decoder.drain();
        self.pictures(rest);
    }

    /// Another source takes over, and it begins with a key frame from before the break. Of what the old one left in the
    /// decoder only the pictures are used that continue without a hole: those in a hole were lost with the old source,
    /// the new one has them, and so has it the pictures behind it.
    fn drain_unbroken(&mut self) {
        let mut rest = self.video.decoder.drain();
        let mut next = self.video.slots.next();
        let unbroken = rest.iter().take_while(|d| {
            let slot = self.video.grid.slot_at(d.at);
            let continues = d.picture.is_some() && !d.damaged && slot <= next;
            next = next.max(slot.next());
            continues
        });
        let count = unbroken.count();
        rest.truncate(count);
        self.pictures(rest);
    }

    fn pictures(&mut self, decoded: Vec<Decoded>) {
        for Decoded { at, picture, damaged } in decoded {
            let now = clock::now();
            // A wrong picture shows that the decoder lives, but it must not keep the clock from filling its slot.
            let Some(picture) = picture else {
                self.filled.damaged += u32::from(self.video.grid.slot_at(at) >= self.video.slots.next());
                continue;
            };
            self.video.slots.moved(now);
            self.video.figures.decoded.fetch_add(1, Ordering::Relaxed);
            match self.video.slots.judge(at, now) {
                Verdict::Use(slot) => {
                    self.set_back = false;
                    self.planned = if self.cadence.explains(at) { slot } else { self.video.slots.next() };
                    while let Some(filling) = self.video.slots.pop_until(slot) {
                        self.emit(filling);
                    }
                    self.filled.damaged += u32::from(damaged);
                    self.last = Some(picture);
                    let filling = self.video.slots.place();
                    self.emit(filling);
                }
                Verdict::Past => {
                    let slot = self.video.grid.slot_at(at);
                    if slot < self.first && self.video.slots.next() == self.first {
                        self.video.slots.precede(at);
                        self.last = Some(picture);
                    }
                    let was_to_be_shown = self.set_back && slot >= self.first;
                    self.filled.skipped += u32::from(was_to_be_shown);
                    // A faster source's pictures fall two and more into a slot.
                    self.cadence.note(at);
                }
                Verdict::Ahead => {
                    self.video.figures.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn fill_due(&mut self, idle: bool) {
        if self.video.held_up.load(Ordering::Relaxed) {
            self.video.slots.moved(clock::now());
        }
        while let Some(filling) = self.video.slots.pop_due(idle, clock::now()) {
            self.emit(filling);
        }
    }

    /// Sends one slot's picture to all rungs, and the segment's end behind its last slot.
    fn emit(&mut self, Filling { slot, fill }: Filling) {
        let figures = &self.video.figures;
        if matches!(fill, Fill::Repeat | Fill::Black)
            && let Some(slate_begins) = self.video.slots.slate_begins()
        {
            self.video.slate.prepare(slate_begins);
        }
        let (picture, showing) = match (fill, &self.last) {
            (Fill::Picture, Some(last)) => (last.clone(), 1),
            (Fill::Repeat, Some(last)) if slot < self.planned => (last.clone(), 1),
            (Fill::Repeat, Some(last)) => {
                self.filled.repeated += 1;
                figures.repeated.fetch_add(1, Ordering::Relaxed);
                (last.clone(), 2)
            }
            (Fill::Black, Some(_)) => {
                self.filled.slate += 1;
                figures.black.fetch_add(1, Ordering::Relaxed);
                (self.video.black.clone(), 3)
            }
            (Fill::Slate, _) | (_, None) => {
                self.filled.slate += 1;
                figures.slate.fetch_add(1, Ordering::Relaxed);
                // Waiting for its file, a moment at most, is no step of ours.
                self.video.pulse.idle();
                (self.video.slate.picture(slot), 4)
            }
        };
        figures.showing.store(showing, Ordering::Relaxed);
        self.video.thumbnails.offer(slot, &picture);
        figures.newest.store(slot.0, Ordering::Relaxed);
        let segment = self.video.grid.segment_of(slot);
        let ends = self.video.grid.segment_of(slot.next()) != segment;
        let material = match showing {
            1 => Material::Source,
            2 => Material::Repeat,
            _ => Material::Slate,
        };
        self.rungs_left &= self.video.rungs.put(ToRung::Picture(slot, material, picture.clone()));
        if ends {
            let filled = std::mem::take(&mut self.filled);
            self.rungs_left &= self.video.rungs.put(ToRung::End(segment, filled));
        }
    }
}
