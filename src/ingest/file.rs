//! A file as a source: a transport stream or an MP4, again and again at its own pace.
//!
//! In:    a path.
//! Out:   [`IngestEvent`]s like those of any transport. Times go on from one pass to the next.
//! Never: holds more of a file in memory than its tables and what is due; trusts what the file says of itself.

mod mp4;
mod ts;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use self::mp4::Clip;
use self::ts::{Endless, Portion};
use super::IngestEvent;
use crate::child::Backoff;
use crate::clock;
use crate::media::SourceId;
use crate::wire::mp4::read::{Header, Movie, Wrong};
use crate::wire::ts::Framer;

/// Bytes read of a transport stream at once.
const PORTION: usize = 64 * 1024;
/// The tables of a film of many hours are below this, bytes.
const TABLES_MAX: u64 = 256 << 20;
/// Of one fragment, bytes.
const FRAGMENT_MAX: u64 = 16 << 20;
/// Whoever is later than this by the clock, because the machine slept or nobody took what was due, goes on from now.
const LATE_MAX: Duration = Duration::from_secs(2);

/// Why a file is not played, or no longer.
#[derive(Debug, thiserror::Error)]
enum Unplayable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Ts(#[from] ts::Unplayable),
    #[error("{0}")]
    Mp4(#[from] mp4::Unplayable),
    #[error("{0}")]
    Tables(#[from] Wrong),
    #[error("it is cut off inside box `{name}`, which begins at byte {at}", name = .0.name.escape_ascii(), at = .1)]
    CutOff(Header, u64),
    #[error("box `{name}` has {bytes} bytes, which is too many", name = .0.name.escape_ascii(), bytes = .1)]
    TooLong(Header, u64),
    #[error("what should be a box at byte {0} is none")]
    NoBox(u64),
    #[error("it has no `moov` box: not closed when it was written?")]
    NoTables,
    /// The channel is gone.
    #[error("nobody listens")]
    Unheard,
}

/// Where a file's events go.
struct Sink<'a> {
    id: &'a SourceId,
    events: &'a mpsc::Sender<(SourceId, IngestEvent)>,
    /// It was said to be up.
    up: AtomicBool,
}

impl Sink<'_> {
    async fn send(&self, event: IngestEvent) -> Result<(), Unplayable> {
        self.events.send((self.id.clone(), event)).await.map_err(|_| Unplayable::Unheard)
    }
}

