//! One path's packets, in the order in which they were sent.
//!
//! In:    bytes of one path as they arrive.
//! Out:   packets that can be told apart, each with the loose ones (null packets, tables) in front of it.
//! Never: looks at other paths.
//!
//! A datagram that does not go on where the path's continuity counters stand is held for a moment: another one that
//! fits in front of it may have been overtaken.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::super::Micros;
use crate::wire::ts::{Framer, NULL_PID, PACKET_BYTES, PAT_PID, Packet, PatSection, Section, SectionReader};

/// A datagram is held for so long, or half a window if that is less.
const HELD_FOR: Micros = 50_000;
/// Most datagrams that are held.
const HELD_MAX: usize = 64;
/// A datagram is overtaken by no more than so many: counters repeat, and more would be chance.
const OVERTAKEN_BY: usize = 4;
/// Datagrams in which a second copy is recognised.
const RECENT: usize = 32;
/// Most loose packets in front of one that is not: a second of nothing at 6 Mbit/s.
const LOOSE_MAX: usize = 4_096;

/// A null packet or one of a table's.
#[derive(Clone, Debug)]
pub(super) struct Loose {
    pub pid: u16,
    pub counter: u8,
    pub print: u64,
    pub packet: Bytes,
}

/// A packet that can be told from every other one nearby.
#[derive(Debug)]
pub(super) struct Element {
    pub packet: Bytes,
    pub pid: u16,
    pub counter: u8,
    /// It has payload, so its counter counts.
    pub counted: bool,
    /// How far the counter went since the path's packet before it, 0 to 15.
    pub step: u8,
    /// The path's own count of this PID, as far as 4 bits tell.
    pub index: i64,
    pub pcr: Option<u64>,
    pub arrival: Micros,
    /// The datagram it came in.
    pub unit: u64,
    pub loose: Vec<Loose>,
    /// Not to be used: it came before the path was found in the stream.
    pub dead: bool,
    /// Its place among those of its PID has been looked for on other paths.
    pub anchored: bool,
}

impl Element {
    /// Its payload is nothing but filling, and so the same as that of others.
    pub fn filling(&self) -> bool {
        let end = &self.packet[PACKET_BYTES - 64..];
        end.iter().all(|byte| *byte == end[0])
    }
}

#[derive(Debug)]
struct Parsed {
    print: u64,
    pid: u16,
    counter: u8,
    counted: bool,
    free: bool,
    pcr: Option<u64>,
    loose: bool,
    packet: Bytes,
}

#[derive(Debug)]
struct Datagram {
    arrival: Micros,
    print: u64,
    packets: Vec<Parsed>,
}

#[derive(Clone, Copy, Debug)]
struct Tail {
    counter: u8,
    index: i64,
}

/// What arrives on a path, put in order.
#[derive(Debug)]
pub(super) struct Reader {
    window: Micros,
    hasher: RandomState,
    framer: Framer,
    framing: bool,
    pat: SectionReader,
    /// PIDs of programme maps.
    pub maps: Vec<u16>,
    held: VecDeque<Datagram>,
    /// One that goes on nowhere. What comes next tells whether something is missing in front of it, or it was overtaken.
    stray: Option<Datagram>,
    /// Counters behind all that is held.
    ends: HashMap<u16, u8>,
    recent: VecDeque<u64>,
    tails: HashMap<u16, Tail>,
    loose: Vec<Loose>,
    units: u64,
    /// Packets that arrived, that arrived twice, and that cannot be used.
    pub packets: u64,
    pub duplicates: u64,
    pub unusable: u64,
}

impl Reader {
    pub fn new(window: Micros, hasher: RandomState) -> Self {
        Self {
            window,
            hasher,
            framer: Framer::default(),
            framing: false,
            pat: SectionReader::default(),
            maps: Vec::new(),
            held: VecDeque::new(),
            stray: None,
            ends: HashMap::new(),
            recent: VecDeque::new(),
            tails: HashMap::new(),
            loose: Vec::new(),
            units: 0,
            packets: 0,
            duplicates: 0,
            unusable: 0,
        }
    }

