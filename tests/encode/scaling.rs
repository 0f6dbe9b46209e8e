//! The scaler against swscale's bicubic one, picture by picture.

use std::path::{Path, PathBuf};
use std::process::Command;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use tandem::encode::ladder::{RateControl, VideoRung};
use tandem::encode::scale::{Picture, Scaler, bt709, raw_info};
use tandem::media::{FrameRate, RenditionId};

use crate::driver::output;

const PICTURES: usize = 12;
/// What a rung may differ by, luma. Two scalers of good repute differ as much: swscale's bicubic and Lanczos, 41 dB at 10:3.
const PSNR_MIN: f64 = 44.0;

/// A natural clip where there is one.
fn natural(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("TANDEM_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    Some(shared.join("corpus").join(name)).filter(|file| file.is_file())
}

/// Raw pictures, `width` × `height`, from `input` through `filter`.
fn raw(input: &[&str], filter: &str, (width, height): (u32, u32)) -> Vec<Vec<u8>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "fatal"]).args(input).args(["-vf", filter, "-frames:v", &PICTURES.to_string()]);
    let bytes = output(command.args(["-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]));
    bytes.chunks_exact((width * height * 3 / 2) as usize).map(<[u8]>::to_vec).collect()
}

/// Luma, mean of the squared errors over all pictures.
fn psnr(a: &[Vec<u8>], b: &[Vec<u8>], luma: usize) -> f64 {
    let squares = |(a, b): (&Vec<u8>, &Vec<u8>)| -> f64 {
        a[..luma].iter().zip(&b[..luma]).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum()
    };
    let mean = a.iter().zip(b).map(squares).sum::<f64>() / (luma * a.len()) as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

/// What our scaler makes of the pictures, without the padding of its rows.
fn ours(pictures: &[Vec<u8>], from: (u32, u32), ladder: &[(u32, u32)], to: (u32, u32)) -> Vec<Vec<u8>> {
    let id = RenditionId::new("v").expect("a good name");
    let rate = RateControl::CappedCrf { crf: 23.0, max_bitrate: 1_000_000 };
    let rung = |&(width, height): &(u32, u32)| VideoRung::new(id.clone(), width, height, rate);
    let ladder: Vec<VideoRung> = ladder.iter().map(rung).collect();
    let rate = FrameRate::new(25, 1).expect("a rate");
    let mut scaler = Scaler::within(&ladder, &rung(&to), rate).expect("a scaler");
    let square = gst::Fraction::new(1, 1);
    let info = raw_info(gst_video::VideoFormat::I420, from.0, from.1, square, &bt709()).expect("a layout");
    let out = raw_info(gst_video::VideoFormat::I420, to.0, to.1, square, &bt709()).expect("a layout");
    let scale = |(serial, picture): (usize, &Vec<u8>)| {
        let buffer = gst::Buffer::from_slice(picture.clone());
        let picture = Picture::new(serial as u64, buffer, info.clone());
        let scaled = scaler.scale(&picture).expect("scales");
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&scaled, &out).expect("maps");
        let rows = frame.plane_data(0).expect("luma").chunks(frame.plane_stride()[0] as usize);
        rows.take(to.1 as usize).flat_map(|row| row[..to.0 as usize].to_vec()).collect()
    };
    pictures.iter().enumerate().map(scale).collect()
}

#[test]
fn scaled_pictures_are_as_good_as_swscales() {
    gst::init().expect("GStreamer is installed");
    // A fractal has detail from pixel to pixel, which no lens lets through: it is softened by as much as one does.
    for (name, made, from, rungs) in [
        (
            "h264_mp3_id3.ts",
            "mandelbrot=s=1280x720:r=25:maxiter=400:start_scale=0.5,gblur=sigma=0.7",
            (1280, 720),
            &[(1280, 720), (768, 432), (640, 360), (384, 216)][..],
        ),
        (
            "mpeg2_1080p24_mp2.ts",
            "mandelbrot=s=1920x1080:r=25:maxiter=400:start_scale=0.5,gblur=sigma=0.7",
            (1920, 1080),
            &[(1920, 1080), (1280, 720), (896, 504), (768, 432), (640, 360), (384, 216)][..],
        ),
    ] {
        let file = natural(name);
        let path = file.as_ref().map(|file| file.to_string_lossy().into_owned());
        if path.is_none() {
            println!("{name} is not here: pictures made by ffmpeg stand in");
        }
        let input: Vec<&str> = match &path {
            Some(path) => vec!["-i", path],
            None => vec!["-f", "lavfi", "-i", made],
        };
        let spread = "select=not(mod(n\\,5)),setpts=N/25/TB";
        let pictures = raw(&input, spread, from);
        assert_eq!(pictures.len(), PICTURES, "{name}");
        for &(width, height) in &rungs[1..] {
            let theirs = raw(&input, &format!("{spread},scale={width}:{height}:flags=bicubic"), (width, height));
            let psnr = psnr(&ours(&pictures, from, rungs, (width, height)), &theirs, (width * height) as usize);
            println!("{name} {}x{} to {width}x{height}: {psnr:.1} dB", from.0, from.1);
            assert!(psnr >= PSNR_MIN, "{name} to {width}x{height}: {psnr:.1} dB");
        }
    }
}
