//! What a host says of itself: beside the tracks, and from our sender to our port.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::aside::{Aside, HOST_TRACK};
use super::super::desk::Word;
use super::super::sender::Sender;
use super::super::server::{self, Opening};
use super::*;
use crate::channel::{HostWord, Made, Onward};
use crate::config::{self, Secret};
use crate::media::{ChannelId, ChannelTime, PipelineId, SourceTime};
use crate::timeline::Timeline;

fn word(shows_own: bool) -> HostWord {
    let (mut timeline, now) = (Timeline::new(config().grid), start());
    let anchor = timeline.anchor(now.channel_time(), SourceTime::from_ticks(7_777), None, None).anchor();
    let anchors = timeline.tell(now, std::iter::once(anchor));
    HostWord { began: ChannelTime::from_ticks(1_234_567), shows_own, shows_other: true, anchors }
}

fn said(out: &[Output]) -> Vec<HostWord> {
    let word = |output: &Output| if let Output::Host(word) = output { Some((**word).clone()) } else { None };
    out.iter().filter_map(word).collect()
}

#[test]
fn a_word_needs_no_header_and_is_read_as_it_was_written() {
    let words = [word(false), word(true)];
    let bytes = words.clone().map(|word| Aside::Host(Box::new(word)).write()).concat();
    for portions in [1, 7, bytes.len()] {
        let mut point = Point::new(config());
        let body = [Body { track: HOST_TRACK, bytes: &bytes, seconds: 1.0 }];
        let out = send(&mut point, start(), portions, &body).expect("it is taken");
        assert_eq!(said(&out), words);
        assert_eq!(out.len(), 2, "a host that speaks publishes nothing yet: {out:?}");
        assert_eq!(point.wake_at(), None);
    }
}

#[test]
fn a_word_that_makes_no_sense_ends_its_body_and_no_other() {
    let Some(sent) = picture(4, GOP, FORMS[0]) else { return };
    let good = Aside::Host(Box::new(word(true))).write();
    let mut point = Point::new(Config { audio: Vec::new(), ..config() });
    for cut in [1, 40, good.len() - 8 - 18] {
        let mut bad = good[..good.len() - cut].to_vec();
        let total = u32::try_from(bad.len()).expect("short").to_be_bytes();
        bad[..4].copy_from_slice(&total);
        let refused = send(&mut point, start(), 1, &[Body { track: HOST_TRACK, bytes: &bad, seconds: 1.0 }]);
        assert_eq!(refused.expect_err("it is cut").1, Refusal::Host, "{cut}");
    }
    assert_eq!(point.figures().refused, 3);
    let out = send(&mut point, start(), 50, &[Body { track: "v180", bytes: &sent, seconds: 4.0 }]);
    assert_eq!(ends(&out.expect("it fits"), 0).len(), 2);
}

/// A new connection begins with the newest word, however long nobody was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_sender_tells_who_comes_the_newest() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let text = format!(
        "[[channel]]\nid = \"news\"\nladder = \"pipelines/ladders/test.toml\"\n[channel.pipelines]\na = \"cmaf\"\nb = [\"s\"]\n\
         [[channel.publish]]\npipeline = \"b\"\nto = \"http://{port}/ingest/news/b\"\n\
         [[channel.source]]\nid = \"s\"\ntype = \"test\"\n"
    );
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("c.toml");
    let channel = config::Config::parse(&file, &text).expect("good").channels.remove(0);
    let mut sender = Sender::new(&channel).expect("it publishes");
    sender.take(PipelineId::B, Made::Word(Box::new(word(false))));
    sender.take(PipelineId::B, Made::Word(Box::new(word(true))));
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..2 {
        let (words, mut heard) = mpsc::channel(100);
        let (id, key) = (ChannelId::new("news").expect("a name"), None::<Secret>);
        let opening = Opening { channel: id, pipeline: PipelineId::B, key, config: config(), words };
        let running = server::start(port, vec![opening]).await.expect("the port is free");
        let came = tokio::time::timeout(Duration::from_secs(20), heard.recv()).await.expect("it comes");
        let Some(Word::Came { outputs, .. }) = came else { panic!("{came:?}") };
        assert_eq!(said(&outputs), [word(true)]);
        running.stop().await;
    }
    assert!(Bytes::from(Aside::Host(Box::new(word(true))).write()).len() < 512, "a word is short");
}
