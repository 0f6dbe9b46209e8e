//! Ladder files: TOML, one file a ladder, kept in `pipelines/ladders/`.

use std::collections::BTreeSet;
use std::path::Path;

use super::Ladder;
use super::document::{Document, Mark, Span};
use super::file::{AudioRungFile, EncoderFile, LadderFile, Preset, Profile, RateControlFile, VideoRungFile};
use super::report::Report;
use super::units::{self, BitRate};
use crate::encode::ladder::{AudioRung, RateControl, VideoEncoder, VideoFormat, VideoRung};
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
            if video.is_empty() && audio.is_empty() {
                let mend = "add a [[video]] with id, size and max_bitrate, or an [[audio]] for sound alone";
                document.missing(&(0..0), "video", mend);
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
            auto: false,
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
    if let Some(size) = size {
        picture_size(document, size, (64, 64), (WIDTH_MAX, HEIGHT_MAX));
    }
    let encoder = encoder(rung);
    let rate = rate_control(document, span, rung, encoder);
    let (bframes, lookahead) = looks(document, rung, encoder);
    let profile = profile(document, rung, encoder);
    let gops = few(document, rung.gops.as_ref(), "GOPs a segment");
    let chains = few(document, rung.chains.as_ref(), "chains at once");
    if let Some(chains) = rung.chains.as_ref().filter(|chains| chains.value > 1 && rung.zero_latency) {
        document.mistake(&chains.span, "several chains need a GOP of latency", "leave it out, or zero_latency = false");
    }
    let size = size?.value;
    Some(VideoRung {
        encoder,
        preset: rung.preset.as_ref().map_or(Preset::Veryfast, |p| p.value).as_str().to_owned(),
        bframes,
        lookahead,
        profile: profile.as_str().to_owned(),
        zero_latency: rung.zero_latency,
        portable: false,
        gops,
        chains,
        ..VideoRung::new(id?, size.width, size.height, rate?)
    })
}

fn encoder(rung: &VideoRungFile) -> VideoEncoder {
    match rung.encoder.as_ref().map_or(EncoderFile::X264, |encoder| encoder.value) {
        EncoderFile::Auto => VideoEncoder::Auto,
        EncoderFile::X264 => VideoEncoder::X264,
        EncoderFile::X265 => VideoEncoder::X265,
        EncoderFile::Aom => VideoEncoder::Aom,
        EncoderFile::SvtAv1 => VideoEncoder::SvtAv1,
        EncoderFile::Vaapi => VideoEncoder::Vaapi,
        EncoderFile::Nvenc => VideoEncoder::Nvenc,
        EncoderFile::Qsv => VideoEncoder::Qsv,
        EncoderFile::V4l2 => VideoEncoder::V4l2,
    }
}

fn rate_control(
    document: &mut Document<'_>,
    span: &Span,
    rung: &VideoRungFile,
    encoder: VideoEncoder,
) -> Option<RateControl> {
    for rate in [&rung.bitrate, &rung.max_bitrate].into_iter().flatten() {
        bitrate_within(document, rate, 50_000, 100_000_000);
    }
    let kind = rung.rate_control.as_ref().map_or(RateControlFile::CappedCrf, |kind| kind.value);
    let has_cap = kind != RateControlFile::Cbr;
    let cap = match &rung.max_bitrate {
        None if has_cap => {
            let mend = "add max_bitrate = \"3Mbps\", or what the rendition may cost at most";
            document.missing(span, "max_bitrate", mend);
            None
        }
        Some(cap) if !has_cap => {
            document.mistake(&cap.span, "a constant rate has no other cap", "leave it out: bitrate says it");
            None
        }
        cap => cap.as_ref().map(|cap| cap.value.0),
    };
    let has_mean = kind != RateControlFile::CappedCrf;
    let mean = match &rung.bitrate {
        None if has_mean => {
            document.missing(span, "bitrate", "add bitrate = \"2Mbps\", or what the rendition is to cost");
            None
        }
        Some(mean) if !has_mean => {
            let mend = "leave it out, or add rate_control = \"vbr\" or \"cbr\"";
            document.mistake(&mean.span, "where quality decides there is no mean to ask for", mend);
            None
        }
        mean => mean.as_ref().map(|mean| mean.value.0),
    };
    if let (Some(mean_mark), Some(mean), Some(cap)) = (&rung.bitrate, mean, cap)
        && mean > cap
    {
        document.mistake(&mean_mark.span, "the mean is above the cap", "write at most what max_bitrate says");
    }
    let crf = crf(document, rung, encoder, kind);
    unknown_to(document, rung, encoder, kind);
    Some(match kind {
        RateControlFile::CappedCrf => RateControl::CappedCrf { crf, max_bitrate: cap? },
        RateControlFile::Vbr => RateControl::Vbr { bitrate: mean?, max_bitrate: cap? },
        RateControlFile::Cbr => RateControl::Cbr { bitrate: mean? },
    })
}

