//! What PAT and PMT say each PID is for.

use std::time::Duration;

use super::PidKind;
use crate::clock::Now;
use crate::media::TrackKind;
use crate::wire::ts::{NULL_PID, PAT_PID, PIDS, Pat, Pmt, Section, codec_of};

/// Programmes followed; a multiplex has some dozens.
const PROGRAMMES_MAX: usize = 64;
/// Maps that change all the time are looked at no more often: to tell all PIDs what they are takes some 50 µs.
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// stream_type of splice information (SCTE 35 §8.1).
const SCTE_35: u8 = 0x86;
const CAT_PID: u16 = 1;
/// NIT, SDT and BAT, EIT, TDT and TOT (ETSI EN 300 468 Table 1); whether their sections may be long.
const SI: [(u16, bool); 4] = [(0x10, false), (0x11, false), (0x12, true), (0x14, false)];

/// What a PID is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub kind: PidKind,
    pub stream_type: Option<u8>,
    /// It carries a programme's clock.
    pub clock: bool,
}

impl Role {
    const UNKNOWN: Self = Self { kind: PidKind::Unknown, stream_type: None, clock: false };
}

/// One programme of the PAT.
#[derive(Debug)]
pub(super) struct Programme {
    pub number: u16,
    /// PID of its map.
    pub pid: u16,
    /// When its map last came, or when it was first listed.
    pub seen: Option<u64>,
    map: Option<Pmt>,
}

#[derive(Debug)]
pub(super) struct Programmes {
    pat: Pat,
    listed: Vec<Programme>,
    roles: Box<[Role]>,
    /// The roles are not those of `listed` any more.
    changed: bool,
    settled: Option<Now>,
    /// There was a map then.
    mapped: bool,
}

impl Default for Programmes {
    fn default() -> Self {
        let mut fresh = Self {
            pat: Pat::default(),
            listed: Vec::new(),
            roles: vec![Role::UNKNOWN; PIDS].into_boxed_slice(),
            changed: false,
            settled: None,
            mapped: false,
        };
        fresh.assign();
        fresh
    }
}

impl Programmes {
    pub fn role(&self, pid: u16) -> Role {
        self.roles[usize::from(pid)]
    }

    pub fn list_mut(&mut self) -> &mut [Programme] {
        &mut self.listed
    }

    /// Takes a section with table_id 0 whose checksum is right.
    pub fn pat(&mut self, section: &[u8], at: u64) {
        let Some(Ok(section)) = Section::parse(section) else { return };
        let Some(list) = self.pat.push(&section) else { return };
        let mut before = std::mem::take(&mut self.listed);
        for (number, pid) in list.into_iter().take(PROGRAMMES_MAX) {
            let known = before.iter().position(|p| (p.number, p.pid) == (number, pid)).map(|at| before.swap_remove(at));
            self.listed.push(known.unwrap_or(Programme { number, pid, seen: Some(at), map: None }));
        }
        self.changed = true;
    }

    /// Takes a section with table_id 2 whose checksum is right; when the one before it came.
    pub fn pmt(&mut self, pid: u16, section: &[u8], at: u64) -> Option<u64> {
        let section = Section::parse(section)?.ok()?;
        let map = Pmt::parse(&section)?.ok()?;
        let programme = self.listed.iter_mut().find(|p| (p.number, p.pid) == (map.programme, pid))?;
        if programme.map.as_ref() != Some(&map) {
            programme.map = Some(map);
            self.changed = true;
        }
        programme.seen.replace(at)
    }

    /// Assigns roles anew if they have changed and the last time is not too near. Whether it did.
    pub fn settle(&mut self, now: Now) -> bool {
        // The first map follows the first PAT at once.
        let mapped = self.maps().next().is_some();
        let soon = self.settled.is_some_and(|at| now.since(at) < SETTLE_EVERY) && self.mapped == mapped;
        if !self.changed || soon {
            return false;
        }
        (self.settled, self.mapped, self.changed) = (Some(now), mapped, false);
        self.assign();
        true
    }

    fn maps(&self) -> impl Iterator<Item = &Pmt> {
        self.listed.iter().filter_map(|p| p.map.as_ref())
    }

    fn assign(&mut self) {
        self.roles.fill(Role::UNKNOWN);
        let roles = &mut self.roles;
        let mut set = |pid: u16, kind: PidKind, stream_type: Option<u8>| {
            let role = &mut roles[usize::from(pid)];
            (role.kind, role.stream_type) = (kind, stream_type);
        };
        for (pid, _) in SI {
            set(pid, PidKind::Si, None);
        }
        for map in self.listed.iter().filter_map(|p| p.map.as_ref()) {
            set(map.pcr_pid, PidKind::Pcr, None);
        }
        for map in self.listed.iter().filter_map(|p| p.map.as_ref()) {
            for stream in &map.streams {
                let kind = match codec_of(stream).kind() {
                    TrackKind::Video => PidKind::Video,
                    TrackKind::Audio => PidKind::Audio,
                    TrackKind::Data => PidKind::Data,
                };
                set(stream.pid, kind, Some(stream.stream_type));
            }
        }
        for programme in &self.listed {
            set(programme.pid, PidKind::Pmt, None);
        }
        set(PAT_PID, PidKind::Pat, None);
        set(CAT_PID, PidKind::Cat, None);
        for map in self.listed.iter().filter_map(|p| p.map.as_ref()) {
            roles[usize::from(map.pcr_pid)].clock = true;
        }
        roles[usize::from(NULL_PID)] = Role::UNKNOWN;
    }

    /// PIDs of pictures and sound.
    pub fn media(&self) -> Vec<u16> {
        let of = |&pid: &u16| matches!(self.role(pid).kind, PidKind::Video | PidKind::Audio);
        (0..NULL_PID).filter(of).collect()
    }

    /// PIDs whose sections are read, each once, and whether they may be long.
    pub fn tables(&self) -> Vec<(u16, bool)> {
        let mut list = vec![(PAT_PID, false), (CAT_PID, false)];
        list.extend(SI);
        for programme in &self.listed {
            if self.role(programme.pid).kind == PidKind::Pmt && list.iter().all(|&(pid, _)| pid != programme.pid) {
                list.push((programme.pid, false));
            }
        }
        list
    }

    /// PIDs with a programme's clock, each once, in the order of the programmes.
    pub fn clocks(&self) -> Vec<u16> {
        let mut list = Vec::new();
        for map in self.maps().filter(|map| map.pcr_pid != NULL_PID) {
            if !list.contains(&map.pcr_pid) {
                list.push(map.pcr_pid);
            }
        }
        list
    }

    /// PIDs with splice information, each once.
    pub fn splices(&self) -> Vec<u16> {
        let mut list = Vec::new();
        let streams = self.maps().flat_map(|map| &map.streams);
        for stream in streams.filter(|s| s.stream_type == SCTE_35).take(PROGRAMMES_MAX) {
            if !list.contains(&stream.pid) {
                list.push(stream.pid);
            }
        }
        list
    }
}
