//! One path's packets as they arrive.
//!
//! In:    bytes of one path.
//! Out:   packets that can be told apart, each with the loose ones (null packets, tables) around it.
//! Never: looks at other paths, or puts anything in order.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::super::Micros;
use super::plan::Counters;
use crate::wire::ts::{Framer, NULL_PID, PACKET_BYTES, PAT_PID, Packet, PatSection, Section, SectionReader};

/// Packets of a datagram.
pub(super) const DATAGRAM: usize = 7;
/// Datagrams in which a second copy is recognised, and one of filling, which looks like others after 16 packets.
const RECENT: usize = 32;
const RECENT_FILLING: usize = 8;
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
    /// Its counter may jump (discontinuity_indicator).
    pub free: bool,
    /// Its payload ends in nothing but filling, so there may be others like it.
    pub filling: bool,
    pub pcr: Option<u64>,
    pub arrival: Micros,
    /// The datagram it came in.
    pub unit: u64,
    /// It is the first in that which is not loose.
    pub begins: bool,
    /// It and the loose packets around it.
    pub weight: u16,
    /// Loose packets of datagrams that have nothing else, between the element before and this one.
    pub between: Vec<Loose>,
    /// Loose packets in front of it in its own datagram.
    pub before: Vec<Loose>,
    /// Loose packets behind it in its own datagram, when it is the last.
    pub after: Vec<Loose>,
    /// Not to be used: it came before the path was found in the stream.
    pub dead: bool,
    /// It has been given out, ahead of what was in front of it.
    pub gone: bool,
}

/// What arrives on a path, taken apart.
#[derive(Debug)]
pub(super) struct Reader {
    hasher: RandomState,
    framer: Framer,
    framing: bool,
    pat: SectionReader,
    /// PIDs of programme maps.
    pub maps: Vec<u16>,
    recent: VecDeque<u64>,
    counters: Counters,
    between: Vec<Loose>,
    units: u64,
    /// Packets that arrived, that arrived twice, and that cannot be used.
    pub packets: u64,
    pub duplicates: u64,
    pub unusable: u64,
}

impl Reader {
    pub fn new(hasher: RandomState) -> Self {
        Self {
            hasher,
            framer: Framer::default(),
            framing: false,
            pat: SectionReader::default(),
            maps: Vec::new(),
            recent: VecDeque::new(),
            counters: Counters::default(),
            between: Vec::new(),
            units: 0,
            packets: 0,
            duplicates: 0,
            unusable: 0,
        }
    }

    /// Takes what arrived apart. `maps` are PIDs of programme maps that other paths know.
    pub fn push(&mut self, arrival: Micros, data: &Bytes, maps: &[u16], sink: &mut impl FnMut(u64, Element)) {
        let whole =
            data.len().is_multiple_of(PACKET_BYTES) && data.iter().step_by(PACKET_BYTES).all(|byte| *byte == 0x47);
        if whole && self.framer.buffered() == 0 {
            if std::mem::take(&mut self.framing) {
                self.framer = Framer::default();
            }
            for from in (0..data.len()).step_by(PACKET_BYTES * DATAGRAM) {
                let datagram = data.slice(from..data.len().min(from + PACKET_BYTES * DATAGRAM));
                let packets = (0..datagram.len()).step_by(PACKET_BYTES).map(|n| datagram.slice(n..n + PACKET_BYTES));
                self.datagram(arrival, packets, maps, sink);
            }
            return;
        }
        self.framing = true;
        let mut rest = &data[..];
        while !rest.is_empty() {
            rest = self.framer.feed(rest);
            loop {
                let packets: Vec<Bytes> = std::iter::from_fn(|| self.framer.next().map(|p| Bytes::copy_from_slice(p)))
                    .take(DATAGRAM)
                    .collect();
                if packets.is_empty() {
                    break;
                }
                self.datagram(arrival, packets.into_iter(), maps, sink);
            }
        }
    }

    fn datagram(
        &mut self,
        arrival: Micros,
        packets: impl Iterator<Item = Bytes>,
        maps: &[u16],
        sink: &mut impl FnMut(u64, Element),
    ) {
        let unit = self.units + 1;
        let (mut elements, mut loose) = (Vec::<(u64, Element)>::with_capacity(DATAGRAM), Vec::new());
        let mut prints = [0; DATAGRAM];
        for (print, packet) in prints.iter_mut().zip(packets) {
            self.packets += 1;
            match self.parse(arrival, unit, packet, maps) {
                Some((itself, Ok(mut element))) => {
                    element.before = std::mem::take(&mut loose);
                    *print = itself;
                    elements.push((itself, element));
                }
                Some((itself, Err(packet))) => {
                    *print = itself;
                    loose.push(packet);
                }
                None => self.unusable += 1,
            }
        }
        if self.twice(prints, &elements) {
            self.duplicates += (elements.len() + loose.len()) as u64;
            return;
        }
        let Some((_, first)) = elements.first_mut() else {
            if self.between.len() + loose.len() > LOOSE_MAX {
                self.unusable += self.between.len() as u64;
                self.between.clear();
            }
            return self.between.append(&mut loose);
        };
        self.units = unit;
        first.between = std::mem::take(&mut self.between);
        first.begins = true;
        if let Some((_, last)) = elements.last_mut() {
            last.after = loose;
        }
        for (print, mut element) in elements {
            let loose = element.between.len() + element.before.len() + element.after.len();
            element.weight = u16::try_from(loose + 1).unwrap_or(u16::MAX);
            sink(print, element);
        }
    }

    /// A datagram was here already. Null packets and tables alone repeat themselves.
    fn twice(&mut self, prints: [u64; DATAGRAM], elements: &[(u64, Element)]) -> bool {
        let Some((_, first)) = elements.first() else { return false };
        let print = self.hasher.hash_one(prints);
        let twice = if elements.iter().all(|(_, element)| element.filling) {
            !self.counters.go_on(first) && self.recent.iter().rev().take(RECENT_FILLING).any(|known| *known == print)
        } else {
            self.recent.contains(&print)
        };
        if !twice {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(print);
            for (_, element) in elements {
                self.counters.advance(element);
            }
        }
        twice
    }

    /// A packet and its fingerprint. `None` if it is broken.
    fn parse(
        &mut self,
        arrival: Micros,
        unit: u64,
        bytes: Bytes,
        maps: &[u16],
    ) -> Option<(u64, Result<Element, Loose>)> {
        let packet = bytes.first_chunk().map(Packet::parse)?.ok().filter(|p| !p.error)?;
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
        let loose =
            pid == NULL_PID || pid < 0x20 || self.maps.binary_search(&pid).is_ok() || maps.binary_search(&pid).is_ok();
        let print = if pid == NULL_PID { 0 } else { self.hasher.hash_one(&bytes[..]) };
        if loose {
            return Some((print, Err(Loose { pid, counter, print, packet: bytes })));
        }
        let end = &bytes[PACKET_BYTES - 64..];
        let element = Element {
            pid,
            counter,
            counted: packet.payload.is_some(),
            free: packet.discontinuity,
            filling: end.iter().all(|byte| *byte == end[0]) && packet.pcr.is_none(),
            pcr: packet.pcr,
            arrival,
            unit,
            begins: false,
            weight: 1,
            between: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            dead: false,
            gone: false,
            packet: bytes,
        };
        Some((print, Ok(element)))
    }
}
