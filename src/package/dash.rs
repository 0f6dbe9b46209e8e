//! The DASH manifest (ISO/IEC 23009-1, 5th edition): dynamic, one period since the epoch; of a part of the window that is over, static.
//! Text only.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::catalogue::{Catalogue, Media, Picture, Rendition};
use super::layout::{Kind, Layout};
use super::names::date;
use super::patch;
use super::rope::Rope;
use super::shift::{Cut, Ending};
use super::window::{Entry, Listed};
use crate::media::{RenditionId, SegmentNumber};

/// The media type of manifests (ISO/IEC 23009-1 Annex C).
pub(super) const TYPE: &str = "application/dash+xml";

/// What the manifest says besides the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Time of this publication since the epoch.
    pub published: Duration,
    /// How much of the past is listed.
    pub depth: Duration,
    /// Where clients may ask for the time.
    pub time_uri: &'a str,
    /// Leads from the manifest to the renditions.
    pub base: &'a str,
    /// It is of a part of the window.
    pub cut: Option<&'a Cut>,
    /// Where clients may ask for what changed.
    pub patch: Option<patch::Location<'a>>,
}

/// What a manifest lists.
pub(super) struct Segments<'a> {
    pub listed: Listed<'a>,
    /// To be listed if nothing else is: a manifest must list something.
    pub spare: Option<SegmentNumber>,
}

/// How presentation time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clock {
    /// It is counted from the beginning of this segment, and not from the epoch.
    origin: Option<SegmentNumber>,
    /// Nothing more will come.
    over: bool,
}

impl Clock {
    fn of(cut: Option<&Cut>) -> Self {
        let over = cut.is_some_and(|cut| cut.ending != Ending::Grows);
        Self { origin: cut.and_then(|cut| cut.origin), over }
    }

    /// Where it is counted from, milliseconds since the epoch.
    fn origin_ms(self, layout: &Layout) -> u64 {
        self.origin.map_or(0, |n| n.0.saturating_mul(layout.grid().segment().as_millis() as u64))
    }
}

/// How a manifest names segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Each by its time, gaps left out: clients learn of a segment when it is there.
    Timeline,
    /// By number and constant duration: clients go by the clock and need no new manifest.
    Number,
    /// The same, and each is available once its first chunk is (ISO/IEC 23009-1 §5.3.9.5.3, DASH-IF low-latency modes).
    LowLatency,
}

/// Segments behind the live edge that a player should start at: players measure from the clock, so encoding (about one
/// segment) and the age of their copy of the manifest come off before their buffer begins. One segment stalls dash.js.
const PRESENTATION_DELAY_SEGMENTS: u32 = 4;
/// What a client of low latency aims at behind the clock: the part being filled, encoding, and three parts in its buffer,
/// which is what LL-HLS clients hold.
const LATENCY_PARTS: u32 = 5;
/// Where nothing in a manifest changes with the segments: how soon a change of the rest is known.
const UPDATE_SELDOM: Duration = Duration::from_secs(10);

impl Form {
    fn by_number(self) -> bool {
        self != Self::Timeline
    }
}

