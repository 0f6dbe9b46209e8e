//! What does not fit is refused with the reason; what is broken breaks nothing.

use proptest::prelude::*;

use super::*;
use crate::media::{ChannelTime, SegmentNumber};

/// The refusal of a body, and its status.
fn refused(config: &Config, track: &str, bytes: &[u8], seconds: f64) -> (String, u16) {
    let mut point = Point::new(config.clone());
    let body = [Body { track, bytes, seconds }];
    let (_, refusal) = send(&mut point, start(), 300, &body).expect_err("it does not fit");
    assert_eq!(point.figures().refused, 1, "{refusal}");
    (refusal.to_string(), refusal.status())
}

/// Name, track, body, status, and what the answer says.
type Row = (&'static str, &'static str, Option<Vec<u8>>, u16, &'static str);

#[test]
fn what_does_not_fit_is_told() {
    let forms = FORMS[0];
    let two = |text: &str| {
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=s=320x180:r=25 -f lavfi -i sine=r=48000 -t 3 -c:v libx264 {GOP} -c:a aac -movflags {text} -f mp4 pipe:1"
        ))
    };
    let hevc =
        || ffmpeg(&format!("-f lavfi -i testsrc2=s=320x180:r=25 -t 1 -c:v mpeg4 -movflags {forms} -f mp4 pipe:1"));
    let rows: [Row; 13] = [
        (
            "key pictures too near",
            "v180",
            picture(6, "-g 48 -keyint_min 48 -sc_threshold 0", forms),
            422,
            "48 pictures from one key picture to the next: segments have 50",
        ),
        (
            "key pictures too far",
            "v180",
            picture(8, "-g 100 -keyint_min 100 -sc_threshold 0", FORMS[1]),
            422,
            "100 pictures from one key picture to the next: segments have 50",
        ),
        (
            "another rate",
            "v180",
            picture_of("s=320x180:r=30", 5, "-g 60 -keyint_min 60 -sc_threshold 0", forms),
            422,
            "60 pictures in 2.000 s: at the channel's 25",
        ),
        ("another size", "v180", picture_of("s=640x360:r=25", 1, GOP, forms), 412, "640x360, the ladder's 320x180"),
        ("pictures for sound", "a1", picture(1, GOP, forms), 412, "it holds pictures"),
        ("sound for pictures", "v180", tone(1, "", "cmaf"), 412, "it holds sound"),
        ("another sample rate", "a1", tone(1, "-ar 44100", "cmaf"), 412, "44100 samples a second"),
        ("another layout", "a1", tone(1, "-ac 1", "cmaf"), 412, "channel configuration 1"),
        ("another format", "v180", hevc(), 415, "mp4v"),
        ("two tracks", "v180", two("cmaf+frag_keyframe"), 412, "2 tracks in one stream"),
        ("media first", "v180", Some(b"\0\0\0\x0cmdat1234".to_vec()), 400, "`mdat` without a `moof`"),
        ("a fragment first", "v180", Some([&b"\0\0\0\x0cmoof1234"[..], &[0; 90]].concat()), 412, "no CMAF header"),
        (
            "a transport stream",
            "v180",
            Some([&[0x47u8, 0x40, 0, 0x10][..], &[0xff; 400]].concat()),
            400,
            "there should be a box",
        ),
    ];
    for (name, track, bytes, status, want) in rows {
        let Some(bytes) = bytes else { return };
        let (told, got) = refused(&config(), track, &bytes, 6.0);
        assert!(told.contains(want), "{name}: `{told}` says nothing of `{want}`");
        assert_eq!(got, status, "{name}: {told}");
    }
}

#[test]
fn open_gops_are_refused() {
    let Some(sent) = picture(8, "-g 50 -keyint_min 25 -sc_threshold 0 -bf 2 -x264-params open-gop=1", FORMS[1]) else {
        return;
    };
    let (told, status) = refused(&config(), "v180", &sent, 8.0);
    assert_eq!(status, 422, "{told}");
}

