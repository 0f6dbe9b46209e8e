//! HLS playlists (RFC 8216bis, draft 22). Text only: window in, playlist out.

use std::fmt::Write;

use super::catalogue::{self, Catalogue, Picture, Rendition};
use super::edge::Published;
use super::layout::{Kind, Layout};
use super::names::{date, part_name, segment_name};
use super::rope::Rope;
use super::shift::Ending;
use super::snapshot::Open;
use super::window::{Listed, Window};
use crate::config::StartAt;
use crate::media::{RenditionId, SegmentNumber};

/// The media type of playlists (RFC 8216 §10).
pub(super) const TYPE: &str = "application/vnd.apple.mpegurl";

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

/// The lines of the parts of one segment that are published.
pub(super) fn part_lines(layout: &Layout, kind: Kind, n: SegmentNumber, parts: &[Published]) -> String {
    let mut out = String::new();
    for (k, (seconds, part)) in layout.part_seconds(kind, n).into_iter().zip(parts).enumerate() {
        let name = part_name(layout, kind, n, k);
        let _ = write!(out, "#EXT-X-PART:DURATION={seconds:.5},URI=\"{name}\"");
        // §4.4.4.9.
        out.push_str(if part.independent { ",INDEPENDENT=YES\n" } else { "\n" });
    }
    out
}

/// The same of a segment that is over; none where some of its parts are missing, although those that are there can still be fetched. Parts with GAP=YES in
/// place of the missing ones would do as well, but hls.js 1.7.4 stands still for good when it comes to one behind a part that it is just loading
/// (docs/low-latency.md).
pub(super) fn parts_of_whole(layout: &Layout, kind: Kind, n: SegmentNumber, parts: &[Published]) -> String {
    let is_whole = parts.len() == layout.parts(kind, n).len();
    if is_whole { part_lines(layout, kind, n, parts) } else { String::new() }
}

/// What a media playlist is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Media<'a> {
    /// The rendition's place, what it is, and the name of its header.
    pub rendition: usize,
    pub kind: Kind,
    pub init: &'a str,
    /// The live edge of low latency; none where there are no parts.
    pub low: Option<&'a Low<'a>>,
}

/// What all playlists of a channel with parts have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Low<'a> {
    pub open: &'a Open,
    /// Names of all renditions that have parts.
    pub renditions: &'a [(RenditionId, Kind)],
}

/// RFC 8216bis §4.4.3.8: how far from the end segments may be skipped, in target durations; the least that is allowed.
const SKIP_UNTIL: u64 = 6;
/// §6.2.2: parts are listed for so many target durations behind the live edge; more would only cost bytes.
const PARTS_FOR: u64 = 3;

/// A media playlist.
pub(super) fn media(rope: &mut Rope<'_>, layout: &Layout, window: &Window, of: Media<'_>) {
    playlist(rope, layout, &window.listed(), of, 0, Ending::Grows);
}

/// A media playlist of a part of the window.
pub(super) fn part(rope: &mut Rope<'_>, layout: &Layout, listed: &Listed<'_>, of: Media<'_>, ending: Ending) {
    playlist(rope, layout, listed, of, 0, ending);
}

/// The same without what a client has that saw the playlist a moment ago; false, and nothing written, where that would leave nothing
/// out.
pub(super) fn delta(rope: &mut Rope<'_>, layout: &Layout, window: &Window, of: Media<'_>) -> bool {
    let (whole, listed) = (segments_within(layout, SKIP_UNTIL), window.listed());
    let skipped = listed.len().saturating_sub(whole);
    if skipped > 0 {
        playlist(rope, layout, &listed, of, skipped, Ending::Grows);
    }
    skipped > 0
}

/// Segments it takes to last for so many target durations.
fn segments_within(layout: &Layout, targets: u64) -> usize {
    let seconds = (targets * layout.target_duration()) as f64;
    (seconds / layout.grid().segment().as_secs_f64()).ceil() as usize
}

