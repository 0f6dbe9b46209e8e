//! A path by its promises: order, restarts, strangers, silence, FEC.

use super::*;
use crate::ingest::fec::Encoder;

fn start() -> Now {
    Now { mono: Instant::now(), utc: Duration::from_secs(1_700_000_000) }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn peer(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 5000))
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let head = RtpHead { payload_type: 33, sequence, timestamp: 900 * u32::from(sequence), ssrc, marker: false };
    let mut bytes = head.write().to_vec();
    bytes.extend_from_slice(&[0x47, sequence as u8]);
    bytes
}

/// A path and the time it lives in; what it said, in short: `up`, `down`, `refused`, or a sequence number.
struct Played {
    path: Path,
    zero: Now,
    at: u64,
    said: Vec<String>,
}

impl Played {
    fn new(fec: bool, order: Order) -> Self {
        Self { path: Path::new(ms(50), fec, order), zero: start(), at: 0, said: Vec::new() }
    }

    fn now(&self) -> Now {
        self.zero.after(ms(self.at))
    }

    /// Lets time pass, millisecond by millisecond.
    fn until(&mut self, at: u64) {
        while self.at < at {
            self.at += 1;
            self.listen();
        }
    }

    fn send(&mut self, at: u64, from: u8, ssrc: u32, sequence: u16) {
        self.until(at);
        self.path.media(self.now(), peer(from), &packet(ssrc, sequence));
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(event) = self.path.pop(self.now()) {
            self.said.push(match event {
                IngestEvent::Up { peer } => format!("up {peer}"),
                IngestEvent::Down { reason } => format!("down: {reason}"),
                IngestEvent::Refused { .. } => "refused".into(),
                IngestEvent::Link(_) | IngestEvent::Media { .. } => "link".into(),
                IngestEvent::Data { data, rtp, .. } => {
                    let head = rtp.expect("it came over RTP");
                    assert_eq!(&data[..], &[0x47, head.sequence as u8]);
                    head.sequence.to_string()
                }
            });
        }
        assert!(self.path.wake_at().is_none_or(|wake| wake > self.now().mono), "all that is due was said");
    }

    fn said(&mut self) -> String {
        std::mem::take(&mut self.said).join(", ")
    }
}

#[test]
fn packets_come_in_order_over_the_wrap_and_silence_ends_it() {
    let mut played = Played::new(false, Order::Restored);
    for (at, sequence) in [(0, 65_534), (5, 0), (10, 65_535), (15, 1), (20, 1), (25, 3)] {
        played.send(at, 1, 7, sequence);
    }
    played.until(80);
    assert_eq!(played.said(), "up 192.0.2.1:5000, 65534, 65535, 0, 1, 3");
    let link = played.path.link().expect("it is up");
    assert_eq!((link.packets, link.lost, link.dropped, link.reordered, link.duplicates), (6, 1, 1, 1, 1), "{link:?}");
    assert_eq!(link.latency_ms, 50);
    played.until(2024);
    assert_eq!(played.said(), "");
    played.until(2025);
    assert_eq!(played.said(), "down: nothing came for 2 s");
    assert_eq!((played.path.link(), played.path.wake_at()), (None, None));
    played.send(2100, 2, 8, 500);
    played.until(2150);
    assert_eq!(played.said(), "up 192.0.2.2:5000, 500");
}

#[test]
fn a_sender_that_begins_anew_loses_nothing() {
    for (name, ssrc, first) in [("another SSRC", 8, 11), ("the same, far ahead", 7, 20_000), ("far behind", 7, 50_000)]
    {
        let mut played = Played::new(false, Order::Restored);
        played.send(0, 1, 7, 10);
        for i in 0..15u16 {
            played.send(10 + 10 * u64::from(i), 1, ssrc, first + i);
        }
        played.until(300);
        let new: Vec<String> = (first..first + 15).map(|n| n.to_string()).collect();
        let want = format!(
            "up 192.0.2.1:5000, 10, down: another stream took its place, up 192.0.2.1:5000, {}",
            new.join(", ")
        );
        assert_eq!(played.said(), want, "{name}");
        assert_eq!(played.path.link().map(|link| link.lost), Some(0), "{name}");
    }
}

