//! Config as its users meet it: every file in `config/` and `pipelines/` is good, and each kind of mistake is found, at its
//! place, with its mend.

#![allow(clippy::unwrap_used)] // a test's helpers may fail as its assertions do

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use tandem::config::{
    Condition, Config, Content, FecPorts, Input, Interface, Ladder, Limits, Redundancy, Report, Revert, SourceOrder,
    SrtMode, schema,
};
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
            .env("CAMERA_KEY", "correct horse battery")
            .output()
            .unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(0), "{}: {stderr}", file.display());
        // A relay serves nothing.
        let relays = fs::read_to_string(&file).unwrap().contains("ladder = \"none\"");
        assert_eq!(stdout.contains("127.0.0.1:8080"), !relays, "{}:\n{stdout}", file.display());
        for needed in ["is good", "listens", "channel ", "pipeline a", "127.0.0.1:8081"] {
            assert!(stdout.contains(needed), "{} does not tell `{needed}`:\n{stdout}", file.display());
        }
        assert!(!stdout.contains("correct horse"), "a secret in {stdout}");
        let public = fs::read_to_string(&file)
            .unwrap()
            .lines()
            .any(|l| l.starts_with("listen = \"0.0.0.0") || l.starts_with("address = \"0.0.0.0"));
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
fn conditions_are_read_with_their_limits() {
    let keys = "[channel.failover]\nrevert = \"3s\"\nno_video = {}\nsync_loss = { after = \"1s\", clear = \"2s\" }\n\
                continuity_errors = { after = \"4s\", per_second = 20 }\n[channel.pipelines]";
    let config = parse(&GOOD.replace("[channel.pipelines]", keys)).unwrap_or_else(|r| panic!("{r}"));
    let failover = &config.channels[0].failover;
    assert_eq!(failover.hold_down, Duration::from_secs(3), "that of revert");
    let seconds = Duration::from_secs;
    let limits = |condition, after, clear, per_second| Limits { condition, after, clear, per_second };
    assert_eq!(
        failover.conditions,
        [
            limits(Condition::NoVideo, seconds(1), seconds(5), 1),
            limits(Condition::SyncLoss, seconds(1), seconds(2), 1),
            limits(Condition::Continuity, seconds(4), seconds(5), 20),
        ]
    );
}

