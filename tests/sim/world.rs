//! The world around one channel, on virtual time: sources, encode processes, the shell, and a script of what goes wrong.
//!
//! In:    a script. Out: the first broken promise, or what happened on the whole.
//! Never: reads a clock for anything but a beginning to count from.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tandem::channel::{Action, Channel, Generation, Input};
use tandem::clock::{self, Now};
use tandem::config::{self, Condition};
use tandem::encode::ipc::{Deinterlace, InputLoss, Slate, ToWorker};
use tandem::encode::ladder::{AudioRung, RateControl, VideoRung};
use tandem::ingest::IngestEvent;
use tandem::media::{ChannelId, FrameRate, Grid, Item, PipelineId, RenditionId, SourceId, SourceName};
use tandem::probe::ipc::ToProbe;

use super::encoder::Encoder;
use super::judge::Judge;
use super::probe::Probe;
use super::programme::{FRAME_MS, Stream};
use super::rng::Rng;
use super::script::{Fault, HEAD_FRAMES, STEP_MS, Script};
use super::ts;

pub const LOSS_AFTER: Duration = Duration::from_millis(200);
pub const JOIN_BUFFER: Duration = Duration::from_secs(4);
/// The default: `loss_after` and 400 ms.
pub const HOLD: Duration = Duration::from_millis(600);
const PACKET: usize = 188;

/// What a whole run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub segments: u64,
    pub gaps: u64,
    pub equal: u64,
    pub differs: u64,
    pub switches: u64,
    /// When.
    pub switched_ms: Vec<u64>,
    pub deaths: u64,
    pub inputs: u64,
    /// Coded pictures of the first rung of either pipeline.
    pub pictures: u64,
    /// Times a pipeline was called to encode.
    pub calls: u64,
}

/// One contribution feed.
struct Source {
    name: SourceName,
    delay_ms: u64,
    /// PTS of frame 0 of the stream it carries.
    base: u64,
    connected: bool,
    silent_until: u64,
    held_until: u64,
    held: Vec<Bytes>,
    up_at: Option<u64>,
    loss_until: u64,
    wrong_bits_until: u64,
    no_video_until: u64,
    shows: Option<(Condition, u64)>,
}

/// What runs for a pipeline.
struct Process {
    generation: Generation,
    encoder: Encoder,
}

/// The world.
pub struct World {
    script: Script,
    t0: Now,
    channel: Channel,
    streams: BTreeMap<u64, Stream>,
    sources: Vec<Source>,
    processes: [Option<Process>; 2],
    probe: Option<Probe>,
    fails: [u32; 2],
    slow_until: [u64; 2],
    garbage_until: [u64; 2],
    main_stalled_until: u64,
    host_stalled_until: u64,
    /// What waits for the channel's owner: words of processes, which it takes first, and media.
    words: VecDeque<Input>,
    media: VecDeque<Input>,
    rng: Rng,
    judge: Judge,
}

/// Runs a script.
///
/// # Errors
/// The broken promise.
pub fn run(script: Script) -> Result<Outcome, String> {
    let length_ms = script.length_ms;
    let mut world = World::new(script);
    for ms in (0..length_ms).step_by(STEP_MS as usize) {
        world.step(ms).map_err(|broken| format!("at {ms} ms: {broken}"))?;
    }
    world.judge.finish()
}

impl World {
    fn new(script: Script) -> Self {
        let mut rng = Rng::new(script.seed.wrapping_mul(31));
        // 21 November 2026, 14:00 UTC, and some milliseconds, so that a channel begins anywhere in a segment.
        let utc = Duration::from_millis(1_795_269_600_000 + rng.range(0, 2000));
        let t0 = Now { mono: clock::now().mono, utc };
        let config = config(&script);
        let sources = (0..4)
            .map(|i| Source {
                name: name(i),
                delay_ms: script.delays_ms[i],
                base: script.base,
                connected: false,
                silent_until: 0,
                held_until: 0,
                held: Vec::new(),
                up_at: Some(rng.range(0, 30) * STEP_MS),
                loss_until: 0,
                wrong_bits_until: 0,
                no_video_until: 0,
                shows: None,
            })
            .collect();
        Self {
            judge: Judge::new(script.clone(), config.grid, t0),
            channel: Channel::new(config, false, t0),
            t0,
            streams: BTreeMap::new(),
            sources,
            processes: [None, None],
            probe: None,
            fails: [0; 2],
            slow_until: [0; 2],
            garbage_until: [0; 2],
            main_stalled_until: 0,
            host_stalled_until: 0,
            words: VecDeque::new(),
            media: VecDeque::new(),
            rng,
            script,
        }
    }

