//! Warm standby, end to end: the pipeline that encodes is killed or stopped, and nobody sees it.

use std::time::{Duration, Instant};

use crate::harness::{Options, Publisher, Publishers, Server, digests, inspect_all, signal};

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
