//! What is seen in the sources' pictures and heard in their sound: the life of the channel's probe, and what it says.
//!
//! In:    media of all sources, words of the probe, the time.
//! Out:   a process to start and kill, pieces for it; evidence for the judges of the sources.
//! Never: trusts a word that it has not checked, or leaves a source for what nobody has looked at lately.
//!
//! It runs where the config names what only it can see. While it does not, or says nothing of a source for [`STALE`], nothing is known
//! of that source's pictures and sound, and nothing of it counts as a fault.

use std::time::Duration;

use super::pipeline::{Generation, HANGS_AFTER, HELLO_WITHIN};
use super::{Action, Channel};
use crate::child::Backoff;
use crate::clock::Now;
use crate::config::{self, Condition};
use crate::failover::Evidence;
use crate::media::{Break, ChannelTime, Item, TrackKind};
use crate::monitor::{ContentStatus, EventKind, ProbeStatus, Severity};
use crate::probe::ipc::{FromProbe, Heartbeat, Job, Pictures, Piece, SOURCES_MAX, Seen, Sound, ToProbe};

/// What was seen counts for so long: five times of what the probe says it again in.
const STALE: Duration = Duration::from_secs(1);

/// Clocks of two processes are one, but a word may be read before the time of this turn was.
const EARLY: Duration = Duration::from_secs(1);

/// Luma of black and the way from there to white, 8-bit codes (ITU-R BT.709).
const BLACK: f32 = 16.0;
const RANGE: f32 = 219.0;

/// Why a word makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Nonsense {
    #[error("spoke nonsense: something before its hello")]
    NoHello,
    #[error("spoke nonsense: a second hello")]
    SecondHello,
    #[error("spoke nonsense: source {0}")]
    Source(u8),
    #[error("spoke nonsense: what it has not been sent yet")]
    Time,
    #[error("spoke nonsense: a level of {0} hundredths of dBFS")]
    Level(i16),
}

#[derive(Clone, Copy, Debug)]
enum Life {
    Down { restart_at: Now },
    Up { since: Now, last_sign: Now, greeted: bool },
}

/// What is known of one source.
#[derive(Clone, Debug, Default)]
struct Known {
    session: u32,
    seen: Seen,
    /// When its pictures and its sound were last told of as something newer than before.
    told: [Option<Now>; 2],
    /// Units with errors, of probes that are gone, and as the running one said last.
    errors: [u64; 2],
}

/// The probe of one channel, as its owner sees it.
#[derive(Debug)]
pub(super) struct Probe {
    job: Job,
    /// Times of arrival count from here.
    epoch: Now,
    life: Life,
    generation: Generation,
    starts: u32,
    backoff: Backoff,
    known: Vec<Known>,
    pub pid: Option<u32>,
    heartbeat: Heartbeat,
}

impl Probe {
    /// `None` where nothing is to be looked for.
    pub fn new(channel: &config::Channel, now: Now) -> Option<Self> {
        let limits = |condition| channel.failover.conditions.iter().find(|l| l.condition == condition);
        let content = channel.failover.content;
        let sees =
            [Condition::Black, Condition::Frozen, Condition::DecoderErrors].map(limits).iter().any(Option::is_some);
        let errors = limits(Condition::DecoderErrors).map_or(1, |l| l.per_second);
        let pictures = sees.then(|| Pictures {
            dark_level: (BLACK + content.dark_level * RANGE) as u8,
            dark_share: content.dark_share,
            change: content.change * RANGE,
            errors_per_second: u32::try_from(errors).unwrap_or(u32::MAX),
        });
        let sound = limits(Condition::Silent).map(|_| Sound { level: content.silence });
        if pictures.is_none() && sound.is_none() {
            return None;
        }
        let sources = channel.sources.len().min(SOURCES_MAX);
        let job = Job {
            channel: channel.id.clone(),
            sources: u8::try_from(sources).unwrap_or(u8::MAX),
            pictures,
            sound,
            template: channel.template.clone(),
        };
        Some(Self {
            job,
            epoch: now,
            life: Life::Down { restart_at: now },
            generation: Generation::default(),
            starts: 0,
            backoff: Backoff::default(),
            known: vec![Known::default(); sources],
            pid: None,
            heartbeat: Heartbeat::default(),
        })
    }

