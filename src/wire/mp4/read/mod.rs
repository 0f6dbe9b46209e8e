//! An MP4 file's tables → where each sample lies, and when it is due (ISO/IEC 14496-12).
//!
//! In:    the bytes of single boxes: `moov`, and each `moof` of a fragmented file.
//! Out:   [`Movie`]: its H.264, HEVC and AAC tracks with all their samples.
//! Never: trusts a count: what is allocated is bounded by the bytes that came in and by [`SAMPLES_MAX`]; touches media.

mod entry;
mod fragment;
mod live;
mod table;
#[cfg(test)]
mod tests;

pub use entry::{Coding, ParameterSets, sets_of_record};
pub use live::{LiveError, LiveTrack};

use self::table::sample_table;

/// Most samples of a track: 38 hours at 30 a second.
pub const SAMPLES_MAX: usize = 1 << 22;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("box `{name}`: {what}", name = name.escape_ascii())]
pub struct Wrong {
    /// In which box.
    pub name: [u8; 4],
    /// What, for people.
    pub what: &'static str,
}

impl Wrong {
    const fn new(name: &[u8; 4], what: &'static str) -> Self {
        Self { name: *name, what }
    }
}

/// The header of a box (§4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its four letters.
    pub name: [u8; 4],
    /// Bytes of the header itself.
    pub header: u64,
    /// Bytes of the box, header included; `None`: up to the end of the file.
    pub total: Option<u64>,
}

impl Header {
    /// Most bytes of a header.
    pub const BYTES_MAX: usize = 16;

    /// Reads the header at the beginning of `bytes`. `None`: there is none, or its size is impossible.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut f = Fields(bytes);
        let (size, name) = (f.u32()?, *f.take(4)?.first_chunk()?);
        let (header, total) = match size {
            0 => (8, None),
            1 => (16, Some(f.u64()?)),
            size => (8, Some(u64::from(size))),
        };
        (total.is_none_or(|total| total >= header)).then_some(Self { name, header, total })
    }
}

/// One sample: an access unit, or a frame of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Where it begins in the file.
    pub offset: u64,
    /// Decoding time in its track's ticks.
    pub dts: i64,
    /// Its bytes.
    pub bytes: u32,
    /// From decoding to composition, ticks.
    pub shift: i32,
    /// Until the next one is decoded, ticks.
    pub duration: u32,
}

/// A track that can be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// track_ID.
    pub id: u32,
    /// What it holds, with what its decoder must know.
    pub coding: Coding,
    /// Ticks a second; not 0.
    pub timescale: u32,
    /// ISO 639-2 code.
    pub language: Option<[u8; 3]>,
    /// From composition to presentation, ticks: the edit list's first edit (§8.6.6), and what is empty before it.
    pub edit: i64,
    /// It has more edits than that; they are not followed.
    pub more_edits: bool,
    /// In decoding order.
    pub samples: Vec<Sample>,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Movie {
    /// Tracks that can be played, in the order of the file.
    pub tracks: Vec<Track>,
    /// Four letters of the formats that cannot.
    pub others: Vec<[u8; 4]>,
    /// What holds for all samples of a track's fragments of which nothing else is said.
    defaults: Vec<(u32, fragment::Defaults)>,
}

impl Movie {
    /// Reads a `moov` box, without its header.
    ///
    /// # Errors
    /// The first box that makes no sense.
    pub fn parse(moov: &[u8]) -> Result<Self, Wrong> {
        Self::parse_within(moov, SAMPLES_MAX)
    }

    /// Of a track that has more than `samples_max` samples, nothing is read: it is wrong.
    fn parse_within(moov: &[u8], samples_max: usize) -> Result<Self, Wrong> {
        let header = find(b"moov", moov, b"mvhd")?.ok_or(Wrong::new(b"moov", "has no mvhd"))?;
        let timescale = versioned(header, |f, wide| {
            f.skip(if wide { 16 } else { 8 })?;
            f.u32()
        });
        let timescale = timescale.filter(|t| *t > 0).ok_or(Wrong::new(b"mvhd", "has no timescale"))?;
        let mut movie = Self::default();
        for child in Boxes(b"moov", moov) {
            let (name, trak) = child?;
            if name == b"trak" {
                movie.track(trak, timescale, samples_max)?;
            }
        }
        if let Some(mvex) = find(b"moov", moov, b"mvex")? {
            for child in Boxes(b"mvex", mvex) {
                if let (b"trex", trex) = child? {
                    movie.defaults.push(fragment::defaults(trex)?);
                }
            }
        }
        Ok(movie)
    }

    /// Adds the samples of a `moof` box, without its header. `start`: where the box begins in the file.
    ///
    /// # Errors
    /// The first box that makes no sense; samples before it are added.
    pub fn fragment(&mut self, start: u64, moof: &[u8]) -> Result<(), Wrong> {
        fragment::add(self, start, moof, SAMPLES_MAX)
    }

