//! What a file may say of an output.

use schemars::JsonSchema;
use serde::Deserialize;

use super::source::SrtModeFile;
use crate::config::document::Mark;
use crate::config::units::{Bytes, SecretRef, Time};

/// An output: where a transport stream goes on to as it came, not encoded and not multiplexed anew; `type` says how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(tag = "type")]
pub(in crate::config) enum OutputFile {
    /// MPEG-TS over SRT, to those who call or to whom we call.
    Srt(SrtOutputFile),
    /// MPEG-TS over RTP (RFC 2250), with FEC (SMPTE ST 2022-1) and on two paths (ST 2022-7) where asked for.
    Rtp(RtpOutputFile),
    /// MPEG-TS in bare UDP datagrams.
    Udp(UdpOutputFile),
    /// An archive of .ts files.
    Record(RecordFile),
}

/// MPEG-TS over SRT.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub(in crate::config) struct SrtOutputFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_". Readers of the shared port send the stream id
    /// "#!::r=channel/output,m=request", or "channel/output".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// What goes out: this source.
    #[schemars(with = "String")]
    pub source: Option<Mark<String>>,
    /// What goes out: the source that this pipeline, "a" or "b", has on air.
    #[schemars(with = "String", extend("enum" = ["a", "b"]))]
    pub pipeline: Option<Mark<String>>,
    /// Who calls whom: "shared", readers call the shared SRT port and name the output in their stream id; "listener", they call
    /// a port of the output's own; "caller", we call a server; "rendezvous", both call each other. Default "shared".
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
    /// How long a lost packet may take to be sent again, 20 ms to 8 s. Default "200ms". The larger of both sides holds.
    pub latency: Option<Mark<Time>>,
    /// Where the passphrase is: "env:NAME" or "file:path" (relative to this file). 10 to 79 characters.
    pub passphrase: Option<Mark<SecretRef>>,
    /// Modes "caller" and "rendezvous" with a passphrase: AES key length in bytes. 16, 24 or 32; default 16. Readers choose their
    /// own.
    #[schemars(range(min = 16, max = 32))]
    pub key_length: Option<Mark<u8>>,
    /// Who may read, as ranges of addresses such as "10.0.0.0/8" or "192.0.2.7". Default: anybody who can reach the port.
    /// Not in modes "caller" and "rendezvous".
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub allow: Option<Mark<Vec<Mark<String>>>>,
    /// So many may read at once, 1 to 1000. Default 32. Not in modes "caller" and "rendezvous".
    #[schemars(range(min = 1, max = 1000))]
    pub readers: Option<Mark<usize>>,
}

/// MPEG-TS over RTP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "address"]))]
pub(in crate::config) struct RtpOutputFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// What goes out: this source.
    #[schemars(with = "String")]
    pub source: Option<Mark<String>>,
    /// What goes out: the source that this pipeline, "a" or "b", has on air.
    #[schemars(with = "String", extend("enum" = ["a", "b"]))]
    pub pipeline: Option<Mark<String>>,
    /// Address and port (UDP) to send to: a host's, or a multicast group's.
    #[schemars(with = "String")]
    pub address: Option<Mark<String>>,
    /// Network interface to send by, by name ("eth0") or by an address of its own. Default: the system's choice.
    #[schemars(with = "String")]
    pub interface: Option<Mark<String>>,
    /// A second path (ST 2022-7): the same packets are sent to this address as well.
    #[schemars(with = "String")]
    pub second_address: Option<Mark<String>>,
    /// Network interface of the second path.
    #[schemars(with = "String")]
    pub second_interface: Option<Mark<String>>,
    /// Hops that multicast datagrams may take, 1 to 255. Default 16.
    #[schemars(range(min = 1, max = 255))]
    pub hops: Option<Mark<u8>>,
    /// Forward error correction, sent to the ports two (columns) and four (rows) above. An empty table, `{}`, takes its defaults.
    /// Default: none.
    #[schemars(with = "Option<FecFile>")]
    pub fec: Option<Mark<FecFile>>,
}

/// Forward error correction (SMPTE ST 2022-1): packets are summed along the columns and rows of a matrix.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct FecFile {
    /// Columns L, 1 to 20: a burst of so many lost packets can be restored. Default 10.
    #[schemars(range(min = 1, max = 20))]
    pub columns: Option<Mark<u8>>,
    /// Rows D, 4 to 20; columns times rows is at most 100. Default 5. One packet in so many is added.
    #[schemars(range(min = 4, max = 20))]
    pub rows: Option<Mark<u8>>,
    /// Send sums of rows as well, one packet in `columns`; needs four columns or more. Default: where there are as many.
    #[schemars(with = "Option<bool>")]
    pub row_packets: Option<Mark<bool>>,
}

/// MPEG-TS in bare UDP datagrams.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "address"]))]
pub(in crate::config) struct UdpOutputFile {
    /// Its name in this channel: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// What goes out: this source.
    #[schemars(with = "String")]
    pub source: Option<Mark<String>>,
    /// What goes out: the source that this pipeline, "a" or "b", has on air.
    #[schemars(with = "String", extend("enum" = ["a", "b"]))]
    pub pipeline: Option<Mark<String>>,
    /// Address and port (UDP) to send to: a host's, or a multicast group's.
    #[schemars(with = "String")]
    pub address: Option<Mark<String>>,
    /// Network interface to send by, by name ("eth0") or by an address of its own. Default: the system's choice.
    #[schemars(with = "String")]
    pub interface: Option<Mark<String>>,
    /// Hops that multicast datagrams may take, 1 to 255. Default 16.
    #[schemars(range(min = 1, max = 255))]
    pub hops: Option<Mark<u8>>,
}

/// An archive of .ts files: bytes as they came, the oldest files deleted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id", "folder"]))]
pub(in crate::config) struct RecordFile {
    /// Its name in this channel, and part of the files' names: 1 to 64 of a-z, 0-9, "-" and "_".
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// What is recorded: this source.
    #[schemars(with = "String")]
    pub source: Option<Mark<String>>,
    /// What is recorded: the source that this pipeline, "a" or "b", has on air.
    #[schemars(with = "String", extend("enum" = ["a", "b"]))]
    pub pipeline: Option<Mark<String>>,
    /// Folder for the files, relative to this file; made where it is missing. Files are named "channel.id.UTC time.ts".
    #[schemars(with = "String")]
    pub folder: Option<Mark<String>>,
    /// A new file is begun after so long, 1 s to 24 h. Default "10min".
    pub segment: Option<Mark<Time>>,
    /// A new file is begun before one is larger than this, 1MB to 1000GB. Default "1GB".
    pub segment_size: Option<Mark<Bytes>>,
    /// All files together, 2MB to 100000GB, and room for two of them at least; the oldest are deleted. Default "10GB".
    pub max_size: Option<Mark<Bytes>>,
    /// Files that were begun so long ago are deleted, 1 min to 8760 h. Default: by size alone.
    pub max_age: Option<Mark<Time>>,
}
