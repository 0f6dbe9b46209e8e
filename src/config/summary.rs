//! What a config makes the program do, for people: printed by `tandem check` and at the start of `tandem run`.

use std::fmt;
use std::net::SocketAddr;

use super::units::{spell, spell_bitrate};
use super::{Channel, Config, Input, Ladder, SrtMode, is_public};

/// Prints a [`Config`] in a few lines; no secrets.
#[derive(Debug)]
pub struct Summary<'c>(pub(super) &'c Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listens")?;
        for (what, address) in self.listeners() {
            let mark = if is_public(address.ip()) { "   PUBLIC: other hosts can reach it" } else { "" };
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
        let mut all = vec![
            ("origin (HTTP)".to_owned(), config.origin.listen),
            ("page, API, metrics (HTTP)".to_owned(), config.control.listen),
        ];
        let mut shared = false;
        for source in config.channels.iter().flat_map(|channel| &channel.sources) {
            if let Input::Srt(srt) = &source.input {
                match &srt.mode {
                    SrtMode::Shared => shared = true,
                    SrtMode::Listener(address) => all.push((format!("{} (SRT)", source.id), *address)),
                    SrtMode::Caller { .. } => {}
                }
            }
        }
        if shared {
            all.push(("shared sources (SRT)".to_owned(), config.srt.listen));
        }
        all
    }
}

fn write_channel(f: &mut fmt::Formatter<'_>, channel: &Channel, shared: SocketAddr) -> fmt::Result {
    writeln!(f, "channel {} “{}”", channel.id, channel.title)?;
    let (segment, part, window) = (spell(channel.grid.segment()), spell(channel.part), spell(channel.window));
    writeln!(f, "  grid     {} frames a second, segments of {segment} in parts of {part}", channel.grid.rate())?;
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
    for source in &channel.sources {
        let how = match &source.input {
            Input::Test(shape) => format!("built-in test signal {}x{} at {}", shape.width, shape.height, shape.rate),
            Input::Srt(srt) => {
                let key = if srt.passphrase.is_some() { ", encrypted" } else { "" };
                match &srt.mode {
                    SrtMode::Shared => format!("publish to srt://{shared}?streamid={}{key}", source.id),
                    SrtMode::Listener(address) => format!("publish to srt://{address}{key}"),
                    SrtMode::Caller { address, .. } => format!("calls srt://{address}{key}"),
                }
            }
        };
        let on_air = channel.pipelines.iter().any(|p| p.sources.contains(&source.id.source));
        let idle = if on_air { "" } else { "   in no pipeline: never on air" };
        writeln!(f, "  source   {}: {how}{idle}", source.id.source)?;
    }
    for pipeline in &channel.pipelines {
        let names: Vec<_> = pipeline.sources.iter().map(|name| name.as_str()).collect();
        writeln!(f, "  pipeline {}: {}", pipeline.id, names.join(", then "))?;
    }
    for rung in &channel.ladder.video {
        let rate = spell_bitrate(rung.rate.max_bitrate().into());
        writeln!(f, "  video    {}: {}x{}, up to {rate}, {}", rung.id, rung.width, rung.height, rung.preset)?;
    }
    for rung in &channel.ladder.audio {
        let channels = if rung.channels == 1 { "mono" } else { "stereo" };
        writeln!(f, "  audio    {}: AAC {}, {channels}", rung.id, spell_bitrate(rung.bitrate.into()))?;
    }
    Ok(())
}

/// Upper bound of what the listed window weighs, both pipelines' copies of a segment counted once.
fn window_bytes(ladder: &Ladder, channel: &Channel) -> u64 {
    let video: u64 = ladder.video.iter().map(|rung| u64::from(rung.rate.max_bitrate())).sum();
    let audio: u64 = ladder.audio.iter().map(|rung| u64::from(rung.bitrate)).sum();
    (video + audio) / 8 * channel.window.as_secs()
}
