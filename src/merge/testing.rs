//! A source with several PIDs, copies of it that suffer, and what a merge makes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::wire::ts::{NULL_PID, PACKET_BYTES, crc32};

pub const VIDEO: u16 = 0x100;
pub const AUDIO: u16 = 0x101;
pub const DATA: u16 = 0x102;
pub const MAP: u16 = 0x1000;

/// Time a packet takes, µs: 5 Mbit/s.
pub const PACKET_MICROS: i64 = 300;
/// Time seven of them take.
pub const DATAGRAM_MICROS: i64 = 7 * PACKET_MICROS;

/// xorshift64*.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit
    }

    pub fn percent(&mut self, of: u64) -> bool {
        self.below(100) < of
    }
}

/// Writes a stream of pictures, sound, data, tables and null packets, the PCR true to the time of sending.
pub struct Source {
    chance: Chance,
    counters: BTreeMap<u16, u8>,
    sent: i64,
    /// PCR of the first packet, µs.
    pub clock: i64,
    /// There are packets of filling, which look alike, among those of the pictures.
    pub fills: bool,
    /// So many are to come.
    filling: u64,
}

impl Source {
    pub fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            counters: BTreeMap::new(),
            sent: 0,
            clock: 5_000_000,
            fills: false,
            filling: 0,
        }
    }

    pub fn packets(&mut self, count: usize) -> Vec<Bytes> {
        (0..count).map(|_| self.packet()).collect()
    }

    fn packet(&mut self) -> Bytes {
        let n = self.sent;
        self.sent += 1;
        if n % 300 == 0 {
            return self.write(0, None, Some(&table(0, &[0, 1, 0xe0 | (MAP >> 8) as u8, MAP as u8])));
        }
        if n % 300 == 1 {
            let stream = |kind: u8, pid: u16| [kind, 0xe0 | (pid >> 8) as u8, pid as u8, 0xf0, 0];
            let pcr = [0xe0 | (VIDEO >> 8) as u8, VIDEO as u8, 0xf0, 0];
            let body = [&pcr[..], &stream(0x1b, VIDEO), &stream(0x0f, AUDIO), &stream(0x86, DATA)].concat();
            return self.write(MAP, None, Some(&table(2, &body)));
        }
        // Every datagram has a packet of the pictures.
        if n % 7 == 3 {
            let clock = (n % 70 == 3).then_some(self.clock + n * PACKET_MICROS);
            return self.write(VIDEO, clock, None);
        }
        match self.chance.below(100) {
            0..70 => self.write(VIDEO, None, None),
            70..80 => self.write(AUDIO, None, None),
            80 => self.write(DATA, None, None),
            _ => self.write(NULL_PID, None, None),
        }
    }

    fn write(&mut self, pid: u16, pcr: Option<i64>, section: Option<&[u8]>) -> Bytes {
        let mut out = vec![0x47, (pid >> 8) as u8, pid as u8, 0x10];
        if pid != NULL_PID {
            let counter = self.counters.entry(pid).or_insert(0);
            out[3] |= *counter;
            *counter = (*counter + 1) & 0x0f;
        }
        if let Some(section) = section {
            out[1] |= 0x40;
            out.push(0);
            out.extend(section);
        }
        if let Some(micros) = pcr {
            out[3] |= 0x20;
            let base = (micros * 9 / 100) as u64 & ((1 << 33) - 1);
            let low = (base << 7) as u8 | 0x7e;
            out.extend([7, 0x10, (base >> 25) as u8, (base >> 17) as u8, (base >> 9) as u8, (base >> 1) as u8, low, 0]);
        }
        if pid == VIDEO && self.fills && self.filling == 0 && self.chance.below(2_000) == 0 {
            self.filling = 60;
        }
        let plain = section.is_some() || pid == NULL_PID || (pid == VIDEO && self.filling > 0);
        if pid == VIDEO {
            self.filling = self.filling.saturating_sub(1);
        }
        while out.len() < PACKET_BYTES {
            out.push(if plain { 0xff } else { self.chance.below(256) as u8 });
        }
        Bytes::from(out)
    }
}

