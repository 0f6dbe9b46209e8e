//! Slabs: where published media rests. A slab is a memfd that is mapped once; objects are appended to it, never overwritten,
//! and when its last object is gone it is filled anew, or goes away. So a body is a window into memory that no write will ever touch
//! as long as the body is there, and the same bytes are at hand as (file, offset, length) for `sendfile`.
//!
//! Each rendition has slabs of its own: a segment's parts may come one by one and still lie side by side.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags};

/// Largest slab, bytes. A segment that is larger gets a slab of its own size.
pub(super) const SLAB_MAX: u64 = 64 << 20;
/// Smallest slab, bytes: fewer would cost more descriptors than they save memory.
pub(super) const SLAB_MIN: u64 = 1 << 20;
/// Empty slabs that a shelf keeps to fill them anew: getting memory from the kernel, page by page, and giving it back costs more than
/// copying the media into it does. A window lets go of a block of segments at once, which may be two slabs.
const SPARE_MAX: usize = 2;

/// One memfd and its mapping.
struct Slab {
    file: File,
    map: MmapRaw,
    /// Somebody was given the file. What he sent from it may wait in a socket for a while after he is done with the object, and the
    /// kernel reads it then: this memory cannot be filled anew.
    lent: AtomicBool,
}

impl Slab {
    fn new(len: u64) -> io::Result<Self> {
        let fd = rustix::fs::memfd_create(c"tandem-slab", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let file = File::from(fd);
        file.set_len(len)?;
        // Nobody can shorten the file under the mapping, so that reading it never ends in SIGBUS.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let map = MmapOptions::new().len(usize::try_from(len).map_err(io::Error::other)?).map_raw_read_only(&file)?;
        Ok(Self { file, map, lent: AtomicBool::new(false) })
    }
}

/// An object at rest: a window into a slab.
#[derive(Clone)]
pub struct Stored {
    slab: Arc<Slab>,
    range: Range<usize>,
}

impl Stored {
    /// Its bytes, without a copy.
    pub fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// The file it lies in, for `sendfile`.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.slab.lent.store(true, Relaxed);
        self.slab.file.as_fd()
    }

    /// Where it begins in [`Self::file`], bytes.
    pub fn offset(&self) -> u64 {
        self.range.start as u64
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The window `range` of this object, for a part of a segment.
    pub fn slice(&self, range: Range<usize>) -> Self {
        debug_assert!(range.end <= self.len());
        Self { slab: Arc::clone(&self.slab), range: self.range.start + range.start..self.range.start + range.end }
    }
}

impl AsRef<[u8]> for Stored {
    #[allow(unsafe_code)]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range lies inside the mapping (`Shelf::store` checked it), the mapping lives as long as `slab`, the
        // seals keep the file from shrinking, and bytes of a stored range are not written while this object is there: only
        // `Shelf` writes, with `pwrite`, and only behind its mark, which has passed this range. It sets the mark back only in a slab
        // that nobody else holds (`Arc::get_mut`), and this object holds it.
        unsafe { std::slice::from_raw_parts(self.slab.map.as_ptr().add(self.range.start), self.range.len()) }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({:?})", self.range)
    }
}

/// Where one rendition's objects are put: the slab being filled and how far it is.
pub(super) struct Shelf {
    slab_len: u64,
    open: Option<(Arc<Slab>, u64)>,
    /// Slabs of the usual length that nothing more goes into: when their last object is gone, they can be filled anew.
    full: Vec<Arc<Slab>>,
    /// Where the object that grows began, in the open slab.
    growing: Option<u64>,
}

impl Shelf {
    /// A shelf that fills slabs of `slab_len` bytes.
    pub fn new(slab_len: u64) -> Self {
        Self { slab_len: slab_len.clamp(SLAB_MIN, SLAB_MAX), open: None, full: Vec::new(), growing: None }
    }

    /// Puts an object down in one piece; `pieces` are its bytes in order. This is the one copy media makes here.
    pub fn store(&mut self, pieces: &[Bytes]) -> io::Result<Stored> {
        self.growing = None;
        self.put(pieces, 0)
    }

    /// Puts down the next part of an object that grows, or the first one, of an object that may get `expected` bytes.
    /// The parts lie side by side, so that together they are the object without another copy.
    pub fn append(&mut self, pieces: &[Bytes], expected: u64) -> io::Result<Stored> {
        let len: u64 = pieces.iter().map(|p| p.len() as u64).sum();
        let Some(start) = self.growing else {
            let part = self.put(pieces, expected)?;
            self.growing = Some(part.offset());
            return Ok(part);
        };
        if let Some((slab, mark)) = self.open.take_if(|(slab, mark)| *mark + len > slab.map.len() as u64) {
            // Larger than expected. What there is of it moves to a slab with room; its parts stay good where they lie.
            self.is_full(Arc::clone(&slab));
            let so_far = Stored { slab, range: start as usize..mark as usize };
            self.growing = Some(self.put(&[so_far.bytes()], 2 * (so_far.len() as u64 + len))?.offset());
        }
        self.put(pieces, 0)
    }

