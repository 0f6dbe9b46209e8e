//! Sources: what may be written down, and what cannot be.

use std::time::Duration;

use tandem::config::{FecPorts, Interface};

use super::*;

#[test]
fn sources_of_datagrams_are_read_and_open_ones_are_told() {
    let with = |keys: &str| {
        let text = GOOD.replace("type = \"srt\"", keys);
        parse(&text).unwrap_or_else(|r| panic!("{r}"))
    };
    let config =
        with("type = \"rtp\"\naddress = \"[ff3e::1]:5004\"\nfec = true\nfec_rows = 6000\ninterface = \"eth0\"");
    let Input::Rtp(rtp) = &config.channels[0].sources[0].input else { panic!("it is RTP") };
    assert_eq!(rtp.fec, Some(FecPorts { columns: 5006, rows: 6000 }));
    assert_eq!(
        (rtp.reorder, &rtp.datagrams.interface),
        (Duration::from_millis(50), &Some(Interface::Name("eth0".into())))
    );
    for (keys, open) in [
        ("type = \"udp\"\naddress = \"0.0.0.0:5004\"", true),
        ("type = \"udp\"\naddress = \"0.0.0.0:5004\"\nallow = [\"10.0.0.0/8\"]", false),
        ("type = \"rtp\"\naddress = \"239.1.1.1:5004\"", true),
        ("type = \"rtp\"\naddress = \"239.1.1.1:5004\"\nfrom = [\"192.0.2.7\"]", false),
        ("type = \"udp\"\naddress = \"127.0.0.1:5004\"", false),
    ] {
        assert_eq!(with(keys).summary().to_string().contains("OPEN: "), open, "{keys}");
    }
}

#[test]
fn secrets_come_from_files_and_stay_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let ladder = root().join("pipelines/ladders/test.toml");
    let text = GOOD
        .replace("../pipelines/ladders/test.toml", ladder.to_str().unwrap())
        .replace("type = \"srt\"", "type = \"srt\"\npassphrase = \"file:feed.key\"");
    for (secret, good) in [("0123456789\n", true), ("short", false), (&*"x".repeat(80), false)] {
        fs::write(folder.path().join("feed.key"), secret).unwrap();
        match Config::parse(&folder.path().join("c.toml"), &text) {
            Ok(config) => {
                assert!(good, "{secret}");
                let Input::Srt(srt) = &config.channels[0].sources[0].input else { panic!("it is SRT") };
                assert_eq!(srt.passphrase.as_ref().map(|p| p.reveal()), Some("0123456789"));
                assert!(!format!("{config:?}{}", config.summary()).contains("0123456789"));
            }
            Err(report) => {
                assert!(!good, "{report}");
                assert!(!report.to_string().contains(secret), "{report}");
            }
        }
    }
}

/// [`GOOD`] with these lines for its source, from line 7 on.
fn with_source(lines: &str) -> String {
    let ladder = root().join("pipelines/ladders/test.toml");
    let text = GOOD.replace("../pipelines/ladders/test.toml", ladder.to_str().unwrap());
    text.replace("id = \"s1\"\ntype = \"srt\"\n", &format!("id = \"s1\"\n{lines}\n"))
}

