//! Outputs read by independent readers: the bytes that come out are the bytes that went in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem::srt::Receiver;

use crate::harness::{LIMIT, Process, Server, need, signal};
use crate::ports::{free_rtp, free_udp};
use crate::relay::Lanes;
use crate::rtp::{assert_same, bursts, gstreamer, stream};
use crate::srt::ground::{KEY, paced, ts};

/// A UDP source to send to.
fn source(id: &str, port: u16) -> String {
    format!("[[channel.source]]\nid = \"{id}\"\ntype = \"udp\"\naddress = \"127.0.0.1:{port}\"\n")
}

fn output(id: &str, keys: &str) -> String {
    format!("[[channel.output]]\nid = \"{id}\"\n{keys}\n")
}

/// Null packets push what was sent before through the buffers of tools.
fn padding() -> Vec<u8> {
    [vec![0x47, 0x1f, 0xff, 0x10], vec![0xff; 184]].concat().repeat(7 * 60)
}

/// Sends to a UDP source at 4 Mbit/s.
pub fn push(port: u16, stream: Vec<u8>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        paced(&stream, |message| drop(socket.send_to(message, ("127.0.0.1", port))));
    })
}

/// What arrives at a UDP port, datagram by datagram.
pub fn collect(socket: UdpSocket) -> JoinHandle<Vec<Vec<u8>>> {
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).expect("a buffer");
    std::thread::spawn(move || {
        let (mut datagrams, mut buffer) = (Vec::new(), [0; 2000]);
        let began = Instant::now();
        loop {
            match socket.recv(&mut buffer) {
                Ok(length) => datagrams.push(buffer[..length].to_vec()),
                Err(_) if datagrams.is_empty() && began.elapsed() < LIMIT => {}
                Err(_) => return datagrams,
            }
        }
    })
}

/// libsrt's own tool, which writes what it reads into a file.
fn transmit(url: &str, into: &Path) -> Process {
    need("srt-live-transmit");
    let mut command = Command::new("srt-live-transmit");
    command.args(["-q", "-ll:fatal", "-buffering:1", "-chunk:1316", url, "file://con"]);
    Process::start("srt-live-transmit", command.stdout(File::create(into).expect("a file")).stderr(Stdio::null()))
}

/// ffmpeg, which copies bytes and does not look into them.
fn ffmpeg(url: &str, into: &Path) -> Process {
    need("ffmpeg");
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-f",
        "data",
        "-i",
        url,
        "-map",
        "0",
        "-c",
        "copy",
        "-flush_packets",
        "1",
        "-f",
        "data",
    ]);
    Process::start("ffmpeg", command.arg(into))
}

fn find<'s>(status: &'s Value, name: &str) -> &'s Value {
    let all = status["outputs"].as_array().expect("a list");
    all.iter().find(|output| output["name"] == name).unwrap_or_else(|| panic!("no output {name} in {status:#}"))
}

fn readers(server: &Server, output: &str) -> usize {
    find(&server.status(), output)["figures"]["readers"].as_array().map_or(0, Vec::len)
}

fn wait_for_file(server: &Server, file: &Path, sent: &[u8]) {
    let long_enough = |_: &Server| fs::metadata(file).is_ok_and(|about| about.len() >= sent.len() as u64);
    server.wait(&format!("{} is whole", file.display()), long_enough);
    assert_same(&fs::read(file).expect("readable")[..sent.len()], sent);
}

/// All files of a recording, by name.
fn recorded(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).map(|all| all.map(|entry| entry.expect("readable").path()).collect());
    let mut files: Vec<PathBuf> = entries.unwrap_or_default();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(file).expect("readable"))).collect()
}

