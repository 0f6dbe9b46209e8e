//! The rungs of a ladder, as a ladder file in `pipelines/` describes them and a worker encodes them.

use serde::{Deserialize, Serialize};

use crate::media::RenditionId;

/// One video rendition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoRung {
    /// Its name in URLs.
    pub id: RenditionId,
    /// Picture width; a multiple of 2.
    pub width: u32,
    /// Picture height; a multiple of 2.
    pub height: u32,
    /// What encodes it.
    pub encoder: VideoEncoder,
    /// How many bits it may spend.
    pub rate: RateControl,
    /// The encoder's preset, in its own words.
    pub preset: String,
    /// B-frames between references, 0 to 3; see [`Self::reorder`].
    pub bframes: u32,
    /// Frames of look-ahead, 0 to 60. More is better compression and as much more latency.
    pub lookahead: u32,
    /// H.264 profile: `baseline`, `main` or `high`; `main` for the other codecs.
    pub profile: String,
    /// No look-ahead, no reordering, no frame threads: each picture leaves the encoder before the next one enters.
    pub zero_latency: bool,
    /// Closed GOPs a segment, 1 to 8. Each is encoded by a chain of its own.
    pub gops: u8,
    /// Chains at work at once, 1 to 8: for rungs too heavy for one thread. Each more is a GOP of latency; bytes stay the same.
    pub chains: u8,
    /// Its encoder is held at instructions whose bytes are the same on every host ([`Simd`](super::template::Simd)).
    pub portable: bool,
}

impl VideoRung {
    /// H.264 by x264 with the settings a ladder file has where it says nothing.
    pub fn new(id: RenditionId, width: u32, height: u32, rate: RateControl) -> Self {
        Self {
            id,
            width,
            height,
            encoder: VideoEncoder::X264,
            rate,
            preset: "veryfast".to_owned(),
            bframes: 2,
            lookahead: 10,
            profile: "high".to_owned(),
            zero_latency: false,
            gops: 1,
            chains: 1,
            portable: false,
        }
    }

    /// By how many pictures decode order may lag behind presentation order: of a picture's units in decode order, at most so many come
    /// before one that is shown earlier. Exact, and the same in each GOP, as the packager writes it into the edit list: the unit of decode
    /// place *i* is decoded at slot *i* − `reorder`.
    ///
    /// x264 and x265 keep one B-frame as a reference where there are two or more (a pyramid of two storeys); the figure is what they
    /// declare in their SPS (`max_num_reorder_frames`), of which x264 with two B-frames uses one. AV1 has none: a temporal unit
    /// shows exactly one picture, those of later ones are hidden in it. Hardware is told to make no B-frames, and so is `auto`, as
    /// the two pipelines of a channel may find unlike hardware.
    pub const fn reorder(&self) -> u32 {
        match self.encoder {
            _ if self.zero_latency => 0,
            VideoEncoder::X264 | VideoEncoder::X265 if self.bframes > 2 => 2,
            VideoEncoder::X264 | VideoEncoder::X265 => self.bframes,
            _ => 0,
        }
    }
}

/// What encodes a video rung. Those named after hardware cannot promise equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoEncoder {
    /// H.264 by the best the host has: hardware where there is some, else x264.
    Auto,
    /// H.264 by x264.
    X264,
    /// H.265 by x265.
    X265,
    /// AV1 by libaom in its realtime mode.
    Aom,
    /// AV1 by SVT-AV1, where GStreamer has it: 1.24 and later.
    SvtAv1,
    /// H.264 by VA-API.
    Vaapi,
    /// H.264 by NVENC.
    Nvenc,
    /// H.264 by Quick Sync.
    Qsv,
    /// H.264 by a V4L2 memory-to-memory device.
    V4l2,
}

/// A video coding format that we emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoFormat {
    /// ISO/IEC 14496-10.
    H264,
    /// ISO/IEC 23008-2.
    Hevc,
    /// AV1 Bitstream & Decoding Process Specification.
    Av1,
}

