//! The judge: reads a stream as a stranger would and accounts for every frame.
//!
//! In:    the address of an HLS, DASH, SRT or UDP stream or of a file that carries the test signal.
//! Out:   a [`Report`]: each picture and each AAC frame accounted for, each fault by its name.
//! Never: shares code with the packager it judges. Playlists are read with m3u8-rs, MPDs with quick-xml, CMAF with re_mp4,
//!        pictures and sound decoded by GStreamer. Only what the signal *is* ([`crate::signal::code`],
//!        [`crate::signal::tone`]) is known to both sides.

mod cmaf;
mod dash;
mod decode;
mod fetch;
mod follow;
mod hls;
mod listing;
mod pictures;
mod report;
mod sound;
mod transport;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gstreamer as gst;

use crate::clock;
use crate::media::FrameRate;
use crate::signal::tone;
use decode::{Decoder, Ledgers, Media};
use fetch::{Fetcher, Resource};
use follow::{Found, Limits};
use listing::Rendition;
use pictures::Pictures;
use report::Faults;
use sound::Sound;

pub use report::{Audio, Fault, Kind, Range, Report, Video};

/// `tandem inspect`: reads a stream that carries the test signal and accounts for each of its frames.
///
/// Exits with 0 when the stream is clean, 1 when it has faults, 2 when it could not be looked at.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// `http://…m3u8`, `http://…mpd`, `srt://…`, `udp://…` or a file (playlist, MPD, transport stream, fragmented MP4).
    pub url: String,
    /// Print one JSON object instead of lines for people.
    #[arg(long)]
    pub json: bool,
    /// How long to look: of a live stream seconds on the clock, of a recording seconds of media.
    #[arg(long = "for", value_name = "SECONDS", default_value = "60s", value_parser = seconds)]
    pub for_: Duration,
    /// Which pictures to look at: `top`, `lowest`, `all`, or a part of a rendition's name such as `640x360`.
    #[arg(long, value_name = "NAME", default_value = "top")]
    pub rendition: String,
    /// Where to begin in a live playlist.
    #[arg(long, value_enum, default_value_t = From::Live)]
    pub from: From,
    /// Faults that are expected: counted, but no reason to exit with 1.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAULT")]
    pub allow: Vec<Kind>,
    /// The stream shows the signal at this rate and not at the signal's own: what the conversion repeats and drops is no
    /// fault, anything beyond it is.
    #[arg(long, value_name = "RATE", value_parser = FrameRate::parse)]
    pub shown_at: Option<FrameRate>,
    /// Sound and picture may be apart by so many milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 20.0)]
    pub av_limit: f64,
}

/// Where to begin in a live playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// Three segments before its end, as a player does.
    Live,
    /// At its oldest segment.
    Start,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| "write it as 60s".to_owned())?;
    Duration::try_from_secs_f64(value).map_err(|e| e.to_string())
}

/// The only rendition of a transport stream.
const TRANSPORT: &str = "transport stream";

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InspectError(String);

/// Runs the command: report on standard output, progress on standard error.
pub fn main(options: &Options) -> ExitCode {
    match run(options) {
        Ok(report) => {
            if options.json {
                println!("{}", serde_json::json!(report));
            } else {
                print!("{}", report.summary());
            }
            ExitCode::from(u8::from(!report.is_clean()))
        }
        Err(error) => {
            eprintln!("tandem inspect: {}: {error}", options.url);
            ExitCode::from(2)
        }
    }
}

/// Looks at a stream.
///
/// # Errors
/// When there is nothing to look at: no connection, no manifest, no media.
pub fn run(options: &Options) -> Result<Report, InspectError> {
    gst::init().map_err(|e| InspectError(e.to_string()))?;
    let found = look(options).map_err(InspectError)?;
    if found.iter().all(|(f, _)| f.video.is_none() && f.audio.is_none() && f.segments == 0) {
        let why = found.iter().flat_map(|(f, _)| &f.faults.listed).next();
        return Err(InspectError(why.map_or_else(|| "no media".into(), |f| f.detail.clone())));
    }
    Ok(judge(options, found))
}

/// What was found, each with the index of the rendition whose sound it is played with.
type AllFound = Vec<(Found, Option<usize>)>;

