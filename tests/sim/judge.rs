//! The promises, checked after every event.
//!
//! In:    what the world did to the channel and what the channel did. Out: the first broken promise, in words.
//! Never: looks into the channel; what it knows, an operator or a viewer could know.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tandem::channel::{Action, Input};
use tandem::clock::Now;
use tandem::encode::ipc::{CodedUnit, FromWorker, RenditionIndex};
use tandem::ingest::IngestEvent;
use tandem::media::{Grid, PipelineId, SegmentNumber, SourceName};
use tandem::monitor::{ChannelStatus, Event, EventKind, Severity};
use tandem::package::Snapshot;

use super::script::{Fault, Mode, STEP_MS, Script};
use super::viewer::{Shown, Viewer};
use super::world::{HOLD, JOIN_BUFFER, LOSS_AFTER, Outcome};

/// Units a second of a source: pictures and sound frames.
const UNITS_A_SECOND: u64 = 25 + 47;
/// A hung process is dead so soon after its last sign, ms.
const HUNG_MAX_MS: u64 = 2000;
/// The longest wait between an end and the next start, ms, and a little.
const RESTART_MAX_MS: u64 = 5100;
/// A fresh process is in lock a segment after its start, and so much, ms: what a segment may be published later than the one
/// before, as sources, encode processes and what they catch up differ.
const LOCKS_WITHIN_MS: u64 = 500;
/// The channel's first seconds: sources come one by one, the first segments are begun in the middle.
const BEGINNING_MS: u64 = 8000;
/// How late a segment may be published after its end: what is held back, coded and compared, and a stall's length.
const LATE_MAX_MS: u64 = HOLD.as_millis() as u64 + 2200;

