//! Whether what an encode process says makes sense. It holds every codec, so it may be in anybody's hands: a bad stream is
//! enough.
//!
//! In:    a word as it was decoded, what the process was asked to do, the time.
//! Out:   nothing, or why no process of ours that is sane would say so; it is then ended.
//! Never: judges media: a segment that is not what the grid asks for is the packager's to refuse.

use std::time::Duration;

use super::Channel;
use crate::clock::Now;
use crate::encode::ipc::{FromWorker, LoudnessStep, RenditionIndex};
use crate::media::{ChannelTime, SegmentNumber};

/// Longest coded picture. A lossless intra picture of 2160p is 12 MB; our highest cap of 100 Mbit/s stays far below.
const UNIT_BYTES_MAX: usize = 16 << 20;
/// Longest JPEG of 320 pixels' width; a usual one has 15 kB.
const THUMBNAIL_BYTES_MAX: usize = 256 << 10;
/// Longest text in a hello, bytes: it goes into an event.
const TEXT_BYTES_MAX: usize = 200;
/// Longest sentence about the slate, bytes.
const SENTENCE_BYTES_MAX: usize = 2000;
/// No clock is stepped so far while a process lives.
const FAR: Duration = Duration::from_secs(86_400);
/// Steps of loudness of the longest segment, ten a second, and some to spare.
const STEPS_MAX: usize = 128;

/// Why a word makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Nonsense {
    #[error("spoke nonsense: something before its hello")]
    NoHello,
    #[error("spoke nonsense: a second hello")]
    SecondHello,
    #[error("spoke nonsense: a text of {0} bytes")]
    Text(usize),
    #[error("spoke nonsense: rendition {0} of {1}")]
    Rendition(u8, usize),
    #[error("spoke nonsense: segment {0}, a day or more away")]
    Segment(SegmentNumber),
    #[error("spoke nonsense: place {0} outside of segment {1}")]
    Place(u64, SegmentNumber),
    #[error("spoke nonsense: a coded unit of {0} bytes")]
    Unit(usize),
    #[error("spoke nonsense: {0:?}")]
    Loudness(LoudnessStep),
    #[error("spoke nonsense: loudness of {0} steps in a segment")]
    Steps(usize),
    #[error("spoke nonsense: a thumbnail that is none")]
    Thumbnail,
}

impl Channel {
    /// Checks a word of the pipeline in place `at`.
    pub(super) fn check_word(&self, now: Now, at: usize, word: &FromWorker) -> Result<(), Nonsense> {
        let greeted = self.pipelines[at].has_greeted();
        match word {
            FromWorker::Hello(_) if greeted => return Err(Nonsense::SecondHello),
            FromWorker::Hello(hello) => {
                let texts = [&hello.version, &hello.gstreamer, &hello.x264, &hello.simd, &hello.template];
                let encoders = hello.encoders.iter().flat_map(|e| [&e.rung, &e.element, &e.build]);
                let longest = texts.into_iter().chain(encoders).map(|text| text.len()).max().unwrap_or(0);
                return if longest > TEXT_BYTES_MAX { Err(Nonsense::Text(longest)) } else { Ok(()) };
            }
            _ if !greeted => return Err(Nonsense::NoHello),
            _ => {}
        }
        match word {
            FromWorker::Coded(unit) => {
                let is_video = self.check_place(now, unit.rendition, unit.segment)?;
                let grid = self.config.grid;
                let places = if is_video { grid.slots(unit.segment) } else { grid.audio_frames(unit.segment) };
                if !places.contains(&unit.position) {
                    return Err(Nonsense::Place(unit.position, unit.segment));
                }
                if unit.data.is_empty() || unit.data.len() > UNIT_BYTES_MAX {
                    return Err(Nonsense::Unit(unit.data.len()));
                }
            }
            FromWorker::SegmentEnd(end) => drop(self.check_place(now, end.rendition, end.segment)?),
            FromWorker::Loudness(reading) => {
                self.check_place(now, reading.rendition, reading.segment)?;
                if reading.steps.len() > STEPS_MAX {
                    return Err(Nonsense::Steps(reading.steps.len()));
                }
                if let Some(&step) = reading.steps.iter().find(|step| !step.is_sane()) {
                    return Err(Nonsense::Loudness(step));
                }
            }
            FromWorker::Thumbnail(it) => {
                let is_jpeg = it.jpeg.starts_with(&[0xff, 0xd8]) && it.jpeg.len() <= THUMBNAIL_BYTES_MAX;
                if !is_jpeg || is_far(now, self.config.grid.slot_time(it.slot)) {
                    return Err(Nonsense::Thumbnail);
                }
            }
            FromWorker::SlateFailed(why) if why.len() > SENTENCE_BYTES_MAX => return Err(Nonsense::Text(why.len())),
            FromWorker::SlateFailed(_) | FromWorker::Heartbeat(_) | FromWorker::Hello(_) => {}
        }
        Ok(())
    }

