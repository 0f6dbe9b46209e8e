//! An MP4 file that is played again and again: which sample is due when, and the unit it makes.
//!
//! In:    the file's tables ([`Movie`]); a sample's bytes.
//! Out:   the samples in the order they are due; items on one timeline that goes on from pass to pass.
//! Never: reads a file or a clock.
//!
//! The first track of pictures and every track of AAC are played. A pass is as long as the pictures are, or the first track of sound where there
//! are none; frames of sound that lie mostly outside of it are left out, so that passes neither overlap nor drift apart.

use bytes::Bytes;

use crate::ingest::elementary::{Elementary, access_unit, sized_units};
use crate::media::{Codec, HZ_90K, Item, MediaTime, Round, SourceTime, Timescale};
use crate::wire::codec::asc::AacConfig;
use crate::wire::mp4::read::{Coding, Movie, Track};

/// A sample above this is no picture, bytes: twice what a demux takes.
const SAMPLE_BYTES_MAX: u32 = 8 << 20;

/// Times beyond this, ticks of 90 kHz, are of no film (390,000 years), and lie far enough from the end of what 64 bits hold.
const TICKS_MAX: i64 = 1 << 60;

/// Why a file cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unplayable {
    #[error("no track of H.264, HEVC or AAC; {0}")]
    NoTrack(String),
    #[error("its tracks are empty")]
    Empty,
    #[error("its tracks have times that make no sense")]
    Times,
    #[error("it is cut off: {behind} of {all} samples lie behind its end")]
    CutOff { behind: usize, all: usize },
    #[error("a sample of {0} bytes: more than any picture has")]
    TooLong(u32),
}

/// One sample and when it is due, ticks of 90 kHz since the beginning of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Decoding time: when it goes out.
    pub at: i64,
    pub pts: i64,
    /// Where it lies in the file.
    pub offset: u64,
    pub bytes: u32,
    track: u16,
}

#[derive(Debug)]
enum How {
    Picture { codec: Codec, length_bytes: usize, sets: Vec<Bytes> },
    Sound(AacConfig),
}

/// A file that can be played.
#[derive(Debug)]
pub(super) struct Clip {
    how: Vec<How>,
    source: Elementary,
    /// In the order they are due.
    pub samples: Vec<Due>,
    /// How long a pass is, ticks of 90 kHz; above 0.
    pub length: i64,
    /// Some track has edits that are not followed.
    pub more_edits: bool,
}

impl Clip {
    /// Plans how to play `movie`, which lies in a file of `file_bytes`.
    ///
    /// # Errors
    /// There is nothing to play, or some of it is not there.
    pub fn new(movie: Movie, file_bytes: u64) -> Result<Self, Unplayable> {
        let is_video = |track: &Track| !matches!(track.coding, Coding::Aac(_));
        let mut tracks = movie.tracks;
        // One track of pictures: the first.
        let mut pictures = 0;
        tracks.retain(|track| {
            pictures += usize::from(is_video(track));
            !is_video(track) || pictures == 1
        });
        tracks.sort_by_key(|track| !is_video(track));
        let Some(lead) = tracks.first() else {
            let others: Vec<String> = movie.others.iter().map(|name| format!("`{}`", name.escape_ascii())).collect();
            let there =
                if others.is_empty() { "there is none at all".into() } else { others.join(", ") + " cannot be played" };
            return Err(Unplayable::NoTrack(there));
        };
        let (first, length) =
            span(lead).ok_or(if lead.samples.is_empty() { Unplayable::Empty } else { Unplayable::Times })?;
        let mut samples = Vec::with_capacity(tracks.iter().map(|t| t.samples.len()).sum());
        for (n, track) in (0u16..).zip(&tracks) {
            // Frames of sound belong to the pass that most of them sounds in.
            let within = if is_video(track) { None } else { Some(first..first.saturating_add(length)) };
            plan(n, track, within, &mut samples).ok_or(Unplayable::Times)?;
        }
        for due in &mut samples {
            (due.at, due.pts) = (due.at - first, due.pts - first);
        }
        // Stable: samples of one time stay in the order of the tracks.
        samples.sort_by_key(|due: &Due| due.at);
        let behind = samples.iter().filter(|due| due.offset.saturating_add(due.bytes.into()) > file_bytes).count();
        if behind > 0 {
            return Err(Unplayable::CutOff { behind, all: samples.len() });
        }
        if let Some(long) = samples.iter().find(|due| due.bytes > SAMPLE_BYTES_MAX) {
            return Err(Unplayable::TooLong(long.bytes));
        }
        let more_edits = tracks.iter().any(|track| track.more_edits);
        let source = Elementary::new(tracks.iter().map(|track| (codec(&track.coding), track.language)));
        let how = tracks.into_iter().map(|track| match track.coding {
            Coding::H264(sets) => How::Picture { codec: Codec::H264, length_bytes: sets.length_bytes, sets: sets.sets },
            Coding::Hevc(sets) => How::Picture { codec: Codec::Hevc, length_bytes: sets.length_bytes, sets: sets.sets },
            Coding::Aac(config) => How::Sound(config),
        });
        Ok(Self { how: how.collect(), source, samples, length, more_edits })
    }

