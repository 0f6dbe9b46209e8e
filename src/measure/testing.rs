//! A healthy stream to plant faults in: 1,000 packets a second, of constant rate, all intervals well within what is allowed.

use std::time::Duration;

use super::*;
use crate::wire::ts::crc32;

pub const MAP: u16 = 0x1000;
pub const VIDEO: u16 = 0x100;
pub const AUDIO: u16 = 0x101;
pub const SPLICE: u16 = 0x102;

pub type Bytes = [u8; PACKET_BYTES];

/// One packet a millisecond; edit it, then [`Made::renumber`].
pub struct Made(pub Vec<Bytes>);

pub fn start() -> Now {
    Now { utc: Duration::from_secs(1_795_262_400), ..crate::clock::now() }
}

pub fn null() -> Bytes {
    packet(0x1fff, false, &[], 0)
}

/// A packet with this payload, stuffed with 0xff; an adaptation field of `field` bytes is left for the caller to fill.
pub fn packet(pid: u16, starts: bool, payload: &[u8], field: usize) -> Bytes {
    let mut out = [0xff; PACKET_BYTES];
    out[..4].copy_from_slice(&[0x47, (pid >> 8) as u8 | if starts { 0x40 } else { 0 }, pid as u8, 0x10]);
    let mut at = 4;
    if field > 0 {
        out[3] = 0x30;
        (out[4], out[5]) = (field as u8 - 1, 0);
        at += field;
    }
    let end = (at + payload.len()).min(PACKET_BYTES);
    out[at..end].copy_from_slice(&payload[..end - at]);
    out
}

/// A section in long syntax with its checksum, behind a pointer.
pub fn table(pid: u16, table_id: u8, extension: u16, body: &[u8]) -> Bytes {
    let mut section = vec![table_id];
    section.extend(((body.len() as u16 + 9) | 0xb000).to_be_bytes());
    section.extend(extension.to_be_bytes());
    section.extend([0xc1, 0, 0]);
    section.extend(body);
    section.extend(crc32(&section).to_be_bytes());
    packet(pid, true, &[&[0], &section[..]].concat(), 0)
}

pub fn pat() -> Bytes {
    table(0, 0, 1, &[0, 1, 0xe0 | (MAP >> 8) as u8, MAP as u8])
}

fn map() -> Bytes {
    let mut body = vec![0xe0 | (VIDEO >> 8) as u8, VIDEO as u8, 0xf0, 0];
    for (stream_type, pid) in [(0x1b, VIDEO), (0x0f, AUDIO), (0x86, SPLICE)] {
        body.extend([stream_type, 0xe0 | (pid >> 8) as u8, pid as u8, 0xf0, 0]);
    }
    table(MAP, 2, 1, &body)
}

fn pes(pid: u16, pts: u64, field: usize) -> Bytes {
    let stamp = [
        0x21 | (pts >> 29) as u8 & 0xe,
        (pts >> 22) as u8,
        (pts >> 14) as u8 | 1,
        (pts >> 7) as u8,
        (pts << 1) as u8 | 1,
    ];
    packet(
        pid,
        true,
        &[&[0, 0, 1, if pid == AUDIO { 0xc0 } else { 0xe0 }, 0, 0, 0x80, 0x80, 5], &stamp[..]].concat(),
        field,
    )
}

pub fn set_pcr(packet: &mut Bytes, pcr: u64) {
    let (base, extension) = (pcr / 300, pcr % 300);
    packet[5] = 0x10;
    packet[6..12].copy_from_slice(&[
        (base >> 25) as u8,
        (base >> 17) as u8,
        (base >> 9) as u8,
        (base >> 1) as u8,
        (base << 7) as u8 | 0x7e | (extension >> 8) as u8,
        extension as u8,
    ]);
}

/// PCR of the packet of this millisecond; it wraps after five seconds.
pub fn pcr_at(ms: usize) -> u64 {
    (super::pace::PCR_WRAP - 5 * HZ + ms as u64 * HZ / 1000) % super::pace::PCR_WRAP
}

impl Made {
    pub fn new(seconds: usize) -> Self {
        let one = |ms: usize| match (ms % 100, ms % 40) {
            (0, _) => pat(),
            (5, _) => map(),
            (_, 10) => {
                let mut first = pes(VIDEO, pcr_at(ms) / 300 + 9000, 8);
                set_pcr(&mut first, pcr_at(ms));
                first
            }
            (_, 11..=19) => packet(VIDEO, false, &[(ms % 251) as u8; 184], 0),
            (_, 30) => pes(AUDIO, pcr_at(ms) / 300 + 9000, 0),
            _ => null(),
        };
        let mut made = Self((0..seconds * 1000).map(one).collect());
        made.renumber();
        made
    }

    /// Counts anew, so that what was taken out leaves no hole.
    pub fn renumber(&mut self) {
        let mut next = [0u8; PIDS];
        for packet in &mut self.0 {
            let counter = &mut next[usize::from(pid(packet))];
            if packet[3] & 0x10 != 0 {
                packet[3] = packet[3] & 0xf0 | *counter;
                *counter = (*counter + 1) & 0x0f;
            } else {
                packet[3] = packet[3] & 0xf0 | (*counter + 15) & 0x0f;
            }
        }
    }

    /// The packets of a PID within these milliseconds.
    pub fn of(&mut self, of: u16, within: std::ops::Range<usize>) -> impl Iterator<Item = (usize, &mut Bytes)> {
        let end = within.end.min(self.0.len());
        let begin = within.start.min(end);
        self.0[begin..end].iter_mut().enumerate().filter(move |(_, p)| pid(p) == of).map(move |(at, p)| (begin + at, p))
    }

    /// Puts null packets in their place.
    pub fn remove(&mut self, of: u16, within: std::ops::Range<usize>) {
        self.of(of, within).for_each(|(_, p)| *p = null());
        self.renumber();
    }

    /// Measures it: each portion of seven packets arrives when its last one is due and `late` ms later.
    pub fn measure(&self, late: impl Fn(usize) -> u64) -> Measure {
        let (t0, mut measure) = (start(), Measure::default());
        let mut second = 1;
        for (n, portion) in self.0.chunks(7).enumerate() {
            let ms = (n * 7) as u64 + late(n * 7);
            while ms >= second * 1000 {
                measure.tick(t0.after(Duration::from_secs(second)));
                second += 1;
            }
            measure.push(t0.after(Duration::from_millis(ms)), &portion.concat());
        }
        measure.tick(t0.after(Duration::from_millis(second * 1000)));
        measure
    }
}

pub fn pid(packet: &Bytes) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

/// What was counted, by clause.
pub fn counted(measure: &Measure) -> Vec<(&'static str, u64)> {
    let all = Indicator::ALL.into_iter().map(|i| (i.clause(), measure.count(i)));
    all.filter(|&(_, count)| count > 0).collect()
}
