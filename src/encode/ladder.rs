//! The rungs of a ladder, as a ladder file in `pipelines/ladders/` describes them and a worker encodes them.

use serde::{Deserialize, Deserializer, Serialize};

use crate::media::RenditionId;

/// One video rendition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoRung {
    /// Its name in URLs.
    pub id: RenditionId,
    /// Picture width; a multiple of 2. Multiples of 128 keep x264 deterministic on AVX-512 hosts too.
    pub width: u32,
    /// Picture height; a multiple of 2.
    pub height: u32,
    /// Cap of the bit rate (VBV maxrate), bits a second.
    pub max_bitrate: u32,
    /// Constant rate factor below the cap, 0 to 51.
    pub crf: f32,
    /// x264 preset.
    pub preset: String,
    /// B-frames between references, 0 to 3.
    pub bframes: u32,
    /// Frames of look-ahead, 0 to 60. More is better compression and as much more latency.
    pub lookahead: u32,
    /// x264 profile: `baseline`, `main` or `high`.
    pub profile: String,
}

/// One audio rendition: AAC-LC, 48 kHz.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioRung {
    /// Its name in URLs.
    pub id: RenditionId,
    /// Bits a second.
    pub bitrate: u32,
    /// 1 or 2.
    pub channels: u8,
}

/// Renditions, highest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    /// Video rungs; at least one.
    pub video: Vec<VideoRung>,
    /// Audio rungs.
    pub audio: Vec<AudioRung>,
}

/// Why a ladder file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LadderError {
    /// Not TOML of this shape; the source tells line and key.
    #[error("ladder file")]
    Shape(#[from] toml::de::Error),
    /// There is no video rung.
    #[error("a ladder needs at least one [[video]] rung")]
    Empty,
    /// A value that cannot be encoded.
    #[error("rung `{rung}`: {key} {what}")]
    Value {
        /// Whose.
        rung: RenditionId,
        /// Which key.
        key: &'static str,
        /// What is wrong and what would do.
        what: String,
    },
    /// Two rungs share a name.
    #[error("two rungs are named `{0}`")]
    Twice(RenditionId),
}

/// The file itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    video: Vec<FileVideo>,
    #[serde(default)]
    audio: Vec<FileAudio>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileVideo {
    id: RenditionId,
    width: u32,
    height: u32,
    #[serde(deserialize_with = "bit_rate")]
    max_bitrate: u32,
    crf: f32,
    preset: String,
    bframes: u32,
    lookahead: u32,
    profile: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAudio {
    id: RenditionId,
    #[serde(deserialize_with = "bit_rate")]
    bitrate: u32,
    channels: u8,
}

/// x264's presets; `placebo` only burns power.
const PRESETS: [&str; 9] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];
const PROFILES: [&str; 3] = ["baseline", "main", "high"];

impl Ladder {
    /// Reads and checks a ladder file. Rungs come out highest first, whatever their order in the file.
    pub fn parse(text: &str) -> Result<Self, LadderError> {
        let file: File = toml::from_str(text)?;
        let mut video = file.video.into_iter().map(checked_video).collect::<Result<Vec<_>, _>>()?;
        let audio = file.audio.into_iter().map(checked_audio).collect::<Result<Vec<_>, _>>()?;
        if video.is_empty() {
            return Err(LadderError::Empty);
        }
        video.sort_by_key(|rung| std::cmp::Reverse((rung.width * rung.height, rung.max_bitrate)));
        let mut ids: Vec<&RenditionId> = video.iter().map(|r| &r.id).chain(audio.iter().map(|r| &r.id)).collect();
        ids.sort();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LadderError::Twice(pair[0].clone()));
        }
        Ok(Self { video, audio })
    }

    /// This ladder without the rungs larger than a source of `width` × `height`: nothing is ever scaled up. The lowest rung
    /// always stays.
    #[must_use]
    pub fn fitting(&self, width: u32, height: u32) -> Self {
        let mut video: Vec<VideoRung> =
            self.video.iter().filter(|rung| rung.width <= width && rung.height <= height).cloned().collect();
        if video.is_empty() {
            video.extend(self.video.last().cloned());
        }
        Self { video, audio: self.audio.clone() }
    }
}