    /// Whether the rendition is one of video.
    fn check_place(&self, now: Now, rendition: RenditionIndex, segment: SegmentNumber) -> Result<bool, Nonsense> {
        let (video, audio) = self.fitting.plan().map_or((0, 0), |plan| (plan.video.len(), plan.audio.len()));
        let all = video + audio;
        if usize::from(rendition.0) >= all {
            return Err(Nonsense::Rendition(rendition.0, all));
        }
        if is_far(now, self.config.grid.segment_start(segment)) {
            return Err(Nonsense::Segment(segment));
        }
        Ok(usize::from(rendition.0) < video)
    }
}

fn is_far(now: Now, at: ChannelTime) -> bool {
    at.to_utc().abs_diff(now.utc) >= FAR
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use bytes::Bytes;

    use super::super::{Action, Generation, Input};
    use super::*;
    use crate::config::Config;
    use crate::encode::ipc::{CodedUnit, Filled, Heartbeat, Hello, LoudnessReading, Material, SegmentEnd, Thumbnail};
    use crate::media::{PipelineId, Slot};
    use crate::monitor::EventKind;

    const TEXT: &str = "[[channel]]\nid = \"c\"\nladder = \"pipelines/ladders/test.toml\"\n[channel.pipelines]\na = [\"s\"]\n\
                        [[channel.source]]\nid = \"s\"\ntype = \"test\"\n";
    const NUMBER: u64 = 900_000_000;

    fn hello(text: &str) -> FromWorker {
        let text = || text.to_owned();
        FromWorker::Hello(Hello {
            version: text(),
            gstreamer: text(),
            x264: text(),
            simd: text(),
            template: text(),
            encoders: Vec::new(),
        })
    }

    fn coded(rendition: u8, segment: u64, position: u64, bytes: usize) -> FromWorker {
        FromWorker::Coded(CodedUnit {
            rendition: RenditionIndex(rendition),
            segment: SegmentNumber(segment),
            position,
            key: true,
            material: Material::Source,
            data: Bytes::from(vec![0; bytes]),
        })
    }

    fn thumbnail(slot: u64, jpeg: &'static [u8]) -> FromWorker {
        FromWorker::Thumbnail(Thumbnail { slot: Slot(slot), jpeg: Bytes::from_static(jpeg) })
    }

    fn loudness(steps: usize, loudness: i16, taken: i16, taken_louder: i16) -> FromWorker {
        let (rendition, segment) = (RenditionIndex(2), SegmentNumber(NUMBER));
        let step = LoudnessStep { loudness, gain: 0, taken, taken_louder };
        FromWorker::Loudness(LoudnessReading { rendition, segment, steps: vec![step; steps] })
    }

    fn end(segment: u64, units: u32) -> FromWorker {
        let (rendition, segment) = (RenditionIndex(0), SegmentNumber(segment));
        FromWorker::SegmentEnd(SegmentEnd { rendition, segment, units, filled: Filled::default() })
    }

    /// Says hello, then the word; what the log says of the process's end.
    fn said(greeting: bool, word: FromWorker) -> Vec<String> {
        let config = Config::parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("c.toml"), TEXT).expect("good");
        let channel = config.channels.into_iter().next().expect("one");
        let utc = channel.grid.segment_start(SegmentNumber(NUMBER)).to_utc();
        let start = Now { mono: Instant::now(), utc };
        let mut channel = Channel::new(channel, false, start);
        let now = start.after(Duration::from_secs(3));
        let started = channel.apply(now, Input::Tick);
        assert!(started.iter().any(|a| matches!(a, Action::StartEncoder(..))), "{started:?}");
        let mut actions = Vec::new();
        for word in greeting.then(|| hello("x")).into_iter().chain([word]) {
            actions.extend(channel.apply(now, Input::Encoder(PipelineId::A, Generation(1), word)));
        }
        let killed = actions.iter().filter(|a| matches!(a, Action::KillEncoder(..))).count();
        let died = actions.into_iter().filter_map(|action| match action {
            Action::Event(event) if event.kind == EventKind::EncoderDied => Some(event.text),
            _ => None,
        });
        let died: Vec<String> = died.collect();
        assert_eq!(killed, died.len(), "{died:?}");
        died
    }

    #[test]
    fn a_process_that_speaks_nonsense_is_ended_with_one_event_that_says_so() {
        let first = NUMBER * 50;
        for (name, greeting, word, want) in [
            ("a hello", true, end(NUMBER, 50), None),
            ("a picture", true, coded(0, NUMBER, first, 100), None),
            ("too few units is the packager's to refuse", true, end(NUMBER, 1), None),
            ("a thumbnail", true, thumbnail(first, b"\xff\xd8..."), None),
            ("a beat", true, FromWorker::Heartbeat(Heartbeat::default()), None),
            ("a beat of a child gone mad", true, mad_beat(), None),
            ("loudness", true, loudness(20, -2300, 100, 150), None),
            ("before hello", false, end(NUMBER, 50), Some("something before its hello")),
            ("twice", true, hello("x"), Some("a second hello")),
            ("long-winded", false, hello(&"x".repeat(10_000)), Some("a text of 10000 bytes")),
            ("a sentence", true, FromWorker::SlateFailed("It is no PNG.".to_owned()), None),
            ("no end of it", true, FromWorker::SlateFailed("x".repeat(5000)), Some("a text of 5000 bytes")),
            ("rendition", true, coded(3, NUMBER, first, 100), Some("rendition 3 of 3")),
            ("segment", true, end(u64::MAX, 50), Some("segment 18446744073709551615, a day")),
            ("epoch", true, coded(0, 0, 0, 1), Some("segment 0, a day")),
            ("place below", true, coded(0, NUMBER, first - 1, 1), Some("place 44999999999 outside")),
            (
                "place above",
                true,
                coded(0, NUMBER, first + 50, 1),
                Some("place 45000000050 outside of segment 900000000"),
            ),
            ("a picture's place for sound", true, coded(2, NUMBER, first, 1), Some("place 45000000000 outside")),
            ("nothing", true, coded(0, NUMBER, first, 0), Some("a coded unit of 0 bytes")),
            ("too much", true, coded(0, NUMBER, first, 17 << 20), Some("a coded unit of 17825792 bytes")),
            ("no picture", true, thumbnail(first, b"GIF89a"), Some("a thumbnail that is none")),
            ("a picture of the past", true, thumbnail(7, b"\xff\xd8"), Some("a thumbnail that is none")),
            ("softer than silence", true, loudness(20, -12_001, 0, 0), Some("LoudnessStep { loudness: -12001")),
            ("a limiter that gives", true, loudness(20, -2300, -1, 0), Some("LoudnessStep { loudness: -2300")),
            ("one that takes all", true, loudness(20, -2300, 100, 201), Some("LoudnessStep { loudness: -2300")),
            ("no end of loudness", true, loudness(1000, 0, 0, 0), Some("loudness of 1000 steps")),
        ] {
            let died = said(greeting, word);
            match want {
                None => assert!(died.is_empty(), "{name}: {died:?}"),
                Some(want) => {
                    assert_eq!(died.len(), 1, "{name}: {died:?}");
                    assert!(died[0].contains(&format!("spoke nonsense: {want}")), "{name}: {died:?}");
                }
            }
        }
    }

    fn mad_beat() -> FromWorker {
        let all = u64::MAX;
        FromWorker::Heartbeat(Heartbeat {
            decoded: all,
            repeated: all,
            rss_bytes: all,
            cpu: Duration::MAX,
            lag: Duration::MAX,
            ..Heartbeat::default()
        })
    }
}
