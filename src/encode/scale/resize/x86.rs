//! The same arithmetic by vector instructions of x86-64.

use std::arch::x86_64::*;

use super::{Axis, FINER, GROUP, REACH, REST_BITS, RUN, add_rows, along};

/// What rounds a sum to nearest.
const HALF: i32 = 1 << (REST_BITS - 1);

/// [`add_rows`], 32 samples at once.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
pub fn add_rows_avx512(rows: [&[u8]; GROUP], coefficients: [i16; GROUP], fresh: bool, out: &mut [i16]) {
    let parts = rows.map(|row| row.as_chunks::<32>().0);
    let by = coefficients.map(|c| _mm512_set1_epi16(c));
    let (whole, _) = out.as_chunks_mut::<32>();
    let count = whole.len();
    assert!(parts.iter().all(|part| part.len() >= count));
    for (i, out) in whole.iter_mut().enumerate() {
        // SAFETY: both are 64 bytes long.
        let mut sum = if fresh { _mm512_setzero_si512() } else { unsafe { _mm512_loadu_epi16(out.as_ptr()) } };
        for (part, by) in parts.iter().zip(by) {
            // SAFETY: a part is 32 bytes long.
            let samples = unsafe { _mm256_loadu_si256(part[i].as_ptr().cast()) };
            let finer = _mm512_slli_epi16::<FINER>(_mm512_cvtepu8_epi16(samples));
            sum = _mm512_add_epi16(sum, _mm512_mulhrs_epi16(finer, by));
        }
        // SAFETY: as above.
        unsafe { _mm512_storeu_epi16(out.as_mut_ptr(), sum) };
    }
    let done = count * 32;
    add_rows(rows.map(|row| &row[done..]), coefficients, fresh, &mut out[done..]);
}

/// [`add_rows`], 16 samples at once.
#[target_feature(enable = "avx2")]
pub fn add_rows_avx2(rows: [&[u8]; GROUP], coefficients: [i16; GROUP], fresh: bool, out: &mut [i16]) {
    let parts = rows.map(|row| row.as_chunks::<16>().0);
    let by = coefficients.map(|c| _mm256_set1_epi16(c));
    let (whole, _) = out.as_chunks_mut::<16>();
    let count = whole.len();
    assert!(parts.iter().all(|part| part.len() >= count));
    for (i, out) in whole.iter_mut().enumerate() {
        // SAFETY: both are 32 bytes long.
        let mut sum = if fresh { _mm256_setzero_si256() } else { unsafe { _mm256_loadu_si256(out.as_ptr().cast()) } };
        for (part, by) in parts.iter().zip(by) {
            // SAFETY: a part is 16 bytes long.
            let samples = unsafe { _mm_loadu_si128(part[i].as_ptr().cast()) };
            let finer = _mm256_slli_epi16::<{ FINER as i32 }>(_mm256_cvtepu8_epi16(samples));
            sum = _mm256_add_epi16(sum, _mm256_mulhrs_epi16(finer, by));
        }
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sum) };
    }
    let done = count * 16;
    add_rows(rows.map(|row| &row[done..]), coefficients, fresh, &mut out[done..]);
}

/// Rows by runs of [`RUN`] results: two registers hold all samples of a run, and each pick takes one pair of samples for each result.
#[derive(Clone, Debug)]
pub struct Runs {
    /// Each run's first sample.
    first: Vec<usize>,
    /// For each run, one for each pair of coefficients: which samples, and by what.
    picks: Vec<Pick>,
    pairs: usize,
}

#[derive(Clone, Debug)]
struct Pick {
    samples: [u16; 2 * RUN],
    coefficients: [i16; 2 * RUN],
}

impl Runs {
    /// `None` where the samples of some run lie further apart than two registers reach.
    pub fn of(axis: &Axis) -> Option<Self> {
        let pairs = axis.taps / 2;
        let mut runs = Self { first: Vec::new(), picks: Vec::new(), pairs };
        for begin in (0..axis.first.len() / RUN).map(|run| run * RUN) {
            let first = axis.first[begin];
            for pair in 0..pairs {
                let mut pick = Pick { samples: [0; 2 * RUN], coefficients: [0; 2 * RUN] };
                for (result, lane) in (begin..begin + RUN).flat_map(|r| [(r, 0), (r, 1)]) {
                    let (from, coefficients) = axis.of(result);
                    let (at, tap) = ((result - begin) * 2 + lane, pair * 2 + lane);
                    let behind = from - first + tap;
                    if behind >= REACH {
                        return None;
                    }
                    pick.samples[at] = behind as u16;
                    pick.coefficients[at] = coefficients[tap];
                }
                runs.picks.push(pick);
            }
            runs.first.push(first);
        }
        Some(runs)
    }

