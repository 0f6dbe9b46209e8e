//! Where a source's units lie on the channel timeline.
//!
//! In:    units on the source's own timeline with their time of arrival, and where a track's times step.
//! Out:   their channel time; what happened to the source's clock.
//! Never: takes a hole for a jump: a jump changes how early or late media comes, a hole does not.
//!
//! A jump is taken up by the anchor, and nobody behind it is told: media goes on where it left off. Each track moves when its own
//! times step; the picture's step is exact and places the sound's, too.
//!
//! Where the other host has the source elsewhere, it moves there when its owner lets it ([`Placing::agree`]), at the boundary of a segment.

use std::time::Duration;

use super::news::FeedNews;
use crate::clock::Now;
use crate::demux::TimeStep;
use crate::media::{ChannelTime, FrameRate, SegmentNumber, SourceTime, TrackId, TrackKind};
use crate::timeline::{ACCEPTED, Anchor, Anchored, Drift, Follow, Of, Timeline};

/// Pictures that must lie far from the wall clock, each within [`STRAYS_WITHIN`] of the one before, until the source is
/// anchored anew. A PES packet that states no length ends with the next one's start: after a silence one picture comes as
/// late as the silence was long.
const STRAYS_MAX: u32 = 3;

/// Not in a row: at the very limit only pictures that are reordered lie beyond it.
const STRAYS_WITHIN: Duration = Duration::from_secs(1);

/// Steps of fewer ticks are a few lost pictures: 250 ms.
const JUMP: i64 = 22_500;
/// The same where the stream said that a new time base begins: 100 ms.
const JUMP_ANNOUNCED: i64 = 9_000;
/// A track jumps so long behind another one at most. Then half of what that one jumped by is a jump.
const TOGETHER: Duration = Duration::from_secs(3);

/// Pictures that come this much later than is usual, in ticks, and no less for [`BEHIND_FOR`], come from a source that has paused: 1 s.
const BEHIND: i64 = 90_000;
const BEHIND_FOR: Duration = Duration::from_secs(2);
/// Who comes up so many ticks meanwhile only sends what was held up: 100 ms.
const CATCHES_UP: i64 = 9_000;

/// The usual delay is the least one of so long.
const USUAL_OF: Duration = Duration::from_secs(5);

/// A source that brought no picture for so long is not compared with the other host's.
const COMPARED_FOR: Duration = Duration::from_secs(1);

/// It lies apart only when that has been found for so long: of what happens to a source, as a jump, one host hears before the other.
const APART_FOR: Duration = Duration::from_secs(1);

/// Behind a hole, or on a timeline of its own, it has its place for good only when the other host had so long to say that it has another one. Until
/// then it moves at once: what is shown is interrupted anyway.
const UNSETTLED_FOR: Duration = Duration::from_secs(1);

/// Where a source lies here and on the other host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// The other host has nothing like it, or is not heard, or nothing comes here, or it is too early to say.
    Unknown,
    /// On the same places.
    Same,
    /// There it lies so many ticks later. `moves`: not for long, it moves there.
    Apart { by: i64, moves: bool },
    /// So much later, which is too far from when it comes here.
    TooFar { by: i64 },
}

/// What becomes of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It lies here.
    At(ChannelTime),
    /// It lies here, and does not continue what came before.
    Anew(ChannelTime),
    /// It is far from the clock.
    LeftOut,
    /// Only a picture can set the anchor's phase, and the other host may know where that lies.
    Waits,
}

/// What is placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub track: TrackId,
    pub kind: TrackKind,
    pub pts: SourceTime,
    /// The track's times step in front of it.
    pub step: Option<TimeStep>,
    /// It may set the anchor's phase: a picture, or anything where there are none.
    pub sets_phase: bool,
    /// Frames a second of the source's pictures, if it says so.
    pub rate: Option<FrameRate>,
}

/// How many ticks behind its time media comes, at the least.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    /// Of the unit before.
    last: Option<i64>,
    window: Option<(Now, i64)>,
    before: Option<i64>,
}

