//! What is published: entries in order of their numbers, without a hole in the numbering; gaps are entries too.
//!
//! A window may be a day long, and what happens at its ends must not cost more for that. So entries that only wait for their
//! eviction are put into blocks, with their lines in playlists and manifest written and compressed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::dash::Run;
use super::digest::Tag;
use super::edge::Published;
use super::layout::{Kind, Layout};
use super::rest::Rest;
use super::rope::{Deflater, Sealed};
use super::{dash, hls_ts};
use crate::dvr::Place;
use crate::media::SegmentNumber;

/// A segment of one rendition at rest.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub rest: Rest,
    /// What its entity tag is made of, from the digest: equal bytes have equal tags on every host.
    pub tag: Tag,
}

impl Object {
    /// Nobody has it.
    pub fn is_made_up(&self) -> bool {
        matches!(self.rest, Rest::MadeUp(_))
    }
}

/// One segment number in every rendition.
#[derive(Debug)]
pub(super) struct Entry {
    pub number: SegmentNumber,
    /// By rendition; of a gap what is made up in its place, or none at all.
    pub objects: Vec<Object>,
    /// Its lines in each rendition's media playlist; of an entry in a block they are there.
    pub lines: Vec<String>,
    /// By rendition, the parts that were published before it was whole; none where it was published whole, and none in a
    /// block: by then they are out of every playlist for longer than they were in it.
    pub parts: Vec<Vec<Published>>,
    /// The lines of its parts, for as long as playlists list them.
    pub part_lines: Vec<String>,
}

impl Entry {
    /// Nobody has it.
    pub fn is_gap(&self) -> bool {
        is_gap(&self.objects)
    }

    /// Something can be fetched of it.
    pub fn is_there(&self) -> bool {
        !self.objects.is_empty()
    }
}

/// Nobody has a segment that these objects are all of.
pub(super) fn is_gap(objects: &[Object]) -> bool {
    objects.first().is_none_or(Object::is_made_up)
}

/// Entries whose lines stay as they are.
#[derive(Debug)]
pub(super) struct Block {
    entries: Vec<Arc<Entry>>,
    /// Lines of all of them, by rendition; and where each entry's begin.
    lines: Vec<(Sealed, Vec<u32>)>,
    /// The same of playlists of transport streams, by [`Window::TIMES`], for they name no rendition; none where there are none.
    transport: Vec<(Sealed, Vec<u32>)>,
    /// What a manifest says of them, by [`Window::TIMES`].
    times: Vec<Sealed>,
    /// The same as it is compared for patches, once somebody asks for it.
    runs: OnceLock<[Arc<[Run]>; 2]>,
    /// Some of its media is in memory.
    in_memory: bool,
}

/// Longest time a segment stays fetchable after it left the playlists. RFC 8216bis §6.2.2 asks for one segment duration,
/// RFC 8216 for as long as the longest playlist: a short window gets that, a window of hours does not cost twice its size.
const LINGER_MAX: Duration = Duration::from_secs(120);
/// RFC 8216bis §6.2.2: a playlist is never cut below three target durations; short segments may need four for that.
pub(super) const LISTED_MIN: usize = 4;
/// Entries that stay outside of blocks, in target durations: parts are listed for three and kept for three more, a delta update
/// has six, and one is on its way.
const FRESH: u64 = 8;
/// Entries of a block: as many as make blocks few, and no more than a sixteenth of the window, for a block goes as a whole.
const BLOCK_MAX: usize = 64;

/// A window on disk: how long media waits in memory for the disk. What is not there by then is lost to the window, and so is
/// what lies before it.
const DISK_WITHIN: Duration = Duration::from_secs(300);

/// How long a disk must keep what was published for a window that lists so much of the past. What leaves the disk earlier leaves the window,
/// and a whole block of it: segments that manifests still offer.
pub fn kept_for(window: Duration, segment: Duration) -> Duration {
    let Sizes { retained, block, .. } = Sizes::of(window, segment);
    segment.saturating_mul(u32::try_from(retained + block).unwrap_or(u32::MAX))
}

/// Of a window, in segments.
struct Sizes {
    listed: usize,
    retained: usize,
    block: usize,
}

