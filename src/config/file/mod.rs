//! What a config file may say, key by key. `tandem schema` is made from it, its doc comments included.
//!
//! Every key is optional here, so that one mistake does not hide the others; `validate` knows which are required.

mod channel;
mod failover;
mod ladder;
mod output;
mod profile;
mod source;

use schemars::JsonSchema;
use serde::Deserialize;

use super::document::Mark;
use super::units::{BitRate, Bytes, Rate, SecretRef, Size};

pub(super) use channel::*;
pub(super) use failover::*;
pub(super) use ladder::*;
pub(super) use output::*;
pub(super) use profile::*;
pub(super) use source::*;

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
    /// The port that encoders elsewhere publish to, where a pipeline is fed so.
    pub ingest: IngestFile,
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
    /// Address space of the gateway process beside 16 MB for each of its sources, 256MB to 64GB. Default "1GB". Short of it
    /// nobody new is let in; a flood of handshakes ends there, not in the host's memory.
    pub memory_max: Option<Mark<Bytes>>,
}

/// The HTTP port that encoders elsewhere publish CMAF to. It is opened where a pipeline says "cmaf", and else nothing is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IngestFile {
    /// Address and port. Default "127.0.0.1:8082": this host only.
    #[schemars(with = "String")]
    pub listen: Option<Mark<String>>,
    /// Who publishes must bring it, as a bearer's token or as a password. Without it everybody may who reaches the port.
    #[schemars(with = "Option<SecretRef>")]
    pub key: Option<Mark<SecretRef>>,
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
