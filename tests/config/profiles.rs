//! Device profiles.

use tandem::config::{DashForm, Filter, HlsForm, StartAt, View};

use super::*;

/// The good config with a profile, whose first key is in line 10, and with keys of the channel, which make it longer by a line.
fn with(channel: &str, profile: &str) -> String {
    let id = if channel.is_empty() { "id = \"c\"".to_owned() } else { format!("id = \"c\"\n{channel}") };
    format!("{}[[channel.profile]]\n{profile}", GOOD.replacen("id = \"c\"", &id, 1))
}

#[test]
fn a_profile_says_what_its_devices_are_offered() {
    use {DashForm as Dash, HlsForm as Hls};
    let all = "serve = [\"ll-hls\", \"hls-ts\", \"dash\", \"ll-dash\"]";
    for (channel, profile, hls, dash) in [
        ("", "", Some(Hls::Segments), Some(Dash::Segments)),
        ("latency = \"low\"", "", Some(Hls::Parts), Some(Dash::LowLatency)),
        ("latency = \"low\"", "serve = [\"hls\"]", Some(Hls::Segments), None),
        (all, "serve = [\"hls\", \"dash\"]", Some(Hls::Segments), Some(Dash::Segments)),
        (all, "serve = [\"hls-ts\", \"ll-dash\"]", Some(Hls::TransportStream), Some(Dash::LowLatency)),
        ("serve = [\"hls-ts\"]", "", Some(Hls::TransportStream), None),
    ] {
        let text = with(channel, &format!("id = \"tv\"\n{profile}\nheight = \"100-200\"\norder = \"v180\"\n"));
        let config = parse(&text).unwrap_or_else(|r| panic!("{text}\n{r}"));
        let [got] = &config.channels[0].profiles[..] else { panic!("one profile") };
        assert_eq!((got.id.as_str(), got.hls, got.dash), ("tv", hls, dash), "{text}");
        let mut view = View::default();
        view.set(Filter::Height, "100-200").unwrap();
        view.set(Filter::Order, "v180").unwrap();
        assert_eq!(got.view, view);
    }
    let text = with("", "id = \"tv\"\nserve = [\"hls\"]\n");
    let summary = parse(&text).unwrap_or_else(|r| panic!("{r}")).summary().to_string();
    assert!(summary.contains("  profile  tv by HLS\n"), "{summary}");
}

