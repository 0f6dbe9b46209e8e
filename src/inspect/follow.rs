//! Follows one rendition as a player does: reload, fetch what is new once, decode.
//!
//! In:    a rendition, until when.
//! Out:   its closed ledgers and the faults of the way.
//! Never: fetches a segment twice, waits for another rendition.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cmaf;
use super::decode::{Decoder, Ledgers, lock};
use super::fetch::{Fetcher, Resource};
use super::listing::{Listing, Origin, Rendition, Segment};
use super::report::{Audio, Faults, Kind, Video};
use super::{dash, hls};
use crate::clock;

/// A live playlist that does not grow for so many target durations stands still.
const STALLED_TARGETS: u32 = 3;

/// How long to look.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of a live stream seconds on the clock; else seconds of media.
    pub length: Duration,
    /// Begin three segments before the live edge instead of at the oldest.
    pub from_live: bool,
}

/// What was found in one rendition.
#[derive(Debug)]
pub struct Found {
    /// Which one.
    pub name: String,
    /// Seconds of media.
    pub seconds: f64,
    /// The pictures, if there were any.
    pub video: Option<Video>,
    /// Where each UTC second stands: presentation time less the second.
    pub boundaries: BTreeMap<i64, f64>,
    /// The sound, if there was any.
    pub audio: Option<Audio>,
    /// Pitch and time of each beep.
    pub onsets: Vec<(u64, f64)>,
    /// Segments read.
    pub segments: u64,
    /// What is wrong.
    pub faults: Faults,
}

impl Found {
    /// Closes the ledgers.
    pub fn close(name: &str, ledgers: Ledgers, segments: u64, mut faults: Faults) -> Self {
        let today = clock::now().utc.as_secs_f64();
        let pictures =
            std::mem::replace(&mut *lock(&ledgers.pictures), super::pictures::Pictures::new(name, today, None));
        let sound = std::mem::replace(&mut *lock(&ledgers.sound), super::sound::Sound::new(name));
        let seconds = pictures.seconds_seen().max(sound.seconds_seen());
        let heard = sound.seconds_seen() > 0.0;
        let (video, boundaries, more) = pictures.finish();
        faults.append(more);
        let (audio, onsets, more) = sound.finish();
        faults.append(more);
        Self {
            name: name.to_owned(),
            seconds,
            video: (video.frames > 0).then_some(video),
            boundaries,
            audio: heard.then_some(audio),
            onsets,
            segments,
            faults,
        }
    }
}

/// Follows `rendition` until `limits`; an error if not even its first listing could be read.
pub fn follow(rendition: &Rendition, ledgers: &Ledgers, limits: Limits) -> Result<Found, String> {
    let mut follower = Follower {
        rendition,
        ledgers: ledgers.clone(),
        fetcher: Fetcher::new(),
        faults: Faults::of(&rendition.name),
        decoders: BTreeMap::new(),
        init: None,
        segments: 0,
    };
    follower.run(limits)?;
    follower.drain();
    Ok(Found::close(&rendition.name, follower.ledgers, follower.segments, follower.faults))
}

struct Follower<'a> {
    rendition: &'a Rendition,
    ledgers: Ledgers,
    fetcher: Fetcher,
    faults: Faults,
    /// By track number; a transport stream has one decoder for all under 0.
    decoders: BTreeMap<u32, Decoder>,
    init: Option<(Resource, Vec<u8>)>,
    segments: u64,
}

