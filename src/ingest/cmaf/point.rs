//! One pipeline's publishing point: all of its tracks, and the time they share.
//!
//! In:    bodies, portion by portion; the time.
//! Out:   [`Output`]s. Never: outlives a refusal: a body that was refused is not read any further.

use std::mem;
use std::time::Duration;

use super::aside::Aside;
use super::header::{About, Header, Timed, audio_frame, unfit_audio, unfit_video};
use super::refusal::Refusal;
use super::stream::{Element, Stream};
use super::timeline::Timeline;
use super::track::{Follows, Track};
use super::{Figures, Notice, Output};
use crate::clock::Now;
use crate::encode::ipc::RenditionIndex;
use crate::encode::ladder::{AudioRung, VideoRung};
use crate::media::{AUDIO_FRAME_SAMPLES, Grid, RenditionId};
use crate::wire::mp4::read::Sample;

/// A rendition may come under another name when nothing came for it so long.
const IDLE: Duration = Duration::from_secs(10);

/// What a publishing point needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The channel's segments and frame rate.
    pub grid: Grid,
    /// Video renditions in the packager's order.
    pub video: Vec<VideoRung>,
    /// Audio renditions in the packager's order.
    pub audio: Vec<AudioRung>,
}

impl Config {
    fn name(&self, rendition: usize) -> Option<&RenditionId> {
        self.video.iter().map(|rung| &rung.id).chain(self.audio.iter().map(|rung| &rung.id)).nth(rendition)
    }

    fn count(&self) -> usize {
        self.video.len() + self.audio.len()
    }

    /// Why a track is not for this rendition.
    fn unfit(&self, rendition: usize, about: &About) -> Option<String> {
        match self.video.get(rendition) {
            Some(rung) => unfit_video(about, rung),
            None => self.audio.get(rendition - self.video.len()).and_then(|rung| unfit_audio(about, rung)),
        }
    }

    /// Whether it is for this rendition by what it says alone: of sound in several languages, that of its own.
    fn fits_alone(&self, rendition: usize, about: &About) -> Result<(), String> {
        if let Some(why) = self.unfit(rendition, about) {
            return Err(why);
        }
        let wanted = rendition.checked_sub(self.video.len()).and_then(|at| self.audio.get(at)?.language);
        match (wanted, about) {
            (Some(wanted), About::Audio { language: Some(language), .. }) if wanted != *language => {
                Err(format!("its language is {}", language.escape_ascii()))
            }
            _ => Ok(()),
        }
    }
}

/// One body that is being received.
#[derive(Debug)]
pub struct Object {
    name: String,
    rendition: Option<usize>,
    number: u64,
    stream: Stream,
}

/// One pipeline's publishing point.
#[derive(Debug)]
pub struct Point {
    config: Config,
    tracks: Vec<Track>,
    /// The newest body of each track.
    newest: Vec<u64>,
    objects: u64,
    timeline: Timeline,
    /// Rises whenever the sender's time begins anew.
    generation: u32,
    /// When the timeline became known last.
    placed: Option<Now>,
    /// A segment or a unit came last then; none since it fell silent.
    heard: Option<Now>,
    figures: Figures,
    out: Vec<Output>,
}

impl Point {
    /// That nothing has come to yet.
    pub fn new(config: Config) -> Self {
        let grid = config.grid;
        let track = |n: usize| Track::new(RenditionIndex(n as u8), n < config.video.len(), grid);
        Self {
            tracks: (0..config.count().min(256)).map(track).collect(),
            newest: vec![0; config.count().min(256)],
            timeline: Timeline::new(grid),
            config,
            objects: 0,
            generation: 0,
            placed: None,
            heard: None,
            figures: Figures::default(),
            out: Vec::new(),
        }
    }

    /// A body begins, for the track of this name. It takes the place of one of the same track that has not ended.
    pub fn begin(&mut self, name: &str) -> Object {
        self.objects += 1;
        let named = (0..self.tracks.len()).find(|&n| self.config.name(n).is_some_and(|id| id.as_str() == name));
        let rendition = named.or_else(|| self.tracks.iter().position(|track| track.alias.as_deref() == Some(name)));
        let number = self.objects;
        if let Some(rendition) = rendition {
            self.newest[rendition] = number;
        }
        Object { name: name.chars().take(80).collect(), rendition, number, stream: Stream::default() }
    }

    /// The next bytes of a body.
    ///
    /// # Errors
    /// It cannot be taken; nothing more of it will be.
    pub fn push(&mut self, now: Now, object: &mut Object, portion: &[u8]) -> Result<(), Refusal> {
        self.figures.bytes += portion.len() as u64;
        object.stream.push(portion);
        let taken = self.read(now, object);
        self.figures.refused += u64::from(taken.is_err());
        taken
    }

