//! Our own publisher against our own port, over loopback: what a pipeline made here is packaged there to the same bytes.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::super::client::{self, Destination, Line, LineFigures, PIECES};
use super::super::desk::Word;
use super::super::publish::{Piece, Publisher};
use super::super::server::{self, Opening};
use super::*;
use crate::clock;
use crate::config::{Secret, Serve};
use crate::encode::ipc::Filled;
use crate::media::{ChannelId, PipelineId};
use crate::package::{self, PackageEvent, Packager, Verdict};

fn packaging(config: &Config) -> package::Config {
    package::Config {
        channel: ChannelId::new("news").expect("a name"),
        grid: config.grid,
        part: Duration::from_millis(400),
        serve: Serve { hls: true, dash: true, ..Serve::default() },
        profiles: Vec::new(),
        window: Duration::from_secs(60),
        pipelines: PipelineId::BOTH.to_vec(),
        video: config.video.clone(),
        audio: config.audio.clone(),
        language: "und".to_owned(),
        time_uri: "/time".to_owned(),
        deterministic: true,
        disk: false,
        save: false,
    }
}

/// What an encode process would send around now: ffmpeg's pictures and sound, put on the channel's grid.
fn made(config: &Config, now: Now) -> Option<Vec<Output>> {
    let (sent, sound) = (picture(10, GOP, FORMS[1])?, tone(10, "", "cmaf")?);
    let bodies =
        [Body { track: "v180", bytes: &sent, seconds: 0.1 }, Body { track: "a1", bytes: &sound, seconds: 0.1 }];
    let mut out = send(&mut Point::new(config.clone()), now, 50, &bodies).expect("it fits");
    for output in &mut out {
        if let Output::SegmentEnd(end) = output {
            end.filled = Filled { repeated: 2, ..Filled::default() };
        }
    }
    // What goes on without its first frames is none of an encode process.
    out.retain(|output| !matches!(output, Output::Notice(_)));
    Some(out)
}

fn deliver(packager: &mut Packager, from: PipelineId, output: Output) {
    match output {
        Output::Coded(unit) => packager.coded(clock::now(), from, unit),
        Output::SegmentEnd(end) => packager.segment_end(clock::now(), from, end),
        Output::Host(_) | Output::Notice(_) => {}
    }
}

