//! The origin's threads: one single-threaded runtime each, all listening on one port, so that a connection never
//! changes its core (`SO_REUSEPORT`; measured 8 to 18 % above one runtime of as many threads).

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Method, Request, Response, Version};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use super::counters::{Counters, Kind, Shard};
use super::directory::{ChannelFeed, Directory};
use super::respond::{self, Body};
use super::route::{Route, route};
use super::shell::{self, Limits};
use super::waiting;
use crate::clock;
use crate::package::{Cache, Lookup, Making, Snapshot};

/// Connections the kernel holds for us while we are busy.
const BACKLOG: i32 = 4096;

/// A running origin. Dropped without [`Running::stop`], it stops accepting and its threads end by themselves.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Binds `listen` and serves `directory` on `threads` threads (at least one). Port 0 takes a free port.
///
/// # Errors
/// The address cannot be bound, or a thread cannot be started.
pub fn start(listen: SocketAddr, threads: usize, directory: Arc<Directory>, limits: Limits) -> io::Result<Running> {
    let threads = threads.max(1);
    let listeners = bind(listen, threads)?;
    let address = listeners[0].local_addr()?;
    let counters = Arc::new(Counters::new(threads));
    let (stop, stopped) = watch::channel(false);
    let mut running = Running { address, counters: Arc::clone(&counters), stop, threads: Vec::new() };
    for (index, listener) in listeners.into_iter().enumerate() {
        let shard = counters.shard(index);
        let service = Origin { directory: Arc::clone(&directory), shard: Arc::clone(&shard) };
        let stopped = stopped.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        running.threads.push(std::thread::Builder::new().name(format!("origin-{index}")).spawn(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => shell::serve(listener, service, limits, shard, stopped, DRAIN).await,
                    Err(error) => tracing::error!(%error, "an origin thread cannot listen"),
                }
            });
        })?);
    }
    Ok(running)
}

/// How long requests in flight may take when the origin stops. Shorter than the grace service managers give.
const DRAIN: Duration = Duration::from_secs(5);

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Takes no more connections, finishes what is in flight, ends the threads.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().filter_map(|t| t.join().err()).count());
        if joined.await.unwrap_or(1) > 0 {
            tracing::error!("an origin thread had panicked");
        }
    }
}

/// One listening socket a thread.
fn bind(listen: SocketAddr, threads: usize) -> io::Result<Vec<TcpListener>> {
    // Sockets that share a port share it with any other process of this user too. Binding once without sharing finds
    // out whether somebody else is there: two origins that split their requests would be a puzzle.
    let probe = socket(listen, false)?;
    let address = probe.local_addr()?;
    drop(probe);
    (0..threads).map(|_| socket(address, true)).collect()
}

fn socket(listen: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let family = if listen.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &listen)?;
    if shared {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(socket.into())
}

/// The service of one thread.
#[derive(Clone, Debug)]
struct Origin {
    directory: Arc<Directory>,
    shard: Arc<Shard>,
}

impl Service<Request<Incoming>> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        match self.answer(&request) {
            Step::Now(kind, answer) => {
                self.shard.request(kind, answer.status());
                Answer::Now(Some(answer))
            }
            Step::Later(feed, wait) => {
                let shard = Arc::clone(&self.shard);
                Answer::Later(Box::pin(async move {
                    let (kind, answer) = later(&request, feed, wait).await;
                    shard.request(kind, answer.status());
                    answer
                }))
            }
            Step::Make(feed, making) => {
                let shard = Arc::clone(&self.shard);
                Answer::Later(Box::pin(async move {
                    let made = tokio::task::spawn_blocking(move || making.make()).await;
                    let (kind, answer) = served(&request, &feed, made.unwrap_or(Lookup::Gone));
                    shard.request(kind, answer.status());
                    answer
                }))
            }
        }
    }
}

/// What becomes of a request.
enum Step {
    /// This is the answer.
    Now(Kind, Response<Body>),
    /// It comes with one of the channel's next snapshots, within this time.
    Later(ChannelFeed, Duration),
    /// It is made of what lies on disk, which may block.
    Make(ChannelFeed, Making),
}

/// An answer in the making. Most are there at once and cost no memory of their own.
enum Answer {
    Now(Option<Response<Body>>),
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(answer) => Poll::Ready(Ok(answer.take().expect("polled to its end once"))),
            Self::Later(answer) => answer.as_mut().poll(context).map(Ok),
        }
    }
}

