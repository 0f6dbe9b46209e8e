//! A and B, saved side by side: the same bytes in every rendition, from the first whole segment on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::harness::{Options, Publisher, Publishers, Server, read_all, signal};

/// Segments of each rendition that must be compared.
const WANTED: usize = 60;

#[test]
fn sixty_segments_of_a_and_b_are_equal_with_b_started_7_3_s_later() {
    let server = Server::start(&Options { save_segments: true, ..Options::default() });
    let _publishers = Publishers::start(&server, &["s1", "s2", "s3", "s4"], Publisher::SrtLiveTransmit);
    server.wait_on_air();
    // B begins anew well into A's life, off every boundary.
    std::thread::sleep(Duration::from_millis(7300));
    signal(server.encoder_pid("b"), "KILL");
    let began = server.status()["publish"]["newest"].as_u64().expect("segments are published");
    let saved = server.dir.path().join("saved/test");
    for _ in 0..6 {
        // One wait is limited; sixty segments take two minutes.
        let have = server.status()["publish"]["newest"].as_u64().unwrap_or(0);
        let step = (have + 11).min(began + WANTED as u64 + 5);
        server.wait("a dozen segments more", |s| s.status()["publish"]["newest"].as_u64() >= Some(step));
    }
    for rendition in ["v360", "v180", "audio"] {
        let (a, b) = (digests(&saved.join("a").join(rendition)), digests(&saved.join("b").join(rendition)));
        let late: BTreeMap<_, _> = b.iter().filter(|(n, _)| **n > began + 1).collect();
        let both: Vec<u64> = late.keys().copied().filter(|n| a.contains_key(n)).copied().collect();
        assert!(both.len() >= WANTED, "{rendition}: only {} segments to compare", both.len());
        let unlike: Vec<u64> = both.iter().copied().filter(|n| a[n] != b[n]).collect();
        assert!(unlike.is_empty(), "{rendition}: segments {unlike:?} of {} differ", both.len());
        eprintln!("{rendition}: {} segments of A and B are equal", both.len());
    }
    let publish = &server.status()["publish"];
    assert_eq!(publish["differs"], 0, "{publish:#}");
}

/// SHA-256 of every saved segment by its number.
fn digests(folder: &Path) -> BTreeMap<u64, [u8; 32]> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    files
        .map(|file| {
            let path = file.expect("readable").path();
            let number = path.file_stem().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("a number");
            (number, Sha256::digest(read_all(&path)).into())
        })
        .collect()
}
