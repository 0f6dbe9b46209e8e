//! SRT sources: one gateway process a listening port, and one for all calls of ours.
//!
//! In:    the configured sources of type SRT, and where the events of each go.
//! Out:   [`IngestEvent`]s in the order of the connection: `Up`, `Data` and `Link`, `Down`; [`News`] of the gateways.
//! Never: calls libsrt (the gateway does, see [`gateway`]); waits for a slow channel at the cost of another.
//!
//! A gateway that dies or falls silent is started again at the pace of a [`Backoff`]; its sources are `Down` meanwhile.

pub mod admission;
pub(in crate::ingest) mod deliver;
pub mod gateway;
pub mod ipc;
mod outbox;
pub mod stream_id;
mod udp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{Instrument, Span, info, info_span, warn};

use self::deliver::Outlets;
use self::ipc::{Call, Feed, FromGateway, Health, Key, Listen, Setup, ToGateway};
use super::IngestEvent;
use crate::child::{self, Backoff, Child, Receiver, Sender};
use crate::clock;
use crate::config::{Input, Source, SrtListener, SrtMode};
use crate::media::SourceId;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    gateways: Vec<(watch::Receiver<GatewayStatus>, JoinHandle<()>)>,
}

impl Handle {
    /// Every gateway, in no particular order.
    pub fn status(&self) -> Vec<GatewayStatus> {
        self.gateways.iter().map(|(status, _)| status.borrow().clone()).collect()
    }

    /// Closes every connection and ends every gateway. Takes a second at most.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for (_, task) in self.gateways {
            // An error is a panic of ours, which the log has; the child died with its task.
            let _ = task.await;
        }
    }
}

/// Starts what the SRT sources among `sources` need. `sink` is asked once for each; a source without one is left out.
/// `program` is [`child::program`], or the binary a test was built with. Must be called inside a tokio runtime.
pub fn start(
    program: PathBuf,
    listener: &SrtListener,
    sources: &[Source],
    sink: impl Fn(&SourceId) -> Option<Sink>,
) -> (Handle, mpsc::Receiver<News>) {
    let (news, news_out) = mpsc::channel(NEWS_MAX);
    let (stop, _) = watch::channel(false);
    let mut gateways = Vec::new();
    for (door, group) in doors(listener, sources) {
        let (feeds, sinks): (Vec<_>, Vec<_>) =
            group.into_iter().filter_map(|feed| Some((feed.clone(), sink(&feed.id)?))).unzip();
        if feeds.is_empty() {
            continue;
        }
        let name = door.name();
        let span = info_span!("gateway", name = %name);
        let (status, status_out) = watch::channel(GatewayStatus { name: name.clone(), ..GatewayStatus::default() });
        let keeper = Keeper {
            program: program.clone(),
            memory_max: listener.memory_max,
            span: span.clone(),
            outlets: Outlets::new(feeds.iter().map(|feed| feed.id.clone()).zip(sinks)),
            setup: Setup { listen: door.listen(), feeds },
            news: news.clone(),
            status,
            name,
            failure: None,
        };
        gateways.push((status_out, tokio::spawn(keeper.keep(stop.subscribe()).instrument(span))));
    }
    (Handle { stop, gateways }, news_out)
}

/// What a gateway is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Door {
    Shared(SocketAddr),
    Own(SocketAddr),
    Calls,
}

impl Door {
    fn name(self) -> String {
        match self {
            Self::Shared(address) | Self::Own(address) => format!("srt://{address}"),
            Self::Calls => "srt callers".into(),
        }
    }

    fn listen(self) -> Option<Listen> {
        match self {
            Self::Shared(address) => Some(Listen { address, shared: true }),
            Self::Own(address) => Some(Listen { address, shared: false }),
            Self::Calls => None,
        }
    }
}

