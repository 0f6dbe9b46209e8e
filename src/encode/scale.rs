//! Any picture → a rung's picture: I420, the rung's size, square pixels, BT.709. A picture of another shape keeps it, between
//! black bars.
//!
//! A small rung is scaled from a larger rung's picture where that costs little of the quality ([`through`]): it reads fewer pixels. Which
//! rung comes from which follows from the ladder and the picture's size alone, so pixels are equal wherever they are made. Whichever rung's
//! thread needs a picture of such a size first makes it, for all of them.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::VideoFrameExt;

use self::resize::{Resizer, Site};
use super::ladder::VideoRung;
use crate::media::FrameRate;

mod resize;

/// Width and height, pixels.
type Size = (u32, u32);

/// A decoded picture, or the slate. Clones share the pixels, and what was scaled from them.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Tells pictures apart, so that a repeated one is scaled once.
    pub serial: u64,
    /// The pixels.
    pub buffer: gst::Buffer,
    /// Their layout, with the colours spelled out.
    pub info: gst_video::VideoInfo,
    /// Pictures of rungs that smaller rungs are scaled from, as far as they are made.
    made: Arc<Mutex<Vec<(Size, gst::Buffer)>>>,
}

impl Picture {
    /// A picture that nothing was scaled from yet.
    pub fn new(serial: u64, buffer: gst::Buffer, info: gst_video::VideoInfo) -> Self {
        Self { serial, buffer, info, made: Arc::default() }
    }

    /// What was made for this size, or is made now. Who needs it in the meantime waits.
    fn once(
        &self,
        size: Size,
        mut make: impl FnMut() -> Result<gst::Buffer, ScaleError>,
    ) -> Result<gst::Buffer, ScaleError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, buffer)) = made.iter().find(|(known, _)| *known == size) {
            return Ok(buffer.clone());
        }
        let buffer = make()?;
        made.push((size, buffer.clone()));
        Ok(buffer)
    }
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

/// A rung is scaled from one that is at least so many times as wide and as high, in tenths: two filters in a row soften more than
/// one, the more so the nearer the sizes. From 1080p by way of 720p, 768×432 comes to 48.3 dB to bicubic, where one step comes to 54.3; 44 are asked for.
const STEP_MIN_TENTHS: u32 = 16;

/// The sizes of rungs that `rung`'s pictures are scaled through in a ladder of these rungs, largest first.
fn through(ladder: &[VideoRung], rung: &VideoRung) -> Vec<Size> {
    let mut sizes = Vec::new();
    let mut to = (rung.width, rung.height);
    let step = |from: &VideoRung, to: Size| {
        let long = |from: u32, to: u32| u64::from(from) * 10 >= u64::from(to) * u64::from(STEP_MIN_TENTHS);
        // Of the same shape, or there would be bars around bars.
        let (wide, tall) = (u64::from(from.width) * u64::from(to.1), u64::from(from.height) * u64::from(to.0));
        long(from.width, to.0) && long(from.height, to.1) && wide.abs_diff(tall) * 100 <= wide.max(tall)
    };
    while let Some(from) = ladder.iter().filter(|from| step(from, to)).min_by_key(|from| (from.width, from.height)) {
        to = (from.width, from.height);
        sizes.insert(0, to);
    }
    sizes
}

/// Scales for one rung. It keeps no state that a picture could depend on.
#[derive(Debug)]
pub struct Scaler {
    /// Brings pictures of other formats and colours to ours, in their own size.
    plain: Option<Conversion>,
    /// To the rungs on the way, largest first, and to its own.
    steps: Vec<Step>,
    last: Option<(u64, gst::Buffer)>,
}

#[derive(Debug)]
struct Step {
    out: gst_video::VideoInfo,
    pool: Pool,
    /// For pictures of this layout.
    sizes: Option<(gst_video::VideoInfo, Sizes)>,
    /// Other rungs are scaled from it.
    shared: bool,
}

impl Scaler {
    /// For a rung of this size, from the picture as it is.
    pub fn new(rung: &VideoRung, rate: FrameRate) -> Result<Self, ScaleError> {
        Self::within(&[], rung, rate)
    }

    /// For a rung of this ladder.
    pub fn within(ladder: &[VideoRung], rung: &VideoRung, rate: FrameRate) -> Result<Self, ScaleError> {
        let own = (rung.width, rung.height);
        let mut steps = Vec::new();
        for (width, height) in through(ladder, rung).into_iter().chain([own]) {
            let caps = rung_caps(&VideoRung { width, height, ..rung.clone() }, rate);
            let out = raw_info(gst_video::VideoFormat::I420, width, height, gst::Fraction::new(1, 1), &bt709());
            let made = out.and_then(|out| Ok((Pool::new(&out, &caps)?, out)));
            let (pool, out) = made.map_err(|source| ScaleError::new(width, height, source))?;
            let at = (width, height);
            let takers =
                ladder.iter().filter(|rung| (rung.width, rung.height) == at || through(ladder, rung).contains(&at));
            let shared = takers.count() > 1;
            steps.push(Step { out, pool, sizes: None, shared });
        }
        Ok(Self { plain: None, steps, last: None })
    }

