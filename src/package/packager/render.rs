//! What players are told: a snapshot of what is listed, with playlists and manifests.

use std::sync::Arc;

use super::super::catalogue::Rendition;
use super::super::edge::{Edge, Track};
use super::super::front::{Facts, Front, playlist_cache};
use super::super::hls;
use super::super::rope::Rope;
use super::super::snapshot::{Listing, Open, Playlist, Snapshot};
use super::Packager;
use crate::clock::Now;
use crate::monitor::RenditionStatus;

impl Packager {
    /// Makes the snapshot anew; with a segment also what only changes with segments.
    pub(super) fn render(&mut self, now: Now) {
        let newest = self.window.newest();
        if self.snapshot.newest() != newest {
            self.render_front(now);
        }
        let (Some(published), Some(front)) = (&self.published, &self.front) else { return };
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
            front: Arc::clone(front),
            remuxer: self.remuxer.clone(),
            playlists,
            blocks: low.is_some(),
            window: self.window.view(),
            open,
            grows: serve.low_latency_dash,
        };
        self.snapshot = Arc::new(Snapshot { listing: Some(listing) });
    }

    /// Headers, the multivariant playlist, manifests, figures.
    fn render_front(&mut self, now: Now) {
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
        (self.status.transport_made, self.status.transport_failed) =
            self.remuxer.as_ref().map_or((0, 0), |remuxer| remuxer.counts());
        if serve.dash && serve.dash_patch {
            self.history.publish(layout, window, published, now.utc);
        }
        let facts = Facts {
            layout: *layout,
            serve,
            profiles: Arc::clone(&self.profiles),
            catalogue: published.clone(),
            window: window.clone(),
            averages,
            published: now.utc,
            time_uri: self.config.time_uri.clone(),
            history: self.history.clone(),
        };
        let front = Front::new(facts, &mut self.deflater);
        self.status.manifests = front.manifests();
        self.front = Some(Arc::new(front));
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
