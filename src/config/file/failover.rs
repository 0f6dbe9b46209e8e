//! What a file may say of a channel's failover.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::document::Mark;
use crate::config::units::{Level, Percent, RevertText, Time};

/// When and how pipelines change source.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct FailoverFile {
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
pub(in crate::config) enum OrderFile {
    /// It does.
    Preferred,
    /// It does not.
    Equal,
}

/// A condition that is there or not. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct StateFile {
    /// It must last so long, 500 ms to 1 h.
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 500 ms to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
}

/// A condition that is told in numbers a second. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RateFile {
    /// It must last so long, 1 s to 1 h.
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 1 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// So many within a second, 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_second: Option<Mark<u64>>,
}

/// When a picture is black. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct BlackFile {
    /// It must last so long, 1 s to 1 h. Default "2s".
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 1 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// A point of the picture is dark up to this share of the way from black to white, 0% to 50%. Default "10%".
    pub level: Option<Mark<Percent>>,
    /// The picture is black where so much of it is dark, 50% to 100%. Default "98%".
    pub share: Option<Mark<Percent>>,
}

/// When a picture stands still. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct FrozenFile {
    /// It must last so long, 1 s to 1 h. Default "5s".
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 1 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// Something moves where the brightness of four areas, each 1/64 of the picture's width and 1/36 of its height, changes by more
    /// than this share of the way from black to white, 0.5% to 25%. Default "2%".
    pub change: Option<Mark<Percent>>,
}

/// When sound is silence. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct SilentFile {
    /// It must last so long, 1 s to 1 h. Default "5s".
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 1 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// RMS of the loudest channel is below this, -100dBFS to -10dBFS. Default "-50dBFS".
    pub level: Option<Mark<Level>>,
}

/// When pictures cannot be decoded whole. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct DecoderErrorsFile {
    /// It must last so long, 2 s to 1 h: a single error counts for a second. Default "2s".
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 2 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// So many pictures within a second, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub per_second: Option<Mark<u64>>,
}
