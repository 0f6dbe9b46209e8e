//! Coded pictures and sound → what a watch wants to know of them.
//!
//! In:    pieces of one source, in order.
//! Out:   sketches of pictures with the arrival of their unit, levels of sound, and whether a unit was decoded whole.
//! Never: keeps a picture.
//!
//! That a picture was not decoded whole is not told by the decoder's element: it mends what is missing and hands the picture out. It is
//! told by libavcodec's messages of errors, which GStreamer hands on. They are written on the thread that decodes, so a
//! counter of each thread tells whose they are.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::ipc::Piece;
use super::picture::{Luma, Sketch};
use super::sound;
use crate::encode::gst::{Chain, ChainError, Door, Sample};
use crate::encode::pulse::Pulse;
use crate::encode::template::Template;
use crate::media::{Codec, TrackKind};
use crate::wire::codec::disposable::is_disposable;

/// Units whose pictures have not come out yet; more than any reorder depth.
const INSIDE_MAX: usize = 64;
/// What decoders of sound put up with before they place a block anew, and a little more.
const PLACED_WITHIN: gst::ClockTime = gst::ClockTime::from_mseconds(16);
/// Times in a chain are counted from so long before its first: pictures are reordered.
const HEADROOM: Duration = Duration::from_secs(3600);

/// Where GStreamer hands on what libavcodec says.
const LIBAV: &str = "libav";

thread_local! {
    static ERRORS: Cell<u64> = const { Cell::new(0) };
}

/// To be called once, after GStreamer's start: from then on libavcodec's errors are counted, and not written to stderr.
pub fn count_errors() {
    gst::log::remove_default_log_function();
    gst::log::add_log_function(|category, level, _, _, _, _, _| {
        if level == gst::DebugLevel::Error && category.name() == LIBAV {
            ERRORS.set(ERRORS.get() + 1);
        }
    });
    gst::log::set_default_threshold(gst::DebugLevel::None);
    gst::log::set_threshold_for_name(LIBAV, gst::DebugLevel::Error);
    gst::log::set_active(true);
}

/// Of pictures.
#[derive(Debug)]
pub struct Pictures {
    template: Template,
    pulse: Pulse,
    dark_level: u8,
    chain: Option<(Codec, Door, Chain)>,
    info: Option<(gst::Caps, gst_video::VideoInfo)>,
    inside: VecDeque<(gst::ClockTime, u64)>,
}

/// What a unit of video led to.
#[derive(Debug, Default)]
pub struct Looked {
    /// Pictures that came out, each with the arrival of its unit, in the order in which they are shown.
    pub pictures: Vec<(u64, Sketch)>,
    /// The unit was looked at, and could not be decoded whole.
    pub wrong: bool,
    /// The decoder began with it.
    pub begins: bool,
}

impl Pictures {
    /// Decodes as `template` says. Luma up to `dark_level` is dark.
    pub fn new(template: Template, dark_level: u8, pulse: Pulse) -> Self {
        Self { template, pulse, dark_level, chain: None, info: None, inside: VecDeque::new() }
    }

    /// What follows does not continue what came before: it begins with the next key frame.
    pub fn anew(&mut self) {
        self.chain = None;
        self.inside.clear();
    }

    /// Decodes a unit; `None` where it is passed over: no key frame has come yet, or nothing refers to it. With `every` only the
    /// first counts: a decoder that gets every picture hands each out sooner, as it reorders by their number.
    pub fn push(&mut self, piece: &Piece, every: bool) -> Option<Looked> {
        if self.chain.as_ref().is_some_and(|(codec, ..)| *codec != piece.codec) {
            self.anew();
        }
        if self.chain.is_none() && !piece.key || !every && is_disposable(piece.codec, &piece.data) {
            return None;
        }
        let (before, begins) = (ERRORS.get(), self.chain.is_none());
        let samples = self.decode(piece);
        let wrong = ERRORS.get() != before || samples.is_err();
        if let Err(error) = &samples {
            tracing::debug!(codec = ?piece.codec, error = error as &dyn std::error::Error, "video decoder begins anew");
            self.anew();
        }
        let pictures = samples.unwrap_or_default().into_iter().filter_map(|sample| self.sketch(sample)).collect();
        Some(Looked { pictures, wrong, begins })
    }

    fn decode(&mut self, piece: &Piece) -> Result<Vec<Sample>, ChainError> {
        if self.chain.is_none() {
            let description = self.template.decoder(piece.codec).unwrap_or_default().replace("! {deinterlace}", "");
            let any = gst::Caps::new_empty_simple("video/x-raw");
            let chain = Chain::build(&description, &coded_caps(piece.codec), &any, &self.pulse)?;
            self.chain = Some((piece.codec, Door::new(piece.pts - HEADROOM), chain));
        }
        let (_, door, chain) = self.chain.as_mut().expect("made above");
        chain.push(buffer(*door, piece, &mut self.inside))?;
        Ok(chain.take())
    }

    fn sketch(&mut self, sample: Sample) -> Option<(u64, Sketch)> {
        let (pts, caps) = (sample.pts?, sample.caps?);
        let arrival = self.inside.iter().find(|(at, _)| *at == pts).map(|(_, arrival)| *arrival)?;
        if sample.buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            return None;
        }
        if self.info.as_ref().is_none_or(|(known, _)| *known != caps) {
            let info = gst_video::VideoInfo::from_caps(&caps).ok()?;
            self.info = Some((caps, info));
        }
        let (_, info) = self.info.as_ref()?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&sample.buffer, info).ok()?;
        let luma = Luma {
            data: frame.plane_data(0).ok()?,
            width: frame.width() as usize,
            height: frame.height() as usize,
            stride: usize::try_from(*frame.plane_stride().first()?).ok()?,
            bits: planar_luma_bits(&frame.format_info())?,
        };
        Some((arrival, Sketch::of(luma, self.dark_level)?))
    }
}