/// A playlist without its first `skipped` segments. If it skips any, it skips all that are in blocks.
fn playlist(rope: &mut Rope<'_>, layout: &Layout, listed: &Listed<'_>, of: Media<'_>, skipped: usize, ending: Ending) {
    let (r, low) = (of.rendition, of.low);
    head(rope.text(), layout, of, listed.first(), skipped, ending);
    if skipped == 0 {
        rope.text().push_str(listed.front_lines(r));
        rope.sealed(listed.lines(r));
        rope.text().push_str(listed.back_lines(r));
    }
    let outside = listed.tail.len();
    let skip = (skipped + outside).saturating_sub(listed.len());
    let old = outside.saturating_sub(segments_within(layout, PARTS_FOR));
    let out = rope.text();
    for (i, entry) in listed.tail.iter().enumerate().skip(skip) {
        let lines = entry.lines.get(r).map_or("", String::as_str);
        // Parts stand behind the date of their segment and in front of everything else that is said of it.
        let (date, rest) = lines.split_at(lines.find('\n').map_or(0, |at| at + 1));
        out.push_str(date);
        if low.is_some() && i >= old {
            out.push_str(entry.part_lines.get(r).map_or("", String::as_str));
        }
        out.push_str(rest);
    }
    if let Some(low) = low.filter(|_| of.kind != Kind::Trick) {
        edge(out, layout, of, low);
    }
    out.push_str(ending.end_tag());
}

impl Ending {
    /// §4.4.3.5: of what stays as it is.
    pub fn type_tag(self) -> &'static str {
        if self == Self::Fixed { "#EXT-X-PLAYLIST-TYPE:VOD\n" } else { "" }
    }

    /// §4.4.3.4.
    pub fn end_tag(self) -> &'static str {
        if self == Self::Grows { "" } else { "#EXT-X-ENDLIST\n" }
    }
}

fn head(
    out: &mut String,
    layout: &Layout,
    of: Media<'_>,
    first: Option<SegmentNumber>,
    skipped: usize,
    ending: Ending,
) {
    let Media { kind, init, low, .. } = of;
    out.push_str("#EXTM3U\n");
    // §8: 9 for EXT-X-SKIP, 6 for EXT-X-MAP, 5 in I-frame playlists; nothing in them needs more.
    let version = match kind {
        _ if skipped > 0 => 9,
        Kind::Trick => 5,
        Kind::Video | Kind::Audio => 6,
    };
    let target = layout.target_duration();
    let _ = writeln!(out, "#EXT-X-VERSION:{version}");
    let _ = writeln!(out, "#EXT-X-TARGETDURATION:{target}");
    out.push_str(ending.type_tag());
    if low.is_some() {
        let part = layout.part_target();
        // §4.4.3.8: three parts, for two leave no room for a slow request.
        let _ = writeln!(
            out,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,HOLD-BACK={}.0,PART-HOLD-BACK={:.5}",
            SKIP_UNTIL * target,
            3 * target,
            3.0 * part,
        );
        if kind != Kind::Trick {
            let _ = writeln!(out, "#EXT-X-PART-INF:PART-TARGET={part:.5}");
        }
    }
    // The number on the epoch grid: it goes on as if nothing had happened whatever restarts. The discontinuity sequence
    // stays 0, for there never is one, so its tag is left out (§4.4.3.3).
    let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", first.map_or(0, |n| n.0));
    if kind == Kind::Trick {
        // §4.4.3.6: each segment is one I-frame, and lasts until the next one.
        out.push_str("#EXT-X-I-FRAMES-ONLY\n");
    }
    out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    if skipped > 0 {
        // §4.4.5.2. The header is among what is left out: the client knows it.
        let _ = writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
    } else {
        let _ = writeln!(out, "#EXT-X-MAP:URI=\"{init}\"");
    }
}

