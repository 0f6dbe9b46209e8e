//! `ladder = "auto"`: the ladder that a source's own picture asks for. A pure function of the picture and the channel's rate, so it
//! is the same in both pipelines and after every start.
//!
//! * The top rung has the source's shape and size, at most 1080 lines (the short side, where the picture stands upright).
//! * Below it come 720, 432, 360 and 216 lines, each at most 5/6 of the one above: closer rungs look alike.
//! * Widths follow from the source's shape; of 16:9 they are multiples of 128.
//! * A rung's cap grows with its pixels to the power of 0.9, from 3 Mbit/s for 1280x720; half as much again above 30
//!   pictures a second. Below the cap the quality target decides, as in every ladder.

use std::path::PathBuf;

use super::Ladder;
use crate::encode::ladder::{AudioRung, RateControl, VideoRung};
use crate::media::{FrameRate, RenditionId, VideoShape};

/// Lines of the rungs.
const STEPS: [u32; 5] = [1080, 720, 432, 360, 216];
/// Longest and shortest side of a rung.
const SIDES: (u32, u32) = (64, 4096);
/// Sizes whose pixels are no squares (ITU-R BT.601, and what DVB sends of it; HDV): lines, widths. They are taken as 16:9;
/// a picture of 4:3 then has bars at its sides.
const NO_SQUARES: [(u32, &[u32]); 4] = [
    (576, &[352, 480, 528, 544, 704, 720]),
    (480, &[352, 480, 528, 544, 704, 720]),
    (486, &[720]),
    (1080, &[1280, 1440]),
];
/// From here on one thread is too slow for real time on most hosts: 1080p36, pixels a second.
const HEAVY: f64 = 75e6;

impl Ladder {
    /// The ladder to encode for this source: made for it where the config says "auto".
    pub fn for_source(&self, shape: VideoShape, rate: FrameRate) -> Self {
        if !self.auto {
            return self.clone();
        }
        let made = Self::auto(shape, rate);
        let made = if self.video.iter().any(|rung| rung.zero_latency) { made.low_latency() } else { made };
        if self.video.iter().any(|rung| rung.portable) { made.portable() } else { made }
    }

    /// The ladder until the source is known: as for 1280x720.
    pub(super) fn auto_for_now(rate: FrameRate) -> Self {
        Self::auto(VideoShape { width: 1280, height: 720, rate: None, interlaced: false }, rate)
    }

    fn auto(shape: VideoShape, rate: FrameRate) -> Self {
        Self {
            file: PathBuf::from("auto"),
            auto: true,
            video: sizes(shape).into_iter().map(|size| rung(size, rate)).collect(),
            audio: vec![AudioRung { id: name("audio"), bitrate: 128_000, channels: 2, language: None }],
        }
    }
}

/// Width and height of the rungs, largest first.
fn sizes(shape: VideoShape) -> Vec<(u32, u32)> {
    let stretched = NO_SQUARES.iter().any(|(lines, widths)| *lines == shape.height && widths.contains(&shape.width));
    let width = if stretched { shape.height * 16 / 9 } else { shape.width };
    let (long, short) = (width.max(shape.height), width.min(shape.height).max(1));
    let size = |lines: u32| {
        let long = even(f64::from(long) * f64::from(lines) / f64::from(short));
        if width >= shape.height { (long, lines) } else { (lines, long) }
    };
    let top = even(f64::from(short.min(STEPS[0])));
    let mut rungs = vec![top];
    for step in STEPS {
        if rungs.last().is_some_and(|above| 6 * step <= 5 * above) {
            rungs.push(step);
        }
    }
    rungs.into_iter().map(size).collect()
}

fn even(side: f64) -> u32 {
    ((side / 2.0).round() as u32 * 2).clamp(SIDES.0, SIDES.1)
}

