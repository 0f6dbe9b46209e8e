//! Sockets → bytes of a source. One file a transport; each delivers [`IngestEvent`]s.
//!
//! In:    configuration of the sources of its kind.
//! Out:   TS bytes with their arrival time, or items where a transport carries no TS; connection news; link figures.
//! Never: looks into a transport stream.

pub mod cmaf;
pub mod datagrams;
mod elementary;
pub mod fec;
pub mod file;
pub mod reorder;
pub mod rtp;
pub mod rtsp;
pub mod srt;
pub mod test;
pub mod udp;

use bytes::Bytes;

use crate::clock::Now;
use crate::media::{Item, SourceTime};
use crate::monitor::LinkStatus;
use crate::wire::rtp::RtpHead;

/// What a transport says of one source.
#[derive(Clone, Debug)]
pub enum IngestEvent {
    /// A publisher is connected (or our call was answered).
    Up {
        /// Its address.
        peer: String,
    },
    /// TS bytes, any length, as they arrived.
    Data {
        /// When they left the transport's receive buffer.
        arrival: Now,
        /// The bytes.
        data: Bytes,
        /// Over RTP: what the packet that brought them says of itself.
        rtp: Option<RtpHead>,
    },
    /// What a transport that carries no TS brings instead, as a demux would have given it: tracks, and units of whole access units and
    /// frames.
    Media {
        /// When they left the transport's receive buffer.
        arrival: Now,
        /// Tracks first. Times of all of them are of one clock of the source's own.
        items: Vec<Item<SourceTime>>,
    },
    /// The connection ended.
    Down {
        /// Why, for people.
        reason: String,
    },
    /// Somebody was turned away.
    Refused {
        /// Its address.
        peer: String,
        /// Why, for people; no secrets.
        reason: String,
    },
    /// The link's figures, once a second.
    Link(LinkStatus),
}
