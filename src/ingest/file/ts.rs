//! A transport stream that is played again and again, at its own pace: when each packet is due, and times and counters that go on from
//! one pass to the next.
//!
//! In:    the packets of a file, again from the start after each end.
//! Out:   [`Portion`]s with the time each is due; in the first pass byte for byte what the file holds.
//! Never: reads a file or a clock; repairs what is wrong in the file.
//!
//! Pace is that of the first PID with a PCR (ISO/IEC 13818-1 §2.4.2.2), even between two of them. With each pass PCR, PTS and DTS move on by as
//! much as puts the first picture one picture behind the last one, and continuity counters go on.

use bytes::{Bytes, BytesMut};

use crate::wire::ts::{NULL_PID, PACKET_BYTES, PIDS, Packet, PesHeader};

/// 27 MHz ticks a second.
const SECOND: u64 = 27_000_000;
/// Behind which the PCR's clock begins anew.
const PCR_WRAP: u64 = (1 << 33) * 300;
const WRAP: u64 = 1 << 33;
/// Clock references further apart are a jump of the clock, not a pace: 1 s. They are due each 100 ms (§2.7.2).
const STEP_MAX: u64 = SECOND;
/// A picture lasts no longer, 90 kHz ticks: 1 s.
const PICTURE_MAX: u64 = 90_000;
/// What is due within so much goes out together: 10 ms.
const PORTION: u64 = SECOND / 100;
/// Most packets without a clock reference: 16 MB.
const UNTIMED_MAX: usize = 16_000_000 / PACKET_BYTES;

/// Packets that are due together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    /// 27 MHz ticks since the first one.
    pub due: u64,
    /// Whole packets.
    pub data: Bytes,
}

/// Why a file cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unplayable {
    #[error("no transport stream: no packets are found in it")]
    NotTs,
    #[error("no clock reference (PCR) in 16 MB of it, so its pace is not known")]
    Clockless,
    #[error("no picture or sound with a time stamp in it, so how long it is is not known")]
    Timeless,
}

/// Counters of a PID across passes.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// What is added to the file's.
    ahead: u8,
    /// The last one given out.
    last: u8,
    /// A pass began and no packet of this PID has come.
    pending: bool,
    seen: bool,
}

/// The track that passes are joined by.
#[derive(Clone, Copy, Debug)]
struct Lead {
    pid: u16,
    video: bool,
    /// Decoding times as the file has them.
    first: u64,
    last: u64,
    /// Shortest distance between two of them.
    picture: Option<u64>,
}

/// A file at its own pace, again and again.
#[derive(Debug)]
pub(super) struct Endless {
    counters: Box<[Counter]>,
    lead: Option<Lead>,
    /// By how much times are ahead of the file's, 90 kHz ticks.
    ahead: u64,
    clock_pid: Option<u16>,
    /// The last clock reference given out, and when it was due.
    clock: Option<(u64, u64)>,
    /// Ticks of 27 MHz that the packets before the last reference took, and how many they were.
    pace: Option<(u64, usize)>,
    /// Packets since the last reference.
    waiting: BytesMut,
    packets: u64,
}

impl Default for Endless {
    fn default() -> Self {
        Self {
            counters: vec![Counter::default(); PIDS].into_boxed_slice(),
            lead: None,
            ahead: 0,
            clock_pid: None,
            clock: None,
            pace: None,
            waiting: BytesMut::new(),
            packets: 0,
        }
    }
}

impl Endless {
    /// Takes the next packet of the file. Portions are known once the clock reference behind them is.
    ///
    /// # Errors
    /// Too much comes without a clock reference.
    pub fn packet(&mut self, packet: &[u8; PACKET_BYTES], out: &mut Vec<Portion>) -> Result<(), Unplayable> {
        self.packets += 1;
        let mut bytes = *packet;
        let reference = self.restamp(&mut bytes);
        if let Some(reference) = reference {
            self.reference(reference, out);
        }
        self.waiting.extend_from_slice(&bytes);
        if self.waiting.len() / PACKET_BYTES >= UNTIMED_MAX { Err(Unplayable::Clockless) } else { Ok(()) }
    }

    /// The file is at its end and begins anew.
    ///
    /// # Errors
    /// There is nothing in it to be played.
    pub fn rewind(&mut self) -> Result<(), Unplayable> {
        if self.packets == 0 {
            return Err(Unplayable::NotTs);
        }
        if self.clock.is_none() {
            return Err(Unplayable::Clockless);
        }
        let lead = self.lead.ok_or(Unplayable::Timeless)?;
        let length = apart(lead.first, lead.last) + lead.picture.unwrap_or(0);
        if length == 0 {
            return Err(Unplayable::Timeless);
        }
        self.ahead = (self.ahead + length) % WRAP;
        for counter in &mut self.counters {
            counter.pending = counter.seen;
        }
        Ok(())
    }

