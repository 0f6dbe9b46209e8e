//! What the operator wrote, checked once: `file` (serde) → `validate` → [`Config`]. There is no other way to make one.
//!
//! In:    a TOML file, the ladder files it names, the secrets it points at.
//! Out:   plain values with units in their types; or *all* mistakes, each with line, key and mend ([`Report`]).
//! Never: reads a clock, opens a socket, repeats a secret.

mod auto;
mod checks;
mod cidr;
mod content;
mod datagram;
mod determinism;
mod document;
mod failover;
mod file;
mod ladder;
mod memory;
mod merge;
mod output;
mod pulled;
mod report;
mod slate;
mod source;
mod summary;
mod units;
mod validate;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::encode::ipc::{Deinterlace, InputLoss, Loudness};
use crate::encode::ladder::{AudioRung, VideoRung};
use crate::media::{ChannelId, Grid, PipelineId, SourceId, SourceName};

pub use cidr::Cidr;
pub use output::{Destination, Matrix, OUTPUTS_MAX, Output, Record, RtpOutput, SrtOutput, Takes, Way};
pub use report::{Mistake, Report};
pub use summary::Summary;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where players and CDNs fetch.
    pub origin: Origin,
    /// Where operators look; loopback unless the file says otherwise.
    pub control: Control,
    /// The shared SRT listener, if any source uses it.
    pub srt: SrtListener,
    /// At least one.
    pub channels: Vec<Channel>,
    /// Built-in test-signal generators that run beside the channels and push over the network like anybody else.
    pub signals: Vec<Signal>,
}

impl Config {
    /// Reads and checks a config file.
    ///
    /// # Errors
    /// All its mistakes, and those of the ladders it names.
    pub fn load(file: &Path) -> Result<Self, Report> {
        let name = file.display().to_string();
        let text = checks::read_text(file).map_err(|error| {
            let mut report = Report::default();
            report.add(Mistake::whole_file(&name, error.to_string(), "give the path of a config file".into()));
            report
        })?;
        Self::parse(file, &text)
    }

    /// Checks a config's text. `file` is what mistakes call it, and where relative paths begin.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, Report> {
        let mut document = document::Document::parse(&file.display().to_string(), text);
        let written: file::File = document.read();
        let base = file.parent().unwrap_or(Path::new(""));
        let (config, others) = validate::validate(&mut document, &written, base);
        let mut report = document.into_report();
        report.append(others);
        report.sort();
        match config {
            Some(config) if report.is_empty() => Ok(config),
            _ => Err(report),
        }
    }

    /// What this config makes the program do, for people.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

/// JSON Schema (2020-12) of config files, for editors; `ladder` for that of ladder files.
pub fn schema(ladder: bool) -> serde_json::Value {
    let schema = if ladder { schemars::schema_for!(file::LadderFile) } else { schemars::schema_for!(file::File) };
    let mut schema = schema.to_value();
    without_null(&mut schema);
    schema
}