impl Sizes {
    fn of(window: Duration, segment: Duration) -> Self {
        let listed = segments(window, segment).max(LISTED_MIN);
        let linger = segments((window + segment).min(LINGER_MAX), segment).max(2);
        let retained = listed + linger;
        Self { listed, retained, block: (retained / 16).clamp(4, BLOCK_MAX) }
    }
}

/// Segments it takes to last so long.
fn segments(d: Duration, segment: Duration) -> usize {
    usize::try_from(d.as_nanos().div_ceil(segment.as_nanos().max(1))).unwrap_or(usize::MAX)
}

/// The published segments.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Segments whose media stays in memory, whatever the disk does; none where all of it does.
    memory: Option<usize>,
    /// Where segments lie on disk that are not in a block yet.
    places: BTreeMap<SegmentNumber, Vec<Place>>,
    listed: usize,
    retained: usize,
    fresh: usize,
    block: usize,
    /// Blocks have lines of transport streams, too.
    transport: bool,
    /// The oldest first; then `tail`. Numbers are contiguous.
    blocks: Arc<[Arc<Block>]>,
    tail: Arc<[Arc<Entry>]>,
    /// How many entries there are.
    len: usize,
    /// The newest entry that is no gap. It stays when nothing but gaps is left, for a manifest must list something, and what is made up is made of it.
    whole: Option<Arc<Entry>>,
    /// Of what is listed: entries that can be fetched; of those that are no gaps bytes by rendition, units by [`Self::TIMES`].
    there: usize,
    bytes: Vec<u64>,
    units: [u64; 2],
}

/// What a snapshot keeps of a window.
#[derive(Clone, Debug)]
pub(super) struct View {
    blocks: Arc<[Arc<Block>]>,
    tail: Arc<[Arc<Entry>]>,
    whole: Option<Arc<Entry>>,
}

impl View {
    /// All entries, the oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.blocks.iter().flat_map(|block| &block.entries).chain(self.tail.iter())
    }

    pub fn newest(&self) -> Option<SegmentNumber> {
        self.tail.last().map(|entry| entry.number)
    }

    pub fn entry(&self, n: SegmentNumber) -> Option<&Entry> {
        let spare = || self.whole.as_ref().filter(|entry| entry.number == n);
        in_order(&self.tail, n).or_else(|| in_order(self.block_of(n)?, n)).or_else(spare).map(Arc::as_ref)
    }

    /// The block that has this number, if any has.
    fn block_of(&self, n: SegmentNumber) -> Option<&[Arc<Entry>]> {
        let behind = self.blocks.partition_point(|block| block.first() <= Some(n));
        Some(&self.blocks.get(behind.checked_sub(1)?)?.entries)
    }
}

/// The entry of this number where numbers are contiguous.
fn in_order(entries: &[Arc<Entry>], n: SegmentNumber) -> Option<&Arc<Entry>> {
    entries.get(usize::try_from(n.0.checked_sub(entries.first()?.number.0)?).ok()?)
}

/// Where entries of these numbers are, where numbers are contiguous.
fn numbered(entries: &[Arc<Entry>], first: SegmentNumber, last: SegmentNumber) -> Range<usize> {
    let Some(begin) = entries.first().map(|entry| entry.number.0) else { return 0..0 };
    let at = |n: u64| usize::try_from(n.saturating_sub(begin)).unwrap_or(usize::MAX).min(entries.len());
    let end = at(last.0.saturating_add(1));
    at(first.0).min(end)..end
}

