//! What the operator asks of the signal, and the plan that follows from it.

use std::time::Duration;

use super::restamp::{self, Restamp};
use super::{SignalError, code, destination::Address};
use crate::media::{ChannelTime, FrameRate};

/// `tandem signal`: generates the test signal.
///
/// Pictures and PTS follow from UTC: several processes that run at the same moment send the same pictures under the same
/// PTS.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where to: `srt://host:port?streamid=…`, `udp://host:port`, a file, or `-` for standard output. May be repeated:
    /// every destination gets the same bytes. One that cannot be reached is tried again each second.
    #[arg(long = "to", value_name = "URL")]
    pub to: Vec<String>,
    /// One more encoding of the same pictures under the same PTS: `bitrate=1500k,gop=2,preset=faster,bframes=0,to=URL`.
    /// `to` comes last and may hold several addresses, separated by spaces; what is left out is as in the main options.
    #[arg(long = "variant", value_name = "SETTINGS")]
    pub variants: Vec<String>,
    /// Size of the picture; both sides even, at least 160x90.
    #[arg(long, value_name = "WxH", default_value = "1280x720")]
    pub size: String,
    /// Frames a second: 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 12.5, 10, 15 or 20.
    #[arg(long, default_value = "25", value_parser = FrameRate::parse)]
    pub rate: FrameRate,
    /// Bits a second of the picture: `3M`, `2500k`.
    #[arg(long, default_value = "3M")]
    pub bitrate: String,
    /// Seconds between key frames, which stand on whole multiples of it in UTC.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub gop: u32,
    /// x264's preset.
    #[arg(long, default_value = "veryfast")]
    pub preset: String,
    /// B frames between two references. 0 switches to x264's zerolatency tuning.
    #[arg(long, default_value_t = 2)]
    pub bframes: u32,
    /// Bits a second of the sound.
    #[arg(long, default_value = "128k")]
    pub audio_bitrate: String,
    /// Stop after this many seconds of signal.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub for_: Option<Duration>,
    /// Begin at this UTC time, in seconds since the epoch, instead of now; for repeatable files.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub start: Option<Duration>,
    /// The source's clock is off by so many millionths: at 100 it sends 100 ppm faster than its time stamps say.
    #[arg(long, value_name = "PPM", default_value_t = 0, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub clock_ppm: i32,
    /// Send fields, the top one first: `--rate` counts frames of two, and each field carries a picture of its own, numbered
    /// at twice the rate.
    #[arg(long)]
    pub interlaced: bool,
    /// The first picture's PTS, in seconds, instead of its time since the epoch; it wraps at 95,443.7.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub pts_start: Option<Duration>,
    /// So many seconds on, PTS, DTS and PCR jump by so many seconds: `30:3600`, `30:-0.7`. May be repeated.
    #[arg(long = "pts-jump", value_name = "AFTER:BY", value_parser = restamp::jump)]
    pub pts_jumps: Vec<(i64, i64)>,
    /// Generate as fast as possible instead of in real time.
    #[arg(long)]
    pub unpaced: bool,
    /// End when standard input closes, as it does when the program that started this one is gone.
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// Reads `60`, `60s`, `1.5`.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let value = number.parse::<f64>().map_err(|e| e.to_string())?;
    Duration::try_from_secs_f64(value).map_err(|e| e.to_string())
}

/// Options that were checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub width: usize,
    pub height: usize,
    pub rate: FrameRate,
    /// Length of the main encoding's GOP in 90 kHz ticks; the signal begins on a multiple of it.
    pub gop_ticks: u64,
    pub length: Option<Duration>,
    pub start_ticks: Option<u64>,
    pub paced: bool,
    /// Millionths by which the pictures are sent faster than their time stamps say.
    pub clock_ppm: i32,
    /// Each frame holds two pictures; `rate` counts frames.
    pub interlaced: bool,
    pub restamp: Restamp,
    pub variants: Vec<Variant>,
}

/// One encoding and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    /// kbit/s of the picture.
    pub bitrate_kbps: u32,
    /// Bits a second of the sound.
    pub audio_bps: u32,
    /// Seconds.
    pub gop: u32,
    pub preset: String,
    pub bframes: u32,
    pub to: Vec<Address>,
}

