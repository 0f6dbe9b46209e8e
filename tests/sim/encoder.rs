//! A model of the encode process: obeys `encode::ipc`, mirrors `encode::video` and `encode::audio` around the real cores
//! (`encode::slots`, `encode::audio_grid`), and "encodes" by writing down what it was shown.
//!
//! In:    the job, items, the time. Out: what the process says, when it says it.
//! Never: lets anything but a segment's own pictures and samples decide a coded byte.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tandem::clock::Now;
use tandem::encode::audio_grid::{Placer, Plan, sample_at, time_of};
use tandem::encode::ipc::{
    CodedUnit, Filled, FromWorker, HEARTBEAT_EVERY, Heartbeat, Hello, Job, Orders, RenditionIndex, SegmentEnd, Showing,
    Standby,
};
use tandem::encode::slots::{AHEAD_MAX, Fill, Filling, Patience, Slots, Verdict};
use tandem::media::{Break, ChannelTime, Item, SegmentNumber, Slot, TrackId, TrackKind, TrackSet, Unit};

use super::programme::{checksum, read_picture, read_sound};
use super::ts;

/// Units decoded in 10 ms: about sixteen times real time, as measured of the real one with a full join buffer.
const UNITS_A_STEP: usize = 12;
/// Pictures encoded in 10 ms by a process of a warm pair: four times real time, when it is called and has to catch up.
const PICTURES_A_STEP: usize = 1;
/// What voaacenc delays by, samples.
const AUDIO_DELAY: u32 = 1600;
const FRAME: i64 = 1024;

/// What a process is like.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// From its start to its `Hello`.
    pub starts_in: Duration,
    /// From a picture to its coded unit.
    pub latency: Duration,
    /// Pictures a decoder holds back, at least its reorder depth.
    pub decoder_depth: usize,
    /// Pictures an encoder looks ahead.
    pub lookahead: usize,
}

/// One incarnation of an encode process.
#[derive(Debug)]
pub struct Encoder {
    nature: Nature,
    job: Job,
    ready_at: Now,
    greeted: bool,
    queue: VecDeque<Item<ChannelTime>>,
    media: Option<Media>,
    tracks: TrackSet,
    outbox: VecDeque<(Now, FromWorker)>,
    beat_at: Now,
    /// Says and does nothing any more.
    pub hung: bool,
    /// On top of the latency, while it is slow.
    pub lag: Duration,
    /// What it is told to encode waits for its video thread, which is there once it has greeted.
    orders: VecDeque<Orders>,
    /// It counts its pictures wrongly.
    pub garbage: bool,
}

#[derive(Debug)]
struct Media {
    video: Video,
    audio: Vec<Audio>,
}

impl Encoder {
    pub fn new(nature: Nature, job: Job, now: Now) -> Self {
        Self {
            nature,
            job,
            ready_at: now.after(nature.starts_in),
            greeted: false,
            queue: VecDeque::new(),
            media: None,
            tracks: TrackSet::default(),
            outbox: VecDeque::new(),
            beat_at: now,
            hung: false,
            lag: Duration::ZERO,
            orders: VecDeque::new(),
            garbage: false,
        }
    }

    pub fn orders(&mut self, orders: Orders) {
        self.orders.push_back(orders);
    }

    pub fn item(&mut self, item: Item<ChannelTime>) {
        self.queue.push_back(item);
    }

