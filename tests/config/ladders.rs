//! Ladders and what their rungs promise.

use super::*;

#[test]
fn bytes_are_equal_on_all_hosts_where_that_is_asked_for() {
    for (ladder, key, want) in [
        ("../pipelines/ladders/test.toml", "", false),
        ("../pipelines/ladders/test.toml", "instruction_set = \"host\"", false),
        ("../pipelines/ladders/test.toml", "instruction_set = \"avx2\"", true),
        ("auto", "instruction_set = \"avx2\"", true),
    ] {
        let text = GOOD.replace("../pipelines/ladders/test.toml", ladder);
        let config =
            parse(&text.replace("id = \"c\"", &format!("id = \"c\"\n{key}"))).unwrap_or_else(|r| panic!("{r}"));
        let channel = &config.channels[0];
        assert!(channel.ladder.video.iter().all(|rung| rung.portable == want), "{ladder} {key}");
        assert_eq!(config.summary().to_string().contains("on all hosts with AVX2"), want, "{ladder} {key}");
    }
}

#[test]
fn an_automatic_ladder_has_no_file() {
    let text = GOOD.replace("../pipelines/ladders/test.toml", "auto");
    let config = parse(&text).unwrap_or_else(|r| panic!("{r}"));
    let ladder = &config.channels[0].ladder;
    assert!(ladder.auto && ladder.video.len() > 1 && ladder.audio.len() == 1);
    assert!(config.summary().to_string().contains("made for the source"));
    let low = text.replace("id = \"c\"", "id = \"c\"\nlatency = \"low\"");
    assert!(parse(&low).unwrap().channels[0].ladder.video.iter().all(|r| r.zero_latency));
}

#[test]
fn mistakes_of_a_ladder_carry_its_own_lines() {
    let folder = tempfile::tempdir().unwrap();
    let ladder = "[[video]]\nid = \"a\"\nsize = \"320x181\"\nmax_bitrate = \"1Mbps\"\nbitrate = \"1Mbps\"\n\
                  [[video]]\nid = \"a\"\nsize = \"640x360\"\npreset = \"fastest\"\n[[audio]]\nchannels = 4\nlanguage = \"German\"\n";
    fs::write(folder.path().join("ladder.toml"), ladder).unwrap();
    let text = GOOD.replace("../pipelines/ladders/test.toml", "ladder.toml");
    let report = Config::parse(&folder.path().join("c.toml"), &text).expect_err("the ladder is bad");
    let found: Vec<_> = report.mistakes().iter().map(|m| (m.line, m.path.as_str(), m.wrong.as_str())).collect();
    assert!(report.mistakes().iter().all(|m| m.file.ends_with("ladder.toml")), "{report}");
    let lines: Vec<_> = found.iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [3, 5, 6, 7, 8, 9, 10, 11, 12], "{report}");
}

#[test]
fn a_ladder_has_pictures_or_sound() {
    let parse = |text: &str| Ladder::parse(Path::new("ladder.toml"), text);
    let sound = parse("[[audio]]\nid = \"a\"\n").unwrap_or_else(|r| panic!("{r}"));
    assert_eq!((sound.video.len(), sound.audio.len()), (0, 1));
    let silent = "[[video]]\nid = \"v\"\nsize = \"640x360\"\nmax_bitrate = \"1Mbps\"\n";
    assert_eq!(parse(silent).map(|l| l.video.len()).ok(), Some(1));
    let report = parse("").expect_err("nothing is no ladder");
    assert!(report.to_string().contains("for sound alone"), "{report}");
}

/// A ladder of one rung with these keys beside its id and size.
fn ladder_of(keys: &str) -> Result<Ladder, Report> {
    Ladder::parse(Path::new("l.toml"), &format!("[[video]]\nid = \"v\"\nsize = \"640x360\"\n{keys}\n"))
}

