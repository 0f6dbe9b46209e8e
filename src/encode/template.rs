//! The GStreamer chains as `pipelines/encode.toml` writes them, with a ladder's figures put in.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use super::ipc::Deinterlace;
use super::ladder::{AudioRung, RateControl, VideoEncoder, VideoRung};
use super::registry::{Element, candidates};
use crate::media::{Codec, FrameRate};

/// The template this binary was built with.
pub const BUILT_IN: &str = include_str!("../../pipelines/encode.toml");

/// What may stand in braces in an encoder's chain, and is not a part of the template itself.
const WORDS: [&str; 14] = [
    "preset",
    "speed",
    "lookahead",
    "bframes",
    "crf",
    "kbps",
    "max_kbps",
    "mean_percent",
    "rate_kbps",
    "buffer_kbit",
    "buffer_ms",
    "start_ms",
    "room_ms",
    "asm",
];

/// Presets, slowest first: their place is `{speed}`.
const PRESETS: [&str; 10] =
    ["placebo", "veryslow", "slower", "slow", "medium", "fast", "faster", "veryfast", "superfast", "ultrafast"];

/// Why a template was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Not TOML of this shape.
    #[error("pipeline template")]
    Shape(#[from] toml::de::Error),
    /// A word in braces that nothing is put in for.
    #[error("pipeline template: `{{{word}}}` in `{chain}` means nothing here")]
    Placeholder {
        /// What was in the braces.
        word: String,
        /// The chain it is in.
        chain: String,
    },
    /// An encoder that cannot do what a rung asks for.
    #[error("rendition {rung}: {element} has no {rate} in the pipeline template")]
    Rate {
        /// The rung's id.
        rung: String,
        /// The element.
        element: &'static str,
        /// The rate control.
        rate: &'static str,
    },
}

/// A checked template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    video_decode: HashMap<Codec, String>,
    /// The built-in one where a template of one's own does not say.
    #[serde(default = "Deinterlacers::built_in")]
    deinterlace: Deinterlacers,
    #[serde(default)]
    video_encode: HashMap<Element, VideoEncode>,
    audio_decode: HashMap<Codec, String>,
    audio_encode: AudioEncoder,
    /// The built-in one where a template of one's own does not say.
    #[serde(default = "AudioEncoder::surround")]
    surround_encode: AudioEncoder,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deinterlacers {
    bob: String,
    blend: String,
    top: String,
}

impl Deinterlacers {
    fn built_in() -> Self {
        let built_in: Template = toml::from_str(BUILT_IN).expect("tested: it names all three");
        built_in.deinterlace
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct VideoEncode {
    chain: String,
    normal: String,
    zero_latency: String,
    capped_crf: Option<String>,
    vbr: Option<String>,
    cbr: Option<String>,
}

/// An encoder of sound.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioEncoder {
    /// Its elements.
    pub chain: String,
    /// Samples by which its packets lag behind its input.
    pub delay: u32,
}

impl AudioEncoder {
    fn surround() -> Self {
        let built_in: Template = toml::from_str(BUILT_IN).expect("tested: it names both encoders");
        built_in.surround_encode
    }
}

impl Template {
    /// Reads and checks a template; that its elements exist is seen when a chain is built. Encoders of video that it
    /// leaves out are as built in.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template: Self = toml::from_str(text)?;
        if text != BUILT_IN {
            let built_in: Self = toml::from_str(BUILT_IN)?;
            for (element, encode) in built_in.video_encode {
                template.video_encode.entry(element).or_insert(encode);
            }
        }
        for encode in template.video_encode.values() {
            let parts = [("rate", String::new()), ("delay", String::new())];
            let words = WORDS.map(|word| (word, String::new()));
            substitute(&encode.chain, &[&parts[..], &words[..]].concat())?;
            let rates = [&encode.capped_crf, &encode.vbr, &encode.cbr].into_iter().flatten();
            for part in rates.chain([&encode.normal, &encode.zero_latency]) {
                substitute(part, &words)?;
            }
        }
        for encoder in [&template.audio_encode, &template.surround_encode] {
            substitute(&encoder.chain, &[("bitrate", String::new())])?;
        }
        for chain in template.video_decode.values() {
            substitute(chain, &[("deinterlace", String::new())])?;
        }
        for chain in template.audio_decode.values() {
            substitute(chain, &[])?;
        }
        Ok(template)
    }

