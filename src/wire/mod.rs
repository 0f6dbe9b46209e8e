//! Byte formats: slices in, values out; no state of any channel, no IO.

pub mod codec;
pub mod mp4;
pub mod ts;
