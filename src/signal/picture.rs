//! Draws the pictures of the signal straight into I420.
//!
//! In:    a picture's index.
//! Out:   its pixels, which depend on nothing else.
//! Never: reads a clock. Drawing is copying rows: 720p25 must cost little beside its encoder.

use super::code::{self, Code};
use super::{font, index_at, ticks_of};
use crate::media::FrameRate;

/// The background repeats after this many pixels, so a row of it can be copied from any phase.
const PERIOD: usize = 512;
/// Pixels the background moves a picture.
const SPEED: u64 = 2;
/// How long the flash stands, in 90 kHz ticks: one picture up to 30 a second, two or three above.
const FLASH_TICKS: u64 = 3_000;

/// Draws pictures of one size.
#[derive(Debug)]
pub struct Painter {
    width: usize,
    height: usize,
    rate: FrameRate,
    rate_number: u8,
    /// Luma, then both chroma planes of the background, rows of `width + PERIOD` (chroma: half).
    back: [Vec<u8>; 3],
    out: Vec<u8>,
}

impl Painter {
    /// `width` and `height` are even; `rate` is one of [`SIGNAL_RATES`](crate::media::SIGNAL_RATES).
    pub fn new(width: usize, height: usize, rate: FrameRate) -> Self {
        let luma = texture(width, height, PERIOD, |x, y| {
            // Waves of several lengths make edges, slopes and fine detail, all periodic in PERIOD pixels.
            let wave = |n: f64, phase: f64| (x * n + phase).sin();
            let soft = 40.0 * wave(1.0, y * 2.0) + 25.0 * wave(3.0, -y * 5.0);
            let fine = 14.0 * wave(23.0, y * 31.0) * wave(7.0, y * 11.0) + 6.0 * wave(61.0, y * 83.0);
            112.0 + soft + fine
        });
        let tint = |shift: f64| move |x: f64, y: f64| 128.0 + 40.0 * (x + shift + y * 3.0).sin();
        let chroma = |shift| texture(width / 2, height / 2, PERIOD / 2, tint(shift));
        Self {
            width,
            height,
            rate,
            rate_number: code::rate_number(rate.num(), rate.den()).unwrap_or(2),
            back: [luma, chroma(0.0), chroma(2.1)],
            out: vec![0; width * height * 3 / 2],
        }
    }

    /// The picture `index` since the epoch: luma, then both chroma planes, no padding between rows.
    pub fn paint(&mut self, index: u64) -> &[u8] {
        let ticks = ticks_of(index, self.rate);
        let second = ticks / 90_000;
        self.background(index);
        self.shapes(index);
        if ticks % 90_000 < FLASH_TICKS || index == index_at(second * 90_000, self.rate) {
            self.luma_box(self.width / 28, self.width * 27 / 28, 0, self.height / 6, 235);
        }
        self.text(ticks, index);
        let (top, bottom) = (code::BAND.start * self.height / 180, code::BAND.end * self.height / 180);
        self.luma_box(0, self.width, top, bottom, 16);
        self.grey(top, bottom);
        let code = Code { number: index as u32, rate: self.rate_number };
        code::draw(code, &mut self.out, self.width, self.height, self.width);
        &self.out
    }

    /// Pictures `index` and the one behind it as the fields of one frame, the top field first: rows of the first, rows of
    /// the second, alternating.
    pub fn weave(&mut self, index: u64) -> &[u8] {
        let top = self.paint(index).to_vec();
        self.paint(index + 1);
        let (w, h) = (self.width, self.height);
        // Chroma of interlaced 4:2:0 belongs to fields as well (ITU-T H.264 §6.2).
        let rows = (0..h).map(|y| (y * w, w)).chain((0..h).map(|y| (w * h + y * w / 2, w / 2)));
        for (n, (at, length)) in rows.enumerate() {
            // Both chroma planes have h / 2 rows, so a row's parity is its place's unless h / 2 is odd.
            let row = if n < h { n } else { (n - h) % (h / 2) };
            if row % 2 == 0 {
                self.out[at..at + length].copy_from_slice(&top[at..at + length]);
            }
        }
        &self.out
    }

    fn background(&mut self, index: u64) {
        let (w, h) = (self.width, self.height);
        let mut at = 0;
        for (plane, back) in self.back.iter().enumerate() {
            let part = if plane == 0 { 1 } else { 2 };
            let (width, height, period) = (w / part, h / part, PERIOD / part);
            for y in 0..height {
                // Three bands move at speeds of their own, as near and far things do.
                let speed = SPEED * (1 + (y * 3 / height) as u64);
                let shift = (index * speed / part as u64 % period as u64) as usize;
                self.out[at..at + width].copy_from_slice(&back[y * (width + period) + shift..][..width]);
                at += width;
            }
        }
    }