    /// The decoder of a video codec, if there is one. `rate` is the output's: [`Deinterlace::Auto`] is `bob` where each field of any
    /// interlaced source has a slot.
    pub fn video_decoder(&self, codec: Codec, deinterlace: Deinterlace, rate: FrameRate) -> Option<String> {
        let fields = match deinterlace {
            Deinterlace::Bob => &self.deinterlace.bob,
            Deinterlace::Blend => &self.deinterlace.blend,
            Deinterlace::Top => &self.deinterlace.top,
            // 24000/1001 is the lowest rate of interlaced video.
            Deinterlace::Auto if rate.as_f64() > 47.9 => &self.deinterlace.bob,
            Deinterlace::Auto => &self.deinterlace.top,
        };
        let chain = self.video_decode.get(&codec)?;
        Some(substitute(chain, &[("deinterlace", fields.clone())]).expect("checked in parse"))
    }

    /// Whether and how a codec is decoded; of video without its deinterlacer.
    pub fn decoder(&self, codec: Codec) -> Option<&str> {
        self.video_decode.get(&codec).or_else(|| self.audio_decode.get(&codec)).map(String::as_str)
    }

    /// The encoder of GOPs of at most `gop` of a video rung; `simd` as [`Simd::detect`] found it.
    pub fn video_encoder(
        &self,
        element: Element,
        rung: &VideoRung,
        gop: Duration,
        simd: Simd,
    ) -> Result<String, TemplateError> {
        let no_rate =
            || TemplateError::Rate { rung: rung.id.to_string(), element: element.as_str(), rate: rung.rate.as_str() };
        let encode = self.video_encode.get(&element).ok_or_else(no_rate)?;
        let rate = match rung.rate {
            RateControl::CappedCrf { .. } => &encode.capped_crf,
            RateControl::Vbr { .. } => &encode.vbr,
            RateControl::Cbr { .. } => &encode.cbr,
        };
        // x265 takes AVX-512 only where it is told to, and is not.
        let simd = if element == Element::X264enc { simd } else { simd.min(Simd::Avx2) };
        let values = values(rung, gop, simd);
        let delay = if rung.zero_latency { &encode.zero_latency } else { &encode.normal };
        let put_in = |text: &str| substitute(text, &values).expect("checked in parse");
        let parts = [("rate", put_in(rate.as_ref().ok_or_else(no_rate)?)), ("delay", put_in(delay))];
        Ok(substitute(&encode.chain, &[&parts[..], &values[..]].concat()).expect("checked in parse"))
    }

    /// Why equal pictures may give unequal bytes on a rung, on one host or on two; nothing where they cannot.
    pub fn doubts(&self, rung: &VideoRung) -> Vec<String> {
        if rung.encoder == VideoEncoder::Auto {
            return vec![
                "`auto` takes hardware where there is some, whose bytes depend on device and driver".to_owned(),
            ];
        }
        candidates(rung.encoder).first().map_or_else(Vec::new, |element| self.doubts_by(*element, rung))
    }

    fn doubts_by(&self, element: Element, rung: &VideoRung) -> Vec<String> {
        // Neither the GOP nor the host changes which options there are.
        let Ok(chain) = self.video_encoder(element, rung, Duration::from_secs(1), Simd::Avx2) else {
            return Vec::new();
        };
        let has =
            |option: &str| chain.split([' ', ':']).any(|word| word.trim_start_matches("option-string=") == option);
        let mut doubts = Vec::new();
        match element {
            Element::X264enc => {
                if !has("threads=1") {
                    doubts.push("x264 with more than one thread below a cap gives other bytes on each run".to_owned());
                }
                let held = chain.contains(":asm=") || has("asm=AVX2");
                if !held && Simd::Avx512.for_rung(rung) != Simd::Avx512 {
                    doubts.push(
                        "x264's AVX-512 code gives other bytes on each run at widths that are no multiple of 128, or than \
                         AVX2 does, and no asm= keeps it from there"
                            .to_owned(),
                    );
                }
            }
            Element::X265enc if !has("frame-threads=1") || !has("pools=none") => {
                doubts.push("x265 with more than one thread below a cap gives other bytes on each run".to_owned());
            }
            Element::Av1enc if !has("threads=1") => {
                doubts.push("libaom with more than one thread has not been measured".to_owned());
            }
            Element::SvtAv1enc => doubts.push("SVT-AV1 has not been measured".to_owned()),
            Element::X265enc | Element::Av1enc => {}
            _ => doubts.push(format!("{} is hardware: its bytes depend on device and driver", element.as_str())),
        }
        doubts
    }

