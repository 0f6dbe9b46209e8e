//! `/v1/stream`: server-sent events for the page. `status` when a channel's status changed, looked at each half second;
//! `event` for each entry of the log, named, so that a client that comes back continues where it was.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Interval;
use tokio_stream::Stream;

use super::api::{Channels, Entry, date};
use super::board::Board;
use crate::clock;
use crate::monitor::{ChannelStatus, Logged};
use crate::origin::shell;

/// How often statuses are looked at. They are published about once a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Entries a new client is given; `/v1/events` has all.
const FIRST: u64 = 100;

/// One client's stream. Nothing queues for it: what it has not been sent yet is read from board and log when it is
/// ready for more, so a slow client costs nothing and misses only what fell out of the log.
struct Follower {
    board: Arc<Board>,
    run: u64,
    newest: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    look: Interval,
    shown: Vec<Arc<ChannelStatus>>,
    first: bool,
    sent: u64,
    entries: VecDeque<Arc<Logged>>,
    _permit: OwnedSemaphorePermit,
}

/// Follows the board until `stop`, from behind the entry `after` on. Its name is `{run}-{number}`; `run` tells this run of
/// the process from earlier ones, whose numbers mean nothing here. Without a name of this run: the last few entries.
pub fn follow(
    board: Arc<Board>,
    run: u64,
    after: Option<&str>,
    stop: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<sse::Event, Infallible>> + use<> {
    let newest = board.events().newest();
    let last = *newest.borrow();
    let known = after.and_then(|name| name.split_once('-')).filter(|(named, _)| named.parse() == Ok(run));
    let sent = known.and_then(|(_, number)| number.parse().ok()).unwrap_or(last.saturating_sub(FIRST)).min(last);
    let entries = board.events().after(sent).into();
    let mut follower = Follower {
        board,
        run,
        newest,
        stop,
        look: tokio::time::interval(LOOK_EVERY),
        shown: Vec::new(),
        first: true,
        sent,
        entries,
        _permit: permit,
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = follower.next() => next,
                () = sender.closed() => return,
            };
            let Some(event) = next else { return };
            if sender.send(Ok(event)).await.is_err() {
                return;
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

impl Follower {
    /// The next thing to send; `None` at the end.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(logged) = self.entries.pop_front() {
                self.sent = logged.number;
                return Some(entry(self.run, &logged));
            }
            tokio::select! {
                _ = self.look.tick() => {
                    let statuses = self.board.statuses();
                    let same = statuses.len() == self.shown.len()
                        && statuses.iter().zip(&self.shown).all(|(a, b)| Arc::ptr_eq(a, b));
                    if !same || std::mem::take(&mut self.first) {
                        self.shown = statuses;
                        return Some(status(&self.shown));
                    }
                }
                changed = self.newest.changed() => {
                    changed.ok()?;
                    self.entries = self.board.events().after(self.sent).into();
                }
                () = shell::stopped(&mut self.stop) => return None,
            }
        }
    }
}

fn status(statuses: &[Arc<ChannelStatus>]) -> sse::Event {
    let body = Channels { at: date(clock::now().channel_time()), channels: statuses.iter().map(Arc::as_ref).collect() };
    sse::Event::default().event("status").data(serde_json::to_string(&body).unwrap_or_default())
}

fn entry(run: u64, logged: &Logged) -> sse::Event {
    let body = serde_json::to_string(&Entry::from(logged)).unwrap_or_default();
    sse::Event::default().event("event").id(format!("{run}-{}", logged.number)).data(body)
}
