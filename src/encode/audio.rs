//! The thread of one audio rung: for each segment a fresh decoder and a fresh encoder, fed by [`audio_grid`](super::audio_grid)'s plan.
//!
//! In:    items; units of the first audio track are used.
//! Out:   AAC frames in order, and the end of each segment.
//! Never: stops: where sound is missing there is silence of the same length.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;

use super::audio_grid::{Placer, Plan, sample_at, time_of};
use super::gst::{Chain, ChainError, Door};
use super::ipc::{CodedUnit, Filled, FromWorker, RenditionIndex, SegmentEnd};
use super::ladder::AudioRung;
use super::outbox::Outbox;
use super::pulse::Pulse;
use super::slots::{AHEAD_MAX, Patience};
use super::template::Template;
use crate::clock;
use crate::media::{
    AUDIO_FRAME_SAMPLES, AUDIO_RATE, Break, ChannelTime, Codec, Grid, Item, SegmentNumber, TrackId, TrackKind, Unit,
};

const SLEEP_MAX: Duration = Duration::from_millis(100);
/// GStreamer's zero lies so far before a segment, the same for every worker: rounding inside a resampler then is the same too.
const HEADROOM: Duration = Duration::from_secs(3600);
const FRAME: i64 = AUDIO_FRAME_SAMPLES as i64;

/// Why an audio rung cannot go on. The worker ends: its supervisor starts a fresh one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The encoder cannot be built or refuses samples. Decoders may fail; encoders may not.
    #[error(transparent)]
    Encoder(#[from] ChainError),
    /// The encoder swallowed frames.
    #[error("the encoder made {got} of {want} frames of segment {segment}")]
    Count {
        /// The segment.
        segment: SegmentNumber,
        /// Frames it has.
        want: u64,
        /// Packets that came.
        got: u64,
    },
}

/// What an audio rung's thread is made of.
#[derive(Debug)]
pub struct Audio {
    recipe: Recipe,
    rendition: RenditionIndex,
    patience: Patience,
    outbox: Outbox,
    pulse: Pulse,
    errors: Arc<AtomicU64>,
    held_up: Arc<AtomicBool>,
    track: Option<(TrackId, Codec)>,
    /// Segments in the making, rising, without hole; pre-roll and tail of two or three overlap.
    open: VecDeque<SegmentAudio>,
    next_open: SegmentNumber,
}

/// What segments are made from.
#[derive(Clone, Debug)]
struct Recipe {
    grid: Grid,
    template: Template,
    encoder: String,
    channels: u8,
    pulse: Pulse,
}

/// What a thread shares with the rest of its worker.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where units go.
    pub outbox: Outbox,
    /// The thread's pulse.
    pub pulse: Pulse,
    /// Decoder errors, for the heartbeat.
    pub errors: Arc<AtomicU64>,
    /// Set while the reader waits for room in another thread's queue.
    pub held_up: Arc<AtomicBool>,
}

impl Audio {
    /// A rung that sends as `rendition`, from segment `start` on.
    pub fn new(
        rung: &AudioRung,
        template: &Template,
        grid: Grid,
        start: SegmentNumber,
        hold: Duration,
        rendition: RenditionIndex,
        shared: Shared,
    ) -> Self {
        let Shared { outbox, pulse, errors, held_up } = shared;
        let recipe = Recipe {
            grid,
            template: template.clone(),
            encoder: template.audio_encoder(rung),
            channels: rung.channels,
            pulse: pulse.clone(),
        };
        let patience = Patience::new(hold, clock::now());
        let open = VecDeque::new();
        Self { recipe, rendition, patience, outbox, pulse, errors, held_up, track: None, open, next_open: start }
    }

