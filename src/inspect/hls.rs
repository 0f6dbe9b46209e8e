//! Reads HLS playlists, with m3u8-rs.
//!
//! In:    the text of a playlist and its address.
//! Out:   renditions of a multivariant playlist, or the listing of a media playlist.
//! Never: fetches, keeps state.

use std::time::Duration;

use m3u8_rs::{AlternativeMediaType, ByteRange, MediaPlaylist, MediaSegment, Playlist};

use super::decode::Media;
use super::fetch::{Resource, resolve};
use super::listing::{Listing, Origin, Rendition, Segment};

/// The renditions of the playlist at `url`. A media playlist is its own only rendition.
pub fn renditions(url: &str, text: &[u8]) -> Result<Vec<Rendition>, String> {
    let master = match m3u8_rs::parse_playlist_res(text).map_err(|_| format!("{url}: no playlist"))? {
        Playlist::MasterPlaylist(master) => master,
        Playlist::MediaPlaylist(_) => {
            return Ok(vec![Rendition {
                name: "media playlist".into(),
                media: Media::Video,
                bandwidth: 0,
                group: None,
                origin: Origin::Playlist(url.to_owned()),
            }]);
        }
    };
    let mut out: Vec<Rendition> = Vec::new();
    for variant in master.variants.iter().filter(|v| !v.is_i_frame) {
        let size = variant.resolution.map(|r| format!(" {}x{}", r.width, r.height)).unwrap_or_default();
        let origin = resolve(url, &variant.uri);
        // One media playlist may be listed again with other sound.
        let known = out.iter().any(|r| matches!(&r.origin, Origin::Playlist(u) if *u == origin));
        if !known {
            out.push(Rendition {
                name: format!("video{size} {}", variant.bandwidth),
                media: Media::Video,
                bandwidth: variant.bandwidth,
                group: variant.audio.clone(),
                origin: Origin::Playlist(origin),
            });
        }
    }
    for media in master.alternatives.iter().filter(|m| m.media_type == AlternativeMediaType::Audio) {
        if let Some(uri) = &media.uri {
            out.push(Rendition {
                name: format!("audio {} {}", media.group_id, media.name),
                media: Media::Audio,
                bandwidth: 0,
                group: Some(media.group_id.clone()),
                origin: Origin::Playlist(resolve(url, uri)),
            });
        }
    }
    if out.is_empty() { Err(format!("{url}: a multivariant playlist without variants")) } else { Ok(out) }
}

/// The listing of the media playlist at `url`.
pub fn listing(url: &str, text: &[u8]) -> Result<Listing, String> {
    let playlist = m3u8_rs::parse_media_playlist_res(text).map_err(|_| format!("{url}: no media playlist"))?;
    let mut init = None;
    // Where a byte range without an offset goes on (RFC 8216 §4.3.2.2).
    let mut reached: Option<(String, u64)> = None;
    let segments = playlist
        .segments
        .iter()
        .zip(playlist.media_sequence as i64..)
        .map(|(segment, key)| {
            if let Some(map) = &segment.map {
                let range = map.byte_range.as_ref().map(|r| (r.offset.unwrap_or(0), r.length));
                init = Some(Resource { url: resolve(url, &map.uri), range });
            }
            let address = resolve(url, &segment.uri);
            let range = segment.byte_range.as_ref().map(|r| range_of(r, &address, reached.as_ref()));
            reached = range.map(|(first, length)| (address.clone(), first + length));
            Segment {
                key,
                next: key + 1,
                media: Resource { url: address, range },
                init: init.clone(),
                duration: f64::from(segment.duration),
                discontinuity: segment.discontinuity,
                gap: is_gap(segment),
                shift_ns: 0,
            }
        })
        .collect();
    Ok(Listing { segments, live: is_live(&playlist), target: Duration::from_secs(playlist.target_duration), slack: 0 })
}

fn range_of(range: &ByteRange, url: &str, reached: Option<&(String, u64)>) -> (u64, u64) {
    let follows = reached.filter(|(of, _)| of == url).map_or(0, |(_, at)| *at);
    (range.offset.unwrap_or(follows), range.length)
}

fn is_gap(segment: &MediaSegment) -> bool {
    segment.unknown_tags.iter().any(|t| t.tag == "X-GAP")
}

fn is_live(playlist: &MediaPlaylist) -> bool {
    !playlist.end_list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_playlist_is_read_as_a_player_reads_it() {
        let text = b"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:900\n\
            #EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2.0,\n900.m4s\n#EXT-X-GAP\n#EXTINF:2.0,\n901.m4s\n\
            #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init2.mp4\"\n#EXTINF:1.5,\n902.m4s\n";
        let listing = listing("http://h/c/v.m3u8", text).expect("a playlist");
        let seen: Vec<_> = listing
            .segments
            .iter()
            .map(|s| {
                let init = s.init.as_ref().map(|i| i.url.as_str());
                (s.key, s.media.url.as_str(), init, s.discontinuity, s.gap)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (900, "http://h/c/900.m4s", Some("http://h/c/init.mp4"), false, false),
                (901, "http://h/c/901.m4s", Some("http://h/c/init.mp4"), false, true),
                (902, "http://h/c/902.m4s", Some("http://h/c/init2.mp4"), true, false),
            ]
        );
        assert!(listing.live);
    }

    #[test]
    fn what_is_no_playlist_is_an_error() {
        for text in [&b""[..], b"<MPD/>", b"#EXTM3U", &[0xff; 64]] {
            _ = renditions("x", text).map(|r| assert!(!r.is_empty()));
            _ = listing("x", text);
        }
        assert!(listing("x", b"<MPD/>").is_err());
    }
}