/// Sources by the gateway they need: a flood on a public port must not touch a private one.
fn doors(listener: &SrtListener, sources: &[Source]) -> BTreeMap<Door, Vec<Feed>> {
    let mut doors: BTreeMap<Door, Vec<Feed>> = BTreeMap::new();
    for source in sources {
        let Input::Srt(input) = &source.input else { continue };
        let (door, call) = match &input.mode {
            SrtMode::Shared => (Door::Shared(listener.listen), None),
            SrtMode::Listener(address) => (Door::Own(*address), None),
            SrtMode::Caller { address, stream_id } => {
                let key_length = input.key_length;
                let call = Call { address: address.clone(), stream_id: stream_id.clone(), key_length };
                (Door::Calls, Some(call))
            }
        };
        doors.entry(door).or_default().push(Feed {
            id: source.id.clone(),
            latency: input.latency,
            passphrase: input.passphrase.as_ref().map(|secret| Key(secret.reveal().to_owned())),
            allow: input.allow.clone(),
            call,
        });
    }
    doors
}

/// Keeps one gateway alive.
struct Keeper {
    name: String,
    program: PathBuf,
    memory_max: u64,
    span: Span,
    setup: Setup,
    outlets: Outlets,
    news: mpsc::Sender<News>,
    status: watch::Sender<GatewayStatus>,
    /// What the gateway said when it gave up.
    failure: Option<String>,
}

/// Why one life of a gateway is over.
enum End {
    Told,
    Died(String),
}

impl Keeper {
    async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        loop {
            backoff.started(clock::now().mono);
            let end = match self.spawn() {
                Ok((child, to, from)) => self.live(child, to, from, &mut stop).await,
                Err(e) => End::Died(format!("cannot be started: {e}")),
            };
            self.status.send_modify(|s| (s.pid, s.listening) = (None, false));
            let reason = match end {
                End::Told => {
                    self.outlets.all_down("shutting down");
                    return;
                }
                End::Died(reason) => reason,
            };
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

    fn spawn(&self) -> std::io::Result<(Child, Sender<ToGateway>, Receiver<FromGateway>)> {
        let (child, to, from) = child::spawn(child::Spec {
            program: self.program.clone(),
            arguments: vec![SUBCOMMAND.into()],
            // Each of malloc's arenas reserves 64 MB of address space, which is what the limit counts.
            environment: vec![("MALLOC_ARENA_MAX", "2".into())],
            memory_max: Some(self.memory_max),
            resident_max: None,
            queue_bytes_max: 1 << 20,
            span: self.span.clone(),
            lines: None,
        })?;
        // A child that is gone already is found out by reading from it.
        let _ = to.send(&ToGateway::Setup(self.setup.clone()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, SrtInput};

    fn source(name: &str, mode: SrtMode) -> Source {
        let id: Vec<_> = name.split('/').collect();
        Source {
            id: SourceId {
                channel: crate::media::ChannelId::new(id[0]).expect("a name"),
                source: crate::media::SourceName::new(id[1]).expect("a name"),
            },
            input: Input::Srt(SrtInput {
                mode,
                latency: Duration::from_millis(200),
                passphrase: Some(Secret::new("correct horse".into())),
                key_length: 16,
                allow: Vec::new(),
            }),
            program: None,
        }
    }

    #[test]
    fn a_gateway_a_port_and_one_for_all_calls() {
        let listen: SocketAddr = "127.0.0.1:9710".parse().expect("an address");
        let own: SocketAddr = "127.0.0.1:9711".parse().expect("an address");
        let call = |address: &str| SrtMode::Caller { address: address.into(), stream_id: None };
        let listener = SrtListener { listen, memory_max: 1 << 30 };
        let sources = [
            source("a/one", SrtMode::Shared),
            source("b/one", SrtMode::Shared),
            source("a/two", SrtMode::Listener(own)),
            source("a/three", call("one.example:1")),
            source("a/four", call("two.example:2")),
        ];
        let plan: Vec<(String, Vec<String>)> = doors(&listener, &sources)
            .into_iter()
            .map(|(door, feeds)| (door.name(), feeds.iter().map(|f| f.id.to_string()).collect()))
            .collect();
        let strings = |names: &[&str]| names.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            plan,
            [
                ("srt://127.0.0.1:9710".into(), strings(&["a/one", "b/one"])),
                ("srt://127.0.0.1:9711".into(), strings(&["a/two"])),
                ("srt callers".into(), strings(&["a/three", "a/four"])),
            ]
        );
        let everything = format!("{:?}", doors(&listener, &sources));
        assert!(!everything.contains("correct horse"), "{everything}");
    }
}
