//! CMAF chunks: one `moof` and one `mdat` (ISO/IEC 23000-19 §7.3.2.3). A segment is `styp` and its chunks.

use std::ops::Range;

use super::boxes::Writer;
use super::init::TRACK_ID;

/// One sample of a chunk, in decode order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Bytes.
    pub size: u32,
    /// Presentation time less decode time, in the track's timescale.
    pub composition_offset: i32,
    /// A decoder may start here.
    pub sync: bool,
}

/// One chunk: its samples all last equally long.
#[derive(Clone, Debug)]
pub struct Chunk<'a> {
    /// `mfhd` sequence number (ISO/IEC 14496-12 §8.8.5).
    pub sequence: u32,
    /// Decode time of the first sample since the epoch, in the track's timescale (§8.8.12).
    pub decode_time: u64,
    /// Ticks each sample lasts.
    pub sample_ticks: u32,
    /// At least one.
    pub samples: &'a [Sample],
}

/// §8.8.3.1: depends on no other sample; is not a non-sync sample.
const SYNC: u32 = 0x0200_0000;
/// §8.8.3.1: depends on others; is a non-sync sample.
const NON_SYNC: u32 = 0x0101_0000;

/// `tfhd` flags (§8.8.7).
mod tfhd {
    pub const DEFAULT_DURATION: u32 = 0x08;
    pub const DEFAULT_FLAGS: u32 = 0x20;
    pub const DEFAULT_BASE_IS_MOOF: u32 = 0x2_0000;
}

/// `trun` flags (§8.8.8).
mod trun {
    pub const DATA_OFFSET: u32 = 0x1;
    pub const FIRST_FLAGS: u32 = 0x4;
    pub const SIZE: u32 = 0x200;
    pub const FLAGS: u32 = 0x400;
    pub const COMPOSITION_OFFSET: u32 = 0x800;
}

/// The `styp` in front of a segment (§8.16.2): a CMAF segment, a DASH media segment.
pub fn segment_type() -> Vec<u8> {
    let mut w = Writer::default();
    w.boxed(b"styp", |w| {
        w.bytes(b"cmfs").u32(0).bytes(b"cmfs").bytes(b"msdh");
    });
    w.finish()
}

/// The samples of chunks that [`Chunk::header`] has written, in decode order, and where in `chunks` their bytes lie. `None` for bytes of
/// others, and where some are missing.
pub fn samples(chunks: &[u8]) -> Option<Vec<(Range<usize>, Sample)>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < chunks.len() {
        let (name, content, end) = box_at(chunks, at)?;
        if name == b"moof" {
            let (_, traf, _) = inside(chunks, content.clone(), b"traf")?;
            let (_, header, _) = inside(chunks, traf.clone(), b"tfhd")?;
            let (_, run, _) = inside(chunks, traf, b"trun")?;
            samples_of(chunks, at, header, run, &mut found)?;
        }
        at = end;
    }
    Some(found)
}

/// Name, content and end of the box that begins `at`.
fn box_at(bytes: &[u8], at: usize) -> Option<(&[u8; 4], Range<usize>, usize)> {
    let end = at.checked_add(usize::try_from(word(bytes, at)?).ok()?)?;
    let content = at + 8..end;
    (content.start <= content.end && end <= bytes.len()).then_some(())?;
    Some((bytes.get(at + 4..)?.first_chunk()?, content, end))
}

fn inside<'a>(bytes: &'a [u8], of: Range<usize>, want: &[u8; 4]) -> Option<(&'a [u8; 4], Range<usize>, usize)> {
    let mut at = of.start;
    while at < of.end {
        let found = box_at(bytes, at)?;
        if found.0 == want {
            return Some(found);
        }
        at = found.2;
    }
    None
}

