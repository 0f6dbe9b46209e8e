//! Byte formats: slices in, values out; no state of any channel, no IO.

pub mod codec;
pub mod fec;
pub mod mp4;
pub mod rtp;
pub mod ts;
