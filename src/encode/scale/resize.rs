//! A plane of eight-bit samples → the same in another size.
//!
//! In:    rows of samples, and where in its plane a sample sits.
//! Out:   rows of samples, the same bits on every host: whole numbers only, and the same ones whatever instructions do the work.
//! Never: keeps anything of a plane.
//!
//! The filter is a triangle as wide as the ratio asks for (a straight line between neighbours where the plane grows). Columns go first, as
//! whole rows are added up at once and fewer rows are left; what is between them keeps seven more bits than a sample. Along a row the samples that
//! a run of results needs lie within two registers of AVX-512, which picks them all at once; AVX2 gathers them by pairs.
#![allow(unsafe_code)] // Vector instructions: loads of what the compiler can see the length of, and functions for CPUs that have been asked.

#[cfg(target_arch = "x86_64")]
mod x86;

/// Where samples sit inside what they stand for, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// In its middle: luma; chroma of 4:2:0 from top to bottom.
    Centre,
    /// Chroma of 4:2:0 from left to right (ISO/IEC 14496-10 Figure 6-1): on the first of the two luma samples it belongs to.
    First,
}

/// Bits that samples have more between the two filters.
const FINER: u32 = 7;
/// Fraction bits of the coefficients down the columns; their sum is one less than the whole, which is no `i16`.
const COLUMN_BITS: u32 = 15;
/// The same along the rows.
const ROW_BITS: u32 = 14;
/// What is shifted out at the end.
const REST_BITS: u32 = FINER + ROW_BITS;
/// Rows that are added up at once.
const GROUP: usize = 4;
/// Results of a run along a row.
const RUN: usize = 16;
/// Samples that a run may need: two registers of AVX-512.
const REACH: usize = 64;

/// What each result along one axis is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Axis {
    /// Coefficients of each result; a multiple of what it was asked to be.
    taps: usize,
    /// Each result's first sample.
    first: Vec<usize>,
    /// [`Self::taps`] for each result.
    coefficients: Vec<i16>,
}

impl Axis {
    /// Coefficients that add up to `whole`, a multiple of `group` of them.
    fn new(from: usize, to: usize, site: Site, whole: i16, group: usize) -> Self {
        let ratio = from as f64 / to as f64;
        let reach = ratio.max(1.0);
        let shift = match site {
            Site::Centre => (ratio - 1.0) / 2.0,
            Site::First => (ratio - 1.0) / 4.0,
        };
        let taps = ((2.0 * reach).ceil() as usize).min(from).max(1);
        let mut axis =
            Self { taps: taps.next_multiple_of(group), first: Vec::with_capacity(to), coefficients: Vec::new() };
        for result in 0..to {
            let centre = result as f64 * ratio + shift;
            let lowest = (centre - reach).floor() as i64 + 1;
            let first = lowest.clamp(0, (from - taps) as i64);
            let mut weights = vec![0.0; taps];
            for sample in lowest..=(centre + reach).ceil() as i64 {
                let weight = 1.0 - (sample as f64 - centre).abs() / reach;
                if weight > 0.0 {
                    // Beyond its edge a plane goes on with the last sample.
                    let inside = sample.clamp(0, from as i64 - 1) - first;
                    weights[usize::try_from(inside).unwrap_or(0).min(taps - 1)] += weight;
                }
            }
            axis.first.push(first as usize);
            axis.coefficients.extend(whole_numbers(&weights, whole));
            axis.coefficients.resize(axis.first.len() * axis.taps, 0);
        }
        axis
    }

    fn of(&self, result: usize) -> (usize, &[i16]) {
        (self.first[result], &self.coefficients[result * self.taps..][..self.taps])
    }
}

/// In proportion to `weights`, and exactly `whole` together: the largest takes what rounding leaves.
fn whole_numbers(weights: &[f64], whole: i16) -> Vec<i16> {
    let sum: f64 = weights.iter().sum();
    let mut numbers: Vec<i16> = weights.iter().map(|weight| (weight / sum * f64::from(whole)).round() as i16).collect();
    let rest = i32::from(whole) - numbers.iter().map(|n| i32::from(*n)).sum::<i32>();
    if let Some(largest) = numbers.iter_mut().max() {
        *largest += rest as i16;
    }
    numbers
}