#[test]
fn what_is_in_a_source_is_read_with_its_limits() {
    let with =
        |keys: &str| GOOD.replace("[channel.pipelines]", &format!("[channel.failover]\n{keys}\n[channel.pipelines]"));
    let plain =
        parse(&with("black = {}\nfrozen = {}\nsilent = {}\ndecoder_errors = {}")).unwrap_or_else(|r| panic!("{r}"));
    let failover = &plain.channels[0].failover;
    let usual =
        [Condition::Black, Condition::Frozen, Condition::Silent, Condition::DecoderErrors].map(Limits::usual).to_vec();
    assert_eq!((&failover.conditions, failover.content), (&usual, Content::default()));
    assert!(plain.summary().to_string().contains("decodes pictures and sound of all 1 sources"), "{}", plain.summary());
    let keys = "black = { after = \"1s\", level = \"5%\", share = \"100%\" }\nfrozen = { change = \"0.5%\" }\n\
                silent = { level = \"-60dBFS\" }\ndecoder_errors = { after = \"4s\", clear = \"2s\", per_second = 3 }";
    let config = parse(&with(keys)).unwrap_or_else(|r| panic!("{r}"));
    let failover = &config.channels[0].failover;
    let content = Content { dark_level: 0.05, dark_share: 1.0, change: 0.005, silence: -60.0 };
    assert_eq!(failover.content, content);
    assert_eq!(failover.conditions[0].after, Duration::from_secs(1));
    let seconds = Duration::from_secs;
    let errors = Limits { condition: Condition::DecoderErrors, after: seconds(4), clear: seconds(2), per_second: 3 };
    assert_eq!(failover.conditions[3], errors);
    for (keys, key, wrong) in [
        ("black = { after = \"900ms\" }", "black.after", "1s to 3600s are possible"),
        ("black = { level = \"60%\" }", "black.level", "60% / 0% to 50% are possible"),
        ("black = { share = \"40%\" }", "black.share", "50% to 100% are possible"),
        ("frozen = { change = \"0.1%\" }", "frozen.change", "0.5% to 25% are possible"),
        ("silent = { level = \"-5dBFS\" }", "silent.level", "-100dBFS to -10dBFS are possible"),
        ("silent = { level = \"50\" }", "silent.level", "-50dBFS"),
        ("decoder_errors = { after = \"1s\" }", "decoder_errors.after", "2s to 3600s are possible"),
        ("decoder_errors = { per_second = 0 }", "decoder_errors.per_second", "1 to 1000 are possible"),
        ("frozen = { level = \"1%\" }", "frozen.level", "unknown key"),
    ] {
        let found = mistakes(&with(keys));
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert_eq!((found[0].0, found[0].1.as_str()), (5, format!("channel[c].failover.{key}").as_str()), "{keys}");
        assert!(found[0].2.contains(wrong), "{keys}: {found:?}");
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
    assert_eq!(channel.loss.black_for, Duration::from_secs(1));
    assert!((800_000_000..1_000_000_000).contains(&channel.memory_max), "{}", channel.memory_max);
    assert_eq!(channel.failover.loss_after, Duration::from_millis(200));
    assert_eq!(channel.failover.join_buffer, Duration::from_secs(4));
    assert_eq!(channel.failover.revert, Revert::Never);
    assert_eq!(channel.failover.order, SourceOrder::Preferred);
    assert_eq!(channel.failover.hold_down, Duration::from_secs(10));
    assert_eq!(channel.failover.conditions, [], "a source that flows is left for nothing that the file does not name");
    assert_eq!(channel.pipelines.len(), 1);
    assert_eq!(channel.redundancy, Redundancy::Hot);
}

#[test]
fn warm_standby_needs_what_it_rests_on() {
    let warm = GOOD.replace("id = \"c\"", "id = \"c\"\nredundancy = \"warm\"");
    let pair = warm.replace("a = [\"s1\"]", "a = [\"s1\"]\nb = [\"s1\"]");
    let config = parse(&pair).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(config.channels[0].redundancy, Redundancy::Warm);
    assert!(config.summary().to_string().contains("warm"), "{}", config.summary());
    let found = mistakes(&warm);
    assert_eq!(found.len(), 1, "{found:?}");
    let (line, key, text) = &found[0];
    assert_eq!((*line, key.as_str()), (3, "channel[c].redundancy"));
    assert!(text.contains("no pipeline b to stand by / list its sources"), "{text}");
    let found = mistakes(&pair.replace("\"warm\"", "\"lukewarm\""));
    assert!(found[0].2.contains("lukewarm") && found[0].2.contains("warm"), "{found:?}");
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
fn low_latency_is_in_the_encoders_and_in_what_is_not_said() {
    let low = |more: &str| {
        let text = GOOD.replace("id = \"c\"", &format!("id = \"c\"\nlatency = \"low\"\n{more}"));
        parse(&text).unwrap_or_else(|r| panic!("{r}")).channels.remove(0)
    };
    let ms = Duration::from_millis;
    let channel = low("");
    assert!(channel.ladder.video.iter().all(|r| r.zero_latency && r.bframes == 0 && r.lookahead == 0));
    assert_eq!((channel.hold, channel.part), (ms(400), ms(200)));
    let said = low("hold = \"900ms\"\npart = \"400ms\"");
    assert_eq!((said.hold, said.part), (ms(900), ms(400)), "what is said holds");
    let slow = low("failover.loss_after = \"500ms\"");
    assert_eq!(slow.hold, ms(700), "always above loss_after");
    let normal = &parse(&GOOD.replace("id = \"c\"", "id = \"c\"\nlatency = \"normal\"")).unwrap().channels[0];
    assert!(normal.ladder.video.iter().all(|r| !r.zero_latency && r.bframes > 0));
    assert_eq!((normal.hold, normal.part), (ms(600), ms(400)));
}

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
type = "rtmp"
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
        (22, "channel[News].source[s3].type", "did you mean `rtp`?"),
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
            "an instruction set",
            "id = \"c\"",
            "id = \"c\"\ninstruction_set = \"mmx\"",
            3,
            "channel[c].instruction_set",
            "host, avx2",
        ),
        ("latency", "id = \"c\"", "id = \"c\"\nlatency = \"lowest\"", 3, "channel[c].latency", "normal, low"),
        ("black", "id = \"c\"", "id = \"c\"\nblack_for = \"2h\"", 3, "channel[c].black_for", "0s to 1h are possible"),
        (
            "memory",
            "id = \"c\"",
            "id = \"c\"\nmemory_max = \"10MB\"",
            3,
            "channel[c].memory_max",
            "128MB to 64GB are possible",
        ),
        ("no slate", "id = \"c\"", "id = \"c\"\nslate = \"nowhere.png\"", 3, "channel[c].slate", "nowhere.png"),
        ("no picture", "id = \"c\"", "id = \"c\"\nslate = \"../Cargo.toml\"", 3, "channel[c].slate", "PNG, JPEG, MP4"),
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
            "mode \"caller\" and mode \"rendezvous\" only",
        ),
        (
            "stream id of a rendezvous",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"127.0.0.1:1\"\naddress = \"x:1\"\nstream_id = \"x\"",
            12,
            "channel[c].source[s1].stream_id",
            "mode \"caller\" only",
        ),
        (
            "rendezvous from nowhere",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"rendezvous\"\naddress = \"x:1\"",
            6,
            "channel[c].source[s1].listen",
            "is missing",
        ),
        (
            "rendezvous with nobody",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"127.0.0.1:1\"",
            6,
            "channel[c].source[s1].address",
            "of the other side",
        ),
        (
            "rendezvous with ourselves",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"127.0.0.1:1\"\naddress = \"127.0.0.1:1\"",
            11,
            "channel[c].source[s1].address",
            "is our own",
        ),
        (
            "rendezvous across kinds",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"127.0.0.1:1\"\naddress = \"[::1]:1\"",
            11,
            "channel[c].source[s1].address",
            "both as IPv4, or both as IPv6",
        ),
        (
            "rendezvous at a port that is taken",
            "type = \"srt\"",
            "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"0.0.0.0:9710\"\naddress = \"x:1\"",
            10,
            "channel[c].source[s1].listen",
            "is taken",
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
        ("nobody allowed", source, "type = \"srt\"\nallow = []\n", 9, "channel[c].source[s1].allow", "lets nobody in"),
        (
            "no range",
            source,
            "type = \"srt\"\nallow = [\"10.0.0.0/8\", \"10.0.0.1/8\"]\n",
            9,
            "channel[c].source[s1].allow[1]",
            "no range of addresses",
        ),
        (
            "allow of a caller",
            source,
            "type = \"srt\"\nmode = \"caller\"\naddress = \"x:1\"\nallow = [\"::1\"]\n",
            11,
            "channel[c].source[s1].allow",
            "we choose whom we call",
        ),
        (
            "allow of a rendezvous",
            source,
            "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"[::1]:1\"\naddress = \"x:1\"\nallow = [\"::1\"]\n",
            12,
            "channel[c].source[s1].allow",
            "we choose whom we call",
        ),
        ("no address", source, "type = \"rtp\"\n", 6, "channel[c].source[s1].address", "is missing"),
        (
            "a name is no address",
            source,
            "type = \"udp\"\naddress = \"host:5004\"\n",
            9,
            "channel[c].source[s1].address",
            "\"239.1.1.1:5004\"",
        ),
        (
            "port 0 of UDP",
            source,
            "type = \"udp\"\naddress = \"0.0.0.0:0\"\n",
            9,
            "channel[c].source[s1].address",
            "port 0 is none",
        ),
        (
            "UDP at the shared SRT port",
            source,
            "type = \"udp\"\naddress = \"127.0.0.1:9710\"\n",
            9,
            "channel[c].source[s1].address",
            "taken",
        ),
        (
            "FEC at a port in use",
            source,
            "type = \"rtp\"\naddress = \"127.0.0.1:9708\"\nfec = true\n",
            10,
            "channel[c].source[s1].fec",
            "taken",
        ),
        (
            "no port for rows",
            source,
            "type = \"rtp\"\naddress = \"127.0.0.1:65533\"\nfec = true\n",
            10,
            "channel[c].source[s1].fec",
            "no port for fec_rows",
        ),
        (
            "a port of FEC that is off",
            source,
            "type = \"rtp\"\naddress = \"127.0.0.1:5004\"\nfec_rows = 5008\n",
            10,
            "channel[c].source[s1].fec_rows",
            "fec = true",
        ),
        (
            "reorder",
            source,
            "type = \"rtp\"\naddress = \"127.0.0.1:5004\"\nreorder = \"5s\"\n",
            10,
            "channel[c].source[s1].reorder",
            "0s to 2s",
        ),
        (
            "UDP has no reorder",
            source,
            "type = \"udp\"\naddress = \"127.0.0.1:5004\"\nreorder = \"1s\"\n",
            10,
            "channel[c].source[s1].reorder",
            "unknown key",
        ),
        (
            "from without a group",
            source,
            "type = \"rtp\"\naddress = \"127.0.0.1:5004\"\nfrom = [\"192.0.2.7\"]\n",
            10,
            "channel[c].source[s1].from",
            "multicast address only",
        ),
        (
            "from of another kind",
            source,
            "type = \"rtp\"\naddress = \"[ff3e::1]:5004\"\nfrom = [\"192.0.2.7\"]\n",
            10,
            "channel[c].source[s1].from[0]",
            "2001:db8::7",
        ),
        (
            "interface by address for unicast",
            source,
            "type = \"rtp\"\naddress = \"0.0.0.0:5004\"\ninterface = \"192.0.2.1\"\n",
            10,
            "channel[c].source[s1].interface",
            "for multicast only",
        ),
        (
            "no interface",
            source,
            "type = \"udp\"\naddress = \"239.1.1.1:5004\"\ninterface = \"../eth0\"\n",
            10,
            "channel[c].source[s1].interface",
            "no interface",
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
        (
            "hold_down",
            "[channel.pipelines]",
            "failover.hold_down = \"2h\"\n[channel.pipelines]",
            4,
            "channel[c].failover.hold_down",
            "0s to 3600s",
        ),
        (
            "order",
            "[channel.pipelines]",
            "failover.order = \"equal\"\nfailover.revert = \"10s\"\n[channel.pipelines]",
            4,
            "channel[c].failover.order",
            "take revert out",
        ),
        (
            "condition too short",
            "[channel.pipelines]",
            "failover.no_video = { after = \"100ms\" }\n[channel.pipelines]",
            4,
            "channel[c].failover.no_video.after",
            "500ms to 3600s",
        ),
        (
            "condition never clear",
            "[channel.pipelines]",
            "failover.pcr_errors = { clear = \"100ms\" }\n[channel.pipelines]",
            4,
            "channel[c].failover.pcr_errors.clear",
            "1s to 3600s",
        ),
        (
            "rate of a condition",
            "[channel.pipelines]",
            "failover.continuity_errors = { per_second = 0 }\n[channel.pipelines]",
            4,
            "channel[c].failover.continuity_errors.per_second",
            "1 to 1000000",
        ),
        (
            "rate of a state",
            "[channel.pipelines]",
            "failover.sync_loss = { per_second = 3 }\n[channel.pipelines]",
            4,
            "channel[c].failover.sync_loss.per_second",
            "unknown key",
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
fn two_channels_cannot_share_an_id() {
    let found = mistakes(&format!("{GOOD}{GOOD}"));
    assert_eq!((found.len(), found[0].0), (1, 10), "{found:#?}");
    assert!(found[0].2.contains("another channel"), "{found:#?}");
}

#[test]
fn loudness_is_a_preset_or_two_figures() {
    let loudness = |keys: &str| parse(&format!("{GOOD}[channel.loudness]\n{keys}"));
    for (name, keys, target, true_peak) in [
        ("the table alone", "", -23.0, -1.0),
        ("EBU", "preset = \"ebu-r128\"\n", -23.0, -1.0),
        ("ATSC", "preset = \"atsc-a85\"\n", -24.0, -2.0),
        ("own figures", "target = \"-16 LUFS\"\ntrue_peak = \"-1.5dBTP\"\n", -16.0, -1.5),
        ("a preset and a figure", "preset = \"atsc-a85\"\ntarget = \"-27LKFS\"\n", -27.0, -2.0),
    ] {
        let config = loudness(keys).unwrap_or_else(|r| panic!("{name}: {r}"));
        let got = config.channels[0].loudness.map(|l| (l.target, l.true_peak));
        assert_eq!(got, Some((target, true_peak)), "{name}");
    }
    assert_eq!(parse(GOOD).unwrap().channels[0].loudness, None);
    for (key, mend) in [
        ("target = \"23LUFS\"", "-23LUFS"),
        ("target = \"-5LUFS\"", "-40LUFS to -10LUFS"),
        ("target = \"-1e1LUFS\"", "-23LUFS"),
        ("true_peak = \"-20dBTP\"", "-12dBTP to -0.1dBTP"),
        ("true_peak = \"-1dB\"", "-1dBTP"),
        ("preset = \"ebu\"", "ebu-r128"),
    ] {
        let report = loudness(key).expect_err("bad");
        let mistakes = report.mistakes();
        assert_eq!(mistakes.len(), 1, "{key}: {report}");
        let said = format!("{} / {}", mistakes[0].wrong, mistakes[0].mend);
        assert!(said.contains(mend), "{key}: {said}");
    }
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

#[test]
fn text_that_is_no_toml_is_told_line_by_line() {
    let found = mistakes("id = \nladder = 1 2\nx = 3\nladder = [\n");
    assert!(found.iter().any(|(line, _, text)| *line == 1 && text.contains("not TOML")), "{found:#?}");
    assert!(found.iter().any(|(line, _, text)| *line == 2 && text.contains("not TOML")), "{found:#?}");
    assert!(found.iter().all(|(_, _, text)| text.contains("not TOML")), "nothing else is said: {found:#?}");
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
    assert_eq!(required(&schema["$defs"]["ChannelFile"]), ["id", "ladder", "source"]);
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
