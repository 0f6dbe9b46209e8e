//! The machine-readable number of a picture: two rows of black and white cells.
//!
//! In:    a number and a rate, or the luma plane of a decoded picture.
//! Out:   cells in a luma plane, or a [`Reading`].
//! Never: knows where the picture came from.
//!
//! ```text
//!      1/28 of the width each, from x = 1/28
//!     ┌─┬──────── 24 cells, most significant first ───────┬─┐
//!     │W│ number, bits 31 … 8                             │B│  1/18 of the height
//!     │B│ number, bits 7 … 0 │ rate, 4 │ CRC, 12           │W│  1/18 of the height
//!     └─┴──────────────────────────────────────────────────┴─┘
//! ```
//! The four corners are fixed: they say that a code is there at all and how bright black and white are after whatever
//! happened to the picture. At 284×160 a cell is 10 by 9 pixels.

use crate::media::SIGNAL_RATES;

/// What the code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Index of the picture since the epoch, modulo 2^32.
    pub number: u32,
    /// Position in [`SIGNAL_RATES`].
    pub rate: u8,
}

/// What was found where the code should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A code whose checksum holds.
    Code(Code),
    /// The corners are there, the checksum does not hold.
    Unreadable,
    /// No corners: a picture of something else, such as slate.
    Absent,
}

/// A plane of 8-bit luma.
#[derive(Clone, Copy, Debug)]
pub struct Luma<'a> {
    /// Rows, `stride` bytes each.
    pub data: &'a [u8],
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

const COLUMNS: usize = 26;
const ROWS: usize = 2;
/// Where the rows begin, in 1/180 of the height.
const TOP: usize = 148;
/// Height of a row, in 1/180 of the height.
const ROW: usize = 10;
/// The black band behind the cells, in 1/180 of the height.
pub(super) const BAND: std::ops::Range<usize> = 144..172;

const BLACK: u8 = 16;
const WHITE: u8 = 235;
/// Corners, by row: left and right.
const CORNERS: [(bool, bool); ROWS] = [(true, false), (false, true)];
/// Less difference than this between black and white is no code. Limited range has 219, CRF 35 leaves more than 180.
const CONTRAST_MIN: i32 = 90;
/// Two corners of one colour differ by less than this.
const CORNER_SPREAD_MAX: i32 = 40;

impl Code {
    /// The 48 cells between the corners, first in the top bit.
    fn bits(self) -> u64 {
        let payload = u64::from(self.number) << 4 | u64::from(self.rate & 15);
        payload << 12 | u64::from(crc12(payload))
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let payload = bits >> 12;
        (u64::from(crc12(payload)) == bits & 0xfff && (payload & 15) < SIGNAL_RATES.len() as u64)
            .then_some(Self { number: (payload >> 4) as u32, rate: (payload & 15) as u8 })
    }
}

/// CRC-12 with the polynomial x¹²+x¹¹+x³+x²+x+1 over 36 bits; the preset keeps an all-black field from being valid.
fn crc12(payload: u64) -> u16 {
    let mut crc = 0xfffu16;
    for i in (0..36).rev() {
        let bit = (payload >> i & 1) as u16;
        let top = crc >> 11 & 1;
        crc = crc << 1 & 0xfff;
        if top ^ bit == 1 {
            crc ^= 0x80f;
        }
    }
    crc
}

/// The position in [`SIGNAL_RATES`] of a rate.
pub fn rate_number(num: u32, den: u32) -> Option<u8> {
    SIGNAL_RATES.iter().position(|&r| r == (num, den)).map(|n| n as u8)
}

fn columns(width: usize, column: usize) -> std::ops::Range<usize> {
    (column + 1) * width / 28..(column + 2) * width / 28
}

fn rows(height: usize, row: usize) -> std::ops::Range<usize> {
    (TOP + row * ROW) * height / 180..(TOP + (row + 1) * ROW) * height / 180
}

fn is_white(bits: u64, row: usize, column: usize) -> bool {
    match column {
        0 => CORNERS[row].0,
        25 => CORNERS[row].1,
        _ => bits >> (47 - (row * 24 + column - 1)) & 1 == 1,
    }
}

/// Draws `code` into a luma plane; the band behind it is the caller's.
pub fn draw(code: Code, data: &mut [u8], width: usize, height: usize, stride: usize) {
    let bits = code.bits();
    for row in 0..ROWS {
        for y in rows(height, row) {
            for column in 0..COLUMNS {
                let value = if is_white(bits, row, column) { WHITE } else { BLACK };
                data[y * stride..][columns(width, column)].fill(value);
            }
        }
    }
}

