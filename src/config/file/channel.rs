//! What a file may say of a channel.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, de};

use super::failover::FailoverFile;
use super::output::OutputFile;
use super::profile::ProfileFile;
use super::source::SourceFile;
use crate::config::document::Mark;
use crate::config::units::{Bytes, Lufs, Rate, SecretRef, Time, TruePeak};

/// One linear programme.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "ladder", "source"]))]
pub(in crate::config) struct ChannelFile {
    /// Its name in URLs and stream ids: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Its name for people. Default: the id.
    pub title: Option<String>,
    /// Frames a second of everything that is encoded. Default "25". A source of another rate is brought to it.
    pub frame_rate: Option<Mark<Rate>>,
    /// Segment duration, 1 s to 10 s. Default "2s".
    pub segment: Option<Mark<Time>>,
    /// "low" encodes without look-ahead and reordering (some 50 ms instead of 400, for more bits at the same quality), and
    /// shortens `part` and `hold` where they are not said. It does not go with a ladder that has `chains`. Default "normal".
    pub latency: Option<Mark<LatencyFile>>,
    /// Duration of a part (CMAF chunk): whole frames, at most the segment. Default: the longest up to 500 ms (200 ms with
    /// latency = "low") that divides the segment evenly.
    pub part: Option<Mark<Time>>,
    /// What the origin serves: "hls"; "ll-hls", the same playlists with parts, blocking reload and delta updates; "hls-ts", playlists of
    /// their own with transport stream segments, for players from before CMAF; "dash"; "ll-dash", a manifest of its own and segments that are
    /// sent while they grow. Default ["hls", "dash"], and with latency = "low" those for low latency, too.
    #[schemars(with = "Option<Vec<FormatFile>>")]
    pub serve: Option<Mark<Vec<FormatFile>>>,
    /// Whether players of manifest.mpd may ask what changed in it instead of fetching it again (MPD patch): worth it in windows of hours,
    /// for players that know it. Default false.
    pub dash_patch: Option<Mark<bool>>,
    /// Where players of HLS should begin (EXT-X-START): "-30s" is so far in front of the end of what is listed, "10s" so far behind its
    /// beginning; within the window, and three segments or more in front of the live edge. Default: players decide.
    #[schemars(with = "Option<String>")]
    pub start_offset: Option<Mark<String>>,
    /// Whether they should begin exactly there, and show nothing of the segment in front of it. Default false.
    pub start_precise: Option<Mark<bool>>,
    /// How much of the past the playlists list: 3 segments to 1 h, which is kept in memory; to 24 h with `dvr`. Default "60s".
    pub window: Option<Mark<Time>>,
    /// Keeps the window on disk as well, so that it outlives the process, and may be longer than memory is large.
    #[schemars(with = "Option<DvrFile>")]
    pub dvr: Option<Mark<DvrFile>>,
    /// How long a late frame is waited for before the one before it is repeated: above `loss_after`, at most 10 s.
    /// Default: `loss_after` and 400 ms, or 200 ms with latency = "low". It is part of the latency.
    pub hold: Option<Mark<Time>>,
    /// Without input: how long the last picture is repeated, up to 1 h. Default "1s".
    pub repeat_for: Option<Mark<Time>>,
    /// How fields of an interlaced source become pictures: "bob" each field one, 25i to 50p; "blend" both fields of a frame in one;
    /// "top" the first field of a frame; "auto" is "bob" at 48 frames a second and more, "top" below. Default "auto".
    #[schemars(with = "Option<String>", extend("enum" = ["auto", "bob", "blend", "top"]))]
    pub deinterlace: Option<Mark<String>>,
    /// How long it is black behind that, up to 1 h, before the slate appears. Default "1s".
    pub black_for: Option<Mark<Time>>,
    /// The slate behind that: an image (PNG, JPEG) or a clip that is looped (MP4, MOV, MKV, WebM; its sound is not used),
    /// relative to this file. Default: a plain background.
    #[schemars(with = "Option<String>")]
    pub slate: Option<Mark<String>>,
    /// Text on the slate, up to 200 characters. Default "No signal", or nothing on a slate of your own.
    pub slate_text: Option<Mark<String>>,
    /// Memory of each of its encode processes, 128MB to 64GB; one that takes more is started anew. Default: a few times
    /// what its ladder needs, as `tandem check` tells.
    pub memory_max: Option<Mark<Bytes>>,
    /// What pipeline B does while A is well. "hot": it encodes too, and each segment is compared. "warm": it keeps raw
    /// pictures and encodes only when it has to, at little more than the cost of one encode. Default "hot".
    #[schemars(with = "Option<RedundancyFile>")]
    pub redundancy: Option<Mark<RedundancyFile>>,
    /// The ladder file, relative to this file; or "auto": renditions made for the source's first picture, from its own size (1080
    /// lines at most) down to 216. "none" encodes and serves nothing: the channel has outputs alone, and needs no pipelines.
    #[schemars(with = "String")]
    pub ladder: Option<Mark<String>>,
    /// Whether equal sources must give equal bytes in both pipelines, so that a difference proves damage. Default true: a
    /// rendition that cannot hold it, by hardware or by a template of your own, is a mistake. false allows it, and A and B
    /// are not compared.
    pub deterministic: Option<bool>,
    /// What x264 may use of the host's instructions. "host": AVX-512 too, where a rung's width allows it; bytes are equal on hosts
    /// alike. "avx2": bytes are equal on all hosts that have AVX2, for up to 8 % more CPU where there is AVX-512. Default "host".
    pub instruction_set: InstructionSetFile,
    /// A pipeline template in place of the built-in pipelines/encode.toml, relative to this file.
    #[schemars(with = "Option<String>")]
    pub template: Option<Mark<String>>,
    /// Brings the programme to a loudness. Without this table its sound stays as loud as it comes.
    #[schemars(with = "Option<LoudnessFile>")]
    pub loudness: Option<Mark<LoudnessFile>>,
    /// When and how pipelines change source.
    pub failover: FailoverFile,
    /// What feeds which pipeline.
    #[schemars(with = "PipelinesFile")]
    pub pipelines: Option<Mark<PipelinesFile>>,
    /// Other hosts that get what a pipeline makes, as a pipeline of theirs.
    pub publish: Vec<Mark<PublishFile>>,
    /// The contribution feeds; at least one.
    #[schemars(length(min = 1))]
    pub source: Vec<Mark<SourceFile>>,
    /// Device profiles: what classes of devices are offered, at addresses of their own.
    pub profile: Vec<Mark<ProfileFile>>,
    /// Where the transport stream goes on to as it came: to other hosts, and to files.
    pub output: Vec<Mark<OutputFile>>,
}