    /// Works until `now`, and says what is due.
    pub fn step(&mut self, now: Now) -> Vec<FromWorker> {
        if self.hung || now.mono < self.ready_at.mono {
            return Vec::new();
        }
        let mut said = Vec::new();
        if !self.greeted {
            self.greeted = true;
            self.beat_at = now.after(HEARTBEAT_EVERY);
            let text = || "model".to_owned();
            said.push(FromWorker::Hello(Hello {
                version: text(),
                gstreamer: text(),
                x264: text(),
                simd: text(),
                ..Hello::default()
            }));
            self.media = Some(Media {
                video: Video::new(&self.job, &self.nature, now),
                audio: (0..self.job.audio.len()).map(|i| Audio::new(&self.job, i, now)).collect(),
            });
        }
        let mut coded = Vec::new();
        if let Some(media) = &mut self.media {
            media.video.held.budget = if self.job.standby == Standby::Hot { usize::MAX } else { PICTURES_A_STEP };
            for _ in 0..UNITS_A_STEP {
                let Some(item) = self.queue.pop_front() else { break };
                if let Item::Tracks(tracks) = &item {
                    self.tracks = (**tracks).clone();
                }
                media.item(&self.tracks, &item, now, &mut coded);
            }
            for orders in self.orders.drain(..) {
                media.video.held.obey(orders);
            }
            media.video.encode(&mut coded);
            let idle = self.queue.is_empty();
            media.video.fill_due(idle, now, &mut coded);
            media.audio.iter_mut().for_each(|audio| audio.fill_due(idle, now, &mut coded));
        }
        for word in &mut coded {
            if let FromWorker::SegmentEnd(end) = word
                && end.rendition.0 == 0
                && self.garbage
            {
                end.units -= 1;
            }
        }
        // What is late pushes what comes after it: one socket, one order.
        let due = now.after(self.nature.latency + self.lag);
        let due = self.outbox.back().map_or(due, |(last, _)| if last.mono > due.mono { *last } else { due });
        self.outbox.extend(coded.into_iter().map(|word| (due, word)));
        while self.outbox.front().is_some_and(|(due, _)| due.mono <= now.mono) {
            said.extend(self.outbox.pop_front().map(|(_, word)| word));
        }
        if now.mono >= self.beat_at.mono {
            self.beat_at = now.after(HEARTBEAT_EVERY);
            let mut beat = Heartbeat { showing: Showing::Source, ..Heartbeat::default() };
            if let Some(media) = &self.media {
                beat.filled = media.video.newest;
                (beat.repeated, beat.slate) = media.video.made_up;
            }
            said.push(FromWorker::Heartbeat(beat));
        }
        said
    }
}

impl Media {
    fn item(&mut self, tracks: &TrackSet, item: &Item<ChannelTime>, now: Now, out: &mut Vec<FromWorker>) {
        let kind = match item {
            Item::Unit(unit) => tracks.get(unit.track).map_or(TrackKind::Data, |t| t.codec.kind()),
            _ => TrackKind::Data,
        };
        let is_unit = matches!(item, Item::Unit(_));
        if !is_unit || kind == TrackKind::Audio {
            self.audio.iter_mut().for_each(|audio| audio.item(item, now, out));
        }
        if !is_unit || kind == TrackKind::Video {
            self.video.item(item, now, out);
        }
    }
}

// --- pictures --------------------------------------------------------------------------------------------------------

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
struct Video {
    job: Job,
    slots: Slots,
    decoder: Decoder,
    track: Option<TrackId>,
    last: Option<u64>,
    filled: Filled,
    rungs: Vec<Rung>,
    held: Held,
    newest: Option<Slot>,
    /// Repeats and slate since the start.
    made_up: (u64, u64),
}

/// What `encode::standby` does, without its bound: a script that forgets nothing must not need one.
#[derive(Debug)]
struct Held {
    row: VecDeque<Shown>,
    orders: Orders,
    begun: Option<SegmentNumber>,
    /// Pictures it may still encode in this step.
    budget: usize,
}

/// A slot with its picture, and what was made up where it is the last of its segment.
#[derive(Debug)]
struct Shown {
    segment: SegmentNumber,
    slot: u64,
    text: String,
    ends: Option<Filled>,
}

