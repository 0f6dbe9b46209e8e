//! Segments of transport stream on demand: each is made once while it is at the live edge, and is the same for everybody.
//!
//! In:    which segment of which rendition, and the CMAF it is made of. Out: its bytes as an answer.
//! Never: holds its lock while a segment is made or copied; keeps more than [`BYTES_MAX`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::catalogue::Catalogue;
use super::digest::Digester;
use super::hls_ts::{self, Parts};
use super::layout::{Kind, Layout};
use super::names::entity_tag;
use super::snapshot::{Cache, Resource};
use super::transport::{self, Source};
use super::window::Object;
use crate::media::SegmentNumber;

/// The media type of segments (RFC 8216 §10, RFC 3555 §4.2.9).
pub(super) const TYPE: &str = "video/mp2t";

/// Bytes that are kept of one channel: a dozen segments of every rendition of a ladder of 10 Mbit/s. Players begin three
/// segments behind the live edge, and what is not kept is made again in a fraction of a millisecond.
const BYTES_MAX: usize = 32 << 20;
/// Segments that are kept, however small they are.
const COUNT_MAX: usize = 1024;

/// In every entity tag: to be changed together with the bytes that [`transport::segment`] makes of the same CMAF.
const MUXER: &[u8] = b"transport stream 1";

/// Makes a channel's segments of transport stream.
#[derive(Debug)]
pub(super) struct Remuxer {
    layout: Layout,
    /// By rendition; `None` where there is no transport stream of it.
    renditions: Vec<Option<Rendition>>,
    /// Readers of the CMAF, by rendition.
    sources: Vec<Option<Source>>,
    /// Name of the headers, which says what is in them.
    init: String,
    kept: Mutex<Kept>,
    made: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Rendition {
    kind: Kind,
    parts: Parts,
}

/// The newest segments that were asked for. Where there is no room, the oldest number goes, whoever asked for it last.
#[derive(Debug, Default)]
struct Kept {
    segments: BTreeMap<(SegmentNumber, usize), Segment>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Segment {
    /// Whoever asks first makes it; who asks meanwhile waits. `None` in it: it cannot be made.
    made: Arc<OnceLock<Option<Bytes>>>,
    /// What of it is counted in [`Kept::bytes`]; nothing until it is made.
    counted: usize,
}

impl Remuxer {
    pub fn new(layout: Layout, catalogue: &Catalogue) -> Self {
        let all = &catalogue.renditions;
        let rendition = |r: usize| Some(Rendition { kind: all[r].kind(), parts: hls_ts::parts(catalogue, r)? });
        Self {
            layout,
            renditions: (0..all.len()).map(rendition).collect(),
            // A header of ours that cannot be read has no track with a place in a transport stream.
            sources: all.iter().map(|r| Source::new(&r.init).ok()).collect(),
            init: catalogue.init.clone(),
            kept: Mutex::default(),
            made: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Segments made, and those that could not be made, since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.made.load(Relaxed), self.failed.load(Relaxed))
    }

    /// The name of a segment of rendition `r`; `None` where there is no transport stream of it.
    pub fn segment_name(&self, r: usize, n: SegmentNumber) -> Option<String> {
        Some(hls_ts::segment_name(&self.layout, self.renditions.get(r)?.as_ref()?.kind, n))
    }

    /// The segment of rendition `r` that `name` means; it need not exist.
    pub fn segment_named(&self, r: usize, name: &str) -> Option<SegmentNumber> {
        hls_ts::segment_named(&self.layout, self.renditions.get(r)?.as_ref()?.kind, name)
    }

