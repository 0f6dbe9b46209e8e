//! The stream's own time: how long it is from one packet to another.
//!
//! In:    the numbers of packets, the PCR of one PID, and what the clock says where there is none.
//! Out:   ticks of 27 MHz that only grow.
//!
//! Intervals of tables and timestamps are told by this and not by their arrival, so that a network that delivers in lumps
//! breaks none of them. Between two PCR it counts packets, at the rate of the interval before.

use crate::clock::Now;

/// Ticks a second.
pub(super) const HZ: u64 = 27_000_000;
/// PCR counts up to here.
pub(super) const PCR_WRAP: u64 = (1 << 33) * 300;
/// A step that is longer is none of this stream's time.
const STEP_MAX: u64 = HZ;
/// Seconds without a PCR after which arrival counts.
const PATIENCE: u8 = 2;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Ticks up to packet [`Self::from`].
    at: u64,
    from: u64,
    /// The last interval between two PCR: ticks and packets.
    step: Option<(u64, u64)>,
    /// Whose PCR, its last value.
    clock: Option<(u16, u64)>,
    heard: bool,
    deaf: u8,
    /// Since when arrival counts.
    arrival: Option<Now>,
}

impl Pace {
    /// Ticks up to this packet.
    pub fn at(&self, packet: u64, now: Now) -> u64 {
        if let Some(since) = self.arrival {
            return self.at + ticks(now, since);
        }
        self.at + self.guess(packet)
    }

    fn guess(&self, packet: u64) -> u64 {
        let Some((ticks, packets)) = self.step else { return 0 };
        let since = u128::from(packet - self.from) * u128::from(ticks) / u128::from(packets);
        u64::try_from(since).unwrap_or(u64::MAX).min(ticks)
    }

    /// A PCR of some PID.
    pub fn pcr(&mut self, packet: u64, now: Now, pid: u16, pcr: u64, announced: bool) {
        if self.clock.is_some_and(|(of, _)| of != pid) {
            return;
        }
        self.heard = true;
        let last = self.clock.replace((pid, pcr)).map(|(_, last)| last);
        let step = last.map(|last| (pcr + PCR_WRAP - last) % PCR_WRAP).filter(|&step| step <= STEP_MAX && !announced);
        match step.filter(|_| self.arrival.is_none()) {
            Some(step) => {
                self.at += step;
                self.step = (packet > self.from && step > 0).then(|| (step, packet - self.from));
            }
            None => self.at = self.at(packet, now),
        }
        (self.from, self.arrival) = (packet, None);
    }

    /// A second is over. `flows`: packets came in it.
    pub fn tick(&mut self, packet: u64, now: Now, flows: bool) {
        self.deaf = if self.heard || !flows { 0 } else { self.deaf.saturating_add(1) };
        self.heard = false;
        if self.deaf >= PATIENCE {
            // Another programme's clock may go on.
            (self.clock, self.step) = (None, None);
            if self.arrival.is_none() {
                (self.at, self.from, self.arrival) = (self.at(packet, now), packet, Some(now));
            }
        }
    }

    /// A new connection, on which nothing continues.
    pub fn reconnected(&mut self, packet: u64) {
        *self = Self { at: self.at, from: packet, ..Self::default() };
    }
}

fn ticks(now: Now, since: Now) -> u64 {
    u64::try_from(now.since(since).as_nanos() * 27 / 1000).unwrap_or(u64::MAX)
}
