//! Mistakes: all at once, each at its place, each with its mend.

use super::*;

mod sources;

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

/// Name, what is replaced in the good config and by what; line, path and text of the complaint.
type Row = (&'static str, &'static str, &'static str, usize, &'static str, &'static str);

/// One mistake at a time.
fn assert_each(rows: &[Row]) {
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
fn each_mistake_is_named_with_its_mend() {
    let source = "type = \"srt\"\n";
    assert_each(&[
        ("no channel", GOOD, "", 1, "channel", "is missing"),
        ("no id", "id = \"c\"\n", "", 1, "channel[0].id", "is missing"),
        ("no ladder", "ladder = \"../pipelines/ladders/test.toml\"\n", "", 1, "channel[c].ladder", "is missing"),
        ("no source", "[[channel.source]]\nid = \"s1\"\ntype = \"srt\"\n", "", 1, "channel[c].source", "is missing"),
        ("pipelines without a", "a = [", "b = [", 4, "channel[c].pipelines.a", "is missing"),
        ("empty pipeline", "a = [\"s1\"]", "a = []", 5, "channel[c].pipelines.a", "has no source"),
        ("not a list", "a = [\"s1\"]", "a = \"s1\"", 5, "channel[c].pipelines.a", "a list"),
        ("all elsewhere", "a = [\"s1\"]", "a = \"cmaf\"", 4, "channel[c].pipelines", "no pipeline is made here"),
        (
            "elsewhere, made for a source",
            "../pipelines/ladders/test.toml\"\n[channel.pipelines]\n",
            "auto\"\n[channel.pipelines]\nb = \"cmaf\"\n",
            3,
            "channel[c].ladder",
            "the same ladder file on both",
        ),
        (
            "elsewhere, warm",
            "[channel.pipelines]\n",
            "redundancy = \"warm\"\n[channel.pipelines]\nb = \"cmaf\"\n",
            4,
            "channel[c].redundancy",
            "write redundancy = \"hot\"",
        ),
        (
            "elsewhere, levelled",
            "[channel.pipelines]\n",
            "loudness = {}\n[channel.pipelines]\nb = \"cmaf\"\n",
            4,
            "channel[c].loudness",
            "write deterministic = false",
        ),
        (
            "an ingest port that is taken",
            "[[channel]]\n",
            "origin.listen = \"127.0.0.1:8082\"\ningest.listen = \"127.0.0.1:8082\"\n[[channel]]\n",
            2,
            "ingest.listen",
            "is taken",
        ),
        (
            "an ingest key that is written out",
            "[[channel]]\n",
            "ingest.key = \"123456789\"\n[[channel]]\n",
            1,
            "ingest.key",
            "env:NAME",
        ),
        (
            "published by none",
            "[[channel.source]]\n",
            "[[channel.publish]]\nto = \"http://127.0.0.1/ingest/c/a\"\n[[channel.source]]\n",
            6,
            "channel[c].publish[0].pipeline",
            "is missing",
        ),
        (
            "published to nowhere",
            "[[channel.source]]\n",
            "[[channel.publish]]\npipeline = \"a\"\n[[channel.source]]\n",
            6,
            "channel[c].publish[0].to",
            "is missing",
        ),
        (
            "published with a key in its address",
            "[[channel.source]]\n",
            "[[channel.publish]]\npipeline = \"a\"\nto = \"http://u:123456789@127.0.0.1/ingest/c/a\"\n[[channel.source]]\n",
            8,
            "channel[c].publish[0].to",
            "a key goes into `key`",
        ),
        (
            "published, and not there",
            "[[channel.source]]\n",
            "[[channel.publish]]\npipeline = \"b\"\nto = \"http://127.0.0.1/ingest/c/a\"\n[[channel.source]]\n",
            7,
            "channel[c].publish[0].pipeline",
            "no pipeline `b`",
        ),
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
        (
            "serve",
            "id = \"c\"",
            "id = \"c\"\nserve = [\"hls\", \"ts\"]",
            3,
            "channel[c].serve[1]",
            "hls, ll-hls, hls-ts",
        ),
        ("window", "id = \"c\"", "id = \"c\"\nwindow = \"24h\"", 3, "channel[c].window", "1h are possible"),
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
    ]);
}

#[test]
fn two_channels_cannot_share_an_id() {
    let found = mistakes(&format!("{GOOD}{GOOD}"));
    assert_eq!((found.len(), found[0].0), (1, 10), "{found:#?}");
    assert!(found[0].2.contains("another channel"), "{found:#?}");
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