/// Waits for what a request asks for, and answers it.
async fn later(request: &Request<Incoming>, feed: ChannelFeed, patience: Duration) -> (Kind, Response<Body>) {
    let (method, headers) = (request.method(), request.headers());
    let (Route::Live { path, .. }, Some(snapshots)) = (route(request.uri().path()), feed.snapshots()) else {
        return (Kind::Other, respond::respond(method, headers, Lookup::Unknown));
    };
    let look = |snapshot: &Snapshot| snapshot.ask(&path, request.uri().query());
    match waiting::wait(snapshots, patience, look).await {
        Some(found) => served(request, &feed, found),
        None => (Kind::Manifest, respond::unavailable(method, "not in time\n")),
    }
}

/// The answer to what was found.
fn served(request: &Request<Incoming>, feed: &ChannelFeed, found: Lookup) -> (Kind, Response<Body>) {
    let (method, headers) = (request.method(), request.headers());
    let kind = match &found {
        Lookup::Found(resource) if resource.cache == Cache::Immutable => Kind::Media,
        Lookup::Found(_) | Lookup::Wait(_) | Lookup::Absent(_) => Kind::Manifest,
        Lookup::NotYet(_) | Lookup::Gone | Lookup::Growing(_) | Lookup::Making(_) => Kind::Media,
        Lookup::Unknown if !feed.publishes() => return (Kind::Manifest, respond::starting(method)),
        Lookup::Unknown | Lookup::Bad(_) => Kind::Other,
    };
    if let (Lookup::Growing(segment), Some(snapshots)) = (&found, feed.snapshots()) {
        let parts = || waiting::grow(snapshots, segment.clone(), GROW_PATIENCE);
        return (kind, respond::growing(method, segment.content_type, parts));
    }
    (kind, respond::respond(method, headers, found))
}

/// How long the next part of a growing segment is waited for: longer than any segment lasts.
const GROW_PATIENCE: Duration = Duration::from_secs(30);

impl Origin {
    fn answer(&self, request: &Request<Incoming>) -> Step {
        let method = request.method();
        if method == Method::OPTIONS {
            return Step::Now(Kind::Other, respond::options());
        }
        if method != Method::GET && method != Method::HEAD {
            return Step::Now(Kind::Other, respond::method_not_allowed(method));
        }
        if !request.body().is_end_stream() {
            // No client of ours sends one, and two servers that disagree where it ends are how requests are smuggled.
            let mut answer = respond::bad_request(method, "a request body means nothing here\n");
            if request.version() < Version::HTTP_2 {
                answer
                    .headers_mut()
                    .insert(hyper::header::CONNECTION, hyper::header::HeaderValue::from_static("close"));
            }
            return Step::Now(Kind::Other, answer);
        }
        let (kind, answer) = match route(request.uri().path()) {
            Route::Live { channel, path } => return self.live(request, &channel, &path),
            Route::Health if self.directory.publishes() => (Kind::Service, respond::text(method, "ok\n")),
            Route::Health => (Kind::Service, respond::unavailable(method, "no channel publishes\n")),
            Route::Time => (Kind::Service, respond::text(method, xs_date_time(clock::now().utc))),
            Route::Unknown => (Kind::Other, respond::respond(method, request.headers(), Lookup::Unknown)),
            Route::Malformed => (Kind::Other, respond::bad_request(method, "malformed path\n")),
        };
        Step::Now(kind, answer)
    }

    fn live(&self, request: &Request<Incoming>, channel: &str, path: &str) -> Step {
        let Some(feed) = self.directory.feed(channel) else {
            return Step::Now(Kind::Other, respond::respond(request.method(), request.headers(), Lookup::Unknown));
        };
        match feed.ask(path, request.uri().query()) {
            Lookup::Wait(patience) => Step::Later(feed, patience),
            Lookup::Making(making) => Step::Make(feed, making),
            found => {
                let (kind, answer) = served(request, &feed, found);
                Step::Now(kind, answer)
            }
        }
    }
}

/// UTC as `xs:dateTime` with milliseconds, for DASH's `urn:mpeg:dash:utc:http-xsdate:2014` (ISO/IEC 23009-1 §5.8.4.11).
fn xs_date_time(since_epoch: Duration) -> String {
    let millis = i128::try_from(since_epoch.as_millis()).unwrap_or(0);
    OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000)
        .ok()
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_reads_as_a_date() {
        assert_eq!(xs_date_time(Duration::from_millis(1_795_269_600_123)), "2026-11-21T14:00:00.123Z");
        assert_eq!(xs_date_time(Duration::from_secs(1_795_269_600)), "2026-11-21T14:00:00Z");
    }

    #[test]
    fn a_port_is_not_shared_with_strangers() {
        let held = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = held[0].local_addr().unwrap();
        assert_eq!(held[1].local_addr().unwrap(), address, "all threads share the port");
        assert_eq!(bind(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
