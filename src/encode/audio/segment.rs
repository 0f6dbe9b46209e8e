//! One segment of one audio rung in the making: everything between its units and its AAC frames.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer_audio::{AudioChannelPosition, AudioInfo};
use std::time::Duration;

use super::level::{Limiter, Ramp};
use super::meter::Meters;
use super::mix::Mix;
use super::resample::{Resampler, STEPS};
use super::{AudioError, FRAME, Recipe};
use crate::encode::audio_grid::{JITTER_SAMPLES, Placer, Plan};
use crate::encode::gst::{Chain, ChainError, Door, Sample};
use crate::encode::ipc::{Filled, LoudnessStep, Material};
use crate::media::{AUDIO_FRAME_SAMPLES, AUDIO_RATE, ChannelTime, Codec, Round, Unit};

/// GStreamer's zero lies so far before a segment, the same for every worker.
const HEADROOM: Duration = Duration::from_secs(3600);
/// How far below the true-peak limit samples are held: AAC comes out of a decoder with other peaks than went in. Tones and drums at
/// 128 kbit/s kept to what they were held at within 0.1 dB (tests/encode/loudness.rs); noise does not.
const CODEC_MARGIN_DB: f32 = 1.0;
/// Longest time a change of gain takes; half a segment where that is shorter.
const RAMP: Duration = Duration::from_secs(1);

/// What is planned for a segment, and what held before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Course {
    /// Hundredths of a decibel: before, and in this segment.
    pub gain: (i16, i16),
    /// As in [`Pace`](crate::media::Pace): before, and in this segment.
    pub stretch: (i16, i16),
}

/// One segment in the making.
#[derive(Debug)]
pub(super) struct SegmentAudio {
    recipe: Recipe,
    pub plan: Plan,
    stretch: (i16, i16),
    zero: ChannelTime,
    pub placer: Placer,
    decoder: Option<Chain>,
    run: Option<Run>,
    meters: Option<Meters>,
    ramp: Ramp,
    limiter: Limiter,
    /// Place of the next sample that goes into the ramp, and of the next that comes out of the limiter.
    levelled: i64,
    limited: i64,
    encoder: Chain,
    /// Samples that do not make a frame yet, S16LE.
    pcm: Vec<u8>,
    /// Frames the encoder was fed, packets it gave back, and packets kept.
    fed: u64,
    packets: u64,
    pub kept: u64,
    /// Each with its place, and whether some of it had to be made up.
    pub ready: Vec<(u64, Material, Bytes)>,
    /// Of each of the segment's frames, whether silence was put into it.
    silent: Vec<bool>,
    /// Buffers of sound that were decoded.
    samples: u64,
    pub filled: Filled,
}

/// Sound of one layout and rate.
#[derive(Debug)]
struct Run {
    rate: u32,
    positions: Vec<AudioChannelPosition>,
    mix: Mix,
    /// While it goes on unbroken, and only where samples cannot stay as they are.
    resampler: Option<Resampler>,
}

impl SegmentAudio {
    pub fn new(recipe: &Recipe, plan: Plan, course: Course) -> Result<Self, AudioError> {
        let aac = gst::Caps::builder("audio/mpeg").field("mpegversion", 4).field("stream-format", "raw").build();
        let encoder = Chain::build(&recipe.encoder.chain, &entry_caps(recipe.channels), &aac, &recipe.pulse)?;
        let begin = plan.first.0 as i64 * FRAME;
        let length = plan.frames as i64 * FRAME;
        let ramp = RAMP.min(recipe.grid.segment() / 2).as_millis() as i64 * i64::from(AUDIO_RATE) / 1000;
        let ceiling = recipe.loudness.map_or(1.0, |l| 10_f32.powf((l.true_peak - CODEC_MARGIN_DB) / 20.0));
        let meters = || Meters::new(recipe.channels, ceiling, plan.place_from, begin, length);
        let meters = recipe.loudness.and_then(|_| meters());
        Ok(Self {
            recipe: recipe.clone(),
            plan,
            stretch: course.stretch,
            zero: recipe.grid.segment_start(plan.segment) - HEADROOM,
            placer: Placer::new(plan.place_from, plan.place_to),
            decoder: None,
            run: None,
            meters,
            ramp: Ramp::new(course.gain.0, course.gain.1, begin, ramp),
            limiter: Limiter::new(usize::from(recipe.channels), ceiling),
            levelled: plan.place_from,
            limited: plan.place_from,
            encoder,
            pcm: Vec::new(),
            fed: 0,
            packets: 0,
            kept: 0,
            ready: Vec::new(),
            silent: vec![false; usize::try_from(plan.frames).unwrap_or(0)],
            samples: 0,
            filled: Filled::default(),
        })
    }

