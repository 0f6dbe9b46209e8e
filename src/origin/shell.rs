//! Connections: accept, serve HTTP/1.1 or cleartext HTTP/2, watch over slow peers, drain.
//!
//! In:    a listening socket and a service that maps a request to an answer.
//! Out:   bytes to peers; counts.
//! Never: starts a timer for a request. One sweep a second looks at every connection of its listener instead, which
//!        measured 6 to 15 % more requests a second than hyper's own timer.
//!
//! What a peer can hold is bounded: the number of connections, the size of a request head, the time a head may take,
//! the time an answer may lie unread, the time a connection may idle.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::counters::{Closed, Shard};

/// The largest request head, bytes; more is answered with 431. Also what hyper reads at a time.
pub const HEAD_MAX: usize = 8192;

/// HTTP/2 streams open at once on one connection.
const STREAMS_MAX: u32 = 128;

/// What a peer may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of one listener at once; one more is closed at once.
    pub connections: usize,
    /// From the first byte of a request (or from the start of the connection) to the end of its head.
    pub head: Duration,
    /// A peer that leaves data waiting must take at least [`Limits::read_rate`] over this time.
    pub read: Duration,
    /// Bytes a second. No rendition is this slow: a peer below it cannot be a player.
    pub read_rate: u64,
    /// Between requests. Longer than CDNs keep connections to an origin, so that they are the ones who close.
    pub idle: Duration,
    /// How often connections are looked at.
    pub sweep: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head: Duration::from_secs(10),
            read: Duration::from_secs(30),
            read_rate: 1000,
            idle: Duration::from_secs(75),
            sweep: Duration::from_secs(1),
        }
    }
}