/// TOML has no null: a key that may be left out is left out.
fn without_null(schema: &mut serde_json::Value) {
    let is_null = |choice: &serde_json::Value| choice == "null" || choice["type"] == "null";
    match schema {
        serde_json::Value::Object(object) => {
            for list in ["anyOf", "type"] {
                let Some(serde_json::Value::Array(choices)) = object.get_mut(list) else { continue };
                choices.retain(|choice| !is_null(choice));
                if let [only] = choices.as_mut_slice() {
                    let only = only.take();
                    object.remove(list);
                    match only {
                        serde_json::Value::Object(keys) => object.extend(keys),
                        word => drop(object.insert(list.to_owned(), word)),
                    }
                }
            }
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(without_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// The HTTP origin.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Server threads; default: one a core, at most 4.
    pub threads: usize,
}

/// The control port: page, API, metrics.
#[derive(Clone, Debug)]
pub struct Control {
    /// Default `127.0.0.1:8081`.
    pub listen: SocketAddr,
}

/// The shared SRT listener: publishers name their source by stream id.
#[derive(Clone, Debug)]
pub struct SrtListener {
    /// Default `127.0.0.1:9710`.
    pub listen: SocketAddr,
    /// Address space of the gateway process, bytes.
    pub memory_max: u64,
}

/// One linear programme.
#[derive(Clone, Debug)]
pub struct Channel {
    /// First part of every URL and stream id.
    pub id: ChannelId,
    /// For people.
    pub title: String,
    /// Segment duration and output rate.
    pub grid: Grid,
    /// CMAF chunk duration; a whole number of slots; at most the segment duration.
    pub part: Duration,
    /// How much of the past the playlists list.
    pub window: Duration,
    /// A slot still empty this long after its time is filled by a repeat.
    pub hold: Duration,
    /// What is shown when no picture comes.
    pub loss: InputLoss,
    /// Resident memory of each encode process, bytes; one that takes more is started anew.
    pub memory_max: u64,
    /// How fields become pictures.
    pub deinterlace: Deinterlace,
    /// Where the programme's loudness is to be; as it is where not said.
    pub loudness: Option<Loudness>,
    /// What the second pipeline does while the first one is well.
    pub redundancy: Redundancy,
    /// Both pipelines must make equal bytes of equal sources; where not, a difference between them proves nothing.
    pub deterministic: bool,
    /// All contribution feeds.
    pub sources: Vec<Source>,
    /// One or two, A first; a channel that only relays may have none.
    pub pipelines: Vec<Pipeline>,
    /// When and how pipelines change source.
    pub failover: Failover,
    /// Renditions, highest first; rungs above the source's size are left out when it is known. Without any, the channel only
    /// relays ([`Self::encodes`]).
    pub ladder: Ladder,
    /// Where its transport stream goes on to as it came.
    pub outputs: Vec<Output>,
    /// Text of a pipeline template to use in place of the built-in `pipelines/encode.toml`.
    pub template: Option<String>,
}

impl Channel {
    /// Something is encoded and served. Else it has outputs alone (`ladder = "none"`).
    pub fn encodes(&self) -> bool {
        !self.ladder.video.is_empty() || !self.ladder.audio.is_empty()
    }
}

/// What the second pipeline does while the first one is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redundancy {
    /// It encodes everything.
    #[default]
    Hot,
    /// It decodes, and encodes only what the first one does not bring: little more than the cost of one encode.
    Warm,
}

/// One pipeline and its sources in the order of preference.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// A or B.
    pub id: PipelineId,
    /// At least one.
    pub sources: Vec<SourceName>,
}

/// When and how pipelines change source.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Silence after which the next source takes over. Default 200 ms.
    pub loss_after: Duration,
    /// How much of each source is kept, so that a key frame is at hand at once. Default 4 s.
    pub join_buffer: Duration,
    /// When to go back to a preferred source.
    pub revert: Revert,
    /// Whether the order of a pipeline's sources counts.
    pub order: SourceOrder,
    /// No change of source within this time of the last one, unless the source on air goes silent; and as long a source
    /// must have been well before it is gone back to. Default: the time of `revert`, or 10 s.
    pub hold_down: Duration,
    /// What else a source is left for; nothing where not said.
    pub conditions: Vec<Limits>,
    /// What black, frozen and silent mean.
    pub content: Content,
}

impl Failover {
    /// The usual values around these.
    pub fn new(loss_after: Duration, join_buffer: Duration, revert: Revert) -> Self {
        let hold_down = match revert {
            Revert::Never => HOLD_DOWN,
            Revert::After(well) => well,
        };
        Self {
            loss_after,
            join_buffer,
            revert,
            order: SourceOrder::Preferred,
            hold_down,
            conditions: Vec::new(),
            content: Content::default(),
        }
    }
}

/// What is black, frozen and silent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Content {
    /// A point is dark up to this share of the way from black to white. Default 0.1.
    pub dark_level: f32,
    /// A picture is black where so much of it is dark, 0 to 1. Default 0.98.
    pub dark_share: f32,
    /// An area has changed where its brightness has, by more than this share of the way from black to white. Default 0.02.
    pub change: f32,
    /// Sound whose loudest channel is below is silence, RMS, dBFS. Default −50.
    pub silence: f32,
}

impl Default for Content {
    fn default() -> Self {
        // Level and share as ffmpeg's blackdetect has them, silence as MediaLive's automatic input failover has it.
        Self { dark_level: 0.1, dark_share: 0.98, change: 0.02, silence: -50.0 }
    }
}

/// Hold-down where nothing says otherwise.
const HOLD_DOWN: Duration = Duration::from_secs(10);

/// Whether the order of a pipeline's sources counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceOrder {
    /// The first one that is well is the best.
    #[default]
    Preferred,
    /// The one with the best score is the best, and nobody is gone back to.
    Equal,
}

