//! What the query of a request asks of a playlist or manifest: AWS Elemental MediaPackage's manifest filters and time-shift
//! parameters, and short ones of our own.
//!
//! In:    a query. Out: a view, a part of the window, or the text of a 400.
//! Never: takes offence at what is not meant for it: tokens, session ids, delivery directives.

use super::shift::{Setting, Shift};
use crate::config::{Filter, View};

/// What carries MediaPackage's filters, in one parameter: `aws.manifestfilter=video_height:240-720;video_codec:h264`.
const MANIFEST_FILTER: &str = "aws.manifestfilter";
/// What carries its time-shift parameters: `aws.manifestsettings=start:1795269600;end:1795269660`.
const MANIFEST_SETTINGS: &str = "aws.manifestsettings";
/// Longest value, as with MediaPackage.
const VALUE_MAX: usize = 1024;

/// Our names, MediaPackage's names.
const NAMES: [(Filter, Option<&str>, Option<&str>); 17] = [
    (Filter::Height, Some("height"), Some("video_height")),
    (Filter::Bitrate, Some("bitrate"), Some("video_bitrate")),
    (Filter::FrameRate, Some("fps"), Some("video_framerate")),
    (Filter::Codec, Some("codec"), Some("video_codec")),
    (Filter::DynamicRange, None, Some("video_dynamic_range")),
    (Filter::Language, Some("lang"), Some("audio_language")),
    (Filter::Channels, Some("channels"), Some("audio_channels")),
    (Filter::AudioBitrate, Some("audio"), Some("audio_bitrate")),
    (Filter::AudioCodec, None, Some("audio_codec")),
    (Filter::SampleRate, None, Some("audio_sample_rate")),
    (Filter::Subtitles, None, Some("subtitle_language")),
    (Filter::TrickHeight, None, Some("trickplay_height")),
    (Filter::Trick, Some("trick"), Some("trickplay_type")),
    (Filter::Order, Some("order"), None),
    (Filter::Parts, Some("parts"), None),
    (Filter::StartOffset, Some("start_offset"), None),
    (Filter::StartPrecise, Some("start_precise"), None),
];

/// Our names, MediaPackage's names, which may stand by themselves, too, as with its first version.
const SETTINGS: [(Setting, &str, &str); 4] = [
    (Setting::Start, "start", "start"),
    (Setting::End, "end", "end"),
    (Setting::Delay, "delay", "time_delay"),
    (Setting::Window, "window", "manifest_window_seconds"),
];

/// Reads a query; `None` where nothing in it is meant for us.
///
/// # Errors
/// The text for a 400.
pub(super) fn view(query: &str) -> Result<Option<View>, &'static str> {
    let mut view = None;
    let mut filtered = false;
    for (name, value) in parameters(query) {
        if name.eq_ignore_ascii_case(MANIFEST_FILTER) {
            if std::mem::replace(&mut filtered, true) {
                return Err("aws.manifestfilter is given twice\n");
            }
            let value = decoded(value)?;
            let view = view.get_or_insert_with(View::default);
            for filter in value.split(';').filter(|filter| !filter.trim().is_empty()) {
                let (name, text) = filter
                    .split_once(':')
                    .ok_or("aws.manifestfilter takes filters as name:value, with ; between them\n")?;
                let name = name.trim();
                let known = |of: &&(_, _, Option<&str>)| of.2.is_some_and(|known| known.eq_ignore_ascii_case(name));
                let (filter, ..) =
                    NAMES.iter().find(known).ok_or("aws.manifestfilter has a filter that is not known\n")?;
                view.set(*filter, text)?;
            }
        } else if let Some((filter, ..)) = NAMES.iter().find(|of| of.1 == Some(name)) {
            view.get_or_insert_with(View::default).set(*filter, &decoded(value)?)?;
        }
    }
    Ok(view)
}

