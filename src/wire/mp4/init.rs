//! CMAF header: `ftyp` and `moov` of one track (ISO/IEC 23000-19 §7.3.1). No samples, no dates.

use super::boxes::Writer;
use super::video::VideoConfig;

/// One track: what its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Ticks a second.
    pub timescale: u32,
    /// ISO 639-2/T, in small letters; `und` where there is none (§8.4.2).
    pub language: [u8; 3],
    /// Added to every composition offset, in ticks: how far pictures may be moved by reordering. An edit takes it off again.
    pub reorder_ticks: u32,
    /// Picture or sound.
    pub media: TrackMedia,
}

/// Picture or sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackMedia {
    /// Pictures.
    Video(VideoConfig),
    /// AAC-LC.
    Aac(AudioTrack),
}

/// An AAC-LC track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// Samples a second.
    pub rate: u32,
    /// 1, 2, or 6 for 5.1 (channelConfiguration, ISO/IEC 14496-3 Table 1.19).
    pub channels: u8,
    /// Bits a second, as configured.
    pub bitrate: u32,
}

impl AudioTrack {
    /// AudioSpecificConfig of AAC-LC (ISO/IEC 14496-3 §1.6.2.1): object type 2, frequency, channels, 1,024 samples.
    fn specific_config(self) -> [u8; 2] {
        const RATES: [u32; 13] =
            [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
        let frequency = RATES.iter().position(|&r| r == self.rate).unwrap_or(3) as u16;
        (2u16 << 11 | frequency << 7 | u16::from(self.channels) << 3).to_be_bytes()
    }
}

/// Each of our files holds one track, so its number says nothing.
pub(super) const TRACK_ID: u32 = 1;

/// Unity, as `mvhd` and `tkhd` spell it (§8.2.2).
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// The CMAF header of `track`.
pub fn header(track: &Track) -> Vec<u8> {
    let mut w = Writer::default();
    // `cmfc` (23000-19 §7.2): reordering is taken off by an edit list. `cmf2` has signed composition offsets instead, but
    // ffmpeg 5.1 and GStreamer 1.22 then show every picture as late as the largest offset is below zero, 40 or 80 ms
    // behind the sound, and re_mp4 0.5 reads them as unsigned. With the edit all of them agree with the browsers.
    // Brands of media profiles (`cfhd`, `chhd`) promise levels, rates and colours; what a player needs of them stands in the
    // sample entry. AV1's brand promises nothing but the binding itself (AV1-ISOBMFF §2.1).
    w.boxed(b"ftyp", |w| {
        w.bytes(b"cmfc").u32(0).bytes(b"cmfc").bytes(b"iso6");
        if let TrackMedia::Video(VideoConfig::Av1(_)) = track.media {
            w.bytes(b"av01");
        }
    });
    w.boxed(b"moov", |w| {
        mvhd(w, track);
        w.boxed(b"trak", |w| {
            tkhd(w, track);
            if track.reorder_ticks > 0 {
                w.boxed(b"edts", |w| elst(w, track));
            }
            w.boxed(b"mdia", |w| mdia(w, track));
        });
        w.boxed(b"mvex", |w| {
            // §8.8.3: sample description 1; every default is in `tfhd`.
            w.full(b"trex", 0, 0, |w| {
                w.u32(TRACK_ID).u32(1).u32(0).u32(0).u32(0);
            });
        });
    });
    w.finish()
}

fn mvhd(w: &mut Writer, track: &Track) {
    // §8.2.2: no dates, no duration (the track is fragmented and live), rate 1.0, volume 1.0.
    w.full(b"mvhd", 0, 0, |w| {
        w.u32(0).u32(0).u32(track.timescale).u32(0).u32(0x1_0000).u16(0x100).zeros(10);
        MATRIX.iter().for_each(|&v| {
            w.u32(v);
        });
        w.zeros(24).u32(TRACK_ID + 1);
    });
}

fn tkhd(w: &mut Writer, track: &Track) {
    let (volume, width, height) = match &track.media {
        // As it is shown: in units of a sample's height.
        TrackMedia::Video(video) => {
            let ((width, height), (x, y)) = (video.size(), video.sample_aspect());
            let shown = (u64::from(width) << 16) * u64::from(x) / u64::from(y.max(1));
            (0, u32::try_from(shown).unwrap_or(u32::MAX), height << 16)
        }
        TrackMedia::Aac(_) => (0x100, 0, 0),
    };
    // §8.3.2: enabled, in movie, in preview.
    w.full(b"tkhd", 0, 7, |w| {
        w.u32(0).u32(0).u32(TRACK_ID).u32(0).u32(0).zeros(8).u16(0).u16(0).u16(volume).u16(0);
        MATRIX.iter().for_each(|&v| {
            w.u32(v);
        });
        w.u32(width).u32(height);
    });
}

/// One edit (§8.6.6): presentation begins `reorder_ticks` into the media and lasts as long as there are fragments.
fn elst(w: &mut Writer, track: &Track) {
    w.full(b"elst", 0, 0, |w| {
        w.u32(1).u32(0).u32(track.reorder_ticks).u16(1).u16(0);
    });
}

fn mdia(w: &mut Writer, track: &Track) {
    w.full(b"mdhd", 0, 0, |w| {
        w.u32(0).u32(0).u32(track.timescale).u32(0).u16(packed_language(track.language)).u16(0);
    });
    let (handler, name): (&[u8; 4], &[u8]) = match track.media {
        TrackMedia::Video(_) => (b"vide", b"video\0"),
        TrackMedia::Aac(_) => (b"soun", b"audio\0"),
    };
    w.full(b"hdlr", 0, 0, |w| {
        w.u32(0).bytes(handler).zeros(12).bytes(name);
    });
    w.boxed(b"minf", |w| {
        match track.media {
            TrackMedia::Video(_) => w.full(b"vmhd", 0, 1, |w| {
                w.zeros(8);
            }),
            TrackMedia::Aac(_) => w.full(b"smhd", 0, 0, |w| {
                w.zeros(4);
            }),
        }
        w.boxed(b"dinf", |w| {
            w.full(b"dref", 0, 0, |w| {
                w.u32(1);
                // §8.7.2: flag 1, the media is in this very file.
                w.full(b"url ", 0, 1, |_| {});
            });
        });
        w.boxed(b"stbl", |w| {
            w.full(b"stsd", 0, 0, |w| {
                w.u32(1);
                match &track.media {
                    TrackMedia::Video(video) => visual(w, video),
                    TrackMedia::Aac(aac) => mp4a(w, *aac),
                }
            });
            // 23000-19 §7.5.12: present and empty, for all samples are in fragments.
            for kind in [b"stts", b"stsc", b"stco"] {
                w.full(kind, 0, 0, |w| {
                    w.u32(0);
                });
            }
            w.full(b"stsz", 0, 0, |w| {
                w.u32(0).u32(0);
            });
        });
    });
}

/// ISO 639-2/T in three times five bits (§8.4.2.3).
fn packed_language(letters: [u8; 3]) -> u16 {
    let letters = if letters.iter().all(u8::is_ascii_lowercase) { letters } else { *b"und" };
    letters.iter().fold(0, |packed, &l| packed << 5 | u16::from(l - 0x60))
}

/// VisualSampleEntry (§12.1.3) with its configuration box (14496-15 §5.4.2 and §8.4.1, AV1-ISOBMFF §2.2) and `pasp`.
fn visual(w: &mut Writer, video: &VideoConfig) {
    let [entry, configuration] = video.kinds();
    // The fields hold 16 bits; the readers of sequence headers let nothing larger through.
    let (width, height) = video.size();
    let (width, height) = (width.min(0xffff) as u16, height.min(0xffff) as u16);
    w.boxed(entry, |w| {
        w.zeros(6).u16(1).zeros(16).u16(width).u16(height);
        // 72 dpi twice, one frame a sample, no compressor name, 24 bits, no colour table.
        w.u32(0x48_0000).u32(0x48_0000).u32(0).u16(1).zeros(32).u16(0x18).u16(0xffff);
        w.boxed(configuration, |w| {
            w.bytes(video.record());
        });
        let (x, y) = video.sample_aspect();
        w.boxed(b"pasp", |w| {
            w.u32(u32::from(x)).u32(u32::from(y));
        });
    });
}

/// AudioSampleEntry (§12.2.3) with `esds` (ISO/IEC 14496-14 §5.6.1).
fn mp4a(w: &mut Writer, aac: AudioTrack) {
    w.boxed(b"mp4a", |w| {
        w.zeros(6).u16(1).zeros(8).u16(u16::from(aac.channels)).u16(16).u32(0).u32(aac.rate << 16);
        w.full(b"esds", 0, 0, |w| {
            let specific = aac.specific_config();
            let (specific_len, config_len) = (specific.len() as u8, 13 + 2 + specific.len() as u8);
            // ES_Descriptor (14496-1 §7.2.6.5): ES_ID 0 in files, no flags.
            w.u8(3).u8(3 + 2 + config_len + 3).u16(0).u8(0);
            // DecoderConfigDescriptor: AAC, audio stream; buffer unknown, average = maximum = what is configured.
            w.u8(4).u8(config_len).u8(0x40).u8(0x15).zeros(3).u32(aac.bitrate).u32(aac.bitrate);
            w.u8(5).u8(specific_len).bytes(&specific);
            // SLConfigDescriptor: as MP4 files prescribe it (14496-14 §3.1.2).
            w.u8(6).u8(1).u8(2);
        });
    });
}
