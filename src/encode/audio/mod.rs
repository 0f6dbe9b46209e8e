//! The thread of one audio rung: for each segment a fresh decoder and a fresh encoder, fed by [`audio_grid`](super::audio_grid)'s plan.
//!
//! In:    items and plans; units of the first audio track are used, or of the first one in the rung's language.
//! Out:   AAC frames in order, the end of each segment, how loud it was, and what the limiter took of that.
//! Never: stops: where sound is missing there is silence of the same length.
//!
//! ```text
//!  unit → decoder → mix (layout) → resample (rate, drift) → place (grid) → gain → limiter → AAC
//!                                                                         └─► meters ◄┘
//! ```
//!
//! All of it belongs to one segment ([`segment`]) and is made anew for the next. Two rungs of one track decode it twice: about 1 % of a
//! core each, and no thread has to wait for another.

pub(super) mod level;
mod meter;
mod mix;
mod resample;
mod segment;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::audio_grid::{Plan, time_of};
use super::gst::ChainError;
use super::ipc::{CodedUnit, FromWorker, Job, Loudness, LoudnessReading, RenditionIndex, SegmentEnd, SegmentPlan};
use super::ladder::AudioRung;
use super::outbox::Outbox;
use super::pulse::Pulse;
use super::slots::{AHEAD_MAX, Patience};
use super::template::{AudioEncoder, Template};
use crate::clock;
use crate::media::{
    AUDIO_FRAME_SAMPLES, Break, ChannelTime, Codec, Grid, Item, Pace, SegmentNumber, TrackId, TrackKind, TrackSet,
    Unit, terminological,
};
use segment::{Course, SegmentAudio};

const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Plans and paces that are remembered. More than a join buffer has segments, and what is planned ahead of it.
const REMEMBERED: usize = 64;
/// A unit so little before the last one was heard already: a source that takes over begins with what the one before it sent.
const HEARD: Duration = Duration::from_secs(2);
const FRAME: i64 = AUDIO_FRAME_SAMPLES as i64;

/// Why an audio rung cannot go on. The worker ends: its supervisor starts a fresh one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The encoder cannot be built or refuses samples. Decoders may fail; encoders may not.
    #[error(transparent)]
    Encoder(#[from] ChainError),
    /// The encoder swallowed frames.
    #[error("the encoder made {got} of {want} frames of segment {segment}")]
    Count {
        /// The segment.
        segment: SegmentNumber,
        /// Frames it has.
        want: u64,
        /// Packets that came.
        got: u64,
    },
}

/// What an audio rung's thread is made of.
#[derive(Debug)]
pub struct Audio {
    recipe: Recipe,
    rendition: RenditionIndex,
    patience: Patience,
    outbox: Outbox,
    pulse: Pulse,
    errors: Arc<AtomicU64>,
    held_up: Arc<AtomicBool>,
    /// ISO 639-2/T code of the track to take.
    language: Option<[u8; 3]>,
    track: Option<(TrackId, Codec)>,
    /// The newest unit's time.
    newest: Option<ChannelTime>,
    /// Rising; the oldest first.
    plans: VecDeque<SegmentPlan>,
    paces: VecDeque<Pace>,
    late_plans: Arc<AtomicU64>,
    /// Segments in the making, rising, without hole; pre-roll and tail of two or three overlap.
    open: VecDeque<SegmentAudio>,
    next_open: SegmentNumber,
}

/// What segments are made from.
#[derive(Clone, Debug)]
struct Recipe {
    grid: Grid,
    template: Template,
    encoder: AudioEncoder,
    channels: u8,
    loudness: Option<Loudness>,
    pulse: Pulse,
}

/// What an audio rung's thread hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Media.
    Item(Item<ChannelTime>),
    /// What is planned.
    Plan(SegmentPlan),
}

/// What a thread shares with the rest of its worker.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where units go.
    pub outbox: Outbox,
    /// The thread's pulse.
    pub pulse: Pulse,
    /// Decoder errors, for the heartbeat.
    pub errors: Arc<AtomicU64>,
    /// Plans that came when their segment was in the making already, for the heartbeat.
    pub late_plans: Arc<AtomicU64>,
    /// Set while the reader waits for room in another thread's queue.
    pub held_up: Arc<AtomicBool>,
}

