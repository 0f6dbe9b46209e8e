//! What an index, or many of them, come to: a window, flat in memory.
//!
//! In:    indexes in the order of their blocks, and how long the media files are.
//! Out:   segments in rising order, and which of them are to be checked against their bytes.
//! Never: touches a disk; takes a segment whose bytes are not all there.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::index::{BlockId, Closed, PARTS_MAX, Piece, Record, Row, Scan};
use super::{Media, Place, Tag, Track};
use crate::media::SegmentNumber;

/// How much of a segment there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// All of it.
    Closed,
    /// Nothing: it is missing.
    Gap,
    /// Its first parts; only ever the newest. It may be gone on with.
    Open,
}

/// All that a folder holds, in rising order of numbers. Numbers that are not there were lost.
#[derive(Debug, Default)]
pub struct Recovered {
    segments: Vec<Entry>,
    objects: Vec<Extent>,
    /// Of each object as many lengths as its segment has rows.
    parts: Vec<u32>,
    notes: Vec<u8>,
    media: Vec<Arc<Media>>,
    note: Option<Bytes>,
    damage: Damage,
}

/// What was not as it should be. After an orderly end all is zero; after a crash a torn tail is no news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Bytes of indexes between good records.
    pub index_bytes: u64,
    /// Segments whose bytes are not all there, or not what they were.
    pub segments: u64,
    /// Files that could not be read.
    pub files: u64,
}

/// One segment; 40 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    number: SegmentNumber,
    note_at: u64,
    note_len: u32,
    objects: u32,
    parts: u32,
    rows: u16,
    tracks: u16,
    state: State,
}

/// One track of one segment; 32 bytes, and 4 for each part.
#[derive(Clone, Copy, Debug)]
struct Extent {
    offset: u64,
    len: u32,
    media: u32,
    tag: Tag,
}

/// A segment as it was found.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    of: &'a Recovered,
    entry: &'a Entry,
}

/// One track of a segment as it was found.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// Which track.
    pub track: Track,
    /// Where its bytes lie.
    pub place: Place,
    /// Bytes of each part, one after the other in `place`; zero where the track had nothing in that part.
    pub parts: &'a [u32],
    /// What the caller knows it by; zeros in a segment that is open.
    pub tag: Tag,
}

impl Recovered {
    /// The segments, the oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = Segment<'_>> + ExactSizeIterator {
        self.segments.iter().map(|entry| Segment { of: self, entry })
    }

    /// The segment of this number, if it is there.
    pub fn segment(&self, number: SegmentNumber) -> Option<Segment<'_>> {
        let at = self.segments.binary_search_by_key(&number, |entry| entry.number).ok()?;
        Some(self.at(at))
    }

    /// What an index says of a block whose media files have these lengths, their bytes taken as good.
    pub fn of_index(block: BlockId, index: &[u8], media: &[(Track, u64)]) -> Self {
        let named = |(track, len): &(Track, u64)| (Arc::new(Media::new(PathBuf::new(), *track)), *len);
        let mut assembly = Assembly::default();
        assembly.block(block, index, &media.iter().map(named).collect::<Vec<_>>());
        assembly.open(|_, _| true);
        assembly.window
    }

    /// The caller's newest small state.
    pub fn note(&self) -> Option<&Bytes> {
        self.note.as_ref()
    }

    /// What was not as it should be.
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// Bytes of memory it takes.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.segments.as_slice())
            + size_of_val(self.objects.as_slice())
            + size_of_val(self.parts.as_slice())
            + self.notes.len()
            + self.media.iter().map(|media| size_of::<Media>() + media.path().as_os_str().len() + 24).sum::<usize>()
    }

    pub(super) fn newest(&self) -> Option<SegmentNumber> {
        self.segments.last().map(|entry| entry.number)
    }

    pub(super) fn damage_mut(&mut self) -> &mut Damage {
        &mut self.damage
    }

    /// Room is given back that is not needed.
    pub(super) fn shrink(&mut self) {
        self.segments.shrink_to_fit();
        self.objects.shrink_to_fit();
        self.parts.shrink_to_fit();
        self.notes.shrink_to_fit();
    }

    /// Adds an open segment of these rows. They follow each other in each track.
    fn push_open(&mut self, number: SegmentNumber, rows: &[Vec<Piece>], media: &[(Arc<Media>, u64)]) {
        let mut tracks: Vec<(u32, Extent)> = Vec::new();
        let mut parts: Vec<Vec<u32>> = Vec::new();
        for (row, pieces) in rows.iter().enumerate() {
            for piece in pieces {
                let Some(at) = media.iter().position(|(media, _)| media.track().0 == piece.track) else { continue };
                let place = tracks.iter().position(|(track, _)| *track == at as u32).unwrap_or_else(|| {
                    let extent = Extent { offset: piece.offset, len: 0, media: at as u32, tag: Tag::default() };
                    tracks.push((at as u32, extent));
                    parts.push(vec![0; rows.len()]);
                    tracks.len() - 1
                });
                tracks[place].1.len += piece.len;
                parts[place][row] = piece.len;
            }
        }
        let base = self.media.len() as u32;
        let used = tracks.iter().map(|(at, _)| *at as usize + 1).max().unwrap_or(0);
        self.media.extend(media[..used].iter().map(|(media, _)| Arc::clone(media)));
        let (objects, first_part) = (self.objects.len() as u32, self.parts.len() as u32);
        let mut order: Vec<usize> = (0..tracks.len()).collect();
        order.sort_by_key(|at| media[tracks[*at].0 as usize].0.track());
        for at in order {
            let extent = tracks[at].1;
            self.objects.push(Extent { media: base + extent.media, ..extent });
            self.parts.extend(&parts[at]);
        }
        self.segments.push(Entry {
            number,
            note_at: 0,
            note_len: 0,
            objects,
            parts: first_part,
            rows: rows.len() as u16,
            tracks: tracks.len() as u16,
            state: State::Open,
        });
    }

    fn push(&mut self, number: SegmentNumber, note: &[u8], state: State, rows: u16) {
        self.segments.push(Entry {
            number,
            note_at: self.notes.len() as u64,
            note_len: note.len() as u32,
            objects: self.objects.len() as u32,
            parts: self.parts.len() as u32,
            rows,
            tracks: 0,
            state,
        });
        self.notes.extend(note);
    }

    fn at(&self, at: usize) -> Segment<'_> {
        Segment { of: self, entry: &self.segments[at] }
    }
}

