//! SRT sources and outputs: one gateway process a port of ours, and one for all calls from ports of the system's choice.
//!
//! In:    the configured sources of type SRT, and where the events of each go; the list of SRT outputs, and their media.
//! Out:   [`IngestEvent`]s in the order of the connection: `Up`, `Data` and `Link`, `Down`; [`News`] of the gateways; outputs' own
//!        events.
//! Never: calls libsrt (the gateway does, see [`gateway`]); waits for a slow channel at the cost of another.
//!
//! A gateway that dies or falls silent is started again at the pace of a [`Backoff`]; its sources are `Down` meanwhile.

pub mod admission;
pub(in crate::ingest) mod deliver;
mod doors;
mod exits;
pub mod gateway;
pub mod ipc;
mod outbox;
pub mod readership;
pub mod stream_id;
mod udp;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{Instrument, Span, info, info_span, warn};

use self::deliver::Outlets;
use self::doors::{Door, doors};
use self::exits::Exits;
use self::ipc::{Feed, FromGateway, Health, Setup, ToGateway};
use super::IngestEvent;
use crate::child::{self, Backoff, Child, Receiver, Sender};
use crate::clock;
use crate::config::{Source, SrtListener};
use crate::media::SourceId;
use crate::output::exits::{Exits as Wishes, List};

/// Subcommand of the gateway process.
pub const SUBCOMMAND: &str = "srt-gateway";

/// A gateway says something twice a second; one that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// The same for its first word: it has to load and open its ports, perhaps on a busy machine.
const FIRST_WORD_MAX: Duration = Duration::from_secs(15);
/// How long it may take to close its connections when told to stop.
const STOP_MAX: Duration = Duration::from_secs(1);
/// How often what waits for a full channel is tried again, and silence is looked for.
const TICK: Duration = Duration::from_millis(20);
/// Bytes that may wait for a gateway: outputs' media, 0.8 s of 100 outputs of 1.6 Mbit/s.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// News that wait for whoever reads them; more are dropped, the log has them all.
const NEWS_MAX: usize = 256;

/// Where a source's events go. When it is full, media is dropped and counted, news is kept.
pub type Sink = mpsc::Sender<(SourceId, IngestEvent)>;

/// What happens to gateways, beyond what their sources' events tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Its ports are open.
    Listening {
        /// Which gateway.
        gateway: String,
    },
    /// It ended, hung or could not be started; it will be started again.
    Died {
        /// Which gateway.
        gateway: String,
        /// Sources that reach us through it.
        sources: Vec<SourceId>,
        /// How, for people.
        reason: String,
    },
    /// Somebody was turned away who named no source of ours.
    Refused {
        /// Which gateway.
        gateway: String,
        /// Its address.
        peer: String,
        /// Why, for people.
        reason: String,
    },
}

/// One gateway at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GatewayStatus {
    /// `srt://127.0.0.1:9710`, or `srt callers`.
    pub name: String,
    /// Process id while it runs.
    pub pid: Option<u32>,
    /// Its ports are open.
    pub listening: bool,
    /// Starts so far.
    pub starts: u32,
    /// Its own counters.
    pub health: Health,
    /// Portions of media dropped because a channel did not read its events.
    pub undelivered: u64,
}

/// The running gateways.
#[derive(Debug)]
pub struct Handle {
    stop: watch::Sender<bool>,
    gateways: Gateways,
    manager: JoinHandle<()>,
}

/// What is known of every gateway.
#[derive(Clone, Debug, Default)]
pub struct Gateways(Arc<Mutex<Vec<Keeping>>>);

/// One gateway's newest status, and the task that keeps it.
type Keeping = (watch::Receiver<GatewayStatus>, JoinHandle<()>);

