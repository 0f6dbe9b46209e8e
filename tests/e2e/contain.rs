//! Encode processes that go bad in every way they can: contained, started anew, in lock again, one event with the cause.
//!
//! Real processes get real signals, from outside. What no signal can make a good process do, a stand-in does that the
//! channel starts in its place: a script that misbehaves once and from then on is the real program. So the product needs no
//! switch for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tandem::channel::run::{self, Handle};
use tandem::child::frame;
use tandem::config::{Config, Input};
use tandem::encode::ipc::{CodedUnit, FromWorker, Heartbeat, Hello, Material, RenditionIndex, Thumbnail};
use tandem::ingest;
use tandem::media::{PipelineId, SegmentNumber, Slot};
use tandem::monitor::{Event, EventKind, PipelineStatus};
use tandem::output::exits::Exits;
use tokio::sync::watch;

use crate::harness::{LIMIT, Options, Publisher, Publishers, Server, signal};

/// In lock again within this time of the fault, whatever it is: 1.5 s until a process counts as hung (or two until one that
/// closed its socket has to have left), the back-off, and a segment until the first one that is not published yet is whole.
const SOON: Duration = Duration::from_secs(5);

fn tandem() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tandem"))
}

/// A channel inside of this test, on the built-in signal.
struct Fixture {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    handle: Option<Handle>,
    stop: watch::Sender<bool>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Fixture {
    /// `memory_max` as the config spells it.
    fn start(memory_max: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let stand_in = folder.path().join("stand-in");
        // A fault lies in the folder as a script; whoever starts first takes it away and becomes it.
        let script = format!(
            "#!/bin/sh\ncd '{}'\nif mv fault taken.$$ 2>/dev/null; then . ./taken.$$; fi\nexec '{}' \"$@\"\n",
            folder.path().display(),
            tandem().display()
        );
        fs::write(&stand_in, script).expect("written");
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).expect("made a program");
        let text = format!(
            "[[channel]]\nid = \"test\"\nladder = \"pipelines/ladders/test.toml\"\nmemory_max = \"{memory_max}\"\n\
             [channel.pipelines]\na = [\"s\"]\nb = [\"s\"]\n\
             [[channel.source]]\nid = \"s\"\ntype = \"test\"\nsize = \"640x360\"\nbitrate = \"1500kbps\"\n"
        );
        let config = Config::parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tandem.toml"), &text);
        let config = config.unwrap_or_else(|report| panic!("{report}")).channels.remove(0);
        let (stop, stopped) = watch::channel(false);
        let events = Arc::new(Mutex::new(Vec::new()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runs");
        let handle = runtime.block_on(async {
            let (source, log) = (config.sources[0].clone(), Arc::clone(&events));
            let report = move |event: Event| {
                eprintln!("{} {}", event.kind.as_str(), event.text);
                log.lock().expect("not poisoned").push(event);
            };
            let handle = run::start(move || stand_in.clone(), config, Exits::default(), None, report, stopped.clone());
            let Input::Test(shape) = source.input else { unreachable!("written so above") };
            tokio::spawn(ingest::test::run(tandem(), source.id, shape, handle.media.clone(), stopped));
            handle
        });
        let fixture = Self { runtime, folder, handle: Some(handle), stop, events };
        fixture.wait("both in lock with the source", LIMIT, |f| {
            let all = f.pipelines();
            all.len() == 2 && all.iter().all(|p| p.locked && p.showing == tandem::encode::ipc::Showing::Source)
        });
        fixture
    }

    fn pipelines(&self) -> Vec<PipelineStatus> {
        self.handle.as_ref().expect("until it is dropped").status.borrow().pipelines.clone()
    }

    fn wait(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < limit, "waited {limit:?} for: {what}\n{:#?}", self.pipelines());
            std::thread::sleep(Duration::from_millis(20));
        }
        began.elapsed()
    }

    fn count(&self, of: impl Fn(&Event) -> bool) -> usize {
        self.events.lock().expect("not poisoned").iter().filter(|e| of(e)).count()
    }

    /// How long after `fault`, by the wall clock, a pipeline was in lock with a process started later.
    fn locked_after(&self, which: PipelineId, fault: SystemTime) -> Duration {
        let fault = fault.duration_since(UNIX_EPOCH).expect("no clock is before 1970");
        let events = self.events.lock().expect("not poisoned");
        let mut later = events.iter().filter(|e| e.pipeline == Some(which) && e.at.to_utc() >= fault);
        later.find(|e| e.kind == EventKind::EncoderDied).expect("it died of it");
        later.find(|e| e.kind == EventKind::EncoderLocked).expect("it is in lock again").at.to_utc() - fault
    }

