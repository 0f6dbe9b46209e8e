//! What the main process and an encode process say to each other, over the socket that is the child's stdin.
//!
//! Main → worker: one [`Job`], then items on the channel timeline. Worker → main, once it has its job: one [`Hello`], then coded units in
//! decode order, closed per rendition and segment by a [`SegmentEnd`], and a [`Heartbeat`] four times a second.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ladder::{AudioRung, VideoRung};
use crate::media::{ChannelId, ChannelTime, Grid, Item, PipelineId, SegmentNumber, Slot};

/// How often a worker that is well says so.
pub const HEARTBEAT_EVERY: Duration = Duration::from_millis(250);

/// Environment of an encode process. All its threads share one heap (glibc gives each one of its own, up to eight a core): what one
/// segment's encoder has freed is there for the next one's, whoever allocates it. Measured: docs/encode.md.
///
/// And what a segment's encoder frees stays with the process, for the next one: given back to the kernel each time, it would have to be cleared
/// each time, which is 5 % of what a light segment costs.
pub const ENVIRONMENT: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "33554432"), ("MALLOC_TRIM_THRESHOLD_", "2000000000")];

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
    /// What is planned for each audio rendition: what holds in the first segment, and what is to come. Rising.
    pub plan: Vec<SegmentPlan>,
    /// Whether it keeps raw pictures, and what of them it encodes without being told. Sound is always encoded.
    pub standby: Standby,
    /// Video renditions, highest first, already cut down to the source's size; none where it is sound alone.
    pub video: Vec<VideoRung>,
    /// Audio renditions.
    pub audio: Vec<AudioRung>,
    /// Text of a pipeline template to use in place of the built-in `pipelines/encode.toml`.
    pub template: Option<String>,
}

/// What a worker encodes without being told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standby {
    /// Everything, and it keeps no pictures: hot.
    #[default]
    Hot,
    /// Everything from the first segment on, until a [`ToWorker::Encode`] says otherwise.
    Encodes,
    /// Nothing until a [`ToWorker::Encode`] comes; raw pictures wait for it.
    StandsBy,
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
    /// Warm standby: which segments' pictures to encode, and which to forget.
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

/// What the channel's owner has planned for an audio rendition from one segment on. Both pipelines get the same, so bytes stay equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPlan {
    /// Whose sound.
    pub rendition: RenditionIndex,
    /// From this segment on, until the next plan.
    pub from: SegmentNumber,
    /// Gain before this segment, hundredths of a decibel: its beginning leads over, whoever makes it.
    pub before: i16,
    /// Gain from then on.
    pub gain: i16,
}

impl SegmentPlan {
    /// Largest gain either way, hundredths of a decibel.
    pub const GAIN_MAX: i16 = 2000;
}

/// Which segments' pictures a worker encodes. Each order replaces the one before it, but a segment that was begun is made whole.
/// Segments are made from their first slot on, however late the order comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Pictures of segments below this are not wanted any more.
    pub forget_below: SegmentNumber,
    /// Encode from this segment on; nothing where not said. What lies below is not wanted any more,
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
    /// How loud a segment is.
    Loudness(LoudnessReading),
    /// A small picture of what goes out, one each two seconds.
    Thumbnail(Thumbnail),
    /// The slate's file cannot be shown, and why.
    SlateFailed(String),
}

/// How loud a segment is, and what its limiter took of that: made from its samples and its gain alone, so both pipelines read the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoudnessReading {
    /// Whose sound.
    pub rendition: RenditionIndex,
    /// Measured over this segment.
    pub segment: SegmentNumber,
    /// Of each 100 ms, counted from the epoch, that end in the segment. Segments that follow each other leave no hole between their steps,
    /// so that gating blocks (ITU-R BS.1770-4: 400 ms, one each 100 ms) can be made across them.
    pub steps: Vec<LoudnessStep>,
}

/// Loudness of 100 ms of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoudnessStep {
    /// Before the gain, hundredths of LUFS; [`Self::SILENCE`] at least.
    pub loudness: i16,
    /// The gain, hundredths of a decibel.
    pub gain: i16,
    /// What the limiter took of the loudness, hundredths of LU; none is negative.
    pub taken: i16,
    /// What it would have taken, had the gain been 1 dB more: up to 1 LU above `taken`.
    pub taken_louder: i16,
}

impl LoudnessStep {
    /// What is softer is as good as silent, hundredths of LUFS.
    pub const SILENCE: i16 = -12_000;
    /// No sound is louder, hundredths of LUFS: 50 dB above full scale.
    const LOUDEST: i16 = 5000;
    /// No limiter takes more, hundredths of LU.
    const TAKEN_MAX: i16 = 9000;
    /// `taken_louder` is for so much more gain, hundredths of a decibel.
    pub const LOUDER: i16 = 100;

    /// From the loudness behind the gain (LUFS), the gain, and what the limiter took and would have taken.
    pub fn new(levelled: f64, gain: f64, taken: f64, taken_louder: f64) -> Self {
        let hundredths = |value: f64, from: i16, to: i16| (value * 100.0).round().clamp(from.into(), to.into()) as i16;
        let gain_max = SegmentPlan::GAIN_MAX;
        let gain = hundredths(gain, -gain_max, gain_max);
        // Of nothing, nothing can be taken; and what is no number was no sound.
        if !levelled.is_finite() || taken.is_nan() || taken_louder.is_nan() {
            return Self { loudness: Self::SILENCE, gain, taken: 0, taken_louder: 0 };
        }
        let loudness = hundredths(levelled - f64::from(gain) / 100.0, Self::SILENCE, Self::LOUDEST);
        let taken = hundredths(taken, 0, Self::TAKEN_MAX);
        let taken_louder = hundredths(taken_louder, taken, taken + Self::LOUDER);
        Self { loudness, gain, taken, taken_louder }
    }

