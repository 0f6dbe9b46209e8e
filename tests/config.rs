//! Config as its users meet it: every file in `config/` and `pipelines/` is good, and each kind of mistake is found, at its
//! place, with its mend.

#![allow(clippy::unwrap_used)] // a test's helpers may fail as its assertions do

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use tandem::config::{Config, Input, Ladder, Report, Revert, SrtMode, schema};
use tandem::media::PipelineId;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let files: Vec<_> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    assert!(!files.is_empty(), "{folder} has files");
    files
}

/// A config of one channel, with `extra` at the end of the file; ladders are found beside the real ones.
fn parse(text: &str) -> Result<Config, Report> {
    Config::parse(&root().join("config/test.toml"), text)
}

/// `line: key: what is wrong / mend`, as far as a row cares.
fn mistakes(text: &str) -> Vec<(usize, String, String)> {
    let report = parse(text).expect_err("this config has mistakes");
    report.mistakes().iter().map(|m| (m.line, m.path.clone(), format!("{} / {}", m.wrong, m.mend))).collect()
}

const GOOD: &str = r#"[[channel]]
id = "c"
ladder = "../pipelines/ladders/test.toml"
[channel.pipelines]
a = ["s1"]
[[channel.source]]
id = "s1"
type = "srt"
"#;

#[test]
fn every_config_of_the_repository_is_good_and_says_what_it_does() {
    for file in toml_files("config") {
        let out = Command::new(env!("CARGO_BIN_EXE_tandem"))
            .args(["check".as_ref(), file.as_os_str()])
            .env("STUDIO_KEY", "correct horse battery")
            .env("FEED_KEY", "correct horse battery")
            .output()
            .unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(0), "{}: {stderr}", file.display());
        for needed in ["is good", "listens", "channel ", "pipeline a", "127.0.0.1:8080"] {
            assert!(stdout.contains(needed), "{} does not tell `{needed}`:\n{stdout}", file.display());
        }
        assert!(!stdout.contains("correct horse"), "a secret in {stdout}");
        let public = fs::read_to_string(&file).unwrap().lines().any(|l| l.starts_with("listen = \"0.0.0.0"));
        assert_eq!(stdout.contains("PUBLIC"), public, "{}:\n{stdout}", file.display());
    }
}

#[test]
fn every_ladder_of_the_repository_is_good_and_in_use() {
    for file in toml_files("pipelines/ladders") {
        Ladder::parse(&file, &fs::read_to_string(&file).unwrap()).unwrap_or_else(|r| panic!("{r}"));
    }
}

/// Style: every key of a config in the repository says what it is for, where it first appears.
#[test]
fn the_demo_explains_every_key() {
    let mut seen = std::collections::BTreeSet::new();
    let text = fs::read_to_string(root().join("config/demo.toml")).unwrap();
    for (line, text) in text.lines().enumerate() {
        let Some((key, rest)) = text.split_once('=').filter(|_| !text.starts_with([' ', '#'])) else { continue };
        let obvious = ["slate_text", "a", "b", "type", "size", "rate", "bitrate", "to"].contains(&key.trim());
        if seen.insert(key.trim().to_owned()) && !obvious {
            assert!(rest.contains('#'), "line {}: `{}` has no comment", line + 1, key.trim());
        }
    }
}

#[test]
fn the_demo_is_what_its_page_promises() {
    let demo = Config::load(&root().join("config/demo.toml")).unwrap();
    let channel = &demo.channels[0];
    assert_eq!(channel.sources.len(), 4);
    assert!(channel.sources.iter().all(|s| matches!(&s.input, Input::Srt(srt) if srt.mode == SrtMode::Shared)));
    assert_eq!(channel.pipelines.iter().map(|p| p.id).collect::<Vec<_>>(), [PipelineId::A, PipelineId::B]);
    assert_eq!(
        channel.ladder.video.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(),
        ["v720", "v432", "v360", "v216"]
    );
    assert_eq!(demo.signals[0].to.len(), 4);
    for address in [demo.origin.listen, demo.control.listen, demo.srt.listen] {
        assert!(address.ip().is_loopback(), "{address}");
    }
}

