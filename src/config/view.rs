//! Views: which renditions a multivariant playlist or manifest lists, and in which order.
//!
//! In:    what a profile's keys or a request's query ask for. Out: whether a rendition is listed.
//! Never: knows where it was written: the same words mean the same in a config and in a query.

use std::time::Duration;

use crate::encode::ladder::VideoFormat;

/// What can be asked of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Lines of pictures.
    Height,
    /// The most bits a second that the encoder of pictures may make.
    Bitrate,
    /// Frames a second.
    FrameRate,
    /// Formats of pictures.
    Codec,
    /// Dynamic range of pictures.
    DynamicRange,
    /// Languages of sound.
    Language,
    /// Channels of sound.
    Channels,
    /// Bits a second of sound.
    AudioBitrate,
    /// Formats of sound.
    AudioCodec,
    /// Samples a second of sound.
    SampleRate,
    /// Languages of subtitles.
    Subtitles,
    /// Lines of trick play.
    TrickHeight,
    /// Kinds of trick play.
    Trick,
    /// What is listed first.
    Order,
    /// Whether media playlists have parts.
    Parts,
    /// Where players begin.
    StartOffset,
    /// Whether they begin exactly there.
    StartPrecise,
}

impl Filter {
    /// What may be written. A line of its own.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Height => "height (video_height) takes lines, 1 to 32767, and ranges of them: 240-720,1080\n",
            Self::Bitrate => {
                "bitrate (video_bitrate) takes bits a second and ranges of them: 0-3000000, 500kbps-3Mbps\n"
            }
            Self::FrameRate => {
                "fps (video_framerate) takes frames a second, 1 to 999.999, and ranges of them: 23.976-30\n"
            }
            Self::Codec => "codec (video_codec) takes a list of h264, h265 (or hevc) and av1\n",
            Self::DynamicRange => "video_dynamic_range takes a list of sdr, hdr10, hlg and dv\n",
            Self::Language => "lang (audio_language) takes a list of languages: en,pt-BR,deu\n",
            Self::Channels => {
                "channels (audio_channels) takes numbers of channels, 1 to 32767, and ranges of them: 1-2,6\n"
            }
            Self::AudioBitrate => "audio (audio_bitrate) takes bits a second and ranges of them: 0-128000, 0-128kbps\n",
            Self::AudioCodec => "audio_codec takes a list of aacl, aach, ac-3 and ec-3\n",
            Self::SampleRate => "audio_sample_rate takes samples a second and ranges of them: 0-48000\n",
            Self::Subtitles => "subtitle_language takes a list of languages: en,deu\n",
            Self::TrickHeight => "trickplay_height takes lines and ranges of them: 1-360\n",
            Self::Trick => "trick (trickplay_type) takes iframe, image or none\n",
            Self::Order => "order takes asc, desc, or the name of the rendition that comes first\n",
            Self::Parts => "parts takes yes or no\n",
            Self::StartOffset => {
                "start_offset takes seconds, below zero from the end of what is listed: -30, 12.5; up to 86400\n"
            }
            Self::StartPrecise => "start_precise takes yes or no\n",
        }
    }
}

/// In which order renditions of one format are listed. Players begin with the first one, or choose for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The smallest picture first; of equal ones, the one with the lowest rate.
    Ascending,
    /// The largest first.
    Descending,
    /// As in the ladder, but this rendition, and its format, first.
    First(String),
}

/// What a view lists. One that is not asked for anything lists everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    height: Option<Ranges>,
    bitrate: Option<Ranges>,
    frame_rate: Option<Ranges>,
    codec: Option<Vec<VideoFormat>>,
    /// All pictures are of the standard range.
    standard_range: Option<bool>,
    language: Option<Vec<String>>,
    channels: Option<Ranges>,
    audio_bitrate: Option<Ranges>,
    /// All sound is AAC-LC.
    low_complexity: Option<bool>,
    sample_rate: Option<Ranges>,
    /// There are none.
    subtitles: Option<()>,
    trick_height: Option<Ranges>,
    trick: Option<bool>,
    /// The ladder's order, where not said.
    pub order: Option<Order>,
    /// Whether media playlists have parts; where not said, if they are served with parts.
    pub parts: Option<bool>,
    /// Milliseconds; below zero from the end of what is listed.
    start_offset: Option<i64>,
    start_precise: Option<bool>,
}

/// Where players should begin (RFC 8216bis §4.4.2.2, EXT-X-START).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartAt {
    /// Milliseconds from the beginning of what is listed; below zero from its end.
    pub offset_ms: i64,
    /// Players should show nothing of the segment in front of it.
    pub precise: bool,
}

