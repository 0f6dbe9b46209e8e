//! What players are told about a channel's renditions: fixed with the first published segment, but for their bit rates.

use bytes::Bytes;

use super::bandwidth::Bandwidth;
use super::digest::{Digest, hex};
use super::language::Language;
use super::layout::{Kind, Layout};
use super::segmenter::Coding;
use super::{Config, trick};
use crate::encode::ladder::VideoFormat;
use crate::media::{AUDIO_RATE, RenditionId, SegmentNumber};
use crate::wire::mp4::{AudioTrack, Track, TrackMedia, VideoConfig, header};

/// One rendition.
#[derive(Clone, Debug)]
pub(super) struct Rendition {
    pub id: RenditionId,
    /// CMAF header.
    pub init: Bytes,
    /// RFC 6381.
    pub codec: String,
    pub media: Media,
    /// The most that its encoder may make, bits a second; of trick play nobody says.
    pub limit: u32,
    pub bandwidth: Bandwidth,
}

/// What a rendition shows or sounds like.
#[derive(Clone, Debug)]
pub(super) enum Media {
    Video(Picture),
    Audio { language: Language, channels: u8 },
    Trick(Picture),
}

/// What pictures look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    pub format: VideoFormat,
    pub size: (u32, u32),
    /// Width : height of a sample.
    pub sample_aspect: (u16, u16),
}

impl Rendition {
    pub fn kind(&self) -> Kind {
        match self.media {
            Media::Video(_) => Kind::Video,
            Media::Audio { .. } => Kind::Audio,
            Media::Trick(_) => Kind::Trick,
        }
    }

    /// Picture size; none for sound.
    pub fn size(&self) -> Option<(u32, u32)> {
        match self.media {
            Media::Video(picture) | Media::Trick(picture) => Some(picture.size),
            Media::Audio { .. } => None,
        }
    }
}

/// All renditions, and how they belong together.
#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    /// As configured, pictures before sound; the trick-play track behind them.
    pub renditions: Vec<Rendition>,
    /// Name of all headers.
    pub init: String,
    /// Pictures in this format are listed first, whatever players decode.
    lead: Option<VideoFormat>,
    /// What the sample entries say, by rendition; none for sound.
    configs: Vec<Option<VideoConfig>>,
}

/// One encoding of the sound in every language: the renditions' places, the default language first.
pub(super) type SoundGroup = Vec<usize>;

impl Catalogue {
    /// What the first segment tells about its renditions.
    pub fn new(config: &Config, layout: &Layout, configs: Vec<Option<VideoConfig>>) -> Self {
        let mut renditions = Vec::with_capacity(configs.len() + 1);
        for (rung, entry) in config.video.iter().zip(&configs) {
            let entry = entry.as_ref().expect("the segmenter finishes no pictures without it");
            let (size, sample_aspect) = (entry.size(), entry.sample_aspect());
            let picture = Picture { format: rung.encoder.format(), size, sample_aspect };
            let init = header(&Track {
                timescale: layout.timescale(Kind::Video).hz(),
                language: *b"und",
                reorder_ticks: Coding::video(layout, rung).reorder_ticks(),
                media: TrackMedia::Video(entry.clone()),
            });
            renditions.push(Rendition {
                id: rung.id.clone(),
                init: init.into(),
                codec: entry.codec(),
                media: Media::Video(picture),
                limit: rung.rate.max_bitrate(),
                bandwidth: Bandwidth::limited(rung.rate.max_bitrate()),
            });
        }
        for rung in &config.audio {
            let language = rung.language.map_or_else(|| Language::of_tag(&config.language), Language::of_code);
            let track = AudioTrack { rate: AUDIO_RATE, channels: rung.channels, bitrate: rung.bitrate };
            let init = header(&Track {
                timescale: layout.timescale(Kind::Audio).hz(),
                language: language.code,
                reorder_ticks: 0,
                media: TrackMedia::Aac(track),
            });
            renditions.push(Rendition {
                id: rung.id.clone(),
                init: init.into(),
                codec: "mp4a.40.2".to_owned(),
                media: Media::Audio { language, channels: rung.channels },
                limit: rung.bitrate,
                bandwidth: Bandwidth::limited(rung.bitrate),
            });
        }
        renditions.extend(trick(config, layout, &renditions, &configs));
        let all = Digest::of_pieces(renditions.iter().map(|r| &r.init));
        // One name for all headers, from the bytes of all: it can be said once for a whole adaptation set, and a header
        // that ever differs has another URL.
        let init = format!("init-{}.mp4", &hex(&all.tag())[..8]);
        Self { renditions, init, lead: None, configs }
    }