pub fn table(id: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![id, 0xb0, body.len() as u8 + 9, 0, 1, 0xc1, 0, 0];
    out.extend(body);
    out.extend(crc32(&out).to_be_bytes());
    out
}

pub fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

/// Neither a null packet nor a table's.
pub fn told_apart(packet: &[u8]) -> bool {
    let pid = pid(packet);
    pid >= 0x20 && pid != MAP && pid != NULL_PID
}

/// What arrives: µs, path, header, bytes.
pub type Arrival = (i64, usize, Option<Rtp>, Bytes);

/// Datagrams of seven packets as they are sent: µs and bytes.
pub fn datagrams(packets: &[Bytes], from: i64) -> Vec<(i64, Bytes)> {
    let datagram = |(n, seven): (usize, &[Bytes])| (from + n as i64 * DATAGRAM_MICROS, Bytes::from(seven.concat()));
    packets.chunks(7).enumerate().map(datagram).collect()
}

pub fn rtp(ssrc: u32, number: usize) -> Option<Rtp> {
    Some(Rtp { ssrc, sequence: number as u16, timestamp: number as u32 * 189 })
}

pub struct Outcome {
    pub pieces: Vec<Merged>,
    pub news: Vec<News>,
    pub figures: Figures,
    pub start: Now,
}

impl Outcome {
    pub fn packets(&self) -> Vec<Bytes> {
        self.pieces
            .iter()
            .flat_map(|m| (0..m.data.len() / PACKET_BYTES).map(|n| m.data.slice(n * 188..n * 188 + 188)))
            .collect()
    }

    /// Packets that can be told apart.
    pub fn told_apart(&self) -> Vec<Bytes> {
        self.packets().into_iter().filter(|p| told_apart(p)).collect()
    }
}

/// Feeds a merge in the order of arrival, asking it whenever it wants to be asked, and until it is empty.
pub fn run(paths: usize, window_ms: u64, mut arrivals: Vec<Arrival>) -> Outcome {
    arrivals.sort_by_key(|(at, path, ..)| (*at, *path));
    let start = crate::clock::now();
    let at = |micros: i64| start.after(Duration::from_micros(micros as u64));
    let mut merge = Merge::new(Config { paths, window: Duration::from_millis(window_ms) });
    let (mut pieces, mut news): (Vec<Merged>, Vec<News>) = (Vec::new(), Vec::new());
    let end = arrivals.last().map_or(0, |last| last.0);
    let mut pop_until = |merge: &mut Merge, now: Now| {
        loop {
            let wake = merge.wake_at().filter(|wake| wake.mono <= now.mono);
            let mut any = false;
            while let Some(piece) = merge.pop(wake.unwrap_or(now)) {
                assert!(piece.arrival.mono <= now.mono, "given out before its time");
                assert!(pieces.last().is_none_or(|last| last.arrival.mono <= piece.arrival.mono), "time fell");
                pieces.push(piece);
                any = true;
            }
            if !any {
                break;
            }
        }
        news.extend(merge.news());
    };
    for (micros, path, rtp, data) in arrivals {
        pop_until(&mut merge, at(micros));
        merge.push(path, at(micros), rtp, &data);
    }
    let figures = merge.figures(at(end));
    for later in (0..2 * window_ms as i64 + 200).step_by(5) {
        pop_until(&mut merge, at(end + later * 1000));
    }
    Outcome { pieces, news, figures, start }
}

/// Where two lists begin to differ, for messages.
pub fn difference(got: &[Bytes], want: &[Bytes]) -> Option<String> {
    if got == want {
        return None;
    }
    let at = got.iter().zip(want).take_while(|(g, w)| g == w).count();
    let tell = |list: &[Bytes]| -> Vec<String> {
        list.iter().skip(at.saturating_sub(2)).take(8).map(|p| format!("{:x}/{}", pid(p), p[3] & 15)).collect()
    };
    Some(format!("{} of {} given; from {at} on got {:?}, want {:?}", got.len(), want.len(), tell(got), tell(want)))
}
