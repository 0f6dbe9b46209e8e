//! The core that ties segmenter, selector and window together.

mod publish;
mod render;
mod restore;

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::catalogue::Catalogue;
use super::compare::Comparer;
use super::edge::{Edge, Row};
use super::event::{PackageEvent, Refusal, Verdict};
use super::front::Front;
use super::keep::Keep;
use super::layout::{Kind, Layout};
use super::patch::History;
use super::remux::Remuxer;
use super::rope::Deflater;
use super::segmenter::{Coding, Segmenter};
use super::selector::{Candidate, Decision, Made, Selector};
use super::slab::Shelf;
use super::snapshot::Snapshot;
use super::stand_in::Still;
use super::window::Window;
use super::{Config, PackageError, trick};

use crate::clock::Now;
use crate::config::Profile;
use crate::dvr::Place;
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::media::{PipelineId, RenditionId, SegmentNumber};
use crate::monitor::PublishStatus;
use crate::wire::mp4::VideoConfig;

/// Segments a rendition of a pipeline may have under construction: encoders overlap two. Beyond, the oldest is given up.
const OPEN_MAX: usize = 4;
/// How far ahead of the clock, and of what was published last, a segment may lie, and how far behind. Encoders work at the
/// pace of the clock; a number outside is a fault of theirs, and must not make us fill a million numbers with gaps.
const AHEAD_MAX: u64 = 8;
const BEHIND_MAX: u64 = 1000;
/// Decisions that may wait for [`Packager::poll`]; the caller polls after each input, so there are a handful. Beyond, the
/// oldest is dropped; counters in the status stay right.
const EVENTS_MAX: usize = 4096;

/// Packages one channel. Sans-IO: time is an argument; call [`Self::poll`] after each input and at [`Self::wake_at`].
#[derive(Debug)]
pub struct Packager {
    config: Config,
    layout: Layout,
    names: Vec<RenditionId>,
    /// Of all tracks that are published, trick play behind the renditions.
    kinds: Vec<Kind>,
    /// The rendition that trick play is made of.
    trick: Option<usize>,
    /// By rendition; trick play's behind them.
    shelves: Vec<Shelf>,
    selector: Selector,
    comparer: Comparer,
    window: Window,
    deflater: Deflater,
    /// The segment that is published part by part, once the first one is published.
    edge: Option<Edge>,
    /// What players were told with the first published segment.
    published: Option<Catalogue>,
    /// Makes transport streams, where they are served and something is published.
    remuxer: Option<Arc<Remuxer>>,
    /// For segments that nobody has, of the newest one that somebody had.
    still: Option<Arc<Still>>,
    /// When the newest number was decided.
    decided: Option<Now>,
    wake: Option<Now>,
    events: Vec<PackageEvent>,
    /// For [`Self::take_keeps`].
    keeps: Vec<Keep>,
    /// Whole segments for [`Self::take_saved`], as they came.
    saved: Vec<Saved>,
    /// What players are told that does not change with the rows.
    front: Option<Arc<Front>>,
    /// Publications that clients of DASH may still have.
    history: History,
    profiles: Arc<[Profile]>,
    snapshot: Arc<Snapshot>,
    status: PublishStatus,
}

/// A whole segment of one pipeline, for whoever wants to look at what A and B made side by side.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Who made it.
    pub pipeline: PipelineId,
    /// Of which rendition.
    pub rendition: RenditionId,
    /// Which.
    pub number: SegmentNumber,
    /// Its bytes in order.
    pub pieces: Vec<Bytes>,
}

/// What [`Packager::poll`] does next.
enum Step {
    /// About a segment as a whole.
    Segment(Decision),
    /// A row was published; there may be another one.
    Published,
}

/// The sooner of an instant that may be and one that is.
fn sooner(one: Option<Now>, other: Now) -> Now {
    one.filter(|one| one.mono < other.mono).unwrap_or(other)
}

