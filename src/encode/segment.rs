//! One segment of one video rung: a fresh x264 chain that sees this segment's pictures and nothing else, so that its bytes are a pure function
//! of them and the rung.

use bytes::Bytes;
use gstreamer as gst;

use super::gst::{Chain, ChainError};
use super::ladder::VideoRung;
use super::pulse::Pulse;
use super::scale::rung_caps;
use super::template::{Simd, Template};
use crate::media::{FrameRate, Round};

/// Everything a segment's chain is built from.
#[derive(Clone, Debug)]
pub struct Recipe {
    description: String,
    from: gst::Caps,
    to: gst::Caps,
    rate: FrameRate,
    pulse: Pulse,
}

/// One coded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Presentation place inside the segment, in slots.
    pub index: u64,
    /// An IDR picture.
    pub key: bool,
    /// The access unit, Annex B.
    pub data: Bytes,
}

impl Recipe {
    /// For this rung on this host.
    pub fn new(template: &Template, rung: &VideoRung, rate: FrameRate, pulse: Pulse) -> Self {
        let profiles: Vec<&str> = match rung.profile.as_str() {
            "baseline" => vec!["constrained-baseline", "baseline"],
            other => vec![other],
        };
        let to = gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .field("profile", gst::List::new(profiles))
            .build();
        Self { description: template.video_encoder(rung, Simd::detect()), from: rung_caps(rung, rate), to, rate, pulse }
    }

    /// A chain for one segment, x264 opened and waiting.
    pub fn build(&self) -> Result<SegmentEncoder, ChainError> {
        let chain = Chain::build(&self.description, &self.from, &self.to, &self.pulse)?;
        Ok(SegmentEncoder { chain, rate: self.rate })
    }
}

/// One segment of one rung in the making.
#[derive(Debug)]
pub struct SegmentEncoder {
    chain: Chain,
    rate: FrameRate,
}

impl SegmentEncoder {
    /// The picture for slot `index` of the segment, in order; out come coded pictures in decode order. `picture`'s metadata is overwritten.
    pub fn push(&mut self, index: u64, mut picture: gst::Buffer) -> Result<Vec<Packet>, ChainError> {
        {
            let meta = picture.make_mut();
            // PTS alone, and relative to the segment: anything else would tell the encoder where in time it is.
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
