//! A multiplexer (ISO/IEC 13818-1): the access units of one segment in, its transport packets out.
//!
//! In:    the streams of a programme; of one segment, the units of each and when their packets are due.
//! Out:   whole packets: PAT and PMT, PES packets, PCR.
//! Never: remembers a segment: equal arguments make equal bytes. Copies media more than once, which is into its packets.
//!
//! # Segments that know nothing of each other
//!
//! Players hang one segment behind another, and the continuity counter of each PID must go on across the seam (§2.4.3.3).
//! So every segment has a multiple of 16 packets with payload of each elementary stream, and begins with a counter of 0:
//! what is missing to the multiple is made up by dividing some units over more packets, with stuffing. PAT and PMT are as
//! many in every segment, so their counters follow from the number of the segment, which the caller knows.
//!
//! # When a packet is due
//!
//! A unit's packets lie evenly between the moment it is due and that at which the next unit of its stream is; tables lie
//! evenly over the segment. All are sent in the order of these moments, and PCR are the moments of their packets. So the
//! rate changes from picture to picture as the sizes of pictures do, and clocks of consecutive segments meet where
//! their spans do.

mod lane;
mod pes;
mod tables;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::ops::{Range, Sub};
use std::time::Duration;

use self::lane::Lane;
use super::PACKET_BYTES;
use crate::media::{ChannelTime, MediaTime, Round, Timescale};

/// PIDs: of the programme's map, of the stream with the clock, of the other one.
const MAP_PID: u16 = 0x1000;
const CLOCK_PID: u16 = 0x100;
const OTHER_PID: u16 = 0x101;

/// Ticks between two PCR at most: 40 ms. §2.7.2 allows 100 ms, ETSI TR 101 290 (2.3a) recommends this.
const PCR_MAX: u64 = 27_000_000 / 25;

/// Ticks a segment may last: six times the longest that channels have. What is longer comes of damaged times.
const SPAN_MAX: u64 = 60 * 27_000_000;

/// The system time clock (§2.4.2.1): ticks of 27 MHz since the Unix epoch. PCR is what its 42 bits hold of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockTime(i64);

impl From<MediaTime> for ClockTime {
    /// To the nearest tick.
    fn from(at: MediaTime) -> Self {
        const HZ_27M: Timescale = Timescale::new(27_000_000).expect("not zero");
        let end = if at.ticks < 0 { i64::MIN } else { i64::MAX };
        Self(at.rescale(HZ_27M, Round::Nearest).map_or(end, |t| t.ticks))
    }
}

impl Sub<Duration> for ClockTime {
    type Output = Self;
    /// Rounded to the nearest tick.
    fn sub(self, by: Duration) -> Self {
        let ticks = Round::Nearest.divide(i128::try_from(by.as_nanos()).unwrap_or(i128::MAX / 27) * 27, 1000);
        Self(self.0.saturating_sub(i64::try_from(ticks).unwrap_or(i64::MAX)))
    }
}

impl ClockTime {
    /// Ticks from `earlier` on; 0 if that is later.
    fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// As PCR, that many ticks later: below 2³³ · 300.
    fn pcr(self, later: u64) -> u64 {
        const WRAP: i64 = (1 << 33) * 300;
        (self.0.rem_euclid(WRAP).unsigned_abs() + later) % WRAP.unsigned_abs()
    }
}

/// What an elementary stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFormat {
    /// H.264 as a byte stream; each unit begins with an access unit delimiter (§2.14.1).
    H264,
    /// HEVC as a byte stream; each unit begins with an access unit delimiter (§2.17.1).
    Hevc,
    /// AAC in ADTS; a unit is one or more whole frames.
    Aac,
}

impl StreamFormat {
    /// stream_type (Table 2-34).
    const fn stream_type(self) -> u8 {
        match self {
            Self::H264 => 0x1b,
            Self::Hevc => 0x24,
            Self::Aac => 0x0f,
        }
    }

    const fn is_video(self) -> bool {
        !matches!(self, Self::Aac)
    }

    /// stream_id of its PES packets (Table 2-22): video stream 0, audio stream 0.
    const fn stream_id(self) -> u8 {
        if self.is_video() { 0xe0 } else { 0xc0 }
    }
}

/// One elementary stream of a programme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementaryStream {
    /// What it holds.
    pub format: StreamFormat,
    /// ISO 639-2, for the language descriptor (§2.6.18); `None`: there is none.
    pub language: Option<[u8; 3]>,
}

