//! What this process uses, and what its encoders are.

use std::fs;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::ipc::{EncoderInUse, Hello, Job};
use super::ladder::{RateControl, VideoRung};
use super::pulse::Pulse;
use super::registry::Element;
use super::scale::Scaler;
use super::segment::Recipe;
use super::slate;
use super::template::{BUILT_IN, Simd, Template};
use crate::media::{FrameRate, Grid, RenditionId};

/// Ticks a second of CPU times in /proc: 100 on every Linux (USER_HZ is part of its ABI).
const USER_HZ: u64 = 100;
const PAGE_BYTES: u64 = 4096;

/// Resident memory in bytes and CPU time of this process; zeros where /proc is not there.
pub fn usage() -> (u64, Duration) {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    let ticks = fs::read_to_string("/proc/self/stat").ok().and_then(|text| {
        // proc(5): the command in brackets may hold blanks; utime and stime are fields 14 and 15.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    });
    (pages.unwrap_or(0) * PAGE_BYTES, Duration::from_millis(ticks.unwrap_or(0) * 1000 / USER_HZ))
}

/// What this worker's bytes depend on. `elements` are those of the job's video rungs; for x264 one small picture is encoded,
/// as its build is told by its SEI alone.
pub fn hello(job: &Job, template: &Template, elements: &[Element]) -> Hello {
    let x264 = probe(template).ok().flatten().unwrap_or_default();
    let mapped = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let build = |element: &Element| match element {
        Element::X264enc => x264.clone(),
        element => library(&mapped, element.library()).unwrap_or_default(),
    };
    let in_use = |(rung, element): (&VideoRung, &Element)| EncoderInUse {
        rung: rung.id.to_string(),
        element: element.as_str().to_owned(),
        build: build(element),
    };
    let text = job.template.as_deref().unwrap_or(BUILT_IN);
    let digest = Sha256::digest(text.as_bytes());
    Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gstreamer: gstreamer::version_string().to_string(),
        encoders: job.video.iter().zip(elements).map(in_use).collect(),
        x264,
        simd: simd(job).as_str().to_owned(),
        template: digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The most that any rung is encoded with.
fn simd(job: &Job) -> Simd {
    let host = Simd::detect();
    job.video.iter().map(|rung| host.for_rung(rung)).max().unwrap_or_else(|| host.min(Simd::Avx2))
}

fn probe(template: &Template) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let id = RenditionId::new("probe")?;
    let crf = RateControl::CappedCrf { crf: 40.0, max_bitrate: 100_000 };
    let rung =
        VideoRung { preset: "ultrafast".to_owned(), bframes: 0, lookahead: 0, ..VideoRung::new(id, 128, 96, crf) };
    let grid = Grid::new(Duration::from_secs(2), FrameRate::new(25, 1)?)?;
    let mut encoder = Recipe::new(template, Element::X264enc, &rung, grid)?.build(&Pulse::new())?;
    let slate = slate::picture("", rung.width, rung.height)?;
    let picture = Scaler::new(&rung, grid.rate())?.scale(&slate)?;
    let mut packets = encoder.push(0, picture)?;
    packets.extend(encoder.finish());
    Ok(packets.iter().find_map(|packet| x264_build(&packet.data)))
}

/// `libaom.so.3.6.0`: the file of a library that this process has loaded, which carries its version.
fn library(maps: &str, name: &str) -> Option<String> {
    let files = maps.lines().filter_map(|line| line.rsplit_once('/').map(|(_, file)| file));
    files.filter(|_| !name.is_empty()).find(|file| file.starts_with(name)).map(str::to_owned)
}

/// `core 164 r3095 baee400` from x264's user-data SEI, which is plain text.
fn x264_build(unit: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"x264 - ";
    let at = unit.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    let text = unit[at..].split(|b| *b == b'-' || !(0x20..0x7f).contains(b)).next()?;
    Some(String::from_utf8_lossy(text).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_tell_their_builds() {
        gstreamer::init().expect("GStreamer is installed");
        let probed = probe(&Template::parse(BUILT_IN).expect("good")).expect("it encodes");
        assert!(probed.is_some_and(|build| build.starts_with("core ")));
        let maps = "7f00-7f01 r-xp 00000000 08:01 1 /usr/lib/libaom.so.3.6.0\n7f02-7f03 rw-p 00000000 00:00 0\n";
        assert_eq!(library(maps, Element::Av1enc.library()).as_deref(), Some("libaom.so.3.6.0"));
        assert_eq!(library(maps, Element::X265enc.library()), None);
        assert_eq!(library(maps, Element::Nvh264enc.library()), None, "no library, no build");
    }

    #[test]
    fn this_process_uses_something() {
        assert!(usage().0 > 1 << 20);
    }
}
