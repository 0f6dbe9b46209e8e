//! One source inside its channel: demux, anchor, and the join buffer from which a pipeline starts with a key frame at hand.
//!
//! In:    TS bytes with their arrival time, or items that came without TS.
//! Out:   items on the channel timeline, kept for `join_buffer` and handed to the pipelines that have this source on air.
//! Never: decides who takes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Now;
use crate::config::{self, Condition};
use crate::demux::{self, Demux, TimeStep};
use crate::failover::{Evidence, FaultNews, Health, Judge, Score};
use crate::measure::{Indicator, Measure, Measured, News};
use crate::media::{Break, ChannelTime, Codec, Item, Pace, SourceTime, TrackKind, TrackSet, Unit};
use crate::timeline::{Anchor, Timeline};

use super::news::FeedNews;
use super::placing::{Agreement, Piece, Place, Placing};

/// Bytes of one join buffer. 4 s of 100 Mbit/s are 50 MB; a source that exceeds this is cut to what fits.
const JOIN_BYTES_MAX: usize = 64 << 20;

/// Units that wait for the first picture, because only a picture can set the anchor's phase, and for the other host, which may have set it: three
/// seconds of 60 pictures and ten tracks of sound.
const UNANCHORED_MAX: usize = 1600;
/// And bytes of them.
const UNANCHORED_BYTES_MAX: usize = 32 << 20;

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
    placing: Placing,
    /// What has been said of the slope, of which anchor, and of which revision of its plan.
    paced: Option<(Anchor, Pace, u32)>,
    tracks: Option<Arc<TrackSet>>,
    /// With their arrival.
    waiting: VecDeque<(Now, Unit<SourceTime>)>,
    waiting_bytes: usize,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    health: Health,
    measure: Measure,
    judge: Judge,
    /// What the judge was last told of its packets.
    lost_sync: bool,
    /// What was counted when the judge was last told: packets missing, PIDs missing, PCR wrong.
    told: [u64; 3],
    /// Bytes since the last status.
    bytes: u64,
}

impl Feed {
    /// A source that has not been heard of yet.
    pub fn new(settings: demux::Config, failover: &config::Failover) -> Self {
        Self {
            demux: Demux::new(settings.clone()),
            settings,
            join_buffer: failover.join_buffer,
            loss_after: failover.loss_after,
            placing: Placing::default(),
            paced: None,
            tracks: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            health: Health::default(),
            measure: Measure::default(),
            judge: Judge::new(&failover.conditions),
            lost_sync: false,
            told: [0; 3],
            bytes: 0,
        }
    }

    /// How it fares.
    pub fn health(&self) -> Health {
        self.judge.health(self.health)
    }

    /// Its score, with reasons.
    pub fn score(&self, now: Now) -> Score {
        self.judge.score(self.health.flows(now, self.loss_after))
    }

    /// Its measurement as it stands.
    pub fn measured(&self) -> Measured {
        self.measure.snapshot(self.tracks.as_deref())
    }

    /// What was seen in its pictures or heard in its sound.
    pub fn tell(&mut self, now: Now, evidence: Evidence) {
        self.judge.tell(now, evidence);
    }

    /// Faults that began or are over since the last call.
    pub fn take_faults(&mut self) -> Vec<FaultNews> {
        self.judge.take_news()
    }

    /// When what it is left for began.
    pub fn fault_since(&self) -> Option<Now> {
        self.judge.fault_since()
    }

    /// Time passed.
    pub fn settle(&mut self, now: Now) {
        self.judge.settle(now);
    }

    /// When a fault begins or ends although nothing arrives.
    pub fn wake_at(&self, now: Now) -> Option<Now> {
        self.judge.wake_at(now)
    }

    /// To be called once a second: which indicators began or are over.
    pub fn tick(&mut self, now: Now) -> Vec<News> {
        let news = self.measure.tick(now);
        let counts = [
            (Condition::Continuity, self.demux.stats().continuity_errors),
            (Condition::Pid, self.measure.count(Indicator::PidError)),
            (
                Condition::Pcr,
                self.measure.count(Indicator::PcrRepetitionError)
                    + self.measure.count(Indicator::PcrDiscontinuityError),
            ),
        ];
        for ((condition, count), told) in counts.into_iter().zip(&mut self.told) {
            // A new demux counts from 0.
            let fresh = count.saturating_sub(std::mem::replace(told, count));
            self.judge.tell(now, Evidence::Errors(condition, fresh));
        }
        news
    }