    /// Ends a pipeline's process, so that the next one is `fault`; what the log then says of that one's end, and how long
    /// after its beginning the pipeline was in lock.
    fn suffer(&self, which: PipelineId, fault: &str) -> (Vec<String>, Duration) {
        let before = self.events.lock().expect("not poisoned").len();
        let of = which.index();
        let starts = self.pipelines()[of].starts;
        let folder = self.folder.path();
        fs::write(folder.join("fault"), format!(": > began; {fault}")).expect("written");
        signal(self.pipelines()[of].pid.expect("it runs"), "KILL");
        self.wait("two starts on, in lock again", LIMIT, |f| {
            let p = &f.pipelines()[of];
            p.starts >= starts + 2 && p.locked
        });
        let began = fs::metadata(folder.join("began")).and_then(|m| m.modified()).expect("the fault began");
        let took = self.locked_after(which, began);
        let events = self.events.lock().expect("not poisoned");
        let died = events[before..].iter().filter(|e| e.kind == EventKind::EncoderDied && e.pipeline == Some(which));
        let mut died: Vec<String> = died.map(|e| e.text.clone()).collect();
        // On a machine that is too busy a process that is well may be taken for hung: not the one this is about.
        while died.len() > 2 && died.last().is_some_and(|text| text.contains("its heartbeat stopped")) {
            eprintln!("besides: {}", died.pop().expect("there is one"));
        }
        (died, took)
    }
}

/// Makes a process crash. Rust's own handlers of SIGSEGV and SIGBUS take themselves away and go back to the instruction that
/// failed, which then fails for good; where none did, the second signal is it.
fn crash(victim: u32, name: &str) {
    signal(victim, name);
    if matches!(name, "SEGV" | "BUS") {
        std::thread::sleep(Duration::from_millis(100));
        signal(victim, name);
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(handle) = self.handle.take() {
            let _ = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), handle.task).await });
        }
    }
}

fn hello() -> FromWorker {
    let text = || "stand-in".to_owned();
    FromWorker::Hello(Hello { version: text(), gstreamer: text(), x264: text(), simd: text(), ..Hello::default() })
}

#[test]
fn a_process_that_crashes_or_hangs_is_told_by_its_cause_and_back_soon() {
    let fixture = Fixture::start("1GB");
    for (name, cause) in [
        ("SEGV", "encode process ended: killed by signal 11 (SIGSEGV)"),
        ("ABRT", "encode process ended: killed by signal 6 (SIGABRT)"),
        ("STOP", "encode process ended: killed, its heartbeat stopped"),
        ("BUS", "encode process ended: killed by signal 7 (SIGBUS)"),
    ] {
        let of = |e: &Event| e.kind == EventKind::EncoderDied;
        let before = fixture.count(of);
        let victim = fixture.pipelines()[0].pid.expect("it runs");
        let fault = SystemTime::now();
        crash(victim, name);
        fixture.wait("in lock again", LIMIT, |f| {
            let a = &f.pipelines()[0];
            a.locked && a.pid.is_some_and(|pid| pid != victim)
        });
        let took = fixture.locked_after(PipelineId::A, fault);
        eprintln!("SIG{name}: in lock again after {took:.2?}");
        assert!(took < SOON, "SIG{name}: {took:?}");
        assert_eq!(fixture.count(of), before + 1, "SIG{name}: one event");
        assert_eq!(fixture.count(|e| of(e) && e.text.starts_with(cause)), 1, "SIG{name}");
    }
    assert_eq!(fixture.pipelines()[1].starts, 1, "the other one never noticed");
    assert_eq!(fixture.count(|e| e.kind == EventKind::SegmentGap), 0);
}

#[test]
fn a_process_that_says_anything_is_told_by_what_it_said() {
    // What a process that lost its mind might say after a proper hello.
    let folder = tempfile::tempdir().expect("a folder");
    let say = |name: &str, words: &[FromWorker]| {
        let bytes: Vec<u8> = words.iter().flat_map(|w| frame::encode(w).expect("encodes")).collect();
        fs::write(folder.path().join(name), bytes).expect("written");
    };
    let unit = |rendition, segment, position| {
        let (rendition, segment) = (RenditionIndex(rendition), SegmentNumber(segment));
        FromWorker::Coded(CodedUnit {
            rendition,
            segment,
            position,
            key: true,
            material: Material::Source,
            data: Bytes::from_static(b"\0\0\0\x01e"),
        })
    };
    say("hello", &[hello()]);
    say("rendition", &[hello(), unit(200, 1, 1)]);
    say("number", &[hello(), unit(0, u64::MAX, u64::MAX)]);
    say("early", &[FromWorker::Heartbeat(Heartbeat::default())]);
    let jpeg = Bytes::from(vec![0xd8; 1 << 20]);
    say("thumbnail", &[hello(), FromWorker::Thumbnail(Thumbnail { slot: Slot(0), jpeg })]);
    let stay = "; exec sleep 60";
    let words = folder.path().display();
    let kinds = [
        ("noise", format!("head -c 100000 /dev/urandom >&0{stay}"), "spoke nonsense: a message"),
        (
            "a mad length",
            format!("cat '{words}/hello' >&0; printf '\\377\\377\\377\\377' >&0{stay}"),
            "a message of 4294967295 bytes",
        ),
        (
            "a word that is none",
            format!("cat '{words}/hello' >&0; printf '\\001\\000\\000\\000\\377' >&0{stay}"),
            "that cannot be read",
        ),
        ("no such rendition", format!("cat '{words}/rendition' >&0{stay}"), "spoke nonsense: rendition 200 of 3"),
        ("no such segment", format!("cat '{words}/number' >&0{stay}"), "spoke nonsense: segment 18446744073709551615"),
        ("too early", format!("cat '{words}/early' >&0{stay}"), "spoke nonsense: something before its hello"),
        ("no thumbnail", format!("cat '{words}/thumbnail' >&0{stay}"), "spoke nonsense: a thumbnail that is none"),
        ("silence", format!("cat '{words}/hello' >&0{stay}"), "its heartbeat stopped"),
        ("deaf and dumb", "exec 0<&-; exec sleep 60".to_owned(), "it closed its socket and stayed"),
        ("exit", "exit 3".to_owned(), "exit status 3"),
    ];
    // One of each pipeline: a third fault in half a minute is waited for longer, on purpose.
    for pair in kinds.chunks(2) {
        let fixture = Fixture::start("1GB");
        for (which, (name, fault, cause)) in PipelineId::BOTH.into_iter().zip(pair) {
            let (died, took) = fixture.suffer(which, fault);
            eprintln!("{name}: in lock again after {took:.2?}");
            // The first one is our own kill, which made room.
            assert_eq!(died.len(), 2, "{name}: {died:#?}");
            assert!(died[0].contains("SIGKILL"), "{name}: {died:#?}");
            assert!(died[1].contains(cause), "{name}: {died:#?}");
            assert!(took < SOON, "{name}: {took:?}");
        }
    }
}