    /// Buffers of sound that were decoded.
    pub fn decoded(&self) -> u64 {
        self.samples
    }

    /// How loud it was, once it is whole and where somebody wants to know.
    pub fn reading(&mut self) -> Option<Vec<LoudnessStep>> {
        self.meters.take().map(|meters| meters.finish(&self.ramp))
    }

    /// Decodes a unit and encodes what comes of it. Returns how many decoder errors there were.
    pub fn decode(&mut self, codec: Codec, unit: &Unit<ChannelTime>) -> Result<u64, AudioError> {
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
                self.end_run()?;
                Ok(1)
            }
        }
    }

    /// What follows does not continue what came before.
    pub fn end_decoder(&mut self) -> Result<(), AudioError> {
        if let Some(mut decoder) = self.decoder.take() {
            decoder.drain();
            self.collect(&mut decoder)?;
            self.end_run()?;
        }
        Ok(())
    }

    /// Silence up to a place.
    pub fn fill_to(&mut self, to: i64) -> Result<(), AudioError> {
        let before = self.placer.next();
        let silence = self.placer.fill_to(to);
        self.silence(before, silence);
        self.encode()
    }

    fn collect(&mut self, decoder: &mut Chain) -> Result<(), AudioError> {
        for sample in decoder.take() {
            let Some(pts) = sample.pts else { continue };
            self.samples += 1;
            self.sound(&sample, Door::new(self.zero).outward(pts));
        }
        self.encode()
    }

    /// Decoded sound, whatever its layout and rate.
    fn sound(&mut self, sample: &Sample, at: ChannelTime) {
        let info = sample.caps.as_deref().and_then(|caps| AudioInfo::from_caps(caps).ok());
        let (Some(info), Ok(map)) = (info, sample.buffer.map_readable()) else { return };
        let channels = info.channels() as usize;
        let positions = info.positions().unwrap_or(&[AudioChannelPosition::None; 64][..channels.min(64)]);
        if channels == 0 || positions.len() != channels {
            return;
        }
        let same = |run: &Run| run.rate == info.rate() && run.positions == positions;
        if !self.run.as_ref().is_some_and(same) {
            self.drain_resampler();
            let mix = Mix::new(positions, self.recipe.channels);
            self.run = Some(Run { rate: info.rate(), positions: positions.to_vec(), mix, resampler: None });
        }
        let decoded: Vec<f32> = map.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let Some(run) = &mut self.run else { return };
        let samples = run.mix.apply(&decoded);
        let start = self.recipe.grid.segment_start(self.plan.segment);
        let place = place(at, start, self.stretch, self.plan.place_from);
        let watched = self.recipe.loudness.is_some() || run.mix.may_clip();
        if run.rate == AUDIO_RATE && self.stretch.1 == 0 {
            self.put(Round::Nearest.divide(place.into(), STEPS.into()) as i64, &samples, watched);
            return;
        }
        let broken = |r: &Resampler| (r.expects() - place).abs() > JITTER_SAMPLES * STEPS;
        if run.resampler.as_ref().is_some_and(broken) {
            self.drain_resampler();
        }
        let Some(run) = &mut self.run else { return };
        let resampler = run
            .resampler
            .get_or_insert_with(|| Resampler::new(usize::from(self.recipe.channels), run.rate, self.stretch.1, place));
        let (at, samples) = resampler.push(&samples);
        self.put(at, &samples, watched);
    }

    /// What the resampler still holds.
    fn drain_resampler(&mut self) {
        let Some(run) = &mut self.run else { return };
        let watched = self.recipe.loudness.is_some() || run.mix.may_clip();
        if let Some(mut resampler) = run.resampler.take() {
            let (at, samples) = resampler.finish();
            self.put(at, &samples, watched);
        }
    }

    fn end_run(&mut self) -> Result<(), AudioError> {
        self.drain_resampler();
        self.run = None;
        self.encode()
    }

    /// Samples at 48 kHz, `at` so many behind the first one wanted.
    fn put(&mut self, at: i64, samples: &[f32], watched: bool) {
        let channels = usize::from(self.recipe.channels);
        let before = self.placer.next();
        let placed = self.placer.place(self.plan.place_from + at, samples.len() / channels);
        self.silence(before, placed.silence);
        let from = placed.skip * channels;
        self.level(samples[from..from + placed.take * channels].to_vec(), watched);
    }

    fn silence(&mut self, from: i64, samples: usize) {
        let to = from + samples as i64;
        self.filled.silent_samples += self.plan.inside(from, to);
        let frame = |place: i64| (place - self.plan.first.0 as i64 * FRAME).div_euclid(FRAME);
        for frame in frame(from)..frame(to + FRAME - 1) {
            if let Some(silent) = usize::try_from(frame).ok().and_then(|at| self.silent.get_mut(at)) {
                *silent = true;
            }
        }
        self.level(vec![0.0; samples * usize::from(self.recipe.channels)], false);
    }

    fn level(&mut self, mut samples: Vec<f32>, watched: bool) {
        let channels = usize::from(self.recipe.channels);
        self.ramp.apply(self.levelled, &mut samples, channels);
        if let Some(meters) = &mut self.meters {
            meters.levelled(&samples, watched);
        }
        self.levelled += (samples.len() / channels) as i64;
        self.limiter.push(&samples, watched);
    }

    /// Feeds whole frames to the encoder and keeps the packets of this segment.
    fn encode(&mut self) -> Result<(), AudioError> {
        let channels = usize::from(self.recipe.channels);
        let limited = self.limiter.take();
        if let Some(meters) = &mut self.meters {
            meters.limited(&limited);
        }
        for frame in limited.chunks_exact(channels) {
            if (self.plan.feed_from..self.plan.feed_to).contains(&self.limited) {
                self.pcm.extend(frame.iter().flat_map(|sample| s16(*sample).to_le_bytes()));
            }
            self.limited += 1;
        }
        let frame_bytes = FRAME as usize * 2 * channels;
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
                let frame = packet - self.plan.skip;
                let silent = self.silent.get(frame as usize).copied().unwrap_or(false);
                let material = if silent { Material::Slate } else { Material::Source };
                self.ready.push((self.plan.first.0 + frame, material, Bytes::copy_from_slice(&map)));
            }
        }
        Ok(())
    }
}

