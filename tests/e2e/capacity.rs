//! `tandem plan`, with real encode processes for a few seconds.

use std::path::Path;

use serde_json::Value;

use super::harness::tandem;

fn ladder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/ladders").join(name)
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path} in {value:#}"))
}

#[test]
fn a_host_is_measured_by_running_the_ladder() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("host.svg");
    let out = tandem()
        .args(["plan", "--seconds", "3", "--json", "--ladder"])
        .arg(ladder("test.toml"))
        .arg("--svg")
        .arg(&svg)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{stderr}");
    assert_eq!(stderr, "", "no progress where nobody looks");
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert_eq!(number(&report, "/measured/cpus"), cpus as f64);
    assert_eq!(report["source_size"], serde_json::json!([640, 360]), "the signal is as large as the top rung");
    let rungs: Vec<&str> =
        report["measured"]["rungs"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(rungs, ["v360", "v180"]);
    // 640x360 has four times the pixels of 320x180.
    let [large, small] = [0, 1].map(|at| number(&report, &format!("/measured/rungs/{at}/cost/cores")));
    assert!(large > small && small > 0.0, "{report:#}");
    assert!(number(&report, "/measured/decode/cores") > 0.0 && number(&report, "/measured/sound/cores") > 0.0);
    assert!(number(&report, "/measured/resident") > 20e6, "{report:#}");
    let steps = report["measured"]["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["processes"], cpus);
    for step in steps {
        // One costs at least what its rungs do, and they do not take more CPUs than there are.
        let (cores, channels) = (number(step, "/cost/cores"), number(step, "/channels"));
        assert!(cores > large * 0.7, "{report:#}");
        assert!(channels > 0.0 && cores * channels < cpus as f64 * 1.3, "{report:#}");
    }
    let [single, warm, hot] = ["single", "warm", "hot"].map(|k| number(&report, &format!("/verdict/{k}")));
    assert!(single >= warm && warm >= hot, "{report:#}");
    assert_eq!(single, (cpus as f64 * 0.7 / number(&report, "/verdict/pipeline_cores")).floor(), "{report:#}");
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg "));
}

#[test]
fn what_cannot_be_measured_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "[[video]]\nid = \"v\"\n").unwrap();
    let text = folder.path().join("text.ts");
    std::fs::write(&text, "no transport stream").unwrap();
    for (name, file, source, want) in [
        ("no ladder", folder.path().join("none.toml"), None, "No such file"),
        ("a bad one", bad, None, "max_bitrate"),
        ("no media", ladder("test.toml"), Some(text), "is it MPEG-TS?"),
    ] {
        let mut command = tandem();
        command.args(["plan", "--seconds", "1", "--ladder"]).arg(file);
        if let Some(source) = source {
            command.arg("--source").arg(source);
        }
        let out = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.contains(want), "{name}: {stderr}");
    }
}