    /// The encoder of an audio rung.
    pub fn audio_encoder(&self, rung: &AudioRung) -> AudioEncoder {
        let encoder = if rung.channels > 2 { &self.surround_encode } else { &self.audio_encode };
        let chain = substitute(&encoder.chain, &[("bitrate", rung.bitrate.to_string())]).expect("checked in parse");
        AudioEncoder { chain, delay: encoder.delay }
    }
}

/// What fills the decoder's buffer of a GOP under a cap, kbit/s, and the buffer's size, kbit: x264's `vbv-maxrate` and `vbv-bufsize`.
pub fn vbv(rate: RateControl, gop: Duration) -> (u64, u64) {
    let vbv = Vbv::of(rate, u64::try_from(gop.as_millis()).unwrap_or(u64::MAX));
    (vbv.rate / 1000, vbv.rate / 1000 * vbv.buffer_ms() / 1000)
}

/// What is put in for [`WORDS`].
fn values(rung: &VideoRung, gop: Duration, simd: Simd) -> [(&'static str, String); WORDS.len()] {
    let (mean, cap) = (u64::from(rung.rate.bitrate()), u64::from(rung.rate.max_bitrate()));
    let crf = match rung.rate {
        RateControl::CappedCrf { crf, .. } => crf,
        _ => 0.0,
    };
    let gop_ms = u64::try_from(gop.as_millis()).unwrap_or(u64::MAX);
    let vbv = Vbv::of(rung.rate, gop_ms);
    // x264enc knows no cap but the mean.
    let room = Vbv::with_rate(mean, cap, gop_ms).buffer_ms().min(10_000);
    let speed = PRESETS.iter().position(|preset| *preset == rung.preset).unwrap_or(7);
    let values = [
        rung.preset.clone(),
        speed.to_string(),
        rung.lookahead.to_string(),
        rung.bframes.to_string(),
        crf.to_string(),
        (mean / 1000).to_string(),
        (cap / 1000).to_string(),
        (mean * 100 / cap.max(1)).to_string(),
        (vbv.rate / 1000).to_string(),
        (vbv.buffer / 1000).to_string(),
        vbv.buffer_ms().to_string(),
        (vbv.buffer_ms() * 9 / 10).to_string(),
        room.to_string(),
        simd.option().to_owned(),
    ];
    let mut values = values.into_iter();
    WORDS.map(|word| (word, values.next().expect("as many values as words")))
}

/// The decoder's buffer (VBV) of a GOP: nine tenths full when it begins, and filled at `rate`.
///
/// Each GOP begins with the same buffer, whatever the one before it left there, so what is in it comes on top of the rate, GOP by GOP. With
/// a buffer of two seconds of the cap, as for a stream without end, noise came to 1.9 times its cap for as long as it lasted. So the
/// two together stay within the cap here: rate × GOP + 9/10 × buffer = cap × GOP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vbv {
    /// Bits a second.
    rate: u64,
    /// Bits.
    buffer: u64,
}

impl Vbv {
    /// Three quarters of the cap come as rate, the best of 40 % to 80 % on two natural clips (docs/encoders.md).
    fn of(rate: RateControl, gop_ms: u64) -> Self {
        let cap = u64::from(rate.max_bitrate());
        match rate {
            RateControl::CappedCrf { .. } => Self::with_rate(cap * 3 / 4, cap, gop_ms),
            RateControl::Vbr { bitrate, .. } => Self::with_rate(u64::from(bitrate).max(cap * 3 / 4), cap, gop_ms),
            RateControl::Cbr { .. } => Self::with_rate(cap, cap, gop_ms),
        }
    }

    /// What the rate leaves of the cap; but no less than a quarter of a GOP, or an IDR picture has no room.
    fn with_rate(rate: u64, cap: u64, gop_ms: u64) -> Self {
        let left = cap.saturating_sub(rate) * gop_ms / 900;
        Self { rate, buffer: left.max(rate * gop_ms / 4000) }
    }

    fn buffer_ms(self) -> u64 {
        self.buffer * 1000 / self.rate.max(1)
    }
}