/// Bits of luma where it has a plane of its own, as all decoders here write it: samples side by side, the low byte first.
fn planar_luma_bits(format: &gst_video::VideoFormatInfo) -> Option<u32> {
    let bits = *format.depth().first()?;
    let alone = *format.pixel_stride().first()? == bits.div_ceil(8) as i32 && *format.poffset().first()? == 0;
    let readable = bits == 8 || format.flags().contains(gst_video::VideoFormatFlags::LE);
    let shifted = *format.shift().first()? != 0;
    (alone && readable && !shifted && (format.is_yuv() || format.is_gray())).then_some(bits)
}

/// Of sound.
#[derive(Debug)]
pub struct Sounds {
    template: Template,
    pulse: Pulse,
    chain: Option<(Codec, Door, Chain)>,
    inside: VecDeque<(gst::ClockTime, u64)>,
}

impl Sounds {
    /// Decodes as `template` says.
    pub fn new(template: Template, pulse: Pulse) -> Self {
        Self { template, pulse, chain: None, inside: VecDeque::new() }
    }

    /// What follows does not continue what came before.
    pub fn anew(&mut self) {
        self.chain = None;
        self.inside.clear();
    }

    /// Decodes a unit; the blocks that came out: the arrival of their unit, and their level in dBFS.
    pub fn push(&mut self, piece: &Piece) -> Vec<(u64, f32)> {
        if self.chain.as_ref().is_some_and(|(codec, ..)| *codec != piece.codec) {
            self.anew();
        }
        match self.decode(piece) {
            Ok(samples) => {
                samples.iter().filter_map(|sample| Some((self.arrival(sample)?, block_level(sample)?))).collect()
            }
            Err(error) => {
                tracing::debug!(codec = ?piece.codec, error = &error as &dyn std::error::Error, "audio decoder begins anew");
                self.anew();
                Vec::new()
            }
        }
    }

    fn decode(&mut self, piece: &Piece) -> Result<Vec<Sample>, ChainError> {
        if self.chain.is_none() {
            let description = self.template.decoder(piece.codec).unwrap_or_default();
            let raw = gst::Caps::builder("audio/x-raw").field("format", "F32LE").field("layout", "interleaved").build();
            let chain = Chain::build(description, &coded_caps(piece.codec), &raw, &self.pulse)?;
            self.chain = Some((piece.codec, Door::new(piece.pts - HEADROOM), chain));
        }
        let (_, door, chain) = self.chain.as_mut().expect("made above");
        chain.push(buffer(*door, piece, &mut self.inside))?;
        Ok(chain.take())
    }

    /// When the unit came that a block was in. Decoders place blocks one behind the other, a little beside their times.
    fn arrival(&self, sample: &Sample) -> Option<u64> {
        let at = sample.pts? + PLACED_WITHIN;
        self.inside.iter().rfind(|(pts, _)| *pts <= at).or(self.inside.front()).map(|(_, arrival)| *arrival)
    }
}

/// A piece for its decoder, and a note of when it came.
fn buffer(door: Door, piece: &Piece, inside: &mut VecDeque<(gst::ClockTime, u64)>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(piece.data.clone());
    // A time that cannot be expressed is as good as none: what is decoded of it is left out.
    if let Some(pts) = door.inward(piece.pts) {
        buffer.get_mut().expect("just made").set_pts(pts);
        if inside.len() == INSIDE_MAX {
            inside.pop_front();
        }
        inside.push_back((pts, piece.arrival));
    }
    buffer
}

fn block_level(sample: &Sample) -> Option<f32> {
    let channels: i32 = sample.caps.as_ref()?.structure(0)?.get("channels").ok()?;
    let map = sample.buffer.map_readable().ok()?;
    let (words, _) = map.as_slice().as_chunks::<4>();
    let samples: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    sound::level(&samples, usize::try_from(channels).ok()?)
}

/// What a chain is told of its input. Alignment is not claimed: a PES payload need not be one access unit.
fn coded_caps(codec: Codec) -> gst::Caps {
    let stream = |media: &str| gst::Caps::builder(media).field("stream-format", "byte-stream").build();
    let mpeg = |version: i32| gst::Caps::builder("audio/mpeg").field("mpegversion", version);
    match codec {
        Codec::Hevc => stream("video/x-h265"),
        Codec::Mpeg2Video => {
            gst::Caps::builder("video/mpeg").field("mpegversion", 2).field("systemstream", false).build()
        }
        Codec::AacLatm => mpeg(4).field("stream-format", "loas").build(),
        Codec::AacAdts => mpeg(4).field("stream-format", "adts").build(),
        Codec::MpegAudio => mpeg(1).build(),
        Codec::Ac3 => gst::Caps::new_empty_simple("audio/x-ac3"),
        Codec::Eac3 => gst::Caps::new_empty_simple("audio/x-eac3"),
        Codec::H264 | Codec::Other(_) => stream("video/x-h264"),
    }
}

/// Whether a codec is one of pictures.
pub fn is_pictures(codec: Codec) -> bool {
    codec.kind() == TrackKind::Video
}
