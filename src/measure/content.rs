//! What is in the tracks: pictures a second, channels, captions.
//!
//! In:    the units the demux gives out.
//! Out:   [`TrackStatus`].

use std::collections::VecDeque;

use super::TrackStatus;
use crate::media::{Codec, TrackId, TrackInfo, TrackKind, TrackSet};
use crate::wire::codec::captions::{self, Captions};
use crate::wire::codec::layout::{self, AudioLayout};

/// Tracks looked at; a demux gives out no more.
const TRACKS_MAX: usize = 65;
/// Seconds over which pictures are counted.
const RATE_OVER: usize = 5;
/// Seconds for which captions are said to be there after they were.
const CAPTIONS_FOR: u8 = 10;

#[derive(Debug)]
struct Track {
    id: TrackId,
    codec: Codec,
    layout: Option<AudioLayout>,
    /// Pictures of this second, and of those before.
    pictures: u32,
    seconds: VecDeque<u32>,
    /// Seconds since CEA-608 and CEA-708 came.
    cea608: Option<u8>,
    cea708: Option<u8>,
    caption_pictures: u64,
}

/// The tracks of one source.
#[derive(Debug, Default)]
pub(super) struct Content(Vec<Track>);

impl Content {
    /// A unit of a track.
    pub fn unit(&mut self, track: &TrackInfo, data: &[u8]) {
        let Some(here) = self.track(track) else { return };
        match track.codec.kind() {
            TrackKind::Video => {
                here.pictures += 1;
                let Captions { carried, cea608, cea708 } = captions::scan(track.codec, data);
                here.caption_pictures += u64::from(carried);
                here.cea608 = if cea608 { Some(0) } else { here.cea608 };
                here.cea708 = if cea708 { Some(0) } else { here.cea708 };
            }
            TrackKind::Audio => here.layout = layout::of(track.codec, data).or(here.layout),
            TrackKind::Data => {}
        }
    }

    fn track(&mut self, track: &TrackInfo) -> Option<&mut Track> {
        let known = self.0.iter().position(|t| t.id == track.id);
        if let Some(at) = known.filter(|&at| self.0[at].codec != track.codec) {
            self.0.remove(at);
        } else if let Some(at) = known {
            return self.0.get_mut(at);
        }
        if self.0.len() == TRACKS_MAX {
            return None;
        }
        self.0.push(Track {
            id: track.id,
            codec: track.codec,
            layout: None,
            pictures: 0,
            seconds: VecDeque::new(),
            cea608: None,
            cea708: None,
            caption_pictures: 0,
        });
        self.0.last_mut()
    }

    /// A second is over.
    pub fn tick(&mut self) {
        for track in &mut self.0 {
            if track.seconds.len() == RATE_OVER {
                track.seconds.pop_front();
            }
            track.seconds.push_back(std::mem::take(&mut track.pictures));
            for age in [&mut track.cea608, &mut track.cea708] {
                *age = age.map(|age| age + 1).filter(|&age| age <= CAPTIONS_FOR);
            }
        }
    }

    /// Forgets tracks that the programme has no more.
    pub fn keep(&mut self, tracks: &TrackSet) {
        self.0.retain(|t| tracks.get(t.id).is_some());
    }

    /// The programme's tracks, in its order.
    pub fn status(&self, tracks: &TrackSet) -> Vec<TrackStatus> {
        let one = |info: &TrackInfo| {
            let here = self.0.iter().find(|t| t.id == info.id);
            // The second in which a track begins is not a whole one.
            let counted = here.filter(|t| info.codec.kind() == TrackKind::Video && t.seconds.len() == RATE_OVER);
            TrackStatus {
                id: info.id,
                codec: info.codec,
                language: info.language.map(|code| String::from_utf8_lossy(&code).to_ascii_lowercase()),
                shape: info.shape,
                pictures_per_second: counted.map(|t| f64::from(t.seconds.iter().sum::<u32>()) / RATE_OVER as f64),
                layout: here.and_then(|t| t.layout),
                cea608: here.is_some_and(|t| t.cea608.is_some()),
                cea708: here.is_some_and(|t| t.cea708.is_some()),
                caption_pictures: here.map_or(0, |t| t.caption_pictures),
            }
        };
        tracks.tracks.iter().take(TRACKS_MAX).map(one).collect()
    }
}
