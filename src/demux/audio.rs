//! PES packets of sound → whole frames with exact times.
//!
//! In:    payloads in order, with the time of the first frame that begins in each.
//! Out:   one unit a frame (AC-3: with its dependent substreams).
//! Never: gives a frame whose time is not known; keeps more than one frame and its successor's header.
//!
//! A frame is taken for one if its header is right and another header, or the end of the data, follows where it ends.
//! This depends on the stream alone and not on how one came there, so demuxes that joined at different moments agree.
//! Bytes that fit no frame end what can be counted: what follows them waits for the next PTS.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::Output;
use super::pes::Pes;
use crate::media::{Codec, Round, SourceTime, TrackId, Unit};
use crate::wire::codec::{AudioFrameInfo, aac, ac3, mpeg_audio};

/// Counts samples from a PTS.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    pts: SourceTime,
    samples: u64,
    rate: u32,
}

impl Anchor {
    /// Time of the next frame, to the nearest tick.
    fn now(&self) -> SourceTime {
        let ticks = Round::Nearest.divide(i128::from(self.samples) * 90_000, i128::from(self.rate));
        self.pts.offset(i64::try_from(ticks).unwrap_or(i64::MAX))
    }

    fn advance(&mut self, by: AudioFrameInfo) {
        if by.rate != self.rate {
            *self = Self { pts: self.now(), samples: 0, rate: by.rate };
        }
        self.samples += u64::from(by.samples);
    }
}

/// A header, whatever the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    info: AudioFrameInfo,
    codec: Codec,
    /// Belongs to the frame before.
    continues: bool,
}

/// What lies at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A frame of so many bytes, successors that belong to it included.
    Frame(Head, usize),
    /// No frame.
    Nothing,
    /// More bytes are needed to tell.
    Unsure,
}

/// The payload of one PES packet, as far as it still matters. Places are bytes since the track began.
#[derive(Debug)]
struct Segment {
    from: u64,
    /// Time of the first frame that begins in it, until that one is found.
    pts: Option<SourceTime>,
    /// Bytes from here to its end may be wrong.
    hole: Option<u64>,
}

/// How long the frames of a LATM track sound.
#[derive(Clone, Copy, Debug)]
enum LatmLength {
    /// No configuration has come yet: nobody could decode it.
    Unknown,
    /// As the configuration says.
    Known(aac::LatmConfig),
    /// The configuration cannot be read here: frames of a PES packet share its PTS.
    Opaque,
}

/// Cuts one track into frames.
#[derive(Debug)]
pub(super) struct AudioFramer {
    codec: Codec,
    buf: BytesMut,
    /// Place of the first byte of `buf`.
    base: u64,
    /// The PES packets that `buf` consists of, in order.
    segments: VecDeque<Segment>,
    anchor: Option<Anchor>,
    /// Time of the frame before, for dependent frames that begin a PES packet.
    last: Option<SourceTime>,
    latm: LatmLength,
    skipped: u64,
}

