//! Which renditions can promise equal bytes.

use super::Channel;
use super::Ladder;
use super::document::{Document, Mark};
use crate::encode::ladder::{VideoEncoder, VideoRung};
use crate::encode::template::{BUILT_IN, Template};

impl Channel {
    /// Why a rendition of this channel may come out as other bytes from equal pictures; nothing where it cannot.
    pub fn doubts(&self, rung: &VideoRung) -> Vec<String> {
        doubts(self.template.as_deref(), rung)
    }
}

/// `template` has been checked.
fn doubts(template: Option<&str>, rung: &VideoRung) -> Vec<String> {
    let template = Template::parse(template.unwrap_or(BUILT_IN));
    template.map_or_else(|_| Vec::new(), |template| template.doubts(rung))
}

/// Notes every rung that cannot promise equal bytes as a mistake of the channel that wants them.
pub(super) fn check(document: &mut Document<'_>, ladder: &Mark<String>, read: &Ladder, template: Option<&str>) {
    for rung in &read.video {
        for doubt in doubts(template, rung) {
            let mend = match rung.encoder {
                VideoEncoder::X264 | VideoEncoder::X265 | VideoEncoder::Aom => {
                    "take the chain of pipelines/encode.toml, or write deterministic = false in the channel"
                }
                VideoEncoder::SvtAv1 => "write encoder = \"aom\", or deterministic = false in the channel",
                _ => "write encoder = \"x264\", or deterministic = false in the channel",
            };
            document.mistake(
                &ladder.span,
                format!("rendition `{}` cannot promise equal bytes: {doubt}", rung.id),
                mend,
            );
        }
    }
}
