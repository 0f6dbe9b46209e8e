//! MPD patch (ISO/IEC 23009-1, 5th edition, §5.15; RFC 5261): what has to be done to a manifest that a client has, so that it becomes the
//! newest one.
//!
//! In:    the segment timelines of publications. Out: patches from each of them to the newest.
//! Never: patches anything but timelines and bit rates, for nothing else changes while `MPD@id` is the same. For a publication that is
//!        not known any more the patch is one that fits nobody, and clients take the whole manifest.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::catalogue::Catalogue;
use super::dash::{self, Run};
use super::layout::{Kind, Layout};
use super::names::date;
use super::rope::{Deflater, Rope};
use super::snapshot::{Cache, Lookup, Resource};
use super::window::{Listed, Window};
use crate::media::RenditionId;

/// The media type of patches (§C.4).
const TYPE: &str = "application/dash-patch+xml";
/// Publications that clients may patch. A manifest says for how long: that of all but the last two.
const KEPT: usize = 32;
/// How long somebody who has the newest manifest waits for the next one. dash.js gives up after ten seconds and Shaka after five; both
/// ask again.
const PATIENCE: Duration = Duration::from_secs(4);

/// When nothing was published: the epoch.
const NEVER: u64 = 0;

/// The timelines of one publication, by [`Window::TIMES`].
#[derive(Debug)]
pub(super) struct Publication {
    /// Milliseconds since the epoch.
    at: u64,
    /// Declared bit rates by rendition: the one thing beside timelines that changes.
    rates: Vec<(RenditionId, u64)>,
    timelines: [Timeline; 2],
}

/// The `S` elements of a timeline, in the pieces they are kept in. Those of blocks are shared by all publications.
#[derive(Debug, Default)]
struct Timeline {
    front: Vec<Run>,
    blocks: Vec<Arc<[Run]>>,
    tail: Vec<Run>,
}

/// What is known of past publications, the newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Arc<Publication>>);

impl History {
    /// One more publication. What no client can patch any more is forgotten.
    pub fn publish(&mut self, layout: &Layout, window: &Window, catalogue: &Catalogue, published: Duration) {
        let at = u64::try_from(published.as_millis()).unwrap_or(0);
        let rates = catalogue.renditions.iter().map(|r| (r.id.clone(), r.bandwidth.declared())).collect();
        // Of two publications of the same time a client could not say which one it has.
        if self.0.back().is_some_and(|last| last.at >= at) {
            self.0.clear();
        }
        let spare = window.whole().filter(|_| !window.is_there()).map(|entry| entry.number);
        let timelines = Window::TIMES.map(|kind| match spare {
            Some(spare) => Timeline { tail: dash::runs(layout, [spare].into_iter(), kind), ..Timeline::default() },
            None => Timeline::of(layout, &window.listed(), kind),
        });
        self.0.push_back(Arc::new(Publication { at, rates, timelines }));
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }
}

impl Timeline {
    fn of(layout: &Layout, listed: &Listed<'_>, kind: Kind) -> Self {
        let runs = |entries| dash::runs(layout, dash::media(entries).into_iter(), kind);
        // What is behind whole blocks, and in a block as well, is there only where a part of the window is listed.
        Self { front: runs(listed.front()), blocks: listed.runs(layout, kind), tail: runs(listed.tail) }
    }
}

/// What a manifest says of its patches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location<'a> {
    /// `MPD@id`; as long as it is the same, nothing but timelines and bit rates changes.
    pub id: &'a str,
    /// Milliseconds since the epoch.
    pub published: u64,
    pub ttl: Duration,
}

impl<'a> Location<'a> {
    pub fn new(layout: &Layout, catalogue: &'a Catalogue, published: Duration) -> Self {
        let id = catalogue.init.trim_start_matches("init-").trim_end_matches(".mp4");
        let count = u32::try_from(KEPT - 2).unwrap_or(u32::MAX);
        Self { id, published: u64::try_from(published.as_millis()).unwrap_or(0), ttl: layout.grid().segment() * count }
    }

