//! The vocabulary every stage speaks: times, numbers, names and the [`Item`]s that travel from demux to encoder.

mod grid;
mod id;
mod item;
mod language;
mod time;

pub use grid::{
    AUDIO_FRAME_SAMPLES, AUDIO_RATE, AudioFrame, FrameRate, FrameRateError, Grid, GridError, SIGNAL_RATES,
    SegmentNumber, Slot,
};
pub use id::{ChannelId, IdError, OutputId, OutputName, PipelineId, ProfileId, RenditionId, SourceId, SourceName};
pub use item::{Break, Codec, Item, Pace, TrackId, TrackInfo, TrackKind, TrackSet, Unit, VideoShape};
pub use language::terminological;
pub use time::{ChannelTime, HZ_90K, MediaTime, Round, SourceTime, Timescale};
