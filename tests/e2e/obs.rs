//! OBS Studio as people run it, under a virtual screen, with the settings that the README shows.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Options, Process, Server, need, tandem};
use crate::players::Viewer;

/// Seconds that a viewer watches.
const WATCHED: u32 = 30;

/// OBS plays the test signal into a channel, and a viewer of the channel sees it move.
pub fn publishes_into_a_channel_that_plays() {
    need("obs");
    need("Xvfb");
    let options = Options { sources_a: vec!["main"], sources_b: vec!["main"], ..Options::default() };
    let server = Server::start(&options);

    // Long enough that OBS does not begin it again meanwhile.
    let clip = server.dir.path().join("clip.ts");
    let mut made = tandem();
    made.args(["signal", "--size", "640x360", "--rate", "25", "--bitrate", "1500k", "--for", "150"]);
    made.arg("--to").arg(&clip).stderr(Stdio::null());
    assert!(made.status().expect("tandem runs").success(), "{made:?}");

    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/publishers/obs.sh"));
    script.arg(format!("{}&latency=300000", server.srt_url("main"))).arg(&clip);
    let obs = Obs(Process::start("obs.sh", &mut script));
    server.wait_on_air();

    let seen = Viewer::of(&server.hls(), "hlsjs", WATCHED, None).seen();
    eprintln!("{}", seen.json);
    let status = server.status();
    let source = &status["sources"][0];
    eprintln!("{source:#}");
    assert_eq!(seen.code, Some(0), "{:#}", seen.json);
    assert_eq!((&status["publish"]["gaps"], &status["publish"]["differs"]), (&0.into(), &0.into()), "{status:#}");
    drop(obs);
}

/// OBS and its screen, which only the script knows to end.
struct Obs(Process);

impl Drop for Obs {
    fn drop(&mut self) {
        self.0.end();
    }
}