/// Reads the code of a decoded picture.
pub fn read(luma: Luma<'_>) -> Reading {
    if luma.width < 28 * 3 || luma.height < 54 || luma.data.len() < luma.stride * (luma.height - 1) + luma.width {
        return Reading::Absent;
    }
    let level = |row, column| mean_of_middle(luma, rows(luma.height, row), columns(luma.width, column));
    let corners = [level(0, 0), level(1, 25), level(0, 25), level(1, 0)];
    let white = (corners[0] + corners[1]) / 2;
    let black = (corners[2] + corners[3]) / 2;
    if white - black < CONTRAST_MIN
        || (corners[0] - corners[1]).abs() > CORNER_SPREAD_MAX
        || (corners[2] - corners[3]).abs() > CORNER_SPREAD_MAX
    {
        return Reading::Absent;
    }
    let threshold = (white + black) / 2;
    let mut bits = 0u64;
    for row in 0..ROWS {
        for column in 1..COLUMNS - 1 {
            bits = bits << 1 | u64::from(level(row, column) > threshold);
        }
    }
    Code::from_bits(bits).map_or(Reading::Unreadable, Reading::Code)
}

/// Mean luma of the middle half of a cell, which scaling and ringing leave alone.
fn mean_of_middle(luma: Luma<'_>, ys: std::ops::Range<usize>, xs: std::ops::Range<usize>) -> i32 {
    let inner = |r: std::ops::Range<usize>| {
        let quarter = r.len() / 4;
        r.start + quarter..r.end - quarter
    };
    let (ys, xs) = (inner(ys), inner(xs));
    let count = (ys.len() * xs.len()) as i32;
    let sum: i32 =
        ys.map(|y| luma.data[y * luma.stride..][xs.clone()].iter().map(|&p| i32::from(p)).sum::<i32>()).sum();
    sum / count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drawn(code: Code, width: usize, height: usize) -> Vec<u8> {
        let mut data = vec![BLACK; width * height];
        draw(code, &mut data, width, height, width);
        data
    }

    /// Area average, as a scaler does it.
    fn scaled(data: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
        let mut out = Vec::with_capacity(to.0 * to.1);
        for y in 0..to.1 {
            for x in 0..to.0 {
                let ys = y * from.1 / to.1..((y + 1) * from.1).div_ceil(to.1);
                let xs = x * from.0 / to.0..((x + 1) * from.0).div_ceil(to.0);
                let n = ys.len() * xs.len();
                let sum: usize =
                    ys.map(|y| data[y * from.0..][xs.clone()].iter().map(|&p| usize::from(p)).sum::<usize>()).sum();
                out.push((sum / n) as u8);
            }
        }
        out
    }

    #[test]
    fn other_pictures_have_no_code() {
        let (w, h) = (284, 160);
        for (name, data) in [
            ("black", vec![16u8; w * h]),
            ("white", vec![235; w * h]),
            ("ramp", (0..w * h).map(|i| (i % w * 255 / w) as u8).collect()),
        ] {
            assert_eq!(read(Luma { data: &data, width: w, height: h, stride: w }), Reading::Absent, "{name}");
        }
    }

    #[test]
    fn one_wrong_cell_is_unreadable() {
        let (w, h) = (640, 360);
        for column in 1..25 {
            for row in 0..2 {
                let mut data = drawn(Code { number: 0x1234_5678, rate: 2 }, w, h);
                for y in rows(h, row) {
                    for x in columns(w, column) {
                        data[y * w + x] = 251 - data[y * w + x];
                    }
                }
                let reading = read(Luma { data: &data, width: w, height: h, stride: w });
                assert_eq!(reading, Reading::Unreadable, "row {row} column {column}");
            }
        }
    }

    #[test]
    fn a_plane_that_is_too_short_is_no_panic() {
        for data in [&[][..], &[0u8; 100][..]] {
            assert_eq!(read(Luma { data, width: 640, height: 360, stride: 640 }), Reading::Absent);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_drawn_is_read_at_any_scale_with_noise(
            number: u32,
            rate in 0u8..13,
            to in prop::sample::select(vec![(1280, 720), (854, 480), (640, 360), (426, 240), (284, 160), (240, 160)]),
            seed: u64,
        ) {
            let code = Code { number, rate };
            let mut data = scaled(&drawn(code, 1280, 720), (1280, 720), to);
            let mut state = seed | 1;
            for p in &mut data {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let noise = (state >> 33) as i32 % 81 - 40;
                *p = (i32::from(*p) * 8 / 10 + 20 + noise).clamp(0, 255) as u8;
            }
            prop_assert_eq!(read(Luma { data: &data, width: to.0, height: to.1, stride: to.0 }), Reading::Code(code));
        }
    }
}
