//! What is shown when nothing can be received: black, and the slate: an image, a looping clip, or a background of our own,
//! with text.
//!
//! In:    what the job asks for; slots, as the video thread comes to them.
//! Out:   the picture of a slot, at the size of the top rung.
//! Never: holds the video thread up for longer than [`WAIT`] (once [`WAIT_TO_OPEN`]), or leaves it without a picture.
//!
//! Which picture a slot shows follows from the slot and the file alone: a clip of n slots shows its picture `slot mod n`, counted
//! from the epoch. So two pipelines show the same, whenever they started. Clips are decoded on demand, on a thread of their
//! own: a dozen pictures are ready at most, and none is made while the source is there. (Kept raw, ten seconds of 720p25 would
//! take 345 MB in each worker.)
//!
//! A file that cannot be used is told once, and our own background stands in for it.

mod font;
mod reader;
mod text;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::ipc::{self, FromWorker};
use super::ladder::VideoRung;
use super::outbox::Outbox;
use super::scale::{Picture, ScaleError, Scaler, bt709, raw_info};
use crate::media::{FrameRate, Slot};
use reader::{ReadError, Reader};
use text::{Ground, Layer};

/// Serials: of our own slate, of pictures from files, of black; decoded pictures count from 1.
const SERIAL: u64 = 0;
const FILE_SERIAL: u64 = 1 << 63;
const BLACK_SERIAL: u64 = u64::MAX;

/// Limited-range BT.709 Y, Cb, Cr.
type Colour = [u8; 3];
const TOP: Colour = [34, 136, 124];
const BOTTOM: Colour = [20, 133, 126];

/// Pictures of a file that are asked for ahead of the slot at hand.
const AHEAD: u64 = 4;
/// Questions that may wait; beyond, slots are asked for only once they are at hand.
const ASKED_MAX: usize = 2 * AHEAD as usize;
/// Longest wait for the picture of a slot. The first one of a clip has been asked for a second or more before.
const WAIT: Duration = Duration::from_millis(400);
/// Longest wait for the first one of all: the file is opened while the worker starts.
const WAIT_TO_OPEN: Duration = Duration::from_secs(3);

/// Black at this size. Sides are even.
pub fn black(width: u32, height: u32) -> Result<Picture, ScaleError> {
    let paint = |frame: &mut Frame<'_>| fill(frame, |_| [16, 128, 128]);
    paint_new(BLACK_SERIAL, width, height, paint)
}

/// Our own slate with this text at this size. Sides are even.
pub fn picture(text: &str, width: u32, height: u32) -> Result<Picture, ScaleError> {
    let layer = Layer::new(text, Ground::Plain, width as usize, height as usize);
    let mix =
        |from: u8, to: u8, share: f32| (f32::from(from) + (f32::from(to) - f32::from(from)) * share).round() as u8;
    let row = |y: f32| -> Colour { std::array::from_fn(|i| mix(TOP[i], BOTTOM[i], y)) };
    paint_new(SERIAL, width, height, |frame| {
        fill(frame, row)?;
        layer.apply(frame)
    })
}

type Frame<'b> = gst_video::VideoFrameRef<&'b mut gst::BufferRef>;

