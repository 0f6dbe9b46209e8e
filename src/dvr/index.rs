//! The index of a block: records of what its media files hold, each with its own check, written after the bytes it tells of.
//!
//! In:    what an index file holds, any bytes.
//! Out:   its records in order; the bytes between them that are none.
//! Never: touches a disk, panics, takes longer than some passes over the bytes.
//!
//! A file begins with [`MAGIC`]. A record is, in network byte order:
//!
//! ```text
//!  0  u32  marker D7 'd' 'v' 'r', by which the next record is found behind a broken one
//!  4  u8   kind; three bytes of zero
//!  8  u32  length of what follows the head, bytes
//! 12  u32  CRC-32 of what follows the head
//! 16  u32  CRC-32 of the block's name, the record's place in the file, and the 16 bytes before
//! ```
//!
//! Name and place are part of the check, so that a record counts nowhere but where it was written: not in a file that was renamed, not
//! where a note happens to hold the bytes of a record.

use flate2::Crc;

use crate::media::SegmentNumber;

/// How an index file begins; the last byte is the version of the format.
pub const MAGIC: [u8; 8] = *b"tdm-dvr\x01";
/// Most tracks a segment has.
pub const TRACKS_MAX: usize = 256;
/// Most parts a segment has.
pub const PARTS_MAX: usize = 256;
/// Longest note, bytes.
pub const NOTE_MAX: usize = 64 << 10;

const MARKER: [u8; 4] = [0xD7, b'd', b'v', b'r'];
const HEAD: usize = 20;
/// Longest record behind its head: a note and [`TRACKS_MAX`] objects of [`PARTS_MAX`] parts take less than half of it.
const PAYLOAD_MAX: usize = 1 << 20;
/// Of payloads that turn out broken, so many times the file's length is checked; a file made to ask for more is left there.
const PATIENCE: usize = 4;

/// A block's name: which window it belongs to, its first segment, and how many blocks began there before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// Which window: a folder that is begun anew counts one up.
    pub generation: u64,
    /// The first segment it was begun for.
    pub first: SegmentNumber,
    /// Zero, unless a block for that segment was there already.
    pub serial: u32,
}

/// Bytes of one part of one track, in the media file of that track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Track.
    pub track: u16,
    /// Where it begins in the track's media file, bytes.
    pub offset: u64,
    /// Bytes, at least one.
    pub len: u32,
    /// CRC-32 of the bytes.
    pub crc: u32,
}

/// All of a closed segment in one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Track.
    pub track: u16,
    /// Where it begins in the track's media file, bytes.
    pub offset: u64,
    /// CRC-32 of the bytes.
    pub crc: u32,
    /// What the caller knows it by.
    pub tag: [u8; 16],
    /// Bytes of each part; zero where the track had nothing in that part.
    pub parts: Vec<u32>,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// One part in each track that has something in it.
    Row(Row<'a>),
    /// A segment is whole.
    Closed(Closed<'a>),
    /// A segment that is missing.
    Gap {
        /// Which.
        number: SegmentNumber,
        /// The caller's note.
        note: &'a [u8],
    },
    /// The caller's small state; the newest counts.
    Note(&'a [u8]),
    /// All that records before `upto` tell of is on the disk itself.
    Synced {
        /// Place in this file, bytes.
        upto: u64,
    },
}

const ROW: u8 = 1;
const CLOSED: u8 = 2;
const GAP: u8 = 3;
const NOTE: u8 = 4;
const SYNCED: u8 = 5;

/// A row as it was read: its shape is checked, its values are not.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The segment.
    pub number: SegmentNumber,
    /// Which part of it, from 0.
    pub part: u16,
    pieces: &'a [u8],
}

impl Row<'_> {
    /// Its pieces.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = Piece> {
        self.pieces.chunks_exact(PIECE).map(|mut bytes| {
            let b = &mut bytes;
            Piece { track: u16(b), offset: u64(b), len: u32(b), crc: u32(b) }
        })
    }
}

const PIECE: usize = 2 + 8 + 4 + 4;
const WHOLE: usize = 2 + 8 + 4 + 16;

/// A closed segment as it was read: its shape is checked, its values are not.
#[derive(Clone, Copy, Debug)]
pub struct Closed<'a> {
    /// The segment.
    pub number: SegmentNumber,
    /// In how many parts it came, 1 to [`PARTS_MAX`].
    pub rows: u16,
    /// The caller's note.
    pub note: &'a [u8],
    objects: &'a [u8],
}

