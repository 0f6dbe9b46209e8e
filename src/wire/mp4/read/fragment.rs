//! Movie fragments (ISO/IEC 14496-12 §8.8).

use super::{Boxes, Fields, Movie, Sample, Wrong, find, versioned};

/// What `trex` says for samples of which nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    duration: u32,
    bytes: u32,
}

/// Reads a `trex` box: of which track, and what it says.
pub(super) fn defaults(trex: &[u8]) -> Result<(u32, Defaults), Wrong> {
    let mut f = Fields(trex);
    let mut read = || {
        f.skip(4)?;
        let id = f.u32()?;
        f.skip(4)?;
        Some((id, Defaults { duration: f.u32()?, bytes: f.u32()? }))
    };
    read().ok_or(Wrong::new(b"trex", "is too short"))
}

/// Adds the samples of a fragment that begins at `start`, as long as no track has more than `samples_max`.
pub(super) fn add(movie: &mut Movie, start: u64, moof: &[u8], samples_max: usize) -> Result<(), Wrong> {
    // Where data begins of which nothing is said: behind that of the track before (§8.8.7.1).
    let mut behind = start;
    for child in Boxes(b"moof", moof) {
        if let (b"traf", traf) = child? {
            behind = track_fragment(movie, start, behind, traf, samples_max)?;
        }
    }
    Ok(())
}

/// Returns where its data ends.
fn track_fragment(movie: &mut Movie, start: u64, behind: u64, traf: &[u8], samples_max: usize) -> Result<u64, Wrong> {
    let header = find(b"traf", traf, b"tfhd")?.ok_or(Wrong::new(b"traf", "has no tfhd"))?;
    let mut f = Fields(header);
    let mut read = || {
        let (flags, id) = (f.u32()?, f.u32()?);
        let base = if flags & 1 != 0 { Some(f.u64()?) } else { None };
        if flags & 2 != 0 {
            f.skip(4)?;
        }
        let duration = if flags & 8 != 0 { Some(f.u32()?) } else { None };
        let bytes = if flags & 0x10 != 0 { Some(f.u32()?) } else { None };
        let base = base.unwrap_or(if flags & 0x02_0000 != 0 { start } else { behind });
        Some((id, base, duration, bytes))
    };
    let (id, base, duration, bytes) = read().ok_or(Wrong::new(b"tfhd", "is too short"))?;
    // Tracks that are not played are not looked into.
    let Some(track) = movie.tracks.iter_mut().find(|t| t.id == id) else { return Ok(behind) };
    let said = movie.defaults.iter().find(|(of, _)| *of == id).map(|(_, defaults)| *defaults).unwrap_or_default();
    let defaults = Defaults { duration: duration.unwrap_or(said.duration), bytes: bytes.unwrap_or(said.bytes) };
    let went_on = track.samples.last().map_or(0, |last| last.dts.saturating_add(i64::from(last.duration)));
    let mut dts = match find(b"traf", traf, b"tfdt")? {
        Some(tfdt) => versioned(tfdt, |f, wide| if wide { f.u64() } else { f.u32().map(u64::from) })
            .and_then(|time| i64::try_from(time).ok())
            .ok_or(Wrong::new(b"tfdt", "makes no sense"))?,
        None => went_on,
    };
    let mut offset = base;
    for child in Boxes(b"traf", traf) {
        if let (b"trun", trun) = child? {
            run(&mut track.samples, trun, base, defaults, &mut offset, &mut dts, samples_max)?;
        }
    }
    Ok(offset)
}

fn run(
    samples: &mut Vec<Sample>,
    trun: &[u8],
    base: u64,
    defaults: Defaults,
    offset: &mut u64,
    dts: &mut i64,
    samples_max: usize,
) -> Result<(), Wrong> {
    const SHORT: Wrong = Wrong::new(b"trun", "is shorter than it says");
    let mut f = Fields(trun);
    let (flags, count) = f.u32().zip(f.u32()).ok_or(SHORT)?;
    if flags & 1 != 0 {
        let from = f.u32().ok_or(SHORT)? as i32;
        *offset = base.saturating_add_signed(i64::from(from));
    }
    if flags & 4 != 0 {
        f.skip(4).ok_or(SHORT)?;
    }
    if samples.len().saturating_add(count as usize) > samples_max {
        return Err(Wrong::new(b"trun", "makes more samples than are read"));
    }
    for _ in 0..count {
        let mut field = |flag: u32, default: u32| if flags & flag != 0 { f.u32() } else { Some(default) };
        let mut read = || {
            let (duration, bytes) = (field(0x100, defaults.duration)?, field(0x200, defaults.bytes)?);
            field(0x400, 0)?;
            Some((duration, bytes, field(0x800, 0)? as i32))
        };
        let (duration, bytes, shift) = read().ok_or(SHORT)?;
        samples.push(Sample { offset: *offset, dts: *dts, bytes, shift, duration });
        *offset = offset.saturating_add(u64::from(bytes));
        *dts = dts.saturating_add(i64::from(duration));
    }
    Ok(())
}