/// Scales planes of one size to another.
#[derive(Clone, Debug)]
pub struct Resizer {
    from: (usize, usize),
    to: (usize, usize),
    columns: Axis,
    rows: Axis,
    means: Means,
    /// One row of the right height, [`FINER`] bits finer, and some room behind it that is read and counts for nothing.
    row: Vec<i16>,
}

/// What does the work along a row.
#[derive(Clone, Debug)]
enum Means {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Pairs),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Runs),
}

impl Resizer {
    /// For planes of `from` to `to`, each width and height, 1 at least. `site` is that of the samples along a row.
    pub fn new(from: (usize, usize), to: (usize, usize), site: Site) -> Self {
        let columns = Axis::new(from.1, to.1, Site::Centre, i16::MAX, GROUP);
        let rows = Axis::new(from.0, to.0, site, 1 << ROW_BITS, 2);
        let means = Means::of_this_host(&rows);
        Self { from, to, columns, rows, means, row: vec![0; from.0 + REACH] }
    }

    /// Fills `to`'s rows, `to_stride` apart, from those of `from`, `from_stride` apart.
    ///
    /// # Panics
    ///
    /// If a plane is smaller than was said.
    pub fn resize(&mut self, from: &[u8], from_stride: usize, to: &mut [u8], to_stride: usize) {
        let ((width, height), row) = (self.from, &mut self.row);
        for (y, out) in to.chunks_mut(to_stride).take(self.to.1).enumerate() {
            let (first, coefficients) = self.columns.of(y);
            for (group, coefficients) in coefficients.as_chunks::<GROUP>().0.iter().enumerate() {
                // Rows that do not count need not be there.
                let rows = std::array::from_fn(|i| {
                    let row = (first + group * GROUP + i).min(height - 1);
                    &from[row * from_stride..][..width]
                });
                match &self.means {
                    Means::Plain => add_rows(rows, *coefficients, group == 0, &mut row[..width]),
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: these means are there only where the CPU has them.
                    Means::Avx2(_) => unsafe { x86::add_rows_avx2(rows, *coefficients, group == 0, &mut row[..width]) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the same.
                    Means::Avx512(_) => unsafe {
                        x86::add_rows_avx512(rows, *coefficients, group == 0, &mut row[..width]);
                    },
                }
            }
            let out = &mut out[..self.to.0];
            match &self.means {
                Means::Plain => along(row, &self.rows, 0, out),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the same.
                Means::Avx2(pairs) => unsafe { pairs.along(row, &self.rows, out) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the same.
                Means::Avx512(runs) => unsafe { runs.along(row, &self.rows, out) },
            }
        }
    }
}

impl Means {
    fn of_this_host(rows: &Axis) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f")
                && has!("avx512bw")
                && has!("avx512vl")
                && has!("avx2")
                && let Some(runs) = x86::Runs::of(rows)
            {
                return Self::Avx512(runs);
            }
            if has!("avx2") {
                return Self::Avx2(x86::Pairs::of(rows));
            }
        }
        let _ = rows;
        Self::Plain
    }
}

/// `out` becomes, or gains, the weighted sum of the rows.
fn add_rows(rows: [&[u8]; GROUP], coefficients: [i16; GROUP], fresh: bool, out: &mut [i16]) {
    for (i, out) in out.iter_mut().enumerate() {
        let weighed = |(row, c): (&[u8], i16)| {
            let product = (i32::from(row[i]) << FINER) * i32::from(c);
            (product + (1 << (COLUMN_BITS - 1))) >> COLUMN_BITS
        };
        let sum: i32 = rows.into_iter().zip(coefficients).map(weighed).sum();
        // Rounding brings it half a step a tap above the largest sample at most, whose finer bits leave room for 127.
        *out = if fresh { sum as i16 } else { out.wrapping_add(sum as i16) };
    }
}

