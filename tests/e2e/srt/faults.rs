//! Gateways that die or hang, strangers that throw dirt, and a main process that is gone.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tandem::child;
use tandem::ingest::srt::ipc::{Feed, FromGateway, Listen, Setup, ToGateway};
use tandem::ingest::srt::{News, SUBCOMMAND};

use super::ground::{Ground, PATIENCE, Tool, assert_same, id, shared, ts, until};
use super::raw::{extensions, handshake};
use crate::ports::free_udp_address;

fn pid(ground: &Ground) -> Pid {
    let pid = ground.handle.status()[0].pid.expect("it runs");
    Pid::from_raw(pid as i32).expect("a process id")
}

async fn died(ground: &mut Ground) -> (Vec<String>, String) {
    loop {
        if let News::Died { sources, reason, .. } = ground.news.recv().await.expect("news") {
            return (sources.iter().map(ToString::to_string).collect(), reason);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_is_back_and_so_is_its_publisher() {
    let mut ground = Ground::open(&[shared("live/main"), shared("live/backup")]).await;
    // libsrt's tool calls again by itself when its connection breaks.
    let publisher = ground.publish("live/main", ts(1, 7 * 20_000)).await;
    ground.until_received("live/main", 100_000).await;
    kill_process(pid(&ground), Signal::KILL).expect("killed");
    let (sources, reason) = died(&mut ground).await;
    assert_eq!(
        (sources.join(" ").as_str(), reason.as_str()),
        ("live/main live/backup", "killed by signal 9 (SIGKILL)")
    );
    ground
        .until("its source is told", |g| {
            g.seen("live/main").downs == ["SRT gateway died: killed by signal 9 (SIGKILL)"]
        })
        .await;
    assert!(ground.seen("live/backup").downs.is_empty(), "it was never up");
    ground.until("it is back", |g| g.handle.status()[0].listening).await;
    ground.until("the publisher is back", |g| g.seen("live/main").ups.len() == 2).await;
    let before = ground.received("live/main");
    ground.until_received("live/main", before + 100_000).await;
    assert_eq!(ground.handle.status()[0].starts, 2);
    assert_eq!(ground.seen("live/main").out_of_order, 0);
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_in_a_loop_is_back_too() {
    let ground = Ground::open(&[shared("live/main")]).await;
    let script = format!(
        "while :; do ffmpeg -v error -re -f lavfi -i testsrc=size=320x180 -c:v libx264 -preset ultrafast -f mpegts \
         'srt://{}?streamid=live/main&latency=300000' </dev/null; sleep 0.2; done",
        ground.listen
    );
    // Its own session, so that loop and ffmpeg end together.
    let shell = Tool::start("setsid", &["--wait", "sh", "-c", &format!("trap 'kill 0' TERM; {script}")]);
    ground.until_received("live/main", 50_000).await;
    kill_process(pid(&ground), Signal::KILL).expect("killed");
    ground.until("the publisher is back", |g| g.seen("live/main").ups.len() == 2).await;
    let before = ground.received("live/main");
    ground.until_received("live/main", before + 50_000).await;
    drop(shell);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_hangs_is_killed_and_started_again() {
    let mut ground = Ground::open(&[shared("live/main")]).await;
    kill_process(pid(&ground), Signal::STOP).expect("stopped");
    let (_, reason) = died(&mut ground).await;
    assert!(reason.contains("silent"), "{reason}");
    ground.until("it is back", |g| g.handle.status()[0].listening).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let own = taken.local_addr().expect("bound");
    let listener = tandem::config::SrtListener { listen: own, memory_max: 1 << 30 };
    let (sink, _events) = tokio::sync::mpsc::channel(10);
    let program = env!("CARGO_BIN_EXE_tandem").into();
    let (handle, mut news) = tandem::ingest::srt::start(
        program,
        &listener,
        &[shared("live/main")],
        |_| Some(sink.clone()),
        &tandem::output::exits::Exits::default(),
    );
    let Some(News::Died { reason, .. }) = news.recv().await else { panic!("it cannot listen") };
    assert!(reason.contains(&format!("cannot listen on {own}")), "{reason}");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_leaves_in_order_when_told_to() {
    let ground = Ground::open(&[shared("live/main")]).await;
    let publisher = ground.publish("live/main", ts(1, 7 * 20_000)).await;
    ground.until_received("live/main", 100_000).await;
    let (gateway, seen) = (pid(&ground), ground.watch());
    ground.handle.stop().await;
    assert!(test_kill_process(gateway).is_err(), "still there");
    until("its source is told", || seen("live/main").downs == ["shutting down"]).await;
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_does_not_outlive_the_main_process() {
    let spec = child::Spec {
        program: env!("CARGO_BIN_EXE_tandem").into(),
        arguments: vec![SUBCOMMAND.into()],
        environment: Vec::new(),
        memory_max: None,
        resident_max: None,
        queue_bytes_max: 1 << 20,
        span: tracing::Span::none(),
        lines: None,
    };
    let (mut child, to, mut from) = child::spawn::<ToGateway, FromGateway>(spec).expect("started");
    let feed = Feed {
        id: id("live/main"),
        latency: Duration::from_millis(120),
        passphrase: None,
        allow: Vec::new(),
        call: None,
    };
    let listen = Some(Listen { address: free_udp_address(), shared: true });
    to.send(&ToGateway::Setup(Setup { listen, feeds: vec![feed], exits: Vec::new() })).expect("room");
    assert_eq!(from.next().await.expect("a word").expect("ours"), FromGateway::Listening);
    // All the gateway sees of a main process that was killed.
    drop((to, from));
    tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends").expect("its status");
}

#[tokio::test(flavor = "multi_thread")]
async fn dirt_at_the_port_costs_no_packet_and_little_memory() {
    let ground = Ground::open(&[shared("live/main"), shared("live/backup")]).await;
    let sent = ts(9, 7 * 3000);
    let publisher = ground.publish("live/main", sent.clone()).await;
    ground.until_received("live/main", 100_000).await;
    let before = ground.handle.status()[0].health.rss_bytes;
    let to = ground.listen;
    let thrown = tokio::task::spawn_blocking(move || throw(to, Duration::from_secs(6))).await.expect("no panic");
    println!("{thrown} datagrams thrown");
    ground.until_received("live/main", sent.len()).await;
    assert_same(&ground.seen("live/main").data, &sent);
    let status = ground.handle.status();
    let after = status[0].health.rss_bytes;
    println!("resident: {before} before, {after} after; {:?}", status[0]);
    assert_eq!(status[0].starts, 1, "it never died");
    assert!(after < before + (400 << 20), "memory: {before} before, {after} after");
    let link = ground.seen("live/main").link.expect("figures");
    assert_eq!(link.dropped, 0, "{link:?}");
    drop(publisher);
}

/// Throws random datagrams, inductions, and conclusions cut short or spoilt, for so long.
fn throw(to: std::net::SocketAddr, for_so_long: Duration) -> u64 {
    let start = Instant::now();
    let (mut thrown, mut state) = (0, 0x1234_5678_9abc_def1u64);
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    while start.elapsed() < for_so_long {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
        for _ in 0..20 {
            let noise: Vec<u8> = (0..random() % 1400).map(|_| random() as u8).collect();
            thrown += u64::from(socket.send_to(&noise, to).is_ok());
        }
        // As fast as a host with a purpose, but not so that the load alone would starve everybody on this machine.
        std::thread::sleep(Duration::from_millis(2));
        // An honest induction gets a cookie; what follows with it reaches libsrt's parser of conclusions.
        let own = random() as u32 & 0x3fff_ffff;
        socket.send_to(&handshake(4, 2, 1, own, 0, &[]), to).expect("sent");
        let mut answer = [0; 1500];
        let cookie = match socket.recv(&mut answer) {
            Ok(length) if length >= 48 => u32::from_be_bytes(answer[44..48].try_into().expect("4 bytes")),
            _ => 0,
        };
        let name = if random() % 2 == 0 { "live/backup" } else { "live/foreign" };
        let whole = handshake(5, 5, 0xffff_ffff, own, cookie, &extensions(name));
        for _ in 0..10 {
            let mut spoilt = whole.clone();
            let keep = (random() as usize % spoilt.len()).max(16);
            match random() % 3 {
                0 => spoilt.truncate(keep),
                1 => spoilt[keep] ^= random() as u8,
                _ => {
                    // Extension lengths that lie.
                    let at = 64 + 3;
                    if let Some(byte) = spoilt.get_mut(at) {
                        *byte = random() as u8;
                    }
                }
            }
            thrown += u64::from(socket.send_to(&spoilt, to).is_ok());
        }
    }
    thrown
}
