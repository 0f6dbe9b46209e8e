//! What players are told that changes with segments and not with parts: headers, and every text that lists renditions: for
//! everybody, for device profiles, and as requests want to see it.
//!
//! In:    what is published, as of the newest segment; paths and queries. Out: texts.
//! Never: changes what it was made of; renders a view twice while there is room to keep it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::catalogue::{Catalogue, Rendition};
use super::choice::Chosen;
use super::digest::Digest;
use super::hls::Links;
use super::layout::{Kind, Layout};
use super::names::entity_tag;
use super::patch::{History, Location, Patches};
use super::rope::{Deflater, Rope};
use super::shift::{Asks, Bounds, Cut, Ending, Refused, Shift};
use super::snapshot::{Cache, Lookup, PLAYLIST, Resource, content_type};
use super::window::Window;
use super::{dash, hls, hls_ts, query};
use crate::config::{DashForm, HlsForm, Profile, Serve};
use crate::monitor::ManifestStatus;

/// The folder of transport streams.
pub(super) const TRANSPORT: &str = "ts";
/// What media playlists without parts are called, where the others have parts.
pub(super) const WHOLE: &str = "whole.m3u8";
/// The manifest of a profile, and the one everybody begins with.
const MANIFEST: &str = "manifest.mpd";
/// Views of one publication that are kept, and as many parts of its window. Profiles are rendered with the publication and count for
/// none; a service whose players ask for more different ones has those beyond rendered for each request.
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
    /// Publications of [`MANIFEST`] that clients may patch; none where it is not served with patches.
    pub history: History,
}

/// The texts of one publication.
#[derive(Debug)]
pub(super) struct Front {
    facts: Facts,
    /// What everybody is told, and each profile, by path.
    texts: BTreeMap<String, Resource>,
    /// Views that were asked for. Readers do not wait for each other.
    views: Kept,
    /// Parts of the window that were asked for.
    parts: Kept,
    /// What makes manifests of earlier publications the one of this.
    patches: Option<Patches>,
}

type Kept = ArcSwap<Vec<(Key, Resource)>>;

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Hls,
    HlsTs,
    Dash(dash::Form),
    /// The media playlist of this rendition.
    Media(u16),
    /// The same of transport streams, which name no rendition.
    Transport(Kind),
}

impl Form {
    /// It is a multivariant playlist.
    pub fn is_hls(self) -> bool {
        matches!(self, Self::Hls | Self::HlsTs)
    }

    fn lists_renditions(self) -> bool {
        self.is_hls() || matches!(self, Self::Dash(_))
    }

    /// Players ask for multivariant playlists when they begin, and for everything else again and again.
    fn asks(self) -> Asks {
        if self.is_hls() { Asks::Once } else { Asks::AgainAndAgain }
    }

    /// For people; `parts` are listed in playlists.
    fn name(self, parts: bool) -> &'static str {
        match self {
            Self::Hls if parts => "LL-HLS",
            Self::Hls => "HLS",
            Self::HlsTs => "HLS-TS",
            Self::Dash(dash::Form::Timeline) => "DASH",
            Self::Dash(dash::Form::Number) => "DASH by number",
            Self::Dash(dash::Form::LowLatency) => "LL-DASH",
            Self::Media(_) | Self::Transport(_) => "playlist",
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
    shift: Option<Shift>,
}

const ELSEWHERE: &str = "aws.manifestfilter belongs to multivariant playlists and manifests\n";
const NO_MEDIA: Refused = Refused::Absent("nothing was made in that time\n");

impl Front {
    pub fn new(facts: Facts, deflater: &mut Deflater) -> Self {
        let texts = facts.texts(deflater);
        let patched = facts.serve.dash && facts.serve.dash_patch;
        let patches = patched.then(|| Patches::new(facts.history.clone(), playlist_cache(&facts.layout)));
        if let Some(patches) = &patches {
            patches.prepare(&facts.layout, &facts.catalogue, deflater);
        }
        Self { facts, texts, views: Kept::default(), parts: Kept::default(), patches }
    }

