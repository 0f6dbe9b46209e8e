//! Which programme, and what is in it.
//!
//! In:    packets of the PAT's PID and of those it names.
//! Out:   the chosen programme's map, whenever it is new or has changed.
//! Never: changes its mind while the chosen programme is listed.
//!
//! Without a wish, the first programme in the PAT that has a decodable track is chosen. A programme listed before it
//! whose map does not come (recordings of one programme often keep the PAT of the whole multiplex) is waited for until
//! the other's map has come [`PATIENCE`] times.

use super::Stats;
use crate::media::TrackKind;
use crate::wire::ts::{PAT_PID, Packet, Pat, Pmt, PsiError, Section, SectionReader, Step, codec_of};

/// Maps come at least every 0.5 s, usually every 0.1 s (ETSI TR 101 290 1.5).
const PATIENCE: u32 = 5;
/// PIDs with maps that are listened to until the choice is made; a multiplex has some dozens.
const MAPS_MAX: usize = 512;

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProgrammeNews {
    /// Other PIDs are to be listened to.
    Listen,
    /// The chosen programme's map.
    Map(Pmt),
}

#[derive(Debug)]
struct Listed {
    number: u16,
    pid: u16,
    map: Option<Pmt>,
    seen: u32,
}

/// Reads one PID with tables.
#[derive(Debug)]
struct Tables {
    pid: u16,
    reader: SectionReader,
    last: super::LastPayload,
}

impl Tables {
    fn new(pid: u16) -> Self {
        Self { pid, reader: SectionReader::default(), last: super::LastPayload::NONE }
    }

    fn packet(&mut self, packet: &Packet<'_>, step: Step, stats: &mut Stats, mut sink: impl FnMut(Section<'_>)) {
        let Some(payload) = packet.payload else { return };
        if packet.error || packet.scrambled {
            return self.reader.reset();
        }
        let same = self.last.repeats(payload);
        match step {
            Step::Follows => {}
            // Whole tables may be repeated with a counter that stands still; only pieces must not be taken twice.
            Step::Repeats | Step::Stands if same && !packet.starts => return,
            Step::Repeats | Step::Stands => {}
            Step::Jumps => {
                stats.continuity_errors += 1;
                self.reader.reset();
            }
        }
        self.reader.push(payload, packet.starts, |section| match section.map(Section::parse) {
            Ok(Some(Ok(section))) => sink(section),
            Ok(None) => {}
            Ok(Some(Err(PsiError::Crc))) => stats.crc_errors += 1,
            Ok(Some(Err(_))) | Err(_) => stats.psi_errors += 1,
        });
    }
}

/// Chooses.
#[derive(Debug)]
pub(super) struct Chooser {
    wish: Option<u16>,
    pat: Pat,
    pat_tables: Tables,
    listed: Vec<Listed>,
    chosen: Option<u16>,
    maps: Vec<Tables>,
    ending: bool,
}

impl Chooser {
    pub fn new(wish: Option<u16>) -> Self {
        Self {
            wish,
            pat: Pat::default(),
            pat_tables: Tables::new(PAT_PID),
            listed: Vec::new(),
            chosen: None,
            maps: Vec::new(),
            ending: false,
        }
    }

    /// Number of the chosen programme.
    pub fn chosen(&self) -> Option<u16> {
        self.chosen
    }

    /// PIDs, besides the PAT's, whose packets are wanted.
    pub fn map_pids(&self) -> impl Iterator<Item = u16> {
        self.maps.iter().map(|m| m.pid)
    }

    /// Bytes kept of unfinished sections.
    pub fn buffered(&self) -> usize {
        self.maps.iter().chain([&self.pat_tables]).map(|t| t.reader.buffered()).sum()
    }

    /// Takes a packet of the PAT's PID or of one of [`Self::map_pids`].
    pub fn packet(&mut self, packet: &Packet<'_>, step: Step, stats: &mut Stats) -> Option<ProgrammeNews> {
        if packet.pid == PAT_PID {
            let mut whole = None;
            let pat = &mut self.pat;
            self.pat_tables.packet(packet, step, stats, |section| whole = pat.push(&section).or(whole.take()));
            return self.list(whole?);
        }
        let tables = self.maps.iter_mut().find(|m| m.pid == packet.pid)?;
        let mut maps = Vec::new();
        let mut bad = 0;
        tables.packet(packet, step, stats, |section| match Pmt::parse(&section) {
            Some(Ok(pmt)) => maps.push(pmt),
            Some(Err(_)) => bad += 1,
            None => {}
        });
        stats.psi_errors += bad;
        let mut news = None;
        for pmt in maps {
            news = self.map(packet.pid, pmt).or(news);
        }
        news
    }

    /// Nothing more will come: what is known must do.
    pub fn end(&mut self) -> Option<ProgrammeNews> {
        self.ending = true;
        let news = self.choose();
        self.ending = false;
        news
    }

    /// The PAT is new.
    fn list(&mut self, programmes: Vec<(u16, u16)>) -> Option<ProgrammeNews> {
        let mut before = std::mem::take(&mut self.listed);
        for (number, pid) in programmes {
            if self.listed.len() == MAPS_MAX || self.wish.is_some_and(|wish| wish != number) {
                continue;
            }
            let known = before.iter().position(|l| (l.number, l.pid) == (number, pid)).map(|at| before.swap_remove(at));
            self.listed.push(known.unwrap_or(Listed { number, pid, map: None, seen: 0 }));
        }
        self.chosen = self.chosen.filter(|&chosen| self.listed.iter().any(|l| l.number == chosen));
        self.listen();
        self.choose().or(Some(ProgrammeNews::Listen))
    }

    fn map(&mut self, pid: u16, pmt: Pmt) -> Option<ProgrammeNews> {
        let listed = self.listed.iter_mut().find(|l| (l.number, l.pid) == (pmt.programme, pid))?;
        listed.seen = listed.seen.saturating_add(1);
        let changed = listed.map.as_ref() != Some(&pmt);
        if changed {
            listed.map = Some(pmt.clone());
        }
        if self.chosen == Some(pmt.programme) {
            return changed.then_some(ProgrammeNews::Map(pmt));
        }
        self.choose()
    }

    fn choose(&mut self) -> Option<ProgrammeNews> {
        if self.chosen.is_some() {
            return None;
        }
        let mut waiting = false;
        let mut choice = None;
        for listed in &self.listed {
            match &listed.map {
                None => waiting = true,
                Some(map) => {
                    let good = map.streams.iter().any(|s| codec_of(s).kind() != TrackKind::Data);
                    if good && waiting && listed.seen < PATIENCE && !self.ending {
                        return None;
                    }
                    if good {
                        choice = Some(listed);
                        break;
                    }
                }
            }
        }
        if choice.is_none() && (!waiting || self.ending) {
            choice = self.listed.iter().find(|l| l.map.is_some());
        }
        let chosen = choice?;
        self.chosen = Some(chosen.number);
        let map = chosen.map.clone()?;
        self.listen();
        Some(ProgrammeNews::Map(map))
    }

    /// Before the choice all maps are read, afterwards one.
    fn listen(&mut self) {
        let mut before = std::mem::take(&mut self.maps);
        for listed in self.listed.iter().filter(|l| self.chosen.is_none_or(|chosen| chosen == l.number)) {
            if self.maps.iter().any(|m| m.pid == listed.pid) {
                continue;
            }
            let known = before.iter().position(|m| m.pid == listed.pid).map(|at| before.swap_remove(at));
            self.maps.push(known.unwrap_or_else(|| Tables::new(listed.pid)));
        }
    }
}
