//! Streams shaped like those of real multiplexers, two copies of them that suffer, and what a merge makes of these.
//!
//! The shapes are those of ffmpeg 5.1 (`-f mpegts`, UDP, `pkt_size=1316`): a frame ends its datagram, all datagrams of a frame leave at
//! once, and with `-muxrate` null packets and packets of PCR alone fill the time between frames.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::testing::{AUDIO, Arrival, Chance, MAP, VIDEO, pid, table};
use crate::wire::ts::{NULL_PID, PACKET_BYTES};

/// How a multiplexer fills the time between pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Not at all: pictures leave in bursts.
    Bursts,
    /// With null packets, at a constant rate.
    Nulls,
    /// With filler NAL units in the pictures' own packets, which look alike after 16, at a constant rate.
    Filler,
}

/// Time a packet takes at a constant rate, µs: 3 Mbit/s.
const PACKET: i64 = 501;
/// Between pictures, and between frames of sound, µs.
const PICTURE: i64 = 40_000;
const SOUND: i64 = 21_333;

/// A stream: its packets, and the datagrams they leave in, each with its time in µs.
#[derive(Debug, Default)]
pub struct Stream {
    pub packets: Vec<Bytes>,
    pub datagrams: Vec<(i64, std::ops::Range<usize>)>,
}

struct Mux {
    chance: Chance,
    counters: BTreeMap<u16, u8>,
    stream: Stream,
    from: usize,
    now: i64,
    shape: Shape,
}

/// What fills a packet.
#[derive(Clone, Copy)]
enum Fill {
    Chance,
    /// The same bytes each time: digital silence.
    Silence,
    Ones,
}

impl Stream {
    pub fn new(shape: Shape, seed: u64, seconds: i64) -> Self {
        let stream = Self::default();
        let mut mux = Mux { chance: Chance::new(seed), counters: BTreeMap::new(), stream, from: 0, now: 0, shape };
        let (mut picture, mut sound, mut tables, mut clock) = (0, 10_000, 0, 0);
        while mux.now < seconds * 1_000_000 {
            let next = picture.min(sound);
            if mux.now < next && shape == Shape::Bursts {
                mux.now = next;
            }
            if mux.now < next {
                // Nothing to send but what keeps the rate.
                match shape {
                    _ if mux.now >= clock => {
                        clock = mux.now + 20_000;
                        mux.put(VIDEO, true, false, Fill::Ones);
                    }
                    Shape::Filler => mux.put(VIDEO, false, true, Fill::Ones),
                    _ => mux.put(NULL_PID, false, true, Fill::Ones),
                }
                continue;
            }
            mux.flush();
            if mux.now >= tables {
                tables = mux.now + 100_000;
                mux.tables();
            }
            if picture <= sound {
                let key = picture % (25 * PICTURE) == 0;
                let size = if key { 50 + mux.chance.below(20) } else { 1 + mux.chance.below(30) };
                (picture, clock) = (picture + PICTURE, mux.now + 20_000);
                for n in 0..size {
                    mux.put(VIDEO, n == 0, true, Fill::Chance);
                }
            } else {
                sound += SOUND;
                for n in 0..3 {
                    mux.put(AUDIO, false, true, if n == 0 { Fill::Chance } else { Fill::Silence });
                }
            }
            mux.flush();
        }
        mux.flush();
        mux.stream
    }
}

impl Mux {
    fn tables(&mut self) {
        let programmes = table(0, &[0, 1, 0xe0 | (MAP >> 8) as u8, MAP as u8]);
        let streams = [[0x1b, 0xe1, 0x00, 0xf0, 0], [0x0f, 0xe1, 0x01, 0xf0, 0]].concat();
        let map = table(2, &[&[0xe0 | (VIDEO >> 8) as u8, VIDEO as u8, 0xf0, 0][..], &streams].concat());
        for (pid, section) in [(0, programmes), (MAP, map)] {
            let mut packet = self.head(pid, true);
            packet[1] |= 0x40;
            packet.push(0);
            packet.extend(section);
            self.push(packet, Fill::Ones);
        }
    }

    fn put(&mut self, pid: u16, clock: bool, payload: bool, fill: Fill) {
        let mut packet = self.head(pid, payload);
        if clock {
            packet[3] |= 0x20;
            let base = (self.now * 9 / 100) as u64 & ((1 << 33) - 1);
            let length = if payload { 7 } else { (PACKET_BYTES - 5) as u8 };
            let low = (base << 7) as u8 | 0x7e;
            let bytes = [(base >> 25) as u8, (base >> 17) as u8, (base >> 9) as u8, (base >> 1) as u8];
            packet.extend([length, 0x10]);
            packet.extend(bytes);
            packet.extend([low, 0]);
        }
        self.push(packet, fill);
    }

    fn head(&mut self, pid: u16, payload: bool) -> Vec<u8> {
        let counter = self.counters.entry(pid).or_insert(15);
        if pid != NULL_PID && payload {
            *counter = (*counter + 1) & 0x0f;
        }
        let counter = if pid == NULL_PID { 0 } else { *counter };
        vec![0x47, (pid >> 8) as u8, pid as u8, if payload { 0x10 } else { 0 } | counter]
    }

    fn push(&mut self, mut packet: Vec<u8>, fill: Fill) {
        let mut n: u32 = 0;
        while packet.len() < PACKET_BYTES {
            n = n.wrapping_mul(31) + 7;
            packet.push(match fill {
                Fill::Chance => self.chance.below(256) as u8,
                Fill::Silence => (n >> 3) as u8,
                Fill::Ones => 0xff,
            });
        }
        self.stream.packets.push(Bytes::from(packet));
        if self.stream.packets.len() - self.from == 7 {
            self.flush();
        }
        self.now += if self.shape == Shape::Bursts { 0 } else { PACKET };
    }

