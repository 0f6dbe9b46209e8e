//! One source inside its channel: demux, anchor, and the join buffer from which a pipeline starts with a key frame at hand.
//!
//! In:    TS bytes with their arrival time.
//! Out:   items on the channel timeline, kept for `join_buffer` and handed to the pipelines that have this source on air.
//! Never: decides who takes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Now;
use crate::demux::{self, Demux};
use crate::failover::Health;
use crate::media::{Break, ChannelTime, Codec, Item, SourceTime, TrackKind, TrackSet, Unit};
use crate::timeline::{Anchor, Anchored, Timeline};

/// Bytes of one join buffer. 4 s of 100 Mbit/s are 50 MB; a source that exceeds this is cut to what fits.
const JOIN_BYTES_MAX: usize = 64 << 20;

/// Units that wait for the first picture, because only a picture can set the anchor's phase.
const UNANCHORED_MAX: usize = 512;

/// Pictures that must lie far from the wall clock, each within [`STRAYS_WITHIN`] of the one before, until the source is
/// anchored anew. A PES packet that states no length ends with the next one's start: after a silence one picture comes as
/// late as the silence was long.
const STRAYS_MAX: u32 = 3;

/// Not in a row: at the very limit only pictures that are reordered lie beyond it.
const STRAYS_WITHIN: Duration = Duration::from_secs(1);

/// A bit rate is measured over so much media: two GOPs of the usual second, or one of two.
const BITRATE_OVER: Duration = Duration::from_secs(2);

/// What a pipeline is behind by: nothing below these times is news to its encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Highest video PTS handed over.
    pub video: Option<ChannelTime>,
    /// Highest audio PTS handed over.
    pub audio: Option<ChannelTime>,
}

impl Sent {
    /// Notes what was handed over.
    pub fn note(&mut self, unit: &Unit<ChannelTime>, kind: TrackKind) {
        match kind {
            TrackKind::Video => self.video = self.video.max(Some(unit.pts)),
            TrackKind::Audio => self.audio = self.audio.max(Some(unit.pts)),
            TrackKind::Data => {}
        }
    }
}

/// What happened to the source, beside its media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedNews {
    /// Its tracks are known, or changed.
    Tracks(Arc<TrackSet>),
    /// It runs on a timeline of its own.
    AnchoredNew,
    /// It runs on a timeline the channel knows.
    AnchoredAdopted,
}

/// What one portion of bytes led to.
#[derive(Debug, Default)]
pub struct Fed {
    /// Media for the pipelines that have this source on air, in order.
    pub items: Vec<Item<ChannelTime>>,
    /// For status and event log.
    pub news: Vec<FeedNews>,
}

#[derive(Debug)]
struct Kept {
    unit: Unit<ChannelTime>,
    kind: TrackKind,
}

/// One source inside its channel.
#[derive(Debug)]
pub struct Feed {
    demux: Demux,
    settings: demux::Config,
    join_buffer: Duration,
    loss_after: Duration,
    anchor: Option<Anchor>,
    tracks: Option<Arc<TrackSet>>,
    /// Pictures far from the wall clock, which are left out, and when the last one came.
    strays: u32,
    strayed_at: Option<Now>,
    waiting: VecDeque<Unit<SourceTime>>,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    health: Health,
    /// Bytes since the last status.
    bytes: u64,
}

impl Feed {
    /// A source that has not been heard of yet.
    pub fn new(settings: demux::Config, join_buffer: Duration, loss_after: Duration) -> Self {
        Self {
            demux: Demux::new(settings.clone()),
            settings,
            join_buffer,
            loss_after,
            anchor: None,
            tracks: None,
            strays: 0,
            strayed_at: None,
            waiting: VecDeque::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            health: Health::default(),
            bytes: 0,
        }
    }

    /// How it fares.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Its tracks, once known.
    pub fn tracks(&self) -> Option<&Arc<TrackSet>> {
        self.tracks.as_ref()
    }

    /// Counters of the demux.
    pub fn stats(&self) -> demux::Stats {
        self.demux.stats()
    }

    /// Bytes since the last call.
    pub fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// A new connection: nothing of the old one continues.
    pub fn reconnected(&mut self) {
        self.demux = Demux::new(self.settings.clone());
        self.forget();
        self.tracks = None;
        self.anchor = None;
    }

