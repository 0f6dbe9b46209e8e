//! The shell around [`Channel`]: its task, its encode processes, its timer.
//!
//! In:    inputs over bounded queues: from ingest, from the encode processes' readers, from outputs.
//! Out:   snapshots and status through watch channels, events to the log, bytes to outputs.
//! Never: blocks on a child, or lets a panic of one channel reach another.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, error, info_span, warn};

use super::dvr::Disk;
use super::onward::{Onward, Ways};
use super::process::{Encodes, GRACE, Looks, Process, told};
use super::{Action, Channel, Generation, Input};
use crate::child::{self, SendError};
use crate::clock;
use crate::config;
use crate::encode::ipc::{ENVIRONMENT, Job, ToWorker};
use crate::ingest::IngestEvent;
use crate::media::{OutputName, PipelineId, SourceId};
use crate::monitor::{ChannelStatus, Event};
use crate::output::exits::Exits;
use crate::output::{self, Line};
use crate::package::{Saved, Snapshot};
use crate::probe::ipc::{Job as ProbeJob, ToProbe};

/// Portions of media that may wait. A second of 100 Mbit/s in portions of 1,316 bytes is 9,500.
const MEDIA_MAX: usize = 16_384;

/// Other inputs that may wait: coded units mostly. A full queue holds up the encode processes' readers.
const INPUTS_MAX: usize = 4096;

/// What outputs say that may wait: figures of each once a second, and news. More are dropped.
const OUTPUT_NEWS_MAX: usize = 4096;

/// Bytes that may wait for an encode process: 4 s of join buffer at 100 Mbit/s. One that falls further behind is ended.
const ENCODER_QUEUE_BYTES: usize = 64 << 20;

/// Bytes that may wait for the probe. Its reader never waits for a decoder: one that falls so far behind has no CPU at all, and is ended.
const PROBE_QUEUE_BYTES: usize = 32 << 20;

/// Resident memory the probe may take, and what comes on top for each source: a decoder of 2160p with 16 pictures of 25 MB. To stop
/// leaks, not growth: measured with one source of 720p, 80 MB.
const PROBE_MEMORY: u64 = 256 << 20;
const PROBE_SOURCE_MEMORY: u64 = 512 << 20;

/// What the rest of the program holds of a running channel.
#[derive(Debug)]
pub struct Handle {
    /// What the origin serves.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What the control port shows.
    pub status: watch::Receiver<Arc<ChannelStatus>>,
    /// Where ingest delivers. A full queue means that the channel does not keep up: the sender drops and counts.
    pub media: mpsc::Sender<(SourceId, IngestEvent)>,
    /// Where everybody else tells the channel something.
    pub inputs: mpsc::Sender<Input>,
    /// Ends after `stop` turned true and the encode processes are gone.
    pub task: JoinHandle<()>,
}

/// Starts a channel. `program` is asked for before each start of an encode process: [`child::program`], or what a test was
/// built with. `exits` is where SRT outputs are wanted; `events` takes what is worth logging; `stop` ends it.
pub fn start(
    program: impl Fn() -> PathBuf + Send + 'static,
    config: config::Channel,
    exits: Exits,
    save: Option<PathBuf>,
    events: impl Fn(Event) + Send + 'static,
    stop: watch::Receiver<bool>,
) -> Handle {
    start_spread(program, config, exits, save, events, stop, None)
}

/// As [`start`], of a channel some of whose pipelines other hosts get: by `onward`.
pub fn start_spread(
    program: impl Fn() -> PathBuf + Send + 'static,
    config: config::Channel,
    exits: Exits,
    save: Option<PathBuf>,
    events: impl Fn(Event) + Send + 'static,
    stop: watch::Receiver<bool>,
    onward: Option<Box<dyn Onward>>,
) -> Handle {
    let (media, from_ingest) = mpsc::channel(MEDIA_MAX);
    let (inputs, queue) = mpsc::channel(INPUTS_MAX);
    let (output_news, from_outputs) = mpsc::channel(OUTPUT_NEWS_MAX);
    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let channel = Channel::new(config.clone(), save.is_some(), clock::now());
    let (show, status) = watch::channel(Arc::new(channel.status(clock::now())));
    let span = info_span!("channel", id = %config.id);
    let shell = Shell {
        program: Box::new(program),
        config,
        inputs: inputs.clone(),
        publish,
        show,
        events: Box::new(events),
        encoders: [None, None],
        probe: None,
        onward: onward.map(Ways::new),
        exits,
        outputs: HashMap::new(),
        output_news,
        save,
        disk: None,
    };
    let queues = Queues { media: from_ingest, inputs: queue, outputs: from_outputs };
    let task = tokio::spawn(shell.run(channel, queues, stop).instrument(span));
    Handle { snapshots, status, media, inputs, task }
}