    /// The element; in the manifest's folder, so that what is relative stays the same whoever is asked.
    pub fn element(&self) -> String {
        format!("<PatchLocation ttl=\"{}\">{}</PatchLocation>", self.ttl.as_secs(), name(self.published))
    }
}

fn name(at: u64) -> String {
    format!("manifest-{at}.mpp")
}

/// When the publication was whose patch this is.
fn named(path: &str) -> Option<u64> {
    let at = path.strip_prefix("manifest-")?.strip_suffix(".mpp")?.parse().ok()?;
    (name(at) == path).then_some(at)
}

/// The patches of one publication, each rendered once.
#[derive(Debug)]
pub(super) struct Patches {
    history: History,
    rendered: Vec<OnceLock<Resource>>,
    /// Fits nobody.
    misfit: OnceLock<Resource>,
    cache: Cache,
}

impl Patches {
    pub fn new(history: History, cache: Cache) -> Self {
        let rendered = history.0.iter().map(|_| OnceLock::new()).collect();
        Self { history, rendered, misfit: OnceLock::new(), cache }
    }

    /// Renders what most clients will ask for.
    pub fn prepare(&self, layout: &Layout, catalogue: &Catalogue, deflater: &mut Deflater) {
        if let Some(last) = self.history.0.len().checked_sub(2) {
            self.patch(last, layout, catalogue, deflater);
        }
    }

    /// What `path` leads to, if it is a patch.
    pub fn ask(&self, path: &str, layout: &Layout, catalogue: &Catalogue) -> Option<Lookup> {
        let at = named(path)?;
        let newest = self.history.0.back()?;
        if newest.at == at {
            return Some(Lookup::Wait(PATIENCE));
        }
        let deflater = &mut Deflater::default();
        let patch = match self.history.0.iter().position(|publication| publication.at == at) {
            Some(i) => self.patch(i, layout, catalogue, deflater)?,
            // §5.15.4 has clients take the whole manifest when a patch is not for theirs, and so do dash.js and Shaka. Of a 404 or 410
            // dash.js 5.2 never recovers, and Shaka 5.2 not before the location's time is over.
            None => self.misfit.get_or_init(|| {
                let location = Location::new(layout, catalogue, Duration::from_millis(newest.at));
                finish(opened(NEVER, location), deflater, self.cache)
            }),
        };
        Some(Lookup::Found(patch.clone()))
    }

    fn patch(&self, i: usize, layout: &Layout, catalogue: &Catalogue, deflater: &mut Deflater) -> Option<&Resource> {
        let (old, newest) = (self.history.0.get(i)?, self.history.0.back()?);
        let patch = || {
            let mut out = opened(old.at, Location::new(layout, catalogue, Duration::from_millis(newest.at)));
            for (set, (kind, names)) in dash::outline(layout, catalogue).into_iter().enumerate() {
                let sel = format!("/MPD/Period[@id='0']/AdaptationSet[@id='{}']", set + 1);
                rates(&mut out, &sel, &names, &old.rates, &newest.rates);
                let (sel, time) = (sel + "/SegmentTemplate/SegmentTimeline", Window::time(kind));
                timeline(&mut out, &sel, &old.timelines[time], &newest.timelines[time]);
            }
            finish(out, deflater, self.cache)
        };
        Some(self.rendered.get(i)?.get_or_init(patch))
    }
}

/// A patch up to its operations on timelines. No space between elements: some clients take it for a node.
fn opened(original: u64, to: Location<'_>) -> String {
    let date = |at: u64| date(i64::try_from(at).unwrap_or(0));
    let Location { id, published, .. } = to;
    let (original, published) = (date(original), date(published));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Patch xmlns=\"urn:mpeg:dash:schema:mpd-patch:2020\" mpdId=\"{id}\" originalPublishTime=\"{original}\" \
         publishTime=\"{published}\">\n\
         <replace sel=\"/MPD/@publishTime\">{published}</replace>\n\
         <replace sel=\"/MPD/PatchLocation[1]\">{}</replace>\n",
        to.element(),
    )
}

