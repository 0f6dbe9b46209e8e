//! The decoder alone: what it makes of units, and how long it keeps them.

use std::time::Duration;

use gstreamer as gst;
use sha2::{Digest, Sha256};
use tandem::encode::decode::{Decoded, VideoDecoder};
use tandem::encode::ipc::Deinterlace;
use tandem::encode::pulse::Pulse;
use tandem::encode::template::{BUILT_IN, Template};
use tandem::media::{ChannelTime, Codec, FrameRate, Unit};

use super::driver::{clip, unit};
use super::off_grid;

/// Which unit each picture came out after, its time and its pixels.
type Came = Vec<(usize, ChannelTime, [u8; 32])>;

fn decoded(codec: Codec, units: &[Unit<ChannelTime>]) -> Came {
    let template = Template::parse(BUILT_IN).expect("good");
    let rate = FrameRate::new(25, 1).expect("a rate");
    let zero = off_grid() - Duration::from_secs(60);
    let mut decoder = VideoDecoder::new(template, Deinterlace::Auto, rate, zero, Pulse::new());
    decoder.set_codec(codec);
    let mut came = Came::new();
    let mut take = |after: usize, pictures: Vec<Decoded>| {
        for decoded in pictures {
            let picture = decoded.picture.expect("nothing is damaged");
            let pixels = Sha256::digest(picture.buffer.map_readable().expect("maps").as_slice());
            came.push((after, decoded.at, pixels.into()));
        }
    };
    for (i, unit) in units.iter().enumerate() {
        let pictures = decoder.push(unit);
        take(i, pictures);
    }
    take(units.len(), decoder.drain());
    assert_eq!(decoder.errors(), 0);
    came
}

/// A unit that is known to be whole need not wait for the next one; the pictures are the same, also where that is not known of some. And each has
/// its unit's time: where h265parse has to look for the ends itself, delimiters make it give some pictures their neighbour's.
#[test]
fn whole_units_come_out_a_picture_earlier() {
    gst::init().expect("GStreamer is installed");
    for (codec, coding) in [
        (Codec::H264, "libx264 -preset veryfast -bf 2 -g 25 -x264-params aud=1:log-level=none"),
        (Codec::Hevc, "libx265 -preset ultrafast -g 25 -x265-params aud=1:bframes=2:log-level=none:repeat-headers=1"),
    ] {
        let clip = clip(&format!("-f lavfi -i testsrc2=s=320x180:r=25 -t 4 -c:v {coding}"), codec, Codec::AacAdts);
        let units: Vec<_> = clip.at(off_grid()).iter().filter_map(unit).cloned().collect();
        let told = |whole: &dyn Fn(usize) -> bool| -> Came {
            let units = units.iter().enumerate().map(|(i, unit)| Unit { whole: whole(i), ..unit.clone() });
            decoded(codec, &units.collect::<Vec<_>>())
        };
        let unknown = told(&|_| false);
        assert_eq!(unknown.len(), 100, "{codec:?}");
        let mut times: Vec<_> = units.iter().map(|unit| unit.pts).collect();
        times.sort_unstable();
        let whole = told(&|_| true);
        for came in [&whole, &told(&|i| i % 7 != 3)] {
            assert!(came.iter().map(|(_, at, _)| *at).eq(times.iter().copied()), "{codec:?}: times");
            assert!(came.iter().map(|(.., p)| p).eq(unknown.iter().map(|(.., p)| p)), "{codec:?}: pixels");
        }
        let middle = 20..80;
        for ((early, ..), (late, ..)) in whole[middle.clone()].iter().zip(&unknown[middle]) {
            assert_eq!(early + 1, *late, "{codec:?}");
        }
    }
}
