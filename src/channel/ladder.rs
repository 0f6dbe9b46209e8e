//! Which rungs a channel encodes.
//!
//! In:    the configured ladder, and what is known of the source: its first picture, its bit rate.
//! Out:   a [`Plan`], once; made again only if it had to be made before the first picture came.
//! Never: changes a plan that was made from a picture: a ladder that changes under a player is a fault.
//!
//! What a source cannot fill is left out, and the lowest rung always stays:
//!
//! * by size: a rung both wider and higher than the source would only be scaled up;
//! * by bit rate: of several rungs of one size and format those whose cap is beyond what the source carries, where one below
//!   still has room for all of it. A rung that is the only one of its size stays whatever its cap: below the cap
//!   a rung spends what its quality target asks for, so a cap that is too high costs nothing, and a size that is missing does.
//!
//! A ladder that is made for its source (`ladder = "auto"`) fits it from the start.
//!
//! A source slower than the channel's rate drops no rung: there is one grid a channel, and every rung is on it.

use std::time::Duration;

use crate::clock::Now;
use crate::config::Ladder;
use crate::encode::ladder::{AudioRung, VideoFormat, VideoRung};
use crate::media::{Codec, FrameRate, VideoShape};
use crate::monitor::LeftOut;

/// A channel that has not seen a picture yet waits so long for one before it starts with the slate: the picture's size
/// decides which rungs there are.
const FIRST_PICTURE_WITHIN: Duration = Duration::from_millis(2000);

/// A ladder in which the source's bit rate decides waits so long for it behind the first picture; then it does without.
const BITRATE_WITHIN: Duration = Duration::from_secs(4);

/// Bits of a cap that are of use, percent of what the source carries: an encoding of an encoding needs more than the first
/// one to look the same, and a measurement over seconds may have met an easy scene.
const USEFUL_PERCENT: u64 = 150;

/// What is known of the source whose picture decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its format.
    pub codec: Codec,
    /// Its picture.
    pub shape: VideoShape,
    /// Bits a second of its video, once measured.
    pub bitrate: Option<u64>,
}

/// What the channel encodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Video, largest first; none on a channel of sound alone.
    pub video: Vec<VideoRung>,
    /// Audio.
    pub audio: Vec<AudioRung>,
    /// What the source cannot fill.
    pub left_out: Vec<LeftOut>,
    /// A source that brings fewer pictures than the channel emits, in words.
    pub note: Option<String>,
    /// Nothing can change it any more.
    settled: bool,
}

/// Decides when the ladder is made, and what is in it.
#[derive(Debug)]
pub struct Fitting {
    began: Now,
    /// Something failed; nothing is decided for as long as a first picture may take.
    rests: bool,
    seen_at: Option<Now>,
    plan: Option<Plan>,
}

impl Fitting {
    /// Begins to wait for a picture.
    pub const fn new(now: Now) -> Self {
        Self { began: now, rests: false, seen_at: None, plan: None }
    }

