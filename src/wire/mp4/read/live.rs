//! A track that comes fragment after fragment: a CMAF header, then chunks (ISO/IEC 23000-19 §7.3).

use std::mem;

use super::fragment;
use super::{Boxes, Movie, Sample, Track, Wrong, find};

/// Most samples of a fragment: ten seconds of pictures at 120 a second, and of frames of sound of 5 ms, with room.
const SAMPLES_MAX: usize = 4096;

/// Why a header begins no track that can be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// A box that makes no sense.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// A CMAF track file has one track (ISO/IEC 23000-19 §7.3.1).
    #[error("{0} tracks in one stream: send each in a stream of its own")]
    Tracks(usize),
    /// Its samples cannot be read.
    #[error("samples of format `{}`", .0.escape_ascii())]
    Format([u8; 4]),
    /// It is no picture and no sound.
    #[error("neither picture nor sound")]
    Nothing,
}

/// One track, fragment after fragment. What was read of a fragment is handed out; nothing is kept of it.
#[derive(Clone, Debug)]
pub struct LiveTrack {
    /// Has exactly one track.
    movie: Movie,
}

impl LiveTrack {
    /// Reads the `moov` box of a header, without its own header.
    ///
    /// # Errors
    /// It makes no sense, or has not exactly one track whose samples can be read.
    pub fn parse(moov: &[u8]) -> Result<Self, LiveError> {
        let movie = Movie::parse_within(moov, 0)?;
        match (&movie.tracks[..], &movie.others[..]) {
            ([_], []) => Ok(Self { movie }),
            ([], [format]) => Err(LiveError::Format(*format)),
            ([], []) => Err(LiveError::Nothing),
            (tracks, others) => Err(LiveError::Tracks(tracks.len() + others.len())),
        }
    }

    /// What its header says; it has no samples.
    pub fn about(&self) -> &Track {
        &self.movie.tracks[0]
    }

    /// The samples of a `moof` box, without its header, that begins at `start` of the stream; at least one. Their places are in the
    /// stream as well.
    ///
    /// # Errors
    /// It makes no sense, is of another track, or does not say when it is decoded (`tfdt`, ISO/IEC 23000-19 §7.5.16).
    pub fn fragment(&mut self, start: u64, moof: &[u8]) -> Result<Vec<Sample>, Wrong> {
        let mut runs = 0;
        for child in Boxes(b"moof", moof) {
            if let (b"traf", traf) = child? {
                runs += 1;
                find(b"traf", traf, b"tfdt")?.ok_or(Wrong::new(b"traf", "has no tfdt"))?;
            }
        }
        if runs != 1 {
            return Err(Wrong::new(b"moof", "has not exactly one traf"));
        }
        let read = fragment::add(&mut self.movie, start, moof, SAMPLES_MAX);
        let samples = mem::take(&mut self.movie.tracks[0].samples);
        read?;
        if samples.is_empty() {
            return Err(Wrong::new(b"moof", "has no samples of the header's track"));
        }
        Ok(samples)
    }
}
