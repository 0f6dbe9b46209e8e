//! Warm standby, end to end: the pipeline that encodes is killed or stopped, and nobody sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tandem::channel::run::{self, Handle};
use tandem::config::{Config, Input};
use tandem::ingest::{self, IngestEvent};
use tandem::media::{PipelineId, SourceId};
use tandem::monitor::{PipelineStatus, StandbyState};
use tandem::output::exits::Exits;
use tandem::package::Lookup;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::harness::{LIMIT, Options, Publisher, Publishers, Server, digests, inspect_all, signal};

fn warm(save_segments: bool) -> (Server, Publishers) {
    let extra = "redundancy = \"warm\"\n".to_owned();
    let server = Server::start(&Options { extra, save_segments, ..Options::default() });
    let publishers = Publishers::start(&server, &["s1", "s2", "s3", "s4"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    (server, publishers)
}

/// The pipeline that encodes, once the other one is there to stand by and has pictures for at least a segment.
fn encoder(server: &Server) -> &'static str {
    let state = |id| server.pipeline(id)["standby"]["state"].as_str().unwrap_or_default().to_owned();
    let mut found = "";
    server.wait("one encodes, the other stands by in lock", |s| {
        for (id, other) in [("a", "b"), ("b", "a")] {
            if state(id) == "encodes" && state(other) == "stands-by" && s.pipeline(other)["locked"] == true {
                found = id;
            }
        }
        !found.is_empty()
    });
    found
}

/// Offsets into a segment, ms, from a fixed seed, so that a failure comes again (xorshift).
fn offsets() -> impl Iterator<Item = u64> {
    let mut state = 0x5eed_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state % 2000)
    })
}

#[test]
fn deaths_of_the_one_that_encodes_are_not_seen_and_leave_no_trace_in_the_bytes() {
    deaths(5);
}

