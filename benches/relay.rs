//! What relaying costs: many sources of 2 Mbit/s on one SRT port, each going on to a UDP port, by Tandem; and the same by
//! srt-live-transmit, which needs a process and a port for each. Senders, receiver and the count of what arrives share the machine: the
//! ratio means something, the figures themselves little.
//!
//! `TANDEM_BENCH_SOURCES` (100) and `TANDEM_BENCH_SECONDS` (20) set the size.

#![allow(clippy::unwrap_used)] // a measurement that cannot be taken should stop there

mod reception;

use std::thread::sleep;
use std::time::{Duration, Instant};

use reception::{Receiver, Sink, call, free_udp_address, interval, send, setting};

const RATE: u64 = 2_000_000;
const LATENCY: Duration = Duration::from_millis(1000);

/// Lost messages, and CPU seconds.
fn measure(
    name: &str,
    start: impl Fn(usize, Duration, std::net::SocketAddr) -> Receiver,
    sources: usize,
    messages: usize,
) -> (u64, f64) {
    let sink = Sink::start(sources, messages);
    let receiver = start(sources, LATENCY, sink.to);
    // All from one port, so that one thread of libsrt sends for all.
    let from = free_udp_address();
    let calls = receiver.doors.iter().map(|(to, stream_id)| call(from, *to, stream_id.as_deref(), LATENCY));
    let sockets: Vec<_> = calls.collect();
    let (before, begun) = (receiver.cpu(), Instant::now());
    send(&sockets, messages, RATE);
    sleep(LATENCY + Duration::from_secs(2));
    let (after, seconds) = (receiver.cpu(), begun.elapsed().as_secs_f64());
    let total = |cpu: &[(String, f64)]| cpu.iter().map(|(_, seconds)| seconds).sum::<f64>();
    let (cpu, sent) = (total(&after) - total(&before), (sources * messages) as u64);
    let lost = sent - sink.count();
    println!("{name}: {sources} sources, {seconds:.0} s, {cpu:.2} CPU seconds, {lost} of {sent} messages lost");
    if after.len() < 5 {
        let each =
            after.iter().zip(&before).map(|((word, after), (_, before))| format!("{word} {:.2}", after - before));
        println!("    of which {}", each.collect::<Vec<_>>().join(", "));
    }
    (lost, cpu)
}

fn main() {
    let (sources, seconds) = (setting("TANDEM_BENCH_SOURCES", 100), setting("TANDEM_BENCH_SECONDS", 20));
    let messages = (seconds as f64 / interval(RATE).as_secs_f64()) as usize;
    let (their_lost, theirs) = measure("srt-live-transmit", Receiver::srt_live_transmit, sources, messages);
    let (lost, ours) = measure("tandem", Receiver::tandem, sources, messages);
    println!("RESULT relay_cpu={:.2} relay_lost={lost} relay_reference_lost={their_lost}", ours / theirs);
}
