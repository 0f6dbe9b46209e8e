//! Builds channels, origin and control from a config, and takes them down again.
//!
//! In:    a checked config; SIGTERM or SIGINT.
//! Out:   a running program; its end in order: publishers are let go, encode processes finish, answers under way are sent.
//! Never: holds media or state of a channel.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, info, info_span, warn};

use crate::channel::{self, Input};
use crate::child::{self, Backoff};
use crate::clock;
use crate::config::{self, Config};
use crate::control::{self, Board};
use crate::ingest;
use crate::ingest::cmaf;
use crate::ingest::rtp::Order;
use crate::ingest::srt::News;
use crate::monitor::EventLog;
use crate::origin::{self, ChannelFeed, Directory, Limits};
use crate::output::exits::Exits;

/// Why the program could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// An address is taken or not ours.
    #[error("{what} cannot listen on {address}")]
    Listen {
        /// Which server.
        what: &'static str,
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system refuses signal handlers, or a runtime.
    #[error("the runtime")]
    Runtime(#[source] std::io::Error),
}

/// Runs until it is told to end. `save` is where every segment of both pipelines is kept, for diagnosis.
pub fn run(config: Config, save: Option<PathBuf>) -> Result<(), RunError> {
    // Channels, ingest and control share two threads; the origin brings its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    runtime.block_on(supervise(config, save))
}

async fn supervise(config: Config, save: Option<PathBuf>) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Runtime)?;
    let (stop, stopped) = watch::channel(false);

    let events = Arc::new(EventLog::default());
    let directory = Arc::new(Directory::default());
    let board = Arc::new(Board::new(Arc::clone(&events)));
    let listen = config.origin.listen;
    // Where everything is relayed there is nothing to serve.
    let origin = if config.channels.iter().any(config::Channel::encodes) {
        let origin = origin::start(listen, config.origin.threads, Arc::clone(&directory), Limits::default());
        Some(origin.map_err(|source| RunError::Listen { what: "the origin", address: listen, source })?)
    } else {
        None
    };
    let served_at = origin.as_ref().map_or(listen, origin::Running::address);
    let address = config.control.listen;
    let shown = control::Config::new(&config, served_at);
    let control = control::start(shown, Arc::clone(&board), origin.as_ref().map(origin::Running::counters))
        .await
        .map_err(|source| RunError::Listen { what: "the control port", address, source })?;

    let exits = Exits::default();
    let shared = Shared { events, directory, board, exits, stopped };
    let channels: Vec<channel::run::Handle> =
        config.channels.iter().map(|c| start_channel(c, &shared, save.clone())).collect();
    let publishing = start_publishing_points(&config, &channels).await?;
    let (gateways, news) = start_ingest(&config, &channels, &shared);
    shared.board.set_gateways(gateways.gateways());
    let stopped = shared.stopped;
    let generators: Vec<JoinHandle<()>> = config.signals.iter().map(|s| start_signal(s, &stopped)).collect();
    let tell = tokio::spawn(tell_channels(news, channels.iter().map(|c| c.inputs.clone()).collect()));

    info!("page      http://{}/", control.address());
    for channel in config.channels.iter().filter(|channel| channel.encodes()) {
        info!("HLS       http://{}/live/{}/index.m3u8", served_at, channel.id);
        info!("DASH      http://{}/live/{}/manifest.mpd", served_at, channel.id);
        if channel.serve.hls_ts {
            info!("HLS-TS    http://{}/live/{}/ts/index.m3u8", served_at, channel.id);
        }
        for profile in &channel.profiles {
            info!("profile   http://{}/live/{}/{}/", served_at, channel.id, profile.id);
        }
    }

    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM: ending in order"),
        _ = interrupt.recv() => info!("SIGINT: ending in order"),
    }
    stop.send_replace(true);
    gateways.stop().await;
    if let Some(publishing) = publishing {
        publishing.stop().await;
    }
    for generator in generators {
        let _ = generator.await;
    }
    for channel in channels {
        if channel.task.await.is_err() {
            warn!("a channel's task had panicked");
        }
    }
    if let Some(origin) = origin {
        origin.stop().await;
    }
    control.stop().await;
    tell.abort();
    info!("ended");
    Ok(())
}

/// What all channels share.
struct Shared {
    events: Arc<EventLog>,
    directory: Arc<Directory>,
    board: Arc<Board>,
    exits: Exits,
    stopped: watch::Receiver<bool>,
}

fn start_channel(config: &config::Channel, shared: &Shared, save: Option<PathBuf>) -> channel::run::Handle {
    let log = Arc::clone(&shared.events);
    let onward = cmaf::Sender::new(config).map(|sender| Box::new(sender) as Box<dyn channel::Onward>);
    let handle = channel::run::start_spread(
        child::program,
        config.clone(),
        shared.exits.clone(),
        save,
        move |event| log.report(event),
        shared.stopped.clone(),
        onward,
    );
    if config.encodes() {
        shared.directory.insert(&config.id, ChannelFeed::live(handle.snapshots.clone()));
    }
    shared.board.insert(&config.id, handle.status.clone());
    shared.board.insert_orders(config.clone(), handle.inputs.clone());
    handle
}

/// Words of a publishing point that may wait for its channel: then its senders wait, down to their TCP.
const WORDS_MAX: usize = 64;

