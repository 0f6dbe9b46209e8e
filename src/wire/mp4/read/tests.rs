//! Files made here, box by box; those of other programs are played end to end.

use proptest::prelude::*;

use super::*;

fn make(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&(content.len() as u32 + 8).to_be_bytes()[..], name, &content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// avcC with one SPS and one PPS of a byte each.
fn avc1() -> Vec<u8> {
    let record = make(b"avcC", &[&[1, 100, 0, 30, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68]]);
    make(b"avc1", &[&[0; 78], &record])
}

fn mp4a() -> Vec<u8> {
    let descriptor = |tag: u8, content: &[u8]| [&[tag, 0x80, content.len() as u8][..], content].concat();
    let config = descriptor(5, &[0x11, 0x90]);
    let decoder = descriptor(4, &[&[0x40][..], &[0; 12], &config].concat());
    let es = descriptor(3, &[&[0, 1, 0][..], &decoder].concat());
    make(b"mp4a", &[&[0; 28], &make(b"esds", &[&[0; 4], &es])])
}

/// A track with id, handler, 1000 ticks a second, German, and these boxes in its sample table.
fn trak(id: u32, handler: &[u8; 4], entry: &[u8], edits: &[u8], table: &[Vec<u8>]) -> Vec<u8> {
    let stsd = make(b"stsd", &[&words(&[0, 1]), entry]);
    let stbl = make(b"stbl", &[&stsd, &table.concat()]);
    let mdhd = make(b"mdhd", &[&words(&[0, 0, 0, 1000, 0, 0x10b5 << 16])]);
    let hdlr = make(b"hdlr", &[&words(&[0, 0]), handler, &[0; 13]]);
    let mdia = make(b"mdia", &[&mdhd, &hdlr, &make(b"minf", &[&stbl])]);
    make(b"trak", &[&make(b"tkhd", &[&words(&[0, 0, 0, id, 0])]), edits, &mdia])
}

/// Five pictures in chunks of 2, 2 and 1, the second and third reordered.
fn table() -> Vec<Vec<u8>> {
    vec![
        make(b"stts", &[&words(&[0, 2, 4, 40, 1, 50])]),
        make(b"ctts", &[&words(&[0, 3, 1, 40, 1, 80, 3, -40i32 as u32])]),
        make(b"stsc", &[&words(&[0, 2, 1, 2, 1, 3, 1, 1])]),
        make(b"stsz", &[&words(&[0, 0, 5, 10, 11, 12, 13, 14])]),
        make(b"stco", &[&words(&[0, 3, 100, 200, 300])]),
    ]
}

fn moov(tracks: &[Vec<u8>]) -> Vec<u8> {
    [make(b"mvhd", &[&words(&[0, 0, 0, 600])]), tracks.concat()].concat()
}

#[test]
fn samples_are_found() {
    let edits = make(b"edts", &[&make(b"elst", &[&words(&[0, 2, 300, u32::MAX, 1 << 16, 600, 40, 1 << 16])])]);
    let picture = trak(1, b"vide", &avc1(), &edits, &table());
    let even = vec![
        make(b"stts", &[&words(&[0, 1, 2, 21])]),
        make(b"stsc", &[&words(&[0, 1, 1, 2, 1])]),
        make(b"stsz", &[&words(&[0, 77, 2])]),
        make(b"co64", &[&words(&[0, 1, 1, 5])]),
    ];
    let sound = trak(2, b"soun", &mp4a(), &[], &even);
    let subtitles = trak(3, b"sbtl", &[], &[], &[]);
    let strange = trak(4, b"soun", &make(b"alac", &[&[0; 28]]), &[], &[]);
    let movie = Movie::parse(&moov(&[picture, sound, subtitles, strange])).expect("a good file");
    assert_eq!(movie.others, [*b"alac"]);
    let [picture, sound] = &movie.tracks[..] else { panic!("{movie:#?}") };
    let sample = |offset, bytes, dts, shift, duration| Sample { offset, dts, bytes, shift, duration };
    let want = [
        sample(100, 10, 0, 40, 40),
        sample(110, 11, 40, 80, 40),
        sample(200, 12, 80, -40, 40),
        sample(212, 13, 120, -40, 40),
        sample(300, 14, 160, -40, 50),
    ];
    assert_eq!(picture.samples, want);
    assert_eq!((picture.id, picture.timescale, picture.language), (1, 1000, Some(*b"deu")));
    // Half a second empty, then from tick 40 on.
    assert_eq!((picture.edit, picture.more_edits), (500 - 40, false));
    let Coding::H264(sets) = &picture.coding else { panic!("{picture:?}") };
    assert_eq!((sets.length_bytes, sets.sets.len()), (4, 2));
    assert_eq!(sound.samples, [sample(1 << 32 | 5, 77, 0, 0, 21), sample((1 << 32 | 5) + 77, 77, 21, 0, 21)]);
    assert!(matches!(sound.coding, Coding::Aac(config) if config.rate() == 48_000));
}

#[test]
fn fragments_add_samples() {
    let empty = [
        make(b"stts", &[&words(&[0, 0])]),
        make(b"stsc", &[&words(&[0, 0])]),
        make(b"stsz", &[&words(&[0, 0, 0])]),
        make(b"stco", &[&words(&[0, 0])]),
    ];
    let tracks = [trak(1, b"vide", &avc1(), &[], &empty), trak(2, b"soun", &mp4a(), &[], &empty)];
    let trex = |id| make(b"trex", &[&words(&[0, id, 1, 40, 9, 0])]);
    let mvex = make(b"mvex", &[&trex(1), &trex(2)]);
    let mut movie = Movie::parse(&moov(&[tracks.concat(), mvex])).expect("a good file");
    let traf = |id, flags, tfdt: Option<u32>, truns: &[Vec<u8>]| {
        let tfdt = tfdt.map(|time| make(b"tfdt", &[&words(&[0, time])])).unwrap_or_default();
        make(b"traf", &[&make(b"tfhd", &[&words(&[flags, id])]), &tfdt, &truns.concat()])
    };
    // From the fragment's own start; sizes, and times of composition.
    let first = make(b"trun", &[&words(&[0xa01, 2, 500, 10, 0, 11, 40])]);
    // Behind what came before, everything by default.
    let second = make(b"trun", &[&words(&[0, 1])]);
    let moof =
        [traf(1, 0x02_0000, Some(8000), &[first, second]), traf(2, 0, None, &[make(b"trun", &[&words(&[0, 1])])])];
    movie.fragment(1000, &moof.concat()).expect("a good fragment");
    let sample = |offset, bytes, dts, shift| Sample { offset, dts, bytes, shift, duration: 40 };
    let want = [sample(1500, 10, 8000, 0), sample(1510, 11, 8040, 40), sample(1521, 9, 8080, 0)];
    assert_eq!(movie.tracks[0].samples, want);
    assert_eq!(movie.tracks[1].samples, [sample(1530, 9, 0, 0)], "behind the track before");
    movie.fragment(5000, &traf(2, 0x02_0000, None, &[make(b"trun", &[&words(&[0, 1])])])).expect("a good fragment");
    assert_eq!(movie.tracks[1].samples[1], sample(5000, 9, 40, 0), "time goes on where nothing is said");
}

#[test]
fn what_is_wrong_is_named() {
    let with = |at: usize, content: Vec<u8>| {
        let mut table = table();
        table[at] = content;
        Movie::parse(&moov(&[trak(1, b"vide", &avc1(), &[], &table)])).map_err(|wrong| wrong.to_string())
    };
    for (at, content, want) in [
        (0, make(b"stts", &[&words(&[0, 1, 4, 40])]), "box `stts`: has times for fewer samples"),
        (0, make(b"stts", &[&words(&[0, 9, 4, 40])]), "box `stts`: is shorter than it says"),
        (1, make(b"ctts", &[&words(&[0, 1, 4, 40])]), "box `ctts`: has times for fewer samples"),
        (2, make(b"stsc", &[&words(&[0, 1, 1, 1, 1])]), "box `stsc`: has chunks for fewer samples"),
        (3, make(b"stsz", &[&words(&[0, 0, 6, 1])]), "box `stsz`: is shorter than it says"),
        (3, make(b"stsz", &[&words(&[0, 1, 1 << 30])]), "box `stsz`: has more samples than are read"),
        (3, make(b"stz2", &[]), "box `stbl`: has no stsz"),
        (4, make(b"free", &[]), "box `stbl`: has neither stco nor co64"),
        (4, words(&[900, 0]), "box `stbl`: is cut off"),
    ] {
        let got = with(at, content).expect_err(want);
        assert!(got.starts_with(want), "{got} for {want}");
    }
    assert!(with(0, table().remove(0)).is_ok(), "the table itself is good");
}

fn whole() -> Vec<u8> {
    moov(&[trak(1, b"vide", &avc1(), &[], &table()), trak(2, b"soun", &mp4a(), &[], &[])])
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (Movie::parse(&bytes), Header::parse(&bytes), Movie::default().fragment(0, &bytes));
    }

    #[test]
    fn damage_and_cuts_are_survived(at in 0..1000usize, byte in any::<u8>(), cut in 0..1000usize) {
        let mut bytes = whole();
        let (at, cut) = (at % bytes.len(), cut % bytes.len());
        bytes[at] = byte;
        let _ = Movie::parse(&bytes);
        let _ = Movie::parse(&bytes[..cut]);
    }
}
