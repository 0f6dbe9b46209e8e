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

/// What players are told of ten segments, the seventh of them a gap.
fn on_air(config: Config) -> Arc<Snapshot> {
    with_a_gap(with_transport(config)).snapshot()
}

fn with_transport(config: Config) -> Config {
    let serve = Serve { hls_ts: true, ..config.serve };
    Config { serve, ..config }
}

/// A catalogue of one segment, for whoever needs any.
pub(in crate::package) fn catalogue() -> (Layout, Catalogue) {
    let channel = Channel::new(config(), FIRST, 1);
    (channel.layout, channel.catalogue)
}

#[test]
fn playlists() {
    let channel = Channel::new(config(), FIRST, 1);
    let averages = |channel: &Channel| vec![200_000; channel.catalogue.renditions.len()];
    let links = hls::Links { base: "", name: "index.m3u8", query: "" };
    let multivariant =
        |channel: &Channel| hls_ts::multivariant(&channel.layout, &channel.catalogue, &averages(channel), links, None);
    compare("ts-multivariant.m3u8", &multivariant(&channel));
    let snapshot = on_air(config());
    compare("ts-video.m3u8", &text(&snapshot, "ts/v360/index.m3u8"));
    compare("ts-audio.m3u8", &text(&snapshot, "ts/a1/index.m3u8"));
    let everything = Channel::new(config_of_everything(), FIRST, 1);
    compare("ts-multivariant-everything.m3u8", &multivariant(&everything));
    let with = |video: Vec<VideoRung>, audio: Vec<AudioRung>| {
        multivariant(&Channel::new(Config { video, audio, ..config() }, FIRST, 1))
    };
    let (high, low) = (sound("high", None, 2, 128_000), sound("low", None, 2, 48_000));
    compare("ts-multivariant-sound.m3u8", &with(vec![], vec![high, low]));
    let (eng, fra) = (sound("eng", Some(b"eng"), 2, 128_000), sound("fra", Some(b"fre"), 2, 128_000));
    compare("ts-multivariant-sound-languages.m3u8", &with(vec![], vec![eng, fra]));
    compare("ts-multivariant-silent.m3u8", &with(config().video, vec![]));
}

