//! Connections that break and come again, and objects one a segment.

use super::*;

/// Where each top-level box of these bytes begins, and its name.
fn boxes(bytes: &[u8]) -> Vec<(usize, [u8; 4])> {
    let (mut at, mut found) = (0, Vec::new());
    while at + 8 <= bytes.len() {
        let size = u32::from_be_bytes(*bytes[at..].first_chunk().expect("four bytes")) as usize;
        found.push((at, *bytes[at + 4..].first_chunk().expect("four bytes")));
        at += size;
    }
    found
}

/// Header, and each fragment by itself.
fn objects(bytes: &[u8]) -> Vec<Vec<u8>> {
    let begins: Vec<usize> = boxes(bytes)
        .into_iter()
        .filter(|(at, name)| *at == 0 || [b"moof", b"mfra"].contains(&name))
        .map(|(at, _)| at)
        .collect();
    let ends = begins.iter().skip(1).copied().chain([bytes.len()]);
    begins.iter().zip(ends).map(|(from, to)| bytes[*from..to].to_vec()).collect()
}

fn alone() -> Config {
    Config { audio: Vec::new(), ..config() }
}

fn body(bytes: &[u8], seconds: f64) -> [Body<'_>; 1] {
    [Body { track: "v180", bytes, seconds }]
}

#[test]
fn an_object_a_segment_is_as_good_as_one_long_body() {
    let Some(sent) = picture(8, GOP, FORMS[0]) else { return };
    let mut whole = Point::new(alone());
    let at_once = send(&mut whole, start(), 100, &body(&sent, 8.0)).expect("it fits");
    let mut point = Point::new(alone());
    let mut out = Vec::new();
    for (n, object) in objects(&sent).iter().enumerate() {
        let now = start().after(Duration::from_secs(2 * n as u64));
        out.extend(send(&mut point, now, 3, &body(object, 0.1)).expect("it fits"));
    }
    let units = |out: &[Output]| {
        let data = |output: &Output| if let Output::Coded(unit) = output { Some(unit.data.clone()) } else { None };
        out.iter().filter_map(data).collect::<Vec<_>>()
    };
    assert_eq!(units(&out), units(&at_once));
    assert_eq!(ends(&out, 0).len(), 4);
}

#[test]
fn what_is_sent_again_is_taken_once() {
    let Some(sent) = picture(12, GOP, FORMS[1]) else { return };
    let objects = objects(&sent);
    let concat = |range: std::ops::Range<usize>| objects[range].concat();
    let mut point = Point::new(alone());
    // The connection breaks 4.4 s in, in the middle of a picture; the sender comes back with the header and the last 60 pictures.
    let mut before = concat(0..111);
    before.truncate(before.len() - 50);
    let mut object = point.begin("v180");
    let mut out = Vec::new();
    for (n, portion) in before.chunks(500).enumerate() {
        let now = start().after(Duration::from_secs_f64(4.4 * n as f64 * 500.0 / before.len() as f64));
        point.push(now, &mut object, portion).expect("it fits");
        out.extend(point.take());
    }
    assert_eq!(point.finish(&object), Err(Refusal::Stream(StreamError::Cut)));
    let again = [objects[0].clone(), concat(50..objects.len())].concat();
    out.extend(send(&mut point, start().after(Duration::from_secs(5)), 400, &body(&again, 7.6)).expect("it fits"));
    assert_eq!(ends(&out, 0).iter().map(|end| end.1).collect::<Vec<_>>(), [50; 6]);
    assert_eq!((point.figures().duplicates, point.figures().incomplete, point.figures().anew), (60, 0, 0));
    // The old body, should it still live, has nothing to say any more.
    assert_eq!(point.push(start(), &mut object, &[0; 200]), Err(Refusal::Replaced));
}

#[test]
fn a_sender_that_begins_anew_goes_on_on_the_grid() {
    let (Some(sent), Some(sound)) = (picture(8, GOP, FORMS[0]), tone(8, "", "cmaf")) else { return };
    let Some(other) = picture(8, &format!("{GOP} -qp 30"), FORMS[0]) else { return };
    for sound_first in [false, true] {
        let mut point = Point::new(config());
        let bodies = |picture: &'static str, bytes| (Body { track: picture, bytes, seconds: 8.0 }, picture);
        let (one, _) = bodies("v180", &sent[..]);
        let both = [one, Body { track: "a1", bytes: &sound, seconds: 8.0 }];
        let mut out = send(&mut point, start(), 400, &both).expect("it fits");
        // It dies, and is started again 3 s later, with its time at 0.
        let (picture, sound) = (Body { track: "v180", bytes: &other, seconds: 8.0 }, &both[1].bytes);
        let sound = Body { track: "a1", bytes: sound, seconds: 8.0 };
        let both = if sound_first { [sound, picture] } else { [picture, sound] };
        out.extend(send(&mut point, start().after(Duration::from_secs(11)), 400, &both).expect("it fits"));
        for rendition in [0, 1] {
            let ends = ends(&out, rendition);
            assert!(ends.windows(2).all(|two| two[0].0 < two[1].0), "{sound_first} {rendition}: {ends:?}");
            let whole = if rendition == 0 { 8 } else { 6 };
            assert!(ends.iter().filter(|end| [50, 93, 94].contains(&end.1)).count() >= whole, "{rendition}: {ends:?}");
        }
        assert_eq!(point.figures().anew, 1, "{sound_first}");
        let placed = notices(&out).into_iter().filter(|notice| matches!(notice, Notice::Placed { .. })).count();
        assert_eq!(placed, 2, "{sound_first}");
    }
}