/// The results from `begin` on.
fn along(row: &[i16], axis: &Axis, begin: usize, out: &mut [u8]) {
    for (i, out) in out.iter_mut().enumerate().skip(begin) {
        let (first, coefficients) = axis.of(i);
        let samples = &row[first..][..coefficients.len()];
        let sum: i32 = samples.iter().zip(coefficients).map(|(s, c)| i32::from(*s) * i32::from(*c)).sum();
        *out = ((sum + (1 << (REST_BITS - 1))) >> REST_BITS).clamp(0, 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plane((width, height): (usize, usize), seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        (0..width * height)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    }

    fn resized(mut resizer: Resizer, plane: &[u8]) -> Vec<u8> {
        let (width, height) = resizer.to;
        // Rows further apart than they are wide, and nothing behind the last.
        let stride = width + 5;
        let mut out = vec![0xa5; stride * (height - 1) + width];
        resizer.resize(plane, resizer.from.0, &mut out, stride);
        assert!(out.chunks(stride).all(|row| row[width..].iter().all(|b| *b == 0xa5)), "wrote beside the rows");
        out.chunks(stride).flat_map(|row| row[..width].to_vec()).collect()
    }

    fn by_all_means(from: (usize, usize), to: (usize, usize), site: Site, plane: &[u8]) -> Vec<Vec<u8>> {
        let best = Resizer::new(from, to, site);
        let mut all = vec![Resizer { means: Means::Plain, ..best.clone() }];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            all.push(Resizer { means: Means::Avx2(x86::Pairs::of(&best.rows)), ..best.clone() });
        }
        all.push(best);
        all.into_iter().map(|resizer| resized(resizer, plane)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn all_means_make_the_same_of_any_plane(
            from in (1usize..300, 1usize..40),
            to in (1usize..300, 1usize..40),
            first in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let site = if first { Site::First } else { Site::Centre };
            let all = by_all_means(from, to, site, &plane(from, seed));
            for other in &all[1..] {
                prop_assert_eq!(&all[0], other);
            }
        }
    }

    #[test]
    fn ratios_of_ladders_are_done_by_runs() {
        for (from, to) in
            [(1280, 768), (1280, 640), (640, 384), (1920, 896), (1920, 1280), (1920, 384), (960, 640), (3840, 1920)]
        {
            let from_plane = plane((from, 9), 7);
            let all = by_all_means((from, 9), (to, 5), Site::Centre, &from_plane);
            assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{from} to {to}");
            #[cfg(target_arch = "x86_64")]
            assert!(
                x86::Runs::of(&Axis::new(from, to, Site::Centre, 1 << ROW_BITS, 2)).is_some() || from > 3 * to,
                "{from}"
            );
        }
    }

    #[test]
    fn an_even_plane_stays_even() {
        for level in [0, 1, 16, 127, 128, 235, 254, 255] {
            for (from, to) in [((64, 36), (38, 22)), ((64, 36), (32, 18)), ((20, 12), (64, 36)), ((100, 100), (3, 3))] {
                let plane = vec![level; from.0 * from.1];
                for made in by_all_means(from, to, Site::First, &plane) {
                    assert!(made.iter().all(|sample| *sample == level), "{level} {from:?} {to:?}: {made:?}");
                }
            }
        }
    }

    #[test]
    fn a_slope_stays_where_it_is() {
        // Luma: a sample of half the width lies between two. Chroma: on the first of two luma samples, so a quarter of one further left.
        let slope: Vec<u8> = (0..64).map(|x| x * 4).collect();
        for (site, want) in [(Site::Centre, 2.0), (Site::First, 1.0)] {
            let made = resized(Resizer::new((64, 1), (32, 1), site), &slope);
            for (x, sample) in made.iter().enumerate().take(31).skip(1) {
                assert!((f64::from(*sample) - (x as f64 * 8.0 + want)).abs() <= 1.0, "{site:?} {x}: {sample}");
            }
        }
    }

    #[test]
    fn coefficients_add_up() {
        for (from, to) in [(1280, 768), (7, 3), (3, 7), (1, 5), (5, 1), (1080, 216)] {
            let axis = Axis::new(from, to, Site::Centre, 1 << ROW_BITS, 2);
            assert!(axis.taps.is_multiple_of(2));
            for result in 0..to {
                let (first, coefficients) = axis.of(result);
                assert_eq!(coefficients.iter().map(|c| i32::from(*c)).sum::<i32>(), 1 << ROW_BITS);
                let beyond = coefficients.iter().skip(from - first);
                assert!(beyond.clone().all(|c| *c == 0), "{from} to {to}: {result} reads beyond the plane");
            }
        }
    }
}
