//! PAT and PMT (ISO/IEC 13818-1 §2.4.4), each in one packet.

use super::{CLOCK_PID, ElementaryStream, MAP_PID};
use crate::wire::ts::{PACKET_BYTES, PAT_PID, crc32};

/// There is one programme, and nothing to tell it from.
const TRANSPORT_STREAM: u16 = 1;
const PROGRAMME: u16 = 1;

/// The programme association section (§2.4.4.4).
pub(super) fn association() -> [u8; PACKET_BYTES] {
    section(PAT_PID, 0, TRANSPORT_STREAM, &[PROGRAMME.to_be_bytes(), pid(MAP_PID)].concat())
}

/// The programme map section (§2.4.4.9).
pub(super) fn map(streams: impl Iterator<Item = (u16, ElementaryStream)>) -> [u8; PACKET_BYTES] {
    // program_info_length 0.
    let mut body = [pid(CLOCK_PID), [0xf0, 0]].concat();
    for (of, stream) in streams {
        // ISO_639_language_descriptor (§2.6.18); audio_type 0: undefined.
        let language = stream.language.map_or_else(Vec::new, |[a, b, c]| vec![0x0a, 4, a, b, c, 0]);
        body.push(stream.format.stream_type());
        body.extend(pid(of));
        body.extend([0xf0, language.len() as u8]);
        body.extend(language);
    }
    section(MAP_PID, 2, PROGRAMME, &body)
}

/// A PID behind three reserved bits.
fn pid(pid: u16) -> [u8; 2] {
    (0xe000 | pid).to_be_bytes()
}

/// A section in long syntax behind a pointer_field of 0, with its checksum, and stuffing up to the end of the packet.
fn section(pid: u16, table_id: u8, extension: u16, body: &[u8]) -> [u8; PACKET_BYTES] {
    let [high, low] = pid.to_be_bytes();
    let mut packet = vec![0x47, 0x40 | high, low, 0x10, 0];
    // section_length counts what follows it: five bytes, the body, the checksum.
    let length = 0xb000 | (5 + body.len() + 4) as u16;
    let [e0, e1] = extension.to_be_bytes();
    let [l0, l1] = length.to_be_bytes();
    // Version 0, which applies now; section 0 of 0. It never changes: another codec or language is another channel.
    let section = [&[table_id, l0, l1, e0, e1, 0xc1, 0, 0], body].concat();
    packet.extend_from_slice(&section);
    packet.extend(crc32(&section).to_be_bytes());
    packet.resize(PACKET_BYTES, 0xff);
    packet.try_into().expect("two streams with a descriptor each leave most of a packet free")
}
