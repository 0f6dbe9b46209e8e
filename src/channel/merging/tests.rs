use super::*;
use crate::wire::rtp::RtpHead;

const STEP: u64 = 10;
const WINDOW: Duration = Duration::from_millis(100);

/// Two paths of RTP that bring a datagram each 10 ms.
struct Played {
    merging: Merging,
    start: Now,
    /// When, in ms, and what.
    said: Vec<(u64, String)>,
    /// First bytes of the datagrams that came out.
    out: Vec<u8>,
}

impl Played {
    fn new() -> Self {
        let of = ["left", "right"].map(|name| SourceName::new(name).expect("a name")).to_vec();
        let merging = Merging::new(&MergeInput { of, recovery_window: WINDOW }, &[]);
        Self { merging, start: crate::clock::now(), said: Vec::new(), out: Vec::new() }
    }

    fn at(&self, ms: u64) -> Now {
        self.start.after(Duration::from_millis(ms))
    }

    fn take(&mut self, ms: u64, path: usize, event: IngestEvent) {
        self.merging.take(self.at(ms), path, event);
        self.poll(ms);
    }

    /// Datagrams from `from` to `to`, ms, on the paths that `flows` says.
    fn play(&mut self, from: u64, to: u64, flows: impl Fn(usize) -> bool) {
        for ms in (from..to).step_by(STEP as usize) {
            for path in (0..2).filter(|path| flows(*path)) {
                let number = (ms / STEP) as u16;
                let head = RtpHead { marker: false, payload_type: 33, sequence: number, timestamp: 0, ssrc: 7 };
                let data = Bytes::from(vec![number as u8; 188]);
                self.take(ms, path, IngestEvent::Data { arrival: self.at(ms), data, rtp: Some(head) });
            }
            // As the channel would: whenever it is asked to.
            for millis in ms..ms + STEP {
                let now = self.at(millis);
                if self.merging.wake_at().is_some_and(|wake| wake.mono <= now.mono) {
                    self.poll(millis);
                }
            }
        }
    }

    fn poll(&mut self, ms: u64) {
        for said in self.merging.poll(self.at(ms)) {
            let text = match said {
                Said::Stream(IngestEvent::Data { arrival, data, .. }) => {
                    assert!(arrival.mono <= self.at(ms).mono);
                    self.out.extend(data.chunks(188).map(|packet| packet[0]));
                    continue;
                }
                Said::Stream(IngestEvent::Up { peer }) => format!("up {peer}"),
                Said::Stream(IngestEvent::Down { reason }) => format!("down {reason}"),
                Said::Stream(other) => format!("{other:?}"),
                Said::Event(path, _, kind, _) => {
                    format!("{} {}", path.map_or_else(String::new, |path| path.to_string()), kind.as_str())
                }
            };
            self.said.push((ms, text));
        }
    }

    fn said(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.said)
    }

    fn alarms(&self, ms: u64) -> Vec<Option<PathAlarm>> {
        self.merging.status(self.at(ms)).paths.iter().map(|path| path.alarm).collect()
    }
}

fn told(list: &[(u64, &str)]) -> Vec<(u64, String)> {
    list.iter().map(|(ms, text)| (*ms, (*text).to_owned())).collect()
}

#[test]
fn a_path_that_falls_silent_is_told_and_costs_nothing() {
    let mut played = Played::new();
    played.play(0, 1000, |_| true);
    assert_eq!(
        played.said(),
        told(&[(0, "up path left"), (0, "left path-merged"), (0, "right path-merged")]),
        "both from the first datagram on"
    );
    played.play(1000, 2000, |path| path == 1);
    assert_eq!(played.said(), told(&[(1490, "left path-lost")]), "500 ms after the last one");
    assert_eq!(played.alarms(2000), [Some(PathAlarm::Silent), None]);
    played.play(2000, 3000, |_| true);
    assert_eq!(played.said(), told(&[(2000, "left path-merged")]));
    played.play(3000, 3200, |_| false);
    assert_eq!(played.out, (0..300).map(|n| n as u8).collect::<Vec<_>>());
    let status = played.merging.status(played.at(3200));
    assert_eq!((status.given, status.unrecovered, status.by_sequence), (300, 0, true));
    assert_eq!((status.paths[0].lost, status.paths[1].saved), (100, 100), "{status:?}");
    assert_eq!((status.class, status.skew_ms), (Some('D'), Some(0.0)));
}

#[test]
fn when_all_paths_end_what_waits_comes_out_before_the_end_is_told() {
    let mut played = Played::new();
    played.play(0, 500, |_| true);
    let down = || IngestEvent::Down { reason: "gone".to_owned() };
    played.take(500, 0, down());
    played.take(500, 1, down());
    assert_eq!(played.said()[3..], told(&[(500, "left source-disconnected"), (500, "right source-disconnected")]));
    assert_eq!(played.alarms(500), [Some(PathAlarm::Offline); 2]);
    played.play(500, 700, |_| false);
    assert_eq!(played.out.len(), 50);
    assert_eq!(played.said(), told(&[(590, "down all of its paths have ended")]));
    assert_eq!(played.merging.wake_at(), None);
    // It comes back as something else, and goes on counting.
    played.take(900, 1, IngestEvent::Up { peer: "192.0.2.1:5000".to_owned() });
    played.play(900, 1500, |path| path == 1);
    assert_eq!(
        played.said(),
        told(&[(900, "right source-connected"), (900, "up path right"), (900, "right path-merged")])
    );
    played.play(1500, 1700, |_| false);
    assert_eq!(played.merging.status(played.at(1700)).given, 110);
    assert_eq!(played.merging.peer().as_deref(), Some("right"));
}

#[test]
fn a_connection_that_brings_nothing_is_silent_and_takes_no_part() {
    let mut played = Played::new();
    played.take(0, 0, IngestEvent::Up { peer: "192.0.2.1:5000".to_owned() });
    played.play(0, 2000, |path| path == 1);
    let said: Vec<String> = played.said().into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["left source-connected", "up path left", "right path-merged"]);
    assert_eq!(played.alarms(2000), [Some(PathAlarm::Silent), None]);
}
