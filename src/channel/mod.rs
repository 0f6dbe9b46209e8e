//! The owner of one channel's state.
//!
//! In:    what its sources, its encode processes and the clock say, one [`Input`] at a time.
//! Out:   [`Action`]s: processes to start and kill, media to hand on, snapshots and status to publish, events.
//! Never: does IO, reads a clock, or lets one source, process or viewer change what another one gets.
//!
//! `apply(input, now)` changes the state, then upkeep restores every invariant that the input may have broken: each pipeline
//! is on the best source it may take, each process that should run runs, what is due is published. [`run`] is the shell.

mod agree;
mod dvr;
mod elsewhere;
mod encoders;
mod feed;
mod ladder;
pub mod loudness;
mod merging;
mod news;
mod onward;
mod outputs;
mod pipeline;
mod placing;
mod probe;
mod process;
mod report;
pub mod run;
mod source;
mod standby;
mod status;
mod unlike;
mod words;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use agree::HostWord;
pub use elsewhere::{Published, Said};
pub use onward::{Made, Onward};
pub use pipeline::Generation;

use crate::clock::Now;
use crate::config;
use crate::encode::ipc::{FromWorker, Job, RenditionIndex, ToWorker};
use crate::failover::{Health, Why};
use crate::ingest::IngestEvent;
use crate::media::{Break, Item, OutputName, PipelineId, SourceName, TrackKind};
use crate::monitor::{ChannelStatus, DvrStatus, Event, EventKind, Severity};
use crate::output;
use crate::package::{self, Keep, Packager, Saved, Snapshot};
use crate::probe::ipc::{FromProbe, Job as ProbeJob, ToProbe};
use crate::timeline::Timeline;

use agree::Agreeing;
use feed::Sent;
use ladder::{Fitting, Seen};
use outputs::Outputs;
use pipeline::{Pipeline, REJOIN};
use probe::Probe;
use source::Source;
use standby::Pair;
use unlike::Unlike;

/// Status is published this often, so the owner never sleeps longer by its own will.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// An owner that was away for so long got no time from its host: what others said meanwhile still waits to be heard.
const AWAY: Duration = Duration::from_millis(1200);

/// After that it listens for so long before it decides what to publish: a segment that waits in the queue is no gap.
const CATCH_UP: Duration = Duration::from_millis(250);

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// A source's transport said something.
    Source(SourceName, IngestEvent),
    /// An encode process was started under this process id.
    EncoderSpawned(PipelineId, Generation, u32),
    /// An encode process said something.
    Encoder(PipelineId, Generation, FromWorker),
    /// An encode process ended, for this reason.
    EncoderGone(PipelineId, Generation, String),
    /// The publishing point of a pipeline that is made elsewhere said something.
    Elsewhere(PipelineId, Box<Published>),
    /// The probe was started under this process id.
    ProbeSpawned(Generation, u32),
    /// The probe said something.
    Probe(Generation, FromProbe),
    /// The probe ended, for this reason.
    ProbeGone(Generation, String),
    /// A gateway process ended; its sources get their own `Down`.
    GatewayDied(String),
    /// An output said something.
    Output(OutputName, output::Event),
    /// The window on disk said something.
    Dvr(crate::dvr::Event),
    /// Open one more output. Nothing happens if its name is taken.
    AddOutput(Box<config::Output>),
    /// Close an output.
    RemoveOutput(OutputName),
    /// Time passed.
    Tick,
}

/// One thing to do.
#[derive(Debug)]
pub enum Action {
    /// Start an encode process and send it this job first.
    StartEncoder(PipelineId, Generation, Box<Job>),
    /// Send this to the pipeline's encode process.
    Send(PipelineId, Generation, ToWorker),
    /// End it, now.
    KillEncoder(PipelineId, Generation),
    /// Other hosts get this.
    Onward(PipelineId, Made),
    /// Start the probe and send it this job first.
    StartProbe(Generation, Box<ProbeJob>),
    /// Send this to the probe.
    SendProbe(Generation, ToProbe),
    /// End it, now.
    KillProbe(Generation),
    /// Serve this from now on.
    Publish(Arc<Snapshot>),
    /// Show this from now on.
    Status(Arc<ChannelStatus>),
    /// Log and count this.
    Event(Event),
    /// Write this to the folder for diagnosis.
    Save(Saved),
    /// Keep this on disk.
    Keep(Vec<Keep>),
    /// Open an output.
    OpenOutput(Box<config::Output>),
    /// Close it.
    CloseOutput(OutputName),
    /// Hand this on to it.
    Output(OutputName, Bytes),
}

