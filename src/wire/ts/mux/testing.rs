//! Reads a stream back, and holds it against the rules.

use super::*;
use crate::wire::ts::{Continuity, PAT_PID, Packet, PatSection, PesHeader, Pmt, Section, SectionReader, Step};

/// PCR count up to here.
const WRAP: u64 = (1 << 33) * 300;

/// A PES packet as it was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub header: PesHeader,
    pub random_access: bool,
    pub bytes: Vec<u8>,
    /// Packets from the one it began in to its last one.
    pub packets: Range<usize>,
}

pub(crate) fn packets(bytes: &[u8]) -> impl Iterator<Item = (Packet<'_>, &[u8; PACKET_BYTES])> {
    assert!(bytes.len().is_multiple_of(PACKET_BYTES));
    bytes.chunks_exact(PACKET_BYTES).map(|p| {
        let p = p.first_chunk().unwrap();
        (Packet::parse(p).unwrap(), p)
    })
}

/// The PES packets of a PID, each of which must have what it says.
pub(crate) fn pes(bytes: &[u8], pid: u16) -> Vec<Read> {
    let mut found: Vec<(Vec<u8>, bool, Range<usize>)> = Vec::new();
    for (n, (packet, raw)) in packets(bytes).enumerate().filter(|(_, (p, _))| p.pid == pid) {
        let Some(payload) = packet.payload else { continue };
        assert!(!payload.is_empty());
        let random_access = raw[3] & 0x20 != 0 && raw[4] > 0 && raw[5] & 0x40 != 0;
        if packet.starts {
            found.push((Vec::new(), random_access, n..n));
        }
        let (so_far, _, range) = found.last_mut().expect("the first packet begins a unit");
        assert!(packet.starts || !random_access);
        so_far.extend_from_slice(payload);
        range.end = n + 1;
    }
    let read = |(all, random_access, packets): (Vec<u8>, bool, Range<usize>)| {
        let header = PesHeader::parse(&all).unwrap();
        assert!(header.aligned && header.pts.is_some());
        assert!(header.total_bytes.map_or(pid == CLOCK_PID, |total| total == all.len()));
        Read { header, random_access, bytes: all[header.header_bytes..].to_vec(), packets }
    };
    found.into_iter().map(read).collect()
}

/// The first PCR, and when each packet arrives, in ticks since: between two PCR evenly, as §2.4.2.2 has it.
pub(crate) fn arrivals(bytes: &[u8]) -> (u64, Vec<f64>) {
    let stamps: Vec<(usize, u64)> = packets(bytes).enumerate().filter_map(|(n, (p, _))| Some((n, p.pcr?))).collect();
    let (mut times, mut at) = (Vec::new(), 0.0);
    for pair in stamps.windows(2) {
        let step = ((pair[1].1 + WRAP - pair[0].1) % WRAP) as f64;
        let count = pair[1].0 - pair[0].0;
        while times.len() < pair[1].0 {
            let into = times.len().saturating_sub(pair[0].0) as f64;
            times.push(at + step * into / count as f64);
        }
        at += step;
    }
    times.resize(bytes.len() / PACKET_BYTES, at);
    (stamps[0].1, times)
}

/// Counters go on, tables are whole and alike, PCR are near each other.
pub(crate) fn holds(bytes: &[u8]) {
    let mut counters = vec![Continuity::default(); 0x2000];
    let (mut pat, mut pmt) = (SectionReader::default(), SectionReader::default());
    let mut last_pcr: Option<u64> = None;
    let mut tables = (0, 0);
    for (n, (packet, _)) in packets(bytes).enumerate() {
        assert_eq!(counters[usize::from(packet.pid)].step(&packet), Step::Follows, "packet {n}: {packet:?}");
        assert!(!packet.discontinuity && !packet.error && !packet.scrambled);
        if let Some(pcr) = packet.pcr {
            assert_eq!(packet.pid, CLOCK_PID);
            let step = last_pcr.map(|last| (pcr + WRAP - last) % WRAP);
            assert!(step.is_none_or(|step| (1..=PCR_MAX + 1).contains(&step)), "packet {n}: {step:?}");
            last_pcr = Some(pcr);
        }
        let Some(payload) = packet.payload else { continue };
        match packet.pid {
            PAT_PID => pat.push(payload, packet.starts, |section| {
                let section = Section::parse(section.unwrap()).unwrap().unwrap();
                assert_eq!(PatSection::parse(&section).programmes, [(1, MAP_PID)]);
                tables.0 += 1;
            }),
            MAP_PID => pmt.push(payload, packet.starts, |section| {
                let map = Pmt::parse(&Section::parse(section.unwrap()).unwrap().unwrap()).unwrap().unwrap();
                assert_eq!((map.programme, map.pcr_pid), (1, CLOCK_PID));
                tables.1 += 1;
            }),
            _ => {}
        }
    }
    assert!(last_pcr.is_some() && tables.0 > 0 && tables.0 == tables.1, "{tables:?}");
}