fn paint_new(
    serial: u64,
    width: u32,
    height: u32,
    paint: impl FnOnce(&mut Frame<'_>) -> Result<(), gst::glib::BoolError>,
) -> Result<Picture, ScaleError> {
    let make = || {
        let info = raw_info(gst_video::VideoFormat::I420, width, height, gst::Fraction::new(1, 1), &bt709())?;
        let mut buffer = gst::Buffer::with_size(info.size())?;
        let target = buffer.get_mut().expect("just made");
        paint(&mut gst_video::VideoFrameRef::from_buffer_ref_writable(target, &info)?)?;
        Ok(Picture::new(serial, buffer, info))
    };
    make().map_err(|source| ScaleError::new(width, height, source))
}

/// Each row in a colour that depends on how far down it is, 0 to 1.
fn fill(frame: &mut Frame<'_>, colour: impl Fn(f32) -> Colour) -> Result<(), gst::glib::BoolError> {
    for plane in 0..3u32 {
        let index = plane as usize;
        let stride = frame.plane_stride()[index].unsigned_abs() as usize;
        let data = frame.plane_data_mut(plane).map_err(|_| gst::glib::bool_error!("no plane"))?;
        let rows = data.len().div_ceil(stride.max(1)) as f32;
        for (y, line) in data.chunks_mut(stride).enumerate() {
            line.fill(colour(y as f32 / rows)[index]);
        }
    }
    Ok(())
}

/// The slate of a worker.
#[derive(Debug)]
pub struct Slate {
    own: Picture,
    file: Option<File>,
}

/// The video thread's end of the thread that reads the file.
#[derive(Debug)]
struct File {
    orders: Sender<Slot>,
    answers: Receiver<(Slot, Picture)>,
    /// Slots asked for that were not answered yet.
    asked: Vec<Slot>,
    /// Answers that were not needed yet.
    ready: Vec<(Slot, Picture)>,
    /// It answered once.
    is_open: bool,
    /// It did not answer in time: it is not waited for until it does.
    is_late: bool,
}

impl Slate {
    /// For the size of `top`. The file, if there is one, is read by the work returned, which is for a thread of its own.
    pub fn new(wanted: &ipc::Slate, top: &VideoRung, rate: FrameRate) -> Result<(Self, Option<Work>), ScaleError> {
        let own = picture(&wanted.text, top.width, top.height)?;
        let Some(path) = &wanted.picture else { return Ok((Self { own, file: None }, None)) };
        let (orders, ordered) = channel();
        let (answer, answers) = channel();
        let layer = Layer::new(&wanted.text, Ground::Picture, top.width as usize, top.height as usize);
        let scaler = Scaler::new(top, rate)?;
        let work =
            Work { path: path.clone(), rate, scaler, layer, top: own.info.clone(), ordered, answer, still: None };
        let file = File { orders, answers, asked: Vec::new(), ready: Vec::new(), is_open: false, is_late: false };
        Ok((Self { own, file: Some(file) }, Some(work)))
    }

    /// The slate will be needed from this slot on, as it looks now.
    pub fn prepare(&mut self, slot: Slot) {
        if let Some(file) = &mut self.file {
            file.ask(slot);
        }
    }

    /// The slate of this slot.
    pub fn picture(&mut self, slot: Slot) -> Picture {
        let answer = self.file.as_mut().map(|file| file.take(slot));
        match answer {
            Some(Ok(picture)) => return picture,
            Some(Err(RecvTimeoutError::Disconnected)) => self.file = None,
            Some(Err(RecvTimeoutError::Timeout)) | None => {}
        }
        self.own.clone()
    }
}

impl File {
    /// Sees to it that this slot and those behind it are asked for, and lets go of what is older.
    fn ask(&mut self, slot: Slot) {
        let wanted = slot.0..=slot.0 + AHEAD;
        self.ready.retain(|(of, _)| wanted.contains(&of.0));
        while let Ok((of, picture)) = self.answers.try_recv() {
            self.asked.retain(|asked| *asked != of);
            if wanted.contains(&of.0) {
                self.ready.push((of, picture));
            }
        }
        for slot in wanted.map(Slot) {
            let is_there = self.asked.contains(&slot) || self.ready.iter().any(|(of, _)| *of == slot);
            if !is_there && self.asked.len() < ASKED_MAX {
                // A reader that is gone is found out by waiting for it.
                let _ = self.orders.send(slot);
                self.asked.push(slot);
            }
        }
    }

    fn take(&mut self, slot: Slot) -> Result<Picture, RecvTimeoutError> {
        self.ask(slot);
        loop {
            if let Some(at) = self.ready.iter().position(|(of, _)| *of == slot) {
                return Ok(self.ready.swap_remove(at).1);
            }
            let wait = match (self.is_late, self.is_open) {
                (true, _) => Duration::ZERO,
                (false, true) => WAIT,
                (false, false) => WAIT_TO_OPEN,
            };
            let answer = self.answers.recv_timeout(wait);
            self.is_open |= answer.is_ok();
            self.is_late = matches!(answer, Err(RecvTimeoutError::Timeout));
            let (of, picture) = answer?;
            self.asked.retain(|asked| *asked != of);
            if of.0 >= slot.0 {
                self.ready.push((of, picture));
            }
        }
    }
}

/// Reads the file. Answers that wait are at most [`ASKED_MAX`], as nobody asks for more.
#[derive(Debug)]
pub struct Work {
    path: PathBuf,
    rate: FrameRate,
    scaler: Scaler,
    layer: Layer,
    top: gst_video::VideoInfo,
    ordered: Receiver<Slot>,
    answer: Sender<(Slot, Picture)>,
    /// Of a file that does not move.
    still: Option<Picture>,
}

impl Work {
    /// Runs until the video thread is gone, or the file turns out to be of no use.
    pub fn run(mut self, outbox: &Outbox) {
        if let Err(error) = self.serve() {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = format!("the slate `{name}` cannot be shown, our own stands in for it: {error}");
            outbox.send(FromWorker::SlateFailed(text.chars().take(400).collect()));
        }
    }

    fn serve(&mut self) -> Result<(), SlateError> {
        // Once at the start, so that a file of no use is told before it is needed.
        let mut reader = Reader::open(&self.path, self.rate)?;
        let slots = if is_image(&self.path) { 1 } else { reader.slots() };
        tracing::info!(file = %self.path.display(), slots, "slate");
        let first = self.finish(reader.picture(0, FILE_SERIAL)?)?;
        if slots == 1 {
            self.still = Some(first);
            drop(reader);
            while let Ok(slot) = self.ordered.recv() {
                let still = self.still.clone().expect("set above");
                if self.answer.send((slot, still)).is_err() {
                    break;
                }
            }
            return Ok(());
        }
        while let Ok(slot) = self.ordered.recv() {
            let picture = reader.picture(slot.0 % slots, FILE_SERIAL | slot.0)?;
            let picture = self.finish(picture)?;
            if self.answer.send((slot, picture)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// In the shape of the top rung, with the text on it.
    fn finish(&mut self, picture: Picture) -> Result<Picture, SlateError> {
        let serial = picture.serial;
        let scaled = self.scaler.scale(&picture)?;
        // Its pixels are shared with the scaler's cache, or even with the decoder.
        let wrong = |source| ScaleError::new(self.top.width(), self.top.height(), source);
        let mut buffer = scaled.copy_deep().map_err(wrong)?;
        {
            let target = buffer.get_mut().expect("just copied");
            let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(target, &self.top).map_err(wrong)?;
            self.layer.apply(&mut frame).map_err(wrong)?;
        }
        Ok(Picture::new(serial, buffer, self.top.clone()))
    }
}

/// Why the file is not shown.
#[derive(Debug, thiserror::Error)]
enum SlateError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Scale(#[from] ScaleError),
}

/// What begins like a PNG or a JPEG does not move.
fn is_image(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 3];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && (head == *b"\x89PN" || head == [0xff, 0xd8, 0xff])
}
