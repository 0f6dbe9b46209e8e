//! Where units, parts and segments of each kind of track lie: arithmetic on the grid, the same on every host.

use std::ops::Range;
use std::time::Duration;

use crate::media::{
    AUDIO_FRAME_SAMPLES, AUDIO_RATE, AudioFrame, ChannelTime, Grid, MediaTime, Round, SegmentNumber, Slot, Timescale,
};

/// Picture or sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Video,
    Audio,
    /// The first picture of each segment, on the time of [`Kind::Video`].
    Trick,
}

/// The channel's grid with its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    grid: Grid,
    slots_per_part: u64,
    /// Slots, and AAC frames, of the longest segment: asked for with each part, and a thousand divisions to find out.
    most_slots: u64,
    most_frames: u64,
}

impl Layout {
    /// Parts of about `part`, all about equally long: a short one at the end of each segment would only cost a request.
    pub fn new(grid: Grid, part: Duration) -> Self {
        let (most, most_frames) = (Self::most(|n| grid.slots(n)), Self::most(|n| grid.audio_frames(n)));
        let slots = Round::Nearest.divide(part.as_nanos() as i128, grid.slot_duration().as_nanos() as i128);
        let count = most.div_ceil(u64::try_from(slots).unwrap_or(1).clamp(1, most));
        Self { grid, slots_per_part: most.div_ceil(count), most_slots: most, most_frames }
    }

    pub const fn grid(&self) -> Grid {
        self.grid
    }

    /// Ticks a second of tracks of this kind.
    pub fn timescale(&self, kind: Kind) -> Timescale {
        match kind {
            Kind::Video | Kind::Trick => self.grid.video_timescale(),
            Kind::Audio => Timescale::new(AUDIO_RATE).expect("48,000 is not zero"),
        }
    }