impl AudioFramer {
    /// For a track that the PMT declares to be `codec`.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            buf: BytesMut::new(),
            base: 0,
            segments: VecDeque::new(),
            anchor: None,
            last: None,
            latm: LatmLength::Unknown,
            skipped: 0,
        }
    }

    /// Bytes that belonged to no frame.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes kept.
    pub fn buffered(&self) -> usize {
        self.buf.len()
    }

    /// Takes a payload; `pts` is the time of the first frame that begins in it.
    pub fn push(&mut self, pts: Option<SourceTime>, pes: Pes, out: &mut Output, id: TrackId) {
        let from = self.base + self.buf.len() as u64;
        let hole = pes.suspect_from.map(|at| from + at as u64);
        if pes.payload.is_empty() {
            // Nothing begins here; what was lost is missing behind the payload before.
            if let Some(before) = self.segments.back_mut() {
                before.hole = before.hole.or(hole);
            }
            return;
        }
        self.buf.extend_from_slice(&pes.payload);
        self.segments.push_back(Segment { from, pts, hole });
        let mut at = 0;
        loop {
            match self.look(at) {
                Found::Unsure => break,
                Found::Nothing => at += 1,
                Found::Frame(head, bytes) => {
                    self.skip(at);
                    at = 0;
                    self.frame(head, bytes, out, id);
                }
            }
        }
        self.skip(at);
    }

    /// Leaves bytes out. Nobody knows how much sound they were.
    fn skip(&mut self, bytes: usize) {
        if bytes > 0 {
            self.anchor = None;
            self.last = None;
            self.skipped += bytes as u64;
            self.base += bytes as u64;
            drop(self.buf.split_to(bytes));
        }
    }

    /// The first `bytes` of the buffer are a frame.
    fn frame(&mut self, head: Head, bytes: usize, out: &mut Output, id: TrackId) {
        let (begin, end) = (self.base, self.base + bytes as u64);
        while self.segments.get(1).is_some_and(|next| next.from <= begin) {
            self.segments.pop_front();
        }
        if !head.continues
            && let Some(segment) = self.segments.front_mut()
            && let Some(pts) = segment.pts.take()
        {
            // With a hole in front of it, nobody knows which frame the time was meant for.
            let known = segment.hole.is_none_or(|hole| hole >= begin);
            self.anchor = known.then_some(Anchor { pts, samples: 0, rate: 1 });
        }
        let damaged = self.segments.iter().any(|s| s.from < end && s.hole.is_some_and(|hole| hole < end));
        let data = self.buf.split_to(bytes).freeze();
        self.base = end;
        if let Some(pts) = self.time(head, &data) {
            if head.codec != self.codec && !head.continues {
                // The stream knows better than the PMT.
                self.codec = head.codec;
                out.learn(id, |track| track.codec = head.codec);
            }
            out.unit(Unit { track: id, pts, key: true, damaged, whole: false, data });
        }
    }

    /// Time of this frame; the next one's is counted on from it.
    fn time(&mut self, head: Head, data: &[u8]) -> Option<SourceTime> {
        if head.continues {
            return self.last;
        }
        let mut info = Some(head.info);
        if self.codec == Codec::AacLatm {
            match aac::latm(data) {
                aac::Latm::Same => {}
                aac::Latm::New(config) => self.latm = LatmLength::Known(config),
                aac::Latm::Unknown => self.latm = LatmLength::Opaque,
            }
            info = match self.latm {
                LatmLength::Known(c) => Some(AudioFrameInfo { samples: c.samples, rate: c.rate, ..head.info }),
                LatmLength::Opaque => None,
                LatmLength::Unknown => {
                    self.anchor = None;
                    None
                }
            };
        }
        self.last = self.anchor.map(|anchor| anchor.now());
        if let (Some(anchor), Some(info)) = (&mut self.anchor, info) {
            anchor.advance(info);
        }
        self.last
    }

    /// What begins `at` bytes into the buffer.
    fn look(&self, at: usize) -> Found {
        let rest = &self.buf[at..];
        let head = match head(self.codec, rest) {
            Ok(head) => head,
            Err(found) => return found,
        };
        let mut end = head.info.bytes;
        loop {
            if end == rest.len() {
                return Found::Frame(head, end);
            }
            let Some(behind) = rest.get(end..) else { return Found::Unsure };
            match self::head(self.codec, behind) {
                Err(found) => return found,
                Ok(next) if next.continues && end < ACCESS_UNIT_MAX => end += next.info.bytes,
                Ok(next) if next.follows(head) => return Found::Frame(head, end),
                Ok(_) => return Found::Nothing,
            }
        }
    }
}

/// An independent frame of enhanced AC-3 and all that depends on it: eight substreams of 4 KiB, rather more than are in use.
const ACCESS_UNIT_MAX: usize = 32 * 1024;

impl Head {
    /// Whether this may be the frame behind `before`.
    fn follows(&self, before: Self) -> bool {
        (self.codec, self.info.rate) == (before.codec, before.info.rate)
    }
}

/// Reads the header at the beginning of `bytes`; otherwise what that means.
fn head(codec: Codec, bytes: &[u8]) -> Result<Head, Found> {
    let plain = |codec: Codec| move |info: AudioFrameInfo| Head { info, codec, continues: false };
    let (sync, need) = match codec {
        Codec::AacLatm => (0x56, aac::LOAS_HEADER),
        Codec::Ac3 | Codec::Eac3 => (0x0b, ac3::HEADER),
        _ => (0xff, aac::ADTS_HEADER),
    };
    match bytes.first() {
        None => return Err(Found::Unsure),
        Some(&first) if first != sync => return Err(Found::Nothing),
        Some(_) if bytes.len() < need => return Err(Found::Unsure),
        Some(_) => {}
    }
    let found = match codec {
        Codec::AacLatm => {
            let info = aac::loas_bytes(bytes).map(|bytes| AudioFrameInfo { bytes, samples: 0, rate: 0 });
            info.map(plain(codec))
        }
        Codec::Ac3 | Codec::Eac3 => ac3::frame(bytes).map(|f| Head {
            info: f.info,
            codec: if f.enhanced { Codec::Eac3 } else { Codec::Ac3 },
            continues: f.continues,
        }),
        // The layer bits tell ADTS from MPEG audio, whatever the PMT says: some multiplexers declare one and send the other.
        _ => aac::adts(bytes)
            .map(plain(Codec::AacAdts))
            .or_else(|| mpeg_audio::frame(bytes).map(plain(Codec::MpegAudio))),
    };
    found.ok_or(Found::Nothing)
}