impl Packager {
    /// A packager that has published nothing yet. Tell it with [`Self::pipeline`] which processes are up.
    pub fn new(config: Config, _now: Now) -> Result<Self, PackageError> {
        let names: Vec<RenditionId> =
            config.video.iter().map(|v| &v.id).chain(config.audio.iter().map(|a| &a.id)).cloned().collect();
        let twice = |n: &&RenditionId| names.iter().filter(|m| m == n).count() > 1;
        if names.is_empty() {
            return Err(PackageError::NoRenditions);
        }
        if names.len() > 256 {
            return Err(PackageError::TooManyRenditions(names.len()));
        }
        if let Some(name) = names.iter().find(twice) {
            return Err(PackageError::SameName(name.clone()));
        }
        let taken = |p: &&Profile| names.iter().any(|name| name.as_str() == p.id.as_str());
        if let Some(profile) = config.profiles.iter().find(taken) {
            return Err(PackageError::SameProfile(profile.id.clone()));
        }
        if !matches!(config.pipelines[..], [_] | [PipelineId::A, PipelineId::B] | [PipelineId::B, PipelineId::A]) {
            return Err(PackageError::Pipelines);
        }
        let bcp47 = |tag: &str| !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !bcp47(&config.language) {
            return Err(PackageError::Language(config.language));
        }
        let layout = Layout::new(config.grid, config.part);
        let trick = trick::source(&config.video);
        let video = config.video.len();
        let kind = |r| if r < video { Kind::Video } else { Kind::Audio };
        let kinds: Vec<Kind> = (0..names.len()).map(kind).chain(trick.map(|_| Kind::Trick)).collect();
        let window = Window::new(&layout, config.window, kinds.len(), config.disk, config.serve.hls_ts);
        // A quarter of what is kept: the slab being emptied, the one being filled and an empty one cost half more than the media.
        let slab = |bitrate: u32| {
            let bytes = f64::from(bitrate) / 8.0 * layout.longest() * window.in_memory() as f64 / 4.0;
            Shelf::new(bytes as u64)
        };
        let bitrates = config.video.iter().map(|v| v.rate.max_bitrate()).chain(config.audio.iter().map(|a| a.bitrate));
        Ok(Self {
            // A picture a segment: the smallest slabs hold many.
            shelves: bitrates.map(slab).chain(trick.map(|_| slab(0))).collect(),
            trick,
            selector: Selector::new(layout, names.len(), config.video.len(), &config.pipelines),
            layout,
            names,
            kinds,
            comparer: Comparer::default(),
            window,
            deflater: Deflater::default(),
            edge: None,
            front: None,
            history: History::default(),
            profiles: config.profiles.as_slice().into(),
            published: None,
            remuxer: None,
            still: None,
            decided: None,
            wake: None,
            events: Vec::new(),
            keeps: Vec::new(),
            saved: Vec::new(),
            snapshot: Arc::default(),
            status: PublishStatus::default(),
            config,
        })
    }

    /// One coded picture or audio frame. Units of a pipeline that is not up are dropped.
    pub fn coded(&mut self, now: Now, from: PipelineId, unit: CodedUnit) {
        let (r, n) = (usize::from(unit.rendition.0), unit.segment);
        if r >= self.names.len() {
            return;
        }
        let in_range = self.in_range(now, n);
        let wanted = self.wanted(n, from, r);
        let (coding, layout) = (self.coding(r), self.layout);
        let Some(line) = self.selector.line_mut(from).filter(|l| l.alive) else { return };
        line.progress = Some(now);
        if !in_range {
            // Told once a run: a mad encoder has one for each unit.
            if !mem::replace(&mut line.strayed, true) {
                self.refuse(from, r, n, Refusal::OutOfRange);
            }
            return;
        }
        line.newest[r] = line.newest[r].max(Some(n));
        if !wanted {
            return;
        }
        let open = &mut line.open[r];
        let segmenter = open.entry(n).or_insert_with(|| Segmenter::new(coding, layout, n));
        let cut = segmenter.parts().len();
        let mut spoiled = segmenter.push(&unit).err();
        let first = cut == 0 && segmenter.parts().len() == 1;
        // A part goes out before its segment is whole, so what it needs of players is looked at now.
        if let Some(published) = self.published.as_ref().filter(|_| first && self.config.serve.has_parts()) {
            let video = segmenter.video();
            spoiled = spoiled.or_else(|| match published.difference(r, video.as_ref()) {
                Some(difference) => Some(Refusal::Unlike { difference }),
                None => (coding != Coding::Audio && video.is_none()).then_some(Refusal::ParameterSets),
            });
        }
        let oldest = open.first_key_value().map(|(&n, _)| n).filter(|_| open.len() > OPEN_MAX);
        if let Some(oldest) = oldest {
            self.refuse(from, r, oldest, Refusal::Abandoned);
        }
        if let Some(why) = spoiled {
            self.refuse(from, r, n, why);
        }
    }

