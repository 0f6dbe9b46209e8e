//! One path's packets as they arrive.
//!
//! In:    bytes of one path.
//! Out:   packets that can be told apart, each with the loose ones (null packets, tables) around it; datagrams that have none of them.
//! Never: looks at other paths, or puts anything in order.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::super::Micros;
use super::plan::Counters;
use crate::wire::ts::{Framer, NULL_PID, PACKET_BYTES, PAT_PID, PIDS, Packet, PatSection, Section, SectionReader};

/// Packets of a datagram.
pub(super) const DATAGRAM: usize = 7;
/// Fingerprint of a packet that is broken.
const BROKEN: u64 = u64::MAX;
/// Datagrams in which a second copy is recognised.
const RECENT: usize = 32;
/// It comes at most so much later. Digital silence repeats itself after a frame of sound or two.
const LATER: Micros = 20_000;
/// One of filling looks like others after 16 packets: only what comes right behind it may be a second copy, and so soon.
const RECENT_FILLING: usize = 2;
const SOON: Micros = 1_000;
/// A null packet or one of a table's.
#[derive(Clone, Debug)]
pub(super) struct Loose {
    pub pid: u16,
    pub counter: u8,
    pub print: u64,
    pub packet: Bytes,
}

/// A packet that can be told from every other one nearby, or a datagram that has none.
#[derive(Debug)]
pub(super) struct Element {
    /// Empty for a datagram of loose packets alone: they are all in `before`.
    pub packet: Bytes,
    pub pid: u16,
    pub counter: u8,
    /// It has payload, so its counter counts.
    pub counted: bool,
    /// Its counter may jump (discontinuity_indicator).
    pub free: bool,
    /// Its payload is nothing but filling, so there may be others like it.
    pub filling: bool,
    pub pcr: Option<u64>,
    /// PCR of the last packet on its path up to here that had one.
    pub since: Option<u64>,
    pub arrival: Micros,
    /// The datagram it came in, and its fingerprint.
    pub unit: u64,
    pub unit_print: u64,
    /// Its place among the packets of that which are not loose.
    pub slot: u8,
    /// It and the loose packets around it.
    pub weight: u16,
    /// Loose packets in front of it in its own datagram.
    pub before: Vec<Loose>,
    /// Loose packets behind it in its own datagram, when it is the last.
    pub after: Vec<Loose>,
    /// Not to be used: it came before the path was found in the stream.
    pub dead: bool,
    /// It has been given out, ahead of what was in front of it.
    pub gone: bool,
}

impl Element {
    /// With nothing in it.
    fn bare(arrival: Micros, unit: u64) -> Self {
        Self {
            packet: Bytes::new(),
            pid: NULL_PID,
            counter: 0,
            counted: false,
            free: false,
            filling: true,
            pcr: None,
            since: None,
            arrival,
            unit,
            unit_print: 0,
            slot: 0,
            weight: 0,
            before: Vec::new(),
            after: Vec::new(),
            dead: false,
            gone: false,
        }
    }

    /// A datagram of loose packets alone.
    pub fn is_bare(&self) -> bool {
        self.packet.is_empty()
    }
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
    recent: VecDeque<(u64, Micros)>,
    /// Fingerprint of the last packet of each PID, and when it came.
    lasts: Vec<(u64, Micros)>,
    counters: Counters,
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
            lasts: vec![(0, 0); PIDS],
            counters: Counters::default(),
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
        self.units += 1;
        let unit = self.units;
        let (mut elements, mut loose) = (Vec::<(u64, Element)>::with_capacity(DATAGRAM), Vec::new());
        let mut prints = [0; DATAGRAM];
        let mut again = false;
        for (print, packet) in prints.iter_mut().zip(packets) {
            self.packets += 1;
            match self.parse(arrival, unit, packet, maps) {
                Some((itself, Ok(mut element))) => {
                    *print = itself;
                    if self.again(itself, &element) {
                        self.duplicates += 1;
                        again = true;
                        continue;
                    }
                    element.before = std::mem::take(&mut loose);
                    elements.push((itself, element));
                }
                Some((itself, Err(packet))) => {
                    *print = itself;
                    loose.push(packet);
                }
                None => {
                    *print = BROKEN;
                    self.unusable += 1;
                }
            }
        }
        let print = self.hasher.hash_one(prints);
        if self.twice(arrival, print, &elements, &loose, again) {
            self.duplicates += (elements.len() + loose.len()) as u64;
            return;
        }
        if let Some((_, last)) = elements.last_mut() {
            last.after = loose;
        } else if !loose.is_empty() {
            let filling = loose.iter().all(|loose| loose.pid == NULL_PID);
            elements.push((print, Element { before: loose, filling, ..Element::bare(arrival, unit) }));
        }
        for (slot, (itself, mut element)) in elements.into_iter().enumerate() {
            let loose = element.before.len() + element.after.len();
            element.weight = u16::try_from(loose + usize::from(!element.is_bare())).unwrap_or(u16::MAX);
            (element.unit_print, element.slot) = (print, slot as u8);
            sink(itself, element);
        }
    }

    /// A datagram was here already. Null packets alone repeat themselves.
    fn twice(
        &mut self,
        arrival: Micros,
        print: u64,
        elements: &[(u64, Element)],
        loose: &[Loose],
        again: bool,
    ) -> bool {
        let tables = elements.iter().flat_map(|(_, element)| &element.before).chain(loose).any(|l| l.pid != NULL_PID);
        let twice = if again || tables || elements.iter().any(|(_, element)| !element.filling) {
            self.recent.iter().any(|(known, at)| *known == print && arrival - at <= LATER)
        } else if let Some((_, first)) = elements.first() {
            let same = |(known, at): &(u64, Micros)| *known == print && arrival - at <= SOON;
            !self.counters.go_on(first) && self.recent.iter().rev().take(RECENT_FILLING).any(same)
        } else {
            return false;
        };
        if !twice {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((print, arrival));
            for (_, element) in elements {
                self.counters.advance(element);
            }
        }
        twice
    }

    /// A multiplexer has sent a packet twice (ISO/IEC 13818-1 §2.4.3.3).
    fn again(&mut self, print: u64, element: &Element) -> bool {
        if !element.counted {
            return false;
        }
        let (last, at) = std::mem::replace(&mut self.lasts[usize::from(element.pid)], (print, element.arrival));
        last == print && !element.filling && element.arrival - at <= LATER
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
        let element = Element {
            pid,
            counter,
            counted: packet.payload.is_some(),
            free: packet.discontinuity,
            filling: packet.pcr.is_none() && packet.payload.is_none_or(repeats_itself),
            pcr: packet.pcr,
            packet: bytes,
            ..Element::bare(arrival, unit)
        };
        Some((print, Ok(element)))
    }
}

/// Payload of one byte, or of three in turns: filler NAL units and cabac_zero_words (ITU-T H.264 §7.3.2.7, §7.4.2.10).
fn repeats_itself(payload: &[u8]) -> bool {
    [1, 3].into_iter().any(|period| payload.iter().zip(payload.iter().skip(period)).all(|(one, next)| one == next))
}
