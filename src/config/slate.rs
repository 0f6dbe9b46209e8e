//! Whether a file can be a slate, as far as its first bytes tell. Whether it can be decoded is the encode process's to find
//! out: no codec runs here.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// Of a file, bytes that are looked at: a JPEG's size may stand behind a preview of 64 kB.
const LOOK: u64 = 1 << 20;
/// Longest side of an image.
const SIDE_MAX: u32 = 8192;

/// Why a file is no slate, and how to mend it.
pub(super) fn check(path: &Path) -> Result<(), (String, &'static str)> {
    const MEND: &str = "give the path of a PNG, JPEG, MP4, MOV, MKV or WebM file, relative to this file";
    let head = read_head(path).map_err(|error| (format!("{}: {error}", path.display()), MEND))?;
    let size = match &head[..] {
        // PNG (W3C) §5.2: signature, then IHDR with the size.
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, rest @ ..] => png_size(rest),
        [0xff, 0xd8, 0xff, ..] => jpeg_size(&head),
        // ISO/IEC 14496-12 §4.3 (`ftyp` first); QuickTime's files may begin with others.
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] => return Ok(()),
        // RFC 8794 §8.1: the EBML header of Matroska and WebM.
        [0x1a, 0x45, 0xdf, 0xa3, ..] => return Ok(()),
        [0x47, ..] => {
            let mend = "a transport stream cannot be sought; make an MP4 of it: ffmpeg -i clip.ts -c copy clip.mp4";
            return Err((format!("{}: is neither an image nor a clip we can loop", path.display()), mend));
        }
        _ => return Err((format!("{}: is neither an image nor a clip we can loop", path.display()), MEND)),
    };
    match size {
        Some((width, height)) if (1..=SIDE_MAX).contains(&width) && (1..=SIDE_MAX).contains(&height) => Ok(()),
        Some((width, height)) => {
            let mend = "scale it to the size of the ladder's top rung; up to 8192 pixels a side are possible";
            Err((format!("{}: {width}x{height} pixels", path.display()), mend))
        }
        None => Err((format!("{}: is damaged: its size cannot be read", path.display()), MEND)),
    }
}

fn read_head(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let mut head = Vec::new();
    fs::File::open(path)?.take(LOOK).read_to_end(&mut head)?;
    Ok(head)
}

fn png_size(chunks: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| Some(u32::from_be_bytes(chunks.get(at..at + 4)?.try_into().ok()?));
    (chunks.get(4..8)? == b"IHDR").then_some(())?;
    Some((side(8)?, side(12)?))
}

/// ITU-T T.81 §B.2.2: the frame header.
fn jpeg_size(file: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let &[0xff, marker] = file.get(at..at + 2)? else { return None };
        at += 2;
        match marker {
            // Fill bytes.
            0xff => at -= 1,
            0x01 | 0xd0..=0xd8 => {}
            _ => {
                let length = usize::from(u16::from_be_bytes(file.get(at..at + 2)?.try_into().ok()?));
                // SOF0 to SOF15 without DHT, JPG and DAC.
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    let side = |at: usize| Some(u32::from(u16::from_be_bytes(file.get(at..at + 2)?.try_into().ok()?)));
                    return Some((side(at + 5)?, side(at + 3)?));
                }
                at += length.max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc4, 0, 3, 9, 0xff, 0xc2, 0, 11, 8];
        file.extend(height.to_be_bytes());
        file.extend(width.to_be_bytes());
        file
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        file.extend(width.to_be_bytes());
        file.extend(height.to_be_bytes());
        file
    }

    #[test]
    fn files_are_known_by_how_they_begin() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes, want) in [
            ("PNG", png(1280, 720), None),
            ("JPEG", jpeg(1920, 1080), None),
            ("MP4", b"\0\0\0\x20ftypisom".to_vec(), None),
            ("WebM", vec![0x1a, 0x45, 0xdf, 0xa3, 1], None),
            ("large PNG", png(20_000, 10), Some("20000x10 pixels")),
            ("large JPEG", jpeg(1, 60_000), Some("1x60000 pixels")),
            ("PNG of nothing", png(0, 10), Some("0x10 pixels")),
            ("PNG cut short", png(1, 1)[..20].to_vec(), Some("is damaged")),
            ("JPEG cut short", jpeg(1, 1)[..18].to_vec(), Some("is damaged")),
            ("TS", vec![0x47; 376], Some("is neither an image")),
            ("text", b"No signal".to_vec(), Some("is neither an image")),
            ("nothing", Vec::new(), Some("is neither an image")),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).expect("written");
            let got = check(&path).err().map(|(wrong, _)| wrong);
            match (&got, want) {
                (None, None) => {}
                (Some(got), Some(want)) => assert!(got.contains(want), "{name}: {got}"),
                _ => panic!("{name}: {got:?}"),
            }
        }
        assert!(check(folder.path()).expect_err("a folder").0.contains("is no file"));
        assert!(check(&folder.path().join("none")).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = png_size(&bytes);
            let _ = jpeg_size(&bytes);
            let _ = jpeg_size(&[&[0xff, 0xd8, 0xff, 0xe0][..], &bytes].concat());
        }
    }
}
