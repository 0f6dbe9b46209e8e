//! A tiny MPEG-TS writer (ISO/IEC 13818-1) with one picture track and one sound track, whose "pictures" and "sound" say in
//! plain text which ones they are. It shares no code with the demux it feeds.

/// 640x360, Constrained Baseline, 25 frames a second: from an x264 stream.
pub const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03,
    0x00, 0xc8, 0x3c, 0x58, 0xba, 0x80,
];
pub const PPS: &[u8] = &[0x68, 0xce, 0x0f, 0xc8];

const PACKET: usize = 188;
const PMT_PID: u16 = 0x1000;
pub const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;

/// NAL units with start codes.
pub fn annexb(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect()
}

/// An AAC-LC frame of 48 kHz stereo with an ADTS header (ISO/IEC 13818-7 §6.2).
pub fn adts(payload: &[u8]) -> Vec<u8> {
    let len = 7 + payload.len();
    let mut out = vec![0xff, 0xf1, 0x4c, 0x80 | (len >> 11) as u8, (len >> 3) as u8, (len << 5) as u8 | 0x1f, 0xfc];
    out.extend_from_slice(payload);
    out
}

/// Writes packets of one stream; continuity counters go on from call to call.
#[derive(Debug, Default)]
pub struct Mux {
    /// PAT, PMT, video, audio.
    counters: [u8; 4],
}

impl Mux {
    /// PAT and PMT.
    pub fn tables(&mut self, out: &mut Vec<u8>) {
        let pat = section(0x00, &[0x00, 0x01, 0xe0 | (PMT_PID >> 8) as u8, PMT_PID as u8]);
        let stream = |kind: u8, pid: u16| [kind, 0xe0 | (pid >> 8) as u8, pid as u8, 0xf0, 0x00];
        let pcr = [0xe0 | (VIDEO_PID >> 8) as u8, VIDEO_PID as u8, 0xf0, 0x00];
        let pmt = section(0x02, &[&pcr[..], &stream(0x1b, VIDEO_PID), &stream(0x0f, AUDIO_PID)].concat());
        for (pid, counter, section) in [(0, 0, pat), (PMT_PID, 1, pmt)] {
            // pointer_field 0, then the section; the rest is stuffing.
            let mut payload = [&[0][..], &section].concat();
            payload.resize(PACKET - 4, 0xff);
            self.packets(out, pid, counter, None, &payload);
        }
    }

    /// One access unit. Times are 33 bits; `states_length`: PES_packet_length is written, which video may leave 0.
    pub fn video(&mut self, out: &mut Vec<u8>, pts: u64, dts: u64, states_length: bool, unit: &[u8]) {
        let pes = pes(0xe0, pts, Some(dts), states_length, unit);
        self.packets(out, VIDEO_PID, 2, Some(dts), &pes);
    }

    /// Whole ADTS frames, the first with this PTS.
    pub fn audio(&mut self, out: &mut Vec<u8>, pts: u64, frames: &[u8]) {
        let pes = pes(0xc0, pts, None, true, frames);
        self.packets(out, AUDIO_PID, 3, None, &pes);
    }

    fn packets(&mut self, out: &mut Vec<u8>, pid: u16, counter: usize, pcr: Option<u64>, payload: &[u8]) {
        let (mut rest, mut pcr) = (payload, pcr);
        let mut starts = true;
        while !rest.is_empty() {
            let mut field = match pcr.take() {
                // program_clock_reference_base, 6 reserved bits, extension 0.
                Some(t) => vec![
                    0x10,
                    (t >> 25) as u8,
                    (t >> 17) as u8,
                    (t >> 9) as u8,
                    (t >> 1) as u8,
                    (t << 7) as u8 | 0x7e,
                    0,
                ],
                None => Vec::new(),
            };
            let room = |field: &[u8]| PACKET - 4 - if field.is_empty() { 0 } else { 1 + field.len() };
            let mut length_only = false;
            if rest.len() < room(&field) {
                // Stuffing fills the last packet up; one byte of it is the field's length alone.
                let missing = room(&field) - rest.len();
                if field.is_empty() && missing == 1 {
                    length_only = true;
                } else if field.is_empty() {
                    field = vec![0xff; missing - 1];
                    field[0] = 0;
                } else {
                    field.resize(field.len() + missing, 0xff);
                }
            }
            let adapted = length_only || !field.is_empty();
            let count = &mut self.counters[counter];
            let flags = 0x10 | if adapted { 0x20 } else { 0 } | *count;
            *count = (*count + 1) & 0x0f;
            out.extend([0x47, if starts { 0x40 } else { 0 } | (pid >> 8) as u8, pid as u8, flags]);
            if adapted {
                out.push(field.len() as u8);
                out.extend_from_slice(&field);
            }
            let take = PACKET - 4 - if adapted { 1 + field.len() } else { 0 };
            out.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            starts = false;
        }
    }
}

fn pes(stream_id: u8, pts: u64, dts: Option<u64>, states_length: bool, payload: &[u8]) -> Vec<u8> {
    let stamp = |mark: u8, t: u64| {
        [
            mark << 4 | (t >> 29) as u8 & 0x0e | 1,
            (t >> 22) as u8,
            (t >> 14) as u8 | 1,
            (t >> 7) as u8,
            (t << 1) as u8 | 1,
        ]
    };
    let stamps = match dts {
        Some(dts) => [stamp(3, pts), stamp(1, dts)].concat(),
        None => stamp(2, pts).to_vec(),
    };
    let flags = if dts.is_some() { 0xc0 } else { 0x80 };
    let length = if states_length { 3 + stamps.len() + payload.len() } else { 0 };
    let head = [0, 0, 1, stream_id, (length >> 8) as u8, length as u8, 0x80, flags, stamps.len() as u8];
    [&head[..], &stamps, payload].concat()
}

/// A section of programme 1, version 0, with its checksum.
fn section(table_id: u8, body: &[u8]) -> Vec<u8> {
    let length = 5 + body.len() + 4;
    let mut out = vec![table_id, 0xb0 | (length >> 8) as u8, length as u8, 0, 1, 0xc1, 0, 0];
    out.extend_from_slice(body);
    // CRC-32/MPEG-2 (annex A), bit by bit.
    let crc = out.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |c, _| if c >> 31 == 1 { c << 1 ^ 0x04c1_1db7 } else { c << 1 })
    });
    out.extend(crc.to_be_bytes());
    out
}
