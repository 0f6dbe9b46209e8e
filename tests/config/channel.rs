//! A channel's keys: what they mean, and what holds where they are left out.

use std::time::Duration;

use tandem::config::{Condition, Content, Limits, Redundancy, Revert, SourceOrder};

use super::*;

#[test]
fn conditions_are_read_with_their_limits() {
    let keys = "[channel.failover]\nrevert = \"3s\"\nno_video = {}\nsync_loss = { after = \"1s\", clear = \"2s\" }\n\
                continuity_errors = { after = \"4s\", per_second = 20 }\n[channel.pipelines]";
    let config = parse(&GOOD.replace("[channel.pipelines]", keys)).unwrap_or_else(|r| panic!("{r}"));
    let failover = &config.channels[0].failover;
    assert_eq!(failover.hold_down, Duration::from_secs(3), "that of revert");
    let seconds = Duration::from_secs;
    let limits = |condition, after, clear, per_second| Limits { condition, after, clear, per_second };
    assert_eq!(
        failover.conditions,
        [
            limits(Condition::NoVideo, seconds(1), seconds(5), 1),
            limits(Condition::SyncLoss, seconds(1), seconds(2), 1),
            limits(Condition::Continuity, seconds(4), seconds(5), 20),
        ]
    );
}

#[test]
fn what_is_in_a_source_is_read_with_its_limits() {
    let with =
        |keys: &str| GOOD.replace("[channel.pipelines]", &format!("[channel.failover]\n{keys}\n[channel.pipelines]"));
    let plain =
        parse(&with("black = {}\nfrozen = {}\nsilent = {}\ndecoder_errors = {}")).unwrap_or_else(|r| panic!("{r}"));
    let failover = &plain.channels[0].failover;
    let usual =
        [Condition::Black, Condition::Frozen, Condition::Silent, Condition::DecoderErrors].map(Limits::usual).to_vec();
    assert_eq!((&failover.conditions, failover.content), (&usual, Content::default()));
    assert!(plain.summary().to_string().contains("decodes pictures and sound of all 1 sources"), "{}", plain.summary());
    let keys = "black = { after = \"1s\", level = \"5%\", share = \"100%\" }\nfrozen = { change = \"0.5%\" }\n\
                silent = { level = \"-60dBFS\" }\ndecoder_errors = { after = \"4s\", clear = \"2s\", per_second = 3 }";
    let config = parse(&with(keys)).unwrap_or_else(|r| panic!("{r}"));
    let failover = &config.channels[0].failover;
    let content = Content { dark_level: 0.05, dark_share: 1.0, change: 0.005, silence: -60.0 };
    assert_eq!(failover.content, content);
    assert_eq!(failover.conditions[0].after, Duration::from_secs(1));
    let seconds = Duration::from_secs;
    let errors = Limits { condition: Condition::DecoderErrors, after: seconds(4), clear: seconds(2), per_second: 3 };
    assert_eq!(failover.conditions[3], errors);
    for (keys, key, wrong) in [
        ("black = { after = \"900ms\" }", "black.after", "1s to 3600s are possible"),
        ("black = { level = \"60%\" }", "black.level", "60% / 0% to 50% are possible"),
        ("black = { share = \"40%\" }", "black.share", "50% to 100% are possible"),
        ("frozen = { change = \"0.1%\" }", "frozen.change", "0.5% to 25% are possible"),
        ("silent = { level = \"-5dBFS\" }", "silent.level", "-100dBFS to -10dBFS are possible"),
        ("silent = { level = \"50\" }", "silent.level", "-50dBFS"),
        ("decoder_errors = { after = \"1s\" }", "decoder_errors.after", "2s to 3600s are possible"),
        ("decoder_errors = { per_second = 0 }", "decoder_errors.per_second", "1 to 1000 are possible"),
        ("frozen = { level = \"1%\" }", "frozen.level", "unknown key"),
    ] {
        let found = mistakes(&with(keys));
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert_eq!((found[0].0, found[0].1.as_str()), (5, format!("channel[c].failover.{key}").as_str()), "{keys}");
        assert!(found[0].2.contains(wrong), "{keys}: {found:?}");
    }
}

