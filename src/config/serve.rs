//! In which forms a channel goes out.

use std::time::Duration;

use super::document::{Document, Mark};
use super::file::{ChannelFile, FormatFile};
use super::units::excerpt;
use super::{Filter, Ladder, Serve, StartAt, View};

/// The shortest part that is worth a request: some frames of sound, so that no part is without.
const PART_MIN: Duration = Duration::from_millis(100);

/// Checks `serve`; `low_latency` and `part` are what the channel says elsewhere.
pub(super) fn serve(document: &mut Document<'_>, file: &ChannelFile, low_latency: bool, part: Duration) -> Serve {
    let dash_patch = file.dash_patch.as_ref().is_some_and(|key| key.value);
    let Some(Mark { span, value: formats }) = &file.serve else {
        let low = low_latency && part >= PART_MIN;
        return Serve {
            hls: true,
            low_latency_hls: low,
            dash: true,
            dash_patch,
            low_latency_dash: low,
            ..Serve::default()
        };
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
        dash_patch,
        low_latency_dash: has(FormatFile::LlDash),
        start: None,
    };
    if let Some(key) = file.dash_patch.as_ref().filter(|key| key.value && !serve.dash) {
        document.mistake(&key.span, "there is no manifest.mpd to patch", "add \"dash\" to serve, or remove it");
    }
    if serve.has_parts() && part < PART_MIN {
        let wrong = format!("parts of {} ms would be requests without end", part.as_millis());
        document.mistake(span, wrong, "write part = \"100ms\" or more, or take ll-hls and ll-dash out");
    }
    serve
}

/// How much is listed, and in which steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub window: Duration,
    pub segment: Duration,
}

/// Checks where players should begin: `start_offset` and `start_precise`.
pub(super) fn start(document: &mut Document<'_>, file: &ChannelFile, room: Room) -> Option<StartAt> {
    let precise = file.start_precise.as_ref();
    let Some(offset) = &file.start_offset else {
        if let Some(precise) = precise {
            document.mistake(&precise.span, "means nothing without start_offset", "add start_offset, or remove it");
        }
        return None;
    };
    let mut view = View::default();
    if let Err(expected) = view.set(Filter::StartOffset, &offset.value) {
        let wrong = format!("`{}` cannot be read", excerpt(&offset.value));
        document.mistake(&offset.span, wrong, expected.trim_end());
    }
    let start = StartAt { precise: precise.is_some_and(|precise| precise.value), ..view.start()? };
    start_fits(document, offset, start, room);
    Some(start)
}

/// Checks that players can begin there.
pub(super) fn start_fits(document: &mut Document<'_>, key: &Mark<String>, start: StartAt, room: Room) {
    if !start.fits(room.window, room.segment) {
        let wrong = "does not lie in the window, three segments or more in front of the live edge";
        let mend = format!("write \"-{}s\" or more, within the window", (room.segment * 3).as_secs_f64());
        document.mistake(&key.span, wrong, mend);
    }
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