fn look(options: &Options) -> Result<AllFound, String> {
    let url = options.url.as_str();
    let limits = Limits { length: options.for_, from_live: options.from == From::Live };
    let one = |found| Ok(vec![(found, Some(0))]);
    let transport = || transport::read(url, TRANSPORT, ledgers(TRANSPORT, options), limits);
    match url.split_once("://") {
        Some(("srt" | "udp", _)) => one(transport()?),
        Some(("http", _)) => {
            let text = Fetcher::new().get(&Resource { url: url.to_owned(), range: None })?;
            follow_all(&manifest(url, &text)?, options, limits)
        }
        Some((scheme, _)) => Err(format!("cannot read {scheme}://")),
        None => {
            let head = Fetcher::new().get(&Resource { url: url.to_owned(), range: Some((0, 64)) })?;
            match head.first() {
                Some(0x47) => one(transport()?),
                Some(b'#' | b'<' | 0xef) => {
                    let text = Fetcher::new().get(&Resource { url: url.to_owned(), range: None })?;
                    follow_all(&manifest(url, &text)?, options, limits)
                }
                _ => one(fragmented_file(url, options)?),
            }
        }
    }
}

fn manifest(url: &str, text: &[u8]) -> Result<Vec<Rendition>, String> {
    let head = String::from_utf8_lossy(&text[..text.len().min(4096)]);
    if head.contains("<MPD") { dash::renditions(url, text) } else { hls::renditions(url, text) }
}

fn ledgers(name: &str, options: &Options) -> Ledgers {
    let today = clock::now().utc.as_secs_f64();
    Ledgers {
        pictures: Arc::new(Mutex::new(Pictures::new(name, today, options.shown_at))),
        sound: Arc::new(Mutex::new(Sound::new(name))),
    }
}

/// Reads one file of fragmented MP4, initialisation and media together.
fn fragmented_file(path: &str, options: &Options) -> Result<Found, String> {
    let bytes = Fetcher::new().get(&Resource { url: path.to_owned(), range: None })?;
    let ledgers = ledgers(path, options);
    let mut faults = Faults::of(path);
    let mut decoders = BTreeMap::new();
    for track in cmaf::tracks(&bytes)? {
        decoders.insert(track.id, Decoder::units(track.media, &track.caps, &ledgers)?);
    }
    for unit in cmaf::units(&[], &bytes)? {
        if let Some(decoder) = decoders.get(&unit.track)
            && let Err(error) = decoder.push_unit(unit.data, unit.pts_ns, unit.dts_ns)
        {
            faults.add(Kind::Decode, None, error);
        }
    }
    for (_, decoder) in decoders {
        if let Err(error) = decoder.drain() {
            faults.add(Kind::Decode, None, error);
        }
    }
    Ok(Found::close(path, ledgers, 1, faults))
}

/// The pictures that were asked for, best first, and the sound that belongs to them.
fn choose<'a>(renditions: &'a [Rendition], name: &str) -> Result<Vec<&'a Rendition>, String> {
    let mut pictures: Vec<&Rendition> = renditions.iter().filter(|r| r.media == Media::Video).collect();
    pictures.sort_by_key(|r| std::cmp::Reverse(r.bandwidth));
    match name {
        "top" => pictures.truncate(1),
        "lowest" => _ = pictures.drain(..pictures.len().saturating_sub(1)),
        "all" => {}
        part => pictures.retain(|r| r.name.contains(part)),
    }
    let mut chosen = pictures.clone();
    for sound in renditions.iter().filter(|r| r.media == Media::Audio) {
        let wanted = sound.group.is_none() || pictures.iter().any(|p| p.group == sound.group);
        // One of a group, as a player plays it.
        let taken = chosen.iter().any(|c| c.media == Media::Audio && c.group == sound.group);
        if (wanted && !taken) || pictures.is_empty() && sound.name.contains(name) {
            chosen.push(sound);
        }
    }
    if chosen.is_empty() {
        let names: Vec<&str> = renditions.iter().map(|r| r.name.as_str()).collect();
        return Err(format!("no rendition `{name}` among {}", names.join(", ")));
    }
    Ok(chosen)
}

