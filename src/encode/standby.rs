//! Warm standby, the worker's part: keeps the pictures of segments that nobody has ordered yet.
//!
//! In:    each slot's picture and the end of each segment, in order; orders.
//! Out:   to every rung the pictures of the segments it is to make, whole, in order, as fast as it takes them.
//! Never: holds up the decoder for a rung while there is room, hands out half a segment, copies a pixel.
//!
//! It stands between the slots and the rungs and has no thread of its own: the video thread puts in what it fills and pumps.
//! Every rung has a place of its own in the row, so that a light rung does not wait for a heavy one.
//!
//! **Bound**: [`SEGMENTS_MAX`] segments or [`BYTES_MAX`], whichever is less; repeats share their picture. At the bound a
//! segment that nobody ordered is forgotten, the oldest first, and counted; where the oldest is one the rungs are at work on,
//! the video thread waits for them, as it does in a worker that keeps nothing. A decoder's pool has no bound of its own
//! (`max-buffers` 0), so pictures may stay away from it for as long as they are wanted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use super::ipc::{Job, Orders, Standby};
use super::pulse::Pulse;
use super::rung::ToRung;
use crate::media::{Grid, SegmentNumber};

/// Segments whose pictures may wait. Two is what it takes: the one that is running, and the one before it until the other
/// pipeline has made it. The third is for a main process that is late with its word.
const SEGMENTS_MAX: u64 = 3;
/// Memory of pictures that may wait: six seconds of 1080p50 are 0.93 GB.
const BYTES_MAX: u64 = 2 << 30;

/// What the heartbeat tells about pictures that wait.
#[derive(Debug, Default)]
pub struct HeldFigures {
    /// Pictures.
    pub pictures: AtomicU32,
    /// Their memory.
    pub bytes: AtomicU64,
    /// Segments forgotten for want of room.
    pub forgotten: AtomicU64,
    /// It is told to encode what comes now.
    pub encodes: AtomicBool,
}

/// One message that waits.
#[derive(Debug)]
struct Waiting {
    segment: SegmentNumber,
    /// Memory that is freed with it.
    bytes: u64,
    message: ToRung,
}

/// The row in front of the rungs; see the module.
#[derive(Debug)]
pub struct Held {
    grid: Grid,
    rungs: Vec<SyncSender<ToRung>>,
    /// What each rung takes next, counted as `first` is.
    next: Vec<u64>,
    row: VecDeque<Waiting>,
    /// The number of the row's front, counted from the start.
    first: u64,
    pictures_max: u64,
    pictures: u64,
    bytes: u64,
    /// The newest picture put in; a repeat of it takes no memory.
    serial: Option<u64>,
    orders: Orders,
    /// Segments below are not kept, unless a rung has begun them.
    floor: SegmentNumber,
    /// The newest segment that a rung has begun: all rungs make it whole.
    begun: Option<SegmentNumber>,
    figures: Arc<HeldFigures>,
    pulse: Pulse,
}

impl Held {
    /// In front of these rungs. `pulse` is the video thread's.
    pub fn new(job: &Job, rungs: Vec<SyncSender<ToRung>>, figures: Arc<HeldFigures>, pulse: Pulse) -> Self {
        let slots = job.grid.slots(job.start);
        let orders = match job.standby {
            Standby::StandsBy => Orders { forget_below: job.start, from: None, until: None },
            Standby::Hot | Standby::Encodes => Orders { forget_below: job.start, from: Some(job.start), until: None },
        };
        figures.encodes.store(orders.from.is_some(), Ordering::Relaxed);
        Self {
            grid: job.grid,
            next: vec![0; rungs.len()],
            rungs,
            row: VecDeque::new(),
            first: 0,
            pictures_max: match job.standby {
                Standby::Hot => 0,
                // A segment has one slot more or less at rates that do not divide it.
                Standby::Encodes | Standby::StandsBy => SEGMENTS_MAX * (slots.end - slots.start + 1),
            },
            pictures: 0,
            bytes: 0,
            serial: None,
            orders,
            floor: job.start,
            begun: None,
            figures,
            pulse,
        }
    }

    /// Follows new orders.
    pub fn obey(&mut self, orders: Orders) {
        self.orders = orders;
        self.raise(orders.forget_below.max(orders.from.unwrap_or_default()));
    }

