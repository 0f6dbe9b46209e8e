//! Coded pictures of any format we emit: what becomes a sample, and what the sample entry says.

use bytes::Bytes;

use super::read::sets_of_record;
use super::record::ConfigError;
use super::{Av1Config, AvcConfig, HevcConfig};
use super::{av1, avc, hevc};
use crate::wire::codec::annexb::nal_units;
use crate::wire::codec::av1::{is_shown_key, kind, obus};

/// Which coding format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264, Annex B.
    Avc,
    /// HEVC, Annex B.
    Hevc,
    /// AV1, low-overhead format.
    Av1,
}

/// Takes the access units of a segment apart.
#[derive(Debug)]
pub struct Pictures {
    sets: Sets,
}

#[derive(Debug)]
enum Sets {
    Avc(avc::ParameterSets),
    Hevc(hevc::ParameterSets),
    /// Sequence headers, each once.
    Av1(Vec<Bytes>),
}

impl Pictures {
    /// For one segment.
    pub fn new(codec: VideoCodec) -> Self {
        let sets = match codec {
            VideoCodec::Avc => Sets::Avc(avc::ParameterSets::default()),
            VideoCodec::Hevc => Sets::Hevc(hevc::ParameterSets::default()),
            VideoCodec::Av1 => Sets::Av1(Vec::new()),
        };
        Self { sets }
    }

    /// Whether each piece of a sample has its length, of four bytes, in front of it.
    pub fn has_lengths(&self) -> bool {
        !matches!(self.sets, Sets::Av1(_))
    }

    /// Appends the pieces of `unit` that belong into its sample and notes its parameter sets. Says whether a decoder that
    /// knows nothing of what came before may start here: at an IDR picture, at a key frame that is shown at once.
    pub fn take(&mut self, unit: &Bytes, pieces: &mut Vec<Bytes>) -> bool {
        let sets = match &mut self.sets {
            Sets::Av1(headers) => return take_temporal_unit(unit, headers, pieces),
            sets => sets,
        };
        let mut key = false;
        for nal in nal_units(unit) {
            let wanted = match sets {
                Sets::Hevc(_) => hevc::is_sample_nal(nal),
                _ => avc::is_sample_nal(nal),
            };
            let nal = unit.slice_ref(nal);
            match sets {
                Sets::Avc(_) if wanted => key |= avc::is_idr(&nal),
                Sets::Hevc(_) if wanted => key |= hevc::is_idr(&nal),
                Sets::Avc(sets) => sets.note(&nal),
                Sets::Hevc(sets) => sets.note(&nal),
                Sets::Av1(_) => {}
            }
            if wanted {
                pieces.push(nal);
            }
        }
        key
    }

    /// What the sample entry must say.
    pub fn config(&self) -> Result<VideoConfig, ConfigError> {
        Ok(match &self.sets {
            Sets::Avc(sets) => VideoConfig::Avc(AvcConfig::new(sets)?),
            Sets::Hevc(sets) => VideoConfig::Hevc(HevcConfig::new(sets)?),
            Sets::Av1(headers) => VideoConfig::Av1(Av1Config::new(headers)?),
        })
    }
}

/// AV1's part of [`Pictures::take`]. Units that stay next to each other make one piece.
fn take_temporal_unit(unit: &Bytes, headers: &mut Vec<Bytes>, pieces: &mut Vec<Bytes>) -> bool {
    let before = pieces.len();
    let (mut at, mut run) = (0, 0..0);
    // Set by the first frame: whether it is a key frame that is shown, behind a sequence header.
    let (mut key, mut sequence) = (None, false);
    for obu in obus(unit) {
        let Some(obu) = obu else {
            // What cannot be read to its end is no sample.
            pieces.truncate(before);
            return false;
        };
        match obu.kind {
            kind::SEQUENCE_HEADER => {
                sequence = true;
                if !headers.iter().any(|known| known[..] == *obu.whole) {
                    headers.push(unit.slice_ref(obu.whole));
                }
            }
            kind::FRAME | kind::FRAME_HEADER => {
                key.get_or_insert(sequence && is_shown_key(obu.payload));
            }
            _ => {}
        }
        let end = at + obu.whole.len();
        if !av1::is_sample_obu(&obu) {
            pieces.extend(Some(unit.slice(run)).filter(|run| !run.is_empty()));
            run = end..end;
        } else {
            run.end = end;
        }
        at = end;
    }
    pieces.extend(Some(unit.slice(run)).filter(|run| !run.is_empty()));
    key.unwrap_or(false)
}

/// What a sample entry says of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoConfig {
    /// `avc1`.
    Avc(AvcConfig),
    /// `hvc1`.
    Hevc(HevcConfig),
    /// `av01`.
    Av1(Av1Config),
}

impl VideoConfig {
    /// What a record says that [`Self::record`] gave.
    ///
    /// # Errors
    /// It is none of this format.
    pub fn of_record(codec: VideoCodec, record: &[u8]) -> Result<Self, ConfigError> {
        let mut pictures = Pictures::new(codec);
        let sets = || sets_of_record(record, codec == VideoCodec::Hevc).ok_or(ConfigError::Unreadable);
        match &mut pictures.sets {
            Sets::Avc(known) => sets()?.iter().for_each(|set| known.note(set)),
            Sets::Hevc(known) => sets()?.iter().for_each(|set| known.note(set)),
            // Behind four bytes of its own.
            Sets::Av1(known) => {
                known.push(Bytes::copy_from_slice(record.get(4..).ok_or(ConfigError::Unreadable)?));
            }
        }
        pictures.config()
    }

    /// Codec string of RFC 6381.
    pub fn codec(&self) -> String {
        match self {
            Self::Avc(avc) => avc.codec(),
            Self::Hevc(hevc) => hevc.codec(),
            Self::Av1(av1) => av1.codec(),
        }
    }

