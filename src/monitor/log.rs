//! The event log: one call makes the log line, the counter and the entry that page and API show.
//!
//! In:    [`Event`]s; a call once a second.
//! Out:   `tracing` lines, the last [`KEPT`] entries, counters, a number that wakes whoever waits for news.
//! Never: lets one noisy peer push everything else out: repeats are summed once a second.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Event, EventKind, Severity};
use crate::media::{ChannelId, ChannelTime, PipelineId, SourceName};

/// Entries kept. When full, the oldest goes.
pub const KEPT: usize = 1000;

/// Different texts that one subject may write about one kind in a second; more are summed.
const TEXTS_A_SECOND: usize = 20;

/// Subjects whose repeats are watched at once. When full, further ones pass unsummed.
const SUBJECTS: usize = 256;

/// The span over which repeats are summed.
const SPAN: Duration = Duration::from_secs(1);

/// An event with its number in the log: 1 for the first since the start, rising by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its number.
    pub number: u64,
    /// What happened.
    pub event: Event,
}

/// How often something happened, whether its line was shown or summed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventCount {
    /// To whom.
    pub channel: ChannelId,
    /// What.
    pub kind: EventKind,
    /// How bad.
    pub severity: Severity,
    /// How often.
    pub count: u64,
}

/// The event log. Shared by all who report and all who show; what it guards is held for the time of a copy.
#[derive(Debug)]
pub struct EventLog {
    inner: Mutex<Inner>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    entries: VecDeque<Arc<Logged>>,
    counts: HashMap<(ChannelId, EventKind, Severity), u64>,
    repeats: HashMap<Subject, Repeats>,
}

type Subject = (ChannelId, EventKind, Option<SourceName>, Option<PipelineId>);

