//! Connections of our own publisher: one long POST a rendition and destination, HTTP/1.1 with chunks (RFC 9112 §7.1).
//!
//! In:    pieces of a stream.
//! Out:   bytes; figures.
//! Never: holds the encoder up: what a destination does not take in time is left out, by whole segments.
//!
//! Written by hand on a socket: a request that lasts for days, whose answer may come at any time and ends it, is fewer lines so than with a
//! client made for requests that end.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::publish::{Backlog, Piece};
use crate::config::Secret;
use crate::media::SegmentNumber;

/// Pieces that may wait for a connection's task, which takes them whatever its connection does.
pub const PIECES: usize = 512;
/// How long a connection may take (DASH-IF Live Media Ingest §4: 1 to 6 s).
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A peer that takes nothing for so long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// How long the answer to a stream that has ended may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Between attempts, at first and, where the peer itself says no, at most. A destination is given as many attempts as its segments last.
const WAIT: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// At most where nobody answers.
const WAIT_UNHEARD: Duration = Duration::from_millis(400);
/// Bytes that are gathered before they are written.
const BUFFER: usize = 64 << 10;
/// Of an answer so much is read.
const ANSWER_MAX: usize = 4096;

/// Where a rendition goes.
#[derive(Clone, Debug)]
pub struct Destination {
    host: String,
    port: u16,
    path: String,
    key: Option<Secret>,
}

/// Why an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write http://host:port/ingest/{{channel}}/{{pipeline}}")]
pub struct DestinationError;

impl Destination {
    /// `base` is the address of a publishing point; the rendition's name is put behind it. The key, if any, goes in a field of its own and
    /// must not stand in the address.
    ///
    /// # Errors
    /// It is no `http` address with a host.
    pub fn new(base: &str, rendition: &str, key: Option<Secret>) -> Result<Self, DestinationError> {
        let uri: Uri = base.parse().map_err(|_| DestinationError)?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or(DestinationError)?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || uri.query().is_some() {
            return Err(DestinationError);
        }
        let path = format!("{}/{rendition}", uri.path().trim_end_matches('/'));
        Ok(Self { host: host.to_owned(), port: uri.port_u16().unwrap_or(80), path, key })
    }

    fn head(&self) -> String {
        let Self { host, port, path, key } = self;
        let key = key.as_ref().map(|key| format!("authorization: Bearer {}\r\n", key.reveal())).unwrap_or_default();
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\nuser-agent: tandem\r\ncontent-type: video/mp4\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n{key}\r\n"
        )
    }
}

/// What a connection's task counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineFigures {
    /// It is connected, and nothing was refused.
    pub connected: bool,
    /// Bytes written.
    pub bytes: u64,
    /// Connections that came about.
    pub connections: u64,
    /// Segments that were given up before they were sent whole.
    pub lost: u64,
    /// Why the last connection ended, for people.
    pub ended: Option<String>,
}

/// Gives pieces to a connection's task without ever waiting for it.
#[derive(Debug)]
pub struct Line {
    pieces: mpsc::Sender<Piece>,
    /// A piece of this segment found no room: the rest of it is left out.
    spoiled: Option<SegmentNumber>,
    spoiled_total: u64,
}

impl Line {
    /// In front of the task that has the other end.
    pub fn new(pieces: mpsc::Sender<Piece>) -> Self {
        Self { pieces, spoiled: None, spoiled_total: 0 }
    }

    /// Gives a piece.
    pub fn give(&mut self, piece: Piece) {
        let segment = match &piece {
            Piece::Media { segment, .. } => Some(*segment),
            Piece::Header(_) => None,
        };
        if segment.is_some() && segment == self.spoiled {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = self.pieces.try_send(piece) {
            self.spoiled = segment;
            self.spoiled_total += 1;
        }
    }

    /// Segments that found no room in the queue; none, unless the host is overloaded.
    pub fn spoiled(&self) -> u64 {
        self.spoiled_total
    }
}

/// The way to a peer.
type Into = BufWriter<OwnedWriteHalf>;

/// Why a connection ended.
struct Ended {
    why: String,
    /// The peer said so itself, and will say it again.
    answered: bool,
}

fn broke(why: impl ToString) -> Ended {
    Ended { why: why.to_string(), answered: false }
}

/// Sends a stream until nobody gives pieces any more; then ends it as it should.
pub async fn run(to: Destination, mut pieces: mpsc::Receiver<Piece>, figures: watch::Sender<LineFigures>) {
    let (mut backlog, mut wait) = (Backlog::default(), WAIT);
    loop {
        let ended = attempt(&to, &mut pieces, &mut backlog, &figures).await;
        let Err(Ended { why, answered }) = ended else { return };
        let was_connected = figures.borrow().connected;
        figures.send_modify(|it| (it.connected, it.ended, it.lost) = (false, Some(why), backlog.lost()));
        wait = match (was_connected, answered) {
            (_, true) => (wait * 2).min(WAIT_MAX),
            (true, false) => WAIT,
            // Soon after it is back it wants to know where its sources lie.
            (false, false) => (wait * 2).min(WAIT_UNHEARD),
        };
        // Pieces are taken meanwhile, so that whoever gives them never waits.
        let pause = sleep(wait);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                piece = pieces.recv() => match piece {
                    Some(piece) => backlog.push(piece),
                    None => return,
                },
                () = &mut pause => break,
            }
        }
    }
}