    /// Compares with where the other host has it, and moves there if nobody sees that.
    pub fn agree(&mut self, now: Now, timeline: &mut Timeline, may_move: bool) -> Agreement {
        self.placing.agree(now, timeline, may_move)
    }

    /// Under which its pictures are placed, if any come.
    pub fn in_use(&self, now: Now) -> Option<Anchor> {
        self.placing.anchor().filter(|_| self.placing.flows(now))
    }

    /// Its tracks, once known.
    pub fn tracks(&self) -> Option<&Arc<TrackSet>> {
        self.tracks.as_ref()
    }

    /// Counters of the demux.
    pub fn stats(&self) -> demux::Stats {
        self.demux.stats()
    }

    /// By how much its clock is slow, in millionths; known after two minutes of a connection.
    pub fn drift_ppm(&self) -> Option<f64> {
        self.placing.ppm()
    }

    /// Bytes since the last call.
    pub fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// A new connection: nothing of the old one continues.
    pub fn reconnected(&mut self, now: Now) {
        self.demux = Demux::new(self.settings.clone());
        self.measure.reconnected();
        self.judge.tell(now, Evidence::Reconnected);
        self.lost_sync = false;
        self.forget();
        self.tracks = None;
        self.placing.reconnected();
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
        self.waiting_bytes = 0;
        self.kept.clear();
        self.kept_bytes = 0;
        self.health.joinable = false;
    }

    /// Takes bytes.
    pub fn push(&mut self, now: Now, timeline: &mut Timeline, bytes: &[u8]) -> Fed {
        self.bytes += bytes.len() as u64;
        self.measure.push(now, bytes);
        if self.measure.lost() != self.lost_sync {
            self.lost_sync = !self.lost_sync;
            self.judge.tell(now, Evidence::State(Condition::SyncLoss, self.lost_sync));
        }
        self.demux.push(bytes);
        let mut fed = Fed::default();
        while let Some(item) = self.demux.pop() {
            self.item(now, timeline, item, &mut fed);
        }
        self.taken();
        fed
    }

    /// Takes items of a transport that carries no TS.
    pub fn push_media(&mut self, now: Now, timeline: &mut Timeline, items: Vec<Item<SourceTime>>) -> Fed {
        let mut fed = Fed::default();
        for item in items {
            if let Item::Unit(unit) = &item {
                self.bytes += unit.data.len() as u64;
            }
            self.item(now, timeline, item, &mut fed);
        }
        self.taken();
        fed
    }

    /// After each input.
    fn taken(&mut self) {
        self.trim();
        // Asked for with every input of the channel, but it changes only here.
        self.health.joinable = self.join_index(None).is_some();
    }

    fn item(&mut self, now: Now, timeline: &mut Timeline, item: Item<SourceTime>, fed: &mut Fed) {
        match item {
            Item::Tracks(tracks) => {
                let codec = |set: &TrackSet| set.first(TrackKind::Video).map(|t| (t.id, t.codec));
                // Units of another format cannot be joined from: what is kept would not decode with what follows.
                if self.tracks.as_ref().is_some_and(|old| codec(old) != codec(&tracks)) {
                    self.forget();
                }
                self.placing.keep_tracks(|id| tracks.get(id).is_some());
                let has = |kind| tracks.first(kind).is_some();
                let evidence = Evidence::Tracks { video: has(TrackKind::Video), audio: has(TrackKind::Audio) };
                self.judge.tell(now, evidence);
                self.measure.keep_tracks(&tracks);
                self.tracks = Some(tracks.clone());
                fed.news.push(FeedNews::Tracks(tracks.clone()));
                fed.items.push(Item::Tracks(tracks));
            }
            Item::Unit(unit) => {
                self.health.media(now, self.loss_after);
                if let Some(track) = self.tracks.as_ref().and_then(|t| t.get(unit.track)) {
                    self.measure.unit(track, &unit.data);
                    match track.codec.kind() {
                        TrackKind::Video => self.judge.tell(now, Evidence::Video),
                        TrackKind::Audio => self.judge.tell(now, Evidence::Audio),
                        TrackKind::Data => {}
                    }
                }
                self.unit(now, timeline, unit, fed);
            }
            // Neither a demux nor a transport knows of any.
            Item::Break(_) | Item::Pace(_) | Item::End => {}
        }
    }

