//! Device profiles: `[[channel.profile]]`.

use std::collections::BTreeSet;

use super::checks::Checks;
use super::document::{Mark, Span, nearest};
use super::file::{FormatFile, ProfileFile};
use super::serve::{Room, TRANSPORT, start_fits};
use super::units::excerpt;
use super::{DashForm, Filter, HlsForm, Ladder, Offer, Order, Profile, Serve, View};
use crate::media::{AUDIO_RATE, FrameRate, ProfileId};

/// Each costs a playlist and a manifest with every segment.
const PROFILES_MAX: usize = 32;
/// What the track of trick play is called, or what its name begins with.
const TRICK: &str = "trick";

impl Checks<'_, '_> {
    /// The profiles of a channel that is served so, with this ladder, at this rate.
    pub(super) fn profiles(
        &mut self,
        files: &[Mark<ProfileFile>],
        serve: Serve,
        room: Room,
        ladder: Option<&Ladder>,
        rate: FrameRate,
    ) -> Option<Vec<Profile>> {
        if let Some(more) = files.get(PROFILES_MAX) {
            self.document.mistake(&more.span, format!("more than {PROFILES_MAX} profiles"), "use queries for the rest");
        }
        let mut seen = BTreeSet::new();
        let profile = |file| self.profile(file, serve, room, ladder, rate, &mut seen);
        let profiles: Vec<_> = files.iter().map(profile).collect();
        profiles.into_iter().collect()
    }

    fn profile(
        &mut self,
        Mark { span, value: file }: &Mark<ProfileFile>,
        serve: Serve,
        room: Room,
        ladder: Option<&Ladder>,
        rate: FrameRate,
        seen: &mut BTreeSet<String>,
    ) -> Option<Profile> {
        let id = self.profile_id(span, file.id.as_ref(), ladder, seen);
        let (hls, dash) = self.forms(file.serve.as_ref(), serve);
        let mut view = View::default();
        for (filter, text) in filters(file) {
            if let Err(expected) = view.set(filter, &text.value) {
                let wrong = format!("`{}` cannot be read", excerpt(&text.value));
                self.document.mistake(&text.span, wrong, expected.trim_end());
            }
        }
        if let (Some(key), Some(start)) = (&file.start_offset, view.start()) {
            start_fits(self.document, key, start, room);
        }
        if let Some(key) = file.start_precise.as_ref().filter(|_| view.is_precise_about_nothing()) {
            self.document.mistake(&key.span, "means nothing without start_offset", "add start_offset, or remove it");
        }
        // What "auto" makes of a source nobody knows yet.
        if let Some(ladder) = ladder.filter(|ladder| !ladder.auto) {
            let ids = || ladder.video.iter().map(|r| &r.id).chain(ladder.audio.iter().map(|r| &r.id));
            if let (Some(text), Some(Order::First(name))) = (&file.order, &view.order)
                && !ids().any(|id| id.as_str() == name)
            {
                let wrong = format!("the ladder has no rendition `{}`", excerpt(name));
                self.document.mistake(&text.span, wrong, nearest(name, ids().map(|id| id.as_str())));
            }
            if !lists_any(&view, ladder, rate) {
                let mend = "widen height, bitrate, codec, channels or audio";
                self.document.mistake(span, "lists no rendition of the ladder", mend);
            }
        }
        Some(Profile { id: id?, hls, dash, view })
    }

    fn profile_id(
        &mut self,
        span: &Span,
        id: Option<&Mark<String>>,
        ladder: Option<&Ladder>,
        seen: &mut BTreeSet<String>,
    ) -> Option<ProfileId> {
        let Some(Mark { span, value }) = id else {
            self.document.missing(span, "id", "add id = \"tv\", or another name for its URL");
            return None;
        };
        let is_rendition = |ladder: &Ladder| {
            let mut ids = ladder.video.iter().map(|r| &r.id).chain(ladder.audio.iter().map(|r| &r.id));
            // "auto" calls rungs by their lines, and nobody knows them yet.
            let lines = value.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
            ids.any(|id| id.as_str() == value) || ladder.auto && lines
        };
        let trick = value.strip_prefix(TRICK).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        if !seen.insert(value.clone()) {
            self.document.mistake(span, "another profile has this id", "give each its own; it is part of the URL");
        } else if value == TRANSPORT || trick || ladder.is_some_and(is_rendition) {
            let wrong = format!("`{}` is in URLs the name of something else", excerpt(value));
            self.document.mistake(span, wrong, "give it a name that no rendition has, and that is not ts or trick");
        }
        ProfileId::new(value).map_err(|error| self.document.refuse(span, &error)).ok()
    }

