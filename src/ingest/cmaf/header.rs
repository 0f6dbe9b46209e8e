//! A track's header: what it is, whether it is what a rendition wants, and how its samples become units.
//!
//! In:    the `moov` of a track; its samples.
//! Out:   whether it fits a rung of the ladder, with the reason if not; units as an encode process gives them.
//! Never: changes coded media.

use bytes::Bytes;

use super::time::Fine;
use crate::encode::ladder::{AudioRung, VideoFormat, VideoRung};
use crate::ingest::elementary::{access_unit, sized_units};
use crate::media::{AUDIO_FRAME_SAMPLES, AUDIO_RATE, Codec};
use crate::wire::codec::{h264, hevc};
use crate::wire::mp4::read::{Coding, LiveError, LiveTrack, Sample, Wrong};

/// A header, and what follows from it for the samples behind it.
#[derive(Clone, Debug)]
pub struct Header {
    track: LiveTrack,
    about: About,
}

/// What a track holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Pictures.
    Video {
        /// Coding format.
        format: VideoFormat,
        /// Width and height; not known where its sequence parameter set is not in the header.
        size: Option<(u32, u32)>,
    },
    /// AAC.
    Audio {
        /// Samples a second.
        rate: u32,
        /// channelConfiguration.
        channels: u8,
        /// AAC-LC.
        low_complexity: bool,
        /// ISO 639-2.
        language: Option<[u8; 3]>,
    },
}

/// A sample as an encode process would give it, at its presentation time.
#[derive(Clone, Debug)]
pub struct Timed {
    /// When it is shown or heard, in the sender's time.
    pub at: Fine,
    /// How long it lasts.
    pub lasts: Fine,
    /// A decoder may start here.
    pub key: bool,
    /// As [`CodedUnit`](crate::encode::ipc::CodedUnit) has it.
    pub data: Bytes,
}

impl Header {
    /// Reads the content of a `moov` box.
    ///
    /// # Errors
    /// It makes no sense, or is none of a track that can be followed.
    pub fn parse(moov: &[u8]) -> Result<Self, LiveError> {
        let track = LiveTrack::parse(moov)?;
        let it = track.about();
        let size = |sets: &[Bytes], shape: fn(&[u8]) -> Option<(u32, u32)>| sets.iter().find_map(|set| shape(set));
        let about = match &it.coding {
            Coding::H264(sets) => About::Video {
                format: VideoFormat::H264,
                size: size(&sets.sets, |nal| h264::Sps::parse(nal).map(|sps| (sps.width, sps.height))),
            },
            Coding::Hevc(sets) => About::Video {
                format: VideoFormat::Hevc,
                size: size(&sets.sets, |nal| hevc::Sps::parse(nal).map(|sps| (sps.width, sps.height))),
            },
            Coding::Aac(config) => About::Audio {
                rate: config.rate(),
                channels: config.channels(),
                low_complexity: config.is_low_complexity(),
                language: it.language,
            },
        };
        Ok(Self { track, about })
    }

    /// What the track holds.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Ticks a second; not 0.
    pub fn timescale(&self) -> u32 {
        self.track.about().timescale
    }

    /// The samples of a fragment.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn fragment(&mut self, start: u64, moof: &[u8]) -> Result<Vec<Sample>, Wrong> {
        self.track.fragment(start, moof)
    }

    /// A sample with its time. `None`: its NAL units cannot be told apart.
    pub fn timed(&self, sample: &Sample, data: &Bytes) -> Option<Timed> {
        let track = self.track.about();
        let fine = |ticks: i128| Fine::from_ticks(ticks, track.timescale);
        let at = fine(i128::from(sample.dts) + i128::from(sample.shift) + i128::from(track.edit));
        let (key, data) = match &track.coding {
            Coding::H264(sets) => byte_stream(Codec::H264, sets.length_bytes, &sets.sets, data)?,
            Coding::Hevc(sets) => byte_stream(Codec::Hevc, sets.length_bytes, &sets.sets, data)?,
            Coding::Aac(_) => (true, data.clone()),
        };
        Some(Timed { at, lasts: fine(i128::from(sample.duration)), key, data })
    }
}

/// nal_unit_type of pictures at which a decoder may start: IDR (ISO/IEC 14496-10 Table 7-1, 23008-2 Table 7-1).
fn is_idr(codec: Codec, unit: &[u8]) -> bool {
    let first = unit.first().copied().unwrap_or(0);
    if codec == Codec::Hevc { matches!(first >> 1 & 0x3f, 19 | 20) } else { first & 0x1f == 5 }
}

/// NAL units behind their lengths → Annex B, with parameter sets in front of an IDR picture.
fn byte_stream(codec: Codec, length_bytes: usize, sets: &[Bytes], sample: &[u8]) -> Option<(bool, Bytes)> {
    let (units, cut) = sized_units(sample, length_bytes);
    let key = units.iter().any(|unit| is_idr(codec, unit));
    // A delimiter alone leaves nothing.
    let data = access_unit(codec, sets, units.into_iter());
    (!cut && !data.is_empty()).then(|| (key, data.into()))
}

/// Why a track is not what a rendition wants, for people; `None` where it fits.
pub fn unfit_video(about: &About, rung: &VideoRung) -> Option<String> {
    let About::Video { format, size } = about else { return Some("it holds sound, not pictures".to_owned()) };
    if *format != rung.encoder.format() {
        return Some(format!("its pictures are {format:?}, the ladder's {:?}", rung.encoder.format()));
    }
    let (width, height) = size.unwrap_or((rung.width, rung.height));
    ((width, height) != (rung.width, rung.height))
        .then(|| format!("its pictures are {width}x{height}, the ladder's {}x{}", rung.width, rung.height))
}

/// The same of sound. The language does not matter to whoever named the rendition.
pub fn unfit_audio(about: &About, rung: &AudioRung) -> Option<String> {
    let About::Audio { rate, channels, low_complexity, .. } = *about else {
        return Some("it holds pictures, not sound".to_owned());
    };
    if !low_complexity {
        return Some("its sound is not AAC-LC".to_owned());
    }
    if rate != AUDIO_RATE {
        return Some(format!("its sound has {rate} samples a second, not {AUDIO_RATE}"));
    }
    (channels != rung.channels)
        .then(|| format!("its sound has channel configuration {channels}, the ladder's has {}", rung.channels))
}

/// A frame lasts this long.
pub fn audio_frame() -> Fine {
    Fine::from_ticks(i128::from(AUDIO_FRAME_SAMPLES), AUDIO_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::annexb::nal_units;

    #[test]
    fn samples_become_access_units() {
        let sets = [Bytes::from_static(&[0x67, 1]), Bytes::from_static(&[0x68])];
        for (name, sample, want) in [
            ("an IDR gets the sets", &[0, 2, 0x65, 0x88][..], Some((true, vec![9, 7, 8, 5]))),
            ("others do not", &[0, 2, 0x41, 0x9a], Some((false, vec![9, 1]))),
            ("a delimiter is not doubled", &[0, 2, 9, 0xf0, 0, 2, 0x41, 0x9a], Some((false, vec![9, 1]))),
            // Found by the fuzz target `cmaf`.
            ("a delimiter alone", &[0, 2, 9, 0xf0], None),
            ("an empty unit", &[0, 0], None),
            ("cut off", &[0, 9, 0x41, 0x9a], None),
        ] {
            let got = byte_stream(Codec::H264, 2, &sets, sample);
            let got = got.map(|(key, data)| (key, nal_units(&data).map(|nal| nal[0] & 0x1f).collect::<Vec<_>>()));
            assert_eq!(got, want, "{name}");
        }
    }
}
