//! Where the GOPs of a rung are encoded: one after the other on the rung's own thread, or, for a rung too heavy for one thread, some
//! of them at once on threads of their own.
//!
//! In:    a rung's scaled pictures in slot order, and the end of each segment.
//! Out:   coded units in decode order and segment ends: the same whatever the number of chains, as each GOP is a chain of its own.
//! Never: lets a unit out before all those of the GOP in front of it.
//!
//! With *n* chains a GOP's pictures wait for its chain in a queue of (*n* − 1)/*n* of a GOP: that much is left to do of the last
//! one when the next begins, if all chains together just keep up. So at most *n* − 1 GOPs of scaled pictures wait in all, and coded
//! units of *n* − 1 GOPs; what is slower than that blocks its sender, as a full queue does everywhere.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use gstreamer as gst;

use super::gst::ChainError;
use super::ipc::{CodedUnit, FromWorker, Material, RenditionIndex, SegmentEnd};
use super::outbox::Outbox;
use super::pulse::Pulse;
use super::rung_error::RungError;
use super::segment::{GopEncoder, Packet, Recipe};
use crate::media::{Grid, SegmentNumber, Slot};

/// The next chain is ordered so many slots before it is needed; building takes milliseconds.
const PREPARE_AHEAD: u64 = 8;

/// One closed GOP: a range of a segment's slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gop {
    /// The segment it is a part of.
    pub segment: SegmentNumber,
    /// Its slots.
    pub slots: Range<u64>,
    /// It is its segment's last.
    pub last: bool,
}

impl Gop {
    /// The GOP of a slot where segments have `gops` of them. GOP *g* of a segment of *n* slots begins at its slot ⌊*n g* / `gops`⌋: equal
    /// lengths, or one more slot in some; 59 slots in two are 29 and 30.
    pub fn of(grid: &Grid, gops: u8, slot: Slot) -> Self {
        let segment = grid.segment_of(slot);
        let all = grid.slots(segment);
        let (count, gops) = (all.end - all.start, u64::from(gops.max(1)));
        // The last g whose GOP begins at or before the slot: ⌊n g / gops⌋ ≤ offset.
        let g = ((slot.0 - all.start + 1) * gops).div_ceil(count) - 1;
        let begins = |g: u64| all.start + count * g / gops;
        Self { segment, slots: begins(g)..begins(g + 1), last: g + 1 == gops }
    }

    /// How many slots a GOP has at most.
    fn slots_max(grid: &Grid, gops: u8) -> u64 {
        // A segment of a grid is a slot longer or shorter than another.
        let slots = grid.slots(SegmentNumber(0));
        (slots.end - slots.start + 1).div_ceil(u64::from(gops.max(1)))
    }
}

/// What all chains of a rung need to know.
#[derive(Clone, Debug)]
pub struct Site {
    /// The channel's grid.
    pub grid: Grid,
    /// Closed GOPs a segment.
    pub gops: u8,
    /// Who it sends as.
    pub rendition: RenditionIndex,
    /// What chains are built from.
    pub recipe: Recipe,
    /// Where coded units go.
    pub outbox: Outbox,
    /// Newest slot that was sent, for the heartbeat.
    pub newest: Arc<AtomicU64>,
}

/// The chains of one rung.
#[derive(Debug)]
pub enum Chains {
    /// One GOP after the other, on the caller's thread.
    One(Box<Station>),
    /// Some at once.
    Many(Crew),
}

impl Chains {
    /// One thread for each of `threads`, whose pulse it is; on the caller's thread, in the caller's pulse, where there is none.
    pub fn start(site: Site, caller: Pulse, threads: Vec<Pulse>) -> Result<Self, RungError> {
        if threads.is_empty() {
            return Ok(Self::One(Box::new(Station::new(site, caller, Turn::default()))));
        }
        Ok(Self::Many(Crew::start(&site, caller, threads)?))
    }

    /// The picture of the next slot.
    pub fn picture(&mut self, gop: Gop, slot: Slot, material: Material, picture: gst::Buffer) -> Result<(), RungError> {
        match self {
            Self::One(station) => station.picture(gop, 0, slot, material, picture),
            Self::Many(crew) => crew.picture(gop, slot, material, picture),
        }
    }

    /// The segment of the pictures so far is whole.
    pub fn end(&mut self, end: SegmentEnd) -> Result<(), RungError> {
        match self {
            Self::One(station) => station.end(end),
            Self::Many(crew) => crew.put(Task::End(end)),
        }
    }

