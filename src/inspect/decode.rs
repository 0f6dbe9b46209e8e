//! Decoders: access units in, accounted pictures and sound out.
//!
//! In:    access units with times, or whole transport streams.
//! Out:   calls into the ledgers, from GStreamer's threads.
//! Never: decides what a fault is, beyond a decoder's own complaint.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_audio as gst_audio;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::pictures::Pictures;
use super::sound::Sound;
use crate::signal::code::{self, Luma, Reading};

/// Added to every time at GStreamer's door, where times cannot be negative.
const BASE_NS: i64 = 3_600_000_000_000;
/// A decoder that does not finish in this time hangs.
const DRAIN_MAX: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// The ledgers of one rendition, shared with the decoder's threads.
#[derive(Clone, Debug)]
pub struct Ledgers {
    /// Pictures.
    pub pictures: Arc<Mutex<Pictures>>,
    /// Sound.
    pub sound: Arc<Mutex<Sound>>,
}

/// What is being decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// The lock even if a thread panicked while it held it: what was counted stays true.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running decoder, fed from outside.
#[derive(Debug)]
pub struct Decoder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
}

impl Decoder {
    /// A decoder for access units of `caps`.
    pub fn units(media: Media, caps: &gst::Caps, ledgers: &Ledgers) -> Result<Self, String> {
        let pipeline = gst::Pipeline::new();
        let source =
            gst_app::AppSrc::builder().caps(caps).format(gst::Format::Time).block(true).max_bytes(1 << 20).build();
        let build = || -> Result<(), String> {
            pipeline.add(&source).map_err(text)?;
            let chain = chain(&pipeline, media, caps, false, BASE_NS, ledgers)?;
            source.link(&chain).map_err(text)
        };
        build()?;
        pipeline.set_state(gst::State::Playing).map_err(text)?;
        Ok(Self { pipeline, source })
    }

    /// A demultiplexer with decoders for the bytes of a transport stream.
    pub fn transport(ledgers: &Ledgers) -> Result<Self, String> {
        let caps = gst::Caps::builder("video/mpegts").field("systemstream", true).build();
        let source = gst_app::AppSrc::builder().caps(&caps).block(true).max_bytes(1 << 20).build();
        let pipeline = gst::Pipeline::new();
        demultiplex(&pipeline, source.upcast_ref(), ledgers)?;
        pipeline.set_state(gst::State::Playing).map_err(text)?;
        Ok(Self { pipeline, source })
    }

    /// Feeds an access unit, times in nanoseconds on the stream's timeline.
    pub fn push_unit(&self, data: Vec<u8>, pts_ns: i64, dts_ns: i64) -> Result<(), String> {
        let mut buffer = gst::Buffer::from_mut_slice(data);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(at_the_door(pts_ns));
            buffer.set_dts(at_the_door(dts_ns));
        }
        self.push(buffer)
    }

    /// Feeds bytes of a transport stream.
    pub fn push_bytes(&self, data: Vec<u8>) -> Result<(), String> {
        self.push(gst::Buffer::from_mut_slice(data))
    }

    fn push(&self, buffer: gst::Buffer) -> Result<(), String> {
        let pushed = self.source.push_buffer(buffer);
        match error_of(&self.pipeline) {
            Some(error) => Err(error),
            None => pushed.map(|_| ()).map_err(text),
        }
    }

    /// Decodes what is left and ends.
    pub fn drain(self) -> Result<(), String> {
        _ = self.source.end_of_stream();
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(DRAIN_MAX, &ends));
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => Err(e.error().to_string()),
            Some(_) => Ok(()),
            None => Err("the decoder did not finish".into()),
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn at_the_door(ns: i64) -> Option<gst::ClockTime> {
    u64::try_from(ns + BASE_NS).ok().map(gst::ClockTime::from_nseconds)
}

fn error_of(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(e) => Some(e.error().to_string()),
        _ => None,
    }
}

