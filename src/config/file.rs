//! What a config file may say, key by key. `tandem schema` is made from it, its doc comments included.
//!
//! Every key is optional here, so that one mistake does not hide the others; `validate` knows which are required.

use schemars::JsonSchema;
use serde::Deserialize;

use super::content::{BlackFile, DecoderErrorsFile, FrozenFile, SilentFile};
use super::document::Mark;
use super::merge::MergeSourceFile;
use super::output_file::OutputFile;
use super::units::{BitRate, Bytes, Lufs, Rate, RevertText, SecretRef, Size, Time, TruePeak};

/// A Tandem configuration: channels, and where they are served.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Tandem", extend("required" = ["channel"]))]
pub(super) struct File {
    /// The HTTP origin that players and CDNs fetch from.
    pub origin: OriginFile,
    /// The page, the API and the metrics, for operators.
    pub control: ControlFile,
    /// The SRT port that all sources of mode "shared" come in by.
    pub srt: SrtFile,
    /// The channels; at least one.
    #[schemars(length(min = 1))]
    pub channel: Vec<Mark<ChannelFile>>,
    /// Test-signal generators that run beside the channels and push over the network, like any other publisher.
    pub signal: Vec<Mark<SignalFile>>,
}

/// The HTTP origin that players and CDNs fetch from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OriginFile {
    /// Address and port. Default "127.0.0.1:8080": this host only. "0.0.0.0:8080" serves the world.
    #[schemars(with = "String")]
    pub listen: Option<Mark<String>>,
    /// Server threads, 1 to 64. Default: one a core, at most 4.
    #[schemars(range(min = 1, max = 64))]
    pub threads: Option<Mark<usize>>,
}

/// The page, the API and the metrics, for operators. There is no password: keep it on loopback or behind a proxy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ControlFile {
    /// Address and port. Default "127.0.0.1:8081".
    #[schemars(with = "String")]
    pub listen: Option<Mark<String>>,
}

/// The SRT port that all sources of mode "shared" come in by. Publishers name theirs in the stream id.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SrtFile {
    /// Address and port (UDP). Default "127.0.0.1:9710".
    #[schemars(with = "String")]
    pub listen: Option<Mark<String>>,
    /// Address space of the gateway process, 64MB to 64GB. Default "1GB". A flood of handshakes ends there, not in the
    /// host's memory.
    pub memory_max: Option<Mark<Bytes>>,
}

/// One linear programme.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "ladder", "source"]))]
pub(super) struct ChannelFile {
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
    /// How much of the past the playlists list: 3 segments to 1 h. Default "60s". It is kept in memory.
    pub window: Option<Mark<Time>>,
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
    /// Which sources feed which pipeline.
    #[schemars(with = "PipelinesFile")]
    pub pipelines: Option<Mark<PipelinesFile>>,
    /// The contribution feeds; at least one.
    #[schemars(length(min = 1))]
    pub source: Vec<Mark<SourceFile>>,
    /// Where the transport stream goes on to as it came: to other hosts, and to files.
    pub output: Vec<Mark<OutputFile>>,
}

/// What x264 may use of the host's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum InstructionSetFile {
    /// All that gives the same bytes on each run on this host.
    #[default]
    Host,
    /// No more than AVX2.
    Avx2,
}

/// What counts more: bits, or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LatencyFile {
    /// The encoder looks ahead and reorders: fewer bits at the same quality.
    Normal,
    /// Each picture leaves the encoder before the next one enters.
    Low,
}

