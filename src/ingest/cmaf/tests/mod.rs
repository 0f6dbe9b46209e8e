//! Publishing points in virtual time. What goes in was made by ffmpeg; what comes out goes through a packager, and ffmpeg decodes that.

mod corpus;
mod hostile;
mod hosts;
mod http;
mod judges;
mod ours;
mod sessions;

use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::clock::Now;
use crate::encode::ladder::{AudioRung, RateControl, VideoRung};
use crate::media::{FrameRate, Grid};

/// 21 November 2026, 14:00:00.7 UTC: inside of a segment.
pub(super) fn start() -> Now {
    Now { mono: Instant::now() + Duration::from_secs(3600), utc: Duration::from_millis(1_795_269_600_700) }
}

fn name(text: &str) -> RenditionId {
    RenditionId::new(text).expect("a name")
}

/// 320x180 at 25 in segments of 2 s, with stereo.
pub(super) fn config() -> Config {
    let rate = FrameRate::new(25, 1).expect("a rate");
    Config {
        grid: Grid::new(Duration::from_secs(2), rate).expect("a grid"),
        video: vec![VideoRung::new(name("v180"), 320, 180, RateControl::Cbr { bitrate: 300_000 })],
        audio: vec![AudioRung { id: name("a1"), bitrate: 96_000, channels: 2, language: None }],
    }
}

/// What ffmpeg writes; `None`, said aloud, where there is no ffmpeg.
pub(super) fn ffmpeg(args: &str) -> Option<Vec<u8>> {
    let out = Command::new("ffmpeg").args(["-nostdin", "-v", "error"]).args(args.split_whitespace()).output();
    let Ok(out) = out else {
        eprintln!("skipped: there is no ffmpeg");
        return None;
    };
    assert!(out.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&out.stderr));
    Some(out.stdout)
}

/// Of ffmpeg's test picture, `seconds` of it, as one stream.
pub(super) fn picture(seconds: u32, encoder: &str, movflags: &str) -> Option<Vec<u8>> {
    picture_of("s=320x180:r=25", seconds, encoder, movflags)
}

pub(super) fn picture_of(source: &str, seconds: u32, encoder: &str, movflags: &str) -> Option<Vec<u8>> {
    ffmpeg(&format!(
        "-f lavfi -i testsrc2={source} -t {seconds} -c:v libx264 -preset veryfast -b:v 300k {encoder} -movflags {movflags} -f mp4 pipe:1"
    ))
}

/// Key pictures as a channel of 25 pictures a second in segments of 2 s wants them.
pub(super) const GOP: &str = "-g 50 -keyint_min 50 -sc_threshold 0 -bf 2";
/// Forms in which ffmpeg writes fragments: a GOP in each, a picture in each, and with an edit list.
pub(super) const FORMS: [&str; 3] =
    ["cmaf+frag_keyframe", "cmaf+frag_every_frame", "frag_keyframe+empty_moov+default_base_moof+delay_moov"];

/// Of a tone.
pub(super) fn tone(seconds: u32, encoder: &str, movflags: &str) -> Option<Vec<u8>> {
    ffmpeg(&format!(
        "-f lavfi -i sine=f=440:r=48000 -t {seconds} -c:a aac -b:a 96k -ac 2 {encoder} -movflags {movflags} -frag_duration 400000 -f mp4 pipe:1"
    ))
}

/// A body that comes at its own pace, in portions.
pub(super) struct Body<'a> {
    pub track: &'a str,
    pub bytes: &'a [u8],
    pub seconds: f64,
}

/// Sends bodies side by side from `from` on, a portion of each in turn; returns what came out. Stops at the first refusal.
pub(super) fn send(
    point: &mut Point,
    from: Now,
    portions: usize,
    bodies: &[Body<'_>],
) -> Result<Vec<Output>, (String, Refusal)> {
    let mut objects: Vec<Object> = bodies.iter().map(|body| point.begin(body.track)).collect();
    let mut out = Vec::new();
    for n in 0..portions {
        for (body, object) in bodies.iter().zip(&mut objects) {
            let cut = |n: usize| body.bytes.len() * n / portions;
            let now = from.after(Duration::from_secs_f64(body.seconds * (n + 1) as f64 / portions as f64));
            let told = |refusal| (body.track.to_owned(), refusal);
            point.push(now, object, &body.bytes[cut(n)..cut(n + 1)]).map_err(told)?;
            out.extend(point.take());
        }
    }
    for (body, object) in bodies.iter().zip(&objects) {
        point.finish(object).map_err(|refusal| (body.track.to_owned(), refusal))?;
    }
    Ok(out)
}

/// The places of a rendition's units, in the order in which they came.
pub(super) fn places(out: &[Output], rendition: u8) -> Vec<u64> {
    let place = |output: &Output| match output {
        Output::Coded(unit) if unit.rendition.0 == rendition => Some(unit.position),
        _ => None,
    };
    out.iter().filter_map(place).collect()
}

/// The ends of a rendition's segments: number, units.
pub(super) fn ends(out: &[Output], rendition: u8) -> Vec<(u64, u32)> {
    let end = |output: &Output| match output {
        Output::SegmentEnd(end) if end.rendition.0 == rendition => Some((end.segment.0, end.units)),
        _ => None,
    };
    out.iter().filter_map(end).collect()
}

pub(super) fn notices(out: &[Output]) -> Vec<&Notice> {
    out.iter().filter_map(|output| if let Output::Notice(notice) = output { Some(notice) } else { None }).collect()
}
