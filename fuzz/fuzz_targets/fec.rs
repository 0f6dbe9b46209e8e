//! Any datagrams as FEC and as media into the decoder: no panic, and what was read is written again.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tandem::clock::Now;
use tandem::ingest::fec::Decoder;
use tandem::wire::fec::FecPacket;

fuzz_target!(|data: &[u8]| {
    let now = Now { mono: Instant::now(), utc: Duration::from_secs(1_000_000) };
    let mut decoder = Decoder::new(1);
    let mut rest = data;
    // A length, which also says what it is; then the datagram.
    while let [kind, length, behind @ ..] = rest {
        let (datagram, more) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = more;
        if kind % 2 == 0 {
            decoder.media(u64::from(*kind) * 5 + 70_000, now, &datagram.to_vec().into());
        } else if let Ok(fec) = FecPacket::parse(datagram) {
            let written = fec.write(7, 9, 3);
            assert_eq!(FecPacket::parse(&written), Ok(fec.clone()));
            decoder.parity(now, fec);
        }
        while decoder.pop().is_some() {}
    }
});