impl Closed<'_> {
    /// How many tracks it has.
    pub fn tracks(&self) -> usize {
        self.objects.len() / self.stride()
    }

    /// Calls `each` with each track's object; its parts are lengths that `parts` is filled with.
    pub fn objects(&self, mut each: impl FnMut(Object<'_>)) {
        for mut bytes in self.objects.chunks_exact(self.stride()) {
            let b = &mut bytes;
            let (track, offset, crc) = (u16(b), u64(b), u32(b));
            each(Object { track, offset, crc, tag: take(b), parts: b });
        }
    }

    fn stride(&self) -> usize {
        WHOLE + 4 * usize::from(self.rows)
    }
}

/// One track of a [`Closed`] segment.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Track.
    pub track: u16,
    /// Where it begins in the track's media file, bytes.
    pub offset: u64,
    /// CRC-32 of the bytes.
    pub crc: u32,
    /// What the caller knows it by.
    pub tag: [u8; 16],
    parts: &'a [u8],
}

impl Object<'_> {
    /// Bytes of each part.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = u32> {
        self.parts.chunks_exact(4).map(|mut bytes| u32(&mut bytes))
    }
}

/// Writes records, each for its place in a block.
#[derive(Debug)]
pub struct Writer(BlockId);

impl Writer {
    /// Of the block of this name.
    pub fn new(block: BlockId) -> Self {
        Self(block)
    }

    /// A part of a segment, to stand at `at`. [`TRACKS_MAX`] pieces at most.
    pub fn row(&self, at: u64, number: SegmentNumber, part: u16, pieces: &[Piece]) -> Vec<u8> {
        self.record(at, ROW, 10 + pieces.len() * PIECE, |to| {
            to.extend(number.0.to_be_bytes());
            to.extend(part.to_be_bytes());
            for piece in pieces {
                to.extend(piece.track.to_be_bytes());
                to.extend(piece.offset.to_be_bytes());
                to.extend(piece.len.to_be_bytes());
                to.extend(piece.crc.to_be_bytes());
            }
        })
    }

    /// A whole segment of `rows` parts, to stand at `at`. [`TRACKS_MAX`] objects, [`PARTS_MAX`] rows, a note of [`NOTE_MAX`] at most.
    pub fn closed(&self, at: u64, number: SegmentNumber, rows: u16, note: &[u8], objects: &[Whole]) -> Vec<u8> {
        let len = 14 + note.len() + objects.len() * (WHOLE + 4 * usize::from(rows));
        self.record(at, CLOSED, len, |to| {
            to.extend(number.0.to_be_bytes());
            to.extend(rows.to_be_bytes());
            to.extend((note.len() as u32).to_be_bytes());
            to.extend(note);
            for object in objects {
                debug_assert_eq!(object.parts.len(), usize::from(rows));
                to.extend(object.track.to_be_bytes());
                to.extend(object.offset.to_be_bytes());
                to.extend(object.crc.to_be_bytes());
                to.extend(object.tag);
                to.extend(object.parts.iter().flat_map(|len| len.to_be_bytes()));
            }
        })
    }

    /// A segment that is missing, to stand at `at`.
    pub fn gap(&self, at: u64, number: SegmentNumber, note: &[u8]) -> Vec<u8> {
        self.record(at, GAP, 8 + note.len(), |to| {
            to.extend(number.0.to_be_bytes());
            to.extend(note);
        })
    }

    /// The caller's state, to stand at `at`.
    pub fn note(&self, at: u64, note: &[u8]) -> Vec<u8> {
        self.record(at, NOTE, note.len(), |to| to.extend(note))
    }

    /// All before `upto` is on the disk, to stand at `at`.
    pub fn synced(&self, at: u64, upto: u64) -> Vec<u8> {
        self.record(at, SYNCED, 8, |to| to.extend(upto.to_be_bytes()))
    }

    fn record(&self, at: u64, kind: u8, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut record = Vec::with_capacity(HEAD + len);
        record.resize(HEAD, 0);
        fill(&mut record);
        debug_assert!(record.len() == HEAD + len && len <= PAYLOAD_MAX);
        record[..4].copy_from_slice(&MARKER);
        record[4] = kind;
        let payload = record.split_off(HEAD);
        record[8..12].copy_from_slice(&(payload.len() as u32).to_be_bytes());
        record[12..16].copy_from_slice(&crc(&payload).to_be_bytes());
        let check = head_crc(self.0, at, &record[..16]);
        record[16..20].copy_from_slice(&check.to_be_bytes());
        record.extend(payload);
        record
    }
}

/// CRC-32 (IEEE 802.3) of `bytes`.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn head_crc(block: BlockId, at: u64, head: &[u8]) -> u32 {
    let mut named = [0; 44];
    named[..8].copy_from_slice(&block.generation.to_be_bytes());
    named[8..16].copy_from_slice(&block.first.0.to_be_bytes());
    named[16..20].copy_from_slice(&block.serial.to_be_bytes());
    named[20..28].copy_from_slice(&at.to_be_bytes());
    named[28..].copy_from_slice(head);
    crc(&named)
}