    /// Ticks one unit lasts.
    pub fn unit_ticks(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Video | Kind::Trick => self.grid.slot_ticks(),
            Kind::Audio => AUDIO_FRAME_SAMPLES,
        }
    }

    /// Places of the units of segment `n`; trick play has the places of the pictures, and uses the first.
    pub fn units(&self, kind: Kind, n: SegmentNumber) -> Range<u64> {
        match kind {
            Kind::Video | Kind::Trick => self.grid.slots(n),
            Kind::Audio => self.grid.audio_frames(n),
        }
    }

    /// Where segment `n` begins, in ticks since the epoch.
    pub fn start(&self, kind: Kind, n: SegmentNumber) -> u64 {
        self.units(kind, n).start * u64::from(self.unit_ticks(kind))
    }

    /// How long segment `n` lasts, in ticks.
    pub fn ticks(&self, kind: Kind, n: SegmentNumber) -> u64 {
        let units = self.units(kind, n);
        (units.end - units.start) * u64::from(self.unit_ticks(kind))
    }

    /// How long segment `n` lasts, seconds.
    pub fn seconds(&self, kind: Kind, n: SegmentNumber) -> f64 {
        self.ticks(kind, n) as f64 / f64::from(self.timescale(kind).hz())
    }

    /// When the first sample of segment `n` is presented, to the nearest millisecond since the epoch.
    pub fn start_ms(&self, kind: Kind, n: SegmentNumber) -> i64 {
        let ms = Timescale::new(1000).expect("not zero");
        let start = MediaTime::new(self.start(kind, n).cast_signed(), self.timescale(kind));
        start.rescale(ms, Round::Nearest).map_or(0, |t| t.ticks)
    }

    /// When the unit at this place is shown or heard, to the nearest tick of the channel's time.
    pub fn time_of(&self, kind: Kind, place: u64) -> ChannelTime {
        let ticks = place.saturating_mul(u64::from(self.unit_ticks(kind)));
        let time = MediaTime::new(i64::try_from(ticks).unwrap_or(i64::MAX), self.timescale(kind));
        ChannelTime::from_ticks(time.rescale(crate::media::HZ_90K, Round::Nearest).map_or(0, |t| t.ticks))
    }

    /// The segment that begins exactly at `ticks`.
    pub fn starting_at(&self, kind: Kind, ticks: u64) -> Option<SegmentNumber> {
        let unit = ticks / u64::from(self.unit_ticks(kind));
        let at = match kind {
            Kind::Video | Kind::Trick => self.grid.segment_of(Slot(unit)),
            Kind::Audio => {
                let samples = i64::try_from(unit.checked_mul(u64::from(AUDIO_FRAME_SAMPLES))?).ok()?;
                let time = MediaTime::new(samples, self.timescale(kind)).rescale(crate::media::HZ_90K, Round::Down)?;
                self.grid.segment_at(ChannelTime::from_ticks(time.ticks))
            }
        };
        (self.start(kind, at) == ticks).then_some(at)
    }

    /// How many units each part of segment `n` has, at least one. Video parts are whole slots; sound is cut at the same
    /// boundaries, rounded up to a frame.
    pub fn parts(&self, kind: Kind, n: SegmentNumber) -> Vec<usize> {
        let slots = self.grid.slots(n);
        let units = self.units(kind, n);
        let (num, den) = (i128::from(self.grid.rate().num()), i128::from(self.grid.rate().den()));
        let mut at = units.start;
        let mut parts = Vec::new();
        let mut boundary = slots.start;
        while boundary < slots.end {
            boundary = (boundary + self.slots_per_part).min(slots.end);
            let end = match kind {
                _ if boundary == slots.end => units.end,
                Kind::Video | Kind::Trick => boundary,
                Kind::Audio => {
                    let samples = i128::from(boundary) * den * i128::from(AUDIO_RATE);
                    let frame = Round::Up.divide(samples, num * i128::from(AUDIO_FRAME_SAMPLES));
                    AudioFrame(u64::try_from(frame).unwrap_or(units.end)).0
                }
            };
            // At high rates a last part may be shorter than an audio frame.
            if end > at {
                parts.push(usize::try_from(end - at).expect("a segment has few units"));
            }
            at = end;
        }
        parts
    }

    /// How many rows of parts segment `n` has.
    pub fn rows(&self, n: SegmentNumber) -> usize {
        let slots = self.grid.slots(n);
        usize::try_from((slots.end - slots.start).div_ceil(self.slots_per_part)).unwrap_or(1)
    }

    /// How long the parts of segment `n` last, seconds.
    pub fn part_seconds(&self, kind: Kind, n: SegmentNumber) -> Vec<f64> {
        let unit = f64::from(self.unit_ticks(kind)) / f64::from(self.timescale(kind).hz());
        self.parts(kind, n).into_iter().map(|units| units as f64 * unit).collect()
    }

    /// EXT-X-PART-INF (RFC 8216bis §4.4.3.7): no part of any kind, ever, lasts longer. Rounded up to what playlists say.
    pub fn part_target(&self) -> f64 {
        let slots = self.slots_per_part as f64 * self.grid.slot_duration().as_secs_f64();
        // Sound is cut at the frame boundary behind the picture's, so a part may have a frame more than fit into its slots.
        let frame = f64::from(AUDIO_FRAME_SAMPLES) / f64::from(AUDIO_RATE);
        let frames = (slots / frame - 1e-6).ceil() * frame;
        (slots.max(frames) * 1e5 - 1e-3).ceil() / 1e5
    }

    /// A whole part, as a time to wait.
    pub fn part(&self) -> Duration {
        Duration::from_secs_f64(self.part_target())
    }

    /// `mfhd` sequence number of a part: rises with time and is the same on every host. It wraps at 32 bits, as the field does.
    pub fn sequence(&self, n: SegmentNumber, part: usize) -> u32 {
        let parts = self.most_slots.div_ceil(self.slots_per_part);
        (n.0.wrapping_mul(parts).wrapping_add(part as u64) & u64::from(u32::MAX)) as u32
    }

    /// EXT-X-TARGETDURATION (RFC 8216bis §4.4.3.1): no segment of any kind, ever, rounds above it.
    pub fn target_duration(&self) -> u64 {
        self.longest().round() as u64
    }

    /// The longest any segment can last, seconds.
    pub fn longest(&self) -> f64 {
        let seconds =
            |kind, units: u64| (units * u64::from(self.unit_ticks(kind))) as f64 / f64::from(self.timescale(kind).hz());
        seconds(Kind::Video, self.most_slots).max(seconds(Kind::Audio, self.most_frames))
    }

    /// Units of the longest segment. Lengths differ by one and come round within 1,001 segments (1001 is the largest
    /// denominator that frame rates have in practice; a rate with a larger one still has both lengths among these).
    fn most(units: impl Fn(SegmentNumber) -> Range<u64>) -> u64 {
        (0..1001).map(|n| units(SegmentNumber(n))).map(|r| r.end - r.start).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::FrameRate;
    use proptest::prelude::*;

    fn layout(segment_ms: u64, rate: (u32, u32), part_ms: u64) -> Layout {
        let rate = FrameRate::new(rate.0, rate.1).expect("good rate");
        let grid = Grid::new(Duration::from_millis(segment_ms), rate).expect("good grid");
        Layout::new(grid, Duration::from_millis(part_ms))
    }

    #[test]
    fn parts_of_picture_and_sound() {
        let n = SegmentNumber(897_634_800);
        for (name, layout, video, audio) in [
            ("25, half seconds", layout(2000, (25, 1), 500), vec![13, 13, 13, 11], vec![25, 24, 25, 20]),
            ("25, 400 ms", layout(2000, (25, 1), 400), vec![10; 5], vec![19, 19, 19, 18, 19]),
            ("no stump at the end", layout(2000, (25, 1), 480), vec![10; 5], vec![19, 19, 19, 18, 19]),
            ("a slot a part", layout(1000, (120, 1), 1), vec![1; 120], vec![1; 47]),
            ("50, one part", layout(2000, (50, 1), 2000), vec![100], vec![94]),
            ("a part longer than a segment", layout(2000, (25, 1), 9000), vec![50], vec![94]),
        ] {
            assert_eq!(layout.parts(Kind::Video, n), video, "{name}");
            assert_eq!(layout.parts(Kind::Audio, n), audio, "{name}");
        }
    }

    #[test]
    fn the_target_duration_holds_for_sound_too() {
        for (name, layout, want) in [
            ("2 s", layout(2000, (25, 1), 500), 2),
            ("29.97: 2.002 s", layout(2000, (30000, 1001), 500), 2),
            ("2.5 s rounds up", layout(2500, (50, 1), 500), 3),
            ("6 s", layout(6000, (24000, 1001), 500), 6),
        ] {
            assert_eq!(layout.target_duration(), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn parts_fill_their_segment_and_starts_lead_back(
            n in 200_000_000u64..1_800_000_000,
            rate in prop::sample::select(vec![(24000, 1001), (25, 1), (30000, 1001), (50, 1), (60000, 1001), (25, 2)]),
            segment_ms in prop::sample::select(vec![1000u64, 1920, 2000, 6000]),
            part_ms in 100u64..2500,
        ) {
            let layout = layout(segment_ms, rate, part_ms);
            let n = SegmentNumber(n);
            for kind in [Kind::Video, Kind::Audio] {
                let parts = layout.parts(kind, n);
                let units = layout.units(kind, n);
                prop_assert!(parts.iter().all(|&p| p > 0), "{:?}", parts);
                prop_assert_eq!(parts.iter().sum::<usize>() as u64, units.end - units.start);
                prop_assert_eq!(layout.starting_at(kind, layout.start(kind, n)), Some(n));
                prop_assert_eq!(layout.starting_at(kind, layout.start(kind, n) + 1), None);
                prop_assert_eq!(layout.start(kind, n) + layout.ticks(kind, n), layout.start(kind, n.next()));
                prop_assert!(layout.seconds(kind, n) <= layout.longest());
                prop_assert!((layout.seconds(kind, n) + 0.5) as u64 <= layout.target_duration());
            }
        }
    }
}
