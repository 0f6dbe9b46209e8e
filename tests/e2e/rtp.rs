//! RTP and UDP from independent senders, byte for byte, through networks that lose and reorder by a seed.
//!
//! A sender's transport stream is known before it is sent (a file), or is written down by the network in between, which sees
//! every datagram. A stream that arrives as the same bytes has all of its frames.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tandem::config::{Cidr, DatagramInput, FecPorts, Interface, RtpInput};
use tandem::ingest::rtp::Order;
use tandem::ingest::{IngestEvent, rtp, udp};
use tandem::media::{ChannelId, SourceId, SourceName};
use tandem::monitor::LinkStatus;
use tokio::sync::{mpsc, watch};

use crate::harness::{Inspection, LIMIT, Options, Process, Server, need, signal_by_ffmpeg};
use crate::ports::{free_rtp, free_udp};
use crate::relay::{Fate, Lane, Lanes, Sent};

/// A transport stream of five seconds, at a constant rate.
pub fn stream(folder: &Path) -> PathBuf {
    need("ffmpeg");
    let file = folder.join("sent.ts");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25", "-f", "lavfi", "-i", "sine"]);
    ffmpeg.args(["-t", "5", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]);
    ffmpeg.args(["-f", "mpegts", "-muxrate", "2500k"]).arg(&file);
    assert!(ffmpeg.stdin(Stdio::null()).status().expect("ffmpeg runs").success());
    file
}

/// What arrived of a source.
#[derive(Clone, Debug, Default)]
struct Seen {
    ups: usize,
    downs: Vec<String>,
    refusals: Vec<String>,
    data: Vec<u8>,
    link: Option<LinkStatus>,
    /// Sequence numbers and payloads of RTP.
    packets: Vec<(u16, Vec<u8>)>,
}

impl Seen {
    /// Sequence numbers that are missing between others; they must rise.
    fn missing(&self) -> usize {
        let step = |pair: &[(u16, Vec<u8>)]| {
            let by = pair[1].0.wrapping_sub(pair[0].0);
            assert!((1..3000).contains(&by), "{} after {}", pair[1].0, pair[0].0);
            usize::from(by) - 1
        };
        self.packets.windows(2).map(step).sum()
    }

    fn take(&mut self, event: IngestEvent) {
        match event {
            IngestEvent::Up { .. } => self.ups += 1,
            IngestEvent::Down { reason } => self.downs.push(reason),
            IngestEvent::Refused { reason, .. } => self.refusals.push(reason),
            IngestEvent::Link(link) => self.link = Some(link),
            IngestEvent::Media { .. } => panic!("datagrams carry TS and nothing else"),
            IngestEvent::Data { data, rtp, .. } => {
                assert!(self.ups > self.downs.len(), "media while it is up");
                self.data.extend_from_slice(&data);
                self.packets.extend(rtp.map(|head| (head.sequence, data.to_vec())));
            }
        }
    }
}

/// A source that receives.
struct Receiver {
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
}

impl Receiver {
    fn rtp(input: RtpInput) -> Self {
        Self::start(|id, sink, stop| tokio::spawn(rtp::run(id, input, Order::Restored, sink, stop)))
    }

    fn udp(input: DatagramInput) -> Self {
        Self::start(|id, sink, stop| tokio::spawn(udp::run(id, input, sink, stop)))
    }