    /// Puts in what comes next. May wait for a rung, at the bound only. False when a rung is gone.
    pub fn put(&mut self, message: ToRung) -> bool {
        let (segment, bytes) = match &message {
            ToRung::Picture(slot, _, picture) => {
                let again = self.serial.replace(picture.serial) == Some(picture.serial);
                (self.grid.segment_of(*slot), if again { 0 } else { picture.buffer.size() as u64 })
            }
            ToRung::End(segment, _) => (*segment, 0),
        };
        self.figures.encodes.store(self.is_ordered(segment), Ordering::Relaxed);
        if !self.is_kept(segment) {
            // Its pixels are not here for a repeat to share.
            self.serial = None;
            return true;
        }
        self.pictures += u64::from(matches!(message, ToRung::Picture(..)));
        self.bytes += bytes;
        self.row.push_back(Waiting { segment, bytes, message });
        let mut well = self.pump();
        while well && (self.pictures > self.pictures_max || self.bytes > BYTES_MAX) {
            let Some(oldest) = self.row.front().map(|w| w.segment) else { break };
            if self.is_ordered(oldest) {
                well = self.hand_over_front();
            } else {
                self.figures.forgotten.fetch_add(1, Ordering::Relaxed);
                self.raise(oldest.next());
            }
        }
        self.show();
        well
    }

    /// Hands out what is ordered and has room. Never waits. False when a rung is gone.
    pub fn pump(&mut self) -> bool {
        let mut well = true;
        for rung in 0..self.rungs.len() {
            while let Some(waiting) = self.at(self.next[rung]).filter(|w| self.is_ordered(w.segment)) {
                let segment = waiting.segment;
                match self.rungs[rung].try_send(waiting.message.clone()) {
                    Ok(()) => self.took(rung, segment),
                    Err(TrySendError::Full(_)) => break,
                    Err(TrySendError::Disconnected(_)) => {
                        well = false;
                        break;
                    }
                }
            }
        }
        self.drop_taken();
        self.show();
        well
    }

    /// Something that is ordered waits for room in a rung's queue.
    pub fn is_behind(&self) -> bool {
        self.row.front().is_some_and(|w| self.is_ordered(w.segment))
    }

    /// Hands out all that is ordered, however long it takes.
    pub fn finish(&mut self) {
        while self.is_behind() && self.hand_over_front() {}
    }

    fn at(&self, number: u64) -> Option<&Waiting> {
        self.row.get(usize::try_from(number - self.first).ok()?)
    }

    fn is_ordered(&self, segment: SegmentNumber) -> bool {
        let Orders { from, until, .. } = self.orders;
        let called = from.is_some_and(|from| segment >= from) && until.is_none_or(|until| segment < until);
        called && segment >= self.floor || self.is_begun(segment)
    }

    fn is_begun(&self, segment: SegmentNumber) -> bool {
        self.begun.is_some_and(|begun| segment <= begun)
    }

    fn is_kept(&self, segment: SegmentNumber) -> bool {
        segment >= self.floor || self.begun == Some(segment)
    }