    /// The connection is gone: what a silence would tell only after `loss_after` is known now.
    pub fn lost(&mut self) {
        self.health = Health { joinable: self.health.joinable, ..Health::default() };
    }

    /// Bits a second of its video, once enough of it lies in the join buffer: two seconds, or nearly all that the buffer holds.
    pub fn video_bitrate(&self) -> Option<u64> {
        let span_min = BITRATE_OVER.min(self.join_buffer * 3 / 4);
        let mut pictures = self.kept.iter().filter(|k| k.kind == TrackKind::Video).map(|k| &k.unit);
        let first = pictures.next()?;
        let (mut last, mut bytes) = (first.pts, first.data.len() as u64);
        for picture in pictures {
            (last, bytes) = (last.max(picture.pts), bytes + picture.data.len() as u64);
        }
        let span = u64::try_from(last.ticks() - first.pts.ticks()).ok().filter(|&span| span > 0)?;
        (Duration::from_nanos(span * 100_000 / 9) >= span_min).then(|| bytes * 8 * 90_000 / span)
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.kept.clear();
        self.kept_bytes = 0;
        self.health.joinable = false;
    }

    /// Takes bytes.
    pub fn push(&mut self, now: Now, timeline: &mut Timeline, bytes: &[u8]) -> Fed {
        self.bytes += bytes.len() as u64;
        self.demux.push(bytes);
        let mut fed = Fed::default();
        while let Some(item) = self.demux.pop() {
            self.item(now, timeline, item, &mut fed);
        }
        self.trim();
        // Asked for with every input of the channel, but it changes only here.
        self.health.joinable = self.join_index(None).is_some();
        fed
    }

    fn item(&mut self, now: Now, timeline: &mut Timeline, item: Item<SourceTime>, fed: &mut Fed) {
        match item {
            Item::Tracks(tracks) => {
                let codec = |set: &TrackSet| set.first(TrackKind::Video).map(|t| (t.id, t.codec));
                // Units of another format cannot be joined from: what is kept would not decode with what follows.
                if self.tracks.as_ref().is_some_and(|old| codec(old) != codec(&tracks)) {
                    self.forget();
                }
                self.tracks = Some(tracks.clone());
                fed.news.push(FeedNews::Tracks(tracks.clone()));
                fed.items.push(Item::Tracks(tracks));
            }
            Item::Unit(unit) => {
                self.health.media(now, self.loss_after);
                self.unit(now, timeline, unit, fed);
            }
            Item::Break(why) => {
                self.forget();
                self.anchor = None;
                fed.items.push(Item::Break(why));
            }
            Item::Pace(_) | Item::End => {}
        }
    }

    fn unit(&mut self, now: Now, timeline: &mut Timeline, unit: Unit<SourceTime>, fed: &mut Fed) {
        let kind = self.kind_of(&unit);
        let sets_phase = kind == TrackKind::Video || !self.has_video();
        if let Some(anchor) = self.anchor
            && timeline.is_stray(now.channel_time(), anchor.map(unit.pts))
        {
            // Sound cannot tell where the source is now, and sound of another time must not push the encoder ahead.
            if !sets_phase || !self.strayed_for_good(now) {
                return;
            }
            self.forget();
            self.anchor = None;
            fed.items.push(Item::Break(Break::Timeline));
        }
        let anchor = match self.anchor {
            Some(anchor) => anchor,
            None if sets_phase => {
                let anchored = timeline.anchor(now.channel_time(), unit.pts);
                fed.news.push(match anchored {
                    Anchored::New(_) => FeedNews::AnchoredNew,
                    Anchored::Adopted(_) => FeedNews::AnchoredAdopted,
                });
                self.anchor = Some(anchored.anchor());
                (self.strays, self.strayed_at) = (0, None);
                for early in std::mem::take(&mut self.waiting) {
                    self.keep(anchored.anchor(), early, fed);
                }
                anchored.anchor()
            }
            None => {
                if self.waiting.len() == UNANCHORED_MAX {
                    self.waiting.pop_front();
                }
                self.waiting.push_back(unit);
                return;
            }
        };
        self.keep(anchor, unit, fed);
    }

