//! The main process dies and comes back: players find what they had, bytes under their URLs stay what they were, numbers go on.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{LIMIT, Options, Publisher, Publishers, Server};
use crate::players::{Seen, Viewer};
use crate::ports::{free_tcp, free_udp};

/// A channel of low latency whose window is kept on disk.
fn kept(window: &str) -> Options {
    let extra =
        format!("latency = \"low\"\npart = \"200ms\"\nwindow = \"{window}\"\n[channel.dvr]\nfolder = \"window\"\n");
    Options { extra, ..Options::default() }
}

/// A viewer that remembers what every URL answered.
#[derive(Debug, Default)]
struct Memory {
    bodies: BTreeMap<String, Vec<u8>>,
    /// Media sequence, newest whole segment, and parts behind it, of each rendition.
    edges: BTreeMap<String, (u64, u64, usize)>,
    /// What is listed now of segments and parts.
    listed: Vec<String>,
}

const RENDITIONS: [&str; 4] = ["v360", "v180", "audio", "trick"];

fn get(url: &str) -> Option<(u16, Vec<u8>)> {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent = ureq::Agent::new_with_config(config.timeout_global(Some(Duration::from_secs(20))).build());
    let mut answer = agent.get(url).call().ok()?;
    let body = answer.body_mut().read_to_vec().ok()?;
    Some((answer.status().as_u16(), body))
}

impl Memory {
    /// Looks at every playlist and fetches what is new. False while the origin does not answer.
    fn look(&mut self, base: &str) -> bool {
        self.listed.clear();
        for rendition in RENDITIONS {
            let Some((200, playlist)) = get(&format!("{base}/{rendition}/index.m3u8")) else { return false };
            let playlist = String::from_utf8(playlist).expect("text");
            assert!(!playlist.contains("DISCONTINUITY"), "{playlist}");
            let sequence = playlist.lines().find_map(|l| l.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).expect("a number");
            let sequence: u64 = sequence.parse().expect("a number");
            let (mut newest, mut behind, mut gap) = (sequence, 0, false);
            let mut urls = Vec::new();
            for line in playlist.lines() {
                match line {
                    "#EXT-X-GAP" => gap = true,
                    _ if line.starts_with("#EXT-X-PART:") => {
                        let name = line.split("URI=\"").nth(1).and_then(|l| l.split('"').next()).expect("URI");
                        behind += 1;
                        urls.push(format!("{rendition}/{name}"));
                    }
                    _ if line.starts_with("#EXT-X-MAP:") => {
                        let name = line.split("URI=\"").nth(1).and_then(|l| l.split('"').next()).expect("URI");
                        urls.push(format!("{rendition}/{name}"));
                    }
                    _ if line.starts_with('#') => {}
                    name => {
                        if !std::mem::take(&mut gap) {
                            urls.push(format!("{rendition}/{name}"));
                        }
                        (newest, behind) = (newest + 1, 0);
                    }
                }
            }
            let edge = (sequence, newest, behind);
            if let Some(before) = self.edges.insert(rendition.to_owned(), edge) {
                assert!(edge.0 >= before.0, "{rendition}: media sequence fell from {before:?} to {edge:?}");
                assert!(
                    (edge.1, edge.2) >= (before.1, before.2),
                    "{rendition}: the edge fell from {before:?} to {edge:?}"
                );
            }
            for url in urls {
                self.listed.push(url.clone());
                if self.bodies.contains_key(&url) {
                    continue;
                }
                match get(&format!("{base}/{url}")) {
                    Some((200, body)) => drop(self.bodies.insert(url, body)),
                    Some((404, _)) => {}
                    other => return other.is_some_and(|(status, _)| panic!("{url}: {status}")),
                }
            }
        }
        true
    }

