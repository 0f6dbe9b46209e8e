//! A UDP relay between a publisher and the server that loses datagrams by a seed, both ways: the network this kernel cannot
//! play.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// One publisher's way to the server.
#[derive(Debug)]
pub struct Relay {
    pub port: u16,
    counts: Arc<Counts>,
    stops: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Counts {
    passed: AtomicU64,
    lost: AtomicU64,
}

impl Relay {
    /// Passes datagrams between whoever sends to [`Self::port`] and `to`; loses `percent` of them, each way.
    pub fn start(to: u16, percent: u64, seed: u64) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        back.connect((Ipv4Addr::LOCALHOST, to)).expect("loopback");
        let port = front.local_addr().expect("bound").port();
        let (counts, stops) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        }
        let publisher = Arc::new(std::sync::Mutex::new(None::<SocketAddr>));
        for (direction, from) in [(0, &front), (1, &back)] {
            let (front, back) = (front.try_clone().expect("a handle"), back.try_clone().expect("a handle"));
            let from = from.try_clone().expect("a handle");
            let (counts, stops, publisher) = (Arc::clone(&counts), Arc::clone(&stops), Arc::clone(&publisher));
            let mut dice = Dice(seed.wrapping_mul(2).wrapping_add(direction) | 1);
            std::thread::spawn(move || {
                let mut buffer = [0u8; 2048];
                while !stops.load(Ordering::Relaxed) {
                    // A refused datagram of the other side shows here as an error; the next one may pass.
                    let Ok((length, sender)) = from.recv_from(&mut buffer) else { continue };
                    if direction == 0 {
                        *publisher.lock().expect("no panic inside") = Some(sender);
                    }
                    if dice.next() % 100 < percent {
                        counts.lost.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    counts.passed.fetch_add(1, Ordering::Relaxed);
                    let to = *publisher.lock().expect("no panic inside");
                    let _ = match (direction, to) {
                        (0, _) => back.send(&buffer[..length]),
                        (_, Some(to)) => front.send_to(&buffer[..length], to),
                        (_, None) => continue,
                    };
                }
            });
        }
        Self { port, counts, stops }
    }

    /// Datagrams lost so far, and passed.
    pub fn lost(&self) -> (u64, u64) {
        (self.counts.lost.load(Ordering::Relaxed), self.counts.passed.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
    }
}

/// One of the ports of an RTP stream with FEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Media,
    Columns,
    Rows,
}

/// What the network does to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passes,
    Lost,
    /// The two behind it overtake it.
    Late,
    Twice,
}

/// Sequence number and payload of each media packet, by its place from 0 on.
pub type Sent = BTreeMap<u64, (u16, Vec<u8>)>;

/// A network for RTP, one way: media, and FEC two and four ports above. It knows what was sent.
#[derive(Debug)]
pub struct Lanes {
    media: Arc<Mutex<Sent>>,
    stops: Arc<AtomicBool>,
}

impl Lanes {
    /// From the ports `front` and above to those at `to`; `fate` says of each datagram of a lane, by its number from 0 on.
    pub fn start(front: u16, to: u16, fate: impl Fn(Lane, u64) -> Fate + Send + Clone + 'static) -> Self {
        let (media, stops) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(AtomicBool::new(false)));
        for (lane, behind) in [(Lane::Media, 0), (Lane::Columns, 2), (Lane::Rows, 4)] {
            let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, front + behind)).expect("a free port");
            let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
            back.connect((Ipv4Addr::LOCALHOST, to + behind)).expect("loopback");
            front.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            socket2::SockRef::from(&front).set_recv_buffer_size(4 << 20).expect("a buffer");
            let (media, stops, fate) = (Arc::clone(&media), Arc::clone(&stops), fate.clone());
            std::thread::spawn(move || {
                let (mut buffer, mut index) = ([0u8; 2048], 0);
                let mut late: Option<(u8, Vec<u8>)> = None;
                while !stops.load(Ordering::Relaxed) {
                    let Ok(length) = front.recv(&mut buffer) else { continue };
                    let datagram = &buffer[..length];
                    if lane == Lane::Media {
                        // Senders here write no more than the fixed header.
                        media
                            .lock()
                            .expect("no panic inside")
                            .insert(index, (u16::from_be_bytes([datagram[2], datagram[3]]), datagram[12..].to_vec()));
                    }
                    match fate(lane, index) {
                        Fate::Lost => {}
                        Fate::Late if late.is_none() => late = Some((3, datagram.to_vec())),
                        Fate::Twice => drop((back.send(datagram), back.send(datagram))),
                        Fate::Passes | Fate::Late => drop(back.send(datagram)),
                    }
                    index += 1;
                    if let Some((waits, _)) = &mut late {
                        *waits -= 1;
                    }
                    if let Some((_, datagram)) = late.take_if(|(waits, _)| *waits == 0) {
                        let _ = back.send(&datagram);
                    }
                }
            });
        }
        Self { media, stops }
    }

    /// Sequence numbers and payloads of the media packets that were sent, in their order.
    pub fn media(&self) -> Sent {
        self.media.lock().expect("no panic inside").clone()
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
    }
}