impl Held {
    fn obey(&mut self, orders: Orders) {
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
    fn new(job: &Job, nature: &Nature, now: Now) -> Self {
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

    fn item(&mut self, item: &Item<ChannelTime>, now: Now, out: &mut Vec<FromWorker>) {
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

    fn fill_due(&mut self, idle: bool, now: Now, out: &mut Vec<FromWorker>) {
        while let Some(filling) = self.slots.pop_due(idle, now) {
            self.emit(filling, out);
        }
    }

    fn emit(&mut self, Filling { slot, fill }: Filling, out: &mut Vec<FromWorker>) {
        let shown = match (fill, self.last) {
            (Fill::Picture, Some(frame)) => frame.to_string(),
            (Fill::Repeat, Some(frame)) => {
                self.filled.repeated += 1;
                self.made_up.0 += 1;
                frame.to_string()
            }
            _ => {
                self.filled.slate += 1;
                self.made_up.1 += 1;
                "slate".to_owned()
            }
        };
        let grid = self.job.grid;
        let segment = grid.segment_of(slot);
        let ends = grid.segment_of(slot.next()) != segment;
        let ends = ends.then(|| std::mem::take(&mut self.filled));
        self.newest = Some(slot);
        if segment >= self.held.orders.forget_below || self.held.begun == Some(segment) {
            self.held.row.push_back(Shown { segment, slot: slot.0, text: shown, ends });
        }
        self.encode(out);
    }

    /// What is ordered goes to the rungs.
    fn encode(&mut self, out: &mut Vec<FromWorker>) {
        while let Some(Shown { segment, slot, text, ends }) = self.held.pop() {
            let begins = self.job.grid.first_slot(segment).0 == slot;
            for rung in &mut self.rungs {
                rung.picture(segment, slot, begins, &text, out);
                if let Some(filled) = ends {
                    rung.end(segment, filled, out);
                }
            }
        }
    }
}

impl Rung {
    fn picture(&mut self, segment: SegmentNumber, slot: u64, begins: bool, shown: &str, out: &mut Vec<FromWorker>) {
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

// --- sound -----------------------------------------------------------------------------------------------------------

/// Decoded sound: `len` samples from `at` on. `source` minus `at` is how far the programme's samples are from the
/// channel's; `None` is silence. An AAC decoder's first frame is not yet right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    at: i64,
    len: i64,
    source: Option<(i64, bool)>,
}

/// The thread of one audio rung.
#[derive(Debug)]
struct Audio {
    job: Job,
    rendition: RenditionIndex,
    patience: Patience,
    track: Option<TrackId>,
    open: VecDeque<SegmentAudio>,
    next_open: SegmentNumber,
}

#[derive(Debug)]
struct SegmentAudio {
    plan: Plan,
    placer: Placer,
    decoding: bool,
    pcm: Vec<Run>,
    /// Frames of the segment given.
    given: u64,
    state: u64,
    filled: Filled,
}

impl Audio {
    fn new(job: &Job, index: usize, now: Now) -> Self {
        Self {
            rendition: RenditionIndex((job.video.len() + index) as u8),
            patience: Patience::new(job.hold, now),
            track: None,
            open: VecDeque::new(),
            next_open: job.start,
            job: job.clone(),
        }
    }

    fn item(&mut self, item: &Item<ChannelTime>, now: Now, out: &mut Vec<FromWorker>) {
        match item {
            Item::Tracks(tracks) => {
                let track = tracks.first(TrackKind::Audio).map(|t| t.id);
                if track != self.track {
                    self.end_decoders();
                }
                self.track = track;
            }
            Item::Unit(unit) if Some(unit.track) == self.track => self.unit(unit, now, out),
            Item::Unit(_) | Item::Pace(_) | Item::Break(Break::SourceSwitch) => {}
            Item::Break(_) | Item::End => self.end_decoders(),
        }
    }

    fn plan(&self, segment: SegmentNumber) -> Plan {
        Plan::new(&self.job.grid, segment, AUDIO_DELAY)
    }

    fn end_decoders(&mut self) {
        self.open.iter_mut().for_each(|segment| segment.decoding = false);
    }

    fn open_next(&mut self) {
        let plan = self.plan(self.next_open);
        self.open.push_back(SegmentAudio {
            placer: Placer::new(plan.feed_from, plan.feed_to),
            plan,
            decoding: false,
            pcm: Vec::new(),
            given: 0,
            state: 0,
            filled: Filled::default(),
        });
        self.next_open = self.next_open.next();
    }

    fn unit(&mut self, unit: &Unit<ChannelTime>, now: Now, out: &mut Vec<FromWorker>) {
        if unit.pts > now.channel_time() + AHEAD_MAX {
            return;
        }
        while self.plan(self.next_open).units_from <= unit.pts {
            self.close_before(unit.pts, out);
            self.open_next();
        }
        self.close_before(unit.pts, out);
        let mut moved = self.open.is_empty();
        for segment in self.open.iter_mut().filter(|segment| unit.pts >= segment.plan.units_from) {
            moved |= segment.decode(unit, self.job.grid.segment_start(segment.plan.segment));
        }
        if moved {
            self.patience.moved(now);
        }
        self.send(out);
    }

    fn close_before(&mut self, at: ChannelTime, out: &mut Vec<FromWorker>) {
        for segment in &mut self.open {
            if at > segment.plan.units_to {
                segment.fill_to(segment.plan.feed_to);
            }
        }
        self.send(out);
    }

    fn fill_due(&mut self, idle: bool, now: Now, out: &mut Vec<FromWorker>) {
        while self.patience.is_over(self.next_time(), idle, now) {
            if self.open.iter().all(|segment| segment.placer.is_done()) {
                self.open_next();
            }
            for segment in &mut self.open {
                let next = segment.placer.next();
                if !segment.placer.is_done() && self.patience.is_over(time_of(next + FRAME), idle, now) {
                    segment.fill_to(next + FRAME);
                }
            }
            self.send(out);
        }
    }

    fn next_time(&self) -> ChannelTime {
        let unfinished = self.open.iter().find(|segment| !segment.placer.is_done());
        let next = unfinished.map_or_else(|| self.plan(self.next_open).feed_from, |s| s.placer.next());
        time_of(next + FRAME)
    }

    fn send(&mut self, out: &mut Vec<FromWorker>) {
        while let Some(front) = self.open.front_mut() {
            let (rendition, segment) = (self.rendition, front.plan.segment);
            while let Some((position, data)) = front.packet() {
                out.push(FromWorker::Coded(CodedUnit { rendition, segment, position, key: true, data }));
            }
            if !front.placer.is_done() {
                break;
            }
            let (units, filled) = (front.given as u32, front.filled);
            out.push(FromWorker::SegmentEnd(SegmentEnd { rendition, segment, units, filled }));
            self.open.pop_front();
        }
    }
}

impl SegmentAudio {
    /// Whether sound came out.
    fn decode(&mut self, unit: &Unit<ChannelTime>, begins: ChannelTime) -> bool {
        if self.placer.is_done() {
            return false;
        }
        self.filled.damaged += u32::from(unit.damaged && unit.pts >= begins);
        let Some(frame) = read_sound(&unit.data) else {
            self.decoding = false;
            return false;
        };
        let settled = std::mem::replace(&mut self.decoding, true);
        let at = sample_at(unit.pts, 0);
        let before = self.placer.next();
        let placed = self.placer.place(at, FRAME as usize);
        self.filled.silent_samples += self.plan.inside(before, before + placed.silence as i64);
        self.push(placed.silence as i64, None);
        let source = frame * FRAME + placed.skip as i64;
        let here = self.end();
        self.push(placed.take as i64, Some((source - here, settled)));
        true
    }

    fn fill_to(&mut self, to: i64) {
        let before = self.placer.next();
        let silence = self.placer.fill_to(to) as i64;
        self.filled.silent_samples += self.plan.inside(before, before + silence);
        self.push(silence, None);
    }

    fn end(&self) -> i64 {
        self.pcm.last().map_or(self.plan.feed_from, |run| run.at + run.len)
    }

    fn push(&mut self, len: i64, source: Option<(i64, bool)>) {
        let at = self.end();
        match self.pcm.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.source == source => last.len += len,
            _ => self.pcm.push(Run { at, len, source }),
        }
    }

    /// The segment's next frame, once the encoder has been fed what is in it.
    fn packet(&mut self) -> Option<(u64, Bytes)> {
        if self.given == self.plan.frames {
            return None;
        }
        let position = self.plan.first.0 + self.given;
        let (from, to) = (position as i64 * FRAME, (position as i64 + 1) * FRAME);
        if self.end() < to + FRAME && !self.placer.is_done() {
            return None;
        }
        let mut text = format!("frame {position} holds");
        for run in self.pcm.iter().filter(|run| run.at < to && run.at + run.len > from) {
            let len = (run.at + run.len).min(to) - run.at.max(from);
            text += &match run.source {
                Some((offset, true)) => format!(" {offset}:{len}"),
                Some((offset, false)) => format!(" {offset}:{len}!"),
                None => format!(" -:{len}"),
            };
        }
        // What was fed before the segment has a part in it, too.
        let lead = format!(
            "{:?}",
            self.pcm
                .iter()
                .take_while(|run| run.at < from)
                .map(|r| (r.at.max(self.plan.feed_from), r.source))
                .collect::<Vec<_>>()
        );
        self.state = checksum(format!("{:x}{text}{lead}", self.state).as_bytes());
        self.given += 1;
        Some((position, Bytes::from(format!("{text} #{:016x}\n", self.state))))
    }
}