/// Where the programme's loudness is to be. Each audio rendition is measured over its last minute of programme and brought there by a slow
/// gain, with a limiter of true peaks behind it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LoudnessFile {
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
pub(super) enum LoudnessPreset {
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
pub(super) enum RedundancyFile {
    /// It encodes.
    Hot,
    /// It stands by.
    Warm,
}

/// When and how pipelines change source.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FailoverFile {
    /// Silence after which the next source takes over, 50 ms to 10 s. Default "200ms".
    pub loss_after: Option<Mark<Time>>,
    /// How much of each source is kept, so that a key frame is at hand at once, 500 ms to 30 s. Default "4s". It should
    /// be longer than the sources' key-frame distance.
    pub join_buffer: Option<Mark<Time>>,
    /// When to go back to a preferred source: "never", or after it has been well for so long. Default "never".
    pub revert: Option<Mark<RevertText>>,
    /// Whether the order of a pipeline's sources counts. "preferred": the first one that is well is the best. "equal": they have
    /// no order, the one with the best score is the best, and nobody is gone back to. Default "preferred".
    pub order: Option<Mark<OrderFile>>,
    /// No change of source within this time of the last one, up to 1 h, unless the source on air goes silent; and as long a
    /// source must have been well before it is gone back to. Default: the time of `revert`, or "10s".
    pub hold_down: Option<Mark<Time>>,
    /// Leave a source that has a video track and brings no picture. Default: after = "1s".
    #[schemars(with = "Option<StateFile>")]
    pub no_video: Option<Mark<StateFile>>,
    /// Leave a source that has an audio track and brings no sound. Default: after = "1s".
    #[schemars(with = "Option<StateFile>")]
    pub no_audio: Option<Mark<StateFile>>,
    /// Leave a source in whose bytes no packets are found. Default: after = "500ms".
    #[schemars(with = "Option<StateFile>")]
    pub sync_loss: Option<Mark<StateFile>>,
    /// Leave a source whose packets are missing. Default: after = "2s", per_second = 5.
    #[schemars(with = "Option<RateFile>")]
    pub continuity_errors: Option<Mark<RateFile>>,
    /// Leave a source in which PIDs of pictures or sound are missing (ETSI TR 101 290 1.6, counted once in 5 s). Default: after = "1s",
    /// per_second = 1.
    #[schemars(with = "Option<RateFile>")]
    pub pid_errors: Option<Mark<RateFile>>,
    /// Leave a source whose PCR is late or jumps (2.3). Default: after = "3s", per_second = 1.
    #[schemars(with = "Option<RateFile>")]
    pub pcr_errors: Option<Mark<RateFile>>,
    /// Leave a source whose picture is black. Default: after = "2s", level = "10%", share = "98%". This and the three below have a
    /// process decode all sources of the channel.
    #[schemars(with = "Option<BlackFile>")]
    pub black: Option<Mark<BlackFile>>,
    /// Leave a source whose picture stands still. Default: after = "5s", change = "2%".
    #[schemars(with = "Option<FrozenFile>")]
    pub frozen: Option<Mark<FrozenFile>>,
    /// Leave a source whose sound is silence; that which brings none at all is no_audio's. Default: after = "5s", level = "-50dBFS".
    #[schemars(with = "Option<SilentFile>")]
    pub silent: Option<Mark<SilentFile>>,
    /// Leave a source whose pictures cannot be decoded whole. Default: after = "2s", per_second = 1.
    #[schemars(with = "Option<DecoderErrorsFile>")]
    pub decoder_errors: Option<Mark<DecoderErrorsFile>>,
}

/// Whether the order of sources counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OrderFile {
    /// It does.
    Preferred,
    /// It does not.
    Equal,
}

/// A condition that is there or not. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StateFile {
    /// It must last so long, 500 ms to 1 h.
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 500 ms to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
}

/// A condition that is told in numbers a second. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateFile {
    /// It must last so long, 1 s to 1 h.
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 1 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// So many within a second, 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_second: Option<Mark<u64>>,
}

/// Which sources feed which pipeline, in the order of preference. A source may feed both.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["a"]))]
pub(super) struct PipelinesFile {
    /// Sources of pipeline A; at least one.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub a: Option<Mark<Vec<Mark<String>>>>,
    /// Sources of pipeline B. Without it the channel has one pipeline and no redundancy behind its sources.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub b: Option<Mark<Vec<Mark<String>>>>,
}

/// One contribution feed; `type` says how it arrives.
// `document` hands entries over as `{ srt = { … } }`, so that serde keeps positions; people write `type = "srt"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(tag = "type")]
pub(super) enum SourceFile {
    /// MPEG-TS over SRT.
    Srt(SrtSourceFile),
    /// MPEG-TS over RTP (RFC 2250), with FEC (SMPTE ST 2022-1) where the sender adds it.
    Rtp(RtpSourceFile),
    /// MPEG-TS in bare UDP datagrams.
    Udp(UdpSourceFile),
    /// H.264 or HEVC and AAC from an RTSP server that we call.
    Rtsp(RtspSourceFile),
    /// A file, again and again.
    File(FileSourceFile),
    /// One stream by several paths, merged without a seam.
    Merge(MergeSourceFile),
    /// The built-in test signal.
    Test(TestSourceFile),
}

