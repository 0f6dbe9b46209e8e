//! One encoding of the signal: x264 and AAC into MPEG-TS, by GStreamer.
//!
//! In:    painted pictures by index; the sound is computed here.
//! Out:   datagrams of seven TS packets to each destination.
//! Never: invents a time: every PTS is counted from the epoch, so two processes write the same one.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::destination::Destination;
use super::options::{Plan, Variant};
use super::restamp::Restamp;
use super::{SignalError, index_at, ticks_of, tone};
use crate::media::FrameRate;

/// voaacenc's packet *p* decodes to the samples from 1024·*p* − 1600 on (measured by correlation): the sound is fed that
/// much ahead of its label.
const AAC_DELAY: u64 = 1_600;
const AAC_FRAME: u64 = 1_024;
/// mpegtsmux (tsmux.c, CLOCK_BASE) adds an hour to each PTS and DTS; we take it off beforehand.
const MUX_BASE_NS: u64 = 3_600_000_000_000;

/// Caps of frames of two fields.
const INTERLACED: &str = "interlace-mode=interleaved,field-order=top-field-first";

/// A running encoding.
#[derive(Debug)]
pub struct Chain {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
    audio: gst_app::AppSrc,
    encoder: gst::Element,
    out: gst_app::AppSink,
    destinations: Vec<Destination>,
    rate: FrameRate,
    gop: u64,
    /// The next sample of the sound to feed, since the epoch.
    next_sample: u64,
    restamp: Restamp,
    /// The first picture's time, ticks.
    began: i64,
    frame_bytes: usize,
}

impl Chain {
    /// Builds the encoder for pictures from `first` on and opens its destinations.
    pub fn start(variant: &Variant, plan: &Plan, first: u64) -> Result<Self, SignalError> {
        // Looking ahead is waiting, as B frames are.
        let (tune, lookahead) = if variant.bframes == 0 { ("zerolatency", 0) } else { ("0", 10) };
        // A key frame stands where we ask for one and nowhere else. One thread: the least CPU for what it makes.
        let launch = format!(
            "appsrc name=video format=time block=true max-buffers=4 max-bytes=0 \
             caps=video/x-raw,format=I420,width={},height={},framerate={}/{},pixel-aspect-ratio=1/1,\
colorimetry=bt709,chroma-site=mpeg2,{} \
             ! x264enc name=encoder interlaced={} threads=1 speed-preset={} tune={tune} bframes={} bitrate={} vbv-buf-capacity=1000 \
             key-int-max=1200 sync-lookahead=0 rc-lookahead={lookahead} option-string=scenecut=0:open-gop=0 \
             ! video/x-h264,stream-format=byte-stream,alignment=au ! mux. \
             appsrc name=audio format=time block=true max-time=4000000000 max-bytes=0 \
             caps=audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2,channel-mask=(bitmask)3 \
             ! voaacenc bitrate={} ! audio/mpeg,stream-format=adts ! aacparse name=aac ! mux. \
             mpegtsmux name=mux alignment=7 ! appsink name=out sync=false async=false max-buffers=4096",
            plan.width,
            plan.height,
            plan.rate.num(),
            plan.rate.den(),
            if plan.interlaced { INTERLACED } else { "interlace-mode=progressive" },
            plan.interlaced,
            variant.preset,
            variant.bframes,
            variant.bitrate_kbps,
            variant.audio_bps,
        );
        let failed = |e: gst::glib::Error| SignalError::Encoder(e.to_string());
        let pipeline = gst::parse::launch(&launch)
            .map_err(failed)?
            .downcast::<gst::Pipeline>()
            .map_err(|_| SignalError::Encoder("not a pipeline".into()))?;
        let part = |name: &str| {
            pipeline.by_name(name).ok_or_else(|| SignalError::Encoder(format!("no element {name} in the pipeline")))
        };
        let wrong = |_: gst::Element| SignalError::Encoder("an element of the wrong type".into());
        let video = part("video")?.downcast::<gst_app::AppSrc>().map_err(wrong)?;
        let audio = part("audio")?.downcast::<gst_app::AppSrc>().map_err(wrong)?;
        let out = part("out")?.downcast::<gst_app::AppSink>().map_err(wrong)?;
        round_to_ticks(&part("aac")?);
        let destinations = variant.to.iter().map(Destination::open).collect::<Result<_, _>>()?;

        // The sound's labels stand on the grid of 1,024 samples since the epoch, whoever starts when.
        let from = u128::from(ticks_of(first, plan.rate)) * 48_000 / 90_000;
        let first_label = (from as u64).div_ceil(AAC_FRAME) * AAC_FRAME;
        let mut chain = Self {
            encoder: part("encoder")?,
            pipeline,
            video,
            audio,
            out,
            destinations,
            rate: plan.rate,
            gop: u64::from(variant.gop) * 90_000,
            next_sample: first_label + AAC_DELAY,
            restamp: plan.restamp.clone(),
            began: ticks_of(first, plan.rate).cast_signed(),
            frame_bytes: plan.width * plan.height * 3 / 2,
        };
        chain.pipeline.set_state(gst::State::Playing).map_err(|e| SignalError::Encoder(e.to_string()))?;
        chain.feed_sound(first)?;
        Ok(chain)
    }

