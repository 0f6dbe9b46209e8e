//! The gateway process: libsrt on one side, the main process on the other, and nothing of value in between.
//!
//! In:    one [`Setup`], then publishers, readers and answers to our calls; bytes for readers.
//! Out:   [`FromGateway`]: bytes with their arrival time, connection news, figures; bytes to readers.
//! Never: looks into the bytes; waits for the main process or for a reader; grows beyond its bounds.
//!
//! One thread does all that is not libsrt's own: it waits for sockets, reads each until nothing is due, hands on what it
//! got, and sleeps for `READ_EVERY`, so that its cost does not grow with the packet rate. Two more threads write to
//! and read from the main process; the one that reads hands media to the readers at once. Who gets in is decided by [`admission`](super::admission) in libsrt's receiving thread.

mod calls;
mod connection;
mod door;
mod memory;
mod readers;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, stderr};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, sleep};
use std::time::Duration;

use tracing::{error, warn};

use self::calls::{Calls, For};
use self::connection::{Connection, State};
use self::door::{Door, Guest};
pub use self::memory::CONNECTION as CONNECTION_MEMORY;
use self::readers::Readers;
use super::admission::Arrived;
use super::ipc::{Exit, Feed, FromGateway, HEALTH_EVERY, Health, Setup, ToGateway};
use super::outbox::Outbox;
use super::udp;
use crate::child;
use crate::child::frame::{self, FrameError};
use crate::clock::{self, Now};
use crate::output::exits::OutputIndex;
use crate::srt::epoll::Epoll;
use crate::srt::socket::Socket;
use crate::srt::{self, SocketId};

/// Pause between two rounds of reading: the most that is added to the time of arrival, and what a message covers. Wake-ups are half of what
/// one stream costs, here and in the main process: 1.05 to 1.18 of srt-live-transmit at 4 ms, 0.75 at 8 (scripts/bench/srt-loss.sh).
const READ_EVERY: Duration = Duration::from_millis(8);
/// How long a round waits for a socket when nothing comes: bounds how late time-outs are noticed.
const IDLE_WAIT: Duration = Duration::from_millis(20);
/// How often the figures of each connection are told.
const FIGURES_EVERY: Duration = Duration::from_secs(1);
/// Silence after which a peer counts as gone and its place is free. libsrt's own default is 5 s.
const PEER_IDLE: Duration = Duration::from_secs(2);
/// Outputs that come and go between two rounds; the main process waits with more.
const ORDERS_MAX: usize = 256;
/// How long an orderly end may take once the main process is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// Stack of libsrt's threads, one a publisher. It never needs a tenth of this, and the limit of memory counts what is reserved.
const STACK_BYTES: usize = 1 << 20;

/// Rate the windows and buffers are made for, bits a second. A contribution feed has 5 to 50 Mbit/s.
const RATE_MAX: u64 = 60_000_000;
/// A window in packets that carries [`RATE_MAX`] over a round trip of half a second on top of the latency.
fn window_packets(latency: Duration) -> u32 {
    let held = latency + Duration::from_millis(500);
    let packets = RATE_MAX * held.as_millis() as u64 / 1000 / (8 * 1316);
    // Not below what a burst needs; not above libsrt's own default, as lists of this length are allocated a connection.
    packets.clamp(4096, 25_600) as u32
}

