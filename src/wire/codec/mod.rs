//! Just enough of each elementary stream to know its shape, where a decoder may start, and where a frame ends.

pub mod aac;
pub mod ac3;
pub mod annexb;
pub mod asc;
pub mod av1;
mod bits;
pub mod captions;
pub mod disposable;
pub mod h264;
pub mod hevc;
pub mod layout;
pub mod mpeg_audio;
pub mod mpeg_video;

/// Where an audio frame ends and how long it sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFrameInfo {
    /// Bytes of the frame, header included.
    pub bytes: usize,
    /// Samples of each channel, at [`Self::rate`].
    pub samples: u32,
    /// Samples a second.
    pub rate: u32,
}
