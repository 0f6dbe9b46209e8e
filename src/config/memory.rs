//! How much memory an encode process may take where the config does not say.

use super::Ladder;
use crate::encode::ladder::{VideoEncoder, VideoRung};
use crate::media::Grid;

/// What it takes whatever the ladder is: code, a decoder for 2160p with 16 pictures of 12 MB, as many on their way to the
/// rungs, and as much again for what nobody foresaw.
const BASE: u64 = 768 << 20;
/// Pictures a rung holds beside its look-ahead: queue, references, reordering, the next chain that is built already.
const PICTURES: u64 = 24;
/// Bytes an encoder keeps for a picture, to one byte of its I420: x264 keeps it with borders, filtered and halved planes,
/// motion and costs. x265 and SVT-AV1 keep more of everything.
const SHARE_X264: u64 = 4;
const SHARE_OTHERS: u64 = 12;

/// A generous multiple of what this ladder needs, bytes: it is to stop leaks, not growth. Measured with four rungs from 720p:
/// 270 to 410 MB, for which it says 1.2 GB.
pub(super) fn encoder_memory(ladder: &Ladder, grid: Grid) -> u64 {
    let rungs: u64 = ladder.video.iter().map(rung_memory).sum();
    // A pipeline on standby keeps the raw pictures of a segment and a half.
    let top = ladder.video.first().map_or(0, picture);
    let slots = (grid.segment().as_secs_f64() * grid.rate().as_f64()) as u64;
    BASE + rungs + top * slots * 3 / 2
}

fn rung_memory(rung: &VideoRung) -> u64 {
    let share = match rung.encoder {
        VideoEncoder::X265 | VideoEncoder::SvtAv1 => SHARE_OTHERS,
        _ => SHARE_X264,
    };
    picture(rung) * (u64::from(rung.lookahead) + PICTURES) * share * u64::from(rung.chains.max(1))
}

/// Bytes of one I420 picture.
fn picture(rung: &VideoRung) -> u64 {
    u64::from(rung.width) * u64::from(rung.height) * 3 / 2
}