/// MPEG-TS over SRT.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub(super) struct SrtSourceFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_". Publishers send the stream id "channel/source".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Who calls whom. Default "shared".
    pub mode: Option<Mark<SrtModeFile>>,
    /// Modes "listener" and "rendezvous": address and port (UDP) of its own.
    #[schemars(with = "String")]
    pub listen: Option<Mark<String>>,
    /// Mode "caller": "host:port" of the server to call. Mode "rendezvous": of the other side.
    #[schemars(with = "String")]
    pub address: Option<Mark<String>>,
    /// Mode "caller": the stream id to ask for.
    #[schemars(with = "String")]
    pub stream_id: Option<Mark<String>>,
    /// How long a lost packet may take to be sent again, 20 ms to 8 s. Default "200ms". The larger of both sides holds;
    /// four round trips are a good value.
    pub latency: Option<Mark<Time>>,
    /// Where the passphrase is: "env:NAME" or "file:path" (relative to this file). 10 to 79 characters.
    pub passphrase: Option<Mark<SecretRef>>,
    /// Mode "caller" with a passphrase: AES key length in bytes. 16, 24 or 32; default 16. Publishers choose their own.
    #[schemars(range(min = 16, max = 32))]
    pub key_length: Option<Mark<u8>>,
    /// Who may publish, as ranges of addresses such as "10.0.0.0/8" or "192.0.2.7". Default: anybody who can reach the port.
    /// Not in modes "caller" and "rendezvous".
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow: Option<Mark<Vec<Mark<String>>>>,
    /// Programme number in a stream with several. Default: the first one.
    #[schemars(range(min = 1))]
    pub program: Option<Mark<u16>>,
}

/// MPEG-TS over RTP (RFC 2250), with FEC (SMPTE ST 2022-1) where the sender adds it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "address"]))]
pub(super) struct RtpSourceFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Address and port (UDP) to receive at: one of this host's ("0.0.0.0:5004" for all), or a multicast group
    /// ("239.1.1.1:5004", "[ff3e::1]:5004").
    #[schemars(with = "String")]
    pub address: Option<Mark<String>>,
    /// Network interface, by name ("eth0") or, for multicast, by an address of its own. Default: the system's choice.
    #[schemars(with = "String")]
    pub interface: Option<Mark<String>>,
    /// Multicast: join for these senders only (source-specific). Default: for any.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub from: Option<Mark<Vec<Mark<String>>>>,
    /// Who may send, as ranges of addresses such as "10.0.0.0/8" or "192.0.2.7". Default: anybody who can reach the port.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow: Option<Mark<Vec<Mark<String>>>>,
    /// How long a packet waits for those that it may have overtaken, 0s to 2s. Default "50ms". With FEC, the time comes on top
    /// that FEC packets are seen to take.
    pub reorder: Option<Mark<Time>>,
    /// Receive column and row FEC as well. Default false.
    #[schemars(with = "Option<bool>")]
    pub fec: Option<Mark<bool>>,
    /// Port of column FEC. Default: two above the media's.
    #[schemars(range(min = 1))]
    pub fec_columns: Option<Mark<u16>>,
    /// Port of row FEC. Default: four above the media's.
    #[schemars(range(min = 1))]
    pub fec_rows: Option<Mark<u16>>,
    /// Programme number in a stream with several. Default: the first one.
    #[schemars(range(min = 1))]
    pub program: Option<Mark<u16>>,
}

