//! The DASH manifest (ISO/IEC 23009-1, 5th edition): dynamic, one period since the epoch, SegmentTimeline. Text only.

use std::fmt::Write;
use std::time::Duration;

use super::hls;
use super::layout::{Kind, Layout};
use super::window::{Rendition, Window};

/// What the manifest says besides the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Name of each rendition's header; the same in all.
    pub init: &'a str,
    /// Time of this publication since the epoch.
    pub published: Duration,
    /// How much of the past is listed.
    pub depth: Duration,
    /// Language of the sound.
    pub language: &'a str,
    /// Where clients may ask for the time.
    pub time_uri: &'a str,
}

/// Segments behind the live edge that a player should start at: players measure from the clock, so encoding (about one
/// segment) and the age of their copy of the manifest come off before their buffer begins. One segment stalls dash.js.
const PRESENTATION_DELAY_SEGMENTS: u32 = 4;

/// The manifest.
pub(super) fn manifest(layout: &Layout, window: &Window, renditions: &[Rendition], facts: Facts<'_>) -> String {
    let segment = layout.grid().segment();
    let mut out = String::with_capacity(4096);
    let _ = writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019\" type=\"dynamic\" \
         availabilityStartTime=\"1970-01-01T00:00:00Z\" publishTime=\"{}\" minimumUpdatePeriod=\"{}\" \
         timeShiftBufferDepth=\"{}\" suggestedPresentationDelay=\"{}\" minBufferTime=\"{}\" maxSegmentDuration=\"{}\">",
        hls::date(i64::try_from(facts.published.as_millis()).unwrap_or(0)),
        // Half a segment: the price of knowing a new segment half a segment late on average is too high.
        duration(segment / 2),
        duration(facts.depth),
        duration(segment * PRESENTATION_DELAY_SEGMENTS),
        duration(segment),
        // Rounded up: sound may last a frame longer than the grid's segment.
        duration(Duration::from_millis((layout.longest() * 1000.0).ceil() as u64)),
    );
    out.push_str("  <Period id=\"0\" start=\"PT0S\">\n");
    for kind in [Kind::Video, Kind::Audio] {
        if renditions.iter().any(|r| r.kind == kind) {
            adaptation_set(&mut out, layout, window, renditions, facts, kind);
        }
    }
    out.push_str("  </Period>\n");
    let _ = writeln!(
        out,
        "  <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"{}\"/>\n</MPD>",
        escaped(facts.time_uri)
    );
    out
}

fn adaptation_set(
    out: &mut String,
    layout: &Layout,
    window: &Window,
    renditions: &[Rendition],
    facts: Facts<'_>,
    kind: Kind,
) {
    let set = || renditions.iter().filter(move |r| r.kind == kind);
    let common = "segmentAlignment=\"true\" startWithSAP=\"1\"";
    match kind {
        Kind::Video => {
            let sizes = || set().filter_map(|r| r.size);
            let (width, height) = sizes().max().unwrap_or_default();
            let divisor = gcd(width, height).max(1);
            let _ = writeln!(
                out,
                "    <AdaptationSet id=\"1\" contentType=\"video\" mimeType=\"video/mp4\" {common} par=\"{}:{}\" \
                 maxWidth=\"{width}\" maxHeight=\"{height}\" frameRate=\"{}\">",
                width / divisor,
                height / divisor,
                layout.grid().rate(),
            );
        }
        Kind::Audio => {
            let _ = writeln!(
                out,
                "    <AdaptationSet id=\"2\" contentType=\"audio\" mimeType=\"audio/mp4\" {common} lang=\"{}\">",
                escaped(facts.language),
            );
        }
    }
    out.push_str("      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n");
    let _ = writeln!(
        out,
        "      <SegmentTemplate timescale=\"{}\" initialization=\"$RepresentationID$/{}\" \
         media=\"$RepresentationID$/t$Time$.m4s\">",
        layout.timescale(kind).hz(),
        facts.init,
    );
    out.push_str("        <SegmentTimeline>\n");
    timeline(out, layout, window, kind);
    out.push_str("        </SegmentTimeline>\n      </SegmentTemplate>\n");
    for r in set() {
        let _ =
            write!(out, "      <Representation id=\"{}\" bandwidth=\"{}\" codecs=\"{}\"", r.id, r.declared, r.codec);
        match (kind, r.size) {
            (Kind::Video, size) => {
                let (width, height) = size.unwrap_or_default();
                let _ = writeln!(out, " width=\"{width}\" height=\"{height}\" sar=\"1:1\"/>");
            }
            (Kind::Audio, _) => {
                let _ = writeln!(
                    out,
                    " audioSamplingRate=\"{}\">\n        <AudioChannelConfiguration \
                     schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{}\"/>\n      \
                     </Representation>",
                    crate::media::AUDIO_RATE,
                    r.channels,
                );
            }
        }
    }
    out.push_str("    </AdaptationSet>\n");
}

/// `S` elements: equal durations run together; a gap is a jump of `t` (§5.3.9.6.1).
fn timeline(out: &mut String, layout: &Layout, window: &Window, kind: Kind) {
    // (t where it has to be said, d, repeats)
    let mut run: Option<(Option<u64>, u64, u64)> = None;
    let mut end = None;
    let write = |out: &mut String, (t, d, r): (Option<u64>, u64, u64)| {
        out.push_str("          <S");
        if let Some(t) = t {
            let _ = write!(out, " t=\"{t}\"");
        }
        let _ = write!(out, " d=\"{d}\"");
        if r > 0 {
            let _ = write!(out, " r=\"{r}\"");
        }
        out.push_str("/>\n");
    };
    for entry in window.listed_whole() {
        let (t, d) = (layout.start(kind, entry.number), layout.ticks(kind, entry.number));
        let follows = end == Some(t);
        run = match run {
            Some((at, same, r)) if follows && same == d => Some((at, same, r + 1)),
            before => {
                if let Some(before) = before {
                    write(out, before);
                }
                Some(((!follows).then_some(t), d, 0))
            }
        };
        end = Some(t + d);
    }
    if let Some(last) = run {
        write(out, last);
    }
}

/// `xs:duration` in seconds, to the millisecond.
fn duration(d: Duration) -> String {
    let (s, ms) = (d.as_secs(), d.subsec_millis());
    if ms == 0 { format!("PT{s}S") } else { format!("PT{s}.{ms:03}S") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
