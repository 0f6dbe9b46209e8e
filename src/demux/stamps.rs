//! 33-bit timestamps of several tracks → one source timeline.
//!
//! In:    PTS and DTS as PES packets carry them, track by track, in stream order.
//! Out:   unwrapped times; that the timeline jumped; that a packet belongs to the timeline before the jump.
//! Never: changes a timestamp's lower 33 bits.
//!
//! Jumps are judged in decoding order (DTS where there is one), so reordered pictures are no jump. Going back by more than
//! a second is one. Going ahead by more than ten seconds is one too, unless another track is there already: then this
//! track only had a hole. Where the stream announces a new time base, a tenth of a second and one second decide.

use crate::media::{SourceTime, TrackId};

const WRAP: i64 = 1 << 33;
const SECOND: i64 = 90_000;
/// A track may go back this far without being on another timeline: reordering without DTS, at five pictures a second.
const BACK_MAX: i64 = SECOND;
/// And this far ahead.
const AHEAD_MAX: i64 = 10 * SECOND;
/// The same where a new time base was announced.
const ANNOUNCED_BACK_MAX: i64 = SECOND / 10;
const ANNOUNCED_AHEAD_MAX: i64 = SECOND;
/// How much of the old timeline a track may still deliver after the other one jumped. Multiplexers send audio
/// up to a second away from its picture (ISO/IEC 13818-1 §2.4.2.6 bounds the delay in the decoder's buffer so).
const STRAGGLE_MAX: i64 = 2 * SECOND;

/// Where a PES packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// Here.
    At(SourceTime),
    /// On a new timeline: [`Stamps::restart`] takes it there.
    Jump,
    /// On the timeline before the jump.
    Straggler,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    id: TrackId,
    /// Decoding time of its newest packet on this timeline.
    now: Option<i64>,
    /// The same on the timeline before, until it has come over.
    before: Option<i64>,
}

/// The source timeline and where each track is on it.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    tracks: Vec<Track>,
    /// Decoding time of the newest packet of any track.
    newest: Option<i64>,
}

impl Stamps {
    /// Finds the place of a packet with this PTS and DTS (33 bits). `announced`: a new time base may begin with it.
    pub fn place(&mut self, id: TrackId, pts: u64, dts: Option<u64>, announced: bool) -> Placed {
        let (dts, offset) = decoding(pts, dts);
        let newest = self.newest;
        let track = self.track(id);
        let ahead = newest.map_or(0, |n| distance(dts, n));
        let (back_max, ahead_max) =
            if announced { (ANNOUNCED_BACK_MAX, ANNOUNCED_AHEAD_MAX) } else { (BACK_MAX, AHEAD_MAX) };
        match (track.now, track.before) {
            (Some(now), _) => {
                let step = distance(dts, now);
                if step < -back_max || (step > ahead_max && ahead > ahead_max) {
                    return Placed::Jump;
                }
            }
            (None, Some(before)) => {
                let step = distance(dts, before);
                if (-BACK_MAX..=STRAGGLE_MAX).contains(&step) && step.abs() < ahead.abs() {
                    return Placed::Straggler;
                }
            }
            // A track's first packet lies where it lies.
            (None, None) => {}
        }
        let at = newest.map_or(dts, |n| n + ahead);
        track.now = Some(at);
        track.before = None;
        self.newest = Some(at);
        Placed::At(SourceTime::from_ticks(at + offset))
    }

    /// Begins a new timeline with this packet, as it stands. Every track has to come over.
    pub fn restart(&mut self, id: TrackId, pts: u64, dts: Option<u64>) -> SourceTime {
        for track in &mut self.tracks {
            track.before = track.now.take().or(track.before);
        }
        let (dts, offset) = decoding(pts, dts);
        let track = self.track(id);
        track.now = Some(dts);
        track.before = None;
        self.newest = Some(dts);
        SourceTime::from_ticks(dts + offset)
    }

    /// The track is no more.
    pub fn forget(&mut self, id: TrackId) {
        self.tracks.retain(|t| t.id != id);
    }