/// A way to a port that breaks off all connections whenever it is told to.
async fn brittle(port: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<Notify>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (address, broken) = (listener.local_addr().expect("bound"), Arc::new(Notify::new()));
    let told = Arc::clone(&broken);
    let task = tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut to = TcpStream::connect(port).await.expect("the port is open");
                tokio::select! {
                    _ = copy_bidirectional(&mut from, &mut to) => {}
                    () = told.notified() => {}
                }
            });
        }
    });
    (address, broken, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_here_is_the_same_bytes_there() {
    let config = config();
    let Some(made) = made(&config, clock::now()) else { return };
    let (words, mut heard) = mpsc::channel(4000);
    let channel = ChannelId::new("news").expect("a name");
    let key = || Some(Secret::new("sesame".to_owned()));
    let opening =
        Opening { channel: channel.clone(), pipeline: PipelineId::B, key: key(), config: config.clone(), words };
    let port = server::start("127.0.0.1:0".parse().expect("an address"), vec![opening]).await.expect("a free port");
    let (way, broken, proxy) = brittle(port.address()).await;

    let packaging = packaging(&config);
    let mut publisher = Publisher::new(&packaging);
    let (mut lines, mut tasks, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for name in publisher.names() {
        let (pieces, taken) = mpsc::channel(PIECES);
        let (counts, counted) = watch::channel(LineFigures::default());
        let to = Destination::new(&format!("http://{way}/ingest/news/b"), name.as_str(), key()).expect("an address");
        tasks.push(tokio::spawn(client::run(to, taken, counts)));
        lines.push(Line::new(pieces));
        figures.push(counted);
    }
    let whole = made.iter().filter(|output| matches!(output, Output::SegmentEnd(_))).count();
    let mut there = Packager::new(packaging, clock::now()).expect("a packager");
    PipelineId::BOTH.into_iter().for_each(|pipeline| there.pipeline(clock::now(), pipeline, true));
    for (n, output) in made.iter().enumerate() {
        deliver(&mut there, PipelineId::A, output.clone());
        let (rendition, pieces) = match output {
            Output::Coded(unit) => (unit.rendition, publisher.coded(unit).expect("it fits")),
            Output::SegmentEnd(end) => (end.rendition, publisher.segment_end(*end).unwrap_or_default()),
            Output::Host(_) | Output::Notice(_) => continue,
        };
        pieces.into_iter().for_each(|piece| lines[usize::from(rendition.0)].give(piece));
        // About real time times five, and a broken way in the middle of it, twice.
        if n % 40 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if n == made.len() / 3 || n == made.len() / 2 {
            broken.notify_waiters();
        }
    }
    drop(lines);
    for task in tasks {
        task.await.expect("no panic");
    }
    port.stop().await;
    let (mut compared, mut ended) = (Vec::new(), 0);
    while let Some(word) = heard.recv().await {
        let Word::Came { outputs, .. } = word else { panic!("{word:?}") };
        for output in outputs {
            if let Output::SegmentEnd(end) = &output {
                ended += 1;
                assert_eq!(end.filled.repeated, 2, "what was made up is told");
            }
            deliver(&mut there, PipelineId::B, output);
            compared.extend(there.poll(clock::now()).into_iter().filter_map(|event| match event {
                PackageEvent::Compared { number, verdict } => Some((number, verdict)),
                PackageEvent::Refused { .. } => panic!("{event:?}"),
                _ => None,
            }));
        }
    }
    assert_eq!(ended, whole, "{:?}", figures.iter().map(|it| it.borrow().clone()).collect::<Vec<_>>());
    assert!(compared.len() >= 4 && compared.iter().all(|(_, verdict)| *verdict == Verdict::Equal), "{compared:?}");
    for counted in figures {
        let figures = counted.borrow();
        assert!(figures.connections >= 3 && figures.lost == 0, "{figures:?}");
    }
    proxy.abort();
}

#[test]
fn addresses_are_checked() {
    for (address, fine) in [
        ("http://host:8082/ingest/news/b", true),
        ("http://host/ingest/news/b/", true),
        ("http://[::1]:8082/ingest/news/b", true),
        ("https://host/ingest/news/b", false),
        ("http://user:key@host/ingest/news/b", false),
        ("host:8082", false),
        ("/ingest/news/b", false),
        ("http://host/ingest?key=x", false),
        ("", false),
    ] {
        assert_eq!(Destination::new(address, "v180", None).is_ok(), fine, "{address}");
    }
}

#[test]
fn an_encoder_that_died_holds_nothing_up() {
    let config = config();
    let Some(made) = made(&config, start()) else { return };
    let first = ends(&made, 0)[0].0;
    for gone in [true, false] {
        let mut publisher = Publisher::new(&packaging(&config));
        let (mut segments, mut told) = (Vec::new(), false);
        for output in &made {
            let pieces = match output {
                // It dies 20 pictures into the second segment; its successor begins with the third.
                Output::Coded(unit) if unit.rendition.0 == 0 => {
                    let of = unit.segment.0 - first;
                    if of == 1 && segments.len() >= 8 {
                        continue;
                    }
                    if of == 2 && gone && !std::mem::replace(&mut told, true) {
                        publisher.encoder_gone();
                    }
                    if of > 2 {
                        break;
                    }
                    publisher.coded(unit).expect("it fits")
                }
                Output::SegmentEnd(end) if end.rendition.0 == 0 && end.segment.0 != first + 1 => {
                    publisher.segment_end(*end).unwrap_or_default()
                }
                _ => continue,
            };
            segments.extend(pieces.into_iter().filter_map(|piece| match piece {
                Piece::Media { segment, .. } => Some(segment.0 - first),
                Piece::Header(_) => None,
            }));
        }
        // Five parts and the word at the end of the first one, two parts of the second.
        assert_eq!(segments[..8], [0, 0, 0, 0, 0, 0, 1, 1], "{gone}");
        assert_eq!(segments.contains(&2), gone, "what nobody declared dead is waited for: {segments:?}");
    }
}