#[test]
fn each_kind_of_rung_can_be_written_down() {
    use tandem::encode::ladder::{RateControl, VideoEncoder};
    let crf = |crf| RateControl::CappedCrf { crf, max_bitrate: 1_000_000 };
    let vbr = RateControl::Vbr { bitrate: 500_000, max_bitrate: 1_000_000 };
    let cbr = RateControl::Cbr { bitrate: 500_000 };
    let cap = "max_bitrate = \"1Mbps\"\n";
    // keys, encoder, rate, bframes, look-ahead, profile
    for (keys, encoder, rate, bframes, lookahead, profile) in [
        (String::new() + cap, VideoEncoder::X264, crf(23.0), 2, 10, "high"),
        (format!("rate_control = \"vbr\"\nbitrate = \"500kbps\"\n{cap}"), VideoEncoder::X264, vbr, 2, 10, "high"),
        ("rate_control = \"cbr\"\nbitrate = \"500kbps\"".into(), VideoEncoder::X264, cbr, 2, 10, "high"),
        (format!("zero_latency = true\n{cap}"), VideoEncoder::X264, crf(23.0), 0, 0, "high"),
        (format!("encoder = \"x265\"\ncrf = 27.5\n{cap}"), VideoEncoder::X265, crf(27.5), 2, 10, "main"),
        (format!("encoder = \"aom\"\ncrf = 55\n{cap}"), VideoEncoder::Aom, crf(55.0), 0, 10, "main"),
        (format!("encoder = \"auto\"\n{cap}"), VideoEncoder::Auto, crf(23.0), 0, 10, "high"),
    ] {
        let ladder = ladder_of(&keys).unwrap_or_else(|r| panic!("{keys}: {r}"));
        let rung = &ladder.video[0];
        let got = (rung.encoder, rung.rate, rung.bframes, rung.lookahead, rung.profile.as_str());
        assert_eq!(got, (encoder, rate, bframes, lookahead, profile), "{keys}");
    }
    let rung = ladder_of(&format!("gops = 4\nchains = 2\n{cap}")).unwrap().video.remove(0);
    assert_eq!((rung.gops, rung.chains), (4, 2));
}

#[test]
fn rungs_that_cannot_be_are_refused_with_a_mend() {
    let cap = "max_bitrate = \"1Mbps\"";
    for (keys, path, wrong, mend) in [
        ("rate_control = \"vbr\"\nmax_bitrate = \"1Mbps\"", "bitrate", "is missing", "add bitrate"),
        (
            "rate_control = \"cbr\"\nbitrate = \"1Mbps\"\nmax_bitrate = \"1Mbps\"",
            "max_bitrate",
            "no other cap",
            "leave it out",
        ),
        ("rate_control = \"vbr\"\nbitrate = \"2Mbps\"\nmax_bitrate = \"1Mbps\"", "bitrate", "above the cap", "at most"),
        ("rate_control = \"cbr\"\nbitrate = \"1Mbps\"\ncrf = 20", "crf", "bit rate decides", "capped-crf"),
        ("rate_control = \"crf\"\nmax_bitrate = \"1Mbps\"", "rate_control", "", "capped-crf"),
        ("bitrate = \"1Mbps\"\nmax_bitrate = \"1Mbps\"", "bitrate", "no mean", "vbr"),
        ("crf = 23.5", "crf", "no rate factor", "whole numbers from 0 to 51"),
        ("encoder = \"x265\"\ncrf = 60", "crf", "no rate factor", "numbers from 0 to 51"),
        ("encoder = \"x265\"\nlookahead = 2", "lookahead", "x265 looks further", "write 3 at least"),
        ("encoder = \"x265\"\nprofile = \"high\"", "profile", "profile main", "leave it out"),
        ("encoder = \"nvenc\"\nbframes = 2", "bframes", "not asked for B-frames", "write 0"),
        ("encoder = \"x266\"", "encoder", "not possible here", "x264"),
        (
            "encoder = \"aom\"\nrate_control = \"vbr\"\nbitrate = \"1Mbps\"",
            "rate_control",
            "no cap beside a mean",
            "cbr",
        ),
        ("zero_latency = true\nbframes = 1", "bframes", "waits", "zero_latency = false"),
        ("zero_latency = true\nlookahead = 1", "lookahead", "waiting", "write 0"),
        ("zero_latency = true\nchains = 2", "chains", "a GOP of latency", "leave it out"),
        ("gops = 0", "gops", "0 GOPs a segment", "1 to 8"),
        ("chains = 9", "chains", "9 chains at once", "1 to 8"),
    ] {
        let keys =
            if keys.contains("itrate") && !keys.contains("aom") { keys.to_owned() } else { format!("{keys}\n{cap}") };
        let report = ladder_of(&keys).expect_err(&keys);
        let found = report
            .mistakes()
            .iter()
            .any(|m| m.path.ends_with(path) && m.wrong.contains(wrong) && m.mend.contains(mend));
        assert!(found && report.mistakes().len() == 1, "{keys}: {report}");
    }
}

