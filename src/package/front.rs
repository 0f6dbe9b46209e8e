//! What players are told that changes with segments and not with parts: headers, and every text that lists renditions.
//!
//! In:    what is published, as of the newest segment. Out: texts, by their paths.
//! Never: changes once it is made.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::catalogue::{Catalogue, Rendition};
use super::layout::{Kind, Layout};
use super::names::entity_tag;
use super::rope::{Deflater, Rope};
use super::snapshot::{Cache, PLAYLIST, Resource, content_type};
use super::window::Window;
use super::{dash, hls, hls_ts};
use crate::config::Serve;

/// The folder of transport streams.
pub(super) const TRANSPORT: &str = "ts";

/// What texts are made of.
#[derive(Debug)]
pub(super) struct Front {
    pub layout: Layout,
    pub serve: Serve,
    pub catalogue: Catalogue,
    pub window: Window,
    /// Average bit rates by rendition.
    pub averages: Vec<u64>,
    /// Time of this publication since the epoch.
    pub published: Duration,
    /// As [`Config::time_uri`](super::Config::time_uri).
    pub time_uri: String,
}

/// A kind of text that lists renditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Hls,
    HlsTs,
    Dash(dash::Form),
}

impl Front {
    /// Everything, by path.
    pub fn texts(&self, deflater: &mut Deflater) -> BTreeMap<String, Resource> {
        let Self { layout, serve, catalogue, window, .. } = self;
        let mut texts = BTreeMap::new();
        for rendition in &catalogue.renditions {
            texts.insert(format!("{}/{}", rendition.id, catalogue.init), init_resource(rendition));
        }
        for (path, form) in forms(*serve) {
            texts.insert(path, self.text(deflater, form));
        }
        for kind in [Kind::Video, Kind::Audio].into_iter().filter(|_| serve.hls_ts) {
            let mut rope = Rope::new(deflater);
            hls_ts::media(&mut rope, layout, window, kind);
            let text = rope.finish(hls::TYPE, playlist_cache(layout));
            let all = catalogue.renditions.iter().enumerate();
            for (_, it) in all.filter(|&(r, it)| it.kind() == kind && hls_ts::parts(catalogue, r).is_some()) {
                texts.insert(format!("{TRANSPORT}/{}/{PLAYLIST}", it.id), text.clone());
            }
        }
        texts
    }

    fn text(&self, deflater: &mut Deflater, form: Form) -> Resource {
        let Self { layout, catalogue, window, averages, .. } = self;
        // Rounded, so that multivariant playlists stay the same while nothing much changes.
        let rounded = || averages.iter().map(|a| a.next_multiple_of(10_000)).collect::<Vec<_>>();
        let mut rope = Rope::new(deflater);
        match form {
            Form::Hls => rope.text().push_str(&hls::multivariant(layout, catalogue, &rounded())),
            Form::HlsTs => rope.text().push_str(&hls_ts::multivariant(layout, catalogue, &rounded(), "")),
            Form::Dash(form) => {
                let listed = u32::try_from(window.listed_max()).unwrap_or(u32::MAX);
                let facts = dash::Facts {
                    published: self.published,
                    depth: layout.grid().segment().saturating_mul(listed),
                    time_uri: &self.time_uri,
                };
                dash::manifest(&mut rope, layout, window, catalogue, facts, form);
            }
        }
        let content_type = if matches!(form, Form::Dash(_)) { dash::TYPE } else { hls::TYPE };
        rope.finish(content_type, playlist_cache(layout))
    }
}

/// The texts that list renditions, by path.
fn forms(serve: Serve) -> impl Iterator<Item = (String, Form)> {
    let all = [
        (serve.hls, PLAYLIST.to_owned(), Form::Hls),
        (serve.hls_ts, format!("{TRANSPORT}/{PLAYLIST}"), Form::HlsTs),
        (serve.dash, "manifest.mpd".to_owned(), Form::Dash(dash::Form::Timeline)),
        (serve.dash, "number.mpd".to_owned(), Form::Dash(dash::Form::Number)),
        (serve.low_latency_dash, "low.mpd".to_owned(), Form::Dash(dash::Form::LowLatency)),
    ];
    all.into_iter().filter(|(wanted, ..)| *wanted).map(|(_, path, form)| (path, form))
}

/// Half a segment: a cache that keeps a playlist longer hides the next segment.
pub(super) fn playlist_cache(layout: &Layout) -> Cache {
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
