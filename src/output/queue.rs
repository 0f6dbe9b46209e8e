//! What waits for one output: bounded by bytes; when it is full the oldest goes, and is counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::wire::ts::PACKET_BYTES;

#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    portions: VecDeque<Bytes>,
    bytes: usize,
    dropped_bytes: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), filled: Notify::new(), bytes_max }
    }

    pub(super) fn push(&self, data: Bytes) {
        let mut inner = self.lock();
        inner.bytes += data.len();
        inner.portions.push_back(data);
        while inner.bytes > self.bytes_max {
            let Some(oldest) = inner.portions.pop_front() else { break };
            inner.bytes -= oldest.len();
            inner.dropped_bytes += oldest.len() as u64;
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// All that waits, oldest first; waits for something. `None` once closed and empty.
    pub(super) async fn take(&self) -> Option<VecDeque<Bytes>> {
        loop {
            {
                let mut inner = self.lock();
                if !inner.portions.is_empty() {
                    inner.bytes = 0;
                    return Some(std::mem::take(&mut inner.portions));
                }
                if inner.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Nothing more will be put in.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// TS packets dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped_bytes / PACKET_BYTES as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_first_and_is_counted() {
        let queue = Queue::new(3 * 188);
        for first in 0..5 {
            queue.push(Bytes::from(vec![first; 188]));
        }
        let firsts: Vec<u8> = queue.take().await.expect("something").iter().map(|data| data[0]).collect();
        assert_eq!((firsts, queue.dropped()), (vec![2, 3, 4], 2));
        queue.push(Bytes::from(vec![9; 188]));
        queue.close();
        assert_eq!(queue.take().await.expect("the last").len(), 1);
        assert_eq!(queue.take().await, None);
    }
}
