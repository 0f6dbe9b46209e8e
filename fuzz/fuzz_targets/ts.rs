//! Any bytes into a whole demux: no panic, bounded memory, and the size of the portions does not matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem::demux::{Config, Demux};

fuzz_target!(|data: &[u8]| {
    let config = Config { program: None, all_audio: true, pes_bytes_max: 64 * 1024 };
    let mut whole = Demux::new(config.clone());
    whole.push(data);
    // Framing, and what two dozen tracks may hold; an input of libFuzzer is far shorter anyway.
    assert!(whole.buffered_bytes() <= 2 * data.len() + 1024);
    whole.flush();
    let mut split = Demux::new(config);
    for part in data.chunks(97) {
        split.push(part);
    }
    split.flush();
    loop {
        let (a, b) = (whole.pop(), split.pop());
        assert_eq!(a, b);
        if a.is_none() {
            break;
        }
    }
    assert_eq!(whole.stats(), split.stats());
});