    /// Forgets segments below, but for those that were begun.
    fn raise(&mut self, floor: SegmentNumber) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        // What is begun is the row's front, and no rung is beyond it: places in the row stay true.
        let kept = self.row.iter().take_while(|w| self.is_begun(w.segment)).count();
        let gone = self.row.iter().skip(kept).take_while(|w| w.segment < floor).count();
        for waiting in self.row.drain(kept..kept + gone) {
            self.pictures -= u64::from(matches!(waiting.message, ToRung::Picture(..)));
            self.bytes -= waiting.bytes;
        }
        if self.row.is_empty() {
            self.serial = None;
        }
        self.show();
    }

    fn took(&mut self, rung: usize, segment: SegmentNumber) {
        self.next[rung] += 1;
        self.begun = self.begun.max(Some(segment));
    }

    /// Waits until every rung has the row's front.
    fn hand_over_front(&mut self) -> bool {
        // A full rung blocks us here, on purpose; it has a pulse of its own.
        self.pulse.idle();
        for rung in 0..self.rungs.len() {
            if self.next[rung] > self.first {
                continue;
            }
            let Some(front) = self.row.front() else { break };
            let segment = front.segment;
            if self.rungs[rung].send(front.message.clone()).is_err() {
                return false;
            }
            self.took(rung, segment);
        }
        self.pulse.busy();
        self.drop_taken();
        true
    }

    fn drop_taken(&mut self) {
        let taken = self.next.iter().copied().min().unwrap_or(self.first);
        while self.first < taken {
            let Some(waiting) = self.row.pop_front() else { break };
            self.pictures -= u64::from(matches!(waiting.message, ToRung::Picture(..)));
            self.bytes -= waiting.bytes;
            self.first += 1;
        }
    }

    fn show(&self) {
        self.figures.pictures.store(u32::try_from(self.pictures).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.figures.bytes.store(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::time::Duration;

    use gstreamer as gst;

    use super::*;
    use crate::encode::ipc::{Deinterlace, Filled, InputLoss, Material, Slate};
    use crate::encode::scale::{Picture, bt709, raw_info};
    use crate::media::{ChannelId, FrameRate, PipelineId, Slot};

    const START: SegmentNumber = SegmentNumber(900_000_000);
    const SIZE: u64 = 1000;

    fn grid() -> Grid {
        Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("a rate")).expect("a grid")
    }

    fn picture(serial: u64) -> Picture {
        gst::init().expect("GStreamer is installed");
        let info =
            raw_info(gstreamer_video::VideoFormat::I420, 16, 16, gst::Fraction::new(1, 1), &bt709()).expect("a layout");
        Picture::new(serial, gst::Buffer::with_size(SIZE as usize).expect("memory"), info)
    }

    /// What stands in front of two rungs whose queues have room for so many messages.
    fn held(standby: Standby, room: usize) -> (Held, Vec<Receiver<ToRung>>) {
        let job = Job {
            channel: ChannelId::new("test").expect("a name"),
            pipeline: PipelineId::B,
            grid: grid(),
            start: START,
            hold: Duration::ZERO,
            loss: InputLoss { repeat_for: Duration::ZERO, black_for: Duration::ZERO, slate: Slate::default() },
            deinterlace: Deinterlace::Auto,
            loudness: None,
            plan: Vec::new(),
            standby,
            video: Vec::new(),
            audio: Vec::new(),
            template: None,
        };
        let (rungs, out) = (0..2).map(|_| sync_channel(room)).unzip();
        (Held::new(&job, rungs, Arc::default(), Pulse::new()), out)
    }

    /// Puts in `count` slots of segment `n` (counted from the first one) from its `from`th slot on.
    fn fill(held: &mut Held, n: u64, from: u64, count: u64) {
        let segment = SegmentNumber(START.0 + n);
        let slots = grid().slots(segment);
        for slot in (slots.start + from)..(slots.start + from + count) {
            assert!(held.put(ToRung::Picture(Slot(slot), Material::Source, picture(slot))));
            if slot + 1 == slots.end {
                let filled = Filled { repeated: n as u32, ..Filled::default() };
                assert!(held.put(ToRung::End(segment, filled)));
            }
        }
    }

    fn orders(forget_below: u64, from: Option<u64>, until: Option<u64>) -> Orders {
        let number = |n| SegmentNumber(START.0 + n);
        Orders { forget_below: number(forget_below), from: from.map(number), until: until.map(number) }
    }

    /// Takes what is in a rung's queue: per segment the pictures, and what its end said was repeated.
    fn take(rung: &Receiver<ToRung>) -> Vec<(u64, usize, Option<u32>)> {
        let mut out: Vec<(u64, usize, Option<u32>)> = Vec::new();
        for message in rung.try_iter() {
            let (segment, end) = match message {
                ToRung::Picture(slot, ..) => (grid().segment_of(slot).0 - START.0, None),
                ToRung::End(segment, filled) => (segment.0 - START.0, Some(filled.repeated)),
            };
            match out.last_mut() {
                Some(last) if last.0 == segment && last.2.is_none() => {
                    last.1 += usize::from(end.is_none());
                    last.2 = end;
                }
                _ => out.push((segment, 1, end)),
            }
        }
        out
    }

    #[test]
    fn pictures_wait_for_an_order_and_then_come_out_whole() {
        let (mut held, rungs) = held(Standby::StandsBy, 1000);
        fill(&mut held, 0, 0, 50);
        fill(&mut held, 1, 0, 20);
        assert_eq!(held.figures.pictures.load(Ordering::Relaxed), 70);
        assert_eq!(held.figures.bytes.load(Ordering::Relaxed), 70 * SIZE);
        assert_eq!(take(&rungs[0]), []);
        assert!(!held.is_behind(), "nothing is ordered");
        held.obey(orders(1, None, None));
        assert_eq!(held.figures.pictures.load(Ordering::Relaxed), 20, "the other pipeline has the first one");
        held.obey(orders(1, Some(1), None));
        assert!(held.pump());
        fill(&mut held, 1, 20, 30);
        fill(&mut held, 2, 0, 10);
        for rung in &rungs {
            assert_eq!(take(rung), [(1, 50, Some(1)), (2, 10, None)], "with what was repeated in each");
        }
        assert_eq!(held.figures.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_begun_is_finished_whatever_is_ordered_then() {
        let (mut held, rungs) = held(Standby::Encodes, 1000);
        fill(&mut held, 0, 0, 10);
        held.obey(orders(1, None, None));
        fill(&mut held, 0, 10, 40);
        fill(&mut held, 1, 0, 5);
        assert_eq!(take(&rungs[1]), [(0, 50, Some(0))]);
        assert_eq!(held.figures.pictures.load(Ordering::Relaxed), 5, "the next one waits");
        held.obey(orders(1, Some(0), Some(1)));
        assert!(held.pump());
        assert_eq!(take(&rungs[1]), [], "up to but without the next one");
        held.obey(orders(1, Some(2), None));
        fill(&mut held, 1, 5, 45);
        fill(&mut held, 2, 0, 50);
        assert_eq!(take(&rungs[1]), [(2, 50, Some(2))], "half a segment is never handed out");
    }

    #[test]
    fn a_light_rung_does_not_wait_for_a_heavy_one_and_the_decoder_for_neither() {
        let (mut held, rungs) = held(Standby::StandsBy, 8);
        fill(&mut held, 0, 0, 50);
        held.obey(orders(0, Some(0), None));
        let mut light = 0;
        for _ in 0..10 {
            assert!(held.pump());
            light += take(&rungs[1]).iter().map(|(_, count, _)| count).sum::<usize>();
        }
        assert_eq!(light, 50);
        assert!(held.is_behind());
        fill(&mut held, 1, 0, 50);
        assert_eq!(take(&rungs[0]), [(0, 8, None)]);
        assert_eq!(held.figures.pictures.load(Ordering::Relaxed), 92, "all else waits for the heavy one");
    }

    #[test]
    fn at_the_bound_the_oldest_segment_that_nobody_ordered_is_forgotten_whole() {
        let (mut held, rungs) = held(Standby::StandsBy, 1000);
        for n in 0..4 {
            fill(&mut held, n, 0, 50);
        }
        // Three segments and a slot for each.
        assert_eq!(held.figures.forgotten.load(Ordering::Relaxed), 1);
        held.obey(orders(0, Some(0), None));
        assert!(held.pump());
        assert_eq!(take(&rungs[0]), [(1, 50, Some(1)), (2, 50, Some(2)), (3, 50, Some(3))]);
        let (mut hot, rungs) = self::held(Standby::Hot, 8);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                fill(&mut hot, 0, 0, 50);
                hot.finish();
                drop(hot);
            });
            for rung in rungs {
                scope.spawn(move || assert_eq!(rung.iter().count(), 51, "a hot worker waits and loses nothing"));
            }
        });
    }

    #[test]
    fn a_repeated_picture_takes_no_memory() {
        let (mut held, _rungs) = held(Standby::StandsBy, 8);
        let first = grid().first_slot(START).0;
        let one = picture(7);
        for slot in first..first + 30 {
            assert!(held.put(ToRung::Picture(Slot(slot), Material::Source, one.clone())));
        }
        assert_eq!(held.figures.bytes.load(Ordering::Relaxed), SIZE);
        assert_eq!(held.figures.pictures.load(Ordering::Relaxed), 30);
    }

    #[test]
    fn a_rung_that_is_gone_ends_the_worker() {
        let (mut held, mut rungs) = held(Standby::Encodes, 8);
        rungs.pop();
        assert!(!held.put(ToRung::Picture(grid().first_slot(START), Material::Source, picture(1))));
    }
}
