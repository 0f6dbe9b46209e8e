//! SRT stream ids: any bytes are parsed or refused, and what is parsed is what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem::ingest::srt::stream_id;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(id) = stream_id::parse(bytes) {
        let text = std::str::from_utf8(bytes).expect("parsed ids are UTF-8");
        assert!(text.contains(&id.to_string()));
    }
    if let Some(id) = stream_id::wish(bytes).ok().and_then(|wish| wish.output()) {
        let text = std::str::from_utf8(bytes).expect("parsed ids are UTF-8");
        assert!(text.contains(&id.to_string()));
    }
});
