//! The core that ties segmenter, selector and window together.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::catalogue::{Catalogue, Rendition};
use super::compare::Comparer;
use super::event::{Change, PackageEvent, Refusal, Verdict};
use super::layout::{Kind, Layout};
use super::names::entity_tag;
use super::segmenter::{Coding, Segmenter, Whole};
use super::selector::{Candidate, Decision, Made, Selector};
use super::slab::Shelf;
use super::snapshot::{Cache, Listing, Resource, Snapshot, content_type};
use super::window::{Entry, Object, Window};
use super::{Config, PackageError, dash, hls, trick};
use crate::clock::Now;
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::media::{PipelineId, RenditionId, SegmentNumber};
use crate::monitor::{PublishStatus, RenditionStatus};

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
    /// The rendition that trick play is made of.
    trick: Option<usize>,
    /// By rendition; trick play's behind them.
    shelves: Vec<Shelf>,
    selector: Selector,
    comparer: Comparer,
    window: Window,
    /// What players were told with the first published segment.
    published: Option<Catalogue>,
    /// When the newest number was decided.
    decided: Option<Now>,
    wake: Option<Now>,
    events: Vec<PackageEvent>,
    /// Whole segments for [`Self::take_saved`], as they came.
    saved: Vec<Saved>,
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
        if !matches!(config.pipelines[..], [_] | [PipelineId::A, PipelineId::B] | [PipelineId::B, PipelineId::A]) {
            return Err(PackageError::Pipelines);
        }
        let bcp47 = |tag: &str| !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !bcp47(&config.language) {
            return Err(PackageError::Language(config.language));
        }
        let layout = Layout::new(config.grid, config.part);
        let window = Window::new(&layout, config.window);
        // Half of what is kept: the slab being emptied and the one being filled then cost one half more than the media.
        let slab = |bitrate: u32| {
            let bytes = f64::from(bitrate) / 8.0 * layout.longest() * window.retained() as f64 / 2.0;
            Shelf::new(bytes as u64)
        };
        let bitrates = config.video.iter().map(|v| v.rate.max_bitrate()).chain(config.audio.iter().map(|a| a.bitrate));
        let trick = trick::source(&config.video);
        Ok(Self {
            // A picture a segment: the smallest slabs hold many.
            shelves: bitrates.map(slab).chain(trick.map(|_| slab(0))).collect(),
            trick,
            selector: Selector::new(layout, names.len(), config.video.len(), &config.pipelines),
            layout,
            names,
            comparer: Comparer::default(),
            window,
            published: None,
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
        let spoiled = segmenter.push(&unit).err();
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
        if let Some(difference) = self.difference(r, &whole) {
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
        if all && !mem::replace(&mut line.locked, true) {
            self.tell(PackageEvent::Locked { pipeline: from, number: n });
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
            match self.selector.decide(now, n, self.decided) {
                Decision::Wait(until) => {
                    self.wake = Some(until);
                    break;
                }
                decision => self.carry_out(now, n, decision),
            }
            changed = true;
        }
        if changed {
            self.render(now);
        }
        self.settle();
        mem::take(&mut self.events)
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

    /// The kinds of all tracks that are published, trick play behind the renditions.
    fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let (all, video) = (self.names.len(), self.config.video.len());
        let kind = move |r| if r < video { Kind::Video } else { Kind::Audio };
        (0..all).map(kind).chain(self.trick.map(|_| Kind::Trick))
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
    fn difference(&self, rendition: usize, whole: &Whole) -> Option<String> {
        self.published.as_ref()?.difference(rendition, whole)
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
            let lines = self.lines(n, true);
            self.window.push(Entry { number: n, objects: Vec::new(), lines });
            self.status.gaps += 1;
            self.tell(PackageEvent::Gap { number: n });
        }
        if !taken[0].is_empty() && self.config.pipelines.len() == 2 {
            let selector = &self.selector;
            self.comparer.open(n, taken, |p, r| selector.line(p).is_some_and(|line| !line.alive || line.makes(n, r)));
        }
        self.decided = Some(now);
        self.status.newest = Some(n.0);
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
            self.tell(PackageEvent::Switched { number, to, why });
        }
        self.selector.on_air = Some(to);
    }

    /// Puts a segment's renditions to rest and lists it. `None`, told as a refusal, when there is no memory.
    fn store(&mut self, now: Now, n: SegmentNumber, from: Option<PipelineId>, wholes: Vec<Whole>) -> Option<()> {
        let mut objects = Vec::with_capacity(wholes.len() + 1);
        let coded = |w: &Whole| w.parts.iter().flat_map(|p| p.pieces.iter().cloned()).collect::<Vec<_>>();
        let trick = self.trick.map(|of| {
            let pieces = trick::segment(&self.layout, n, &wholes[of]);
            let digest = pieces.iter().fold(Sha256::new(), |sum, piece| sum.chain_update(piece)).finalize();
            (pieces, digest.into())
        });
        let all = wholes.iter().map(|w| (coded(w), w.digest)).chain(trick);
        for (r, (pieces, digest)) in all.enumerate() {
            match self.shelves[r].store(&pieces) {
                Ok(stored) => objects.push(Object { stored, etag: entity_tag(&digest) }),
                Err(error) => {
                    // Trick play is a part of its source.
                    let r = if r < wholes.len() { r } else { self.trick.unwrap_or(0) };
                    let (rendition, why) = (self.names[r].clone(), Refusal::Storage(error.kind()));
                    let pipeline = from.or(self.selector.on_air).unwrap_or(PipelineId::A);
                    self.tell(PackageEvent::Refused { pipeline, rendition, number: n, why });
                    return None;
                }
            }
        }
        if self.published.is_none() {
            self.published = Some(Catalogue::new(&self.config, &self.layout, &wholes));
            self.drop_unlike();
        }
        if let Some(published) = &mut self.published {
            // Repeats are pictures of the programme; slate and silence are not.
            let real = |w: &Whole| w.filled.slate == 0 && w.filled.silent_samples == 0;
            let size = |(r, o): (usize, &Object)| (o.stored.len(), wholes.get(r).is_none_or(real));
            published.measure(&self.layout, n, objects.iter().enumerate().map(size));
        }
        let lines = self.lines(n, false);
        self.window.push(Entry { number: n, objects, lines });
        self.status.segments += 1;
        let end = self.layout.grid().segment_start(n.next()).to_utc();
        self.tell(PackageEvent::Published { number: n, from, late: now.utc.saturating_sub(end) });
        Some(())
    }

    fn lines(&self, n: SegmentNumber, gap: bool) -> Vec<String> {
        self.kinds().map(|kind| hls::segment_lines(&self.layout, kind, n, gap)).collect()
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
                let difference = |r: usize| Some((p, r, n, self.difference(r, candidate.whole(r)?)?));
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
        let (layout, kinds) = (self.layout, self.kinds().collect::<Vec<_>>());
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

    /// Makes the snapshot and the figures anew.
    fn render(&mut self, now: Now) {
        let Some(published) = &self.published else { return };
        let renditions = &published.renditions;
        let averages: Vec<u64> =
            renditions.iter().enumerate().map(|(r, it)| self.window.average(&self.layout, r, it.kind())).collect();
        let status = |(rendition, &average_bitrate): (&Rendition, &u64)| RenditionStatus {
            id: rendition.id.clone(),
            codec: rendition.codec.clone(),
            size: rendition.size(),
            average_bitrate,
            peak_bitrate: rendition.bandwidth.peak(),
        };
        self.status.renditions = renditions.iter().zip(&averages).map(status).collect();
        let segment = self.layout.grid().segment();
        let text = |content_type, text| Resource::text(content_type, Cache::For(segment / 2), text);
        let m3u8 = |body| text("application/vnd.apple.mpegurl", body);
        let facts = dash::Facts {
            published: now.utc,
            depth: segment.saturating_mul(u32::try_from(self.window.listed_max()).unwrap_or(u32::MAX)),
            time_uri: &self.config.time_uri,
        };
        let mut texts = BTreeMap::new();
        // Rounded, so that the multivariant playlist stays the same while nothing much changes.
        let rounded: Vec<u64> = averages.iter().map(|a| a.next_multiple_of(10_000)).collect();
        let multivariant = hls::multivariant(&self.layout, published, &rounded);
        texts.insert("index.m3u8".to_owned(), m3u8(multivariant));
        let manifest = dash::manifest(&self.layout, &self.window, published, facts);
        texts.insert("manifest.mpd".to_owned(), text("application/dash+xml", manifest));
        for (r, rendition) in renditions.iter().enumerate() {
            let playlist = hls::media(&self.layout, &self.window, r, rendition.kind(), &published.init);
            texts.insert(format!("{}/index.m3u8", rendition.id), m3u8(playlist));
            texts.insert(format!("{}/{}", rendition.id, published.init), init_resource(rendition));
        }
        let (entries, whole) = self.window.kept();
        let renditions = renditions.iter().map(|r| (r.id.clone(), r.kind())).collect();
        let listing = Listing { layout: self.layout, published: now, renditions, texts, entries, whole };
        self.snapshot = Arc::new(Snapshot { listing: Some(listing) });
    }
}

fn init_resource(rendition: &Rendition) -> Resource {
    Resource {
        content_type: content_type(rendition.kind()),
        etag: entity_tag(&Sha256::digest(&rendition.init)),
        cache: Cache::Immutable,
        body: rendition.init.clone(),
        gzip: None,
    }
}
