//! What inspect says: counters, faults by name, one JSON object.
//!
//! In:    the ledgers of each rendition.
//! Out:   [`Report`].
//! Never: judges by itself; every fault was named where it was seen.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Faults listed one by one; further ones are only counted.
const FAULTS_LISTED_MAX: usize = 10_000;
/// Of these, so many for people.
const FAULTS_SHOWN_MAX: usize = 100;

/// The names of faults. They stay: scripts ask for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Pictures that were never shown.
    VideoMissing,
    /// Pictures shown more than once.
    VideoRepeated,
    /// Pictures shown after a later one.
    VideoReordered,
    /// Pictures whose code is there and cannot be read.
    VideoUnreadable,
    /// Pictures without a code.
    VideoSlate,
    /// A picture whose presentation time is not one frame after the one before it.
    VideoTimestamp,
    /// Pictures shown earlier or later than their number says, by another amount than before.
    VideoOffset,
    /// AAC frames of sound that are not there.
    AudioMissing,
    /// AAC frames of sound that are there twice.
    AudioRepeated,
    /// Sound that moved against its own clock by no whole number of AAC frames.
    AudioDisplaced,
    /// Silence that is no part of the signal.
    AudioSilent,
    /// Sound whose pitch names no second.
    AudioUnreadable,
    /// Sound whose presentation time does not follow from what came before it.
    AudioTimestamp,
    /// Sound and picture apart by more than the limit.
    AvOffset,
    /// EXT-X-DISCONTINUITY, or a new Period.
    Discontinuity,
    /// EXT-X-GAP.
    Gap,
    /// A listed resource that was not answered with 200 or 206.
    Http,
    /// A playlist or MPD that cannot be read.
    Playlist,
    /// A live playlist that does not go on.
    Stalled,
    /// A segment that left the playlist before a player that keeps up could fetch it.
    SegmentVanished,
    /// A media sequence number or timeline that went back.
    SequenceFell,
    /// The same segment under another address or of another length than before.
    SegmentChanged,
    /// Media that cannot be taken apart.
    Container,
    /// Media that cannot be decoded.
    Decode,
    /// A stream in which no picture or no sound of the signal was found.
    NoSignal,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use clap::ValueEnum;
        f.write_str(self.to_possible_value().as_ref().map_or("", |v| v.get_name()))
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// Its name.
    pub kind: Kind,
    /// Seconds on the stream's own timeline; `None` where there is none.
    pub at: Option<f64>,
    /// Where it was seen; empty for the whole stream.
    pub rendition: String,
    /// What exactly, for people.
    pub detail: String,
}

/// Collects faults of one rendition; bounded, counts what it leaves out.
#[derive(Debug, Default)]
pub struct Faults {
    pub(super) listed: Vec<Fault>,
    pub(super) left_out: u64,
    rendition: String,
}

impl Faults {
    /// Faults of the rendition `rendition`.
    pub fn of(rendition: &str) -> Self {
        Self { rendition: rendition.to_owned(), ..Self::default() }
    }

    /// Notes a fault at `at` seconds.
    pub fn add(&mut self, kind: Kind, at: Option<f64>, detail: impl Into<String>) {
        if self.listed.len() >= FAULTS_LISTED_MAX {
            self.left_out += 1;
            return;
        }
        self.listed.push(Fault { kind, at, rendition: self.rendition.clone(), detail: detail.into() });
    }

    pub(super) fn append(&mut self, other: Self) {
        self.left_out += other.left_out;
        for fault in other.listed {
            if self.listed.len() < FAULTS_LISTED_MAX {
                self.listed.push(fault);
            } else {
                self.left_out += 1;
            }
        }
    }
}

/// The account of pictures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Video {
    /// Number of the first picture, since the epoch.
    pub first: Option<i64>,
    /// Number of the last picture, since the epoch.
    pub last: Option<i64>,
    /// Pictures decoded.
    pub frames: u64,
    /// Numbers between first and last that were never shown.
    pub missing: u64,
    /// Pictures shown again.
    pub repeated: u64,
    /// Pictures shown after a later one.
    pub reordered: u64,
    /// Pictures whose code is damaged.
    pub unreadable: u64,
    /// Pictures without a code.
    pub slate: u64,
    /// Presentation times that did not follow by one frame.
    pub timestamps: u64,
    /// Presentation time minus the time the number stands for, against its first value: least and greatest, ms.
    pub pts_offset_ms: Option<Range>,
}

/// The account of sound.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audio {
    /// Onsets found, one a second.
    pub seconds: u64,
    /// AAC frames (1,024 samples at 48 kHz, 21.3 ms) that are not there.
    pub missing: u64,
    /// AAC frames that are there twice.
    pub repeated: u64,
    /// Milliseconds of silence that are no part of the signal.
    pub silent_ms: f64,
    /// Presentation times that did not follow from the samples before.
    pub timestamps: u64,
}

/// Least, greatest and mean of something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
}

impl Range {
    /// `None` for no value at all.
    pub fn over(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut count = 0.0;
        let start = Self { min: f64::INFINITY, max: f64::NEG_INFINITY, mean: 0.0 };
        let all = values.into_iter().fold(start, |r, v| {
            count += 1.0;
            Self { min: r.min.min(v), max: r.max.max(v), mean: r.mean + (v - r.mean) / count }
        });
        (count > 0.0).then(|| Self { min: round3(all.min), max: round3(all.max), mean: round3(all.mean) })
    }
}

