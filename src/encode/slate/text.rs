//! Text as a layer that is laid over pictures: drawn once, applied to each.

use std::ops::Range;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::Colour;
use super::font::{RISE, is_combining, strokes};

const INK: Colour = [226, 127, 129];
const SHADE: Colour = [16, 128, 128];
const ACCENT: Colour = [143, 138, 60];

/// Longest line of text, characters; longer ones are broken between words.
const LINE_MAX: usize = 26;
/// Lines that are shown at most.
const LINES_MAX: usize = 4;
/// A letter is 4 units wide and 6 tall; the next one begins 6 further, the next line 12 below.
const ADVANCE: f32 = 6.0;
const PITCH: f32 = 12.0;

/// What is under the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Our own background: letters stand in the middle of it, above a bar.
    Plain,
    /// Somebody's picture: letters stand in its lower part, on a shade that parts them from whatever is there.
    Picture,
}

/// Text, ready to be laid over I420 pictures of one size. Empty text changes nothing.
#[derive(Debug)]
pub struct Layer {
    planes: [Plane; 3],
}

/// The rows of one plane that are changed: out = under × `keep` + `add`.
#[derive(Debug)]
struct Plane {
    rows: Range<usize>,
    width: usize,
    keep: Vec<f32>,
    add: Vec<f32>,
}

impl Layer {
    /// Draws `text` for pictures of this size. Sides are even.
    pub fn new(text: &str, ground: Ground, width: usize, height: usize) -> Self {
        let canvas = draw(text, ground, width, height);
        Self { planes: [0, 1, 2].map(|i| canvas.plane(i)) }
    }

    /// Lays the text over a picture.
    pub fn apply(&self, frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>) -> Result<(), gst::glib::BoolError> {
        for (plane, index) in self.planes.iter().zip(0u32..) {
            let stride = frame.plane_stride()[index as usize].unsigned_abs() as usize;
            let data = frame.plane_data_mut(index).map_err(|_| gst::glib::bool_error!("no plane"))?;
            plane.apply(data, stride);
        }
        Ok(())
    }
}

impl Plane {
    fn apply(&self, data: &mut [u8], stride: usize) {
        let lines = data.chunks_mut(stride).skip(self.rows.start).take(self.rows.len());
        for ((line, keep), add) in lines.zip(self.keep.chunks(self.width)).zip(self.add.chunks(self.width)) {
            for ((value, keep), add) in line.iter_mut().zip(keep).zip(add) {
                *value = (f32::from(*value) * keep + add).round() as u8;
            }
        }
    }
}

/// 4:4:4, so that strokes are painted once. A pixel is its colours, times how much they cover, and what of the ground shows.
struct Canvas {
    width: usize,
    /// The rows that are there.
    rows: Range<usize>,
    pixels: Vec<[f32; 4]>,
}

impl Canvas {
    /// Paints a stroke with round ends and soft edges.
    fn stroke(&mut self, (x0, y0): (f32, f32), (x1, y1): (f32, f32), radius: f32, colour: Colour, strength: f32) {
        let reach = radius + 1.0;
        let range = |a: f32, b: f32, within: Range<usize>| {
            ((a.min(b) - reach).max(0.0) as usize).max(within.start)
                ..((a.max(b) + reach + 1.0).max(0.0) as usize).min(within.end)
        };
        let (dx, dy) = (x1 - x0, y1 - y0);
        let length = dx * dx + dy * dy;
        for y in range(y0, y1, self.rows.clone()) {
            for x in range(x0, x1, 0..self.width) {
                let (px, py) = (x as f32 + 0.5 - x0, y as f32 + 0.5 - y0);
                let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
                let (ex, ey) = (px - along * dx, py - along * dy);
                let cover = (radius + 0.5 - (ex * ex + ey * ey).sqrt()).clamp(0.0, 1.0) * strength;
                let pixel = &mut self.pixels[(y - self.rows.start) * self.width + x];
                for (value, colour) in pixel.iter_mut().zip(colour) {
                    *value += (f32::from(colour) - *value) * cover;
                }
                pixel[3] *= 1.0 - cover;
            }
        }
    }

    fn plane(&self, index: usize) -> Plane {
        let step = if index == 0 { 1 } else { 2 };
        let (width, rows) = (self.width / step, self.rows.start / step..self.rows.end / step);
        let mut plane = Plane { rows: rows.clone(), width, keep: Vec::new(), add: Vec::new() };
        for row in 0..rows.len() {
            for column in 0..width {
                let (mut keep, mut add) = (0.0, 0.0);
                for y in row * step..(row + 1) * step {
                    for pixel in &self.pixels[y * self.width + column * step..][..step] {
                        keep += pixel[3];
                        add += pixel[index];
                    }
                }
                let count = (step * step) as f32;
                plane.keep.push(keep / count);
                plane.add.push(add / count);
            }
        }
        plane
    }
}

