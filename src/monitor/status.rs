//! Status: what is. A snapshot the channel's owner publishes; page, API and metrics read it.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::MergeStatus;
use crate::encode::ipc::Showing;
use crate::measure::Measured;
use crate::media::{ChannelId, OutputName, PipelineId, RenditionId, SourceName, TrackInfo};

/// One channel at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Which.
    pub id: ChannelId,
    /// For people.
    pub title: String,
    /// It encodes and serves; else it only relays.
    pub encodes: bool,
    /// Feeds, as configured.
    pub sources: Vec<SourceStatus>,
    /// A, and B where there is one.
    pub pipelines: Vec<PipelineStatus>,
    /// How the ladder fits the source.
    pub ladder: LadderStatus,
    /// What the packager published.
    pub publish: PublishStatus,
    /// The window on disk; none where the config asks for none.
    #[serde(default)]
    pub dvr: Option<DvrStatus>,
    /// The host that makes the other pipeline, where two make the channel and it was heard.
    #[serde(default)]
    pub other_host: Option<HostStatus>,
    /// How loud each audio rendition's sound comes, and what is done about it; empty where the channel has no target.
    #[serde(default)]
    pub loudness: Vec<LoudnessStatus>,
    /// The process that looks into the sources' pictures and sound; none where the config asks for nothing of it.
    #[serde(default)]
    pub probe: Option<ProbeStatus>,
    /// Where its transport stream goes on to.
    #[serde(default)]
    pub outputs: Vec<OutputStatus>,
}

/// Another host that makes the channel with this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// It is heard now.
    pub heard: bool,
    /// It began earlier than this one.
    pub elder: bool,
    /// Sources that lie on the same slots on both hosts.
    pub agree: u32,
    /// Sources that lie elsewhere there: until they have moved, bytes of A and B differ.
    pub apart: u32,
    /// Times that a source was moved to where the other host has it, since the start.
    pub moves: u64,
    /// Times that what the other host said was not followed, since the start.
    pub refused: u64,
}

/// The window on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DvrStatus {
    /// The disk does not do its work: what is published now does not outlive the process.
    pub failing: bool,
    /// Newest segment that is on disk.
    pub newest: Option<u64>,
    /// Oldest one, once some have expired.
    pub oldest: Option<u64>,
    /// Segments that are not on disk and will not be, since the start.
    pub lost: u64,
}

/// The process that looks into the sources' pictures and sound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// It is up.
    pub running: bool,
    /// Starts of it since the channel came up.
    pub starts: u32,
    /// Process id.
    pub pid: Option<u32>,
    /// CPU seconds of the running process.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Pictures decoded since its start.
    pub decoded: u64,
    /// Pieces of media left out because their decoder was behind, since its start: none, unless the host is too slow.
    pub skipped: u64,
}

/// What is seen in a source's pictures and heard in its sound. What nobody looks at, or has not for a while, is not said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContentStatus {
    /// Its picture is black.
    pub black: Option<bool>,
    /// Its picture stands still.
    pub frozen: Option<bool>,
    /// Its sound is silence.
    pub silent: Option<bool>,
    /// RMS of the loudest channel of its sound within the last fifth of a second, dBFS.
    pub level: Option<f64>,
    /// Pictures that could not be decoded whole, since the start.
    pub decoder_errors: u64,
}

/// One output of a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputStatus {
    /// Its name.
    pub name: OutputName,
    /// `srt`, `rtp`, `udp` or `record`.
    pub transport: String,
    /// Where to, for people; no secrets.
    pub target: String,
    /// What it carries: `source s1`, `pipeline a`.
    pub takes: String,
    /// The source whose packets go out now.
    pub source: Option<SourceName>,
    /// Bits a second handed to it over the last second.
    pub bitrate: u64,
    /// Times it went from one source to another.
    pub switches: u64,
    /// Why it cannot do its work, in one sentence.
    pub alarm: Option<String>,
    /// What it did.
    pub figures: OutputFigures,
}

/// What an output did since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputFigures {
    /// Bytes of TS sent or written; over SRT to all readers together.
    pub bytes: u64,
    /// Datagrams or SRT messages sent; none for files.
    pub packets: u64,
    /// TS packets that a reader, the network or the disk did not take in time.
    pub dropped: u64,
    /// Sendings and writes that failed.
    pub errors: u64,
    /// Over SRT: who is connected.
    pub readers: Vec<ReaderStatus>,
    /// Of a recording.
    pub recording: Option<RecordingStatus>,
}

/// One SRT connection of an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReaderStatus {
    /// Its address.
    pub peer: String,
    /// Bytes sent to it, each once.
    pub bytes: u64,
    /// TS packets it did not take in time.
    pub dropped: u64,
    /// Round-trip time, ms.
    pub rtt_ms: f64,
    /// SRT packets it missed, before recovery.
    pub lost: u64,
    /// SRT packets sent again.
    pub retransmitted: u64,
}