    /// The picture in the rung's shape. The pixels are shared with later calls for the same picture, and with other rungs;
    /// metadata is the caller's.
    pub fn scale(&mut self, picture: &Picture) -> Result<gst::Buffer, ScaleError> {
        let scaled = match &self.last {
            Some((serial, buffer)) if *serial == picture.serial => buffer.clone(),
            _ => {
                let buffer = self.make(picture)?;
                self.last = Some((picture.serial, buffer.clone()));
                buffer
            }
        };
        Ok(share(&scaled))
    }

    fn make(&mut self, picture: &Picture) -> Result<gst::Buffer, ScaleError> {
        let own = self.steps.len() - 1;
        let size = (picture.info.width(), picture.info.height());
        let failed = |(width, height): Size| move |source| ScaleError::new(width, height, source);
        let (mut buffer, mut info) = if is_plain(&picture.info) {
            (picture.buffer.clone(), picture.info.clone())
        } else {
            let conversion = match self.plain.take().filter(|conversion| conversion.from == picture.info) {
                Some(conversion) => conversion,
                None => Conversion::new(&picture.info).map_err(failed(size))?,
            };
            let conversion = self.plain.insert(conversion);
            // No step is made at the picture's own size, so this one has the place to itself.
            let buffer = picture.once(size, || conversion.convert(&picture.buffer).map_err(failed(size)))?;
            (buffer, conversion.out.clone())
        };
        for (i, step) in self.steps.iter_mut().enumerate() {
            let same_shape = fit(&picture.info, &step.out).is_all_of(&step.out);
            // A rung of the picture's own size, or above, is no step down.
            let is_down = step.out.width() < info.width() && step.out.height() < info.height();
            if i < own && !(same_shape && is_down) {
                continue;
            }
            if fits_as_it_is(&info, &step.out) {
                continue;
            }
            let (to, shared) = ((step.out.width(), step.out.height()), step.shared && same_shape && is_down);
            let mut make = || step.scale(&buffer, &info).map_err(failed(to));
            buffer = if shared { picture.once(to, make)? } else { make()? };
            info = step.out.clone();
        }
        Ok(buffer)
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // Goes back to its pool before that is closed.
        self.last = None;
    }
}

impl Step {
    fn scale(
        &mut self,
        picture: &gst::Buffer,
        info: &gst_video::VideoInfo,
    ) -> Result<gst::Buffer, gst::glib::BoolError> {
        if self.sizes.as_ref().is_none_or(|(known, _)| known != info) {
            self.sizes = Some((info.clone(), Sizes::new(info, &self.out)));
        }
        let Some((_, sizes)) = &mut self.sizes else { unreachable!("made above") };
        let mut buffer = self.pool.buffer()?;
        {
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(picture, info)?;
            let target = buffer.get_mut().expect("fresh from the pool");
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(target, &self.out)?;
            sizes.scale(&from, &mut to)?;
        }
        Ok(buffer)
    }
}

/// The two sizes of planes in a picture of 4:2:0.
#[derive(Debug)]
struct Sizes {
    luma: Resizer,
    chroma: Resizer,
    area: Area,
    bars: bool,
}

/// Black in limited range (ITU-R BT.709-6 §4): luma, chroma, chroma.
const BLACK: [u8; 3] = [16, 128, 128];

impl Sizes {
    fn new(from: &gst_video::VideoInfo, out: &gst_video::VideoInfo) -> Self {
        let area = fit(from, out);
        let size = |width: u32, height: u32| (width as usize, height as usize);
        let half = |width: u32, height: u32| size(width.div_ceil(2), height.div_ceil(2));
        let (width, height) = (area.width.unsigned_abs(), area.height.unsigned_abs());
        Self {
            luma: Resizer::new(size(from.width(), from.height()), size(width, height), Site::Centre),
            chroma: Resizer::new(half(from.width(), from.height()), half(width, height), Site::First),
            area,
            bars: !area.is_all_of(out),
        }
    }

