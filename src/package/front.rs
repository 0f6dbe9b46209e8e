//! What players are told that changes with segments and not with parts: headers, and every text that lists renditions: for
//! everybody, for device profiles, and as requests want to see it.
//!
//! In:    what is published, as of the newest segment; paths and queries. Out: texts.
//! Never: changes what it was made of; renders a view twice while there is room to keep it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::catalogue::{Catalogue, Media, Rendition};
use super::digest::Digest;
use super::layout::{Kind, Layout};
use super::names::entity_tag;
use super::rope::{Deflater, Rope};
use super::snapshot::{Cache, Lookup, PLAYLIST, Resource, content_type};
use super::window::Window;
use super::{dash, hls, hls_ts, query};
use crate::config::{DashForm, HlsForm, Offer, Order, Profile, Serve, View};
use crate::encode::ladder::VideoFormat;
use crate::media::AUDIO_RATE;
use crate::monitor::ManifestStatus;

/// The folder of transport streams.
pub(super) const TRANSPORT: &str = "ts";
/// What media playlists without parts are called, where the others have parts.
pub(super) const WHOLE: &str = "whole.m3u8";
/// The manifest of a profile, and the one everybody begins with.
const MANIFEST: &str = "manifest.mpd";
/// Views of one publication that are kept. Profiles are rendered with the publication and count for none; a service whose
/// players ask for more different views has those beyond rendered for each request.
const KEPT_MAX: usize = 64;

/// What texts are made of.
#[derive(Debug)]
pub(super) struct Facts {
    pub layout: Layout,
    pub serve: Serve,
    pub profiles: Arc<[Profile]>,
    pub catalogue: Catalogue,
    pub window: Window,
    /// Average bit rates by rendition.
    pub averages: Vec<u64>,
    /// Time of this publication since the epoch.
    pub published: Duration,
    /// As [`Config::time_uri`](super::Config::time_uri).
    pub time_uri: String,
}

/// The texts of one publication.
#[derive(Debug)]
pub(super) struct Front {
    facts: Facts,
    /// What everybody is told, and each profile, by path.
    texts: BTreeMap<String, Resource>,
    /// Views that were asked for. Readers do not wait for each other.
    kept: ArcSwap<Vec<(Key, Resource)>>,
}

/// A kind of text that lists renditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Hls,
    HlsTs,
    Dash(dash::Form),
}

impl Form {
    /// For people; `parts` are listed in playlists.
    fn name(self, parts: bool) -> &'static str {
        match self {
            Self::Hls if parts => "LL-HLS",
            Self::Hls => "HLS",
            Self::HlsTs => "HLS-TS",
            Self::Dash(dash::Form::Timeline) => "DASH",
            Self::Dash(dash::Form::Number) => "DASH by number",
            Self::Dash(dash::Form::LowLatency) => "LL-DASH",
        }
    }
}

/// Which text it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    form: Form,
    /// It lies in a profile's folder.
    deep: bool,
    chosen: Chosen,
}

/// What a view comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chosen {
    /// Places of renditions in the catalogue, in order.
    places: Vec<u16>,
    /// The format that is listed first, where it is said.
    lead: Option<VideoFormat>,
    parts: bool,
}

/// Why there is no such view; a line for a 400.
type Refused = &'static str;

const NOTHING: Refused = "no rendition is left\n";
const NO_SUCH: Refused = "order names no rendition of this channel\n";
const ELSEWHERE: Refused = "aws.manifestfilter belongs to multivariant playlists and manifests\n";

impl Front {
    pub fn new(facts: Facts, deflater: &mut Deflater) -> Self {
        let texts = facts.texts(deflater);
        Self { facts, texts, kept: ArcSwap::default() }
    }

