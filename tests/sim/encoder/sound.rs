//! The model's thread of one audio rung: mirrors `encode::audio` around the real `encode::audio_grid`.

use std::collections::VecDeque;

use bytes::Bytes;
use tandem::clock::Now;
use tandem::encode::audio_grid::{Placer, Plan, sample_at, time_of};
use tandem::encode::ipc::{CodedUnit, Filled, FromWorker, Job, Material, RenditionIndex, SegmentEnd};
use tandem::encode::slots::{AHEAD_MAX, Patience};
use tandem::media::{Break, ChannelTime, Item, SegmentNumber, TrackId, TrackKind, Unit};

use crate::programme::{checksum, read_sound};

/// What voaacenc delays by, samples.
const AUDIO_DELAY: u32 = 1600;
const FRAME: i64 = 1024;

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
pub(super) struct Audio {
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
    pub(super) fn new(job: &Job, index: usize, now: Now) -> Self {
        Self {
            rendition: RenditionIndex((job.video.len() + index) as u8),
            patience: Patience::new(job.hold, now),
            track: None,
            open: VecDeque::new(),
            next_open: job.start,
            job: job.clone(),
        }
    }

    pub(super) fn item(&mut self, item: &Item<ChannelTime>, now: Now, out: &mut Vec<FromWorker>) {
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

    pub(super) fn fill_due(&mut self, idle: bool, now: Now, out: &mut Vec<FromWorker>) {
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
            while let Some((position, material, data)) = front.packet() {
                out.push(FromWorker::Coded(CodedUnit { rendition, segment, position, key: true, material, data }));
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
    fn packet(&mut self) -> Option<(u64, Material, Bytes)> {
        if self.given == self.plan.frames {
            return None;
        }
        let position = self.plan.first.0 + self.given;
        let (from, to) = (position as i64 * FRAME, (position as i64 + 1) * FRAME);
        if self.end() < to + FRAME && !self.placer.is_done() {
            return None;
        }
        let mut text = format!("frame {position} holds");
        let mut material = Material::Source;
        for run in self.pcm.iter().filter(|run| run.at < to && run.at + run.len > from) {
            let len = (run.at + run.len).min(to) - run.at.max(from);
            text += &match run.source {
                Some((offset, true)) => format!(" {offset}:{len}"),
                Some((offset, false)) => format!(" {offset}:{len}!"),
                None => {
                    material = Material::Slate;
                    format!(" -:{len}")
                }
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
        Some((position, material, Bytes::from(format!("{text} #{:016x}\n", self.state))))
    }
}