    /// The items of a sample whose bytes are `data`, in pass `pass`, counted from 0.
    pub fn unit(&mut self, due: Due, pass: i64, data: &[u8]) -> Vec<Item<SourceTime>> {
        let (data, damaged) = match &self.how[usize::from(due.track)] {
            How::Picture { codec, length_bytes, sets } => {
                let (units, damaged) = sized_units(data, *length_bytes);
                (access_unit(*codec, sets, units.into_iter()), damaged)
            }
            How::Sound(config) => (config.adts(data).unwrap_or_default(), false),
        };
        let pts = SourceTime::from_ticks(due.pts.saturating_add(pass.saturating_mul(self.length)));
        self.source.unit(usize::from(due.track), pts, damaged, data)
    }
}

const fn codec(coding: &Coding) -> Codec {
    match coding {
        Coding::H264(_) => Codec::H264,
        Coding::Hevc(_) => Codec::Hevc,
        Coding::Aac(_) => Codec::AacAdts,
    }
}

/// Presentation time of a track's first sample and how long it lasts, ticks of 90 kHz.
fn span(track: &Track) -> Option<(i64, i64)> {
    let (first, last) = (track.samples.first()?, track.samples.last()?);
    let presented = track.samples.iter().map(|s| s.dts.saturating_add(s.shift.into())).min()?;
    let length = last.dts.checked_add(last.duration.into())?.checked_sub(first.dts)?;
    let length = ticks(track, length).filter(|length| (1..TICKS_MAX).contains(length))?;
    let first = ticks(track, presented.checked_add(track.edit)?)?;
    (first.unsigned_abs() < TICKS_MAX as u64).then_some((first, length))
}

/// Adds a track's samples; of those that lie mostly outside of `within` nothing is played. `None`: times do not fit 64 bits.
fn plan(n: u16, track: &Track, within: Option<std::ops::Range<i64>>, samples: &mut Vec<Due>) -> Option<()> {
    for sample in &track.samples {
        let dts = sample.dts.checked_add(track.edit)?;
        let pts = dts.checked_add(sample.shift.into())?;
        let middle = ticks(track, pts.checked_add(i64::from(sample.duration / 2))?)?;
        if within.as_ref().is_none_or(|within| within.contains(&middle)) {
            let (at, pts) = (ticks(track, dts)?, ticks(track, pts)?);
            if at.unsigned_abs().max(pts.unsigned_abs()) > TICKS_MAX as u64 {
                return None;
            }
            samples.push(Due { at, pts, offset: sample.offset, bytes: sample.bytes, track: n });
        }
    }
    Some(())
}

