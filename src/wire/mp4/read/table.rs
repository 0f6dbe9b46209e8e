//! The sample table of a file that is not fragmented (ISO/IEC 14496-12 §8.6, §8.7).

use super::{Fields, Sample, Wrong, find};

/// All samples of an `stbl` box; none where all of them are in fragments.
pub(super) fn sample_table(stbl: &[u8], samples_max: usize) -> Result<Vec<Sample>, Wrong> {
    let sizes = Sizes::parse(stbl)?;
    if sizes.count == 0 {
        return Ok(Vec::new());
    }
    if sizes.count > samples_max {
        return Err(Wrong::new(b"stsz", "has more samples than are read"));
    }
    let chunks = chunks(stbl)?;
    let runs = list(stbl, b"stsc", 12)?.ok_or(Wrong::new(b"stbl", "has no stsc"))?;
    let mut runs = runs.chunks_exact(12).map(|run| (word(run, 0), word(run, 4))).peekable();
    let mut times = Runs::new(list(stbl, b"stts", 8)?.ok_or(Wrong::new(b"stbl", "has no stts"))?);
    let mut shifts = list(stbl, b"ctts", 8)?.map(Runs::new);

    let mut samples = Vec::with_capacity(sizes.count);
    let (mut dts, mut per_chunk) = (0i64, 0);
    for (n, chunk) in (1u32..).zip(chunks) {
        while let Some((_, samples)) = runs.next_if(|(first, _)| *first <= n) {
            per_chunk = samples;
        }
        let mut offset = chunk;
        for _ in 0..per_chunk {
            if samples.len() == sizes.count {
                return Ok(samples);
            }
            let duration = times.next().ok_or(Wrong::new(b"stts", "has times for fewer samples than there are"))?;
            let shift = match &mut shifts {
                // Version 0 is unsigned, and written with negative values all the same.
                Some(shifts) => {
                    shifts.next().ok_or(Wrong::new(b"ctts", "has times for fewer samples than there are"))?
                }
                None => 0,
            };
            let bytes = sizes.get(samples.len());
            samples.push(Sample { offset, dts, bytes, shift: shift as i32, duration });
            offset = offset.saturating_add(u64::from(bytes));
            dts += i64::from(duration);
        }
    }
    if samples.len() < sizes.count {
        return Err(Wrong::new(b"stsc", "has chunks for fewer samples than there are"));
    }
    Ok(samples)
}

/// `stsz`: one size for all, or a list.
struct Sizes<'a> {
    all: u32,
    list: &'a [u8],
    count: usize,
}

impl<'a> Sizes<'a> {
    fn parse(stbl: &'a [u8]) -> Result<Self, Wrong> {
        let Some(stsz) = find(b"stbl", stbl, b"stsz")? else {
            return Err(Wrong::new(b"stbl", "has no stsz; sizes of another form (stz2) are not read"));
        };
        let mut f = Fields(stsz);
        let numbers = || Some((f.u32()?, f.u32()?, f.u32()?));
        let mut numbers = numbers;
        let (_, all, count) = numbers().ok_or(Wrong::new(b"stsz", "is too short"))?;
        let (list, count) = (stsz.get(12..).unwrap_or_default(), count as usize);
        if all == 0 && list.len() / 4 < count {
            return Err(Wrong::new(b"stsz", "is shorter than it says"));
        }
        Ok(Self { all, list, count })
    }

    fn get(&self, sample: usize) -> u32 {
        if self.all > 0 { self.all } else { word(self.list, 4 * sample) }
    }
}

/// Where each chunk begins: `stco` or `co64`.
fn chunks(stbl: &[u8]) -> Result<impl Iterator<Item = u64>, Wrong> {
    let (narrow, wide) = (list(stbl, b"stco", 4)?, list(stbl, b"co64", 8)?);
    if narrow.is_none() && wide.is_none() {
        return Err(Wrong::new(b"stbl", "has neither stco nor co64"));
    }
    let narrow = narrow.unwrap_or_default().chunks_exact(4).map(|at| u64::from(word(at, 0)));
    let wide = wide.unwrap_or_default().chunks_exact(8);
    Ok(narrow.chain(wide.map(|at| u64::from(word(at, 0)) << 32 | u64::from(word(at, 4)))))
}

/// The entries of a list box, `each` bytes long.
fn list<'a>(stbl: &'a [u8], name: &'static [u8; 4], each: usize) -> Result<Option<&'a [u8]>, Wrong> {
    let Some(content) = find(b"stbl", stbl, name)? else { return Ok(None) };
    let mut f = Fields(content);
    let count = f.u32().and_then(|_| f.u32()).ok_or(Wrong::new(name, "is too short"))?;
    let bytes = (count as usize).checked_mul(each).and_then(|bytes| f.take(bytes));
    bytes.map(Some).ok_or(Wrong::new(name, "is shorter than it says"))
}

/// Run lengths: so many samples with the same value.
struct Runs<'a> {
    rest: &'a [u8],
    left: u32,
    value: u32,
}

impl<'a> Runs<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, left: 0, value: 0 }
    }

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            let (run, rest) = self.rest.split_at_checked(8)?;
            (self.left, self.value, self.rest) = (word(run, 0), word(run, 4), rest);
        }
        self.left -= 1;
        Some(self.value)
    }
}

/// Four bytes at a place that is known to be there.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b))
}
