//! Where the bytes go: one thread and one bounded queue a destination, so that a dead one never holds up the others.
//!
//! In:    datagrams of seven TS packets.
//! Out:   the same, over SRT, UDP, into a file or standard output.
//! Never: waits for a network peer on the caller's thread. A full queue drops the new datagram and counts it; files wait
//!        instead, because a test signal with a hole in its file is of no use.

use std::io::Write;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tracing::{info, warn};

use super::SignalError;

/// Datagrams a destination may lag behind: about 4 s at 3 Mbit/s.
const QUEUE: usize = 1_024;
/// A destination that went away is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// A destination as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Srt(String),
    Udp(String),
    File(String),
    Stdout,
}

impl Address {
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        match text.split_once("://") {
            None if text == "-" => Ok(Self::Stdout),
            None => Ok(Self::File(text.to_owned())),
            Some(("srt", _)) => Ok(Self::Srt(text.to_owned())),
            Some(("udp", host)) => Ok(Self::Udp(host.split('?').next().unwrap_or(host).to_owned())),
            Some((scheme, _)) => Err(SignalError::Settings(format!("the signal cannot send over {scheme}://"))),
        }
    }

    /// The address without its query, which may hold a passphrase.
    fn name(&self) -> &str {
        match self {
            Self::Srt(url) => url.split('?').next().unwrap_or(url),
            Self::Udp(name) | Self::File(name) => name,
            Self::Stdout => "standard output",
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
        let name = address.name().to_owned();
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
            Address::Srt(url) => network(datagrams, dropped.clone(), name.clone(), move || Srt::connect(&url)),
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
                        Ok(()) => return Ok(()),
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
    let (_hold, timer) = mpsc::channel::<()>();
    let mut left = 20;
    while left > 0 {
        dropped.fetch_add(datagrams.try_iter().count() as u64, Ordering::Relaxed);
        match datagrams.recv_timeout(Duration::ZERO) {
            Err(RecvTimeoutError::Disconnected) => return true,
            Ok(_) => _ = dropped.fetch_add(1, Ordering::Relaxed),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // A sleep that needs no clock.
        _ = timer.recv_timeout(RETRY / 20);
        left -= 1;
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
}

struct Srt {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
}

impl Srt {
    fn connect(url: &str) -> Result<Self, String> {
        let sink = gst::ElementFactory::make("srtsink")
            .property("uri", url)
            .property("auto-reconnect", false)
            .property("wait-for-connection", false)
            .property("sync", false)
            .build()
            .map_err(|e| e.to_string())?;
        let source = gst_app::AppSrc::builder().block(true).max_bytes(64 * 1316).build();
        let pipeline = gst::Pipeline::new();
        let build = || -> Result<(), gst::glib::BoolError> {
            pipeline.add_many([source.upcast_ref(), &sink])?;
            source.link(&sink)
        };
        build().map_err(|e| e.to_string())?;
        let this = Self { pipeline, source };
        match this.pipeline.set_state(gst::State::Playing) {
            Ok(_) => this.check().map(|()| this),
            Err(e) => Err(this.check().err().unwrap_or_else(|| e.to_string())),
        }
    }

    fn check(&self) -> Result<(), String> {
        let message = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => Err(e.error().to_string()),
            _ => Ok(()),
        }
    }
}

impl Peer for Srt {
    fn send(&mut self, datagram: &Bytes) -> Result<(), String> {
        let pushed = self.source.push_buffer(gst::Buffer::from_slice(datagram.clone()));
        self.check()?;
        pushed.map(|_| ()).map_err(|e| e.to_string())
    }
}

impl Drop for Srt {
    fn drop(&mut self) {
        // Lets what was handed over go out before the connection closes.
        _ = self.source.end_of_stream();
        if let Some(bus) = self.pipeline.bus() {
            let ends = [gst::MessageType::Eos, gst::MessageType::Error];
            bus.timed_pop_filtered(gst::ClockTime::from_mseconds(500), &ends);
        }
        _ = self.pipeline.set_state(gst::State::Null);
    }
}