#[test]
fn each_mistake_of_a_profile_is_named_with_its_mend() {
    let low = "latency = \"low\"";
    for (channel, profile, line, path, text) in [
        ("", "", 9, "channel[c].profile[0].id", "is missing"),
        ("", "id = \"TV\"\n", 10, "channel[c].profile[TV].id", "is not a name"),
        ("", "id = \"v360\"\n", 10, "channel[c].profile[v360].id", "name of something else"),
        ("", "id = \"audio\"\n", 10, "channel[c].profile[audio].id", "name of something else"),
        ("", "id = \"ts\"\n", 10, "channel[c].profile[ts].id", "name of something else"),
        ("", "id = \"trick-1\"\n", 10, "channel[c].profile[trick-1].id", "name of something else"),
        ("", "id = \"a\"\n[[channel.profile]]\nid = \"a\"\n", 12, "channel[c].profile[a].id", "another profile"),
        ("", "id = \"a\"\nserve = []\n", 11, "channel[c].profile[a].serve", "nobody is served"),
        ("", "id = \"a\"\nserve = [\"ll-hls\"]\n", 11, "channel[c].profile[a].serve", "add it to the channel's serve"),
        (low, "id = \"a\"\nserve = [\"hls-ts\"]\n", 12, "channel[c].profile[a].serve", "add it to the channel's serve"),
        (low, "id = \"a\"\nserve = [\"hls\", \"ll-hls\"]\n", 12, "channel[c].profile[a].serve", "make two profiles"),
        (low, "id = \"a\"\nserve = [\"dash\", \"ll-dash\"]\n", 12, "channel[c].profile[a].serve", "make two profiles"),
        ("", "id = \"a\"\nheight = \"720p\"\n", 11, "channel[c].profile[a].height", "`720p` cannot be read / height"),
        ("", "id = \"a\"\nheight = 720\n", 11, "channel[c].profile[a].height", "write text in quotes"),
        ("", "id = \"a\"\nbitrate = \"3Mbps-1Mbps\"\n", 11, "channel[c].profile[a].bitrate", "500kbps-3Mbps"),
        ("", "id = \"a\"\ncodec = \"vp9\"\n", 11, "channel[c].profile[a].codec", "h264"),
        ("", "id = \"a\"\norder = \"v18\"\n", 11, "channel[c].profile[a].order", "did you mean `v180`?"),
        ("", "id = \"a\"\nstart_offset = \"soon\"\n", 11, "channel[c].profile[a].start_offset", "cannot be read"),
        ("", "id = \"a\"\nstart_offset = \"-5s\"\n", 11, "channel[c].profile[a].start_offset", "write \"-6s\" or more"),
        (
            "",
            "id = \"a\"\nstart_offset = \"61s\"\n",
            11,
            "channel[c].profile[a].start_offset",
            "does not lie in the window",
        ),
        (
            "",
            "id = \"a\"\nstart_precise = \"yes\"\n",
            11,
            "channel[c].profile[a].start_precise",
            "without start_offset",
        ),
        ("", "id = \"a\"\nheigth = \"1\"\n", 11, "channel[c].profile[a].heigth", "did you mean `height`?"),
        ("", "id = \"a\"\nheight = \"2160\"\nchannels = \"6\"\n", 9, "channel[c].profile[a]", "lists no rendition"),
    ] {
        let text_of = with(channel, profile);
        let found = mistakes(&text_of);
        let hit = found.iter().any(|(l, p, t)| *l == line && p == path && t.contains(text));
        assert!(
            hit && found.len() == 1,
            "no `{path}` at line {line} with `{text}`, or more, in\n{found:#?}\n{text_of}"
        );
    }
    // What "auto" calls its rungs nobody knows yet.
    let auto = with("", "id = \"v1080\"\n").replace("../pipelines/ladders/test.toml", "auto");
    assert!(mistakes(&auto)[0].2.contains("name of something else"));
    let many: String = (0..33).map(|i| format!("[[channel.profile]]\nid = \"p{i}\"\n")).collect();
    assert!(mistakes(&format!("{GOOD}{many}"))[0].2.contains("more than 32 profiles"));
    let relay = with("", "id = \"a\"\n").replace("../pipelines/ladders/test.toml", "none");
    let found = mistakes(&relay);
    assert!(
        found.len() == 1 && found[0].1 == "channel[c].profile[a]" && found[0].2.contains("ladder = \"none\""),
        "{found:#?}"
    );
}

#[test]
fn a_rendition_called_as_the_folder_of_transport_streams_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ladder = fs::read_to_string(root().join("pipelines/ladders/test.toml")).unwrap();
    let path = folder.path().join("ladder.toml");
    fs::write(&path, ladder.replace("\"v180\"", "\"ts\"")).unwrap();
    let text = GOOD.replace("../pipelines/ladders/test.toml", path.to_str().unwrap());
    let with = |serve: &str| text.replacen("id = \"c\"", &format!("id = \"c\"\nserve = {serve}"), 1);
    assert!(parse(&with("[\"hls\"]")).is_ok(), "there is no such folder");
    let found = mistakes(&with("[\"hls\", \"hls-ts\"]"));
    assert!(
        found.len() == 1 && found[0].1 == "channel[c].serve" && found[0].2.contains("take hls-ts out"),
        "{found:#?}"
    );
}

#[test]
fn where_players_begin() {
    let good = with(
        "start_offset = \"-20.5s\"\nstart_precise = true",
        "id = \"a\"\nstart_offset = \"10\"\nstart_precise = \"no\"\n",
    );
    let config = parse(&good).unwrap_or_else(|r| panic!("{good}\n{r}"));
    let channel = &config.channels[0];
    assert_eq!(channel.serve.start, Some(StartAt { offset_ms: -20_500, precise: true }));
    assert_eq!(channel.profiles[0].view.start(), Some(StartAt { offset_ms: 10_000, precise: false }));
    for (channel, path, text) in [
        ("start_offset = \"-61s\"", "channel[c].start_offset", "does not lie in the window"),
        ("start_offset = \"-3s\"", "channel[c].start_offset", "write \"-6s\" or more"),
        ("start_offset = \"1h\"", "channel[c].start_offset", "cannot be read"),
        ("start_precise = true", "channel[c].start_precise", "without start_offset"),
        ("start_offset = \"-10s\"\nladder = \"none\"", "channel[c].start_offset", "ladder = \"none\""),
    ] {
        let all = with(channel, "id = \"a\"\n");
        let all = if channel.contains("none") { all.replacen("ladder = \"../", "#", 1) } else { all };
        let found = mistakes(&all);
        assert!(found.iter().any(|(_, p, t)| p == path && t.contains(text)), "{path} {text}: {found:#?}\n{all}");
    }
}
