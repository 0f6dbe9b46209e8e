//! Values as people write them: `"200ms"`, `"3Mbps"`, `"64MB"`, `"1280x720"`, `"env:NAME"`.
//!
//! In:    the text of one value.
//! Out:   the value, or one sentence `what is wrong: how to mend it` (see `document`, which takes it apart again).
//! Never: decides whether a value makes sense where it stands; that is `validate`'s.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::media::FrameRate;

/// A duration, to the millisecond: `"200ms"`, `"2s"`, `"1.5s"`, `"5min"`, `"1h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub Duration);

/// A bit rate, bits a second: `"128kbps"`, `"1.2Mbps"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BitRate(pub u32);

/// An amount of memory, bytes: `"64MB"`, `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub u64);

/// A picture's size: `"1280x720"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub width: u32,
    pub height: u32,
}

/// A frame rate: `"25"`, `"29.97"`, `"30000/1001"`; a bare number will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate(pub FrameRate);

/// A programme's loudness: `"-23LUFS"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lufs(pub f32);

/// A true peak: `"-1dBTP"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TruePeak(pub f32);

/// A level of sound: `"-50dBFS"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level(pub f32);

/// A share, 0 to 1: `"98%"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Percent(pub f32);

/// Where a secret is to be found. The secret itself never stands in a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretRef {
    /// `env:NAME`
    Env(String),
    /// `file:path`
    File(String),
}

/// When to go back to a preferred source: `"never"` or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RevertText {
    Never,
    After(Duration),
}

impl Time {
    /// A duration of our own, spelled as in a config.
    pub fn known(text: &'static str) -> Duration {
        Self::parse(text).expect("our own limits are durations").0
    }
}

impl Bytes {
    /// An amount of our own, spelled as in a config.
    pub fn known(text: &str) -> u64 {
        Self::parse(text).expect("our own limits are amounts").0
    }
}

/// A value that is written as text.
trait Text: Sized {
    /// What is expected, with an example; ends the sentence "expected …".
    const EXPECTED: &'static str;
    /// Its name in the schema.
    const NAME: &'static str;
    /// The schema's pattern; the parser is stricter only in ranges.
    const PATTERN: &'static str;

    fn parse(text: &str) -> Option<Self>;

    /// The whole sentence for a text that cannot be read.
    fn refusal(text: &str) -> String {
        format!("`{}` cannot be read: write {}", excerpt(text), Self::EXPECTED)
    }

    /// For the few types that may also be written as a bare number.
    fn from_number(_number: f64) -> Option<Self> {
        None
    }
}

impl Text for Time {
    const EXPECTED: &'static str = "a duration such as \"200ms\", \"2s\", \"5min\" or \"1h\"";
    const NAME: &'static str = "Duration";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)? ?(ms|s|min|h)$";

