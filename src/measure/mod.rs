//! What a source's transport stream is worth: ETSI TR 101 290 and figures.
//!
//! In:    the bytes of one source with their arrival; the units its demux makes of them; a tick a second.
//! Out:   [`Measured`], a snapshot; [`News`] when an indicator begins or ends.
//! Never: reads a clock, changes what it sees, grows with what a peer sends: 8,192 PIDs there are, and 64 programmes are followed.
//!
//! # What the intervals are told by
//!
//! By the stream's own clock (`pace`), so that a network that delivers in lumps is not taken for a multiplexer that
//! forgets its tables. Where a stream has no clock, by arrival. What does not come at all is counted once a second.
//!
//! # Where it differs from the letter of the report
//!
//! * A step of PCR of more than 100 ms counts as 2.3a if as much time passed, else as 2.3b; the report counts some as both.
//! * PCR accuracy (2.4) is told where packets come at a constant rate and none is missing: a line through the PCR over
//!   the packets. A stream of variable rate has no such line, and counts nothing.
//! * 1.6 and 2.5 are about pictures and sound: subtitles and splice messages may be silent for as long as they like.

mod content;
mod indicator;
mod pace;
mod pcr;
mod programmes;
mod snapshot;
mod sync;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use indicator::{CLEARS_AFTER, Indicator, News};
pub use snapshot::{IndicatorStatus, Measured, PIDS_SHOWN, PidKind, PidStatus, SpliceStatus, TrackStatus};

use self::content::Content;
use self::indicator::Tally;
use self::pace::{HZ, Pace};
use self::pcr::Clock;
use self::programmes::{Programmes, Role};
use self::sync::{Found, Sync};
use crate::clock::Now;
use crate::media::{TrackInfo, TrackSet};
use crate::wire::ts::{
    Continuity, NULL_PID, PACKET_BYTES, PIDS, Packet, PesHeader, PsiError, SectionReader, Step, crc32,
};

/// PAT and PMT come at least so often: 0.5 s (1.3, 1.5).
const TABLE_MAX: u64 = HZ / 2;
/// PTS come at least so often: 0.7 s (2.5).
const PTS_MAX: u64 = HZ / 10 * 7;
/// A PID may be away for so many seconds (1.6).
const AWAY_MAX: u8 = 5;
/// So many bytes in which no packet was found are no transport stream.
const NOT_TS: u64 = 16 * 1024;

/// The measurement of one source.
#[derive(Debug)]
pub struct Measure {
    sync: Sync,
    core: Core,
}

impl Default for Measure {
    fn default() -> Self {
        Self { sync: Sync::default(), core: Core::new() }
    }
}

impl Measure {
    /// Takes bytes, in portions of any size.
    pub fn push(&mut self, arrival: Now, bytes: &[u8]) {
        let core = &mut self.core;
        core.bytes += bytes.len() as u64;
        core.searched += bytes.len() as u64;
        self.sync.feed(bytes, &mut |found| match found {
            Found::Packet(packet) => core.packet(arrival, packet),
            Found::WrongByte => core.tally.add(arrival, Indicator::SyncByteError, None),
            Found::Lost => core.tally.add(arrival, Indicator::TsSyncLoss, None),
            Found::Locked => core.locked(arrival),
        });
    }

    /// Takes what the demux made of them.
    pub fn unit(&mut self, track: &TrackInfo, data: &[u8]) {
        self.core.content.unit(track, data);
    }

    /// Bytes come, and packets are not found in them: not any more, or not in the first 16 KiB.
    pub fn lost(&self) -> bool {
        !self.sync.locked() && (self.core.was_locked || self.core.searched > NOT_TS)
    }

    /// Forgets tracks that the programme has no more.
    pub fn keep_tracks(&mut self, tracks: &TrackSet) {
        self.core.content.keep(tracks);
    }

    /// A new connection: counts go on, everything else begins anew.
    pub fn reconnected(&mut self) {
        self.sync = Sync::default();
        let fresh = Core::new();
        let old = std::mem::replace(&mut self.core, fresh);
        (self.core.tally, self.core.number) = (old.tally, old.number);
        self.core.pace = old.pace;
        self.core.pace.reconnected(self.core.number);
    }

    /// To be called once a second. What has begun and what is over.
    pub fn tick(&mut self, now: Now) -> Vec<News> {
        self.core.tick(now, self.sync.locked());
        self.core.tally.news(now)
    }

    /// How often an indicator was counted since the start.
    pub fn count(&self, indicator: Indicator) -> u64 {
        self.core.tally.count(indicator)
    }

