//! The port that encoders publish to: HTTP/1.1 and HTTP/2, POST and PUT (DASH-IF Live Media Ingest 1.2 §4, §5).
//!
//! In:    connections.
//! Out:   [`Order`]s to the tasks of publishing points; answers.
//! Never: keeps a body: each portion goes on before the next one is read. Says what a key is.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::desk::{ORDERS, Order, Word, run};
use super::key::{Verdict, verdict};
use super::path::{Kind, target};
use super::{Config, Figures, Point};
use crate::config::Secret;
use crate::media::{ChannelId, PipelineId};

/// Connections at once; one more is closed. A channel of eight renditions has eight or nine.
const CONNECTIONS: usize = 256;
/// From the start of a connection, or of a request, to the end of its head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// A body that brings nothing for so long has no sender any more. Who sends segments of ten seconds in one long body pauses for ten.
const SILENT_MAX: Duration = Duration::from_secs(30);
/// How much is read at once, and the longest head, bytes.
const READ_MAX: usize = 64 << 10;
/// Playlists and MPDs are read and dropped: so much of them, bytes.
const MANIFEST_MAX: usize = 4 << 20;
/// How long requests in flight may take when the port closes.
const DRAIN: Duration = Duration::from_secs(1);

/// One publishing point, as it is opened.
#[derive(Debug)]
pub struct Opening {
    /// Of which channel.
    pub channel: ChannelId,
    /// Which pipeline.
    pub pipeline: PipelineId,
    /// Who may publish; everybody where not said.
    pub key: Option<Secret>,
    /// What it needs to know.
    pub config: Config,
    /// Where goes what comes out.
    pub words: mpsc::Sender<Word>,
}

/// A publishing point as connections see it.
#[derive(Debug)]
struct Entry {
    key: Option<Secret>,
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Door {
    points: BTreeMap<(ChannelId, PipelineId), Entry>,
    bodies: AtomicU64,
}

/// A running port. Dropped, it closes.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    figures: BTreeMap<(ChannelId, PipelineId), watch::Receiver<Figures>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a point has counted.
    pub fn figures(&self, channel: &ChannelId, pipeline: PipelineId) -> Option<Figures> {
        self.figures.get(&(channel.clone(), pipeline)).map(|figures| *figures.borrow())
    }

    /// Takes no more connections, gives those in flight a moment, and closes.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if ended.is_err() {
                tracing::error!("a task of the ingest port had panicked");
            }
        }
    }
}

/// Binds and serves, on the runtime of the caller.
///
/// # Errors
/// The address cannot be bound.
pub async fn start(listen: SocketAddr, openings: Vec<Opening>) -> io::Result<Running> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let (mut points, mut figures, mut tasks) = (BTreeMap::new(), BTreeMap::new(), JoinSet::new());
    for opening in openings {
        let (orders, taken) = mpsc::channel(ORDERS);
        let (counts, counted) = watch::channel(Figures::default());
        tasks.spawn(run(Point::new(opening.config), taken, opening.words, counts));
        let which = (opening.channel, opening.pipeline);
        figures.insert(which.clone(), counted);
        points.insert(which, Entry { key: opening.key, orders });
    }
    let door = Arc::new(Door { points, bodies: AtomicU64::new(0) });
    tasks.spawn(accept(listener, door, stopped));
    Ok(Running { address, figures, stop, tasks })
}