/// One connection. `Ok`: the stream has ended.
async fn attempt(
    to: &Destination,
    pieces: &mut mpsc::Receiver<Piece>,
    backlog: &mut Backlog,
    figures: &watch::Sender<LineFigures>,
) -> Result<(), Ended> {
    let connecting = timeout(CONNECT_WITHIN, TcpStream::connect((to.host.trim_matches(['[', ']']), to.port)));
    let stream = connecting.await.map_err(|_| broke("no connection in time"))?.map_err(broke)?;
    let _ = stream.set_nodelay(true);
    let (mut from, into) = stream.into_split();
    // A chunk's many small pieces leave together.
    let mut into = BufWriter::with_capacity(BUFFER, into);
    write(&mut into, &[Bytes::from(to.head())]).await?;
    figures.send_modify(|it| it.connections += 1);
    backlog.connected();
    let mut answer = Vec::new();
    let stalled = sleep(WRITE_WITHIN);
    tokio::pin!(stalled);
    loop {
        let has_next = backlog.has_next();
        if !has_next {
            stalled.set(sleep(WRITE_WITHIN));
        }
        tokio::select! {
            // An answer before the end of the stream says that it goes nowhere.
            read = read(&mut from, &mut answer) => return Err(told(read, &answer)),
            piece = pieces.recv() => match piece {
                Some(piece) => backlog.push(piece),
                None => break,
            },
            ready = into.get_ref().writable(), if has_next => {
                ready.map_err(broke)?;
                // Not inside of the choice, which would break it off in the middle of a chunk.
                send(&mut into, backlog, figures).await?;
                stalled.set(sleep(WRITE_WITHIN));
            }
            () = &mut stalled, if has_next => return Err(broke("the peer takes nothing")),
        }
    }
    while backlog.has_next() {
        send(&mut into, backlog, figures).await?;
    }
    write(&mut into, &[Bytes::from_static(b"0\r\n\r\n")]).await?;
    let _ = timeout(ANSWER_WITHIN, async { while read(&mut from, &mut answer).await.is_ok_and(|n| n > 0) {} }).await;
    Ok(())
}

/// Writes what is next as one chunk.
async fn send(into: &mut Into, backlog: &mut Backlog, figures: &watch::Sender<LineFigures>) -> Result<(), Ended> {
    // A chunk of no bytes would be the last one.
    let data = backlog.take().unwrap_or_default();
    let bytes = data.iter().map(|data| data.len() as u64).sum::<u64>();
    if bytes == 0 {
        return Ok(());
    }
    let mut chunk = vec![Bytes::from(format!("{bytes:x}\r\n"))];
    chunk.extend(data);
    chunk.push(Bytes::from_static(b"\r\n"));
    write(into, &chunk).await?;
    figures.send_modify(|it| (it.connected, it.bytes, it.lost) = (true, it.bytes + bytes, backlog.lost()));
    Ok(())
}

async fn write(into: &mut Into, parts: &[Bytes]) -> Result<(), Ended> {
    let all = async {
        for part in parts {
            into.write_all(part).await?;
        }
        into.flush().await
    };
    timeout(WRITE_WITHIN, all).await.map_err(|_| broke("the peer takes nothing"))?.map_err(broke)
}

/// Reads on until the first line of an answer and its text are there, or the peer closes.
async fn read(from: &mut OwnedReadHalf, answer: &mut Vec<u8>) -> io::Result<usize> {
    let mut portion = [0; 1024];
    let got = from.read(&mut portion).await?;
    answer.extend_from_slice(&portion[..got.min(ANSWER_MAX.saturating_sub(answer.len()))]);
    Ok(got)
}

/// What an answer says, for people: its status and the first line of its text.
fn told(read: io::Result<usize>, answer: &[u8]) -> Ended {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.lines().next());
    let said = text.split_once("\r\n\r\n").and_then(|(_, body)| body.lines().next()).unwrap_or_default();
    match (status, read) {
        (Some(status), _) => Ended { why: format!("answered {status} {said}").trim_end().to_owned(), answered: true },
        (None, Err(error)) => broke(error),
        (None, Ok(_)) => broke("the peer closed the connection"),
    }
}
