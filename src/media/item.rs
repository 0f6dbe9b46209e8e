//! What travels from demux to encoder. News travels in the stream, in order, as a variant of [`Item`].

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::grid::{FrameRate, SegmentNumber};

/// A track inside its programme: the PID in MPEG-TS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub u16);

/// Elementary stream formats that can be told apart. Those that cannot be decoded are named too, so that an alarm can say them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// ISO/IEC 14496-10, Annex B byte stream.
    H264,
    /// ISO/IEC 23008-2, Annex B byte stream.
    Hevc,
    /// ISO/IEC 13818-2 (and 11172-2).
    Mpeg2Video,
    /// AAC with ADTS headers (ISO/IEC 13818-7).
    AacAdts,
    /// AAC in LATM/LOAS (ISO/IEC 14496-3 §1.7).
    AacLatm,
    /// MPEG-1/2 audio layer I, II or III.
    MpegAudio,
    /// ETSI TS 102 366.
    Ac3,
    /// ETSI TS 102 366 Annex E.
    Eac3,
    /// Known to be there, not decodable here: the stream_type of ISO/IEC 13818-1 Table 2-34.
    Other(u8),
}

impl Codec {
    /// Picture, sound, or neither.
    pub const fn kind(self) -> TrackKind {
        match self {
            Self::H264 | Self::Hevc | Self::Mpeg2Video => TrackKind::Video,
            Self::AacAdts | Self::AacLatm | Self::MpegAudio | Self::Ac3 | Self::Eac3 => TrackKind::Audio,
            Self::Other(_) => TrackKind::Data,
        }
    }
}

/// Picture, sound, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything else.
    Data,
}

/// What a sequence header says about the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoShape {
    /// Luma samples a line, after cropping.
    pub width: u32,
    /// Lines of a frame, after cropping.
    pub height: u32,
    /// Frames a second where the stream says so.
    pub rate: Option<FrameRate>,
    /// The stream may carry fields.
    pub interlaced: bool,
}

/// One track of the chosen programme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackInfo {
    /// Its PID.
    pub id: TrackId,
    /// Its format.
    pub codec: Codec,
    /// ISO 639-2 code from the PMT descriptor.
    pub language: Option<[u8; 3]>,
    /// Known once a sequence header passed; video only.
    pub shape: Option<VideoShape>,
}

/// The tracks of the chosen programme, in PMT order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackSet {
    /// Every track, decodable or not.
    pub tracks: Vec<TrackInfo>,
}

impl TrackSet {
    /// The first track of a kind.
    pub fn first(&self, kind: TrackKind) -> Option<&TrackInfo> {
        self.tracks.iter().find(|t| t.codec.kind() == kind)
    }

    /// The track with this id.
    pub fn get(&self, id: TrackId) -> Option<&TrackInfo> {
        self.tracks.iter().find(|t| t.id == id)
    }
}

/// Coded data with one PTS: one PES payload of video (usually one access unit), one or more whole frames of audio.
/// `T` is [`SourceTime`](super::SourceTime) before the anchor and [`ChannelTime`](super::ChannelTime) behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit<T> {
    /// The track it belongs to.
    pub track: TrackId,
    /// Presentation time of the first access unit that begins in it.
    pub pts: T,
    /// A decoder may start here: an IDR or recovery point for video, always for audio.
    pub key: bool,
    /// Bytes are known to be missing or wrong in it (continuity error, transport_error_indicator).
    pub damaged: bool,
    /// Of video: it begins with an access unit delimiter, and behind it comes another. So it ends where an access unit does, and
    /// its decoder need not wait for the next one to know.
    pub whole: bool,
    /// The coded bytes, byte-stream format.
    pub data: Bytes,
}

impl<T> Unit<T> {
    /// The same unit on another timeline.
    pub fn at<U>(self, pts: U) -> Unit<U> {
        Unit { track: self.track, pts, key: self.key, damaged: self.damaged, whole: self.whole, data: self.data }
    }
}

/// Why what follows does not continue what came before. Decoders are drained and made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Break {
    /// The source's own timestamps jumped or it said so (discontinuity_indicator).
    Timeline,
    /// Another source took over.
    SourceSwitch,
    /// The source's connection began anew.
    Reconnect,
}

/// The slope of the anchor from a segment on. Times of sound already follow it, and it has to be stretched by it; pictures keep their
/// distance and slip by whole slots instead. In steps of 20.8 ppm, so that it is an exact ratio. What was said before of this
/// segment and later ones holds no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// From this segment on, until the next one. It is announced two segments ahead of the media it is for, and again to whoever
    /// joins: first the one that holds where its first unit lies, then those behind it.
    pub from: SegmentNumber,
    /// 48,000 samples of the source last as long as 48,000 + `stretch` of the channel: above 0 the source's clock is slow.
    pub stretch: i16,
}

/// One thing in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item<T> {
    /// The tracks from here on. Sent before the first unit and whenever they change.
    Tracks(Arc<TrackSet>),
    /// Coded media.
    Unit(Unit<T>),
    /// What follows does not continue what came before.
    Break(Break),
    /// The slope of the anchor, planned ahead.
    Pace(Pace),
    /// Nothing more will come from this source.
    End,
}
