//! What a picture looks like: how much of it is dark, and the mean luma of its areas.
//!
//! In:    a plane of luma, 8 bits or more. Out: a [`Sketch`] of it, of the same size whatever the picture's.
//! Never: looks at every sample: a picture is read at 320 × 180 points.

/// Areas a picture is cut into: 20 × 20 samples each where it has 1280 × 720.
pub const COLUMNS: usize = 64;
/// See [`COLUMNS`].
pub const ROWS: usize = 36;
/// Points of an area in each direction: with 25 of them sensor noise and coding noise of a few codes are well below one.
const POINTS: usize = 5;
/// Points of an area.
const AREA: u16 = (POINTS * POINTS) as u16;

/// So many areas must change at once to be movement. One that changes alone may be coding noise around a key frame; the
/// seconds of a clock, 30 × 40 samples of 1280 × 720, cover four.
const MOVING_AREAS: usize = 4;

/// One plane of luma as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct Luma<'a> {
    /// From its first sample on.
    pub data: &'a [u8],
    /// Samples a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Bytes from a line to the next.
    pub stride: usize,
    /// Bits of a sample, 8 to 16; above 8 it has two bytes, the low one first.
    pub bits: u32,
}

/// What is kept of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    /// Sum of the points of each area, in 8-bit codes.
    sums: Box<[u16; COLUMNS * ROWS]>,
    dark: u32,
}

impl Sketch {
    /// Sketches a picture; luma up to `dark_level` (8-bit code) is dark. `None` where the plane is smaller than it claims, or empty.
    pub fn of(luma: Luma<'_>, dark_level: u8) -> Option<Self> {
        let Luma { data, width, height, stride, bits } = luma;
        let sample = match bits {
            8 => 1,
            9..=16 => 2,
            _ => return None,
        };
        let line = width.checked_mul(sample)?;
        let end = stride.checked_mul(height.checked_sub(1)?)?.checked_add(line)?;
        if width == 0 || stride < line || end > data.len() {
            return None;
        }
        let mut columns = [0; COLUMNS * POINTS];
        for (i, at) in columns.iter_mut().enumerate() {
            *at = place(i, COLUMNS * POINTS, width) * sample;
        }
        let mut sketch = Self { sums: Box::new([0; COLUMNS * ROWS]), dark: 0 };
        for row in 0..ROWS * POINTS {
            let from = place(row, ROWS * POINTS, height) * stride;
            let line = &data[from..from + line];
            let sums = &mut sketch.sums[row / POINTS * COLUMNS..][..COLUMNS];
            for (sum, columns) in sums.iter_mut().zip(columns.chunks_exact(POINTS)) {
                for &at in columns {
                    let code = if sample == 1 {
                        line[at]
                    } else {
                        (u16::from_le_bytes([line[at], line[at + 1]]) >> (bits - 8)).min(255) as u8
                    };
                    *sum += u16::from(code);
                    sketch.dark += u32::from(code <= dark_level);
                }
            }
        }
        Some(sketch)
    }

    /// How much of the picture is dark, 0 to 1.
    pub fn dark_share(&self) -> f32 {
        self.dark as f32 / (COLUMNS * ROWS * POINTS * POINTS) as f32
    }

    /// Whether something moved from `other` to this one: the mean of some areas changed by more than `change` 8-bit codes.
    pub fn moved_from(&self, other: &Self, change: f32) -> bool {
        let by = (change * f32::from(AREA)) as u16;
        let changed = self.sums.iter().zip(other.sums.iter()).filter(|(a, b)| a.abs_diff(**b) > by);
        changed.take(MOVING_AREAS).count() == MOVING_AREAS
    }
}

