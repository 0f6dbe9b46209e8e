//! A multiplexer just good enough to write what the tests want to see read, wrong things included.

use super::*;
use crate::wire::ts::crc32;

pub const VIDEO: u16 = 0x100;
pub const AUDIO: u16 = 0x101;
pub const PMT: u16 = 0x1000;

/// Writes packets.
pub struct Mux {
    pub bytes: Vec<u8>,
    counters: Vec<u8>,
}

impl Mux {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), counters: vec![0; PIDS] }
    }

    /// PAT and PMT of one programme with H.264 and ADTS.
    pub fn tables(mut self) -> Self {
        self.pat(0, &[(1, PMT)]);
        self.pmt(0, PMT, 1, &[(0x1b, VIDEO, b""), (0x0f, AUDIO, b"")]);
        self
    }

    pub fn pat(&mut self, version: u8, programmes: &[(u16, u16)]) {
        let body: Vec<u8> =
            programmes.iter().flat_map(|&(n, pid)| [n.to_be_bytes(), (pid | 0xe000).to_be_bytes()].concat()).collect();
        self.section(PAT_PID, &section(0, 1, version, &body));
    }

    pub fn pmt(&mut self, version: u8, pid: u16, programme: u16, streams: &[(u8, u16, &[u8])]) {
        let mut body = (streams[0].1 | 0xe000).to_be_bytes().to_vec();
        body.extend([0xf0, 0]);
        for &(stream_type, pid, descriptors) in streams {
            body.push(stream_type);
            body.extend((pid | 0xe000).to_be_bytes());
            body.extend((descriptors.len() as u16 | 0xf000).to_be_bytes());
            body.extend(descriptors);
        }
        self.section(pid, &section(2, programme, version, &body));
    }

    pub fn section(&mut self, pid: u16, section: &[u8]) {
        let mut payload = [&[0], section].concat();
        payload.resize(payload.len().div_ceil(184) * 184, 0xff);
        self.packets(pid, &payload);
    }

    /// A PES packet; `bounded`: it states its length.
    pub fn pes(&mut self, pid: u16, pts: Option<u64>, bounded: bool, payload: &[u8]) {
        let stamp = |t: u64| {
            [0x21 | (t >> 29) as u8 & 0xe, (t >> 22) as u8, (t >> 14) as u8 | 1, (t >> 7) as u8, (t << 1) as u8 | 1]
        };
        let stamps = pts.map_or(vec![], |t| stamp(t & 0x1_ffff_ffff).to_vec());
        let length = if bounded { 3 + stamps.len() + payload.len() } else { 0 };
        let mut pes = vec![0, 0, 1, if pid == AUDIO { 0xc0 } else { 0xe0 }];
        pes.extend((length as u16).to_be_bytes());
        pes.extend([0x80, if pts.is_some() { 0x80 } else { 0 }, stamps.len() as u8]);
        pes.extend(stamps);
        pes.extend(payload);
        self.packets(pid, &pes);
    }

    /// An adaptation field alone, with discontinuity_indicator.
    pub fn discontinuity(&mut self, pid: u16) {
        let mut packet = [0xff; PACKET_BYTES];
        packet[..6].copy_from_slice(&[
            0x47,
            (pid >> 8) as u8,
            pid as u8,
            0x20 | self.counters[usize::from(pid)],
            183,
            0x80,
        ]);
        self.bytes.extend(packet);
    }

    fn packets(&mut self, pid: u16, payload: &[u8]) {
        for (n, part) in payload.chunks(184).enumerate() {
            let counter = &mut self.counters[usize::from(pid)];
            *counter = (*counter + 1) & 0x0f;
            let start = if n == 0 { 0x40 } else { 0 };
            let stuffing = 184 - part.len();
            let control = if stuffing > 0 { 0x30 } else { 0x10 };
            self.bytes.extend([0x47, start | (pid >> 8) as u8, pid as u8, control | *counter]);
            match stuffing {
                0 => {}
                1 => self.bytes.push(0),
                n => {
                    self.bytes.extend([n as u8 - 1, 0]);
                    self.bytes.extend(vec![0xff; n - 2]);
                }
            }
            self.bytes.extend(part);
        }
    }

    /// Places, in bytes, of the packets with this PID.
    pub fn places(&self, pid: u16) -> Vec<usize> {
        let is = |p: &[u8]| u16::from(p[1] & 0x1f) << 8 | u16::from(p[2]) == pid;
        self.bytes.chunks(PACKET_BYTES).enumerate().filter(|(_, p)| is(p)).map(|(n, _)| n * PACKET_BYTES).collect()
    }
}

fn section(table_id: u8, extension: u16, version: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![table_id];
    out.extend(((body.len() as u16 + 9) | 0xb000).to_be_bytes());
    out.extend(extension.to_be_bytes());
    out.extend([0xc1 | version << 1, 0, 0]);
    out.extend(body);
    out.extend(crc32(&out).to_be_bytes());
    out
}

/// A picture of `len` bytes; not one that any decoder would like.
pub fn picture(key: bool, len: usize) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, if key { 0x65 } else { 0x41 }, 0x9a];
    out.resize(len.max(out.len()), 0x5a);
    out
}

/// An ADTS frame of `len` bytes, 48 kHz; `mark` fills it.
pub fn adts(len: usize, mark: u8) -> Vec<u8> {
    let mut out = vec![0xff, 0xf1, 0x4c, 0x80 | (len >> 11) as u8, (len >> 3) as u8, (len << 5) as u8 | 0x1f, 0xfc];
    out.resize(len, mark & 0x7f);
    out
}

/// All items of a stream, pushed in portions.
pub fn demux(config: Config, bytes: &[u8], portion: usize) -> (Vec<Item<SourceTime>>, Demux) {
    let mut demux = Demux::new(config);
    let mut items = Vec::new();
    for part in bytes.chunks(portion) {
        demux.push(part);
        items.extend(std::iter::from_fn(|| demux.pop()));
    }
    demux.flush();
    items.extend(std::iter::from_fn(|| demux.pop()));
    (items, demux)
}

/// The units of one track: PTS in ticks, bytes, damaged.
pub fn units(items: &[Item<SourceTime>], pid: u16) -> Vec<(i64, usize, bool)> {
    let unit = |item: &Item<SourceTime>| match item {
        Item::Unit(u) if u.track.0 == pid => Some((u.pts.ticks(), u.data.len(), u.damaged)),
        _ => None,
    };
    items.iter().filter_map(unit).collect()
}