#[test]
fn tracks_are_known_by_what_they_say() {
    let (Some(picture), Some(sound)) = (picture(4, GOP, FORMS[0]), tone(4, "", "cmaf")) else { return };
    let mut point = Point::new(config());
    let bodies =
        [Body { track: "stream0", bytes: &picture, seconds: 4.0 }, Body { track: "1", bytes: &sound, seconds: 4.0 }];
    let out = send(&mut point, start(), 100, &bodies).expect("each fits one rendition");
    assert_eq!((places(&out, 0).len(), ends(&out, 0).len()), (100, 2));
    assert!(places(&out, 1).len() >= 90, "{}", places(&out, 1).len());
    // Two renditions that are alike, and one that is like none.
    let one = config();
    let twin = VideoRung { id: name("v180b"), ..one.video[0].clone() };
    let twins = Config { video: vec![one.video[0].clone(), twin], ..one.clone() };
    let (told, status) = refused(&twins, "stream0", &picture, 4.0);
    assert_eq!((status, told.contains("v180, v180b")), (404, true), "{told}");
    let larger = Config { video: vec![VideoRung { width: 640, ..one.video[0].clone() }], ..one };
    let (told, status) = refused(&larger, "stream0", &picture, 4.0);
    assert_eq!((status, told.contains("`stream0` is no rendition")), (404, true), "{told}");
    let (_, status) = refused(&config(), "stream0", &picture[picture.len() / 2..], 4.0);
    assert_eq!(status, 400);
}

#[test]
fn nothing_is_taken_of_segments_that_no_gop_can_meet() {
    let Some(sent) = picture_of("s=320x180:r=30000/1001", 6, "-g 60 -keyint_min 60 -sc_threshold 0", FORMS[0]) else {
        return;
    };
    let rate = FrameRate::new(30000, 1001).expect("a rate");
    let of = |ms| Config {
        grid: Grid::new(Duration::from_millis(ms), rate).expect("a grid"),
        audio: Vec::new(),
        ..config()
    };
    let (told, status) = refused(&of(2000), "v180", &sent, 6.0);
    assert!(told.contains("do not hold a whole number of pictures") && status == 422, "{told}");
    let body = [Body { track: "v180", bytes: &sent, seconds: 6.0 }];
    let out = send(&mut Point::new(of(2002)), start(), 300, &body).expect("2.002 s hold 60 pictures");
    assert_eq!(ends(&out, 0).iter().map(|end| end.1).collect::<Vec<_>>()[..2], [60, 60]);
}

/// A header of ffmpeg's and a fragment, small enough to be damaged often.
fn small() -> Option<Vec<u8>> {
    let sent = ffmpeg(
        "-f lavfi -i testsrc2=s=320x180:r=25 -t 0.2 -c:v libx264 -qp 51 -movflags cmaf+frag_every_frame -f mp4 pipe:1",
    )?;
    Some(sent)
}

fn survive(bytes: &[u8], portion: usize) {
    let mut point = Point::new(config());
    let mut object = point.begin("v180");
    for (n, part) in bytes.chunks(portion.max(1)).enumerate() {
        if point.push(start().after(Duration::from_millis(n as u64)), &mut object, part).is_err() {
            return;
        }
        for output in point.take() {
            if let Output::Coded(unit) = output {
                let at = config().grid.slot_time(crate::media::Slot(unit.position));
                assert!((at - ChannelTime::from_utc(start().utc)).abs() < 90_000 * 60, "far from the clock");
                assert!(unit.segment != SegmentNumber(0) && !unit.data.is_empty());
            }
        }
    }
    let _ = point.finish(&object);
}

#[test]
fn damage_is_survived() {
    let Some(sent) = small() else { return };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let changes = prop::collection::vec((0..sent.len(), any::<u8>()), 1..6);
    runner
        .run(&(changes, 0..sent.len(), 1usize..4000), |(changes, cut, portion)| {
            let mut bytes = sent.clone();
            changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            survive(&bytes, portion);
            survive(&bytes[..cut], portion);
            survive(&bytes[cut..], portion);
            Ok(())
        })
        .expect("nothing breaks");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000), portion in 1usize..500) {
        survive(&bytes, portion);
    }
}

#[test]
fn a_rate_that_is_almost_right_is_found_out() {
    let Some(sent) = picture_of("s=320x180:r=30000/1001", 16, "-g 60 -keyint_min 60 -sc_threshold 0", FORMS[1]) else {
        return;
    };
    let rate = FrameRate::new(30, 1).expect("a rate");
    let grid = Grid::new(Duration::from_secs(2), rate).expect("a grid");
    let (told, status) = refused(&Config { grid, audio: Vec::new(), ..config() }, "v180", &sent, 16.0);
    assert!(told.contains("drift off the channel's grid") && status == 422, "{told}");
}