    /// Three boxes that cross the picture, covering and uncovering what is behind them.
    fn shapes(&mut self, index: u64) {
        let (w, h) = (self.width, self.height);
        let side = h / 8;
        for (n, (speed, level)) in [(5u64, 60u8), (3, 150), (7, 200)].into_iter().enumerate() {
            let travel = |speed: u64, room: usize| {
                let t = (index * speed % (2 * room as u64)) as usize;
                t.min(2 * room - t)
            };
            let (x, y) = (travel(speed, w - side), h / 6 + travel(speed - 1, h / 2 - side));
            self.luma_box(x, x + side, y, y + side, level);
            let chroma = w * h + n.min(1) * w * h / 4;
            for row in y / 2..(y + side) / 2 {
                self.out[chroma + row * w / 2..][x / 2..(x + side) / 2].fill(80 + 40 * n as u8);
            }
        }
    }

    /// The UTC clock and the number, on a dark field.
    fn text(&mut self, ticks: u64, index: u64) {
        let ms = ticks / 90;
        let (s, m, h) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000 % 24);
        let scale = (self.width / 110).max(1);
        let top = self.height * 7 / 18;
        self.line(&format!("{h:02}:{m:02}:{s:02}.{:03}", ms % 1000), top, scale);
        self.line(&format!("#{}", index as u32), top + 12 * scale, scale);
    }

    fn line(&mut self, text: &str, top: usize, scale: usize) {
        let wide = text.len() * (font::COLUMNS + 1) * scale;
        let left = self.width.saturating_sub(wide) / 2;
        self.luma_box(left.saturating_sub(2 * scale), left + wide + scale, top - 2 * scale, top + 9 * scale, 24);
        for (n, c) in text.chars().enumerate() {
            for (row, bits) in font::glyph(c).into_iter().enumerate() {
                for column in (0..font::COLUMNS).filter(|c| bits >> (font::COLUMNS - 1 - c) & 1 == 1) {
                    let (x, y) = (left + (n * (font::COLUMNS + 1) + column) * scale, top + row * scale);
                    self.luma_box(x, x + scale, y, y + scale, 230);
                }
            }
        }
    }

    fn luma_box(&mut self, left: usize, right: usize, top: usize, bottom: usize, level: u8) {
        for y in top..bottom.min(self.height) {
            self.out[y * self.width..][left.min(self.width)..right.min(self.width)].fill(level);
        }
    }

    /// Takes the colour out of the rows from `top` to `bottom`.
    fn grey(&mut self, top: usize, bottom: usize) {
        let (w, luma) = (self.width / 2, self.width * self.height);
        for plane in [luma, luma + luma / 4] {
            self.out[plane + top / 2 * w..plane + bottom.div_ceil(2).min(self.height / 2) * w].fill(128);
        }
    }
}

/// Rows of `width + period` pixels: `value(x, y)` with x in radians of the period and y in 0..1.
fn texture(width: usize, height: usize, period: usize, value: impl Fn(f64, f64) -> f64) -> Vec<u8> {
    let mut out = Vec::with_capacity((width + period) * height);
    for y in 0..height {
        let level = |x| {
            let angle = x as f64 / period as f64 * std::f64::consts::TAU;
            value(angle, y as f64 / height as f64).clamp(16.0, 235.0) as u8
        };
        let row = out.len();
        out.extend((0..period).map(level));
        // The rest repeats.
        for x in 0..width {
            out.push(out[row + x]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::code::{Luma, Reading};

    #[test]
    fn every_picture_carries_its_number() {
        for (w, h) in [(1280, 720), (640, 360), (320, 180)] {
            let mut painter = Painter::new(w, h, FrameRate::new(25, 1).expect("good rate"));
            for index in [44_000_000_000u64, 44_000_000_013, 44_000_000_025] {
                let data = painter.paint(index);
                let reading = code::read(Luma { data: &data[..w * h], width: w, height: h, stride: w });
                assert_eq!(reading, Reading::Code(Code { number: index as u32, rate: 2 }), "{w}x{h} {index}");
            }
        }
    }

    #[test]
    fn each_field_of_a_woven_frame_carries_its_own_number() {
        let (w, h) = (640, 360);
        let mut painter = Painter::new(w, h, FrameRate::new(50, 1).expect("good rate"));
        let data = painter.weave(88_000_000_026).to_vec();
        for field in 0..2 {
            let rows: Vec<u8> = data[..w * h].chunks(w).skip(field).step_by(2).flatten().copied().collect();
            let reading = code::read(Luma { data: &rows, width: w, height: h / 2, stride: w });
            let number = (88_000_000_026 + field as u64) as u32;
            assert_eq!(reading, Reading::Code(Code { number, rate: 6 }), "field {field}");
        }
        assert_eq!(data.len(), w * h * 3 / 2);
    }

    #[test]
    fn the_first_picture_of_a_second_flashes_and_no_other() {
        let (w, h) = (320, 180);
        let rate = FrameRate::new(30000, 1001).expect("good rate");
        let mut painter = Painter::new(w, h, rate);
        let first = index_at(1_700_000_000 * 90_000, rate);
        let flashes: Vec<bool> = (first - 1..first + 20).map(|k| painter.paint(k)[5 * w + w / 2] == 235).collect();
        assert_eq!(flashes.iter().filter(|&&f| f).count(), 1, "{flashes:?}");
        assert!(flashes[1], "{flashes:?}");
    }
}