fn rung((width, height): (u32, u32), rate: FrameRate) -> VideoRung {
    let area = f64::from(width) * f64::from(height);
    let fast = if rate.as_f64() > 30.5 { 1.5 } else { 1.0 };
    let cap = 3e6 * (area / (1280.0 * 720.0)).powf(0.9) * fast;
    let max_bitrate = ((cap / 1e4).round() as u32 * 10_000).max(100_000);
    let id = name(&format!("v{}", width.min(height)));
    let mut rung = VideoRung::new(id, width, height, RateControl::CappedCrf { crf: 23.0, max_bitrate });
    if area * rate.as_f64() > HEAVY {
        (rung.gops, rung.chains) = (2, 2);
    }
    rung
}

fn name(text: &str) -> RenditionId {
    RenditionId::new(text).expect("letters and digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(fps: u32) -> FrameRate {
        FrameRate::new(fps, 1).expect("a rate")
    }

    fn ladder(width: u32, height: u32, fps: u32) -> Ladder {
        Ladder::auto(VideoShape { width, height, rate: None, interlaced: false }, rate(fps))
    }

    #[test]
    fn sizes_follow_the_source() {
        for (name, (width, height), want) in [
            ("1080p", (1920, 1080), "1920x1080 1280x720 768x432 640x360 384x216"),
            ("2160p is brought down", (3840, 2160), "1920x1080 1280x720 768x432 640x360 384x216"),
            ("720p", (1280, 720), "1280x720 768x432 640x360 384x216"),
            ("between two steps", (1600, 900), "1600x900 1280x720 768x432 640x360 384x216"),
            ("just above a step", (800, 450), "800x450 640x360 384x216"),
            ("PAL", (720, 576), "1024x576 768x432 640x360 384x216"),
            ("NTSC", (720, 480), "854x480 640x360 384x216"),
            ("HDV", (1440, 1080), "1920x1080 1280x720 768x432 640x360 384x216"),
            ("square pixels of 4:3", (640, 480), "640x480 480x360 288x216"),
            ("upright", (1080, 1920), "1080x1920 720x1280 432x768 360x640 216x384"),
            ("wide", (1920, 800), "1920x800 1036x432 864x360 518x216"),
            ("small", (320, 180), "320x180"),
            ("odd", (639, 359), "640x360 384x216"),
            ("absurdly flat", (8192, 16), "4096x64"),
            ("nothing", (0, 0), "64x64"),
        ] {
            let made = ladder(width, height, 25);
            let sizes: Vec<String> = made.video.iter().map(|r| format!("{}x{}", r.width, r.height)).collect();
            assert_eq!(sizes.join(" "), want, "{name}");
            assert!(made.video.iter().all(|r| r.width % 2 == 0 && r.height % 2 == 0), "{name}");
        }
    }

    #[test]
    fn caps_follow_pixels_and_rate() {
        let caps =
            |fps| -> Vec<u32> { ladder(1920, 1080, fps).video.iter().map(|r| r.rate.max_bitrate() / 1000).collect() };
        assert_eq!(caps(25), [6220, 3000, 1200, 860, 340]);
        assert_eq!(caps(50), [9340, 4500, 1790, 1290, 520]);
        assert_eq!(caps(30), caps(25));
    }

    #[test]
    fn what_is_too_heavy_for_one_thread_gets_two() {
        let chains = |fps| -> Vec<u8> { ladder(1920, 1080, fps).video.iter().map(|r| r.chains).collect() };
        assert_eq!(chains(25), [1, 1, 1, 1, 1]);
        assert_eq!(chains(50), [2, 1, 1, 1, 1]);
        let low = ladder(1920, 1080, 50).low_latency();
        assert!(low.video.iter().all(|r| (r.gops, r.chains) == (1, 1)), "a second chain is a GOP of latency");
    }

    #[test]
    fn it_is_made_for_the_source_only_where_the_config_says_so() {
        let shape = VideoShape { width: 640, height: 360, rate: None, interlaced: false };
        let auto = Ladder::auto_for_now(rate(25));
        assert_eq!(auto.for_source(shape, rate(25)).video.len(), 2);
        assert!(auto.clone().low_latency().for_source(shape, rate(25)).video.iter().all(|r| r.zero_latency));
        let written = Ladder { auto: false, ..auto };
        assert_eq!(written.for_source(shape, rate(25)), written);
    }
}