    /// The measurement as it stands. `tracks` is what the demux found.
    pub fn snapshot(&self, tracks: Option<&TrackSet>) -> Measured {
        let core = &self.core;
        let clock = core.clocks.first();
        let (pids, pids_more) = core.pids();
        Measured {
            locked: self.sync.locked(),
            packets: core.number,
            bitrate: core.second.bits(core.second.packets),
            null_ratio: core.second.nulls as f64 / core.second.packets.max(1) as f64,
            pcr_jitter_ms: clock.and_then(|c| c.arrival.jitter()).map(|jitter| jitter.as_secs_f64() * 1000.0),
            pcr_drift_ppm: clock.and_then(|c| c.arrival.drift_ppm()),
            indicators: core.tally.all().collect(),
            pids,
            pids_more,
            tracks: tracks.map_or_else(Vec::new, |tracks| core.content.status(tracks)),
            scte35: core.splices.clone(),
        }
    }
}

/// What a second brought.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    packets: u64,
    nulls: u64,
    /// How long it was.
    seconds: f64,
}

impl Second {
    /// Bits a second of so many packets.
    fn bits(&self, packets: u64) -> u64 {
        if self.seconds > 0.0 { ((packets * PACKET_BYTES as u64 * 8) as f64 / self.seconds).round() as u64 } else { 0 }
    }
}

/// One PID.
#[derive(Debug)]
struct Slot {
    pid: u16,
    role: Role,
    continuity: Continuity,
    /// The end of its last payload: a duplicate has the same.
    tail: u64,
    scrambled: bool,
    /// Seconds without a packet.
    away: u8,
    /// When its last PTS came.
    pts: Option<u64>,
    /// Packets of this second and of the one before.
    packets: u32,
    before: u32,
    errors: u64,
}

/// A PID whose sections are read.
#[derive(Debug)]
struct Tables {
    pid: u16,
    reader: SectionReader,
}

#[derive(Debug)]
struct Core {
    tally: Tally,
    /// Packets so far.
    number: u64,
    /// Bytes and packets of this second.
    bytes: u64,
    packets: u64,
    nulls: u64,
    second: Second,
    ticked: Option<Now>,
    pace: Pace,
    /// Place in `slots` by PID.
    places: Box<[u16]>,
    slots: Vec<Slot>,
    programmes: Programmes,
    tables: Vec<Tables>,
    clocks: Vec<Clock>,
    /// When the last PAT came; `None`: packets have not been found yet.
    pat: Option<u64>,
    was_locked: bool,
    /// Bytes since the connection began.
    searched: u64,
    cat: bool,
    scrambled: bool,
    content: Content,
    splices: Vec<SpliceStatus>,
}

const NO_PLACE: u16 = u16::MAX;

impl Core {
    fn new() -> Self {
        let mut core = Self {
            tally: Tally::default(),
            number: 0,
            bytes: 0,
            packets: 0,
            nulls: 0,
            second: Second::default(),
            ticked: None,
            pace: Pace::default(),
            places: vec![NO_PLACE; PIDS].into_boxed_slice(),
            slots: Vec::new(),
            programmes: Programmes::default(),
            tables: Vec::new(),
            clocks: Vec::new(),
            pat: None,
            was_locked: false,
            searched: 0,
            cat: false,
            scrambled: false,
            content: Content::default(),
            splices: Vec::new(),
        };
        core.listen();
        core
    }

    fn locked(&mut self, now: Now) {
        self.was_locked = true;
        self.pat = self.pat.or(Some(self.pace.at(self.number, now)));
    }

    fn packet(&mut self, now: Now, bytes: &[u8; PACKET_BYTES]) {
        self.number += 1;
        self.packets += 1;
        let Ok(packet) = Packet::parse(bytes) else { return };
        if packet.pid == NULL_PID {
            self.nulls += 1;
            return;
        }
        let place = self.place(packet.pid);
        let slot = &mut self.slots[place];
        let step = slot.continuity.step(&packet);
        if packet.error {
            // Any bit of it may be wrong, those of its PID and counter too.
            return self.tally.add(now, Indicator::TransportError, Some(packet.pid));
        }
        slot.packets += 1;
        let pid = slot.pid;
        let mut repeated = false;
        if packet.payload.is_some() {
            let tail = bytes.last_chunk().map_or(0, |tail| u64::from_le_bytes(*tail));
            repeated = step == Step::Repeats && tail == slot.tail;
            slot.tail = tail;
            slot.scrambled = packet.scrambled;
            self.scrambled |= packet.scrambled;
        }
        if step != Step::Follows && !repeated {
            slot.errors += 1;
            self.tally.add(now, Indicator::ContinuityCountError, Some(pid));
            self.clocks.iter_mut().for_each(Clock::hole);
        }
        let role = slot.role;
        if let Some(pcr) = packet.pcr.filter(|_| !repeated) {
            self.pcr(now, &packet, role, pcr);
        }
        let Some(payload) = packet.payload else { return };
        match role.kind {
            PidKind::Pat if packet.scrambled => self.tally.add(now, Indicator::PatError, Some(pid)),
            PidKind::Pmt if packet.scrambled => self.tally.add(now, Indicator::PmtError, Some(pid)),
            // Whole tables may be repeated with a counter that stands still; only pieces must not be taken twice.
            PidKind::Pat | PidKind::Cat | PidKind::Pmt | PidKind::Si if !repeated || packet.starts => {
                self.table(now, pid, payload, packet.starts, step == Step::Jumps);
            }
            PidKind::Video | PidKind::Audio if packet.starts && !packet.scrambled && !repeated => {
                self.pes(now, place, payload);
            }
            PidKind::Data if packet.starts && !repeated => {
                if let Some(splice) = self.splices.iter_mut().find(|s| s.pid == pid) {
                    splice.messages += 1;
                    splice.last_ms = Some(u64::try_from(now.utc.as_millis()).unwrap_or(u64::MAX));
                }
            }
            _ => {}
        }
    }

