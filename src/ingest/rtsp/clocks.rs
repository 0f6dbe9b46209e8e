//! Several RTP clocks → one source time.
//!
//! In:    time stamps of each stream, and what its sender reports say of them (RFC 3550 §6.4.1).
//! Out:   source times under which sound and picture are together.
//! Never: moves the leading stream, which is that of the pictures: its own clock is the source's.
//!
//! Each stream's time stamps begin at a random value. Until reports tell, they are held to begin together where the server said they do (RTP-Info,
//! RFC 2326 §12.33), or with their first packets where it did not.

use std::time::Duration;

use crate::media::SourceTime;

/// Reports that have not come by then are not waited for: a server sends its first one within some seconds (RFC 3550 §6.2), and many with the first
/// packet.
const REPORTS_AWAITED: Duration = Duration::from_secs(1);
/// Reports that place a stream further away than that are of clocks that were never set: 5 s.
const BELIEVED: i64 = 5 * 90_000;
/// Once streams are together, reports that differ by less are noise: 20 ms, which nobody sees or hears.
const NOISE: i64 = 1_800;

/// A time stamp of one stream, 90 kHz ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Where the stream's time stamps begin.
    pub start: i64,
    /// Since then.
    pub elapsed: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// The last report: the sender's time in ticks of 90 kHz, and elapsed ticks at that time.
    report: Option<(i64, i64)>,
    /// By how much the stream's time stamps are moved.
    shift: Option<i64>,
}

/// The clocks of a session.
#[derive(Debug)]
pub(super) struct Clocks {
    streams: Vec<Stream>,
    lead: usize,
    /// Where the leading stream's time stamps begin.
    start: Option<i64>,
}

impl Clocks {
    /// Of `streams` streams, of which `lead` leads.
    pub fn new(streams: usize, lead: usize) -> Self {
        Self { streams: vec![Stream::default(); streams], lead, start: None }
    }

    /// A sender report: `ntp` (32 bits of seconds, 32 of fractions) was when `at` was.
    pub fn report(&mut self, stream: usize, ntp: u64, at: Stamp) {
        self.see(stream, at);
        // Below 2³² s · 90,000.
        let ticks = ((u128::from(ntp) * 90_000) >> 32) as i64;
        let Some(of) = self.streams.get_mut(stream) else { return };
        of.report = Some((ticks, at.elapsed));
        let Some((lead_ntp, lead_at)) = self.streams.get(self.lead).and_then(|lead| lead.report) else { return };
        for (n, stream) in self.streams.iter_mut().enumerate() {
            let Some((ntp, at)) = stream.report.filter(|_| n != self.lead) else { continue };
            let shift = lead_at.saturating_add(ntp - lead_ntp).saturating_sub(at);
            let is_news = stream.shift.is_none_or(|now| (now - shift).abs() > NOISE);
            if is_news && shift.abs() <= BELIEVED {
                stream.shift = Some(shift);
            }
        }
    }

    /// Whether times hold from now on; `waited`: since the first unit came.
    pub fn settled(&self, waited: Duration) -> bool {
        let reported = self.streams.iter().all(|stream| stream.report.is_some());
        self.start.is_some() && (self.streams.len() == 1 || reported || waited >= REPORTS_AWAITED)
    }

    /// The stream has sent something of this time.
    pub fn see(&mut self, stream: usize, at: Stamp) {
        if stream == self.lead {
            self.start.get_or_insert(at.start);
        }
    }

    /// Source time of a stream's time stamp; `None` while nothing is known of the stream that leads.
    pub fn place(&self, stream: usize, at: Stamp) -> Option<SourceTime> {
        let shift = self.streams.get(stream)?.shift.unwrap_or(0);
        Some(SourceTime::from_ticks(self.start?.saturating_add(at.elapsed).saturating_add(shift)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: usize = 1;
    const OTHER: usize = 0;
    const START: i64 = 77_000;
    const NTP: u64 = 3_990_000_000 << 32;
    const SECOND: u64 = 1 << 32;

    fn stamp(elapsed: i64) -> Stamp {
        Stamp { start: START, elapsed }
    }

    #[test]
    fn reports_bring_sound_and_picture_together() {
        // Reports as (stream, time, elapsed); by how much the other stream is moved in the end.
        for (name, reports, want) in [
            ("none", vec![], 0),
            ("one alone says nothing", vec![(OTHER, NTP, 0)], 0),
            ("they began together", vec![(LEAD, NTP, 90), (OTHER, NTP, 90)], 0),
            ("the other began half a second later", vec![(OTHER, NTP + SECOND / 2, 0), (LEAD, NTP, 0)], 45_000),
            ("it began earlier", vec![(LEAD, NTP, 0), (OTHER, NTP, 900)], -900),
            ("a clock that was never set", vec![(LEAD, NTP, 0), (OTHER, 9 * SECOND, 0)], 0),
            ("noise", vec![(LEAD, NTP, 0), (OTHER, NTP, 900), (OTHER, NTP + SECOND, 90_000 + 2_600)], -900),
            ("drift", vec![(LEAD, NTP, 0), (OTHER, NTP, 900), (OTHER, NTP + SECOND, 90_000 + 2_800)], -2_800),
        ] {
            let mut clocks = Clocks::new(2, LEAD);
            clocks.see(LEAD, stamp(0));
            for (stream, ntp, elapsed) in reports {
                clocks.report(stream, ntp, stamp(elapsed));
            }
            let ticks = |stream| clocks.place(stream, stamp(500)).map(|at| at.ticks());
            assert_eq!(ticks(LEAD), Some(START + 500), "{name}: the leading stream stays");
            assert_eq!(ticks(OTHER), Some(START + 500 + want), "{name}");
        }
    }

    #[test]
    fn times_hold_once_all_have_reported_or_long_enough_was_waited() {
        let mut clocks = Clocks::new(2, LEAD);
        clocks.see(OTHER, stamp(0));
        assert_eq!((clocks.place(OTHER, stamp(0)), clocks.settled(Duration::MAX)), (None, false), "no picture yet");
        clocks.report(LEAD, NTP, stamp(0));
        assert!(!clocks.settled(Duration::ZERO) && clocks.settled(REPORTS_AWAITED));
        clocks.report(OTHER, NTP, stamp(0));
        assert!(clocks.settled(Duration::ZERO));
        let mut alone = Clocks::new(1, 0);
        alone.see(0, stamp(0));
        assert!(alone.settled(Duration::ZERO), "nothing to be together with");
    }
}
