//! CMAF header: `ftyp` and `moov` of one track (ISO/IEC 23000-19 §7.3.1). No samples, no dates.

use super::avc::AvcConfig;
use super::boxes::Writer;

/// One track: what its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Ticks a second.
    pub timescale: u32,
    /// BCP 47; an `und`-like three-letter tag also fills `mdhd`, whose field holds nothing else (§8.4.2).
    pub language: String,
    /// Added to every composition offset, in ticks: how far pictures may be moved by reordering. An edit takes it off again.
    pub reorder_ticks: u32,
    /// Picture or sound.
    pub media: TrackMedia,
}

/// Picture or sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackMedia {
    /// H.264, square samples.
    Avc(AvcConfig),
    /// AAC-LC.
    Aac(AudioTrack),
}

/// An AAC-LC track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// Samples a second.
    pub rate: u32,
    /// 1 or 2.
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
    w.boxed(b"ftyp", |w| {
        w.bytes(b"cmfc").u32(0).bytes(b"cmfc").bytes(b"iso6");
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
        TrackMedia::Avc(avc) => (0, avc.sps.width, avc.sps.height),
        TrackMedia::Aac(_) => (0x100, 0, 0),
    };
    // §8.3.2: enabled, in movie, in preview.
    w.full(b"tkhd", 0, 7, |w| {
        w.u32(0).u32(0).u32(TRACK_ID).u32(0).u32(0).zeros(8).u16(0).u16(0).u16(volume).u16(0);
        MATRIX.iter().for_each(|&v| {
            w.u32(v);
        });
        w.u32(width << 16).u32(height << 16);
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
        w.u32(0).u32(0).u32(track.timescale).u32(0).u16(packed_language(&track.language)).u16(0);
    });
    let (handler, name): (&[u8; 4], &[u8]) = match track.media {
        TrackMedia::Avc(_) => (b"vide", b"video\0"),
        TrackMedia::Aac(_) => (b"soun", b"audio\0"),
    };
    w.full(b"hdlr", 0, 0, |w| {
        w.u32(0).bytes(handler).zeros(12).bytes(name);
    });
    w.boxed(b"minf", |w| {
        match track.media {
            TrackMedia::Avc(_) => w.full(b"vmhd", 0, 1, |w| {
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
                    TrackMedia::Avc(avc) => avc1(w, avc),
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
fn packed_language(tag: &str) -> u16 {
    let letters = match tag.as_bytes() {
        &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_lowercase) => [a, b, c],
        _ => *b"und",
    };
    letters.iter().fold(0, |packed, &l| packed << 5 | u16::from(l - 0x60))
}

/// VisualSampleEntry (§12.1.3) with `avcC` (14496-15 §5.4.2) and square samples.
fn avc1(w: &mut Writer, avc: &AvcConfig) {
    // The fields hold 16 bits; the SPS reader lets nothing larger through.
    let (width, height) = (avc.sps.width.min(0xffff) as u16, avc.sps.height.min(0xffff) as u16);
    w.boxed(b"avc1", |w| {
        w.zeros(6).u16(1).zeros(16).u16(width).u16(height);
        // 72 dpi twice, one frame a sample, no compressor name, 24 bits, no colour table.
        w.u32(0x48_0000).u32(0x48_0000).u32(0).u16(1).zeros(32).u16(0x18).u16(0xffff);
        w.boxed(b"avcC", |w| {
            w.bytes(&avc.record);
        });
        w.boxed(b"pasp", |w| {
            w.u32(1).u32(1);
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