impl<'a> Segment<'a> {
    /// Its number.
    pub fn number(self) -> SegmentNumber {
        self.entry.number
    }

    /// How much of it there is.
    pub fn state(self) -> State {
        self.entry.state
    }

    /// In how many parts it came; so far, if it is open.
    pub fn rows(self) -> u16 {
        self.entry.rows
    }

    /// The caller's note; empty if it is open.
    pub fn note(self) -> &'a [u8] {
        let at = self.entry.note_at as usize;
        self.of.notes.get(at..at + self.entry.note_len as usize).unwrap_or_default()
    }

    /// Its tracks, in the order they were given in; of an open one those that have something.
    pub fn objects(self) -> impl ExactSizeIterator<Item = Object<'a>> {
        let (of, entry) = (self.of, self.entry);
        let rows = usize::from(entry.rows);
        (0..usize::from(entry.tracks)).map(move |at| {
            let extent = &of.objects[entry.objects as usize + at];
            let media = &of.media[extent.media as usize];
            let parts = entry.parts as usize + at * rows;
            Object {
                track: media.track(),
                place: Place::new(Arc::clone(media), extent.offset, u64::from(extent.len)),
                parts: &of.parts[parts..parts + rows],
                tag: extent.tag,
            }
        })
    }
}

/// Reads indexes one after the other. What it finds last of all may be an open segment.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    pub window: Recovered,
    /// Rows of a segment that is not closed (yet); only the newest counts.
    open: Open,
}

/// Rows that came one after the other, of the newest segment.
#[derive(Debug, Default)]
struct Open {
    number: SegmentNumber,
    rows: Vec<Vec<Piece>>,
    media: Vec<(Arc<Media>, u64)>,
    /// A row is missing: those behind it count for nothing.
    broken: bool,
}

/// What one index held.
#[derive(Debug)]
pub(super) struct Found {
    /// The highest number in it.
    pub last: SegmentNumber,
    /// Where its last good record ends, bytes.
    pub end: u64,
    /// Its last record says that all is on the disk.
    pub settled: bool,
    /// Segments that are to be checked: their places in the window, and a sum of each of their objects.
    pub unsure: Vec<(usize, Vec<u32>)>,
    /// Segments were left out because their bytes are not all there.
    pub short: bool,
}

impl Assembly {
    /// Adds a block; they come in order. `media`: its media files and their lengths.
    pub fn block(&mut self, block: BlockId, index: &[u8], media: &[(Arc<Media>, u64)]) -> Found {
        let window = &mut self.window;
        let base = window.media.len() as u32;
        window.media.extend(media.iter().map(|(media, _)| Arc::clone(media)));
        let first_object = window.objects.len();
        let (mut last, mut synced, mut last_at, mut short) = (block.first, 0, 0, false);
        // Of this block's objects their sums; of its segments where they stand in the index, and in the window.
        let (mut sums, mut stands) = (Vec::new(), Vec::new());
        let mut scan = Scan::new(block, index);
        for (at, record) in scan.by_ref() {
            last_at = at;
            let newest = window.segments.last().map(|entry| entry.number);
            let is_news = |number: SegmentNumber| newest.is_none_or(|newest| number > newest);
            match record {
                Record::Row(row) if is_news(row.number) => {
                    last = last.max(row.number);
                    self.open.row(row, media);
                }
                Record::Closed(closed) if is_news(closed.number) => {
                    last = last.max(closed.number);
                    if take_closed(window, base, media, closed, &mut sums) {
                        stands.push((at, window.segments.len() - 1));
                        self.open.clear();
                    } else {
                        short = true;
                        window.damage.segments += 1;
                    }
                }
                Record::Gap { number, note } if is_news(number) => {
                    last = last.max(number);
                    window.push(number, note, State::Gap, 0);
                    self.open.clear();
                }
                Record::Note(note) => window.note = Some(Bytes::copy_from_slice(note)),
                Record::Synced { upto } => synced = upto.min(at).max(synced),
                Record::Row(_) | Record::Closed(_) | Record::Gap { .. } => {}
            }
        }
        window.damage.index_bytes += scan.skipped() as u64;
        let settled = synced > 0 && synced == last_at;
        let unsure = stands.into_iter().filter(|(at, _)| *at >= synced).map(|(_, segment)| {
            let entry = &window.segments[segment];
            let from = entry.objects as usize - first_object;
            (segment, sums[from..from + usize::from(entry.tracks)].to_vec())
        });
        let unsure = unsure.collect();
        Found { last, end: scan.end() as u64, settled, unsure, short }
    }