impl VideoEncoder {
    /// Its name in ladder files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::X264 => "x264",
            Self::X265 => "x265",
            Self::Aom => "aom",
            Self::SvtAv1 => "svtav1",
            Self::Vaapi => "vaapi",
            Self::Nvenc => "nvenc",
            Self::Qsv => "qsv",
            Self::V4l2 => "v4l2",
        }
    }

    /// Hardware, or what may turn out to be.
    pub const fn is_hardware(self) -> bool {
        matches!(self, Self::Auto | Self::Vaapi | Self::Nvenc | Self::Qsv | Self::V4l2)
    }

    /// What comes out of it.
    pub const fn format(self) -> VideoFormat {
        match self {
            Self::X265 => VideoFormat::Hevc,
            Self::Aom | Self::SvtAv1 => VideoFormat::Av1,
            _ => VideoFormat::H264,
        }
    }
}

/// How many bits a rung may spend. The decoder's buffer (VBV) begins each GOP in the same state, and the caps hold over each GOP; libaom
/// alone only aims at them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateControl {
    /// Constant quality below a cap: easy pictures cost less.
    CappedCrf {
        /// Constant rate factor, 0 to 51 (63 for AV1); lower is better.
        crf: f32,
        /// Never more than this, bits a second.
        max_bitrate: u32,
    },
    /// A mean that may be exceeded for a while.
    Vbr {
        /// Mean, bits a second.
        bitrate: u32,
        /// Never more than this, bits a second.
        max_bitrate: u32,
    },
    /// As constant as a buffer of a quarter of a GOP allows: no GOP has a quarter more than this.
    Cbr {
        /// Bits a second.
        bitrate: u32,
    },
}

impl RateControl {
    /// Its name in ladder files and pipeline templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CappedCrf { .. } => "capped-crf",
            Self::Vbr { .. } => "vbr",
            Self::Cbr { .. } => "cbr",
        }
    }

    /// What it is to cost on the whole, bits a second; as much as the cap where quality decides.
    pub const fn bitrate(self) -> u32 {
        match self {
            Self::Vbr { bitrate, .. } | Self::Cbr { bitrate } => bitrate,
            Self::CappedCrf { max_bitrate, .. } => max_bitrate,
        }
    }

    /// Never more than this, bits a second.
    pub const fn max_bitrate(self) -> u32 {
        match self {
            Self::CappedCrf { max_bitrate, .. } | Self::Vbr { max_bitrate, .. } => max_bitrate,
            Self::Cbr { bitrate } => bitrate,
        }
    }
}

/// One audio rendition: AAC-LC, 48 kHz.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioRung {
    /// Its name in URLs.
    pub id: RenditionId,
    /// Bits a second.
    pub bitrate: u32,
    /// 1, 2, or 6 for 5.1.
    pub channels: u8,
    /// Which of the source's tracks: the first of this language (ISO 639-2); the first one of all where not said.
    pub language: Option<[u8; 3]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reordering_is_known_before_anything_is_encoded() {
        let rate = RateControl::Cbr { bitrate: 1_000_000 };
        let plain = VideoRung::new(RenditionId::new("v").expect("a name"), 640, 360, rate);
        for (name, encoder, bframes, zero_latency, want) in [
            ("x264 without", VideoEncoder::X264, 0, false, 0),
            ("x264 one", VideoEncoder::X264, 1, false, 1),
            ("x264 pyramid", VideoEncoder::X264, 3, false, 2),
            ("x264 at once", VideoEncoder::X264, 3, true, 0),
            ("x265 pyramid", VideoEncoder::X265, 2, false, 2),
            ("av1", VideoEncoder::Aom, 2, false, 0),
            ("hardware", VideoEncoder::Nvenc, 2, false, 0),
            ("whatever there is", VideoEncoder::Auto, 2, false, 0),
        ] {
            let rung = VideoRung { encoder, bframes, zero_latency, ..plain.clone() };
            assert_eq!(rung.reorder(), want, "{name}");
        }
    }
}
