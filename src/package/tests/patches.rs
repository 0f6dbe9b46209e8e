//! MPD patches, applied by an applier of our own that knows RFC 5261 as far as players do, to every manifest that a client may have.

use std::collections::VecDeque;
use std::sync::Arc;

use super::golden::{compare, with_a_gap};
use super::*;

fn patched(config: Config) -> Config {
    Config { serve: Serve { dash_patch: true, ..config.serve }, ..config }
}

/// A manifest as players hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    id: String,
    published: String,
    location: String,
    /// `S` elements, by adaptation set.
    timelines: Vec<Vec<String>>,
    /// Everything else.
    rest: String,
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> &'a str {
    let at = text.find(before).unwrap_or_else(|| panic!("no {before} in {text}")) + before.len();
    &text[at..at + text[at..].find(behind).unwrap_or_else(|| panic!("no {behind} in {text}"))]
}

fn elements(text: &str) -> Vec<String> {
    let all = text.split("<S ").skip(1);
    all.map(|rest| format!("<S {}/>", rest.split("/>").next().expect("an end"))).collect()
}

impl Held {
    fn read(manifest: &str) -> Self {
        let timelines: Vec<Vec<String>> =
            manifest.split("<SegmentTimeline>").skip(1).map(|t| elements(t.split("</").next().expect("end"))).collect();
        let mut held = Self {
            id: between(manifest, " id=\"", "\"").to_owned(),
            published: between(manifest, "publishTime=\"", "\"").to_owned(),
            location: between(manifest, "<PatchLocation", "</PatchLocation>").to_owned(),
            timelines,
            rest: String::new(),
        };
        let dynamic = |line: &&str| !line.trim_start().starts_with("<S ") && !line.contains("<PatchLocation");
        held.rest = manifest.replace(&held.published, "").lines().filter(dynamic).collect::<Vec<_>>().join("\n");
        held
    }

    fn link(&self) -> &str {
        self.location.split('>').nth(1).expect("an address")
    }

    /// False: it is not for this manifest.
    fn apply(&mut self, patch: &str) -> bool {
        assert!(!patch.contains("> <") && patch.starts_with("<?xml") && patch.ends_with("</Patch>\n"), "{patch}");
        let attribute = |name: &str| between(patch, &format!(" {name}=\""), "\"").to_owned();
        if attribute("mpdId") != self.id || attribute("originalPublishTime") != self.published {
            return false;
        }
        for line in patch.lines().skip(2).filter(|line| *line != "</Patch>") {
            let (what, sel) = (between(line, "<", " "), between(line, "sel=\"", "\""));
            let content = line.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</")).map_or("", |(it, _)| it);
            match (what, sel) {
                ("replace", "/MPD/@publishTime") => self.published = content.to_owned(),
                ("replace", "/MPD/PatchLocation[1]") => {
                    self.location = between(content, "<PatchLocation", "</PatchLocation>").to_owned();
                }
                ("replace", sel) if sel.ends_with("/@bandwidth") => {
                    let before =
                        format!("<Representation id=\"{}\" bandwidth=\"", between(sel, "Representation[@id='", "'"));
                    let rate = format!("{before}{}\"", between(&self.rest, &before, "\""));
                    self.rest = self.rest.replace(&rate, &format!("{before}{content}\""));
                }
                _ => {
                    let set: usize =
                        between(sel, "/MPD/Period[@id='0']/AdaptationSet[@id='", "']").parse().expect("a set");
                    let timeline = &mut self.timelines[set - 1];
                    let place = sel.split("/SegmentTemplate/SegmentTimeline").nth(1).expect("a timeline");
                    let at = place
                        .strip_prefix("/S[")
                        .map(|at| at.trim_end_matches(']').parse::<usize>().expect("a place") - 1);
                    match (what, at, line.contains(" pos=\"after\""), line.contains(" pos=\"prepend\"")) {
                        ("replace", Some(at), ..) => timeline[at] = content.to_owned(),
                        ("remove", Some(at), ..) => drop(timeline.remove(at)),
                        ("add", Some(at), true, _) => drop(timeline.splice(at + 1..at + 1, elements(content))),
                        ("add", None, _, true) => drop(timeline.splice(0..0, elements(content))),
                        ("add", None, false, false) => timeline.extend(elements(content)),
                        other => panic!("{other:?}: {line}"),
                    }
                }
            }
        }
        assert_eq!(self.published, attribute("publishTime"));
        true
    }
}

