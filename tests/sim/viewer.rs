//! What players, caches and a suspicious viewer see of the snapshots, and what they were promised.
//!
//! In:    each published snapshot. Out: the first promise that it breaks; what each new segment shows.
//! Never: looks at anything that a player could not fetch.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use m3u8_rs::{MasterPlaylist, MediaPlaylist, Playlist};
use tandem::package::{Lookup, Snapshot};

/// What one new segment shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub number: u64,
    /// Slot and frame; `None` is the slate.
    pub pictures: Vec<(u64, Option<i64>)>,
    /// Audio frame, and how far its source samples are from its own; `None` where it is not one unbroken run.
    pub sound: Vec<(u64, Option<i64>)>,
    /// It is listed as a gap.
    pub gap: bool,
}

impl Shown {
    /// Nobody had more than its first parts: its end is its first picture once more.
    pub fn stands_in(&self) -> bool {
        matches!(&self.pictures[..], [first, .., last] if first == last)
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Viewer {
    first_listed: Option<u64>,
    newest: Option<u64>,
    /// Listed URLs, what they answered, and the newest number when they were listed last.
    bodies: HashMap<String, (Bytes, u64)>,
    dates: BTreeMap<u64, i64>,
    renditions: Option<Vec<String>>,
}

/// Segments for which a URL is answered after it left the list: RFC 8216 asks for a playlist's length, 12 s here.
const LINGERS: u64 = 6;

/// One rendition's playlist, as far as it matters here.
struct Listed {
    first: u64,
    /// URL below the channel, and whether it is a gap.
    segments: Vec<(String, bool)>,
}

impl Viewer {
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Looks at a new snapshot.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn look(&mut self, snapshot: &Snapshot) -> Result<Vec<Shown>, String> {
        if snapshot.newest().is_none() {
            return Ok(Vec::new());
        }
        let renditions = renditions(snapshot)?;
        if *self.renditions.get_or_insert_with(|| renditions.clone()) != renditions {
            return Err(format!("renditions changed to {renditions:?}"));
        }
        let mut lists = Vec::new();
        for rendition in &renditions {
            let list = self.read(snapshot, rendition, lists.is_empty())?;
            lists.push(list);
        }
        let numbers = |list: &Listed| (list.first, list.segments.iter().map(|s| s.1).collect::<Vec<_>>());
        if let Some((at, _)) = lists.iter().enumerate().find(|(_, list)| numbers(list) != numbers(&lists[0])) {
            return Err(format!("{} and {} do not list the same segments", renditions[0], renditions[at]));
        }
        let first = lists[0].first;
        let newest = first + lists[0].segments.len() as u64 - 1;
        if self.first_listed.is_some_and(|before| first < before) {
            return Err(format!("media sequence fell from {:?} to {first}", self.first_listed));
        }
        if let Some(before) = self.newest.filter(|&before| newest < before || first > before + 1) {
            return Err(format!("the list went from …{before} to {first}…{newest}"));
        }
        let seen = self.newest.map_or(first, |n| n + 1);
        self.first_listed = Some(first);
        self.newest = Some(newest);
        self.evict(snapshot, newest)?;
        (seen..=newest).map(|n| self.shown(&renditions, &lists, n, (n - first) as usize)).collect()
    }

    /// Reads a media playlist and fetches what it lists.
    fn read(&mut self, snapshot: &Snapshot, rendition: &str, dates: bool) -> Result<Listed, String> {
        let path = format!("{rendition}/index.m3u8");
        let text = fetch(snapshot, &path)?;
        let playlist: MediaPlaylist = m3u8_rs::parse_media_playlist_res(&text).map_err(|e| format!("{path}: {e}"))?;
        let mut listed = Listed { first: playlist.media_sequence, segments: Vec::new() };
        let map = playlist.segments.iter().find_map(|s| s.map.as_ref()).ok_or("no EXT-X-MAP")?;
        let newest = (listed.first + playlist.segments.len() as u64).saturating_sub(1);
        self.same(snapshot, format!("{rendition}/{}", map.uri), newest)?;
        for (number, segment) in (listed.first..).zip(&playlist.segments) {
            let url = format!("{rendition}/{}", segment.uri);
            // m3u8-rs does not know EXT-X-GAP by name.
            let gap = segment.unknown_tags.iter().any(|t| t.tag == "X-GAP");
            if segment.discontinuity {
                return Err(format!("{url} is a discontinuity"));
            }
            if dates {
                let date = segment.program_date_time.ok_or("no date")?.timestamp_millis();
                if *self.dates.entry(number).or_insert(date) != date {
                    return Err(format!("the date of {number} changed to {date}"));
                }
                if self.dates.range(..number).next_back().is_some_and(|(_, &before)| before >= date) {
                    return Err(format!("the date fell with {number}"));
                }
            }
            if !gap {
                self.same(snapshot, url.clone(), newest)?;
            }
            listed.segments.push((url, gap));
        }
        while self.dates.len() > 200 {
            self.dates.pop_first();
        }
        Ok(listed)
    }

    /// A URL answers what it answered before.
    fn same(&mut self, snapshot: &Snapshot, url: String, newest: u64) -> Result<(), String> {
        let body = fetch(snapshot, &url)?;
        match self.bodies.get_mut(&url) {
            Some((before, _)) if *before != body => return Err(format!("{url} changed")),
            Some((_, listed)) => *listed = newest,
            None => drop(self.bodies.insert(url, (body, newest))),
        }
        Ok(())
    }

    /// What is not listed any more still answers the same, for a while, and then is gone for good.
    fn evict(&mut self, snapshot: &Snapshot, newest: u64) -> Result<(), String> {
        let mut gone = Vec::new();
        for (url, (before, listed)) in &self.bodies {
            match snapshot.lookup(url) {
                Lookup::Found(resource) if resource.body.bytes() == *before => {}
                Lookup::Found(_) => return Err(format!("{url} changed after it left the list")),
                Lookup::Gone if newest >= listed + LINGERS => gone.push(url.clone()),
                other => return Err(format!("{url}: {other:?} at {newest}, listed until {listed}")),
            }
        }
        for url in gone {
            self.bodies.remove(&url);
        }
        Ok(())
    }

    /// What a segment shows, the same in every video rendition.
    fn shown(&self, renditions: &[String], lists: &[Listed], number: u64, at: usize) -> Result<Shown, String> {
        let mut shown = Shown { number, pictures: Vec::new(), sound: Vec::new(), gap: lists[0].segments[at].1 };
        if shown.gap {
            return Ok(shown);
        }
        for (rendition, list) in renditions.iter().zip(lists) {
            let url = &list.segments[at].0;
            let (body, _) = self.bodies.get(url).ok_or_else(|| format!("{url} left at once"))?;
            if rendition.starts_with('v') {
                let pictures = texts(body, b"slot ").filter_map(picture).collect::<Vec<_>>();
                if !shown.pictures.is_empty() && shown.pictures != pictures {
                    return Err(format!("segment {number} of {rendition} shows other pictures"));
                }
                shown.pictures = pictures;
            } else if rendition == "trick" {
                let first = texts(body, b"slot ").filter_map(picture).collect::<Vec<_>>();
                if first.as_slice() != shown.pictures.get(..1).unwrap_or_default() {
                    return Err(format!("segment {number} of {rendition} does not show its first picture"));
                }
            } else {
                shown.sound = texts(body, b"frame ").filter_map(sound).collect();
            }
        }
        Ok(shown)
    }
}

fn fetch(snapshot: &Snapshot, path: &str) -> Result<Bytes, String> {
    match snapshot.lookup(path) {
        Lookup::Found(resource) => Ok(resource.body.bytes()),
        other => Err(format!("{path}: {other:?}")),
    }
}

/// Names of the renditions that the multivariant playlist lists.
fn renditions(snapshot: &Snapshot) -> Result<Vec<String>, String> {
    let text = fetch(snapshot, "index.m3u8")?;
    fetch(snapshot, "manifest.mpd")?;
    let Ok((_, Playlist::MasterPlaylist(MasterPlaylist { variants, alternatives, .. }))) =
        m3u8_rs::parse_playlist(&text)
    else {
        return Err("index.m3u8 is no multivariant playlist".to_owned());
    };
    let uris = variants.into_iter().map(|v| v.uri).chain(alternatives.into_iter().filter_map(|a| a.uri));
    let mut names: Vec<String> = uris.filter_map(|uri| uri.strip_suffix("/index.m3u8").map(str::to_owned)).collect();
    names.sort_by_key(|name| (!name.starts_with('v'), name.clone()));
    names.dedup();
    Ok(names)
}

/// The lines of a segment that begin with `word`: what the model encoders wrote down.
fn texts<'a>(body: &'a [u8], word: &'static [u8]) -> impl Iterator<Item = &'a str> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let at = rest.windows(word.len()).position(|w| w == word)?;
        let line = rest[at..].split(|&b| b == b'\n').next()?;
        rest = &rest[at + line.len()..];
        std::str::from_utf8(line).ok()
    })
}

/// `slot 17 shows 4 rung 0 #…`
fn picture(line: &str) -> Option<(u64, Option<i64>)> {
    let words: Vec<&str> = line.split(' ').collect();
    Some((words.get(1)?.parse().ok()?, words.get(3)?.parse().ok()))
}

/// `frame 17 holds -48000:1024 #…`
fn sound(line: &str) -> Option<(u64, Option<i64>)> {
    let words: Vec<&str> = line.split(' ').collect();
    let whole = match words.get(3..)? {
        [run, _] => run.strip_suffix(":1024").and_then(|offset| offset.parse().ok()),
        _ => None,
    };
    Some((words.get(1)?.parse().ok()?, whole))
}