/// What may be wrong with a source that flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It has a video track, and no picture comes.
    NoVideo,
    /// It has an audio track, and no sound comes.
    NoAudio,
    /// Packets are not found in what comes.
    SyncLoss,
    /// Packets are missing.
    Continuity,
    /// A PID of its programme is missing (ETSI TR 101 290 1.6).
    Pid,
    /// Its PCR is late or jumps (2.3).
    Pcr,
    /// Its pictures are black.
    Black,
    /// Its pictures stand still.
    Frozen,
    /// Its sound is silence.
    Silent,
    /// Its pictures cannot be decoded without errors.
    DecoderErrors,
}

impl Condition {
    /// All of them, the worst first.
    pub const ALL: [Self; 10] = [
        Self::SyncLoss,
        Self::NoVideo,
        Self::Black,
        Self::Frozen,
        Self::NoAudio,
        Self::DecoderErrors,
        Self::Silent,
        Self::Continuity,
        Self::Pid,
        Self::Pcr,
    ];

    /// It is told in numbers a second, not as a state.
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::Continuity | Self::Pid | Self::Pcr)
    }

    /// It is seen or heard only in decoded pictures or sound.
    pub const fn is_content(self) -> bool {
        matches!(self, Self::Black | Self::Frozen | Self::Silent | Self::DecoderErrors)
    }
}

/// When a condition counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Which.
    pub condition: Condition,
    /// It must last so long.
    pub after: Duration,
    /// It must be away so long to be over.
    pub clear: Duration,
    /// Of errors: so many within a second.
    pub per_second: u64,
}

impl Limits {
    /// The usual values.
    pub const fn usual(condition: Condition) -> Self {
        let (after, per_second) = match condition {
            Condition::SyncLoss => (Duration::from_millis(500), 1),
            Condition::NoVideo | Condition::NoAudio => (Duration::from_secs(1), 1),
            Condition::Continuity => (Duration::from_secs(2), 5),
            Condition::DecoderErrors => (Duration::from_secs(2), 1),
            // The report counts a PID that stays away once in 5 s.
            Condition::Pid => (Duration::from_secs(1), 1),
            Condition::Pcr => (Duration::from_secs(3), 1),
            Condition::Black => (Duration::from_secs(2), 1),
            Condition::Frozen | Condition::Silent => (Duration::from_secs(5), 1),
        };
        Self { condition, after, clear: Duration::from_secs(5), per_second }
    }
}

/// When to go back to a preferred source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revert {
    /// Stay until the one on air fails.
    Never,
    /// After the preferred source has been well for so long.
    After(Duration),
}

impl Channel {
    /// The merged source that this one is a path of.
    pub fn merged_by(&self, path: &SourceName) -> Option<&SourceName> {
        let is_path = |source: &&Source| matches!(&source.input, Input::Merge(merge) if merge.of.contains(path));
        self.sources.iter().find(is_path).map(|source| &source.id.source)
    }
}

/// One contribution feed.
#[derive(Clone, Debug)]
pub struct Source {
    /// `channel/source`.
    pub id: SourceId,
    /// How it reaches us.
    pub input: Input,
    /// Which programme of a multi-programme stream; the first one where not said.
    pub program: Option<u16>,
}

/// How a source reaches us.
#[derive(Clone, Debug)]
pub enum Input {
    /// SRT (see [`SrtInput`]).
    Srt(SrtInput),
    /// MPEG-TS over RTP.
    Rtp(RtpInput),
    /// MPEG-TS in bare UDP datagrams.
    Udp(DatagramInput),
    /// RTSP (see [`RtspInput`]).
    Rtsp(RtspInput),
    /// A file, again and again.
    File(PathBuf),
    /// The built-in test signal, in process group but outside the main process.
    Test(SignalShape),
    /// Other sources of the channel, merged.
    Merge(MergeInput),
}

impl Input {
    /// Its `type` in a config.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Srt(_) => "srt",
            Self::Rtp(_) => "rtp",
            Self::Udp(_) => "udp",
            Self::Rtsp(_) => "rtsp",
            Self::File(_) => "file",
            Self::Test(_) => "test",
            Self::Merge(_) => "merge",
        }
    }
}

/// Most paths of a merged source.
pub const MERGE_PATHS_MAX: usize = 8;

/// Paths that carry copies of one transport stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeInput {
    /// The paths: sources of the channel over SRT, RTP or UDP; 2 to [`MERGE_PATHS_MAX`].
    pub of: Vec<SourceName>,
    /// How long a packet waits for its copies, 20 ms to 15 s. Default 200 ms.
    pub recovery_window: Duration,
}