/// xorshift64*: the same losses for the same seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }
}

/// One way of a [`Fork`].
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    /// Port it leads to.
    pub to: u16,
    /// How much later than sent datagrams arrive.
    pub delay: Duration,
}

/// Copies what comes at one port to several, each with faults of its own: the networks between one encoder and its paths. No
/// datagram is lost on all legs, so whatever a viewer misses is the merge's fault.
#[derive(Debug)]
pub struct Fork {
    pub port: u16,
    state: Arc<ForkState>,
}

#[derive(Debug, Default)]
struct ForkState {
    stops: AtomicBool,
    percent: AtomicU64,
    /// Bit per leg that passes nothing.
    cut: AtomicU64,
    sent: AtomicU64,
    lost: AtomicU64,
}

impl Fork {
    pub fn start(legs: &[Leg], seed: u64) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        front.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        socket2::SockRef::from(&front).set_recv_buffer_size(4 << 20).expect("a buffer");
        let (port, state) = (front.local_addr().expect("bound").port(), Arc::new(ForkState::default()));
        let ways: Vec<_> = legs.iter().map(|leg| way(*leg)).collect();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let (mut buffer, mut dice) = ([0u8; 2048], Dice(seed | 1));
            while !shared.stops.load(Ordering::Relaxed) {
                let Ok(length) = front.recv(&mut buffer) else { continue };
                let cut = shared.cut.load(Ordering::Relaxed);
                // While a leg is cut, each other one is the only one.
                let percent = if cut == 0 { shared.percent.load(Ordering::Relaxed) } else { 0 };
                let mut lost: Vec<bool> = ways.iter().map(|_| dice.next() % 100 < percent).collect();
                if lost.iter().all(|lost| *lost) {
                    let spared = dice.next() as usize % lost.len();
                    lost[spared] = false;
                }
                for (at, (way, lost)) in ways.iter().zip(lost).enumerate() {
                    shared.sent.fetch_add(1, Ordering::Relaxed);
                    if lost || cut & (1 << at) != 0 {
                        shared.lost.fetch_add(1, Ordering::Relaxed);
                    } else {
                        let _ = way.send((Instant::now(), buffer[..length].to_vec()));
                    }
                }
            }
        });
        Self { port, state }
    }

    /// From now on each leg loses so many of a hundred, by chance.
    pub fn lose(&self, percent: u64) {
        self.state.percent.store(percent, Ordering::Relaxed);
    }

    /// Nothing passes on this leg, or it does again.
    pub fn cut(&self, leg: usize, cut: bool) {
        let bit = 1 << leg;
        let _ = if cut {
            self.state.cut.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.state.cut.fetch_and(!bit, Ordering::Relaxed)
        };
    }

    /// Datagrams on all legs together, and those lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.state.sent.load(Ordering::Relaxed), self.state.lost.load(Ordering::Relaxed))
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        self.state.stops.store(true, Ordering::Relaxed);
    }
}

/// A leg's delay; ends with its sender.
fn way(leg: Leg) -> mpsc::Sender<(Instant, Vec<u8>)> {
    let (way, datagrams) = mpsc::channel::<(Instant, Vec<u8>)>();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    std::thread::spawn(move || {
        for (sent, datagram) in datagrams {
            std::thread::sleep((sent + leg.delay).saturating_duration_since(Instant::now()));
            let _ = socket.send_to(&datagram, (Ipv4Addr::LOCALHOST, leg.to));
        }
    });
    way
}