impl Usual {
    fn note(&mut self, now: Now, delay: i64) {
        self.last = Some(delay);
        match &mut self.window {
            Some((began, least)) if now.since(*began) < USUAL_OF => *least = delay.min(*least),
            window => self.before = window.replace((now, delay)).map(|(_, least)| least),
        }
    }

    fn get(&self) -> Option<i64> {
        let here = self.window.map(|(_, least)| least);
        here.map(|here| self.before.map_or(here, |before| before.min(here)))
    }
}

/// The source's place in time.
#[derive(Debug, Default)]
pub(super) struct Placing {
    /// By which the timeline knows the source.
    name: Option<u32>,
    anchor: Option<Anchor>,
    /// Of tracks that have stepped apart, or may.
    tracks: Vec<(TrackId, Anchor)>,
    /// Of pictures and of everything else.
    usual: [Usual; 2],
    /// When each kind jumped last, and by how much.
    jumped: [Option<(Now, i64)>; 2],
    /// Pictures far from the wall clock, which are left out, and when the last one came.
    strays: u32,
    strayed_at: Option<Now>,
    /// Since when all pictures come late, and by how much at the least.
    behind: Option<(Now, i64)>,
    /// Drift on this connection, counted from here.
    drift: Drift,
    heard: Option<Now>,
    /// The newest picture, and when it came.
    newest: Option<(Now, SourceTime)>,
    /// It waits for the other host since then.
    asked: Option<Now>,
    /// When it was placed behind a hole, or anew.
    unsettled: Option<Now>,
    /// Since when it has lain elsewhere than there.
    apart: Option<Now>,
    /// Where the other host has it, and from which segment on it lies there.
    moving: Option<(Anchor, SegmentNumber)>,
}

impl Placing {
    /// A new connection. By how much media is usually late is remembered: it tells the source's timeline from others.
    pub fn reconnected(&mut self) {
        self.anchor = None;
        self.begin();
    }

    fn begin(&mut self) {
        self.tracks.clear();
        self.jumped = [None; 2];
        (self.strays, self.strayed_at) = (0, None);
        self.behind = None;
        self.drift = Drift::default();
        self.heard = None;
        (self.newest, self.asked, self.unsettled) = (None, None, None);
        (self.apart, self.moving) = (None, None);
    }

    /// Under which its media is placed.
    pub const fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// By how much the source's clock is slow, in millionths.
    pub fn ppm(&self) -> Option<f64> {
        self.drift.ppm()
    }

    /// These tracks are no more.
    pub fn keep_tracks(&mut self, known: impl Fn(TrackId) -> bool) {
        self.tracks.retain(|(id, _)| known(*id));
    }

