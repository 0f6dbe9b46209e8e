//! Sockets → bytes of a source. One file a transport; each delivers [`IngestEvent`]s.
//!
//! In:    configuration of the sources of its kind.
//! Out:   TS bytes with their arrival time; connection news; link figures.
//! Never: looks into the stream.

pub mod datagrams;
pub mod fec;
pub mod reorder;
pub mod rtp;
pub mod srt;
pub mod test;
pub mod udp;

use bytes::Bytes;

use crate::clock::Now;
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
