//! RTP and UDP outputs: sockets, one a path.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::cut::Cutter;
use super::queue::Queue;
use super::rtp::{Datagram, Lane, Packets};
use super::{Event, FIGURES_EVERY, News, RETRY_AFTER};
use crate::clock::{self, Now};
use crate::config::{Destination, Interface, Matrix, RtpOutput};
use crate::monitor::OutputFigures;
use crate::wire::ts::PACKET_BYTES;

/// Asked of the kernel: a burst of a portion or two.
const BUFFER_BYTES: usize = 2 << 20;
/// So long a path may have no room before it loses a datagram: another path waits with it.
const ROOM_WITHIN: Duration = Duration::from_millis(10);

/// What is sent, and where to.
#[derive(Debug)]
pub(super) struct Plan {
    /// One or two.
    to: Vec<Destination>,
    /// RTP; else bare datagrams.
    rtp: bool,
    fec: Option<Matrix>,
}

impl Plan {
    pub(super) fn rtp(output: &RtpOutput) -> Self {
        Self {
            to: [Some(&output.to), output.second.as_ref()].into_iter().flatten().cloned().collect(),
            rtp: true,
            fec: output.fec,
        }
    }

    pub(super) fn udp(to: &Destination) -> Self {
        Self { to: vec![to.clone()], rtp: false, fec: None }
    }
}

/// Sends what is queued until the queue is closed.
pub(super) async fn run(plan: Plan, queue: Arc<Queue>, news: News, done: oneshot::Sender<()>) {
    let mut paths: Vec<Path> = plan.to.iter().map(|to| Path::new(to.clone())).collect();
    let mut packets = plan.rtp.then(|| Packets::new(plan.fec));
    let mut cutter = Cutter::default();
    let mut figures = OutputFigures::default();
    let mut tick = interval(FIGURES_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut out = Vec::new();
    loop {
        let now = clock::now();
        let hold = cutter.wake_at().map_or(FIGURES_EVERY, |at| at.since(now));
        tokio::select! {
            portions = queue.take() => match portions {
                Some(portions) => {
                    let now = clock::now();
                    portions.into_iter().for_each(|data| cutter.push(now, data));
                }
                None => break,
            },
            _ = tick.tick() => {
                settle(&mut paths, &news);
                figures.dropped = queue.dropped() + paths.iter().map(|path| path.lost).sum::<u64>();
                figures.errors = paths.iter().map(|path| path.errors).sum();
                news.tell(Event::Figures(Box::new(figures.clone())));
            }
            () = sleep(hold), if cutter.wake_at().is_some() => {}
        }
        let now = clock::now();
        while let Some(parts) = cutter.pop(now) {
            wrap(&mut packets, now, parts, &mut out);
        }
        send_all(&mut paths, &mut out, &mut figures).await;
    }
    let now = clock::now();
    while let Some(parts) = cutter.end() {
        wrap(&mut packets, now, parts, &mut out);
    }
    send_all(&mut paths, &mut out, &mut figures).await;
    let _ = done.send(());
}

fn wrap(packets: &mut Option<Packets>, now: Now, parts: super::cut::Parts, out: &mut Vec<Datagram>) {
    match packets {
        Some(packets) => packets.wrap(now, parts, |datagram| out.push(datagram)),
        None => out.push(Datagram { lane: Lane::Media, head: None, parts }),
    }
}

async fn send_all(paths: &mut [Path], out: &mut Vec<Datagram>, figures: &mut OutputFigures) {
    for datagram in out.drain(..) {
        let mut sent = false;
        for path in &mut *paths {
            sent |= path.send(&datagram).await;
        }
        if sent && datagram.lane == Lane::Media {
            figures.bytes += datagram.parts.len() as u64;
            figures.packets += 1;
        }
    }
}

/// Tells of paths that broke or came back.
fn settle(paths: &mut [Path], news: &News) {
    let broken: Vec<String> = paths.iter().filter_map(Path::trouble).collect();
    let was = paths.iter().any(|path| path.told);
    if !broken.is_empty() && !was {
        news.tell(Event::Failed { reason: broken.join("; ") });
    } else if broken.is_empty() && was {
        news.tell(Event::Recovered);
    }
    for path in paths {
        path.told = !broken.is_empty();
    }
}

/// One destination with a socket of its own.
#[derive(Debug)]
struct Path {
    to: Destination,
    socket: Option<UdpSocket>,
    /// What the last try said, and when the socket is opened anew.
    error: Option<(String, Now)>,
    errors: u64,
    /// TS packets that this path lost.
    lost: u64,
    told: bool,
}

impl Path {
    fn new(to: Destination) -> Self {
        Self { to, socket: None, error: None, errors: 0, lost: 0, told: false }
    }

    fn trouble(&self) -> Option<String> {
        self.error.as_ref().map(|(reason, _)| format!("{}: {reason}", self.to.address))
    }

    /// Whether it went out.
    async fn send(&mut self, datagram: &Datagram) -> bool {
        let packets = (datagram.parts.len() / PACKET_BYTES) as u64;
        match self.try_send(datagram).await {
            Ok(true) => {
                self.error = None;
                return true;
            }
            Ok(false) => {}
            Err(error) => {
                self.errors += 1;
                let retry_at = match &self.error {
                    Some((_, at)) => *at,
                    None => clock::now().after(RETRY_AFTER),
                };
                self.error = Some((error.to_string(), retry_at));
            }
        }
        if datagram.lane == Lane::Media {
            self.lost += packets;
        }
        false
    }

    /// False where there is no room, or it is not time to try again.
    async fn try_send(&mut self, datagram: &Datagram) -> io::Result<bool> {
        if let Some((_, retry_at)) = &mut self.error {
            let now = clock::now();
            if now.mono >= retry_at.mono {
                // A socket may hold on to an address or interface that is gone.
                *retry_at = now.after(RETRY_AFTER);
                self.socket = None;
            } else if self.socket.is_none() {
                return Ok(false);
            }
        }
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(open(&self.to)?),
        };
        let mut to = self.to.address;
        to.set_port(to.port() + datagram.lane.behind());
        let to = SockAddr::from(to);
        let head = datagram.head.as_ref().map(|head| IoSlice::new(head));
        let slices: Vec<IoSlice<'_>> =
            head.into_iter().chain(datagram.parts.iter().map(|part: &Bytes| IoSlice::new(part))).collect();
        let send = || SockRef::from(&*socket).send_to_vectored(&slices, &to);
        match socket.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match tokio::time::timeout(ROOM_WITHIN, socket.async_io(Interest::WRITABLE, send)).await {
                    Ok(sent) => sent.map(|_| true),
                    Err(_) => Ok(false),
                }
            }
            sent => sent.map(|_| true),
        }
    }
}