impl StartAt {
    /// It lies within such a window, and no nearer to the live edge than players may begin: three segments.
    pub fn fits(self, window: Duration, segment: Duration) -> bool {
        let (offset, hold) = (Duration::from_millis(self.offset_ms.unsigned_abs()), segment * 3);
        match self.offset_ms {
            0.. => offset <= window.saturating_sub(hold),
            _ => hold <= offset && offset <= window,
        }
    }
}

/// A rendition that a view may list.
#[derive(Clone, Copy)]
pub(crate) enum Offer<'a> {
    /// Pictures.
    Pictures {
        /// Coding format.
        format: VideoFormat,
        /// Lines.
        height: u32,
        /// The most its encoder may make, bits a second.
        bitrate: u32,
        /// Frames a second.
        frame_rate: f64,
    },
    /// Sound, AAC-LC.
    Sound {
        /// Whether a word names its language.
        is: &'a dyn Fn(&str) -> bool,
        /// Channels.
        channels: u8,
        /// Bits a second.
        bitrate: u32,
        /// Samples a second.
        sample_rate: u32,
    },
    /// Trick play of single pictures.
    Trick {
        /// Coding format.
        format: VideoFormat,
        /// Lines.
        height: u32,
    },
}

/// Numbers are up to 2³¹ - 1, as with MediaPackage.
const NUMBER_MAX: f64 = 2_147_483_647.0;

impl View {
    /// Takes what is written of a filter.
    ///
    /// # Errors
    /// It cannot be read ([`Filter::expected`]), or was said before. A line of text.
    pub fn set(&mut self, filter: Filter, text: &str) -> Result<(), &'static str> {
        let text = text.trim().to_ascii_lowercase();
        let wrong = || filter.expected();
        let numbers = |range: (f64, f64), unit| Ranges::read(&text, range, unit).ok_or_else(wrong);
        match filter {
            Filter::Height => once(&mut self.height, numbers((1.0, 32_767.0), Unit::Whole)?),
            Filter::Bitrate => once(&mut self.bitrate, numbers((0.0, NUMBER_MAX), Unit::Bits)?),
            Filter::FrameRate => once(&mut self.frame_rate, numbers((1.0, 999.999), Unit::Thousandths)?),
            Filter::Codec => {
                let format = |word: &str| match word {
                    "h264" | "avc" => Some(VideoFormat::H264),
                    "h265" | "hevc" => Some(VideoFormat::Hevc),
                    "av1" => Some(VideoFormat::Av1),
                    _ => None,
                };
                once(&mut self.codec, list(&text, format).ok_or_else(wrong)?)
            }
            Filter::DynamicRange => {
                let words = list(&text, among(&["sdr", "hdr10", "hlg", "dv"])).ok_or_else(wrong)?;
                once(&mut self.standard_range, words.contains(&0))
            }
            Filter::Language => once(&mut self.language, list(&text, language).ok_or_else(wrong)?),
            Filter::Channels => once(&mut self.channels, numbers((1.0, 32_767.0), Unit::Whole)?),
            Filter::AudioBitrate => once(&mut self.audio_bitrate, numbers((0.0, NUMBER_MAX), Unit::Bits)?),
            Filter::AudioCodec => {
                let words = list(&text, among(&["aacl", "aach", "ac-3", "ec-3"])).ok_or_else(wrong)?;
                once(&mut self.low_complexity, words.contains(&0))
            }
            Filter::SampleRate => once(&mut self.sample_rate, numbers((0.0, NUMBER_MAX), Unit::Whole)?),
            Filter::Subtitles => once(&mut self.subtitles, list(&text, language).map(drop).ok_or_else(wrong)?),
            Filter::TrickHeight => once(&mut self.trick_height, numbers((1.0, NUMBER_MAX), Unit::Whole)?),
            Filter::Trick => {
                let words = list(&text, among(&["iframe", "image", "none"])).ok_or_else(wrong)?;
                once(&mut self.trick, words.contains(&0))
            }
            Filter::Order => {
                let order = match &*text {
                    "asc" | "ascending" => Order::Ascending,
                    "desc" | "descending" => Order::Descending,
                    name if !name.is_empty() && name.len() <= 64 => Order::First(name.to_owned()),
                    _ => return Err(wrong()),
                };
                once(&mut self.order, order)
            }
            Filter::Parts => once(&mut self.parts, yes(&text).ok_or_else(wrong)?),
            Filter::StartOffset => once(&mut self.start_offset, offset(&text).ok_or_else(wrong)?),
            Filter::StartPrecise => once(&mut self.start_precise, yes(&text).ok_or_else(wrong)?),
        }
    }

    /// Where players should begin, if it says so.
    pub fn start(&self) -> Option<StartAt> {
        let precise = self.start_precise.unwrap_or(false);
        self.start_offset.map(|offset_ms| StartAt { offset_ms, precise })
    }

    /// It says how exactly to begin, and not where.
    pub fn is_precise_about_nothing(&self) -> bool {
        self.start_precise.is_some() && self.start_offset.is_none()
    }

    /// Whether it lists this rendition.
    pub(crate) fn lists(&self, offer: Offer<'_>) -> bool {
        let within = |ranges: &Option<Ranges>, number: f64| ranges.as_ref().is_none_or(|ranges| ranges.have(number));
        let of = |format: VideoFormat| {
            self.codec.as_ref().is_none_or(|list| list.contains(&format)) && self.standard_range != Some(false)
        };
        match offer {
            Offer::Pictures { format, height, bitrate, frame_rate } => {
                of(format)
                    && within(&self.height, height.into())
                    && within(&self.bitrate, bitrate.into())
                    && within(&self.frame_rate, frame_rate)
            }
            Offer::Sound { is, channels, bitrate, sample_rate } => {
                self.language.as_ref().is_none_or(|list| list.iter().any(|word| is(word)))
                    && self.low_complexity != Some(false)
                    && within(&self.channels, channels.into())
                    && within(&self.audio_bitrate, bitrate.into())
                    && within(&self.sample_rate, sample_rate.into())
            }
            Offer::Trick { format, height } => {
                of(format) && self.trick != Some(false) && within(&self.trick_height, height.into())
            }
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("a filter is given twice\n"),
    }
}

