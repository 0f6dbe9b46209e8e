//! Ladder files: TOML, one file a ladder, kept in `pipelines/ladders/`.

use std::collections::BTreeSet;
use std::path::Path;

use super::Ladder;
use super::document::{Document, Mark, Span};
use super::file::{AudioRungFile, LadderFile, Preset, Profile, VideoRungFile};
use super::report::Report;
use super::units::{self, BitRate};
use crate::encode::ladder::{AudioRung, RateControl, VideoRung};
use crate::media::{RenditionId, terminological};

/// Renditions of one ladder. Each costs an encoder; nobody needs more.
const RUNGS_MAX: usize = 16;
/// Largest picture: what H.264 level 5.2 decoders take.
const WIDTH_MAX: u32 = 4096;
const HEIGHT_MAX: u32 = 2304;

impl Ladder {
    /// Reads and checks a ladder's text; `file` is what mistakes call it.
    ///
    /// # Errors
    /// All mistakes of the text.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Report> {
        let mut document = Document::parse(&file.display().to_string(), text);
        let read: LadderFile = document.read();
        let mut ids = BTreeSet::new();
        let video: Vec<_> = read.video.iter().map(|rung| video_rung(&mut document, rung, &mut ids)).collect();
        let audio: Vec<_> = read.audio.iter().map(|rung| audio_rung(&mut document, rung, &mut ids)).collect();
        if document.is_well_formed() {
            if video.is_empty() {
                document.missing(&(0..0), "video", "add a [[video]] with id, size and max_bitrate");
            }
            for (above, rung) in read.video.iter().zip(read.video.iter().skip(1)) {
                order(&mut document, &above.value, &rung.value);
            }
            if video.len() + audio.len() > RUNGS_MAX {
                document.mistake(&(0..0), "too many renditions", format!("{RUNGS_MAX} are possible, video and audio"));
            }
        }
        let report = document.into_report();
        if !report.is_empty() {
            return Err(report);
        }
        Ok(Self {
            file: file.to_owned(),
            video: video.into_iter().flatten().collect(),
            audio: audio.into_iter().flatten().collect(),
        })
    }
}

fn video_rung(
    document: &mut Document<'_>,
    rung: &Mark<VideoRungFile>,
    ids: &mut BTreeSet<String>,
) -> Option<VideoRung> {
    let (span, rung) = (&rung.span, &rung.value);
    let id = rendition_id(document, span, rung.id.as_ref(), ids);
    let size = rung.size.as_ref().or_else(|| {
        document.missing(span, "size", "add size = \"1280x720\", or what the rendition is to have");
        None
    });
    let bitrate = rung.max_bitrate.as_ref().or_else(|| {
        document.missing(span, "max_bitrate", "add max_bitrate = \"3Mbps\", or what the rendition may cost at most");
        None
    });
    if let Some(size) = size {
        picture_size(document, size, (64, 64), (WIDTH_MAX, HEIGHT_MAX));
    }
    if let Some(rate) = bitrate {
        bitrate_within(document, rate, 50_000, 100_000_000);
    }
    let crf = rung.crf.as_ref().map_or(23.0, |crf| {
        if !(0.0..=51.0).contains(&crf.value) || crf.value.fract() != 0.0 {
            document.mistake(
                &crf.span,
                format!("{} is no rate factor", crf.value),
                "whole numbers from 0 to 51 are possible",
            );
        }
        crf.value
    });
    let profile = rung.profile.as_ref().map_or(Profile::High, |p| p.value);
    let bframes = rung.bframes.as_ref().map_or(if profile == Profile::Baseline { 0 } else { 2 }, |b| {
        number_within(document, &b.span, b.value, 3);
        if profile == Profile::Baseline && b.value > 0 {
            // ITU-T H.264 §A.2.1.
            document.mistake(&b.span, "profile baseline has no B-frames", "write 0, or profile = \"main\"");
        }
        b.value
    });
    let lookahead = rung.lookahead.as_ref().map_or(10, |l| {
        number_within(document, &l.span, l.value, 60);
        l.value
    });
    let size = size?.value;
    let rate = RateControl::CappedCrf { crf, max_bitrate: bitrate?.value.0 };
    Some(VideoRung {
        preset: rung.preset.as_ref().map_or(Preset::Veryfast, |p| p.value).as_str().to_owned(),
        bframes,
        lookahead,
        profile: profile.as_str().to_owned(),
        ..VideoRung::new(id?, size.width, size.height, rate)
    })
}

