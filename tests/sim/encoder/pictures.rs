//! The model's video thread and its rungs: mirrors `encode::video` and `encode::standby` around the real `encode::slots`.

use std::collections::{BTreeMap, VecDeque};

use tandem::clock::Now;
use tandem::encode::ipc::{CodedUnit, Filled, FromWorker, Job, Material, Orders, RenditionIndex, SegmentEnd, Standby};
use tandem::encode::slots::{Fill, Filling, Slots, Verdict};
use tandem::media::{Break, ChannelTime, Item, SegmentNumber, Slot, TrackId, TrackKind, Unit};

use super::Nature;
use crate::programme::{checksum, read_picture};
use crate::ts;

/// What came out of the decoder; no frame where it knows that it is wrong.
#[derive(Clone, Copy, Debug)]
struct Decoded {
    frame: Option<u64>,
}

/// Drops everything up to a key frame, knows pictures whose references are missing, gives out in display order.
#[derive(Debug)]
struct Decoder {
    depth: usize,
    /// The last two references that are right.
    references: Vec<u64>,
    begun: bool,
    held: BTreeMap<ChannelTime, Decoded>,
}

impl Decoder {
    fn push(&mut self, unit: &Unit<ChannelTime>) -> Vec<(ChannelTime, Decoded)> {
        self.begun |= unit.key;
        if !self.begun {
            return Vec::new();
        }
        let coded = read_picture(&unit.data).filter(|_| !unit.damaged);
        let right = coded.filter(|c| c.refers_to.iter().all(|r| self.references.contains(r)));
        if let Some(coded) = right.as_ref().filter(|c| c.references) {
            self.references.push(coded.frame);
            self.references.drain(..self.references.len().saturating_sub(2));
        }
        self.held.insert(unit.pts, Decoded { frame: right.map(|c| c.frame) });
        let mut out = Vec::new();
        while self.held.len() > self.depth {
            out.extend(self.held.pop_first());
        }
        out
    }

    fn drain(&mut self) -> Vec<(ChannelTime, Decoded)> {
        self.references.clear();
        self.begun = false;
        std::mem::take(&mut self.held).into_iter().collect()
    }
}

/// The video thread and its rungs.
#[derive(Debug)]
pub(super) struct Video {
    job: Job,
    slots: Slots,
    decoder: Decoder,
    track: Option<TrackId>,
    last: Option<u64>,
    filled: Filled,
    rungs: Vec<Rung>,
    pub(super) held: Held,
    pub(super) newest: Option<Slot>,
    /// Repeats and slate since the start.
    pub(super) made_up: (u64, u64),
}

/// What `encode::standby` does, without its bound: a script that forgets nothing must not need one.
#[derive(Debug)]
pub(super) struct Held {
    row: VecDeque<Shown>,
    orders: Orders,
    begun: Option<SegmentNumber>,
    /// Pictures it may still encode in this step.
    pub(super) budget: usize,
}

/// A slot with its picture, and what was made up where it is the last of its segment.
#[derive(Debug)]
struct Shown {
    segment: SegmentNumber,
    slot: u64,
    text: String,
    material: Material,
    ends: Option<Filled>,
}

impl Held {
    pub(super) fn obey(&mut self, orders: Orders) {
        let floor = orders.forget_below.max(orders.from.unwrap_or_default()).max(self.orders.forget_below);
        self.orders = Orders { forget_below: floor, ..orders };
        let begun = self.begun;
        self.row.retain(|shown| shown.segment >= floor || begun.is_some_and(|begun| shown.segment <= begun));
    }

    fn pop(&mut self) -> Option<Shown> {
        let segment = self.row.front()?.segment;
        let Orders { from, until, .. } = self.orders;
        let called = from.is_some_and(|from| segment >= from) && until.is_none_or(|until| segment < until);
        let begun = self.begun.is_some_and(|begun| segment <= begun);
        if !called && !begun || self.budget == 0 {
            return None;
        }
        self.budget -= 1;
        self.begun = self.begun.max(Some(segment));
        self.row.pop_front()
    }
}

/// One encoder: a fresh state for each segment.
#[derive(Debug)]
struct Rung {
    index: u8,
    lookahead: usize,
    state: u64,
    waiting: VecDeque<CodedUnit>,
    units: u32,
}

impl Video {
    pub(super) fn new(job: &Job, nature: &Nature, now: Now) -> Self {
        let rung = |index| Rung { index, lookahead: nature.lookahead, state: 0, waiting: VecDeque::new(), units: 0 };
        Self {
            slots: Slots::new(job.grid, job.start, job.hold, &job.loss, now),
            decoder: Decoder {
                depth: nature.decoder_depth,
                references: Vec::new(),
                begun: false,
                held: BTreeMap::new(),
            },
            track: None,
            last: None,
            filled: Filled::default(),
            rungs: (0..job.video.len() as u8).map(rung).collect(),
            held: Held {
                row: VecDeque::new(),
                orders: Orders {
                    forget_below: job.start,
                    from: (job.standby != Standby::StandsBy).then_some(job.start),
                    until: None,
                },
                begun: None,
                budget: 0,
            },
            newest: None,
            made_up: (0, 0),
            job: job.clone(),
        }
    }