/// Reads which part of the window a query asks for; `None` for all of it.
///
/// # Errors
/// The text for a 400.
pub(super) fn shift(query: &str) -> Result<Option<Shift>, &'static str> {
    let mut shift = Shift::default();
    for (name, value) in parameters(query) {
        if name.eq_ignore_ascii_case(MANIFEST_SETTINGS) {
            let value = decoded(value)?;
            for setting in value.split(';').filter(|setting| !setting.trim().is_empty()) {
                let (name, text) = setting
                    .split_once(':')
                    .ok_or("aws.manifestsettings takes settings as name:value, with ; between them\n")?;
                let known = |of: &&(_, _, &str)| of.2.eq_ignore_ascii_case(name.trim());
                let (setting, ..) =
                    SETTINGS.iter().find(known).ok_or("aws.manifestsettings has a setting that is not known\n")?;
                shift.set(*setting, text)?;
            }
        } else if let Some((setting, ..)) = SETTINGS.iter().find(|(_, short, long)| name == *short || name == *long) {
            shift.set(*setting, &decoded(value)?)?;
        }
    }
    shift.checked()
}

/// Whether a query has MediaPackage's filters in it, which are for other requests.
pub(super) fn has_filter(query: &str) -> bool {
    parameters(query).any(|(name, _)| name.eq_ignore_ascii_case(MANIFEST_FILTER))
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Percent-decoding (RFC 3986 §2.1).
fn decoded(value: &str) -> Result<String, &'static str> {
    let hex = |digit: Option<u8>| char::from(digit?).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(value.len().min(VALUE_MAX + 1));
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if out.len() == VALUE_MAX {
            return Err("a parameter has more than 1024 characters\n");
        }
        out.push(match byte {
            b'%' => hex(bytes.next()).zip(hex(bytes.next())).map(|(a, b)| a << 4 | b).ok_or(MALFORMED)?,
            byte => byte,
        });
    }
    String::from_utf8(out).map_err(|_| MALFORMED)
}