fn ticks(track: &Track, time: i64) -> Option<i64> {
    MediaTime::new(time, Timescale::new(track.timescale)?).rescale(HZ_90K, Round::Nearest).map(|time| time.ticks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::TrackId;
    use crate::wire::mp4::read::{ParameterSets, Sample};

    const BYTES: u32 = 5;

    fn track(id: u32, coding: Coding, timescale: u32, edit: i64, samples: Vec<Sample>) -> Track {
        Track { id, coding, timescale, language: None, edit, more_edits: false, samples }
    }

    /// `count` samples of `duration` ticks each, `shift` from decoding to composition.
    fn samples(count: i64, duration: u32, shift: i32) -> Vec<Sample> {
        let sample = |n| Sample { offset: n as u64 * 10, dts: n * i64::from(duration), bytes: BYTES, shift, duration };
        (0..count).map(sample).collect()
    }

    fn aac() -> Coding {
        Coding::Aac(AacConfig::parse(&[0x11, 0x90]).unwrap())
    }

    fn h264() -> Coding {
        Coding::H264(ParameterSets { length_bytes: 4, sets: vec![Bytes::from_static(&[0x67, 1])] })
    }

    fn movie(tracks: Vec<Track>) -> Movie {
        let mut movie = Movie::default();
        movie.tracks = tracks;
        movie
    }

    fn times(clip: &mut Clip, pass: i64, of: u16) -> Vec<i64> {
        let samples: Vec<Due> = clip.samples.iter().copied().filter(|due| due.track == of).collect();
        let units = samples.into_iter().flat_map(|due| clip.unit(due, pass, &[0, 0, 0, 1, 0x41]));
        let pts = |item: Item<SourceTime>| if let Item::Unit(unit) = item { Some(unit.pts.ticks()) } else { None };
        units.filter_map(pts).collect()
    }

    #[test]
    fn passes_follow_each_other() {
        // As ffmpeg writes it: 25 pictures a second, two of reordering, and 1,024 samples before sound begins, both taken back by edits.
        let sound = track(1, aac(), 48_000, -1024, samples(96, 1024, 0));
        let second = track(3, h264(), 12_800, 0, samples(9, 512, 0));
        let picture = track(2, h264(), 12_800, -1024, samples(50, 512, 1024));
        let mut clip = Clip::new(movie(vec![sound, picture, second]), 1000).unwrap();
        assert_eq!((clip.length, clip.how.len()), (180_000, 2), "two seconds; of two tracks of pictures, the first");
        assert!(clip.samples.is_sorted_by_key(|due| due.at));
        let pictures: Vec<i64> = (0..2).flat_map(|pass| times(&mut clip, pass, 0)).collect();
        assert_eq!(pictures, (0..100).map(|n| n * 3600).collect::<Vec<_>>(), "without a seam");
        let sounds: Vec<i64> = (0..2).flat_map(|pass| times(&mut clip, pass, 1)).collect();
        assert_eq!(sounds[0], 0, "the frame before the beginning is left out");
        for (before, after) in sounds.iter().zip(&sounds[1..]) {
            assert!((960..2 * 1920).contains(&(after - before)), "{before} {after}");
        }
    }

    #[test]
    fn sound_alone_is_played_too() {
        let mut clip = Clip::new(movie(vec![track(1, aac(), 48_000, 0, samples(10, 1024, 0))]), 1000).unwrap();
        assert_eq!(clip.length, 19_200);
        assert_eq!(times(&mut clip, 1, 0)[0], 19_200);
        let items = clip.unit(clip.samples[3], 0, &[1; 100]);
        let [Item::Unit(unit)] = &items[..] else { panic!("{items:?}") };
        assert_eq!((unit.track, unit.data.len(), unit.key), (TrackId(0x100), 107, true), "with its header");
    }

    #[test]
    fn what_cannot_be_played_is_said() {
        let picture = |samples| movie(vec![track(1, h264(), 1000, 0, samples)]);
        let mut strange = movie(vec![]);
        strange.others.push(*b"av01");
        let mut long = samples(3, 40, 0);
        long[1].bytes = SAMPLE_BYTES_MAX + 1;
        for (movie, want) in [
            (strange, "no track of H.264, HEVC or AAC; `av01` cannot be played"),
            (movie(vec![]), "no track of H.264, HEVC or AAC; there is none at all"),
            (picture(vec![]), "its tracks are empty"),
            (picture(samples(3, 0, 0)), "its tracks have times that make no sense"),
            (picture(samples(101, 40, 0)), "it is cut off: 1 of 101 samples lie behind its end"),
            (picture(long), "it is cut off: 1 of 3 samples lie behind its end"),
        ] {
            assert_eq!(Clip::new(movie, 1000).map(|_| ()).unwrap_err().to_string(), want);
        }
    }

    proptest! {
        #[test]
        fn any_times_are_survived(
            times in prop::collection::vec((any::<i64>(), any::<i32>(), any::<u32>(), any::<u64>()), 1..20),
            timescale in 1u32..,
            edit in any::<i64>(),
            sound in any::<bool>(),
        ) {
            let samples = times.into_iter().map(|(dts, shift, duration, offset)| Sample { offset, dts, bytes: BYTES, shift, duration });
            let lead = track(1, h264(), 90_000, 0, (0..5).map(|n| Sample { offset: 0, dts: n * 3600, bytes: BYTES, shift: 0, duration: 3600 }).collect());
            let other = track(2, if sound { aac() } else { h264() }, timescale, edit, samples.collect());
            let tracks = if sound { vec![lead, other] } else { vec![other, lead] };
            if let Ok(mut clip) = Clip::new(movie(tracks), u64::MAX) {
                prop_assert!(clip.length > 0);
                for n in 0..clip.samples.len() {
                    clip.unit(clip.samples[n], i64::MAX, &[0; 5]);
                }
            }
        }
    }
}