    /// What `path` leads to, if it is one of these texts, or a part of a media playlist.
    pub fn ask(&self, path: &str, query: Option<&str>) -> Option<Lookup> {
        let text = self.texts.get(path);
        let found = |text: &Resource| Lookup::Found(text.clone());
        if let (None, Some(patches)) = (text, &self.patches)
            && let Some(patch) = patches.ask(path, &self.facts.layout, &self.facts.catalogue)
        {
            return Some(patch);
        }
        let Some(query) = query else { return text.map(found) };
        let Some((form, profile)) = self.facts.target(path) else {
            return text.map(|text| Self::misplaced(Some(query)).map_or_else(|| found(text), Lookup::Bad));
        };
        match self.asked(form, profile, query, text) {
            Ok(Some(text)) => Some(Lookup::Found(text)),
            Ok(None) => text.map(found),
            Err(Refused::Bad(why)) => Some(Lookup::Bad(why)),
            Err(Refused::Absent(why)) => Some(Lookup::Absent(why)),
            Err(Refused::Soon) => Some(Lookup::Wait(Duration::from_secs(3 * self.facts.layout.target_duration()))),
        }
    }

    /// A query of MediaPackage's filters does not belong to other paths; the text for a 400.
    pub fn misplaced(query: Option<&str>) -> Option<&'static str> {
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

    /// What a query asks for; `None` for what is there without it.
    fn asked(
        &self,
        form: Form,
        profile: Option<&Profile>,
        query: &str,
        usual: Option<&Resource>,
    ) -> Result<Option<Resource>, Refused> {
        let deep = profile.is_some();
        if !form.lists_renditions() {
            if let Some(why) = Self::misplaced(Some(query)) {
                return Err(Refused::Bad(why));
            }
            let Some(shift) = query::shift(query)? else { return Ok(None) };
            let key = Key { form, deep, chosen: Chosen::default(), shift: Some(shift) };
            return self.rendered(key).map(Some);
        }
        // A profile of which nothing is left.
        if usual.is_none() {
            return Ok(None);
        }
        let (view, shift) = (query::view(query)?, query::shift(query)?);
        let before = self.facts.chosen(form, profile)?;
        let mut chosen = match &view {
            Some(view) => self.facts.choose(form, &before, view)?,
            None => before.clone(),
        };
        if shift.is_none() && chosen == before {
            return Ok(None);
        }
        // What is said for the live edge is not said for a part that has a beginning of its own.
        let said = view.as_ref().is_some_and(|view| view.start().is_some());
        if shift.is_some_and(|shift| shift.has_start()) && !said {
            chosen.start = None;
        }
        self.rendered(Key { form, deep, chosen, shift }).map(Some)
    }

    fn rendered(&self, key: Key) -> Result<Resource, Refused> {
        let kept_in = if key.shift.is_some() { &self.parts } else { &self.views };
        let found = |kept: &[(Key, Resource)]| kept.iter().find(|(k, _)| *k == key).map(|(_, text)| text.clone());
        let kept = kept_in.load();
        if let Some(text) = found(&kept) {
            return Ok(text);
        }
        let text = self.facts.text(&mut Deflater::default(), &key)?;
        if kept.len() >= KEPT_MAX {
            return Ok(text);
        }
        kept_in.rcu(|kept| {
            let mut more = Vec::clone(kept);
            if more.len() < KEPT_MAX && found(kept).is_none() {
                more.push((key.clone(), text.clone()));
            }
            more
        });
        Ok(text)
    }