/// The port of CMAF ingest, where a pipeline is made elsewhere; its words go to the channels.
async fn start_publishing_points(
    config: &Config,
    channels: &[channel::run::Handle],
) -> Result<Option<cmaf::server::Running>, RunError> {
    if !config.has_ingest() {
        return Ok(None);
    }
    let mut openings = Vec::new();
    for (channel, handle) in config.channels.iter().zip(channels) {
        for pipeline in channel.pipelines.iter().filter(|pipeline| pipeline.elsewhere) {
            let (words, mut said) = mpsc::channel(WORDS_MAX);
            let (id, inputs) = (pipeline.id, handle.inputs.clone());
            tokio::spawn(async move {
                while let Some(word) = said.recv().await {
                    if inputs.send(cmaf::input(id, word)).await.is_err() {
                        return;
                    }
                }
            });
            openings.push(cmaf::server::Opening {
                channel: channel.id.clone(),
                pipeline: id,
                key: config.ingest.key.clone(),
                config: cmaf::Config {
                    grid: channel.grid,
                    video: channel.ladder.video.clone(),
                    audio: channel.ladder.audio.clone(),
                },
                words,
            });
        }
    }
    let address = config.ingest.listen;
    let running = cmaf::server::start(address, openings).await;
    running.map(Some).map_err(|source| RunError::Listen { what: "CMAF ingest", address, source })
}

fn start_ingest(
    config: &Config,
    channels: &[channel::run::Handle],
    shared: &Shared,
) -> (ingest::srt::Handle, mpsc::Receiver<News>) {
    let stopped = &shared.stopped;
    let sources: Vec<config::Source> = config.channels.iter().flat_map(|c| c.sources.iter().cloned()).collect();
    let sink = |id: &crate::media::SourceId| {
        let at = config.channels.iter().position(|c| c.id == id.channel)?;
        Some(channels[at].media.clone())
    };
    for source in &sources {
        let Some(sink) = sink(&source.id) else { continue };
        let (id, stop, span) = (source.id.clone(), stopped.clone(), info_span!("source", id = %source.id));
        match source.input.clone() {
            config::Input::Test(shape) => {
                tokio::spawn(ingest::test::run(child::program(), id, shape, sink, stop).instrument(span));
            }
            config::Input::Rtp(input) => {
                let channel = config.channels.iter().find(|c| c.id == id.channel);
                let is_path = channel.is_some_and(|channel| channel.merged_by(&id.source).is_some());
                // A merge puts in order what several paths bring; one path alone must not wait for what another one has.
                let order = if is_path { Order::AsTheyCome } else { Order::Restored };
                tokio::spawn(ingest::rtp::run(id, input, order, sink, stop).instrument(span));
            }
            config::Input::Udp(input) => {
                tokio::spawn(ingest::udp::run(id, input, sink, stop).instrument(span));
            }
            config::Input::Rtsp(input) => {
                tokio::spawn(ingest::rtsp::run(input, id, sink, stop).instrument(span));
            }
            config::Input::File(path) => {
                tokio::spawn(ingest::file::run(path, id, sink, stop).instrument(span));
            }
            // Gateways are shared, and started below; what is merged comes by other sources.
            config::Input::Srt(_) | config::Input::Merge(_) => {}
        }
    }
    ingest::srt::start(child::program(), &config.srt, &sources, sink, &shared.exits)
}

/// What happens to gateways concerns every channel that has sources behind them.
async fn tell_channels(mut news: mpsc::Receiver<News>, channels: Vec<mpsc::Sender<Input>>) {
    while let Some(news) = news.recv().await {
        let text = match news {
            News::Died { gateway, reason, .. } => format!("{gateway} died: {reason}; it is started again"),
            News::Listening { .. } | News::Refused { .. } => continue,
        };
        for channel in &channels {
            let _ = channel.send(Input::GatewayDied(text.clone())).await;
        }
    }
}

/// A built-in generator: a publisher like any other, in a process of its own.
fn start_signal(signal: &config::Signal, stopped: &watch::Receiver<bool>) -> JoinHandle<()> {
    let shape = &signal.shape;
    let mut arguments = vec![
        "signal".to_owned(),
        "--until-stdin-closes".to_owned(),
        format!("--size={}x{}", shape.width, shape.height),
        format!("--rate={}", shape.rate),
        format!("--bitrate={}", shape.bitrate),
    ];
    arguments.extend(signal.to.iter().map(|to| format!("--to={to}")));
    let mut stopped = stopped.clone();
    let keep = async move {
        let mut backoff = Backoff::default();
        loop {
            backoff.started(clock::now().mono);
            let mut command = Command::new(child::program());
            command.args(&arguments).stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).process_group(0);
            let ended = async {
                match command.spawn() {
                    Ok(mut child) => {
                        // Closed by the system when this process ends, however it does.
                        let _alive = child.stdin.take();
                        child.wait().await.map_or_else(|e| e.to_string(), |s| s.to_string())
                    }
                    Err(error) => error.to_string(),
                }
            };
            tokio::select! {
                reason = ended => warn!(%reason, "the generator ended; it is started again"),
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.ended(clock::now().mono)) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    };
    tokio::spawn(keep.instrument(info_span!("signal")))
}