    /// A PES packet of pictures or sound begins.
    fn pes(&mut self, now: Now, place: usize, payload: &[u8]) {
        if !PesHeader::parse(payload).is_ok_and(|header| header.pts.is_some()) {
            return;
        }
        let at = self.pace.at(self.number, now);
        let slot = &mut self.slots[place];
        if slot.pts.replace(at).is_some_and(|before| at.saturating_sub(before) > PTS_MAX) {
            self.tally.add(now, Indicator::PtsError, Some(slot.pid));
        }
    }

    fn place(&mut self, pid: u16) -> usize {
        let place = &mut self.places[usize::from(pid)];
        if *place == NO_PLACE {
            *place = self.slots.len() as u16;
            self.slots.push(Slot {
                pid,
                role: self.programmes.role(pid),
                continuity: Continuity::default(),
                tail: 0,
                scrambled: false,
                away: 0,
                pts: None,
                packets: 0,
                before: 0,
                errors: 0,
            });
        }
        usize::from(*place)
    }

    fn pcr(&mut self, now: Now, packet: &Packet<'_>, role: Role, pcr: u64) {
        self.pace.pcr(self.number, now, packet.pid, pcr, packet.discontinuity);
        if !role.clock {
            return;
        }
        let Some(clock) = self.clocks.iter_mut().find(|c| c.pid == packet.pid) else { return };
        let verdict = clock.pcr(self.number, now, pcr, packet.discontinuity);
        for (wrong, indicator) in [
            (verdict.late, Indicator::PcrRepetitionError),
            (verdict.jumped, Indicator::PcrDiscontinuityError),
            (verdict.wrong, Indicator::PcrAccuracyError),
        ] {
            if wrong {
                self.tally.add(now, indicator, Some(packet.pid));
            }
        }
    }

    fn table(&mut self, now: Now, pid: u16, payload: &[u8], starts: bool, hole: bool) {
        let Some(at) = self.tables.iter().position(|t| t.pid == pid) else { return };
        let mut reader = std::mem::take(&mut self.tables[at].reader);
        if hole {
            reader.reset();
        }
        reader.push(payload, starts, |section| self.section(now, pid, section));
        self.tables[at].reader = reader;
        if self.programmes.settle(now) {
            self.listen();
        }
    }

    fn section(&mut self, now: Now, pid: u16, section: Result<&[u8], PsiError>) {
        let Ok(section @ &[table, flags, ..]) = section else { return };
        let kind = self.programmes.role(pid).kind;
        match (kind, table) {
            (PidKind::Pat, 0) | (PidKind::Cat, 1) | (PidKind::Pmt, 2) | (PidKind::Si, 0x40..=0x7f) => {}
            (PidKind::Pat, _) => return self.tally.add(now, Indicator::PatError, Some(pid)),
            (PidKind::Cat, _) => return self.tally.add(now, Indicator::CatError, Some(pid)),
            // A map's PID may carry private sections too.
            _ => return,
        }
        // Of the short ones the time offset table alone has a checksum (ETSI EN 300 468 §5.2.6).
        if (flags & 0x80 != 0 || table == 0x73) && crc32(section) != 0 {
            return self.tally.add(now, Indicator::CrcError, Some(pid));
        }
        let at = self.pace.at(self.number, now);
        match kind {
            PidKind::Pat => {
                if self.pat.replace(at).is_some_and(|before| at.saturating_sub(before) > TABLE_MAX) {
                    self.tally.add(now, Indicator::PatError, Some(pid));
                }
                self.programmes.pat(section, at);
            }
            PidKind::Pmt => {
                let before = self.programmes.pmt(pid, section, at);
                if before.is_some_and(|before| at.saturating_sub(before) > TABLE_MAX) {
                    self.tally.add(now, Indicator::PmtError, Some(pid));
                }
            }
            PidKind::Cat => self.cat = true,
            _ => {}
        }
    }

