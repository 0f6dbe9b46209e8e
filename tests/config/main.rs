//! Config as its users meet it: every file in `config/` and `pipelines/` is good, and each kind of mistake is found, at its
//! place, with its mend.

#![allow(clippy::unwrap_used)] // a test's helpers may fail as its assertions do

mod channel;
mod ladders;
mod mistakes;
mod profiles;
mod schema;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use tandem::config::{Config, Input, Ladder, Report, SrtMode};
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
