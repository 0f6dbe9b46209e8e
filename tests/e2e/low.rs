//! Low latency, end to end: parts as they are made, in LL-HLS and LL-DASH, while the encode process they come from is killed in
//! mid-segment.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{LIMIT, Options, Publisher, Publishers, Server, inspect_all, signal};
use crate::players::Viewer;

/// Encoders without look-ahead, parts of 200 ms.
fn low() -> Options {
    Options { extra: "latency = \"low\"\npart = \"200ms\"\n".to_owned(), ..Options::default() }
}

fn on_air(options: &Options) -> (Server, Publishers) {
    let server = Server::start(options);
    let publishers = Publishers::start(&server, &["s1", "s2", "s3", "s4"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    (server, publishers)
}

fn get(url: &str) -> (u16, Vec<u8>) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT)).build();
    let mut answer = ureq::Agent::new_with_config(config).get(url).call().unwrap_or_else(|e| panic!("{url}: {e}"));
    let mut body = Vec::new();
    // A segment that broke off ends in an error, and what came of it is no segment.
    let whole = answer.body_mut().as_reader().read_to_end(&mut body).is_ok();
    (if whole { answer.status().as_u16() } else { 0 }, body)
}

/// What somebody has who takes each part of a rendition as soon as a blocking reload tells of it.
#[derive(Debug, Default)]
struct Followed {
    /// Bodies by name.
    parts: BTreeMap<String, Vec<u8>>,
    /// Names of parts of each segment that was seen whole, and its own.
    segments: Vec<(String, Vec<String>)>,
    /// Segments of which parts never came.
    broken: usize,
    reloads: usize,
}

/// Where a playlist ends: the segment that is being published, and its parts so far.
fn edge(playlist: &str) -> (u64, usize) {
    let number = |tag: &str| playlist.lines().find_map(|l| l.strip_prefix(tag)?.parse::<u64>().ok());
    let first = number("#EXT-X-MEDIA-SEQUENCE:").expect("media sequence");
    let skipped = number("#EXT-X-SKIP:SKIPPED-SEGMENTS=").unwrap_or(0);
    let segments = playlist.lines().filter(|l| !l.starts_with('#')).count() as u64;
    let behind = playlist.lines().rev().take_while(|l| l.starts_with('#'));
    (first + skipped + segments, behind.filter(|l| l.starts_with("#EXT-X-PART:")).count())
}

/// Follows a rendition's parts until it is told to stop.
fn follow(base: String, rendition: &'static str, stop: Arc<AtomicBool>) -> JoinHandle<Followed> {
    std::thread::spawn(move || {
        let mut seen = Followed::default();
        let address = format!("{base}/{rendition}");
        let (_, playlist) = get(&format!("{address}/index.m3u8"));
        let (mut msn, mut part) = edge(std::str::from_utf8(&playlist).expect("text"));
        let begin = msn;
        let mut newest = begin;
        while !stop.load(Ordering::Relaxed) {
            let skip = if seen.reloads % 3 == 0 { "" } else { "&_HLS_skip=YES" };
            let url = format!("{address}/index.m3u8?_HLS_msn={msn}&_HLS_part={part}{skip}");
            let (status, playlist) = get(&url);
            let playlist = String::from_utf8(playlist).expect("text");
            assert_eq!(status, 200, "{url}: {playlist}");
            seen.reloads += 1;
            let came = edge(&playlist);
            assert!(came > (msn, part), "{url} was answered before it was there:\n{playlist}");
            let (mut number, mut names) = (0, Vec::new());
            for line in playlist.lines() {
                if let Some(first) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                    number = first.parse().expect("a number");
                } else if let Some(skipped) = line.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS=") {
                    number += skipped.parse::<u64>().expect("a number");
                } else if line.starts_with("#EXT-X-PART:") {
                    let name = line.split("URI=\"").nth(1).and_then(|l| l.split('"').next()).expect("URI").to_owned();
                    if number >= begin && !seen.parts.contains_key(&name) {
                        let (status, body) = get(&format!("{address}/{name}"));
                        assert_eq!(status, 200, "{name}");
                        seen.parts.insert(name.clone(), body);
                    }
                    names.push(name);
                } else if !line.starts_with('#') {
                    if number > begin && !names.is_empty() && seen.segments.iter().all(|(known, _)| known != line) {
                        seen.segments.push((line.to_owned(), std::mem::take(&mut names)));
                    } else if names.is_empty() && number > newest {
                        // Those of which parts are missing are listed without any.
                        seen.broken += 1;
                    }
                    newest = newest.max(number);
                    names.clear();
                    number += 1;
                }
            }
            (msn, part) = came;
        }
        seen
    })
}

