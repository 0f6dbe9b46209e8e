//! Transport stream segments and their playlists: against golden files, the rules, and what others read in them.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::tag::KnownTag;
use quick_m3u8::{HlsLine, Reader};

use super::golden::{compare, with_a_gap};
use super::judges::{access_units, adts_frames, ffmpeg, presentation_order};
use super::*;
use crate::demux::{self, Demux};
use crate::dvr::Place;
use crate::measure::{Indicator, Measure};
use crate::media::{Item, TrackKind};
use crate::package::catalogue::Catalogue;
use crate::package::hls_ts::{self, Parts};
use crate::package::layout::{Kind, Layout};
use crate::package::segmenter::{Coding, Segmenter, Whole};
use crate::package::transport::{self, Source, TransportError};
use crate::wire::codec::annexb::nal_units;
use crate::wire::ts::mux::testing::{Read, arrivals, holds, packets, pes};

mod decoded;
mod served;

const VIDEO: u16 = 0x100;
const SOUND: u16 = 0x101;

/// Some segments of a channel, as they rest.
pub(super) struct Channel {
    pub config: Config,
    pub layout: Layout,
    pub catalogue: Catalogue,
    pub first: u64,
    /// By segment, then by rendition.
    pub segments: Vec<Vec<Vec<u8>>>,
}

impl Channel {
    /// Of made-up units.
    pub fn new(config: Config, first: u64, count: u64) -> Self {
        let units_of = |config: &Config, r: usize, n: u64| units(config, r, n, 0);
        Self::of(config, first, count, units_of)
    }

    fn of(config: Config, first: u64, count: u64, units: impl Fn(&Config, usize, u64) -> Vec<CodedUnit>) -> Self {
        let layout = Layout::new(config.grid, config.part);
        let renditions = config.video.len() + config.audio.len();
        let whole = |r: usize, n: u64| {
            let coding = config.video.get(r).map_or(Coding::Audio, |rung| Coding::video(&layout, rung));
            let mut segmenter = Segmenter::new(coding, layout, SegmentNumber(n));
            let units = units(&config, r, n);
            units.iter().for_each(|unit| segmenter.push(unit).expect("a good unit"));
            segmenter.finish(units.len() as u32, Filled::default()).expect("a whole segment")
        };
        let wholes: Vec<Vec<Whole>> =
            (first..first + count).map(|n| (0..renditions).map(|r| whole(r, n)).collect()).collect();
        let catalogue = Catalogue::new(&config, &layout, wholes[0].iter().map(|whole| whole.video.clone()).collect());
        let bytes = |whole: &Whole| whole.parts.iter().flat_map(|part| part.pieces.concat()).collect();
        let segments = wholes.iter().map(|all| all.iter().map(bytes).collect()).collect();
        Self { config, layout, catalogue, first, segments }
    }

    fn source(&self, r: usize) -> Source {
        Source::new(&self.catalogue.renditions[r].init).expect("our own header")
    }

    /// The transport stream of a rendition, by segment.
    fn transport(&self, r: usize) -> Vec<Vec<u8>> {
        let parts = hls_ts::parts(&self.catalogue, r).expect("a rendition that goes into transport streams");
        let source = |r: Option<usize>| r.map(|r| (r, self.source(r)));
        let (pictures, sound) = (source(parts.pictures), source(parts.sound));
        fn of<'a>(source: &'a Option<(usize, Source)>, all: &'a [Vec<u8>]) -> Option<(&'a Source, &'a [u8])> {
            source.as_ref().map(|(r, source)| (source, &all[*r][..]))
        }
        let one = |(i, all): (usize, &Vec<Vec<u8>>)| {
            let n = SegmentNumber(self.first + i as u64);
            transport::segment(&self.layout, n, of(&pictures, all), of(&sound, all)).expect("our own segments")
        };
        self.segments.iter().enumerate().map(one).collect()
    }

    /// Header and all segments of CMAF in one piece.
    fn joined(&self, r: usize) -> Vec<u8> {
        let segments = self.segments.iter().flat_map(|all| all[r].iter().copied());
        self.catalogue.renditions[r].init.iter().copied().chain(segments).collect()
    }
}