#[test]
fn a_flood_on_its_stderr_is_no_fault() {
    let fixture = Fixture::start("1GB");
    // Ten megabytes without a line's end, and then it is a good process.
    let starts = fixture.pipelines()[0].starts;
    fs::write(fixture.folder.path().join("fault"), "head -c 10000000 /dev/zero >&2").expect("written");
    signal(fixture.pipelines()[0].pid.expect("it runs"), "KILL");
    fixture.wait("in lock again", LIMIT, |f| {
        let a = &f.pipelines()[0];
        a.locked && a.starts == starts + 1
    });
    assert_eq!(fixture.count(|e| e.kind == EventKind::EncoderDied), 1, "our own kill");
}

#[test]
fn a_process_that_leaks_ends_at_its_limit() {
    let fixture = Fixture::start("600MB");
    // `tail` keeps a line that never ends. It says no hello, for which it has 20 s: what ends it is its memory.
    let (died, took) = fixture.suffer(PipelineId::A, "exec tail /dev/zero");
    eprintln!("a leak: in lock again after {took:.2?}");
    assert_eq!(died.len(), 2, "{died:#?}");
    assert!(took < SOON, "the leak itself is in it: {took:?}");
    assert!(died[1].contains("memory limit of 600 MB"), "{died:#?}");
    // The wall behind the limit, on a real process: its next large allocation fails, and it ends by itself.
    let victim = fixture.pipelines()[1].pid.expect("it runs");
    let before = fixture.count(|e| e.kind == EventKind::EncoderDied);
    let set = Command::new("prlimit").args(["--pid", &victim.to_string(), "--data=1000000"]).status();
    assert!(set.is_ok_and(|s| s.success()), "prlimit is part of util-linux");
    fixture.wait("in lock again", LIMIT, |f| {
        let b = &f.pipelines()[1];
        b.locked && b.pid.is_some_and(|pid| pid != victim)
    });
    assert_eq!(fixture.count(|e| e.kind == EventKind::EncoderDied), before + 1, "one event");
    let wall = tandem::child::data_wall(600_000_000);
    let pid = fixture.pipelines()[1].pid.expect("it runs");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find(|l| l.starts_with("Max data size")).expect("a line of its own");
    assert!(line.contains(&wall.to_string()), "{line}");
}

#[test]
fn viewers_see_nothing_of_a_crash_in_the_real_server() {
    let server = Server::start(&Options::default());
    let _publishers = Publishers::start(&server, &["s1", "s2", "s3", "s4"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    let victim = server.encoder_pid("a");
    crash(victim, "SEGV");
    server.wait("pipeline A is in lock again", |s| {
        let p = s.pipeline("a");
        p["locked"] == true && p["pid"].as_u64().is_some_and(|pid| pid != u64::from(victim))
    });
    let events = server.get("/v1/events").expect("answers");
    let died = |e: &&serde_json::Value| e["kind"] == "encoder-died";
    let died: Vec<_> = events["events"].as_array().expect("a list").iter().filter(died).collect();
    assert_eq!(died.len(), 1, "{died:#?}");
    assert!(died[0]["text"].as_str().is_some_and(|t| t.contains("signal 11 (SIGSEGV)")), "{died:#?}");
    let status = server.status();
    assert_eq!((&status["publish"]["gaps"], &status["publish"]["differs"]), (&0.into(), &0.into()), "{status:#}");
}
