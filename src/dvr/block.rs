//! A block being written: media first, then the record that tells of it. What fails half-way is written over: nothing points there yet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Crc;

use super::files::{self, Name};
use super::index::{self, BlockId, Piece, Whole};
use super::sync::Job;
use super::{Error, Media, Place, Tag, Track, Why};
use crate::media::SegmentNumber;

/// So many blocks may begin at one segment: each needs a crash before it has closed one.
const SERIAL_MAX: u32 = 999;

#[derive(Debug)]
pub(super) struct Block {
    pub id: BlockId,
    folder: PathBuf,
    path: PathBuf,
    index: Arc<File>,
    index_len: u64,
    words: index::Writer,
    tracks: BTreeMap<Track, Shelf>,
    /// The highest number in it.
    pub last: SegmentNumber,
    /// Something was written since the last job was made.
    pub dirty: bool,
    /// It could not be synced. What the system says about it later is worth nothing: pages that failed once count as written from then on.
    pub tainted: bool,
}

#[derive(Debug)]
struct Shelf {
    media: Arc<Media>,
    file: Arc<File>,
    len: u64,
}

/// A segment whose parts are coming.
#[derive(Debug)]
pub(super) struct Growing {
    pub number: SegmentNumber,
    pub rows: u16,
    tracks: BTreeMap<Track, Grown>,
}

#[derive(Debug)]
struct Grown {
    offset: u64,
    len: u32,
    crc: Crc,
    parts: Vec<u32>,
}

impl Growing {
    pub(super) fn new(number: SegmentNumber) -> Self {
        Self { number, rows: 0, tracks: BTreeMap::new() }
    }

    /// What it weighs with `objects` added; an error if the format has no room for that.
    fn check(&self, objects: &[(Track, Bytes)]) -> Result<(), Why> {
        let news = objects.iter().filter(|(track, _)| !self.tracks.contains_key(track)).count();
        let fits = |(track, bytes): &(Track, Bytes)| {
            let len = self.tracks.get(track).map_or(0, |grown| u64::from(grown.len));
            len + bytes.len() as u64 <= u64::from(u32::MAX)
        };
        let room = usize::from(self.rows) < index::PARTS_MAX && self.tracks.len() + news <= index::TRACKS_MAX;
        if !room || !objects.iter().all(fits) {
            return Err(Why::TooLarge);
        }
        let mut tracks: Vec<Track> = objects.iter().map(|(track, _)| *track).collect();
        tracks.sort_unstable();
        tracks.dedup();
        if tracks.len() < objects.len() { Err(Why::OutOfOrder) } else { Ok(()) }
    }