/// Waits until `stop` is true or its sender gone.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(listener: TcpListener, door: Arc<Door>, stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
                    let (door, stop) = (Arc::clone(&door), stop.clone());
                    connections.spawn(async move {
                        serve(stream, peer, door, stop).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others end meanwhile.
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(stop.clone()) => break,
        }
    }
    drop(listener);
    let _ = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, door: Arc<Door>, stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(READ_MAX);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(16 << 10).max_concurrent_streams(32);
    let service = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(peer, request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopped(stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = timeout(DRAIN, connection).await;
}

/// Told when the point has no task any more.
const TAKEN_DOWN: &str = "the pipeline is being taken down";

/// What a body may be called. Some say nothing, and some something vague.
const TYPES: [&str; 9] = [
    "video/",
    "audio/",
    "application/mp4",
    "application/octet-stream",
    "binary/octet-stream",
    "application/dash+xml",
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "application/mpegurl",
];

impl Door {
    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(target) = target(request.uri().path()) else {
            return text(StatusCode::NOT_FOUND, "publish to /ingest/{channel}/{pipeline}/{rendition}");
        };
        let Some(entry) = self.points.get(&(target.channel, target.pipeline)) else {
            return text(StatusCode::NOT_FOUND, "no such publishing point");
        };
        match verdict(entry.key.as_ref(), request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
            Verdict::Welcome => {}
            Verdict::Asked => {
                let mut answer = text(StatusCode::UNAUTHORIZED, "a key is needed");
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ingest\""));
                return answer;
            }
            Verdict::Refused => return text(StatusCode::FORBIDDEN, "this is not the key"),
        }
        match *request.method() {
            Method::POST | Method::PUT => {}
            // Some tidy up behind them: what is too old goes by itself here.
            Method::DELETE => return text(StatusCode::OK, ""),
            _ => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "POST or PUT");
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, PUT, DELETE"));
                return answer;
            }
        }
        let said = request.headers().get(CONTENT_TYPE).map(|said| said.to_str().unwrap_or("?").to_ascii_lowercase());
        if let Some(said) = said.filter(|said| !TYPES.iter().any(|known| said.starts_with(known))) {
            return text(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                &format!("content type {said}: send video/mp4 or audio/mp4"),
            );
        }
        match target.kind {
            Kind::Manifest => drain(request.into_body()).await,
            Kind::Media => {
                let body = self.bodies.fetch_add(1, Relaxed);
                take(entry, body, target.track, peer, request.into_body()).await
            }
        }
    }
}

/// Hands a body on, portion by portion.
async fn take(
    entry: &Entry,
    body: u64,
    track: String,
    peer: SocketAddr,
    mut incoming: Incoming,
) -> Response<Full<Bytes>> {
    let (refused, mut refusal) = oneshot::channel();
    if entry.orders.send(Order::Begin { body, track, peer, refused }).await.is_err() {
        return text(StatusCode::SERVICE_UNAVAILABLE, TAKEN_DOWN);
    }
    // Whatever becomes of the connection, the task learns of it: this future may be dropped at any wait.
    let mut end = End { body, orders: entry.orders.clone(), told: false };
    let (status, why) = loop {
        tokio::select! {
            biased;
            refusal = &mut refusal => {
                end.told = true;
                return refusal.map_or_else(|_| text(StatusCode::SERVICE_UNAVAILABLE, TAKEN_DOWN), |it| refused_with(&it));
            }
            frame = timeout(SILENT_MAX, incoming.frame()) => match frame {
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if entry.orders.send(Order::Portion { body, data }).await.is_err() {
                        break (StatusCode::SERVICE_UNAVAILABLE, TAKEN_DOWN);
                    }
                }
                Ok(Some(Err(_))) => break (StatusCode::BAD_REQUEST, "the body broke off"),
                Err(_) => break (StatusCode::REQUEST_TIMEOUT, "nothing came for too long"),
                Ok(None) => {
                    let (done, fared) = oneshot::channel();
                    end.told = true;
                    if entry.orders.send(Order::End { body, whole: true, done }).await.is_err() {
                        break (StatusCode::SERVICE_UNAVAILABLE, TAKEN_DOWN);
                    }
                    // Refused by its last portion, it was not there any more.
                    return match fared.await {
                        Ok(Ok(())) => text(StatusCode::OK, ""),
                        Ok(Err(refusal)) => refused_with(&refusal),
                        Err(_) => refusal.await.map_or_else(
                            |_| text(StatusCode::SERVICE_UNAVAILABLE, TAKEN_DOWN),
                            |refusal| refused_with(&refusal),
                        ),
                    };
                }
            },
        }
    };
    text(status, why)
}

/// Tells a task that a body ends, should its connection vanish.
struct End {
    body: u64,
    orders: mpsc::Sender<Order>,
    told: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let (done, _) = oneshot::channel();
        let order = Order::End { body: self.body, whole: false, done };
        if let Err(mpsc::error::TrySendError::Full(order)) = self.orders.try_send(order)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let orders = self.orders.clone();
            runtime.spawn(async move { orders.send(order).await.is_ok() });
        }
    }
}

async fn drain(mut body: Incoming) -> Response<Full<Bytes>> {
    let mut bytes = 0;
    loop {
        match timeout(SILENT_MAX, body.frame()).await {
            Ok(None) => return text(StatusCode::OK, ""),
            Ok(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
            _ => return text(StatusCode::BAD_REQUEST, "the body broke off"),
        }
        if bytes > MANIFEST_MAX {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "this is no manifest");
        }
    }
}

fn refused_with(refusal: &super::Refusal) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(status, &refusal.to_string())
}

fn text(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let body = if why.is_empty() { Bytes::new() } else { Bytes::from(format!("{why}\n")) };
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
