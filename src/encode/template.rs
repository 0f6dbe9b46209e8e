//! The GStreamer chains as `pipelines/encode.toml` writes them, with a ladder's figures put in.

use std::collections::HashMap;

use serde::Deserialize;

use super::ipc::Deinterlace;
use super::ladder::{AudioRung, RateControl, VideoRung};
use crate::media::{Codec, FrameRate};

/// The template this binary was built with.
pub const BUILT_IN: &str = include_str!("../../pipelines/encode.toml");

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
}

/// A checked template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    video_decode: HashMap<Codec, String>,
    deinterlace: Deinterlacers,
    video_encode: VideoEncode,
    audio_decode: HashMap<Codec, String>,
    audio_encode: AudioEncode,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deinterlacers {
    bob: String,
    blend: String,
    top: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VideoEncode {
    chain: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AudioEncode {
    chain: String,
    delay: u32,
}

impl Template {
    /// Reads and checks a template; that its elements exist is seen when a chain is built.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template: Self = toml::from_str(text)?;
        let video = ["preset", "lookahead", "bframes", "crf", "kbps", "asm"].map(|w| (w, String::new()));
        substitute(&template.video_encode.chain, &video)?;
        substitute(&template.audio_encode.chain, &[("bitrate", String::new())])?;
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

    /// The encoder of a video rung; `simd` as [`Simd::detect`] found it.
    pub fn video_encoder(&self, rung: &VideoRung, simd: Simd) -> String {
        let RateControl::CappedCrf { crf, .. } = rung.rate else { unreachable!("no ladder file can ask for it yet") };
        let values = [
            ("preset", rung.preset.clone()),
            ("lookahead", rung.lookahead.to_string()),
            ("bframes", rung.bframes.to_string()),
            ("crf", format!("{crf:.0}")),
            ("kbps", (rung.rate.max_bitrate() / 1000).to_string()),
            ("asm", simd.x264_option().to_owned()),
        ];
        substitute(&self.video_encode.chain, &values).expect("checked in parse")
    }

    /// The encoder of an audio rung.
    pub fn audio_encoder(&self, rung: &AudioRung) -> String {
        substitute(&self.audio_encode.chain, &[("bitrate", rung.bitrate.to_string())]).expect("checked in parse")
    }

    /// Samples by which the audio encoder's packets lag behind its input.
    pub fn audio_delay(&self) -> u32 {
        self.audio_encode.delay
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

/// The instruction set x264 is held at. Its output is equal for SSE4.2, AVX and AVX2, and different below; its AVX-512
/// code reads memory it never wrote, so that bytes depend on the heap's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// x86-64 with AVX2 or better.
    Avx2,
    /// x86-64 with SSE4.2.
    Sse42,
    /// Whatever x264 finds.
    Host,
}

impl Simd {
    /// What this host has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
            if std::arch::is_x86_feature_detected!("sse4.2") {
                return Self::Sse42;
            }
        }
        Self::Host
    }

    /// For [`Hello`](super::ipc::Hello).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avx2 => "avx2",
            Self::Sse42 => "sse4.2",
            Self::Host => "host",
        }
    }

    /// What holds x264 there, as the tail of an option string.
    pub const fn x264_option(self) -> &'static str {
        match self {
            Self::Avx2 => ":asm=AVX2",
            Self::Sse42 => ":asm=SSE4.2",
            Self::Host => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ladder;
    use std::path::Path;

    #[test]
    fn the_built_in_template_is_good_and_takes_the_ladders_figures() {
        let template = Template::parse(BUILT_IN).expect("good");
        let text = include_str!("../../pipelines/ladders/720p25.toml");
        let ladder = Ladder::parse(Path::new("720p25.toml"), text).expect("good");
        let chain = template.video_encoder(&ladder.video[0], Simd::Avx2);
        for part in ["speed-preset=veryfast", "bitrate=3000 ", "quantizer=23 ", "scenecut=0:asm=AVX2"] {
            assert!(chain.contains(part), "{part} in {chain}");
        }
        assert_eq!(template.audio_encoder(&ladder.audio[0]), "voaacenc bitrate=128000");
        assert_eq!(template.audio_delay(), 1600);
        for codec in [Codec::H264, Codec::Hevc, Codec::Mpeg2Video, Codec::AacAdts, Codec::AacLatm] {
            assert!(template.decoder(codec).is_some(), "{codec:?}");
        }
        assert_eq!(template.decoder(Codec::Other(6)), None);
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
    fn mistakes_are_named() {
        let swapped = BUILT_IN.replace("{crf}", "{quality}");
        assert!(matches!(Template::parse(&swapped), Err(TemplateError::Placeholder { word, .. }) if word == "quality"));
        let open = BUILT_IN.replace("{bitrate}", "{bitrate");
        assert!(matches!(Template::parse(&open), Err(TemplateError::Placeholder { word, .. }) if word == "bitrate"));
        assert!(matches!(Template::parse("[video]\n"), Err(TemplateError::Shape(_))));
    }
}