#[test]
fn a_second_sender_is_kept_out_and_told_of_once() {
    let mut played = Played::new(false, Order::Restored);
    for i in 0..60u16 {
        played.send(10 * u64::from(i), 1, 7, 100 + i);
        played.send(10 * u64::from(i) + 5, 2, 8, 100 + i);
    }
    // When the first one has ended, the second takes its place, with all that it has sent since.
    for i in 60..65u16 {
        played.send(10 * u64::from(i) + 5, 2, 8, 100 + i);
    }
    played.until(700);
    let (said, own) = (played.said(), (100..160).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(said.matches("refused").count(), 1, "{said}");
    let said = said.replace("refused, ", "");
    let after = "down: another stream took its place, up 192.0.2.2:5000, 159, 160, 161, 162, 163, 164";
    assert_eq!(said, format!("up 192.0.2.1:5000, {}, {after}", own.join(", ")));
}

#[test]
fn one_stray_packet_changes_nothing() {
    let mut played = Played::new(false, Order::Restored);
    played.send(0, 1, 7, 1);
    played.send(10, 2, 8, 9000);
    played.until(1500);
    played.send(1500, 1, 7, 2);
    played.until(1600);
    assert_eq!(played.said(), "up 192.0.2.1:5000, 1, 2");
}

#[test]
fn what_is_no_media_is_counted() {
    let mut played = Played::new(true, Order::Restored);
    let now = played.now();
    let mut sound = packet(7, 1);
    sound[12] = 0xff;
    for bytes in [&b""[..], b"hello", &[0x47; 188], &sound, &vec![0x80; DATAGRAM_MAX + 1]] {
        played.path.media(now, peer(1), bytes);
    }
    played.path.parity(now, b"no FEC");
    assert!(played.path.pop(now).is_none() && played.path.link().is_none());
    played.send(1, 1, 7, 1);
    assert_eq!(played.path.link().map(|link| link.refused), Some(6));
    // Padding alone: it has a number, and nothing to hand on.
    played.path.media(played.now(), peer(1), &packet(7, 2)[..12]);
    played.send(2, 1, 7, 3);
    played.until(60);
    assert_eq!(played.said(), "up 192.0.2.1:5000, 1, 3");
    assert_eq!(played.path.link().map(|link| link.lost), Some(0));
}

#[test]
fn fec_restores_and_what_it_takes_is_waited_for() {
    for order in [Order::Restored, Order::AsTheyCome] {
        let mut played = Played::new(true, order);
        let mut encoder = Encoder::new(5, 4, false).expect("a matrix");
        // A burst of five in each matrix of twenty; columns come up to a matrix later.
        for sequence in 0..200u16 {
            encoder.push(&packet(7, sequence));
            let lost = sequence >= 40 && sequence % 20 < 5;
            if !lost {
                played.send(5 * u64::from(sequence), 1, 7, sequence);
            }
            while let Some((_, fec)) = encoder.pop() {
                played.path.parity(played.now(), &fec);
            }
        }
        played.until(1500);
        let link = played.path.link().expect("it is up");
        // Sums of the last matrix were never sent.
        assert_eq!((link.packets, link.recovered), (160, 35), "{link:?}");
        let mut heard: Vec<u16> = played.said.iter().filter_map(|said| said.parse().ok()).collect();
        assert_eq!(heard.is_sorted(), order == Order::Restored);
        heard.sort_unstable();
        assert_eq!(heard, (0..180).chain(185..200).collect::<Vec<_>>());
        assert_eq!((link.lost, link.dropped), (40, 5), "{order:?}: {link:?}");
        let waits = if order == Order::Restored { 180..=250 } else { 0..=0 };
        assert!(waits.contains(&link.latency_ms), "{order:?}: {link:?}");
    }
}

/// A sender begins with a burst, and the sockets of FEC are read before the one of media.
#[test]
fn fec_that_comes_before_its_stream_restores() {
    for (later, restored) in [(900, 5), (1100, 0)] {
        let mut played = Played::new(true, Order::Restored);
        let mut encoder = Encoder::new(5, 4, true).expect("a matrix");
        (0..60u16).for_each(|sequence| encoder.push(&packet(7, sequence)));
        while let Some((_, fec)) = encoder.pop() {
            played.path.parity(played.now(), &fec);
        }
        for sequence in (0..60).filter(|sequence| !(5..10).contains(sequence)) {
            played.send(later, 1, 7, sequence);
        }
        let link = played.path.link().expect("it is up");
        assert_eq!(link.recovered, restored, "{later} ms later: {link:?}");
    }
}

#[test]
fn jitter_is_that_of_the_arrivals() {
    // Timestamps are 10 ms apart.
    for (name, wobble, least, most) in [("even", 0, 0.0, 0.1), ("uneven", 8, 7.0, 8.5)] {
        let mut played = Played::new(false, Order::Restored);
        for i in 0..200u16 {
            played.send(10 * u64::from(i) + wobble * u64::from(i % 2), 1, 7, i);
        }
        let jitter = played.path.link().expect("it is up").jitter_ms;
        assert!((least..=most).contains(&jitter), "{name}: {jitter} ms");
    }
}
