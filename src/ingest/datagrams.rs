//! Sockets of sources that come as bare datagrams. RTP and UDP share all but their core.
//!
//! In:    where to receive, and a [`Core`] that makes sense of datagrams.
//! Out:   [`IngestEvent`]s, without waiting for a slow channel: its media is dropped and counted, news is kept.
//! Never: reads FEC long before the media that lies in the socket beside it; ends because a socket cannot be had. It is tried again.

mod gate;
mod join;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use tracing::warn;

pub(super) use self::gate::Gate;
use super::IngestEvent;
use super::srt::Sink;
use super::srt::deliver::Outlet;
use crate::child::Backoff;
use crate::clock::{self, Now};
use crate::config::{DatagramInput, FecPorts};
use crate::media::SourceId;
use crate::monitor::LinkStatus;

/// Nothing for so long: whoever sent does not any more. As long as an SRT connection may be idle.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Nothing for so long: another sender may take the place. Longer than any pause of a sender that is well.
pub(super) const QUIET: Duration = Duration::from_millis(100);
/// Longest datagram taken, bytes: a jumbo frame. None of MPEG-TS has reason to be longer.
pub(super) const DATAGRAM_MAX: usize = 9216;

/// A socket is read so often before it is others' turn.
const READS_MAX: usize = 256;
/// Events that wait because the channel's queue was full are tried again so often.
const RETRY_EVERY: Duration = Duration::from_millis(20);
const LINK_EVERY: Duration = Duration::from_secs(1);

/// What makes a source's events of its datagrams.
pub trait Core: Send {
    /// A datagram at the media's port, from somebody who may send.
    fn media(&mut self, now: Now, peer: SocketAddr, datagram: &[u8]);
    /// A datagram at a port of FEC.
    fn parity(&mut self, _now: Now, _datagram: &[u8]) {}
    /// Whether FEC was read that belongs to media which was not.
    fn parity_is_ahead(&self) -> bool {
        false
    }
    /// What there is to tell by now.
    fn pop(&mut self, now: Now) -> Option<IngestEvent>;
    /// When there may be more without another datagram.
    fn wake_at(&self) -> Option<Instant>;
    /// The link's figures while it is up, but for those of gate and kernel.
    fn link(&self) -> Option<LinkStatus>;
}

/// One source's way from the network to its channel.
pub(super) struct Line<C> {
    pub(super) id: SourceId,
    pub(super) input: DatagramInput,
    pub(super) fec: Option<FecPorts>,
    pub(super) core: C,
    pub(super) gate: Gate,
}

impl<C: Core> Line<C> {
    /// Receives until `stop` turns true.
    pub(super) async fn run(mut self, sink: Sink, mut stop: watch::Receiver<bool>) {
        let mut outlet = Outlet::new(self.id.clone(), sink);
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            backoff.started(clock::now().mono);
            match self.open() {
                Ok(sockets) => {
                    let error = tokio::select! {
                        error = self.receive(&sockets, &mut outlet) => error,
                        _ = stop.wait_for(|stop| *stop) => return,
                    };
                    warn!(%error, "cannot receive any more");
                    outlet.down(&format!("cannot receive any more: {error}"));
                    told.clear();
                }
                Err(error) => {
                    let reason = format!("cannot receive at {}: {error}", self.input.address);
                    warn!(%reason);
                    // It was never up; the same reason is news once.
                    if told != reason {
                        outlet.aside(IngestEvent::Down { reason: reason.clone() });
                        told = reason;
                    }
                }
            }
            tokio::select! {
                () = sleep(backoff.ended(clock::now().mono)) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn open(&self) -> io::Result<Sockets> {
        let at = |port| socket::open(&self.input, port);
        Ok(Sockets {
            media: at(self.input.address.port())?,
            columns: self.fec.map(|ports| at(ports.columns)).transpose()?,
            rows: self.fec.map(|ports| at(ports.rows)).transpose()?,
        })
    }

    /// Until a socket fails.
    async fn receive(&mut self, sockets: &Sockets, outlet: &mut Outlet) -> io::Error {
        let mut buffer = vec![0; DATAGRAM_MAX + 1];
        let mut link = interval(LINK_EVERY);
        link.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry = interval(RETRY_EVERY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.core.wake_at();
            let ready = tokio::select! {
                ready = sockets.media.readable() => ready,
                ready = readable(sockets.columns.as_ref()) => ready,
                ready = readable(sockets.rows.as_ref()) => ready,
                () = until(wake) => Ok(()),
                _ = retry.tick() => {
                    outlet.settle();
                    Ok(())
                }
                _ = link.tick() => {
                    if let Some(link) = self.core.link() {
                        let (refused, unread) = (link.refused + self.gate.refused(), sockets.unread());
                        outlet.aside(IngestEvent::Link(LinkStatus { refused, unread, ..link }));
                    }
                    Ok(())
                }
            };
            if let Err(error) = ready.and_then(|()| self.take(sockets, &mut buffer, outlet)) {
                return error;
            }
            self.tell(outlet);
        }
    }

    /// Reads what lies in the sockets. Media first: a sum that overtakes its packets would compute what is there already. Where
    /// more media lies there than is read in one go, FEC goes no further than it.
    fn take(&mut self, sockets: &Sockets, buffer: &mut [u8], outlet: &mut Outlet) -> io::Result<()> {
        let Self { core, gate, .. } = self;
        let mut each = |socket: &UdpSocket, is_media: bool| -> io::Result<()> {
            for _ in 0..READS_MAX {
                let (length, peer) = match socket.try_recv_from(buffer) {
                    Ok(datagram) => datagram,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    // What ICMP says of something we sent; we send nothing.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(error),
                };
                let now = clock::now();
                if let Err(news) = gate.ask(now, peer) {
                    news.into_iter().for_each(|news| outlet.aside(news));
                } else if is_media {
                    core.media(now, peer, &buffer[..length]);
                } else {
                    core.parity(now, &buffer[..length]);
                    if core.parity_is_ahead() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        };
        each(&sockets.media, true)?;
        [&sockets.columns, &sockets.rows].into_iter().flatten().try_for_each(|socket| each(socket, false))
    }

    fn tell(&mut self, outlet: &mut Outlet) {
        let now = clock::now();
        while let Some(event) = self.core.pop(now) {
            match event {
                IngestEvent::Up { peer } => outlet.up(peer),
                IngestEvent::Down { reason } => outlet.down(&reason),
                IngestEvent::Data { .. } | IngestEvent::Media { .. } => outlet.media(event),
                IngestEvent::Refused { .. } | IngestEvent::Link(_) => outlet.aside(event),
            }
        }
    }
}

/// One source's open sockets.
struct Sockets {
    media: UdpSocket,
    columns: Option<UdpSocket>,
    rows: Option<UdpSocket>,
}

impl Sockets {
    /// Datagrams the kernel dropped since they were opened.
    fn unread(&self) -> u64 {
        let all = [Some(&self.media), self.columns.as_ref(), self.rows.as_ref()];
        all.into_iter().flatten().map(|socket| u64::from(join::drops(socket))).sum()
    }
}

async fn readable(socket: Option<&UdpSocket>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
