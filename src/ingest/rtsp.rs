//! RTSP sources: we call a server, and it sends H.264 or HEVC and AAC over RTP, inside the connection or in UDP packets.
//!
//! In:    the configured address, and who we are.
//! Out:   [`IngestEvent`]s like those of any transport, in access units and frames on one clock.
//! Never: repeats a password; believes a server that says nothing for [`SILENCE_MAX`]; lets what a server sends end more than its own source.

mod clocks;

use std::sync::Arc;
use std::time::Duration;

use retina::client::{
    Credentials, Demuxed, InitialTimestampPolicy, PlayOptions, Session, SessionGroup, SessionOptions, SetupOptions,
    Stream, TcpTransportOptions, Transport, UdpTransportOptions,
};
use retina::codec::{CodecItem, FrameFormat};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tracing::{info, warn};

use self::clocks::{Clocks, Stamp};
use super::IngestEvent;
use super::elementary::{Elementary, delimited};
use crate::child::Backoff;
use crate::clock::{self, Now};
use crate::config::RtspInput;
use crate::media::{Codec, HZ_90K, MediaTime, Round, SourceId, Timescale};

/// A server that sends nothing for so long is called anew.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// So long it may take to answer each request.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// What waits for the first sender reports; more is not waited with.
const HELD_MAX: usize = 1024;
/// How long a server may take to take our leave.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Calls a server, again whenever it fails, until `stop` turns true or the channel goes away.
pub async fn run(
    input: RtspInput,
    id: SourceId,
    sink: mpsc::Sender<(SourceId, IngestEvent)>,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::default();
    let sessions = Arc::new(SessionGroup::default());
    let mut told = None;
    loop {
        backoff.started(clock::now().mono);
        let (up, mut is_up) = watch::channel(false);
        // A task of its own: whatever may be wrong with what reads the server's words ends there.
        let mut life = tokio::spawn(live(input.clone(), Arc::clone(&sessions), id.clone(), sink.clone(), up));
        let reason = tokio::select! {
            ended = &mut life => match ended {
                Ok(End::Failed(reason)) => reason,
                Ok(End::Unheard) => return,
                Err(_) => "what it sent could not be read".to_owned(),
            },
            () = stopped(&mut stop) => {
                life.abort();
                let _ = life.await;
                // UDP goes on until the server is told, or its session runs out.
                let _ = timeout(LEAVE_MAX, sessions.await_teardown()).await;
                return;
            }
        };
        // The same failure is told once, however often it is tried.
        if *is_up.borrow_and_update() || told.as_ref() != Some(&reason) {
            warn!(source = %id, %reason, "the RTSP session ended");
            if sink.send((id.clone(), IngestEvent::Down { reason: reason.clone() })).await.is_err() {
                return;
            }
            told = Some(reason);
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.ended(clock::now().mono)) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// How a session ends.
#[derive(Debug)]
enum End {
    Failed(String),
    /// The channel is gone.
    Unheard,
}

/// One session.
async fn live(
    input: RtspInput,
    sessions: Arc<SessionGroup>,
    id: SourceId,
    sink: mpsc::Sender<(SourceId, IngestEvent)>,
    up: watch::Sender<bool>,
) -> End {
    let (mut session, mut tracks) = match call(&input, sessions).await {
        Ok(called) => called,
        Err(reason) => return End::Failed(reason),
    };
    let peer = input.url.clone();
    if sink.send((id.clone(), IngestEvent::Up { peer })).await.is_err() {
        return End::Unheard;
    }
    up.send_replace(true);
    info!(source = %id, tracks = %tracks.words, "the server plays");
    loop {
        let item = match timeout(SILENCE_MAX, session.next()).await {
            Err(_) => return End::Failed(format!("it sent nothing for {} s", SILENCE_MAX.as_secs())),
            Ok(None) => return End::Failed("the server ended the session".to_owned()),
            Ok(Some(Err(error))) => return End::Failed(words(&error)),
            Ok(Some(Ok(item))) => item,
        };
        for event in tracks.item(clock::now(), item) {
            if sink.send((id.clone(), event)).await.is_err() {
                return End::Unheard;
            }
        }
    }
}

/// Asks for everything we can use, and has it played.
async fn call(input: &RtspInput, sessions: Arc<SessionGroup>) -> Result<(Demuxed, Tracks), String> {
    let creds = input
        .user
        .as_ref()
        .map(|(name, password)| Credentials { username: name.clone(), password: password.reveal().to_owned() });
    let options = SessionOptions::default()
        .creds(creds)
        .user_agent(concat!("tandem/", env!("CARGO_PKG_VERSION")).to_owned())
        .session_group(sessions);
    // The address was checked with the config.
    let url = input.url.parse().map_err(|error| format!("its address: {error}"))?;
    let mut session = answer("DESCRIBE", Session::describe(url, options)).await?;
    let transport = if input.udp {
        Transport::Udp(UdpTransportOptions::default())
    } else {
        Transport::Tcp(TcpTransportOptions::default())
    };
    let tracks = Tracks::choose(session.streams())?;
    for (stream, _) in &tracks.chosen {
        let options = SetupOptions::default().transport(transport.clone()).frame_format(FrameFormat::SIMPLE);
        answer("SETUP", session.setup(*stream, options)).await?;
    }
    // Servers that do not say where streams begin are played all the same.
    let options = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
    let session = answer("PLAY", session.play(options)).await?;
    let session = session.demuxed().map_err(|error| words(&error))?;
    Ok((session, tracks))
}

async fn answer<T>(what: &str, asked: impl Future<Output = Result<T, retina::Error>>) -> Result<T, String> {
    match timeout(ANSWER_MAX, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.status_code() == Some(401) => {
            Err(format!("{what}: 401, it wants another user or password"))
        }
        Ok(Err(error)) => Err(format!("{what}: {}", words(&error))),
        Err(_) => Err(format!("{what}: no answer for {} s", ANSWER_MAX.as_secs())),
    }
}

/// The first line of an error; what follows it is for debugging the library.
fn words(error: &retina::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A unit whose time is not settled yet.
#[derive(Debug)]
struct Held {
    arrival: Now,
    track: usize,
    at: Stamp,
    damaged: bool,
    data: Vec<u8>,
}

/// The tracks of a session.
#[derive(Debug)]
struct Tracks {
    /// Stream of the session and format of each track; the first one leads.
    chosen: Vec<(usize, Codec)>,
    words: String,
    clocks: Clocks,
    source: Elementary,
    held: Vec<Held>,
    settled: bool,
}

impl Tracks {
    /// The first stream of pictures and the first of sound that we can use.
    fn choose(streams: &[Stream]) -> Result<Self, String> {
        let codec = |stream: &Stream| match (stream.media(), stream.encoding_name()) {
            ("video", "h264") => Some(Codec::H264),
            ("video", "h265") => Some(Codec::Hevc),
            ("audio", "mpeg4-generic") => Some(Codec::AacAdts),
            _ => None,
        };
        let first = |media: &str| {
            let mut usable = streams.iter().enumerate().filter(|(_, stream)| stream.media() == media);
            usable.find_map(|(n, stream)| Some((n, codec(stream)?)))
        };
        let chosen: Vec<(usize, Codec)> = [first("video"), first("audio")].into_iter().flatten().collect();
        let all = streams.iter().map(|stream| format!("{} {}", stream.media(), stream.encoding_name()));
        let all = all.collect::<Vec<_>>().join(", ");
        if chosen.is_empty() {
            return Err(format!("it offers nothing that can be used ({all}): H.264, HEVC or AAC is needed"));
        }
        Ok(Self {
            clocks: Clocks::new(chosen.len(), 0),
            source: Elementary::new(chosen.iter().map(|(_, codec)| (*codec, None))),
            chosen,
            words: all,
            held: Vec::new(),
            settled: false,
        })
    }

    /// What an item of the session leads to.
    fn item(&mut self, now: Now, item: CodecItem) -> Vec<IngestEvent> {
        let track = |stream: usize| self.chosen.iter().position(|(of, _)| *of == stream);
        let held = match item {
            CodecItem::VideoFrame(frame) => track(frame.stream_id()).map(|track| Held {
                arrival: now,
                track,
                at: stamp(frame.timestamp()),
                damaged: frame.loss() > 0,
                data: delimited(self.chosen[track].1, frame.data()),
            }),
            CodecItem::AudioFrame(frame) => track(frame.stream_id()).map(|track| Held {
                arrival: now,
                track,
                at: stamp(frame.timestamp()),
                damaged: frame.loss() > 0,
                data: frame.data().to_vec(),
            }),
            CodecItem::Rtcp(packets) => {
                let report = packets.pkts().find_map(|packet| packet.as_sender_report().ok().flatten());
                let ntp = report.map(|report| report.ntp_timestamp().0);
                if let (Some(track), Some(ntp), Some(at)) = (track(packets.stream_id()), ntp, packets.rtp_timestamp()) {
                    self.clocks.report(track, ntp, stamp(at));
                }
                None
            }
            _ => None,
        };
        if let Some(held) = held {
            self.clocks.see(held.track, held.at);
            self.held.push(held);
        }
        let waited = self.held.first().map_or(Duration::ZERO, |first| now.since(first.arrival));
        self.settled |= self.clocks.settled(waited);
        if !self.settled {
            // Sound without any picture, for long: it is of no use.
            if self.held.len() == HELD_MAX {
                self.held.remove(0);
            }
            return Vec::new();
        }
        let place = |held: Held| {
            let at = self.clocks.place(held.track, held.at)?;
            let items = self.source.unit(held.track, at, held.damaged, held.data);
            (!items.is_empty()).then_some(IngestEvent::Media { arrival: held.arrival, items })
        };
        self.held.drain(..).filter_map(place).collect()
    }
}

/// A time stamp in ticks of 90 kHz.
fn stamp(at: retina::Timestamp) -> Stamp {
    let rate = at.clock_rate();
    let ticks = |time: i64| {
        let time = Timescale::new(rate.get()).map(|scale| MediaTime::new(time, scale));
        time.and_then(|time| time.rescale(HZ_90K, Round::Nearest)).map_or(0, |time| time.ticks)
    };
    Stamp { start: ticks(at.start().into()), elapsed: ticks(at.timestamp().saturating_sub(at.start().into())) }
}
