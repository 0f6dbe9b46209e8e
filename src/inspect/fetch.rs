//! HTTP as a player does it: one agent, connections kept.
//!
//! In:    resources.
//! Out:   their bytes, or why not.
//! Never: follows a playlist, retries.

use std::io::Read;
use std::time::Duration;

/// More than any playlist or segment; what is longer is cut off and fails to parse.
const BODY_MAX: u64 = 512 << 20;

/// Something to fetch: a URL or a file, and a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// `http://…` or the path of a file.
    pub url: String,
    /// First byte and length.
    pub range: Option<(u64, u64)>,
}

/// Fetches.
#[derive(Clone, Debug)]
pub struct Fetcher {
    agent: ureq::Agent,
}

impl Fetcher {
    /// A fetcher with connections of its own.
    pub fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .user_agent("tandem-inspect")
            .build();
        Self { agent: config.new_agent() }
    }

    /// The bytes of `resource`.
    ///
    /// # Errors
    /// A text for people: the status, or what broke.
    pub fn get(&self, resource: &Resource) -> Result<Vec<u8>, String> {
        let Resource { url, range } = resource;
        if !url.starts_with("http://") {
            return file(url, *range).map_err(|e| format!("{url}: {e}"));
        }
        let mut request = self.agent.get(url);
        if let Some((first, length)) = range {
            request = request.header("range", format!("bytes={first}-{}", first + length.max(&1) - 1));
        }
        let mut answer = request.call().map_err(|e| format!("{url}: {e}"))?;
        let want = if range.is_some() { 206 } else { 200 };
        if answer.status().as_u16() != want {
            return Err(format!("{url}: answered {}", answer.status()));
        }
        answer.body_mut().with_config().limit(BODY_MAX).read_to_vec().map_err(|e| format!("{url}: {e}"))
    }
}

fn file(path: &str, range: Option<(u64, u64)>) -> std::io::Result<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let mut out = Vec::new();
    let (first, length) = range.unwrap_or((0, BODY_MAX));
    file.seek(SeekFrom::Start(first))?;
    file.take(length).read_to_end(&mut out)?;
    Ok(out)
}

/// `reference` as seen from `base` (RFC 3986 §5.2, as far as playlists need it).
pub fn resolve(base: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let (scheme, rest) = base.split_once("://").map_or(("", base), |(s, r)| (s, r));
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let prefix = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    if reference.starts_with('/') {
        let host = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or(rest) };
        return format!("{prefix}{host}{reference}");
    }
    let folder = rest.rfind('/').map_or("", |at| &rest[..=at]);
    let mut path: Vec<&str> = folder.split('/').collect();
    path.pop();
    for step in reference.split('/') {
        match step {
            "." => {}
            ".." => _ = path.pop(),
            step => path.push(step),
        }
    }
    format!("{prefix}{}", path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_as_a_player_does() {
        for (base, reference, want) in [
            ("http://h:1/live/c/index.m3u8?x=1/2", "v/0.m4s", "http://h:1/live/c/v/0.m4s"),
            ("http://h:1/live/c/index.m3u8", "/a/b", "http://h:1/a/b"),
            ("http://h:1/live/c/index.m3u8", "../d/e.m4s", "http://h:1/live/d/e.m4s"),
            ("http://h:1/live/index.m3u8", "http://o/x", "http://o/x"),
            ("folder/index.m3u8", "s.m4s", "folder/s.m4s"),
            ("index.m3u8", "s.m4s", "s.m4s"),
            ("/tmp/x/index.m3u8", "s.m4s", "/tmp/x/s.m4s"),
        ] {
            assert_eq!(resolve(base, reference), want);
        }
    }
}
