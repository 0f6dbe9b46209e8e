//! What players are told of, and given.

use super::*;

/// What players are told of ten segments, the seventh of them a gap.
fn on_air(config: Config) -> Arc<Snapshot> {
    with_a_gap(with_transport(config)).snapshot()
}

fn with_transport(config: Config) -> Config {
    let serve = Serve { hls_ts: true, ..config.serve };
    Config { serve, ..config }
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