/// One packet a line, with all it says but the media.
fn dump(bytes: &[u8]) -> String {
    let stamps: Vec<Vec<Read>> = [VIDEO, SOUND].map(|pid| pes(bytes, pid)).into();
    let mut out = String::new();
    for (n, (packet, raw)) in packets(bytes).enumerate() {
        out.push_str(&format!("{:#06x} {:2}", packet.pid, packet.counter));
        if let Some(pcr) = packet.pcr {
            out.push_str(&format!(" pcr {pcr}"));
        }
        match packet.payload {
            Some(payload) if packet.pid != VIDEO && packet.pid != SOUND => {
                let end = 4 + usize::from(payload[3]);
                payload[..end].iter().for_each(|byte| out.push_str(&format!(" {byte:02x}")));
            }
            payload => out.push_str(&format!(" {} bytes", payload.map_or(0, <[u8]>::len))),
        }
        if let Some(unit) = stamps.iter().flatten().find(|u| u.packets.start == n && packet.starts) {
            let header = unit.header;
            out.push_str(&format!(" of {}, pts {}", unit.bytes.len(), header.pts.expect("each has one")));
            header.dts.iter().for_each(|dts| out.push_str(&format!(", dts {dts}")));
            if unit.random_access {
                out.push_str(", random access");
            }
        }
        assert_eq!(raw[0], 0x47);
        out.push('\n');
    }
    out
}

#[test]
fn a_segment_of_each_kind() {
    let channel = Channel::new(config(), FIRST, 1);
    compare("ts-video.packets", &dump(&channel.transport(0)[0]));
    compare("ts-sound.packets", &dump(&channel.transport(2)[0]));
}

/// What TR 101 290 counts, and our own demux.
fn is_clean(name: &str, bytes: &[u8]) {
    holds(bytes);
    let (_, times) = arrivals(bytes);
    let t0 = Now { utc: Duration::from_secs(1_795_262_400), ..crate::clock::now() };
    let (mut measure, mut second) = (Measure::default(), 1);
    for (packet, time) in bytes.chunks(188).zip(times) {
        let at = Duration::from_secs_f64(time / 27e6);
        while at >= Duration::from_secs(second) {
            measure.tick(t0.after(Duration::from_secs(second)));
            second += 1;
        }
        measure.push(t0.after(at), packet);
    }
    measure.tick(t0.after(Duration::from_secs(second)));
    let counted: Vec<_> =
        Indicator::ALL.into_iter().map(|i| (i.clause(), measure.count(i))).filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [], "{name}");
    let measured = measure.snapshot(None);
    assert!(measured.locked && measured.packets == bytes.len() as u64 / 188, "{name}: {measured:?}");
}

/// PTS, 33 bits, and bytes of each unit of a track.
type Timed = Vec<(i64, Bytes)>;

/// Pictures and sound as our own demux finds them.
fn demuxed(name: &str, bytes: &[u8]) -> (Timed, Timed) {
    let mut demux = Demux::new(demux::Config::default());
    let (mut pictures, mut sound, mut tracks) = (Vec::new(), Vec::new(), None);
    for part in bytes.chunks(1316) {
        demux.push(part);
    }
    demux.flush();
    while let Some(item) = demux.pop() {
        match item {
            Item::Tracks(set) => tracks = Some(set),
            Item::Unit(unit) => {
                assert!(!unit.damaged, "{name}");
                let track = tracks.as_ref().and_then(|t| t.get(unit.track)).expect("tracks come first");
                let list = if track.codec.kind() == TrackKind::Video { &mut pictures } else { &mut sound };
                list.push((unit.pts.ticks().rem_euclid(1 << 33), unit.data));
            }
            _ => {}
        }
    }
    let stats = demux.stats();
    let wrong = demux::Stats { packets: stats.packets, ..demux::Stats::default() };
    assert_eq!(stats, wrong, "{name}");
    (pictures, sound)
}

