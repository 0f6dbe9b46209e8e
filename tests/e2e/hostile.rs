//! Bytes nobody should send, into the SRT port: over a good connection, and from strangers. Nothing else is disturbed.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Options, Process, Publisher, Publishers, Server, inspect_all, need};
use crate::outputs::{collect, push};
use crate::ports::free_udp;
use crate::rtp::assert_same;
use crate::srt::ground::ts;
use crate::srt::raw::{Noise, Raw, malformed_control, malformed_data};

/// A publisher whose bytes we write ourselves.
fn raw_publisher(server: &Server, source: &str) -> Child {
    need("srt-live-transmit");
    Command::new("srt-live-transmit")
        .args(["-q", "file://con", &server.srt_url(source)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("srt-live-transmit runs")
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib * 1024
}

#[test]
fn noise_from_a_publisher_and_from_strangers_disturbs_nobody() {
    let server = Server::start(&Options { sources_a: vec!["s1", "s2"], sources_b: vec![], ..Options::default() });
    let _publishers = Publishers::start(&server, &["s1"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    let looks = inspect_all(&server, 40);
    std::thread::sleep(Duration::from_secs(5));
    let before = resident_bytes(server.pid());

    let mut publisher = raw_publisher(&server, "s2");
    let mut pipe = publisher.stdin.take().expect("a pipe");
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let mut noise = Noise(0x5eed_0003);
    let began = Instant::now();
    let mut packet = [0u8; 1316];
    let mut sent = 0u64;
    // 25 s of about 4 Mbit/s: truly random bytes, then random TS packets, then packets cut short.
    while began.elapsed() < Duration::from_secs(25) {
        noise.fill(&mut packet);
        if began.elapsed() > Duration::from_secs(8) {
            packet.chunks_mut(188).for_each(|p| p[0] = 0x47);
        }
        let length = if began.elapsed() > Duration::from_secs(16) { 1 + (noise.next() % 1316) as usize } else { 1316 };
        if pipe.write_all(&packet[..length]).is_err() {
            break;
        }
        let length = 1 + (noise.next() % 200) as usize;
        let _ = stranger.send_to(&packet[..length], (Ipv4Addr::LOCALHOST, server.srt));
        sent += 1;
        std::thread::sleep(Duration::from_micros(2500));
    }
    let _ = publisher.kill();
    let _ = publisher.wait();
    assert!(sent > 2000, "only {sent} packets of noise were sent");

    for (what, look) in looks {
        look.verdict().assert_clean(&what);
    }
    let after = resident_bytes(server.pid());
    assert!(after < before + (96 << 20), "memory grew from {before} to {after} bytes");
    let gateway = server.get("/v1/events").expect("events").to_string();
    assert!(!gateway.contains("gateway-died"), "a gateway died");
    assert_eq!(server.pipeline("a")["starts"], 1, "the encode process was restarted");
}

/// What the flood below may add to the gateway's memory: half of what it may take at most (`srt.memory_max`, 1 GB). A caller that is
/// turned away costs libsrt some 15 kB for three seconds, so that what a flood takes follows from its rate and not from how long it lasts.
const FLOOD_BYTES_MAX: u64 = 500_000_000;

/// One kind of attack, carried on until it is told to stop.
struct Attack {
    stop: Arc<AtomicBool>,
    attacks: Vec<(&'static str, JoinHandle<()>, Arc<AtomicU64>)>,
}

impl Attack {
    fn new() -> Self {
        Self { stop: Arc::default(), attacks: Vec::new() }
    }

    /// `strike` strikes again and again, each time with a source port or a word of its own, and says how often it did.
    fn by(&mut self, name: &'static str, seed: u64, mut strike: impl FnMut(&mut Noise) -> u64 + Send + 'static) {
        let (stop, count) = (Arc::clone(&self.stop), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&count);
        let thread = std::thread::spawn(move || {
            let mut noise = Noise(seed);
            while !stop.load(Ordering::Relaxed) {
                counted.fetch_add(strike(&mut noise), Ordering::Relaxed);
                // Not so fast that the load alone would starve everybody on this machine.
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        self.attacks.push((name, thread, count));
    }

    /// How often each struck.
    fn end(self) -> Vec<(&'static str, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.attacks.into_iter().map(|(name, thread, count)| {
            thread.join().expect("no panic");
            (name, count.load(Ordering::Relaxed))
        });
        ended.collect()
    }
}

fn gateway(server: &Server) -> serde_json::Value {
    let all = server.get("/v1/gateways").expect("the control port answers");
    all["gateways"][0].clone()
}

fn metric(server: &Server, name: &str) -> f64 {
    let url = format!("http://127.0.0.1:{}/metrics", server.control);
    let text = ureq::get(&url).call().expect("answered").body_mut().read_to_string().expect("text");
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn floods_of_handshakes_and_malformed_packets_cost_a_running_connection_nothing() {
    let (input, udp) = (free_udp(), UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let out = udp.local_addr().expect("bound");
    let server = Server::relay(&format!(
        "[[channel.source]]\nid = \"s1\"\ntype = \"srt\"\n[[channel.source]]\nid = \"s2\"\ntype = \"srt\"\n\
         [[channel.output]]\nid = \"out\"\nsource = \"s1\"\ntype = \"udp\"\naddress = \"{out}\"\n\
         [[channel.output]]\nid = \"read\"\nsource = \"s1\"\ntype = \"srt\"\nreaders = 8\n"
    ));
    need("srt-live-transmit");
    let mut publisher = Command::new("srt-live-transmit");
    publisher.args(["-q", "-ll:fatal", "-chunk:1316", &format!("udp://127.0.0.1:{input}")]);
    publisher.arg(format!("{}&latency=500", server.srt_url("s1"))).stdout(Stdio::null()).stderr(Stdio::null());
    let _publisher = Process::start("srt-live-transmit", &mut publisher);
    let connected = |s: &Server| s.status()["sources"][0]["connected"] == true;
    server.wait("the publisher is connected", connected);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, server.srt));

    // libsrt counts its sockets downwards: the publisher's has one of the numbers above this one.
    let mut first = Raw::new(to, 1);
    assert!(first.induce(), "a cookie");
    let own = first.conclude("test/s2").expect("let in");
    let before = gateway(&server)["health"]["rss_bytes"].as_u64().expect("figures");

    let sent = ts(31, 7 * 3000);
    let arrived = collect(udp);
    let pusher = push(input, sent.clone());
    server.wait("media flows", |s| s.status()["sources"][0]["link"]["packets"].as_u64() > Some(0));
    let mut attack = Attack::new();
    attack.by("truncated handshakes", 0x5eed_0011, move |noise| {
        let mut caller = Raw::new(to, noise.next() as u32);
        let induction = caller.induction();
        caller.send(&induction[..noise.next() as usize % induction.len()]);
        if !caller.induce() {
            return 1;
        }
        let conclusion = caller.conclusion(if noise.next() % 2 == 0 { "test/s2" } else { "test/nobody" });
        for _ in 0..8 {
            let mut spoilt = conclusion.clone();
            let at = 16 + noise.next() as usize % (spoilt.len() - 16);
            if noise.next() % 2 == 0 {
                spoilt.truncate(at)
            } else {
                spoilt[at] ^= 1 + (noise.next() % 255) as u8
            }
            caller.send(&spoilt);
        }
        10
    });
    attack.by("half-open", 0x5eed_0012, move |noise| {
        let mut caller = Raw::new(to, noise.next() as u32);
        if caller.induce() {
            // The handshake is ended and nothing follows, or not even that.
            let _ = match noise.next() % 4 {
                0 => caller.conclude("test/s2"),
                1 => caller.conclude("#!::r=test/read,m=request"),
                2 => caller.conclude("test/s1"),
                _ => None,
            };
        }
        1
    });
    attack.by("inductions alone", 0x5eed_0013, move |noise| {
        for _ in 0..20 {
            let caller = Raw::new(to, noise.next() as u32);
            caller.send(&caller.induction());
        }
        20
    });
    let mut stranger = Raw::new(to, 2);
    attack.by("malformed packets", 0x5eed_0014, move |noise| {
        for _ in 0..10 {
            // Over a connection of its own,
            first.send(&malformed_control(noise, own));
            first.send(&malformed_data(noise, own));
            // and to those of others.
            let other = own + 1 + noise.next() as u32 % 16;
            stranger.send(&malformed_control(noise, other));
            stranger.send(&malformed_data(noise, other));
        }
        if noise.next() % 64 == 0 {
            stranger = Raw::new(to, noise.next() as u32);
        }
        40
    });

    let mut most = before;
    while !pusher.is_finished() {
        most = most.max(gateway(&server)["health"]["rss_bytes"].as_u64().unwrap_or(0));
        std::thread::sleep(Duration::from_millis(250));
    }
    let struck = attack.end();
    let arrived = arrived.join().expect("collected").concat();
    let after = gateway(&server);
    println!("{struck:?}; resident {before} before, {most} at most; {after}");
    assert_same(&arrived, &sent);
    assert!(struck.iter().all(|(_, count)| *count >= 100), "{struck:?}");
    assert_eq!(after["starts"], 1, "the gateway never died");
    assert!(most < before + FLOOD_BYTES_MAX, "memory grew from {before} to {most} bytes");
    assert!(metric(&server, "tandem_gateway_refused_callers_total") >= 10.0, "they are counted: {after}");
    assert!(connected(&server), "and the publisher is connected still");
}
