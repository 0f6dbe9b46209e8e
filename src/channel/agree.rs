//! Two hosts that make a channel together: where sources lie on its time, they say to each other.
//!
//! In:    what the other host says ([`HostWord`]), which comes with what it publishes.
//! Out:   the same of ours, once a second and when it changes; sources that lie elsewhere there are moved; events. Anchors for the disk.
//! Never: moves what somebody watches. The pipeline that is made here may move only while neither host shows it.
//!
//! Who began earlier decides: the other host adopts its anchors before it places anything (`timeline::shared`). Where they come to differ
//! all the same, because neither heard the other, the pipeline that is watched stays where it is, and the other one moves.

use std::time::Duration;

use super::onward::Made;
use super::placing::Agreement;
use super::{Action, Channel};
use crate::clock::Now;
use crate::media::{ChannelTime, PipelineId};
use crate::monitor::{EventKind, HostStatus, Severity};
use crate::package::{Keep, Packager};
use crate::timeline::{Told, Unusable};

/// A channel whose other pipeline is made elsewhere listens so long for that host before it anchors anything by itself: the port is open
/// by then, and a publisher tries again several times a second.
const LISTENS: Duration = Duration::from_secs(3);
/// The other host is told at least so often.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What one host says of itself to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostWord {
    /// Since when it makes the channel.
    pub began: ChannelTime,
    /// It shows what it makes itself and publishes.
    pub shows_own: bool,
    /// It shows what the other one makes.
    pub shows_other: bool,
    /// Its anchors.
    pub anchors: Told,
}

/// What is known of the other host.
#[derive(Debug)]
pub(super) struct Agreeing {
    began: ChannelTime,
    /// When the other host was told last, what had changed by then, and what was shown.
    told: Option<(Now, u64, (bool, bool))>,
    /// What it said that it shows.
    shown: (bool, bool),
    /// It was heard at some time.
    heard: bool,
    /// What it says cannot be used, and that was told.
    unusable: Option<Unusable>,
    /// How each source lies.
    sources: Vec<Agreement>,
    moves: u64,
    refused: u64,
    /// What the disk has.
    kept: Vec<u8>,
}

impl Agreeing {
    pub fn new(now: Now, sources: usize) -> Self {
        let sources = vec![Agreement::Unknown; sources];
        let (told, shown, heard, unusable) = (None, (false, false), false, None);
        Self {
            began: now.channel_time(),
            told,
            shown,
            heard,
            unusable,
            sources,
            moves: 0,
            refused: 0,
            kept: Vec::new(),
        }
    }
}

impl Channel {
    /// Waits for another host before anything is anchored, if there is one that makes the same bytes.
    pub(super) fn expect_other_host(&mut self, now: Now) {
        if self.config.deterministic && self.pipelines.iter().any(|p| p.elsewhere().is_some()) {
            self.timeline.expect(now.after(LISTENS));
        }
    }

    /// Goes on with anchors that were kept on disk; to be called before anything else.
    pub(super) fn recall_anchors(&mut self, now: Now, kept: &[u8]) {
        if let Some(told) = Told::read(kept) {
            self.timeline.recall(now, &told);
        }
    }

    /// The other host said something.
    pub(super) fn host_says(&mut self, now: Now, word: &HostWord) {
        let elder = word.began < self.agreeing.began;
        self.agreeing.heard = true;
        self.agreeing.shown = (word.shows_own, word.shows_other);
        match self.timeline.hear(now, &word.anchors, elder) {
            Ok(()) => self.agreeing.unusable = None,
            Err(why) => {
                self.agreeing.refused += 1;
                if self.agreeing.unusable.replace(why) != Some(why) {
                    let text = format!("the other host's anchors are not used: {why}");
                    self.event(now, Severity::Warning, EventKind::AnchorsRefused, text);
                }
            }
        }
        self.agree(now);
    }

    /// Compares all sources with the other host's.
    fn agree(&mut self, now: Now) {
        let may_move = self.may_move(now);
        for at in 0..self.sources.len() {
            let is = self.sources[at].feed.agree(now, &mut self.timeline, may_move);
            let was = std::mem::replace(&mut self.agreeing.sources[at], is);
            self.tell_agreement(now, at, was, is);
        }
    }

    /// Whether nobody watches what is made here, and the other one is not to move in its place.
    fn may_move(&self, now: Now) -> bool {
        let (own, other) = self.shows();
        let (there_own, there_other) = self.agreeing.shown;
        let is_watched = own || there_other;
        let other_is_watched = other || there_own;
        !is_watched && (other_is_watched || self.timeline.has_elder(now))
    }

