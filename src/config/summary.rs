//! What a config makes the program do, for people: printed by `tandem check` and at the start of `tandem run`.

use std::fmt;
use std::net::SocketAddr;

use super::units::{spell, spell_bitrate};
use super::{
    Channel, Condition, Config, DashForm, DatagramInput, HlsForm, Input, Ladder, Output, Redundancy, SrtMode, Takes,
    Way, is_public,
};
use crate::encode::ladder::{RateControl, VideoRung};

/// Prints a [`Config`] in a few lines; no secrets.
#[derive(Debug)]
pub struct Summary<'c>(pub(super) &'c Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listens")?;
        for (what, address) in self.listeners() {
            let mark = match address.ip() {
                ip if ip.is_multicast() => "   multicast",
                ip if is_public(ip) => "   PUBLIC: other hosts can reach it",
                _ => "",
            };
            writeln!(f, "  {what:<28} {address}{mark}")?;
        }
        for channel in &self.0.channels {
            write_channel(f, channel, self.0.srt.listen)?;
        }
        for signal in &self.0.signals {
            let shape = &signal.shape;
            write!(f, "signal {}x{} at {} to", shape.width, shape.height, shape.rate)?;
            for url in &signal.to {
                write!(f, " {url}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Summary<'_> {
    fn listeners(&self) -> Vec<(String, SocketAddr)> {
        let config = self.0;
        let mut all = vec![("page, API, metrics (HTTP)".to_owned(), config.control.listen)];
        if config.channels.iter().any(Channel::encodes) {
            all.insert(0, ("origin (HTTP)".to_owned(), config.origin.listen));
        }
        if config.has_ingest() {
            let key = if config.ingest.key.is_some() { ", with a key" } else { "" };
            all.push((format!("CMAF ingest (HTTP{key})"), config.ingest.listen));
        }
        let mut shared = false;
        for source in config.channels.iter().flat_map(|channel| &channel.sources) {
            match &source.input {
                Input::Srt(srt) => match &srt.mode {
                    SrtMode::Shared => shared = true,
                    SrtMode::Listener(address) | SrtMode::Rendezvous { listen: address, .. } => {
                        all.push((format!("{} (SRT)", source.id), *address));
                    }
                    SrtMode::Caller { .. } => {}
                },
                Input::Rtp(rtp) => {
                    let media = rtp.datagrams.address;
                    all.push((format!("{} (RTP)", source.id), media));
                    for port in rtp.fec.into_iter().flat_map(|fec| [fec.columns, fec.rows]) {
                        all.push((format!("{} (FEC)", source.id), SocketAddr::new(media.ip(), port)));
                    }
                }
                Input::Udp(udp) => all.push((format!("{} (UDP)", source.id), udp.address)),
                Input::Rtsp(_) | Input::File(_) | Input::Test(_) | Input::Merge(_) => {}
            }
        }
        for output in config.channels.iter().flat_map(|channel| &channel.outputs) {
            match &output.way {
                Way::Srt(srt) => match &srt.mode {
                    SrtMode::Shared => shared = true,
                    SrtMode::Listener(address) => all.push((format!("{} (SRT, to read)", output.id), *address)),
                    SrtMode::Rendezvous { listen, .. } => all.push((format!("{} (SRT, to send)", output.id), *listen)),
                    SrtMode::Caller { .. } => {}
                },
                Way::Rtp(_) | Way::Udp(_) | Way::Record(_) => {}
            }
        }
        if shared {
            all.push(("shared sources, outputs (SRT)".to_owned(), config.srt.listen));
        }
        all
    }
}

fn write_channel(f: &mut fmt::Formatter<'_>, channel: &Channel, shared: SocketAddr) -> fmt::Result {
    writeln!(f, "channel {} “{}”", channel.id, channel.title)?;
    if !channel.encodes() {
        writeln!(f, "  relays   what comes in; nothing is encoded or served (ladder = \"none\")")?;
        write_sources(f, channel, shared)?;
        return write_outputs(f, channel, shared);
    }
    let (segment, part, window) = (spell(channel.grid.segment()), spell(channel.part), spell(channel.window));
    writeln!(f, "  grid     {} frames a second, segments of {segment} in parts of {part}", channel.grid.rate())?;
    let low = if channel.ladder.video.iter().any(|rung| rung.zero_latency) { ", no look-ahead" } else { "" };
    writeln!(f, "  latency  late frames are awaited for {}{low}", spell(channel.hold))?;
    let megabytes = window_bytes(&channel.ladder, channel) / 1_000_000;
    writeln!(f, "  window   {window}, at most about {megabytes} MB of memory")?;
    let loss = &channel.loss;
    let slate = loss.slate.picture.as_ref().map_or_else(|| "a plain slate".to_owned(), |p| p.display().to_string());
    writeln!(
        f,
        "  no input repeats for {}, black for {}, then {slate}",
        spell(loss.repeat_for),
        spell(loss.black_for)
    )?;
    writeln!(f, "  encoders at most {} MB of memory each", channel.memory_max / 1_000_000)?;
    write_sources(f, channel, shared)?;
    if channel.ladder.auto {
        writeln!(f, "  ladder   made for the source when its first picture is there; for 1280x720 it is this:")?;
    } else if channel.ladder.video.len() > 1 {
        writeln!(f, "  ladder   rungs that the source cannot fill are left out when its first picture is there:")?;
        writeln!(f, "           larger in both directions, or richer than its bit rate beside another of that size")?;
    }
    let bytes = if channel.deterministic && channel.ladder.video.iter().any(|rung| rung.portable) {
        "equal in both pipelines, and on all hosts with AVX2; a difference is told as damage"
    } else if channel.deterministic {
        "equal in both pipelines; a difference is told as damage"
    } else {
        "may differ between pipelines (deterministic = false); they are not compared"
    };
    writeln!(f, "  bytes    {bytes}")?;
    if channel.redundancy == Redundancy::Warm {
        writeln!(f, "  standby  warm: one pipeline encodes, the other keeps pictures and takes over")?;
    }
    for rung in &channel.ladder.video {
        write_video(f, rung)?;
        for doubt in channel.doubts(rung) {
            writeln!(f, "           cannot promise equal bytes: {doubt}")?;
        }
    }
    for rung in &channel.ladder.audio {
        let channels = match rung.channels {
            1 => "mono",
            2 => "stereo",
            _ => "5.1",
        };
        let rate = spell_bitrate(rung.bitrate.into());
        let track = rung.language.map(|code| format!(", the track in {}", String::from_utf8_lossy(&code)));
        writeln!(f, "  audio    {}: AAC {rate}, {channels}{}", rung.id, track.unwrap_or_default())?;
    }
    let content: Vec<_> = channel.failover.conditions.iter().filter(|l| l.condition.is_content()).collect();
    if !content.is_empty() {
        let pictures = content.iter().any(|l| l.condition != Condition::Silent);
        let sound = content.iter().any(|l| l.condition == Condition::Silent);
        let what = [(pictures, "pictures"), (sound, "sound")].into_iter().filter(|(on, _)| *on);
        let what: Vec<_> = what.map(|(_, what)| what).collect();
        writeln!(f, "  probe    decodes {} of all {} sources", what.join(" and "), channel.sources.len())?;
    }
    for profile in &channel.profiles {
        let hls = profile.hls.map(|form| match form {
            HlsForm::Segments => "HLS",
            HlsForm::Parts => "LL-HLS",
            HlsForm::TransportStream => "HLS-TS",
        });
        let dash = profile.dash.map(|form| match form {
            DashForm::Segments => "DASH",
            DashForm::LowLatency => "LL-DASH",
        });
        let forms: Vec<_> = hls.into_iter().chain(dash).collect();
        writeln!(f, "  profile  {} by {}", profile.id, forms.join(" and "))?;
    }
    if let Some(loudness) = &channel.loudness {
        writeln!(f, "  loudness {} LUFS, peaks below {} dBTP", loudness.target, loudness.true_peak)?;
    }
    write_outputs(f, channel, shared)
}

fn write_sources(f: &mut fmt::Formatter<'_>, channel: &Channel, shared: SocketAddr) -> fmt::Result {
    for source in &channel.sources {
        let how = match &source.input {
            Input::Test(shape) => format!("built-in test signal {}x{} at {}", shape.width, shape.height, shape.rate),
            Input::Rtsp(rtsp) => {
                let (over, user) = (if rtsp.udp { "UDP" } else { "TCP" }, rtsp.user.as_ref().map(|(name, _)| name));
                let user = user.map_or_else(String::new, |name| format!(" as {name}"));
                format!("calls {} over {over}{user}", rtsp.url)
            }
            Input::File(path) => format!("plays {} again and again", path.display()),
            Input::Srt(srt) => {
                let key = if srt.passphrase.is_some() { ", encrypted" } else { "" };
                match &srt.mode {
                    SrtMode::Shared => format!("publish to srt://{shared}?streamid={}{key}", source.id),
                    SrtMode::Listener(address) => format!("publish to srt://{address}{key}"),
                    SrtMode::Caller { address, .. } => format!("calls srt://{address}{key}"),
                    SrtMode::Rendezvous { listen, address } => format!("meets srt://{address} from {listen}{key}"),
                }
            }
            Input::Rtp(rtp) => {
                let fec = if rtp.fec.is_some() { ", with FEC" } else { "" };
                format!("send RTP to {}{fec}{}", rtp.datagrams.address, doubt(&rtp.datagrams))
            }
            Input::Udp(udp) => format!("send UDP to {}{}", udp.address, doubt(udp)),
            Input::Merge(merge) => {
                let paths: Vec<_> = merge.of.iter().map(|path| path.as_str()).collect();
                format!("merges {}, {} later than they come", paths.join(" and "), spell(merge.recovery_window))
            }
        };
        let on_air = channel.pipelines.iter().any(|p| p.sources.contains(&source.id.source));
        let goes_out = channel.outputs.iter().any(|o| o.takes == Takes::Source(source.id.source.clone()));
        let idle = match channel.merged_by(&source.id.source) {
            Some(merged) => format!("   a path of {merged}"),
            None if on_air || goes_out => String::new(),
            None => "   in no pipeline: never on air".to_owned(),
        };
        writeln!(f, "  source   {}: {how}{idle}", source.id.source)?;
    }
    for pipeline in &channel.pipelines {
        let names: Vec<_> = pipeline.sources.iter().map(|name| name.as_str()).collect();
        let fed =
            if pipeline.elsewhere { "an encoder elsewhere, by CMAF ingest".to_owned() } else { names.join(", then ") };
        writeln!(f, "  pipeline {}: {fed}", pipeline.id)?;
        for publish in &pipeline.publish {
            writeln!(
                f,
                "             goes on to {}{}",
                publish.to,
                if publish.key.is_some() { ", with a key" } else { "" }
            )?;
        }
    }
    Ok(())
}

fn write_outputs(f: &mut fmt::Formatter<'_>, channel: &Channel, shared: SocketAddr) -> fmt::Result {
    if channel.outputs.is_empty() && !channel.encodes() {
        writeln!(f, "  output   none yet: the API adds them")?;
    }
    for Output { id, takes, way } in &channel.outputs {
        let how = match way {
            Way::Srt(srt) => {
                let key = if srt.passphrase.is_some() { ", encrypted" } else { "" };
                let (open, readers) = (srt.allow.is_empty() && srt.passphrase.is_none(), srt.readers_max);
                let open = |ip| if open && is_public(ip) { "   OPEN: whoever can reach it may read" } else { "" };
                match &srt.mode {
                    SrtMode::Shared => format!(
                        "read at srt://{shared}?streamid=#!::r={id},m=request{key}, up to {readers} at once{}",
                        open(shared.ip())
                    ),
                    SrtMode::Listener(address) => {
                        format!("read at srt://{address}{key}, up to {readers} at once{}", open(address.ip()))
                    }
                    SrtMode::Caller { .. } | SrtMode::Rendezvous { .. } => format!("{}{key}", way.target(id)),
                }
            }
            Way::Rtp(rtp) => {
                let fec = rtp.fec.map_or_else(String::new, |fec| {
                    let rows = if fec.row_packets { "columns and rows" } else { "columns" };
                    format!(", FEC of {rows}, {}x{}", fec.columns, fec.rows)
                });
                format!("{}{fec}", way.target(id).replace(" and ", ", and the same to "))
            }
            Way::Udp(_) => way.target(id),
            Way::Record(record) => {
                let gigabytes = record.bytes_max as f64 / 1e9;
                let age = record.age_max.map_or_else(String::new, |age| format!(" and {}", spell(age)));
                format!(
                    "records into {}, a file each {}, up to {gigabytes} GB{age}",
                    record.folder.display(),
                    spell(record.segment)
                )
            }
        };
        writeln!(f, "  output   {} ({takes}): {how}", id.output)?;
    }
    Ok(())
}

/// Neither protocol knows who sends: only addresses tell.
fn doubt(input: &DatagramInput) -> &'static str {
    let open = input.allow.is_empty() && input.from.is_empty() && is_public(input.address.ip());
    if open { "   OPEN: whoever can reach it may send; `allow` says who" } else { "" }
}

fn write_video(f: &mut fmt::Formatter<'_>, rung: &VideoRung) -> fmt::Result {
    let (mean, cap) = (spell_bitrate(rung.rate.bitrate().into()), spell_bitrate(rung.rate.max_bitrate().into()));
    let rate = match rung.rate {
        RateControl::CappedCrf { crf, .. } => format!("quality {crf} up to {cap}"),
        RateControl::Vbr { .. } => format!("{mean} on the whole, up to {cap}"),
        RateControl::Cbr { .. } => format!("{mean} throughout"),
    };
    write!(f, "  video    {}: {}x{}, {rate}, ", rung.id, rung.width, rung.height)?;
    write!(f, "{} {}", rung.encoder.as_str(), rung.preset)?;
    if rung.zero_latency {
        write!(f, ", without latency")?;
    }
    if rung.gops > 1 {
        write!(f, ", {} GOPs a segment", rung.gops)?;
    }
    if rung.chains > 1 {
        write!(f, ", {} at once", rung.chains)?;
    }
    writeln!(f)
}

/// Upper bound of what the listed window weighs, both pipelines' copies of a segment counted once.
fn window_bytes(ladder: &Ladder, channel: &Channel) -> u64 {
    let video: u64 = ladder.video.iter().map(|rung| u64::from(rung.rate.max_bitrate())).sum();
    let audio: u64 = ladder.audio.iter().map(|rung| u64::from(rung.bitrate)).sum();
    (video + audio) / 8 * channel.window.as_secs()
}