fn yes(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Seconds with a sign, to the millisecond, `s` behind them or not; in milliseconds, a day at most.
fn offset(text: &str) -> Option<i64> {
    let text = text.strip_suffix('s').unwrap_or(text).trim_end();
    let (sign, digits) = text.strip_prefix('-').map_or((1.0, text), |digits| (-1.0, digits));
    let seconds = number(digits, Unit::Thousandths).filter(|seconds| *seconds <= 86_400.0)?;
    Some((sign * seconds * 1000.0).round() as i64)
}

/// A list of words, divided by commas; none of them unknown.
fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(|word| read(word.trim())).collect()
}

fn among(words: &'static [&'static str]) -> impl Fn(&str) -> Option<usize> {
    |word| words.iter().position(|known| *known == word)
}

/// A language tag as far as its letters go (RFC 5646 §2.1).
fn language(word: &str) -> Option<String> {
    let good = (1..=35).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    good.then(|| word.to_owned())
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Whole,
    /// With up to three digits behind the point.
    Thousandths,
    /// Whole, or with `kbps` or `Mbps` behind.
    Bits,
}

/// Numbers, each alone or in a range with both of its ends.
#[derive(Clone, Debug, PartialEq)]
struct Ranges(Vec<(f64, f64)>);

/// Rates such as 29.97 are not written to the last digit; MediaPackage allows for as much.
const ROUNDED: f64 = 0.0005;

impl Ranges {
    fn read(text: &str, (least, most): (f64, f64), unit: Unit) -> Option<Self> {
        let one = |word: &str| {
            let (low, high) = word.split_once('-').unwrap_or((word, word));
            let (low, high) = (number(low.trim(), unit)?, number(high.trim(), unit)?);
            (least <= low && low <= high && high <= most).then_some((low, high))
        };
        list(text, one).map(Self)
    }

    fn have(&self, number: f64) -> bool {
        self.0.iter().any(|(low, high)| (low - ROUNDED..=high + ROUNDED).contains(&number))
    }
}