    /// A body has ended.
    ///
    /// # Errors
    /// In the middle of something.
    pub fn finish(&mut self, object: &Object) -> Result<(), Refusal> {
        object.stream.finish()?;
        Ok(())
    }

    /// What came out since the last call.
    pub fn take(&mut self) -> Vec<Output> {
        mem::take(&mut self.out)
    }

    /// How many renditions it has.
    pub fn renditions(&self) -> usize {
        self.tracks.len()
    }

    /// What was counted.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Looks at the time: who sends segment by segment is heard once a segment, and is gone after two without.
    pub fn poll(&mut self, now: Now) {
        if self.wake_at().is_some_and(|at| now.mono >= at.mono) {
            self.heard = None;
            self.out.push(Output::Notice(Notice::Silent));
        }
    }

    /// When [`Self::poll`] has something to say although nothing comes.
    pub fn wake_at(&self) -> Option<Now> {
        Some(self.heard?.after(2 * self.config.grid.segment() + Duration::from_secs(1)))
    }

    fn read(&mut self, now: Now, object: &mut Object) -> Result<(), Refusal> {
        while let Some(element) = object.stream.element()? {
            if let Element::Header(moov) = &element {
                self.header(now, object, Header::parse(moov)?)?;
                continue;
            }
            // Of the host, and so of no track: it needs no header.
            if let Element::Aside(content) = &element
                && Aside::is_of_host(content)
            {
                let Some(Aside::Host(word)) = Aside::parse(content) else { return Err(Refusal::Host) };
                self.out.push(Output::Host(word));
                continue;
            }
            let rendition = object.rendition.ok_or(Refusal::NoHeader)?;
            if self.newest[rendition] > object.number {
                return Err(Refusal::Replaced);
            }
            let track = &mut self.tracks[rendition];
            match element {
                Element::Fragment { start, moof } => {
                    let samples = track.header.as_mut().ok_or(Refusal::NoHeader)?.fragment(start, &moof)?;
                    object.stream.expect(samples);
                }
                Element::Sample(sample, data) => {
                    let header = track.header.as_ref().ok_or(Refusal::NoHeader)?;
                    let unit = header.timed(&sample, &data).ok_or(Refusal::Sample)?;
                    self.sample(now, rendition, &sample, &data, unit)?;
                }
                Element::Aside(content) => match Aside::parse(&content) {
                    Some(Aside::ChannelTime) => {
                        track.tells = true;
                        if !self.timeline.is_channel_time() {
                            self.out.push(Output::Notice(Notice::Placed { moved: None }));
                        }
                        self.timeline.trust();
                    }
                    Some(Aside::Segment { number, filled, .. }) => {
                        track.tell(number, filled, &mut self.out, &mut self.figures);
                    }
                    Some(Aside::Host(_)) | None => {}
                },
                Element::Header(_) => {}
            }
        }
        Ok(())
    }

    fn header(&mut self, now: Now, object: &mut Object, header: Header) -> Result<(), Refusal> {
        let rendition = match object.rendition {
            Some(rendition) => rendition,
            None => self.find(now, object, header.about())?,
        };
        let name = self.config.name(rendition).ok_or(Refusal::NoHeader)?.clone();
        if let Some(why) = self.config.unfit(rendition, header.about()) {
            return Err(Refusal::Unfit { rendition: name.to_string(), why });
        }
        object.rendition = Some(rendition);
        self.newest[rendition] = self.newest[rendition].max(object.number);
        let track = &mut self.tracks[rendition];
        if track.header.is_none() {
            self.out.push(Output::Notice(Notice::Began { rendition: name }));
        }
        (track.header, track.tells) = (Some(header), false);
        Ok(())
    }

    /// The rendition of a track whose name is none's.
    fn find(&mut self, now: Now, object: &Object, about: &About) -> Result<usize, Refusal> {
        let idle = |track: &Track| track.heard.is_none_or(|heard| now.since(heard) >= IDLE);
        let (mut fitting, mut last) = (Vec::new(), "there is none of its kind, or all have a sender".to_owned());
        for n in (0..self.tracks.len()).filter(|&n| idle(&self.tracks[n])) {
            match self.config.fits_alone(n, about) {
                Ok(()) => fitting.push(n),
                // Why it is not what it cannot be helps nobody.
                Err(why) if matches!(about, About::Video { .. }) == self.tracks[n].is_video() => last = why,
                Err(_) => {}
            }
        }
        let names = |all: &[usize]| {
            let names: Vec<&str> = all.iter().filter_map(|&n| self.config.name(n)).map(RenditionId::as_str).collect();
            names.join(", ")
        };
        let name = object.name.clone();
        match fitting[..] {
            [only] => {
                self.tracks[only].alias = Some(name);
                Ok(only)
            }
            [] => {
                let all: Vec<usize> = (0..self.tracks.len()).collect();
                Err(Refusal::NoRendition { name, known: names(&all), why: last })
            }
            _ => Err(Refusal::Ambiguous { name, fitting: names(&fitting) }),
        }
    }