    fn unit(&mut self, now: Now, timeline: &mut Timeline, unit: Unit<SourceTime>, fed: &mut Fed) {
        let (kind, step) = (self.kind_of(&unit), self.demux.step(unit.track));
        let anchored = self.placing.anchor().is_some();
        match self.find(now, timeline, &unit, kind, step, fed) {
            Place::At(at) => {
                if !anchored && self.is_elsewhere() {
                    fed.items.push(Item::Break(Break::Timeline));
                }
                self.pace(timeline, fed);
                if !anchored {
                    self.waiting_bytes = 0;
                    for (arrival, early) in std::mem::take(&mut self.waiting) {
                        let kind = self.kind_of(&early);
                        if let Place::At(at) = self.find(arrival, timeline, &early, kind, None, fed) {
                            self.keep(at, early, kind, fed);
                        }
                    }
                }
                self.keep(at, unit, kind, fed);
            }
            Place::Anew(at) => {
                self.forget();
                fed.items.push(Item::Break(Break::Timeline));
                self.pace(timeline, fed);
                self.keep(at, unit, kind, fed);
            }
            Place::LeftOut => {}
            Place::Waits => {
                self.waiting_bytes += unit.data.len();
                self.waiting.push_back((now, unit));
                while self.waiting.len() > UNANCHORED_MAX || self.waiting_bytes > UNANCHORED_BYTES_MAX {
                    let Some((_, oldest)) = self.waiting.pop_front() else { break };
                    self.waiting_bytes -= oldest.data.len();
                }
            }
        }
    }

    fn find(
        &mut self,
        now: Now,
        timeline: &mut Timeline,
        unit: &Unit<SourceTime>,
        kind: TrackKind,
        step: Option<TimeStep>,
        fed: &mut Fed,
    ) -> Place {
        let video = self.tracks.as_ref().and_then(|t| t.first(TrackKind::Video));
        let sets_phase = kind == TrackKind::Video || video.is_none();
        let rate = video.and_then(|t| t.shape).and_then(|shape| shape.rate);
        let piece = Piece { track: unit.track, kind, pts: unit.pts, step, sets_phase, rate };
        self.placing.place(now, timeline, piece, &mut fed.news)
    }

    /// Behind a reconnect its media lies on another timeline than before.
    fn is_elsewhere(&self) -> bool {
        let anchor = self.placing.anchor();
        self.paced.zip(anchor).is_some_and(|((before, ..), here)| !here.is_near(before))
    }

    /// Says what the slope will be, if that is news.
    fn pace(&mut self, timeline: &Timeline, fed: &mut Fed) {
        let Some(anchor) = self.placing.anchor() else { return };
        let revised = timeline.revised(anchor);
        let said = self.paced.filter(|(of, _, then)| of.is_like(anchor) && *then == revised);
        let said = said.map(|(_, pace, _)| pace.from);
        for pace in timeline.paces(anchor) {
            if said.is_none_or(|said| pace.from > said) {
                fed.items.push(Item::Pace(pace));
                self.paced = Some((anchor, pace, revised));
            }
        }
    }

    fn keep(&mut self, at: ChannelTime, unit: Unit<SourceTime>, kind: TrackKind, fed: &mut Fed) {
        let unit = unit.at(at);
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

    /// Whether [`Self::join`] from there leaves nothing out: decoding is whole from a key frame at or before `from.video`,
    /// and sound, if it has any, is at hand from `from.audio` on.
    pub fn reaches_back_to(&self, from: Sent) -> bool {
        let earliest = self.join_index(Some(ChannelTime::from_ticks(i64::MIN))).and_then(|i| self.kept.get(i));
        let mut sound = self.kept.iter().filter(|k| k.kind == TrackKind::Audio);
        let is_at = |k: &Kept, wanted: Option<ChannelTime>| wanted.is_none_or(|w| k.unit.pts <= w);
        earliest.is_some_and(|k| is_at(k, from.video)) && sound.next().is_none_or(|k| is_at(k, from.audio))
    }

    /// The items that bring an encoder onto this source: tracks, the slope of its time, then media from a key frame at or before `from.video`, and
    /// all sound after `from.audio`. `None` while no key frame is at hand.
    pub fn join(&self, timeline: &Timeline, from: Sent) -> Option<Vec<Item<ChannelTime>>> {
        let tracks = self.tracks.clone()?;
        let start = self.join_index(from.video)?;
        let mut items = vec![Item::Tracks(tracks)];
        items.extend(self.placing.anchor().into_iter().flat_map(|anchor| timeline.paces(anchor)).map(Item::Pace));
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