    /// Segment `n` of rendition `r`, made of `objects`, which are all renditions' segments of this number; where one of them is on
    /// disk, this may block. `None` where it cannot be made.
    pub fn segment(&self, r: usize, n: SegmentNumber, objects: &[Object]) -> Option<Resource> {
        let Parts { pictures, sound } = self.renditions.get(r)?.as_ref()?.parts;
        let mut tag = Digester::default();
        tag.update(MUXER);
        tag.update(self.init.as_bytes());
        for part in [pictures, sound].into_iter().flatten() {
            tag.update(&objects.get(part)?.tag);
        }
        let body = self.bytes(r, n, || {
            let of = |part: usize| Some((part, objects.get(part)?.rest.content().read().ok()?));
            let [pictures, sound] = [pictures, sound].map(|part| part.and_then(of));
            let (pictures, sound) = (self.material(pictures.as_ref()), self.material(sound.as_ref()));
            transport::segment(&self.layout, n, pictures, sound).ok().map(Bytes::from)
        })?;
        let etag = entity_tag(&tag.digest().tag());
        Some(Resource { content_type: TYPE, etag, cache: Cache::Immutable, body: body.into(), gzip: None })
    }

    fn material<'a>(&'a self, part: Option<&'a (usize, Bytes)>) -> Option<(&'a Source, &'a [u8])> {
        let (part, bytes) = part?;
        Some((self.sources.get(*part)?.as_ref()?, bytes))
    }

    fn bytes(&self, r: usize, n: SegmentNumber, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        let slot = Arc::clone(&self.kept().segments.entry((n, r)).or_default().made);
        let mut first = false;
        let bytes = slot.get_or_init(|| {
            first = true;
            make()
        });
        if first {
            if bytes.is_some() { &self.made } else { &self.failed }.fetch_add(1, Relaxed);
            self.kept().count((n, r), &slot, bytes.as_ref().map_or(0, Bytes::len));
        }
        bytes.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing that can panic is done under the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Notes that a segment was made, and makes room.
    fn count(&mut self, key: (SegmentNumber, usize), made: &Arc<OnceLock<Option<Bytes>>>, len: usize) {
        // It may have gone while it was being made, and even have come back.
        if let Some(segment) = self.segments.get_mut(&key).filter(|segment| Arc::ptr_eq(&segment.made, made)) {
            segment.counted = len;
            self.bytes += len;
        }
        while self.bytes > BYTES_MAX || self.segments.len() > COUNT_MAX {
            let Some((_, oldest)) = self.segments.pop_first() else { return };
            self.bytes -= oldest.counted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::tests::transport::catalogue;

    fn remuxer() -> Remuxer {
        let (layout, catalogue) = catalogue();
        Remuxer::new(layout, &catalogue)
    }

    #[test]
    fn a_segment_is_made_once_however_many_ask() {
        let remuxer = remuxer();
        let ask = || remuxer.bytes(0, SegmentNumber(7), || Some(Bytes::from(vec![1; 188]))).expect("made");
        let all: Vec<Bytes> = std::thread::scope(|threads| {
            let asking: Vec<_> = (0..8).map(|_| threads.spawn(ask)).collect();
            asking.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        assert!(all.iter().all(|bytes| bytes.as_ptr() == all[0].as_ptr()));
        assert_eq!(remuxer.counts(), (1, 0));
        assert_eq!(remuxer.bytes(1, SegmentNumber(7), || None), None);
        assert_eq!(remuxer.counts(), (1, 1));
    }

    #[test]
    fn the_newest_are_kept_and_no_more_than_there_is_room_for() {
        let remuxer = remuxer();
        let megabyte = Bytes::from(vec![0; 1 << 20]);
        let ask = |n: u64| drop(remuxer.bytes(0, SegmentNumber(n), || Some(megabyte.clone())));
        let room = (BYTES_MAX >> 20) as u64;
        (1..=room + 10).for_each(ask);
        let check = || {
            let kept = remuxer.kept();
            let counted: usize = kept.segments.values().map(|s| s.counted).sum();
            assert!(kept.bytes == counted && kept.bytes <= BYTES_MAX, "{} of {counted}", kept.bytes);
            kept.segments.first_key_value().map(|(key, _)| key.0.0)
        };
        assert_eq!(check(), Some(11));
        // One that is far behind does not push out what is at the live edge.
        ask(1);
        assert_eq!(check(), Some(11));
        // What costs nothing is bounded by its number.
        (0..3 * COUNT_MAX as u64).for_each(|n| drop(remuxer.bytes(0, SegmentNumber(1000 + n), || None)));
        check();
        assert_eq!(remuxer.kept().segments.len(), COUNT_MAX);
    }
}
