//! What a file may say of a device profile.

use schemars::JsonSchema;
use serde::Deserialize;

use super::FormatFile;
use crate::config::document::Mark;

/// What a class of devices is offered, at /live/{channel}/{id}/index.m3u8 and /live/{channel}/{id}/manifest.mpd. All keys but `id` and
/// `serve` say which renditions, and mean the same as parameters of a query do (docs/views.md).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["id"]))]
pub(in crate::config) struct ProfileFile {
    /// Its name in the URL: 1 to 64 of a-z, 0-9, "-" and "_"; no name of a rendition.
    #[schemars(with = "String")]
    pub id: Option<Mark<String>>,
    /// What is behind its two addresses, of what the channel serves: "hls", "ll-hls" or "hls-ts", and "dash" or "ll-dash". With "hls" on a channel
    /// with "ll-hls", its playlists have no parts. Default: the channel's forms of lowest latency.
    #[schemars(with = "Option<Vec<FormatFile>>")]
    pub serve: Option<Mark<Vec<FormatFile>>>,
    /// Lines of pictures: "240-720", "360,720-1080".
    #[schemars(with = "Option<String>")]
    pub height: Option<Mark<String>>,
    /// The most that the encoder of pictures may make: "0-3Mbps".
    #[schemars(with = "Option<String>")]
    pub bitrate: Option<Mark<String>>,
    /// Frames a second: "24-30". A channel has one rate.
    #[schemars(with = "Option<String>")]
    pub fps: Option<Mark<String>>,
    /// Formats of pictures, trick play too: "h264", "h265,av1".
    #[schemars(with = "Option<String>")]
    pub codec: Option<Mark<String>>,
    /// Languages of sound: "en,deu".
    #[schemars(with = "Option<String>")]
    pub lang: Option<Mark<String>>,
    /// Channels of sound: "1-2".
    #[schemars(with = "Option<String>")]
    pub channels: Option<Mark<String>>,
    /// Bit rate of sound: "0-128kbps".
    #[schemars(with = "Option<String>")]
    pub audio: Option<Mark<String>>,
    /// Trick play: "iframe" or "none". Default "iframe".
    #[schemars(with = "Option<String>")]
    pub trick: Option<Mark<String>>,
    /// "asc", the smallest picture first; "desc", the largest first; or the name of the rendition that is listed first. Default: as in the
    /// ladder.
    #[schemars(with = "Option<String>")]
    pub order: Option<Mark<String>>,
    /// Where players of HLS should begin, as the channel's key of this name. Default: the channel's.
    #[schemars(with = "Option<String>")]
    pub start_offset: Option<Mark<String>>,
    /// "yes" or "no": whether exactly there. Default "no".
    #[schemars(with = "Option<String>")]
    pub start_precise: Option<Mark<String>>,
}