    fn flush(&mut self) {
        let end = self.stream.packets.len();
        if end > self.from {
            let at = self.stream.datagrams.last().map_or(0, |(last, _)| last + 3).max(self.now);
            self.stream.datagrams.push((at, self.from..end));
            self.from = end;
        }
    }
}

/// The datagrams of the second path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// Those of the first.
    Same,
    /// Others, of so many packets.
    Of(usize),
    /// Those of the first, and what is left of them divided anew, as a payloader does: a datagram may have packets from both sides of a loss.
    Anew(usize),
}

/// What two copies of a stream go through.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub shape: Shape,
    /// Datagrams that either path loses, of a hundred.
    pub loss: u64,
    pub division: Division,
    pub skew_ms: i64,
    pub jitter_micros: u64,
    /// This path is cut for three seconds, and comes back with that skew; losses go on at once.
    pub cut: Option<(usize, i64)>,
    pub seconds: i64,
}

/// Nothing is lost before.
const WHOLE: i64 = 1_500_000;
/// When a cut begins and ends.
const CUT: (i64, i64) = (4_000_000, 7_000_000);

/// What arrives of two copies. No packet is lost on both.
pub fn arrivals(stream: &Stream, way: &Way, seed: u64) -> Vec<Arrival> {
    let mut chance = Chance::new(seed ^ 0x1234_5678);
    let mut time = vec![0; stream.packets.len()];
    stream.datagrams.iter().for_each(|(at, range)| time[range.clone()].fill(*at));
    let first: Vec<_> = stream.datagrams.iter().map(|(_, range)| range.clone()).collect();
    let second = match way.division {
        Division::Same | Division::Anew(_) => first.clone(),
        Division::Of(size) => (0..time.len()).step_by(size).map(|n| n..time.len().min(n + size)).collect(),
    };
    let legs = [first, second];
    let mut has = [vec![true; time.len()], vec![true; time.len()]];
    if let Some((path, _)) = way.cut {
        let gone = |n: &usize| (CUT.0..CUT.1).contains(&time[*n]);
        // Whole datagrams.
        for range in legs[path].iter().filter(|range| gone(&(range.end - 1))) {
            has[path][range.clone()].fill(false);
        }
    }
    // What is on its way when a path is cut has no copy then.
    let spared = |at: i64| at < WHOLE || way.cut.is_some() && (CUT.0 - 600_000..CUT.1).contains(&at);
    let mut order: Vec<(usize, u64, usize, usize)> = Vec::new();
    for (path, leg) in legs.iter().enumerate() {
        order.extend(leg.iter().enumerate().map(|(n, range)| (range.start, chance.below(2), path, n)));
    }
    order.sort_unstable();
    for (_, _, path, n) in order {
        let range = legs[path][n].clone();
        if !spared(time[range.start]) && chance.percent(way.loss) && has[1 - path][range.clone()].iter().all(|has| *has)
        {
            has[path][range].fill(false);
        }
    }
    let mut arrivals = Vec::new();
    for (path, leg) in legs.iter().enumerate() {
        let left: Vec<_> = leg.iter().filter(|range| has[path][range.start]).cloned().flatten().collect();
        let divided: Vec<Vec<usize>> = match way.division {
            Division::Anew(size) if path == 1 => left.chunks(size).map(Vec::from).collect(),
            _ => leg.iter().filter(|range| has[path][range.start]).map(|range| range.clone().collect()).collect(),
        };
        let mut last = 0;
        for datagram in divided {
            let sent = datagram.last().map_or(0, |n| time[*n]);
            let back = way.cut.filter(|(cut, _)| *cut == path && sent >= CUT.1).map(|(_, skew)| skew);
            let skew = back.unwrap_or(if path == 1 { way.skew_ms } else { 0 });
            let at = (sent + skew * 1000 + chance.below(way.jitter_micros + 1) as i64).max(last + 1);
            last = at;
            let packets: Vec<&[u8]> = datagram.iter().map(|n| &stream.packets[*n][..]).collect();
            arrivals.push((at, path, None, Bytes::from(packets.concat())));
        }
    }
    arrivals
}

/// Whether what came out is what went in: no packet of any PID missing, none twice, each PID in order. Null packets are counted: never more than
/// there were, and so many fewer at most.
pub fn compare(got: &[Bytes], want: &[Bytes], nulls_fewer: usize) -> Result<(), String> {
    let mut lists: HashMap<u16, [Vec<&Bytes>; 2]> = HashMap::new();
    for (at, list) in [got, want].into_iter().enumerate() {
        list.iter().for_each(|packet| lists.entry(pid(packet)).or_default()[at].push(packet));
    }
    let mut lists: Vec<_> = lists.into_iter().collect();
    lists.sort_by_key(|(pid, _)| *pid);
    for (pid, [got, want]) in lists {
        if pid == NULL_PID {
            if got.len() > want.len() || got.len() + nulls_fewer < want.len() {
                return Err(format!("{} of {} null packets", got.len(), want.len()));
            }
        } else if got != want {
            let at = got.iter().zip(&want).take_while(|(g, w)| g == w).count();
            let tell = |list: &[&Bytes]| -> Vec<u8> {
                list.iter().skip(at.saturating_sub(2)).take(8).map(|p| p[3] & 15).collect()
            };
            let (ours, theirs) = (tell(&got), tell(&want));
            return Err(format!(
                "PID {pid:#x}: {} of {} packets; from {at} on {ours:?}, want {theirs:?}",
                got.len(),
                want.len()
            ));
        }
    }
    Ok(())
}