/// One channel.
#[derive(Debug)]
pub struct Channel {
    config: config::Channel,
    timeline: Timeline,
    sources: Vec<Source>,
    pipelines: Vec<Pipeline>,
    fitting: Fitting,
    packager: Option<Packager>,
    unlike: Unlike,
    /// Where the programme is to have a loudness.
    loudness: Option<loudness::Planner>,
    /// Who encodes, where redundancy is warm; made with the plan.
    pair: Option<Pair>,
    /// Who looks into the sources' pictures and sound, where that is asked for.
    probe: Option<Probe>,
    outputs: Outputs,
    /// What the other host has, where two make the channel.
    agreeing: Agreeing,
    /// Every whole segment is wanted for diagnosis.
    save: bool,
    /// What the window on disk said, if it said anything.
    dvr: Option<DvrStatus>,
    status_at: Now,
    /// When it last had something to apply.
    applied: Now,
    /// Nothing is published before.
    caught_up_at: Now,
    actions: Vec<Action>,
}

impl Channel {
    /// A channel that begins now. With `save` every whole segment of both pipelines is handed out, too.
    pub fn new(config: config::Channel, save: bool, now: Now) -> Self {
        // Paths of a merged source are its own affair.
        let own = config.sources.iter().filter(|s| config.merged_by(&s.id.source).is_none());
        let sources: Vec<Source> = own.map(|s| Source::new(s, &config, now)).collect();
        let place = |name: &SourceName| {
            sources.iter().position(|s| s.name == *name).expect("validate checked that each pipeline's sources exist")
        };
        let pipelines = config
            .pipelines
            .iter()
            .map(|p| {
                let sources = p.sources.iter().map(place).collect();
                let pipeline = Pipeline::new(now, p.id, sources, config.failover.clone());
                if p.elsewhere { pipeline.made_elsewhere() } else { pipeline }
            })
            .collect();
        let fitting = if config.is_spread() { Fitting::as_written(now) } else { Fitting::new(now) };
        let mut channel = Self {
            timeline: Timeline::new(config.grid),
            probe: Probe::new(&config, now),
            outputs: Outputs::new(&config.outputs, sources.len()),
            agreeing: Agreeing::new(now, sources.len()),
            config,
            sources,
            pipelines,
            fitting,
            packager: None,
            unlike: Unlike::default(),
            loudness: None,
            pair: None,
            save,
            dvr: None,
            status_at: now,
            applied: now,
            caught_up_at: now,
            actions: Vec::new(),
        };
        channel.open_outputs();
        channel.expect_other_host(now);
        channel
    }

    /// A channel in place of this one, whose state is not to be trusted any more. Words of this one's encode processes may still
    /// wait in queues; they are not taken for those of the new one's.
    pub fn anew(&self, now: Now) -> Self {
        let mut fresh = Self::new(self.config.clone(), self.save, now);
        for pipeline in &mut fresh.pipelines {
            if let Some(old) = self.pipelines.iter().find(|p| p.id == pipeline.id) {
                pipeline.goes_on_from(old.generation());
            }
        }
        if let (Some(probe), Some(old)) = (&mut fresh.probe, &self.probe) {
            probe.goes_on_from(old);
        }
        fresh
    }

    /// Applies what happened and restores every invariant.
    pub fn apply(&mut self, now: Now, input: Input) -> Vec<Action> {
        if now.since(self.applied) > AWAY {
            self.pipelines.iter_mut().for_each(|p| p.owner_was_away(now));
            self.probe.iter_mut().for_each(|p| p.owner_was_away(now));
            self.caught_up_at = now.after(CATCH_UP);
        }
        self.applied = now;
        match input {
            Input::Source(name, event) => self.source(now, &name, event),
            Input::EncoderSpawned(id, generation, pid) => {
                if let Some(at) = self.current(id, generation) {
                    self.pipelines[at].pid = Some(pid);
                }
            }
            Input::Encoder(id, generation, word) => self.encoder(now, id, generation, word),
            Input::EncoderGone(id, generation, reason) => self.encoder_gone(now, id, generation, &reason),
            Input::Elsewhere(id, published) => self.elsewhere(now, id, *published),
            Input::ProbeSpawned(generation, pid) => {
                if let Some(probe) = self.probe.as_mut().filter(|probe| probe.is(generation)) {
                    probe.pid = Some(pid);
                }
            }
            Input::Probe(generation, word) => self.probe_says(now, generation, word),
            Input::ProbeGone(generation, reason) => self.probe_gone(now, generation, &reason),
            Input::GatewayDied(reason) => self.event(now, Severity::Warning, EventKind::GatewayDied, reason),
            Input::Output(name, event) => self.output(now, &name, event),
            Input::Dvr(event) => self.dvr(now, event),
            Input::AddOutput(output) => self.add_output(now, *output),
            Input::RemoveOutput(name) => self.remove_output(now, &name),
            Input::Tick => {}
        }
        self.upkeep(now);
        std::mem::take(&mut self.actions)
    }

