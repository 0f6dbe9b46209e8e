//! Small pictures of what goes out, for the operator's page: a JPEG each two seconds, on a thread of its own.
//!
//! In:    the picture of a slot, whatever it shows. Out: [`FromWorker::Thumbnail`].
//! Never: holds up the pictures: while one is in the making, the next is left out. A thumbnail that cannot be made is
//!        missing, and that is all.
//!
//! It costs one scaling and one JPEG each two seconds: 720p to 320×180 takes 1 ms of CPU time, 0.05 % of a core.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use gstreamer as gst;

use super::gst::{Chain, ChainError};
use super::ipc::{FromWorker, Thumbnail};
use super::ladder::{RateControl, VideoRung};
use super::outbox::Outbox;
use super::pulse::Pulse;
use super::scale::{Picture, ScaleError, Scaler, rung_caps};
use crate::media::{FrameRate, Grid, RenditionId, Slot};

/// Width, pixels; the height follows from the ladder's top rung.
const WIDTH: u32 = 320;
/// 90 kHz ticks between thumbnails.
const EVERY: i64 = 2 * 90_000;

/// Why there is no thumbnail.
#[derive(Debug, thiserror::Error)]
enum ThumbnailError {
    #[error(transparent)]
    Scale(#[from] ScaleError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the JPEG cannot be read")]
    Read(#[from] gst::glib::BoolError),
}

/// Where the video thread offers its pictures.
#[derive(Debug)]
pub struct Thumbnails {
    grid: Grid,
    to: SyncSender<(Slot, Picture)>,
}

impl Thumbnails {
    /// For pictures of the shape of `top`; the work is for a thread of its own.
    pub fn new(grid: Grid, top: &VideoRung) -> (Self, Maker) {
        let (to, from) = sync_channel(1);
        let maker = Maker { shape: shape(top), rate: grid.rate(), from, tools: None };
        (Self { grid, to }, maker)
    }

    /// Takes the picture of this slot, if one is due. Which slots are does not depend on when the worker started.
    pub fn offer(&self, slot: Slot, picture: &Picture) {
        let interval = |slot: Slot| self.grid.slot_time(slot).ticks().div_euclid(EVERY);
        if slot.0 > 0 && interval(slot) != interval(Slot(slot.0 - 1)) {
            // Full or gone: this one is left out.
            let _ = self.to.try_send((slot, picture.clone()));
        }
    }
}

/// Makes them.
#[derive(Debug)]
pub struct Maker {
    shape: VideoRung,
    rate: FrameRate,
    from: Receiver<(Slot, Picture)>,
    tools: Option<(Scaler, Chain)>,
}

impl Maker {
    /// Runs until the video thread is gone.
    pub fn run(mut self, outbox: &Outbox) {
        while let Ok((slot, picture)) = self.from.recv() {
            match self.make(&picture) {
                Ok(Some(jpeg)) => drop(outbox.offer(FromWorker::Thumbnail(Thumbnail { slot, jpeg }))),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no thumbnail");
                    self.tools = None;
                }
            }
        }
    }

    fn make(&mut self, picture: &Picture) -> Result<Option<bytes::Bytes>, ThumbnailError> {
        let (scaler, encoder) = match &mut self.tools {
            Some(tools) => tools,
            none => {
                let jpeg = gst::Caps::new_empty_simple("image/jpeg");
                // Its pulse is nobody's: a JPEG that hangs is no reason to end the worker.
                let chain =
                    Chain::build("jpegenc quality=80", &rung_caps(&self.shape, self.rate), &jpeg, &Pulse::new())?;
                none.insert((Scaler::new(&self.shape, self.rate)?, chain))
            }
        };
        let mut scaled = scaler.scale(picture)?;
        scaled.make_mut().set_pts(gst::ClockTime::ZERO);
        encoder.push(scaled)?;
        let Some(sample) = encoder.take().pop() else { return Ok(None) };
        Ok(Some(bytes::Bytes::copy_from_slice(&sample.buffer.map_readable()?)))
    }
}

/// The scaler speaks of rungs; of this one only the size counts.
fn shape(top: &VideoRung) -> VideoRung {
    let width = WIDTH.min(top.width);
    let height = (u64::from(top.height) * u64::from(width) / u64::from(top.width.max(1))) as u32;
    let id = RenditionId::new("thumbnail").expect("a good name");
    VideoRung::new(id, width, (height / 2 * 2).max(2), RateControl::Cbr { bitrate: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::slate;
    use crate::media::SegmentNumber;
    use std::time::{Duration, Instant};

    fn top(width: u32, height: u32) -> VideoRung {
        let id = RenditionId::new("v").expect("a good name");
        VideoRung::new(id, width, height, RateControl::Cbr { bitrate: 0 })
    }

    #[test]
    fn thumbnails_have_the_shape_of_the_top_rung() {
        for (from, want) in [
            ((1280, 720), (320, 180)),
            ((1920, 1080), (320, 180)),
            ((720, 576), (320, 256)),
            ((720, 1280), (320, 568)),
            ((128, 96), (128, 96)),
        ] {
            let got = shape(&top(from.0, from.1));
            assert_eq!((got.width, got.height), want, "{from:?}");
        }
    }

    #[test]
    fn one_is_due_each_two_seconds_wherever_one_begins() {
        gst::init().expect("GStreamer is installed");
        for (num, den) in [(25, 1), (30_000, 1001), (60_000, 1001), (50, 1)] {
            let rate = FrameRate::new(num, den).expect("good");
            let grid = Grid::new(Duration::from_secs(4), rate).expect("good");
            let slate = slate::black(128, 96).expect("drawn");
            let (offers, maker) = Thumbnails::new(grid, &top(128, 96));
            let first = grid.first_slot(SegmentNumber(400_000_000)).0;
            let mut due = Vec::new();
            for slot in first + 7..first + 700 {
                offers.offer(Slot(slot), &slate);
                due.extend(maker.from.try_recv().map(|(slot, _)| slot));
            }
            for slot in &due {
                let into = grid.slot_time(*slot).ticks().rem_euclid(EVERY);
                assert!(into * i64::from(num) < 90_000 * i64::from(den), "{rate}: {into} ticks into its interval");
            }
            let seconds = 693.0 / rate.as_f64();
            assert!((due.len() as f64 - seconds / 2.0).abs() <= 1.0, "{rate}: {} in {seconds} s", due.len());
        }
    }

    #[test]
    fn what_comes_out_is_a_small_jpeg() {
        gst::init().expect("GStreamer is installed");
        let grid = Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("good")).expect("good");
        let (_offers, mut maker) = Thumbnails::new(grid, &top(1280, 720));
        let slate = slate::picture("No signal", 1280, 720).expect("drawn");
        let mut first = None;
        for _ in 0..3 {
            let began = Instant::now();
            let jpeg = maker.make(&slate).expect("made").expect("one for one");
            eprintln!("{} bytes in {:?}", jpeg.len(), began.elapsed());
            assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]), "a whole JPEG");
            assert!((1000..30_000).contains(&jpeg.len()), "{} bytes", jpeg.len());
            assert_eq!(*first.get_or_insert_with(|| jpeg.clone()), jpeg, "the same for the same picture");
        }
    }
}
