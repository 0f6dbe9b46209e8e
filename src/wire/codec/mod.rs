//! Just enough of each elementary stream to know its shape and where a decoder may start.

pub mod annexb;