#[test]
fn a_picture_left_out_costs_its_segment_alone() {
    let Some(sent) = picture(8, GOP, FORMS[1]) else { return };
    let mut objects = objects(&sent);
    objects.remove(1 + 70);
    let mut point = Point::new(alone());
    let out = send(&mut point, start(), 400, &body(&objects.concat(), 8.0)).expect("it fits");
    assert_eq!(ends(&out, 0).iter().map(|end| end.1).collect::<Vec<_>>(), [50, 49, 50, 50]);
    assert_eq!((point.figures().incomplete, point.figures().segments), (1, 3));
}

#[test]
fn clocks_that_drift_apart_are_followed_by_whole_segments() {
    let Some(sent) = picture(30, GOP, FORMS[1]) else { return };
    // 30 s of media that take 45 s, and that take 15 s.
    for (seconds, late) in [(45.0, true), (15.0, false)] {
        let mut point = Point::new(alone());
        let out = send(&mut point, start(), 900, &body(&sent, seconds)).expect("it fits");
        let by: Vec<i64> = notices(&out)
            .into_iter()
            .filter_map(|notice| if let Notice::Renumbered { by, .. } = notice { Some(*by) } else { None })
            .collect();
        assert!(!by.is_empty() && by.iter().all(|by| (*by > 0) == late), "{seconds}: {by:?}");
        let ends = ends(&out, 0);
        assert!(ends.windows(2).all(|two| two[0].0 < two[1].0), "{seconds}: {ends:?}");
        assert!(ends.iter().all(|end| end.1 == 50), "{seconds}: {ends:?}");
    }
}

#[test]
fn our_own_word_is_taken() {
    let Some(sent) = picture(4, GOP, FORMS[0]) else { return };
    let objects = objects(&sent);
    // As our publisher would: channel time, and what was made up. ffmpeg's times begin at 0, so this channel's do too.
    let now = Now { utc: Duration::from_secs(2), ..start() };
    let filled = crate::encode::ipc::Filled { repeated: 3, ..Default::default() };
    let told = |n| Aside::Segment { number: SegmentNumber(n), units: 50, filled }.write();
    let bytes = [&objects[0][..], &Aside::ChannelTime.write(), &objects[1], &told(0), &objects[2], &told(1)].concat();
    let mut point = Point::new(alone());
    let out = send(&mut point, now, 50, &body(&bytes, 1.0)).expect("it fits");
    let ends: Vec<_> = out.iter().filter(|output| matches!(output, Output::SegmentEnd(_))).collect();
    assert_eq!(ends.len(), 2);
    for (n, end) in ends.into_iter().enumerate() {
        let Output::SegmentEnd(end) = end else { continue };
        assert_eq!((end.segment.0, end.units, end.filled), (n as u64, 50, filled));
    }
}

#[test]
fn silence_is_told_once() {
    let Some(sent) = picture(4, GOP, FORMS[0]) else { return };
    let mut point = Point::new(alone());
    let end = start().after(Duration::from_secs(4));
    assert_eq!(point.wake_at(), None);
    send(&mut point, start(), 100, &body(&sent, 4.0)).expect("it fits");
    for (seconds, want) in [(4, 0), (6, 1), (60, 0)] {
        point.poll(end.after(Duration::from_secs(seconds)));
        assert_eq!(notices(&point.take()).len(), want, "{seconds} s later");
    }
}

#[test]
fn sound_alone_finds_its_place() {
    let Some(sent) = tone(10, "", "cmaf") else { return };
    let config = Config { video: Vec::new(), ..config() };
    let mut point = Point::new(config.clone());
    let out = send(&mut point, start(), 300, &[Body { track: "a1", bytes: &sent, seconds: 10.0 }]).expect("it fits");
    let (ends, frames) = (ends(&out, 0), places(&out, 0));
    assert!(frames.windows(2).all(|two| two[0] + 1 == two[1]), "no hole and nothing twice");
    // The first segment that it was there for from its beginning on is the next one.
    let first = config.grid.segment_at(start().channel_time()).0 + 1;
    assert_eq!(frames[0], config.grid.first_audio_frame(SegmentNumber(first)).0);
    assert!(ends.len() >= 4 && ends.iter().all(|end| [93, 94].contains(&end.1)), "{ends:?}");
    assert_eq!(ends[0].0, first);
    assert_eq!((point.figures().regridded, point.figures().incomplete), (0, 0));
}

#[test]
fn languages_are_told_apart() {
    let Some(sent) = tone(4, "-metadata:s:a language=deu", "cmaf") else { return };
    let one = config();
    let of =
        |id: &str, language: &[u8; 3]| AudioRung { id: name(id), language: Some(*language), ..one.audio[0].clone() };
    let audio = vec![of("a-eng", b"eng"), of("a-deu", b"deu")];
    let mut point = Point::new(Config { video: Vec::new(), audio, ..one.clone() });
    let out =
        send(&mut point, start(), 100, &[Body { track: "stream1", bytes: &sent, seconds: 4.0 }]).expect("it fits");
    assert!(places(&out, 0).is_empty() && !places(&out, 1).is_empty());
}
