//! Reads MPDs, with quick-xml: SegmentTemplate with SegmentTimeline, or with a constant duration.
//!
//! In:    the text of an MPD and its address.
//! Out:   its Representations, or the listing of one.
//! Never: fetches, keeps state.

use std::collections::HashMap;
use std::time::Duration;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::decode::Media;
use super::fetch::{Resource, resolve};
use super::listing::{Listing, Origin, Rendition, Segment};

/// Segments one MPD may list; more are left out.
const SEGMENTS_MAX: usize = 100_000;
/// Elements one MPD may have, and how deep they may nest.
const NODES_MAX: usize = 1_000_000;
const DEPTH_MAX: usize = 64;

#[derive(Debug, Default)]
struct Node {
    name: String,
    attributes: HashMap<String, String>,
    children: Vec<Node>,
    text: String,
}

impl Node {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.attribute(name)?.parse().ok()
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |c| c.name == name)
    }

    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name == name)
    }
}

/// The Representations of the MPD at `url`.
pub fn renditions(url: &str, text: &[u8]) -> Result<Vec<Rendition>, String> {
    let mpd = parse(text).map_err(|e| format!("{url}: {e}"))?;
    let mut out: Vec<Rendition> = Vec::new();
    // A set with an essential property is for those who know it (ISO/IEC 23009-1 §5.8.4.8): trick play, not the programme.
    let plain = |set: &&Node| set.child("EssentialProperty").is_none();
    for set in mpd.all("Period").flat_map(|p| p.all("AdaptationSet")).filter(plain) {
        for representation in set.all("Representation") {
            let kind = ["contentType", "mimeType"]
                .iter()
                .find_map(|a| set.attribute(a).or_else(|| representation.attribute(a)))
                .unwrap_or("");
            let media = match kind.split('/').next() {
                Some("video") => Media::Video,
                Some("audio") => Media::Audio,
                _ => continue,
            };
            let Some(id) = representation.attribute("id") else { continue };
            let of = |name| representation.attribute(name).or_else(|| set.attribute(name));
            let size = of("width").zip(of("height")).map(|(w, h)| format!(" {w}x{h}")).unwrap_or_default();
            let bandwidth = representation.number("bandwidth").unwrap_or(0);
            if out.iter().any(|r| matches!(&r.origin, Origin::Representation { id: known, .. } if known == id)) {
                continue;
            }
            let word = if media == Media::Video { "video" } else { "audio" };
            out.push(Rendition {
                name: format!("{word}{size} {bandwidth}"),
                media,
                bandwidth,
                group: None,
                origin: Origin::Representation { mpd: url.to_owned(), id: id.to_owned() },
            });
        }
    }
    if out.is_empty() { Err(format!("{url}: no Representation we can follow")) } else { Ok(out) }
}

/// The listing of the Representation `id` of the MPD at `url`; `now` is UTC.
pub fn listing(url: &str, text: &[u8], id: &str, now: Duration) -> Result<Listing, String> {
    let mpd = parse(text).map_err(|e| format!("{url}: {e}"))?;
    let live = mpd.attribute("type") == Some("dynamic");
    let base = base_of(url, &mpd);
    let mut segments: Vec<Segment> = Vec::new();
    let mut period_start = 0.0;
    let mut target: f64 = 0.0;
    for period in mpd.all("Period") {
        period_start = period.attribute("start").and_then(duration).unwrap_or(period_start);
        let length = period.attribute("duration").and_then(duration);
        let found = period.all("AdaptationSet").find_map(|set| {
            set.all("Representation")
                .find(|r| r.attribute("id") == Some(id))
                .map(|representation| (set, representation))
        });
        if let Some((set, representation)) = found {
            let base = base_of(&base_of(&base_of(&base, period), set), representation);
            let templates = [period, set, representation].map(|n| n.child("SegmentTemplate"));
            let template = Template::of(templates).ok_or_else(|| format!("{url}: {id} has no SegmentTemplate"))?;
            let start = since(&mpd, period_start, now);
            let total = length.or_else(|| mpd.attribute("mediaPresentationDuration").and_then(duration));
            let from = segments.len();
            segments.extend(template.segments(&base, representation, period_start, live.then_some(start), total));
            if let (true, Some(first)) = (from > 0, segments.get_mut(from)) {
                first.discontinuity = true;
            }
        }
        period_start += length.unwrap_or(0.0);
    }
    for segment in &segments {
        target = target.max(segment.duration);
    }
    Ok(Listing { segments, live, target: Duration::from_secs_f64(target.clamp(0.5, 30.0)), slack: 2_000 })
}

/// Seconds since the start of a period in a dynamic MPD.
fn since(mpd: &Node, period_start: f64, now: Duration) -> f64 {
    let start = mpd
        .attribute("availabilityStartTime")
        .and_then(|t| time::OffsetDateTime::parse(t, &time::format_description::well_known::Rfc3339).ok());
    start.map_or(0.0, |t| now.as_secs_f64() - t.unix_timestamp_nanos() as f64 / 1e9 - period_start)
}

