//! The slate: what is shown when nothing can be received. Drawn once per job, without fonts or files, so that every host
//! draws the same.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::scale::{Picture, ScaleError, bt709, raw_info};

/// Serials of the slate and of black; decoded pictures count from 1.
const SERIAL: u64 = 0;
const BLACK_SERIAL: u64 = u64::MAX;

/// Limited-range BT.709 Y, Cb, Cr.
type Colour = [u8; 3];
const TOP: Colour = [34, 136, 124];
const BOTTOM: Colour = [20, 133, 126];
const INK: Colour = [226, 127, 129];
const ACCENT: Colour = [143, 138, 60];

/// Longest line of text, characters; longer ones are broken between words.
const LINE_MAX: usize = 26;
/// Lines that are shown at most.
const LINES_MAX: usize = 4;

/// Black at this size. Sides are even.
pub fn black(width: u32, height: u32) -> Result<Picture, ScaleError> {
    let make = || {
        let info = raw_info(gst_video::VideoFormat::I420, width, height, gst::Fraction::new(1, 1), &bt709())?;
        let mut buffer = gst::Buffer::with_size(info.size())?;
        let luma = info.offset()[1];
        let mut map = buffer.get_mut().expect("just made").map_writable()?;
        map[..luma].fill(16);
        map[luma..].fill(128);
        drop(map);
        Ok(Picture { serial: BLACK_SERIAL, buffer, info })
    };
    make().map_err(|source| ScaleError::new(width, height, source))
}

/// The slate with this text at this size. Sides are even.
pub fn picture(text: &str, width: u32, height: u32) -> Result<Picture, ScaleError> {
    let make = || {
        let info = raw_info(gst_video::VideoFormat::I420, width, height, gst::Fraction::new(1, 1), &bt709())?;
        let mut buffer = gst::Buffer::with_size(info.size())?;
        {
            let target = buffer.get_mut().expect("just made");
            let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(target, &info)?;
            let canvas = draw(text, width as usize, height as usize);
            store(&canvas, &mut frame)?;
        }
        Ok(Picture { serial: SERIAL, buffer, info })
    };
    make().map_err(|source| ScaleError::new(width, height, source))
}

/// 4:4:4, so that strokes are painted once.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// Paints a stroke with round ends and soft edges.
    fn stroke(&mut self, (x0, y0): (f32, f32), (x1, y1): (f32, f32), radius: f32, colour: Colour) {
        let reach = radius + 1.0;
        let range = |a: f32, b: f32, end: usize| {
            ((a.min(b) - reach).max(0.0) as usize)..((a.max(b) + reach + 1.0).max(0.0) as usize).min(end)
        };
        let (dx, dy) = (x1 - x0, y1 - y0);
        let length = dx * dx + dy * dy;
        for y in range(y0, y1, self.height) {
            for x in range(x0, x1, self.width) {
                let (px, py) = (x as f32 + 0.5 - x0, y as f32 + 0.5 - y0);
                let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
                let (ex, ey) = (px - along * dx, py - along * dy);
                let cover = (radius + 0.5 - (ex * ex + ey * ey).sqrt()).clamp(0.0, 1.0);
                let pixel = &mut self.pixels[y * self.width + x];
                *pixel = std::array::from_fn(|i| mix(pixel[i], colour[i], cover));
            }
        }
    }
}

fn mix(from: u8, to: u8, share: f32) -> u8 {
    (f32::from(from) + (f32::from(to) - f32::from(from)) * share).round() as u8
}

fn draw(text: &str, width: usize, height: usize) -> Canvas {
    let row = |y: usize| -> Colour {
        let share = y as f32 / height as f32;
        std::array::from_fn(|i| mix(TOP[i], BOTTOM[i], share))
    };
    let pixels = (0..height).flat_map(|y| std::iter::repeat_n(row(y), width)).collect();
    let mut canvas = Canvas { width, height, pixels };
    let lines = lines_of(text);
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).max(12);
    // Letters are 4 units wide and 6 tall, 6 apart; a line takes 11.
    let unit = (width as f32 * 0.8 / (longest as f32 * 6.0)).min(height as f32 / 70.0);
    let block = lines.len() as f32 * 11.0 - 5.0;
    let top = height as f32 / 2.0 - block * unit / 2.0;
    for (i, line) in lines.iter().enumerate() {
        let left = width as f32 / 2.0 - (line.chars().count() as f32 * 6.0 - 2.0) * unit / 2.0;
        for (n, letter) in line.chars().enumerate() {
            let place = |(x, y): (f32, f32)| (left + (n as f32 * 6.0 + x) * unit, top + (i as f32 * 11.0 + y) * unit);
            for points in strokes(letter) {
                let points: Vec<(f32, f32)> = points.into_iter().map(place).collect();
                for pair in points.windows(2) {
                    canvas.stroke(pair[0], pair[1], unit * 0.42, INK);
                }
            }
        }
    }
    let bar = top + (block + 6.0) * unit;
    let (centre, half) = (width as f32 / 2.0, unit * 14.0);
    canvas.stroke((centre - half, bar), (centre + half, bar), unit * 0.5, ACCENT);
    canvas
}

