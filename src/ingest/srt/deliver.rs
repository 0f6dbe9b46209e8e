//! From a gateway's messages to the channels' event queues, without waiting for any of them.
//!
//! When a channel's queue is full its media is dropped and counted. What it must know, up or down, is kept until there is
//! room: at most one `Down` and one `Up` after it, since all that lay between them is history.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use super::Sink;
use super::ipc::FeedIndex;
use crate::clock::{self, Now};
use crate::ingest::IngestEvent;
use crate::media::SourceId;
use crate::monitor::LinkStatus;

/// A message's age is known from the wall clock, which may step; more than this is not believed.
const AGE_MAX: Duration = Duration::from_secs(5);

/// Every feed's way out.
pub(super) struct Outlets {
    outlets: Vec<Outlet>,
}

impl Outlets {
    pub(super) fn new(feeds: impl Iterator<Item = (SourceId, Sink)>) -> Self {
        Self { outlets: feeds.map(|(id, sink)| Outlet::new(id, sink)).collect() }
    }

    pub(super) fn up(&mut self, feed: FeedIndex, peer: String) {
        self.with(feed, |outlet| outlet.up(peer));
    }

    pub(super) fn down(&mut self, feed: FeedIndex, reason: &str) {
        self.with(feed, |outlet| outlet.down(reason));
    }

    /// `arrival`: UTC since the Unix epoch, as the gateway saw it.
    pub(super) fn data(&mut self, feed: FeedIndex, arrival: Duration, data: Bytes) {
        let arrival = instant(arrival, clock::now());
        self.with(feed, |outlet| outlet.media(IngestEvent::Data { arrival, data, rtp: None }));
    }

    pub(super) fn link(&mut self, feed: FeedIndex, link: LinkStatus) {
        self.with(feed, |outlet| outlet.aside(IngestEvent::Link(link)));
    }

    pub(super) fn refused(&mut self, feed: FeedIndex, peer: String, reason: String) {
        self.with(feed, |outlet| outlet.aside(IngestEvent::Refused { peer, reason }));
    }

    pub(super) fn all_down(&mut self, reason: &str) {
        self.outlets.iter_mut().for_each(|outlet| outlet.down(reason));
    }

    /// Tries again what found no room.
    pub(super) fn retry(&mut self) {
        self.outlets.iter_mut().for_each(|outlet| {
            outlet.settle();
        });
    }

    /// Portions of media dropped so far.
    pub(super) fn undelivered(&self) -> u64 {
        self.outlets.iter().map(|outlet| outlet.dropped).sum()
    }

    /// An index out of range is a gateway out of its mind, whose next message will not make sense either.
    fn with(&mut self, feed: FeedIndex, act: impl FnOnce(&mut Outlet)) {
        if let Some(outlet) = self.outlets.get_mut(feed.get()) {
            act(outlet);
        }
    }
}

/// The instant `arrival` on both our clocks: UTC is the other process's, monotonic time is ours less the message's age.
fn instant(arrival: Duration, now: Now) -> Now {
    let age = now.utc.saturating_sub(arrival);
    let age = if age > AGE_MAX { Duration::ZERO } else { age };
    Now { mono: now.mono.checked_sub(age).unwrap_or(now.mono), utc: now.utc - age }
}

pub(in crate::ingest) struct Outlet {
    id: SourceId,
    sink: Sink,
    /// The gateway says it is up.
    up: bool,
    /// The channel has been told so.
    told_up: bool,
    /// What the channel has yet to be told, in this order.
    down_waits: Option<String>,
    up_waits: Option<String>,
    dropped: u64,
}

impl Outlet {
    pub(in crate::ingest) fn new(id: SourceId, sink: Sink) -> Self {
        Self { id, sink, up: false, told_up: false, down_waits: None, up_waits: None, dropped: 0 }
    }

    pub(in crate::ingest) fn up(&mut self, peer: String) {
        self.up = true;
        self.up_waits = Some(peer);
        self.settle();
    }

    pub(in crate::ingest) fn down(&mut self, reason: &str) {
        self.up_waits = None;
        if std::mem::take(&mut self.up) && self.told_up && self.down_waits.is_none() {
            self.down_waits = Some(reason.to_owned());
        }
        self.settle();
    }

