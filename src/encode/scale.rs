//! Any picture → a rung's picture: I420, the rung's size, square pixels, BT.709. A picture of another shape keeps it, between
//! black bars.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::ladder::VideoRung;
use crate::media::FrameRate;

/// A decoded picture, or the slate. Clones share the pixels.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Tells pictures apart, so that a repeated one is scaled once.
    pub serial: u64,
    /// The pixels.
    pub buffer: gst::Buffer,
    /// Their layout, with the colours spelled out.
    pub info: gst_video::VideoInfo,
}

/// Why a picture cannot be brought to a rung's shape.
#[derive(Debug, thiserror::Error)]
#[error("scaling to {width}×{height}")]
pub struct ScaleError {
    width: u32,
    height: u32,
    source: gst::glib::BoolError,
}

impl ScaleError {
    /// For a picture of this size.
    pub fn new(width: u32, height: u32, source: gst::glib::BoolError) -> Self {
        Self { width, height, source }
    }
}

/// Layout of raw pictures as this module hands them out. Every field is fixed: what is left open is negotiated, and then
/// differs by source (pixel aspect 1280/1281, chroma sites) or costs a slow colour conversion.
pub fn raw_info(
    format: gst_video::VideoFormat,
    width: u32,
    height: u32,
    par: gst::Fraction,
    colorimetry: &gst_video::VideoColorimetry,
) -> Result<gst_video::VideoInfo, gst::glib::BoolError> {
    gst_video::VideoInfo::builder(format, width, height)
        .par(par)
        .fps(gst::Fraction::new(0, 1))
        .interlace_mode(gst_video::VideoInterlaceMode::Progressive)
        .colorimetry(colorimetry)
        .chroma_site(gst_video::VideoChromaSite::MPEG2)
        .build()
}

/// BT.709, limited range: what every rung is in.
pub fn bt709() -> gst_video::VideoColorimetry {
    "bt709".parse().expect("GStreamer knows this name")
}

/// What a rung's encoder takes.
pub fn rung_caps(rung: &VideoRung, rate: FrameRate) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", rung.width as i32)
        .field("height", rung.height as i32)
        .field("framerate", gst::Fraction::new(rate.num() as i32, rate.den() as i32))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("interlace-mode", "progressive")
        .field("colorimetry", "bt709")
        .field("chroma-site", "mpeg2")
        .build()
}

/// From so many times a rung's size on a picture is halved first: the taps of one step then are so many and so small that their
/// rounding to 1/64 is seen (1080p to 384×216 in one step 37 to 43 dB to bicubic, in two steps 52 to 55).
const HALVE_FROM: u32 = 4;

/// Scales for one rung. It keeps no state that a picture could depend on.
#[derive(Debug)]
pub struct Scaler {
    half: Option<Stage>,
    rung: Stage,
    last: Option<(u64, gst::Buffer)>,
}

impl Scaler {
    /// For a rung of this size.
    pub fn new(rung: &VideoRung, rate: FrameRate) -> Result<Self, ScaleError> {
        let out = raw_info(gst_video::VideoFormat::I420, rung.width, rung.height, gst::Fraction::new(1, 1), &bt709());
        let stage = out.and_then(|out| Stage::new(out, &rung_caps(rung, rate)));
        let rung = stage.map_err(|source| ScaleError::new(rung.width, rung.height, source))?;
        Ok(Self { half: None, rung, last: None })
    }

    /// The picture in the rung's shape. The pixels are shared with later calls for the same picture; metadata is the caller's.
    pub fn scale(&mut self, picture: &Picture) -> Result<gst::Buffer, ScaleError> {
        let scaled = match &self.last {
            Some((serial, buffer)) if *serial == picture.serial => buffer.clone(),
            _ => {
                let out = &self.rung.out;
                let buffer = if fits_as_it_is(&picture.info, out) {
                    picture.buffer.clone()
                } else {
                    let (width, height) = (out.width(), out.height());
                    self.convert(picture).map_err(|source| ScaleError::new(width, height, source))?
                };
                self.last = Some((picture.serial, buffer.clone()));
                buffer
            }
        };
        Ok(share(&scaled))
    }

    fn convert(&mut self, picture: &Picture) -> Result<gst::Buffer, gst::glib::BoolError> {
        let Some(info) = half_of(&picture.info, &self.rung.out)? else {
            return self.rung.convert(&picture.buffer, &picture.info);
        };
        let mut half = match self.half.take().filter(|half| half.out == info) {
            Some(half) => half,
            None => Stage::new(info.clone(), &info.to_caps()?)?,
        };
        let buffer = half.convert(&picture.buffer, &picture.info)?;
        self.half = Some(half);
        self.rung.convert(&buffer, &info)
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // Goes back to its pool before that is closed.
        self.last = None;
    }
}

/// The layout of half the picture, where one step to `out` is too long.
fn half_of(
    from: &gst_video::VideoInfo,
    out: &gst_video::VideoInfo,
) -> Result<Option<gst_video::VideoInfo>, gst::glib::BoolError> {
    let (width, height) = (from.width(), from.height());
    if width < out.width() * HALVE_FROM || height < out.height() * HALVE_FROM {
        return Ok(None);
    }
    // Whole chroma samples on all sides.
    let (width, height) = (width / 4 * 2, height / 4 * 2);
    raw_info(from.format(), width, height, from.par(), &from.colorimetry()).map(Some)
}

/// One step: a converter, and the buffers its pictures lie in.
#[derive(Debug)]
struct Stage {
    out: gst_video::VideoInfo,
    pool: gst::BufferPool,
    converter: Option<(gst_video::VideoInfo, gst_video::VideoConverter)>,
}

