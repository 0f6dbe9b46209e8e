//! What the main process and an encode process say to each other, over the socket that is the child's stdin.
//!
//! Main → worker: one [`Job`], then items on the channel timeline. Worker → main: one [`Hello`], then coded units in
//! decode order, closed per rendition and segment by a [`SegmentEnd`], and a [`Heartbeat`] four times a second.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ladder::{AudioRung, VideoRung};
use crate::media::{ChannelId, ChannelTime, Grid, Item, PipelineId, SegmentNumber, Slot};

/// How often a worker that is well says so.
pub const HEARTBEAT_EVERY: Duration = Duration::from_millis(250);

/// How much sound in front of a segment takes part in its encoding: a decoder made anew must have met a LATM
/// configuration (sent every 20 frames by some) and have settled.
pub const AUDIO_LEAD: Duration = Duration::from_secs(1);

/// Everything a worker needs to know. Two workers with equal jobs (but for `pipeline` and `start`) and equal items emit
/// equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// For its logs.
    pub channel: ChannelId,
    /// For its logs; never influences a coded byte.
    pub pipeline: PipelineId,
    /// Segment duration and output rate.
    pub grid: Grid,
    /// The first segment to emit, from its first slot. Slots before it are dropped. It is byte-identical to the peer's if the items
    /// begin with a key frame at or before its first slot, and [`AUDIO_LEAD`] or more before its start.
    pub start: SegmentNumber,
    /// A slot still empty this long after its time is filled by a repeat (later by slate).
    pub hold: Duration,
    /// What is shown when no picture comes.
    pub loss: InputLoss,
    /// How fields become pictures.
    pub deinterlace: Deinterlace,
    /// Where the programme's loudness is to be; as it is where not said.
    pub loudness: Option<Loudness>,
    /// What holds from the first segment on.
    pub plan: SegmentPlan,
    /// Video is encoded only on [`ToWorker::Encode`]; until then raw pictures wait. Sound is always encoded.
    pub standby: bool,
    /// Video renditions, highest first, already cut down to the source's size.
    pub video: Vec<VideoRung>,
    /// Audio renditions.
    pub audio: Vec<AudioRung>,
    /// Text of a pipeline template to use in place of the built-in `pipelines/encode.toml`.
    pub template: Option<String>,
}

/// Main → worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// First, and once.
    Job(Box<Job>),
    /// Media on the channel timeline, in order.
    Item(Item<ChannelTime>),
    /// What the channel's owner has planned, at least two segments ahead of the media it is for.
    Plan(SegmentPlan),
    /// To a worker on standby: which segments' pictures to encode, and which to forget.
    Encode(Orders),
    /// Close open segments and exit with status 0.
    Finish,
}

/// What is shown when no picture comes: the last picture, then black, then the slate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputLoss {
    /// How long the last picture is repeated.
    pub repeat_for: Duration,
    /// How long it is black behind that.
    pub black_for: Duration,
    /// What is shown behind that, and where no picture ever came.
    pub slate: Slate,
}

/// The picture behind everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slate {
    /// Written on it; may be empty.
    pub text: String,
    /// An image (PNG, JPEG) or a clip that is looped; a plain background where not said.
    pub picture: Option<PathBuf>,
}

/// How fields become pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deinterlace {
    /// `bob` where the output has a slot for each field, else `top`.
    #[default]
    Auto,
    /// Each field becomes a picture: 25i → 50p.
    Bob,
    /// Both fields of a frame are blended into one picture: 25i → 25p.
    Blend,
    /// The top field becomes the picture: 25i → 25p, sharp movement.
    Top,
}

/// Where the programme's loudness is to be (EBU R 128, ATSC A/85).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loudness {
    /// Programme loudness, LUFS.
    pub target: f32,
    /// Highest true peak, dBTP (ITU-R BS.1770 Annex 2).
    pub true_peak: f32,
}

/// What the channel's owner has planned for the media from one segment on. Both pipelines get the same, so bytes stay equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPlan {
    /// From this segment on, until the next plan.
    pub from: SegmentNumber,
    /// Gain of the sound, hundredths of a decibel.
    pub gain: i16,
}

