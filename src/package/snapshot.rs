//! An immutable view of a channel's window: everything the origin may serve at one moment.

use std::sync::Arc;
use std::time::Duration;

use super::blocking::{Directives, Edge, Verdict};
use super::content::Content;
use super::edge::{Published, Track};
use super::front::{Front, TRANSPORT};
use super::layout::{Kind, Layout};
use super::names::{entity_tag, part_tag, segment_name};
use super::remux::Remuxer;
use super::slab::Stored;
use super::window::{Object, View};
use crate::clock::Now;
use crate::media::{RenditionId, SegmentNumber};
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
    pub body: Content,
    /// The body again, gzip-coded at publication; text only.
    pub gzip: Option<Content>,
}

/// What a request below `/live/{channel}/` leads to.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Here it is.
    Found(Resource),
    /// A segment that is being published: its bytes so far are here, the rest comes with the next snapshots.
    Growing(Growing),
    /// The answer comes with one of the next snapshots: ask them, for this long at most (RFC 8216bis §6.2.5.2).
    Wait(Duration),
    /// A segment that has yet to be made of what lies on disk: that may block.
    Making(Making),
    /// A media segment that will exist in this time, counted from [`Snapshot::published`], if all goes well.
    NotYet(Duration),
    /// A media segment that was there and was evicted, or never came.
    Gone,
    /// Nobody should have asked this; the text says why.
    Bad(&'static str),
    /// A part of the window that is not there yet, or not any more; the text says which.
    Absent(&'static str),
    /// Not a path of this channel.
    Unknown,
}

/// A segment of one rendition that is being published.
#[derive(Clone, Debug)]
pub struct Growing {
    /// Media type.
    pub content_type: &'static str,
    rendition: usize,
    number: SegmentNumber,
}

/// A segment of transport stream whose CMAF lies on disk.
#[derive(Clone, Debug)]
pub struct Making {
    remuxer: Arc<Remuxer>,
    rendition: usize,
    number: SegmentNumber,
    objects: Vec<Object>,
}

impl Making {
    /// Makes it. Blocks while the disk is read.
    pub fn make(&self) -> Lookup {
        self.remuxer.segment(self.rendition, self.number, &self.objects).map_or(Lookup::Gone, Lookup::Found)
    }
}

/// What a snapshot has of a segment that grew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Parts that were not seen before, maybe none, and whether they are the last ones.
    Parts(Vec<Bytes>, bool),
    /// The rest will never come: what was sent so far is not the segment.
    Broken,
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
    /// Headers, and all texts that change with segments alone, by their path.
    pub front: Arc<Front>,
    /// Makes segments of transport stream; none where they are not served.
    pub remuxer: Option<Arc<Remuxer>>,
    /// Media playlists by rendition; none where HLS is not served.
    pub playlists: Vec<Playlist>,
    /// A playlist that is asked for ahead of its time is waited for.
    pub blocks: bool,
    /// Every segment there is; at least one.
    pub window: View,
    /// The segment that is being published, or is next; `None` where they are published whole.
    pub open: Option<Open>,
    /// A segment that is being published can be fetched as one that grows.
    pub grows: bool,
}

/// A media playlist.
#[derive(Clone, Debug)]
pub(super) struct Playlist {
    pub whole: Resource,
    /// Without what is old (RFC 8216bis §6.2.5.1).
    pub delta: Resource,
}

/// What is published of the segment at the live edge.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub number: SegmentNumber,
    /// By rendition.
    pub tracks: Vec<Track>,
    /// Rows that are published, and how many there will be.
    pub rows: usize,
    pub total: usize,
}

impl Snapshot {
    /// Finds `path`, which is relative to `/live/{channel}/`: `index.m3u8`, `manifest.mpd`, `v720/index.m3u8`,
    /// `v720/init-1a2b3c4d.mp4`; segments by the decode time of their first sample, as all playlists list them,
    /// `v720/t44881740000000.m4s`, and by their number, `v720/897634800.m4s`; their parts, counted from 0,
    /// `v720/t44881740000000.2.m4s`; below `ts/` the same of transport streams, `ts/v720/t44881740000000.ts`. `query` may hold delivery directives
    /// (RFC 8216bis §6.2.5), of what lists renditions, which ones, and of playlists and manifests, which part of the window (docs/views.md);
    /// the rest of it means nothing.
    pub fn ask(&self, path: &str, query: Option<&str>) -> Lookup {
        let Some(listing) = &self.listing else { return Lookup::Unknown };
        if let Some(found) = listing.front.ask(path, query) {
            return found;
        }
        if let Some(why) = Front::misplaced(query) {
            return Lookup::Bad(why);
        }
        if let Some(playlist) = listing.playlist_named(path) {
            return listing.playlist(playlist, query);
        }
        if let Some(found) = listing.transport(path) {
            return found;
        }
        let Some((rendition, name)) = listing.object_named(path) else { return Lookup::Unknown };
        match name {
            Name::Segment(number) => listing.segment(rendition, number, false),
            Name::Numbered(number) => listing.segment(rendition, number, true),
            Name::Part(number, part) => listing.part(rendition, number, part),
        }
    }

