//! An immutable view of a channel's window: everything the origin may serve at one moment.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::layout::{Kind, Layout};
use super::names::{entity_tag, segment_name};
use super::slab::Stored;
use super::window::{Entry, Object};
use crate::clock::Now;
use crate::media::{RenditionId, SegmentNumber};

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

impl Resource {
    /// A playlist or manifest: tagged by its content, gzip-coded once.
    pub(super) fn text(content_type: &'static str, cache: Cache, text: String) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        // A vector takes everything; should it ever not, the plain body is still right.
        let gzip = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()).ok().map(Bytes::from);
        let etag = entity_tag(&Sha256::digest(text.as_bytes()));
        Self { content_type, etag, cache, body: Bytes::from(text), gzip }
    }
}

/// What a path below `/live/{channel}/` leads to.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Here it is.
    Found(Resource),
    /// A media segment that will exist in this time, counted from [`Snapshot::published`], if all goes well.
    NotYet(Duration),
    /// A media segment that was there and was evicted, or never came.
    Gone,
    /// Not a path of this channel.
    Unknown,
}

/// An immutable view of a channel's window.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) listing: Option<Listing>,
}

/// What a snapshot with something in it holds.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub layout: Layout,
    pub published: Now,
    /// Names and kinds, in the order of an entry's objects.
    pub renditions: Arc<[(RenditionId, Kind)]>,
    /// Playlists, manifest and headers by their path.
    pub texts: BTreeMap<String, Resource>,
    /// Contiguous numbers, the oldest first; at least one.
    pub entries: Vec<Arc<Entry>>,
    /// The newest entry with media, which may be older than all of `entries`.
    pub whole: Option<Arc<Entry>>,
}

impl Snapshot {
    /// Finds `path`, which is relative to `/live/{channel}/`: `index.m3u8`, `manifest.mpd`, `v720/index.m3u8`,
    /// `v720/init-1a2b3c4d.mp4`; segments by the decode time of their first sample, as all playlists list them,
    /// `v720/t44881740000000.m4s`, and by their number, for people: `v720/897634800.m4s`.
    pub fn lookup(&self, path: &str) -> Lookup {
        let Some(listing) = &self.listing else { return Lookup::Unknown };
        if let Some(text) = listing.texts.get(path) {
            return Lookup::Found(text.clone());
        }
        let Some((rendition, number)) = listing.segment_named(path) else { return Lookup::Unknown };
        listing.segment(rendition, number)
    }

    /// Where the bytes of a segment rest, for `sendfile`; `None` for anything but a segment that is there.
    pub fn stored(&self, path: &str) -> Option<Stored> {
        let listing = self.listing.as_ref()?;
        let (rendition, number) = listing.segment_named(path)?;
        Some(listing.object(rendition, number)?.stored.clone())
    }

    /// The newest segment number, gaps included.
    pub fn newest(&self) -> Option<SegmentNumber> {
        self.listing.as_ref()?.entries.last().map(|e| e.number)
    }

    /// When it was published; `None` before the first publication.
    pub fn published(&self) -> Option<Now> {
        self.listing.as_ref().map(|l| l.published)
    }

    /// Every path that can be fetched now: playlists, manifest, headers, and segments as the playlists name them.
    pub fn paths(&self) -> Vec<String> {
        let Some(listing) = &self.listing else { return Vec::new() };
        let segments = listing.entries.iter().filter(|e| !e.is_gap()).flat_map(|e| {
            let name =
                |(id, kind): &(RenditionId, Kind)| format!("{id}/{}", segment_name(&listing.layout, *kind, e.number));
            listing.renditions.iter().map(name).collect::<Vec<_>>()
        });
        listing.texts.keys().cloned().chain(segments).collect()
    }
}

impl Listing {
    /// Which segment of which rendition a path means; it need not exist.
    fn segment_named(&self, path: &str) -> Option<(usize, SegmentNumber)> {
        let (id, name) = path.split_once('/')?;
        let rendition = self.renditions.iter().position(|(r, _)| r.as_str() == id)?;
        let name = name.strip_suffix(".m4s")?;
        let number = match name.strip_prefix('t') {
            Some(ticks) => self.layout.starting_at(self.renditions[rendition].1, digits(ticks)?)?,
            None => SegmentNumber(digits(name)?),
        };
        Some((rendition, number))
    }

    fn entry(&self, number: SegmentNumber) -> Option<&Entry> {
        let first = self.entries.first()?.number;
        let index = usize::try_from(number.0.checked_sub(first.0)?).ok()?;
        self.entries.get(index).map(Arc::as_ref)
    }

    fn object(&self, rendition: usize, number: SegmentNumber) -> Option<&Object> {
        let spare = self.whole.as_deref().filter(|e| e.number == number);
        self.entry(number).or(spare)?.objects.get(rendition)
    }

    fn segment(&self, rendition: usize, number: SegmentNumber) -> Lookup {
        if let Some(object) = self.object(rendition, number) {
            return Lookup::Found(Resource {
                content_type: content_type(self.renditions[rendition].1),
                etag: object.etag.clone(),
                cache: Cache::Immutable,
                body: object.stored.bytes(),
                gzip: None,
            });
        }
        let newest = self.entries.last().map_or(0, |e| e.number.0);
        match number.0.checked_sub(newest) {
            // One segment a segment duration, the last one at `published`.
            Some(ahead @ 1..) => {
                let segment = self.layout.grid().segment();
                Lookup::NotYet(segment.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX)))
            }
            _ => Lookup::Gone,
        }
    }
}

/// The media type of a rendition's headers and segments.
pub(super) fn content_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Video | Kind::Trick => "video/mp4",
        Kind::Audio => "audio/mp4",
    }
}

/// A number as we write it: nothing but digits, no leading zero, so that each object has one name of each form.
fn digits(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}