    /// Takes what arrived. `is_map` tells PIDs of programme maps that other paths know.
    pub fn push(&mut self, arrival: Micros, data: &Bytes, is_map: impl Fn(u16) -> bool) {
        let whole =
            data.len().is_multiple_of(PACKET_BYTES) && data.iter().step_by(PACKET_BYTES).all(|byte| *byte == 0x47);
        if whole && self.framer.buffered() == 0 {
            if std::mem::take(&mut self.framing) {
                self.framer = Framer::default();
            }
            // A datagram holds seven; larger portions are taken in pieces, so that what is held stays small.
            for piece in 0..data.len().div_ceil(PACKET_BYTES * 7) {
                let from = piece * PACKET_BYTES * 7;
                let piece = data.slice(from..data.len().min(from + PACKET_BYTES * 7));
                let packets =
                    (0..piece.len() / PACKET_BYTES).map(|n| piece.slice(n * PACKET_BYTES..(n + 1) * PACKET_BYTES));
                self.hold(arrival, packets.collect(), &is_map);
            }
            return;
        }
        self.framing = true;
        let mut rest = &data[..];
        while !rest.is_empty() {
            rest = self.framer.feed(rest);
            loop {
                let packets: Vec<Bytes> =
                    std::iter::from_fn(|| self.framer.next().map(|p| Bytes::copy_from_slice(p))).take(7).collect();
                if packets.is_empty() {
                    break;
                }
                self.hold(arrival, packets, &is_map);
            }
        }
    }

    fn hold(&mut self, arrival: Micros, packets: Vec<Bytes>, is_map: &impl Fn(u16) -> bool) {
        self.packets += packets.len() as u64;
        let parsed: Vec<Parsed> = packets.into_iter().filter_map(|packet| self.parse(packet, is_map)).collect();
        if parsed.is_empty() {
            return;
        }
        let print = self.hasher.hash_one(parsed.iter().map(|p| p.print).collect::<Vec<_>>());
        let datagram = Datagram { arrival, print, packets: parsed };
        let goes_on = follows(&self.ends, &datagram);
        if !goes_on
            && (self.recent.contains(&print) || self.held.iter().chain(&self.stray).any(|held| held.print == print))
        {
            self.duplicates += datagram.packets.len() as u64;
            return;
        }
        if !goes_on {
            if let Some(before) = self.stray.replace(datagram) {
                self.append(before);
            }
            // It may go on from the one that was not sure of its place.
            if let Some(stray) = self.stray.take_if(|stray| follows(&self.ends, stray)) {
                self.append(stray);
            }
            return;
        }
        let Some(stray) = self.stray.take() else { return self.append(datagram) };
        let mut ends = self.ends.clone();
        go_on(&mut ends, &datagram);
        if follows(&ends, &stray) {
            // They changed places.
            self.append(datagram);
            self.append(stray);
        } else if let Some(place) = self.overtaken(&stray) {
            self.held.insert(place, stray);
            self.append(datagram);
        } else {
            // It is chance that it goes on from there: packets are missing on both sides of the stray.
            self.append(stray);
            self.append(datagram);
        }
    }

    fn append(&mut self, datagram: Datagram) {
        go_on(&mut self.ends, &datagram);
        self.held.push_back(datagram);
    }

    /// Where among those held there is a gap that it fills.
    fn overtaken(&self, datagram: &Datagram) -> Option<usize> {
        let mut counters: HashMap<u16, u8> = self.tails.iter().map(|(pid, tail)| (*pid, tail.counter)).collect();
        for (place, held) in self.held.iter().enumerate() {
            let known = counted(datagram).any(|p| counters.contains_key(&p.pid));
            if known && !follows(&counters, held) && follows(&counters, datagram) {
                let mut filled = counters.clone();
                go_on(&mut filled, datagram);
                if follows(&filled, held) && place + OVERTAKEN_BY >= self.held.len() {
                    return Some(place);
                }
            }
            go_on(&mut counters, held);
        }
        None
    }

