//! One GOP of one video rung: a fresh encoder chain that sees this GOP's pictures and nothing else, so that its bytes are a pure function
//! of them and the rung. Most segments are one GOP.

use bytes::Bytes;
use gstreamer as gst;

use super::gst::{Chain, ChainError};
use super::ladder::{VideoFormat, VideoRung};
use super::pulse::Pulse;
use super::registry::Element;
use super::scale::rung_caps;
use super::template::{Simd, Template, TemplateError};
use crate::media::{FrameRate, Grid, Round};

/// Everything a GOP's chain is built from.
#[derive(Clone, Debug)]
pub struct Recipe {
    description: String,
    from: gst::Caps,
    to: gst::Caps,
    rate: FrameRate,
}

/// One coded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Presentation place inside the GOP, in slots.
    pub index: u64,
    /// An IDR picture; of AV1 a key frame.
    pub key: bool,
    /// H.264, HEVC: the access unit, Annex B. AV1: the temporal unit, OBUs with sizes.
    pub data: Bytes,
}

impl Recipe {
    /// For this rung, by this element, on this host.
    pub fn new(template: &Template, element: Element, rung: &VideoRung, grid: Grid) -> Result<Self, TemplateError> {
        let gop = grid.segment() / u32::from(rung.gops.max(1));
        let (from, rate) = (rung_caps(rung, grid.rate()), grid.rate());
        let description = template.video_encoder(element, rung, gop, Simd::detect().for_rung(rung))?;
        Ok(Self { description, from, to: coded_caps(rung), rate })
    }

    /// A chain for one GOP, its encoder opened and waiting. `pulse` is that of the thread that will push.
    pub fn build(&self, pulse: &Pulse) -> Result<GopEncoder, ChainError> {
        let chain = Chain::build(&self.description, &self.from, &self.to, pulse)?;
        Ok(GopEncoder { chain, rate: self.rate })
    }
}

fn coded_caps(rung: &VideoRung) -> gst::Caps {
    let profiles: Vec<&str> = match rung.profile.as_str() {
        "baseline" => vec!["constrained-baseline", "baseline"],
        other => vec![other],
    };
    let (media, profiles) = match rung.encoder.format() {
        VideoFormat::H264 => ("video/x-h264", profiles),
        VideoFormat::Hevc => ("video/x-h265", vec!["main"]),
        // Sizes in OBUs are what a temporal unit of one buffer has (low-overhead format); not all encoders say so in their caps.
        VideoFormat::Av1 => return gst::Caps::builder("video/x-av1").field("alignment", "tu").build(),
    };
    gst::Caps::builder(media)
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .field("profile", gst::List::new(profiles))
        .build()
}

/// One GOP of one rung in the making.
#[derive(Debug)]
pub struct GopEncoder {
    chain: Chain,
    rate: FrameRate,
}

impl GopEncoder {
    /// The picture for slot `index` of the GOP, in order; out come coded pictures in decode order. `picture`'s metadata is overwritten.
    pub fn push(&mut self, index: u64, mut picture: gst::Buffer) -> Result<Vec<Packet>, ChainError> {
        {
            let meta = picture.make_mut();
            // PTS alone, and relative to the GOP: anything else would tell the encoder where in time it is.
            meta.unset_flags(meta.flags());
            meta.set_pts(self.time_of(index));
            meta.set_dts(gst::ClockTime::NONE);
            meta.set_duration(self.time_of(index + 1) - self.time_of(index));
        }
        self.chain.push(picture)?;
        Ok(self.packets())
    }

    /// No more pictures: out comes the rest.
    pub fn finish(&mut self) -> Vec<Packet> {
        self.chain.drain();
        self.packets()
    }

    fn packets(&mut self) -> Vec<Packet> {
        let rate = self.rate;
        let samples = self.chain.take().into_iter();
        samples
            .filter_map(|sample| {
                let ns = i128::from(sample.pts?.nseconds());
                let index = Round::Nearest.divide(ns * i128::from(rate.num()), 1_000_000_000 * i128::from(rate.den()));
                let key = !sample.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                let data = Bytes::copy_from_slice(&sample.buffer.map_readable().ok()?);
                Some(Packet { index: u64::try_from(index).ok()?, key, data })
            })
            .collect()
    }

    fn time_of(&self, index: u64) -> gst::ClockTime {
        let ns = Round::Nearest
            .divide(i128::from(index) * 1_000_000_000 * i128::from(self.rate.den()), i128::from(self.rate.num()));
        gst::ClockTime::from_nseconds(u64::try_from(ns).unwrap_or(u64::MAX - 1))
    }
}