impl Block {
    fn new(
        layout: &Layout,
        kinds: &[Kind],
        entries: &[Arc<Entry>],
        before: Option<&Self>,
        transport: bool,
        deflater: &mut Deflater,
    ) -> Self {
        let written = |line: &dyn Fn(&Entry) -> String| {
            let mut starts = Vec::with_capacity(entries.len());
            let mut text = String::new();
            for entry in entries {
                starts.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
                text.push_str(&line(entry));
            }
            (text, starts)
        };
        let mut line = |r: usize| {
            let (text, starts) = written(&|entry| entry.lines.get(r).cloned().unwrap_or_default());
            (deflater.seal(text, before.map(|block| &block.lines[r].0)), starts)
        };
        let lines = (0..kinds.len()).map(&mut line).collect();
        let mut line = |(i, kind): (usize, &Kind)| {
            let (text, starts) = written(&|entry| hls_ts::segment_lines(layout, *kind, entry.number, entry.is_gap()));
            (deflater.seal(text, before.map(|block| &block.transport[i].0)), starts)
        };
        let transport = Window::TIMES.iter().enumerate().filter(|_| transport).map(&mut line).collect();
        let mut time = |(i, kind): (usize, &Kind)| {
            let mut text = String::new();
            dash::timeline(&mut text, layout, dash::media(entries).into_iter(), *kind);
            deflater.seal(text, before.map(|block| &block.times[i]))
        };
        let times = Window::TIMES.iter().enumerate().map(&mut time).collect();
        let bare = |entry: &Arc<Entry>| {
            let (number, objects) = (entry.number, entry.objects.clone());
            Arc::new(Entry { number, objects, lines: Vec::new(), parts: Vec::new(), part_lines: Vec::new() })
        };
        let in_memory = entries.iter().flat_map(|e| &e.objects).any(|o| o.rest.in_memory().is_some());
        Self { entries: entries.iter().map(bare).collect(), lines, transport, times, runs: OnceLock::new(), in_memory }
    }

    /// The same with its media on disk; `None` if some of it is not there.
    fn on_disk(&self, places: &BTreeMap<SegmentNumber, Vec<Place>>) -> Option<Self> {
        let moved = |entry: &Arc<Entry>| {
            if entry.objects.iter().all(|object| object.rest.in_memory().is_none()) {
                return Some(Arc::clone(entry));
            }
            let places = places.get(&entry.number).filter(|places| places.len() == entry.objects.len())?;
            let object = |(place, object): (&Place, &Object)| {
                let fits = place.len() == object.rest.len() as u64;
                fits.then(|| Object { rest: Rest::Disk(place.clone()), tag: object.tag })
            };
            let objects = places.iter().zip(&entry.objects).map(object).collect::<Option<Vec<_>>>()?;
            let number = entry.number;
            Some(Arc::new(Entry { number, objects, lines: Vec::new(), parts: Vec::new(), part_lines: Vec::new() }))
        };
        let entries = self.entries.iter().map(moved).collect::<Option<Vec<_>>>()?;
        let (lines, transport) = (self.lines.clone(), self.transport.clone());
        Some(Self { entries, lines, transport, times: self.times.clone(), runs: self.runs.clone(), in_memory: false })
    }

    fn runs(&self, layout: &Layout) -> &[Arc<[Run]>; 2] {
        let runs = |kind| dash::runs(layout, dash::media(&self.entries).into_iter(), kind).into();
        self.runs.get_or_init(|| Window::TIMES.map(runs))
    }

    fn last(&self) -> Option<SegmentNumber> {
        self.entries.last().map(|entry| entry.number)
    }

    fn first(&self) -> Option<SegmentNumber> {
        self.entries.first().map(|entry| entry.number)
    }
}