    fn now(&self, ms: u64) -> Now {
        self.t0.after(Duration::from_millis(ms))
    }

    fn step(&mut self, ms: u64) -> Result<(), String> {
        while let Some((_, fault)) = self.script.faults.first().copied().filter(|(at, _)| *at <= ms) {
            self.script.faults.remove(0);
            self.judge.fault(ms, fault);
            self.suffer(ms, fault);
        }
        for at in 0..self.sources.len() {
            self.send(ms, at);
        }
        if ms >= self.host_stalled_until {
            self.encode(ms);
            self.look(ms);
            if ms >= self.main_stalled_until {
                self.own(ms)?;
            }
        }
        self.judge.step(ms)
    }

    fn suffer(&mut self, ms: u64, fault: Fault) {
        let until = ms + fault.ms();
        match fault {
            Fault::Silent { source, .. } => self.sources[source].silent_until = until,
            Fault::Down { source, .. } => self.hang_up(ms, source, until),
            Fault::NewTimeline { source, by_s, .. } => {
                self.hang_up(ms, source, until);
                self.sources[source].move_by(by_s);
            }
            Fault::Jump { source, by_s } => self.sources[source].move_by(by_s),
            Fault::NoVideo { source, .. } => self.sources[source].no_video_until = until,
            Fault::Shows { source, what, .. } => self.sources[source].shows = Some((what, until)),
            Fault::ProbeDies => {
                if let Some(probe) = self.probe.take() {
                    self.words.push_back(Input::ProbeGone(probe.generation, "signal 11".to_owned()));
                }
            }
            Fault::ProbeHangs => self.probe.iter_mut().for_each(|probe| probe.hung = true),
            Fault::Burst { source, .. } => self.sources[source].held_until = until,
            Fault::Loss { source, .. } => self.sources[source].loss_until = until,
            Fault::WrongBits { source, .. } => self.sources[source].wrong_bits_until = until,
            Fault::Stall { .. } => self.sources.iter_mut().for_each(|s| s.held_until = until),
            Fault::AllSilent { .. } => self.sources.iter_mut().for_each(|s| s.silent_until = until),
            Fault::MainStall { .. } => self.main_stalled_until = until,
            Fault::HostStall { .. } => {
                self.host_stalled_until = until;
                self.sources.iter_mut().for_each(|s| s.held_until = until);
            }
            Fault::Kill { pipeline } => self.die(pipeline),
            Fault::FailsToStart { pipeline, times } => {
                self.fails[pipeline] = times;
                self.die(pipeline);
            }
            Fault::Hang { pipeline } => {
                if let Some(process) = &mut self.processes[pipeline] {
                    process.encoder.hung = true;
                }
            }
            Fault::Garbage { pipeline, .. } => self.garbage_until[pipeline] = until,
            Fault::Slow { pipeline, lag_ms, .. } => {
                self.slow_until[pipeline] = until;
                if let Some(process) = &mut self.processes[pipeline] {
                    process.encoder.lag = Duration::from_millis(lag_ms);
                }
            }
        }
    }

    fn die(&mut self, pipeline: usize) {
        if let Some(process) = self.processes[pipeline].take() {
            let id = PipelineId::BOTH[pipeline];
            self.words.push_back(Input::EncoderGone(id, process.generation, "signal 11".to_owned()));
        }
    }

    fn hang_up(&mut self, ms: u64, at: usize, until: u64) {
        let source = &mut self.sources[at];
        source.up_at = Some(until);
        source.held.clear();
        if std::mem::take(&mut source.connected) {
            let down = IngestEvent::Down { reason: format!("at {ms} ms") };
            self.media.push_back(Input::Source(source.name.clone(), down));
        }
    }

    /// A source sends what is due.
    fn send(&mut self, ms: u64, at: usize) {
        let now = self.now(ms);
        let source = &mut self.sources[at];
        if source.up_at.is_some_and(|up| up <= ms) {
            source.up_at = None;
            source.connected = true;
            let up = IngestEvent::Up { peer: format!("192.0.2.{at}:9000") };
            self.media.push_back(Input::Source(source.name.clone(), up));
        }
        let age = HEAD_FRAMES * FRAME_MS + ms - source.delay_ms;
        if age.is_multiple_of(FRAME_MS) && source.connected {
            let index = age / FRAME_MS;
            // A second before the first one that is asked for: others may be later by so much.
            let begin = || Stream::new(self.script.manner, source.base, index - 25);
            let chunk = self.streams.entry(source.base).or_insert_with(begin).chunk(index);
            if source.silent_until <= ms {
                let chunk = source.spoil(ms, chunk, &mut self.rng);
                source.held.push(chunk);
            }
        }
        if source.held_until <= ms && !source.held.is_empty() {
            let data = std::mem::take(&mut source.held).concat().into();
            let input = Input::Source(source.name.clone(), IngestEvent::Data { arrival: now, data, rtp: None });
            self.media.push_back(input);
        }
    }