    /// What `path` leads to, if it is one of these texts.
    pub fn ask(&self, path: &str, query: Option<&str>) -> Option<Lookup> {
        let text = self.texts.get(path)?;
        let Some((form, profile)) = self.facts.target(path) else {
            return Some(Self::misplaced(query).map_or_else(|| Lookup::Found(text.clone()), Lookup::Bad));
        };
        let view = match query.map(query::view).transpose() {
            Ok(view) => view.flatten(),
            Err(why) => return Some(Lookup::Bad(why)),
        };
        let Some(view) = view else { return Some(Lookup::Found(text.clone())) };
        Some(self.view(form, profile, &view, text).map_or_else(Lookup::Bad, Lookup::Found))
    }

    /// A query of MediaPackage's filters does not belong to other paths; the text for a 400.
    pub fn misplaced(query: Option<&str>) -> Option<Refused> {
        query.is_some_and(query::has_filter).then_some(ELSEWHERE)
    }

    /// All paths there are.
    pub fn paths(&self) -> impl Iterator<Item = &String> {
        self.texts.keys()
    }

    /// Those that list renditions, for people to give to players.
    pub fn manifests(&self) -> Vec<ManifestStatus> {
        let Facts { serve, profiles, .. } = &self.facts;
        let everybody = forms(*serve).map(|(path, form)| ManifestStatus {
            name: form.name(serve.low_latency_hls).to_owned(),
            path: path.to_owned(),
        });
        let profiles = profiles.iter().flat_map(|profile| {
            let parts = profile.hls == Some(HlsForm::Parts);
            forms_of(profile).map(move |(name, form)| ManifestStatus {
                name: format!("{} for {}", form.name(parts), profile.id),
                path: format!("{}/{name}", profile.id),
            })
        });
        everybody.chain(profiles).filter(|it| self.texts.contains_key(&it.path)).collect()
    }

    fn view(&self, form: Form, profile: Option<&Profile>, view: &View, usual: &Resource) -> Result<Resource, Refused> {
        let before = self.facts.chosen(form, profile)?;
        let chosen = self.facts.choose(form, &before, view)?;
        if chosen == before {
            return Ok(usual.clone());
        }
        let key = Key { form, deep: profile.is_some(), chosen };
        let found = |kept: &[(Key, Resource)]| kept.iter().find(|(k, _)| *k == key).map(|(_, text)| text.clone());
        let kept = self.kept.load();
        if let Some(text) = found(&kept) {
            return Ok(text);
        }
        let text = self.facts.text(&mut Deflater::default(), &key);
        if kept.len() >= KEPT_MAX {
            return Ok(text);
        }
        self.kept.rcu(|kept| {
            let mut more = Vec::clone(kept);
            if more.len() < KEPT_MAX && found(kept).is_none() {
                more.push((key.clone(), text.clone()));
            }
            more
        });
        Ok(text)
    }

    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.kept.load().len()
    }
}

