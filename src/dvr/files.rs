//! The files of a folder: their names, the lock, and the head.
//!
//! ```text
//! lock                                        held by the process that writes here
//! head                                        what is stored here, in the caller's words; replaced as a whole
//! 00000003-00000000000883612700-000.index     a block: generation 3, first segment 883612700
//! 00000003-00000000000883612700-000.t002      its media of track 2
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::index::{self, BlockId};
use super::{Error, HEAD_MAX, Track};
use crate::media::SegmentNumber;

/// Owner alone: media may be what viewers pay for.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

const HEAD_MAGIC: [u8; 8] = *b"tdmhead\x01";
const HEAD_FIXED: usize = 8 + 8 + 4 + 4;

/// A file of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Index(BlockId),
    Media(BlockId, Track),
}

impl Name {
    pub(super) fn block(self) -> BlockId {
        match self {
            Self::Index(block) | Self::Media(block, _) => block,
        }
    }

    pub(super) fn text(self) -> String {
        let BlockId { generation, first, serial } = self.block();
        let stem = format!("{generation:08}-{:020}-{serial:03}", first.0);
        match self {
            Self::Index(_) => format!("{stem}.index"),
            Self::Media(_, Track(track)) => format!("{stem}.t{track:03}"),
        }
    }

    /// `None` for a file that is not ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (stem, kind) = text.split_once('.')?;
        let mut fields = stem.split('-');
        let block = BlockId {
            generation: fields.next()?.parse().ok()?,
            first: SegmentNumber(fields.next()?.parse().ok()?),
            serial: fields.next()?.parse().ok()?,
        };
        let name = match kind.strip_prefix('t') {
            Some(track) => Self::Media(block, Track(track.parse().ok()?)),
            None => Self::Index(block),
        };
        // Each file has one name: no `+7`, no other number of zeros.
        (name.text() == text).then_some(name)
    }

    pub(super) fn path(self, folder: &Path) -> PathBuf {
        folder.join(self.text())
    }
}

/// Creates a file of ours that must not be there, for reading and writing.
pub(super) fn create(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// A process that was killed holds its lock until the system has taken it apart, which takes a moment if it was large.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Makes the folder if it is not there, and locks it for this process.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.map_err(|error| Error::io("make the folder", folder, error))?;
    let path = folder.join("lock");
    let open =
        |write| File::options().read(true).write(write).create(write).truncate(false).mode(FILE_MODE).open(&path);
    // On a disk that can only be read there may be a window to serve all the same.
    let file = open(true).or_else(|error| open(false).map_err(|_| error));
    let file = file.map_err(|error| Error::io("open", &path, error))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path, error)),
        }
    }
    Err(Error::InUse { folder: folder.to_owned() })
}

/// The head and the generation it is of; `None` if there is none, or it is damaged.
pub(super) fn read_head(folder: &Path) -> Result<Option<(u64, Bytes)>, Error> {
    let path = folder.join("head");
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&path)?.take((HEAD_FIXED + HEAD_MAX + 1) as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(parse_head(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path, error)),
    }
}

fn parse_head(bytes: Bytes) -> Option<(u64, Bytes)> {
    let (fixed, head) = bytes.split_first_chunk::<HEAD_FIXED>()?;
    let field = |at: usize| fixed[at..at + 4].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let generation = field(8) << 32 | field(12);
    let good = fixed.starts_with(&HEAD_MAGIC)
        && field(16) == head.len() as u64
        && field(20) == u64::from(head_check(generation, head));
    good.then(|| (generation, bytes.slice(HEAD_FIXED..)))
}

fn head_check(generation: u64, head: &[u8]) -> u32 {
    index::crc(&[&generation.to_be_bytes(), head].concat())
}

/// Puts a new head in place of the one that is there, whole or not at all, and on the disk when this returns.
pub(super) fn write_head(folder: &Path, generation: u64, head: &[u8]) -> Result<(), Error> {
    let (new, path) = (folder.join("head.new"), folder.join("head"));
    let write = || -> io::Result<()> {
        let mut file = File::options().write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
        let fixed = [&HEAD_MAGIC[..], &generation.to_be_bytes(), &(head.len() as u32).to_be_bytes()].concat();
        file.write_all(&[&fixed, &head_check(generation, head).to_be_bytes()[..], head].concat())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&new);
        Error::io("write", &path, error)
    })
}

/// Our files in the folder and their lengths, in order; others are none of our business.
pub(super) fn list(folder: &Path) -> Result<Vec<(Name, u64)>, Error> {
    let read = || -> io::Result<Vec<(Name, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Some(name) = entry.file_name().to_str().and_then(Name::parse) {
                match entry.metadata() {
                    Ok(about) => found.push((name, about.len())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        found.sort_by_key(|(name, _)| (name.block(), *name));
        Ok(found)
    };
    read().map_err(|error| Error::io("list", folder, error))
}

/// Removes a file; one that is gone already is as good.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        let block = BlockId { generation: 3, first: SegmentNumber(883_612_700), serial: 1 };
        for name in [Name::Index(block), Name::Media(block, Track(0)), Name::Media(block, Track(u16::MAX))] {
            assert_eq!(Name::parse(&name.text()), Some(name), "{}", name.text());
        }
        let media = Name::Media(block, Track(2)).text();
        assert_eq!(media, "00000003-00000000000883612700-001.t002");
        for bad in [
            "",
            "lock",
            "head",
            "head.new",
            "3-883612700-1.index",
            "00000003-00000000000883612700-001",
            "00000003-00000000000883612700-001.",
            "00000003-00000000000883612700-001.t2",
            "00000003-00000000000883612700-001.t99999",
            "00000003-00000000000883612700-001.index.bak",
            "00000003-+0000000000883612700-001.index",
        ] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_head_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read_head(folder.path()).expect("readable"), None);
        write_head(folder.path(), 1 << 40, b"news, five rungs").expect("written");
        let want = Some((1 << 40, Bytes::from_static(b"news, five rungs")));
        assert_eq!(read_head(folder.path()).expect("readable"), want);
        let path = folder.path().join("head");
        let whole = fs::read(&path).expect("there");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("written");
            assert_eq!(read_head(folder.path()).expect("readable"), None, "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut broken = whole.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, broken).expect("written");
            assert_eq!(read_head(folder.path()).expect("readable"), None, "bit {bit}");
        }
    }

    #[test]
    fn a_folder_has_one_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/er");
        let held = lock(&path).expect("free");
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).expect("there"));
        assert_eq!(mode & 0o777, 0o700);
        let error = lock(&path).expect_err("taken");
        assert!(matches!(error, Error::InUse { .. }) && error.to_string().contains("deep/er"), "{error}");
        drop(held);
        lock(&path).expect("free again");
    }
}
