//! Real streams, where they are at hand: tracks and number of units per file, and ffprobe as the judge of every time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::testing::{demux, units};
use super::*;

/// Name; programme; tracks, the ones with units first marked `*`; picture size; units of pictures and of sound.
/// ffprobe counts otherwise where a remark says so.
type Row = (&'static str, Option<u16>, &'static str, Option<(u32, u32)>, usize, usize);

const FILES: &[Row] = &[
    ("aac_latm.ts", Some(1), "*aac-latm", None, 0, 5),
    // ffprobe counts two pieces of frames as well.
    ("ac3_only.ts", Some(1), "*ac3", None, 0, 8),
    // The last frame is cut.
    ("broken_small.ts", Some(1), "*h264 *mpeg-audio", Some((1920, 1080)), 6, 3),
    ("captions608_bbb_24000-1001.ts", Some(1), "*h264 *aac-adts", Some((256, 192)), 690, 675),
    ("captions_sintel.ts", Some(1), "*h264 *aac-adts", Some((400, 170)), 240, 212),
    // No PAT that is whole.
    ("cc_errors_dup.ts", None, "", None, 0, 0),
    ("dts_hd.ts", Some(1), "130", None, 0, 0),
    // Fields of two pictures are cut off before the first PES packet; sound behind holes waits for the next time.
    (
        "dvb_h264_1080i25_4xeac3_dvbsub.ts",
        Some(1031),
        "*h264 *eac3 eac3 eac3 eac3 6 6 6 5 11",
        Some((1920, 1080)),
        225,
        217,
    ),
    ("dvb_sd_h264_ac3_6segs.ts", Some(1), "*h264 *ac3", Some((720, 576)), 420, 541),
    ("dvbsub_204byte.ts", Some(1), "*mpeg2-video 6", Some((128, 96)), 30, 0),
    ("dvbsub_graphics.ts", None, "", None, 0, 0),
    ("h264_aac_33s_270p.ts", Some(1), "*h264 *aac-adts", Some((480, 270)), 812, 1424),
    // Stated lengths are one too short; six of them end with a packet, so that their last byte comes on its own.
    ("h264_aac_576p.ts", Some(1), "*aac-adts *h264", Some((1024, 576)), 306, 559),
    ("h264_iframes_only.ts", Some(1), "*h264", Some((854, 480)), 30, 0),
    ("h264_mp3_id3.ts", Some(1), "*h264 *mpeg-audio 21", Some((1280, 720)), 1041, 1330),
    ("h264_noaud.ts", Some(1), "*h264", Some((640, 426)), 3, 0),
    ("hevc_aac_portrait.ts", Some(1), "*hevc *aac-adts", Some((720, 1280)), 300, 430),
    // What comes before the PMT is not kept; ffprobe goes back for it.
    ("late_patpmt.ts", Some(1), "*h264 *aac-adts", None, 1, 4),
    ("lcevc.ts", Some(1), "*h264", Some((960, 540)), 305, 0),
    ("m2ts_192byte.m2ts", Some(1), "*h264", Some((80, 60)), 3, 0),
    ("mpeg2_1080p24_mp2.ts", Some(1), "*mpeg2-video *mpeg-audio", Some((1920, 1080)), 58, 93),
    // As late_patpmt.
    ("mpeg2_704x576i_mp2_dvbsub.ts", Some(4352), "*mpeg2-video *mpeg-audio 6 11 11 5 5", Some((704, 576)), 117, 198),
    ("mpegh.ts", Some(1), "45", None, 0, 0),
    ("no_audio_data_in_audio_pid.ts", Some(1), "*h264 *aac-adts", Some((388, 300)), 134, 0),
    // A PES packet a picture, and one with the rest of the last.
    ("overflow_nalus.ts", Some(1), "*h264 *aac-adts", Some((960, 720)), 300, 215),
    ("pcr_verify_1080p30.ts", Some(1), "*h264 *mpeg-audio", Some((1920, 1080)), 299, 417),
    ("pts_rollover_20s.ts", Some(1), "*h264 *aac-adts", Some((640, 360)), 480, 937),
    ("scte35_live_b.ts", Some(1), "*h264 *aac-adts 134", Some((512, 288)), 250, 468),
    ("scte35_mpeg2_short.ts", Some(1), "*mpeg2-video *mpeg-audio 134", Some((640, 426)), 3, 4),
    ("teletext_only.ts", None, "", None, 0, 0),
    ("ts_discontinuity_jump.ts", Some(1), "*h264 *aac-adts", Some((640, 360)), 205, 394),
];

/// The folder with the streams; `None`, said aloud, where there is none.
fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("TANDEM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join("corpus");
    if !folder.is_dir() {
        eprintln!("skipped: no folder {}; set TANDEM_SHARED", folder.display());
        return None;
    }
    Some(folder)
}

fn name(codec: Codec) -> String {
    match codec {
        Codec::Other(stream_type) => stream_type.to_string(),
        known => serde_json::to_value(known).unwrap().as_str().unwrap().to_owned(),
    }
}

