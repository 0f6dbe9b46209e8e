//! Walks a folder after a restart: reads each index, checks the bytes that the disk has not vouched for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Crc;

use super::files::{self, Name};
use super::index::{self, BlockId, Piece};
use super::recovered::Assembly;
use super::writer::Kept;
use super::{Error, Media, Place, Recovered, Track};
use crate::media::SegmentNumber;

/// Longest index that is read, bytes; twice of what is written (see [`super::writer`]).
pub(super) const INDEX_MAX: u64 = 32 << 20;
/// Media is checked in portions of so many bytes.
const PORTION: usize = 256 << 10;
/// An open segment that is larger is not gone on with: its parts are held in memory until they are written once more.
const OPEN_MAX: u64 = 64 << 20;

/// What the writer goes on with.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The blocks that are there, the oldest first.
    pub blocks: Vec<Kept>,
    /// The open segment's rows, to be written once more if it is gone on with.
    pub open: Option<Rows>,
    /// Files that belong to nothing.
    pub orphans: Vec<PathBuf>,
    /// Blocks all of whose media was found good: once synced they need not be checked again.
    pub unsettled: Vec<Unsettled>,
}

/// A segment's number, and its rows so far.
pub(super) type Rows = (SegmentNumber, Vec<Vec<(Track, Bytes)>>);

/// A block that ended without a word that it is on the disk.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub block: BlockId,
    pub media: Vec<PathBuf>,
    pub index: PathBuf,
    /// Where its last good record ends.
    pub end: u64,
}

/// Reads the window of this generation.
pub(super) fn recover(folder: &Path, generation: u64) -> Result<(Recovered, Rest), Error> {
    let mut rest = Rest::default();
    let mut assembly = Assembly::default();
    for (block, files) in blocks(folder, generation, &mut rest.orphans)? {
        let name = Name::Index(block);
        let bytes = files.index_bytes + files.media.iter().map(|(_, len)| len).sum::<u64>();
        let tracks = files.media.iter().map(|(media, _)| media.track()).collect();
        let mut kept = Kept { block, last: block.first, bytes, tracks };
        match read_index(&name.path(folder)) {
            Ok(index) => {
                let found = assembly.block(block, &index, &files.media);
                kept.last = found.last;
                let unsure = found.unsure.iter();
                let broken: Vec<usize> =
                    unsure.filter(|(at, sums)| !is_whole(&assembly, *at, sums)).map(|(at, _)| *at).collect();
                if !found.settled && !found.short && broken.is_empty() {
                    let media = files.media.iter().map(|(media, _)| media.path().to_owned()).collect();
                    rest.unsettled.push(Unsettled { block, media, index: name.path(folder), end: found.end });
                }
                assembly.strike(broken);
            }
            Err(_) => assembly.window.damage_mut().files += 1,
        }
        rest.blocks.push(kept);
    }
    // Read once, for the check and for going on.
    let mut read = BTreeMap::new();
    let mut total = 0;
    let open = assembly.open(|media, piece| {
        total += u64::from(piece.len);
        let bytes = (total <= OPEN_MAX).then(|| holds(media, piece)).flatten();
        bytes.map(|bytes| read.insert((piece.track, piece.offset), bytes)).is_some()
    });
    if let Some((number, rows)) = open {
        let held = |piece: &Piece| Some((Track(piece.track), read.get(&(piece.track, piece.offset))?.clone()));
        rest.open = Some((number, rows.iter().map(|row| row.iter().filter_map(held).collect()).collect()));
    }
    let mut window = assembly.window;
    window.shrink();
    Ok((window, rest))
}

/// Our files, by block; what has no index or is of another generation is an orphan.
fn blocks(folder: &Path, generation: u64, orphans: &mut Vec<PathBuf>) -> Result<BTreeMap<BlockId, Files>, Error> {
    let mut blocks: BTreeMap<BlockId, Files> = BTreeMap::new();
    for (name, len) in files::list(folder)? {
        let path = name.path(folder);
        // Sorted: a block's index comes before its media.
        match name {
            Name::Index(block) if block.generation == generation => {
                blocks.insert(block, Files { index_bytes: len, media: Vec::new() });
            }
            Name::Media(block, track) if blocks.contains_key(&block) => {
                let media = (Arc::new(Media::new(path, track)), len);
                blocks.entry(block).and_modify(|files| files.media.push(media));
            }
            _ => orphans.push(path),
        }
    }
    Ok(blocks)
}

struct Files {
    index_bytes: u64,
    media: Vec<(Arc<Media>, u64)>,
}

fn read_index(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len().min(INDEX_MAX);
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(INDEX_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a segment's bytes are what its sums say.
fn is_whole(assembly: &Assembly, at: usize, sums: &[u32]) -> bool {
    let mut objects = assembly.segment(at).objects().zip(sums);
    objects.all(|(object, sum)| sum_of(&object.place).is_ok_and(|found| found == *sum))
}

fn sum_of(place: &Place) -> io::Result<u32> {
    let _open = place.media().file()?;
    let mut crc = Crc::new();
    let mut portion = vec![0; PORTION.min(usize::try_from(place.len()).unwrap_or(PORTION))];
    let mut at = 0;
    while at < place.len() {
        let len = portion.len().min(usize::try_from(place.len() - at).unwrap_or(PORTION));
        place.read_at(&mut portion[..len], at)?;
        crc.update(&portion[..len]);
        at += len as u64;
    }
    Ok(crc.sum())
}

/// A part's bytes, if they are what its sum says.
fn holds(media: &Arc<Media>, piece: &Piece) -> Option<Bytes> {
    let bytes = Place::new(Arc::clone(media), piece.offset, u64::from(piece.len)).read().ok()?;
    (index::crc(&bytes) == piece.crc).then_some(bytes)
}
