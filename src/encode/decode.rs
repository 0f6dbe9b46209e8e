//! Coded video → pictures with their channel time, in display order.
//!
//! In:    units of one track, breaks between them.
//! Out:   pictures; those the decoder knows to be wrong without their pixels.
//! Never: guesses a time: a picture whose access unit had no PTS is left out and counted.

use std::collections::VecDeque;

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::gst::{Chain, ChainError, Door, Sample};
use super::ipc::Deinterlace;
use super::pulse::Pulse;
use super::scale::{Picture, bt709, raw_info};
use super::template::Template;
use crate::media::{ChannelTime, Codec, FrameRate, Unit};

/// Times of damaged units that are remembered until their pictures come out; more than any reorder depth.
const DAMAGED_MAX: usize = 32;
/// So many undamaged units in a row that are no access units show that the source now has another way of cutting them. What stands alone in front
/// of a hole cannot be told from one.
const NOT_WHOLE_MAX: u32 = 4;

/// What came out of the decoder.
#[derive(Debug)]
pub struct Decoded {
    /// When it is shown.
    pub at: ChannelTime,
    /// `None` where the decoder knows that it is wrong.
    pub picture: Option<Picture>,
    /// Bytes were missing or wrong in its unit.
    pub damaged: bool,
}

/// The video decoder of one worker. It lives as long as its source goes on.
#[derive(Debug)]
pub struct VideoDecoder {
    template: Template,
    deinterlace: Deinterlace,
    rate: FrameRate,
    door: Door,
    pulse: Pulse,
    codec: Codec,
    chain: Option<Chain>,
    /// The chain takes each unit for one access unit.
    by_unit: bool,
    /// Units in a row that were none.
    not_whole: u32,
    info: Option<(gst::Caps, gst_video::VideoInfo)>,
    damaged: VecDeque<ChannelTime>,
    serial: u64,
    errors: u64,
}

impl VideoDecoder {
    /// Times before `zero` cannot be decoded. `rate` is the output's.
    pub fn new(template: Template, deinterlace: Deinterlace, rate: FrameRate, zero: ChannelTime, pulse: Pulse) -> Self {
        Self {
            template,
            deinterlace,
            rate,
            door: Door::new(zero),
            pulse,
            codec: Codec::H264,
            chain: None,
            by_unit: false,
            not_whole: 0,
            info: None,
            damaged: VecDeque::new(),
            serial: 0,
            errors: 0,
        }
    }

    /// Decoder errors so far.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// The codec of what follows. A change drains the old decoder.
    pub fn set_codec(&mut self, codec: Codec) -> Vec<Decoded> {
        let rest = if codec == self.codec { Vec::new() } else { self.drain() };
        self.codec = codec;
        rest
    }

    /// Puts a unit in; out comes what can be shown by now.
    pub fn push(&mut self, unit: &Unit<ChannelTime>) -> Vec<Decoded> {
        let Some(pts) = self.door.inward(unit.pts) else {
            self.errors += 1;
            return Vec::new();
        };
        if unit.damaged {
            if self.damaged.len() == DAMAGED_MAX {
                self.damaged.pop_front();
            }
            self.damaged.push_back(unit.pts);
        }
        let mut pictures = self.framing(unit);
        let mut buffer = gst::Buffer::from_slice(unit.data.clone());
        buffer.get_mut().expect("just made").set_pts(pts);
        let result = match self.chain() {
            Ok(chain) => chain.push(buffer).map(|()| chain.take()),
            Err(error) => Err(error),
        };
        match result {
            Ok(samples) => pictures.extend(self.pictures(samples)),
            Err(error) => {
                self.errors += 1;
                tracing::warn!(codec = ?self.codec, error = &error as &dyn std::error::Error, "video decoder begins anew");
                self.chain = None;
            }
        }
        pictures
    }

