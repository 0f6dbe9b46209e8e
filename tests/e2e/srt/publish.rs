//! What publishers send arrives: all of it, in order, from every kind of publisher, in every mode, with every key.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use bytes::Bytes;
use futures_util::SinkExt;
use sha2::{Digest, Sha256};
use srt_tokio::SrtSocket;
use tandem::config::SrtMode;
use tandem::srt::{Mode, Receiver, Sender, Url};

use super::ground::{Ground, KEY, MESSAGE, PATIENCE, Tool, assert_same, feed, paced, shared, source, ts};
use crate::ports::free_udp_address;

#[tokio::test(flavor = "multi_thread")]
async fn srt_live_transmit_arrives_byte_for_byte_in_both_forms_of_stream_id() {
    let ground = Ground::open(&[shared("live/main"), shared("live/backup")]).await;
    let (one, two) = (ts(1, 7 * 800), ts(2, 7 * 800));
    let _one = ground.publish("live/main", one.clone()).await;
    let keyed = ground.url("#!::r=live/backup,m=publish,u=me", "");
    let _two = ground.transmit("live/backup", &keyed, two.clone()).await;
    ground.until_received("live/main", one.len()).await;
    ground.until_received("live/backup", two.len()).await;
    for (name, sent) in [("live/main", one), ("live/backup", two)] {
        let seen = ground.seen(name);
        assert_eq!(Sha256::digest(&seen.data), Sha256::digest(&sent), "{name}");
        assert_eq!((seen.ups.len(), seen.downs.len(), seen.out_of_order), (1, 0, 0), "{name}");
    }
    ground.until("figures arrive", |g| g.seen("live/main").link.is_some_and(|link| link.packets >= 800)).await;
    let link = ground.seen("live/main").link.expect("just seen");
    assert_eq!((link.latency_ms, link.dropped, link.undecrypted), (300, 0, 0), "{link:?}");
    ground.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_arrives_as_it_muxed() {
    let ground = Ground::open(&[shared("live/main")]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sent.ts");
    // ffmpeg counts latency in microseconds. `tee` muxes the same packets twice, into the link and into the file.
    let link = format!("[f=mpegts]srt\\://{}?streamid=live/main&latency=300000&pkt_size=1316&linger=2", ground.listen);
    let to = format!("{link}|[f=mpegts]{}", file.display());
    let mut ffmpeg = Tool::start(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=320x180:rate=25",
            "-f",
            "lavfi",
            "-i",
            "sine",
            "-t",
            "4",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "aac",
            "-map",
            "0",
            "-map",
            "1",
            "-f",
            "tee",
            &to,
        ],
    );
    assert!(ffmpeg.0.wait().expect("it ends").success(), "{}", ffmpeg.complaint("\0"));
    ground.until("ffmpeg is gone", |g| g.seen("live/main").downs.len() == 1).await;
    let (sent, seen) = (fs::read(&file).expect("written"), ground.seen("live/main"));
    assert!(sent.len() > 100_000, "something was sent");
    assert_same(&seen.data, &sent);
    assert_eq!(seen.downs, ["closed by the other side"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn srt_tokio_arrives_with_and_without_a_key() {
    let ground = Ground::open(&[shared("live/open"), source("live/keyed", SrtMode::Shared, Some(KEY))]).await;
    let sent = ts(3, 7 * 600);
    for (name, key) in [("live/open", None), ("live/keyed", Some(KEY))] {
        let mut builder = SrtSocket::builder().latency(Duration::from_millis(300));
        if let Some(key) = key {
            builder = builder.encryption(16, key);
        }
        let mut socket = builder.call(ground.listen, Some(name)).await.expect("let in");
        for message in sent.chunks(MESSAGE) {
            socket.send((Instant::now(), Bytes::copy_from_slice(message))).await.expect("sent");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        ground.until_received(name, sent.len()).await;
        assert_same(&ground.seen(name).data, &sent);
        socket.close().await.expect("closed");
        ground.until("it left", |g| g.seen(name).downs.len() == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_aes_key_length_arrives() {
    let keyed = |name| source(name, SrtMode::Shared, Some(KEY));
    let names = ["live/a128", "live/a192", "live/a256"];
    let ground = Ground::open(&names.map(keyed)).await;
    let sent = ts(4, 7 * 300);
    let mut tools = Vec::new();
    for (name, length) in names.iter().zip([16, 24, 32]) {
        let url = ground.url(name, &format!("&passphrase={KEY}&pbkeylen={length}"));
        tools.push(ground.transmit(name, &url, sent.clone()).await);
    }
    for name in names {
        ground.until_received(name, sent.len()).await;
        assert_same(&ground.seen(name).data, &sent);
    }
    drop(tools);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_its_own_takes_any_stream_id() {
    let own = free_udp_address();
    let ground = Ground::open(&[source("live/own", SrtMode::Listener(own), None)]).await;
    let sent = ts(5, 7 * 200);
    let publisher =
        ground.transmit("live/own", &format!("srt://{own}?streamid=what/ever!&latency=300"), sent.clone()).await;
    ground.until_received("live/own", sent.len()).await;
    drop(publisher);
    ground.until("it left", |g| g.seen("live/own").downs.len() == 1).await;
    let nameless = ground.transmit("live/own", &format!("srt://{own}?latency=300"), sent.clone()).await;
    ground.until_received("live/own", 2 * sent.len()).await;
    assert_same(&ground.seen("live/own").data, &[sent.clone(), sent].concat());
    drop(nameless);
}

#[tokio::test(flavor = "multi_thread")]
async fn we_call_a_listener_and_call_again_when_it_is_back() {
    let there = free_udp_address();
    let mode = SrtMode::Caller { address: there.to_string(), stream_id: Some("wanted".into()) };
    let ground = Ground::open(&[source("live/called", mode, Some(KEY))]).await;
    ground.until("nobody answers", |g| !g.seen("live/called").refusals.is_empty()).await;
    let url = format!("srt://{there}?mode=listener&latency=300&passphrase={KEY}");
    let sent = ts(6, 7 * 300);
    for round in 1..=2 {
        // A listener that only begins to send when somebody called would do; this one sends from the start.
        let mut tool =
            Tool::start("srt-live-transmit", &["-q", "-ll:fatal", "-buffering:1", "-chunk:1316", "file://con", &url]);
        ground.until("our call is answered", |g| g.seen("live/called").ups.len() == round).await;
        let mut stdin = tool.stdin();
        let stream = sent.clone();
        thread::spawn(move || {
            feed(&mut stdin, &stream);
            thread::sleep(PATIENCE);
        });
        ground.until_received("live/called", round * sent.len()).await;
        drop(tool);
        ground.until("it hung up", |g| g.seen("live/called").downs.len() == round).await;
    }
    assert_same(&ground.seen("live/called").data, &[sent.clone(), sent].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_call_each_other_and_meet_again() {
    let local = |host: &str| UdpSocket::bind((host, 0)).expect("a port").local_addr().expect("bound");
    let names = ["live/four", "live/six"];
    let ends = ["127.0.0.1", "::1"].map(|host| (local(host), local(host)));
    let met = |(name, (ours, theirs)): (&str, (SocketAddr, SocketAddr))| {
        source(name, SrtMode::Rendezvous { listen: ours, address: theirs.to_string() }, Some(KEY))
    };
    let ground = Ground::open(&[met((names[0], ends[0])), met((names[1], ends[1]))]).await;
    let sent = ts(9, 7 * 300);
    for round in 1..=2 {
        let mut tools = Vec::new();
        for (name, (ours, theirs)) in names.iter().zip(ends) {
            let from = format!("mode=rendezvous&adapter={}&port={}", theirs.ip(), theirs.port());
            let url = format!("srt://{ours}?{from}&latency=400&passphrase={KEY}&pbkeylen=32");
            tools.push(ground.transmit(name, &url, sent.clone()).await);
        }
        for name in names {
            ground.until_received(name, round * sent.len()).await;
        }
        drop(tools);
        ground.until("they are gone", |g| names.iter().all(|name| g.seen(name).downs.len() == round)).await;
    }
    for (name, (_, theirs)) in names.iter().zip(ends) {
        let seen = ground.seen(name);
        assert_same(&seen.data, &[sent.clone(), sent.clone()].concat());
        assert_eq!((seen.ups, seen.out_of_order), (vec![theirs.to_string(); 2], 0), "{name}");
        assert_eq!(seen.link.map(|link| (link.latency_ms, link.dropped)), Some((400, 0)), "{name}");
    }
    ground.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greater_latency_holds() {
    let ground = Ground::open(&[shared("live/main"), shared("live/backup")]).await;
    for (name, asked, want) in [("live/main", 120, 300), ("live/backup", 900, 900)] {
        let url = format!("srt://{}?streamid={name}&latency={asked}", ground.listen);
        let tool = ground.transmit(name, &url, ts(7, 7 * 400)).await;
        ground.until("figures arrive", |g| g.seen(name).link.is_some()).await;
        assert_eq!(ground.seen(name).link.expect("just seen").latency_ms, want, "{name}");
        drop(tool);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_sender_and_receiver_speak_to_each_other() {
    let ground = Ground::open(&[shared("live/main")]).await;
    let sent = ts(8, 7 * 400);
    let url = Url::parse(&ground.url("live/main", "")).expect("good");
    let stream = sent.clone();
    tokio::task::spawn_blocking(move || {
        let mut sender = Sender::connect(&url).expect("let in");
        paced(&stream, |message| sender.send(message).expect("sent"));
        assert!(sender.stats().expect("connected").sent > 380);
        sender.finish();
    })
    .await
    .expect("no panic");
    ground.until("it left", |g| g.seen("live/main").downs.len() == 1).await;
    assert_same(&ground.seen("live/main").data, &sent);

    let url = Url::parse(&format!("srt://{}?mode=listener&latency=200", free_udp_address())).expect("good");
    let to = url.clone();
    let stream = sent.clone();
    let receiving = tokio::task::spawn_blocking(move || {
        let mut receiver = Receiver::open(&url, Duration::from_secs(30)).expect("a caller");
        let (mut buffer, mut got) = (Vec::new(), Vec::new());
        while let Some(message) = receiver.receive(&mut buffer).expect("in time") {
            got.extend_from_slice(message);
        }
        got
    });
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let mut sender = loop {
            match Sender::connect(&Url { mode: Mode::Caller, ..to.clone() }) {
                Ok(sender) => break sender,
                Err(e) => assert!(start.elapsed() < PATIENCE, "{e}"),
            }
        };
        paced(&stream, |message| sender.send(message).expect("sent"));
        sender.finish();
    })
    .await
    .expect("no panic");
    assert_same(&receiving.await.expect("no panic"), &sent);
}

#[test]
fn the_statistics_structure_is_the_installed_headers() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("size");
    let code = r#"
        #include <stddef.h>
        #include <stdio.h>
        #include <srt/srt.h>
        int main(void) {
            printf("%zu %zu %zu %zu %zu", sizeof(SRT_TRACEBSTATS), offsetof(SRT_TRACEBSTATS, pktRcvUndecryptTotal),
                   offsetof(SRT_TRACEBSTATS, pktRcvRetrans), offsetof(SRT_TRACEBSTATS, msRTT),
                   offsetof(SRT_TRACEBSTATS, msRcvTsbPdDelay));
        }
    "#;
    let source = folder.path().join("size.c");
    fs::write(&source, code).expect("written");
    let compiled = Command::new("cc").arg(&source).arg("-o").arg(&program).output();
    if !compiled.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: no C compiler or no libsrt header: {compiled:?}");
        return;
    }
    let printed = Command::new(&program).output().expect("it runs").stdout;
    let ours = tandem::srt::STATS_LAYOUT.map(|n| n.to_string()).join(" ");
    assert_eq!(String::from_utf8(printed).expect("digits"), ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_publishers_share_a_port() {
    let names: Vec<String> = (0..100).map(|n| format!("c{n}/s")).collect();
    let sources: Vec<_> = names.iter().map(|name| shared(name)).collect();
    let ground = Ground::open(&sources).await;
    let urls: Vec<Url> = names.iter().map(|name| Url::parse(&ground.url(name, "")).expect("an address")).collect();
    let connect = move || urls.iter().map(|url| Sender::connect(url).expect("let in")).collect::<Vec<_>>();
    let mut senders = tokio::task::spawn_blocking(connect).await.expect("no panic");
    for (n, sender) in senders.iter_mut().enumerate() {
        sender.send(&ts(n as u64, 7)).expect("sent");
    }
    for (n, name) in names.iter().enumerate() {
        ground.until_received(name, MESSAGE).await;
        assert_same(&ground.seen(name).data, &ts(n as u64, 7));
    }
    ground.until("the port says so", |g| g.handle.status()[0].health.connections == 100).await;
    assert_eq!(ground.handle.status()[0].starts, 1, "{:?}", ground.handle.status());
}