#[test]
fn what_is_not_said_has_a_sane_default() {
    let config = parse(GOOD).unwrap_or_else(|r| panic!("{r}"));
    let channel = &config.channels[0];
    assert_eq!(config.origin.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.control.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.srt.listen.to_string(), "127.0.0.1:9710");
    assert_eq!(channel.title, "c");
    assert_eq!(channel.grid.segment(), Duration::from_secs(2));
    assert_eq!(channel.window, Duration::from_secs(60));
    assert_eq!(channel.hold, Duration::from_millis(600));
    assert_eq!(channel.loss.repeat_for, Duration::from_secs(1));
    assert_eq!(channel.loss.black_for, Duration::from_secs(1));
    assert!((800_000_000..1_000_000_000).contains(&channel.memory_max), "{}", channel.memory_max);
    assert_eq!(channel.failover.loss_after, Duration::from_millis(200));
    assert_eq!(channel.failover.join_buffer, Duration::from_secs(4));
    assert_eq!(channel.failover.revert, Revert::Never);
    assert_eq!(channel.failover.order, SourceOrder::Preferred);
    assert_eq!(channel.failover.hold_down, Duration::from_secs(10));
    assert_eq!(channel.failover.conditions, [], "a source that flows is left for nothing that the file does not name");
    assert_eq!(channel.pipelines.len(), 1);
    assert_eq!(channel.redundancy, Redundancy::Hot);
}

#[test]
fn warm_standby_needs_what_it_rests_on() {
    let warm = GOOD.replace("id = \"c\"", "id = \"c\"\nredundancy = \"warm\"");
    let pair = warm.replace("a = [\"s1\"]", "a = [\"s1\"]\nb = [\"s1\"]");
    let config = parse(&pair).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(config.channels[0].redundancy, Redundancy::Warm);
    assert!(config.summary().to_string().contains("warm"), "{}", config.summary());
    let found = mistakes(&warm);
    assert_eq!(found.len(), 1, "{found:?}");
    let (line, key, text) = &found[0];
    assert_eq!((*line, key.as_str()), (3, "channel[c].redundancy"));
    assert!(text.contains("no pipeline b to stand by / list its sources"), "{text}");
    let found = mistakes(&pair.replace("\"warm\"", "\"lukewarm\""));
    assert!(found[0].2.contains("lukewarm") && found[0].2.contains("warm"), "{found:?}");
}

#[test]
fn fields_become_pictures_as_is_said() {
    use tandem::encode::ipc::Deinterlace;
    for (text, want) in [
        ("", Deinterlace::Auto),
        ("deinterlace = \"auto\"", Deinterlace::Auto),
        ("deinterlace = \"bob\"", Deinterlace::Bob),
        ("deinterlace = \"blend\"", Deinterlace::Blend),
        ("deinterlace = \"top\"", Deinterlace::Top),
    ] {
        let text = GOOD.replace("id = \"c\"", &format!("id = \"c\"\n{text}"));
        let config = parse(&text).unwrap_or_else(|r| panic!("{r}"));
        assert_eq!(config.channels[0].deinterlace, want, "{text}");
    }
}

#[test]
fn a_default_part_divides_the_segment_evenly() {
    for (rate, want_micros) in
        [("24", 500_000), ("25", 400_000), ("29.97", 400_400), ("50", 500_000), ("59.94", 400_400), ("23.976", 333_667)]
    {
        let text = GOOD.replace("id = \"c\"", &format!("id = \"c\"\nframe_rate = \"{rate}\""));
        let channel = &parse(&text).unwrap_or_else(|r| panic!("{r}")).channels[0];
        let nanos = channel.part.as_nanos() as u64;
        assert_eq!((nanos + 500) / 1000, want_micros, "at {rate}");
        let segment = (channel.grid.segment().as_secs_f64() * channel.grid.rate().as_f64()).round();
        let part = channel.part.as_secs_f64() * channel.grid.rate().as_f64();
        assert!((segment / part).fract().min(1.0 - (segment / part).fract()) < 1e-6, "at {rate}");
    }
}