/// Serves every connection of `listener` until `stop` is true (or its sender gone); then takes no more of them, lets
/// requests in flight finish for at most `drain`, and returns.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    limits: Limits,
    counters: Arc<Shard>,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Not `pipeline_flush`: with it hyper 1.12 closes without sending its own 400 and 431 when more bytes follow.
    builder.http1().header_read_timeout(None).max_buf_size(HEAD_MAX);
    builder.http2().max_concurrent_streams(STREAMS_MAX).max_header_list_size(HEAD_MAX as u32);

    let tick = Arc::new(AtomicU32::new(0));
    let mut connections: Vec<Arc<Connection>> = Vec::new();
    let mut sweep = tokio::time::interval(limits.sweep);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);

    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of file descriptors, or the peer has gone already. Waiting a sweep lets others end.
                        tracing::warn!(%error, "accept");
                        if !peer_is_gone(&error) {
                            sweep.tick().await;
                        }
                        continue;
                    }
                };
                if connections.len() >= limits.connections {
                    connections.retain(|connection| !connection.done.load(Relaxed));
                }
                if connections.len() >= limits.connections {
                    counters.closed(Closed::Full);
                    continue;
                }
                // Answers are written whole; waiting for more would only delay the last packet.
                let _ = stream.set_nodelay(true);
                counters.accepted();
                let connection = Arc::new(Connection::new(&tick, &counters));
                connections.push(Arc::clone(&connection));
                tokio::spawn(run(stream, connection, builder.clone(), service.clone()));
            }
            _ = sweep.tick() => {
                tick.fetch_add(1, Relaxed);
                connections.retain(|connection| !connection.done.load(Relaxed));
                for connection in &connections {
                    connection.judge(&limits);
                }
            }
            () = stopped(&mut stop) => break,
        }
    }

    drop(listener);
    for connection in &connections {
        connection.end(End::WhenServed);
    }
    let all_done = async {
        loop {
            connections.retain(|connection| !connection.done.load(Relaxed));
            if connections.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(drain, all_done).await.is_err() {
        for connection in &connections {
            connection.end(End::Now);
        }
    }
}

/// Waits until `stop` is true or its sender gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn peer_is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// One connection's task.
async fn run<S, B>(stream: TcpStream, connection: Arc<Connection>, builder: auto::Builder<TokioExecutor>, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Set when this task ends in any way, a panic of the service included.
    let _done = Done(Arc::clone(&connection));
    let io = TokioIo::new(Watched { stream, connection: Arc::clone(&connection) });
    let service = Counted { service, connection: Arc::clone(&connection) };
    let mut served = pin!(builder.serve_connection(io, service));
    loop {
        tokio::select! {
            // An error here is the peer's: a broken head, a reset. hyper has answered it where it could.
            _ = served.as_mut() => return,
            () = connection.wake.notified() => match connection.asked() {
                Some(End::Now) => return,
                Some(End::WhenServed) => served.as_mut().graceful_shutdown(),
                None => {}
            },
        }
    }
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Requests in flight are answered first.
    WhenServed = 1,
    /// At once.
    Now = 2,
}

/// What is known about one connection. Its task writes, the sweep reads; times are sweeps since the listener began.
#[derive(Debug)]
struct Connection {
    /// Sweeps so far, shared by all connections of the listener.
    tick: Arc<AtomicU32>,
    counters: Arc<Shard>,
    /// Its task has ended.
    done: AtomicBool,
    /// 0, or an [`End`].
    end: AtomicU32,
    wake: Notify,
    /// It speaks HTTP/2, where bytes between requests are normal.
    http2: AtomicBool,
    /// Requests the service has not answered yet; a held one is none of the peer's fault.
    serving: AtomicU32,
    /// A byte of the next request is here: the sweep it came at, plus one; 0 for none.
    head_since: AtomicU32,
    /// The last sweep at which something was sent or a request was answered.
    active: AtomicU32,
    /// Data waits for the peer: the sweep the present span of waiting is measured from, plus one; 0 for none.
    blocked_since: AtomicU32,
    /// Bytes the peer took in that span.
    taken: AtomicU64,
}

impl Connection {
    fn new(tick: &Arc<AtomicU32>, counters: &Arc<Shard>) -> Self {
        let now = tick.load(Relaxed);
        Self {
            tick: Arc::clone(tick),
            counters: Arc::clone(counters),
            done: AtomicBool::new(false),
            end: AtomicU32::new(0),
            wake: Notify::new(),
            http2: AtomicBool::new(false),
            serving: AtomicU32::new(0),
            // A peer that connects and says nothing is treated as one that began a request.
            head_since: AtomicU32::new(now + 1),
            active: AtomicU32::new(now),
            blocked_since: AtomicU32::new(0),
            taken: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u32 {
        self.tick.load(Relaxed)
    }

    fn end(&self, how: End) {
        self.end.store(how as u32, Relaxed);
        self.wake.notify_one();
    }

    fn asked(&self) -> Option<End> {
        match self.end.load(Relaxed) {
            0 => None,
            1 => Some(End::WhenServed),
            _ => Some(End::Now),
        }
    }

    fn received(&self) {
        if self.head_since.load(Relaxed) == 0 {
            self.head_since.store(self.now() + 1, Relaxed);
        }
    }

    fn request_began(&self, version: Version) {
        self.head_since.store(0, Relaxed);
        self.serving.fetch_add(1, Relaxed);
        if version == Version::HTTP_2 {
            self.http2.store(true, Relaxed);
        }
    }

    fn request_answered(&self) {
        self.serving.fetch_sub(1, Relaxed);
        self.active.store(self.now(), Relaxed);
    }

    fn wrote(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.counters.sent(bytes);
        self.active.store(self.now(), Relaxed);
        self.taken.fetch_add(bytes, Relaxed);
    }

    /// The socket takes no more. The span goes on until everything is written, however little passes in between.
    fn blocked(&self) {
        if self.blocked_since.load(Relaxed) == 0 {
            self.taken.store(0, Relaxed);
            self.blocked_since.store(self.now() + 1, Relaxed);
        }
    }

    fn unblocked(&self) {
        self.blocked_since.store(0, Relaxed);
    }

    /// Ends the connection if its peer holds it for no good reason.
    fn judge(&self, limits: &Limits) {
        if self.asked().is_some_and(|end| end == End::Now) {
            return;
        }
        let now = self.now();
        let sweeps = |time: Duration| time.div_duration_f64(limits.sweep).ceil() as u32;
        let since = |mark: u32| now.saturating_sub(mark.saturating_sub(1));

        let blocked = self.blocked_since.load(Relaxed);
        if blocked != 0 {
            if since(blocked) >= sweeps(limits.read) {
                if self.taken.swap(0, Relaxed) < limits.read_rate * limits.read.as_secs().max(1) {
                    self.counters.closed(Closed::SlowReader);
                    self.end(End::Now);
                } else {
                    self.blocked_since.store(now + 1, Relaxed);
                }
            }
            return;
        }
        if self.serving.load(Relaxed) > 0 {
            return;
        }
        let head = self.head_since.load(Relaxed);
        if head != 0 && !self.http2.load(Relaxed) && since(head) > sweeps(limits.head) {
            self.counters.closed(Closed::SlowHead);
            self.end(End::Now);
        } else if now.saturating_sub(self.active.load(Relaxed)) > sweeps(limits.idle) {
            // Asked once to finish and still here a whole idle time later: it will not.
            self.counters.closed(Closed::Idle);
            self.active.store(now, Relaxed);
            self.end(if self.asked().is_some() { End::Now } else { End::WhenServed });
        }
    }
}

struct Done(Arc<Connection>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.done.store(true, Relaxed);
        self.0.counters.ended();
    }
}

/// The service, with a note of each request's begin and end.
struct Counted<S> {
    service: S,
    connection: Arc<Connection>,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Counted<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Serving<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.connection.request_began(request.version());
        let answered = Answered(Arc::clone(&self.connection));
        Serving { answer: self.service.call(request), answered }
    }
}

pin_project! {
    /// A service's answer in the making.
    struct Serving<F> {
        #[pin]
        answer: F,
        answered: Answered,
    }
}

impl<F: Future> Future for Serving<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().answer.poll(context)
    }
}

/// Notes the end of a request, however it comes.
struct Answered(Arc<Connection>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.request_answered();
    }
}

/// The socket, with a note of what passes.
struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Watched {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.connection.blocked(),
            Poll::Ready(Ok(bytes)) => self.connection.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if into.filled().len() > before {
            self.connection.received();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called only when everything has been written: a peer that makes us wait is not flushed to in between.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.unblocked();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
