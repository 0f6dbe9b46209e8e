//! The trick-play track: of each segment its first picture, which lasts as long as the segment does. Players that search
//! show it; it costs no encoder anything.
//!
//! In:    whole segments of the smallest H.264 rendition. Out: segments of one sample each.
//! Never: makes anything up: it has no segment where the rendition has none.

use bytes::Bytes;

use super::layout::{Kind, Layout};
use crate::encode::ladder::{VideoFormat, VideoRung};
use crate::media::{RenditionId, SegmentNumber};
use crate::wire::mp4::{Chunk, Sample, segment_type};

/// Which rendition's pictures are taken: the smallest that every player can decode. A ladder without H.264 has no such track.
pub(super) fn source(video: &[VideoRung]) -> Option<usize> {
    let plain = video.iter().enumerate().filter(|(_, rung)| rung.encoder.format() == VideoFormat::H264);
    plain.min_by_key(|(_, rung)| (rung.width * rung.height, rung.rate.max_bitrate())).map(|(r, _)| r)
}

/// Its name: `trick`, or with a number behind it where a rendition is called so.
pub(super) fn name(taken: &[RenditionId]) -> RenditionId {
    let names = std::iter::once("trick".to_owned()).chain((1..).map(|i| format!("trick-{i}")));
    let free = |name: &String| taken.iter().all(|t| t.as_str() != name);
    let name = names.into_iter().find(free).expect("numbers do not run out");
    RenditionId::new(&name).expect("small letters and digits")
}

/// The bytes of its segment `n`, which shows this picture.
pub(super) fn segment(layout: &Layout, n: SegmentNumber, picture: &[Bytes]) -> Vec<Bytes> {
    let size = picture.iter().map(Bytes::len).sum::<usize>();
    let sample = Sample { size: u32::try_from(size).unwrap_or(u32::MAX), composition_offset: 0, sync: true };
    let chunk = Chunk {
        // One chunk a segment; it wraps at 32 bits, as the field does.
        sequence: (n.0 & u64::from(u32::MAX)) as u32,
        decode_time: layout.start(Kind::Trick, n),
        sample_ticks: u32::try_from(layout.ticks(Kind::Trick, n)).unwrap_or(u32::MAX),
        samples: &[sample],
    };
    let mut head = segment_type();
    head.extend_from_slice(&chunk.header());
    std::iter::once(Bytes::from(head)).chain(picture.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ladder::{RateControl, VideoEncoder};

    fn rung(id: &str, width: u32, max_bitrate: u32, encoder: VideoEncoder) -> VideoRung {
        let id = RenditionId::new(id).expect("good name");
        let rate = RateControl::CappedCrf { crf: 23.0, max_bitrate };
        VideoRung { encoder, ..VideoRung::new(id, width, width * 9 / 16, rate) }
    }

    #[test]
    fn the_smallest_h264_rung_is_taken() {
        use VideoEncoder::{SvtAv1, X264, X265};
        let (big, small) = (rung("v720", 1280, 3_000_000, X264), rung("v360", 640, 700_000, X264));
        let lean = rung("v360-lean", 640, 400_000, X264);
        let (hevc, av1) = (rung("h144", 256, 100_000, X265), rung("a144", 256, 80_000, SvtAv1));
        for (name, ladder, want) in [
            ("one", vec![big.clone()], Some(0)),
            ("by size, then by bit rate", vec![big, small, lean, hevc.clone(), av1.clone()], Some(2)),
            ("no H.264", vec![hevc, av1], None),
            ("no picture", vec![], None),
        ] {
            assert_eq!(source(&ladder), want, "{name}");
        }
        let taken = ["trick", "trick-1", "v360"].map(|n| RenditionId::new(n).expect("good name"));
        assert_eq!(name(&taken).as_str(), "trick-2");
        assert_eq!(name(&taken[1..]).as_str(), "trick");
    }
}
