//! HLS playlists of transport stream segments (RFC 8216), for players that know no CMAF. Text only: window and renditions
//! in, playlist out.
//!
//! Their segments are those of the other playlists, with the same numbers, dates and gaps. A rendition of pictures has the
//! default language's sound in it; all other sound, and the sound alone, are renditions without pictures.

use std::fmt::Write;

use super::catalogue::{Catalogue, Media};
use super::hls::{Links, start_tag};
use super::layout::{Kind, Layout};
use super::names::date;
use super::rope::Rope;
use super::shift::Ending;
use super::transport::{FRAMES_PER_PES, carries, tables};
use super::window::Listed;
use crate::config::StartAt;
use crate::media::{AUDIO_FRAME_SAMPLES, AUDIO_RATE, SegmentNumber};

/// Which renditions of CMAF a rendition of transport stream is made of, by their places in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub pictures: Option<usize>,
    pub sound: Option<usize>,
}

/// What rendition `r` is made of as a transport stream; `None`: there is none of it (AV1, trick play).
pub(super) fn parts(catalogue: &Catalogue, r: usize) -> Option<Parts> {
    match catalogue.renditions.get(r)?.media {
        Media::Video(picture) if carries(picture.format) => {
            Some(Parts { pictures: Some(r), sound: default_sound(catalogue) })
        }
        Media::Audio { .. } => Some(Parts { pictures: None, sound: Some(r) }),
        Media::Video(_) | Media::Trick(_) => None,
    }
}

/// The sound that goes with pictures: the default language's, with the fewest channels.
pub(super) fn default_sound(catalogue: &Catalogue) -> Option<usize> {
    catalogue.sound_groups().first()?.first().copied()
}

/// The name of a segment below its rendition: the decode time of its first sample, as with CMAF.
pub(super) fn segment_name(layout: &Layout, kind: Kind, n: SegmentNumber) -> String {
    format!("t{}.ts", layout.start(kind, n))
}

/// The segment a name means; `None` for a name that is not written as [`segment_name`] writes it.
pub(super) fn segment_named(layout: &Layout, kind: Kind, name: &str) -> Option<SegmentNumber> {
    let ticks = name.strip_prefix('t')?.strip_suffix(".ts")?.parse().ok()?;
    layout.starting_at(kind, ticks).filter(|&n| segment_name(layout, kind, n) == name)
}

/// The lines of one segment. They never change.
pub(super) fn segment_lines(layout: &Layout, kind: Kind, n: SegmentNumber, gap: bool) -> String {
    let mut out = String::new();
    // §4.3.2.6: on every segment, from the time of its first sample.
    let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date(layout.start_ms(kind, n)));
    if gap {
        // RFC 8216bis §4.4.4.7. Players that do not know it find nothing under the name, and go on behind it.
        out.push_str("#EXT-X-GAP\n");
    }
    let _ = writeln!(out, "#EXTINF:{:.6},\n{}", layout.seconds(kind, n), segment_name(layout, kind, n));
    out
}

/// The media playlist of every rendition of this kind: it names none.
pub(super) fn media(rope: &mut Rope<'_>, layout: &Layout, listed: &Listed<'_>, kind: Kind, ending: Ending) {
    // §7: 3 for durations that are no whole seconds; nothing in it needs more. There never is a discontinuity, so its
    // sequence stays 0 and its tag is left out.
    let _ = write!(
        rope.text(),
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{}\n{}#EXT-X-MEDIA-SEQUENCE:{}\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n{}",
        layout.target_duration(),
        ending.type_tag(),
        listed.first().map_or(0, |n| n.0),
        listed.front_transport(kind),
    );
    rope.sealed(listed.transport(kind));
    rope.text().push_str(listed.back_transport(kind));
    for entry in listed.tail {
        rope.text().push_str(&segment_lines(layout, kind, entry.number, entry.is_gap()));
    }
    rope.text().push_str(ending.end_tag());
}