    fn parse(&mut self, bytes: Bytes, is_map: &impl Fn(u16) -> bool) -> Option<Parsed> {
        let parsed = bytes.first_chunk().map(Packet::parse);
        let Some(Ok(packet)) = parsed.filter(|p| p.is_ok_and(|p| !p.error)) else {
            self.unusable += 1;
            return None;
        };
        if packet.pid == PAT_PID
            && let Some(payload) = packet.payload
        {
            let maps = &mut self.maps;
            self.pat.push(payload, packet.starts, |section| {
                if let Some(Some(Ok(section))) = section.ok().map(Section::parse)
                    && section.table_id == 0
                {
                    if section.number == 0 {
                        maps.clear();
                    }
                    maps.extend(PatSection::parse(&section).programmes.iter().map(|(_, pid)| *pid));
                    maps.sort_unstable();
                    maps.dedup();
                }
            });
        }
        let (pid, counter) = (packet.pid, packet.counter);
        let loose = pid == NULL_PID || pid < 0x20 || self.maps.binary_search(&pid).is_ok() || is_map(pid);
        let (counted, free, pcr) = (packet.payload.is_some(), packet.discontinuity, packet.pcr);
        let print = if pid == NULL_PID { 0 } else { self.hasher.hash_one(&bytes[..]) };
        Some(Parsed { print, pid, counter, counted, free, pcr, loose, packet: bytes })
    }

    /// The next packets in order. `None` while there are none, or a gap in front of what is there may still be filled.
    pub fn next(&mut self, now: Micros) -> Option<Vec<(u64, Element)>> {
        if self.stray.as_ref().is_some_and(|stray| now >= stray.arrival + self.patience())
            && let Some(stray) = self.stray.take()
        {
            self.append(stray);
        }
        let first = self.held.front()?;
        let goes_on =
            counted(first).all(|p| p.free || self.tails.get(&p.pid).is_none_or(|tail| after(tail.counter, p)));
        if !goes_on && self.held.len() <= HELD_MAX && now < first.arrival + self.patience() {
            return None;
        }
        let datagram = self.held.pop_front()?;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(datagram.print);
        self.units += 1;
        let arrival = datagram.arrival;
        Some(datagram.packets.into_iter().filter_map(|packet| self.element(arrival, packet)).collect())
    }

    fn patience(&self) -> Micros {
        HELD_FOR.min(self.window / 2)
    }

    /// When what is held is no longer.
    pub fn wake_at(&self) -> Option<Micros> {
        self.held.front().or(self.stray.as_ref()).map(|oldest| oldest.arrival + self.patience())
    }

    fn element(&mut self, arrival: Micros, parsed: Parsed) -> Option<(u64, Element)> {
        let Parsed { print, pid, counter, counted, pcr, packet, .. } = parsed;
        if parsed.loose {
            if self.loose.len() == LOOSE_MAX {
                self.loose.clear();
                self.unusable += LOOSE_MAX as u64;
            }
            self.loose.push(Loose { pid, counter, print, packet });
            return None;
        }
        let tail = self.tails.entry(pid).or_insert(Tail { counter: counter.wrapping_sub(1) & 0x0f, index: 0 });
        let step = if counted { counter.wrapping_sub(tail.counter) & 0x0f } else { 0 };
        if counted {
            tail.counter = counter;
            // A counter that stands tells nothing; the next place where it could stand is 16 further on.
            tail.index += if step == 0 { 16 } else { i64::from(step) };
        }
        let loose = std::mem::take(&mut self.loose);
        let (index, unit) = (tail.index, self.units);
        let (dead, anchored) = (false, false);
        let element = Element { packet, pid, counter, counted, step, index, pcr, arrival, unit, loose, dead, anchored };
        Some((print, element))
    }
}

/// The first packet of each PID whose counter counts.
fn counted(datagram: &Datagram) -> impl Iterator<Item = &Parsed> {
    let counts = |p: &Parsed| !p.loose && p.counted;
    let first = move |at: usize, p: &Parsed| !datagram.packets[..at].iter().any(|q| counts(q) && q.pid == p.pid);
    datagram.packets.iter().enumerate().filter(move |(at, p)| counts(p) && first(*at, p)).map(|(_, p)| p)
}

fn after(counter: u8, packet: &Parsed) -> bool {
    packet.counter == (counter + 1) & 0x0f
}

/// It goes on where the counters stand.
fn follows(counters: &HashMap<u16, u8>, datagram: &Datagram) -> bool {
    counted(datagram).all(|p| p.free || counters.get(&p.pid).is_none_or(|counter| after(*counter, p)))
}

fn go_on(counters: &mut HashMap<u16, u8>, datagram: &Datagram) {
    counters.extend(datagram.packets.iter().filter(|p| !p.loose && p.counted).map(|p| (p.pid, p.counter)));
}
