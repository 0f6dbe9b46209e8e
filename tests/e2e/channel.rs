//! The promise, end to end: no single fault is visible. Real SRT in, HLS and DASH out, every frame accounted for.

use std::time::{Duration, Instant};

use crate::harness::{Inspection, Options, Publisher, Publishers, Server, inspect_all, signal};

const ALL: [&str; 4] = ["s1", "s2", "s3", "s4"];

fn on_air(by: Publisher) -> (Server, Publishers) {
    let server = Server::start(&Options::default());
    let publishers = Publishers::start(&server, &ALL, by);
    server.wait_on_air();
    (server, publishers)
}

#[test]
fn undisturbed_by_srt_live_transmit() {
    let (server, _publishers) = on_air(Publisher::SrtLiveTransmit);
    for (what, look) in inspect_all(&server, 40) {
        let verdict = look.verdict();
        verdict.assert_clean(&what);
        verdict.assert_in_sync(20.0);
    }
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
    assert_eq!(status["publish"]["differs"], 0, "A and B must deliver equal bytes: {status:#}");
}

#[test]
fn undisturbed_by_ffmpeg() {
    let (server, _publishers) = on_air(Publisher::Ffmpeg);
    for (what, look) in inspect_all(&server, 30) {
        let verdict = look.verdict();
        verdict.assert_clean(&what);
        verdict.assert_in_sync(20.0);
    }
}

/// Kills or stops an encode process and waits until the pipeline is in lock again.
fn disturb_encoder(server: &Server, pipeline: &str, with: &str) {
    let victim = server.encoder_pid(pipeline);
    signal(victim, with);
    let began = Instant::now();
    server.wait("the disturbed pipeline is back in lock", |s| {
        let p = s.pipeline(pipeline);
        p["locked"] == true && p["pid"].as_u64().is_some_and(|pid| pid != u64::from(victim))
    });
    let took = began.elapsed();
    eprintln!("pipeline {pipeline} after SIG{with}: back in lock in {took:.2?}");
    // 1.5 s until a stopped process counts as hung, then one boundary and one whole segment.
    assert!(took < Duration::from_secs(8), "back in lock after {took:?}");
}

#[test]
fn a_killed_or_stopped_encoder_is_not_seen() {
    let (server, _publishers) = on_air(Publisher::SrtLiveTransmit);
    let looks = inspect_all(&server, 75);
    std::thread::sleep(Duration::from_secs(6));
    disturb_encoder(&server, "a", "KILL");
    std::thread::sleep(Duration::from_secs(6));
    disturb_encoder(&server, "b", "KILL");
    std::thread::sleep(Duration::from_secs(6));
    disturb_encoder(&server, "a", "STOP");
    std::thread::sleep(Duration::from_secs(6));
    disturb_encoder(&server, "b", "STOP");
    for (what, look) in looks {
        look.verdict().assert_clean(&what);
    }
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
    assert_eq!(status["publish"]["differs"], 0, "{status:#}");
}

/// Both pipelines lose the source they are on, so that neither can cover for the other; their backups carry the same content.
fn lose_both_sources(how: impl Fn(&mut Publishers)) {
    let (server, mut publishers) = on_air(Publisher::SrtLiveTransmit);
    let looks = inspect_all(&server, 40);
    std::thread::sleep(Duration::from_secs(8));
    how(&mut publishers);
    server.wait("both pipelines took their second source", |s| {
        s.pipeline("a")["source"] == "s2" && s.pipeline("b")["source"] == "s4"
    });
    for (what, look) in looks {
        let verdict = look.verdict();
        let (missing, repeated) = (verdict.number("/video/missing"), verdict.number("/video/repeated"));
        eprintln!("{what}: {missing} pictures missing, {repeated} repeated");
        // loss_after + 100 ms at 25 frames a second.
        assert!(missing <= 8.0 && repeated <= 8.0, "{what}: {:#}", verdict.json);
        assert_eq!(verdict.json["discontinuities"], 0, "{what}: {:#}", verdict.json);
    }
}

#[test]
fn a_killed_source_is_taken_over_by_its_backup() {
    lose_both_sources(|publishers| {
        publishers.legs[0].kill();
        publishers.legs[2].kill();
    });
}

