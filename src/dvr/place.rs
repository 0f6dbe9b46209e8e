//! Where bytes rest, and how they are read: by `pread` or `sendfile`, never through a mapping. A disk that fails is an error to whoever
//! reads, and never a SIGBUS in the process that holds the viewers.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::Track;

/// One media file: the segments of one track in one block. It is opened when somebody reads and closed when nobody does: a window of a day has
/// more files than a process may have open.
#[derive(Debug)]
pub struct Media {
    path: PathBuf,
    track: Track,
    open: Mutex<Weak<File>>,
}

impl Media {
    pub(super) fn new(path: PathBuf, track: Track) -> Self {
        Self { path, track, open: Mutex::default() }
    }

    /// The same, open in `file`.
    pub(super) fn opened(path: PathBuf, track: Track, file: &Arc<File>) -> Self {
        Self { path, track, open: Mutex::new(Arc::downgrade(file)) }
    }

    /// Which track.
    pub fn track(&self) -> Track {
        self.track
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, open for reading; shared among those who hold it, and readable for them also when its block has expired meanwhile.
    ///
    /// # Errors
    /// `NotFound` once the block has expired; whatever else opening a file may come to. The text names the path.
    pub fn file(&self) -> io::Result<Arc<File>> {
        // Nothing in here panics half-way.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(File::open(&self.path).map_err(|error| self.named(&error))?);
        *open = Arc::downgrade(&file);
        Ok(file)
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

/// A run of bytes at rest: a segment of one track, or a part of one.
#[derive(Clone, Debug)]
pub struct Place {
    media: Arc<Media>,
    offset: u64,
    len: u64,
}

impl Place {
    pub(super) fn new(media: Arc<Media>, offset: u64, len: u64) -> Self {
        Self { media, offset, len }
    }

    /// All of a file.
    #[cfg(test)]
    pub(crate) fn whole(path: PathBuf) -> io::Result<Self> {
        let len = std::fs::metadata(&path)?.len();
        Ok(Self::new(Arc::new(Media::new(path, Track(0))), 0, len))
    }

    /// The file it lies in.
    pub fn media(&self) -> &Arc<Media> {
        &self.media
    }

    /// Where it begins in the file, bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes `range` of it, for a part or a range request; cut to what there is.
    pub fn slice(&self, range: Range<u64>) -> Self {
        let (start, end) = (range.start.min(self.len), range.end.min(self.len));
        Self { media: Arc::clone(&self.media), offset: self.offset + start, len: end.saturating_sub(start) }
    }

    /// Fills `buffer` from its byte `at` on. Blocks on the disk.
    ///
    /// # Errors
    /// Those of [`Media::file`] and of reading; `UnexpectedEof` where `buffer` goes beyond its end, or the file was cut.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        if at.checked_add(buffer.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let file = self.media.file()?;
        file.read_exact_at(buffer, self.offset + at).map_err(|error| self.media.named(&error))
    }

    /// All of it. Blocks on the disk.
    ///
    /// # Errors
    /// Those of [`Self::read_at`].
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(self.len).map_err(io::Error::other)?];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_open_while_somebody_holds_it_and_readable_when_it_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("media");
        fs::write(&path, b"0123456789").expect("written");
        let place = Place::new(Arc::new(Media::new(path.clone(), Track(4))), 2, 6);
        assert_eq!(place.read().expect("there"), &b"234567"[..]);
        assert_eq!(place.slice(1..3).read().expect("there"), &b"34"[..]);
        assert_eq!(place.slice(4..99).read().expect("there"), &b"67"[..]);
        assert!(place.slice(9..12).is_empty());
        assert_eq!(place.read_at(&mut [0; 3], 4).expect_err("too far").kind(), io::ErrorKind::UnexpectedEof);

        let held = place.media().file().expect("there");
        assert!(Arc::ptr_eq(&held, &place.media().file().expect("there")), "one descriptor for all");
        fs::remove_file(&path).expect("removed");
        assert_eq!(place.read().expect("somebody holds it"), &b"234567"[..]);
        drop(held);
        let gone = place.read().expect_err("nobody holds it");
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        assert!(gone.to_string().contains(path.to_str().expect("text")), "{gone}");

        fs::write(&path, b"01234").expect("written");
        assert_eq!(place.read().expect_err("cut").kind(), io::ErrorKind::UnexpectedEof);
    }
}