    pub(in crate::ingest) fn media(&mut self, event: IngestEvent) {
        if !(self.settle() && self.sent(event)) {
            self.dropped += 1;
        }
    }

    /// Of no consequence when lost.
    pub(in crate::ingest) fn aside(&mut self, event: IngestEvent) {
        if self.settle() {
            self.sent(event);
        }
    }

    /// Tells what waits; whether nothing waits any more.
    pub(in crate::ingest) fn settle(&mut self) -> bool {
        if let Some(reason) = self.down_waits.take() {
            if !self.sent(IngestEvent::Down { reason: reason.clone() }) {
                self.down_waits = Some(reason);
                return false;
            }
            self.told_up = false;
        }
        if let Some(peer) = self.up_waits.take() {
            if !self.sent(IngestEvent::Up { peer: peer.clone() }) {
                self.up_waits = Some(peer);
                return false;
            }
            self.told_up = true;
        }
        true
    }

    fn sent(&self, event: IngestEvent) -> bool {
        // A channel that is gone takes everything.
        !matches!(self.sink.try_send((self.id.clone(), event)), Err(TrySendError::Full(_)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::media::{ChannelId, SourceName};

    fn outlets(room: usize) -> (Outlets, mpsc::Receiver<(SourceId, IngestEvent)>) {
        let (sink, events) = mpsc::channel(room);
        let id = SourceId {
            channel: ChannelId::new("live").expect("a name"),
            source: SourceName::new("main").expect("a name"),
        };
        (Outlets::new([(id, sink)].into_iter()), events)
    }

    fn names(events: &mut mpsc::Receiver<(SourceId, IngestEvent)>) -> Vec<String> {
        std::iter::from_fn(|| events.try_recv().ok())
            .map(|(_, event)| match event {
                IngestEvent::Up { peer } => format!("up {peer}"),
                IngestEvent::Down { reason } => format!("down {reason}"),
                IngestEvent::Data { data, .. } => format!("data {}", data.len()),
                IngestEvent::Refused { peer, .. } => format!("refused {peer}"),
                IngestEvent::Link(_) => "link".into(),
                IngestEvent::Media { .. } => "media".into(),
            })
            .collect()
    }

    const F: FeedIndex = FeedIndex(0);

    #[test]
    fn a_full_channel_loses_media_but_learns_the_last_state() {
        let (mut out, mut events) = outlets(2);
        let data = |n| Bytes::from(vec![0; n]);
        out.up(F, "one".into());
        out.data(F, Duration::ZERO, data(1));
        out.data(F, Duration::ZERO, data(2)); // No room.
        out.down(F, "lost");
        out.up(F, "two".into());
        out.data(F, Duration::ZERO, data(3)); // Would come before the news.
        out.down(F, "lost again");
        out.up(F, "three".into());
        assert_eq!(names(&mut events), ["up one", "data 1"]);
        assert_eq!(out.undelivered(), 2);
        out.retry();
        out.data(F, Duration::ZERO, data(4)); // No room behind two news.
        assert_eq!(names(&mut events), ["down lost", "up three"]);
        out.data(F, Duration::ZERO, data(5));
        out.down(F, "end");
        assert_eq!(names(&mut events), ["data 5", "down end"]);
    }

    #[test]
    fn what_never_came_up_never_goes_down() {
        let (mut out, mut events) = outlets(8);
        out.all_down("gateway died");
        out.up(F, "one".into());
        out.all_down("gateway died");
        out.all_down("gateway died");
        out.data(FeedIndex(9), Duration::ZERO, Bytes::new());
        assert_eq!(names(&mut events), ["up one", "down gateway died"]);
    }

    #[test]
    fn arrival_is_the_gateways_unless_the_clock_stepped() {
        let now = Now { mono: std::time::Instant::now() + Duration::from_secs(100), utc: Duration::from_secs(1000) };
        let at = |utc_ms| instant(Duration::from_millis(utc_ms), now);
        assert_eq!(now.since(at(999_980)), Duration::from_millis(20));
        assert_eq!(at(999_980).utc, Duration::from_millis(999_980));
        assert_eq!(at(1_000_500), now, "from the future");
        assert_eq!(at(900_000), now, "too old to be true");
    }
}
