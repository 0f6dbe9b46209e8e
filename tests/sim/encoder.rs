//! A model of the encode process: obeys `encode::ipc`, mirrors `encode::video` and `encode::audio` around the real cores
//! (`encode::slots`, `encode::audio_grid`), and "encodes" by writing down what it was shown.
//!
//! In:    the job, items, the time. Out: what the process says, when it says it.
//! Never: lets anything but a segment's own pictures and samples decide a coded byte.

mod pictures;
mod sound;

use std::collections::VecDeque;
use std::time::Duration;

use tandem::clock::Now;
use tandem::encode::ipc::{FromWorker, HEARTBEAT_EVERY, Heartbeat, Hello, Job, Orders, Showing, Standby};
use tandem::media::{ChannelTime, Item, TrackKind, TrackSet};

use pictures::Video;
use sound::Audio;

/// Units decoded in 10 ms: about sixteen times real time, as measured of the real one with a full join buffer.
const UNITS_A_STEP: usize = 12;
/// Pictures encoded in 10 ms by a process of a warm pair: four times real time, when it is called and has to catch up.
const PICTURES_A_STEP: usize = 1;

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
