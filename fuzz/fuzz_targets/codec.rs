//! Any access unit in each format we emit into what makes samples and a header of it. The first byte says which format.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tandem::wire::mp4::{Pictures, Track, TrackMedia, VideoCodec, header};

fuzz_target!(|data: &[u8]| {
    let Some((&first, unit)) = data.split_first() else { return };
    let codec = [VideoCodec::Avc, VideoCodec::Hevc, VideoCodec::Av1][usize::from(first % 3)];
    let unit = Bytes::copy_from_slice(unit);
    let (mut pictures, mut pieces) = (Pictures::new(codec), Vec::new());
    let starts = pictures.take(&unit, &mut pieces);
    assert!(pieces.iter().all(|p| !p.is_empty()));
    assert!(pieces.iter().map(Bytes::len).sum::<usize>() <= unit.len());
    assert!(!starts || !pieces.is_empty());
    let Ok(config) = pictures.config() else { return };
    assert_eq!(config.difference(&config), None);
    assert!(config.codec().len() < 64);
    header(&Track { timescale: 25_000, language: *b"und", reorder_ticks: 0, media: TrackMedia::Video(config) });
    // Taken again, nothing is new.
    pictures.take(&unit, &mut pieces);
    assert!(pictures.config().is_ok());
});