/// Runs the gateway until the main process tells it to stop or is gone.
pub fn run() -> ExitCode {
    // The main process reads our stderr and adds the time. It may have set a subscriber of its own already.
    let _ = tracing_subscriber::fmt().with_writer(stderr).with_ansi(false).without_time().with_target(false).try_init();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            error!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// Why a gateway cannot go on.
#[derive(Debug, thiserror::Error)]
enum GatewayError {
    #[error("no setup from the main process")]
    NoSetup,
    #[error("the main process: {0}")]
    Talk(#[from] FrameError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{what}: {source}")]
    Srt { what: String, source: srt::Error },
}

fn serve() -> Result<(), GatewayError> {
    child::end_with_parent(ORPHAN_GRACE)?;
    srt::threads::set_stack(STACK_BYTES)?;
    let mut from_main = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut to_main = from_main.try_clone()?;
    let Some(ToGateway::Setup(setup)) = frame::read_message(&mut from_main)? else {
        return Err(GatewayError::NoSetup);
    };
    let outbox = Arc::new(Outbox::new(setup.feeds.len()));
    let stop = Arc::new(AtomicBool::new(false));

    let (told, readers) = (stop.clone(), Readers::default());
    let (orders, ordered) = mpsc::sync_channel(ORDERS_MAX);
    let reached = readers.clone();
    thread::Builder::new().name("from-main".into()).spawn(move || {
        let mut from_main = io::BufReader::with_capacity(256 << 10, from_main);
        while let Ok(Some(message)) = frame::read_message::<ToGateway>(&mut from_main) {
            match message {
                ToGateway::Media { output, data } => reached.send(output, data),
                ToGateway::Add(exit) => drop(orders.send(Order::Add(exit))),
                ToGateway::Remove(output) => drop(orders.send(Order::Remove(output))),
                // A second setup makes no sense.
                ToGateway::Stop | ToGateway::Setup(_) => break,
            }
        }
        told.store(true, Ordering::Release);
    })?;
    let messages = outbox.clone();
    let writer = thread::Builder::new().name("to-main".into()).spawn(move || {
        while let Some(message) = messages.take() {
            if frame::write_message(&mut to_main, &message).is_err() {
                // Nobody is left to do this for.
                process::exit(0);
            }
        }
    })?;

    let served = Gateway::open(setup, outbox.clone(), readers, ordered).and_then(|mut gateway| gateway.serve(&stop));
    if let Err(e) = &served {
        outbox.put(FromGateway::Failed { reason: e.to_string() });
    }
    outbox.close();
    // A panic in the writer has been printed; there is nothing to add.
    let _ = writer.join();
    served
}

/// Outputs come and go.
enum Order {
    Add(Exit),
    Remove(OutputIndex),
}

struct Gateway {
    feeds: Vec<Feed>,
    outbox: Arc<Outbox>,
    epoll: Epoll,
    door: Option<Door>,
    calls: Calls,
    connections: HashMap<SocketId, Connection>,
    readers: Readers,
    orders: mpsc::Receiver<Order>,
}

impl Gateway {
    fn open(
        setup: Setup,
        outbox: Arc<Outbox>,
        readers: Readers,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Self, GatewayError> {
        let epoll = Epoll::new().map_err(|source| GatewayError::Srt { what: "libsrt".into(), source })?;
        let door = setup.listen.map(|listen| {
            Door::open(listen, &setup.feeds, &epoll, outbox.clone())
                .map_err(|source| GatewayError::Srt { what: format!("cannot listen on {}", listen.address), source })
        });
        if let Some(warning) = udp::buffer_warning() {
            warn!("{warning}");
        }
        let calls = Calls::new(&setup.feeds);
        let (door, connections) = (door.transpose()?, HashMap::new());
        let mut gateway = Self { door, calls, feeds: setup.feeds, outbox, epoll, connections, readers, orders };
        setup.exits.into_iter().for_each(|exit| gateway.order(Order::Add(exit)));
        Ok(gateway)
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Add(exit) => {
                self.calls.add(&exit);
                if let Some(door) = &mut self.door {
                    door.add(exit);
                }
            }
            Order::Remove(output) => {
                self.calls.remove(output);
                let gone = self.readers.remove(output);
                if let Some(door) = &mut self.door {
                    door.remove(output);
                    gone.into_iter().for_each(|socket| door.left(socket));
                }
            }
        }
    }

    fn serve(&mut self, stop: &AtomicBool) -> Result<(), GatewayError> {
        self.outbox.put(FromGateway::Listening);
        let mut next_figures = clock::now();
        let mut next_health = clock::now();
        while !stop.load(Ordering::Acquire) {
            let ready = self.epoll.wait(IDLE_WAIT);
            let ready = ready.map_err(|source| GatewayError::Srt { what: "waiting".into(), source })?;
            let now = clock::now();
            for event in ready {
                if self.door.as_ref().is_some_and(|door| door.is(event.socket)) {
                    self.accept(now);
                } else if let Some(connection) = self.connections.get_mut(&event.socket) {
                    connection.read(now, &self.outbox);
                } else if let Some(answered) = self.calls.answered(event.socket, &self.epoll, &self.outbox, now) {
                    self.answered(now, answered);
                }
            }
            while let Ok(order) = self.orders.try_recv() {
                self.order(order);
            }
            self.sweep(now);
            if now.mono >= next_figures.mono {
                next_figures = now.after(FIGURES_EVERY);
                self.connections.values_mut().for_each(|connection| connection.tell_figures(&self.outbox));
                self.readers.tell_figures(&self.outbox);
            }
            if now.mono >= next_health.mono {
                next_health = now.after(HEALTH_EVERY);
                self.outbox.put(FromGateway::Health(self.health()));
            }
            sleep(READ_EVERY);
        }
        Ok(())
    }

    fn answered(&mut self, now: Now, (whose, socket, to): (For, Socket, SocketAddr)) {
        match whose {
            For::Feed(feed) => {
                let connection = Connection::new(feed, Duration::ZERO, socket, to, now, &self.outbox);
                self.connections.insert(connection.id(), connection);
            }
            For::Exit(output) => self.readers.add(output, socket, to, &self.outbox),
        }
    }

    fn accept(&mut self, now: Now) {
        let Some(door) = &mut self.door else { return };
        let Some((guest, socket, peer)) = door.caller() else { return };
        let Arrived { feed, replaces } = match guest {
            Guest::Publisher(arrived) => arrived,
            Guest::Reader(output) => {
                if let Err(e) = self.epoll.watch_end(&socket) {
                    warn!(%peer, "cannot be watched: {e}");
                    door.left(socket.id());
                    return;
                }
                self.readers.add(output, socket, peer, &self.outbox);
                return;
            }
        };
        if let Some(mut old) = replaces.and_then(|old| self.connections.remove(&old)) {
            old.flush(&self.outbox);
            let reason = "silent, and replaced by a newer connection from the same address".into();
            self.outbox.put(FromGateway::Down { feed, reason });
        }
        if let Err(e) = self.epoll.watch_reads(&socket) {
            warn!(%peer, "cannot be watched: {e}");
            door.left(socket.id());
            return;
        }
        let connection = Connection::new(feed, self.feeds[feed.get()].latency, socket, peer, now, &self.outbox);
        self.connections.insert(connection.id(), connection);
    }

    /// What is due because of time, and what has ended.
    fn sweep(&mut self, now: Now) {
        let (outbox, door, calls) = (&self.outbox, &mut self.door, &mut self.calls);
        self.connections.retain(|&socket, connection| {
            connection.flush(outbox);
            let State::Over(reason) = connection.state(now) else { return true };
            outbox.put(FromGateway::Down { feed: connection.feed(), reason });
            calls.left(socket, now);
            if let Some(door) = door {
                door.left(socket);
            }
            false
        });
        for socket in self.readers.sweep(outbox) {
            calls.left(socket, now);
            if let Some(door) = door {
                door.left(socket);
            }
        }
        calls.sweep(&self.epoll, outbox, now);
        if let Some(door) = door {
            door.note_silence(self.connections.iter().map(|(&socket, connection)| (socket, connection.is_silent(now))));
            door.sweep(outbox);
        }
    }

    fn health(&self) -> Health {
        let own = self.door.iter().filter_map(Door::port);
        let called = self.connections.values().filter_map(Connection::local_port);
        let ports: BTreeSet<u16> = own.chain(called).collect();
        let dropped = self.outbox.dropped();
        Health {
            udp_drops: udp::drops(&ports),
            dropped_portions: dropped.portions,
            dropped_bytes: dropped.bytes,
            refused: self.door.as_ref().map_or(0, Door::refused),
            connections: (self.connections.len() + self.readers.count()) as u32,
            rss_bytes: memory::resident().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_with_the_latency_within_bounds() {
        for (latency_ms, want) in [(0, 4096), (200, 4096), (500, 5699), (2000, 14247), (60_000, 25_600)] {
            assert_eq!(window_packets(Duration::from_millis(latency_ms)), want, "{latency_ms} ms");
        }
    }
}
