//! An image or a clip as pictures, by GStreamer's own demuxers and decoders.
//!
//! In:    a file. Out: its pictures by their place on the grid.
//! Never: holds more than a few pictures: what is not asked for is not decoded.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::encode::scale::{Picture, raw_info};
use crate::media::{FrameRate, Round};

/// Longest wait for anything that the decoder does.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);
/// Pictures that wait behind the decoder; it stops there.
const QUEUE: u32 = 2;
/// More pixels are not for a slate.
const PIXELS_MAX: u64 = 8192 * 8192;
/// A jump of more slots is sought; a shorter one is decoded through.
const SEEK_ABOVE: u64 = 50;

/// Why a file is no slate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A piece of GStreamer is missing.
    #[error("GStreamer: {0}")]
    Start(#[from] gst::glib::Error),
    /// No decoder, or a damaged file.
    #[error("{0}")]
    Decode(String),
    /// Too large.
    #[error("{0}×{1} pixels are too many")]
    Size(u32, u32),
    /// The end came before the first picture.
    #[error("there is no picture in it")]
    Empty,
    /// GStreamer says nothing.
    #[error("nothing came for {} s", PATIENCE.seconds())]
    Late,
    /// The layout cannot be expressed.
    #[error("its pictures have no layout of ours")]
    Layout(#[from] gst::glib::BoolError),
}

/// A file that is open. It is read as far as it is asked for.
#[derive(Debug)]
pub struct Reader {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    rate: FrameRate,
    /// The picture being shown, and the place from which on it is.
    current: Option<(u64, Picture)>,
    /// The one behind it.
    next: Option<(u64, Picture)>,
}

impl Reader {
    /// Opens a file and decodes its first picture.
    pub fn open(file: &Path, rate: FrameRate) -> Result<Self, ReadError> {
        // With ANY, as decodebin would not plug decoders whose pads offer pictures in a device's memory too.
        let text = "filesrc name=file ! decodebin caps=video/x-raw(ANY) expose-all-streams=false ! \
                    appsink name=out sync=false caps=video/x-raw";
        let pipeline = gst::parse::launch(text)?.downcast::<gst::Pipeline>().expect("several elements are a pipeline");
        let source = pipeline.by_name("file").expect("named so above");
        source.set_property("location", file.to_str().ok_or_else(|| ReadError::Decode("its name is no text".into()))?);
        let sink = pipeline.by_name("out").and_then(|e| e.downcast::<gst_app::AppSink>().ok());
        let sink = sink.expect("an appsink named so above");
        sink.set_max_buffers(QUEUE);
        sink.set_property("enable-last-sample", false);
        let mut reader = Self { pipeline, sink, rate, current: None, next: None };
        if reader.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(reader.why());
        }
        reader.current = Some(reader.pull()?.ok_or(ReadError::Empty)?);
        reader.next = reader.pull()?;
        Ok(reader)
    }

    /// Its duration in slots, at least one. Both pipelines read the same of the same file.
    pub fn slots(&self) -> u64 {
        let duration = self.pipeline.query_duration::<gst::ClockTime>().unwrap_or(gst::ClockTime::ZERO);
        self.place_of(duration).max(1)
    }

    /// The picture that is shown at a place: the last one whose own place is not behind it.
    pub fn picture(&mut self, place: u64, serial: u64) -> Result<Picture, ReadError> {
        let at = self.current.as_ref().map(|(at, _)| *at);
        if at.is_none_or(|at| place < at || place > at + SEEK_ABOVE) {
            self.seek(place)?;
        }
        while self.next.as_ref().is_some_and(|(at, _)| *at <= place) {
            self.current = self.next.take();
            self.next = self.pull()?;
        }
        let (_, picture) = self.current.as_ref().ok_or(ReadError::Empty)?;
        Ok(Picture::new(serial, picture.buffer.clone(), picture.info.clone()))
    }

    fn seek(&mut self, place: u64) -> Result<(), ReadError> {
        // Just below the middle to the next place: what is shown there has this place or one before it.
        let (num, den) = (i128::from(self.rate.num()), i128::from(self.rate.den()));
        let ns = Round::Down.divide((i128::from(place) * 100 + 49) * 10_000_000 * den, num);
        let to = gst::ClockTime::from_nseconds(u64::try_from(ns).unwrap_or(0));
        let to = if place == 0 { gst::ClockTime::ZERO } else { to };
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        self.pipeline.seek_simple(flags, to).map_err(|_| self.why())?;
        self.current = self.pull()?;
        if self.current.is_none() {
            return Err(ReadError::Empty);
        }
        self.next = self.pull()?;
        Ok(())
    }

    /// The next picture and its place; `None` at the end.
    fn pull(&self) -> Result<Option<(u64, Picture)>, ReadError> {
        let Some(sample) = self.sink.try_pull_sample(PATIENCE) else {
            return if self.sink.is_eos() { Ok(None) } else { Err(self.why()) };
        };
        let pts = sample.buffer().and_then(|b| b.pts()).unwrap_or(gst::ClockTime::ZERO);
        let time = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>()?.to_stream_time(pts));
        // The sample itself must not be kept: the sink wants to use it again.
        Ok(Some((self.place_of(time.unwrap_or(pts)), picture(&sample)?)))
    }

    fn place_of(&self, time: gst::ClockTime) -> u64 {
        let (num, den) = (i128::from(self.rate.num()), i128::from(self.rate.den()));
        let place = Round::Nearest.divide(i128::from(time.nseconds()) * num, 1_000_000_000 * den);
        u64::try_from(place).unwrap_or(0)
    }

    /// What GStreamer says went wrong.
    fn why(&self) -> ReadError {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(100), &[gst::MessageType::Error]);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => ReadError::Decode(error.error().to_string()),
            _ => ReadError::Late,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// With nothing left open in its layout.
fn picture(sample: &gst::Sample) -> Result<Picture, ReadError> {
    let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps()) else { return Err(ReadError::Empty) };
    let info = gst_video::VideoInfo::from_caps(caps)?;
    if u64::from(info.width()) * u64::from(info.height()) > PIXELS_MAX {
        return Err(ReadError::Size(info.width(), info.height()));
    }
    let info = raw_info(info.format(), info.width(), info.height(), info.par(), &info.colorimetry())?;
    Ok(Picture::new(0, buffer, info))
}
