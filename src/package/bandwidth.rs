//! What playlists and manifest say of a rendition's bit rate.

/// BANDWIDTH is the highest bit rate of a segment (RFC 8216bis §4.4.6.2). Segments last half a target duration or more, so
/// no run of several of them can be above the highest single one.
///
/// Of a stream that has just begun nobody knows its peak: until there is a minute of pictures the encoder's own limit is
/// said. Then it is what was measured, which only ever rises.
#[derive(Clone, Debug)]
pub(super) struct Bandwidth {
    declared: u64,
    peak: u64,
    /// Seconds of real media still to come until the peak is known.
    unknown_for: f64,
}

/// Real media after which a rendition's peak is taken for known, seconds: programmes have easy and hard scenes in a minute.
const KNOWN_AFTER: f64 = 60.0;

impl Bandwidth {
    /// Of a rendition whose encoder was told never to exceed `cap` bits a second.
    pub fn limited(cap: u32) -> Self {
        // A tenth above the cap: what the rate control overshoots in a segment, and the boxes.
        Self { declared: u64::from(cap) * 11 / 10, peak: 0, unknown_for: KNOWN_AFTER }
    }

    /// Of a rendition that nobody set a limit to.
    pub fn measured() -> Self {
        Self { declared: 0, peak: 0, unknown_for: 0.0 }
    }

    /// A segment was published. `real`: it is of the programme; slate costs next to nothing and says nothing.
    pub fn measure(&mut self, bytes: usize, seconds: f64, real: bool) {
        let bits = (bytes as f64 * 8.0 / seconds).ceil() as u64;
        self.peak = self.peak.max(bits);
        let was_unknown = self.unknown_for > 0.0;
        if real {
            self.unknown_for -= seconds;
        }
        if bits > self.declared || was_unknown && self.unknown_for <= 0.0 {
            // With some room, so that a playlist does not change with every new peak.
            self.declared = (self.peak * 21 / 20).next_multiple_of(1000);
        }
    }

    /// BANDWIDTH and `@bandwidth`, bits a second: never below a measured peak.
    pub fn declared(&self) -> u64 {
        self.declared
    }

    /// Highest bit rate of a segment so far.
    pub fn peak(&self) -> u64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_until_the_peak_is_known_and_then_the_peak_rises_only() {
        let mut b = Bandwidth::limited(1_000_000);
        let mut measure = |rate: usize, real| {
            b.measure(rate / 4, 2.0, real);
            (b.peak(), b.declared())
        };
        assert_eq!(measure(40_000, false), (40_000, 1_100_000), "slate");
        for _ in 0..100 {
            assert_eq!(measure(40_000, false).1, 1_100_000, "any amount of slate says nothing");
        }
        for _ in 0..28 {
            assert_eq!(measure(400_000, true), (400_000, 1_100_000));
        }
        assert_eq!(measure(500_000, true), (500_000, 1_100_000), "58 s");
        assert_eq!(measure(300_000, true), (500_000, 525_000), "60 s");
        assert_eq!(measure(520_000, true), (520_000, 525_000), "inside the room there is");
        assert_eq!(measure(525_100, true), (525_100, 552_000));
        assert_eq!(measure(40_000, true), (525_100, 552_000), "never down again");
    }

    #[test]
    fn what_exceeds_its_limit_is_declared_at_once() {
        let mut b = Bandwidth::limited(1_000_000);
        b.measure(300_000, 2.0, true);
        assert_eq!(b.declared(), 1_260_000);
        let mut b = Bandwidth::measured();
        b.measure(5_000, 2.0, false);
        assert_eq!((b.peak(), b.declared()), (20_000, 21_000));
    }
}
