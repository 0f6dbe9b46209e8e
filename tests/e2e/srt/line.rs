//! A network between an SRT sender and a receiver, with delay and losses by a seed: what this kernel cannot play.
//!
//! Whether a data packet is lost follows from the seed, its place in the stream and how often it was sent before, and from nothing
//! else: two receivers of one stream lose the same packets, and differ by what they do about it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What a line does to datagrams, either way.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// One way.
    pub delay: Duration,
    /// So many of a thousand are lost, by chance.
    pub loss_permille: u64,
    /// Once in the first time nothing passes for the second one.
    pub bursts: Option<(Duration, Duration)>,
    pub seed: u64,
}

/// A line that is up.
#[derive(Debug)]
pub struct Line {
    pub front: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stops: AtomicBool,
    lost: AtomicU64,
    caller: Mutex<Option<SocketAddr>>,
    /// When the first data packet came.
    began: Mutex<Option<Instant>>,
}

impl Line {
    /// From [`Self::front`], where one sender may call, to `to`.
    pub fn start(to: SocketAddr, faults: Faults) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
            socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a buffer");
            socket
        };
        let (front, back) = (socket(), socket());
        back.connect(to).expect("loopback");
        let address = front.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        for (way, from, onto) in [(0, &front, &back), (1, &back, &front)] {
            let (from, onto) = (from.try_clone().expect("a handle"), onto.try_clone().expect("a handle"));
            let (delayed, due) = mpsc::channel::<(Instant, Vec<u8>)>();
            let receiving = Arc::clone(&shared);
            thread::spawn(move || {
                let mut fate = Fate { faults, way, first: None, sent: HashMap::new(), controls: 0 };
                let mut buffer = [0u8; 2048];
                while !receiving.stops.load(Ordering::Relaxed) {
                    // A datagram that the other side refused shows here as an error; the next one may pass.
                    let Ok((length, sender)) = from.recv_from(&mut buffer) else { continue };
                    let now = Instant::now();
                    if way == 0 {
                        *receiving.caller.lock().expect("no panic inside") = Some(sender);
                    }
                    if fate.loses(&buffer[..length], now, &receiving) {
                        receiving.lost.fetch_add(1, Ordering::Relaxed);
                    } else if delayed.send((now + faults.delay, buffer[..length].to_vec())).is_err() {
                        return;
                    }
                }
            });
            let sending = Arc::clone(&shared);
            thread::spawn(move || {
                for (at, datagram) in due {
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    let caller = *sending.caller.lock().expect("no panic inside");
                    // Who is gone gets nothing.
                    let _ = match (way, caller) {
                        (0, _) => onto.send(&datagram),
                        (_, Some(caller)) => onto.send_to(&datagram, caller),
                        (_, None) => continue,
                    };
                }
            });
        }
        Self { front: address, shared }
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Relaxed);
    }
}

/// Decides for one way.
struct Fate {
    faults: Faults,
    way: u64,
    /// Sequence number of the first data packet.
    first: Option<u32>,
    /// How often each was sent.
    sent: HashMap<u32, u64>,
    controls: u64,
}

impl Fate {
    fn loses(&mut self, datagram: &[u8], now: Instant, shared: &Shared) -> bool {
        let Some(&head) = datagram.first_chunk::<4>() else { return false };
        let head = u32::from_be_bytes(head);
        // Data packets begin with a 0 bit; a handshake is the control packet of type 0 (draft-sharabayko-srt-01 §3).
        if head >> 16 == 0x8000 {
            return false;
        }
        let mut began = shared.began.lock().expect("no panic inside");
        let numbers = if head >> 31 == 0 {
            began.get_or_insert(now);
            let place = head.wrapping_sub(*self.first.get_or_insert(head)) & 0x7fff_ffff;
            let times = self.sent.entry(place).or_default();
            *times += 1;
            [0, u64::from(place), *times]
        } else {
            self.controls += 1;
            [1 + self.way, self.controls, 0]
        };
        if let (Some((every, length)), Some(began)) = (self.faults.bursts, *began) {
            let since = Duration::from_nanos(((now - began).as_nanos() % every.as_nanos()) as u64);
            // In the middle of each interval: beginning and end of the stream are whole, as no receiver misses what nothing follows.
            if (every / 2..every / 2 + length).contains(&since) {
                return true;
            }
        }
        numbers.iter().fold(self.faults.seed, |state, number| mix(state ^ number)) % 1000 < self.faults.loss_permille
    }
}

/// splitmix64.
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