    /// As [`Self::ask`] without a query.
    pub fn lookup(&self, path: &str) -> Lookup {
        self.ask(path, None)
    }

    /// What there is of a segment that grows, behind the first `seen` parts.
    pub fn growth(&self, of: &Growing, seen: usize) -> Growth {
        let Some(listing) = &self.listing else { return Growth::Broken };
        let rest = |parts: &[Published]| parts.iter().skip(seen).map(|part| part.rest.content().bytes()).collect();
        if let Some(open) = listing.open.as_ref().filter(|open| open.number == of.number) {
            return open.tracks.get(of.rendition).map_or(Growth::Broken, |t| Growth::Parts(rest(&t.parts), false));
        }
        let entry = listing.window.entry(of.number).filter(|entry| !entry.is_gap());
        match entry.and_then(|entry| entry.parts.get(of.rendition)) {
            Some(parts) if parts.len() == listing.layout.rows(of.number) => Growth::Parts(rest(parts), true),
            _ => Growth::Broken,
        }
    }

    /// Where the bytes of a segment rest, for `sendfile`; `None` for anything but a segment that is there.
    pub fn stored(&self, path: &str) -> Option<Stored> {
        let listing = self.listing.as_ref()?;
        match listing.object_named(path)? {
            (rendition, Name::Segment(number) | Name::Numbered(number)) => {
                listing.object(rendition, number)?.rest.in_memory().cloned()
            }
            (_, Name::Part(..)) => None,
        }
    }

    /// The newest segment number, gaps included.
    pub fn newest(&self) -> Option<SegmentNumber> {
        self.listing.as_ref()?.window.newest()
    }

    /// When it was published; `None` before the first publication.
    pub fn published(&self) -> Option<Now> {
        self.listing.as_ref().map(|l| l.published)
    }

    /// Every path that can be fetched now: playlists, manifest, headers, and segments as the playlists name them.
    pub fn paths(&self) -> Vec<String> {
        let Some(listing) = &self.listing else { return Vec::new() };
        let segments = listing.window.entries().filter(|e| e.is_there()).flat_map(|e| {
            let name =
                |(id, kind): &(RenditionId, Kind)| format!("{id}/{}", segment_name(&listing.layout, *kind, e.number));
            let transport = |(r, (id, _)): (usize, &(RenditionId, Kind))| {
                let remuxer = listing.remuxer.as_ref().filter(|_| !e.is_gap())?;
                Some(format!("{TRANSPORT}/{id}/{}", remuxer.segment_name(r, e.number)?))
            };
            let all = listing.renditions.iter();
            all.clone().map(name).chain(all.enumerate().filter_map(transport)).collect::<Vec<_>>()
        });
        let playlists = listing.renditions.iter().zip(&listing.playlists).map(|((id, _), _)| playlist_path(id));
        listing.front.paths().cloned().chain(playlists).chain(segments).collect()
    }
}

/// What playlists are called.
pub(super) const PLAYLIST: &str = "index.m3u8";

fn playlist_path(rendition: &RenditionId) -> String {
    format!("{rendition}/{PLAYLIST}")
}

/// What a path below a rendition means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// By its time: whoever asks was told of it.
    Segment(SegmentNumber),
    /// By its number: clients may go by the clock.
    Numbered(SegmentNumber),
    Part(SegmentNumber, u64),
}

impl Listing {
    /// Which segment or part of which rendition a path means; it need not exist.
    fn object_named(&self, path: &str) -> Option<(usize, Name)> {
        let (id, name) = path.split_once('/')?;
        let rendition = self.renditions.iter().position(|(r, _)| r.as_str() == id)?;
        let name = name.strip_suffix(".m4s")?;
        let at = |ticks| self.layout.starting_at(self.renditions[rendition].1, digits(ticks)?);
        let name = match name.strip_prefix('t') {
            Some(name) => match name.split_once('.') {
                Some((ticks, part)) => Name::Part(at(ticks)?, digits(part)?),
                None => Name::Segment(at(name)?),
            },
            None => Name::Numbered(SegmentNumber(digits(name)?)),
        };
        Some((rendition, name))
    }

    fn playlist_named(&self, path: &str) -> Option<&Playlist> {
        let id = path.strip_suffix(PLAYLIST)?.strip_suffix('/')?;
        self.playlists.get(self.renditions.iter().position(|(r, _)| r.as_str() == id)?)
    }