    /// Adds the newest segment if it is open, with as many rows as are whole, and `holds` for each of their pieces. Returns the rows.
    pub fn open(
        &mut self,
        mut holds: impl FnMut(&Arc<Media>, &Piece) -> bool,
    ) -> Option<(SegmentNumber, Vec<Vec<Piece>>)> {
        let Open { number, mut rows, media, .. } = std::mem::take(&mut self.open);
        if self.window.newest().is_some_and(|newest| number <= newest) {
            return None;
        }
        let mut ends: Vec<(u16, u64)> = Vec::new();
        let good = rows.iter().take_while(|row| {
            row.iter().all(|piece| {
                let Some((file, len)) = media.iter().find(|(media, _)| media.track().0 == piece.track) else {
                    return false;
                };
                let end = piece.offset.saturating_add(u64::from(piece.len));
                let follows = match ends.iter_mut().find(|(track, _)| *track == piece.track) {
                    Some((_, before)) => std::mem::replace(before, end) == piece.offset,
                    None => {
                        ends.push((piece.track, end));
                        true
                    }
                };
                follows && end <= *len && holds(file, piece)
            })
        });
        let good = good.count();
        rows.truncate(good);
        let total: u64 = rows.iter().flatten().map(|piece| u64::from(piece.len)).sum();
        if good == 0 || total > u64::from(u32::MAX) {
            return None;
        }
        self.window.push_open(number, &rows, &media);
        Some((number, rows))
    }

    /// Takes segments out again, by their places in the window.
    pub fn strike(&mut self, mut broken: Vec<usize>) {
        broken.sort_unstable();
        for at in broken.into_iter().rev() {
            self.window.segments.remove(at);
            self.window.damage.segments += 1;
        }
    }

    /// The segment at this place in the window.
    pub fn segment(&self, at: usize) -> Segment<'_> {
        self.window.at(at)
    }
}

impl Open {
    fn row(&mut self, row: Row<'_>, media: &[(Arc<Media>, u64)]) {
        if row.part == 0 {
            self.clear();
            self.number = row.number;
            self.media.extend_from_slice(media);
        }
        let follows = row.number == self.number && usize::from(row.part) == self.rows.len();
        if follows && !self.broken && self.rows.len() < PARTS_MAX {
            self.rows.push(row.pieces().collect());
        } else {
            self.broken = true;
        }
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.media.clear();
        self.broken = false;
    }
}

/// Adds a closed segment if all its bytes are there; its sums go to `sums`.
fn take_closed(
    window: &mut Recovered,
    base: u32,
    media: &[(Arc<Media>, u64)],
    closed: Closed<'_>,
    sums: &mut Vec<u32>,
) -> bool {
    let before = (window.objects.len(), window.parts.len(), window.notes.len(), sums.len());
    window.push(closed.number, closed.note, State::Closed, closed.rows);
    let mut whole = true;
    closed.objects(|object| {
        let first = window.parts.len();
        window.parts.extend(object.parts());
        let len: u64 = window.parts[first..].iter().map(|len| u64::from(*len)).sum();
        let at = media.iter().position(|(media, _)| media.track().0 == object.track);
        let fits = |at: &usize| object.offset.checked_add(len).is_some_and(|end| end <= media[*at].1);
        let (Some(at), Ok(len)) = (at.filter(fits), u32::try_from(len)) else {
            whole = false;
            return;
        };
        window.objects.push(Extent { offset: object.offset, len, media: base + at as u32, tag: object.tag });
        sums.push(object.crc);
    });
    if let Some(entry) = window.segments.last_mut() {
        entry.tracks = closed.tracks() as u16;
    }
    if !whole {
        window.segments.pop();
        window.objects.truncate(before.0);
        window.parts.truncate(before.1);
        window.notes.truncate(before.2);
        sums.truncate(before.3);
    }
    whole
}