fn finish(mut text: String, deflater: &mut Deflater, cache: Cache) -> Resource {
    text.push_str("</Patch>\n");
    let mut rope = Rope::new(deflater);
    rope.text().push_str(&text);
    rope.finish(TYPE, cache)
}

/// The operations that change bit rates. Shaka keeps those it has.
fn rates(out: &mut String, sel: &str, names: &[&RenditionId], old: &[(RenditionId, u64)], new: &[(RenditionId, u64)]) {
    for (id, rate) in new.iter().filter(|rate| names.contains(&&rate.0) && !old.contains(rate)) {
        let _ = writeln!(out, "<replace sel=\"{sel}/Representation[@id='{id}']/@bandwidth\">{rate}</replace>");
    }
}

/// The operations that make one timeline of the other. Both lose segments in front and gain some behind; what lies between is shared.
fn timeline(out: &mut String, sel: &str, old: &Timeline, new: &Timeline) {
    let first = new.blocks.first().and_then(|new| old.blocks.iter().position(|old| Arc::ptr_eq(old, new)));
    let skipped = first.unwrap_or(old.blocks.len());
    let same = |(old, new): &(&Arc<[Run]>, &Arc<[Run]>)| Arc::ptr_eq(old, new);
    let shared = old.blocks[skipped..].iter().zip(&new.blocks).take_while(same).count();
    let flat = |front: &[Run], blocks: &[Arc<[Run]>], tail: &[Run]| {
        let blocks = blocks.iter().flat_map(|block| block.iter().copied());
        front.iter().copied().chain(blocks).chain(tail.iter().copied()).collect::<Vec<_>>()
    };
    if shared == 0 {
        let (old, new) = (flat(&old.front, &old.blocks, &old.tail), flat(&new.front, &new.blocks, &new.tail));
        return region(out, sel, 0, &old, &new, true);
    }
    region(out, sel, 0, &flat(&old.front, &old.blocks[..skipped], &[]), &new.front, false);
    let between: usize = new.blocks[..shared].iter().map(|block| block.len()).sum();
    let (old, new_tail) =
        (flat(&[], &old.blocks[skipped + shared..], &old.tail), flat(&[], &new.blocks[shared..], &new.tail));
    region(out, sel, new.front.len() + between, &old, &new_tail, true);
}

/// Operations on the elements behind the first `base`; `last` if there are none behind them.
fn region(out: &mut String, sel: &str, base: usize, old: &[Run], new: &[Run], last: bool) {
    let front = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[front..], &new[front..]);
    let back = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - back], &new[..new.len() - back]);
    let at = base + front;
    let pairs = old.len().min(new.len());
    // Whole elements, as some clients take an attribute's new value for text.
    for (i, (_, new)) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new) {
        let _ = writeln!(out, "<replace sel=\"{sel}/S[{}]\">{}</replace>", at + i + 1, element(new));
    }
    for _ in pairs..old.len() {
        let _ = writeln!(out, "<remove sel=\"{sel}/S[{}]\"/>", at + pairs + 1);
    }
    if new.len() > pairs {
        let (sel, pos) = match at + pairs {
            _ if last && back == 0 => (sel.to_owned(), ""),
            0 => (sel.to_owned(), " pos=\"prepend\""),
            behind => (format!("{sel}/S[{behind}]"), " pos=\"after\""),
        };
        let _ = write!(out, "<add sel=\"{sel}\"{pos}>");
        new[pairs..].iter().for_each(|run| out.push_str(&element(run)));
        out.push_str("</add>\n");
    }
}

fn element(run: &Run) -> String {
    let mut out = String::new();
    dash::element(&mut out, run);
    out
}