impl Audio {
    /// A rung of `job` that sends as `rendition`.
    pub fn new(job: &Job, rung: &AudioRung, template: &Template, rendition: RenditionIndex, shared: Shared) -> Self {
        let Shared { outbox, pulse, errors, late_plans, held_up } = shared;
        let recipe = Recipe {
            grid: job.grid,
            template: template.clone(),
            encoder: template.audio_encoder(rung),
            channels: rung.channels,
            loudness: job.loudness,
            pulse: pulse.clone(),
        };
        Self {
            recipe,
            rendition,
            patience: Patience::new(job.hold, clock::now()),
            outbox,
            pulse,
            errors,
            held_up,
            language: rung.language.map(terminological),
            track: None,
            newest: None,
            plans: job.plan.iter().filter(|plan| plan.rendition == rendition).copied().collect(),
            paces: VecDeque::new(),
            late_plans,
            open: VecDeque::new(),
            next_open: job.start,
        }
    }

    /// Runs until the sender is gone; segments that are not whole by then get no end.
    pub fn run(mut self, items: &Receiver<Heard>) -> Result<(), AudioError> {
        loop {
            let now = clock::now();
            let sleep = self.patience.wake_in(self.next_time(), now).min(SLEEP_MAX);
            let idle = match items.recv_timeout(sleep) {
                Ok(Heard::Item(item)) => {
                    self.pulse.busy();
                    self.item(item)?;
                    false
                }
                Ok(Heard::Plan(plan)) => {
                    self.plan_ahead(plan);
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.pulse.busy();
            self.fill_due(idle)?;
            self.pulse.idle();
        }
        for segment in &mut self.open {
            segment.end_decoder()?;
        }
        self.send()
    }

    fn item(&mut self, item: Item<ChannelTime>) -> Result<(), AudioError> {
        match item {
            Item::Tracks(tracks) => {
                let track = self.choose(&tracks);
                if track != self.track {
                    self.end_decoders()?;
                }
                self.track = track;
            }
            Item::Unit(unit) => {
                if let Some((_, codec)) = self.track.filter(|(id, _)| *id == unit.track) {
                    self.unit(codec, &unit)?;
                }
            }
            // Sound is handed over from where the old source left it. A copy of the same stream continues it frame by frame, and
            // then the segment must come out as if nothing had happened; where it does not, its place on the grid tells.
            Item::Break(Break::SourceSwitch) => {}
            Item::Break(_) | Item::End => {
                self.newest = None;
                self.end_decoders()?;
            }
            Item::Pace(pace) => {
                self.paces.retain(|known| known.from < pace.from);
                self.paces.push_back(pace);
                forget_old(&mut self.paces);
            }
        }
        self.send()
    }

    /// The first track that can be decoded, in the rung's language if it has one. The order is the programme map's.
    fn choose(&self, tracks: &TrackSet) -> Option<(TrackId, Codec)> {
        let decodable =
            |codec: Codec| codec.kind() == TrackKind::Audio && self.recipe.template.decoder(codec).is_some();
        let spoken =
            |language: Option<[u8; 3]>| self.language.is_none_or(|wanted| language.map(terminological) == Some(wanted));
        let fits = |codec, language| decodable(codec) && spoken(language);
        tracks.tracks.iter().find(|t| fits(t.codec, t.language)).map(|t| (t.id, t.codec))
    }

    fn plan_ahead(&mut self, plan: SegmentPlan) {
        if plan.rendition != self.rendition {
            return;
        }
        if plan.from < self.next_open {
            self.late_plans.fetch_add(1, Ordering::Relaxed);
        }
        self.plans.retain(|known| known.from < plan.from);
        self.plans.push_back(plan);
        forget_old(&mut self.plans);
    }

    /// What holds for a segment: a function of what was planned alone.
    fn course(&self, segment: SegmentNumber) -> Course {
        let stretch =
            |at: SegmentNumber| self.paces.iter().rfind(|pace| pace.from <= at).map_or(0, |pace| pace.stretch);
        let gain = match self.plans.iter().rfind(|plan| plan.from <= segment) {
            Some(plan) if plan.from == segment => (plan.before, plan.gain),
            Some(plan) => (plan.gain, plan.gain),
            None => self.plans.front().map_or((0, 0), |first| (first.before, first.before)),
        };
        Course { gain, stretch: (stretch(SegmentNumber(segment.0.saturating_sub(1))), stretch(segment)) }
    }

    fn unit(&mut self, codec: Codec, unit: &Unit<ChannelTime>) -> Result<(), AudioError> {
        let now = clock::now();
        if unit.pts > now.channel_time() + AHEAD_MAX {
            self.errors.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if self.newest.is_some_and(|newest| unit.pts <= newest && unit.pts + HEARD > newest) {
            return Ok(());
        }
        self.newest = Some(unit.pts);
        while self.plan(self.next_open).units_from <= unit.pts {
            // A unit far behind the segments in the making closes them one by one.
            self.close_before(unit.pts)?;
            self.open_next()?;
        }
        self.close_before(unit.pts)?;
        // What is not sound must not keep the clock from filling in silence.
        let mut moved = self.open.is_empty();
        for segment in self.open.iter_mut().filter(|segment| unit.pts >= segment.plan.units_from) {
            let before = segment.decoded();
            let errors = segment.decode(codec, unit)?;
            self.errors.fetch_add(errors, Ordering::Relaxed);
            moved |= segment.decoded() > before;
        }
        if moved {
            self.patience.moved(now);
        }
        Ok(())
    }

    fn end_decoders(&mut self) -> Result<(), AudioError> {
        self.open.iter_mut().try_for_each(SegmentAudio::end_decoder)
    }

    /// Completes the segments that no unit from `at` on takes part in.
    fn close_before(&mut self, at: ChannelTime) -> Result<(), AudioError> {
        for segment in &mut self.open {
            if at > segment.plan.units_to {
                segment.end_decoder()?;
                segment.fill_to(segment.plan.place_to)?;
            }
        }
        self.send()
    }

    /// Fills with silence what is past its deadline, a frame at a time.
    fn fill_due(&mut self, idle: bool) -> Result<(), AudioError> {
        let mut now = clock::now();
        if self.held_up.load(Ordering::Relaxed) {
            self.patience.moved(now);
        }
        while self.patience.is_over(self.next_time(), idle, now) {
            if self.open.iter().all(|segment| segment.placer.is_done()) {
                self.open_next()?;
            }
            let patience = self.patience;
            for segment in &mut self.open {
                let next = segment.placer.next();
                if !segment.placer.is_done() && patience.is_over(time_of(next + FRAME), idle, now) {
                    segment.fill_to(next + FRAME)?;
                }
            }
            self.send()?;
            self.pulse.busy();
            now = clock::now();
        }
        Ok(())
    }

    /// When the sound that comes next must be there.
    fn next_time(&self) -> ChannelTime {
        let unfinished = self.open.iter().find(|segment| !segment.placer.is_done());
        let next = unfinished.map_or_else(|| self.plan(self.next_open).place_from, |s| s.placer.next());
        time_of(next + FRAME)
    }

    fn plan(&self, segment: SegmentNumber) -> Plan {
        Plan::new(&self.recipe.grid, segment, self.recipe.encoder.delay)
    }

    fn open_next(&mut self) -> Result<(), AudioError> {
        let course = self.course(self.next_open);
        self.open.push_back(SegmentAudio::new(&self.recipe, self.plan(self.next_open), course)?);
        self.next_open = self.next_open.next();
        Ok(())
    }

    /// Sends what the first open segment has; the next one's turn comes when it is whole.
    fn send(&mut self) -> Result<(), AudioError> {
        self.pulse.idle();
        while let Some(front) = self.open.front_mut() {
            let (rendition, segment) = (self.rendition, front.plan.segment);
            for (position, material, data) in front.ready.drain(..) {
                self.outbox.send(FromWorker::Coded(CodedUnit {
                    rendition,
                    segment,
                    position,
                    key: true,
                    material,
                    data,
                }));
            }
            if !front.placer.is_done() {
                break;
            }
            let Plan { frames, .. } = front.plan;
            if front.kept != frames {
                return Err(AudioError::Count { segment, want: frames, got: front.kept });
            }
            let units = u32::try_from(frames).unwrap_or(u32::MAX);
            self.outbox.send(FromWorker::SegmentEnd(SegmentEnd { rendition, segment, units, filled: front.filled }));
            if let Some(steps) = front.reading() {
                self.outbox.send(FromWorker::Loudness(LoudnessReading { rendition, segment, steps }));
            }
            self.open.pop_front();
        }
        Ok(())
    }
}

fn forget_old<T>(list: &mut VecDeque<T>) {
    if list.len() > REMEMBERED {
        list.pop_front();
    }
}
