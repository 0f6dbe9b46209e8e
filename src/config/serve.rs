//! In which forms a channel goes out.

use std::time::Duration;

use super::document::{Document, Mark};
use super::file::FormatFile;
use super::{Ladder, Serve};

/// The shortest part that is worth a request: some frames of sound, so that no part is without.
const PART_MIN: Duration = Duration::from_millis(100);

/// Checks `serve`; `low_latency` and `part` are what the channel says elsewhere.
pub(super) fn serve(
    document: &mut Document<'_>,
    file: Option<&Mark<Vec<FormatFile>>>,
    low_latency: bool,
    part: Duration,
) -> Serve {
    let Some(Mark { span, value: formats }) = file else {
        let low = low_latency && part >= PART_MIN;
        return Serve { hls: true, low_latency_hls: low, hls_ts: false, dash: true, low_latency_dash: low };
    };
    if formats.is_empty() {
        document.mistake(span, "nobody is served", "name a format, or leave the key out for HLS and DASH");
    }
    let has = |format| formats.contains(&format);
    let serve = Serve {
        hls: has(FormatFile::Hls) || has(FormatFile::LlHls),
        low_latency_hls: has(FormatFile::LlHls),
        hls_ts: has(FormatFile::HlsTs),
        dash: has(FormatFile::Dash),
        low_latency_dash: has(FormatFile::LlDash),
    };
    if serve.has_parts() && part < PART_MIN {
        let wrong = format!("parts of {} ms would be requests without end", part.as_millis());
        document.mistake(span, wrong, "write part = \"100ms\" or more, or take ll-hls and ll-dash out");
    }
    serve
}

/// The folder of transport streams, as no rendition can be called.
pub(super) const TRANSPORT: &str = "ts";

/// Checks that no rendition has a name that means something else in a URL.
pub(super) fn names(document: &mut Document<'_>, file: Option<&Mark<Vec<FormatFile>>>, serve: Serve, ladder: &Ladder) {
    let mut all = ladder.video.iter().map(|rung| &rung.id).chain(ladder.audio.iter().map(|rung| &rung.id));
    if let Some(key) = file.filter(|_| serve.hls_ts && all.any(|id| id.as_str() == TRANSPORT)) {
        let wrong =
            format!("the ladder has a rendition `{TRANSPORT}`, and so is the folder of transport streams called");
        document.mistake(&key.span, wrong, "give the rendition another name, or take hls-ts out");
    }
}
