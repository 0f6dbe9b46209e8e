//! The encode process itself: reads the socket that is its stdin, starts the threads, writes to the same socket.
//!
//! It ends with the main process (end of file on stdin), on [`ToWorker::Finish`], or with an error; there is nothing to save.

use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::audio::{Audio, AudioError, Heard, Shared};
use super::decode::VideoDecoder;
use super::gops::Site;
use super::host;
use super::ipc::{FromWorker, HEARTBEAT_EVERY, Heartbeat, Job, Orders, RenditionIndex, ToWorker};
use super::outbox::{self, Outbox};
use super::pulse::Pulse;
use super::registry::{self, Element, Missing};
use super::rung::{QUEUE, Rung};
use super::rung_error::RungError;
use super::scale::ScaleError;
use super::segment::Recipe;
use super::slate::{self, Slate};
use super::slots::Slots;
use super::standby::{Held, HeldFigures};
use super::template::{BUILT_IN, Template, TemplateError};
use super::thumbnail::Thumbnails;
use super::video::{self, Video, VideoFigures};
use crate::child::frame::{FrameError, read_message};
use crate::clock;
use crate::media::{ChannelTime, Grid, Item, Slot, TrackKind};

/// Items that wait for one media thread; the reader blocks when they are more, and with it the socket.
const ITEMS_MAX: usize = 64;
/// Orders that wait for the video thread, which looks after each item; the reader blocks when they are more.
const ORDERS_MAX: usize = 16;
/// GStreamer's zero of video lies so far before the job's start: join buffers reach back seconds.
const HEADROOM: Duration = Duration::from_secs(3600);

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// GStreamer is not there or does not start.
    #[error("GStreamer does not start")]
    GStreamer(#[source] gstreamer::glib::Error),
    /// Standard input is no socket, or a thread could not be started.
    #[error("the worker's own means")]
    Io(#[from] io::Error),
    /// The main process wrote what is no message.
    #[error("reading from the main process")]
    Read(#[source] FrameError),
    /// The first message was no job.
    #[error("the first message must be a job")]
    NoJob,
    /// The job cannot be done.
    #[error("job: {0}")]
    Job(&'static str),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The slate.
    #[error("the slate")]
    Slate(#[from] ScaleError),
    /// An encoder that is not here.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A video rung.
    #[error("video")]
    Rung(#[from] RungError),
    /// An audio rung.
    #[error("audio")]
    Audio(#[from] AudioError),
    /// A thread panicked: our bug.
    #[error("thread `{0}` panicked")]
    Panic(String),
}

/// Runs an encode process until its main process is gone or says `Finish`.
pub fn run() -> Result<(), WorkerError> {
    gstreamer::init().map_err(WorkerError::GStreamer)?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut input = BufReader::with_capacity(1 << 16, socket.try_clone()?);
    let (outbox, to_write) = Outbox::new();
    let crew = Crew { socket: socket.try_clone()?, failure: Arc::default() };
    let writer_socket = socket.try_clone()?;
    let writer = crew.start("writer", move || {
        outbox::write_all(&to_write, &writer_socket);
        Ok(())
    })?;
    let job = match read_message(&mut input).map_err(WorkerError::Read)? {
        Some(ToWorker::Job(job)) => *job,
        None => return Ok(()),
        Some(_) => return Err(WorkerError::NoJob),
    };
    let template = Template::parse(job.template.as_deref().unwrap_or(BUILT_IN))?;
    let elements: Vec<Element> =
        job.video.iter().map(|rung| registry::choose(rung.encoder, registry::works_here)).collect::<Result<_, _>>()?;
    // A main process that never reads `Hello` still is served; one that sent no job is not.
    outbox.send(FromWorker::Hello(host::hello(&job, &template, &elements)));
    let media = Media::start(&job, &template, &elements, &crew, &outbox)?;
    // The writer ends when nobody is left who could put something in.
    drop(outbox);
    let finished = media.feed(&mut input);
    if let Some(failure) = crew.failure() {
        return Err(failure);
    }
    if finished? {
        media.finish();
        // Everything is in the outbox, and all its senders are gone.
        let _ = writer.join();
    }
    crew.failure().map_or(Ok(()), Err)
}

/// Starts threads, and remembers why the first one failed.
#[derive(Debug)]
struct Crew {
    socket: UnixStream,
    failure: Arc<Mutex<Option<WorkerError>>>,
}

impl Crew {
    fn start(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<(), WorkerError> + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let (failure, socket) = (Arc::clone(&self.failure), self.socket.try_clone()?);
        let title = name.to_owned();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // A worker with a dead thread is of no use: the reader is woken and the process ends.
            let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(WorkerError::Panic(title)));
            if let Err(error) = outcome {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                let _ = socket.shutdown(Shutdown::Both);
            }
        })
    }

    fn failure(&self) -> Option<WorkerError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The media threads, and the queues into them.
struct Media {
    /// None where it is sound alone.
    video: Option<SyncSender<Item<ChannelTime>>>,
    audio: Vec<SyncSender<Heard>>,
    orders: SyncSender<Orders>,
    threads: Vec<JoinHandle<()>>,
    heart_stops: Arc<AtomicBool>,
    held_up: Arc<AtomicBool>,
}

impl Media {
    fn start(
        job: &Job,
        template: &Template,
        elements: &[Element],
        crew: &Crew,
        outbox: &Outbox,
    ) -> Result<Self, WorkerError> {
        let renditions = job.video.len() + job.audio.len();
        if renditions == 0 || renditions > usize::from(u8::MAX) {
            return Err(WorkerError::Job("1 to 255 renditions are possible"));
        }
        let now = clock::now();
        let held_up = Arc::new(AtomicBool::new(false));
        let figures = Arc::new(VideoFigures::default());
        let (audio_errors, late_plans) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut threads = Vec::new();
        let mut pulses = Vec::new();
        let mut pulse = || {
            let pulse = Pulse::new();
            pulses.push(pulse.clone());
            pulse
        };
        let mut rungs = Vec::new();
        let mut newest = Vec::new();
        for (index, (rung, element)) in job.video.iter().zip(elements).enumerate() {
            let (to, from) = sync_channel(QUEUE);
            let finished = Arc::new(AtomicU64::new(0));
            let site = Site {
                grid: job.grid,
                gops: rung.gops,
                rendition: RenditionIndex(index as u8),
                recipe: Recipe::new(template, *element, rung, job.grid)?,
                outbox: outbox.clone(),
                newest: Arc::clone(&finished),
            };
            let work = Rung::new(&job.video, rung, site, &mut pulse)?;
            threads.push(crew.start(rung.id.as_str(), move || Ok(work.run(&from)?))?);
            rungs.push(to);
            newest.push(finished);
        }
        let mut audio = Vec::new();
        for (index, rung) in job.audio.iter().enumerate() {
            let (to, from) = sync_channel(ITEMS_MAX);
            let shared = Shared {
                outbox: outbox.clone(),
                pulse: pulse(),
                errors: Arc::clone(&audio_errors),
                late_plans: Arc::clone(&late_plans),
                held_up: Arc::clone(&held_up),
            };
            let rendition = RenditionIndex((job.video.len() + index) as u8);
            let work = Audio::new(job, rung, template, rendition, shared);
            threads.push(crew.start(rung.id.as_str(), move || Ok(work.run(&from)?))?);
            audio.push(to);
        }
        let mut pictures = None;
        let (orders, from_main) = sync_channel(ORDERS_MAX);
        let held = Arc::new(HeldFigures::default());
        if let Some(top) = job.video.first() {
            let (to, items) = sync_channel(ITEMS_MAX);
            let video_pulse = pulse();
            let (thumbnails, maker) = Thumbnails::new(job.grid, top);
            let (slate, slate_work) = Slate::new(&job.loss.slate, top, job.grid.rate())?;
            if let Some(work) = slate_work {
                let outbox = outbox.clone();
                threads.push(crew.start("slate", move || {
                    work.run(&outbox);
                    Ok(())
                })?);
            }
            let small = outbox.clone();
            threads.push(crew.start("thumbnails", move || {
                maker.run(&small);
                Ok(())
            })?);
            let work = Video {
                grid: job.grid,
                slots: Slots::new(job.grid, job.start, job.hold, &job.loss, now),
                decoder: VideoDecoder::new(
                    template.clone(),
                    job.deinterlace,
                    job.grid.rate(),
                    job.grid.segment_start(job.start) - HEADROOM,
                    video_pulse.clone(),
                ),
                black: slate::black(top.width, top.height)?,
                slate,
                thumbnails,
                rungs: Held::new(job, rungs, Arc::clone(&held), video_pulse.clone()),
                orders: from_main,
                figures: Arc::clone(&figures),
                pulse: video_pulse,
                held_up: Arc::clone(&held_up),
            };
            threads.push(crew.start(video::THREAD, move || {
                work.run(&items);
                Ok(())
            })?);
            pictures = Some(to);
        }
        let heart_stops = Arc::new(AtomicBool::new(false));
        let heart = Heart { grid: job.grid, pulses, figures, held, audio_errors, late_plans, newest };
        let (stops, outbox) = (Arc::clone(&heart_stops), outbox.clone());
        threads.push(crew.start("heartbeat", move || {
            heart.run(&outbox, &stops);
            Ok(())
        })?);
        Ok(Self { video: pictures, audio, orders, threads, heart_stops, held_up })
    }

    /// Hands items out until `Finish` (true) or the end of the stream (false).
    fn feed(&self, input: &mut impl io::Read) -> Result<bool, WorkerError> {
        let mut tracks = None;
        loop {
            let item = match read_message(input).map_err(WorkerError::Read)? {
                Some(ToWorker::Item(item)) => item,
                Some(ToWorker::Plan(plan)) => {
                    self.audio.iter().for_each(|queue| self.put(queue, Heard::Plan(plan)));
                    continue;
                }
                Some(ToWorker::Encode(orders)) => {
                    // A thread that is gone has left word with the crew.
                    let _ = self.orders.send(orders);
                    continue;
                }
                Some(ToWorker::Finish) => return Ok(true),
                Some(ToWorker::Job(_)) => return Err(WorkerError::Job("a second one")),
                None => return Ok(false),
            };
            if let Item::Tracks(set) = &item {
                tracks = Some(Arc::clone(set));
            }
            let kind = match &item {
                Item::Unit(unit) => {
                    tracks.as_ref().and_then(|t| t.get(unit.track)).map_or(TrackKind::Data, |t| t.codec.kind())
                }
                _ => TrackKind::Data,
            };
            let is_unit = matches!(item, Item::Unit(_));
            if !is_unit || kind == TrackKind::Audio {
                for queue in &self.audio {
                    self.put(queue, Heard::Item(item.clone()));
                }
            }
            if let Some(video) = self.video.as_ref().filter(|_| !is_unit || kind == TrackKind::Video) {
                self.put(video, item);
            }
        }
    }

    /// Puts an item into a queue. A thread that is gone has left word with the crew.
    fn put<T>(&self, queue: &SyncSender<T>, item: T) {
        if let Err(TrySendError::Full(item)) = queue.try_send(item) {
            self.held_up.store(true, Ordering::Relaxed);
            let _ = queue.send(item);
            self.held_up.store(false, Ordering::Relaxed);
        }
    }

    /// Lets the threads work off what they have, and end.
    fn finish(self) {
        drop((self.video, self.audio));
        self.heart_stops.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // Its failure, if any, is with the crew.
            let _ = thread.join();
        }
    }
}

/// Says four times a second that every media thread makes progress; says nothing when one does not.
struct Heart {
    grid: Grid,
    pulses: Vec<Pulse>,
    figures: Arc<VideoFigures>,
    held: Arc<HeldFigures>,
    audio_errors: Arc<AtomicU64>,
    late_plans: Arc<AtomicU64>,
    newest: Vec<Arc<AtomicU64>>,
}

impl Heart {
    fn run(&self, outbox: &Outbox, stops: &AtomicBool) {
        while !stops.load(Ordering::Relaxed) {
            std::thread::sleep(HEARTBEAT_EVERY);
            let now = clock::now();
            if self.pulses.iter().any(|pulse| pulse.is_hung(now.mono)) {
                continue;
            }
            if !outbox.offer(FromWorker::Heartbeat(self.beat(now))) {
                return;
            }
        }
    }

    fn beat(&self, now: clock::Now) -> Heartbeat {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (rss_bytes, cpu) = host::usage();
        let filled = Some(count(&self.figures.newest)).filter(|slot| *slot > 0);
        let encodes = self.held.encodes.load(Ordering::Relaxed);
        let sent = self.newest.iter().map(|slot| count(slot)).min().unwrap_or(0);
        // What stands by sends no pictures; it lies behind by what it has not filled.
        let newest = if encodes { sent } else { filled.unwrap_or(0) };
        // Before the first slot there is nothing to lag behind.
        let lag = if newest == 0 {
            Duration::ZERO
        } else {
            now.utc.saturating_sub(self.grid.slot_time(Slot(newest)).to_utc())
        };
        Heartbeat {
            decoded: count(&self.figures.decoded),
            repeated: count(&self.figures.repeated),
            black: count(&self.figures.black),
            slate: count(&self.figures.slate),
            decode_errors: count(&self.figures.errors) + count(&self.audio_errors),
            late_plans: count(&self.late_plans),
            rss_bytes,
            cpu,
            lag,
            showing: self.figures.showing(),
            filled: filled.map(Slot),
            held: self.held.pictures.load(Ordering::Relaxed),
            held_bytes: count(&self.held.bytes),
            forgotten: count(&self.held.forgotten),
        }
    }
}