    fn scale(
        &mut self,
        from: &gst_video::VideoFrameRef<&gst::BufferRef>,
        to: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<(), gst::glib::BoolError> {
        let (x, y) = (self.area.x.unsigned_abs() as usize, self.area.y.unsigned_abs() as usize);
        for (plane, black) in BLACK.into_iter().enumerate() {
            let (resizer, x, y) = if plane == 0 { (&mut self.luma, x, y) } else { (&mut self.chroma, x / 2, y / 2) };
            let no_plane = |_| gst::glib::bool_error!("no plane {plane}");
            let stride = |strides: &[i32]| strides[plane].unsigned_abs() as usize;
            let (from_stride, to_stride) = (stride(from.plane_stride()), stride(to.plane_stride()));
            let from = from.plane_data(plane as u32).map_err(no_plane)?;
            let to = to.plane_data_mut(plane as u32).map_err(no_plane)?;
            if self.bars {
                to.fill(black);
            }
            resizer.resize(from, from_stride, &mut to[y * to_stride + x..], to_stride);
        }
        Ok(())
    }
}

/// What the scaler takes as it is: eight bits, 4:2:0, and the colours of every rung. Transfer and primaries are names: they change no sample here.
fn is_plain(info: &gst_video::VideoInfo) -> bool {
    let (own, ours) = (info.colorimetry(), bt709());
    info.format() == gst_video::VideoFormat::I420 && own.matrix() == ours.matrix() && own.range() == ours.range()
}

fn fits_as_it_is(from: &gst_video::VideoInfo, out: &gst_video::VideoInfo) -> bool {
    (from.width(), from.height()) == (out.width(), out.height()) && fit(from, out).is_all_of(out)
}

/// Pictures of another format or of other colours, in their own size, by GStreamer's converter.
#[derive(Debug)]
struct Conversion {
    from: gst_video::VideoInfo,
    out: gst_video::VideoInfo,
    pool: Pool,
    converter: gst_video::VideoConverter,
}

impl Conversion {
    fn new(from: &gst_video::VideoInfo) -> Result<Self, gst::glib::BoolError> {
        let out = raw_info(gst_video::VideoFormat::I420, from.width(), from.height(), from.par(), &bt709())?;
        let mut config = gst_video::VideoConverterConfig::new();
        config.set_chroma_resampler_method(gst_video::VideoResamplerMethod::Linear);
        config.set_dither_method(gst_video::VideoDitherMethod::None);
        config.set_threads(1);
        let converter = gst_video::VideoConverter::new(from, &out, Some(config))?;
        Ok(Self { from: from.clone(), pool: Pool::new(&out, &out.to_caps()?)?, out, converter })
    }

    fn convert(&self, picture: &gst::Buffer) -> Result<gst::Buffer, gst::glib::BoolError> {
        let mut buffer = self.pool.buffer()?;
        {
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(picture, &self.from)?;
            let target = buffer.get_mut().expect("fresh from the pool");
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(target, &self.out)?;
            self.converter.frame_ref(&from, &mut to);
        }
        Ok(buffer)
    }
}

/// Buffers are used again: fresh ones cost 4 % of all CPU in page faults.
#[derive(Debug)]
struct Pool(gst::BufferPool);

impl Pool {
    fn new(info: &gst_video::VideoInfo, caps: &gst::Caps) -> Result<Self, gst::glib::BoolError> {
        let pool: gst::BufferPool = gst_video::VideoBufferPool::new().upcast();
        let mut config = pool.config();
        config.set_params(Some(caps), u32::try_from(info.size()).unwrap_or(u32::MAX), 0, 0);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(Self(pool))
    }

    fn buffer(&self) -> Result<gst::Buffer, gst::glib::BoolError> {
        self.0.acquire_buffer(None).map_err(|_| gst::glib::bool_error!("no buffer"))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A pool that will not stop frees its buffers when the last of them comes back.
        let _ = self.0.set_active(false);
    }
}

/// Where a picture lies inside its rung, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
}

impl Area {
    fn is_all_of(self, out: &gst_video::VideoInfo) -> bool {
        self == Self { x: 0, y: 0, width: out.width() as i32, height: out.height() as i32 }
    }
}

fn fit(from: &gst_video::VideoInfo, out: &gst_video::VideoInfo) -> Area {
    let part = |value: i32| u64::from(value.max(1).unsigned_abs());
    let (par, out_par) = (from.par(), out.par());
    fit_area(
        (
            u64::from(from.width()) * part(par.numer()) * part(out_par.denom()),
            u64::from(from.height()) * part(par.denom()) * part(out_par.numer()),
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
    use crate::encode::ladder::RateControl;
    use crate::media::RenditionId;

    #[test]
    fn small_rungs_are_scaled_from_larger_ones() {
        let rung = |(width, height): Size| {
            let rate = RateControl::CappedCrf { crf: 23.0, max_bitrate: 1_000_000 };
            VideoRung::new(RenditionId::new("v").expect("a name"), width, height, rate)
        };
        let sizes = [(1920, 1080), (1280, 720), (896, 504), (768, 432), (640, 360), (384, 216), (320, 240)];
        let ladder = sizes.map(rung);
        for (to, want) in [
            ((1920, 1080), &[][..]),
            ((1280, 720), &[]),
            ((896, 504), &[(1920, 1080)]),
            ((768, 432), &[(1280, 720)]),
            ((640, 360), &[(1280, 720)]),
            ((384, 216), &[(1280, 720), (640, 360)]),
            ((320, 240), &[]),
        ] {
            assert_eq!(through(&ladder, &rung(to)), want, "{to:?}");
        }
    }

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