    /// The encode processes work.
    fn encode(&mut self, ms: u64) {
        let now = self.now(ms);
        for (pipeline, process) in self.processes.iter_mut().enumerate() {
            let Some(process) = process else { continue };
            if self.slow_until[pipeline] <= ms {
                process.encoder.lag = Duration::ZERO;
            }
            process.encoder.garbage = self.garbage_until[pipeline] > ms;
            let (id, generation) = (PipelineId::BOTH[pipeline], process.generation);
            self.words.extend(process.encoder.step(now).into_iter().map(|word| Input::Encoder(id, generation, word)));
        }
    }

    /// The probe looks.
    fn look(&mut self, ms: u64) {
        let Some(probe) = &mut self.probe else { return };
        let generation = probe.generation;
        self.words.extend(probe.step(ms).into_iter().map(|word| Input::Probe(generation, word)));
    }

    /// The channel's owner works: `channel::run` without its task.
    fn own(&mut self, ms: u64) -> Result<(), String> {
        while let Some(input) = self.words.pop_front().or_else(|| self.media.pop_front()) {
            self.apply(ms, input)?;
        }
        let now = self.now(ms);
        if self.channel.wake_at(now).mono <= now.mono {
            self.apply(ms, Input::Tick)?;
            // A process that failed to start has left word.
            while let Some(input) = self.words.pop_front() {
                self.apply(ms, input)?;
            }
        }
        if self.channel.wake_at(now).mono <= now.mono {
            return Err("the owner would spin: it wants to be woken at once, again".to_owned());
        }
        Ok(())
    }

    fn apply(&mut self, ms: u64, input: Input) -> Result<(), String> {
        self.judge.input(ms, &input)?;
        let actions = self.channel.apply(self.now(ms), input);
        self.judge.actions(ms, &actions)?;
        for action in actions {
            self.carry_out(ms, action)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, ms: u64, action: Action) -> Result<(), String> {
        match action {
            Action::StartEncoder(id, generation, job) => {
                let at = id.index();
                if self.processes[at].is_some() {
                    return Err(format!("pipeline {id} has a process already"));
                }
                if self.fails[at] > 0 {
                    self.fails[at] -= 1;
                    let why = "it could not be started: no memory".to_owned();
                    self.words.push_back(Input::EncoderGone(id, generation, why));
                } else {
                    let encoder = Encoder::new(self.script.natures[at], *job, self.now(ms));
                    self.processes[at] = Some(Process { generation, encoder });
                    self.words.push_back(Input::EncoderSpawned(id, generation, 4711));
                }
            }
            Action::Send(id, generation, message) => {
                let process = self.processes[id.index()].as_mut().filter(|p| p.generation == generation);
                match (process, message) {
                    (Some(_), ToWorker::Item(Item::End)) => {
                        return Err("an end was sent to a process that must not stop".to_owned());
                    }
                    (Some(process), ToWorker::Item(item)) => process.encoder.item(item),
                    (Some(process), ToWorker::Encode(orders)) => process.encoder.orders(orders),
                    _ => {}
                }
            }
            Action::KillEncoder(id, generation) => {
                let slot = &mut self.processes[id.index()];
                if let Some(process) = slot.take_if(|p| p.generation == generation) {
                    self.judge.killed(ms, id, process.encoder.hung)?;
                }
            }
            Action::StartProbe(generation, job) => {
                if self.probe.is_some() {
                    return Err("there is a probe already".to_owned());
                }
                self.probe = Some(Probe::new(generation, usize::from(job.sources), ms));
                self.words.push_back(Input::ProbeSpawned(generation, 4712));
            }
            Action::SendProbe(generation, message) => {
                if let Some(probe) = self.probe.as_mut().filter(|probe| probe.generation == generation) {
                    let shows = match &message {
                        ToProbe::Piece(piece) => self.sources[usize::from(piece.source)].shows,
                        _ => None,
                    };
                    let shows = shows.filter(|(_, until)| ms < *until).map(|(what, _)| what);
                    probe.hear(ms, message, shows);
                }
            }
            Action::KillProbe(generation) => {
                let killed = self.probe.take_if(|probe| probe.generation == generation);
                if killed.is_some_and(|probe| !probe.hung) {
                    return Err("a probe was killed that was well".to_owned());
                }
            }
            Action::Publish(snapshot) => self.judge.snapshot(ms, &snapshot)?,
            Action::Status(status) => self.judge.status(&status),
            Action::Event(event) => self.judge.event(ms, &event)?,
            // No pipeline is published.
            Action::Onward(..) => {}
            Action::OpenOutput(_) | Action::CloseOutput(_) | Action::Output(..) => {
                return Err("it has no outputs".to_owned());
            }
            Action::Keep(_) => return Err("there is no disk to keep anything on".to_owned()),
            Action::Save(_) => return Err("nobody asked for segments to be saved".to_owned()),
        }
        Ok(())
    }
}

impl Source {
    fn move_by(&mut self, seconds: i64) {
        self.base = (self.base as i64 + seconds * 90_000).rem_euclid(1 << 33) as u64;
    }