#[test]
fn what_is_not_said_has_a_sane_default() {
    let config = parse(GOOD).unwrap_or_else(|r| panic!("{r}"));
    let channel = &config.channels[0];
    assert_eq!(config.origin.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.control.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.srt.listen.to_string(), "127.0.0.1:9710");
    assert_eq!(channel.title, "c");
    assert_eq!(channel.grid.segment(), Duration::from_secs(2));
    assert_eq!(channel.window, Duration::from_secs(60));
    assert_eq!(channel.hold, Duration::from_millis(600));
    assert_eq!(channel.loss.repeat_for, Duration::from_secs(1));
    assert_eq!(channel.failover.loss_after, Duration::from_millis(200));
    assert_eq!(channel.failover.join_buffer, Duration::from_secs(4));
    assert_eq!(channel.failover.revert, Revert::Never);
    assert_eq!(channel.pipelines.len(), 1);
}

#[test]
fn fields_become_pictures_as_is_said() {
    use tandem::encode::ipc::Deinterlace;
    for (text, want) in [
        ("", Deinterlace::Auto),
        ("deinterlace = \"auto\"", Deinterlace::Auto),
        ("deinterlace = \"bob\"", Deinterlace::Bob),
        ("deinterlace = \"blend\"", Deinterlace::Blend),
        ("deinterlace = \"top\"", Deinterlace::Top),
    ] {
        let text = GOOD.replace("id = \"c\"", &format!("id = \"c\"\n{text}"));
        let config = parse(&text).unwrap_or_else(|r| panic!("{r}"));
        assert_eq!(config.channels[0].deinterlace, want, "{text}");
    }
}

#[test]
fn a_default_part_divides_the_segment_evenly() {
    for (rate, want_micros) in
        [("24", 500_000), ("25", 400_000), ("29.97", 400_400), ("50", 500_000), ("59.94", 400_400), ("23.976", 333_667)]
    {
        let text = GOOD.replace("id = \"c\"", &format!("id = \"c\"\nframe_rate = \"{rate}\""));
        let channel = &parse(&text).unwrap_or_else(|r| panic!("{r}")).channels[0];
        let nanos = channel.part.as_nanos() as u64;
        assert_eq!((nanos + 500) / 1000, want_micros, "at {rate}");
        let segment = (channel.grid.segment().as_secs_f64() * channel.grid.rate().as_f64()).round();
        let part = channel.part.as_secs_f64() * channel.grid.rate().as_f64();
        assert!((segment / part).fract().min(1.0 - (segment / part).fract()) < 1e-6, "at {rate}");
    }
}

#[test]
fn all_mistakes_are_found_at_once_each_at_its_place() {
    let text = r#"[origin]
listen = "localhost:8080"
treads = 2
[srt]
memory_max = "1PB"
[[channel]]
id = "News"
frame_rate = "fast"
segment = 2
window = "1s"
hold = "100ms"
ladder = "none.toml"
[channel.pipelines]
a = ["s1", "s2", "s1"]
[[channel.source]]
id = "s1"
type = "srt"
passphrase = "hunter2hunter2"
latency = "9s"
[[channel.source]]
id = "s3"
type = "rtp"
[[channel.source]]
id = "s4"
[[channel.source]]
id = "s5"
type = "srt"
mode = "caler"
"#;
    let found = mistakes(text);
    let want = [
        (2, "origin.listen", "\"127.0.0.1:8080\""),
        (3, "origin.treads", "did you mean `threads`?"),
        (5, "srt.memory_max", "\"64MB\""),
        (7, "channel[News].id", "is not a name"),
        (8, "channel[News].frame_rate", "29.97"),
        (9, "channel[News].segment", "\"2s\""),
        (10, "channel[News].window", "6s (3 segments)"),
        (11, "channel[News].hold", "loss_after"),
        (12, "channel[News].ladder", "No such file"),
        (14, "channel[News].pipelines.a[1]", "no source `s2`"),
        (14, "channel[News].pipelines.a[2]", "twice"),
        (18, "channel[News].source[s1].passphrase", "env:NAME"),
        (19, "channel[News].source[s1].latency", "20ms to 8s"),
        (22, "channel[News].source[s3].type", "possible here: srt, test"),
        (23, "channel[News].source[s4]", "`type` is missing, or no text"),
        (28, "channel[News].source[s5].mode", "did you mean `caller`?"),
    ];
    for (line, path, text) in want {
        let hit = found.iter().any(|(l, p, t)| *l == line && p == path && t.contains(text));
        assert!(hit, "no `{path}` at line {line} with `{text}` in\n{found:#?}");
    }
    assert_eq!(found.len(), want.len(), "and nothing else: {found:#?}");
    assert!(!format!("{found:?}").contains("hunter2"), "the secret is repeated");
}