    /// A media playlist, now or later, whole or in part.
    fn playlist(&self, playlist: &Playlist, query: Option<&str>) -> Lookup {
        let Playlist { whole, delta } = playlist;
        let (Some(open), Some(query), true) = (&self.open, query, self.blocks) else {
            return Lookup::Found(whole.clone());
        };
        let asked = match Directives::read(query) {
            Ok(asked) => asked,
            Err(why) => return Lookup::Bad(why),
        };
        let edge = Edge {
            next: open.number.0,
            rows: open.rows as u64,
            total: open.total as u64,
            // Of the segment in front of it, for a part behind its last one.
            total_before: self.layout.rows(SegmentNumber(open.number.0.saturating_sub(1))) as u64,
            part_target: self.layout.part_target(),
        };
        match asked.judge(&edge) {
            Verdict::Now => {
                let mut found = if asked.skip { delta.clone() } else { whole.clone() };
                if asked.blocks() {
                    // §6.2.5.2 B: who asks for something that came is answered alike from now on, or with more.
                    found.cache = Cache::For(Duration::from_secs(6 * self.layout.target_duration()));
                }
                Lookup::Found(found)
            }
            Verdict::Wait => Lookup::Wait(self.patience()),
            Verdict::TooFar => Lookup::Bad("_HLS_msn and _HLS_part are too far ahead of the playlist\n"),
        }
    }

    /// §6.2.5.2: three target durations.
    fn patience(&self) -> Duration {
        Duration::from_secs(3 * self.layout.target_duration())
    }

    fn part(&self, rendition: usize, number: SegmentNumber, part: u64) -> Lookup {
        let Some(open) = &self.open else { return Lookup::Unknown };
        let index = usize::try_from(part).unwrap_or(usize::MAX);
        let parts = if number == open.number {
            open.tracks.get(rendition).map(|track| &track.parts[..])
        } else {
            self.window.entry(number).and_then(|entry| entry.parts.get(rendition)).map(Vec::as_slice)
        };
        if let Some(part) = parts.and_then(|parts| parts.get(index)) {
            return Lookup::Found(Resource {
                content_type: content_type(self.renditions[rendition].1),
                etag: part_tag(&part.upto),
                cache: Cache::Immutable,
                body: part.rest.content(),
                gzip: None,
            });
        }
        // §6.2.6: the part that is hinted is waited for.
        let hinted = if open.rows == open.total { (open.number.next(), 0) } else { (open.number, open.rows) };
        let has_parts = self.renditions[rendition].1 != Kind::Trick;
        if (number, index) == hinted && has_parts {
            Lookup::Wait(self.patience())
        } else if number < open.number {
            Lookup::Gone
        } else {
            Lookup::Unknown
        }
    }

    fn object(&self, rendition: usize, number: SegmentNumber) -> Option<&Object> {
        self.window.entry(number)?.objects.get(rendition)
    }

    fn segment(&self, rendition: usize, number: SegmentNumber, by_number: bool) -> Lookup {
        if let Some(object) = self.object(rendition, number) {
            // Another host of the channel may have what we have to make up.
            let cache = if object.is_made_up() { Cache::For(self.layout.grid().segment()) } else { Cache::Immutable };
            return Lookup::Found(Resource {
                content_type: content_type(self.renditions[rendition].1),
                etag: entity_tag(&object.tag),
                cache,
                body: object.rest.content(),
                gzip: None,
            });
        }
        let grows = self.grows && self.renditions[rendition].1 != Kind::Trick;
        if self.open.as_ref().is_some_and(|open| grows && number == open.number && open.rows > 0) {
            let content_type = content_type(self.renditions[rendition].1);
            return Lookup::Growing(Growing { content_type, rendition, number });
        }
        // Clients that go by the clock ask for a segment when it, or its first part, is due; encoding takes some time more.
        let ahead = number.0.checked_sub(self.window.newest().map_or(0, |n| n.0));
        if by_number && (ahead == Some(1) || grows && ahead == Some(2)) {
            return Lookup::Wait(self.layout.grid().segment() * 2);
        }
        self.absent(number)
    }

    /// A segment of transport stream; `None` where `path` is none of them.
    fn transport(&self, path: &str) -> Option<Lookup> {
        let remuxer = self.remuxer.as_ref()?;
        let (id, name) = path.strip_prefix(TRANSPORT)?.strip_prefix('/')?.split_once('/')?;
        let r = self.renditions.iter().position(|(r, _)| r.as_str() == id)?;
        let n = remuxer.segment_named(r, name)?;
        Some(match self.window.entry(n).filter(|entry| !entry.is_gap()) {
            Some(entry) => {
                let (remuxer, objects) = (Arc::clone(remuxer), entry.objects.clone());
                let in_memory = objects.iter().all(|object| object.rest.in_memory().is_some());
                let making = Making { remuxer, rendition: r, number: n, objects };
                if in_memory { making.make() } else { Lookup::Making(making) }
            }
            None => self.absent(n),
        })
    }

    /// A segment that is not there: not yet, or not any more.
    fn absent(&self, number: SegmentNumber) -> Lookup {
        let newest = self.window.newest().map_or(0, |n| n.0);
        match number.0.checked_sub(newest) {
            // One segment a segment duration, the last one at `published`; one that grows is there from its beginning on.
            Some(ahead @ 1..) => {
                let ahead = if self.grows { ahead - 1 } else { ahead };
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
