//! From a decision to what is listed: rows and segments are put to rest, and what is to be kept is noted.

use std::io;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::super::catalogue::Catalogue;
use super::super::digest::Digest;
use super::super::edge::{Edge, Published, Track};
use super::super::event::{Change, PackageEvent, Refusal};
use super::super::keep::{Head, Keep, Note};
use super::super::remux::Remuxer;
use super::super::rest::Rest;
use super::super::segmenter::Whole;
use super::super::selector::{Candidate, Decision, Made};
use super::super::slab::Shelf;
use super::super::stand_in::{self, MadeUp, StandIn, Still};
use super::super::window::{Entry, Object, is_gap};
use super::super::{Config, hls, trick};
use super::{Kind, Packager};
use crate::clock::Now;
use crate::media::{PipelineId, SegmentNumber};

impl Packager {
    /// Puts the next row of the edge to rest and lists it; the segment, too, with the last one. False when there is no memory.
    pub(super) fn publish_row(&mut self, now: Now, from: &[PipelineId], change: Option<(PipelineId, Change)>) -> bool {
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
        let objects: Vec<_> = (0u16..).zip(&row).map(|(track, (stored, _))| (track, stored.bytes())).collect();
        edge.published(from, row);
        if !edge.is_complete() {
            self.keep(|_| Keep::Part { number: n, part: k as u16, objects });
        }
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
            objects.push(Object { rest: Rest::Memory(stored), tag: last.upto.tag() });
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
        let parts: Vec<Vec<Published>> = edge.tracks().iter().map(|track| track.parts.clone()).collect();
        let last = parts.iter().filter_map(|parts| parts.last()).map(|part| part.rest.content().bytes());
        // Trick play has no parts; it goes with the last row.
        let trick = objects.get(parts.len()).map(|object| object.rest.content().bytes());
        self.keep_row(n, edge.rows() - 1, last.chain(trick).collect());
        self.keep_closed(n, &objects, Note { broken: 0, independent: parts.iter().map(|p| starts(p)).collect() });
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

    pub(super) fn no_memory(&mut self, pipeline: PipelineId, r: usize, number: SegmentNumber, error: &io::Error) {
        let (rendition, why) = (self.names[r].clone(), Refusal::Storage(error.kind()));
        self.tell(PackageEvent::Refused { pipeline, rendition, number, why });
    }

    pub(super) fn carry_out(&mut self, now: Now, n: SegmentNumber, decision: Decision) {
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
            self.status.gaps += 1;
            if self.stand_in(now, n).is_none() {
                let parts = self.give_up_edge(n);
                self.keep(|_| Keep::Gap { number: n });
                self.list_gap(n, parts);
                self.tell(PackageEvent::Gap { number: n });
            }
        }
        self.decided(now, n, taken);
    }

    /// Segment `n` is decided, and this is what each pipeline has made of it.
    pub(super) fn decided(&mut self, now: Now, n: SegmentNumber, taken: [Vec<Made>; 2]) {
        if !taken[0].is_empty() && self.config.pipelines.len() == 2 {
            let selector = &self.selector;
            self.comparer.open(n, taken, |p, r| selector.line(p).is_some_and(|line| !line.alive || line.makes(n, r)));
        }
        self.decided = Some(now);
        self.status.newest = Some(n.0);
    }

    /// What was published of segment `n` part by part, where it could not be finished so.
    pub(super) fn give_up_edge(&mut self, n: SegmentNumber) -> Vec<Vec<Published>> {
        let edge = self.edge.take_if(|edge| edge.number() == n && edge.rows() > 0);
        edge.map(|edge| edge.tracks().iter().map(|track| track.parts.clone()).collect()).unwrap_or_default()
    }

    pub(super) fn entry(&self, n: SegmentNumber, objects: Vec<Object>, parts: Vec<Vec<Published>>) -> Entry {
        let gap = is_gap(&objects);
        let layout = &self.layout;
        let lines = self.kinds.iter().map(|&kind| hls::segment_lines(layout, kind, n, gap)).collect();
        let of_parts = |(&kind, parts): (&Kind, &Vec<_>)| hls::parts_of_whole(layout, kind, n, parts);
        let part_lines = self.kinds.iter().zip(&parts).map(of_parts).collect();
        Entry { number: n, objects, lines, parts, part_lines }
    }