/// Entries one behind the other, with their lines: of a block that is listed in part, of whole blocks, of another block that is listed in
/// part, and of entries outside of blocks.
pub(super) struct Listed<'a> {
    front: Option<(&'a Block, Range<usize>)>,
    blocks: &'a [Arc<Block>],
    back: Option<(&'a Block, Range<usize>)>,
    /// Those outside of blocks.
    pub tail: &'a [Arc<Entry>],
}

impl<'a> Listed<'a> {
    /// Numbers are contiguous: a day has too many blocks to be counted for each playlist.
    pub fn len(&self) -> usize {
        self.first().zip(self.last()).map_or(0, |(first, last)| (last.0 + 1 - first.0) as usize)
    }

    /// The first number.
    pub fn first(&self) -> Option<SegmentNumber> {
        let blocks = self.blocks.first().map_or(&[][..], |block| &block.entries);
        let entry = [self.front(), blocks, self.back(), self.tail].into_iter().find_map(<[_]>::first);
        entry.map(|entry| entry.number)
    }

    fn last(&self) -> Option<SegmentNumber> {
        let blocks = self.blocks.last().map_or(&[][..], |block| &block.entries);
        let entry = [self.tail, self.back(), blocks, self.front()].into_iter().find_map(<[_]>::last);
        entry.map(|entry| entry.number)
    }

    /// Not all of it is a gap.
    pub fn has_media(&self) -> bool {
        let blocks = self.blocks.iter().flat_map(|block| &block.entries);
        self.front().iter().chain(blocks).chain(self.back()).chain(self.tail).any(|entry| !entry.is_gap())
    }

    /// The entries in front of whole blocks.
    pub fn front(&self) -> &'a [Arc<Entry>] {
        self.front.as_ref().map_or(&[], |(block, range)| &block.entries[range.clone()])
    }

    /// The entries behind whole blocks that are in a block, too.
    pub fn back(&self) -> &'a [Arc<Entry>] {
        self.back.as_ref().map_or(&[], |(block, range)| &block.entries[range.clone()])
    }

    /// Lines of [`Self::front`] in the playlist of rendition `r`.
    pub fn front_lines(&self, r: usize) -> &'a str {
        self.front.as_ref().and_then(|(block, range)| within(block.lines.get(r)?, range)).unwrap_or("")
    }

    /// The same of [`Self::back`].
    pub fn back_lines(&self, r: usize) -> &'a str {
        self.back.as_ref().and_then(|(block, range)| within(block.lines.get(r)?, range)).unwrap_or("")
    }

    /// Lines of [`Self::front`] in playlists of transport streams.
    pub fn front_transport(&self, kind: Kind) -> &'a str {
        let lines = |(block, range): &(&'a Block, _)| within(block.transport.get(Window::time(kind))?, range);
        self.front.as_ref().and_then(lines).unwrap_or("")
    }

    /// The same of [`Self::back`].
    pub fn back_transport(&self, kind: Kind) -> &'a str {
        let lines = |(block, range): &(&'a Block, _)| within(block.transport.get(Window::time(kind))?, range);
        self.back.as_ref().and_then(lines).unwrap_or("")
    }

    /// Lines of whole blocks in the playlist of rendition `r`.
    pub fn lines(&self, r: usize) -> impl DoubleEndedIterator<Item = &'a Sealed> + Clone + use<'a> {
        self.blocks.iter().filter_map(move |block| block.lines.get(r).map(|(sealed, _)| sealed))
    }

    /// The same in playlists of transport streams.
    pub fn transport(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &'a Sealed> + Clone + use<'a> {
        let at = Window::time(kind);
        self.blocks.iter().filter_map(move |block| block.transport.get(at).map(|(sealed, _)| sealed))
    }

    /// What a manifest says of whole blocks, a piece a block: the same piece for the same block.
    pub fn runs(&self, layout: &Layout, kind: Kind) -> Vec<Arc<[Run]>> {
        self.blocks.iter().map(|block| Arc::clone(&block.runs(layout)[Window::time(kind)])).collect()
    }

    /// What a manifest says of whole blocks.
    pub fn times(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &'a Sealed> + Clone + use<'a> {
        let at = Window::time(kind);
        self.blocks.iter().filter_map(move |block| block.times.get(at))
    }
}

/// The lines of some entries of a block.
fn within<'a>((sealed, starts): &'a (Sealed, Vec<u32>), range: &Range<usize>) -> Option<&'a str> {
    let begin = *starts.get(range.start)? as usize;
    let end = starts.get(range.end).map_or(sealed.text.len(), |end| *end as usize);
    std::str::from_utf8(sealed.text.get(begin..end)?).ok()
}

impl Window {
    /// Kinds of tracks whose segments begin at times of their own.
    pub const TIMES: [Kind; 2] = [Kind::Video, Kind::Audio];

    pub fn time(kind: Kind) -> usize {
        usize::from(kind == Kind::Audio)
    }

    /// For `renditions` of them, that lists so much of the past; in playlists of transport streams, too, where `transport` says so.
    /// With `disk` media that waits for its eviction lies there.
    pub fn new(layout: &Layout, window: Duration, renditions: usize, disk: bool, transport: bool) -> Self {
        let segment = layout.grid().segment();
        let segments = |d: Duration| segments(d, segment);
        let Sizes { listed, retained, block } = Sizes::of(window, segment);
        Self {
            memory: disk.then(|| segments(DISK_WITHIN)),
            places: BTreeMap::new(),
            listed,
            retained,
            fresh: segments(Duration::from_secs(FRESH * layout.target_duration())),
            block,
            transport,
            blocks: Arc::default(),
            tail: Arc::default(),
            len: 0,
            whole: None,
            there: 0,
            bytes: vec![0; renditions],
            units: [0; 2],
        }
    }