/// What x264 may use of the host's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum InstructionSetFile {
    /// All that gives the same bytes on each run on this host.
    #[default]
    Host,
    /// No more than AVX2.
    Avx2,
}

/// The window on disk.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["folder"]))]
pub(in crate::config) struct DvrFile {
    /// A folder of this channel's own, relative to this file. It is made if it is not there.
    #[schemars(with = "String")]
    pub folder: Option<Mark<String>>,
    /// No more than this is kept, 100MB to 100TB: the oldest goes first. Default "50GB".
    pub size_max: Option<Mark<Bytes>>,
}

/// A way to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum FormatFile {
    /// Playlists of whole segments.
    Hls,
    /// Playlists of segments and parts.
    LlHls,
    /// Playlists of transport stream segments.
    HlsTs,
    /// A manifest of whole segments.
    Dash,
    /// A manifest of segments that grow.
    LlDash,
}

/// What counts more: bits, or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum LatencyFile {
    /// The encoder looks ahead and reorders: fewer bits at the same quality.
    Normal,
    /// Each picture leaves the encoder before the next one enters.
    Low,
}

/// Where the programme's loudness is to be. Each audio rendition is measured over its last minute of programme and brought there by a slow
/// gain, with a limiter of true peaks behind it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct LoudnessFile {
    /// Where the other two keys begin: "ebu-r128" (-23LUFS, -1dBTP) or "atsc-a85" (-24LKFS, -2dBTP). Default "ebu-r128".
    pub preset: Option<Mark<LoudnessPreset>>,
    /// Programme loudness, -40LUFS to -10LUFS.
    pub target: Option<Mark<Lufs>>,
    /// Highest true peak, -12dBTP to -0.1dBTP.
    pub true_peak: Option<Mark<TruePeak>>,
}

/// A recommendation for loudness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum LoudnessPreset {
    /// EBU R 128.
    #[default]
    #[serde(rename = "ebu-r128")]
    EbuR128,
    /// ATSC A/85.
    #[serde(rename = "atsc-a85")]
    AtscA85,
}

/// What the pipeline that is not needed does.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RedundancyFile {
    /// It encodes.
    Hot,
    /// It stands by.
    Warm,
}

/// What feeds which pipeline: sources in the order of preference, of which one may feed both; or "cmaf", an encoder elsewhere that
/// publishes to the port in [ingest].
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["a"]))]
pub(in crate::config) struct PipelinesFile {
    /// Sources of pipeline A; at least one. Or "cmaf".
    #[schemars(with = "PipelineFile")]
    pub a: Option<Mark<PipelineFile>>,
    /// Sources of pipeline B, or "cmaf". Without it the channel has one pipeline and no redundancy behind its sources.
    #[schemars(with = "PipelineFile")]
    pub b: Option<Mark<PipelineFile>>,
}

/// What feeds one pipeline.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum PipelineFile {
    /// These sources, by an encode process of ours.
    Sources(#[schemars(length(min = 1))] Vec<Mark<String>>),
    /// An encoder elsewhere.
    Elsewhere(ElsewhereFile),
}

/// An encoder elsewhere.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum ElsewhereFile {
    /// By CMAF ingest.
    Cmaf,
}

impl<'de> Deserialize<'de> for PipelineFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PipelineVisitor)
    }
}

struct PipelineVisitor;

impl<'de> Visitor<'de> for PipelineVisitor {
    type Value = PipelineFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sources, such as [\"s1\", \"s2\"], or \"cmaf\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PipelineFile, E> {
        match text {
            "cmaf" => Ok(PipelineFile::Elsewhere(ElsewhereFile::Cmaf)),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PipelineFile, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(PipelineFile::Sources(names))
    }
}

/// Another host that gets what a pipeline makes, as a pipeline of its own, by CMAF ingest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["pipeline", "to"]))]
pub(in crate::config) struct PublishFile {
    /// Which of ours, "a" or "b": one that sources feed.
    #[schemars(with = "String", extend("enum" = ["a", "b"]))]
    pub pipeline: Option<Mark<String>>,
    /// The other host's publishing point, "http://host:port/ingest/channel/pipeline".
    #[schemars(with = "String")]
    pub to: Option<Mark<String>>,
    /// The key that is asked for there.
    #[schemars(with = "Option<SecretRef>")]
    pub key: Option<Mark<SecretRef>>,
}