fn manifest(snapshot: &Snapshot) -> Held {
    Held::read(&text(snapshot, "manifest.mpd"))
}

#[test]
fn golden_patch() {
    let p = with_a_gap(patched(config()));
    let snapshot = p.snapshot();
    compare("patched.mpd", &text(&snapshot, "manifest.mpd"));
    // The publication in front of the gap.
    compare("patch.mpp", &text(&snapshot, "manifest-1795269612300.mpp"));
}

#[test]
fn any_manifest_of_the_last_minute_becomes_the_newest() {
    for (segments, name) in [(6u32, "short"), (300, "long")] {
        let base = Config { pipelines: vec![PipelineId::A], ..patched(config()) };
        let config = Config { window: base.grid.segment() * segments, ..base };
        let t0 = start_of(&config, FIRST);
        let mut p = up(config, t0, &[PipelineId::A]);
        let (mut held, mut largest, mut rates): (VecDeque<Held>, usize, usize) = (VecDeque::new(), 0, 0);
        for n in 0..520u64 {
            deliver_or_die(&mut p, t0, n, n % 61 == 30 || (200..203).contains(&n));
            let snapshot = p.snapshot();
            let newest = manifest(&snapshot);
            for old in &held {
                let patch = text(&snapshot, old.link());
                largest = largest.max(patch.len());
                let mut patched = old.clone();
                assert!(patched.apply(&patch), "{name}: {} to {n}:\n{patch}", old.published);
                assert_eq!(patched, newest, "{name}: {} to {n}:\n{patch}", old.published);
                // Bit rates are measured.
                rates += usize::from(patch.contains("@bandwidth"));
            }
            // Nothing to patch: it is waited for.
            assert!(matches!(snapshot.lookup(newest.link()), Lookup::Wait(_)));
            held.push_back(newest);
            if held.len() > 31 {
                held.pop_front();
            }
        }
        assert!(largest < 8192, "{name}: a patch of {largest} bytes");
        assert!(rates > 0, "{name}");
    }
}

#[test]
fn who_comes_too_late_takes_the_whole() {
    let base = Config { pipelines: vec![PipelineId::A], ..patched(config()) };
    let t0 = start_of(&base, FIRST);
    let mut p = up(base.clone(), t0, &[PipelineId::A]);
    let mut publish = |n: u64| -> Arc<Snapshot> {
        deliver_or_die(&mut p, t0, n, false);
        p.snapshot()
    };
    let first = publish(0);
    // Before there is anything to patch, too: after a restart, say.
    for (snapshot, link) in [(first.clone(), "manifest-1795269000000.mpp"), (publish(1), "manifest-1795269000000.mpp")]
    {
        assert!(!manifest(&snapshot).apply(&text(&snapshot, link)));
    }
    let old = manifest(&first);
    let last = (2..60).map(publish).last().expect("some");
    assert!(!old.clone().apply(&text(&last, old.link())), "a patch that fits nobody");
    let ttl: u64 = between(&old.location, "ttl=\"", "\"").parse().expect("seconds");
    assert_eq!(ttl, 60);
    for path in ["manifest-.mpp", "manifest-x.mpp", "manifest-01795269602000.mpp", "manifest-99999999999999999999.mpp"]
    {
        assert!(matches!(last.lookup(path), Lookup::Unknown), "{path}");
    }
    // Where they are not switched on there are none; nor of views.
    assert!(!text(&with_a_gap(config()).snapshot(), "manifest.mpd").contains("PatchLocation"));
    let Lookup::Found(view) = last.ask("manifest.mpd", Some("bitrate=0-350kbps")) else { panic!("a view") };
    assert!(!String::from_utf8(view.body.bytes().to_vec()).expect("text").contains("PatchLocation"));
    let Lookup::Found(part) = last.ask("manifest.mpd", Some("window=8")) else { panic!("a part of the window") };
    assert!(!String::from_utf8(part.body.bytes().to_vec()).expect("text").contains("PatchLocation"));
}