#[test]
fn consecutive_segments_are_one_stream_without_fault() {
    let rate = |num, den| FrameRate::new(num, den).expect("good rate");
    // The first segment begins where 33 bits of 90 kHz wrap, or just before.
    let wrap = (20_000i128 << 33) / 180_000;
    let wrap = u64::try_from(wrap).expect("a number");
    for (name, rate, segment, first) in [
        ("25", rate(25, 1), 2000, FIRST),
        ("25, over the wrap", rate(25, 1), 2000, wrap - 1),
        ("29.97", rate(30000, 1001), 2000, FIRST),
        ("23.976", rate(24000, 1001), 1920, FIRST + 7),
        ("59.94", rate(60000, 1001), 2000, FIRST),
        ("12.5, 10 s", rate(25, 2), 10_000, FIRST / 5),
        ("10", rate(10, 1), 1000, 2 * FIRST),
    ] {
        let grid = Grid::new(Duration::from_millis(segment), rate).expect("good grid");
        let channel = Channel::new(Config { grid, ..config_at(rate) }, first, 4);
        let bytes = channel.transport(0).concat();
        is_clean(name, &bytes);
        let (pictures, sound) = demuxed(name, &bytes);

        let numbers = (first..first + 4).map(SegmentNumber);
        let time = |kind, place| channel.layout.time_of(kind, place).ticks().rem_euclid(1 << 33);
        let wanted: Vec<CodedUnit> = numbers.clone().flat_map(|n| units(&channel.config, 0, n.0, 0)).collect();
        assert_eq!(pictures.len(), wanted.len(), "{name}");
        for ((pts, data), unit) in pictures.iter().zip(&wanted) {
            assert_eq!(*pts, time(Kind::Video, unit.position), "{name}");
            // A delimiter, which we write anew, and what the encoder wrote behind its own.
            let (got, want) = (nal_units(data), nal_units(&unit.data));
            assert!(got.skip(1).eq(want.skip(1)), "{name}: {data:?} of {unit:?}");
        }
        let wanted = numbers.clone().flat_map(|n| units(&channel.config, 2, n.0, 0));
        let wanted: Timed = wanted.map(|u| (time(Kind::Audio, u.position), u.data)).collect();
        let sound: Timed = sound.into_iter().map(|(pts, data)| (pts, data.slice(7..))).collect();
        assert_eq!(sound, wanted, "{name}");

        // Everything is there when it is decoded.
        let (start, arrivals) = arrivals(&bytes);
        for read in [VIDEO, SOUND].into_iter().flat_map(|pid| pes(&bytes, pid)) {
            let arrived = (start as f64 + arrivals[read.packets.end - 1]) / 300.0;
            let decoded = read.header.dts.or(read.header.pts).expect("each has one") as f64;
            let early = (decoded - arrived).rem_euclid((1u64 << 33) as f64);
            assert!(early < 90_000.0, "{name}: {read:?} arrives {early} ticks early");
        }
        // And sound alone.
        let alone = channel.transport(2).concat();
        is_clean(name, &alone);
        assert_eq!(demuxed(name, &alone), (vec![], sound_with_headers(&channel, &wanted)), "{name}");
    }
}

fn sound_with_headers(channel: &Channel, frames: &[(i64, Bytes)]) -> Timed {
    let stereo = u8::from(channel.config.audio[0].channels == 2);
    let with = |(pts, frame): &(i64, Bytes)| {
        let length = frame.len() as u16 + 7;
        let head = [0xff, 0xf1, 0x4c, stereo << 7, (length >> 3) as u8, (length << 5) as u8 | 0x1f, 0xfc];
        (*pts, Bytes::from([&head[..], frame].concat()))
    };
    frames.iter().map(with).collect()
}

#[test]
fn a_segment_is_made_of_nothing_but_its_cmaf() {
    // Whatever was made before, and by whom.
    let (whole, late) = (Channel::new(config(), FIRST, 3), Channel::new(config(), FIRST + 2, 1));
    for r in [0, 1, 2] {
        assert_eq!(whole.transport(r)[2], late.transport(r)[0], "rendition {r}");
    }
}

#[test]
fn renditions_are_made_of_what_goes_into_transport_streams() {
    let channel = Channel::new(config_of_everything(), FIRST, 1);
    let parts = |r| hls_ts::parts(&channel.catalogue, r).map(|Parts { pictures, sound }| (pictures, sound));
    let eng = 4;
    for (r, want) in [
        (0, None),
        (1, Some((Some(1), Some(eng)))),
        (2, Some((Some(2), Some(eng)))),
        (3, Some((Some(3), Some(eng)))),
        (4, Some((None, Some(4)))),
        (7, Some((None, Some(7)))),
        (8, None),
        (9, None),
    ] {
        assert_eq!(parts(r), want, "{r}");
    }
    for r in 1..8 {
        is_clean(&format!("rendition {r}"), &channel.transport(r).concat());
    }
    let av1 = Source::new(&channel.catalogue.renditions[0].init);
    assert_eq!(av1.map(drop), Err(TransportError::Format));
}