fn audio_rung(
    document: &mut Document<'_>,
    rung: &Mark<AudioRungFile>,
    ids: &mut BTreeSet<String>,
) -> Option<AudioRung> {
    let (span, rung) = (&rung.span, &rung.value);
    let id = rendition_id(document, span, rung.id.as_ref(), ids);
    let channels = rung.channels.as_ref().map_or(2, |channels| {
        if ![1, 2, 6].contains(&channels.value) {
            document.mistake(&channels.span, format!("{} channels", channels.value), "1, 2 and 6 (5.1) are possible");
        }
        channels.value
    });
    let (usual, most) = if channels == 6 { (384_000, 640_000) } else { (128_000, 320_000) };
    let bitrate = rung.bitrate.as_ref().map_or(usual, |rate| {
        bitrate_within(document, rate, 32_000, most);
        rate.value.0
    });
    let language = rung.language.as_ref().and_then(|language| {
        let code = <[u8; 3]>::try_from(language.value.as_bytes()).ok();
        let code = code.filter(|code| code.iter().all(u8::is_ascii_lowercase));
        if code.is_none() {
            document.mistake(
                &language.span,
                format!("`{}` is no language", language.value),
                "write its code of ISO 639-2, as in \"deu\"",
            );
        }
        code.map(terminological)
    });
    Some(AudioRung { id: id?, bitrate, channels, language })
}

/// Largest first: the multivariant playlist lists renditions so, and the first one listed is the one judged best.
fn order(document: &mut Document<'_>, above: &VideoRungFile, rung: &VideoRungFile) {
    let (Some(a), Some(r)) = (&above.size, &rung.size) else { return };
    let area = |s: units::Size| u64::from(s.width) * u64::from(s.height);
    let rates = above.max_bitrate.as_ref().zip(rung.max_bitrate.as_ref());
    let equal_but_richer = area(a.value) == area(r.value) && rates.is_some_and(|(a, r)| a.value.0 < r.value.0);
    if area(a.value) < area(r.value) || equal_but_richer {
        document.mistake(&r.span, "is larger than the rendition above it", "list renditions from the largest down");
    }
}

fn rendition_id(
    document: &mut Document<'_>,
    rung: &Span,
    id: Option<&Mark<String>>,
    ids: &mut BTreeSet<String>,
) -> Option<RenditionId> {
    let Some(id) = id else {
        document.missing(rung, "id", "add id = \"v720\", or another name for URLs");
        return None;
    };
    if !ids.insert(id.value.clone()) {
        document.mistake(&id.span, "another rendition has this id", "give each its own; it is part of the URL");
    }
    RenditionId::new(&id.value).map_err(|error| document.refuse(&id.span, &error)).ok()
}

/// Even, and within the limits.
pub(super) fn picture_size(document: &mut Document<'_>, size: &Mark<units::Size>, min: (u32, u32), max: (u32, u32)) {
    let units::Size { width, height } = size.value;
    if width % 2 != 0 || height % 2 != 0 {
        let mend = format!("write {}x{}", width - width % 2, height - height % 2);
        document.mistake(&size.span, "width and height must be even (4:2:0 has half as much colour)", mend);
    }
    if !(min.0..=max.0).contains(&width) || !(min.1..=max.1).contains(&height) {
        let mend = format!("{}x{} to {}x{} are possible", min.0, min.1, max.0, max.1);
        document.mistake(&size.span, format!("a picture of {width}x{height}"), mend);
    }
}

/// Within the limits, bits a second.
pub(super) fn bitrate_within(document: &mut Document<'_>, rate: &Mark<BitRate>, min: u32, max: u32) {
    if !(min..=max).contains(&rate.value.0) {
        let [is, min, max] = [rate.value.0, min, max].map(|bits| units::spell_bitrate(bits.into()));
        document.mistake(&rate.span, format!("a bit rate of {is}"), format!("{min} to {max} are possible"));
    }
}

fn number_within(document: &mut Document<'_>, span: &Span, number: u32, max: u32) {
    if number > max {
        document.mistake(span, format!("{number} is too many"), format!("0 to {max} are possible"));
    }
}