    fn track(&mut self, id: TrackId) -> &mut Track {
        let at = self.tracks.iter().position(|t| t.id == id).unwrap_or_else(|| {
            self.tracks.push(Track { id, now: None, before: None });
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }
}

/// Decoding time, and how far presentation lies behind it. A DTS that makes no sense beside its PTS is not believed.
fn decoding(pts: u64, dts: Option<u64>) -> (i64, i64) {
    let pts = pts as i64;
    match dts.map(|dts| (dts as i64, distance(pts, dts as i64))) {
        Some((dts, offset)) if (0..=AHEAD_MAX).contains(&offset) => (dts, offset),
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

    /// Places PTS, DTS alike; `J` in the answer marks a jump, `None` a straggler.
    fn run(packets: &[(TrackId, i64)]) -> Vec<Option<(bool, i64)>> {
        let mut stamps = Stamps::default();
        let mut placed = |&(id, pts): &(TrackId, i64)| {
            let pts = pts.rem_euclid(WRAP) as u64;
            match stamps.place(id, pts, None, false) {
                Placed::At(at) => Some((false, at.ticks())),
                Placed::Jump => Some((true, stamps.restart(id, pts, None).ticks())),
                Placed::Straggler => None,
            }
        };
        packets.iter().map(&mut placed).collect()
    }

    #[test]
    fn times_are_placed() {
        const S: i64 = SECOND;
        let (at, jump, old) = (|t| Some((false, t)), |t| Some((true, t)), None);
        for (name, packets, want) in [
            ("rising", &[(V, 5), (A, 3), (V, 8)][..], vec![at(5), at(3), at(8)]),
            (
                "wraps",
                &[(V, WRAP - 5), (A, WRAP - 9), (V, 5), (A, 1)],
                vec![at(WRAP - 5), at(WRAP - 9), at(WRAP + 5), at(WRAP + 1)],
            ),
            ("begins on both sides of the wrap", &[(V, 5), (A, -9)], vec![at(5), at(-9)]),
            ("reordered", &[(V, S), (V, S + S / 2), (V, S + 100)], vec![at(S), at(S + S / 2), at(S + 100)]),
            ("back", &[(V, 9 * S), (A, 9 * S), (V, S), (A, S)], vec![at(9 * S), at(9 * S), jump(S), at(S)]),
            (
                "back, the other track late",
                &[(V, 9 * S), (A, 9 * S), (V, 6 * S), (A, 9 * S + 9), (A, 6 * S), (V, 6 * S + 9)],
                vec![at(9 * S), at(9 * S), jump(6 * S), old, at(6 * S), at(6 * S + 9)],
            ),
            ("ahead", &[(V, 0), (A, 0), (V, 11 * S), (A, 11 * S)], vec![at(0), at(0), jump(11 * S), at(11 * S)]),
            ("a gap of 9 s is none", &[(V, 0), (V, 9 * S)], vec![at(0), at(9 * S)]),
            (
                "a hole in one track is none",
                &[(V, 0), (A, 0), (A, 6 * S), (A, 12 * S), (V, 12 * S)],
                vec![at(0), at(0), at(6 * S), at(12 * S), at(12 * S)],
            ),
            (
                "the other track stays behind for good",
                &[(V, 100 * S), (A, 100 * S), (V, 0), (A, 103 * S), (V, 1), (A, 103 * S + 1)],
                vec![at(100 * S), at(100 * S), jump(0), at(103 * S), at(1), at(103 * S + 1)],
            ),
            (
                "tracks far apart from the start",
                &[(V, 0), (A, 50 * S), (V, 1), (A, 50 * S + 1)],
                vec![at(0), at(50 * S), at(1), at(50 * S + 1)],
            ),
        ] {
            assert_eq!(run(packets), want, "{name}");
        }
    }

    #[test]
    fn an_announced_time_base_is_looked_at_closely() {
        for (name, step, announced, want) in [
            ("3 s ahead", 3 * SECOND, false, false),
            ("3 s ahead, announced", 3 * SECOND, true, true),
            ("half a second back", -SECOND / 2, false, false),
            ("half a second back, announced", -SECOND / 2, true, true),
            ("no jump, announced", 3600, true, false),
        ] {
            let mut stamps = Stamps::default();
            stamps.place(V, 900_000, None, false);
            let placed = stamps.place(V, (900_000 + step) as u64, None, announced);
            assert_eq!(placed == Placed::Jump, want, "{name}: {placed:?}");
        }
    }

    #[test]
    fn pictures_are_judged_by_dts() {
        let mut stamps = Stamps::default();
        let two_seconds = 2 * SECOND as u64;
        assert_eq!(
            stamps.place(V, 10 + two_seconds, Some(10), false),
            Placed::At(SourceTime::from_ticks(10 + 2 * SECOND))
        );
        assert_eq!(stamps.place(V, 20, None, false), Placed::At(SourceTime::from_ticks(20)), "a B picture 2 s earlier");
        assert_eq!(decoding(5, Some(9)), (5, 0), "DTS behind PTS");
        assert_eq!(decoding(3, Some((WRAP - 4) as u64)), (WRAP - 4, 7), "wrap between DTS and PTS");
    }

    proptest! {
        #[test]
        fn the_lower_33_bits_never_change(packets in prop::collection::vec((0u16..3, 0..1u64 << 33, prop::option::of(0..1u64 << 33), any::<bool>()), 0..50)) {
            let mut stamps = Stamps::default();
            for (id, pts, dts, announced) in packets {
                let at = match stamps.place(TrackId(id), pts, dts, announced) {
                    Placed::At(at) => at,
                    Placed::Jump => stamps.restart(TrackId(id), pts, dts),
                    Placed::Straggler => continue,
                };
                prop_assert_eq!(at.ticks().rem_euclid(WRAP), pts as i64);
            }
        }
    }
}