#[test]
fn what_is_no_segment_of_ours_is_refused() {
    let channel = Channel::new(config(), FIRST, 1);
    let (pictures, sound) = (channel.source(0), channel.source(2));
    let (good, n) = (&channel.segments[0], SegmentNumber(FIRST));
    let run = |p: Option<&[u8]>, s: Option<&[u8]>| {
        let of = |source, bytes: Option<_>| bytes.map(|bytes| (source, bytes));
        transport::segment(&channel.layout, n, of(&pictures, p), of(&sound, s)).map(drop)
    };
    let mut damaged = good[0].clone();
    // The length of the first NAL unit of the last chunk.
    let at = damaged.windows(4).rposition(|w| w == b"mdat").expect("a chunk") + 4;
    damaged[at] = 0xff;
    for (name, pictures, sound, want) in [
        ("both", Some(&good[0][..]), Some(&good[2][..]), Ok(())),
        ("neither", None, None, Err(TransportError::Empty)),
        ("no samples", Some(&good[0][..24]), None, Err(TransportError::Empty)),
        ("cut", Some(&good[0][..good[0].len() - 1]), None, Err(TransportError::Cut)),
        ("a wrong length", Some(&damaged), None, Err(TransportError::Sample(40))),
    ] {
        assert_eq!(run(pictures, sound), want, "{name}");
    }
    assert_eq!(Source::new(b"").map(drop), Err(TransportError::Format));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn damage_and_cuts_are_survived(hits in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6), cut in any::<usize>()) {
        let channel = Channel::new(config(), FIRST, 1);
        let mut bytes = channel.segments[0].clone();
        for (at, byte) in hits {
            for rendition in [0, 2] {
                // Headers of the first chunk, where all that is counted on stands.
                let len = bytes[rendition].len().min(700);
                bytes[rendition][at % len] = byte;
            }
        }
        let (pictures, sound) = (channel.source(0), channel.source(2));
        let n = SegmentNumber(FIRST);
        let _ = transport::segment(&channel.layout, n, Some((&pictures, &bytes[0])), Some((&sound, &bytes[2])));
        let cut = cut % bytes[0].len();
        let _ = transport::segment(&channel.layout, n, Some((&pictures, &bytes[0][..cut])), None);
        let _ = Source::new(&channel.catalogue.renditions[0].init[..cut.min(channel.catalogue.renditions[0].init.len())]);
    }
}

/// A catalogue of one segment, for whoever needs any.
pub(in crate::package) fn catalogue() -> (Layout, Catalogue) {
    let channel = Channel::new(config(), FIRST, 1);
    (channel.layout, channel.catalogue)
}

/// Three segments of real pictures and sound. `None`: there is no ffmpeg.
pub(super) fn real(folder: &Path, encoder: VideoEncoder, by: &[&str], filter: &str, muxer: &str) -> Option<Channel> {
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let (timed, stream, adts) = (path("source.mp4"), path("source.stream"), path("source.aac"));
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=6", "-pix_fmt", "yuv420p"];
    ffmpeg(&[&picture[..], by, &["-threads", "1", &timed]].concat())?;
    ffmpeg(&["-i", &timed, "-c", "copy", "-bsf:v", filter, "-f", muxer, &stream])?;
    let tone = "sine=frequency=440:sample_rate=48000:duration=6.1";
    ffmpeg(&["-f", "lavfi", "-i", tone, "-ac", "2", "-c:a", "aac", "-b:a", "128k", "-f", "adts", &adts])?;
    let mut config = config();
    config.video.truncate(1);
    config.video[0].encoder = encoder;
    let pictures = access_units(encoder.format(), &std::fs::read(&stream).expect("encoded"));
    let frames = adts_frames(&std::fs::read(&adts).expect("encoded"));
    let order = presentation_order(&timed);
    assert!(order.windows(2).any(|w| w[1] < w[0]), "pictures are out of order");
    let first_frame = config.grid.first_audio_frame(SegmentNumber(FIRST)).0;
    let units = |config: &Config, r: usize, n: u64| -> Vec<CodedUnit> {
        let (segment, rendition) = (SegmentNumber(n), RenditionIndex(r as u8));
        let unit = |position, key, data: &Bytes| CodedUnit {
            rendition,
            segment,
            position,
            key,
            material: Material::Source,
            data: data.clone(),
        };
        let i = (n - FIRST) as usize;
        if r == 0 {
            let first = config.grid.first_slot(SegmentNumber(FIRST)).0;
            let places = 50 * i..50 * (i + 1);
            return places.map(|at| unit(first + order[at], at % 50 == 0, &pictures[at])).collect();
        }
        let frame = |position: u64| unit(position, true, &frames[(position - first_frame) as usize]);
        config.grid.audio_frames(segment).map(frame).collect()
    };
    Some(Channel::of(config, FIRST, 3, units))
}
