//! Real streams, where they are at hand, against the counts of an independent reader.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::testing::start;
use super::*;
use crate::media::Item;

/// Name; packets a second by its PCR; counts of 1.3, 1.4, 1.5, then of 2.3 (a and b together) and 2.5.
/// A script that reads whole files made them. Files with one PAT alone, or made of pieces, are left out: there the two count differently.
type Row = (&'static str, u32, [u64; 5]);

const FILES: &[Row] = &[
    ("ac3_only.ts", 371, [0, 0, 0, 0, 0]),
    ("captions608_bbb_24000-1001.ts", 268, [0, 0, 0, 0, 0]),
    ("dts_hd.ts", 1150, [0, 0, 0, 0, 0]),
    ("dvb_h264_1080i25_4xeac3_dvbsub.ts", 3163, [0, 102, 0, 0, 0]),
    ("mpeg2_704x576i_mp2_dvbsub.ts", 2179, [0, 0, 0, 0, 0]),
    ("pcr_verify_1080p30.ts", 1092, [0, 0, 0, 0, 0]),
    ("h264_iframes_only.ts", 1165, [0, 0, 0, 0, 0]),
];

fn corpus() -> PathBuf {
    let shared = std::env::var_os("TANDEM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    shared.join("corpus")
}

/// Plays a file at its own pace.
fn measure(bytes: &[u8], per_second: u32) -> Measure {
    let (t0, mut measure) = (start(), Measure::default());
    let mut second = 1;
    for (n, part) in bytes.chunks(7 * 188).enumerate() {
        let at = Duration::from_secs_f64((n * 7) as f64 / f64::from(per_second.max(1000)));
        while at >= Duration::from_secs(second) {
            measure.tick(t0.after(Duration::from_secs(second)));
            second += 1;
        }
        measure.push(t0.after(at), part);
    }
    measure
}

#[test]
fn real_streams_count_as_an_independent_reader_counts_them() {
    let folder = corpus();
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let mut differ = Vec::new();
    for &(name, per_second, want) in FILES {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let measure = measure(&bytes, per_second);
        let count = |indicator| measure.count(indicator);
        let pcr = count(Indicator::PcrRepetitionError) + count(Indicator::PcrDiscontinuityError);
        let got = [
            count(Indicator::PatError),
            count(Indicator::ContinuityCountError),
            count(Indicator::PmtError),
            pcr,
            count(Indicator::PtsError),
        ];
        let others = super::testing::counted(&measure);
        if got != want {
            differ.push(format!("{name}: {got:?}, not {want:?}; {others:?}"));
        }
    }
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}

/// Name; pictures with caption data as ffprobe counts them; channels of the sound, with LFE; splice messages.
type Content = (&'static str, u64, Option<(u8, bool)>, u64);

// overflow_nalus.ts is left out: ffprobe finds captions in five of its pictures, and one is found here.
const CONTENT: &[Content] = &[
    ("captions608_bbb_24000-1001.ts", 690, Some((2, false)), 0),
    ("captions_sintel.ts", 240, Some((2, false)), 0),
    ("ac3_only.ts", 0, Some((5, true)), 0),
    ("dvb_sd_h264_ac3_6segs.ts", 0, Some((2, false)), 0),
    ("dvb_h264_1080i25_4xeac3_dvbsub.ts", 0, Some((2, false)), 0),
    ("mpeg2_704x576i_mp2_dvbsub.ts", 0, Some((2, false)), 0),
    ("hevc_aac_portrait.ts", 0, Some((2, false)), 0),
    ("scte35_mpeg2_short.ts", 0, Some((1, false)), 3),
    ("scte35_live_b.ts", 0, Some((2, false)), 10),
];

/// The demux's units, as the channel hands them over.
fn content(bytes: &[u8]) -> Measured {
    let mut measure = measure(bytes, 1000);
    let mut demux = crate::demux::Demux::new(crate::demux::Config::default());
    let mut tracks = None;
    let mut feed = |demux: &mut crate::demux::Demux| {
        while let Some(item) = demux.pop() {
            match item {
                Item::Tracks(set) => tracks = Some(set),
                Item::Unit(unit) => {
                    if let Some(track) = tracks.as_ref().and_then(|t: &std::sync::Arc<TrackSet>| t.get(unit.track)) {
                        measure.unit(track, &unit.data);
                    }
                }
                _ => {}
            }
        }
    };
    for part in bytes.chunks(1316) {
        demux.push(part);
        feed(&mut demux);
    }
    demux.flush();
    feed(&mut demux);
    measure.snapshot(tracks.as_deref())
}

#[test]
fn real_streams_hold_what_others_find_in_them() {
    let folder = corpus();
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let mut differ = Vec::new();
    for &(name, captions, layout, splices) in CONTENT {
        let measured = content(&std::fs::read(folder.join(name)).unwrap());
        let seen = measured.tracks.iter().find_map(|t| t.layout).map(|l| (l.channels, l.lfe));
        let got = (
            measured.tracks.iter().map(|t| t.caption_pictures).sum::<u64>(),
            seen,
            measured.scte35.iter().map(|s| s.messages).sum::<u64>(),
        );
        if got != (captions, layout, splices) {
            differ.push(format!("{name}: {got:?}, not {:?}", (captions, layout, splices)));
        }
    }
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}