/// A recording's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingStatus {
    /// The file being written.
    pub file: Option<String>,
    /// Files kept, with that one.
    pub files: u64,
    /// Bytes they take.
    pub kept_bytes: u64,
    /// Files deleted to keep within the limits.
    pub deleted: u64,
}

/// How the ladder fits the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LadderStatus {
    /// Rungs the source cannot fill.
    pub left_out: Vec<LeftOut>,
    /// What else is to be known, in one sentence.
    pub note: Option<String>,
}

/// A rung that is not encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub id: RenditionId,
    /// Why, in one sentence.
    pub why: String,
}

/// One feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: SourceName,
    /// Its `type` in the config.
    pub transport: String,
    /// Its connection is up.
    pub connected: bool,
    /// Media arrived within `loss_after`.
    pub flowing: bool,
    /// Pipelines it is on air for.
    pub on_air: Vec<PipelineId>,
    /// Peer address where one is connected.
    pub peer: Option<String>,
    /// Bits a second over the last second, TS.
    pub bitrate: u64,
    /// Continuity errors since the start.
    pub continuity_errors: u64,
    /// By how much its clock is slow, in millionths; below 0 it is fast. Known after two minutes of a connection.
    #[serde(default)]
    pub drift_ppm: Option<f64>,
    /// Its tracks.
    pub tracks: Vec<TrackInfo>,
    /// The link's own figures.
    pub link: Option<LinkStatus>,
    /// Why it cannot be used, in one sentence.
    pub alarm: Option<String>,
    /// How well it is.
    #[serde(default)]
    pub health: HealthStatus,
    /// What is seen in its pictures and heard in its sound; none where the config asks for nothing of it.
    #[serde(default)]
    pub content: Option<ContentStatus>,
    /// Its transport stream, measured.
    #[serde(default)]
    pub measured: Measured,
    /// Of a merged source: how its paths fare.
    #[serde(default)]
    pub merge: Option<MergeStatus>,
}

/// How well a source is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// 0 to 100.
    pub score: u8,
    /// What it lost points for, the worst first, each in one sentence.
    pub reasons: Vec<String>,
}

/// Figures of a link since it came up. Where a transport knows none of a kind, it is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Round-trip time, ms.
    pub rtt_ms: f64,
    /// SRT: negotiated latency; RTP: how long packets wait for others; ms.
    pub latency_ms: u32,
    /// Packets received.
    pub packets: u64,
    /// Packets found missing, before recovery.
    pub lost: u64,
    /// Packets that came by retransmission.
    pub retransmitted: u64,
    /// Packets given up (too late).
    pub dropped: u64,
    /// Packets that could not be decrypted.
    pub undecrypted: u64,
    /// Packets that FEC restored.
    #[serde(default)]
    pub recovered: u64,
    /// Packets that came after a later one, and in time.
    #[serde(default)]
    pub reordered: u64,
    /// Packets that came once more.
    #[serde(default)]
    pub duplicates: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), ms.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Datagrams left out: not from whom they may be, or no media.
    #[serde(default)]
    pub refused: u64,
    /// Datagrams that the kernel dropped because nobody read them in time.
    #[serde(default)]
    pub unread: u64,
}

/// One encode pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineStatus {
    /// A or B.
    pub id: PipelineId,
    /// Its process is up.
    pub running: bool,
    /// It delivers whole segments in step.
    pub locked: bool,
    /// The packager takes segments from it.
    pub on_air: bool,
    /// The sources it may take, in the order of preference.
    pub sources: Vec<SourceName>,
    /// The source it takes.
    pub source: Option<SourceName>,
    /// What it shows.
    pub showing: Showing,
    /// Starts of its process since the channel came up.
    pub starts: u32,
    /// Process id.
    pub pid: Option<u32>,
    /// CPU seconds of the running process.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// How far its newest slot lies behind the wall clock, ms.
    pub lag_ms: u64,
    /// Pictures decoded since its start.
    pub decoded: u64,
    /// Slots filled with repeats since its start.
    pub repeated: u64,
    /// Slots filled with black since its start.
    pub black: u64,
    /// Slots filled with slate since its start.
    pub slate: u64,
    /// Plans that came too late for their segment, since its start: none, unless something is wrong.
    pub late_plans: u64,
    /// The newest small picture of what it puts out.
    pub thumbnail: Option<Thumbnail>,
    /// Its part in a warm pair; none in a hot one.
    pub standby: Option<StandbyStatus>,
    /// What publishes it, where an encoder elsewhere makes it.
    #[serde(default)]
    pub ingest: Option<IngestStatus>,
    /// Other hosts that get what it makes.
    #[serde(default)]
    pub publishing: Vec<PublishingStatus>,
}

