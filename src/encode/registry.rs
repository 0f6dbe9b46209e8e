//! Which GStreamer element encodes a rung on this host.
//!
//! In:    what the ladder asks for, and which elements work here.
//! Out:   one element; or what is missing and which package brings it.
//! Never: chooses by load, by luck, or differently for the same answers.

use gstreamer as gst;
use gstreamer::prelude::*;
use serde::{Deserialize, Serialize};

use super::ladder::VideoEncoder;

/// An element that encodes video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// x264.
    X264enc,
    /// x265.
    X265enc,
    /// libaom.
    Av1enc,
    /// SVT-AV1.
    SvtAv1enc,
    /// NVENC.
    Nvh264enc,
    /// Quick Sync.
    Qsvh264enc,
    /// VA-API, the newer plugin.
    Vah264enc,
    /// VA-API, the older plugin.
    Vaapih264enc,
    /// A V4L2 memory-to-memory device.
    V4l2h264enc,
}

/// No element for what a ladder asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no encoder for `{asked}`: element {elements} is not there or does not start; install {package}")]
pub struct Missing {
    /// What the ladder says.
    pub asked: &'static str,
    /// The elements that would do.
    pub elements: String,
    /// Debian's package that brings them.
    pub package: &'static str,
}

impl Element {
    /// GStreamer's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X264enc => "x264enc",
            Self::X265enc => "x265enc",
            Self::Av1enc => "av1enc",
            Self::SvtAv1enc => "svtav1enc",
            Self::Nvh264enc => "nvh264enc",
            Self::Qsvh264enc => "qsvh264enc",
            Self::Vah264enc => "vah264enc",
            Self::Vaapih264enc => "vaapih264enc",
            Self::V4l2h264enc => "v4l2h264enc",
        }
    }

    /// The library that does its work, as a part of a file's name; empty where its bytes do not come from one.
    pub(super) const fn library(self) -> &'static str {
        match self {
            Self::X264enc => "libx264.so",
            Self::X265enc => "libx265.so",
            Self::Av1enc => "libaom.so",
            Self::SvtAv1enc => "libSvtAv1Enc.so",
            _ => "",
        }
    }
}

/// What a ladder's word can become, best first. `auto` asks for the most capable silicon first and ends with x264, which works everywhere.
pub const fn candidates(encoder: VideoEncoder) -> &'static [Element] {
    match encoder {
        VideoEncoder::X264 => &[Element::X264enc],
        VideoEncoder::X265 => &[Element::X265enc],
        VideoEncoder::Aom => &[Element::Av1enc],
        VideoEncoder::SvtAv1 => &[Element::SvtAv1enc],
        VideoEncoder::Nvenc => &[Element::Nvh264enc],
        VideoEncoder::Qsv => &[Element::Qsvh264enc],
        VideoEncoder::Vaapi => &[Element::Vah264enc, Element::Vaapih264enc],
        VideoEncoder::V4l2 => &[Element::V4l2h264enc],
        VideoEncoder::Auto => &[
            Element::Nvh264enc,
            Element::Qsvh264enc,
            Element::Vah264enc,
            Element::Vaapih264enc,
            Element::V4l2h264enc,
            Element::X264enc,
        ],
    }
}

/// The first candidate that works here.
pub fn choose(encoder: VideoEncoder, works: impl Fn(Element) -> bool) -> Result<Element, Missing> {
    let candidates = candidates(encoder);
    candidates.iter().copied().find(|element| works(*element)).ok_or_else(|| Missing {
        asked: encoder.as_str(),
        elements: candidates.iter().map(|e| e.as_str()).collect::<Vec<_>>().join(" or "),
        package: package(encoder),
    })
}

const fn package(encoder: VideoEncoder) -> &'static str {
    match encoder {
        VideoEncoder::X264 | VideoEncoder::Auto => "gstreamer1.0-plugins-ugly",
        VideoEncoder::SvtAv1 => "gstreamer1.0-plugins-bad, 1.24 or later (until then, encoder = \"aom\")",
        VideoEncoder::X265 | VideoEncoder::Aom => "gstreamer1.0-plugins-bad",
        VideoEncoder::Nvenc => "gstreamer1.0-plugins-bad and NVIDIA's driver with libnvidia-encode",
        VideoEncoder::Qsv => "gstreamer1.0-plugins-bad and intel-media-va-driver-non-free",
        VideoEncoder::Vaapi => "gstreamer1.0-plugins-bad (or gstreamer1.0-vaapi) and the VA-API driver of your GPU",
        VideoEncoder::V4l2 => "gstreamer1.0-plugins-good, and use a kernel whose driver encodes",
    }
}

/// Whether GStreamer has the element and can open what it stands on: hardware that is not there shows at READY.
pub fn works_here(element: Element) -> bool {
    let Ok(element) = gst::ElementFactory::make(element.as_str()).build() else { return false };
    let ready = element.set_state(gst::State::Ready).is_ok();
    // It was opened to see whether it opens; nothing hangs on its closing.
    let _ = element.set_state(gst::State::Null);
    ready
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_works_is_taken() {
        use Element::{Nvh264enc, Qsvh264enc, V4l2h264enc, Vaapih264enc, Vah264enc, X264enc};
        for (name, encoder, here, want) in [
            ("a bare host", VideoEncoder::Auto, vec![X264enc], Some(X264enc)),
            ("a GPU", VideoEncoder::Auto, vec![X264enc, Nvh264enc], Some(Nvh264enc)),
            ("two kinds", VideoEncoder::Auto, vec![V4l2h264enc, Qsvh264enc, X264enc], Some(Qsvh264enc)),
            ("both plugins", VideoEncoder::Auto, vec![Vaapih264enc, Vah264enc], Some(Vah264enc)),
            ("a board", VideoEncoder::Auto, vec![V4l2h264enc], Some(V4l2h264enc)),
            ("the older plugin", VideoEncoder::Vaapi, vec![Vaapih264enc, X264enc], Some(Vaapih264enc)),
            ("never anything else than was asked for", VideoEncoder::Nvenc, vec![X264enc, Vah264enc], None),
            ("software although there is hardware", VideoEncoder::X264, vec![X264enc, Nvh264enc], Some(X264enc)),
            ("nothing at all", VideoEncoder::Auto, vec![], None),
        ] {
            assert_eq!(choose(encoder, |element| here.contains(&element)).ok(), want, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let text = choose(VideoEncoder::Vaapi, |_| false).expect_err("nothing is there").to_string();
        for part in ["`vaapi`", "vah264enc or vaapih264enc", "install gstreamer1.0-plugins-bad"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn this_host_is_asked_itself() {
        gst::init().expect("GStreamer is installed");
        assert!(works_here(Element::X264enc));
        // Names are those that GStreamer's documentation has; one that is spelled wrong would never work.
        for element in candidates(VideoEncoder::Auto) {
            assert_eq!(serde_json::json!(element), element.as_str());
        }
    }
}
