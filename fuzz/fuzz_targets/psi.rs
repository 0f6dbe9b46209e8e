//! Any payloads into the section reader, PAT and PMT. The first byte of each payload of up to 184 says whether it starts a section.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem::wire::ts::{Pat, Pmt, Section, SectionReader, codec_of, crc32, language_of};

fuzz_target!(|data: &[u8]| {
    let mut reader = SectionReader::default();
    let mut pat = Pat::default();
    let mut look = |bytes: &[u8]| {
        let Some(Ok(section)) = Section::parse(bytes) else { return };
        pat.push(&section);
        if let Some(Ok(pmt)) = Pmt::parse(&section) {
            for stream in &pmt.streams {
                codec_of(stream);
                language_of(stream);
            }
        }
    };
    for part in data.chunks(185) {
        let (first, payload) = part.split_first().expect("a chunk is not empty");
        reader.push(payload, first & 1 == 1, |section| {
            let Ok(section) = section else { return };
            look(section);
            // The same with a right checksum, which no fuzzer finds by itself.
            if let Some((body, _)) = section.split_last_chunk::<4>() {
                look(&[body, &crc32(body).to_be_bytes()].concat());
            }
        });
        assert!(reader.buffered() <= 1024);
    }
});