/// Digits, a point, digits, a unit; in lower case.
fn number(text: &str, unit: Unit) -> Option<f64> {
    let (digits, scale) = match (unit, text.strip_suffix("kbps"), text.strip_suffix("mbps")) {
        (Unit::Bits, Some(digits), _) => (digits.trim_end(), 1e3),
        (Unit::Bits, _, Some(digits)) => (digits.trim_end(), 1e6),
        _ => (text, 1.0),
    };
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let pointed = digits.contains('.');
    if !plain(whole, 10) || !plain(rest, 3) || pointed && unit != Unit::Thousandths && scale == 1.0 {
        return None;
    }
    Some(digits.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(format: VideoFormat, height: u32, bitrate: u32, frame_rate: f64) -> Offer<'static> {
        Offer::Pictures { format, height, bitrate, frame_rate }
    }

    fn view(filters: &[(Filter, &str)]) -> View {
        let mut view = View::default();
        filters.iter().for_each(|(filter, text)| view.set(*filter, text).expect("reads"));
        view
    }

    #[test]
    fn pictures_are_listed_by_every_filter() {
        use VideoFormat::{Av1, H264, Hevc};
        let offer = pictures(H264, 720, 3_000_000, 30_000.0 / 1001.0);
        for (filter, text, want) in [
            (Filter::Height, "240-720", true),
            (Filter::Height, "720", true),
            (Filter::Height, "1080,720-720", true),
            (Filter::Height, "240-360,721-1080", false),
            (Filter::Bitrate, "0-3000000", true),
            (Filter::Bitrate, "0-3Mbps", true),
            (Filter::Bitrate, "500kbps-2.9Mbps", false),
            (Filter::FrameRate, "29.97", true),
            (Filter::FrameRate, "23.976-29.97", true),
            (Filter::FrameRate, "30-60", false),
            (Filter::Codec, "H264", true),
            (Filter::Codec, "hevc, av1", false),
            (Filter::DynamicRange, "sdr,hlg", true),
            (Filter::DynamicRange, "hdr10", false),
            (Filter::Language, "de", true),
            (Filter::TrickHeight, "1-2", true),
            (Filter::Trick, "none", true),
        ] {
            assert_eq!(view(&[(filter, text)]).lists(offer), want, "{filter:?} {text}");
        }
        for (format, want) in [(H264, true), (Hevc, true), (Av1, false)] {
            assert_eq!(view(&[(Filter::Codec, "avc,h265")]).lists(pictures(format, 1, 1, 25.0)), want, "{format:?}");
        }
        // All must hold.
        assert!(!view(&[(Filter::Height, "720"), (Filter::Bitrate, "0-1")]).lists(offer));
    }

    #[test]
    fn sound_and_trick_play_have_filters_of_their_own() {
        let is = |word: &str| word == "de" || word == "deu";
        let sound = Offer::Sound { is: &is, channels: 2, bitrate: 128_000, sample_rate: 48_000 };
        let trick = Offer::Trick { format: VideoFormat::H264, height: 180 };
        for (filter, text, want) in [
            (Filter::Language, "en,DE", (true, true)),
            (Filter::Language, "en", (false, true)),
            (Filter::Channels, "1-2", (true, true)),
            (Filter::Channels, "6", (false, true)),
            (Filter::AudioBitrate, "0-96kbps", (false, true)),
            (Filter::AudioCodec, "AACL", (true, true)),
            (Filter::AudioCodec, "AC-3,EC-3", (false, true)),
            (Filter::SampleRate, "0-44100", (false, true)),
            (Filter::Subtitles, "en", (true, true)),
            (Filter::Height, "1080", (true, true)),
            (Filter::Codec, "h265", (true, false)),
            (Filter::DynamicRange, "dv", (true, false)),
            (Filter::TrickHeight, "200-1200", (true, false)),
            (Filter::Trick, "image,none", (true, false)),
            (Filter::Trick, "iframe", (true, true)),
        ] {
            let view = view(&[(filter, text)]);
            assert_eq!((view.lists(sound), view.lists(trick)), want, "{filter:?} {text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (filter, text) in [
            (Filter::Height, ""),
            (Filter::Height, "720p"),
            (Filter::Height, "-720"),
            (Filter::Height, "240-"),
            (Filter::Height, "720-240"),
            (Filter::Height, "1-2-3"),
            (Filter::Height, "0-240"),
            (Filter::Height, "1-32768"),
            (Filter::Height, "+1"),
            (Filter::Height, "1.5"),
            (Filter::Height, "1e3"),
            (Filter::Height, "1,,2"),
            (Filter::Bitrate, "0-2147483648"),
            (Filter::Bitrate, "0-99999999999999999999"),
            (Filter::Bitrate, "3000Mbps"),
            (Filter::Bitrate, "1.5"),
            (Filter::Bitrate, "Mbps"),
            (Filter::FrameRate, "29.9700"),
            (Filter::FrameRate, "0.5"),
            (Filter::FrameRate, "1000"),
            (Filter::FrameRate, "."),
            (Filter::FrameRate, "nan"),
            (Filter::Codec, "vp9"),
            (Filter::Language, "e n"),
            (Filter::Language, ""),
            (Filter::Trick, "yes"),
            (Filter::Order, ""),
            (Filter::Parts, "maybe"),
        ] {
            assert_eq!(View::default().set(filter, text), Err(filter.expected()), "{filter:?} {text}");
        }
        let mut view = View::default();
        assert_eq!(view.set(Filter::Height, "1"), Ok(()));
        assert_eq!(view.set(Filter::Height, "1"), Err("a filter is given twice\n"));
    }
}
