//! Views and device profiles: which renditions are told, in which order, and where players go from there.

use std::sync::Arc;

use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::{HlsLine, Reader};

use super::golden::{compare, with_a_gap};
use super::*;
use crate::config::{DashForm, Filter, HlsForm, Profile, View};
use crate::media::ProfileId;

/// AV1, H.264, HEVC and a small H.264; English in stereo and 5.1, German, Swiss German; trick play. With transport streams and
/// parts.
fn everything() -> Config {
    let config = with_parts(config_of_everything());
    Config { serve: Serve { hls_ts: true, ..config.serve }, ..config }
}

fn on_air(config: Config) -> Arc<Snapshot> {
    publishing(config).snapshot()
}

fn publishing(config: Config) -> Packager {
    let t0 = start_of(&config, FIRST);
    let mut p = up(config, t0, &[PipelineId::A]);
    for i in 0..4 {
        let now = t0.after(Duration::from_secs(2 * (i + 1)));
        deliver_all(&mut p, now, PipelineId::A, FIRST + i);
        p.poll(now);
    }
    p
}

fn asked(snapshot: &Snapshot, path: &str, query: &str) -> Result<String, &'static str> {
    match snapshot.ask(path, Some(query)) {
        Lookup::Found(text) => Ok(String::from_utf8(text.body.bytes().to_vec()).expect("text")),
        Lookup::Bad(why) => Err(why),
        other => panic!("{path}?{query}: {other:?}"),
    }
}

/// The renditions that a multivariant playlist leads to, in order, each once.
fn variants(playlist: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in playlist.lines() {
        let link = match line.split_once("URI=\"") {
            Some((_, rest)) => rest.split('"').next().expect("quoted"),
            None if line.starts_with('#') => continue,
            None => line,
        };
        let id = link.split('/').rev().nth(1).expect("a rendition").to_owned();
        if !all.contains(&id) {
            all.push(id);
        }
    }
    all
}

/// The same of a manifest.
fn representations(manifest: &str) -> Vec<String> {
    let ids = manifest.split("<Representation id=\"").skip(1);
    ids.map(|rest| rest.split('"').next().expect("quoted").to_owned()).collect()
}

#[test]
fn what_a_query_asks_for_is_listed_and_nothing_else() {
    let snapshot = on_air(everything());
    let all = "eng deu gsw eng-51 v360 v180 hevc-360 av1-360 trick";
    for (query, want) in [
        ("token=abc", all),
        ("height=1-2000", all),
        ("bitrate=0-350kbps", "eng deu gsw eng-51 v180 trick"),
        ("height=1-359", "eng deu gsw eng-51"),
        ("aws.manifestfilter=video_bitrate:0-350000", "eng deu gsw eng-51 v180 trick"),
        (
            "aws.manifestfilter=video_height%3A200-2160%3Bvideo_codec%3Ah265%2Cav1",
            "eng deu gsw eng-51 hevc-360 av1-360",
        ),
        ("codec=h264&bitrate=0-500kbps", "eng deu gsw eng-51 v180 trick"),
        ("codec=hevc", "eng deu gsw eng-51 hevc-360"),
        ("lang=en", "eng eng-51 v360 v180 hevc-360 av1-360 trick"),
        ("aws.manifestfilter=audio_language:ger,EN;audio_channels:1-2", "eng deu v360 v180 hevc-360 av1-360 trick"),
        ("lang=gsw&audio=0-64000&trick=none", "gsw v360 v180 hevc-360 av1-360"),
        ("aws.manifestfilter=audio_language:dahlia", "v360 v180 hevc-360 av1-360 trick"),
        ("aws.manifestfilter=video_bitrate:0-1;audio_language:de", "deu"),
        ("fps=50", "eng deu gsw eng-51"),
        ("order=asc", "eng deu gsw eng-51 v180 v360 hevc-360 av1-360 trick"),
        ("order=desc", all),
        ("order=hevc-360", "eng deu gsw eng-51 hevc-360 v360 v180 av1-360 trick"),
        ("order=v180", "eng deu gsw eng-51 v180 v360 hevc-360 av1-360 trick"),
        ("order=deu", "deu eng gsw eng-51 v360 v180 hevc-360 av1-360 trick"),
        ("aws.manifestfilter=video_dynamic_range:hdr10;subtitle_language:en", "eng deu gsw eng-51"),
    ] {
        let playlist = asked(&snapshot, "index.m3u8", query).expect("a view");
        assert_eq!(variants(&playlist).join(" "), want, "{query}\n{playlist}");
        for path in ["manifest.mpd", "number.mpd", "low.mpd"] {
            let manifest = asked(&snapshot, path, query).expect("a view");
            let mut listed = representations(&manifest);
            let mut want: Vec<_> = want.split(' ').filter(|id| path != "low.mpd" || *id != "trick").collect();
            listed.sort();
            want.sort_unstable();
            assert_eq!(listed, want, "{path}?{query}");
        }
    }
    for (query, why) in [
        ("height=1&lang=xx", "no rendition is left\n"),
        ("aws.manifestfilter=video_bitrate:0-1;audio_bitrate:0-1", "no rendition is left\n"),
        ("height=1&lang=xx&trick=iframe", "no rendition is left\n"),
        ("order=nobody", "order names no rendition of this channel\n"),
        ("height=high", Filter::Height.expected()),
    ] {
        assert_eq!(asked(&snapshot, "index.m3u8", query), Err(why), "{query}");
        assert_eq!(asked(&snapshot, "manifest.mpd", query), Err(why), "{query}");
    }
}