fn draw(text: &str, ground: Ground, width: usize, height: usize) -> Canvas {
    let lines = lines_of(text);
    if lines.is_empty() {
        return Canvas { width, rows: 0..0, pixels: Vec::new() };
    }
    let longest = lines.iter().map(|line| width_of(line)).max().unwrap_or(0).max(12);
    let unit = (width as f32 * 0.8 / (longest as f32 * ADVANCE)).min(height as f32 / 70.0);
    let block = lines.len() as f32 * PITCH - 6.0;
    let top = match ground {
        Ground::Plain => height as f32 / 2.0 - block * unit / 2.0,
        Ground::Picture => height as f32 * 0.9 - block * unit,
    };
    // Accents above, descenders and the bar below, and the strokes' own width.
    let even = |y: f32| (y.clamp(0.0, height as f32) / 2.0) as usize * 2;
    let rows = even(top - (RISE + 3.0) * unit)..(even(top + (block + 9.0) * unit) + 2).min(height);
    let mut canvas = Canvas { width, pixels: vec![[0.0, 0.0, 0.0, 1.0]; rows.len() * width], rows };
    let strokes = place(&lines, unit, (width as f32 / 2.0, top));
    if ground == Ground::Picture {
        for (from, to) in &strokes {
            canvas.stroke(*from, *to, unit * 1.3, SHADE, 0.35);
        }
    }
    for (from, to) in &strokes {
        canvas.stroke(*from, *to, unit * 0.42, INK, 1.0);
    }
    if ground == Ground::Plain {
        let bar = top + (block + 7.0) * unit;
        let (centre, half) = (width as f32 / 2.0, unit * 14.0);
        canvas.stroke((centre - half, bar), (centre + half, bar), unit * 0.5, ACCENT, 1.0);
    }
    canvas
}

/// Every stroke of the text, in pixels.
fn place(lines: &[String], unit: f32, (centre, top): (f32, f32)) -> Vec<((f32, f32), (f32, f32))> {
    let mut all = Vec::new();
    for (row, line) in lines.iter().enumerate() {
        let left = centre - (width_of(line) as f32 * ADVANCE - 2.0) * unit / 2.0;
        let (mut column, mut before) = (0, None);
        for letter in line.chars() {
            if !is_combining(letter) && before.is_some() {
                column += 1;
            }
            let at = |(x, y): (f32, f32)| {
                (left + (column as f32 * ADVANCE + x) * unit, top + (row as f32 * PITCH + y) * unit)
            };
            for stroke in strokes(letter, before) {
                all.extend(stroke.windows(2).map(|pair| (at(pair[0]), at(pair[1]))));
            }
            if !is_combining(letter) {
                before = Some(letter);
            }
        }
    }
    all
}

fn width_of(line: &str) -> usize {
    line.chars().filter(|c| !is_combining(*c)).count()
}

fn lines_of(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut fresh = true;
        for word in paragraph.split_whitespace() {
            let word: String = word.chars().take(LINE_MAX).collect();
            match lines.last_mut() {
                Some(line) if !fresh && width_of(line) + 1 + width_of(&word) <= LINE_MAX => {
                    line.push(' ');
                    line.push_str(&word);
                }
                _ => lines.push(word),
            }
            fresh = false;
        }
    }
    lines.truncate(LINES_MAX);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(lines_of("We will be right back with more news"), ["We will be right back with", "more news"]);
        assert_eq!(lines_of("Störung\nWir sind gleich zurück"), ["Störung", "Wir sind gleich zurück"]);
        assert_eq!(lines_of(" \n "), [] as [&str; 0]);
        assert_eq!(lines_of(&"x".repeat(100)), ["x".repeat(26)]);
    }

    #[test]
    fn letters_are_drawn_inside_the_picture_and_show() {
        for ground in [Ground::Plain, Ground::Picture] {
            for (width, height) in [(1280, 720), (320, 180), (64, 64)] {
                let name = format!("{ground:?} {width}×{height}");
                let bright = |text| draw(text, ground, width, height).pixels.iter().filter(|p| p[0] > 180.0).count();
                assert_eq!(bright(""), 0, "{name}");
                assert!(bright("Äh, we’ll be back! 0123456789") > width / 8, "{name}");
                let rows = draw("A\nB\nC\nÅg", ground, width, height).rows;
                assert!(
                    rows.end <= height && [rows.start, rows.end].iter().all(|y| y.is_multiple_of(2)),
                    "{name}: {rows:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_covered_stays_as_it_was() {
        let layer = Layer::new("x", Ground::Picture, 64, 64);
        let luma = &layer.planes[0];
        let mut data: Vec<u8> = (0..64 * 64).map(|i| (i % 251) as u8).collect();
        let before = data.clone();
        luma.apply(&mut data, 64);
        let changed = data.iter().zip(&before).filter(|(a, b)| a != b).count();
        assert!((1..64 * 64 / 4).contains(&changed), "{changed} pixels");
        assert_eq!(data[..luma.rows.start * 64], before[..luma.rows.start * 64]);
    }
}