    /// When to call with [`Input::Tick`] although nothing happened.
    pub fn wake_at(&self, now: Now) -> Now {
        let health = self.health();
        let pipelines = self.pipelines.iter().filter_map(|p| p.wake_at(now, &health, self.packager.is_some()));
        let not_before = |at: Now| if at.mono < self.caught_up_at.mono { self.caught_up_at } else { at };
        let packager = self.packager.as_ref().and_then(Packager::wake_at).map(not_before);
        let pair = self.pair.as_ref().and_then(|pair| pair.wake_at(now)).map(not_before);
        let fitting = self.fitting.wake_at().filter(|_| self.config.encodes());
        let faults = self.sources.iter().filter_map(|s| s.feed.wake_at(now));
        let merges = self.sources.iter().filter_map(|s| s.merging.as_ref()?.wake_at());
        let sources = faults.chain(merges).chain(self.probe.as_ref().and_then(Probe::wake_at));
        let all = pipelines.chain(sources).chain(packager).chain(pair).chain(fitting).chain([self.status_at]);
        let first = all.min_by_key(|at| at.mono);
        first.expect("status is always due at some time")
    }

    fn health(&self) -> Vec<Health> {
        self.sources.iter().map(|s| s.feed.health()).collect()
    }

    // --- upkeep --------------------------------------------------------------------------------------------------

    fn upkeep(&mut self, now: Now) {
        (0..self.sources.len()).for_each(|at| self.merge(now, at));
        self.make_ladder(now);
        self.keep_probe(now);
        self.sources.iter_mut().for_each(|s| s.feed.settle(now));
        self.tell_faults(now);
        let health = self.health();
        for at in 0..self.pipelines.len() {
            self.choose_source(now, at, &health);
            self.end_hung(now, at);
            self.start_due(now, at);
            self.tell_packager(now, at);
        }
        self.give_orders(now);
        self.publish(now);
        // What was published may be forgotten; what was refused has to be made by the other one.
        self.give_orders(now);
        self.keep_agreeing(now);
        if now.mono >= self.status_at.mono {
            self.status_at = now.after(STATUS_EVERY);
            self.count_bitrates(now);
            let status = self.status(now);
            self.actions.push(Action::Status(Arc::new(status)));
        }
    }

    fn make_ladder(&mut self, now: Now) {
        if self.fitting.is_settled() || !self.config.encodes() {
            return;
        }
        let seen = self.first_picture();
        if !self.fitting.decide(now, &self.config.ladder, self.config.grid.rate(), seen) {
            return;
        }
        // The first picture showed that rungs must go which have only ever carried the slate. Nobody was watching a
        // programme yet; from here on the ladder stays as it is.
        for at in 0..self.pipelines.len() {
            if self.pipelines[at].is_up() {
                self.kill(now, at, "the first picture asks for another ladder");
            }
        }
        let Some(plan) = self.fitting.plan().cloned() else { return };
        self.plan_is_made(&plan);
        let text = format!("{} video and {} audio renditions", plan.video.len(), plan.audio.len());
        let remarks = plan.remarks();
        match Packager::new(self.package_config(&plan), now) {
            Ok(packager) => {
                self.take_over(packager);
                self.event(now, Severity::Info, EventKind::ChannelStarted, text);
                if let Some(remarks) = remarks {
                    self.event(now, Severity::Info, EventKind::LadderFitted, remarks);
                }
            }
            Err(error) => {
                // No memory for a single slab. The plan is dropped so that it is tried again.
                self.fitting.postpone(now);
                self.event(now, Severity::Error, EventKind::ChannelStarted, format!("cannot package: {error}"));
            }
        }
    }

    /// Prepares for renditions that are known now.
    fn plan_is_made(&mut self, plan: &ladder::Plan) {
        let sound = plan.video.len()..plan.video.len() + plan.audio.len();
        let renditions = sound.filter_map(|at| u8::try_from(at).ok()).map(RenditionIndex);
        self.loudness = self.config.loudness.map(|it| loudness::Planner::new(it, self.config.grid, renditions));
        self.pair = self.new_pair(&plan.video);
        self.begin_onward(plan);
    }

