//! Takes fragmented MP4 apart, with re_mp4.
//!
//! In:    an initialisation segment and a media segment.
//! Out:   decoder caps and access units with presentation times.
//! Never: uses a line of the writer it judges.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gstreamer as gst;
use re_mp4::{Mp4, StsdBoxContent, TrackId, TrakBox};

use super::decode::Media;

/// A track as the initialisation segment describes it.
#[derive(Clone, Debug)]
pub struct Track {
    /// Its number in the file.
    pub id: TrackId,
    /// Pictures or sound.
    pub media: Media,
    /// What a decoder is told.
    pub caps: gst::Caps,
}

/// One access unit.
#[derive(Debug)]
pub struct Unit {
    /// The track it belongs to.
    pub track: TrackId,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Presentation time, ns.
    pub pts_ns: i64,
    /// Decode time, ns.
    pub dts_ns: i64,
}

fn parse(bytes: &[u8]) -> Result<Mp4, String> {
    // re_mp4 may panic on boxes that contradict each other; to the judge that is a fault of the stream.
    match catch_unwind(AssertUnwindSafe(|| Mp4::read_bytes(bytes))) {
        Ok(parsed) => parsed.map_err(|e| e.to_string()),
        Err(_) => Err("boxes that contradict each other".into()),
    }
}

/// The tracks an initialisation segment announces; those with an unknown codec are an error.
pub fn tracks(init: &[u8]) -> Result<Vec<Track>, String> {
    let mp4 = parse(init)?;
    mp4.tracks()
        .values()
        .map(|track| {
            let (media, caps) = caps_of(track.trak(&mp4))?;
            Ok(Track { id: track.track_id, media, caps })
        })
        .collect()
}

/// The access units of a media segment, in decode order.
pub fn units(init: &[u8], segment: &[u8]) -> Result<Vec<Unit>, String> {
    let bytes = [init, segment].concat();
    let mp4 = parse(&bytes)?;
    if mp4.moofs.is_empty() {
        return Err("a segment without moof".into());
    }
    let mut out = Vec::new();
    for track in mp4.tracks().values() {
        let trak = track.trak(&mp4);
        let scale = i128::from(track.timescale.max(1));
        let ns = |ticks: i64| ((2 * i128::from(ticks) * 1_000_000_000 + scale).div_euclid(2 * scale)) as i64;
        let shift = edit_ns(trak, mp4.moov.mvhd.timescale, &ns);
        let mut samples = track.samples.iter();
        let trafs = mp4.moofs.iter().flat_map(|m| &m.trafs).filter(|t| t.tfhd.track_id == track.track_id);
        for traf in trafs {
            let count: usize = traf.truns.iter().map(|run| run.sample_count as usize).sum();
            let mut correction = None;
            for sample in samples.by_ref().take(count) {
                // re_mp4 counts on from the first fragment; each says its own time (ISO/IEC 14496-12 §8.8.12).
                let correction = *correction.get_or_insert_with(|| {
                    traf.tfdt.as_ref().map_or(0, |t| t.base_media_decode_time as i64 - sample.decode_timestamp)
                });
                // Offsets of trun version 1 are signed (§8.8.8.1); re_mp4 reads those of any version as unsigned. An unsigned
                // one beyond 2^31 would be a picture shown hours after it is decoded.
                let offset = i64::from((sample.composition_timestamp - sample.decode_timestamp) as i32);
                let data = bytes.get(sample.byte_range()).ok_or("a sample beyond the end of its segment")?;
                out.push(Unit {
                    track: track.track_id,
                    data: data.to_vec(),
                    pts_ns: ns(sample.decode_timestamp + offset + correction) + shift,
                    dts_ns: ns(sample.decode_timestamp + correction) + shift,
                });
            }
        }
    }
    Ok(out)
}

/// How far an edit list moves presentation, in ns (ISO/IEC 14496-12 §8.6.6): an empty edit delays, a media time cuts.
fn edit_ns(trak: &TrakBox, movie_timescale: u32, ns: &impl Fn(i64) -> i64) -> i64 {
    let Some(list) = trak.edts.as_ref().and_then(|e| e.elst.as_ref()) else { return 0 };
    let mut shift = 0;
    for entry in &list.entries {
        // −1 in 32 or 64 bits, as the box's version has it.
        if entry.media_time == u64::from(u32::MAX) || entry.media_time == u64::MAX {
            shift += (entry.segment_duration as i128 * 1_000_000_000 / i128::from(movie_timescale.max(1))) as i64;
        } else {
            return shift - ns(entry.media_time as i64);
        }
    }
    shift
}

fn caps_of(trak: &TrakBox) -> Result<(Media, gst::Caps), String> {
    let config = |raw: &[u8]| gst::Buffer::from_slice(raw.to_vec());
    let video = |name: &str, form: &str, raw: &[u8], width: u16, height: u16| {
        let caps = gst::Caps::builder(name)
            .field("stream-format", form)
            .field("alignment", "au")
            .field("codec_data", config(raw))
            .field("width", i32::from(width))
            .field("height", i32::from(height));
        (Media::Video, caps.build())
    };
    match &trak.mdia.minf.stbl.stsd.contents {
        StsdBoxContent::Avc1(c) => Ok(video("video/x-h264", "avc", &c.avcc.raw, c.width, c.height)),
        StsdBoxContent::Hvc1(c) => Ok(video("video/x-h265", "hvc1", &c.hvcc.raw, c.width, c.height)),
        StsdBoxContent::Hev1(c) => Ok(video("video/x-h265", "hev1", &c.hvcc.raw, c.width, c.height)),
        StsdBoxContent::Mp4a(c) => {
            let esds = c.esds.as_ref().ok_or("mp4a without esds")?;
            let config_of = &esds.es_desc.dec_config.dec_specific;
            // AudioSpecificConfig, ISO/IEC 14496-3 §1.6.2.1: object type 5 bits, frequency 4, channels 4.
            let (object, frequency, channels) = (config_of.profile, config_of.freq_index, config_of.chan_conf);
            let raw = [object << 3 | frequency >> 1, frequency << 7 | channels << 3];
            let rates = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000];
            let rate: i32 = *rates.get(usize::from(frequency)).ok_or("an AAC sample rate we do not know")?;
            let caps = gst::Caps::builder("audio/mpeg")
                .field("mpegversion", 4i32)
                .field("stream-format", "raw")
                .field("framed", true)
                .field("rate", rate)
                .field("channels", i32::from(channels))
                .field("codec_data", config(&raw))
                .build();
            Ok((Media::Audio, caps))
        }
        other => Err(format!("no decoder for {}", other.codec_string().unwrap_or_else(|| "this codec".into()))),
    }
}