#[test]
fn quick_m3u8_reads_the_playlists() {
    let snapshot = on_air(config_of_everything());
    // Three rungs that transport streams can carry, and the sound alone.
    for (path, wanted) in [("ts/index.m3u8", 4), ("ts/v360/index.m3u8", 6), ("ts/deu/index.m3u8", 6)] {
        let text = text(&snapshot, path);
        let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
        let mut reader = Reader::from_str(&text, options);
        let mut uris = 0;
        while let Some(line) = reader.read_line().unwrap_or_else(|e| panic!("{text}: {e:?}")) {
            match line {
                HlsLine::KnownTag(KnownTag::Hls(_)) | HlsLine::Blank => {}
                HlsLine::Uri(_) => uris += 1,
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(uris, wanted, "{text}");
    }
}

#[test]
fn what_playlists_name_is_found() {
    let layout = Layout::new(config().grid, config().part);
    let snapshot = on_air(config());
    for (rendition, kind) in [("v360", Kind::Video), ("a1", Kind::Audio)] {
        let playlist = text(&snapshot, &format!("ts/{rendition}/index.m3u8"));
        let names = playlist.lines().filter(|line| !line.starts_with('#'));
        let found: Vec<_> = names.map(|name| hls_ts::segment_named(&layout, kind, name)).collect();
        let wanted: Vec<_> = (4..10).map(|i| Some(SegmentNumber(FIRST + i))).collect();
        assert_eq!(found, wanted, "{kind:?}");
    }
    // The first is right; the others are other names of it, names of nothing, and no names.
    let names = ["t44881740200000.ts", "t044881740200000.ts", "t+44881740200000.ts", "t44881740200001.ts", "t.ts", ""];
    let found = names.map(|name| hls_ts::segment_named(&layout, Kind::Video, name));
    assert_eq!(found, [Some(SegmentNumber(FIRST + 4)), None, None, None, None, None]);
}

#[test]
fn segments_are_made_of_what_is_published() {
    let snapshot = on_air(config());
    let channel = Channel::new(config(), FIRST + 4, 6);
    for (r, id, scale) in [(0, "v360", 25_000), (1, "v180", 25_000), (2, "a1", 48_000)] {
        for (i, wanted) in channel.transport(r).iter().enumerate() {
            let n = FIRST + 4 + i as u64;
            let kind = channel.catalogue.renditions[r].kind();
            assert_eq!(channel.layout.timescale(kind).hz(), scale);
            let path = format!("ts/{id}/t{}.ts", channel.layout.start(kind, SegmentNumber(n)));
            if n == FIRST + 6 {
                assert!(matches!(snapshot.lookup(&path), Lookup::Gone), "a gap: {path}");
                continue;
            }
            let resource = found(&snapshot, &path);
            assert_eq!((resource.content_type, resource.cache), ("video/mp2t", Cache::Immutable));
            assert!(resource.body.bytes() == wanted[..], "{path}");
            // The same bytes in the same place, whoever asks again.
            let again = found(&snapshot, &path);
            assert_eq!(again.body.bytes().as_ptr(), resource.body.bytes().as_ptr(), "{path}");
            assert_eq!(again.etag, resource.etag);
            assert!(snapshot.paths().contains(&path));
        }
    }
    let etag = |path: &str| found(&snapshot, path).etag;
    let start = channel.layout.start(Kind::Video, SegmentNumber(FIRST + 9));
    let (one, other) = (etag(&format!("ts/v360/t{start}.ts")), etag(&format!("ts/v180/t{start}.ts")));
    assert!(one != other && one != etag(&format!("v360/t{start}.m4s")));
    // What is none, or is none yet.
    let next = channel.layout.start(Kind::Video, SegmentNumber(FIRST + 10));
    assert!(matches!(snapshot.lookup(&format!("ts/v360/t{next}.ts")), Lookup::NotYet(_)));
    for path in
        ["ts/trick/index.m3u8", &format!("ts/trick/t{start}.ts"), "ts/v360/t1.ts", "ts/v360", "ts/none/t0.ts", "ts/"]
    {
        assert!(matches!(snapshot.lookup(path), Lookup::Unknown), "{path}");
    }
    // Where they are not served there are none.
    let without = with_a_gap(config()).snapshot();
    for path in ["ts/index.m3u8", "ts/v360/index.m3u8", &format!("ts/v360/t{start}.ts")] {
        assert!(matches!(without.lookup(path), Lookup::Unknown), "{path}");
    }
}

#[test]
fn what_lies_on_disk_becomes_the_same_segment() {
    const SEGMENTS: u64 = 30;
    let pipelines = vec![PipelineId::A];
    let config = with_transport(Config { disk: true, window: Duration::from_secs(40), pipelines, ..config() });
    let folder = tempfile::tempdir().expect("temporary folder");
    let t0 = start_of(&config, FIRST);
    let layout = Layout::new(config.grid, config.part);
    let path = |n: u64| format!("ts/v360/t{}.ts", layout.start(Kind::Video, SegmentNumber(n)));
    let mut p = up(config.clone(), t0, &[PipelineId::A]);
    let mut tag = None;
    for n in FIRST..FIRST + SEGMENTS {
        let now = t0.after(Duration::from_secs(2 * (n - FIRST + 1)));
        deliver_all(&mut p, now, PipelineId::A, n);
        p.poll(now);
        let snapshot = p.snapshot();
        let place = |(id, kind): (&str, Kind)| {
            let object = found(&snapshot, &format!("{id}/t{}.m4s", layout.start(kind, SegmentNumber(n))));
            let file = folder.path().join(format!("{id}-{n}"));
            std::fs::write(&file, object.body.bytes()).expect("file");
            Place::whole(file).expect("file")
        };
        let tracks = [("v360", Kind::Video), ("v180", Kind::Video), ("a1", Kind::Audio), ("trick", Kind::Trick)];
        p.stored(SegmentNumber(n), tracks.map(place).to_vec());
        if n == FIRST {
            tag = Some(found(&snapshot, &path(n)).etag);
        }
    }
    let (old, new) = (p.snapshot().lookup(&path(FIRST)), p.snapshot().lookup(&path(FIRST + SEGMENTS - 1)));
    assert!(matches!(new, Lookup::Found(_)), "what is in memory is made at once: {new:?}");
    let Lookup::Making(making) = old else { panic!("it is on disk: {old:?}") };
    let Lookup::Found(made) = making.make() else { panic!("it can be read") };
    assert!(made.body.bytes() == Channel::new(config, FIRST, 1).transport(0)[0][..]);
    assert_eq!(Some(made.etag), tag);
}

#[test]
fn two_hosts_give_the_same_tags() {
    let (one, other) = (on_air(config()), on_air(config()));
    for path in one.paths().iter().filter(|path| path.ends_with(".ts")) {
        assert_eq!(found(&one, path).etag, found(&other, path).etag, "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn no_segment_is_above_its_declared_bit_rate(
        rate in prop::sample::select(vec![(25, 1), (30000, 1001), (10, 1), (60, 1)]),
        sound_bitrate in prop::sample::select(vec![24_000usize, 64_000, 128_000, 320_000]),
        sizes in prop::collection::vec(prop_oneof![1usize..150, 1usize..3000], 120),
    ) {
        let config = config_at(FrameRate::new(rate.0, rate.1).expect("good rate"));
        let resized = |config: &Config, r: usize, n: u64| -> Vec<CodedUnit> {
            let mut units = units(config, r, n, 0);
            for (unit, size) in units.iter_mut().zip(&sizes) {
                let more = if r < 2 { *size } else { sound_bitrate / 8 * 1024 / 48_000 - 3 };
                unit.data = [&unit.data[..], &vec![0x55; more]].concat().into();
            }
            units
        };
        let channel = Channel::of(config, FIRST, 2, resized);
        for (r, parts) in [(0, vec![0, 2]), (2, vec![2])] {
            for (i, segment) in channel.transport(r).iter().enumerate() {
                let n = SegmentNumber(FIRST + i as u64);
                let bits = |bytes: usize, kind| (bytes as f64 * 8.0 / channel.layout.seconds(kind, n)).ceil() as u64;
                let kind = |r: usize| channel.catalogue.renditions[r].kind();
                let declared = parts.iter().map(|&r| {
                    let cmaf = bits(channel.segments[i][r].len(), kind(r));
                    hls_ts::bit_rate(&channel.layout, kind(r), cmaf, true)
                });
                let declared = declared.sum::<u64>() + hls_ts::table_rate(&channel.layout);
                let is = bits(segment.len(), kind(r));
                prop_assert!(is <= declared, "{rate:?}, rendition {r}, segment {i}: {is} above {declared}");
            }
        }
    }
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

#[test]
fn ffmpeg_decodes_the_same_h264_and_sound() {
    let params = "keyint=50:min-keyint=50:scenecut=0:bframes=2:b-pyramid=none:open-gop=0";
    let by = ["-c:v", "libx264", "-preset", "veryfast", "-x264-params", params];
    ffmpeg_decodes_the_same(VideoEncoder::X264, &by, "h264_mp4toannexb,h264_metadata=aud=insert", "h264");
}

#[test]
fn ffmpeg_decodes_the_same_hevc_and_sound() {
    let params = "log-level=none:keyint=50:min-keyint=50:scenecut=0:bframes=2:open-gop=0:pools=1:frame-threads=1";
    let by = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", params];
    ffmpeg_decodes_the_same(VideoEncoder::X265, &by, "hevc_mp4toannexb,hevc_metadata=aud=insert", "hevc");
}

/// From the transport stream ffmpeg decodes what it decodes from the CMAF, and at the same times.
fn ffmpeg_decodes_the_same(encoder: VideoEncoder, by: &[&str], filter: &str, muxer: &str) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let Some(channel) = real(folder.path(), encoder, by, filter, muxer) else { return };
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(path(name), bytes).expect("file");
        path(name)
    };
    let (cmaf_video, cmaf_sound) = (write("v.mp4", &channel.joined(0)), write("a.mp4", &channel.joined(1)));
    let (segments, alone) = (channel.transport(0), channel.transport(1).concat());
    let (ts, ts_sound) = (write("v.ts", &segments.concat()), write("a.ts", &alone));
    let decoded = |file: &str, kind: &str, from: u32| {
        let (map, select) = (format!("0:{kind}"), format!("select=gte(n\\,{from})"));
        let picked: &[&str] = if from == 0 { &[] } else { &["-vf", &select] };
        let input = ["-err_detect", "explode", "-i", file, "-map", &map];
        let out = ffmpeg(&[&input[..], picked, &["-vsync", "passthrough", "-f", "md5", "-"]].concat());
        String::from_utf8_lossy(&out.expect("it ran before")).into_owned()
    };
    assert_eq!(decoded(&ts, "v", 0), decoded(&cmaf_video, "v", 0), "pictures");
    assert_eq!(decoded(&ts, "a", 0), decoded(&cmaf_sound, "a", 0), "sound beside pictures");
    assert_eq!(decoded(&ts_sound, "a", 0), decoded(&cmaf_sound, "a", 0), "sound alone");
    // A player may begin with any segment.
    let late = write("late.ts", &segments[1..].concat());
    assert_eq!(decoded(&late, "v", 0), decoded(&cmaf_video, "v", 50), "from the second segment on");

    // Samples: all of them, and each at its time.
    let samples = ffmpeg(&["-i", &ts, "-map", "0:a", "-f", "s16le", "-"]).expect("it ran before").len() / 4;
    let grid = channel.config.grid;
    let first_frame = |n| grid.first_audio_frame(SegmentNumber(n)).0;
    let (slot, frame) = (grid.first_slot(SegmentNumber(FIRST)).0, first_frame(FIRST));
    let frames = first_frame(FIRST + 3) - frame;
    assert_eq!(samples as u64, frames * 1024, "samples");
    let time = |kind, place| channel.layout.time_of(kind, place).ticks().rem_euclid(1 << 33);
    let shown: Vec<i64> = (slot..slot + 150).map(|place| time(Kind::Video, place)).collect();
    let heard: Vec<i64> = (frame..frame + frames).map(|place| time(Kind::Audio, place)).collect();
    assert_eq!(times(&ts, "v"), shown);
    assert_eq!(times(&ts, "a"), heard);
    assert_eq!(times(&ts_sound, "a"), heard);
    is_clean("real pictures", &segments.concat());
    is_clean("real sound", &alone);
    judged(&ts);
    judged(&ts_sound);
}

/// PTS of all decoded frames.
fn times(file: &str, kind: &str) -> Vec<i64> {
    let args = ["-v", "error", "-select_streams", kind, "-show_entries", "frame=pts", "-of", "csv=p=0", file];
    let out = Command::new("ffprobe").args(args).output().expect("ffprobe comes with ffmpeg");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let number = |line: &str| line.trim_end_matches(',').parse().expect("a number");
    String::from_utf8_lossy(&out.stdout).lines().filter(|line| !line.is_empty()).map(number).collect()
}

/// By a reader of TR 101 290 that shares nothing with ours, where it is at hand.
fn judged(file: &str) {
    let Some(script) = shared("validators/ts_check.py") else {
        eprintln!("skipped: ts_check.py is not beside the project");
        return;
    };
    match Command::new("python3").arg(script).arg(file).output() {
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(out.status.success() && !said.contains("advice") && !said.contains("syntax"), "{said}");
            eprintln!("{said}");
        }
        Err(e) => eprintln!("skipped: python3 does not run: {e}"),
    }
}