    fn start<T>(run: impl FnOnce(SourceId, mpsc::Sender<(SourceId, IngestEvent)>, watch::Receiver<bool>) -> T) -> Self {
        let (sink, mut events) = mpsc::channel(4096);
        let (stop, stopped) = watch::channel(false);
        let id = SourceId { channel: ChannelId::new("live").unwrap(), source: SourceName::new("main").unwrap() };
        run(id, sink, stopped);
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let taken = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some((_, event)) = events.recv().await {
                taken.lock().unwrap().take(event);
            }
        });
        Self { seen, stop }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Seen) -> bool) {
        let start = Instant::now();
        while !reached(&self.seen.lock().unwrap()) {
            let seen = self.seen();
            let (length, link) = (seen.data.len(), &seen.link);
            assert!(start.elapsed() < LIMIT, "waited for: {what}\n{length} bytes, {link:?}, {:?}", seen.refusals);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn at(address: &str, port: u16) -> DatagramInput {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    DatagramInput { address, interface: None, from: Vec::new(), allow: Vec::new() }
}

/// A busy machine may stop a sender in mid-matrix: there is time enough.
fn with_fec(port: u16) -> RtpInput {
    let fec = Some(FecPorts { columns: port + 2, rows: port + 4 });
    RtpInput { datagrams: at("127.0.0.1", port), reorder: Duration::from_millis(800), fec }
}

pub fn assert_same(got: &[u8], sent: &[u8]) {
    let parts = got.iter().zip(sent).position(|(a, b)| a != b);
    assert_eq!((parts, got.len()), (None, sent.len()), "first differing byte, and length");
}

pub fn gstreamer(pipeline: &str) -> Process {
    need("gst-launch-1.0");
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").args(pipeline.split_ascii_whitespace());
    Process::start("gst-launch-1.0", command.stdout(Stdio::null()))
}

fn ffmpeg(file: &Path, to: &[&str]) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-i"]).arg(file).args(["-map", "0", "-c", "copy"]).args(to);
    Process::start("ffmpeg", &mut command)
}

/// Coded pictures in a file, by ffprobe's count.
fn pictures(file: &Path) -> u32 {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v", "-count_packets", "-show_entries", "stream=nb_read_packets"]);
    let output = ffprobe.args(["-of", "default=nw=1:nk=1"]).arg(file).output().expect("ffprobe runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// Five packets of each sixty, in one burst: columns restore it, rows alone could not.
pub fn bursts(lane: Lane, index: u64) -> Fate {
    if lane == Lane::Media && index % 60 >= 55 { Fate::Lost } else { Fate::Passes }
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpegs_prompeg_restores_bursts_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = stream(folder.path());
    let (front, back) = (free_rtp(), free_rtp());
    let receiver = Receiver::rtp(with_fec(back));
    let lanes = Lanes::start(front, back, bursts);
    let url = format!("rtp://127.0.0.1:{front}");
    let rate = ["-f", "rtp_mpegts", "-mpegts_muxer_options", "muxrate=2500k"];
    let _sender = ffmpeg(&file, &[&rate[..], &["-fec", "prompeg=l=5:d=5", &url]].concat());
    receiver.until("its end", |seen| !seen.downs.is_empty()).await;
    let (seen, sent) = (receiver.seen(), lanes.media());
    let link = seen.link.clone().expect("figures");
    println!("ffmpeg: {} packets sent, {link:?}", sent.len());
    assert_restored(&seen, &sent, &link);
}

/// All but the last matrices arrived, of which no more sums were sent.
fn assert_restored(seen: &Seen, sent: &Sent, link: &LinkStatus) {
    assert!(sent.len() > 800, "{} packets were sent", sent.len());
    let sure = sent.len() - 2 * 25;
    let sent: Vec<_> = sent.values().cloned().collect();
    assert!(seen.packets[..sure] == sent[..sure], "packets differ; {} are missing", seen.missing());
    let lost = (0..sure as u64).filter(|index| bursts(Lane::Media, *index) == Fate::Lost).count() as u64;
    assert!(link.recovered >= lost, "{lost} lost, {link:?}");
}

/// GStreamer sends `file` as RTP to `front`, with 5×5 column and row FEC to the ports behind it.
fn with_gstreamers_fec(file: &Path, front: u16) -> Process {
    // Its encoder wants SSRC 0 of the media.
    gstreamer(&format!(
        "filesrc location={} ! queue ! tsparse set-timestamps=true ! rtpmp2tpay ssrc=0 ! rtpst2022-1-fecenc name=fec rows=5 \
         columns=5 ! udpsink host=127.0.0.1 port={front} fec.fec_0 ! udpsink host=127.0.0.1 port={} async=false fec.fec_1 ! \
         udpsink host=127.0.0.1 port={} async=false",
        file.display(),
        front + 2,
        front + 4,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn gstreamers_fec_restores_bursts_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = stream(folder.path());
    let (front, back) = (free_rtp(), free_rtp());
    let receiver = Receiver::rtp(with_fec(back));
    let lanes = Lanes::start(front, back, bursts);
    let _sender = with_gstreamers_fec(&file, front);
    receiver.until("its end", |seen| !seen.downs.is_empty()).await;
    let (seen, lanes) = (receiver.seen(), lanes.media());
    let link = seen.link.clone().expect("figures");
    println!("GStreamer: {} packets sent, {link:?}", lanes.len());
    assert_restored(&seen, &lanes, &link);
    let sent = std::fs::read(&file).unwrap();
    let sure = sent.len() - 2 * 25 * 1316;
    assert_same(&seen.data[..sure], &sent[..sure]);
    assert_eq!(seen.refusals, [""; 0]);
}

/// Random loss on all three ports, and packets that overtake each other: what cannot be solved is lost, the rest is in order and
/// as it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn random_loss_costs_only_what_cannot_be_solved() {
    let folder = tempfile::tempdir().unwrap();
    let file = stream(folder.path());
    let (front, back) = (free_rtp(), free_rtp());
    let receiver = Receiver::rtp(with_fec(back));
    let lanes = Lanes::start(front, back, |lane, index| {
        // A different, fixed fate for each datagram of each port.
        let mut dice =
            (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (lane as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95);
        dice ^= dice >> 29;
        dice = dice.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33;
        match dice % 100 {
            0..4 => Fate::Lost,
            4..10 => Fate::Late,
            10..12 => Fate::Twice,
            _ => Fate::Passes,
        }
    });
    let _sender = with_gstreamers_fec(&file, front);
    receiver.until("its end", |seen| !seen.downs.is_empty()).await;
    let (seen, sent) = (receiver.seen(), lanes.media());
    let link = seen.link.clone().expect("figures");
    println!("{} packets sent, {link:?}", sent.len());
    assert!(link.recovered >= 20 && link.reordered >= 20 && link.duplicates >= 10, "{link:?}");
    // 4 % of all packets lost, FEC's too: rarely more than one of a row and of a column.
    assert!(seen.missing() <= 4 && seen.missing() as u64 == link.dropped, "{} missing, {link:?}", seen.missing());
    let sent: BTreeMap<u16, Vec<u8>> = sent.into_values().collect();
    assert!(seen.packets.len() + 8 > sent.len(), "but for the first and the last, {} arrived", seen.packets.len());
    for (sequence, payload) in &seen.packets {
        assert!(sent[sequence] == *payload, "packet {sequence} is another");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn multicast_arrives_for_any_sender_and_for_a_named_one_and_not_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = stream(folder.path());
    let port = free_udp();
    let input = |from: &[&str], interface| DatagramInput {
        interface: Some(interface),
        from: from.iter().map(|ip| ip.parse().unwrap()).collect(),
        ..at("239.77.7.7", port)
    };
    let by_name = || Interface::Name("lo".into());
    let by_address = || Interface::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let rtp = |datagrams| RtpInput { datagrams, reorder: Duration::from_millis(50), fec: None };
    let wanted = [
        ("any sender, by name", Receiver::rtp(rtp(input(&[], by_name())))),
        ("any sender, by address", Receiver::rtp(rtp(input(&[], by_address())))),
        ("a named sender, by name", Receiver::rtp(rtp(input(&["127.0.0.1"], by_name())))),
        ("a named sender, by address", Receiver::rtp(rtp(input(&["127.0.0.9", "127.0.0.1"], by_address())))),
    ];
    let other = Receiver::rtp(rtp(input(&["127.0.0.9"], by_name())));
    let group = Receiver::rtp(rtp(DatagramInput {
        address: SocketAddr::new([239, 77, 7, 8].into(), port),
        ..input(&[], by_name())
    }));
    let _sender = gstreamer(&format!(
        "filesrc location={} ! queue ! tsparse set-timestamps=true ! rtpmp2tpay ! udpsink host=239.77.7.7 port={port} \
         multicast-iface=lo bind-address=127.0.0.1",
        file.display(),
    ));
    let sent = std::fs::read(&file).unwrap();
    for (name, receiver) in wanted {
        receiver.until(name, |seen| seen.data.len() >= sent.len()).await;
        assert_same(&receiver.seen().data, &sent);
        assert_eq!(receiver.seen().missing(), 0, "{name}");
    }
    for quiet in [other.seen(), group.seen()] {
        assert_eq!((quiet.ups, quiet.data.len()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_arrives_from_gstreamer_and_ffmpeg_and_from_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = stream(folder.path());
    let sent = std::fs::read(&file).unwrap();

    let port = free_udp();
    let receiver = Receiver::udp(at("127.0.0.1", port));
    let sender = gstreamer(&format!(
        "filesrc location={} ! queue ! tsparse set-timestamps=true alignment=7 ! udpsink host=127.0.0.1 port={port}",
        file.display()
    ));
    receiver.until("all of GStreamer's", |seen| seen.data.len() >= sent.len()).await;
    // When it drains at its end, tsparse sends some of its last packets out of place.
    let sure = sent.len() - 10 * 1316;
    assert_same(&receiver.seen().data[..sure], &sent[..sure]);
    drop(sender);

    // IPv6, and a socket that hears both kinds.
    let port = free_udp();
    let receiver = Receiver::udp(at("::1", port));
    let both = free_udp();
    let dual = Receiver::udp(DatagramInput { allow: vec![Cidr::parse("127.0.0.0/8").unwrap()], ..at("::", both) });
    let tee = format!(
        "[f=mpegts]udp\\://[\\:\\:1]\\:{port}?pkt_size=1316|[f=mpegts]udp\\://127.0.0.1\\:{both}?pkt_size=1316"
    );
    let _sender = ffmpeg(&file, &["-f", "tee", &tee]);
    for (name, receiver) in [("IPv6", &receiver), ("IPv4 at [::]", &dual)] {
        receiver.until("ffmpeg's end", |seen| !seen.downs.is_empty()).await;
        let arrived = folder.path().join("arrived.ts");
        std::fs::write(&arrived, receiver.seen().data).unwrap();
        assert_eq!((pictures(&arrived), pictures(&file)), (125, 125), "{name}");
    }
    assert_same(&receiver.seen().data, &dual.seen().data);

    // A list that has others on it.
    let port = free_udp();
    let receiver =
        Receiver::udp(DatagramInput { allow: vec![Cidr::parse("192.0.2.0/24").unwrap()], ..at("127.0.0.1", port) });
    let _sender = ffmpeg(&file, &["-f", "mpegts", &format!("udp://127.0.0.1:{port}?pkt_size=1316")]);
    receiver.until("news of a stranger", |seen| !seen.refusals.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen = receiver.seen();
    assert_eq!((seen.ups, seen.data.len(), seen.refusals.len()), (0, 0, 1), "told once");
}

/// A server with one source of its own kind for both pipelines.
fn server(source: &str) -> Server {
    let source = format!("[[channel.source]]\nid = \"s1\"\n{source}\n");
    Server::start(&Options {
        sources_a: vec!["s1"],
        sources_b: vec!["s1"],
        sources: Some(source),
        ..Options::default()
    })
}

/// A busy machine may stop a sender in mid-matrix here, too.
#[test]
fn every_frame_of_rtp_with_lost_packets_and_fec_reaches_the_viewer() {
    need("ffmpeg");
    let (front, back) = (free_rtp(), free_rtp());
    let server = server(&format!("type = \"rtp\"\naddress = \"127.0.0.1:{back}\"\nfec = true\nreorder = \"800ms\""));
    let _lanes = Lanes::start(front, back, bursts);
    let url = format!("rtp://127.0.0.1:{front}");
    let _publishers = signal_by_ffmpeg(&["-f", "rtp_mpegts", "-fec", "prompeg=l=5:d=5", &url]);
    server.wait_on_air();
    let verdict = Inspection::start(&server.hls(), "top", 20).verdict();
    verdict.assert_clean("RTP with FEC");
    let source = server.status()["sources"][0].clone();
    println!("{source:#}");
    assert!(source["link"]["recovered"].as_u64() > Some(20), "{source:#}");
    assert_eq!((&source["link"]["dropped"], &source["continuity_errors"]), (&0.into(), &0.into()), "{source:#}");
}

#[test]
fn every_frame_of_udp_reaches_the_viewer() {
    need("ffmpeg");
    let port = free_udp();
    let server = server(&format!("type = \"udp\"\naddress = \"127.0.0.1:{port}\"\nallow = [\"127.0.0.1\"]"));
    let _publishers = signal_by_ffmpeg(&["-f", "mpegts", &format!("udp://127.0.0.1:{port}?pkt_size=1316")]);
    server.wait_on_air();
    Inspection::start(&server.hls(), "top", 20).verdict().assert_clean("UDP");
    let source = server.status()["sources"][0].clone();
    assert_eq!((&source["transport"], &source["continuity_errors"]), (&"udp".into(), &0.into()), "{source:#}");
}
