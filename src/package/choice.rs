//! Which renditions a text lists, in which order: of all there are what a profile has, and of that what a query asks for.
//!
//! In:    the catalogue, a view. Out: places in the catalogue.
//! Never: leaves nothing to play.

use super::catalogue::{Media, Rendition};
use super::front::{Facts, Form};
use super::hls_ts;
use super::layout::Kind;
use crate::config::{HlsForm, Offer, Order, Profile, StartAt, View};
use crate::encode::ladder::VideoFormat;
use crate::media::AUDIO_RATE;

/// What a view comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Places of renditions in the catalogue, in order.
    pub places: Vec<u16>,
    /// The format that is listed first, where it is said.
    pub lead: Option<VideoFormat>,
    pub parts: bool,
    /// Where players should begin; none in manifests, which have no word for it.
    pub start: Option<StartAt>,
}

const NOTHING: &str = "no rendition is left\n";
const NO_SUCH: &str = "order names no rendition of this channel\n";
const NO_START: &str = "start_offset must lie within the window, and three segments or more in front of its end\n";
const PRECISE: &str = "start_precise means nothing without start_offset\n";

impl Facts {
    /// What is listed where no query asks for less.
    pub fn chosen(&self, form: Form, profile: Option<&Profile>) -> Result<Chosen, &'static str> {
        let all = (0..self.catalogue.renditions.len()).filter_map(|r| u16::try_from(r).ok()).collect();
        let start = self.serve.start.filter(|_| form.is_hls());
        let all = Chosen { places: all, lead: None, parts: self.serve.low_latency_hls, start };
        let Some(profile) = profile else { return Ok(all) };
        let parts = all.parts && profile.hls != Some(HlsForm::Segments);
        self.choose(form, &Chosen { parts, ..all }, &profile.view)
    }

    /// Of what is listed what a view lists.
    pub fn choose(&self, form: Form, from: &Chosen, view: &View) -> Result<Chosen, &'static str> {
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
        Ok(Chosen { places, lead, parts, start: self.start(form, from, view)? })
    }

    /// Where players should begin.
    fn start(&self, form: Form, from: &Chosen, view: &View) -> Result<Option<StartAt>, &'static str> {
        if view.is_precise_about_nothing() {
            return Err(PRECISE);
        }
        let Some(start) = view.start().filter(|_| form.is_hls()) else { return Ok(from.start) };
        let segment = self.layout.grid().segment();
        let window = segment.saturating_mul(u32::try_from(self.window.listed_max()).unwrap_or(u32::MAX));
        if start.fits(window, segment) { Ok(Some(start)) } else { Err(NO_START) }
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
}