fn checked_video(rung: FileVideo) -> Result<VideoRung, LadderError> {
    let wrong = |key, what: String| Err(LadderError::Value { rung: rung.id.clone(), key, what });
    for (key, value, max) in [("width", rung.width, 4096), ("height", rung.height, 2304)] {
        if !(64..=max).contains(&value) || value % 2 != 0 {
            return wrong(key, format!("{value}: an even number from 64 to {max}"));
        }
    }
    // x264enc takes the rate factor as a whole number.
    if !(0.0..=51.0).contains(&rung.crf) || rung.crf.fract() != 0.0 {
        return wrong("crf", format!("{}: a whole number from 0 to 51", rung.crf));
    }
    if !(32_000..=200_000_000).contains(&rung.max_bitrate) {
        return wrong("max_bitrate", format!("{} bit/s: 32kbps to 200Mbps", rung.max_bitrate));
    }
    if rung.bframes > 3 {
        return wrong("bframes", format!("{}: 0 to 3", rung.bframes));
    }
    if rung.lookahead > 60 {
        return wrong("lookahead", format!("{}: 0 to 60 frames", rung.lookahead));
    }
    if !PRESETS.contains(&rung.preset.as_str()) {
        return wrong("preset", format!("`{}`: one of {}", rung.preset, PRESETS.join(", ")));
    }
    if !PROFILES.contains(&rung.profile.as_str()) {
        return wrong("profile", format!("`{}`: one of {}", rung.profile, PROFILES.join(", ")));
    }
    if rung.profile == "baseline" && rung.bframes > 0 {
        return wrong("bframes", "must be 0: the baseline profile has no B-frames".to_owned());
    }
    let FileVideo { id, width, height, max_bitrate, crf, preset, bframes, lookahead, profile } = rung;
    Ok(VideoRung { id, width, height, max_bitrate, crf, preset, bframes, lookahead, profile })
}

fn checked_audio(rung: FileAudio) -> Result<AudioRung, LadderError> {
    let FileAudio { id, bitrate, channels } = rung;
    if !(16_000..=320_000).contains(&bitrate) {
        return Err(LadderError::Value {
            rung: id,
            key: "bitrate",
            what: format!("{bitrate} bit/s: 16kbps to 320kbps"),
        });
    }
    if !(1..=2).contains(&channels) {
        return Err(LadderError::Value { rung: id, key: "channels", what: format!("{channels}: 1 or 2") });
    }
    Ok(AudioRung { id, bitrate, channels })
}

/// `"3Mbps"`, `"700kbps"`, or a number of bits a second.
fn bit_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u32),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(bits) => Ok(bits),
        Written::Text(text) => {
            parse_bit_rate(&text).ok_or_else(|| serde::de::Error::custom(format!("bit rate `{text}`: write `3Mbps`")))
        }
    }
}

fn parse_bit_rate(text: &str) -> Option<u32> {
    let (number, scale) = [("Mbps", 1e6), ("kbps", 1e3), ("bps", 1.0)]
        .into_iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    let bits = number.trim().parse::<f64>().ok()? * scale;
    (bits.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&bits)).then_some(bits as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = include_str!("../../pipelines/ladders/demo.toml");
    const TEST: &str = include_str!("../../pipelines/ladders/test.toml");

    #[test]
    fn ladder_files_are_good_and_highest_first() {
        for (name, text, rungs) in [("demo", DEMO, 4), ("test", TEST, 2)] {
            let ladder = Ladder::parse(text).expect(name);
            assert_eq!(ladder.video.len(), rungs, "{name}");
            assert!(ladder.video.windows(2).all(|w| w[0].height > w[1].height), "{name}");
        }
        assert_eq!(Ladder::parse(DEMO).expect("good").video[1].max_bitrate, 1_200_000);
    }

    #[test]
    fn nothing_is_scaled_up_but_something_always_stays() {
        let ladder = Ladder::parse(DEMO).expect("good");
        for (width, height, want) in [(1920, 1080, 4), (1280, 720, 4), (1279, 720, 3), (640, 360, 2), (160, 90, 1)] {
            let fitting = ladder.fitting(width, height);
            assert_eq!(fitting.video.len(), want, "{width}×{height}");
            assert_eq!(fitting.video.last(), ladder.video.last());
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (name, from, to, want) in [
            ("odd width", "width = 1280", "width = 1281", "width 1281"),
            ("fractional crf", "crf = 23", "crf = 22.5", "crf 22.5"),
            ("no such preset", "\"veryfast\"", "\"warp\"", "preset `warp`"),
            ("rate without unit", "\"3Mbps\"", "\"3\"", "write `3Mbps`"),
            ("unknown key", "bframes = 2", "bframe = 2", "bframe"),
            ("same name", "\"v432\"", "\"v720\"", "two rungs"),
            ("three channels", "channels = 2", "channels = 3", "channels 3"),
            ("B-frames in baseline", "\"high\"", "\"baseline\"", "no B-frames"),
        ] {
            let error = Ladder::parse(&DEMO.replacen(from, to, 1)).expect_err(name);
            let mut text = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                text += &source.to_string();
            }
            assert!(text.contains(want), "{name}: {text}");
        }
        assert!(matches!(Ladder::parse(""), Err(LadderError::Empty)));
    }

    #[test]
    fn bit_rates_are_read_as_people_write_them() {
        for (text, want) in
            [("3Mbps", Some(3_000_000)), ("1.2Mbps", Some(1_200_000)), ("700kbps", Some(700_000)), ("-1kbps", None)]
        {
            assert_eq!(parse_bit_rate(text), want, "{text}");
        }
    }
}