/// Takes one segment after the other while it grows, as LL-DASH clients do; bodies by number, and how often one came in pieces.
fn grow(
    base: String,
    rendition: &'static str,
    first: u64,
    stop: Arc<AtomicBool>,
) -> JoinHandle<BTreeMap<u64, Vec<u8>>> {
    std::thread::spawn(move || {
        let mut seen = BTreeMap::new();
        let mut n = first;
        while !stop.load(Ordering::Relaxed) {
            let (status, body) = get(&format!("{base}/{rendition}/{n}.m4s"));
            assert_eq!(status, 200, "segment {n} of {rendition}");
            seen.insert(n, body);
            n += 1;
        }
        seen
    })
}

/// Kills the pipeline on air in front of different parts of a segment, `deaths` times; each time the other one is in lock.
fn kill_again_and_again(server: &Server, deaths: u64) {
    for i in 0..deaths {
        let both = |s: &Server| {
            let status = s.status();
            status["pipelines"].as_array().is_some_and(|all| all.iter().all(|p| p["locked"] == true))
        };
        server.wait("both pipelines in lock", both);
        // From a fixed seed: 20 offsets spread over a segment.
        let offset = Duration::from_millis(i * 1_237 % 2000);
        std::thread::sleep(offset);
        let on_air = ["a", "b"].into_iter().find(|id| server.pipeline(id)["on_air"] == true).expect("one is on air");
        let pid = server.encoder_pid(on_air);
        signal(pid, "KILL");
        // Whether the other one goes on air depends on where the segment was: one that is back soon enough stays.
        server.wait("it is noticed", |s| s.pipeline(on_air)["pid"].as_u64() != Some(u64::from(pid)));
    }
}

/// `make soak`: twenty deaths.
pub fn deaths_in_mid_segment(deaths: u64) {
    // What was taken is compared with what is there in the end.
    let Options { extra, .. } = low();
    let (server, _publishers) = on_air(&Options { extra: format!("{extra}window = \"5min\"\n"), ..Options::default() });
    let base = server.hls().trim_end_matches("/index.m3u8").to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let seconds = 8 + 7 * deaths;
    let looks = inspect_all(&server, seconds);
    let newest = server.status()["publish"]["newest"].as_u64().expect("published");
    let parts = ["v360", "audio"].map(|rendition| (rendition, follow(base.clone(), rendition, Arc::clone(&stop))));
    let grown = grow(base.clone(), "v180", newest + 1, Arc::clone(&stop));
    kill_again_and_again(&server, deaths);
    for (what, look) in looks {
        look.verdict().assert_clean(&what);
    }
    stop.store(true, Ordering::Relaxed);
    for (rendition, followed) in parts {
        let seen = followed.join().expect("it follows");
        eprintln!(
            "{rendition}: {} parts by {} reloads, {} segments",
            seen.parts.len(),
            seen.reloads,
            seen.segments.len()
        );
        assert_eq!(seen.broken, 0, "{rendition}");
        assert!(seen.segments.len() as u64 > seconds / 2 - 6, "{rendition}: {}", seen.segments.len());
        for (segment, names) in &seen.segments {
            let parts: Vec<u8> = names.iter().flat_map(|name| seen.parts[name].clone()).collect();
            let (status, whole) = get(&format!("{base}/{rendition}/{segment}"));
            assert_eq!(status, 200);
            assert!(parts == whole, "{segment} of {rendition} is not its {} parts", names.len());
        }
    }
    let grown = grown.join().expect("it grows");
    for (n, body) in &grown {
        let (status, whole) = get(&format!("{base}/v180/{n}.m4s"));
        assert!(status == 200 && *body == whole, "segment {n} grew to something else");
    }
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
}

#[test]
fn deaths_in_mid_segment_are_not_seen_at_the_live_edge() {
    deaths_in_mid_segment(3);
}

/// hls.js and dash.js at the live edge, while the pipeline on air dies under each.
#[test]
fn players_of_low_latency_notice_no_death() {
    let (server, _publishers) = on_air(&low());
    let low_mpd = server.dash().replace("manifest.mpd", "low.mpd");
    for (name, url) in [("hlsjs", server.hls()), ("dashjs", low_mpd)] {
        let mut viewer = Viewer::of(&url, name, 12, None);
        viewer.wait_until_playing();
        let began = Instant::now();
        kill_again_and_again(&server, 1);
        assert!(began.elapsed() < Duration::from_secs(12), "the death falls into what is watched");
        let seen = viewer.seen();
        let json: &Value = &seen.json;
        eprintln!("{name}: behind live {}, age of pictures {}", json["latency_s"], json["age_s"]);
        assert_eq!(seen.code, Some(0), "{name}: {json:#}");
        // Far below what whole segments allow, with room for a busy machine.
        let age = json["age_s"]["median"].as_f64().expect("pictures carry their number");
        assert!(age < 4.0, "{name} shows pictures {age} s old");
        if name == "hlsjs" {
            assert!(json["blocked"].as_u64() > Some(20), "it made use of blocking reloads: {json:#}");
        }
    }
    assert_eq!(server.status()["publish"]["gaps"], 0);
}
