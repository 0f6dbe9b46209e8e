//! What the address of a request means: `/ingest/{channel}/{pipeline}/…`, and behind it the track.
//!
//! Senders name tracks in many ways: `v720`, `v720.cmfv`, `Streams(v720.cmfv)` (DASH-IF Live Media Ingest §5.2) for one long body; `v720/init.mp4`
//! and `v720/17.m4s`, or `init-stream0.m4s` and `chunk-stream0-00017.m4s` (ffmpeg's own) for one a segment.

use crate::media::{ChannelId, PipelineId};

/// Longest name of a track, bytes.
const NAME_MAX: usize = 80;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A header, chunks, or both.
    Media,
    /// A playlist or MPD: we make our own.
    Manifest,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Of which channel.
    pub channel: ChannelId,
    /// Which pipeline.
    pub pipeline: PipelineId,
    /// The track's name: of all objects of one track the same.
    pub track: String,
    /// What it is.
    pub kind: Kind,
}

/// Reads the path of a request. `None`: it is no path of ours.
pub fn target(path: &str) -> Option<Target> {
    let mut steps = path.strip_prefix("/ingest/")?.splitn(3, '/');
    let channel = ChannelId::new(steps.next()?).ok()?;
    let pipeline = PipelineId::BOTH.into_iter().find(|it| steps.clone().next() == Some(it.as_str()))?;
    let rest = steps.nth(1)?;
    // Nothing of it becomes a name of a file, but what looks like a way out was not meant well.
    if rest.is_empty() || rest.contains("..") || !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (folder, file) = rest.rsplit_once('/').map_or((None, rest), |(folder, file)| (Some(folder), file));
    let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    let kind = match extension {
        "mpd" | "m3u8" => Kind::Manifest,
        _ => Kind::Media,
    };
    let track = match (streams(rest), folder) {
        (Some(name), _) => name.rsplit_once('.').map_or(name, |(stem, _)| stem),
        (None, Some(folder)) => folder.rsplit('/').next().unwrap_or(folder),
        (None, None) => numbered(stem),
    };
    let fine = kind == Kind::Manifest || (1..=NAME_MAX).contains(&track.len());
    fine.then(|| Target { channel, pipeline, track: track.chars().take(NAME_MAX).collect(), kind })
}

/// The name inside of `Streams(…)`, at the end of a path.
fn streams(rest: &str) -> Option<&str> {
    rest.rsplit('/').next()?.strip_prefix("Streams(")?.strip_suffix(')')
}

/// The track of an object whose name has the track's in it: `init-X`, `chunk-X-00001`.
fn numbered(stem: &str) -> &str {
    if let Some(track) = stem.strip_prefix("init-") {
        return track;
    }
    match stem.strip_prefix("chunk-").and_then(|rest| rest.rsplit_once('-')) {
        Some((track, number)) if number.bytes().all(|b| b.is_ascii_digit()) => track,
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_tracks_are_found() {
        for (path, want) in [
            ("/ingest/news/b/v720", Some("v720")),
            ("/ingest/news/b/v720.cmfv", Some("v720")),
            ("/ingest/news/b/Streams(v720.cmfv)", Some("v720")),
            ("/ingest/news/b/Streams(a-deu)", Some("a-deu")),
            ("/ingest/news/b/v720/init.mp4", Some("v720")),
            ("/ingest/news/b/v720/17.m4s", Some("v720")),
            ("/ingest/news/b/some/where/v720/17.m4s", Some("v720")),
            ("/ingest/news/b/init-stream0.m4s", Some("stream0")),
            ("/ingest/news/b/chunk-stream0-00017.m4s", Some("stream0")),
            ("/ingest/news/b/chunk-stream0.m4s", Some("chunk-stream0")),
            ("/ingest/news/c/v720", None),
            ("/ingest/News/b/v720", None),
            ("/ingest/news/b/", None),
            ("/ingest/news/b", None),
            ("/ingest/news/b/../../x", None),
            ("/ingest/news/b/a b", None),
            ("/live/news/b/v720", None),
        ] {
            assert_eq!(target(path).map(|it| it.track).as_deref(), want, "{path}");
        }
        for (path, want) in [("/ingest/n/a/m.mpd", Kind::Manifest), ("/ingest/n/a/v/x.m3u8", Kind::Manifest)] {
            let it = target(path).expect(path);
            assert_eq!((it.kind, it.pipeline), (want, PipelineId::A), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_survived(rest in "[ -~é]{0,120}") {
            if let Some(it) = target(&format!("/ingest/n/a/{rest}")) {
                prop_assert!(it.track.len() <= NAME_MAX);
            }
        }
    }
}