/// Where datagrams come in, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramInput {
    /// An address of this host, or a multicast group; and the port.
    pub address: SocketAddr,
    /// Where to join, or the only one to receive at; the system's choice where not said.
    pub interface: Option<Interface>,
    /// Senders to join a group for; empty: any.
    pub from: Vec<IpAddr>,
    /// Who may send; empty: anybody.
    pub allow: Vec<Cidr>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The one that has this address.
    Address(IpAddr),
    /// The one of this name, 1 to 15 bytes, without `/`.
    Name(String),
}

/// One RTP input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpInput {
    /// Where the media comes in.
    pub datagrams: DatagramInput,
    /// How long a packet waits for those that it may have overtaken. Default 50 ms.
    pub reorder: Duration,
    /// Where FEC comes in, if it is to be used.
    pub fec: Option<FecPorts>,
}

/// Ports of SMPTE ST 2022-1 FEC, at the media's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FecPorts {
    /// Default: two above the media's.
    pub columns: u16,
    /// Default: four above the media's.
    pub rows: u16,
}

/// One SRT input.
#[derive(Clone, Debug)]
pub struct SrtInput {
    /// Who calls whom.
    pub mode: SrtMode,
    /// Receiver latency (SRTO_RCVLATENCY); the maximum of both sides holds. Default 200 ms.
    pub latency: Duration,
    /// AES key, where one is set.
    pub passphrase: Option<Secret>,
    /// AES key length for a caller: 16, 24 or 32 bytes. In other modes the sender's holds.
    pub key_length: u8,
    /// Who may publish; empty: anybody.
    pub allow: Vec<Cidr>,
}

/// One RTSP input: we call a server.
#[derive(Clone, Debug)]
pub struct RtspInput {
    /// `rtsp://host[:port]/path`, without user and password.
    pub url: String,
    /// RTP in UDP packets; else inside the RTSP connection.
    pub udp: bool,
    /// Who we are, where the server asks.
    pub user: Option<(String, Secret)>,
}

/// Who calls whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SrtMode {
    /// A publisher calls the shared listener and names the source in its stream id.
    Shared,
    /// A publisher calls a port of this source's own; any stream id.
    Listener(SocketAddr),
    /// We call a server.
    Caller {
        /// `host:port`.
        address: String,
        /// What we ask for.
        stream_id: Option<String>,
    },
    /// Both sides call each other, each from a port that the other one knows.
    Rendezvous {
        /// Ours.
        listen: SocketAddr,
        /// `host:port` of the other side.
        address: String,
    },
}

/// A key that never reaches a log, a metric, an API answer or a page.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the library that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("«secret»")
    }
}

/// Renditions, highest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    /// The file it came from.
    pub file: PathBuf,
    /// It is made for the source once that is known ([`Self::for_source`]); until then it is one for 1280x720.
    pub auto: bool,
    /// Video rungs; none where it is sound alone.
    pub video: Vec<VideoRung>,
    /// Audio tracks.
    pub audio: Vec<AudioRung>,
}

impl Ladder {
    /// The same renditions with nothing in the encoders that waits for later pictures or GOPs.
    #[must_use]
    pub(crate) fn low_latency(mut self) -> Self {
        for rung in &mut self.video {
            (rung.zero_latency, rung.bframes, rung.lookahead) = (true, 0, 0);
            (rung.gops, rung.chains) = (1, 1);
        }
        self
    }

    /// The same renditions, encoded so that bytes are equal on all hosts from AVX2 up, and not only on hosts alike.
    #[must_use]
    pub(crate) fn portable(mut self) -> Self {
        self.video.iter_mut().for_each(|rung| rung.portable = true);
        self
    }

    /// Whether a rung asks for a language: then every audio track of a source counts, not only the first.
    pub fn has_languages(&self) -> bool {
        self.audio.iter().any(|rung| rung.language.is_some())
    }
}

/// The picture and sound of a test signal.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalShape {
    /// Picture width.
    pub width: u32,
    /// Picture height.
    pub height: u32,
    /// Frames a second.
    pub rate: crate::media::FrameRate,
    /// Video bit rate, bits a second.
    pub bitrate: u32,
}

/// A generator that runs beside the channels.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Picture and sound.
    pub shape: SignalShape,
    /// Where the same bytes go: `srt://host:port?streamid=…`.
    pub to: Vec<String>,
}

/// Whether an address can be reached from other hosts.
pub fn is_public(address: IpAddr) -> bool {
    !address.is_loopback()
}