/// Puts `values` in for `{words}`.
fn substitute(chain: &str, values: &[(&str, String)]) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(chain.len());
    let mut rest = chain;
    while let Some((before, after)) = rest.split_once('{') {
        let (word, closed) = after.split_once('}').map_or((after, None), |(word, rest)| (word, Some(rest)));
        let value = values.iter().find(|(name, _)| *name == word);
        let (Some((_, value)), Some(after)) = (value, closed) else {
            return Err(TemplateError::Placeholder { word: word.to_owned(), chain: chain.to_owned() });
        };
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The instruction set x264 works with. Its output is equal for SSE4.2, AVX and AVX2, and different below. Its AVX-512 code
/// gives other bytes for some pictures: the same ones on each run where a row of macroblocks is a multiple of eight; elsewhere it reads memory it
/// never wrote, and bytes depend on the heap's history (docs/encode.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simd {
    /// Whatever x264 finds.
    Host,
    /// x86-64 with SSE4.2.
    Sse42,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with those parts of AVX-512 that x264 uses.
    Avx512,
}

/// Widths at which x264's AVX-512 code reads nothing but what it wrote: whole groups of eight macroblocks.
const AVX512_WIDTHS: u32 = 128;

impl Simd {
    /// What this host has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl") {
                return Self::Avx512;
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
            if std::arch::is_x86_feature_detected!("sse4.2") {
                return Self::Sse42;
            }
        }
        Self::Host
    }

    /// What a rung is encoded with on a host that has this: the most that gives the same bytes on each run here, and, if
    /// the rung is portable, on every host.
    #[must_use]
    pub fn for_rung(self, rung: &VideoRung) -> Self {
        let repeats = rung.width.is_multiple_of(AVX512_WIDTHS) && !rung.portable;
        if repeats { self } else { self.min(Self::Avx2) }
    }

    /// For [`Hello`](super::ipc::Hello).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Sse42 => "sse4.2",
            Self::Host => "host",
        }
    }

    /// What holds an encoder there, as the tail of an option string.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Avx2 => ":asm=AVX2",
            Self::Sse42 => ":asm=SSE4.2",
            // x264 takes all it finds.
            Self::Avx512 | Self::Host => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ladder;
    use crate::media::RenditionId;
    use std::path::Path;

    fn rung(rate: RateControl) -> VideoRung {
        VideoRung::new(RenditionId::new("v").expect("a name"), 640, 360, rate)
    }

    const CRF: RateControl = RateControl::CappedCrf { crf: 23.0, max_bitrate: 3_000_000 };
    const VBR: RateControl = RateControl::Vbr { bitrate: 2_000_000, max_bitrate: 3_000_000 };
    const CBR: RateControl = RateControl::Cbr { bitrate: 2_000_000 };
    const GOP: Duration = Duration::from_secs(2);

    #[test]
    fn the_built_in_template_is_good_and_takes_the_ladders_figures() {
        let template = Template::parse(BUILT_IN).expect("good");
        let text = include_str!("../../pipelines/ladders/720p25.toml");
        let ladder = Ladder::parse(Path::new("720p25.toml"), text).expect("good");
        let chain = template.video_encoder(Element::X264enc, &ladder.video[0], GOP, Simd::Avx2).expect("there");
        for part in [
            "speed-preset=veryfast",
            "bitrate=2250 ",
            "quantizer=23 ",
            "option-string=scenecut=0:zones=0,0,b=1.6:asm=AVX2",
        ] {
            assert!(chain.contains(part), "{part} in {chain}");
        }
        let stereo = AudioEncoder { chain: "voaacenc bitrate=128000".to_owned(), delay: 1600 };
        assert_eq!(template.audio_encoder(&ladder.audio[0]), stereo);
        let surround = AudioRung { channels: 6, bitrate: 384_000, ..ladder.audio[0].clone() };
        let encoder = template.audio_encoder(&surround);
        assert!(encoder.chain.ends_with("avenc_aac bitrate=384000"), "{encoder:?}");
        let own = BUILT_IN.split("[surround_encode]").next().expect("the first part");
        assert_eq!(Template::parse(own).expect("good").audio_encoder(&surround), encoder, "of a template without one");
        for codec in [Codec::H264, Codec::Hevc, Codec::Mpeg2Video, Codec::AacAdts, Codec::AacLatm] {
            assert!(template.decoder(codec).is_some(), "{codec:?}");
        }
        assert_eq!(template.decoder(Codec::Other(6)), None);
    }

    #[test]
    fn each_rate_control_has_its_figures() {
        let template = Template::parse(BUILT_IN).expect("good");
        let fractional = RateControl::CappedCrf { crf: 27.5, max_bitrate: 3_000_000 };
        for (name, element, rate, parts) in [
            ("x264 crf", Element::X264enc, CRF, &["pass=qual quantizer=23 bitrate=2250 vbv-buf-capacity=740 "][..]),
            // (3 − 2) Mb/s for 2 s above nine tenths of 1,111 ms of 2 Mb/s.
            ("x264 vbr", Element::X264enc, VBR, &["pass=cbr bitrate=2000 vbv-buf-capacity=1111 "]),
            ("x264 cbr", Element::X264enc, CBR, &["pass=cbr bitrate=2000 vbv-buf-capacity=500 "]),
            ("x265 crf", Element::X265enc, fractional, &[":crf=27.5:vbv-maxrate=2250:vbv-bufsize=1666:asm=AVX2"]),
            ("x265 vbr", Element::X265enc, VBR, &[":bitrate=2000:vbv-maxrate=2250:vbv-bufsize=1666"]),
            ("x265 cbr", Element::X265enc, CBR, &[":bitrate=2000:vbv-maxrate=2000:vbv-bufsize=1000"]),
            ("aom crf", Element::Av1enc, CRF, &["target-bitrate=2250 min-quantizer=23 buf-sz=740", "cpu-used=7"]),
            ("nvenc vbr", Element::Nvh264enc, VBR, &["bitrate=2000 max-bitrate=3000", "bframes=0"]),
            ("va vbr", Element::Vah264enc, VBR, &["bitrate=3000 target-percentage=66"]),
        ] {
            let chain = template.video_encoder(element, &rung(rate), GOP, Simd::Avx2).expect(name);
            for part in parts {
                assert!(chain.contains(part), "{name}: {part} in {chain}");
            }
            assert!(!chain.contains(['{', '}']), "{name}: {chain}");
        }
        let none = template.video_encoder(Element::Av1enc, &rung(VBR), GOP, Simd::Avx2).expect_err("it has none");
        assert_eq!(none.to_string(), "rendition v: av1enc has no vbr in the pipeline template");
    }

    #[test]
    fn a_gop_stays_within_its_cap_whatever_is_in_the_buffer() {
        for (name, rate, gop_ms, over) in [
            ("crf", CRF, 2000, 0),
            ("short GOPs", CRF, 250, 0),
            ("vbr", VBR, 2000, 0),
            // 9/10 of a quarter of a GOP.
            ("cbr", CBR, 2000, 225),
        ] {
            let (vbv, cap) = (Vbv::of(rate, gop_ms), u64::from(rate.max_bitrate()));
            let most = vbv.rate * gop_ms / 1000 + vbv.buffer * 9 / 10;
            assert!(most <= cap * gop_ms * (1000 + over) / 1_000_000, "{name}: {most}");
            assert!(most * 100 >= cap * gop_ms / 1000 * 99, "{name}: {most} leaves some of the cap unused");
        }
    }

    #[test]
    fn fields_become_pictures_as_the_channel_wants() {
        let template = Template::parse(BUILT_IN).expect("good");
        for (deinterlace, rate, want) in [
            (Deinterlace::Auto, "25", "linear fields=top"),
            (Deinterlace::Auto, "29.97", "linear fields=top"),
            (Deinterlace::Auto, "50", "linear fields=all"),
            (Deinterlace::Auto, "59.94", "linear fields=all"),
            (Deinterlace::Bob, "25", "linear fields=all"),
            (Deinterlace::Blend, "25", "linearblend fields=top"),
            (Deinterlace::Top, "50", "linear fields=top"),
        ] {
            let rate = FrameRate::parse(rate).expect("good rate");
            for codec in [Codec::H264, Codec::Hevc, Codec::Mpeg2Video] {
                let chain = template.video_decoder(codec, deinterlace, rate).expect("decodable");
                assert!(chain.ends_with(want), "{deinterlace:?} at {rate}: {chain}");
            }
            assert_eq!(template.video_decoder(Codec::AacAdts, deinterlace, rate), None);
        }
    }

    #[test]
    fn without_latency_nothing_is_looked_ahead_at() {
        let template = Template::parse(BUILT_IN).expect("good");
        let rung = VideoRung { zero_latency: true, ..rung(CRF) };
        for (element, parts) in [
            (Element::X264enc, ["threads=1", "rc-lookahead=0 bframes=0 mb-tree=false sliced-threads=false"]),
            (Element::X265enc, ["frame-threads=1", ":rc-lookahead=0:bframes=0:b-adapt=0:cutree=0:"]),
        ] {
            let chain = template.video_encoder(element, &rung, GOP, Simd::Avx2).expect("there");
            for part in parts {
                assert!(chain.contains(part), "{part} in {chain}");
            }
        }
    }

    #[test]
    fn avx512_is_for_x264_at_widths_where_it_repeats_itself() {
        let template = Template::parse(BUILT_IN).expect("good");
        let good = rung(CRF);
        let odd = VideoRung { width: 854, ..good.clone() };
        let portable = VideoRung { portable: true, ..good.clone() };
        for (name, host, rung, want, option) in [
            ("a good width", Simd::Avx512, &good, Simd::Avx512, ""),
            ("another width", Simd::Avx512, &odd, Simd::Avx2, ":asm=AVX2"),
            ("for any host", Simd::Avx512, &portable, Simd::Avx2, ":asm=AVX2"),
            ("an older host", Simd::Sse42, &good, Simd::Sse42, ":asm=SSE4.2"),
            ("no x86", Simd::Host, &portable, Simd::Host, ""),
        ] {
            let simd = host.for_rung(rung);
            assert_eq!(simd, want, "{name}");
            let chain = template.video_encoder(Element::X264enc, rung, GOP, simd).expect("there");
            assert!(chain.ends_with(&format!(":zones=0,0,b=1.6{option}")), "{name}: {chain}");
        }
        let x265 = template.video_encoder(Element::X265enc, &good, GOP, Simd::Avx512).expect("there");
        assert!(x265.contains(":asm=AVX2"), "{x265}");
    }

    #[test]
    fn what_cannot_promise_equal_bytes_is_known() {
        let odd = VideoRung { width: 854, ..rung(CRF) };
        let portable = VideoRung { portable: true, ..rung(CRF) };
        let threaded = BUILT_IN.replace("threads=1 sync-lookahead", "threads=2 sync-lookahead");
        let pooled = BUILT_IN.replace("pools=none:", "");
        let free = BUILT_IN.replace("key-int-max=600 {rate}{asm}", "key-int-max=600 {rate}");
        for (name, text, element, rung, want) in [
            ("x264", BUILT_IN, Element::X264enc, &odd, ""),
            ("x265", BUILT_IN, Element::X265enc, &odd, ""),
            ("libaom", BUILT_IN, Element::Av1enc, &odd, ""),
            ("threads", &threaded, Element::X264enc, &rung(CRF), "more than one thread"),
            ("a pool", &pooled, Element::X265enc, &rung(CRF), "more than one thread"),
            ("any instruction set", &free, Element::X264enc, &odd, "no asm= keeps it"),
            ("any, at a good width", &free, Element::X264enc, &rung(CRF), ""),
            ("any, for any host", &free, Element::X264enc, &portable, "no asm= keeps it"),
            ("SVT-AV1", BUILT_IN, Element::SvtAv1enc, &rung(CRF), "not been measured"),
            ("hardware", BUILT_IN, Element::Vah264enc, &rung(CRF), "hardware"),
        ] {
            let doubts = Template::parse(text).expect(name).doubts_by(element, rung);
            assert_eq!(doubts.is_empty(), want.is_empty(), "{name}: {doubts:?}");
            assert!(doubts.iter().all(|doubt| doubt.contains(want)), "{name}: {doubts:?}");
        }
    }

    #[test]
    fn what_a_template_leaves_out_is_as_built_in() {
        let without = BUILT_IN.split_once("[video_encode.x265enc]").expect("is there");
        let (_, behind) = without.1.split_once("[audio_decode]").expect("is there");
        let template = Template::parse(&format!("{}[audio_decode]{behind}", without.0)).expect("good");
        assert!(template.video_encoder(Element::X265enc, &rung(CBR), GOP, Simd::Host).is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        let swapped = BUILT_IN.replace("{crf}", "{quality}");
        assert!(matches!(Template::parse(&swapped), Err(TemplateError::Placeholder { word, .. }) if word == "quality"));
        let open = BUILT_IN.replace("{bitrate}", "{bitrate");
        assert!(matches!(Template::parse(&open), Err(TemplateError::Placeholder { word, .. }) if word == "bitrate"));
        let nested = BUILT_IN.replace("pass=qual", "pass=qual {rate}");
        assert!(matches!(Template::parse(&nested), Err(TemplateError::Placeholder { word, .. }) if word == "rate"));
        assert!(matches!(Template::parse("[video]\n"), Err(TemplateError::Shape(_))));
    }
}
