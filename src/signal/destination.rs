//! Where the bytes go: one thread and one bounded queue a destination, so that a dead one never holds up the others.
//!
//! In:    datagrams of seven TS packets.
//! Out:   the same, over SRT, UDP, into a file or standard output.
//! Never: waits for a network peer on the caller's thread. A full queue drops the new datagram and counts it; files wait
//!        instead, because a test signal with a hole in its file is of no use.

use std::io::Write;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tracing::{info, warn};

use super::SignalError;
use crate::{clock, srt};

/// Datagrams a destination may lag behind: about 4 s at 3 Mbit/s.
const QUEUE: usize = 1_024;
/// A destination that went away is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// A destination as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Srt(srt::Url),
    Udp(String),
    File(String),
    Stdout,
}

impl Address {
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        match text.split_once("://") {
            None if text == "-" => Ok(Self::Stdout),
            None => Ok(Self::File(text.to_owned())),
            Some(("srt", _)) => srt::Url::parse(text).map(Self::Srt).map_err(|e| SignalError::Settings(e.to_string())),
            Some(("udp", host)) => Ok(Self::Udp(host.split('?').next().unwrap_or(host).to_owned())),
            Some((scheme, _)) => Err(SignalError::Settings(format!("the signal cannot send over {scheme}://"))),
        }
    }

    /// For logs; an SRT address leaves its passphrase out.
    fn name(&self) -> String {
        match self {
            Self::Srt(url) => url.to_string(),
            Self::Udp(name) | Self::File(name) => name.clone(),
            Self::Stdout => "standard output".into(),
        }
    }
}

/// A running destination.
#[derive(Debug)]
pub struct Destination {
    queue: Option<SyncSender<Bytes>>,
    thread: Option<JoinHandle<Result<(), SignalError>>>,
    waits: bool,
    dropped: Arc<AtomicU64>,
    name: String,
}

impl Destination {
    /// Opens a file at once; a network destination connects in the background.
    pub fn open(address: &Address) -> Result<Self, SignalError> {
        let name = address.name();
        let (queue, datagrams) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let failed = |source| SignalError::Write { to: name.clone(), source };
        let thread = match address.clone() {
            Address::File(path) => {
                let file = std::fs::File::create(path).map_err(failed)?;
                write_all(datagrams, std::io::BufWriter::new(file), name.clone())
            }
            Address::Stdout => write_all(datagrams, std::io::stdout(), name.clone()),
            Address::Udp(to) => network(datagrams, dropped.clone(), name.clone(), move || Udp::connect(&to)),
            Address::Srt(url) => network(datagrams, dropped.clone(), name.clone(), move || {
                srt::Sender::connect(&url).map_err(|e| e.to_string())
            }),
        };
        let waits = matches!(address, Address::File(_) | Address::Stdout);
        Ok(Self { queue: Some(queue), thread: Some(thread), waits, dropped, name })
    }

    /// Hands over a datagram.
    ///
    /// # Errors
    /// A file that can no longer be written.
    pub fn send(&mut self, datagram: &Bytes) -> Result<(), SignalError> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let gone = if self.waits {
            queue.send(datagram.clone()).is_err()
        } else {
            match queue.try_send(datagram.clone()) {
                Ok(()) => false,
                Err(TrySendError::Full(_)) => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    false
                }
                Err(TrySendError::Disconnected(_)) => true,
            }
        };
        if gone { self.close() } else { Ok(()) }
    }

    /// Sends what is queued and ends.
    pub fn close(&mut self) -> Result<(), SignalError> {
        self.queue = None;
        let result = match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Ok(()),
        };
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            warn!(to = self.name, dropped, "datagrams dropped");
        }
        result
    }
}

fn write_all(
    datagrams: Receiver<Bytes>,
    mut to: impl Write + Send + 'static,
    name: String,
) -> JoinHandle<Result<(), SignalError>> {
    std::thread::spawn(move || {
        let mut copy = || {
            for datagram in &datagrams {
                to.write_all(&datagram)?;
            }
            to.flush()
        };
        copy().map_err(|source| SignalError::Write { to: name, source })
    })
}

/// A peer that datagrams can be sent to. `Err` from either says that the peer is gone.
trait Peer: Sized {
    fn send(&mut self, datagram: &Bytes) -> Result<(), String>;
    /// Lets what was sent arrive, then ends.
    fn finish(self);
}

fn network<P: Peer>(
    datagrams: Receiver<Bytes>,
    dropped: Arc<AtomicU64>,
    name: String,
    connect: impl Fn() -> Result<P, String> + Send + 'static,
) -> JoinHandle<Result<(), SignalError>> {
    std::thread::spawn(move || {
        let mut quiet = false;
        loop {
            let cause = match connect() {
                Ok(mut peer) => {
                    info!(to = name, "connected");
                    quiet = false;
                    // What queued up while we connected is old; a receiver wants what is live.
                    dropped.fetch_add(datagrams.try_iter().count() as u64, Ordering::Relaxed);
                    match datagrams.iter().try_for_each(|datagram| peer.send(&datagram)) {
                        Ok(()) => {
                            peer.finish();
                            return Ok(());
                        }
                        Err(cause) => cause,
                    }
                }
                Err(cause) => cause,
            };
            if !quiet {
                warn!(to = name, cause, "not connected, trying again each second");
            }
            quiet = true;
            if drain(&datagrams, &dropped) {
                return Ok(());
            }
        }
    })
}

/// Drops what comes during [`RETRY`]; true when nothing more will come.
fn drain(datagrams: &Receiver<Bytes>, dropped: &AtomicU64) -> bool {
    let start = clock::now();
    while clock::now().since(start) < RETRY {
        match datagrams.recv_timeout(RETRY / 10) {
            Ok(_) => _ = dropped.fetch_add(1, Ordering::Relaxed),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
    false
}

struct Udp(UdpSocket);

impl Udp {
    fn connect(to: &str) -> Result<Self, String> {
        let socket = UdpSocket::bind("0.0.0.0:0").and_then(|s| s.connect(to).map(|()| s));
        socket.map(Self).map_err(|e| e.to_string())
    }
}

impl Peer for Udp {
    fn send(&mut self, datagram: &Bytes) -> Result<(), String> {
        // Nobody listening is reported by ICMP on a later send; with UDP that is no reason to stop.
        _ = self.0.send(datagram);
        Ok(())
    }

    fn finish(self) {}
}

impl Peer for srt::Sender {
    fn send(&mut self, datagram: &Bytes) -> Result<(), String> {
        srt::Sender::send(self, datagram).map_err(|e| e.to_string())
    }

    fn finish(self) {
        srt::Sender::finish(self);
    }
}
