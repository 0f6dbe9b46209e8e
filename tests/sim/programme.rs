//! The programme that all contribution encoders send: frame *f* of picture, frame *a* of sound, as TS.
//!
//! In:    what the encoder is like, and its zero of time. Out: a chunk of TS for each frame time, the same to everybody.
//! Never: depends on who receives it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ts::{self, Mux};

/// Ticks of 90 kHz that a frame of picture and of sound last.
pub const FRAME_TICKS: u64 = 3600;
pub const SOUND_TICKS: u64 = 1920;
/// A frame of picture lasts so long, ms.
pub const FRAME_MS: u64 = 40;
const GOP: u64 = 25;
const WRAP: u64 = 1 << 33;

/// What the contribution encoders are like; all of a world's are alike.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Two B-pictures between references.
    pub b_pictures: bool,
    /// PES packets of video state their length.
    pub states_length: bool,
    /// Sound frames in a PES packet.
    pub sound_in_pes: u64,
}

/// One encoder's stream: its chunks as they were asked for.
#[derive(Debug)]
pub struct Stream {
    manner: Manner,
    /// PTS of frame 0.
    base: u64,
    mux: Mux,
    next: u64,
    /// Sound frames written.
    sound: u64,
    chunks: BTreeMap<u64, Bytes>,
}

impl Stream {
    /// A stream that begins with chunk `first` and whose frame 0 has this PTS.
    pub fn new(manner: Manner, base: u64, first: u64) -> Self {
        let sound = first * FRAME_TICKS / SOUND_TICKS / manner.sound_in_pes * manner.sound_in_pes;
        Self { manner, base, mux: Mux::default(), next: first, sound, chunks: BTreeMap::new() }
    }

    /// What is sent at frame time `index`; chunks of the last ten seconds are at hand.
    pub fn chunk(&mut self, index: u64) -> Bytes {
        while self.next <= index {
            let chunk = self.write(self.next);
            self.chunks.insert(self.next, chunk.into());
            self.chunks.remove(&self.next.saturating_sub(250));
            self.next += 1;
        }
        self.chunks.get(&index).cloned().unwrap_or_default()
    }

    fn write(&mut self, index: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if index.is_multiple_of(3) {
            self.mux.tables(&mut out);
        }
        let (frame, references, refers_to) = self.picture(index);
        let key = frame.is_multiple_of(GOP);
        let name = name(frame, references, &refers_to);
        let mut slice = if key { vec![0x65, 0x88] } else { vec![0x41, 0x9a] };
        slice.extend_from_slice(name.as_bytes());
        slice.resize(if key { 500 } else { 150 } + (frame % 90) as usize, 0xaa);
        let aud = [0x09, 0xf0];
        let unit = if key { ts::annexb(&[&aud, ts::SPS, ts::PPS, &slice]) } else { ts::annexb(&[&aud, &slice]) };
        // One frame of delay lets a B-picture be decoded before it is shown.
        let at = |frame_time: u64| (self.base + frame_time * FRAME_TICKS) % WRAP;
        self.mux.video(&mut out, at(frame + 1), at(index), self.manner.states_length, &unit);
        while (self.sound + self.manner.sound_in_pes) * SOUND_TICKS <= (index + 1) * FRAME_TICKS {
            let frames: Vec<u8> = (self.sound..self.sound + self.manner.sound_in_pes)
                .flat_map(|a| ts::adts(format!("sound {a}\n").as_bytes()))
                .collect();
            let pts = (self.base + FRAME_TICKS + self.sound * SOUND_TICKS) % WRAP;
            self.mux.audio(&mut out, pts, &frames);
            self.sound += self.manner.sound_in_pes;
        }
        out
    }

    /// The picture at a place of decoding order: which, whether others refer to it, and to which it refers.
    fn picture(&self, index: u64) -> (u64, bool, Vec<u64>) {
        let (key, place) = (index / GOP * GOP, index % GOP);
        if place == 0 {
            return (key, true, Vec::new());
        }
        if !self.manner.b_pictures {
            return (index, true, vec![index - 1]);
        }
        // I0 | P3 B1 B2 | P6 B4 B5 | … P24 B22 B23: closed, and ends with a reference.
        let (group, member) = ((place - 1) / 3, (place - 1) % 3);
        let (before, after) = (key + 3 * group, key + 3 * group + 3);
        match member {
            0 => (after, true, vec![before]),
            b => (before + b, false, vec![before, after]),
        }
    }
}

fn name(frame: u64, references: bool, refers_to: &[u64]) -> String {
    let refers: Vec<String> = refers_to.iter().map(u64::to_string).collect();
    let text = format!("picture {frame} {} {}", u8::from(references), refers.join(","));
    format!("{text} #{:08x}\n", checksum(text.as_bytes()) as u32)
}

/// A picture as a decoder finds it in an access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    pub frame: u64,
    pub references: bool,
    pub refers_to: Vec<u64>,
}

/// Reads an access unit; `None` where its text is not what was written.
pub fn read_picture(unit: &[u8]) -> Option<Coded> {
    let at = unit.windows(8).position(|w| w == b"picture ")?;
    let line = unit[at..].split(|&b| b == b'\n').next()?;
    let (text, sum) = std::str::from_utf8(line).ok()?.split_once(" #")?;
    if format!("{:08x}", checksum(text.as_bytes()) as u32) != sum {
        return None;
    }
    let mut words = text.split(' ').skip(1);
    let frame = words.next()?.parse().ok()?;
    let references = words.next()? == "1";
    let refers_to = words.next()?.split(',').filter_map(|w| w.parse().ok()).collect();
    Some(Coded { frame, references, refers_to })
}

/// Reads an ADTS frame.
pub fn read_sound(unit: &[u8]) -> Option<i64> {
    std::str::from_utf8(unit.get(7..)?).ok()?.strip_prefix("sound ")?.strip_suffix('\n')?.parse().ok()
}

/// FNV-1a, 64 bits.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}