/// One mistake at a time: the good config with one change.
#[test]
fn each_mistake_is_named_with_its_mend() {
    let source = "type = \"srt\"\n";
    let rows: &[(&str, &str, &str, usize, &str, &str)] = &[
        // name, what is replaced, by what, line, path, text
        ("no channel", GOOD, "", 1, "channel", "is missing"),
        ("no id", "id = \"c\"\n", "", 1, "channel[0].id", "is missing"),
        ("no ladder", "ladder = \"../pipelines/ladders/test.toml\"\n", "", 1, "channel[c].ladder", "is missing"),
        ("no source", "[[channel.source]]\nid = \"s1\"\ntype = \"srt\"\n", "", 1, "channel[c].source", "is missing"),
        ("pipelines without a", "a = [", "b = [", 4, "channel[c].pipelines.a", "is missing"),
        ("empty pipeline", "a = [\"s1\"]", "a = []", 5, "channel[c].pipelines.a", "has no source"),
        ("not a list", "a = [\"s1\"]", "a = \"s1\"", 5, "channel[c].pipelines.a", "a list"),
        ("part too long", "id = \"c\"", "id = \"c\"\npart = \"3s\"", 3, "channel[c].part", "longer than a segment"),
        ("part uneven", "id = \"c\"", "id = \"c\"\npart = \"500ms\"", 3, "channel[c].part", "write 480ms or 520ms"),
        ("part tiny", "id = \"c\"", "id = \"c\"\npart = \"5ms\"", 3, "channel[c].part", "shorter than a frame"),
        ("segment", "id = \"c\"", "id = \"c\"\nsegment = \"500ms\"", 3, "channel[c].segment", "1 s to 10 s"),
        ("template", "id = \"c\"", "id = \"c\"\ntemplate = \"nowhere.toml\"", 3, "channel[c].template", "nowhere.toml"),
        (
            "fields",
            "id = \"c\"",
            "id = \"c\"\ndeinterlace = \"weave\"",
            3,
            "channel[c].deinterlace",
            "\"blend\" or \"top\"",
        ),
        ("window", "id = \"c\"", "id = \"c\"\nwindow = \"24h\"", 3, "channel[c].window", "1h are possible"),
        (
            "port 0",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"listener\"\nlisten = \"127.0.0.1:0\"",
            10,
            "channel[c].source[s1].listen",
            "write a port",
        ),
        (
            "port taken",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"listener\"\nlisten = \"0.0.0.0:9710\"",
            10,
            "channel[c].source[s1].listen",
            "is taken",
        ),
        (
            "listener without address",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"listener\"",
            6,
            "channel[c].source[s1].listen",
            "is missing",
        ),
        (
            "caller without address",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"caller\"",
            6,
            "channel[c].source[s1].address",
            "is missing",
        ),
        (
            "address",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"caller\"\naddress = \"srt://x:1\"",
            10,
            "channel[c].source[s1].address",
            "host and port",
        ),
        (
            "address of another mode",
            "type = \"srt\"",
            "type = \"srt\"\naddress = \"x:1\"",
            9,
            "channel[c].source[s1].address",
            "mode \"caller\" only",
        ),
        (
            "no such variable",
            source,
            "type = \"srt\"\npassphrase = \"env:TANDEM_NO_SUCH\"\n",
            9,
            "channel[c].source[s1].passphrase",
            "set TANDEM_NO_SUCH",
        ),
        (
            "no such secret file",
            source,
            "type = \"srt\"\npassphrase = \"file:no/such.key\"\n",
            9,
            "channel[c].source[s1].passphrase",
            "No such file",
        ),
        (
            "secret is no file",
            source,
            "type = \"srt\"\npassphrase = \"file:/\"\n",
            9,
            "channel[c].source[s1].passphrase",
            "is no file",
        ),
        (
            "secret as number",
            source,
            "type = \"srt\"\npassphrase = 1234567890\n",
            9,
            "channel[c].source[s1].passphrase",
            "env:NAME",
        ),
        (
            "key length",
            source,
            "type = \"srt\"\nkey_length = 17\n",
            9,
            "channel[c].source[s1].key_length",
            "16, 24 and 32",
        ),
        (
            "key of nothing",
            source,
            "type = \"srt\"\nkey_length = 16\n",
            9,
            "channel[c].source[s1].key_length",
            "no passphrase",
        ),
        ("program 0", source, "type = \"srt\"\nprogram = 0\n", 9, "channel[c].source[s1].program", "no programme"),
        (
            "program too large",
            source,
            "type = \"srt\"\nprogram = 70000\n",
            9,
            "channel[c].source[s1].program",
            "integer",
        ),
        (
            "key of another type",
            source,
            "type = \"test\"\nlatency = \"1s\"\n",
            9,
            "channel[c].source[s1].latency",
            "unknown key",
        ),
        ("odd size", source, "type = \"test\"\nsize = \"641x360\"\n", 9, "channel[c].source[s1].size", "write 640x360"),
        ("signal rate", source, "type = \"test\"\nrate = 26\n", 9, "channel[c].source[s1].rate", "59.94"),
        (
            "loss_after",
            "[channel.pipelines]",
            "failover.loss_after = \"1ms\"\n[channel.pipelines]",
            4,
            "channel[c].failover.loss_after",
            "50ms to 10s",
        ),
        (
            "revert",
            "[channel.pipelines]",
            "failover.revert = \"soon\"\n[channel.pipelines]",
            4,
            "channel[c].failover.revert",
            "\"never\"",
        ),
        ("signal to nowhere", source, "type = \"srt\"\n[[signal]]\nto = []\n", 10, "signal[0].to", "at least one"),
        ("signal without to", source, "type = \"srt\"\n[[signal]]\n", 9, "signal[0].to", "is missing"),
        (
            "signal to a stranger",
            source,
            "type = \"srt\"\n[[signal]]\nto = [\"srt://127.0.0.1:9710?streamid=c/s2\"]\n",
            10,
            "signal[0].to[0]",
            "did you mean `c/s1`?",
        ),
        (
            "signal with a secret",
            source,
            "type = \"srt\"\n[[signal]]\nto = [\"srt://x:1?passphrase=0123456789\"]\n",
            10,
            "signal[0].to[0]",
            "secret",
        ),
        (
            "signal by http",
            source,
            "type = \"srt\"\n[[signal]]\nto = [\"http://x:1\"]\n",
            10,
            "signal[0].to[0]",
            "no srt://",
        ),
        (
            "same source twice",
            source,
            "type = \"srt\"\n[[channel.source]]\nid = \"s1\"\ntype = \"test\"\n",
            10,
            "channel[c].source[s1].id",
            "another source",
        ),
    ];
    for (name, from, to, line, path, text) in rows {
        assert!(GOOD.contains(from), "{name}: the row fits the good config");
        let found = mistakes(&GOOD.replacen(from, to, 1));
        let hit = found.iter().any(|(l, p, t)| l == line && p == path && t.contains(text));
        assert!(hit, "{name}: no `{path}` at line {line} with `{text}` in\n{found:#?}");
        assert!(!format!("{found:?}").contains("123456789"), "{name}: a secret is repeated");
        // A channel without its sources also has a pipeline that names a missing one.
        if *name != "no source" {
            assert_eq!(found.len(), 1, "{name}: one mistake, one complaint: {found:#?}");
        }
    }
}

