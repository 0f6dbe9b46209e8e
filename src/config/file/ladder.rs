//! What a ladder file may say.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::document::Mark;
use crate::config::units::{BitRate, Size};

/// A ladder file: the renditions of a channel.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Tandem ladder", extend("anyOf" = [{ "required": ["video"] }, { "required": ["audio"] }]))]
pub(in crate::config) struct LadderFile {
    /// Video renditions, largest first; none for sound alone.
    pub video: Vec<Mark<VideoRungFile>>,
    /// Audio renditions.
    pub audio: Vec<Mark<AudioRungFile>>,
}

/// One video rendition.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "size"]))]
pub(in crate::config) struct VideoRungFile {
    /// Its name in URLs.
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Picture size; width and height even.
    #[schemars(with = "Size")]
    pub size: Option<Mark<Size>>,
    /// What encodes it. Default "x264".
    pub encoder: Option<Mark<EncoderFile>>,
    /// How its bits are spent. Default "capped-crf".
    pub rate_control: Option<Mark<RateControlFile>>,
    /// "vbr": the mean. "cbr": the rate. 50kbps to 100Mbps.
    pub bitrate: Option<Mark<BitRate>>,
    /// "capped-crf" and "vbr": what no GOP costs more than, 50kbps to 100Mbps. libaom may exceed it on noise.
    pub max_bitrate: Option<Mark<BitRate>>,
    /// "capped-crf": quality below the cap, the encoder's constant rate factor: 0 (lossless) to 51, to 63 for AV1. Default 23. Whole
    /// numbers, but for x265.
    #[schemars(range(min = 0, max = 63))]
    pub crf: Option<Mark<f32>>,
    /// Speed against compression in x264's words, "ultrafast" to "placebo". Default "veryfast".
    pub preset: Option<Mark<Preset>>,
    /// B-frames between references, 0 to 3; x264 and x265 alone have them. Default 2.
    #[schemars(range(max = 3))]
    pub bframes: Option<Mark<u32>>,
    /// Frames of look-ahead, 0 to 60; each is a frame of latency. Default 10.
    #[schemars(range(max = 60))]
    pub lookahead: Option<Mark<u32>>,
    /// H.264 profile. Default "high"; "main" alone for HEVC and AV1.
    pub profile: Option<Mark<Profile>>,
    /// Each picture leaves the encoder before the next one enters: no look-ahead, no B-frames. Default false.
    pub zero_latency: bool,
    /// Closed GOPs a segment, 1 to 8. Default 1.
    #[schemars(range(min = 1, max = 8))]
    pub gops: Option<Mark<u8>>,
    /// GOPs encoded at once, each on a thread of its own, 1 to 8: for renditions too heavy for one thread. Bytes stay the same; each
    /// more costs a GOP of latency, and memory for a GOP of pictures. Default 1.
    #[schemars(range(min = 1, max = 8))]
    pub chains: Option<Mark<u8>>,
}

/// One audio rendition: AAC-LC, 48 kHz.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub(in crate::config) struct AudioRungFile {
    /// Its name in URLs.
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Bit rate, 32kbps to 320kbps, for 5.1 to 640kbps. Default "128kbps", for 5.1 "384kbps".
    pub bitrate: Option<Mark<BitRate>>,
    /// 1, 2, or 6 for 5.1. Default 2. A source with more channels is mixed down by ITU-R BS.775.
    #[schemars(extend("enum" = [1, 2, 6]))]
    pub channels: Option<Mark<u8>>,
    /// Which of the source's tracks: the first one of this language, a code of ISO 639-2 like "deu" ("ger" is the same).
    /// While the source has none, it is silent. Default: the source's first track, whatever its language.
    #[schemars(with = "Option<String>", regex(pattern = "^[a-z]{3}$"))]
    pub language: Option<Mark<String>>,
}

/// What encodes a video rendition. Those named after hardware cannot promise equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum EncoderFile {
    /// H.264 by the best the host has: NVENC, Quick Sync, VA-API, V4L2, else x264.
    Auto,
    /// H.264 by x264.
    X264,
    /// H.265 by x265.
    X265,
    /// AV1 by libaom.
    Aom,
    /// AV1 by SVT-AV1; needs GStreamer 1.24.
    SvtAv1,
    /// H.264 by VA-API.
    Vaapi,
    /// H.264 by NVENC.
    Nvenc,
    /// H.264 by Quick Sync.
    Qsv,
    /// H.264 by a V4L2 device.
    V4l2,
}

/// How the bits of a video rendition are spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum RateControlFile {
    /// Constant quality below a cap.
    CappedCrf,
    /// A mean, and a cap.
    Vbr,
    /// A constant rate.
    Cbr,
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($name:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        pub(in crate::config) enum $type { $($name),* }

        impl $type {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

words! {
    /// x264's speed against compression.
    Preset {
        Ultrafast = "ultrafast", Superfast = "superfast", Veryfast = "veryfast", Faster = "faster", Fast = "fast",
        Medium = "medium", Slow = "slow", Slower = "slower", Veryslow = "veryslow", Placebo = "placebo",
    }
}

words! {
    /// H.264 profile.
    Profile { Baseline = "baseline", Main = "main", High = "high" }
}