/// The manifest.
pub(super) fn manifest(
    rope: &mut Rope<'_>,
    layout: &Layout,
    segments: Segments<'_>,
    catalogue: &Catalogue,
    facts: Facts<'_>,
    form: Form,
) {
    // Where the live edge is far away, or the end, nobody is near enough to the encoder to gain by growing segments.
    let form = if form == Form::LowLatency && facts.cut.is_some() { Form::Number } else { form };
    let segment = layout.grid().segment();
    let low = form == Form::LowLatency;
    let latency = (layout.part() * LATENCY_PARTS).max(MIN_LATENCY);
    let clock = Clock::of(facts.cut);
    let out = rope.text();
    let _ = write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019{}\" ",
        if low { ",http://www.dashif.org/guidelines/low-latency-live-v5" } else { "" },
    );
    if let Some(patch) = facts.patch {
        let _ = write!(out, "id=\"{}\" ", patch.id);
    }
    if let Some(cut) = facts.cut.filter(|_| clock.over) {
        // It stays as it is, so nothing in it says when it was made.
        let whole = segment.saturating_mul(u32::try_from(cut.last.0 + 1 - cut.first.0).unwrap_or(u32::MAX));
        let _ = write!(out, "type=\"static\" ");
        if cut.ending == Ending::Fixed {
            // Whoever played it until here was told so.
            let begin = i64::try_from(clock.origin_ms(layout)).unwrap_or(0);
            let _ = write!(out, "availabilityStartTime=\"{}\" ", date(begin));
        }
        let _ = write!(out, "mediaPresentationDuration=\"{}\" ", duration(whole));
    } else {
        let delay = facts.cut.map_or(0, |cut| cut.delay.as_millis() as u64);
        let begin = match clock.origin_ms(layout) + delay {
            0 => "1970-01-01T00:00:00Z".to_owned(),
            // Clients that go by the clock are as late as those that go by the list.
            ms => date(i64::try_from(ms).unwrap_or(0)),
        };
        let _ = write!(
            out,
            "type=\"dynamic\" \
             availabilityStartTime=\"{begin}\" publishTime=\"{}\" minimumUpdatePeriod=\"{}\" \
             timeShiftBufferDepth=\"{}\" suggestedPresentationDelay=\"{}\" ",
            date(i64::try_from(facts.published.as_millis()).unwrap_or(0)),
            // Half a segment: the price of knowing a new segment half a segment late on average is too high.
            duration(if form.by_number() { UPDATE_SELDOM } else { segment / 2 }),
            duration(facts.depth),
            duration(if low { latency } else { segment * PRESENTATION_DELAY_SEGMENTS }),
        );
    }
    let _ = writeln!(
        out,
        "minBufferTime=\"{}\" maxSegmentDuration=\"{}\">",
        duration(if low { layout.part() } else { segment }),
        // Rounded up: sound may last a frame longer than the grid's segment.
        duration(Duration::from_millis((layout.longest() * 1000.0).ceil() as u64)),
    );
    if let Some(patch) = facts.patch {
        let _ = writeln!(out, "  {}", patch.element());
    }
    if low {
        let ms = latency.as_millis();
        let _ = writeln!(
            out,
            "  <ServiceDescription id=\"0\">\n    \
             <Latency target=\"{ms}\" min=\"{}\" max=\"{}\" referenceId=\"0\"/>\n    \
             <PlaybackRate min=\"0.96\" max=\"1.04\"/>\n  </ServiceDescription>",
            ms * 2 / 3,
            ms * 4,
        );
    }
    out.push_str("  <Period id=\"0\" start=\"PT0S\"");
    // By number a client has to be told where to stop.
    let until = facts.cut.and_then(|cut| cut.origin.zip(cut.until)).filter(|_| form.by_number() && !clock.over);
    if let Some((origin, until)) = until {
        let whole = segment.saturating_mul(u32::try_from(until.0 + 1 - origin.0).unwrap_or(u32::MAX));
        let _ = write!(out, " duration=\"{}\"", duration(whole));
    }
    out.push_str(">\n");
    // Trick play has no parts: by the clock it would be asked for before it is there.
    let sets = sets(layout, catalogue);
    for (i, set) in sets.iter().enumerate().filter(|(_, set)| !low || set.kind != Kind::Trick) {
        adaptation_set(rope, layout, &segments, set, i + 1, catalogue, facts, form);
    }
    rope.text().push_str("  </Period>\n");
    if !clock.over {
        let _ = writeln!(rope.text(), "  {}", utc_timing(facts.time_uri));
    }
    rope.text().push_str("</MPD>\n");
}

/// The least a client should aim at behind the clock.
const MIN_LATENCY: Duration = Duration::from_millis(1000);

fn utc_timing(uri: &str) -> String {
    format!("<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"{}\"/>", escaped(uri))
}

/// One adaptation set: renditions that a player may switch between without a seam.
struct Set<'a> {
    kind: Kind,
    /// Attributes of its own, each with a space in front.
    attributes: String,
    /// Elements in front of its template, in the schema's order.
    descriptors: String,
    renditions: Vec<&'a Rendition>,
}

/// What the adaptation sets of a manifest of whole segments are, in order, and the names of their representations.
pub(super) fn outline<'a>(layout: &Layout, catalogue: &'a Catalogue) -> Vec<(Kind, Vec<&'a RenditionId>)> {
    let names = |set: Set<'a>| (set.kind, set.renditions.iter().map(|r| &r.id).collect());
    sets(layout, catalogue).into_iter().map(names).collect()
}