    /// A rendition's segment is whole.
    pub fn segment_end(&mut self, now: Now, from: PipelineId, end: SegmentEnd) {
        let (r, n) = (usize::from(end.rendition.0), end.segment);
        if r >= self.names.len() || !self.wanted(n, from, r) || !self.in_range(now, n) {
            return;
        }
        let (coding, layout) = (self.coding(r), self.layout);
        let Some(line) = self.selector.line_mut(from).filter(|l| l.alive) else { return };
        line.progress = Some(now);
        line.newest[r] = line.newest[r].max(Some(n));
        let segmenter = line.open[r].remove(&n).unwrap_or_else(|| Segmenter::new(coding, layout, n));
        let whole = match segmenter.finish(end.units, end.filled) {
            Ok(whole) => whole,
            Err(why) => return self.refuse(from, r, n, why),
        };
        if let Some(difference) = self.difference(r, whole.video.as_ref()) {
            return self.refuse(from, r, n, Refusal::Unlike { difference });
        }
        if self.config.save {
            let pieces = whole.parts.iter().flat_map(|p| p.pieces.iter().cloned()).collect();
            self.saved.push(Saved { pipeline: from, rendition: self.names[r].clone(), number: n, pieces });
        }
        self.made(from, r, n, Made::Whole(whole));
        let Some(line) = self.selector.line_mut(from) else { return };
        let done = line.has_done_its_part(n);
        let waiting = line.waiting.get_mut(&n).filter(|c| c.is_whole());
        let all = done || self.comparer.is_full(n, from);
        if let Some(candidate) = waiting {
            candidate.done = Some(now);
        }
        if all {
            self.lock(from, n);
        }
    }

    /// A pipeline brought a whole segment.
    pub(super) fn lock(&mut self, which: PipelineId, n: SegmentNumber) {
        if self.selector.line_mut(which).is_some_and(|line| !mem::replace(&mut line.locked, true)) {
            self.tell(PackageEvent::Locked { pipeline: which, number: n });
        }
    }

    /// A pipeline's process came up, or is gone: what it left unfinished is dropped, what is whole stays good.
    pub fn pipeline(&mut self, now: Now, which: PipelineId, alive: bool) {
        if let Some(line) = self.selector.line_mut(which) {
            line.set_alive(now, alive);
        }
    }

    /// Warm standby: a pipeline makes pictures of these segments only; of none without `from`, open-ended without `until`.
    /// Sound is expected of it always, and of a process that comes up pictures of all segments.
    pub fn expect_pictures(&mut self, which: PipelineId, from: Option<SegmentNumber>, until: Option<SegmentNumber>) {
        let end = SegmentNumber(u64::MAX);
        if let Some(line) = self.selector.line_mut(which) {
            line.expected = from.unwrap_or(end)..until.unwrap_or(end);
        }
    }