/// Which of `length` samples point `i` of `points` is: the middle of its stretch.
const fn place(i: usize, points: usize, length: usize) -> usize {
    (2 * i + 1) * length / (2 * points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plane(width: usize, height: usize, of: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| of(x, y)).collect()
    }

    fn sketch(width: usize, height: usize, of: impl Fn(usize, usize) -> u8) -> Sketch {
        let data = plane(width, height, of);
        Sketch::of(Luma { data: &data, width, height, stride: width, bits: 8 }, 37).expect("a whole plane")
    }

    #[test]
    fn dark_is_measured_as_a_share_of_the_picture() {
        for (name, picture, want) in [
            ("black", sketch(1280, 720, |_, _| 16), 1.0),
            ("just dark", sketch(1280, 720, |_, _| 37), 1.0),
            ("just not", sketch(1280, 720, |_, _| 38), 0.0),
            ("left half", sketch(1280, 720, |x, _| if x < 640 { 16 } else { 200 }), 0.5),
            ("lower quarter", sketch(1920, 1080, |_, y| if y >= 810 { 16 } else { 200 }), 0.25),
            ("smaller than a sketch", sketch(16, 16, |_, _| 16), 1.0),
            ("one sample", sketch(1, 1, |_, _| 99), 0.0),
        ] {
            assert!((picture.dark_share() - want).abs() < 0.001, "{name}: {}", picture.dark_share());
        }
    }

    #[test]
    fn ten_bits_are_read_as_eight() {
        let codes: Vec<u8> = plane(64, 64, |x, y| (x * 3 + y) as u8);
        let wide: Vec<u8> = codes.iter().flat_map(|&c| (u16::from(c) << 2 | 3).to_le_bytes()).collect();
        let eight = Sketch::of(Luma { data: &codes, width: 64, height: 64, stride: 64, bits: 8 }, 37);
        let ten = Sketch::of(Luma { data: &wide, width: 64, height: 64, stride: 128, bits: 10 }, 37);
        assert!(eight.is_some());
        assert_eq!(eight, ten);
    }

    #[test]
    fn movement_is_areas_that_change_and_nothing_less() {
        let noise = |x: usize, y: usize, seed: usize| ((x * 7919 + y * 104_729 + seed * 1_299_709) % 7) as u8;
        let scene = |x: usize, y: usize| 60 + ((x / 9 + y / 5) % 120) as u8;
        let still = sketch(1280, 720, scene);
        // 2 % of the range, the default.
        let moved = |of: Sketch| of.moved_from(&still, 4.38);
        assert!(!moved(sketch(1280, 720, scene)), "the same");
        assert!(!moved(sketch(1280, 720, |x, y| scene(x, y) + noise(x, y, 1) - 3)), "noise of ±3");
        assert!(!moved(sketch(1280, 720, |x, y| scene(x, y) + 4)), "a pulse of four codes");
        assert!(moved(sketch(1280, 720, |x, y| scene(x, y) + 6)), "a fade");
        let digit = |x: usize, y: usize| (100..140).contains(&x) && (200..240).contains(&y);
        assert!(moved(sketch(1280, 720, |x, y| if digit(x, y) { 235 } else { scene(x, y) })), "a clock");
        let spot = |x: usize, y: usize| (100..104).contains(&x) && (200..204).contains(&y);
        assert!(!moved(sketch(1280, 720, |x, y| if spot(x, y) { 235 } else { scene(x, y) })), "a spot of four samples");
    }

    proptest! {
        #[test]
        fn any_claim_is_sketched_or_refused(
            data in proptest::collection::vec(any::<u8>(), 0..3000),
            width in 0usize..100, height in 0usize..100, stride in 0usize..200, bits in 0u32..20,
        ) {
            if let Some(sketch) = Sketch::of(Luma { data: &data, width, height, stride, bits }, 37) {
                prop_assert!((0.0..=1.0).contains(&sketch.dark_share()));
                prop_assert!(!sketch.moved_from(&sketch.clone(), 0.0));
            }
            let huge = Luma { data: &data, width: usize::MAX - width, height: usize::MAX - height, stride: usize::MAX - stride, bits };
            prop_assert_eq!(Sketch::of(huge, 37), None);
        }
    }
}