    /// Whether the packager shows what is made here, and what is made elsewhere.
    fn shows(&self) -> (bool, bool) {
        let on_air = self.packager.as_ref().and_then(Packager::on_air);
        let shows = |elsewhere: bool| {
            self.pipelines.iter().any(|p| Some(p.id) == on_air && p.elsewhere().is_some() == elsewhere)
        };
        (shows(false), shows(true))
    }

    fn tell_agreement(&mut self, now: Now, at: usize, was: Agreement, is: Agreement) {
        let apart = |by: i64| {
            let slots = by as f64 / 90_000.0 / self.config.grid.slot_duration().as_secs_f64();
            let way = if by > 0 { "later" } else { "earlier" };
            format!("the other host has it {} ms ({:.1} frames) {way}", by.abs() / 90, slots.abs())
        };
        let (severity, kind, text) = match (was, is) {
            (Agreement::Apart { moves: before, .. }, Agreement::Apart { moves, .. }) if before == moves => return,
            (Agreement::TooFar { .. }, Agreement::TooFar { .. }) => return,
            (_, Agreement::Apart { by, moves: true }) => {
                (Severity::Info, EventKind::AnchorsDiffer, format!("{}: it moves there", apart(by)))
            }
            (_, Agreement::Apart { by, moves: false }) => {
                let why = if self.shows().0 || self.agreeing.shown.1 { "it is watched" } else { "that one moves" };
                (Severity::Warning, EventKind::AnchorsDiffer, format!("{}; it stays, as {why}", apart(by)))
            }
            (_, Agreement::TooFar { by }) => {
                self.agreeing.refused += 1;
                let mend = "are both clocks right, and the latencies of both sources alike?";
                (
                    Severity::Warning,
                    EventKind::AnchorsRefused,
                    format!("{}, too far from when it comes: {mend}", apart(by)),
                )
            }
            (Agreement::Apart { .. } | Agreement::TooFar { .. }, Agreement::Same) => {
                let text = "lies where the other host has it".to_owned();
                (Severity::Info, EventKind::AnchorsAgree, text)
            }
            _ => return,
        };
        self.source_event(now, at, severity, kind, text);
    }

    /// A source has moved.
    pub(super) fn has_moved(&mut self) {
        self.agreeing.moves += 1;
    }

    /// Tells the other host, and the disk.
    pub(super) fn keep_agreeing(&mut self, now: Now) {
        let (changes, shows) = (self.timeline.changes(), self.shows());
        let is_due = match self.agreeing.told {
            Some((at, told, shown)) => now.since(at) >= TOLD_EVERY || (told, shown) != (changes, shows),
            None => true,
        };
        if !is_due {
            return;
        }
        if self.agreeing.heard && !self.timeline.hears(now) {
            self.agree(now);
        }
        self.agreeing.told = Some((now, changes, shows));
        let publishes: Vec<PipelineId> =
            self.config.pipelines.iter().filter(|p| !p.publish.is_empty()).map(|p| p.id).collect();
        if !publishes.is_empty() {
            let uses = self.sources.iter().filter_map(|source| source.feed.in_use(now));
            let anchors = self.timeline.tell(now, uses);
            let (shows_own, shows_other) = shows;
            let word = HostWord { began: self.agreeing.began, shows_own, shows_other, anchors };
            for id in publishes {
                self.actions.push(Action::Onward(id, Made::Word(Box::new(word.clone()))));
            }
        }
        if self.config.dvr.is_some() {
            let bytes = self.timeline.keepsake().write();
            if bytes != self.agreeing.kept {
                self.agreeing.kept.clone_from(&bytes);
                self.actions.push(Action::Keep(vec![Keep::Anchors(bytes.into())]));
            }
        }
    }

