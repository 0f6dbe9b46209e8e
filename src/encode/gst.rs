//! GStreamer's door: nanoseconds, and chains of elements that are called like functions.
//!
//! A [`Chain`] is a bin between two pads of our own, outside of any pipeline: what is pushed in comes out within the
//! same call, on the caller's thread. So there are no streaming threads to wait for, no queue without a bound, and a decoder that
//! hangs is seen as a caller that hangs. Measured (docs/encode.md): bytes are those of a pipeline with
//! `appsrc` and `appsink`, at a little less CPU.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::pulse::Pulse;
use crate::media::{ChannelTime, Round};

/// Why a chain cannot be built or goes no further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The description is no chain of elements that exist here.
    #[error("GStreamer chain `{description}`")]
    Description {
        /// What was asked for.
        description: String,
        /// GStreamer's words.
        source: gst::glib::Error,
    },
    /// The chain does not begin with one free sink pad and end with one free source pad.
    #[error("GStreamer chain `{0}` needs one open end on each side")]
    Ends(String),
    /// It would not start.
    #[error("GStreamer chain `{0}` does not start")]
    Start(String),
    /// It refused data.
    #[error("GStreamer chain `{description}`: {flow}")]
    Flow {
        /// Which.
        description: String,
        /// GStreamer's word for it.
        flow: gst::FlowError,
    },
}

/// Channel time ↔ nanoseconds from a fixed point. Exact in both directions: a tick is 11,111.1 ns.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    zero: ChannelTime,
}

impl Door {
    /// Nanoseconds are counted from `zero`.
    pub const fn new(zero: ChannelTime) -> Self {
        Self { zero }
    }

    /// `None` for times before zero, which GStreamer cannot express.
    pub fn inward(self, at: ChannelTime) -> Option<gst::ClockTime> {
        let ns = Round::Nearest.divide(i128::from(at - self.zero) * 100_000, 9);
        u64::try_from(ns).ok().map(gst::ClockTime::from_nseconds)
    }

    /// The channel time a nanosecond time stands for.
    pub fn outward(self, at: gst::ClockTime) -> ChannelTime {
        let ticks = Round::Nearest.divide(i128::from(at.nseconds()) * 9, 100_000);
        self.zero.offset(i64::try_from(ticks).unwrap_or(i64::MAX))
    }
}

/// One buffer that came out of a chain.
#[derive(Debug)]
pub struct Sample {
    /// The data; its PTS is as the chain wrote it.
    pub buffer: gst::Buffer,
    /// Its PTS as running time, that is without the offset an encoder puts on (x264enc: 1,000 h).
    pub pts: Option<gst::ClockTime>,
    /// What it is.
    pub caps: Option<gst::Caps>,
}

#[derive(Debug, Default)]
struct Collected {
    samples: Vec<Sample>,
    caps: Option<gst::Caps>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
}

/// Elements between two pads of our own; see the module.
#[derive(Debug)]
pub struct Chain {
    description: String,
    bin: gst::Bin,
    entry: gst::Pad,
    /// Held so that the pad lives as long as the bin.
    _exit: gst::Pad,
    collected: Arc<Mutex<Collected>>,
}

impl Chain {
    /// Builds and starts a chain of `gst-launch` syntax. It takes `from` and must deliver `to`. `pulse` is touched for each buffer
    /// that comes out.
    pub fn build(description: &str, from: &gst::Caps, to: &gst::Caps, pulse: &Pulse) -> Result<Self, ChainError> {
        let ends = || ChainError::Ends(description.to_owned());
        let start = || ChainError::Start(description.to_owned());
        let bin = gst::parse::bin_from_description(description, true)
            .map_err(|source| ChainError::Description { description: description.to_owned(), source })?;
        let (Some(sink), Some(src)) = (bin.static_pad("sink"), bin.static_pad("src")) else { return Err(ends()) };
        let collected = Arc::new(Mutex::new(Collected::default()));
        let entry = entry_pad(from).ok_or_else(start)?;
        let exit = exit_pad(to, &collected, pulse).ok_or_else(start)?;
        entry.link(&sink).map_err(|_| ends())?;
        src.link(&exit).map_err(|_| ends())?;
        let chain = Self { description: description.to_owned(), bin, entry, _exit: exit, collected };
        chain._exit.set_active(true).map_err(|_| start())?;
        chain.bin.set_state(gst::State::Playing).map_err(|_| start())?;
        chain.entry.set_active(true).map_err(|_| start())?;
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        for event in
            [gst::event::StreamStart::new("tandem"), gst::event::Caps::new(from), gst::event::Segment::new(&segment)]
        {
            if !chain.entry.push_event(event) {
                return Err(start());
            }
        }
        Ok(chain)
    }