/// MPEG-TS in bare UDP datagrams. What the network loses or reorders cannot be mended; take RTP or SRT where you may choose.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "address"]))]
pub(super) struct UdpSourceFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Address and port (UDP) to receive at: one of this host's ("0.0.0.0:5004" for all), or a multicast group
    /// ("239.1.1.1:5004", "[ff3e::1]:5004").
    #[schemars(with = "String")]
    pub address: Option<Mark<String>>,
    /// Network interface, by name ("eth0") or, for multicast, by an address of its own. Default: the system's choice.
    #[schemars(with = "String")]
    pub interface: Option<Mark<String>>,
    /// Multicast: join for these senders only (source-specific). Default: for any.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub from: Option<Mark<Vec<Mark<String>>>>,
    /// Who may send, as ranges of addresses such as "10.0.0.0/8" or "192.0.2.7". Default: anybody who can reach the port.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow: Option<Mark<Vec<Mark<String>>>>,
    /// Programme number in a stream with several. Default: the first one.
    #[schemars(range(min = 1))]
    pub program: Option<Mark<u16>>,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SrtModeFile {
    /// Publishers call the shared SRT port and name the source in their stream id.
    Shared,
    /// Publishers call a port of this source's own.
    Listener,
    /// We call a server.
    Caller,
    /// Both sides call each other at once, each from a port that the other one knows: through firewalls that let answers in and
    /// nobody else.
    Rendezvous,
}

impl SrtModeFile {
    /// As a config writes it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Listener => "listener",
            Self::Caller => "caller",
            Self::Rendezvous => "rendezvous",
        }
    }

    /// We choose who the other side is.
    pub(super) const fn chooses_peer(self) -> bool {
        matches!(self, Self::Caller | Self::Rendezvous)
    }
}

/// H.264 or HEVC and AAC from an RTSP server that we call, such as a camera.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "url"]))]
pub(super) struct RtspSourceFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// What is called: "rtsp://host/path", with a port where it is not 554; without user and password.
    #[schemars(with = "String")]
    pub url: Option<Mark<String>>,
    /// How media comes: "tcp" inside the connection, or "udp" in packets beside it. Default "tcp".
    pub transport: Option<Mark<RtspTransportFile>>,
    /// User name, where the server asks for one (digest or basic authentication).
    #[schemars(with = "Option<String>")]
    pub user: Option<Mark<String>>,
    /// Where the password is: "env:NAME" or "file:path" (relative to this file).
    pub password: Option<Mark<SecretRef>>,
}

/// How media comes from an RTSP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RtspTransportFile {
    /// Inside the connection.
    Tcp,
    /// In UDP packets; those that come out of order are lost.
    Udp,
}

/// A file that is played again and again at its own pace.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "path"]))]
pub(super) struct FileSourceFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// The file, relative to this one: a transport stream, or an MP4 with H.264 or HEVC and AAC.
    #[schemars(with = "String")]
    pub path: Option<Mark<String>>,
    /// Programme number in a transport stream with several. Default: the first one.
    #[schemars(range(min = 1))]
    pub program: Option<Mark<u16>>,
}

/// The built-in test signal, without a network between.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub(super) struct TestSourceFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Picture size, both even, 160x90 to 3840x2160. Default "1280x720".
    pub size: Option<Mark<Size>>,
    /// Frames a second. Default "25".
    pub rate: Option<Mark<Rate>>,
    /// Video bit rate, 100kbps to 100Mbps. Default "4Mbps".
    pub bitrate: Option<Mark<BitRate>>,
}

/// A test-signal generator that pushes over the network.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["to"]))]
pub(super) struct SignalFile {
    /// Where the same bytes go, such as "srt://127.0.0.1:9710?streamid=demo/s1"; at least one.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub to: Option<Mark<Vec<Mark<String>>>>,
    /// Picture size, both even, 160x90 to 3840x2160. Default "1280x720".
    pub size: Option<Mark<Size>>,
    /// Frames a second. Default "25".
    pub rate: Option<Mark<Rate>>,
    /// Video bit rate, 100kbps to 100Mbps. Default "4Mbps".
    pub bitrate: Option<Mark<BitRate>>,
}

/// A ladder file: the renditions of a channel.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Tandem ladder", extend("anyOf" = [{ "required": ["video"] }, { "required": ["audio"] }]))]
pub(super) struct LadderFile {
    /// Video renditions, largest first; none for sound alone.
    pub video: Vec<Mark<VideoRungFile>>,
    /// Audio renditions.
    pub audio: Vec<Mark<AudioRungFile>>,
}