/// To a thousandth: digits beyond it would only pretend.
fn round3(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// One rendition that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Rendition {
    /// `video 640x360 800000`, as the manifest tells it.
    pub name: String,
    /// Pictures, if it has any.
    pub video: Option<Video>,
    /// Sound, if it has any.
    pub audio: Option<Audio>,
    /// Sound minus picture, ms, against the sound it is played with.
    pub av_offset_ms: Option<Range>,
    /// Segments read.
    pub segments: u64,
}

/// The result of one look.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was looked at.
    pub url: String,
    /// Seconds of media of the first rendition.
    pub seconds: f64,
    /// First and last of the first rendition with pictures; the counters are sums over all.
    pub video: Option<Video>,
    /// Sums over all renditions with sound.
    pub audio: Option<Audio>,
    /// Sound minus picture in ms, positive when the sound is late; over all renditions.
    pub av_offset_ms: Option<Range>,
    /// The same at the end, of the last rendition.
    pub av_offset_end_ms: Option<f64>,
    /// Segments read.
    pub segments: u64,
    /// EXT-X-DISCONTINUITY tags and new Periods met.
    pub discontinuities: u64,
    /// EXT-X-GAP tags met.
    pub gaps: u64,
    /// How many of the listed faults have each name, those that are expected included.
    pub counts: BTreeMap<Kind, u64>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Faults beyond those listed.
    pub faults_left_out: u64,
    /// Each rendition for itself.
    pub renditions: Vec<Rendition>,
}

impl Report {
    /// Nothing wrong.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.faults_left_out == 0
    }

    /// Adds the renditions up.
    pub(super) fn sum_up(
        url: &str,
        seconds: f64,
        renditions: Vec<Rendition>,
        offsets: &[f64],
        faults: Faults,
        allowed: &[Kind],
    ) -> Self {
        let mut video: Option<Video> = None;
        let mut audio: Option<Audio> = None;
        for r in &renditions {
            if let Some(v) = &r.video {
                match &mut video {
                    None => video = Some(v.clone()),
                    Some(sum) => sum.add(v),
                }
            }
            if let Some(a) = &r.audio {
                match &mut audio {
                    None => audio = Some(a.clone()),
                    Some(sum) => sum.add(a),
                }
            }
        }
        let mut counts = BTreeMap::new();
        for fault in &faults.listed {
            *counts.entry(fault.kind).or_insert(0) += 1;
        }
        Self {
            url: url.to_owned(),
            seconds: round3(seconds),
            video,
            audio,
            av_offset_ms: Range::over(offsets.iter().copied()),
            av_offset_end_ms: offsets.last().copied().map(round3),
            segments: renditions.iter().map(|r| r.segments).sum(),
            discontinuities: counts.get(&Kind::Discontinuity).copied().unwrap_or(0),
            gaps: counts.get(&Kind::Gap).copied().unwrap_or(0),
            counts,
            faults: faults.listed.into_iter().filter(|f| !allowed.contains(&f.kind)).collect(),
            faults_left_out: faults.left_out,
            renditions,
        }
    }

    /// A few lines for people.
    pub fn summary(&self) -> String {
        use fmt::Write;
        let mut out = format!("{}: {:.1} s, {} segments\n", self.url, self.seconds, self.segments);
        for r in &self.renditions {
            _ = write!(out, "  {}:", r.name);
            if let Some(v) = &r.video {
                _ = write!(
                    out,
                    " {} pictures, {} missing, {} repeated, {} reordered, {} unreadable, {} slate",
                    v.frames, v.missing, v.repeated, v.reordered, v.unreadable, v.slate
                );
            }
            if let Some(a) = &r.audio {
                _ = write!(
                    out,
                    " {} s of sound, {} AAC frames missing, {} repeated, {:.0} ms silent",
                    a.seconds, a.missing, a.repeated, a.silent_ms
                );
            }
            if let Some(o) = r.av_offset_ms {
                _ = write!(out, "; sound {:+.1} to {:+.1} ms", o.min, o.max);
            }
            out.push('\n');
        }
        for fault in self.faults.iter().take(FAULTS_SHOWN_MAX) {
            let at = fault.at.map(|at| format!(" at {at:.3}")).unwrap_or_default();
            _ = writeln!(out, "  FAULT {}{at} [{}]: {}", fault.kind, fault.rendition, fault.detail);
        }
        let more = self.faults_left_out + self.faults.len().saturating_sub(FAULTS_SHOWN_MAX) as u64;
        if more > 0 {
            _ = writeln!(out, "  and {more} more");
        }
        out.push_str(if self.is_clean() { "clean\n" } else { "NOT clean\n" });
        out
    }
}

impl Video {
    fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.unreadable += other.unreadable;
        self.slate += other.slate;
        self.timestamps += other.timestamps;
        self.pts_offset_ms = match (self.pts_offset_ms, other.pts_offset_ms) {
            (Some(a), Some(b)) => {
                Some(Range { min: a.min.min(b.min), max: a.max.max(b.max), mean: (a.mean + b.mean) / 2.0 })
            }
            (a, b) => a.or(b),
        };
    }
}

impl Audio {
    fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.silent_ms += other.silent_ms;
        self.timestamps += other.timestamps;
    }
}