    /// Fetches all that is listed again: the bytes are those of the first time.
    fn check(&self, base: &str) -> usize {
        let mut checked = 0;
        for url in &self.listed {
            let Some(known) = self.bodies.get(url) else { continue };
            let (status, body) = get(&format!("{base}/{url}")).expect("the origin answers");
            // It may have left the window meanwhile.
            assert!(status == 404 || body == *known, "{url} changed: {} bytes were {}", body.len(), known.len());
            checked += usize::from(status == 200);
        }
        checked
    }
}

/// Players' worth of requests, for as long as it lives: each waits for the next segment's first part, takes the playlist, and begins again.
struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    fn of(base: &str, clients: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let client = |i: usize| {
            let (base, over) = (base.to_owned(), Arc::clone(&over));
            let rendition = RENDITIONS[i % 3];
            move || {
                let mut answers = 0;
                while !over.load(Ordering::Relaxed) {
                    let next = get(&format!("{base}/{rendition}/index.m3u8")).and_then(|(_, body)| next_segment(&body));
                    let url = next.map(|msn| format!("{base}/{rendition}/index.m3u8?_HLS_msn={msn}&_HLS_part=0"));
                    match url.and_then(|url| get(&url)) {
                        Some((200, _)) => answers += 1,
                        _ => std::thread::sleep(Duration::from_millis(20)),
                    }
                }
                answers
            }
        };
        Self { clients: (0..clients).map(|i| std::thread::spawn(client(i))).collect(), over }
    }

    /// Blocking reloads that were answered.
    fn end(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().expect("a client ends")).sum()
    }
}

