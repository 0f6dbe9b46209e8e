//! What outputs may say.

use std::path::Path;

use super::*;
use crate::config::Config;

const GOOD: &str = r#"
[[channel]]
id = "c"
ladder = "none"
[channel.pipelines]
a = ["s1"]
[[channel.source]]
id = "s1"
type = "srt"
[[channel.output]]
id = "srt"
type = "srt"
source = "s1"
[[channel.output]]
id = "rtp"
type = "rtp"
pipeline = "a"
address = "192.0.2.7:5004"
fec = {}
[[channel.output]]
id = "tap"
type = "record"
source = "s1"
folder = "x"
"#;

fn parse(text: &str) -> Result<Config, Report> {
    Config::parse(Path::new("c.toml"), text)
}

#[test]
fn what_is_not_said_has_a_sane_default() {
    let config = parse(GOOD).expect("good");
    let channel = &config.channels[0];
    assert!(!channel.encodes());
    let [Way::Srt(srt), Way::Rtp(rtp), Way::Record(record)] = [0, 1, 2].map(|at: usize| &channel.outputs[at].way)
    else {
        panic!("in their order");
    };
    assert_eq!((&srt.mode, srt.readers_max, srt.latency.as_millis()), (&SrtMode::Shared, 32, 200));
    assert_eq!(rtp.fec, Some(Matrix { columns: 10, rows: 5, row_packets: true }));
    assert_eq!(
        (record.segment.as_secs(), record.segment_bytes, record.bytes_max),
        (600, 1_000_000_000, 10_000_000_000)
    );
    assert_eq!(channel.outputs[1].takes, Takes::Pipeline(PipelineId::A));
    let told = config.summary().to_string();
    for line in [
        "relays   what comes in",
        "srt (source s1): read at srt://127.0.0.1:9710?streamid=#!::r=c/srt,m=request, up to 32 at once",
        "rtp (pipeline a): rtp://192.0.2.7:5004, FEC of columns and rows, 10x5",
        "tap (source s1): records into x, a file each 600s, up to 10 GB",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert!(!told.contains("origin"), "nothing is served\n{told}");
}

#[test]
fn each_mistake_is_named_with_its_mend() {
    for (what, with, path, says) in [
        ("id = \"srt\"", "id = \"s1\"", "channel[c].output[s1].id", "could mean either"),
        ("id = \"tap\"", "id = \"rtp\"", "channel[c].output[rtp].id", "another output"),
        ("source = \"s1\"\n[[", "source = \"s2\"\n[[", "channel[c].output[srt].source", "no source `s2`"),
        ("pipeline = \"a\"", "pipeline = \"b\"", "channel[c].output[rtp].pipeline", "no pipeline `b`"),
        ("pipeline = \"a\"", "source = \"s1\"\npipeline = \"a\"", "channel[c].output[rtp].pipeline", "one stream"),
        ("pipeline = \"a\"", "", "channel[c].output[rtp].source", "is missing"),
        ("192.0.2.7:5004", "host.example:5004", "channel[c].output[rtp].address", "write the host's IP address"),
        ("192.0.2.7:5004", "0.0.0.0:5004", "channel[c].output[rtp].address", "no address to send to"),
        ("fec = {}", "fec = { columns = 20, rows = 6 }", "channel[c].output[rtp].fec.columns", "at most 100"),
        ("fec = {}", "fec = { columns = 3, row_packets = true }", "channel[c].output[rtp].fec.row_packets", "four"),
        ("fec = {}", "second_address = \"192.0.2.7:5004\"", "channel[c].output[rtp].second_address", "the first one"),
        ("fec = {}", "second_interface = \"eth0\"", "channel[c].output[rtp].second_interface", "no second path"),
        ("folder = \"x\"", "", "channel[c].output[tap].folder", "is missing"),
        ("folder = \"x\"", "folder = \"x\"\nmax_size = \"1.5GB\"", "channel[c].output[tap].max_size", "two files"),
        ("type = \"record\"", "type = \"ftp\"", "channel[c].output[tap]", "`ftp` is not possible here"),
        ("ladder = \"none\"", "ladder = \"none\"\nwindow = \"60s\"", "channel[c].window", "nothing is encoded"),
        (
            "type = \"srt\"\nsource",
            "type = \"srt\"\nkey_length = 32\nsource",
            "channel[c].output[srt].key_length",
            "no passphrase",
        ),
        (
            "type = \"srt\"\nsource",
            "type = \"srt\"\nmode = \"caller\"\nreaders = 3\naddress = \"h:1\"\nsource",
            "channel[c].output[srt].readers",
            "means nothing in mode \"caller\"",
        ),
        (
            "type = \"srt\"\nsource",
            "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"0.0.0.0:9710\"\naddress = \"h:1\"\nsource",
            "channel[c].output[srt].listen",
            "is taken",
        ),
        (
            "type = \"srt\"\nsource",
            "type = \"srt\"\nmode = \"rendezvous\"\nlisten = \"0.0.0.0:1\"\naddress = \"h:1\"\nreaders = 3\nsource",
            "channel[c].output[srt].readers",
            "means nothing in mode \"rendezvous\"",
        ),
    ] {
        assert!(GOOD.contains(what), "{what}");
        let report = parse(&GOOD.replacen(what, with, 1)).expect_err(with);
        let told = report
            .mistakes()
            .iter()
            .any(|m| m.path.starts_with(path) && format!("{} {}", m.wrong, m.mend).contains(says));
        assert!(told, "{with}: {report:#}");
    }
}

#[test]
fn the_api_takes_the_same_keys_and_no_recording() {
    let channel = &parse(GOOD).expect("good").channels[0];
    let take = |json: serde_json::Value| Output::parse_json(&json, channel);
    let made = take(serde_json::json!({"id": "x", "type": "udp", "source": "s1", "address": "[::1]:5000"}));
    assert_eq!(made.expect("good").id.to_string(), "c/x");
    for (json, says) in [
        (serde_json::json!({"id": "x", "type": "record", "source": "s1", "folder": "/"}), "cannot be added"),
        (serde_json::json!({"id": "x", "type": "udp", "source": "s1"}), "address: is missing"),
        (serde_json::json!({"id": "x", "type": "udp", "source": "s1", "address": null}), ""),
        (serde_json::json!(["x"]), ""),
        (serde_json::json!(7), ""),
        (serde_json::json!({}), "type"),
    ] {
        let report = take(json.clone()).expect_err("a mistake").to_string();
        assert!(report.contains(says) && (!report.is_empty() || says.is_empty()), "{json}: {report}");
    }
}