    /// Finds a unit's place.
    pub fn place(&mut self, now: Now, timeline: &mut Timeline, piece: Piece, news: &mut Vec<FeedNews>) -> Place {
        let Some(anchor) = self.anchor else {
            let usual = self.usual[0].get();
            if !piece.sets_phase || timeline.waits(now, piece.pts, usual, &mut self.asked) {
                return Place::Waits;
            }
            return self.anew(now, timeline, piece, news).map_or(Place::LeftOut, Place::At);
        };
        timeline.plan(anchor, now.channel_time());
        if piece.sets_phase && self.moving.is_some() {
            self.go_over(timeline, &piece, news);
        }
        let anchor = self.anchor.unwrap_or(anchor);
        let of = of(piece.kind);
        let known = self.tracks.iter().find(|(id, _)| *id == piece.track).map(|(_, anchor)| *anchor);
        let mine = known.unwrap_or(anchor);
        // Whoever has not been heard for so long that the channel forgot its timeline begins anew.
        let Some(mut at) = timeline.map(mine, piece.pts, of) else {
            self.anchor = None;
            return self.place(now, timeline, piece, news);
        };
        let usual = self.usual[of as usize].get().or(self.usual[0].get());
        let late = (now.channel_time() - at).saturating_sub(usual.unwrap_or(0));
        if let Some(step) = piece.step.filter(|step| usual.is_some() && self.is_jump(now, of, *step, late)) {
            // What came late before, too, shows no pause.
            let before = self.usual[of as usize].last.zip(usual).map_or(0, |(last, usual)| (last - usual).max(0));
            let moved = self.jump(now, timeline, &piece, mine, step.by, late - before, known.is_none());
            news.push(FeedNews::Jumped { kind: piece.kind, by: step.by });
            at = timeline.map(moved, piece.pts, of).unwrap_or(at);
        } else if known.is_none() {
            self.tracks.push((piece.track, mine));
        }
        if timeline.is_stray(mine, now.channel_time(), at) {
            if piece.sets_phase {
                match timeline.follow(mine, now.channel_time(), piece.pts) {
                    Follow::To(to) => {
                        let found = self.moves(now, timeline, piece, Anchored::Adopted(to), news);
                        return found.map_or(Place::LeftOut, Place::Anew);
                    }
                    Follow::Nobody
                        if self.strayed_for_good(now) && !timeline.waits(now, piece.pts, None, &mut self.asked) =>
                    {
                        self.usual = [Usual::default(); 2];
                        let found = self.anew(now, timeline, piece, news);
                        if let Some(to) = self.anchor {
                            timeline.leave(mine, now.channel_time(), piece.pts, to);
                        }
                        return found.map_or(Place::LeftOut, Place::Anew);
                    }
                    Follow::Nobody | Follow::NotYet => {}
                }
            }
            // Sound cannot tell where the source is now, and sound of another time must not push the encoder ahead. At the very limit it is
            // jitter that makes single pictures strays, of one source and not of the next: those have their place.
            if timeline.is_far(now.channel_time(), at) {
                return Place::LeftOut;
            }
        }
        if piece.sets_phase && self.is_behind(now, now.channel_time() - at) {
            at = self.pull_up(timeline, &piece, news).unwrap_or(at);
        }
        self.note(now, timeline, &piece, at, news);
        Place::At(at)
    }

    fn anew(
        &mut self,
        now: Now,
        timeline: &mut Timeline,
        piece: Piece,
        news: &mut Vec<FeedNews>,
    ) -> Option<ChannelTime> {
        let usual = self.usual[0].get();
        let anchored = timeline.anchor(now.channel_time(), piece.pts, usual, piece.rate);
        self.moves(now, timeline, piece, anchored, news)
    }

    /// From this unit on it has another anchor.
    fn moves(
        &mut self,
        now: Now,
        timeline: &mut Timeline,
        piece: Piece,
        anchored: Anchored,
        news: &mut Vec<FeedNews>,
    ) -> Option<ChannelTime> {
        news.push(match anchored {
            Anchored::New(_) => FeedNews::AnchoredNew,
            Anchored::Adopted(_) => FeedNews::AnchoredAdopted,
        });
        self.usual = [Usual::default(); 2];
        self.begin();
        self.anchor = Some(anchored.anchor());
        self.unsettled = Some(now).filter(|_| matches!(anchored, Anchored::New(_)));
        let at = timeline.map(anchored.anchor(), piece.pts, of(piece.kind))?;
        timeline.plan(anchored.anchor(), now.channel_time());
        self.tracks.push((piece.track, anchored.anchor()));
        self.note(now, timeline, &piece, at, news);
        Some(at)
    }

    /// Whether a step is a jump of the clock. `late`: by how many ticks the unit comes later than usual.
    fn is_jump(&self, now: Now, of: Of, step: TimeStep, late: i64) -> bool {
        let other = self.jumped[1 - of as usize].filter(|(at, _)| now.since(*at) <= TOGETHER);
        let least = match other {
            _ if step.announced => JUMP_ANNOUNCED,
            Some((_, by)) => JUMP.min(by.saturating_abs() / 2),
            None => JUMP,
        };
        // A third of the jump: reordering and jitter make single pictures later than the usual one.
        let third = step.by.saturating_abs() / 3;
        step.by.saturating_abs() >= least && if step.by > 0 { late <= -third } else { late >= third }
    }