    /// Counts a picture far from the clock; whether that makes enough of them.
    fn strayed_for_good(&mut self, now: Now) -> bool {
        let again = self.strayed_at.replace(now).is_some_and(|before| now.since(before) <= STRAYS_WITHIN);
        self.strays = if again { self.strays + 1 } else { 1 };
        self.strays >= STRAYS_MAX
    }

    fn keep(&mut self, anchor: Anchor, unit: Unit<SourceTime>, fed: &mut Fed) {
        let kind = self.kind_of(&unit);
        let pts = anchor.map(unit.pts);
        let unit = unit.at(pts);
        self.kept_bytes += unit.data.len();
        self.kept.push_back(Kept { unit: unit.clone(), kind });
        fed.items.push(Item::Unit(unit));
    }

    fn kind_of(&self, unit: &Unit<SourceTime>) -> TrackKind {
        let track = self.tracks.as_ref().and_then(|t| t.get(unit.track));
        track.map_or(TrackKind::Data, |t| t.codec.kind())
    }

    fn has_video(&self) -> bool {
        self.tracks.as_ref().is_some_and(|t| t.first(TrackKind::Video).is_some())
    }

    fn trim(&mut self) {
        let Some(newest) = self.kept.back().map(|k| k.unit.pts) else { return };
        while let Some(oldest) = self.kept.front() {
            let fits = oldest.unit.pts + self.join_buffer >= newest && self.kept_bytes <= JOIN_BYTES_MAX;
            if fits {
                break;
            }
            self.kept_bytes -= oldest.unit.data.len();
            self.kept.pop_front();
        }
    }

    /// Where to begin, so that decoding is whole from there on: the latest key frame at or before `wanted` with no damage
    /// behind it; else the first key frame behind the damage; without `wanted` the latest.
    fn join_index(&self, wanted: Option<ChannelTime>) -> Option<usize> {
        if !self.has_video() {
            return (!self.kept.is_empty()).then_some(0);
        }
        let whole_from =
            self.kept.iter().rposition(|k| k.kind == TrackKind::Video && k.unit.damaged).map_or(0, |i| i + 1);
        let mut keys =
            (whole_from..self.kept.len()).filter(|&i| self.kept[i].kind == TrackKind::Video && self.kept[i].unit.key);
        let earliest = keys.next()?;
        let fits = |i: &usize| wanted.is_none_or(|w| self.kept[*i].unit.pts <= w);
        Some(keys.rfind(fits).unwrap_or(earliest))
    }

    /// The earliest key frame from which decoding is whole up to now.
    pub fn reaches_back_to(&self) -> Option<ChannelTime> {
        let earliest = self.join_index(Some(ChannelTime::from_ticks(i64::MIN)))?;
        self.kept.get(earliest).map(|k| k.unit.pts)
    }

    /// The items that bring an encoder onto this source: tracks, then media from a key frame at or before `from.video`, and
    /// all sound after `from.audio`. `None` while no key frame is at hand.
    pub fn join(&self, from: Sent) -> Option<Vec<Item<ChannelTime>>> {
        let tracks = self.tracks.clone()?;
        let start = self.join_index(from.video)?;
        let mut items = vec![Item::Tracks(tracks)];
        items.extend(self.kept.iter().enumerate().filter_map(|(i, k)| {
            let wanted = match k.kind {
                TrackKind::Audio => from.audio.is_none_or(|sent| k.unit.pts > sent),
                _ => i >= start,
            };
            wanted.then(|| Item::Unit(k.unit.clone()))
        }));
        Some(items)
    }

    /// Whether the source's tracks can be used, and why not, for people.
    pub fn alarm(&self) -> Option<String> {
        let tracks = self.tracks.as_ref()?;
        if tracks.tracks.iter().any(|t| t.codec.kind() != TrackKind::Data) {
            return None;
        }
        let seen: Vec<String> = tracks
            .tracks
            .iter()
            .map(|t| match t.codec {
                Codec::Other(stream_type) => format!("stream_type {stream_type:#04x} on PID {:#06x}", t.id.0),
                other => format!("{other:?}"),
            })
            .collect();
        let seen = if seen.is_empty() { "no tracks at all".to_owned() } else { seen.join(", ") };
        Some(format!("nothing that can be decoded: {seen}; send H.264, HEVC or MPEG-2 with AAC, MP2, AC-3 or E-AC-3"))
    }
}
