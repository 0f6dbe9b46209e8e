//! Who is turned away, with which of SRT's codes, and who gets to know.

use std::time::Duration;

use tandem::config::SrtMode;
use tandem::ingest::srt::News;
use tandem::srt::{Error, Sender, Url};

use super::ground::{Ground, KEY, Tool, shared, source, ts};

/// The code our own caller is refused with; 0: let in.
async fn code(url: String) -> i32 {
    tokio::task::spawn_blocking(move || match Sender::connect(&Url::parse(&url).expect("good")) {
        Ok(_) => 0,
        Err(Error::Rejected(reject)) => reject.0,
        Err(other) => panic!("{other}"),
    })
    .await
    .expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_learn_why_by_srts_code_and_so_do_we() {
    let keyed = source("live/keyed", SrtMode::Shared, Some(KEY));
    let mut ground = Ground::open(&[shared("live/main"), keyed]).await;
    let key = |text: &str| format!("&passphrase={text}");

    for (stream_id, more, want) in [
        ("live/other", String::new(), 1404),
        ("nonsense", String::new(), 1400),
        ("", String::new(), 1400),
        ("#!::r=live/main,m=request", String::new(), 1405),
        ("#!::m=publish", String::new(), 1400),
        ("live/keyed", key("wrong-horse-battery"), 10),
        ("live/keyed", String::new(), 11),
        ("live/main", key(KEY), 11),
        ("live/keyed", key(KEY), 0),
    ] {
        assert_eq!(code(ground.url(stream_id, &more)).await, want, "{stream_id}{more}");
    }
    // A failed handshake gives the place back, so refusals of the keys above did not get in each other's way.
    ground.until("the wrong key is told", |g| !g.seen("live/keyed").refusals.is_empty()).await;
    ground.until("the missing key is told", |g| !g.seen("live/main").refusals.is_empty()).await;
    let refusals = [ground.seen("live/keyed").refusals, ground.seen("live/main").refusals].concat().join("\n");
    assert!(refusals.contains("passphrase"), "{refusals}");
    assert!(!refusals.contains("horse"), "{refusals}");

    let mut strangers = Vec::new();
    while let Ok(news) = ground.news.try_recv() {
        if let News::Refused { reason, .. } = news {
            strangers.push(reason);
        }
    }
    for wanted in ["live/other", "nonsense", "m=request"] {
        assert!(strangers.iter().any(|reason| reason.contains(wanted)), "{wanted}: {strangers:?}");
    }
    ground.until("all refusals are counted", |g| g.handle.status()[0].health.refused >= 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_occupied_stream_is_refused_until_its_publisher_is_gone() {
    let ground = Ground::open(&[shared("live/main")]).await;
    let first = ground.publish("live/main", ts(1, 7 * 20_000)).await;
    ground.until_received("live/main", 100_000).await;
    assert_eq!(code(ground.url("live/main", "")).await, 1409);
    assert_eq!(code(ground.url("#!::r=live/main,m=publish", "")).await, 1409);
    ground.until("it is told", |g| g.seen("live/main").refusals.iter().any(|r| r.contains("another publisher"))).await;
    // Killed, so that it cannot say goodbye: the place is free when it has shown no sign of life.
    let refused_at = ground.received("live/main");
    drop(first);
    ground.until("it is gone", |g| !g.seen("live/main").downs.is_empty()).await;
    assert!(ground.received("live/main") >= refused_at, "the first one was never disturbed");
    assert_eq!(code(ground.url("live/main", "")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_was_killed_has_its_place_back_at_once() {
    let keyed = source("live/keyed", SrtMode::Shared, Some(KEY));
    let ground = Ground::open(&[keyed]).await;
    let key = format!("&passphrase={KEY}");
    let mut first = ground.transmit("live/keyed", &ground.url("live/keyed", &key), ts(1, 7 * 20_000)).await;
    ground.until_received("live/keyed", 100_000).await;
    assert_eq!(code(ground.url("live/keyed", &key)).await, 1409, "not while it is there");
    first.0.kill().expect("it runs");
    // The wrong key never gets the place, however silent its holder is.
    let wrong = Tool::start(
        "srt-live-transmit",
        &["-a:no", "file://con", &ground.url("live/keyed", "&passphrase=wrong-horse-battery")],
    );
    ground
        .until("the killed one is replaced", |g| {
            let url = Url::parse(&g.url("live/keyed", &key)).expect("good");
            // What was let in is held until the main process knows.
            Sender::connect(&url).is_ok_and(|_held| {
                std::thread::sleep(Duration::from_millis(200));
                !g.seen("live/keyed").downs.is_empty()
            })
        })
        .await;
    drop(wrong);
    let seen = ground.seen("live/keyed");
    assert!(seen.downs[0].contains("replaced by a newer connection"), "{:?}", seen.downs);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_publishers_show_the_code() {
    let ground = Ground::open(&[shared("live/main"), source("live/keyed", SrtMode::Shared, Some(KEY))]).await;
    let wrong = "&passphrase=wrong-horse-battery";
    for (stream_id, more) in [("live/other", ""), ("live/keyed", wrong), ("live/keyed", "")] {
        let url = ground.url(stream_id, more);
        let mut tool = Tool::start("srt-live-transmit", &["-v", "-a:no", "-ll:note", "file://con", &url]);
        let said = tokio::task::spawn_blocking(move || tool.complaint("REJECT")).await.expect("no panic");
        println!("{stream_id}{more}: {said}");
        assert!(said.contains("REJECT"), "{said}");
    }
    let url = format!("srt://{}?streamid=live/other", ground.listen);
    let input = ["-v", "verbose", "-re", "-f", "lavfi", "-i", "testsrc=size=64x64"];
    let mut tool = Tool::start("ffmpeg", &[&input[..], &["-t", "5", "-f", "mpegts", &url]].concat());
    let said = tokio::task::spawn_blocking(move || tool.complaint("REJECT")).await.expect("no panic");
    println!("ffmpeg: {said}");
    assert!(said.contains("REJECT"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_and_says_nothing_is_sent_away() {
    let ground = Ground::open(&[shared("live/main")]).await;
    let url = Url::parse(&ground.url("live/main", "")).expect("good");
    let silent = tokio::task::spawn_blocking(move || Sender::connect(&url).expect("let in")).await.expect("no panic");
    ground.until("it is sent away", |g| !g.seen("live/main").downs.is_empty()).await;
    assert_eq!(ground.seen("live/main").downs, ["sent nothing for 5 s"]);
    drop(silent);
    let publisher = ground.publish("live/main", ts(1, 700)).await;
    ground.until_received("live/main", 700 * 188).await;
    drop(publisher);
    tokio::time::timeout(Duration::from_secs(5), ground.handle.stop()).await.expect("a graceful end");
}
