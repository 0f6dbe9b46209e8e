//! What a probe may say: any bytes through the frame decoder, in portions; what comes out of it into a channel that has just started
//! that process. And what a probe hears, through the same decoder.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tandem::channel::{Action, Channel, Generation, Input};
use tandem::child::frame::{Decoder, MESSAGE_BYTES_MAX, read_message};
use tandem::clock::Now;
use tandem::config::{self, Config};
use tandem::probe::ipc::{FromProbe, ToProbe};

const TEXT: &str = "[[channel]]\nid = \"c\"\nladder = \"pipelines/ladders/test.toml\"\n\
                    [channel.failover]\nblack = {}\nfrozen = {}\nsilent = {}\ndecoder_errors = {}\n\
                    [channel.pipelines]\na = [\"s\", \"t\"]\n\
                    [[channel.source]]\nid = \"s\"\ntype = \"test\"\n[[channel.source]]\nid = \"t\"\ntype = \"test\"\n";

fn config() -> config::Channel {
    static CONFIG: OnceLock<config::Channel> = OnceLock::new();
    let parse = || {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../c.toml");
        Config::parse(&file, TEXT).expect("good").channels.remove(0)
    };
    CONFIG.get_or_init(parse).clone()
}

fuzz_target!(|data: &[u8]| {
    let Some((&portion, data)) = data.split_first() else { return };
    let _ = read_message::<ToProbe>(&mut &data[..]);
    let start = Now { mono: Instant::now(), utc: Duration::from_secs(1_795_269_600) };
    let mut channel = Channel::new(config(), false, start);
    channel.apply(start, Input::Tick);
    let mut at = start.after(Duration::from_secs(1));
    let mut decoder = Decoder::default();
    channel.apply(at, Input::Probe(Generation(1), FromProbe::Hello));
    for bytes in data.chunks(usize::from(portion) + 1) {
        decoder.buffer().extend_from_slice(bytes);
        loop {
            match decoder.pop::<FromProbe>() {
                Ok(Some(word)) => {
                    at = at.after(Duration::from_millis(100));
                    let actions = channel.apply(at, Input::Probe(Generation(1), word));
                    // Nonsense ends the process; nothing it says after that counts.
                    if actions.iter().any(|action| matches!(action, Action::KillProbe(..))) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoder.buffer().capacity() <= MESSAGE_BYTES_MAX + 8192, "a length is a promise of bytes, no more");
    }
    channel.apply(at.after(Duration::from_secs(5)), Input::Tick);
});
