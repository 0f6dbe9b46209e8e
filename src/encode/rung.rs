//! The thread of one video rung: scale, encode segment by segment, send.
//!
//! In:    every slot's picture in order, and the end of each segment, over a channel of [`QUEUE`].
//! Out:   coded units in decode order and a segment end.
//! Never: drops a picture: it blocks its sender, who blocks the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::gst::ChainError;
use super::ipc::{CodedUnit, Filled, FromWorker, RenditionIndex, SegmentEnd};
use super::ladder::VideoRung;
use super::outbox::Outbox;
use super::pulse::Pulse;
use super::scale::{Picture, ScaleError, Scaler};
use super::segment::{Packet, Recipe, SegmentEncoder};
use crate::media::{Grid, SegmentNumber, Slot};

/// Pictures that wait for a rung; the sender blocks when they are more.
pub const QUEUE: usize = 8;
/// The next chain is ordered so many slots before it is needed; building takes milliseconds.
const PREPARE_AHEAD: u64 = 8;

/// To a rung's thread.
#[derive(Clone, Debug)]
pub enum ToRung {
    /// The picture of the next slot.
    Picture(Slot, Picture),
    /// The segment of the slots so far is whole.
    End(SegmentNumber, Filled),
}

/// Why a rung cannot go on. The worker ends: its supervisor starts a fresh one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RungError {
    /// Scaling.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// Encoding.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An encoder swallowed or invented pictures.
    #[error("the encoder made {got} units of {want} pictures in segment {segment}")]
    Count {
        /// The segment.
        segment: SegmentNumber,
        /// Pictures in.
        want: u64,
        /// Units out.
        got: u64,
    },
    /// The thread that builds chains is gone.
    #[error("no chain was built")]
    Workshop,
}

/// What a rung's thread is made of.
#[derive(Debug)]
pub struct Rung {
    grid: Grid,
    rendition: RenditionIndex,
    scaler: Scaler,
    workshop: Workshop,
    outbox: Outbox,
    pulse: Pulse,
    /// Newest slot that was sent, for the heartbeat.
    newest: Arc<AtomicU64>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    segment: SegmentNumber,
    encoder: SegmentEncoder,
    pushed: u64,
    sent: u64,
}

impl Rung {
    /// A rung that sends as `rendition`.
    pub fn new(
        rung: &VideoRung,
        recipe: Recipe,
        grid: Grid,
        rendition: RenditionIndex,
        outbox: Outbox,
        pulse: Pulse,
        newest: Arc<AtomicU64>,
    ) -> Result<Self, RungError> {
        let scaler = Scaler::new(rung, grid.rate())?;
        Ok(Self { grid, rendition, scaler, workshop: Workshop::start(recipe), outbox, pulse, newest, open: None })
    }

    /// Runs until the sender is gone; then sends what the open segment still holds, without an end: it is not whole.
    pub fn run(mut self, from: &Receiver<ToRung>) -> Result<(), RungError> {
        while let Ok(message) = from.recv() {
            self.pulse.busy();
            match message {
                ToRung::Picture(slot, picture) => self.picture(slot, &picture)?,
                ToRung::End(segment, filled) => self.end(segment, filled)?,
            }
            self.pulse.idle();
        }
        if let Some(mut open) = self.open.take() {
            let rest = open.encoder.finish();
            self.send(&mut open, rest);
        }
        Ok(())
    }

    fn picture(&mut self, slot: Slot, picture: &Picture) -> Result<(), RungError> {
        let segment = self.grid.segment_of(slot);
        let slots = self.grid.slots(segment);
        let mut open = match self.open.take() {
            Some(open) if open.segment == segment => open,
            _ => Open { segment, encoder: self.workshop.take()?, pushed: 0, sent: 0 },
        };
        let scaled = self.scaler.scale(picture)?;
        let packets = open.encoder.push(slot.0 - slots.start, scaled)?;
        open.pushed += 1;
        self.send(&mut open, packets);
        self.open = Some(open);
        if slot.0 + PREPARE_AHEAD >= slots.end {
            self.workshop.order();
        }
        Ok(())
    }

    fn end(&mut self, segment: SegmentNumber, filled: Filled) -> Result<(), RungError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let rest = open.encoder.finish();
        self.send(&mut open, rest);
        if open.sent != open.pushed {
            return Err(RungError::Count { segment, want: open.pushed, got: open.sent });
        }
        let units = u32::try_from(open.sent).unwrap_or(u32::MAX);
        self.workshop.retire(open.encoder);
        self.pulse.idle();
        self.outbox.send(FromWorker::SegmentEnd(SegmentEnd { rendition: self.rendition, segment, units, filled }));
        Ok(())
    }

    fn send(&self, open: &mut Open, packets: Vec<Packet>) {
        let first = self.grid.first_slot(open.segment).0;
        for Packet { index, key, data } in packets {
            open.sent += 1;
            let position = first + index;
            self.newest.fetch_max(position, Ordering::Relaxed);
            // Waiting for the main process is no step of ours.
            self.pulse.idle();
            let (rendition, segment) = (self.rendition, open.segment);
            self.outbox.send(FromWorker::Coded(CodedUnit { rendition, segment, position, key, data }));
            self.pulse.busy();
        }
    }
}

/// Builds the next chain and takes the last one apart while pictures flow on.
#[derive(Debug)]
struct Workshop {
    orders: Sender<Order>,
    ready: Receiver<Result<SegmentEncoder, ChainError>>,
    ordered: bool,
    _thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    Build,
    Retire(SegmentEncoder),
}

impl Workshop {
    fn start(recipe: Recipe) -> Self {
        // Unbounded in type, bounded in fact: at most one order to build and a retired chain a segment.
        let (orders, orders_in) = channel();
        let (ready_out, ready) = channel();
        let thread = std::thread::Builder::new()
            .name("chains".to_owned())
            .spawn(move || {
                for order in orders_in {
                    match order {
                        Order::Build => {
                            if ready_out.send(recipe.build()).is_err() {
                                return;
                            }
                        }
                        Order::Retire(encoder) => drop(encoder),
                    }
                }
            })
            .ok();
        let mut workshop = Self { orders, ready, ordered: false, _thread: thread };
        workshop.order();
        workshop
    }

    /// Orders a chain, unless one is on its way.
    fn order(&mut self) {
        if !self.ordered {
            self.ordered = self.orders.send(Order::Build).is_ok();
        }
    }

    /// The chain that was ordered.
    fn take(&mut self) -> Result<SegmentEncoder, RungError> {
        self.order();
        self.ordered = false;
        Ok(self.ready.recv().map_err(|_| RungError::Workshop)??)
    }

    fn retire(&self, encoder: SegmentEncoder) {
        // If the thread is gone, the chain is dropped here.
        let _ = self.orders.send(Order::Retire(encoder));
    }
}