    /// Publishes what is due and tells what was decided since the last call.
    pub fn poll(&mut self, now: Now) -> Vec<PackageEvent> {
        self.wake = None;
        let mut changed = false;
        while let Some(n) = self.window.newest().map(SegmentNumber::next).or_else(|| self.selector.first()) {
            let step = if self.published.is_some() && self.config.serve.has_parts() {
                self.next_row(now, n)
            } else {
                Step::Segment(self.selector.decide(now, n, self.decided))
            };
            match step {
                Step::Segment(Decision::Wait(until)) => {
                    self.wake = Some(until);
                    break;
                }
                Step::Segment(decision) => self.carry_out(now, n, decision),
                Step::Published => {}
            }
            changed = true;
        }
        if changed {
            self.render(now);
        }
        self.settle();
        mem::take(&mut self.events)
    }

    /// Publishes the next row of segment `n`, if that is what is to be done.
    fn next_row(&mut self, now: Now, n: SegmentNumber) -> Step {
        let part = self.layout.part();
        let (renditions, rows) = (self.names.len(), self.layout.rows(n));
        let edge = match &mut self.edge {
            Some(edge) if edge.number() == n => edge,
            edge => {
                self.shelves.iter_mut().for_each(Shelf::give_up);
                edge.insert(Edge::new(n, renditions, rows))
            }
        };
        let row = edge.next(now, &self.selector, part);
        let until = match row {
            Row::Take { from, change } => match self.publish_row(now, &from, change) {
                true => return Step::Published,
                false => return Step::Segment(Decision::Gap),
            },
            Row::Broken => None,
            Row::Wait(until) => Some(until),
        };
        let begun = edge.rows() > 0;
        let whole = self.selector.decide(now, n, self.decided);
        match (until, whole) {
            (None, _) => Step::Segment(whole),
            (_, Decision::Gap) => Step::Segment(whole),
            (Some(until), Decision::Wait(at)) => Step::Segment(Decision::Wait(sooner(until, at))),
            (Some(until), Decision::Take { from, .. }) if begun => {
                let done = self.selector.line(from).and_then(|l| l.waiting.get(&n)).and_then(|c| c.done).unwrap_or(now);
                let patience = Edge::patience(done, part);
                match now.mono >= patience.mono {
                    true => Step::Segment(whole),
                    false => Step::Segment(Decision::Wait(sooner(until, patience))),
                }
            }
            (Some(until), _) => Step::Segment(Decision::Wait(until.unwrap_or_else(|| now.after(part)))),
        }
    }

    /// What came whole since the last call, where [`Config::save`] is set.
    pub fn take_saved(&mut self) -> Vec<Saved> {
        mem::take(&mut self.saved)
    }

    /// What is to be kept since the last call, where [`Config::disk`] is set.
    pub fn take_keeps(&mut self) -> Vec<Keep> {
        mem::take(&mut self.keeps)
    }

    /// A segment is on disk: its tracks lie there, in order.
    pub fn stored(&mut self, number: SegmentNumber, places: Vec<Place>) {
        self.window.stored(number, places);
    }

    /// What lies before this segment is gone from the disk.
    pub fn expired(&mut self, before: SegmentNumber) {
        self.window.expire(&self.layout, before);
    }

    /// When [`Self::poll`] has something to decide even if nothing arrives. `None` before the first publication.
    pub fn wake_at(&self) -> Option<Now> {
        self.wake
    }

    /// Everything that may be served now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Figures of what was published.
    pub fn status(&self) -> &PublishStatus {
        &self.status
    }

    /// The pipeline segments come from.
    pub fn on_air(&self) -> Option<PipelineId> {
        self.selector.on_air
    }

