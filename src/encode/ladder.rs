//! The rungs of a ladder, as a ladder file in `pipelines/` describes them and a worker encodes them.

use serde::{Deserialize, Serialize};

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