/// Pictures by format, sound by language and channels, then trick play.
fn sets<'a>(layout: &Layout, catalogue: &'a Catalogue) -> Vec<Set<'a>> {
    let mut sets = Vec::new();
    // No property says that a player may go from one format to another in mid-play (§5.3.3.5): dash.js then does so at once,
    // and not every device has a decoder that follows.
    for format in catalogue.formats() {
        let renditions: Vec<_> = catalogue.pictures(format).map(|(_, r)| r).collect();
        let mut descriptors = String::new();
        descriptor(&mut descriptors, "Role", ROLE, "main");
        let attributes = picture_attributes(&renditions, &layout.grid().rate().to_string());
        sets.push(Set { kind: Kind::Video, attributes, descriptors, renditions });
    }
    let mut first = true;
    for (language, list) in catalogue.languages() {
        for same in list.chunk_by(|&a, &b| catalogue.channels(a) == catalogue.channels(b)) {
            let mut descriptors = String::new();
            descriptor(&mut descriptors, "Role", ROLE, if std::mem::take(&mut first) { "main" } else { "alternate" });
            sets.push(Set {
                kind: Kind::Audio,
                attributes: format!(" lang=\"{}\"", escaped(&language.tag)),
                descriptors,
                renditions: same.iter().map(|&r| &catalogue.renditions[r]).collect(),
            });
        }
    }
    for rendition in catalogue.renditions.iter().filter(|r| r.kind() == Kind::Trick) {
        // DASH-IF IOP: players that do not know the scheme leave the set alone. It shows what the first set shows.
        let mut descriptors = String::new();
        descriptor(&mut descriptors, "EssentialProperty", TRICK_MODE, "1");
        let renditions = vec![rendition];
        let attributes = picture_attributes(&renditions, &rate(layout.grid().segment()));
        sets.push(Set { kind: Kind::Trick, attributes, descriptors, renditions });
    }
    sets
}

const ROLE: &str = "urn:mpeg:dash:role:2011";
const TRICK_MODE: &str = "http://dashif.org/guidelines/trickmode";

fn descriptor(out: &mut String, element: &str, scheme: &str, value: &str) {
    let _ = writeln!(out, "      <{element} schemeIdUri=\"{scheme}\" value=\"{value}\"/>");
}

fn picture_attributes(renditions: &[&Rendition], rate: &str) -> String {
    // The widest picture as it is shown: par counts in units of a sample's height.
    let shown = |r: &&Rendition| match r.media {
        Media::Video(Picture { size, sample_aspect, .. }) | Media::Trick(Picture { size, sample_aspect, .. }) => {
            Some((size, sample_aspect))
        }
        Media::Audio { .. } => None,
    };
    let ((width, height), (x, y)) = renditions.iter().filter_map(shown).max().unwrap_or_default();
    let (across, down) = (width * u32::from(x), height * u32::from(y));
    let divisor = gcd(across, down).max(1);
    format!(
        " par=\"{}:{}\" maxWidth=\"{width}\" maxHeight=\"{height}\" frameRate=\"{rate}\"",
        across / divisor,
        down / divisor
    )
}

#[allow(clippy::too_many_arguments)]
fn adaptation_set(
    rope: &mut Rope<'_>,
    layout: &Layout,
    segments: &Segments<'_>,
    set: &Set<'_>,
    id: usize,
    catalogue: &Catalogue,
    facts: Facts<'_>,
    form: Form,
) {
    let content = if set.kind == Kind::Audio { "audio" } else { "video" };
    let init = &catalogue.init;
    let out = rope.text();
    let _ = writeln!(
        out,
        "    <AdaptationSet id=\"{id}\" contentType=\"{content}\" mimeType=\"{content}/mp4\" segmentAlignment=\"true\" \
         startWithSAP=\"1\"{}>",
        set.attributes,
    );
    if form == Form::LowLatency {
        // §5.12: media time is time since the epoch by construction, so one pair holds for ever.
        let _ = writeln!(
            out,
            "      <ProducerReferenceTime id=\"0\" type=\"captured\" wallClockTime=\"1970-01-01T00:00:00Z\" \
             presentationTime=\"0\">\n        {}\n      </ProducerReferenceTime>",
            utc_timing(facts.time_uri)
        );
    }
    out.push_str(&set.descriptors);
    let scale = layout.timescale(set.kind).hz();
    let _ = write!(
        out,
        "      <SegmentTemplate timescale=\"{scale}\" initialization=\"{0}$RepresentationID$/{init}\" \
         media=\"{0}$RepresentationID$/",
        facts.base,
    );
    let clock = Clock::of(facts.cut);
    let offset = match u128::from(clock.origin_ms(layout)) * u128::from(scale) / 1000 {
        0 => String::new(),
        ticks => format!(" presentationTimeOffset=\"{ticks}\""),
    };
    if form.by_number() {
        // Segment n of the grid begins n segment durations behind the epoch, or within a frame of that.
        let ticks = layout.grid().segment().as_millis() as u64 * u64::from(scale) / 1000;
        let first = clock.origin.map_or(0, |n| n.0);
        let _ = write!(out, "$Number$.m4s\" startNumber=\"{first}\" duration=\"{ticks}\"{offset}");
        if form == Form::LowLatency {
            let offset = layout.grid().segment().saturating_sub(layout.part()).as_secs_f64();
            let _ = write!(out, " availabilityTimeOffset=\"{offset:.3}\" availabilityTimeComplete=\"false\"");
        }
        out.push_str("/>\n");
    } else {
        let _ = writeln!(out, "t$Time$.m4s\"{offset}>\n        <SegmentTimeline>");
        listed(rope, layout, segments, set.kind);
        rope.text().push_str("        </SegmentTimeline>\n      </SegmentTemplate>\n");
    }
    let out = rope.text();
    for r in &set.renditions {
        let (id, bandwidth, codec) = (&r.id, r.bandwidth.declared(), &r.codec);
        let _ = write!(out, "      <Representation id=\"{id}\" bandwidth=\"{bandwidth}\" codecs=\"{codec}\"");
        match r.media {
            Media::Video(picture) | Media::Trick(picture) => {
                let ((width, height), (x, y)) = (picture.size, picture.sample_aspect);
                let _ = write!(out, " width=\"{width}\" height=\"{height}\" sar=\"{x}:{y}\"");
                // Every picture stands alone.
                out.push_str(if set.kind == Kind::Trick { " codingDependency=\"false\"/>\n" } else { "/>\n" });
            }
            Media::Audio { channels, .. } => {
                // 6 is 5.1, as in ISO/IEC 23003-3 and AAC's channelConfiguration.
                let _ = writeln!(
                    out,
                    " audioSamplingRate=\"{}\">\n        <AudioChannelConfiguration \
                     schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{channels}\"/>\n      \
                     </Representation>",
                    crate::media::AUDIO_RATE,
                );
            }
        }
    }
    out.push_str("    </AdaptationSet>\n");
}

