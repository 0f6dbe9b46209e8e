//! One elementary stream on its way into packets: how many each unit takes, when each is due, and its bytes.

use std::ops::Range;

use super::pes::{PesHeader, PesPacket};
use super::{CLOCK_PID, ClockTime, MuxError, PCR_MAX, StreamFormat, Unit};
use crate::wire::ts::PACKET_BYTES;

/// Bytes of a packet behind its header.
const ROOM: u64 = PACKET_BYTES as u64 - 4;
/// Bytes of an adaptation field with a PCR; with nothing but flags (§2.4.3.4).
const PCR_FIELD: u64 = 8;
const FLAGS_FIELD: u64 = 2;
/// Values of the continuity counter, and so the unit in which packets with payload come.
const COUNTS: u64 = 16;

/// Where a unit's packets lie.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Ticks from the beginning of the span on.
    from: u64,
    lasts: u64,
    /// Parts of that time, each of which begins with a PCR; of a stream without the clock, 1.
    beats: u64,
    /// Packets with payload.
    packets: u64,
    /// Bytes of the PES packet, header included.
    bytes: u64,
}

impl Plan {
    /// The first packet of a beat. Where there are more beats than packets, some beats have none.
    fn first_of(&self, beat: u64) -> u64 {
        (beat * self.packets).div_ceil(self.beats)
    }

    fn beat(&self, beat: u64) -> Beat {
        let time = |beat: u64| self.from + self.lasts * beat / self.beats;
        Beat {
            packets: self.first_of(beat)..self.first_of(beat + 1),
            from: time(beat),
            lasts: time(beat + 1) - time(beat),
        }
    }
}

/// From one PCR to the next.
#[derive(Clone, Debug, Default)]
struct Beat {
    packets: Range<u64>,
    from: u64,
    lasts: u64,
}

impl Beat {
    /// When a packet of it is due.
    fn due(&self, packet: u64) -> u64 {
        let into = self.lasts * (packet - self.packets.start);
        // A beat without packets has one for its PCR alone, at its beginning.
        self.from + into.checked_div(self.packets.end - self.packets.start).unwrap_or(0)
    }
}

/// One elementary stream of one segment.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    pid: u16,
    format: StreamFormat,
    start: ClockTime,
    units: &'a [Unit<'a>],
    plans: Vec<Plan>,
    /// The unit and its beat that are being sent.
    unit: usize,
    beat_number: u64,
    beat: Beat,
    /// The unit's packet that comes next.
    packet: u64,
    /// Counter of the next packet with payload.
    counter: u8,
    pes: PesPacket<'a>,
}