/// Reads an index from its beginning. Yields each good record with its place; what is broken is passed over.
#[derive(Debug)]
pub struct Scan<'a> {
    block: BlockId,
    bytes: &'a [u8],
    at: usize,
    end: usize,
    skipped: usize,
    patience: usize,
}

impl<'a> Scan<'a> {
    /// Of `bytes`, the index of `block`.
    pub fn new(block: BlockId, bytes: &'a [u8]) -> Self {
        // A beginning that is damaged is damage like any other: records stand for themselves.
        let at = if bytes.starts_with(&MAGIC) { MAGIC.len() } else { 0 };
        Self { block, bytes, at, end: at, skipped: 0, patience: PATIENCE * bytes.len() }
    }

    /// Where the last good record so far ends, bytes. Behind the last one of all: the torn tail.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Bytes between good records that are none.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The head at `at` and what follows it: kind, payload. `None` if there is no good record.
    fn record_at(&mut self, at: usize) -> Option<(u8, &'a [u8])> {
        let (head, rest) = self.bytes.get(at..)?.split_first_chunk::<HEAD>()?;
        let mut fields = head.strip_prefix(&MARKER)?;
        let kind: [u8; 4] = take(&mut fields);
        let (len, sum, check) = (u32(&mut fields) as usize, u32(&mut fields), u32(&mut fields));
        if check != head_crc(self.block, at as u64, &head[..16]) {
            return None;
        }
        let payload = rest.get(..len).filter(|_| len <= PAYLOAD_MAX)?;
        if crc(payload) != sum {
            self.patience = self.patience.saturating_sub(len);
            return None;
        }
        Some((kind[0], payload))
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = (u64, Record<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.patience > 0 && self.at + HEAD <= self.bytes.len() {
            let at = self.at;
            if let Some((kind, payload)) = self.record_at(at) {
                self.skipped += at - self.end;
                self.at = at + HEAD + payload.len();
                self.end = self.at;
                // One that is whole and says nothing we know is of a later version, and no damage.
                if let Some(record) = read(kind, payload) {
                    return Some((at as u64, record));
                }
            } else {
                let rest = &self.bytes[at + 1..];
                let next = rest.windows(MARKER.len()).position(|bytes| bytes == MARKER);
                self.at = next.map_or(self.bytes.len(), |next| at + 1 + next);
            }
        }
        None
    }
}

fn read(kind: u8, payload: &[u8]) -> Option<Record<'_>> {
    let mut rest = payload;
    let fields = &mut rest;
    Some(match kind {
        ROW if payload.len() >= 10 => {
            let (number, part) = (SegmentNumber(u64(fields)), u16(fields));
            let fits = rest.len().is_multiple_of(PIECE) && rest.len() / PIECE <= TRACKS_MAX;
            Record::Row(Row { number, part, pieces: fits.then_some(rest)? })
        }
        CLOSED if payload.len() >= 14 => {
            let (number, rows) = (SegmentNumber(u64(fields)), u16(fields));
            let note_len = u32(fields) as usize;
            let (note, objects) = rest.split_at_checked(note_len)?;
            let closed = Closed { number, rows, note, objects };
            let fits = (1..=PARTS_MAX).contains(&usize::from(rows))
                && note_len <= NOTE_MAX
                && objects.len().is_multiple_of(closed.stride())
                && closed.tracks() <= TRACKS_MAX;
            Record::Closed(fits.then_some(closed)?)
        }
        GAP if (8..=8 + NOTE_MAX).contains(&payload.len()) => {
            Record::Gap { number: SegmentNumber(u64(fields)), note: rest }
        }
        NOTE if payload.len() <= NOTE_MAX => Record::Note(payload),
        SYNCED if payload.len() == 8 => Record::Synced { upto: u64(fields) },
        _ => return None,
    })
}

/// The next `N` bytes; zeros where the caller did not make sure that they are there.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    debug_assert!(bytes.len() >= N);
    let Some((first, rest)) = bytes.split_first_chunk() else { return [0; N] };
    *bytes = rest;
    *first
}

fn u16(bytes: &mut &[u8]) -> u16 {
    u16::from_be_bytes(take(bytes))
}

fn u32(bytes: &mut &[u8]) -> u32 {
    u32::from_be_bytes(take(bytes))
}

fn u64(bytes: &mut &[u8]) -> u64 {
    u64::from_be_bytes(take(bytes))
}

#[cfg(test)]
mod tests;
