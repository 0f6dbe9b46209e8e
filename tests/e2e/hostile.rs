//! Bytes nobody should send, into the SRT port: over a good connection, and from strangers. Nothing else is disturbed.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Options, Publisher, Publishers, Server, inspect_all, need};

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

/// A small generator of our own: the same bytes in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
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