/// What one subject said in the present span.
#[derive(Debug)]
struct Repeats {
    since: ChannelTime,
    texts: Vec<String>,
    summed: u64,
    last: Event,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { inner: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

impl EventLog {
    /// Something happened.
    pub fn report(&self, event: Event) {
        let mut inner = self.lock();
        *inner.counts.entry((event.channel.clone(), event.kind, event.severity)).or_default() += 1;
        inner.flush(event.at);
        if inner.is_repeat(&event) {
            return;
        }
        inner.append(event);
        let number = inner.number;
        drop(inner);
        self.newest.send_replace(number);
    }

    /// Writes the sums that are due. Call it about once a second.
    pub fn flush(&self, now: ChannelTime) {
        let mut inner = self.lock();
        let before = inner.number;
        inner.flush(now);
        let number = inner.number;
        drop(inner);
        if number != before {
            self.newest.send_replace(number);
        }
    }

    /// Entries with a higher number than `after`, oldest first; at most the last [`KEPT`].
    pub fn after(&self, after: u64) -> Vec<Arc<Logged>> {
        let inner = self.lock();
        let start = inner.entries.partition_point(|entry| entry.number <= after);
        inner.entries.range(start..).cloned().collect()
    }

    /// The number of the newest entry; changes wake whoever waits.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// All counters.
    pub fn counts(&self) -> Vec<EventCount> {
        let counts = self.lock();
        let mut counts: Vec<_> = counts
            .counts
            .iter()
            .map(|((channel, kind, severity), &count)| EventCount {
                channel: channel.clone(),
                kind: *kind,
                severity: *severity,
                count,
            })
            .collect();
        counts.sort_by(|a, b| (&a.channel, a.kind as u8, a.severity).cmp(&(&b.channel, b.kind as u8, b.severity)));
        counts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Every state in between is a valid one, so a panic elsewhere is no reason to lose the log as well.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether the line is to be summed instead of shown.
    fn is_repeat(&mut self, event: &Event) -> bool {
        let subject = (event.channel.clone(), event.kind, event.source.clone(), event.pipeline);
        if let Some(repeats) = self.repeats.get_mut(&subject) {
            if repeats.texts.len() >= TEXTS_A_SECOND || repeats.texts.contains(&event.text) {
                repeats.summed += 1;
                repeats.last = event.clone();
                return true;
            }
            repeats.texts.push(event.text.clone());
        } else if self.repeats.len() < SUBJECTS {
            let texts = vec![event.text.clone()];
            self.repeats.insert(subject, Repeats { since: event.at, texts, summed: 0, last: event.clone() });
        }
        false
    }

    /// Closes the spans that are over and writes what they summed.
    fn flush(&mut self, now: ChannelTime) {
        // A wall clock that stepped back must not keep a span open for good.
        let over = |r: &Repeats| now >= r.since + SPAN || now < r.since;
        let mut due: Vec<_> =
            self.repeats.extract_if(|_, r| over(r)).map(|(_, r)| r).filter(|r| r.summed > 0).collect();
        due.sort_by_key(|r| r.last.at);
        for Repeats { summed, last, .. } in due {
            let text = format!("{} ({summed} more within a second)", last.text);
            self.append(Event { text, ..last });
        }
    }

    fn append(&mut self, event: Event) {
        write_line(&event);
        self.number += 1;
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Arc::new(Logged { number: self.number, event }));
    }
}

fn write_line(event: &Event) {
    let Event { channel, kind, source, pipeline, text, .. } = event;
    let (source, pipeline) = (source.as_ref().map(SourceName::as_str), pipeline.map(PipelineId::as_str));
    let kind = kind.as_str();
    match event.severity {
        Severity::Info => tracing::info!(%channel, source, pipeline, kind, "{text}"),
        Severity::Warning => tracing::warn!(%channel, source, pipeline, kind, "{text}"),
        Severity::Error => tracing::error!(%channel, source, pipeline, kind, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> ChannelTime {
        ChannelTime::from_ticks(1_000_000 + ms * 90)
    }

    fn event(ms: i64, text: &str) -> Event {
        Event {
            at: at(ms),
            channel: ChannelId::new("news").unwrap(),
            severity: Severity::Warning,
            kind: EventKind::SourceDamaged,
            source: Some(SourceName::new("s1").unwrap()),
            pipeline: None,
            since: None,
            text: text.into(),
        }
    }

    fn texts(log: &EventLog, after: u64) -> Vec<String> {
        log.after(after).iter().map(|l| l.event.text.clone()).collect()
    }

    #[test]
    fn repeats_are_summed_once_a_second() {
        let log = EventLog::default();
        for ms in 0..10 {
            log.report(event(ms, "lost"));
        }
        assert_eq!(texts(&log, 0), ["lost"], "the first shows at once");
        log.flush(at(999));
        assert_eq!(texts(&log, 1), [""; 0], "the second is not over");
        log.flush(at(1000));
        assert_eq!(texts(&log, 1), ["lost (9 more within a second)"]);
        log.report(event(1100, "lost"));
        assert_eq!(texts(&log, 2), ["lost"], "a new second begins with its first line");
        assert_eq!(log.counts()[0].count, 11, "summed lines count too");
    }

    #[test]
    fn the_next_event_closes_a_second_without_anyone_calling() {
        let log = EventLog::default();
        log.report(event(0, "lost"));
        log.report(event(1, "lost"));
        log.report(event(2000, "found"));
        assert_eq!(texts(&log, 0), ["lost", "lost (1 more within a second)", "found"]);
    }

    #[test]
    fn different_lines_pass_up_to_a_limit() {
        let log = EventLog::default();
        for n in 0..50 {
            log.report(event(n, &format!("line {n}")));
        }
        assert_eq!(log.after(0).len(), TEXTS_A_SECOND);
        log.flush(at(1000));
        assert_eq!(texts(&log, TEXTS_A_SECOND as u64), ["line 49 (30 more within a second)"]);
    }

    #[test]
    fn a_clock_that_steps_back_closes_the_span() {
        let log = EventLog::default();
        log.report(event(10_000, "lost"));
        log.report(event(10_001, "lost"));
        log.flush(at(0));
        assert_eq!(log.after(0).len(), 2);
    }

    #[test]
    fn the_oldest_goes_and_numbers_stay() {
        let log = EventLog::default();
        for n in 0..1500 {
            log.report(event(n * 2000, "x"));
        }
        let kept = log.after(0);
        assert_eq!((kept.len(), kept[0].number, kept[KEPT - 1].number), (KEPT, 501, 1500));
        assert_eq!(log.after(1499).len(), 1);
        assert_eq!(*log.newest().borrow(), 1500);
    }
}