    #[allow(clippy::too_many_arguments)]
    fn jump(
        &mut self,
        now: Now,
        timeline: &mut Timeline,
        piece: &Piece,
        mine: Anchor,
        by: i64,
        late: i64,
        is_new: bool,
    ) -> Anchor {
        let of = of(piece.kind);
        let mut moved = timeline.jumped(mine, by, late, piece.sets_phase);
        if is_new && piece.sets_phase {
            // Another track's times say nothing about where this one's frames lie.
            moved = timeline.on_slot(moved, piece.pts);
        }
        let other = self.jumped[1 - of as usize].filter(|(at, _)| now.since(*at) <= TOGETHER);
        let together = other.is_some();
        // Their steps are exact to a few frames; how long nothing came, each finds by itself, and by portions of several frames.
        let same = other.is_some_and(|(_, other)| (by - other).saturating_abs() <= JUMP);
        // Sound makes its picture's jump, to the tick.
        let follows =
            |other: Anchor, picture: Anchor| picture.is_near(other) || same && other != mine && picture.is_like(other);
        if let Some(picture) = self.anchor.filter(|picture| !piece.sets_phase && together && follows(moved, *picture)) {
            moved = picture;
        }
        self.tracks.retain(|(id, _)| *id != piece.track);
        self.tracks.push((piece.track, moved));
        if piece.sets_phase {
            self.anchor = Some(moved);
            // So many slots are left free, by what the arrival says here.
            self.unsettled = Some(now).filter(|_| moved.leaves_free(mine, by));
            // Sound that was there first was placed by its own, coarser step.
            if together {
                for (_, other) in &mut self.tracks {
                    if follows(*other, moved) {
                        *other = moved;
                    }
                }
            }
        }
        self.jumped[of as usize] = Some((now, by));
        moved
    }

    /// Whether the source has paused and gone on, so that all it sends comes too late.
    fn is_behind(&mut self, now: Now, delay: i64) -> bool {
        let late = delay - self.usual[0].get().unwrap_or(delay);
        if late < BEHIND {
            self.behind = None;
            return false;
        }
        let (since, least) = self.behind.get_or_insert((now, late));
        if late < *least - CATCHES_UP {
            (*since, *least) = (now, late);
        }
        *least = late.min(*least);
        now.since(*since) >= BEHIND_FOR
    }

    /// Puts a source that has paused where its media is expected.
    fn pull_up(&mut self, timeline: &mut Timeline, piece: &Piece, news: &mut Vec<FeedNews>) -> Option<ChannelTime> {
        let (anchor, (_, late)) = (self.anchor?, self.behind.take()?);
        let moved = timeline.jumped(anchor, 0, late, true);
        self.anchor = Some(moved);
        for (_, other) in &mut self.tracks {
            *other = moved;
        }
        news.push(FeedNews::Jumped { kind: piece.kind, by: -late });
        timeline.map(moved, piece.pts, of(piece.kind))
    }

    /// Moves to where the other host has it, if the time has come.
    fn go_over(&mut self, timeline: &mut Timeline, piece: &Piece, news: &mut Vec<FeedNews>) {
        let (Some((to, from)), Some(anchor)) = (self.moving, self.anchor) else { return };
        let Some(there) = timeline.map(to, piece.pts, Of::Picture) else {
            self.moving = None;
            return;
        };
        if timeline.grid().segment_at(there) < from {
            return;
        }
        let by = timeline.map(anchor, piece.pts, Of::Picture).map_or(0, |here| there - here);
        self.goes_by(to);
        news.push(FeedNews::Agreed { by });
    }

    /// All its tracks are placed by this anchor, and measured anew.
    fn goes_by(&mut self, to: Anchor) {
        let tracks = std::mem::take(&mut self.tracks);
        let newest = self.newest;
        self.usual = [Usual::default(); 2];
        self.begin();
        self.tracks = tracks.into_iter().map(|(id, _)| (id, to)).collect();
        (self.anchor, self.newest) = (Some(to), newest);
    }

