//! A packager that goes on with a window that a disk has kept.
//!
//! In:    what was kept. Out: the same playlists, numbers and bytes under the same URLs.
//! Never: lists what is not there.

use super::super::digest::{Digest, Digester};
use super::super::edge::{Edge, Published, Track};
use super::super::keep::{Head, Kept, KeptObject, KeptState, Note};
use super::super::rest::Rest;
use super::super::window::Object;
use super::super::{Config, PackageError};
use super::Packager;
use crate::clock::Now;
use crate::dvr::Place;
use crate::media::SegmentNumber;

impl Packager {
    /// One that lists what was kept, and goes on behind it; `None` where `config` is of another window than `head`, and where
    /// nothing was kept that is young enough.
    ///
    /// # Errors
    /// Those of [`Packager::new`].
    pub fn restored(
        config: Config,
        head: &Head,
        kept: impl Iterator<Item = Kept>,
        now: Now,
    ) -> Result<Option<Self>, PackageError> {
        let mut packager = Self::new(config, now)?;
        let Some(catalogue) = head.catalogue(&packager.config, &packager.layout) else { return Ok(None) };
        packager.begins(catalogue);
        let oldest =
            packager.layout.grid().segment_at(now.channel_time()).0.saturating_sub(packager.window.listed_max() as u64);
        let mut open = None;
        for segment in kept.filter(|segment| segment.number.0 >= oldest) {
            // What was lost in between is a gap: numbers have no holes.
            while let Some(missing) = packager.window.newest().map(SegmentNumber::next).filter(|n| *n < segment.number)
            {
                packager.list_gap(missing, Vec::new());
            }
            if packager.window.newest().is_some_and(|newest| newest >= segment.number) {
                continue;
            }
            match segment.state {
                KeptState::Whole => packager.found_whole(segment),
                KeptState::Gap => packager.list_gap(segment.number, Vec::new()),
                KeptState::Open => open = Some(segment),
            }
        }
        let Some(newest) = packager.window.newest() else { return Ok(None) };
        packager.decided = Some(now);
        packager.status.newest = Some(newest.0);
        if let Some(open) = open.filter(|open| open.number == newest.next() && packager.config.serve.has_parts()) {
            packager.edge = packager.found_open(&open);
        }
        packager.render(now);
        Ok(Some(packager))
    }

    /// Lists a segment as it was.
    fn found(&mut self, n: SegmentNumber, objects: Vec<Object>, parts: Vec<Vec<Published>>) {
        if let Some(published) = &mut self.published {
            // Whether it was slate nobody knows any more; the ladder's limits hold for that as well.
            published.measure(&self.layout, n, objects.iter().map(|object| (object.rest.len(), true)));
        }
        let entry = self.entry(n, objects, parts);
        self.window.push(&self.layout, &self.kinds, entry, &mut self.deflater);
    }

    fn found_whole(&mut self, segment: Kept) {
        let Kept { number, objects, note, .. } = segment;
        let note = Note::read(&note);
        let broken = usize::from(note.broken);
        // All tracks or none: a track that is missing would be missed by those who switch to it.
        if objects.len() != self.kinds.len() || (0u16..).zip(&objects).any(|(track, object)| object.track != track) {
            return self.list_gap(number, Vec::new());
        }
        let whole = |object: &KeptObject| {
            let before: u64 = object.parts.iter().take(broken).map(|len| u64::from(*len)).sum();
            Object { rest: Rest::Disk(object.place.slice(before..object.place.len())), tag: object.tag }
        };
        let rows = if broken > 0 { broken } else { objects.first().map_or(0, |object| object.parts.len()) };
        let has_parts = broken > 0 || rows == self.layout.rows(number) && rows > 1;
        let parts = |(r, object): (usize, &KeptObject)| {
            let bits = note.independent.get(r).copied().unwrap_or(0);
            cut(object, rows)
                .enumerate()
                .map(|(i, place)| {
                    // Of a part that a cache may hold, under another tag: its bytes are the same.
                    let independent = i < 64 && bits >> i & 1 == 1;
                    Published { rest: Rest::Disk(place), upto: Digest::UNKNOWN, independent }
                })
                .collect()
        };
        let of_tracks = objects.iter().enumerate().take(self.names.len());
        let parts = if has_parts { of_tracks.map(parts).collect() } else { Vec::new() };
        self.found(number, objects.iter().map(whole).collect(), parts);
    }

    fn found_open(&self, segment: &Kept) -> Option<Edge> {
        let renditions = self.names.len();
        let mut tracks = Vec::with_capacity(renditions);
        for (track, object) in (0u16..).zip(&segment.objects).take(renditions) {
            if object.track != track {
                return None;
            }
            let mut sum = Digester::default();
            let mut parts = Vec::new();
            for place in cut(object, object.parts.len()) {
                sum.update(&place.read().ok()?);
                parts.push(Published {
                    rest: Rest::Disk(place),
                    upto: sum.digest(),
                    independent: parts.is_empty() || usize::from(track) >= self.config.video.len(),
                });
            }
            tracks.push(Track { parts, real: true });
        }
        (tracks.len() == renditions).then(|| Edge::found(segment.number, tracks, self.layout.rows(segment.number)))
    }
}

/// The first `rows` parts of an object.
fn cut(object: &KeptObject, rows: usize) -> impl Iterator<Item = Place> {
    let mut at = 0;
    object.parts.iter().take(rows).map(move |&len| {
        let part = object.place.slice(at..at + u64::from(len));
        at += u64::from(len);
        part
    })
}