    fn sample(
        &mut self,
        now: Now,
        rendition: usize,
        sample: &Sample,
        data: &bytes::Bytes,
        unit: Timed,
    ) -> Result<(), Refusal> {
        self.heard = Some(now);
        let track = &mut self.tracks[rendition];
        track.heard = Some(now);
        if !track.is_video() && (unit.lasts - audio_frame()).times(100) > audio_frame() {
            let samples = unit.lasts.seconds() / audio_frame().seconds() * f64::from(AUDIO_FRAME_SAMPLES);
            return Err(Refusal::FrameLength(samples.round() as u64));
        }
        match track.follows(sample, data) {
            Follows::On => {}
            Follows::Again => {
                self.figures.duplicates += 1;
                return Ok(());
            }
            Follows::Anew => {
                self.anew(now, rendition);
                self.tracks[rendition].begin(sample, data);
            }
        }
        self.unit(now, rendition, unit)
    }

    /// A track's time began anew. Where pictures' did, that of all tracks did: who sent them is another one. Sound alone may have been set.
    fn anew(&mut self, now: Now, rendition: usize) {
        let leads = self.tracks[rendition].is_video() || self.config.video.is_empty();
        let trusted = self.tracks[rendition].tells;
        let patience = 2 * self.config.grid.segment() + Duration::from_secs(2);
        if leads && self.tracks[rendition].generation == self.generation {
            self.generation += 1;
            self.figures.anew += 1;
            if !trusted {
                self.timeline.forget();
            }
            self.tracks.iter_mut().for_each(Track::forget);
            if let Some(rendition) = self.config.name(rendition).cloned() {
                self.out.push(Output::Notice(Notice::Anew { rendition }));
            }
        } else if !leads
            && !trusted
            && self.tracks[rendition].generation == self.generation
            && self.placed.is_none_or(|placed| now.since(placed) >= patience)
        {
            self.tracks[rendition].waits_until = Some(now.after(patience));
            return;
        }
        self.tracks[rendition].generation = self.generation;
    }

    /// A unit that continues its track: placed where the time is known, else kept.
    fn unit(&mut self, now: Now, rendition: usize, unit: Timed) -> Result<(), Refusal> {
        let track = &mut self.tracks[rendition];
        // What sound waits for has come, or will not.
        let waits = track.waits_until.is_some_and(|until| track.generation == self.generation && now.mono < until.mono);
        if !waits && track.waits_until.take().is_some() {
            track.generation = self.generation;
        }
        if self.timeline.is_known() && !waits {
            for earlier in track.take_held() {
                self.place(now, rendition, earlier)?;
            }
            return self.place(now, rendition, unit);
        }
        track.hold(unit, &mut self.figures);
        if !self.timeline.is_known() && self.learn(now, rendition)? {
            for n in 0..self.tracks.len() {
                self.tracks[n].generation = self.generation;
                self.tracks[n].waits_until = None;
                for unit in self.tracks[n].take_held() {
                    self.place(now, n, unit)?;
                }
            }
        }
        Ok(())
    }

    /// Tries to learn what the sender's times are.
    fn learn(&mut self, now: Now, rendition: usize) -> Result<bool, Refusal> {
        let track = &mut self.tracks[rendition];
        let first = if self.config.video.is_empty() {
            let Some(first) = track.first_held() else { return Ok(false) };
            self.timeline.learn_from_sound(now, first);
            first
        } else {
            if !track.is_video() || track.generation != self.generation {
                return Ok(false);
            }
            // Nothing new can be learnt of pictures between key pictures, but that there are none.
            let Some(waiting) = track.waiting(&mut self.figures) else { return Ok(false) };
            if !self.timeline.learn_from_pictures(now, &waiting)? {
                return Ok(false);
            }
            waiting.keys[0].1
        };
        self.placed = Some(now);
        let moved = self.timeline.channel(first).filter(|_| !self.timeline.is_channel_time());
        self.out.push(Output::Notice(Notice::Placed { moved: moved.map(|at| (at - first).seconds()) }));
        Ok(self.timeline.is_known())
    }

    fn place(&mut self, now: Now, rendition: usize, unit: Timed) -> Result<(), Refusal> {
        let Some(at) = self.timeline.channel(unit.at) else { return Ok(()) };
        if !self.timeline.is_near(now, at) {
            self.figures.astray += 1;
            return Ok(());
        }
        let track = &mut self.tracks[rendition];
        let whole = track.place(unit, at, &mut self.out, &mut self.figures)?;
        // One track tells for all: the first one.
        if let (0, Some(whole)) = (rendition, whole)
            && let Some(by) = self.timeline.note_whole(now, whole.segment, whole.first)
        {
            self.out.push(Output::Notice(Notice::Renumbered { by, after: whole.segment }));
        }
        Ok(())
    }
}
