//! Our own publisher: what an encode process made, as CMAF track streams for other hosts.
//!
//! In:    coded units and segment ends of all renditions; how each connection fares.
//! Out:   [`Piece`]s of each rendition's stream; of each connection's, what to write next.
//! Never: copies media; keeps more of a stream than [`SEGMENTS_KEPT`] segments and [`BYTES_MAX`]; sends a segment from its middle.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Aside;
use crate::encode::ipc::{CodedUnit, SegmentEnd};
use crate::media::{RenditionId, SegmentNumber};
use crate::package::{self, Chunks, Next, Refusal};

/// Segments that are sent again on a new connection, the one that is being made aside (DASH-IF Live Media Ingest §5.8).
pub const SEGMENTS_KEPT: usize = 3;
/// Bytes of a stream that are kept: three segments of six seconds at 25 Mbit/s.
pub const BYTES_MAX: usize = 64 << 20;

/// What comes next in a rendition's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What every connection begins with.
    Header(Bytes),
    /// Of a segment.
    Media {
        /// Which.
        segment: SegmentNumber,
        /// Its next bytes.
        data: Vec<Bytes>,
    },
}

/// Turns what an encode process sends into streams.
#[derive(Debug)]
pub struct Publisher {
    tracks: Vec<(Chunks, bool)>,
    names: Vec<RenditionId>,
}

impl Publisher {
    /// Of a channel's renditions.
    pub fn new(config: &package::Config) -> Self {
        let video = config.video.iter().map(|rung| &rung.id);
        let names: Vec<RenditionId> = video.chain(config.audio.iter().map(|rung| &rung.id)).cloned().collect();
        let tracks = (0..names.len()).filter_map(|n| Some((Chunks::new(config, n)?, false))).collect();
        Self { tracks, names }
    }

    /// Names of the renditions, in the order of their indices.
    pub fn names(&self) -> &[RenditionId] {
        &self.names
    }

    /// One coded picture or audio frame. What comes out belongs to its rendition.
    ///
    /// # Errors
    /// It does not fit the grid; its segment is given up.
    pub fn coded(&mut self, unit: &CodedUnit) -> Result<Vec<Piece>, Refusal> {
        let Some((chunks, begun)) = self.tracks.get_mut(usize::from(unit.rendition.0)) else { return Ok(Vec::new()) };
        let next = chunks.coded(unit)?;
        Ok(pieces(chunks, begun, next))
    }

    /// A rendition's segment is whole.
    ///
    /// # Errors
    /// It is not.
    pub fn segment_end(&mut self, end: SegmentEnd) -> Result<Vec<Piece>, Refusal> {
        let Some((chunks, begun)) = self.tracks.get_mut(usize::from(end.rendition.0)) else { return Ok(Vec::new()) };
        let next = chunks.segment_end(end)?;
        Ok(pieces(chunks, begun, next))
    }

    /// The encode process is gone. What its successor sends begins with a segment of its own.
    pub fn encoder_gone(&mut self) {
        self.tracks.iter_mut().for_each(|(chunks, _)| chunks.give_up());
    }
}

fn pieces(chunks: &Chunks, begun: &mut bool, next: Vec<Next>) -> Vec<Piece> {
    let mut out = Vec::new();
    if let Some(header) = chunks.header().filter(|_| !next.is_empty() && !*begun) {
        *begun = true;
        out.push(Piece::Header([&header[..], &Aside::ChannelTime.write()].concat().into()));
    }
    out.extend(next.into_iter().map(|next| match next {
        Next::Chunks(segment, data) => Piece::Media { segment, data },
        Next::End(SegmentEnd { segment, units, filled, .. }) => {
            let aside = Aside::Segment { number: segment, units, filled };
            Piece::Media { segment, data: vec![aside.write().into()] }
        }
    }));
    out
}

#[derive(Debug)]
struct Kept {
    segment: SegmentNumber,
    data: Vec<Bytes>,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.data.iter().map(Bytes::len).sum()
    }
}

/// What one connection has sent of a stream, and has yet to send.
#[derive(Debug, Default)]
pub struct Backlog {
    header: Option<Bytes>,
    kept: VecDeque<Kept>,
    bytes: usize,
    /// The place in `kept` of what is next.
    next: usize,
    /// The header has been sent on this connection.
    greeted: bool,
    /// Segments that were given up before they were sent whole.
    lost: u64,
}