#[test]
fn every_kind_of_srt_reader_and_udp_and_a_recording_get_every_byte() {
    let [input, own, keyed, theirs, watched, meeting, met] = [(); 7].map(|()| free_udp());
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let secret = tempfile::NamedTempFile::new().expect("a file");
    fs::write(secret.path(), KEY).expect("written");
    let server = Server::relay(
        &[
            source("s1", input),
            output("shared", "type = \"srt\""),
            output("own", &format!("type = \"srt\"\nmode = \"listener\"\nlisten = \"127.0.0.1:{own}\"")),
            output(
                "keyed",
                &format!(
                    "type = \"srt\"\nmode = \"listener\"\nlisten = \"127.0.0.1:{keyed}\"\npassphrase = \"file:{}\"",
                    secret.path().display()
                ),
            ),
            output(
                "calls",
                &format!("type = \"srt\"\nmode = \"caller\"\naddress = \"127.0.0.1:{theirs}\"\nstream_id = \"theirs\""),
            ),
            output(
                "meets",
                &format!(
                    "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"127.0.0.1:{meeting}\"\naddress = \"127.0.0.1:{met}\"\n\
                     passphrase = \"file:{}\"\nkey_length = 24",
                    secret.path().display()
                ),
            ),
            output("udp", &format!("type = \"udp\"\naddress = \"{}\"", udp.local_addr().unwrap())),
            output("watched", &format!("type = \"udp\"\naddress = \"127.0.0.1:{watched}\"")),
            output("tap", "type = \"record\"\nfolder = \"tap\"\nsegment_size = \"1MB\"\nmax_size = \"100MB\""),
        ]
        .concat(),
    );
    let file = |name: &str| server.dir.path().join(name);
    let request = format!("srt://127.0.0.1:{}?streamid=#!::r=test/shared,m=request&latency=300", server.srt);
    let plain = format!("srt://127.0.0.1:{}?streamid=test/shared&latency=300000", server.srt);
    let _readers = [
        transmit(&request, &file("request")),
        ffmpeg(&plain, &file("plain")),
        ffmpeg(&format!("srt://127.0.0.1:{own}?latency=300000"), &file("own")),
        transmit(&format!("srt://127.0.0.1:{keyed}?latency=300&passphrase={KEY}"), &file("keyed")),
        transmit(&format!("srt://:{theirs}?mode=listener&latency=300"), &file("theirs")),
        transmit(
            &format!("srt://127.0.0.1:{meeting}?mode=rendezvous&port={met}&latency=300&passphrase={KEY}"),
            &file("met"),
        ),
        ffmpeg(&format!("udp://127.0.0.1:{watched}?fifo_size=100000"), &file("watched")),
    ];
    let stranger = file("stranger");
    let _stranger = transmit(&format!("srt://127.0.0.1:{keyed}?latency=300&passphrase=wrong-{KEY}"), &stranger);
    let datagrams = collect(udp);
    for (name, count) in [("shared", 2), ("own", 1), ("keyed", 1), ("calls", 1), ("meets", 1)] {
        server.wait(&format!("{count} readers of {name}"), |s| readers(s, name) == count);
    }
    server.wait("ffmpeg listens", |_| UdpSocket::bind(("127.0.0.1", watched)).is_err());
    let sent = fs::read(stream(server.dir.path())).expect("made");
    push(input, [&sent[..], &padding()].concat()).join().expect("sent");
    for name in ["request", "plain", "own", "keyed", "theirs", "met", "watched"] {
        wait_for_file(&server, &file(name), &sent);
    }
    assert_eq!(fs::metadata(stranger).map_or(0, |about| about.len()), 0, "a wrong key reads nothing");
    let datagrams = datagrams.join().expect("collected");
    assert!(datagrams.iter().all(|datagram| datagram.len() <= 1316 && datagram.len() % 188 == 0));
    assert_same(&datagrams.concat()[..sent.len()], &sent);

    server.wait("everything is on disk", |_| {
        recorded(&file("tap")).iter().map(|(_, b)| b.len()).sum::<usize>() >= sent.len()
    });
    let files = recorded(&file("tap"));
    assert!(files.len() >= 2 && files.iter().all(|(_, bytes)| bytes.len() <= 1_000_000), "{} files", files.len());
    let whole: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_same(&whole[..sent.len()], &sent);

    server.wait("figures of all of it", |s| {
        let status = s.status();
        ["shared", "own", "calls", "meets", "udp", "tap"]
            .iter()
            .all(|name| find(&status, name)["figures"]["bytes"].as_u64() >= Some(sent.len() as u64))
    });
    let status = server.status();
    for name in ["shared", "own", "keyed", "calls", "meets", "udp", "tap"] {
        let output = find(&status, name);
        assert_eq!((&output["figures"]["dropped"], &output["alarm"]), (&0.into(), &Value::Null), "{output:#}");
    }
    assert!(find(&status, "shared")["figures"]["readers"][0]["rtt_ms"].as_f64() > Some(0.0), "{status:#}");
    assert!(server.log().contains("refused"), "the wrong key is told of");
    assert!(!server.log().contains(KEY), "and ours is not");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap_or_default();
    for child in children.split_whitespace() {
        let command = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        assert!(command.contains("srt-gateway"), "nothing is encoded: {command:?}");
    }
}

