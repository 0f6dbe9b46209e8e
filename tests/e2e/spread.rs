//! A channel whose pipelines are made in two places: CMAF ingest, end to end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{
    Inspection, Place, Process, Publisher, Publishers, Server, Verdict, need, publish, signal, tandem,
};
use crate::ports::{free_tcp, free_udp};

/// A server's ports.
struct Ports {
    origin: u16,
    control: u16,
    srt: u16,
    ingest: u16,
}

impl Ports {
    fn free() -> Self {
        Self { origin: free_tcp(), control: free_tcp(), srt: free_udp(), ingest: free_tcp() }
    }

    /// A server on these, with one channel whose keys `channel` goes on with.
    fn serve(&self, channel: &str) -> Server {
        let Self { origin, control, srt, ingest } = self;
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("key.txt"), "sesame-of-tests\n").expect("the key is written");
        let ladder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/ladders/test.toml");
        let text = format!(
            "[origin]\nlisten = \"127.0.0.1:{origin}\"\n[control]\nlisten = \"127.0.0.1:{control}\"\n\
             [srt]\nlisten = \"127.0.0.1:{srt}\"\n[ingest]\nlisten = \"127.0.0.1:{ingest}\"\nkey = \"file:key.txt\"\n\
             [[channel]]\nid = \"test\"\nladder = \"{}\"\n{channel}",
            ladder.display()
        );
        Server::written(dir, &text, [*origin, *control, *srt])
    }
}

const SOURCE: &str = "[[channel.source]]\nid = \"s1\"\ntype = \"srt\"\nlatency = \"200ms\"\n";

/// ffmpeg as an encoder elsewhere: the pictures of a UDP port, in the renditions of the test ladder, with the parameter sets that ours have.
fn encoder(udp: u16, point: &str) -> Process {
    let mut command = Command::new("ffmpeg");
    let input = format!("udp://127.0.0.1:{udp}?fifo_size=100000&overrun_nonfatal=1");
    command.args(["-nostdin", "-v", "error", "-i", &input]);
    let x264 = "-c:v libx264 -preset superfast -profile:v high -bf 2 -g 50 -keyint_min 50 -sc_threshold 0 -crf 23 \
                -x264-params force-cfr=1:rc-lookahead=10 -colorspace bt709 -color_primaries bt709 -color_trc bt709 \
                -color_range tv -chroma_sample_location left";
    let form = "-movflags empty_moov+default_base_moof+delay_moov";
    for (name, size, rate) in [("v360", "640:360", 800), ("v180", "320:180", 250)] {
        command.args(["-map", "0:v", "-vf", &format!("scale={size},fps=25,format=yuv420p")]);
        command.args(x264.split_whitespace());
        command.args(["-maxrate", &format!("{rate}k"), "-bufsize", &format!("{}k", rate / 2)]);
        command.args(format!("{form}+frag_every_frame -f mp4 -method POST {point}/{name}").split_whitespace());
    }
    command.args("-map 0:a -c:a aac -ac 2 -ar 48000 -b:a 96k -frag_duration 200000".split_whitespace());
    command.args(format!("{form} -f mp4 -method POST {point}/audio").split_whitespace());
    Process::start("ffmpeg", command.stdout(Stdio::null()))
}

/// What holds where the pictures are another encoder's: none is missing or twice.
fn assert_every_picture(verdict: &Verdict) {
    for path in ["/video/missing", "/video/repeated", "/video/reordered"] {
        assert_eq!(verdict.number(path), 0.0, "{path}\n{:#}", verdict.json);
    }
}

#[test]
fn an_encoder_elsewhere_goes_on_where_ours_is_killed() {
    need("ffmpeg");
    let ports = Ports::free();
    let server =
        ports.serve(&format!("deterministic = false\n[channel.pipelines]\na = [\"s1\"]\nb = \"cmaf\"\n{SOURCE}"));
    let [ours, theirs] = [free_udp(), free_udp()];
    let _srt = publish(ours, &server.srt_url("s1"), Publisher::SrtLiveTransmit);
    let mut elsewhere =
        encoder(theirs, &format!("http://tandem:sesame-of-tests@127.0.0.1:{}/ingest/test/b", ports.ingest));
    let mut generator = tandem();
    generator.args(["signal", "--size", "640x360", "--bitrate", "1500k", "--rate", "25"]);
    for port in [ours, theirs] {
        generator.args(["--to", &format!("udp://127.0.0.1:{port}")]);
    }
    let _signal = Process::start("tandem signal", generator.stdout(Stdio::null()).stderr(Stdio::null()));

    server.wait("both pipelines in lock", |s| ["a", "b"].iter().all(|id| s.pipeline(id)["locked"] == true));
    let b = server.pipeline("b");
    assert!(b["ingest"]["peer"].is_string() && b["pid"].is_null(), "{b:#}");
    // Stopped, it is killed as hung; meanwhile nothing comes from it.
    signal(server.encoder_pid("a"), "STOP");
    server.wait("the encoder elsewhere is on air", |s| s.pipeline("b")["on_air"] == true);
    let newest = |s: &Server| s.status()["publish"]["newest"].as_u64().expect("segments are published");
    let then = newest(&server) + 4;
    server.wait("four segments of it", |s| newest(s) >= then);
    let verdict = Inspection::start(&server.hls(), "top", 6).verdict();
    assert_every_picture(&verdict);
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
    assert_eq!(server.pipeline("b")["on_air"], true, "{status:#}");
    assert!(server.pipeline("b")["ingest"]["segments"].as_u64() >= Some(12), "{status:#}");

    elsewhere.kill();
    server.wait("it is told to be silent, and ours is on air", |s| {
        s.pipeline("b")["running"] == false && s.pipeline("a")["on_air"] == true
    });
    assert_eq!(server.status()["publish"]["gaps"], 0);
    assert!(server.log().contains("ingest-silent"), "{}", server.log_tail());
    assert!(!server.log().contains("sesame"), "a key is never logged");
}