struct Shell {
    program: Box<dyn Fn() -> PathBuf + Send>,
    config: config::Channel,
    inputs: mpsc::Sender<Input>,
    publish: watch::Sender<Arc<Snapshot>>,
    show: watch::Sender<Arc<ChannelStatus>>,
    events: Box<dyn Fn(Event) + Send>,
    encoders: [Option<Process<Encodes>>; 2],
    probe: Option<Process<Looks>>,
    /// Other hosts that get what pipelines make.
    onward: Option<Ways>,
    exits: Exits,
    outputs: HashMap<OutputName, Line>,
    output_news: output::Sink,
    save: Option<PathBuf>,
    /// The window on disk, where there is one.
    disk: Option<Disk>,
}

/// Who may say something.
struct Queues {
    media: mpsc::Receiver<(SourceId, IngestEvent)>,
    inputs: mpsc::Receiver<Input>,
    outputs: mpsc::Receiver<(OutputName, output::Event)>,
}

impl Shell {
    async fn run(mut self, mut channel: Channel, mut queues: Queues, mut stop: watch::Receiver<bool>) {
        self.find_window(&mut channel).await;
        loop {
            let now = clock::now();
            let wait = channel.wake_at(now).since(now);
            let input = tokio::select! {
                biased;
                () = told(&mut stop) => break,
                Some(input) = queues.inputs.recv() => input,
                Some((id, event)) = queues.media.recv() => Input::Source(id.source, event),
                Some((name, event)) = queues.outputs.recv() => Input::Output(name, event),
                () = tokio::time::sleep(wait) => Input::Tick,
            };
            // A bug in a core must cost one channel one restart, not the process all of them.
            let applied = std::panic::catch_unwind(AssertUnwindSafe(|| channel.apply(clock::now(), input)));
            match applied {
                Ok(actions) => self.carry_out(actions),
                Err(_) => {
                    error!("the channel's core panicked; it starts anew");
                    (self.encoders, self.probe) = ([None, None], None);
                    self.outputs.clear();
                    channel = channel.anew(clock::now());
                }
            }
        }
        self.finish().await;
    }

