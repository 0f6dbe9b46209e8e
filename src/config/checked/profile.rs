//! Device profiles: what a class of devices is offered.

use crate::config::View;
use crate::media::ProfileId;

/// What a class of devices is offered, below its name: `/live/news/tv/index.m3u8` and `/live/news/tv/manifest.mpd`.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name in the URL.
    pub id: ProfileId,
    /// What its multivariant playlist leads to; none: there is none.
    pub hls: Option<HlsForm>,
    /// What its manifest is; none: there is none.
    pub dash: Option<DashForm>,
    /// Which renditions, in which order.
    pub view: View,
}

/// What media playlists of HLS list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HlsForm {
    /// CMAF segments.
    Segments,
    /// CMAF segments and parts.
    Parts,
    /// Segments of transport stream.
    TransportStream,
}

/// What a DASH manifest is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DashForm {
    /// Whole segments.
    Segments,
    /// Segments that grow.
    LowLatency,
}