    pub(super) fn item(&mut self, item: &Item<ChannelTime>, now: Now, out: &mut Vec<FromWorker>) {
        match item {
            Item::Tracks(tracks) => {
                let track = tracks.first(TrackKind::Video).map(|t| t.id);
                if self.track != track {
                    self.drain(now, out);
                }
                self.track = track;
            }
            Item::Unit(unit) if Some(unit.track) == self.track => {
                let decoded = self.decoder.push(unit);
                self.pictures(decoded, now, out);
            }
            Item::Unit(_) | Item::Pace(_) => {}
            Item::Break(Break::SourceSwitch) => self.drain_unbroken(now, out),
            Item::Break(_) | Item::End => self.drain(now, out),
        }
    }

    fn drain(&mut self, now: Now, out: &mut Vec<FromWorker>) {
        let rest = self.decoder.drain();
        self.pictures(rest, now, out);
    }

    fn drain_unbroken(&mut self, now: Now, out: &mut Vec<FromWorker>) {
        let mut next = self.slots.next();
        let mut rest = self.decoder.drain();
        let unbroken = rest.iter().take_while(|(at, decoded)| {
            let slot = self.job.grid.slot_at(*at);
            let continues = decoded.frame.is_some() && slot <= next;
            next = next.max(slot.next());
            continues
        });
        let count = unbroken.count();
        rest.truncate(count);
        self.pictures(rest, now, out);
    }

    fn pictures(&mut self, decoded: Vec<(ChannelTime, Decoded)>, now: Now, out: &mut Vec<FromWorker>) {
        for (at, Decoded { frame }) in decoded {
            let Some(frame) = frame else {
                self.filled.damaged += u32::from(self.job.grid.slot_at(at) >= self.slots.next());
                continue;
            };
            self.slots.moved(now);
            let verdict = self.slots.judge(at, now);
            if verdict == Verdict::Past && self.slots.next() == self.job.grid.first_slot(self.job.start) {
                self.slots.precede(at);
                self.last = Some(frame);
            }
            if let Verdict::Use(slot) = verdict {
                while let Some(filling) = self.slots.pop_until(slot) {
                    self.emit(filling, out);
                }
                self.last = Some(frame);
                let filling = self.slots.place();
                self.emit(filling, out);
            }
        }
    }

    pub(super) fn fill_due(&mut self, idle: bool, now: Now, out: &mut Vec<FromWorker>) {
        while let Some(filling) = self.slots.pop_due(idle, now) {
            self.emit(filling, out);
        }
    }

    fn emit(&mut self, Filling { slot, fill }: Filling, out: &mut Vec<FromWorker>) {
        let (shown, material) = match (fill, self.last) {
            (Fill::Picture, Some(frame)) => (frame.to_string(), Material::Source),
            (Fill::Repeat, Some(frame)) => {
                self.filled.repeated += 1;
                self.made_up.0 += 1;
                (frame.to_string(), Material::Repeat)
            }
            _ => {
                self.filled.slate += 1;
                self.made_up.1 += 1;
                ("slate".to_owned(), Material::Slate)
            }
        };
        let grid = self.job.grid;
        let segment = grid.segment_of(slot);
        let ends = grid.segment_of(slot.next()) != segment;
        let ends = ends.then(|| std::mem::take(&mut self.filled));
        self.newest = Some(slot);
        if segment >= self.held.orders.forget_below || self.held.begun == Some(segment) {
            self.held.row.push_back(Shown { segment, slot: slot.0, text: shown, material, ends });
        }
        self.encode(out);
    }

    /// What is ordered goes to the rungs.
    pub(super) fn encode(&mut self, out: &mut Vec<FromWorker>) {
        while let Some(Shown { segment, slot, text, material, ends }) = self.held.pop() {
            let begins = self.job.grid.first_slot(segment).0 == slot;
            for rung in &mut self.rungs {
                rung.picture(segment, slot, begins, (&text, material), out);
                if let Some(filled) = ends {
                    rung.end(segment, filled, out);
                }
            }
        }
    }
}

impl Rung {
    fn picture(
        &mut self,
        segment: SegmentNumber,
        slot: u64,
        begins: bool,
        (shown, material): (&str, Material),
        out: &mut Vec<FromWorker>,
    ) {
        if begins {
            self.state = 0;
        }
        let text = format!("slot {slot} shows {shown} rung {}", self.index);
        self.state = checksum(format!("{:x}{text}", self.state).as_bytes());
        let mut slice = if begins { vec![0x65, 0x88] } else { vec![0x41, 0x9a] };
        slice.extend_from_slice(format!("{text} #{:016x}\n", self.state).as_bytes());
        let aud = [0x09, 0xf0];
        let data = if begins { ts::annexb(&[&aud, ts::SPS, ts::PPS, &slice]) } else { ts::annexb(&[&aud, &slice]) };
        self.waiting.push_back(CodedUnit {
            rendition: RenditionIndex(self.index),
            segment,
            position: slot,
            key: begins,
            material,
            data: data.into(),
        });
        while self.waiting.len() > self.lookahead {
            self.give(out);
        }
    }

    fn give(&mut self, out: &mut Vec<FromWorker>) {
        self.units += 1;
        out.extend(self.waiting.pop_front().map(FromWorker::Coded));
    }

    fn end(&mut self, segment: SegmentNumber, filled: Filled, out: &mut Vec<FromWorker>) {
        while !self.waiting.is_empty() {
            self.give(out);
        }
        let units = std::mem::take(&mut self.units);
        out.push(FromWorker::SegmentEnd(SegmentEnd { rendition: RenditionIndex(self.index), segment, units, filled }));
    }
}