    fn track(&mut self, trak: &[u8], movie_timescale: u32, samples_max: usize) -> Result<(), Wrong> {
        let must = |of: &'static [u8; 4], bytes, name: &[u8; 4]| {
            find(of, bytes, name)?.ok_or(Wrong::new(of, "lacks a box that every track has"))
        };
        let mdia = must(b"trak", trak, b"mdia")?;
        let handler = must(b"mdia", mdia, b"hdlr")?;
        // Version and flags, pre_defined, handler_type.
        let handler = handler.get(8..12);
        if !handler.is_some_and(|h| h == b"vide" || h == b"soun") {
            return Ok(());
        }
        let id = versioned(must(b"trak", trak, b"tkhd")?, |f, wide| {
            f.skip(if wide { 16 } else { 8 })?;
            f.u32()
        });
        let about = versioned(must(b"mdia", mdia, b"mdhd")?, |f, wide| {
            f.skip(if wide { 16 } else { 8 })?;
            let timescale = f.u32()?;
            f.skip(if wide { 8 } else { 4 })?;
            Some((timescale, f.u16()?))
        });
        let id = id.ok_or(Wrong::new(b"tkhd", "is too short"))?;
        let (timescale, language) = about.ok_or(Wrong::new(b"mdhd", "is too short"))?;
        if timescale == 0 {
            return Err(Wrong::new(b"mdhd", "has a timescale of 0"));
        }
        let stbl = must(b"minf", must(b"mdia", mdia, b"minf")?, b"stbl")?;
        let coding = match entry::coding(must(b"stbl", stbl, b"stsd")?)? {
            Ok(coding) => coding,
            Err(other) => {
                self.others.push(other);
                return Ok(());
            }
        };
        let (edit, more_edits) = match find(b"trak", trak, b"edts")? {
            Some(edts) => edits(edts, movie_timescale, timescale)?,
            None => (0, false),
        };
        self.tracks.push(Track {
            id,
            coding,
            timescale,
            language: letters(language),
            edit,
            more_edits,
            samples: sample_table(stbl, samples_max)?,
        });
        Ok(())
    }
}

/// The first edit with media, and what is empty before it, as ticks from composition to presentation.
fn edits(edts: &[u8], movie_timescale: u32, timescale: u32) -> Result<(i64, bool), Wrong> {
    let Some(list) = find(b"edts", edts, b"elst")? else { return Ok((0, false)) };
    let (mut empty, mut first, mut more) = (0i64, None, false);
    versioned(list, |f, wide| {
        for _ in 0..f.u32()? {
            let (duration, time) =
                if wide { (f.u64()?, f.u64()? as i64) } else { (u64::from(f.u32()?), i64::from(f.u32()? as i32)) };
            f.skip(4)?;
            match (time, first) {
                (-1, None) => {
                    let ticks = u128::from(duration) * u128::from(timescale) / u128::from(movie_timescale);
                    empty = empty.saturating_add(i64::try_from(ticks).unwrap_or(i64::MAX));
                }
                (_, None) => first = Some(time),
                (_, Some(_)) => more = true,
            }
        }
        Some(())
    })
    .ok_or(Wrong::new(b"elst", "is shorter than it says"))?;
    Ok((empty.saturating_sub(first.unwrap_or(0)), more))
}

/// Three letters of five bits (§8.4.2); `und` is none.
fn letters(packed: u16) -> Option<[u8; 3]> {
    let letter = |by: u16| (packed >> by & 0x1f) as u8 + 0x60;
    let code = [letter(10), letter(5), letter(0)];
    (code.iter().all(u8::is_ascii_lowercase) && code != *b"und").then_some(code)
}

/// The boxes inside another, as name and content.
struct Boxes<'a>(&'static [u8; 4], &'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<(&'a [u8; 4], &'a [u8]), Wrong>;

    fn next(&mut self) -> Option<Self::Item> {
        // QuickTime ends some lists with a size of 0 and nothing behind.
        if self.1.len() < 8 {
            return None;
        }
        let split = Header::parse(self.1).and_then(|header| {
            let total = header.total.map_or(Some(self.1.len()), |total| usize::try_from(total).ok())?;
            let (inside, rest) = self.1.split_at_checked(total)?;
            Some((inside[4..].first_chunk()?, &inside[header.header as usize..], rest))
        });
        let Some((name, content, rest)) = split else {
            self.1 = &[];
            return Some(Err(Wrong::new(self.0, "is cut off, or holds a box that is longer than itself")));
        };
        self.1 = rest;
        Some(Ok((name, content)))
    }
}

/// The first box of a name inside another.
fn find<'a>(of: &'static [u8; 4], bytes: &'a [u8], name: &[u8; 4]) -> Result<Option<&'a [u8]>, Wrong> {
    for child in Boxes(of, bytes) {
        let (found, content) = child?;
        if found == name {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// Reads what is behind version and flags of a full box; the second argument: its times have 64 bits.
fn versioned<T>(content: &[u8], read: impl FnOnce(&mut Fields<'_>, bool) -> Option<T>) -> Option<T> {
    let mut f = Fields(content);
    let wide = f.u32()? >> 24 == 1;
    read(&mut f, wide)
}

/// Fields from the front; `None` behind the end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(|_| ())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|b| u16::from_be_bytes(*b))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|b| u32::from_be_bytes(*b))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|b| u64::from_be_bytes(*b))
    }
}