/// Follows the chosen renditions side by side, each in a thread of its own.
fn follow_all(renditions: &[Rendition], options: &Options, limits: Limits) -> Result<AllFound, String> {
    let chosen = choose(renditions, &options.rendition)?;
    let results: Vec<Result<Found, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = chosen
            .iter()
            .map(|rendition| {
                eprintln!("looking at {} for {:.0} s", rendition.name, limits.length.as_secs_f64());
                scope.spawn(|| follow::follow(rendition, &ledgers(&rendition.name, options), limits))
            })
            .collect();
        threads
            .into_iter()
            .map(|t| {
                t.join().unwrap_or_else(|_| Err("the judge itself failed; this is a bug in tandem inspect".into()))
            })
            .collect()
    });
    let mut found = Vec::new();
    for (index, (result, rendition)) in results.into_iter().zip(&chosen).enumerate() {
        let played_with = |c: &&Rendition| c.media == Media::Audio && (c.group.is_none() || c.group == rendition.group);
        let sound = chosen.iter().position(played_with).unwrap_or(index);
        found.push((result?, Some(sound).filter(|_| rendition.media == Media::Video)));
    }
    Ok(found)
}

/// Compares sound with picture and adds everything up.
fn judge(options: &Options, found: AllFound) -> Report {
    let mut faults = Faults::default();
    let mut all_offsets = Vec::new();
    let mut renditions = Vec::new();
    for (index, (picture, sound)) in found.iter().enumerate() {
        let own = !picture.onsets.is_empty();
        let onsets = match sound {
            _ if own => &picture.onsets,
            Some(sound) => &found[*sound].0.onsets,
            None => &picture.onsets,
        };
        let offsets = offsets(&picture.boundaries, onsets);
        let mut apart = Faults::of(&picture.name);
        name_offsets(&offsets, options.av_limit, &mut apart);
        faults.append(apart);
        renditions.push(report::Rendition {
            name: picture.name.clone(),
            video: picture.video.clone(),
            audio: picture.audio.clone(),
            av_offset_ms: Range::over(offsets.iter().map(|o| o.1)),
            segments: found[index].0.segments,
        });
        all_offsets.extend(offsets.into_iter().map(|o| o.1));
    }
    let seconds = found.first().map_or(0.0, |f| f.0.seconds);
    for (found, _) in found {
        faults.append(found.faults);
    }
    Report::sum_up(&options.url, seconds, renditions, &all_offsets, faults, &options.allow)
}

/// Time and sound minus picture in ms for each beep whose second was seen.
fn offsets(boundaries: &BTreeMap<i64, f64>, onsets: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let pitches = tone::PITCHES as i64;
    // A second's beep is due where its first picture's clock says the second begins. Pictures may be shown out of step
    // with the sound by less than half the pitches; beyond that a second is taken for another one.
    let due: Vec<(i64, f64)> = boundaries.iter().map(|(&second, &offset)| (second, second as f64 + offset)).collect();
    onsets
        .iter()
        .filter_map(|&(code, time)| {
            due.iter()
                .filter(|(second, _)| second.rem_euclid(pitches) as u64 == code)
                .map(|(_, due)| (time, (time - due) * 1000.0))
                .filter(|(_, ms)| ms.abs() < 1000.0 * (pitches / 2) as f64)
                .min_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
        })
        .collect()
}

/// One fault for each run of beeps beyond the limit.
fn name_offsets(offsets: &[(f64, f64)], limit: f64, faults: &mut Faults) {
    for run in offsets.chunk_by(|a, b| (a.1.abs() > limit) == (b.1.abs() > limit)) {
        if let (true, Some(range)) = (run[0].1.abs() > limit, Range::over(run.iter().map(|o| o.1))) {
            let detail =
                format!("sound {:+.1} to {:+.1} ms against the picture, {} beeps", range.min, range.max, run.len());
            faults.add(Kind::AvOffset, Some(run[0].0), detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beeps_are_compared_with_the_second_they_name() {
        let boundaries = (1_700_000_000..1_700_000_040).map(|s| (s, -1_699_999_000.0)).collect();
        let onsets: Vec<(u64, f64)> =
            (5..35).map(|n| ((1_700_000_000 + n) as u64 % 16, 1000.0 + n as f64 + 0.0125)).collect();
        let offsets = offsets(&boundaries, &onsets);
        assert_eq!(offsets.len(), 30);
        assert!(offsets.iter().all(|o| (o.1 - 12.5).abs() < 0.01), "{offsets:?}");
        for (limit, want) in [(20.0, 0), (10.0, 1)] {
            let mut faults = Faults::default();
            name_offsets(&offsets, limit, &mut faults);
            assert_eq!(faults.listed.len(), want);
        }
    }
}
