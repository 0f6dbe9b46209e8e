//! ISO base media file format (ISO/IEC 14496-12) and CMAF (ISO/IEC 23000-19): what we write; and in [`read`], what sources bring.
//!
//! In:    track descriptions and sample tables. Out: the bytes of boxes; media data itself is never touched or copied.
//! Never: writes a wall-clock time, a random number or anything else that would make equal input unequal output.

mod av1;
mod avc;
mod boxes;
mod chunk;
mod hevc;
mod init;
pub mod read;
mod record;
mod video;

pub use av1::Av1Config;
pub use avc::AvcConfig;
pub use chunk::{Chunk, Sample, samples, segment_type};
pub use hevc::HevcConfig;
pub use init::{AudioTrack, Track, TrackMedia, header};
pub use record::ConfigError;
pub use video::{Pictures, VideoCodec, VideoConfig};
