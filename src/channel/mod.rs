//! The owner of one channel's state.
//!
//! In:    what its sources, its encode processes and the clock say, one [`Input`] at a time.
//! Out:   [`Action`]s: processes to start and kill, media to hand on, snapshots and status to publish, events.
//! Never: does IO, reads a clock, or lets one source, process or viewer change what another one gets.
//!
//! `apply(input, now)` changes the state, then upkeep restores every invariant that the input may have broken: each pipeline
//! is on the best source it may take, each process that should run runs, what is due is published. [`run`] is the shell.

mod feed;
mod ladder;
pub mod loudness;
mod pipeline;
mod placing;
mod report;
pub mod run;
mod standby;
mod status;
mod unlike;
mod words;

use std::sync::Arc;
use std::time::Duration;

pub use pipeline::Generation;

use crate::clock::Now;
use crate::config;
use crate::demux;
use crate::encode::ipc::{AUDIO_LEAD, FromWorker, Job, LoudnessReading, RenditionIndex, Standby, ToWorker};
use crate::encode::ladder::VideoRung;
use crate::failover::{Health, Why};
use crate::ingest::IngestEvent;
use crate::media::{Break, ChannelTime, Grid, Item, PipelineId, SegmentNumber, SourceName, TrackKind};
use crate::monitor::{ChannelStatus, Event, EventKind, LinkStatus, Severity};
use crate::package::{self, Packager, Saved, Snapshot};
use crate::timeline::Timeline;

use feed::{Feed, Sent};
use ladder::{Fitting, Seen};
use pipeline::{Hung, Pipeline, REJOIN, Word};
use standby::{Call, Pair};
use unlike::Unlike;

/// A process that starts so soon after a boundary still takes the segment that began there, from the join buffer: it encodes
/// so much faster than real time, and is in lock within five seconds of the fault wherever that fell.
const STILL_THIS_SEGMENT: Duration = Duration::from_millis(1500);

/// Sound handed to a fresh encode process from before its first segment.
const AUDIO_PREROLL: Duration = AUDIO_LEAD;

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
    /// A gateway process ended; its sources get their own `Down`.
    GatewayDied(String),
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
    /// Serve this from now on.
    Publish(Arc<Snapshot>),
    /// Show this from now on.
    Status(Arc<ChannelStatus>),
    /// Log and count this.
    Event(Event),
    /// Write this to the folder for diagnosis.
    Save(Saved),
}

