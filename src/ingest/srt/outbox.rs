//! What waits in the gateway to be written to the main process: bounded, whatever the main process does.
//!
//! Media of a feed beyond its share of the room is dropped in whole portions and counted, so that the one that sends most
//! loses first. `Up` and `Down` are always taken: admission closes while the box fills, so there is an end to them. The
//! rest (figures, refusals, health) is left out while the main process does not keep up.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::ipc::FromGateway;

/// Room for media: more than three seconds of four feeds of 20 Mbit/s.
const MEDIA_BYTES_MAX: usize = 32 << 20;
/// Beyond so many messages only what must not be lost is taken.
const MESSAGES_FEW: usize = 4096;

/// Messages on their way to the main process.
#[derive(Debug)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    filled: Condvar,
    share: usize,
}

#[derive(Debug)]
struct Inner {
    messages: VecDeque<FromGateway>,
    /// Media bytes that wait, of each feed.
    waiting: Vec<usize>,
    dropped: Dropped,
    closed: bool,
}

/// Media left out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) portions: u64,
    pub(super) bytes: u64,
}

impl Outbox {
    pub(super) fn new(feeds: usize) -> Self {
        let inner =
            Inner { messages: VecDeque::new(), waiting: vec![0; feeds], dropped: Dropped::default(), closed: false };
        Self { inner: Mutex::new(inner), filled: Condvar::new(), share: MEDIA_BYTES_MAX / feeds.max(1) }
    }

    /// Takes a message, or drops it by the rules above. Never waits for the reader.
    pub(super) fn put(&self, message: FromGateway) {
        let mut inner = self.lock();
        let few = inner.messages.len() < MESSAGES_FEW;
        let taken = match &message {
            FromGateway::Data { feed, data, .. } => {
                let share = self.share;
                let (waiting, length) = (&mut inner.waiting[feed.get()], data.len());
                let fits = few && *waiting + length <= share;
                *waiting += if fits { length } else { 0 };
                if !fits {
                    inner.dropped.portions += 1;
                    inner.dropped.bytes += length as u64;
                }
                fits
            }
            FromGateway::Listening
            | FromGateway::Failed { .. }
            | FromGateway::Up { .. }
            | FromGateway::Down { .. }
            | FromGateway::ReaderUp { .. }
            | FromGateway::ReaderDown { .. } => true,
            FromGateway::Refused { .. }
            | FromGateway::Link { .. }
            | FromGateway::ReaderRefused { .. }
            | FromGateway::Readers { .. }
            | FromGateway::Health(_) => few,
        };
        if taken {
            inner.messages.push_back(message);
            self.filled.notify_one();
        }
    }

    /// The next message; waits for one. `None` once closed and empty.
    pub(super) fn take(&self) -> Option<FromGateway> {
        let mut inner = self.lock();
        loop {
            if let Some(message) = inner.messages.pop_front() {
                if let FromGateway::Data { feed, data, .. } = &message {
                    inner.waiting[feed.get()] -= data.len();
                }
                return Some(message);
            }
            if inner.closed {
                return None;
            }
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more will be put in.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// The reader is so far behind that nobody new should be let in.
    pub(super) fn crowded(&self) -> bool {
        let inner = self.lock();
        inner.messages.len() >= MESSAGES_FEW / 2 || inner.waiting.iter().sum::<usize>() >= MEDIA_BYTES_MAX / 2
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::ingest::srt::ipc::{FeedIndex, Health};

    fn data(feed: u16, length: usize) -> FromGateway {
        FromGateway::Data { feed: FeedIndex(feed), arrival: Duration::ZERO, data: Bytes::from(vec![0; length]) }
    }

    #[test]
    fn the_one_that_sends_most_loses_first() {
        let outbox = Outbox::new(2);
        let share = MEDIA_BYTES_MAX / 2;
        for _ in 0..40 {
            outbox.put(data(0, 1 << 20));
        }
        for _ in 0..10 {
            outbox.put(data(1, 1 << 20));
        }
        let kept = (share >> 20) as u64;
        assert_eq!(outbox.dropped(), Dropped { portions: 40 - kept, bytes: (40 - kept) << 20 });
        assert!(outbox.crowded());
        outbox.close();
        let got: Vec<u16> = std::iter::from_fn(|| outbox.take())
            .map(|m| if let FromGateway::Data { feed, .. } = m { feed.0 } else { 99 })
            .collect();
        assert_eq!(got.iter().filter(|f| **f == 1).count(), 10, "the quiet one lost nothing");
        assert!(!outbox.crowded());
        outbox.put(data(0, share));
        assert_eq!(outbox.dropped().portions, 40 - kept, "room again");
    }

    #[test]
    fn many_small_messages_are_bounded_and_state_is_never_lost() {
        let outbox = Outbox::new(1);
        for _ in 0..3 * MESSAGES_FEW {
            outbox.put(data(0, 1));
            outbox.put(FromGateway::Health(Health::default()));
        }
        outbox.put(FromGateway::Down { feed: FeedIndex(0), reason: "gone".into() });
        outbox.close();
        let got: Vec<_> = std::iter::from_fn(|| outbox.take()).collect();
        assert_eq!(got.len(), MESSAGES_FEW + 1);
        assert!(matches!(got.last(), Some(FromGateway::Down { .. })));
    }
}