    /// Whether a sane process can have made it.
    pub fn is_sane(&self) -> bool {
        let gain = -SegmentPlan::GAIN_MAX..=SegmentPlan::GAIN_MAX;
        (Self::SILENCE..=Self::LOUDEST).contains(&self.loudness)
            && gain.contains(&self.gain)
            && (0..=Self::TAKEN_MAX).contains(&self.taken)
            && (self.taken..=self.taken + Self::LOUDER).contains(&self.taken_louder)
    }
}

/// A small picture of what goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// What it shows.
    pub slot: Slot,
    /// JPEG.
    pub jpeg: Bytes,
}

/// What this worker's coded bytes depend on beside its job, so that unlike hosts are told apart instead of puzzling over
/// differing bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of this program.
    pub version: String,
    /// GStreamer's version.
    pub gstreamer: String,
    /// x264's build, as its SEI states it; empty where it could not be learnt.
    pub x264: String,
    /// Highest instruction set the coded bytes depend on (`avx2`, `sse4.2`, …).
    pub simd: String,
    /// Of the pipeline template: the first 16 hexadecimal digits of its SHA-256.
    pub template: String,
    /// What each video rung is encoded by, in the job's order.
    pub encoders: Vec<EncoderInUse>,
}

/// What a video rung is encoded by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderInUse {
    /// The rung's id.
    pub rung: String,
    /// GStreamer's element.
    pub element: String,
    /// The build of the library behind it; empty where it could not be learnt.
    pub build: String,
}

impl Hello {
    /// In what another worker with the same job differs, for people; `None` where both must make equal bytes. `names` are
    /// what to call this one and the other one.
    pub fn unlike(&self, other: &Self, names: [&str; 2]) -> Option<String> {
        let encoders = |hello: &Self| {
            let each = hello.encoders.iter().map(|e| format!("{} by {} {}", e.rung, e.element, e.build));
            each.collect::<Vec<_>>().join(", ")
        };
        let facts = |hello: &Self| {
            [
                ("Tandem", hello.version.clone()),
                ("GStreamer", hello.gstreamer.clone()),
                ("x264", hello.x264.clone()),
                ("instructions", hello.simd.clone()),
                ("pipeline template", hello.template.clone()),
                ("encoders", encoders(hello)),
            ]
        };
        let differing = facts(self).into_iter().zip(facts(other)).filter(|((_, ours), (_, theirs))| ours != theirs);
        let [us, them] = names;
        let told: Vec<String> =
            differing.map(|((what, ours), (_, theirs))| format!("{what}: {us} {ours}, {them} {theirs}")).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
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
    /// Where its picture comes from; sound with silence in it is [`Material::Slate`].
    pub material: Material,
    /// H.264 and HEVC: Annex B access unit, parameter sets in front of each IDR. AV1: one temporal unit of OBUs with sizes, a
    /// sequence header in each key's. Audio: one raw AAC frame, no ADTS header.
    pub data: Bytes,
}

/// Where what a unit shows or sounds comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Material {
    /// The source.
    #[default]
    Source,
    /// It repeats the one before it.
    Repeat,
    /// Black, the slate, or silence.
    Slate,
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
    /// Slots filled with black since the start.
    pub black: u64,
    /// Slots filled with slate since the start.
    pub slate: u64,
    /// Decoder errors since the start.
    pub decode_errors: u64,
    /// Plans that came when their segment was in the making already: none, unless something is wrong.
    pub late_plans: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// CPU time used since the start, user and system.
    pub cpu: Duration,
    /// How far the newest finished slot lies behind the wall clock.
    pub lag: Duration,
    /// What is on the output now.
    pub showing: Showing,
    /// Newest slot that has its picture, encoded or not.
    pub filled: Option<Slot>,
    /// Raw pictures that wait for an order, and those ordered that the encoders have not taken yet.
    pub held: u32,
    /// Memory they take, bytes.
    pub held_bytes: u64,
    /// Segments that could not be kept for want of room, since the start.
    pub forgotten: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlike_workers_are_told_apart_in_words() {
        let encoder =
            EncoderInUse { rung: "v720".to_owned(), element: "x264enc".to_owned(), build: "core 164".to_owned() };
        let one = Hello { simd: "avx2".to_owned(), encoders: vec![encoder.clone()], ..Hello::default() };
        assert_eq!(one.unlike(&one.clone(), ["A", "B"]), None);
        let other = Hello { simd: "sse4.2".to_owned(), ..one.clone() };
        assert_eq!(one.unlike(&other, ["A", "B"]).as_deref(), Some("instructions: A avx2, B sse4.2"));
        let encoder = EncoderInUse { element: "nvh264enc".to_owned(), build: String::new(), ..encoder };
        let other = Hello { encoders: vec![encoder], ..one.clone() };
        let text = one.unlike(&other, ["A", "B"]).expect("they differ");
        assert_eq!(text, "encoders: A v720 by x264enc core 164, B v720 by nvh264enc ");
    }
}
