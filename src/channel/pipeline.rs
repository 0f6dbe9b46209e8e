//! One pipeline inside its channel: which source it takes, and the life of its encode process.
//!
//! In:    how the sources fare, what its encode process says, the time.
//! Out:   [`Step`]s: start, kill, send. The process is disposable; whatever it does, the pipeline has a next step.
//! Never: waits for a process that says nothing, or tells an old process's words from a new one's by luck.

use std::time::Duration;

use crate::child::Backoff;
use crate::clock::Now;
use crate::config;
use crate::encode::ipc::{CodedUnit, FromWorker, Heartbeat, Hello, LoudnessReading, SegmentEnd, Showing, Thumbnail};
use crate::failover::{Failover, Health, Switch};
use crate::media::{Item, PipelineId, TrackKind, TrackSet};

use super::elsewhere::Elsewhere;
use super::feed::Sent;

/// A worker that says nothing for so long hangs. Six heartbeats; with the check itself a hung process is dead within 2 s.
pub const HANGS_AFTER: Duration = Duration::from_millis(1500);

/// A worker has so long to say hello: the first start after an installation scans GStreamer's plugins.
pub const HELLO_WITHIN: Duration = Duration::from_secs(20);

/// How far below the highest picture sent a switch joins: pictures are sent in decode order, and those just below the
/// highest may have died with the old source. 16 pictures is the deepest reorder of H.264 (§A.3.1).
pub const REJOIN: Duration = Duration::from_millis(700);

/// Tells the words of one incarnation of a process from those of the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u32);

/// The encode process, as far as the pipeline knows.
#[derive(Debug)]
enum Encoder {
    /// Not running; start it when this comes.
    Down { restart_at: Now },
    /// Running, or believed to be.
    Up(Box<Life>),
}

/// One incarnation of the encode process.
#[derive(Debug)]
struct Life {
    since: Now,
    last_sign: Now,
    hello: Option<Hello>,
    heartbeat: Heartbeat,
    locked: bool,
}

/// Why a process must be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hung {
    /// It never said hello.
    NoHello,
    /// Its heartbeat stopped.
    NoHeartbeat,
}

/// What a word of the encode process means to the channel.
#[derive(Debug, PartialEq)]
pub enum Word {
    /// It is up.
    Started(Hello),
    /// A coded picture or audio frame to package.
    Coded(CodedUnit),
    /// A rendition's segment is whole.
    SegmentEnd(SegmentEnd),
    /// How loud a segment of the source was.
    Loudness(LoudnessReading),
    /// Its slate's file cannot be shown.
    SlateFailed(String),
    /// Nothing to act on.
    Nothing,
}

/// One pipeline.
#[derive(Debug)]
pub struct Pipeline {
    /// A or B.
    pub id: PipelineId,
    /// Its sources in the order of preference: places in the channel's list.
    pub sources: Vec<usize>,
    failover: Failover,
    /// What its encoder has been handed.
    pub sent: Sent,
    encoder: Encoder,
    /// Somebody else encodes it; then there is no process of ours.
    pub(super) elsewhere: Option<Elsewhere>,
    generation: Generation,
    starts: u32,
    backoff: Backoff,
    /// Process id of the running incarnation, once the shell knows it.
    pub pid: Option<u32>,
    /// The newest small picture, of whichever incarnation.
    pub thumbnail: Option<Thumbnail>,
}

impl Pipeline {
    /// A pipeline whose process is due at once.
    pub fn new(now: Now, id: PipelineId, sources: Vec<usize>, failover: config::Failover) -> Self {
        Self {
            id,
            sources,
            failover: Failover::new(failover),
            sent: Sent::default(),
            encoder: Encoder::Down { restart_at: now },
            elsewhere: None,
            generation: Generation::default(),
            starts: 0,
            backoff: Backoff::default(),
            pid: None,
            thumbnail: None,
        }
    }

    /// It is made elsewhere, and no process of ours is ever due.
    #[must_use]
    pub fn made_elsewhere(self) -> Self {
        Self { elsewhere: Some(Elsewhere::default()), ..self }
    }

    /// Its first process is told from those up to this one.
    pub fn goes_on_from(&mut self, last: Generation) {
        self.generation = last;
    }

    /// The source on air: its place in the channel's list.
    pub fn on_air(&self) -> Option<usize> {
        self.failover.on_air().map(|i| self.sources[i])
    }

    /// Decides on a change of source; the answer's `to` is a place in the channel's list. `health` is the channel's list.
    pub fn choose(&mut self, now: Now, health: &[Health]) -> Option<Switch> {
        let mine: Vec<Health> = self.sources.iter().map(|&i| health[i]).collect();
        let switch = self.failover.decide(now, &mine)?;
        Some(Switch { to: self.sources[switch.to], ..switch })
    }

    /// The incarnation that runs or ran last.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Its process runs, or is believed to.
    pub const fn is_up(&self) -> bool {
        matches!(self.encoder, Encoder::Up(_))
    }

    /// Its process, or its encoder elsewhere, delivers whole segments.
    pub fn is_locked(&self) -> bool {
        match (&self.elsewhere, &self.encoder) {
            (Some(it), _) => it.locked,
            (None, Encoder::Up(life)) => life.locked,
            (None, Encoder::Down { .. }) => false,
        }
    }

