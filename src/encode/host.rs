//! What this process uses, and what its encoders are.

use std::fs;
use std::time::Duration;

use super::gst::ChainError;
use super::ipc::Hello;
use super::ladder::{RateControl, VideoRung};
use super::pulse::Pulse;
use super::scale::Scaler;
use super::segment::Recipe;
use super::slate;
use super::template::{Simd, Template};
use crate::media::{FrameRate, RenditionId};

/// Ticks a second of CPU times in /proc: 100 on every Linux (USER_HZ is part of its ABI).
const USER_HZ: u64 = 100;
const PAGE_BYTES: u64 = 4096;

/// Environment of an encode process. All its threads share one heap (glibc gives each one of its own, up to eight a core): what one
/// segment's encoder has freed is there for the next one's, whoever allocates it. Measured: docs/encode.md.
pub const ENVIRONMENT: [(&str, &str); 1] = [("MALLOC_ARENA_MAX", "1")];

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

/// Encodes one small picture to learn x264's build from its SEI.
pub fn hello(template: &Template) -> Hello {
    let x264 = probe(template).ok().flatten().unwrap_or_default();
    Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gstreamer: gstreamer::version_string().to_string(),
        x264,
        simd: Simd::detect().as_str().to_owned(),
    }
}

fn probe(template: &Template) -> Result<Option<String>, ChainError> {
    let id = RenditionId::new("probe").expect("a good name");
    let crf = RateControl::CappedCrf { crf: 40.0, max_bitrate: 100_000 };
    let rung =
        VideoRung { preset: "ultrafast".to_owned(), bframes: 0, lookahead: 0, ..VideoRung::new(id, 128, 96, crf) };
    let rate = FrameRate::new(25, 1).expect("a good rate");
    let mut encoder = Recipe::new(template, &rung, rate, Pulse::new()).build()?;
    let slate = slate::picture("", rung.width, rung.height);
    let scaled = slate.and_then(|slate| Scaler::new(&rung, rate)?.scale(&slate));
    let Ok(picture) = scaled else { return Ok(None) };
    let mut packets = encoder.push(0, picture)?;
    packets.extend(encoder.finish());
    Ok(packets.iter().find_map(|packet| x264_build(&packet.data)))
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
    use crate::encode::template::BUILT_IN;

    #[test]
    fn x264_tells_its_build() {
        gstreamer::init().expect("GStreamer is installed");
        let hello = hello(&Template::parse(BUILT_IN).expect("good"));
        assert!(hello.x264.starts_with("core "), "{hello:?}");
        assert!(hello.gstreamer.contains('.'), "{hello:?}");
    }

    #[test]
    fn this_process_uses_something() {
        assert!(usage().0 > 1 << 20);
    }
}