    /// The plan, once made.
    pub const fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// There is a plan, and nothing can change it any more.
    pub fn is_settled(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.settled)
    }

    /// Forgets the plan; it is made anew in two seconds.
    pub fn postpone(&mut self, now: Now) {
        *self = Self { rests: true, ..Self::new(now) };
    }

    /// Goes on with renditions that were published before this process began, if the ladder still has them all.
    pub fn go_on(&mut self, ladder: &Ladder, video: &[VideoRung], audio: &[AudioRung]) -> bool {
        // One that is made for its source is whatever it was.
        let same = ladder.auto || audio == ladder.audio && video.iter().all(|rung| ladder.video.contains(rung));
        if same {
            let left_out = ladder.video.iter().filter(|rung| !ladder.auto && !video.contains(rung));
            let why = "it is not in the window on disk that is gone on with".to_owned();
            let left_out = left_out.map(|rung| LeftOut { id: rung.id.clone(), why: why.clone() }).collect();
            let (video, audio) = (video.to_vec(), audio.to_vec());
            self.plan = Some(Plan { video, audio, left_out, note: None, settled: true });
        }
        same
    }

    /// When it has to be asked although nothing happened.
    pub fn wake_at(&self) -> Option<Now> {
        match (&self.plan, self.seen_at) {
            (Some(plan), _) if plan.settled => None,
            (_, Some(seen)) => Some(seen.after(BITRATE_WITHIN)),
            (None, None) => Some(self.began.after(FIRST_PICTURE_WITHIN)),
            (Some(_), None) => None,
        }
    }

    /// Makes the plan if it is due, for a channel that emits `rate`. `true` if its renditions are not those of before.
    pub fn decide(&mut self, now: Now, ladder: &Ladder, rate: FrameRate, seen: Option<Seen>) -> bool {
        let early = now.since(self.began) < FIRST_PICTURE_WITHIN;
        if self.is_settled() || self.rests && early {
            return false;
        }
        let plan = match seen {
            _ if ladder.video.is_empty() => Plan::of_sound(ladder),
            Some(seen) => {
                let seen_at = *self.seen_at.get_or_insert(now);
                let patient = now.since(seen_at) < BITRATE_WITHIN;
                if patient && seen.bitrate.is_none() && bitrate_decides(&ladder.video, seen.shape) {
                    return false;
                }
                Plan::new(ladder, rate, seen)
            }
            None if self.plan.is_some() || early => return false,
            None => Plan::without_source(ladder),
        };
        let same = self.plan.as_ref().is_some_and(|old| old.video == plan.video && old.audio == plan.audio);
        self.plan = Some(plan);
        !same
    }
}

impl Plan {
    fn of_sound(ladder: &Ladder) -> Self {
        Self { settled: true, ..Self::without_source(ladder) }
    }

    /// Every rung, until a picture comes.
    fn without_source(ladder: &Ladder) -> Self {
        Self {
            video: ladder.video.clone(),
            audio: ladder.audio.clone(),
            left_out: Vec::new(),
            note: None,
            settled: false,
        }
    }

    fn new(ladder: &Ladder, rate: FrameRate, seen: Seen) -> Self {
        let ladder = ladder.for_source(seen.shape, rate);
        let (video, left_out) = fitting(&ladder.video, seen);
        Self { video, audio: ladder.audio, left_out, note: slower(seen.shape, rate), settled: true }
    }