#[test]
fn low_latency_is_in_the_encoders_and_in_what_is_not_said() {
    let low = |more: &str| {
        let text = GOOD.replace("id = \"c\"", &format!("id = \"c\"\nlatency = \"low\"\n{more}"));
        parse(&text).unwrap_or_else(|r| panic!("{r}")).channels.remove(0)
    };
    let ms = Duration::from_millis;
    let channel = low("");
    assert!(channel.ladder.video.iter().all(|r| r.zero_latency && r.bframes == 0 && r.lookahead == 0));
    assert_eq!((channel.hold, channel.part), (ms(400), ms(200)));
    let said = low("hold = \"900ms\"\npart = \"400ms\"");
    assert_eq!((said.hold, said.part), (ms(900), ms(400)), "what is said holds");
    let slow = low("failover.loss_after = \"500ms\"");
    assert_eq!(slow.hold, ms(700), "always above loss_after");
    let normal = &parse(&GOOD.replace("id = \"c\"", "id = \"c\"\nlatency = \"normal\"")).unwrap().channels[0];
    assert!(normal.ladder.video.iter().all(|r| !r.zero_latency && r.bframes > 0));
    assert_eq!((normal.hold, normal.part), (ms(600), ms(400)));
}

#[test]
fn loudness_is_a_preset_or_two_figures() {
    let loudness = |keys: &str| parse(&format!("{GOOD}[channel.loudness]\n{keys}"));
    for (name, keys, target, true_peak) in [
        ("the table alone", "", -23.0, -1.0),
        ("EBU", "preset = \"ebu-r128\"\n", -23.0, -1.0),
        ("ATSC", "preset = \"atsc-a85\"\n", -24.0, -2.0),
        ("own figures", "target = \"-16 LUFS\"\ntrue_peak = \"-1.5dBTP\"\n", -16.0, -1.5),
        ("a preset and a figure", "preset = \"atsc-a85\"\ntarget = \"-27LKFS\"\n", -27.0, -2.0),
    ] {
        let config = loudness(keys).unwrap_or_else(|r| panic!("{name}: {r}"));
        let got = config.channels[0].loudness.map(|l| (l.target, l.true_peak));
        assert_eq!(got, Some((target, true_peak)), "{name}");
    }
    assert_eq!(parse(GOOD).unwrap().channels[0].loudness, None);
    for (key, mend) in [
        ("target = \"23LUFS\"", "-23LUFS"),
        ("target = \"-5LUFS\"", "-40LUFS to -10LUFS"),
        ("target = \"-1e1LUFS\"", "-23LUFS"),
        ("true_peak = \"-20dBTP\"", "-12dBTP to -0.1dBTP"),
        ("true_peak = \"-1dB\"", "-1dBTP"),
        ("preset = \"ebu\"", "ebu-r128"),
    ] {
        let report = loudness(key).expect_err("bad");
        let mistakes = report.mistakes();
        assert_eq!(mistakes.len(), 1, "{key}: {report}");
        let said = format!("{} / {}", mistakes[0].wrong, mistakes[0].mend);
        assert!(said.contains(mend), "{key}: {said}");
    }
}

#[test]
fn pipelines_are_made_elsewhere_and_published() {
    let plain = parse(GOOD).unwrap_or_else(|r| panic!("{r}"));
    assert!(!plain.has_ingest() && !plain.channels[0].is_spread() && !plain.summary().to_string().contains("8082"));
    let text = GOOD.replace("[channel.pipelines]\n", "[channel.pipelines]\nb = \"cmaf\"\n").replacen(
        "[[channel.source]]",
        "[[channel.publish]]\npipeline = \"a\"\nto = \"http://[::1]:8082/ingest/c/a\"\n[[channel.source]]",
        1,
    );
    let config = parse(&text).unwrap_or_else(|r| panic!("{r}"));
    let [a, b] = &config.channels[0].pipelines[..] else { panic!("two pipelines") };
    assert!(!a.elsewhere && a.publish.len() == 1 && a.publish[0].key.is_none(), "{a:?}");
    assert!(b.elsewhere && b.sources.is_empty() && b.publish.is_empty(), "{b:?}");
    assert!(config.has_ingest() && config.ingest.listen.ip().is_loopback() && config.channels[0].is_spread());
    let summary = config.summary().to_string();
    for told in ["127.0.0.1:8082", "pipeline b: an encoder elsewhere", "goes on to http://[::1]:8082/ingest/c/a"] {
        assert!(summary.contains(told), "{summary}");
    }
}
