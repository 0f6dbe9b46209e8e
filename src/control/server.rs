//! The control port's routes and its listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::api::{Addresses, Channels, Entry, Events, Gateways, PublishAddress, date};
use super::board::Board;
use super::desk::{Config, Control, Shared};
use super::{assets, host, metrics, outputs, stream};
use crate::clock;
use crate::media::ChannelId;
use crate::origin::{Counters, Limits, shell};

/// Pages that may follow the event stream at once; one more is told to come again.
const FOLLOWERS: usize = 64;

/// How long requests in flight may take when the control port stops.
const DRAIN: Duration = Duration::from_secs(2);

/// A running control port.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends event streams, finishes requests in flight, closes the port.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if self.task.await.is_err() {
            tracing::error!("the control port had panicked");
        }
    }
}

/// Binds and serves, on the runtime of the caller. `origin` is what the origin counts.
///
/// # Errors
/// The address cannot be bound.
pub async fn start(config: Config, board: Arc<Board>, origin: Option<Arc<Counters>>) -> io::Result<Running> {
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let control = Arc::new(Control {
        run: u64::try_from(clock::now().utc.as_millis()).unwrap_or(u64::MAX),
        check_host: address.ip().is_loopback(),
        config,
        board,
        origin,
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
        stop: stopped.clone(),
    });
    let service = TowerToHyperService::new(router(&control));
    let task = tokio::spawn(async move {
        let sums = sum_events(Arc::clone(&control.board), stopped.clone());
        let limits = Limits { connections: 512, ..Limits::default() };
        // Its requests are counted nowhere: an operator's page says nothing about the service.
        let counters = Counters::new(1).shard(0);
        tokio::join!(sums, shell::serve(listener, service, limits, counters, stopped, DRAIN));
    });
    Ok(Running { address, stop, task })
}

/// Writes the event log's sums once a second.
async fn sum_events(board: Arc<Board>, mut stop: watch::Receiver<bool>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = second.tick() => board.events().flush(clock::now().channel_time()),
            () = shell::stopped(&mut stop) => return,
        }
    }
}

fn router(control: &Arc<Control>) -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| assets::file("index.html", &headers)))
        .route("/{file}", get(async |Path(file): Path<String>, headers: HeaderMap| assets::file(&file, &headers)))
        .route("/healthz", get("ok\n"))
        .route("/metrics", get(metrics_text))
        .route("/v1/channels", get(channels))
        .route("/v1/channels/{id}", get(channel))
        .route("/v1/channels/{id}/outputs", post(outputs::add).layer(DefaultBodyLimit::max(outputs::BODY_BYTES_MAX)))
        .route("/v1/channels/{id}/outputs/{output}", delete(outputs::remove))
        .route("/v1/channels/{id}/pipelines/{pipeline}/thumbnail.jpg", get(thumbnail))
        .route("/v1/events", get(events))
        .route("/v1/gateways", get(gateways))
        .route("/v1/origin", get(addresses))
        .route("/v1/stream", get(follow))
        .layer(middleware::from_fn_with_state(Arc::clone(control), guard))
        .with_state(Arc::clone(control))
}

/// Refuses strange names, and adds what every answer carries.
async fn guard(State(control): State<Shared>, request: Request, next: Next) -> Response {
    let Some(name) = name_of(&request) else {
        return (StatusCode::BAD_REQUEST, "which host? (no usable Host field)\n").into_response();
    };
    let strict = control.check_host || !control.config.hosts.is_empty();
    if strict && !host::is_ours(name, &control.config.hosts) {
        return (StatusCode::MISDIRECTED_REQUEST, "this host is not called so\n").into_response();
    }
    let policy = policy(&control.origin_url(name));
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (field, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(field, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// The page runs its own files, plays what the origin serves, and talks to nobody else.
fn policy(origin: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob: {origin}; \
         connect-src 'self' {origin}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The name a request calls us by: `Host`, or the authority of HTTP/2.
fn name_of(request: &Request) -> Option<&str> {
    let authority = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok()?,
        None => request.uri().authority()?.as_str(),
    };
    host::host_of(authority)
}

async fn channels(State(control): State<Shared>) -> Response {
    let statuses = control.board.statuses();
    let channels = statuses.iter().map(Arc::as_ref).collect();
    Json(Channels { at: date(clock::now().channel_time()), channels }).into_response()
}

async fn channel(State(control): State<Shared>, Path(id): Path<String>) -> Response {
    match ChannelId::new(&id).ok().and_then(|id| control.board.status(&id)) {
        Some(status) => Json(status.as_ref()).into_response(),
        None => (StatusCode::NOT_FOUND, "no such channel\n").into_response(),
    }
}

/// The newest picture of a pipeline. Its name is the slot it shows.
async fn thumbnail(
    State(control): State<Shared>,
    Path((id, pipeline)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let status = ChannelId::new(&id).ok().and_then(|id| control.board.status(&id));
    let newest = status.as_ref().and_then(|status| {
        status.pipelines.iter().find(|p| p.id.as_str() == pipeline).and_then(|p| p.thumbnail.clone())
    });
    let Some(newest) = newest else { return (StatusCode::NOT_FOUND, "no picture yet\n").into_response() };
    let etag = format!("\"{}\"", newest.slot);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|tag| tag.as_bytes() == etag.as_bytes());
    // Asked for again each time, but sent only when there is a newer one.
    let fields =
        [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-cache"), (header::ETAG, etag.as_str())];
    if known { (StatusCode::NOT_MODIFIED, fields).into_response() } else { (fields, newest.jpeg).into_response() }
}

async fn events(State(control): State<Shared>) -> Response {
    let events = control.board.events().after(0);
    Json(Events { events: events.iter().map(|logged| Entry::from(logged.as_ref())).collect() }).into_response()
}

async fn gateways(State(control): State<Shared>) -> Response {
    Json(Gateways { gateways: control.board.gateways() }).into_response()
}

async fn addresses(State(control): State<Shared>, request: Request) -> Response {
    // `guard` let the request pass, so it has a name.
    let name = name_of(&request).unwrap_or("localhost");
    let publish = control.config.publish.iter().map(|publish| {
        let base = format!("srt://{}:{}", control.reached_by(publish.listen, name), publish.listen.port());
        let url = if publish.shared { format!("{base}?streamid={}", publish.source) } else { base };
        PublishAddress { channel: publish.source.channel.clone(), source: publish.source.source.clone(), url }
    });
    Json(Addresses { origin: control.origin_url(name), publish: publish.collect() }).into_response()
}

async fn follow(State(control): State<Shared>, headers: HeaderMap) -> Response {
    let Ok(permit) = Arc::clone(&control.followers).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], "too many pages\n").into_response();
    };
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let followed = stream::follow(Arc::clone(&control.board), control.run, after, control.stop.clone(), permit);
    Sse::new(followed).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))).into_response()
}

async fn metrics_text(State(control): State<Shared>) -> Response {
    let statuses = control.board.statuses();
    let (gateways, events) = (control.board.gateways(), control.board.events().counts());
    match metrics::render(&statuses, &gateways, &events, control.origin.as_deref()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
