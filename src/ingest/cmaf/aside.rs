//! What our own publisher says that plain CMAF cannot: `uuid` boxes between the others (ISO/IEC 14496-12 §4.2, §11.1), which every other
//! reader passes over.
//!
//! Behind the header: the track's times are channel time, and each segment is followed by the second kind. Behind the last chunk of a segment:
//! which one it was, how many units it has, and what had to be made up in it. In a stream of their own: what the host says of itself.

use crate::channel::HostWord;
use crate::encode::ipc::Filled;
use crate::media::{ChannelTime, SegmentNumber};
use crate::timeline::Told;

/// Tells our boxes from all others.
const TYPE: [u8; 16] = *b"\x6f\x3d\x0c\x91\xb7\x52\x4e\x0a\x9d\x18\x2c\xe4\x7a\x35\xf0\x68";
/// Of what follows the type. A reader passes over versions that it does not know.
const VERSION: u8 = 1;
/// The kind of what a host says of itself.
const HOST: u8 = 2;
/// The track's name under which a host says it: none of a rendition, for those begin with a letter or digit.
pub const HOST_TRACK: &str = "_host";

/// One box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aside {
    /// The track's times are channel time.
    ChannelTime,
    /// A segment is whole.
    Segment {
        /// Which.
        number: SegmentNumber,
        /// Its units.
        units: u32,
        /// What had to be made up.
        filled: Filled,
    },
    /// What the host that publishes says of itself.
    Host(Box<HostWord>),
}

impl Aside {
    /// It is what a host says of itself, or should be.
    pub fn is_of_host(content: &[u8]) -> bool {
        content.strip_prefix(&TYPE).is_some_and(|rest| rest.starts_with(&[VERSION, HOST]))
    }

    /// Reads the content of a `uuid` box; `None` for somebody else's, or of a version that is not known here.
    pub fn parse(content: &[u8]) -> Option<Self> {
        let rest = content.strip_prefix(&TYPE)?;
        let (&[VERSION, kind], rest) = rest.split_first_chunk()? else { return None };
        let word = |at: usize| rest.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        match kind {
            0 => Some(Self::ChannelTime),
            1 => {
                let number = SegmentNumber(u64::from(word(0)?) << 32 | u64::from(word(4)?));
                let filled = Filled {
                    repeated: word(12)?,
                    slate: word(16)?,
                    silent_samples: word(20)?,
                    damaged: word(24)?,
                    skipped: word(28)?,
                };
                Some(Self::Segment { number, units: word(8)?, filled })
            }
            HOST => {
                let (began, rest) = rest.split_first_chunk()?;
                let (&[shows], rest) = rest.split_first_chunk()?;
                let anchors = Told::read(rest)?;
                Some(Self::Host(Box::new(HostWord {
                    began: ChannelTime::from_ticks(i64::from_be_bytes(*began)),
                    shows_own: shows & 1 != 0,
                    shows_other: shows & 2 != 0,
                    anchors,
                })))
            }
            _ => None,
        }
    }

    /// The whole box.
    pub fn write(self) -> Vec<u8> {
        let mut content = TYPE.to_vec();
        content.push(VERSION);
        match self {
            Self::ChannelTime => content.push(0),
            Self::Segment { number, units, filled: Filled { repeated, slate, silent_samples, damaged, skipped } } => {
                content.push(1);
                content.extend(number.0.to_be_bytes());
                for word in [units, repeated, slate, silent_samples, damaged, skipped] {
                    content.extend(word.to_be_bytes());
                }
            }
            Self::Host(word) => {
                let HostWord { began, shows_own, shows_other, anchors } = *word;
                content.push(HOST);
                content.extend(began.ticks().to_be_bytes());
                content.push(u8::from(shows_own) | u8::from(shows_other) << 1);
                content.extend(anchors.write());
            }
        }
        let total = content.len() as u32 + 8;
        [&total.to_be_bytes()[..], b"uuid", &content].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn others_are_passed_over() {
        let ours = Aside::ChannelTime.write();
        assert_eq!(Aside::parse(&ours[8..]), Some(Aside::ChannelTime));
        let mut later = ours.clone();
        later[24] = 2;
        let mut other = ours.clone();
        other[8] ^= 1;
        for (name, content) in [("a later version", &later[8..]), ("a stranger's", &other[8..]), ("cut", &ours[8..25])]
        {
            assert_eq!(Aside::parse(content), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, units: u32, filled: [u32; 5], cut in 0usize..50) {
            let [repeated, slate, silent_samples, damaged, skipped] = filled;
            let filled = Filled { repeated, slate, silent_samples, damaged, skipped };
            let aside = Aside::Segment { number: SegmentNumber(number), units, filled };
            let bytes = aside.clone().write();
            prop_assert_eq!(bytes.len() as u32, u32::from_be_bytes(*bytes.first_chunk().expect("four bytes")));
            prop_assert_eq!(Aside::parse(&bytes[8..]), Some(aside));
            prop_assert_eq!(Aside::parse(&bytes[8..8 + cut]), None);
        }
    }
}