/// Builds `source ! tsdemux` into `pipeline`; the first picture and the first sound track get decoders.
fn demultiplex(pipeline: &gst::Pipeline, source: &gst::Element, ledgers: &Ledgers) -> Result<(), String> {
    let demux = gst::ElementFactory::make("tsdemux").build().map_err(text)?;
    pipeline.add_many([source, &demux]).map_err(text)?;
    source.link(&demux).map_err(text)?;
    let (weak, ledgers, seen) = (pipeline.downgrade(), ledgers.clone(), Mutex::new([false; 2]));
    demux.connect_pad_added(move |_, pad| {
        let (Some(pipeline), Some(caps)) = (weak.upgrade(), pad.current_caps()) else { return };
        let media = match caps.structure(0).map(|s| s.name().as_str()) {
            Some(name) if name.starts_with("video/") => Media::Video,
            Some(name) if name.starts_with("audio/") => Media::Audio,
            _ => return,
        };
        if std::mem::replace(&mut lock(&seen)[media as usize], true) {
            return;
        }
        let linked = chain(&pipeline, media, &caps, true, 0, &ledgers).and_then(|head| {
            let sink = head.static_pad("sink").ok_or("no sink pad")?;
            pad.link(&sink).map(|_| ()).map_err(text)
        });
        if let Err(error) = linked {
            gst::element_error!(pipeline, gst::StreamError::CodecNotFound, ["{error}"]);
        }
    });
    Ok(())
}

/// Adds a decoder for `caps` and what reads its output; returns the first element. `base_ns` was added to the times.
fn chain(
    pipeline: &gst::Pipeline,
    media: Media,
    caps: &gst::Caps,
    parse: bool,
    base_ns: i64,
    ledgers: &Ledgers,
) -> Result<gst::Element, String> {
    let form = caps.structure(0).ok_or("empty caps")?;
    let version = form.get::<i32>("mpegversion").unwrap_or(0);
    let (parser, decoder) = match (form.name().as_str(), version) {
        ("video/x-h264", _) => ("h264parse", "avdec_h264 max-threads=1"),
        ("video/x-h265", _) => ("h265parse", "avdec_h265 max-threads=1"),
        ("video/x-av1", _) => ("av1parse", "av1dec"),
        ("video/mpeg", 1 | 2) => ("mpegvideoparse", "avdec_mpeg2video max-threads=1"),
        ("audio/mpeg", 2 | 4) => ("aacparse", "avdec_aac"),
        ("audio/mpeg", 1) => ("mpegaudioparse", "avdec_mp2float"),
        ("audio/x-ac3", _) => ("ac3parse", "avdec_ac3"),
        ("audio/x-eac3", _) => ("ac3parse", "avdec_eac3"),
        (name, _) => return Err(format!("no decoder for {name}")),
    };
    let after = match media {
        // Passes 8-bit 4:2:0 through untouched.
        Media::Video => "videoconvert ! video/x-raw,format={I420,NV12,Y42B,Y444}",
        Media::Audio => "audioconvert ! audio/x-raw,format=F32LE,layout=interleaved,channels=1",
    };
    let parser = if parse { format!("{parser} !") } else { String::new() };
    let launch = format!("{parser} {decoder} ! {after} ! appsink name=out sync=false async=false");
    let bin = gst::parse::bin_from_description(&launch, true).map_err(text)?;
    let out = bin.iterate_sinks().into_iter().flatten().find_map(|e| e.downcast::<gst_app::AppSink>().ok());
    let ledgers = ledgers.clone();
    let account = move |sample: &gst::Sample| match media {
        Media::Video => picture(sample, base_ns, &ledgers),
        Media::Audio => sound(sample, base_ns, &ledgers),
    };
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            account(&sample);
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    out.ok_or("no appsink")?.set_callbacks(callbacks);
    pipeline.add(&bin).map_err(text)?;
    bin.sync_state_with_parent().map_err(text)?;
    Ok(bin.upcast())
}

/// Seconds on the stream's timeline.
fn time_of(buffer: &gst::BufferRef, base_ns: i64) -> Option<f64> {
    buffer.pts().map(|pts| (pts.nseconds() as i64 - base_ns) as f64 / 1e9)
}

fn picture(sample: &gst::Sample, base_ns: i64, ledgers: &Ledgers) {
    let Some((buffer, caps)) = sample.buffer().zip(sample.caps()) else { return };
    let Some((time, info)) = time_of(buffer, base_ns).zip(gst_video::VideoInfo::from_caps(caps).ok()) else { return };
    let reading = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_or(Reading::Absent, |frame| {
        let plane = frame.plane_data(0).unwrap_or_default();
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        code::read(Luma { data: plane, width, height, stride: frame.plane_stride()[0] as usize })
    });
    lock(&ledgers.pictures).push(time, reading);
}

fn sound(sample: &gst::Sample, base_ns: i64, ledgers: &Ledgers) {
    let Some((buffer, caps)) = sample.buffer().zip(sample.caps()) else { return };
    let Some((time, info)) = time_of(buffer, base_ns).zip(gst_audio::AudioInfo::from_caps(caps).ok()) else { return };
    let Ok(map) = buffer.map_readable() else { return };
    let samples: Vec<f32> = map.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    lock(&ledgers.sound).push(time, info.rate(), &samples);
}
