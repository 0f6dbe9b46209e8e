//! What players are told: a snapshot of what is listed, with playlists and manifests.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::super::catalogue::Rendition;
use super::super::edge::{Edge, Track};
use super::super::layout::Layout;
use super::super::names::entity_tag;
use super::super::rope::Rope;
use super::super::snapshot::{Cache, Listing, Open, Playlist, Resource, Snapshot, content_type};
use super::super::{dash, hls};
use super::Packager;
use crate::clock::Now;
use crate::monitor::RenditionStatus;

impl Packager {
    /// Makes the snapshot anew; with a segment also what only changes with segments.
    pub(super) fn render(&mut self, now: Now) {
        let newest = self.window.newest();
        if self.snapshot.newest() != newest {
            self.render_fixed(now);
        }
        let Some(published) = &self.published else { return };
        let (serve, layout, window) = (self.config.serve, self.layout, &self.window);
        let renditions: Arc<[_]> = published.renditions.iter().map(|r| (r.id.clone(), r.kind())).collect();
        let open = self.open();
        let low =
            open.as_ref().filter(|_| serve.low_latency_hls).map(|open| hls::Low { open, renditions: &renditions });
        let cache = playlist_cache(&layout);
        let mut playlist = |r: usize, rendition: &Rendition| {
            let of = hls::Media { rendition: r, kind: rendition.kind(), init: &published.init, low: low.as_ref() };
            let mut rope = Rope::new(&mut self.deflater);
            hls::media(&mut rope, &layout, window, of);
            let whole = rope.finish(hls::TYPE, cache);
            let mut rope = Rope::new(&mut self.deflater);
            let delta = low.is_some() && hls::delta(&mut rope, &layout, window, of);
            let delta = if delta { rope.finish(hls::TYPE, cache) } else { whole.clone() };
            Playlist { whole, delta }
        };
        let all = published.renditions.iter().enumerate().filter(|_| serve.hls);
        let playlists = all.map(|(r, rendition)| playlist(r, rendition)).collect();
        let listing = Listing {
            layout,
            published: now,
            renditions: Arc::clone(&renditions),
            fixed: Arc::clone(&self.fixed),
            playlists,
            blocks: low.is_some(),
            window: self.window.view(),
            open,
            grows: serve.low_latency_dash,
        };
        self.snapshot = Arc::new(Snapshot { listing: Some(listing) });
    }

    /// Headers, the multivariant playlist, manifests, figures.
    fn render_fixed(&mut self, now: Now) {
        let Some(published) = &self.published else { return };
        let (layout, window, serve) = (&self.layout, &self.window, self.config.serve);
        let renditions = &published.renditions;
        let averages: Vec<u64> =
            renditions.iter().enumerate().map(|(r, it)| window.average(layout, r, it.kind())).collect();
        let status = |(rendition, &average_bitrate): (&Rendition, &u64)| RenditionStatus {
            id: rendition.id.clone(),
            codec: rendition.codec.clone(),
            size: rendition.size(),
            average_bitrate,
            peak_bitrate: rendition.bandwidth.peak(),
        };
        self.status.renditions = renditions.iter().zip(&averages).map(status).collect();
        let cache = playlist_cache(layout);
        let facts = dash::Facts {
            published: now.utc,
            depth: layout.grid().segment().saturating_mul(u32::try_from(window.listed_max()).unwrap_or(u32::MAX)),
            time_uri: &self.config.time_uri,
        };
        let mut fixed = BTreeMap::new();
        for rendition in renditions {
            fixed.insert(format!("{}/{}", rendition.id, published.init), init_resource(rendition));
        }
        if serve.hls {
            // Rounded, so that the multivariant playlist stays the same while nothing much changes.
            let rounded: Vec<u64> = averages.iter().map(|a| a.next_multiple_of(10_000)).collect();
            let mut rope = Rope::new(&mut self.deflater);
            rope.text().push_str(&hls::multivariant(layout, published, &rounded));
            fixed.insert("index.m3u8".to_owned(), rope.finish(hls::TYPE, cache));
        }
        let forms = [
            (serve.dash, "manifest.mpd", dash::Form::Timeline),
            (serve.dash, "number.mpd", dash::Form::Number),
            (serve.low_latency_dash, "low.mpd", dash::Form::LowLatency),
        ];
        for (_, name, form) in forms.into_iter().filter(|(wanted, ..)| *wanted) {
            let mut rope = Rope::new(&mut self.deflater);
            dash::manifest(&mut rope, layout, window, published, facts, form);
            fixed.insert(name.to_owned(), rope.finish(dash::TYPE, cache));
        }
        self.fixed = Arc::new(fixed);
    }

    /// The live edge as players see it.
    fn open(&self) -> Option<Open> {
        let number = self.window.newest()?.next();
        let edge = self.edge.as_ref().filter(|edge| edge.number() == number);
        self.config.serve.has_parts().then(|| Open {
            number,
            tracks: edge.map_or_else(|| vec![Track::default(); self.names.len()], |edge| edge.tracks().to_vec()),
            rows: edge.map_or(0, Edge::rows),
            total: self.layout.rows(number),
        })
    }
}

/// Half a segment: a cache that keeps a playlist longer hides the next segment.
fn playlist_cache(layout: &Layout) -> Cache {
    Cache::For(layout.grid().segment() / 2)
}

fn init_resource(rendition: &Rendition) -> Resource {
    Resource {
        content_type: content_type(rendition.kind()),
        etag: entity_tag(&Sha256::digest(&rendition.init)),
        cache: Cache::Immutable,
        body: rendition.init.clone().into(),
        gzip: None,
    }
}