/// Two channels with real encode processes that are handed the same bytes with the same times of arrival: a warm pair whose
/// encoding half dies again and again, and one pipeline that lives.
struct Twins {
    runtime: Runtime,
    warm: Handle,
    alone: Handle,
    stop: watch::Sender<bool>,
    /// SHA-256 of what each of them published, by rendition and number.
    seen: [BTreeMap<(&'static str, u64), [u8; 32]>; 2],
}

/// So many within half a minute, as processes are waited for longer each time they die.
const DEATHS: usize = 5;
const RENDITIONS: [&str; 3] = ["v360", "v180", "audio"];

impl Twins {
    fn start() -> Self {
        let program = || PathBuf::from(env!("CARGO_BIN_EXE_tandem"));
        let config = |redundancy: &str| {
            // What a busy machine is late with is waited for: nothing is made up by any process's own clock.
            let text = format!(
                "[[channel]]\nid = \"test\"\nladder = \"pipelines/ladders/test.toml\"\nhold = \"5s\"\n{redundancy}\n\
                 [[channel.source]]\nid = \"s\"\ntype = \"test\"\nsize = \"640x360\"\nbitrate = \"1500kbps\"\n"
            );
            let config = Config::parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tandem.toml"), &text);
            config.unwrap_or_else(|report| panic!("{report}")).channels.remove(0)
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runs");
        let (stop, stopped) = watch::channel(false);
        let (warm, alone) = runtime.block_on(async {
            let warm = config("redundancy = \"warm\"\n[channel.pipelines]\na = [\"s\"]\nb = [\"s\"]");
            let alone = config("[channel.pipelines]\na = [\"s\"]");
            let source = warm.sources[0].clone();
            let Input::Test(shape) = source.input else { unreachable!("written so above") };
            let start = |config| run::start(program, config, Exits::default(), None, |_| {}, stopped.clone());
            let (warm, alone) = (start(warm), start(alone));
            let (media, mut events) = mpsc::channel::<(SourceId, IngestEvent)>(64);
            let both = [warm.media.clone(), alone.media.clone()];
            tokio::spawn(async move {
                while let Some(event) = events.recv().await {
                    for channel in &both {
                        let _ = channel.send(event.clone()).await;
                    }
                }
            });
            tokio::spawn(ingest::test::run(program(), source.id, shape, media, stopped.clone()));
            (warm, alone)
        });
        Self { runtime, warm, alone, stop, seen: [BTreeMap::new(), BTreeMap::new()] }
    }

    /// Notes what is new, until it holds.
    fn wait(&mut self, what: &str, holds: impl Fn(&[PipelineStatus]) -> bool) {
        let began = Instant::now();
        loop {
            for (handle, seen) in [&self.warm, &self.alone].into_iter().zip(&mut self.seen) {
                let snapshot = handle.snapshots.borrow().clone();
                let Some(newest) = snapshot.newest() else { continue };
                // A few back, as this may have looked away for long.
                for (n, rendition) in (newest.0 - 4..=newest.0).flat_map(|n| RENDITIONS.map(|r| (n, r))) {
                    if let Lookup::Found(it) = snapshot.lookup(&format!("{rendition}/{n}.m4s")) {
                        seen.entry((rendition, n)).or_insert_with(|| Sha256::digest(it.body.bytes()).into());
                    }
                }
            }
            let pipelines = self.warm.status.borrow().pipelines.clone();
            if holds(&pipelines) {
                return;
            }
            assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} for: {what}\n{pipelines:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn newest(&self) -> u64 {
        self.seen[0].keys().map(|(_, n)| *n).max().expect("segments")
    }

    /// The place and process of the one that encodes, while the other one has what it needs to go on.
    fn encoding(pipelines: &[PipelineStatus]) -> Option<(PipelineId, u32)> {
        let state = |p: &PipelineStatus| p.standby.as_ref().map(|s| s.state);
        let ready = |p: &PipelineStatus| p.locked && state(p) == Some(StandbyState::StandsBy);
        let at = pipelines.iter().find(|p| state(p) == Some(StandbyState::Encodes))?;
        pipelines.iter().any(ready).then_some((at.id, at.pid?))
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let ends = [&mut self.warm.task, &mut self.alone.task];
        for task in ends {
            let _ = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), task).await });
        }
    }
}

#[test]
fn across_a_death_viewers_get_the_bytes_of_one_that_never_died() {
    let mut twins = Twins::start();
    let mut first = None;
    for offset in offsets().skip(200).take(DEATHS) {
        twins.wait("one encodes, the other stands by", |p| Twins::encoding(p).is_some());
        // The status is up to a second old.
        let at = Instant::now() + Duration::from_millis(2000 + offset);
        twins.wait("the time of the next death", |p| Instant::now() >= at && Twins::encoding(p).is_some());
        let (id, victim) = Twins::encoding(&twins.warm.status.borrow().pipelines).expect("nobody died meanwhile");
        let newest = twins.newest();
        first.get_or_insert(newest);
        signal(victim, "KILL");
        eprintln!("pipeline {id} killed behind segment {newest}");
        twins.wait("it is seen", |all| all.iter().all(|p| p.pid != Some(victim)));
    }
    // The last death's segments are published by then.
    let later = Instant::now() + Duration::from_secs(8);
    twins.wait("some segments more", |_| Instant::now() >= later);
    let [warm, alone] = [&twins.warm, &twins.alone].map(|it| it.status.borrow().clone());
    assert_eq!(warm.publish.gaps, 0);
    assert_eq!(alone.pipelines[0].starts, 1, "it lived");
    let [deadly, lived] = &twins.seen;
    let wanted = first.expect("there were deaths")..=alone.publish.newest.expect("segments") - 1;
    for rendition in RENDITIONS {
        let all: Vec<u64> = wanted.clone().filter(|n| lived.contains_key(&(rendition, *n))).collect();
        let unlike: Vec<u64> =
            all.iter().copied().filter(|n| deadly.get(&(rendition, *n)) != lived.get(&(rendition, *n))).collect();
        assert!(all.len() as u64 > 2 * DEATHS as u64, "{rendition}: only {all:?} of {wanted:?}");
        assert!(unlike.is_empty(), "{rendition}: {unlike:?} of {wanted:?} are missing or differ");
        eprintln!("{rendition}: {} segments across {DEATHS} deaths, all equal", all.len());
    }
}

/// The pipeline that encodes is killed so many times, at each of which roles change.
pub fn deaths(kills: usize) {
    let (server, _publishers) = warm(true);
    // Each round: up to 5 s of back-off, a start, a lock, an offset into the segment.
    let looks = inspect_all(&server, kills as u64 * 13);
    let began = Instant::now();
    for (kill, offset) in offsets().take(kills).enumerate() {
        let id = encoder(&server);
        std::thread::sleep(Duration::from_millis(2000 + offset));
        let victim = server.encoder_pid(id);
        signal(victim, "KILL");
        eprintln!("{:6.1} s: kill {kill} of pipeline {id}", began.elapsed().as_secs_f64());
        server.wait("it is seen", |s| s.pipeline(id)["pid"].as_u64() != Some(u64::from(victim)));
    }
    for (what, look) in looks {
        look.verdict().assert_clean(&what);
    }
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
    assert_eq!(status["publish"]["differs"], 0, "{status:#}");
    // What was made on order while the other one was still at work, or had been, is the same to the byte.
    let saved = server.dir.path().join("saved/test");
    for rendition in ["v360", "v180", "audio"] {
        let (a, b) = (digests(&saved.join("a").join(rendition)), digests(&saved.join("b").join(rendition)));
        let both: Vec<u64> = b.keys().copied().filter(|n| a.contains_key(n)).collect();
        let unlike: Vec<u64> = both.iter().copied().filter(|n| a[n] != b[n]).collect();
        assert!(unlike.is_empty(), "{rendition}: segments {unlike:?} of {} differ", both.len());
        eprintln!("{rendition}: {} of {} segments made by both, all equal", both.len(), a.len() + b.len() - both.len());
    }
}

#[test]
fn a_stopped_encoder_is_stood_in_for_before_players_run_dry() {
    let (server, _publishers) = warm(false);
    let looks = inspect_all(&server, 45);
    for offset in offsets().skip(100).take(4) {
        let id = encoder(&server);
        std::thread::sleep(Duration::from_millis(2000 + offset));
        let victim = server.encoder_pid(id);
        // The status comes once a second; the log at once.
        let calls =
            |s: &Server, why: &str| s.log().lines().filter(|l| l.contains("standby-called") && l.contains(why)).count();
        let (before, late) = (calls(&server, ""), calls(&server, "is late"));
        signal(victim, "STOP");
        let began = Instant::now();
        server.wait("the other one is called", |s| calls(s, "") > before);
        eprintln!("pipeline {id} stopped: the other one called after {:.2?}", began.elapsed());
        assert!(calls(&server, "is late") > late, "not waited for until its heartbeat is missed");
        server.wait("it is seen", |s| s.pipeline(id)["pid"].as_u64() != Some(u64::from(victim)));
    }
    for (what, look) in looks {
        look.verdict().assert_clean(&what);
    }
    assert_eq!(server.status()["publish"]["gaps"], 0);
}

#[test]
fn a_standby_that_dies_is_started_again_as_standby() {
    let (server, _publishers) = warm(false);
    let looks = inspect_all(&server, 20);
    let id = encoder(&server);
    let other = if id == "a" { "b" } else { "a" };
    let held = |s: &Server| s.pipeline(other)["standby"]["held"].as_u64().unwrap_or(0);
    server.wait("pictures are kept", |s| held(s) > 10);
    let victim = server.encoder_pid(other);
    signal(victim, "KILL");
    server.wait("it is seen", |s| s.pipeline(other)["pid"].as_u64() != Some(u64::from(victim)));
    assert_eq!(encoder(&server), id, "roles stay");
    for (what, look) in looks {
        look.verdict().assert_clean(&what);
    }
}
