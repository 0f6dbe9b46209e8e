//! What an encode process may say: any bytes through the frame decoder, in portions; what comes out of it into a channel
//! that has just started that process. And what a process hears, through the same decoder.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tandem::channel::{Action, Channel, Generation, Input};
use tandem::child::frame::{Decoder, MESSAGE_BYTES_MAX, read_message};
use tandem::clock::Now;
use tandem::config::{self, Config};
use tandem::encode::ipc::{FromWorker, Hello, ToWorker};
use tandem::media::{PipelineId, SegmentNumber};

const TEXT: &str = "[[channel]]\nid = \"c\"\nladder = \"pipelines/ladders/test.toml\"\n[channel.pipelines]\na = [\"s\"]\n\
                    [[channel.source]]\nid = \"s\"\ntype = \"test\"\n";

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
    let _ = read_message::<ToWorker>(&mut &data[..]);
    let config = config();
    // Early enough that numbers of a few bytes lie near it.
    let start = Now { mono: Instant::now(), utc: config.grid.segment_start(SegmentNumber(100)).to_utc() };
    let mut channel = Channel::new(config, false, start);
    let now = start.after(Duration::from_secs(3));
    channel.apply(now, Input::Tick);
    let mut say = |word| {
        let actions = channel.apply(now, Input::Encoder(PipelineId::A, Generation(1), word));
        // Nonsense ends the process; nothing it says after that counts.
        !actions.iter().any(|action| matches!(action, Action::KillEncoder(..)))
    };
    let text = String::new;
    let hello =
        Hello { version: text(), gstreamer: text(), x264: text(), simd: text(), template: text(), encoders: Vec::new() };
    assert!(say(FromWorker::Hello(hello)));
    let mut decoder = Decoder::default();
    for bytes in data.chunks(usize::from(portion) + 1) {
        decoder.buffer().extend_from_slice(bytes);
        loop {
            match decoder.pop::<FromWorker>() {
                Ok(Some(word)) => {
                    if !say(word) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoder.buffer().capacity() <= MESSAGE_BYTES_MAX + 8192, "a length is a promise of bytes, no more");
    }
    channel.apply(now.after(Duration::from_secs(1)), Input::Tick);
});