#[test]
fn two_channels_cannot_share_an_id() {
    let found = mistakes(&format!("{GOOD}{GOOD}"));
    assert_eq!((found.len(), found[0].0), (1, 10), "{found:#?}");
    assert!(found[0].2.contains("another channel"), "{found:#?}");
}

#[test]
fn mistakes_of_a_ladder_carry_its_own_lines() {
    let folder = tempfile::tempdir().unwrap();
    let ladder = "[[video]]\nid = \"a\"\nsize = \"320x181\"\nmax_bitrate = \"1Mbps\"\nbitrate = \"1Mbps\"\n\
                  [[video]]\nid = \"a\"\nsize = \"640x360\"\npreset = \"fastest\"\n[[audio]]\nchannels = 6\n";
    fs::write(folder.path().join("ladder.toml"), ladder).unwrap();
    let text = GOOD.replace("../pipelines/ladders/test.toml", "ladder.toml");
    let report = Config::parse(&folder.path().join("c.toml"), &text).expect_err("the ladder is bad");
    let found: Vec<_> = report.mistakes().iter().map(|m| (m.line, m.path.as_str(), m.wrong.as_str())).collect();
    assert!(report.mistakes().iter().all(|m| m.file.ends_with("ladder.toml")), "{report}");
    let lines: Vec<_> = found.iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [3, 5, 6, 7, 8, 9, 10, 11], "{report}");
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