thread_local! {
    static TRACE: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// The last things that happened, for people.
pub fn trace() -> String {
    TRACE.with_borrow_mut(|lines| lines.drain(..).collect::<Vec<_>>().join("\n"))
}

fn note(ms: u64, text: impl FnOnce() -> String) {
    TRACE.with_borrow_mut(|lines| {
        if lines.len() == 60 {
            lines.pop_front();
        }
        lines.push_back(format!("{ms:>6} ms  {}", text()));
    });
}

/// A source as the channel's owner got it.
#[derive(Clone, Copy, Debug, Default)]
struct Feed {
    /// When media last arrived, and since when without a break.
    last: Option<u64>,
    since: u64,
    /// Portions since the connection is up; the first ones need not hold a whole unit.
    portions: u32,
    connected: bool,
    /// Something is the matter with it until then.
    troubled_until: u64,
    /// It does not run on the timeline that all began with.
    foreign: bool,
}

/// A pipeline as one sees it from outside.
#[derive(Clone, Copy, Debug, Default)]
struct Pipeline {
    on_air: Option<usize>,
    started: Option<u64>,
    gone: Option<u64>,
    greeted: bool,
    hung: bool,
    last_sign: u64,
    /// It must be in lock by then.
    lock_by: Option<u64>,
}

/// Times in which the picture may be wrong, or A and B differ, because of what was done to the channel.
#[derive(Clone, Copy, Debug)]
struct Excuse {
    from: u64,
    to: u64,
    /// The picture, and not only a difference between A and B.
    picture: bool,
    /// Pictures that may be wrong.
    budget: Option<u64>,
}

pub struct Judge {
    script: Script,
    grid: Grid,
    t0: Now,
    viewer: Viewer,
    feeds: [Feed; 4],
    pipelines: [Pipeline; 2],
    excuses: Vec<Excuse>,
    /// Nobody may switch until then: everything stalled alike.
    alike_until: u64,
    /// The owner got no time until then.
    stalled_until: u64,
    /// Frame less slot, and source samples less channel samples.
    picture_offset: Option<i64>,
    sound_offset: Option<i64>,
    /// Segments may be refused until then.
    garbage_until: u64,
    outcome: Outcome,
}

impl Judge {
    pub fn new(script: Script, grid: Grid, t0: Now) -> Self {
        TRACE.with_borrow_mut(VecDeque::clear);
        Self {
            script,
            grid,
            t0,
            viewer: Viewer::default(),
            feeds: [Feed::default(); 4],
            pipelines: [Pipeline::default(); 2],
            excuses: vec![Excuse { from: 0, to: BEGINNING_MS, picture: true, budget: None }],
            alike_until: 0,
            stalled_until: 0,
            picture_offset: None,
            sound_offset: None,
            garbage_until: 0,
            outcome: Outcome::default(),
        }
    }

    fn single(&self) -> bool {
        self.script.mode == Mode::Single
    }

    /// What is done to the channel now, and what that explains.
    pub fn fault(&mut self, ms: u64, fault: Fault) {
        note(ms, || format!("*** {fault:?}"));
        let until = ms + fault.ms();
        match fault {
            Fault::Silent { source, ms: lasts } => {
                self.trouble(source, until);
                // Too short for a switch, long enough to lose pictures that others refer to.
                if lasts <= LOSS_AFTER.as_millis() as u64 + 40 {
                    self.excuse_unless_other(source, ms, until + 2000);
                }
            }
            // What it is left for is noticed behind the decoder, and over when a picture says so.
            Fault::Shows { source, .. } => self.trouble(source, until + 1000),
            Fault::ProbeDies | Fault::ProbeHangs => {}
            Fault::NoVideo { source, .. } => self.trouble(source, until),
            Fault::Burst { source, .. } => self.trouble(source, until),
            Fault::Down { source, .. } => self.trouble(source, until),
            Fault::NewTimeline { source, .. } => {
                self.trouble(source, until);
                self.feeds[source].foreign = true;
            }
            // The anchor takes it up, and the source stays on the timeline that all began with. Its counters of packets jump, too: what
            // they damage is missing until the next key frame.
            Fault::Jump { source, .. } => {
                self.trouble(source, until);
                if self.takers(source) > 0 {
                    self.excuse(ms, until + 2000, true, Some(30));
                }
            }
            Fault::Loss { source, .. } | Fault::WrongBits { source, .. } => {
                self.trouble(source, until + 1000);
                self.excuse_unless_other(source, ms, until + 2000);
            }
            Fault::AllSilent { ms: lasts } => {
                (0..4).for_each(|s| self.trouble(s, until));
                // Until it is noticed, as long as it lasts, and until the next key frame.
                let loss = lasts + LOSS_AFTER.as_millis() as u64 + 100 + 1000;
                self.excuse(ms, until + 4000, true, Some(loss.div_ceil(40) + 4));
            }
            Fault::Stall { ms: lasts } | Fault::MainStall { ms: lasts } | Fault::HostStall { ms: lasts } => {
                (0..4).for_each(|s| self.trouble(s, until));
                self.alike_until = self.alike_until.max(until + 500);
                if !matches!(fault, Fault::Stall { .. }) {
                    self.stalled_until = self.stalled_until.max(until);
                }
                for pipeline in &mut self.pipelines {
                    pipeline.lock_by = pipeline.lock_by.map(|by| by + lasts);
                }
                // Sources are up to 100 ms behind the first, decoders hold three pictures back.
                if lasts + 100 + 120 + 40 > HOLD.as_millis() as u64 {
                    self.excuse(ms, until + 4000, true, None);
                }
            }
            Fault::Hang { pipeline } => self.pipelines[pipeline].hung = self.pipelines[pipeline].started.is_some(),
            // Its last words are on their way for a while.
            Fault::Garbage { .. } => self.garbage_until = self.garbage_until.max(until + 1000),
            Fault::Kill { .. } | Fault::FailsToStart { .. } | Fault::Slow { .. } => {}
        }
    }

    fn trouble(&mut self, source: usize, until: u64) {
        let feed = &mut self.feeds[source];
        feed.troubled_until = feed.troubled_until.max(until);
    }

    fn takers(&self, source: usize) -> usize {
        self.pipelines.iter().filter(|p| p.on_air == Some(source)).count()
    }

    /// Media of this source is lost: A and B may differ, and if both take it, all the viewer gets is spoilt.
    fn excuse_unless_other(&mut self, source: usize, ms: u64, to: u64) {
        self.excuse(ms, to, self.takers(source) == 2, None);
    }

    fn excuse(&mut self, ms: u64, to: u64, picture: bool, budget: Option<u64>) {
        // A picture arrives a little after the time of its slot, and two segments may be in the making.
        self.excuses.push(Excuse { from: ms.saturating_sub(1000), to, picture, budget });
    }

    /// What the owner is told.
    pub fn input(&mut self, ms: u64, input: &Input) -> Result<(), String> {
        self.outcome.inputs += 1;
        match input {
            Input::Source(name, IngestEvent::Data { arrival, .. }) => {
                let at = arrival.since(self.t0).as_millis() as u64;
                let feed = &mut self.feeds[place(name)];
                if feed.last.is_none_or(|last| at >= last + LOSS_AFTER.as_millis() as u64) {
                    feed.since = at;
                }
                feed.last = Some(at);
                feed.portions += 1;
            }
            Input::Source(name, IngestEvent::Up { .. }) => {
                note(ms, || format!("{name} up"));
                let feed = &mut self.feeds[place(name)];
                (feed.connected, feed.portions) = (true, 0);
            }
            Input::Source(name, IngestEvent::Down { .. }) => {
                note(ms, || format!("{name} down"));
                self.feeds[place(name)].connected = false;
            }
            Input::Encoder(id, _, word) => {
                let first = |u: &CodedUnit| u.rendition == RenditionIndex(0);
                self.outcome.pictures += u64::from(matches!(word, FromWorker::Coded(unit) if first(unit)));
                let pipeline = &mut self.pipelines[id.index()];
                pipeline.last_sign = ms;
                pipeline.greeted |= matches!(word, FromWorker::Hello(_));
            }
            Input::EncoderGone(id, ..) => self.gone(ms, *id),
            _ => {}
        }
        Ok(())
    }

    fn gone(&mut self, ms: u64, id: PipelineId) {
        let pipeline = &mut self.pipelines[id.index()];
        *pipeline = Pipeline { on_air: pipeline.on_air, gone: Some(ms), ..Pipeline::default() };
        self.outcome.deaths += 1;
    }

    /// What the owner does in answer.
    pub fn actions(&mut self, ms: u64, actions: &[Action]) -> Result<(), String> {
        let sent = |id: PipelineId| actions.iter().filter(|a| matches!(a, Action::Send(to, ..) if *to == id)).count();
        // At most a join buffer and what has just come.
        let most = (JOIN_BUFFER.as_secs() + 7) * UNITS_A_SECOND;
        for id in PipelineId::BOTH {
            if sent(id) as u64 > most {
                return Err(format!("{} items at once to {id}: the join buffer has no bound", sent(id)));
            }
        }
        if actions.len() as u64 > 2 * most + 100 {
            return Err(format!("{} actions at once", actions.len()));
        }
        for action in actions {
            if let Action::StartEncoder(id, _, job) = action {
                note(ms, || format!("start of {id} from segment {}", job.start));
                let segment = self.script.segment.as_millis() as u64;
                // In the beginning its peer is no further, and there is nothing to catch up from.
                let lock = if ms < BEGINNING_MS { 2 * segment + 1200 } else { segment + LOCKS_WITHIN_MS };
                let pipeline = &mut self.pipelines[id.index()];
                pipeline.started = Some(ms);
                pipeline.last_sign = ms;
                pipeline.lock_by = Some(ms + lock);
            }
        }
        Ok(())
    }

    /// The owner ended a process.
    pub fn killed(&mut self, ms: u64, id: PipelineId, hung: bool) -> Result<(), String> {
        note(ms, || format!("kill of {id}"));
        self.gone(ms, id);
        if hung { Ok(()) } else { Err(format!("a process of {id} was killed that was well")) }
    }

    pub fn status(&mut self, status: &ChannelStatus) {
        let publish = &status.publish;
        (self.outcome.segments, self.outcome.gaps) = (publish.segments, publish.gaps);
        (self.outcome.equal, self.outcome.differs) = (publish.equal, publish.differs);
    }

    pub fn event(&mut self, ms: u64, event: &Event) -> Result<(), String> {
        note(ms, || format!("{} {}", event.kind.as_str(), event.text));
        match event.kind {
            EventKind::SourceSwitched => self.switched(ms, event),
            EventKind::EncoderLocked => {
                if let Some(id) = event.pipeline {
                    self.pipelines[id.index()].lock_by = None;
                }
                Ok(())
            }
            EventKind::SegmentRefused => {
                if ms <= self.garbage_until {
                    Ok(())
                } else {
                    Err(event.text.clone())
                }
            }
            EventKind::StandbyCalled => {
                self.outcome.calls += 1;
                Ok(())
            }
            EventKind::SegmentGap if self.single() => Err(event.text.clone()),
            EventKind::SegmentDiffers if self.single() => {
                let number = event.text.split(' ').nth(1).and_then(|n| n.parse().ok()).ok_or("no number")?;
                let foreign = self.pipelines.iter().any(|p| p.on_air.is_some_and(|s| self.feeds[s].foreign));
                let (from, to) = self.interval(number);
                let excused = self.excuses.iter().any(|e| from < e.to && to > e.from);
                if foreign || excused { Ok(()) } else { Err(format!("{}, and nothing explains it", event.text)) }
            }
            _ => Ok(()),
        }
    }

    fn switched(&mut self, ms: u64, event: &Event) -> Result<(), String> {
        let (Some(id), Some(source)) = (event.pipeline, &event.source) else { return Err("who?".to_owned()) };
        let to = place(source);
        let from = self.pipelines[id.index()].on_air.replace(to);
        self.outcome.switches += 1;
        self.outcome.switched_ms.push(ms);
        let Some(from) = from else { return Ok(()) };
        let (left, taken) = (self.feeds[from], self.feeds[to]);
        if event.severity == Severity::Warning {
            let silent = left.last.is_none_or(|last| ms >= last + LOSS_AFTER.as_millis() as u64);
            // What comes damaged need not hold a whole unit.
            if left.connected && left.portions > 4 && left.troubled_until + 200 < ms && !silent {
                return Err(format!("{id} left s{from} although it flows"));
            }
            if self.single() && ms < self.alike_until && left.connected {
                return Err(format!("{id} switched although everything stalled alike"));
            }
        } else if self.script.revert.is_none() {
            return Err(format!("{id} went back although nobody wished it"));
        }
        if left.foreign || taken.foreign {
            self.excuse(ms, ms + 4000, true, None);
        }
        Ok(())
    }

    pub fn snapshot(&mut self, ms: u64, snapshot: &Snapshot) -> Result<(), String> {
        for shown in self.viewer.look(snapshot)? {
            self.segment(ms, &shown)?;
        }
        Ok(())
    }

    /// Looks at one new segment.
    fn segment(&mut self, ms: u64, shown: &Shown) -> Result<(), String> {
        let n = shown.number;
        if shown.gap {
            return Ok(());
        }
        let slots = self.grid.slots(SegmentNumber(n));
        if shown.stands_in() {
            let there = &shown.pictures[..shown.pictures.len() - 1];
            let begins = there.iter().map(|p| p.0).eq(slots.take(there.len()));
            return match begins && !self.single() {
                true => Ok(()),
                false => Err(format!("segment {n} has an end that stands in: {:?}", shown.pictures)),
            };
        }
        if !shown.pictures.iter().map(|p| p.0).eq(slots) {
            return Err(format!("segment {n} does not have its slots: {:?}", shown.pictures));
        }
        let frames = self.grid.audio_frames(SegmentNumber(n));
        if !shown.sound.iter().map(|s| s.0).eq(frames) {
            return Err(format!("segment {n} does not have its frames: {:?}", shown.sound));
        }
        if !self.single() {
            return Ok(());
        }
        let offset = |(slot, frame): &(u64, Option<i64>)| frame.map(|f| f - *slot as i64);
        let pictures: Vec<Option<i64>> = shown.pictures.iter().map(offset).collect();
        let sound: Vec<Option<i64>> = shown.sound.iter().map(|s| s.1).collect();
        let (from, to) = self.interval(n);
        let excuse = self.excuses.iter_mut().find(|e| e.picture && from < e.to && to > e.from);
        let foreign = self.feeds.iter().any(|f| f.foreign);
        if let Some(excuse) = excuse {
            if let (Some(budget), Some(right), false) = (&mut excuse.budget, self.picture_offset, foreign) {
                let wrong = pictures.iter().filter(|p| **p != Some(right)).count() as u64;
                *budget = budget.checked_sub(wrong).ok_or_else(|| {
                    format!("segment {n}: more pictures are wrong than can be explained: {pictures:?}")
                })?;
            }
            return Ok(());
        }
        let first = pictures[0].ok_or_else(|| format!("segment {n} begins with the slate"))?;
        let heard = sound[0].ok_or_else(|| format!("segment {n} begins without its sound: {sound:?}"))?;
        note(ms, || format!("segment {n} shows {first}, sounds {heard}"));
        if pictures.iter().any(|p| *p != Some(first)) {
            return Err(format!("segment {n}: pictures are missing or repeated: {pictures:?}"));
        }
        if sound.iter().any(|s| *s != Some(heard)) {
            return Err(format!("segment {n}: sound is missing or repeated: {sound:?}"));
        }
        if !foreign {
            let (picture, sound) = (*self.picture_offset.get_or_insert(first), *self.sound_offset.get_or_insert(heard));
            if (picture, sound) != (first, heard) {
                return Err(format!("segment {n}: the programme moved from {picture}, {sound} to {first}, {heard}"));
            }
        }
        Ok(())
    }

    /// When a segment begins and ends, ms since the world began.
    fn interval(&self, n: u64) -> (u64, u64) {
        let at = |n| self.grid.segment_start(SegmentNumber(n)).to_utc().saturating_sub(self.t0.utc).as_millis() as u64;
        (at(n), at(n + 1))
    }

    /// What must hold at any time.
    pub fn step(&mut self, ms: u64) -> Result<(), String> {
        if ms < self.stalled_until + 2 * STEP_MS {
            return Ok(());
        }
        for id in PipelineId::BOTH {
            self.process(ms, id)?;
            self.source(ms, id)?;
        }
        let late = if self.single() { LATE_MAX_MS } else { 9000 };
        match self.viewer.newest() {
            Some(newest) if ms > self.interval(newest + 1).1.max(self.stalled_until) + late => {
                Err(format!("segment {} is not there", newest + 1))
            }
            None if self.single() && ms > BEGINNING_MS => Err("nothing was ever published".to_owned()),
            _ => Ok(()),
        }
    }

    fn process(&self, ms: u64, id: PipelineId) -> Result<(), String> {
        let p = &self.pipelines[id.index()];
        if p.hung && p.greeted && ms > p.last_sign.max(self.stalled_until) + HUNG_MAX_MS {
            return Err(format!("{id} has hung since {} ms", p.last_sign));
        }
        if p.gone.is_some_and(|gone| p.started.is_none() && ms > gone + RESTART_MAX_MS) {
            return Err(format!("{id} was not started again"));
        }
        if self.single() && !p.hung && p.lock_by.is_some_and(|by| p.started.is_some() && ms > by) {
            return Err(format!("{id} is not in lock"));
        }
        Ok(())
    }

    /// A silent source is left for one that is well.
    fn source(&self, ms: u64, id: PipelineId) -> Result<(), String> {
        let Some(current) = self.pipelines[id.index()].on_air else { return Ok(()) };
        let latest = LOSS_AFTER.as_millis() as u64 + 2 * STEP_MS;
        if self.feeds[current].last.is_some_and(|last| ms <= last + latest) || ms < self.alike_until {
            return Ok(());
        }
        let well = |s: &&usize| {
            let feed = self.feeds[**s];
            let flows = feed.connected && feed.last.is_some_and(|last| ms < last + 100);
            flows && feed.since + 3000 <= ms && feed.troubled_until + 3000 <= ms
        };
        match self.script.sources[id.index()].iter().filter(|s| **s != current).find(well) {
            Some(other) => Err(format!("{id} stays with s{current}, which is silent, although s{other} is well")),
            None => Ok(()),
        }
    }

    /// The run is over.
    pub fn finish(self) -> Result<Outcome, String> {
        let expected = Duration::from_millis(self.script.length_ms).as_secs() / self.script.segment.as_secs();
        if self.outcome.segments + self.outcome.gaps + 12 < expected {
            return Err(format!("too little was published: {:?}", self.outcome));
        }
        Ok(self.outcome)
    }
}

/// `s2` → 2.
fn place(name: &SourceName) -> usize {
    name.as_str()[1..].parse().expect("sources are numbered")
}