#[test]
fn gstreamer_restores_bursts_from_our_fec() {
    let (input, front, back) = (free_udp(), free_rtp(), free_rtp());
    let keys = format!("type = \"rtp\"\naddress = \"127.0.0.1:{front}\"\nfec = {{ columns = 5, rows = 5 }}");
    let server = Server::relay(&[source("s1", input), output("out", &keys)].concat());
    let arrived = server.dir.path().join("arrived.ts");
    let caps = |kind: &str, pt: u8| {
        format!("caps=application/x-rtp,media=video,clock-rate=90000,encoding-name={kind},payload={pt}")
    };
    let _receiver = gstreamer(&format!(
        "rtpst2022-1-fecdec name=dec size-time=2000000000 ! rtpjitterbuffer latency=1000 ! rtpmp2tdepay ! filesink buffer-mode=2 \
         location={} udpsrc address=127.0.0.1 port={back} {} ! dec.sink udpsrc address=127.0.0.1 port={} {} ! dec.fec_0 udpsrc \
         address=127.0.0.1 port={} {} ! dec.fec_1",
        arrived.display(),
        caps("MP2T", 33),
        back + 2,
        caps("SMPTE2022-1", 96),
        back + 4,
        caps("SMPTE2022-1", 96),
    ));
    // It says nothing when it is ready.
    std::thread::sleep(Duration::from_secs(2));
    let lanes = Lanes::start(front, back, bursts);
    let sent = fs::read(stream(server.dir.path())).expect("made");
    push(input, [&sent[..], &padding()].concat()).join().expect("sent");
    wait_for_file(&server, &arrived, &sent);
    let media = lanes.media();
    let lost = (0..media.len() as u64).filter(|index| index % 60 >= 55).count();
    println!("{} packets were sent, {lost} of them lost and restored", media.len());
    assert!(lost > 50, "{lost} packets were lost");
    let numbers: Vec<u16> = media.values().map(|(sequence, _)| *sequence).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "no gap in what we sent");
}

#[test]
fn two_paths_carry_the_same_packets() {
    let input = free_udp();
    let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [one, two] = [0, 1].map(|at: usize| sockets[at].local_addr().unwrap());
    let keys = format!("type = \"rtp\"\naddress = \"{one}\"\nsecond_address = \"{two}\"");
    let server = Server::relay(&[source("s1", input), output("out", &keys)].concat());
    let [one, two] = sockets.map(collect);
    let sent = ts(7, 7 * 300);
    push(input, sent.clone()).join().expect("sent");
    let [one, two] = [one, two].map(|arrived| arrived.join().expect("collected"));
    assert!(one == two, "headers and all: {} and {} datagrams", one.len(), two.len());
    let payload: Vec<u8> = one.iter().flat_map(|datagram| datagram[12..].to_vec()).collect();
    assert_same(&payload, &sent);
    assert!(one.iter().all(|datagram| datagram[..2] == [0x80, 33]), "MPEG-TS in RTP");
    drop(server);
}

#[test]
fn a_reader_that_stands_still_loses_its_own_packets_alone() {
    let input = free_udp();
    let server = Server::relay(&[source("s1", input), output("out", "type = \"srt\"")].concat());
    let url = format!("srt://127.0.0.1:{}?streamid=test/out&latency=300", server.srt);
    let file = |name: &str| server.dir.path().join(name);
    let _well = transmit(&url, &file("well"));
    let stopped = transmit(&url, &file("stopped"));
    server.wait("both read", |s| readers(s, "out") == 2);
    let sent = ts(8, 7 * 3000);
    let pusher = push(input, [&sent[..], &padding()].concat());
    server.wait("the second one reads", |_| fs::metadata(file("stopped")).is_ok_and(|about| about.len() > 100_000));
    signal(stopped.pid(), "STOP");
    pusher.join().expect("sent");
    wait_for_file(&server, &file("well"), &sent);
    // Before it goes on: then it writes what the system has kept for it.
    let had = fs::metadata(file("stopped")).expect("there").len();
    signal(stopped.pid(), "CONT");
    assert!(had < sent.len() as u64 / 2, "it was standing still: {had} of {}", sent.len());
    // Eight seconds: it counts as gone.
    server.wait("one reader is left", |s| readers(s, "out") == 1);
}