    /// Decides whether a new chain takes units for access units, as its first one is, and what becomes of a chain whose units are none any more.
    /// Damage makes a unit that is less than one: nothing has changed then.
    fn framing(&mut self, unit: &Unit<ChannelTime>) -> Vec<Decoded> {
        if self.chain.is_none() {
            (self.by_unit, self.not_whole) = (unit.whole, 0);
        }
        self.not_whole = if unit.whole || unit.damaged { 0 } else { self.not_whole + 1 };
        if !self.by_unit || self.not_whole < NOT_WHOLE_MAX {
            return Vec::new();
        }
        let rest = self.drain();
        self.by_unit = false;
        rest
    }

    /// What follows does not continue what came before: empties the decoder and ends it.
    pub fn drain(&mut self) -> Vec<Decoded> {
        let Some(mut chain) = self.chain.take() else { return Vec::new() };
        chain.drain();
        let rest = self.pictures(chain.take());
        self.damaged.clear();
        rest
    }

    fn chain(&mut self) -> Result<&mut Chain, ChainError> {
        if self.chain.is_none() {
            let description = self.template.video_decoder(self.codec, self.deinterlace, self.rate).unwrap_or_default();
            let any = gst::Caps::new_empty_simple("video/x-raw");
            self.chain = Some(Chain::build(&description, &entry_caps(self.codec, self.by_unit), &any, &self.pulse)?);
        }
        Ok(self.chain.as_mut().expect("made above"))
    }

    fn pictures(&mut self, samples: Vec<Sample>) -> Vec<Decoded> {
        samples.into_iter().filter_map(|sample| self.picture(sample)).collect()
    }

    fn picture(&mut self, sample: Sample) -> Option<Decoded> {
        let (Some(pts), Some(caps)) = (sample.pts, sample.caps) else {
            self.errors += 1;
            return None;
        };
        let at = self.door.outward(pts);
        let damaged = self.damaged.iter().position(|d| *d == at).map(|i| self.damaged.remove(i)).is_some();
        if sample.buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            return Some(Decoded { at, picture: None, damaged: true });
        }
        if self.info.as_ref().is_none_or(|(known, _)| *known != caps) {
            let Some(info) = spelled_out(&caps) else {
                self.errors += 1;
                return None;
            };
            tracing::info!(
                codec = ?self.codec, format = %info.format(), width = info.width(), height = info.height(), "video source"
            );
            self.info = Some((caps, info));
        }
        let (_, info) = self.info.as_ref()?;
        self.serial += 1;
        let picture = Picture::new(self.serial, sample.buffer, info.clone());
        Some(Decoded { at, picture: Some(picture), damaged })
    }
}

/// What a decoder chain is told about its input. Alignment is not claimed: a PES payload need not be one access unit.
/// `by_unit`: each buffer is an access unit, so the parser need not see the next one to let it go: a picture less of delay.
fn entry_caps(codec: Codec, by_unit: bool) -> gst::Caps {
    let name = match codec {
        Codec::Hevc => "video/x-h265",
        Codec::Mpeg2Video => {
            return gst::Caps::builder("video/mpeg").field("mpegversion", 2).field("systemstream", false).build();
        }
        _ => "video/x-h264",
    };
    let caps = gst::Caps::builder(name).field("stream-format", "byte-stream");
    if by_unit { caps.field("alignment", "au").build() } else { caps.build() }
}

/// The decoder's layout with nothing left open.
fn spelled_out(caps: &gst::Caps) -> Option<gst_video::VideoInfo> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let stated = caps.structure(0)?.has_field("colorimetry");
    // A stream that does not name its colours: standard definition means BT.601, all else BT.709.
    let is_sd = info.width() <= 768 && matches!(info.height(), 480 | 486 | 576);
    let colorimetry = match (stated, is_sd) {
        (true, _) => info.colorimetry(),
        (false, true) => "bt601".parse().expect("GStreamer knows this name"),
        (false, false) => bt709(),
    };
    raw_info(info.format(), info.width(), info.height(), info.par(), &colorimetry).ok()
}
