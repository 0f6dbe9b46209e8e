//! What a bad network loses comes again: with latency enough, all of it. How much is left with less, against libsrt's own tool:
//! scripts/bench/srt-loss.sh.

use std::time::Duration;

use tandem::config::{Input, SrtMode};
use tandem::srt::{Sender, Url};

use super::ground::{Ground, MESSAGE, assert_same, paced, source, ts};
use super::line::{Faults, Line};

#[tokio::test(flavor = "multi_thread")]
async fn five_and_ten_percent_and_bursts_leave_nothing_unrecovered() {
    // Six round trips and more, so that a packet may be lost several times over.
    let latency = Duration::from_millis(1500);
    let names = ["live/five", "live/ten", "live/bursts"];
    let sources = names.map(|name| {
        let mut source = source(name, SrtMode::Shared, None);
        if let Input::Srt(input) = &mut source.input {
            input.latency = latency;
        }
        source
    });
    let ground = Ground::open(&sources).await;
    let sent = ts(41, 7 * 1200);
    let mut lines = Vec::new();
    let bursts = (Duration::from_millis(1500), Duration::from_millis(200));
    for (name, loss_permille, bursts) in [(names[0], 50, None), (names[1], 100, None), (names[2], 0, Some(bursts))] {
        let line =
            Line::start(ground.listen, Faults { delay: Duration::from_millis(40), loss_permille, bursts, seed: 7 });
        let url = format!("srt://{}?streamid={name}&latency={}", line.front, latency.as_millis());
        let (url, stream) = (Url::parse(&url).expect("good"), sent.clone());
        lines.push((name, line));
        tokio::task::spawn_blocking(move || {
            let mut sender = Sender::connect(&url).expect("let in");
            paced(&stream, |message| sender.send(message).expect("sent"));
            sender.finish();
        });
    }
    for (name, line) in lines {
        ground.until_received(name, sent.len()).await;
        assert_same(&ground.seen(name).data, &sent);
        let lost = line.lost();
        println!("{name}: {lost} datagrams lost on the way of {} messages", sent.len() / MESSAGE);
        assert!(lost >= 40, "{name}: only {lost} datagrams were lost");
        ground.until("figures of the whole", |g| g.seen(name).link.is_some_and(|link| link.lost > 20)).await;
        let link = ground.seen(name).link.expect("just seen");
        assert_eq!(link.dropped, 0, "{name}: {link:?}");
    }
    ground.handle.stop().await;
}