/// A host: where it runs, and its ports there.
struct Host {
    place: Place,
    /// By which the other one reaches it.
    inner: String,
    ports: Ports,
}

/// Two hosts. Where the system lets us make them, each is a network namespace, with a way to us and a way to the other one.
struct Net {
    hosts: [Host; 2],
    /// Namespaces, and on which link each reaches the other one.
    made: Vec<(String, String)>,
}

fn ip(arguments: &str) -> bool {
    let ran =
        Command::new("ip").args(arguments.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}

impl Net {
    fn new() -> Self {
        let pid = std::process::id();
        let names = ["a", "b"].map(|host| format!("td{pid}{host}"));
        let subnet = format!("10.213.{}", pid % 251);
        let mut net =
            Self { hosts: [1, 2].map(|n| Host::on_loopback(&format!("127.0.0.{}", n + 1))), made: Vec::new() };
        // Interface names have 15 characters at most.
        let link = |name: &str, end: &str| format!("t{}{end}", &name[2..]);
        let mut steps = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let (ours, theirs, low) = (link(name, "o"), link(name, "i"), 4 * n);
            steps.push(format!("netns add {name}"));
            steps.push(format!("link add {ours} type veth peer name {theirs} netns {name}"));
            steps.push(format!("addr add {subnet}.{}/30 dev {ours}", low + 1));
            steps.push(format!("-n {name} addr add {subnet}.{}/30 dev {theirs}", low + 2));
            steps.extend([format!("link set {ours} up"), format!("-n {name} link set {theirs} up")]);
            steps.push(format!("-n {name} link set lo up"));
        }
        let between = names.each_ref().map(|name| link(name, "x"));
        steps.push(format!(
            "link add {} netns {} type veth peer name {} netns {}",
            between[0], names[0], between[1], names[1]
        ));
        for (n, (name, between)) in names.iter().zip(&between).enumerate() {
            steps.push(format!("-n {name} addr add {subnet}.{}/30 dev {between}", n + 9));
            steps.push(format!("-n {name} link set {between} up"));
        }
        net.made = names.iter().cloned().zip(between.iter().cloned()).collect();
        if let Some(failed) = steps.iter().find(|step| !ip(step)) {
            eprintln!("no network namespaces here (`ip {failed}` failed): both hosts run on loopback addresses");
            net.take_down();
            return net;
        }
        for (n, name) in names.into_iter().enumerate() {
            net.hosts[n].place = Place { netns: Some(name), address: format!("{subnet}.{}", 4 * n + 2) };
            net.hosts[n].inner = format!("{subnet}.{}", n + 9);
        }
        net
    }

    /// Opens or closes the way between the two; false where there is none of their own.
    fn way(&self, state: &str) -> bool {
        self.made.first().is_some_and(|(name, between)| ip(&format!("-n {name} link set {between} {state}")))
    }

    fn take_down(&mut self) {
        for (name, _) in self.made.drain(..) {
            ip(&format!("netns del {name}"));
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.take_down();
    }
}

impl Host {
    fn on_loopback(address: &str) -> Self {
        let place = Place { netns: None, address: address.to_owned() };
        Self { place, inner: address.to_owned(), ports: Ports::free() }
    }

    /// A server here with the channel `test` of segments of a second: `own` it makes of its source, and publishes it to `other`.
    fn serve(&self, own: &str, other: &Self) -> Server {
        let Ports { origin, control, srt, ingest } = self.ports;
        // What another host reaches listens on all addresses of its own, or on the one it has here.
        let (all, loopback) = match self.place.netns {
            Some(_) => ("0.0.0.0", "0.0.0.0"),
            None => (self.place.address.as_str(), self.place.address.as_str()),
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("key.txt"), "sesame-of-tests\n").expect("the key is written");
        let ladder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/ladders/test.toml");
        let (made, got) = (format!("{own} = [\"s1\"]"), if own == "a" { "b = \"cmaf\"" } else { "a = \"cmaf\"" });
        let text = format!(
            "[origin]\nlisten = \"{all}:{origin}\"\n[control]\nlisten = \"{loopback}:{control}\"\n\
             [srt]\nlisten = \"{all}:{srt}\"\n[ingest]\nlisten = \"{all}:{ingest}\"\nkey = \"file:key.txt\"\n\
             [[channel]]\nid = \"test\"\nladder = \"{}\"\nsegment = \"1s\"\n\
             [channel.pipelines]\n{made}\n{got}\n\
             [[channel.publish]]\npipeline = \"{own}\"\nto = \"http://{}:{}/ingest/test/{own}\"\nkey = \"file:key.txt\"\n{SOURCE}",
            ladder.display(),
            other.inner,
            other.ports.ingest,
        );
        Server::placed(self.place.clone(), dir, &text, [origin, control, srt])
    }
}

/// Waits until both are on air, each hears the other one, and their sources lie on the same slots; then watches six segments, which must be equal:
/// so far behind the live edge begin those who join then.
fn agree(servers: &[Server; 2]) {
    for server in servers {
        server.wait("it answers, is in lock, hears the other host, and lies where that does", |s| {
            let Some(status) = s.get("/v1/channels/test") else { return false };
            let host = &status["other_host"];
            let lies = host["heard"] == true && host["agree"] == 1 && host["apart"] == 0;
            let mut pipelines = status["pipelines"].as_array().into_iter().flatten();
            lies && pipelines.all(|p| p["locked"] == true && p["showing"] == "source")
        });
    }
    // What began with the slate is made and compared within some segments.
    let newest = |s: &Server| s.status()["publish"]["newest"].as_u64();
    let then = servers.each_ref().map(|s| newest(s).map(|newest| newest + 3));
    for (server, then) in servers.iter().zip(then) {
        server.wait("three segments", |s| newest(s) >= then);
    }
    let compared = |s: &Server| {
        let publish = &s.status()["publish"];
        (publish["differs"].clone(), publish["equal"].as_u64().unwrap_or(0))
    };
    let before = servers.each_ref().map(compared);
    for (server, (differs, equal)) in servers.iter().zip(before) {
        server.wait("six equal segments", |s| {
            let now = compared(s);
            assert_eq!(now.0, differs, "it agrees, and bytes differ\n{}", s.log_tail());
            now.1 >= equal + 6
        });
    }
}

/// Two main processes on hosts of their own, each of which makes one pipeline and publishes it to the other: whichever is killed, the other one's
/// players see nothing, and it comes back onto the same slots by itself. `cut`: the way between them, too.
pub fn either_of_two_main_processes_dies(deaths: usize, seconds: u64, cut: bool) {
    let net = Net::new();
    let [one, two] = &net.hosts;
    let mut servers = [one.serve("a", two), two.serve("b", one)];
    let targets = [servers[0].srt_url("s1"), servers[1].srt_url("s1")];
    let _publishers = Publishers::to(&targets, Publisher::SrtLiveTransmit);
    agree(&servers);
    let silent = |s: &Server| s.log().matches("ingest-silent").count();
    let look = |s: &Server| ["top", "lowest"].map(|rendition| Inspection::start(&s.hls(), rendition, seconds));
    for death in 0..deaths {
        let (dies, stays) = (death % 2, 1 - death % 2);
        let (before, told) = (servers[stays].status()["publish"].clone(), silent(&servers[stays]));
        let looks = look(&servers[stays]);
        std::thread::sleep(Duration::from_secs(seconds / 4));
        servers[dies].kill();
        servers[stays].wait("what the other one published is silent", |s| silent(s) > told);
        let after = servers[stays].status()["publish"].clone();
        // Players go on while it comes back.
        servers[dies].restart_after_kill();
        looks.into_iter().for_each(|look| look.verdict().assert_clean("one of two main processes was killed"));
        assert_eq!(after["differs"], before["differs"], "both made equal bytes until then: {after:#}");
        agree(&servers);
        let status = servers[stays].status();
        assert_eq!(status["publish"]["gaps"], before["gaps"], "{status:#}");
        let own = ["a", "b"][stays];
        assert_eq!(servers[stays].pipeline(own)["starts"], 1, "{status:#}");
        assert_eq!(servers[dies].pipeline(["a", "b"][dies])["starts"], 1, "nobody is started again to agree");
    }
    if cut && net.way("down") {
        let looks = servers.each_ref().map(look);
        std::thread::sleep(Duration::from_secs(seconds / 2));
        assert!(net.way("up"));
        for look in looks.into_iter().flatten() {
            look.verdict().assert_clean("the way between two hosts was cut");
        }
        agree(&servers);
    }
}

/// Each of two, once.
#[test]
fn either_of_two_hosts_dies_and_comes_back_onto_the_same_slots() {
    either_of_two_main_processes_dies(2, 10, false);
}
