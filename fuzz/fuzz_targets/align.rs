//! Packet borders of what goes on to outputs: any bytes in any portions give whole packets, or are left out.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tandem::output::align::Aligner;

fuzz_target!(|portions: Vec<Vec<u8>>| {
    let (mut aligner, mut came, mut went) = (Aligner::default(), 0, 0);
    for portion in portions {
        came += portion.len() as u64;
        aligner.push(Bytes::from(portion), |piece| {
            assert!(!piece.is_empty() && piece.len() % 188 == 0);
            assert!(piece.chunks(188).all(|packet| packet[0] == 0x47));
            went += piece.len() as u64;
        });
    }
    assert!(went + aligner.discarded() <= came);
});
