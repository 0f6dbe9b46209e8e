//! Input loss as players see it: repeats, black, slate, and the source again, frame by frame; and the operator's pictures.

use std::time::Duration;

use crate::harness::{Inspection, Options, Publisher, Publishers, Server};

const ALL: [&str; 4] = ["s1", "s2", "s3", "s4"];

fn number(server: &Server, pipeline: &str, field: &str) -> u64 {
    server.pipeline(pipeline)[field].as_u64().unwrap_or_else(|| panic!("{field}"))
}

#[test]
fn thirty_seconds_without_input_are_accounted_for_frame_by_frame() {
    let extra = "repeat_for = \"800ms\"\nblack_for = \"1200ms\"\nslate_text = \"Störung\"".to_owned();
    let server = Server::start(&Options { extra, ..Options::default() });
    let mut publishers = Publishers::start(&server, &ALL, Publisher::SrtLiveTransmit);
    server.wait_on_air();
    let before = ["a", "b"].map(|p| ["repeated", "black", "slate"].map(|field| number(&server, p, field)));
    let look = Inspection::start(&server.hls(), "top", 75);
    std::thread::sleep(Duration::from_secs(6));
    publishers.signal.kill();
    server.wait("both are black", |s| ["a", "b"].iter().all(|p| s.pipeline(p)["showing"] == "black"));
    server.wait("both show the slate", |s| ["a", "b"].iter().all(|p| s.pipeline(p)["showing"] == "slate"));
    drop(publishers);
    std::thread::sleep(Duration::from_secs(25));
    server.wait("the dead publishers are given up", |s| {
        s.status()["sources"].as_array().is_some_and(|all| all.iter().all(|source| source["connected"] == false))
    });
    let _publishers = Publishers::start(&server, &ALL, Publisher::SrtLiveTransmit);
    server.wait("both show the source", |s| ["a", "b"].iter().all(|p| s.pipeline(p)["showing"] == "source"));
    let verdict = look.verdict();
    let count = |path: &str| verdict.number(path);
    eprintln!(
        "repeated {}, without a number {}, missing {}",
        count("/video/repeated"),
        count("/video/slate"),
        count("/video/missing")
    );
    // At 25 a second: 20 repeats, 30 black, and slate for the rest of half a minute.
    assert_eq!(count("/video/repeated"), 20.0, "{:#}", verdict.json);
    assert!(count("/video/slate") >= 30.0 + 25.0 * 25.0, "{:#}", verdict.json);
    // The signal's numbers follow the clock, as slots do. So when each picture that came back stands in its own slot, as
    // many were missed as were made up: not one more.
    assert_eq!(count("/video/missing"), count("/video/repeated") + count("/video/slate"), "{:#}", verdict.json);
    assert_eq!(count("/video/reordered"), 0.0, "{:#}", verdict.json);
    assert_eq!((&verdict.json["discontinuities"], &verdict.json["gaps"]), (&0.into(), &0.into()), "{:#}", verdict.json);
    for (pipeline, before) in ["a", "b"].iter().zip(before) {
        let [repeated, black, slate] = ["repeated", "black", "slate"].map(|field| number(&server, pipeline, field));
        assert_eq!([repeated - before[0], black - before[1]], [20, 30], "pipeline {pipeline}");
        assert!(slate - before[2] >= 25 * 25, "pipeline {pipeline}: {slate}");
    }
    let status = server.status();
    assert_eq!(status["publish"]["differs"], 0, "both made up the same: {status:#}");
}

#[test]
fn operators_see_what_each_pipeline_puts_out() {
    let server = Server::start(&Options::default());
    // There is no source: it is the slate they see.
    server.wait("both have a picture", |s| ["a", "b"].iter().all(|p| s.pipeline(p)["thumbnail"]["slot"].is_u64()));
    let path = |p: &str| format!("http://127.0.0.1:{}/v1/channels/test/pipelines/{p}/thumbnail.jpg", server.control);
    for p in ["a", "b"] {
        let mut answer = ureq::get(path(p)).call().expect("answers");
        let field = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(field("content-type"), "image/jpeg");
        assert_eq!(field("cache-control"), "no-cache");
        let etag = field("etag");
        let slot: u64 = etag.trim_matches('"').parse().expect("a slot");
        assert_eq!(slot % 50, 0, "on the grid");
        let jpeg = answer.body_mut().read_to_vec().expect("a body");
        assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]), "a whole JPEG");
        let again = ureq::get(path(p)).header("if-none-match", &etag).call().expect("answers");
        let newer = again.headers()["etag"].to_str().is_ok_and(|now| now != etag);
        assert!(again.status() == 304 || newer, "{}", again.status());
        server.wait("a newer one", |s| s.pipeline(p)["thumbnail"]["slot"].as_u64().is_some_and(|now| now > slot));
    }
    for wrong in ["/v1/channels/test/pipelines/c/thumbnail.jpg", "/v1/channels/none/pipelines/a/thumbnail.jpg"] {
        let answer = ureq::get(format!("http://127.0.0.1:{}{wrong}", server.control)).call();
        assert!(matches!(answer, Err(ureq::Error::StatusCode(404))), "{wrong}");
    }
}
