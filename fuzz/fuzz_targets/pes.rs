//! Any payload of a PES packet, on a track of each format, in a stream that is right otherwise.
//! The first byte chooses the stream_type; 0xff in the rest of the input's first bytes is nothing special.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem::demux::{Config, Demux};
use tandem::wire::ts::{PesHeader, crc32};

const STREAM_TYPES: [u8; 8] = [0x02, 0x1b, 0x24, 0x03, 0x0f, 0x11, 0x81, 0x87];
const PID: u16 = 0x100;
const PMT_PID: u16 = 0x1000;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let _ = PesHeader::parse(data);
    let stream_type = STREAM_TYPES[usize::from(choice) % STREAM_TYPES.len()];
    let mut ts = Vec::new();
    section(&mut ts, 0, 0, &[0, 1, 0xf0, 0]);
    section(&mut ts, PMT_PID, 2, &[0xe1, 0, 0xf0, 0, stream_type, 0xe1, 0, 0xf0, 0]);
    // Once as whole PES packets, bytes and all, and once as what follows a right header.
    packets(&mut ts, 0, data);
    let mut counter = data.len().div_ceil(184) as u8;
    for (n, part) in data.chunks(700).enumerate() {
        let mut pes = vec![0, 0, 1, 0xc0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, (n as u8) << 4, 1];
        pes.extend(part);
        packets(&mut ts, counter, &pes);
        counter = counter.wrapping_add(pes.len().div_ceil(184) as u8);
    }
    let mut demux = Demux::new(Config { pes_bytes_max: 64 * 1024, ..Config::default() });
    demux.push(&ts);
    assert!(demux.buffered_bytes() <= 2 * ts.len() + 1024);
    demux.flush();
    while demux.pop().is_some() {}
    assert_eq!(demux.programme(), Some(1), "the tables were right");
});

/// A table section of programme or stream 1, in a packet of its own.
fn section(ts: &mut Vec<u8>, pid: u16, table_id: u8, body: &[u8]) {
    let mut bytes = vec![table_id, 0xb0, body.len() as u8 + 9, 0, 1, 0xc1, 0, 0];
    bytes.extend(body);
    bytes.extend(crc32(&bytes).to_be_bytes());
    let mut packet = vec![0x47, 0x40 | (pid >> 8) as u8, pid as u8, 0x10, 0];
    packet.extend(bytes);
    packet.resize(188, 0xff);
    ts.extend(packet);
}

/// A PES packet from continuity counter `counter` on.
fn packets(ts: &mut Vec<u8>, counter: u8, pes: &[u8]) {
    for (n, part) in pes.chunks(184).enumerate() {
        let start = if n == 0 { 0x40 } else { 0 };
        let counter = counter.wrapping_add(n as u8) & 0x0f;
        let stuffing = 184 - part.len();
        let control = if stuffing > 0 { 0x30 } else { 0x10 };
        ts.extend([0x47, start | (PID >> 8) as u8, PID as u8, control | counter]);
        if stuffing > 0 {
            ts.push(stuffing as u8 - 1);
            ts.extend([0].iter().chain([0xff; 183].iter()).take(stuffing - 1));
        }
        ts.extend(part);
    }
}