impl<'a> Lane<'a> {
    /// Plans the packets of all units.
    pub fn new(
        pid: u16,
        format: StreamFormat,
        units: &'a [Unit<'a>],
        span: &Range<ClockTime>,
    ) -> Result<Self, MuxError> {
        let mut lane = Self {
            pid,
            format,
            start: span.start,
            units,
            plans: Vec::with_capacity(units.len()),
            unit: 0,
            beat_number: 0,
            beat: Beat::default(),
            packet: 0,
            counter: 0,
            pes: PesPacket::default(),
        };
        let length = span.end.since(span.start);
        // Moments outside of the span are moved into it, and none lies before the one in front of it.
        let mut from = 0;
        for (place, unit) in units.iter().enumerate() {
            from = unit.due.since(span.start).clamp(from, length);
            let next = units.get(place + 1).map_or(length, |next| next.due.since(span.start).clamp(from, length));
            lane.plan(place, from, next - from)?;
        }
        lane.fill_up();
        lane.begin();
        Ok(lane)
    }

    fn plan(&mut self, place: usize, from: u64, lasts: u64) -> Result<(), MuxError> {
        let (pid, unit) = (self.pid, &self.units[place]);
        let bytes = unit.bytes();
        if bytes < 2 {
            return Err(MuxError::TooShort { pid, unit: place, bytes });
        }
        let Some(header) = PesHeader::new(self.format, unit) else {
            return Err(MuxError::TooLong { pid, unit: place, bytes });
        };
        let bytes = (header.as_bytes().len() + bytes) as u64;
        let (beats, packets) = if self.has_clock() {
            let beats = lasts.div_ceil(PCR_MAX).max(1);
            let packets = (bytes + beats * PCR_FIELD).div_ceil(ROOM);
            // Fewer packets than PCR: each of them has one.
            (beats, if packets < beats { bytes.div_ceil(ROOM - PCR_FIELD) } else { packets })
        } else {
            let field = if unit.random_access { FLAGS_FIELD } else { 0 };
            (1, (bytes + field).div_ceil(ROOM))
        };
        self.plans.push(Plan { from, lasts, beats, packets, bytes });
        Ok(())
    }

    /// Spreads units over more packets, evenly over the segment, so that there is a multiple of 16. A unit has at least 16
    /// bytes with its header, so there is a byte for each of its packets.
    fn fill_up(&mut self) {
        let packets = self.plans.iter().map(|plan| plan.packets).sum::<u64>();
        let missing = (packets.next_multiple_of(COUNTS) - packets) as usize;
        for i in 0..missing {
            let at = i * self.plans.len() / missing;
            self.plans[at].packets += 1;
        }
        debug_assert!(self.plans.iter().all(|plan| plan.packets <= plan.bytes));
    }

    fn has_clock(&self) -> bool {
        self.pid == CLOCK_PID
    }

    /// Packets of all units, with and without payload.
    pub fn packets(&self) -> u64 {
        self.plans.iter().map(|plan| plan.packets.max(plan.beats)).sum()
    }

    /// When the next packet is due, ticks from the beginning of the span on; `None`: there is none.
    pub fn due(&self) -> Option<u64> {
        (self.unit < self.plans.len()).then(|| self.beat.due(self.packet))
    }

    /// Begins the unit that is next.
    fn begin(&mut self) {
        let Some(plan) = self.plans.get(self.unit) else { return };
        (self.beat_number, self.beat, self.packet) = (0, plan.beat(0), 0);
        let unit = &self.units[self.unit];
        self.pes = PesPacket::new(PesHeader::new(self.format, unit).unwrap_or_default(), unit.pieces, plan.bytes);
    }

    /// Writes the next packet.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        let Some(&plan) = self.plans.get(self.unit) else { return };
        let beat_begins = self.packet == self.beat.packets.start;
        let starts = self.packet == 0 && self.beat_number == 0;
        let field = AdaptationField {
            pcr: (self.has_clock() && beat_begins).then(|| self.start.pcr(self.beat.from)),
            random_access: starts && self.units[self.unit].random_access,
        };
        if self.beat.packets.is_empty() {
            // The counter of a packet without payload is that of the packet before it (§2.4.3.3).
            header(out, self.pid, false, self.counter.wrapping_sub(1), 0, field);
        } else {
            // A full packet, unless those that are left would have nothing to carry.
            let others = plan.packets - self.packet - 1;
            let payload = (ROOM - field.bytes()).min(self.pes.left() - others) as usize;
            header(out, self.pid, starts, self.counter, payload, field);
            self.pes.give(payload, out);
            self.counter = self.counter.wrapping_add(1);
            self.packet += 1;
        }
        if self.packet < self.beat.packets.end {
            return;
        }
        self.beat_number += 1;
        if self.beat_number < plan.beats {
            self.beat = plan.beat(self.beat_number);
        } else {
            self.unit += 1;
            self.begin();
        }
    }
}

/// What an adaptation field says (§2.4.3.4).
#[derive(Clone, Copy, Debug)]
struct AdaptationField {
    pcr: Option<u64>,
    random_access: bool,
}

impl AdaptationField {
    /// Bytes it needs; none where there is nothing to say.
    fn bytes(self) -> u64 {
        match (self.pcr, self.random_access) {
            (Some(_), _) => PCR_FIELD,
            (None, true) => FLAGS_FIELD,
            (None, false) => 0,
        }
    }
}

/// Stuffing of adaptation fields.
const STUFFING: [u8; ROOM as usize] = [0xff; ROOM as usize];

/// A packet's header (§2.4.3.2) and as much of an adaptation field as leaves room for `payload` bytes.
fn header(out: &mut Vec<u8>, pid: u16, starts: bool, counter: u8, payload: usize, field: AdaptationField) {
    let [high, low] = pid.to_be_bytes();
    let size = ROOM as usize - payload;
    // adaptation_field_control: 1 payload, 2 an adaptation field.
    let control = u8::from(payload > 0) | u8::from(size > 0) << 1;
    out.extend_from_slice(&[0x47, u8::from(starts) << 6 | high, low, control << 4 | counter & 0x0f]);
    if size == 0 {
        return;
    }
    // adaptation_field_length; a field of one byte is nothing but that.
    out.push((size - 1) as u8);
    if size == 1 {
        return;
    }
    out.push(u8::from(field.random_access) << 6 | u8::from(field.pcr.is_some()) << 4);
    let mut said = FLAGS_FIELD as usize;
    if let Some(pcr) = field.pcr {
        // 33 bits of 90 kHz, six reserved bits, nine bits of 27 MHz (§2.4.3.5).
        let bits = (pcr / 300) << 15 | 0x3f << 9 | (pcr % 300);
        out.extend_from_slice(&bits.to_be_bytes()[2..]);
        said = PCR_FIELD as usize;
    }
    out.extend_from_slice(&STUFFING[said..size]);
}