    /// Compares with where the other host has it; to be called whenever that was heard. `may_move`: nobody sees what this host makes of it.
    pub fn agree(&mut self, now: Now, timeline: &mut Timeline, may_move: bool) -> Agreement {
        let newest = self.newest.filter(|(at, _)| now.since(*at) < COMPARED_FOR);
        let found = self
            .anchor
            .zip(newest)
            .and_then(|(anchor, (_, pts))| Some((anchor, timeline.elsewhere(now, anchor, pts)?)));
        let Some((anchor, elsewhere)) = found else {
            (self.apart, self.moving) = (None, None);
            return Agreement::Unknown;
        };
        if elsewhere.by == (0, 0) {
            (self.apart, self.moving) = (None, None);
            // The same by another way: on one line what is planned for one is planned for both.
            if timeline.has_elder(now)
                && !timeline.is_shared(anchor, elsewhere, now)
                && let Some(to) = timeline.join(elsewhere)
            {
                self.goes_by(to);
            }
            return Agreement::Same;
        }
        let by = if elsewhere.by.0 == 0 { elsewhere.by.1 } else { elsewhere.by.0 };
        let since = *self.apart.get_or_insert(now);
        let Some(usual) = self.usual[0].get() else { return Agreement::Unknown };
        let is_near = (usual - by).saturating_abs() <= ChannelTime::from_utc(ACCEPTED).ticks();
        let unsettled = self.unsettled.is_some_and(|at| now.since(at) < UNSETTLED_FOR) && timeline.has_elder(now);
        if unsettled && is_near {
            self.moving = timeline.join(elsewhere).map(|to| (to, SegmentNumber(0)));
            return Agreement::Unknown;
        }
        if now.since(since) < APART_FOR {
            return Agreement::Unknown;
        }
        if !is_near {
            self.moving = None;
            return Agreement::TooFar { by };
        }
        if !may_move {
            self.moving = None;
        } else if self.moving.is_none() {
            let from = timeline.grid().segment_at(now.channel_time()).next();
            self.moving = timeline.join(elsewhere).map(|to| (to, from));
        }
        Agreement::Apart { by, moves: self.moving.is_some() }
    }

    /// It flows: a picture came lately.
    pub fn flows(&self, now: Now) -> bool {
        self.newest.is_some_and(|(at, _)| now.since(at) < COMPARED_FOR)
    }

    /// Learns from a unit that has its place.
    fn note(&mut self, now: Now, timeline: &mut Timeline, piece: &Piece, at: ChannelTime, news: &mut Vec<FeedNews>) {
        self.usual[of(piece.kind) as usize].note(now, now.channel_time() - at);
        let Some(anchor) = self.anchor.filter(|_| piece.sets_phase) else { return };
        self.newest = Some((now, piece.pts));
        let heard = *self.heard.get_or_insert(now);
        let arrival = ChannelTime::from_utc(now.since(heard)).ticks();
        if self.drift.observe(arrival, Timeline::unshifted(anchor, piece.pts))
            && let Some(position) = self.drift.position(timeline.drifted(anchor))
        {
            let name = *self.name.get_or_insert_with(|| timeline.enlist());
            news.extend(timeline.vote(anchor, name, now, position).map(FeedNews::Slips));
        }
    }

    /// Counts a picture far from the clock; whether that makes enough of them.
    fn strayed_for_good(&mut self, now: Now) -> bool {
        let again = self.strayed_at.replace(now).is_some_and(|before| now.since(before) <= STRAYS_WITHIN);
        self.strays = if again { self.strays + 1 } else { 1 };
        self.strays >= STRAYS_MAX
    }
}

const fn of(kind: TrackKind) -> Of {
    match kind {
        TrackKind::Video => Of::Picture,
        TrackKind::Audio | TrackKind::Data => Of::Sound,
    }
}