/// To a worker on standby. Segments are made whole, from their first slot on, however late the order comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Pictures of segments below this are not wanted any more.
    pub forget_below: SegmentNumber,
    /// Encode from this segment on,
    pub from: Option<SegmentNumber>,
    /// up to but without this one; open-ended where not said.
    pub until: Option<SegmentNumber>,
}

/// Which of a job's renditions: its place in `video` followed by `audio`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RenditionIndex(pub u8);

/// Worker → main.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// First, and once.
    Hello(Hello),
    /// One coded picture or audio frame.
    Coded(CodedUnit),
    /// A rendition's segment is whole.
    SegmentEnd(SegmentEnd),
    /// The worker is alive and this is how it fares.
    Heartbeat(Heartbeat),
    /// How loud the source is.
    Loudness(LoudnessReading),
    /// A small picture of what goes out, one each two seconds.
    Thumbnail(Thumbnail),
}

/// How loud the source is, before any gain: made from its samples alone, so both pipelines read the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoudnessReading {
    /// Whose sound; the first audio rendition that carries the track says it for all.
    pub rendition: RenditionIndex,
    /// Measured over this segment.
    pub segment: SegmentNumber,
    /// Mean energy by ITU-R BS.1770-4 gating blocks inside the segment, LUFS; absent for silence.
    pub loudness: Option<f32>,
}

/// A small picture of what goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// What it shows.
    pub slot: Slot,
    /// JPEG.
    pub jpeg: Bytes,
}

/// What this worker is, so that unlike hosts are told apart instead of puzzling over differing bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of this program.
    pub version: String,
    /// GStreamer's version.
    pub gstreamer: String,
    /// x264's build, as its SEI states it; empty where it could not be learnt.
    pub x264: String,
    /// Highest instruction set the coded bytes depend on (`avx2`, `sse4.2`, …).
    pub simd: String,
}

/// One coded picture or audio frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodedUnit {
    /// Whose it is.
    pub rendition: RenditionIndex,
    /// The segment it belongs to.
    pub segment: SegmentNumber,
    /// Presentation place: the [`Slot`](crate::media::Slot) of a picture, the [`AudioFrame`](crate::media::AudioFrame) of sound.
    /// Units arrive in decode order; decode place *i* of a segment is its *i*-th unit.
    pub position: u64,
    /// A decoder may start here.
    pub key: bool,
    /// Video: Annex B access unit, parameter sets in front of each IDR. Audio: one raw AAC frame, no ADTS header.
    pub data: Bytes,
}

/// What had to be made up in a segment. Fewer is better; all zero means every slot shows its own source frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// Slots that repeat the picture before them.
    pub repeated: u32,
    /// Slots that show black or the slate.
    pub slate: u32,
    /// Audio samples that are made-up silence.
    pub silent_samples: u32,
    /// Pictures or audio units known to be decoded from damaged data, and left out or concealed.
    pub damaged: u32,
    /// Pictures of the source that are not shown, because its time was set back and their slots were filled already. Those that
    /// a slower output has no slots for are none.
    pub skipped: u32,
}

/// A rendition's segment is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEnd {
    /// Whose it is.
    pub rendition: RenditionIndex,
    /// Which.
    pub segment: SegmentNumber,
    /// How many units it has: all of the grid's.
    pub units: u32,
    /// What had to be made up.
    pub filled: Filled,
}

/// The worker is alive and this is how it fares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Pictures decoded since the start.
    pub decoded: u64,
    /// Slots filled with a repeat since the start.
    pub repeated: u64,
    /// Slots filled with slate since the start.
    pub slate: u64,
    /// Decoder errors since the start.
    pub decode_errors: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// CPU time used since the start, user and system.
    pub cpu: Duration,
    /// How far the newest finished slot lies behind the wall clock.
    pub lag: Duration,
    /// What is on the output now.
    pub showing: Showing,
}

/// What an encoder shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Showing {
    /// Nothing yet.
    #[default]
    Nothing,
    /// Pictures of the source.
    Source,
    /// The last picture, again and again.
    Repeat,
    /// Black.
    Black,
    /// The slate.
    Slate,
}