    /// Views, and parts of the window.
    #[cfg(test)]
    pub fn kept(&self) -> (usize, usize) {
        (self.views.load().len(), self.parts.load().len())
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
            let text = self
                .chosen(form, profile)
                .map_err(Refused::from)
                .and_then(|chosen| self.text(deflater, &Key { form, deep: profile.is_some(), chosen, shift: None }));
            if let Ok(text) = text {
                texts.insert(path, text);
            }
        }
        for kind in [Kind::Video, Kind::Audio].into_iter().filter(|_| serve.hls_ts) {
            let mut rope = Rope::new(deflater);
            hls_ts::media(&mut rope, layout, &window.listed(), kind, Ending::Grows);
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

    /// Which text a path means, if it lists renditions or segments.
    fn target(&self, path: &str) -> Option<(Form, Option<&Profile>)> {
        if let Some((_, form)) = forms(self.serve).find(|(known, _)| *known == path) {
            return Some((form, None));
        }
        let (id, name) = path.split_once('/')?;
        if let Some(profile) = self.profiles.iter().find(|profile| profile.id.as_str() == id) {
            let (_, form) = forms_of(profile).find(|(known, _)| *known == name)?;
            return Some((form, Some(profile)));
        }
        let rendition = |id: &str| self.catalogue.renditions.iter().position(|r| r.id.as_str() == id);
        let form = match (id, name) {
            (TRANSPORT, _) if self.serve.hls_ts => {
                let r = name.strip_suffix(PLAYLIST)?.strip_suffix('/').and_then(rendition)?;
                hls_ts::parts(&self.catalogue, r)?;
                Form::Transport(self.catalogue.renditions[r].kind())
            }
            (_, PLAYLIST) if self.serve.hls => Form::Media(u16::try_from(rendition(id)?).ok()?),
            (_, WHOLE) if self.serve.low_latency_hls => Form::Media(u16::try_from(rendition(id)?).ok()?),
            _ => return None,
        };
        Some((form, None))
    }

    /// Which part of the window a shift means.
    fn cut(&self, shift: Shift, form: Form) -> Result<Cut, Refused> {
        let listed = self.window.listed();
        let (Some(oldest), Some(newest)) = (listed.first(), self.window.newest()) else { return Err(NO_MEDIA) };
        shift.cut(&self.layout, Bounds { oldest, newest, most: self.window.listed_max() }, form.asks())
    }

    /// There are patches of the manifest that everybody begins with: not of views, nor of parts of the window.
    fn patched(&self, key: &Key) -> bool {
        let whole = key.form == Form::Dash(dash::Form::Timeline) && !key.deep && key.shift.is_none();
        whole && self.serve.dash_patch && self.chosen(key.form, None).is_ok_and(|all| all == key.chosen)
    }

    fn text(&self, deflater: &mut Deflater, key: &Key) -> Result<Resource, Refused> {
        let Self { layout, window, .. } = self;
        let Key { form, deep, chosen, shift } = key;
        let cut = shift.map(|shift| self.cut(shift, *form)).transpose()?;
        let ending = cut.map_or(Ending::Grows, |cut| cut.ending);
        let listed = cut.map_or_else(|| window.listed(), |cut| window.cut(cut.first, cut.last));
        let places: Vec<usize> = chosen.places.iter().map(|place| usize::from(*place)).collect();
        let catalogue = || self.catalogue.of(&places, chosen.lead);
        // Rounded, so that multivariant playlists stay the same while nothing much changes.
        let rounded = || places.iter().map(|&r| self.averages[r].next_multiple_of(10_000)).collect::<Vec<u64>>();
        let query = shift.map_or_else(String::new, |shift| shift.query());
        let start = chosen.start.or(cut.and_then(|cut| cut.start));
        let base = if *deep { "../" } else { "" };
        let mut rope = Rope::new(deflater);
        match *form {
            Form::Hls => {
                let name = if self.serve.low_latency_hls && !chosen.parts { WHOLE } else { PLAYLIST };
                let links = Links { base, name, query: &query };
                rope.text().push_str(&hls::multivariant(layout, &catalogue(), &rounded(), links, start));
            }
            Form::HlsTs => {
                let base = if *deep { &format!("../{TRANSPORT}/") } else { "" };
                let links = Links { base, name: PLAYLIST, query: &query };
                rope.text().push_str(&hls_ts::multivariant(layout, &catalogue(), &rounded(), links, start));
            }
            Form::Dash(form) => {
                // What there is, and not what there will be: clients that go by the clock would ask for it.
                let patch = self.patched(key).then(|| Location::new(layout, &self.catalogue, self.published));
                // By time there is no harm in it, and patches have one thing less to change.
                let depth = if patch.is_some() { window.listed_max() } else { listed.len() };
                let depth = u32::try_from(depth).unwrap_or(u32::MAX);
                let facts = dash::Facts {
                    published: self.published,
                    depth: layout.grid().segment().saturating_mul(depth),
                    time_uri: &self.time_uri,
                    base,
                    cut: cut.as_ref(),
                    patch,
                };
                if cut.is_some() && !listed.has_media() {
                    return Err(NO_MEDIA);
                }
                let spare = window.whole().filter(|_| !window.is_there()).map(|entry| entry.number);
                dash::manifest(&mut rope, layout, dash::Segments { listed, spare }, &catalogue(), facts, form);
            }
            Form::Media(r) => {
                let rendition = usize::from(r);
                let Some(it) = self.catalogue.renditions.get(rendition) else { return Err(NO_MEDIA) };
                let of = hls::Media { rendition, kind: it.kind(), init: &self.catalogue.init, low: None };
                hls::part(&mut rope, layout, &listed, of, ending);
            }
            Form::Transport(kind) => hls_ts::media(&mut rope, layout, &listed, kind, ending),
        }
        let content_type = if matches!(form, Form::Dash(_)) { dash::TYPE } else { hls::TYPE };
        Ok(match cut.filter(|cut| cut.ending == Ending::Fixed) {
            Some(cut) => rope.finish_settled(content_type, Cache::For(cut.kept)),
            None => rope.finish(content_type, playlist_cache(layout)),
        })
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