    /// Its first process is told from those up to this one.
    pub fn goes_on_from(&mut self, last: &Self) {
        self.generation = last.generation;
    }

    fn is_up(&self) -> bool {
        matches!(self.life, Life::Up { .. })
    }

    /// Whether this is the incarnation that runs.
    pub fn is(&self, generation: Generation) -> bool {
        self.is_up() && self.generation == generation
    }

    fn arrival(&self, now: Now) -> u64 {
        // 0 is the time of nothing.
        u64::try_from(now.since(self.epoch).as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn instant(&self, arrival: u64) -> Now {
        self.epoch.after(Duration::from_micros(arrival))
    }

    fn check(&self, now: Now, word: &FromProbe) -> Result<(), Nonsense> {
        let Life::Up { greeted, .. } = self.life else { return Ok(()) };
        match word {
            FromProbe::Hello if greeted => Err(Nonsense::SecondHello),
            FromProbe::Hello => Ok(()),
            _ if !greeted => Err(Nonsense::NoHello),
            FromProbe::Heartbeat(_) => Ok(()),
            FromProbe::Seen(seen) => {
                if usize::from(seen.source) >= self.known.len() {
                    return Err(Nonsense::Source(seen.source));
                }
                let latest = self.arrival(now.after(EARLY));
                let picture = seen.picture.map(|p| (p.at, [p.black_since, p.still_since, p.errors_since]));
                let sound = seen.sound.map(|s| (s.at, [s.silent_since, None, None]));
                for (at, since) in [picture, sound].into_iter().flatten() {
                    if at > latest || since.into_iter().flatten().any(|since| since > at) {
                        return Err(Nonsense::Time);
                    }
                }
                match seen.sound {
                    Some(sound) if !(-12_000..=0).contains(&sound.level) => Err(Nonsense::Level(sound.level)),
                    _ => Ok(()),
                }
            }
        }
    }

    /// What was seen of a source, if it is of what it brings now.
    fn see(&mut self, now: Now, seen: Seen) -> Vec<Evidence> {
        let known = &mut self.known[usize::from(seen.source)];
        if known.session != seen.session {
            return Vec::new();
        }
        // `None` is less than anything.
        if seen.picture.map(|p| p.at) > known.seen.picture.map(|p| p.at) {
            known.told[0] = Some(now);
        }
        if seen.sound.map(|s| s.at) > known.seen.sound.map(|s| s.at) {
            known.told[1] = Some(now);
        }
        known.errors[1] = seen.picture.map_or(known.errors[1], |p| p.errors);
        known.seen = seen;
        let since = |at: Option<u64>| at.map(|at| self.instant(at));
        let mut evidence = Vec::new();
        if let Some(picture) = seen.picture {
            evidence.extend([
                Evidence::Since(Condition::Black, since(picture.black_since)),
                Evidence::Since(Condition::Frozen, since(picture.still_since)),
                Evidence::Since(Condition::DecoderErrors, since(picture.errors_since)),
            ]);
        }
        evidence.extend(seen.sound.map(|sound| Evidence::Since(Condition::Silent, since(sound.silent_since))));
        evidence
    }

    /// What is not known any more of source `at`, because nobody has said it for too long.
    fn forget(&mut self, now: Now, at: usize) -> Vec<Evidence> {
        const OF_PICTURES: &[Condition] = &[Condition::Black, Condition::Frozen, Condition::DecoderErrors];
        let known = &mut self.known[at];
        let mut evidence = Vec::new();
        for (told, conditions) in known.told.iter_mut().zip([OF_PICTURES, &[Condition::Silent]]) {
            if told.take_if(|at| now.since(*at) >= STALE).is_some() {
                evidence.extend(conditions.iter().map(|&condition| Evidence::Since(condition, None)));
            }
        }
        if known.told[0].is_none() {
            known.seen.picture = None;
        }
        if known.told[1].is_none() {
            known.seen.sound = None;
        }
        evidence
    }

    /// When it has something to do although nothing is said.
    pub fn wake_at(&self) -> Option<Now> {
        let life = match self.life {
            Life::Down { restart_at } => restart_at,
            Life::Up { last_sign, greeted: true, .. } => last_sign.after(HANGS_AFTER),
            Life::Up { since, .. } => since.after(HELLO_WITHIN),
        };
        let stale = self.known.iter().flat_map(|known| known.told).flatten().map(|told| told.after(STALE));
        stale.chain([life]).min_by_key(|at| at.mono)
    }

    /// Nobody could hear it until now.
    pub fn owner_was_away(&mut self, now: Now) {
        if let Life::Up { last_sign, .. } = &mut self.life {
            *last_sign = now;
        }
    }

    fn hangs(&self, now: Now) -> Option<&'static str> {
        match self.life {
            Life::Up { last_sign, greeted: true, .. } if now.since(last_sign) >= HANGS_AFTER => {
                Some("its heartbeat stopped")
            }
            Life::Up { since, greeted: false, .. } if now.since(since) >= HELLO_WITHIN => Some("it did not start"),
            _ => None,
        }
    }

    /// For people.
    pub fn status(&self) -> ProbeStatus {
        let Heartbeat { skipped, decoded, cpu, rss_bytes } = self.heartbeat;
        ProbeStatus {
            running: matches!(self.life, Life::Up { greeted: true, .. }),
            starts: self.starts,
            pid: self.pid,
            cpu_seconds: cpu.as_secs_f64(),
            rss_bytes,
            decoded,
            skipped,
        }
    }

    /// What is known of source `at`.
    pub fn content(&self, at: usize) -> Option<ContentStatus> {
        let known = self.known.get(at)?;
        let Seen { picture, sound, .. } = known.seen;
        Some(ContentStatus {
            black: picture.map(|p| p.black_since.is_some()),
            frozen: picture.map(|p| p.still_since.is_some()),
            silent: sound.map(|s| s.silent_since.is_some()),
            level: sound.map(|s| f64::from(s.level) / 100.0),
            decoder_errors: known.errors.iter().sum(),
        })
    }
}

impl Channel {
    /// Media of a source goes to the probe, whoever takes it.
    pub(super) fn show_probe(&mut self, arrival: Now, source: usize, items: &[Item<ChannelTime>]) {
        let Some(probe) = self.probe.as_mut().filter(|probe| source < probe.known.len()) else { return };
        let Ok(place) = u8::try_from(source) else { return };
        let tracks = self.sources[source].feed.tracks();
        let first = |kind| tracks.and_then(|set| set.first(kind));
        let (video, audio) = (first(TrackKind::Video), first(TrackKind::Audio));
        for item in items {
            let message = match item {
                Item::Unit(unit) => {
                    let looked = video.filter(|_| probe.job.pictures.is_some());
                    let heard = audio.filter(|_| probe.job.sound.is_some());
                    let Some(track) = [looked, heard].into_iter().flatten().find(|t| t.id == unit.track) else {
                        continue;
                    };
                    ToProbe::Piece(Piece {
                        source: place,
                        arrival: probe.arrival(arrival),
                        codec: track.codec,
                        pts: unit.pts,
                        key: unit.key,
                        data: unit.data.clone(),
                    })
                }
                Item::Break(Break::Reconnect | Break::Timeline | Break::SourceSwitch) => {
                    let known = &mut probe.known[source];
                    *known = Known { session: known.session.wrapping_add(1), errors: known.errors, ..Known::default() };
                    ToProbe::Anew { source: place, session: known.session }
                }
                Item::Tracks(_) | Item::Pace(_) | Item::End => continue,
            };
            if probe.is_up() {
                self.actions.push(Action::SendProbe(probe.generation, message));
            }
        }
    }