/// The number behind the last whole segment of a playlist, plus one: what a player that has all of it waits for.
fn next_segment(playlist: &[u8]) -> Option<u64> {
    let playlist = std::str::from_utf8(playlist).ok()?;
    let first: u64 = playlist.lines().find_map(|l| l.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"))?.parse().ok()?;
    Some(first + playlist.lines().filter(|l| !l.starts_with('#')).count() as u64 + 1)
}

/// A player whose origin died again and again, and who was never told anything: whatever stood goes on.
fn recovered(seen: &Seen, deaths: u64) {
    let Seen { json, .. } = seen;
    let of = |key: &str| json[key].as_array().cloned().unwrap_or_default();
    let (fatal, open) = (|e: &Value| e["fatal"] == true, |s: &Value| s["open"] == true);
    let ended = of("errors").into_iter().filter(fatal).chain(of("stalls").into_iter().filter(open)).collect::<Vec<_>>();
    assert!(ended.is_empty() && json["ended"] == false, "{} did not recover: {ended:?}\n{json:#}", seen.name);
    let number = |key: &str| json[key].as_f64().unwrap_or_default();
    let (played, watched) = (number("played_seconds"), number("watched_seconds"));
    let stood: f64 = of("stalls").iter().filter_map(|s| s["ms"].as_f64()).sum::<f64>() / 1000.0;
    eprintln!(
        "{} through {deaths} deaths: {played} of {watched} s played, {} stalls of {stood} s in all, {} jumps, {} decoded, age {}",
        seen.name,
        of("stalls").len(),
        of("jumps").len(),
        json["decoded"],
        json["age_s"]
    );
    // What it is not shown is what nobody encoded: four seconds or so a death.
    assert!(played > watched / 3.0, "{json:#}");
}

/// `make soak`: fifty deaths, `watched` in hls.js, with 32 clients who reload beside it.
pub fn deaths_of_the_main_process(deaths: u64, watched: bool) {
    let mut server = Server::start(&kept("40s"));
    let _publishers = Publishers::start(&server, &["s1", "s2", "s3", "s4"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    let base = server.hls().trim_end_matches("/index.m3u8").to_owned();
    let mut viewer = watched.then(|| {
        server.wait("enough for a player to begin with", |s| s.status()["publish"]["segments"].as_u64() >= Some(6));
        let mut viewer = Viewer::of(&server.hls(), "hlsjs", 3600, None);
        viewer.wait_until_playing();
        viewer
    });
    let load = Load::of(&base, if watched { 32 } else { 0 });
    let mut memory = Memory::default();
    let (mut slowest, mut checked) = (Duration::ZERO, 0);
    for i in 0..deaths {
        let until = Instant::now() + Duration::from_millis(1500 + i * 733 % 2000);
        while Instant::now() < until {
            assert!(memory.look(&base));
        }
        server.restart_after_kill();
        let began = Instant::now();
        // At once, before any encoder has begun: the same window.
        while !memory.look(&base) {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing is served again:\n{}", server.log_tail());
            std::thread::sleep(Duration::from_millis(10));
        }
        slowest = slowest.max(began.elapsed());
        let (_, manifest) = get(&format!("{base}/manifest.mpd")).expect("the origin answers");
        let manifest = String::from_utf8(manifest).expect("text");
        assert!(!manifest.contains("bandwidth=\"0\""), "bit rates are known from what was kept: {manifest}");
        checked += memory.check(&base);
        server.wait("a segment of each pipeline again", |s| {
            s.status()["pipelines"].as_array().is_some_and(|all| all.iter().all(|p| p["locked"] == true))
        });
    }
    assert!(memory.look(&base));
    if let Some(viewer) = viewer.take() {
        let newest = |s: &Server| s.status()["publish"]["newest"].as_u64();
        let then = newest(&server).map(|newest| newest + 6);
        server.wait("six segments more", |s| newest(s) >= then);
        recovered(&viewer.enough(), deaths);
    }
    let answered = load.end();
    eprintln!(
        "{deaths} deaths: served again within {slowest:?}; {checked} bodies fetched again, all the same; {answered} reloads waited"
    );
    assert!(checked > 40 * deaths as usize, "{checked}");
    // Each time the sources go on on the slots of the first one, which anchored them.
    let anchored = server.log().matches("anchored: a timeline of its own").count();
    assert_eq!(anchored, 1, "{}", server.log_tail());
    // Nothing is missing but what was on its way when it died.
    let status = server.status();
    assert_eq!(status["dvr"]["lost"], 0, "{status:#}");
    assert!(status["publish"]["gaps"].as_u64() <= Some(4), "{status:#}");
}

#[test]
fn a_killed_main_process_serves_what_it_served() {
    deaths_of_the_main_process(3, false);
}

/// dash.js stands still at a hole in a timeline until it has left the window: it is given a still picture instead.
#[test]
fn dash_js_plays_on_behind_what_a_killed_main_process_did_not_publish() {
    let extra = "window = \"60s\"\n[channel.dvr]\nfolder = \"window\"\n".to_owned();
    let mut server = Server::start(&Options { extra, ..Options::default() });
    let _publishers = Publishers::start(&server, &["s1", "s2", "s3", "s4"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    let newest = |s: &Server| s.status()["publish"]["newest"].as_u64();
    let more = |server: &Server, segments: u64| {
        let then = newest(server).map(|newest| newest + segments);
        server.wait("more segments", |s| newest(s) >= then);
    };
    server.wait("enough for a player to begin with", |s| s.status()["publish"]["segments"].as_u64() >= Some(6));
    let mut viewer = Viewer::of(&server.dash(), "dashjs", 3600, None);
    viewer.wait_until_playing();
    more(&server, 3);
    server.restart_after_kill();
    server.wait("it answers again", |s| s.get("/v1/channels/test").is_some());
    server.wait("something is missing", |s| s.status()["publish"]["gaps"].as_u64() > Some(0));
    // What is missing lies ahead of the player; so does the picture that stands for it.
    more(&server, 10);
    let seen = viewer.enough();
    recovered(&seen, 1);
    let stood = seen.json["stalls"].as_array().into_iter().flatten().filter_map(|s| s["ms"].as_f64()).sum::<f64>();
    assert!(stood < 8000.0, "as long as it has media ahead it plays: {:#}", seen.json);
}

/// What a process started that lives, and what that started in turn.
fn descendants(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let started = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let children: String = tasks.flatten().map(started).collect();
    let children: Vec<u32> = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    children.iter().flat_map(|&child| [vec![child], descendants(child)].concat()).collect()
}

/// The program's arguments; `None`: it does not run any more.
fn arguments(pid: u32) -> Option<String> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    (!line.is_empty()).then(|| line.replace('\0', " "))
}

#[test]
fn what_a_killed_main_process_started_ends_with_it() {
    let (folder, [origin, control]) = (tempfile::tempdir().expect("a folder"), [free_tcp(), free_tcp()]);
    let srt = free_udp();
    let ladder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/ladders/test.toml");
    let text = format!(
        "[origin]\nlisten = \"127.0.0.1:{origin}\"\n[control]\nlisten = \"127.0.0.1:{control}\"\n\
         [srt]\nlisten = \"127.0.0.1:{srt}\"\n[[channel]]\nid = \"test\"\nladder = \"{}\"\nframe_rate = \"25\"\n\
         [channel.pipelines]\na = [\"s1\"]\n[[channel.source]]\nid = \"s1\"\ntype = \"srt\"\n\
         [[signal]]\nto = [\"srt://127.0.0.1:{srt}?streamid=test/s1\"]\nsize = \"640x360\"\nrate = \"25\"\n",
        ladder.display()
    );
    let mut server = Server::written(folder, &text, [origin, control, srt]);
    server.wait_on_air();
    let started = descendants(server.pid());
    let names: Vec<_> = started.iter().filter_map(|&pid| arguments(pid)).collect();
    for name in ["signal", "encode-worker", "srt-gateway"] {
        assert!(names.iter().any(|line| line.contains(name)), "no {name} in {names:#?}");
    }
    server.kill();
    let begun = Instant::now();
    while let Some(line) = started.iter().find_map(|&pid| arguments(pid)) {
        assert!(begun.elapsed() < LIMIT, "it lives on: {line}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A file system of so many bytes, for as long as the test runs.
struct Mount(std::path::PathBuf);

impl Mount {
    fn of(at: &std::path::Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let mounted = mount(&["-t", "tmpfs", "-o", options, "tmpfs", &at.display().to_string()]);
        mounted.then(|| Self(at.to_owned()))
    }

    fn again(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}"), &self.0.display().to_string()]), "remount {options}");
    }
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount").args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_and_one_that_cannot_be_written_cost_nothing_but_the_window_on_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Mount::of(folder.path(), "ro,size=1m") else {
        eprintln!("SKIPPED: nothing may be mounted here");
        return;
    };
    let extra = format!("window = \"20s\"\n[channel.dvr]\nfolder = \"{}\"\n", folder.path().display());
    let server = Server::start(&Options { extra, ..Options::default() });
    let _publishers = Publishers::start(&server, &["s1", "s2", "s3", "s4"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    let failing = |s: &Server, so: bool| s.status()["dvr"]["failing"] == so;
    let newest = |s: &Server| s.status()["publish"]["newest"].as_u64().expect("published");
    let goes_on = |what: &str| {
        let then = newest(&server) + 3;
        server.wait(what, |s| newest(s) >= then);
    };
    server.wait("the disk cannot be written, and that is told", |s| failing(s, true));
    assert!(server.log().contains("dvr-failing"), "{}", server.log_tail());
    goes_on("segments beside a disk that cannot be written");
    disk.again("rw,size=1m");
    server.wait("the disk can be written, and that is told", |s| failing(s, false));
    server.wait("the disk is full, and that is told", |s| failing(s, true));
    goes_on("segments beside a full disk");
    disk.again("size=200m");
    server.wait("the disk has room again", |s| failing(s, false));
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
    assert!(status["dvr"]["lost"].as_u64() > Some(0), "{status:#}");
}