    /// Loses packets or bits, while it is to.
    fn spoil(&self, ms: u64, chunk: Bytes, rng: &mut Rng) -> Bytes {
        let (lossy, wrong) = (ms < self.loss_until, ms < self.wrong_bits_until);
        let no_video = ms < self.no_video_until;
        if !lossy && !wrong && !no_video {
            return chunk;
        }
        let mut out = Vec::with_capacity(chunk.len());
        for packet in chunk.chunks(PACKET) {
            if lossy && rng.one_in(20) {
                continue;
            }
            if no_video && u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]) == ts::VIDEO_PID {
                continue;
            }
            let begin = out.len();
            out.extend_from_slice(packet);
            if wrong && rng.one_in(20) {
                let bit = rng.range(0, 8 * PACKET as u64) as usize;
                out[begin + bit / 8] ^= 1 << (bit % 8);
                if rng.one_in(2) {
                    // transport_error_indicator
                    out[begin + 1] |= 0x80;
                }
            }
        }
        out.into()
    }
}

fn name(source: usize) -> SourceName {
    SourceName::new(&format!("s{source}")).expect("good name")
}

/// The script's channel.
pub fn config(script: &Script) -> config::Channel {
    let id = ChannelId::new("sim").expect("good name");
    let rate = FrameRate::new(25, 1).expect("good rate");
    let rendition = |name: &str| RenditionId::new(name).expect("good name");
    let shape = config::SignalShape { width: 640, height: 360, rate, bitrate: 1_000_000 };
    let rate_control = RateControl::CappedCrf { crf: 23.0, max_bitrate: 500_000 };
    let rung = |i: usize| VideoRung {
        bframes: 0,
        ..VideoRung::new(rendition(&format!("v{i}")), 640 >> i, 360 >> i, rate_control)
    };
    config::Channel {
        template: None,
        id: id.clone(),
        title: "Simulation".to_owned(),
        grid: Grid::new(script.segment, rate).expect("good grid"),
        part: Duration::from_millis(480),
        serve: config::Serve {
            hls: true,
            low_latency_hls: script.parts(),
            dash: true,
            low_latency_dash: script.parts(),
            ..config::Serve::default()
        },
        window: Duration::from_secs(12),
        dvr: None,
        hold: HOLD,
        loss: InputLoss {
            repeat_for: Duration::from_secs(1),
            black_for: Duration::ZERO,
            slate: Slate { text: "No signal".to_owned(), picture: None },
        },
        memory_max: 0,
        deinterlace: Deinterlace::Auto,
        loudness: None,
        redundancy: script.redundancy,
        deterministic: true,
        sources: (0..4)
            .map(|i| config::Source {
                id: SourceId { channel: id.clone(), source: name(i) },
                input: config::Input::Test(shape.clone()),
                program: None,
            })
            .collect(),
        pipelines: PipelineId::BOTH
            .map(|p| config::Pipeline {
                id: p,
                sources: script.sources[p.index()].iter().map(|&i| name(i)).collect(),
                elsewhere: false,
                publish: Vec::new(),
            })
            .to_vec(),
        failover: failover(script),
        outputs: Vec::new(),
        profiles: Vec::new(),
        ladder: config::Ladder {
            file: "model.toml".into(),
            auto: false,
            video: (0..script.video_rungs).map(rung).collect(),
            audio: vec![AudioRung { id: rendition("a0"), bitrate: 64_000, channels: 2, language: None }],
        },
    }
}

fn failover(script: &Script) -> config::Failover {
    let revert = script.revert.map_or(config::Revert::Never, config::Revert::After);
    let plain = config::Failover::new(LOSS_AFTER, JOIN_BUFFER, revert);
    let hold_down = script.hold_down.unwrap_or(plain.hold_down);
    config::Failover { hold_down, conditions: script.conditions.clone(), ..plain }
}