    fn parse(text: &str) -> Option<Self> {
        let ms = scaled(text, &[("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000)])?;
        Some(Self(Duration::from_millis(ms)))
    }
}

impl Text for BitRate {
    const EXPECTED: &'static str = "a bit rate such as \"128kbps\" or \"3Mbps\"";
    const NAME: &'static str = "BitRate";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)? ?(bps|kbps|Mbps)$";

    fn parse(text: &str) -> Option<Self> {
        let bits = scaled(text, &[("bps", 1), ("kbps", 1000), ("Mbps", 1_000_000)])?;
        u32::try_from(bits).ok().map(Self)
    }
}

impl Text for Bytes {
    const EXPECTED: &'static str = "an amount of memory such as \"64MB\" or \"1GiB\"";
    const NAME: &'static str = "Bytes";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)? ?(kB|MB|GB|KiB|MiB|GiB)$";

    fn parse(text: &str) -> Option<Self> {
        let units = [
            ("kB", 1000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
        ];
        scaled(text, &units).map(Self)
    }
}

impl Text for Size {
    const EXPECTED: &'static str = "a picture size such as \"1280x720\"";
    const NAME: &'static str = "PictureSize";
    const PATTERN: &'static str = "^[0-9]+x[0-9]+$";

    fn parse(text: &str) -> Option<Self> {
        let (width, height) = text.split_once('x')?;
        Some(Self { width: digits(width)?.try_into().ok()?, height: digits(height)?.try_into().ok()? })
    }
}

impl Text for Rate {
    const EXPECTED: &'static str = "frames a second, 1 to 120, such as \"25\", \"29.97\" or \"30000/1001\"";
    const NAME: &'static str = "FrameRate";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+|/[0-9]+)?$";

    fn parse(text: &str) -> Option<Self> {
        FrameRate::parse(text).ok().map(Self)
    }

    fn from_number(number: f64) -> Option<Self> {
        Self::parse(&number.to_string())
    }
}

impl Text for SecretRef {
    const EXPECTED: &'static str = "where the secret is: \"env:NAME\" or \"file:path\"";
    const NAME: &'static str = "Secret";
    const PATTERN: &'static str = "^(env|file):.+$";

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            _ if rest.is_empty() => None,
            "env" => Some(Self::Env(rest.to_owned())),
            "file" => Some(Self::File(rest.to_owned())),
            _ => None,
        }
    }

    /// Says nothing of the text: it is likely to be the secret.
    fn refusal(_text: &str) -> String {
        "a secret never stands in the config itself: write \"env:NAME\" to take it from an environment variable, or \
         \"file:path\" to read it from a file"
            .to_owned()
    }
}

impl Text for RevertText {
    const EXPECTED: &'static str = "\"never\", or how long the preferred source must be well, such as \"10s\"";
    const NAME: &'static str = "Revert";
    const PATTERN: &'static str = r"^(never|[0-9]+(\.[0-9]+)? ?(ms|s|min|h))$";

    fn parse(text: &str) -> Option<Self> {
        if text == "never" { Some(Self::Never) } else { Time::parse(text).map(|t| Self::After(t.0)) }
    }
}

impl Text for Lufs {
    const EXPECTED: &'static str = "a loudness such as \"-23LUFS\"";
    const NAME: &'static str = "Loudness";
    const PATTERN: &'static str = r"^-[0-9]+(\.[0-9]+)? ?(LUFS|LKFS)$";

    fn parse(text: &str) -> Option<Self> {
        negative(text.strip_suffix("LUFS").or_else(|| text.strip_suffix("LKFS"))?).map(Self)
    }
}

impl Text for TruePeak {
    const EXPECTED: &'static str = "a true peak such as \"-1dBTP\"";
    const NAME: &'static str = "TruePeak";
    const PATTERN: &'static str = r"^-[0-9]+(\.[0-9]+)? ?dBTP$";

    fn parse(text: &str) -> Option<Self> {
        negative(text.strip_suffix("dBTP")?).map(Self)
    }
}

impl Text for Level {
    const EXPECTED: &'static str = "a level such as \"-50dBFS\"";
    const NAME: &'static str = "Level";
    const PATTERN: &'static str = r"^-[0-9]+(\.[0-9]+)? ?dBFS$";

    fn parse(text: &str) -> Option<Self> {
        negative(text.strip_suffix("dBFS")?).map(Self)
    }
}

impl Text for Percent {
    const EXPECTED: &'static str = "a share such as \"98%\"";
    const NAME: &'static str = "Percent";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)? ?%$";

    fn parse(text: &str) -> Option<Self> {
        let hundredths = scaled(text, &[("%", 100)])?;
        (hundredths <= 10_000).then_some(Self(hundredths as f32 / 10_000.0))
    }
}

/// A number below nought, as all levels are that leave headroom.
fn negative(number: &str) -> Option<f32> {
    let number = number.strip_suffix(' ').unwrap_or(number).strip_prefix('-')?;
    let plain =
        number.starts_with(|c: char| c.is_ascii_digit()) && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| number.parse::<f32>().ok().map(|number| -number)).flatten()
}

macro_rules! text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor(std::marker::PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                <Self as Text>::NAME.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let description = <Self as Text>::EXPECTED;
                json_schema!({ "type": "string", "pattern": <Self as Text>::PATTERN, "description": description })
            }
        }
    )*};
}

text!(Time, BitRate, Bytes, Size, SecretRef, RevertText, Lufs, TruePeak, Level, Percent);

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(std::marker::PhantomData))
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        Self::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": Self::EXPECTED,
            "anyOf": [
                { "type": "string", "pattern": Self::PATTERN },
                { "type": "number", "minimum": 1, "maximum": 120 },
            ],
        })
    }
}

