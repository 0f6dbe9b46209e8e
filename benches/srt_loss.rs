//! What SRT leaves unrecovered, and what it costs, with losses on the way: one stream to Tandem (a channel that only relays) and to
//! srt-live-transmit at once, over lines that lose the same packets by the same seed (tests/e2e/srt/line.rs). Both pass on by UDP what
//! they got, and the messages that arrive are counted by their numbers.
//!
//! `TANDEM_BENCH_SECONDS` (10) is the length of each run, `TANDEM_BENCH_SEEDS` (2) how many runs a row of the table sums up,
//! `TANDEM_BENCH_CASES` names rows by a part of their names.

#![allow(clippy::unwrap_used)] // a measurement that cannot be taken should stop there

#[path = "../tests/e2e/srt/line.rs"]
#[allow(dead_code)] // The tests ask more of it.
mod line;
mod reception;

use std::thread::{self, sleep};
use std::time::Duration;

use line::{Faults, Line};
use reception::{Receiver, Sink, call, free_udp_address, interval, send, setting};

const RATE: u64 = 8_000_000;
/// One way.
const DELAY: Duration = Duration::from_millis(40);
/// How often, and how long.
type Bursts = (Duration, Duration);
const BURST: Bursts = (Duration::from_secs(2), Duration::from_millis(200));
const NETWORKS: [(&str, u64, Option<Bursts>); 4] =
    [("1 %", 10, None), ("5 %", 50, None), ("10 %", 100, None), ("bursts of 200 ms", 0, Some(BURST))];
const LATENCIES_MS: [u64; 4] = [120, 200, 500, 1000];

/// What one receiver came to.
#[derive(Clone, Copy, Default)]
struct Score {
    unrecovered: u64,
    cpu: f64,
    /// Of that, the process that speaks SRT.
    cpu_srt: f64,
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.unrecovered += other.unrecovered;
        self.cpu += other.cpu;
        self.cpu_srt += other.cpu_srt;
    }
}

type Start = fn(usize, Duration, std::net::SocketAddr) -> Receiver;

/// Both receivers, side by side: ours first.
fn run(faults: Faults, latency: Duration, messages: usize) -> [Score; 2] {
    let starts: [Start; 2] = [Receiver::tandem, Receiver::srt_live_transmit];
    let sides = starts.map(|start| {
        let sink = Sink::start(1, messages);
        let receiver = start(1, latency, sink.to);
        let (to, stream_id) = receiver.doors[0].clone();
        let line = Line::start(to, faults);
        let socket = call(free_udp_address(), line.front, stream_id.as_deref(), latency);
        (sink, receiver, line, socket)
    });
    let runs = sides.map(|(sink, receiver, line, socket)| {
        thread::spawn(move || {
            let before = receiver.cpu();
            let sockets = [socket];
            send(&sockets, messages, RATE);
            sleep(latency + Duration::from_secs(1));
            let spent =
                receiver.cpu().into_iter().zip(before).map(|((word, after), (_, before))| (word, after - before));
            let spent: Vec<(String, f64)> = spent.collect();
            drop(line);
            let srt = |word: &str| word != "run";
            Score {
                unrecovered: messages as u64 - sink.count(),
                cpu: spent.iter().map(|(_, cpu)| cpu).sum(),
                cpu_srt: spent.iter().filter(|(word, _)| srt(word)).map(|(_, cpu)| cpu).sum(),
            }
        })
    });
    runs.map(|run| run.join().unwrap())
}

fn main() {
    let messages = (setting("TANDEM_BENCH_SECONDS", 10) as f64 / interval(RATE).as_secs_f64()) as usize;
    let seeds = setting("TANDEM_BENCH_SEEDS", 2);
    let wanted = std::env::var("TANDEM_BENCH_CASES").unwrap_or_default();
    println!("{messages} messages of 1316 bytes a run, 8 Mbit/s, 40 ms one way, {seeds} seeds");
    println!("{:24} {:>22} {:>30}", "", "unrecovered", "CPU seconds");
    println!("{:24} {:>10} {:>11} {:>18} {:>11}", "", "tandem", "reference", "tandem (SRT alone)", "reference");
    let (mut worst, mut totals) = (0f64, [Score::default(); 2]);
    for (network, loss_permille, bursts) in NETWORKS {
        for latency_ms in LATENCIES_MS {
            let name = format!("{network}, {latency_ms} ms");
            if !name.contains(&wanted) {
                continue;
            }
            let mut row = [Score::default(); 2];
            for seed in 1..=seeds as u64 {
                let faults = Faults { delay: DELAY, loss_permille, bursts, seed };
                let scores = run(faults, Duration::from_millis(latency_ms), messages);
                row.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
            }
            let [ours, theirs] = row;
            println!(
                "{name:24} {:>10} {:>11} {:>10.2} ({:>5.2}) {:>11.2}",
                ours.unrecovered, theirs.unrecovered, ours.cpu, ours.cpu_srt, theirs.cpu
            );
            worst = worst.max(ours.unrecovered as f64 / theirs.unrecovered.max(1) as f64);
            totals.iter_mut().zip(row).for_each(|(sum, row)| *sum += row);
        }
    }
    let [ours, theirs] = totals;
    println!("in all: {} and {} unrecovered", ours.unrecovered, theirs.unrecovered);
    println!(
        "RESULT srt_unrecovered={worst:.2} srt_unrecovered_total={:.3} srt_cpu={:.2} srt_gateway_cpu={:.2}",
        ours.unrecovered as f64 / theirs.unrecovered.max(1) as f64,
        ours.cpu / theirs.cpu,
        ours.cpu_srt / theirs.cpu
    );
}
