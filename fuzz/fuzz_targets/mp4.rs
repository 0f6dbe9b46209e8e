//! Any bytes as the tables of an MP4 file, and as a fragment behind tables that are right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem::wire::mp4::read::{Header, Movie, SAMPLES_MAX};

fuzz_target!(|data: &[u8]| {
    if let Some(header) = Header::parse(data) {
        assert!(header.total.is_none_or(|total| total >= header.header));
    }
    let Some((cut, data)) = data.split_first_chunk() else { return };
    let (moov, moof) = data.split_at(usize::from(u16::from_be_bytes(*cut)).min(data.len()));
    let Ok(mut movie) = Movie::parse(moov) else { return };
    let _ = movie.fragment(u64::from(u16::from_be_bytes(*cut)), moof);
    for track in &movie.tracks {
        assert!(track.timescale > 0 && track.samples.len() <= SAMPLES_MAX);
    }
});