fn open(to: &Destination) -> io::Result<UdpSocket> {
    let address = to.address;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    let mut own = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    match &to.interface {
        Some(Interface::Name(name)) => socket.bind_device(Some(name.as_bytes()))?,
        Some(Interface::Address(ip)) => own.set_ip(*ip),
        None => {}
    }
    if address.ip().is_multicast() {
        match &to.interface {
            Some(Interface::Address(IpAddr::V4(ip))) => socket.set_multicast_if_v4(ip)?,
            Some(Interface::Address(IpAddr::V6(ip))) => {
                socket.set_multicast_if_v6(index_of_address(*ip)?)?;
            }
            Some(Interface::Name(_)) | None => {}
        }
        match address {
            SocketAddr::V4(_) => socket.set_multicast_ttl_v4(u32::from(to.hops))?,
            SocketAddr::V6(_) => socket.set_multicast_hops_v6(u32::from(to.hops))?,
        }
    }
    socket.bind(&own.into())?;
    UdpSocket::from_std(socket.into())
}

/// proc_net_if_inet6: address as 32 hex digits, interface's index in hex, and more.
fn index_of_address(address: Ipv6Addr) -> io::Result<u32> {
    let table = std::fs::read_to_string("/proc/net/if_inet6")?;
    let wanted = format!("{:032x}", address.to_bits());
    let line = table.lines().find(|line| line.starts_with(&wanted));
    let index = line.and_then(|line| u32::from_str_radix(line.split_ascii_whitespace().nth(1)?, 16).ok());
    index.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface has the address {address}")))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::media::OutputName;

    fn destination(address: SocketAddr, interface: Option<Interface>) -> Destination {
        Destination { address, interface, hops: 1 }
    }

    #[tokio::test]
    async fn a_path_that_cannot_send_says_so_and_costs_the_other_nothing() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let to = receiver.local_addr().expect("bound");
        let none = destination(to, Some(Interface::Name("no-such".into())));
        let plan = Plan { to: vec![none, destination(to, None)], rtp: true, fec: None };
        let queue = Arc::new(Queue::new(1 << 20));
        let (sink, mut events) = mpsc::channel(64);
        let (done, ended) = oneshot::channel();
        let news = News { name: OutputName::new("out").expect("a name"), sink };
        tokio::spawn(run(plan, Arc::clone(&queue), news, done));
        let payload = Bytes::from(vec![0x47; 1316]);
        queue.push(payload.clone());
        let mut buffer = [0; 2000];
        let length = receiver.recv(&mut buffer).await.expect("it arrives");
        assert_eq!((length, &buffer[12..length]), (1328, &payload[..]));
        let failed = loop {
            let (_, event) = events.recv().await.expect("an event");
            if let Event::Failed { reason } = event {
                break reason;
            }
        };
        assert!(failed.starts_with(&to.to_string()), "{failed}");
        queue.close();
        ended.await.expect("it ends");
    }
}