/// What an encoder elsewhere has published, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestStatus {
    /// Who published last; none while nothing comes.
    pub peer: Option<String>,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Segments given on whole, of all renditions.
    pub segments: u64,
    /// Segments that lacked units.
    pub incomplete: u64,
    /// Samples that had come before.
    pub duplicates: u64,
    /// Units without use.
    pub dropped: u64,
    /// Pictures that lay between two slots.
    pub off_grid: u64,
    /// Times that sound changed its place on the grid.
    pub regridded: u64,
    /// Units far from the clock.
    pub astray: u64,
    /// Bodies refused.
    pub refused: u64,
    /// Times that the sender's time began anew.
    pub anew: u64,
}

/// How another host takes what a pipeline makes; of all its renditions together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishingStatus {
    /// Its address; no secrets.
    pub to: String,
    /// All renditions are connected.
    pub connected: bool,
    /// Bytes written.
    pub bytes: u64,
    /// Connections that came about.
    pub connections: u64,
    /// Segments that were given up before they were sent whole.
    pub lost: u64,
    /// Why the last connection ended, for people; none while all are connected.
    pub trouble: Option<String>,
}

/// A small picture of what a pipeline puts out, one each two seconds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// The slot it shows.
    pub slot: u64,
    /// When that is, ms since the Unix epoch.
    pub at_ms: u64,
    /// JPEG; has a URL of its own.
    #[serde(skip)]
    pub jpeg: Bytes,
}

impl fmt::Debug for Thumbnail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbnail({} bytes of slot {})", self.jpeg.len(), self.slot)
    }
}

/// A pipeline's part in a warm pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandbyStatus {
    /// What it does.
    pub state: StandbyState,
    /// Times it was called to encode since the channel came up.
    pub calls: u64,
    /// Segments it made when called, since the channel came up.
    pub made: u64,
    /// Raw pictures it keeps.
    pub held: u32,
    /// Memory they take, bytes.
    pub held_bytes: u64,
    /// Segments it could not keep for want of room, since its start.
    pub forgotten: u64,
}

/// What a pipeline of a warm pair does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandbyState {
    /// Its process does not run.
    Down,
    /// It encodes.
    Encodes,
    /// It keeps pictures, ready to encode them.
    StandsBy,
    /// It was called to encode, beside the other one.
    Called,
    /// It stands by and has no pictures of a source: it could not help.
    NoStandby,
}

impl StandbyState {
    /// Its name in metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Encodes => "encodes",
            Self::StandsBy => "stands-by",
            Self::Called => "called",
            Self::NoStandby => "no-standby",
        }
    }

    /// All of them.
    pub const ALL: [Self; 5] = [Self::Down, Self::Encodes, Self::StandsBy, Self::Called, Self::NoStandby];
}

/// What the packager published.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PublishStatus {
    /// Newest segment number.
    pub newest: Option<u64>,
    /// Segments published since the start.
    pub segments: u64,
    /// Segments no pipeline delivered.
    pub gaps: u64,
    /// Segments both delivered with equal bytes.
    pub equal: u64,
    /// Segments both delivered with different bytes.
    pub differs: u64,
    /// Segments only one delivered.
    pub one_missing: u64,
    /// Segments of transport stream that were made because somebody asked for them.
    #[serde(default)]
    pub transport_made: u64,
    /// Those that could not be made.
    #[serde(default)]
    pub transport_failed: u64,
    /// Each rendition as listed.
    pub renditions: Vec<RenditionStatus>,
    /// What a player may be given: whatever lists renditions, of the channel and of its profiles.
    #[serde(default)]
    pub manifests: Vec<ManifestStatus>,
}

/// A text that lists renditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestStatus {
    /// What it is, for people: "HLS", "LL-DASH", with the profile's name where it is one's.
    pub name: String,
    /// Where, below `/live/{channel}/`.
    pub path: String,
}

/// One rendition as listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenditionStatus {
    /// Its name.
    pub id: RenditionId,
    /// RFC 6381 codec string.
    pub codec: String,
    /// Picture size; none for sound.
    pub size: Option<(u32, u32)>,
    /// Measured average, bits a second.
    pub average_bitrate: u64,
    /// Measured peak, bits a second.
    pub peak_bitrate: u64,
}

/// How loud an audio rendition's sound comes, and what is done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoudnessStatus {
    /// Which.
    pub rendition: RenditionId,
    /// Gated loudness of its last minute of programme, before the gain, LUFS.
    pub measured: Option<f64>,
    /// The newest planned gain, decibels.
    pub gain: f64,
    /// So much of the gain that is aimed at is for what the limiter takes, decibels.
    pub make_up: f64,
    /// What the limiter takes of that minute at this gain, LU: it comes out at `measured` + `gain` − `taken`.
    pub taken: f64,
}