    /// What was left out and what else is to be known, in one line.
    pub fn remarks(&self) -> Option<String> {
        let rungs = self.left_out.iter().map(|rung| format!("{} left out: {}", rung.id, rung.why));
        let all: Vec<String> = rungs.chain(self.note.clone()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// The rungs the source can fill, and the others.
fn fitting(ladder: &[VideoRung], seen: Seen) -> (Vec<VideoRung>, Vec<LeftOut>) {
    let shape = seen.shape;
    let mut left_out = Vec::new();
    let mut rungs = Vec::new();
    for (at, rung) in ladder.iter().enumerate() {
        let below = &ladder[at + 1..];
        // The lowest one stays: there must be a picture.
        let why = if below.is_empty() && rungs.is_empty() {
            None
        } else if is_larger(rung, shape) {
            let (w, h) = (shape.width, shape.height);
            Some(format!("{}x{} is larger than the source's {w}x{h}", rung.width, rung.height))
        } else {
            seen.bitrate.and_then(|bits| richer(rung, below, seen.codec, bits))
        };
        match why {
            Some(why) => left_out.push(LeftOut { id: rung.id.clone(), why }),
            None => rungs.push(rung.clone()),
        }
    }
    (rungs, left_out)
}

/// Both sides: of a wide picture a rung may keep the width and add bars.
const fn is_larger(rung: &VideoRung, shape: VideoShape) -> bool {
    rung.width > shape.width && rung.height > shape.height
}

/// Why a rung's cap is of no use, if a rung of its kind below it has room for what the source carries.
fn richer(rung: &VideoRung, below: &[VideoRung], codec: Codec, bits: u64) -> Option<String> {
    let cap = |rung: &VideoRung| u64::from(rung.rate.max_bitrate());
    let alike = bits * bits_percent(rung.encoder.format()) / source_bits_percent(codec);
    let enough = below.iter().rev().find(|other| is_alike(rung, other) && cap(other) >= alike)?;
    (cap(rung) > alike * USEFUL_PERCENT / 100).then(|| {
        let [cap, bits] = [cap(rung), bits].map(|bits| bits as f64 / 1e6);
        format!("the source carries {bits:.1} Mbit/s, {cap:.1} would not show more than {} does", enough.id)
    })
}

/// Only the bit rate tells them apart.
fn is_alike(a: &VideoRung, b: &VideoRung) -> bool {
    (a.width, a.height, a.encoder.format()) == (b.width, b.height, b.encoder.format())
}

/// Whether the source's bit rate can make a difference.
fn bitrate_decides(ladder: &[VideoRung], shape: VideoShape) -> bool {
    let fits = |rung: &&VideoRung| !is_larger(rung, shape);
    ladder.iter().enumerate().filter(|(_, r)| fits(r)).any(|(at, r)| ladder[at + 1..].iter().any(|b| is_alike(r, b)))
}

/// Bits for one and the same picture, percent of H.264's. Rough, as all such figures are.
const fn bits_percent(format: VideoFormat) -> u64 {
    match format {
        VideoFormat::H264 => 100,
        VideoFormat::Hevc => 60,
        VideoFormat::Av1 => 50,
    }
}

const fn source_bits_percent(codec: Codec) -> u64 {
    match codec {
        Codec::Mpeg2Video => 200,
        Codec::Hevc => bits_percent(VideoFormat::Hevc),
        _ => bits_percent(VideoFormat::H264),
    }
}

/// What to say of a source with fewer pictures than the channel emits. Fields of 25i may well become 50p.
fn slower(shape: VideoShape, rate: FrameRate) -> Option<String> {
    let source = shape.rate.filter(|_| !shape.interlaced)?;
    // 29.97 on a grid of 30 is a repeat in 33 s, and no reason to change anything.
    (source.as_f64() * 1.01 < rate.as_f64()).then(|| {
        format!(
            "the source has {source} pictures a second, the channel emits {rate}: the others are repeats that cost CPU"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ladder::{RateControl, VideoEncoder};
    use crate::media::RenditionId;
    use std::path::PathBuf;
    use std::time::Instant;

    const H264: VideoEncoder = VideoEncoder::X264;

    fn rung(id: &str, width: u32, height: u32, mbits: f64) -> VideoRung {
        let rate = RateControl::CappedCrf { crf: 23.0, max_bitrate: (mbits * 1e6) as u32 };
        VideoRung::new(RenditionId::new(id).expect("a name"), width, height, rate)
    }

    fn usual() -> Vec<VideoRung> {
        vec![rung("v1080", 1920, 1080, 6.0), rung("v720", 1280, 720, 3.0), rung("v360", 640, 360, 0.7)]
    }

    /// Two rungs of one size, and one of each other format beside them.
    fn dense() -> Vec<VideoRung> {
        let hevc = VideoRung { encoder: VideoEncoder::X265, ..rung("h720", 1280, 720, 3.6) };
        vec![rung("rich", 1280, 720, 6.0), hevc, rung("poor", 1280, 720, 2.5), rung("v360", 640, 360, 0.7)]
    }

    fn seen(width: u32, height: u32, mbits: Option<f64>) -> Seen {
        let shape = VideoShape { width, height, rate: None, interlaced: false };
        Seen { codec: Codec::H264, shape, bitrate: mbits.map(|m| (m * 1e6) as u64) }
    }

    fn ladder(video: Vec<VideoRung>) -> Ladder {
        Ladder { file: PathBuf::from("test"), auto: false, video, audio: Vec::new() }
    }

    fn rate(fps: u32) -> FrameRate {
        FrameRate::new(fps, 1).expect("a rate")
    }

    #[test]
    fn what_the_source_cannot_fill_is_left_out() {
        let hevc = |mbits| Seen { codec: Codec::Hevc, ..seen(1280, 720, Some(mbits)) };
        let mpeg2 = |mbits| Seen { codec: Codec::Mpeg2Video, ..seen(1280, 720, Some(mbits)) };
        for (name, rungs, source, want) in [
            ("all fit", usual(), seen(1920, 1080, None), "v1080 v720 v360"),
            ("larger than all", usual(), seen(3840, 2160, None), "v1080 v720 v360"),
            ("a smaller source", usual(), seen(1280, 720, None), "v720 v360"),
            ("between two rungs", usual(), seen(1024, 576, None), "v360"),
            ("wide: the width decides", usual(), seen(1920, 800, None), "v1080 v720 v360"),
            ("high: the height decides", usual(), seen(1080, 1920, None), "v1080 v720 v360"),
            ("smaller than all: the lowest stays", usual(), seen(320, 180, None), "v360"),
            ("a lone rung stays", vec![rung("one", 1920, 1080, 6.0)], seen(320, 180, None), "one"),
            ("a poor source keeps its size", usual(), seen(1920, 1080, Some(0.5)), "v1080 v720 v360"),
            ("one of two of a size is enough", dense(), seen(1280, 720, Some(2.0)), "h720 poor v360"),
            ("the poorer one is too poor", dense(), seen(1280, 720, Some(3.0)), "rich h720 poor v360"),
            ("within what is of use", dense(), seen(1280, 720, Some(4.1)), "rich h720 poor v360"),
            ("no bit rate, no rule", dense(), seen(1280, 720, None), "rich h720 poor v360"),
            ("HEVC carries more in fewer bits", dense(), hevc(2.0), "rich h720 poor v360"),
            ("and MPEG-2 less in more", dense(), mpeg2(4.0), "h720 poor v360"),
            ("both rules at once", dense(), seen(640, 360, Some(0.2)), "v360"),
        ] {
            let (rungs, left_out) = fitting(&rungs, source);
            let ids: Vec<&str> = rungs.iter().map(|r| r.id.as_str()).collect();
            assert_eq!(ids.join(" "), want, "{name}: {left_out:?}");
        }
    }

    #[test]
    fn it_says_why() {
        let why = |rungs: &[VideoRung], source| fitting(rungs, source).1.first().map(|l| l.why.clone());
        assert_eq!(
            why(&usual(), seen(1280, 720, None)).as_deref(),
            Some("1920x1080 is larger than the source's 1280x720")
        );
        let why = why(&dense(), seen(1280, 720, Some(2.0))).expect("the rich one");
        assert!(why.contains("2.0 Mbit/s") && why.contains("poor"), "{why}");
        let slow = Seen { shape: VideoShape { rate: Some(rate(25)), ..seen(1920, 1080, None).shape }, ..dense_seen() };
        assert!(Plan::new(&ladder(usual()), rate(50), slow).remarks().is_some_and(|r| r.contains("25")));
        assert_eq!(Plan::new(&ladder(usual()), rate(25), slow).remarks(), None);
        let fields = Seen { shape: VideoShape { interlaced: true, ..slow.shape }, ..slow };
        assert_eq!(Plan::new(&ladder(usual()), rate(50), fields).remarks(), None, "fields fill 50");
    }

    fn dense_seen() -> Seen {
        seen(1280, 720, None)
    }

    /// A `Now` so many milliseconds in.
    fn at(ms: u64) -> impl Fn(Now) -> Now {
        move |began| began.after(Duration::from_millis(ms))
    }

    #[test]
    fn the_plan_waits_for_what_decides_and_then_stays() {
        let small = Some(seen(640, 360, None));
        let (big, measured) = (Some(seen(1280, 720, None)), Some(seen(1280, 720, Some(2.0))));
        // (name, ladder, what is seen at which millisecond, and whether a plan with how many rungs comes of it)
        type Row = (&'static str, Vec<VideoRung>, Vec<(u64, Option<Seen>, Option<usize>)>);
        let rows: [Row; 6] = [
            ("a picture at once", usual(), vec![(0, small, Some(1)), (9000, big, None)]),
            ("no picture, then one", usual(), vec![(1999, None, None), (2000, None, Some(3)), (9000, small, Some(1))]),
            (
                "the picture changes nothing",
                usual(),
                vec![(2000, None, Some(3)), (5000, Some(seen(1920, 1080, None)), None)],
            ),
            ("the bit rate decides", dense(), vec![(0, big, None), (2000, measured, Some(3)), (9000, big, None)]),
            ("and never comes", dense(), vec![(0, big, None), (3999, big, None), (4000, big, Some(4))]),
            ("it does not matter here", dense(), vec![(0, small, Some(1)), (2000, measured, None)]),
        ];
        for (name, rungs, steps) in rows {
            let began = Now { mono: Instant::now(), utc: Duration::from_secs(1_000_000) };
            let (ladder, mut fitting) = (ladder(rungs), Fitting::new(began));
            for (ms, seen, want) in steps {
                let changed = fitting.decide(at(ms)(began), &ladder, rate(25), seen);
                assert_eq!(changed, want.is_some(), "{name} at {ms} ms");
                if let Some(rungs) = want {
                    assert_eq!(fitting.plan().map(|p| p.video.len()), Some(rungs), "{name} at {ms} ms");
                }
            }
        }
    }

    #[test]
    fn an_automatic_ladder_is_made_for_the_first_picture() {
        let began = Now { mono: Instant::now(), utc: Duration::from_secs(1_000_000) };
        let auto = Ladder { auto: true, ..ladder(usual()) };
        let mut fitting = Fitting::new(began);
        assert!(fitting.decide(at(2000)(began), &auto, rate(25), None));
        assert_eq!(fitting.plan().map(|p| p.video.len()), Some(3), "what stands there until then");
        assert!(fitting.decide(at(3000)(began), &auto, rate(25), Some(seen(640, 360, None))));
        let plan = fitting.plan().expect("made");
        let sizes: Vec<_> = plan.video.iter().map(|r| (r.width, r.height)).collect();
        assert_eq!((sizes, plan.left_out.len()), (vec![(640, 360), (384, 216)], 0));
        assert!(!fitting.decide(at(9000)(began), &auto, rate(25), Some(seen(1920, 1080, None))), "it stays");
    }

    #[test]
    fn sound_alone_waits_for_no_picture() {
        let now = Now { mono: Instant::now(), utc: Duration::from_secs(1_000_000) };
        let mut fitting = Fitting::new(now);
        assert!(fitting.decide(now, &ladder(Vec::new()), rate(25), None));
        assert!(fitting.plan().is_some_and(|p| p.video.is_empty()));
        assert!(fitting.wake_at().is_none());
        assert!(!fitting.decide(now, &ladder(Vec::new()), rate(25), Some(dense_seen())));
        fitting.postpone(now);
        assert!(
            !fitting.decide(at(1999)(now), &ladder(Vec::new()), rate(25), None),
            "a failure is not repeated at once"
        );
        assert_eq!(fitting.wake_at().map(|at| at.since(now)), Some(FIRST_PICTURE_WITHIN));
        assert!(fitting.decide(at(2000)(now), &ladder(Vec::new()), rate(25), None));
    }

    #[test]
    fn formats_are_told_apart() {
        let av1 = VideoRung { encoder: VideoEncoder::SvtAv1, ..rung("a", 1280, 720, 6.0) };
        let h264 = VideoRung { encoder: H264, ..rung("b", 1280, 720, 2.0) };
        let ladder = [av1, h264];
        assert!(!bitrate_decides(&ladder, dense_seen().shape));
        assert_eq!(fitting(&ladder, seen(1280, 720, Some(1.0))).0.len(), 2);
    }
}