    /// Whether a pipeline delivered a whole segment since its process came up.
    pub fn locked(&self, which: PipelineId) -> bool {
        self.selector.line(which).is_some_and(|l| l.locked)
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn coding(&self, rendition: usize) -> Coding {
        self.config.video.get(rendition).map_or(Coding::Audio, |rung| Coding::video(&self.layout, rung))
    }

    fn in_range(&self, now: Now, n: SegmentNumber) -> bool {
        let clock = self.layout.grid().segment_at(now.channel_time()).0;
        // What is published counts too: the wall clock may step, the numbers do not.
        let newest = self.window.newest().map_or(clock, |n| n.0);
        (clock.min(newest).saturating_sub(BEHIND_MAX)..=clock.max(newest) + AHEAD_MAX).contains(&n.0)
    }

    /// Whether this rendition of segment `n` is still of use: to publish it, or to compare it with what was published.
    fn wanted(&self, n: SegmentNumber, from: PipelineId, rendition: usize) -> bool {
        if self.window.newest().is_some_and(|newest| n <= newest) {
            return self.comparer.wants(n, from, rendition);
        }
        let candidate = self.selector.line(from).and_then(|l| l.waiting.get(&n));
        candidate.is_none_or(|c| matches!(c.made.get(rendition), Some(Made::Missing)))
    }

    /// Why players that were given the published header cannot play it.
    fn difference(&self, rendition: usize, video: Option<&VideoConfig>) -> Option<String> {
        self.published.as_ref()?.difference(rendition, video)
    }

    pub(super) fn refuse(&mut self, from: PipelineId, r: usize, n: SegmentNumber, why: Refusal) {
        let rendition = self.names[r].clone();
        // Nothing is kept of numbers out of range.
        if why != Refusal::OutOfRange {
            if let Some(line) = self.selector.line_mut(from) {
                line.open[r].remove(&n);
            }
            self.made(from, r, n, Made::Refused);
        }
        self.tell(PackageEvent::Refused { pipeline: from, rendition, number: n, why });
    }

    /// Notes what became of one rendition of one pipeline's segment.
    fn made(&mut self, from: PipelineId, r: usize, n: SegmentNumber, made: Made) {
        if self.window.newest().is_some_and(|newest| n <= newest) {
            return self.comparer.late(n, from, r, made);
        }
        let renditions = self.names.len();
        if let Some(line) = self.selector.line_mut(from) {
            line.waiting.entry(n).or_insert_with(|| Candidate::new(renditions)).made[r] = made;
        }
    }

    pub(super) fn tell(&mut self, event: PackageEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.events.remove(0);
        }
        self.events.push(event);
    }

    /// Segments that came before anything was published, with parameter sets other than the published ones.
    pub(super) fn drop_unlike(&mut self) {
        let mut unlike = Vec::new();
        for p in PipelineId::BOTH {
            let waiting: &BTreeMap<_, Candidate> = match self.selector.line(p) {
                Some(line) => &line.waiting,
                None => continue,
            };
            for (&n, candidate) in waiting {
                let difference = |r: usize| Some((p, r, n, self.difference(r, candidate.whole(r)?.video.as_ref())?));
                unlike.extend((0..self.names.len()).filter_map(difference));
            }
        }
        for (p, r, n, difference) in unlike {
            self.refuse(p, r, n, Refusal::Unlike { difference });
        }
    }

    fn is_video(&self, rendition: &RenditionId) -> bool {
        self.config.video.iter().any(|rung| rung.id == *rendition)
    }

    fn settle(&mut self) {
        let (Some(a), Some(b)) = (self.selector.line(PipelineId::A), self.selector.line(PipelineId::B)) else { return };
        let (layout, kinds) = (self.layout, &self.kinds);
        let time = |r: usize, position| layout.time_of(kinds[r], position);
        for (number, verdict) in self.comparer.settle([a, b], &self.names, time) {
            match verdict {
                Verdict::Equal => self.status.equal += 1,
                // Nobody promised that pictures would be equal.
                Verdict::Differs { ref rendition, .. } if !self.config.deterministic && self.is_video(rendition) => {
                    continue;
                }
                Verdict::Differs { .. } => self.status.differs += 1,
                Verdict::OneMissing { .. } => self.status.one_missing += 1,
            }
            self.tell(PackageEvent::Compared { number, verdict });
        }
    }
}