    /// Opens the window on disk, and goes on with what is there: players find what they had before this process began.
    async fn find_window(&mut self, channel: &mut Channel) {
        let Some(dvr) = self.config.dvr.clone() else { return };
        let (config, inputs) = (self.config.clone(), self.inputs.clone());
        let opened = tokio::task::spawn_blocking(move || Disk::open(&config, &dvr, inputs)).await;
        let Ok((disk, found)) = opened else { return };
        self.disk = disk;
        if let Some(found) = found {
            let restored = std::panic::catch_unwind(AssertUnwindSafe(|| {
                channel.recall_anchors(clock::now(), found.window.note().map(|note| &note[..]).unwrap_or_default());
                channel.go_on(clock::now(), &found.head, found.kept())
            }));
            if restored.is_err() {
                error!("the window on disk cannot be gone on with; another one begins");
                *channel = channel.anew(clock::now());
            }
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::StartEncoder(id, generation, job) => self.start_encoder(id, generation, job),
                Action::Send(id, generation, message) => self.send(id, generation, &message),
                Action::KillEncoder(id, generation) => {
                    let slot = &mut self.encoders[id.index()];
                    if slot.as_ref().is_some_and(|e| e.role.1 == generation) {
                        *slot = None;
                    }
                }
                Action::Onward(from, made) => {
                    if let Some(onward) = &mut self.onward {
                        onward.take(from, made);
                    }
                }
                Action::StartProbe(generation, job) => self.start_probe(generation, job),
                Action::SendProbe(generation, message) => self.send_probe(generation, &message),
                Action::KillProbe(generation) => {
                    self.probe.take_if(|probe| probe.role.0 == generation);
                }
                Action::Publish(snapshot) => match &mut self.disk {
                    Some(disk) => disk.publish(snapshot, &self.publish),
                    None => drop(self.publish.send_replace(snapshot)),
                },
                Action::Status(mut status) => {
                    if let Some(onward) = &mut self.onward {
                        let news = onward.fill(clock::now(), Arc::make_mut(&mut status));
                        news.into_iter().for_each(&self.events);
                    }
                    self.show.send_replace(status);
                }
                Action::Event(event) => (self.events)(event),
                Action::Save(saved) => self.save(saved),
                Action::Keep(keeps) => {
                    if let Some(disk) = &mut self.disk {
                        disk.keep(keeps);
                    }
                }
                Action::OpenOutput(output) => {
                    let line = output::open(&output, &self.exits, self.output_news.clone());
                    self.outputs.insert(output.id.output.clone(), line);
                }
                Action::CloseOutput(name) => drop(self.outputs.remove(&name)),
                Action::Output(name, data) => {
                    if let Some(line) = self.outputs.get(&name) {
                        line.send(&data);
                    }
                }
            }
        }
    }

    /// For diagnosis only, so a disk that is too slow or full costs nothing but a line in the log.
    fn save(&self, saved: Saved) {
        let Some(folder) = &self.save else { return };
        let folder = folder.join(self.config.id.as_str()).join(saved.pipeline.as_str()).join(saved.rendition.as_str());
        tokio::task::spawn_blocking(move || {
            let file = folder.join(format!("{}.m4s", saved.number));
            let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, saved.pieces.concat()));
            if let Err(error) = written {
                warn!(file = %file.display(), %error, "a segment could not be saved");
            }
        });
    }

    fn start_encoder(&mut self, id: PipelineId, generation: Generation, job: Box<Job>) {
        let span = info_span!("pipeline", id = %id);
        let spec = child::Spec {
            program: (self.program)(),
            arguments: vec!["encode-worker".to_owned()],
            environment: ENVIRONMENT.map(|(name, value)| (name, value.to_owned())).to_vec(),
            memory_max: None,
            resident_max: Some(self.config.memory_max),
            queue_bytes_max: ENCODER_QUEUE_BYTES,
            span,
            lines: None,
        };
        match Process::start(Encodes(id, generation), spec, &ToWorker::Job(job), &self.inputs) {
            Ok(process) => self.encoders[id.index()] = Some(process),
            Err(error) => {
                warn!(pipeline = %id, %error, "cannot start an encode process");
                self.report(Input::EncoderGone(id, generation, format!("it could not be started: {error}")));
            }
        }
    }

    fn start_probe(&mut self, generation: Generation, job: Box<ProbeJob>) {
        let spec = child::Spec {
            program: (self.program)(),
            arguments: vec!["probe".to_owned()],
            environment: ENVIRONMENT.map(|(name, value)| (name, value.to_owned())).to_vec(),
            memory_max: None,
            resident_max: Some(PROBE_MEMORY + u64::from(job.sources) * PROBE_SOURCE_MEMORY),
            queue_bytes_max: PROBE_QUEUE_BYTES,
            span: info_span!("probe"),
            lines: None,
        };
        match Process::start(Looks(generation), spec, &ToProbe::Job(job), &self.inputs) {
            Ok(process) => self.probe = Some(process),
            Err(error) => {
                warn!(%error, "cannot start a probe");
                self.report(Input::ProbeGone(generation, format!("it could not be started: {error}")));
            }
        }
    }

    fn send_probe(&mut self, generation: Generation, message: &ToProbe) {
        let Some(probe) = self.probe.as_ref().filter(|probe| probe.role.0 == generation) else { return };
        match probe.sender.send(message) {
            Ok(()) => {}
            // It is on its way out: whoever attends to it learns how it ended.
            Err(SendError::Closed) => probe.deaf.notify_one(),
            Err(error) => {
                // With one piece missing it would see damage that is none.
                self.probe = None;
                self.report(Input::ProbeGone(generation, format!("killed, {error}")));
            }
        }
    }

    fn send(&mut self, id: PipelineId, generation: Generation, message: &ToWorker) {
        let slot = &mut self.encoders[id.index()];
        let Some(encoder) = slot.as_ref().filter(|e| e.role.1 == generation) else { return };
        match encoder.sender.send(message) {
            Ok(()) => {}
            // It is on its way out: whoever attends to it learns how it ended.
            Err(SendError::Closed) => encoder.deaf.notify_one(),
            Err(error) => {
                // With one item missing the stream is broken. A fresh process joins with a key frame at hand.
                *slot = None;
                self.report(Input::EncoderGone(id, generation, format!("killed, {error}")));
            }
        }
    }

    /// From inside the channel's own task: never waits for room in the channel's own queue.
    fn report(&self, input: Input) {
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let _ = inputs.send(input).await;
        });
    }

    async fn finish(mut self) {
        // It has nothing to finish.
        self.probe = None;
        let ends: Vec<_> = self.outputs.drain().map(|(_, line)| tokio::spawn(line.finish())).collect();
        for end in ends {
            let _ = end.await;
        }
        if let Some(disk) = self.disk.take() {
            let _ = tokio::task::spawn_blocking(move || disk.close()).await;
        }
        let mut reapers = Vec::new();
        for encoder in self.encoders.iter_mut().filter_map(Option::take) {
            let _ = encoder.sender.send(&ToWorker::Finish);
            reapers.push((encoder.reaper, encoder.kill, encoder.sender));
        }
        for (reaper, kill, sender) in reapers {
            drop(sender);
            if tokio::time::timeout(GRACE, reaper).await.is_err() {
                kill.send_replace(true);
            }
        }
    }
}