/// One access unit, or some frames of sound.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// When its packets begin to be sent. It must be early enough for all of them to be there when it is decoded.
    pub due: ClockTime,
    /// When it is shown or heard; of sound, its first frame.
    pub pts: ChannelTime,
    /// When it is decoded; not behind `pts`.
    pub dts: ChannelTime,
    /// A decoder may start here.
    pub random_access: bool,
    /// Its bytes, at least two.
    pub pieces: &'a [&'a [u8]],
}

impl Unit<'_> {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(|p| p.len()).sum()
    }
}

/// What a segment is made of.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// From where to where its clock runs; the next segment's goes on at the end.
    pub span: Range<ClockTime>,
    /// How often tables come, at least once; the same in every segment.
    pub tables: u32,
    /// How many tables of each kind were in all segments before, so that their counters go on.
    pub tables_before: u64,
    /// Units of the stream with the clock, at least one, in decoding order.
    pub clock: &'a [Unit<'a>],
    /// Units of the other stream.
    pub other: &'a [Unit<'a>],
}

/// Why a segment cannot be multiplexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// Without units of the stream that carries the clock there is no PCR.
    #[error("the stream with the clock has no units")]
    NoClock,
    /// Its times cannot be right.
    #[error("a segment of more than a minute")]
    Span,
    /// Less than two bytes are no unit of any format.
    #[error("unit {unit} of PID {pid:#06x} has {bytes} bytes")]
    TooShort {
        /// Of which stream.
        pid: u16,
        /// Its place in the segment.
        unit: usize,
        /// Bytes it has.
        bytes: usize,
    },
    /// PES_packet_length must be stated but for video (§2.4.3.7), and has 16 bits.
    #[error("unit {unit} of PID {pid:#06x} has {bytes} bytes, more than a PES packet of sound can state")]
    TooLong {
        /// Of which stream.
        pid: u16,
        /// Its place in the segment.
        unit: usize,
        /// Bytes it has.
        bytes: usize,
    },
}

/// A programme of one or two streams.
#[derive(Clone, Debug)]
pub struct Programme {
    clock: ElementaryStream,
    other: Option<ElementaryStream>,
    /// PAT and PMT with a counter of 0.
    tables: [[u8; PACKET_BYTES]; 2],
}

impl Programme {
    /// `clock` carries the PCR: pictures where there are some.
    pub fn new(clock: ElementaryStream, other: Option<ElementaryStream>) -> Self {
        let streams = [(CLOCK_PID, Some(clock)), (OTHER_PID, other)];
        let streams = streams.into_iter().filter_map(|(pid, stream)| Some((pid, stream?)));
        Self { clock, other, tables: [tables::association(), tables::map(streams)] }
    }

    /// The packets of a segment. Units of a stream the programme does not have are left out.
    ///
    /// # Errors
    /// A unit that no PES packet can hold; no unit to carry the clock; a span of more than a minute.
    pub fn segment(&self, segment: &Segment<'_>) -> Result<Vec<u8>, MuxError> {
        if segment.clock.is_empty() {
            return Err(MuxError::NoClock);
        }
        let span = &segment.span;
        let length = span.end.since(span.start);
        if length > SPAN_MAX {
            return Err(MuxError::Span);
        }
        let mut lanes = vec![Lane::new(CLOCK_PID, self.clock.format, segment.clock, span)?];
        if let Some(other) = self.other {
            lanes.push(Lane::new(OTHER_PID, other.format, segment.other, span)?);
        }
        let rounds = segment.tables.max(1);
        let packets = lanes.iter().map(Lane::packets).sum::<u64>() + 2 * u64::from(rounds);
        let mut out = Vec::with_capacity(usize::try_from(packets).unwrap_or(0) * PACKET_BYTES);
        let mut round = 0;
        loop {
            let tables_due = (round < rounds).then(|| length * u64::from(round) / u64::from(rounds));
            let next = lanes.iter_mut().filter_map(|lane| Some((lane.due()?, lane)));
            // Of equal moments the first lane's comes first.
            match (tables_due, next.min_by_key(|(due, _)| *due)) {
                (Some(at), media) if media.as_ref().is_none_or(|(due, _)| at <= *due) => {
                    self.write_tables(&mut out, segment.tables_before.wrapping_add(u64::from(round)));
                    round += 1;
                }
                (_, Some((_, lane))) => lane.write(&mut out),
                (_, None) => break,
            }
        }
        debug_assert_eq!(out.len() as u64, packets * PACKET_BYTES as u64);
        Ok(out)
    }

    fn write_tables(&self, out: &mut Vec<u8>, before: u64) {
        for table in &self.tables {
            let at = out.len();
            out.extend_from_slice(table);
            out[at + 3] |= (before & 0x0f) as u8;
        }
    }
}
