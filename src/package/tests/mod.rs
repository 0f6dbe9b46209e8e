//! The packager as a whole: golden files, third-party judges, and simulated pipelines on virtual time.

mod golden;
mod judges;
mod long;
mod low_latency;
mod made_up;
mod patches;
mod selection;
mod shifted;
mod simulation;
pub(super) mod transport;
mod views;
mod warm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::digest::Digest;
use super::*;
use crate::clock::Now;
use crate::encode::ipc::{CodedUnit, Filled, Material, RenditionIndex, SegmentEnd};
use crate::encode::ladder::{RateControl, VideoEncoder, VideoFormat};
use crate::media::{ChannelTime, FrameRate, RenditionId, SegmentNumber};

/// 640x360, High, level 3.0.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x61, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03,
    0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
];
/// Main, the same size: what another encoder would have made.
const SPS_OF_ANOTHER: &[u8] = &[
    0x67, 0x4d, 0x40, 0x1e, 0xec, 0xa0, 0x50, 0x17, 0xfc, 0xb0, 0x80, 0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x19,
    0x07, 0x8b, 0x16, 0xcb,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

/// 640x360 by x265 3.5, Main, level 2.1.
const HEVC_VPS: &[u8] =
    b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3f\x95\x90\x09";
const HEVC_SPS: &[u8] = b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3f\xa0\x05\x02\x01\x71\xf2\xe5\x95\x91\x29\x30\xbc\x05\xa0\x20\x00\x00\x03\x00\x20\x00\x00\x03\x03\x21";
const HEVC_PPS: &[u8] = b"\x44\x01\xc0\x73\xc1\x89";
/// 640x360 by SVT-AV1 1.4, Main, level 2.1: a sequence header OBU.
const AV1_SEQUENCE: &[u8] = b"\x0a\x0b\x00\x00\x00\x0c\xc4\xff\x67\x3e\xfe\x40\x10";

/// 21 November 2026, 14:00:00 UTC, in segments of 2 s.
const FIRST: u64 = 897_634_800;

fn rung(id: &str, max_bitrate: u32) -> VideoRung {
    let id = RenditionId::new(id).expect("good name");
    VideoRung::new(id, 640, 360, RateControl::CappedCrf { crf: 23.0, max_bitrate })
}

fn sound(id: &str, language: Option<&[u8; 3]>, channels: u8, bitrate: u32) -> AudioRung {
    AudioRung { id: RenditionId::new(id).expect("good name"), bitrate, channels, language: language.copied() }
}

/// Every kind of rendition there is: three formats, three languages, stereo and 5.1.
fn config_of_everything() -> Config {
    let by = |encoder, id, max_bitrate| VideoRung { encoder, ..rung(id, max_bitrate) };
    Config {
        video: vec![
            by(VideoEncoder::SvtAv1, "av1-360", 400_000),
            by(VideoEncoder::X264, "v360", 700_000),
            by(VideoEncoder::X265, "hevc-360", 500_000),
            by(VideoEncoder::X264, "v180", 300_000),
        ],
        audio: vec![
            sound("eng", Some(b"eng"), 2, 128_000),
            sound("eng-51", Some(b"eng"), 6, 320_000),
            sound("deu", Some(b"ger"), 2, 128_000),
            sound("gsw", Some(b"gsw"), 1, 64_000),
        ],
        ..config()
    }
}

fn config_at(rate: FrameRate) -> Config {
    Config {
        channel: ChannelId::new("news").expect("good name"),
        grid: Grid::new(Duration::from_secs(2), rate).expect("good grid"),
        part: Duration::from_millis(480),
        serve: Serve { hls: true, dash: true, ..Serve::default() },
        profiles: Vec::new(),
        window: Duration::from_secs(12),
        pipelines: PipelineId::BOTH.to_vec(),
        video: vec![rung("v360", 700_000), rung("v180", 300_000)],
        audio: vec![AudioRung {
            id: RenditionId::new("a1").expect("good name"),
            bitrate: 128_000,
            channels: 2,
            language: None,
        }],
        language: "en".into(),
        time_uri: "/time".into(),
        deterministic: true,
        disk: false,
        save: false,
    }
}

/// Parts of 0.4 s in playlists and manifest.
fn with_parts(config: Config) -> Config {
    let serve = Serve { hls: true, low_latency_hls: true, dash: true, low_latency_dash: true, ..Serve::default() };
    Config { serve, part: Duration::from_millis(400), ..config }
}

fn config() -> Config {
    config_at(FrameRate::new(25, 1).expect("good rate"))
}

/// Virtual time: the instant a segment's interval begins.
fn start_of(config: &Config, n: u64) -> Now {
    Now { mono: Instant::now(), utc: config.grid.segment_start(SegmentNumber(n)).to_utc() }
}

fn annexb(units: &[&[u8]]) -> Bytes {
    units.iter().flat_map(|u| [&[0, 0, 0, 1], *u].concat()).collect::<Vec<u8>>().into()
}

/// Pictures in groups of three, as x264 orders them with two B-frames: the last one first.
fn decode_order(count: u64) -> Vec<u64> {
    let mut order = vec![0];
    let mut at = 1;
    while at < count {
        let last = (at + 2).min(count - 1);
        order.push(last);
        order.extend(at..last);
        at = last + 1;
    }
    order
}

/// The units of one segment of one rendition; equal arguments give equal units. `flavour` changes the pictures.
fn units(config: &Config, rendition: usize, n: u64, flavour: u8) -> Vec<CodedUnit> {
    let n = SegmentNumber(n);
    let unit = |position: u64, key: bool, data: Bytes| CodedUnit {
        rendition: RenditionIndex(rendition as u8),
        segment: n,
        position,
        key,
        material: Material::Source,
        data,
    };
    if rendition >= config.video.len() {
        let frame = |p: u64| unit(p, true, Bytes::from(vec![0x21, p as u8, flavour, rendition as u8]));
        return config.grid.audio_frames(n).map(frame).collect();
    }
    let slots = config.grid.slots(n);
    let format = config.video[rendition].encoder.format();
    let picture = |(i, place): (usize, u64)| {
        let body = [rendition as u8 + 1, place as u8 + 1, flavour + 1, 0x80];
        let size = 20 + (place as usize * 7) % 11;
        let payload: Vec<u8> = body.into_iter().cycle().take(size).collect();
        unit(slots.start + place, i == 0, access_unit(format, i == 0, &payload))
    };
    let count = slots.end - slots.start;
    let order = if format == VideoFormat::Av1 { (0..count).collect() } else { decode_order(count) };
    order.into_iter().enumerate().map(picture).collect()
}

/// A picture that is none to a decoder, wrapped as encoders wrap theirs.
fn access_unit(format: VideoFormat, key: bool, payload: &[u8]) -> Bytes {
    let with = |head: &[u8]| [head, payload].concat();
    match (format, key) {
        (VideoFormat::H264, true) => annexb(&[&[0x09, 0x10], SPS, PPS, &with(&[0x65, 0x88])]),
        (VideoFormat::H264, false) => annexb(&[&[0x09, 0x30], &with(&[0x41, 0x9a])]),
        (VideoFormat::Hevc, true) => annexb(&[&[0x46, 1, 0x10], HEVC_VPS, HEVC_SPS, HEVC_PPS, &with(&[0x28, 1])]),
        (VideoFormat::Hevc, false) => annexb(&[&[0x46, 1, 0x30], &with(&[0x02, 1])]),
        (VideoFormat::Av1, _) => {
            let frame = with(&[0x32, payload.len() as u8 + 1, if key { 0x10 } else { 0x30 }]);
            [&[0x12, 0][..], if key { AV1_SEQUENCE } else { &[] }, &frame].concat().into()
        }
    }
}

fn end(config: &Config, rendition: usize, n: u64, filled: Filled) -> SegmentEnd {
    let units = units(config, rendition, n, 0).len() as u32;
    SegmentEnd { rendition: RenditionIndex(rendition as u8), segment: SegmentNumber(n), units, filled }
}

/// All of one rendition of a segment, at once.
fn deliver(p: &mut Packager, now: Now, from: PipelineId, r: usize, n: u64, flavour: u8, filled: Filled) {
    let config = p.config().clone();
    for unit in units(&config, r, n, flavour) {
        p.coded(now, from, unit);
    }
    p.segment_end(now, from, end(&config, r, n, filled));
}

/// All of a segment, at once.
fn deliver_all(p: &mut Packager, now: Now, from: PipelineId, n: u64) {
    for r in 0..p.config().video.len() + p.config().audio.len() {
        deliver(p, now, from, r, n, 0, Filled::default());
    }
}

/// The `n`th segment behind [`FIRST`] from pipeline A, which is alone; or A dies instead, and there is a gap.
fn deliver_or_die(p: &mut Packager, t0: Now, n: u64, dies: bool) {
    let now = t0.after(Duration::from_secs(2 * (n + 1)));
    let back = now.after(Duration::from_millis(1300));
    if dies {
        p.pipeline(now, PipelineId::A, false);
        p.poll(back);
        p.pipeline(back, PipelineId::A, true);
    } else {
        deliver_all(p, now, PipelineId::A, FIRST + n);
        p.poll(now);
    }
}

fn up(config: Config, now: Now, which: &[PipelineId]) -> Packager {
    let mut p = Packager::new(config, now).expect("good config");
    for &w in which {
        p.pipeline(now, w, true);
    }
    p
}

fn found(snapshot: &Snapshot, path: &str) -> Resource {
    match snapshot.lookup(path) {
        Lookup::Found(resource) => resource,
        other => panic!("{path}: {other:?}"),
    }
}

fn text(snapshot: &Snapshot, path: &str) -> String {
    String::from_utf8(found(snapshot, path).body.bytes().to_vec()).expect("text")
}

/// Material that lies beside the project on the machines it is developed on.
fn shared(path: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("TANDEM_SHARED").map_or(beside, PathBuf::from);
    Some(root.join(path)).filter(|p| p.exists())
}
