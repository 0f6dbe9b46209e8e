//! The core that ties segmenter, selector and window together.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::catalogue::{Catalogue, Rendition};
use super::compare::Comparer;
use super::edge::{Edge, Published, Row, Track};
use super::event::{Change, PackageEvent, Refusal, Verdict};
use super::front::{self, Facts, Front};
use super::layout::{Kind, Layout};
use super::names::tag_of;
use super::remux::Remuxer;
use super::rope::{Deflater, Rope};
use super::segmenter::{Coding, Segmenter, Whole};
use super::selector::{Candidate, Decision, Made, Selector};
use super::slab::Shelf;
use super::snapshot::{Listing, Open, Playlist, Snapshot};
use super::window::{Entry, Object, Window};
use super::{Config, PackageError, hls, trick};
use crate::clock::Now;
use crate::config::Profile;
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::media::{PipelineId, RenditionId, SegmentNumber};
use crate::monitor::{PublishStatus, RenditionStatus};
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
    /// When the newest number was decided.
    decided: Option<Now>,
    wake: Option<Now>,
    events: Vec<PackageEvent>,
    /// Whole segments for [`Self::take_saved`], as they came.
    saved: Vec<Saved>,
    /// What players are told that does not change with the rows.
    front: Option<Arc<Front>>,
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
        let window = Window::new(&layout, config.window, kinds.len(), config.serve.hls_ts);
        // Half of what is kept: the slab being emptied and the one being filled then cost one half more than the media.
        let slab = |bitrate: u32| {
            let bytes = f64::from(bitrate) / 8.0 * layout.longest() * window.retained() as f64 / 2.0;
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
            profiles: config.profiles.as_slice().into(),
            published: None,
            remuxer: None,
            decided: None,
            wake: None,
            events: Vec::new(),
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
    fn lock(&mut self, which: PipelineId, n: SegmentNumber) {
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

    /// Puts the next row of the edge to rest and lists it; the segment, too, with the last one. False when there is no memory.
    fn publish_row(&mut self, now: Now, from: &[PipelineId], change: Option<(PipelineId, Change)>) -> bool {
        let Some(mut edge) = self.edge.take() else { return false };
        let (n, k) = (edge.number(), edge.rows());
        let mut row = Vec::with_capacity(from.len());
        for (r, &p) in from.iter().enumerate() {
            let Some(part) = self.selector.line(p).and_then(|line| line.part(n, r, k)).cloned() else { return false };
            let expected = self.expected(r);
            match self.shelves[r].append(&part.pieces, expected) {
                Ok(stored) => row.push((stored, part)),
                Err(error) => {
                    self.no_memory(p, r, n, &error);
                    return false;
                }
            }
        }
        if let Some((to, why)) = change {
            self.tell(PackageEvent::Switched { number: n, part: Some(k), to, why });
        }
        if let Some(&one) = from.first().filter(|first| from.iter().all(|p| p == *first)) {
            self.selector.on_air = Some(one);
        }
        if let Some(trick) = self.trick.filter(|_| k == 0) {
            let line = self.selector.line(from[trick]);
            edge.first_picture = line.and_then(|line| line.first_picture(n, trick)).unwrap_or_default();
        }
        edge.published(from, row);
        match edge.is_complete() {
            true => self.close(now, edge),
            false => {
                self.edge = Some(edge);
                true
            }
        }
    }

    /// Bytes that a segment of a rendition may have.
    fn expected(&self, r: usize) -> u64 {
        let bitrate = match self.config.video.get(r) {
            Some(rung) => rung.rate.max_bitrate(),
            None => self.config.audio.get(r - self.config.video.len()).map_or(0, |rung| rung.bitrate),
        };
        // A quarter for what rate controls overshoot in one segment, and boxes.
        (f64::from(bitrate) / 8.0 * self.layout.longest() * 1.25) as u64
    }

    /// Lists the segment whose rows are all published.
    fn close(&mut self, now: Now, edge: Edge) -> bool {
        let (n, from) = (edge.number(), edge.from());
        let mut objects = Vec::with_capacity(edge.tracks().len() + 1);
        for (shelf, track) in self.shelves.iter_mut().zip(edge.tracks()) {
            let (Some(stored), Some(last)) = (shelf.complete(), track.parts.last()) else { return false };
            objects.push(Object { stored, tag: tag_of(&last.upto) });
        }
        if let Some(of) = self.trick {
            let pieces = trick::segment(&self.layout, n, &edge.first_picture);
            match self.store_trick(&pieces) {
                Ok(object) => objects.push(object),
                Err(error) => {
                    self.no_memory(from.unwrap_or(PipelineId::A), of, n, &error);
                    return false;
                }
            }
        }
        let real: Vec<bool> = edge.tracks().iter().map(|track| track.real).collect();
        let parts = edge.tracks().iter().map(|track| track.parts.clone()).collect();
        self.list(now, n, from, objects, &real, parts);
        // What they have made whole so far is compared; the ends of the rest are still on their way.
        let taken = PipelineId::BOTH.map(|p| self.take_waiting(p, n));
        self.decided(now, n, taken);
        if self.config.pipelines.len() == 1
            && let Some(only) = from
        {
            // Nobody waits for the end of what is published already.
            if let Some(line) = self.selector.line_mut(only) {
                line.open.iter_mut().for_each(|open| open.retain(|m, _| *m > n));
            }
            self.lock(only, n);
        }
        true
    }

    fn no_memory(&mut self, pipeline: PipelineId, r: usize, number: SegmentNumber, error: &std::io::Error) {
        let (rendition, why) = (self.names[r].clone(), Refusal::Storage(error.kind()));
        self.tell(PackageEvent::Refused { pipeline, rendition, number, why });
    }

    /// What came whole since the last call, where [`Config::save`] is set.
    pub fn take_saved(&mut self) -> Vec<Saved> {
        mem::take(&mut self.saved)
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

    fn refuse(&mut self, from: PipelineId, r: usize, n: SegmentNumber, why: Refusal) {
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

    fn tell(&mut self, event: PackageEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.events.remove(0);
        }
        self.events.push(event);
    }

    fn carry_out(&mut self, now: Now, n: SegmentNumber, decision: Decision) {
        let mut taken: [Vec<Made>; 2] = PipelineId::BOTH.map(|p| self.take_waiting(p, n));
        let source = |p: PipelineId, made: &[Vec<Made>; 2], r: usize| match &made[p.index()][r] {
            Made::Whole(whole) => Some(whole.clone()),
            _ => None,
        };
        let (from, wholes) = match decision {
            Decision::Take { from, change } => {
                self.go_on_air(n, from, change);
                (Some(from), (0..self.names.len()).map(|r| source(from, &taken, r)).collect::<Option<Vec<_>>>())
            }
            Decision::Mix => {
                let first = self.selector.on_air.unwrap_or(PipelineId::A);
                let of = |r| source(first, &taken, r).or_else(|| source(first.other(), &taken, r));
                (None, (0..self.names.len()).map(of).collect())
            }
            Decision::Gap | Decision::Wait(_) => (None, None),
        };
        let published = wholes.and_then(|wholes| self.store(now, n, from, wholes));
        if published.is_none() {
            // Nothing to compare with either.
            taken = [Vec::new(), Vec::new()];
            let parts = self.give_up_edge(n);
            let entry = self.entry(n, Vec::new(), parts);
            self.window.push(&self.layout, &self.kinds, entry, &mut self.deflater);
            self.status.gaps += 1;
            self.tell(PackageEvent::Gap { number: n });
        }
        self.decided(now, n, taken);
    }

    /// Segment `n` is decided, and this is what each pipeline has made of it.
    fn decided(&mut self, now: Now, n: SegmentNumber, taken: [Vec<Made>; 2]) {
        if !taken[0].is_empty() && self.config.pipelines.len() == 2 {
            let selector = &self.selector;
            self.comparer.open(n, taken, |p, r| selector.line(p).is_some_and(|line| !line.alive || line.makes(n, r)));
        }
        self.decided = Some(now);
        self.status.newest = Some(n.0);
    }

    /// What was published of segment `n` part by part, where it could not be finished so.
    fn give_up_edge(&mut self, n: SegmentNumber) -> Vec<Vec<Published>> {
        let edge = self.edge.take_if(|edge| edge.number() == n && edge.rows() > 0);
        edge.map(|edge| edge.tracks().iter().map(|track| track.parts.clone()).collect()).unwrap_or_default()
    }

    fn entry(&self, n: SegmentNumber, objects: Vec<Object>, parts: Vec<Vec<Published>>) -> Entry {
        let gap = objects.is_empty();
        let layout = &self.layout;
        let lines = self.kinds.iter().map(|&kind| hls::segment_lines(layout, kind, n, gap)).collect();
        let of_parts = |(&kind, parts): (&Kind, &Vec<_>)| hls::part_lines(layout, kind, n, parts, true);
        let part_lines = self.kinds.iter().zip(&parts).map(of_parts).collect();
        Entry { number: n, objects, lines, parts, part_lines }
    }

    /// What a pipeline has made of segment `n`; numbers before it will not be asked for any more.
    fn take_waiting(&mut self, which: PipelineId, n: SegmentNumber) -> Vec<Made> {
        let renditions = self.names.len();
        let Some(line) = self.selector.line_mut(which) else { return Candidate::new(renditions).made };
        let later = line.waiting.split_off(&n.next());
        let mut upto = mem::replace(&mut line.waiting, later);
        upto.remove(&n).unwrap_or_else(|| Candidate::new(renditions)).made
    }

    fn go_on_air(&mut self, number: SegmentNumber, to: PipelineId, change: Option<Change>) {
        if let Some(why) = change {
            self.tell(PackageEvent::Switched { number, part: None, to, why });
        }
        self.selector.on_air = Some(to);
    }

    /// Puts a segment's renditions to rest and lists it. `None`, told as a refusal, when there is no memory.
    fn store(&mut self, now: Now, n: SegmentNumber, from: Option<PipelineId>, wholes: Vec<Whole>) -> Option<()> {
        let mut objects = Vec::with_capacity(wholes.len() + 1);
        let coded = |w: &Whole| w.parts.iter().flat_map(|p| p.pieces.iter().cloned()).collect::<Vec<_>>();
        for (r, whole) in wholes.iter().enumerate() {
            let stored = self.shelves[r].store(&coded(whole));
            match stored {
                Ok(stored) => objects.push(Object { stored, tag: tag_of(&whole.digest) }),
                Err(error) => {
                    self.no_memory(from.or(self.selector.on_air).unwrap_or(PipelineId::A), r, n, &error);
                    return None;
                }
            }
        }
        if let Some(of) = self.trick {
            match self.store_trick(&trick::segment(&self.layout, n, wholes[of].first_picture())) {
                Ok(object) => objects.push(object),
                Err(error) => {
                    self.no_memory(from.or(self.selector.on_air).unwrap_or(PipelineId::A), of, n, &error);
                    return None;
                }
            }
        }
        if self.published.is_none() {
            let catalogue = Catalogue::new(&self.config, &self.layout, &wholes);
            let remuxer = || Arc::new(Remuxer::new(self.layout, &catalogue));
            self.remuxer = self.config.serve.hls_ts.then(remuxer);
            self.published = Some(catalogue);
            self.drop_unlike();
        }
        // Repeats are pictures of the programme; slate and silence are not.
        let real: Vec<bool> = wholes.iter().map(|w| w.filled.slate == 0 && w.filled.silent_samples == 0).collect();
        let parts = self.give_up_edge(n);
        self.list(now, n, from, objects, &real, parts);
        Some(())
    }

    fn store_trick(&mut self, pieces: &[Bytes]) -> std::io::Result<Object> {
        let digest = pieces.iter().fold(Sha256::new(), |sum, piece| sum.chain_update(piece)).finalize();
        // Its shelf stands behind all others.
        let shelf = self.shelves.last_mut().ok_or(std::io::ErrorKind::NotFound)?;
        Ok(Object { stored: shelf.store(pieces)?, tag: tag_of(&digest.into()) })
    }

    /// Lists a segment that is at rest.
    fn list(
        &mut self,
        now: Now,
        n: SegmentNumber,
        from: Option<PipelineId>,
        objects: Vec<Object>,
        real: &[bool],
        parts: Vec<Vec<Published>>,
    ) {
        if let Some(published) = &mut self.published {
            let size = |(r, o): (usize, &Object)| (o.stored.len(), real.get(r).copied().unwrap_or(true));
            published.measure(&self.layout, n, objects.iter().enumerate().map(size));
        }
        let entry = self.entry(n, objects, parts);
        self.window.push(&self.layout, &self.kinds, entry, &mut self.deflater);
        self.status.segments += 1;
        let end = self.layout.grid().segment_start(n.next()).to_utc();
        self.tell(PackageEvent::Published { number: n, from, late: now.utc.saturating_sub(end) });
    }

    /// Segments that came before anything was published, with parameter sets other than the published ones.
    fn drop_unlike(&mut self) {
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

    /// Makes the snapshot anew; with a segment also what only changes with segments.
    fn render(&mut self, now: Now) {
        let newest = self.window.newest();
        if self.snapshot.newest() != newest {
            self.render_front(now);
        }
        let (Some(published), Some(front)) = (&self.published, &self.front) else { return };
        let (serve, layout, window) = (self.config.serve, self.layout, &self.window);
        let renditions: Arc<[_]> = published.renditions.iter().map(|r| (r.id.clone(), r.kind())).collect();
        let open = self.open();
        let low =
            open.as_ref().filter(|_| serve.low_latency_hls).map(|open| hls::Low { open, renditions: &renditions });
        let cache = front::playlist_cache(&layout);
        let mut playlist = |r: usize, rendition: &Rendition| {
            let of = hls::Media { rendition: r, kind: rendition.kind(), init: &published.init, low: low.as_ref() };
            let mut rope = Rope::new(&mut self.deflater);
            hls::media(&mut rope, &layout, window, of);
            let whole = rope.finish(hls::TYPE, cache);
            let mut rope = Rope::new(&mut self.deflater);
            let delta = low.is_some() && hls::delta(&mut rope, &layout, window, of);
            let delta = if delta { rope.finish(hls::TYPE, cache) } else { whole.clone() };
            Playlist { whole, delta }
        };
        let all = published.renditions.iter().enumerate().filter(|_| serve.hls);
        let playlists = all.map(|(r, rendition)| playlist(r, rendition)).collect();
        let listing = Listing {
            layout,
            published: now,
            renditions: Arc::clone(&renditions),
            front: Arc::clone(front),
            remuxer: self.remuxer.clone(),
            playlists,
            blocks: low.is_some(),
            window: self.window.view(),
            open,
            grows: serve.low_latency_dash,
        };
        self.snapshot = Arc::new(Snapshot { listing: Some(listing) });
    }

    /// Headers, the multivariant playlist, manifests, figures.
    fn render_front(&mut self, now: Now) {
        let Some(published) = &self.published else { return };
        let (layout, window, serve) = (&self.layout, &self.window, self.config.serve);
        let renditions = &published.renditions;
        let averages: Vec<u64> =
            renditions.iter().enumerate().map(|(r, it)| window.average(layout, r, it.kind())).collect();
        let status = |(rendition, &average_bitrate): (&Rendition, &u64)| RenditionStatus {
            id: rendition.id.clone(),
            codec: rendition.codec.clone(),
            size: rendition.size(),
            average_bitrate,
            peak_bitrate: rendition.bandwidth.peak(),
        };
        self.status.renditions = renditions.iter().zip(&averages).map(status).collect();
        (self.status.transport_made, self.status.transport_failed) =
            self.remuxer.as_ref().map_or((0, 0), |remuxer| remuxer.counts());
        let facts = Facts {
            layout: *layout,
            serve,
            profiles: Arc::clone(&self.profiles),
            catalogue: published.clone(),
            window: window.clone(),
            averages,
            published: now.utc,
            time_uri: self.config.time_uri.clone(),
        };
        self.front = Some(Arc::new(Front::new(facts, &mut self.deflater)));
    }

    /// The live edge as players see it.
    fn open(&self) -> Option<Open> {
        let number = self.window.newest()?.next();
        let edge = self.edge.as_ref().filter(|edge| edge.number() == number);
        self.config.serve.has_parts().then(|| Open {
            number,
            tracks: edge.map_or_else(|| vec![Track::default(); self.names.len()], |edge| edge.tracks().to_vec()),
            rows: edge.map_or(0, Edge::rows),
            total: self.layout.rows(number),
        })
    }
}