/// The `S` elements of what is listed.
fn listed(rope: &mut Rope<'_>, layout: &Layout, segments: &Segments<'_>, kind: Kind) {
    let Segments { listed, spare } = segments;
    if let Some(spare) = spare {
        return timeline(rope.text(), layout, [*spare].into_iter(), kind);
    }
    timeline(rope.text(), layout, media(listed.front()).into_iter(), kind);
    rope.sealed(listed.times(kind));
    timeline(rope.text(), layout, media(listed.back()).into_iter(), kind);
    timeline(rope.text(), layout, media(listed.tail).into_iter(), kind);
}

/// An `S` element: so many segments of equal duration, one behind the other (§5.3.9.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it begins, if that is not where the one before it ends: at the beginning, and behind a gap.
    t: Option<u64>,
    d: u64,
    /// How many more.
    r: u64,
}

/// Numbers of those that can be fetched, be it that they are made up: dash.js stands still at a hole (decision 0009).
pub(super) fn media(entries: &[Arc<Entry>]) -> Vec<SegmentNumber> {
    entries.iter().filter(|e| e.is_there()).map(|e| e.number).collect()
}

/// These segments in runs.
pub(super) fn runs(layout: &Layout, numbers: impl Iterator<Item = SegmentNumber>, kind: Kind) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut end = None;
    for n in numbers {
        let (t, d) = (layout.start(kind, n), layout.ticks(kind, n));
        let follows = end == Some(t);
        match runs.last_mut() {
            Some(run) if follows && run.d == d => run.r += 1,
            _ => runs.push(Run { t: (!follows).then_some(t), d, r: 0 }),
        }
        end = Some(t + d);
    }
    runs
}

/// One of them as it is written.
pub(super) fn element(out: &mut String, Run { t, d, r }: &Run) {
    out.push_str("<S");
    if let Some(t) = t {
        let _ = write!(out, " t=\"{t}\"");
    }
    let _ = write!(out, " d=\"{d}\"");
    if *r > 0 {
        let _ = write!(out, " r=\"{r}\"");
    }
    out.push_str("/>");
}

/// `S` elements of these segments.
pub(super) fn timeline(out: &mut String, layout: &Layout, numbers: impl Iterator<Item = SegmentNumber>, kind: Kind) {
    for run in runs(layout, numbers, kind) {
        out.push_str("          ");
        element(out, &run);
        out.push('\n');
    }
}

/// `xs:duration` in seconds, to the millisecond.
fn duration(d: Duration) -> String {
    let (s, ms) = (d.as_secs(), d.subsec_millis());
    if ms == 0 { format!("PT{s}S") } else { format!("PT{s}.{ms:03}S") }
}

/// One picture in this time, as a frame rate: a whole number, or a fraction in lowest terms (§5.3.7.2).
fn rate(each: Duration) -> String {
    let ms = u32::try_from(each.as_millis()).unwrap_or(u32::MAX).max(1);
    let divisor = gcd(1000, ms);
    if ms == divisor { (1000 / ms).to_string() } else { format!("{}/{}", 1000 / divisor, ms / divisor) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