impl Backlog {
    /// Takes what comes next. Where there is no room, the oldest segment goes; if it was being sent, the rest of it is left out.
    pub fn push(&mut self, piece: Piece) {
        match piece {
            Piece::Header(header) => (self.header, self.greeted) = (Some(header), false),
            Piece::Media { segment, data } => {
                let kept = Kept { segment, data };
                self.bytes += kept.bytes();
                self.kept.push_back(kept);
                while self.segments() > SEGMENTS_KEPT + 1 || self.bytes > BYTES_MAX && self.segments() > 1 {
                    self.drop_oldest();
                }
            }
        }
    }

    /// A new connection is there: it begins with the header, and all that is kept.
    pub fn connected(&mut self) {
        (self.next, self.greeted) = (0, false);
    }

    /// The next bytes to write; `None` until more comes.
    pub fn take(&mut self) -> Option<Vec<Bytes>> {
        if !self.greeted {
            self.greeted = true;
            return self.header.clone().map(|header| vec![header]);
        }
        let kept = self.kept.get(self.next)?;
        self.next += 1;
        Some(kept.data.clone())
    }

    /// There is something to write.
    pub fn has_next(&self) -> bool {
        self.header.is_some() && (!self.greeted || self.next < self.kept.len())
    }

    /// Segments that were given up before they were sent whole.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn segments(&self) -> usize {
        let ends = |(one, other): (&Kept, &Kept)| one.segment != other.segment;
        usize::from(!self.kept.is_empty())
            + self.kept.iter().zip(self.kept.iter().skip(1)).filter(|two| ends(*two)).count()
    }

    fn drop_oldest(&mut self) {
        let Some(segment) = self.kept.front().map(|kept| kept.segment) else { return };
        let count = self.kept.iter().take_while(|kept| kept.segment == segment).count();
        self.bytes -= self.kept.drain(..count).map(|kept| kept.bytes()).sum::<usize>();
        self.lost += u64::from(self.next < count);
        self.next = self.next.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(segment: u64, bytes: usize) -> Piece {
        Piece::Media { segment: SegmentNumber(segment), data: vec![vec![segment as u8; bytes].into(); 2] }
    }

    /// The first bytes of all there is to write.
    fn all(backlog: &mut Backlog) -> Vec<Bytes> {
        std::iter::from_fn(|| backlog.has_next().then(|| backlog.take()).flatten())
            .map(|data| data[0].clone())
            .collect()
    }

    #[test]
    fn a_new_connection_gets_the_header_and_three_segments() {
        let mut backlog = Backlog::default();
        assert!(!backlog.has_next());
        backlog.push(Piece::Header(Bytes::from_static(b"head")));
        for segment in 1..=6 {
            backlog.push(media(segment, 10));
            assert_eq!(all(&mut backlog).len(), if segment == 1 { 2 } else { 1 });
        }
        assert_eq!(backlog.lost(), 0);
        backlog.connected();
        let sent = all(&mut backlog);
        assert_eq!(sent[0], &b"head"[..]);
        assert_eq!(sent[1..].iter().map(|data| data[0]).collect::<Vec<_>>(), [3, 4, 5, 6]);
    }

    #[test]
    fn what_cannot_be_kept_is_left_out_by_whole_segments() {
        let mut backlog = Backlog::default();
        backlog.push(Piece::Header(Bytes::from_static(b"head")));
        backlog.connected();
        backlog.push(media(1, 10));
        backlog.push(media(1, 10));
        // The header and half of the first segment are written; then the connection stalls.
        assert!(backlog.take().is_some() && backlog.take().is_some());
        for segment in 2..=9 {
            backlog.push(media(segment, 10));
        }
        let rest = all(&mut backlog);
        assert_eq!(rest.iter().map(|data| data[0]).collect::<Vec<_>>(), [6, 7, 8, 9]);
        assert_eq!(backlog.lost(), 5);
        backlog.push(media(10, BYTES_MAX));
        assert_eq!(all(&mut backlog).len(), 1, "one segment is kept, however long it is");
    }
}
