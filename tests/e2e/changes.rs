//! A source that changes while it is on air: what its clock does is not seen.

use crate::harness::{Options, Publisher, Publishers, Server, inspect_all};

/// One encoder behind all four sources, as in a venue with one multiplexer: nobody could cover for what it does.
#[test]
fn a_wrap_and_jumps_of_the_sources_clock_are_not_seen() {
    let server = Server::start(&Options::default());
    let targets: Vec<String> = ["s1", "s2", "s3", "s4"].iter().map(|s| server.srt_url(s)).collect();
    // 33 bits of 90 kHz wrap at 95,443.7 s: 75 s after the start. The jumps lie a few seconds apart before it.
    let clock = [
        ["--rate", "25"],
        ["--pts-start", "95368"],
        ["--pts-jump", "30:3600"],
        ["--pts-jump", "37:-3600"],
        ["--pts-jump", "44:0.7"],
        ["--pts-jump", "51:-2"],
        ["--pts-jump", "58:5"],
        ["--pts-jump", "65:-3.7"],
    ];
    let _publishers = Publishers::of(&targets, Publisher::SrtLiveTransmit, clock.as_flattened());
    server.wait_on_air();
    for (what, look) in inspect_all(&server, 90) {
        let verdict = look.verdict();
        verdict.assert_clean(&what);
        verdict.assert_in_sync(20.0);
        assert_eq!(verdict.json["discontinuities"], 0, "{what}: {:#}", verdict.json);
    }
    let log = server.log();
    assert!(log.matches("pictures jumped by").count() >= 6 * 4, "each source tells each jump:\n{}", server.log_tail());
    let status = server.status();
    assert_eq!(status["publish"]["gaps"], 0, "{status:#}");
    assert_eq!(status["publish"]["differs"], 0, "A and B took the jumps alike: {status:#}");
}