/// Plays a file until `stop` turns true, or the channel goes away. One that cannot be played is tried again: it may be replaced.
pub async fn run(
    path: PathBuf,
    id: SourceId,
    sink: mpsc::Sender<(SourceId, IngestEvent)>,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::default();
    let mut told = None;
    let sink = Sink { id: &id, events: &sink, up: AtomicBool::new(false) };
    loop {
        backoff.started(clock::now().mono);
        let error = tokio::select! {
            Err(error) = play(&path, &sink) => error,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let reason = format!("{}: {error}", path.display());
        // The same mistake is told once, however often it is tried.
        if sink.up.swap(false, Relaxed) || told.as_ref() != Some(&reason) {
            warn!(source = %id, %reason, "the file is not played");
            if sink.send(IngestEvent::Down { reason: reason.clone() }).await.is_err() {
                return;
            }
            told = Some(reason);
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.ended(clock::now().mono)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

enum Never {}

async fn play(path: &Path, sink: &Sink<'_>) -> Result<Never, Unplayable> {
    let mut file = open(path).await?;
    let mut head = [0; 8];
    let read = read_up_to(&mut file, &mut head).await?;
    file.rewind().await?;
    // ISO/IEC 14496-12 §4.3 (`ftyp` first); QuickTime's files may begin with others.
    if read == 8 && matches!(&head[4..], b"ftyp" | b"styp" | b"moov" | b"mdat" | b"free" | b"wide" | b"skip") {
        let clip = tables(&mut file).await?;
        play_mp4(path, file, clip, sink).await
    } else {
        play_ts(path, file, sink).await
    }
}

async fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for ever.
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    File::open(path).await
}

async fn read_up_to(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read(&mut into[filled..]).await? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

async fn up(path: &Path, sink: &Sink<'_>) -> Result<(), Unplayable> {
    sink.up.store(true, Relaxed);
    sink.send(IngestEvent::Up { peer: path.display().to_string() }).await
}

async fn play_ts(path: &Path, mut file: File, sink: &Sink<'_>) -> Result<Never, Unplayable> {
    let (mut endless, mut pace, mut began) = (Endless::default(), Pace::default(), false);
    let (mut portion, mut due) = (vec![0; PORTION], Vec::new());
    loop {
        let mut framer = Framer::default();
        loop {
            let read = file.read(&mut portion).await?;
            if read == 0 {
                framer.end();
            }
            let mut rest = &portion[..read];
            loop {
                rest = framer.feed(rest);
                while let Some(packet) = framer.next() {
                    endless.packet(packet, &mut due)?;
                }
                if rest.is_empty() {
                    break;
                }
            }
            for Portion { due, data } in due.drain(..) {
                if !std::mem::replace(&mut began, true) {
                    up(path, sink).await?;
                }
                // 27 MHz ticks.
                pace.wait(Duration::from_nanos(due.saturating_mul(1000) / 27)).await;
                sink.send(IngestEvent::Data { arrival: clock::now(), data, rtp: None }).await?;
            }
            if read == 0 {
                break;
            }
        }
        endless.rewind()?;
        file.rewind().await?;
    }
}

async fn play_mp4(path: &Path, mut file: File, mut clip: Clip, sink: &Sink<'_>) -> Result<Never, Unplayable> {
    if clip.more_edits {
        warn!(source = %sink.id, path = %path.display(), "its edit list has more than one edit; it is played from the first one on, to its end");
    }
    up(path, sink).await?;
    let mut pace = Pace::default();
    let mut data = Vec::new();
    let first = clip.samples.first().map_or(0, |due| due.at);
    for pass in 0.. {
        for n in 0..clip.samples.len() {
            let due = clip.samples[n];
            let at = due.at - first + clip.length.saturating_mul(pass);
            pace.wait(Duration::from_nanos(u64::try_from(at).unwrap_or(0).saturating_mul(100_000) / 9)).await;
            data.resize(due.bytes as usize, 0);
            file.seek(SeekFrom::Start(due.offset)).await?;
            file.read_exact(&mut data).await?;
            let items = clip.unit(due, pass, &data);
            if !items.is_empty() {
                sink.send(IngestEvent::Media { arrival: clock::now(), items }).await?;
            }
        }
    }
    unreachable!("passes are counted with 64 bits, and each takes time")
}

/// Finds a file's tables among its boxes and reads them.
async fn tables(file: &mut File) -> Result<Clip, Unplayable> {
    let end = file.metadata().await?.len();
    let (mut at, mut movie) = (0, None::<Movie>);
    while at < end {
        file.seek(SeekFrom::Start(at)).await?;
        let mut head = [0; Header::BYTES_MAX];
        let read = read_up_to(file, &mut head).await?;
        let header = Header::parse(&head[..read]).ok_or(Unplayable::NoBox(at))?;
        let total = header.total.unwrap_or(end - at);
        let is_table = matches!(&header.name, b"moov" | b"moof");
        if is_table && total > end - at {
            return Err(Unplayable::CutOff(header, at));
        }
        let mut content = async |most: u64| -> Result<Bytes, Unplayable> {
            let bytes = total - header.header;
            if bytes > most {
                return Err(Unplayable::TooLong(header, bytes));
            }
            let mut content = vec![0; bytes as usize];
            file.seek(SeekFrom::Start(at + header.header)).await?;
            file.read_exact(&mut content).await?;
            Ok(content.into())
        };
        match (&header.name, &mut movie) {
            (b"moov", None) => {
                let moov = content(TABLES_MAX).await?;
                // Tables of a long film take milliseconds to read; others wait for this thread meanwhile.
                let parsed = tokio::task::spawn_blocking(move || Movie::parse(&moov)).await;
                movie = Some(parsed.map_err(io::Error::other)??);
            }
            (b"moof", Some(movie)) => movie.fragment(at, &content(FRAGMENT_MAX).await?)?,
            _ => {}
        }
        at = at.saturating_add(total);
    }
    let movie = movie.ok_or(Unplayable::NoTables)?;
    let clip = tokio::task::spawn_blocking(move || Clip::new(movie, end)).await;
    Ok(clip.map_err(io::Error::other)??)
}

/// Keeps a file's time beside the clock's.
#[derive(Debug, Default)]
struct Pace {
    /// When what is due at 0 went out.
    zero: Option<Instant>,
}

impl Pace {
    /// Waits until what is due at `due` may go out.
    async fn wait(&mut self, due: Duration) {
        let now = clock::now().mono;
        let began = now.checked_sub(due).unwrap_or(now);
        let zero = *self.zero.get_or_insert(began);
        let at = zero + due;
        if now.saturating_duration_since(at) > LATE_MAX {
            self.zero = Some(began);
            return;
        }
        tokio::time::sleep_until(at.into()).await;
    }
}