    /// No more pictures: what the open GOPs still hold is sent, without an end, as their segment is not whole.
    pub fn finish(self) -> Result<(), RungError> {
        match self {
            Self::One(mut station) => station.close(),
            Self::Many(crew) => join(crew.stations),
        }
    }
}

/// To a chain's thread.
#[derive(Debug)]
enum Task {
    /// GOPs are numbered in decode order.
    Picture(Gop, u64, Slot, Material, gst::Buffer),
    End(SegmentEnd),
}

/// A thread, and the queue into it.
type Post = (SyncSender<Task>, JoinHandle<Result<(), RungError>>);

/// Chains on threads of their own. GOP *i* goes to thread *i* mod *n*.
#[derive(Debug)]
pub struct Crew {
    stations: Vec<Post>,
    /// Of the thread that hands the pictures out.
    caller: Pulse,
    /// The GOP that pictures go to, and its number.
    open: Option<(Gop, u64)>,
}

impl Crew {
    fn start(site: &Site, caller: Pulse, pulses: Vec<Pulse>) -> Result<Self, RungError> {
        let (turn, count) = (Turn::shared(), pulses.len().max(1) as u64);
        let room = Gop::slots_max(&site.grid, site.gops) * (count - 1) / count;
        let start = |(number, pulse): (usize, Pulse)| {
            let (to, tasks) = sync_channel(room as usize + 1);
            let station = Station::new(site.clone(), pulse, turn.clone());
            let name = format!("chain {}.{number}", site.rendition.0);
            let thread = std::thread::Builder::new().name(name).spawn(move || station.run(&tasks));
            Ok((to, thread.map_err(RungError::Thread)?))
        };
        let stations = pulses.into_iter().enumerate().map(start).collect::<Result<_, RungError>>()?;
        Ok(Self { stations, caller, open: None })
    }

    fn picture(&mut self, gop: Gop, slot: Slot, material: Material, picture: gst::Buffer) -> Result<(), RungError> {
        let number = match &self.open {
            Some((open, number)) if *open == gop => *number,
            Some((_, number)) => number + 1,
            None => 0,
        };
        self.open = Some((gop.clone(), number));
        self.put(Task::Picture(gop, number, slot, material, picture))
    }

    /// Puts a task into the queue of the open GOP's thread, and waits for room.
    fn put(&mut self, task: Task) -> Result<(), RungError> {
        let number = self.open.as_ref().map_or(0, |(_, number)| *number);
        let at = (number % self.stations.len().max(1) as u64) as usize;
        // Waiting for a chain is no step of the caller's; the chain has a pulse of its own.
        self.caller.idle();
        let taken = self.stations.get(at).is_some_and(|(to, _)| to.send(task).is_ok());
        self.caller.busy();
        if taken {
            return Ok(());
        }
        // The thread ended, and while its queue is open it ends only with an error.
        Err(join(std::mem::take(&mut self.stations)).err().unwrap_or(RungError::Sibling))
    }
}

/// Closes all queues and waits until their threads are done.
fn join(stations: Vec<Post>) -> Result<(), RungError> {
    let (queues, threads): (Vec<_>, Vec<_>) = stations.into_iter().unzip();
    drop(queues);
    let mut outcome = Ok(());
    for thread in threads {
        let one = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        // One that only waited for another tells less than that one.
        if outcome.is_ok() || matches!(outcome, Err(RungError::Sibling)) && one.is_err() {
            outcome = one;
        }
    }
    outcome
}

/// One chain after the other, each for one GOP.
#[derive(Debug)]
pub struct Station {
    site: Site,
    workshop: Workshop,
    pulse: Pulse,
    turn: Turn,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    gop: Gop,
    number: u64,
    encoder: GopEncoder,
    pushed: u64,
    sent: u64,
    /// What came out before it was this GOP's turn.
    held: Vec<Packet>,
    /// What each picture that went in is, in slot order.
    materials: Vec<Material>,
}

impl Station {
    fn new(site: Site, pulse: Pulse, turn: Turn) -> Self {
        let workshop = Workshop::start(site.recipe.clone(), pulse.clone());
        Self { site, workshop, pulse, turn, open: None }
    }

    /// A thread's work: until its queue is closed.
    fn run(mut self, tasks: &Receiver<Task>) -> Result<(), RungError> {
        // Whatever ends this thread, nobody waits for it for ever.
        let mut guard = BreakTurn(Some(self.turn.clone()));
        while let Ok(task) = tasks.recv() {
            self.pulse.busy();
            match task {
                Task::Picture(gop, number, slot, material, picture) => {
                    self.picture(gop, number, slot, material, picture)?
                }
                Task::End(end) => self.end(end)?,
            }
            self.pulse.idle();
        }
        self.close()?;
        guard.0 = None;
        Ok(())
    }