    /// Puts a buffer in; what comes out is fetched with [`Self::take`].
    pub fn push(&mut self, buffer: gst::Buffer) -> Result<(), ChainError> {
        match self.entry.push(buffer) {
            Ok(_) => Ok(()),
            Err(flow) => Err(ChainError::Flow { description: self.description.clone(), flow }),
        }
    }

    /// No more input; everything still inside comes out.
    pub fn drain(&mut self) {
        self.entry.push_event(gst::event::Eos::new());
    }

    /// What has come out since the last call.
    pub fn take(&mut self) -> Vec<Sample> {
        std::mem::take(&mut lock(&self.collected).samples)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // Nothing is left to be done about an element that refuses to stop.
        let _ = self.bin.set_state(gst::State::Null);
        let _ = self.entry.set_active(false);
        let _ = self._exit.set_active(false);
    }
}

fn lock(collected: &Mutex<Collected>) -> MutexGuard<'_, Collected> {
    collected.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entry_pad(caps: &gst::Caps) -> Option<gst::Pad> {
    let template = gst::PadTemplate::new("src", gst::PadDirection::Src, gst::PadPresence::Always, caps).ok()?;
    Some(gst::Pad::builder_from_template(&template).build())
}

fn exit_pad(caps: &gst::Caps, collected: &Arc<Mutex<Collected>>, pulse: &Pulse) -> Option<gst::Pad> {
    let template = gst::PadTemplate::new("sink", gst::PadDirection::Sink, gst::PadPresence::Always, caps).ok()?;
    let (buffers, events, pulse) = (Arc::clone(collected), Arc::clone(collected), pulse.clone());
    let pad = gst::Pad::builder_from_template(&template)
        .chain_function(move |_, _, buffer| {
            pulse.busy();
            let mut collected = lock(&buffers);
            let pts = match &collected.segment {
                Some(segment) => buffer.pts().and_then(|pts| segment.to_running_time(pts)),
                None => buffer.pts(),
            };
            let caps = collected.caps.clone();
            collected.samples.push(Sample { buffer, pts, caps });
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| {
            let mut collected = lock(&events);
            match event.view() {
                gst::EventView::Caps(e) => collected.caps = Some(e.caps_owned()),
                gst::EventView::Segment(e) => {
                    collected.segment = e.segment().downcast_ref::<gst::ClockTime>().cloned();
                }
                _ => {}
            }
            true
        })
        .query_function(|pad, parent, query| match query.view_mut() {
            // Decoders then hand out pictures with padded strides instead of copying them.
            gst::QueryViewMut::Allocation(q) => {
                q.add_allocation_meta::<gst_video::VideoMeta>(None);
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        })
        .build();
    Some(pad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tick_survives_the_door(ticks in 0i64..90_000 * 86_400 * 400) {
            let door = Door::new(ChannelTime::from_ticks(123));
            let at = ChannelTime::from_ticks(123 + ticks);
            prop_assert_eq!(door.inward(at).map(|ns| door.outward(ns)), Some(at));
        }
    }

    #[test]
    fn a_chain_is_a_function() {
        gst::init().expect("GStreamer is installed");
        let caps = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", 48_000)
            .field("channels", 1)
            .build();
        let mut chain = Chain::build("audioconvert ! volume volume=0.5", &caps, &caps, &Pulse::new()).expect("builds");
        let samples: Vec<u8> = [1000i16, -1000].iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_mut_slice(samples);
        buffer.get_mut().expect("just made").set_pts(gst::ClockTime::ZERO);
        chain.push(buffer).expect("flows");
        let out = chain.take();
        assert_eq!(out.len(), 1);
        let map = out[0].buffer.map_readable().expect("maps");
        assert_eq!(map.as_slice(), [500i16, -500].map(i16::to_le_bytes).concat());
    }

    #[test]
    fn a_chain_that_cannot_be_is_an_error() {
        gst::init().expect("GStreamer is installed");
        let any = gst::Caps::new_any();
        for (name, description) in
            [("no such element", "nosuchelement"), ("a source", "fakesrc"), ("not a chain", "identity !")]
        {
            assert!(Chain::build(description, &any, &any, &Pulse::new()).is_err(), "{name}");
        }
    }
}