    /// The other host, if it was ever heard.
    pub(super) fn host_status(&self, now: Now) -> Option<HostStatus> {
        let it = &self.agreeing;
        let count = |is: fn(&Agreement) -> bool| it.sources.iter().filter(|source| is(source)).count() as u32;
        it.heard.then(|| HostStatus {
            heard: self.timeline.hears(now),
            elder: self.timeline.has_elder(now),
            agree: count(|it| *it == Agreement::Same),
            apart: count(|it| matches!(it, Agreement::Apart { .. } | Agreement::TooFar { .. })),
            moves: it.moves,
            refused: it.refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::super::{Input, Published, Said};
    use super::*;
    use crate::config::Config;
    use crate::media::{FrameRate, Grid};
    use crate::monitor::IngestStatus;
    use crate::timeline::Timeline;

    fn channel() -> (Channel, Now) {
        let text = "[[channel]]\nid = \"c\"\nladder = \"pipelines/ladders/test.toml\"\n[channel.pipelines]\na = [\"s\"]\nb = \"cmaf\"\n\
                    [[channel.publish]]\npipeline = \"a\"\nto = \"http://192.0.2.1/ingest/c/a\"\n\
                    [[channel.source]]\nid = \"s\"\ntype = \"test\"\n";
        let config = Config::parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("c.toml"), text).expect("good");
        let now = Now { mono: Instant::now(), utc: Duration::from_secs(1_795_262_400) };
        (Channel::new(config.channels.into_iter().next().expect("one"), false, now), now)
    }

    fn hear(channel: &mut Channel, now: Now, word: &HostWord) -> Vec<Action> {
        let said = vec![Said::Host(Box::new(word.clone()))];
        channel
            .apply(now, Input::Elsewhere(PipelineId::B, Box::new(Published { status: IngestStatus::default(), said })))
    }

    fn refused(actions: &[Action]) -> usize {
        let is = |action: &&Action| matches!(action, Action::Event(event) if event.kind == EventKind::AnchorsRefused);
        actions.iter().filter(is).count()
    }

    #[test]
    fn another_grid_is_refused_and_told_once() {
        let (mut channel, now) = channel();
        let tell = |grid: Grid| HostWord {
            began: now.channel_time(),
            shows_own: false,
            shows_other: false,
            anchors: Timeline::new(grid).tell(now, std::iter::empty()),
        };
        let other = Grid::new(Duration::from_secs(4), FrameRate::new(25, 1).expect("good")).expect("good");
        let (good, bad) = (tell(channel.config.grid), tell(other));
        assert_eq!(channel.status(now).other_host, None, "it was never heard");
        for (word, events, heard, refusals) in
            [(&bad, 1, false, 1), (&bad, 0, false, 2), (&good, 0, true, 2), (&bad, 1, false, 3)]
        {
            assert_eq!(refused(&hear(&mut channel, now, word)), events);
            let host = channel.status(now).other_host.expect("it was heard");
            assert_eq!((host.heard, host.refused), (heard, refusals));
        }
    }

    #[test]
    fn the_other_host_is_told_once_a_second_and_when_something_changes() {
        let (mut channel, start) = channel();
        let words = |actions: Vec<Action>| -> Vec<HostWord> {
            let word = |action| match action {
                Action::Onward(PipelineId::A, Made::Word(word)) => Some(*word),
                _ => None,
            };
            actions.into_iter().filter_map(word).collect()
        };
        let first = words(channel.apply(start, Input::Tick));
        assert_eq!(first.len(), 1, "at once");
        assert_eq!(first[0].began, start.channel_time());
        for (ms, want) in [(10, 0), (999, 0), (1000, 1), (1500, 0), (2000, 1)] {
            let told = words(channel.apply(start.after(Duration::from_millis(ms)), Input::Tick));
            assert_eq!(told.len(), want, "{ms} ms");
        }
        let anchor = channel.timeline.anchor(start.channel_time(), crate::media::SourceTime::from_ticks(5), None, None);
        let told = words(channel.apply(start.after(Duration::from_millis(2010)), Input::Tick));
        assert_eq!(told.len(), 1, "{anchor:?} is news");
    }

    #[test]
    fn who_is_watched_anywhere_stays() {
        let (mut channel, now) = channel();
        let word = |age: i64, shows_own, shows_other, grid| HostWord {
            began: now.channel_time().offset(-age),
            shows_own,
            shows_other,
            anchors: Timeline::new(grid).tell(now, std::iter::empty()),
        };
        for (name, age, shows_own, shows_other, may) in [
            ("nobody watches, and the other one began earlier", 1, false, false, true),
            ("nobody watches, and this one did", -1, false, false, false),
            ("the other one is watched there", -1, true, false, true),
            ("this one is watched there", 1, false, true, false),
        ] {
            let grid = channel.config.grid;
            hear(&mut channel, now, &word(age, shows_own, shows_other, grid));
            assert_eq!(channel.may_move(now), may, "{name}");
        }
    }
}