struct TextVisitor<T>(std::marker::PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).ok_or_else(|| E::custom(T::refusal(text)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        T::from_number(number as f64).ok_or_else(|| E::invalid_type(de::Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        T::from_number(number).ok_or_else(|| E::invalid_type(de::Unexpected::Float(number), &self))
    }
}

/// `number unit` in the smallest unit. Exact: `"1.2Mbps"` is 1,200,000; what leaves a fraction of the smallest unit is
/// refused, not rounded.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let scale = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let mut value = digits(whole)?.checked_mul(scale)?;
    if let Some(fraction) = fraction {
        let places = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = digits(fraction)?.checked_mul(scale)?;
        if part % places != 0 {
            return None;
        }
        value = value.checked_add(part / places)?;
    }
    Some(value)
}

/// A plain number: at least one digit, and nothing else (no sign, as `str::parse` would take one).
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// At most 40 characters of what was written, on one line.
pub(super) fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(40).map(|c| if c.is_control() { '·' } else { c }).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}

/// A duration as a config file would spell it.
pub(super) fn spell(d: Duration) -> String {
    let ms = d.as_secs_f64() * 1000.0;
    match ms {
        _ if d.subsec_nanos() == 0 && d.as_secs().is_multiple_of(3600) && d.as_secs() > 0 => {
            format!("{}h", d.as_secs() / 3600)
        }
        _ if d.subsec_nanos() == 0 => format!("{}s", d.as_secs()),
        _ if ms >= 1000.0 && d.subsec_nanos().is_multiple_of(1_000_000) => format!("{}s", ms / 1000.0),
        _ => format!("{}ms", (ms * 1000.0).round() / 1000.0),
    }
}

/// A bit rate as a config file would spell it.
pub(super) fn spell_bitrate(bits: u64) -> String {
    if bits >= 1_000_000 { format!("{}Mbps", bits as f64 / 1e6) } else { format!("{}kbps", bits as f64 / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, want) in [
            ("200ms", Some(200)),
            ("2s", Some(2000)),
            ("1.5s", Some(1500)),
            ("2 s", Some(2000)),
            ("5min", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("0s", Some(0)),
            ("0.0005s", None),
            ("1.", None),
            (".5s", None),
            ("1.2.3s", None),
            ("-1s", None),
            ("+1s", None),
            ("2", None),
            ("s", None),
            ("", None),
            ("2S", None),
            ("2m", None),
            ("1e3s", None),
            ("99999999999999999999s", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(Time::parse(text).map(|t| t.0.as_millis()), want, "{text}");
        }
    }

    #[test]
    fn rates_and_amounts() {
        for (text, want) in
            [("3Mbps", Some(3_000_000)), ("1.2Mbps", Some(1_200_000)), ("128kbps", Some(128_000)), ("3mbps", None)]
        {
            assert_eq!(BitRate::parse(text).map(|r| r.0), want, "{text}");
        }
        assert_eq!(BitRate::parse("5000Mbps"), None, "beyond 32 bits");
        assert_eq!(Bytes::parse("64MB"), Some(Bytes(64_000_000)));
        assert_eq!(Bytes::parse("1.5GiB"), Some(Bytes(3 << 29)));
        assert_eq!(Size::parse("1280x720"), Some(Size { width: 1280, height: 720 }));
        for bad in ["1280", "x720", "1280x", "1280X720", "1280x+720", "99999999999x2"] {
            assert_eq!(Size::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn shares_and_levels() {
        for (text, want) in [
            ("98%", Some(0.98)),
            ("0.5 %", Some(0.005)),
            ("100%", Some(1.0)),
            ("101%", None),
            ("0.98", None),
            ("-1%", None),
        ] {
            assert_eq!(Percent::parse(text).map(|p| p.0), want, "{text}");
        }
        for (text, want) in [("-50dBFS", Some(-50.0)), ("-50.5 dBFS", Some(-50.5)), ("3dBFS", None), ("-50dB", None)] {
            assert_eq!(Level::parse(text).map(|l| l.0), want, "{text}");
        }
    }

    #[test]
    fn a_refused_secret_is_not_repeated() {
        for text in ["hunter2hunter2", "env:", "vault:hunter2"] {
            assert_eq!(SecretRef::parse(text), None, "{text}");
            assert!(!SecretRef::refusal(text).contains("hunter2"));
        }
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_as_it_is_spelled(ms in 0u64..200_000_000) {
            let d = Duration::from_millis(ms);
            prop_assert_eq!(Time::parse(&spell(d)), Some(Time(d)), "{}", spell(d));
        }

        #[test]
        fn any_text_is_read_or_refused(text in r"[0-9.]{0,30} ?(ms|s|min|h|kbps|Mbps|MB|GiB|x[0-9]{1,12}|.{0,5})") {
            let _ = (Time::parse(&text), BitRate::parse(&text), Bytes::parse(&text), Size::parse(&text));
        }
    }
}