    fn picture(
        &mut self,
        gop: Gop,
        number: u64,
        slot: Slot,
        material: Material,
        picture: gst::Buffer,
    ) -> Result<(), RungError> {
        if self.open.as_ref().is_some_and(|open| open.gop != gop) {
            self.close()?;
        }
        if self.open.is_none() {
            let encoder = self.workshop.take()?;
            self.open =
                Some(Open { gop, number, encoder, pushed: 0, sent: 0, held: Vec::new(), materials: Vec::new() });
        }
        let Some(open) = &mut self.open else { unreachable!("just opened") };
        open.materials.push(material);
        let packets = open.encoder.push(slot.0 - open.gop.slots.start, picture)?;
        open.pushed += 1;
        let (left, last) = (open.gop.slots.end - slot.0, open.gop.last);
        if left <= PREPARE_AHEAD {
            self.workshop.order();
        }
        if self.turn.is(self.open.as_ref().map_or(0, |open| open.number)) {
            self.send(packets);
        } else if let Some(open) = &mut self.open {
            open.held.extend(packets);
        }
        // A segment's last GOP is closed with it.
        if left == 1 && !last { self.close() } else { Ok(()) }
    }

    fn end(&mut self, end: SegmentEnd) -> Result<(), RungError> {
        let Some(number) = self.drain()? else { return Ok(()) };
        self.pulse.idle();
        self.site.outbox.send(FromWorker::SegmentEnd(end));
        self.turn.pass(number);
        Ok(())
    }

    fn close(&mut self) -> Result<(), RungError> {
        if let Some(number) = self.drain()? {
            self.turn.pass(number);
        }
        self.pulse.idle();
        Ok(())
    }

    /// Lets everything out that the open GOP still holds, once it is its turn; whose turn it was.
    fn drain(&mut self) -> Result<Option<u64>, RungError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let rest = open.encoder.finish();
        open.held.extend(rest);
        self.pulse.idle();
        self.turn.wait(open.number)?;
        self.pulse.busy();
        self.send(Vec::new());
        let Some(open) = self.open.take() else { unreachable!("seen above") };
        if open.sent != open.pushed {
            let (segment, want, got) = (open.gop.segment, open.pushed, open.sent);
            return Err(RungError::Count { segment, want, got });
        }
        self.workshop.retire(open.encoder);
        Ok(Some(open.number))
    }

    /// What was held, and these.
    fn send(&mut self, packets: Vec<Packet>) {
        let Some(open) = &mut self.open else { return };
        for Packet { index, key, data } in std::mem::take(&mut open.held).into_iter().chain(packets) {
            open.sent += 1;
            let (rendition, segment, position) = (self.site.rendition, open.gop.segment, open.gop.slots.start + index);
            let material =
                usize::try_from(index).ok().and_then(|at| open.materials.get(at)).copied().unwrap_or_default();
            self.site.newest.fetch_max(position, Ordering::Relaxed);
            // Waiting for the main process is no step of ours.
            self.pulse.idle();
            self.site.outbox.send(FromWorker::Coded(CodedUnit { rendition, segment, position, key, material, data }));
            self.pulse.busy();
        }
    }
}

/// Whose units go out now: GOPs by number, one after the other. Without any other station it is always this one's.
#[derive(Clone, Debug, Default)]
struct Turn(Option<Arc<(Mutex<Whose>, Condvar)>>);

#[derive(Debug, Default)]
struct Whose {
    next: u64,
    /// A station is gone, and with it its turn.
    broken: bool,
}

impl Turn {
    fn shared() -> Self {
        Self(Some(Arc::default()))
    }

    fn is(&self, number: u64) -> bool {
        self.0.as_ref().is_none_or(|shared| lock(&shared.0).next == number)
    }