    /// Somebody makes it now.
    pub fn runs(&self) -> bool {
        self.elsewhere.as_ref().map_or(self.is_up(), |it| it.up)
    }

    /// Its process said hello.
    pub fn has_greeted(&self) -> bool {
        self.hello().is_some()
    }

    /// What its process said it is, if it runs and has said so.
    pub fn hello(&self) -> Option<&Hello> {
        match &self.encoder {
            Encoder::Up(life) => life.hello.as_ref(),
            Encoder::Down { .. } => None,
        }
    }

    /// The packager got its first whole segment.
    pub fn note_lock(&mut self) {
        match (&mut self.elsewhere, &mut self.encoder) {
            (Some(it), _) => it.locked = true,
            (None, Encoder::Up(life)) => life.locked = true,
            (None, Encoder::Down { .. }) => {}
        }
    }

    /// Notes that items go to the encoder.
    pub fn note_sent(&mut self, items: &[Item<crate::media::ChannelTime>], tracks: &TrackSet) {
        for item in items {
            if let Item::Unit(unit) = item {
                let kind = tracks.get(unit.track).map_or(TrackKind::Data, |t| t.codec.kind());
                self.sent.note(unit, kind);
            }
        }
    }

    /// Its process should be started now.
    pub fn start_is_due(&self, now: Now) -> bool {
        self.elsewhere.is_none() && matches!(self.encoder, Encoder::Down { restart_at } if now.mono >= restart_at.mono)
    }

    /// The channel starts its process.
    pub fn started(&mut self, now: Now) -> Generation {
        self.generation.0 += 1;
        self.starts += 1;
        self.sent = Sent::default();
        self.pid = None;
        self.backoff.started(now.mono);
        let life = Life { since: now, last_sign: now, hello: None, heartbeat: Heartbeat::default(), locked: false };
        self.encoder = Encoder::Up(Box::new(life));
        self.generation
    }

    /// Its process is gone. Returns how long until the next start.
    pub fn gone(&mut self, now: Now) -> Duration {
        let wait = self.backoff.ended(now.mono);
        self.pid = None;
        self.encoder = Encoder::Down { restart_at: now.after(wait) };
        wait
    }

    /// Whether its process hangs.
    pub fn hangs(&self, now: Now) -> Option<Hung> {
        match &self.encoder {
            Encoder::Up(life) if life.hello.is_some() => {
                (now.since(life.last_sign) >= HANGS_AFTER).then_some(Hung::NoHeartbeat)
            }
            Encoder::Up(life) => (now.since(life.since) >= HELLO_WITHIN).then_some(Hung::NoHello),
            Encoder::Down { .. } => None,
        }
    }

    /// Nobody could hear its process until now: its silence counts from here.
    pub fn owner_was_away(&mut self, now: Now) {
        if let Encoder::Up(life) = &mut self.encoder {
            life.last_sign = now;
        }
    }

    /// Its process said something.
    pub fn hear(&mut self, now: Now, word: FromWorker) -> Word {
        let Encoder::Up(life) = &mut self.encoder else { return Word::Nothing };
        match word {
            FromWorker::Hello(it) => {
                life.hello = Some(it.clone());
                life.last_sign = now;
                Word::Started(it)
            }
            FromWorker::Heartbeat(it) => {
                // Only this is a sign of life: sound may go on for long where the thread of a picture hangs.
                life.last_sign = now;
                life.heartbeat = it;
                Word::Nothing
            }
            FromWorker::Coded(unit) => Word::Coded(unit),
            FromWorker::SegmentEnd(end) => Word::SegmentEnd(end),
            FromWorker::Thumbnail(it) => {
                self.thumbnail = Some(it);
                Word::Nothing
            }
            FromWorker::Loudness(reading) => Word::Loudness(reading),
            FromWorker::SlateFailed(why) => Word::SlateFailed(why),
        }
    }

    /// When it may have something to do although nothing arrives. `planned`: it is known what its process would encode.
    pub fn wake_at(&self, now: Now, health: &[Health], planned: bool) -> Option<Now> {
        let mine: Vec<Health> = self.sources.iter().map(|&i| health[i]).collect();
        let life = match &self.encoder {
            Encoder::Down { .. } if self.elsewhere.is_some() => None,
            Encoder::Down { restart_at } => planned.then_some(*restart_at),
            Encoder::Up(life) if life.hello.is_some() => Some(life.last_sign.after(HANGS_AFTER)),
            Encoder::Up(life) => Some(life.since.after(HELLO_WITHIN)),
        };
        [life, self.failover.wake_at(now, &mine)].into_iter().flatten().min_by_key(|at| at.mono)
    }

    /// Its newest heartbeat, and starts so far.
    pub fn vitals(&self) -> (Heartbeat, u32) {
        if let Some(it) = &self.elsewhere {
            // What it shows is not told: what it makes up is counted with its segments.
            let showing = if it.up { Showing::Source } else { Showing::Nothing };
            return (Heartbeat { showing, ..Heartbeat::default() }, it.starts);
        }
        let heartbeat = match &self.encoder {
            Encoder::Up(life) => life.heartbeat.clone(),
            Encoder::Down { .. } => Heartbeat { showing: Showing::Nothing, ..Heartbeat::default() },
        };
        (heartbeat, self.starts)
    }
}
