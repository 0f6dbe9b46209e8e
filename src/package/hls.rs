//! HLS playlists (RFC 8216bis, draft 22). Text only: window in, playlist out.

use std::fmt::Write;

use super::catalogue::{Catalogue, Media, Picture, Rendition};
use super::layout::{Kind, Layout};
use super::names::{date, segment_name};
use super::window::Window;
use crate::media::SegmentNumber;

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

/// The media playlist of rendition `r`, which is of this kind; `init` is the name of its header.
pub(super) fn media(layout: &Layout, window: &Window, r: usize, kind: Kind, init: &str) -> String {
    let listed = window.listed();
    let first = listed.clone().next().map_or(0, |e| e.number.0);
    let mut out = String::with_capacity(200 + listed.len() * 100);
    out.push_str("#EXTM3U\n");
    // §8: 6 for EXT-X-MAP, 5 in I-frame playlists; nothing in them needs more.
    let version = if kind == Kind::Trick { 5 } else { 6 };
    let _ = writeln!(out, "#EXT-X-VERSION:{version}");
    let _ = writeln!(out, "#EXT-X-TARGETDURATION:{}", layout.target_duration());
    // The number on the epoch grid: it goes on as if nothing had happened whatever restarts. The discontinuity sequence
    // stays 0, for there never is one, so its tag is left out (§4.4.3.3).
    let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{first}");
    if kind == Kind::Trick {
        // §4.4.3.6: each segment is one I-frame, and lasts until the next one.
        out.push_str("#EXT-X-I-FRAMES-ONLY\n");
    }
    out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    let _ = writeln!(out, "#EXT-X-MAP:URI=\"{init}\"");
    for entry in listed {
        out.push_str(entry.lines.get(r).map_or("", String::as_str));
    }
    out
}

/// The multivariant playlist; `averages` are bit rates by rendition.
pub(super) fn multivariant(layout: &Layout, catalogue: &Catalogue, averages: &[u64]) -> String {
    let all = &catalogue.renditions;
    let mut out = String::from("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    let groups = catalogue.sound_groups();
    let pictures = catalogue.formats().next().is_some();
    // Sound alone in one language needs no groups: each encoding is a variant.
    let grouped = pictures || groups.first().is_some_and(|members| members.len() > 1);
    let name_of = |k: usize| if groups.len() == 1 { "audio".to_owned() } else { format!("audio-{}", k + 1) };
    for (k, members) in groups.iter().enumerate().filter(|_| grouped) {
        for (i, &r) in members.iter().enumerate() {
            sound(&mut out, &all[r], &name_of(k), i == 0);
        }
    }
    let audio = |k: usize| if grouped { format!(",AUDIO=\"{}\"", name_of(k)) } else { String::new() };
    // §4.4.6.2: the bandwidth is that of the variant with the heaviest rendition of its group.
    let most = |members: &[usize], rate: &dyn Fn(usize) -> u64| members.iter().map(|&r| rate(r)).max().unwrap_or(0);
    let declared = |r: usize| all[r].bandwidth.declared();
    let average = |r: usize| averages[r].min(declared(r));
    // H.264 first, for players that begin with the first variant; and all of a format together, for none should go from
    // one to another without being asked.
    for format in catalogue.formats() {
        for k in 0..groups.len().max(1) {
            let members = groups.get(k).map_or(&[][..], Vec::as_slice);
            let (sound_codec, group) = match members.first() {
                Some(&r) => (format!(",{}", all[r].codec), audio(k)),
                None => Default::default(),
            };
            for (r, rendition) in catalogue.pictures(format) {
                let (width, height) = rendition.size().unwrap_or_default();
                let _ = writeln!(
                    out,
                    "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}{sound_codec}\",\
                     RESOLUTION={width}x{height},FRAME-RATE={:.3}{group}\n{}/index.m3u8",
                    declared(r) + most(members, &declared),
                    average(r) + most(members, &average),
                    rendition.codec,
                    layout.grid().rate().as_f64(),
                    rendition.id,
                );
            }
        }
    }
    for (k, members) in groups.iter().enumerate().filter(|_| !pictures) {
        let Some(&r) = members.first() else { continue };
        let _ = writeln!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"{}\n{}/index.m3u8",
            most(members, &declared),
            most(members, &average),
            all[r].codec,
            audio(k),
            all[r].id,
        );
    }
    for (r, rendition) in all.iter().enumerate() {
        let Media::Trick(Picture { size: (width, height), .. }) = rendition.media else { continue };
        let _ = writeln!(
            out,
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\",RESOLUTION={width}x{height},\
             URI=\"{}/index.m3u8\"",
            declared(r),
            average(r),
            rendition.codec,
            rendition.id,
        );
    }
    out
}

/// One rendition of sound in a group.
fn sound(out: &mut String, rendition: &Rendition, group: &str, default: bool) {
    let Media::Audio { language, channels } = &rendition.media else { return };
    // A name for the viewer; the same in every group, as it is the same member of each.
    let name = language.name.unwrap_or(if language.tag == "und" { "Audio" } else { &language.tag });
    let _ = writeln!(
        out,
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\",LANGUAGE=\"{}\",DEFAULT={},AUTOSELECT=YES,\
         CHANNELS=\"{channels}\",URI=\"{}/index.m3u8\"",
        language.tag,
        if default { "YES" } else { "NO" },
        rendition.id,
    );
}