    /// Some of the renditions, in this order, pictures in the format of `lead` first.
    pub fn of(&self, places: &[usize], lead: Option<VideoFormat>) -> Self {
        let pick = |&r: &usize| self.renditions.get(r).cloned();
        let renditions = places.iter().filter_map(pick).collect();
        Self { renditions, init: self.init.clone(), lead, configs: Vec::new() }
    }

    /// What the sample entries say, by rendition.
    pub fn configs(&self) -> &[Option<VideoConfig>] {
        &self.configs
    }

    /// In what a segment differs from what players were told; `None` where they can play it.
    pub fn difference(&self, rendition: usize, video: Option<&VideoConfig>) -> Option<String> {
        self.configs.get(rendition)?.as_ref()?.difference(video?)
    }

    /// Notes the bit rates of a published segment: by rendition its bytes, and whether it is the programme.
    pub fn measure(&mut self, layout: &Layout, n: SegmentNumber, sizes: impl Iterator<Item = (usize, bool)>) {
        for (rendition, (bytes, real)) in self.renditions.iter_mut().zip(sizes) {
            let seconds = layout.seconds(rendition.kind(), n);
            rendition.bandwidth.measure(bytes, seconds, real);
        }
    }

    /// Renditions of pictures in one format, in the order of the ladder.
    pub fn pictures(&self, format: VideoFormat) -> impl Iterator<Item = (usize, &Rendition)> {
        let right = move |r: &Rendition| matches!(r.media, Media::Video(p) if p.format == format);
        self.renditions.iter().enumerate().filter(move |(_, r)| right(r))
    }

    /// The formats there are pictures in. What every player decodes comes first, unless it is said otherwise: some begin with the first
    /// one listed.
    pub fn formats(&self) -> impl Iterator<Item = VideoFormat> {
        let mut all = [VideoFormat::H264, VideoFormat::Hevc, VideoFormat::Av1];
        all.sort_by_key(|format| self.lead != Some(*format));
        all.into_iter().filter(|&format| self.pictures(format).next().is_some())
    }

    /// Renditions of sound by language, in the order of the ladder; those of a language by channels, fewest first.
    pub fn languages(&self) -> Vec<(&Language, Vec<usize>)> {
        let mut out: Vec<(&Language, Vec<usize>)> = Vec::new();
        for (r, rendition) in self.renditions.iter().enumerate() {
            let Media::Audio { language, .. } = &rendition.media else { continue };
            match out.iter_mut().find(|(known, _)| *known == language) {
                Some((_, list)) => list.push(r),
                None => out.push((language, vec![r])),
            }
        }
        for (_, list) in &mut out {
            list.sort_by_key(|&r| self.channels(r));
        }
        out
    }

    /// One group for each encoding of the sound. All have the same languages, as RFC 8216bis §4.4.6.1.1 wants it: one that
    /// has fewer encodings than another is in the last groups with the best it has.
    pub fn sound_groups(&self) -> Vec<SoundGroup> {
        let languages = self.languages();
        let encodings = languages.iter().map(|(_, list)| list.len()).max().unwrap_or(0);
        let pick = |k: usize| languages.iter().map(|(_, list)| list[k.min(list.len() - 1)]).collect();
        (0..encodings).map(pick).collect()
    }

    /// Channels of sound; 0 for pictures.
    pub fn channels(&self, rendition: usize) -> u8 {
        match self.renditions[rendition].media {
            Media::Audio { channels, .. } => channels,
            _ => 0,
        }
    }
}

/// The trick-play track: pictures of its source, none of them reordered.
fn trick(config: &Config, layout: &Layout, coded: &[Rendition], configs: &[Option<VideoConfig>]) -> Option<Rendition> {
    let of = trick::source(&config.video)?;
    let Media::Video(picture) = coded[of].media else { return None };
    let names: Vec<RenditionId> = coded.iter().map(|r| r.id.clone()).collect();
    let init = header(&Track {
        timescale: layout.timescale(Kind::Trick).hz(),
        language: *b"und",
        reorder_ticks: 0,
        media: TrackMedia::Video(configs[of].clone()?),
    });
    Some(Rendition {
        id: trick::name(&names),
        init: init.into(),
        codec: coded[of].codec.clone(),
        media: Media::Trick(picture),
        limit: 0,
        // How large a single picture may get nobody limits.
        bandwidth: Bandwidth::measured(),
    })
}