impl Gateways {
    /// Every gateway, in no particular order.
    pub fn status(&self) -> Vec<GatewayStatus> {
        self.lock().iter().map(|(status, _)| status.borrow().clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Keeping>> {
        // Nothing is done to it but looking and adding.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Every gateway, in no particular order.
    pub fn status(&self) -> Vec<GatewayStatus> {
        self.gateways.status()
    }

    /// The same for somebody else to ask.
    pub fn gateways(&self) -> Gateways {
        self.gateways.clone()
    }

    /// Closes every connection and ends every gateway. Takes a second at most.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        // Nobody starts another one.
        self.manager.abort();
        let _ = self.manager.await;
        let tasks = std::mem::take(&mut *self.gateways.lock());
        for (_, task) in tasks {
            // An error is a panic of ours, which the log has; the child died with its task.
            let _ = task.await;
        }
    }
}

/// Starts what the SRT sources among `sources` need, and the outputs of `wishes`, now and later. `sink` is asked once for each source;
/// one without is left out. `program` is [`child::program`], or the binary a test was built with. Must be called inside a tokio
/// runtime.
pub fn start(
    program: PathBuf,
    listener: &SrtListener,
    sources: &[Source],
    sink: impl Fn(&SourceId) -> Option<Sink>,
    wishes: &Wishes,
) -> (Handle, mpsc::Receiver<News>) {
    let (news, news_out) = mpsc::channel(NEWS_MAX);
    let (stop, _) = watch::channel(false);
    let mut manager = Manager {
        program,
        shared: listener.listen,
        memory_max: listener.memory_max,
        news,
        wishes: wishes.watch(),
        stop: stop.clone(),
        doors: BTreeSet::new(),
        gateways: Gateways::default(),
    };
    for (door, group) in doors(listener, sources) {
        let (feeds, sinks): (Vec<_>, Vec<_>) =
            group.into_iter().filter_map(|feed| Some((feed.clone(), sink(&feed.id)?))).unzip();
        if !feeds.is_empty() {
            manager.keep(door, feeds, sinks);
        }
    }
    let gateways = manager.gateways.clone();
    let manager = tokio::spawn(manager.run());
    (Handle { stop, gateways, manager }, news_out)
}

/// Starts a keeper for each door that is needed. None ever ends: its gateway does, while there is nothing to do for it.
struct Manager {
    program: PathBuf,
    shared: SocketAddr,
    memory_max: u64,
    news: mpsc::Sender<News>,
    wishes: watch::Receiver<List>,
    stop: watch::Sender<bool>,
    doors: BTreeSet<Door>,
    gateways: Gateways,
}

impl Manager {
    async fn run(mut self) {
        loop {
            let wanted: BTreeSet<Door> =
                self.wishes.borrow_and_update().values().map(|w| Door::of(&w.output.mode, self.shared)).collect();
            for door in wanted {
                if !self.doors.contains(&door) {
                    self.keep(door, Vec::new(), Vec::new());
                }
            }
            if self.wishes.changed().await.is_err() {
                return;
            }
        }
    }

    fn keep(&mut self, door: Door, feeds: Vec<Feed>, sinks: Vec<Sink>) {
        self.doors.insert(door);
        let name = door.name();
        let span = info_span!("gateway", name = %name);
        let (status, status_out) = watch::channel(GatewayStatus { name: name.clone(), ..GatewayStatus::default() });
        let keeper = Keeper {
            program: self.program.clone(),
            memory_max: self.memory_max,
            span: span.clone(),
            outlets: Outlets::new(feeds.iter().map(|feed| feed.id.clone()).zip(sinks)),
            exits: Exits::new(door, !feeds.is_empty()),
            setup: Setup { listen: door.listen(), feeds, exits: Vec::new() },
            wishes: self.wishes.clone(),
            shared: self.shared,
            news: self.news.clone(),
            status,
            name,
            failure: None,
        };
        let task = tokio::spawn(keeper.keep(self.stop.subscribe()).instrument(span));
        self.gateways.lock().push((status_out, task));
    }
}

/// Keeps one gateway alive.
struct Keeper {
    name: String,
    program: PathBuf,
    memory_max: u64,
    span: Span,
    setup: Setup,
    outlets: Outlets,
    exits: Exits,
    wishes: watch::Receiver<List>,
    /// The shared port.
    shared: SocketAddr,
    news: mpsc::Sender<News>,
    status: watch::Sender<GatewayStatus>,
    /// What the gateway said when it gave up.
    failure: Option<String>,
}

/// Why one life of a gateway is over.
enum End {
    Told,
    /// There is nothing to do for it any more.
    Idle,
    Died(String),
}

impl Keeper {
    async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        loop {
            self.want();
            while !self.is_needed() {
                tokio::select! {
                    changed = self.wishes.changed() => if changed.is_err() { return },
                    _ = stop.changed() => return,
                }
                self.want();
            }
            backoff.started(clock::now().mono);
            let end = match self.spawn() {
                Ok((child, to, from)) => self.live(child, to, from, &mut stop).await,
                Err(e) => End::Died(format!("cannot be started: {e}")),
            };
            self.status.send_modify(|s| (s.pid, s.listening) = (None, false));
            let reason = match end {
                End::Told => {
                    self.outlets.all_down("shutting down");
                    self.exits.ended(None);
                    return;
                }
                End::Idle => {
                    self.exits.ended(None);
                    continue;
                }
                End::Died(reason) => reason,
            };
            self.exits.ended(Some(&reason));
            warn!(%reason, "gateway died");
            self.outlets.all_down(&format!("SRT gateway died: {reason}"));
            let sources = self.setup.feeds.iter().map(|feed| feed.id.clone()).collect();
            self.tell(News::Died { gateway: self.name.clone(), sources, reason });
            let delay = sleep(backoff.ended(clock::now().mono));
            tokio::pin!(delay);
            let mut tick = interval(TICK);
            loop {
                tokio::select! {
                    () = &mut delay => break,
                    _ = stop.changed() => return,
                    _ = tick.tick() => self.outlets.retry(),
                }
            }
        }
    }

    fn want(&mut self) {
        let list = self.wishes.borrow_and_update();
        self.exits.want(&list, self.shared);
    }

    fn is_needed(&self) -> bool {
        !self.setup.feeds.is_empty() || !self.exits.is_empty()
    }

    fn spawn(&mut self) -> std::io::Result<(Child, Sender<ToGateway>, Receiver<FromGateway>)> {
        let (child, to, from) = child::spawn(child::Spec {
            program: self.program.clone(),
            arguments: vec![SUBCOMMAND.into()],
            // Each of malloc's arenas reserves 64 MB of address space, which is what the limit counts.
            environment: vec![("MALLOC_ARENA_MAX", "2".into())],
            memory_max: Some(self.memory_max + self.setup.feeds.len() as u64 * gateway::CONNECTION_MEMORY),
            resident_max: None,
            queue_bytes_max: QUEUE_BYTES_MAX,
            span: self.span.clone(),
            lines: None,
        })?;
        // A child that is gone already is found out by reading from it.
        let _ = to.send(&ToGateway::Setup(Setup { exits: self.exits.exits(), ..self.setup.clone() }));
        self.exits.started(&to);
        self.status.send_modify(|s| {
            s.pid = Some(child.pid());
            s.starts += 1;
            s.health = Health::default();
        });
        Ok((child, to, from))
    }

    /// One life of the gateway, from its start to its end.
    async fn live(
        &mut self,
        mut child: Child,
        to: Sender<ToGateway>,
        mut from: Receiver<FromGateway>,
        stop: &mut watch::Receiver<bool>,
    ) -> End {
        let mut heard = clock::now();
        let mut patience = FIRST_WORD_MAX;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = from.next() => match message {
                    Some(Ok(message)) => {
                        (heard, patience) = (clock::now(), SILENCE_MAX);
                        self.take(message);
                    }
                    Some(Err(e)) => {
                        let _ = child.kill().await;
                        return End::Died(e.to_string());
                    }
                    None => {
                        let ended = last_words(&mut child).await;
                        return End::Died(self.failure.take().unwrap_or(ended));
                    }
                },
                _ = stop.changed() => {
                    let _ = to.send(&ToGateway::Stop);
                    let ended = last_words(&mut child).await;
                    info!(%ended, "stopped");
                    return End::Told;
                }
                Ok(()) = self.wishes.changed() => {
                    self.want();
                    if !self.is_needed() {
                        let _ = to.send(&ToGateway::Stop);
                        let ended = last_words(&mut child).await;
                        info!(%ended, "stopped: nothing is left to do for it");
                        return End::Idle;
                    }
                }
                _ = tick.tick() => {
                    self.outlets.retry();
                    if clock::now().since(heard) > patience {
                        let _ = child.kill().await;
                        return End::Died(format!("silent for {} s and killed", patience.as_secs()));
                    }
                }
            }
        }
    }

    fn take(&mut self, message: FromGateway) {
        match message {
            FromGateway::Listening => {
                info!("listening");
                self.exits.listening();
                self.status.send_modify(|s| s.listening = true);
                self.tell(News::Listening { gateway: self.name.clone() });
            }
            FromGateway::Failed { reason } => self.failure = Some(reason),
            FromGateway::Up { feed, peer } => self.outlets.up(feed, peer),
            FromGateway::Data { feed, arrival, data } => self.outlets.data(feed, arrival, data),
            FromGateway::Down { feed, reason } => self.outlets.down(feed, &reason),
            FromGateway::Link { feed, link } => self.outlets.link(feed, link),
            FromGateway::Refused { peer, feed, reason, code } => {
                warn!(%peer, code, "refused: {reason}");
                match feed {
                    Some(feed) => self.outlets.refused(feed, peer, reason),
                    None => self.tell(News::Refused { gateway: self.name.clone(), peer, reason }),
                }
            }
            FromGateway::ReaderUp { output, peer } => self.exits.reader_up(output, peer),
            FromGateway::ReaderDown { output, peer, reason } => self.exits.reader_down(output, peer, reason),
            FromGateway::ReaderRefused { output, peer, reason, code } => {
                warn!(%peer, code, "reader refused: {reason}");
                self.exits.refused(output, peer, reason);
            }
            FromGateway::Readers { output, figures } => self.exits.figures(output, figures),
            FromGateway::Health(health) => {
                let undelivered = self.outlets.undelivered();
                self.status.send_modify(|s| (s.health, s.undelivered) = (health, undelivered));
            }
        }
    }

    fn tell(&self, news: News) {
        let _ = self.news.try_send(news);
    }
}

/// How a child that is about to end does so: by itself within [`STOP_MAX`], or killed.
async fn last_words(child: &mut Child) -> String {
    let ended = match timeout(STOP_MAX, child.wait()).await {
        Ok(ended) => ended,
        Err(_) => child.kill().await,
    };
    ended.map_or_else(|e| format!("of unknown causes: {e}"), |ended| ended.to_string())
}