    /// Publishes with this packager from now on.
    fn take_over(&mut self, packager: Packager) {
        self.actions.push(Action::Publish(packager.snapshot()));
        self.packager = Some(packager);
    }

    fn package_config(&self, plan: &ladder::Plan) -> package::Config {
        package::Config {
            channel: self.config.id.clone(),
            grid: self.config.grid,
            part: self.config.part,
            serve: self.config.serve,
            profiles: self.config.profiles.clone(),
            window: self.config.window,
            pipelines: self.pipelines.iter().map(|p| p.id).collect(),
            video: plan.video.clone(),
            audio: plan.audio.clone(),
            language: "und".to_owned(),
            time_uri: "/time".to_owned(),
            deterministic: self.config.deterministic,
            disk: self.config.dvr.is_some(),
            save: self.save,
        }
    }

    /// What the ladder is made for: the source on air, or else the first one that shows a picture.
    fn first_picture(&self) -> Option<Seen> {
        let seen = |s: &Source| {
            let track = s.feed.tracks()?.first(TrackKind::Video)?;
            Some(Seen { codec: track.codec, shape: track.shape?, bitrate: s.feed.video_bitrate() })
        };
        self.pipelines
            .iter()
            .flat_map(|p| p.on_air())
            .chain(0..self.sources.len())
            .find_map(|at| seen(&self.sources[at]))
    }

    fn choose_source(&mut self, now: Now, at: usize, health: &[Health]) {
        let before = self.pipelines[at].on_air();
        let Some(switch) = self.pipelines[at].choose(now, health) else { return };
        let id = self.pipelines[at].id;
        let to = self.sources[switch.to].name.clone();
        let mut since = None;
        let (severity, text) = match (switch.why, before) {
            (Why::First, _) => (Severity::Info, format!("takes source {to}")),
            (Why::Revert, _) => (Severity::Info, format!("back to preferred source {to}")),
            (Why::Loss, Some(from)) => {
                (Severity::Warning, format!("source {} is silent, takes {to}", self.sources[from].name))
            }
            (Why::Fault(fault), Some(from)) => {
                since = self.sources[from].feed.fault_since();
                let lasts = since.map_or(0.0, |since| now.since(since).as_secs_f64());
                let (name, what) = (&self.sources[from].name, report::condition(fault));
                (Severity::Warning, format!("source {name}: {what}, for {lasts:.2} s, takes {to}"))
            }
            (Why::Order, _) => (Severity::Info, format!("takes source {to}, as ordered")),
            (Why::Loss | Why::Fault(_), None) => (Severity::Warning, format!("takes source {to}")),
        };
        let mut event = self.new_event(now, severity, EventKind::SourceSwitched, text);
        event.pipeline = Some(id);
        event.source = Some(to);
        event.since = since.map(|since| report::instant(now, since));
        self.actions.push(Action::Event(event));
        let sent = self.pipelines[at].sent;
        // Of several tracks one may lag behind the newest sound that was sent; encode processes leave out what they have heard.
        let overlap = if self.config.ladder.has_languages() { REJOIN } else { Duration::ZERO };
        let from = Sent { video: sent.video.map(|v| v - REJOIN), audio: sent.audio.map(|a| a - overlap) };
        self.join(at, switch.to, from, Some(Break::SourceSwitch));
    }

    /// Brings a pipeline's encoder onto a source.
    fn join(&mut self, at: usize, source: usize, from: Sent, why: Option<Break>) {
        let Some(items) = self.sources[source].feed.join(&self.timeline, from) else { return };
        let items = why.map(Item::Break).into_iter().chain(items).collect();
        self.send_items(at, source, items);
    }

    fn publish(&mut self, now: Now) {
        if now.mono < self.caught_up_at.mono {
            return;
        }
        let Some(packager) = &mut self.packager else { return };
        let before = Arc::as_ptr(&packager.snapshot());
        let events = packager.poll(now);
        self.actions.extend(packager.take_saved().into_iter().map(Action::Save));
        let keeps = packager.take_keeps();
        if !keeps.is_empty() {
            self.actions.push(Action::Keep(keeps));
        }
        let snapshot = packager.snapshot();
        if Arc::as_ptr(&snapshot) != before {
            self.actions.push(Action::Publish(snapshot));
        }
        for event in events {
            self.package_event(now, &event);
        }
    }
}