#[test]
fn transport_streams_keep_the_sound_that_is_in_the_pictures() {
    let snapshot = on_air(everything());
    for (query, want) in [
        ("", "deu gsw v360 v180 hevc-360 eng"),
        ("lang=de", "deu v360 v180 hevc-360 eng"),
        ("lang=de&bitrate=0-350kbps", "deu v180 eng"),
        ("order=v180&lang=xx", "v180 v360 hevc-360 eng"),
        ("order=deu", "deu gsw v360 v180 hevc-360 eng"),
    ] {
        let playlist = asked(&snapshot, "ts/index.m3u8", query).expect("a view");
        let mut listed = variants(&playlist);
        // Where there are other languages, the default one has no address but that of sound alone, at the end.
        listed.retain(|id| id != "eng");
        listed.push("eng".to_owned());
        assert_eq!(listed.join(" "), want, "{query}\n{playlist}");
    }
    let alone = asked(&snapshot, "ts/index.m3u8", "codec=av1&lang=de").expect("a view");
    assert_eq!(variants(&alone), ["deu"], "without pictures there is no sound in them");
    assert_eq!(asked(&snapshot, "ts/index.m3u8", "codec=av1&lang=xx"), Err("no rendition is left\n"));
    assert_eq!(asked(&snapshot, "ts/index.m3u8", "parts=no"), Ok(text(&snapshot, "ts/index.m3u8")));
}

