//! What the encode processes are fed: a piece of a transport stream, again and again, on the channel timeline.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::CapacityError;
use crate::child;
use crate::demux::{self, Demux};
use crate::media::{ChannelTime, FrameRate, Item, SourceTime, TrackKind, TrackSet, Unit, VideoShape};

/// So much of a file is read: half a minute at 16 Mbit/s.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Length of the made signal. It is looped, so it need not be long.
const SIGNAL_SECONDS: u32 = 4;

/// Media that can be looped: it begins with a key frame.
#[derive(Clone, Debug)]
pub struct Clip {
    tracks: Arc<TrackSet>,
    units: Vec<Unit<SourceTime>>,
    first: SourceTime,
    /// 90 kHz ticks.
    length: i64,
}

impl Clip {
    /// The test signal in this size and rate.
    pub fn signal((width, height): (u32, u32), rate: FrameRate) -> Result<Self, CapacityError> {
        // The bit rate of a good contribution feed: 0.15 bits a pixel, as 4.1 Mbit/s for 720p30.
        let bits = (f64::from(width) * f64::from(height) * rate.as_f64() * 0.15).clamp(500e3, 60e6) as u64;
        let mut child = Command::new(child::program())
            .args(["--log-level", "warn", "signal", "--unpaced", "--to", "-", "--preset", "superfast"])
            .args(["--for", &SIGNAL_SECONDS.to_string(), "--size", &format!("{width}x{height}")])
            .args(["--rate", &rate.to_string(), "--bitrate", &format!("{}k", bits / 1000)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut bytes = Vec::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_end(&mut bytes)?;
        }
        if !child.wait()?.success() {
            return Err(CapacityError::Signal);
        }
        Self::read(&bytes).ok_or(CapacityError::Signal)
    }

    /// A transport stream of your own.
    pub fn file(path: &Path) -> Result<Self, CapacityError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| CapacityError::File { path: path.to_owned(), source })?;
        Self::read(&bytes).ok_or_else(|| CapacityError::NoMedia(path.to_owned()))
    }

    /// Its first unbroken stretch; nothing if there is none that can be decoded.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut demux = Demux::new(demux::Config::default());
        let (mut tracks, mut units) = (None::<Arc<TrackSet>>, Vec::new());
        let mut take = |item| match item {
            // The last one holds the picture's size.
            Item::Tracks(set) => {
                tracks = Some(set);
                true
            }
            Item::Unit(unit) => {
                units.push(unit);
                true
            }
            Item::Break(_) => units.is_empty(),
            Item::Pace(_) | Item::End => true,
        };
        let mut whole = true;
        for portion in bytes.chunks(1 << 16) {
            demux.push(portion);
            while let Some(item) = demux.pop().filter(|_| whole) {
                whole = take(item);
            }
        }
        demux.flush();
        while let Some(item) = demux.pop().filter(|_| whole) {
            whole = take(item);
        }
        Self::cut(tracks?, units)
    }

    fn cut(tracks: Arc<TrackSet>, mut units: Vec<Unit<SourceTime>>) -> Option<Self> {
        let kind = |unit: &Unit<SourceTime>| tracks.get(unit.track).map(|t| t.codec.kind());
        let leads = tracks.first(TrackKind::Video).map_or(TrackKind::Audio, |_| TrackKind::Video);
        let begin = units.iter().position(|unit| kind(unit) == Some(leads) && unit.key)?;
        let first = units.get(begin)?.pts;
        // What belongs before the first picture would overlap the end of the loop before.
        units.drain(..begin);
        units.retain(|unit| unit.pts >= first);
        let mut times: Vec<i64> = units.iter().filter(|u| kind(u) == Some(leads)).map(|u| u.pts.ticks()).collect();
        times.sort_unstable();
        let [.., before, last] = times[..] else { return None };
        let length = 2 * last - before - first.ticks();
        (length > 0).then_some(Self { tracks, units, first, length })
    }

    /// Its picture, if it has one.
    pub fn shape(&self) -> Option<VideoShape> {
        self.tracks.first(TrackKind::Video)?.shape
    }

    /// Endless items, the first picture at `at`.
    pub fn endless(&self, at: ChannelTime) -> impl Iterator<Item = Item<ChannelTime>> + '_ {
        let rounds = (0..).flat_map(move |round: i64| {
            self.units.iter().map(move |unit| {
                let pts = at.offset(round * self.length + unit.pts.ticks() - self.first.ticks());
                Item::Unit(unit.clone().at(pts))
            })
        });
        std::iter::once(Item::Tracks(Arc::clone(&self.tracks))).chain(rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Codec, TrackId, TrackInfo};
    use bytes::Bytes;

    fn unit(track: u16, pts: i64, key: bool) -> Unit<SourceTime> {
        Unit {
            track: TrackId(track),
            pts: SourceTime::from_ticks(pts),
            key,
            damaged: false,
            whole: false,
            data: Bytes::new(),
        }
    }

    fn tracks() -> Arc<TrackSet> {
        let track = |id, codec| TrackInfo { id: TrackId(id), codec, language: None, shape: None };
        Arc::new(TrackSet { tracks: vec![track(1, Codec::H264), track(2, Codec::AacAdts)] })
    }

    #[test]
    fn a_loop_begins_with_a_key_frame_and_closes_without_a_seam() {
        let units = vec![
            unit(1, 3600, false),
            unit(2, 7000, true),
            unit(1, 7200, true),
            unit(1, 14_400, false),
            unit(1, 10_800, false),
            unit(2, 11_000, true),
        ];
        let clip = Clip::cut(tracks(), units).expect("it can be looped");
        let start = ChannelTime::from_ticks(1_000_000);
        let times: Vec<(u16, i64)> = clip
            .endless(start)
            .filter_map(|item| match item {
                Item::Unit(unit) => Some((unit.track.0, unit.pts.ticks() - 1_000_000)),
                _ => None,
            })
            .take(6)
            .collect();
        // Three pictures 3,600 ticks apart, then the first one again.
        assert_eq!(times, [(1, 0), (1, 7200), (1, 3600), (2, 3800), (1, 10_800), (1, 18_000)]);
    }

    #[test]
    fn what_cannot_be_looped_is_refused() {
        assert!(Clip::cut(tracks(), vec![unit(1, 0, true)]).is_none(), "one picture has no length");
        assert!(Clip::cut(tracks(), vec![unit(1, 0, false), unit(1, 3600, false)]).is_none(), "no key frame");
        assert!(Clip::read(b"no transport stream").is_none());
    }
}