/// An allocation that fails would end the process that speaks SRT, and with it everybody's connection.
#[test]
fn readers_for_whom_there_is_no_memory_are_turned_away_and_the_others_keep_every_byte() {
    let input = free_udp();
    let channel = [source("s1", input), output("out", "type = \"srt\"\nreaders = 1000")].concat();
    let server = Server::relay_within("256MB", &channel);
    let url = format!("srt://127.0.0.1:{}?streamid=test/out&latency=300", server.srt);
    let well = server.dir.path().join("well");
    let _well = transmit(&url, &well);
    server.wait("one reads", |s| readers(s, "out") == 1);
    let sent = ts(9, 7 * 3000);
    let pusher = push(input, [&sent[..], &padding()].concat());
    let called = tandem::srt::Url::parse(&url).expect("an address");
    let (mut others, began) = (Vec::new(), Instant::now());
    let refused = loop {
        match Receiver::open(&called, Duration::from_secs(3)) {
            // So many may wait at the door at once, and it lets in one every 8 ms.
            Ok(reader) => others.push(reader),
            Err(error) if server.log().contains("raise srt.memory_max") => break error,
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
        assert!(began.elapsed() < LIMIT, "{} readers, and still room", others.len());
    };
    println!("{} readers beside the first one, then: {refused}", others.len());
    assert!(others.len() > 10, "{refused}");
    pusher.join().expect("sent");
    wait_for_file(&server, &well, &sent);
    assert!(!server.log().contains("gateway died"), "{}", server.log_tail());
}

#[test]
fn what_is_on_air_goes_on_from_the_next_source_at_a_packet_border() {
    let (one, two, udp) = (free_udp(), free_udp(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let keys = format!("type = \"udp\"\npipeline = \"a\"\naddress = \"{}\"", udp.local_addr().unwrap());
    let pipelines = "[channel.pipelines]\na = [\"s1\", \"s2\"]\n".to_owned();
    let server = Server::relay(&[pipelines, source("s1", one), source("s2", two), output("air", &keys)].concat());
    let file = fs::read(stream(server.dir.path())).expect("made");
    let datagrams = collect(udp);
    let second = push(two, [&file[..], &file[..]].concat());
    let first = push(one, file.clone());
    first.join().expect("sent");
    server.wait("the second source is taken", |s| find(&s.status(), "air")["source"] == "s2");
    second.join().expect("sent");
    let output = find(&server.status(), "air").clone();
    let got = datagrams.join().expect("collected").concat();
    assert!(got.len() % 188 == 0 && got.chunks(188).all(|packet| packet[0] == 0x47), "whole packets");
    assert!(output["switches"].as_u64() >= Some(1), "{output:#}");
    // Each packet that came out went in, and none but those around the switch is missing from what the first one sent.
    assert!(got.len() > file.len(), "{} of {} bytes and more", got.len(), file.len());
}

fn call(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut command = Command::new("curl");
    need("curl");
    command.args(["-s", "-o", "-", "-w", "\n%{http_code}", "-X", method]);
    for (name, value) in headers {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    if !body.is_empty() {
        command.args(["--data-binary", body]);
    }
    let output = command.arg(format!("http://127.0.0.1:{}{path}", server.control)).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, code) = text.rsplit_once('\n').expect("a code");
    (code.parse().expect("a number"), body.to_owned())
}

#[test]
fn outputs_are_added_and_removed_while_running() {
    let (input, own) = (free_udp(), free_udp());
    let server = Server::relay(&[source("s1", input)].concat());
    let path = "/v1/channels/test/outputs";
    let json_type = ("Content-Type", "application/json");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let good = json!({ "id": "more", "type": "udp", "source": "s1", "address": udp.local_addr().unwrap().to_string() })
        .to_string();
    for (name, headers, body, want, says) in [
        ("no type", &[][..], &*good, 415, "application/json"),
        ("another site", &[json_type, ("Origin", "http://evil.example")], &good, 403, "another site"),
        ("no JSON", &[json_type], "{", 400, "no JSON"),
        ("mistakes", &[json_type], r#"{"id":"X","type":"udp","adress":"1.2.3.4:5"}"#, 400, "did you mean `address`?"),
        ("a recording", &[json_type], r#"{"id":"x","type":"record","folder":"/etc"}"#, 400, "cannot be added"),
        ("good", &[json_type], &good, 201, "\"transport\":\"udp\""),
        ("again", &[json_type], &good, 409, "there is an output of this id"),
    ] {
        let (code, text) = call(&server, "POST", path, headers, body);
        assert!(code == want && text.contains(says), "{name}: {code} {text}");
    }
    assert_eq!(call(&server, "POST", "/v1/channels/none/outputs", &[json_type], &good).0, 404);
    let listener = json!({ "id": "port", "type": "srt", "mode": "listener", "listen": format!("127.0.0.1:{own}") });
    assert_eq!(call(&server, "POST", path, &[json_type], &listener.to_string()).0, 201);
    let file = server.dir.path().join("arrived");
    let _reader = transmit(&format!("srt://127.0.0.1:{own}?latency=300"), &file);
    server.wait("it reads", |s| readers(s, "port") == 1);

    let datagrams = collect(udp);
    let sent = ts(9, 7 * 300);
    push(input, [&sent[..], &padding()].concat()).join().expect("sent");
    wait_for_file(&server, &file, &sent);
    assert_same(&datagrams.join().expect("collected").concat()[..sent.len()], &sent);

    for name in ["more", "port"] {
        assert_eq!(call(&server, "DELETE", &format!("{path}/{name}"), &[], "").0, 204, "{name}");
    }
    assert_eq!(call(&server, "DELETE", &format!("{path}/more"), &[], "").0, 404);
    assert_eq!(server.status()["outputs"], json!([]));
    server.wait("the port is free again", |_| UdpSocket::bind(("127.0.0.1", own)).is_ok());
}

#[test]
fn ten_sources_on_one_port_are_relayed_without_loss() {
    need("srt-live-transmit");
    let names: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    let sockets: BTreeMap<&str, UdpSocket> =
        names.iter().map(|name| (&**name, UdpSocket::bind("127.0.0.1:0").unwrap())).collect();
    let text = names.iter().flat_map(|name| {
        let address = sockets[&**name].local_addr().unwrap();
        let source = format!("[[channel.source]]\nid = \"{name}\"\ntype = \"srt\"\n");
        [source, output(&format!("o{name}"), &format!("type = \"udp\"\nsource = \"{name}\"\naddress = \"{address}\""))]
    });
    let server = Server::relay(&text.collect::<String>());
    let inputs: Vec<u16> = names.iter().map(|_| free_udp()).collect();
    let _publishers: Vec<Process> = names
        .iter()
        .zip(&inputs)
        .map(|(name, port)| {
            let mut command = Command::new("srt-live-transmit");
            let to = format!("srt://127.0.0.1:{}?streamid=test/{name}&latency=500", server.srt);
            command.args(["-q", "-ll:fatal", "-chunk:1316", &format!("udp://127.0.0.1:{port}"), &to]);
            Process::start("srt-live-transmit", command.stdout(Stdio::null()).stderr(Stdio::null()))
        })
        .collect();
    server.wait("all are connected", |s| {
        s.status()["sources"].as_array().is_some_and(|all| all.iter().all(|one| one["connected"] == true))
    });
    let arrived: Vec<_> = sockets.into_iter().map(|(name, socket)| (name, collect(socket))).collect();
    let sent: BTreeMap<&str, Vec<u8>> =
        names.iter().enumerate().map(|(n, name)| (&**name, ts(n as u64 + 20, 7 * 600))).collect();
    let pushers: Vec<_> = names.iter().zip(&inputs).map(|(name, port)| push(*port, sent[&**name].clone())).collect();
    pushers.into_iter().for_each(|pusher| pusher.join().expect("sent"));
    for (name, arrived) in arrived {
        assert_same(&arrived.join().expect("collected").concat(), &sent[name]);
    }
}