#[test]
fn a_view_is_rendered_once_and_no_more_than_some_are_kept() {
    let snapshot = on_air(everything());
    let kept = || snapshot.listing.as_ref().expect("published").front.kept().0;
    let body = |query: &str| match snapshot.ask("index.m3u8", Some(query)) {
        Lookup::Found(text) => text.body.bytes().as_ptr(),
        other => panic!("{other:?}"),
    };
    // However it is asked for.
    let same = [
        "bitrate=0-350kbps",
        "bitrate=300000&token=1",
        "aws.manifestfilter=video_bitrate:0-350000",
        "bitrate=0-350kbps&parts=yes",
    ];
    assert!(same.iter().all(|query| body(query) == body(same[0])));
    assert_eq!(kept(), 1);
    assert_eq!(body("height=1-2000"), body("other=1"), "what leaves everything is what everybody has");
    assert_eq!(kept(), 1);
    // Choices of formats and languages, in some orders.
    let mut texts = std::collections::BTreeSet::new();
    for bits in 1..1 << 9 {
        let on = |bit: u32, word: &'static str| (bits >> bit & 1 == 1).then_some(word);
        let codecs = [on(0, "h264"), on(1, "hevc"), on(2, "av1")].into_iter().flatten().collect::<Vec<_>>().join(",");
        let langs = [on(3, "en"), on(4, "de"), on(5, "gsw")].into_iter().flatten().collect::<Vec<_>>().join(",");
        let order = [
            None,
            Some("asc"),
            Some("desc"),
            Some("v180"),
            Some("av1-360"),
            Some("hevc-360"),
            Some("eng"),
            Some("deu"),
        ];
        let mut query = format!("order={}", order[bits >> 6].unwrap_or("desc"));
        if !codecs.is_empty() {
            query.push_str(&format!("&codec={codecs}"));
        }
        if !langs.is_empty() {
            query.push_str(&format!("&lang={langs}"));
        }
        texts.insert(asked(&snapshot, "index.m3u8", &query).expect("a view"));
    }
    assert!(texts.len() > 64, "{}", texts.len());
    assert_eq!(kept(), 64);
    assert_eq!(
        variants(&asked(&snapshot, "index.m3u8", "bitrate=0-350kbps&lang=de&order=asc").expect("a view")),
        ["deu", "v180", "trick"]
    );
}

#[test]
fn filters_belong_to_what_lists_renditions() {
    let snapshot = on_air(everything());
    let playlist = text(&snapshot, "v360/index.m3u8");
    let segment = playlist.lines().rfind(|l| !l.starts_with('#') && !l.is_empty()).expect("a segment");
    let filter = "aws.manifestfilter=video_codec:h264";
    for path in ["v360/index.m3u8", "v360/whole.m3u8", "ts/v360/index.m3u8", &format!("v360/{segment}")] {
        assert!(matches!(snapshot.ask(path, Some(filter)), Lookup::Bad(_)), "{path}");
        // Short names may be anybody's.
        assert!(matches!(snapshot.ask(path, Some("height=x&token=1")), Lookup::Found(_)), "{path}");
    }
    assert!(matches!(snapshot.ask("v360/index.m3u8", Some("_HLS_msn=1&height=x")), Lookup::Found(_)));
}

#[test]
fn playlists_without_parts_are_those_of_a_channel_without() {
    let with = with_a_gap(with_parts(config())).snapshot();
    let without = with_a_gap(Config { part: Duration::from_millis(400), ..config() }).snapshot();
    for id in ["v360", "v180", "a1", "trick"] {
        assert_eq!(text(&with, &format!("{id}/whole.m3u8")), text(&without, &format!("{id}/index.m3u8")));
        assert!(matches!(without.lookup(&format!("{id}/whole.m3u8")), Lookup::Unknown));
    }
    let view = asked(&with, "index.m3u8", "parts=no").expect("a view");
    assert_eq!(view, text(&without, "index.m3u8").replace("/index.m3u8", "/whole.m3u8"));
    assert_eq!(asked(&without, "index.m3u8", "parts=no"), Ok(text(&without, "index.m3u8")));
}

fn profile(id: &str, hls: Option<HlsForm>, dash: Option<DashForm>, filters: &[(Filter, &str)]) -> Profile {
    let mut view = View::default();
    filters.iter().for_each(|(filter, text)| view.set(*filter, text).expect("reads"));
    Profile { id: ProfileId::new(id).expect("good name"), hls, dash, view }
}