    /// [`along`]. There are [`REACH`] samples at least from a run's first one on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
    pub fn along(&self, row: &[i16], axis: &Axis, out: &mut [u8]) {
        let half = _mm512_set1_epi32(HALF);
        let (whole, _) = out.as_chunks_mut::<RUN>();
        let done = whole.len() * RUN;
        for ((first, picks), out) in self.first.iter().zip(self.picks.chunks_exact(self.pairs)).zip(whole) {
            let samples: &[i16; REACH] = row[*first..].first_chunk().expect("a row ends with room for this");
            // SAFETY: that is two times 32 samples.
            let (low, high) =
                unsafe { (_mm512_loadu_epi16(samples.as_ptr()), _mm512_loadu_epi16(samples.as_ptr().add(32))) };
            let mut sum = half;
            for pick in picks {
                // SAFETY: both are 32 long.
                let (which, by) = unsafe {
                    (_mm512_loadu_epi16(pick.samples.as_ptr().cast()), _mm512_loadu_epi16(pick.coefficients.as_ptr()))
                };
                let picked = _mm512_permutex2var_epi16(low, which, high);
                sum = _mm512_add_epi32(sum, _mm512_madd_epi16(picked, by));
            }
            let results = _mm512_cvtusepi32_epi8(_mm512_srai_epi32::<REST_BITS>(sum));
            // SAFETY: a run of results is 16 bytes long.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), results) };
        }
        along(row, axis, done, out);
    }
}

/// Rows by eight results at once, whose samples are gathered by pairs.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// First samples of eight results.
    first: Vec<[i32; 8]>,
    /// For each eight results, one for each pair of coefficients.
    coefficients: Vec<[i16; 16]>,
    pairs: usize,
    /// One behind the last sample that is read.
    end: usize,
}

impl Pairs {
    pub fn of(axis: &Axis) -> Self {
        let pairs = axis.taps / 2;
        let (eights, _) = axis.first.as_chunks::<8>();
        let coefficients = (0..eights.len())
            .flat_map(|eight| (0..pairs).map(move |pair| (eight, pair)))
            .map(|(eight, pair)| std::array::from_fn(|at| axis.of(eight * 8 + at / 2).1[pair * 2 + at % 2]));
        Self {
            first: eights.iter().map(|first| first.map(|first| first as i32)).collect(),
            coefficients: coefficients.collect(),
            pairs,
            end: eights.as_flattened().iter().max().map_or(0, |first| first + axis.taps),
        }
    }

    /// [`along`].
    #[target_feature(enable = "avx2")]
    pub fn along(&self, row: &[i16], axis: &Axis, out: &mut [u8]) {
        assert!(row.len() >= self.end);
        let half = _mm256_set1_epi32(HALF);
        let (whole, _) = out.as_chunks_mut::<8>();
        let done = whole.len() * 8;
        for ((first, coefficients), out) in self.first.iter().zip(self.coefficients.chunks_exact(self.pairs)).zip(whole)
        {
            // SAFETY: eight numbers of 32 bits.
            let first = unsafe { _mm256_loadu_si256(first.as_ptr().cast()) };
            let mut sum = half;
            for (pair, by) in coefficients.iter().enumerate() {
                let which = _mm256_add_epi32(first, _mm256_set1_epi32(pair as i32 * 2));
                // SAFETY: the last of them is below `end`, which the row reaches.
                let samples = unsafe { _mm256_i32gather_epi32::<2>(row.as_ptr().cast(), which) };
                // SAFETY: sixteen numbers of 16 bits.
                let by = unsafe { _mm256_loadu_si256(by.as_ptr().cast()) };
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(samples, by));
            }
            let sum = _mm256_srai_epi32::<{ REST_BITS as i32 }>(sum);
            let narrow = _mm256_packus_epi32(sum, sum);
            let bytes = _mm256_packus_epi16(narrow, narrow);
            let (low, high) = (_mm256_extract_epi32::<0>(bytes), _mm256_extract_epi32::<4>(bytes));
            out[..4].copy_from_slice(&low.to_le_bytes());
            out[4..].copy_from_slice(&high.to_le_bytes());
        }
        along(row, axis, done, out);
    }
}
