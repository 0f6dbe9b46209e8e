//! A and B, saved side by side: the same bytes in every rendition, from the first whole segment on.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::harness::{Options, Publisher, Publishers, Server, digests, signal};
use crate::relay::Relay;

/// What happens to two pipelines on the same signal, and how long each stretch of it is watched.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub rate: &'static str,
    /// Percent of datagrams lost on the ways of s1 and s3, each way; SRT recovers them.
    pub loss: u64,
    /// Whole segments to compare after each event.
    pub segments: u64,
}

#[test]
fn a_and_b_are_equal_over_lossy_links_and_after_every_event() {
    prove(Script { rate: "29.97", loss: 5, segments: 4 });
}

/// B begins anew 7.3 s later, A is killed in mid-run, both sources are lost and their backups take over, all sources stop for a
/// while and come back: every segment that both pipelines made whole outside of the events is equal.
pub fn prove(script: Script) {
    let extra = "repeat_for = \"400ms\"\n".to_owned();
    let server = Server::start(&Options { save_segments: true, rate: script.rate, extra, ..Options::default() });
    let relays: Vec<Relay> = [1, 2].map(|seed| Relay::start(server.srt, script.loss, seed)).into();
    let through = |relay: &Relay, source: &str| format!("srt://127.0.0.1:{}?streamid=test/{source}", relay.port);
    let targets = [through(&relays[0], "s1"), server.srt_url("s2"), through(&relays[1], "s3"), server.srt_url("s4")];
    let shape = ["--rate", script.rate];
    let mut publishers = Publishers::of(&targets, Publisher::SrtLiveTransmit, &shape);
    server.wait_on_air();
    let mut ledger = Ledger::new(&server);

    // B begins anew well into A's life, off every boundary.
    std::thread::sleep(Duration::from_millis(7300));
    ledger.event("B begins anew", || {
        restart(&server, "b");
    });
    ledger.watch(script.segments);
    ledger.event("A is killed in mid-run", || {
        restart(&server, "a");
    });
    ledger.watch(script.segments);
    for relay in &relays {
        let (lost, passed) = relay.lost();
        assert!(script.loss == 0 || lost * 100 >= passed * script.loss / 2, "only {lost} of {passed} were lost");
    }
    ledger.event("both sources are lost", || {
        publishers.legs[0].kill();
        publishers.legs[2].kill();
        server.wait("both pipelines took their second source", |s| {
            s.pipeline("a")["source"] == "s2" && s.pipeline("b")["source"] == "s4"
        });
    });
    ledger.watch(script.segments);
    ledger.event("everything stops, and comes back", || {
        signal(publishers.signal.pid(), "STOP");
        server.wait("both pipelines show the slate", |s| {
            s.pipeline("a")["showing"] == "slate" && s.pipeline("b")["showing"] == "slate"
        });
        std::thread::sleep(Duration::from_secs(5));
        signal(publishers.signal.pid(), "CONT");
        server.wait("both pipelines show their source again", |s| {
            s.pipeline("a")["showing"] == "source" && s.pipeline("b")["showing"] == "source"
        });
        calm(&server);
    });
    ledger.watch(script.segments);
    ledger.close(script.segments);
    assert_eq!(server.status()["publish"]["gaps"], 0, "{:#}", server.status());
}

/// Until neither pipeline has had to make up a picture for three seconds: a generator that was stopped sends all it owes at once, and
/// as long as it is late each pipeline waits for it as long as it may, which is not the same instant in both.
fn calm(server: &Server) {
    let made_up = || ["a", "b"].map(|p| ["repeated", "black", "slate"].map(|key| server.pipeline(p)[key].as_u64()));
    let (mut last, mut same) = (made_up(), 0);
    server.wait("no picture is made up any more", |_| {
        std::thread::sleep(Duration::from_secs(1));
        let now = made_up();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same == 3
    });
}

fn restart(server: &Server, pipeline: &str) {
    let victim = server.encoder_pid(pipeline);
    signal(victim, "KILL");
    server.wait("the pipeline is back in lock", |s| {
        let p = s.pipeline(pipeline);
        p["locked"] == true && p["pid"].as_u64().is_some_and(|pid| pid != u64::from(victim))
    });
}

/// Which segments must be equal, and which lie in an event.
struct Ledger<'a> {
    server: &'a Server,
    /// What happened, and the segments it may show in.
    events: Vec<(&'static str, RangeInclusive<u64>)>,
    watched: Vec<RangeInclusive<u64>>,
}

impl<'a> Ledger<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, events: Vec::new(), watched: Vec::new() }
    }

    fn newest(&self) -> u64 {
        self.server.status()["publish"]["newest"].as_u64().expect("segments are published")
    }

    fn event(&mut self, what: &'static str, happens: impl FnOnce()) {
        let from = self.newest();
        happens();
        // What runs now is published a segment later, and the one behind it may have begun before the event was over.
        self.events.push((what, from..=self.newest() + 3));
    }

    fn watch(&mut self, segments: u64) {
        let from = self.events.last().map_or(0, |(_, during)| during.end() + 1);
        for to in (from..from + segments).step_by(10).chain([from + segments]) {
            // One wait is limited.
            self.server.wait("ten segments more", |s| s.status()["publish"]["newest"].as_u64() > Some(to));
        }
        self.watched.push(from..=from + segments - 1);
    }

    fn close(&self, wanted: u64) {
        let saved = self.server.dir.path().join("saved/test");
        let renditions: Vec<String> = std::fs::read_dir(saved.join("a"))
            .expect("segments were saved")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("text"))
            .collect();
        assert!(renditions.len() >= 3, "{renditions:?}");
        for rendition in renditions {
            let (a, b) = (digests(&saved.join("a").join(&rendition)), digests(&saved.join("b").join(&rendition)));
            for (during, (what, _)) in self.watched.iter().zip(&self.events) {
                let both: Vec<u64> = during.clone().filter(|n| a.contains_key(n) && b.contains_key(n)).collect();
                assert!(both.len() as u64 >= wanted, "{rendition}, after {what}: only {both:?} of {during:?}");
                let unlike: Vec<u64> = both.iter().copied().filter(|n| a[n] != b[n]).collect();
                assert!(unlike.is_empty(), "{rendition}: after {what}, segments {unlike:?} of {during:?} differ");
            }
            let all = a.keys().filter(|n| b.contains_key(n)).count();
            let unlike: Vec<u64> =
                a.iter().filter(|(n, hash)| b.get(n).is_some_and(|b| b != *hash)).map(|x| *x.0).collect();
            eprintln!(
                "{rendition}: {all} segments of A and B, {} watched, all equal; differing inside events: {unlike:?}",
                self.watched.iter().map(|r| r.end() - r.start() + 1).sum::<u64>()
            );
        }
    }
}