    /// What is behind the profile's two addresses.
    fn forms(&mut self, file: Option<&Mark<Vec<FormatFile>>>, serve: Serve) -> (Option<HlsForm>, Option<DashForm>) {
        let served = |format: FormatFile| match format {
            FormatFile::Hls => serve.hls,
            FormatFile::LlHls => serve.low_latency_hls,
            FormatFile::HlsTs => serve.hls_ts,
            FormatFile::Dash => serve.dash,
            FormatFile::LlDash => serve.low_latency_dash,
        };
        let hls_of = |format: FormatFile| match format {
            FormatFile::LlHls => Some(HlsForm::Parts),
            FormatFile::Hls => Some(HlsForm::Segments),
            FormatFile::HlsTs => Some(HlsForm::TransportStream),
            FormatFile::Dash | FormatFile::LlDash => None,
        };
        let dash_of = |format: FormatFile| match format {
            FormatFile::LlDash => Some(DashForm::LowLatency),
            FormatFile::Dash => Some(DashForm::Segments),
            FormatFile::Hls | FormatFile::LlHls | FormatFile::HlsTs => None,
        };
        let Some(Mark { span, value: formats }) = file else {
            let best = [FormatFile::LlHls, FormatFile::Hls, FormatFile::HlsTs, FormatFile::LlDash, FormatFile::Dash];
            let best = || best.into_iter().filter(|format| served(*format));
            return (best().find_map(hls_of), best().find_map(dash_of));
        };
        let hls: Vec<_> = formats.iter().filter_map(|format| hls_of(*format)).collect();
        let dash: Vec<_> = formats.iter().filter_map(|format| dash_of(*format)).collect();
        if formats.is_empty() {
            self.document.mistake(span, "nobody is served", "name a format, or leave the key out");
        } else if hls.len() > 1 || dash.len() > 1 {
            let mend = "name one of hls, ll-hls and hls-ts, and one of dash and ll-dash; or make two profiles";
            self.document.mistake(span, "two formats at one address", mend);
        } else if !formats.iter().all(|format| served(*format)) {
            let mend = "add it to the channel's serve, or name another one";
            self.document.mistake(span, "the channel does not serve this format", mend);
        }
        (hls.first().copied(), dash.first().copied())
    }
}

/// What is written of each filter.
fn filters(file: &ProfileFile) -> impl Iterator<Item = (Filter, &Mark<String>)> {
    let all = [
        (Filter::Height, &file.height),
        (Filter::Bitrate, &file.bitrate),
        (Filter::FrameRate, &file.fps),
        (Filter::Codec, &file.codec),
        (Filter::Language, &file.lang),
        (Filter::Channels, &file.channels),
        (Filter::AudioBitrate, &file.audio),
        (Filter::Trick, &file.trick),
        (Filter::Order, &file.order),
        (Filter::StartOffset, &file.start_offset),
        (Filter::StartPrecise, &file.start_precise),
    ];
    all.into_iter().filter_map(|(filter, text)| Some((filter, text.as_ref()?)))
}

fn lists_any(view: &View, ladder: &Ladder, rate: FrameRate) -> bool {
    let pictures = ladder.video.iter().map(|rung| Offer::Pictures {
        format: rung.encoder.format(),
        height: rung.height,
        bitrate: rung.rate.max_bitrate(),
        frame_rate: rate.as_f64(),
    });
    // Which language a source has it may tell when it is there.
    let sound = ladder.audio.iter().map(|rung| Offer::Sound {
        is: &|_| true,
        channels: rung.channels,
        bitrate: rung.bitrate,
        sample_rate: AUDIO_RATE,
    });
    let nothing = ladder.video.is_empty() && ladder.audio.is_empty();
    nothing || pictures.chain(sound).any(|offer| view.lists(offer))
}