    /// The object that grew, now whole.
    pub fn complete(&mut self) -> Option<Stored> {
        let (start, (slab, mark)) = (self.growing.take()?, self.open.as_ref()?);
        Some(Stored { slab: Arc::clone(slab), range: start as usize..*mark as usize })
    }

    /// The object that grew will never be whole; its parts stay.
    pub fn give_up(&mut self) {
        self.growing = None;
    }

    fn put(&mut self, pieces: &[Bytes], room: u64) -> io::Result<Stored> {
        let len: u64 = pieces.iter().map(|p| p.len() as u64).sum();
        let room = room.max(len);
        let (slab, start) = match self.open.take() {
            Some((slab, mark)) if mark + room <= slab.map.len() as u64 => (slab, mark),
            full => {
                full.into_iter().for_each(|(slab, _)| self.is_full(slab));
                (self.empty(room)?, 0)
            }
        };
        write_all_at(&slab.file, pieces, start)?;
        let range = start as usize..(start + len) as usize;
        self.open = Some((Arc::clone(&slab), start + len));
        Ok(Stored { slab, range })
    }

    /// An empty slab that has `room`: one whose objects are all gone, or a new one.
    fn empty(&mut self, room: u64) -> io::Result<Arc<Slab>> {
        let mut free = Vec::new();
        for mut slab in mem::take(&mut self.full) {
            match Arc::get_mut(&mut slab) {
                None => self.full.push(slab),
                Some(mine) if mine.lent.load(Relaxed) => {}
                Some(_) => free.push(slab),
            }
        }
        let again = if room <= self.slab_len { free.pop() } else { None };
        self.full.extend(free.into_iter().take(SPARE_MAX));
        again.map_or_else(|| Slab::new(self.slab_len.max(room)).map(Arc::new), Ok)
    }