    /// How many segments are kept in memory; what slabs are sized after.
    pub fn in_memory(&self) -> usize {
        let all = self.retained + self.block;
        // As a rule they are on disk by the time they go into a block.
        if self.memory.is_some() { all.min(self.fresh + self.block) } else { all }
    }

    /// A segment is on disk, too: there, by rendition.
    pub fn stored(&mut self, number: SegmentNumber, places: Vec<Place>) {
        if self.memory.is_some() && self.view().entry(number).is_some_and(|entry| !entry.is_gap()) {
            self.places.insert(number, places);
        }
    }

    /// What lies before this segment is gone from the disk.
    pub fn expire(&mut self, layout: &Layout, before: SegmentNumber) {
        while self.blocks.first().is_some_and(|block| !block.in_memory && block.first() < Some(before)) {
            self.drop_block(layout);
        }
    }

    /// Takes blocks out of memory.
    fn move_out(&mut self, layout: &Layout) {
        let (Some(memory), Some(newest)) = (self.memory, self.newest()) else { return };
        let waiting: Vec<usize> = (0..self.blocks.len()).filter(|&i| self.blocks[i].in_memory).collect();
        let mut lost = 0;
        for i in waiting {
            let (block, last) = (&self.blocks[i], self.blocks[i].last().unwrap_or(newest));
            if let Some(moved) = block.on_disk(&self.places).map(Arc::new) {
                self.places.retain(|number, _| *number > last);
                let mut blocks = self.blocks.to_vec();
                blocks[i] = moved;
                self.blocks = blocks.into();
            } else if last.0 + (memory as u64) < newest.0 {
                lost = i + 1;
            }
        }
        (0..lost).for_each(|_| self.drop_block(layout));
    }

    /// The oldest block goes.
    fn drop_block(&mut self, layout: &Layout) {
        let Some(block) = self.blocks.first().cloned() else { return };
        let listed_from = self.len.saturating_sub(self.listed);
        for entry in block.entries.iter().skip(listed_from) {
            self.count(layout, entry, false);
        }
        self.len -= block.entries.len();
        self.blocks = self.blocks.iter().skip(1).cloned().collect();
        if let Some(last) = block.last() {
            self.places.retain(|number, _| *number > last);
        }
    }

    /// How many segments the playlists list when the window is full.
    pub fn listed_max(&self) -> usize {
        self.listed
    }

    /// Publishes the next number. `kinds` are those of all renditions.
    pub fn push(&mut self, layout: &Layout, kinds: &[Kind], entry: Entry, deflater: &mut Deflater) {
        debug_assert!(self.newest().is_none_or(|n| n.next() == entry.number));
        let entry = Arc::new(entry);
        if !entry.is_gap() {
            self.whole = Some(Arc::clone(&entry));
        }
        self.count(layout, &entry, true);
        let number = entry.number;
        let mut tail = self.tail.to_vec();
        tail.push(entry);
        self.len += 1;
        if tail.len() >= self.fresh + self.block {
            let rest = tail.split_off(self.block);
            let block = Block::new(layout, kinds, &tail, self.blocks.last().map(Arc::as_ref), self.transport, deflater);
            self.blocks = self.blocks.iter().cloned().chain([Arc::new(block)]).collect();
            tail = rest;
        }
        self.tail = tail.into();
        let left = number.0.checked_sub(self.listed as u64).map(SegmentNumber);
        let view = self.view();
        if let Some(entry) = left.and_then(|left| view.entry(left)) {
            self.count(layout, entry, false);
        }
        while self.blocks.first().is_some_and(|block| self.len - block.entries.len() >= self.retained) {
            self.drop_block(layout);
        }
        self.move_out(layout);
    }