fn base_of(base: &str, node: &Node) -> String {
    node.child("BaseURL").map_or_else(|| base.to_owned(), |b| resolve(base, b.text.trim()))
}

/// SegmentTemplate with what it inherits (ISO/IEC 23009-1 §5.3.9.1).
struct Template<'a> {
    levels: Vec<&'a Node>,
}

impl<'a> Template<'a> {
    fn of(levels: [Option<&'a Node>; 3]) -> Option<Self> {
        // The innermost first.
        let levels: Vec<&Node> = levels.into_iter().rev().flatten().collect();
        (!levels.is_empty()).then_some(Self { levels })
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.levels.iter().find_map(|n| n.attribute(name))
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.parse().ok()
    }

    fn segments(
        &self,
        base: &str,
        representation: &Node,
        period_start: f64,
        live_seconds: Option<f64>,
        total: Option<f64>,
    ) -> Vec<Segment> {
        let scale = self.number("timescale").filter(|&s| s > 0).unwrap_or(1);
        let origin = self.number("presentationTimeOffset").unwrap_or(0);
        let first_number = self.number("startNumber").unwrap_or(1);
        let entries = match self.levels.iter().find_map(|n| n.child("SegmentTimeline")) {
            Some(timeline) => timeline_entries(timeline),
            None => self.constant_entries(scale, live_seconds, total),
        };
        let address = |template: &str, number: i64, time: i64| {
            let id = representation.attribute("id").unwrap_or("");
            let bandwidth = representation.number("bandwidth").unwrap_or(0);
            resolve(base, &filled(template, id, bandwidth, number, time))
        };
        let media = self.attribute("media").unwrap_or("");
        let init = self.attribute("initialization").map(|t| Resource { url: address(t, 0, 0), range: None });
        // Rounded from one sum, so that the end of one segment is the start of the next.
        let key = |ticks: i64| (period_start * 1e6 + (ticks - origin) as f64 * 1e6 / scale as f64).round() as i64;
        let shift_ns =
            (period_start * 1e9).round() as i64 - (i128::from(origin) * 1_000_000_000 / i128::from(scale)) as i64;
        entries
            .into_iter()
            .map(|(index, start, length)| Segment {
                key: key(start),
                next: key(start + length),
                media: Resource { url: address(media, first_number + index, start), range: None },
                init: init.clone(),
                duration: length as f64 / scale as f64,
                discontinuity: false,
                gap: false,
                shift_ns,
            })
            .collect()
    }

    /// Index, start and length of the segments of a template without a timeline.
    fn constant_entries(&self, scale: i64, live_seconds: Option<f64>, total: Option<f64>) -> Vec<(i64, i64, i64)> {
        let Some(length) = self.number("duration").filter(|&d| d > 0) else { return Vec::new() };
        let seconds = length as f64 / scale as f64;
        let count = match (live_seconds, total) {
            (Some(now), _) => (now / seconds).floor(),
            (None, Some(total)) => (total / seconds).ceil(),
            (None, None) => 0.0,
        };
        let last = count.clamp(0.0, 1e12) as i64;
        // Of an endless list the newest minute is enough to follow it.
        let first = if live_seconds.is_some() { (last - (60.0 / seconds) as i64).max(0) } else { 0 };
        (first..last.min(first + SEGMENTS_MAX as i64)).map(|n| (n, n * length, length)).collect()
    }
}

/// Index, start and length of each `S` with its repeats (§5.3.9.6).
fn timeline_entries(timeline: &Node) -> Vec<(i64, i64, i64)> {
    let mut out = Vec::new();
    let mut at = 0i64;
    let entries: Vec<&Node> = timeline.all("S").collect();
    for (n, s) in entries.iter().enumerate() {
        at = s.number("t").unwrap_or(at);
        let Some(length) = s.number::<i64>("d").filter(|&d| d > 0) else { continue };
        let repeats = match s.number::<i64>("r").unwrap_or(0) {
            r if r >= 0 => r,
            // Until the next entry; an open end lists what is known for certain, one segment.
            _ => entries.get(n + 1).and_then(|s| s.number::<i64>("t")).map_or(0, |t| (t - at) / length - 1),
        };
        for _ in 0..=repeats {
            if out.len() >= SEGMENTS_MAX {
                return out;
            }
            out.push((out.len() as i64, at, length));
            at = at.saturating_add(length);
        }
    }
    out
}

/// Fills `$Number%05d$` and its like (§5.3.9.4.4).
fn filled(template: &str, id: &str, bandwidth: u64, number: i64, time: i64) -> String {
    let mut out = String::new();
    let mut parts = template.split('$');
    out.push_str(parts.next().unwrap_or(""));
    while let (Some(name), rest) = (parts.next(), parts.next()) {
        let (name, width) = match name.split_once("%0") {
            Some((name, form)) => (name, form.trim_end_matches('d').parse().unwrap_or(1)),
            None => (name, 1),
        };
        let width: usize = if width > 32 { 1 } else { width };
        match name {
            "" => out.push('$'),
            "RepresentationID" => out.push_str(id),
            "Bandwidth" => out.push_str(&format!("{bandwidth:0width$}")),
            "Number" => out.push_str(&format!("{number:0width$}")),
            "Time" => out.push_str(&format!("{time:0width$}")),
            other => out.push_str(other),
        }
        out.push_str(rest.unwrap_or(""));
    }
    out
}

/// Seconds of an ISO 8601 duration such as `PT1H2M3.5S`.
fn duration(text: &str) -> Option<f64> {
    let (date, clock) = text.strip_prefix('P')?.split_once('T').unwrap_or((&text[1..], ""));
    let mut seconds = 0.0;
    for (part, units) in [(date, &[('D', 86_400.0)][..]), (clock, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)][..])] {
        let mut number = String::new();
        for c in part.chars() {
            match units.iter().find(|u| u.0 == c) {
                Some((_, factor)) => seconds += std::mem::take(&mut number).parse::<f64>().ok()? * factor,
                None => number.push(c),
            }
        }
    }
    Some(seconds)
}

