//! 33-bit timestamps of several tracks → one source timeline.
//!
//! In:    PTS and DTS as PES packets carry them, track by track, in stream order.
//! Out:   unwrapped times; by how much a packet's time is not the one that should have come next on its track.
//! Never: changes a timestamp's lower 33 bits, or decides what such a step means: only who knows when it arrived can tell a
//!        jump of the source's clock from a hole.
//!
//! Steps are judged in decoding order (DTS where there is one), so reordered pictures are no step back.

use crate::media::{SourceTime, TrackId};

const WRAP: i64 = 1 << 33;
const SECOND: i64 = 90_000;
/// Time stamps that are off by less jitter: 50 ms.
const JITTER: i64 = SECOND / 20;
/// A track whose decoding times have gone back before goes back this far without having jumped: reordering without DTS, at
/// five pictures a second.
const REORDER_MAX: i64 = SECOND;
/// From a new track's first packet to the newest of the others there may be so much: multiplexers send sound up to a second
/// away from its picture (ISO/IEC 13818-1 §2.4.2.6 bounds the delay in the decoder's buffer so).
const SKEW_MAX: i64 = SECOND;
/// A DTS further from its PTS is not believed.
const REORDERED_BY_MAX: i64 = 10 * SECOND;
/// The shortest of so many distances is the track's usual one: lost packets only make them longer.
const DISTANCES: usize = 8;
/// Longer ones are holes.
const DISTANCE_MAX: i64 = SECOND;

/// Where a PES packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub at: SourceTime,
    /// By how many ticks its time is ahead of the one that should have come; 0 where it is that one.
    pub step: i64,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    id: TrackId,
    /// Decoding time of its newest packet.
    now: Option<i64>,
    /// The last distances between packets that did not step; 0 where there is none yet.
    distances: [i64; DISTANCES],
    seen: usize,
    /// Its decoding times go back now and then: they are no decoding times.
    reorders: bool,
}

/// The source timeline and where each track is on it.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    tracks: Vec<Track>,
    /// Decoding time of the newest packet of any track.
    newest: Option<i64>,
}

impl Stamps {
    /// Finds the place of a packet with this PTS and DTS (33 bits).
    pub fn place(&mut self, id: TrackId, pts: u64, dts: Option<u64>) -> Placed {
        let (dts, offset) = decoding(pts, dts);
        let newest = self.newest;
        let track = self.track(id);
        let (at, step) = match track.now {
            Some(now) => {
                let distance = distance(dts, now);
                (now + distance, track.step(distance))
            }
            // A track's first packet lies where it lies.
            None => match newest.map(|newest| (newest, distance(dts, newest))) {
                Some((newest, ahead)) => (newest + ahead, if ahead.abs() > SKEW_MAX { ahead } else { 0 }),
                None => (dts, 0),
            },
        };
        track.now = Some(at);
        self.newest = Some(at);
        Placed { at: SourceTime::from_ticks(at + offset), step }
    }

    /// What a packet with these times would be told; nothing is remembered of it.
    pub fn step(&self, id: TrackId, pts: u64, dts: Option<u64>) -> i64 {
        let now = self.tracks.iter().find(|t| t.id == id).and_then(|t| t.now);
        now.map_or(0, |now| distance(decoding(pts, dts).0, now))
    }

    /// The track is no more.
    pub fn forget(&mut self, id: TrackId) {
        self.tracks.retain(|t| t.id != id);
    }