#[test]
fn a_ladder_may_hold_several_formats_each_from_the_largest_down() {
    let rung = |id: &str, size: &str, more: &str| {
        format!("[[video]]\nid = \"{id}\"\nsize = \"{size}\"\nmax_bitrate = \"1Mbps\"\n{more}\n")
    };
    let x265 = "encoder = \"x265\"";
    let two = rung("a", "640x360", "") + &rung("b", "384x216", "");
    let good = two.clone() + &rung("c", "640x360", x265) + &rung("d", "384x216", x265);
    assert!(Ladder::parse(Path::new("l.toml"), &good).is_ok());
    let bad = two + &rung("c", "384x216", x265) + &rung("d", "640x360", x265);
    assert_eq!(Ladder::parse(Path::new("l.toml"), &bad).unwrap_err().mistakes().len(), 1);
}

#[test]
fn what_cannot_promise_equal_bytes_must_be_allowed_to() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let rung = |more: &str| format!("[[video]]\nid = \"v\"\nsize = \"854x480\"\nmax_bitrate = \"1Mbps\"\n{more}\n");
    let template = fs::read_to_string(root().join("pipelines/encode.toml")).unwrap();
    write("two.toml", &template.replace("threads=1 sync-lookahead", "threads=2 sync-lookahead"));
    write("free.toml", &template.replace("key-int-max=600 {rate}{asm}", "key-int-max=600 {rate}"));
    for (name, more, key, reason) in [
        ("hardware", "encoder = \"vaapi\"", "", "is hardware"),
        ("perhaps hardware", "encoder = \"auto\"", "", "takes hardware where there is some"),
        ("not measured", "encoder = \"svtav1\"", "", "not been measured"),
        ("threads", "", "template = \"two.toml\"", "more than one thread"),
        ("any instruction set", "", "template = \"free.toml\"", "no asm= keeps it"),
    ] {
        write("ladder.toml", &rung(more));
        let channel = |deterministic: &str| {
            let text =
                GOOD.replace("../pipelines/ladders/test.toml\"", &format!("ladder.toml\"\n{key}\n{deterministic}"));
            Config::parse(&folder.path().join("c.toml"), &text)
        };
        let report = channel("").expect_err(name);
        let [mistake] = report.mistakes() else { panic!("{name}: {report}") };
        assert_eq!((mistake.path.as_str(), mistake.line), ("channel[c].ladder", 3), "{name}");
        assert!(mistake.wrong.contains(reason) && mistake.mend.contains("deterministic = false"), "{name}: {report}");
        let config = channel("deterministic = false").unwrap_or_else(|r| panic!("{name}: {r}"));
        assert!(!config.channels[0].deterministic);
        let told = config.summary().to_string();
        assert!(told.contains(reason) && told.contains("not compared"), "{name}: {told}");
    }
    write("ladder.toml", &rung("encoder = \"x265\""));
    let text = GOOD.replace("../pipelines/ladders/test.toml", "ladder.toml");
    let config = Config::parse(&folder.path().join("c.toml"), &text).unwrap();
    assert!(config.channels[0].deterministic && !config.summary().to_string().contains("cannot promise"));
}