#[test]
fn a_source_whose_packets_stop_without_a_word_is_taken_over_by_its_backup() {
    // Stopped, not ended: the connection stays up, and only the silence tells.
    lose_both_sources(|publishers| {
        signal(publishers.legs[0].pid(), "STOP");
        signal(publishers.legs[2].pid(), "STOP");
    });
}

#[test]
fn playlists_go_on_through_slate_when_all_sources_stop() {
    let (server, mut publishers) = on_air(Publisher::SrtLiveTransmit);
    let look = Inspection::start(&server.hls(), "top", 60);
    std::thread::sleep(Duration::from_secs(6));
    signal(publishers.signal.pid(), "STOP");
    server.wait("both pipelines show the slate", |s| {
        s.pipeline("a")["showing"] == "slate" && s.pipeline("b")["showing"] == "slate"
    });
    let before = server.status()["publish"]["newest"].as_u64().expect("segments are published");
    std::thread::sleep(Duration::from_secs(20));
    let after = server.status()["publish"]["newest"].as_u64().expect("segments are published");
    assert!(after >= before + 8, "the slate went on from {before} to {after} only");
    publishers.signal.kill();
    drop(publishers);
    // A publisher that comes while the place of its dead predecessor is still held is refused.
    server.wait("the dead publishers are given up", |s| {
        s.status()["sources"].as_array().is_some_and(|all| all.iter().all(|source| source["connected"] == false))
    });
    let _publishers = Publishers::start(&server, &ALL, Publisher::SrtLiveTransmit);
    server.wait("both pipelines show the source again", |s| {
        s.pipeline("a")["showing"] == "source" && s.pipeline("b")["showing"] == "source"
    });
    let verdict = look.verdict();
    assert_eq!(verdict.json["discontinuities"], 0, "{:#}", verdict.json);
    assert_eq!(verdict.json["gaps"], 0, "{:#}", verdict.json);
    assert!(verdict.number("/video/slate") > 25.0 * 15.0, "{:#}", verdict.json);
    assert_eq!(server.status()["publish"]["gaps"], 0);
}

#[test]
fn playlists_resume_when_both_encoders_are_killed_at_once() {
    let (server, _publishers) = on_air(Publisher::SrtLiveTransmit);
    let look = Inspection::start(&server.hls(), "top", 40);
    std::thread::sleep(Duration::from_secs(6));
    // In the middle of a segment, whatever the clock says: of four kills at odd moments some are.
    for pause in [0, 5300, 5900, 5600] {
        std::thread::sleep(Duration::from_millis(pause));
        let (a, b) = (server.encoder_pid("a"), server.encoder_pid("b"));
        signal(a, "KILL");
        signal(b, "KILL");
        server.wait("both are back in lock", |s| {
            let back = |id, old| {
                let p = s.pipeline(id);
                p["locked"] == true && p["pid"].as_u64().is_some_and(|pid| pid != u64::from(old))
            };
            back("a", a) && back("b", b)
        });
    }
    let verdict = look.verdict();
    let gaps = server.status()["publish"]["gaps"].as_u64().expect("a number");
    eprintln!("four times both killed: {gaps} gaps, {} pictures missing", verdict.number("/video/missing"));
    // A gap is honest: listed as one, numbers go on, nothing else is missing.
    // `inspect` counts them in the picture's playlist and in the sound's.
    assert_eq!(verdict.number("/gaps"), 2.0 * gaps as f64, "{:#}", verdict.json);
    assert_eq!(verdict.number("/video/missing"), 50.0 * gaps as f64, "{:#}", verdict.json);
    assert_eq!(verdict.json["discontinuities"], 0, "{:#}", verdict.json);
    for path in ["/video/repeated", "/video/reordered"] {
        assert_eq!(verdict.number(path), 0.0, "{path}: {:#}", verdict.json);
    }
    let verdict = Inspection::start(&server.hls(), "lowest", 10).verdict();
    assert_eq!(verdict.number("/video/missing"), 25.0 * verdict.number("/gaps"), "{:#}", verdict.json);
}