fn parse(text: &[u8]) -> Result<Node, String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Node> = vec![Node::default()];
    let mut count = 0;
    loop {
        let event = reader.read_event().map_err(|e| e.to_string())?;
        let (node, closed) = match event {
            Event::Start(e) => (Some(element(&e)?), false),
            Event::Empty(e) => (Some(element(&e)?), true),
            Event::End(_) => (None, true),
            Event::Text(t) => {
                if let Some(node) = open.last_mut() {
                    node.text.push_str(&t.xml10_content());
                }
                continue;
            }
            // The one entity that addresses need.
            Event::GeneralRef(name) => {
                if let (Some(node), "amp") = (open.last_mut(), &*name) {
                    node.text.push('&');
                }
                continue;
            }
            Event::Eof => break,
            _ => continue,
        };
        count += 1;
        if count > NODES_MAX || open.len() > DEPTH_MAX {
            return Err("an MPD beyond all measure".into());
        }
        open.extend(node);
        if closed
            && open.len() > 1
            && let (Some(done), Some(parent)) = (open.pop(), open.last_mut())
        {
            parent.children.push(done);
        }
    }
    let root = open.into_iter().next().and_then(|top| top.children.into_iter().next());
    root.filter(|n| n.name == "MPD").ok_or_else(|| "no MPD".into())
}

fn element(e: &BytesStart<'_>) -> Result<Node, String> {
    let name = e.local_name().as_ref().to_owned();
    let mut node = Node { name, ..Node::default() };
    for attribute in e.attributes() {
        let attribute = attribute.map_err(|e| e.to_string())?;
        let key = attribute.key.local_name().as_ref().to_owned();
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| e.to_string())?.into_owned();
        node.attributes.insert(key, value);
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MPD: &str = r#"<?xml version="1.0"?><MPD type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z">
      <Period id="0" start="PT0S"><AdaptationSet contentType="video">
        <SegmentTemplate timescale="1000" presentationTimeOffset="500" startNumber="7"
            initialization="$RepresentationID$/init.mp4" media="$RepresentationID$/$Number%03d$-$Time$.m4s">
          <SegmentTimeline><S t="2500" d="2000" r="1"/><S d="1000"/></SegmentTimeline></SegmentTemplate>
        <Representation id="v0" bandwidth="900000" width="640" height="360"/>
      </AdaptationSet></Period></MPD>"#;

    #[test]
    fn a_timeline_is_listed_entry_by_entry() {
        let url = "http://h/c/manifest.mpd";
        assert_eq!(renditions(url, MPD.as_bytes()).expect("an MPD")[0].name, "video 640x360 900000");
        let listing = listing(url, MPD.as_bytes(), "v0", Duration::ZERO).expect("an MPD");
        let seen: Vec<_> = listing.segments.iter().map(|s| (s.key, s.next, s.media.url.as_str())).collect();
        assert_eq!(
            seen,
            [
                (2_000_000, 4_000_000, "http://h/c/v0/007-2500.m4s"),
                (4_000_000, 6_000_000, "http://h/c/v0/008-4500.m4s"),
                (6_000_000, 7_000_000, "http://h/c/v0/009-6500.m4s"),
            ]
        );
        assert_eq!(listing.segments[0].shift_ns, -500_000_000);
        assert_eq!(listing.segments[0].init.as_ref().map(|i| i.url.as_str()), Some("http://h/c/v0/init.mp4"));
    }

    #[test]
    fn durations() {
        for (text, want) in [("PT2S", Some(2.0)), ("PT1H2M3.5S", Some(3723.5)), ("P1DT1S", Some(86_401.0)), ("2", None)]
        {
            assert_eq!(duration(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(cut in 0usize..600, noise in ".{0,40}") {
            let at = (0..=cut.min(MPD.len())).rev().find(|&n| MPD.is_char_boundary(n)).unwrap_or(0);
            let text = format!("{}{noise}{}", &MPD[..at], &MPD[at..]);
            _ = listing("x", text.as_bytes(), "v0", Duration::from_secs(1));
            _ = duration(&noise);
        }
    }
}