    /// Runs until the sender is gone; segments that are not whole by then get no end.
    pub fn run(mut self, items: &Receiver<Item<ChannelTime>>) -> Result<(), AudioError> {
        loop {
            let now = clock::now();
            let sleep = self.patience.wake_in(self.next_time(), now).min(SLEEP_MAX);
            let idle = match items.recv_timeout(sleep) {
                Ok(item) => {
                    self.pulse.busy();
                    self.item(item)?;
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.pulse.busy();
            self.fill_due(idle)?;
            self.pulse.idle();
        }
        for segment in &mut self.open {
            segment.end_decoder()?;
        }
        self.send()
    }

    fn item(&mut self, item: Item<ChannelTime>) -> Result<(), AudioError> {
        match item {
            Item::Tracks(tracks) => {
                let decodable = |codec| self.recipe.template.decoder(codec).is_some();
                let mut tracks = tracks.tracks.iter().filter(|t| t.codec.kind() == TrackKind::Audio);
                let track = tracks.find(|t| decodable(t.codec)).map(|t| (t.id, t.codec));
                if track != self.track {
                    self.end_decoders()?;
                }
                self.track = track;
            }
            Item::Unit(unit) => {
                if let Some((_, codec)) = self.track.filter(|(id, _)| *id == unit.track) {
                    self.unit(codec, &unit)?;
                }
            }
            // Sound is handed over from where the old source left it. A copy of the same stream continues it frame by frame, and
            // then the segment must come out as if nothing had happened; where it does not, its place on the grid tells.
            Item::Break(Break::SourceSwitch) | Item::Pace(_) => {}
            Item::Break(_) | Item::End => self.end_decoders()?,
        }
        self.send()
    }

    fn unit(&mut self, codec: Codec, unit: &Unit<ChannelTime>) -> Result<(), AudioError> {
        let now = clock::now();
        if unit.pts > now.channel_time() + AHEAD_MAX {
            self.errors.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        while self.plan(self.next_open).units_from <= unit.pts {
            // A unit far behind the segments in the making closes them one by one.
            self.close_before(unit.pts)?;
            self.open_next()?;
        }
        self.close_before(unit.pts)?;
        // What is not sound must not keep the clock from filling in silence.
        let mut moved = self.open.is_empty();
        for segment in self.open.iter_mut().filter(|segment| unit.pts >= segment.plan.units_from) {
            let before = segment.samples;
            let errors = segment.decode(codec, unit)?;
            self.errors.fetch_add(errors, Ordering::Relaxed);
            moved |= segment.samples > before;
        }
        if moved {
            self.patience.moved(now);
        }
        Ok(())
    }

    fn end_decoders(&mut self) -> Result<(), AudioError> {
        self.open.iter_mut().try_for_each(SegmentAudio::end_decoder)
    }

    /// Completes the segments that no unit from `at` on takes part in.
    fn close_before(&mut self, at: ChannelTime) -> Result<(), AudioError> {
        for segment in &mut self.open {
            if at > segment.plan.units_to {
                segment.end_decoder()?;
                segment.fill_to(segment.plan.feed_to)?;
            }
        }
        self.send()
    }

    /// Fills with silence what is past its deadline, a frame at a time.
    fn fill_due(&mut self, idle: bool) -> Result<(), AudioError> {
        let mut now = clock::now();
        if self.held_up.load(Ordering::Relaxed) {
            self.patience.moved(now);
        }
        while self.patience.is_over(self.next_time(), idle, now) {
            if self.open.iter().all(|segment| segment.placer.is_done()) {
                self.open_next()?;
            }
            let patience = self.patience;
            for segment in &mut self.open {
                let next = segment.placer.next();
                if !segment.placer.is_done() && patience.is_over(time_of(next + FRAME), idle, now) {
                    segment.fill_to(next + FRAME)?;
                }
            }
            self.send()?;
            self.pulse.busy();
            now = clock::now();
        }
        Ok(())
    }

    /// When the sound that comes next must be there.
    fn next_time(&self) -> ChannelTime {
        let unfinished = self.open.iter().find(|segment| !segment.placer.is_done());
        let next = unfinished.map_or_else(|| self.plan(self.next_open).feed_from, |s| s.placer.next());
        time_of(next + FRAME)
    }

    fn plan(&self, segment: SegmentNumber) -> Plan {
        Plan::new(&self.recipe.grid, segment, self.recipe.template.audio_delay())
    }

    fn open_next(&mut self) -> Result<(), AudioError> {
        self.open.push_back(SegmentAudio::new(&self.recipe, self.plan(self.next_open))?);
        self.next_open = self.next_open.next();
        Ok(())
    }

    /// Sends what the first open segment has; the next one's turn comes when it is whole.
    fn send(&mut self) -> Result<(), AudioError> {
        self.pulse.idle();
        while let Some(front) = self.open.front_mut() {
            let (rendition, segment) = (self.rendition, front.plan.segment);
            for (position, data) in front.ready.drain(..) {
                self.outbox.send(FromWorker::Coded(CodedUnit { rendition, segment, position, key: true, data }));
            }
            if !front.placer.is_done() {
                break;
            }
            let Plan { frames, .. } = front.plan;
            if front.kept != frames {
                return Err(AudioError::Count { segment, want: frames, got: front.kept });
            }
            let units = u32::try_from(frames).unwrap_or(u32::MAX);
            self.outbox.send(FromWorker::SegmentEnd(SegmentEnd { rendition, segment, units, filled: front.filled }));
            self.open.pop_front();
        }
        Ok(())
    }
}

/// One segment in the making.
#[derive(Debug)]
struct SegmentAudio {
    recipe: Recipe,
    plan: Plan,
    zero: ChannelTime,
    placer: Placer,
    decoder: Option<Chain>,
    encoder: Chain,
    /// Samples that do not make a frame yet.
    pcm: Vec<u8>,
    /// Frames the encoder was fed, packets it gave back, and packets kept.
    fed: u64,
    packets: u64,
    kept: u64,
    ready: Vec<(u64, Bytes)>,
    /// Buffers of sound that were decoded.
    samples: u64,
    filled: Filled,
}

impl SegmentAudio {
    fn new(recipe: &Recipe, plan: Plan) -> Result<Self, AudioError> {
        let aac = gst::Caps::builder("audio/mpeg").field("mpegversion", 4).field("stream-format", "raw").build();
        let encoder = Chain::build(&recipe.encoder, &pcm_caps(recipe.channels), &aac, &recipe.pulse)?;
        Ok(Self {
            recipe: recipe.clone(),
            plan,
            zero: recipe.grid.segment_start(plan.segment) - HEADROOM,
            placer: Placer::new(plan.feed_from, plan.feed_to),
            decoder: None,
            encoder,
            pcm: Vec::new(),
            fed: 0,
            packets: 0,
            kept: 0,
            ready: Vec::new(),
            samples: 0,
            filled: Filled::default(),
        })
    }

    /// Decodes a unit and encodes what comes of it. Returns how many decoder errors there were.
    fn decode(&mut self, codec: Codec, unit: &Unit<ChannelTime>) -> Result<u64, AudioError> {
        if self.placer.is_done() {
            return Ok(0);
        }
        if unit.damaged && unit.pts >= self.recipe.grid.segment_start(self.plan.segment) {
            self.filled.damaged += 1;
        }
        let Some(pts) = Door::new(self.zero).inward(unit.pts) else { return Ok(1) };
        let mut buffer = gst::Buffer::from_slice(unit.data.clone());
        buffer.get_mut().expect("just made").set_pts(pts);
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => match self.recipe.decoder(codec) {
                Ok(decoder) => decoder,
                Err(error) => {
                    tracing::warn!(?codec, error = &error as &dyn std::error::Error, "no audio decoder");
                    return Ok(1);
                }
            },
        };
        match decoder.push(buffer) {
            Ok(()) => {
                self.collect(&mut decoder)?;
                self.decoder = Some(decoder);
                Ok(0)
            }
            Err(error) => {
                tracing::warn!(?codec, error = &error as &dyn std::error::Error, "audio decoder begins anew");
                self.collect(&mut decoder)?;
                Ok(1)
            }
        }
    }

    /// What follows does not continue what came before.
    fn end_decoder(&mut self) -> Result<(), AudioError> {
        if let Some(mut decoder) = self.decoder.take() {
            decoder.drain();
            self.collect(&mut decoder)?;
        }
        Ok(())
    }

    fn collect(&mut self, decoder: &mut Chain) -> Result<(), AudioError> {
        let bytes_each = 2 * usize::from(self.recipe.channels);
        for sample in decoder.take() {
            let (Some(pts), Ok(map)) = (sample.pts, sample.buffer.map_readable()) else { continue };
            self.samples += 1;
            let before = self.placer.next();
            let placed = self.placer.place(sample_at(self.zero, pts.nseconds()), map.len() / bytes_each);
            self.filled.silent_samples += self.plan.inside(before, before + placed.silence as i64);
            self.silence(placed.silence);
            let from = placed.skip * bytes_each;
            self.pcm.extend_from_slice(&map[from..from + placed.take * bytes_each]);
        }
        self.encode()
    }

    fn fill_to(&mut self, to: i64) -> Result<(), AudioError> {
        let before = self.placer.next();
        let silence = self.placer.fill_to(to);
        self.filled.silent_samples += self.plan.inside(before, before + silence as i64);
        self.silence(silence);
        self.encode()
    }

    fn silence(&mut self, samples: usize) {
        self.pcm.resize(self.pcm.len() + samples * 2 * usize::from(self.recipe.channels), 0);
    }

    /// Feeds whole frames to the encoder and keeps the packets of this segment.
    fn encode(&mut self) -> Result<(), AudioError> {
        let frame_bytes = FRAME as usize * 2 * usize::from(self.recipe.channels);
        let whole = self.pcm.len() / frame_bytes * frame_bytes;
        for frame in self.pcm[..whole].chunks_exact(frame_bytes) {
            let mut buffer = gst::Buffer::from_slice(frame.to_vec());
            let meta = buffer.get_mut().expect("just made");
            meta.set_pts(frame_time(self.fed));
            meta.set_duration(frame_time(self.fed + 1) - frame_time(self.fed));
            self.encoder.push(buffer)?;
            self.fed += 1;
        }
        self.pcm.drain(..whole);
        if self.placer.is_done() {
            self.encoder.drain();
        }
        let wanted = self.plan.skip..self.plan.skip + self.plan.frames;
        for sample in self.encoder.take() {
            // Labelled by counting: an encoder's time stamps ignore its delay.
            let packet = self.packets;
            self.packets += 1;
            if wanted.contains(&packet)
                && let Ok(map) = sample.buffer.map_readable()
            {
                self.kept += 1;
                self.ready.push((self.plan.first.0 + packet - self.plan.skip, Bytes::copy_from_slice(&map)));
            }
        }
        Ok(())
    }
}

impl Recipe {
    fn decoder(&self, codec: Codec) -> Result<Chain, ChainError> {
        let description = self.template.decoder(codec).unwrap_or_default();
        Chain::build(description, &entry_caps(codec), &pcm_caps(self.channels), &self.pulse)
    }
}

fn frame_time(frame: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(frame * u64::from(AUDIO_FRAME_SAMPLES) * 1_000_000_000 / u64::from(AUDIO_RATE))
}

fn pcm_caps(channels: u8) -> gst::Caps {
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", AUDIO_RATE as i32)
        .field("channels", i32::from(channels));
    if channels == 2 { caps.field("channel-mask", gst::Bitmask::new(3)).build() } else { caps.build() }
}

/// What a decoder chain is told about its input.
fn entry_caps(codec: Codec) -> gst::Caps {
    let mpeg = |version: i32| gst::Caps::builder("audio/mpeg").field("mpegversion", version);
    match codec {
        Codec::AacLatm => mpeg(4).field("stream-format", "loas").build(),
        Codec::MpegAudio => mpeg(1).build(),
        Codec::Ac3 => gst::Caps::new_empty_simple("audio/x-ac3"),
        Codec::Eac3 => gst::Caps::new_empty_simple("audio/x-eac3"),
        _ => mpeg(4).field("stream-format", "adts").build(),
    }
}
