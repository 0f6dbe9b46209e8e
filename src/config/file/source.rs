//! What a file may say of a source.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::document::Mark;
use crate::config::units::{BitRate, Rate, SecretRef, Size, Time};

/// One contribution feed; `type` says how it arrives.
// `document` hands entries over as `{ srt = { … } }`, so that serde keeps positions; people write `type = "srt"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(tag = "type")]
pub(in crate::config) enum SourceFile {
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

impl SourceFile {
    /// Its id, of whatever kind it is.
    pub(in crate::config) fn id(&self) -> Option<&Mark<String>> {
        match self {
            Self::Srt(source) => source.id.as_ref(),
            Self::Rtp(source) => source.id.as_ref(),
            Self::Udp(source) => source.id.as_ref(),
            Self::Rtsp(source) => source.id.as_ref(),
            Self::File(source) => source.id.as_ref(),
            Self::Test(source) => source.id.as_ref(),
            Self::Merge(source) => source.id.as_ref(),
        }
    }
}

/// MPEG-TS over SRT.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub(in crate::config) struct SrtSourceFile {
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

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SrtModeFile {
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
    pub(in crate::config) const fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Listener => "listener",
            Self::Caller => "caller",
            Self::Rendezvous => "rendezvous",
        }
    }

    /// We choose who the other side is.
    pub(in crate::config) const fn chooses_peer(self) -> bool {
        matches!(self, Self::Caller | Self::Rendezvous)
    }
}

/// MPEG-TS over RTP (RFC 2250), with FEC (SMPTE ST 2022-1) where the sender adds it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "address"]))]
pub(in crate::config) struct RtpSourceFile {
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
pub(in crate::config) struct UdpSourceFile {
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

/// H.264 or HEVC and AAC from an RTSP server that we call, such as a camera.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "url"]))]
pub(in crate::config) struct RtspSourceFile {
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
pub(in crate::config) enum RtspTransportFile {
    /// Inside the connection.
    Tcp,
    /// In UDP packets; those that come out of order are lost.
    Udp,
}

/// A file that is played again and again at its own pace.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "path"]))]
pub(in crate::config) struct FileSourceFile {
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

/// One stream that comes by several ways: what one of them loses, another one brings (as SMPTE ST 2022-7 has it for RTP).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "of"]))]
pub(in crate::config) struct MergeSourceFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_". Pipelines list it like any other source.
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// Its paths: two to eight other sources of this channel that carry copies of one transport stream, over SRT, RTP or UDP in
    /// any mixture. A path belongs to one merged source, and to no pipeline.
    #[schemars(with = "Vec<String>", length(min = 2, max = 8))]
    pub of: Option<Mark<Vec<Mark<String>>>>,
    /// How long a packet waits for its copies, 20ms to 15s; it is a part of the latency, whatever the paths do. Default "200ms". It must be longer
    /// than the paths are apart.
    pub recovery_window: Option<Mark<Time>>,
    /// Programme number in a stream with several. Default: the first one.
    #[schemars(range(min = 1))]
    pub program: Option<Mark<u16>>,
}

/// The built-in test signal, without a network between.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub(in crate::config) struct TestSourceFile {
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