    fn count(&mut self, layout: &Layout, entry: &Entry, comes: bool) {
        if entry.is_there() {
            self.there = if comes { self.there + 1 } else { self.there.saturating_sub(1) };
        }
        if entry.is_gap() {
            return;
        }
        let change = |sum: &mut u64, by: u64| *sum = if comes { *sum + by } else { sum.saturating_sub(by) };
        for (sum, object) in self.bytes.iter_mut().zip(&entry.objects) {
            change(sum, object.rest.len() as u64);
        }
        for (sum, kind) in self.units.iter_mut().zip(Self::TIMES) {
            let units = layout.units(kind, entry.number);
            change(sum, units.end - units.start);
        }
    }

    pub fn newest(&self) -> Option<SegmentNumber> {
        self.tail.last().map(|e| e.number)
    }

    /// Entries are listed that can be fetched. Where none can, a manifest lists [`Self::whole`].
    pub fn is_there(&self) -> bool {
        self.there > 0
    }

    /// The newest entry that is no gap.
    pub fn whole(&self) -> Option<&Entry> {
        self.whole.as_deref()
    }

    /// What the playlists list.
    pub fn listed(&self) -> Listed<'_> {
        let newest = self.newest().unwrap_or(SegmentNumber(0));
        let count = self.len.min(self.listed) as u64;
        self.cut(SegmentNumber((newest.0 + 1).saturating_sub(count)), newest)
    }

    /// What there is from one number to another one.
    pub fn cut(&self, first: SegmentNumber, last: SegmentNumber) -> Listed<'_> {
        let blocks = &self.blocks;
        let begin = blocks.partition_point(|block| block.last() < Some(first));
        let end = blocks.partition_point(|block| block.first() <= Some(last)).max(begin);
        let mut blocks = &blocks[begin..end];
        let (mut front, mut back) = (None, None);
        if let Some((block, rest)) = blocks.split_first() {
            let range = numbered(&block.entries, first, last);
            if range.len() < block.entries.len() {
                (front, blocks) = (Some((&**block, range)), rest);
            }
        }
        if let Some((block, rest)) = blocks.split_last() {
            let range = numbered(&block.entries, first, last);
            if range.len() < block.entries.len() {
                (back, blocks) = (Some((&**block, range)), rest);
            }
        }
        Listed { front, blocks, back, tail: &self.tail[numbered(&self.tail, first, last)] }
    }

    /// Everything that can be fetched.
    pub fn view(&self) -> View {
        let (blocks, tail) = (Arc::clone(&self.blocks), Arc::clone(&self.tail));
        View { blocks, tail, whole: self.whole.clone() }
    }

    /// Average bit rate of what is listed of a rendition, bits a second.
    pub fn average(&self, layout: &Layout, rendition: usize, kind: Kind) -> u64 {
        let ticks = self.units[Self::time(kind)] * u64::from(layout.unit_ticks(kind));
        let seconds = ticks as f64 / f64::from(layout.timescale(kind).hz());
        let bytes = self.bytes.get(rendition).copied().unwrap_or(0);
        if seconds > 0.0 { (bytes as f64 * 8.0 / seconds) as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{FrameRate, Grid};

    /// What is published of a window on a disk that keeps no more than it is asked to.
    #[test]
    fn what_leaves_the_disk_was_offered_by_nobody() {
        let grid = Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("a rate")).expect("a grid");
        let layout = Layout::new(grid, Duration::from_millis(200));
        for seconds in [8, 40, 60, 600, 3600] {
            let listed = Duration::from_secs(seconds);
            let mut window = Window::new(&layout, listed, 1, true, false);
            let mut deflater = Deflater::default();
            let kept = segments(kept_for(listed, grid.segment()), grid.segment()) as u64;
            // RFC 8216 §6.2.2: as long again behind the removal, which we do for two minutes at most.
            let offered = seconds / 2 + (seconds / 2 + 1).min(60);
            for n in 1000..4000 {
                // Gaps: they need no disk to lie on.
                let entry = Entry {
                    number: SegmentNumber(n),
                    objects: Vec::new(),
                    lines: vec![String::new()],
                    parts: Vec::new(),
                    part_lines: Vec::new(),
                };
                window.push(&layout, &[Kind::Video], entry, &mut deflater);
                window.expire(&layout, SegmentNumber((n + 1).saturating_sub(kept)));
                let oldest = SegmentNumber((n + 1).saturating_sub(offered).max(1000));
                assert!(window.view().entry(oldest).is_some(), "{seconds} s: {oldest:?} of {n}");
            }
        }
    }
}