#[derive(Debug)]
struct Source {
    name: SourceName,
    transport: &'static str,
    feed: Feed,
    peer: Option<String>,
    /// When its connection came up.
    up_since: Now,
    /// Bytes came over it.
    heard: bool,
    link: Option<LinkStatus>,
    bitrate: u64,
    /// Last alarm that was reported as an event.
    alarm: Option<String>,
    continuity_errors: u64,
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
    /// Every whole segment is wanted for diagnosis.
    save: bool,
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
        let all_audio = config.ladder.has_languages();
        let source = |s| Source::new(s, &config.failover, all_audio, now);
        let sources: Vec<Source> = config.sources.iter().map(source).collect();
        let place = |name: &SourceName| {
            sources.iter().position(|s| s.name == *name).expect("validate checked that each pipeline's sources exist")
        };
        let pipelines = config
            .pipelines
            .iter()
            .map(|p| Pipeline::new(now, p.id, p.sources.iter().map(place).collect(), config.failover.clone()))
            .collect();
        Self {
            timeline: Timeline::new(config.grid),
            config,
            sources,
            pipelines,
            fitting: Fitting::new(now),
            packager: None,
            unlike: Unlike::default(),
            loudness: None,
            pair: None,
            save,
            status_at: now,
            applied: now,
            caught_up_at: now,
            actions: Vec::new(),
        }
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
        fresh
    }

    /// Applies what happened and restores every invariant.
    pub fn apply(&mut self, now: Now, input: Input) -> Vec<Action> {
        if now.since(self.applied) > AWAY {
            self.pipelines.iter_mut().for_each(|p| p.owner_was_away(now));
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
            Input::GatewayDied(reason) => self.event(now, Severity::Warning, EventKind::GatewayDied, reason),
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
        let all = pipelines.chain(packager).chain(pair).chain(self.fitting.wake_at()).chain([self.status_at]);
        let first = all.min_by_key(|at| at.mono);
        first.expect("status is always due at some time")
    }

    fn health(&self) -> Vec<Health> {
        self.sources.iter().map(|s| s.feed.health()).collect()
    }

    // --- sources -------------------------------------------------------------------------------------------------

    fn source(&mut self, now: Now, name: &SourceName, event: IngestEvent) {
        let Some(at) = self.sources.iter().position(|s| s.name == *name) else { return };
        match event {
            IngestEvent::Up { peer } => {
                self.source_event(
                    now,
                    at,
                    Severity::Info,
                    EventKind::SourceConnected,
                    format!("connected from {peer}"),
                );
                let source = &mut self.sources[at];
                source.peer = Some(peer);
                source.up_since = now;
                source.heard = false;
                source.feed.reconnected();
                self.hand_on(at, vec![Item::Break(Break::Reconnect)]);
            }
            IngestEvent::Data { arrival, data } => {
                self.sources[at].heard = true;
                let fed = self.sources[at].feed.push(arrival, &mut self.timeline, &data);
                self.hand_on(at, fed.items);
                for news in fed.news {
                    self.feed_news(now, at, news);
                }
            }
            IngestEvent::Down { reason } => {
                let text = format!("connection ended: {reason}");
                self.source_event(now, at, Severity::Warning, EventKind::SourceDisconnected, text);
                let source = &mut self.sources[at];
                source.peer = None;
                source.link = None;
                source.feed.lost();
            }
            IngestEvent::Refused { peer, reason } => {
                let text = format!("refused {peer}: {reason}");
                self.source_event(now, at, Severity::Warning, EventKind::SourceRefused, text);
            }
            IngestEvent::Link(link) => self.sources[at].link = Some(link),
        }
    }

    /// Media of a source goes to the pipelines that have it on air.
    fn hand_on(&mut self, source: usize, items: Vec<Item<ChannelTime>>) {
        if items.is_empty() {
            return;
        }
        let mut takers: Vec<usize> =
            (0..self.pipelines.len()).filter(|&p| self.pipelines[p].on_air() == Some(source)).collect();
        let Some(last) = takers.pop() else { return };
        for taker in takers {
            self.send_items(taker, source, items.clone());
        }
        self.send_items(last, source, items);
    }

    fn send_items(&mut self, pipeline: usize, source: usize, items: Vec<Item<ChannelTime>>) {
        let pipeline = &mut self.pipelines[pipeline];
        if !pipeline.is_up() {
            return;
        }
        if let Some(tracks) = self.sources[source].feed.tracks() {
            pipeline.note_sent(&items, tracks);
        }
        let (id, generation) = (pipeline.id, pipeline.generation());
        self.actions.extend(items.into_iter().map(|item| Action::Send(id, generation, ToWorker::Item(item))));
    }

    // --- encode processes ----------------------------------------------------------------------------------------

    fn encoder(&mut self, now: Now, id: PipelineId, generation: Generation, word: FromWorker) {
        let Some(at) = self.current(id, generation) else { return };
        if let Err(nonsense) = self.check_word(now, at, &word) {
            return self.kill(now, at, &nonsense.to_string());
        }
        if let (Some(pair), FromWorker::Heartbeat(beat)) = (&mut self.pair, &word) {
            pair.heartbeat(now, id, beat);
        }
        match self.pipelines[at].hear(now, word) {
            Word::Started(hello) => {
                if let Some(pair) = &mut self.pair {
                    pair.hello(id, &hello);
                }
                let mut text = format!("up: {}, x264 {}, {}", hello.gstreamer, hello.x264, hello.simd);
                for encoder in hello.encoders.iter().filter(|encoder| encoder.element != "x264enc") {
                    text += &format!(", {} by {}", encoder.rung, encoder.element);
                }
                self.pipeline_event(now, id, Severity::Info, EventKind::EncoderStarted, text);
                self.compare_encoders(now);
            }
            Word::Coded(unit) => {
                if let Some(pair) = &mut self.pair {
                    pair.coded(now, id, &unit);
                }
                if let Some(packager) = &mut self.packager {
                    packager.coded(now, id, unit);
                }
            }
            Word::SegmentEnd(end) => {
                if let Some(pair) = &mut self.pair {
                    pair.segment_end(now, id, &end);
                }
                if let Some(packager) = &mut self.packager {
                    packager.segment_end(now, id, end);
                }
            }
            Word::Loudness(reading) => self.plan_gain(now, &reading),
            Word::SlateFailed(why) => self.pipeline_event(now, id, Severity::Warning, EventKind::SlateFailed, why),
            Word::Nothing => {}
        }
    }

    fn compare_encoders(&mut self, now: Now) {
        let running: Vec<_> = self.pipelines.iter().filter_map(|p| Some((p.id, p.hello()?))).collect();
        if let Some(text) = self.unlike.news(&running).filter(|_| self.config.deterministic) {
            self.event(now, Severity::Warning, EventKind::EncodersUnlike, text);
        }
    }

    /// Plans the gain of segments that nobody has been handed media for. Plans travel in order with media, so no process can have begun them,
    /// unless its clock fills in silence where media is more than a segment late.
    fn plan_gain(&mut self, now: Now, reading: &LoudnessReading) {
        let Some(planner) = &mut self.loudness else { return };
        let sent = self.pipelines.iter().filter_map(|p| p.sent.audio.max(p.sent.video)).max();
        let newest = sent.map_or(now.channel_time(), |sent| sent.max(now.channel_time()));
        let Some(plan) = planner.hear(reading, self.config.grid.segment_at(newest)) else { return };
        for pipeline in self.pipelines.iter().filter(|p| p.is_up()) {
            self.actions.push(Action::Send(pipeline.id, pipeline.generation(), ToWorker::Plan(plan)));
        }
    }

    fn encoder_gone(&mut self, now: Now, id: PipelineId, generation: Generation, reason: &str) {
        let Some(at) = self.current(id, generation) else { return };
        let wait = self.pipelines[at].gone(now);
        if let Some(pair) = &mut self.pair {
            pair.gone(id);
        }
        if let Some(packager) = &mut self.packager {
            packager.pipeline(now, id, false);
        }
        let text = format!("encode process ended: {reason}; next start in {} ms", wait.as_millis());
        self.pipeline_event(now, id, Severity::Warning, EventKind::EncoderDied, text);
    }

    /// The place of a pipeline, if this is its running incarnation.
    fn current(&self, id: PipelineId, generation: Generation) -> Option<usize> {
        let fits = |p: &Pipeline| p.id == id && p.generation() == generation && p.is_up();
        self.pipelines.iter().position(fits)
    }

    // --- upkeep --------------------------------------------------------------------------------------------------

    fn upkeep(&mut self, now: Now) {
        self.make_ladder(now);
        let health = self.health();
        for at in 0..self.pipelines.len() {
            self.choose_source(now, at, &health);
            self.end_hung(now, at);
            self.start_due(now, at);
        }
        self.give_orders(now);
        self.publish(now);
        // What was published may be forgotten; what was refused has to be made by the other one.
        self.give_orders(now);
        if now.mono >= self.status_at.mono {
            self.status_at = now.after(STATUS_EVERY);
            self.count_bitrates(now);
            let status = self.status(now);
            self.actions.push(Action::Status(Arc::new(status)));
        }
    }

    fn make_ladder(&mut self, now: Now) {
        if self.fitting.is_settled() {
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
        let Some(plan) = self.fitting.plan() else { return };
        let sound = plan.video.len()..plan.video.len() + plan.audio.len();
        let renditions = sound.filter_map(|at| u8::try_from(at).ok()).map(RenditionIndex);
        self.loudness = self.config.loudness.map(|it| loudness::Planner::new(it, self.config.grid, renditions));
        self.pair = self.new_pair(&plan.video);
        let config = package::Config {
            channel: self.config.id.clone(),
            grid: self.config.grid,
            part: self.config.part,
            window: self.config.window,
            pipelines: self.pipelines.iter().map(|p| p.id).collect(),
            video: plan.video.clone(),
            audio: plan.audio.clone(),
            language: "und".to_owned(),
            time_uri: "/time".to_owned(),
            deterministic: self.config.deterministic,
            save: self.save,
        };
        let text = format!("{} video and {} audio renditions", plan.video.len(), plan.audio.len());
        let remarks = plan.remarks();
        match Packager::new(config, now) {
            Ok(packager) => {
                self.actions.push(Action::Publish(packager.snapshot()));
                self.packager = Some(packager);
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

    fn new_pair(&self, video: &[VideoRung]) -> Option<Pair> {
        let warm = self.config.redundancy == config::Redundancy::Warm && self.pipelines.len() == 2;
        if !warm || video.is_empty() {
            return None;
        }
        let grid = self.config.grid;
        let delay = video.iter().map(|rung| encoder_delay(rung, grid)).max().unwrap_or_default();
        Some(Pair::new(grid, video.len(), delay))
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
        let (severity, text) = match (switch.why, before) {
            (Why::First, _) => (Severity::Info, format!("takes source {to}")),
            (Why::Revert, _) => (Severity::Info, format!("back to preferred source {to}")),
            (Why::Loss, Some(from)) => {
                (Severity::Warning, format!("source {} is silent, takes {to}", self.sources[from].name))
            }
            (Why::Loss, None) => (Severity::Warning, format!("takes source {to}")),
        };
        let mut event = self.new_event(now, severity, EventKind::SourceSwitched, text);
        event.pipeline = Some(id);
        event.source = Some(to);
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

    fn end_hung(&mut self, now: Now, at: usize) {
        match self.pipelines[at].hangs(now) {
            Some(Hung::NoHello) => self.kill(now, at, "it did not start"),
            Some(Hung::NoHeartbeat) => self.kill(now, at, "its heartbeat stopped"),
            None => {}
        }
    }

    fn kill(&mut self, now: Now, at: usize, why: &str) {
        let (id, generation) = (self.pipelines[at].id, self.pipelines[at].generation());
        self.actions.push(Action::KillEncoder(id, generation));
        self.encoder_gone(now, id, generation, &format!("killed, {why}"));
    }

    fn start_due(&mut self, now: Now, at: usize) {
        let Some(plan) = self.fitting.plan() else { return };
        if self.packager.is_none() || !self.pipelines[at].start_is_due(now) {
            return;
        }
        let start = self.first_segment(now, at);
        let id = self.pipelines[at].id;
        let standby = self.pair.as_mut().map_or(Standby::Hot, |pair| pair.started(now, id, start));
        let job = Job {
            channel: self.config.id.clone(),
            pipeline: self.pipelines[at].id,
            grid: self.config.grid,
            start,
            hold: self.config.hold,
            loss: self.config.loss.clone(),
            deinterlace: self.config.deinterlace,
            loudness: self.config.loudness,
            plan: self.loudness.as_ref().map_or_else(Vec::new, loudness::Planner::plans),
            standby,
            video: plan.video.clone(),
            audio: plan.audio.clone(),
            template: self.config.template.clone(),
        };
        let generation = self.pipelines[at].started(now);
        self.actions.push(Action::StartEncoder(id, generation, Box::new(job)));
        if let Some(packager) = &mut self.packager {
            packager.pipeline(now, id, true);
            if standby == Standby::StandsBy {
                packager.expect_pictures(id, None, None);
            }
        }
        if let Some(source) = self.pipelines[at].on_air() {
            let begins = self.config.grid.segment_start(start);
            // Of a faster source the first slot shows a picture from a little before it.
            let pictures = begins - self.config.grid.slot_duration();
            self.join(at, source, Sent { video: Some(pictures), audio: Some(begins - AUDIO_PREROLL) }, None);
        }
    }

    /// The first segment of a process that starts now. While its peer delivers, it is the running one where that takes little
    /// haste, else the next. When nobody delivers, it is the first that is not published yet, as far back as the join buffer
    /// reaches: encoded faster than real time, so that not even the loss of both processes leaves a gap.
    fn first_segment(&self, now: Now, at: usize) -> SegmentNumber {
        let grid = self.config.grid;
        let running = grid.segment_at(now.channel_time());
        let newest = self.packager.as_ref().and_then(|p| p.status().newest).map(SegmentNumber);
        let Some(newest) = newest else { return running };
        let peer_delivers = self.pipelines.iter().enumerate().any(|(i, p)| i != at && p.is_locked());
        let began = grid.segment_start(running).to_utc();
        let reach = self.pipelines[at].on_air().and_then(|source| self.sources[source].feed.reaches_back_to());
        let whole = |n: &SegmentNumber| reach.is_some_and(|first| first <= grid.segment_start(*n) - AUDIO_PREROLL);
        if peer_delivers {
            let just_begun = now.utc.saturating_sub(began) <= STILL_THIS_SEGMENT;
            return if just_begun && whole(&running) { running } else { running.next() };
        }
        let missed = (newest.0 + 1..=running.0).map(SegmentNumber).find(whole);
        missed.unwrap_or_else(|| running.next())
    }

    /// Warm standby: tells the encode processes who makes which segments.
    fn give_orders(&mut self, now: Now) {
        let (Some(pair), Some(packager)) = (&mut self.pair, &self.packager) else { return };
        let [a, b] = PipelineId::BOTH.map(|id| self.pipelines.iter().find(|p| p.id == id).and_then(Pipeline::on_air));
        pair.note(packager.status().newest.map(SegmentNumber), a == b);
        let heard = now.mono >= self.caught_up_at.mono;
        for Call { to, orders, news } in pair.decide(now, heard) {
            let Some(pipeline) = self.pipelines.iter().find(|p| p.id == to && p.is_up()) else { continue };
            if let Some(packager) = &mut self.packager {
                packager.expect_pictures(to, orders.from, orders.until);
            }
            self.actions.push(Action::Send(to, pipeline.generation(), ToWorker::Encode(orders)));
            if let Some(news) = news {
                self.standby_event(now, to, news);
            }
        }
    }

    fn publish(&mut self, now: Now) {
        if now.mono < self.caught_up_at.mono {
            return;
        }
        let Some(packager) = &mut self.packager else { return };
        let before = Arc::as_ptr(&packager.snapshot());
        let events = packager.poll(now);
        self.actions.extend(packager.take_saved().into_iter().map(Action::Save));
        let snapshot = packager.snapshot();
        if Arc::as_ptr(&snapshot) != before {
            self.actions.push(Action::Publish(snapshot));
        }
        for event in events {
            self.package_event(now, &event);
        }
    }
}

/// How far a rung's coded pictures lie behind its raw ones by its settings alone.
fn encoder_delay(rung: &VideoRung, grid: Grid) -> Duration {
    let frames = if rung.zero_latency { 0 } else { rung.lookahead + rung.bframes };
    let waits = grid.segment() / u32::from(rung.gops.max(1)) * u32::from(rung.chains.max(1) - 1);
    Duration::from_secs(u64::from(frames + 1)) * grid.rate().den() / grid.rate().num() + waits
}

impl Source {
    fn new(config: &config::Source, failover: &config::Failover, all_audio: bool, now: Now) -> Self {
        let settings = demux::Config { program: config.program, all_audio, ..demux::Config::default() };
        Self {
            name: config.id.source.clone(),
            transport: match config.input {
                config::Input::Srt(_) => "srt",
                config::Input::Test(_) => "test",
            },
            feed: Feed::new(settings, failover.join_buffer, failover.loss_after),
            peer: None,
            up_since: now,
            heard: false,
            link: None,
            bitrate: 0,
            alarm: None,
            continuity_errors: 0,
        }
    }
}