impl Facts {
    fn texts(&self, deflater: &mut Deflater) -> BTreeMap<String, Resource> {
        let Self { layout, serve, catalogue, window, .. } = self;
        let mut texts = BTreeMap::new();
        for rendition in &catalogue.renditions {
            texts.insert(format!("{}/{}", rendition.id, catalogue.init), init_resource(rendition));
        }
        let everybody = forms(*serve).map(|(path, form)| (path.to_owned(), form, None));
        let profiles = self.profiles.iter().flat_map(|profile| {
            let form = move |(name, form)| (format!("{}/{name}", profile.id), form, Some(profile));
            forms_of(profile).map(form)
        });
        for (path, form, profile) in everybody.chain(profiles) {
            // A profile may ask for what the source did not have: then it is not there.
            if let Ok(chosen) = self.chosen(form, profile) {
                texts.insert(path, self.text(deflater, &Key { form, deep: profile.is_some(), chosen }));
            }
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
        for (rendition, it) in catalogue.renditions.iter().enumerate().filter(|_| serve.low_latency_hls) {
            let of = hls::Media { rendition, kind: it.kind(), init: &catalogue.init, low: None };
            let mut rope = Rope::new(deflater);
            hls::media(&mut rope, layout, window, of);
            texts.insert(format!("{}/{WHOLE}", it.id), rope.finish(hls::TYPE, playlist_cache(layout)));
        }
        texts
    }

    /// Which text a path means, if it lists renditions.
    fn target(&self, path: &str) -> Option<(Form, Option<&Profile>)> {
        if let Some((_, form)) = forms(self.serve).find(|(known, _)| *known == path) {
            return Some((form, None));
        }
        let (id, name) = path.split_once('/')?;
        let profile = self.profiles.iter().find(|profile| profile.id.as_str() == id)?;
        let (_, form) = forms_of(profile).find(|(known, _)| *known == name)?;
        Some((form, Some(profile)))
    }

    /// What is listed where no query asks for less.
    fn chosen(&self, form: Form, profile: Option<&Profile>) -> Result<Chosen, Refused> {
        let all = (0..self.catalogue.renditions.len()).filter_map(|r| u16::try_from(r).ok()).collect();
        let all = Chosen { places: all, lead: None, parts: self.serve.low_latency_hls };
        let Some(profile) = profile else { return Ok(all) };
        let parts = all.parts && profile.hls != Some(HlsForm::Segments);
        self.choose(form, &Chosen { parts, ..all }, &profile.view)
    }

    /// Of what is listed what a view lists.
    fn choose(&self, form: Form, from: &Chosen, view: &View) -> Result<Chosen, Refused> {
        let all = &self.catalogue.renditions;
        let rendition = |place: &u16| &all[usize::from(*place)];
        let kind = |place: &u16| rendition(place).kind();
        let asked = |place: &u16| self.lists(view, rendition(place));
        let transport = form == Form::HlsTs;
        let carried = |place: &u16| !transport || hls_ts::parts(&self.catalogue, usize::from(*place)).is_some();
        // Trick play alone is nothing to play.
        if !from.places.iter().any(|place| asked(place) && carried(place) && kind(place) != Kind::Trick) {
            return Err(NOTHING);
        }
        // In transport streams one sound is in the pictures, whatever the view.
        let pictured = from.places.iter().any(|place| asked(place) && carried(place) && kind(place) == Kind::Video);
        let inside = hls_ts::default_sound(&self.catalogue).filter(|_| transport && pictured);
        let mut places = from.places.clone();
        places.retain(|place| asked(place) || inside == Some(usize::from(*place)));
        if !places.iter().any(|place| kind(place) == Kind::Video) {
            places.retain(|place| kind(place) != Kind::Trick);
        }
        // Pictures, sound, trick play: the order of the catalogue.
        let rank = |place: &u16| kind(place) as u8;
        let size = |place: &u16| (rendition(place).size().map_or(0, |(_, height)| height), rendition(place).limit);
        let pictures = places.iter().filter(|place| kind(place) == Kind::Video).count();
        let mut lead = from.lead;
        match &view.order {
            None => {}
            Some(Order::Ascending) => places[..pictures].sort_by_key(size),
            Some(Order::Descending) => places[..pictures].sort_by_key(|place| std::cmp::Reverse(size(place))),
            Some(Order::First(name)) => {
                let first = all.iter().find(|r| r.id.as_str() == name).ok_or(NO_SUCH)?;
                if let Media::Video(picture) = first.media {
                    lead = Some(picture.format);
                }
                // The sound that is in transport streams stays the default one.
                if first.kind() == Kind::Video || !transport {
                    places.sort_by_key(|place| (rank(place), rendition(place).id != first.id));
                }
            }
        }
        // Manifests and playlists of transport streams have no parts that could be left out.
        let parts = from.parts && (view.parts != Some(false) || form != Form::Hls);
        Ok(Chosen { places, lead, parts })
    }

    fn lists(&self, view: &View, rendition: &Rendition) -> bool {
        let Rendition { media, limit, .. } = rendition;
        match media {
            Media::Video(picture) => view.lists(Offer::Pictures {
                format: picture.format,
                height: picture.size.1,
                bitrate: *limit,
                frame_rate: self.layout.grid().rate().as_f64(),
            }),
            Media::Audio { language, channels } => {
                let is = |word: &str| language.is(word);
                let (channels, bitrate) = (*channels, *limit);
                view.lists(Offer::Sound { is: &is, channels, bitrate, sample_rate: AUDIO_RATE })
            }
            Media::Trick(picture) => view.lists(Offer::Trick { format: picture.format, height: picture.size.1 }),
        }
    }

    fn text(&self, deflater: &mut Deflater, Key { form, deep, chosen }: &Key) -> Resource {
        let Self { layout, window, .. } = self;
        let places: Vec<usize> = chosen.places.iter().map(|place| usize::from(*place)).collect();
        let catalogue = &self.catalogue.of(&places, chosen.lead);
        // Rounded, so that multivariant playlists stay the same while nothing much changes.
        let rounded: Vec<u64> = places.iter().map(|&r| self.averages[r].next_multiple_of(10_000)).collect();
        let base = if *deep { "../" } else { "" };
        let mut rope = Rope::new(deflater);
        match form {
            Form::Hls => {
                let name = if self.serve.low_latency_hls && !chosen.parts { WHOLE } else { PLAYLIST };
                rope.text().push_str(&hls::multivariant(layout, catalogue, &rounded, hls::Links { base, name }));
            }
            Form::HlsTs => {
                let base = if *deep { format!("../{TRANSPORT}/") } else { String::new() };
                rope.text().push_str(&hls_ts::multivariant(layout, catalogue, &rounded, &base));
            }
            Form::Dash(form) => {
                // What there is, and not what there will be: clients that go by the clock would ask for it.
                let listed = u32::try_from(window.listed().len()).unwrap_or(u32::MAX);
                let facts = dash::Facts {
                    published: self.published,
                    depth: layout.grid().segment().saturating_mul(listed),
                    time_uri: &self.time_uri,
                    base,
                };
                dash::manifest(&mut rope, layout, window, catalogue, facts, *form);
            }
        }
        let content_type = if matches!(form, Form::Dash(_)) { dash::TYPE } else { hls::TYPE };
        rope.finish(content_type, playlist_cache(layout))
    }
}

/// The texts that list renditions, by path.
fn forms(serve: Serve) -> impl Iterator<Item = (&'static str, Form)> {
    let all = [
        (serve.hls, PLAYLIST, Form::Hls),
        (serve.hls_ts, "ts/index.m3u8", Form::HlsTs),
        (serve.dash, MANIFEST, Form::Dash(dash::Form::Timeline)),
        (serve.dash, "number.mpd", Form::Dash(dash::Form::Number)),
        (serve.low_latency_dash, "low.mpd", Form::Dash(dash::Form::LowLatency)),
    ];
    all.into_iter().filter(|(wanted, ..)| *wanted).map(|(_, path, form)| (path, form))
}

/// Those of a profile, by name.
fn forms_of(profile: &Profile) -> impl Iterator<Item = (&'static str, Form)> + use<> {
    let hls = profile.hls.map(|form| match form {
        HlsForm::Segments | HlsForm::Parts => (PLAYLIST, Form::Hls),
        HlsForm::TransportStream => (PLAYLIST, Form::HlsTs),
    });
    let dash = profile.dash.map(|form| match form {
        DashForm::Segments => (MANIFEST, Form::Dash(dash::Form::Timeline)),
        DashForm::LowLatency => (MANIFEST, Form::Dash(dash::Form::LowLatency)),
    });
    hls.into_iter().chain(dash)
}

/// Half a segment: a cache that keeps a playlist longer hides the next segment.
pub(super) fn playlist_cache(layout: &Layout) -> Cache {
    Cache::For(layout.grid().segment() / 2)
}

fn init_resource(rendition: &Rendition) -> Resource {
    Resource {
        content_type: content_type(rendition.kind()),
        etag: entity_tag(&Digest::of(&rendition.init).tag()),
        cache: Cache::Immutable,
        body: rendition.init.clone().into(),
        gzip: None,
    }
}
