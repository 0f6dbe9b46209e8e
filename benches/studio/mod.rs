//! A channel without an encoder: parts of pictures that no decoder would take, as often as they are wanted.

use std::time::Duration;

use bytes::Bytes;
use tandem::clock::{self, Now};
use tandem::config::Serve;
use tandem::encode::ipc::{CodedUnit, Filled, Material, RenditionIndex, SegmentEnd};
use tandem::encode::ladder::{RateControl, VideoRung};
use tandem::media::{ChannelId, FrameRate, Grid, PipelineId, RenditionId, SegmentNumber};
use tandem::package::{Config, Packager};

/// 640x360, High, level 3.0, and its picture parameters.
const SETS: [&[u8]; 2] = [
    b"\x67\x64\x00\x1e\xac\xd9\x40\xa0\x2f\xf9\x61\x00\x00\x03\x00\x01\x00\x00\x03\x00\x32\x0f\x16\x2d\x96",
    b"\x68\xeb\xe3\xcb\x22\xc0",
];
/// Pictures of a part and parts of a segment: half seconds at 24 frames a second.
const PICTURES: u64 = 12;
pub const PARTS: u64 = 4;
pub const PART: Duration = Duration::from_millis(500);

/// A channel whose parts come when they are told to.
pub struct Studio {
    pub packager: Packager,
    begins: Now,
    pub first: u64,
    pub parts: u64,
}

impl Studio {
    /// One of so many renditions, that lists so many segments.
    pub fn new(renditions: usize, segments: u32) -> Self {
        let grid = Grid::new(PART * PARTS as u32, FrameRate::new(24, 1).unwrap()).unwrap();
        let rate = RateControl::CappedCrf { crf: 23.0, max_bitrate: 100_000 };
        let rung = |i: usize| VideoRung::new(RenditionId::new(&format!("v{i}")).unwrap(), 640, 360, rate);
        let now = clock::now();
        let config = Config {
            channel: ChannelId::new("bench").unwrap(),
            grid,
            part: PART,
            serve: Serve { hls: true, low_latency_hls: true, dash: true, ..Serve::default() },
            profiles: Vec::new(),
            window: grid.segment() * segments,
            pipelines: vec![PipelineId::A],
            video: (0..renditions).map(rung).collect(),
            audio: Vec::new(),
            language: "und".to_owned(),
            time_uri: "/time".to_owned(),
            deterministic: true,
            disk: false,
            save: false,
        };
        let mut packager = Packager::new(config, now).unwrap();
        packager.pipeline(now, PipelineId::A, true);
        Self { packager, begins: now, first: grid.segment_at(now.channel_time()).0, parts: 0 }
    }

    /// The next part of every rendition. Time is that of the parts, whenever they come.
    pub fn part(&mut self) {
        let now = self.begins.after(PART * u32::try_from(self.parts + 1).unwrap());
        let (segment, part) = (SegmentNumber(self.first + self.parts / PARTS), self.parts % PARTS);
        let slots = self.packager.config().grid.slots(segment);
        for r in 0..self.packager.config().video.len() {
            let rendition = RenditionIndex(u8::try_from(r).unwrap());
            for i in part * PICTURES..(part + 1) * PICTURES {
                let key = i == 0;
                let slice: &[u8] = if key { &[0x65, 0x88, 1, 2, 3] } else { &[0x41, 0x9a, 1, 2, 3] };
                let nals = SETS.iter().copied().filter(|_| key).chain([slice]);
                let data: Bytes = nals.flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect::<Vec<u8>>().into();
                let (position, material) = (slots.start + i, Material::Source);
                self.packager.coded(
                    now,
                    PipelineId::A,
                    CodedUnit { rendition, segment, position, key, material, data },
                );
            }
            if part == PARTS - 1 {
                let (units, filled) = (u32::try_from(PARTS * PICTURES).unwrap(), Filled::default());
                self.packager.segment_end(now, PipelineId::A, SegmentEnd { rendition, segment, units, filled });
            }
        }
        self.packager.poll(now);
        self.parts += 1;
    }
}

/// Resident memory, kB.
pub fn rss_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}