#[test]
fn every_file_gives_its_tracks_and_units() {
    let Some(folder) = folder() else { return };
    let mut wrong = Vec::new();
    for &(file, programme, tracks, size, pictures, sounds) in FILES {
        let (items, demux) = demux(Config::default(), &std::fs::read(folder.join(file)).unwrap(), 1316);
        let set = demux.tracks().map(|t| t.tracks.clone()).unwrap_or_default();
        let active: Vec<u16> = demux.core.active.iter().map(|a| a.id.0).collect();
        let mark = |t: &TrackInfo| if active.contains(&t.id.0) { "*" } else { "" };
        let listed: Vec<String> = set.iter().map(|t| format!("{}{}", mark(t), name(t.codec))).collect();
        let count =
            |kind| set.iter().filter(|t| t.codec.kind() == kind).map(|t| units(&items, t.id.0).len()).sum::<usize>();
        let shape = set.iter().find_map(|t| t.shape).map(|s| (s.width, s.height));
        let got = (demux.programme(), listed.join(" "), shape, count(TrackKind::Video), count(TrackKind::Audio));
        let want = (programme, tracks.to_owned(), size, pictures, sounds);
        if got != want {
            wrong.push(format!("{file}\n  got  {got:?}\n  want {want:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

/// PTS of each packet by PID, as ffprobe sees them, modulo 2³³. `None` where there is no ffprobe.
fn ffprobe(file: &Path) -> Option<BTreeMap<u16, Vec<i64>>> {
    let entries = "stream=index,id:packet=stream_index,pts";
    let run = Command::new("ffprobe")
        .args(["-v", "quiet", "-of", "json", "-show_streams", "-show_packets", "-show_entries", entries])
        .arg(file)
        .output();
    let out: serde_json::Value = serde_json::from_slice(&run.ok()?.stdout).ok()?;
    let pid = |stream: &serde_json::Value| u16::from_str_radix(stream["id"].as_str()?.strip_prefix("0x")?, 16).ok();
    let pids: BTreeMap<i64, u16> =
        out["streams"].as_array()?.iter().filter_map(|s| Some((s["index"].as_i64()?, pid(s)?))).collect();
    let mut times: BTreeMap<u16, Vec<i64>> = BTreeMap::new();
    for packet in out["packets"].as_array()? {
        if let (Some(pid), Some(pts)) = (pids.get(&packet["stream_index"].as_i64()?), packet["pts"].as_i64()) {
            times.entry(*pid).or_default().push(pts.rem_euclid(1 << 33));
        }
    }
    Some(times)
}

#[test]
fn ffprobe_agrees_with_every_time() {
    let Some(folder) = folder() else { return };
    let mut judged = 0;
    for &(file, ..) in FILES {
        let Some(judge) = ffprobe(&folder.join(file)) else {
            eprintln!("skipped: no ffprobe");
            return;
        };
        let (items, demux) = demux(Config::default(), &std::fs::read(folder.join(file)).unwrap(), 1316);
        for track in &demux.core.active {
            // It counts sound on in its own rounding, picture times are as they stand.
            let slack = if matches!(track.media, Media::Audio(_)) { 2 } else { 0 };
            let known = judge.get(&track.id.0).cloned().unwrap_or_default();
            for (pts, ..) in units(&items, track.id.0) {
                let pts = pts.rem_euclid(1 << 33);
                let near = known.iter().map(|k| k.abs_diff(pts)).min();
                assert!(near.is_some_and(|n| n <= slack), "{file}, {:?}: {pts} is {near:?} off", track.id);
                judged += 1;
            }
        }
    }
    assert!(judged > 10_000, "only {judged} times were judged");
}

#[test]
fn a_jump_in_a_real_stream_is_told() {
    let Some(folder) = folder() else { return };
    for (file, jumps) in [
        ("ts_discontinuity_jump.ts", true),
        ("pts_rollover_20s.ts", false),
        ("dvb_h264_1080i25_4xeac3_dvbsub.ts", false),
    ] {
        let mut demux = Demux::new(Config::default());
        let mut far = std::collections::BTreeSet::new();
        for portion in std::fs::read(folder.join(file)).unwrap().chunks(1316) {
            demux.push(portion);
            while let Some(item) = demux.pop() {
                if let Item::Unit(unit) = item {
                    far.extend(demux.step(unit.track).filter(|s| s.by.abs() > 90_000).map(|_| unit.track));
                }
            }
        }
        let want = if jumps { demux.core.active.len() } else { 0 };
        assert_eq!(far.len(), want, "{file}: tracks that jumped: {far:?}");
    }
}

#[test]
fn joining_a_real_stream_later_gives_the_same_units() {
    let Some(folder) = folder() else { return };
    for file in [
        "captions608_bbb_24000-1001.ts",
        "overflow_nalus.ts",
        "hevc_aac_portrait.ts",
        "dvb_sd_h264_ac3_6segs.ts",
        "mpeg2_1080p24_mp2.ts",
    ] {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let (early, _) = demux(Config::default(), &bytes, 1316);
        for from in [10_001, 100_000, 300_007] {
            let (late, demuxed) = demux(Config::default(), &bytes[from..], 1316);
            for track in &demuxed.core.active {
                let of = |items: &[Item<SourceTime>]| -> Vec<Unit<SourceTime>> {
                    let unit = |i: &Item<SourceTime>| if let Item::Unit(u) = i { Some(u.clone()) } else { None };
                    items.iter().filter_map(unit).filter(|u| u.track == track.id).collect()
                };
                let (early, late) = (of(&early), of(&late));
                assert!(late.len() > 40, "{file} from {from}: {} units of {:?}", late.len(), track.id);
                assert!(early.ends_with(&late), "{file} from {from}: {:?} differs", track.id);
            }
        }
    }
}