/// One video rendition.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "size"]))]
pub(super) struct VideoRungFile {
    /// Its name in URLs.
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Picture size; width and height even.
    #[schemars(with = "Size")]
    pub size: Option<Mark<Size>>,
    /// What encodes it. Default "x264".
    pub encoder: Option<Mark<EncoderFile>>,
    /// How its bits are spent. Default "capped-crf".
    pub rate_control: Option<Mark<RateControlFile>>,
    /// "vbr": the mean. "cbr": the rate. 50kbps to 100Mbps.
    pub bitrate: Option<Mark<BitRate>>,
    /// "capped-crf" and "vbr": what no GOP costs more than, 50kbps to 100Mbps. libaom may exceed it on noise.
    pub max_bitrate: Option<Mark<BitRate>>,
    /// "capped-crf": quality below the cap, the encoder's constant rate factor: 0 (lossless) to 51, to 63 for AV1. Default 23. Whole
    /// numbers, but for x265.
    #[schemars(range(min = 0, max = 63))]
    pub crf: Option<Mark<f32>>,
    /// Speed against compression in x264's words, "ultrafast" to "placebo". Default "veryfast".
    pub preset: Option<Mark<Preset>>,
    /// B-frames between references, 0 to 3; x264 and x265 alone have them. Default 2.
    #[schemars(range(max = 3))]
    pub bframes: Option<Mark<u32>>,
    /// Frames of look-ahead, 0 to 60; each is a frame of latency. Default 10.
    #[schemars(range(max = 60))]
    pub lookahead: Option<Mark<u32>>,
    /// H.264 profile. Default "high"; "main" alone for HEVC and AV1.
    pub profile: Option<Mark<Profile>>,
    /// Each picture leaves the encoder before the next one enters: no look-ahead, no B-frames. Default false.
    pub zero_latency: bool,
    /// Closed GOPs a segment, 1 to 8. Default 1.
    #[schemars(range(min = 1, max = 8))]
    pub gops: Option<Mark<u8>>,
    /// GOPs encoded at once, each on a thread of its own, 1 to 8: for renditions too heavy for one thread. Bytes stay the same; each
    /// more costs a GOP of latency, and memory for a GOP of pictures. Default 1.
    #[schemars(range(min = 1, max = 8))]
    pub chains: Option<Mark<u8>>,
}

/// One audio rendition: AAC-LC, 48 kHz.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub(super) struct AudioRungFile {
    /// Its name in URLs.
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Bit rate, 32kbps to 320kbps, for 5.1 to 640kbps. Default "128kbps", for 5.1 "384kbps".
    pub bitrate: Option<Mark<BitRate>>,
    /// 1, 2, or 6 for 5.1. Default 2. A source with more channels is mixed down by ITU-R BS.775.
    #[schemars(extend("enum" = [1, 2, 6]))]
    pub channels: Option<Mark<u8>>,
    /// Which of the source's tracks: the first one of this language, a code of ISO 639-2 like "deu" ("ger" is the same).
    /// While the source has none, it is silent. Default: the source's first track, whatever its language.
    #[schemars(with = "Option<String>", regex(pattern = "^[a-z]{3}$"))]
    pub language: Option<Mark<String>>,
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($name:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        pub(super) enum $type { $($name),* }

        impl $type {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

/// What encodes a video rendition. Those named after hardware cannot promise equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EncoderFile {
    /// H.264 by the best the host has: NVENC, Quick Sync, VA-API, V4L2, else x264.
    Auto,
    /// H.264 by x264.
    X264,
    /// H.265 by x265.
    X265,
    /// AV1 by libaom.
    Aom,
    /// AV1 by SVT-AV1; needs GStreamer 1.24.
    SvtAv1,
    /// H.264 by VA-API.
    Vaapi,
    /// H.264 by NVENC.
    Nvenc,
    /// H.264 by Quick Sync.
    Qsv,
    /// H.264 by a V4L2 device.
    V4l2,
}

/// How the bits of a video rendition are spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RateControlFile {
    /// Constant quality below a cap.
    CappedCrf,
    /// A mean, and a cap.
    Vbr,
    /// A constant rate.
    Cbr,
}

words! {
    /// x264's speed against compression.
    Preset {
        Ultrafast = "ultrafast", Superfast = "superfast", Veryfast = "veryfast", Faster = "faster", Fast = "fast",
        Medium = "medium", Slow = "slow", Slower = "slower", Veryslow = "veryslow", Placebo = "placebo",
    }
}

words! {
    /// H.264 profile.
    Profile { Baseline = "baseline", Main = "main", High = "high" }
}
