//! What a manifest lists, the same for HLS and DASH.
//!
//! In:    fetched manifests, through [`super::hls`] and [`super::dash`].
//! Out:   [`Listing`]s and what changed between two of them.
//! Never: fetches.

use std::time::Duration;

use super::decode::Media;
use super::fetch::Resource;
use super::report::{Faults, Kind};

/// One rendition that can be followed.
#[derive(Clone, Debug)]
pub struct Rendition {
    /// For reports.
    pub name: String,
    /// Pictures (perhaps with sound), or sound only.
    pub media: Media,
    /// Bits a second, as announced.
    pub bandwidth: u64,
    /// The audio group that belongs to it (HLS), or that it is in.
    pub group: Option<String>,
    /// Where its listing comes from.
    pub origin: Origin,
}

/// Where a listing comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A media playlist.
    Playlist(String),
    /// A Representation of an MPD, by its id.
    Representation {
        /// Address of the MPD.
        mpd: String,
        /// `Representation@id`.
        id: String,
    },
}

/// One listed segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Rises: media sequence number in HLS, presentation time in µs in DASH.
    pub key: i64,
    /// The key the following segment must have.
    pub next: i64,
    /// The media.
    pub media: Resource,
    /// Its initialisation segment, if it is fragmented MP4.
    pub init: Option<Resource>,
    /// Seconds, as announced.
    pub duration: f64,
    /// The timeline may step before it.
    pub discontinuity: bool,
    /// It is announced as missing.
    pub gap: bool,
    /// Added to the times in the media, ns.
    pub shift_ns: i64,
}

/// One state of a rendition's list of segments.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Oldest first.
    pub segments: Vec<Segment>,
    /// More will come.
    pub live: bool,
    /// How long a segment lasts at most, as announced.
    pub target: Duration,
    /// Keys may be off by so much through rounding.
    pub slack: i64,
}

impl Listing {
    /// Where a player begins: three segments before the end, or at the first.
    pub fn start(&self, from_live: bool) -> Option<i64> {
        let skip = if from_live && self.live { self.segments.len().saturating_sub(3) } else { 0 };
        self.segments.get(skip).map(|s| s.key)
    }

    /// Names what may not happen from `before` to this listing.
    pub fn compare(&self, before: &Self, faults: &mut Faults) {
        let edge = |l: &Self| l.segments.first().map(|s| s.key).zip(l.segments.last().map(|s| s.key));
        if let (Some((first, last)), Some((old_first, old_last))) = (edge(self), edge(before))
            && (first + self.slack < old_first || last + self.slack < old_last)
        {
            let detail = format!("listed {old_first} to {old_last}, then {first} to {last}");
            faults.add(Kind::SequenceFell, None, detail);
            return;
        }
        for old in &before.segments {
            let Some(new) = self.segments.iter().find(|s| (s.key - old.key).abs() <= self.slack) else { continue };
            if new.media != old.media || (new.duration - old.duration).abs() > 0.001 {
                faults.add(
                    Kind::SegmentChanged,
                    None,
                    format!(
                        "{} of {:.3} s became {} of {:.3} s",
                        old.media.url, old.duration, new.media.url, new.duration
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(keys: std::ops::Range<i64>) -> Listing {
        let segment = |key| Segment {
            key,
            next: key + 1,
            media: Resource { url: format!("{key}.m4s"), range: None },
            init: None,
            duration: 2.0,
            discontinuity: false,
            gap: false,
            shift_ns: 0,
        };
        Listing { segments: keys.map(segment).collect(), live: true, target: Duration::from_secs(2), slack: 0 }
    }

    #[test]
    fn a_list_only_goes_forward() {
        let mut moved = listing(4..9);
        moved.segments[1].media.url = "other.m4s".into();
        for (name, new, want) in [
            ("slides", listing(4..9), vec![]),
            ("same", listing(3..8), vec![]),
            ("last fell", listing(3..7), vec![Kind::SequenceFell]),
            ("began again", listing(0..5), vec![Kind::SequenceFell]),
            ("another address", moved, vec![Kind::SegmentChanged]),
        ] {
            let mut faults = Faults::default();
            new.compare(&listing(3..8), &mut faults);
            let kinds: Vec<Kind> = faults.listed.iter().map(|f| f.kind).collect();
            assert_eq!(kinds, want, "{name}");
        }
    }
}