    /// Encodes one picture and the sound up to it, and sends what is ready.
    pub fn push(&mut self, index: u64, picture: &[u8]) -> Result<(), SignalError> {
        debug_assert_eq!(picture.len(), self.frame_bytes, "an I420 picture of the planned size");
        let ticks = ticks_of(index, self.rate);
        let pts = ns_of(ticks);
        if index == index_at(ticks / self.gop * self.gop, self.rate) {
            // Carries the time of the picture it is for, so it need not arrive together with it.
            let event = gst_video::UpstreamForceKeyUnitEvent::builder().running_time(pts).all_headers(true).build();
            self.encoder.send_event(event);
        }
        let mut buffer = gst::Buffer::from_slice(picture.to_vec());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_duration(ns_of(ticks_of(index + 1, self.rate)) - pts);
        }
        // Sound first: the multiplexer waits for it, and pictures would wait for the multiplexer.
        self.feed_sound(index)?;
        self.video.push_buffer(buffer).map_err(|e| self.why(&e.to_string()))?;
        self.send_ready()
    }

    /// Encodes what is left, sends it and closes the destinations.
    pub fn finish(mut self) -> Result<(), SignalError> {
        for source in [&self.video, &self.audio] {
            source.end_of_stream().map_err(|e| self.why(&e.to_string()))?;
        }
        while let Ok(sample) = self.out.pull_sample() {
            self.send(&sample)?;
        }
        _ = self.pipeline.set_state(gst::State::Null);
        self.destinations.iter_mut().try_for_each(Destination::close)
    }

    /// Pushes the sound of picture `index`, and a little ahead: the encoder wants 1,600 samples before it answers.
    fn feed_sound(&mut self, index: u64) -> Result<(), SignalError> {
        let until = u128::from(ticks_of(index + 1, self.rate)) * 48_000 / 90_000;
        let until = until as u64 + AAC_DELAY + 2 * AAC_FRAME;
        while self.next_sample < until {
            let samples = self.next_sample..self.next_sample + AAC_FRAME;
            let mut data = Vec::with_capacity(AAC_FRAME as usize * 4);
            for n in samples.clone() {
                let value = ((tone::sample(n) * 32_767.0).round() as i16).to_le_bytes();
                data.extend(value);
                data.extend(value);
            }
            let time = |n: u64| ns_of(((u128::from(n - AAC_DELAY) * 90_000).div_ceil(48_000)) as u64);
            let mut buffer = gst::Buffer::from_slice(data);
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_pts(time(samples.start));
                buffer.set_duration(time(samples.end) - time(samples.start));
            }
            self.audio.push_buffer(buffer).map_err(|e| self.why(&e.to_string()))?;
            self.next_sample = samples.end;
        }
        Ok(())
    }

    fn send_ready(&mut self) -> Result<(), SignalError> {
        while let Some(sample) = self.out.try_pull_sample(gst::ClockTime::ZERO) {
            self.send(&sample)?;
        }
        Ok(())
    }

    fn send(&mut self, sample: &gst::Sample) -> Result<(), SignalError> {
        let Some(map) = sample.buffer().and_then(|b| b.map_readable().ok()) else { return Ok(()) };
        let datagram = if self.restamp.is_idle() {
            Bytes::copy_from_slice(&map)
        } else {
            let mut packets = map.to_vec();
            self.restamp.apply(&mut packets, self.began);
            packets.into()
        };
        self.destinations.iter_mut().try_for_each(|d| d.send(&datagram))
    }

    fn why(&self, otherwise: &str) -> SignalError {
        let error = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match error.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => SignalError::Encoder(e.error().to_string()),
            _ => SignalError::Encoder(otherwise.to_owned()),
        }
    }
}

/// Ticks since the epoch as the time GStreamer shall carry. Rounded up, because mpegtsmux rounds down.
fn ns_of(ticks: u64) -> gst::ClockTime {
    let ns = (u128::from(ticks) * 100_000).div_ceil(9) as u64;
    gst::ClockTime::from_nseconds(ns.saturating_sub(MUX_BASE_NS))
}

/// The encoder's base class adds up frame lengths in truncated nanoseconds; a PTS so made falls one tick short now and
/// then, depending on where the process began. Each is put back onto the tick it means.
fn round_to_ticks(element: &gst::Element) {
    let Some(pad) = element.static_pad("src") else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut()
            && let Some(pts) = buffer.pts()
        {
            let whole = pts.nseconds() + MUX_BASE_NS;
            let ticks = (u128::from(whole) * 9 + 50_000) / 100_000;
            let buffer = buffer.make_mut();
            buffer.set_pts(ns_of(ticks as u64));
            buffer.set_dts(ns_of(ticks as u64));
        }
        gst::PadProbeReturn::Ok
    });
}