    pub(super) fn probe_says(&mut self, now: Now, generation: Generation, word: FromProbe) {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.is(generation)) else { return };
        if let Err(nonsense) = probe.check(now, &word) {
            return self.end_probe(now, &nonsense.to_string());
        }
        let Life::Up { last_sign, greeted, .. } = &mut probe.life else { return };
        match word {
            FromProbe::Hello => {
                (*last_sign, *greeted) = (now, true);
            }
            FromProbe::Heartbeat(beat) => {
                *last_sign = now;
                probe.heartbeat = beat;
            }
            FromProbe::Seen(seen) => {
                let source = usize::from(seen.source);
                for evidence in probe.see(now, seen) {
                    self.sources[source].feed.tell(now, evidence);
                }
            }
        }
    }

    pub(super) fn probe_gone(&mut self, now: Now, generation: Generation, reason: &str) {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.is(generation)) else { return };
        let wait = probe.backoff.ended(now.mono);
        probe.pid = None;
        probe.life = Life::Down { restart_at: now.after(wait) };
        for known in &mut probe.known {
            known.errors = [known.errors.iter().sum(), 0];
            known.told = [None; 2];
        }
        for source in &mut self.sources {
            for condition in Condition::ALL.into_iter().filter(|c| c.is_content()) {
                source.feed.tell(now, Evidence::Since(condition, None));
            }
        }
        let text = format!(
            "probe ended: {reason}; next start in {} ms, until then nobody looks into pictures and sound",
            wait.as_millis()
        );
        self.event(now, Severity::Warning, EventKind::ProbeDied, text);
    }

    fn end_probe(&mut self, now: Now, why: &str) {
        let Some(generation) = self.probe.as_ref().map(|probe| probe.generation) else { return };
        self.actions.push(Action::KillProbe(generation));
        self.probe_gone(now, generation, &format!("killed, {why}"));
    }

    /// Starts and ends its process as needed, and forgets what is stale.
    pub(super) fn keep_probe(&mut self, now: Now) {
        if let Some(why) = self.probe.as_ref().and_then(|probe| probe.hangs(now)) {
            self.end_probe(now, why);
        }
        let Some(probe) = &mut self.probe else { return };
        for (at, source) in self.sources.iter_mut().enumerate().take(probe.known.len()) {
            for evidence in probe.forget(now, at) {
                source.feed.tell(now, evidence);
            }
        }
        let Life::Down { restart_at } = probe.life else { return };
        if now.mono < restart_at.mono {
            return;
        }
        probe.generation.0 += 1;
        probe.starts += 1;
        probe.backoff.started(now.mono);
        probe.heartbeat = Heartbeat::default();
        probe.life = Life::Up { since: now, last_sign: now, greeted: false };
        self.actions.push(Action::StartProbe(probe.generation, Box::new(probe.job.clone())));
        for (source, known) in (0..).zip(&probe.known) {
            self.actions.push(Action::SendProbe(probe.generation, ToProbe::Anew { source, session: known.session }));
        }
    }

    /// Faults that began or are over, of sources on air and on standby.
    pub(super) fn tell_faults(&mut self, now: Now) {
        for at in 0..self.sources.len() {
            for news in self.sources[at].feed.take_faults() {
                let what = super::report::condition(news.condition);
                let lasted = now.since(news.since).as_secs_f64();
                let (severity, kind, text) = if news.over {
                    (Severity::Info, EventKind::SourceWell, format!("over, {lasted:.1} s after it began: {what}"))
                } else {
                    (Severity::Warning, EventKind::SourceFault, format!("{what}, for {lasted:.1} s"))
                };
                self.source_event_since(now, at, severity, kind, text, news.since);
            }
        }
    }
}