    /// The programmes have changed: other PIDs mean other things.
    fn listen(&mut self) {
        for slot in &mut self.slots {
            let role = self.programmes.role(slot.pid);
            if role != slot.role {
                (slot.role, slot.pts, slot.away) = (role, None, 0);
            }
        }
        // What is announced may be missing from the start.
        for pid in self.programmes.media() {
            self.place(pid);
        }
        let mut before = std::mem::take(&mut self.tables);
        for (pid, long) in self.programmes.tables() {
            let reader = || if long { SectionReader::long() } else { SectionReader::default() };
            let known = before.iter().position(|t| t.pid == pid).map(|at| before.swap_remove(at));
            self.tables.push(known.unwrap_or_else(|| Tables { pid, reader: reader() }));
        }
        let mut before = std::mem::take(&mut self.clocks);
        for pid in self.programmes.clocks() {
            let known = before.iter().position(|c| c.pid == pid).map(|at| before.swap_remove(at));
            self.clocks.push(known.unwrap_or_else(|| Clock::new(pid)));
        }
        let before = std::mem::take(&mut self.splices);
        for pid in self.programmes.splices() {
            let known = before.iter().find(|s| s.pid == pid).cloned();
            self.splices.push(known.unwrap_or(SpliceStatus { pid, messages: 0, last_ms: None }));
        }
    }

    fn tick(&mut self, now: Now, locked: bool) {
        let flows = self.packets > 0;
        self.pace.tick(self.number, now, flows);
        if !locked && self.bytes > NOT_TS {
            self.tally.add(now, Indicator::TsSyncLoss, None);
        }
        if self.programmes.settle(now) {
            self.listen();
        }
        if flows {
            self.missing(now);
        }
        let seconds = self.ticked.map_or(0.0, |at| now.since(at).as_secs_f64());
        self.second = Second { packets: self.packets, nulls: self.nulls, seconds };
        (self.bytes, self.packets, self.nulls, self.ticked) = (0, 0, 0, Some(now));
        for slot in &mut self.slots {
            slot.before = std::mem::take(&mut slot.packets);
        }
        self.content.tick();
    }

    /// Counts what did not come.
    fn missing(&mut self, now: Now) {
        let at = self.pace.at(self.number, now);
        let overdue = |last: &mut Option<u64>, max: u64| {
            let late = last.is_some_and(|last| at.saturating_sub(last) > max);
            if late {
                *last = Some(at);
            }
            late
        };
        if overdue(&mut self.pat, TABLE_MAX) {
            self.tally.add(now, Indicator::PatError, None);
        }
        for programme in self.programmes.list_mut() {
            if overdue(&mut programme.seen, TABLE_MAX) {
                self.tally.add(now, Indicator::PmtError, Some(programme.pid));
            }
        }
        for clock in &mut self.clocks {
            if clock.tick(now) {
                self.tally.add(now, Indicator::PcrRepetitionError, Some(clock.pid));
            }
        }
        for slot in self.slots.iter_mut().filter(|s| matches!(s.role.kind, PidKind::Video | PidKind::Audio)) {
            slot.away = if slot.packets == 0 { slot.away + 1 } else { 0 };
            if slot.away >= AWAY_MAX {
                slot.away = 0;
                self.tally.add(now, Indicator::PidError, Some(slot.pid));
            }
            if slot.scrambled {
                slot.pts = None;
            } else if overdue(&mut slot.pts, PTS_MAX) {
                self.tally.add(now, Indicator::PtsError, Some(slot.pid));
            }
        }
        if std::mem::take(&mut self.scrambled) && !self.cat {
            self.tally.add(now, Indicator::CatError, None);
        }
    }

    fn pids(&self) -> (Vec<PidStatus>, u64) {
        let mut seen: Vec<&Slot> = self.slots.iter().collect();
        let more = seen.len().saturating_sub(PIDS_SHOWN);
        if more > 0 {
            seen.sort_unstable_by_key(|s| std::cmp::Reverse(s.before));
            seen.truncate(PIDS_SHOWN);
        }
        seen.sort_unstable_by_key(|s| s.pid);
        let one = |slot: &&Slot| PidStatus {
            pid: slot.pid,
            kind: slot.role.kind,
            stream_type: slot.role.stream_type,
            bitrate: self.second.bits(u64::from(slot.before)),
            scrambled: slot.scrambled,
            continuity_errors: slot.errors,
        };
        (seen.iter().map(one).collect(), more as u64)
    }
}