    fn wait(&self, number: u64) -> Result<(), RungError> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let mut whose = lock(&shared.0);
        while whose.next != number {
            if whose.broken {
                return Err(RungError::Sibling);
            }
            whose = shared.1.wait(whose).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn pass(&self, number: u64) {
        if let Some(shared) = &self.0 {
            lock(&shared.0).next = number + 1;
            shared.1.notify_all();
        }
    }
}

fn lock(whose: &Mutex<Whose>) -> MutexGuard<'_, Whose> {
    whose.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the others that a station is gone, unless it was taken away again.
struct BreakTurn(Option<Turn>);

impl Drop for BreakTurn {
    fn drop(&mut self) {
        if let Some(shared) = self.0.as_ref().and_then(|turn| turn.0.as_ref()) {
            lock(&shared.0).broken = true;
            shared.1.notify_all();
        }
    }
}

/// Builds the next chain and takes the last one apart while pictures flow on.
#[derive(Debug)]
struct Workshop {
    orders: Sender<Order>,
    ready: Receiver<Result<GopEncoder, ChainError>>,
    ordered: bool,
    _thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    Build,
    Retire(GopEncoder),
}

impl Workshop {
    fn start(recipe: Recipe, pulse: Pulse) -> Self {
        // Unbounded in type, bounded in fact: at most one order to build and a retired chain a GOP.
        let (orders, orders_in) = channel();
        let (ready_out, ready) = channel();
        let thread = std::thread::Builder::new()
            .name("chains".to_owned())
            .spawn(move || {
                for order in orders_in {
                    match order {
                        Order::Build => {
                            if ready_out.send(recipe.build(&pulse)).is_err() {
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
    fn take(&mut self) -> Result<GopEncoder, RungError> {
        self.order();
        self.ordered = false;
        Ok(self.ready.recv().map_err(|_| RungError::Workshop)??)
    }

    fn retire(&self, encoder: GopEncoder) {
        // If the thread is gone, the chain is dropped here.
        let _ = self.orders.send(Order::Retire(encoder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameRate;
    use proptest::prelude::*;
    use std::time::Duration;

    fn grid(segment_ms: u64, num: u32, den: u32) -> Grid {
        Grid::new(Duration::from_millis(segment_ms), FrameRate::new(num, den).expect("a rate")).expect("a grid")
    }

    #[test]
    fn a_segment_is_cut_into_equal_gops() {
        for (name, grid, segment, gops, want) in [
            ("one", grid(2000, 25, 1), 7, 1, vec![50]),
            ("two", grid(2000, 25, 1), 7, 2, vec![25, 25]),
            ("three of 50", grid(2000, 25, 1), 7, 3, vec![16, 17, 17]),
            ("two of 60", grid(2000, 30_000, 1001), 0, 2, vec![30, 30]),
            ("eight", grid(2000, 60_000, 1001), 0, 8, vec![15; 8]),
        ] {
            let mut lengths = Vec::new();
            let mut slot = grid.slots(SegmentNumber(segment)).start;
            while slot < grid.slots(SegmentNumber(segment)).end {
                let gop = Gop::of(&grid, gops, Slot(slot));
                lengths.push(gop.slots.end - gop.slots.start);
                slot = gop.slots.end;
                assert_eq!(gop.last, slot == grid.slots(SegmentNumber(segment)).end, "{name}");
            }
            assert_eq!(lengths, want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_slot_is_in_the_gop_it_is_said_to_be_in(slot in 0u64..1 << 40, gops in 1u8..=8, rate in 0usize..4, ms in 1000u64..10_000) {
            let (num, den) = [(25, 1), (30_000, 1001), (60_000, 1001), (5, 1)][rate];
            let grid = grid(ms, num, den);
            let gop = Gop::of(&grid, gops, Slot(slot));
            let whole = grid.slots(gop.segment);
            prop_assert!(gop.slots.contains(&slot), "{gop:?}");
            prop_assert!(whole.start <= gop.slots.start && gop.slots.end <= whole.end);
            prop_assert!(gop.slots.end - gop.slots.start <= Gop::slots_max(&grid, gops));
            prop_assert_eq!(gop.last, gop.slots.end == whole.end);
            prop_assert_eq!(&Gop::of(&grid, gops, Slot(gop.slots.start)), &gop);
        }
    }

    #[test]
    fn turns_are_taken_in_order_and_nobody_waits_for_the_dead() {
        let turn = Turn::shared();
        assert!(turn.is(0) && !turn.is(1));
        let waits = std::thread::spawn({
            let turn = turn.clone();
            move || turn.wait(1)
        });
        turn.pass(0);
        assert!(waits.join().expect("no panic").is_ok());
        let waits = std::thread::spawn({
            let turn = turn.clone();
            move || turn.wait(3)
        });
        drop(BreakTurn(Some(turn)));
        assert!(matches!(waits.join().expect("no panic"), Err(RungError::Sibling)));
    }
}