#[test]
fn text_that_is_no_toml_is_told_line_by_line() {
    let found = mistakes("id = \nladder = 1 2\nx = 3\nladder = [\n");
    assert!(found.iter().any(|(line, _, text)| *line == 1 && text.contains("not TOML")), "{found:#?}");
    assert!(found.iter().any(|(line, _, text)| *line == 2 && text.contains("not TOML")), "{found:#?}");
    assert!(found.iter().all(|(_, _, text)| text.contains("not TOML")), "nothing else is said: {found:#?}");
}

#[test]
fn check_fails_with_all_mistakes_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    fs::write(&file, "chanel = 1\n[origin]\nthreads = 0\n").unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_tandem")).args(["check".as_ref(), file.as_os_str()]).output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{stderr}");
    for needed in
        ["bad.toml:1:1: chanel: unknown key", "did you mean `channel`?", "bad.toml:3:11: origin.threads", "3 mistakes"]
    {
        assert!(stderr.contains(needed), "no `{needed}` in\n{stderr}");
    }
}

#[test]
fn the_schema_knows_what_is_required() {
    let schema = schema(false);
    let required = |place: &serde_json::Value| -> Vec<String> {
        let mut all: Vec<_> =
            place["required"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().into()).collect();
        all.sort();
        all
    };
    assert_eq!(required(&schema), ["channel"]);
    assert_eq!(required(&schema["$defs"]["ChannelFile"]), ["id", "ladder", "pipelines", "source"]);
    assert_eq!(required(&schema["$defs"]["SourceFile"]["oneOf"][0]), ["id", "type"]);
}

#[test]
fn the_schema_knows_the_keys_of_the_demo() {
    fn keys(value: &toml::Value, into: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => table.iter().for_each(|(key, value)| {
                into.push(key.clone());
                keys(value, into);
            }),
            toml::Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
            _ => {}
        }
    }
    for (ladder, file) in [(false, "config/demo.toml"), (true, "pipelines/ladders/720p25.toml")] {
        let schema = schema(ladder).to_string();
        let mut all = Vec::new();
        keys(&fs::read_to_string(root().join(file)).unwrap().parse::<toml::Table>().unwrap().into(), &mut all);
        for key in all {
            assert!(schema.contains(&format!("\"{key}\":")), "{key}");
        }
        assert!(schema.contains("\"additionalProperties\":false"));
        assert!(!schema.contains("null"), "TOML has none: {schema}");
    }
}

proptest! {
    /// The mistakes of any text are told, and nothing panics.
    #[test]
    fn any_text_is_answered(text in "(\\PC|\n){0,400}") {
        let _ = parse(&text);
    }

    /// The demo with one stretch replaced: near misses go deeper than noise does.
    #[test]
    fn a_damaged_demo_is_answered(at in 0usize..4000, length in 0usize..60, by in r#"[a-z0-9"=\[\].{},\n -]{0,20}"#) {
        let demo = fs::read_to_string(root().join("config/demo.toml")).unwrap();
        let place = |mut i: usize| { while !demo.is_char_boundary(i.min(demo.len())) { i += 1 } i.min(demo.len()) };
        let (from, to) = (place(at), place(at + length));
        let _ = parse(&format!("{}{by}{}", &demo[..from], &demo[to..]));
    }
}