    fn track(&mut self, id: TrackId) -> &mut Track {
        let at = self.tracks.iter().position(|t| t.id == id).unwrap_or_else(|| {
            self.tracks.push(Track { id, now: None, distances: [0; DISTANCES], seen: 0, reorders: false });
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }
}

impl Track {
    /// Notes the distance to the packet before, and tells whether it is a step.
    fn step(&mut self, distance: i64) -> i64 {
        let usual = self.distances.iter().copied().filter(|d| *d > 0).min();
        let ahead = distance - usual.unwrap_or(distance.clamp(0, DISTANCE_MAX));
        if distance <= 0 && distance > -REORDER_MAX && (self.reorders || self.seen < DISTANCES) {
            self.reorders |= distance < 0;
            return 0;
        }
        if (1..=DISTANCE_MAX).contains(&distance) {
            self.distances[self.seen % DISTANCES] = distance;
            self.seen += 1;
        }
        // Less than the usual distance, but ahead: it was not the usual one.
        if ahead > JITTER || distance <= 0 && ahead < -JITTER { ahead } else { 0 }
    }
}

/// Decoding time, and how far presentation lies behind it. A DTS that makes no sense beside its PTS is not believed.
fn decoding(pts: u64, dts: Option<u64>) -> (i64, i64) {
    let pts = pts as i64;
    match dts.map(|dts| (dts as i64, distance(pts, dts as i64))) {
        Some((dts, offset)) if (0..=REORDERED_BY_MAX).contains(&offset) => (dts, offset),
        _ => (pts, 0),
    }
}

/// From `from` to the nearest point that has the lower 33 bits of `to`; within ±2³².
fn distance(to: i64, from: i64) -> i64 {
    (to - from + WRAP / 2).rem_euclid(WRAP) - WRAP / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V: TrackId = TrackId(1);
    const A: TrackId = TrackId(2);

    /// Places PTS, DTS alike; the answer is the time and the step.
    fn run(packets: &[(TrackId, i64)]) -> Vec<(i64, i64)> {
        let mut stamps = Stamps::default();
        let mut placed = |&(id, pts): &(TrackId, i64)| {
            let placed = stamps.place(id, pts.rem_euclid(WRAP) as u64, None);
            (placed.at.ticks(), placed.step)
        };
        packets.iter().map(&mut placed).collect()
    }

    #[test]
    fn times_are_placed() {
        const S: i64 = SECOND;
        // A track at 25 packets a second, long enough to be known, up to but without second 1.
        let known = |id| (0..25).map(move |n| (id, n * 3600));
        for (name, packets, want) in [
            ("rising", vec![(V, 5), (A, 3), (V, 8)], vec![(5, 0), (3, 0), (8, 0)]),
            (
                "wraps",
                vec![(V, WRAP - 5), (A, WRAP - 9), (V, 5), (A, 1)],
                vec![(WRAP - 5, 0), (WRAP - 9, 0), (WRAP + 5, 0), (WRAP + 1, 0)],
            ),
            ("begins on both sides of the wrap", vec![(V, 5), (A, -9)], vec![(5, 0), (-9, 0)]),
            (
                "reordered without DTS",
                vec![(V, S), (V, S + 10_800), (V, S + 3600), (V, S + 7200), (V, S + 21_600), (V, S + 14_400)],
                vec![
                    (S, 0),
                    (S + 10_800, 0),
                    (S + 3600, 0),
                    (S + 7200, 0),
                    (S + 21_600, 14_400 - 3_600),
                    (S + 14_400, 0),
                ],
            ),
            ("a new track far from the others", vec![(V, 0), (A, 50 * S)], vec![(0, 0), (50 * S, 50 * S)]),
            ("a new track near the others", vec![(V, 0), (A, -S)], vec![(0, 0), (-S, 0)]),
        ] {
            let got = run(&packets);
            assert_eq!(got, want, "{name}");
        }
        for (name, next, step) in [
            ("goes on", S, 0),
            ("jitter", S + 4400, 0),
            ("one picture lost", S + 3600, 0),
            ("a little ahead", S + 9000, 9000),
            ("a little back", S - 9000, -9000),
            ("an hour ahead", S + 3600 * S, 3600 * S),
            ("an hour back", S - 3600 * S, -3600 * S),
        ] {
            let packets: Vec<_> = known(V).chain([(V, next), (V, next + 3600)]).collect();
            assert_eq!(run(&packets)[25..], [(next, step), (next + 3600, 0)], "{name}");
        }
    }

    #[test]
    fn pictures_are_judged_by_dts() {
        let mut stamps = Stamps::default();
        let two_seconds = 2 * SECOND as u64;
        let first = stamps.place(V, 10 + two_seconds, Some(10));
        assert_eq!(first, Placed { at: SourceTime::from_ticks(10 + 2 * SECOND), step: 0 });
        let second = stamps.place(V, 20, None);
        assert_eq!(second, Placed { at: SourceTime::from_ticks(20), step: 0 }, "a B picture 2 s earlier");
        assert_eq!(decoding(5, Some(9)), (5, 0), "DTS behind PTS");
        assert_eq!(decoding(3, Some((WRAP - 4) as u64)), (WRAP - 4, 7), "wrap between DTS and PTS");
    }

    proptest! {
        #[test]
        fn the_lower_33_bits_never_change(packets in prop::collection::vec((0u16..3, 0..1u64 << 33, prop::option::of(0..1u64 << 33)), 0..50)) {
            let mut stamps = Stamps::default();
            for (id, pts, dts) in packets {
                let at = stamps.place(TrackId(id), pts, dts).at;
                prop_assert_eq!(at.ticks().rem_euclid(WRAP), pts as i64);
            }
        }
    }
}