    /// Width and height in samples.
    pub fn size(&self) -> (u32, u32) {
        match self {
            Self::Avc(AvcConfig { sps, .. }) => (sps.width, sps.height),
            Self::Hevc(HevcConfig { sps, .. }) => (sps.width, sps.height),
            Self::Av1(Av1Config { sequence, .. }) => (sequence.width, sequence.height),
        }
    }

    /// Width : height of a sample; square where nothing is said. AV1 has none.
    pub fn sample_aspect(&self) -> (u16, u16) {
        match self {
            Self::Avc(AvcConfig { sps, .. }) => sps.sample_aspect,
            Self::Hevc(HevcConfig { sps, .. }) => sps.sample_aspect,
            Self::Av1(_) => None,
        }
        .unwrap_or((1, 1))
    }

    /// The record of the configuration box.
    pub fn record(&self) -> &[u8] {
        match self {
            Self::Avc(avc) => &avc.record,
            Self::Hevc(hevc) => &hevc.record,
            Self::Av1(av1) => &av1.record,
        }
    }

    /// Types of the sample entry and of its configuration box.
    pub(super) fn kinds(&self) -> [&'static [u8; 4]; 2] {
        match self {
            Self::Avc(_) => [b"avc1", b"avcC"],
            Self::Hevc(_) => [b"hvc1", b"hvcC"],
            Self::Av1(_) => [b"av01", b"av1C"],
        }
    }

    /// In what `other` differs from this, in words; `None` where a player notices nothing.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let pairs = [
            ("codec", self.codec(), other.codec()),
            ("size", shape("x", self.size()), shape("x", other.size())),
            ("sample aspect", shape(":", self.sample_aspect()), shape(":", other.sample_aspect())),
        ];
        let said: Vec<String> = pairs
            .into_iter()
            .filter(|(_, here, there)| here != there)
            .map(|(what, here, there)| format!("{what} {there} in place of {here}"))
            .collect();
        if !said.is_empty() {
            return Some(said.join(", "));
        }
        let (here, there) = (self.record(), other.record());
        let at = here.iter().zip(there).position(|(a, b)| a != b).unwrap_or(here.len().min(there.len()));
        let kind = String::from_utf8_lossy(self.kinds()[1]);
        (here != there).then(|| format!("codec and size are the same, but {kind} differs from byte {at} on"))
    }
}

fn shape(between: &str, (a, b): (impl ToString, impl ToString)) -> String {
    format!("{}{between}{}", a.to_string(), b.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEQUENCE: &[u8] = b"\x0a\x0b\x00\x00\x00\x0c\xc4\xff\x67\x3e\xfe\x40\x10";

    fn taken(codec: VideoCodec, unit: &[&[u8]]) -> (bool, Vec<Bytes>) {
        let mut pieces = Vec::new();
        let key = Pictures::new(codec).take(&unit.concat().into(), &mut pieces);
        (key, pieces)
    }

    #[test]
    fn temporal_units_become_samples() {
        let (delimiter, padding) = (&b"\x12\x00"[..], &b"\x7a\x01\x80"[..]);
        let (key, inter) = (&b"\x32\x03\x10\xaa\xbb"[..], &b"\x32\x02\x30\xcc"[..]);
        for (name, unit, want, starts) in [
            ("a key frame", &[delimiter, SEQUENCE, key][..], vec![[SEQUENCE, key].concat()], true),
            ("a frame", &[delimiter, inter], vec![inter.to_vec()], false),
            ("no delimiter", &[inter], vec![inter.to_vec()], false),
            ("padding between", &[delimiter, key, padding, inter], vec![key.to_vec(), inter.to_vec()], false),
            (
                "a key frame behind another frame",
                &[delimiter, SEQUENCE, inter, key],
                vec![[SEQUENCE, inter, key].concat()],
                false,
            ),
            ("cut short", &[delimiter, SEQUENCE, &key[..4]], vec![], false),
            ("nothing but a delimiter", &[delimiter], vec![], false),
        ] {
            assert_eq!(taken(VideoCodec::Av1, unit), (starts, want.into_iter().map(Bytes::from).collect()), "{name}");
        }
    }

    #[test]
    fn the_difference_is_named() {
        let av1 =
            |header: &'static [u8]| VideoConfig::Av1(Av1Config::new(&[Bytes::from_static(header)]).expect("good"));
        let here = av1(SEQUENCE);
        assert_eq!(here.difference(&here), None);
        // 426x240 at 10 bits.
        let small = av1(b"\x0a\x0e\x00\x00\x00\x04\x3e\xa7\xbc\xda\xf9\x50\x10\x10\x10\x40");
        assert_eq!(
            here.difference(&small).as_deref(),
            Some("codec av01.0.00M.10 in place of av01.0.01M.08, size 426x240 in place of 640x360")
        );
        let mut other = here.clone();
        if let VideoConfig::Av1(config) = &mut other {
            config.record[12] ^= 1;
        }
        assert_eq!(
            here.difference(&other).as_deref(),
            Some("codec and size are the same, but av1C differs from byte 12 on")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..120)) {
            let unit = Bytes::from(data);
            for codec in [VideoCodec::Avc, VideoCodec::Hevc, VideoCodec::Av1] {
                let (mut pictures, mut pieces) = (Pictures::new(codec), Vec::new());
                pictures.take(&unit, &mut pieces);
                prop_assert!(pieces.iter().all(|p| !p.is_empty()));
                prop_assert!(pieces.iter().map(Bytes::len).sum::<usize>() <= unit.len());
                let _ = pictures.config();
            }
        }
    }
}