    fn add(&mut self, written: Vec<(Piece, Crc)>) {
        for (piece, crc) in written {
            let rows = usize::from(self.rows);
            let grown = self.tracks.entry(Track(piece.track)).or_insert_with(|| Grown {
                offset: piece.offset,
                len: 0,
                crc: Crc::new(),
                parts: vec![0; rows],
            });
            grown.len += piece.len;
            grown.crc.combine(&crc);
            grown.parts.push(piece.len);
        }
        self.rows += 1;
        let rows = usize::from(self.rows);
        self.tracks.values_mut().for_each(|grown| grown.parts.resize(rows, 0));
    }
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Fault {
    Disk(Error),
    Said(Why),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Why> for Fault {
    fn from(why: Why) -> Self {
        Self::Said(why)
    }
}

impl Block {
    /// Begins a block for `first`, with the caller's state in it.
    pub(super) fn create(
        folder: &Path,
        generation: u64,
        first: SegmentNumber,
        note: Option<&Bytes>,
    ) -> Result<Self, Error> {
        let mut id = BlockId { generation, first, serial: 0 };
        let (path, file) = loop {
            let path = Name::Index(id).path(folder);
            match files::create(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && id.serial < SERIAL_MAX => {
                    id.serial += 1;
                }
                Err(error) => return Err(Error::io("create", &path, error)),
            }
        };
        let words = index::Writer::new(id);
        let mut begin = index::MAGIC.to_vec();
        if let Some(note) = note {
            begin.extend(words.note(begin.len() as u64, note));
        }
        if let Err(error) = file.write_all_at(&begin, 0) {
            let _ = files::remove(&path);
            return Err(Error::io("write", &path, error));
        }
        Ok(Self {
            id,
            folder: folder.to_owned(),
            path,
            index: Arc::new(file),
            index_len: begin.len() as u64,
            words,
            tracks: BTreeMap::new(),
            last: first,
            dirty: true,
            tainted: false,
        })
    }

    /// Bytes in its files.
    pub(super) fn bytes(&self) -> u64 {
        self.index_len + self.tracks.values().map(|shelf| shelf.len).sum::<u64>()
    }

    pub(super) fn index_len(&self) -> u64 {
        self.index_len
    }

    pub(super) fn tracks(&self) -> Vec<Track> {
        self.tracks.keys().copied().collect()
    }

    /// The next part of `segment`: its bytes, then the record.
    pub(super) fn row(&mut self, segment: &mut Growing, objects: &[(Track, Bytes)]) -> Result<(), Fault> {
        segment.check(objects)?;
        let mut written = Vec::with_capacity(objects.len());
        for (track, bytes) in objects.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            let shelf = self.shelf(*track)?;
            let mut crc = Crc::new();
            crc.update(bytes);
            let piece = Piece { track: track.0, offset: shelf.len, len: bytes.len() as u32, crc: crc.sum() };
            if let Err(error) = shelf.file.write_all_at(bytes, shelf.len) {
                let error = Error::io("write", shelf.media.path(), error);
                self.cut_back();
                return Err(error.into());
            }
            written.push((piece, crc));
        }
        let pieces: Vec<Piece> = written.iter().map(|(piece, _)| *piece).collect();
        let record = self.words.row(self.index_len, segment.number, segment.rows, &pieces);
        self.record(segment.number, &record)?;
        for piece in pieces {
            if let Some(shelf) = self.tracks.get_mut(&Track(piece.track)) {
                shelf.len += u64::from(piece.len);
            }
        }
        segment.add(written);
        Ok(())
    }

    /// `segment` is whole; returns where its tracks lie. `tags` are those of its tracks, in any order.
    pub(super) fn closed(
        &mut self,
        segment: &Growing,
        tags: &[(Track, Tag)],
        note: &[u8],
    ) -> Result<Vec<(Track, Place)>, Fault> {
        if note.len() > index::NOTE_MAX {
            return Err(Why::TooLarge.into());
        }
        if tags.len() != segment.tracks.len() || segment.rows == 0 {
            return Err(Why::OutOfOrder.into());
        }
        let (mut objects, mut places) = (Vec::with_capacity(tags.len()), Vec::with_capacity(tags.len()));
        for (track, grown) in &segment.tracks {
            let tag = tags.iter().find(|(tagged, _)| tagged == track);
            let (Some((_, tag)), Some(shelf)) = (tag, self.tracks.get(track)) else {
                return Err(Why::OutOfOrder.into());
            };
            let (offset, crc, parts) = (grown.offset, grown.crc.sum(), grown.parts.clone());
            objects.push(Whole { track: track.0, offset, crc, tag: *tag, parts });
            places.push((*track, Place::new(Arc::clone(&shelf.media), offset, u64::from(grown.len))));
        }
        let record = self.words.closed(self.index_len, segment.number, segment.rows, note, &objects);
        self.record(segment.number, &record)?;
        Ok(places)
    }

    pub(super) fn gap(&mut self, number: SegmentNumber, note: &[u8]) -> Result<(), Fault> {
        if note.len() > index::NOTE_MAX {
            return Err(Why::TooLarge.into());
        }
        let record = self.words.gap(self.index_len, number, note);
        Ok(self.record(number, &record)?)
    }

    pub(super) fn note(&mut self, note: &[u8]) -> Result<(), Error> {
        let record = self.words.note(self.index_len, note);
        self.record(self.last, &record)
    }

    /// All records before `upto` are on the disk, and what they tell of.
    pub(super) fn synced(&mut self, upto: u64) -> Result<(), Error> {
        let (record, dirty) = (self.words.synced(self.index_len, upto), self.dirty);
        self.record(self.last, &record)?;
        // Nothing but this record is not on the disk, and it may be lost without harm.
        self.dirty = dirty;
        Ok(())
    }

    /// What is to be put on the disk now.
    pub(super) fn job(&mut self, seal: bool) -> Job {
        self.dirty = false;
        Job {
            block: self.id,
            media: self.tracks.values().map(|shelf| Arc::clone(&shelf.file)).collect(),
            index: Arc::clone(&self.index),
            path: self.path.clone(),
            upto: self.index_len,
            seal,
        }
    }

    fn record(&mut self, number: SegmentNumber, record: &[u8]) -> Result<(), Error> {
        if let Err(error) = self.index.write_all_at(record, self.index_len) {
            self.cut_back();
            return Err(Error::io("write", &self.path, error));
        }
        self.index_len += record.len() as u64;
        self.last = self.last.max(number);
        self.dirty = true;
        Ok(())
    }

    /// Gives back what was written in vain, so that a full disk gets no fuller. If that fails, too, it will be written over.
    fn cut_back(&self) {
        let _ = self.index.set_len(self.index_len);
        for shelf in self.tracks.values() {
            let _ = shelf.file.set_len(shelf.len);
        }
    }

    fn shelf(&mut self, track: Track) -> Result<&mut Shelf, Error> {
        match self.tracks.entry(track) {
            Entry::Occupied(shelf) => Ok(shelf.into_mut()),
            Entry::Vacant(place) => {
                let path = Name::Media(self.id, track).path(&self.folder);
                let file = files::create(&path).map_err(|error| Error::io("create", &path, error))?;
                let file = Arc::new(file);
                let media = Arc::new(Media::opened(path, track, &file));
                Ok(place.insert(Shelf { media, file, len: 0 }))
            }
        }
    }
}