fn samples_of(
    bytes: &[u8],
    moof: usize,
    header: Range<usize>,
    run: Range<usize>,
    found: &mut Vec<(Range<usize>, Sample)>,
) -> Option<()> {
    // Flags, track, duration, flags of samples; see `header`.
    let usual = word(bytes, header.start + 12)?;
    let flags = word(bytes, run.start)? & 0xff_ffff;
    let count = word(bytes, run.start + 4)?;
    let mut offset = moof.checked_add(usize::try_from(word(bytes, run.start + 8)?).ok()?)?;
    let mut at = run.start + 12;
    let mut next = |wanted: u32| {
        let value = word(bytes, at).filter(|_| at < run.end);
        at += if wanted == 0 { 0 } else { 4 };
        if wanted == 0 { Some(None) } else { value.map(Some) }
    };
    let mut first = next(flags & trun::FIRST_FLAGS)?;
    for _ in 0..count {
        let size = next(flags & trun::SIZE)??;
        let own = next(flags & trun::FLAGS)?;
        let composition_offset = next(flags & trun::COMPOSITION_OFFSET)?.unwrap_or(0).cast_signed();
        let sync = own.or(first.take()).unwrap_or(usual) == SYNC;
        let end = offset.checked_add(usize::try_from(size).ok()?).filter(|end| *end <= bytes.len())?;
        found.push((offset..end, Sample { size, composition_offset, sync }));
        offset = end;
    }
    Some(())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl Chunk<'_> {
    /// `moof` and the header of `mdat`; the samples' bytes follow in order.
    pub fn header(&self) -> Vec<u8> {
        let mut w = Writer::default();
        let mut data_offset_at = 0;
        w.boxed(b"moof", |w| {
            w.full(b"mfhd", 0, 0, |w| {
                w.u32(self.sequence);
            });
            w.boxed(b"traf", |w| {
                let default_flags = if self.samples.iter().all(|s| s.sync) { SYNC } else { NON_SYNC };
                let flags = tfhd::DEFAULT_BASE_IS_MOOF | tfhd::DEFAULT_DURATION | tfhd::DEFAULT_FLAGS;
                w.full(b"tfhd", 0, flags, |w| {
                    w.u32(TRACK_ID).u32(self.sample_ticks).u32(default_flags);
                });
                // Version 1: 32 bits at 25 kHz wrap after 48 hours, and we count from 1970.
                w.full(b"tfdt", 1, 0, |w| {
                    w.u64(self.decode_time);
                });
                data_offset_at = self.trun(w, default_flags);
            });
        });
        let data: u64 = self.samples.iter().map(|s| u64::from(s.size)).sum();
        let data_offset = u32::try_from(w.len() + 8).expect("a moof stays far below 4 GiB");
        w.patch(data_offset_at, data_offset);
        w.u32(u32::try_from(data + 8).expect("a chunk stays far below 4 GiB")).bytes(b"mdat");
        w.finish()
    }

    /// Returns where the data offset has to be filled in.
    fn trun(&self, w: &mut Writer, default_flags: u32) -> usize {
        let [first, rest @ ..] = self.samples else { unreachable!("a chunk has at least one sample") };
        let flag_of = |s: &Sample| if s.sync { SYNC } else { NON_SYNC };
        let offsets = self.samples.iter().any(|s| s.composition_offset != 0);
        let each = rest.iter().any(|s| flag_of(s) != default_flags);
        let mut flags = trun::DATA_OFFSET | trun::SIZE;
        if each {
            flags |= trun::FLAGS;
        } else if flag_of(first) != default_flags {
            flags |= trun::FIRST_FLAGS;
        }
        if offsets {
            flags |= trun::COMPOSITION_OFFSET;
        }
        let mut data_offset_at = 0;
        // Version 1: composition offsets are signed. The header's edit makes them all positive as long as an encoder keeps
        // to the reordering it was configured for; should one exceed it, they are still right.
        w.full(b"trun", 1, flags, |w| {
            w.u32(u32::try_from(self.samples.len()).expect("a chunk has few samples"));
            data_offset_at = w.len();
            w.u32(0);
            if flags & trun::FIRST_FLAGS != 0 {
                w.u32(flag_of(first));
            }
            for s in self.samples {
                w.u32(s.size);
                if each {
                    w.u32(flag_of(s));
                }
                if offsets {
                    w.u32(s.composition_offset.cast_unsigned());
                }
            }
        });
        data_offset_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One chunk with its media.
    fn chunk(samples: &[Sample], decode_time: u64) -> Vec<u8> {
        let mut bytes = Chunk { sequence: 7, decode_time, sample_ticks: 1000, samples }.header();
        let media: u32 = samples.iter().map(|s| s.size).sum();
        bytes.resize(bytes.len() + media as usize, 0x5a);
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            chunks in prop::collection::vec(prop::collection::vec((1u32..40, -3i32..4, any::<bool>()), 1..9), 1..4),
            cut in any::<usize>(),
        ) {
            let of = |&(size, offset, sync): &(u32, i32, bool)| Sample { size, composition_offset: offset * 1000, sync };
            let chunks: Vec<Vec<Sample>> = chunks.iter().map(|c| c.iter().map(of).collect()).collect();
            let bytes = [segment_type(), chunks.iter().flat_map(|c| chunk(c, 9)).collect()].concat();
            let read = samples(&bytes).expect("our own");
            prop_assert_eq!(read.iter().map(|(_, s)| *s).collect::<Vec<_>>(), chunks.concat());
            prop_assert!(read.iter().all(|(range, s)| range.len() == s.size as usize));
            prop_assert!(read.iter().all(|(range, _)| bytes[range.clone()].iter().all(|b| *b == 0x5a)));
            // Whatever is missing, nothing that is not there is told of.
            let cut = &bytes[..cut % bytes.len()];
            prop_assert!(samples(cut).is_none_or(|found| found.iter().all(|(range, _)| range.end <= cut.len())));
        }

        #[test]
        fn bytes_of_others_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let found = samples(&bytes).unwrap_or_default();
            prop_assert!(found.iter().all(|(range, _)| range.end <= bytes.len()));
        }
    }
}
