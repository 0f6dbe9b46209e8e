//! Packets of one PID → PES packets.
//!
//! In:    payloads in order, and where bytes are missing between them.
//! Out:   PES packets, as soon as they are known to be whole.
//! Never: keeps more than its limit and one packet.

use bytes::{Bytes, BytesMut};

use super::Stats;
use crate::wire::ts::{PesHeader, PesHeaderError};

/// A PES packet.
#[derive(Debug)]
pub(super) struct Pes {
    pub header: PesHeader,
    pub payload: Bytes,
    /// Bytes of the payload from here on may be wrong, or some are missing here.
    pub suspect_from: Option<usize>,
    /// The header came with transport_error_indicator.
    pub header_suspect: bool,
    /// The time base may jump here: the discontinuity_indicator said so.
    pub announced: bool,
}

#[derive(Debug, PartialEq)]
enum State {
    /// Waiting for a start.
    Idle,
    /// Collecting.
    Open,
    /// The stated length was reached; what follows without a start belongs to it nevertheless.
    Full,
}

/// Puts the PES packets of one PID together.
#[derive(Debug)]
pub(super) struct Assembler {
    max: usize,
    /// PES packets without a PTS go on with the one before, where that did not state its length.
    joins: bool,
    state: State,
    buf: BytesMut,
    header: Option<PesHeader>,
    /// Place in `buf`.
    suspect_from: Option<usize>,
    header_suspect: bool,
    announced: bool,
}

/// Header of what follows a PES packet that was longer than it said.
const TAIL: PesHeader =
    PesHeader { stream_id: 0, pts: None, dts: None, aligned: false, header_bytes: 0, total_bytes: None };

impl Assembler {
    /// `max` bytes at most; `joins`: a payload without PTS goes on with the one before.
    pub fn new(max: usize, joins: bool) -> Self {
        Self {
            max,
            joins,
            state: State::Idle,
            buf: BytesMut::new(),
            header: None,
            suspect_from: None,
            header_suspect: false,
            announced: false,
        }
    }

    /// Bytes are missing or wrong from here on.
    pub fn hole(&mut self) {
        match self.state {
            State::Open => self.suspect_from = self.suspect_from.or(Some(self.buf.len())),
            // Its successor's start may be among the missing.
            State::Full => self.state = State::Idle,
            State::Idle => {}
        }
    }

    /// Where in the first payload of a PES packet the media begins, if it only goes on with the one at hand: it has no PTS.
    pub fn continues_at(&self, payload: &[u8]) -> Option<usize> {
        let unbounded = self.header.is_some_and(|open| open.total_bytes.is_none());
        if !self.joins || self.state != State::Open || !unbounded {
            return None;
        }
        PesHeader::parse(payload).ok().filter(|next| next.pts.is_none()).map(|next| next.header_bytes)
    }

    /// A new PES packet begins; its first payload comes with [`Self::push`].
    pub fn begin(&mut self, announced: bool, header_suspect: bool) {
        self.buf.clear();
        self.state = State::Open;
        self.header = None;
        self.suspect_from = header_suspect.then_some(0);
        self.header_suspect = header_suspect;
        self.announced = announced;
    }

    /// Takes a payload; the PES packet if it is whole with it.
    pub fn push(&mut self, payload: &[u8], stats: &mut Stats) -> Option<Pes> {
        match self.state {
            State::Idle => return None,
            State::Full => {
                self.begin(false, false);
                self.header = Some(TAIL);
            }
            State::Open => {}
        }
        if self.buf.len() + payload.len() > self.max {
            stats.pes_too_long += 1;
            self.state = State::Idle;
            self.buf = BytesMut::new();
            return None;
        }
        self.buf.extend_from_slice(payload);
        self.read_header(stats);
        let header = self.header?;
        let total = header.total_bytes?;
        if self.buf.len() < total {
            return None;
        }
        if self.buf.len() > total {
            if self.suspect_from.is_none() {
                // A PES packet ends with a TS packet: this one's length is wrong, its end is where the next begins.
                stats.pes_errors += 1;
                self.header = Some(PesHeader { total_bytes: None, ..header });
                return None;
            }
            // The start of the next one is among the missing.
            self.buf.truncate(total);
            let pes = self.close(header);
            self.state = State::Idle;
            return Some(pes);
        }
        let pes = self.close(header);
        self.state = State::Full;
        Some(pes)
    }

    /// Closes what is at hand.
    pub fn finish(&mut self, stats: &mut Stats) -> Option<Pes> {
        let open = std::mem::replace(&mut self.state, State::Idle) == State::Open;
        if !open {
            return None;
        }
        let Some(header) = self.header else {
            stats.pes_errors += 1;
            return None;
        };
        if header.total_bytes.is_some_and(|total| self.buf.len() < total) {
            self.suspect_from = self.suspect_from.or(Some(self.buf.len()));
        }
        Some(self.close(header))
    }

    /// Bytes kept.
    pub fn buffered(&self) -> usize {
        self.buf.len()
    }

    fn read_header(&mut self, stats: &mut Stats) {
        if self.header.is_some() {
            return;
        }
        match PesHeader::parse(&self.buf) {
            Ok(header) => self.header = Some(header),
            Err(PesHeaderError::Incomplete) => {}
            Err(_) => {
                stats.pes_errors += 1;
                self.state = State::Idle;
                self.buf.clear();
            }
        }
    }

    fn close(&mut self, header: PesHeader) -> Pes {
        let mut payload = self.buf.split().freeze();
        let from = header.header_bytes.min(payload.len());
        let payload = payload.split_off(from);
        Pes {
            header,
            payload,
            suspect_from: self.suspect_from.map(|at| at.saturating_sub(from)),
            header_suspect: self.header_suspect,
            announced: self.announced,
        }
    }
}