    /// Nothing more goes into this slab.
    fn is_full(&mut self, slab: Arc<Slab>) {
        if slab.map.len() as u64 == self.slab_len {
            self.full.push(slab);
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("slab_len", &self.slab_len).finish_non_exhaustive()
    }
}

/// Slices one `pwritev` takes at most (IOV_MAX).
const SLICES_MAX: usize = 1024;

fn write_all_at(file: &File, pieces: &[Bytes], mut at: u64) -> io::Result<()> {
    for batch in pieces.chunks(SLICES_MAX) {
        let mut slices: Vec<IoSlice<'_>> = batch.iter().map(|p| IoSlice::new(p)).collect();
        let mut left = slices.as_mut_slice();
        loop {
            // `pwritev` of nothing but empty slices writes nothing, which must not look like a full disk.
            while left.first().is_some_and(|s| s.is_empty()) {
                left = &mut left[1..];
            }
            if left.is_empty() {
                break;
            }
            match rustix::io::pwritev(file, left, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn piece(byte: u8, len: usize) -> Bytes {
        Bytes::from(vec![byte; len])
    }

    #[test]
    fn objects_keep_their_bytes_and_lie_in_one_piece() {
        let mut shelf = Shelf::new(SLAB_MIN);
        let first = shelf.store(&[piece(1, 300_000), Bytes::new(), piece(2, 5)]).expect("memfd");
        let body = first.bytes();
        let second = shelf.store(&[piece(3, 700_000)]).expect("memfd");
        // The third does not fit into the first slab's rest.
        let third = shelf.store(&[piece(4, 60_000)]).expect("memfd");
        assert_eq!((first.offset(), second.offset(), third.offset()), (0, 300_005, 0));
        assert!(body[..300_000].iter().all(|&b| b == 1) && body[300_000..] == [2; 5]);
        assert!(second.as_ref().iter().all(|&b| b == 3) && third.as_ref().iter().all(|&b| b == 4));

        let file = File::from(second.file().try_clone_to_owned().expect("dup"));
        let mut read = vec![0; second.len()];
        file.read_exact_at(&mut read, second.offset()).expect("pread");
        assert_eq!(read, second.as_ref(), "the file says the same as the mapping");
    }

    #[test]
    fn an_object_larger_than_a_slab_gets_its_own() {
        let mut shelf = Shelf::new(SLAB_MIN);
        let large = shelf.store(&[piece(7, 3 << 20)]).expect("memfd");
        assert_eq!(large.len(), 3 << 20);
        assert!(large.as_ref().iter().all(|&b| b == 7));
    }

    #[test]
    fn parts_lie_side_by_side_also_when_there_are_more_than_expected() {
        let mut shelf = Shelf::new(SLAB_MIN);
        shelf.store(&[piece(9, 600_000)]).expect("memfd");
        let first = shelf.append(&[piece(1, 100_000)], 500_000).expect("memfd");
        assert_eq!(first.offset(), 0, "there was room for the part, and none for the whole");
        let second = shelf.append(&[piece(2, 400_000), piece(3, 100_000)], 0).expect("memfd");
        let third = shelf.append(&[piece(4, 900_000)], 0).expect("memfd");
        let whole = shelf.complete().expect("it grew");
        let want = [piece(1, 100_000), piece(2, 400_000), piece(3, 100_000), piece(4, 900_000)].concat();
        assert!(whole.as_ref() == want);
        assert!([first.as_ref(), second.as_ref(), third.as_ref()].concat() == want);
        assert!(shelf.complete().is_none());

        let next = shelf.append(&[piece(5, 10)], 100).expect("memfd");
        let other = shelf.store(&[piece(6, 10)]).expect("memfd");
        assert!(shelf.complete().is_none(), "given up for another");
        assert_eq!((next.as_ref(), other.as_ref()), (&[5; 10][..], &[6; 10][..]));
    }

    #[test]
    fn more_pieces_than_one_call_takes() {
        let pieces: Vec<Bytes> = (0..5000u32).map(|i| Bytes::from(i.to_be_bytes().to_vec())).collect();
        let stored = Shelf::new(SLAB_MIN).store(&pieces).expect("memfd");
        assert_eq!(stored.as_ref(), pieces.concat());
    }

    #[test]
    fn a_slab_goes_with_its_shelf_and_its_last_object() {
        let mut shelf = Shelf::new(SLAB_MIN);
        let stored = shelf.store(&[piece(1, 10)]).expect("memfd");
        let watch = Arc::downgrade(&stored.slab);
        let body = stored.bytes();
        drop((stored, shelf));
        assert!(watch.upgrade().is_some(), "a body on its way to a socket keeps it");
        drop(body);
        assert!(watch.upgrade().is_none());
    }

    /// Fills a slab; the next object goes into another.
    fn fill(shelf: &mut Shelf, byte: u8) -> Stored {
        shelf.store(&[piece(byte, SLAB_MIN as usize)]).expect("memfd")
    }

    #[test]
    fn a_slab_is_filled_anew_once_nobody_holds_anything_of_it() {
        let mut shelf = Shelf::new(SLAB_MIN);
        let (first, second) = (fill(&mut shelf, 1), fill(&mut shelf, 2));
        let at = |stored: &Stored| stored.slab.map.as_ptr();
        let (memory, body) = (at(&first), first.slice(5..10).bytes());
        drop(first);
        let third = fill(&mut shelf, 3);
        assert_ne!(at(&third), memory, "a body on its way to a socket keeps it");
        assert_eq!(body[..], [1; 5]);
        drop(body);
        let fourth = fill(&mut shelf, 4);
        assert_eq!((at(&fourth), fourth.offset()), (memory, 0));
        for (stored, byte) in [(second, 2), (third, 3), (fourth, 4)] {
            assert!(stored.as_ref().iter().all(|&b| b == byte));
        }
    }

    #[test]
    fn a_slab_whose_file_was_given_away_is_not_filled_anew() {
        let mut shelf = Shelf::new(SLAB_MIN);
        let (first, second) = (fill(&mut shelf, 1), fill(&mut shelf, 2));
        let sent = first.file().try_clone_to_owned().expect("dup");
        drop(first);
        drop(second);
        // The second one's memory is taken, and the first one's is left alone.
        drop((fill(&mut shelf, 3), fill(&mut shelf, 4)));
        let mut read = [0; 10];
        File::from(sent).read_exact_at(&mut read, 0).expect("pread");
        assert_eq!(read, [1; 10]);
    }

    #[test]
    fn few_empty_slabs_are_kept() {
        let mut shelf = Shelf::new(SLAB_MIN);
        drop((0..10).map(|i| fill(&mut shelf, i)).collect::<Vec<_>>());
        fill(&mut shelf, 10);
        assert_eq!(shelf.full.len(), SPARE_MAX);
        // One of another length is never kept.
        drop(shelf.store(&[piece(7, 3 << 20)]).expect("memfd"));
        fill(&mut shelf, 11);
        assert!(shelf.full.iter().all(|slab| slab.map.len() as u64 == SLAB_MIN));
    }
}
