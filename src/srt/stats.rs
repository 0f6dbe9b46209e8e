//! A connection's figures, as far as anybody here looks at them.

use std::mem::offset_of;

use super::ffi;
use crate::monitor::LinkStatus;

/// Size of libsrt's structure and places of some of its fields as we declare them, to be compared with its header: a
/// mistake there would be silent.
#[doc(hidden)]
pub const STATS_LAYOUT: [usize; 5] = [
    size_of::<ffi::Stats>(),
    offset_of!(ffi::Stats, pktRcvUndecryptTotal),
    offset_of!(ffi::Stats, pktRcvRetrans),
    offset_of!(ffi::Stats, msRTT),
    offset_of!(ffi::Stats, msRcvTsbPdDelay),
];

/// Figures of one connection since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Round-trip time, ms.
    pub rtt_ms: f64,
    /// Negotiated latency of our receiver, ms.
    pub receive_latency_ms: u32,
    /// Packets received, retransmissions included.
    pub received: u64,
    /// Packets found missing, before recovery.
    pub lost: u64,
    /// Packets that came again.
    pub retransmitted: u64,
    /// Packets given up.
    pub dropped: u64,
    /// Packets that could not be decrypted.
    pub undecrypted: u64,
    /// Packets sent, retransmissions included.
    pub sent: u64,
    /// Packets we sent again.
    pub resent: u64,
    /// Packets we gave up sending in time.
    pub send_dropped: u64,
    /// Packets the peer missed, before we sent them again.
    pub send_lost: u64,
}

impl Stats {
    /// Totals; the local figures equal them, as nobody here asks libsrt to clear.
    pub(super) fn new(s: &ffi::Stats) -> Self {
        let count = |n: i32| u64::try_from(n).unwrap_or(0);
        Self {
            rtt_ms: s.msRTT,
            receive_latency_ms: u32::try_from(s.msRcvTsbPdDelay).unwrap_or(0),
            received: u64::try_from(s.pktRecvTotal).unwrap_or(0),
            lost: count(s.pktRcvLossTotal),
            retransmitted: count(s.pktRcvRetrans),
            dropped: count(s.pktRcvDropTotal),
            undecrypted: count(s.pktRcvUndecryptTotal),
            sent: u64::try_from(s.pktSentTotal).unwrap_or(0),
            resent: count(s.pktRetransTotal),
            send_dropped: count(s.pktSndDropTotal),
            send_lost: count(s.pktSndLossTotal),
        }
    }

    /// As the operator sees it.
    pub fn link(&self) -> LinkStatus {
        LinkStatus {
            rtt_ms: self.rtt_ms,
            latency_ms: self.receive_latency_ms,
            packets: self.received,
            lost: self.lost,
            retransmitted: self.retransmitted,
            dropped: self.dropped,
            undecrypted: self.undecrypted,
            ..LinkStatus::default()
        }
    }
}
