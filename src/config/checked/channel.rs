//! One channel: its pipelines, its ladder, its times.

use std::path::PathBuf;
use std::time::Duration;

use super::failover::Failover;
use super::output::Output;
use super::profile::Profile;
use super::secret::Secret;
use super::source::{Input, Source};
use crate::config::StartAt;
use crate::encode::ipc::{Deinterlace, InputLoss, Loudness};
use crate::encode::ladder::{AudioRung, VideoRung};
use crate::media::{ChannelId, Grid, PipelineId, SourceName};

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
    /// What the origin serves.
    pub serve: Serve,
    /// What classes of devices are offered.
    pub profiles: Vec<Profile>,
    /// How much of the past the playlists list.
    pub window: Duration,
    /// Where the window is kept on disk, too.
    pub dvr: Option<Dvr>,
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

    /// Another host makes one of its pipelines, or gets what one makes: its renditions must be those that the file says.
    pub fn is_spread(&self) -> bool {
        self.pipelines.iter().any(|pipeline| pipeline.elsewhere || !pipeline.publish.is_empty())
    }

    /// The merged source that this one is a path of.
    pub fn merged_by(&self, path: &SourceName) -> Option<&SourceName> {
        let is_path = |source: &&Source| matches!(&source.input, Input::Merge(merge) if merge.of.contains(path));
        self.sources.iter().find(is_path).map(|source| &source.id.source)
    }
}

/// The window on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dvr {
    /// A folder of the channel's own.
    pub folder: PathBuf,
    /// Bytes that are kept at most.
    pub size_max: u64,
}

/// The forms in which a channel goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serve {
    /// HLS playlists.
    pub hls: bool,
    /// With parts in them (RFC 8216bis, LL-HLS).
    pub low_latency_hls: bool,
    /// HLS playlists of transport stream segments.
    pub hls_ts: bool,
    /// A DASH manifest of whole segments.
    pub dash: bool,
    /// Players may ask what changed in it, and need not fetch it again (MPD patch).
    pub dash_patch: bool,
    /// A DASH manifest of segments that are delivered while they grow.
    pub low_latency_dash: bool,
    /// Where players of HLS should begin, if it is to be said.
    pub start: Option<StartAt>,
}

impl Serve {
    /// Parts go out before their segment is whole.
    pub fn has_parts(self) -> bool {
        self.low_latency_hls || self.low_latency_dash
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

/// One pipeline and what feeds it.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// A or B.
    pub id: PipelineId,
    /// In the order of preference; none where it is made elsewhere.
    pub sources: Vec<SourceName>,
    /// An encoder elsewhere makes it and publishes to our ingest port: no process of ours does.
    pub elsewhere: bool,
    /// Other hosts that get what it makes.
    pub publish: Vec<Publish>,
}

/// Another host's publishing point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Its address, `http://host:port/ingest/channel/pipeline`; no key in it.
    pub to: String,
    /// The key it asks for.
    pub key: Option<Secret>,
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