#[test]
fn sources_that_we_fetch_are_written_down() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "correct horse\n").unwrap();
    fs::write(folder.path().join("clip.ts"), "").unwrap();
    let parse = |lines: &str| Config::parse(&folder.path().join("c.toml"), &with_source(lines));
    for (lines, url, udp, user) in [
        ("type = \"rtsp\"\nurl = \"rtsp://camera.example/a?b=c\"", "rtsp://camera.example/a?b=c", false, None),
        ("type = \"rtsp\"\nurl = \"rtsp://[::1]:8554/a\"\ntransport = \"udp\"", "rtsp://[::1]:8554/a", true, None),
        (
            "type = \"rtsp\"\nurl = \"rtsp://192.0.2.1\"\nuser = \"me\"\npassword = \"file:key\"",
            "rtsp://192.0.2.1",
            false,
            Some("me"),
        ),
    ] {
        let config = parse(lines).unwrap_or_else(|r| panic!("{lines}: {r}"));
        let Input::Rtsp(rtsp) = &config.channels[0].sources[0].input else { panic!("it is RTSP") };
        let name = rtsp.user.as_ref().map(|(name, _)| name.as_str());
        assert_eq!((rtsp.url.as_str(), rtsp.udp, name), (url, udp, user), "{lines}");
        if let Some((_, password)) = &rtsp.user {
            assert_eq!(password.reveal(), "correct horse");
        }
        let told = format!("{config:?}{}", config.summary());
        assert!(!told.contains("correct horse") && told.contains(url), "{told}");
    }
    let config = parse("type = \"file\"\npath = \"clip.ts\"\nprogram = 7").unwrap_or_else(|r| panic!("{r}"));
    let source = &config.channels[0].sources[0];
    assert!(matches!(&source.input, Input::File(path) if *path == folder.path().join("clip.ts")), "{source:?}");
    assert_eq!(source.program, Some(7));
    assert!(config.summary().to_string().contains("clip.ts again and again"), "{}", config.summary());
}

#[test]
fn sources_that_cannot_be_fetched_are_refused_with_a_mend() {
    for (lines, line, key, wrong, mend) in [
        ("type = \"rtsp\"", 6, "url", "is missing", "add url"),
        ("type = \"rtsp\"\nurl = \"http://a/b\"", 9, "url", "no rtsp:// address", "rtsp://camera"),
        ("type = \"rtsp\"\nurl = \"rtsp:///b\"", 9, "url", "cannot be called", "rtsp://camera"),
        ("type = \"rtsp\"\nurl = \"rtsp://a:99999/b\"", 9, "url", "cannot be called", "rtsp://camera"),
        ("type = \"rtsp\"\nurl = \"rtsp://me:hunter2@a/b\"", 9, "url", "never stands in the config", "env:NAME"),
        ("type = \"rtsp\"\nurl = \"me:hunter2@a/b\"", 9, "url", "is no rtsp:// address", "rtsp://camera"),
        ("type = \"rtsp\"\nurl = \"rtsp://a\"\nuser = \"me\"", 10, "user", "has no password", "password"),
        ("type = \"rtsp\"\nurl = \"rtsp://a\"\npassword = \"env:PATH\"", 10, "password", "no user", "add user"),
        (
            "type = \"rtsp\"\nurl = \"rtsp://a\"\nuser = \"me\"\npassword = \"env:NO_SUCH_NAME\"",
            11,
            "password",
            "no environment variable NO_SUCH_NAME",
            "set NO_SUCH_NAME",
        ),
        ("type = \"rtsp\"\nurl = \"rtsp://a\"\ntransport = \"sctp\"", 10, "transport", "sctp", "tcp"),
        ("type = \"file\"", 6, "path", "is missing", "add path"),
        ("type = \"file\"\npath = \"none.ts\"", 9, "path", "none.ts", "give the path"),
        ("type = \"file\"\npath = \"/\"", 9, "path", "is no file", "give the path"),
        ("type = \"file\"\npath = \"/dev/null\"", 9, "path", "is no file", "give the path"),
    ] {
        let found = mistakes(&with_source(lines));
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        let (at, path, text) = &found[0];
        assert_eq!((*at, path.rsplit('.').next()), (line, Some(key)), "{lines}: {text}");
        assert!(text.contains(wrong) && text.contains(mend), "{lines}: {text}");
        assert!(!text.contains("hunter2"), "a secret in {text}");
    }
}