/// The multivariant playlist; `averages` are bit rates of the CMAF by rendition, the base of `links` leads from it to the folder of
/// transport streams.
pub(super) fn multivariant(
    layout: &Layout,
    catalogue: &Catalogue,
    averages: &[u64],
    links: Links<'_>,
    start: Option<StartAt>,
) -> String {
    let Links { base, name, query } = links;
    let all = &catalogue.renditions;
    let groups = catalogue.sound_groups();
    let languages = groups.first().map_or(0, Vec::len);
    // §7: 4 for groups of renditions.
    let version = if languages > 1 { 4 } else { 3 };
    let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    out.push_str(&start_tag(start));
    let pictures: Vec<usize> =
        catalogue.formats().filter(|f| carries(*f)).flat_map(|f| catalogue.pictures(f)).map(|(r, _)| r).collect();
    // Pictures have one encoding of the sound in them. Where there are none, each encoding is a variant.
    let groups = if pictures.is_empty() { &groups[..] } else { groups.get(..1).unwrap_or_default() };
    let name_of = |k: usize| if groups.len() == 1 { "audio".to_owned() } else { format!("audio-{}", k + 1) };
    for (k, members) in groups.iter().enumerate().filter(|_| languages > 1) {
        for (i, &r) in members.iter().enumerate() {
            sound(&mut out, catalogue, r, &name_of(k), i == 0, links);
        }
    }
    let rate = |r: usize, bits: u64, most: bool| bit_rate(layout, all[r].kind(), bits, most);
    let most = |r: usize| rate(r, all[r].bandwidth.declared(), true);
    let average = |r: usize| rate(r, averages[r].min(all[r].bandwidth.declared()), false);
    let mut variant = |pictures: Option<usize>, group: Option<(usize, &Vec<usize>)>| {
        let members = group.map_or(&[][..], |(_, members)| members);
        let sound = members.first().copied();
        let parts = || pictures.into_iter().chain(sound);
        // §4.3.4.2: what a player takes at most is this stream and another language beside it.
        let heaviest = |rate: &dyn Fn(usize) -> u64| members.iter().skip(1).map(|&r| rate(r)).max();
        let whole = |rate: &dyn Fn(usize) -> u64| {
            let beside = heaviest(rate).map_or(0, |beside| beside + table_rate(layout));
            (parts().map(rate).sum::<u64>() + table_rate(layout) + beside).next_multiple_of(1000)
        };
        let codecs: Vec<&str> = parts().map(|r| all[r].codec.as_str()).collect();
        let _ = write!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
            whole(&most),
            whole(&average),
            codecs.join(",")
        );
        if let Some((width, height)) = pictures.and_then(|r| all[r].size()) {
            let _ = write!(out, ",RESOLUTION={width}x{height},FRAME-RATE={:.3}", layout.grid().rate().as_f64());
        }
        if let Some((k, _)) = group.filter(|_| languages > 1) {
            let _ = write!(out, ",AUDIO=\"{}\"", name_of(k));
        }
        if let Some(r) = parts().next() {
            let _ = writeln!(out, "\n{base}{}/{name}{query}", all[r].id);
        }
    };
    pictures.iter().for_each(|&r| variant(Some(r), groups.first().map(|members| (0, members))));
    // Sound alone last: for a line that is too slow for pictures.
    groups.iter().enumerate().for_each(|group| variant(None, Some(group)));
    out
}

/// One rendition of sound in a group. The default one is in the variants themselves, and has no address (§4.3.4.2.1).
fn sound(out: &mut String, catalogue: &Catalogue, r: usize, group: &str, default: bool, links: Links<'_>) {
    let Links { base, name: playlist, query } = links;
    let rendition = &catalogue.renditions[r];
    let Media::Audio { language, channels } = &rendition.media else { return };
    let name = language.name.unwrap_or(if language.tag == "und" { "Audio" } else { &language.tag });
    let _ = writeln!(
        out,
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\",LANGUAGE=\"{}\",DEFAULT={},AUTOSELECT=YES,\
         CHANNELS=\"{channels}\"{}",
        language.tag,
        if default { "YES" } else { "NO" },
        if default { String::new() } else { format!(",URI=\"{base}{}/{playlist}{query}\"", rendition.id) },
    );
}

/// Bits of a packet.
const PACKET_BITS: f64 = 188.0 * 8.0;
/// Bytes of it that hold more than its header.
const PACKET_ROOM: f64 = 184.0;

/// Bits a second of an elementary stream in packets, of which the CMAF has `bits`: the most there can be, or what is usual.
/// Segments are made on demand, so nobody can have measured them all.
pub(super) fn bit_rate(layout: &Layout, kind: Kind, bits: u64, most: bool) -> u64 {
    // Units a second, PCR in each, and bytes in front of what is coded.
    let (units, clocks, added) = match kind {
        // Delimiter; PES header with both stamps.
        Kind::Video | Kind::Trick => {
            let rate = layout.grid().rate().as_f64();
            (rate, (25.0 / rate).ceil(), 7.0 + 19.0)
        }
        // ADTS headers; PES header with one stamp. Five frames are 107 ms.
        Kind::Audio => {
            let frames = FRAMES_PER_PES as f64;
            (f64::from(AUDIO_RATE) / f64::from(AUDIO_FRAME_SAMPLES) / frames, 3.0, 7.0 * frames + 14.0)
        }
    };
    let seconds = layout.grid().segment().as_secs_f64();
    // The last packet of each unit may be nearly empty, and PCR beside small pictures need packets of their own; of each
    // segment there is a multiple of 16 packets; a key frame has its parameter sets, and sound may be divided into a
    // portion more than by the second: a packet each.
    let alone = if kind == Kind::Audio { 0.0 } else { clocks - 1.0 };
    let (of_unit, of_segment) = if most { (1.0 + alone, 15.0 + 2.0) } else { (0.5, 7.5 + 1.0) };
    let bytes = bits as f64 / 8.0 + units * (added + 8.0 * clocks);
    let packets = bytes / PACKET_ROOM + units * of_unit + of_segment / seconds;
    (packets * PACKET_BITS).ceil() as u64
}

/// Bits a second of PAT and PMT.
pub(super) fn table_rate(layout: &Layout) -> u64 {
    (2.0 * f64::from(tables(layout)) * PACKET_BITS / layout.grid().segment().as_secs_f64()).ceil() as u64
}