impl Stage {
    fn new(out: gst_video::VideoInfo, caps: &gst::Caps) -> Result<Self, gst::glib::BoolError> {
        // Buffers are used again: fresh ones cost 4 % of all CPU in page faults.
        let pool: gst::BufferPool = gst_video::VideoBufferPool::new().upcast();
        let mut config = pool.config();
        config.set_params(Some(caps), u32::try_from(out.size()).unwrap_or(u32::MAX), 0, 0);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(Self { out, pool, converter: None })
    }

    fn convert(
        &mut self,
        picture: &gst::Buffer,
        info: &gst_video::VideoInfo,
    ) -> Result<gst::Buffer, gst::glib::BoolError> {
        if self.converter.as_ref().is_none_or(|(known, _)| known != info) {
            self.converter = Some((info.clone(), converter(info, &self.out)?));
        }
        let Some((_, converter)) = &self.converter else { unreachable!("made above") };
        let mut buffer = self.pool.acquire_buffer(None).map_err(|_| gst::glib::bool_error!("no buffer"))?;
        {
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(picture, info)?;
            let target = buffer.get_mut().expect("fresh from the pool");
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(target, &self.out)?;
            converter.frame_ref(&from, &mut to);
        }
        Ok(buffer)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A pool that will not stop frees its buffers when the last of them comes back.
        let _ = self.pool.set_active(false);
    }
}

fn fits_as_it_is(from: &gst_video::VideoInfo, out: &gst_video::VideoInfo) -> bool {
    from.format() == out.format()
        && (from.width(), from.height()) == (out.width(), out.height())
        && from.par() == out.par()
        && from.colorimetry() == out.colorimetry()
}

fn converter(
    from: &gst_video::VideoInfo,
    out: &gst_video::VideoInfo,
) -> Result<gst_video::VideoConverter, gst::glib::BoolError> {
    let mut config = gst_video::VideoConverterConfig::new();
    // Linear with taps by ratio is `videoscale method=4`: the cheapest that does not alias at 3:1 (44 dB to bicubic).
    config.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
    config.set_chroma_resampler_method(gst_video::VideoResamplerMethod::Linear);
    config.set_dither_method(gst_video::VideoDitherMethod::None);
    config.set_threads(1);
    let area = fit(from, out);
    config.set_dest_x(area.x);
    config.set_dest_y(area.y);
    config.set_dest_width(Some(area.width));
    config.set_dest_height(Some(area.height));
    config.set_fill_border(true);
    config.set_border_argb(0xff00_0000);
    gst_video::VideoConverter::new(from, out, Some(config))
}

/// Where a picture lies inside its rung, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
}

fn fit(from: &gst_video::VideoInfo, out: &gst_video::VideoInfo) -> Area {
    let par = from.par();
    fit_area(
        (
            u64::from(from.width()) * par.numer().max(1).unsigned_abs() as u64,
            u64::from(from.height()) * par.denom().max(1).unsigned_abs() as u64,
        ),
        (out.width(), out.height()),
    )
}

/// The largest centred area of the display shape `shape` (width : height), even on all sides so that chroma stays in place. A difference of 1 %
/// is stretched away: nobody sees it, and bars of a few lines look like a fault.
fn fit_area(shape: (u64, u64), (width, height): (u32, u32)) -> Area {
    let (w, h) = (u64::from(width), u64::from(height));
    // shape.0 / shape.1 against w / h, by cross-multiplication.
    let (wide, tall) = (shape.0 * h, shape.1 * w);
    let full = Area { x: 0, y: 0, width: width as i32, height: height as i32 };
    if wide.abs_diff(tall) * 100 <= wide.max(tall) {
        return full;
    }
    let even = |value: u64| ((value / 2).max(1) * 2) as i32;
    let centre = |outer: i32, inner: i32| (outer - inner) / 4 * 2;
    if wide > tall {
        let inner = even(w * shape.1 / shape.0.max(1)).min(full.height);
        Area { y: centre(full.height, inner), height: inner, ..full }
    } else {
        let inner = even(h * shape.0 / shape.1.max(1)).min(full.width);
        Area { x: centre(full.width, inner), width: inner, ..full }
    }
}

/// A buffer of its own metadata around shared pixels. The parent stays alive with it, or the pool would lose its buffer.
fn share(buffer: &gst::Buffer) -> gst::Buffer {
    let mut copy = buffer
        .copy_region(gst::BufferCopyFlags::MEMORY | gst::BufferCopyFlags::META, ..)
        .expect("the whole of a buffer can be shared");
    gst::ParentBufferMeta::add(copy.get_mut().expect("just made"), buffer);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_shape() {
        for (name, shape, out, want) in [
            ("the same", (1280, 720), (640, 360), (0, 0, 640, 360)),
            ("854 is 16:9 for all purposes", (1280, 720), (854, 480), (0, 0, 854, 480)),
            ("4:3 in 16:9", (720 * 16, 576 * 15), (640, 360), (80, 0, 480, 360)),
            ("16:9 PAL", (720 * 64, 576 * 45), (1280, 720), (0, 0, 1280, 720)),
            ("wide in 16:9", (1920, 800), (1280, 720), (0, 94, 1280, 532)),
            ("upright", (720, 1280), (640, 360), (218, 0, 202, 360)),
            ("a line", (4000, 2), (640, 360), (0, 178, 640, 2)),
        ] {
            let (x, y, width, height) = want;
            assert_eq!(fit_area(shape, out), Area { x, y, width, height }, "{name}");
        }
    }
}
