//! Any bytes on up to three paths, with and without RTP numbers, at any times: no panic, time that never falls, and no more given out
//! than came in.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tandem::clock::Now;
use tandem::merge::{Config, Merge, Rtp};

fuzz_target!(|data: &[u8]| {
    let start = Now { mono: Instant::now(), utc: Duration::from_secs(1_795_262_400) };
    let mut merge = Merge::new(Config { paths: 3, window: Duration::from_millis(40) });
    let (mut now, mut last) = (start, start);
    let (mut bytes_in, mut bytes_out) = (0, 0);
    let mut rest = data;
    // A step: path and kind, time in ms, number of packets, sequence number; then five bytes a packet.
    while let Some((&[kind, wait, count, number], behind)) = rest.split_first_chunk() {
        now = now.after(Duration::from_millis(u64::from(wait)));
        let mut portion = Vec::new();
        rest = behind;
        for _ in 0..count % 16 {
            let Some((&[a, b, c, d, fill], behind)) = rest.split_first_chunk() else { break };
            let mut packet = [fill; 188];
            packet[..6].copy_from_slice(&[0x47, a, b, c, d, fill]);
            portion.extend(packet);
            rest = behind;
        }
        if kind & 0x40 != 0 {
            portion.truncate(portion.len().saturating_sub(usize::from(number)));
        }
        let rtp = Rtp { ssrc: u32::from(kind >> 4 & 1), sequence: u16::from(number) << (kind >> 2 & 3), timestamp: 0 };
        bytes_in += portion.len();
        merge.push(usize::from(kind & 3), now, (kind & 0x80 != 0).then_some(rtp), &Bytes::from(portion));
        let mut take = |merge: &mut Merge, now: Now| {
            while let Some(piece) = merge.pop(now) {
                assert!(piece.arrival.mono >= last.mono && piece.arrival.mono <= now.mono);
                last = piece.arrival;
                bytes_out += piece.data.len();
            }
        };
        take(&mut merge, now);
        if wait & 1 == 1 {
            now = now.after(Duration::from_millis(60));
            take(&mut merge, now);
        }
        assert!(merge.news().count() <= 256);
    }
    assert!(bytes_out <= bytes_in);
    let _ = (merge.wake_at(), merge.figures(now));
});