fn crf(document: &mut Document<'_>, rung: &VideoRungFile, encoder: VideoEncoder, kind: RateControlFile) -> f32 {
    let Some(crf) = &rung.crf else { return 23.0 };
    if kind != RateControlFile::CappedCrf {
        let mend = "leave it out, or write rate_control = \"capped-crf\"";
        document.mistake(&crf.span, "here the bit rate decides, not quality", mend);
        return crf.value;
    }
    let most = if encoder.format() == VideoFormat::Av1 { 63.0 } else { 51.0 };
    // GStreamer's elements take whole numbers; x265's own option string takes any.
    let whole = encoder != VideoEncoder::X265;
    if !(0.0..=most).contains(&crf.value) || whole && crf.value.fract() != 0.0 {
        let numbers = if whole { "whole numbers" } else { "numbers" };
        let mend = format!("{numbers} from 0 to {most} are possible");
        document.mistake(&crf.span, format!("{} is no rate factor", crf.value), mend);
    }
    crf.value
}

/// Rate controls an encoder does not have.
fn unknown_to(document: &mut Document<'_>, rung: &VideoRungFile, encoder: VideoEncoder, kind: RateControlFile) {
    let Some(mark) = &rung.rate_control else { return };
    let (wrong, mend) = match (encoder, kind) {
        (VideoEncoder::Aom, RateControlFile::Vbr) => {
            ("libaom knows no cap beside a mean", "write \"capped-crf\" or \"cbr\"")
        }
        (VideoEncoder::SvtAv1, RateControlFile::Cbr) => {
            ("SVT-AV1 has no constant rate", "write \"capped-crf\" or \"vbr\"")
        }
        _ => return,
    };
    document.mistake(&mark.span, wrong, mend);
}

/// B-frames and frames of look-ahead.
fn looks(document: &mut Document<'_>, rung: &VideoRungFile, encoder: VideoEncoder) -> (u32, u32) {
    let reorders = matches!(encoder, VideoEncoder::X264 | VideoEncoder::X265);
    let baseline = rung.profile.as_ref().is_some_and(|p| p.value == Profile::Baseline);
    let usual = if baseline || !reorders || rung.zero_latency { 0 } else { 2 };
    let bframes = rung.bframes.as_ref().map_or(usual, |b| {
        number_within(document, &b.span, b.value, 3);
        let none = match () {
            // ITU-T H.264 §A.2.1.
            () if baseline => Some(("profile baseline has no B-frames", "write 0, or profile = \"main\"")),
            () if rung.zero_latency => {
                Some(("a B-frame waits for the one behind it", "write 0, or zero_latency = false"))
            }
            () if !reorders => Some(("this encoder is not asked for B-frames", "write 0, or leave it out")),
            () => None,
        };
        if let Some((wrong, mend)) = none.filter(|_| b.value > 0) {
            document.mistake(&b.span, wrong, mend);
        }
        b.value
    });
    let usual = if rung.zero_latency { 0 } else { 10 };
    let lookahead = rung.lookahead.as_ref().map_or(usual, |l| {
        number_within(document, &l.span, l.value, 60);
        if rung.zero_latency && l.value > 0 {
            document.mistake(&l.span, "looking ahead is waiting", "write 0, or zero_latency = false");
        }
        if encoder == VideoEncoder::X265 && !rung.zero_latency && l.value <= bframes {
            let mend = format!("write {} at least, or zero_latency = true", bframes + 1);
            document.mistake(&l.span, "x265 looks further ahead than its B-frames", mend);
        }
        l.value
    });
    (bframes, lookahead)
}

fn profile(document: &mut Document<'_>, rung: &VideoRungFile, encoder: VideoEncoder) -> Profile {
    let usual = if encoder.format() == VideoFormat::H264 { Profile::High } else { Profile::Main };
    rung.profile.as_ref().map_or(usual, |profile| {
        if encoder.format() != VideoFormat::H264 && profile.value != Profile::Main {
            document.mistake(
                &profile.span,
                "HEVC and AV1 are coded in profile main",
                "write \"main\", or leave it out",
            );
        }
        profile.value
    })
}

/// 1 to 8, 1 where not said.
fn few(document: &mut Document<'_>, number: Option<&Mark<u8>>, what: &str) -> u8 {
    number.map_or(1, |number| {
        if !(1..=8).contains(&number.value) {
            document.mistake(&number.span, format!("{} {what}", number.value), "1 to 8 are possible");
        }
        number.value
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

/// Largest first among those of one format: the multivariant playlist lists renditions so, and the first one listed is the one judged
/// best.
fn order(document: &mut Document<'_>, above: &VideoRungFile, rung: &VideoRungFile) {
    let (Some(a), Some(r)) = (&above.size, &rung.size) else { return };
    if encoder(above).format() != encoder(rung).format() {
        return;
    }
    let area = |s: units::Size| u64::from(s.width) * u64::from(s.height);
    let cap = |rung: &VideoRungFile| rung.max_bitrate.as_ref().or(rung.bitrate.as_ref()).map(|rate| rate.value.0);
    let rates = cap(above).zip(cap(rung));
    let equal_but_richer = area(a.value) == area(r.value) && rates.is_some_and(|(a, r)| a < r);
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
