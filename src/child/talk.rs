//! Messages to and from a child: a bounded queue in front of the socket, and a reader of whole messages.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::frame::{self, Decoder, FrameError};

/// Messages that may wait, whatever their size: small ones must not pile up without end either.
const MESSAGES_MAX: usize = 8192;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The child reads too slowly. The message is dropped and counted; the caller decides what that means.
    #[error("the child does not keep up")]
    Full,
    /// The child is gone, or on its way.
    #[error("the child is gone")]
    Closed,
    /// No message of ours looks like this.
    #[error("a message that cannot be written")]
    Frame(#[from] FrameError),
}

/// Messages of type `T` to a child. Never waits: what does not fit into the queue is refused and counted.
#[derive(Debug)]
pub struct Sender<T> {
    queue: mpsc::Sender<Bytes>,
    gauge: Arc<Gauge>,
    messages: PhantomData<fn(T)>,
}

#[derive(Debug)]
struct Gauge {
    waiting: AtomicUsize,
    bytes_max: usize,
    dropped: AtomicU64,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), gauge: self.gauge.clone(), messages: PhantomData }
    }
}

impl<T: Serialize> Sender<T> {
    /// Queues a message. An empty queue takes any message, however long.
    pub fn send(&self, message: &T) -> Result<(), SendError> {
        let bytes = frame::encode(message)?;
        let length = bytes.len();
        let before = self.gauge.waiting.fetch_add(length, Ordering::Relaxed);
        let sent = if before > 0 && before + length > self.gauge.bytes_max {
            Err(SendError::Full)
        } else {
            self.queue.try_send(bytes).map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => SendError::Full,
                mpsc::error::TrySendError::Closed(_) => SendError::Closed,
            })
        };
        if sent.is_err() {
            self.gauge.waiting.fetch_sub(length, Ordering::Relaxed);
            self.gauge.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// Bytes that wait for the child.
    pub fn waiting_bytes(&self) -> usize {
        self.gauge.waiting.load(Ordering::Relaxed)
    }

    /// Messages refused so far.
    pub fn dropped(&self) -> u64 {
        self.gauge.dropped.load(Ordering::Relaxed)
    }
}

/// A queue of at most `bytes_max`, written to `socket` by a task of its own. The task ends with the last sender or with
/// the child, and closes our direction of the socket.
pub(super) fn sender<T>(mut socket: OwnedWriteHalf, bytes_max: usize) -> Sender<T> {
    let (queue, mut messages) = mpsc::channel::<Bytes>(MESSAGES_MAX);
    let gauge = Arc::new(Gauge { waiting: AtomicUsize::new(0), bytes_max, dropped: AtomicU64::new(0) });
    let shared = gauge.clone();
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            let written = socket.write_all(&message).await;
            shared.waiting.fetch_sub(message.len(), Ordering::Relaxed);
            if written.is_err() {
                return;
            }
        }
    });
    Sender { queue, gauge, messages: PhantomData }
}

/// Messages of type `T` from a child.
#[derive(Debug)]
pub struct Receiver<T> {
    socket: OwnedReadHalf,
    decoder: Decoder,
    over: bool,
    messages: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Receiver<T> {
    pub(super) fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, decoder: Decoder::default(), over: false, messages: PhantomData }
    }

    /// The next message; `None` when the child closed its end. After an error there is nothing more. May be dropped
    /// while it waits (as `select!` does) without losing a byte.
    pub async fn next(&mut self) -> Option<Result<T, FrameError>> {
        loop {
            if self.over {
                return None;
            }
            match self.decoder.pop() {
                Ok(Some(message)) => return Some(Ok(message)),
                Ok(None) => {}
                Err(e) => {
                    self.over = true;
                    return Some(Err(e));
                }
            }
            match self.socket.read_buf(self.decoder.buffer()).await {
                Ok(0) => self.over = true,
                Ok(_) => {}
                // A child that died with bytes of ours unread resets the socket: an end like any other.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => self.over = true,
                Err(e) => {
                    self.over = true;
                    return Some(Err(e.into()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn messages_go_both_ways() {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let (_, write) = ours.into_split();
        let (read, _keep) = theirs.into_split();
        let sender = sender::<Vec<u8>>(write, 1 << 20);
        let mut receiver = Receiver::<Vec<u8>>::new(read);
        for i in 0..100u8 {
            sender.send(&vec![i; 1000]).expect("room");
        }
        for i in 0..100u8 {
            assert_eq!(receiver.next().await.expect("one").expect("whole"), vec![i; 1000]);
        }
        drop(sender);
        assert!(receiver.next().await.is_none(), "a clean end");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_counts_and_recovers() {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let (_, write) = ours.into_split();
        let (read, _keep) = theirs.into_split();
        let sender = sender::<Vec<u8>>(write, 4 << 20);
        let message = vec![7u8; 1 << 20];
        let mut taken = 0u64;
        while sender.send(&message).is_ok() {
            taken += 1;
            assert!(taken < 100, "a bound holds");
        }
        assert!(matches!(sender.send(&message), Err(SendError::Full)));
        assert_eq!(sender.dropped(), 2);
        let mut receiver = Receiver::<Vec<u8>>::new(read);
        for _ in 0..taken {
            assert_eq!(receiver.next().await.expect("one").expect("whole").len(), message.len());
        }
        while sender.waiting_bytes() > 0 {
            tokio::task::yield_now().await;
        }
        sender.send(&message).expect("room again");
    }

    #[tokio::test]
    async fn garbage_ends_the_conversation() {
        let (mut ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.write_all(&u32::MAX.to_le_bytes()).await.expect("written");
        let mut receiver = Receiver::<u8>::new(theirs.into_split().0);
        assert!(matches!(receiver.next().await, Some(Err(FrameError::TooLong(_)))));
        assert!(receiver.next().await.is_none());
    }
}