/// A merged source `m` of `s1` and `s2`; `keys` are further lines of it, from line 9 on.
fn merged(keys: &str) -> String {
    GOOD.replace("a = [\"s1\"]", "a = [\"m\"]").replace("id = \"s1\"\ntype = \"srt\"\n", &format!(
        "id = \"m\"\ntype = \"merge\"\n{keys}[[channel.source]]\nid = \"s1\"\ntype = \"srt\"\n[[channel.source]]\nid = \"s2\"\n\
         type = \"rtp\"\naddress = \"127.0.0.1:5004\"\n[[channel.source]]\nid = \"t\"\ntype = \"test\"\n"
    ))
}

#[test]
fn a_merged_source_has_paths_and_a_window() {
    for (keys, window, program) in [
        ("of = [\"s1\", \"s2\"]\n", Duration::from_millis(200), None),
        ("of = [\"s2\", \"s1\"]\nrecovery_window = \"15s\"\nprogram = 3\n", Duration::from_secs(15), Some(3)),
    ] {
        let config = parse(&merged(keys)).unwrap_or_else(|r| panic!("{r}"));
        let channel = &config.channels[0];
        let source = &channel.sources[0];
        let Input::Merge(merge) = &source.input else { panic!("{source:?}") };
        assert_eq!((merge.of.len(), merge.recovery_window, source.program), (2, window, program));
        for path in &merge.of {
            assert_eq!(channel.merged_by(path), Some(&source.id.source));
        }
        assert_eq!(channel.merged_by(&channel.sources[3].id.source), None);
        let told = config.summary().to_string();
        assert!(told.contains("merges s") && told.matches("a path of m").count() == 2, "{told}");
        assert_eq!(told.matches("never on air").count(), 1, "{told}");
    }
}

#[test]
fn paths_that_cannot_be_merged_are_refused_with_a_mend() {
    let of = |list: &str| merged(&format!("of = [{list}]\n"));
    let good = of("\"s1\", \"s2\"");
    let second = "[[channel.source]]\nid = \"n\"\ntype = \"merge\"\nof = [\"s1\", \"s2\"]\n";
    for (name, text, line, key, wrong, mend) in [
        ("none", merged(""), 6, "source[m].of", "is missing", "add of"),
        ("one", of("\"s1\""), 9, "source[m].of", "1 paths", "2 to 8"),
        ("no such", of("\"s1\", \"s3\""), 9, "source[m].of[1]", "no source `s3`", "did you mean"),
        ("twice", of("\"s1\", \"s1\""), 9, "source[m].of[1]", "listed twice", "once"),
        ("no transport stream", of("\"s1\", \"t\""), 9, "source[m].of[1]", "\"test\" and cannot", "\"srt\", \"rtp\""),
        ("itself", of("\"s1\", \"m\""), 9, "source[m].of[1]", "\"merge\" and cannot", "\"srt\", \"rtp\""),
        (
            "too long",
            merged("of = [\"s1\", \"s2\"]\nrecovery_window = \"16s\"\n"),
            10,
            "source[m].recovery_window",
            "16s",
            "20ms to 15s",
        ),
        (
            "on air",
            good.replace("a = [\"m\"]", "a = [\"m\", \"s2\"]"),
            5,
            "pipelines.a[1]",
            "a path of `m`",
            "merged source",
        ),
        (
            "programme",
            good.replace(":5004\"", ":5004\"\nprogram = 2"),
            17,
            "source[s2].program",
            "whole stream",
            "\"merge\"",
        ),
    ] {
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let (at, path, told) = &found[0];
        assert_eq!((*at, path.strip_prefix("channel[c].")), (line, Some(key)), "{name}: {told}");
        assert!(told.contains(wrong) && told.contains(mend), "{name}: {told}");
    }
    let found = mistakes(&format!("{good}{second}"));
    assert_eq!(found.len(), 2, "each of the two paths has an owner: {found:?}");
    assert!(found.iter().all(|(_, _, told)| told.contains("is a path of `m` already")), "{found:?}");
}
