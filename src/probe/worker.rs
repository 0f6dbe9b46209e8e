//! The probe process itself: reads the socket that is its stdin, starts a thread for each source, writes to the same socket.
//!
//! It ends with the main process (end of file on stdin) or with an error; there is nothing to save.

use std::io::{self, BufReader, BufWriter, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::decode::{self, Pictures, Sounds};
use super::ipc::{FromProbe, HEARTBEAT_EVERY, Heartbeat, Job, Piece, SOURCES_MAX, Seen, TOLD_EVERY, ToProbe};
use super::watch::{PictureWatch, SoundWatch};
use crate::child::frame::{FrameError, read_message, write_message};
use crate::clock;
use crate::encode::host;
use crate::encode::pulse::Pulse;
use crate::encode::template::{BUILT_IN, Template, TemplateError};

/// Pieces that wait for one source's thread: three seconds of pictures and sound. What comes when it is full is left out and
/// counted, up to the next key frame behind the jam.
const PIECES_MAX: usize = 256;
/// Bytes that wait for one source's thread: a second of 100 Mbit/s. The same rule.
const BYTES_MAX: u64 = 12 << 20;
/// Messages that wait for the main process; what was seen is left out when they are more, as it is told again.
const OUTBOX_MAX: usize = 256;

/// Why a probe ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// GStreamer is not there or does not start.
    #[error("GStreamer does not start")]
    GStreamer(#[source] gstreamer::glib::Error),
    /// Standard input is no socket, or a thread could not be started.
    #[error("the probe's own means")]
    Io(#[from] io::Error),
    /// The main process wrote what is no message.
    #[error("reading from the main process")]
    Read(#[source] FrameError),
    /// What it was told makes no sense.
    #[error("job: {0}")]
    Job(&'static str),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A thread panicked: our bug.
    #[error("thread `{0}` panicked")]
    Panic(String),
}

/// Runs a probe until its main process is gone.
pub fn run() -> Result<(), ProbeError> {
    gstreamer::init().map_err(ProbeError::GStreamer)?;
    decode::count_errors();
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut input = BufReader::with_capacity(1 << 16, socket.try_clone()?);
    let job = match read_message(&mut input).map_err(ProbeError::Read)? {
        Some(ToProbe::Job(job)) => *job,
        None => return Ok(()),
        Some(_) => return Err(ProbeError::Job("the first message must be a job")),
    };
    let template = Template::parse(job.template.as_deref().unwrap_or(BUILT_IN))?;
    let crew = Crew { socket: socket.try_clone()?, failure: Arc::default() };
    let (outbox, to_write) = sync_channel(OUTBOX_MAX);
    let writer = socket.try_clone()?;
    crew.start("writer", move || write_all(&to_write, &writer))?;
    let _ = outbox.send(FromProbe::Hello);
    let lanes = Lane::start(&job, &template, &crew, &outbox)?;
    let result = feed(lanes, &mut input);
    crew.failure().map_or(result, Err)
}

/// Starts threads, and remembers why the first one failed.
#[derive(Debug)]
struct Crew {
    socket: UnixStream,
    failure: Arc<Mutex<Option<ProbeError>>>,
}

impl Crew {
    fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (failure, socket, title) = (Arc::clone(&self.failure), self.socket.try_clone()?, name.to_owned());
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // A probe with a dead thread is of no use: the reader is woken and the process ends.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                let error = ProbeError::Panic(title);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                let _ = socket.shutdown(Shutdown::Both);
            }
        })?;
        Ok(())
    }

    fn failure(&self) -> Option<ProbeError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Writes messages until no sender is left or the main process is gone.
fn write_all(messages: &Receiver<FromProbe>, socket: &UnixStream) {
    let mut out = BufWriter::new(socket);
    while let Ok(message) = messages.recv() {
        if write_message(&mut out, &message).and_then(|()| Ok(out.flush()?)).is_err() {
            break;
        }
    }
    let _ = socket.shutdown(Shutdown::Both);
}

/// Hands pieces out until the end of the stream.
fn feed(mut lanes: Vec<Lane>, input: &mut impl io::Read) -> Result<(), ProbeError> {
    const NO_SOURCE: ProbeError = ProbeError::Job("no such source");
    while let Some(message) = read_message(input).map_err(ProbeError::Read)? {
        match message {
            ToProbe::Piece(piece) => {
                lanes.get_mut(usize::from(piece.source)).ok_or(NO_SOURCE)?.piece(piece);
            }
            ToProbe::Anew { source, session } => {
                lanes.get_mut(usize::from(source)).ok_or(NO_SOURCE)?.anew(session);
            }
            ToProbe::Job(_) => return Err(ProbeError::Job("a second one")),
        }
    }
    Ok(())
}

/// What all threads count.
#[derive(Debug, Default)]
struct Figures {
    skipped: AtomicU64,
    decoded: AtomicU64,
}

/// One source's way to its thread.
struct Lane {
    queue: SyncSender<Task>,
    waiting: Arc<AtomicU64>,
    session: u32,
    /// It was full: before anything else goes in, the thread is to begin anew.
    jammed: bool,
    figures: Arc<Figures>,
}

enum Task {
    Piece(Piece),
    Anew(u32),
}

impl Lane {
    fn start(
        job: &Job,
        template: &Template,
        crew: &Crew,
        outbox: &SyncSender<FromProbe>,
    ) -> Result<Vec<Self>, ProbeError> {
        if !(1..=SOURCES_MAX).contains(&usize::from(job.sources)) {
            return Err(ProbeError::Job("1 to 64 sources are possible"));
        }
        let figures = Arc::new(Figures::default());
        let mut pulses = Vec::new();
        let mut lanes = Vec::new();
        for source in 0..job.sources {
            let (queue, tasks) = sync_channel(PIECES_MAX);
            let (pulse, waiting) = (Pulse::new(), Arc::new(AtomicU64::new(0)));
            pulses.push(pulse.clone());
            let looker = Looker {
                seen: Seen { source, ..Seen::default() },
                pictures: job.pictures.map(|rules| {
                    (Pictures::new(template.clone(), rules.dark_level, pulse.clone()), PictureWatch::new(rules))
                }),
                sounds: job.sound.map(|rules| (Sounds::new(template.clone(), pulse.clone()), SoundWatch::new(rules))),
                told: None,
                pulse,
                waiting: Arc::clone(&waiting),
                outbox: outbox.clone(),
                figures: Arc::clone(&figures),
            };
            crew.start(&format!("source {source}"), move || looker.run(&tasks))?;
            lanes.push(Self { queue, waiting, session: 0, jammed: false, figures: Arc::clone(&figures) });
        }
        let outbox = outbox.clone();
        crew.start("heartbeat", move || beat(&pulses, &figures, &outbox))?;
        Ok(lanes)
    }

    fn piece(&mut self, piece: Piece) {
        let bytes = piece.data.len() as u64;
        let full = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > BYTES_MAX;
        if full || !self.clears() || self.put(Task::Piece(piece)).is_err() {
            self.jammed = true;
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.figures.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn anew(&mut self, session: u32) {
        self.session = session;
        self.jammed = true;
        self.clears();
    }

    /// Whether what comes next may go in.
    fn clears(&mut self) -> bool {
        self.jammed = self.jammed && self.put(Task::Anew(self.session)).is_err();
        !self.jammed
    }

    fn put(&self, task: Task) -> Result<(), ()> {
        match self.queue.try_send(task) {
            Err(TrySendError::Full(_)) => Err(()),
            // A thread that is gone has left word with the crew.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }
}

/// Says four times a second that every thread makes progress; says nothing when one does not.
fn beat(pulses: &[Pulse], figures: &Figures, outbox: &SyncSender<FromProbe>) {
    loop {
        std::thread::sleep(HEARTBEAT_EVERY);
        let now = clock::now();
        if pulses.iter().any(|pulse| pulse.is_hung(now.mono)) {
            continue;
        }
        let (rss_bytes, cpu) = host::usage();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let beat = Heartbeat { skipped: count(&figures.skipped), decoded: count(&figures.decoded), cpu, rss_bytes };
        if let Err(TrySendError::Disconnected(_)) = outbox.try_send(FromProbe::Heartbeat(beat)) {
            return;
        }
    }
}

/// One source's thread.
struct Looker {
    /// What was told last.
    seen: Seen,
    pictures: Option<(Pictures, PictureWatch)>,
    sounds: Option<(Sounds, SoundWatch)>,
    /// Arrival of what it was told of.
    told: Option<u64>,
    pulse: Pulse,
    waiting: Arc<AtomicU64>,
    outbox: SyncSender<FromProbe>,
    figures: Arc<Figures>,
}

impl Looker {
    fn run(mut self, tasks: &Receiver<Task>) {
        while let Ok(task) = tasks.recv() {
            self.pulse.busy();
            match task {
                Task::Piece(piece) => {
                    self.piece(&piece);
                    self.waiting.fetch_sub(piece.data.len() as u64, Ordering::Relaxed);
                    self.tell(piece.arrival);
                }
                Task::Anew(session) => self.anew(session),
            }
            self.pulse.idle();
        }
    }

    fn anew(&mut self, session: u32) {
        // Behind a jam it is the same session: what was wrong with it goes on until a picture says otherwise.
        if session != self.seen.session {
            self.seen = Seen { source: self.seen.source, session, ..Seen::default() };
            self.told = None;
            self.pictures.iter_mut().for_each(|(_, watch)| watch.anew());
            self.sounds.iter_mut().for_each(|(_, watch)| watch.anew());
        }
        self.pictures.iter_mut().for_each(|(decoder, _)| decoder.anew());
        self.sounds.iter_mut().for_each(|(decoder, _)| decoder.anew());
    }

    fn piece(&mut self, piece: &Piece) {
        if decode::is_pictures(piece.codec) {
            let Some((decoder, watch)) = &mut self.pictures else { return };
            let Some(looked) = decoder.push(piece, watch.is_suspect()) else { return };
            self.figures.decoded.fetch_add(looked.pictures.len() as u64, Ordering::Relaxed);
            if looked.begins {
                watch.begins(piece.arrival);
            }
            for (at, sketch) in looked.pictures {
                watch.picture(at, sketch);
            }
            watch.unit(piece.arrival, looked.wrong);
        } else if let Some((decoder, watch)) = &mut self.sounds {
            for (at, level) in decoder.push(piece) {
                watch.block(at, level);
            }
        }
    }

    /// Tells what has been seen, if a state changed or it is time.
    fn tell(&mut self, now: u64) {
        let picture = self.pictures.as_ref().and_then(|(_, watch)| watch.seen());
        let sound = self.sounds.as_ref().and_then(|(_, watch)| watch.seen());
        let seen = Seen { picture, sound, ..self.seen };
        if picture.is_none() && sound.is_none() {
            return;
        }
        let due = self.told.is_none_or(|told| now.saturating_sub(told) >= TOLD_EVERY.as_micros() as u64);
        if states(&seen) != states(&self.seen) || due {
            self.seen = seen;
            self.told = Some(now);
            self.sounds.iter_mut().for_each(|(_, watch)| watch.told());
            // A full outbox loses it; it is told again.
            let _ = self.outbox.try_send(FromProbe::Seen(seen));
        }
    }
}

fn states(seen: &Seen) -> [Option<u64>; 4] {
    let Seen { picture, sound, .. } = seen;
    [
        picture.and_then(|p| p.black_since),
        picture.and_then(|p| p.still_since),
        picture.and_then(|p| p.errors_since),
        sound.and_then(|s| s.silent_since),
    ]
}