/// What stands behind the last whole segment.
fn edge(out: &mut String, layout: &Layout, of: Media<'_>, low: &Low<'_>) {
    let (r, kind, open) = (of.rendition, of.kind, low.open);
    let parts = open.tracks.get(r).map_or(&[][..], |track| &track.parts);
    if !parts.is_empty() {
        let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date(layout.start_ms(kind, open.number)));
        out.push_str(&part_lines(layout, kind, open.number, parts));
    }
    // §4.4.5.3: what comes next may be asked for now.
    let (n, k) = if open.rows == open.total { (open.number.next(), 0) } else { (open.number, open.rows) };
    let _ = writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"", part_name(layout, kind, n, k));
    // §4.4.5.4: rows are published in all renditions at once.
    let (last, part) = match open.rows.checked_sub(1) {
        Some(part) => (open.number.0, part),
        None => {
            let before = open.number.0.saturating_sub(1);
            (before, layout.rows(SegmentNumber(before)) - 1)
        }
    };
    for (_, (id, _)) in
        low.renditions.iter().enumerate().filter(|(other, (_, kind))| *other != r && *kind != Kind::Trick)
    {
        let _ = writeln!(out, "#EXT-X-RENDITION-REPORT:URI=\"../{id}/index.m3u8\",LAST-MSN={last},LAST-PART={part}");
    }
}

/// How a multivariant playlist names media playlists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links<'a> {
    /// In front of the rendition.
    pub base: &'a str,
    /// Behind it.
    pub name: &'a str,
    /// Behind that: nothing, or a query with its question mark.
    pub query: &'a str,
}

/// §4.4.2.2. In the multivariant playlist alone, which is valid for all it leads to (§4.4.2).
pub(super) fn start_tag(start: Option<StartAt>) -> String {
    let Some(StartAt { offset_ms, precise }) = start else { return String::new() };
    let (sign, ms) = (if offset_ms < 0 { "-" } else { "" }, offset_ms.unsigned_abs());
    let precise = if precise { ",PRECISE=YES" } else { "" };
    format!("#EXT-X-START:TIME-OFFSET={sign}{}.{:03}{precise}\n", ms / 1000, ms % 1000)
}

/// The multivariant playlist; `averages` are bit rates by rendition.
pub(super) fn multivariant(
    layout: &Layout,
    catalogue: &Catalogue,
    averages: &[u64],
    links: Links<'_>,
    start: Option<StartAt>,
) -> String {
    let Links { base, name, query } = links;
    let all = &catalogue.renditions;
    let mut out = String::from("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    out.push_str(&start_tag(start));
    let groups = catalogue.sound_groups();
    let pictures = catalogue.formats().next().is_some();
    // Sound alone in one language needs no groups: each encoding is a variant.
    let grouped = pictures || groups.first().is_some_and(|members| members.len() > 1);
    let name_of = |k: usize| if groups.len() == 1 { "audio".to_owned() } else { format!("audio-{}", k + 1) };
    for (k, members) in groups.iter().enumerate().filter(|_| grouped) {
        for (i, &r) in members.iter().enumerate() {
            sound(&mut out, &all[r], &name_of(k), i == 0, links);
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
                     RESOLUTION={width}x{height},FRAME-RATE={:.3}{group}\n{base}{}/{name}{query}",
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
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"{}\n{base}{}/{name}{query}",
            most(members, &declared),
            most(members, &average),
            all[r].codec,
            audio(k),
            all[r].id,
        );
    }
    for (r, rendition) in all.iter().enumerate() {
        let catalogue::Media::Trick(Picture { size: (width, height), .. }) = rendition.media else { continue };
        let _ = writeln!(
            out,
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\",RESOLUTION={width}x{height},\
             URI=\"{base}{}/{name}{query}\"",
            declared(r),
            average(r),
            rendition.codec,
            rendition.id,
        );
    }
    out
}

/// One rendition of sound in a group.
fn sound(out: &mut String, rendition: &Rendition, group: &str, default: bool, links: Links<'_>) {
    let catalogue::Media::Audio { language, channels } = &rendition.media else { return };
    // A name for the viewer; the same in every group, as it is the same member of each.
    let name = language.name.unwrap_or(if language.tag == "und" { "Audio" } else { &language.tag });
    let _ = writeln!(
        out,
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\",LANGUAGE=\"{}\",DEFAULT={},AUTOSELECT=YES,\
         CHANNELS=\"{channels}\",URI=\"{}{}/{}{}\"",
        language.tag,
        if default { "YES" } else { "NO" },
        links.base,
        rendition.id,
        links.name,
        links.query,
    );
}