const MALFORMED: &str = "a parameter has a malformed percent-escape\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(filters: &[(Filter, &str)]) -> View {
        let mut view = View::default();
        filters.iter().for_each(|(filter, text)| view.set(*filter, text).expect("reads"));
        view
    }

    #[test]
    fn both_spellings_mean_the_same() {
        for (query, want) in [
            ("", None),
            ("token=height&_HLS_msn=3&Height=x&=&&", None),
            ("height=240-720", Some(vec![(Filter::Height, "240-720")])),
            ("aws.manifestfilter=video_height:240-720", Some(vec![(Filter::Height, "240-720")])),
            ("AWS.ManifestFilter=VIDEO_HEIGHT:240-720", Some(vec![(Filter::Height, "240-720")])),
            ("aws.manifestfilter=", Some(vec![])),
            (
                "aws.manifestfilter=audio_sample_rate%3A0-44100%3Bvideo_bitrate%3A0-2147483647%3Bvideo_codec%3Ah265%3B\
                 audio_language%3Afr%2Cen-US%2Cde",
                Some(vec![
                    (Filter::SampleRate, "0-44100"),
                    (Filter::Bitrate, "0-2147483647"),
                    (Filter::Codec, "h265"),
                    (Filter::Language, "fr,en-us,de"),
                ]),
            ),
            (
                "bitrate=0-3000000&codec=h264,hevc&fps=25&lang=en%2Cde&channels=1-2&audio=0-128kbps&trick=none&order=desc\
                 &parts=no&start_offset=-30.5&start_precise=yes&aws.manifestfilter=video_height:1-720;",
                Some(vec![
                    (Filter::Bitrate, "0-3000000"),
                    (Filter::Codec, "h264,hevc"),
                    (Filter::FrameRate, "25"),
                    (Filter::Language, "en,de"),
                    (Filter::Channels, "1-2"),
                    (Filter::AudioBitrate, "0-128kbps"),
                    (Filter::Trick, "none"),
                    (Filter::Order, "desc"),
                    (Filter::Parts, "no"),
                    (Filter::StartOffset, "-30.5s"),
                    (Filter::StartPrecise, "yes"),
                    (Filter::Height, "1-720"),
                ]),
            ),
        ] {
            assert_eq!(view(query), Ok(want.map(|filters| of(&filters))), "{query}");
        }
    }

    /// MediaPackage's own table of errors among them.
    #[test]
    fn what_makes_no_sense_is_refused() {
        let long = format!("aws.manifestfilter=audio_language:{}", "a,".repeat(600));
        for query in [
            "aws.manifestfilter=audio_sample_rate:0-48000;audio_sample_rate:0-48000",
            "aws.manifestfilter=audio_sample_rate:0-48000;aws.manifestfilter=video_bitrate:0-1",
            "aws.manifestfilter=video_bitrate:0-1&aws.manifestfilter=video_height:1-2",
            "aws.manifestfilter=donut_type:rhododendron",
            "aws.manifestfilter=audio_sample_rate:300-0",
            "aws.manifestfilter=audio_sample_rate:0-2147483648",
            "aws.manifestfilter=audio_sample_rate:is:0-44100",
            "aws.manifestfilter=video_bitrate",
            "aws.manifestfilter=height:1-2",
            "aws.manifestfilter=order:asc",
            &long,
            "height=",
            "height",
            "height=1-2&height=1-2",
            "height=1-2&aws.manifestfilter=video_height:1-2",
            "lang=%4",
            "lang=%ff",
            "lang=%zz",
            "start_offset=soon",
            "start_offset=-86401",
            "start_precise=maybe",
        ] {
            let refused = view(query);
            assert!(refused.as_ref().is_err_and(|why| why.ends_with('\n')), "{query}: {refused:?}");
        }
        assert!(has_filter("a=b&aws.manifestfilter=x") && !has_filter("height=1&b=aws.manifestfilter"));
    }

    #[test]
    fn a_part_of_the_window_is_asked_for_in_all_spellings() {
        for (query, want) in [
            ("", Ok(None)),
            ("token=start&Start=x&_HLS_msn=3&delay=0", Ok(None)),
            ("start=1795269600", Ok(Some("?start=1795269600"))),
            ("start=2026-11-21T14%3A00%3A00%2B00%3A00", Ok(Some("?start=1795269600"))),
            ("start=2026-11-21T15:00:00+01:00&height=x", Ok(Some("?start=1795269600"))),
            ("AWS.ManifestSettings=START%3A2026-11-21T14%3A00%3A00Z", Ok(Some("?start=1795269600"))),
            ("aws.manifestsettings=start:1795269600;end:1795269660", Ok(Some("?start=1795269600&end=1795269660"))),
            ("aws.manifestsettings=time_delay%3A30%3Bmanifest_window_seconds%3A300;", Ok(Some("?delay=30&window=300"))),
            ("time_delay=30&manifest_window_seconds=300", Ok(Some("?delay=30&window=300"))),
            ("start=1795269600&aws.manifestsettings=end:1795269660", Ok(Some("?start=1795269600&end=1795269660"))),
            ("aws.manifestsettings=", Ok(None)),
            ("start=", Err(())),
            ("start=yesterday", Err(())),
            ("start=1&aws.manifestsettings=start:1", Err(())),
            ("start=20&end=10", Err(())),
            ("delay=-5", Err(())),
            ("window=0", Err(())),
            ("aws.manifestsettings=delay:30", Err(())),
            ("aws.manifestsettings=start", Err(())),
            ("end=%zz", Err(())),
        ] {
            let found = shift(query).map(|shift| shift.map(|shift| shift.query()));
            assert!(found.as_ref().err().is_none_or(|why| why.ends_with('\n')), "{query}: {found:?}");
            assert_eq!(found.map_err(drop), want.map(|want: Option<&str>| want.map(str::to_owned)), "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_survived(query in "(aws\\.manifest(filter|settings)=|height=|lang=|(start|end|delay|time_delay|window)[=:]|\
                                           video_[a-z]{3,7}:|[0-9.,;:&%a-fTZ+-]{0,8}){0,12}") {
            let _ = view(&query);
            let _ = shift(&query);
        }
    }
}