    /// What a pipeline has made of segment `n`; numbers before it will not be asked for any more.
    pub(super) fn take_waiting(&mut self, which: PipelineId, n: SegmentNumber) -> Vec<Made> {
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

    /// From here on players are told of these renditions.
    pub(super) fn begins(&mut self, catalogue: Catalogue) {
        let remuxer = || Arc::new(Remuxer::new(self.layout, &catalogue));
        self.remuxer = self.config.serve.hls_ts.then(remuxer);
        self.published = Some(catalogue);
    }

    /// Puts a segment's renditions to rest and lists it. `None`, told as a refusal, when there is no memory.
    pub(super) fn store(
        &mut self,
        now: Now,
        n: SegmentNumber,
        from: Option<PipelineId>,
        wholes: Vec<Whole>,
    ) -> Option<()> {
        let mut objects = Vec::with_capacity(wholes.len() + 1);
        let coded = |w: &Whole| w.parts.iter().flat_map(|p| p.pieces.iter().cloned()).collect::<Vec<_>>();
        for (r, whole) in wholes.iter().enumerate() {
            match at_rest(&mut self.shelves[r], &coded(whole), &whole.digest) {
                Ok(object) => objects.push(object),
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
            let configs = wholes.iter().map(|whole| whole.video.clone()).collect();
            let catalogue = Catalogue::new(&self.config, &self.layout, configs);
            self.keep(|config| Keep::Head(Head::new(config, &catalogue).write()));
            self.begins(catalogue);
            self.drop_unlike();
        }
        // Repeats are pictures of the programme; slate and silence are not.
        let real: Vec<bool> = wholes.iter().map(|w| w.filled.slate == 0 && w.filled.silent_samples == 0).collect();
        self.list_whole(now, n, from, objects, &real);
        Some(())
    }

    /// Publishes the segment that is at the edge with its end made up. `None` where nothing of it was published, or that cannot be read, or there is
    /// no memory.
    fn stand_in(&mut self, now: Now, n: SegmentNumber) -> Option<()> {
        let edge = self.edge.as_ref().filter(|edge| edge.number() == n && edge.rows() > 0)?;
        let part = edge.rows();
        let made = |(r, track): (usize, &Track)| {
            let parts =
                track.parts.iter().map(|part| part.rest.content().read()).collect::<Result<Vec<_>, _>>().ok()?;
            let published = Bytes::from(parts.concat());
            match r.checked_sub(self.config.video.len()).and_then(|sound| self.config.audio.get(sound)) {
                Some(rung) => stand_in::sound(&self.layout, n, rung, part, published),
                None => stand_in::picture(&self.layout, n, part, published),
            }
        };
        let mut made = edge.tracks().iter().enumerate().map(made).collect::<Option<Vec<StandIn>>>()?;
        if let Some(of) = self.trick {
            let first = made.get(of)?.first.clone();
            made.push(StandIn { pieces: trick::segment(&self.layout, n, &[first]), first: Bytes::new() });
        }
        let store =
            |(shelf, made): (&mut Shelf, &StandIn)| at_rest(shelf, &made.pieces, &Digest::of_pieces(&made.pieces)).ok();
        let objects = self.shelves.iter_mut().zip(&made).map(store).collect::<Option<Vec<_>>>()?;
        self.list_whole(now, n, None, objects, &[]);
        self.tell(PackageEvent::StoodIn { number: n, part });
        Some(())
    }

    /// Lists a segment that is whole; where parts of it were published, in place of the rest of them.
    fn list_whole(
        &mut self,
        now: Now,
        n: SegmentNumber,
        from: Option<PipelineId>,
        objects: Vec<Object>,
        real: &[bool],
    ) {
        let parts = self.give_up_edge(n);
        let broken = parts.first().map_or(0, Vec::len);
        self.keep_row(n, broken, objects.iter().map(|object| object.rest.content().bytes()).collect());
        let independent = parts.iter().map(|p| starts(p)).collect();
        self.keep_closed(n, &objects, Note { broken: broken as u16, independent });
        self.list(now, n, from, objects, real, parts);
    }

    /// Lists a segment that nobody has, of which `parts` were published.
    pub(super) fn list_gap(&mut self, n: SegmentNumber, parts: Vec<Vec<Published>>) {
        // What was published of it does not begin with what is made up.
        let objects = if parts.iter().all(Vec::is_empty) { self.made_up(n) } else { Vec::new() };
        let entry = self.entry(n, objects, parts);
        self.window.push(&self.layout, &self.kinds, entry, &mut self.deflater);
    }

    /// What there is in place of segment `n`; nothing before the first segment, and where that cannot be read.
    fn made_up(&mut self, n: SegmentNumber) -> Vec<Object> {
        let Some(whole) = self.window.whole() else { return Vec::new() };
        if self.still.as_ref().is_none_or(|still| still.of() != whole.number) {
            // A disk may be read here, right after a start.
            let read = |track: usize| whole.objects.get(track)?.rest.content().read().ok();
            self.still = Still::new(self.layout, whole.number, &self.kinds, &self.config.audio, read).map(Arc::new);
        }
        let Some(still) = &self.still else { return Vec::new() };
        let object = |it: MadeUp| {
            let tag = Digest::of_pieces(it.pieces()).tag();
            Object { rest: Rest::MadeUp(it), tag }
        };
        MadeUp::all(still, n).map(object).collect()
    }

    fn store_trick(&mut self, pieces: &[Bytes]) -> io::Result<Object> {
        // Its shelf stands behind all others.
        let shelf = self.shelves.last_mut().ok_or(io::ErrorKind::NotFound)?;
        at_rest(shelf, pieces, &Digest::of_pieces(pieces))
    }

    /// One more thing to keep, where there is a disk to keep it on.
    pub(super) fn keep(&mut self, it: impl FnOnce(&Config) -> Keep) {
        if self.config.disk {
            let it = it(&self.config);
            self.keeps.push(it);
        }
    }

    fn keep_row(&mut self, number: SegmentNumber, row: usize, objects: Vec<Bytes>) {
        let objects = (0u16..).zip(objects).collect();
        self.keep(|_| Keep::Part { number, part: row as u16, objects });
    }

    fn keep_closed(&mut self, number: SegmentNumber, objects: &[Object], note: Note) {
        let tags = (0u16..).zip(objects).map(|(track, object)| (track, object.tag)).collect();
        self.keep(|_| Keep::Closed { number, tags, note: note.write() });
    }

    /// Lists a segment that is at rest.
    pub(super) fn list(
        &mut self,
        now: Now,
        n: SegmentNumber,
        from: Option<PipelineId>,
        objects: Vec<Object>,
        real: &[bool],
        parts: Vec<Vec<Published>>,
    ) {
        if let Some(published) = &mut self.published {
            let size = |(r, o): (usize, &Object)| (o.rest.len(), real.get(r).copied().unwrap_or(true));
            published.measure(&self.layout, n, objects.iter().enumerate().map(size));
        }
        let entry = self.entry(n, objects, parts);
        self.window.push(&self.layout, &self.kinds, entry, &mut self.deflater);
        self.status.segments += 1;
        let end = self.layout.grid().segment_start(n.next()).to_utc();
        self.tell(PackageEvent::Published { number: n, from, late: now.utc.saturating_sub(end) });
    }
}

/// A segment of one rendition in the slabs of its shelf; `digest` is that of its bytes.
fn at_rest(shelf: &mut Shelf, pieces: &[Bytes], digest: &Digest) -> io::Result<Object> {
    Ok(Object { rest: Rest::Memory(shelf.store(pieces)?), tag: digest.tag() })
}

/// Which parts a decoder may start in, a bit each.
fn starts(parts: &[Published]) -> u64 {
    let bit = |(i, part): (usize, &Published)| u64::from(part.independent && i < 64) << (i & 63);
    parts.iter().enumerate().map(bit).sum()
}