impl Options {
    pub(super) fn plan(&self) -> Result<Plan, SignalError> {
        let (width, height) = size(&self.size)?;
        let pictures = if self.interlaced { super::fields_of(self.rate) } else { self.rate };
        if code::rate_number(pictures.num(), pictures.den()).is_none() {
            return Err(SignalError::Settings(format!("the signal has no frame rate {}", self.rate)));
        }
        let mut main = Variant {
            bitrate_kbps: bits(&self.bitrate)?.div_ceil(1000),
            audio_bps: bits(&self.audio_bitrate)?,
            gop: gop(self.gop)?,
            preset: self.preset.clone(),
            bframes: self.bframes,
            to: Vec::new(),
        };
        let mut variants =
            self.variants.iter().map(|text| variant(&main, text)).collect::<Result<Vec<_>, SignalError>>()?;
        main.to = self.to.iter().map(|to| Address::parse(to)).collect::<Result<_, _>>()?;
        if main.to.is_empty() && variants.is_empty() {
            main.to.push(Address::Stdout);
        }
        let gop_ticks = u64::from(main.gop) * 90_000;
        if !main.to.is_empty() {
            variants.insert(0, main);
        }
        let start_ticks = self.start.map(|at| (at.as_nanos() * 9 / 100_000) as u64);
        Ok(Plan {
            width,
            height,
            rate: self.rate,
            gop_ticks,
            length: self.for_,
            start_ticks,
            paced: !self.unpaced,
            clock_ppm: self.clock_ppm,
            interlaced: self.interlaced,
            restamp: Restamp {
                start: self.pts_start.map(|at| ChannelTime::from_utc(at).ticks()),
                jumps: self.pts_jumps.clone(),
            },
            variants,
        })
    }
}

fn variant(main: &Variant, text: &str) -> Result<Variant, SignalError> {
    let bad = |what: &str| SignalError::Settings(format!("variant `{text}`: {what}"));
    // Stream ids hold commas, so the address takes all that is left.
    let (settings, to) = match text.find("to=") {
        Some(at) => (text[..at].trim_end_matches(','), &text[at + 3..]),
        None => return Err(bad("it needs to=URL at its end")),
    };
    let mut variant = main.clone();
    for pair in settings.split(',').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| bad("settings are written key=value"))?;
        match key.trim() {
            "bitrate" => variant.bitrate_kbps = bits(value)?.div_ceil(1000),
            "audio" => variant.audio_bps = bits(value)?,
            "gop" => variant.gop = gop(value.parse().map_err(|_| bad("gop is a number of seconds"))?)?,
            "preset" => variant.preset = value.to_owned(),
            "bframes" => variant.bframes = value.parse().map_err(|_| bad("bframes is a number"))?,
            other => return Err(bad(&format!("`{other}` is none of bitrate, audio, gop, preset, bframes, to"))),
        }
    }
    variant.to = to.split_whitespace().map(Address::parse).collect::<Result<_, _>>()?;
    if variant.to.is_empty() { Err(bad("to= is empty")) } else { Ok(variant) }
}

fn gop(seconds: u32) -> Result<u32, SignalError> {
    if (1..=10).contains(&seconds) { Ok(seconds) } else { Err(SignalError::Settings("gop is 1 to 10 seconds".into())) }
}

fn size(text: &str) -> Result<(usize, usize), SignalError> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match sides {
        Some((w @ 160..=7680, h @ 90..=4320)) if w % 2 == 0 && h % 2 == 0 => Ok((w, h)),
        _ => Err(SignalError::Settings(format!("size `{text}`: write it as 1280x720, both sides even"))),
    }
}

/// Reads `3M`, `2500k`, `96000`.
fn bits(text: &str) -> Result<u32, SignalError> {
    let (number, factor) = match text.trim_end_matches("bps") {
        t if t.ends_with(['M', 'm']) => (&t[..t.len() - 1], 1e6),
        t if t.ends_with(['k', 'K']) => (&t[..t.len() - 1], 1e3),
        t => (t, 1.0),
    };
    match number.parse::<f64>().map(|n| n * factor) {
        Ok(bits) if (8_000.0..=200e6).contains(&bits) => Ok(bits as u32),
        _ => Err(SignalError::Settings(format!("bit rate `{text}`: write it as 3M or 2500k, 8k to 200M"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn plan(line: &[&str]) -> Result<Plan, SignalError> {
        Line::try_parse_from(["signal"].iter().chain(line)).expect("clap takes it").options.plan()
    }

    #[test]
    fn variants_inherit_and_keep_the_commas_of_a_stream_id() {
        let plan = plan(&[
            "--to",
            "a.ts",
            "--bitrate",
            "2M",
            "--variant",
            "bitrate=900k,gop=2,to=srt://h:1?streamid=#!::r=a/b,m=publish udp://127.0.0.1:5000",
        ])
        .expect("good line");
        let [main, other] = &plan.variants[..] else { panic!("{plan:?}") };
        assert_eq!((main.bitrate_kbps, main.gop), (2000, 1));
        assert_eq!((other.bitrate_kbps, other.gop, other.bframes), (900, 2, 2));
        assert_eq!(other.to.len(), 2);
        let Address::Srt(url) = &other.to[0] else { panic!("{other:?}") };
        assert_eq!(url.stream_id.as_deref(), Some("#!::r=a/b,m=publish"));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, want) in [
            (&["--size", "641x360"][..], "641x360"),
            (&["--rate", "29"], "29"),
            (&["--bitrate", "fast"], "fast"),
            (&["--gop", "0"], "gop"),
            (&["--variant", "bitrate=1M"], "to="),
            (&["--variant", "speed=1,to=x"], "speed"),
            (&["--to", "http://h/x"], "http"),
        ] {
            let error = plan(line).expect_err("a mistake").to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
