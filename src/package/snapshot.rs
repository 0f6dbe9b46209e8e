//! An immutable view of a channel's window: everything the origin may serve at one moment.

use std::time::Duration;

use bytes::Bytes;

/// How long an answer may be kept by a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// The bytes under this URL never change (`max-age` of the retention, `immutable`).
    Immutable,
    /// Playlists and manifests: half a segment.
    For(Duration),
}

/// One thing that can be served, complete with what its answer's head needs.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Media type.
    pub content_type: &'static str,
    /// Strong entity tag, quotes included (RFC 9110 §8.8.3). Equal bytes have equal tags on every host.
    pub etag: Bytes,
    /// How long caches may keep it.
    pub cache: Cache,
    /// The body; for segments a window into their slab.
    pub body: Bytes,
    /// The body again, gzip-coded at publication; text only.
    pub gzip: Option<Bytes>,
}

/// What a path below `/live/{channel}/` leads to.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Here it is.
    Found(Resource),
    /// A media segment that will exist in this time if all goes well.
    NotYet(Duration),
    /// A media segment that was there and was evicted, or never came.
    Gone,
    /// Not a path of this channel.
    Unknown,
}

/// An immutable view of a channel's window.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {}

impl Snapshot {
    /// Finds `path`, which is relative to `/live/{channel}/`: `index.m3u8`, `manifest.mpd`, `v720/index.m3u8`,
    /// `v720/init-1a2b3c4d.mp4`, `v720/898123456.m4s`.
    pub fn lookup(&self, _path: &str) -> Lookup {
        Lookup::Unknown
    }
}