impl Follower<'_> {
    fn run(&mut self, limits: Limits) -> Result<(), String> {
        let began = clock::now();
        let mut listing = self.listing()?;
        let Some(mut next) = listing.start(limits.from_live) else {
            return Err(format!("{}: nothing is listed yet", self.rendition.name));
        };
        let mut grew = began;
        let mut stalled = false;
        loop {
            let mut fresh = false;
            let segments: Vec<Segment> =
                listing.segments.iter().filter(|s| s.key + listing.slack >= next).cloned().collect();
            for segment in segments {
                let over = if listing.live {
                    clock::now().since(began) >= limits.length
                } else {
                    self.seen() >= limits.length
                };
                if over {
                    return Ok(());
                }
                if segment.key > next + listing.slack {
                    let vanished = format!("{next} was gone, {} is the oldest that follows", segment.key);
                    self.faults.add(Kind::SegmentVanished, None, vanished);
                }
                next = segment.next;
                fresh = true;
                self.segment(&segment);
            }
            if !listing.live {
                return Ok(());
            }
            let now = clock::now();
            if fresh {
                (grew, stalled) = (now, false);
            } else if now.since(grew) > listing.target * STALLED_TARGETS && !stalled {
                stalled = true;
                let detail = format!("nothing new for {:.1} s", now.since(grew).as_secs_f64());
                self.faults.add(Kind::Stalled, None, detail);
            }
            if now.since(began) >= limits.length {
                return Ok(());
            }
            std::thread::sleep((listing.target / 2).min(limits.length.saturating_sub(now.since(began))));
            match self.listing() {
                Ok(new) => {
                    new.compare(&listing, &mut self.faults);
                    listing = new;
                }
                // The old one stands; whoever is gone for long is found by the frames that are missing.
                Err(error) => self.faults.add(Kind::Playlist, None, error),
            }
        }
    }

    /// Media seen so far.
    fn seen(&self) -> Duration {
        let seconds = lock(&self.ledgers.pictures).seconds_seen().max(lock(&self.ledgers.sound).seconds_seen());
        Duration::from_secs_f64(seconds)
    }

    fn listing(&self) -> Result<Listing, String> {
        let fetch = |url: &String| self.fetcher.get(&Resource { url: url.clone(), range: None });
        match &self.rendition.origin {
            Origin::Playlist(url) => hls::listing(url, &fetch(url)?),
            Origin::Representation { mpd, id } => dash::listing(mpd, &fetch(mpd)?, id, clock::now().utc),
        }
    }

    fn segment(&mut self, segment: &Segment) {
        if segment.discontinuity && self.segments > 0 {
            self.faults.add(Kind::Discontinuity, None, format!("before {}", segment.media.url));
            self.drain();
            lock(&self.ledgers.pictures).discontinuity();
            lock(&self.ledgers.sound).discontinuity();
        }
        if segment.gap {
            return self.faults.add(Kind::Gap, None, segment.media.url.clone());
        }
        let media = match self.fetcher.get(&segment.media) {
            Ok(media) => media,
            Err(error) => return self.faults.add(Kind::Http, None, error),
        };
        self.segments += 1;
        let decoded = match &segment.init {
            Some(init) => self.fragments(init, &media, segment.shift_ns),
            None => self.transport(media),
        };
        if let Err((kind, error)) = decoded {
            self.faults.add(kind, None, format!("{}: {error}", segment.media.url));
        }
    }

    fn fragments(&mut self, init: &Resource, media: &[u8], shift_ns: i64) -> Result<(), (Kind, String)> {
        let known = self.init.take();
        let bytes = match &known {
            Some((of, bytes)) if of == init => bytes.clone(),
            _ => self.fetcher.get(init).map_err(|e| (Kind::Http, e))?,
        };
        if known.is_some_and(|(_, old)| old != bytes) {
            self.drain();
        }
        if self.decoders.is_empty() {
            for track in cmaf::tracks(&bytes).map_err(|e| (Kind::Container, e))? {
                let decoder = Decoder::units(track.media, &track.caps, &self.ledgers);
                self.decoders.insert(track.id, decoder.map_err(|e| (Kind::Decode, e))?);
            }
        }
        let units = cmaf::units(&bytes, media);
        self.init = Some((init.clone(), bytes));
        for unit in units.map_err(|e| (Kind::Container, e))? {
            if let Some(decoder) = self.decoders.get(&unit.track) {
                decoder
                    .push_unit(unit.data, unit.pts_ns + shift_ns, unit.dts_ns + shift_ns)
                    .map_err(|e| (Kind::Decode, e))?;
            }
        }
        Ok(())
    }

    fn transport(&mut self, media: Vec<u8>) -> Result<(), (Kind, String)> {
        if media.first() != Some(&0x47) {
            return Err((Kind::Container, "neither fragmented MP4 nor a transport stream".into()));
        }
        if self.decoders.is_empty() {
            let decoder = Decoder::transport(&self.ledgers).map_err(|e| (Kind::Decode, e))?;
            self.decoders.insert(0, decoder);
        }
        self.decoders.values().try_for_each(|d| d.push_bytes(media.clone())).map_err(|e| (Kind::Decode, e))
    }

    /// Lets the decoders finish; the next segment starts new ones.
    fn drain(&mut self) {
        for (_, decoder) in std::mem::take(&mut self.decoders) {
            if let Err(error) = decoder.drain() {
                self.faults.add(Kind::Decode, None, error);
            }
        }
    }
}
