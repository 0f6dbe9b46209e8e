//! Blocking ends of one connection: a [`Sender`] for the test signal, a [`Receiver`] for `tandem inspect`.

use std::time::Duration;

use super::epoll::Epoll;
use super::socket::{MESSAGE_BYTES_MAX, Settings, Socket, TS_MESSAGE_BYTES};
use super::{Error, Mode, Stats, Url};
use crate::clock::{self, Now};

/// How long a call may go unanswered.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Silence after which the peer counts as gone.
const PEER_IDLE: Duration = Duration::from_secs(2);
/// Bound on one blocking send: libsrt drops what is too late long before.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How much later than its latency a packet may become due.
const DUE_MARGIN: Duration = Duration::from_millis(20);

/// The sending end of a call. Blocking; calling again after an error is its user's decision.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    latency: Duration,
}

impl Sender {
    /// Calls `url` (its mode is not looked at). [`Error::Rejected`] says why we were turned away.
    pub fn connect(url: &Url) -> Result<Self, Error> {
        let socket = Socket::new(&settings(url, SEND_TIMEOUT))?;
        socket.connect(url.resolve()?)?;
        Ok(Self { socket, latency: url.latency })
    }

    /// Sends at most [`TS_MESSAGE_BYTES`] bytes: seven TS packets. Waits while the send buffer is full.
    pub fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        debug_assert!(message.len() <= TS_MESSAGE_BYTES, "libsrt refuses longer ones");
        self.socket.send(message)
    }

    /// The connection's figures; `None` when it is over.
    pub fn stats(&self) -> Option<Stats> {
        self.socket.stats()
    }

    /// Ends the connection once everything is acknowledged and the receiver has had the time to play it out: a closed
    /// connection takes with it what is still in its buffers.
    pub fn finish(self) {
        let start = clock::now();
        while self.socket.unsent() > 0 && clock::now().since(start) < self.latency + SEND_TIMEOUT {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(self.latency + Duration::from_millis(50));
    }
}

/// The receiving end of one connection. Blocking.
#[derive(Debug)]
pub struct Receiver {
    socket: Socket,
    /// How long packets wait in libsrt's buffer.
    latency: Duration,
    /// When the connection was found to be over.
    broken: Option<Now>,
    /// Kept so that its port stays ours and second callers are turned away.
    _listener: Option<Socket>,
}

impl Receiver {
    /// Calls `url`, or waits at it for one caller, for `timeout` at most; reads give up after `timeout` too.
    pub fn open(url: &Url, timeout: Duration) -> Result<Self, Error> {
        let address = url.resolve()?;
        let settings = settings(url, timeout);
        if url.mode == Mode::Caller {
            let socket = Socket::new(&settings)?;
            socket.connect(address)?;
            return Ok(Self::new(socket, url, None));
        }
        let listener = Socket::new(&Settings { nonblocking: true, ..settings })?;
        listener.bind(address)?;
        listener.listen(1, |_| Ok(()))?;
        let epoll = Epoll::new()?;
        epoll.watch_reads(&listener)?;
        let start = clock::now();
        loop {
            if let Some((socket, _)) = listener.accept()? {
                socket.block(timeout)?;
                return Ok(Self::new(socket, url, Some(listener)));
            }
            if clock::now().since(start) >= timeout {
                return Err(Error::TimedOut);
            }
            epoll.wait(Duration::from_millis(100))?;
        }
    }

    fn new(socket: Socket, url: &Url, listener: Option<Socket>) -> Self {
        let agreed = socket.stats().map(|stats| Duration::from_millis(stats.receive_latency_ms.into()));
        Self { latency: agreed.unwrap_or(url.latency), socket, broken: None, _listener: listener }
    }

    /// The next message into `buffer`, which is made to fit; its bytes. `None` at the end of the connection, when all
    /// that arrived before it has been read; [`Error::TimedOut`] when nothing came in time.
    pub fn receive<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>, Error> {
        buffer.resize(MESSAGE_BYTES_MAX, 0);
        loop {
            match self.socket.receive(buffer) {
                Ok(Some(length)) => return Ok(Some(&buffer[..length])),
                Ok(None) => return Err(Error::TimedOut),
                // A broken connection still hands out what is in its buffer, but each packet only when it is due.
                Err(Error::Ended) => {
                    let broken = *self.broken.get_or_insert_with(clock::now);
                    if clock::now().since(broken) > self.latency + DUE_MARGIN {
                        return Ok(None);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// The connection's figures; `None` when it is over.
    pub fn stats(&self) -> Option<Stats> {
        self.socket.stats()
    }
}

fn settings(url: &Url, timeout: Duration) -> Settings<'_> {
    Settings {
        latency: Some(url.latency),
        passphrase: url.passphrase.as_ref().map(|secret| secret.reveal()),
        key_length: url.key_length,
        stream_id: url.stream_id.as_deref(),
        peer_idle: Some(PEER_IDLE),
        connect_timeout: Some(CONNECT_TIMEOUT),
        timeout: Some(timeout),
        ..Settings::default()
    }
}
