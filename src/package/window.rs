//! What is published: entries in order of their numbers, without a hole in the numbering; gaps are entries too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::edge::Published;
use super::layout::{Kind, Layout};
use super::slab::Stored;
use crate::media::SegmentNumber;

/// A segment of one rendition at rest.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub stored: Stored,
    /// Strong entity tag, from the digest: equal bytes have equal tags on every host.
    pub etag: Bytes,
}

/// One segment number in every rendition.
#[derive(Debug)]
pub(super) struct Entry {
    pub number: SegmentNumber,
    /// By rendition; none at all in a gap.
    pub objects: Vec<Object>,
    /// Its lines in each rendition's media playlist.
    pub lines: Vec<String>,
    /// By rendition, the parts that were published before it was whole; none where it was published whole.
    pub parts: Vec<Vec<Published>>,
    /// The lines of its parts, for as long as playlists list them.
    pub part_lines: Vec<String>,
}

impl Entry {
    pub fn is_gap(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Longest time a segment stays fetchable after it left the playlists. RFC 8216bis §6.2.2 asks for one segment duration,
/// RFC 8216 for as long as the longest playlist: a short window gets that, a window of hours does not cost twice its size.
const LINGER_MAX: Duration = Duration::from_secs(120);
/// RFC 8216bis §6.2.2: a playlist is never cut below three target durations; short segments may need four for that.
const LISTED_MIN: usize = 4;

/// The published segments.
#[derive(Debug)]
pub(super) struct Window {
    /// Contiguous numbers; the oldest first.
    entries: VecDeque<Arc<Entry>>,
    listed: usize,
    retained: usize,
    /// The newest entry that is no gap. It stays when nothing but gaps is left, for a manifest must list something.
    whole: Option<Arc<Entry>>,
}

impl Window {
    pub fn new(layout: &Layout, window: Duration) -> Self {
        let segment = layout.grid().segment();
        let segments = |d: Duration| usize::try_from(d.as_nanos().div_ceil(segment.as_nanos())).unwrap_or(usize::MAX);
        let listed = segments(window).max(LISTED_MIN);
        let linger = segments((window + segment).min(LINGER_MAX)).max(2);
        Self { entries: VecDeque::new(), listed, retained: listed + linger, whole: None }
    }

    /// How many segments are kept; what slabs are sized after.
    pub fn retained(&self) -> usize {
        self.retained
    }

    /// How many segments the playlists list when the window is full.
    pub fn listed_max(&self) -> usize {
        self.listed
    }

    /// Publishes the next number.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!(self.newest().is_none_or(|n| n.next() == entry.number));
        let entry = Arc::new(entry);
        if !entry.is_gap() {
            self.whole = Some(Arc::clone(&entry));
        }
        self.entries.push_back(entry);
        while self.entries.len() > self.retained {
            self.entries.pop_front();
        }
    }

    pub fn newest(&self) -> Option<SegmentNumber> {
        self.entries.back().map(|e| e.number)
    }

    /// What the media playlists list.
    pub fn listed(&self) -> impl ExactSizeIterator<Item = &Arc<Entry>> + Clone {
        self.entries.range(self.entries.len().saturating_sub(self.listed)..)
    }

    /// What the manifest lists: the entries with media, at least one.
    pub fn listed_whole(&self) -> impl Iterator<Item = &Arc<Entry>> + Clone {
        let last = self.whole.iter().filter(|_| self.listed().all(|e| e.is_gap()));
        last.chain(self.listed().filter(|e| !e.is_gap()))
    }

    /// Everything that can be fetched, the oldest first.
    pub fn kept(&self) -> (Vec<Arc<Entry>>, Option<Arc<Entry>>) {
        (self.entries.iter().cloned().collect(), self.whole.clone())
    }

    /// Average bit rate of what is listed of a rendition, bits a second.
    pub fn average(&self, layout: &Layout, rendition: usize, kind: Kind) -> u64 {
        let (bytes, seconds) = self
            .listed()
            .filter_map(|e| Some((e.number, e.objects.get(rendition)?)))
            .fold((0u64, 0f64), |(bytes, seconds), (n, object)| {
                (bytes + object.stored.len() as u64, seconds + layout.seconds(kind, n))
            });
        if seconds > 0.0 { (bytes as f64 * 8.0 / seconds) as u64 } else { 0 }
    }
}
