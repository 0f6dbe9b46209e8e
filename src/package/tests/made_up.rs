//! Segments whose end nobody has: what ffmpeg makes of them.

use std::sync::Arc;

use super::judges::{ffmpeg, probe};
use super::transport::{Channel, real};
use super::*;
use crate::package::stand_in::{MadeUp, Still};
use crate::wire::codec::aac;
use crate::wire::mp4::samples;

/// Bytes of the first `parts` chunks of a segment.
fn chunks(segment: &[u8], parts: usize) -> &[u8] {
    let mut at = 0;
    let mut media = 0;
    while media < parts {
        let size = u32::from_be_bytes(*segment[at..].first_chunk().expect("a box")) as usize;
        media += usize::from(segment[at + 4..].starts_with(b"mdat"));
        at += size;
    }
    &segment[..at]
}

/// Header, a segment, one of which only so many parts are there, or nothing at all, and another segment.
fn joined(channel: &Channel, r: usize, parts: usize) -> Vec<u8> {
    let n = SegmentNumber(channel.first + 1);
    let around = |made: &[u8]| {
        [&channel.catalogue.renditions[r].init[..], &channel.segments[0][r], made, &channel.segments[2][r]].concat()
    };
    if parts == 0 {
        let kind = |r| if r < channel.config.video.len() { layout::Kind::Video } else { layout::Kind::Audio };
        let kinds: Vec<_> = (0..channel.segments[0].len()).map(kind).collect();
        let read = |track: usize| Some(Bytes::copy_from_slice(&channel.segments[0][track]));
        let still = Still::new(channel.layout, SegmentNumber(channel.first), &kinds, &channel.config.audio, read);
        let all: Vec<_> = MadeUp::all(&Arc::new(still.expect("our own bytes")), n).map(|it| it.pieces()).collect();
        return around(&all[r].concat());
    }
    let published = Bytes::copy_from_slice(chunks(&channel.segments[1][r], parts));
    let made = match channel.config.audio.get(r.wrapping_sub(channel.config.video.len())) {
        Some(rung) => stand_in::sound(&channel.layout, n, rung, parts, published),
        None => stand_in::picture(&channel.layout, n, parts, published),
    };
    let made = made.expect("our own bytes").pieces.concat();
    around(&made)
}

#[test]
fn ffmpeg_decodes_h264_and_sound_to_their_made_up_ends() {
    let params = "keyint=50:min-keyint=50:scenecut=0:bframes=2:b-pyramid=none:open-gop=0";
    let by = ["-c:v", "libx264", "-preset", "veryfast", "-x264-params", params];
    ffmpeg_decodes(VideoEncoder::X264, &by, "h264_mp4toannexb,h264_metadata=aud=insert", "h264");
}

#[test]
fn ffmpeg_decodes_hevc_to_its_made_up_end() {
    let params = "log-level=none:keyint=50:min-keyint=50:scenecut=0:bframes=2:open-gop=0:pools=1:frame-threads=1";
    let by = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", params];
    ffmpeg_decodes(VideoEncoder::X265, &by, "hevc_mp4toannexb,hevc_metadata=aud=insert", "hevc");
}

fn ffmpeg_decodes(encoder: VideoEncoder, by: &[&str], filter: &str, muxer: &str) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let Some(channel) = real(folder.path(), encoder, by, filter, muxer) else { return };
    let n = SegmentNumber(channel.first + 1);
    let cuts = channel.layout.parts(layout::Kind::Video, n);
    for parts in 0..cuts.len() {
        let there: usize = cuts[..parts].iter().sum();
        for r in [0, 1] {
            let file = folder.path().join(format!("{parts}-{r}.mp4"));
            let file = file.to_str().expect("UTF-8");
            std::fs::write(file, joined(&channel, r, parts)).expect("file");
            let decode = ["-err_detect", "explode", "-xerror", "-i", file, "-f", "null", "-"];
            ffmpeg(&decode).expect("ffmpeg was there before");
            let shown = probe(file, "frame=pts");
            if r == 1 {
                // Each frame follows the one before it: there is no hole in the sound.
                assert!(shown.windows(2).all(|w| w[1] - w[0] == 1024), "{parts} parts: {shown:?}");
                continue;
            }
            assert_eq!(shown.len(), 50 + there + 1 + 50, "{parts} parts");
            assert!(shown.windows(2).all(|w| w[0] < w[1]), "{parts} parts: {shown:?}");
            // What stands in comes behind all that was there, and before the next segment, which is on time.
            let begins = channel.layout.start(layout::Kind::Video, n) as i64;
            assert!(shown[50] == begins, "{parts} parts");
            let start = channel.layout.start(layout::Kind::Video, n.next()) as i64;
            assert_eq!(shown[50 + there + 1], start, "{parts} parts");
        }
    }
}

#[test]
fn every_format_has_a_made_up_end() {
    let channel = Channel::new(config_of_everything(), FIRST, 3);
    for r in 0..channel.config.video.len() + channel.config.audio.len() {
        let bytes = joined(&channel, r, 2);
        let made = &bytes[channel.catalogue.renditions[r].init.len() + channel.segments[0][r].len()..];
        let made = &made[..made.len() - channel.segments[2][r].len()];
        let found = samples(made).expect("our own");
        let kind = if r < channel.config.video.len() { layout::Kind::Video } else { layout::Kind::Audio };
        let there: usize = channel.layout.parts(kind, SegmentNumber(FIRST + 1))[..2].iter().sum();
        let last = &made[found[there].0.clone()];
        match channel.config.audio.get(r.wrapping_sub(channel.config.video.len())) {
            // Silence is shorter than any sound.
            Some(rung) => assert_eq!(Some(last), aac::silence(rung.channels).as_deref(), "{}", rung.id),
            None => assert_eq!(last, &made[found[0].0.clone()], "{}: its first picture", channel.config.video[r].id),
        }
    }
}

#[test]
fn nothing_is_made_of_nothing() {
    let channel = Channel::new(config(), FIRST, 2);
    let n = SegmentNumber(FIRST);
    let whole = Bytes::from(channel.segments[0][0].clone());
    assert_eq!(stand_in::picture(&channel.layout, n, 0, Bytes::new()), None);
    assert_eq!(stand_in::picture(&channel.layout, n, 5, whole.clone()), None, "it has its end");
    assert_eq!(stand_in::picture(&channel.layout, n, 1, whole.slice(..whole.len() / 2)), None, "cut inside a part");
}

#[test]
fn silence_is_silent_in_every_arrangement_of_channels() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for channels in 1..=7u8 {
        let block = aac::silence(channels).expect("an arrangement of the standard");
        let length = block.len() + 7;
        // 48 kHz, AAC LC, no CRC (ISO/IEC 13818-7 §6.2).
        let header = [
            0xff,
            0xf1,
            1 << 6 | 3 << 2 | channels >> 2,
            (channels & 3) << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ];
        let file = folder.path().join(format!("{channels}.aac"));
        std::fs::write(&file, [&header[..], &block].concat().repeat(20)).expect("file");
        let file = file.to_str().expect("UTF-8");
        let Some(sound) = ffmpeg(&["-err_detect", "explode", "-xerror", "-i", file, "-f", "s16le", "-"]) else {
            return;
        };
        let count = if channels == 7 { 8 } else { usize::from(channels) };
        assert_eq!(sound.len(), 20 * 1024 * 2 * count, "{channels}");
        assert!(sound.iter().all(|byte| *byte == 0), "{channels}");
    }
}
