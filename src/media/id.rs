//! Names. They appear in URLs, stream ids, metrics and file names, so their alphabet is small.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 64 of a-z, 0-9, `-` and `_`, beginning with a letter or digit")]
pub struct IdError(String);

fn checked(text: &str) -> Result<Arc<str>, IdError> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fine = (1..=64).contains(&text.len())
        && text.bytes().all(|b| good(b) || b == b'-' || b == b'_')
        && text.bytes().next().is_some_and(good);
    if fine { Ok(text.into()) } else { Err(IdError(text.chars().take(80).collect())) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the alphabet: 1 to 64 of `a-z 0-9 - _`, beginning with a letter or digit.
            pub fn new(text: &str) -> Result<Self, IdError> {
                checked(text).map(Self)
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// One linear programme. First part of every URL and stream id.
    ChannelId
}

name! {
    /// One contribution feed of a channel; unique inside its channel.
    SourceName
}

name! {
    /// One output of a channel, by which its transport stream leaves; unique inside its channel.
    OutputName
}

name! {
    /// What a class of devices is offered of a channel; unique inside its channel, renditions included. Part of its URLs.
    ProfileId
}

name! {
    /// One rung of the ladder or one audio track; unique inside its channel. Part of every media URL.
    RenditionId
}

/// One contribution feed, named across channels: `channel/source`, as SRT's stream id spells it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceId {
    /// The channel it feeds.
    pub channel: ChannelId,
    /// Its name there.
    pub source: SourceName,
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.channel, self.source)
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One output, named across channels: `channel/output`, as SRT's stream id spells it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OutputId {
    /// The channel it belongs to.
    pub channel: ChannelId,
    /// Its name there.
    pub output: OutputName,
}

impl fmt::Display for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.channel, self.output)
    }
}

impl fmt::Debug for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One of the two redundant pipelines of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PipelineId {
    /// Pipeline A.
    A,
    /// Pipeline B.
    B,
}

impl PipelineId {
    /// Both, A first.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The redundant peer.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `a` or `b`, as paths, metrics and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// 0 or 1, to index a pair.
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        for good in ["news", "a", "0", "tv-h264", "s_1", &"x".repeat(64)] {
            assert!(ChannelId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "News", "a/b", "a b", "é", "a.b", &"x".repeat(65)] {
            assert!(ChannelId::new(bad).is_err(), "{bad}");
        }
    }
}
