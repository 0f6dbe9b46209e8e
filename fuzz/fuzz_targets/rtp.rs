//! Any datagrams into an RTP source, with time passing: no panic, sequence numbers rise, all that is due comes out.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tandem::clock::Now;
use tandem::ingest::IngestEvent;
use tandem::ingest::datagrams::Core;
use tandem::ingest::rtp::{Order, Path};

fuzz_target!(|data: &[u8]| {
    let mut now = Now { mono: Instant::now(), utc: Duration::from_secs(1_000_000) };
    let peer = "192.0.2.1:5004".parse().expect("an address");
    let mut path = Path::new(Duration::from_millis(20), true, Order::Restored);
    let (mut up, mut before) = (false, None::<u16>);
    let mut rest = data;
    // Milliseconds, which also say what it is; a length; then the datagram.
    while let [pause, length, behind @ ..] = rest {
        let (datagram, more) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = more;
        now = now.after(Duration::from_millis(u64::from(*pause)));
        if pause % 4 == 3 {
            path.parity(now, datagram)
        } else {
            path.media(now, peer, datagram)
        }
        while let Some(event) = path.pop(now) {
            match event {
                IngestEvent::Up { .. } => {
                    assert!(!up);
                    (up, before) = (true, None);
                }
                IngestEvent::Down { .. } => {
                    assert!(up);
                    up = false;
                }
                IngestEvent::Data { rtp, data, .. } => {
                    assert!(up && data.first() == Some(&0x47));
                    let sequence = rtp.expect("it came over RTP").sequence;
                    assert!(before.is_none_or(|before| (sequence.wrapping_sub(before) as i16) > 0));
                    before = Some(sequence);
                }
                IngestEvent::Media { .. } => panic!("RTP carries TS and nothing else"),
                IngestEvent::Refused { .. } | IngestEvent::Link(_) => {}
            }
        }
        assert!(path.wake_at().is_none_or(|wake| wake > now.mono));
        assert_eq!(path.link().is_some(), up);
    }
});