    /// A new clock reference: everything that waits has its time.
    fn reference(&mut self, reference: u64, out: &mut Vec<Portion>) {
        let waiting = self.waiting.split().freeze();
        let packets = waiting.len() / PACKET_BYTES;
        let Some((last, due)) = self.clock else {
            // What comes before the first one is due with it.
            self.clock = Some((reference, 0));
            out.extend((packets > 0).then_some(Portion { due: 0, data: waiting }));
            return;
        };
        let mut took = (reference + PCR_WRAP - last) % PCR_WRAP;
        if took > STEP_MAX {
            // The clock jumps: packets go on as fast as they did.
            let (ticks, before) = self.pace.unwrap_or((0, 1));
            took = ticks * packets as u64 / before.max(1) as u64;
        } else if took > 0 {
            self.pace = Some((took, packets));
        }
        self.clock = Some((reference, due + took));
        let each = (packets as u64 * PORTION / took.max(1)).clamp(1, packets.max(1) as u64) as usize;
        for first in (0..packets).step_by(each) {
            let end = (first + each).min(packets);
            let data = waiting.slice(first * PACKET_BYTES..end * PACKET_BYTES);
            out.push(Portion { due: due + took * first as u64 / packets as u64, data });
        }
    }

    /// Moves a packet's times and counter to this pass; its clock reference, if it has the one that counts.
    fn restamp(&mut self, bytes: &mut [u8; PACKET_BYTES]) -> Option<u64> {
        let packet = Packet::parse(bytes).ok().filter(|p| !p.error && p.pid != NULL_PID)?;
        let (pid, counter, has_payload) = (packet.pid, packet.counter, packet.payload.is_some());
        let reference = packet.pcr.map(|pcr| (pcr + self.ahead * 300) % PCR_WRAP);
        let payload = packet.payload.filter(|_| packet.starts && !packet.scrambled);
        let header = payload.and_then(|p| Some((PACKET_BYTES - p.len(), PesHeader::parse(p).ok()?)));
        if let Some((at, header)) = header
            && let Some(pts) = header.pts
        {
            self.note(pid, header.stream_id, header.dts.unwrap_or(pts));
            put_time(bytes, at + 9, (pts + self.ahead) % WRAP);
            if let Some(dts) = header.dts {
                put_time(bytes, at + 14, (dts + self.ahead) % WRAP);
            }
        }
        // Reserved bits of the first pass stay as they are.
        if let Some(reference) = reference.filter(|_| self.ahead > 0) {
            // Behind the header, the field's length and its flags.
            let (base, extension) = (reference / 300, reference % 300);
            bytes[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
            bytes[10] = ((base & 1) << 7) as u8 | 0x7e | (extension >> 8) as u8;
            bytes[11] = extension as u8;
        }
        let state = &mut self.counters[usize::from(pid)];
        if state.pending {
            let next = state.last.wrapping_add(u8::from(has_payload));
            (state.ahead, state.pending) = (next.wrapping_sub(counter) & 0x0f, false);
        }
        (state.last, state.seen) = (counter.wrapping_add(state.ahead) & 0x0f, true);
        bytes[3] = bytes[3] & 0xf0 | state.last;
        reference.filter(|_| *self.clock_pid.get_or_insert(pid) == pid)
    }

    /// Passes are joined by the first track of pictures; by the first of all where there are none.
    fn note(&mut self, pid: u16, stream_id: u8, time: u64) {
        let video = stream_id & 0xf0 == 0xe0;
        match &mut self.lead {
            Some(lead) if lead.pid == pid => {
                let step = apart(lead.last, time);
                if (1..=PICTURE_MAX).contains(&step) {
                    lead.picture = Some(lead.picture.map_or(step, |least| least.min(step)));
                }
                lead.last = time;
            }
            Some(lead) if lead.video || !video => {}
            lead => *lead = Some(Lead { pid, video, first: time, last: time, picture: None }),
        }
    }
}

/// From one time to a later one, on a clock of 33 bits.
fn apart(earlier: u64, later: u64) -> u64 {
    (later + WRAP - earlier) % WRAP
}

/// 33 bits in five bytes with marker bits between (§2.4.3.7); the first four bits stay.
fn put_time(bytes: &mut [u8; PACKET_BYTES], at: usize, time: u64) {
    let Some(field) = bytes.get_mut(at..at + 5) else { return };
    field[0] = field[0] & 0xf0 | (time >> 29) as u8 & 0x0e | 1;
    field[1] = (time >> 22) as u8;
    field[2] = (time >> 14) as u8 | 1;
    field[3] = (time >> 7) as u8;
    field[4] = (time << 1) as u8 | 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ts::{Continuity, Step};

    const PID: u16 = 0x100;

    /// A packet with a clock reference and the start of a picture.
    fn picture(counter: u8, pcr: u64, pts: u64, dts: Option<u64>) -> [u8; PACKET_BYTES] {
        let mut bytes = [0xff; PACKET_BYTES];
        let flags = if dts.is_some() { 0xc0 } else { 0x80 };
        bytes[..12].copy_from_slice(&[0x47, 0x41, 0, 0x30 | counter, 7, 0x10, 0, 0, 0, 0, 0x7e, 0]);
        bytes[12..21].copy_from_slice(&[0, 0, 1, 0xe0, 0, 0, 0x80, flags, 10]);
        (bytes[21], bytes[26]) = (if dts.is_some() { 0x31 } else { 0x21 }, 0x11);
        put_time(&mut bytes, 21, pts);
        put_time(&mut bytes, 26, dts.unwrap_or(0));
        bytes[6..10].copy_from_slice(&(((pcr / 300) >> 1) as u32).to_be_bytes());
        bytes[10] = ((pcr / 300) << 7) as u8 | 0x7e | ((pcr % 300) >> 8) as u8;
        bytes[11] = (pcr % 300) as u8;
        bytes
    }

    fn filler(counter: u8) -> [u8; PACKET_BYTES] {
        let mut bytes = [0; PACKET_BYTES];
        bytes[..4].copy_from_slice(&[0x47, 1, 0, 0x10 | counter]);
        bytes
    }

    /// `pictures` at 25 a second from `start` on, 5 packets each.
    fn file(pictures: u64, start: u64) -> Vec<[u8; PACKET_BYTES]> {
        let packet = |n: u64| {
            let counter = (n % 16) as u8;
            let time = (start + n / 5 * 3600) % WRAP;
            if n.is_multiple_of(5) {
                picture(counter, time * 300 + 7, (time + 7200) % WRAP, Some(time))
            } else {
                filler(counter)
            }
        };
        (0..pictures * 5).map(packet).collect()
    }

    fn play(file: &[[u8; PACKET_BYTES]], passes: usize) -> Vec<Portion> {
        let (mut endless, mut out) = (Endless::default(), Vec::new());
        for pass in 0..passes {
            if pass > 0 {
                endless.rewind().unwrap();
            }
            for packet in file {
                endless.packet(packet, &mut out).unwrap();
            }
        }
        out
    }

    #[test]
    fn passes_follow_each_other_without_a_seam() {
        for (name, start) in [("from 0", 0), ("across the wrap in the first pass", WRAP - 90_000), ("odd", 123_457)] {
            let file = file(50, start);
            let out = play(&file, 3);
            let packets: Vec<[u8; PACKET_BYTES]> =
                out.iter().flat_map(|p| p.data.chunks(PACKET_BYTES)).map(|p| p.try_into().unwrap()).collect();
            assert_eq!(packets.len(), 3 * 250 - 5, "{name}: but for what waits for the next reference");
            assert_eq!(packets[..250], file, "{name}: the first pass is the file");
            let mut continuity = Continuity::default();
            let mut times = Vec::new();
            for bytes in &packets {
                let packet = Packet::parse(bytes).unwrap();
                assert_eq!(continuity.step(&packet), Step::Follows, "{name}");
                if let Some(pcr) = packet.pcr {
                    let pes = PesHeader::parse(packet.payload.unwrap()).unwrap();
                    times.push((pcr, pes.pts.unwrap(), pes.dts.unwrap()));
                }
            }
            let want = |n: u64| {
                let time = (start + n * 3600) % WRAP;
                (time * 300 + 7, (time + 7200) % WRAP, time)
            };
            assert_eq!(times, (0..149).map(want).collect::<Vec<_>>(), "{name}");
            for (before, after) in out.iter().zip(&out[1..]) {
                let gap = after.due - before.due;
                assert!((1..=2 * PORTION).contains(&gap), "{name}: {gap} ticks between portions");
            }
            assert_eq!(out.last().unwrap().due / (SECOND / 25), 148, "{name}: at its own pace");
        }
    }

    #[test]
    fn a_clock_that_jumps_keeps_its_pace() {
        let mut packets = file(10, 0);
        packets.extend(file(10, 5_000_000));
        let out = play(&packets, 1);
        let total = out.last().unwrap().due;
        assert!((17 * SECOND / 25..=19 * SECOND / 25).contains(&total), "{total}");
        assert!(out.iter().zip(&out[1..]).all(|(a, b)| b.due - a.due <= 2 * PORTION));
    }

    #[test]
    fn what_cannot_be_played_is_said() {
        for (name, packets, want) in [
            ("nothing", vec![], Unplayable::NotTs),
            ("no clock", vec![filler(0), filler(1)], Unplayable::Clockless),
            ("one picture", vec![picture(0, 0, 0, None)], Unplayable::Timeless),
        ] {
            let (mut endless, mut out) = (Endless::default(), Vec::new());
            packets.iter().for_each(|p| endless.packet(p, &mut out).unwrap());
            assert_eq!(endless.rewind(), Err(want), "{name}");
        }
        let (mut endless, mut out) = (Endless::default(), Vec::new());
        let ended = (0..UNTIMED_MAX + 1).find_map(|n| endless.packet(&filler((n % 16) as u8), &mut out).err());
        assert_eq!(ended, Some(Unplayable::Clockless));
    }

    #[test]
    fn times_fit_between_their_marker_bits() {
        for time in [0, 1, WRAP - 1, 1 << 29, 1 << 14, 1 << 15, 0x1_2345_6789] {
            let bytes = picture(0, time * 300 + 299, time, None);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!(PesHeader::parse(packet.payload.unwrap()).unwrap().pts, Some(time));
            assert_eq!((packet.pid, packet.pcr), (PID, Some(time * 300 + 299)));
        }
    }
}
