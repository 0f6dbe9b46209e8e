//! Which channels there are and where their content comes from. Readers take no lock: a request loads the current map
//! and looks its path up in the channel's newest snapshot.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::media::ChannelId;
use crate::package::{Lookup, Snapshot};

/// Where players begin: the presence of one of them says that a channel publishes.
const ENTRIES: [&str; 4] = ["index.m3u8", "manifest.mpd", "low.mpd", "ts/index.m3u8"];

/// Every channel the origin knows. One owner changes it; any number of requests read it.
#[derive(Debug, Default)]
pub struct Directory {
    channels: ArcSwap<HashMap<String, ChannelFeed>>,
}

impl Directory {
    /// Adds a channel, or replaces its feed.
    pub fn insert(&self, channel: &ChannelId, feed: ChannelFeed) {
        self.channels.rcu(|old| {
            let mut new = HashMap::clone(old);
            new.insert(channel.as_str().to_owned(), feed.clone());
            new
        });
    }

    /// Takes a channel away; its URLs answer 404 from here on.
    pub fn remove(&self, channel: &ChannelId) {
        self.channels.rcu(|old| {
            let mut new = HashMap::clone(old);
            new.remove(channel.as_str());
            new
        });
    }

    /// The feed of a channel, by the name a request spelled.
    pub fn feed(&self, channel: &str) -> Option<ChannelFeed> {
        self.channels.load().get(channel).cloned()
    }

    /// At least one channel has something to play.
    pub fn publishes(&self) -> bool {
        self.channels.load().values().any(ChannelFeed::publishes)
    }
}

/// Where one channel's content comes from.
#[derive(Clone)]
pub struct ChannelFeed(Feed);

#[derive(Clone)]
enum Feed {
    Live(watch::Receiver<Arc<Snapshot>>),
    With(Arc<dyn Fn(&str) -> Lookup + Send + Sync>),
}

impl ChannelFeed {
    /// A channel's snapshots as its packager publishes them.
    pub fn live(snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self(Feed::Live(snapshots))
    }

    /// Content that is looked up by a function of the path below `/live/{channel}/`: fixtures and benchmarks.
    pub fn with(lookup: impl Fn(&str) -> Lookup + Send + Sync + 'static) -> Self {
        Self(Feed::With(Arc::new(lookup)))
    }

    /// What `path`, relative to `/live/{channel}/`, leads to right now; `query` may hold delivery directives.
    pub fn ask(&self, path: &str, query: Option<&str>) -> Lookup {
        match &self.0 {
            // `borrow` holds up nobody but the publisher, and that only while a pointer is copied.
            Feed::Live(snapshots) => {
                let snapshot = Arc::clone(&snapshots.borrow());
                snapshot.ask(path, query)
            }
            Feed::With(lookup) => lookup(path),
        }
    }

    /// The channel has something to play.
    pub fn publishes(&self) -> bool {
        ENTRIES.iter().any(|entry| matches!(self.ask(entry, None), Lookup::Found(_)))
    }

    /// The snapshots that are still to come, where there are any.
    pub fn snapshots(&self) -> Option<watch::Receiver<Arc<Snapshot>>> {
        match &self.0 {
            Feed::Live(snapshots) => Some(snapshots.clone()),
            Feed::With(_) => None,
        }
    }
}

impl fmt::Debug for ChannelFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Feed::Live(_) => "ChannelFeed::live",
            Feed::With(_) => "ChannelFeed::with",
        })
    }
}