/// Where sound of time `at` lies behind sample `from`, under a segment's slope ([`STEPS`] a sample). The slope before the segment's start is
/// another one, but the sound in front of it is stretched like the segment's own, and both must meet at the start.
fn place(at: ChannelTime, start: ChannelTime, (before, stretch): (i16, i16), from: i64) -> i64 {
    let since = i128::from(at - start);
    let rate = i128::from(AUDIO_RATE);
    let (num, den) = if since < 0 { (rate + i128::from(stretch), rate + i128::from(before)) } else { (1, 1) };
    // 90 kHz to 48 kHz is 8 to 15.
    let behind = Round::Nearest.divide(since * num * 8 * i128::from(STEPS), den * 15);
    let start = i128::from(start.ticks()) * 8 / 15 - i128::from(from);
    i64::try_from(start * i128::from(STEPS) + behind).unwrap_or(i64::MAX)
}

/// To the nearest, as GStreamer's audioconvert rounds.
fn s16(sample: f32) -> i16 {
    let wide = (f64::from(sample) * 2_147_483_647.0) as i32;
    (wide.saturating_add(1 << 15) >> 16) as i16
}

impl Recipe {
    fn decoder(&self, codec: Codec) -> Result<Chain, ChainError> {
        let description = self.template.decoder(codec).unwrap_or_default();
        let any = gst::Caps::builder("audio/x-raw").field("format", "F32LE").field("layout", "interleaved").build();
        Chain::build(description, &coded_caps(codec), &any, &self.pulse)
    }
}

fn frame_time(frame: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(frame * u64::from(AUDIO_FRAME_SAMPLES) * 1_000_000_000 / u64::from(AUDIO_RATE))
}

/// What an encoder chain is fed.
fn entry_caps(channels: u8) -> gst::Caps {
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", AUDIO_RATE as i32)
        .field("channels", i32::from(channels));
    match channels {
        2 => caps.field("channel-mask", gst::Bitmask::new(0x3)).build(),
        6 => caps.field("channel-mask", gst::Bitmask::new(0x3f)).build(),
        _ => caps.build(),
    }
}

/// What a decoder chain is told about its input.
fn coded_caps(codec: Codec) -> gst::Caps {
    let mpeg = |version: i32| gst::Caps::builder("audio/mpeg").field("mpegversion", version);
    match codec {
        Codec::AacLatm => mpeg(4).field("stream-format", "loas").build(),
        Codec::MpegAudio => mpeg(1).build(),
        Codec::Ac3 => gst::Caps::new_empty_simple("audio/x-ac3"),
        Codec::Eac3 => gst::Caps::new_empty_simple("audio/x-eac3"),
        _ => mpeg(4).field("stream-format", "adts").build(),
    }
}
