//! HLS playlists (RFC 8216bis, draft 22). Text only: window in, playlist out.

use std::fmt::Write;

use super::layout::{Kind, Layout};
use super::window::{Rendition, Window};
use crate::media::SegmentNumber;

/// The name of a segment below its rendition: the decode time of its first sample. HLS and DASH list the same name, so a
/// cache holds each object once. DASH needs the time in it: with `$Number$` a SegmentTimeline cannot leave a number out,
/// which is what a gap is, as players do not read `S@n`.
pub(super) fn segment_name(layout: &Layout, kind: Kind, n: SegmentNumber) -> String {
    format!("t{}.m4s", layout.start(kind, n))
}

/// The lines of one segment. They never change, so they are made once.
pub(super) fn segment_lines(layout: &Layout, kind: Kind, n: SegmentNumber, gap: bool) -> String {
    let mut out = String::new();
    // §4.4.4.6: on every segment, from the time of its first sample.
    let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date(layout.start_ms(kind, n)));
    if gap {
        // §4.4.4.7: the media is missing and clients should not ask for it.
        out.push_str("#EXT-X-GAP\n");
    }
    // Microseconds: exact for whole rates, and a rounding error that no client's sum will ever notice for the others.
    let _ = writeln!(out, "#EXTINF:{:.6},", layout.seconds(kind, n));
    let _ = writeln!(out, "{}", segment_name(layout, kind, n));
    out
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn date(ms_since_epoch: i64) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms_since_epoch) * 1_000_000)
        .ok()
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned())
}

/// The media playlist of rendition `r`; `init` is the name of its header.
pub(super) fn media(layout: &Layout, window: &Window, r: usize, init: &str) -> String {
    let listed = window.listed();
    let first = listed.clone().next().map_or(0, |e| e.number.0);
    let mut out = String::with_capacity(200 + listed.len() * 100);
    out.push_str("#EXTM3U\n");
    // §8: 6 for EXT-X-MAP outside I-frame playlists; nothing in it needs more.
    out.push_str("#EXT-X-VERSION:6\n");
    let _ = writeln!(out, "#EXT-X-TARGETDURATION:{}", layout.target_duration());
    // The number on the epoch grid: it goes on as if nothing had happened whatever restarts. The discontinuity sequence
    // stays 0, for there never is one, so its tag is left out (§4.4.3.3).
    let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{first}");
    out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    let _ = writeln!(out, "#EXT-X-MAP:URI=\"{init}\"");
    for entry in listed {
        out.push_str(entry.lines.get(r).map_or("", String::as_str));
    }
    out
}

/// What the multivariant playlist says about one rendition besides what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub declared: u64,
    pub average: u64,
}

/// The multivariant playlist.
pub(super) fn multivariant(layout: &Layout, renditions: &[Rendition], rates: &[Rates], language: &str) -> String {
    let mut out = String::from("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    let of = |kind| renditions.iter().zip(rates).filter(move |(r, _)| r.kind == kind);
    for (i, (r, _)) in of(Kind::Audio).enumerate() {
        let default = if i == 0 { "YES" } else { "NO" };
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"{id}\",LANGUAGE=\"{language}\",DEFAULT={default},\
             AUTOSELECT=YES,CHANNELS=\"{channels}\",URI=\"{id}/index.m3u8\"",
            id = r.id,
            channels = r.channels,
        );
    }
    // §4.4.6.2: bandwidth is that of the variant with the heaviest rendition of its group.
    let sound = of(Kind::Audio).fold(Rates { declared: 0, average: 0 }, |most, (_, rates)| Rates {
        declared: most.declared.max(rates.declared),
        average: most.average.max(rates.average),
    });
    let sound_codec = of(Kind::Audio).map(|(r, _)| format!(",{}", r.codec)).next().unwrap_or_default();
    let group = if sound_codec.is_empty() { "" } else { ",AUDIO=\"audio\"" };
    for (r, rates) in of(Kind::Video) {
        let (width, height) = r.size.unwrap_or_default();
        let _ = writeln!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}{sound_codec}\",\
             RESOLUTION={width}x{height},FRAME-RATE={:.3}{group}\n{}/index.m3u8",
            rates.declared + sound.declared,
            rates.average + sound.average,
            r.codec,
            layout.grid().rate().as_f64(),
            r.id,
        );
    }
    out
}