fn lines_of(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word: String = word.to_uppercase().chars().take(LINE_MAX).collect();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LINE_MAX => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines.truncate(LINES_MAX);
    lines
}

/// A letter's strokes in units, 0 to 4 across and 0 to 6 down.
fn strokes(letter: char) -> Vec<Vec<(f32, f32)>> {
    let table = match letter {
        'A' => "06 20 46|14 34",
        'B' => "00 06 36 45 44 33 03|33 42 41 30 00",
        'C' => "41 30 10 01 05 16 36 45",
        'D' => "00 06 26 44 42 20 00",
        'E' => "40 00 06 46|03 33",
        'F' => "40 00 06|03 33",
        'G' => "41 30 10 01 05 16 36 45 43 23",
        'H' => "00 06|40 46|03 43",
        'I' => "10 30|20 26|16 36",
        'J' => "40 45 36 16 05",
        'K' => "00 06|40 03 46",
        'L' => "00 06 46",
        'M' => "06 00 23 40 46",
        'N' => "06 00 46 40",
        'O' => "10 30 41 45 36 16 05 01 10",
        'P' => "06 00 30 41 42 33 03",
        'Q' => "10 30 41 45 36 16 05 01 10|34 46",
        'R' => "06 00 30 41 42 33 03|23 46",
        'S' => "41 30 10 01 02 13 33 44 45 36 16 05",
        'T' => "00 40|20 26",
        'U' => "00 05 16 36 45 40",
        'V' => "00 26 40",
        'W' => "00 16 22 36 40",
        'X' => "00 46|40 06",
        'Y' => "00 23 40|23 26",
        'Z' => "00 40 06 46",
        '0' => "10 30 41 45 36 16 05 01 10|32 14",
        '1' => "11 20 26|16 36",
        '2' => "01 10 30 41 42 06 46",
        '3' => "01 10 30 41 42 33 23|33 44 45 36 16 05",
        '4' => "36 30 04 44",
        '5' => "40 00 03 33 44 45 36 16 05",
        '6' => "41 30 10 01 05 16 36 45 44 33 13 04",
        '7' => "00 40 16",
        '8' => "10 30 41 42 33 13 02 01 10|13 04 05 16 36 45 44 33",
        '9' => "42 33 13 02 01 10 30 41 45 36 16 05",
        '.' | '·' => "26 26",
        ',' => "25 17",
        ':' => "22 22|25 25",
        '!' => "20 24|26 26",
        '?' => "01 10 30 41 42 23 24|26 26",
        '-' | '–' | '—' => "13 33",
        '+' => "13 33|22 24",
        '/' => "06 40",
        '\'' | '’' => "20 21",
        '(' => "30 21 25 36",
        ')' => "10 21 25 16",
        ' ' => "",
        _ => "10 30 36 16 10",
    };
    let point = |p: &str| {
        let mut digits = p.bytes().map(|b| f32::from(b - b'0'));
        Some((digits.next()?, digits.next()?))
    };
    table.split('|').map(|stroke| stroke.split_whitespace().filter_map(point).collect()).collect()
}

/// 4:4:4 → I420.
fn store(
    canvas: &Canvas,
    frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
) -> Result<(), gst::glib::BoolError> {
    for plane in 0..3u32 {
        let step = if plane == 0 { 1 } else { 2 };
        let stride = frame.plane_stride()[plane as usize].unsigned_abs() as usize;
        let data = frame.plane_data_mut(plane).map_err(|_| gst::glib::bool_error!("no plane"))?;
        for (row, line) in data.chunks_mut(stride).take(canvas.height / step).enumerate() {
            for (column, value) in line.iter_mut().take(canvas.width / step).enumerate() {
                let mut sum = 0;
                for y in row * step..(row + 1) * step {
                    for x in column * step..(column + 1) * step {
                        sum += u32::from(canvas.pixels[y * canvas.width + x][plane as usize]);
                    }
                }
                let count = (step * step) as u32;
                *value = u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(lines_of("We will be right back with more news"), ["WE WILL BE RIGHT BACK WITH", "MORE NEWS"]);
        assert_eq!(lines_of(""), [] as [&str; 0]);
        assert_eq!(lines_of(&"x".repeat(100)), ["X".repeat(26)]);
    }

    #[test]
    fn letters_are_drawn_inside_the_picture_and_show() {
        for (width, height) in [(1280, 720), (320, 180), (64, 64)] {
            let bright = |text| draw(text, width, height).pixels.iter().filter(|p| p[0] > 180).count();
            assert_eq!(bright(""), 0, "{width}×{height}");
            assert!(bright("Ä WE'LL BE BACK! 0123456789") > width / 8, "{width}×{height}");
        }
    }
}