#[test]
fn profiles() {
    use Filter::{Bitrate, Channels, Codec, Height, Order, Trick};
    let tv = [(Codec, "h264"), (Channels, "1-2"), (Trick, "none"), (Order, "asc")];
    let config = Config {
        profiles: vec![
            profile("tv", Some(HlsForm::Segments), Some(DashForm::Segments), &tv),
            profile(
                "phone",
                Some(HlsForm::Parts),
                Some(DashForm::LowLatency),
                &[(Bitrate, "0-350kbps"), (Codec, "h264")],
            ),
            profile("box", Some(HlsForm::TransportStream), None, &[(Codec, "h264")]),
            profile("cinema", Some(HlsForm::Parts), Some(DashForm::Segments), &[(Height, "2160"), (Channels, "8")]),
        ],
        ..everything()
    };
    let publishing = publishing(config);
    let snapshot = publishing.snapshot();
    // What an operator is shown is there, under the name of what it is.
    let shown = publishing.status().manifests.iter().map(|it| (it.name.as_str(), it.path.as_str()));
    let expected = [
        ("LL-HLS", "index.m3u8"),
        ("HLS-TS", "ts/index.m3u8"),
        ("DASH", "manifest.mpd"),
        ("DASH by number", "number.mpd"),
        ("LL-DASH", "low.mpd"),
        ("HLS for tv", "tv/index.m3u8"),
        ("DASH for tv", "tv/manifest.mpd"),
        ("LL-HLS for phone", "phone/index.m3u8"),
        ("LL-DASH for phone", "phone/manifest.mpd"),
        ("HLS-TS for box", "box/index.m3u8"),
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    for (_, path) in expected {
        assert!(matches!(snapshot.lookup(path), Lookup::Found(_)), "{path}");
    }
    compare("profile-tv.m3u8", &text(&snapshot, "tv/index.m3u8"));
    compare("profile-tv.mpd", &text(&snapshot, "tv/manifest.mpd"));
    compare("profile-phone.m3u8", &text(&snapshot, "phone/index.m3u8"));
    compare("profile-phone.mpd", &text(&snapshot, "phone/manifest.mpd"));
    compare("profile-box.m3u8", &text(&snapshot, "box/index.m3u8"));
    for path in ["box/manifest.mpd", "cinema/index.m3u8", "cinema/manifest.mpd", "tv/number.mpd", "tv/v360/index.m3u8"]
    {
        assert!(matches!(snapshot.lookup(path), Lookup::Unknown), "{path}");
    }
    // Everything it leads to is there, as others have it.
    for (profile, path) in [("tv", "index.m3u8"), ("phone", "index.m3u8"), ("box", "index.m3u8")] {
        let playlist = text(&snapshot, &format!("{profile}/{path}"));
        let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
        let mut reader = Reader::from_str(&playlist, options);
        let mut links = Vec::new();
        while let Some(line) = reader.read_line().unwrap_or_else(|e| panic!("{playlist}: {e:?}")) {
            if let HlsLine::Uri(uri) = line {
                links.push(uri.to_string());
            }
        }
        assert!(!links.is_empty());
        for link in links {
            let path = link.strip_prefix("../").expect("out of the profile's folder");
            assert!(text(&snapshot, path).starts_with("#EXTM3U"), "{path}");
        }
    }
    // And a query says what of it.
    let narrower = asked(&snapshot, "tv/index.m3u8", "lang=de&bitrate=0-350kbps").expect("a view");
    assert_eq!(variants(&narrower), ["deu", "v180"]);
    assert!(narrower.contains("\n../v180/whole.m3u8\n"), "{narrower}");
    assert_eq!(asked(&snapshot, "tv/manifest.mpd", "codec=hevc&lang=xx"), Err("no rendition is left\n"));
    assert_eq!(
        asked(&snapshot, "tv/index.m3u8", "parts=yes"),
        Ok(text(&snapshot, "tv/index.m3u8")),
        "not more than it has"
    );
}

#[test]
fn a_profile_cannot_hide_a_rendition() {
    let config = Config { profiles: vec![profile("v360", Some(HlsForm::Segments), None, &[])], ..config() };
    let t0 = start_of(&config, FIRST);
    assert!(matches!(Packager::new(config, t0), Err(PackageError::SameProfile(_))));
}
