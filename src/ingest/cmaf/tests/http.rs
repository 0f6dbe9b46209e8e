//! ffmpeg and raw connections against the port itself, over loopback.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::desk::Word;
use super::super::server::{self, Opening, Running};
use super::*;
use crate::config::Secret;
use crate::media::{ChannelId, PipelineId};

fn channel() -> ChannelId {
    ChannelId::new("news").expect("a name")
}

async fn open(config: Config, key: Option<&str>) -> (Running, mpsc::Receiver<Word>) {
    let (words, heard) = mpsc::channel(1000);
    let key = key.map(|key| Secret::new(key.to_owned()));
    let opening = Opening { channel: channel(), pipeline: PipelineId::B, key, config, words };
    let listen = "127.0.0.1:0".parse().expect("an address");
    (server::start(listen, vec![opening]).await.expect("a free port"), heard)
}

/// What came until each of `renditions` had `segments` whole ones.
async fn until_whole(heard: &mut mpsc::Receiver<Word>, renditions: u8, segments: usize) -> Vec<Output> {
    let mut out = Vec::new();
    let whole = |out: &[Output], r| ends(out, r).iter().filter(|end| [50, 93, 94].contains(&end.1)).count() >= segments;
    let all = async {
        while !(0..renditions).all(|r| whole(&out, r)) {
            match heard.recv().await.expect("the port is open") {
                Word::Came { outputs, .. } => out.extend(outputs),
                Word::Refused { reason, .. } => panic!("refused: {reason}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("segments come");
    out
}

/// Starts ffmpeg; `None`, said aloud, where there is none. It is killed when the answer is dropped.
fn publisher(args: &str) -> Option<tokio::process::Child> {
    let source = "-nostdin -v error -re -f lavfi -i testsrc2=s=320x180:r=25 -re -f lavfi -i sine=r=48000 -t 30";
    let mut command = tokio::process::Command::new("ffmpeg");
    command.args(source.split_whitespace()).args(args.split_whitespace());
    match command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn() {
        Ok(child) => Some(child),
        Err(_) => {
            eprintln!("skipped: there is no ffmpeg");
            None
        }
    }
}

/// Sends `request` and gives what is answered.
async fn ask(port: &Running, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(port.address()).await.expect("connected");
    stream.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    let all = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(20), all).await.expect("an answer, and the end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(method: &str, path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{fields}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn ffmpeg_publishes_in_each_of_its_ways() {
    let video = format!("-c:v libx264 -preset ultrafast {GOP} -b:v 300k");
    for (name, key, output) in [
        (
            "one long body a track, with a key",
            Some("sesame"),
            "-map 0 VIDEO -movflags cmaf+frag_every_frame -f mp4 -method POST http://any:sesame@ADDRESS/ingest/news/b/v180.cmfv \
             -map 1 -c:a aac -ac 2 -movflags cmaf -frag_duration 200000 -f mp4 -method POST http://any:sesame@ADDRESS/ingest/news/b/a1.cmfa",
        ),
        (
            "DASH, segment by segment",
            None,
            "-map 0 -map 1 VIDEO -c:a aac -ac 2 -f dash -method PUT -seg_duration 2 -use_template 1 -window_size 5 \
             -http_persistent 1 http://ADDRESS/ingest/news/b/manifest.mpd",
        ),
        (
            "HLS, segment by segment",
            None,
            "-map 0 VIDEO -f hls -method PUT -hls_time 2 -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4 \
             http://ADDRESS/ingest/news/b/v180/index.m3u8 \
             -map 1 -c:a aac -ac 2 -f hls -method PUT -hls_time 2 -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4 \
             http://ADDRESS/ingest/news/b/a1/index.m3u8",
        ),
    ] {
        let (port, mut heard) = open(config(), key).await;
        let args = output.replace("VIDEO", &video).replace("ADDRESS", &port.address().to_string());
        let Some(sender) = publisher(&args) else { return };
        let out = until_whole(&mut heard, 2, 2).await;
        let slots = places(&out, 0);
        assert!(slots.len() >= 100, "{name}");
        let figures = port.figures(&channel(), PipelineId::B).expect("the point is there");
        assert_eq!((figures.refused, figures.off_grid, figures.anew), (0, 0, 0), "{name}: {figures:?}");
        drop((sender, heard));
        port.stop().await;
    }
}

#[tokio::test]
async fn requests_are_answered_by_the_rules() {
    let (port, mut heard) = open(config(), Some("sesame")).await;
    let key = "authorization: Bearer sesame\r\n";
    let path = "/ingest/news/b/v180/1.m4s";
    let typed = format!("{key}content-type: text/plain\r\n");
    for (name, request, want) in [
        ("no key", request("POST", path, "", b""), "401 "),
        ("a wrong key", request("POST", path, "authorization: Bearer x\r\n", b""), "403 "),
        ("an unknown point", request("POST", "/ingest/news/a/v180", key, b""), "404 "),
        ("an unknown channel", request("POST", "/ingest/olds/b/v180", key, b""), "404 "),
        ("somewhere else", request("POST", "/live/news", key, b""), "404 "),
        ("a strange type", request("POST", path, &typed, b"x"), "415 "),
        ("another method", request("GET", path, key, b""), "405 "),
        ("nothing at all: whether we are there", request("POST", path, key, b""), "200 "),
        ("a playlist", request("PUT", "/ingest/news/b/v180/x.m3u8", key, b"#EXTM3U\n"), "200 "),
        ("tidying up", request("DELETE", path, key, b""), "200 "),
        ("media before a header", request("PUT", path, key, b"\0\0\0\x0cmoof1234"), "412 "),
        ("no CMAF", request("PUT", path, key, &[0xff; 300]), "400 "),
        ("cut off", request("PUT", path, key, b"\0\0\0\x20free"), "400 "),
    ] {
        let answer = ask(&port, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {want}")), "{name}: {answer}");
        assert!(!answer.contains("sesame"), "{name}");
    }
    for want in ["no CMAF header has come", "there should be a box", "cut off"] {
        let word = heard.recv().await.expect("the port is open");
        assert!(
            matches!(&word, Word::Refused { track, reason, .. } if track == "v180" && reason.contains(want)),
            "{word:?}"
        );
    }
    port.stop().await;
}

#[tokio::test]
async fn a_long_body_that_does_not_fit_is_told_at_once() {
    let Some(sent) = picture_of("s=640x360:r=25", 1, GOP, FORMS[0]) else { return };
    let (port, _heard) = open(config(), None).await;
    // It never ends, and is answered all the same.
    let head = b"POST /ingest/news/b/v180 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let begin = [&head[..], format!("{:x}\r\n", 4000).as_bytes(), &sent[..4000], b"\r\n"].concat();
    let answer = ask(&port, &begin).await;
    assert!(answer.starts_with("HTTP/1.1 412 ") && answer.contains("640x360"), "{answer}");
    port.stop().await;
}
